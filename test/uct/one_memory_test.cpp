// SPDX-License-Identifier: BSD-3-Clause
//
// PUT and GET, keys, order between them and messages: two interfaces of one process.
#include <array>
#include <cstring>

#include "node.hpp"

namespace {

using namespace bulk::test;

class Rma : public testing::Test {
 protected:
  Node here;
  Node there;
  Endpoint ep{here, there};
  Memory local{here, 3 << 20};
  Memory remote{there, 3 << 20};

  bool finish(Completion& completion, ucs_status_t status) {
    if (status == UCS_OK) return true;
    EXPECT_EQ(status, UCS_INPROGRESS) << ucs_status_string(status);
    return status == UCS_INPROGRESS && wait_until({&here, &there}, [&] { return completion.done; });
  }
  bool flush() {
    Completion completion;
    return finish(completion,
                  repeat({&here, &there}, [&] { return uct_ep_flush(ep.get(), 0, &completion); }));
  }
};

struct Piece {
  std::size_t local, remote, length;
};
constexpr std::array<Piece, 7> pieces{
    Piece{0, 0, 1},        Piece{1, 2, 3},       Piece{0, 4096, 4096},      Piece{17, 4095, 8192},
    Piece{4095, 1, 65537}, Piece{3, 5, 1 << 20}, Piece{1, 0, (3 << 20) - 1}};

TEST_F(Rma, PutsLargeBlocksOfAnyAlignment) {
  for (const Piece& piece : pieces) {
    fill(remote.bytes(), 0);
    fill(local.bytes().subspan(piece.local, piece.length), 9);
    const uct_iov_t iov = local.iov(piece.local, piece.length);
    Completion completion;
    ASSERT_TRUE(finish(completion, repeat({&here, &there}, [&] {
                         return uct_ep_put_zcopy(ep.get(), &iov, 1, remote.address() + piece.remote,
                                                 remote.rkey(), &completion);
                       })));
    EXPECT_EQ(completion.status, UCS_OK);
    EXPECT_TRUE(holds(remote.bytes().subspan(piece.remote, piece.length), 9)) << piece.length;
    const auto untouched = pattern(remote.bytes().size(), 0);
    EXPECT_TRUE(
        std::equal(untouched.begin(), untouched.begin() + static_cast<long>(piece.remote), remote.data()));
    EXPECT_TRUE(std::equal(untouched.begin() + static_cast<long>(piece.remote + piece.length),
                           untouched.end(), remote.data() + piece.remote + piece.length));
  }
}

TEST_F(Rma, GetsLargeBlocksOfAnyAlignment) {
  for (const Piece& piece : pieces) {
    fill(local.bytes(), 0);
    fill(remote.bytes().subspan(piece.remote, piece.length), 11);
    const uct_iov_t iov = local.iov(piece.local, piece.length);
    Completion completion;
    ASSERT_TRUE(finish(completion, repeat({&here, &there}, [&] {
                         return uct_ep_get_zcopy(ep.get(), &iov, 1, remote.address() + piece.remote,
                                                 remote.rkey(), &completion);
                       })));
    EXPECT_EQ(completion.status, UCS_OK);
    EXPECT_TRUE(holds(local.bytes().subspan(piece.local, piece.length), 11)) << piece.length;
  }
}

TEST_F(Rma, WorksWithoutALocalHandle) {
  fill(local.bytes(), 12);
  uct_iov_t iov = local.iov(0, 100000);
  iov.memh = UCT_MEM_HANDLE_NULL;
  Completion completion;
  ASSERT_TRUE(finish(completion, repeat({&here, &there}, [&] {
                       return uct_ep_put_zcopy(ep.get(), &iov, 1, remote.address(), remote.rkey(),
                                               &completion);
                     })));
  EXPECT_TRUE(std::equal(local.data(), local.data() + 100000, remote.data()));
}

TEST_F(Rma, PutsSmallBlocks) {
  for (const std::size_t length : {0, 1, 8, 1000, 8192, 8256}) {
    auto bytes = pattern(length, 13);
    ASSERT_EQ(repeat({&here, &there},
                     [&] {
                       return uct_ep_put_short(ep.get(), bytes.data(), static_cast<unsigned>(length),
                                               remote.address() + 1, remote.rkey());
                     }),
              UCS_OK);
    ASSERT_TRUE(flush());
    EXPECT_TRUE(holds(remote.bytes().subspan(1, length), 13));

    bytes = pattern(length, 14);
    ASSERT_EQ(repeat({&here, &there},
                     [&] {
                       const ssize_t packed = uct_ep_put_bcopy(ep.get(), pack_bytes, &bytes,
                                                               remote.address() + 3, remote.rkey());
                       return packed < 0 ? static_cast<ucs_status_t>(packed) : UCS_OK;
                     }),
              UCS_OK);
    ASSERT_TRUE(flush());
    EXPECT_TRUE(holds(remote.bytes().subspan(3, length), 14));
  }
}

TEST_F(Rma, GetsSmallBlocks) {
  fill(remote.bytes(), 15);
  for (const std::size_t length : {1, 8, 1000, 8192, 8256}) {
    std::vector<std::byte> got(length);
    Completion completion;
    ASSERT_TRUE(finish(completion, repeat({&here, &there}, [&] {
                         return uct_ep_get_bcopy(
                             ep.get(),
                             [](void* arg, const void* data, std::size_t n) { std::memcpy(arg, data, n); },
                             got.data(), length, remote.address(), remote.rkey(), &completion);
                       })));
    EXPECT_TRUE(holds(got, 15));
  }
}

TEST_F(Rma, NothingIsMovedForNothing) {
  const uct_iov_t iov = local.iov(0, 0);
  Completion completion;
  EXPECT_EQ(uct_ep_put_zcopy(ep.get(), &iov, 1, remote.address(), remote.rkey(), &completion), UCS_OK);
  EXPECT_EQ(uct_ep_get_zcopy(ep.get(), &iov, 1, remote.address(), remote.rkey(), &completion), UCS_OK);
}

TEST_F(Rma, AMessageComesAfterThePutBeforeIt) {
  for (unsigned round = 0; round < 50; ++round) {
    fill(local.bytes().first(100000), round);
    const uct_iov_t iov = local.iov(0, 100000);
    Completion completion;
    const ucs_status_t status = repeat({&here, &there}, [&] {
      return uct_ep_put_zcopy(ep.get(), &iov, 1, remote.address(), remote.rkey(), &completion);
    });
    ASSERT_EQ(uct_ep_fence(ep.get(), 0), UCS_OK);
    ASSERT_EQ(repeat({&here}, [&] { return uct_ep_am_short(ep.get(), 1, round, nullptr, 0); }), UCS_OK);
    ASSERT_TRUE(wait_until({&here, &there}, [&] { return there.arrived.size() == round + 1; }));
    EXPECT_TRUE(holds(remote.bytes().first(100000), round)) << "round " << round;
    ASSERT_TRUE(finish(completion, status));
  }
}

TEST_F(Rma, AnInterfaceFenceOrdersAllEndpoints) {
  Node third;
  Endpoint other(here, third);
  Memory others(third, 1 << 20);
  for (unsigned round = 0; round < 20; ++round) {
    fill(local.bytes().first(500000), round);
    const uct_iov_t iov = local.iov(0, 500000);
    Completion completion;
    const ucs_status_t status = repeat({&here, &there, &third}, [&] {
      return uct_ep_put_zcopy(ep.get(), &iov, 1, remote.address(), remote.rkey(), &completion);
    });
    ASSERT_EQ(uct_iface_fence(here.iface(), 0), UCS_OK);
    ASSERT_EQ(repeat({&here}, [&] { return uct_ep_am_short(other.get(), 1, round, nullptr, 0); }), UCS_OK);
    ASSERT_TRUE(wait_until({&here, &there, &third}, [&] { return third.arrived.size() == round + 1; }));
    EXPECT_TRUE(holds(remote.bytes().first(500000), round)) << "round " << round;
    ASSERT_TRUE(finish(completion, status));
  }
}

// The first message to an endpoint that was not connected yet used to go at once, or as soon as it was.
TEST_F(Rma, AnInterfaceFenceHoldsTheFirstMessageOfANewEndpoint) {
  for (unsigned round = 0; round < 10; ++round) {
    Node third;
    fill(local.bytes().first(500000), round);
    const uct_iov_t iov = local.iov(0, 500000);
    Completion completion;
    const ucs_status_t status = repeat({&here, &there, &third}, [&] {
      return uct_ep_put_zcopy(ep.get(), &iov, 1, remote.address(), remote.rkey(), &completion);
    });
    Endpoint other(here, third);
    ASSERT_EQ(uct_iface_fence(here.iface(), 0), UCS_OK);
    ASSERT_EQ(repeat({&here}, [&] { return uct_ep_am_short(other.get(), 1, round, nullptr, 0); }), UCS_OK);
    ASSERT_TRUE(wait_until({&here, &there, &third}, [&] { return third.arrived.size() == 1; }));
    EXPECT_TRUE(holds(remote.bytes().first(500000), round)) << "round " << round;
    ASSERT_TRUE(finish(completion, status));
  }
}

// ---- keys ----

TEST_F(Rma, AWrongKeyIsAnErrorOfThatOperation) {
  std::vector<std::byte> packed = remote.packed_key();
  packed.back() ^= std::byte{1};
  uct_rkey_bundle_t wrong{};
  ASSERT_EQ(uct_rkey_unpack(here.component(), packed.data(), &wrong), UCS_OK);
  fill(remote.bytes(), 16);
  const uct_iov_t iov = local.iov(0, 1000);
  Completion completion;
  const ucs_status_t status = repeat({&here, &there}, [&] {
    return uct_ep_put_zcopy(ep.get(), &iov, 1, remote.address(), wrong.rkey, &completion);
  });
  if (status == UCS_INPROGRESS) {
    ASSERT_TRUE(wait_until({&here, &there}, [&] { return completion.done; }));
    EXPECT_EQ(completion.status, UCS_ERR_REJECTED);
  } else {
    EXPECT_EQ(status, UCS_ERR_REJECTED);
  }
  EXPECT_TRUE(holds(remote.bytes(), 16));
  EXPECT_EQ(uct_rkey_release(here.component(), &wrong), UCS_OK);

  // And of no other.
  ASSERT_EQ(repeat({&here, &there}, [&] { return uct_ep_am_short(ep.get(), 1, 0, nullptr, 0); }), UCS_OK);
  ASSERT_TRUE(wait_until({&here, &there}, [&] { return there.arrived.size() == 1; }));
  EXPECT_TRUE(here.failed.empty());
}

TEST_F(Rma, AKeyEndsAtTheEndOfItsMemory) {
  const uct_iov_t iov = local.iov(0, 1000);
  Completion completion;
  const std::uint64_t end = remote.address() + remote.bytes().size();
  const ucs_status_t status = repeat({&here, &there}, [&] {
    return uct_ep_get_zcopy(ep.get(), &iov, 1, end - 999, remote.rkey(), &completion);
  });
  if (status == UCS_INPROGRESS) {
    ASSERT_TRUE(wait_until({&here, &there}, [&] { return completion.done; }));
    EXPECT_EQ(completion.status, UCS_ERR_INVALID_ADDR);
  } else {
    EXPECT_EQ(status, UCS_ERR_INVALID_ADDR);
  }
}

TEST_F(Rma, AKeyDiesWithItsMemory) {
  fill(remote.bytes(), 17);
  remote.deregister();
  const uct_iov_t iov = local.iov(0, 1000);
  Completion completion;
  const ucs_status_t status = repeat({&here, &there}, [&] {
    return uct_ep_put_zcopy(ep.get(), &iov, 1, remote.address(), remote.rkey(), &completion);
  });
  if (status == UCS_INPROGRESS) {
    ASSERT_TRUE(wait_until({&here, &there}, [&] { return completion.done; }));
    EXPECT_NE(completion.status, UCS_OK);
  } else {
    EXPECT_NE(status, UCS_OK);
  }
  EXPECT_TRUE(holds(remote.bytes(), 17));
}

TEST_F(Rma, AnUnheardErrorFailsTheEndpoint) {
  remote.deregister();
  const auto bytes = pattern(100, 1);
  const ucs_status_t status = repeat({&here, &there}, [&] {
    return uct_ep_put_short(ep.get(), bytes.data(), 100, remote.address(), remote.rkey());
  });
  if (status != UCS_OK) return;  // heard at once
  ASSERT_TRUE(wait_until({&here, &there}, [&] { return !here.failed.empty(); }));
  EXPECT_EQ(here.failed.front().ep, ep.get());
  EXPECT_NE(uct_ep_put_short(ep.get(), bytes.data(), 100, remote.address(), remote.rkey()), UCS_OK);
}

TEST(Registration, TakesConstantMemoryForReading) {
  Node node;
  static const std::array<char, 10000> constant{1, 2, 3};
  uct_mem_h memh = nullptr;
  ASSERT_EQ(uct_md_mem_reg(node.md(), const_cast<char*>(constant.data()), constant.size(),
                           UCT_MD_MEM_ACCESS_RMA, &memh),
            UCS_OK);
  EXPECT_EQ(uct_md_mem_dereg(node.md(), memh), UCS_OK);
}

TEST(Registration, RefusesMemoryThatIsNotThere) {
  Node node;
  uct_mem_h memh = nullptr;
  const ucs_status_t status = uct_md_mem_reg(node.md(), reinterpret_cast<void*>(8192), 4096,
                                             UCT_MD_MEM_ACCESS_RMA | UCT_MD_MEM_FLAG_HIDE_ERRORS, &memh);
  if (status == UCS_OK && std::getenv("BULK_LOOP_WORLD") != nullptr) {
    uct_md_mem_dereg(node.md(), memh);
    GTEST_SKIP() << "the stand-in for the kernel does not look at memory";
  }
  EXPECT_EQ(status, UCS_ERR_INVALID_ADDR);
}

}  // namespace
