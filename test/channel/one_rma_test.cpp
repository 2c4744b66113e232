// SPDX-License-Identifier: BSD-3-Clause
//
// Regions, keys, PUT and GET between two channels of one process, over the host's link to itself, by every
// way of submission.
#include <gtest/gtest.h>

#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "lab.hpp"

namespace bulk::lab {
namespace {

constexpr std::size_t region_bytes = 17 << 20;
constexpr std::size_t guard = 64;  // bytes around what is written that must stay as they are

class Rma : public BySubmission {
 protected:
  Rma() : pair_(GetParam()), a_(*pair_.a), b_(*pair_.b) {
    auto region = b_.domain.register_memory(memory_.data(), memory_.size(), Access::remote_read_write);
    if (!region) ADD_FAILURE() << region.error().text();
    if (region) region_ = std::move(*region);
  }

  Remote at(std::size_t offset) const {
    return {reinterpret_cast<std::uintptr_t>(memory_.data()) + offset, region_.key()};
  }

  Status put(Local from, std::size_t length, Remote to, Fence fence = Fence::none) {
    return a_.run([&](std::uint64_t id) { return a_.channel.put(pair_.ab, from, length, to, id, fence); },
                  {&b_});
  }
  Status get(Local into, std::size_t length, Remote from, Fence fence = Fence::none) {
    return a_.run([&](std::uint64_t id) { return a_.channel.get(pair_.ab, into, length, from, id, fence); },
                  {&b_});
  }

