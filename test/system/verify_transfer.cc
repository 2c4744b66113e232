// SPDX-License-Identifier: BSD-3-Clause
//
// A chunk goes through these steps on both ends: prepare memory, expose what PUT and GET of the other end
// need (exchanged out of band), post, wait for every request and arrival, flush, meet the other end, check.
//
// A Half lives until the end of its chunk. If a chunk is left by an exception (the endpoint failed), its
// Chunk first closes the endpoint by force and waits until UCX has let go of the buffers: each request that
// was begun on the endpoint must end exactly once, whatever happens.

#include "verify_transfer.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <utility>

namespace verify {

namespace {

constexpr std::uint64_t tag_base = 0xb01d'face'0000'0000U;
constexpr std::uint64_t tag_full_mask = ~std::uint64_t{0};

// This end's half of a transfer.
struct Half {
  Plan plan{};
  bool source = false;
  std::unique_ptr<Memory> memory;
  std::string header;
  ucp_mem_h handle = nullptr;  // of an exposed or registered buffer
  ucp_rkey_h rkey = nullptr;
  std::uint64_t remote_address = 0;
  void* held_data = nullptr;  // an active message that was kept, or whose rendezvous is to be started
  std::size_t held_length = 0;
  bool held_rendezvous = false;
  unsigned endings = 0;  // must be one in the end
  bool posted = false;
  void* receive = nullptr;        // request of a tag receive, until it ends
  bool rendezvous_begun = false;  // of an active message
  std::string problem;

  [[nodiscard]] bool acts() const {
    switch (plan.kind) {
      case Kind::put:
        return source;
      case Kind::get:
        return !source;
      default:
        return true;
    }
  }
  [[nodiscard]] bool exposed() const { return !acts(); }
  [[nodiscard]] bool arrives() const { return plan.kind == Kind::am && !source; }
  [[nodiscard]] bool ended() const { return endings > 0 || exposed(); }
  [[nodiscard]] bool must_truncate() const { return !source && plan.room < plan.size; }

  void complain(std::string text) {
    if (problem.empty()) problem = std::move(text);
  }

  void end(ucs_status_t status) {
    ++endings;
    if (endings > 1) complain("completed twice");
    const ucs_status_t wanted = must_truncate() ? UCS_ERR_MESSAGE_TRUNCATED : UCS_OK;
    if (status != wanted) {
      complain(fmt::format("status: expected '{}', got '{}'", ucs_status_string(wanted),
                           ucs_status_string(status)));
    }
  }

  void end_receive(ucs_status_t status, std::size_t length) {
    end(status);
    if (status == UCS_OK && length != plan.size) {
      complain(fmt::format("received length: expected {}, got {}", plan.size, length));
    }
  }
};

std::string_view name_of(Kind kind) {
  constexpr std::array<std::string_view, 5> names{"tag", "synchronous tag", "am", "put", "get"};
  return names.at(static_cast<std::size_t>(kind));
}

void on_sent(void* request, ucs_status_t status, void* user_data) {
  static_cast<Half*>(user_data)->end(status);
  ucp_request_free(request);
}

void on_tag_received(void* request, ucs_status_t status, const ucp_tag_recv_info_t* info, void* user_data) {
  auto* half = static_cast<Half*>(user_data);
  half->receive = nullptr;
  half->end_receive(status, status == UCS_OK ? info->length : 0);
  if (status == UCS_OK && info->sender_tag != (tag_base | half->plan.index)) {
    half->complain(fmt::format("sender's tag: expected {:#x}, got {:#x}", tag_base | half->plan.index,
                               info->sender_tag));
  }
  ucp_request_free(request);
}

void on_am_received(void* request, ucs_status_t status, size_t length, void* user_data) {
  static_cast<Half*>(user_data)->end_receive(status, length);
  ucp_request_free(request);
}

// For calls whose callback is not called when they end at once.
void ended_at_once(Half& half, ucs_status_ptr_t request) {
  if (!UCS_PTR_IS_PTR(request)) half.end(UCS_PTR_STATUS(request));
}

std::string header_of(const Plan& plan) {
  std::string header(sizeof(plan.index) + plan.header_length, '\0');
  std::memcpy(header.data(), &plan.index, sizeof(plan.index));
  write_pattern(std::as_writable_bytes(std::span(header).subspan(sizeof(plan.index))), ~plan.seed, 0);
  return header;
}

class Chunk {
 public:
  Chunk(Session& session, const std::vector<Plan>& plans) : session_(session) {
    for (const Plan& plan : plans)
      halves_.push_back(make_half(plan));
    session_.on_active_message([this](auto header, auto* data, auto length, const auto& param) {
      return arrived(header, data, length, param);
    });
  }

