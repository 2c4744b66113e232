// SPDX-License-Identifier: BSD-3-Clause
//
// Numbers of the wire are written down here from [MS-SMBD] and docs/protocol.md, not taken from the kernel's
// header: a test must not repeat what it tests.
#include "attacker.hpp"

#if __has_include(<rdma/rdma_cma.h>)

#include <arpa/inet.h>
#include <fcntl.h>
#include <infiniband/verbs.h>
#include <poll.h>
#include <rdma/rdma_cma.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <iostream>
#include <memory>
#include <optional>

#include "channel/domain.hpp"

namespace bulk::lab {
namespace {

using Bytes = std::vector<std::uint8_t>;
using namespace std::chrono_literals;

constexpr std::uint32_t magic = 0x4b4c5542;
constexpr std::uint32_t reject_retry = 1;

// Appends little-endian numbers.
class Writer {
 public:
  Writer& u8(std::uint64_t v) { return number(v, 1); }
  Writer& u16(std::uint64_t v) { return number(v, 2); }
  Writer& u32(std::uint64_t v) { return number(v, 4); }
  Writer& u64(std::uint64_t v) { return number(v, 8); }
  Writer& bytes(const Bytes& b) {
    bytes_.insert(bytes_.end(), b.begin(), b.end());
    return *this;
  }
  Writer& zeros(std::size_t n) {
    bytes_.resize(bytes_.size() + n);
    return *this;
  }
  // NOLINTNEXTLINE(google-explicit-constructor)
  operator Bytes() const { return bytes_; }

