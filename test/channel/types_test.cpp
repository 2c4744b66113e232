// SPDX-License-Identifier: BSD-3-Clause
//
// Addresses, and the texts of errors.
#include <arpa/inet.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "channel/error.hpp"
#include "channel/types.hpp"

namespace bulk {
namespace {

std::array<std::byte, 4> v4() {
  return {std::byte{192}, std::byte{0}, std::byte{2}, std::byte{17}};
}

TEST(Address, is_empty_at_first) {
  const Address address;
  EXPECT_EQ(address.family(), AF_UNSPEC);
  EXPECT_TRUE(address.ip().empty());
  EXPECT_EQ(address.token(), 0U);
  EXPECT_EQ(address.ip_text(), "none");
}

TEST(Address, ipv4_has_the_layout_of_sockaddr_in) {
  const auto address = Address::from_ip(v4(), 20218, 0xabcdef);
  ASSERT_TRUE(address);
  EXPECT_EQ(address->text(), "192.0.2.17:20218/0000000000abcdef");
  sockaddr_in want{};
  want.sin_family = AF_INET;
  want.sin_port = htons(20218);
  want.sin_addr.s_addr = htonl(0xc0000211);
  std::array<std::uint8_t, 28> bytes{};
  std::memcpy(bytes.data(), &want, sizeof(want));
  EXPECT_TRUE(std::equal(bytes.begin(), bytes.end(), address->abi().begin()));
  EXPECT_EQ(address->ip().size(), 4U);
  EXPECT_EQ(address->port(), 20218);
}

TEST(Address, goes_through_text_and_back) {
  for (const char* text : {"192.0.2.17:0/0000000000000001", "[2001:db8::1]:20218/ffffffffffffffff",
                           "[fe80::1%3]:1/0123456789abcdef"}) {
    const auto address = Address::from_text(text);
    ASSERT_TRUE(address) << text;
    EXPECT_EQ(address->text(), text);
  }
}

TEST(Address, refuses_other_texts) {
  for (const char* text :
       {"", "/", "192.0.2.17", "192.0.2.17:1", "192.0.2.17/1", "192.0.2.17:65536/1", "192.0.2:1/1",
        "192.0.2.17:1/", "192.0.2.17:1/x", "192.0.2.17:1/1 ", "2001:db8::1:1/1", "[]:1/1",
        "[2001:db8::1%]:1/1", "192.0.2.17:1/11111111111111111"}) {
    EXPECT_FALSE(Address::from_text(text)) << '"' << text << '"';
  }
}

TEST(Address, comes_from_a_socket_address) {
  sockaddr_in6 v6{};
  v6.sin6_family = AF_INET6;
  v6.sin6_port = htons(7);
  v6.sin6_addr.s6_addr[15] = 1;
  const auto address = Address::from_sockaddr(reinterpret_cast<const sockaddr&>(v6), 2);
  ASSERT_TRUE(address);
  EXPECT_EQ(address->text(), "[::1]:7/0000000000000002");
  EXPECT_EQ(address->ip().size(), 16U);
  sockaddr unix_address{};
  unix_address.sa_family = AF_UNIX;
  EXPECT_FALSE(Address::from_sockaddr(unix_address, 2));
}

TEST(Address, refuses_ip_of_other_sizes) {
  const std::array<std::byte, 5> bytes{};
  EXPECT_FALSE(Address::from_ip(bytes, 1, 1));
  EXPECT_FALSE(Address::from_ip({}, 1, 1));
}

TEST(Address, port_and_token_can_be_changed) {
  auto address = *Address::from_ip(v4(), 0, 1);
  address.set_port(0x1234);
  address.set_token(5);
  EXPECT_EQ(address.text(), "192.0.2.17:4660/0000000000000005");
  EXPECT_NE(address, *Address::from_ip(v4(), 0, 1));
}

TEST(ErrnoText, names_and_describes) {
  EXPECT_EQ(errno_text(0), "success");
  EXPECT_EQ(errno_text(EAGAIN), "EAGAIN (Resource temporarily unavailable)");
  EXPECT_EQ(errno_text(EKEYREJECTED), "EKEYREJECTED (Key was rejected by service)");
  EXPECT_EQ(errno_text(99999), "errno 99999");
  EXPECT_EQ(errno_text(-5), "errno -5");
}

TEST(Error, text_has_what_and_why) {
  EXPECT_EQ((Error{EACCES, "cannot open it"}).text(), "cannot open it: EACCES (Permission denied)");
}

TEST(Status, is_made_from_the_kernels_numbers) {
  EXPECT_TRUE(Status{}.ok());
  EXPECT_TRUE(Status::from_kernel(0).ok());
  EXPECT_TRUE(Status::from_kernel(3).ok());
  EXPECT_EQ(Status::from_kernel(-EINVAL).error(), EINVAL);
  EXPECT_TRUE(Status::from_kernel(-EAGAIN).again());
  EXPECT_FALSE(Status::from_kernel(-EINVAL).again());
  EXPECT_FALSE(static_cast<bool>(Status(EINVAL)));
}

TEST(Result, holds_a_value_or_an_error) {
  Result<std::string> good = std::string("yes");
  ASSERT_TRUE(good.ok());
  EXPECT_EQ(*good, "yes");
  EXPECT_EQ(good->size(), 3U);
  const Result<std::string> bad = Error{EIO, "no"};
  EXPECT_FALSE(bad.ok());
  EXPECT_EQ(bad.error().code, EIO);
  EXPECT_TRUE(Result<void>{}.ok());
  EXPECT_FALSE(Result<void>(Error{EIO, "no"}).ok());
}

TEST(ResultDeathTest, ends_the_program_when_asked_for_what_is_not_there) {
  const Result<int> bad = Error{EIO, "no"};
  EXPECT_DEATH(static_cast<void>(bad.value()), "");
  const Result<int> good = 1;
  EXPECT_DEATH(static_cast<void>(good.error()), "");
}

}  // namespace
}  // namespace bulk
