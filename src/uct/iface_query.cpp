// SPDX-License-Identifier: BSD-3-Clause
//
// What an interface tells of itself: limits and abilities, addresses, reachability.

#include <net/if.h>

#include <cstdarg>
#include <cstdio>

#include "uct/abi/imports.hpp"
#include "uct/iface.hpp"
#include "uct/route.hpp"

namespace bulk::uct {
namespace {

constexpr std::size_t max_gather = 16;  // entries of a message's list

constexpr std::uint64_t abilities =
    UCT_IFACE_FLAG_AM_SHORT | UCT_IFACE_FLAG_AM_BCOPY | UCT_IFACE_FLAG_AM_ZCOPY | UCT_IFACE_FLAG_PUT_SHORT |
    UCT_IFACE_FLAG_PUT_BCOPY | UCT_IFACE_FLAG_PUT_ZCOPY | UCT_IFACE_FLAG_GET_BCOPY |
    UCT_IFACE_FLAG_GET_ZCOPY | UCT_IFACE_FLAG_PENDING | UCT_IFACE_FLAG_CONNECT_TO_IFACE |
    UCT_IFACE_FLAG_CB_SYNC | UCT_IFACE_FLAG_ERRHANDLE_PEER_FAILURE | UCT_IFACE_FLAG_EP_CHECK |
    UCT_IFACE_FLAG_INTER_NODE;

constexpr std::uint64_t events =
    UCT_IFACE_FLAG_EVENT_SEND_COMP | UCT_IFACE_FLAG_EVENT_RECV | UCT_IFACE_FLAG_EVENT_FD;

// Says no, and why, to a caller that wants to know.
[[gnu::format(printf, 2, 3)]] bool refuse(const abi::IsReachableParams& params, const char* format, ...) {
  using Params = abi::IsReachableParams;
  constexpr std::uint64_t wanted = Params::field_info_string | Params::field_info_string_length;
  if ((params.field_mask & wanted) == wanted && params.info_string != nullptr) {
    va_list arguments;
    va_start(arguments, format);
    // NOLINTNEXTLINE(clang-analyzer-valist.Uninitialized): one line above
    std::vsnprintf(params.info_string, params.info_string_length, format, arguments);
    va_end(arguments);
  }
  return false;
}

}  // namespace

ucs_status_t Iface::query(uct_iface_attr_t* attr) {
  uct_base_iface_query(this, attr);

  attr->cap.flags = abilities;
  attr->cap.event_flags = events;

  attr->cap.am.max_short = max_message;
  attr->cap.am.max_bcopy = max_message;
  attr->cap.am.min_zcopy = 0;
  attr->cap.am.max_zcopy = max_message;
  attr->cap.am.max_hdr = max_message;
  attr->cap.am.max_iov = max_gather;
  attr->cap.am.opt_zcopy_align = 1;
  attr->cap.am.align_mtu = device_.mtu;

  attr->cap.put.max_short = max_message;
  attr->cap.put.max_bcopy = max_message;
  attr->cap.put.min_zcopy = 0;
  attr->cap.put.max_zcopy = channel_->limits().op_bytes;
  attr->cap.put.max_iov = 1;
  attr->cap.put.opt_zcopy_align = 1;
  attr->cap.put.align_mtu = device_.mtu;

  attr->cap.get = {};
  attr->cap.get.max_bcopy = max_message;
  attr->cap.get.max_zcopy = channel_->limits().op_bytes;
  attr->cap.get.max_iov = 1;
  attr->cap.get.opt_zcopy_align = 1;
  attr->cap.get.align_mtu = device_.mtu;

  attr->device_addr_len = device_address_.packed_bytes();
  attr->iface_addr_len = iface_address_bytes;
  attr->ep_addr_len = 0;

  attr->overhead = estimates_.post;
  attr->bandwidth.dedicated = 0;
  attr->bandwidth.shared = estimates_.bandwidth;
  attr->latency = ucs_linear_func_make(estimates_.latency, 0);
  attr->priority = 0;
  return UCS_OK;
}

template <class Attr>
ucs_status_t Iface::estimate_perf(Attr& attr) const {
  fill_estimates(estimates_, attr);
  return UCS_OK;
}
template ucs_status_t Iface::estimate_perf(abi::PerfAttr118&) const;
template ucs_status_t Iface::estimate_perf(abi::PerfAttr119&) const;

void Iface::get_device_address(uct_device_addr_t* address) const {
  device_address_.pack(reinterpret_cast<std::byte*>(address));
}

void Iface::get_address(uct_iface_addr_t* address) const {
  pack_token(channel_->address().token(), reinterpret_cast<std::byte*>(address));
}

bool Iface::is_reachable(const abi::IsReachableParams& params) {
  using Params = abi::IsReachableParams;
  const std::uint64_t mask = params.field_mask;
  if ((mask & Params::field_device_addr) == 0 || params.device_addr == nullptr)
    return refuse(params, "no device address was given");

  const auto peer = DeviceAddress::unpack(params.device_addr, (mask & Params::field_device_addr_length) != 0
                                                                  ? std::optional(params.device_addr_length)
                                                                  : std::nullopt);
  if (!peer) return refuse(params, "that is not a device address of this transport");
  if ((mask & Params::field_iface_addr) != 0 && params.iface_addr != nullptr &&
      !unpack_token(params.iface_addr))
    return refuse(params, "that is not an interface address of this transport");
  if (const char* why = why_strangers(device_address_, *peer); why != nullptr)
    return refuse(params, "%s", why);

  const std::string peer_text = peer->ip.ip_text();
  const auto own_ip = device_address_.ip.ip();
  const auto peer_ip = peer->ip.ip();
  if (std::equal(own_ip.begin(), own_ip.end(), peer_ip.begin(), peer_ip.end())) return true;
  if ((mask & Params::field_scope) != 0 && params.scope == abi::ReachabilityScope::device)
    return refuse(params, "%s is another device than %s", peer_text.c_str(), device_.name.c_str());

  const Route route = routes_.to(peer->ip, device_address_.ip);
  if (route.local)
    return refuse(params, "%s is another address of this host, which %s does not reach", peer_text.c_str(),
                  device_.name.c_str());
  if (route.interface == 0) return refuse(params, "there is no route to %s", peer_text.c_str());
  if (route.interface != netdev_index_) {
    char name[IF_NAMESIZE] = "?";
    if_indextoname(route.interface, name);
    return refuse(params, "the route to %s goes through %s, and %s is on %s", peer_text.c_str(), name,
                  device_.name.c_str(), device_.netdev.c_str());
  }
  return true;
}

}  // namespace bulk::uct