 private:
  Writer& number(std::uint64_t v, int size) {
    for (int i = 0; i < size; ++i)
      bytes_.push_back(static_cast<std::uint8_t>(v >> (8 * i)));
    return *this;
  }
  Bytes bytes_;
};

struct Negotiate {
  std::uint16_t min = 0x100, max = 0x100, credits = 16;
  std::uint32_t preferred_send = 8400, max_receive = 8400, max_fragmented = 1 << 20;
  Bytes encode() const {
    return Writer()
        .u16(min)
        .u16(max)
        .u16(0)
        .u16(credits)
        .u32(preferred_send)
        .u32(max_receive)
        .u32(max_fragmented);
  }
};

struct Data {
  std::uint32_t credits_requested = 16, credits_granted = 4, flags = 0, reserved = 0, remaining = 0,
                offset = 24;
  std::optional<std::uint32_t> length;  // default: the payload's
  Bytes payload;
  Bytes encode() const {
    return Writer()
        .u16(credits_requested)
        .u16(credits_granted)
        .u16(flags)
        .u16(reserved)
        .u32(remaining)
        .u32(offset)
        .u32(length.value_or(static_cast<std::uint32_t>(payload.size())))
        .u32(0)
        .bytes(payload);
  }
};

// A bulk message: header and body.
Bytes bulk(std::uint8_t type, const Bytes& body, std::uint8_t flags = 0, std::uint16_t reserved = 0,
           std::optional<std::uint32_t> length = {}) {
  return Writer()
      .u8(type)
      .u8(flags)
      .u16(reserved)
      .u32(length.value_or(static_cast<std::uint32_t>(8 + body.size())))
      .bytes(body);
}

Bytes hello(std::uint16_t min = 1, std::uint16_t max = 1) {
  return bulk(1, Writer().u16(min).u16(max).u32(0).u64(0x1234567890abcdef).u32(8256).u32(0));
}

Bytes pdu(const Bytes& message) {
  Data data;
  data.payload = message;
  return data.encode();
}

Bytes private_data(std::uint8_t kind, std::uint64_t token = 0) {
  return Writer().u32(magic).u8(kind).u8(0).u16(0).u64(0x1234567890abcdef).u64(token);
}

struct Attack {
  std::string name;
  bool reserved_port = true;
  Bytes private_bytes;
  std::optional<Bytes> negotiation;  // none: nothing is sent at all
  std::vector<Bytes> pdus;           // sent after a good negotiation
  std::vector<Bytes> data_pdus;      // sent on a data lane of root's, which is asked for by `pdus`
  bool rdma_write = false;
  bool rdma_read = false;
};

std::vector<Attack> attacks() {
  std::vector<Attack> all;
  const Bytes good = Negotiate{}.encode();
  const auto add = [&](std::string name) -> Attack& {
    Attack a;
    a.name = std::move(name);
    a.negotiation = good;
    return all.emplace_back(std::move(a));
  };
  const auto with_pdus = [&](std::string name, std::vector<Bytes> pdus) {
    add(std::move(name)).pdus = std::move(pdus);
  };
  const auto with_data = [&](std::string name, const std::function<void(Data&)>& spoil) {
    Data data;
    data.payload = hello();
    spoil(data);
    with_pdus(std::move(name), {data.encode()});
  };
  const auto with_negotiation = [&](std::string name, const std::function<void(Negotiate&)>& spoil) {
    Negotiate n;
    spoil(n);
    add(std::move(name)).negotiation = n.encode();
  };
  const Bytes first = hello();
  const Bytes hello_body(first.begin() + 8, first.end());
  const auto after_hello = [&](std::string name, Bytes message) {
    with_pdus(std::move(name), {pdu(hello()), pdu(message)});
  };

  add("unprivileged_port").reserved_port = false;
  add("data_lane_without_token").private_bytes = private_data(2);
  add("data_lane_with_wrong_token").private_bytes = private_data(2, 0xdeadbeefcafe);
  add("unknown_kind_of_lane").private_bytes = private_data(77);
  add("unprivileged_data_lane").private_bytes = private_data(2, 1);
  all.back().reserved_port = false;

  add("negotiation_too_short").negotiation->resize(10);
  add("negotiation_too_long").negotiation->resize(200);
  add("negotiation_empty").negotiation->clear();
  with_negotiation("negotiation_version_2", [](auto& n) { n.min = n.max = 0x200; });
  with_negotiation("negotiation_version_0", [](auto& n) { n.min = n.max = 0; });
  with_negotiation("negotiation_versions_swapped", [](auto& n) { n.min = 0x200, n.max = 0x100; });
  with_negotiation("negotiation_no_credits", [](auto& n) { n.credits = 0; });
  with_negotiation("negotiation_tiny_receive_size", [](auto& n) { n.max_receive = 10; });
  with_negotiation("negotiation_tiny_fragmented_size", [](auto& n) { n.max_fragmented = 0; });
  add("data_instead_of_negotiation").negotiation = pdu(hello());

  with_pdus("pdu_empty", {{}});
  with_pdus("pdu_of_19_bytes", {Bytes(19, 0)});
  with_pdus("pdu_of_ones", {Bytes(100, 0xff)});
  with_data("data_offset_0", [](auto& d) { d.offset = 0; });
  with_data("data_offset_not_aligned", [](auto& d) { d.offset = 23; });
  with_data("data_offset_behind_the_end", [](auto& d) { d.offset = 64; });
  with_data("data_offset_huge", [](auto& d) { d.offset = 0xfffffff8; });
  with_data("data_length_too_long", [](auto& d) { d.length = 33; });
  with_data("data_length_huge", [](auto& d) { d.length = 0xffffffff; });
  with_data("data_offset_and_length_wrap", [](auto& d) { d.offset = 0xfffffff8, d.length = 40; });
  with_data("fragment", [](auto& d) { d.remaining = 100; });
  with_data("no_credits_requested", [](auto& d) { d.credits_requested = 0; });
  with_data("smb2_instead_of_bulk", [](auto& d) {
    d.payload = Bytes{0xfe, 'S', 'M', 'B', 64, 0};
    d.payload.resize(64);
  });
  with_data("pdu_too_large", [](auto& d) { d.payload.resize(20000); });

  with_pdus("hello_too_short", {pdu(bulk(1, Bytes(8, 0)))});
  with_pdus("hello_with_wrong_length", {pdu(bulk(1, Bytes(24, 1), 0, 0, 100))});
  with_pdus("hello_with_length_0", {pdu(bulk(1, Bytes(24, 1), 0, 0, 0))});
  with_pdus("hello_with_flags", {pdu(bulk(1, hello_body, 1))});
  with_pdus("hello_with_reserved", {pdu(bulk(1, hello_body, 0, 1))});
  with_pdus("hello_of_version_0", {pdu(hello(0, 0))});
  with_pdus("hello_of_version_100", {pdu(hello(100, 200))});
  after_hello("hello_twice", hello());
  with_pdus("header_cut_off", {pdu(Bytes{1, 0, 0, 0})});
  with_pdus("open_before_hello", {pdu(bulk(4, Writer().u32(1).u32(0).u64(1)))});
  after_hello("type_0", bulk(0, Bytes(16, 0)));
  after_hello("type_99", bulk(99, Bytes(16, 0)));
  after_hello("type_255", bulk(255, Bytes(16, 0)));
  after_hello("message_on_control_lane", bulk(32, Writer().u32(1).u16(0).u16(0).u64(1).u64(0).zeros(100)));
  after_hello("ack_on_control_lane", bulk(33, Writer().u64(1)));
  after_hello("open_too_short", bulk(4, Writer().u32(1)));
  after_hello("open_too_long", bulk(4, Bytes(100, 1)));
  const auto open_with = [](std::size_t bytes, std::uint16_t reserved = 0, std::uint8_t flags = 1) {
    return bulk(4, Writer().u32(1).u32(0).u64(1).u16(7).u16(reserved).u32(0).zeros(bytes), flags);
  };
  after_hello("open_with_a_message_but_no_flag", open_with(10, 0, 0));
  after_hello("open_with_a_message_of_unknown_flags", open_with(10, 0, 3));
  after_hello("open_with_a_message_of_513_bytes", open_with(513));
  after_hello("open_with_a_message_of_reserved_bits", open_with(10, 1));
  after_hello("open_with_a_message_cut_in_its_header", bulk(4, Writer().u32(1).u32(0).u64(1).u32(0), 1));
  after_hello("open_of_nothing_with_a_message", open_with(512));
  after_hello("opened_with_a_message_out_of_nothing",
              bulk(5, Writer().u32(0x7fffffff).u32(1).u32(100).u32(0), 1));
  after_hello("key_resolved_too_short", bulk(10, Bytes(10, 0)));
  after_hello("key_resolved_with_huge_count", bulk(10, Writer()
                                                           .u32(1)
                                                           .u32(0)
                                                           .zeros(24)
                                                           .u64(4096)
                                                           .u64(4096)
                                                           .u64(4096)
                                                           .u32(3)
                                                           .u32(0xffffffff)
                                                           .u32(0)
                                                           .u32(0xffffffff)));
  after_hello(
      "key_resolved_with_count_beyond_the_pdu",
      bulk(10,
           Writer().u32(0).u32(0).zeros(24).u64(4096).u64(4096).u64(4096).u32(3).u32(1000).u32(0).u32(1000)));
  after_hello("opened_out_of_nothing", bulk(5, Writer().u32(0x7fffffff).u32(1).u32(100).u32(0)));
  after_hello("window_of_nothing", bulk(8, Writer().u32(0x7fffffff).u32(100)));
  after_hello("closed_of_nothing", bulk(7, Writer().u32(0x7fffffff).u32(0).u64(0)));
  after_hello("revoke_of_nothing", bulk(12, Writer().u32(0x7fffffff).u32(0)));
  after_hello("revoked_of_nothing", bulk(13, Writer().u32(0x7fffffff).u32(0)));
  after_hello("key_refused_of_nothing", bulk(11, Writer().u32(0x7fffffff).u32(4)));
  after_hello("lane_offer_out_of_nothing", bulk(3, Writer().u32(0).u32(0).u64(1)));
  after_hello("key_resolve_of_a_guess", bulk(9, Writer().u32(1).u32(0).u32(1).u32(1).zeros(16)));
  const auto on_data_lane = [&](std::string name, std::vector<Bytes> messages) {
    Attack& attack = add(std::move(name));
    attack.pdus = {pdu(hello()), pdu(bulk(2, Writer().u32(0).u32(0)))};
    for (const Bytes& message : messages)
      attack.data_pdus.push_back(pdu(message));
  };
  const Bytes ack = bulk(33, Writer().u64(0));
  const auto message = [](std::optional<std::uint32_t> length = {}, std::uint16_t reserved = 0) {
    return bulk(32, Writer().u32(0x7fffffff).u16(1).u16(reserved).u64(1).u64(0).zeros(8), 0, 0, length);
  };
  const auto joined = [](Bytes first, const Bytes& second) {
    first.insert(first.end(), second.begin(), second.end());
    return first;
  };
  on_data_lane("message_for_nobody", {message()});
  on_data_lane("message_with_reserved_bits", {message({}, 1)});
  on_data_lane("message_of_no_length", {message(0)});
  on_data_lane("message_shorter_than_a_header", {message(7)});
  on_data_lane("message_shorter_than_its_own_header", {message(31)});
  on_data_lane("message_longer_than_the_pdu", {message(41)});
  on_data_lane("message_of_four_gigabytes", {message(0xffffffff)});
  on_data_lane("message_cut_in_its_header", {Bytes(4, 1)});
  on_data_lane("ack_of_what_was_not_sent", {bulk(33, Writer().u64(1))});
  on_data_lane("ack_sharing_a_pdu", {joined(ack, ack)});
  on_data_lane("ack_and_message_sharing_a_pdu", {joined(ack, message())});
  on_data_lane("hello_on_a_data_lane", {hello()});
  with_pdus("more_pdus_than_credits", std::vector<Bytes>(600, pdu(hello())));

  add("rdma_write_into_the_kernel").rdma_write = true;
  add("rdma_read_from_the_kernel").rdma_read = true;
  return all;
}

// ---- the connection ----

class Connection {
 public:
  ~Connection() {
    if (id_ != nullptr && id_->qp != nullptr) rdma_destroy_qp(id_);
    for (ibv_mr* mr : mrs_)
      ibv_dereg_mr(mr);
    if (cq_ != nullptr) ibv_destroy_cq(cq_);
    if (pd_ != nullptr) ibv_dealloc_pd(pd_);
    if (id_ != nullptr) rdma_destroy_id(id_);
    if (channel_ != nullptr) rdma_destroy_event_channel(channel_);
  }

