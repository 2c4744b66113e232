// SPDX-License-Identifier: BSD-3-Clause
//
// Component, transport and memory domain: what a plug-in hands to libuct when
// it registers, and the objects libuct hands back to its callbacks.
//
// All of these live in the plug-in's memory. libuct links component and
// transport into its own lists, so both need static storage.

#pragma once

#include "uct/abi/params.hpp"
#include "uct/abi/version.hpp"

#include <uct/api/uct.h>

#include <ucs/config/parser.h>
#include <ucs/datastruct/linear_func.h>
#include <ucs/datastruct/list.h>
#include <ucs/sys/topo/base/topo.h>
#include <ucs/type/cpu_set.h>

#include <cstddef>
#include <cstdint>

namespace bulk::abi {

struct Component;
struct Md;

inline constexpr std::size_t device_name_max = 32;
inline constexpr std::size_t global_id_size = 256;

// One device a transport can open an interface on. An array of these goes back
// from Transport::query_devices in memory of ucs_malloc or ucs_calloc, which
// libuct frees (also when the count is zero).
struct DeviceResource {
  char name[device_name_max];
  uct_device_type_t type;
  ucs_sys_device_t sys_device;
};

// What a memory domain can do. libuct asks with every bit of the mask set, then
// copies what its own caller asked for.
struct MdAttr {
  std::uint64_t field_mask;
  std::uint64_t max_alloc;
  std::size_t max_reg;
  std::uint64_t flags;
  std::uint64_t reg_mem_types;
  std::uint64_t reg_nonblock_mem_types;
  std::uint64_t cache_mem_types;
  std::uint64_t gva_mem_types;
  std::uint64_t detect_mem_types;
  std::uint64_t alloc_mem_types;
  std::uint64_t access_mem_types;
  std::uint64_t dmabuf_mem_types;
  ucs_linear_func_t reg_cost;  // seconds, plus seconds per byte
  char component_name[UCT_COMPONENT_NAME_MAX];
  std::size_t rkey_packed_size;
  ucs_cpu_set_t local_cpus;
  std::size_t exported_mkey_packed_size;
  char global_id[global_id_size];
  std::size_t reg_alignment;
};

// From 1.22 on one field follows; the library's own base query clears it.
struct MdAttr122 {
  MdAttr common;
  std::uint8_t required_mem_flags;
};

// Bits of MdAttr::flags that the public header of 1.18 does not name.
inline constexpr std::uint64_t md_flag_invalidate_rma = std::uint64_t{1} << 11;
inline constexpr std::uint64_t md_flag_invalidate_amo = std::uint64_t{1} << 12;

// Slots that exist in every release. A slot whose flag is absent from
// MdAttr::flags is never called; unsupported.hpp has functions to fill them.
struct MdOpsCommon {
  void (*close)(uct_md_h md);
  ucs_status_t (*query)(uct_md_h md, MdAttr* attr);
  ucs_status_t (*mem_alloc)();  // takes a system device as well from 1.19 on
  ucs_status_t (*mem_free)(uct_md_h md, uct_mem_h memh);
  ucs_status_t (*mem_advise)(uct_md_h md, uct_mem_h memh, void* address, std::size_t length, unsigned advice);
  ucs_status_t (*mem_reg)(uct_md_h md, void* address, std::size_t length, const MemRegParams* params,
                          uct_mem_h* memh);
  ucs_status_t (*mem_dereg)(uct_md_h md, const MemDeregParams* params);
  ucs_status_t (*mem_query)(uct_md_h md, const void* address, std::size_t length, void* attr);
  ucs_status_t (*mkey_pack)(uct_md_h md, uct_mem_h memh, void* address, std::size_t length,
                            const MkeyPackParams* params, void* buffer);
  ucs_status_t (*mem_attach)(uct_md_h md, const void* buffer, void* params, uct_mem_h* memh);
  ucs_status_t (*detect_memory_type)(uct_md_h md, const void* address, std::size_t length,
                                     ucs_memory_type_t* mem_type);
};

template <Version V>
struct MdOps;

template <>
struct MdOps<Version::v1_18> {
  MdOpsCommon common;
};

template <>
struct MdOps<Version::v1_22> {
  MdOpsCommon common;
  ucs_status_t (*mem_elem_pack)();
};

template <>
struct MdOps<Version::v1_23> {
  MdOpsCommon common;
  ucs_status_t (*mem_elem_pack)();
  void (*mem_elem_release)();
};

struct Md {
  const void* ops;  // MdOps of the running release
  Component* component;
};

// The option table of a memory domain starts with this, and that of an
// interface with the next one: their fields come from the library's own tables
// uct_md_config_table and uct_iface_config_table, embedded at offset 0.
struct MdConfigBase {
  char unused;
};

inline constexpr unsigned alloc_method_last = 5;

struct IfaceConfigBase {
  struct {
    uct_alloc_method_t* methods;
    unsigned count;
    unsigned pad;
  } alloc_methods;
  int failure;
  std::size_t max_num_eps;
};

struct Component {
  using RkeyUnpack118 = ucs_status_t (*)(Component* component, const void* buffer, uct_rkey_t* rkey,
                                         void** handle);
  using RkeyUnpack119 = ucs_status_t (*)(Component* component, const void* buffer,
                                         const RkeyUnpackParams* params, uct_rkey_t* rkey, void** handle);

  char name[UCT_COMPONENT_NAME_MAX];
  ucs_status_t (*query_md_resources)(Component* component, uct_md_resource_desc_t** resources,
                                     unsigned* count);
  ucs_status_t (*md_open)(Component* component, const char* md_name, const MdConfigBase* config,
                          uct_md_h* md);
  ucs_status_t (*cm_open)(Component* component, uct_worker_h worker, const void* config, uct_cm_h* cm);
  union {
    RkeyUnpack118 v1_18;
    RkeyUnpack119 v1_19;
  } rkey_unpack;
  ucs_status_t (*rkey_ptr)(Component* component, uct_rkey_t rkey, void* handle, std::uint64_t remote_address,
                           void** local_address);
  ucs_status_t (*rkey_release)(Component* component, uct_rkey_t rkey, void* handle);
  ucs_status_t (*rkey_compare)(Component* component, uct_rkey_t first, uct_rkey_t second,
                               const RkeyCompareParams* params, int* result);
  ucs_config_global_list_entry_t md_config;
  ucs_config_global_list_entry_t cm_config;
  ucs_list_link_t tl_list;
  ucs_list_link_t list;
  std::uint64_t flags;
  void (*md_vfs_init)(uct_md_h md);
};

struct Transport {
  char name[UCT_TL_NAME_MAX];
  ucs_status_t (*query_devices)(uct_md_h md, DeviceResource** devices, unsigned* count);
  ucs_status_t (*iface_open)(uct_md_h md, uct_worker_h worker, const uct_iface_params_t* params,
                             const IfaceConfigBase* config, uct_iface_h* iface);
  ucs_config_global_list_entry_t config;
  ucs_list_link_t list;
};

}  // namespace bulk::abi
