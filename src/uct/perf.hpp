// SPDX-License-Identifier: BSD-3-Clause
//
// What UCX is told about speed, so that it can choose between transports and protocols.
//
// Bandwidth is what the port carries less the headers of each packet; latency is the adapter's plus two turns
// through the kernel. Where the device tells nothing, or a user knows better, UCX_BULK_BANDWIDTH and
// UCX_BULK_LATENCY say.

#pragma once

#include "channel/types.hpp"
#include "uct/abi/params.hpp"
#include "uct/config.hpp"

namespace bulk::uct {

struct Estimates {
  double bandwidth;  // bytes a second
  double latency;    // seconds, one way
  double overhead;   // seconds of processor time to post an operation

  static Estimates of(const Device& device, const IfaceConfig& config);
};

// Answers UCX's question about one operation. `mtu`: of the device.
template <class Attr>
void fill_estimates(const Estimates& estimates, Attr& attr);

}  // namespace bulk::uct
