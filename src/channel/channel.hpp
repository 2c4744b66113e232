// SPDX-License-Identifier: BSD-3-Clause
//
// A channel: the process's attachment to one RDMA device. It sends and receives messages and reads and writes
// the memory of remote processes, through endpoints.
//
//   auto domain = bulk::Domain::open();
//   auto channel = bulk::Channel::bind(*domain, {.device = "rxe0:1"});
//   auto ep = channel->ep_open(peer_address, user_data);
//   bulk::TxSlot slot = channel->tx_acquire();
//   std::memcpy(channel->tx_data(slot), text, length);
//   channel->send(*ep, slot, length, id, user_data);      // EAGAIN until on_up()
//   while (!done) channel->progress(handler);
//
// Threads: one at a time per Channel. Different channels are independent. Processes: a channel belongs to the
// process that bound it. A forked child has none of its mappings: it may destroy the object, nothing else.
//
// Slots: transmit slots are taken with tx_acquire() and are the process's until a command that names one is
// accepted. From then on until on_done() has returned the slot is the kernel's, after that it is free again,
// by itself. Who does not use a slot, or had the command refused, keeps it: tx_release(), or try again.
// Receive slots come with on_message(), which says who owns them from then on.
//
// The data path (send, put, get, flush, progress, slots) allocates nothing, and progress() makes no system
// call except to return receive slots, in batches, and to grow.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "channel/command.hpp"
#include "channel/domain.hpp"
#include "channel/error.hpp"
#include "channel/event_ring.hpp"
#include "channel/events.hpp"
#include "channel/fd.hpp"
#include "channel/slots.hpp"
#include "channel/submit.hpp"
#include "channel/types.hpp"

namespace bulk {

struct BindOptions {
  std::string device;             // as query() names it: "rxe0:1"
  std::uint32_t rx_slots = 0;     // at first; 0: the kernel's default, a few
  std::uint32_t tx_slots = 0;     // likewise
  std::uint32_t rx_headroom = 0;  // bytes in front of each received message, at most max_headroom. The kernel
                                  // does not write them once the process has seen the slot.
  std::uint32_t events = 0;       // entries of the event ring, a power of two up to 65536; 0: the default
  Submission submission = Submission::automatic;
  // Both kinds of slots are brought to this number with the first endpoint; 0: never.
  std::uint32_t endpoint_slots = 32;
  // Receive slots are doubled whenever peers lack them, up to this number; 0: as far as the kernel allows;
  // what is there already: never.
  std::uint32_t max_rx_slots = 0;
};

// Counters of one channel, since it was bound; as struct rdma_bulk_stats has them.
struct ChannelStats {
  std::uint64_t tx_messages, tx_bytes;  // whose on_done() was good
  std::uint64_t rx_messages, rx_bytes;  // put into receive slots
  std::uint64_t puts, put_bytes;        // ended well
  std::uint64_t gets, get_bytes;        // ended well
  std::uint64_t refused;                // commands refused for another reason than EAGAIN
  std::uint64_t again;                  // commands refused with EAGAIN
  std::uint64_t failed;                 // commands that ended with an error
  std::uint64_t key_misses;             // PUTs and GETs that waited for their key to be resolved
  std::uint32_t endpoints;              // now
  std::uint32_t rx_slots;               // now
  std::uint32_t rx_slots_held;          // by the process, now
  std::uint32_t tx_slots;               // now
  std::uint64_t kernel_bytes;           // kernel memory of the channel, shared pages included
};

// When an endpoint's channel is asked for: now, or, some milliseconds later at most, together with the first
// command. A first message of up to 512 bytes then travels with the request, ahead of on_up().
enum class Opening : std::uint32_t {
  at_once = 0,
  with_first = RDMA_BULK_EP_FIRST,
};

class Channel {
 public:
  // Errors: those of open_device_node(); EPROTONOSUPPORT (ABI version), ENODEV (no such device), EINVAL,
  // ENOMEM, EPERM (the domain is another process's); and those of Submitter::make. The domain may be closed
  // before the channel.
  static Result<Channel> bind(const Domain& domain, const BindOptions& options);

  Channel(Channel&&) noexcept = default;
  Channel& operator=(Channel&&) noexcept = default;
  ~Channel() = default;

  // The address to give to peers. Its port is the one on which this host listens.
  const Address& address() const { return address_; }
  const std::string& device() const { return options_.device; }
  const Limits& limits() const { return limits_; }
  const Submitter& submitter() const { return submitter_; }

  // ---- endpoints ----

  // Begins to connect to a remote channel; on_up() or on_down() follows with `user_data`. Errors at once:
  // EINVAL, EAFNOSUPPORT (not the family of the own device's address), ENODEV (device gone), ENOMEM, ENOSPC
  // (too many endpoints). Errors in on_down(): ECONNREFUSED (no such channel, or another user's),
  // EHOSTUNREACH, ETIMEDOUT, ECONNRESET, EPROTO.
  Result<EpHandle> ep_open(const Address& peer, std::uint64_t user_data, Opening opening = Opening::at_once);

