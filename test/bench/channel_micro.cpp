// SPDX-License-Identifier: BSD-3-Clause
//
// channel_micro: what single functions of the channel library cost, with the kernel module behind them. Two
// channels of one host, one of which sends to the other through the host's own adapter. Only the functions
// are timed, in bursts, not what happens between them: the column Time is of a whole burst, items_per_second
// is the rate of single operations.
//
// Takes Google Benchmark's options. Exit status: 77 where there is no kernel module or no RDMA device.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "channel/channel.hpp"

namespace bulk {
namespace {

using Clock = std::chrono::steady_clock;

constexpr unsigned burst = 16;  // commands, or messages
constexpr int rounds = 200;     // bursts for one figure
constexpr std::uint32_t message_bytes = 8;

[[noreturn]] void give_up(const std::string& why) {
  std::fprintf(stderr, "channel_micro: %s\n", why.c_str());
  std::exit(1);
}

template <class T>
T value_of(Result<T> result) {
  if (!result) give_up(result.error().text());
  return std::move(*result);
}

struct Handler : EventHandler {
  bool keep = false;
  bool up = false;
  bool refused = false;  // with EAGAIN, and not writable since
  std::array<RxSlot, burst> kept;
  unsigned kept_count = 0;
  std::uint64_t messages = 0;

  void on_up(const EndpointEvent&) { up = true; }
  void on_writable(const EndpointEvent&) { refused = false; }
  void on_down(const EndpointEvent& event) { give_up("the endpoint is down: " + event.status.text()); }
  void on_done(const Done& done) {
    if (!done.status) give_up("a command failed: " + done.status.text());
  }
  SlotAction on_message(const Message& message) {
    ++messages;
    if (!keep) return SlotAction::release;
    kept[kept_count++] = message.slot;
    return SlotAction::keep;
  }
};

// A channel that sends, one that receives, an endpoint from the first to the second, and memory of 8 bytes.
class Pair {
 public:
  Pair(const std::string& device, Submission submission)
      : domain_(value_of(Domain::open())),
        region_(value_of(domain_.register_memory(&memory_, sizeof(memory_), Access::remote_read_write))),
        sender_(value_of(Channel::bind(domain_, options(device, submission)))),
        receiver_(value_of(Channel::bind(domain_, options(device, submission)))),
        ep_(value_of(sender_.ep_open(receiver_.address(), 0))) {
    while (!handler_.up) {
      sender_.progress(handler_);
      sender_.wait(10);
    }
  }

  Channel& sender() { return sender_; }
  Channel& receiver() { return receiver_; }
  Handler& handler() { return handler_; }

  Command send(TxSlot slot) const { return Command::send(ep_, slot, message_bytes, 0, 0); }
  Command put() const {
    return Command::put(ep_, Local::region(region_.handle(), &memory_), sizeof(memory_),
                        Remote{reinterpret_cast<std::uintptr_t>(&memory_), region_.key()}, 0);
  }

  // Until all that was sent has arrived and has been taken, no command is under way, and more can be sent.
  void drain() {
    await_arrival();
    while (sender_.outstanding() != 0 || handler_.messages != sent_ || handler_.refused) {
      const unsigned taken = sender_.progress(handler_) + receiver_.progress(handler_);
      if (taken == 0) std::this_thread::sleep_for(pause);
    }
    static_cast<void>(receiver_.flush_returns());
  }

  // Until the events of all messages are in the receiver's ring.
  void await_arrival() {
    while (value_of(receiver_.stats()).rx_messages != sent_)
      std::this_thread::sleep_for(pause);
  }

  void count_sent(unsigned messages) { sent_ += messages; }

  // A burst of messages that the receiver has not taken yet.
  unsigned send_burst() {
    Batch batch(sender_);
    std::array<TxSlot, burst> slots;
    for (TxSlot& slot : slots) {
      slot = sender_.tx_acquire();
      batch.add(send(slot));
    }
    const Submitted submitted = batch.submit();
    for (unsigned i = submitted.accepted; i < burst; ++i)
      sender_.tx_release(slots[i]);
    handler_.refused = submitted.accepted < burst;
    count_sent(submitted.accepted);
    return submitted.accepted;
  }

 private:
  static constexpr std::chrono::microseconds pause{100};

  static BindOptions options(const std::string& device, Submission submission) {
    return {.device = device, .rx_slots = 4 * burst, .tx_slots = 4 * burst, .submission = submission};
  }

  alignas(8) std::array<std::byte, 8> memory_{};
  Domain domain_;
  Region region_;
  Channel sender_;
  Channel receiver_;
  EpHandle ep_;
  Handler handler_;
  std::uint64_t sent_ = 0;
};

// Times `work`, which returns how many operations it did, once a round. Rounds in which `whole` is wanted and
// was not reached are not counted: a refusal is no submission.
template <class Before, class Work, class After>
void in_bursts(benchmark::State& state, unsigned whole, Before before, Work work, After after) {
  std::int64_t operations = 0;
  for (auto _ : state) {  // NOLINT(clang-analyzer-deadcode.DeadStores): Google Benchmark's way
    before();
    const auto start = Clock::now();
    const unsigned done = work();
    const auto time = Clock::now() - start;
    state.SetIterationTime(done < whole ? 0 : std::chrono::duration<double>(time).count());
    operations += done < whole ? 0 : done;
    after();
  }
  state.SetItemsProcessed(operations);
  if (operations == 0) state.SkipWithError("no burst was accepted whole");
}

// Commands one by one, up to the first that is refused for lack of room.
unsigned submit_each(Channel& channel, const std::array<Command, burst>& commands) {
  unsigned accepted = 0;
  while (accepted < burst) {
    const Status status = channel.submit(commands[accepted]);
    if (status.again()) break;
    if (!status) give_up("a command was refused: " + status.text());
    ++accepted;
  }
  return accepted;
}

// What a burst of SENDs takes slots for, and gives back of those that were refused.
struct Slots {
  std::array<TxSlot, burst> slots;
  std::array<Command, burst> commands{};

