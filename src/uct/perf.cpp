// SPDX-License-Identifier: BSD-3-Clause

#include "uct/perf.hpp"

namespace bulk::uct {
namespace {

constexpr double packet_headers = 82;  // bytes on the wire beside the payload: Ethernet, IP, UDP, BTH, CRCs
constexpr double unknown_bandwidth = 1.25e9;  // of a device that does not tell: 10 Gbit/s
constexpr double adapter_latency = 1.5e-6;
constexpr double iwarp_latency = 4e-6;
constexpr double kernel_latency = 3.5e-6;   // system call and post; interrupt and event ring
constexpr double post_overhead = 1.5e-6;    // system call and post
constexpr double end_overhead = 1.5e-6;     // interrupt and event
constexpr double receive_overhead = 3e-6;   // interrupt, event, and the slot given back
constexpr double memory_overhead = 0.5e-6;  // finding the user's registered memory
constexpr double software_factor = 4;       // packets are made and checked by processors
// What processors copy through slots of 8 KiB.
constexpr double slot_bandwidth = 1e9;

}  // namespace

Estimates Estimates::of(const Device& device, const IfaceConfig& config, bool is_software) {
  const double mtu = device.mtu != 0 ? device.mtu : 1024;
  const double line = device.speed_mbps != 0 ? device.speed_mbps * 1e6 / 8 : unknown_bandwidth;
  const double adapter = device.link_layer == LinkLayer::iwarp ? iwarp_latency : adapter_latency;
  const double factor = is_software ? software_factor : 1;

  return Estimates{
      .bandwidth = is_auto(config.bandwidth) ? line * mtu / (mtu + packet_headers) : config.bandwidth,
      .latency = is_auto(config.latency) ? adapter + kernel_latency : config.latency,
      .post = factor * post_overhead,
      .end = factor * end_overhead,
      .receive = factor * receive_overhead,
  };
}

template <class Attr>
void fill_estimates(const Estimates& estimates, Attr& attr) {
  namespace field = abi::perf_field;
  abi::PerfAttrHead& head = attr.head;
  const std::uint64_t mask = head.field_mask;
  const auto operation = (mask & field::operation) != 0 ? head.operation : abi::Operation::am_bcopy;
  const bool rma = operation >= abi::Operation::put_short && operation <= abi::Operation::get_zcopy;
  const bool zcopy = operation == abi::Operation::put_zcopy || operation == abi::Operation::get_zcopy;

  // Processors move messages, "zero copy" ones too, and what goes through slots, while PUT and GET of the
  // user's memory are the adapter's: UCX is to change to them, and to its rendezvous protocols, early. It
  // takes its own copies of buffers cut into slots for free where the line is slower than they.
  double bandwidth = estimates.bandwidth;
  if (!zcopy) bandwidth = 1 / (1 / bandwidth + 1 / slot_bandwidth);
  const uct_ppn_bandwidth_t shared{.dedicated = 0, .shared = bandwidth};

  if ((mask & field::send_pre_overhead) != 0)
    head.send_pre_overhead = estimates.post + (zcopy ? memory_overhead : 0);
  if ((mask & field::send_post_overhead) != 0) head.send_post_overhead = estimates.end;
  if ((mask & field::recv_overhead) != 0) head.recv_overhead = rma ? 0 : estimates.receive;
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
