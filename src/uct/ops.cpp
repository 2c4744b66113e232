// SPDX-License-Identifier: BSD-3-Clause

#include "uct/ops.hpp"

#include <dlfcn.h>

#include "uct/abi/imports.hpp"
#include "uct/abi/unsupported.hpp"
#include "uct/identity.hpp"
#include "uct/ep.hpp"
#include "uct/iface.hpp"

namespace bulk::uct {
namespace {

// ---- endpoints ----

ucs_status_t ep_put_short(uct_ep_h ep, const void* from, unsigned length, std::uint64_t remote,
                          uct_rkey_t rkey) {
  return Ep::of(ep).put_short(from, length, remote, rkey);
}

ssize_t ep_put_bcopy(uct_ep_h ep, uct_pack_callback_t pack, void* arg, std::uint64_t remote,
                     uct_rkey_t rkey) {
  return Ep::of(ep).put_bcopy(pack, arg, remote, rkey);
}

ucs_status_t ep_put_zcopy(uct_ep_h ep, const uct_iov_t* iov, std::size_t count, std::uint64_t remote,
                          uct_rkey_t rkey, uct_completion_t* completion) {
  return Ep::of(ep).put_zcopy(iov, count, remote, rkey, completion);
}

ucs_status_t ep_get_bcopy(uct_ep_h ep, uct_unpack_callback_t unpack, void* arg, std::size_t length,
                          std::uint64_t remote, uct_rkey_t rkey, uct_completion_t* completion) {
  return Ep::of(ep).get_bcopy(unpack, arg, length, remote, rkey, completion);
}

ucs_status_t ep_get_zcopy(uct_ep_h ep, const uct_iov_t* iov, std::size_t count, std::uint64_t remote,
                          uct_rkey_t rkey, uct_completion_t* completion) {
  return Ep::of(ep).get_zcopy(iov, count, remote, rkey, completion);
}

ucs_status_t ep_am_short(uct_ep_h ep, std::uint8_t id, std::uint64_t header, const void* payload,
                         unsigned length) {
  return Ep::of(ep).am_short(id, header, payload, length);
}

ucs_status_t ep_am_short_iov(uct_ep_h ep, std::uint8_t id, const uct_iov_t* iov, std::size_t count) {
  return Ep::of(ep).am_short_iov(id, iov, count);
}

ssize_t ep_am_bcopy(uct_ep_h ep, std::uint8_t id, uct_pack_callback_t pack, void* arg, unsigned) {
  return Ep::of(ep).am_bcopy(id, pack, arg);
}

ucs_status_t ep_am_zcopy(uct_ep_h ep, std::uint8_t id, const void* header, unsigned header_length,
                         const uct_iov_t* iov, std::size_t count, unsigned, uct_completion_t*) {
  return Ep::of(ep).am_zcopy(id, header, header_length, iov, count);
}

ucs_status_t ep_pending_add(uct_ep_h ep, uct_pending_req_t* request, unsigned) {
  return Ep::of(ep).pending_add(request);
}

void ep_pending_purge(uct_ep_h ep, uct_pending_purge_callback_t callback, void* arg) {
  Ep::of(ep).pending_purge(callback, arg);
}

ucs_status_t ep_flush(uct_ep_h ep, unsigned flags, uct_completion_t* completion) {
  return Ep::of(ep).flush(flags, completion);
}

ucs_status_t ep_fence(uct_ep_h ep, unsigned) {
  return Ep::of(ep).fence();
}

// The kernel watches the peer, and progress reports its end: there is nothing to ask.
ucs_status_t ep_check(uct_ep_h, unsigned flags, uct_completion_t*) {
  return flags == 0 ? UCS_OK : UCS_ERR_UNSUPPORTED;
}

void ep_destroy(uct_ep_h ep) {
  Ep::of(ep).destroy();
}

// ---- interfaces ----

ucs_status_t iface_flush(uct_iface_h iface, unsigned, uct_completion_t* completion) {
  return completion == nullptr ? Iface::of(iface).flush() : UCS_ERR_UNSUPPORTED;
}

ucs_status_t iface_fence(uct_iface_h iface, unsigned) {
  Iface::of(iface).fence();
  return UCS_OK;
}

unsigned iface_progress(uct_iface_h iface) {
  return Iface::of(iface).progress();
}

ucs_status_t iface_event_fd_get(uct_iface_h iface, int* fd) {
  *fd = Iface::of(iface).channel().poll_fd();
  return UCS_OK;
}

ucs_status_t iface_event_arm(uct_iface_h iface, unsigned) {
  return Iface::of(iface).arm();
}

void iface_close(uct_iface_h iface) {
  Iface::of(iface).close();
}

ucs_status_t iface_query(uct_iface_h iface, uct_iface_attr_t* attr) {
  return Iface::of(iface).query(attr);
}

ucs_status_t iface_get_device_address(uct_iface_h iface, uct_device_addr_t* address) {
  Iface::of(iface).get_device_address(address);
  return UCS_OK;
}

ucs_status_t iface_get_address(uct_iface_h iface, uct_iface_addr_t* address) {
  Iface::of(iface).get_address(address);
  return UCS_OK;
}

// ---- internal ----

template <class Attr>
ucs_status_t iface_estimate_perf(uct_iface_h iface, Attr* attr) {
  return Iface::of(iface).estimate_perf(*attr);
}

void iface_vfs_refresh(uct_iface_h) {}

// As if the peer had failed.
ucs_status_t ep_invalidate_118(uct_ep_h ep, unsigned) {
  Ep::of(ep).invalidate();
  return UCS_OK;
}

ucs_status_t ep_invalidate_121(uct_ep_h ep, const abi::EpInvalidateParams*) {
  Ep::of(ep).invalidate();
  return UCS_OK;
}

int iface_is_reachable_v2(uct_iface_h iface, const abi::IsReachableParams* params) {
  return Iface::of(iface).is_reachable(*params) ? 1 : 0;
}

int ep_is_connected(uct_ep_h ep, const abi::IsConnectedParams* params) {
  using Params = abi::IsConnectedParams;
  std::optional<DeviceAddress> device;
  std::optional<Token> token;
  if ((params->field_mask & Params::field_device_addr) != 0) {
    device = DeviceAddress::unpack(params->device_addr, std::nullopt);
    if (!device) return 0;
  }
  if ((params->field_mask & Params::field_iface_addr) != 0) {
    token = unpack_token(params->iface_addr);
    if (!token) return 0;
  }
  return Ep::of(ep).is_connected_to(device ? &*device : nullptr, token) ? 1 : 0;
}

template <class Ops>
constexpr void fill_common(Ops& ops) {
  ops.iface_vfs_refresh = iface_vfs_refresh;
  ops.ep_query = abi::unsupported<decltype(ops.ep_query)>;
  ops.ep_connect_to_ep_v2 = abi::unsupported<decltype(ops.ep_connect_to_ep_v2)>;
  ops.iface_is_reachable_v2 = iface_is_reachable_v2;
  ops.ep_is_connected = ep_is_connected;
}

constexpr abi::InternalOps<abi::Version::v1_18> make_118() {
  abi::InternalOps<abi::Version::v1_18> ops{};
  fill_common(ops);
  ops.iface_estimate_perf = iface_estimate_perf<abi::PerfAttr118>;
  ops.ep_invalidate = ep_invalidate_118;
  return ops;
}

template <abi::Version V>
constexpr abi::InternalOps<V> make_since_122() {
  abi::InternalOps<V> ops{};
  fill_common(ops);
  ops.iface_query_v2 = abi::unsupported<abi::Unsupported>;  // replaced at run time
  ops.iface_estimate_perf = iface_estimate_perf<abi::PerfAttr119>;
  ops.ep_invalidate = ep_invalidate_121;
  ops.ep_get_device_ep = abi::unsupported<abi::Unsupported>;
  ops.ep_put_sgl_zcopy = abi::unsupported<abi::Unsupported>;
  if constexpr (V == abi::Version::v1_23) {
    ops.ep_get_sgl_zcopy = abi::unsupported<abi::Unsupported>;
    ops.ep_outstanding_purge = abi::unsupported<abi::Unsupported>;
  }
  return ops;
}

constinit const auto ops_118 = make_118();
constinit auto ops_122 = make_since_122<abi::Version::v1_22>();
constinit auto ops_123 = make_since_122<abi::Version::v1_23>();

// libuct's own answer to the question that came with 1.22; older libraries do not have it.
template <class Ops>
const void* with_query_v2(Ops& ops) {
  void* query = dlsym(RTLD_DEFAULT, "uct_iface_base_query_v2");
  if (query == nullptr) {
    if (void* libuct = dlopen("libuct.so.0", RTLD_LAZY | RTLD_NOLOAD); libuct != nullptr) {
      query = dlsym(libuct, "uct_iface_base_query_v2");
      dlclose(libuct);
    }
  }
  if (query != nullptr) ops.iface_query_v2 = reinterpret_cast<abi::Unsupported>(query);
  return &ops;
}

constexpr uct_iface_ops_t make_iface_ops() {
  uct_iface_ops_t ops{};
  ops.ep_put_short = ep_put_short;
  ops.ep_put_bcopy = ep_put_bcopy;
  ops.ep_put_zcopy = ep_put_zcopy;
  ops.ep_get_bcopy = ep_get_bcopy;
  ops.ep_get_zcopy = ep_get_zcopy;
  ops.ep_am_short = ep_am_short;
  ops.ep_am_short_iov = ep_am_short_iov;
  ops.ep_am_bcopy = ep_am_bcopy;
  ops.ep_am_zcopy = ep_am_zcopy;
  ops.ep_pending_add = ep_pending_add;
  ops.ep_pending_purge = ep_pending_purge;
  ops.ep_flush = ep_flush;
  ops.ep_fence = ep_fence;
  ops.ep_check = ep_check;
  ops.ep_create = Ep::create;
  ops.ep_destroy = ep_destroy;
  ops.iface_flush = iface_flush;
  ops.iface_fence = iface_fence;
  ops.iface_progress_enable = uct_base_iface_progress_enable;
  ops.iface_progress_disable = uct_base_iface_progress_disable;
  ops.iface_progress = iface_progress;
  ops.iface_event_fd_get = iface_event_fd_get;
  ops.iface_event_arm = iface_event_arm;
  ops.iface_close = iface_close;
  ops.iface_query = iface_query;
  ops.iface_get_device_address = iface_get_device_address;
  ops.iface_get_address = iface_get_address;
  ops.iface_is_reachable = uct_base_iface_is_reachable;
  return ops;
}

}  // namespace

constinit const uct_iface_ops_t iface_ops = make_iface_ops();

const void* internal_ops_for_running_ucx() {
  switch (version_in_use) {
    case abi::Version::v1_22:
      return with_query_v2(ops_122);
    case abi::Version::v1_23:
      return with_query_v2(ops_123);
    default:
      return &ops_118;
  }
}

}  // namespace bulk::uct
