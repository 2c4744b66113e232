// SPDX-License-Identifier: BSD-3-Clause
//
// The memory domain: one per md_open, for all devices. Owns the kernel's domain; its memory handles own
// regions. Safe from any thread, as the kernel's domain is.

#pragma once

#include "channel/domain.hpp"
#include "uct/abi/component.hpp"
#include "uct/config.hpp"

namespace bulk::uct {

// What a uct_mem_h points to.
struct Memory {
  Region region;
};

class MemoryDomain : public abi::Md {
 public:
  static ucs_status_t open(abi::Component* component, const char* name, const abi::MdConfigBase* config,
                           uct_md_h* md);

  static MemoryDomain& of(uct_md_h handle) {
    return *static_cast<MemoryDomain*>(reinterpret_cast<abi::Md*>(handle));
  }

  const Domain& domain() const { return domain_; }

 private:
  explicit MemoryDomain(Domain&& domain) : domain_(std::move(domain)) {}

  Domain domain_;
};

inline Memory& memory_of(uct_mem_h handle) {
  return *static_cast<Memory*>(handle);
}

// The region whose key was packed last on this thread since the watch began. UCP packs keys inside the pack
// callback of the message that carries them, so a watch around the callback learns which key the message
// carries.
class KeyWatch {
 public:
  KeyWatch();
  KeyWatch(const KeyWatch&) = delete;
  KeyWatch& operator=(const KeyWatch&) = delete;
  ~KeyWatch();

  RegionHandle seen() const { return seen_; }

  // Called when a key is packed.
  static void note(RegionHandle region);

 private:
  RegionHandle seen_;
  KeyWatch* outer_;
};

}  // namespace bulk::uct
