// SPDX-License-Identifier: BSD-3-Clause
#include <fmt/format.h>
#include <sys/prctl.h>

#include <chrono>
#include <fstream>
#include <limits>
#include <sstream>
#include <thread>

#include "curves.hpp"

namespace bench::curves {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::microseconds glance{20};

// KiB of this process's memory that are pinned.
std::uint64_t pinned() {
  std::ifstream file("/proc/self/status");
  std::uint64_t kib = 0;
  for (std::string word; file >> word;) {
    if (word == "VmPin:" && file >> kib) return kib;
    file.ignore(std::numeric_limits<std::streamsize>::max(), '\n');
  }
  throw Fatal("/proc/self/status does not tell what is pinned");
}

}  // namespace

Client::Client(Control& control_connection, const std::string& its_device)
    : control(control_connection),
      device(its_device),
      domain(value_of(bulk::Domain::open())),
      main(domain, {.device = device, .endpoint_slots = 128}, control),
      target(domain, {.device = device}, control),
      memory_(window, 1, true),
      region_(value_of(domain.register_memory(memory_.data(), window, bulk::Access::remote_read_write))),
      narrow_(domain, small(device), control) {
  prctl(PR_SET_TIMERSLACK, 1);  // whoever sleeps for a moment sleeps no longer
  control.send(main.address().text() + " " + narrow_.address().text());
  std::istringstream in(control.receive());
  std::string address;
  std::string key;
  in >> address >> server_memory.address >> key;
  server_address = address_from(address);
  server_memory.key = key_from_hex(key);
  server = main.connect(server_address);
  if (control.receive() != "up") throw Fatal("the server is no channel_curves of this version");
  std::string why;
  pool = bind_there(pool_size, why);
  if (!why.empty()) throw Fatal(why);
}

void Client::ask(Ask ask, std::span<const std::byte> payload) {
  const std::uint64_t before = main.received();
  main.send(server, ask, payload);
  main.until([&] { return main.received() > before; });
}

double Client::narrow(std::uint32_t count) {
  const std::uint64_t before = narrow_.received();
  main.send(server, Ask::narrow, bytes_of(count));
  narrow_.until([&] { return narrow_.received() > before; });
  const auto start = Clock::now();
  narrow_.until([&] { return narrow_.received() >= before + count; });
  return std::chrono::duration<double>(Clock::now() - start).count() / (count - 1);
}

double Client::busy() {
  control.send("busy");
  const double there = std::stod(control.receive());
  return busy_here() + there;
}

// Not by Deregister::invalidate, which after a tenth of a second would rather end the connection than wait:
// memory that nobody can reach any more is unpinned.
void Client::deregister(bulk::Region&& region) const {
  const std::uint64_t before = pinned();
  if (const bulk::Status status = domain.deregister(std::move(region), bulk::Deregister::lazily); !status)
    throw Fatal("a region cannot be deregistered: " + status.text());
  while (pinned() >= before)
    std::this_thread::sleep_for(glance);
}

std::vector<bulk::Address> Client::bind_there(std::uint64_t count, std::string& why) {
  control.send(fmt::format("bind {}", count));
  std::vector<bulk::Address> addresses;
  std::istringstream in(control.receive());
  in >> std::hex;
  for (bulk::Token token = 0; in >> token;)
    addresses.push_back(with_token(server_address, token));
  if (addresses.size() < count) {
    in.clear();
    in.ignore();  // the exclamation mark
    std::getline(in >> std::ws, why);
  }
  return addresses;
}

void Client::open_here(std::span<const bulk::Token> tokens) {
  std::string line = "open";
  for (const bulk::Token token : tokens)
    line += fmt::format(" {:x}", token);
  control.send(line);
  control.receive();  // "up"
}

}  // namespace bench::curves
