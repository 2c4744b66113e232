// SPDX-License-Identifier: BSD-3-Clause
#include "agent.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstring>
#include <iostream>
#include <map>
#include <sstream>
#include <vector>

#include "lab.hpp"

namespace bulk::lab {

std::string hex(const Key& key) {
  std::string text;
  for (const std::byte b : key) {
    char digits[3];
    std::snprintf(digits, sizeof(digits), "%02x", std::to_integer<unsigned>(b));
    text += digits;
  }
  return text;
}

std::optional<Key> key_from_hex(const std::string& text) {
  Key key;
  if (text.size() != 2 * key.size()) return std::nullopt;
  for (std::size_t i = 0; i < key.size(); ++i) {
    key[i] = static_cast<std::byte>(std::stoul(text.substr(2 * i, 2), nullptr, 16));
  }
  return key;
}

// ---- the agent ----

namespace {

class Server {
 public:
  explicit Server(Submission submission) : node_(Node::make(submission)) {}

  int run() {
    say(node_->channel.address().text());
    while (const auto line = next_line()) {
      std::istringstream words(*line);
      std::string command;
      words >> command;
      const auto result = handle(command, words);
      say(result ? "ok " + *result : "error " + error_);
    }
    return 0;
  }

 private:
  using Answer = std::optional<std::string>;

  void say(const std::string& text) { std::cout << text << std::endl; }

  Answer fail(const std::string& why) {
    error_ = why;
    return std::nullopt;
  }

  // Makes progress until a line has come; nothing at the end of input.
  std::optional<std::string> next_line() {
    for (;;) {
      const std::size_t end = input_.find('\n');
      if (end != std::string::npos) {
        std::string line = input_.substr(0, end);
        input_.erase(0, end + 1);
        return line;
      }
      while (node_->channel.progress(node_->log) != 0) {
      }
      if (!node_->channel.arm()) continue;
      pollfd files[] = {{0, POLLIN, 0}, {node_->channel.poll_fd(), POLLIN, 0}};
      ::poll(files, 2, -1);
      if ((files[0].revents & (POLLIN | POLLHUP)) == 0) continue;
      char bytes[4096];
      const ssize_t n = ::read(0, bytes, sizeof(bytes));
      if (n <= 0) return std::nullopt;
      input_.append(bytes, static_cast<std::size_t>(n));
    }
  }

  testing::AssertionResult wait(const std::function<bool()>& condition, const std::string& what) {
    return lab::wait({node_.get()}, condition, what);
  }

  Answer finish(const testing::AssertionResult& result, const std::string& answer = "") {
    if (!result) return fail(result.message());
    return answer;
  }
  Answer finish(Status status) { return status.ok() ? Answer("") : fail(status.text()); }

  Answer handle(const std::string& command, std::istringstream& words) {
    Channel& channel = node_->channel;
    Log& log = node_->log;
    if (command == "open") {
      std::string text;
      words >> text;
      const auto address = Address::from_text(text);
      if (!address) return fail("bad address");
      const auto ep = channel.ep_open(*address, 1);
      if (!ep) return fail(ep.error().text());
      ep_ = *ep;
      const auto come = wait([&] { return !log.up.empty() || !log.down.empty(); }, "up");
      if (!log.down.empty()) return fail("down: " + log.down.front().status.text());
      return finish(come);
    }
    if (command == "send") return send(words);
    if (command == "expect") return expect(words);
    if (command == "hold") {
      log.hold = true;
      return "";
    }
    if (command == "release") {
      log.hold = false;
      for (const RxSlot slot : log.held)
        channel.rx_return(slot);
      log.held.clear();
      return finish(channel.flush_returns());
    }
    if (command == "region") {
      std::size_t bytes = 0;
      std::string access;
      words >> bytes >> access;
      memory_ = std::make_unique<Pages>(bytes);
      auto region = node_->domain.register_memory(memory_->data(), bytes,
                                                  access == "r"   ? Access::remote_read
                                                  : access == "w" ? Access::remote_write
                                                                  : Access::remote_read_write);
      if (!region) return fail(region.error().text());
      region_ = std::move(*region);
      return std::to_string(reinterpret_cast<std::uintptr_t>(memory_->data())) + " " + hex(region_.key());
    }
    if (command == "fill" || command == "check") {
      std::size_t offset = 0;
      std::size_t length = 0;
      std::uint64_t seed = 0;
      words >> offset >> length >> seed;
      if (command == "check") return finish(holds(memory_->span().subspan(offset, length), seed));
      fill(memory_->span().subspan(offset, length), seed);
      return "";
    }
    if (command == "put" || command == "get") return rma(command == "put", words);
    if (command == "tell-key") {
      return finish(node_->run([&](std::uint64_t id) {
        return channel.send(ep_, Local::user(region_.key().data()), sizeof(Key), 0, id, region_.handle());
      }));
    }
    if (command == "deregister")
      return finish(node_->domain.deregister(std::move(region_), Deregister::invalidate));
    if (command == "down") {
      const auto come = wait([&] { return !log.down.empty(); }, "the endpoint to come down");
      return finish(come, log.down.empty() ? "" : std::to_string(log.down.front().status.error()));
    }
    if (command == "stream") return stream(words);
    if (command == "hold-file") {
      if (::fork() == 0) {
        ::close(1);
        ::close(2);
        pollfd input{0, 0, 0};
        while (::poll(&input, 1, -1) != 1) {  // until the test is over
        }
        ::_exit(0);
      }
      return "";
    }
    if (command == "exec") {
      say("ok");
      ::execl("/bin/cat", "cat", nullptr);  // until the test is over
      return fail("exec");
    }
    if (command == "die") ::raise(SIGKILL);
    return fail("unknown command " + command);
  }

