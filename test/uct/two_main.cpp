// SPDX-License-Identifier: BSD-3-Clause
//
// uct-two: the transport between two processes, on two hosts in the lab. The test runs on one host and starts
// itself as `uct-two --agent` on the other: by ssh on the host that PEER names (default host2), or here with
// PEER=local. Addresses and keys go over the agent's standard input and output, one line each, in
// hexadecimal; everything else goes over the transport.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <string>

#include "node.hpp"

namespace {

using namespace bulk::test;

constexpr std::size_t memory_bytes = 3 << 20;

// What messages mean to the agent, by their id.
enum Request : std::uint8_t {
  echo = 1,    // comes back with the id `answer`
  verify = 2,  // header: length and seed of what the agent's memory should hold; answer: 1 byte, 1 if it does
  prepare = 3,  // header: length and seed to fill the agent's memory with; answer: 1 byte
  die = 4,      // SIGKILL
  answer = 10,
};

std::string to_hex(std::span<const std::byte> bytes) {
  std::string text;
  for (const std::byte byte : bytes) {
    char digits[3];
    std::snprintf(digits, sizeof(digits), "%02x", std::to_integer<unsigned>(byte));
    text += digits;
  }
  return text;
}

std::vector<std::byte> from_hex(const std::string& text) {
  std::vector<std::byte> bytes;
  for (std::size_t i = 0; i + 1 < text.size(); i += 2)
    bytes.push_back(static_cast<std::byte>(std::stoul(text.substr(i, 2), nullptr, 16)));
  return bytes;
}

std::vector<std::byte> number(std::uint64_t value) {
  std::vector<std::byte> bytes(sizeof(value));
  std::memcpy(bytes.data(), &value, sizeof(value));
  return bytes;
}

std::uint64_t number_at(const std::vector<std::byte>& bytes, std::size_t place) {
  std::uint64_t value = 0;
  if (bytes.size() >= place + sizeof(value)) std::memcpy(&value, bytes.data() + place, sizeof(value));
  return value;
}

ucs_status_t send(Node& node, uct_ep_h ep, std::uint8_t id, std::vector<std::byte> bytes) {
  return repeat({&node}, [&] {
    const ssize_t packed = uct_ep_am_bcopy(ep, id, pack_bytes, &bytes, 0);
    return packed < 0 ? static_cast<ucs_status_t>(packed) : UCS_OK;
  });
}

// ---- the other process ----

int agent() {
  Node node;
  Memory memory(node, memory_bytes);
  std::cout << to_hex(node.device_address()) << '\n'
            << to_hex(node.iface_address()) << '\n'
            << to_hex(memory.packed_key()) << '\n'
            << memory.address() << std::endl;
  std::string device;
  std::string iface;
  std::getline(std::cin, device);
  std::getline(std::cin, iface);
  Endpoint ep(node, from_hex(device), from_hex(iface));

  while (node.failed.empty()) {
    node.progress();
    for (const Arrived& message : std::exchange(node.arrived, {})) {
      const auto length = number_at(message.bytes, 0);
      const auto seed = static_cast<unsigned>(number_at(message.bytes, 8));
      std::vector<std::byte> reply(1, std::byte{1});
      switch (message.id) {
        case echo:
          reply = message.bytes;
          break;
        case verify:
          reply[0] = static_cast<std::byte>(static_cast<bool>(holds(memory.bytes().first(length), seed)));
          break;
        case prepare:
          fill(memory.bytes().first(length), seed);
          break;
        case die:
          kill(getpid(), SIGKILL);
          break;
        default:
          continue;
      }
      send(node, ep.get(), answer, reply);
    }
  }
  return 0;
}

// ---- the test's end of it ----

// The agent, and the endpoint to it. Starting one takes seconds in the lab, so tests share it as long as it
// works.
class Peer {
 public:
  Peer() { connect(); }
  Peer(const Peer&) = delete;
  Peer& operator=(const Peer&) = delete;
  ~Peer() {
    ep.reset();
    if (key.rkey != 0) uct_rkey_release(here.component(), &key);
    std::fclose(to_);
    std::fclose(from_);
    kill(pid_, SIGTERM);
    waitpid(pid_, nullptr, 0);
  }

  bool works() const {
    return ep != nullptr && ep->status() == UCS_OK && key.rkey != 0 && here.failed.empty();
  }

