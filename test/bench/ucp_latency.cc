// SPDX-License-Identifier: BSD-3-Clause
//
// Tests whose messages wait for each other: ping-pong, and messages that arrive before anyone asks for them.

#include <algorithm>
#include <cmath>

#include "ucp_objects.h"
#include "ucp_tests.h"

namespace bench {

namespace {

// The smallest of the sorted values that `percent` of them do not exceed.
double percentile(const std::vector<double>& sorted, double percent) {
  const double rank = std::ceil(percent / 100 * static_cast<double>(sorted.size()));
  return sorted[std::max<std::size_t>(static_cast<std::size_t>(rank), 1) - 1];
}

}  // namespace

// One way is half of a round trip.
void latency(Seat& seat) {
  const Job& job = seat.job();
  if (seat.index() == 1) return stream_beside(seat);
  Party party(seat, UCP_FEATURE_TAG);
  const Memory out(job.size);
  const Memory in(job.size);
  std::vector<double> times;
  times.reserve(job.count);
  seat.barrier();
  if (job.beside > 0 && seat.is_client()) {
    // Not by until(), which may sleep: nothing of this worker tells when the stream begins.
    while (!seat.shared().streaming)
      seat.rest(std::chrono::milliseconds(1));
  }
  for (unsigned i = 0; i < job.warmup + job.count; ++i) {
    Flight ping(1);
    Flight pong(1);
    const auto begin = Clock::now();
    if (seat.is_client()) {
      pong.receive(party.worker(), in.data(), in.size(), data_tag);
      ping.send(party.endpoint(), out.data(), out.size(), data_tag);
      seat.until([&] { return pong.landed() && ping.landed(); });
    } else {
      ping.receive(party.worker(), in.data(), in.size(), data_tag);
      seat.until([&] { return ping.landed(); });
      pong.send(party.endpoint(), out.data(), out.size(), data_tag);
      seat.until([&] { return pong.landed(); });
    }
    if (i >= job.warmup) times.push_back(microseconds(Clock::now() - begin) / 2);
  }
  if (seat.is_client()) {
    seat.shared().measured = true;
    std::sort(times.begin(), times.end());
    double sum = 0;
    for (const double time : times)
      sum += time;
    seat.report("latency_p50", percentile(times, 50), "us");
    seat.report("latency_p99", percentile(times, 99), "us");
    seat.report("latency_min", times.front(), "us");
    seat.report("latency_max", times.back(), "us");
    seat.report("latency_mean", sum / static_cast<double>(times.size()), "us");
  }
  party.close();
}

// The server receives nothing until all messages are there, and then the last one first.
void unexpected(Seat& seat) {
  const Job& job = seat.job();
  constexpr ucp_tag_t first_tag = ucp_tag_t{1} << 32U;
  Party party(seat, UCP_FEATURE_TAG);
  const Memory buffer(job.size);
  std::uint64_t end = 0;
  std::uint64_t ack = 0;
  seat.barrier();
  if (seat.is_client()) {
    Flight acks(1);
    acks.receive(party.worker(), &ack, sizeof(ack), ack_tag);
    Flight out(job.window);
    const auto begin = Clock::now();
    seat.until([&] {
      fill(seat, out, job.count,
           [&] { out.send(party.endpoint(), buffer.data(), buffer.size(), first_tag + out.posted()); });
      return out.posted() == job.count;
    });
    // Small messages of one endpoint stay in their order: behind this one nothing is to come.
    out.send(party.endpoint(), &end, sizeof(end), data_tag);
    seat.until([&] { return out.landed() && acks.landed(); });
    const auto elapsed = Clock::now() - begin;
    const double seconds = milliseconds(elapsed) / 1000;
    seat.report("elapsed", seconds, "s");
    seat.report("rate", job.count / seconds, "msg/s");
  } else {
    Flight ends(1);
    ends.receive(party.worker(), &end, sizeof(end), data_tag);
    seat.until([&] { return ends.landed(); });
    Flight in(job.count);
    for (unsigned i = job.count; i > 0; --i)
      in.receive(party.worker(), buffer.data(), buffer.size(), first_tag + i - 1);
    Flight acks(1);
    seat.until([&] { return in.landed(); });
    acks.send(party.endpoint(), &ack, sizeof(ack), ack_tag);
    seat.until([&] { return acks.landed(); });
  }
  party.close();
}

}  // namespace bench
