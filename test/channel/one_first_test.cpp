// SPDX-License-Identifier: BSD-3-Clause
//
// The first message to a channel, which travels with the request to open it; over the host's link to itself,
// by every way of submission.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "lab.hpp"

namespace bulk::lab {
namespace {

// A channel with so many receive slots, that never has more.
BindOptions with_slots(Submission submission, std::uint32_t slots) {
  BindOptions options{.device = device(), .rx_slots = slots, .endpoint_slots = 0, .max_rx_slots = slots};
  options.submission = submission;
  return options;
}

// The pair keeps the link and its lane up; c is the channel that is opened.
class FirstMessage : public BySubmission {
 protected:
  FirstMessage() : pair_(GetParam()), a_(*pair_.a), c_(Node::make(with_slots(GetParam(), 8))) {}
  ~FirstMessage() override { EXPECT_TRUE(pair_.still_works()); }

  // An endpoint from a to `peer` that has just been opened.
  EpHandle open(const Address& peer) {
    a_.log.up.clear();
    a_.log.down.clear();
    const auto ep = a_.channel.ep_open(peer, 77, Opening::with_first);
    EXPECT_TRUE(ep.ok());
    return ep ? *ep : EpHandle{};
  }
  // Another one, with its first message, id 1 and user_data 500, on its way.
  EpHandle open_with(const std::string& text, const Address& peer) {
    return open_with([&](EpHandle ep) { return send(ep, text, 1, 500); }, peer);
  }
  // The same with what `first` sends. A slow host may be too late with it: then it begins anew.
  EpHandle open_with(const std::function<Status(EpHandle)>& first, const Address& peer) {
    EpHandle ep;
    EXPECT_TRUE(wait(
        [&] {
          if (ep) EXPECT_TRUE(is(a_.channel.ep_close(ep), 0));
          ep = open(peer);
          const Status status = first(ep);
          EXPECT_TRUE(is(status, {0, EAGAIN}));
          return !status.again();
        },
        "the first message to be accepted"));
    return ep;
  }
  Status send(EpHandle ep, const std::string& text, std::uint16_t message, std::uint64_t id) {
    return a_.channel.send(ep, Local::user(text.data()), static_cast<std::uint32_t>(text.size()), message,
                           id);
  }
  testing::AssertionResult wait(const std::function<bool()>& condition, const std::string& what) {
    return lab::wait({&a_, pair_.b.get(), c_.get()}, condition, what);
  }
  // Sends patiently until c has all messages with these ids, in this order, behind what it has already.
  void send_in_order(EpHandle ep, std::uint16_t first, std::uint16_t last) {
    for (std::uint16_t i = first; i <= last; ++i) {
      Status status;
      ASSERT_TRUE(wait(
          [&] {
            status = send(ep, "more", i, 1000);
            return !status.again();
          },
          "to be accepted"));
      ASSERT_TRUE(is(status, 0));
    }
    ASSERT_TRUE(wait([&] { return !c_->log.messages.empty() && c_->log.messages.back().id == last; },
                     "all messages"));
    for (std::size_t i = 0; i < c_->log.messages.size(); ++i)
      EXPECT_EQ(c_->log.messages[i].id, c_->log.messages[0].id + i);
  }
  // By an endpoint that is closed again, or a's would share what it has opened.
  void fill_only_slot(Node& full) {
    full.log.hold = true;
    const EpHandle other = pair_.b->connect(full.channel.address(), {&full});
    ASSERT_TRUE(
        is(pair_.b->run(
               [&](std::uint64_t id) { return pair_.b->channel.send(other, Local::user("x"), 1, 9, id); },
               {&full}),
           0));
    ASSERT_TRUE(lab::wait(
        {&full}, [&] { return full.log.received == 1; }, "the only slot to be taken"));
    ASSERT_TRUE(is(pair_.b->channel.ep_close(other), 0));
  }

  Pair pair_;
  Node& a_;
  std::unique_ptr<Node> c_;
};

TEST_P(FirstMessage, is_accepted_before_the_endpoint_is_up_and_stays_the_first) {
  const EpHandle ep = open_with("first", c_->channel.address());
  EXPECT_TRUE(a_.log.up.empty());
  send_in_order(ep, 2, 40);
  EXPECT_TRUE(is(a_.log.find(500)->status, 0));
  EXPECT_EQ(a_.log.up.size(), 1U);
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(c_->log.messages[0].bytes.data()), 5), "first");
}

