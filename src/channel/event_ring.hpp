// SPDX-License-Identifier: BSD-3-Clause
//
// The reading end of the event ring. The kernel writes entries and the producer index; this process writes
// the consumer index and the word that asks to be woken. Both indices count from 0 and wrap at 2^32; entry n
// stands at n modulo the number of entries (a power of two), so the difference of the indices is always
// right. The ring is read in the process's own memory: no system call.
#pragma once

#include <atomic>
#include <cstdint>

#include "channel/abi.hpp"

namespace bulk {

// What wakes a process that sleeps.
enum class Wake : std::uint32_t {
  any = RDMA_BULK_ARMED,        // every event
  loud = RDMA_BULK_ARMED_LOUD,  // not the good end of a command that was made quiet
};

class EventRing {
 public:
  EventRing() = default;
  // Neither pointer is owned; both must live longer. `events` as the kernel's bind told it.
  EventRing(const rdma_bulk_ring* ring, rdma_bulk_ctrl* ctrl, std::uint32_t events)
      : ring_(ring), ctrl_(ctrl), mask_(events - 1), consumer_(ctrl->consumer) {}

  // Events that wait to be taken.
  std::uint32_t pending() const { return __atomic_load_n(&ring_->producer, __ATOMIC_ACQUIRE) - consumer_; }
  bool empty() const { return pending() == 0; }

  // Copies the oldest event, which stays in the ring. False if there is none.
  bool peek(rdma_bulk_event& event) const {
    if (empty()) return false;
    event = ring_->entry[consumer_ & mask_];
    return true;
  }

  // Removes the oldest event; its place is the kernel's again. Only after a peek() that said true.
  void advance() { __atomic_store_n(&ctrl_->consumer, ++consumer_, __ATOMIC_RELEASE); }

  // Asks the kernel to wake poll() at the next such event. True: the ring is empty and the process may sleep.
  // False: something has come meanwhile; the wish is withdrawn.
  bool arm(Wake wake = Wake::any) {
    __atomic_store_n(&ctrl_->armed, static_cast<std::uint32_t>(wake), __ATOMIC_RELAXED);
    std::atomic_thread_fence(std::memory_order_seq_cst);
    if (empty()) return true;
    disarm();
    return false;
  }
  void disarm() { __atomic_store_n(&ctrl_->armed, 0U, __ATOMIC_RELAXED); }

  std::uint32_t capacity() const { return mask_ + 1; }
  std::uint32_t consumer() const { return consumer_; }

 private:
  const rdma_bulk_ring* ring_ = nullptr;  // not owned
  rdma_bulk_ctrl* ctrl_ = nullptr;        // not owned
  std::uint32_t mask_ = 0;
  std::uint32_t consumer_ = 0;
};

}  // namespace bulk
