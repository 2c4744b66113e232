// SPDX-License-Identifier: BSD-3-Clause
//
// What the transport is called, and which UCX it runs in.

#pragma once

#include "uct/abi/version.hpp"

namespace bulk::uct {

// Name of component, memory domain and transport alike.
inline constexpr char transport_name[] = "bulk";

// The UCX release this process runs, as chosen when the module was loaded; set once, before registration.
inline constinit abi::Version version_in_use = abi::Version::v1_18;

}  // namespace bulk::uct
