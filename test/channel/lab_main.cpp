// SPDX-License-Identifier: BSD-3-Clause
//
// main() of the lab's tests: GoogleTest's, or the agent's.
#include <gtest/gtest.h>

#include <cstring>

#include "agent.hpp"

int main(int argc, char** argv) {
  if (argc == 3 && std::strcmp(argv[1], "--agent") == 0) return bulk::lab::agent_main(argv[2]);
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
