// SPDX-License-Identifier: BSD-3-Clause

#include "uct/component.hpp"

#include "uct/abi/imports.hpp"
#include "uct/abi/unsupported.hpp"
#include "uct/config.hpp"
#include "uct/identity.hpp"
#include "uct/iface.hpp"
#include "uct/md.hpp"
#include "uct/presence.hpp"
#include "uct/rkey.hpp"

namespace bulk::uct {
namespace {

void no_md_files(uct_md_h) {}

template <std::size_t N, std::size_t M>
constexpr void copy_name(char (&to)[N], const char (&from)[M]) {
  static_assert(M <= N);
  for (std::size_t i = 0; i < M; ++i)
    to[i] = from[i];
}

}  // namespace

constinit abi::Component bulk_component{};
constinit abi::Transport bulk_transport{};

void prepare_component(abi::Version version) {
  version_in_use = version;

  abi::Component& component = bulk_component;
  copy_name(component.name, transport_name);
  component.query_md_resources = query_md_resources;
  component.md_open = MemoryDomain::open;
  component.cm_open = abi::unsupported<decltype(component.cm_open)>;
  if (version == abi::Version::v1_18)
    component.rkey_unpack.v1_18 = unpack_rkey;
  else
    component.rkey_unpack.v1_19 = unpack_rkey_119;
  component.rkey_ptr = abi::unsupported<decltype(component.rkey_ptr)>;
  component.rkey_release = release_rkey;
  component.rkey_compare = compare_rkeys;
  component.md_config.name = "Bulk memory domain";
  component.md_config.prefix = "BULK_";
  component.md_config.table = md_config_table;
  component.md_config.size = sizeof(MdConfig);
  component.cm_config.name = "";
  component.cm_config.prefix = "";
  component.tl_list.prev = &component.tl_list;
  component.tl_list.next = &component.tl_list;
  component.md_vfs_init = no_md_files;

  abi::Transport& transport = bulk_transport;
  copy_name(transport.name, transport_name);
  transport.query_devices = query_devices;
  transport.iface_open = Iface::open;
  transport.config.name = "Bulk transport";
  transport.config.prefix = "BULK_";
  transport.config.table = iface_config_table;
  transport.config.size = sizeof(IfaceConfig);
}

}  // namespace bulk::uct
