// SPDX-License-Identifier: BSD-3-Clause
//
// An endpoint: the way from one interface to one remote interface.
//
// Resources. An operation is posted, or answers UCS_ERR_NO_RESOURCE and leaves no trace. UCX then queues a
// request (pending_add), which runs again from progress, in order. Nothing overtakes queued requests. What an
// endpoint can lack: the kernel's word that it may go on (`blocked_`: not connected yet, or refused with
// EAGAIN), a transmit slot, or the end of PUTs that an interface fence waits for. The very first message is
// offered to the kernel before the endpoint is connected.
//
// A message whose payload is packed already cannot be un-packed when the kernel refuses it. It counts as
// posted; its command waits here (`deferred_`), with a copy of the payload in place of the slot, ahead of
// everything else of this endpoint. There is at most one, for the refusal blocks the endpoint.
//
// Life. connecting -> up -> down, when the kernel says so; all commands have ended then. Or -> closing, when
// an operation of which nobody would hear went wrong, or UCX cancels: the kernel's endpoint is closed and the
// commands under way are awaited; then `down`. Failures are reported to the user once, from progress, after
// all operations have ended. uct_ep_destroy ends it in any state: the commands under way lose their
// completions.
//
// Context: whatever thread holds the worker; no locks.

#pragma once

#include <cstdint>
#include <optional>
#include <utility>

#include "channel/channel.hpp"
#include "uct/abi/iface.hpp"
#include "uct/address.hpp"
#include "uct/list.hpp"
#include "uct/operation.hpp"
#include "uct/pending.hpp"

namespace bulk::uct {

class Iface;

class Ep : public abi::BaseEp {
 public:
  static ucs_status_t create(const uct_ep_params_t* params, uct_ep_h* ep);
  void destroy();

  Ep(const Ep&) = delete;
  Ep& operator=(const Ep&) = delete;

  static Ep& of(uct_ep_h handle) { return *static_cast<Ep*>(reinterpret_cast<abi::BaseEp*>(handle)); }
  uct_ep_h uct_handle() { return &super; }

  // ---- operations of UCT; ep_am.cpp, ep_rma.cpp, ep.cpp ----

  ucs_status_t am_short(std::uint8_t id, std::uint64_t header, const void* payload, unsigned length);
  ucs_status_t am_short_iov(std::uint8_t id, const uct_iov_t* iov, std::size_t count);
  ssize_t am_bcopy(std::uint8_t id, uct_pack_callback_t pack, void* arg);
  ucs_status_t am_zcopy(std::uint8_t id, const void* header, unsigned header_length, const uct_iov_t* iov,
                        std::size_t count);

  ucs_status_t put_short(const void* from, unsigned length, std::uint64_t remote, uct_rkey_t rkey);
  ssize_t put_bcopy(uct_pack_callback_t pack, void* arg, std::uint64_t remote, uct_rkey_t rkey);
  ucs_status_t put_zcopy(const uct_iov_t* iov, std::size_t count, std::uint64_t remote, uct_rkey_t rkey,
                         uct_completion_t* completion);
  ucs_status_t get_bcopy(uct_unpack_callback_t unpack, void* arg, std::size_t length, std::uint64_t remote,
                         uct_rkey_t rkey, uct_completion_t* completion);
  ucs_status_t get_zcopy(const uct_iov_t* iov, std::size_t count, std::uint64_t remote, uct_rkey_t rkey,
                         uct_completion_t* completion);

  ucs_status_t flush(unsigned flags, uct_completion_t* completion);
  ucs_status_t fence();
  ucs_status_t pending_add(uct_pending_req_t* request);
  void pending_purge(uct_pending_purge_callback_t callback, void* arg);
  bool is_connected_to(const DeviceAddress* device, std::optional<Token> token) const;
  void invalidate() { fail(UCS_ERR_ENDPOINT_TIMEOUT); }

  // ---- what the interface tells; all from progress ----

