// SPDX-License-Identifier: BSD-3-Clause
//
// Bandwidth and rate: as many operations in flight as the window allows.
//
// Time ends for the client when it knows that everything has arrived: messages are acknowledged by one
// message after the last, puts by a flush. With --bidirectional both sides do the same at the same time, and
// the time of the client ends when both directions are through. What is received lands in one buffer, or,
// with --fresh, in one for each message; puts have one destination.

#include <limits>
#include <optional>

#include "ucp_objects.h"
#include "ucp_tests.h"

namespace bench {

namespace {

constexpr unsigned message_id = 1;

enum class Kind : std::uint8_t { tag, message, put, get };

Kind kind_of(std::string_view test) {
  if (test == "am_bw") return Kind::message;
  if (test == "put_bw") return Kind::put;
  return test == "get_bw" ? Kind::get : Kind::tag;
}

std::uint64_t features_of(Kind kind) {
  if (kind == Kind::message) return UCP_FEATURE_AM;
  return kind == Kind::tag ? UCP_FEATURE_TAG : UCP_FEATURE_RMA;
}

class Stream {
 public:
  explicit Stream(Seat& seat)
      : seat_(seat),
        job_(seat.job()),
        kind_(kind_of(job_.test)),
        is_active_(seat.is_client() || job_.bidirectional),
        is_passive_(!seat.is_client() || job_.bidirectional),
        party_(seat, features_of(kind_)),
        senders_(is_passive_ ? party_.endpoints().size() : 0),
        out_(job_, is_active_ ? operations() : 1),
        in_(job_, is_passive_ ? operations() * senders_ : 1) {
    if (kind_ == Kind::message) party_.worker().on_message(message_id, message_arrived, this);
    if (!is_one_sided()) return;
    region_.emplace(job_.size);
    registration_.emplace(party_.context(), *region_);
    target_.emplace(party_.endpoint(), party_.exchange_with_peer(registration_->describe()));
  }

  void run() {
    phase(0, job_.warmup);
    seat_.barrier();
    const auto begin = Clock::now();
    phase(job_.warmup, job_.count);
    const auto end = Clock::now();
    seat_.barrier();
    if (seat_.is_client()) report(begin, end);
    target_.reset();
    party_.close();
  }

 private:
  [[nodiscard]] std::size_t operations() const { return std::size_t{job_.warmup} + job_.count; }
  [[nodiscard]] bool is_one_sided() const { return kind_ == Kind::put || kind_ == Kind::get; }

  void report(Clock::time_point begin, Clock::time_point end) const {
    const double messages = static_cast<double>(job_.count) * (job_.bidirectional ? 2 : 1);
    if (job_.test == "msg_rate") {
      seat_.report_rate("rate", "msg/s", begin, end, messages);
    } else {
      seat_.report_rate("bandwidth", "MiB/s", begin, end,
                        messages * static_cast<double>(job_.size) / (1U << 20U));
    }
  }

  // `count` operations of each active side, of which the first uses the buffer `first`.
  void phase(std::size_t first, std::size_t count) {
    Flight out(job_.window);
    Flight in(job_.window * senders_);
    Flight acks(2 * party_.endpoints().size());
    std::uint64_t ack_out = 0;
    std::uint64_t ack_in = 0;
    const std::size_t to_send = is_active_ ? count : 0;
    const std::size_t to_receive = is_one_sided() ? 0 : count * senders_;
    const bool acknowledges = is_passive_ && (!is_one_sided() || job_.bidirectional);
    bool acknowledged = false;
    if (is_active_ && (!is_one_sided() || job_.bidirectional))
      acks.receive(party_.worker(), &ack_in, sizeof(ack_in), ack_tag);
    if (is_one_sided() && is_active_) {
      seat_.until([&] {
        fill(seat_, out, to_send, [&] { post(out, first + out.posted()); });
        return out.done() == to_send;
      });
      const ucp_request_param_t param{};
      if (kind_ == Kind::put) seat_.finish(ucp_ep_flush_nbx(party_.endpoint(), &param), "ucp_ep_flush_nbx");
    }
    seat_.until([&] {
      if (!is_one_sided()) fill(seat_, out, to_send, [&] { post(out, first + out.posted()); });
      while (kind_ == Kind::tag && in.posted() < to_receive && in.room())
        in.receive(party_.worker(), in_.at(first * senders_ + in.posted()), job_.size, data_tag);
      const bool all_here =
          kind_ == Kind::message ? messages_.done() == (first + count) * senders_ : in.done() == to_receive;
      if (acknowledges && all_here && !acknowledged) {
        acknowledged = true;
        for (ucp_ep_h endpoint : party_.endpoints())
          acks.send(endpoint, &ack_out, sizeof(ack_out), ack_tag);
      }
      return (is_one_sided() || out.done() == to_send) && all_here && acks.landed();
    });
  }

