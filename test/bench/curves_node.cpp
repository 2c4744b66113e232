// SPDX-License-Identifier: BSD-3-Clause
#include <fmt/format.h>
#include <unistd.h>

#include <chrono>
#include <fstream>

#include "curves.hpp"

namespace bench::curves {
namespace {

constexpr int glance_ms = 50;  // at the control connection, while there is nothing to do

}  // namespace

std::string lack_of_memory(std::uint64_t count, std::size_t bytes) {
  constexpr std::size_t rest = 192 << 20;  // for everybody else
  const std::size_t there_is = available_memory();
  if (there_is >= rest + count * bytes) return {};
  return fmt::format("there are only {} MiB of memory left", there_is >> 20);
}

double busy_here() {
  // By what they were idle: that is exact to a tick, where the other numbers are samples.
  std::ifstream file("/proc/stat");
  std::string word;
  double user = 0, nice = 0, system = 0, idle = 0, waiting = 0;
  file >> word >> user >> nice >> system >> idle >> waiting;
  if (!file || word != "cpu") throw Fatal("/proc/stat cannot be read");
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration<double>(now).count() * static_cast<double>(sysconf(_SC_NPROCESSORS_ONLN)) -
         (idle + waiting) / static_cast<double>(sysconf(_SC_CLK_TCK));
}

bulk::BindOptions small(const std::string& device) {
  return {.device = device,
          .rx_slots = 1,
          .tx_slots = 1,
          .events = 64,
          .submission = bulk::Submission::ioctl,
          .endpoint_slots = 0,
          .max_rx_slots = 1};
}

Node::Node(const bulk::Domain& domain, const bulk::BindOptions& options, Control& control)
    : control_(control), channel_(value_of(bulk::Channel::bind(domain, options))) {}

void Node::wait() {
  if (channel_.progress(*this) == 0 && !channel_.wait(glance_ms)) control_.look();
  if (failure_) throw Fatal(*failure_);
}

bulk::EpHandle Node::open(const bulk::Address& peer, std::uint64_t user_data) {
  ++opened_;
  return value_of(channel_.ep_open(peer, user_data));
}

bulk::EpHandle Node::connect(const bulk::Address& peer) {
  const bulk::EpHandle ep = open(peer);
  all_up();
  return ep;
}

void Node::close(bulk::EpHandle ep) {
  if (const bulk::Status status = channel_.ep_close(ep); !status)
    throw Fatal("an endpoint cannot be closed: " + status.text());
}

void Node::send(bulk::EpHandle ep, Ask ask, std::span<const std::byte> payload) {
  until([this] { return channel_.tx_available() != 0; });
  const bulk::TxSlot slot = channel_.tx_acquire();
  std::memcpy(channel_.tx_data(slot), payload.data(), payload.size());
  submit(bulk::Command::send(ep, slot, static_cast<std::uint32_t>(payload.size()),
                             static_cast<std::uint16_t>(ask), 0));
}

void Node::submit(const bulk::Command& command) {
  bulk::Status status;
  while ((status = channel_.submit(command)).again())
    wait();
  if (!status) throw Fatal("a command was refused: " + status.text());
}

void Node::on_done(const bulk::Done& done) {
  if (!done.status) failure_ = "a command failed: " + done.status.text();
  ++done_;
}

bulk::SlotAction Node::on_message(const bulk::Message& got) {
  ++received_;
  if (message) message(static_cast<Ask>(got.id), std::span(got.data, got.length));
  return bulk::SlotAction::release;
}

void Node::on_up(const bulk::EndpointEvent& event) {
  ++up_;
  if (up) up(event);
}

void Node::on_down(const bulk::EndpointEvent& event) {
  if (down) {
    down(event);
  } else {
    failure_ = "an endpoint is down: " + event.status.text();
  }
}

}  // namespace bench::curves
