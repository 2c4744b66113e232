// SPDX-License-Identifier: BSD-3-Clause
#include "lab.hpp"

#include <poll.h>
#include <sys/mman.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace bulk::lab {
namespace {

std::uint64_t word(std::uint64_t seed, std::uint64_t index) {
  std::uint64_t x = seed * 0x9e3779b97f4a7c15U + index * 0xd6e8feb86659fd93U;
  x ^= x >> 32;
  x *= 0xd6e8feb86659fd93U;
  return x ^ (x >> 29);
}

[[noreturn]] void give_up(const Error& error) {
  std::fprintf(stderr, "cannot test: %s\n", error.text().c_str());
  std::exit(1);
}

}  // namespace

const std::string& device() {
  static const std::string name = [] {
    if (const char* env = std::getenv("BULK_DEVICE")) return std::string(env);
    const auto info = query();
    if (!info) give_up(info.error());
    return info->devices.front().name;
  }();
  return name;
}

int limit_seconds() {
  const char* env = std::getenv("BULK_LIMIT");
  return env == nullptr ? 60 : std::atoi(env);
}

void fill(std::span<std::byte> bytes, std::uint64_t seed) {
  std::size_t i = 0;
  for (; i + 8 <= bytes.size(); i += 8) {
    const std::uint64_t w = word(seed, i / 8);
    std::memcpy(bytes.data() + i, &w, 8);
  }
  const std::uint64_t w = word(seed, i / 8);
  std::memcpy(bytes.data() + i, &w, bytes.size() - i);
}

testing::AssertionResult holds(std::span<const std::byte> bytes, std::uint64_t seed) {
  for (std::size_t i = 0; i < bytes.size(); i += 8) {
    const std::uint64_t want = word(seed, i / 8);
    const std::size_t n = std::min<std::size_t>(8, bytes.size() - i);
    if (std::memcmp(bytes.data() + i, &want, n) == 0) continue;
    std::uint64_t got = 0;
    std::memcpy(&got, bytes.data() + i, n);
    return testing::AssertionFailure() << "bytes " << i << " to " << i + n - 1 << " of " << bytes.size()
                                       << ": expected " << std::hex << want << ", got " << got;
  }
  return testing::AssertionSuccess();
}

Pages::Pages(std::size_t bytes) : size_(bytes) {
  void* base = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (base == MAP_FAILED) give_up(Error{errno, "mmap"});
  data_ = static_cast<std::byte*>(base);
}

Pages::~Pages() {
  ::munmap(data_, size_);
}

SlotAction Log::on_message(const Message& m) {
  ++received;
  if (store) messages.push_back(Received{m.id, {m.data, m.data + m.length}});
  if (!hold) return SlotAction::release;
  held.push_back(m.slot);
  return SlotAction::keep;
}

const Done* Log::find(std::uint64_t user_data) const {
  const auto at =
      std::find_if(done.begin(), done.end(), [&](const Done& d) { return d.user_data == user_data; });
  return at == done.end() ? nullptr : &*at;
}

std::unique_ptr<Node> Node::make(BindOptions options) {
  auto domain = Domain::open();
  if (!domain) give_up(domain.error());
  auto channel = Channel::bind(*domain, options);
  if (!channel) give_up(channel.error());
  return std::unique_ptr<Node>(new Node{std::move(*domain), std::move(*channel), {}});
}

std::unique_ptr<Node> Node::make(Submission submission) {
  return make(BindOptions{.device = lab::device(), .submission = submission});
}

static std::vector<Node*> with(Node* node, std::initializer_list<Node*> others) {
  std::vector<Node*> all = {node};
  all.insert(all.end(), others.begin(), others.end());
  return all;
}

static testing::AssertionResult wait_all(const std::vector<Node*>& nodes,
                                         const std::function<bool()>& condition, const std::string& what) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(limit_seconds());
  std::vector<pollfd> files;
  for (const Node* node : nodes)
    files.push_back(pollfd{node->channel.poll_fd(), POLLIN, 0});
  for (;;) {
    unsigned taken = 0;
    for (Node* node : nodes)
      taken += node->channel.progress(node->log);
    if (condition()) return testing::AssertionSuccess();
    if (std::chrono::steady_clock::now() > end) {
      return testing::AssertionFailure() << "waited " << limit_seconds() << " s in vain for: " << what;
    }
    if (taken != 0) continue;
    bool sleep = true;
    for (Node* node : nodes)
      sleep = node->channel.arm() && sleep;
    if (sleep) ::poll(files.data(), files.size(), 50);
  }
}

