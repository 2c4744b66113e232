// SPDX-License-Identifier: BSD-3-Clause
#include "fake_kernel.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "channel/fd.hpp"

namespace bulk::test {
namespace {

FakeKernel* current = nullptr;

constexpr std::uint64_t page = 4096;
constexpr std::uint64_t ctrl_offset = 0;
constexpr std::uint64_t ring_offset = page;
constexpr std::uint32_t events = 16;
constexpr std::uint64_t ring_bytes = page;
constexpr std::uint64_t slots_offset = 16 * page;
constexpr std::uint64_t memory_bytes = 4096 * page;
constexpr std::uint32_t stride = 3 * page;

}  // namespace

FakeKernel* fake_kernel() {
  return current;
}

FakeKernel::FakeKernel() : memory_(::memfd_create("fake kernel", MFD_CLOEXEC)), next_offset_(slots_offset) {
  if (::ftruncate(memory_, memory_bytes) != 0) std::abort();
  void* base = ::mmap(nullptr, memory_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, memory_, 0);
  if (base == MAP_FAILED) std::abort();
  base_ = static_cast<std::byte*>(base);
  current = this;
}

FakeKernel::~FakeKernel() {
  current = nullptr;
  ::munmap(base_, memory_bytes);
  ::close(memory_);
}

rdma_bulk_ctrl& FakeKernel::ctrl() {
  return *reinterpret_cast<rdma_bulk_ctrl*>(base_ + ctrl_offset);
}

void FakeKernel::event(const rdma_bulk_event& event) {
  auto* ring = reinterpret_cast<rdma_bulk_ring*>(base_ + ring_offset);
  std::memcpy(&ring->entry[ring->producer % events], &event, sizeof(event));
  __atomic_store_n(&ring->producer, ring->producer + 1, __ATOMIC_RELEASE);
}

int FakeKernel::open() {
  if (open_errno != 0) {
    errno = open_errno;
    return -1;
  }
  return ::dup(memory_);
}

int FakeKernel::submit(const rdma_bulk_cmd& cmd) {
  const int result = on_command ? on_command(cmd) : 0;
  if (result < 0) return result;
  if (cmd.op == RDMA_BULK_OP_RETURN) {
    returns.emplace_back(cmd.slots, cmd.slots + cmd.length);
  } else {
    commands.push_back(cmd);
  }
  return 0;
}

long FakeKernel::control(unsigned long request, void* argument) {
  ioctls.push_back(request);
  switch (request) {
    case RDMA_BULK_IOC_QUERY: {
      auto& query = *static_cast<rdma_bulk_query*>(argument);
      auto* places = reinterpret_cast<rdma_bulk_device*>(query.devices);
      for (std::uint32_t i = 0; i < std::min(ndevices, query.ndevices); ++i) {
        rdma_bulk_device device{};
        std::snprintf(device.name, sizeof(device.name), "rxe%u:1", i);
        std::strcpy(device.netdev, "eth0");
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = htonl(0xc0000201U + i);
        std::memcpy(device.addr, &address, sizeof(address));
        device.link_layer = RDMA_BULK_LINK_ROCE;
        device.port_num = 1;
        device.mtu = 4096;
        device.speed = 10000;
        places[i] = device;
      }
      query.abi_version = abi_version;
      query.ndevices = ndevices;
      query.max_rx_slots = max_rx_slots;
      query.max_tx_slots = 128;
      query.max_commands = 512;
      query.service_port = 4242;
      query.max_op_bytes = RDMA_BULK_MAX_OP;
      query.instance = 7;
      return 0;
    }
    case RDMA_BULK_IOC_DOMAIN:
      return abi_version == RDMA_BULK_ABI_VERSION ? 0 : -EPROTONOSUPPORT;
    case RDMA_BULK_IOC_BIND: {
      auto& bind = *static_cast<rdma_bulk_bind*>(argument);
      if (std::strcmp(bind.device, "rxe0:1") != 0) return -ENODEV;
      rx_slots = bind.rx_slots = bind.rx_slots == 0 ? 4 : bind.rx_slots;
      tx_slots = bind.tx_slots = bind.tx_slots == 0 ? 4 : bind.tx_slots;
      bind.events = events;
      bind.token = 0x1122334455667788;
      sockaddr_in address{};
      address.sin_family = AF_INET;
      address.sin_addr.s_addr = htonl(0xc0000201U);
      std::memcpy(bind.addr, &address, sizeof(address));
      bind.rx_stride = stride;
      bind.tx_stride = stride;
      bind.ctrl_offset = ctrl_offset;
      bind.ring_offset = ring_offset;
      bind.ring_bytes = ring_bytes;
      bind.rx_offset = next_offset_;
      bind.rx_bytes = std::uint64_t{rx_slots} * stride;
      bind.tx_offset = bind.rx_offset + bind.rx_bytes;
      bind.tx_bytes = std::uint64_t{tx_slots} * stride;
      next_offset_ = bind.tx_offset + bind.tx_bytes;
      auto* ring = reinterpret_cast<rdma_bulk_ring*>(base_ + ring_offset);
      ring->events = events;
      ring->producer = first_index;
      ctrl().consumer = first_index;
      return 0;
    }
    case RDMA_BULK_IOC_GROW: {
      auto& grow = *static_cast<rdma_bulk_grow*>(argument);
      grow.rx_add = std::min(grow.rx_add, max_rx_slots - rx_slots);
      grow.rx_first = grow.rx_add == 0 ? 0 : rx_slots;
      grow.rx_bytes = std::uint64_t{grow.rx_add} * stride;
      grow.rx_offset = grow.rx_add == 0 ? 0 : next_offset_;
      next_offset_ += grow.rx_bytes;
      grow.tx_first = grow.tx_add == 0 ? 0 : tx_slots;
      grow.tx_bytes = std::uint64_t{grow.tx_add} * stride;
      grow.tx_offset = grow.tx_add == 0 ? 0 : next_offset_;
      next_offset_ += grow.tx_bytes;
      rx_slots += grow.rx_add;
      tx_slots += grow.tx_add;
      return 0;
    }
    case RDMA_BULK_IOC_REG: {
      auto& reg = *static_cast<rdma_bulk_reg*>(argument);
      reg.handle = 9;
      if (reg.access != 0) std::memset(reg.key, 0x5a, sizeof(reg.key));
      return 0;
    }
    case RDMA_BULK_IOC_DEREG:
      return static_cast<rdma_bulk_dereg*>(argument)->handle == 9 ? 0 : -ENOENT;
    case RDMA_BULK_IOC_EP_OPEN:
      static_cast<rdma_bulk_ep_open*>(argument)->ep = 3;
      return 0;
    case RDMA_BULK_IOC_SUBMIT: {
      const auto& list = *static_cast<rdma_bulk_submit*>(argument);
      const auto* cmds = reinterpret_cast<const rdma_bulk_cmd*>(list.cmds);
      for (std::uint32_t i = 0; i < list.count; ++i) {
        const int result = submit(cmds[i]);
        if (result < 0) return i == 0 ? result : static_cast<long>(i);
      }
      return list.count;
    }
    default:
      return -ENOTTY;
  }
}

}  // namespace bulk::test

