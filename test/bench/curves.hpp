// SPDX-License-Identifier: BSD-3-Clause
//
// What channel_curves is made of: what one thing of a kind costs (events) while so many others lie idle
// beside it (a crowd).
//
//   channel_curves.cpp   the command line; the order in which crowds grow and events are measured
//   curves_node.cpp      a channel and what it has told
//   curves_client.cpp    the session with the other end
//   curves_server.cpp    the other end: does what it is asked to do
//   curves_crowd.cpp     crowds
//   curves_events.cpp    events
//
// The client asks the server by messages for what belongs to an event, and by lines over the control
// connection for what belongs to setting up. Both wait by sleeping in poll(), so that the kernel's threads
// have the processors; neither looks at more than one channel while it measures.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "channel/channel.hpp"
#include "channel_tools.hpp"
#include "memory.hpp"
#include "session.hpp"

namespace bench::curves {

// Ids of messages. What the server gets is answered by a message of the same id, unless it says otherwise.
enum class Ask : std::uint16_t {
  echo,     // nothing more
  item,     // one of many; not answered
  narrow,   // a std::uint32_t: send so many messages to the client's narrow channel; not answered
  watch,    // a bulk::Token: open an endpoint to that channel of the client; answered when it is up ...
  gone,     // ... and by this when it is down
  read,     // a Place: read 8 bytes there
  touch,    // the same, begun only; not answered
  touched,  // answered when everything that was begun has ended
};

// Memory of the other end.
struct Place {
  std::uint64_t address = 0;
  bulk::Key key{};
};

// Bytes of memory that one of them takes, about.
inline constexpr std::size_t small_bytes = 96 << 10;
// Endpoints of one channel, regions of one domain that are made here; there may be a few more.
inline constexpr std::size_t most_of_one = 60000;

// Why there is no room for `count` things of so many bytes each on this host, or nothing.
std::string lack_of_memory(std::uint64_t count, std::size_t bytes);

// The options of channels that do nothing: as small as they can be, without an io_uring.
bulk::BindOptions small(const std::string& device);

// A channel and what it has told.
class Node : public bulk::EventHandler {
 public:
  // `control`: is looked at while this end waits.
  Node(const bulk::Domain& domain, const bulk::BindOptions& options, Control& control);

  bulk::Channel& channel() { return channel_; }
  const bulk::Address& address() const { return channel_.address(); }

  // Takes events until `condition` holds.
  template <class Condition>
  void until(const Condition& condition);

  // An endpoint to `peer`, which is not up yet.
  bulk::EpHandle open(const bulk::Address& peer, std::uint64_t user_data = 0);
  // The same, up.
  bulk::EpHandle connect(const bulk::Address& peer);
  void close(bulk::EpHandle ep);
  // Until every endpoint opened here has been up.
  void all_up() {
    until([this] { return up_ == opened_; });
  }

  // Sends a message, as soon as that is possible.
  void send(bulk::EpHandle ep, Ask ask, std::span<const std::byte> payload = {});
  // Submits a command, as soon as that is possible. Its end is counted in done().
  void submit(const bulk::Command& command);

  std::uint64_t opened() const { return opened_; }      // endpoints, ever
  std::uint64_t received() const { return received_; }  // messages, ever
  std::uint64_t done() const { return done_; }          // commands that have ended, ever

  // Set by who wants to know; called for each.
  std::function<void(Ask ask, std::span<const std::byte> payload)> message;
  std::function<void(const bulk::EndpointEvent& event)> up;
  std::function<void(const bulk::EndpointEvent& event)> down;  // unset: it is an error

  // ---- bulk::EventHandler ----

  void on_done(const bulk::Done& done);
  bulk::SlotAction on_message(const bulk::Message& message);
  void on_up(const bulk::EndpointEvent& event);
  void on_down(const bulk::EndpointEvent& event);
  void on_removed() { failure_ = "the RDMA device is gone"; }

 private:
  // Takes events, or sleeps until there are some.
  void wait();

