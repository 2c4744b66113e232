// SPDX-License-Identifier: BSD-3-Clause
//
// The tests of ucp_bench: functions that the processes of both sides run, each with its seat.
#pragma once

#include <string_view>

#include "ucp_seat.h"

namespace bench {

// A test by name, with what its options are unless given.
struct Test {
  std::string_view name;
  void (*run)(Seat& seat);
  std::string_view help;
  std::size_t size = 8;
  unsigned count = 100;
  unsigned warmup = 0;
  unsigned window = 16;
  unsigned endpoints = 0;
  // Which options it knows beside those of all.
  bool in_directions = false;  // --bidirectional
  bool with_buffers = false;   // --fresh
  bool in_processes = false;   // --processes
};

// tag_bw, put_bw, get_bw, am_bw, msg_rate, incast: a window of operations, and the time until the last one
// has arrived. What goes there and is not asked for, an acknowledgement, is in the time once.
void bandwidth(Seat& seat);
// The second pair of processes beside the latency test.
void stream_beside(Seat& seat);

void latency(Seat& seat);
void unexpected(Seat& seat);

void setup(Seat& seat);
void grow(Seat& seat);

void flush(Seat& seat);
void fence(Seat& seat);
void rkey(Seat& seat);
void registration(Seat& seat);

}  // namespace bench
