// SPDX-License-Identifier: BSD-3-Clause
//
// Submission by ioctl and by io_uring. An io_uring of ours is used for commands of one channel only and is
// empty between two calls; it is not registered with anything, so closing it is all there is to its end.
#include "channel/submit.hpp"

#include <liburing.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <string>

#include "channel/fd.hpp"

namespace bulk {
namespace {

constexpr std::uint32_t ioctl_most = 256;  // commands in one RDMA_BULK_IOC_SUBMIT

}  // namespace

// An io_uring with 128-byte submission entries, which hold a command whole.
class Uring {
 public:
  static constexpr std::uint32_t entries = 64;

  Uring() = default;
  Uring(const Uring&) = delete;
  Uring& operator=(const Uring&) = delete;
  ~Uring() {
    if (owner_ == 0) return;
    if (::getpid() == owner_) {
      io_uring_queue_exit(&ring_);
    } else {
      ::close(ring_.ring_fd);  // a forked child: the mappings were not inherited
    }
  }

  // 0 or a negative errno.
  int open(bool sqpoll) {
    io_uring_params params{};
    params.flags = IORING_SETUP_SQE128 | IORING_SETUP_SUBMIT_ALL;
    sqpoll_ = sqpoll;
    if (sqpoll) {
      params.flags |= IORING_SETUP_SQPOLL;
      params.sq_thread_idle = 10;  // ms of looking for commands before the thread sleeps
    }
    const int result = io_uring_queue_init_params(entries, &ring_, &params);
    if (result < 0) return result;
    owner_ = ::getpid();
    // A child that used the ring would submit the parent's commands.
    return io_uring_ring_dontfork(&ring_);
  }

  // At most `entries` commands, in order, up to the first that is refused.
  Submitted run(int fd, std::span<const Command> commands) {
    const auto count = static_cast<std::uint32_t>(commands.size());
    for (std::uint32_t i = 0; i < count; ++i)
      prepare(i, fd, commands[i], i + 1 < count);
    results_.fill(0);

    std::uint32_t answered = 0;
    // With SQPOLL the kernel's thread takes them, whatever a call says about it.
    std::uint32_t in_kernel = sqpoll_ ? count : 0;
    while (answered < count) {
      const int taken = io_uring_submit_and_wait(&ring_, count - answered);
      if (taken > 0 && !sqpoll_) in_kernel += static_cast<std::uint32_t>(taken);
      if (taken == -EAGAIN || taken == -EBUSY || taken == -ENOMEM) sched_yield();
      answered += take_answers();
      if (in_kernel == count) continue;
      // The kernel was short of memory and has split the chain: its second part must see how the first ends.
      while (answered < in_kernel)
        answered += wait_answer();
      if (first_refused(in_kernel) < in_kernel) cancel(in_kernel, count);
    }
    const std::uint32_t refused = first_refused(count);
    return Submitted{refused, refused == count ? Status{} : Status::from_kernel(results_[refused])};
  }

 private:
  void prepare(std::uint32_t index, int fd, const Command& command, bool link) {
    io_uring_sqe* entry = io_uring_get_sqe(&ring_);
    // The ring is empty between calls; but SQPOLL's thread answers before it gives entries back.
    while (entry == nullptr && sqpoll_) {
      io_uring_sqring_wait(&ring_);
      entry = io_uring_get_sqe(&ring_);
    }
    if (entry == nullptr) std::abort();  // cannot be
    std::memset(entry, 0, 128);
    entry->opcode = IORING_OP_URING_CMD;
    entry->fd = fd;
    entry->cmd_op = RDMA_BULK_URING_SUBMIT;
    entry->flags = link ? IOSQE_IO_LINK : 0;
    entry->user_data = index;
    std::memcpy(entry->cmd, &command.abi, sizeof(command.abi));
    entries_[index] = entry;
  }

  // Makes commands that the kernel has not seen yet do nothing.
  void cancel(std::uint32_t first, std::uint32_t end) {
    for (std::uint32_t i = first; i < end; ++i) {
      std::memset(entries_[i], 0, 128);
      entries_[i]->opcode = IORING_OP_NOP;
      entries_[i]->user_data = i;
    }
  }

