// SPDX-License-Identifier: BSD-3-Clause
//
// What the client of ucp_bench asks for: one test with its settings, which the server is told as a whole.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace bench {

enum class Role : std::uint8_t { client, server };

struct Job {
  std::string test;
  std::size_t size = 0;    // bytes of a message
  unsigned count = 0;      // operations measured
  unsigned warmup = 0;     // operations before them
  unsigned window = 0;     // operations in flight at most
  unsigned endpoints = 0;  // beside the first one
  unsigned processes = 1;  // of the client; of the server too, except with `incast`
  unsigned hold = 0;       // seconds for which `grow` keeps everything
  std::size_t beside = 0;  // bytes of a message of the stream beside the latency test; 0: no stream
  bool sleep = false;      // wait in poll() instead of polling
  bool bidirectional = false;
  bool fresh = false;  // no buffer is used twice

  // How many processes that side has.
  [[nodiscard]] unsigned processes_of(Role role) const;

  [[nodiscard]] std::string encode() const;
  // Throws verify::Fatal if the text is no job of this version.
  static Job decode(const std::string& text);
};

// Several strings as one, for the connection between the sides.
std::string pack(std::span<const std::string> strings);
std::vector<std::string> unpack(std::string_view packed);

}  // namespace bench
