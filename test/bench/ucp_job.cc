// SPDX-License-Identifier: BSD-3-Clause

#include "ucp_job.h"

#include <fmt/format.h>

#include <cstring>
#include <sstream>

#include "../system/verify_oob.h"

namespace bench {

using verify::Fatal;

unsigned Job::processes_of(Role role) const {
  if (beside > 0) return 2;
  return test == "incast" && role == Role::server ? 1 : processes;
}

std::string Job::encode() const {
  return fmt::format("ucp_bench-1 {} {} {} {} {} {} {} {} {} {:d} {:d} {:d}", test, size, count, warmup,
                     window, endpoints, processes, hold, beside, sleep, bidirectional, fresh);
}

Job Job::decode(const std::string& text) {
  Job job;
  std::istringstream in(text);
  std::string magic;
  in >> magic >> job.test >> job.size >> job.count >> job.warmup >> job.window >> job.endpoints >>
      job.processes >> job.hold >> job.beside >> job.sleep >> job.bidirectional >> job.fresh;
  if (!in || magic != "ucp_bench-1") throw Fatal("the other side is no ucp_bench of this version");
  return job;
}

std::string pack(std::span<const std::string> strings) {
  std::string packed;
  for (const std::string& string : strings) {
    const auto length = static_cast<std::uint32_t>(string.size());
    packed.append(reinterpret_cast<const char*>(&length), sizeof(length));
    packed += string;
  }
  return packed;
}

std::vector<std::string> unpack(std::string_view packed) {
  std::vector<std::string> strings;
  while (!packed.empty()) {
    std::uint32_t length = 0;
    if (packed.size() < sizeof(length)) throw Fatal("the other side sent something broken");
    std::memcpy(&length, packed.data(), sizeof(length));
    packed.remove_prefix(sizeof(length));
    if (packed.size() < length) throw Fatal("the other side sent something broken");
    strings.emplace_back(packed.substr(0, length));
    packed.remove_prefix(length);
  }
  return strings;
}

}  // namespace bench
