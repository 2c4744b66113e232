// SPDX-License-Identifier: BSD-3-Clause
//
// UCX's own log: ucs_warn, ucs_diag, ucs_debug and so on, with the levels that
// UCX_LOG_LEVEL selects. The macros read the level at offset 0 of
// ucs_global_opts, the only member of it that keeps its place between releases.

#pragma once

#include <ucs/debug/log_def.h>