  Chunk(const Chunk&) = delete;
  Chunk& operator=(const Chunk&) = delete;

  ~Chunk() {
    if (std::uncaught_exceptions() > 0) abandon();
    session_.on_active_message(nullptr);
    unmap();
  }

  void run(Order order) {
    expose();
    if (order == Order::any) {
      for (const auto& half : halves_)
        post(*half);
    } else {
      post_unexpected();
    }
    session_.wait(fmt::format("{} transfers, first {}", halves_.size(), first_open()), [this] {
      take_held();
      return std::all_of(halves_.begin(), halves_.end(), [](const auto& h) { return h->ended(); });
    });
    session_.flush();
    session_.exchange("transferred");
  }

  std::vector<std::string> check() {
    std::vector<std::string> problems = strays_;
    for (const auto& half : halves_) {
      check(*half);
      if (!half->problem.empty()) problems.push_back(describe(*half) + ": " + half->problem);
    }
    return problems;
  }

 private:
  std::unique_ptr<Half> make_half(const Plan& plan) {
    auto half = std::make_unique<Half>();
    half->plan = plan;
    half->source = plan.destination != session_.role();
    if (half->source) {
      half->memory = Memory::make(plan.source_layout, plan.size, plan.source_misalignment, plan.seed);
      half->memory->fill(plan.seed);
    } else {
      half->memory =
          Memory::make(plan.destination_layout, plan.room, plan.destination_misalignment, ~plan.seed);
    }
    half->header = header_of(plan);
    const Layout own = half->source ? plan.source_layout : plan.destination_layout;
    if (half->exposed() || (plan.registered && own == Layout::contiguous)) map(*half);
    return half;
  }

  void map(Half& half) {
    ucp_mem_map_params_t params{};
    params.field_mask = UCP_MEM_MAP_PARAM_FIELD_ADDRESS | UCP_MEM_MAP_PARAM_FIELD_LENGTH;
    params.address = half.memory->buffer();
    params.length = std::max<std::size_t>(half.memory->size(), 1);
    require(ucp_mem_map(session_.context(), &params, &half.handle), "ucp_mem_map");
  }

  void unmap() {
    for (const auto& half : halves_) {
      if (half->rkey != nullptr) ucp_rkey_destroy(std::exchange(half->rkey, nullptr));
      if (half->handle != nullptr) ucp_mem_unmap(session_.context(), std::exchange(half->handle, nullptr));
    }
  }

  // Hands addresses and keys of exposed buffers to the other end, and takes its.
  void expose() {
    std::string mine;
    const auto append = [&](const void* data, std::size_t length) {
      mine.append(static_cast<const char*>(data), length);
    };
    for (const auto& half : halves_) {
      if (!half->exposed()) continue;
      void* key = nullptr;
      size_t key_length = 0;
      require(ucp_rkey_pack(session_.context(), half->handle, &key, &key_length), "ucp_rkey_pack");
      const auto address = reinterpret_cast<std::uint64_t>(half->memory->buffer());
      const auto length = static_cast<std::uint32_t>(key_length);
      append(&address, sizeof(address));
      append(&length, sizeof(length));
      append(key, key_length);
      ucp_rkey_buffer_release(key);
    }
    const std::string theirs = session_.exchange(mine);
    std::size_t at = 0;
    const auto take = [&](void* data, std::size_t length) {
      if (at + length > theirs.size()) throw Fatal("the other end exposed less memory than the plan says");
      std::memcpy(data, theirs.data() + at, length);
      at += length;
    };
    for (const auto& half : halves_) {
      if (half->plan.kind != Kind::put && half->plan.kind != Kind::get) continue;
      if (!half->acts()) continue;
      std::uint32_t length = 0;
      take(&half->remote_address, sizeof(half->remote_address));
      take(&length, sizeof(length));
      std::string key(length, '\0');
      take(key.data(), length);
      require(ucp_ep_rkey_unpack(session_.endpoint(), key.data(), &half->rkey), "ucp_ep_rkey_unpack");
    }
  }

  void post_unexpected() {
    for (const auto& half : halves_) {
      if (half->source) post(*half);
    }
    session_.exchange("sent");
    for (int i = 0; i < 1000; ++i)
      session_.progress();
    for (const auto& half : halves_) {
      if (half->source && half->plan.kind == Kind::tag_sync && half->endings != 0) {
        half->complain("the synchronous send ended before its receive was posted");
      }
    }
    session_.exchange("receive");
    for (auto it = halves_.rbegin(); it != halves_.rend(); ++it) {
      if (!(*it)->source) post(**it);
    }
  }

