// SPDX-License-Identifier: BSD-3-Clause
//
// Is there anything for the transport to run on, and if not, why?

#pragma once

namespace bulk::uct {

struct Presence {
  bool usable = false;
  char why_not[160] = "";  // one sentence without a full stop, for the user; empty if usable
};

// Asks the kernel anew with every call: modules come and go.
Presence look_for_devices();

}  // namespace bulk::uct
