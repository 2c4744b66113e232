// SPDX-License-Identifier: BSD-3-Clause
//
// A measurement between two ends, whatever moves the data: an Engine moves, a Session drives it, warms it up,
// times it, and keeps the two ends in step by lines over a TCP connection (the control connection), which
// also tells when the other end has died.
//
//   client                              server
//   the job                  -------->
//            <-------  both: where I am, and the key to my memory  ------->
//            <-------  both: up                                    ------->
//   go                       -------->                  operations, warm-up
//                            <--------  finished
//   go                       -------->                  operations, measured
//                            <--------  finished: the server has received all, and its own are done
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "../system/verify_oob.h"
#include "job.hpp"

namespace bench {

using verify::Fatal;

// The control connection, and waiting for what it says.
class Control {
 public:
  explicit Control(verify::OutOfBand connection) : connection_(std::move(connection)) {}

  int fd() const { return connection_.fd(); }
  // IPv4 address of this end, as text.
  std::string local_ip() const;

  void send(const std::string& line) { connection_.send("+" + line); }
  // Tells the other end why this one gives up.
  void give_up(const std::string& why) { connection_.send("-" + why); }
  // Waits for a line. Throws Fatal if the other end has died or given up.
  std::string receive();
  // Takes in what has come. Throws as receive() does, once all lines have been taken.
  void look();
  bool has_line() const { return !lines_.empty(); }

 private:
  void take(std::string line) { lines_.push_back(std::move(line)); }
  std::string next();

  verify::OutOfBand connection_;
  std::deque<std::string> lines_;
};

// Moves data to and from one other end, by one kind of operation. Not for several threads.
class Engine {
 public:
  using Until = std::function<void(const std::function<bool()>& condition)>;

  Engine() = default;
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;
  virtual ~Engine() = default;

  // Where this end is, and how to reach its memory.
  virtual std::string address() = 0;
  // Connects to an end by its address(); `until` makes progress until something holds.
  virtual void connect(const std::string& peer, const Until& until) = 0;

  // Begins the operations `first` to `first + count - 1`, as far as is possible now; returns how many.
  virtual unsigned post(std::uint64_t first, unsigned count) = 0;
  // Looks for what has ended and what has come, without waiting. False if there was nothing.
  virtual bool progress() = 0;
  // Before a poll() for `events()` on `fd()`. False: there is something already.
  virtual bool arm() = 0;
  virtual int fd() const = 0;
  virtual short events() const = 0;

  // Operations of this end that have ended well, and messages that have come, ever.
  std::uint64_t done() const { return done_; }
  std::uint64_t received() const { return received_; }

 protected:
  std::uint64_t done_ = 0;
  std::uint64_t received_ = 0;
};

// Makes an engine for a job. `local_ip`: the address of this host by which the other end knows it.
using MakeEngine = std::function<std::unique_ptr<Engine>(const Job& job, const std::string& local_ip)>;

// A test that is no series of operations: each end's part in it, once both know the job.
struct OwnTest {
  std::string_view name;
  std::function<void(const Job& job, Control& control)> serve;
  std::function<void(const Job& job, Control& control)> measure;
};

// Prints a line `result NAME VALUE UNIT`.
void result(std::string_view name, double value, std::string_view unit);

// main() of a program. Returns its exit status.
int run(const Tool& tool, const MakeEngine& make, int argc, char** argv, std::span<const OwnTest> own = {});

}  // namespace bench
