// SPDX-License-Identifier: BSD-3-Clause
//
// channel_bench: how fast the channel library alone moves data between two hosts.
//
//   host 2:  channel_bench --listen
//   host 1:  channel_bench 10.77.0.2 --test put_bw --size 1M
//
// Messages are copied from the buffer into a transmit slot and are read where they arrive. PUT and GET move
// between the buffers themselves: from and to a registered one, or, with --fresh, plain memory. What is begun
// together is submitted together. --test memory moves nothing: see channel_memory.hpp.

#include <fmt/format.h>
#include <poll.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

#include "channel/channel.hpp"
#include "channel_memory.hpp"
#include "channel_tools.hpp"
#include "memory.hpp"
#include "session.hpp"

namespace bench {
namespace {

constexpr Test tests[] = {
    {.name = "send_bw", .size = 4096, .operation = Operation::send},
    {.name = "send_lat", .size = 8, .operation = Operation::send, .latency = true},
    {.name = "msg_rate", .size = 8, .window = 64, .operation = Operation::send},
    {.name = "put_bw", .operation = Operation::put},
    {.name = "put_lat", .size = 8, .operation = Operation::put, .latency = true},
    {.name = "get_bw", .operation = Operation::get},
    {.name = "memory", .size = 8, .count = 16000},
};

bulk::BindOptions options_for(const Job& job, const std::string& ip) {
  bulk::BindOptions options{.device = device_with(ip)};
  options.endpoint_slots = std::max(options.endpoint_slots, job.window);
  return options;
}

class ChannelEngine final : public Engine, public bulk::EventHandler {
 public:
  ChannelEngine(const Job& job, const std::string& ip)
      : job_(job),
        memory_(job.size, job.fresh ? job.warmup + job.count : 1, false),
        target_(job.size, 1, false),
        domain_(value_of(bulk::Domain::open())),
        channel_(value_of(bulk::Channel::bind(domain_, options_for(job, ip)))),
        batch_(channel_) {
    const auto open_to_all = bulk::Access::remote_read_write;
    if (job.operation == Operation::send) return;
    region_ = value_of(domain_.register_memory(target_.data(), job.size, open_to_all));
    if (!job.fresh) local_ = value_of(domain_.register_memory(memory_.data(), job.size, open_to_all));
  }

  std::string address() override {
    return fmt::format("{} {} {}", channel_.address().text(),
                       reinterpret_cast<std::uintptr_t>(target_.data()), hex(region_.key()));
  }

  void connect(const std::string& peer, const Until& until) override {
    std::istringstream in(peer);
    std::string channel;
    std::string key;
    in >> channel >> remote_ >> key;
    if (!in) throw Fatal("the other end's address is none: " + peer);
    remote_key_ = key_from_hex(key);
    ep_ = value_of(channel_.ep_open(address_from(channel), 0));
    until([this] { return up_; });
  }

  unsigned post(std::uint64_t first, unsigned count) override {
    if (refused_) return 0;
    if (flushed()) return post_flushed(first);
    unsigned added = 0;
    while (added < count && !batch_.full() && add(first + added))
      ++added;
    const unsigned begun = submit();
    for (unsigned i = begun; i < added && job_.operation == Operation::send; ++i)
      channel_.tx_release(slots_[i]);
    return begun;
  }

  bool progress() override {
    const unsigned events = channel_.progress(*this);
    if (failure_) throw Fatal(*failure_);
    return events != 0;
  }

  bool arm() override { return channel_.arm(); }
  int fd() const override { return channel_.poll_fd(); }
  short events() const override { return POLLIN; }

  // ---- bulk::EventHandler ----

  void on_done(const bulk::Done& done) {
    if (!done.status) failure_ = "a command failed: " + done.status.text();
    if (done.user_data == counted) ++done_;
  }
  bulk::SlotAction on_message(const bulk::Message& message) {
    if (message.length != job_.size)
      failure_ = fmt::format("a message of {} bytes came instead of {}", message.length, job_.size);
    ++received_;
    return bulk::SlotAction::release;
  }
  void on_up(const bulk::EndpointEvent&) { up_ = true; }
  void on_down(const bulk::EndpointEvent& event) {
    failure_ = "the endpoint is down: " + event.status.text();
  }
  void on_writable(const bulk::EndpointEvent&) { refused_ = false; }
  void on_removed() { failure_ = "the RDMA device is gone"; }

