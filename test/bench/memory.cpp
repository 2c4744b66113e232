// SPDX-License-Identifier: BSD-3-Clause
#include "memory.hpp"

#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <limits>
#include <string>

#include "../system/verify_oob.h"

namespace bench {
namespace {

std::size_t whole_pages(std::size_t bytes) {
  const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  return (bytes + page - 1) / page * page;
}

}  // namespace

std::size_t available_memory() {
  std::ifstream file("/proc/meminfo");
  std::string name;
  std::size_t kib = 0;
  while (file >> name >> kib) {
    if (name == "MemAvailable:") return kib * 1024;
    file.ignore(std::numeric_limits<std::streamsize>::max(), '\n');
  }
  return std::numeric_limits<std::size_t>::max();
}

Memory::Memory(std::size_t size, std::uint64_t buffers, bool small_pages)
    : stride_(whole_pages(size)), buffers_(buffers) {
  const std::size_t limit = available_memory() / 4 * 3;
  if (stride_ > limit / buffers) {
    throw verify::Fatal(fmt::format(
        "{} buffers of {} bytes are more than three quarters of the available memory", buffers, stride_));
  }
  bytes_ = stride_ * buffers;
  void* base = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (base == MAP_FAILED)
    throw verify::Fatal(fmt::format("cannot map {} bytes of memory: {}", bytes_, std::strerror(errno)));
  if (small_pages) madvise(base, bytes_, MADV_NOHUGEPAGE);
  std::memset(base, 0x5a, bytes_);
  data_ = static_cast<std::byte*>(base);
}

Memory::~Memory() {
  munmap(data_, bytes_);
}

}  // namespace bench
