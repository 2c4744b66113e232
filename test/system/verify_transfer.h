// SPDX-License-Identifier: BSD-3-Clause
//
// Transfers: what moves one message from one end to the other, by which UCP call, in which shape.
//
// Both ends derive the same list of plans from the same seed, run it in the same chunks, and each does its
// half of every transfer: the source owns the bytes, the destination checks them. With PUT the source acts
// and with GET the destination does.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "verify_memory.h"
#include "verify_session.h"

namespace verify {

enum class Kind : std::uint8_t { tag, tag_sync, am, put, get };

struct Plan {
  Kind kind;
  Role destination;
  std::uint32_t index;  // in the whole run: tag, header and name in reports
  std::uint64_t seed;   // of the pattern and of the shapes
  std::size_t size;
  std::size_t room;  // bytes of the destination; less than size: the receive must end as truncated
  std::size_t source_misalignment;
  std::size_t destination_misalignment;
  Layout source_layout;
  Layout destination_layout;
  bool registered;            // the local side of PUT, GET and TAG names a memory handle
  std::uint32_t am_flags;     // UCP_AM_SEND_FLAG_EAGER, _RNDV or neither
  std::size_t header_length;  // of an active message, beyond the index
  bool held;                  // the receiver of an active message keeps the data for later
};

enum class Order : std::uint8_t {
  any,         // receives are posted before, while or after the message arrives
  unexpected,  // receives are posted in reverse order, after everything was sent
};

// Runs the plans, which must fit into memory at once, and returns what was wrong with the part of this end.
// Throws Fatal when it cannot go on.
std::vector<std::string> run_chunk(Session& session, const std::vector<Plan>& plans, Order order);

}  // namespace verify
