// SPDX-License-Identifier: BSD-3-Clause
//
// Commands: what moves data. A Command is the kernel's 80-byte struct, made by one function per operation
// that fills exactly the fields the operation uses. Making one has no effect; Channel::submit does.
#pragma once

#include <cstdint>
#include <cstring>
#include <span>

#include "channel/abi.hpp"
#include "channel/types.hpp"

namespace bulk {

struct Command {
  rdma_bulk_cmd abi;

  // The same, but nobody waits for its end: on_done() follows as for others, but a good one does not wake a
  // process that sleeps with Wake::loud. Not for flush().
  Command quiet() const {
    Command c = *this;
    c.abi.flags |= RDMA_BULK_CMD_QUIET;
    return c;
  }

  // A message of `length` bytes (0 to max_message). `id` is any number for the receiver. `key_region`: an own
  // region whose key the message carries, which spares the key's first use a round trip.
  static Command send(EpHandle ep, Local from, std::uint32_t length, std::uint16_t id,
                      std::uint64_t user_data, RegionHandle key_region = {}, Fence fence = Fence::none) {
    Command c = make(RDMA_BULK_OP_SEND, ep, user_data, static_cast<std::uint16_t>(fence));
    c.set_local(from, length);
    c.abi.key_region = key_region.value;
    c.abi.id = id;
    return c;
  }

  // Writes `length` bytes (0 to max_rma) to the remote region.
  static Command put(EpHandle ep, Local from, std::uint64_t length, const Remote& to, std::uint64_t user_data,
                     Fence fence = Fence::none) {
    Command c = make(RDMA_BULK_OP_PUT, ep, user_data, static_cast<std::uint16_t>(fence));
    c.set_local(from, length);
    c.set_remote(to);
    return c;
  }

  // Reads `length` bytes (0 to max_rma) of the remote region.
  static Command get(EpHandle ep, Local into, std::uint64_t length, const Remote& from,
                     std::uint64_t user_data, Fence fence = Fence::none) {
    Command c = make(RDMA_BULK_OP_GET, ep, user_data, static_cast<std::uint16_t>(fence));
    c.set_local(into, length);
    c.set_remote(from);
    return c;
  }

  // Done when every earlier command of the endpoint has ended. `remote`: and the data of its earlier PUTs is
  // globally visible on the target.
  static Command flush(EpHandle ep, std::uint64_t user_data, bool remote = false) {
    return make(RDMA_BULK_OP_FLUSH, ep, user_data, remote ? RDMA_BULK_CMD_REMOTE : 0);
  }

  // Gives 1 to 16 receive slots back; ends when accepted, without an event. (Channel::rx_return does this.)
  static Command return_slots(std::span<const std::uint16_t> slots) {
    Command c = make(RDMA_BULK_OP_RETURN, {}, 0, 0);
    c.abi.length = slots.size();
    const std::size_t fit = slots.size() < RDMA_BULK_RETURN_MAX ? slots.size() : RDMA_BULK_RETURN_MAX;
    std::memcpy(c.abi.slots, slots.data(), fit * sizeof(std::uint16_t));
    return c;
  }

 private:
  static Command make(std::uint8_t op, EpHandle ep, std::uint64_t user_data, unsigned flags) {
    Command c{};
    c.abi.op = op;
    c.abi.flags = static_cast<std::uint16_t>(flags);
    c.abi.ep = ep.value;
    c.abi.user_data = user_data;
    return c;
  }
  void set_local(Local local, std::uint64_t length) {
    abi.local_kind = local.kind();
    abi.local = local.local();
    abi.addr = local.addr();
    abi.length = length;
  }
  void set_remote(const Remote& remote) {
    abi.remote_addr = remote.address;
    std::memcpy(abi.key, remote.key.data(), sizeof(abi.key));
  }
};
static_assert(sizeof(Command) == 80 && sizeof(rdma_bulk_cmd) == 80);

}  // namespace bulk
