// SPDX-License-Identifier: BSD-3-Clause
//
// What the tests of the transport have in common: a node is an interface of the transport `bulk` with its
// worker and memory domain, used through UCX's public functions only, as an application would.
//
// Environment: BULK_DEVICE names the RDMA device (default: the first there is); BULK_UCT_MODULE the module's
// file (default: the installed one); BULK_LIMIT the seconds after which waiting for a condition ends
// (default 60).
#pragma once

#include <gtest/gtest.h>
#include <uct/api/uct.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace bulk::test {

// Bytes that depend on seed and place.
void fill(std::span<std::byte> bytes, unsigned seed);
testing::AssertionResult holds(std::span<const std::byte> bytes, unsigned seed);
std::vector<std::byte> pattern(std::size_t length, unsigned seed);

struct NodeOptions {
  std::size_t rx_headroom = 0;
  ucs_thread_mode_t threads = UCS_THREAD_MODE_SINGLE;
  std::vector<std::pair<std::string, std::string>> config =
      {};  // of the interface: name without UCX_BULK_, value
};

struct Arrived {
  unsigned id;
  std::vector<std::byte> bytes;
  unsigned flags;
};

struct Failed {
  uct_ep_h ep;
  ucs_status_t status;
};

class Node {
 public:
  explicit Node(const NodeOptions& options = {});
  Node(const Node&) = delete;
  Node& operator=(const Node&) = delete;
  ~Node();

  ucs_status_t status() const { return status_; }  // of opening the interface
  uct_iface_h iface() const { return iface_; }
  uct_md_h md() const { return md_; }
  uct_component_h component() const { return component_; }
  uct_iface_attr_t attr() const;

  std::vector<std::byte> device_address() const;
  std::vector<std::byte> iface_address() const;

  unsigned progress() { return uct_worker_progress(worker_); }

  std::vector<Arrived> arrived;  // messages, all ids
  std::vector<Failed> failed;    // endpoints
  bool keep = false;             // messages that may be kept
  std::vector<void*> kept;       // their descriptors
  std::function<void(uct_ep_h)> on_failure;

  void release_kept();

 private:
  static ucs_status_t on_message(void* arg, void* data, std::size_t length, unsigned flags);
  static ucs_status_t on_error(void* arg, uct_ep_h ep, ucs_status_t status);

  struct Handler {
    Node* node;
    unsigned id;
  };

  ucs_status_t status_ = UCS_OK;
  std::size_t headroom_;
  uct_component_h component_ = nullptr;
  uct_md_h md_ = nullptr;
  ucs_async_context_t* async_ = nullptr;
  uct_worker_h worker_ = nullptr;
  uct_iface_h iface_ = nullptr;
  std::vector<Handler> handlers_;
};

// An endpoint from one node to another; destroyed at the end.
class Endpoint {
 public:
  Endpoint(Node& from, const Node& to) : Endpoint(from, to.device_address(), to.iface_address()) {}
  Endpoint(Node& from, const std::vector<std::byte>& device, const std::vector<std::byte>& iface);
  Endpoint(const Endpoint&) = delete;
  Endpoint& operator=(const Endpoint&) = delete;
  ~Endpoint() { reset(); }

  void reset();
  uct_ep_h get() const { return ep_; }
  ucs_status_t status() const { return status_; }

 private:
  uct_ep_h ep_ = nullptr;
  ucs_status_t status_;
};

// Registered memory and the key to it, packed and unpacked again.
class Memory {
 public:
  Memory(Node& node, std::size_t length, unsigned access = UCT_MD_MEM_ACCESS_RMA);
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;
  ~Memory();

  std::span<std::byte> bytes() { return bytes_; }
  std::byte* data() { return bytes_.data(); }
  std::uint64_t address() const { return reinterpret_cast<std::uint64_t>(bytes_.data()); }
  uct_mem_h handle() const { return memh_; }
  uct_rkey_t rkey() const { return bundle_.rkey; }
  const std::vector<std::byte>& packed_key() const { return packed_; }
  // The key dies, the bytes stay.
  void deregister();
  uct_iov_t iov(std::size_t offset, std::size_t length);

 private:
  Node& node_;
  std::vector<std::byte> bytes_;
  std::vector<std::byte> packed_;
  uct_mem_h memh_ = nullptr;
  uct_rkey_bundle_t bundle_{};
};

// A completion that a test waits for.
struct Completion : uct_completion_t {
  explicit Completion(int parts = 1) : uct_completion_t{on_complete, parts, UCS_OK} {}
  bool done = false;

 private:
  static void on_complete(uct_completion_t* self) { static_cast<Completion*>(self)->done = true; }
};

// Progresses the nodes until the condition holds. False (and a test failure) when it takes too long.
[[nodiscard]] bool wait_until(std::initializer_list<Node*> nodes, const std::function<bool()>& condition);

// Repeats an operation while it answers "no resource", with progress of the nodes between.
ucs_status_t repeat(std::initializer_list<Node*> nodes, const std::function<ucs_status_t()>& operation);

// The bytes of `data`, for uct_ep_am_bcopy and uct_ep_put_bcopy.
std::size_t pack_bytes(void* to, void* data);

}  // namespace bulk::test
