// SPDX-License-Identifier: BSD-3-Clause
//
// Arguments that libuct hands to a plug-in's callbacks. Each starts with a mask
// of the fields its caller filled; a field whose bit is clear is garbage.
//
// Where a release only added fields at the end, one description of the common
// part serves all.

#pragma once

#include "uct/abi/version.hpp"

#include <uct/api/uct.h>

#include <ucs/datastruct/linear_func.h>
#include <ucs/memory/memory_type.h>
#include <ucs/sys/topo/base/topo.h>

#include <cstddef>
#include <cstdint>

namespace bulk::abi {

constexpr std::uint64_t bit(unsigned number) {
  return std::uint64_t{1} << number;
}

// ---- performance estimates ------------------------------------------------

enum class Operation : std::uint32_t {
  am_short,
  am_bcopy,
  am_zcopy,
  put_short,
  put_bcopy,
  put_zcopy,
  get_short,
  get_bcopy,
  get_zcopy,
  eager_short,
  eager_bcopy,
  eager_zcopy,
  rndv_zcopy,
  atomic_post,
  atomic_fetch,
};

// Both layouts start with the question and the overheads. 1.19 put one more
// bandwidth in the middle and shifted the mask bits behind it.
struct PerfAttrHead {
  std::uint64_t field_mask;
  Operation operation;
  ucs_memory_type_t local_memory_type;
  ucs_memory_type_t remote_memory_type;
  ucs_sys_device_t local_sys_device;
  ucs_sys_device_t remote_sys_device;
  double send_pre_overhead;
  double send_post_overhead;
  double recv_overhead;
  uct_ppn_bandwidth_t bandwidth;
};

struct PerfAttr118 {
  PerfAttrHead head;
  ucs_linear_func_t latency;
  std::size_t max_inflight_eps;
  std::uint64_t flags;

  static constexpr bool has_path_bandwidth = false;
  static constexpr unsigned latency_bit = 9;
};

struct PerfAttr119 {
  PerfAttrHead head;
  uct_ppn_bandwidth_t path_bandwidth;
  ucs_linear_func_t latency;
  std::size_t max_inflight_eps;
  std::uint64_t flags;

  static constexpr bool has_path_bandwidth = true;
  static constexpr unsigned path_bandwidth_bit = 9;
  static constexpr unsigned latency_bit = 10;
};

namespace perf_field {
inline constexpr std::uint64_t operation = bit(0);
inline constexpr std::uint64_t local_memory_type = bit(1);
inline constexpr std::uint64_t remote_memory_type = bit(2);
inline constexpr std::uint64_t local_sys_device = bit(3);
inline constexpr std::uint64_t remote_sys_device = bit(4);
inline constexpr std::uint64_t send_pre_overhead = bit(5);
inline constexpr std::uint64_t send_post_overhead = bit(6);
inline constexpr std::uint64_t recv_overhead = bit(7);
inline constexpr std::uint64_t bandwidth = bit(8);
template <typename Attr>
inline constexpr std::uint64_t latency = bit(Attr::latency_bit);
template <typename Attr>
inline constexpr std::uint64_t max_inflight_eps = bit(Attr::latency_bit + 1);
template <typename Attr>
inline constexpr std::uint64_t flags = bit(Attr::latency_bit + 2);
}  // namespace perf_field

template <Version V>
struct PerfAttrOf {
  using Type = PerfAttr119;
};
template <>
struct PerfAttrOf<Version::v1_18> {
  using Type = PerfAttr118;
};
template <Version V>
using PerfAttr = typename PerfAttrOf<V>::Type;

// ---- memory ---------------------------------------------------------------

struct MemRegParams {
  std::uint64_t field_mask;
  std::uint64_t flags;  // UCT_MD_MEM_*
  int dmabuf_fd;
  std::size_t dmabuf_offset;

  static constexpr std::uint64_t field_flags = bit(0);
  static constexpr std::uint64_t field_dmabuf_fd = bit(1);
};

struct MemRegParams122 {
  MemRegParams common;
  ucs_memory_type_t mem_type;
};

struct MemDeregParams {
  std::uint64_t field_mask;
  unsigned flags;
  uct_mem_h memh;
  uct_completion_t* comp;

  static constexpr std::uint64_t field_memh = bit(0);
  static constexpr std::uint64_t field_flags = bit(1);
  static constexpr std::uint64_t field_completion = bit(2);
  static constexpr unsigned flag_invalidate = 1u << 0;
};

struct MkeyPackParams {
  std::uint64_t field_mask;
  unsigned flags;

  static constexpr std::uint64_t field_flags = bit(0);
  static constexpr unsigned flag_invalidate_rma = 1u << 0;
  static constexpr unsigned flag_invalidate_amo = 1u << 1;
  static constexpr unsigned flag_export = 1u << 2;
};

struct RkeyUnpackParams {  // from 1.19
  std::uint64_t field_mask;
  ucs_sys_device_t sys_device;
};

struct RkeyCompareParams {
  std::uint64_t field_mask;
};

// ---- interface and endpoint -----------------------------------------------

enum class ReachabilityScope : std::uint32_t { device, network };

struct IsReachableParams {
  std::uint64_t field_mask;
  const uct_device_addr_t* device_addr;
  const uct_iface_addr_t* iface_addr;
  char* info_string;
  std::size_t info_string_length;
  ReachabilityScope scope;
  std::size_t device_addr_length;
  std::size_t iface_addr_length;

  static constexpr std::uint64_t field_device_addr = bit(0);
  static constexpr std::uint64_t field_iface_addr = bit(1);
  static constexpr std::uint64_t field_info_string = bit(2);
  static constexpr std::uint64_t field_info_string_length = bit(3);
  static constexpr std::uint64_t field_scope = bit(4);
  static constexpr std::uint64_t field_device_addr_length = bit(5);
  static constexpr std::uint64_t field_iface_addr_length = bit(6);
};

struct ConnectToEpParams {
  std::uint64_t field_mask;
  std::size_t device_addr_length;
  std::size_t ep_addr_length;

  static constexpr std::uint64_t field_device_addr_length = bit(0);
  static constexpr std::uint64_t field_ep_addr_length = bit(1);
};

struct IsConnectedParams {
  std::uint64_t field_mask;
  const uct_device_addr_t* device_addr;
  const uct_iface_addr_t* iface_addr;
  const uct_ep_addr_t* ep_addr;

  static constexpr std::uint64_t field_device_addr = bit(0);
  static constexpr std::uint64_t field_iface_addr = bit(1);
  static constexpr std::uint64_t field_ep_addr = bit(2);
};

struct EpInvalidateParams {  // from 1.21; before, a word of flags
  std::uint64_t field_mask;
};

struct EpAttr {  // the common part
  std::uint64_t field_mask;
  sockaddr_storage local_address;
  sockaddr_storage remote_address;

  static constexpr std::uint64_t field_local_address = bit(0);
  static constexpr std::uint64_t field_remote_address = bit(1);
};

}  // namespace bulk::abi
