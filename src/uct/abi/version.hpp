// SPDX-License-Identifier: BSD-3-Clause
//
// The UCX releases whose plug-in interface this directory describes.
//
// UCX installs the headers an application needs, not those a transport needs.
// The files here describe what is missing, in the project's own words, for the
// releases below and for no other. One binary holds all descriptions and
// runtime.hpp picks one when the module is loaded; on any other release the
// module stays out.
//
// The facts hold for LP64 builds without UCX's own statistics, as the
// distributions ship them. layout.cpp states every offset and size again as a
// static_assert; test/uct/abi_test.cpp holds them against the installed library.

#pragma once

#include <cstdint>

namespace bulk::abi {

enum class Version : std::uint8_t {
  v1_18,  // Debian 13
  v1_22,  // first release that finds plug-ins by itself
  v1_23,
};

constexpr const char* to_string(Version version) {
  switch (version) {
    case Version::v1_18:
      return "1.18";
    case Version::v1_22:
      return "1.22";
    case Version::v1_23:
      return "1.23";
  }
  return "?";
}

}  // namespace bulk::abi
