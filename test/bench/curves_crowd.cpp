// SPDX-License-Identifier: BSD-3-Clause
#include <algorithm>
#include <chrono>

#include "curves.hpp"

namespace bench::curves {
namespace {

constexpr std::uint64_t at_a_time = 256;

// Channels of this end whose endpoints lie idle, each with as many as it may have.
class Openers {
 public:
  Openers(Client& client, std::size_t most) : client_(client), most_(most) {}

  // With room for an endpoint.
  Node& next() {
    if (nodes_.empty() || nodes_.back()->opened() >= most_)
      nodes_.push_back(std::make_unique<Node>(client_.domain, small(client_.device), client_.control));
    return *nodes_.back();
  }
  void all_up() {
    for (const auto& node : nodes_)
      node->all_up();
  }
  const std::vector<std::unique_ptr<Node>>& nodes() const { return nodes_; }

 private:
  Client& client_;
  const std::size_t most_;
  std::vector<std::unique_ptr<Node>> nodes_;
};

// Endpoints that lead to the one channel of the server to which the client's own leads: of the same channel
// first, so that they are also among those that might wait for its commands.
class Endpoints final : public Crowd {
 public:
  explicit Endpoints(Client& client) : client_(client), others_(client, most_of_one) {}

 protected:
  std::uint64_t add(std::uint64_t count, std::string&) override {
    for (std::uint64_t i = 0; i < count; ++i) {
      Node& node = client_.main.opened() < most_of_one ? client_.main : others_.next();
      node.open(client_.server_address);
    }
    client_.main.all_up();
    others_.all_up();
    return count;
  }

 private:
  Client& client_;
  Openers others_;
};

// Endpoints that lead to as many channels of the server.
class RemoteChannels final : public Crowd {
 public:
  explicit RemoteChannels(Client& client) : client_(client), openers_(client, most_of_one) {}

 protected:
  std::uint64_t add(std::uint64_t count, std::string& why) override {
    const auto addresses = client_.bind_there(count, why);
    for (const bulk::Address& address : addresses)
      openers_.next().open(address);
    openers_.all_up();
    return addresses.size();
  }

 private:
  Client& client_;
  Openers openers_;
};

// Channels of this end to which the server has opened endpoints.
class Inbound final : public Crowd {
 public:
  explicit Inbound(Client& client) : client_(client) {}

 protected:
  std::uint64_t add(std::uint64_t count, std::string& why) override {
    std::vector<bulk::Token> tokens;
    while (tokens.size() < count && why.empty()) {
      auto channel = bulk::Channel::bind(client_.domain, small(client_.device));
      if (channel) {
        tokens.push_back(channel->address().token());
        channels_.push_back(std::move(*channel));
      } else {
        why = channel.error().text();
      }
    }
    client_.open_here(tokens);
    return tokens.size();
  }
  std::size_t bytes() const override { return small_bytes; }

 private:
  Client& client_;
  std::vector<bulk::Channel> channels_;
};

// Endpoints within this host, to the channel to which events open theirs.
class LocalEndpoints final : public Crowd {
 public:
  explicit LocalEndpoints(Client& client) : client_(client), openers_(client, most_of_one) {}

 protected:
  std::uint64_t add(std::uint64_t count, std::string&) override {
    for (std::uint64_t i = 0; i < count; ++i)
      openers_.next().open(client_.target.address());
    openers_.all_up();
    return count;
  }

 private:
  Client& client_;
  Openers openers_;
};

// Registered regions, all of the same memory. `known`: the server has used their keys.
class Regions : public Crowd {
 public:
  Regions(Client& client, bool known) : client_(client), known_(known) {}

 protected:
  std::uint64_t add(std::uint64_t count, std::string& why) override {
    for (std::uint64_t i = 0; i < count; ++i) {
      if (owners_.empty() || owners_.back().regions.size() >= most_of_one)
        owners_.push_back({value_of(bulk::Domain::open()), {}});
      Owner& owner = owners_.back();
      auto region = owner.domain.register_memory(client_.memory(), 4096, bulk::Access::remote_read_write);
      if (!region) {
        why = region.error().text();
        return i;
      }
      owner.regions.push_back(std::move(*region));
      if (known_)
        client_.main.send(client_.server, Ask::touch, bytes_of(client_.place_of(owner.regions.back())));
    }
    if (known_) client_.ask(Ask::touched);
    return count;
  }

