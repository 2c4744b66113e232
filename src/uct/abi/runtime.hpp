// SPDX-License-Identifier: BSD-3-Clause
//
// Which UCX is this process running, and do we know it?
//
// libuct carries no version number, and its file name and symbols look the same
// in every release. So the module collects evidence (functions that came with a
// release, sizes of exported classes, the layout of a component that is always
// there, and the number that libucp tells) and uses a description only if all of
// it agrees. Everything else is a stranger, and the module stays out.

#pragma once

#include "uct/abi/version.hpp"

#include <cstddef>
#include <optional>

namespace bulk::abi {

struct Release {
  unsigned major = 0;
  unsigned minor = 0;
  unsigned patch = 0;
};

struct Evidence {
  // Exported functions, by the release that brought them.
  bool has_rkey_unpack_v2 = false;     // 1.19
  bool has_get_device_ep = false;      // 1.20
  bool has_mem_elem_pack = false;      // 1.21
  bool has_stub_iface_open = false;    // 1.22
  bool has_outstanding_purge = false;  // 1.23
  bool has_vfs_refresh = false;        // until 1.21

  std::size_t iface_size = 0;
  std::size_t base_iface_size = 0;
  std::size_t base_ep_size = 0;
  std::size_t cm_size = 0;

  // Component and transport of UCX's tcp stand in memory as described.
  bool tcp_fits = false;

  // From libucp beside libuct; nothing if there is none.
  std::optional<Release> release;
};

struct Choice {
  std::optional<Version> version;
  const char* why_not = nullptr;  // set exactly when there is no version
};

// Looks at the libuct that this module is linked to. May load libucp for a moment.
Evidence inspect();

Choice choose(const Evidence& evidence);

// Path of the libuct that this module is linked to, for messages; never null.
const char* library_path();

}  // namespace bulk::abi
