// SPDX-License-Identifier: BSD-3-Clause
//
// rds_bench: what channel_bench measures, over RDS: the kernel's other way to move bulk data by RDMA.
//
//   both:    modprobe rds_rdma        (--transport tcp: rds_tcp)
//   host 2:  rds_bench --listen
//   host 1:  rds_bench 10.77.0.2 --test put_bw --size 1M
//
// Messages: RDS takes a message when it has copied it and says nothing when it has arrived, but it refuses
// more while so many bytes as the socket's send buffer holds are not acknowledged. That is the window.
//
// RDMA: each end maps its memory with the message in which it tells the other end its key
// (RDS_CMSG_RDMA_MAP, RDS_CMSG_RDMA_DEST). An operation goes with an empty message (RDS_CMSG_RDMA_ARGS),
// which the other end takes and forgets, and ends with a notification (RDS_CMSG_RDMA_STATUS). Without that
// message (RDS_RDMA_SILENT) Linux 6.12 gives no notification.
//
// Buffers are kept out of huge pages: a mapping of one makes Linux 6.12 report a bad page when it ends.

#include <arpa/inet.h>
#include <fmt/format.h>
#include <linux/rds.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "memory.hpp"
#include "session.hpp"

namespace bench {
namespace {

constexpr std::size_t most_bytes = 1 << 20;  // of a message, and of a mapping

constexpr Test tests[] = {
    {.name = "send_bw", .operation = Operation::send},
    {.name = "send_lat", .size = 8, .operation = Operation::send, .latency = true},
    {.name = "put_bw", .operation = Operation::put},
    {.name = "get_bw", .operation = Operation::get},
};

std::string errno_text(std::string_view what) {
  return fmt::format("{}: {}", what, std::strerror(errno));
}

std::uint64_t address_of(const void* memory) {
  return reinterpret_cast<std::uintptr_t>(memory);
}

class Socket {
 public:
  explicit Socket(int fd) : fd_(fd) {}
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;
  ~Socket() {
    if (fd_ >= 0) close(fd_);
  }
  int fd() const { return fd_; }

 private:
  int fd_;
};

int open_socket() {
  const int fd = socket(AF_RDS, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0 && errno == EAFNOSUPPORT)
    throw Fatal("this host's kernel has no RDS: modprobe rds_rdma or rds_tcp");
  if (fd < 0) throw Fatal(errno_text("cannot make an RDS socket"));
  return fd;
}

// A message with one control message.
template <class Content>
class Outgoing {
 public:
  Outgoing(int type, const Content& content) {
    header_.msg_control = control_;
    header_.msg_controllen = sizeof(control_);
    cmsghdr* control = CMSG_FIRSTHDR(&header_);
    control->cmsg_level = SOL_RDS;
    control->cmsg_type = type;
    control->cmsg_len = CMSG_LEN(sizeof(content));
    std::memcpy(CMSG_DATA(control), &content, sizeof(content));
  }
  const msghdr& header() const { return header_; }

