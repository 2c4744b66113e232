// SPDX-License-Identifier: BSD-3-Clause
//
// The component and the transport "bulk" as UCX knows them: two static objects
// that module.cpp registers. Filled once, before registration, for the UCX release
// at hand; constant afterwards but for the list links, which are UCX's.

#pragma once

#include "uct/abi/component.hpp"

namespace bulk::uct {

extern abi::Component bulk_component;
extern abi::Transport bulk_transport;

// Fills both objects for `version`, which is the one in use from then on.
void prepare_component(abi::Version version);

}  // namespace bulk::uct
