// SPDX-License-Identifier: BSD-3-Clause
//
// Who may use a file, and what becomes of the peers of a process that ends: forks, files handed over, foreign
// io_urings, exec, kill -9, limits. One host; other processes are this program started again (see agent.hpp).
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <fstream>
#include <functional>
#include <string>
#include <thread>

#include "agent.hpp"
#include "raw.hpp"

namespace bulk::lab {
namespace {

// Runs `check` in a forked child; fails with what it reports.
void in_child(const std::function<std::string()>& check) {
  int pipe_fds[2];
  ASSERT_EQ(::pipe2(pipe_fds, O_CLOEXEC), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    const std::string report = check();
    if (::write(pipe_fds[1], report.data(), report.size()) < 0) ::_exit(2);
    ::_exit(0);
  }
  ::close(pipe_fds[1]);
  std::string report;
  char bytes[1024];
  for (ssize_t n = 0; (n = ::read(pipe_fds[0], bytes, sizeof(bytes))) > 0;)
    report.append(bytes, static_cast<std::size_t>(n));
  ::close(pipe_fds[0]);
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << "the child ended with status " << status;
  EXPECT_EQ(report, "");
}

// Every use of another process's files must be EPERM. Returns a report of what is not.
std::string try_everything(int domain, int channel, const rdma_bulk_bind& bind) {
  std::string report;
  const auto expect_eperm = [&](const char* what, Status got) {
    if (got.error() != EPERM) report += std::string(what) + ": expected EPERM, got " + got.text() + "\n";
  };
  static std::byte memory[4096];
  auto reg = good_reg(memory, sizeof(memory), 0);
  expect_eperm("register", raw(domain, RDMA_BULK_IOC_REG, &reg));
  auto dereg = sized<rdma_bulk_dereg>();
  dereg.handle = 1;
  expect_eperm("deregister", raw(domain, RDMA_BULK_IOC_DEREG, &dereg));
  auto grow = sized<rdma_bulk_grow>();
  grow.rx_add = 1;
  expect_eperm("grow", raw(channel, RDMA_BULK_IOC_GROW, &grow));
  auto stats = sized<rdma_bulk_stats>();
  expect_eperm("stats", raw(channel, RDMA_BULK_IOC_STATS, &stats));
  auto open = good_ep_open(Address::from_abi(bind.addr, bind.token));
  expect_eperm("open an endpoint", raw(channel, RDMA_BULK_IOC_EP_OPEN, &open));
  auto close = sized<rdma_bulk_ep_close>();
  close.ep = 1;
  expect_eperm("close an endpoint", raw(channel, RDMA_BULK_IOC_EP_CLOSE, &close));
  const Command flush = Command::flush(EpHandle{1}, 1);
  auto submit = sized<rdma_bulk_submit>();
  submit.count = 1;
  submit.cmds = reinterpret_cast<std::uintptr_t>(&flush);
  expect_eperm("submit", raw(channel, RDMA_BULK_IOC_SUBMIT, &submit));
  void* base =
      ::mmap(nullptr, bind.rx_bytes, PROT_READ, MAP_SHARED, channel, static_cast<off_t>(bind.rx_offset));
  expect_eperm("mmap", base == MAP_FAILED ? Status(errno) : Status{});

  auto uring = Submitter::make(channel, Submission::uring);
  if (uring.ok()) expect_eperm("io_uring", uring->one(flush));

  const Fd own = raw_open();
  auto b = good_bind(domain);
  expect_eperm("bind to the domain", raw(own.get(), RDMA_BULK_IOC_BIND, &b));
  return report;
}

class Owner : public testing::Test {
 protected:
  Owner() : pair_(Submission::ioctl) {}
  ~Owner() override { EXPECT_TRUE(pair_.still_works()); }

  // Until the endpoint of a to an agent is down; prints how long it took.
  void expect_down(EpHandle ep, const std::function<void()>& cause) {
    const auto start = std::chrono::steady_clock::now();
    cause();
    Node& a = *pair_.a;
    ASSERT_TRUE(pair_.wait([&] { return !a.log.down.empty(); }, "the endpoint to come down"));
    const auto ms =
        std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - start);
    EXPECT_EQ(a.log.down[0].ep, ep);
    // No keepalive or retry was needed to find out; those end with ETIMEDOUT.
    EXPECT_TRUE(is(a.log.down[0].status, {ECONNRESET, EPIPE, ECONNREFUSED, ECONNABORTED}));
    std::printf("down after %lld ms with %s\n", static_cast<long long>(ms.count()),
                a.log.down[0].status.text().c_str());
  }

