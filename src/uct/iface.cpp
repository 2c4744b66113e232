// SPDX-License-Identifier: BSD-3-Clause

#include "uct/iface.hpp"

#include <net/if.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <cstring>
#include <new>
#include <utility>

#include "uct/abi/imports.hpp"
#include "uct/idle.hpp"
#include "uct/log.hpp"
#include "uct/md.hpp"
#include "uct/ops.hpp"
#include "uct/status.hpp"

namespace bulk::uct {
namespace {

constexpr std::size_t data_alignment = 16;

constexpr unsigned idle_poll_limit = 16;  // calls in a row that found nothing, before a clock is looked at

std::uint32_t headroom_for(std::size_t user_headroom, std::size_t own) {
  return static_cast<std::uint32_t>((user_headroom + own + data_alignment - 1) / data_alignment *
                                    data_alignment);
}

// The device called `name`, or nothing.
std::optional<Device> find_device(const char* name) {
  Result<HostInfo> host = bulk::query();
  if (!host) {
    ucs_debug("bulk: %s", host.error().text().c_str());
    return std::nullopt;
  }
  const auto device = std::find_if(host->devices.begin(), host->devices.end(),
                                   [name](const Device& candidate) { return candidate.name == name; });
  return device != host->devices.end() ? std::optional(*device) : std::nullopt;
}

// Whether the host's processors do what an adapter would: such a device is on no bus.
bool is_software_device(const std::string& name) {
  const std::string bus = "/sys/class/infiniband/" + name.substr(0, name.find(':')) + "/device";
  return access(bus.c_str(), F_OK) != 0;
}

}  // namespace

// Takes the channel's events, for Channel::progress.
class Iface::Events : public EventHandler {
 public:
  explicit Events(Iface& iface) : iface_(iface) {}

  void on_done(const Done& done) { iface_.end(done); }
  SlotAction on_message(const Message& message) { return iface_.deliver(message); }
  void on_up(const EndpointEvent& event) {
    if (Ep* ep = find(event); ep != nullptr) ep->on_up();
  }
  void on_writable(const EndpointEvent& event) {
    if (Ep* ep = find(event); ep != nullptr) ep->on_writable();
  }
  void on_down(const EndpointEvent& event) {
    if (Ep* ep = find(event); ep != nullptr) ep->on_down(ucs_status_of(event.status));
  }
  void on_removed() {
    ucs_diag("bulk: the device %s is gone", iface_.device_.name.c_str());
    iface_.fail_all(UCS_ERR_NO_DEVICE);
  }

 private:
  // Events of an endpoint that is gone may still be in the ring.
  Ep* find(const EndpointEvent& event) { return iface_.find(EpId::from(event.user_data)); }

