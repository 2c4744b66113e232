// SPDX-License-Identifier: BSD-3-Clause
//
// The processes of one side of ucp_bench. Each test runs in processes that are forked before UCX has begun;
// the one that forks them passes on what the two sides tell each other, over the only connection there is
// beside UCX's, and prints the results. Whoever dies takes everything on both sides along.
#pragma once

#include <cstdio>

#include "ucp_tests.h"

namespace bench {

// Runs the test; returns the exit status, in each of the processes. Throws verify::Fatal when a process or
// the other side has died. `results` is where the client's results go.
int run_crew(Role role, verify::OutOfBand other_side, const Test& test, const Job& job, std::FILE* results);

}  // namespace bench
