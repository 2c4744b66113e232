// SPDX-License-Identifier: BSD-3-Clause
//
// A kernel module made of ordinary memory, for tests of the channel library without a kernel. It takes the
// place of src/channel/fd.cpp at link time: the device node is a memfd, ioctls end in FakeKernel::control.
// One test at a time; one domain and one channel.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "channel/abi.hpp"

namespace bulk::test {

class FakeKernel {
 public:
  FakeKernel();
  ~FakeKernel();
  FakeKernel(const FakeKernel&) = delete;
  FakeKernel& operator=(const FakeKernel&) = delete;

  // ---- what the test sets ----
  int open_errno = 0;  // errno of opening the device node, 0: it opens
  std::uint32_t abi_version = RDMA_BULK_ABI_VERSION;
  std::uint32_t ndevices = 1;
  std::uint32_t max_rx_slots = 256;
  std::uint32_t first_index = 0;  // at which the ring's indices begin
  bool mmap_fails = false;
  // Called for every command that is submitted: 0 or a negative errno. Not set: 0.
  std::function<int(const rdma_bulk_cmd&)> on_command;

  // ---- what the test sees ----
  std::vector<unsigned long> ioctls;                // all, in order
  std::vector<rdma_bulk_cmd> commands;              // accepted, OP_RETURN not among them
  std::vector<std::vector<std::uint16_t>> returns;  // accepted OP_RETURNs
  std::uint32_t rx_slots = 0;
  std::uint32_t tx_slots = 0;

  // Writes an event into the ring.
  void event(const rdma_bulk_event& event);
  rdma_bulk_ctrl& ctrl();

  // ---- called by the replaced functions ----
  int open();
  long control(unsigned long request, void* argument);

 private:
  int submit(const rdma_bulk_cmd& cmd);

  int memory_ = -1;  // memfd
  std::byte* base_ = nullptr;
  std::uint64_t next_offset_ = 0;
};

// The one that lives now; not null while a test with a FakeKernel runs.
FakeKernel* fake_kernel();

}  // namespace bulk::test
