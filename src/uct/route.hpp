// SPDX-License-Identifier: BSD-3-Clause
//
// Where the kernel's routing sends an address, as `ip route get ADDRESS from OWN` tells.

#pragma once

#include <chrono>
#include <map>
#include <string>

#include "channel/types.hpp"

namespace bulk::uct {

struct Route {
  unsigned interface = 0;  // index of the network interface, 0: no route
  bool local = false;      // the address is this host's own
};

// Looks `to` up in this process's network namespace, for traffic that comes from the own address `from`.
Route route_to(const Address& to, const Address& from);

// Answers of route_to, kept for a second: UCX asks several times for each endpoint, and jobs make many at
// once.
class Routes {
 public:
  Route to(const Address& to, const Address& from);

 private:
  using Clock = std::chrono::steady_clock;

  Clock::time_point since_;
  std::map<std::string, Route> known_;  // by destination and source
};

}  // namespace bulk::uct
