// SPDX-License-Identifier: BSD-3-Clause
//
// Active messages, pending requests and what interfaces tell of themselves: two interfaces of one process.
#include <poll.h>

#include <array>
#include <cstring>
#include <deque>
#include <thread>

#include "node.hpp"

namespace {

using namespace bulk::test;

class Message : public testing::Test {
 protected:
  Node sender;
  Node receiver;
  Endpoint ep{sender, receiver};

  void expect_arrived(unsigned id, const std::vector<std::byte>& bytes) {
    ASSERT_TRUE(wait_until({&sender, &receiver}, [&] { return !receiver.arrived.empty(); }));
    EXPECT_EQ(receiver.arrived.front().id, id);
    EXPECT_EQ(receiver.arrived.front().bytes, bytes);
    receiver.arrived.erase(receiver.arrived.begin());
  }
};

constexpr std::array<std::size_t, 9> lengths{0, 1, 7, 8, 64, 1000, 4096, 8191, 8192};

std::vector<std::byte> with_header(std::uint64_t header, const std::vector<std::byte>& bytes) {
  std::vector<std::byte> all(sizeof(header));
  std::memcpy(all.data(), &header, sizeof(header));
  all.insert(all.end(), bytes.begin(), bytes.end());
  return all;
}

TEST_F(Message, ShortOnesArriveWithTheirHeader) {
  for (const std::size_t length : lengths) {
    const auto bytes = pattern(length, 3);
    ASSERT_EQ(repeat({&sender, &receiver},
                     [&] {
                       return uct_ep_am_short(ep.get(), 5, 0x1122334455667788, bytes.data(),
                                              static_cast<unsigned>(bytes.size()));
                     }),
              UCS_OK);
    expect_arrived(5, with_header(0x1122334455667788, bytes));
  }
}

TEST_F(Message, PackedOnesArrive) {
  for (const std::size_t length : lengths) {
    auto bytes = pattern(length, 4);
    ssize_t packed = UCS_ERR_NO_RESOURCE;
    ASSERT_EQ(repeat({&sender, &receiver},
                     [&] {
                       packed = uct_ep_am_bcopy(ep.get(), 31, pack_bytes, &bytes, 0);
                       return packed < 0 ? static_cast<ucs_status_t>(packed) : UCS_OK;
                     }),
              UCS_OK);
    EXPECT_EQ(packed, static_cast<ssize_t>(length));
    expect_arrived(31, bytes);
  }
}

TEST_F(Message, GatheredOnesArriveAsOne) {
  auto first = pattern(100, 5);
  auto second = pattern(3000, 6);
  const std::uint64_t header = 77;
  const std::array<uct_iov_t, 3> iov{uct_iov_t{first.data(), first.size(), UCT_MEM_HANDLE_NULL, 0, 1},
                                     uct_iov_t{nullptr, 0, UCT_MEM_HANDLE_NULL, 0, 1},
                                     uct_iov_t{second.data(), 1000, UCT_MEM_HANDLE_NULL, 1500, 2}};
  auto expected = first;
  expected.insert(expected.end(), second.begin(), second.begin() + 1000);
  expected.insert(expected.end(), second.begin() + 1500, second.begin() + 2500);

  Completion completion;
  ASSERT_EQ(repeat({&sender, &receiver},
                   [&] {
                     return uct_ep_am_zcopy(ep.get(), 1, &header, sizeof(header), iov.data(), iov.size(), 0,
                                            &completion);
                   }),
            UCS_OK);
  std::fill(first.begin(), first.end(), std::byte{0});  // ours again at once
  expect_arrived(1, with_header(header, expected));
  EXPECT_FALSE(completion.done);

  ASSERT_EQ(repeat({&sender, &receiver}, [&] { return uct_ep_am_short_iov(ep.get(), 2, &iov[2], 1); }),
            UCS_OK);
  expect_arrived(2, {expected.begin() + 100, expected.end()});
}

TEST_F(Message, ManyArriveInOrderWhateverTheResources) {
  constexpr unsigned count = 2000;
  unsigned sent = 0;
  ASSERT_TRUE(wait_until({&sender, &receiver}, [&] {
    while (sent < count && uct_ep_am_short(ep.get(), 0, sent, nullptr, 0) == UCS_OK)
      ++sent;
    return receiver.arrived.size() == count;
  }));
  for (unsigned i = 0; i < count; ++i)
    EXPECT_EQ(receiver.arrived[i].bytes, with_header(i, {})) << i;
}

TEST_F(Message, AnInterfaceReachesItself) {
  Endpoint self(sender, sender);
  ASSERT_EQ(repeat({&sender}, [&] { return uct_ep_am_short(self.get(), 9, 1, nullptr, 0); }), UCS_OK);
  ASSERT_TRUE(wait_until({&sender}, [&] { return sender.arrived.size() == 1; }));
}

TEST_F(Message, FlushEndsAfterEverythingBeforeIt) {
  auto bytes = pattern(5000, 1);
  for (unsigned i = 0; i < 20; ++i) {
    ASSERT_EQ(repeat({&sender, &receiver},
                     [&] {
                       const ssize_t packed = uct_ep_am_bcopy(ep.get(), 3, pack_bytes, &bytes, 0);
                       return packed < 0 ? static_cast<ucs_status_t>(packed) : UCS_OK;
                     }),
              UCS_OK);
  }
  Completion completion;
  const ucs_status_t status =
      repeat({&sender, &receiver}, [&] { return uct_ep_flush(ep.get(), UCT_FLUSH_FLAG_LOCAL, &completion); });
  ASSERT_TRUE(status == UCS_OK || status == UCS_INPROGRESS) << ucs_status_string(status);
  ASSERT_TRUE(wait_until({&sender, &receiver}, [&] { return completion.done || status == UCS_OK; }));
  EXPECT_EQ(completion.status, UCS_OK);
  EXPECT_EQ(uct_ep_flush(ep.get(), UCT_FLUSH_FLAG_REMOTE, nullptr), UCS_OK);
  ASSERT_TRUE(wait_until({&sender, &receiver}, [&] {
    return uct_iface_flush(sender.iface(), UCT_FLUSH_FLAG_LOCAL, nullptr) == UCS_OK;
  }));
  ASSERT_TRUE(wait_until({&sender, &receiver}, [&] { return receiver.arrived.size() == 20; }));
}

// ---- kept messages ----

TEST(KeptMessage, StaysUntilItIsReleased) {
  Node sender;
  Node receiver({.rx_headroom = 104, .config = {{"SLOTS", "32"}}});
  Endpoint ep(sender, receiver);
  receiver.keep = true;
  auto bytes = pattern(600, 8);
  // Some may be kept; when few buffers are left, the receiver has to copy.
  for (unsigned i = 0; i < 300; ++i) {
    ASSERT_EQ(repeat({&sender, &receiver},
                     [&] {
                       const ssize_t packed = uct_ep_am_bcopy(ep.get(), 3, pack_bytes, &bytes, 0);
                       return packed < 0 ? static_cast<ucs_status_t>(packed) : UCS_OK;
                     }),
              UCS_OK);
  }
  ASSERT_TRUE(wait_until({&sender, &receiver}, [&] { return receiver.arrived.size() == 300; }));
  EXPECT_FALSE(receiver.kept.empty());
  for (void* descriptor : receiver.kept) {
    EXPECT_TRUE(holds({static_cast<std::byte*>(descriptor) + 104, 600}, 8));
  }
  receiver.release_kept();
  receiver.keep = false;
  ASSERT_EQ(repeat({&sender, &receiver}, [&] { return uct_ep_am_short(ep.get(), 3, 0, nullptr, 0); }),
            UCS_OK);
  ASSERT_TRUE(wait_until({&sender, &receiver}, [&] { return receiver.arrived.size() == 301; }));
}

// ---- pending requests ----

struct Request : uct_pending_req_t {
  uct_ep_h ep;
  unsigned number;
  std::vector<unsigned>* log;

