// SPDX-License-Identifier: BSD-3-Clause
//
// Life of the module file: an ELF constructor registers the transport with the
// UCX of this process, the destructor takes it out again.
//
// The constructor runs inside dlopen, called by UCX (1.22 and later) or by the
// shim (shim.c), before the application asked for the list of components. It may
// run before other files' dynamic initialisers, so nothing it touches has one.
// The module may be loaded twice, from two paths: the second copy stays out.
//
// A program that exits may leak interfaces, and UCX's own destructors run after
// ours; so the destructor unlinks static objects and touches nothing else.

#include <cstring>

#include "uct/abi/imports.hpp"
#include "uct/abi/runtime.hpp"
#include "uct/component.hpp"
#include "uct/identity.hpp"
#include "uct/log.hpp"
#include "uct/transport_list.hpp"

namespace bulk::uct {
namespace {

bool registered = false;

bool another_copy_is_registered() {
  for (const ucs_list_link_t* link = uct_components_list.next; link != &uct_components_list;
       link = link->next) {
    const auto* base = reinterpret_cast<const char*>(link) - offsetof(abi::Component, list);
    if (std::strcmp(reinterpret_cast<const abi::Component*>(base)->name, transport_name) == 0) return true;
  }
  return false;
}

void stay_out(const abi::Evidence& evidence, const char* why_not) {
  const auto level = user_names_transport(transport_name) ? UCS_LOG_LEVEL_WARN : UCS_LOG_LEVEL_DIAG;
  const abi::Release release = evidence.release.value_or(abi::Release{});

  ucs_log(level, "transport %s is not used with %s (UCX %u.%u.%u): %s", transport_name, abi::library_path(),
          release.major, release.minor, release.patch, why_not);
}

[[gnu::constructor]] void load() {
  const abi::Evidence evidence = abi::inspect();
  const abi::Choice choice = abi::choose(evidence);
  if (!choice.version) {
    stay_out(evidence, choice.why_not);
    return;
  }
  if (another_copy_is_registered()) {
    ucs_debug("another copy of transport %s is loaded already, this one stays out", transport_name);
    return;
  }

  prepare_component(*choice.version);
  uct_component_register(&bulk_component);
  uct_tl_register(&bulk_component, &bulk_transport);
  registered = true;
  ucs_debug("registered transport %s for UCX %s (%s)", transport_name, abi::to_string(*choice.version),
            abi::library_path());
}

[[gnu::destructor]] void unload() {
  if (!registered) return;
  uct_tl_unregister(&bulk_transport);
  uct_component_unregister(&bulk_component);
  ucs_list_del(&bulk_component.list);  // the call above leaves it in the list
  registered = false;
}

}  // namespace
}  // namespace bulk::uct
