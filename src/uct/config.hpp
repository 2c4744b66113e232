// SPDX-License-Identifier: BSD-3-Clause
//
// What a user can set: UCX_BULK_... variables, shown by `ucx_info -c -f`. UCX
// parses them and hands a filled MdConfig or IfaceConfig to whoever opens one.

#pragma once

#include <cstddef>

#include "uct/abi/component.hpp"

namespace bulk::uct {

struct MdConfig {
  abi::MdConfigBase super;
};

struct IfaceConfig {
  abi::IfaceConfigBase super;
};

extern ucs_config_field_t md_config_table[];
extern ucs_config_field_t iface_config_table[];

}  // namespace bulk::uct
