// SPDX-License-Identifier: BSD-3-Clause
//
// What is peculiar to the direct path between channels of one host (direct-one, which also runs the tests of
// messages, of PUT and GET and of processes over it).
#include <gtest/gtest.h>

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "../direct_path.hpp"
#include "agent.hpp"
#include "raw.hpp"

namespace bulk::lab {
namespace {

// A receiver with so many slots, that never has more.
BindOptions with_slots(std::uint32_t slots) {
  return {.device = device(), .rx_slots = slots, .endpoint_slots = 0, .max_rx_slots = slots};
}

std::uint64_t address_of(const Pages& pages) {
  return reinterpret_cast<std::uintptr_t>(pages.data());
}

class Direct : public testing::Test {
 protected:
  Direct() : pair_(Submission::ioctl), a_(*pair_.a), b_(*pair_.b) {}
  ~Direct() override { EXPECT_TRUE(pair_.still_works()); }

  Pair pair_;
  Node& a_;
  Node& b_;
};

TEST_F(Direct, an_endpoint_is_up_or_refused_when_it_has_been_opened) {
  a_.log.up.clear();
  ASSERT_TRUE(a_.channel.ep_open(b_.channel.address(), 77).ok());
  Address wrong = b_.channel.address();
  wrong.set_token(wrong.token() ^ 1);
  ASSERT_TRUE(a_.channel.ep_open(wrong, 78).ok());
  a_.channel.progress(a_.log);
  ASSERT_EQ(a_.log.up.size(), 1U);
  EXPECT_EQ(a_.log.up[0].user_data, 77U);
  ASSERT_EQ(a_.log.down.size(), 1U);
  EXPECT_EQ(a_.log.down[0].user_data, 78U);
  EXPECT_TRUE(is(a_.log.down[0].status, ECONNREFUSED));
}

TEST_F(Direct, a_command_has_ended_when_it_is_accepted) {
  Pages memory(1 << 20);
  Pages local(1 << 20);
  fill(local.span(), 1);
  const auto region = b_.domain.register_memory(memory.data(), memory.size(), Access::remote_read_write);
  ASSERT_TRUE(region.ok());
  const Remote to{address_of(memory), region->key()};
  const auto ended = [&](Status accepted) {
    EXPECT_TRUE(is(accepted, 0));
    a_.channel.progress(a_.log);
    EXPECT_EQ(a_.channel.outstanding(), 0U);
    return is(a_.log.done.back().status, 0);
  };
  EXPECT_TRUE(ended(a_.channel.send(pair_.ab, Local::user("hello"), 5, 1, 1)));
  b_.channel.progress(b_.log);
  EXPECT_EQ(b_.log.received, 1U);
  EXPECT_TRUE(ended(a_.channel.put(pair_.ab, Local::user(local.data()), local.size(), to, 2)));
  EXPECT_TRUE(holds(memory.span(), 1));
  fill(memory.span(), 2);
  EXPECT_TRUE(ended(a_.channel.get(pair_.ab, Local::user(local.data()), local.size(), to, 3)));
  EXPECT_TRUE(holds(local.span(), 2));
  EXPECT_TRUE(ended(a_.channel.flush(pair_.ab, 4, true)));
}

TEST_F(Direct, memory_may_be_put_onto_itself) {
  Pages memory(1 << 20);
  fill(memory.span(), 3);
  const auto region = a_.domain.register_memory(memory.data(), memory.size(), Access::remote_read_write);
  ASSERT_TRUE(region.ok());
  const EpHandle self = a_.connect(a_.channel.address());
  const auto put = [&](std::size_t from, std::size_t to, std::size_t length) {
    return a_.run([&](std::uint64_t id) {
      return a_.channel.put(self, Local::region(region->handle(), memory.data() + from), length,
                            {address_of(memory) + to, region->key()}, id);
    });
  };
  EXPECT_TRUE(is(put(0, 0, memory.size()), 0));
  EXPECT_TRUE(holds(memory.span(), 3)) << "the same bytes";
  // what overlapping ranges hold then is nobody's promise
  EXPECT_TRUE(is(put(0, 100, 500000), 0));
  EXPECT_TRUE(is(put(100, 0, 500000), 0));
}

TEST_F(Direct, a_channel_with_endpoints_to_itself_and_both_ways_ends) {
  for (int round = 0; round < 20; ++round) {
    Pair pair(Submission::ioctl);
    const EpHandle self = pair.a->connect(pair.a->channel.address());
    EXPECT_TRUE(is(pair.a->channel.send(self, Local::user("x"), 1, 1, 1), 0));
    EXPECT_TRUE(is(pair.a->channel.send(pair.ab, Local::user("x"), 1, 1, 1), 0));
    if (round % 2 == 0) pair.b.reset();
    pair.a.reset();
  }
}

TEST_F(Direct, closing_and_dying_at_the_same_time_harms_nobody) {
  for (int round = 0; round < 50; ++round) {
    auto other = Node::make(Submission::ioctl);
    std::vector<EpHandle> eps;
    for (int i = 0; i < 10; ++i)
      eps.push_back(a_.connect(other->channel.address()));
    std::thread death([&] { other.reset(); });
    for (const EpHandle ep : eps) {
      static_cast<void>(a_.channel.send(ep, Local::user("x"), 1, 1, 1));
      EXPECT_TRUE(is(a_.channel.ep_close(ep), 0));
    }
    death.join();
  }
  EXPECT_EQ(a_.channel.stats()->endpoints, 1U);
}

// ---- receive slots ----

TEST_F(Direct, all_endpoints_that_wait_for_slots_are_told) {
  auto stopped = Node::make(with_slots(4));
  stopped->log.hold = true;
  std::vector<EpHandle> eps;
  for (int i = 0; i < 200; ++i)
    eps.push_back(a_.connect(stopped->channel.address()));
  unsigned accepted = 0;
  for (const EpHandle ep : eps) {
    const Status s = a_.channel.send(ep, Local::user("x"), 1, 1, 1);
    accepted += s.ok() ? 1 : 0;
    EXPECT_TRUE(is(s, {0, EAGAIN}));
  }
  EXPECT_EQ(accepted, 4U);
  a_.channel.progress(a_.log);
  EXPECT_TRUE(a_.log.writable.empty());
  ASSERT_TRUE(lab::wait(
      {stopped.get()}, [&] { return stopped->log.held.size() == 4; }, "4 messages"));
  EXPECT_EQ(stopped->log.rx_low, 1U);
  ASSERT_TRUE(stopped->channel.rx_return(stopped->log.held.front()));
  ASSERT_TRUE(stopped->channel.flush_returns().ok());
  ASSERT_TRUE(pair_.wait([&] { return a_.log.writable.size() == 196; }, "196 times WRITABLE"));
  EXPECT_TRUE(is(a_.channel.send(eps.back(), Local::user("x"), 1, 1, 1), 0));
  EXPECT_TRUE(is(a_.channel.send(eps.back(), Local::user("x"), 1, 1, 1), EAGAIN));
}

TEST_F(Direct, an_endpoint_that_waits_for_slots_may_be_closed_or_lose_its_target) {
  auto stopped = Node::make(with_slots(2));
  const EpHandle first = a_.connect(stopped->channel.address());
  const EpHandle second = a_.connect(stopped->channel.address());
  for (const EpHandle ep : {first, second}) {
    while (a_.channel.send(ep, Local::user("x"), 1, 1, 1).ok()) {
    }
  }
  EXPECT_TRUE(is(a_.channel.ep_close(first), 0));
  stopped.reset();
  ASSERT_TRUE(pair_.wait([&] { return !a_.log.down.empty(); }, "the endpoint to come down"));
  EXPECT_EQ(a_.log.down[0].ep, second);
  EXPECT_TRUE(is(a_.log.down[0].status, ECONNRESET));
  EXPECT_EQ(a_.log.down.size(), 1U);
}

// One sender comes over the adapter, as from another host, the other directly.
TEST_F(Direct, senders_of_both_ways_have_their_turns_at_few_slots) {
  constexpr std::uint64_t total = 300;
  auto receiver = Node::make(with_slots(2));
  EpHandle far;
  {
    const DirectPath adapter(false);
    far = a_.connect(receiver->channel.address(), {receiver.get()});
  }
  const EpHandle near = b_.connect(receiver->channel.address());
  std::uint64_t sent_far = 0;
  std::uint64_t sent_near = 0;
  const auto push = [](Node& from, EpHandle ep, std::uint16_t id, std::uint64_t& sent) {
    while (sent < total && from.channel.send(ep, Local::user("x"), 1, id, 1).ok())
      ++sent;
  };
  ASSERT_TRUE(lab::wait(
      {receiver.get(), &a_, &b_},
      [&] {
        push(a_, far, 1, sent_far);
        push(b_, near, 2, sent_near);
        return receiver->log.received == 2 * total;
      },
      "all messages of both"));
  const auto of = [&](std::uint16_t id) {
    return std::count_if(receiver->log.messages.begin(), receiver->log.messages.end(),
                         [id](const Received& m) { return m.id == id; });
  };
  EXPECT_EQ(of(1), static_cast<long>(total));
  EXPECT_EQ(of(2), static_cast<long>(total));
}

// Who waits may have nothing more to say: what it leaves is for the other host.
TEST_F(Direct, slots_that_a_waiting_endpoint_does_not_use_are_for_other_hosts) {
  auto receiver = Node::make(with_slots(2));
  receiver->log.hold = true;
  EpHandle far;
  {
    const DirectPath adapter(false);
    far = a_.connect(receiver->channel.address(), {receiver.get()});
  }
  const EpHandle near = b_.connect(receiver->channel.address());
  while (b_.channel.send(near, Local::user("x"), 1, 2, 1).ok()) {
  }
  while (a_.channel.send(far, Local::user("x"), 1, 1, 1).ok()) {
  }
  ASSERT_TRUE(lab::wait(
      {receiver.get(), &a_, &b_}, [&] { return receiver->log.held.size() == 2; }, "2 messages"));
  EXPECT_TRUE(is(b_.channel.send(near, Local::user("x"), 1, 2, 1), EAGAIN)) << "b waits now";
  for (int round = 0; round < 5; ++round) {
    const std::uint64_t before = receiver->log.received;
    ASSERT_TRUE(receiver->channel.rx_return(receiver->log.held.back()));
    receiver->log.held.pop_back();
    ASSERT_TRUE(receiver->channel.flush_returns().ok());
    ASSERT_TRUE(lab::wait(
        {receiver.get(), &a_, &b_},
        [&] {
          static_cast<void>(a_.channel.send(far, Local::user("x"), 1, 1, 1));
          return receiver->log.received > before;
        },
        "a message of a"));
    // b says again that it would like to
    EXPECT_TRUE(is(b_.channel.send(near, Local::user("x"), 1, 2, 1), {EAGAIN, 0}));
  }
}

// ---- threads ----

TEST_F(Direct, what_two_threads_send_by_one_endpoint_arrives_once_and_in_their_order) {
  constexpr std::uint16_t each = 2000;
  RawChannel sender;
  auto open = good_ep_open(b_.channel.address());
  ASSERT_TRUE(is(raw(sender.fd.get(), RDMA_BULK_IOC_EP_OPEN, &open), 0));
  const EpHandle ep{open.ep};
  std::atomic<unsigned> running{2};
  std::vector<std::thread> threads;
  for (std::uint16_t t = 0; t < 2; ++t) {
    threads.emplace_back([&, t] {
      for (std::uint16_t i = 0; i < each;) {
        const Status s = sender.submit(Command::send(ep, Local::user(&i), sizeof(i), t, i));
        if (s.ok())
          ++i;
        else if (!s.again())
          break;
      }
      --running;
    });
  }
  std::uint32_t taken = 0;
  std::uint32_t done = 0;
  const auto result = pair_.wait(
      [&] {
        for (const std::uint32_t end = sender.producer(); taken != end; ++taken)
          done += sender.event(taken).type == RDMA_BULK_EV_DONE ? 1 : 0;
        __atomic_store_n(&sender.ctrl->consumer, taken, __ATOMIC_RELEASE);
        return running == 0 && b_.log.received == 2 * each;
      },
      "all messages");
  for (std::thread& t : threads)
    t.join();
  ASSERT_TRUE(result);
  while (taken != sender.producer())
    done += sender.event(taken++).type == RDMA_BULK_EV_DONE ? 1 : 0;
  EXPECT_EQ(done, 2U * each) << "each command ends exactly once";
  std::uint16_t next[2] = {};
  for (const Received& m : b_.log.messages) {
    std::uint16_t i = 0;
    ASSERT_EQ(m.bytes.size(), sizeof(i));
    std::memcpy(&i, m.bytes.data(), sizeof(i));
    ASSERT_LT(m.id, 2);
    ASSERT_EQ(i, next[m.id]++) << "of thread " << m.id;
  }
}

// ---- processes ----

TEST_F(Direct, nothing_is_written_after_invalidation_while_another_process_goes_on) {
  Pages memory(1 << 20);
  Agent agent("ioctl");
  ASSERT_TRUE(agent.started());
  for (int round = 0; round < 3; ++round) {
    auto region = a_.domain.register_memory(memory.data(), memory.size(), Access::remote_read_write);
    ASSERT_TRUE(region.ok());
    ASSERT_TRUE(agent.ask("open " + a_.channel.address().text(), &a_));
    const std::uint64_t before = a_.log.received;
    ASSERT_TRUE(agent.ask("stream " + std::to_string(address_of(memory)) + " " + hex(region->key()) + " " +
                              std::to_string(memory.size()),
                          &a_));
    ASSERT_TRUE(pair_.wait([&] { return a_.log.received > before + 5; }, "some messages"));
    EXPECT_TRUE(is(a_.domain.deregister(std::move(*region), Deregister::invalidate), 0));
    std::memset(memory.data(), 0x33, memory.size());
    const std::uint64_t then = a_.log.received;
    ASSERT_TRUE(pair_.wait([&] { return a_.log.received > then + 20; }, "more messages"));
    EXPECT_TRUE(std::all_of(memory.span().begin(), memory.span().end(),
                            [](std::byte b) { return b == std::byte{0x33}; }));
    ASSERT_TRUE(agent.ask("release", &a_));  // ends the stream
  }
}

// Another process, that has made a channel and an endpoint to `target` and runs `body`; killed at the end.
class Child {
 public:
  Child(const Address& target, const std::function<void(Node&, EpHandle, int)>& body) {
    int pipe[2];
    EXPECT_EQ(::pipe2(pipe, O_CLOEXEC), 0);
    pid_ = ::fork();
    if (pid_ == 0) {
      const auto node = Node::make(Submission::ioctl);
      body(*node, node->connect(target), pipe[1]);
      ::_exit(0);
    }
    ::close(pipe[1]);
    from_ = pipe[0];
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child() {
    kill();
    ::close(from_);
  }

  // A byte from it: false if none comes.
  bool tells() const {
    pollfd file{from_, POLLIN, 0};
    char byte = 0;
    return ::poll(&file, 1, limit_seconds() * 1000) == 1 && ::read(from_, &byte, 1) == 1;
  }
  // True if it was killed and is gone.
  bool kill() {
    if (pid_ <= 0) return false;
    ::kill(pid_, SIGKILL);
    int status = 0;
    const bool gone = ::waitpid(pid_, &status, 0) == pid_;
    pid_ = -1;
    return gone && WIFSIGNALED(status);
  }

 private:
  pid_t pid_;
  int from_;
};

bool has_userfaultfd() {
  const int file = static_cast<int>(::syscall(SYS_userfaultfd, O_CLOEXEC));
  if (file >= 0) ::close(file);
  return file >= 0;
}

// Memory whose pages never come. A byte goes to `tell` when somebody has begun to wait for one.
std::byte* pages_that_never_come(std::size_t bytes, int tell) {
  const int file = static_cast<int>(::syscall(SYS_userfaultfd, O_CLOEXEC));
  uffdio_api api{};
  api.api = UFFD_API;
  void* base = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  uffdio_register range{};
  range.range = {reinterpret_cast<std::uintptr_t>(base), bytes};
  range.mode = UFFDIO_REGISTER_MODE_MISSING;
  if (file < 0 || ::ioctl(file, UFFDIO_API, &api) != 0 || ::ioctl(file, UFFDIO_REGISTER, &range) != 0) {
    std::perror("userfaultfd");
    ::_exit(1);
  }
  std::thread([file, tell] {
    uffd_msg message;
    if (::read(file, &message, sizeof(message)) == sizeof(message)) static_cast<void>(::write(tell, "!", 1));
    ::pause();
  }).detach();
  return static_cast<std::byte*>(base);
}

class PagesThatNeverCome : public Direct, public testing::WithParamInterface<bool> {
 protected:
  void SetUp() override {
    if (!has_userfaultfd()) GTEST_SKIP() << "this kernel has no userfaultfd";
    auto region = b_.domain.register_memory(memory_.data(), memory_.size(), Access::remote_read_write);
    EXPECT_TRUE(region.ok());
    region_ = std::move(*region);
  }

