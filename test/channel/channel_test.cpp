// SPDX-License-Identifier: BSD-3-Clause
//
// Query, domain and channel against a kernel made of ordinary memory: what they ask of it, and what they make
// of its answers and events.
#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <string>
#include <vector>

#include "channel/channel.hpp"
#include "fake_kernel.hpp"

namespace bulk {
namespace {

using test::FakeKernel;

struct Recorder : EventHandler {
  std::vector<std::string> log;
  std::vector<RxSlot> kept;
  bool keep = false;

  void on_done(const Done& d) {
    log.push_back("done " + std::to_string(d.user_data) + " " + d.status.text());
  }
  SlotAction on_message(const Message& m) {
    log.push_back("message " + std::to_string(m.id) + " " + std::to_string(m.length));
    if (!keep) return SlotAction::release;
    kept.push_back(m.slot);
    return SlotAction::keep;
  }
  void on_up(const EndpointEvent& e) { log.push_back("up " + std::to_string(e.user_data)); }
  void on_down(const EndpointEvent& e) { log.push_back("down " + e.status.text()); }
  void on_writable(const EndpointEvent& e) { log.push_back("writable " + std::to_string(e.ep.value)); }
  void on_rx_low(std::uint32_t messages) { log.push_back("low " + std::to_string(messages)); }
  void on_removed() { log.push_back("removed"); }
};

rdma_bulk_event event(std::uint16_t type, std::int32_t result = 0, std::uint32_t slot = RDMA_BULK_NO_SLOT) {
  rdma_bulk_event e{};
  e.type = type;
  e.result = result;
  e.slot = slot;
  return e;
}

TEST(Query, lists_devices_and_limits) {
  FakeKernel kernel;
  kernel.ndevices = 40;  // more than the first guess
  const auto info = query();
  ASSERT_TRUE(info.ok()) << info.error().text();
  ASSERT_EQ(info->devices.size(), 40U);
  EXPECT_EQ(info->devices[39].name, "rxe39:1");
  EXPECT_EQ(info->devices[39].netdev, "eth0");
  EXPECT_EQ(info->devices[39].address.ip_text(), "192.0.2.40");
  EXPECT_EQ(info->devices[39].link_layer, LinkLayer::roce);
  EXPECT_EQ(info->service_port, 4242);
  EXPECT_EQ(info->limits.commands, 512U);
}

TEST(Query, says_that_there_is_no_device_node) {
  FakeKernel kernel;
  kernel.open_errno = ENOENT;
  EXPECT_EQ(query().error().code, ENOENT);
}

TEST(Query, says_that_the_kernel_speaks_another_version) {
  FakeKernel kernel;
  kernel.abi_version = 2;
  EXPECT_EQ(query().error().code, EPROTONOSUPPORT);
  EXPECT_EQ(Domain::open().error().text(),
            "the kernel module rdma_bulk speaks ABI version 2, this program version 1: EPROTONOSUPPORT "
            "(Protocol not "
            "supported)");
}

TEST(Query, says_that_there_is_no_rdma_device) {
  FakeKernel kernel;
  kernel.ndevices = 0;
  EXPECT_EQ(query().error().code, ENODEV);
}

TEST(Domain, a_region_deregisters_itself) {
  FakeKernel kernel;
  const auto domain = Domain::open();
  ASSERT_TRUE(domain.ok());
  {
    const auto region = domain->register_memory("abc", 3, Access::remote_read);
    ASSERT_TRUE(region.ok());
    EXPECT_EQ(region->handle(), RegionHandle{9});
    EXPECT_EQ(region->key()[23], std::byte{0x5a});
  }
  EXPECT_EQ(std::count(kernel.ioctls.begin(), kernel.ioctls.end(), RDMA_BULK_IOC_DEREG), 1);
}

TEST(Domain, a_region_given_away_does_not_deregister_itself) {
  FakeKernel kernel;
  const auto domain = Domain::open();
  RegionHandle handle;
  {
    auto region = domain->register_memory("abc", 3, Access::local);
    auto moved = std::move(*region);
    handle = moved.release();
  }
  EXPECT_EQ(std::count(kernel.ioctls.begin(), kernel.ioctls.end(), RDMA_BULK_IOC_DEREG), 0);
  EXPECT_TRUE(domain->deregister(handle, Deregister::invalidate).ok());
  EXPECT_EQ(domain->deregister(RegionHandle{4}, Deregister::lazily).error(), ENOENT);
}

class ChannelTest : public testing::Test {
 protected:
  Channel& bind(const BindOptions& options = {.device = "rxe0:1", .submission = Submission::ioctl}) {
    domain_.emplace(std::move(*Domain::open()));
    auto channel = Channel::bind(*domain_, options);
    if (!channel) {
      ADD_FAILURE() << channel.error().text();
      std::abort();
    }
    channel_.emplace(std::move(*channel));
    kernel_.ioctls.clear();
    return *channel_;
  }
  void message(std::uint32_t slot, std::uint16_t id = 1, std::uint64_t length = 8) {
    rdma_bulk_event e = event(RDMA_BULK_EV_RECV, 0, slot);
    e.id = id;
    e.length = length;
    kernel_.event(e);
  }