  Pair pair_;
  Node& a_;
  Node& b_;
  Pages memory_{region_bytes};  // b's
  Region region_;               // b's
  Pages local_{region_bytes};   // a's
};

// Writes `length` bytes from `from` to `to` and checks them, and the bytes around.
#define EXPECT_PUT(from, from_span, length, offset, seed)                                              \
  do {                                                                                                 \
    std::memset(memory_.data() + (offset)-guard, 0x77, (length) + 2 * guard);                          \
    fill(from_span, seed);                                                                             \
    ASSERT_TRUE(is(put(from, length, at(offset)), 0));                                                 \
    EXPECT_TRUE(holds(memory_.span().subspan(offset, length), seed));                                  \
    for (std::size_t i_ = 1; i_ <= guard; ++i_) {                                                      \
      ASSERT_EQ(memory_.data()[(offset)-i_], std::byte{0x77}) << i_ << " bytes in front";              \
      ASSERT_EQ(memory_.data()[(offset) + (length)-1 + i_], std::byte{0x77}) << i_ << " bytes behind"; \
    }                                                                                                  \
  } while (false)

constexpr std::size_t lengths[] = {0,  1,    2,    3,    7,    8,     9,     63,    64,
                                   65, 4095, 4096, 4097, 8192, 65535, 65536, 65537, 1 << 20};

TEST_P(Rma, put_from_user_memory_of_every_size) {
  for (const std::size_t n : lengths) {
    SCOPED_TRACE(n);
    EXPECT_PUT(Local::user(local_.data()), local_.span().first(n), n, 4096, n);
  }
}

TEST_P(Rma, put_from_a_slot) {
  for (const std::size_t n : {0UL, 1UL, 100UL, 4096UL, 8256UL}) {
    SCOPED_TRACE(n);
    const TxSlot slot = a_.channel.tx_acquire();
    EXPECT_PUT(slot, std::span(a_.channel.tx_data(slot), n), n, 5000, n);
  }
  const TxSlot slot = a_.channel.tx_acquire();
  EXPECT_PUT(Local::slot(slot, 4000), std::span(a_.channel.tx_data(slot) + 4000, 4256), 4256UL, 5001, 5);
}

TEST_P(Rma, put_from_a_region) {
  for (const Access access : {Access::local, Access::remote_read, Access::remote_read_write}) {
    const auto own = a_.domain.register_memory(local_.data() + 10, 2 << 20, access);
    ASSERT_TRUE(own.ok()) << own.error().text();
    for (const std::size_t n : lengths) {
      SCOPED_TRACE(n);
      EXPECT_PUT(Local::region(own->handle(), local_.data() + 13), local_.span().subspan(13, n), n, 7777, n);
    }
  }
}

TEST_P(Rma, get_into_user_memory_of_every_size) {
  for (const std::size_t n : lengths) {
    SCOPED_TRACE(n);
    fill(memory_.span().subspan(4096, n), n);
    std::memset(local_.data(), 0x77, n + 2 * guard);
    ASSERT_TRUE(is(get(Local::user(local_.data() + guard), n, at(4096)), 0));
    EXPECT_TRUE(holds(local_.span().subspan(guard, n), n));
    for (std::size_t i = 0; i < guard; ++i) {
      ASSERT_EQ(local_.data()[i], std::byte{0x77}) << "in front";
      ASSERT_EQ(local_.data()[guard + n + i], std::byte{0x77}) << "behind";
    }
  }
}

TEST_P(Rma, get_into_a_slot) {
  for (const std::uint32_t n : {1U, 100U, 4096U, 8256U}) {
    const TxSlot slot = a_.channel.tx_acquire();
    fill(memory_.span().subspan(333, n), n);
    // A slot's content is to be read in on_done(); here nobody else uses the slot until then.
    ASSERT_TRUE(is(get(slot, n, at(333)), 0));
    EXPECT_TRUE(holds(std::span<const std::byte>(a_.channel.tx_data(slot), n), n)) << n;
  }
}

TEST_P(Rma, get_into_a_region) {
  for (const Access access : {Access::local, Access::remote_read_write}) {
    const auto own = a_.domain.register_memory(local_.data() + 10, 2 << 20, access);
    ASSERT_TRUE(own.ok()) << own.error().text();
    for (const std::size_t n : lengths) {
      fill(memory_.span().subspan(4096, n), n);
      ASSERT_TRUE(is(get(Local::region(own->handle(), local_.data() + 99), n, at(4096)), 0)) << n;
      EXPECT_TRUE(holds(local_.span().subspan(99, n), n)) << n;
    }
  }
}

TEST_P(Rma, of_every_alignment) {
  for (const std::size_t here : {0UL, 1UL, 7UL, 64UL, 4095UL}) {
    for (const std::size_t there : {0UL, 1UL, 7UL, 64UL, 4095UL}) {
      for (const std::size_t n : {1UL, 8UL, 4096UL, 5000UL, 70001UL}) {
        SCOPED_TRACE("from " + std::to_string(here) + " to " + std::to_string(there) + ", " +
                     std::to_string(n) + " bytes");
        EXPECT_PUT(Local::user(local_.data() + here), local_.span().subspan(here, n), n, 8192 + there,
                   n + here);
        std::memset(local_.data() + here, 0, n);
        ASSERT_TRUE(is(get(Local::user(local_.data() + here), n, at(8192 + there)), 0));
        EXPECT_TRUE(holds(local_.span().subspan(here, n), n + here));
      }
    }
  }
}

TEST_P(Rma, of_16_MiB) {
  constexpr std::size_t n = 16 << 20;
  EXPECT_PUT(Local::user(local_.data() + 5), local_.span().subspan(5, n), n, 4099, 1);
  std::memset(local_.data(), 0, local_.size());
  ASSERT_TRUE(is(get(Local::user(local_.data() + 6), n, at(4099)), 0));
  EXPECT_TRUE(holds(local_.span().subspan(6, n), 1));
}

TEST_P(Rma, of_1_GiB) {
  if (std::getenv("BULK_BIG") == nullptr) GTEST_SKIP() << "set BULK_BIG=1 to run it";
  constexpr std::size_t n = 1UL << 30;
  // Both sides alias a few pages of a file, so that it fits into a small host.
  const int file = ::memfd_create("big", MFD_CLOEXEC);
  constexpr std::size_t part = 64 << 20;
  ASSERT_EQ(::ftruncate(file, part), 0);
  const auto map = [&] {
    auto* base = static_cast<std::byte*>(::mmap(nullptr, n, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    for (std::size_t i = 0; i < n; i += part) {
      ::mmap(base + i, part, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, file, 0);
    }
    return base;
  };
  std::byte* there = map();
  const auto big = b_.domain.register_memory(there, n, Access::remote_read_write);
  ASSERT_TRUE(big.ok()) << big.error().text();
  std::vector<std::byte> expected(part);
  fill(expected, 8);
  std::memcpy(there, expected.data(), part);
  std::byte* here = map();
  EXPECT_TRUE(is(put(Local::user(here), n, {reinterpret_cast<std::uintptr_t>(there), big->key()}), 0));
  EXPECT_TRUE(is(get(Local::user(here), n, {reinterpret_cast<std::uintptr_t>(there), big->key()}), 0));
  EXPECT_TRUE(holds(std::span<const std::byte>(there, part), 8));
  ::munmap(here, n);
  ::close(file);
}

TEST_P(Rma, many_at_once) {
  constexpr std::size_t n = 10000;
  constexpr std::size_t count = 200;
  fill(local_.span().first(n * count), 3);
  std::size_t sent = 0;
  ASSERT_TRUE(pair_.wait(
      [&] {
        while (sent < count) {
          const Status s =
              a_.channel.put(pair_.ab, Local::user(local_.data() + sent * n), n, at(sent * n), 5000 + sent);
          if (!s) {
            EXPECT_TRUE(is(s, EAGAIN));
            break;
          }
          ++sent;
        }
        return sent == count && a_.channel.outstanding() == 0;
      },
      "200 PUTs"));
  EXPECT_TRUE(holds(memory_.span().first(n * count), 3));
  for (const Done& d : a_.log.done)
    EXPECT_TRUE(is(d.status, 0));
}

// P4: a PUT's data is there before any later message of the endpoint.
TEST_P(Rma, data_of_a_put_is_there_before_a_later_message) {
  constexpr std::size_t n = 50000;
  for (std::uint64_t round = 0; round < 30; ++round) {
    fill(local_.span().first(n), round);
    Status s;
    ASSERT_TRUE(pair_.wait(
        [&] { return !(s = a_.channel.put(pair_.ab, Local::user(local_.data()), n, at(100), 1)).again(); },
        "PUT"));
    ASSERT_TRUE(is(s, 0));
    ASSERT_TRUE(pair_.wait(
        [&] { return !(s = a_.channel.send(pair_.ab, Local::user("x"), 1, 1, 2)).again(); }, "SEND"));
    ASSERT_TRUE(is(s, 0));
    ASSERT_TRUE(pair_.wait([&] { return b_.log.received == round + 1; }, "the message"));
    ASSERT_TRUE(holds(memory_.span().subspan(100, n), round)) << "round " << round;
    ASSERT_TRUE(pair_.wait([&] { return a_.channel.outstanding() == 0; }, "all to be done"));
  }
}

TEST_P(Rma, a_fenced_get_sees_an_earlier_put) {
  constexpr std::size_t n = 30000;
  for (const Fence fence : {Fence::endpoint, Fence::channel}) {
    for (std::uint64_t round = 0; round < 10; ++round) {
      fill(local_.span().first(n), round);
      std::memset(local_.data() + n, 0, n);
      Status s;
      ASSERT_TRUE(pair_.wait(
          [&] { return !(s = a_.channel.put(pair_.ab, Local::user(local_.data()), n, at(100), 1)).again(); },
          "PUT"));
      ASSERT_TRUE(is(s, 0));
      ASSERT_TRUE(is(get(Local::user(local_.data() + n), n, at(100), fence), 0));
      ASSERT_TRUE(holds(local_.span().subspan(n, n), round)) << "round " << round;
    }
  }
}

TEST_P(Rma, flush_ends_after_earlier_puts) {
  constexpr std::size_t n = 1 << 20;
  fill(local_.span().first(n), 4);
  Status s;
  ASSERT_TRUE(pair_.wait(
      [&] { return !(s = a_.channel.put(pair_.ab, Local::user(local_.data()), n, at(0), 1)).again(); },
      "PUT"));
  ASSERT_TRUE(is(s, 0));
  EXPECT_TRUE(is(a_.run([&](std::uint64_t id) { return a_.channel.flush(pair_.ab, id, true); }, {&b_}), 0));
  EXPECT_NE(a_.log.find(1), nullptr) << "FLUSH ended before an earlier PUT";
  EXPECT_TRUE(holds(memory_.span().first(n), 4));
}

// ---- keys and rights ----

TEST_P(Rma, a_wrong_key_is_refused) {
  for (const std::size_t byte : {0UL, 3UL, 4UL, 7UL, 8UL, 15UL, 23UL}) {
    Key wrong = region_.key();
    wrong[byte] ^= std::byte{1};
    const Remote to{reinterpret_cast<std::uintptr_t>(memory_.data()), wrong};
    EXPECT_TRUE(is(put(Local::user(local_.data()), 8, to), EKEYREJECTED)) << "a bit of byte " << byte;
    EXPECT_TRUE(is(get(Local::user(local_.data()), 8, to), EKEYREJECTED)) << "a bit of byte " << byte;
  }
  const Remote none{reinterpret_cast<std::uintptr_t>(memory_.data()), Key{}};
  EXPECT_TRUE(is(put(Local::user(local_.data()), 8, none), EKEYREJECTED)) << "all zero";
  EXPECT_EQ(memory_.data()[0], std::byte{0});
  EXPECT_TRUE(is(put(Local::user(local_.data()), 8, at(0)), 0)) << "the right key, after all that";
  EXPECT_TRUE(pair_.still_works());
}

TEST_P(Rma, a_good_key_is_good_however_many_wrong_ones_were_tried) {
  ASSERT_TRUE(is(put(Local::user(local_.data()), 8, at(0)), 0));
  Key wrong = region_.key();
  wrong[23] ^= std::byte{1};
  for (int i = 0; i < 200; ++i) {
    wrong[8] = static_cast<std::byte>(i);
    const Remote to{reinterpret_cast<std::uintptr_t>(memory_.data()), wrong};
    EXPECT_TRUE(is(put(Local::user(local_.data()), 8, to), EKEYREJECTED)) << i;
    ASSERT_TRUE(is(put(Local::user(local_.data()), 8, at(0)), 0)) << "after wrong one " << i;
  }
}

TEST_P(Rma, addresses_outside_the_region_are_refused) {
  const std::uint64_t first = reinterpret_cast<std::uintptr_t>(memory_.data());
  struct Case {
    const char* what;
    std::uint64_t address;
    std::size_t length;
  };
  const Case cases[] = {
      {"one byte in front", first - 1, 1},
      {"half in front", first - 4, 8},
      {"one byte behind", first + region_bytes, 1},
      {"half behind", first + region_bytes - 4, 8},
      {"all and one more", first, region_bytes + 1},
      {"address 0", 0, 8},
      {"a range that wraps", ~std::uint64_t{0} - 3, 8},
      {"kernel memory", 0xffff888000000000, 8},
  };
  // before the key is known here, and after
  for (int round = 0; round < 2; ++round) {
    for (const Case& c : cases) {
      const Remote to{c.address, region_.key()};
      Pages big(region_bytes + 4096);
      EXPECT_TRUE(is(put(Local::user(big.data()), c.length, to), ERANGE)) << c.what;
      EXPECT_TRUE(is(get(Local::user(big.data()), c.length, to), ERANGE)) << c.what;
    }
  }
  EXPECT_TRUE(is(put(Local::user(local_.data()), 1, at(region_bytes - 1)), 0)) << "the last byte";
  EXPECT_TRUE(is(put(Local::user(local_.data()), 0, at(region_bytes)), {0, ERANGE})) << "nothing at the end";
  EXPECT_TRUE(pair_.still_works());
}

TEST_P(Rma, rights_are_kept) {
  Pages memory(2 * 4096);
  const auto r = b_.domain.register_memory(memory.data(), 4096, Access::remote_read);
  const auto w = b_.domain.register_memory(memory.data() + 4096, 4096, Access::remote_write);
  ASSERT_TRUE(r.ok() && w.ok());
  const Remote readable{reinterpret_cast<std::uintptr_t>(memory.data()), r->key()};
  const Remote writable{reinterpret_cast<std::uintptr_t>(memory.data()) + 4096, w->key()};
  for (int round = 0; round < 2; ++round) {
    EXPECT_TRUE(is(put(Local::user(local_.data()), 8, readable), EACCES));
    EXPECT_TRUE(is(get(Local::user(local_.data()), 8, writable), EACCES));
    EXPECT_TRUE(is(get(Local::user(local_.data()), 8, readable), 0));
    EXPECT_TRUE(is(put(Local::user(local_.data()), 8, writable), 0));
  }
  EXPECT_TRUE(pair_.still_works());
}

TEST_P(Rma, a_key_names_one_region_only) {
  Pages other(4096);
  const auto second = b_.domain.register_memory(other.data(), 4096, Access::remote_read_write);
  ASSERT_TRUE(second.ok());
  EXPECT_TRUE(
      is(put(Local::user(local_.data()), 8, {reinterpret_cast<std::uintptr_t>(other.data()), region_.key()}),
         ERANGE));
  EXPECT_TRUE(is(
      put(Local::user(local_.data()), 8, {reinterpret_cast<std::uintptr_t>(memory_.data()), second->key()}),
      ERANGE));
}

TEST_P(Rma, a_revoked_key_is_refused) {
  for (const Deregister how : {Deregister::lazily, Deregister::invalidate}) {
    Pages memory(4096);
    auto region = b_.domain.register_memory(memory.data(), 4096, Access::remote_read_write);
    ASSERT_TRUE(region.ok());
    const Key key = region->key();
    const Remote to{reinterpret_cast<std::uintptr_t>(memory.data()), key};
    EXPECT_TRUE(is(put(Local::user(local_.data()), 8, to), 0));
    EXPECT_TRUE(is(b_.domain.deregister(std::move(*region), how), 0));
    if (how == Deregister::lazily) {
      // the other hosts are being told; from some moment on it is refused
      ASSERT_TRUE(pair_.wait([&] { return !put(Local::user(local_.data()), 8, to).ok(); }, "the key to die"));
    }
    EXPECT_TRUE(is(put(Local::user(local_.data()), 8, to), EKEYREJECTED));
    EXPECT_TRUE(is(get(Local::user(local_.data()), 8, to), EKEYREJECTED));
    const auto again = b_.domain.register_memory(memory.data(), 4096, Access::remote_read_write);
    ASSERT_TRUE(again.ok());
    EXPECT_NE(again->key(), key);
    EXPECT_TRUE(is(put(Local::user(local_.data()), 8, to), EKEYREJECTED)) << "the memory is registered anew";
  }
  EXPECT_TRUE(pair_.still_works());
}

TEST_P(Rma, a_key_that_was_never_used_can_be_revoked) {
  Pages memory(4096);
  auto region = b_.domain.register_memory(memory.data(), 4096, Access::remote_read);
  ASSERT_TRUE(region.ok());
  const Key key = region->key();
  EXPECT_TRUE(is(b_.domain.deregister(std::move(*region), Deregister::invalidate), 0));
  EXPECT_TRUE(is(get(Local::user(local_.data()), 8, {reinterpret_cast<std::uintptr_t>(memory.data()), key}),
                 EKEYREJECTED));
}

// INVALIDATE has returned: nobody writes any more, whatever was under way. On a slow host it may be that the
// lane had to be closed for it; then the endpoint is down, and is opened anew.
TEST_P(Rma, nothing_is_written_after_invalidation) {
  for (std::uint64_t round = 0; round < 5; ++round) {
    constexpr std::size_t n = 1 << 18;
    Pages memory(n);
    auto region = b_.domain.register_memory(memory.data(), n, Access::remote_read_write);
    ASSERT_TRUE(region.ok());
    const Remote to{reinterpret_cast<std::uintptr_t>(memory.data()), region->key()};
    fill(local_.span().first(n), 1);
    Status first = put(Local::user(local_.data()), n, to);
    if (first.error() == ECONNRESET) {
      std::printf("the lane had to be closed in round %d\n", static_cast<int>(round) - 1);
      ASSERT_TRUE(pair_.wait([&] { return !a_.log.down.empty(); }, "the endpoint to come down"));
      a_.log.down.clear();
      pair_.ab = a_.connect(b_.channel.address(), {&b_});
      first = put(Local::user(local_.data()), n, to);
    }
    ASSERT_TRUE(is(first, 0));
    a_.log.done.clear();
    std::size_t accepted = 0;
    for (std::uint64_t i = 0; i < 4; ++i) {
      accepted += a_.channel.put(pair_.ab, Local::user(local_.data()), n, to, 70000 + i).ok() ? 1 : 0;
      accepted += a_.channel.get(pair_.ab, Local::user(local_.data() + n), n, to, 80000 + i).ok() ? 1 : 0;
    }
    EXPECT_TRUE(is(b_.domain.deregister(std::move(*region), Deregister::invalidate), 0));
    std::memset(memory.data(), 0x33, n);
    ASSERT_TRUE(pair_.wait([&] { return a_.channel.outstanding() == 0; }, "all commands to end"));
    for (std::size_t i = 0; i < n; ++i)
      ASSERT_EQ(memory.data()[i], std::byte{0x33}) << "byte " << i << " was written";
    EXPECT_EQ(a_.log.done.size(), accepted);
    for (const Done& d : a_.log.done)
      EXPECT_TRUE(is(d.status, {0, EKEYREJECTED, ECONNRESET}));
  }
}

TEST_P(Rma, memory_may_be_unmapped_while_it_is_registered) {
  auto memory = std::make_unique<Pages>(1 << 20);
  auto region = b_.domain.register_memory(memory->data(), memory->size(), Access::remote_read_write);
  ASSERT_TRUE(region.ok());
  const Remote to{reinterpret_cast<std::uintptr_t>(memory->data()), region->key()};
  memory.reset();
  EXPECT_TRUE(is(put(Local::user(local_.data()), 4096, to), {0, EKEYREJECTED, EFAULT}));
  EXPECT_TRUE(is(b_.domain.deregister(std::move(*region), Deregister::invalidate), 0));
  EXPECT_TRUE(pair_.still_works());
}

// The pages that are pinned must be those that the process sees after its first write, whatever was there
// before: nothing (Linux before 6.2 pinned the page of zeros), or a page of a file.
TEST_P(Rma, memory_may_be_registered_for_reading_before_it_is_written) {
  constexpr std::size_t bytes = 3 * 4096;
  const int file = ::memfd_create("rma-test", MFD_CLOEXEC);
  ASSERT_TRUE(file >= 0 && ::ftruncate(file, bytes) == 0);
  const auto check = [&](const char* what, int protection, int flags, int fd) {
    SCOPED_TRACE(what);
    void* memory = ::mmap(nullptr, bytes, protection, flags, fd, 0);
    ASSERT_NE(memory, MAP_FAILED);
    const std::span<std::byte> seen(static_cast<std::byte*>(memory), bytes);
    {
      const auto region = b_.domain.register_memory(memory, bytes, Access::remote_read);
      ASSERT_TRUE(region.ok()) << region.error().text();
      const Remote from{reinterpret_cast<std::uintptr_t>(memory), region->key()};
      for (const std::uint64_t seed : {1, 2}) {
        ASSERT_EQ(::mprotect(memory, bytes, PROT_READ | PROT_WRITE), 0);
        fill(seen, seed);
        ASSERT_TRUE(is(get(Local::user(local_.data()), bytes, from), 0));
        EXPECT_TRUE(holds(local_.span().first(bytes), seed));
      }
    }
    ::munmap(memory, bytes);
  };
  check("nothing", PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
  check("nothing, and read-only at first", PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1);
  check("a file's, private", PROT_READ | PROT_WRITE, MAP_PRIVATE, file);
  check("a file's, private and read-only at first", PROT_READ, MAP_PRIVATE, file);
  check("a file's, shared", PROT_READ | PROT_WRITE, MAP_SHARED, file);
  check("a file's, shared and read-only at first", PROT_READ, MAP_SHARED, file);
  ::close(file);
}

TEST_P(Rma, memory_that_may_not_be_read_is_not_registered) {
  void* closed = ::mmap(nullptr, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(closed, MAP_FAILED);
  const auto region = b_.domain.register_memory(closed, 4096, Access::remote_read);
  EXPECT_FALSE(region.ok());
  EXPECT_EQ(region.error().code, EFAULT);
  ::munmap(closed, 4096);
}

// That it spares a round trip shows between two hosts only (channel-two): the two ends of a host's link to
// itself know different keys.
TEST_P(Rma, a_key_may_be_told_with_a_message) {
  Pages memory(4096);
  const auto region = b_.domain.register_memory(memory.data(), 4096, Access::remote_read_write);
  ASSERT_TRUE(region.ok());
  EXPECT_TRUE(is(b_.run(
                     [&](std::uint64_t id) {
                       return b_.channel.send(pair_.ba, Local::user(region->key().data()), 24, 1, id,
                                              region->handle());
                     },
                     {&a_}),
                 0));
  ASSERT_TRUE(pair_.wait([&] { return a_.log.messages.size() == 1; }, "the message with the key"));
  EXPECT_TRUE(
      is(put(Local::user(local_.data()), 8, {reinterpret_cast<std::uintptr_t>(memory.data()), region->key()}),
         0));
}

TEST_P(Rma, a_message_with_a_foreign_region_as_key_is_refused) {
  EXPECT_TRUE(is(a_.run(
                     [&](std::uint64_t id) {
                       return a_.channel.send(pair_.ab, Local::user("x"), 1, 1, id, RegionHandle{0x7fffffff});
                     },
                     {&b_}),
                 ENOENT));
}

// ---- local memory ----

TEST_P(Rma, bad_local_memory_is_refused) {
  Pages hole(3 * 4096);
  ::munmap(hole.data() + 4096, 4096);
  void* read_only = ::mmap(nullptr, 2 * 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  const auto user = [](std::uint64_t address) { return Local::user(reinterpret_cast<void*>(address)); };
  struct Case {
    const char* what;
    Local local;
    std::size_t length;
    int want_put, want_get;
  };
  const Case cases[] = {
      {"address 0", user(0), 8, EFAULT, EFAULT},
      {"kernel memory", user(0xffff888000000000), 8, EFAULT, EFAULT},
      {"a range that wraps", user(~std::uint64_t{0} - 3), 8, ERANGE, ERANGE},
      {"a hole", Local::user(hole.data()), 3 * 4096, EFAULT, EFAULT},
      {"read-only memory", Local::user(read_only), 5000, 0, EFAULT},
      {"no slot", Local::slot(TxSlot{4000}), 8, EINVAL, EINVAL},
      {"beyond a slot", Local::slot(TxSlot{0}, 8250), 8, EMSGSIZE, EMSGSIZE},
      {"a message too long for a slot", Local::slot(TxSlot{0}), 8257, EMSGSIZE, EMSGSIZE},
      {"an unknown region", Local::region(RegionHandle{0x7ffffff}, local_.data()), 8, ENOENT, ENOENT},
      {"region 0", Local::region(RegionHandle{0}, local_.data()), 8, ENOENT, ENOENT},
  };
  for (const Case& c : cases) {
    // a range that wraps is also no address
    const int either = c.want_put == ERANGE ? EFAULT : c.want_put;
    EXPECT_TRUE(is(put(c.local, c.length, at(0)), {c.want_put, either})) << c.what;
    EXPECT_TRUE(is(get(c.local, c.length, at(0)), {c.want_get, c.want_get == ERANGE ? EFAULT : c.want_get}))
        << c.what;
  }
  ::munmap(read_only, 2 * 4096);
  EXPECT_TRUE(pair_.still_works());
}

TEST_P(Rma, local_regions_have_ends) {
  const auto own = a_.domain.register_memory(local_.data() + 100, 1000, Access::local);
  ASSERT_TRUE(own.ok());
  const auto from = [&](std::size_t offset) { return Local::region(own->handle(), local_.data() + offset); };
  EXPECT_TRUE(is(put(from(99), 1, at(0)), ERANGE));
  EXPECT_TRUE(is(put(from(100), 1001, at(0)), ERANGE));
  EXPECT_TRUE(is(get(from(1099), 2, at(0)), ERANGE));
  EXPECT_TRUE(is(get(from(1100), 1, at(0)), ERANGE));
  EXPECT_TRUE(
      is(get(Local::region(own->handle(), reinterpret_cast<void*>(~std::uintptr_t{0})), 8, at(0)), ERANGE));
  EXPECT_TRUE(is(put(from(100), 1000, at(0)), 0));
}

TEST_P(Rma, a_deregistered_local_region_is_refused) {
  auto own = a_.domain.register_memory(local_.data(), 4096, Access::remote_read);
  ASSERT_TRUE(own.ok());
  const RegionHandle handle = own->handle();
  EXPECT_TRUE(is(put(Local::region(handle, local_.data()), 8, at(0)), 0));
  EXPECT_TRUE(is(a_.domain.deregister(std::move(*own), Deregister::lazily), 0));
  EXPECT_TRUE(is(put(Local::region(handle, local_.data()), 8, at(0)), ENOENT));
}

TEST_P(Rma, a_region_of_another_domain_is_refused) {
  EXPECT_TRUE(
      is(put(Local::region(RegionHandle{0x100000 + region_.handle().value}, memory_.data()), 8, at(100)),
         ENOENT));
}

TEST_P(Rma, local_memory_may_be_unmapped_under_way) {
  for (int round = 0; round < 10; ++round) {
    auto memory = std::make_unique<Pages>(1 << 20);
    fill(memory->span(), 5);
    Status s;
    ASSERT_TRUE(pair_.wait(
        [&] {
          return !(s = a_.channel.put(pair_.ab, Local::user(memory->data()), memory->size(), at(0), 1))
                      .again();
        },
        "PUT"));
    memory.reset();
    ASSERT_TRUE(pair_.wait([&] { return a_.channel.outstanding() == 0; }, "it to end"));
  }
  EXPECT_TRUE(is(a_.log.done.back().status, {0, EFAULT}));
  EXPECT_TRUE(pair_.still_works());
}

TEST_P(Rma, are_counted) {
  const ChannelStats before = *a_.channel.stats();
  EXPECT_TRUE(is(put(Local::user(local_.data()), 5000, at(0)), 0));
  EXPECT_TRUE(is(get(Local::user(local_.data()), 6000, at(0)), 0));
  const ChannelStats after = *a_.channel.stats();
  EXPECT_EQ(after.puts - before.puts, 1U);
  EXPECT_EQ(after.put_bytes - before.put_bytes, 5000U);
  EXPECT_EQ(after.gets - before.gets, 1U);
  EXPECT_EQ(after.get_bytes - before.get_bytes, 6000U);
}

TEST_P(Rma, a_domain_serves_several_threads) {
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      Pages memory(64 * 4096);
      for (int i = 0; i < 50; ++i) {
        auto region = b_.domain.register_memory(memory.data() + i, 4096 * 10, Access::remote_read_write);
        EXPECT_TRUE(region.ok()) << region.error().text();
      }
    });
  }
  for (auto& t : threads)
    t.join();
  EXPECT_TRUE(is(put(Local::user(local_.data()), 8, at(0)), 0));
}

BULK_BY_SUBMISSION(Rma);

}  // namespace
}  // namespace bulk::lab
