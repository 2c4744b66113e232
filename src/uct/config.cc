// SPDX-License-Identifier: BSD-3-Clause

#include "uct/config.hpp"

#include "uct/abi/imports.hpp"

namespace bulk::uct {

constinit ucs_config_field_t md_config_table[] = {
    {"", "", nullptr, offsetof(MdConfig, super), UCS_CONFIG_TYPE_TABLE(uct_md_config_table)},
    {},
};

constinit ucs_config_field_t iface_config_table[] = {
    {"", "", nullptr, offsetof(IfaceConfig, super), UCS_CONFIG_TYPE_TABLE(uct_iface_config_table)},
    {},
};

}  // namespace bulk::uct