  // Empty: connected. Else what to print.
  std::string connect(const Attack& attack, const sockaddr_in& from, const sockaddr_in& to) {
    channel_ = rdma_create_event_channel();
    if (channel_ == nullptr || rdma_create_id(channel_, &id_, nullptr, RDMA_PS_TCP) != 0)
      return error("rdma_create_id");
    ::fcntl(channel_->fd, F_SETFL, O_NONBLOCK);
    if (const std::string bad = bind(attack, from); !bad.empty()) return bad;
    sockaddr_in target = to;
    if (rdma_resolve_addr(id_, nullptr, reinterpret_cast<sockaddr*>(&target), 5000) != 0)
      return error("resolve_addr");
    if (wait_event(10s) != RDMA_CM_EVENT_ADDR_RESOLVED) return error("address not resolved");
    if (rdma_resolve_route(id_, 5000) != 0) return error("resolve_route");
    if (wait_event(10s) != RDMA_CM_EVENT_ROUTE_RESOLVED) return error("route not resolved");

    pd_ = ibv_alloc_pd(id_->verbs);
    cq_ = ibv_create_cq(id_->verbs, 2048, nullptr, nullptr, 0);
    ibv_qp_init_attr qp{};
    qp.send_cq = qp.recv_cq = cq_;
    qp.qp_type = IBV_QPT_RC;
    qp.cap = {1000, 64, 1, 1, 0};
    if (pd_ == nullptr || cq_ == nullptr || rdma_create_qp(id_, pd_, &qp) != 0) return error("queue pair");
    for (int i = 0; i < 32; ++i)
      post_receive();

    rdma_conn_param parameters{};
    parameters.private_data = attack.private_bytes.data();
    parameters.private_data_len = static_cast<std::uint8_t>(attack.private_bytes.size());
    parameters.initiator_depth = parameters.responder_resources = 1;
    parameters.retry_count = 7;
    parameters.rnr_retry_count = 3;
    if (rdma_connect(id_, &parameters) != 0) return error("rdma_connect");
    switch (wait_event(20s)) {
      case RDMA_CM_EVENT_ESTABLISHED:
        return "";
      case RDMA_CM_EVENT_REJECTED:
        return "rejected " + std::to_string(reason_);
      case RDMA_CM_EVENT_CONNECT_ERROR:
      case RDMA_CM_EVENT_UNREACHABLE:
      case RDMA_CM_EVENT_DISCONNECTED:
        return "disconnected";
      default:
        return error("no answer to the connection request");
    }
  }