 private:
  alignas(cmsghdr) std::byte control_[CMSG_SPACE(sizeof(Content))] = {};
  msghdr header_{};
};

class RdsEngine final : public Engine {
 public:
  RdsEngine(const Job& job, const std::string& ip)
      : job_(job),
        memory_(job.size, job.fresh ? job.warmup + job.count : 1, true),
        target_(job.size, 1, true),
        socket_(open_socket()) {
    choose_transport();
    set_buffers();
    sockaddr_in address{};
    address.sin_family = AF_INET;
    inet_pton(AF_INET, ip.c_str(), &address.sin_addr);
    if (bind(socket_.fd(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0)
      throw Fatal(errno_text(
          fmt::format("cannot bind an RDS socket to {} with the transport {}", ip, job.transport)));
    socklen_t length = sizeof(address);
    if (getsockname(socket_.fd(), reinterpret_cast<sockaddr*>(&address), &length) != 0)
      throw Fatal(errno_text("the RDS socket has no address"));
    address_ = fmt::format("{} {}", ip, ntohs(address.sin_port));
  }

  std::string address() override { return address_; }

  // RDS connects with the first message, and maps memory for remote access only once that has been done.
  void connect(const std::string& peer, const Until& until) override {
    std::string ip;
    unsigned port = 0;
    std::istringstream in(peer);
    in >> ip >> port;
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<std::uint16_t>(port));
    if (!in || inet_pton(AF_INET, ip.c_str(), &address.sin_addr) != 1)
      throw Fatal("the other end's address is none: " + peer);
    if (::connect(socket_.fd(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0)
      throw Fatal(errno_text("cannot connect the RDS socket to " + ip));
    greet(msghdr{}, until);
    if (job_.operation == Operation::send) return;
    rds_get_mr_args map{};
    map.vec.addr = address_of(target_.data());
    map.vec.bytes = job_.size;
    map.cookie_addr = address_of(&own_key_);
    map.flags = RDS_RDMA_READWRITE;
    greet(Outgoing(RDS_CMSG_RDMA_MAP, map).header(), until);
    if (!remote_key_) throw Fatal("the other end has told no key");
  }

  unsigned post(std::uint64_t first, unsigned count) override {
    unsigned begun = 0;
    while (begun < count &&
           (job_.operation == Operation::send ? post_message(first + begun) : post_rdma(first + begun)))
      ++begun;
    return begun;
  }

  bool progress() override {
    alignas(cmsghdr) std::byte control[CMSG_SPACE(sizeof(rds_rdma_notify)) * 16];
    iovec part{.iov_base = target_.data(), .iov_len = job_.size};
    msghdr header{};
    header.msg_iov = &part;
    header.msg_iovlen = job_.operation == Operation::send ? 1 : 0;
    header.msg_control = control;
    header.msg_controllen = sizeof(control);
    const ssize_t got = recvmsg(socket_.fd(), &header, MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return false;
    if (got < 0) throw Fatal(errno_text("cannot receive"));
    bool notification = false;
    for (cmsghdr* at = CMSG_FIRSTHDR(&header); at != nullptr; at = CMSG_NXTHDR(&header, at))
      notification |= take(*at);
    if (notification) return true;
    ++arrived_;
    if (got == 0) return true;
    if (static_cast<std::size_t>(got) != job_.size || (header.msg_flags & MSG_TRUNC) != 0)
      throw Fatal(fmt::format("a message of {} bytes came instead of {}", got, job_.size));
    ++received_;
    return true;
  }

  bool arm() override { return true; }
  int fd() const override { return socket_.fd(); }
  short events() const override { return static_cast<short>(POLLIN | (full_ ? POLLOUT : 0)); }

 private:
  void choose_transport() {
    const bool tcp = job_.transport == "tcp";
    const int transport = tcp ? RDS_TRANS_TCP : RDS_TRANS_IB;
    if (setsockopt(socket_.fd(), SOL_RDS, SO_RDS_TRANSPORT, &transport, sizeof(transport)) == 0) return;
    if (errno == ENOPROTOOPT)
      throw Fatal(fmt::format("this host's RDS has no transport {}: modprobe {}", job_.transport,
                              tcp ? "rds_tcp" : "rds_rdma"));
    throw Fatal(errno_text("cannot choose the RDS transport " + job_.transport));
  }

  // The send buffer is the window (the kernel doubles what it is told, RDS halves what it finds); the receive
  // buffer is larger than all windows, since RDS stops the whole port otherwise.
  void set_buffers() {
    const auto bytes =
        static_cast<int>(std::min<std::uint64_t>(job_.size * std::uint64_t{job_.window}, 1 << 29));
    set_buffer(SO_SNDBUFFORCE, SO_SNDBUF, bytes);
    set_buffer(SO_RCVBUFFORCE, SO_RCVBUF, std::max(2 * bytes, 1 << 20));
  }
  void set_buffer(int privileged, int option, int bytes) {
    if (setsockopt(socket_.fd(), SOL_SOCKET, privileged, &bytes, sizeof(bytes)) == 0) return;
    if (setsockopt(socket_.fd(), SOL_SOCKET, option, &bytes, sizeof(bytes)) != 0)
      throw Fatal(errno_text("cannot set the buffers of the RDS socket"));
  }

  // Sends an empty message, and waits for the other end's.
  void greet(const msghdr& message, const Until& until) {
    const std::uint64_t before = greeted_++;
    until([&] { return try_send(message); });
    until([&] { return arrived_ > before; });
  }

  bool post_message(std::uint64_t number) {
    iovec part{.iov_base = memory_.of(number), .iov_len = job_.size};
    msghdr header{};
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    if (!try_send(header)) return false;
    ++done_;
    return true;
  }

  bool post_rdma(std::uint64_t number) {
    rds_iovec local{.addr = address_of(memory_.of(number)), .bytes = job_.size};
    rds_rdma_args args{};
    args.cookie = *remote_key_;
    args.remote_vec.bytes = job_.size;
    args.local_vec_addr = address_of(&local);
    args.nr_local = 1;
    args.flags = RDS_RDMA_NOTIFY_ME;
    if (job_.operation == Operation::put) args.flags |= RDS_RDMA_READWRITE;
    args.user_token = number;
    return try_send(Outgoing(RDS_CMSG_RDMA_ARGS, args).header());
  }

  // False: not now.
  bool try_send(const msghdr& message) {
    const ssize_t sent = sendmsg(socket_.fd(), &message, MSG_DONTWAIT);
    full_ = sent < 0;
    if (sent >= 0) return true;
    if (errno == EAGAIN || errno == ENOBUFS || errno == EINTR) return false;
    throw Fatal(errno_text("cannot send"));
  }

  // Whether it was the end of an operation.
  bool take(const cmsghdr& control) {
    if (control.cmsg_level != SOL_RDS) return false;
    if (control.cmsg_type == RDS_CMSG_RDMA_DEST) {
      rds_rdma_cookie_t key = 0;
      std::memcpy(&key, CMSG_DATA(&control), sizeof(key));
      remote_key_ = key;
    }
    if (control.cmsg_type != RDS_CMSG_RDMA_STATUS) return false;
    rds_rdma_notify end{};
    std::memcpy(&end, CMSG_DATA(&control), sizeof(end));
    if (end.status != RDS_RDMA_SUCCESS)
      throw Fatal(fmt::format("operation {} failed with RDS status {}", end.user_token, end.status));
    ++done_;
    return true;
  }

  const Job job_;
  Memory memory_;  // what this end sends, writes from and reads into
  Memory target_;  // what the other end writes and reads; where messages are received
  Socket socket_;
  std::string address_;
  std::uint64_t greeted_ = 0;
  std::uint64_t arrived_ = 0;  // messages, empty ones included
  rds_rdma_cookie_t own_key_ = 0;
  std::optional<rds_rdma_cookie_t> remote_key_;
  bool full_ = false;
};

std::string refusal(const Job& job) {
  if (job.transport == "tcp" && job.operation != Operation::send)
    return "RDS over TCP has no RDMA: send_bw and send_lat only";
  if (job.size > most_bytes) return fmt::format("RDS moves at most {} bytes at a time", most_bytes);
  return {};
}

}  // namespace
}  // namespace bench

int main(int argc, char** argv) {
  const bench::Tool tool{
      .name = "rds_bench",
      .description =
          "Measures RDS between two hosts (modprobe rds_rdma or rds_tcp on both).\n\n"
          "Bandwidth counts what has arrived: messages that the receiver has confirmed, RDMA operations "
          "that\n"
          "RDS has said are done. send_lat is half of a round trip of two messages. The window of messages\n"
          "is bytes that are not acknowledged; the kernel makes it 2304 at least.",
      .tests = bench::tests,
      .transports = true,
      .refusal = bench::refusal,
  };
  const auto make = [](const bench::Job& job, const std::string& ip) {
    return std::make_unique<bench::RdsEngine>(job, ip);
  };
  return bench::run(tool, make, argc, argv);
}
