// SPDX-License-Identifier: BSD-3-Clause
//
// Book-keeping of transmit and receive slots.
#include <gtest/gtest.h>

#include <set>

#include "channel/slots.hpp"

namespace bulk {
namespace {

TEST(TxSlots, gives_every_slot_once) {
  TxSlots slots;
  slots.grow(0, 5);
  std::set<std::uint32_t> seen;
  for (int i = 0; i < 5; ++i) {
    const TxSlot slot = slots.acquire();
    ASSERT_TRUE(slot.valid());
    EXPECT_LT(slot.value, 5U);
    EXPECT_TRUE(seen.insert(slot.value).second) << "slot " << slot.value << " was given twice";
  }
  EXPECT_FALSE(slots.acquire().valid());
  EXPECT_EQ(slots.available(), 0U);
}

TEST(TxSlots, begins_with_slot_0) {
  TxSlots slots;
  slots.grow(0, 3);
  EXPECT_EQ(slots.acquire(), TxSlot{0});
}

TEST(TxSlots, gives_the_last_released_first) {
  TxSlots slots;
  slots.grow(0, 3);
  const TxSlot a = slots.acquire();
  const TxSlot b = slots.acquire();
  EXPECT_TRUE(slots.release(a));
  EXPECT_EQ(slots.acquire(), a);
  EXPECT_TRUE(slots.release(b));
  EXPECT_EQ(slots.acquire(), b);
}

TEST(TxSlots, refuses_what_is_not_taken) {
  TxSlots slots;
  slots.grow(0, 2);
  EXPECT_FALSE(slots.release(TxSlot{0})) << "never taken";
  EXPECT_FALSE(slots.release(TxSlot{2})) << "out of range";
  EXPECT_FALSE(slots.release(TxSlot{})) << "no slot";
  const TxSlot slot = slots.acquire();
  EXPECT_TRUE(slots.release(slot));
  EXPECT_FALSE(slots.release(slot)) << "released twice";
  EXPECT_EQ(slots.available(), 2U);
}

TEST(TxSlots, grows_while_slots_are_taken) {
  TxSlots slots;
  slots.grow(0, 1);
  const TxSlot first = slots.acquire();
  slots.grow(1, 2);
  EXPECT_EQ(slots.total(), 3U);
  EXPECT_EQ(slots.acquire(), TxSlot{1});
  EXPECT_EQ(slots.acquire(), TxSlot{2});
  EXPECT_FALSE(slots.acquire().valid());
  EXPECT_TRUE(slots.release(first));
}

class RxSlotsTest : public testing::Test {
 protected:
  void receive_all(std::uint32_t count) {
    slots_.grow(slots_.total(), count);
    for (std::uint32_t i = 0; i < count; ++i)
      slots_.received(RxSlot{i});
  }
  RxSlots slots_;
};

TEST_F(RxSlotsTest, batch_is_a_quarter_of_the_slots_and_at_most_16) {
  const std::pair<std::uint32_t, std::uint32_t> cases[] = {{1, 1},  {4, 1},   {7, 1},   {8, 2},
                                                           {32, 8}, {64, 16}, {512, 16}};
  for (const auto& [total, batch] : cases) {
    RxSlots slots;
    slots.grow(0, total);
    EXPECT_EQ(slots.batch(), batch) << "of " << total << " slots";
  }
}

TEST_F(RxSlotsTest, is_due_when_a_batch_is_full) {
  slots_.grow(0, 32);
  for (std::uint32_t i = 0; i < 8; ++i) {
    EXPECT_FALSE(slots_.due()) << i << " queued";
    slots_.received(RxSlot{i});
    EXPECT_TRUE(slots_.queue(RxSlot{i}));
  }
  EXPECT_TRUE(slots_.due());
}

TEST_F(RxSlotsTest, is_due_early_when_the_kernel_has_few_slots_left) {
  slots_.grow(0, 32);
  for (std::uint32_t i = 0; i < 24; ++i)
    slots_.received(RxSlot{i});
  EXPECT_FALSE(slots_.due()) << "nothing is queued";
  EXPECT_TRUE(slots_.queue(RxSlot{5}));
  EXPECT_TRUE(slots_.due()) << "the kernel has 8 of 32";
}

TEST_F(RxSlotsTest, returns_at_most_16_at_once_and_all_in_the_end) {
  receive_all(40);
  for (std::uint32_t i = 0; i < 40; ++i)
    ASSERT_TRUE(slots_.queue(RxSlot{i}));
  std::set<std::uint16_t> seen;
  std::vector<std::size_t> sizes;
  while (slots_.queued() != 0) {
    const auto next = slots_.next();
    sizes.push_back(next.size());
    seen.insert(next.begin(), next.end());
    slots_.returned(next.size());
  }
  EXPECT_EQ(sizes, (std::vector<std::size_t>{16, 16, 8}));
  EXPECT_EQ(seen.size(), 40U);
  EXPECT_EQ(slots_.with_process(), 0U);
}

TEST_F(RxSlotsTest, refuses_what_is_not_held) {
  receive_all(4);
  EXPECT_FALSE(slots_.queue(RxSlot{4})) << "out of range";
  EXPECT_FALSE(slots_.queue(RxSlot{})) << "no slot";
  EXPECT_TRUE(slots_.queue(RxSlot{2}));
  EXPECT_FALSE(slots_.queue(RxSlot{2})) << "queued already";
  slots_.returned(1);
  EXPECT_FALSE(slots_.queue(RxSlot{2})) << "the kernel's again";
  slots_.received(RxSlot{2});
  EXPECT_TRUE(slots_.queue(RxSlot{2})) << "received anew";
}

TEST_F(RxSlotsTest, counts_held_and_queued) {
  receive_all(4);
  EXPECT_EQ(slots_.held(), 4U);
  EXPECT_TRUE(slots_.queue(RxSlot{0}));
  EXPECT_EQ(slots_.held(), 3U);
  EXPECT_EQ(slots_.queued(), 1U);
  EXPECT_EQ(slots_.with_process(), 4U);
}

}  // namespace
}  // namespace bulk
