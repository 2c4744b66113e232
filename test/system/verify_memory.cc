// SPDX-License-Identifier: BSD-3-Clause
//
// See verify_memory.h. The three layouts differ only in their runs: one for contiguous memory, one for each
// entry of an iov, one for each block of the generic datatype, whose blocks stand with gaps between them.

#include "verify_memory.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

namespace verify {

namespace {

constexpr std::byte poison_byte{0xa5};
constexpr std::size_t word_bytes = sizeof(std::uint64_t);

std::uint64_t pattern_word(std::uint64_t seed, std::uint64_t index) {
  return Random::mix(seed + index * 0x9e3779b97f4a7c15U);
}

std::byte pattern_byte(std::uint64_t seed, std::size_t position) {
  const std::uint64_t word = pattern_word(seed, position / word_bytes);
  return std::bit_cast<std::array<std::byte, word_bytes>>(word)[position % word_bytes];
}

std::optional<std::size_t> first_not_poison(ConstBytes bytes) {
  const auto it = std::find_if(bytes.begin(), bytes.end(), [](std::byte b) { return b != poison_byte; });
  if (it == bytes.end()) return std::nullopt;
  return static_cast<std::size_t>(it - bytes.begin());
}

}  // namespace

void write_pattern(Bytes out, std::uint64_t seed, std::size_t position) {
  std::size_t at = 0;
  for (; at < out.size() && (position + at) % word_bytes != 0; ++at) {
    out[at] = pattern_byte(seed, position + at);
  }
  for (; at + word_bytes <= out.size(); at += word_bytes) {
    const std::uint64_t word = pattern_word(seed, (position + at) / word_bytes);
    std::memcpy(out.data() + at, &word, word_bytes);
  }
  for (; at < out.size(); ++at) {
    out[at] = pattern_byte(seed, position + at);
  }
}

std::optional<std::string> find_mismatch(ConstBytes in, std::uint64_t seed, std::size_t position) {
  std::array<std::byte, 4096> expected{};
  for (std::size_t at = 0; at < in.size();) {
    const std::size_t length = std::min(expected.size(), in.size() - at);
    const Bytes part{expected.data(), length};
    write_pattern(part, seed, position + at);
    if (std::memcmp(part.data(), in.data() + at, length) != 0) {
      const auto [want, got] =
          std::mismatch(part.begin(), part.end(), in.begin() + static_cast<std::ptrdiff_t>(at));
      return fmt::format("byte {}: expected {:#04x}, got {:#04x}",
                         position + static_cast<std::size_t>(got - in.begin()),
                         std::to_integer<unsigned>(*want), std::to_integer<unsigned>(*got));
    }
    at += length;
  }
  return std::nullopt;
}

GuardedBuffer::GuardedBuffer(std::size_t size, std::size_t misalignment)
    : size_(size), storage_(new std::byte[size + 3 * guard_bytes + misalignment]) {
  const auto address = reinterpret_cast<std::uintptr_t>(storage_.get());
  const std::size_t to_boundary = (guard_bytes - address % guard_bytes) % guard_bytes;
  begin_ = storage_.get() + to_boundary + guard_bytes + misalignment;
  poison();
}

void GuardedBuffer::poison() {
  std::fill_n(begin_ - guard_bytes, size_ + 2 * guard_bytes, poison_byte);
}

std::optional<std::string> GuardedBuffer::check_guards() const {
  if (auto at = first_not_poison({begin_ - guard_bytes, guard_bytes})) {
    return fmt::format("{} bytes before the buffer something was written", guard_bytes - *at);
  }
  if (auto at = first_not_poison({begin_ + size_, guard_bytes})) {
    return fmt::format("{} bytes behind the buffer's end something was written", *at);
  }
  return std::nullopt;
}

std::optional<std::string> GuardedBuffer::check_untouched(std::size_t from) const {
  if (from >= size_) return std::nullopt;
  if (auto at = first_not_poison(data().subspan(from))) {
    return fmt::format("byte {} was written, though the message ends at {}", from + *at, from);
  }
  return std::nullopt;
}

void Memory::fill(std::uint64_t seed) {
  for (const Run& run : runs())
    write_pattern(run.bytes, seed, run.position);
}

void Memory::write(std::size_t position, ConstBytes bytes) {
  const auto& all = runs();
  auto run = std::upper_bound(all.begin(), all.end(), position,
                              [](std::size_t p, const Run& r) { return p < r.position + r.bytes.size(); });
  for (; !bytes.empty() && run != all.end(); ++run) {
    const Bytes target = run->bytes.subspan(position - run->position);
    const std::size_t length = std::min(target.size(), bytes.size());
    std::copy_n(bytes.begin(), length, target.begin());
    bytes = bytes.subspan(length);
    position += length;
  }
}

void Memory::read(std::size_t position, Bytes bytes) const {
  const auto& all = runs();
  auto run = std::upper_bound(all.begin(), all.end(), position,
                              [](std::size_t p, const Run& r) { return p < r.position + r.bytes.size(); });
  for (; !bytes.empty() && run != all.end(); ++run) {
    const ConstBytes source = run->bytes.subspan(position - run->position);
    const std::size_t length = std::min(source.size(), bytes.size());
    std::copy_n(source.begin(), length, bytes.begin());
    bytes = bytes.subspan(length);
    position += length;
  }
}

std::optional<std::string> Memory::check(std::uint64_t seed, std::size_t length) const {
  for (const Run& run : runs()) {
    if (run.position >= length) break;
    const Bytes part = run.bytes.first(std::min(run.bytes.size(), length - run.position));
    if (auto bad = find_mismatch(part, seed, run.position)) return bad;
  }
  return check_rest(length);
}

namespace {

class ContiguousMemory final : public Memory {
 public:
  ContiguousMemory(std::size_t size, std::size_t misalignment)
      : Memory(size), memory_(size, misalignment), runs_{{0, memory_.data()}} {}

