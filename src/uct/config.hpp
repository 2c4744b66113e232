// SPDX-License-Identifier: BSD-3-Clause
//
// What a user can set: UCX_BULK_... variables, shown by `ucx_info -c -f`. UCX parses them and hands a filled
// MdConfig or IfaceConfig to whoever opens one.

#pragma once

#include <cstddef>

#include "channel/submit.hpp"
#include "uct/abi/component.hpp"

namespace bulk::uct {

struct MdConfig {
  abi::MdConfigBase super;
};

struct IfaceConfig {
  abi::IfaceConfigBase super;
  unsigned submission;    // Submission
  unsigned slots;         // of each kind, from the first endpoint on
  unsigned max_rx_slots;  // 0: as many as the kernel gives
  unsigned max_events;    // in one call of progress
  unsigned yield_after;   // calls of progress in a row that found nothing
  int idle_sleep;         // ucs_on_off_auto_value_t
  double bandwidth;       // bytes a second, or automatic
  double latency;         // seconds, or automatic
};

extern ucs_config_field_t md_config_table[];
extern ucs_config_field_t iface_config_table[];

// Whether the user left a number to us; UCX marks that with a negative one.
constexpr bool is_auto(double value) {
  return value < 0;
}

}  // namespace bulk::uct
