// SPDX-License-Identifier: BSD-3-Clause
//
// The kernel's header, as C++ can take it. Everything else in user space goes through the classes of this
// directory and does not include <rdma/rdma_bulk.h> itself.
#pragma once

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpedantic"  // anonymous struct, flexible array: C, and GNU C++
#include <rdma/rdma_bulk.h>
#pragma GCC diagnostic pop
