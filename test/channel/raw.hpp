// SPDX-License-Identifier: BSD-3-Clause
//
// The ABI without the channel library, for tests that do what the library never would.
#pragma once

#include <sys/mman.h>

#include <cstring>

#include "channel/abi.hpp"
#include "channel/fd.hpp"
#include "lab.hpp"

namespace bulk::lab {

// 0 or more, or a negative errno.
inline Status raw(int fd, unsigned long request, void* argument) {
  return Status::from_kernel(call(fd, request, argument));
}

inline Fd raw_open() {
  auto fd = open_device_node();
  EXPECT_TRUE(fd.ok()) << (fd.ok() ? "" : fd.error().text());
  return fd.ok() ? std::move(*fd) : Fd();
}

// A struct of the ABI, zero but for its size.
template <class T>
T sized() {
  T s;
  std::memset(&s, 0, sizeof(s));
  s.size = sizeof(s);
  return s;
}

inline rdma_bulk_domain good_domain() {
  auto s = sized<rdma_bulk_domain>();
  s.abi_version = RDMA_BULK_ABI_VERSION;
  return s;
}

inline rdma_bulk_query good_query() {
  auto s = sized<rdma_bulk_query>();
  s.device_size = sizeof(rdma_bulk_device);
  return s;
}

inline rdma_bulk_bind good_bind(int domain_fd) {
  auto s = sized<rdma_bulk_bind>();
  s.abi_version = RDMA_BULK_ABI_VERSION;
  s.domain_fd = domain_fd;
  std::memcpy(s.device, device().data(), device().size());
  return s;
}

inline rdma_bulk_reg good_reg(const void* first, std::size_t length, std::uint32_t access) {
  auto s = sized<rdma_bulk_reg>();
  s.access = access;
  s.addr = reinterpret_cast<std::uintptr_t>(first);
  s.length = length;
  return s;
}

inline rdma_bulk_ep_open good_ep_open(const Address& address) {
  auto s = sized<rdma_bulk_ep_open>();
  std::memcpy(s.addr, address.abi().data(), sizeof(s.addr));
  s.token = address.token();
  return s;
}

// A channel whose every word of shared memory is the test's to write.
struct RawChannel {
  Fd domain = raw_open();
  Fd fd = raw_open();
  rdma_bulk_bind bind;
  rdma_bulk_ctrl* ctrl = nullptr;
  const rdma_bulk_ring* ring = nullptr;
  std::byte* rx = nullptr;
  std::byte* tx = nullptr;

  RawChannel() {
    auto d = good_domain();
    EXPECT_TRUE(is(raw(domain.get(), RDMA_BULK_IOC_DOMAIN, &d), 0));
    bind = good_bind(domain.get());
    EXPECT_TRUE(is(raw(fd.get(), RDMA_BULK_IOC_BIND, &bind), 0));
    ctrl = static_cast<rdma_bulk_ctrl*>(map(bind.ctrl_offset, 4096, PROT_READ | PROT_WRITE));
    ring = static_cast<const rdma_bulk_ring*>(map(bind.ring_offset, bind.ring_bytes, PROT_READ));
    rx = static_cast<std::byte*>(map(bind.rx_offset, bind.rx_bytes, PROT_READ | PROT_WRITE));
    tx = static_cast<std::byte*>(map(bind.tx_offset, bind.tx_bytes, PROT_READ | PROT_WRITE));
  }
  RawChannel(const RawChannel&) = delete;
  RawChannel& operator=(const RawChannel&) = delete;
  ~RawChannel() {
    ::munmap(ctrl, 4096);
    ::munmap(const_cast<rdma_bulk_ring*>(ring), bind.ring_bytes);
    ::munmap(rx, bind.rx_bytes);
    ::munmap(tx, bind.tx_bytes);
  }

  Address address() const { return Address::from_abi(bind.addr, bind.token); }
  Status submit(const Command& command) const {
    auto s = sized<rdma_bulk_submit>();
    s.count = 1;
    s.cmds = reinterpret_cast<std::uintptr_t>(&command);
    return raw(fd.get(), RDMA_BULK_IOC_SUBMIT, &s);
  }
  std::uint32_t producer() const { return __atomic_load_n(&ring->producer, __ATOMIC_ACQUIRE); }
  const rdma_bulk_event& event(std::uint32_t index) const { return ring->entry[index % bind.events]; }

 private:
  void* map(std::uint64_t offset, std::uint64_t bytes, int protection) const {
    void* base = ::mmap(nullptr, bytes, protection, MAP_SHARED, fd.get(), static_cast<off_t>(offset));
    EXPECT_NE(base, MAP_FAILED) << errno_text(errno);
    return base;
  }
};

}  // namespace bulk::lab
