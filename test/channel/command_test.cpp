// SPDX-License-Identifier: BSD-3-Clause
//
// Commands byte for byte. Offsets and values are written down here as the ABI header's text has them, and are
// not taken from the header. (Little-endian bytes, as on every machine this project is built for so far.)
#include <gtest/gtest.h>

#include <array>
#include <bit>
#include <cstring>
#include <vector>

#include "channel/command.hpp"

namespace bulk {
namespace {

static_assert(std::endian::native == std::endian::little);

using Bytes = std::array<std::uint8_t, 80>;

Bytes bytes_of(const Command& command) {
  Bytes bytes;
  std::memcpy(bytes.data(), &command, bytes.size());
  return bytes;
}

// Writes a little-endian number into `bytes` at `offset`.
void put(Bytes& bytes, std::size_t offset, std::uint64_t value, std::size_t size) {
  for (std::size_t i = 0; i < size; ++i)
    bytes[offset + i] = static_cast<std::uint8_t>(value >> (8 * i));
}

Key test_key() {
  Key key;
  for (std::size_t i = 0; i < key.size(); ++i)
    key[i] = static_cast<std::byte>(0xa0 + i);
  return key;
}

void put_key(Bytes& bytes) {
  for (std::size_t i = 0; i < 24; ++i)
    bytes[40 + i] = static_cast<std::uint8_t>(0xa0 + i);
}

const void* pointer(std::uintptr_t address) {
  return reinterpret_cast<const void*>(address);
}

TEST(Command, send_from_a_slot) {
  Bytes want{};
  put(want, 0, 1, 1);                   // op SEND
  put(want, 1, 1, 1);                   // LOCAL_SLOT
  put(want, 4, 0x01020304, 4);          // ep
  put(want, 8, 0x1122334455667788, 8);  // user_data
  put(want, 24, 8256, 8);               // length
  put(want, 64, 7, 4);                  // slot
  put(want, 72, 0xbeef, 2);             // id
  EXPECT_EQ(bytes_of(Command::send(EpHandle{0x01020304}, TxSlot{7}, 8256, 0xbeef, 0x1122334455667788)), want);
}

TEST(Command, send_from_within_a_slot_with_a_key_and_a_fence) {
  Bytes want{};
  put(want, 0, 1, 1);
  put(want, 1, 1, 1);
  put(want, 2, 1, 2);  // FENCE
  put(want, 4, 5, 4);
  put(want, 8, 6, 8);
  put(want, 16, 100, 8);  // offset in the slot
  put(want, 24, 200, 8);
  put(want, 64, 7, 4);
  put(want, 68, 0x99, 4);  // key_region
  put(want, 72, 3, 2);
  EXPECT_EQ(bytes_of(Command::send(EpHandle{5}, Local::slot(TxSlot{7}, 100), 200, 3, 6, RegionHandle{0x99},
                                   Fence::endpoint)),
            want);
}

TEST(Command, send_from_user_memory) {
  Bytes want{};
  put(want, 0, 1, 1);
  put(want, 1, 0, 1);  // LOCAL_USER
  put(want, 4, 5, 4);
  put(want, 8, 6, 8);
  put(want, 16, 0x7f0000001234, 8);
  put(want, 24, 8, 8);
  put(want, 72, 3, 2);
  EXPECT_EQ(bytes_of(Command::send(EpHandle{5}, Local::user(pointer(0x7f0000001234)), 8, 3, 6)), want);
}

TEST(Command, put_from_a_region) {
  const Key key = test_key();
  Bytes want{};
  put(want, 0, 2, 1);  // op PUT
  put(want, 1, 2, 1);  // LOCAL_REGION
  put(want, 2, 2, 2);  // FENCE_ALL
  put(want, 4, 5, 4);
  put(want, 8, 6, 8);
  put(want, 16, 0x7f0000001234, 8);
  put(want, 24, 1U << 30, 8);
  put(want, 32, 0xfedcba9876543210, 8);  // remote_addr
  put_key(want);
  put(want, 64, 0x55, 4);  // region
  EXPECT_EQ(bytes_of(Command::put(EpHandle{5}, Local::region(RegionHandle{0x55}, pointer(0x7f0000001234)),
                                  1U << 30, Remote{0xfedcba9876543210, key}, 6, Fence::channel)),
            want);
}

TEST(Command, get_into_user_memory) {
  const Key key = test_key();
  Bytes want{};
  put(want, 0, 3, 1);  // op GET
  put(want, 4, 5, 4);
  put(want, 8, 6, 8);
  put(want, 16, 0x1000, 8);
  put(want, 24, 0, 8);
  put(want, 32, 0x2000, 8);
  put_key(want);
  EXPECT_EQ(bytes_of(Command::get(EpHandle{5}, Local::user(pointer(0x1000)), 0, Remote{0x2000, key}, 6)),
            want);
}

TEST(Command, flush) {
  Bytes want{};
  put(want, 0, 4, 1);
  put(want, 4, 5, 4);
  put(want, 8, 6, 8);
  EXPECT_EQ(bytes_of(Command::flush(EpHandle{5}, 6)), want);
  put(want, 2, 4, 2);  // REMOTE
  EXPECT_EQ(bytes_of(Command::flush(EpHandle{5}, 6, true)), want);
}

TEST(Command, return_slots) {
  const std::vector<std::uint16_t> slots = {1, 0x0203, 0xffff};
  Bytes want{};
  put(want, 0, 5, 1);
  put(want, 24, 3, 8);
  put(want, 32, 1, 2);
  put(want, 34, 0x0203, 2);
  put(want, 36, 0xffff, 2);
  EXPECT_EQ(bytes_of(Command::return_slots(slots)), want);
}

TEST(Command, return_16_slots_fills_the_list_and_nothing_behind_it) {
  const std::vector<std::uint16_t> slots(16, 0x1111);
  Bytes want{};
  put(want, 0, 5, 1);
  put(want, 24, 16, 8);
  for (std::size_t i = 32; i < 64; ++i)
    want[i] = 0x11;
  EXPECT_EQ(bytes_of(Command::return_slots(slots)), want);
}

}  // namespace
}  // namespace bulk