  void post(Half& half) {
    half.posted = true;
    ucp_request_param_t param{};
    param.op_attr_mask =
        UCP_OP_ATTR_FIELD_CALLBACK | UCP_OP_ATTR_FIELD_USER_DATA | UCP_OP_ATTR_FIELD_DATATYPE;
    param.datatype = half.memory->datatype();
    param.user_data = &half;
    param.cb.send = on_sent;
    if (half.handle != nullptr) {
      param.op_attr_mask |= UCP_OP_ATTR_FIELD_MEMH;
      param.memh = half.handle;
    }
    void* buffer = half.memory->buffer();
    const std::size_t count = half.memory->count();
    const ucp_tag_t tag = tag_base | half.plan.index;
    ucp_ep_h ep = session_.endpoint();

    switch (half.plan.kind) {
      case Kind::tag:
      case Kind::tag_sync:
        if (!half.source) {
          // The callback is always called, so that length and tag are always looked at.
          param.op_attr_mask |= UCP_OP_ATTR_FLAG_NO_IMM_CMPL;
          param.cb.recv = on_tag_received;
          ucs_status_ptr_t request =
              ucp_tag_recv_nbx(session_.worker(), buffer, count, tag, tag_full_mask, &param);
          if (UCS_PTR_IS_ERR(request)) half.end(UCS_PTR_STATUS(request));
          if (UCS_PTR_IS_PTR(request) && half.endings == 0) half.receive = request;
        } else if (half.plan.kind == Kind::tag) {
          ended_at_once(half, ucp_tag_send_nbx(ep, buffer, count, tag, &param));
        } else {
          ended_at_once(half, ucp_tag_send_sync_nbx(ep, buffer, count, tag, &param));
        }
        break;
      case Kind::am:
        if (half.source) {
          param.op_attr_mask |= UCP_OP_ATTR_FIELD_FLAGS;
          param.flags = half.plan.am_flags;
          ended_at_once(half, ucp_am_send_nbx(ep, Session::am_id, half.header.data(), half.header.size(),
                                              buffer, count, &param));
        }
        break;
      case Kind::put:
        if (half.acts())
          ended_at_once(half, ucp_put_nbx(ep, buffer, count, half.remote_address, half.rkey, &param));
        break;
      case Kind::get:
        if (half.acts())
          ended_at_once(half, ucp_get_nbx(ep, buffer, count, half.remote_address, half.rkey, &param));
        break;
    }
  }

  ucs_status_t arrived(std::string_view header, void* data, std::size_t length,
                       const ucp_am_recv_param_t& param) {
    std::uint32_t index = 0;
    if (header.size() >= sizeof(index)) std::memcpy(&index, header.data(), sizeof(index));
    const auto it = std::find_if(halves_.begin(), halves_.end(),
                                 [&](const auto& h) { return h->arrives() && h->plan.index == index; });
    if (it == halves_.end()) {
      strays_.push_back(
          fmt::format("an active message nobody sent arrived: index {}, {} bytes", index, length));
      return UCS_OK;
    }
    Half& half = **it;
    if (header != half.header) half.complain("the active message's header is damaged");
    if (length != half.plan.size) {
      half.complain(fmt::format("length: expected {}, got {}", half.plan.size, length));
    }
    const bool rendezvous = (param.recv_attr & UCP_AM_RECV_ATTR_FLAG_RNDV) != 0;
    if ((half.plan.am_flags & UCP_AM_SEND_FLAG_RNDV) != 0 && !rendezvous) {
      half.complain("sent as rendezvous, arrived eagerly");
    }
    if (rendezvous || (half.plan.held && (param.recv_attr & UCP_AM_RECV_ATTR_FLAG_DATA) != 0)) {
      half.held_data = data;
      half.held_length = length;
      half.held_rendezvous = rendezvous;
      if (rendezvous && !half.plan.held) take_held(half);
      return UCS_INPROGRESS;
    }
    half.memory->write(0, {static_cast<const std::byte*>(data), std::min(length, half.plan.size)});
    half.end_receive(UCS_OK, length);
    return UCS_OK;
  }

  void take_held() {
    for (const auto& half : halves_) {
      if (half->held_data != nullptr) take_held(*half);
    }
  }

