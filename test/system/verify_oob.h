// SPDX-License-Identifier: BSD-3-Clause
//
// The out-of-band connection of the two ends of ucp_verify: framed messages over TCP, by which they exchange
// addresses and keys and wait for each other. Nothing that is tested goes over it.
#pragma once

#include <chrono>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>

namespace verify {

// The test cannot go on: set-up failed, or the other end is gone.
class Fatal : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

class OutOfBand {
 public:
  // Waits for one connection on the port of all addresses; prints nothing.
  static OutOfBand listen(const std::string& port);
  // Tries for at most `patience`, so that the server may be started after the client.
  static OutOfBand connect(const std::string& host, const std::string& port, std::chrono::seconds patience);

  // Takes over a connected stream socket.
  explicit OutOfBand(int fd);
  OutOfBand(OutOfBand&& other) noexcept;
  OutOfBand& operator=(OutOfBand&&) = delete;
  ~OutOfBand();

  [[nodiscard]] int fd() const { return fd_; }
  // True once the other end has closed its connection: it exited or was killed.
  [[nodiscard]] bool closed() const { return closed_; }

  // Does nothing if the other end is gone: closed() tells.
  void send(std::string_view message);
  // Waits for a message. Throws Fatal if the other end is gone.
  std::string receive();
  // A whole message if one has arrived. Never blocks. Nothing more arrives once closed() is true.
  std::optional<std::string> try_receive();

 private:
  int fd_;
  bool closed_ = false;
  std::string received_;
};

}  // namespace verify