  Pair pair_;
};

TEST_F(Owner, a_forked_child_may_use_nothing) {
  const RawChannel c;
  in_child([&] { return try_everything(c.domain.get(), c.fd.get(), c.bind); });
}

TEST_F(Owner, a_forked_child_has_no_mapping) {
  const RawChannel c;
  in_child([&]() -> std::string {
    std::ifstream maps("/proc/self/maps");
    for (std::string line; std::getline(maps, line);) {
      if (line.find("rdma_bulk") != std::string::npos) return line + "\n";
    }
    return "";
  });
}

TEST_F(Owner, a_forked_child_may_destroy_the_objects) {
  in_child([&]() -> std::string {
    pair_.a.reset();
    pair_.b.reset();
    return "";
  });
}

TEST_F(Owner, a_receiver_of_the_files_may_use_nothing) {
  const RawChannel c;
  int sockets[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets), 0);
  const int fds[2] = {c.domain.get(), c.fd.get()};
  char control[CMSG_SPACE(sizeof(fds))] = {};
  char byte = 0;
  iovec data{&byte, 1};
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof(control);
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof(fds));
  std::memcpy(CMSG_DATA(header), fds, sizeof(fds));
  ASSERT_EQ(::sendmsg(sockets[0], &message, 0), 1);
  in_child([&]() -> std::string {
    ::close(fds[0]);
    ::close(fds[1]);
    message.msg_controllen = sizeof(control);
    if (::recvmsg(sockets[1], &message, 0) != 1) return "recvmsg failed";
    int got[2];
    std::memcpy(got, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(got));
    return try_everything(got[0], got[1], c.bind);
  });
  ::close(sockets[0]);
  ::close(sockets[1]);
}

TEST_F(Owner, files_are_closed_by_exec) {
  EXPECT_NE(::fcntl(pair_.a->channel.poll_fd(), F_GETFD) & FD_CLOEXEC, 0);
  EXPECT_NE(::fcntl(pair_.a->domain.fd(), F_GETFD) & FD_CLOEXEC, 0);
}

TEST_F(Owner, a_channel_with_another_process_s_domain_is_refused) {
  in_child([&]() -> std::string {
    const auto channel = Channel::bind(pair_.a->domain, {.device = device()});
    return channel.ok() || channel.error().code != EPERM ? "expected EPERM" : "";
  });
}

// ---- two processes ----

class TwoProcesses : public Owner, public testing::WithParamInterface<Submission> {
 protected:
  TwoProcesses() : agent_(std::string(name_of(GetParam()))) {}

  // Both know each other.
  void meet() {
    ASSERT_TRUE(agent_.started());
    to_ = pair_.a->connect(agent_.address(), {pair_.b.get()});
    ASSERT_TRUE(agent_.ask("open " + pair_.a->channel.address().text(), pair_.a.get()));
    pair_.a->log.up.clear();
  }

  Agent agent_;
  EpHandle to_;
};

TEST_P(TwoProcesses, exchange_messages) {
  ASSERT_NO_FATAL_FAILURE(meet());
  Node& a = *pair_.a;
  ASSERT_TRUE(agent_.ask("send 300 1000 7", &a));
  ASSERT_TRUE(pair_.wait([&] { return a.log.received == 300; }, "300 messages"));
  for (std::uint16_t i = 0; i < 300; ++i) {
    ASSERT_EQ(a.log.messages[i].id, i);
    ASSERT_TRUE(holds(a.log.messages[i].bytes, 7U + i));
  }
  std::byte bytes[500];
  for (std::uint16_t i = 0; i < 100; ++i) {
    fill(bytes, 50U + i);
    ASSERT_TRUE(
        is(a.run([&](std::uint64_t id) { return a.channel.send(to_, Local::user(bytes), 500, i, id); }), 0));
  }
  EXPECT_TRUE(agent_.ask("expect 100 500 50", &a));
}

