// SPDX-License-Identifier: BSD-3-Clause
//
// One process of ucp_bench, as its test sees it: which one it is, how it waits, how it reaches the processes
// of the other side before and after what is measured, and where it leaves its figures. Single-threaded; all
// callbacks of UCX run inside until() and exchange().
#pragma once

#include <ucp/api/ucp.h>

#include <atomic>
#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "../system/verify_oob.h"
#include "ucp_job.h"

namespace bench {

using verify::Fatal;
using Clock = std::chrono::steady_clock;

// Memory that the processes of one side share.
struct Shared {
  std::atomic<bool> streaming = false;  // the stream beside the latency test has begun
  std::atomic<bool> measured = false;   // the latency test is over
};

class Seat {
 public:
  // `parent` leads to the process that started this one; `crowded` if there are more processes than
  // processors: then the processor is given away between polls.
  Seat(Role role, unsigned index, const Job& job, verify::OutOfBand& parent, Shared& shared, bool crowded)
      : role_(role), index_(index), job_(job), parent_(parent), shared_(shared), crowded_(crowded) {}

  [[nodiscard]] bool is_client() const { return role_ == Role::client; }
  [[nodiscard]] unsigned index() const { return index_; }
  [[nodiscard]] const Job& job() const { return job_; }
  [[nodiscard]] Shared& shared() const { return shared_; }

  // A worker to progress while waiting, and its event descriptor, or -1. Kept until detach().
  void attach(ucp_worker_h worker, int event_fd) {
    workers_.push_back({.worker = worker, .event_fd = event_fd});
  }
  void detach(ucp_worker_h worker) {
    std::erase_if(workers_, [&](const Attached& one) { return one.worker == worker; });
  }

  // Progresses until `done()`. Throws Fatal when the other side has gone.
  template <typename Done>
  void until(Done done) {
    while (!done()) {
      if (progress() == 0 && !std::exchange(more_to_do_, false)) idle();
    }
  }
  // Inside done() of until(): there is something to do at once, so that until() must not sleep.
  void stay_awake() { more_to_do_ = true; }
  // Waits for a request's end and releases it. Throws Fatal if it failed; `what` names it then.
  void finish(ucs_status_ptr_t request, std::string_view what);

  // Gives `mine` to all processes of the other side; returns what each of them gave, by index. Returns only
  // when all processes of both sides are in the same call: also a barrier.
  std::vector<std::string> exchange(std::string_view mine);
  void barrier() { exchange({}); }
  // Keeps everything for so long, without progress. Throws Fatal when the other side has gone.
  void rest(std::chrono::milliseconds time);

  // Results; only the client's are printed. The processes' rates are added up: the sum of the amounts over
  // the time from the first one's begin to the last one's end. A span is that time.
  void report(std::string_view name, double value, std::string_view unit);
  void report_rate(std::string_view name, std::string_view unit, Clock::time_point begin,
                   Clock::time_point end, double amount);
  void report_span(std::string_view name, Clock::time_point begin, Clock::time_point end);
  // Told by one process, printed at once.
  void report_now(std::string_view line);

 private:
  struct Attached {
    ucp_worker_h worker;
    int event_fd;
  };

  unsigned progress() {
    unsigned done = 0;
    for (const Attached& one : workers_)
      done += ucp_worker_progress(one.worker);
    return done;
  }
  void idle();
  void sleep();
  void look();

  Role role_;
  unsigned index_;
  const Job& job_;
  verify::OutOfBand& parent_;
  Shared& shared_;
  bool crowded_;
  bool more_to_do_ = false;
  unsigned idles_ = 0;
  std::vector<Attached> workers_;
  std::optional<std::string> heard_;  // what the other side gave, until exchange() returns it
};

// Throws Fatal unless `status` is UCS_OK.
void require(ucs_status_t status, std::string_view what);

double milliseconds(Clock::duration time);
double microseconds(Clock::duration time);
// Of values in any order; there is at least one.
double median(std::vector<double> values);

}  // namespace bench
