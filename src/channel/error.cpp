// SPDX-License-Identifier: BSD-3-Clause
//
// Texts of errors.
#include "channel/error.hpp"

#include <cstring>

namespace bulk {

std::string errno_text(int error) {
  if (error == 0) return "success";
  const char* name = strerrorname_np(error);
  const char* description = strerrordesc_np(error);
  if (name == nullptr || description == nullptr) return "errno " + std::to_string(error);
  return std::string(name) + " (" + description + ")";
}

}  // namespace bulk
