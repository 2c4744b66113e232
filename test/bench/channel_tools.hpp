// SPDX-License-Identifier: BSD-3-Clause
//
// What benchmarks of the channel library have in common.
#pragma once

#include <string>
#include <utility>

#include "channel/channel.hpp"
#include "session.hpp"

namespace bench {

// The value, or Fatal with the reason why there is none.
template <class T>
T value_of(bulk::Result<T> result) {
  if (!result) throw Fatal(result.error().text());
  return std::move(*result);
}

std::string hex(const bulk::Key& key);
// Throws Fatal for what hex() does not write.
bulk::Key key_from_hex(const std::string& text);

// Of text that the other end has sent. Throws Fatal if it is none.
bulk::Address address_from(const std::string& text);

// The RDMA device that has this address.
std::string device_with(const std::string& ip);

// Lets the process have as many open files as it may.
void raise_file_limit();

}  // namespace bench
