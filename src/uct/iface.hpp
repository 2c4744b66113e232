// SPDX-License-Identifier: BSD-3-Clause
//
// An interface: one channel on one device, its endpoints, and the progress of both.
//
// Everything happens in the calls of UCX and in progress(), on whatever thread holds the worker; no locks, no
// threads. Callbacks of the user (messages, completions, failures, queued requests) run from progress() only.
// Each of them may create and destroy endpoints: none is used after a callback without asking find().

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "channel/channel.hpp"
#include "uct/abi/iface.hpp"
#include "uct/address.hpp"
#include "uct/config.hpp"
#include "uct/ep.hpp"
#include "uct/list.hpp"
#include "uct/operation.hpp"
#include "uct/perf.hpp"
#include "uct/route.hpp"

namespace bulk::uct {

class Iface : public abi::BaseIface {
 public:
  static ucs_status_t open(uct_md_h md, uct_worker_h worker, const uct_iface_params_t* params,
                           const abi::IfaceConfigBase* config, uct_iface_h* iface);
  void close();

  Iface(const Iface&) = delete;
  Iface& operator=(const Iface&) = delete;

  static Iface& of(uct_iface_h handle) {
    return *static_cast<Iface*>(reinterpret_cast<abi::BaseIface*>(handle));
  }
  uct_iface_h uct_handle() { return &super; }

  // ---- operations of UCT; iface.cpp, iface_query.cpp ----

  ucs_status_t query(uct_iface_attr_t* attr);
  void get_device_address(uct_device_addr_t* address) const;
  void get_address(uct_iface_addr_t* address) const;
  bool is_reachable(const abi::IsReachableParams& params);
  template <class Attr>
  ucs_status_t estimate_perf(Attr& attr) const;

  unsigned progress();
  ucs_status_t arm();
  ucs_status_t flush();
  void fence();

  // ---- for endpoints ----

  Channel& channel() { return *channel_; }
  OperationPool& operations() { return operations_; }

  EpId enter(Ep& ep);
  void leave(Ep& ep);
  // Null if it is gone.
  Ep* find(EpId id);

  void note_put(Operation& put);
  // An operation whose command was never submitted.
  void drop(Operation& operation);
  std::uint64_t fence_epoch() const { return fence_epoch_; }
  std::uint32_t puts() const { return puts_ + puts_before_fence_; }
  std::uint32_t puts_before_fence() const { return puts_before_fence_; }

  // Shows a message in UCX's log, at level "data".
  void trace(uct_am_trace_type_t type, std::uint8_t id, const void* data, std::size_t length);

  void wait_for_resources(Ep& ep) { waiting_.push_back(ep.waiting_link); }
  // Requests that joined or left the queue of an endpoint.
  void note_queued(int change) { queued_ += static_cast<std::size_t>(change); }
  // Somebody waits for the end of operations that have no completion: for resources, or for nothing being
  // left.
  void await_all_ends() { all_ends_awaited_ = true; }
  // Queued requests may find resources now.
  void resources_came() { dispatch_due_ = true; }
  void report_failure(Ep& ep) { failed_.push_back(ep.failed_link); }
  // The user hears of it from progress, unless its endpoint is gone by then.
  void complete_later(EpId ep, uct_completion_t& completion, ucs_status_t status) {
    ended_.push_back({ep, &completion, status});
  }

 private:
  class Events;

  // What stands in front of a received message in its slot, right before the bytes that the user asked for.
  struct SlotHead {
    std::uint64_t slot;
    uct_recv_desc_t* release;  // where UCX looks for it
  };

  struct SlotRelease {
    uct_recv_desc_t super;
    Iface* iface;
  };

  struct Ended {
    EpId ep;
    uct_completion_t* completion;
    ucs_status_t status;
  };

  struct EpEntry {
    Ep* ep = nullptr;
    std::uint32_t generation = 1;
  };

  Iface(const Device& device, const IfaceConfig& config, std::size_t user_headroom);
  ~Iface() = default;

  SlotAction deliver(const Message& message);
  void end(const Done& done);
  void fail_all(ucs_status_t why);
  unsigned complete_ended();
  unsigned report_failures();
  unsigned dispatch_pending();
  void idle();
  static SlotHead* slot_head(std::byte* user_descriptor);
  static void release_slot(uct_recv_desc_t* self, void* descriptor);

  Device device_;
  DeviceAddress device_address_;
  Estimates estimates_;
  unsigned netdev_index_;  // of the device's network interface
  Routes routes_;
  std::size_t user_headroom_;
  unsigned max_events_;
  unsigned yield_after_;
  bool idle_sleep_;
  unsigned idle_polls_ = 0;  // calls of progress in a row that found nothing
  std::thread::id opener_ = std::this_thread::get_id();
  bool watched_ = false;  // by the idle group of that thread
  SlotRelease slot_release_;
  std::optional<Channel> channel_;
  OperationPool operations_;
  std::vector<EpEntry> eps_;
  std::vector<std::uint32_t> free_entries_;
  List<Ep> waiting_;          // have queued requests
  std::size_t queued_ = 0;    // these requests
  List<Ep> failed_;           // to be reported
  std::vector<Ended> ended_;  // to be completed
  bool dispatch_due_ = false;
  bool all_ends_awaited_ = false;
  std::uint64_t fence_epoch_ = 0;
  std::uint32_t puts_ = 0;               // outstanding, posted after the last fence
  std::uint32_t puts_before_fence_ = 0;  // outstanding, posted before it
};

}  // namespace bulk::uct
