// SPDX-License-Identifier: BSD-3-Clause
//
// Interface and endpoint: the base objects a plug-in's own ones begin with.
//
// libuct initialises and cleans up the base parts (uct_base_iface_t_init,
// uct_base_ep_t_init, ucs_class_call_cleanup_chain) and reads and writes them
// behind the plug-in's back: the handler table when a user sets a handler, the
// progress fields when progress is switched on, the interface pointer of an
// endpoint when UCP puts a failed one aside. Nothing here may move.

#pragma once

#include "uct/abi/component.hpp"
#include "uct/abi/params.hpp"
#include "uct/abi/version.hpp"

#include <uct/api/uct.h>

#include <ucs/async/async_fwd.h>
#include <ucs/config/types.h>
#include <ucs/datastruct/list.h>
#include <ucs/type/thread_mode.h>

#include <cstddef>
#include <cstdint>

namespace bulk::abi {

inline constexpr unsigned am_id_count = 32;

// The worker that uct_worker_create made, as its owner sees it.
struct PrivateWorker {
  uct_worker_t super;
  ucs_async_context_t* async;
  ucs_thread_mode_t thread_mode;
  ucs_list_link_t tl_data;
};

struct AmHandler {
  uct_am_callback_t cb;
  void* arg;
  std::uint32_t flags;
};

struct WorkerProgress {
  int id;
  std::uint32_t refcount;
};

struct BaseIface {
  uct_iface_t super;
  const void* internal_ops;  // InternalOps of the running release
  uct_md_h md;
  PrivateWorker* worker;
  AmHandler am[am_id_count];
  uct_am_tracer_t am_tracer;
  void* am_tracer_arg;
  uct_error_handler_t err_handler;
  void* err_handler_arg;
  std::uint32_t err_handler_flags;
  WorkerProgress prog;
  unsigned progress_flags;
  struct {
    unsigned num_alloc_methods;
    uct_alloc_method_t alloc_methods[alloc_method_last];
    ucs_log_level_t failure_level;
    std::size_t max_num_eps;
  } config;
};

struct BaseEp {
  uct_ep_t super;
};

using IfaceOps = uct_iface_ops_t;

template <typename Attr>
using EstimatePerf = ucs_status_t (*)(uct_iface_h iface, Attr* attr);
using VfsRefresh = void (*)(uct_iface_h iface);
using EpQuery = ucs_status_t (*)(uct_ep_h ep, EpAttr* attr);
using EpInvalidate118 = ucs_status_t (*)(uct_ep_h ep, unsigned flags);
using EpInvalidate121 = ucs_status_t (*)(uct_ep_h ep, const EpInvalidateParams* params);
using EpConnectToEp = ucs_status_t (*)(uct_ep_h ep, const uct_device_addr_t* device_addr,
                                       const uct_ep_addr_t* ep_addr, const ConnectToEpParams* params);
using IfaceIsReachable = int (*)(uct_iface_h iface, const IsReachableParams* params);
using EpIsConnected = int (*)(uct_ep_h ep, const IsConnectedParams* params);
using Unsupported = ucs_status_t (*)();  // a slot this project never fills with more than a refusal

// What libuct asks of an interface beside the public operations.
template <Version V>
struct InternalOps;

template <>
struct InternalOps<Version::v1_18> {
  EstimatePerf<PerfAttr118> iface_estimate_perf;
  VfsRefresh iface_vfs_refresh;
  EpQuery ep_query;
  EpInvalidate118 ep_invalidate;
  EpConnectToEp ep_connect_to_ep_v2;
  IfaceIsReachable iface_is_reachable_v2;
  EpIsConnected ep_is_connected;
};

template <>
struct InternalOps<Version::v1_22> {
  Unsupported iface_query_v2;
  EstimatePerf<PerfAttr119> iface_estimate_perf;
  VfsRefresh iface_vfs_refresh;
  EpQuery ep_query;
  EpInvalidate121 ep_invalidate;
  EpConnectToEp ep_connect_to_ep_v2;
  IfaceIsReachable iface_is_reachable_v2;
  EpIsConnected ep_is_connected;
  Unsupported ep_get_device_ep;
  Unsupported ep_put_sgl_zcopy;
};

template <>
struct InternalOps<Version::v1_23> {
  Unsupported iface_query_v2;
  EstimatePerf<PerfAttr119> iface_estimate_perf;
  VfsRefresh iface_vfs_refresh;
  EpQuery ep_query;
  EpInvalidate121 ep_invalidate;
  EpConnectToEp ep_connect_to_ep_v2;
  IfaceIsReachable iface_is_reachable_v2;
  EpIsConnected ep_is_connected;
  Unsupported ep_get_device_ep;
  Unsupported ep_put_sgl_zcopy;
  Unsupported ep_get_sgl_zcopy;
  Unsupported ep_outstanding_purge;
};

}  // namespace bulk::abi
