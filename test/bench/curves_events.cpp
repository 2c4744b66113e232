// SPDX-License-Identifier: BSD-3-Clause
#include <chrono>

#include "curves.hpp"

namespace bench::curves {
namespace {

// How often each happens in a run.
constexpr unsigned endpoints = 8;
constexpr unsigned messages = 64;
constexpr unsigned streamed = 512;
constexpr unsigned slots = 17;
constexpr unsigned regions = 8;
constexpr unsigned keys = 4;
constexpr unsigned puts = 1024;

// Seconds that `work` takes for each of `count`.
template <class Work>
double each(std::uint64_t count, const Work& work) {
  const auto start = std::chrono::steady_clock::now();
  for (std::uint64_t i = 0; i < count; ++i)
    work(i);
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() /
         static_cast<double>(count);
}

void endpoint(Client& client, const Record& record) {
  record("endpoint", each(endpoints, [&](std::uint64_t) {
           client.main.close(client.main.connect(client.server_address));
         }));
}

void remote_channel(Client& client, const Record& record) {
  record("remote_channel", each(client.pool.size(), [&](std::uint64_t i) {
           client.main.close(client.main.connect(client.pool[i]));
         }));
}

void message(Client& client, const Record& record) {
  record("message", each(messages / 2, [&](std::uint64_t) { client.ask(Ask::echo); }) / 2);
}

void stream(Client& client, const Record& record) {
  record("message_in_stream", each(streamed, [&](std::uint64_t i) {
           if (i + 1 < streamed) {
             client.main.send(client.server, Ask::item);
           } else {
             client.ask(Ask::echo);
           }
         }));
}

void slot(Client& client, const Record& record) {
  record("slot_returned", client.narrow(slots));
}

bulk::Region registered(Client& client) {
  return value_of(client.domain.register_memory(client.memory(), 4096, bulk::Access::remote_read_write));
}

void region(Client& client, const Record& record) {
  record("region", each(regions, [&](std::uint64_t) {
           const bulk::Status status =
               client.domain.deregister(registered(client), bulk::Deregister::invalidate);
           if (!status) throw Fatal("a region cannot be deregistered: " + status.text());
         }));
}

void key(Client& client, const Record& record) {
  std::vector<bulk::Region> known;
  record("key_first_used", each(keys, [&](std::uint64_t) {
           known.push_back(registered(client));
           client.ask(Ask::read, bytes_of(client.place_of(known.back())));
         }));
  record("key_revoked", each(keys, [&](std::uint64_t i) { client.deregister(std::move(known[i])); }));
}

void death(Client& client, const Record& record) {
  std::vector<bulk::Channel> one;
  one.push_back(value_of(bulk::Channel::bind(client.domain, small(client.device))));
  client.ask(Ask::watch, bytes_of(one.front().address().token()));
  record("channel_death", each(1, [&](std::uint64_t) {
           const std::uint64_t before = client.main.received();
           one.clear();
           client.main.until([&] { return client.main.received() > before; });
         }));
}

// More than can be outstanding: each end of one may let another in.
void refused(Client& client, const Record& record) {
  const bulk::Local from = bulk::Local::region(client.region().handle(), client.memory());
  const bulk::Command put = bulk::Command::put(client.server, from, 8, client.remote(), 0);
  record("put_after_refusal", each(puts, [&](std::uint64_t i) {
           client.main.submit(put);
           if (i + 1 == puts) client.main.until([&] { return client.main.channel().outstanding() == 0; });
         }));
}

void local_endpoint(Client& client, const Record& record) {
  record("local_endpoint", each(endpoints, [&](std::uint64_t) {
           client.main.close(client.main.connect(client.target.address()));
         }));
}

void local_message(Client& client, const Record& record) {
  const bulk::EpHandle ep = client.main.connect(client.target.address());
  record("local_message", each(messages, [&](std::uint64_t) {
           const std::uint64_t before = client.target.received();
           client.main.send(ep, Ask::item);
           client.target.until([&] { return client.target.received() > before; });
         }));
  client.main.close(ep);
}

constexpr Event all[] = {
    {"endpoint", "a further endpoint to a known remote channel, opened and closed", endpoints, endpoint},
    {"remote_channel", "an endpoint to a further remote channel, opened and closed", Client::pool_size,
     remote_channel},
    {"message", "a message of no bytes there, half of a round trip", messages, message},
    {"message_in_stream", "a message of no bytes there, many one behind the other", streamed, stream},
    {"slot_returned", "a returned slot: the sender is told, and sends the next message", slots, slot},
    {"region", "4 KiB registered, and deregistered until nobody can reach them", regions, region},
    {"key", "the same, after the other host has read them", keys, key},
    {"channel_death", "a channel is closed, until the other host's process is told", 1, death},
    {"put_after_refusal", "a PUT of 8 bytes where as many are outstanding as can be", puts, refused},
    {"local_endpoint", "an endpoint within the host, opened and closed", endpoints, local_endpoint},
    {"local_message", "a message of no bytes within the host", messages, local_message},
};

}  // namespace

std::span<const Event> events() {
  return all;
}

}  // namespace bench::curves
