// SPDX-License-Identifier: BSD-3-Clause
#include "session.hpp"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <exception>
#include <numeric>
#include <vector>

namespace bench {
namespace {

using Clock = std::chrono::steady_clock;

double seconds(Clock::duration time) {
  return std::chrono::duration<double>(time).count();
}

// One end of a measurement, connected.
class Session {
 public:
  Session(const Job& job, Control& control, Engine& engine, bool is_client)
      : job_(job), control_(control), engine_(engine), is_client_(is_client) {}

  void connect() {
    control_.send(engine_.address());
    engine_.connect(control_.receive(), [this](const auto& condition) { until(condition); });
    control_.send("up");
    until_line("up");
  }

  // `count` operations in step with the other end; returns how long they took.
  Clock::duration measure(std::uint64_t count) {
    if (is_client_) {
      control_.send("go");
    } else {
      until_line("go");
    }
    const auto start = Clock::now();
    if (job_.latency) {
      one_by_one(count);
    } else {
      transfer(count);
    }
    if (is_client_) {
      until_line("finished");
    } else {
      control_.send("finished");
    }
    return Clock::now() - start;
  }

  // How long each operation of the last measure() took, in microseconds.
  std::vector<double>& samples() { return samples_; }

 private:
  bool begins() const { return is_client_ || job_.bidirectional; }
  bool receives() const { return job_.operation == Operation::send && (!is_client_ || job_.bidirectional); }

  // Who is only written to and read from always does.
  bool sleeps() const { return job_.sleep || (!begins() && job_.operation != Operation::send); }

  void until(const std::function<bool()>& condition) {
    for (unsigned idle = 0; !condition();) {
      if (engine_.progress()) {
        idle = 0;
      } else {
        wait(++idle);
      }
    }
  }

  void until_line(std::string_view line) {
    until([this] { return control_.has_line(); });
    if (const std::string said = control_.receive(); said != line) {
      throw Fatal(fmt::format("the other end said \"{}\" instead of \"{}\"", said, line));
    }
  }

  // There was nothing to do `idle` times in a row. Who polls looks at the control connection now and then,
  // who sleeps when it wakes him.
  void wait(unsigned idle) {
    constexpr unsigned glance = 1024;
    if (!sleeps()) {
      if (idle % glance == 0) control_.look();
      return;
    }
    if (!engine_.arm()) return;
    pollfd files[] = {{.fd = engine_.fd(), .events = engine_.events(), .revents = 0},
                      {.fd = control_.fd(), .events = POLLIN, .revents = 0}};
    poll(files, 2, -1);
    if (files[1].revents != 0) control_.look();
  }

  void transfer(std::uint64_t count) {
    const std::uint64_t done = engine_.done();
    const std::uint64_t all_done = done + (begins() ? count : 0);
    expected_ += receives() ? count : 0;
    std::uint64_t begun = done;
    for (unsigned idle = 0; engine_.done() < all_done || engine_.received() < expected_;) {
      const std::uint64_t room = std::min(all_done - begun, job_.window - (begun - engine_.done()));
      const unsigned posted = room == 0 ? 0 : engine_.post(begun, static_cast<unsigned>(room));
      begun += posted;
      if (engine_.progress() || posted != 0) {
        idle = 0;
      } else {
        wait(++idle);
      }
    }
  }

  void one_by_one(std::uint64_t count) {
    const bool ping_pong = job_.operation == Operation::send;
    samples_.clear();
    samples_.reserve(count);
    for (std::uint64_t i = 0; i < count; ++i) {
      if (!is_client_) {
        if (!ping_pong) return;
        await_message();
        begin_one();
        continue;
      }
      const auto start = Clock::now();
      begin_one();
      if (ping_pong) {
        await_message();
      } else {
        until([this] { return engine_.done() == begun_; });
      }
      samples_.push_back(seconds(Clock::now() - start) * 1e6 / (ping_pong ? 2 : 1));
    }
    until([this] { return engine_.done() == begun_; });
  }

  void begin_one() {
    until([this] { return engine_.post(begun_, 1) == 1; });
    ++begun_;
  }

  void await_message() {
    ++expected_;
    until([this] { return engine_.received() >= expected_; });
  }

