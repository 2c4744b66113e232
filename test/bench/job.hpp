// SPDX-License-Identifier: BSD-3-Clause
//
// What a benchmark between two hosts is asked to do: the command line, which channel_bench and rds_bench have
// in common, and the line by which the client tells the server.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>

namespace bench {

enum class Operation : std::uint8_t { send, put, get };

struct Test {
  std::string_view name;
  std::size_t size = 65536;
  std::uint64_t count = 1000;
  unsigned window = 16;
  Operation operation = Operation::send;
  bool latency = false;  // one operation at a time, each of them timed
};

struct Job {
  std::string test;
  std::size_t size = 0;
  std::uint64_t count = 0;
  std::uint64_t warmup = 0;  // operations before the clock starts
  unsigned window = 0;       // operations under way at most
  bool sleep = false;        // wait for events by poll() instead of looking for them all the time
  bool bidirectional = false;
  bool fresh = false;  // a buffer for every operation
  std::string transport = "ib";

  Operation operation = Operation::send;  // by the test
  bool latency = false;                   // likewise

  std::string encode() const;
};

// One of the programs.
struct Tool {
  std::string name;
  std::string description;
  std::span<const Test> tests;
  bool transports = false;  // has --transport
  // Why the tool cannot do the job, or nothing.
  std::function<std::string(const Job&)> refusal;

  // What encode() made. Throws verify::Fatal if the client is another program, or another version of this
  // one.
  Job decode(const std::string& text) const;
};

struct Arguments {
  bool listen = false;
  std::string host;
  std::string port;
  Job job;  // of a server: only whether it sleeps
};

// Ends the program: with status 0 after --help, 2 if the command line is wrong.
Arguments parse(const Tool& tool, int argc, char** argv);

}  // namespace bench
