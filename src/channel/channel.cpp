// SPDX-License-Identifier: BSD-3-Clause
//
// What of a channel is not on the data path: binding, mappings, growth, endpoints, sleeping, statistics.
#include "channel/channel.hpp"

#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace bulk {
namespace {

Error bind_error(int code, const BindOptions& options) {
  if (code == ENODEV) {
    return Error{code,
                 "no RDMA device \"" + options.device + "\" with an IP address in this network namespace"};
  }
  return Error{code, "cannot bind a channel to " + options.device};
}

// Appends the addresses of `count` slots of `stride` bytes.
void number_slots(std::vector<std::byte*>& base, std::byte* first, std::uint32_t count,
                  std::uint32_t stride) {
  for (std::uint32_t i = 0; i < count; ++i)
    base.push_back(first + std::size_t{i} * stride);
}

}  // namespace

Result<Channel> Channel::bind(const Domain& domain, const BindOptions& options) {
  rdma_bulk_bind bind{};
  if (options.device.size() >= sizeof(bind.device)) return bind_error(ENODEV, options);
  auto fd = open_device_node();
  if (!fd) return fd.error();
  const auto info = query_file(fd->get());
  if (!info) return info.error();

  bind.size = sizeof(bind);
  bind.abi_version = RDMA_BULK_ABI_VERSION;
  bind.domain_fd = domain.fd();
  std::memcpy(bind.device, options.device.data(), options.device.size());
  bind.rx_slots = options.rx_slots;
  bind.tx_slots = options.tx_slots;
  bind.rx_headroom = options.rx_headroom;
  bind.events = options.events;
  if (const long result = call(fd->get(), RDMA_BULK_IOC_BIND, &bind); result < 0) {
    return bind_error(static_cast<int>(-result), options);
  }

  auto submitter = Submitter::make(fd->get(), options.submission);
  if (!submitter) return submitter.error();
  auto ctrl = Mapping::map(fd->get(), bind.ctrl_offset, sizeof(rdma_bulk_ctrl), true, "control page");
  if (!ctrl) return ctrl.error();
  auto ring = Mapping::map(fd->get(), bind.ring_offset, bind.ring_bytes, false, "event ring");
  if (!ring) return ring.error();

  Channel channel;
  channel.ring_ = EventRing(reinterpret_cast<const rdma_bulk_ring*>(ring->data()),
                            reinterpret_cast<rdma_bulk_ctrl*>(ctrl->data()), bind.events);
  channel.fd_ = std::move(*fd);
  channel.mappings_.push_back(std::move(*ctrl));
  channel.mappings_.push_back(std::move(*ring));
  channel.submitter_ = std::move(*submitter);
  channel.rx_stride_ = bind.rx_stride;
  channel.tx_stride_ = bind.tx_stride;
  channel.options_ = options;
  channel.limits_ = info->limits;
  channel.address_ = Address::from_abi(bind.addr, bind.token);
  channel.address_.set_port(info->service_port);

  // The first slots are taken over as those of a later growth are.
  rdma_bulk_grow first{};
  first.rx_add = bind.rx_slots;
  first.tx_add = bind.tx_slots;
  first.rx_offset = bind.rx_offset;
  first.rx_bytes = bind.rx_bytes;
  first.tx_offset = bind.tx_offset;
  first.tx_bytes = bind.tx_bytes;
  channel.unmapped_.push_back(first);
  if (!channel.map_slots()) return Error{ENOMEM, "cannot map the channel's first slots"};
  return channel;
}

bool Channel::map_slots() {
  while (!unmapped_.empty()) {
    const rdma_bulk_grow& grow = unmapped_.front();
    Mapping rx;
    Mapping tx;
    if (grow.rx_bytes != 0) {
      auto mapping = Mapping::map(fd_.get(), grow.rx_offset, grow.rx_bytes, true, "receive slots");
      if (!mapping) return false;
      rx = std::move(*mapping);
    }
    if (grow.tx_bytes != 0) {
      auto mapping = Mapping::map(fd_.get(), grow.tx_offset, grow.tx_bytes, true, "transmit slots");
      if (!mapping) return false;
      tx = std::move(*mapping);
    }
    number_slots(rx_base_, rx.data(), grow.rx_add, rx_stride_);
    number_slots(tx_base_, tx.data(), grow.tx_add, tx_stride_);
    rx_.grow(grow.rx_first, grow.rx_add);
    tx_.grow(grow.tx_first, grow.tx_add);
    if (rx.valid()) mappings_.push_back(std::move(rx));
    if (tx.valid()) mappings_.push_back(std::move(tx));
    unmapped_.erase(unmapped_.begin());
  }
  return true;
}

