// SPDX-License-Identifier: BSD-3-Clause
//
// UCT's scatter-gather lists: entries of `count` pieces of `length` bytes, `stride` bytes apart.

#pragma once

#include <uct/api/uct.h>

#include <cstddef>
#include <cstring>

namespace bulk::uct {

inline std::size_t total_length(const uct_iov_t* iov, std::size_t count) {
  std::size_t total = 0;
  for (std::size_t i = 0; i < count; ++i)
    total += iov[i].length * iov[i].count;
  return total;
}

// Copies all pieces, in order, to consecutive bytes.
inline void gather(const uct_iov_t* iov, std::size_t count, std::byte* to) {
  for (std::size_t i = 0; i < count; ++i) {
    const auto* piece = static_cast<const std::byte*>(iov[i].buffer);
    if (iov[i].length == 0) continue;
    for (unsigned j = 0; j < iov[i].count; ++j, piece += iov[i].stride, to += iov[i].length)
      std::memcpy(to, piece, iov[i].length);
  }
}

// Whether the entry is one run of bytes.
inline bool is_contiguous(const uct_iov_t& iov) {
  return iov.count <= 1 || iov.stride == iov.length;
}

}  // namespace bulk::uct