  void fill(Pair& pair) {
    for (unsigned i = 0; i < burst; ++i) {
      slots[i] = pair.sender().tx_acquire();
      commands[i] = pair.send(slots[i]);
    }
  }
  void settle(Pair& pair, unsigned accepted) const {
    for (unsigned i = accepted; i < burst; ++i)
      pair.sender().tx_release(slots[i]);
    pair.handler().refused = accepted < burst;
    pair.count_sent(accepted);
    pair.drain();
  }
};

void submit_send(benchmark::State& state, Pair& pair, bool batched) {
  Slots burst_of;
  unsigned accepted = 0;
  in_bursts(
      state, burst, [&] { burst_of.fill(pair); },
      [&] {
        accepted = batched ? pair.sender().submit(std::span<const Command>(burst_of.commands)).accepted
                           : submit_each(pair.sender(), burst_of.commands);
        return accepted;
      },
      [&] { burst_of.settle(pair, accepted); });
}

void submit_put(benchmark::State& state, Pair& pair) {
  std::array<Command, burst> commands{};
  commands.fill(pair.put());
  unsigned accepted = 0;
  in_bursts(
      state, burst, [] {}, [&] { return accepted = submit_each(pair.sender(), commands); },
      [&] {
        pair.handler().refused = accepted < burst;
        pair.drain();
      });
}

void receive(benchmark::State& state, Pair& pair, bool keep) {
  Handler& handler = pair.handler();
  handler.keep = keep;
  Channel& channel = pair.receiver();
  unsigned sent = 0;
  in_bursts(
      state, 1,
      [&] {
        sent = pair.send_burst();
        pair.await_arrival();
      },
      [&] {
        while (channel.has_events())
          channel.progress(handler);
        for (unsigned i = 0; i < handler.kept_count; ++i)
          channel.rx_return(handler.kept[i]);
        handler.kept_count = 0;
        static_cast<void>(channel.flush_returns());
        return sent;
      },
      [&] { pair.drain(); });
  handler.keep = false;
}

void progress_of_nothing(benchmark::State& state, Pair& pair) {
  for (auto _ : state)  // NOLINT(clang-analyzer-deadcode.DeadStores): Google Benchmark's way
    benchmark::DoNotOptimize(pair.receiver().progress(pair.handler()));
  state.SetItemsProcessed(state.iterations());
}

void slot_acquire_release(benchmark::State& state, Pair& pair) {
  for (auto _ : state)  // NOLINT(clang-analyzer-deadcode.DeadStores): Google Benchmark's way
    pair.sender().tx_release(pair.sender().tx_acquire());
  state.SetItemsProcessed(state.iterations());
}

// Over a ring in plain memory, into which this process itself puts the events.
void ring_take(benchmark::State& state) {
  constexpr std::uint32_t entries = 1024;
  std::vector<std::uint64_t> memory((sizeof(rdma_bulk_ring) + entries * sizeof(rdma_bulk_event)) / 8);
  auto* shared = reinterpret_cast<rdma_bulk_ring*>(memory.data());
  rdma_bulk_ctrl ctrl{};
  EventRing ring(shared, &ctrl, entries);
  rdma_bulk_event event{};
  for (auto _ : state) {  // NOLINT(clang-analyzer-deadcode.DeadStores): Google Benchmark's way
    if (ring.empty()) __atomic_store_n(&shared->producer, ring.consumer() + entries, __ATOMIC_RELEASE);
    benchmark::DoNotOptimize(ring.peek(event));
    benchmark::DoNotOptimize(event);
    ring.advance();
  }
  state.SetItemsProcessed(state.iterations());
}

template <class Function>
void add_bursts(const std::string& name, Function function) {
  benchmark::RegisterBenchmark(name.c_str(), function)->UseManualTime()->Iterations(rounds);
}

void add_all(Pair& pair, const std::string& way) {
  using benchmark::State;
  add_bursts("submit_send/" + way, [&pair](State& state) { submit_send(state, pair, false); });
  add_bursts("submit_batch_of_16_sends/" + way, [&pair](State& state) { submit_send(state, pair, true); });
  add_bursts("submit_put_8_bytes/" + way, [&pair](State& state) { submit_put(state, pair); });
  add_bursts("receive_and_return/" + way, [&pair](State& state) { receive(state, pair, false); });
  add_bursts("receive_keep_and_return/" + way, [&pair](State& state) { receive(state, pair, true); });
}

int run(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  const auto info = query();
  if (!info) {
    std::fprintf(stderr, "channel_micro: skipped: %s\n", info.error().text().c_str());
    return 77;
  }
  const std::string device = info->devices.front().name;
  Pair by_ioctl(device, Submission::ioctl);
  Pair by_uring(device, Submission::uring);
  add_all(by_ioctl, "ioctl");
  add_all(by_uring, "uring");
  benchmark::RegisterBenchmark("progress_of_nothing",
                               [&](benchmark::State& state) { progress_of_nothing(state, by_ioctl); });
  benchmark::RegisterBenchmark("slot_acquire_release",
                               [&](benchmark::State& state) { slot_acquire_release(state, by_ioctl); });
  benchmark::RegisterBenchmark("ring_take", ring_take);
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}

}  // namespace
}  // namespace bulk

int main(int argc, char** argv) {
  return bulk::run(argc, argv);
}
