// SPDX-License-Identifier: BSD-3-Clause
//
// How much memory of its host's kernel a channel takes, and an endpoint: not what they say of themselves, but
// what the host has less when there are many of them.
//
// Counted is all that is neither free nor a page of a process or of a file: slabs of every cache with what is
// unused in them, pages that the kernel took one by one (slots, rings), page tables, stacks, memory of the
// device's driver. Whatever else the kernel takes or gives back meanwhile is counted, too. So many are made:
// endpoints in blocks, of which the median is told; of channels the mean. What they cost the remote host is
// not counted.
#pragma once

#include <string>

#include "session.hpp"

namespace bench {

// Both ends of --test memory, on the RDMA device of this host. The client prints its results.
void measure_memory(const Job& job, Control& control, const std::string& device);
void serve_memory(Control& control, const std::string& device);

}  // namespace bench