// An endpoint without anything under way used to be not up yet, for a moment.
TEST_P(FirstMessage, ends_after_its_endpoint_is_up) {
  const EpHandle ep = open_with("first", c_->channel.address());
  ASSERT_TRUE(wait([&] { return a_.log.find(500) != nullptr; }, "the command's end"));
  EXPECT_EQ(a_.log.up.size(), 1U);
  EXPECT_TRUE(is(send(ep, "second", 2, 501), {0, EAGAIN}));
}

TEST_P(FirstMessage, of_every_length_from_a_slot) {
  for (const std::uint32_t length : {0U, 1U, 8U, 511U, 512U}) {
    auto target = Node::make(GetParam());
    const TxSlot slot = a_.channel.tx_acquire();
    fill(std::span(a_.channel.tx_data(slot) + 4000, length), length);
    open_with(
        [&](EpHandle ep) { return a_.channel.send(ep, Local::slot(slot, 4000), length, 3, 500 + length); },
        target->channel.address());
    ASSERT_TRUE(lab::wait(
        {&a_, target.get()},
        [&] { return a_.log.find(500 + length) != nullptr && !target->log.messages.empty(); },
        "the message"));
    EXPECT_TRUE(is(a_.log.find(500 + length)->status, 0));
    EXPECT_EQ(target->log.messages[0].bytes.size(), length);
    EXPECT_TRUE(holds(target->log.messages[0].bytes, length));
  }
}

TEST_P(FirstMessage, that_is_too_long_waits_until_the_endpoint_is_up) {
  const EpHandle ep = open(c_->channel.address());
  const Status status = send(ep, std::string(513, 'x'), 1, 500);
  EXPECT_TRUE(is(status, {EAGAIN, 0}));  // it may be up by now
  ASSERT_TRUE(wait([&] { return a_.log.up.size() == 1; }, "the endpoint to come up"));
  send_in_order(ep, status.again() ? 1 : 2, 3);
}

TEST_P(FirstMessage, is_only_one) {
  const EpHandle ep = open_with("first", c_->channel.address());
  EXPECT_TRUE(is(send(ep, "second", 2, 501), {EAGAIN, 0}));  // it may be up by now
  ASSERT_TRUE(wait([&] { return a_.log.find(500) != nullptr && !c_->log.messages.empty(); }, "the first"));
  EXPECT_EQ(c_->log.messages[0].id, 1);
}

TEST_P(FirstMessage, to_nobody_fails_with_the_endpoint) {
  Address wrong = c_->channel.address();
  wrong.set_token(wrong.token() ^ 1);
  const EpHandle ep = open_with("first", wrong);
  ASSERT_TRUE(wait([&] { return !a_.log.down.empty(); }, "the endpoint to come down"));
  EXPECT_TRUE(is(a_.log.down[0].status, ECONNREFUSED));
  ASSERT_NE(a_.log.find(500), nullptr) << "DOWN comes after the last command's end";
  EXPECT_TRUE(is(a_.log.find(500)->status, ECONNREFUSED));
  EXPECT_TRUE(is(send(ep, "again", 1, 501), ECONNREFUSED));
}

TEST_P(FirstMessage, arrives_although_its_endpoint_is_closed_at_once) {
  const EpHandle ep = open_with("first", c_->channel.address());
  ASSERT_TRUE(is(a_.channel.ep_close(ep), 0));
  ASSERT_TRUE(wait([&] { return a_.log.find(500) != nullptr; }, "the command's end"));
  EXPECT_TRUE(is(a_.log.find(500)->status, 0));
  ASSERT_TRUE(wait([&] { return c_->log.messages.size() == 1; }, "the message"));
  EXPECT_EQ(a_.channel.outstanding(), 0U);
}

TEST_P(FirstMessage, finds_its_endpoint_open_if_nothing_is_sent) {
  open(c_->channel.address());
  ASSERT_TRUE(wait([&] { return a_.log.up.size() == 1; }, "the endpoint to come up"));
}

