// SPDX-License-Identifier: BSD-3-Clause
//
// Channels of two hosts. BULK_PEER names the other host, which must have this program at the same path and
// let root in by ssh; without it everything is skipped.
#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <string>

#include "agent.hpp"
#include "lab.hpp"

namespace bulk::lab {
namespace {

class TwoHosts : public BySubmission {
 protected:
  void SetUp() override {
    const char* peer = std::getenv("BULK_PEER");
    if (peer == nullptr) GTEST_SKIP() << "BULK_PEER does not name another host";
    node_ = Node::make(GetParam());
    agent_.emplace(std::string(name_of(GetParam())), peer);
    ASSERT_TRUE(agent_->started());
    ASSERT_NE(agent_->address().ip_text(), node_->channel.address().ip_text()) << "the peer is this host";
    to_ = node_->connect(agent_->address());
    ASSERT_TRUE(to_.valid());
    ASSERT_TRUE(agent_->ask("open " + node_->channel.address().text(), node_.get()));
  }

  testing::AssertionResult wait(const std::function<bool()>& condition, const std::string& what) {
    return lab::wait({node_.get()}, condition, what);
  }

  // The agent's region as a Remote; `key` keeps the key.
  Remote region(std::size_t bytes, const std::string& access, Key& key) {
    const auto answer = agent_->ask("region " + std::to_string(bytes) + " " + access, node_.get());
    if (!answer) return {0, key};
    key = key_from_hex(answer->substr(answer->find(' ') + 1)).value_or(Key{});
    return {std::stoull(*answer), key};
  }

  void expect_down(const std::function<void()>& cause) {
    const auto start = std::chrono::steady_clock::now();
    cause();
    ASSERT_TRUE(wait([&] { return !node_->log.down.empty(); }, "the endpoint to come down"));
    const auto ms =
        std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - start);
    std::printf("down after %lld ms with %s\n", static_cast<long long>(ms.count()),
                node_->log.down[0].status.text().c_str());
    // the peer's kernel has said so: who finds out by keepalives gets ETIMEDOUT
    EXPECT_TRUE(is(node_->log.down[0].status, {ECONNRESET, EPIPE, ECONNABORTED}));
    EXPECT_EQ(node_->channel.outstanding(), 0U);
  }

