// SPDX-License-Identifier: BSD-3-Clause
//
// What stands in a slot for something this transport does not do. UCX knows from
// the flags not to call it; should it call all the same, it gets a plain refusal.
// Slots whose arguments differ between releases are described without arguments: a callee may ignore them.

#pragma once

#include <ucs/type/status.h>

#include <type_traits>

namespace bulk::abi {

template <typename Slot>
struct Refusal;

template <typename... Args>
struct Refusal<ucs_status_t (*)(Args...)> {
  static ucs_status_t call(Args...) { return UCS_ERR_UNSUPPORTED; }
};

template <typename... Args>
struct Refusal<void (*)(Args...)> {
  static void call(Args...) {}
};

// A refusal with the signature of the slot: `ops.mem_query = unsupported<decltype(ops.mem_query)>`.
template <typename Slot>
inline constexpr std::remove_cv_t<Slot> unsupported = &Refusal<std::remove_cv_t<Slot>>::call;

}  // namespace bulk::abi
