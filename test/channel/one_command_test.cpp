// SPDX-License-Identifier: BSD-3-Clause
//
// Malformed commands on one host, by every way of submission: each is refused with its own errno, has no
// effect, and leaves the endpoint in order.
#include <gtest/gtest.h>
#include <liburing.h>

#include <cstring>
#include <functional>
#include <vector>

#include "raw.hpp"

namespace bulk::lab {
namespace {

class Commands : public BySubmission {
 protected:
  Commands() : pair_(GetParam()), slot_(pair_.a->channel.tx_acquire()) {}
  ~Commands() override { EXPECT_TRUE(pair_.still_works()); }

  Command good_send() const { return Command::send(pair_.ab, slot_, 8, 1, 1); }
  Command good_put() const { return Command::put(pair_.ab, Local::user(buffer_.data()), 8, remote(), 1); }
  Command good_get() const { return Command::get(pair_.ab, Local::user(buffer_.data()), 8, remote(), 1); }
  Command good_flush() const { return Command::flush(pair_.ab, 1); }
  Remote remote() const { return {reinterpret_cast<std::uintptr_t>(memory_.data()), region_->key()}; }

  Status submit(const Command& command) {
    const Status status = pair_.a->channel.submit(command);
    EXPECT_EQ(pair_.a->channel.outstanding(), status.ok() ? 1U : 0U);
    return status;
  }

