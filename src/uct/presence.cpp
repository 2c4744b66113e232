// SPDX-License-Identifier: BSD-3-Clause

#include "uct/presence.hpp"

#include <unistd.h>

#include <atomic>
#include <climits>
#include <cstdio>
#include <cstring>
#include <string>

#include "channel/domain.hpp"
#include "uct/abi/imports.hpp"
#include "uct/identity.hpp"
#include "uct/log.hpp"
#include "uct/status.hpp"
#include "uct/transport_list.hpp"

namespace bulk::uct {
namespace {

void say_why_there_is_nothing(const Error& error) {
  static std::atomic_flag said = ATOMIC_FLAG_INIT;

  if (user_names_transport(transport_name) && !said.test_and_set())
    ucs_warn("transport %s is not available: %s", transport_name, error.text().c_str());
  else
    ucs_debug("transport %s is not available: %s", transport_name, error.text().c_str());
}

// UCX's number for the PCI device behind an RDMA device; unknown for software devices.
ucs_sys_device_t sys_device_of(const std::string& device) {
  const std::string link = "/sys/class/infiniband/" + device.substr(0, device.find(':')) + "/device";
  char target[PATH_MAX];
  const ssize_t length = readlink(link.c_str(), target, sizeof(target) - 1);
  if (length <= 0) return UCS_SYS_DEVICE_ID_UNKNOWN;
  target[length] = '\0';

  const char* slash = std::strrchr(target, '/');
  const char* name = slash == nullptr ? target : slash + 1;
  unsigned domain = 0;
  unsigned bus = 0;
  unsigned slot = 0;
  unsigned function = 0;
  if (std::sscanf(name, "%x:%x:%x.%x", &domain, &bus, &slot, &function) != 4)
    return UCS_SYS_DEVICE_ID_UNKNOWN;

  ucs_sys_device_t number = UCS_SYS_DEVICE_ID_UNKNOWN;
  return ucs_topo_find_device_by_bdf_name(name, &number) == UCS_OK ? number : UCS_SYS_DEVICE_ID_UNKNOWN;
}

}  // namespace

ucs_status_t query_md_resources(abi::Component* self, uct_md_resource_desc_t** resources, unsigned* count) {
  const Result<HostInfo> host = query();
  if (host) return uct_md_query_single_md_resource(self, resources, count);

  say_why_there_is_nothing(host.error());
  *resources = nullptr;
  *count = 0;
  return UCS_OK;
}

ucs_status_t query_devices(uct_md_h, abi::DeviceResource** devices, unsigned* count) {
  const Result<HostInfo> host = query();
  if (!host) return ucs_status_of(host.error().code);

  const std::size_t there = host->devices.size();
  auto* array =
      static_cast<abi::DeviceResource*>(ucs_calloc(there, sizeof(abi::DeviceResource), "bulk devices"));
  if (array == nullptr) return UCS_ERR_NO_MEMORY;
  for (std::size_t i = 0; i < there; ++i) {
    std::snprintf(array[i].name, sizeof(array[i].name), "%s", host->devices[i].name.c_str());
    array[i].type = UCT_DEVICE_TYPE_NET;
    array[i].sys_device = sys_device_of(host->devices[i].name);
  }
  *devices = array;
  *count = static_cast<unsigned>(there);
  return UCS_OK;
}

}  // namespace bulk::uct
