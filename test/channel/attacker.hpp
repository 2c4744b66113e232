// SPDX-License-Identifier: BSD-3-Clause
//
// A verbs user who connects to the service port of a host's kernel and sends what he should not. Runs as
// `PROGRAM --attacker`, as root on a host with an RDMA device; prints "ready", and then for each line
// "CASE ADDRESS PORT" of its input one line:
//   rejected REASON   the connection was refused; REASON is enum bulk_cm_reason, or 0
//   refused STATUS    the negotiation was answered with this NTSTATUS, and the connection closed or useless
//   disconnected      the connection was closed, or the queue pair failed
//   connected         nothing of that within the limit
//   error TEXT        the attacker himself failed
#pragma once

#include <string>
#include <vector>

namespace bulk::lab {

int attacker_main();

// All cases.
std::vector<std::string> attack_names();

}  // namespace bulk::lab
