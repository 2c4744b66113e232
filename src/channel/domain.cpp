// SPDX-License-Identifier: BSD-3-Clause
//
// The query, domains and regions.
#include "channel/domain.hpp"

#include <cerrno>
#include <cstring>
#include <string>

namespace bulk {
namespace {

Device from_abi(const rdma_bulk_device& device) {
  return Device{
      .name = std::string(device.name, strnlen(device.name, sizeof(device.name))),
      .netdev = std::string(device.netdev, strnlen(device.netdev, sizeof(device.netdev))),
      .address = Address::from_abi(device.addr, 0),
      .link_layer = static_cast<LinkLayer>(device.link_layer),
      .port_num = device.port_num,
      .mtu = device.mtu,
      .speed_mbps = device.speed,
  };
}

Error version_error(std::uint32_t kernel) {
  return Error{EPROTONOSUPPORT, "the kernel module rdma_bulk speaks ABI version " + std::to_string(kernel) +
                                    ", this program version " + std::to_string(RDMA_BULK_ABI_VERSION)};
}

}  // namespace

Result<HostInfo> query_file(int fd) {
  std::vector<rdma_bulk_device> places(16);
  rdma_bulk_query query{};
  for (;;) {
    query = {};
    query.size = sizeof(query);
    query.device_size = sizeof(rdma_bulk_device);
    query.devices = reinterpret_cast<std::uintptr_t>(places.data());
    query.ndevices = static_cast<std::uint32_t>(places.size());
    const long result = call(fd, RDMA_BULK_IOC_QUERY, &query);
    if (result < 0) return Error{static_cast<int>(-result), "the kernel module rdma_bulk refuses the query"};
    if (query.abi_version != RDMA_BULK_ABI_VERSION) return version_error(query.abi_version);
    if (query.ndevices <= places.size()) break;
    places.resize(query.ndevices);
  }
  HostInfo info{
      .abi_version = query.abi_version,
      .service_port = query.service_port,
      .instance = query.instance,
      .limits = {.rx_slots = query.max_rx_slots,
                 .tx_slots = query.max_tx_slots,
                 .commands = query.max_commands,
                 .op_bytes = query.max_op_bytes},
      .devices = {},
  };
  for (std::uint32_t i = 0; i < query.ndevices; ++i)
    info.devices.push_back(from_abi(places[i]));
  return info;
}

Result<HostInfo> query() {
  auto fd = open_device_node();
  if (!fd) return fd.error();
  auto info = query_file(fd->get());
  if (info && info->devices.empty()) {
    return Error{ENODEV, "no RDMA device with an IP address in this network namespace"};
  }
  return info;
}

Region& Region::operator=(Region&& other) noexcept {
  if (this != &other) {
    reset();
    domain_fd_ = std::exchange(other.domain_fd_, -1);
    handle_ = std::exchange(other.handle_, RegionHandle{});
    key_ = other.key_;
  }
  return *this;
}

static Status deregister_handle(int domain_fd, RegionHandle region, Deregister how) {
  rdma_bulk_dereg dereg{};
  dereg.size = sizeof(dereg);
  dereg.handle = region.value;
  dereg.flags = static_cast<std::uint32_t>(how);
  return Status::from_kernel(call(domain_fd, RDMA_BULK_IOC_DEREG, &dereg));
}

void Region::reset() {
  if (handle_.valid()) static_cast<void>(deregister_handle(domain_fd_, handle_, Deregister::lazily));
  handle_ = {};
}

Result<Domain> Domain::open() {
  auto fd = open_device_node();
  if (!fd) return fd.error();
  rdma_bulk_domain domain{};
  domain.size = sizeof(domain);
  domain.abi_version = RDMA_BULK_ABI_VERSION;
  const long result = call(fd->get(), RDMA_BULK_IOC_DOMAIN, &domain);
  if (result == -EPROTONOSUPPORT) {
    auto info = query_file(fd->get());  // it says which version it is
    return info ? Error{EPROTONOSUPPORT, "the kernel module rdma_bulk refuses this ABI version"}
                : info.error();
  }
  if (result < 0) return Error{static_cast<int>(-result), "cannot make a domain"};
  return Domain(std::move(*fd));
}

Result<Region> Domain::register_memory(const void* first, std::size_t length, Access access) const {
  rdma_bulk_reg reg{};
  reg.size = sizeof(reg);
  reg.access = static_cast<std::uint32_t>(access);
  reg.addr = reinterpret_cast<std::uintptr_t>(first);
  reg.length = length;
  const long result = call(fd_.get(), RDMA_BULK_IOC_REG, &reg);
  if (result < 0) {
    return Error{static_cast<int>(-result), "cannot register " + std::to_string(length) + " bytes"};
  }
  Key key;
  std::memcpy(key.data(), reg.key, key.size());
  return Region(fd_.get(), RegionHandle{reg.handle}, key);
}

Status Domain::deregister(RegionHandle region, Deregister how) const {
  return deregister_handle(fd_.get(), region, how);
}

Status Domain::deregister(Region&& region, Deregister how) const {
  return deregister_handle(fd_.get(), region.release(), how);
}

}  // namespace bulk
