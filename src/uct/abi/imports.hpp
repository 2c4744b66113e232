// SPDX-License-Identifier: BSD-3-Clause
//
// Functions and objects that libuct and libucs export and no installed header
// declares. Only those that exist with the same meaning in every supported
// release stand here: a reference to one that is missing would keep the module
// from loading, or kill a program that has it preloaded. The others are looked
// up with dlsym (runtime.hpp).

#pragma once

#include "uct/abi/component.hpp"
#include "uct/abi/iface.hpp"

#include <ucs/type/class.h>

extern "C" {

// Lists and registration. uct_component_unregister leaves the component in
// uct_components_list: whoever may be unloaded unlinks it as well.
extern ucs_list_link_t uct_components_list;
void uct_component_register(bulk::abi::Component* component);
void uct_component_unregister(bulk::abi::Component* component);
void uct_tl_register(bulk::abi::Component* component, bulk::abi::Transport* tl);
void uct_tl_unregister(bulk::abi::Transport* tl);

extern ucs_config_field_t uct_md_config_table[];
extern ucs_config_field_t uct_iface_config_table[];

ucs_status_t uct_md_query_single_md_resource(bulk::abi::Component* component,
                                             uct_md_resource_desc_t** resources, unsigned* count);
void uct_md_base_md_query(bulk::abi::MdAttr* attr);
ucs_status_t uct_base_rkey_compare(bulk::abi::Component* component, uct_rkey_t first, uct_rkey_t second,
                                   const bulk::abi::RkeyCompareParams* params, int* result);

// Base classes. The counter starts at 1; on failure and at the end of life
// ucs_class_call_cleanup_chain undoes what was done.
extern ucs_class_t uct_iface_t_class;
extern ucs_class_t uct_base_iface_t_class;
extern ucs_class_t uct_base_ep_t_class;
extern ucs_class_t uct_cm_t_class;

ucs_status_t uct_base_iface_t_init(bulk::abi::BaseIface* self, ucs_class_t* own_class, int* init_count,
                                   const uct_iface_ops_t* ops, const void* internal_ops, uct_md_h md,
                                   uct_worker_h worker, const uct_iface_params_t* params,
                                   const bulk::abi::IfaceConfigBase* config);
ucs_status_t uct_base_ep_t_init(bulk::abi::BaseEp* self, ucs_class_t* own_class, int* init_count,
                                bulk::abi::BaseIface* iface);

// Ready-made operations.
void uct_base_iface_query(bulk::abi::BaseIface* iface, uct_iface_attr_t* attr);
int uct_base_iface_is_reachable(uct_iface_h iface, const uct_device_addr_t* device_addr,
                                const uct_iface_addr_t* iface_addr);
void uct_base_iface_progress_enable(uct_iface_h iface, unsigned flags);
void uct_base_iface_progress_disable(uct_iface_h iface, unsigned flags);
ucs_status_t uct_base_ep_am_short_iov(uct_ep_h ep, std::uint8_t id, const uct_iov_t* iov, std::size_t count);
int uct_base_ep_is_connected(uct_ep_h ep, const bulk::abi::IsConnectedParams* params);
ucs_status_t uct_base_ep_connect_to_ep(uct_ep_h ep, const uct_device_addr_t* device_addr,
                                       const uct_ep_addr_t* ep_addr);

// Tells the user that an endpoint failed: calls the error handler, or logs and
// returns the status where there is none.
ucs_status_t uct_iface_handle_ep_err(uct_iface_h iface, uct_ep_h ep, ucs_status_t status);

// Traces one message at level trace_data.
void uct_iface_dump_am(bulk::abi::BaseIface* iface, uct_am_trace_type_t type, std::uint8_t id,
                       const void* data, std::size_t length, char* buffer, std::size_t max);

// Memory that libuct frees has to come from here.
void* ucs_calloc(std::size_t count, std::size_t size, const char* name);
void ucs_free(void* ptr);
}
