// SPDX-License-Identifier: BSD-3-Clause

#include "uct/address.hpp"

#include <sys/socket.h>

#include <algorithm>
#include <cstring>

namespace bulk::uct {
namespace {

constexpr unsigned reserved_bits = 0x03;
constexpr unsigned link_layer_shift = 2;
constexpr unsigned link_layer_mask = 0x03;
constexpr unsigned port_bit = 1U << 4;
constexpr unsigned generation_shift = 5;
constexpr std::size_t head_bytes = 2;
constexpr std::size_t port_bytes = 2;

bool has_port(const Address& address) {
  return address.port() != 0 && address.port() != default_port;
}

bool starts_with(std::span<const std::byte> bytes, std::initializer_list<unsigned> prefix) {
  return bytes.size() >= prefix.size() &&
         std::equal(prefix.begin(), prefix.end(), bytes.begin(), [](unsigned expected, std::byte byte) {
           return std::to_integer<unsigned>(byte) == expected;
         });
}

bool is_loopback(std::span<const std::byte> ip) {
  return ip.size() == 4 ? starts_with(ip, {127})
                        : starts_with(ip, {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1});
}

bool is_link_local(std::span<const std::byte> ip) {
  return ip.size() == 4 ? starts_with(ip, {169, 254})
                        : starts_with(ip, {0xfe}) && (std::to_integer<unsigned>(ip[1]) & 0xc0) == 0x80;
}

bool is_unspecified(std::span<const std::byte> ip) {
  return std::all_of(ip.begin(), ip.end(), [](std::byte byte) { return byte == std::byte{0}; });
}

}  // namespace

std::size_t DeviceAddress::packed_bytes() const {
  return head_bytes + ip.ip().size() + (has_port(ip) ? port_bytes : 0);
}

void DeviceAddress::pack(std::byte* to) const {
  const auto bytes = ip.ip();
  const unsigned flags = (static_cast<unsigned>(link_layer) & link_layer_mask) << link_layer_shift |
                         (has_port(ip) ? port_bit : 0) | unsigned{generation} << generation_shift;
  to[0] = static_cast<std::byte>(flags);
  to[1] = static_cast<std::byte>(ip.family());
  to = std::copy(bytes.begin(), bytes.end(), to + head_bytes);
  if (has_port(ip)) {
    to[0] = static_cast<std::byte>(ip.port() >> 8);
    to[1] = static_cast<std::byte>(ip.port() & 0xff);
  }
}

std::optional<DeviceAddress> DeviceAddress::unpack(const void* from, std::optional<std::size_t> length) {
  const auto* bytes = static_cast<const std::byte*>(from);
  if (length.value_or(head_bytes) < head_bytes) return std::nullopt;

  const auto flags = std::to_integer<unsigned>(bytes[0]);
  const auto family = std::to_integer<unsigned>(bytes[1]);
  if ((flags & reserved_bits) != 0 || (family != AF_INET && family != AF_INET6)) return std::nullopt;

  const std::size_t ip_bytes = family == AF_INET ? 4 : 16;
  const bool port_follows = (flags & port_bit) != 0;
  const std::size_t total = head_bytes + ip_bytes + (port_follows ? port_bytes : 0);
  if (length.value_or(total) != total) return std::nullopt;

  std::uint16_t port = 0;
  if (port_follows) {
    const std::byte* at = bytes + head_bytes + ip_bytes;
    port =
        static_cast<std::uint16_t>(std::to_integer<unsigned>(at[0]) << 8 | std::to_integer<unsigned>(at[1]));
  }
  const auto ip = Address::from_ip(std::span(bytes + head_bytes, ip_bytes), port, 0);
  if (!ip) return std::nullopt;
  return DeviceAddress{*ip, static_cast<LinkLayer>(flags >> link_layer_shift & link_layer_mask),
                       static_cast<std::uint8_t>(flags >> generation_shift)};
}

void pack_token(Token token, std::byte* to) {
  for (unsigned shift = 64; shift != 0; shift -= 8)
    *to++ = static_cast<std::byte>(token >> (shift - 8));
}

std::optional<Token> unpack_token(const void* from) {
  const auto* bytes = static_cast<const std::byte*>(from);
  Token token = 0;
  for (std::size_t i = 0; i < iface_address_bytes; ++i)
    token = token << 8 | std::to_integer<Token>(bytes[i]);
  return token != 0 ? std::optional(token) : std::nullopt;
}

const char* why_strangers(const DeviceAddress& own, const DeviceAddress& peer) {
  if (own.ip.family() != peer.ip.family()) return "one address is IPv4 and the other IPv6";
  if (own.generation != 0 && peer.generation != 0 && own.generation != peer.generation)
    return "the two hosts speak different versions of the wire format";
  if (own.link_layer != LinkLayer::unknown && peer.link_layer != LinkLayer::unknown &&
      own.link_layer != peer.link_layer)
    return "one device is RoCE, InfiniBand or iWARP and the other is not";
  for (const auto ip : {own.ip.ip(), peer.ip.ip()}) {
    if (is_unspecified(ip)) return "an address is unspecified";
    if (is_loopback(ip)) return "a loopback address means a different host to everybody";
    if (is_link_local(ip)) return "a link-local address means a different host on every link";
  }
  return nullptr;
}

}  // namespace bulk::uct
