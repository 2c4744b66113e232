// SPDX-License-Identifier: BSD-3-Clause
//
// Book-keeping for slots, in the process's private memory: which transmit slots are free, which receive
// slots the process holds, and which of those it will give back with the next OP_RETURN. The kernel keeps
// its own books and believes none of this.
//
// Memory is allocated only in grow().
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "channel/abi.hpp"
#include "channel/types.hpp"

namespace bulk {

// Free transmit slots, last in first out (their memory is warm).
class TxSlots {
 public:
  // Adds slots `first` to `first + count - 1`, free. Numbers must follow on those there are.
  void grow(std::uint32_t first, std::uint32_t count) {
    taken_.resize(std::size_t{first} + count, 0);
    free_.reserve(taken_.size());
    for (std::uint32_t i = count; i-- > 0;)
      free_.push_back(first + i);
  }

  // An invalid slot if none is free.
  TxSlot acquire() {
    if (free_.empty()) return {};
    const TxSlot slot{free_.back()};
    free_.pop_back();
    taken_[slot.value] = 1;
    return slot;
  }

  // False, with no effect, for a slot that is not taken.
  bool release(TxSlot slot) {
    if (slot.value >= taken_.size() || taken_[slot.value] == 0) return false;
    taken_[slot.value] = 0;
    free_.push_back(slot.value);
    return true;
  }

  std::uint32_t total() const { return static_cast<std::uint32_t>(taken_.size()); }
  std::uint32_t available() const { return static_cast<std::uint32_t>(free_.size()); }

 private:
  std::vector<std::uint32_t> free_;
  std::vector<std::uint8_t> taken_;
};

// Receive slots on their way back. Slots go back in batches: a batch is due when it is large enough, or when
// the kernel has few slots left.
class RxSlots {
 public:
  void grow(std::uint32_t first, std::uint32_t count) {
    held_.resize(std::size_t{first} + count, 0);
    returning_.reserve(held_.size());
  }

  // A message came in `slot`: it is the process's.
  void received(RxSlot slot) {
    if (slot.value >= held_.size() || held_[slot.value] != 0) return;
    held_[slot.value] = 1;
    ++with_process_;
  }

  // Queues `slot` for its return. False, with no effect, for one that is not held, or is queued already.
  bool queue(RxSlot slot) {
    if (slot.value >= held_.size() || held_[slot.value] != 1) return false;
    held_[slot.value] = 2;
    returning_.push_back(static_cast<std::uint16_t>(slot.value));
    return true;
  }

  // Whether the queued ones should go back now.
  bool due() const {
    return !returning_.empty() && (returning_.size() >= batch() || total() - with_process_ <= total() / 4);
  }
  // Queued slots that make a batch.
  std::uint32_t batch() const { return std::clamp<std::uint32_t>(total() / 4, 1, RDMA_BULK_RETURN_MAX); }

  // The next up to 16 queued slots (the last that were queued), and word that the kernel has taken them.
  std::span<const std::uint16_t> next() const {
    const std::size_t n = std::min<std::size_t>(returning_.size(), RDMA_BULK_RETURN_MAX);
    return std::span(returning_).last(n);
  }
  void returned(std::size_t count) {
    for (; count > 0 && !returning_.empty(); --count) {
      held_[returning_.back()] = 0;
      returning_.pop_back();
      --with_process_;
    }
  }

  std::uint32_t total() const { return static_cast<std::uint32_t>(held_.size()); }
  std::uint32_t queued() const { return static_cast<std::uint32_t>(returning_.size()); }
  // Delivered and not yet returned, the queued ones included.
  std::uint32_t with_process() const { return with_process_; }
  // Delivered, and not even queued for return.
  std::uint32_t held() const { return with_process_ - queued(); }

 private:
  std::vector<std::uint8_t> held_;  // 0: the kernel's, 1: the process's, 2: queued for its return
  std::vector<std::uint16_t> returning_;
  std::uint32_t with_process_ = 0;
};

}  // namespace bulk