  Iface& iface_;
};

// ---- life ----

Iface::Iface(const Device& device, const IfaceConfig& options, std::size_t user_headroom)
    : abi::BaseIface{},
      device_(device),
      device_address_{device.address, device.link_layer, wire_generation},
      estimates_(Estimates::of(device, options, is_software_device(device.name))),
      netdev_index_(if_nametoindex(device.netdev.c_str())),
      user_headroom_(user_headroom),
      max_events_(std::max(options.max_events, 1U)),
      yield_after_(options.yield_after),
      idle_sleep_(options.idle_sleep == UCS_CONFIG_ON ||
                  (options.idle_sleep == UCS_CONFIG_AUTO && is_software_device(device.name))),
      slot_release_{{release_slot}, this} {}

ucs_status_t Iface::open(uct_md_h md, uct_worker_h worker, const uct_iface_params_t* params,
                         const abi::IfaceConfigBase* base_config, uct_iface_h* iface) {
  const std::uint64_t mask = params->field_mask;
  constexpr std::uint64_t needed = UCT_IFACE_PARAM_FIELD_OPEN_MODE | UCT_IFACE_PARAM_FIELD_DEVICE;
  if ((mask & needed) != needed || (params->open_mode & UCT_IFACE_OPEN_MODE_DEVICE) == 0)
    return UCS_ERR_UNSUPPORTED;
  if (reinterpret_cast<const abi::PrivateWorker*>(worker)->thread_mode == UCS_THREAD_MODE_MULTI) {
    ucs_debug("bulk: a worker for several threads at once is not supported");
    return UCS_ERR_UNSUPPORTED;
  }
  const std::size_t user_headroom = (mask & UCT_IFACE_PARAM_FIELD_RX_HEADROOM) != 0 ? params->rx_headroom : 0;
  const std::uint32_t headroom = headroom_for(user_headroom, sizeof(SlotHead));
  if (headroom > max_headroom) {
    ucs_error("bulk: %zu bytes in front of messages are too many", user_headroom);
    return UCS_ERR_INVALID_PARAM;
  }
  const std::optional<Device> device = find_device(params->mode.device.dev_name);
  if (!device) return UCS_ERR_NO_DEVICE;

  const auto& config = *reinterpret_cast<const IfaceConfig*>(base_config);
  auto* self = new (std::nothrow) Iface(*device, config, user_headroom);
  if (self == nullptr) return UCS_ERR_NO_MEMORY;

  int init_count = 1;
  const ucs_status_t status =
      uct_base_iface_t_init(self, &uct_base_iface_t_class, &init_count, &iface_ops,
                            internal_ops_for_running_ucx(), md, worker, params, base_config);
  if (status != UCS_OK) {
    ucs_class_call_cleanup_chain(&uct_base_iface_t_class, static_cast<abi::BaseIface*>(self), init_count);
    delete self;
    return status;
  }

  Result<Channel> channel = Channel::bind(
      MemoryDomain::of(md).domain(), BindOptions{.device = device->name,
                                                 .rx_headroom = headroom,
                                                 .submission = static_cast<Submission>(config.submission),
                                                 .endpoint_slots = config.slots,
                                                 .max_rx_slots = config.max_rx_slots});
  if (!channel) {
    ucs_error("bulk: cannot open %s: %s", device->name.c_str(), channel.error().text().c_str());
    const ucs_status_t error = ucs_status_of(channel.error().code);
    self->close();
    return error;
  }
  self->channel_.emplace(*std::move(channel));
  self->device_address_.ip = self->channel_->address();
  self->device_address_.ip.set_token(0);
  *iface = self->uct_handle();
  return UCS_OK;
}

void Iface::close() {
  uct_base_iface_progress_disable(uct_handle(), UCT_PROGRESS_SEND | UCT_PROGRESS_RECV);
  IdleGroup::of_this_thread().forget(&super);
  channel_.reset();
  ucs_class_call_cleanup_chain(&uct_base_iface_t_class, static_cast<abi::BaseIface*>(this), -1);
  delete this;
}

// ---- endpoints ----

EpId Iface::enter(Ep& ep) {
  if (free_entries_.empty()) {
    free_entries_.push_back(static_cast<std::uint32_t>(eps_.size()));
    eps_.emplace_back();
  }
  const std::uint32_t index = free_entries_.back();
  free_entries_.pop_back();
  eps_[index].ep = &ep;
  return {index, eps_[index].generation};
}

void Iface::leave(Ep& ep) {
  EpEntry& entry = eps_[ep.id().index];
  entry.ep = nullptr;
  ++entry.generation;
  free_entries_.push_back(ep.id().index);
}

Ep* Iface::find(EpId id) {
  return id.index < eps_.size() && eps_[id.index].generation == id.generation ? eps_[id.index].ep : nullptr;
}

void Iface::note_put(Operation& put) {
  put.put_epoch = fence_epoch_;
  ++puts_;
}

void Iface::drop(Operation& operation) {
  if (operation.kind == OperationKind::put)
    --(operation.put_epoch == fence_epoch_ ? puts_ : puts_before_fence_);
  operations_.put_back(operation);
}

void Iface::fail_all(ucs_status_t why) {
  for (const EpEntry& entry : eps_) {
    if (entry.ep != nullptr) entry.ep->fail(why);
  }
}

// ---- progress ----

unsigned Iface::progress() {
  if (std::exchange(watched_, false)) IdleGroup::of_this_thread().unwatch(&super);
  Events events(*this);
  unsigned count = channel_->progress(events, max_events_);
  if (!ended_.empty()) count += complete_ended();
  if (!failed_.empty()) count += report_failures();
  if (dispatch_due_) count += dispatch_pending();
  if (operations_.in_use() == 0) all_ends_awaited_ = false;
  if (count == 0) {
    idle();
  } else {
    idle_polls_ = 0;
    if (idle_sleep_) IdleGroup::of_this_thread().found_something();
  }
  return count;
}

void Iface::idle() {
  if (idle_polls_ != UINT_MAX) ++idle_polls_;
  if (idle_sleep_ && (idle_polls_ >= idle_poll_limit || IdleGroup::of_this_thread().is_impatient()))
    IdleGroup::of_this_thread().found_nothing(
        {.id = &super,
         .channel = worker->thread_mode == UCS_THREAD_MODE_SINGLE ? &*channel_ : nullptr,
         .wake = all_ends_awaited_ ? Wake::any : Wake::loud,
         .called = worker->super.progress_q.fast_elems},
        *channel_);
  if (idle_polls_ >= yield_after_) sched_yield();
}

void Iface::end(const Done& done) {
  Operation& operation = Operation::of(done.user_data);
  const OperationKind kind = operation.kind;
  const EpId id = operation.ep;
  uct_completion_t* completion = operation.completion;
  const ucs_status_t status = ucs_status_of(done.status);

  Ep* ep = find(id);
  if (ep != nullptr) {
    ep->on_ended(kind);
    if (kind == OperationKind::get_bcopy && status == UCS_OK)
      operation.unpack(operation.unpack_arg, channel_->tx_data(done.slot), done.length);
  }
  drop(operation);
  resources_came();

  // An endpoint that was destroyed takes its completions with it.
  if (ep != nullptr && completion != nullptr) complete(*completion, status);
  ep = find(id);
  if (ep != nullptr) ep->settle(status, completion != nullptr);
}

SlotAction Iface::deliver(const Message& message) {
  if (message.id >= abi::am_id_count) {
    ucs_diag("bulk: a message with id %u, which no version of this transport sends, is dropped", message.id);
    return SlotAction::release;
  }
  const abi::AmHandler& handler = am[message.id];
  trace(UCT_AM_TRACE_TYPE_RECV, static_cast<std::uint8_t>(message.id), message.data, message.length);

  // A user that holds many slots has to copy: senders wait for the others.
  if (channel_->rx_free() < channel_->rx_total() / 2) {
    handler.cb(handler.arg, message.data, message.length, 0);
    return SlotAction::release;
  }

  SlotHead* head = slot_head(message.data - user_headroom_);
  head->slot = message.slot.value;
  head->release = &slot_release_.super;
  const ucs_status_t status = handler.cb(handler.arg, message.data, message.length, UCT_CB_PARAM_FLAG_DESC);
  return status == UCS_INPROGRESS ? SlotAction::keep : SlotAction::release;
}

void Iface::trace(uct_am_trace_type_t type, std::uint8_t id, const void* data, std::size_t length) {
  if (!ucs_log_is_enabled(UCS_LOG_LEVEL_TRACE_DATA)) return;
  char text[256] = "";
  uct_iface_dump_am(this, type, id, data, length, text, sizeof(text));
  ucs_trace_data("bulk %s: id %u, %zu bytes %s", type == UCT_AM_TRACE_TYPE_SEND ? "sends" : "receives", id,
                 length, text);
}

Iface::SlotHead* Iface::slot_head(std::byte* user_descriptor) {
  return reinterpret_cast<SlotHead*>(user_descriptor - sizeof(SlotHead));
}

// The user is through with a message it kept.
void Iface::release_slot(uct_recv_desc_t* self, void* descriptor) {
  Iface& iface = *reinterpret_cast<SlotRelease*>(self)->iface;
  const SlotHead* head = slot_head(static_cast<std::byte*>(descriptor));
  static_cast<void>(iface.channel_->rx_return(RxSlot{static_cast<std::uint32_t>(head->slot)}));
}

unsigned Iface::complete_ended() {
  const std::vector<Ended> round = std::exchange(ended_, {});
  for (const Ended& one : round) {
    if (find(one.ep) != nullptr) complete(*one.completion, one.status);
  }
  return static_cast<unsigned>(round.size());
}

unsigned Iface::report_failures() {
  unsigned count = 0;
  while (Ep* ep = failed_.pop_front()) {
    ++count;
    ep->set_reported();
    const ucs_status_t status = uct_iface_handle_ep_err(uct_handle(), ep->uct_handle(), ep->failure());
    if (status != UCS_OK) ucs_debug("bulk: nobody handled the failure: %s", ucs_status_string(status));
  }
  return count;
}

unsigned Iface::dispatch_pending() {
  dispatch_due_ = false;
  unsigned count = 0;
  List<Ep> round;
  round.take_all(waiting_);
  while (Ep* ep = round.pop_front()) {
    const EpId id = ep->id();
    if (ep->may_dispatch()) count += ep->dispatch_pending();
    if (find(id) == ep && ep->has_pending()) waiting_.push_back(ep->waiting_link);
    if (channel_->tx_available() == 0) break;  // the end of any operation goes on from here
  }
  round.take_all(waiting_);  // those that were not asked come first next time
  waiting_.take_all(round);
  return count;
}

ucs_status_t Iface::arm() {
  if (!failed_.empty() || !ended_.empty() || (dispatch_due_ && !waiting_.empty())) return UCS_ERR_BUSY;
  if (!channel_->arm(all_ends_awaited_ ? Wake::any : Wake::loud)) return UCS_ERR_BUSY;
  if (!watched_ && idle_sleep_ && worker->thread_mode == UCS_THREAD_MODE_SINGLE &&
      std::this_thread::get_id() == opener_) {
    watched_ = true;
    IdleGroup::of_this_thread().watch(&super, channel_->poll_fd());
  }
  return UCS_OK;
}

// ---- order ----

ucs_status_t Iface::flush() {
  // UCP takes OK to mean that nothing of the worker is left, and does not ask about what it has queued.
  if (operations_.in_use() == 0 && queued_ == 0 && ended_.empty()) return UCS_OK;
  await_all_ends();
  return UCS_INPROGRESS;
}

void Iface::fence() {
  puts_before_fence_ += std::exchange(puts_, 0);
  ++fence_epoch_;
}

}  // namespace bulk::uct
