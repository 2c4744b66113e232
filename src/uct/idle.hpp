// SPDX-License-Identifier: BSD-3-Clause
//
// What a thread does that polls interfaces in vain. On a software device the processor that polls is the one
// that would do the transfer, so after a while the thread sleeps inside progress(), until something happens
// on one of the interfaces that it polls. Who calls progress() now and then, between other work, is never
// held up.

#pragma once

#include <poll.h>
#include <ucs/datastruct/callbackq.h>

#include <chrono>
#include <vector>

#include "channel/channel.hpp"

namespace bulk::uct {

// An interface whose progress() has found nothing, as it is at that moment.
struct Idler {
  const void* id = nullptr;  // names it, and its function among those that its worker's progress calls
  Channel* channel =
      nullptr;  // null if other threads may use it: then nobody sleeps on it but its own progress()
  Wake wake = Wake::any;
  const ucs_callbackq_elem_t* called = nullptr;  // by the progress of its worker; ends with a null function
};

// The interfaces that a thread polls in turn. One for each thread.
class IdleGroup {
 public:
  static IdleGroup& of_this_thread();

  // The interface has found nothing; `channel` is its own. May sleep.
  void found_nothing(const Idler& idler, Channel& channel);
  void found_something();
  // Polling before it sleeps is known to be in vain.
  bool is_impatient() const { return patience_ == std::chrono::microseconds::zero(); }
  // The thread's interface is armed, its progress not called: UCX waits for its file, which `fd` is, in
  // another thread. Who sleeps wakes for it, too, to call what UCX has to say then.
  void watch(const void* id, int fd);
  void unwatch(const void* id);
  // The interface is closed. Needed if its `channel` was given.
  void forget(const void* id);

 private:
  using Clock = std::chrono::steady_clock;
  static constexpr std::chrono::microseconds polling_time{50};  // in vain, before it sleeps; at most
  struct Member {
    Idler idler;
    bool seen;  // in this round
  };
  struct Watched {
    const void* id;
    int fd;
  };

  bool end_round(const void* next);
  bool may_sleep() const;
  bool is_alone() const;
  void learn(Clock::duration waited);
  std::chrono::microseconds sleeping_time(Clock::duration waited) const;
  void sleep(std::chrono::microseconds limit, Channel& channel);

  std::vector<Member> members_;
  std::vector<Watched> watched_;
  std::vector<pollfd> files_;                          // of sleep(), kept since sleeping is frequent
  Clock::time_point since_;                            // nothing has happened on any of them
  Clock::time_point last_;                             // call
  std::chrono::microseconds patience_ = polling_time;  // polls in vain for so long before it sleeps
  bool prompt_ = false;                                // the last wait that it slept in was short
  bool slept_ = false;                                 // since then
  bool busy_ = false;
};

}  // namespace bulk::uct
