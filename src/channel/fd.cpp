// SPDX-License-Identifier: BSD-3-Clause
//
// File descriptors and mappings.
#include "channel/fd.hpp"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <string>

#include "channel/abi.hpp"

namespace bulk {

void Fd::reset(int fd) {
  if (fd_ >= 0) ::close(fd_);
  fd_ = fd;
}

Result<Fd> open_device_node() {
  const int fd = ::open(RDMA_BULK_PATH, O_RDWR | O_CLOEXEC);
  if (fd >= 0) return Fd(fd);
  const std::string node = RDMA_BULK_PATH;
  switch (errno) {
    case ENOENT:
      return Error{ENOENT, node + " is not there: the kernel module rdma_bulk is not loaded"};
    case ENXIO:
    case ENODEV:
      return Error{ENOENT, node + " has no driver: the kernel module rdma_bulk is not loaded"};
    case EACCES:
    case EPERM:
      return Error{EACCES,
                   node + " may not be opened by this process: its mode or a container's device rules"};
    default:
      return Error{errno, "cannot open " + node};
  }
}

long call(int fd, unsigned long request, void* argument) {
  for (;;) {
    const int result = ::ioctl(fd, request, argument);
    if (result >= 0) return result;
    if (errno != EINTR) return -errno;
  }
}

Result<Mapping> Mapping::map(int fd, std::uint64_t offset, std::uint64_t bytes, bool writable,
                             const char* what) {
  const int protection = PROT_READ | (writable ? PROT_WRITE : 0);
  void* base = ::mmap(nullptr, bytes, protection, MAP_SHARED, fd, static_cast<off_t>(offset));
  if (base == MAP_FAILED) {
    return Error{errno,
                 std::string("cannot map the channel's ") + what + " (" + std::to_string(bytes) + " bytes)"};
  }
  Mapping result;
  result.base_ = static_cast<std::byte*>(base);
  result.bytes_ = bytes;
  result.owner_ = ::getpid();
  return result;
}

Mapping& Mapping::operator=(Mapping&& other) noexcept {
  if (this != &other) {
    reset();
    base_ = std::exchange(other.base_, nullptr);
    bytes_ = std::exchange(other.bytes_, 0);
    owner_ = other.owner_;
  }
  return *this;
}

void Mapping::reset() {
  // A forked child has not inherited the mapping, and may have something else at that address by now.
  if (base_ != nullptr && ::getpid() == owner_) ::munmap(base_, bytes_);
  base_ = nullptr;
  bytes_ = 0;
}

}  // namespace bulk
