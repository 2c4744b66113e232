// SPDX-License-Identifier: BSD-3-Clause
//
// The event ring's arithmetic, on a ring in ordinary memory.
#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <vector>

#include "channel/event_ring.hpp"

namespace bulk {
namespace {

class EventRingTest : public testing::TestWithParam<std::uint32_t> {
 protected:
  static constexpr std::uint32_t entries = 8;

  EventRingTest()
      : memory_((sizeof(rdma_bulk_ring) + entries * sizeof(rdma_bulk_event)) / sizeof(std::uint64_t)) {
    kernel_ = reinterpret_cast<rdma_bulk_ring*>(memory_.data());
    kernel_->producer = GetParam();
    ctrl_.consumer = GetParam();
    ring_ = EventRing(kernel_, &ctrl_, entries);
  }

  void produce(std::uint64_t user_data) {
    rdma_bulk_event event{};
    event.user_data = user_data;
    kernel_->entry[kernel_->producer % entries] = event;
    kernel_->producer += 1;
  }

  std::vector<std::uint64_t> memory_;
  rdma_bulk_ring* kernel_;
  rdma_bulk_ctrl ctrl_{};
  EventRing ring_;
};

TEST_P(EventRingTest, is_empty_at_first) {
  rdma_bulk_event event{};
  EXPECT_TRUE(ring_.empty());
  EXPECT_FALSE(ring_.peek(event));
  EXPECT_EQ(ring_.pending(), 0U);
  EXPECT_EQ(ring_.capacity(), entries);
}

TEST_P(EventRingTest, gives_events_in_order_over_several_rounds) {
  std::uint64_t sent = 0;
  std::uint64_t taken = 0;
  for (int round = 0; round < 5; ++round) {
    for (std::uint32_t i = 0; i < 3 + static_cast<std::uint32_t>(round); ++i)
      produce(sent++);
    EXPECT_EQ(ring_.pending(), sent - taken);
    rdma_bulk_event event{};
    while (ring_.peek(event)) {
      ring_.advance();
      EXPECT_EQ(event.user_data, taken);
      ++taken;
    }
    EXPECT_EQ(taken, sent);
    EXPECT_EQ(ctrl_.consumer, kernel_->producer) << "the kernel must see what was taken";
  }
}

TEST_P(EventRingTest, holds_as_many_events_as_entries) {
  for (std::uint32_t i = 0; i < entries; ++i)
    produce(i);
  EXPECT_EQ(ring_.pending(), entries);
  for (std::uint32_t i = 0; i < entries; ++i) {
    rdma_bulk_event event{};
    ASSERT_TRUE(ring_.peek(event));
    EXPECT_EQ(event.user_data, i);
    ring_.advance();
  }
  EXPECT_TRUE(ring_.empty());
}

TEST_P(EventRingTest, peek_leaves_the_event_in_the_ring) {
  produce(5);
  rdma_bulk_event event{};
  ASSERT_TRUE(ring_.peek(event));
  ASSERT_TRUE(ring_.peek(event));
  EXPECT_EQ(event.user_data, 5U);
  EXPECT_EQ(ctrl_.consumer, GetParam());
}

TEST_P(EventRingTest, copies_the_entry_out_of_shared_memory) {
  produce(5);
  rdma_bulk_event event{};
  ASSERT_TRUE(ring_.peek(event));
  kernel_->entry[GetParam() % entries].user_data = 6;
  EXPECT_EQ(event.user_data, 5U);
}

TEST_P(EventRingTest, arms_an_empty_ring) {
  EXPECT_TRUE(ring_.arm());
  EXPECT_EQ(ctrl_.armed, 1U);
  ring_.disarm();
  EXPECT_EQ(ctrl_.armed, 0U);
}

TEST_P(EventRingTest, arms_for_loud_events) {
  EXPECT_TRUE(ring_.arm(Wake::loud));
  EXPECT_EQ(ctrl_.armed, 2U);
}

TEST_P(EventRingTest, does_not_arm_a_ring_with_events) {
  produce(1);
  EXPECT_FALSE(ring_.arm());
  EXPECT_EQ(ctrl_.armed, 0U);
}

// Indices wrap at 2^32: start where that happens at once, soon, and not.
INSTANTIATE_TEST_SUITE_P(FirstIndex, EventRingTest,
                         testing::Values(0U, 1U, 0x7fffffffU, 0xfffffffcU, 0xffffffffU));

}  // namespace
}  // namespace bulk
