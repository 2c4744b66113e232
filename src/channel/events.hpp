// SPDX-License-Identifier: BSD-3-Clause
//
// What a channel tells its process, and the functions that take it: see Channel::progress.
#pragma once

#include <cstddef>
#include <cstdint>

#include "channel/error.hpp"
#include "channel/types.hpp"

namespace bulk {

// A command has ended. Every accepted command (except OP_RETURN) ends exactly once.
struct Done {
  std::uint64_t user_data = 0;  // of the command
  EpHandle ep;
  TxSlot slot;               // the slot it used, or an invalid one
  Status status;             // ECANCELED: the endpoint was closed; else what went wrong
  std::uint64_t length = 0;  // bytes asked for
};

// A message has come.
struct Message {
  EpHandle ep;           // the endpoint whose remote channel sent it; invalid: this channel opened none to it
  std::uint16_t id = 0;  // the sender's message id
  RxSlot slot;
  std::uint32_t length = 0;  // bytes, 0 to max_message
  std::byte* data =
      nullptr;  // in the slot. In front of it are BindOptions::rx_headroom bytes for the process
};

// Something happened to an endpoint.
struct EndpointEvent {
  EpHandle ep;
  std::uint64_t user_data = 0;  // of the endpoint
  Status status;                // on_down: why
};

// Who owns a receive slot after on_message().
enum class SlotAction : std::uint8_t {
  release,  // the library gives it back; the handler must not touch it any more
  keep,     // the process holds it, as long as it likes, until Channel::rx_return
};

// Base of handlers: ignores everything. Derive from it, hide what is of interest with functions of the same
// form (they need not be virtual), and give the object to Channel::progress. A handler may call any function
// of the channel, progress() included, but not destroy it.
struct EventHandler {
  void on_done(const Done&) {}
  SlotAction on_message(const Message&) { return SlotAction::release; }
  // The endpoint can be used.
  void on_up(const EndpointEvent&) {}
  // The endpoint never will be usable again; all its commands have ended. It stays until it is closed.
  void on_down(const EndpointEvent&) {}
  // The endpoint refused a command with EAGAIN; now is the time to try again.
  void on_writable(const EndpointEvent&) {}
  // Peers would like to send `messages` messages and have no receive slots. The channel has already given
  // back and grown what it could; a process that holds many slots should return some.
  void on_rx_low(std::uint32_t messages) { (void)messages; }
  // The RDMA device is gone: close the channel.
  void on_removed() {}
};

}  // namespace bulk
