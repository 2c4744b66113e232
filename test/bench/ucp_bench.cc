// SPDX-License-Identifier: BSD-3-Clause
//
// ucp_bench: measures through UCP's public interface what stock ucx_perftest does not. It knows nothing of
// the transport: UCX_TLS chooses.
//
//   host 2:  ucp_bench --listen
//   host 1:  ucp_bench host2 --test tag_lat --sleep
//
// The client decides what is run. All it prints on standard output are lines `result NAME VALUE UNIT`;
// errors, and what UCX has to say, go to standard error. Exit status: 0 measured, 1 not, 2 wrong options.

#include <fmt/format.h>
#include <unistd.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <array>
#include <cstdio>
#include <exception>
#include <string>
#include <vector>

#include "ucp_crew.h"

namespace bench {

namespace {

constexpr std::size_t mib = std::size_t{1} << 20U;

constexpr std::array all_tests{
    Test{.name = "tag_bw",
         .run = bandwidth,
         .help = "bandwidth of tagged messages",
         .size = mib,
         .in_directions = true,
         .with_buffers = true,
         .in_processes = true},
    Test{.name = "put_bw",
         .run = bandwidth,
         .help = "bandwidth of puts, with a flush at the end",
         .size = mib,
         .in_directions = true,
         .with_buffers = true,
         .in_processes = true},
    Test{.name = "get_bw",
         .run = bandwidth,
         .help = "bandwidth of gets",
         .size = mib,
         .in_directions = true,
         .with_buffers = true,
         .in_processes = true},
    Test{.name = "am_bw",
         .run = bandwidth,
         .help = "bandwidth of active messages",
         .size = mib,
         .in_directions = true,
         .with_buffers = true,
         .in_processes = true},
    Test{.name = "tag_lat", .run = latency, .help = "ping-pong; half of a round trip", .count = 1000},
    Test{.name = "msg_rate",
         .run = bandwidth,
         .help = "rate of small tagged messages",
         .count = 10000,
         .window = 64,
         .in_processes = true},
    Test{.name = "incast",
         .run = bandwidth,
         .help = "bandwidth of many sending processes to one receiver",
         .size = mib,
         .with_buffers = true,
         .in_processes = true},
    Test{.name = "setup", .run = setup, .help = "from nothing to answered messages", .endpoints = 10},
    Test{.name = "unexpected",
         .run = unexpected,
         .help = "tagged messages that are matched after all have arrived, the last one first",
         .count = 100000},
    Test{.name = "flush",
         .run = flush,
         .help = "a flush with a put under way on each endpoint",
         .endpoints = 100},
    Test{.name = "fence", .run = fence, .help = "the same of fence, put and flush", .endpoints = 100},
    Test{.name = "rkey", .run = rkey, .help = "put and flush, with a new key and with a used one"},
    Test{.name = "register", .run = registration, .help = "ucp_mem_map", .count = 5},
    Test{.name = "grow",
         .run = grow,
         .help = "all processes of one side to all of the other, held for a while",
         .in_processes = true},
};

// None has that name: nullptr.
const Test* find_test(std::string_view name) {
  const auto* at =
      std::find_if(all_tests.begin(), all_tests.end(), [&](const Test& test) { return test.name == name; });
  return at == all_tests.end() ? nullptr : at;
}

std::string test_help() {
  std::string text = "what to measure:";
  for (const Test& test : all_tests)
    text += fmt::format("\n    {:<11}{}", test.name, test.help);
  return text;
}

struct Options {
  Job job;
  bool listen = false;
  std::string host;
  unsigned port = 18530;
};

// Returns what is wrong with the options of a client.
std::string fill_in(Job& job, const Test& test, const CLI::App& app) {
  const auto given = [&](const char* name) { return app.count(name) > 0; };
  if (!given("--size")) job.size = test.size;
  if (!given("--count")) job.count = test.count;
  if (!given("--warmup")) job.warmup = test.warmup;
  if (!given("--window")) job.window = test.window;
  if (!given("--endpoints")) job.endpoints = test.endpoints;
  const auto useless = [&](const char* name, bool known) { return given(name) && !known; };
  const char* wrong = useless("--bidirectional", test.in_directions)  ? "--bidirectional"
                      : useless("--fresh", test.with_buffers)         ? "--fresh"
                      : useless("--processes", test.in_processes)     ? "--processes"
                      : useless("--endpoints", test.endpoints > 0)    ? "--endpoints"
                      : useless("--beside-bulk", test.run == latency) ? "--beside-bulk"
                      : useless("--hold", test.run == grow)           ? "--hold"
                                                                      : nullptr;
  if (wrong != nullptr) return fmt::format("{} does not go with the test {}", wrong, test.name);
  const bool is_one_sided = test.name == "put_bw" || test.name == "get_bw" || test.name == "flush" ||
                            test.name == "fence" || test.name == "rkey";
  if (is_one_sided && job.size == 0) return fmt::format("{} needs a size", test.name);
  return {};
}

int run(int argc, char** argv, std::FILE* results) {
  CLI::App app{"Measures UCX through UCP, between two hosts.", "ucp_bench"};
  Options options;
  Job& job = options.job;
  auto* listen = app.add_flag("--listen", options.listen, "serve one client, and exit");
  auto* host = app.add_option("HOST", options.host, "where the server is")->excludes(listen);
  app.add_option("--port", options.port, "TCP port of the server")
      ->check(CLI::Range(1, 65535))
      ->capture_default_str();
  std::vector<std::string> names;
  names.reserve(all_tests.size());
  for (const Test& test : all_tests)
    names.emplace_back(test.name);
  const CLI::Range positive(1U, 100000000U);
  auto* test_option = app.add_option("--test", job.test, test_help())->check(CLI::IsMember(names));
  app.add_option("--size", job.size, "bytes of a message (8; bandwidth: 1 MiB)");
  app.add_option("--count", job.count, "operations that are measured (its default depends on the test)")
      ->check(positive);
  app.add_option("--warmup", job.warmup, "operations before them")->capture_default_str();
  app.add_option("--window", job.window, "operations in flight (16; msg_rate: 64)")->check(positive);
  app.add_flag("--sleep", job.sleep, "both sides wait in poll() instead of polling UCX");
  app.add_flag("--bidirectional", job.bidirectional, "bandwidth: both sides at once, and the sum");
  app.add_flag("--fresh", job.fresh, "bandwidth: every operation has a local buffer that was never used");
  app.add_option("--endpoints", job.endpoints, "setup: later ones (10); flush, fence: all (100)")
      ->check(positive);
  app.add_option("--processes", job.processes, "bandwidth, msg_rate, incast, grow: that many of the client")
      ->check(CLI::Range(1, 1000));
  app.add_option("--beside-bulk", job.beside,
                 "tag_lat: beside a stream of messages of that size between two more processes")
      ->check(positive);
  app.add_option("--hold", job.hold, "grow: keep everything for so many seconds (10)");
  job.hold = 10;
  try {
    app.parse(argc, argv);
    if (!options.listen && host->count() == 0) throw CLI::RequiredError("HOST or --listen");
    if (!options.listen && test_option->count() == 0) throw CLI::RequiredError("--test");
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }

  const std::string port = std::to_string(options.port);
  if (options.listen) {
    verify::OutOfBand client = verify::OutOfBand::listen(port);
    job = Job::decode(client.receive());
    const Test* test = find_test(job.test);
    if (test == nullptr) throw Fatal("no test has the name " + job.test);
    return run_crew(Role::server, std::move(client), *test, job, results);
  }
  const Test& test = *find_test(job.test);
  if (const std::string wrong = fill_in(job, test, app); !wrong.empty()) {
    fmt::print(stderr, "ucp_bench: {}\n", wrong);
    return 2;
  }
  verify::OutOfBand server = verify::OutOfBand::connect(options.host, port, std::chrono::seconds(20));
  server.send(job.encode());
  return run_crew(Role::client, std::move(server), test, job, results);
}

}  // namespace

}  // namespace bench

int main(int argc, char** argv) {
  try {
    // UCX writes its warnings to standard output; that is for results alone.
    std::FILE* results = fdopen(dup(STDOUT_FILENO), "w");
    if (results == nullptr || dup2(STDERR_FILENO, STDOUT_FILENO) < 0)
      throw bench::Fatal("no standard output");
    return bench::run(argc, argv, results);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "ucp_bench: %s\n", error.what());
    return 1;
  }
}
