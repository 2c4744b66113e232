// SPDX-License-Identifier: BSD-3-Clause
//
// Which way endpoints to the own host's address take while a test program of the lab runs: over the adapter,
// which is how one host tests it, or directly (parameter `direct' of rdma_bulk.ko). Without the module, or
// without the right to say so, nothing happens.
#pragma once

#include <unistd.h>

#include <fstream>
#include <string>
#include <string_view>

namespace bulk {

class DirectPath {
 public:
  explicit DirectPath(bool on) {
    std::ifstream(parameter) >> before_;
    if (!before_.empty()) std::ofstream(parameter) << (on ? 'Y' : 'N');
  }
  DirectPath(const DirectPath&) = delete;
  DirectPath& operator=(const DirectPath&) = delete;
  ~DirectPath() {
    // not at the end of a forked child
    if (!before_.empty() && ::getpid() == maker_) std::ofstream(parameter) << before_;
  }

  // The programs whose names say so are for the direct path, all others for the adapter.
  static bool for_program(std::string_view path) {
    return path.substr(path.rfind('/') + 1).find("direct") != std::string_view::npos;
  }

 private:
  static constexpr const char* parameter = "/sys/module/rdma_bulk/parameters/direct";
  std::string before_;
  pid_t maker_ = ::getpid();
};

}  // namespace bulk