  Answer send(std::istringstream& words) {
    std::uint32_t count = 0;
    std::uint32_t length = 0;
    std::uint64_t seed = 0;
    words >> count >> length >> seed;
    Channel& channel = node_->channel;
    for (std::uint32_t i = 0; i < count; ++i) {
      Status status;
      const auto sent = wait(
          [&] {
            const TxSlot slot = channel.tx_acquire();
            if (!slot.valid()) return false;
            fill(std::span(channel.tx_data(slot), length), seed + i);
            status = channel.send(ep_, slot, length, static_cast<std::uint16_t>(i), node_->next_id++);
            if (!status) channel.tx_release(slot);
            return !status.again();
          },
          "a message to be accepted");
      if (!sent) return fail(sent.message());
      if (!status) return fail(status.text());
    }
    return finish(wait([&] { return channel.outstanding() == 0; }, "messages to be done"));
  }

  Answer expect(std::istringstream& words) {
    std::uint32_t count = 0;
    std::uint32_t length = 0;
    std::uint64_t seed = 0;
    words >> count >> length >> seed;
    Log& log = node_->log;
    const auto come = wait([&] { return log.messages.size() >= count; }, std::to_string(count) + " messages");
    if (!come)
      return fail(std::string(come.message()) + "; there are " + std::to_string(log.messages.size()));
    for (std::uint32_t i = 0; i < count; ++i) {
      const Received& m = log.messages[i];
      if (m.id != static_cast<std::uint16_t>(i) || m.bytes.size() != length) {
        return fail("message " + std::to_string(i) + " has id " + std::to_string(m.id) + ", length " +
                    std::to_string(m.bytes.size()));
      }
      if (const auto good = holds(m.bytes, seed + i); !good) {
        return fail("message " + std::to_string(i) + ": " + good.message());
      }
    }
    log.messages.erase(log.messages.begin(), log.messages.begin() + count);
    return "";
  }

  Answer rma(bool put, std::istringstream& words) {
    std::size_t bytes = 0;
    std::uint64_t address = 0;
    std::string text;
    std::uint64_t seed = 0;
    words >> bytes >> address >> text >> seed;
    const auto key = key_from_hex(text);
    if (!key) return fail("bad key");
    Pages buffer(bytes);
    if (put) fill(buffer.span(), seed);
    const Status status = node_->run([&](std::uint64_t id) {
      const Local local = Local::user(buffer.data());
      const Remote remote{address, *key};
      return put ? node_->channel.put(ep_, local, bytes, remote, id)
                 : node_->channel.get(ep_, local, bytes, remote, id);
    });
    if (!status) return fail(status.text());
    return put ? Answer("") : finish(holds(buffer.span(), seed));
  }