Result<void> Channel::grow(std::uint32_t rx_add, std::uint32_t tx_add) {
  if (map_slots() && rx_add == 0 && tx_add == 0) return {};
  rdma_bulk_grow grow{};
  grow.size = sizeof(grow);
  grow.rx_add = rx_add;
  grow.tx_add = tx_add;
  if (const long result = call(fd_.get(), RDMA_BULK_IOC_GROW, &grow); result < 0) {
    return Error{static_cast<int>(-result), "cannot grow the channel"};
  }
  // Nothing given is given no number either.
  if (grow.rx_add == 0) grow.rx_first = rx_.total();
  if (grow.tx_add == 0) grow.tx_first = tx_.total();
  unmapped_.push_back(grow);
  if (!map_slots()) return Error{ENOMEM, "cannot map the channel's new slots yet"};
  return {};
}

void Channel::grow_for_endpoint() {
  if (grown_for_endpoint_) return;
  grown_for_endpoint_ = true;
  const auto missing = [this](std::uint32_t have) {
    return have < options_.endpoint_slots ? options_.endpoint_slots - have : 0;
  };
  // Without more slots the channel is slower, not wrong.
  if (const auto grown = grow(missing(rx_.total()), missing(tx_.total())); !grown) return;
}

void Channel::receive_low() {
  static_cast<void>(flush_returns());
  const std::uint32_t most =
      options_.max_rx_slots == 0 ? limits_.rx_slots : std::min(limits_.rx_slots, options_.max_rx_slots);
  const std::uint32_t have = rx_.total();
  if (have >= most) return;
  if (const auto grown = grow(std::min(have, most - have), 0); !grown) return;
}

Result<EpHandle> Channel::ep_open(const Address& peer, std::uint64_t user_data, Opening opening) {
  grow_for_endpoint();
  rdma_bulk_ep_open open{};
  open.size = sizeof(open);
  open.flags = static_cast<std::uint32_t>(opening);
  std::memcpy(open.addr, peer.abi().data(), sizeof(open.addr));
  open.token = peer.token();
  open.user_data = user_data;
  if (const long result = call(fd_.get(), RDMA_BULK_IOC_EP_OPEN, &open); result < 0) {
    return Error{static_cast<int>(-result), "cannot open an endpoint to " + peer.ip_text()};
  }
  return EpHandle{open.ep};
}

Status Channel::ep_close(EpHandle ep) {
  rdma_bulk_ep_close close{};
  close.size = sizeof(close);
  close.ep = ep.value;
  return Status::from_kernel(call(fd_.get(), RDMA_BULK_IOC_EP_CLOSE, &close));
}

Status Channel::flush_returns() {
  while (rx_.queued() != 0) {
    const auto slots = rx_.next();
    if (const Status status = submitter_.one(Command::return_slots(slots)); !status) return status;
    rx_.returned(slots.size());
  }
  return {};
}

bool Channel::arm(Wake wake) {
  static_cast<void>(flush_returns());
  return ring_.arm(wake);
}

bool Channel::wait(int timeout_ms) {
  if (!arm()) return true;
  pollfd file{.fd = fd_.get(), .events = POLLIN, .revents = 0};
  static_cast<void>(::poll(&file, 1, timeout_ms));
  ring_.disarm();
  return !ring_.empty();
}

Result<ChannelStats> Channel::stats() const {
  rdma_bulk_stats s{};
  s.size = sizeof(s);
  if (const long result = call(fd_.get(), RDMA_BULK_IOC_STATS, &s); result < 0) {
    return Error{static_cast<int>(-result), "cannot read the channel's statistics"};
  }
  return ChannelStats{
      .tx_messages = s.tx_messages,
      .tx_bytes = s.tx_bytes,
      .rx_messages = s.rx_messages,
      .rx_bytes = s.rx_bytes,
      .puts = s.puts,
      .put_bytes = s.put_bytes,
      .gets = s.gets,
      .get_bytes = s.get_bytes,
      .refused = s.refused,
      .again = s.again,
      .failed = s.failed,
      .key_misses = s.key_misses,
      .endpoints = s.endpoints,
      .rx_slots = s.rx_slots,
      .rx_slots_held = s.rx_slots_held,
      .tx_slots = s.tx_slots,
      .kernel_bytes = s.kernel_bytes,
  };
}

}  // namespace bulk
