// SPDX-License-Identifier: BSD-3-Clause
//
// Addresses as UCX carries them from one process to another. Big-endian.
//
//   device    [0]    flags: bits 2-3 link layer (0 any), bit 4 a port follows, bits 5-7 generation of the
//                    wire format (0 any); bits 0, 1 zero
//             [1]    address family, AF_INET or AF_INET6 as Linux numbers them
//             [2..]  4 or 16 bytes of IP address, then the RDMA CM port (2 bytes) if it is not the default
//   interface [0..7] the channel's token, not zero
//
// With flags 0 a device address is that of UCX's own tcp: so an address that a connection manager made of a
// socket address works too.

#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "channel/types.hpp"

namespace bulk::uct {

inline constexpr std::uint8_t wire_generation = 1;

struct DeviceAddress {
  static constexpr std::size_t max_bytes = 2 + 16 + 2;

  Address ip;  // port 0: the default; no token
  LinkLayer link_layer = LinkLayer::unknown;
  std::uint8_t generation = 0;

  std::size_t packed_bytes() const;
  // Writes packed_bytes() bytes.
  void pack(std::byte* to) const;
  // Nothing for bytes that are not a device address. `length` may be unknown (not all callers are told); then
  // as many bytes are read as the first two say.
  static std::optional<DeviceAddress> unpack(const void* from, std::optional<std::size_t> length);

  friend bool operator==(const DeviceAddress&, const DeviceAddress&) = default;
};

inline constexpr std::size_t iface_address_bytes = 8;

void pack_token(Token token, std::byte* to);
// Nothing for zero, which is no channel's.
std::optional<Token> unpack_token(const void* from);

// Why a device with address `own` can never reach one with address `peer`, whatever the routes; null if it
// may. The same answer with both exchanged.
const char* why_strangers(const DeviceAddress& own, const DeviceAddress& peer);

}  // namespace bulk::uct