 private:
  // user_data of commands: whether their end is the end of an operation.
  static constexpr std::uint64_t counted = 1;
  static constexpr std::uint64_t not_counted = 0;

  bool flushed() const { return job_.latency && job_.operation == Operation::put; }

  // Puts an operation into the batch. False if there is no slot for it.
  bool add(std::uint64_t number) {
    std::byte* buffer = memory_.of(number);
    switch (job_.operation) {
      case Operation::send: {
        const bulk::TxSlot slot = channel_.tx_acquire();
        if (!slot.valid()) return false;
        std::memcpy(channel_.tx_data(slot), buffer, job_.size);
        slots_[batch_.size()] = slot;
        return batch_.add(bulk::Command::send(ep_, slot, static_cast<std::uint32_t>(job_.size), 0, counted));
      }
      case Operation::put:
        return batch_.add(bulk::Command::put(ep_, local(buffer), job_.size, remote(), counted));
      case Operation::get:
        return batch_.add(bulk::Command::get(ep_, local(buffer), job_.size, remote(), counted));
    }
    return false;
  }

  // A PUT and its flush, which is what is counted. If the flush alone was refused it alone is tried again.
  unsigned post_flushed(std::uint64_t number) {
    if (!flush_missing_)
      batch_.add(bulk::Command::put(ep_, local(memory_.of(number)), job_.size, remote(), not_counted));
    batch_.add(bulk::Command::flush(ep_, counted));
    const std::uint32_t commands = batch_.size();
    const unsigned accepted = submit();
    flush_missing_ = accepted + 1 == commands;
    return accepted == commands ? 1 : 0;
  }

  // Submits the batch; returns how many commands were accepted.
  unsigned submit() {
    const bulk::Submitted submitted = batch_.submit();
    refused_ = submitted.refusal.again();
    if (!submitted.refusal.ok() && !refused_)
      throw Fatal("a command was refused: " + submitted.refusal.text());
    return submitted.accepted;
  }

  bulk::Local local(std::byte* buffer) const {
    return local_.handle().valid() ? bulk::Local::region(local_.handle(), buffer) : bulk::Local::user(buffer);
  }
  bulk::Remote remote() const { return {remote_, remote_key_}; }

  const Job job_;
  Memory memory_;  // what this end sends, writes from and reads into
  Memory target_;  // what the other end writes and reads
  bulk::Domain domain_;
  bulk::Region region_;  // target_
  bulk::Region local_;   // memory_, if it is used more than once
  bulk::Channel channel_;
  bulk::Batch batch_;
  std::array<bulk::TxSlot, bulk::Batch::capacity> slots_;  // of the messages in the batch
  bulk::EpHandle ep_;
  std::uint64_t remote_ = 0;
  bulk::Key remote_key_{};
  bool up_ = false;
  bool refused_ = false;
  bool flush_missing_ = false;
  std::optional<std::string> failure_;
};

std::string refusal(const Job& job) {
  if (job.operation == Operation::send && job.size > bulk::max_message)
    return fmt::format("a message has at most {} bytes", bulk::max_message);
  if (job.size > bulk::max_rma) return fmt::format("an operation has at most {} bytes", bulk::max_rma);
  return {};
}

}  // namespace
}  // namespace bench

int main(int argc, char** argv) {
  const bench::Tool tool{
      .name = "channel_bench",
      .description =
          "Measures the channel library of rdma_bulk between two hosts.\n\n"
          "Bandwidth counts what has arrived: messages that the receiver has confirmed, PUTs and GETs that\n"
          "are done. send_lat is half of a round trip of two messages; put_lat is a whole PUT and flush.\n\n"
          "memory opens --count endpoints, and channels, and tells what each takes of this host's kernel\n"
          "memory: to a remote channel that has one already, and alone; bound, with an endpoint and 64 + 64\n"
          "slots, and with as many slots as there can be. Other options mean nothing to it.",
      .tests = bench::tests,
      .refusal = bench::refusal,
  };
  const auto make = [](const bench::Job& job, const std::string& ip) {
    return std::make_unique<bench::ChannelEngine>(job, ip);
  };
  const bench::OwnTest own{
      .name = "memory",
      .serve =
          [](const bench::Job&, bench::Control& control) {
            bench::serve_memory(control, bench::device_with(control.local_ip()));
          },
      .measure =
          [](const bench::Job& job, bench::Control& control) {
            bench::measure_memory(job, control, bench::device_with(control.local_ip()));
          },
  };
  return bench::run(tool, make, argc, argv, {&own, 1});
}
