// SPDX-License-Identifier: BSD-3-Clause
//
// The tables of functions through which UCX calls an interface and its endpoints.

#pragma once

#include <uct/api/uct.h>

namespace bulk::uct {

extern const uct_iface_ops_t iface_ops;

// abi::InternalOps of the release that this process runs.
const void* internal_ops_for_running_ucx();

}  // namespace bulk::uct
