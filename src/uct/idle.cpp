// SPDX-License-Identifier: BSD-3-Clause

#include "uct/idle.hpp"

#include <algorithm>
#include <ctime>
#include <utility>

namespace bulk::uct {
namespace {

constexpr std::chrono::microseconds worth_polling{100};  // a wait that polling would have made shorter
constexpr std::chrono::microseconds longest_pause{100};  // between two calls of one who only polls

// In one call of progress. What comes by another transport of the worker is found by the next call. With
// none, only what the user waits for beside the workers may come late: by half as long as it has been waited
// for, or by `longest_alone` if the wait before was ended by an event within that time. (The kernel has to
// set its clock for a sleep that ends before its next tick, which here takes longer than to wake up.)
constexpr std::chrono::microseconds beside_others{100};
constexpr std::chrono::microseconds shortest_alone{1000};
constexpr std::chrono::microseconds longest_alone{5000};

}  // namespace

IdleGroup& IdleGroup::of_this_thread() {
  thread_local IdleGroup group;
  return group;
}

void IdleGroup::found_nothing(const Idler& idler, Channel& channel) {
  const auto now = Clock::now();
  if (now - last_ > longest_pause) members_.clear();
  if (members_.empty() || busy_) {
    since_ = now;
    slept_ = false;
  }
  busy_ = false;
  last_ = now;

  const auto member =
      std::find_if(members_.begin(), members_.end(), [&](const Member& m) { return m.idler.id == idler.id; });
  if (member == members_.end()) {
    members_.push_back({idler, true});
    since_ = now;
    return;
  }
  const bool again = std::exchange(*member, {idler, true}).seen;
  if (!again || !end_round(idler.id) || !may_sleep()) return;
  if (const auto waited = now - since_; waited >= patience_) {
    sleep(sleeping_time(waited), channel);
    slept_ = true;
    last_ = Clock::now();
  }
}

void IdleGroup::found_something() {
  if (!busy_ && slept_) learn(Clock::now() - since_);
  busy_ = true;
}

// Who has slept in the end has polled in vain, unless the wait was short.
void IdleGroup::learn(Clock::duration waited) {
  patience_ = waited < worth_polling ? polling_time : patience_ / 2;
  prompt_ = waited < longest_alone;
}

std::chrono::microseconds IdleGroup::sleeping_time(Clock::duration waited) const {
  if (!is_alone()) return beside_others;
  if (prompt_ && !slept_) return longest_alone;
  return std::clamp(std::chrono::duration_cast<std::chrono::microseconds>(waited / 2), shortest_alone,
                    longest_alone);
}

// `next` is polled again and begins the next round. Have all the others been polled in this one? Who has not
// been is a member no longer.
bool IdleGroup::end_round(const void* next) {
  const bool complete = std::erase_if(members_, [](const Member& m) { return !m.seen; }) == 0;
  for (Member& member : members_)
    member.seen = member.idler.id == next;
  return complete;
}

bool IdleGroup::may_sleep() const {
  return members_.size() == 1 || std::all_of(members_.begin(), members_.end(),
                                             [](const Member& m) { return m.idler.channel != nullptr; });
}

// Whether the progress of their workers calls nobody but them.
bool IdleGroup::is_alone() const {
  const auto is_member = [this](const void* id) {
    return std::any_of(members_.begin(), members_.end(), [id](const Member& m) { return m.idler.id == id; });
  };
  return std::all_of(members_.begin(), members_.end(), [&](const Member& member) {
    const ucs_callbackq_elem_t* called = member.idler.called;
    while (called->cb != nullptr && is_member(called->arg))
      ++called;
    return called->cb == nullptr;
  });
}

void IdleGroup::sleep(std::chrono::microseconds limit, Channel& channel) {
  // Of one member alone `channel` is meant: it is not told if other threads may use it.
  const auto channel_of = [&](const Member& member) {
    return members_.size() == 1 ? &channel : member.idler.channel;
  };
  files_.clear();
  bool quiet = true;
  std::size_t armed = 0;
  for (; quiet && armed < members_.size(); ++armed) {
    quiet = channel_of(members_[armed])->arm(members_[armed].idler.wake);
    files_.push_back({.fd = channel_of(members_[armed])->poll_fd(), .events = POLLIN, .revents = 0});
  }
  if (quiet) {
    for (const Watched& one : watched_)
      files_.push_back({.fd = one.fd, .events = POLLIN, .revents = 0});
    const timespec time{.tv_sec = 0, .tv_nsec = std::chrono::nanoseconds(limit).count()};
    static_cast<void>(::ppoll(files_.data(), files_.size(), &time, nullptr));
  }
  for (std::size_t i = 0; i < armed; ++i)
    channel_of(members_[i])->disarm();
}

void IdleGroup::watch(const void* id, int fd) {
  watched_.push_back({id, fd});
}

void IdleGroup::unwatch(const void* id) {
  std::erase_if(watched_, [id](const Watched& one) { return one.id == id; });
}

void IdleGroup::forget(const void* id) {
  std::erase_if(members_, [id](const Member& m) { return m.idler.id == id; });
  unwatch(id);
}

}  // namespace bulk::uct
