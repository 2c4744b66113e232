// SPDX-License-Identifier: BSD-3-Clause
#include "channel_tools.hpp"

#include <fmt/format.h>
#include <sys/resource.h>

#include <cstddef>

namespace bench {

std::string hex(const bulk::Key& key) {
  std::string text;
  for (const std::byte b : key)
    text += fmt::format("{:02x}", std::to_integer<unsigned>(b));
  return text;
}

bulk::Key key_from_hex(const std::string& text) {
  bulk::Key key{};
  if (text.size() != 2 * key.size()) throw Fatal("the other end's key is none");
  for (std::size_t i = 0; i < key.size(); ++i)
    key[i] = static_cast<std::byte>(std::stoul(text.substr(2 * i, 2), nullptr, 16));
  return key;
}

bulk::Address address_from(const std::string& text) {
  const auto address = bulk::Address::from_text(text);
  if (!address) throw Fatal("the other end's address is none: " + text);
  return *address;
}

std::string device_with(const std::string& ip) {
  for (const bulk::Device& device : value_of(bulk::query()).devices) {
    if (device.address.ip_text() == ip) return device.name;
  }
  throw Fatal("no RDMA device has the address " + ip);
}

void raise_file_limit() {
  rlimit files{};
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
}

}  // namespace bench
