// SPDX-License-Identifier: BSD-3-Clause

#include "ucp_objects.h"

#include <fmt/format.h>
#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <exception>
#include <utility>

namespace bench {

namespace {

// After a failure operations may still be in flight, and may never end: UCP's objects are then left to the
// end of the process, which is near.
bool failing() {
  return std::uncaught_exceptions() > 0;
}

}  // namespace

Context::Context(const Job& job, std::uint64_t features) {
  ucp_config_t* config = nullptr;
  require(ucp_config_read(nullptr, nullptr, &config), "ucp_config_read");
  ucp_params_t params{};
  params.field_mask = UCP_PARAM_FIELD_FEATURES | UCP_PARAM_FIELD_NAME;
  params.features = features | (job.sleep ? UCP_FEATURE_WAKEUP : 0);
  params.name = "ucp_bench";
  const ucs_status_t status = ucp_init(&params, config, &context_);
  ucp_config_release(config);
  require(status, "ucp_init");
}

Context::~Context() {
  if (!failing()) ucp_cleanup(context_);
}

Worker::Worker(Seat& seat, const Context& context) : seat_(seat) {
  ucp_worker_params_t params{};
  params.field_mask = UCP_WORKER_PARAM_FIELD_THREAD_MODE;
  params.thread_mode = UCS_THREAD_MODE_SINGLE;
  require(ucp_worker_create(context.get(), &params, &worker_), "ucp_worker_create");
  int event_fd = -1;
  if (seat.job().sleep) require(ucp_worker_get_efd(worker_, &event_fd), "ucp_worker_get_efd");
  seat_.attach(worker_, event_fd);
}

Worker::~Worker() {
  seat_.detach(worker_);
  if (!failing()) ucp_worker_destroy(worker_);
}

std::string Worker::address() const {
  ucp_address_t* address = nullptr;
  size_t length = 0;
  require(ucp_worker_get_address(worker_, &address, &length), "ucp_worker_get_address");
  std::string copy(reinterpret_cast<const char*>(address), length);
  ucp_worker_release_address(worker_, address);
  return copy;
}

ucp_ep_h Worker::connect(const std::string& address) {
  ucp_ep_params_t params{};
  params.field_mask = UCP_EP_PARAM_FIELD_REMOTE_ADDRESS;
  params.address = reinterpret_cast<const ucp_address_t*>(address.data());
  ucp_ep_h endpoint = nullptr;
  require(ucp_ep_create(worker_, &params, &endpoint), "ucp_ep_create");
  endpoints_.push_back(endpoint);
  return endpoint;
}

void Worker::on_message(unsigned id, ucp_am_recv_callback_t handler, void* arg) {
  ucp_am_handler_param_t param{};
  param.field_mask = UCP_AM_HANDLER_PARAM_FIELD_ID | UCP_AM_HANDLER_PARAM_FIELD_CB |
                     UCP_AM_HANDLER_PARAM_FIELD_ARG | UCP_AM_HANDLER_PARAM_FIELD_FLAGS;
  param.id = id;
  param.cb = handler;
  param.arg = arg;
  param.flags = UCP_AM_FLAG_WHOLE_MSG;
  require(ucp_worker_set_am_recv_handler(worker_, &param), "ucp_worker_set_am_recv_handler");
}

void Worker::close_endpoints() {
  const ucp_request_param_t param{};
  std::vector<ucs_status_ptr_t> requests;
  for (ucp_ep_h endpoint : std::exchange(endpoints_, {}))
    requests.push_back(ucp_ep_close_nbx(endpoint, &param));
  for (ucs_status_ptr_t request : requests)
    seat_.finish(request, "ucp_ep_close_nbx");
}

Memory::Memory(std::size_t size)
    : data_(mmap(nullptr, std::max<std::size_t>(size, 1), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
                 -1, 0)),
      size_(size) {
  if (data_ == MAP_FAILED) throw Fatal(fmt::format("{} bytes of memory: {}", size, std::strerror(errno)));
  std::memset(data_, 0, size);
}

Memory::Memory(Memory&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

Memory::~Memory() {
  if (data_ != nullptr) munmap(data_, std::max<std::size_t>(size_, 1));
}

Buffers::Buffers(const Job& job, std::size_t operations) {
  const std::size_t wanted = job.fresh ? operations : 1;
  memories_.reserve(wanted);
  while (memories_.size() < wanted)
    memories_.emplace_back(job.size);
}

Registration::Registration(const Context& context, const Memory& memory)
    : context_(context.get()), address_(memory.data()) {
  ucp_mem_map_params_t params{};
  params.field_mask = UCP_MEM_MAP_PARAM_FIELD_ADDRESS | UCP_MEM_MAP_PARAM_FIELD_LENGTH;
  params.address = memory.data();
  params.length = memory.size();
  require(ucp_mem_map(context_, &params, &handle_), "ucp_mem_map");
}

Registration::Registration(Registration&& other) noexcept
    : context_(other.context_), address_(other.address_), handle_(std::exchange(other.handle_, nullptr)) {}

Registration::~Registration() {
  if (handle_ != nullptr && !failing()) ucp_mem_unmap(context_, handle_);
}

std::string Registration::describe() const {
  void* packed = nullptr;
  size_t length = 0;
  require(ucp_rkey_pack(context_, handle_, &packed, &length), "ucp_rkey_pack");
  const auto address = reinterpret_cast<std::uint64_t>(address_);
  std::string description(reinterpret_cast<const char*>(&address), sizeof(address));
  description.append(static_cast<const char*>(packed), length);
  ucp_rkey_buffer_release(packed);
  return description;
}

Target::Target(ucp_ep_h endpoint, const std::string& description) : endpoint_(endpoint) {
  if (description.size() <= sizeof(address_)) throw Fatal("the other side sent no key");
  std::memcpy(&address_, description.data(), sizeof(address_));
  ucp_rkey_h key = nullptr;
  require(ucp_ep_rkey_unpack(endpoint, description.data() + sizeof(address_), &key), "ucp_ep_rkey_unpack");
  key_.reset(key);
}

void Flight::ended(void* request, ucs_status_t status, void* flight) {
  static_cast<Flight*>(flight)->end(request, status);
}

void Flight::received(void* request, ucs_status_t status, const ucp_tag_recv_info_t* info, void* flight) {
  auto* self = static_cast<Flight*>(flight);
  if (status == UCS_OK && info->length == 0) ++self->empty_;
  self->end(request, status);
}

void Flight::taken(void* request, ucs_status_t status, std::size_t, void* flight) {
  static_cast<Flight*>(flight)->end(request, status);
}

ucp_request_param_t Flight::param() {
  ucp_request_param_t param{};
  param.op_attr_mask = UCP_OP_ATTR_FIELD_CALLBACK | UCP_OP_ATTR_FIELD_USER_DATA;
  param.cb.send = ended;
  param.user_data = this;
  return param;
}

void Flight::add(ucs_status_ptr_t request) {
  ++posted_;
  if (UCS_PTR_IS_PTR(request)) return;
  ++ended_;
  if (error_ == UCS_OK) error_ = UCS_PTR_RAW_STATUS(request);
}

void Flight::end(void* request, ucs_status_t status) {
  ++ended_;
  if (error_ == UCS_OK) error_ = status;
  ucp_request_free(request);
}

void Flight::send(ucp_ep_h endpoint, const void* buffer, std::size_t size, ucp_tag_t tag) {
  const ucp_request_param_t param = this->param();
  add(ucp_tag_send_nbx(endpoint, buffer, size, tag, &param));
}

void Flight::receive(const Worker& worker, void* buffer, std::size_t size, ucp_tag_t tag) {
  ucp_request_param_t param = this->param();
  // What ends at once must call received() too: UCX 1.13 tells no length otherwise.
  param.op_attr_mask |= UCP_OP_ATTR_FLAG_NO_IMM_CMPL;
  param.cb.recv = received;
  add(ucp_tag_recv_nbx(worker.get(), buffer, size, tag, ~ucp_tag_t{0}, &param));
}

void Flight::send_message(ucp_ep_h endpoint, unsigned id, const void* buffer, std::size_t size,
                          std::uint32_t flags) {
  ucp_request_param_t param = this->param();
  param.op_attr_mask |= UCP_OP_ATTR_FIELD_FLAGS;
  param.flags = flags;
  add(ucp_am_send_nbx(endpoint, id, nullptr, 0, buffer, size, &param));
}

void Flight::take_message(const Worker& worker, void* descriptor, void* buffer, std::size_t size) {
  ucp_request_param_t param = this->param();
  param.cb.recv_am = taken;
  add(ucp_am_recv_data_nbx(worker.get(), descriptor, buffer, size, &param));
}

void Flight::put(const Target& target, const void* buffer, std::size_t size) {
  const ucp_request_param_t param = this->param();
  add(ucp_put_nbx(target.endpoint(), buffer, size, target.address(), target.key(), &param));
}

void Flight::get(const Target& target, void* buffer, std::size_t size) {
  const ucp_request_param_t param = this->param();
  add(ucp_get_nbx(target.endpoint(), buffer, size, target.address(), target.key(), &param));
}

Party::Party(Seat& seat, std::uint64_t features)
    : seat_(seat), context_(seat.job(), features | UCP_FEATURE_TAG), worker_(seat, context_) {
  const std::vector<std::string> others = seat.exchange(worker_.address());
  const unsigned own_count = seat.job().processes_of(seat.is_client() ? Role::client : Role::server);
  if (own_count == 1) {
    for (const std::string& address : others)
      endpoints_.push_back(worker_.connect(address));
    peer_address_ = others.front();
  } else {
    peer_address_ = others[others.size() == 1 ? 0 : seat.index()];
    endpoints_.push_back(worker_.connect(peer_address_));
  }
  std::uint64_t out = 0;
  std::vector<std::uint64_t> in(endpoints_.size());
  Flight hellos(2 * endpoints_.size());
  for (std::size_t i = 0; i < endpoints_.size(); ++i) {
    hellos.receive(worker_, &in[i], sizeof(in[i]), hello_tag);
    hellos.send(endpoints_[i], &out, sizeof(out), hello_tag);
  }
  seat.until([&] { return hellos.landed(); });
}

std::string Party::exchange_with_peer(std::string_view mine) {
  const std::vector<std::string> others = seat_.exchange(mine);
  return others[others.size() == 1 ? 0 : seat_.index()];
}

void Party::close() {
  worker_.close_endpoints();
  seat_.barrier();
}

}  // namespace bench
