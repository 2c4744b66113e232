// SPDX-License-Identifier: BSD-3-Clause
//
// Requests that found no resources and wait for their turn: a queue through the private bytes of UCX's own
// request structure, so that waiting allocates nothing.

#pragma once

#include <uct/api/uct.h>

namespace bulk::uct {

// First in, first out. Requests belong to the user; one that was popped may be freed at once.
class PendingQueue {
 public:
  bool empty() const { return head_ == nullptr; }

  void push_back(uct_pending_req_t* request) {
    next_of(request) = nullptr;
    if (head_ == nullptr)
      head_ = request;
    else
      next_of(tail_) = request;
    tail_ = request;
  }

  void push_front(uct_pending_req_t* request) {
    next_of(request) = head_;
    if (head_ == nullptr) tail_ = request;
    head_ = request;
  }

  // Null if empty.
  uct_pending_req_t* pop_front() {
    uct_pending_req_t* request = head_;
    if (request != nullptr) head_ = next_of(request);
    return request;
  }

 private:
  static_assert(sizeof(uct_pending_req_t::priv) >= sizeof(uct_pending_req_t*));

  static uct_pending_req_t*& next_of(uct_pending_req_t* request) {
    return *reinterpret_cast<uct_pending_req_t**>(request->priv);
  }

  uct_pending_req_t* head_ = nullptr;
  uct_pending_req_t* tail_ = nullptr;
};

}  // namespace bulk::uct
