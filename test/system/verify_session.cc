// SPDX-License-Identifier: BSD-3-Clause

#include "verify_session.h"

#include <fmt/format.h>
#include <poll.h>
#include <sched.h>

#include <array>
#include <utility>

namespace verify {

using Clock = std::chrono::steady_clock;

void require(ucs_status_t status, std::string_view what) {
  if (status != UCS_OK) throw Fatal(fmt::format("{}: {}", what, ucs_status_string(status)));
}

Session::Session(Role role, OutOfBand oob, const SessionOptions& options)
    : role_(role), oob_(std::move(oob)), options_(options) {
  ucp_config_t* config = nullptr;
  require(ucp_config_read(nullptr, nullptr, &config), "ucp_config_read");
  ucp_params_t params{};
  params.field_mask = UCP_PARAM_FIELD_FEATURES | UCP_PARAM_FIELD_NAME;
  params.features = UCP_FEATURE_TAG | UCP_FEATURE_AM | UCP_FEATURE_RMA;
  if (options_.atomics) params.features |= UCP_FEATURE_AMO32 | UCP_FEATURE_AMO64;
  if (options_.wakeup) params.features |= UCP_FEATURE_WAKEUP;
  params.name = role == Role::client ? "ucp_verify client" : "ucp_verify server";
  const ucs_status_t status = ucp_init(&params, config, &context_);
  ucp_config_release(config);
  require(status, "ucp_init");

  ucp_worker_params_t worker_params{};
  worker_params.field_mask = UCP_WORKER_PARAM_FIELD_THREAD_MODE;
  worker_params.thread_mode = UCS_THREAD_MODE_SINGLE;
  require(ucp_worker_create(context_, &worker_params, &worker_), "ucp_worker_create");
  if (options_.wakeup) require(ucp_worker_get_efd(worker_, &event_fd_), "ucp_worker_get_efd");

  ucp_am_handler_param_t handler{};
  handler.field_mask = UCP_AM_HANDLER_PARAM_FIELD_ID | UCP_AM_HANDLER_PARAM_FIELD_CB |
                       UCP_AM_HANDLER_PARAM_FIELD_ARG | UCP_AM_HANDLER_PARAM_FIELD_FLAGS;
  handler.id = am_id;
  handler.cb = active_message;
  handler.arg = this;
  handler.flags = UCP_AM_FLAG_WHOLE_MSG;
  require(ucp_worker_set_am_recv_handler(worker_, &handler), "ucp_worker_set_am_recv_handler");

  ucp_address_t* own_address = nullptr;
  size_t own_length = 0;
  require(ucp_worker_get_address(worker_, &own_address, &own_length), "ucp_worker_get_address");
  const std::string own(reinterpret_cast<const char*>(own_address), own_length);
  ucp_worker_release_address(worker_, own_address);
  const std::string other = exchange(own);

  ucp_ep_params_t ep_params{};
  ep_params.field_mask = UCP_EP_PARAM_FIELD_REMOTE_ADDRESS | UCP_EP_PARAM_FIELD_ERR_HANDLER |
                         UCP_EP_PARAM_FIELD_ERR_HANDLING_MODE;
  ep_params.address = reinterpret_cast<const ucp_address_t*>(other.data());
  ep_params.err_handler.cb = endpoint_failed;
  ep_params.err_handler.arg = this;
  ep_params.err_mode = options_.peer_errors ? UCP_ERR_HANDLING_MODE_PEER : UCP_ERR_HANDLING_MODE_NONE;
  require(ucp_ep_create(worker_, &ep_params, &endpoint_), "ucp_ep_create");
}

Session::~Session() {
  if (worker_ != nullptr) ucp_worker_destroy(worker_);
  if (context_ != nullptr) ucp_cleanup(context_);
}

void Session::endpoint_failed(void* arg, ucp_ep_h, ucs_status_t status) {
  auto* self = static_cast<Session*>(arg);
  if (!self->endpoint_error_) self->endpoint_error_ = status;
}

ucs_status_t Session::active_message(void* arg, const void* header, size_t header_length, void* data,
                                     size_t length, const ucp_am_recv_param_t* param) {
  auto* self = static_cast<Session*>(arg);
  if (!self->am_handler_) return UCS_OK;
  return self->am_handler_({static_cast<const char*>(header), header_length}, data, length, *param);
}

unsigned Session::progress() {
  unsigned done = 0;
  while (const unsigned count = ucp_worker_progress(worker_)) {
    done += count;
    if (done > 1000) break;
  }
  return done;
}

// Nothing to do at the moment: give the processor away, and sleep if that was asked for.
void Session::idle() {
  if (!options_.wakeup) {
    sched_yield();
    return;
  }
  if (ucp_worker_arm(worker_) != UCS_OK) return;  // something arrived meanwhile
  std::array<pollfd, 2> fds{{{.fd = event_fd_, .events = POLLIN, .revents = 0},
                             {.fd = oob_.closed() ? -1 : oob_.fd(), .events = POLLIN, .revents = 0}}};
  poll(fds.data(), fds.size(), 1000);
}

bool Session::wait_at_most(std::chrono::milliseconds limit, const std::function<bool()>& done) {
  const auto give_up = Clock::now() + limit;
  while (!done()) {
    if (progress() == 0) {
      if (done()) break;
      if (Clock::now() > give_up) return false;
      idle();
    }
  }
  return true;
}

void Session::wait(std::string_view what, const std::function<bool()>& done) {
  const auto ended = [&] { return done() || endpoint_error_ || oob_.closed(); };
  if (!wait_at_most(options_.stall_limit, ended)) {
    throw Fatal(fmt::format("after {} s still waiting for {}", options_.stall_limit.count(), what));
  }
  if (done()) return;
  if (!endpoint_error_ && options_.peer_errors) {
    const auto gone = Clock::now();
    const bool told = wait_at_most(options_.death_limit, [&] { return endpoint_error_.has_value(); });
    const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - gone);
    throw Fatal(fmt::format("the other end has gone: {} after {} ms",
                            told ? ucs_status_string(*endpoint_error_) : "no endpoint error", took.count()));
  }
  if (endpoint_error_) {
    throw Fatal(
        fmt::format("endpoint failed while waiting for {}: {}", what, ucs_status_string(*endpoint_error_)));
  }
  throw Fatal(fmt::format("the other end has gone while this one was waiting for {}", what));
}