  Pair pair_;
  TxSlot slot_;
  Pages buffer_{4 * 4096};
  Pages memory_{4 * 4096};
  Result<Region> region_ =
      pair_.b->domain.register_memory(memory_.data(), memory_.size(), Access::remote_read_write);
};

TEST_P(Commands, malformed_ones_are_refused) {
  struct Case {
    const char* what;
    Command command;
    std::function<void(rdma_bulk_cmd&)> spoil;
    std::initializer_list<int> want;
  };
  const Command send = good_send();
  const Command put = good_put();
  const Command get = good_get();
  const Command flush = good_flush();
  const Case cases[] = {
      {"op 0", flush, [](auto& c) { c.op = 0; }, {EINVAL}},
      {"op 6", flush, [](auto& c) { c.op = 6; }, {EINVAL}},
      {"op 255", flush, [](auto& c) { c.op = 255; }, {EINVAL}},
      {"kind 3", send, [](auto& c) { c.local_kind = 3; }, {EINVAL}},
      {"kind 255", put, [](auto& c) { c.local_kind = 255; }, {EINVAL}},
      {"an unknown flag", send, [](auto& c) { c.flags = 16; }, {EINVAL}},
      {"the highest flag", put, [](auto& c) { c.flags = 0x8000; }, {EINVAL}},
      {"REMOTE on a SEND", send, [](auto& c) { c.flags = RDMA_BULK_CMD_REMOTE; }, {EINVAL}},
      {"REMOTE on a PUT", put, [](auto& c) { c.flags = RDMA_BULK_CMD_REMOTE; }, {EINVAL}},
      {"reserved[0]", send, [](auto& c) { c.reserved[0] = 1; }, {EINVAL}},
      {"reserved[2]", flush, [](auto& c) { c.reserved[2] = 0x100; }, {EINVAL}},
      {"endpoint 0", send, [](auto& c) { c.ep = 0; }, {ENOENT, EINVAL}},
      {"an unknown endpoint", send, [](auto& c) { c.ep = 0x12345; }, {ENOENT}},
      {"the highest endpoint", flush, [](auto& c) { c.ep = 0xffffffff; }, {ENOENT}},
      {"remote_addr on a SEND", send, [](auto& c) { c.remote_addr = 1; }, {EINVAL}},
      {"a key on a SEND", send, [](auto& c) { c.key[23] = 1; }, {EINVAL}},
      {"id on a PUT", put, [](auto& c) { c.id = 1; }, {EINVAL}},
      {"id on a FLUSH", flush, [](auto& c) { c.id = 1; }, {EINVAL}},
      {"key_region on a GET", get, [](auto& c) { c.key_region = 1; }, {EINVAL}},
      {"length on a FLUSH", flush, [](auto& c) { c.length = 1; }, {EINVAL, EMSGSIZE}},
      {"address on a FLUSH", flush, [](auto& c) { c.addr = 1; }, {EINVAL}},
      {"kind on a FLUSH", flush, [](auto& c) { c.local_kind = 1; }, {EINVAL}},
      {"local on a FLUSH", flush, [](auto& c) { c.local = 1; }, {EINVAL}},
      {"local with user memory", put, [](auto& c) { c.local = 1; }, {EINVAL}},
      {"an unknown key_region", send, [](auto& c) { c.key_region = 0x12345; }, {ENOENT}},
      {"8257 bytes", send, [](auto& c) { c.length = 8257; }, {EMSGSIZE}},
      {"2^64 - 1 bytes", send, [](auto& c) { c.length = ~std::uint64_t{0}; }, {EMSGSIZE}},
      {"2^32 + 8 bytes", send, [](auto& c) { c.length = (std::uint64_t{1} << 32) + 8; }, {EMSGSIZE}},
      {"beyond the slot", send, [](auto& c) { c.addr = 8250; }, {EMSGSIZE}},
      {"an offset beyond the slot", send, [](auto& c) { c.addr = 9000; }, {EMSGSIZE}},
      {"an offset that wraps", send, [](auto& c) { c.addr = ~std::uint64_t{0} - 3; }, {EMSGSIZE}},
      {"an offset of 4 GiB", send, [](auto& c) { c.addr = std::uint64_t{1} << 32; }, {EMSGSIZE}},
      {"a slot that is not there", send, [](auto& c) { c.local = 5000; }, {EINVAL}},
      {"no slot", send, [](auto& c) { c.local = RDMA_BULK_NO_SLOT; }, {EINVAL}},
      {"2^30 + 1 bytes", put, [](auto& c) { c.length = (1UL << 30) + 1; }, {EMSGSIZE}},
      {"2^64 - 1 bytes", get, [](auto& c) { c.length = ~std::uint64_t{0}; }, {EMSGSIZE}},
      {"more than the region", put, [](auto& c) { c.length = 1UL << 30; }, {ERANGE, EFAULT}},
  };
  for (const Case& c : cases) {
    Command command = c.command;
    c.spoil(command.abi);
    EXPECT_TRUE(is(pair_.a->run(
                       [&](std::uint64_t id) {
                         command.abi.user_data = id;
                         return pair_.a->channel.submit(command);
                       },
                       {pair_.b.get()}),
                   c.want))
        << c.what;
  }
  EXPECT_TRUE(pair_.b->log.messages.empty());
}

TEST_P(Commands, messages_from_bad_user_memory_are_refused) {
  Pages hole(2 * 4096);
  ::munmap(hole.data() + 4096, 4096);
  const auto send_at = [&](const void* p, std::uint32_t n) {
    return submit(Command::send(pair_.ab, Local::user(p), n, 1, 1));
  };
  EXPECT_TRUE(is(send_at(nullptr, 1), EFAULT));
  EXPECT_TRUE(is(send_at(reinterpret_cast<void*>(0xffff888000000000), 8), EFAULT)) << "kernel memory";
  EXPECT_TRUE(is(send_at(reinterpret_cast<void*>(~std::uintptr_t{0} - 3), 8), {EFAULT, ERANGE})) << "wraps";
  EXPECT_TRUE(is(send_at(hole.data() + 4090, 100), EFAULT)) << "a hole";
}

TEST_P(Commands, a_message_from_a_region_is_handled_by_the_rules) {
  auto own = pair_.a->domain.register_memory(buffer_.data(), 100, Access::local);
  ASSERT_TRUE(own.ok());
  // SEND is from a slot or from plain memory
  EXPECT_TRUE(
      is(submit(Command::send(pair_.ab, Local::region(own->handle(), buffer_.data()), 8, 1, 1)), EINVAL));
}

TEST_P(Commands, a_busy_slot_is_refused) {
  // Operations of an endpoint are posted in order: a message behind a PUT whose key is new keeps its slot until
  // the other end has told what the key stands for, and then until most of the 8 MiB are on their way. That takes longer
  // than submitting another, but where a thread of the kernel submits for a process that has to wait for its turn.
  // (Neither alone does: rxe of Linux 6.1 sends data before the submitter goes on, and a key is told in no time.)
  Pages from(8 << 20);
  Pages to(8 << 20);
  const auto local = pair_.a->domain.register_memory(from.data(), from.size(), Access::remote_read_write);
  ASSERT_TRUE(local.ok());
  Channel& a = pair_.a->channel;
  int refusal = 0;
  for (int i = 0; i < 50 && refusal == 0; ++i) {
    const auto peer = pair_.b->domain.register_memory(to.data(), to.size(), Access::remote_read_write);
    ASSERT_TRUE(peer.ok());
    const Remote there{reinterpret_cast<std::uintptr_t>(to.data()), peer->key()};
    ASSERT_TRUE(is(
        a.submit(Command::put(pair_.ab, Local::region(local->handle(), from.data()), from.size(), there, 2)), 0));
    ASSERT_TRUE(is(a.submit(good_send()), 0));
    refusal = a.submit(good_send()).error();
    ASSERT_TRUE(pair_.wait([&] { return a.outstanding() == 0; }, "commands to end"));
    slot_ = a.tx_acquire();
  }
  EXPECT_EQ(refusal, EBUSY) << errno_text(refusal);
}

TEST_P(Commands, returning_slots_is_checked) {
  Channel& a = pair_.a->channel;
  const auto give = [&](std::vector<std::uint16_t> slots,
                        std::function<void(rdma_bulk_cmd&)> spoil = nullptr) {
    Command c = Command::return_slots(slots);
    if (spoil) spoil(c.abi);
    return a.submit(c);
  };
  EXPECT_TRUE(is(give({0}), EINVAL)) << "not held";
  EXPECT_TRUE(is(give({0xffff}), EINVAL)) << "not there";
  EXPECT_TRUE(is(give({}), EINVAL)) << "none";
  EXPECT_TRUE(is(give({0}, [](auto& c) { c.length = 17; }), EINVAL)) << "17";
  EXPECT_TRUE(is(give({0}, [](auto& c) { c.length = ~std::uint64_t{0}; }), EINVAL)) << "2^64 - 1";
  EXPECT_TRUE(is(give({0}, [](auto& c) { c.ep = 1; }), EINVAL)) << "with an endpoint";
  EXPECT_TRUE(is(give({0}, [](auto& c) { c.flags = 1; }), EINVAL)) << "with a flag";

  // Two messages for a, held.
  pair_.a->log.hold = true;
  for (int i = 0; i < 2; ++i) {
    EXPECT_TRUE(is(pair_.b->run(
                       [&](std::uint64_t id) {
                         return pair_.b->channel.send(pair_.ba, Local::user(buffer_.data()), 8, 1, id);
                       },
                       {pair_.a.get()}),
                   0));
  }
  ASSERT_TRUE(pair_.wait([&] { return pair_.a->log.held.size() == 2; }, "two messages"));
  pair_.a->log.hold = false;
  const auto x = static_cast<std::uint16_t>(pair_.a->log.held[0].value);
  const auto y = static_cast<std::uint16_t>(pair_.a->log.held[1].value);
  EXPECT_TRUE(is(give({x, x}), EINVAL)) << "twice in one command";
  EXPECT_TRUE(is(give({x, y, 999}), EINVAL)) << "with one that is not there";
  EXPECT_EQ(a.stats()->rx_slots_held, 2U) << "a refused return has no effect";
  // Behind the library's back, so its count of outstanding commands must not be used afterwards.
  EXPECT_TRUE(is(give({y}), 0));
  EXPECT_TRUE(is(give({y}), EINVAL)) << "returned already";
  EXPECT_TRUE(is(give({x}), 0));
  EXPECT_EQ(a.stats()->rx_slots_held, 0U);
}

TEST_P(Commands, a_batch_ends_at_the_first_refusal) {
  Batch batch(pair_.a->channel);
  Command bad = good_send();
  bad.abi.op = 77;
  ASSERT_TRUE(pair_.still_works());
  const std::uint64_t before = pair_.b->log.received;
  std::uint64_t sent = 0;
  Submitted result;
  // The window may be smaller than three at first.
  ASSERT_TRUE(pair_.wait(
      [&] {
        for (std::uint16_t i = 0; i < 3; ++i)
          batch.add(Command::send(pair_.ab, Local::user(buffer_.data()), 4, i, i));
        batch.add(bad);
        for (std::uint16_t i = 3; i < 6; ++i)
          batch.add(Command::send(pair_.ab, Local::user(buffer_.data()), 4, i, i));
        result = batch.submit();
        sent += result.accepted;
        return !result.refusal.again();
      },
      "a window of three messages"));
  EXPECT_TRUE(is(result.refusal, EINVAL));
  EXPECT_EQ(result.accepted, 3U);
  ASSERT_TRUE(pair_.wait(
      [&] { return pair_.a->channel.outstanding() == 0 && pair_.b->log.received >= before + sent; },
      "the messages"));
  ASSERT_TRUE(pair_.still_works());
  EXPECT_EQ(pair_.b->log.received, before + sent + 1) << "what stands behind a refused command has no effect";
}

TEST_P(Commands, a_full_batch_of_messages_keeps_its_order) {
  std::uint64_t next = 0;
  const std::uint64_t total = 300;
  Batch batch(pair_.a->channel);
  const std::size_t before = pair_.b->log.messages.size();
  ASSERT_TRUE(pair_.wait(
      [&] {
        for (std::uint64_t i = next; i < total && !batch.full(); ++i) {
          batch.add(
              Command::send(pair_.ab, Local::user(buffer_.data()), 16, static_cast<std::uint16_t>(i), i));
        }
        const Submitted result = batch.submit();
        EXPECT_TRUE(is(result.refusal, {0, EAGAIN}));
        next += result.accepted;
        return next == total || testing::Test::HasFailure();
      },
      "all messages to be accepted"));
  ASSERT_TRUE(pair_.wait([&] { return pair_.b->log.messages.size() - before == total; }, "all messages"));
  for (std::uint64_t i = 0; i < total; ++i)
    ASSERT_EQ(pair_.b->log.messages[before + i].id, i);
}

INSTANTIATE_TEST_SUITE_P(, Commands,
                         testing::Values(Submission::automatic, Submission::ioctl, Submission::uring,
                                         Submission::sqpoll),
                         submission_name);

// ---- io_uring used in ways the library does not ----

class RawUring : public testing::Test {
 protected:
  // The answer to one command through a ring with these flags.
  int submit(unsigned setup_flags, const std::function<void(io_uring_sqe&)>& change) {
    io_uring ring;
    const int error = io_uring_queue_init(4, &ring, setup_flags);
    if (error < 0) {
      ADD_FAILURE() << errno_text(-error);
      return error;
    }
    io_uring_sqe* sqe = io_uring_get_sqe(&ring);
    std::memset(sqe, 0, (setup_flags & IORING_SETUP_SQE128) != 0 ? 128 : 64);
    sqe->opcode = IORING_OP_URING_CMD;
    sqe->fd = channel_.fd.get();
    sqe->cmd_op = RDMA_BULK_URING_SUBMIT;
    if ((setup_flags & IORING_SETUP_SQE128) != 0) {
      const Command flush = Command::flush(EpHandle{1}, 1);
      std::memcpy(sqe->cmd, &flush, sizeof(flush));
    }
    change(*sqe);
    io_uring_submit_and_wait(&ring, 1);
    io_uring_cqe* cqe = nullptr;
    io_uring_wait_cqe(&ring, &cqe);
    const int result = cqe->res;
    io_uring_queue_exit(&ring);
    return result;
  }

