// SPDX-License-Identifier: BSD-3-Clause
//
// Threads that poll in vain: they sleep, and miss nothing.
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/resource.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <thread>

#include "node.hpp"

namespace bulk::test {
namespace {

const NodeOptions sleeper{.config = {{"IDLE_SLEEP", "on"}}};

// How often this thread has gone to sleep by itself; sched_yield() does not count.
long sleeps() {
  rusage usage{};
  getrusage(RUSAGE_THREAD, &usage);
  return usage.ru_nvcsw;
}

// The stand-in for the kernel puts nobody to sleep.
bool is_stand_in() {
  const char* preloaded = std::getenv("LD_PRELOAD");
  return preloaded != nullptr && std::strstr(preloaded, "loop_kernel") != nullptr;
}

testing::AssertionResult goes_to_sleep(std::initializer_list<Node*> nodes) {
  const long before = sleeps();
  return is_stand_in() || wait_until(nodes, [&] { return sleeps() >= before + 5; })
             ? testing::AssertionSuccess()
             : testing::AssertionFailure();
}

TEST(IdlePoller, SleepsOnItsInterface) {
  Node node(sleeper);
  EXPECT_TRUE(goes_to_sleep({&node}));
}

// Waits that end only after it has slept: it does not poll for long before the next one.
TEST(IdlePoller, SleepsSoonerWhereItHasPolledInVain) {
  if (is_stand_in()) return;
  Node node(sleeper);
  Node sender(sleeper);
  const Endpoint ep(sender, node);
  std::size_t calls = 0;
  const bool sooner = wait_until({}, [&] {
    const std::size_t arrived = node.arrived.size();
    EXPECT_EQ(repeat({&sender}, [&] { return uct_ep_am_short(ep.get(), 1, 0, nullptr, 0); }), UCS_OK);
    // Mostly without the sender, whose progress is needed all the same if the kernel has refused the message for now.
    unsigned looks = 0;
    EXPECT_TRUE(wait_until({&node}, [&] {
      if (++looks % 64 == 0) sender.progress();
      return node.arrived.size() > arrived;
    }));
    const long before = sleeps();
    calls = 0;
    EXPECT_TRUE(wait_until({}, [&] {
      if (sleeps() != before) return true;
      node.progress();
      ++calls;
      return false;
    }));
    return calls <= 20;
  });
  EXPECT_TRUE(sooner) << calls << " calls of progress before it slept";
}

TEST(IdlePoller, SleepsOnAllInterfacesItPollsInTurn) {
  Node first(sleeper);
  Node second(sleeper);
  Node third(sleeper);
  EXPECT_TRUE(goes_to_sleep({&first, &second, &third}));
}

// One of them may be used by other threads, so that nobody but its own progress may look at it.
TEST(IdlePoller, StaysAwakeForInterfacesOfOtherThreads) {
  Node own(sleeper);
  Node shared({.threads = UCS_THREAD_MODE_SERIALIZED, .config = sleeper.config});
  for (unsigned i = 0; i < 1000; ++i) {
    own.progress();
    shared.progress();
  }
  EXPECT_TRUE(goes_to_sleep({&shared})) << "alone";
}

TEST(IdlePoller, GoesOnWithoutAnInterfaceThatIsClosed) {
  auto first = std::make_unique<Node>(sleeper);
  auto second = std::make_unique<Node>(sleeper);
  auto third = std::make_unique<Node>(sleeper);
  EXPECT_TRUE(goes_to_sleep({first.get(), second.get(), third.get()}));
  first.reset();
  EXPECT_TRUE(goes_to_sleep({second.get(), third.get()}));
  third.reset();
  EXPECT_TRUE(goes_to_sleep({second.get()}));
}

// As UCX has interfaces without endpoints: their files are waited for in its own thread, which can say so to
// this one only when progress is called.
TEST(IdlePoller, WakesForAnInterfaceThatIsArmed) {
  if (is_stand_in()) return;
  Node polled(sleeper);
  Node armed(sleeper);
  Node sender(sleeper);
  const Endpoint ep(sender, armed);
  int fd = -1;
  ASSERT_EQ(uct_iface_event_fd_get(armed.iface(), &fd), UCS_OK);
  ASSERT_TRUE(wait_until({&armed}, [&] {
    return uct_iface_event_arm(armed.iface(), UCT_EVENT_RECV | UCT_EVENT_SEND_COMP) == UCS_OK;
  }));
  EXPECT_TRUE(goes_to_sleep({&polled}));

  EXPECT_EQ(repeat({&sender}, [&] { return uct_ep_am_short(ep.get(), 1, 0, nullptr, 0); }), UCS_OK);
  pollfd file{.fd = fd, .events = POLLIN, .revents = 0};
  ASSERT_TRUE(wait_until({}, [&] { return poll(&file, 1, 100) == 1; }));
  polled.progress();
  const long before = sleeps();
  for (unsigned i = 0; i < 1000; ++i)
    polled.progress();
  EXPECT_LE(sleeps() - before, 10) << "with an event that waits for it";

  EXPECT_TRUE(wait_until({&armed}, [&] { return armed.arrived.size() == 1; }));
  EXPECT_TRUE(goes_to_sleep({&polled})) << "again";
}

TEST(IdlePoller, OfSeveralInterfacesMissesNoMessage) {
  constexpr std::size_t rounds = 200;
  Node first(sleeper);
  Node second(sleeper);
  std::atomic<bool> over{false};
  std::thread other([&] {
    Node sender(sleeper);
    {
      Endpoint to_first(sender, first);
      Endpoint to_second(sender, second);
      for (std::size_t i = 0; i < rounds; ++i) {
        for (const Endpoint* ep : {&to_first, &to_second})
          EXPECT_EQ(repeat({&sender}, [&] { return uct_ep_am_short(ep->get(), 1, i, nullptr, 0); }), UCS_OK);
      }
      while (!over)
        sender.progress();
    }
  });
  EXPECT_TRUE(wait_until({&first, &second},
                         [&] { return first.arrived.size() == rounds && second.arrived.size() == rounds; }));
  over = true;
  other.join();
}

}  // namespace
}  // namespace bulk::test
