// SPDX-License-Identifier: BSD-3-Clause
//
// main() of uct-one and uct-direct-one.
#include <gtest/gtest.h>

#include "../direct_path.hpp"

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  const bulk::DirectPath way(bulk::DirectPath::for_program(argv[0]));
  return RUN_ALL_TESTS();
}
