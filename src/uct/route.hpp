// SPDX-License-Identifier: BSD-3-Clause
//
// Where the kernel's routing sends an address, as `ip route get ADDRESS from OWN` tells.

#pragma once

#include "channel/types.hpp"

namespace bulk::uct {

struct Route {
  unsigned interface = 0;  // index of the network interface, 0: no route
  bool local = false;      // the address is this host's own
};

// Looks `to` up in this process's network namespace, for traffic that comes from the own address `from`.
Route route_to(const Address& to, const Address& from);

}  // namespace bulk::uct
