// SPDX-License-Identifier: BSD-3-Clause
#include <fmt/format.h>
#include <poll.h>

#include <deque>
#include <sstream>

#include "curves.hpp"

namespace bench::curves {
namespace {

class Server {
 public:
  Server(Control& control, const std::string& device)
      : control_(control),
        device_(device),
        domain_(value_of(bulk::Domain::open())),
        memory_(Client::window, 1, true),
        region_(value_of(
            domain_.register_memory(memory_.data(), Client::window, bulk::Access::remote_read_write))),
        main_(domain_, {.device = device, .endpoint_slots = 128}, control) {
    main_.message = [this](Ask ask, std::span<const std::byte> payload) { asked(ask, payload); };
    main_.up = [this](const bulk::EndpointEvent& event) {
      if (event.user_data == watching) due_.push_back({Ask::watch, {}, event.ep});
    };
    main_.down = [this](const bulk::EndpointEvent& event) {
      if (event.user_data != watching) throw Fatal("an endpoint is down: " + event.status.text());
      due_.push_back({Ask::gone, {}, event.ep});
    };
  }

  void run() {
    greet();
    for (;;) {
      while (!due_.empty()) {
        const Due due = std::move(due_.front());
        due_.pop_front();
        answer(due);
      }
      while (control_.has_line())
        if (!told(control_.receive())) return;
      if (main_.channel().progress(main_) == 0 && due_.empty()) sleep();
    }
  }

 private:
  static constexpr std::uint64_t watching = 1;  // user_data of endpoints

  struct Due {
    Ask ask;
    std::vector<std::byte> payload;
    bulk::EpHandle ep;
  };

  void greet() {
    control_.send(fmt::format("{} {} {}", main_.address().text(),
                              reinterpret_cast<std::uintptr_t>(memory_.data()), hex(region_.key())));
    std::istringstream in(control_.receive());
    std::string client;
    std::string narrow;
    in >> client >> narrow;
    client_address_ = address_from(client);
    client_ = main_.connect(client_address_);
    narrow_ = main_.connect(address_from(narrow));
    control_.send("up");
  }

  void sleep() {
    if (!main_.channel().arm()) return;
    pollfd files[] = {{.fd = main_.channel().poll_fd(), .events = POLLIN, .revents = 0},
                      {.fd = control_.fd(), .events = POLLIN, .revents = 0}};
    poll(files, 2, -1);
    if (files[1].revents != 0) control_.look();
  }

  void asked(Ask ask, std::span<const std::byte> payload) {
    if (ask != Ask::item) due_.push_back({ask, {payload.begin(), payload.end()}, {}});
  }

  bulk::Address here(bulk::Token token) const { return with_token(client_address_, token); }

  void answer(const Due& due) {
    switch (due.ask) {
      case Ask::narrow:
        for (auto left = value_in<std::uint32_t>(due.payload); left != 0; --left)
          main_.send(narrow_, Ask::item);
        return;
      case Ask::watch:
        if (!due.ep) {
          main_.open(here(value_in<bulk::Token>(due.payload)), watching);
          return;
        }
        break;
      case Ask::gone:
        main_.close(due.ep);
        break;
      case Ask::read:
      case Ask::touch:
        read(value_in<Place>(due.payload));
        if (due.ask == Ask::touch) return;
        [[fallthrough]];
      case Ask::touched:
        main_.until([this] { return main_.channel().outstanding() == 0; });
        break;
      default:
        break;
    }
    main_.send(client_, due.ask);
  }

  void read(const Place& place) {
    const bulk::Local into = bulk::Local::region(region_.handle(), memory_.data());
    main_.submit(bulk::Command::get(client_, into, 8, {place.address, place.key}, 0));
  }

  // False: it was the last line.
  bool told(const std::string& line) {
    std::istringstream in(line);
    std::string what;
    in >> what;
    if (what == "bye") return false;
    if (what == "bind") {
      std::uint64_t count = 0;
      in >> count;
      bind(count);
    } else if (what == "busy") {
      control_.send(fmt::format("{}", busy_here()));
    } else if (what == "open") {
      open(in);
    } else {
      throw Fatal("the client says what is not understood: " + what);
    }
    return true;
  }

  // Tokens of `count` new channels, or of fewer and why.
  void bind(std::uint64_t count) {
    std::string why = lack_of_memory(count, small_bytes);
    std::string tokens;
    for (; count != 0 && why.empty(); --count) {
      auto channel = bulk::Channel::bind(domain_, small(device_));
      if (channel) {
        tokens += fmt::format("{:x} ", channel->address().token());
        idle_.push_back(std::move(*channel));
      } else {
        why = channel.error().text();
      }
    }
    control_.send(tokens + (why.empty() ? "" : "! the server: " + why));
  }

  void open(std::istream& in) {
    if (openers_.empty() || openers_.back()->opened() >= most_of_one)
      openers_.push_back(std::make_unique<Node>(domain_, small(device_), control_));
    in >> std::hex;
    for (bulk::Token token = 0; in >> token;)
      openers_.back()->open(here(token));
    openers_.back()->all_up();
    control_.send("up");
  }

  Control& control_;
  const std::string device_;
  bulk::Domain domain_;
  Memory memory_;
  bulk::Region region_;
  Node main_;
  std::vector<std::unique_ptr<Node>> openers_;  // of endpoints that lie idle
  std::vector<bulk::Channel> idle_;
  std::deque<Due> due_;
  bulk::Address client_address_;
  bulk::EpHandle client_;
  bulk::EpHandle narrow_;
};

}  // namespace

void serve(Control& control, const std::string& device) {
  Server(control, device).run();
}

}  // namespace bench::curves