  FakeKernel kernel_;
  std::optional<Domain> domain_;
  std::optional<Channel> channel_;
  Recorder seen_;
};

TEST_F(ChannelTest, bind_tells_address_and_slots) {
  Channel& channel = bind();
  EXPECT_EQ(channel.address().text(), "192.0.2.1:4242/1122334455667788");
  EXPECT_EQ(channel.rx_total(), 4U);
  EXPECT_EQ(channel.tx_total(), 4U);
  EXPECT_EQ(channel.rx_free(), 4U);
}

TEST_F(ChannelTest, bind_to_an_unknown_device_says_so) {
  const auto domain = Domain::open();
  const auto channel = Channel::bind(*domain, {.device = "mlx5_0:1"});
  ASSERT_FALSE(channel.ok());
  EXPECT_EQ(channel.error().code, ENODEV);
  EXPECT_NE(channel.error().what.find("mlx5_0:1"), std::string::npos) << channel.error().what;
  const auto too_long = Channel::bind(*domain, {.device = std::string(32, 'x')});
  EXPECT_EQ(too_long.error().code, ENODEV);
}

TEST_F(ChannelTest, events_reach_their_functions_in_order) {
  Channel& channel = bind();
  rdma_bulk_event up = event(RDMA_BULK_EV_EP_UP);
  up.user_data = 77;
  kernel_.event(up);
  message(0, 5, 8256);
  kernel_.event(event(99));  // of a newer kernel
  rdma_bulk_event writable = event(RDMA_BULK_EV_WRITABLE);
  writable.ep = 3;
  kernel_.event(writable);
  kernel_.event(event(RDMA_BULK_EV_EP_DOWN, -ECONNRESET));
  kernel_.event(event(RDMA_BULK_EV_REMOVED));
  EXPECT_EQ(channel.progress(seen_), 6U);
  EXPECT_EQ(seen_.log, (std::vector<std::string>{"up 77", "message 5 8256", "writable 3",
                                                 "down ECONNRESET (Connection reset by peer)", "removed"}));
  EXPECT_EQ(channel.progress(seen_), 0U);
  EXPECT_EQ(kernel_.ctrl().consumer, 6U);
}

TEST_F(ChannelTest, progress_takes_no_more_than_asked_for) {
  Channel& channel = bind();
  for (int i = 0; i < 5; ++i)
    kernel_.event(event(RDMA_BULK_EV_EP_UP));
  EXPECT_EQ(channel.progress(seen_, 2), 2U);
  EXPECT_EQ(channel.progress(seen_, 2), 2U);
  EXPECT_TRUE(channel.has_events());
  EXPECT_EQ(channel.progress(seen_, 2), 1U);
  EXPECT_FALSE(channel.has_events());
}

TEST_F(ChannelTest, indices_wrap) {
  kernel_.first_index = 0xfffffff0U;
  Channel& channel = bind();
  for (int round = 0; round < 10; ++round) {
    for (int i = 0; i < 5; ++i)
      kernel_.event(event(RDMA_BULK_EV_EP_UP));
    EXPECT_EQ(channel.progress(seen_), 5U);
  }
  EXPECT_EQ(kernel_.ctrl().consumer, 0xfffffff0U + 50U);
}

TEST_F(ChannelTest, a_transmit_slot_is_free_again_after_done) {
  Channel& channel = bind();
  std::vector<TxSlot> slots;
  while (channel.tx_available() != 0)
    slots.push_back(channel.tx_acquire());
  ASSERT_EQ(slots.size(), 4U);
  EXPECT_FALSE(channel.tx_acquire().valid());
  EXPECT_TRUE(channel.send(EpHandle{3}, slots[2], 10, 1, 42).ok());
  EXPECT_EQ(channel.outstanding(), 1U);
  rdma_bulk_event done = event(RDMA_BULK_EV_DONE, -ECANCELED, slots[2].value);
  done.user_data = 42;
  kernel_.event(done);
  channel.progress(seen_);
  EXPECT_EQ(seen_.log, std::vector<std::string>{"done 42 ECANCELED (Operation canceled)"});
  EXPECT_EQ(channel.tx_acquire(), slots[2]);
  EXPECT_EQ(channel.outstanding(), 0U);
}

TEST_F(ChannelTest, a_refused_command_leaves_the_slot_to_the_caller) {
  Channel& channel = bind();
  kernel_.on_command = [](const rdma_bulk_cmd&) { return -EAGAIN; };
  const TxSlot slot = channel.tx_acquire();
  EXPECT_TRUE(channel.send(EpHandle{3}, slot, 10, 1, 42).again());
  EXPECT_EQ(channel.outstanding(), 0U);
  EXPECT_TRUE(channel.tx_release(slot));
}

TEST_F(ChannelTest, a_batch_stops_at_the_first_refusal) {
  Channel& channel = bind();
  kernel_.on_command = [](const rdma_bulk_cmd& c) { return c.user_data == 3 ? -EMSGSIZE : 0; };
  Batch batch(channel);
  for (std::uint64_t i = 1; i <= 5; ++i)
    EXPECT_TRUE(batch.add(Command::flush(EpHandle{3}, i)));
  const Submitted result = batch.submit();
  EXPECT_EQ(result.accepted, 2U);
  EXPECT_EQ(result.refusal.error(), EMSGSIZE);
  EXPECT_EQ(kernel_.commands.size(), 2U);
  EXPECT_EQ(channel.outstanding(), 2U);
  EXPECT_EQ(batch.size(), 0U);
  EXPECT_EQ(batch.submit().accepted, 0U) << "an empty batch";
}

TEST_F(ChannelTest, a_batch_says_when_it_is_full) {
  Channel& channel = bind();
  Batch batch(channel);
  for (std::uint32_t i = 0; i < Batch::capacity; ++i)
    EXPECT_TRUE(batch.add(Command::flush(EpHandle{3}, i)));
  EXPECT_TRUE(batch.full());
  EXPECT_FALSE(batch.add(Command::flush(EpHandle{3}, 99)));
  EXPECT_EQ(batch.submit().accepted, Batch::capacity);
  EXPECT_EQ(kernel_.ioctls.size(), 1U);
}

TEST_F(ChannelTest, more_commands_than_one_ioctl_takes_go_in_several) {
  Channel& channel = bind();
  const std::vector<Command> commands(600, Command::flush(EpHandle{3}, 1));
  EXPECT_EQ(channel.submit(commands).accepted, 600U);
  EXPECT_EQ(kernel_.ioctls.size(), 3U);
}

TEST_F(ChannelTest, receive_slots_go_back_in_batches) {
  Channel& channel = bind({.device = "rxe0:1", .rx_slots = 32, .submission = Submission::ioctl});
  for (std::uint32_t i = 0; i < 7; ++i)
    message(i);
  EXPECT_EQ(channel.progress(seen_), 7U);
  EXPECT_TRUE(kernel_.returns.empty()) << "a batch is 8";
  EXPECT_TRUE(kernel_.ioctls.empty()) << "a busy process makes no system call";
  message(7);
  EXPECT_EQ(channel.progress(seen_), 1U);
  ASSERT_EQ(kernel_.returns.size(), 1U);
  EXPECT_EQ(kernel_.returns[0].size(), 8U);
  EXPECT_EQ(channel.rx_free(), 32U);
}

TEST_F(ChannelTest, receive_slots_go_back_before_sleeping) {
  Channel& channel = bind({.device = "rxe0:1", .rx_slots = 32, .submission = Submission::ioctl});
  message(9);
  channel.progress(seen_);
  EXPECT_TRUE(channel.arm());
  ASSERT_EQ(kernel_.returns.size(), 1U);
  EXPECT_EQ(kernel_.returns[0], std::vector<std::uint16_t>{9});
  EXPECT_EQ(kernel_.ctrl().armed, 1U);
}

TEST_F(ChannelTest, kept_slots_go_back_when_returned) {
  Channel& channel = bind();
  seen_.keep = true;
  for (std::uint32_t i = 0; i < 4; ++i)
    message(i);
  channel.progress(seen_);
  EXPECT_EQ(channel.rx_held(), 4U);
  EXPECT_EQ(channel.rx_free(), 0U);
  EXPECT_TRUE(channel.rx_return(seen_.kept[2]));
  EXPECT_FALSE(channel.rx_return(seen_.kept[2])) << "twice";
  EXPECT_EQ(kernel_.returns.size(), 1U) << "the kernel has none left, so it goes at once";
  EXPECT_EQ(channel.rx_free(), 1U);
}

TEST_F(ChannelTest, a_return_that_fails_is_tried_again) {
  Channel& channel = bind();
  kernel_.on_command = [](const rdma_bulk_cmd&) { return -ENOMEM; };
  message(0);
  channel.progress(seen_);
  EXPECT_EQ(channel.flush_returns().error(), ENOMEM);
  kernel_.on_command = nullptr;
  EXPECT_TRUE(channel.flush_returns().ok());
  EXPECT_EQ(kernel_.returns.size(), 1U);
}

TEST_F(ChannelTest, messages_lie_behind_the_headroom) {
  Channel& channel = bind({.device = "rxe0:1", .rx_headroom = 128, .submission = Submission::ioctl});
  EXPECT_EQ(channel.rx_data(RxSlot{1}) - channel.rx_data(RxSlot{0}), 3 * 4096);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(channel.rx_data(RxSlot{0})) % 4096, 128U);
}

TEST_F(ChannelTest, the_first_endpoint_brings_more_slots) {
  Channel& channel = bind();
  const auto ep = channel.ep_open(channel.address(), 1);
  ASSERT_TRUE(ep.ok());
  EXPECT_EQ(*ep, EpHandle{3});
  EXPECT_EQ(channel.rx_total(), 32U);
  EXPECT_EQ(channel.tx_total(), 32U);
  kernel_.ioctls.clear();
  EXPECT_TRUE(channel.ep_open(channel.address(), 1).ok());
  EXPECT_EQ(kernel_.ioctls, std::vector<unsigned long>{RDMA_BULK_IOC_EP_OPEN});
}

TEST_F(ChannelTest, receive_slots_double_on_demand_up_to_the_limit) {
  kernel_.max_rx_slots = 20;
  Channel& channel = bind();
  for (const std::uint32_t want : {8U, 16U, 20U, 20U}) {
    kernel_.event(event(RDMA_BULK_EV_RX_LOW, 5));
    channel.progress(seen_);
    EXPECT_EQ(channel.rx_total(), want);
  }
  EXPECT_EQ(seen_.log.back(), "low 5");
  EXPECT_EQ(channel.tx_total(), 4U);
}

TEST_F(ChannelTest, receive_slots_do_not_grow_beyond_the_option) {
  Channel& channel = bind({.device = "rxe0:1", .submission = Submission::ioctl, .max_rx_slots = 4});
  kernel_.event(event(RDMA_BULK_EV_RX_LOW, 5));
  channel.progress(seen_);
  EXPECT_EQ(channel.rx_total(), 4U);
}

TEST_F(ChannelTest, a_message_waits_for_the_mapping_of_its_slot) {
  Channel& channel = bind();
  kernel_.mmap_fails = true;
  EXPECT_EQ(channel.grow(4, 0).error().code, ENOMEM);
  message(0, 1);
  message(6, 2);
  message(1, 3);
  EXPECT_EQ(channel.progress(seen_), 1U);
  EXPECT_EQ(channel.progress(seen_), 0U);
  kernel_.mmap_fails = false;
  EXPECT_EQ(channel.progress(seen_), 2U);
  EXPECT_EQ(seen_.log, (std::vector<std::string>{"message 1 8", "message 2 8", "message 3 8"}));
  EXPECT_EQ(channel.rx_total(), 8U);
}

TEST_F(ChannelTest, works_after_it_was_moved) {
  bind();
  Channel channel = std::move(*channel_);
  channel_.reset();
  message(0);
  EXPECT_EQ(channel.progress(seen_), 1U);
  EXPECT_TRUE(channel.send(EpHandle{3}, channel.tx_acquire(), 10, 1, 42).ok());
}

TEST_F(ChannelTest, a_handler_may_call_progress) {
  Channel& channel = bind();
  struct Nested : EventHandler {
    Channel& channel;
    std::vector<std::uint16_t> ids;
    explicit Nested(Channel& c) : channel(c) {}
    SlotAction on_message(const Message& m) {
      ids.push_back(m.id);
      channel.progress(*this);
      return SlotAction::release;
    }
  } nested(channel);
  for (std::uint16_t i = 0; i < 4; ++i)
    message(i, i);
  channel.progress(nested);
  EXPECT_EQ(nested.ids, (std::vector<std::uint16_t>{0, 1, 2, 3}));
  EXPECT_EQ(kernel_.ctrl().consumer, 4U);
}

}  // namespace
}  // namespace bulk