  void on_up();
  void on_writable();
  void on_down(ucs_status_t why);
  // One of this endpoint's operations has ended; its completion is called next, if there is one.
  void on_ended(OperationKind kind);
  // And what follows from that. `told`: somebody heard of the status.
  void settle(ucs_status_t status, bool told);
  // Runs queued requests until one finds no resources; returns how many ran. The endpoint may be gone then:
  // see Iface::find.
  unsigned dispatch_pending();

  EpId id() const { return id_; }
  bool has_pending() const { return !pending_.empty(); }
  bool may_dispatch() const { return post_status() == UCS_OK; }
  ucs_status_t failure() const { return failure_; }
  void set_reported() { reported_ = true; }

  // Ends all operations, then reports `why` to the user. Without effect on an endpoint that has failed.
  void fail(ucs_status_t why);

  ListLink<Ep> waiting_link{*this};  // in Iface's list of those with queued requests
  ListLink<Ep> failed_link{*this};   // in Iface's list of those to be reported

 private:
  enum class State : std::uint8_t { connecting, up, closing, down };

  struct Deferred {
    Command command;
    Operation* operation;
  };

  // An operation that was given a transmit slot.
  struct Prepared {
    ucs_status_t status;  // not UCS_OK: there is neither
    TxSlot slot;
    Operation* operation;
  };

  Ep(Iface& iface, const Address& peer, const DeviceAddress& peer_device)
      : iface_(iface), peer_(peer), peer_device_(peer_device) {}

  // Whether an operation can be posted, queued requests aside.
  ucs_status_t post_status() const;
  // The same for the user's operations, which must not overtake queued requests.
  ucs_status_t user_post_status() const;
  bool waits_for_fence() const;
  Fence fence_for_next() const;

  Prepared prepare(OperationKind kind);
  void give_up(const Prepared& prepared);
  // Submits the command `make(Local, first_try)` of an operation whose payload of `length` bytes is in its
  // slot. A refusal for lack of resources defers it; that is a success.
  template <class Make>
  ucs_status_t launch(const Prepared& prepared, std::size_t length, Make&& make);  // ep_launch.hpp
  ucs_status_t launch_message(const Prepared& prepared, std::uint8_t id, std::size_t length,
                              RegionHandle key_region);
  ucs_status_t launch_put(const Prepared& prepared, std::size_t length, std::uint64_t remote,
                          uct_rkey_t rkey);
  // Submits a command that leaves no trace if it is refused.
  ucs_status_t submit(const Command& command, Operation& operation);
  ucs_status_t put_or_get_zcopy(OperationKind kind, const uct_iov_t* iov, std::size_t count,
                                std::uint64_t remote, uct_rkey_t rkey, uct_completion_t* completion);

  // What to answer when the kernel has refused a command for good.
  ucs_status_t refused(Status status);
  void accepted(Operation& operation);
  void resume();
  void drop_deferred();
  void close_kernel_endpoint();
  void end_if_drained();

  Iface& iface_;
  Address peer_;
  DeviceAddress peer_device_;
  EpId id_;
  EpHandle handle_;
  State state_ = State::connecting;
  bool blocked_ = true;
  bool first_ = true;  // connecting: the first message may travel with the request to connect
  bool dispatching_ = false;
  bool fence_next_ = false;
  bool report_ = false;            // closing: tell the user when drained
  bool reported_ = false;          // the user has been told
  ucs_status_t failure_ = UCS_OK;  // of every later operation
  std::uint64_t fence_epoch_ = 0;  // of the interface, when an operation was posted last
  std::uint32_t outstanding_ = 0;  // operations that have not ended, the deferred one included
  std::uint32_t puts_ = 0;         // of these, PUTs
  std::optional<Deferred> deferred_;
  uct_completion_t* cancel_completion_ = nullptr;  // of a flush that cancels
  PendingQueue pending_;
};

}  // namespace bulk::uct
