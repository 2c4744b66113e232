// SPDX-License-Identifier: BSD-3-Clause
//
// Offset and size of every field that is described here, in bytes, as found in
// the debugging information of UCX itself. A failure means that this compiler or
// these UCX headers do not fit the binary interface that the module speaks; it
// must not be built then.

#include "uct/abi/component.hpp"
#include "uct/abi/iface.hpp"
#include "uct/abi/params.hpp"

#include <ucs/debug/log_def.h>
#include <ucs/type/class.h>

#include <cstddef>
#include <type_traits>

namespace bulk::abi {
namespace {

// offsetof takes member designators ("config.max_num_eps"), which no template can. Many fields are pointers.
// NOLINTBEGIN(bugprone-macro-parentheses,bugprone-sizeof-expression)
#define AT(type, field, offset, bytes) \
  static_assert(offsetof(type, field) == (offset) && sizeof(static_cast<type*>(nullptr)->field) == (bytes))

// ---- Component, transport, memory domain

AT(Component, name, 0, 16);
AT(Component, query_md_resources, 16, 8);
AT(Component, md_open, 24, 8);
AT(Component, cm_open, 32, 8);
AT(Component, rkey_unpack, 40, 8);
AT(Component, rkey_ptr, 48, 8);
AT(Component, rkey_release, 56, 8);
AT(Component, rkey_compare, 64, 8);
AT(Component, md_config, 72, 56);
AT(Component, cm_config, 128, 56);
AT(Component, tl_list, 184, 16);
AT(Component, list, 200, 16);
AT(Component, flags, 216, 8);
AT(Component, md_vfs_init, 224, 8);
static_assert(sizeof(Component) == 232);

AT(Transport, name, 0, 10);
AT(Transport, query_devices, 16, 8);
AT(Transport, iface_open, 24, 8);
AT(Transport, config, 32, 56);
AT(Transport, list, 88, 16);
static_assert(sizeof(Transport) == 104);

AT(Md, ops, 0, 8);
AT(Md, component, 8, 8);
static_assert(sizeof(Md) == 16);

AT(MdOps<Version::v1_18>, common.close, 0, 8);
AT(MdOps<Version::v1_18>, common.query, 8, 8);
AT(MdOps<Version::v1_18>, common.mem_alloc, 16, 8);
AT(MdOps<Version::v1_18>, common.mem_free, 24, 8);
AT(MdOps<Version::v1_18>, common.mem_advise, 32, 8);
AT(MdOps<Version::v1_18>, common.mem_reg, 40, 8);
AT(MdOps<Version::v1_18>, common.mem_dereg, 48, 8);
AT(MdOps<Version::v1_18>, common.mem_query, 56, 8);
AT(MdOps<Version::v1_18>, common.mkey_pack, 64, 8);
AT(MdOps<Version::v1_18>, common.mem_attach, 72, 8);
AT(MdOps<Version::v1_18>, common.detect_memory_type, 80, 8);
static_assert(sizeof(MdOps<Version::v1_18>) == 88);

AT(MdOps<Version::v1_22>, common.close, 0, 8);
AT(MdOps<Version::v1_22>, common.query, 8, 8);
AT(MdOps<Version::v1_22>, common.mem_alloc, 16, 8);
AT(MdOps<Version::v1_22>, common.mem_free, 24, 8);
AT(MdOps<Version::v1_22>, common.mem_advise, 32, 8);
AT(MdOps<Version::v1_22>, common.mem_reg, 40, 8);
AT(MdOps<Version::v1_22>, common.mem_dereg, 48, 8);
AT(MdOps<Version::v1_22>, common.mem_query, 56, 8);
AT(MdOps<Version::v1_22>, common.mkey_pack, 64, 8);
AT(MdOps<Version::v1_22>, common.mem_attach, 72, 8);
AT(MdOps<Version::v1_22>, common.detect_memory_type, 80, 8);
AT(MdOps<Version::v1_22>, mem_elem_pack, 88, 8);
static_assert(sizeof(MdOps<Version::v1_22>) == 96);

AT(MdOps<Version::v1_23>, common.close, 0, 8);
AT(MdOps<Version::v1_23>, common.query, 8, 8);
AT(MdOps<Version::v1_23>, common.mem_alloc, 16, 8);
AT(MdOps<Version::v1_23>, common.mem_free, 24, 8);
AT(MdOps<Version::v1_23>, common.mem_advise, 32, 8);
AT(MdOps<Version::v1_23>, common.mem_reg, 40, 8);
AT(MdOps<Version::v1_23>, common.mem_dereg, 48, 8);
AT(MdOps<Version::v1_23>, common.mem_query, 56, 8);
AT(MdOps<Version::v1_23>, common.mkey_pack, 64, 8);
AT(MdOps<Version::v1_23>, common.mem_attach, 72, 8);
AT(MdOps<Version::v1_23>, common.detect_memory_type, 80, 8);
AT(MdOps<Version::v1_23>, mem_elem_pack, 88, 8);
AT(MdOps<Version::v1_23>, mem_elem_release, 96, 8);
static_assert(sizeof(MdOps<Version::v1_23>) == 104);

AT(DeviceResource, name, 0, 32);
AT(DeviceResource, type, 32, 4);
AT(DeviceResource, sys_device, 36, 1);
static_assert(sizeof(DeviceResource) == 40);

AT(MdConfigBase, unused, 0, 1);
static_assert(sizeof(MdConfigBase) == 1);

AT(IfaceConfigBase, alloc_methods.methods, 0, 8);
AT(IfaceConfigBase, alloc_methods.count, 8, 4);
AT(IfaceConfigBase, failure, 16, 4);
AT(IfaceConfigBase, max_num_eps, 24, 8);
static_assert(sizeof(IfaceConfigBase) == 32);

AT(MdAttr, field_mask, 0, 8);
AT(MdAttr, max_alloc, 8, 8);
AT(MdAttr, max_reg, 16, 8);
AT(MdAttr, flags, 24, 8);
AT(MdAttr, reg_mem_types, 32, 8);
AT(MdAttr, reg_nonblock_mem_types, 40, 8);
AT(MdAttr, cache_mem_types, 48, 8);
AT(MdAttr, gva_mem_types, 56, 8);
AT(MdAttr, detect_mem_types, 64, 8);
AT(MdAttr, alloc_mem_types, 72, 8);
AT(MdAttr, access_mem_types, 80, 8);
AT(MdAttr, dmabuf_mem_types, 88, 8);
AT(MdAttr, reg_cost, 96, 16);
AT(MdAttr, component_name, 112, 16);
AT(MdAttr, rkey_packed_size, 128, 8);
AT(MdAttr, local_cpus, 136, 128);
AT(MdAttr, exported_mkey_packed_size, 264, 8);
AT(MdAttr, global_id, 272, 256);
AT(MdAttr, reg_alignment, 528, 8);
static_assert(sizeof(MdAttr) == 536);

AT(MdAttr122, required_mem_flags, 536, 1);
static_assert(sizeof(MdAttr122) == 544);

// ---- Interface and endpoint

AT(BaseIface, super, 0, 400);
AT(BaseIface, internal_ops, 400, 8);
AT(BaseIface, md, 408, 8);
AT(BaseIface, worker, 416, 8);
AT(BaseIface, am, 424, 768);
AT(BaseIface, am_tracer, 1192, 8);
AT(BaseIface, am_tracer_arg, 1200, 8);
AT(BaseIface, err_handler, 1208, 8);
AT(BaseIface, err_handler_arg, 1216, 8);
AT(BaseIface, err_handler_flags, 1224, 4);
AT(BaseIface, prog, 1228, 8);
AT(BaseIface, progress_flags, 1236, 4);
AT(BaseIface, config.num_alloc_methods, 1240, 4);
AT(BaseIface, config.alloc_methods, 1244, 20);
AT(BaseIface, config.failure_level, 1264, 4);
AT(BaseIface, config.max_num_eps, 1272, 8);
static_assert(sizeof(BaseIface) == 1280);

AT(AmHandler, cb, 0, 8);
AT(AmHandler, arg, 8, 8);
AT(AmHandler, flags, 16, 4);
static_assert(sizeof(AmHandler) == 24);

AT(InternalOps<Version::v1_18>, iface_estimate_perf, 0, 8);
AT(InternalOps<Version::v1_18>, iface_vfs_refresh, 8, 8);
AT(InternalOps<Version::v1_18>, ep_query, 16, 8);
AT(InternalOps<Version::v1_18>, ep_invalidate, 24, 8);
AT(InternalOps<Version::v1_18>, ep_connect_to_ep_v2, 32, 8);
AT(InternalOps<Version::v1_18>, iface_is_reachable_v2, 40, 8);
AT(InternalOps<Version::v1_18>, ep_is_connected, 48, 8);
static_assert(sizeof(InternalOps<Version::v1_18>) == 56);

AT(InternalOps<Version::v1_22>, iface_query_v2, 0, 8);
AT(InternalOps<Version::v1_22>, iface_estimate_perf, 8, 8);
AT(InternalOps<Version::v1_22>, iface_vfs_refresh, 16, 8);
AT(InternalOps<Version::v1_22>, ep_query, 24, 8);
AT(InternalOps<Version::v1_22>, ep_invalidate, 32, 8);
AT(InternalOps<Version::v1_22>, ep_connect_to_ep_v2, 40, 8);
AT(InternalOps<Version::v1_22>, iface_is_reachable_v2, 48, 8);
AT(InternalOps<Version::v1_22>, ep_is_connected, 56, 8);
AT(InternalOps<Version::v1_22>, ep_get_device_ep, 64, 8);
AT(InternalOps<Version::v1_22>, ep_put_sgl_zcopy, 72, 8);
static_assert(sizeof(InternalOps<Version::v1_22>) == 80);

AT(InternalOps<Version::v1_23>, iface_query_v2, 0, 8);
AT(InternalOps<Version::v1_23>, iface_estimate_perf, 8, 8);
AT(InternalOps<Version::v1_23>, iface_vfs_refresh, 16, 8);
AT(InternalOps<Version::v1_23>, ep_query, 24, 8);
AT(InternalOps<Version::v1_23>, ep_invalidate, 32, 8);
AT(InternalOps<Version::v1_23>, ep_connect_to_ep_v2, 40, 8);
AT(InternalOps<Version::v1_23>, iface_is_reachable_v2, 48, 8);
AT(InternalOps<Version::v1_23>, ep_is_connected, 56, 8);
AT(InternalOps<Version::v1_23>, ep_get_device_ep, 64, 8);
AT(InternalOps<Version::v1_23>, ep_put_sgl_zcopy, 72, 8);
AT(InternalOps<Version::v1_23>, ep_get_sgl_zcopy, 80, 8);
AT(InternalOps<Version::v1_23>, ep_outstanding_purge, 88, 8);
static_assert(sizeof(InternalOps<Version::v1_23>) == 96);

AT(BaseEp, super, 0, 8);
static_assert(sizeof(BaseEp) == 8);

AT(PrivateWorker, super, 0, 136);
AT(PrivateWorker, async, 136, 8);
AT(PrivateWorker, thread_mode, 144, 4);
AT(PrivateWorker, tl_data, 152, 16);
static_assert(sizeof(PrivateWorker) == 168);

AT(WorkerProgress, id, 0, 4);
AT(WorkerProgress, refcount, 4, 4);
static_assert(sizeof(WorkerProgress) == 8);

// ---- Arguments of the callbacks

AT(PerfAttr118, head.field_mask, 0, 8);
AT(PerfAttr118, head.operation, 8, 4);
AT(PerfAttr118, head.local_memory_type, 12, 4);
AT(PerfAttr118, head.remote_memory_type, 16, 4);
AT(PerfAttr118, head.local_sys_device, 20, 1);
AT(PerfAttr118, head.remote_sys_device, 21, 1);
AT(PerfAttr118, head.send_pre_overhead, 24, 8);
AT(PerfAttr118, head.send_post_overhead, 32, 8);
AT(PerfAttr118, head.recv_overhead, 40, 8);
AT(PerfAttr118, head.bandwidth, 48, 16);
AT(PerfAttr118, latency, 64, 16);
AT(PerfAttr118, max_inflight_eps, 80, 8);
AT(PerfAttr118, flags, 88, 8);
static_assert(sizeof(PerfAttr118) == 96);

AT(PerfAttr119, head.field_mask, 0, 8);
AT(PerfAttr119, head.operation, 8, 4);
AT(PerfAttr119, head.local_memory_type, 12, 4);
AT(PerfAttr119, head.remote_memory_type, 16, 4);
AT(PerfAttr119, head.local_sys_device, 20, 1);
AT(PerfAttr119, head.remote_sys_device, 21, 1);
AT(PerfAttr119, head.send_pre_overhead, 24, 8);
AT(PerfAttr119, head.send_post_overhead, 32, 8);
AT(PerfAttr119, head.recv_overhead, 40, 8);
AT(PerfAttr119, head.bandwidth, 48, 16);
AT(PerfAttr119, path_bandwidth, 64, 16);
AT(PerfAttr119, latency, 80, 16);
AT(PerfAttr119, max_inflight_eps, 96, 8);
AT(PerfAttr119, flags, 104, 8);
static_assert(sizeof(PerfAttr119) == 112);

AT(MemRegParams, field_mask, 0, 8);
AT(MemRegParams, flags, 8, 8);
AT(MemRegParams, dmabuf_fd, 16, 4);
AT(MemRegParams, dmabuf_offset, 24, 8);
static_assert(sizeof(MemRegParams) == 32);

AT(MemRegParams122, mem_type, 32, 4);
static_assert(sizeof(MemRegParams122) == 40);

AT(MemDeregParams, field_mask, 0, 8);
AT(MemDeregParams, flags, 8, 4);
AT(MemDeregParams, memh, 16, 8);
AT(MemDeregParams, comp, 24, 8);
static_assert(sizeof(MemDeregParams) == 32);

AT(MkeyPackParams, field_mask, 0, 8);
AT(MkeyPackParams, flags, 8, 4);
static_assert(sizeof(MkeyPackParams) == 16);

AT(RkeyUnpackParams, field_mask, 0, 8);
AT(RkeyUnpackParams, sys_device, 8, 1);
static_assert(sizeof(RkeyUnpackParams) == 16);

AT(RkeyCompareParams, field_mask, 0, 8);
static_assert(sizeof(RkeyCompareParams) == 8);

AT(IsReachableParams, field_mask, 0, 8);
AT(IsReachableParams, device_addr, 8, 8);
AT(IsReachableParams, iface_addr, 16, 8);
AT(IsReachableParams, info_string, 24, 8);
AT(IsReachableParams, info_string_length, 32, 8);
AT(IsReachableParams, scope, 40, 4);
AT(IsReachableParams, device_addr_length, 48, 8);
AT(IsReachableParams, iface_addr_length, 56, 8);
static_assert(sizeof(IsReachableParams) == 64);

AT(ConnectToEpParams, field_mask, 0, 8);
AT(ConnectToEpParams, device_addr_length, 8, 8);
AT(ConnectToEpParams, ep_addr_length, 16, 8);
static_assert(sizeof(ConnectToEpParams) == 24);

AT(IsConnectedParams, field_mask, 0, 8);
AT(IsConnectedParams, device_addr, 8, 8);
AT(IsConnectedParams, iface_addr, 16, 8);
AT(IsConnectedParams, ep_addr, 24, 8);
static_assert(sizeof(IsConnectedParams) == 32);

AT(EpInvalidateParams, field_mask, 0, 8);
static_assert(sizeof(EpInvalidateParams) == 8);

AT(EpAttr, field_mask, 0, 8);
AT(EpAttr, local_address, 8, 128);
AT(EpAttr, remote_address, 136, 128);
static_assert(sizeof(EpAttr) == 264);

// ---- Public structures, as the installed headers give them

AT(uct_md_resource_desc_t, md_name, 0, 16);
static_assert(sizeof(uct_md_resource_desc_t) == 16);

AT(ucs_config_field_t, name, 0, 8);
AT(ucs_config_field_t, dfl_value, 8, 8);
AT(ucs_config_field_t, doc, 16, 8);
AT(ucs_config_field_t, offset, 24, 8);
AT(ucs_config_field_t, parser, 32, 56);
static_assert(sizeof(ucs_config_field_t) == 88);

AT(ucs_config_parser_t, read, 0, 8);
AT(ucs_config_parser_t, write, 8, 8);
AT(ucs_config_parser_t, clone, 16, 8);
AT(ucs_config_parser_t, release, 24, 8);
AT(ucs_config_parser_t, help, 32, 8);
AT(ucs_config_parser_t, doc, 40, 8);
AT(ucs_config_parser_t, arg, 48, 8);
static_assert(sizeof(ucs_config_parser_t) == 56);

AT(ucs_config_global_list_entry_t, name, 0, 8);
AT(ucs_config_global_list_entry_t, prefix, 8, 8);
AT(ucs_config_global_list_entry_t, table, 16, 8);
AT(ucs_config_global_list_entry_t, size, 24, 8);
AT(ucs_config_global_list_entry_t, list, 32, 16);
AT(ucs_config_global_list_entry_t, flags, 48, 1);
static_assert(sizeof(ucs_config_global_list_entry_t) == 56);

AT(ucs_class_t, name, 0, 8);
AT(ucs_class_t, size, 8, 8);
AT(ucs_class_t, superclass, 16, 8);
AT(ucs_class_t, init, 24, 8);
AT(ucs_class_t, cleanup, 32, 8);
static_assert(sizeof(ucs_class_t) == 40);

AT(uct_completion_t, func, 0, 8);
AT(uct_completion_t, count, 8, 4);
AT(uct_completion_t, status, 12, 1);
static_assert(sizeof(uct_completion_t) == 16);

AT(uct_pending_req_t, func, 0, 8);
AT(uct_pending_req_t, priv, 8, 40);
static_assert(sizeof(uct_pending_req_t) == 48);

AT(uct_iov_t, buffer, 0, 8);
AT(uct_iov_t, length, 8, 8);
AT(uct_iov_t, memh, 16, 8);
AT(uct_iov_t, stride, 24, 8);
AT(uct_iov_t, count, 32, 4);
static_assert(sizeof(uct_iov_t) == 40);

AT(ucs_log_component_config_t, log_level, 0, 4);
AT(ucs_log_component_config_t, name, 4, 16);
AT(ucs_log_component_config_t, file_filter, 24, 8);
static_assert(sizeof(ucs_log_component_config_t) == 32);

AT(uct_iface_ops_t, ep_put_short, 0, 8);
AT(uct_iface_ops_t, ep_put_bcopy, 8, 8);
AT(uct_iface_ops_t, ep_put_zcopy, 16, 8);
AT(uct_iface_ops_t, ep_get_short, 24, 8);
AT(uct_iface_ops_t, ep_get_bcopy, 32, 8);
AT(uct_iface_ops_t, ep_get_zcopy, 40, 8);
AT(uct_iface_ops_t, ep_am_short, 48, 8);
AT(uct_iface_ops_t, ep_am_short_iov, 56, 8);
AT(uct_iface_ops_t, ep_am_bcopy, 64, 8);
AT(uct_iface_ops_t, ep_am_zcopy, 72, 8);
AT(uct_iface_ops_t, ep_atomic_cswap64, 80, 8);
AT(uct_iface_ops_t, ep_atomic_cswap32, 88, 8);
AT(uct_iface_ops_t, ep_atomic32_post, 96, 8);
AT(uct_iface_ops_t, ep_atomic64_post, 104, 8);
AT(uct_iface_ops_t, ep_atomic32_fetch, 112, 8);
AT(uct_iface_ops_t, ep_atomic64_fetch, 120, 8);
AT(uct_iface_ops_t, ep_tag_eager_short, 128, 8);
AT(uct_iface_ops_t, ep_tag_eager_bcopy, 136, 8);
AT(uct_iface_ops_t, ep_tag_eager_zcopy, 144, 8);
AT(uct_iface_ops_t, ep_tag_rndv_zcopy, 152, 8);
AT(uct_iface_ops_t, ep_tag_rndv_cancel, 160, 8);
AT(uct_iface_ops_t, ep_tag_rndv_request, 168, 8);
AT(uct_iface_ops_t, iface_tag_recv_zcopy, 176, 8);
AT(uct_iface_ops_t, iface_tag_recv_cancel, 184, 8);
AT(uct_iface_ops_t, ep_pending_add, 192, 8);
AT(uct_iface_ops_t, ep_pending_purge, 200, 8);
AT(uct_iface_ops_t, ep_flush, 208, 8);
AT(uct_iface_ops_t, ep_fence, 216, 8);
AT(uct_iface_ops_t, ep_check, 224, 8);
AT(uct_iface_ops_t, ep_create, 232, 8);
AT(uct_iface_ops_t, ep_connect, 240, 8);
AT(uct_iface_ops_t, ep_disconnect, 248, 8);
AT(uct_iface_ops_t, cm_ep_conn_notify, 256, 8);
AT(uct_iface_ops_t, ep_destroy, 264, 8);
AT(uct_iface_ops_t, ep_get_address, 272, 8);
AT(uct_iface_ops_t, ep_connect_to_ep, 280, 8);
AT(uct_iface_ops_t, iface_accept, 288, 8);
AT(uct_iface_ops_t, iface_reject, 296, 8);
AT(uct_iface_ops_t, iface_flush, 304, 8);
AT(uct_iface_ops_t, iface_fence, 312, 8);
AT(uct_iface_ops_t, iface_progress_enable, 320, 8);
AT(uct_iface_ops_t, iface_progress_disable, 328, 8);
AT(uct_iface_ops_t, iface_progress, 336, 8);
AT(uct_iface_ops_t, iface_event_fd_get, 344, 8);
AT(uct_iface_ops_t, iface_event_arm, 352, 8);
AT(uct_iface_ops_t, iface_close, 360, 8);
AT(uct_iface_ops_t, iface_query, 368, 8);
AT(uct_iface_ops_t, iface_get_device_address, 376, 8);
AT(uct_iface_ops_t, iface_get_address, 384, 8);
AT(uct_iface_ops_t, iface_is_reachable, 392, 8);
static_assert(sizeof(uct_iface_ops_t) == 400);

AT(uct_iface_attr_t, cap.put.max_short, 0, 8);
AT(uct_iface_attr_t, cap.put.max_bcopy, 8, 8);
AT(uct_iface_attr_t, cap.put.min_zcopy, 16, 8);
AT(uct_iface_attr_t, cap.put.max_zcopy, 24, 8);
AT(uct_iface_attr_t, cap.put.opt_zcopy_align, 32, 8);
AT(uct_iface_attr_t, cap.put.align_mtu, 40, 8);
AT(uct_iface_attr_t, cap.put.max_iov, 48, 8);
AT(uct_iface_attr_t, cap.get.max_short, 56, 8);
AT(uct_iface_attr_t, cap.get.max_bcopy, 64, 8);
AT(uct_iface_attr_t, cap.get.min_zcopy, 72, 8);
AT(uct_iface_attr_t, cap.get.max_zcopy, 80, 8);
AT(uct_iface_attr_t, cap.get.opt_zcopy_align, 88, 8);
AT(uct_iface_attr_t, cap.get.align_mtu, 96, 8);
AT(uct_iface_attr_t, cap.get.max_iov, 104, 8);
AT(uct_iface_attr_t, cap.am.max_short, 112, 8);
AT(uct_iface_attr_t, cap.am.max_bcopy, 120, 8);
AT(uct_iface_attr_t, cap.am.min_zcopy, 128, 8);
AT(uct_iface_attr_t, cap.am.max_zcopy, 136, 8);
AT(uct_iface_attr_t, cap.am.opt_zcopy_align, 144, 8);
AT(uct_iface_attr_t, cap.am.align_mtu, 152, 8);
AT(uct_iface_attr_t, cap.am.max_hdr, 160, 8);
AT(uct_iface_attr_t, cap.am.max_iov, 168, 8);
AT(uct_iface_attr_t, cap.tag.recv.min_recv, 176, 8);
AT(uct_iface_attr_t, cap.tag.recv.max_zcopy, 184, 8);
AT(uct_iface_attr_t, cap.tag.recv.max_iov, 192, 8);
AT(uct_iface_attr_t, cap.tag.recv.max_outstanding, 200, 8);
AT(uct_iface_attr_t, cap.tag.eager.max_short, 208, 8);
AT(uct_iface_attr_t, cap.tag.eager.max_bcopy, 216, 8);
AT(uct_iface_attr_t, cap.tag.eager.max_zcopy, 224, 8);
AT(uct_iface_attr_t, cap.tag.eager.max_iov, 232, 8);
AT(uct_iface_attr_t, cap.tag.rndv.max_zcopy, 240, 8);
AT(uct_iface_attr_t, cap.tag.rndv.max_hdr, 248, 8);
AT(uct_iface_attr_t, cap.tag.rndv.max_iov, 256, 8);
AT(uct_iface_attr_t, cap.atomic32.op_flags, 264, 8);
AT(uct_iface_attr_t, cap.atomic32.fop_flags, 272, 8);
AT(uct_iface_attr_t, cap.atomic64.op_flags, 280, 8);
AT(uct_iface_attr_t, cap.atomic64.fop_flags, 288, 8);
AT(uct_iface_attr_t, cap.flags, 296, 8);
AT(uct_iface_attr_t, cap.event_flags, 304, 8);
AT(uct_iface_attr_t, device_addr_len, 312, 8);
AT(uct_iface_attr_t, iface_addr_len, 320, 8);
AT(uct_iface_attr_t, ep_addr_len, 328, 8);
AT(uct_iface_attr_t, max_conn_priv, 336, 8);
AT(uct_iface_attr_t, listen_sockaddr, 344, 128);
AT(uct_iface_attr_t, overhead, 472, 8);
AT(uct_iface_attr_t, bandwidth, 480, 16);
AT(uct_iface_attr_t, latency, 496, 16);
AT(uct_iface_attr_t, priority, 512, 1);
AT(uct_iface_attr_t, max_num_eps, 520, 8);
AT(uct_iface_attr_t, dev_num_paths, 528, 4);
static_assert(sizeof(uct_iface_attr_t) == 536);

AT(uct_iface_params_t, field_mask, 0, 8);
AT(uct_iface_params_t, cpu_mask, 8, 128);
AT(uct_iface_params_t, open_mode, 136, 8);
AT(uct_iface_params_t, mode.device.tl_name, 144, 8);
AT(uct_iface_params_t, mode.device.dev_name, 152, 8);
AT(uct_iface_params_t, mode.sockaddr.listen_sockaddr, 144, 16);
AT(uct_iface_params_t, mode.sockaddr.conn_request_arg, 160, 8);
AT(uct_iface_params_t, mode.sockaddr.conn_request_cb, 168, 8);
AT(uct_iface_params_t, mode.sockaddr.cb_flags, 176, 4);
AT(uct_iface_params_t, stats_root, 184, 8);
AT(uct_iface_params_t, rx_headroom, 192, 8);
AT(uct_iface_params_t, err_handler_arg, 200, 8);
AT(uct_iface_params_t, err_handler, 208, 8);
AT(uct_iface_params_t, err_handler_flags, 216, 4);
AT(uct_iface_params_t, eager_arg, 224, 8);
AT(uct_iface_params_t, eager_cb, 232, 8);
AT(uct_iface_params_t, rndv_arg, 240, 8);
AT(uct_iface_params_t, rndv_cb, 248, 8);
AT(uct_iface_params_t, async_event_arg, 256, 8);
AT(uct_iface_params_t, async_event_cb, 264, 8);
AT(uct_iface_params_t, keepalive_interval, 272, 8);
AT(uct_iface_params_t, am_alignment, 280, 8);
AT(uct_iface_params_t, am_align_offset, 288, 8);
AT(uct_iface_params_t, features, 296, 8);
static_assert(sizeof(uct_iface_params_t) == 304);

AT(uct_ep_params_t, field_mask, 0, 8);
AT(uct_ep_params_t, iface, 8, 8);
AT(uct_ep_params_t, user_data, 16, 8);
AT(uct_ep_params_t, dev_addr, 24, 8);
AT(uct_ep_params_t, iface_addr, 32, 8);
AT(uct_ep_params_t, sockaddr, 40, 8);
AT(uct_ep_params_t, sockaddr_cb_flags, 48, 4);
AT(uct_ep_params_t, sockaddr_pack_cb, 56, 8);
AT(uct_ep_params_t, cm, 64, 8);
AT(uct_ep_params_t, conn_request, 72, 8);
AT(uct_ep_params_t, sockaddr_cb_client, 80, 8);
AT(uct_ep_params_t, sockaddr_cb_server, 88, 8);
AT(uct_ep_params_t, disconnect_cb, 96, 8);
AT(uct_ep_params_t, path_index, 104, 4);
AT(uct_ep_params_t, cm_resolve_cb, 112, 8);
AT(uct_ep_params_t, private_data, 120, 8);
AT(uct_ep_params_t, private_data_length, 128, 8);
AT(uct_ep_params_t, local_sockaddr, 136, 8);
AT(uct_ep_params_t, dev_addr_length, 144, 8);
AT(uct_ep_params_t, iface_addr_length, 152, 8);
static_assert(sizeof(uct_ep_params_t) == 160);

// NOLINTEND(bugprone-macro-parentheses,bugprone-sizeof-expression)

static_assert(std::is_standard_layout_v<Component> && std::is_standard_layout_v<Transport>);
static_assert(std::is_standard_layout_v<BaseIface> && std::is_standard_layout_v<BaseEp>);
static_assert(std::is_standard_layout_v<MdAttr> && std::is_standard_layout_v<Md>);

}  // namespace
}  // namespace bulk::abi