  void* buffer() override { return memory_.data().data(); }
  [[nodiscard]] std::size_t count() const override { return size(); }
  [[nodiscard]] ucp_datatype_t datatype() const override { return ucp_dt_make_contig(1); }

 protected:
  [[nodiscard]] const std::vector<Run>& runs() const override { return runs_; }
  [[nodiscard]] std::optional<std::string> check_rest(std::size_t length) const override {
    if (auto bad = memory_.check_guards()) return bad;
    return memory_.check_untouched(length);
  }

 private:
  GuardedBuffer memory_;
  std::vector<Run> runs_;
};

class IovMemory final : public Memory {
 public:
  // Cuts the message at random places; some entries are empty.
  IovMemory(std::size_t size, std::size_t misalignment, Random shape) : Memory(size) {
    std::vector<std::size_t> cuts{0, size};
    for (std::uint64_t i = shape.below(12); i > 0; --i)
      cuts.push_back(shape.below(size + 1));
    std::sort(cuts.begin(), cuts.end());
    for (std::size_t i = 0; i + 1 < cuts.size(); ++i) {
      const std::size_t length = cuts[i + 1] - cuts[i];
      parts_.emplace_back(length, (misalignment + shape.below(64)) % 64);
      if (length != 0) runs_.push_back({cuts[i], parts_.back().data()});
      entries_.push_back({.buffer = parts_.back().data().data(), .length = length});
    }
  }

  void* buffer() override { return entries_.data(); }
  [[nodiscard]] std::size_t count() const override { return entries_.size(); }
  [[nodiscard]] ucp_datatype_t datatype() const override { return ucp_dt_make_iov(); }

 protected:
  [[nodiscard]] const std::vector<Run>& runs() const override { return runs_; }
  [[nodiscard]] std::optional<std::string> check_rest(std::size_t length) const override {
    std::size_t position = 0;
    for (const GuardedBuffer& part : parts_) {
      if (auto bad = part.check_guards())
        return "iov entry at byte " + std::to_string(position) + ": " + *bad;
      if (auto bad = part.check_untouched(length > position ? length - position : 0)) return bad;
      position += part.data().size();
    }
    return std::nullopt;
  }