 private:
  struct Owner {
    bulk::Domain domain;
    std::vector<bulk::Region> regions;
  };

  Client& client_;
  const bool known_;
  std::vector<Owner> owners_;
};

// Endpoints that all have a PUT at the same time. Not more may be under way than takes a fraction of them:
// the others wait for their turns.
class Waiting final : public Crowd {
 public:
  explicit Waiting(Client& client) : client_(client), openers_(client, commands) {}

  std::string_view own() const override { return "waiting_put"; }
  void run(const Record& record) override {
    const auto start = std::chrono::steady_clock::now();
    const bulk::Local from = bulk::Local::region(client_.region().handle(), client_.memory());
    for (std::size_t i = 0; i < eps_.size(); ++i)
      openers_.nodes()[i / commands]->submit(
          bulk::Command::put(eps_[i], from, Client::window, client_.remote(), 0));
    for (const auto& node : openers_.nodes())
      node->until([&] { return node->channel().outstanding() == 0; });
    const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - start;
    record(own(), spent.count() / static_cast<double>(size()));
  }

 protected:
  std::uint64_t add(std::uint64_t count, std::string&) override {
    for (std::uint64_t i = 0; i < count; ++i)
      eps_.push_back(openers_.next().open(client_.server_address));
    openers_.all_up();
    return count;
  }

 private:
  static constexpr std::size_t commands = 400;  // of one channel

  Client& client_;
  Openers openers_;
  std::vector<bulk::EpHandle> eps_;
};

// A channel that dies with all its endpoints: the other host's process is told behind the last of them.
class Dying final : public Crowd {
 public:
  explicit Dying(Client& client) : client_(client) {}

  std::string_view own() const override { return "endpoint_of_dead_channel"; }
  void run(const Record& record) override {
    auto node = std::make_unique<Node>(client_.domain, small(client_.device), client_.control);
    for (std::uint64_t i = 0; i < size(); ++i) {
      node->open(client_.server_address);
      if (i % at_a_time == 0) node->all_up();
    }
    node->all_up();
    client_.ask(Ask::watch, bytes_of(node->address().token()));
    const std::uint64_t before = client_.main.received();
    const auto start = std::chrono::steady_clock::now();
    node.reset();
    client_.main.until([&] { return client_.main.received() > before; });
    const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - start;
    record(own(), spent.count() / static_cast<double>(size()));
  }

 protected:
  std::uint64_t add(std::uint64_t count, std::string& why) override {
    if (size() + count <= most_of_one) return count;
    why = "a channel has no more endpoints";
    return most_of_one - size();
  }

 private:
  Client& client_;
};

template <class T>
std::unique_ptr<Crowd> make(Client& client) {
  return std::make_unique<T>(client);
}

constexpr CrowdKind kinds[] = {
    {"endpoints", "endpoints to the same remote channel", make<Endpoints>},
    {"remote", "remote channels, with an endpoint each", make<RemoteChannels>},
    {"inbound", "channels that are remote channels of the other host", make<Inbound>},
    {"local", "endpoints within the host, to the same channel", make<LocalEndpoints>},
    {"regions", "regions whose keys nobody has used",
     [](Client& client) -> std::unique_ptr<Crowd> { return std::make_unique<Regions>(client, false); }},
    {"keys", "regions whose keys the other host has used",
     [](Client& client) -> std::unique_ptr<Crowd> { return std::make_unique<Regions>(client, true); }},
    {"waiting", "endpoints with a PUT each, all at the same time", make<Waiting>},
    {"dying", "endpoints of one channel, which dies", make<Dying>},
};

}  // namespace

std::string Crowd::grow(std::uint64_t size) {
  std::string why;
  while (size_ < size && why.empty()) {
    const std::uint64_t count = std::min(size - size_, at_a_time);
    why = lack_of_memory(count, bytes());
    if (why.empty()) size_ += add(count, why);
  }
  return why;
}

std::span<const CrowdKind> crowds() {
  return kinds;
}

}  // namespace bench::curves
