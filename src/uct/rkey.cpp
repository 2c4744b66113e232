// SPDX-License-Identifier: BSD-3-Clause

#include "uct/rkey.hpp"

#include <cstring>
#include <new>

namespace bulk::uct {

ucs_status_t unpack_rkey(abi::Component*, const void* buffer, uct_rkey_t* rkey, void** handle) {
  auto* key = new (std::nothrow) Key;
  if (key == nullptr) return UCS_ERR_NO_MEMORY;
  std::memcpy(key->data(), buffer, packed_key_bytes);
  *rkey = reinterpret_cast<uct_rkey_t>(key);
  *handle = nullptr;
  return UCS_OK;
}

ucs_status_t unpack_rkey_119(abi::Component* component, const void* buffer, const abi::RkeyUnpackParams*,
                             uct_rkey_t* rkey, void** handle) {
  return unpack_rkey(component, buffer, rkey, handle);
}

ucs_status_t release_rkey(abi::Component*, uct_rkey_t rkey, void*) {
  delete reinterpret_cast<Key*>(rkey);  // NOLINT(performance-no-int-to-ptr): what unpack_rkey gave out
  return UCS_OK;
}

ucs_status_t compare_rkeys(abi::Component*, uct_rkey_t first, uct_rkey_t second,
                           const abi::RkeyCompareParams* params, int* result) {
  if (params->field_mask != 0) return UCS_ERR_INVALID_PARAM;
  *result = std::memcmp(key_of(first).data(), key_of(second).data(), sizeof(Key));
  return UCS_OK;
}

}  // namespace bulk::uct
