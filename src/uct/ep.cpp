// SPDX-License-Identifier: BSD-3-Clause

#include "uct/ep.hpp"

#include <cerrno>
#include <cstring>
#include <new>

#include "uct/abi/imports.hpp"
#include "uct/iface.hpp"
#include "uct/log.hpp"
#include "uct/status.hpp"

namespace bulk::uct {
namespace {

constexpr unsigned dispatch_limit = 256;  // queued requests of one endpoint in one call of progress

// Whether a refused command is to blame, not the endpoint: the next one may be good.
constexpr bool is_fault_of_command(int error) {
  switch (error) {
    case EACCES:
    case EAGAIN:
    case EBUSY:
    case EFAULT:
    case EINVAL:
    case EKEYREJECTED:
    case EMSGSIZE:
    case ENOENT:
    case ENOMEM:
    case ENOSPC:
    case EOVERFLOW:
    case EPERM:
    case ERANGE:
      return true;
    default:
      return false;
  }
}

std::optional<std::size_t> length_if(bool given, std::size_t length) {
  return given ? std::optional(length) : std::nullopt;
}

}  // namespace

// ---- life ----

ucs_status_t Ep::create(const uct_ep_params_t* params, uct_ep_h* ep) {
  const std::uint64_t mask = params->field_mask;
  constexpr std::uint64_t needed =
      UCT_EP_PARAM_FIELD_IFACE | UCT_EP_PARAM_FIELD_DEV_ADDR | UCT_EP_PARAM_FIELD_IFACE_ADDR;
  if ((mask & needed) != needed) return UCS_ERR_UNSUPPORTED;  // only to an interface

  const auto device = DeviceAddress::unpack(
      params->dev_addr, length_if((mask & UCT_EP_PARAM_FIELD_DEV_ADDR_LENGTH) != 0, params->dev_addr_length));
  const auto token = unpack_token(params->iface_addr);
  if (!device || !token) return UCS_ERR_INVALID_ADDR;
  Address peer = device->ip;
  peer.set_token(*token);

  Iface& iface = Iface::of(params->iface);
  auto* self = new (std::nothrow) Ep(iface, peer, *device);
  if (self == nullptr) return UCS_ERR_NO_MEMORY;

  int init_count = 1;
  const ucs_status_t status = uct_base_ep_t_init(self, &uct_base_ep_t_class, &init_count, &iface);
  if (status != UCS_OK) {
    ucs_class_call_cleanup_chain(&uct_base_ep_t_class, self, init_count);
    delete self;
    return status;
  }

  self->id_ = iface.enter(*self);
  const Result<EpHandle> handle = iface.channel().ep_open(peer, self->id_.packed(), Opening::with_first);
  if (!handle) {
    ucs_debug("bulk: cannot open an endpoint to %s: %s", peer.text().c_str(), handle.error().text().c_str());
    self->destroy();
    return ucs_status_of(handle.error().code);
  }
  self->handle_ = *handle;
  *ep = self->uct_handle();
  return UCS_OK;
}

void Ep::destroy() {
  while (pending_.pop_front() != nullptr)  // the user should have purged
    iface_.note_queued(-1);
  drop_deferred();
  close_kernel_endpoint();
  iface_.leave(*this);  // what is under way finds nobody at its end
  ucs_class_call_cleanup_chain(&uct_base_ep_t_class, static_cast<abi::BaseEp*>(this), -1);
  delete this;
}

void Ep::close_kernel_endpoint() {
  if (!handle_) return;
  const Status status = iface_.channel().ep_close(handle_);
  if (!status.ok())
    ucs_debug("bulk: closing an endpoint to %s: %s", peer_.text().c_str(), status.text().c_str());
  handle_ = {};
}

void Ep::on_up() {
  if (state_ != State::connecting) return;
  state_ = State::up;
  resume();
}

void Ep::on_writable() {
  if (state_ == State::up) resume();
}

void Ep::resume() {
  blocked_ = false;
  iface_.resources_came();
  if (!deferred_) return;

  const Status status = iface_.channel().submit(deferred_->command);
  if (status.ok()) {
    deferred_.reset();
  } else if (status.again()) {
    blocked_ = true;
  } else {
    fail(ucs_status_of(status));  // the user was told that it went
  }
}

void Ep::on_down(ucs_status_t why) {
  if (state_ == State::closing || state_ == State::down) return;
  ucs_debug("bulk: endpoint to %s is down: %s", peer_.text().c_str(), ucs_status_string(why));
  state_ = State::closing;
  failure_ = why;
  report_ = true;
  drop_deferred();
  end_if_drained();
}

void Ep::fail(ucs_status_t why) {
  if (state_ == State::closing || state_ == State::down) return;
  ucs_debug("bulk: endpoint to %s fails: %s", peer_.text().c_str(), ucs_status_string(why));
  state_ = State::closing;
  failure_ = why;
  report_ = true;
  drop_deferred();
  close_kernel_endpoint();
  end_if_drained();
}

// What the user was told of that it went: messages and small PUTs, and flushes, which alone have a
// completion.
void Ep::drop_deferred() {
  if (!deferred_) return;
  Operation& operation = *deferred_->operation;
  deferred_.reset();
  --outstanding_;
  if (operation.kind == OperationKind::put) --puts_;
  if (operation.completion != nullptr) iface_.complete_later(id_, *operation.completion, failure_);
  iface_.drop(operation);
}

void Ep::end_if_drained() {
  if (state_ != State::closing) return;
  if (outstanding_ != 0) return iface_.await_all_ends();
  state_ = State::down;
  if (report_) iface_.report_failure(*this);
  if (uct_completion_t* completion = std::exchange(cancel_completion_, nullptr); completion != nullptr)
    complete(*completion, UCS_OK);
}

void Ep::on_ended(OperationKind kind) {
  --outstanding_;
  if (kind == OperationKind::put) --puts_;
}

void Ep::settle(ucs_status_t status, bool told) {
  if (status != UCS_OK && status != UCS_ERR_CANCELED && !told) fail(status);
  end_if_drained();
}

// ---- posting ----

bool Ep::waits_for_fence() const {
  // PUTs before an interface fence that are all this endpoint's need no waiting: the kernel orders them.
  return fence_epoch_ != iface_.fence_epoch() && iface_.puts_before_fence() != 0 && iface_.puts() != puts_;
}

Fence Ep::fence_for_next() const {
  const bool wanted = fence_next_ || fence_epoch_ != iface_.fence_epoch();
  return wanted && puts_ != 0 ? Fence::endpoint : Fence::none;
}

ucs_status_t Ep::post_status() const {
  // Until UCX has been told, it takes no error from a posting call: some of its handlers abort on one.
  if (failure_ != UCS_OK) return report_ && !reported_ ? UCS_ERR_NO_RESOURCE : failure_;
  return blocked_ || waits_for_fence() ? UCS_ERR_NO_RESOURCE : UCS_OK;
}

ucs_status_t Ep::user_post_status() const {
  const ucs_status_t status = post_status();
  return status == UCS_OK && !dispatching_ && !pending_.empty() ? UCS_ERR_NO_RESOURCE : status;
}

void Ep::accepted(Operation& operation) {
  fence_next_ = false;
  fence_epoch_ = iface_.fence_epoch();
  ++outstanding_;
  if (operation.kind == OperationKind::put) {
    ++puts_;
    iface_.note_put(operation);
  }
}

Ep::Prepared Ep::prepare(OperationKind kind) {
  Prepared prepared{user_post_status(), {}, nullptr};
  // A message may be packed before the endpoint is connected: it waits as a deferred one.
  if (prepared.status == UCS_ERR_NO_RESOURCE && state_ == State::connecting && !deferred_ &&
      (dispatching_ || pending_.empty()) && kind == OperationKind::message && !waits_for_fence())
    prepared.status = UCS_OK;
  if (prepared.status == UCS_OK) {
    prepared.slot = iface_.channel().tx_acquire();
    if (!prepared.slot) prepared.status = UCS_ERR_NO_RESOURCE;
  }
  if (prepared.status != UCS_OK) {
    iface_.await_all_ends();
    return prepared;
  }
  prepared.operation = &iface_.operations().take(kind, id_);
  return prepared;
}

void Ep::give_up(const Prepared& prepared) {
  static_cast<void>(iface_.channel().tx_release(prepared.slot));
  iface_.operations().put_back(*prepared.operation);
}

ucs_status_t Ep::submit(const Command& command, Operation& operation) {
  const Status status = iface_.channel().submit(command);
  if (status.ok()) {
    accepted(operation);
    return UCS_INPROGRESS;
  }
  blocked_ = blocked_ || status.again();
  iface_.operations().put_back(operation);
  iface_.await_all_ends();
  return refused(status);
}

ucs_status_t Ep::refused(Status status) {
  if (is_fault_of_command(status.error())) return ucs_status_of(status);
  // The event that says so may still be in the ring, and UCX wants to hear it from progress: see post_status.
  fail(ucs_status_of(status));
  return UCS_ERR_NO_RESOURCE;
}

// ---- queued requests ----

ucs_status_t Ep::pending_add(uct_pending_req_t* request) {
  // Would a retry get further? A failed endpoint's operations tell the failure.
  if (pending_.empty()) {
    const ucs_status_t status = post_status();
    if (status != UCS_ERR_NO_RESOURCE && (status != UCS_OK || iface_.channel().tx_available() != 0))
      return UCS_ERR_BUSY;
  }
  pending_.push_back(request);
  iface_.await_all_ends();
  iface_.note_queued(1);
  iface_.wait_for_resources(*this);
  return UCS_OK;
}

void Ep::pending_purge(uct_pending_purge_callback_t callback, void* arg) {
  waiting_link.unlink();
  while (uct_pending_req_t* request = pending_.pop_front()) {
    iface_.note_queued(-1);
    callback(request, arg);
  }
}

unsigned Ep::dispatch_pending() {
  Iface& iface = iface_;
  const EpId id = id_;
  unsigned ran = 0;

  dispatching_ = true;
  while (ran < dispatch_limit && post_status() == UCS_OK) {
    uct_pending_req_t* request = pending_.pop_front();
    if (request == nullptr) break;
    ++ran;
    iface.note_queued(-1);
    const ucs_status_t status = request->func(request);
    if (iface.find(id) == nullptr) return ran;
    if (status == UCS_OK) continue;
    pending_.push_front(request);
    iface.note_queued(1);
    if (status == UCS_INPROGRESS) continue;                     // it did a part
    if (status != UCS_ERR_NO_RESOURCE) iface.resources_came();  // nothing else would wake it
    break;
  }
  dispatching_ = false;
  if (ran == dispatch_limit) iface.resources_came();
  return ran;
}

// ---- order ----

ucs_status_t Ep::fence() {
  if (failure_ != UCS_OK) return failure_;
  fence_next_ = true;
  return UCS_OK;
}

ucs_status_t Ep::flush(unsigned flags, uct_completion_t* completion) {
  if ((flags & UCT_FLUSH_FLAG_CANCEL) != 0) {
    if (state_ == State::down) return UCS_OK;
    if (state_ != State::closing) {
      state_ = State::closing;
      failure_ = UCS_ERR_CANCELED;
      drop_deferred();
      close_kernel_endpoint();
    }
    if (outstanding_ == 0) {
      end_if_drained();
      return UCS_OK;
    }
    iface_.await_all_ends();
    if (cancel_completion_ != nullptr) return UCS_ERR_NO_RESOURCE;
    cancel_completion_ = completion;
    return UCS_INPROGRESS;
  }

  const ucs_status_t status = user_post_status();
  if (failure_ != UCS_OK) return failure_;
  if (!dispatching_ && !pending_.empty()) return UCS_ERR_NO_RESOURCE;
  if (outstanding_ == 0) return UCS_OK;
  if (completion == nullptr || status != UCS_OK) iface_.await_all_ends();
  if (completion == nullptr) return UCS_INPROGRESS;
  if (status != UCS_OK) return status;

  Operation& operation = iface_.operations().take(OperationKind::flush, id_);
  operation.completion = completion;
  const bool remote = (flags & UCT_FLUSH_FLAG_REMOTE) != 0;
  const Command command = Command::flush(handle_, operation.user_data(), remote);
  const Status submitted = iface_.channel().submit(command);
  if (submitted.ok() || submitted.again()) {
    // UCP's queued flush must not be told to wait: it asks again at once, may end by that, and stays queued.
    if (submitted.again()) {
      blocked_ = true;
      deferred_ = Deferred{command, &operation};
    }
    accepted(operation);
    return UCS_INPROGRESS;
  }
  iface_.operations().put_back(operation);
  const ucs_status_t refusal = refused(submitted);
  return failure_ != UCS_OK ? failure_ : refusal;
}

bool Ep::is_connected_to(const DeviceAddress* device, std::optional<Token> token) const {
  return (device == nullptr || device->ip == peer_device_.ip) && (!token || *token == peer_.token());
}

}  // namespace bulk::uct
