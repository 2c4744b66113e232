// SPDX-License-Identifier: BSD-3-Clause
#include "job.hpp"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <cstdlib>
#include <sstream>

#include "../system/verify_oob.h"

namespace bench {
namespace {

constexpr std::uint64_t most_operations = 100'000'000;
constexpr unsigned most_window = 4096;

const Test* find(const Tool& tool, std::string_view name) {
  const auto at =
      std::find_if(tool.tests.begin(), tool.tests.end(), [&](const Test& t) { return t.name == name; });
  return at == tool.tests.end() ? nullptr : &*at;
}

std::string is_ipv4(const std::string& text) {
  in_addr address{};
  return inet_pton(AF_INET, text.c_str(), &address) == 1 ? "" : text + " is not an IPv4 address";
}

}  // namespace

std::string Job::encode() const {
  return fmt::format("{} {} {} {} {} {} {} {} {}", test, size, count, warmup, window, int{sleep},
                     int{bidirectional}, int{fresh}, transport);
}

Job Tool::decode(const std::string& text) const {
  Job job;
  std::string program;
  std::istringstream in(text);
  in >> program >> job.test >> job.size >> job.count >> job.warmup >> job.window >> job.sleep >>
      job.bidirectional >> job.fresh >> job.transport;
  const Test* test = find(*this, job.test);
  if (!in || program != name || test == nullptr)
    throw verify::Fatal("the client is no " + name + " of this version");
  job.operation = test->operation;
  job.latency = test->latency;
  return job;
}

Arguments parse(const Tool& tool, int argc, char** argv) {
  Arguments arguments;
  Job& job = arguments.job;
  unsigned port = 18700;
  CLI::App app(fmt::format("{1}\n\n  {0} --listen [--port N] [--sleep]\n  {0} HOST --test TEST [OPTIONS]\n",
                           tool.name, tool.description),
               tool.name);
  app.footer(
      "The client prints lines `result NAME VALUE UNIT`. Exit status: 0, 1 if the measurement failed, 2 for "
      "wrong\n"
      "usage.");

  CLI::Option* host = app.add_option("HOST", arguments.host, "IPv4 address of the server")
                          ->check(CLI::Validator(is_ipv4, ""));
  app.add_flag("--listen", arguments.listen, "Be the server: serve one client, then end");
  app.add_option("--port", port, "TCP port of the control connection (18700)")->check(CLI::Range(1U, 65535U));
  app.add_flag("--sleep", job.sleep, "Wait for events by poll() instead of polling, at both ends");

  std::string names;
  for (const Test& test : tool.tests)
    names += (names.empty() ? "" : ", ") + std::string(test.name);
  CLI::Option_group* client = app.add_option_group("Client");
  CLI::Option* test_option = client->add_option("--test", job.test, names);
  CLI::Option* size =
      client
          ->add_option("--size", job.size,
                       "Bytes of each operation; 64K and 1M are understood (by test: 8, 4096 or 65536)")
          ->transform(CLI::AsSizeValue(false));
  CLI::Option* count =
      client->add_option("--count", job.count, "Operations that are measured (1000; of memory: 16000)")
          ->check(CLI::Range(std::uint64_t{1}, most_operations));
  CLI::Option* warmup =
      client->add_option("--warmup", job.warmup, "Operations before (a tenth, at most 1000)")
          ->check(CLI::Range(std::uint64_t{0}, most_operations));
  CLI::Option* window =
      client->add_option("--window", job.window, "Operations under way at most (by test: 16 or 64)")
          ->check(CLI::Range(1U, most_window));
  client->add_flag("--bidirectional", job.bidirectional, "Both ends begin operations; the sum is told");
  client->add_flag("--fresh", job.fresh,
                   "For every operation a local buffer that has not been used before; else always the same,\n"
                   "registered one");
  if (tool.transports) {
    client->add_option("--transport", job.transport, "ib (RDMA) or tcp (ib)")
        ->check(CLI::IsMember({"ib", "tcp"}));
  }

  const auto wrong = [&](const std::string& why) {
    fmt::print(stderr, "{}: {}\nRun with --help for more information.\n", tool.name, why);
    std::exit(2);
  };
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    std::exit(app.exit(error) == 0 ? 0 : 2);
  }
  arguments.port = std::to_string(port);
  if (arguments.listen) {
    if (host->count() != 0 || client->count_all() != 0) wrong("--listen takes --port and --sleep only");
    return arguments;
  }

  if (host->count() == 0) wrong("--listen or the server's address is missing");
  if (test_option->count() == 0) wrong("--test is missing: " + names);
  const Test* test = find(tool, job.test);
  if (test == nullptr) wrong(fmt::format("there is no test {}: {}", job.test, names));
  job.operation = test->operation;
  job.latency = test->latency;
  if (size->count() == 0) job.size = test->size;
  if (count->count() == 0) job.count = test->count;
  if (window->count() == 0) job.window = test->window;
  if (warmup->count() == 0) job.warmup = std::min<std::uint64_t>(job.count / 10, 1000);
  if (job.size == 0) wrong("--size must not be 0");
  if (job.latency && job.bidirectional) wrong("--bidirectional is for bandwidth only");
  if (const std::string why = tool.refusal(job); !why.empty()) wrong(why);
  return arguments;
}

}  // namespace bench