  std::unique_ptr<Node> node_;
  std::optional<Agent> agent_;
  EpHandle to_;
};

TEST_P(TwoHosts, messages_go_both_ways) {
  Node& n = *node_;
  for (const std::uint32_t length : {0U, 1U, 100U, 4097U, 8256U}) {
    const std::string size = std::to_string(length);
    n.log.messages.clear();
    n.log.received = 0;
    ASSERT_TRUE(agent_->ask("send 100 " + size + " 7", &n));
    ASSERT_TRUE(wait([&] { return n.log.received == 100; }, "100 messages of " + size + " bytes"));
    for (std::uint16_t i = 0; i < 100; ++i) {
      ASSERT_EQ(n.log.messages[i].id, i);
      ASSERT_EQ(n.log.messages[i].bytes.size(), length);
      ASSERT_TRUE(holds(n.log.messages[i].bytes, 7U + i));
    }
    std::vector<std::byte> bytes(length);
    for (std::uint16_t i = 0; i < 100; ++i) {
      fill(bytes, 50U + i);
      ASSERT_TRUE(is(n.run([&](std::uint64_t id) {
        return n.channel.send(to_, Local::user(bytes.data()), length, i, id);
      }),
                     0));
    }
    ASSERT_TRUE(agent_->ask("expect 100 " + size + " 50", &n));
  }
}

TEST_P(TwoHosts, a_burst_of_messages_keeps_its_order) {
  Node& n = *node_;
  std::uint16_t sent = 0;
  ASSERT_TRUE(wait(
      [&] {
        while (sent < 500) {
          const TxSlot slot = n.channel.tx_acquire();
          if (!slot.valid()) break;
          fill(std::span(n.channel.tx_data(slot), 1000), 9U + sent);
          const Status status = n.channel.send(to_, slot, 1000, sent, sent);
          if (!status) {
            EXPECT_TRUE(is(status, EAGAIN));
            n.channel.tx_release(slot);
            break;
          }
          ++sent;
        }
        return sent == 500 && n.channel.outstanding() == 0;
      },
      "500 messages to be done"));
  EXPECT_TRUE(agent_->ask("expect 500 1000 9", &n));
}

TEST_P(TwoHosts, put_and_get) {
  Node& n = *node_;
  Key key{};
  const Remote there = region(2 << 20, "rw", key);
  Pages here(2 << 20);
  for (const std::size_t length : {1UL, 100UL, 4097UL, 65536UL, (1UL << 20) + 3}) {
    const std::string at = " 1001 " + std::to_string(length) + " ";
    fill(here.span().subspan(3, length), length);
    ASSERT_TRUE(is(n.run([&](std::uint64_t id) {
      return n.channel.put(to_, Local::user(here.data() + 3), length, {there.address + 1001, key}, id);
    }),
                   0));
    ASSERT_TRUE(agent_->ask("check" + at + std::to_string(length), &n)) << length << " bytes";
    ASSERT_TRUE(agent_->ask("fill" + at + std::to_string(length + 1), &n));
    ASSERT_TRUE(is(n.run([&](std::uint64_t id) {
      return n.channel.get(to_, Local::user(here.data() + 5), length, {there.address + 1001, key}, id);
    }),
                   0));
    ASSERT_TRUE(holds(here.span().subspan(5, length), length + 1)) << length << " bytes";
  }
}

TEST_P(TwoHosts, put_and_get_from_the_other_side) {
  Node& n = *node_;
  Pages memory(1 << 20);
  const auto own = n.domain.register_memory(memory.data(), memory.size(), Access::remote_read_write);
  ASSERT_TRUE(own.ok());
  const std::string where =
      std::to_string(reinterpret_cast<std::uintptr_t>(memory.data())) + " " + hex(own->key());
  ASSERT_TRUE(agent_->ask("put 1000000 " + where + " 3", &n));
  EXPECT_TRUE(holds(memory.span().first(1000000), 3));
  fill(memory.span(), 4);
  ASSERT_TRUE(agent_->ask("get 1000000 " + where + " 4", &n));
}

TEST_P(TwoHosts, keys_are_checked) {
  Node& n = *node_;
  Key key{};
  const Remote there = region(4096, "r", key);
  Pages here(8192);
  const auto get = [&](std::uint64_t address, const Key& k, std::size_t length) {
    return n.run([&](std::uint64_t id) {
      return n.channel.get(to_, Local::user(here.data()), length, {address, k}, id);
    });
  };
  Key wrong = key;
  wrong[20] ^= std::byte{0x40};
  EXPECT_TRUE(is(get(there.address, wrong, 8), EKEYREJECTED));
  EXPECT_TRUE(is(get(there.address, key, 4097), ERANGE));
  EXPECT_TRUE(is(get(there.address - 1, key, 8), ERANGE));
  EXPECT_TRUE(is(get(there.address, key, 4096), 0));
  EXPECT_TRUE(is(n.run([&](std::uint64_t id) {
    return n.channel.put(to_, Local::user(here.data()), 8, {there.address, key}, id);
  }),
                 EACCES));
  ASSERT_TRUE(agent_->ask("deregister", &n));
  EXPECT_TRUE(is(get(there.address, key, 8), EKEYREJECTED));
  EXPECT_TRUE(agent_->ask("send 1 10 1", &n)) << "the lane has come to harm";
}

// The key goes over the control lane and the message over a data lane, which no order binds: the
// message may come first, and a key used before it is there is asked for. One of them has to be there.
TEST_P(TwoHosts, a_key_told_with_a_message_needs_no_round_trip) {
  constexpr std::size_t keys = 20;
  Node& n = *node_;
  Pages here(4096);
  std::uint64_t misses = 0;
  for (std::size_t i = 0; i < keys && misses == i; ++i) {
    Key key{};
    const Remote there = region(4096, "rw", key);
    ASSERT_TRUE(agent_->ask("tell-key", &n));
    ASSERT_TRUE(wait([&] { return n.log.messages.size() > i; }, "the message with the key"));
    EXPECT_EQ(std::memcmp(n.log.messages[i].bytes.data(), key.data(), key.size()), 0);
    EXPECT_TRUE(is(n.run([&](std::uint64_t id) {
      return n.channel.put(to_, Local::user(here.data()), 100, {there.address, key}, id);
    }),
                   0));
    misses = n.channel.stats()->key_misses;
    ASSERT_LE(misses, i + 1);
  }
  EXPECT_LT(misses, keys) << "no key was there when the message that carries it had come";
}

TEST_P(TwoHosts, a_receiver_that_holds_its_slots_stops_the_sender) {
  Node& n = *node_;
  ASSERT_TRUE(agent_->ask("hold"));
  std::uint16_t sent = 0;
  Status status;
  std::byte bytes[8];
  const auto push = [&] {
    while (sent < 1500) {
      fill(bytes, 20U + sent);
      status = n.channel.send(to_, Local::user(bytes), 8, sent, sent);
      if (!status) return;
      ++sent;
    }
  };
  // until nothing goes any more, and nothing that was accepted is pending
  ASSERT_TRUE(wait(
      [&] {
        push();
        return sent == 1500 || n.channel.stats()->again > 200;
      },
      "the sender to be stopped"));
  EXPECT_LT(sent, 1500) << "a receiver with 512 slots took 1500 messages without returning one";
  EXPECT_TRUE(is(status, EAGAIN));
  ASSERT_TRUE(agent_->ask("release", &n));
  ASSERT_TRUE(wait(
      [&] {
        push();
        return sent == 1500;
      },
      "the rest to be accepted"));
  EXPECT_TRUE(agent_->ask("expect 1500 8 20", &n));
}

TEST_P(TwoHosts, a_killed_peer_is_known_at_once) {
  expect_down([&] { agent_->kill(); });
}

TEST_P(TwoHosts, a_peer_that_became_another_program_is_known_at_once) {
  expect_down([&] { ASSERT_TRUE(agent_->ask("exec")); });
}

TEST_P(TwoHosts, a_peer_killed_in_the_middle_of_everything) {
  Node& n = *node_;
  Pages memory(1 << 20);
  const auto own = n.domain.register_memory(memory.data(), memory.size(), Access::remote_read_write);
  ASSERT_TRUE(own.ok());
  const std::string where =
      std::to_string(reinterpret_cast<std::uintptr_t>(memory.data())) + " " + hex(own->key());
  ASSERT_TRUE(agent_->ask("stream " + where + " 500000", &n));
  ASSERT_TRUE(wait([&] { return n.log.received >= 10; }, "some messages"));
  expect_down([&] { agent_->kill(); });
  // its kernel serves the next process
  agent_.emplace(std::string(name_of(GetParam())), std::getenv("BULK_PEER"));
  ASSERT_TRUE(agent_->started());
  EXPECT_TRUE(n.connect(agent_->address()).valid());
}

TEST_P(TwoHosts, an_address_nobody_has_is_unreachable) {
  Node& n = *node_;
  Address nobody = n.channel.address();
  const auto ip = nobody.ip();
  ASSERT_EQ(nobody.family(), AF_INET);
  std::array<std::byte, 4> other{ip[0], ip[1], ip[2], std::byte{253}};
  ASSERT_TRUE(n.channel.ep_open(*Address::from_ip(other, 0, 1), 1).ok());
  ASSERT_TRUE(wait([&] { return !n.log.down.empty(); }, "the endpoint to come down"));
  EXPECT_TRUE(is(n.log.down[0].status, {EHOSTUNREACH, ETIMEDOUT, ENETUNREACH}));
}

INSTANTIATE_TEST_SUITE_P(, TwoHosts, testing::Values(Submission::ioctl, Submission::uring), submission_name);

}  // namespace
}  // namespace bulk::lab
