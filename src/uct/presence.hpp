// SPDX-License-Identifier: BSD-3-Clause
//
// Is there anything for the transport to run on, and if not, why? And what is there: the devices.

#pragma once

#include "uct/abi/component.hpp"

namespace bulk::uct {

// Component operation: the one memory domain, or none where there is no kernel module or no device. Silent
// but for one warning a process to a user who named the transport in UCX_TLS.
ucs_status_t query_md_resources(abi::Component* component, uct_md_resource_desc_t** resources,
                                unsigned* count);

// Transport operation: one device per port and address of RDMA devices.
ucs_status_t query_devices(uct_md_h md, abi::DeviceResource** devices, unsigned* count);

}  // namespace bulk::uct
