// SPDX-License-Identifier: BSD-3-Clause
//
// What UCX is told about speed, so that it can choose between transports and protocols.
//
// Bandwidth is what the port carries less the headers of each packet; latency is the adapter's plus two turns
// through the kernel. Where the device tells nothing, or a user knows better, UCX_BULK_BANDWIDTH and
// UCX_BULK_LATENCY say. On a software device each operation takes the processors a few times as long.

#pragma once

#include "channel/types.hpp"
#include "uct/abi/params.hpp"
#include "uct/config.hpp"

namespace bulk::uct {

struct Estimates {
  double bandwidth;  // bytes a second
  double latency;    // seconds, one way
  double post;       // seconds of processor time: to post an operation,
  double end;        // to learn its end,
  double receive;    // to receive a message

  static Estimates of(const Device& device, const IfaceConfig& config, bool is_software);
};

// Answers UCX's question about one operation.
template <class Attr>
void fill_estimates(const Estimates& estimates, Attr& attr);

}  // namespace bulk::uct