  Control& control_;
  bulk::Channel channel_;
  std::uint64_t opened_ = 0;
  std::uint64_t up_ = 0;
  std::uint64_t received_ = 0;
  std::uint64_t done_ = 0;
  std::optional<std::string> failure_;
};

template <class Condition>
void Node::until(const Condition& condition) {
  while (!condition())
    wait();
}

// Seconds for which this host's processors have been busy, ever.
double busy_here();

// The server's whole life with one client.
void serve(Control& control, const std::string& device);

// The client's end of a session: its channels, those of the server that it knows.
class Client {
 public:
  Client(Control& control, const std::string& device);
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  // Asks the server for one thing and waits for the answer.
  void ask(Ask ask, std::span<const std::byte> payload = {});
  // So many messages to the narrow channel, each of which waits for the slot of the one before; returns how
  // many seconds pass from one to the next.
  double narrow(std::uint32_t count);
  // Seconds for which the processors of both hosts together have been busy, ever: in steps of 10 ms.
  double busy();
  // Channels that the server has bound anew; fewer than `count`, and `why`, if it cannot.
  std::vector<bulk::Address> bind_there(std::uint64_t count, std::string& why);
  // The server opens endpoints to channels of this end.
  void open_here(std::span<const bulk::Token> tokens);

  Control& control;
  const std::string device;
  bulk::Domain domain;
  Node main;    // what happens in events happens here
  Node target;  // local endpoints lead here
  bulk::EpHandle server;
  bulk::Address server_address;
  Place server_memory;              // `window` bytes that may be written
  std::vector<bulk::Address> pool;  // channels of the server for events: pool_size

  static constexpr std::uint64_t pool_size = 16;
  static constexpr std::size_t window = 16384;  // bytes of memory of each side
  std::byte* memory() const { return memory_.data(); }
  const bulk::Region& region() const { return region_; }  // memory()
  bulk::Remote remote() const { return {server_memory.address, server_memory.key}; }
  // The beginning of memory(), by another region's key.
  Place place_of(const bulk::Region& other) const {
    return {reinterpret_cast<std::uintptr_t>(memory()), other.key()};
  }
  // Until no host can reach it any more.
  void deregister(bulk::Region&& region) const;

 private:
  Memory memory_;
  bulk::Region region_;
  Node narrow_;  // has one receive slot
};

// Takes the figures of one run of what is measured.
using Record = std::function<void(std::string_view figure, double seconds)>;

// What lies idle.
class Crowd {
 public:
  Crowd() = default;
  Crowd(const Crowd&) = delete;
  Crowd& operator=(const Crowd&) = delete;
  virtual ~Crowd() = default;

  std::uint64_t size() const { return size_; }
  // Makes it `size` large. The reason why it has become less, or nothing.
  std::string grow(std::uint64_t size);
  // What is measured in place of the events: a figure's name and a run, which happens size() times. Nothing:
  // they are.
  virtual std::string_view own() const { return {}; }
  virtual void run(const Record&) {}

 protected:
  // Adds at most `count`, returns how many; sets `why` if that is not all.
  virtual std::uint64_t add(std::uint64_t count, std::string& why) = 0;
  // Bytes of this host's memory that each takes, about.
  virtual std::size_t bytes() const { return 2048; }

 private:
  std::uint64_t size_ = 0;
};

struct CrowdKind {
  std::string_view name;
  std::string_view what;
  std::unique_ptr<Crowd> (*make)(Client& client);
};
std::span<const CrowdKind> crowds();

// Something whose cost is measured: one run gives one or more figures.
struct Event {
  std::string_view name;
  std::string_view what;
  unsigned times;  // how often it happens in a run
  void (*run)(Client& client, const Record& record);
};
std::span<const Event> events();

inline bulk::Address with_token(bulk::Address address, bulk::Token token) {
  address.set_token(token);
  return address;
}

template <class T>
std::span<const std::byte> bytes_of(const T& value) {
  return std::as_bytes(std::span(&value, 1));
}

template <class T>
T value_in(std::span<const std::byte> payload) {
  T value{};
  if (payload.size() != sizeof(value)) throw Fatal("a message has the wrong length");
  std::memcpy(&value, payload.data(), sizeof(value));
  return value;
}

}  // namespace bench::curves
