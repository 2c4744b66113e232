// SPDX-License-Identifier: BSD-3-Clause

#include "uct/transport_list.hpp"

#include <gtest/gtest.h>

namespace {

using bulk::uct::names_transport;

TEST(TransportList, FindsTheNameAsAWholeElement) {
  EXPECT_TRUE(names_transport("bulk", "bulk"));
  EXPECT_TRUE(names_transport("bulk,self", "bulk"));
  EXPECT_TRUE(names_transport("self,bulk", "bulk"));
  EXPECT_TRUE(names_transport("tcp,bulk,self", "bulk"));
}

TEST(TransportList, IgnoresPartsOfOtherNames) {
  EXPECT_FALSE(names_transport("bulky,self", "bulk"));
  EXPECT_FALSE(names_transport("xbulk", "bulk"));
  EXPECT_FALSE(names_transport("tcp,self", "bulk"));
  EXPECT_FALSE(names_transport("BULK", "bulk"));
}

TEST(TransportList, EverythingAndNothingNameNobody) {
  EXPECT_FALSE(names_transport("all", "bulk"));
  EXPECT_FALSE(names_transport("", "bulk"));
  EXPECT_FALSE(names_transport(",,", "bulk"));
}

TEST(TransportList, ExceptionsNameNobody) {
  EXPECT_FALSE(names_transport("^bulk", "bulk"));
  EXPECT_FALSE(names_transport("^tcp,bulk", "bulk"));
}

TEST(TransportList, KnowsTheDecorationsOfUcx) {
  EXPECT_TRUE(names_transport("\\bulk", "bulk"));
  EXPECT_TRUE(names_transport("tcp,bulk:aux", "bulk"));
  EXPECT_FALSE(names_transport("bulk:auxiliary", "bulk"));
}

}  // namespace