  std::uint32_t wait_answer() {
    io_uring_cqe* answer = nullptr;
    static_cast<void>(io_uring_wait_cqe(&ring_, &answer));
    return take_answers();
  }

  std::uint32_t take_answers() {
    std::uint32_t taken = 0;
    io_uring_cqe* answer = nullptr;
    while (io_uring_peek_cqe(&ring_, &answer) == 0) {
      results_[answer->user_data % entries] = answer->res;
      io_uring_cqe_seen(&ring_, answer);
      ++taken;
    }
    return taken;
  }

  // Commands behind the first that is refused were cancelled (-ECANCELED), never tried.
  std::uint32_t first_refused(std::uint32_t count) const {
    const auto end = results_.begin() + count;
    return static_cast<std::uint32_t>(std::find_if(results_.begin(), end, [](int r) { return r < 0; }) -
                                      results_.begin());
  }

  io_uring ring_{};
  bool sqpoll_ = false;
  pid_t owner_ = 0;                               // process that opened the ring; 0: not open
  std::array<int, entries> results_{};            // by index in the call's commands
  std::array<io_uring_sqe*, entries> entries_{};  // likewise; in the ring's memory
};

Submitter::Submitter() = default;
Submitter::Submitter(Submitter&&) noexcept = default;
Submitter& Submitter::operator=(Submitter&&) noexcept = default;
Submitter::~Submitter() = default;

Result<Submitter> Submitter::make(int fd, Submission how) {
  Submitter result;
  result.fd_ = fd;
  if (how == Submission::ioctl) return result;
  result.uring_ = std::make_unique<Uring>();
  const int error = result.uring_->open(how == Submission::sqpoll);
  if (error == 0) {
    result.always_uring_ = how != Submission::automatic;
    return result;
  }
  result.uring_.reset();
  if (how == Submission::automatic) return result;
  const std::string hint =
      error == -EPERM ? " (kernel.io_uring_disabled, or a container's seccomp profile?)" : "";
  return Error{-error, "cannot set up an io_uring" + hint};
}

Status Submitter::one_by_ioctl(const Command& command) const {
  rdma_bulk_submit submit{};
  submit.size = sizeof(submit);
  submit.count = 1;
  submit.cmds = reinterpret_cast<std::uintptr_t>(&command);
  return Status::from_kernel(call(fd_, RDMA_BULK_IOC_SUBMIT, &submit));
}

Status Submitter::one_by_uring(const Command& command) {
  return uring_->run(fd_, std::span(&command, 1)).refusal;
}

Submitted Submitter::many(std::span<const Command> commands) {
  if (uring_ != nullptr && (always_uring_ || commands.size() > 1)) return many_by_uring(commands);
  return many_by_ioctl(commands);
}

Submitted Submitter::many_by_ioctl(std::span<const Command> commands) const {
  Submitted done;
  while (done.accepted < commands.size()) {
    const auto rest = commands.subspan(done.accepted);
    rdma_bulk_submit submit{};
    submit.size = sizeof(submit);
    submit.count = static_cast<std::uint32_t>(std::min<std::size_t>(rest.size(), ioctl_most));
    submit.cmds = reinterpret_cast<std::uintptr_t>(rest.data());
    // A refusal behind accepted ones shows as a short count; the next call, which begins with the refused
    // one, tells its errno (or takes it, if the reason has gone meanwhile).
    const long result = call(fd_, RDMA_BULK_IOC_SUBMIT, &submit);
    if (result < 0) {
      done.refusal = Status::from_kernel(result);
      break;
    }
    done.accepted += static_cast<std::uint32_t>(result);
  }
  return done;
}

Submitted Submitter::many_by_uring(std::span<const Command> commands) {
  Submitted done;
  while (done.accepted < commands.size() && done.refusal.ok()) {
    const auto rest = commands.subspan(done.accepted);
    const Submitted part = uring_->run(fd_, rest.first(std::min<std::size_t>(rest.size(), Uring::entries)));
    done.accepted += part.accepted;
    done.refusal = part.refusal;
  }
  return done;
}

}  // namespace bulk
