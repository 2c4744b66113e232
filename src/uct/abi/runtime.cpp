// SPDX-License-Identifier: BSD-3-Clause

#include "uct/abi/runtime.hpp"

#include <dlfcn.h>

#include <climits>
#include <cstdio>
#include <cstring>

#include "uct/abi/imports.hpp"

namespace bulk::abi {
namespace {

// Sizes in a build without UCX's statistics, which add a pointer to each and two arguments to the
// initialiser of the interface.
constexpr std::size_t iface_size = sizeof(uct_iface_t);
constexpr std::size_t base_iface_size = sizeof(BaseIface);
constexpr std::size_t base_ep_size = sizeof(BaseEp);
constexpr std::size_t cm_size = 1304;
constexpr std::size_t statistics_growth = 8;

class Library {
 public:
  Library() = default;
  explicit Library(void* handle) : handle_(handle) {}
  Library(Library&& other) noexcept : handle_(other.handle_) { other.handle_ = nullptr; }
  Library& operator=(Library&&) = delete;
  ~Library() {
    if (handle_ != nullptr) dlclose(handle_);
  }

  explicit operator bool() const { return handle_ != nullptr; }

  void* find(const char* symbol) const { return handle_ == nullptr ? nullptr : dlsym(handle_, symbol); }

  bool has(const char* symbol) const { return find(symbol) != nullptr; }

 private:
  void* handle_ = nullptr;
};

Library this_libuct() {
  return Library(dlopen(library_path(), RTLD_LAZY | RTLD_LOCAL | RTLD_NOLOAD));
}

// The libucp that belongs to our libuct: the one in the same folder, loaded or not, else the loaded one.
Library matching_libucp() {
  constexpr const char* name = "libucp.so.0";
  char path[PATH_MAX];
  const char* libuct = library_path();
  const char* slash = std::strrchr(libuct, '/');
  const int folder = slash == nullptr ? 0 : static_cast<int>(slash - libuct + 1);
  const int length = std::snprintf(path, sizeof(path), "%.*s%s", folder, libuct, name);

  if (length > 0 && static_cast<std::size_t>(length) < sizeof(path)) {
    if (Library loaded(dlopen(path, RTLD_LAZY | RTLD_LOCAL | RTLD_NOLOAD)); loaded) return loaded;
    if (Library loaded(dlopen(name, RTLD_LAZY | RTLD_LOCAL | RTLD_NOLOAD)); loaded) return loaded;
    return Library(dlopen(path, RTLD_LAZY | RTLD_LOCAL));
  }
  return Library(dlopen(name, RTLD_LAZY | RTLD_LOCAL | RTLD_NOLOAD));
}

std::optional<Release> ask_libucp() {
  const Library libucp = matching_libucp();
  using GetVersion = void (*)(unsigned*, unsigned*, unsigned*);
  const auto get_version = reinterpret_cast<GetVersion>(libucp.find("ucp_get_version"));
  if (get_version == nullptr) return std::nullopt;

  Release release;
  get_version(&release.major, &release.minor, &release.patch);
  return release;
}

// Reads nothing beyond what the description promises: the name first, then the list that must lead to
// the transport's own link and back.
bool tcp_fits(const Library& libuct) {
  const auto* component = static_cast<const Component*>(libuct.find("uct_tcp_component"));
  const auto* transport = static_cast<const Transport*>(libuct.find("uct_tcp_tl"));

  return component != nullptr && transport != nullptr && std::strcmp(component->name, "tcp") == 0 &&
         std::strcmp(transport->name, "tcp") == 0 && component->tl_list.next == &transport->list &&
         transport->list.prev == &component->tl_list;
}

std::optional<Version> by_number(const Release& release) {
  if (release.major != 1) return std::nullopt;
  switch (release.minor) {
    case 18:
      return Version::v1_18;
    case 22:
      return Version::v1_22;
    case 23:
      return Version::v1_23;
    default:
      return std::nullopt;
  }
}

bool symbols_agree(const Evidence& evidence, Version version) {
  const bool since_1_22 = version != Version::v1_18;

  return evidence.has_rkey_unpack_v2 == since_1_22 && evidence.has_get_device_ep == since_1_22 &&
         evidence.has_mem_elem_pack == since_1_22 && evidence.has_stub_iface_open == since_1_22 &&
         evidence.has_outstanding_purge == (version == Version::v1_23) &&
         evidence.has_vfs_refresh == !since_1_22;
}

}  // namespace

const char* library_path() {
  Dl_info info{};
  const int found = dladdr(reinterpret_cast<void*>(&uct_component_register), &info);
  return found != 0 && info.dli_fname != nullptr ? info.dli_fname : "libuct.so.0";
}

Evidence inspect() {
  const Library libuct = this_libuct();

  return Evidence{
      .has_rkey_unpack_v2 = libuct.has("uct_rkey_unpack_v2"),
      .has_get_device_ep = libuct.has("uct_ep_get_device_ep"),
      .has_mem_elem_pack = libuct.has("uct_md_mem_elem_pack"),
      .has_stub_iface_open = libuct.has("uct_stub_iface_open"),
      .has_outstanding_purge = libuct.has("uct_ep_outstanding_purge"),
      .has_vfs_refresh = libuct.has("uct_iface_vfs_refresh"),
      .iface_size = uct_iface_t_class.size,
      .base_iface_size = uct_base_iface_t_class.size,
      .base_ep_size = uct_base_ep_t_class.size,
      .cm_size = uct_cm_t_class.size,
      .tcp_fits = tcp_fits(libuct),
      .release = ask_libucp(),
  };
}

Choice choose(const Evidence& evidence) {
  if (!evidence.release) return {std::nullopt, "its libucp, which knows the version, cannot be opened"};

  const std::optional<Version> version = by_number(*evidence.release);
  if (!version) return {std::nullopt, "known versions are 1.18, 1.22 and 1.23"};

  if (evidence.base_iface_size == base_iface_size + statistics_growth)
    return {std::nullopt, "it was built with statistics (--enable-stats)"};
  if (evidence.iface_size != iface_size || evidence.base_iface_size != base_iface_size ||
      evidence.base_ep_size != base_ep_size || evidence.cm_size != cm_size)
    return {std::nullopt, "its objects have other sizes than this version's"};
  if (!symbols_agree(evidence, *version))
    return {std::nullopt, "libuct exports other functions than this version does"};
  if (!evidence.tcp_fits) return {std::nullopt, "its components are laid out differently"};
  return {version, nullptr};
}

}  // namespace bulk::abi