  void post(Flight& out, std::size_t operation) {
    void* buffer = out_.at(operation);
    switch (kind_) {
      case Kind::tag:
        return out.send(party_.endpoint(), buffer, job_.size, data_tag);
      case Kind::message:
        return out.send_message(party_.endpoint(), message_id, buffer, job_.size);
      case Kind::put:
        return out.put(*target_, buffer, job_.size);
      case Kind::get:
        return out.get(*target_, buffer, job_.size);
    }
  }

  // A message that came whole is where its reader finds it; the others are brought into a buffer.
  static ucs_status_t message_arrived(void* arg, const void*, size_t, void* data, size_t length,
                                      const ucp_am_recv_param_t* param) {
    auto* self = static_cast<Stream*>(arg);
    if ((param->recv_attr & UCP_AM_RECV_ATTR_FLAG_RNDV) == 0) {
      self->messages_.count_message();
      return UCS_OK;
    }
    self->messages_.take_message(self->party_.worker(), data, self->in_.at(self->messages_.posted()), length);
    return UCS_INPROGRESS;
  }

  Seat& seat_;
  const Job& job_;
  Kind kind_;
  bool is_active_;   // puts, gets, sends
  bool is_passive_;  // is put to, got from, receives
  Party party_;
  std::size_t senders_;
  Buffers out_;
  Buffers in_;
  Flight messages_{0};  // those of active messages that have arrived since the begin
  std::optional<Memory> region_;
  std::optional<Registration> registration_;
  std::optional<Target> target_;
};

}  // namespace

void bandwidth(Seat& seat) {
  Stream(seat).run();
}

// The client sends as long as the latency test lasts, and then as many empty messages as the server has
// receives waiting.
void stream_beside(Seat& seat) {
  const Job& job = seat.job();
  Party party(seat, UCP_FEATURE_TAG);
  const Memory buffer(job.beside);
  std::uint64_t ack = 0;
  seat.barrier();
  if (!seat.is_client()) {
    Flight in(job.window);
    seat.until([&] {
      while (in.posted() - in.done() + in.empty() < job.window)
        in.receive(party.worker(), buffer.data(), buffer.size(), data_tag);
      return in.empty() == job.window;
    });
    Flight out(1);
    out.send(party.endpoint(), &ack, sizeof(ack), ack_tag);
    seat.until([&] { return out.landed(); });
  } else {
    Flight acks(1);
    acks.receive(party.worker(), &ack, sizeof(ack), ack_tag);
    Flight out(job.window);
    const auto begin = Clock::now();
    seat.until([&] {
      const bool over = seat.shared().measured;
      if (!over) {
        fill(seat, out, std::numeric_limits<std::size_t>::max(),
             [&] { out.send(party.endpoint(), buffer.data(), buffer.size(), data_tag); });
      }
      if (out.done() >= job.window) seat.shared().streaming = true;
      return over && out.landed();
    });
    Flight last(job.window);
    while (last.posted() < job.window)
      last.send(party.endpoint(), nullptr, 0, data_tag);
    seat.until([&] { return last.landed() && acks.landed(); });
    const auto end = Clock::now();
    const double bytes = static_cast<double>(out.posted()) * static_cast<double>(job.beside);
    seat.report_rate("beside_bandwidth", "MiB/s", begin, end, bytes / (1U << 20U));
  }
  party.close();
}

}  // namespace bench
