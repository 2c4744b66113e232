// SPDX-License-Identifier: BSD-3-Clause
//
// Addresses: from and to the kernel's sockaddr, IP bytes and text.
#include "channel/types.hpp"

#include <arpa/inet.h>

#include <charconv>
#include <cstdio>
#include <cstring>

namespace bulk {
namespace {

static_assert(sizeof(sockaddr_in) <= RDMA_BULK_ADDR_MAX && sizeof(sockaddr_in6) <= RDMA_BULK_ADDR_MAX);

using Bytes = std::array<std::uint8_t, RDMA_BULK_ADDR_MAX>;

template <class Sockaddr>
Sockaddr load(const Bytes& bytes) {
  Sockaddr result{};
  std::memcpy(&result, bytes.data(), sizeof(result));
  return result;
}

template <class Sockaddr>
void store(const Sockaddr& from, Bytes& bytes) {
  bytes.fill(0);
  std::memcpy(bytes.data(), &from, sizeof(from));
}

// The whole of `text` as a number; nothing if it is something else, or empty.
template <class Number>
std::optional<Number> number(std::string_view text, int base) {
  Number value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

}  // namespace

sa_family_t Address::family() const {
  sa_family_t family = AF_UNSPEC;
  std::memcpy(&family, sockaddr_.data() + offsetof(sockaddr, sa_family), sizeof(family));
  return family;
}

std::span<const std::byte> Address::ip() const {
  const auto bytes = std::as_bytes(std::span(sockaddr_));
  switch (family()) {
    case AF_INET:
      return bytes.subspan(offsetof(sockaddr_in, sin_addr), sizeof(in_addr));
    case AF_INET6:
      return bytes.subspan(offsetof(sockaddr_in6, sin6_addr), sizeof(in6_addr));
    default:
      return {};
  }
}

std::uint16_t Address::port() const {
  // sin_port and sin6_port stand at the same place
  static_assert(offsetof(sockaddr_in, sin_port) == offsetof(sockaddr_in6, sin6_port));
  return ntohs(load<sockaddr_in>(sockaddr_).sin_port);
}

void Address::set_port(std::uint16_t port) {
  const std::uint16_t wire = htons(port);
  std::memcpy(sockaddr_.data() + offsetof(sockaddr_in, sin_port), &wire, sizeof(wire));
}

std::optional<Address> Address::from_ip(std::span<const std::byte> ip, std::uint16_t port, Token token,
                                        std::uint32_t scope_id) {
  Address result;
  result.token_ = token;
  if (ip.size() == sizeof(in_addr)) {
    sockaddr_in v4{};
    v4.sin_family = AF_INET;
    v4.sin_port = htons(port);
    std::memcpy(&v4.sin_addr, ip.data(), ip.size());
    store(v4, result.sockaddr_);
    return result;
  }
  if (ip.size() == sizeof(in6_addr)) {
    sockaddr_in6 v6{};
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(port);
    v6.sin6_scope_id = scope_id;
    std::memcpy(&v6.sin6_addr, ip.data(), ip.size());
    store(v6, result.sockaddr_);
    return result;
  }
  return std::nullopt;
}

std::optional<Address> Address::from_sockaddr(const sockaddr& address, Token token) {
  Address result;
  result.token_ = token;
  if (address.sa_family == AF_INET) {
    store(reinterpret_cast<const sockaddr_in&>(address), result.sockaddr_);
  } else if (address.sa_family == AF_INET6) {
    store(reinterpret_cast<const sockaddr_in6&>(address), result.sockaddr_);
  } else {
    return std::nullopt;
  }
  return result;
}

Address Address::from_abi(std::span<const std::uint8_t, RDMA_BULK_ADDR_MAX> bytes, Token token) {
  Address result;
  std::memcpy(result.sockaddr_.data(), bytes.data(), bytes.size());
  result.token_ = token;
  return result;
}

std::string Address::ip_text() const {
  std::array<char, INET6_ADDRSTRLEN> text{};
  if (inet_ntop(family(), ip().data(), text.data(), text.size()) == nullptr) return "none";
  std::string result = text.data();
  const std::uint32_t scope = family() == AF_INET6 ? load<sockaddr_in6>(sockaddr_).sin6_scope_id : 0;
  if (scope != 0) result += "%" + std::to_string(scope);
  return result;
}

std::string Address::text() const {
  std::array<char, 32> token{};
  std::snprintf(token.data(), token.size(), "%016llx", static_cast<unsigned long long>(token_));
  const std::string ip = family() == AF_INET6 ? "[" + ip_text() + "]" : ip_text();
  return ip + ":" + std::to_string(port()) + "/" + token.data();
}

std::optional<Address> Address::from_text(std::string_view text) {
  const std::size_t slash = text.rfind('/');
  if (slash == std::string_view::npos) return std::nullopt;
  const auto token = number<Token>(text.substr(slash + 1), 16);
  text = text.substr(0, slash);
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return std::nullopt;
  const auto port = number<std::uint16_t>(text.substr(colon + 1), 10);
  text = text.substr(0, colon);
  if (!token || !port) return std::nullopt;

  std::array<std::byte, sizeof(in6_addr)> ip{};
  if (text.size() > 2 && text.front() == '[' && text.back() == ']') {
    text = text.substr(1, text.size() - 2);
    const std::size_t percent = text.find('%');
    std::optional<std::uint32_t> scope = 0;
    if (percent != std::string_view::npos) scope = number<std::uint32_t>(text.substr(percent + 1), 10);
    const std::string host(text.substr(0, percent));
    if (!scope || inet_pton(AF_INET6, host.c_str(), ip.data()) != 1) return std::nullopt;
    return from_ip(ip, *port, *token, *scope);
  }
  const std::string host(text);
  if (inet_pton(AF_INET, host.c_str(), ip.data()) != 1) return std::nullopt;
  return from_ip(std::span(ip).first<sizeof(in_addr)>(), *port, *token);
}

}  // namespace bulk
