// SPDX-License-Identifier: BSD-3-Clause

#include "uct/component.hpp"

#include <atomic>

#include "uct/abi/imports.hpp"
#include "uct/abi/unsupported.hpp"
#include "uct/config.hpp"
#include "uct/log.hpp"
#include "uct/presence.hpp"
#include "uct/transport_list.hpp"

namespace bulk::uct {
namespace {

constinit abi::Version version_in_use = abi::Version::v1_18;

// One warning a process, and only to a user who asked for the transport by name.
void say_why_there_is_nothing(const Presence& presence) {
  static std::atomic_flag said = ATOMIC_FLAG_INIT;

  if (user_names_transport(transport_name) && !said.test_and_set())
    ucs_warn("transport %s is not available: %s", transport_name, presence.why_not);
  else
    ucs_debug("transport %s is not available: %s", transport_name, presence.why_not);
}

ucs_status_t query_md_resources(abi::Component* self, uct_md_resource_desc_t** resources, unsigned* count) {
  const Presence presence = look_for_devices();
  if (presence.usable) return uct_md_query_single_md_resource(self, resources, count);

  say_why_there_is_nothing(presence);
  *resources = nullptr;
  *count = 0;
  return UCS_OK;
}

ucs_status_t open_md(abi::Component*, const char*, const abi::MdConfigBase*, uct_md_h*) {
  return UCS_ERR_NO_DEVICE;
}

ucs_status_t query_devices(uct_md_h, abi::DeviceResource**, unsigned*) {
  return UCS_ERR_NO_DEVICE;
}

ucs_status_t open_iface(uct_md_h, uct_worker_h, const uct_iface_params_t*, const abi::IfaceConfigBase*,
                        uct_iface_h*) {
  return UCS_ERR_NO_DEVICE;
}

void no_md_files(uct_md_h) {}

template <std::size_t N, std::size_t M>
constexpr void copy_name(char (&to)[N], const char (&from)[M]) {
  static_assert(M <= N);
  for (std::size_t i = 0; i < M; ++i)
    to[i] = from[i];
}

}  // namespace

constinit abi::Component component{};
constinit abi::Transport transport{};

abi::Version version() {
  return version_in_use;
}

void prepare_component(abi::Version version) {
  version_in_use = version;

  copy_name(component.name, transport_name);
  component.query_md_resources = query_md_resources;
  component.md_open = open_md;
  component.cm_open = abi::unsupported<decltype(component.cm_open)>;
  component.rkey_ptr = abi::unsupported<decltype(component.rkey_ptr)>;
  component.rkey_release = abi::unsupported<decltype(component.rkey_release)>;
  component.rkey_compare = uct_base_rkey_compare;
  component.rkey_unpack.v1_18 = abi::unsupported<abi::Component::RkeyUnpack118>;
  component.md_config.name = "Bulk memory domain";
  component.md_config.prefix = "BULK_";
  component.md_config.table = md_config_table;
  component.md_config.size = sizeof(MdConfig);
  component.cm_config.name = "";
  component.cm_config.prefix = "";
  component.tl_list.prev = &component.tl_list;
  component.tl_list.next = &component.tl_list;
  component.md_vfs_init = no_md_files;

  copy_name(transport.name, transport_name);
  transport.query_devices = query_devices;
  transport.iface_open = open_iface;
  transport.config.name = "Bulk transport";
  transport.config.prefix = "BULK_";
  transport.config.table = iface_config_table;
  transport.config.size = sizeof(IfaceConfig);
}

}  // namespace bulk::uct
