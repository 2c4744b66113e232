// SPDX-License-Identifier: BSD-3-Clause
//
// Addresses against bytes written down from the layout in architecture section 10.
#include "uct/address.hpp"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <net/if.h>

#include <cstring>
#include <vector>

#include "uct/route.hpp"

namespace {

using bulk::Address;
using bulk::LinkLayer;
using bulk::uct::DeviceAddress;
using Bytes = std::vector<std::uint8_t>;

std::optional<DeviceAddress> unpack(const Bytes& bytes) {
  return DeviceAddress::unpack(bytes.data(), bytes.size());
}

Bytes pack(const DeviceAddress& address) {
  Bytes bytes(address.packed_bytes());
  address.pack(reinterpret_cast<std::byte*>(bytes.data()));
  return bytes;
}

Address ip(const char* text, std::uint16_t port = 0) {
  std::array<std::byte, 16> bytes{};
  const bool v6 = std::strchr(text, ':') != nullptr;
  EXPECT_EQ(inet_pton(v6 ? AF_INET6 : AF_INET, text, bytes.data()), 1);
  return *Address::from_ip(std::span(bytes).first(v6 ? 16 : 4), port, 0);
}

TEST(DeviceAddress, OfIpv4Takes6Bytes) {
  const DeviceAddress address{ip("192.0.2.1"), LinkLayer::roce, 1};
  const Bytes bytes{0x24, 2, 192, 0, 2, 1};  // generation 1, RoCE
  EXPECT_EQ(pack(address), bytes);
  EXPECT_EQ(unpack(bytes), address);
}

TEST(DeviceAddress, OfIpv6Takes18Bytes) {
  const DeviceAddress address{ip("2001:db8::1"), LinkLayer::iwarp, 1};
  const Bytes bytes{0x2c, 10, 0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
  EXPECT_EQ(pack(address), bytes);
  EXPECT_EQ(unpack(bytes), address);
}

TEST(DeviceAddress, HasAPortOnlyIfItIsNotTheDefault) {
  EXPECT_EQ(pack({ip("192.0.2.1", 20218), LinkLayer::roce, 1}).size(), 6u);
  const DeviceAddress address{ip("192.0.2.1", 0x1234), LinkLayer::infiniband, 1};
  const Bytes bytes{0x38, 2, 192, 0, 2, 1, 0x12, 0x34};
  EXPECT_EQ(pack(address), bytes);
  EXPECT_EQ(unpack(bytes), address);
}

TEST(DeviceAddress, UnderstandsThatOfUcxTcp) {
  const auto address = unpack({0, 2, 10, 0, 0, 7});
  ASSERT_TRUE(address);
  EXPECT_EQ(address->ip.ip_text(), "10.0.0.7");
  EXPECT_EQ(address->generation, 0);
  EXPECT_EQ(address->link_layer, LinkLayer::unknown);
}

TEST(DeviceAddress, IsReadWithoutALength) {
  const Bytes bytes{0x34, 2, 192, 0, 2, 1, 0x12, 0x34, 99, 99};
  const auto address = DeviceAddress::unpack(bytes.data(), std::nullopt);
  ASSERT_TRUE(address);
  EXPECT_EQ(address->ip.port(), 0x1234);
}

TEST(DeviceAddress, RefusesEverythingElse) {
  EXPECT_FALSE(unpack({}));
  EXPECT_FALSE(unpack({0x24}));
  EXPECT_FALSE(unpack({0x25, 2, 192, 0, 2, 1}));        // a reserved bit
  EXPECT_FALSE(unpack({0x24, 3, 192, 0, 2, 1}));        // a family
  EXPECT_FALSE(unpack({0x24, 2, 192, 0, 2}));           // short
  EXPECT_FALSE(unpack({0x24, 2, 192, 0, 2, 1, 0, 0}));  // long
  EXPECT_FALSE(unpack({0x34, 2, 192, 0, 2, 1}));        // the port is missing
}

TEST(IfaceAddress, Is8BytesBigEndian) {
  Bytes bytes(8);
  bulk::uct::pack_token(0x0102030405060708, reinterpret_cast<std::byte*>(bytes.data()));
  EXPECT_EQ(bytes, (Bytes{1, 2, 3, 4, 5, 6, 7, 8}));
  EXPECT_EQ(bulk::uct::unpack_token(bytes.data()), 0x0102030405060708u);
  EXPECT_FALSE(bulk::uct::unpack_token(Bytes(8).data()));
}

void expect_strangers(const DeviceAddress& one, const DeviceAddress& other, const std::string& word) {
  for (const char* why : {why_strangers(one, other), why_strangers(other, one)}) {
    ASSERT_NE(why, nullptr);
    EXPECT_NE(std::string(why).find(word), std::string::npos) << why;
  }
}

TEST(Strangers, DifferInFamilyGenerationOrLinkLayer) {
  const DeviceAddress one{ip("192.0.2.1"), LinkLayer::roce, 1};
  EXPECT_EQ(why_strangers(one, {ip("192.0.2.2"), LinkLayer::roce, 1}), nullptr);
  EXPECT_EQ(why_strangers(one, {ip("192.0.2.2"), LinkLayer::unknown, 0}), nullptr);
  expect_strangers(one, {ip("2001:db8::1"), LinkLayer::roce, 1}, "IPv6");
  expect_strangers(one, {ip("192.0.2.2"), LinkLayer::roce, 2}, "version");
  expect_strangers(one, {ip("192.0.2.2"), LinkLayer::iwarp, 1}, "iWARP");
}

TEST(Strangers, HaveAddressesThatMeanSomethingElseElsewhere) {
  const DeviceAddress v4{ip("192.0.2.1"), LinkLayer::roce, 1};
  const DeviceAddress v6{ip("2001:db8::1"), LinkLayer::roce, 1};
  expect_strangers(v4, {ip("127.1.2.3"), LinkLayer::roce, 1}, "loopback");
  expect_strangers(v4, {ip("169.254.9.9"), LinkLayer::roce, 1}, "link-local");
  expect_strangers(v4, {ip("0.0.0.0"), LinkLayer::roce, 1}, "unspecified");
  expect_strangers(v6, {ip("::1"), LinkLayer::roce, 1}, "loopback");
  expect_strangers(v6, {ip("fe80::1"), LinkLayer::roce, 1}, "link-local");
}

TEST(Routes, TellWhatTheKernelTells) {
  bulk::uct::Routes routes;
  const Address loopback = ip("127.0.0.1");
  for (int i = 0; i < 2; ++i) {  // the second answer is a kept one
    const bulk::uct::Route route = routes.to(loopback, loopback);
    EXPECT_TRUE(route.local);
    EXPECT_EQ(route.interface, if_nametoindex("lo"));
  }
  EXPECT_FALSE(routes.to(ip("255.255.255.255"), loopback).local);
}

}  // namespace