  const Job& job_;
  Control& control_;
  Engine& engine_;
  const bool is_client_;
  std::uint64_t expected_ = 0;  // messages, ever
  std::uint64_t begun_ = 0;     // operations one by one, ever
  std::vector<double> samples_;
};

// The smallest sample that is at least as large as `share` of all of them.
double quantile(const std::vector<double>& sorted, double share) {
  const auto rank = static_cast<std::size_t>(std::ceil(share * static_cast<double>(sorted.size())));
  return sorted[std::max<std::size_t>(rank, 1) - 1];
}

void report_latency(std::vector<double>& samples) {
  std::sort(samples.begin(), samples.end());
  const double sum = std::accumulate(samples.begin(), samples.end(), 0.0);
  result("latency_p50", quantile(samples, 0.5), "us");
  result("latency_p99", quantile(samples, 0.99), "us");
  result("latency_min", samples.front(), "us");
  result("latency_max", samples.back(), "us");
  result("latency_mean", sum / static_cast<double>(samples.size()), "us");
}

void report(const Job& job, double elapsed, std::vector<double>& samples) {
  const std::uint64_t operations = job.count * (job.bidirectional ? 2 : 1);
  const std::uint64_t bytes = operations * job.size;
  if (job.latency) {
    report_latency(samples);
  } else {
    result("bandwidth", static_cast<double>(bytes) / elapsed / (1 << 20), "MiB/s");
    result("rate", static_cast<double>(operations) / elapsed, "msg/s");
  }
  result("elapsed", elapsed, "s");
  fmt::print("result bytes {} B\n", bytes);
}

// Of the job's test, or null.
const OwnTest* find(std::span<const OwnTest> own, const Job& job) {
  const auto at = std::find_if(own.begin(), own.end(), [&](const OwnTest& t) { return t.name == job.test; });
  return at == own.end() ? nullptr : &*at;
}

void serve(const Tool& tool, const MakeEngine& make, std::span<const OwnTest> own, Control& control,
           bool sleep) {
  Job job = tool.decode(control.receive());
  job.sleep |= sleep;
  if (const OwnTest* test = find(own, job)) return test->serve(job, control);
  const auto engine = make(job, control.local_ip());
  Session session(job, control, *engine, false);
  session.connect();
  if (job.warmup != 0) session.measure(job.warmup);
  session.measure(job.count);
  control.receive();  // "bye"
}

void measure(const Tool& tool, const MakeEngine& make, std::span<const OwnTest> own, Control& control,
             const Job& job) {
  control.send(tool.name + " " + job.encode());
  if (const OwnTest* test = find(own, job)) return test->measure(job, control);
  const auto engine = make(job, control.local_ip());
  Session session(job, control, *engine, true);
  session.connect();
  if (job.warmup != 0) session.measure(job.warmup);
  const double elapsed = seconds(session.measure(job.count));
  control.send("bye");
  report(job, elapsed, session.samples());
}

}  // namespace

void result(std::string_view name, double value, std::string_view unit) {
  fmt::print("result {} {:.3f} {}\n", name, value, unit);
}

std::string Control::local_ip() const {
  sockaddr_in address{};
  socklen_t length = sizeof(address);
  char text[INET_ADDRSTRLEN] = "";
  if (getsockname(connection_.fd(), reinterpret_cast<sockaddr*>(&address), &length) != 0 ||
      address.sin_family != AF_INET || inet_ntop(AF_INET, &address.sin_addr, text, sizeof(text)) == nullptr) {
    throw Fatal("the control connection is not of IPv4");
  }
  return text;
}

std::string Control::receive() {
  if (lines_.empty()) take(connection_.receive());
  return next();
}

void Control::look() {
  while (auto line = connection_.try_receive())
    take(*std::move(line));
  const auto gives_up = [](const std::string& line) { return line.starts_with('-'); };
  if (const auto last = std::find_if(lines_.begin(), lines_.end(), gives_up); last != lines_.end()) {
    lines_.erase(lines_.begin(), last);
    static_cast<void>(next());
  }
  if (connection_.closed()) throw Fatal("the other end has gone");
}

std::string Control::next() {
  std::string line = std::move(lines_.front());
  lines_.pop_front();
  if (line.empty() || line.front() != '+')
    throw Fatal("the other end: " + (line.empty() ? line : line.substr(1)));
  return line.substr(1);
}

int run(const Tool& tool, const MakeEngine& make, int argc, char** argv, std::span<const OwnTest> own) {
  const Arguments arguments = parse(tool, argc, argv);
  constexpr std::chrono::seconds patience{5};
  try {
    Control control(arguments.listen ? verify::OutOfBand::listen(arguments.port)
                                     : verify::OutOfBand::connect(arguments.host, arguments.port, patience));
    try {
      if (arguments.listen) {
        serve(tool, make, own, control, arguments.job.sleep);
      } else {
        measure(tool, make, own, control, arguments.job);
        if (std::fflush(stdout) != 0) throw Fatal("cannot write the results");
      }
    } catch (const std::exception& error) {
      control.give_up(error.what());
      throw;
    }
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}: {}\n", tool.name, error.what());
    return 1;
  }
  return 0;
}

}  // namespace bench