// The functions of src/channel/fd.cpp.
namespace bulk {

void Fd::reset(int fd) {
  if (fd_ >= 0) ::close(fd_);
  fd_ = fd;
}

Result<Fd> open_device_node() {
  const int fd = test::fake_kernel()->open();
  if (fd < 0) return Error{errno, "cannot open"};
  return Fd(fd);
}

long call(int, unsigned long request, void* argument) {
  return test::fake_kernel()->control(request, argument);
}

Result<Mapping> Mapping::map(int fd, std::uint64_t offset, std::uint64_t bytes, bool writable,
                             const char* what) {
  if (test::fake_kernel()->mmap_fails) return Error{ENOMEM, what};
  void* base = ::mmap(nullptr, bytes, PROT_READ | (writable ? PROT_WRITE : 0), MAP_SHARED, fd,
                      static_cast<off_t>(offset));
  if (base == MAP_FAILED) return Error{errno, what};
  Mapping result;
  result.base_ = static_cast<std::byte*>(base);
  result.bytes_ = bytes;
  return result;
}

Mapping& Mapping::operator=(Mapping&& other) noexcept {
  reset();
  base_ = std::exchange(other.base_, nullptr);
  bytes_ = std::exchange(other.bytes_, 0);
  return *this;
}

void Mapping::reset() {
  if (base_ != nullptr) ::munmap(base_, bytes_);
  base_ = nullptr;
  bytes_ = 0;
}

}  // namespace bulk