  bool send(const Bytes& bytes, ibv_wr_opcode opcode = IBV_WR_SEND) {
    Bytes& copy = *kept_.emplace_back(std::make_unique<Bytes>(bytes));
    copy.reserve(1);
    ibv_mr* mr = ibv_reg_mr(pd_, copy.data(), copy.empty() ? 1 : copy.size(), IBV_ACCESS_LOCAL_WRITE);
    if (mr == nullptr) return false;
    mrs_.push_back(mr);
    ibv_sge sge{reinterpret_cast<std::uintptr_t>(copy.data()), static_cast<std::uint32_t>(copy.size()),
                mr->lkey};
    ibv_send_wr wr{};
    wr.sg_list = &sge;
    wr.num_sge = copy.empty() ? 0 : 1;
    wr.opcode = opcode;
    wr.send_flags = IBV_SEND_SIGNALED;
    if (opcode != IBV_WR_SEND) {
      wr.wr.rdma.remote_addr = 0xffff888000000000;
      wr.wr.rdma.rkey = 0x1234;
    }
    ibv_send_wr* bad = nullptr;
    return ibv_post_send(id_->qp, &wr, &bad) == 0;
  }

  // The next message of the kernel; nothing when the connection has ended, or none has come.
  std::optional<Bytes> receive(std::chrono::seconds limit) {
    const auto end = std::chrono::steady_clock::now() + limit;
    while (!ended_ && std::chrono::steady_clock::now() < end) {
      look();
      if (!received_.empty()) {
        Bytes first = received_.front();
        received_.erase(received_.begin());
        return first;
      }
      ::usleep(1000);
    }
    return std::nullopt;
  }