  // Commands that are not under way yet end with ECANCELED, the others as usual; their on_done() may come
  // later. No other event of the endpoint follows. Error: ENOENT.
  Status ep_close(EpHandle ep);

  // ---- transmit slots ----

  // A free slot, or an invalid one if all are taken.
  TxSlot tx_acquire() { return tx_.acquire(); }
  // Gives back a slot that no accepted command names. False for one that is not taken.
  bool tx_release(TxSlot slot) { return tx_.release(slot); }
  // max_message bytes that the process may write, from the slot's beginning.
  std::byte* tx_data(TxSlot slot) const { return tx_base_[slot.value]; }
  std::uint32_t tx_total() const { return tx_.total(); }
  std::uint32_t tx_available() const { return tx_.available(); }

  // ---- commands ----
  //
  // Each is refused at once with no effect (a Status that is not ok()), or ends later with on_done() for
  // `user_data`. Commands of one endpoint take effect in order. Refusals:
  //   EAGAIN        window, queue or endpoint is not ready; on_writable() (at first: on_up()) will tell
  //   EINVAL        an argument that makes no sense
  //   ENOENT        no such endpoint or region
  //   EMSGSIZE      too long, or longer than the slot
  //   ERANGE        outside the local or the remote region
  //   EACCES        the key or the region does not give that right
  //   EKEYREJECTED  the key is known to be wrong or dead
  //   EFAULT        local memory is not mapped, or read-only where it would be written
  //   EBUSY         the slot belongs to an earlier command
  //   ENOMEM, EPERM, or why the endpoint is down
  // What shows only later comes with on_done().

  Status send(EpHandle ep, Local from, std::uint32_t length, std::uint16_t id, std::uint64_t user_data,
              RegionHandle key_region = {}, Fence fence = Fence::none) {
    return submit(Command::send(ep, from, length, id, user_data, key_region, fence));
  }
  Status put(EpHandle ep, Local from, std::uint64_t length, const Remote& to, std::uint64_t user_data,
             Fence fence = Fence::none) {
    return submit(Command::put(ep, from, length, to, user_data, fence));
  }
  Status get(EpHandle ep, Local into, std::uint64_t length, const Remote& from, std::uint64_t user_data,
             Fence fence = Fence::none) {
    return submit(Command::get(ep, into, length, from, user_data, fence));
  }
  // on_done() when every earlier command of the endpoint has ended. `remote`: and the data of its PUTs is
  // globally visible on the target. Not needed when outstanding() is 0.
  Status flush(EpHandle ep, std::uint64_t user_data, bool remote = false) {
    return submit(Command::flush(ep, user_data, remote));
  }

  // Any command but OP_RETURN (for which rx_return() keeps the books).
  Status submit(const Command& command) {
    const Status status = submitter_.one(command);
    outstanding_ += status.ok() ? 1 : 0;
    return status;
  }
  // Several, in order, up to the first that is refused. See also Batch.
  Submitted submit(std::span<const Command> commands) {
    const Submitted result = submitter_.many(commands);
    outstanding_ += result.accepted;
    return result;
  }
  // Accepted commands whose on_done() has not been called yet.
  std::uint64_t outstanding() const { return outstanding_; }

  // ---- events ----

  // Takes up to `max` events out of the ring, oldest first, and calls the handler's function for each (see
  // EventHandler). Returns how many it took.
  template <class Handler>
  unsigned progress(Handler&& handler, unsigned max = 64);

  // Whether progress() would find something.
  bool has_events() const { return !ring_.empty(); }

  // Before sleeping in poll(), select() or epoll on poll_fd(), for reading: returns held-back receive slots
  // and asks the kernel to make the file readable at the next event, or the next loud one. True: sleep.
  // False: there are events already, call progress().
  bool arm(Wake wake = Wake::any);
  // Takes the wish back.
  void disarm() { ring_.disarm(); }
  int poll_fd() const { return fd_.get(); }

  // arm() and poll(2). True: there are events. False: none within `timeout_ms` (negative: no limit) or a
  // signal.
  bool wait(int timeout_ms);

  // ---- receive slots ----

  // Returns a slot that on_message() kept. It goes to the kernel with the next batch. False for a slot that
  // is not held.
  bool rx_return(RxSlot slot) {
    if (!rx_.queue(slot)) return false;
    if (rx_.due()) static_cast<void>(flush_returns());
    return true;
  }
  // Gives all queued slots to the kernel now. On an error the rest stays queued, for the next time.
  Status flush_returns();
  // The message in a held slot.
  std::byte* rx_data(RxSlot slot) const { return rx_base_[slot.value] + options_.rx_headroom; }
  std::uint32_t rx_total() const { return rx_.total(); }
  std::uint32_t rx_held() const { return rx_.held(); }
  std::uint32_t rx_free() const { return rx_.total() - rx_.with_process(); }

