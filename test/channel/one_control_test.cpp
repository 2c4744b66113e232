// SPDX-License-Identifier: BSD-3-Clause
//
// Control ioctls and mmap on one host: what they answer to good and to bad input.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "raw.hpp"

namespace bulk::lab {
namespace {

// A domain, or a channel, or a file that is nothing yet.
class Control : public testing::Test {
 protected:
  Control() {
    auto d = good_domain();
    EXPECT_TRUE(is(raw(domain_.get(), RDMA_BULK_IOC_DOMAIN, &d), 0));
    auto b = good_bind(domain_.get());
    EXPECT_TRUE(is(raw(channel_.get(), RDMA_BULK_IOC_BIND, &b), 0));
  }

  // Each struct of the ABI obeys the same rules of size. `known_good` must be accepted as it is.
  template <class T>
  void check_sizes(unsigned long request, int fd, T known_good) {
    EXPECT_TRUE(is(raw(fd, request, nullptr), EFAULT)) << "no struct at all";
    EXPECT_TRUE(is(raw(fd, request, reinterpret_cast<void*>(std::uintptr_t{1} << 62)), EFAULT))
        << "not an address";

    std::vector<std::uint8_t> longer(sizeof(T) + 64, 0);
    std::memcpy(longer.data(), &known_good, sizeof(T));
    const auto with_size = [&](std::uint32_t size) {
      std::memcpy(longer.data(), &size, sizeof(size));
      return raw(fd, request, longer.data());
    };
    longer[sizeof(T) + 63] = 1;
    EXPECT_TRUE(is(with_size(sizeof(T) + 64), E2BIG)) << "a byte is set that the kernel does not know";
    longer[sizeof(T) + 63] = 0;
    EXPECT_TRUE(is(with_size(0), EINVAL)) << "size 0";
    EXPECT_TRUE(is(with_size(3), EINVAL)) << "size 3";
    EXPECT_TRUE(is(with_size(0xffffffff), {E2BIG, EINVAL})) << "a size of 4 GiB";
  }

