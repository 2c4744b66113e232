// SPDX-License-Identifier: BSD-3-Clause

#include "verify_oob.h"

#include <fmt/format.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <memory>
#include <thread>
#include <utility>

namespace verify {

namespace {

std::string error_text(std::string_view what) {
  return fmt::format("{}: {}", what, std::strerror(errno));
}

using AddressList = std::unique_ptr<addrinfo, decltype(&freeaddrinfo)>;

AddressList resolve(const char* host, const std::string& port) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = host == nullptr ? AI_PASSIVE : 0;
  addrinfo* list = nullptr;
  if (const int error = getaddrinfo(host, port.c_str(), &hints, &list); error != 0) {
    throw Fatal(fmt::format("{} port {}: {}", host == nullptr ? "*" : host, port, gai_strerror(error)));
  }
  return {list, freeaddrinfo};
}

}  // namespace

OutOfBand::OutOfBand(int fd) : fd_(fd) {
  const int one = 1;
  setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
}

OutOfBand::OutOfBand(OutOfBand&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), closed_(other.closed_), received_(std::move(other.received_)) {}

OutOfBand::~OutOfBand() {
  if (fd_ >= 0) close(fd_);
}

OutOfBand OutOfBand::listen(const std::string& port) {
  const AddressList list = resolve(nullptr, port);
  const int listener = socket(list->ai_family, list->ai_socktype | SOCK_CLOEXEC, list->ai_protocol);
  if (listener < 0) throw Fatal(error_text("socket"));
  const int one = 1;
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
  if (bind(listener, list->ai_addr, list->ai_addrlen) != 0 || ::listen(listener, 1) != 0) {
    const std::string why = error_text("port " + port);
    close(listener);
    throw Fatal(why);
  }
  const int fd = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
  const std::string why = fd < 0 ? error_text("accept") : "";
  close(listener);
  if (fd < 0) throw Fatal(why);
  return OutOfBand(fd);
}

OutOfBand OutOfBand::connect(const std::string& host, const std::string& port,
                             std::chrono::seconds patience) {
  const auto give_up = std::chrono::steady_clock::now() + patience;
  for (;;) {
    const AddressList list = resolve(host.c_str(), port);
    for (const addrinfo* at = list.get(); at != nullptr; at = at->ai_next) {
      const int fd = socket(at->ai_family, at->ai_socktype | SOCK_CLOEXEC, at->ai_protocol);
      if (fd >= 0 && ::connect(fd, at->ai_addr, at->ai_addrlen) == 0) return OutOfBand(fd);
      const int error = errno;
      if (fd >= 0) close(fd);
      errno = error;
    }
    if (std::chrono::steady_clock::now() > give_up)
      throw Fatal(error_text(fmt::format("{} port {}", host, port)));
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
}

void OutOfBand::send(std::string_view message) {
  const auto length = static_cast<std::uint32_t>(message.size());
  std::string frame(sizeof(length), '\0');
  std::memcpy(frame.data(), &length, sizeof(length));
  frame += message;
  for (std::string_view rest = frame; !rest.empty();) {
    const ssize_t sent = ::send(fd_, rest.data(), rest.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0) {
      closed_ = true;
      return;
    }
    rest.remove_prefix(static_cast<std::size_t>(sent));
  }
}

std::string OutOfBand::receive() {
  for (;;) {
    if (auto message = try_receive()) return *std::move(message);
    if (closed_) throw Fatal("the other end has gone");
    pollfd fd{.fd = fd_, .events = POLLIN, .revents = 0};
    poll(&fd, 1, -1);
  }
}

std::optional<std::string> OutOfBand::try_receive() {
  std::array<char, 4096> part{};
  while (!closed_) {
    const ssize_t got = recv(fd_, part.data(), part.size(), MSG_DONTWAIT);
    if (got > 0) {
      received_.append(part.data(), static_cast<std::size_t>(got));
    } else if (got < 0 && errno == EINTR) {
      continue;
    } else if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
      break;
    } else {
      closed_ = true;
    }
  }
  std::uint32_t length = 0;
  if (received_.size() < sizeof(length)) return std::nullopt;
  std::memcpy(&length, received_.data(), sizeof(length));
  if (received_.size() < sizeof(length) + length) return std::nullopt;
  std::string message = received_.substr(sizeof(length), length);
  received_.erase(0, sizeof(length) + length);
  return message;
}

}  // namespace verify
