// SPDX-License-Identifier: BSD-3-Clause
//
// Memory whose content can be checked: what ucp_verify sends from and receives into.
//
// Every byte of a message is a function of the message's seed and of the byte's position in the message, so
// that a byte from another message or from another place is noticed. Around and between the bytes of a
// message lie guard bytes that nobody may touch.
//
// A Memory is used by one thread. UCX reads and writes it between post and completion, and the owner keeps
// it alive until then.
#pragma once

#include <ucp/api/ucp.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace verify {

using Bytes = std::span<std::byte>;
using ConstBytes = std::span<const std::byte>;

// A small generator with the same results everywhere: both ends derive the same plan from one seed.
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}

  std::uint64_t next() {
    state_ += 0x9e3779b97f4a7c15U;
    return mix(state_);
  }
  std::uint64_t below(std::uint64_t limit) { return limit == 0 ? 0 : next() % limit; }
  bool chance(unsigned one_in) { return below(one_in) == 0; }

  static std::uint64_t mix(std::uint64_t x) {
    x = (x ^ (x >> 30U)) * 0xbf58476d1ce4e5b9U;
    x = (x ^ (x >> 27U)) * 0x94d049bb133111ebU;
    return x ^ (x >> 31U);
  }

 private:
  std::uint64_t state_;
};

// Writes the bytes [position, position + out.size()) of the message with this seed.
void write_pattern(Bytes out, std::uint64_t seed, std::size_t position);

// The first byte of `in` that is not what write_pattern would have written, in words; none if all are right.
std::optional<std::string> find_mismatch(ConstBytes in, std::uint64_t seed, std::size_t position);

// One run of bytes at a chosen distance from a 64-byte boundary, with guard bytes on both sides.
class GuardedBuffer {
 public:
  static constexpr std::size_t guard_bytes = 64;

  GuardedBuffer(std::size_t size, std::size_t misalignment);

  [[nodiscard]] Bytes data() const { return {begin_, size_}; }
  void poison();
  [[nodiscard]] std::optional<std::string> check_guards() const;
  // The bytes from `from` on were not to be written since poison().
  [[nodiscard]] std::optional<std::string> check_untouched(std::size_t from) const;

 private:
  std::size_t size_;
  std::unique_ptr<std::byte[]> storage_;
  std::byte* begin_;
};

enum class Layout { contiguous, iov, generic };

// The bytes of one message in memory, in one of UCP's three kinds of data layout.
class Memory {
 public:
  static std::unique_ptr<Memory> make(Layout layout, std::size_t size, std::size_t misalignment,
                                      std::uint64_t shape);
  virtual ~Memory() = default;
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;

  [[nodiscard]] std::size_t size() const { return size_; }

  // The triple UCP wants.
  [[nodiscard]] virtual void* buffer() = 0;
  [[nodiscard]] virtual std::size_t count() const = 0;
  [[nodiscard]] virtual ucp_datatype_t datatype() const = 0;

  void fill(std::uint64_t seed);
  void write(std::size_t position, ConstBytes bytes);
  void read(std::size_t position, Bytes bytes) const;
  // The first `length` bytes are the message's, all others and the guards are as poison() left them.
  [[nodiscard]] std::optional<std::string> check(std::uint64_t seed, std::size_t length) const;
  // Nothing outside the message's place was written, whatever is in it.
  [[nodiscard]] std::optional<std::string> check_guards() const { return check_rest(size_); }

 protected:
  explicit Memory(std::size_t size) : size_(size) {}

  // A run of the message: where it lies in the message, and in which buffer from which byte on.
  struct Run {
    std::size_t position;
    Bytes bytes;
  };
  [[nodiscard]] virtual const std::vector<Run>& runs() const = 0;
  [[nodiscard]] virtual std::optional<std::string> check_rest(std::size_t length) const = 0;

 private:
  std::size_t size_;
};

}  // namespace verify
