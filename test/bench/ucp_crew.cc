// SPDX-License-Identifier: BSD-3-Clause

#include "ucp_crew.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <new>
#include <optional>
#include <sstream>
#include <thread>
#include <utility>

namespace bench {

namespace {

using verify::OutOfBand;

Shared& make_shared_memory() {
  void* memory = mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) throw Fatal(fmt::format("shared memory: {}", std::strerror(errno)));
  return *new (memory) Shared;
}

// What the processes measured, added up.
class Totals {
 public:
  void add(const std::string& text) {
    std::istringstream in(text);
    std::string name;
    Total one;
    in >> name >> one.unit >> one.begin >> one.end >> one.amount;
    const auto [at, is_new] = totals_.try_emplace(name, one);
    if (is_new) return;
    Total& total = at->second;
    total.begin = std::min(total.begin, one.begin);
    total.end = std::max(total.end, one.end);
    total.amount += one.amount;
  }
  void print(std::FILE* results) const {
    for (const auto& [name, total] : totals_) {
      const auto nanoseconds = static_cast<double>(total.end - total.begin);
      const double value = total.amount == 0 ? nanoseconds / 1e6 : total.amount / nanoseconds * 1e9;
      fmt::print(results, "result {} {:.3f} {}\n", name, value, total.unit);
    }
  }

 private:
  struct Total {
    std::string unit;
    std::int64_t begin = 0;  // ns
    std::int64_t end = 0;
    double amount = 0;  // 0: the time itself is the result
  };
  std::map<std::string, Total> totals_;
};

// The processes of this side, seen from the one that started them.
class Crew {
 public:
  Crew(OutOfBand other_side, std::FILE* results) : other_side_(std::move(other_side)), results_(results) {}
  // Kills those that are left.
  ~Crew() {
    for (Member& member : members_) {
      if (member.pid == 0) continue;
      kill(member.pid, SIGKILL);
      waitpid(member.pid, nullptr, 0);
    }
  }
  Crew(const Crew&) = delete;
  Crew& operator=(const Crew&) = delete;

  // Forks; in the new process, its connection to this one.
  std::optional<OutOfBand> start() {
    std::array<int, 2> fds{};
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds.data()) != 0)
      throw Fatal(fmt::format("socketpair: {}", std::strerror(errno)));
    OutOfBand here(fds[0]);
    OutOfBand there(fds[1]);
    const pid_t parent = getpid();
    const pid_t pid = fork();
    if (pid < 0) throw Fatal(fmt::format("fork: {}", std::strerror(errno)));
    if (pid > 0) {
      members_.emplace_back(pid, std::move(here));
      return std::nullopt;
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) throw Fatal("the process that started this one has died");
    return there;
  }

  // In a new process: it has nothing to do with the others any more.
  void forget() {
    for (Member& member : members_)
      member.pid = 0;
    members_.clear();
    const OutOfBand closed = std::move(other_side_);
  }

  // Until all processes of both sides have finished.
  void run() {
    for (;;) {
      for (Member& member : members_)
        hear(member);
      while (auto list = other_side_.try_receive())
        lists_.push_back(*std::move(list));
      pass_on();
      if (std::all_of(members_.begin(), members_.end(), [](const Member& one) { return one.finished; }))
        break;
      if (other_side_.closed() && lists_.empty()) throw Fatal("the other side has gone");
      wait();
    }
    for (Member& member : members_) {
      int status = 0;
      waitpid(std::exchange(member.pid, 0), &status, 0);
      if (status != 0) throw Fatal("a process failed at its end");
    }
    other_side_.send(farewell);
    if (lists_.empty()) lists_.push_back(other_side_.receive());
    if (lists_.front() != farewell) throw Fatal("the other side is not at its end");
    totals_.print(results_);
  }

 private:
  static constexpr const char* farewell = "end";

  struct Member {
    Member(pid_t id, OutOfBand connection) : pid(id), link(std::move(connection)) {}

    pid_t pid;
    OutOfBand link;
    std::optional<std::string> offer;  // for the other side
    bool finished = false;
  };

  void hear(Member& member) {
    while (auto message = member.link.try_receive()) {
      const std::string rest = message->substr(1);
      switch (message->front()) {
        case 'X':
          member.offer = rest;
          break;
        case 'R':
          fmt::print(results_, "result {}\n", rest);
          std::fflush(results_);
          break;
        case 'T':
          totals_.add(rest);
          break;
        default:
          member.finished = true;
      }
    }
    if (member.link.closed() && !member.finished) throw Fatal("a process has failed");
  }

  // When all processes have offered something, it goes to the other side; when the other side's has come as
  // well, it goes to the processes.
  void pass_on() {
    const auto has_offer = [](const Member& one) { return one.offer.has_value(); };
    if (!sent_ && std::all_of(members_.begin(), members_.end(), has_offer)) {
      std::vector<std::string> offers;
      for (Member& member : members_)
        offers.push_back(*std::move(member.offer));
      other_side_.send(pack(offers));
      sent_ = true;
    }
    if (!sent_ || lists_.empty()) return;
    if (lists_.front() == farewell) throw Fatal("the other side has ended too early");
    for (Member& member : members_) {
      member.offer.reset();
      member.link.send(lists_.front());
    }
    lists_.pop_front();
    sent_ = false;
  }

  void wait() {
    std::vector<pollfd> fds{
        {.fd = other_side_.closed() ? -1 : other_side_.fd(), .events = POLLIN, .revents = 0}};
    for (const Member& member : members_)
      fds.push_back({.fd = member.link.closed() ? -1 : member.link.fd(), .events = POLLIN, .revents = 0});
    poll(fds.data(), fds.size(), -1);
  }

  OutOfBand other_side_;
  std::FILE* results_;
  std::vector<Member> members_;
  std::deque<std::string> lists_;  // from the other side
  bool sent_ = false;
  Totals totals_;
};

}  // namespace

int run_crew(Role role, OutOfBand other_side, const Test& test, const Job& job, std::FILE* results) {
  Shared& shared = make_shared_memory();
  const unsigned processes = job.processes_of(role);
  const bool crowded = processes > std::thread::hardware_concurrency();
  Crew crew(std::move(other_side), results);
  for (unsigned index = 0; index < processes; ++index) {
    std::optional<OutOfBand> parent = crew.start();
    if (!parent) continue;
    crew.forget();
    Seat seat(role, index, job, *parent, shared, crowded);
    test.run(seat);
    parent->send("D");
    return 0;
  }
  crew.run();
  return 0;
}

}  // namespace bench
