// SPDX-License-Identifier: BSD-3-Clause
#include "channel_memory.hpp"

#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <memory>
#include <optional>
#include <sstream>
#include <vector>

#include "channel_tools.hpp"

namespace bench {
namespace {

constexpr unsigned blocks = 8;              // of endpoints
constexpr unsigned channels = 16;           // that are measured
constexpr unsigned remote_channels = 2001;  // the first is the one to which --count endpoints lead
constexpr std::uint32_t ucx_slots = 64;     // UCX_BULK_SLOTS
constexpr int glance_ms = 50;               // at the control connection, while there is nothing to do

// Free memory that processors keep at hand, which "MemFree" leaves out.
double at_hand() {
  std::ifstream zones("/proc/zoneinfo");
  double pages = 0;
  for (std::string word; zones >> word;) {
    double count = 0;
    if (word == "count:" && zones >> count) pages += count;
  }
  return pages * static_cast<double>(sysconf(_SC_PAGESIZE));
}

// Bytes of this host's memory that are neither free nor a page of a process or a file.
double kernel_memory() {
  // What each processor has counted for itself is summed up only then.
  std::ofstream refresh("/proc/sys/vm/stat_refresh");
  refresh << "1" << std::flush;
  if (!refresh) throw Fatal("kernel memory can be measured by root only");

  std::ifstream lines("/proc/meminfo");
  double bytes = -at_hand();
  for (std::string line; std::getline(lines, line);) {
    std::istringstream in(line);
    std::string name;
    double kib = 0;
    in >> name >> kib;
    if (name == "MemTotal:") bytes += kib * 1024;
    if (name == "MemFree:" || name == "Buffers:" || name == "Cached:" || name == "AnonPages:")
      bytes -= kib * 1024;
  }
  return bytes;
}

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

// A channel and what it told.
class Member : public bulk::EventHandler {
 public:
  Member(const bulk::Domain& domain, const bulk::BindOptions& options)
      : channel_(value_of(bulk::Channel::bind(domain, options))) {}

  bulk::Channel& channel() { return channel_; }

  bulk::EpHandle open(const bulk::Address& peer) {
    ++opened_;
    return value_of(channel_.ep_open(peer, 0));
  }

  // All endpoints are up, all messages have arrived.
  void settle(Control& control) {
    while (up_ < opened_ || channel_.outstanding() != 0)
      progress(control);
  }

  void send(bulk::EpHandle ep, Control& control) {
    const bulk::TxSlot slot = channel_.tx_acquire();
    if (!slot.valid()) throw Fatal("there is no transmit slot");
    bulk::Status status;
    while ((status = channel_.send(ep, bulk::Local::slot(slot), 8, 0, 0)).again())
      progress(control);
    if (!status.ok()) throw Fatal("a message was refused: " + status.text());
  }

  void progress(Control& control) {
    if (channel_.progress(*this) == 0 && !channel_.wait(glance_ms)) control.look();
    if (failure_) throw Fatal(*failure_);
  }

  // ---- bulk::EventHandler ----

  void on_up(const bulk::EndpointEvent&) { ++up_; }
  void on_down(const bulk::EndpointEvent& event) { failure_ = "an endpoint is down: " + event.status.text(); }
  void on_done(const bulk::Done& done) {
    if (!done.status) failure_ = "a message failed: " + done.status.text();
  }

 private:
  bulk::Channel channel_;
  std::uint64_t opened_ = 0;
  std::uint64_t up_ = 0;
  std::optional<std::string> failure_;
};

// The median of what one of `count` costs, made in blocks.
template <class Make>
double each(std::uint64_t count, const Make& make) {
  std::vector<double> costs;
  const std::uint64_t block = std::max<std::uint64_t>(count / blocks, 1);
  for (std::uint64_t made = 0; made + block <= count; made += block) {
    const double before = kernel_memory();
    make(made, block);
    costs.push_back((kernel_memory() - before) / static_cast<double>(block));
  }
  return median(std::move(costs));
}

}  // namespace

void measure_memory(const Job& job, Control& control, const std::string& device) {
  const auto domain = value_of(bulk::Domain::open());
  const bulk::BindOptions like_ucx{
      .device = device, .rx_headroom = bulk::max_headroom, .endpoint_slots = ucx_slots};
  std::vector<bulk::Address> peers;
  std::istringstream in(control.receive());
  for (std::string text; in >> text;)
    peers.push_back(address_from(text));
  if (peers.size() != remote_channels) throw Fatal("the other end has another number of channels");

  // The link and its lanes are not what is measured.
  Member first(domain, like_ucx);
  first.send(first.open(peers[0]), control);
  first.settle(control);

  const double endpoint = each(job.count, [&](std::uint64_t, std::uint64_t count) {
    for (std::uint64_t i = 0; i < count; ++i)
      first.open(peers[0]);
    first.settle(control);
  });
  const double endpoint_alone = each(peers.size() - 1, [&](std::uint64_t made, std::uint64_t count) {
    for (std::uint64_t i = 0; i < count; ++i)
      first.open(peers[1 + made + i]);
    first.settle(control);
  });

  std::vector<std::unique_ptr<Member>> members;
  const double none = kernel_memory();
  for (unsigned i = 0; i < channels; ++i)
    members.push_back(std::make_unique<Member>(domain, like_ucx));
  const double bound = kernel_memory();
  for (const auto& member : members) {
    member->send(member->open(peers[0]), control);
    member->settle(control);
  }
  const double used = kernel_memory();
  for (const auto& member : members) {
    bulk::Channel& channel = member->channel();
    const auto grown = channel.grow(channel.limits().rx_slots - channel.rx_total(),
                                    channel.limits().tx_slots - channel.tx_total());
    if (!grown) throw Fatal(grown.error().text());
  }
  const double most = kernel_memory();
  control.send("enough");
  control.receive();  // "finished"

  result("endpoint_memory", endpoint, "B");
  result("endpoint_memory_alone", endpoint_alone, "B");
  result("channel_memory_bound", (bound - none) / channels, "B");
  result("channel_memory", (used - none) / channels, "B");
  result("channel_memory_most", (most - none) / channels, "B");
}

void serve_memory(Control& control, const std::string& device) {
  raise_file_limit();

  const auto domain = value_of(bulk::Domain::open());
  Member first(domain, {.device = device});
  std::string addresses = first.channel().address().text();
  std::vector<bulk::Channel> others;  // nobody sends to them
  for (unsigned i = 1; i < remote_channels; ++i) {
    others.push_back(value_of(bulk::Channel::bind(domain, {.device = device,
                                                           .rx_slots = 1,
                                                           .tx_slots = 1,
                                                           .events = 64,
                                                           .submission = bulk::Submission::ioctl})));
    addresses += " " + others.back().address().text();
  }
  control.send(addresses);
  while (!control.has_line())
    first.progress(control);
  control.receive();  // "enough"
  control.send("finished");
}

}  // namespace bench
