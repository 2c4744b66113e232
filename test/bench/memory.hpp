// SPDX-License-Identifier: BSD-3-Clause
//
// The memory that operations read and write: one buffer for all, or one for each.
#pragma once

#include <cstddef>
#include <cstdint>

namespace bench {

// Bytes that can be had without swapping, as the kernel estimates them.
std::size_t available_memory();

class Memory {
 public:
  // `buffers` buffers of `size` bytes, each on pages of its own; all pages are there before this returns.
  // `small_pages`: no huge pages. Throws verify::Fatal if there is not that much memory.
  Memory(std::size_t size, std::uint64_t buffers, bool small_pages);
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;
  ~Memory();

  // The buffer of operation `number`; all have the same one if there is only one.
  std::byte* of(std::uint64_t number) const { return data_ + (buffers_ == 1 ? 0 : number * stride_); }
  std::byte* data() const { return data_; }

 private:
  std::size_t stride_;
  std::uint64_t buffers_;
  std::size_t bytes_;
  std::byte* data_;
};

}  // namespace bench
