// SPDX-License-Identifier: BSD-3-Clause
//
// Endpoints and messages between two channels of one process, over the host's link to itself, by every way of
// submission.
#include <gtest/gtest.h>
#include <poll.h>

#include <cstring>
#include <set>
#include <vector>

#include "lab.hpp"
#include "raw.hpp"

namespace bulk::lab {
namespace {

constexpr std::size_t sizes[] = {0,    1,    2,    7,    8,    63,   64,   65,   255,  256,
                                 1023, 4000, 4095, 4096, 4097, 8191, 8192, 8193, 8255, 8256};

class Messages : public BySubmission {
 protected:
  Messages() : pair_(GetParam()), a_(*pair_.a), b_(*pair_.b) {}

  Pair pair_;
  Node& a_;
  Node& b_;
};

TEST_P(Messages, an_endpoint_comes_up_once) {
  EXPECT_EQ(a_.log.up.size(), 1U);
  EXPECT_EQ(b_.log.up.size(), 1U);
  EXPECT_TRUE(a_.log.down.empty());
  EXPECT_EQ(a_.channel.stats()->endpoints, 1U);
}

TEST_P(Messages, an_endpoint_to_an_unknown_token_is_refused) {
  Address wrong = b_.channel.address();
  wrong.set_token(wrong.token() ^ 1);
  ASSERT_TRUE(a_.channel.ep_open(wrong, 1234).ok());
  ASSERT_TRUE(pair_.wait([&] { return !a_.log.down.empty(); }, "the endpoint to come down"));
  EXPECT_TRUE(is(a_.log.down[0].status, ECONNREFUSED));
  EXPECT_EQ(a_.log.down[0].user_data, 1234U);
  EXPECT_TRUE(pair_.still_works());
}

TEST_P(Messages, a_channel_reaches_itself) {
  const EpHandle self = a_.connect(a_.channel.address());
  EXPECT_TRUE(
      is(a_.run([&](std::uint64_t id) { return a_.channel.send(self, Local::user("hello"), 5, 9, id); }), 0));
  ASSERT_TRUE(pair_.wait([&] { return a_.log.messages.size() == 1; }, "the message"));
  EXPECT_EQ(a_.log.messages[0].id, 9);
}

TEST_P(Messages, a_command_before_the_endpoint_is_up_is_put_off) {
  const auto ep = a_.channel.ep_open(b_.channel.address(), 5);
  ASSERT_TRUE(ep.ok());
  EXPECT_TRUE(is(a_.channel.send(*ep, Local::user("hello"), 5, 9, 1), {EAGAIN, 0}));
  ASSERT_TRUE(pair_.wait([&] { return a_.log.up.size() == 2; }, "the endpoint to come up"));
}

TEST_P(Messages, of_every_size_from_slots) {
  for (std::size_t i = 0; i < std::size(sizes); ++i) {
    std::vector<std::byte> bytes(sizes[i]);
    fill(bytes, i);
    ASSERT_TRUE(is(pair_.send_patiently(bytes, static_cast<std::uint16_t>(i)), 0)) << sizes[i] << " bytes";
  }
  ASSERT_TRUE(pair_.wait([&] { return b_.log.messages.size() == std::size(sizes); }, "all messages"));
  for (std::size_t i = 0; i < std::size(sizes); ++i) {
    EXPECT_EQ(b_.log.messages[i].bytes.size(), sizes[i]);
    EXPECT_EQ(b_.log.messages[i].id, i);
    EXPECT_TRUE(holds(b_.log.messages[i].bytes, i)) << sizes[i] << " bytes";
  }
}

TEST_P(Messages, of_every_size_from_user_memory_of_every_alignment) {
  Pages buffer(4 * 4096);
  for (std::size_t i = 0; i < std::size(sizes); ++i) {
    std::byte* at = buffer.data() + (i * 611) % 4096;
    fill(std::span(at, sizes[i]), i);
    ASSERT_TRUE(is(a_.run(
                       [&](std::uint64_t id) {
                         return a_.channel.send(pair_.ab, Local::user(at),
                                                static_cast<std::uint32_t>(sizes[i]),
                                                static_cast<std::uint16_t>(i), id);
                       },
                       {&b_}),
                   0));
    std::memset(buffer.data(), 0xee, buffer.size());
  }
  ASSERT_TRUE(pair_.wait([&] { return b_.log.messages.size() == std::size(sizes); }, "all messages"));
  for (std::size_t i = 0; i < std::size(sizes); ++i) {
    ASSERT_EQ(b_.log.messages[i].bytes.size(), sizes[i]);
    EXPECT_TRUE(holds(b_.log.messages[i].bytes, i)) << sizes[i] << " bytes";
  }
}

TEST_P(Messages, from_user_memory_are_copied_before_they_are_accepted) {
  Pages buffer(4096);
  for (std::uint16_t i = 0; i < 20; ++i) {
    fill(buffer.span().first(2000), i);
    Status status;
    ASSERT_TRUE(pair_.wait(
        [&] {
          status = a_.channel.send(pair_.ab, Local::user(buffer.data()), 2000, i, 1000 + i);
          return !status.again();
        },
        "to be accepted"));
    ASSERT_TRUE(is(status, 0));
    fill(buffer.span(), 99);
  }
  ASSERT_TRUE(pair_.wait([&] { return b_.log.messages.size() == 20; }, "all messages"));
  for (std::uint16_t i = 0; i < 20; ++i)
    EXPECT_TRUE(holds(b_.log.messages[i].bytes, i)) << i;
}

TEST_P(Messages, from_within_a_slot) {
  for (const std::uint32_t offset : {1U, 100U, 4090U, 8000U, 8256U}) {
    const std::uint32_t length = 8256 - offset;
    const TxSlot slot = a_.channel.tx_acquire();
    fill(std::span(a_.channel.tx_data(slot) + offset, length), offset);
    const std::size_t before = b_.log.messages.size();
    ASSERT_TRUE(is(a_.run(
                       [&](std::uint64_t id) {
                         return a_.channel.send(pair_.ab, Local::slot(slot, offset), length, 1, id);
                       },
                       {&b_}),
                   0));
    ASSERT_TRUE(pair_.wait([&] { return b_.log.messages.size() > before; }, "the message"));
    ASSERT_EQ(b_.log.messages[before].bytes.size(), length);
    EXPECT_TRUE(holds(b_.log.messages[before].bytes, offset));
  }
}

TEST_P(Messages, arrive_in_order_and_exactly_once) {
  constexpr std::uint16_t total = 2000;
  std::vector<std::byte> bytes(64);
  for (std::uint16_t i = 0; i < total; ++i) {
    fill(bytes, i);
    ASSERT_TRUE(is(pair_.send_patiently(std::span(bytes).first(i % 64), i), 0));
  }
  ASSERT_TRUE(
      pair_.wait([&] { return b_.log.received >= total && a_.channel.outstanding() == 0; }, "all messages"));
  ASSERT_EQ(b_.log.messages.size(), total);
  for (std::uint16_t i = 0; i < total; ++i) {
    ASSERT_EQ(b_.log.messages[i].id, i);
    ASSERT_EQ(b_.log.messages[i].bytes.size(), i % 64U);
    ASSERT_TRUE(holds(b_.log.messages[i].bytes, i));
  }
  EXPECT_EQ(a_.log.done.size(), total);
}

TEST_P(Messages, go_both_ways_at_once) {
  constexpr std::uint16_t total = 500;
  std::uint16_t sent_a = 0;
  std::uint16_t sent_b = 0;
  const auto push = [&](Node& from, EpHandle ep, std::uint16_t& sent) {
    while (sent < total) {
      const TxSlot slot = from.channel.tx_acquire();
      if (!slot.valid()) return;
      fill(std::span(from.channel.tx_data(slot), 3000), sent);
      if (const Status status = from.channel.send(ep, slot, 3000, sent, sent); !status) {
        EXPECT_TRUE(status.again()) << status.text();
        from.channel.tx_release(slot);
        return;
      }
      ++sent;
    }
  };
  ASSERT_TRUE(pair_.wait(
      [&] {
        push(a_, pair_.ab, sent_a);
        push(b_, pair_.ba, sent_b);
        return a_.log.received == total && b_.log.received == total;
      },
      "all messages"));
  for (std::uint16_t i = 0; i < total; ++i) {
    ASSERT_EQ(a_.log.messages[i].id, i);
    ASSERT_TRUE(holds(a_.log.messages[i].bytes, i));
    ASSERT_EQ(b_.log.messages[i].id, i);
    ASSERT_TRUE(holds(b_.log.messages[i].bytes, i));
  }
}

// The receiver keeps every slot: the sender must be stopped, and nothing may be lost.
TEST_P(Messages, wait_for_a_receiver_that_holds_its_slots) {
  // An event ring with places for all slots that a channel may have.
  Pair pair(BindOptions{.device = device(), .events = 4096, .submission = GetParam()});
  Node& a = *pair.a;
  Node& b = *pair.b;
  b.log.hold = true;
  std::uint16_t sent = 0;
  Status status;
  std::byte bytes[8];
  const auto push = [&] {
    for (;;) {
      fill(bytes, sent);
      status = a.channel.send(pair.ab, Local::user(bytes), 8, sent, sent);
      if (!status) return;
      ++sent;
      if (sent == 5000) return;
    }
  };
  const std::uint32_t limit = b.channel.limits().rx_slots;
  ASSERT_TRUE(pair.wait(
      [&] {
        push();
        return b.log.held.size() == limit || sent == 5000 || (!status.ok() && !status.again());
      },
      "the receiver to hold all slots it may have, " + std::to_string(limit)));
  EXPECT_TRUE(is(status, EAGAIN));
  EXPECT_EQ(b.channel.rx_total(), limit) << "the library grows what the kernel allows";
  EXPECT_GE(b.log.rx_low, 1U);
  EXPECT_LE(sent, limit + 600) << "messages beyond the receiver's slots were accepted without end";

  const std::uint16_t before = sent;
  std::size_t writable = a.log.writable.size();
  b.log.hold = false;
  for (const RxSlot slot : b.log.held)
    EXPECT_TRUE(b.channel.rx_return(slot));
  EXPECT_TRUE(b.channel.flush_returns().ok());
  // Tries only when told to.
  ASSERT_TRUE(pair.wait(
      [&] {
        if (a.log.writable.size() > writable) {
          writable = a.log.writable.size();
          push();
        }
        return sent > before;
      },
      "WRITABLE, and then a message to be accepted"));
  ASSERT_TRUE(pair.wait([&] { return b.log.received == sent; }, "all messages that were accepted"));
  for (std::uint16_t i = 0; i < sent; ++i) {
    ASSERT_EQ(b.log.messages[i].id, i);
    ASSERT_TRUE(holds(b.log.messages[i].bytes, i));
  }
}

TEST_P(Messages, to_one_stopped_receiver_do_not_delay_those_to_another) {
  Node& stopped = b_;
  stopped.log.hold = true;
  auto other = Node::make(GetParam());
  const EpHandle to_other = a_.connect(other->channel.address(), {other.get()});
  // b makes no progress from now on
  std::uint64_t accepted = 0;
  while (a_.channel.send(pair_.ab, Local::user("x"), 1, 1, 1).ok()) {
    if (++accepted > 10000) FAIL() << "10000 messages were accepted for a process that takes none";
  }
  for (std::uint16_t i = 0; i < 100; ++i) {
    ASSERT_TRUE(
        is(a_.run([&](std::uint64_t id) { return a_.channel.send(to_other, Local::user("abc"), 3, i, id); },
                  {other.get()}),
           0));
  }
  ASSERT_TRUE(lab::wait(
      {&a_, other.get()}, [&] { return other->log.received == 100; }, "100 messages"));
}

TEST_P(Messages, held_slots_keep_their_content) {
  b_.log.hold = true;
  std::vector<std::byte> bytes(8256);
  for (std::uint16_t i = 0; i < 10; ++i) {
    fill(bytes, i);
    ASSERT_TRUE(is(pair_.send_patiently(bytes, i), 0));
  }
  ASSERT_TRUE(pair_.wait([&] { return b_.log.held.size() == 10; }, "10 messages"));
  b_.log.hold = false;
  for (std::uint16_t i = 0; i < 100; ++i)
    ASSERT_TRUE(is(pair_.send_patiently(std::span(bytes).first(100), i), 0));
  ASSERT_TRUE(pair_.wait([&] { return b_.log.received == 110; }, "100 more"));
  for (std::uint16_t i = 0; i < 10; ++i) {
    EXPECT_TRUE(holds(std::span<const std::byte>(b_.channel.rx_data(b_.log.held[i]), 8256), i)) << i;
    EXPECT_TRUE(b_.channel.rx_return(b_.log.held[i]));
  }
}

TEST_P(Messages, flush_ends_after_what_was_sent_before) {
  for (std::uint16_t i = 0; i < 50; ++i)
    ASSERT_TRUE(is(pair_.send_patiently(std::vector<std::byte>(500), i), 0));
  for (const bool remote : {false, true}) {
    EXPECT_TRUE(
        is(a_.run([&](std::uint64_t id) { return a_.channel.flush(pair_.ab, id, remote); }, {&b_}), 0));
    EXPECT_EQ(a_.channel.outstanding(), 0U);
  }
  // accepted into the remote channel: there without anything more from this side
  ASSERT_TRUE(lab::wait(
      {&b_}, [&] { return b_.log.received == 50; }, "50 messages"));
}

TEST_P(Messages, flush_of_an_idle_endpoint_ends) {
  EXPECT_TRUE(is(a_.run([&](std::uint64_t id) { return a_.channel.flush(pair_.ab, id); }, {&b_}), 0));
}

TEST_P(Messages, fences_are_accepted) {
  for (const Fence fence : {Fence::endpoint, Fence::channel}) {
    EXPECT_TRUE(is(a_.run(
                       [&](std::uint64_t id) {
                         return a_.channel.send(pair_.ab, Local::user("f"), 1, 1, id, {}, fence);
                       },
                       {&b_}),
                   0));
  }
}

TEST_P(Messages, a_closed_endpoint_says_nothing_more) {
  EXPECT_TRUE(is(a_.channel.ep_close(pair_.ab), 0));
  EXPECT_TRUE(is(a_.channel.ep_close(pair_.ab), ENOENT)) << "twice";
  EXPECT_TRUE(is(a_.channel.send(pair_.ab, Local::user("x"), 1, 1, 1), ENOENT));
  EXPECT_EQ(a_.channel.stats()->endpoints, 0U);
  pair_.ab = a_.connect(b_.channel.address(), {&b_});
  EXPECT_TRUE(pair_.still_works());
  EXPECT_TRUE(a_.log.down.empty());
}

TEST_P(Messages, closing_ends_every_command_exactly_once) {
  b_.log.hold = true;
  std::uint64_t accepted = 0;
  while (accepted < 200 && a_.channel.send(pair_.ab, Local::user("x"), 1, 1, 1000 + accepted).ok())
    ++accepted;
  ASSERT_GT(accepted, 0U);
  EXPECT_TRUE(is(a_.channel.ep_close(pair_.ab), 0));
  ASSERT_TRUE(pair_.wait([&] { return a_.channel.outstanding() == 0; }, "all commands to end"));
  std::multiset<std::uint64_t> ended;
  for (const Done& d : a_.log.done) {
    EXPECT_TRUE(is(d.status, {0, ECANCELED}));
    ended.insert(d.user_data);
  }
  EXPECT_EQ(ended.size(), accepted);
  for (std::uint64_t i = 0; i < accepted; ++i)
    EXPECT_EQ(ended.count(1000 + i), 1U) << "command " << i;
}

// Endpoints between the same channels share one window: what one of them did not send is the others'.
TEST_P(Messages, closing_an_endpoint_with_unsent_messages_leaves_the_window_to_others) {
  for (int round = 0; round < 50; ++round) {
    const EpHandle ep = a_.connect(b_.channel.address(), {&b_});
    for (int i = 0; i < 64 && a_.channel.send(ep, Local::user("x"), 1, 1, a_.next_id++).ok();)
      ++i;
    ASSERT_TRUE(is(a_.channel.ep_close(ep), 0));
    ASSERT_TRUE(pair_.wait([&] { return a_.channel.outstanding() == 0; }, "all commands to end"));
  }
  EXPECT_TRUE(pair_.still_works());
}

TEST_P(Messages, thousands_of_endpoints_to_made_up_tokens_harm_nobody) {
  constexpr std::size_t count = 5000;
  Address wrong = b_.channel.address();
  for (std::size_t i = 0; i < count; ++i) {
    wrong.set_token(b_.channel.address().token() + 1 + i);
    ASSERT_TRUE(a_.channel.ep_open(wrong, i).ok()) << i;
  }
  ASSERT_TRUE(pair_.wait([&] { return a_.log.down.size() >= count; }, "all of them to come down"));
  for (const EndpointEvent& e : a_.log.down)
    ASSERT_TRUE(is(e.status, ECONNREFUSED)) << e.user_data;
  EXPECT_TRUE(pair_.still_works());
}

TEST_P(Messages, a_receiver_that_goes_away_takes_the_endpoint_down) {
  auto other = Node::make(GetParam());
  const EpHandle ep = a_.connect(other->channel.address(), {other.get()});
  other.reset();
  ASSERT_TRUE(pair_.wait([&] { return !a_.log.down.empty(); }, "the endpoint to come down"));
  EXPECT_EQ(a_.log.down[0].ep, ep);
  EXPECT_FALSE(a_.log.down[0].status.ok());
  const Status later = a_.channel.send(ep, Local::user("x"), 1, 1, 1);
  EXPECT_FALSE(later.ok());
  EXPECT_FALSE(later.again()) << "there is nothing to wait for";
  EXPECT_TRUE(pair_.still_works());
}

TEST_P(Messages, messages_before_the_sender_goes_away_still_arrive) {
  auto other = Node::make(GetParam());
  const EpHandle ep = other->connect(b_.channel.address(), {&b_});
  for (std::uint16_t i = 0; i < 10; ++i) {
    ASSERT_TRUE(
        is(other->run([&](std::uint64_t id) { return other->channel.send(ep, Local::user("bye"), 3, i, id); },
                      {&b_}),
           0));
  }
  EXPECT_TRUE(is(other->run([&](std::uint64_t id) { return other->channel.flush(ep, id); }, {&b_}), 0));
  const std::uint64_t before = b_.log.received;
  other.reset();
  ASSERT_TRUE(pair_.wait([&] { return b_.log.received == 10; },
                         "10 messages, " + std::to_string(before) + " had come"));
}

TEST_P(Messages, many_endpoints_between_the_same_channels) {
  std::vector<EpHandle> eps;
  for (int i = 0; i < 20; ++i)
    eps.push_back(a_.connect(b_.channel.address(), {&b_}));
  for (std::size_t i = 0; i < eps.size(); ++i) {
    ASSERT_TRUE(is(a_.run(
                       [&](std::uint64_t id) {
                         return a_.channel.send(eps[i], Local::user("x"), 1, static_cast<std::uint16_t>(i),
                                                id);
                       },
                       {&b_}),
                   0));
  }
  ASSERT_TRUE(pair_.wait([&] { return b_.log.received == eps.size(); }, "a message of each endpoint"));
  for (const EpHandle ep : eps)
    EXPECT_TRUE(is(a_.channel.ep_close(ep), 0));
}

// Small messages share PDUs, large ones and RDMA do not: nothing may overtake.
TEST_P(Messages, small_and_large_ones_and_puts_of_many_endpoints_keep_their_order) {
  constexpr std::uint16_t total = 600;
  constexpr std::size_t some[] = {0, 1, 8, 511, 512, 513, 7, 3000, 64, 8256, 9, 100};
  std::vector<EpHandle> eps{pair_.ab};
  for (int i = 0; i < 3; ++i)
    eps.push_back(a_.connect(b_.channel.address(), {&b_}));
  Pages from(4096);
  Pages to(total * 8);
  auto own = a_.domain.register_memory(from.data(), from.size(), Access::local);
  auto peer = b_.domain.register_memory(to.data(), to.size(), Access::remote_read_write);
  ASSERT_TRUE(own.ok() && peer.ok());

  std::vector<std::byte> bytes(max_message);
  std::size_t looked = 0;
  const auto look = [&] {
    for (; looked < b_.log.messages.size(); ++looked) {
      const Received& m = b_.log.messages[looked];
      ASSERT_EQ(m.bytes.size(), some[m.id % std::size(some)]);
      ASSERT_TRUE(holds(m.bytes, m.id)) << m.id;
      // The PUT of the same endpoint that was submitted before this message is visible.
      std::uint64_t put = 0;
      std::memcpy(&put, to.data() + m.id * 8, sizeof(put));
      ASSERT_EQ(put, ~std::uint64_t{0}) << m.id;
    }
  };
  fill(from.span(), 1);
  std::memset(from.data(), 0xff, 8);
  for (std::uint16_t i = 0; i < total; ++i) {
    const EpHandle ep = eps[i % eps.size()];
    const std::size_t size = some[i % std::size(some)];
    fill(std::span(bytes).first(size), i);
    const auto patiently = [&](auto&& submit) {
      Status status;
      ASSERT_TRUE(pair_.wait(
          [&] {
            status = submit();
            return !status.again();
          },
          "to be accepted"));
      ASSERT_TRUE(is(status, 0));
    };
    patiently([&] {
      return a_.channel.submit(
          Command::put(ep, Local::region(own->handle(), from.data()), 8,
                       {reinterpret_cast<std::uintptr_t>(to.data() + i * 8), peer->key()}, 2));
    });
    patiently([&] {
      return a_.channel.send(ep, Local::user(bytes.data()), static_cast<std::uint32_t>(size), i, 3);
    });
    look();
  }
  ASSERT_TRUE(pair_.wait([&] { return b_.log.received >= total && a_.channel.outstanding() == 0; }, "all"));
  look();
  std::vector<int> last(eps.size(), -1);
  for (const Received& m : b_.log.messages) {
    EXPECT_GT(m.id, last[m.id % eps.size()]);
    last[m.id % eps.size()] = m.id;
  }
  EXPECT_EQ(b_.log.messages.size(), total);
}

TEST_P(Messages, a_sender_that_runs_out_of_its_window_again_and_again_gets_a_larger_one) {
  const std::uint32_t before = b_.channel.rx_total();
  ASSERT_LT(before, b_.channel.limits().rx_slots);
  std::uint64_t sent = 0;
  ASSERT_TRUE(pair_.wait(
      [&] {
        Status status;  // until the window is spent
        do {
          status = a_.channel.send(pair_.ab, Local::user("hello"), 5, 9, 1);
          sent += status.ok() ? 1 : 0;
        } while (status.ok());
        EXPECT_TRUE(status.again()) << status.text();
        return b_.channel.rx_total() > before || !status.again();
      },
      "the receiver to have more slots"));
  ASSERT_TRUE(pair_.wait([&] { return b_.log.received == sent && a_.channel.outstanding() == 0; }, "all"));
}

TEST_P(Messages, poll_wakes_a_sleeper) {
  pollfd file{b_.channel.poll_fd(), POLLIN, 0};
  // until nothing is left to come
  while (!b_.channel.arm())
    b_.channel.progress(b_.log);
  EXPECT_EQ(::poll(&file, 1, 0), 0) << "readable without an event";
  EXPECT_TRUE(
      is(a_.run([&](std::uint64_t id) { return a_.channel.send(pair_.ab, Local::user("x"), 1, 1, id); }), 0));
  EXPECT_EQ(::poll(&file, 1, limit_seconds() * 1000), 1) << "a message does not wake poll()";
  EXPECT_NE(file.revents & POLLIN, 0);
  EXPECT_FALSE(b_.channel.arm());
  b_.channel.progress(b_.log);
  EXPECT_EQ(b_.log.received, 1U);
}

// The ring's words are looked at as they are: waking is what takes the process's wish back.
TEST(QuietCommands, wake_only_who_has_armed_for_every_event_or_if_they_fail) {
  const std::unique_ptr<Node> receiver_ = Node::make(Submission::ioctl);
  Node& receiver = *receiver_;
  RawChannel sender;
  auto open = good_ep_open(receiver.channel.address());
  ASSERT_TRUE(is(raw(sender.fd.get(), RDMA_BULK_IOC_EP_OPEN, &open), 0));
  const EpHandle ep{open.ep};
  const auto until = [&](std::uint32_t events, const char* what) {
    return wait(
        {&receiver}, [&] { return sender.producer() == events; }, what);
  };
  ASSERT_TRUE(until(1, "the endpoint to come up"));
  const Command loud = Command::send(ep, Local::user("x"), 1, 1, 1);
  const Command quiet = loud.quiet();
  const auto armed_after = [&](std::uint32_t wish, const Command& command) {
    for (bool accepted = false; !accepted;) {
      const std::uint32_t before = sender.producer();
      __atomic_store_n(&sender.ctrl->consumer, before, __ATOMIC_RELEASE);
      __atomic_store_n(&sender.ctrl->armed, wish, __ATOMIC_SEQ_CST);
      const Status status = sender.submit(command);
      EXPECT_TRUE(is(status, {0, EAGAIN}));
      accepted = !status.again();
      if (!until(before + 1, accepted ? "the command's end" : "a window")) ADD_FAILURE();
    }
    return __atomic_load_n(&sender.ctrl->armed, __ATOMIC_SEQ_CST);
  };
  EXPECT_EQ(armed_after(RDMA_BULK_ARMED, quiet), 0U);
  EXPECT_EQ(armed_after(RDMA_BULK_ARMED_LOUD, quiet), std::uint32_t{RDMA_BULK_ARMED_LOUD});
  EXPECT_EQ(armed_after(RDMA_BULK_ARMED_LOUD, loud), 0U);

  // One of these is refused at once (over the adapter the memory that is not there, over the direct path the
  // wrong key), the other fails later.
  Pages memory(4096);
  const auto region =
      receiver.domain.register_memory(memory.data(), memory.size(), Access::remote_read_write);
  ASSERT_TRUE(region.ok());
  Pages hole(4096);
  ::munmap(hole.data(), hole.size());
  Key wrong;
  wrong.fill(std::byte{0x11});
  const std::uint64_t address = reinterpret_cast<std::uintptr_t>(memory.data());
  unsigned failed = 0;
  for (const Command& put :
       {Command::put(ep, Local::slot(TxSlot{0}), 1, Remote{address, wrong}, 1),
        Command::put(ep, Local::user(hole.data()), 1, Remote{address, region->key()}, 1)}) {
    const std::uint32_t before = sender.producer();
    __atomic_store_n(&sender.ctrl->consumer, before, __ATOMIC_RELEASE);
    __atomic_store_n(&sender.ctrl->armed, RDMA_BULK_ARMED_LOUD, __ATOMIC_SEQ_CST);
    const Status accepted = sender.submit(put.quiet());
    EXPECT_TRUE(is(accepted, {0, EKEYREJECTED, EFAULT}));
    if (!accepted) continue;
    ++failed;
    ASSERT_TRUE(until(before + 1, "the command's end"));
    EXPECT_EQ(__atomic_load_n(&sender.ctrl->armed, __ATOMIC_SEQ_CST), 0U) << "it has failed";
    EXPECT_NE(sender.event(before).result, 0);
  }
  EXPECT_EQ(failed, 1U);
}

TEST_P(Messages, are_counted) {
  constexpr std::uint64_t total = 25;
  for (std::uint16_t i = 0; i < total; ++i)
    ASSERT_TRUE(is(pair_.send_patiently(std::vector<std::byte>(100), i), 0));
  ASSERT_TRUE(
      pair_.wait([&] { return b_.log.received == total && a_.channel.outstanding() == 0; }, "all messages"));
  EXPECT_EQ(a_.channel.stats()->tx_messages, total);
  EXPECT_EQ(a_.channel.stats()->tx_bytes, 100 * total);
  EXPECT_EQ(b_.channel.stats()->rx_messages, total);
  EXPECT_EQ(b_.channel.stats()->rx_bytes, 100 * total);
  EXPECT_EQ(a_.channel.stats()->failed, 0U);
}

TEST_P(Messages, with_headroom_leave_it_alone) {
  auto other = Node::make(BindOptions{.device = device(), .rx_headroom = 100, .submission = GetParam()});
  const EpHandle ep = a_.connect(other->channel.address(), {other.get()});
  other->log.hold = true;
  const auto send = [&] {
    return a_.run([&](std::uint64_t id) { return a_.channel.send(ep, Local::user("12345678"), 8, 1, id); },
                  {other.get()});
  };
  ASSERT_TRUE(is(send(), 0));
  ASSERT_TRUE(lab::wait(
      {other.get()}, [&] { return other->log.held.size() == 1; }, "a message"));
  std::byte* data = other->channel.rx_data(other->log.held[0]);
  EXPECT_EQ(std::memcmp(data, "12345678", 8), 0);
  // Mark the headroom of this slot, then let messages go until it has been used again.
  fill(std::span(data - 100, 100), 3);
  const RxSlot slot = other->log.held[0];
  other->channel.rx_return(slot);
  other->log.held.clear();
  for (int i = 0; i < 100 && (other->log.held.empty() || other->log.held.back() != slot); ++i) {
    for (const RxSlot held : other->log.held)
      other->channel.rx_return(held);
    other->log.held.clear();
    ASSERT_TRUE(is(send(), 0));
    ASSERT_TRUE(lab::wait(
        {other.get()}, [&] { return !other->log.held.empty(); }, "a message"));
  }
  EXPECT_TRUE(holds(std::span<const std::byte>(data - 100, 100), 3)) << "the kernel has written the headroom";
}

BULK_BY_SUBMISSION(Messages);

}  // namespace
}  // namespace bulk::lab
