// SPDX-License-Identifier: BSD-3-Clause
//
// What there is (query), and the domain: the owner of registered memory and of the keys to it.
//
// A Domain may be used by any number of threads at once. It belongs to the process that opened it: in a
// forked child every function fails with EPERM, and the parent's memory stays registered.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "channel/error.hpp"
#include "channel/fd.hpp"
#include "channel/types.hpp"

namespace bulk {

// What the kernel module and the host offer to this process.
struct HostInfo {
  std::uint32_t abi_version = 0;
  std::uint16_t service_port = 0;  // RDMA CM port on which this host listens
  std::uint64_t instance = 0;      // random number of this load of the module
  Limits limits;
  std::vector<Device> devices;  // at least one; those of the caller's network namespace
};

// Asks the kernel module. Errors tell why bulk is not to be had here:
//   ENOENT           no device node: the kernel module is not loaded
//   EACCES           the device node is not for this process
//   EPROTONOSUPPORT  the module's ABI version is another one
//   ENODEV           all is well, but there is no RDMA device with an IP address in this network namespace
Result<HostInfo> query();

// The same on an open file of the device node, which may already be a domain or channel. No devices are no
// error.
Result<HostInfo> query_file(int fd);

class Domain;

// A registered range of memory; deregisters itself at the end (errors are ignored there; use
// Domain::deregister to see them). Must not outlive its Domain, nor be used by several threads at once.
class Region {
 public:
  Region() = default;
  Region(Region&& other) noexcept
      : domain_fd_(std::exchange(other.domain_fd_, -1)),
        handle_(std::exchange(other.handle_, RegionHandle{})),
        key_(other.key_) {}
  Region& operator=(Region&& other) noexcept;
  ~Region() { reset(); }

  RegionHandle handle() const { return handle_; }  // for own commands; not valid(): nothing is registered
  const Key& key() const { return key_; }          // for peers; all zero with Access::local

  // Gives up ownership: the caller is to hand the handle to Domain::deregister.
  RegionHandle release() {
    domain_fd_ = -1;
    return std::exchange(handle_, RegionHandle{});
  }

 private:
  friend class Domain;
  Region(int domain_fd, RegionHandle handle, const Key& key)
      : domain_fd_(domain_fd), handle_(handle), key_(key) {}
  void reset();

  int domain_fd_ = -1;  // the Domain's; not owned
  RegionHandle handle_;
  Key key_{};
};

// What deregistration waits for.
enum class Deregister : std::uint32_t {
  // Returns at once. The key is dead, but operations that a peer has started may still arrive for a moment.
  lazily = 0,
  // Returns when no host can reach the memory any more: at most about 100 ms, waits killably.
  invalidate = RDMA_BULK_DEREG_INVALIDATE,
};

class Domain {
 public:
  // Errors: those of open_device_node(), EPROTONOSUPPORT (ABI version), ENOMEM.
  static Result<Domain> open();

  // Registers `length` bytes (not 0) from `first` on, any alignment. With remote access their pages are
  // pinned and count against RLIMIT_MEMLOCK. Memory for Access::remote_write must be writable.
  // Errors: EINVAL, EFAULT (unmapped or read-only), ENOMEM (memory or RLIMIT_MEMLOCK), EOVERFLOW (the range
  // wraps), ENOSPC (too many regions), EPERM (another process's domain).
  Result<Region> register_memory(const void* first, std::size_t length, Access access) const;

  // Ends a region; its key is dead when this returns. Errors: ENOENT (no such region), EPERM, and EINTR (a
  // fatal signal while waiting with Deregister::invalidate).
  Status deregister(RegionHandle region, Deregister how) const;
  // The same for a Region, which is empty afterwards.
  Status deregister(Region&& region, Deregister how) const;

  int fd() const { return fd_.get(); }

 private:
  explicit Domain(Fd fd) : fd_(std::move(fd)) {}

  Fd fd_;
};

}  // namespace bulk