  // A PUT from, or a GET into, such memory.
  static std::function<void(Node&, EpHandle, int)> body(const Remote& remote) {
    return [remote](Node& node, EpHandle ep, int tell) {
      const Local local = Local::user(pages_that_never_come(bytes, tell));
      static_cast<void>(GetParam() ? node.channel.put(ep, local, bytes, remote, 1)
                                   : node.channel.get(ep, local, bytes, remote, 1));
    };
  }
  Remote remote() const { return {address_of(memory_), region_.key()}; }

  static constexpr std::size_t bytes = 1 << 20;
  Pages memory_{bytes};
  Region region_;
};

TEST_P(PagesThatNeverCome, do_not_hold_up_the_deregistration_of_the_other_side) {
  Child child(b_.channel.address(), body(remote()));
  ASSERT_TRUE(child.tells()) << "no page fault came about";
  EXPECT_TRUE(is(b_.domain.deregister(std::move(region_), Deregister::invalidate), 0));
  EXPECT_TRUE(child.kill());
}

TEST_P(PagesThatNeverCome, do_not_hold_up_the_end_of_the_other_side) {
  Agent target("ioctl");
  ASSERT_TRUE(target.started());
  a_.connect(target.address());
  const auto region = target.ask("region " + std::to_string(bytes) + " rw", &a_);
  ASSERT_TRUE(region);
  const auto key = key_from_hex(region->substr(region->find(' ') + 1));
  ASSERT_TRUE(key);
  Child child(target.address(), body({std::stoull(*region), *key}));
  ASSERT_TRUE(child.tells()) << "no page fault came about";
  target.kill();
  ASSERT_TRUE(pair_.wait([&] { return !a_.log.down.empty(); }, "its endpoints to come down"));
  EXPECT_TRUE(is(a_.log.down[0].status, ECONNRESET));
  EXPECT_TRUE(child.kill());
}

TEST_P(PagesThatNeverCome, do_not_keep_a_killed_process_alive) {
  Child child(b_.channel.address(), body(remote()));
  ASSERT_TRUE(child.tells()) << "no page fault came about";
  EXPECT_TRUE(child.kill());
}

INSTANTIATE_TEST_SUITE_P(, PagesThatNeverCome, testing::Bool(),
                         [](const auto& info) { return info.param ? "of_a_put" : "of_a_get"; });

// A message is copied before anything of the target is taken.
TEST_F(Direct, a_message_whose_pages_never_come_takes_no_slot) {
  if (!has_userfaultfd()) GTEST_SKIP() << "this kernel has no userfaultfd";
  auto target = Node::make(with_slots(1));
  Child child(target->channel.address(), [](Node& node, EpHandle ep, int tell) {
    static_cast<void>(node.channel.send(ep, Local::user(pages_that_never_come(8192, tell)), 8000, 1, 1));
  });
  ASSERT_TRUE(child.tells()) << "no page fault came about";
  const EpHandle ep = a_.connect(target->channel.address());
  EXPECT_TRUE(is(a_.channel.send(ep, Local::user("x"), 1, 1, 1), 0));
  EXPECT_TRUE(child.kill());
}

TEST_F(Direct, a_process_killed_in_a_long_put_is_gone_and_the_target_goes_on) {
  constexpr std::size_t bytes = 64 << 20;
  Pages memory(bytes);
  const auto region = b_.domain.register_memory(memory.data(), bytes, Access::remote_read_write);
  ASSERT_TRUE(region.ok());
  Child child(b_.channel.address(), [&](Node& node, EpHandle ep, int tell) {
    const Remote to{address_of(memory), region->key()};
    static_cast<void>(::write(tell, "!", 1));
    for (;;) {
      static_cast<void>(node.channel.put(ep, Local::user(memory.data()), bytes, to, 1));
      node.channel.progress(node.log);
    }
  });
  ASSERT_TRUE(child.tells());
  EXPECT_TRUE(child.kill());
}

}  // namespace
}  // namespace bulk::lab
