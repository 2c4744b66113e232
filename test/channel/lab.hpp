// SPDX-License-Identifier: BSD-3-Clause
//
// What the lab's tests of the channel library have in common: nodes (a domain, a channel and a log of its
// events), waiting for conditions, patterns of bytes. No test waits for a time: all wait for conditions, with
// a limit that only a hang exceeds.
//
// Environment: BULK_DEVICE names the RDMA device (default: the first); BULK_LIMIT the seconds after which
// waiting ends (default 60); BULK_BIG=1 runs the tests that move 1 GiB.
#pragma once

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "channel/channel.hpp"

namespace bulk::lab {

const std::string& device();
int limit_seconds();

// Bytes that depend on seed and place, so that neither a shift nor another transfer's bytes go unnoticed.
void fill(std::span<std::byte> bytes, std::uint64_t seed);
// Success, or a failure that says where the first wrong byte is.
testing::AssertionResult holds(std::span<const std::byte> bytes, std::uint64_t seed);

// Memory of its own pages, zeroed; freed at the end.
class Pages {
 public:
  explicit Pages(std::size_t bytes);
  Pages(const Pages&) = delete;
  Pages& operator=(const Pages&) = delete;
  ~Pages();
  std::byte* data() const { return data_; }
  std::size_t size() const { return size_; }
  std::span<std::byte> span() const { return {data_, size_}; }

 private:
  std::byte* data_;
  std::size_t size_;
};

struct Received {
  std::uint16_t id = 0;
  std::vector<std::byte> bytes;
};

// Everything that a channel told.
struct Log : EventHandler {
  std::vector<Done> done;
  std::vector<Received> messages;
  std::vector<RxSlot> held;
  std::vector<EndpointEvent> up, down, writable;
  unsigned rx_low = 0;
  bool removed = false;
  bool hold = false;  // keep all receive slots
  bool store = true;  // keep messages' bytes
  std::uint64_t received = 0;

  void on_done(const Done& d) { done.push_back(d); }
  SlotAction on_message(const Message& m);
  void on_up(const EndpointEvent& e) { up.push_back(e); }
  void on_down(const EndpointEvent& e) { down.push_back(e); }
  void on_writable(const EndpointEvent& e) { writable.push_back(e); }
  void on_rx_low(std::uint32_t) { ++rx_low; }
  void on_removed() { removed = true; }

  // The end of the command with this user_data, if it has ended.
  const Done* find(std::uint64_t user_data) const;
};

// A domain, a channel, and what it told.
struct Node {
  Domain domain;
  Channel channel;
  Log log;

  // Ends the test program with a message if it cannot be made: nothing works without.
  static std::unique_ptr<Node> make(BindOptions options);
  static std::unique_ptr<Node> make(Submission submission);

  // An endpoint to `peer`, up. Invalid (and a test failure) if it does not come up.
  EpHandle connect(const Address& peer, std::initializer_list<Node*> others = {});
  // The status with which a command ends: its refusal, or what its on_done() says.
  // `submit` gets the user_data to use.
  Status run(const std::function<Status(std::uint64_t)>& submit, std::initializer_list<Node*> others = {});

  std::uint64_t next_id = 1;  // for user_data
};

// Makes progress on all nodes until `condition` holds; sleeps in poll() when there is nothing to do. On
// failure says `what` it waited for.
testing::AssertionResult wait(std::initializer_list<Node*> nodes, const std::function<bool()>& condition,
                              const std::string& what);

// Two channels of this process with an endpoint from a to b and one back, over the host's link to itself.
struct Pair {
  std::unique_ptr<Node> a, b;
  EpHandle ab, ba;

  explicit Pair(Submission submission) : Pair(BindOptions{.device = device(), .submission = submission}) {}
  explicit Pair(const BindOptions& options);

  testing::AssertionResult wait(const std::function<bool()>& condition, const std::string& what) const {
    return lab::wait({a.get(), b.get()}, condition, what);
  }
  // Sends a message from a to b, again after EAGAIN as often as need be.
  Status send_patiently(std::span<const std::byte> bytes, std::uint16_t id);
  // Checks that a message goes from a to b: used after something bad, to show that it harmed nobody.
  testing::AssertionResult still_works();
};

// Tests that run once per way of submission.
class BySubmission : public testing::TestWithParam<Submission> {};
std::string submission_name(const testing::TestParamInfo<Submission>& info);
Submission submission_from(std::string_view name);
std::string_view name_of(Submission submission);

#define BULK_BY_SUBMISSION(suite)                                                                     \
  INSTANTIATE_TEST_SUITE_P(, suite,                                                                   \
                           testing::Values(Submission::ioctl, Submission::uring, Submission::sqpoll), \
                           lab::submission_name)

// "EINVAL" etc., for messages of failures.
inline std::string text(Status status) {
  return status.text();
}

// A status with the expected errno, printed by name.
testing::AssertionResult is(Status got, std::initializer_list<int> wanted);
inline testing::AssertionResult is(Status got, int wanted) {
  return is(got, {wanted});
}

}  // namespace bulk::lab
