// SPDX-License-Identifier: BSD-3-Clause
//
// The ends of things: peers that go, endpoints that are destroyed or cancelled with work under way.
#include <poll.h>

#include <cstring>

#include "node.hpp"
#include "uct/abi/params.hpp"

extern "C" {
int uct_iface_is_reachable_v2(uct_iface_h iface, const bulk::abi::IsReachableParams* params);
ucs_status_t uct_ep_invalidate(uct_ep_h ep, unsigned flags);
}

namespace {

using namespace bulk::test;

TEST(Failure, OfThePeerIsReportedOnce) {
  Node here;
  auto there = std::make_unique<Node>();
  Endpoint ep(here, *there);
  ASSERT_EQ(repeat({&here, there.get()}, [&] { return uct_ep_am_short(ep.get(), 1, 0, nullptr, 0); }),
            UCS_OK);
  ASSERT_TRUE(wait_until({&here, there.get()}, [&] { return there->arrived.size() == 1; }));
  there.reset();

  ASSERT_TRUE(wait_until({&here}, [&] { return !here.failed.empty(); }));
  EXPECT_EQ(here.failed.front().ep, ep.get());
  for (int i = 0; i < 1000; ++i)
    here.progress();
  EXPECT_EQ(here.failed.size(), 1u);

  const ucs_status_t why = here.failed.front().status;
  EXPECT_EQ(uct_ep_am_short(ep.get(), 1, 0, nullptr, 0), why);
  EXPECT_EQ(uct_ep_flush(ep.get(), 0, nullptr), why);
  EXPECT_EQ(uct_ep_flush(ep.get(), UCT_FLUSH_FLAG_CANCEL, nullptr), UCS_OK);
  EXPECT_EQ(uct_iface_flush(here.iface(), 0, nullptr), UCS_OK);
}

// The second message waits until the endpoint is known to be up; the first may travel with the request.
bool connect(Node& here, Node& there, const Endpoint& ep) {
  for (std::size_t i = 1; i <= 2; ++i) {
    if (repeat({&here, &there}, [&] { return uct_ep_am_short(ep.get(), 1, 0, nullptr, 0); }) != UCS_OK)
      return false;
    if (!wait_until({&here, &there}, [&] { return there.arrived.size() == i; })) return false;
  }
  return true;
}

void ignore_completion(uct_completion_t*) {}

// A pending flush of UCP asks twice. Told first to wait and then of the failure it ended, and stayed queued.
TEST(Failure, FlushTellsItAtOnce) {
  Node here;
  auto there = std::make_unique<Node>();
  Endpoint ep(here, *there);
  ASSERT_TRUE(connect(here, *there, ep));
  ASSERT_EQ(uct_ep_am_short(ep.get(), 1, 0, nullptr, 0), UCS_OK);  // nobody reads of its end
  there.reset();

  constexpr int many = 1000;
  uct_completion_t completion{.func = ignore_completion, .count = many, .status = UCS_OK};
  ucs_status_t status = UCS_INPROGRESS;
  int begun = 0;
  while (begun < 500 && (status = uct_ep_flush(ep.get(), 0, &completion)) == UCS_INPROGRESS) {
    ++begun;
    poll(nullptr, 0, 100);
  }
  EXPECT_EQ(status, UCS_ERR_CONNECTION_RESET);
  EXPECT_EQ(uct_ep_flush(ep.get(), 0, &completion), status);
  EXPECT_TRUE(wait_until({&here}, [&] { return completion.count == many - begun; }));
}

// More flushes than the event ring has room for: the one too many waits, and ends as the others do.
void flush_until_there_is_no_room(bool peer_goes) {
  Node here;
  auto there = std::make_unique<Node>();
  Endpoint ep(here, *there);
  ASSERT_TRUE(connect(here, *there, ep));
  ASSERT_EQ(uct_ep_am_short(ep.get(), 1, 0, nullptr, 0), UCS_OK);  // nobody reads of its end

  constexpr int many = 100'000;
  uct_completion_t completion{.func = ignore_completion, .count = many, .status = UCS_OK};
  ucs_status_t status = UCS_INPROGRESS;
  int begun = 0;
  while (begun < many / 2 && (status = uct_ep_flush(ep.get(), 0, &completion)) == UCS_INPROGRESS)
    ++begun;
  EXPECT_EQ(status, UCS_ERR_NO_RESOURCE);
  EXPECT_GT(begun, 1);
  if (peer_goes) {
    there.reset();
    EXPECT_TRUE(wait_until({&here}, [&] { return !here.failed.empty(); }));
  }
  EXPECT_TRUE(wait_until({&here}, [&] { return completion.count == many - begun; }));
  if (!peer_goes) EXPECT_EQ(completion.status, UCS_OK);
}

TEST(Failure, AFlushTooManyWaits) {
  flush_until_there_is_no_room(false);
}

TEST(Failure, AFlushTooManyEndsWithItsEndpoint) {
  flush_until_there_is_no_room(true);
}

// UCP's handlers of messages answer them, and abort on an error of the answer: whoever has not been told of a
// failure finds an endpoint without resources. Here the kernel knows, and the event is still in the ring.
TEST(Failure, PostingFindsNoResourcesUntilUcxIsTold) {
  Node here;
  auto there = std::make_unique<Node>();
  Memory memory(here, 1 << 16);
  Endpoint ep(here, *there);
  ASSERT_TRUE(connect(here, *there, ep));
  ASSERT_TRUE(wait_until({&here}, [&] { return uct_iface_flush(here.iface(), 0, nullptr) == UCS_OK; }));
  ASSERT_TRUE(
      wait_until({&here}, [&] { return uct_iface_event_arm(here.iface(), UCT_EVENT_RECV) == UCS_OK; }));
  int fd = -1;
  ASSERT_EQ(uct_iface_event_fd_get(here.iface(), &fd), UCS_OK);
  there.reset();
  pollfd file{fd, POLLIN, 0};
  ASSERT_EQ(poll(&file, 1, 60'000), 1);

  const uct_iov_t iov = memory.iov(0, 1 << 16);
  Completion completion;
  EXPECT_EQ(uct_ep_am_short(ep.get(), 1, 0, nullptr, 0), UCS_ERR_NO_RESOURCE);
  EXPECT_EQ(uct_ep_put_short(ep.get(), memory.data(), 8, memory.address(), memory.rkey()),
            UCS_ERR_NO_RESOURCE);
  EXPECT_EQ(uct_ep_get_zcopy(ep.get(), &iov, 1, memory.address(), memory.rkey(), &completion),
            UCS_ERR_NO_RESOURCE);
  EXPECT_TRUE(here.failed.empty()) << "reported inside a posting call";
  ASSERT_TRUE(wait_until({&here}, [&] { return here.failed.size() == 1; }));
  EXPECT_EQ(uct_ep_am_short(ep.get(), 1, 0, nullptr, 0), here.failed.front().status);
  EXPECT_FALSE(completion.done);
}

TEST(Failure, MayDestroyTheEndpointInItsHandler) {
  Node here;
  auto there = std::make_unique<Node>();
  Endpoint first(here, *there);
  Endpoint second(here, *there);
  for (Endpoint* ep : {&first, &second}) {
    ASSERT_EQ(repeat({&here, there.get()}, [&] { return uct_ep_am_short(ep->get(), 1, 0, nullptr, 0); }),
              UCS_OK);
  }
  ASSERT_TRUE(wait_until({&here, there.get()}, [&] { return there->arrived.size() == 2; }));
  here.on_failure = [&](uct_ep_h) {
    first.reset();
    second.reset();
  };
  there.reset();
  ASSERT_TRUE(wait_until({&here}, [&] { return !here.failed.empty(); }));
  for (int i = 0; i < 1000; ++i)
    here.progress();
  EXPECT_EQ(here.failed.size(), 1u);
}

TEST(Failure, NobodyThere) {
  Node here;
  std::vector<std::byte> token = here.iface_address();
  token.back() ^= std::byte{0x55};
  Endpoint ep(here, here.device_address(), token);
  ASSERT_EQ(ep.status(), UCS_OK);
  // The message waits for the connection; it is not sent twice, nor anywhere.
  const ucs_status_t status = uct_ep_am_short(ep.get(), 1, 0, nullptr, 0);
  EXPECT_TRUE(status == UCS_OK || status == UCS_ERR_NO_RESOURCE || status == UCS_ERR_REJECTED);
  ASSERT_TRUE(wait_until({&here}, [&] { return !here.failed.empty(); }));
  EXPECT_EQ(here.failed.front().status, UCS_ERR_REJECTED);
  EXPECT_EQ(uct_iface_flush(here.iface(), 0, nullptr), UCS_OK);
}

TEST(Failure, OnRequest) {
  Node here;
  Node there;
  Endpoint ep(here, there);
  ASSERT_EQ(repeat({&here, &there}, [&] { return uct_ep_am_short(ep.get(), 1, 0, nullptr, 0); }), UCS_OK);
  ASSERT_TRUE(wait_until({&here, &there}, [&] { return there.arrived.size() == 1; }));
  ASSERT_EQ(uct_ep_invalidate(ep.get(), 0), UCS_OK);
  EXPECT_TRUE(here.failed.empty()) << "reported inside the call";
  ASSERT_TRUE(wait_until({&here, &there}, [&] { return here.failed.size() == 1; }));
}

TEST(Destruction, WithWorkUnderWayIsSilent) {
  Node here;
  Node there;
  Memory local(here, 1 << 20);
  Memory remote(there, 1 << 20);
  Completion completion;
  {
    Endpoint ep(here, there);
    ASSERT_EQ(repeat({&here, &there}, [&] { return uct_ep_am_short(ep.get(), 1, 0, nullptr, 0); }), UCS_OK);
    ASSERT_TRUE(wait_until({&here, &there}, [&] { return there.arrived.size() == 1; }));
    const uct_iov_t iov = local.iov(0, 1 << 20);
    ASSERT_EQ(repeat({&here, &there},
                     [&] {
                       return uct_ep_put_zcopy(ep.get(), &iov, 1, remote.address(), remote.rkey(),
                                               &completion);
                     }),
              UCS_INPROGRESS);
  }
  ASSERT_TRUE(
      wait_until({&here, &there}, [&] { return uct_iface_flush(here.iface(), 0, nullptr) == UCS_OK; }));
  EXPECT_FALSE(completion.done);
  EXPECT_TRUE(here.failed.empty());
}

TEST(Destruction, BeforeTheConnectionStands) {
  Node here;
  Node there;
  for (int i = 0; i < 20; ++i) {
    Endpoint ep(here, there);
    const ucs_status_t status = uct_ep_am_short(ep.get(), 1, 0, nullptr, 0);
    EXPECT_TRUE(status == UCS_OK || status == UCS_ERR_NO_RESOURCE);
  }
  ASSERT_TRUE(
      wait_until({&here, &there}, [&] { return uct_iface_flush(here.iface(), 0, nullptr) == UCS_OK; }));
  EXPECT_TRUE(here.failed.empty());
}

TEST(Cancel, EndsEverythingUnderWay) {
  Node here;
  Node there;
  Endpoint ep(here, there);
  Memory local(here, 1 << 20);
  Memory remote(there, 1 << 20);
  ASSERT_EQ(repeat({&here, &there}, [&] { return uct_ep_am_short(ep.get(), 1, 0, nullptr, 0); }), UCS_OK);
  ASSERT_TRUE(wait_until({&here, &there}, [&] { return there.arrived.size() == 1; }));
  const uct_iov_t iov = local.iov(0, 1 << 20);
  Completion put;
  ASSERT_EQ(
      repeat({&here, &there},
             [&] { return uct_ep_put_zcopy(ep.get(), &iov, 1, remote.address(), remote.rkey(), &put); }),
      UCS_INPROGRESS);
  Completion cancel;
  const ucs_status_t status = uct_ep_flush(ep.get(), UCT_FLUSH_FLAG_CANCEL, &cancel);
  ASSERT_TRUE(status == UCS_INPROGRESS || status == UCS_OK) << ucs_status_string(status);
  ASSERT_TRUE(wait_until({&here, &there}, [&] { return put.done && (cancel.done || status == UCS_OK); }));
  EXPECT_EQ(uct_ep_am_short(ep.get(), 1, 0, nullptr, 0), UCS_ERR_CANCELED);
  EXPECT_TRUE(here.failed.empty());
}

TEST(Check, OfALivePeerIsQuiet) {
  Node here;
  Node there;
  Endpoint ep(here, there);
  EXPECT_EQ(uct_ep_check(ep.get(), 0, nullptr), UCS_OK);
  for (int i = 0; i < 1000; ++i)
    here.progress();
  EXPECT_TRUE(here.failed.empty());
}

// ---- what an interface says and refuses ----

TEST(Iface, RefusesSeveralThreadsAtOnce) {
  const Node node({.threads = UCS_THREAD_MODE_MULTI});
  EXPECT_EQ(node.status(), UCS_ERR_UNSUPPORTED);
}

TEST(Iface, RefusesTooMuchHeadroom) {
  const Node node({.rx_headroom = 4000});
  EXPECT_EQ(node.status(), UCS_ERR_INVALID_PARAM);
}

TEST(Iface, RefusesAnUnknownWayToSubmit) {
  Node node;
  uct_iface_config_t* config = nullptr;
  ASSERT_EQ(uct_md_iface_config_read(node.md(), "bulk", nullptr, nullptr, &config), UCS_OK);
  EXPECT_NE(uct_config_modify(config, "BULK_SUBMIT", "pigeon"), UCS_OK);
  EXPECT_EQ(uct_config_modify(config, "BULK_SUBMIT", "ioctl"), UCS_OK);
  uct_config_release(config);
}

std::pair<bool, std::string> reachable(const Node& node, std::vector<std::byte> device) {
  char why[200] = "";
  bulk::abi::IsReachableParams params{};
  params.field_mask = bulk::abi::IsReachableParams::field_device_addr |
                      bulk::abi::IsReachableParams::field_device_addr_length |
                      bulk::abi::IsReachableParams::field_info_string |
                      bulk::abi::IsReachableParams::field_info_string_length;
  params.device_addr = reinterpret_cast<const uct_device_addr_t*>(device.data());
  params.device_addr_length = device.size();
  params.info_string = why;
  params.info_string_length = sizeof(why);
  const bool yes = uct_iface_is_reachable_v2(node.iface(), &params) != 0;
  return {yes, why};
}

TEST(Iface, KnowsWhomItReachesAndSaysWhyNot) {
  const Node node;
  const auto own = node.device_address();
  EXPECT_TRUE(reachable(node, own).first) << reachable(node, own).second;

  auto loopback = own;
  if (own.size() < 18) {
    loopback[2] = std::byte{127};
    const auto [yes, why] = reachable(node, loopback);
    EXPECT_FALSE(yes);
    EXPECT_NE(why.find("loopback"), std::string::npos) << why;
  }
  auto shorter = own;
  shorter.pop_back();
  EXPECT_FALSE(reachable(node, shorter).first);
  auto newer = own;
  newer[0] = static_cast<std::byte>((std::to_integer<unsigned>(own[0]) & 0x1f) | 7u << 5);
  const auto [yes, why] = reachable(node, newer);
  EXPECT_FALSE(yes);
  EXPECT_NE(why.find("version"), std::string::npos) << why;
}

TEST(Iface, EveryOneHasItsOwnAddress) {
  const Node first;
  const Node second;
  EXPECT_EQ(first.device_address(), second.device_address());
  EXPECT_NE(first.iface_address(), second.iface_address());
}

}  // namespace
