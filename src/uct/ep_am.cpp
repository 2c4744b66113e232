// SPDX-License-Identifier: BSD-3-Clause
//
// Active messages. Every message is written into a transmit slot, which the adapter reads, and received in a
// slot: it is copied once on its way, where the user packs it.

#include <algorithm>
#include <cstring>

#include "uct/ep.hpp"
#include "uct/ep_launch.hpp"
#include "uct/iface.hpp"
#include "uct/iov.hpp"
#include "uct/md.hpp"

namespace bulk::uct {

ucs_status_t Ep::am_short(std::uint8_t id, std::uint64_t header, const void* payload, unsigned length) {
  const std::size_t total = sizeof(header) + length;
  if (total > max_message) return UCS_ERR_INVALID_PARAM;

  const Prepared prepared = prepare(OperationKind::message);
  if (prepared.status != UCS_OK) return prepared.status;
  std::byte* to = iface_.channel().tx_data(prepared.slot);
  std::memcpy(to, &header, sizeof(header));
  if (length != 0) std::memcpy(to + sizeof(header), payload, length);
  return launch_message(prepared, id, total, {});
}

ucs_status_t Ep::am_short_iov(std::uint8_t id, const uct_iov_t* iov, std::size_t count) {
  return am_zcopy(id, nullptr, 0, iov, count);
}

ssize_t Ep::am_bcopy(std::uint8_t id, uct_pack_callback_t pack, void* arg) {
  const Prepared prepared = prepare(OperationKind::message);
  if (prepared.status != UCS_OK) return prepared.status;

  const KeyWatch watch;
  const std::size_t length = pack(iface_.channel().tx_data(prepared.slot), arg);
  const ucs_status_t status = launch_message(prepared, id, length, watch.seen());
  if (status != UCS_OK) return status;
  return static_cast<ssize_t>(length);
}

// The kernel sends from a slot, so the parts are gathered there and the user's memory is free at once.
ucs_status_t Ep::am_zcopy(std::uint8_t id, const void* header, unsigned header_length, const uct_iov_t* iov,
                          std::size_t count) {
  const std::size_t total = header_length + total_length(iov, count);
  if (total > max_message) return UCS_ERR_INVALID_PARAM;

  const Prepared prepared = prepare(OperationKind::message);
  if (prepared.status != UCS_OK) return prepared.status;
  std::byte* to = iface_.channel().tx_data(prepared.slot);
  if (header_length != 0) std::memcpy(to, header, header_length);
  gather(iov, count, to + header_length);
  return launch_message(prepared, id, total, {});
}

ucs_status_t Ep::launch_message(const Prepared& prepared, std::uint8_t id, std::size_t length,
                                RegionHandle key_region) {
  const std::uint64_t user_data = prepared.operation->user_data();
  const Fence fence = fence_for_next();
  iface_.trace(UCT_AM_TRACE_TYPE_SEND, id, iface_.channel().tx_data(prepared.slot), length);
  return launch(prepared, length, [&](Local from, bool first_try) {
    // A message that waits may outlive the region whose key it carries.
    const RegionHandle region = first_try ? key_region : RegionHandle{};
    return Command::send(handle_, from, static_cast<std::uint32_t>(length), id, user_data, region, fence)
        .quiet();
  });
}

}  // namespace bulk::uct