  bool ended_within(std::chrono::seconds limit) {
    const auto end = std::chrono::steady_clock::now() + limit;
    while (!ended_ && std::chrono::steady_clock::now() < end) {
      look();
      ::usleep(1000);
    }
    return ended_;
  }

 private:
  static std::string error(const std::string& what) { return "error " + what + ": " + std::strerror(errno); }

  std::string bind(const Attack& attack, sockaddr_in from) {
    if (!attack.reserved_port) {
      from.sin_port = htons(static_cast<std::uint16_t>(20000 + ::getpid() % 10000));
      for (int i = 0; i < 50; ++i) {
        if (rdma_bind_addr(id_, reinterpret_cast<sockaddr*>(&from)) == 0) return "";
        ::usleep(100000);
      }
      return error("bind to an ordinary port");
    }
    // An address that was just added takes a moment to reach the device.
    for (int i = 0; i < 50; ++i) {
      for (std::uint16_t port = 1023; port > 600; --port) {
        from.sin_port = htons(port);
        if (rdma_bind_addr(id_, reinterpret_cast<sockaddr*>(&from)) == 0) return "";
        if (errno != EADDRINUSE) break;
      }
      ::usleep(100000);
    }
    return error("bind to a reserved port");
  }

  void post_receive() {
    Bytes& buffer = *kept_.emplace_back(std::make_unique<Bytes>(16384));
    ibv_mr* mr = ibv_reg_mr(pd_, buffer.data(), buffer.size(), IBV_ACCESS_LOCAL_WRITE);
    if (mr == nullptr) return;
    mrs_.push_back(mr);
    ibv_sge sge{reinterpret_cast<std::uintptr_t>(buffer.data()), static_cast<std::uint32_t>(buffer.size()),
                mr->lkey};
    ibv_recv_wr wr{};
    wr.wr_id = reinterpret_cast<std::uintptr_t>(&buffer);
    wr.sg_list = &sge;
    wr.num_sge = 1;
    ibv_recv_wr* bad = nullptr;
    ibv_post_recv(id_->qp, &wr, &bad);
  }

