// SPDX-License-Identifier: BSD-3-Clause
//
// UCP's objects and what ucp_bench does with them: contexts, workers and their endpoints, memory and its
// keys, operations in flight. Each object must outlive those made from it.
#pragma once

#include <ucp/api/ucp.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "ucp_seat.h"

namespace bench {

class Context {
 public:
  // `features` are UCP_FEATURE_*; UCP_FEATURE_WAKEUP is added if the job wants sleep.
  Context(const Job& job, std::uint64_t features);
  ~Context();
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;

  [[nodiscard]] ucp_context_h get() const { return context_; }

 private:
  ucp_context_h context_ = nullptr;
};

// Progressed by its seat as long as it lives.
class Worker {
 public:
  Worker(Seat& seat, const Context& context);
  ~Worker();
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  [[nodiscard]] ucp_worker_h get() const { return worker_; }
  [[nodiscard]] std::string address() const;
  [[nodiscard]] const std::vector<ucp_ep_h>& endpoints() const { return endpoints_; }

  ucp_ep_h connect(const std::string& address);
  // The handler gets `arg`, which must outlive the worker.
  void on_message(unsigned id, ucp_am_recv_callback_t handler, void* arg);
  // Lets all operations end, and closes all endpoints.
  void close_endpoints();

 private:
  Seat& seat_;
  ucp_worker_h worker_ = nullptr;
  std::vector<ucp_ep_h> endpoints_;
};

// Zeroed pages of their own, all touched.
class Memory {
 public:
  explicit Memory(std::size_t size);
  Memory(Memory&& other) noexcept;
  Memory& operator=(Memory&&) = delete;
  ~Memory();

  [[nodiscard]] void* data() const { return data_; }
  [[nodiscard]] std::size_t size() const { return size_; }

 private:
  void* data_;
  std::size_t size_;
};

// The buffers of a number of operations: one for all, or, with --fresh, one for each.
class Buffers {
 public:
  Buffers(const Job& job, std::size_t operations);
  [[nodiscard]] void* at(std::size_t operation) const {
    return memories_[memories_.size() == 1 ? 0 : operation].data();
  }

 private:
  std::vector<Memory> memories_;
};

// Memory that the other side may put to and get from.
class Registration {
 public:
  Registration(const Context& context, const Memory& memory);
  Registration(Registration&& other) noexcept;
  Registration& operator=(Registration&&) = delete;
  ~Registration();

  // Address and packed key, for Target.
  [[nodiscard]] std::string describe() const;

 private:
  ucp_context_h context_;
  const void* address_;
  ucp_mem_h handle_ = nullptr;
};

// Memory of the other side, as an endpoint reaches it.
class Target {
 public:
  Target(ucp_ep_h endpoint, const std::string& description);

  [[nodiscard]] ucp_ep_h endpoint() const { return endpoint_; }
  [[nodiscard]] std::uint64_t address() const { return address_; }
  [[nodiscard]] ucp_rkey_h key() const { return key_.get(); }

 private:
  ucp_ep_h endpoint_;
  std::uint64_t address_ = 0;
  std::unique_ptr<std::remove_pointer_t<ucp_rkey_h>, decltype(&ucp_rkey_destroy)> key_{nullptr,
                                                                                       ucp_rkey_destroy};
};

// Operations in flight, of any kind. Stays where it is until all of them have ended.
class Flight {
 public:
  // `window`: how many may be in flight before room() is false.
  explicit Flight(std::size_t window) : window_(window) {}
  Flight(const Flight&) = delete;
  Flight& operator=(const Flight&) = delete;

  [[nodiscard]] bool room() const { return posted_ - ended_ < window_; }
  [[nodiscard]] std::size_t posted() const { return posted_; }
  // How many have ended. Throws Fatal if one has failed.
  [[nodiscard]] std::size_t done() const {
    if (error_ != UCS_OK) require(error_, "an operation");
    return ended_;
  }
  [[nodiscard]] bool landed() const { return done() == posted_; }
  // How many of the receives got a message without content.
  [[nodiscard]] std::size_t empty() const { return empty_; }

  void send(ucp_ep_h endpoint, const void* buffer, std::size_t size, ucp_tag_t tag);
  void receive(const Worker& worker, void* buffer, std::size_t size, ucp_tag_t tag);
  // A message for the handler `id`.
  void send_message(ucp_ep_h endpoint, unsigned id, const void* buffer, std::size_t size,
                    std::uint32_t flags = 0);
  // Inside a handler of messages: takes one that arrived by rendezvous.
  void take_message(const Worker& worker, void* descriptor, void* buffer, std::size_t size);
  // Inside a handler of messages: counts one that is there.
  void count_message() { add(nullptr); }
  void put(const Target& target, const void* buffer, std::size_t size);
  void get(const Target& target, void* buffer, std::size_t size);

 private:
  static void ended(void* request, ucs_status_t status, void* flight);
  static void received(void* request, ucs_status_t status, const ucp_tag_recv_info_t* info, void* flight);
  static void taken(void* request, ucs_status_t status, std::size_t length, void* flight);

  [[nodiscard]] ucp_request_param_t param();
  // Never throws: UCX's handlers call it.
  void add(ucs_status_ptr_t request);
  void end(void* request, ucs_status_t status);

  std::size_t window_;
  std::size_t posted_ = 0;
  std::size_t ended_ = 0;
  std::size_t empty_ = 0;
  ucs_status_t error_ = UCS_OK;
};

// Inside done() of Seat::until(): posts as many operations as there is room for, up to `count` in all, but
// lets the worker progress now and then where operations end at once.
template <typename Post>
void fill(Seat& seat, Flight& flight, std::size_t count, Post post) {
  constexpr unsigned most_at_once = 16;
  for (unsigned posts = 0; flight.posted() < count && flight.room(); ++posts) {
    if (posts == most_at_once) return seat.stay_awake();
    post();
  }
}

constexpr ucp_tag_t hello_tag = 1;
constexpr ucp_tag_t data_tag = 2;
constexpr ucp_tag_t ack_tag = 3;

// A worker with an endpoint to the process of the other side with the same index, or, if there is only one on
// the other side, to that; if there is only one on this side, it has endpoints to all. Messages have gone
// both ways. All processes of both sides must make theirs at the same time, and close them at the same time.
class Party {
 public:
  Party(Seat& seat, std::uint64_t features);

  [[nodiscard]] const Context& context() const { return context_; }
  [[nodiscard]] Worker& worker() { return worker_; }
  [[nodiscard]] std::span<const ucp_ep_h> endpoints() const { return endpoints_; }
  [[nodiscard]] ucp_ep_h endpoint() const { return endpoints_.front(); }
  // The address of the process at the other end of endpoint().
  [[nodiscard]] const std::string& peer_address() const { return peer_address_; }
  // exchange() with the process at the other end of endpoint() alone.
  std::string exchange_with_peer(std::string_view mine);

  void close();

 private:
  Seat& seat_;
  Context context_;
  Worker worker_;
  std::vector<ucp_ep_h> endpoints_;
  std::string peer_address_;
};

}  // namespace bench