TEST_P(TwoProcesses, put_and_get) {
  ASSERT_NO_FATAL_FAILURE(meet());
  Node& a = *pair_.a;
  Pages memory(300000);
  const auto region = a.domain.register_memory(memory.data(), memory.size(), Access::remote_read_write);
  ASSERT_TRUE(region.ok());
  const std::string where =
      std::to_string(reinterpret_cast<std::uintptr_t>(memory.data())) + " " + hex(region->key());
  ASSERT_TRUE(agent_.ask("put 300000 " + where + " 3", &a));
  EXPECT_TRUE(holds(memory.span(), 3));
  fill(memory.span(), 4);
  ASSERT_TRUE(agent_.ask("get 300000 " + where + " 4", &a));
}

TEST_P(TwoProcesses, peers_learn_that_one_was_killed) {
  ASSERT_NO_FATAL_FAILURE(meet());
  expect_down(to_, [&] { agent_.kill(); });
}

TEST_P(TwoProcesses, peers_learn_that_one_became_another_program) {
  ASSERT_NO_FATAL_FAILURE(meet());
  expect_down(to_, [&] { ASSERT_TRUE(agent_.ask("exec")); });
}

TEST_P(TwoProcesses, peers_learn_that_one_was_killed_whose_child_holds_its_files) {
  ASSERT_NO_FATAL_FAILURE(meet());
  ASSERT_TRUE(agent_.ask("hold-file"));
  expect_down(to_, [&] { agent_.kill(); });
}

TEST_P(TwoProcesses, one_killed_in_the_middle_of_everything) {
  Node& a = *pair_.a;
  Pages memory(1 << 20);
  const auto region = a.domain.register_memory(memory.data(), memory.size(), Access::remote_read_write);
  ASSERT_TRUE(region.ok());
  const std::string where =
      std::to_string(reinterpret_cast<std::uintptr_t>(memory.data())) + " " + hex(region->key());
  ASSERT_NO_FATAL_FAILURE(meet());
  ASSERT_TRUE(agent_.ask("stream " + where + " 1000000", &a));
  ASSERT_TRUE(pair_.wait([&] { return a.log.received >= 10; }, "some messages"));
  expect_down(to_, [&] { agent_.kill(); });
}

TEST_P(TwoProcesses, one_killed_while_it_is_the_target_of_everything) {
  ASSERT_NO_FATAL_FAILURE(meet());
  Node& a = *pair_.a;
  const auto answer = agent_.ask("region 1000000 rw", &a);
  ASSERT_TRUE(answer);
  const std::uint64_t address = std::stoull(*answer);
  const auto key = key_from_hex(answer->substr(answer->find(' ') + 1));
  ASSERT_TRUE(key);
  Pages buffer(1000000);
  std::uint64_t accepted = 0;
  const auto push = [&] {
    for (;;) {
      const Remote remote{address, *key};
      if (!a.channel.put(to_, Local::user(buffer.data()), buffer.size(), remote, 100000 + accepted)) return;
      ++accepted;
      if (!a.channel.get(to_, Local::user(buffer.data()), buffer.size(), remote, 100000 + accepted)) return;
      ++accepted;
      if (!a.channel.send(to_, Local::user("x"), 1, 1, 100000 + accepted)) return;
      ++accepted;
    }
  };
  push();
  ASSERT_TRUE(pair_.wait([&] { return a.log.done.size() > 5; }, "some to be done"));
  push();
  agent_.kill();
  ASSERT_TRUE(pair_.wait([&] { return !a.log.down.empty(); }, "the endpoint to come down"));
  EXPECT_EQ(a.channel.outstanding(), 0U) << "DOWN says that all commands have ended";
  std::uint64_t ended = 0;
  for (const Done& d : a.log.done)
    ended += d.user_data >= 100000 ? 1 : 0;
  EXPECT_EQ(ended, accepted) << "each accepted command ends exactly once";
}

TEST_P(TwoProcesses, killing_many_in_turn_leaves_nothing_behind) {
  Node& a = *pair_.a;
  Pages memory(1 << 16);
  const auto region = a.domain.register_memory(memory.data(), memory.size(), Access::remote_read_write);
  ASSERT_TRUE(region.ok());
  const std::string where =
      std::to_string(reinterpret_cast<std::uintptr_t>(memory.data())) + " " + hex(region->key());
  for (int i = 0; i < 5; ++i) {
    Agent agent(std::string(name_of(GetParam())));
    ASSERT_TRUE(agent.started());
    const EpHandle to = a.connect(agent.address(), {pair_.b.get()});
    ASSERT_TRUE(agent.ask("open " + a.channel.address().text(), &a));
    ASSERT_TRUE(agent.ask("stream " + where + " " + std::to_string(1 + i * 7919), &a));
    const std::uint64_t before = a.log.received;
    ASSERT_TRUE(
        pair_.wait([&] { return a.log.received > before + static_cast<std::uint64_t>(3 * i); }, "messages"));
    a.log.down.clear();
    agent.kill();
    ASSERT_TRUE(pair_.wait([&] { return !a.log.down.empty(); }, "the endpoint to come down"));
    EXPECT_TRUE(is(a.channel.ep_close(to), 0));
  }
  EXPECT_LE(a.channel.stats()->endpoints, 2U);
}

