// SPDX-License-Identifier: BSD-3-Clause
//
// A process that writes what it likes into the memory it shares with the kernel (P1): the kernel must go on,
// and an honest pair of channels beside it must not notice.
#include <gtest/gtest.h>

#include <atomic>
#include <cstring>
#include <thread>
#include <vector>

#include "raw.hpp"

namespace bulk::lab {
namespace {

class Hostile : public testing::Test {
 protected:
  Hostile() : pair_(Submission::ioctl) {
    to_hostile_ = pair_.a->connect(hostile_.address(), {pair_.b.get()});
    auto open = good_ep_open(pair_.b->channel.address());
    EXPECT_TRUE(is(raw(hostile_.fd.get(), RDMA_BULK_IOC_EP_OPEN, &open), 0));
    ep_ = EpHandle{open.ep};
    EXPECT_TRUE(wait([&] { return hostile_.producer() != 0; }, "the hostile endpoint to come up"));
  }
  ~Hostile() override { EXPECT_TRUE(pair_.still_works()); }

  testing::AssertionResult wait(const std::function<bool()>& condition, const std::string& what) {
    return lab::wait({pair_.a.get(), pair_.b.get()}, condition, what);
  }

  // Traffic in both directions between the hostile channel and honest ones; whatever is refused is refused.
  void traffic(int rounds) {
    const std::byte bytes[100] = {};
    for (int i = 0; i < rounds; ++i) {
      static_cast<void>(pair_.a->channel.send(to_hostile_, Local::user(bytes), 100, 1, 1));
      static_cast<void>(hostile_.submit(Command::send(ep_, Local::user(bytes), 100, 1, 1)));
      static_cast<void>(hostile_.submit(Command::flush(ep_, 1)));
      pair_.a->channel.progress(pair_.a->log);
      pair_.b->channel.progress(pair_.b->log);
    }
  }