  Node here;
  std::unique_ptr<Endpoint> ep;
  uct_rkey_bundle_t key{};
  std::uint64_t remote = 0;

 private:
  void connect() {
    start();
    const auto device = from_hex(line());
    const auto iface = from_hex(line());
    const auto packed_key = from_hex(line());
    remote = std::strtoull(line().c_str(), nullptr, 10);
    ASSERT_NE(remote, 0u) << "the agent did not start";
    std::fprintf(to_, "%s\n%s\n", to_hex(here.device_address()).c_str(),
                 to_hex(here.iface_address()).c_str());
    std::fflush(to_);
    ep = std::make_unique<Endpoint>(here, device, iface);
    ASSERT_EQ(ep->status(), UCS_OK);
    ASSERT_EQ(uct_rkey_unpack(here.component(), packed_key.data(), &key), UCS_OK);
  }

  void start() {
    std::array<int, 2> in{};
    std::array<int, 2> out{};
    ASSERT_EQ(pipe(in.data()), 0);
    ASSERT_EQ(pipe(out.data()), 0);
    char self[4096] = "";
    ASSERT_GT(readlink("/proc/self/exe", self, sizeof(self) - 1), 0);
    const char* peer = std::getenv("PEER");
    const std::string host = peer != nullptr ? peer : "host2";
    pid_ = fork();
    if (pid_ == 0) {
      dup2(in[0], STDIN_FILENO);
      dup2(out[1], STDOUT_FILENO);
      for (const int fd : {in[0], in[1], out[0], out[1]})
        close(fd);
      if (host == "local")
        execl(self, self, "--agent", nullptr);
      else
        execlp("ssh", "ssh", "-o", "BatchMode=yes", host.c_str(), self, "--agent", nullptr);
      _exit(127);
    }
    close(in[0]);
    close(out[1]);
    to_ = fdopen(in[1], "w");
    from_ = fdopen(out[0], "r");
  }

  std::string line() {
    char buffer[512] = "";
    if (std::fgets(buffer, sizeof(buffer), from_) == nullptr) return {};
    buffer[std::strcspn(buffer, "\n")] = '\0';
    return buffer;
  }

  pid_t pid_ = -1;
  FILE* to_ = nullptr;
  FILE* from_ = nullptr;
};

class Two : public testing::Test {
 protected:
  void SetUp() override {
    if (peer_ == nullptr || !peer_->works()) {
      peer_.reset();
      peer_ = std::make_unique<Peer>();
    }
    ASSERT_TRUE(peer_->works());
    peer_->here.arrived.clear();
  }
  static void TearDownTestSuite() { peer_.reset(); }

  Node& here() { return peer_->here; }
  uct_ep_h ep() { return peer_->ep->get(); }
  std::uint64_t remote() { return peer_->remote; }
  uct_rkey_t rkey() { return peer_->key.rkey; }

  // The agent's answer to a request.
  std::vector<std::byte> ask(Request request, const std::vector<std::byte>& bytes) {
    EXPECT_EQ(send(here(), ep(), request, bytes), UCS_OK);
    EXPECT_TRUE(wait_until({&here()}, [&] { return !here().arrived.empty() || !here().failed.empty(); }));
    if (here().arrived.empty()) return {};
    std::vector<std::byte> reply = here().arrived.front().bytes;
    here().arrived.erase(here().arrived.begin());
    return reply;
  }
  bool agent_holds(std::size_t length, unsigned seed) { return yes(verify, length, seed); }
  bool agent_fills(std::size_t length, unsigned seed) { return yes(prepare, length, seed); }

  bool finish(Completion& completion, ucs_status_t status) {
    return status == UCS_OK ||
           (status == UCS_INPROGRESS && wait_until({&here()}, [&] { return completion.done; }) &&
            completion.status == UCS_OK);
  }

 private:
  bool yes(Request request, std::size_t length, unsigned seed) {
    auto bytes = number(length);
    const auto more = number(seed);
    bytes.insert(bytes.end(), more.begin(), more.end());
    return ask(request, bytes) == std::vector<std::byte>{std::byte{1}};
  }

