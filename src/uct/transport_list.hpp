// SPDX-License-Identifier: BSD-3-Clause
//
// UCX_TLS, read as far as it concerns one transport: did the user ask for it by
// name? "all" and a list of exceptions ("^tcp") ask for nothing by name.

#pragma once

#include <string_view>

namespace bulk::uct {

// Whether `list`, a value of UCX_TLS, has `name` as an element of its own. UCX lets an element begin with
// a backslash (take the name literally) and end with ":aux" (only for wire-up); both count.
bool names_transport(std::string_view list, std::string_view name);

// The same for the UCX_TLS of this process.
bool user_names_transport(std::string_view name);

}  // namespace bulk::uct