testing::AssertionResult wait(std::initializer_list<Node*> nodes, const std::function<bool()>& condition,
                              const std::string& what) {
  return wait_all(nodes, condition, what);
}

EpHandle Node::connect(const Address& peer, std::initializer_list<Node*> others) {
  const std::uint64_t id = next_id++;
  const auto ep = channel.ep_open(peer, id);
  if (!ep) {
    ADD_FAILURE() << ep.error().text();
    return {};
  }
  const auto mine = [id](const EndpointEvent& e) { return e.user_data == id; };
  const auto up = [&] { return std::any_of(log.up.begin(), log.up.end(), mine); };
  const auto down = [&] { return std::find_if(log.down.begin(), log.down.end(), mine); };
  const auto result = wait_all(
      with(this, others), [&] { return up() || down() != log.down.end(); }, "an endpoint to come up");
  EXPECT_TRUE(result);
  if (down() != log.down.end()) ADD_FAILURE() << "the endpoint came down: " << down()->status.text();
  return up() ? *ep : EpHandle{};
}

Status Node::run(const std::function<Status(std::uint64_t)>& submit, std::initializer_list<Node*> others) {
  const std::uint64_t id = next_id++;
  Status status;
  const auto all = with(this, others);
  const auto accepted = wait_all(
      all,
      [&] {
        status = submit(id);
        return !status.again();
      },
      "a command to be accepted");
  if (!accepted) ADD_FAILURE() << accepted.message();
  if (!status) return status;
  const auto ended = wait_all(
      all, [&] { return log.find(id) != nullptr; }, "a command to end");
  if (!ended) {
    ADD_FAILURE() << ended.message();
    return Status(ETIMEDOUT);
  }
  return log.find(id)->status;
}

Pair::Pair(const BindOptions& options) : a(Node::make(options)), b(Node::make(options)) {
  ab = a->connect(b->channel.address(), {b.get()});
  ba = b->connect(a->channel.address(), {a.get()});
}

Status Pair::send_patiently(std::span<const std::byte> bytes, std::uint16_t id) {
  Status status;
  const auto sent = wait(
      [&] {
        const TxSlot slot = a->channel.tx_acquire();
        if (!slot.valid()) return false;
        std::memcpy(a->channel.tx_data(slot), bytes.data(), bytes.size());
        status = a->channel.send(ab, slot, static_cast<std::uint32_t>(bytes.size()), id, a->next_id++);
        if (!status) a->channel.tx_release(slot);
        return !status.again();
      },
      "a message to be accepted");
  EXPECT_TRUE(sent);
  return status;
}

testing::AssertionResult Pair::still_works() {
  // b may have other, hostile senders: look for our own among its messages.
  static std::uint64_t seed = 0x1000000;
  const std::size_t before = b->log.messages.size();
  std::vector<std::byte> bytes(1000);
  fill(bytes, ++seed);
  if (const Status status = send_patiently(bytes, 0x7777); !status) {
    return testing::AssertionFailure() << "a later message is refused: " << status.text();
  }
  return wait(
      [&] {
        const auto& all = b->log.messages;
        return std::any_of(all.begin() + static_cast<std::ptrdiff_t>(before), all.end(),
                           [&](const Received& m) { return m.bytes == bytes; });
      },
      "a later message to arrive");
}

std::string_view name_of(Submission submission) {
  switch (submission) {
    case Submission::automatic:
      return "automatic";
    case Submission::ioctl:
      return "ioctl";
    case Submission::uring:
      return "uring";
    case Submission::sqpoll:
      return "sqpoll";
  }
  return "";
}

std::string submission_name(const testing::TestParamInfo<Submission>& info) {
  return std::string(name_of(info.param));
}

Submission submission_from(std::string_view name) {
  for (const Submission s : {Submission::ioctl, Submission::uring, Submission::sqpoll}) {
    if (name == name_of(s)) return s;
  }
  return Submission::automatic;
}

testing::AssertionResult is(Status got, std::initializer_list<int> wanted) {
  if (std::find(wanted.begin(), wanted.end(), got.error()) != wanted.end())
    return testing::AssertionSuccess();
  auto failure = testing::AssertionFailure() << "expected";
  for (const int error : wanted)
    failure << ' ' << errno_text(error);
  return failure << ", got " << got.text();
}

}  // namespace bulk::lab
