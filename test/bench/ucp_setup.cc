// SPDX-License-Identifier: BSD-3-Clause
//
// How long it takes to get connected. Connected is an endpoint of the client whose first message, of 8 bytes,
// has been answered by one of the same size. The first answer needs the server's own endpoint, and both ways
// are measured; those to later endpoints come back over that one, as the answers of an MPI rank do.

#include <memory>

#include "ucp_objects.h"
#include "ucp_tests.h"

namespace bench {

namespace {

constexpr unsigned question_id = 1;
constexpr unsigned answer_id = 2;

// Asks (client) or answers (server) over some workers.
class Talk {
 public:
  void add(Worker& worker) {
    worker.on_message(question_id, asked, this);
    worker.on_message(answer_id, answered, this);
  }
  // `back`: the server is to make its own endpoint for the answer.
  void ask(ucp_ep_h endpoint, bool back) {
    out_.send_message(endpoint, question_id, &content_, sizeof(content_), back ? UCP_AM_SEND_FLAG_REPLY : 0);
  }
  // All questions have been answered; all answers have been sent.
  [[nodiscard]] bool over() const { return out_.landed() && answers_ >= asked_for_; }
  void expect(std::size_t answers) { asked_for_ += answers; }

 private:
  static ucs_status_t asked(void* arg, const void*, size_t, void*, size_t, const ucp_am_recv_param_t* param) {
    auto* self = static_cast<Talk*>(arg);
    if ((param->recv_attr & UCP_AM_RECV_ATTR_FIELD_REPLY_EP) != 0) self->back_ = param->reply_ep;
    self->out_.send_message(self->back_, answer_id, &self->content_, sizeof(self->content_));
    return UCS_OK;
  }
  static ucs_status_t answered(void* arg, const void*, size_t, void*, size_t, const ucp_am_recv_param_t*) {
    ++static_cast<Talk*>(arg)->answers_;
    return UCS_OK;
  }

  std::uint64_t content_ = 0;
  ucp_ep_h back_ = nullptr;  // the latest that a question came with
  std::size_t answers_ = 0;
  std::size_t asked_for_ = 0;
  Flight out_{0};
};

// Makes endpoints to all these addresses at once and has each answered; returns the time of all.
Clock::duration connect(Seat& seat, Worker& worker, Talk& talk, std::span<const std::string> addresses,
                        bool back) {
  const auto begin = Clock::now();
  for (const std::string& address : addresses)
    talk.ask(worker.connect(address), back);
  talk.expect(addresses.size());
  seat.until([&] { return talk.over(); });
  return Clock::now() - begin;
}

void setup_client(Seat& seat) {
  constexpr std::size_t at_once = 100;
  Talk talk;
  const auto begin = Clock::now();
  const Context context(seat.job(), UCP_FEATURE_AM);
  Worker worker(seat, context);
  const auto end = Clock::now();
  seat.report("setup_worker", milliseconds(end - begin), "ms");
  talk.add(worker);

  // The first address is that of the server's first worker, the others are of its further ones.
  const std::vector<std::string> addresses = unpack(seat.exchange({}).front());
  const std::span<const std::string> later(addresses.begin() + 1, addresses.end());
  seat.report("setup_first", milliseconds(connect(seat, worker, talk, {addresses.data(), 1}, true)), "ms");
  std::vector<double> times;
  for (const std::string& address : later)
    times.push_back(milliseconds(connect(seat, worker, talk, {&address, 1}, false)));
  seat.report("setup_later", median(times), "ms");
  std::vector<std::string> many;
  while (many.size() < at_once)
    many.push_back(later[many.size() % later.size()]);
  seat.report("setup_100", milliseconds(connect(seat, worker, talk, many, false)) / at_once, "ms");
  seat.barrier();
  worker.close_endpoints();
  seat.barrier();
}

void setup_server(Seat& seat) {
  Talk talk;
  const Context context(seat.job(), UCP_FEATURE_AM);
  std::vector<std::unique_ptr<Worker>> workers;
  std::vector<std::string> addresses;
  for (unsigned i = 0; i < 1 + seat.job().endpoints; ++i) {
    workers.push_back(std::make_unique<Worker>(seat, context));
    talk.add(*workers.back());
    addresses.push_back(workers.back()->address());
  }
  seat.exchange(pack(addresses));
  seat.barrier();
  seat.until([&] { return talk.over(); });
  seat.barrier();
}

}  // namespace

void setup(Seat& seat) {
  if (seat.is_client()) {
    setup_client(seat);
  } else {
    setup_server(seat);
  }
}

// Each process of the client has one endpoint to each process of the server.
void grow(Seat& seat) {
  Talk talk;
  const Context context(seat.job(), UCP_FEATURE_AM);
  Worker worker(seat, context);
  talk.add(worker);
  const std::vector<std::string> addresses = seat.exchange(worker.address());
  seat.barrier();
  if (seat.is_client()) {
    const auto begin = Clock::now();
    connect(seat, worker, talk, addresses, true);
    seat.report_span("setup_all", begin, Clock::now());
  }
  seat.barrier();
  seat.until([&] { return talk.over(); });
  if (seat.is_client() && seat.index() == 0) seat.report_now("ready 1 -");
  seat.rest(std::chrono::seconds(seat.job().hold));
  seat.barrier();
  worker.close_endpoints();
  seat.barrier();
}

}  // namespace bench