 private:
  std::vector<GuardedBuffer> parts_;
  std::vector<ucp_dt_iov_t> entries_;
  std::vector<Run> runs_;
};

// Blocks of 997 bytes with gaps of 3, packed and unpacked by callbacks. The state of a (un)packing is the
// GenericMemory itself.
class GenericMemory final : public Memory {
 public:
  GenericMemory(std::size_t size, std::size_t misalignment)
      : Memory(size), memory_((size + block - 1) / block * (block + gap), misalignment) {
    for (std::size_t at = 0, i = 0; at < size; at += block, ++i) {
      runs_.push_back({at, memory_.data().subspan(i * (block + gap), std::min(block, size - at))});
    }
  }

  void* buffer() override { return this; }
  [[nodiscard]] std::size_t count() const override { return 1; }
  [[nodiscard]] ucp_datatype_t datatype() const override { return shared_datatype(); }

 protected:
  [[nodiscard]] const std::vector<Run>& runs() const override { return runs_; }
  [[nodiscard]] std::optional<std::string> check_rest(std::size_t length) const override {
    if (auto bad = memory_.check_guards()) return bad;
    for (std::size_t i = 0; i < runs_.size(); ++i) {
      const Run& run = runs_[i];
      const std::size_t own = std::min(run.bytes.size(), length > run.position ? length - run.position : 0);
      const std::size_t begin = i * (block + gap);
      if (auto at = first_not_poison(memory_.data().subspan(begin + own, block + gap - own))) {
        return fmt::format("something was written {} bytes behind the block at byte {}", *at, run.position);
      }
    }
    return std::nullopt;
  }

 private:
  static constexpr std::size_t block = 997;
  static constexpr std::size_t gap = 3;

  static void* start_pack(void*, const void* buffer, size_t) { return const_cast<void*>(buffer); }
  static void* start_unpack(void*, void* buffer, size_t) { return buffer; }
  static size_t packed_size(void* state) { return static_cast<GenericMemory*>(state)->size(); }
  static size_t pack(void* state, size_t offset, void* out, size_t max_length) {
    auto* self = static_cast<GenericMemory*>(state);
    const std::size_t length = std::min(max_length, self->size() - offset);
    self->read(offset, {static_cast<std::byte*>(out), length});
    return length;
  }
  static ucs_status_t unpack(void* state, size_t offset, const void* in, size_t length) {
    auto* self = static_cast<GenericMemory*>(state);
    if (offset + length > self->size()) return UCS_ERR_MESSAGE_TRUNCATED;
    self->write(offset, {static_cast<const std::byte*>(in), length});
    return UCS_OK;
  }
  static void finish(void*) {}

  static ucp_datatype_t shared_datatype() {
    static const ucp_datatype_t datatype = [] {
      static const ucp_generic_dt_ops_t ops{.start_pack = start_pack,
                                            .start_unpack = start_unpack,
                                            .packed_size = packed_size,
                                            .pack = pack,
                                            .unpack = unpack,
                                            .finish = finish};
      ucp_datatype_t made = 0;
      return ucp_dt_create_generic(&ops, nullptr, &made) == UCS_OK ? made : ucp_dt_make_contig(1);
    }();
    return datatype;
  }

  GuardedBuffer memory_;
  std::vector<Run> runs_;
};

}  // namespace

std::unique_ptr<Memory> Memory::make(Layout layout, std::size_t size, std::size_t misalignment,
                                     std::uint64_t shape) {
  switch (layout) {
    case Layout::iov:
      return std::make_unique<IovMemory>(size, misalignment, Random(shape));
    case Layout::generic:
      return std::make_unique<GenericMemory>(size, misalignment);
    case Layout::contiguous:
      break;
  }
  return std::make_unique<ContiguousMemory>(size, misalignment);
}

}  // namespace verify
