// SPDX-License-Identifier: BSD-3-Clause

#include "uct/perf.hpp"

namespace bulk::uct {
namespace {

constexpr double packet_headers = 82;  // bytes on the wire beside the payload: Ethernet, IP, UDP, BTH, CRCs
constexpr double unknown_bandwidth = 1.25e9;  // of a device that does not tell: 10 Gbit/s
constexpr double adapter_latency = 1.5e-6;
constexpr double iwarp_latency = 4e-6;
constexpr double kernel_latency = 3.5e-6;  // system call and post; interrupt and event ring
constexpr double post_overhead = 1e-6;
constexpr double receive_overhead = 0.5e-6;
// What processors can do in messages of a slot each: two system calls or interrupts and two copies for 8 KiB.
constexpr double message_bandwidth = 1e9;

}  // namespace

Estimates Estimates::of(const Device& device, const IfaceConfig& config) {
  const double mtu = device.mtu != 0 ? device.mtu : 1024;
  const double line = device.speed_mbps != 0 ? device.speed_mbps * 1e6 / 8 : unknown_bandwidth;
  const double adapter = device.link_layer == LinkLayer::iwarp ? iwarp_latency : adapter_latency;

  return Estimates{
      .bandwidth = is_auto(config.bandwidth) ? line * mtu / (mtu + packet_headers) : config.bandwidth,
      .latency = is_auto(config.latency) ? adapter + kernel_latency : config.latency,
      .overhead = post_overhead,
  };
}

template <class Attr>
void fill_estimates(const Estimates& estimates, Attr& attr) {
  namespace field = abi::perf_field;
  abi::PerfAttrHead& head = attr.head;
  const std::uint64_t mask = head.field_mask;
  const auto operation = (mask & field::operation) != 0 ? head.operation : abi::Operation::am_bcopy;
  const bool rma = operation >= abi::Operation::put_short && operation <= abi::Operation::get_zcopy;

  // Processors move messages, "zero copy" ones too, while PUT and GET are the adapter's: UCX is to change to
  // its rendezvous protocols early.
  double bandwidth = estimates.bandwidth;
  if (!rma) bandwidth = 1 / (1 / bandwidth + 1 / message_bandwidth);
  const uct_ppn_bandwidth_t shared{.dedicated = 0, .shared = bandwidth};

  if ((mask & field::send_pre_overhead) != 0) head.send_pre_overhead = estimates.overhead;
  if ((mask & field::send_post_overhead) != 0) head.send_post_overhead = 0;
  if ((mask & field::recv_overhead) != 0) head.recv_overhead = rma ? 0 : receive_overhead;
  if ((mask & field::bandwidth) != 0) head.bandwidth = shared;
  if constexpr (Attr::has_path_bandwidth) {
    if ((mask & abi::bit(Attr::path_bandwidth_bit)) != 0) attr.path_bandwidth = shared;
  }
  if ((mask & field::latency<Attr>) != 0) attr.latency = ucs_linear_func_make(estimates.latency, 0);
  if ((mask & field::max_inflight_eps<Attr>) != 0) attr.max_inflight_eps = SIZE_MAX;
  if ((mask & field::flags<Attr>) != 0) attr.flags = 0;
}

template void fill_estimates(const Estimates&, abi::PerfAttr118&);
template void fill_estimates(const Estimates&, abi::PerfAttr119&);

}  // namespace bulk::uct