  RawChannel channel_;
};

TEST_F(RawUring, a_good_command_reaches_the_channel) {
  EXPECT_TRUE(is(Status::from_kernel(submit(IORING_SETUP_SQE128, [](auto&) {})), ENOENT));
}

TEST_F(RawUring, a_64_byte_entry_is_refused) {
  EXPECT_TRUE(is(Status::from_kernel(submit(0, [](auto&) {})), EINVAL));
}

TEST_F(RawUring, unknown_operations_are_refused) {
  for (const unsigned op : {0U, 2U, 0xffffffffU}) {
    EXPECT_TRUE(is(Status::from_kernel(submit(IORING_SETUP_SQE128, [&](auto& sqe) { sqe.cmd_op = op; })),
                   {EINVAL, ENOTTY, EOPNOTSUPP}))
        << op;
  }
}

TEST_F(RawUring, a_domain_takes_no_commands) {
  EXPECT_FALSE(Status::from_kernel(submit(IORING_SETUP_SQE128, [&](auto& sqe) {
                 sqe.fd = channel_.domain.get();
               })).ok());
}

TEST_F(RawUring, a_file_that_is_nothing_takes_no_commands) {
  const Fd plain = raw_open();
  EXPECT_FALSE(
      Status::from_kernel(submit(IORING_SETUP_SQE128, [&](auto& sqe) { sqe.fd = plain.get(); })).ok());
}

}  // namespace
}  // namespace bulk::lab
