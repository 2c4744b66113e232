// SPDX-License-Identifier: BSD-3-Clause
//
// A hostile peer on the fabric (see attacker.hpp): each attack must end with a refusal or a disconnection,
// and an honest pair of channels of the host goes on working. The attacker runs on BULK_PEER (by ssh), or
// without that on this host, from an address of his own.
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "agent.hpp"
#include "attacker.hpp"
#include "lab.hpp"

namespace bulk::lab {
namespace {

class HostilePeer : public testing::TestWithParam<std::string> {
 protected:
  static void SetUpTestSuite() {
    const char* peer = std::getenv("BULK_PEER");
    pair_ = std::make_unique<Pair>(Submission::ioctl);
    attacker_ =
        std::make_unique<Process>(std::vector<std::string>{"--attacker"}, peer == nullptr ? "" : peer);
    const std::string greeting = attacker_->read_line().value_or("nothing");
    if (greeting != "ready") ADD_FAILURE() << "the attacker says: " << greeting;
  }
  static void TearDownTestSuite() {
    attacker_.reset();
    pair_.reset();
  }

  static std::string attack(const std::string& name) {
    const Address target = pair_->a->channel.address();
    attacker_->tell(name + " " + target.ip_text() + " " + std::to_string(target.port()));
    return attacker_->read_line(pair_->a.get()).value_or("error no answer");
  }

  static inline std::unique_ptr<Pair> pair_;
  static inline std::unique_ptr<Process> attacker_;
};

TEST_P(HostilePeer, is_turned_away_and_harms_nobody) {
  ASSERT_TRUE(pair_->still_works()) << "before the attack";
  const std::string outcome = attack(GetParam());
  std::printf("%s: %s\n", GetParam().c_str(), outcome.c_str());
  EXPECT_NE(outcome.rfind("error", 0), 0U) << outcome;
  const bool nothing = GetParam().find("_of_nothing") != std::string::npos ||
                       GetParam().find("_of_a_guess") != std::string::npos ||
                       GetParam().find("too_long") != std::string::npos;
  // What names something that is not there can be late, which is no offence; all else is.
  if (!nothing) {
    EXPECT_NE(outcome, "connected");
  }
  if (GetParam().rfind("unprivileged", 0) == 0) {
    EXPECT_EQ(outcome, "rejected 2");
  }
  if (GetParam().rfind("data_lane_with", 0) == 0) {
    EXPECT_EQ(outcome, "rejected 3");
  }
  EXPECT_TRUE(pair_->still_works()) << "after the attack";
  EXPECT_TRUE(pair_->a->log.down.empty()) << "an honest endpoint came down";
  EXPECT_TRUE(pair_->b->log.down.empty()) << "an honest endpoint came down";
}

INSTANTIATE_TEST_SUITE_P(, HostilePeer, testing::ValuesIn(attack_names()),
                         [](const testing::TestParamInfo<std::string>& attack) { return attack.param; });

}  // namespace
}  // namespace bulk::lab

int main(int argc, char** argv) {
  if (argc == 2 && std::strcmp(argv[1], "--attacker") == 0) return bulk::lab::attacker_main();
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
