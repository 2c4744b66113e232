// SPDX-License-Identifier: BSD-3-Clause
//
// Value types of the channel library: handles, keys, addresses, devices, limits. All are plain values, free
// to copy and to hand to other threads.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "channel/abi.hpp"

namespace bulk {

// A number that the kernel gave out, or that it will understand; of a type of its own, so that an endpoint
// cannot stand where a region should. `None` is the value that names nothing.
template <class Tag, std::uint32_t None>
struct Handle {
  std::uint32_t value = None;

  constexpr bool valid() const { return value != None; }
  constexpr explicit operator bool() const { return valid(); }
  friend constexpr auto operator<=>(Handle, Handle) = default;
};

using EpHandle = Handle<struct EpTag, 0>;                    // an endpoint of one channel
using RegionHandle = Handle<struct RegionTag, 0>;            // a region of one domain
using TxSlot = Handle<struct TxSlotTag, RDMA_BULK_NO_SLOT>;  // a transmit slot of one channel
using RxSlot = Handle<struct RxSlotTag, RDMA_BULK_NO_SLOT>;  // a receive slot of one channel

// Longest message, bytes.
inline constexpr std::size_t max_message = RDMA_BULK_SLOT_PAYLOAD;
// Longest PUT or GET, bytes.
inline constexpr std::size_t max_rma = RDMA_BULK_MAX_OP;
// Bytes a process may ask for in front of each received message.
inline constexpr std::size_t max_headroom = RDMA_BULK_MAX_HEADROOM;
// RDMA CM port of hosts that say nothing else.
inline constexpr std::uint16_t default_port = RDMA_BULK_DEFAULT_PORT;

// The capability to reach a region from elsewhere. Opaque; compare and copy it, nothing else.
using Key = std::array<std::byte, RDMA_BULK_KEY_BYTES>;

// A channel's random number, never 0, unique on its host. Who has it can open an endpoint to the channel.
using Token = std::uint64_t;

// Where a channel is: IP address of its device, RDMA CM port of its host (0: the default), token.
class Address {
 public:
  Address() = default;

  // From an IPv4 or IPv6 socket address; its port is taken over. Nothing for other families.
  static std::optional<Address> from_sockaddr(const sockaddr& address, Token token);
  // From 4 or 16 address bytes in network order. Nothing for other sizes.
  static std::optional<Address> from_ip(std::span<const std::byte> ip, std::uint16_t port, Token token,
                                        std::uint32_t scope_id = 0);
  // From the form that text() writes, "192.0.2.1:20218/0123456789abcdef" or "[2001:db8::1]:0/...".
  static std::optional<Address> from_text(std::string_view text);

  sa_family_t family() const;             // AF_INET, AF_INET6, or AF_UNSPEC for an empty Address
  std::span<const std::byte> ip() const;  // 4 or 16 bytes in network order; they live as long as *this
  std::uint16_t port() const;             // host byte order
  void set_port(std::uint16_t port);      // host byte order
  Token token() const { return token_; }
  void set_token(Token token) { token_ = token; }
  std::string text() const;
  std::string ip_text() const;  // without port and token

  // The kernel's form: a sockaddr_in or sockaddr_in6, padded with zero bytes.
  std::span<const std::uint8_t, RDMA_BULK_ADDR_MAX> abi() const { return sockaddr_; }
  static Address from_abi(std::span<const std::uint8_t, RDMA_BULK_ADDR_MAX> bytes, Token token);

  friend bool operator==(const Address&, const Address&) = default;

 private:
  std::array<std::uint8_t, RDMA_BULK_ADDR_MAX> sockaddr_{};
  Token token_ = 0;
};

enum class LinkLayer : std::uint8_t {
  unknown = 0,
  roce = RDMA_BULK_LINK_ROCE,
  infiniband = RDMA_BULK_LINK_IB,
  iwarp = RDMA_BULK_LINK_IWARP,
};

// One port of an RDMA device with one IP address.
struct Device {
  std::string name;    // "rxe0:1"; further addresses of the same port: "rxe0:1@ADDRESS"
  std::string netdev;  // interface that carries the address
  Address address;     // port and token are 0
  LinkLayer link_layer = LinkLayer::unknown;
  std::uint8_t port_num = 0;     // of the RDMA device, from 1
  std::uint32_t mtu = 0;         // path MTU, bytes
  std::uint32_t speed_mbps = 0;  // 10^6 bit/s, 0: not known
};

// What a channel can have at most.
struct Limits {
  std::uint32_t rx_slots = 0;
  std::uint32_t tx_slots = 0;
  std::uint32_t commands = 0;  // outstanding
  std::uint64_t op_bytes = 0;  // of one PUT or GET
};

// Which earlier PUTs must have taken effect before a command does.
enum class Fence : std::uint16_t {
  none = 0,
  endpoint = RDMA_BULK_CMD_FENCE,     // those of the same endpoint
  channel = RDMA_BULK_CMD_FENCE_ALL,  // those of the channel; EAGAIN while other endpoints' are outstanding
};

// Rights that a key gives to its holders.
enum class Access : std::uint32_t {
  local = 0,  // none: for this process's own commands only; nothing is pinned, there is no key
  remote_read = RDMA_BULK_ACCESS_REMOTE_READ,
  remote_write = RDMA_BULK_ACCESS_REMOTE_WRITE,
  remote_read_write = RDMA_BULK_ACCESS_REMOTE_READ | RDMA_BULK_ACCESS_REMOTE_WRITE,
};

// Where the local bytes of a command are.
class Local {
 public:
  // In a transmit slot, from `offset` bytes on.
  static constexpr Local slot(TxSlot slot, std::uint32_t offset = 0) {
    return Local(RDMA_BULK_LOCAL_SLOT, slot.value, offset);
  }
  // Inside an own region.
  static Local region(RegionHandle region, const void* first) {
    return Local(RDMA_BULK_LOCAL_REGION, region.value, reinterpret_cast<std::uintptr_t>(first));
  }
  // Any memory. SEND copies it before the command is accepted; PUT and GET pin it until they are done.
  static Local user(const void* first) {
    return Local(RDMA_BULK_LOCAL_USER, 0, reinterpret_cast<std::uintptr_t>(first));
  }
  // NOLINTNEXTLINE(google-explicit-constructor): send(ep, slot, ...) means the slot's beginning
  constexpr Local(TxSlot slot) : Local(RDMA_BULK_LOCAL_SLOT, slot.value, 0) {}

  constexpr std::uint8_t kind() const { return kind_; }
  constexpr std::uint32_t local() const { return local_; }
  constexpr std::uint64_t addr() const { return addr_; }

 private:
  constexpr Local(std::uint8_t kind, std::uint32_t local, std::uint64_t addr)
      : addr_(addr), local_(local), kind_(kind) {}

  std::uint64_t addr_;
  std::uint32_t local_;
  std::uint8_t kind_;
};

// Where the remote bytes of a PUT or GET are: an address in the remote process, inside the region of the key.
// The key is copied when the command is made; it need not live longer.
struct Remote {
  std::uint64_t address;
  const Key& key;
};

}  // namespace bulk
