// SPDX-License-Identifier: BSD-3-Clause
//
// Keys of other processes' memory. An unpacked key is a copy of the packed bytes, nothing in the kernel: the
// uct_rkey_t is its address, and every command carries it whole.

#pragma once

#include "channel/types.hpp"
#include "uct/abi/component.hpp"

namespace bulk::uct {

inline constexpr std::size_t packed_key_bytes = sizeof(Key);

inline const Key& key_of(uct_rkey_t rkey) {
  return *reinterpret_cast<const Key*>(rkey);
}

ucs_status_t unpack_rkey(abi::Component* component, const void* buffer, uct_rkey_t* rkey, void** handle);
ucs_status_t unpack_rkey_119(abi::Component* component, const void* buffer,
                             const abi::RkeyUnpackParams* params, uct_rkey_t* rkey, void** handle);
ucs_status_t release_rkey(abi::Component* component, uct_rkey_t rkey, void* handle);
ucs_status_t compare_rkeys(abi::Component* component, uct_rkey_t first, uct_rkey_t second,
                           const abi::RkeyCompareParams* params, int* result);

}  // namespace bulk::uct
