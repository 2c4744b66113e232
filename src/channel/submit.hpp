// SPDX-License-Identifier: BSD-3-Clause
//
// How commands get into the kernel: by ioctl or by io_uring. Both mean the same: commands are handled in
// order, the first that is refused ends the matter, and what follows it has no effect.
//
// io_uring by itself promises neither: it goes on after a refusal, and runs a command that answers -EAGAIN
// later, in a worker. So the commands of a batch are linked (IOSQE_IO_LINK): each starts when the one before
// it was accepted. And every call waits for the answers of all its commands, so that the next call's
// commands come after them.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "channel/command.hpp"
#include "channel/error.hpp"

namespace bulk {

enum class Submission : std::uint8_t {
  automatic,  // lone commands by ioctl; batches by io_uring where it can be had, else by ioctl
  ioctl,      // always ioctl
  uring,      // always io_uring; binding fails where it is forbidden
  sqpoll,     // always io_uring with a kernel thread that looks for commands (costs a processor)
};

// What became of an array of commands.
struct [[nodiscard]] Submitted {
  std::uint32_t accepted = 0;  // so many, from the beginning of the array
  Status refusal;              // of the command after those, if not all were accepted
};

class Uring;

class Submitter {
 public:
  Submitter();
  Submitter(Submitter&&) noexcept;
  Submitter& operator=(Submitter&&) noexcept;
  ~Submitter();

  // For the channel file `fd`, which must live longer. Errors with Submission::uring and ::sqpoll: those of
  // io_uring_setup(2), mostly EPERM (kernel.io_uring_disabled, a container's seccomp profile) and ENOSYS.
  static Result<Submitter> make(int fd, Submission how);

  // One command.
  Status one(const Command& command) { return always_uring_ ? one_by_uring(command) : one_by_ioctl(command); }
  // Any number of commands, in order.
  Submitted many(std::span<const Command> commands);

  // Whether batches go through io_uring.
  bool has_uring() const { return uring_ != nullptr; }

 private:
  Status one_by_ioctl(const Command& command) const;
  Status one_by_uring(const Command& command);
  Submitted many_by_ioctl(std::span<const Command> commands) const;
  Submitted many_by_uring(std::span<const Command> commands);

  int fd_ = -1;  // the channel's; not owned
  bool always_uring_ = false;
  std::unique_ptr<Uring> uring_;
};

}  // namespace bulk
