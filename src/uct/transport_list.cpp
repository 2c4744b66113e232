// SPDX-License-Identifier: BSD-3-Clause

#include "uct/transport_list.hpp"

#include <cstdlib>

namespace bulk::uct {

bool names_transport(std::string_view list, std::string_view name) {
  if (list.starts_with('^')) return false;

  for (;;) {
    const auto comma = list.find(',');
    std::string_view element = list.substr(0, comma);
    if (element.starts_with('\\')) element.remove_prefix(1);
    if (element.ends_with(":aux")) element.remove_suffix(4);
    if (element == name) return true;
    if (comma == std::string_view::npos) return false;
    list.remove_prefix(comma + 1);
  }
}

bool user_names_transport(std::string_view name) {
  const char* list = std::getenv("UCX_TLS");
  return list != nullptr && names_transport(list, name);
}

}  // namespace bulk::uct