  // A rendezvous is received by UCP, held data copied here and given back. ucp_am_recv_data_nbx would do for
  // both, but UCX before 1.23 frees a message of several fragments wrongly there (openucx/ucx pull request
  // 11468).
  void take_held(Half& half) {
    void* data = std::exchange(half.held_data, nullptr);
    if (!half.held_rendezvous) {
      half.memory->write(0,
                         {static_cast<const std::byte*>(data), std::min(half.held_length, half.plan.size)});
      ucp_am_data_release(session_.worker(), data);
      half.end_receive(UCS_OK, half.held_length);
      return;
    }
    ucp_request_param_t param{};
    param.op_attr_mask = UCP_OP_ATTR_FIELD_CALLBACK | UCP_OP_ATTR_FIELD_USER_DATA |
                         UCP_OP_ATTR_FIELD_DATATYPE | UCP_OP_ATTR_FLAG_NO_IMM_CMPL;
    param.datatype = half.memory->datatype();
    param.cb.recv_am = on_am_received;
    param.user_data = &half;
    half.rendezvous_begun = true;
    ucs_status_ptr_t request =
        ucp_am_recv_data_nbx(session_.worker(), data, half.memory->buffer(), half.memory->count(), &param);
    if (!UCS_PTR_IS_PTR(request)) half.end_receive(UCS_PTR_STATUS(request), half.plan.size);
  }

  void check(Half& half) {
    if (half.acts() && half.endings != 1) half.complain(fmt::format("completed {} times", half.endings));
    if (!half.problem.empty()) return;
    if (half.must_truncate()) {
      // What a truncated receive leaves inside the buffer is UCX's affair; outside it nothing may change.
      if (auto bad = half.memory->check_guards()) half.complain(*bad);
      return;
    }
    if (auto bad = half.memory->check(half.plan.seed, half.plan.size)) {
      half.complain((half.source ? "the sent memory changed: " : "content: ") + *bad);
    }
  }

  static std::string describe(const Half& half) {
    const Plan& plan = half.plan;
    return fmt::format("{} {} of {} bytes, alignment {}, {}", name_of(plan.kind), plan.index, plan.size,
                       half.source ? plan.source_misalignment : plan.destination_misalignment,
                       half.source ? "source" : "destination");
  }

  std::string first_open() const {
    const auto it = std::find_if(halves_.begin(), halves_.end(), [](const auto& h) { return !h->ended(); });
    return it == halves_.end() ? "none" : describe(**it);
  }

  std::string all_open() const {
    std::vector<std::string> open;
    for (const auto& half : halves_) {
      if (!half->ended()) open.push_back(describe(*half) + (half->handle != nullptr ? ", registered" : ""));
    }
    return fmt::format("{}", fmt::join(open, "; "));
  }

  // The endpoint failed: wait until UCX has ended every request, so that the memory may go.
  void abandon() noexcept {
    try {
      session_.close_endpoint(true);
      for (const auto& half : halves_) {
        // What has not been matched belongs to no endpoint: nobody else ends it.
        if (half->receive != nullptr) ucp_request_cancel(session_.worker(), half->receive);
        if (half->held_data != nullptr && !half->held_rendezvous) {
          ucp_am_data_release(session_.worker(), half->held_data);
        }
        const bool never_began = half->arrives() && !half->rendezvous_begun;
        if (!half->posted || never_began) half->endings = 1;
      }
      // UCX ends whatever this end began on the endpoint. A receive that was matched, but whose sender died
      // before it sent all, it may leave pending for ever: it belongs to no endpoint.
      const auto end = [&](const auto& concerned) {
        return session_.wait_at_most(std::chrono::seconds(10), [&] {
          return std::all_of(halves_.begin(), halves_.end(),
                             [&](const auto& h) { return h->ended() || !concerned(*h); });
        });
      };
      const auto begun_here = [](const Half& half) { return half.source || half.plan.kind == Kind::get; };
      // A rendezvous that fails ends when nobody holds its part of UCX's registration cache any more, and
      // what was mapped by hand next to it may be the same part: UCX would wait for us.
      bool all = end([&](const Half& half) { return begun_here(half) && half.handle != nullptr; });
      if (all) unmap();
      all = all && end(begun_here);
      if (!all) {
        fmt::print("not ok requests-end - after the endpoint failed, never ended: {}\n", all_open());
        std::fflush(nullptr);  // UCX's log, too
        std::_Exit(1);         // UCX may still write into the memory
      }
      if (first_open() != "none") {
        session_.note_stranded_receives();
        for (auto& half : halves_)
          stranded().push_back(std::move(half));
        halves_.clear();
      }
    } catch (const std::exception& error) {
      fmt::print("not ok requests-end - {}\n", error.what());
      std::fflush(stdout);
      std::_Exit(1);
    }
  }

  // Kept until the process ends.
  static std::vector<std::unique_ptr<Half>>& stranded() {
    static auto* all = new std::vector<std::unique_ptr<Half>>;
    return *all;
  }

  Session& session_;
  std::vector<std::unique_ptr<Half>> halves_;
  std::vector<std::string> strays_;
};

}  // namespace

std::vector<std::string> run_chunk(Session& session, const std::vector<Plan>& plans, Order order) {
  Chunk chunk(session, plans);
  chunk.run(order);
  return chunk.check();
}

}  // namespace verify