  void look() {
    ibv_wc wc[16];
    const int n = ibv_poll_cq(cq_, 16, wc);
    for (int i = 0; i < n; ++i) {
      if (wc[i].status != IBV_WC_SUCCESS) {
        ended_ = true;
      } else if (wc[i].opcode == IBV_WC_RECV) {
        const Bytes& buffer = *reinterpret_cast<Bytes*>(wc[i].wr_id);
        received_.emplace_back(buffer.begin(), buffer.begin() + wc[i].byte_len);
      }
    }
    rdma_cm_event* event = nullptr;
    if (rdma_get_cm_event(channel_, &event) == 0) {
      ended_ =
          ended_ || event->event == RDMA_CM_EVENT_DISCONNECTED || event->event == RDMA_CM_EVENT_TIMEWAIT_EXIT;
      rdma_ack_cm_event(event);
    }
  }

  // The next event, or -1 if none comes.
  int wait_event(std::chrono::milliseconds limit) {
    pollfd file{channel_->fd, POLLIN, 0};
    rdma_cm_event* event = nullptr;
    if (::poll(&file, 1, static_cast<int>(limit.count())) <= 0 || rdma_get_cm_event(channel_, &event) != 0)
      return -1;
    const int type = event->event;
    const auto* data = static_cast<const std::uint8_t*>(event->param.conn.private_data);
    if (type == RDMA_CM_EVENT_REJECTED && data != nullptr && event->param.conn.private_data_len >= 8) {
      std::uint32_t words[2];
      std::memcpy(words, data, sizeof(words));
      if (words[0] == magic) reason_ = words[1];
    }
    rdma_ack_cm_event(event);
    return type;
  }