  Answer stream(std::istringstream& words) {
    std::uint64_t address = 0;
    std::string text;
    std::size_t bytes = 0;
    words >> address >> text >> bytes;
    const auto key = key_from_hex(text);
    if (!key) return fail("bad key");
    Pages buffer(bytes);
    say("ok");
    Channel& channel = node_->channel;
    node_->log.store = false;
    for (std::uint64_t i = 0;; ++i) {
      const Remote remote{address, *key};
      static_cast<void>(channel.put(ep_, Local::user(buffer.data()), bytes, remote, i));
      static_cast<void>(channel.get(ep_, Local::user(buffer.data()), bytes, remote, i));
      static_cast<void>(channel.send(ep_, Local::user(buffer.data()), 100, 1, i));
      node_->log.done.clear();
      channel.progress(node_->log);
      if (channel.outstanding() > 20) channel.wait(20);
      pollfd input{0, POLLIN, 0};
      if (i % 64 == 0 && ::poll(&input, 1, 0) == 1) return "";  // the test is over
    }
  }

  std::unique_ptr<Node> node_;
  std::unique_ptr<Pages> memory_;
  Region region_;
  EpHandle ep_;
  std::string input_;
  std::string error_;
};

}  // namespace

int agent_main(const std::string& submission) {
  Server server(submission_from(submission));
  return server.run();
}

// ---- the test's end ----

Process::Process(const std::vector<std::string>& arguments, const std::string& host)
    : remote_(!host.empty()) {
  ::signal(SIGPIPE, SIG_IGN);
  int to[2];
  int from[2];
  if (::pipe2(to, O_CLOEXEC) != 0 || ::pipe2(from, O_CLOEXEC) != 0) return;
  char self[4096] = {};
  if (::readlink("/proc/self/exe", self, sizeof(self) - 1) < 0) return;
  std::vector<std::string> words;
  if (remote_) words = {"ssh", "-o", "BatchMode=yes", host};
  words.emplace_back(self);
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> pointers;
  for (std::string& word : words)
    pointers.push_back(word.data());
  pointers.push_back(nullptr);
  pid_ = ::fork();
  if (pid_ == 0) {
    ::dup2(to[0], 0);
    ::dup2(from[1], 1);
    ::execvp(pointers[0], pointers.data());
    ::_exit(127);
  }
  ::close(to[0]);
  ::close(from[1]);
  in_ = to[1];
  out_ = from[0];
}

Process::~Process() {
  if (in_ >= 0) ::close(in_);  // it ends by itself, on another host too
  if (pid_ > 0) {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  if (out_ >= 0) ::close(out_);
}

Agent::Agent(const std::string& submission, const std::string& host)
    : Process({"--agent", submission}, host) {
  address_text_ = read_line().value_or("");
  if (!Address::from_text(address_text_)) {
    ADD_FAILURE() << "the agent did not start" << (remote() ? " on " + host : "")
                  << "; it said: " << address_text_;
    address_text_.clear();
  }
}

Address Agent::address() const {
  return Address::from_text(address_text_).value_or(Address{});
}

std::optional<std::string> Process::read_line(Node* node) {
  const auto end_time = std::chrono::steady_clock::now() + std::chrono::seconds(limit_seconds() + 10);
  for (;;) {
    const std::size_t end = buffer_.find('\n');
    if (end != std::string::npos) {
      std::string line = buffer_.substr(0, end);
      buffer_.erase(0, end + 1);
      return line;
    }
    if (std::chrono::steady_clock::now() > end_time) return std::nullopt;
    pollfd file{out_, POLLIN, 0};
    if (node != nullptr) node->channel.progress(node->log);
    if (::poll(&file, 1, node == nullptr ? 1000 : 2) <= 0) continue;
    char bytes[4096];
    const ssize_t n = ::read(out_, bytes, sizeof(bytes));
    if (n <= 0) return std::nullopt;
    buffer_.append(bytes, static_cast<std::size_t>(n));
  }
}

void Process::tell(const std::string& line) {
  const std::string text = line + "\n";
  if (::write(in_, text.data(), text.size()) != static_cast<ssize_t>(text.size())) {
    ADD_FAILURE() << "the process is gone; it should do: " << line;
  }
}

std::optional<std::string> Agent::ask(const std::string& line, Node* node) {
  tell(line);
  const auto answer = read_line(node);
  if (!answer) {
    ADD_FAILURE() << "the agent did not answer to: " << line;
    return std::nullopt;
  }
  if (answer->rfind("ok", 0) != 0) {
    ADD_FAILURE() << "the agent was told: " << line << "; it answers: " << *answer;
    return std::nullopt;
  }
  return answer->size() > 3 ? answer->substr(3) : "";
}

void Agent::kill() {
  if (remote()) {
    tell("die");
  } else {
    ::kill(pid_, SIGKILL);
  }
  ::waitpid(pid_, nullptr, 0);
  pid_ = -1;
}

}  // namespace bulk::lab