  static inline std::unique_ptr<Peer> peer_;
};

TEST_F(Two, MessagesComeBackAsTheyWent) {
  for (const std::size_t length : {0, 1, 8, 100, 4096, 8192, 8256}) {
    const auto bytes = pattern(length, static_cast<unsigned>(length));
    EXPECT_EQ(ask(echo, bytes), bytes) << length << " bytes";
  }
}

TEST_F(Two, ManyMessagesComeBackInOrder) {
  constexpr unsigned count = 600;
  unsigned sent = 0;
  ASSERT_TRUE(wait_until({&here()}, [&] {
    while (sent < count && uct_ep_am_short(ep(), echo, sent, nullptr, 0) == UCS_OK)
      ++sent;
    return here().arrived.size() == count;
  }));
  for (unsigned i = 0; i < count; ++i)
    ASSERT_EQ(number_at(here().arrived[i].bytes, 0), i);
}

TEST_F(Two, WhatIsPutIsThere) {
  Memory local(here(), memory_bytes);
  for (const std::size_t length : {1UL, 4097UL, 100000UL, 1UL << 20, memory_bytes - 1}) {
    fill(local.bytes().subspan(1, length), 21);
    const uct_iov_t iov = local.iov(1, length);
    Completion completion;
    const ucs_status_t status =
        repeat({&here()}, [&] { return uct_ep_put_zcopy(ep(), &iov, 1, remote(), rkey(), &completion); });
    ASSERT_EQ(uct_ep_fence(ep(), 0), UCS_OK);
    EXPECT_TRUE(agent_holds(length, 21)) << length << " bytes";  // asked before the PUT has ended here
    EXPECT_TRUE(finish(completion, status));
  }
}

TEST_F(Two, WhatIsThereIsGot) {
  Memory local(here(), memory_bytes);
  for (const std::size_t length : {1UL, 4097UL, 100000UL, 1UL << 20, memory_bytes - 1}) {
    ASSERT_TRUE(agent_fills(length, 22));
    const uct_iov_t iov = local.iov(1, length);
    Completion completion;
    EXPECT_TRUE(finish(completion, repeat({&here()}, [&] {
                         return uct_ep_get_zcopy(ep(), &iov, 1, remote(), rkey(), &completion);
                       })));
    EXPECT_TRUE(holds(local.bytes().subspan(1, length), 22)) << length << " bytes";
  }
}

TEST_F(Two, ManyPutsAreOrderedByAFlush) {
  constexpr std::size_t block = 5000;
  constexpr std::size_t blocks = 200;
  const auto bytes = pattern(block * blocks, 23);
  for (std::size_t i = 0; i < blocks; ++i) {
    ASSERT_EQ(repeat({&here()},
                     [&] {
                       return uct_ep_put_short(ep(), bytes.data() + i * block, block, remote() + i * block,
                                               rkey());
                     }),
              UCS_OK);
  }
  Completion completion;
  EXPECT_TRUE(finish(
      completion, repeat({&here()}, [&] { return uct_ep_flush(ep(), UCT_FLUSH_FLAG_REMOTE, &completion); })));
  EXPECT_TRUE(agent_holds(block * blocks, 23));
}

TEST_F(Two, AKilledPeerIsNoticed) {
  if (std::getenv("BULK_LOOP_WORLD") != nullptr)
    GTEST_SKIP() << "the stand-in for the kernel notices no death";
  ASSERT_EQ(ask(echo, number(1)), number(1));
  Memory local(here(), memory_bytes);
  const uct_iov_t iov = local.iov(0, memory_bytes);
  Completion completion;
  const ucs_status_t status =
      repeat({&here()}, [&] { return uct_ep_put_zcopy(ep(), &iov, 1, remote(), rkey(), &completion); });
  ASSERT_EQ(send(here(), ep(), die, {}), UCS_OK);
  ASSERT_TRUE(wait_until({&here()}, [&] { return !here().failed.empty(); }));
  EXPECT_EQ(here().failed.front().ep, ep());
  EXPECT_TRUE(status != UCS_INPROGRESS || completion.done) << "reported before everything has ended";
  EXPECT_EQ(uct_ep_am_short(ep(), echo, 0, nullptr, 0), here().failed.front().status);
  EXPECT_EQ(uct_iface_flush(here().iface(), 0, nullptr), UCS_OK);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc > 1 && std::strcmp(argv[1], "--agent") == 0) return agent();
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