  rdma_event_channel* channel_ = nullptr;
  rdma_cm_id* id_ = nullptr;
  ibv_pd* pd_ = nullptr;
  ibv_cq* cq_ = nullptr;
  std::vector<ibv_mr*> mrs_;
  std::vector<std::unique_ptr<Bytes>> kept_;
  std::vector<Bytes> received_;
  std::uint32_t reason_ = 0;
  bool ended_ = false;
};

// Empty: connected and negotiated. Else what to print.
std::string begin(Connection& connection, const Attack& attack, const sockaddr_in& from,
                  const sockaddr_in& to) {
  if (std::string outcome = connection.connect(attack, from, to); !outcome.empty()) return outcome;
  if (!connection.send(*attack.negotiation)) return "error cannot send";
  const auto answer = connection.receive(10s);
  if (!answer) return connection.ended_within(1s) ? "disconnected" : "connected";
  if (answer->size() != 32) return "error an answer of " + std::to_string(answer->size()) + " bytes";
  std::uint32_t status = 0;
  std::memcpy(&status, answer->data() + 12, sizeof(status));
  if (status != 0) {
    char text[32];
    std::snprintf(text, sizeof(text), "refused %08x", status);
    return text;
  }
  return "";
}

// The token of the next LANE_OFFER.
std::optional<std::uint64_t> offered(Connection& control) {
  while (const auto bytes = control.receive(20s)) {
    if (bytes->size() != 24 + 24 || (*bytes)[24] != 3) continue;
    std::uint64_t token = 0;
    std::memcpy(&token, bytes->data() + 24 + 16, sizeof(token));
    return token;
  }
  return std::nullopt;
}

std::string run_data_lane(Connection& control, const Attack& attack, const sockaddr_in& from,
                          const sockaddr_in& to) {
  const auto token = offered(control);
  if (!token) return "error no data lane was offered";
  Attack lane = attack;
  lane.private_bytes = private_data(2, *token);
  Connection connection;
  if (const std::string outcome = begin(connection, lane, from, to); !outcome.empty())
    return "error the data lane: " + outcome;
  for (const Bytes& bytes : attack.data_pdus) {
    if (!connection.send(bytes)) break;
  }
  return connection.ended_within(3s) ? "disconnected" : "connected";
}

std::string run(const Attack& attack, const sockaddr_in& from, const sockaddr_in& to) {
  Connection connection;
  if (std::string outcome = begin(connection, attack, from, to); !outcome.empty()) return outcome;
  for (const Bytes& bytes : attack.pdus) {
    if (!connection.send(bytes)) break;
  }
  if (!attack.data_pdus.empty()) return run_data_lane(connection, attack, from, to);
  if (attack.rdma_write) connection.send(Bytes(64, 0xee), IBV_WR_RDMA_WRITE);
  if (attack.rdma_read) connection.send(Bytes(64, 0), IBV_WR_RDMA_READ);
  if (connection.ended_within(3s)) return "disconnected";
  return "connected";
}

}  // namespace

std::vector<std::string> attack_names() {
  std::vector<std::string> names;
  for (const Attack& a : attacks())
    names.push_back(a.name);
  return names;
}

// The attacker comes from an address of his own: from the host's, the link that its kernel has to the target
// would have every attack turned away before it begins.
class OwnAddress {
 public:
  explicit OwnAddress(const Device& device) : netdev_(device.netdev) {
    std::memcpy(&address_, device.address.ip().data(), sizeof(address_));
    address_.s_addr = htonl(ntohl(address_.s_addr) + 100);
    present_ = change("add");
  }
  ~OwnAddress() {
    if (present_) change("del");
  }
  OwnAddress(const OwnAddress&) = delete;
  OwnAddress& operator=(const OwnAddress&) = delete;

  bool present() const { return present_; }
  in_addr address() const { return address_; }

 private:
  bool change(const char* what) const {
    std::array<char, INET_ADDRSTRLEN> text{};
    inet_ntop(AF_INET, &address_, text.data(), text.size());
    const std::string command =
        std::string("ip address ") + what + " " + text.data() + "/24 dev " + netdev_ + " 2>/dev/null";
    return std::system(command.c_str()) == 0;
  }

  std::string netdev_;
  in_addr address_{};
  bool present_ = false;
};

int attacker_main() {
  const auto info = query();
  if (!info) {
    std::cout << "error " << info.error().text() << std::endl;
    return 1;
  }
  const OwnAddress own(info->devices[0]);
  if (!own.present()) {
    std::cout << "error cannot add an address to " << info->devices[0].netdev << std::endl;
    return 1;
  }
  std::cout << "ready" << std::endl;
  sockaddr_in from{};
  from.sin_family = AF_INET;
  from.sin_addr = own.address();
  std::string name;
  std::string address;
  int port = 0;
  while (std::cin >> name >> address >> port) {
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(static_cast<std::uint16_t>(port));
    inet_pton(AF_INET, address.c_str(), &to.sin_addr);
    std::string outcome = "error no such attack";
    for (const Attack& attack : attacks()) {
      if (attack.name != name) continue;
      // The link that the last attack was taken for may be there still.
      for (int i = 0; i < 50; ++i) {
        outcome = run(attack, from, to);
        if (outcome != "rejected " + std::to_string(reject_retry)) break;
        ::usleep(200000);
      }
    }
    std::cout << outcome << std::endl;
  }
  return 0;
}

}  // namespace bulk::lab

#else  // librdmacm's headers are missing: every attack fails to be made

#include <iostream>

namespace bulk::lab {

std::vector<std::string> attack_names() {
  return {"none"};
}

int attacker_main() {
  std::cout << "error built without librdmacm (Debian: apt-get install librdmacm-dev)" << std::endl;
  return 1;
}

}  // namespace bulk::lab

#endif
