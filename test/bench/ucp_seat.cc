// SPDX-License-Identifier: BSD-3-Clause

#include "ucp_seat.h"

#include <fmt/format.h>
#include <poll.h>
#include <sched.h>

#include <algorithm>

namespace bench {

void Seat::finish(ucs_status_ptr_t request, std::string_view what) {
  ucs_status_t status = UCS_PTR_RAW_STATUS(request);
  if (UCS_PTR_IS_PTR(request)) {
    until([&] { return (status = ucp_request_check_status(request)) != UCS_INPROGRESS; });
    ucp_request_free(request);
  }
  require(status, what);
}

// Nothing to do at the moment. Whether the other side is still there is looked at now and then.
void Seat::idle() {
  constexpr unsigned idles_per_look = 10000;
  if (job_.sleep) return sleep();
  if (crowded_) sched_yield();
  if (++idles_ % idles_per_look == 0) look();
}

void Seat::look() {
  if (!heard_) heard_ = parent_.try_receive();
  if (!heard_ && parent_.closed()) throw Fatal("the other side has gone");
}

void Seat::sleep() {
  std::vector<pollfd> fds{{.fd = parent_.fd(), .events = POLLIN, .revents = 0}};
  for (const Attached& one : workers_) {
    const ucs_status_t status = ucp_worker_arm(one.worker);
    if (status == UCS_ERR_BUSY) return;
    require(status, "ucp_worker_arm");
    fds.push_back({.fd = one.event_fd, .events = POLLIN, .revents = 0});
  }
  // rc_verbs on rxe was seen to sleep on with something to do: the test is to end, and to say so.
  constexpr int patience = 1000;
  if (poll(fds.data(), fds.size(), patience) == 0 && progress() > 0)
    fmt::print(stderr, "ucp_bench: nothing woke process {} for {} ms\n", index_, patience);
  if (fds.front().revents != 0) look();
}

std::vector<std::string> Seat::exchange(std::string_view mine) {
  parent_.send(fmt::format("X{}", mine));
  until([&] {
    look();
    return heard_.has_value();
  });
  return unpack(*std::exchange(heard_, std::nullopt));
}

void Seat::rest(std::chrono::milliseconds time) {
  const auto end = Clock::now() + time;
  for (auto now = Clock::now(); now < end; now = Clock::now()) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(end - now);
    pollfd fd{.fd = parent_.fd(), .events = POLLIN, .revents = 0};
    poll(&fd, 1, static_cast<int>(left.count()));
    look();
  }
}

void Seat::report(std::string_view name, double value, std::string_view unit) {
  report_now(fmt::format("{} {:.3f} {}", name, value, unit));
}

void Seat::report_now(std::string_view line) {
  parent_.send(fmt::format("R{}", line));
}

// Times are those of the host's monotonic clock, and compare between its processes.
void Seat::report_rate(std::string_view name, std::string_view unit, Clock::time_point begin,
                       Clock::time_point end, double amount) {
  parent_.send(fmt::format("T{} {} {} {} {:.17g}", name, unit,
                           begin.time_since_epoch() / std::chrono::nanoseconds(1),
                           end.time_since_epoch() / std::chrono::nanoseconds(1), amount));
}

void Seat::report_span(std::string_view name, Clock::time_point begin, Clock::time_point end) {
  report_rate(name, "ms", begin, end, 0);
}

void require(ucs_status_t status, std::string_view what) {
  if (status != UCS_OK) throw Fatal(fmt::format("{}: {}", what, ucs_status_string(status)));
}

double milliseconds(Clock::duration time) {
  return std::chrono::duration<double, std::milli>(time).count();
}

double microseconds(Clock::duration time) {
  return std::chrono::duration<double, std::micro>(time).count();
}

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

}  // namespace bench
