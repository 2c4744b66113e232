// SPDX-License-Identifier: BSD-3-Clause
//
// What is remembered of a command between its submission and its end. The address of an Operation is the
// command's user_data; every accepted command ends exactly once, so an Operation is used and freed once, also
// when its endpoint is long gone.

#pragma once

#include <uct/api/uct.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <vector>

namespace bulk::uct {

struct FreeDeleter {
  void operator()(void* memory) const { std::free(memory); }
};
using Copy = std::unique_ptr<std::byte[], FreeDeleter>;  // from malloc

// An endpoint's place in its interface's table and how often the place was used: names no other endpoint,
// ever.
struct EpId {
  std::uint32_t index = 0;
  std::uint32_t generation = 0;

  std::uint64_t packed() const { return std::uint64_t{generation} << 32 | index; }
  static EpId from(std::uint64_t packed) {
    return {static_cast<std::uint32_t>(packed), static_cast<std::uint32_t>(packed >> 32)};
  }
};

enum class OperationKind : std::uint8_t { message, put, get, get_bcopy, flush };

struct Operation {
  OperationKind kind = OperationKind::message;
  EpId ep;
  std::uint64_t put_epoch = 0;             // put: the interface's fences before it
  uct_completion_t* completion = nullptr;  // the user's, may be null
  uct_unpack_callback_t unpack = nullptr;  // get_bcopy
  void* unpack_arg = nullptr;              // get_bcopy
  Copy copy;                               // payload of a command that was refused once
  Operation* next_free = nullptr;

  std::uint64_t user_data() const { return reinterpret_cast<std::uintptr_t>(this); }
  static Operation& of(std::uint64_t user_data) { return *reinterpret_cast<Operation*>(user_data); }
};

// Operations are taken and put back without allocation once there are enough.
class OperationPool {
 public:
  Operation& take(OperationKind kind, EpId ep) {
    if (free_ == nullptr) grow();
    Operation& operation = *free_;
    free_ = operation.next_free;
    ++in_use_;
    operation.kind = kind;
    operation.ep = ep;
    operation.completion = nullptr;
    return operation;
  }

  void put_back(Operation& operation) {
    operation.copy.reset();
    operation.next_free = free_;
    free_ = &operation;
    --in_use_;
  }

  std::size_t in_use() const { return in_use_; }

 private:
  static constexpr std::size_t chunk = 128;

  void grow() {
    chunks_.push_back(std::make_unique<std::array<Operation, chunk>>());
    for (Operation& operation : *chunks_.back()) {
      operation.next_free = free_;
      free_ = &operation;
    }
  }

  std::vector<std::unique_ptr<std::array<Operation, chunk>>> chunks_;
  Operation* free_ = nullptr;
  std::size_t in_use_ = 0;
};

// Counts one part of the user's operation as over; the first error stays.
inline void complete(uct_completion_t& completion, ucs_status_t status) {
  if (completion.status == UCS_OK) completion.status = status;
  if (--completion.count == 0) completion.func(&completion);
}

}  // namespace bulk::uct