  RawChannel hostile_;
  Pair pair_;
  EpHandle to_hostile_;  // of pair_.a
  EpHandle ep_;          // of hostile_, to pair_.b
};

TEST_F(Hostile, consumer_index_at_every_extreme) {
  const std::uint32_t n = hostile_.bind.events;
  for (int round = 0; round < 3; ++round) {
    const std::uint32_t p = hostile_.producer();
    for (const std::uint32_t value :
         {0U, 1U, p - 1, p, p + 1, p - n, p - n - 1, p - n + 1, p + n, p + 0x7fffffffU, p + 0x80000000U,
          0x7fffffffU, 0x80000000U, 0xfffffffeU, 0xffffffffU}) {
      __atomic_store_n(&hostile_.ctrl->consumer, value, __ATOMIC_RELEASE);
      traffic(20);
      ASSERT_TRUE(pair_.still_works()) << "consumer index " << value << ", producer " << hostile_.producer();
    }
  }
  // An honest index again: events come again.
  ASSERT_TRUE(wait(
      [&] {
        __atomic_store_n(&hostile_.ctrl->consumer, hostile_.producer(), __ATOMIC_RELEASE);
        const std::uint32_t before = hostile_.producer();
        traffic(1);
        return hostile_.producer() != before;
      },
      "events for a reformed process"));
}

TEST_F(Hostile, ring_that_is_never_read) {
  // Every command that is accepted has its place: at some point none is accepted any more.
  std::uint32_t accepted = 0;
  Status status;
  ASSERT_TRUE(wait(
      [&] {
        for (int i = 0; i < 100; ++i) {
          status = hostile_.submit(Command::flush(ep_, accepted));
          accepted += status.ok() ? 1 : 0;
        }
        return status.again() || accepted > hostile_.bind.events + 100;
      },
      "a refusal"));
  EXPECT_TRUE(is(status, EAGAIN));
  EXPECT_LE(accepted, hostile_.bind.events);
  EXPECT_LE(hostile_.producer(), hostile_.bind.events) << "events were overwritten";
  traffic(50);
}

TEST_F(Hostile, words_rewritten_all_the_time) {
  std::atomic<bool> stop{false};
  std::thread writer([&] {
    std::uint32_t x = 1;
    while (!stop) {
      x = x * 1664525 + 1013904223;
      __atomic_store_n(&hostile_.ctrl->consumer, x, __ATOMIC_RELAXED);
      __atomic_store_n(&hostile_.ctrl->armed, x >> 3, __ATOMIC_RELAXED);
      for (std::size_t i = x % 61; i < hostile_.bind.rx_bytes; i += 4093)
        hostile_.rx[i] = static_cast<std::byte>(x);
      for (std::size_t i = x % 61; i < hostile_.bind.tx_bytes; i += 4093)
        hostile_.tx[i] = static_cast<std::byte>(x);
      std::this_thread::yield();
    }
  });
  for (int i = 0; i < 20; ++i) {
    traffic(20);
    const TxSlot slot{static_cast<std::uint32_t>(i) % hostile_.bind.tx_slots};
    static_cast<void>(hostile_.submit(Command::send(ep_, slot, 8256, 1, 1)));
    EXPECT_TRUE(pair_.still_works());
  }
  stop = true;
  writer.join();
}

TEST_F(Hostile, commands_rewritten_while_they_are_read) {
  std::vector<Command> commands(64, Command::send(ep_, Local::user("x"), 1, 1, 1));
  std::atomic<bool> stop{false};
  std::thread writer([&] {
    std::uint32_t x = 1;
    auto* bytes = reinterpret_cast<volatile std::uint8_t*>(commands.data());
    while (!stop) {
      x = x * 1664525 + 1013904223;
      bytes[(x >> 8) % (commands.size() * sizeof(Command))] = static_cast<std::uint8_t>(x >> 24);
    }
  });
  for (int i = 0; i < 300; ++i) {
    auto s = sized<rdma_bulk_submit>();
    s.count = 64;
    s.cmds = reinterpret_cast<std::uintptr_t>(commands.data());
    static_cast<void>(raw(hostile_.fd.get(), RDMA_BULK_IOC_SUBMIT, &s));
    __atomic_store_n(&hostile_.ctrl->consumer, hostile_.producer(), __ATOMIC_RELEASE);
    if (i % 50 == 0) {
      EXPECT_TRUE(pair_.still_works());
    }
  }
  stop = true;
  writer.join();
}

TEST_F(Hostile, random_commands) {
  std::uint64_t x = 88172645463325252U;
  const auto random = [&] {
    x ^= x << 13;
    x ^= x >> 7;
    return x ^= x << 17;
  };
  for (int i = 0; i < 5000; ++i) {
    Command c{};
    auto* bytes = reinterpret_cast<std::uint8_t*>(&c);
    const int changes = 1 + static_cast<int>(random() % 12);
    c = i % 2 == 0 ? Command::send(ep_, Local::user(bytes), 8, 1, 1) : Command::flush(ep_, 1);
    for (int k = 0; k < changes; ++k)
      bytes[random() % sizeof(Command)] = static_cast<std::uint8_t>(random());
    static_cast<void>(hostile_.submit(c));
    __atomic_store_n(&hostile_.ctrl->consumer, hostile_.producer(), __ATOMIC_RELEASE);
    if (i % 1000 == 0) {
      EXPECT_TRUE(pair_.still_works());
    }
  }
}

TEST_F(Hostile, random_ioctls) {
  std::uint64_t x = 88172645463325252U;
  const auto random = [&] {
    x ^= x << 13;
    x ^= x >> 7;
    return x ^= x << 17;
  };
  std::uint8_t bytes[256];
  for (int i = 0; i < 3000; ++i) {
    std::memset(bytes, 0, sizeof(bytes));
    const unsigned request = static_cast<unsigned>(random() % 12);
    const std::uint32_t size =
        static_cast<std::uint32_t>(random() % 4 == 0 ? random() % 200 : 8 * (random() % 22));
    for (int k = 0; k < 6; ++k)
      bytes[random() % sizeof(bytes)] = static_cast<std::uint8_t>(random());
    std::memcpy(bytes, &size, sizeof(size));
    const int fd = i % 3 == 0 ? hostile_.domain.get() : hostile_.fd.get();
    static_cast<void>(raw(fd, _IO(RDMA_BULK_IOC_MAGIC, request), bytes));
    if (i % 1000 == 0) {
      EXPECT_TRUE(pair_.still_works());
    }
  }
}

}  // namespace
}  // namespace bulk::lab
