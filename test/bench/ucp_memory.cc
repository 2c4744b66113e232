// SPDX-License-Identifier: BSD-3-Clause
//
// What has to do with memory of the other side, and with memory being registered at all: keys, flushes,
// fences, ucp_mem_map.

#include <fmt/format.h>

#include "ucp_objects.h"
#include "ucp_tests.h"

namespace bench {

namespace {

enum class Order : std::uint8_t { flush, fence };

// The server has one piece of memory, the client many endpoints to it, with a put under way on each.
void flush_or_fence(Seat& seat, Order order) {
  const Job& job = seat.job();
  Party party(seat, UCP_FEATURE_RMA);
  const Memory memory(job.size);
  const Registration registration(party.context(), memory);
  const std::string description = party.exchange_with_peer(registration.describe());
  if (seat.is_client()) {
    const ucp_request_param_t param{};
    std::vector<Target> targets;
    std::vector<double> times;
    for (unsigned i = 0; i < job.endpoints; ++i)
      targets.emplace_back(i == 0 ? party.endpoint() : party.worker().connect(party.peer_address()),
                           description);
    // The first round connects the endpoints.
    for (unsigned i = 0; i < 1 + job.warmup + job.count; ++i) {
      Flight puts(0);
      for (const Target& target : targets)
        puts.put(target, memory.data(), memory.size());
      const auto begin = Clock::now();
      if (order == Order::fence) {
        require(ucp_worker_fence(party.worker().get()), "ucp_worker_fence");
        puts.put(targets.front(), memory.data(), memory.size());
      }
      seat.finish(ucp_worker_flush_nbx(party.worker().get(), &param), "ucp_worker_flush_nbx");
      const auto end = Clock::now();
      seat.until([&] { return puts.landed(); });
      if (i > job.warmup) times.push_back(microseconds(end - begin));
    }
    seat.report(order == Order::flush ? "flush" : "fence", median(times), "us");
  }
  seat.barrier();
  party.close();
}

// Puts and flushes; returns the time.
double put_through(Seat& seat, const Target& target, const Memory& memory) {
  const ucp_request_param_t param{};
  Flight puts(1);
  const auto begin = Clock::now();
  puts.put(target, memory.data(), memory.size());
  seat.finish(ucp_ep_flush_nbx(target.endpoint(), &param), "ucp_ep_flush_nbx");
  seat.until([&] { return puts.landed(); });
  return microseconds(Clock::now() - begin);
}

}  // namespace

void flush(Seat& seat) {
  flush_or_fence(seat, Order::flush);
}

void fence(Seat& seat) {
  flush_or_fence(seat, Order::fence);
}

// The server has many pieces of memory, each with a key of its own.
void rkey(Seat& seat) {
  constexpr unsigned later_uses = 5;
  const Job& job = seat.job();
  Party party(seat, UCP_FEATURE_RMA);
  if (seat.is_client()) {
    const Memory memory(job.size);
    const std::vector<std::string> descriptions = unpack(party.exchange_with_peer({}));
    std::vector<double> first;
    std::vector<double> later;
    for (std::size_t i = 0; i < descriptions.size(); ++i) {
      const Target target(party.endpoint(), descriptions[i]);
      const double time = put_through(seat, target, memory);
      // The first key of all connects what puts need; --warmup adds to that.
      const bool counts = i > job.warmup;
      if (counts) first.push_back(time);
      for (unsigned use = 0; use < later_uses; ++use) {
        const double again = put_through(seat, target, memory);
        if (counts) later.push_back(again);
      }
    }
    seat.report("first_use", median(first), "us");
    seat.report("later_use", median(later), "us");
    seat.barrier();
  } else {
    std::vector<Memory> memories;
    std::vector<Registration> registrations;
    std::vector<std::string> descriptions;
    memories.reserve(1 + job.warmup + job.count);
    for (unsigned i = 0; i < 1 + job.warmup + job.count; ++i) {
      memories.emplace_back(job.size);
      registrations.emplace_back(party.context(), memories.back());
      descriptions.push_back(registrations.back().describe());
    }
    seat.exchange(pack(descriptions));
    seat.barrier();
  }
  party.close();
}

// The client maps memory that it has touched, and maps it once more after it has let go of it.
void registration(Seat& seat) {
  if (!seat.is_client()) return;
  const Job& job = seat.job();
  const Context context(job, UCP_FEATURE_RMA);
  const Worker worker(seat, context);
  for (const std::size_t size : {std::size_t{4} << 10U, std::size_t{1} << 20U, std::size_t{256} << 20U}) {
    std::vector<double> first;
    std::vector<double> again;
    for (unsigned i = 0; i < job.warmup + job.count; ++i) {
      const Memory memory(size);
      for (std::vector<double>* times : {&first, &again}) {
        const auto begin = Clock::now();
        const Registration registration(context, memory);
        const auto end = Clock::now();
        if (i >= job.warmup) times->push_back(microseconds(end - begin));
      }
    }
    seat.report(fmt::format("register_{}_first", size), median(first), "us");
    seat.report(fmt::format("register_{}_again", size), median(again), "us");
  }
}

}  // namespace bench
