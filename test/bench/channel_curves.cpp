// SPDX-License-Identifier: BSD-3-Clause
//
// channel_curves: does one more cost the same, however many lie idle beside it?
//
//   host 2:  channel_curves --listen
//   host 1:  channel_curves 10.77.0.2 --beside remote --most 1000
//
// The crowd that is named grows to 1, 10, 100, ...; at each size all events are measured. See curves.hpp.

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <regex>

#include "curves.hpp"

namespace bench::curves {
namespace {

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

struct Options {
  bool listen = false;
  std::string host;
  unsigned port = 18700;
  std::string beside;
  std::uint64_t most = 100'000;
  double seconds = 1;
  std::string only;
};

// Of one figure, in microseconds.
class Samples {
 public:
  void add(double seconds) { values_.push_back(seconds * 1e6); }
  void print(std::string_view figure, std::uint64_t size) {
    std::sort(values_.begin(), values_.end());
    fmt::print("result {}@{} {:.3f} us {:.3f} {:.3f} {}\n", figure, size, at(0.5), at(0.1), at(0.9),
               values_.size());
  }

 private:
  double at(double share) const {
    return values_[static_cast<std::size_t>(std::lround(share * static_cast<double>(values_.size() - 1)))];
  }

  std::vector<double> values_;
};

// Something that happens `times` times in a run.
struct Measured {
  std::string_view name;
  std::uint64_t times;
  std::function<void(const Record&)> run;
};

// Runs it for about so many seconds; prints its figures, and how long all processors of both hosts were busy
// for each time.
void repeat(Client& client, double seconds, std::uint64_t size, const Measured& measured) {
  constexpr unsigned least = 5;
  constexpr unsigned most = 10'000;
  constexpr double patience = 10;  // times as many seconds, for what takes very long
  std::map<std::string, Samples> figures;
  measured.run([](std::string_view, double) {});  // warms up
  const double busy = client.busy();
  const auto start = std::chrono::steady_clock::now();
  unsigned runs = 0;
  for (double spent = 0; runs < most; spent = seconds_since(start)) {
    if ((runs >= least && spent >= seconds) || (runs != 0 && spent >= patience * seconds)) break;
    measured.run([&](std::string_view figure, double each) { figures[std::string(figure)].add(each); });
    ++runs;
  }
  figures[std::string(measured.name) + "_work"].add((client.busy() - busy) /
                                                    static_cast<double>(runs * measured.times));
  for (auto& [figure, samples] : figures)
    samples.print(figure, size);
  std::fflush(stdout);
}

// Beside the crowd as it is.
void measure_events(Client& client, Crowd& crowd, const Options& options) {
  if (!crowd.own().empty()) {
    repeat(client, options.seconds, crowd.size(),
           {crowd.own(), crowd.size(), [&](const Record& record) { crowd.run(record); }});
    return;
  }
  const std::regex only(options.only);
  for (const Event& event : events()) {
    if (std::regex_search(event.name.begin(), event.name.end(), only))
      repeat(client, options.seconds, crowd.size(),
             {event.name, event.times, [&](const Record& record) { event.run(client, record); }});
  }
}

void measure(Control& control, const Options& options, const CrowdKind& kind) {
  Client client(control, device_with(control.local_ip()));
  const auto crowd = kind.make(client);
  std::string why;
  for (std::uint64_t size = 1; size <= options.most && why.empty(); size *= 10) {
    const std::uint64_t before = crowd->size();
    const auto start = std::chrono::steady_clock::now();
    why = crowd->grow(size);
    const double spent = seconds_since(start) * 1e6;
    if (crowd->size() == 0 || crowd->size() < 2 * before) break;  // not worth a point on a curve
    fmt::print("result growth@{} {:.3f} us\n", crowd->size(),
               spent / static_cast<double>(crowd->size() - before));
    measure_events(client, *crowd, options);
  }
  if (!why.empty()) fmt::print("stopped {} {}\n", crowd->size(), why);
  control.send("bye");
}

const CrowdKind* find(std::string_view name) {
  const auto at =
      std::find_if(crowds().begin(), crowds().end(), [&](const CrowdKind& k) { return k.name == name; });
  return at == crowds().end() ? nullptr : &*at;
}

template <class T>
std::string listing(std::span<const T> things) {
  std::string text;
  for (const T& thing : things)
    text += fmt::format("  {:18} {}\n", thing.name, thing.what);
  return text;
}

// Ends the program: with status 0 after --help, 2 if the command line is wrong.
Options parse(int argc, char** argv) {
  Options options;
  CLI::App app(
      "What one event costs between two hosts while so many things lie idle beside it: 1, 10, 100, ...\n\n"
      "  channel_curves --listen [--port N]\n  channel_curves HOST --beside CROWD [OPTIONS]\n\n"
      "crowds\n" +
          listing(crowds()) + "\nevents\n" + listing(events()),
      "channel_curves");
  app.footer(
      "The client prints lines `result FIGURE@SIZE MEDIAN us LOW HIGH RUNS`, where a tenth of the runs is "
      "below\n"
      "LOW and a tenth above HIGH; growth is what each of the crowd took to make; and `stopped SIZE WHY` if "
      "the\n"
      "crowd could not become as large as it should. Exit status: 0, 1 if the measurement failed, 2 for "
      "wrong usage.");
  const CLI::Option* host = app.add_option("HOST", options.host, "IPv4 address of the server");
  app.add_flag("--listen", options.listen, "Be the server: serve one client, then end");
  app.add_option("--port", options.port, "TCP port of the control connection (18700)")
      ->check(CLI::Range(1U, 65535U));
  const CLI::Option* beside = app.add_option("--beside", options.beside, "What lies idle");
  app.add_option("--most", options.most, "Largest size of the crowd (100000)")
      ->check(CLI::Range(std::uint64_t{1}, std::uint64_t{1'000'000}));
  app.add_option("--seconds", options.seconds, "For each event, about (1)")->check(CLI::Range(0.01, 600.0));
  app.add_option("--only", options.only, "Only events in whose name this regular expression is found");

  const auto wrong = [](const std::string& why) {
    fmt::print(stderr, "channel_curves: {}\nRun with --help for more information.\n", why);
    std::exit(2);
  };
  try {
    app.parse(argc, argv);
    static_cast<void>(std::regex(options.only));
  } catch (const CLI::ParseError& error) {
    std::exit(app.exit(error) == 0 ? 0 : 2);
  } catch (const std::regex_error& error) {
    wrong("--only: " + std::string(error.what()));
  }
  if (options.listen) {
    if (host->count() != 0 || beside->count() != 0) wrong("--listen takes --port only");
    return options;
  }
  if (host->count() == 0) wrong("--listen or the server's address is missing");
  if (find(options.beside) == nullptr) wrong("--beside must name a crowd, see --help");
  return options;
}

int run(const Options& options) {
  constexpr std::chrono::seconds patience{5};
  const std::string port = std::to_string(options.port);
  try {
    Control control(options.listen ? verify::OutOfBand::listen(port)
                                   : verify::OutOfBand::connect(options.host, port, patience));
    try {
      raise_file_limit();
      if (options.listen) {
        serve(control, device_with(control.local_ip()));
      } else {
        measure(control, options, *find(options.beside));
        if (std::fflush(stdout) != 0) throw Fatal("cannot write the results");
      }
    } catch (const std::exception& error) {
      control.give_up(error.what());
      throw;
    }
  } catch (const std::exception& error) {
    fmt::print(stderr, "channel_curves: {}\n", error.what());
    return 1;
  }
  return 0;
}

}  // namespace
}  // namespace bench::curves

int main(int argc, char** argv) {
  return bench::curves::run(bench::curves::parse(argc, argv));
}
