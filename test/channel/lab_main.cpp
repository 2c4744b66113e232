// SPDX-License-Identifier: BSD-3-Clause
//
// main() of the lab's tests: GoogleTest's, or the agent's. Programs named direct-* are for the direct path
// within a host, all others for its link to itself.
#include <gtest/gtest.h>

#include <cstring>

#include "../direct_path.hpp"
#include "agent.hpp"

int main(int argc, char** argv) {
  if (argc == 3 && std::strcmp(argv[1], "--agent") == 0) return bulk::lab::agent_main(argv[2]);
  testing::InitGoogleTest(&argc, argv);
  const bulk::DirectPath way(bulk::DirectPath::for_program(argv[0]));
  return RUN_ALL_TESTS();
}
