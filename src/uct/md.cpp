// SPDX-License-Identifier: BSD-3-Clause

#include "uct/md.hpp"

#include <climits>
#include <cstring>
#include <new>

#include "uct/abi/imports.hpp"
#include "uct/abi/unsupported.hpp"
#include "uct/identity.hpp"
#include "uct/log.hpp"
#include "uct/operation.hpp"
#include "uct/rkey.hpp"
#include "uct/status.hpp"

namespace bulk::uct {
namespace {

constinit thread_local KeyWatch* innermost_watch = nullptr;

// Pinning and mapping a page of 4 KiB, and the system call with the fast registration around it.
constexpr double reg_cost_seconds = 16e-6;
constexpr double reg_cost_seconds_per_byte = 0.06e-9;

void close_md(uct_md_h handle) {
  delete &MemoryDomain::of(handle);
}

ucs_status_t query_md(uct_md_h, abi::MdAttr* attr) {
  uct_md_base_md_query(attr);
  attr->flags = UCT_MD_FLAG_REG | UCT_MD_FLAG_NEED_MEMH | UCT_MD_FLAG_NEED_RKEY | UCT_MD_FLAG_INVALIDATE |
                abi::md_flag_invalidate_rma | abi::md_flag_invalidate_amo;
  attr->reg_mem_types = UCS_BIT(UCS_MEMORY_TYPE_HOST);
  attr->cache_mem_types = UCS_BIT(UCS_MEMORY_TYPE_HOST);
  attr->access_mem_types = UCS_BIT(UCS_MEMORY_TYPE_HOST);
  attr->max_reg = ULONG_MAX;
  attr->rkey_packed_size = packed_key_bytes;
  attr->reg_cost = ucs_linear_func_make(reg_cost_seconds, reg_cost_seconds_per_byte);
  return UCS_OK;
}

Access access_of(std::uint64_t flags) {
  const bool read = (flags & (UCT_MD_MEM_ACCESS_REMOTE_GET | UCT_MD_MEM_ACCESS_REMOTE_ATOMIC)) != 0;
  const bool write = (flags & (UCT_MD_MEM_ACCESS_REMOTE_PUT | UCT_MD_MEM_ACCESS_REMOTE_ATOMIC)) != 0;
  if (read && write) return Access::remote_read_write;
  if (write) return Access::remote_write;
  return read ? Access::remote_read : Access::local;
}

// UCP asks for every right there is, also for a buffer it only sends from, which may be constant. Memory that
// cannot be written gets a key that can only be read with.
Result<Region> register_with_what_is_possible(const Domain& domain, const void* first, std::size_t length,
                                              Access access) {
  Result<Region> region = domain.register_memory(first, length, access);
  if (!region && region.error().code == EFAULT && access == Access::remote_read_write)
    return domain.register_memory(first, length, Access::remote_read);
  return region;
}

ucs_status_t register_memory(uct_md_h handle, void* address, std::size_t length,
                             const abi::MemRegParams* params, uct_mem_h* memory) {
  const std::uint64_t mask = params->field_mask;
  const std::uint64_t flags = (mask & abi::MemRegParams::field_flags) != 0 ? params->flags : 0;
  if ((mask & abi::MemRegParams::field_dmabuf_fd) != 0 && params->dmabuf_fd >= 0) return UCS_ERR_UNSUPPORTED;

  Result<Region> region =
      register_with_what_is_possible(MemoryDomain::of(handle).domain(), address, length, access_of(flags));
  if (!region) {
    const auto level = (flags & UCT_MD_MEM_FLAG_HIDE_ERRORS) != 0 ? UCS_LOG_LEVEL_DEBUG : UCS_LOG_LEVEL_ERROR;
    ucs_log(level, "bulk: cannot register %zu bytes at %p: %s%s", length, address,
            region.error().text().c_str(),
            region.error().code == ENOMEM ? " (see ulimit -l, the limit of locked memory)" : "");
    return ucs_status_of(region.error().code);
  }

  auto* object = new (std::nothrow) Memory{*std::move(region)};
  if (object == nullptr) return UCS_ERR_NO_MEMORY;
  *memory = object;
  return UCS_OK;
}

ucs_status_t deregister_memory(uct_md_h handle, const abi::MemDeregParams* params) {
  using Params = abi::MemDeregParams;
  if ((params->field_mask & Params::field_memh) == 0) return UCS_ERR_INVALID_PARAM;
  const unsigned flags = (params->field_mask & Params::field_flags) != 0 ? params->flags : 0;
  const bool invalidate = (flags & Params::flag_invalidate) != 0;
  if (invalidate && (params->field_mask & Params::field_completion) == 0) return UCS_ERR_INVALID_PARAM;

  auto* memory = static_cast<Memory*>(params->memh);
  const Status status = MemoryDomain::of(handle).domain().deregister(
      std::move(memory->region), invalidate ? Deregister::invalidate : Deregister::lazily);
  if (!status.ok()) ucs_debug("bulk: deregistration: %s", status.text().c_str());
  delete memory;
  // The call returned when no host could reach the memory any more, so the invalidation is over.
  if (invalidate) complete(*params->comp, UCS_OK);
  return UCS_OK;
}

ucs_status_t pack_key(uct_md_h, uct_mem_h memory, void*, std::size_t, const abi::MkeyPackParams* params,
                      void* buffer) {
  const unsigned flags = (params->field_mask & abi::MkeyPackParams::field_flags) != 0 ? params->flags : 0;
  if ((flags & abi::MkeyPackParams::flag_export) != 0) return UCS_ERR_UNSUPPORTED;

  const Region& region = memory_of(memory).region;
  std::memcpy(buffer, region.key().data(), packed_key_bytes);
  if (region.key() != Key{}) KeyWatch::note(region.handle());  // local memory has no key
  return UCS_OK;
}

template <abi::Version V>
constexpr abi::MdOps<V> make_ops() {
  abi::MdOps<V> ops{};
  abi::MdOpsCommon& common = ops.common;
  common.close = close_md;
  common.query = query_md;
  common.mem_alloc = abi::unsupported<decltype(common.mem_alloc)>;
  common.mem_free = abi::unsupported<decltype(common.mem_free)>;
  common.mem_advise = abi::unsupported<decltype(common.mem_advise)>;
  common.mem_reg = register_memory;
  common.mem_dereg = deregister_memory;
  common.mem_query = abi::unsupported<decltype(common.mem_query)>;
  common.mkey_pack = pack_key;
  common.mem_attach = abi::unsupported<decltype(common.mem_attach)>;
  common.detect_memory_type = abi::unsupported<decltype(common.detect_memory_type)>;
  if constexpr (V >= abi::Version::v1_22) ops.mem_elem_pack = abi::unsupported<decltype(ops.mem_elem_pack)>;
  if constexpr (V >= abi::Version::v1_23)
    ops.mem_elem_release = abi::unsupported<decltype(ops.mem_elem_release)>;
  return ops;
}

template <abi::Version V>
constinit const abi::MdOps<V> md_ops = make_ops<V>();

const void* md_ops_for(abi::Version version) {
  switch (version) {
    case abi::Version::v1_22:
      return &md_ops<abi::Version::v1_22>;
    case abi::Version::v1_23:
      return &md_ops<abi::Version::v1_23>;
    default:
      return &md_ops<abi::Version::v1_18>;
  }
}

}  // namespace

ucs_status_t MemoryDomain::open(abi::Component* component, const char*, const abi::MdConfigBase*,
                                uct_md_h* md) {
  Result<Domain> domain = Domain::open();
  if (!domain) {
    ucs_diag("bulk: no memory domain: %s", domain.error().text().c_str());
    return ucs_status_of(domain.error().code);
  }

  auto* self = new (std::nothrow) MemoryDomain(*std::move(domain));
  if (self == nullptr) return UCS_ERR_NO_MEMORY;
  self->ops = md_ops_for(version_in_use);
  self->component = component;
  *md = reinterpret_cast<uct_md_h>(static_cast<abi::Md*>(self));
  return UCS_OK;
}

KeyWatch::KeyWatch() : outer_(innermost_watch) {
  innermost_watch = this;
}

KeyWatch::~KeyWatch() {
  innermost_watch = outer_;
}

void KeyWatch::note(RegionHandle region) {
  if (innermost_watch != nullptr) innermost_watch->seen_ = region;
}

}  // namespace bulk::uct