  Fd plain_ = raw_open();
  Fd domain_ = raw_open();
  Fd channel_ = raw_open();
};

// ---- query ----

TEST_F(Control, query_tells_devices_and_limits) {
  const auto info = query();
  ASSERT_TRUE(info.ok()) << info.error().text();
  EXPECT_EQ(info->abi_version, 1U);
  EXPECT_NE(info->instance, 0U);
  EXPECT_GT(info->service_port, 0);
  EXPECT_GE(info->limits.rx_slots, 32U);
  EXPECT_GE(info->limits.tx_slots, 32U);
  EXPECT_GE(info->limits.commands, 1U);
  EXPECT_EQ(info->limits.op_bytes, 1U << 30);
  for (const Device& d : info->devices) {
    EXPECT_NE(d.name.find(':'), std::string::npos) << d.name;
    EXPECT_FALSE(d.netdev.empty()) << d.name;
    EXPECT_NE(d.address.family(), AF_UNSPEC) << d.name;
    EXPECT_EQ(d.address.port(), 0) << d.name;
    EXPECT_GE(d.port_num, 1) << d.name;
    EXPECT_GE(d.mtu, 256U) << d.name;
    EXPECT_NE(d.link_layer, LinkLayer::unknown) << d.name;
  }
}

TEST_F(Control, query_works_on_every_open_file) {
  for (const Fd* fd : {&plain_, &domain_, &channel_}) {
    auto q = good_query();
    EXPECT_TRUE(is(raw(fd->get(), RDMA_BULK_IOC_QUERY, &q), 0));
    EXPECT_EQ(q.abi_version, 1U);
  }
}

TEST_F(Control, query_counts_devices_beyond_the_places) {
  auto q = good_query();
  EXPECT_TRUE(is(raw(plain_.get(), RDMA_BULK_IOC_QUERY, &q), 0));
  EXPECT_GE(q.ndevices, 1U);
}

TEST_F(Control, query_zeroes_surplus_bytes_of_devices) {
  std::vector<std::uint8_t> places(3 * 128, 0xff);
  auto q = good_query();
  q.device_size = 128;
  q.ndevices = 3;
  q.devices = reinterpret_cast<std::uintptr_t>(places.data());
  ASSERT_TRUE(is(raw(plain_.get(), RDMA_BULK_IOC_QUERY, &q), 0));
  EXPECT_EQ(places[0], static_cast<std::uint8_t>(query()->devices[0].name[0]));
  EXPECT_TRUE(std::all_of(places.begin() + sizeof(rdma_bulk_device), places.begin() + 128,
                          [](std::uint8_t b) { return b == 0; }));
}

TEST_F(Control, query_refuses_bad_input) {
  check_sizes(RDMA_BULK_IOC_QUERY, plain_.get(), good_query());
  auto q = good_query();
  q.flags = 1;
  EXPECT_TRUE(is(raw(plain_.get(), RDMA_BULK_IOC_QUERY, &q), EINVAL)) << "flags";
  q = good_query();
  q.reserved[1] = 1;
  EXPECT_TRUE(is(raw(plain_.get(), RDMA_BULK_IOC_QUERY, &q), EINVAL)) << "reserved";
  q = good_query();
  q.device_size = sizeof(rdma_bulk_device) - 1;
  EXPECT_TRUE(is(raw(plain_.get(), RDMA_BULK_IOC_QUERY, &q), EINVAL)) << "device_size";
  q = good_query();
  q.ndevices = 1;
  q.devices = 0;
  EXPECT_TRUE(is(raw(plain_.get(), RDMA_BULK_IOC_QUERY, &q), EFAULT)) << "no array";
  q = good_query();
  q.ndevices = 0xffffffff;
  q.devices = 8;
  EXPECT_TRUE(is(raw(plain_.get(), RDMA_BULK_IOC_QUERY, &q), {EFAULT, EINVAL})) << "a huge array of nothing";
}

// ---- what a file is ----

TEST_F(Control, a_file_is_one_thing_only) {
  auto d = good_domain();
  auto b = good_bind(domain_.get());
  EXPECT_TRUE(is(raw(domain_.get(), RDMA_BULK_IOC_DOMAIN, &d), EBUSY));
  EXPECT_TRUE(is(raw(domain_.get(), RDMA_BULK_IOC_BIND, &b), EBUSY));
  EXPECT_TRUE(is(raw(channel_.get(), RDMA_BULK_IOC_DOMAIN, &d), EBUSY));
  b = good_bind(domain_.get());
  EXPECT_TRUE(is(raw(channel_.get(), RDMA_BULK_IOC_BIND, &b), EBUSY));
}

TEST_F(Control, a_file_does_not_do_the_others_work) {
  Pages memory(4096);
  auto reg = good_reg(memory.data(), 4096, 0);
  auto dereg = sized<rdma_bulk_dereg>();
  auto grow = sized<rdma_bulk_grow>();
  auto stats = sized<rdma_bulk_stats>();
  const Command flush = Command::flush(EpHandle{1}, 1);
  auto submit = sized<rdma_bulk_submit>();
  submit.count = 1;
  submit.cmds = reinterpret_cast<std::uintptr_t>(&flush);
  for (const int fd : {plain_.get(), channel_.get()}) {
    EXPECT_FALSE(raw(fd, RDMA_BULK_IOC_REG, &reg).ok());
    EXPECT_FALSE(raw(fd, RDMA_BULK_IOC_DEREG, &dereg).ok());
  }
  for (const int fd : {plain_.get(), domain_.get()}) {
    EXPECT_FALSE(raw(fd, RDMA_BULK_IOC_GROW, &grow).ok());
    EXPECT_FALSE(raw(fd, RDMA_BULK_IOC_STATS, &stats).ok());
    EXPECT_FALSE(raw(fd, RDMA_BULK_IOC_SUBMIT, &submit).ok());
    EXPECT_EQ(::mmap(nullptr, 4096, PROT_READ, MAP_SHARED, fd, 0), MAP_FAILED);
  }
}

TEST_F(Control, unknown_ioctls_are_refused) {
  for (const int fd : {plain_.get(), domain_.get(), channel_.get()}) {
    EXPECT_TRUE(is(raw(fd, _IO(RDMA_BULK_IOC_MAGIC, 0x0a), nullptr), ENOTTY));
    EXPECT_TRUE(is(raw(fd, _IO(RDMA_BULK_IOC_MAGIC, 0xff), nullptr), ENOTTY));
    EXPECT_TRUE(is(raw(fd, _IO(0x12, 1), nullptr), ENOTTY));
    EXPECT_TRUE(is(raw(fd, _IOR(RDMA_BULK_IOC_MAGIC, 0x00, int), nullptr), ENOTTY))
        << "another direction and size";
  }
}

TEST_F(Control, read_and_write_are_refused) {
  char byte = 0;
  EXPECT_LT(::read(channel_.get(), &byte, 1), 0);
  EXPECT_LT(::write(channel_.get(), &byte, 1), 0);
}

// ---- domain ----

TEST_F(Control, domain_refuses_bad_input) {
  auto d = good_domain();
  d.abi_version = 2;
  EXPECT_TRUE(is(raw(plain_.get(), RDMA_BULK_IOC_DOMAIN, &d), EPROTONOSUPPORT));
  d.abi_version = 0;
  EXPECT_TRUE(is(raw(plain_.get(), RDMA_BULK_IOC_DOMAIN, &d), EPROTONOSUPPORT));
  d = good_domain();
  d.flags = 0x80000000;
  EXPECT_TRUE(is(raw(plain_.get(), RDMA_BULK_IOC_DOMAIN, &d), EINVAL)) << "flags";
  d = good_domain();
  d.reserved = 1;
  EXPECT_TRUE(is(raw(plain_.get(), RDMA_BULK_IOC_DOMAIN, &d), EINVAL)) << "reserved";
  check_sizes(RDMA_BULK_IOC_DOMAIN, plain_.get(), good_domain());
  d = good_domain();
  EXPECT_TRUE(is(raw(plain_.get(), RDMA_BULK_IOC_DOMAIN, &d), 0)) << "after all that it is still nothing";
}

TEST_F(Control, domain_accepts_a_longer_struct_of_zeros) {
  std::vector<std::uint8_t> longer(sizeof(rdma_bulk_domain) + 64, 0);
  auto d = good_domain();
  d.size = static_cast<std::uint32_t>(longer.size());
  std::memcpy(longer.data(), &d, sizeof(d));
  EXPECT_TRUE(is(raw(plain_.get(), RDMA_BULK_IOC_DOMAIN, longer.data()), 0));
}

// ---- bind ----

TEST_F(Control, bind_tells_what_there_is) {
  const RawChannel channel;
  const rdma_bulk_bind& b = channel.bind;
  EXPECT_GE(b.rx_slots, 1U);
  EXPECT_GE(b.tx_slots, 1U);
  EXPECT_NE(b.token, 0U);
  EXPECT_GE(b.rx_stride, 8256U);
  EXPECT_GE(b.tx_stride, 8256U);
  EXPECT_EQ(b.events & (b.events - 1), 0U) << b.events;
  EXPECT_GE(b.ring_bytes, sizeof(rdma_bulk_ring) + b.events * sizeof(rdma_bulk_event));
  EXPECT_GE(b.rx_bytes, std::uint64_t{b.rx_slots} * b.rx_stride);
  EXPECT_GE(b.tx_bytes, std::uint64_t{b.tx_slots} * b.tx_stride);
  EXPECT_EQ(channel.ring->events, b.events);
  EXPECT_EQ(channel.producer(), 0U);
  EXPECT_EQ(channel.address().ip_text(), query()->devices[0].address.ip_text());
}

TEST_F(Control, tokens_are_not_alike) {
  const RawChannel a;
  const RawChannel b;
  EXPECT_NE(a.bind.token, b.bind.token);
  EXPECT_NE(a.bind.token >> 32, b.bind.token >> 32) << "32 random bits alike";
}

TEST_F(Control, slots_are_zero_at_first) {
  const RawChannel channel;
  const auto zero = [](std::byte b) { return b == std::byte{0}; };
  EXPECT_TRUE(std::all_of(channel.rx, channel.rx + channel.bind.rx_bytes, zero));
  EXPECT_TRUE(std::all_of(channel.tx, channel.tx + channel.bind.tx_bytes, zero));
}

TEST_F(Control, bind_gives_the_slots_asked_for) {
  auto b = good_bind(domain_.get());
  b.rx_slots = 17;
  b.tx_slots = 9;
  b.events = 64;
  b.rx_headroom = 512;
  ASSERT_TRUE(is(raw(plain_.get(), RDMA_BULK_IOC_BIND, &b), 0));
  EXPECT_GE(b.rx_slots, 17U);
  EXPECT_GE(b.tx_slots, 9U);
  EXPECT_GE(b.events, 64U);
  EXPECT_GE(b.rx_stride, 512U + 8256U);
}

TEST_F(Control, bind_refuses_bad_input) {
  struct Case {
    const char* what;
    std::function<void(rdma_bulk_bind&)> spoil;
    std::initializer_list<int> want;
  };
  const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  const Case cases[] = {
      {"ABI version 0", [](auto& b) { b.abi_version = 0; }, {EPROTONOSUPPORT}},
      {"ABI version 2", [](auto& b) { b.abi_version = 2; }, {EPROTONOSUPPORT}},
      {"no domain", [](auto& b) { b.domain_fd = -1; }, {EBADF}},
      {"a domain that is not open", [](auto& b) { b.domain_fd = 9999; }, {EBADF}},
      {"a domain that is /dev/null", [&](auto& b) { b.domain_fd = null; }, {EINVAL}},
      {"a domain that is a channel", [this](auto& b) { b.domain_fd = channel_.get(); }, {EINVAL}},
      {"a domain that is nothing yet", [this](auto& b) { b.domain_fd = plain_.get(); }, {EINVAL}},
      {"flags", [](auto& b) { b.flags = 1; }, {EINVAL}},
      {"reserved", [](auto& b) { b.reserved = 1; }, {EINVAL}},
      {"an unknown device", [](auto& b) { std::strcpy(b.device, "nowhere0:1"); }, {ENODEV}},
      {"a device without port", [](auto& b) { std::strcpy(b.device, "rxe0"); }, {ENODEV}},
      {"a device with port 0", [](auto& b) { std::strcpy(b.device, "rxe0:0"); }, {ENODEV}},
      {"a device with port 300", [](auto& b) { std::strcpy(b.device, "rxe0:300"); }, {ENODEV}},
      {"a device with a foreign address",
       [](auto& b) { std::strcpy(b.device, "rxe0:1@192.0.2.99"); },
       {ENODEV}},
      {"a device with half an address", [](auto& b) { std::strcpy(b.device, "rxe0:1@"); }, {ENODEV}},
      {"an empty name", [](auto& b) { std::memset(b.device, 0, sizeof(b.device)); }, {ENODEV, EINVAL}},
      {"a name without NUL", [](auto& b) { std::memset(b.device, 'x', sizeof(b.device)); }, {ENODEV, EINVAL}},
      {"513 bytes of headroom", [](auto& b) { b.rx_headroom = 513; }, {EINVAL}},
      {"4 GiB of headroom", [](auto& b) { b.rx_headroom = 0xffffffff; }, {EINVAL}},
      {"3 events", [](auto& b) { b.events = 3; }, {EINVAL}},
      {"131072 events", [](auto& b) { b.events = 131072; }, {EINVAL}},
      {"2^31 events", [](auto& b) { b.events = 0x80000000; }, {EINVAL}},
  };
  for (const Case& c : cases) {
    const Fd fd = raw_open();
    auto b = good_bind(domain_.get());
    c.spoil(b);
    EXPECT_TRUE(is(raw(fd.get(), RDMA_BULK_IOC_BIND, &b), c.want)) << c.what;
    b = good_bind(domain_.get());
    EXPECT_TRUE(is(raw(fd.get(), RDMA_BULK_IOC_BIND, &b), 0)) << "a good bind after " << c.what;
  }
  ::close(null);
  check_sizes(RDMA_BULK_IOC_BIND, plain_.get(), good_bind(domain_.get()));
}

TEST_F(Control, bind_gives_no_more_slots_than_the_limits) {
  const auto info = query();
  auto b = good_bind(domain_.get());
  b.rx_slots = 0xffffffff;
  b.tx_slots = 0xffffffff;
  const Status status = raw(plain_.get(), RDMA_BULK_IOC_BIND, &b);
  EXPECT_TRUE(is(status, {0, EINVAL}));
  if (status.ok()) {
    EXPECT_LE(b.rx_slots, info->limits.rx_slots);
    EXPECT_LE(b.tx_slots, info->limits.tx_slots);
  }
}

TEST_F(Control, a_device_node_with_a_closed_domain_still_works_as_channel) {
  domain_.reset();
  auto stats = sized<rdma_bulk_stats>();
  EXPECT_TRUE(is(raw(channel_.get(), RDMA_BULK_IOC_STATS, &stats), 0));
}

// ---- grow ----

TEST_F(Control, grow_gives_slots_up_to_the_limits) {
  const auto info = query();
  auto before = sized<rdma_bulk_stats>();
  ASSERT_TRUE(is(raw(channel_.get(), RDMA_BULK_IOC_STATS, &before), 0));
  auto g = sized<rdma_bulk_grow>();
  g.rx_add = 5;
  ASSERT_TRUE(is(raw(channel_.get(), RDMA_BULK_IOC_GROW, &g), 0));
  EXPECT_EQ(g.rx_add, 5U);
  EXPECT_EQ(g.rx_first, before.rx_slots);
  EXPECT_EQ(g.tx_add, 0U);
  EXPECT_EQ(g.tx_bytes, 0U);
  g = sized<rdma_bulk_grow>();
  g.rx_add = 0xffffffff;
  g.tx_add = 0xffffffff;
  ASSERT_TRUE(is(raw(channel_.get(), RDMA_BULK_IOC_GROW, &g), 0));
  // fewer, where the event ring has no places for more
  EXPECT_LE(g.rx_first + g.rx_add, info->limits.rx_slots);
  EXPECT_GE(g.rx_first + g.rx_add, 64U);
  EXPECT_EQ(g.tx_first + g.tx_add, info->limits.tx_slots);
  g = sized<rdma_bulk_grow>();
  g.rx_add = 1;
  g.tx_add = 1;
  ASSERT_TRUE(is(raw(channel_.get(), RDMA_BULK_IOC_GROW, &g), 0));
  EXPECT_EQ(g.rx_add + g.tx_add, 0U) << "there are none left";
  EXPECT_EQ(g.rx_bytes + g.rx_offset + g.tx_bytes + g.tx_offset, 0U);
}

TEST_F(Control, grow_gives_something_15_times) {
  for (int i = 0; i < 15; ++i) {
    auto g = sized<rdma_bulk_grow>();
    g.rx_add = 1;
    EXPECT_TRUE(is(raw(channel_.get(), RDMA_BULK_IOC_GROW, &g), 0)) << "call " << i + 1;
    EXPECT_EQ(g.rx_add, 1U);
  }
  auto g = sized<rdma_bulk_grow>();
  g.rx_add = 1;
  EXPECT_TRUE(is(raw(channel_.get(), RDMA_BULK_IOC_GROW, &g), ENOSPC));
}

TEST_F(Control, grow_refuses_bad_input) {
  auto g = sized<rdma_bulk_grow>();
  g.flags = 1;
  EXPECT_TRUE(is(raw(channel_.get(), RDMA_BULK_IOC_GROW, &g), EINVAL));
  check_sizes(RDMA_BULK_IOC_GROW, channel_.get(), sized<rdma_bulk_grow>());
}

// ---- register ----

TEST_F(Control, registration_gives_a_handle_and_a_key) {
  Pages memory(3 * 4096);
  auto a = good_reg(memory.data() + 1, 4097, RDMA_BULK_ACCESS_REMOTE_READ);
  auto b = a;
  ASSERT_TRUE(is(raw(domain_.get(), RDMA_BULK_IOC_REG, &a), 0));
  ASSERT_TRUE(is(raw(domain_.get(), RDMA_BULK_IOC_REG, &b), 0));
  EXPECT_NE(a.handle, 0U);
  EXPECT_NE(a.handle, b.handle);
  EXPECT_NE(std::memcmp(a.key, b.key, sizeof(a.key)), 0) << "two regions have the same key";
  EXPECT_NE(std::memcmp(a.key + 8, b.key + 8, 16), 0) << "two keys have the same secret";
  auto local = good_reg(memory.data(), 10, 0);
  ASSERT_TRUE(is(raw(domain_.get(), RDMA_BULK_IOC_REG, &local), 0));
  EXPECT_NE(local.handle, 0U);
  const std::uint8_t zero[24] = {};
  EXPECT_EQ(std::memcmp(local.key, zero, sizeof(zero)), 0) << "a local region has no key";
}

TEST_F(Control, registration_refuses_bad_input) {
  Pages memory(2 * 4096);
  void* read_only = ::mmap(nullptr, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  void* hole = ::mmap(nullptr, 3 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ::munmap(static_cast<std::byte*>(hole) + 4096, 4096);
  constexpr std::uint32_t r = RDMA_BULK_ACCESS_REMOTE_READ;
  constexpr std::uint32_t w = RDMA_BULK_ACCESS_REMOTE_WRITE;
  const auto at = [](std::uint64_t address) { return reinterpret_cast<const void*>(address); };
  struct Case {
    const char* what;
    rdma_bulk_reg reg;
    std::initializer_list<int> want;
  };
  auto reserved = good_reg(memory.data(), 1, r);
  reserved.reserved = 1;
  const Case cases[] = {
      {"length 0", good_reg(memory.data(), 0, r), {EINVAL}},
      {"an unknown right", good_reg(memory.data(), 1, 4), {EINVAL}},
      {"the highest right", good_reg(memory.data(), 1, 0x80000000), {EINVAL}},
      {"reserved", reserved, {EINVAL}},
      {"a range that wraps", good_reg(at(~std::uint64_t{0} - 100), 4096, r), {EOVERFLOW}},
      {"a length that wraps", good_reg(memory.data(), ~std::size_t{0}, r), {EOVERFLOW}},
      {"a local range that wraps", good_reg(memory.data(), ~std::size_t{0}, 0), {EOVERFLOW}},
      {"address 0", good_reg(nullptr, 4096, r), {EFAULT}},
      {"kernel memory", good_reg(at(0xffff888000000000), 4096, r), {EFAULT}},
      {"kernel memory, local", good_reg(at(0xffff888000000000), 4096, 0), {EFAULT, 0}},
      {"up to the end of user memory", good_reg(memory.data(), (std::size_t{1} << 47), r), {EFAULT, ENOMEM}},
      {"memory with a hole", good_reg(hole, 3 * 4096, r), {EFAULT}},
      {"read-only memory for writing", good_reg(read_only, 4096, w), {EFAULT}},
      {"program text for writing", good_reg(reinterpret_cast<void*>(&limit_seconds), 1, w), {EFAULT}},
  };
  for (const Case& c : cases) {
    auto reg = c.reg;
    EXPECT_TRUE(is(raw(domain_.get(), RDMA_BULK_IOC_REG, &reg), c.want)) << c.what;
  }
  auto reading = good_reg(read_only, 4096, r);
  EXPECT_TRUE(is(raw(domain_.get(), RDMA_BULK_IOC_REG, &reading), 0)) << "read-only memory for reading";
  check_sizes(RDMA_BULK_IOC_REG, domain_.get(), good_reg(memory.data(), 1, 0));
  ::munmap(read_only, 4096);
  ::munmap(hole, 3 * 4096);
}

TEST_F(Control, deregistration_refuses_bad_input) {
  auto d = sized<rdma_bulk_dereg>();
  EXPECT_TRUE(is(raw(domain_.get(), RDMA_BULK_IOC_DEREG, &d), ENOENT)) << "handle 0";
  d.handle = 12345;
  EXPECT_TRUE(is(raw(domain_.get(), RDMA_BULK_IOC_DEREG, &d), ENOENT));
  d.handle = 0xffffffff;
  EXPECT_TRUE(is(raw(domain_.get(), RDMA_BULK_IOC_DEREG, &d), ENOENT));

  Pages memory(4096);
  auto reg = good_reg(memory.data(), 4096, RDMA_BULK_ACCESS_REMOTE_READ);
  ASSERT_TRUE(is(raw(domain_.get(), RDMA_BULK_IOC_REG, &reg), 0));
  d.handle = reg.handle;
  d.flags = 2;
  EXPECT_TRUE(is(raw(domain_.get(), RDMA_BULK_IOC_DEREG, &d), EINVAL)) << "flags";
  d.flags = 0;
  d.reserved = 1;
  EXPECT_TRUE(is(raw(domain_.get(), RDMA_BULK_IOC_DEREG, &d), EINVAL)) << "reserved";
  d.reserved = 0;

  const Fd other = raw_open();
  auto domain = good_domain();
  ASSERT_TRUE(is(raw(other.get(), RDMA_BULK_IOC_DOMAIN, &domain), 0));
  EXPECT_TRUE(is(raw(other.get(), RDMA_BULK_IOC_DEREG, &d), ENOENT)) << "another domain's region";

  EXPECT_TRUE(is(raw(domain_.get(), RDMA_BULK_IOC_DEREG, &d), 0));
  EXPECT_TRUE(is(raw(domain_.get(), RDMA_BULK_IOC_DEREG, &d), ENOENT)) << "twice";
}

// ---- endpoints ----

TEST_F(Control, opening_an_endpoint_refuses_bad_input) {
  const RawChannel peer;
  const Address good = peer.address();
  auto open = good_ep_open(good);
  open.flags = RDMA_BULK_EP_FIRST << 1;
  EXPECT_TRUE(is(raw(channel_.get(), RDMA_BULK_IOC_EP_OPEN, &open), EINVAL)) << "flags";
  open = good_ep_open(Address{});
  EXPECT_TRUE(is(raw(channel_.get(), RDMA_BULK_IOC_EP_OPEN, &open), {EAFNOSUPPORT, EINVAL})) << "no address";
  open = good_ep_open(good);
  open.addr[0] = AF_UNIX;
  EXPECT_TRUE(is(raw(channel_.get(), RDMA_BULK_IOC_EP_OPEN, &open), EAFNOSUPPORT)) << "AF_UNIX";
  open = good_ep_open(*Address::from_text("[2001:db8::1]:0/0000000000000001"));
  EXPECT_TRUE(is(raw(channel_.get(), RDMA_BULK_IOC_EP_OPEN, &open), EAFNOSUPPORT)) << "the other family";
  check_sizes(RDMA_BULK_IOC_EP_OPEN, channel_.get(), good_ep_open(good));
}

TEST_F(Control, closing_an_endpoint_refuses_bad_input) {
  for (const std::uint32_t ep : {0U, 1U, 0xffffffffU}) {
    auto close = sized<rdma_bulk_ep_close>();
    close.ep = ep;
    EXPECT_TRUE(is(raw(channel_.get(), RDMA_BULK_IOC_EP_CLOSE, &close), ENOENT)) << ep;
  }
  check_sizes(RDMA_BULK_IOC_EP_CLOSE, channel_.get(), sized<rdma_bulk_ep_close>());
}

// ---- submit, stats ----

TEST_F(Control, submit_refuses_bad_input) {
  const std::vector<Command> commands(300, Command::flush(EpHandle{1}, 1));
  const auto submit = [&](std::uint32_t count, const void* cmds) {
    auto s = sized<rdma_bulk_submit>();
    s.count = count;
    s.cmds = reinterpret_cast<std::uintptr_t>(cmds);
    return raw(channel_.get(), RDMA_BULK_IOC_SUBMIT, &s);
  };
  EXPECT_TRUE(is(submit(0, commands.data()), EINVAL)) << "no command";
  EXPECT_TRUE(is(submit(257, commands.data()), EINVAL)) << "257 commands";
  EXPECT_TRUE(is(submit(0xffffffff, commands.data()), EINVAL)) << "2^32 - 1 commands";
  EXPECT_TRUE(is(submit(1, nullptr), EFAULT)) << "no array";
  EXPECT_TRUE(is(submit(1, reinterpret_cast<void*>(0xffff888000000000)), EFAULT)) << "kernel memory";
  EXPECT_TRUE(is(submit(256, commands.data()), ENOENT)) << "no endpoint 1";
}

TEST_F(Control, stats_count_from_zero) {
  auto s = sized<rdma_bulk_stats>();
  ASSERT_TRUE(is(raw(channel_.get(), RDMA_BULK_IOC_STATS, &s), 0));
  EXPECT_EQ(s.tx_messages + s.rx_messages + s.puts + s.gets + s.failed, 0U);
  EXPECT_EQ(s.endpoints, 0U);
  EXPECT_EQ(s.rx_slots_held, 0U);
  EXPECT_GE(s.kernel_bytes, 1U);
  EXPECT_LE(s.kernel_bytes, 128U << 10);
  RecordProperty("idle_channel_bytes", std::to_string(s.kernel_bytes));
  std::printf("an idle channel takes %llu bytes of kernel memory\n", s.kernel_bytes);
  s = sized<rdma_bulk_stats>();
  s.flags = 1;
  EXPECT_TRUE(is(raw(channel_.get(), RDMA_BULK_IOC_STATS, &s), EINVAL));
  check_sizes(RDMA_BULK_IOC_STATS, channel_.get(), sized<rdma_bulk_stats>());
}

// ---- mmap ----

TEST_F(Control, mappings_are_whole_and_shared) {
  const RawChannel c;
  const int fd = c.fd.get();
  const auto try_map = [&](std::uint64_t offset, std::uint64_t bytes, int protection, int flags) {
    void* base = ::mmap(nullptr, bytes, protection, flags, fd, static_cast<off_t>(offset));
    if (base == MAP_FAILED) return Status(errno);
    ::munmap(base, bytes);
    return Status{};
  };
  constexpr int rw = PROT_READ | PROT_WRITE;
  EXPECT_TRUE(is(try_map(c.bind.rx_offset, c.bind.rx_bytes, rw, MAP_SHARED), 0)) << "a second time";
  EXPECT_FALSE(try_map(c.bind.ring_offset, c.bind.ring_bytes, rw, MAP_SHARED).ok()) << "the ring, writable";
  EXPECT_FALSE(try_map(c.bind.rx_offset, c.bind.rx_bytes, rw, MAP_PRIVATE).ok()) << "private";
  EXPECT_FALSE(try_map(c.bind.rx_offset, c.bind.rx_bytes + 4096, rw, MAP_SHARED).ok()) << "too long";
  EXPECT_FALSE(try_map(c.bind.rx_offset, c.bind.rx_bytes - 4096, rw, MAP_SHARED).ok()) << "too short";
  EXPECT_FALSE(try_map(c.bind.rx_offset + 4096, c.bind.rx_bytes - 4096, rw, MAP_SHARED).ok())
      << "from the middle";
  EXPECT_FALSE(try_map(std::uint64_t{1} << 50, 4096, rw, MAP_SHARED).ok()) << "where nothing is";
}

TEST_F(Control, the_ring_never_becomes_writable) {
  const RawChannel c;
  auto* ring = const_cast<rdma_bulk_ring*>(c.ring);
  EXPECT_NE(::mprotect(ring, c.bind.ring_bytes, PROT_READ | PROT_WRITE), 0);
}

TEST_F(Control, mappings_do_not_grow) {
  const RawChannel c;
  EXPECT_EQ(::mremap(c.rx, c.bind.rx_bytes, c.bind.rx_bytes + 4096, MREMAP_MAYMOVE), MAP_FAILED);
}

TEST_F(Control, mappings_outlive_the_file) {
  RawChannel c;
  c.fd.reset();
  c.rx[0] = std::byte{1};
  c.tx[0] = std::byte{2};
  c.ctrl->consumer = 3;
  EXPECT_EQ(c.rx[0], std::byte{1});
  EXPECT_EQ(c.ring->events, c.bind.events);
}

}  // namespace
}  // namespace bulk::lab