std::string Session::exchange(std::string_view mine) {
  oob_.send(mine);
  std::optional<std::string> other;
  wait("the other end", [&] {
    if (!other) other = oob_.try_receive();
    return other.has_value();
  });
  return *std::move(other);
}

void Session::finish_request(std::string_view what, ucs_status_ptr_t request) {
  if (!UCS_PTR_IS_PTR(request)) {
    require(UCS_PTR_STATUS(request), what);
    return;
  }
  ucs_status_t status = UCS_INPROGRESS;
  const auto done = [&] { return (status = ucp_request_check_status(request)) != UCS_INPROGRESS; };
  wait(what, done);
  ucp_request_free(request);
  require(status, what);
}

void Session::flush() {
  ucp_request_param_t param{};
  // Both kinds must do.
  if (++flushes_ % 2 == 0) {
    finish_request("ucp_worker_flush_nbx", ucp_worker_flush_nbx(worker_, &param));
  } else {
    finish_request("ucp_ep_flush_nbx", ucp_ep_flush_nbx(endpoint_, &param));
  }
}

void Session::close_endpoint(bool force) {
  if (endpoint_ == nullptr) return;
  ucp_request_param_t param{};
  if (force) {
    param.op_attr_mask = UCP_OP_ATTR_FIELD_FLAGS;
    param.flags = UCP_EP_CLOSE_FLAG_FORCE;
  }
  ucs_status_ptr_t request = ucp_ep_close_nbx(std::exchange(endpoint_, nullptr), &param);
  if (!UCS_PTR_IS_PTR(request)) return;
  const bool closed =
      wait_at_most(options_.stall_limit, [&] { return ucp_request_check_status(request) != UCS_INPROGRESS; });
  ucp_request_free(request);
  if (!closed) throw Fatal("the endpoint could not be closed");
}

}  // namespace verify