  static ucs_status_t run(uct_pending_req_t* self) {
    auto& request = *static_cast<Request*>(self);
    const ucs_status_t status = uct_ep_am_short(request.ep, 0, request.number, nullptr, 0);
    if (status == UCS_OK) request.log->push_back(request.number);
    return status;
  }
};

class Pending : public testing::Test {
 protected:
  Node sender;
  Node receiver;
  std::deque<Request> requests;  // the endpoint may still have some at its end
  std::vector<unsigned> log;
  Endpoint ep{sender, receiver};
  unsigned sent = 0;

  // Sends until there are no resources, without any progress.
  void exhaust() {
    while (uct_ep_am_short(ep.get(), 0, sent, nullptr, 0) == UCS_OK)
      ++sent;
  }
  ucs_status_t add(unsigned number) {
    requests.push_back({});
    Request& request = requests.back();
    request.func = Request::run;
    request.ep = ep.get();
    request.number = number;
    request.log = &log;
    return uct_ep_pending_add(ep.get(), &request, 0);
  }
};

// A PUT on an endpoint that is not connected yet is queued, and nothing else is under way: UCP takes a
// flushed interface to mean that all has arrived. (MPI_Win_fence returned too early; found by sys-mpi,
// rma-fence.)
TEST_F(Pending, KeepsTheInterfaceFromBeingFlushed) {
  Memory memory(receiver, 64);
  struct Put : uct_pending_req_t {
    uct_ep_h ep;
    std::uint64_t to;
    uct_rkey_t rkey;
    std::uint64_t value = 0x1122334455667788;
  } put{{}, ep.get(), memory.address(), memory.rkey()};
  put.func = [](uct_pending_req_t* self) {
    const auto& me = *static_cast<Put*>(self);
    return uct_ep_put_short(me.ep, &me.value, sizeof(me.value), me.to, me.rkey);
  };
  ASSERT_EQ(put.func(&put), UCS_ERR_NO_RESOURCE);
  ASSERT_EQ(uct_ep_pending_add(ep.get(), &put, 0), UCS_OK);
  EXPECT_EQ(uct_iface_flush(sender.iface(), 0, nullptr), UCS_INPROGRESS);
  ASSERT_TRUE(wait_until({&sender, &receiver},
                         [&] { return uct_iface_flush(sender.iface(), 0, nullptr) == UCS_OK; }));
  EXPECT_EQ(std::memcmp(memory.data(), &put.value, sizeof(put.value)), 0);
}

TEST_F(Pending, WhenPurgedKeepsNobody) {
  exhaust();
  ASSERT_EQ(add(1), UCS_OK);
  ASSERT_EQ(add(2), UCS_OK);
  uct_ep_pending_purge(
      ep.get(), [](uct_pending_req_t*, void*) {}, nullptr);
  ASSERT_TRUE(wait_until({&sender, &receiver},
                         [&] { return uct_iface_flush(sender.iface(), 0, nullptr) == UCS_OK; }));
  EXPECT_TRUE(log.empty());
}

TEST_F(Pending, IsRefusedWhileThereAreResources) {
  ASSERT_EQ(repeat({&sender, &receiver}, [&] { return uct_ep_am_short(ep.get(), 0, 0, nullptr, 0); }),
            UCS_OK);
  ASSERT_TRUE(wait_until({&sender, &receiver}, [&] { return receiver.arrived.size() == 1; }));
  ASSERT_TRUE(wait_until({&sender, &receiver},
                         [&] { return uct_iface_flush(sender.iface(), 0, nullptr) == UCS_OK; }));
  EXPECT_EQ(add(1), UCS_ERR_BUSY);
}

TEST_F(Pending, RunsInOrderAndIsNotOvertaken) {
  exhaust();
  for (unsigned i = 0; i < 100; ++i)
    ASSERT_EQ(add(sent + i), UCS_OK);
  EXPECT_EQ(uct_ep_am_short(ep.get(), 0, 9999, nullptr, 0), UCS_ERR_NO_RESOURCE);
  ASSERT_TRUE(wait_until({&sender, &receiver}, [&] { return receiver.arrived.size() == sent + 100; }));
  for (unsigned i = 0; i < 100; ++i)
    EXPECT_EQ(log[i], sent + i);
  for (unsigned i = 0; i < sent + 100; ++i) {
    std::uint64_t number = 0;
    std::memcpy(&number, receiver.arrived[i].bytes.data(), sizeof(number));
    EXPECT_EQ(number, i);
  }
}

TEST_F(Pending, PurgeHandsAllOutAndRunsNone) {
  exhaust();
  for (unsigned i = 0; i < 5; ++i)
    ASSERT_EQ(add(i), UCS_OK);
  std::vector<unsigned> purged;
  uct_ep_pending_purge(
      ep.get(),
      [](uct_pending_req_t* self, void* arg) {
        static_cast<std::vector<unsigned>*>(arg)->push_back(static_cast<Request*>(self)->number);
      },
      &purged);
  EXPECT_EQ(purged, (std::vector<unsigned>{0, 1, 2, 3, 4}));
  ASSERT_TRUE(wait_until({&sender, &receiver}, [&] { return receiver.arrived.size() == sent; }));
  EXPECT_TRUE(log.empty());
}

TEST_F(Pending, MayDestroyItsEndpoint) {
  exhaust();
  struct Killer : uct_pending_req_t {
    Endpoint* victim;
    bool ran = false;
  } killer;
  killer.victim = &ep;
  killer.func = [](uct_pending_req_t* self) {
    auto& me = *static_cast<Killer*>(self);
    me.ran = true;
    me.victim->reset();
    return UCS_OK;
  };
  ASSERT_EQ(uct_ep_pending_add(ep.get(), &killer, 0), UCS_OK);
  ASSERT_TRUE(wait_until({&sender, &receiver}, [&] { return killer.ran; }));
  ASSERT_TRUE(wait_until({&sender, &receiver},
                         [&] { return uct_iface_flush(sender.iface(), 0, nullptr) == UCS_OK; }));
}

// First messages to many new endpoints used to take all transmit slots; UCP then has to queue, and asks each
// peer for its own endpoint first.
TEST(NewEndpoints, DoNotExhaustTheTransmitSlots) {
  Node sender;
  std::vector<std::unique_ptr<Node>> receivers;
  std::vector<std::unique_ptr<Endpoint>> endpoints;
  for (int i = 0; i < 40; ++i) {
    Node& receiver = *receivers.emplace_back(std::make_unique<Node>());
    endpoints.push_back(std::make_unique<Endpoint>(sender, receiver));
    ASSERT_EQ(uct_ep_am_short(endpoints.back()->get(), 0, 0, nullptr, 0), UCS_OK);
    ASSERT_TRUE(wait_until({&sender, &receiver}, [&] { return receiver.arrived.size() == 1; }));
  }
  for (const auto& receiver : receivers) {
    for (int i = 0; i < 3; ++i) {
      endpoints.push_back(std::make_unique<Endpoint>(sender, *receiver));
      EXPECT_EQ(uct_ep_am_short(endpoints.back()->get(), 0, 0, nullptr, 0), UCS_OK);
    }
  }
  for (const auto& receiver : receivers) {
    EXPECT_TRUE(wait_until({&sender, receiver.get()}, [&] { return receiver->arrived.size() == 4; }));
  }
}

// ---- sleeping ----

TEST_F(Message, WakesASleepingReceiver) {
  int fd = -1;
  ASSERT_EQ(uct_iface_event_fd_get(receiver.iface(), &fd), UCS_OK);
  // The second one needs the sender to know that it is connected, the third only the kernel.
  for (std::size_t i = 1; i <= 2; ++i) {
    ASSERT_EQ(repeat({&sender, &receiver}, [&] { return uct_ep_am_short(ep.get(), 0, 0, nullptr, 0); }),
              UCS_OK);
    ASSERT_TRUE(wait_until({&sender, &receiver}, [&] { return receiver.arrived.size() == i; }));
  }

  ASSERT_TRUE(wait_until({&sender, &receiver},
                         [&] { return uct_iface_event_arm(receiver.iface(), UCT_EVENT_RECV) == UCS_OK; }));
  ASSERT_EQ(repeat({&sender}, [&] { return uct_ep_am_short(ep.get(), 0, 1, nullptr, 0); }), UCS_OK);
  pollfd file{fd, POLLIN, 0};
  ASSERT_EQ(poll(&file, 1, 60000), 1);
  ASSERT_TRUE(wait_until({&sender, &receiver}, [&] { return receiver.arrived.size() == 3; }));
}

// Nothing tells the end of a message alone; who waits for it has to be woken all the same.
TEST_F(Message, WakesWhoWaitsForAFlushedInterface) {
  int fd = -1;
  ASSERT_EQ(uct_iface_event_fd_get(sender.iface(), &fd), UCS_OK);
  for (unsigned i = 0; i < 20; ++i) {
    ASSERT_EQ(repeat({&sender, &receiver}, [&] { return uct_ep_am_short(ep.get(), 0, i, nullptr, 0); }),
              UCS_OK);
    while (uct_iface_flush(sender.iface(), UCT_FLUSH_FLAG_LOCAL, nullptr) != UCS_OK) {
      if (uct_iface_event_arm(sender.iface(), UCT_EVENT_SEND_COMP) == UCS_OK) {
        pollfd file{fd, POLLIN, 0};
        ASSERT_EQ(poll(&file, 1, 60000), 1) << "message " << i;
      }
      sender.progress();
      receiver.progress();
    }
  }
}

TEST_F(Pending, WakesWhoWaitsForResources) {
  int fd = -1;
  ASSERT_EQ(uct_iface_event_fd_get(sender.iface(), &fd), UCS_OK);
  ASSERT_EQ(repeat({&sender, &receiver}, [&] { return uct_ep_am_short(ep.get(), 0, sent, nullptr, 0); }),
            UCS_OK);
  ++sent;
  const std::jthread other_process([this](const std::stop_token& stop) {
    while (!stop.stop_requested())
      receiver.progress();
  });
  for (unsigned round = 0; round < 20; ++round) {
    exhaust();
    if (add(sent) == UCS_ERR_BUSY) continue;  // there are resources again
    const std::size_t before = log.size();
    while (log.size() == before) {
      if (uct_iface_event_arm(sender.iface(), UCT_EVENT_SEND_COMP) == UCS_OK) {
        pollfd file{fd, POLLIN, 0};
        ASSERT_EQ(poll(&file, 1, 60000), 1) << "round " << round;
      }
      sender.progress();
    }
    ++sent;
  }
}

TEST_F(Message, DoesNotSleepOverAMessage) {
  ASSERT_EQ(repeat({&sender, &receiver}, [&] { return uct_ep_am_short(ep.get(), 0, 0, nullptr, 0); }),
            UCS_OK);
  ASSERT_TRUE(wait_until(
      {&sender}, [&] { return uct_iface_event_arm(receiver.iface(), UCT_EVENT_RECV) == UCS_ERR_BUSY; }));
  ASSERT_TRUE(wait_until({&sender, &receiver}, [&] { return receiver.arrived.size() == 1; }));
}

}  // namespace
