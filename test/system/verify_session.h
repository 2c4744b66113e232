// SPDX-License-Identifier: BSD-3-Clause
//
// One end of ucp_verify: a UCP context, worker and endpoint to the other end, and the out-of-band connection
// beside it. Single-threaded; all callbacks run inside progress().
#pragma once

#include <ucp/api/ucp.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "verify_oob.h"

namespace verify {

enum class Role : std::uint8_t { client, server };

struct SessionOptions {
  std::chrono::seconds stall_limit{120};        // without an end of what is waited for, a test has failed
  std::chrono::milliseconds death_limit{2000};  // for the endpoint's error once the other end has gone
  bool peer_errors = false;                     // UCP_ERR_HANDLING_MODE_PEER
  bool wakeup = false;                          // sleep in poll() instead of busy polling
  bool atomics = false;
};

class Session {
 public:
  using AmHandler = std::function<ucs_status_t(std::string_view header, void* data, std::size_t length,
                                               const ucp_am_recv_param_t& param)>;

  Session(Role role, OutOfBand oob, const SessionOptions& options);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  [[nodiscard]] Role role() const { return role_; }
  [[nodiscard]] ucp_context_h context() const { return context_; }
  [[nodiscard]] ucp_worker_h worker() const { return worker_; }
  [[nodiscard]] ucp_ep_h endpoint() const { return endpoint_; }
  [[nodiscard]] OutOfBand& oob() { return oob_; }
  // The endpoint's error, once its error handler was called.
  [[nodiscard]] std::optional<ucs_status_t> endpoint_error() const { return endpoint_error_; }

  // All active messages arrive with this id.
  static constexpr unsigned am_id = 7;
  void on_active_message(AmHandler handler) { am_handler_ = std::move(handler); }

  // Returns how much was done.
  unsigned progress();
  // Progresses until `done`. Throws Fatal after the stall limit, and when the endpoint fails. When the other
  // end has gone and errors are handled, the endpoint's error is waited for first.
  void wait(std::string_view what, const std::function<bool()>& done);
  // The same with a limit of its own, not ended by errors. False if the time was not enough.
  bool wait_at_most(std::chrono::milliseconds limit, const std::function<bool()>& done);

  // Sends `mine` and returns what the other end sent: also a barrier.
  std::string exchange(std::string_view mine);
  // Lets all operations posted so far end on both sides.
  void flush();
  // Closes the endpoint; its pending operations end, with an error if `force`.
  void close_endpoint(bool force);
  // UCX still holds receives whose sender is dead: the worker cannot be destroyed in order.
  void note_stranded_receives() { stranded_ = true; }
  [[nodiscard]] bool has_stranded_receives() const { return stranded_; }

 private:
  static void endpoint_failed(void* arg, ucp_ep_h ep, ucs_status_t status);
  static ucs_status_t active_message(void* arg, const void* header, size_t header_length, void* data,
                                     size_t length, const ucp_am_recv_param_t* param);
  void idle();
  void finish_request(std::string_view what, ucs_status_ptr_t request);

  Role role_;
  OutOfBand oob_;
  SessionOptions options_;
  ucp_context_h context_ = nullptr;
  ucp_worker_h worker_ = nullptr;
  ucp_ep_h endpoint_ = nullptr;
  int event_fd_ = -1;
  unsigned flushes_ = 0;
  bool stranded_ = false;
  std::optional<ucs_status_t> endpoint_error_;
  AmHandler am_handler_;
};

// Throws Fatal unless `status` is UCS_OK.
void require(ucs_status_t status, std::string_view what);

}  // namespace verify
