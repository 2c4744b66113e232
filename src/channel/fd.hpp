// SPDX-License-Identifier: BSD-3-Clause
//
// Owners of the two things a process gets from the kernel: a file descriptor and a mapping.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include "channel/error.hpp"

namespace bulk {

// Owns a file descriptor; closes it at the end.
class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    if (this != &other) reset(std::exchange(other.fd_, -1));
    return *this;
  }
  ~Fd() { reset(); }

  int get() const { return fd_; }
  bool valid() const { return fd_ >= 0; }
  int release() { return std::exchange(fd_, -1); }
  void reset(int fd = -1);

 private:
  int fd_ = -1;
};

// Opens the device node, O_RDWR and O_CLOEXEC. Errors, with a sentence that says why:
//   ENOENT  the node is not there, or nothing answers behind it: the kernel module is not loaded
//   EACCES  this process may not open it (also for EPERM: a container's device rules)
//   others  as open(2)
Result<Fd> open_device_node();

// ioctl(2) that goes on after a signal. Returns what the kernel said: 0 or more, or a negative errno.
long call(int fd, unsigned long request, void* argument);

// Owns a MAP_SHARED mapping of a channel's file.
class Mapping {
 public:
  Mapping() = default;
  Mapping(Mapping&& other) noexcept
      : base_(std::exchange(other.base_, nullptr)),
        bytes_(std::exchange(other.bytes_, 0)),
        owner_(other.owner_) {}
  Mapping& operator=(Mapping&& other) noexcept;
  ~Mapping() { reset(); }

  static Result<Mapping> map(int fd, std::uint64_t offset, std::uint64_t bytes, bool writable,
                             const char* what);

  std::byte* data() const { return base_; }
  std::size_t size() const { return bytes_; }
  bool valid() const { return base_ != nullptr; }

 private:
  void reset();

  std::byte* base_ = nullptr;  // owned: munmap
  std::size_t bytes_ = 0;
  pid_t owner_ = 0;  // process that has the mapping
};

}  // namespace bulk