  // ---- the rest ----

  // More slots; the kernel may give fewer than asked for, or none. Errors: EINVAL, ENOMEM, ENOSPC (it has
  // been called too often).
  Result<void> grow(std::uint32_t rx_add, std::uint32_t tx_add);

  Result<ChannelStats> stats() const;

 private:
  Channel() = default;
  bool map_slots();
  void grow_for_endpoint();
  void receive_low();

  template <class Handler>
  void dispatch(Handler& handler, const rdma_bulk_event& event);

  // Order matters: the file is closed after everything that needs it.
  Fd fd_;
  std::vector<Mapping> mappings_;
  EventRing ring_;
  Submitter submitter_;
  TxSlots tx_;
  RxSlots rx_;
  std::vector<std::byte*> tx_base_;  // by slot; into mappings_
  std::vector<std::byte*> rx_base_;  // by slot; into mappings_
  std::uint64_t outstanding_ = 0;
  std::uint32_t tx_stride_ = 0;
  std::uint32_t rx_stride_ = 0;
  bool grown_for_endpoint_ = false;
  std::vector<rdma_bulk_grow> unmapped_;  // slots that the kernel has given and mmap not yet; oldest first
  BindOptions options_;
  Limits limits_;
  Address address_;
};

// Commands gathered in order and submitted together; they are not under way before submit(). Holds up to 64;
// is empty again after submit(). The Channel must live longer.
class Batch {
 public:
  static constexpr std::uint32_t capacity = 64;

  // NOLINTNEXTLINE(cppcoreguidelines-pro-type-member-init)
  explicit Batch(Channel& channel) : channel_(channel) {}
  Batch(const Batch&) = delete;
  Batch& operator=(const Batch&) = delete;

  // False, with no effect, if the batch is full.
  bool add(const Command& command) {
    if (count_ == capacity) return false;
    commands_[count_++] = command;
    return true;
  }
  std::uint32_t size() const { return count_; }
  bool full() const { return count_ == capacity; }
  void clear() { count_ = 0; }

  // Submits in order, up to the first that is refused. The refused one and what stood behind it are dropped.
  Submitted submit() {
    const std::uint32_t count = count_;
    count_ = 0;
    return count == 0 ? Submitted{} : channel_.submit(std::span<const Command>(commands_.data(), count));
  }

 private:
  Channel& channel_;
  std::uint32_t count_ = 0;
  std::array<Command, capacity> commands_;  // not initialized: 5 KiB, written before they are read
};

// ---- implementation of templates ----

template <class Handler>
unsigned Channel::progress(Handler&& handler, unsigned max) {
  rdma_bulk_event event{};
  unsigned taken = 0;
  while (taken < max && ring_.peek(event)) {
    // A message may be in a slot whose mapping has failed so far: it waits in the ring, nothing overtakes it.
    if (event.type == RDMA_BULK_EV_RECV && event.slot >= rx_base_.size() && !map_slots()) break;
    ring_.advance();
    ++taken;
    dispatch(handler, event);
  }
  if (taken != 0 && rx_.due()) static_cast<void>(flush_returns());
  return taken;
}

template <class Handler>
void Channel::dispatch(Handler& handler, const rdma_bulk_event& event) {
  const EpHandle ep{event.ep};
  switch (event.type) {
    case RDMA_BULK_EV_RECV: {
      const RxSlot slot{event.slot};
      rx_.received(slot);
      const SlotAction action = handler.on_message(
          Message{ep, event.id, slot, static_cast<std::uint32_t>(event.length), rx_data(slot)});
      if (action == SlotAction::release) static_cast<void>(rx_return(slot));
      break;
    }
    case RDMA_BULK_EV_DONE: {
      const TxSlot slot{event.slot};
      --outstanding_;
      handler.on_done(Done{event.user_data, ep, slot, Status::from_kernel(event.result), event.length});
      if (slot.valid()) static_cast<void>(tx_.release(slot));
      break;
    }
    case RDMA_BULK_EV_EP_UP:
      handler.on_up(EndpointEvent{ep, event.user_data, Status{}});
      break;
    case RDMA_BULK_EV_EP_DOWN:
      handler.on_down(EndpointEvent{ep, event.user_data, Status::from_kernel(event.result)});
      break;
    case RDMA_BULK_EV_WRITABLE:
      handler.on_writable(EndpointEvent{ep, event.user_data, Status{}});
      break;
    case RDMA_BULK_EV_RX_LOW:
      receive_low();
      handler.on_rx_low(static_cast<std::uint32_t>(event.result));
      break;
    case RDMA_BULK_EV_REMOVED:
      handler.on_removed();
      break;
    default:
      break;  // of a newer kernel: additions do not raise the ABI version
  }
}

}  // namespace bulk