TEST_P(TwoProcesses, a_token_of_a_killed_process_is_refused) {
  ASSERT_TRUE(agent_.started());
  const Address gone = agent_.address();
  agent_.kill();
  Node& a = *pair_.a;
  ASSERT_TRUE(a.channel.ep_open(gone, 1).ok());
  ASSERT_TRUE(pair_.wait([&] { return !a.log.down.empty(); }, "the endpoint to be refused"));
  EXPECT_TRUE(is(a.log.down[0].status, ECONNREFUSED));
}

INSTANTIATE_TEST_SUITE_P(, TwoProcesses,
                         testing::Values(Submission::ioctl, Submission::uring, Submission::sqpoll),
                         submission_name);

// ---- other users, limits ----

TEST_F(Owner, registration_keeps_to_the_memlock_limit) {
  in_child([]() -> std::string {
    const rlimit limit{256 << 10, 256 << 10};
    if (::setrlimit(RLIMIT_MEMLOCK, &limit) != 0) return "setrlimit";
    if (::setresgid(65534, 65534, 65534) != 0 || ::setresuid(65534, 65534, 65534) != 0) return "setresuid";
    auto domain = Domain::open();
    if (!domain) return "an ordinary user: " + domain.error().text();
    Pages memory(1 << 20);
    std::string report;
    {
      const auto small = domain->register_memory(memory.data(), 64 << 10, Access::remote_read);
      if (!small) report += "64 KiB: " + small.error().text() + "\n";
      const auto large = domain->register_memory(memory.data(), 1 << 20, Access::remote_read);
      if (large.ok() || large.error().code != ENOMEM) report += "1 MiB: expected ENOMEM\n";
      const auto local = domain->register_memory(memory.data(), 1 << 20, Access::local);
      if (!local) report += "1 MiB for local use, which pins nothing: " + local.error().text() + "\n";
    }
    // What was registered and is deregistered does not count for ever.
    for (int i = 0; i < 20; ++i) {
      auto again = domain->register_memory(memory.data(), 128 << 10, Access::remote_read);
      if (!again) return report + "128 KiB, time " + std::to_string(i) + ": " + again.error().text() + "\n";
      if (!domain->deregister(std::move(*again), Deregister::invalidate)) return report + "deregister\n";
    }
    return report;
  });
}

TEST_F(Owner, channels_of_another_user_are_refused) {
  const Address address = pair_.a->channel.address();
  in_child([&]() -> std::string {
    if (::setresgid(65534, 65534, 65534) != 0 || ::setresuid(65534, 65534, 65534) != 0) return "setresuid";
    auto domain = Domain::open();
    if (!domain) return domain.error().text();
    auto channel = Channel::bind(*domain, {.device = device(), .submission = Submission::ioctl});
    if (!channel) return channel.error().text();
    if (!channel->ep_open(address, 1)) return "ep_open";
    Log log;
    for (int i = 0; i < limit_seconds() * 10 && log.down.empty() && log.up.empty(); ++i) {
      channel->wait(100);
      channel->progress(log);
    }
    if (log.down.empty()) return log.up.empty() ? "no answer" : "the endpoint came up";
    return log.down[0].status.error() == ECONNREFUSED ? "" : log.down[0].status.text();
  });
}

TEST_F(Owner, many_channels_come_and_go) {
  for (int i = 0; i < 30; ++i) {
    auto node = Node::make(Submission::ioctl);
    if (i % 3 == 0) node->connect(pair_.b->channel.address(), {pair_.b.get()});
  }
}

TEST_F(Owner, threads_share_a_channel_one_at_a_time) {
  std::thread other([&] { EXPECT_TRUE(pair_.still_works()); });
  other.join();
}

}  // namespace
}  // namespace bulk::lab