// It was all of a small window, and had not asked for more.
TEST_P(FirstMessage, that_its_receiver_keeps_leaves_room_for_another) {
  auto small = Node::make(with_slots(GetParam(), 2));
  small->log.hold = true;
  const EpHandle ep = open_with("first", small->channel.address());
  ASSERT_TRUE(lab::wait(
      {&a_, small.get()}, [&] { return !send(ep, "second", 2, 501).again(); },
      "the second message to be accepted"));
  ASSERT_TRUE(lab::wait(
      {&a_, small.get()}, [&] { return small->log.received == 2; }, "both messages"));
}

TEST_P(FirstMessage, flush_waits_for_it) {
  const EpHandle ep = open_with("first", c_->channel.address());
  EXPECT_TRUE(
      is(a_.run([&](std::uint64_t id) { return a_.channel.flush(ep, id); }, {pair_.b.get(), c_.get()}), 0));
  EXPECT_NE(a_.log.find(500), nullptr);
  ASSERT_TRUE(lab::wait(
      {c_.get()}, [&] { return c_->log.messages.size() == 1; }, "the message, without the sender"));
}

TEST_P(FirstMessage, without_a_slot_there_is_sent_again_before_any_other) {
  Node& b = *pair_.b;
  c_->log.hold = true;
  const EpHandle other = b.connect(c_->channel.address(), {c_.get()});
  ASSERT_TRUE(wait(
      [&] {
        static_cast<void>(b.channel.send(other, Local::user("x"), 1, 99, 1));
        return c_->log.received == 8;
      },
      "all slots to be taken"));
  ASSERT_TRUE(is(b.channel.ep_close(other), 0));  // or a's endpoint shares what is open already
  c_->log.hold = false;

  const EpHandle ep = open_with("first", c_->channel.address());
  ASSERT_TRUE(wait([&] { return a_.log.up.size() == 1; }, "the endpoint to come up"));
  EXPECT_EQ(a_.log.find(500), nullptr) << "there is no slot for it";
  EXPECT_TRUE(is(send(ep, "second", 2, 501), EAGAIN));
  EXPECT_EQ(c_->log.received, 8U);
  c_->log.messages.clear();
  for (const RxSlot slot : c_->log.held)
    EXPECT_TRUE(c_->channel.rx_return(slot));
  ASSERT_TRUE(wait([&] { return a_.log.find(500) != nullptr; }, "the first message"));
  EXPECT_TRUE(is(a_.log.find(500)->status, 0));
  send_in_order(ep, 2, 20);
}

// It used to be forgotten, and its command never ended.
TEST_P(FirstMessage, without_a_slot_there_is_cancelled_when_its_endpoint_is_closed) {
  auto full = Node::make(with_slots(GetParam(), 1));
  fill_only_slot(*full);
  for (const bool at_once : {true, false}) {
    a_.log.done.clear();
    const EpHandle ep = open_with("first", full->channel.address());
    if (!at_once) ASSERT_TRUE(wait([&] { return a_.log.up.size() == 1; }, "the endpoint to come up"));
    ASSERT_TRUE(is(a_.channel.ep_close(ep), 0));
    ASSERT_TRUE(wait([&] { return a_.log.find(500) != nullptr; }, "the command's end"));
    EXPECT_TRUE(is(a_.log.find(500)->status, ECANCELED));
  }
  EXPECT_EQ(a_.channel.outstanding(), 0U);
}

TEST_P(FirstMessage, without_a_slot_there_ends_with_its_endpoint) {
  auto full = Node::make(with_slots(GetParam(), 1));
  fill_only_slot(*full);
  const EpHandle ep = open_with("first", full->channel.address());
  ASSERT_TRUE(wait([&] { return a_.log.up.size() == 1; }, "the endpoint to come up"));
  full.reset();
  ASSERT_TRUE(wait([&] { return a_.log.down.size() == 1; }, "the endpoint to come down"));
  ASSERT_NE(a_.log.find(500), nullptr);
  EXPECT_FALSE(a_.log.find(500)->status.ok());
}

BULK_BY_SUBMISSION(FirstMessage);

}  // namespace
}  // namespace bulk::lab
