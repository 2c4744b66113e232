// SPDX-License-Identifier: BSD-3-Clause
//
// A stand-in for the kernel module, for tests on hosts that do not have it: preloaded into (or linked with) a
// program, it takes over open, ioctl, epoll_ctl and close of the device node, and moves messages through
// shared memory and PUT and GET through process_vm_writev and process_vm_readv, between the processes of one
// host and user. The transport under test is the real one, down to the system calls.
//
// It keeps the rules of rdma_bulk.h that a process can see: every accepted command ends once, a message needs
// a free receive slot or is refused with -EAGAIN and WRITABLE follows, keys are checked, endpoints come up
// later. It knows no death of processes and trusts everybody.
//
// Environment: BULK_LOOP_WORLD names the folder for the shared files (default /dev/shm/bulk-loop-UID);
// BULK_LOOP_LAG is the time in microseconds after which commands end (default 0: before they return);
// BULK_LOOP_RX bounds the receive slots of a channel.
#include <arpa/inet.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "rdma/rdma_bulk.h"

namespace bulk::test {
namespace {

constexpr std::uint64_t page = 4096;
constexpr std::uint32_t ring_events = 1024;
constexpr std::uint32_t max_rx = 512;
constexpr std::uint32_t max_tx = 512;
constexpr std::uint32_t max_channels = 256;
constexpr std::uint32_t max_regions = 16384;
constexpr std::uint32_t max_waiters = 256;
constexpr std::uint32_t stride = 3 * page;
constexpr std::uint64_t ctrl_offset = 0;
constexpr std::uint64_t meta_offset = page;
constexpr std::uint64_t ring_offset = 16 * page;
constexpr std::uint64_t ring_bytes =
    (sizeof(rdma_bulk_ring) + ring_events * sizeof(rdma_bulk_event) + page - 1) / page * page;
constexpr std::uint64_t rx_offset = 64 * page;
constexpr std::uint64_t tx_offset = rx_offset + std::uint64_t{max_rx} * stride;
constexpr std::uint64_t channel_bytes = tx_offset + std::uint64_t{max_tx} * stride;
static_assert(ring_offset + ring_bytes <= rx_offset);

struct Waiter {
  std::uint64_t token;  // 0: free
  std::uint32_t ep;
  std::uint64_t user_data;
};

// The part of a channel's shared file that only this stand-in sees.
struct Meta {
  std::uint32_t rx_slots;
  std::uint32_t tx_slots;
  std::uint32_t rx_headroom;
  std::uint32_t outstanding;  // commands whose DONE is not in the ring yet
  bool dead;
  std::uint8_t rx_held[max_rx];
  Waiter waiters[max_waiters];
};
static_assert(meta_offset + sizeof(Meta) <= ring_offset);

struct WorldChannel {
  std::uint64_t token;  // 0: free
  pid_t pid;
};

struct WorldRegion {
  std::uint64_t secret[2];  // 0: free
  pid_t pid;
  std::uint32_t access;
  std::uint64_t addr;
  std::uint64_t length;
};

struct World {
  pthread_mutex_t lock;
  std::atomic<std::uint32_t> ready;
  WorldChannel channels[max_channels];
  WorldRegion regions[max_regions];
};

struct Endpoint {
  std::uint64_t peer = 0;
  std::uint64_t user_data = 0;
  bool up = false;
  int down = 0;          // the errno of its commands, if it is
  bool starved = false;  // refused for want of room in the ring: WRITABLE is due
};

// A channel's shared file, mapped by its owner and by who sends to it.
struct Shared {
  std::byte* base = nullptr;
  int fd = -1;

  Meta& meta() const { return *reinterpret_cast<Meta*>(base + meta_offset); }
  rdma_bulk_ring& ring() const { return *reinterpret_cast<rdma_bulk_ring*>(base + ring_offset); }
  std::uint32_t consumer() const {
    return __atomic_load_n(&reinterpret_cast<rdma_bulk_ctrl*>(base + ctrl_offset)->consumer,
                           __ATOMIC_ACQUIRE);
  }
  std::uint32_t room() const { return ring_events - (ring().producer - consumer()) - meta().outstanding; }
  void post(const rdma_bulk_event& event) const {
    std::memcpy(&ring().entry[ring().producer % ring_events], &event, sizeof(event));
    __atomic_store_n(&ring().producer, ring().producer + 1, __ATOMIC_RELEASE);
  }
};

struct File {
  enum class Kind { fresh, domain, channel } kind = Kind::fresh;
  std::uint64_t token = 0;
  int wake_fd = -1;  // stands in for the file in epoll, which takes no ordinary file
  Shared shared;
  std::map<std::uint32_t, Endpoint> eps;
  std::uint32_t next_ep = 1;
  std::vector<std::uint32_t> regions;
  std::vector<std::uint8_t> tx_busy;

  bool has_room() const { return kind == Kind::channel && shared.room() >= 16; }
};

struct Late {
  std::uint64_t token;
  rdma_bulk_event event;
  std::chrono::steady_clock::time_point due;
};

// All of this is guarded by World::lock.
struct State {
  World* world = nullptr;
  std::string folder;
  std::map<int, File> files;
  std::map<std::uint64_t, Shared> peers;
  std::deque<Late> late;
  long lag_us = 0;
  std::uint32_t rx_limit = max_rx;
  bool thread_started = false;
};

template <class Function>
Function real(const char* name) {
  return reinterpret_cast<Function>(dlsym(RTLD_NEXT, name));
}

int real_open(const char* path, int flags, mode_t mode) {
  static const auto function = real<int (*)(const char*, int, ...)>("open");
  return function(path, flags, mode);
}

int real_close(int fd) {
  static const auto function = real<int (*)(int)>("close");
  return function(fd);
}

void* map_file(const std::string& path, std::size_t bytes, bool create, int* fd_out) {
  const int fd = real_open(path.c_str(), O_RDWR | O_CLOEXEC | (create ? O_CREAT : 0), 0600);
  if (fd < 0) return nullptr;
  if (create && ftruncate(fd, static_cast<off_t>(bytes)) != 0) std::abort();
  void* base = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (fd_out != nullptr)
    *fd_out = fd;
  else
    real_close(fd);
  return base == MAP_FAILED ? nullptr : base;
}

State& state() {
  static State* const one = [] {
    auto* s = new State;  // never destroyed: programs close files in their last breath
    const char* folder = std::getenv("BULK_LOOP_WORLD");
    s->folder = folder != nullptr ? folder : "/dev/shm/bulk-loop-" + std::to_string(getuid());
    mkdir(s->folder.c_str(), 0700);
    if (const char* lag = std::getenv("BULK_LOOP_LAG"); lag != nullptr) s->lag_us = std::atol(lag);
    if (const char* rx = std::getenv("BULK_LOOP_RX"); rx != nullptr)
      s->rx_limit = std::min<std::uint32_t>(max_rx, static_cast<std::uint32_t>(std::atol(rx)));
    s->world = static_cast<World*>(map_file(s->folder + "/world", sizeof(World), true, nullptr));
    if (s->world == nullptr) {
      std::fprintf(stderr, "loop_kernel: cannot use %s\n", s->folder.c_str());
      std::abort();
    }
    std::uint32_t expected = 0;
    if (s->world->ready.compare_exchange_strong(expected, 1)) {
      pthread_mutexattr_t attributes;
      pthread_mutexattr_init(&attributes);
      pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
      pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
      pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_RECURSIVE);
      pthread_mutex_init(&s->world->lock, &attributes);
      s->world->ready = 2;
    }
    while (s->world->ready != 2)
      std::this_thread::yield();
    return s;
  }();
  return *one;
}

class Guard {
 public:
  Guard() {
    if (pthread_mutex_lock(&state().world->lock) == EOWNERDEAD)
      pthread_mutex_consistent(&state().world->lock);
  }
  Guard(const Guard&) = delete;
  Guard& operator=(const Guard&) = delete;
  ~Guard() { pthread_mutex_unlock(&state().world->lock); }
};

std::uint64_t random_number() {
  std::uint64_t number = 0;
  while (number == 0 && getrandom(&number, sizeof(number), 0) != sizeof(number)) {
  }
  return number;
}

std::string channel_path(std::uint64_t token) {
  char name[32];
  std::snprintf(name, sizeof(name), "/%016llx", static_cast<unsigned long long>(token));
  return state().folder + name;
}

// The shared file of the channel with this token, mapped; null if there is none.
Shared* find_channel(std::uint64_t token) {
  State& s = state();
  bool alive = false;
  for (const WorldChannel& channel : s.world->channels)
    alive = alive || (token != 0 && channel.token == token);
  if (!alive) return nullptr;
  for (auto& [fd, file] : s.files) {
    if (file.token == token && file.kind == File::Kind::channel) return &file.shared;
  }
  auto [place, is_new] = s.peers.try_emplace(token);
  if (is_new)
    place->second.base =
        static_cast<std::byte*>(map_file(channel_path(token), channel_bytes, false, nullptr));
  return place->second.base != nullptr ? &place->second : nullptr;
}

rdma_bulk_event make_event(std::uint16_t type, std::uint64_t user_data, std::uint32_t ep, int result) {
  rdma_bulk_event event{};
  event.user_data = user_data;
  event.type = type;
  event.result = result;
  event.ep = ep;
  event.slot = RDMA_BULK_NO_SLOT;
  return event;
}

// Tells endpoints that were refused for want of room, when the process has read its events.
void wake_starved(File& file) {
  for (auto& [number, ep] : file.eps) {
    if (!ep.starved || !file.has_room()) continue;
    ep.starved = false;
    file.shared.post(make_event(RDMA_BULK_EV_WRITABLE, ep.user_data, number, 0));
  }
}

void deliver_late() {
  for (;;) {
    {
      const Guard guard;
      State& s = state();
      const auto now = std::chrono::steady_clock::now();
      while (!s.late.empty() && s.late.front().due <= now) {
        const Late late = s.late.front();
        s.late.pop_front();
        for (auto& [fd, file] : s.files) {
          if (file.token != late.token) continue;
          if (late.event.type == RDMA_BULK_EV_DONE) --file.shared.meta().outstanding;
          if (late.event.slot != RDMA_BULK_NO_SLOT) file.tx_busy[late.event.slot] = 0;
          if (late.event.type == RDMA_BULK_EV_EP_UP) {
            const auto ep = file.eps.find(late.event.ep);
            if (ep == file.eps.end()) continue;
            ep->second.up = true;
          }
          file.shared.post(late.event);
        }
      }
      for (auto& [fd, file] : s.files)
        wake_starved(file);
    }
    std::this_thread::sleep_for(std::chrono::microseconds(20));
  }
}

void start_thread() {
  if (std::exchange(state().thread_started, true)) return;
  std::thread(deliver_late).detach();
}

// Puts an event into the process's own ring, now or after the lag.
void post_own(File& file, const rdma_bulk_event& event) {
  State& s = state();
  if (s.lag_us == 0) {
    if (event.slot != RDMA_BULK_NO_SLOT) file.tx_busy[event.slot] = 0;
    file.shared.post(event);
    return;
  }
  start_thread();
  if (event.type == RDMA_BULK_EV_DONE) ++file.shared.meta().outstanding;
  s.late.push_back(
      {file.token, event, std::chrono::steady_clock::now() + std::chrono::microseconds(s.lag_us)});
}

int copy_between(pid_t pid, void* local, std::uint64_t remote, std::size_t length, bool to_remote) {
  if (pid == getpid()) {
    auto* other = reinterpret_cast<void*>(remote);
    to_remote ? std::memmove(other, local, length) : std::memmove(local, other, length);
    return 0;
  }
  auto* at = static_cast<std::byte*>(local);
  while (length != 0) {
    const iovec here{at, length};
    const iovec there{reinterpret_cast<void*>(remote), length};
    const ssize_t moved = to_remote ? process_vm_writev(pid, &here, 1, &there, 1, 0)
                                    : process_vm_readv(pid, &here, 1, &there, 1, 0);
    if (moved <= 0) return -EFAULT;
    at += moved;
    remote += static_cast<std::uint64_t>(moved);
    length -= static_cast<std::size_t>(moved);
  }
  return 0;
}

std::byte* local_bytes(File& file, const rdma_bulk_cmd& cmd, int& error) {
  switch (cmd.local_kind) {
    case RDMA_BULK_LOCAL_SLOT:
      if (cmd.local >= file.shared.meta().tx_slots || cmd.addr + cmd.length > RDMA_BULK_SLOT_PAYLOAD)
        error = -EMSGSIZE;
      else if (file.tx_busy[cmd.local] != 0)
        error = -EBUSY;
      return file.shared.base + tx_offset + std::uint64_t{cmd.local} * stride + cmd.addr;
    case RDMA_BULK_LOCAL_REGION: {
      const WorldRegion& region = state().world->regions[cmd.local % max_regions];
      if (cmd.local >= max_regions || region.secret[0] == 0 || region.pid != getpid())
        error = -ENOENT;
      else if (cmd.addr < region.addr || cmd.addr + cmd.length > region.addr + region.length)
        error = -ERANGE;
      return reinterpret_cast<std::byte*>(cmd.addr);
    }
    default:
      return reinterpret_cast<std::byte*>(cmd.addr);
  }
}

// Finds a place for a message; -EAGAIN if there is none, and the sender will be told.
int send_message(File& file, std::uint32_t ep_number, const Endpoint& ep, const rdma_bulk_cmd& cmd,
                 const std::byte* from) {
  Shared* peer = find_channel(ep.peer);
  if (peer == nullptr || peer->meta().dead) return -ECONNRESET;
  Meta& meta = peer->meta();

  std::uint32_t slot = 0;
  while (slot < meta.rx_slots && meta.rx_held[slot] != 0)
    ++slot;
  if (slot == meta.rx_slots || peer->room() < ring_events / 4) {
    bool low = true;
    for (Waiter& waiter : meta.waiters) {
      if (waiter.token == file.token && waiter.ep == ep_number) break;
      if (waiter.token == 0) {
        waiter = {file.token, ep_number, ep.user_data};
        break;
      }
      low = false;
    }
    if (low && peer->room() > 8) peer->post(make_event(RDMA_BULK_EV_RX_LOW, 0, 0, 1));
    return -EAGAIN;
  }
  meta.rx_held[slot] = 1;
  std::memcpy(peer->base + rx_offset + std::uint64_t{slot} * stride + meta.rx_headroom, from, cmd.length);
  rdma_bulk_event event = make_event(RDMA_BULK_EV_RECV, 0, 0, 0);
  event.id = cmd.id;
  event.slot = slot;
  event.length = cmd.length;
  peer->post(event);
  return 0;
}

int put_or_get(const rdma_bulk_cmd& cmd, std::byte* local) {
  std::uint64_t key[3];
  std::memcpy(key, cmd.key, sizeof(key));
  const WorldRegion& region = state().world->regions[key[0] % max_regions];
  if (key[1] == 0 || region.secret[0] != key[1] || region.secret[1] != key[2]) return -EKEYREJECTED;
  if (cmd.remote_addr < region.addr || cmd.remote_addr + cmd.length > region.addr + region.length)
    return -ERANGE;
  const bool is_put = cmd.op == RDMA_BULK_OP_PUT;
  const std::uint32_t right = is_put ? RDMA_BULK_ACCESS_REMOTE_WRITE : RDMA_BULK_ACCESS_REMOTE_READ;
  if ((region.access & right) == 0) return -EACCES;
  return copy_between(region.pid, local, cmd.remote_addr, cmd.length, is_put);
}

void wake_waiters(Shared& shared) {
  for (Waiter& waiter : shared.meta().waiters) {
    if (waiter.token == 0) continue;
    if (Shared* sender = find_channel(waiter.token); sender != nullptr)
      sender->post(make_event(RDMA_BULK_EV_WRITABLE, waiter.user_data, waiter.ep, 0));
    waiter = {};
  }
}

int submit(File& file, const rdma_bulk_cmd& cmd) {
  Meta& meta = file.shared.meta();
  if (cmd.op == RDMA_BULK_OP_RETURN) {
    for (std::uint64_t i = 0; i < cmd.length; ++i) {
      if (cmd.slots[i] >= meta.rx_slots || meta.rx_held[cmd.slots[i]] == 0) return -EINVAL;
    }
    for (std::uint64_t i = 0; i < cmd.length; ++i)
      meta.rx_held[cmd.slots[i]] = 0;
    wake_waiters(file.shared);
    return 0;
  }

  const auto found = file.eps.find(cmd.ep);
  if (found == file.eps.end()) return -ENOENT;
  Endpoint& ep = found->second;
  if (ep.down != 0) return -ep.down;
  if (!ep.up) return -EAGAIN;
  if (!file.has_room()) {
    ep.starved = true;
    start_thread();
    return -EAGAIN;
  }

  int error = 0;
  int result = 0;
  std::byte* local = cmd.op == RDMA_BULK_OP_FLUSH ? nullptr : local_bytes(file, cmd, error);
  if (error != 0) return error;
  switch (cmd.op) {
    case RDMA_BULK_OP_SEND:
      if (cmd.length > RDMA_BULK_SLOT_PAYLOAD) return -EMSGSIZE;
      error = send_message(file, cmd.ep, ep, cmd, local);
      if (error != 0) return error;
      break;
    case RDMA_BULK_OP_PUT:
    case RDMA_BULK_OP_GET:
      result = put_or_get(cmd, local);
      break;
    case RDMA_BULK_OP_FLUSH:
      break;
    default:
      return -EINVAL;
  }

  rdma_bulk_event done = make_event(RDMA_BULK_EV_DONE, cmd.user_data, cmd.ep, result);
  done.length = cmd.length;
  if (cmd.op != RDMA_BULK_OP_FLUSH && cmd.local_kind == RDMA_BULK_LOCAL_SLOT) {
    done.slot = cmd.local;
    file.tx_busy[cmd.local] = 1;
  }
  post_own(file, done);
  return 0;
}

void fill_address(std::uint8_t* to) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(0xc0000201U);  // 192.0.2.1
  std::memcpy(to, &address, sizeof(address));
}

long do_query(rdma_bulk_query& query) {
  if (query.ndevices >= 1) {
    rdma_bulk_device device{};
    std::strcpy(device.name, "loop0:1");
    std::strcpy(device.netdev, "lo");
    fill_address(device.addr);
    device.link_layer = RDMA_BULK_LINK_ROCE;
    device.port_num = 1;
    device.mtu = 4096;
    device.speed = 100000;
    std::memcpy(reinterpret_cast<void*>(query.devices), &device, sizeof(device));
  }
  query.abi_version = RDMA_BULK_ABI_VERSION;
  query.ndevices = 1;
  query.max_rx_slots = state().rx_limit;
  query.max_tx_slots = max_tx;
  query.max_commands = ring_events / 2;
  query.service_port = RDMA_BULK_DEFAULT_PORT;
  query.max_op_bytes = RDMA_BULK_MAX_OP;
  query.instance = 1;
  return 0;
}

long do_bind(File& file, rdma_bulk_bind& bind) {
  State& s = state();
  if (file.kind != File::Kind::fresh) return -EBUSY;
  if (std::strcmp(bind.device, "loop0:1") != 0) return -ENODEV;
  const auto place = std::find_if(std::begin(s.world->channels), std::end(s.world->channels),
                                  [](const WorldChannel& channel) { return channel.token == 0; });
  if (place == std::end(s.world->channels)) return -ENOSPC;

  file.kind = File::Kind::channel;
  *place = {file.token, getpid()};
  file.tx_busy.assign(max_tx, 0);

  Meta& meta = file.shared.meta();
  meta.rx_slots = bind.rx_slots = std::min(bind.rx_slots == 0 ? 4 : bind.rx_slots, s.rx_limit);
  meta.tx_slots = bind.tx_slots = bind.tx_slots == 0 ? 4 : bind.tx_slots;
  meta.rx_headroom = bind.rx_headroom;
  file.shared.ring().events = ring_events;
  bind.events = ring_events;
  bind.token = file.token;
  fill_address(bind.addr);
  bind.rx_stride = stride;
  bind.tx_stride = stride;
  bind.ctrl_offset = ctrl_offset;
  bind.ring_offset = ring_offset;
  bind.ring_bytes = ring_bytes;
  bind.rx_offset = rx_offset;
  bind.rx_bytes = std::uint64_t{bind.rx_slots} * stride;
  bind.tx_offset = tx_offset;
  bind.tx_bytes = std::uint64_t{bind.tx_slots} * stride;
  return 0;
}

long do_grow(File& file, rdma_bulk_grow& grow) {
  Meta& meta = file.shared.meta();
  grow.rx_add = std::min(grow.rx_add, state().rx_limit - meta.rx_slots);
  grow.tx_add = std::min(grow.tx_add, max_tx - meta.tx_slots);
  grow.rx_first = meta.rx_slots;
  grow.tx_first = meta.tx_slots;
  grow.rx_bytes = std::uint64_t{grow.rx_add} * stride;
  grow.tx_bytes = std::uint64_t{grow.tx_add} * stride;
  grow.rx_offset = rx_offset + std::uint64_t{grow.rx_first} * stride;
  grow.tx_offset = tx_offset + std::uint64_t{grow.tx_first} * stride;
  meta.rx_slots += grow.rx_add;
  meta.tx_slots += grow.tx_add;
  if (grow.rx_add != 0) wake_waiters(file.shared);
  return 0;
}

long do_register(File& file, rdma_bulk_reg& reg) {
  static std::uint32_t next = 0;
  World& world = *state().world;
  if (reg.length == 0) return -EINVAL;
  for (std::uint32_t tries = 0; tries < max_regions; ++tries) {
    next = next % (max_regions - 1) + 1;  // never 0
    WorldRegion& region = world.regions[next];
    if (region.secret[0] != 0) continue;
    region = {{random_number(), random_number()}, getpid(), reg.access, reg.addr, reg.length};
    reg.handle = next;
    file.regions.push_back(next);
    const std::uint64_t key[3] = {next, region.secret[0], region.secret[1]};
    if (reg.access != 0) std::memcpy(reg.key, key, sizeof(key));
    return 0;
  }
  return -ENOSPC;
}

long do_deregister(File& file, const rdma_bulk_dereg& dereg) {
  const auto place = std::find(file.regions.begin(), file.regions.end(), dereg.handle);
  if (place == file.regions.end()) return -ENOENT;
  file.regions.erase(place);
  state().world->regions[dereg.handle] = {};
  return 0;
}

long do_open(File& file, rdma_bulk_ep_open& open) {
  open.ep = file.next_ep++;
  const bool there = find_channel(open.token) != nullptr;
  file.eps[open.ep] = {open.token, open.user_data, there && state().lag_us == 0, there ? 0 : ECONNREFUSED};
  post_own(file, there ? make_event(RDMA_BULK_EV_EP_UP, open.user_data, open.ep, 0)
                       : make_event(RDMA_BULK_EV_EP_DOWN, open.user_data, open.ep, -ECONNREFUSED));
  return 0;
}

long control(File& file, unsigned long request, void* argument) {
  switch (request) {
    case RDMA_BULK_IOC_QUERY:
      return do_query(*static_cast<rdma_bulk_query*>(argument));
    case RDMA_BULK_IOC_DOMAIN:
      file.kind = File::Kind::domain;
      return 0;
    case RDMA_BULK_IOC_BIND:
      return do_bind(file, *static_cast<rdma_bulk_bind*>(argument));
    case RDMA_BULK_IOC_GROW:
      return do_grow(file, *static_cast<rdma_bulk_grow*>(argument));
    case RDMA_BULK_IOC_REG:
      return do_register(file, *static_cast<rdma_bulk_reg*>(argument));
    case RDMA_BULK_IOC_DEREG:
      return do_deregister(file, *static_cast<rdma_bulk_dereg*>(argument));
    case RDMA_BULK_IOC_EP_OPEN:
      return do_open(file, *static_cast<rdma_bulk_ep_open*>(argument));
    case RDMA_BULK_IOC_EP_CLOSE:
      return file.eps.erase(static_cast<rdma_bulk_ep_close*>(argument)->ep) != 0 ? 0 : -ENOENT;
    case RDMA_BULK_IOC_SUBMIT: {
      const auto& list = *static_cast<rdma_bulk_submit*>(argument);
      const auto* cmds = reinterpret_cast<const rdma_bulk_cmd*>(list.cmds);
      for (std::uint32_t i = 0; i < list.count; ++i) {
        if (const int result = submit(file, cmds[i]); result < 0)
          return i == 0 ? result : static_cast<long>(i);
      }
      return list.count;
    }
    default:
      return -ENOTTY;
  }
}

// The channel is gone: this process's endpoints to it are down. (Other processes notice when they send.)
void end_channel(File& file) {
  State& s = state();
  for (WorldChannel& channel : s.world->channels) {
    if (channel.token == file.token) channel = {};
  }
  file.shared.meta().dead = true;
  std::erase_if(s.late, [&](const Late& late) { return late.token == file.token; });
  for (auto& [fd, other] : s.files) {
    for (auto& [number, ep] : other.eps) {
      if (ep.peer != file.token || ep.down != 0 || &other == &file) continue;
      ep.down = ECONNRESET;
      post_own(other, make_event(RDMA_BULK_EV_EP_DOWN, ep.user_data, number, -ECONNRESET));
    }
  }
}

// The device node is the shared file itself, so that mmap needs no help (UCX and Open MPI patch mmap).
int open_node() {
  const Guard guard;
  File file;
  file.token = random_number();
  file.shared.base =
      static_cast<std::byte*>(map_file(channel_path(file.token), channel_bytes, true, &file.shared.fd));
  if (file.shared.base == nullptr) return -1;
  file.wake_fd = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);  // always readable: who sleeps on it looks again
  const int fd = file.shared.fd;
  state().files[fd] = std::move(file);
  return fd;
}

void close_node(int fd) {
  const Guard guard;
  State& s = state();
  const auto place = s.files.find(fd);
  if (place == s.files.end()) return;
  File& file = place->second;
  if (file.kind == File::Kind::channel) end_channel(file);
  for (const std::uint32_t region : file.regions)
    s.world->regions[region] = {};
  unlink(channel_path(file.token).c_str());
  munmap(file.shared.base, channel_bytes);
  real_close(file.wake_fd);
  s.files.erase(place);
}

std::atomic<bool> in_use = false;

}  // namespace

}  // namespace bulk::test

// ---- in place of libc's ----

using namespace bulk::test;

extern "C" {

__attribute__((visibility("default"))) int open(const char* path, int flags, ...) {
  if (std::strcmp(path, RDMA_BULK_PATH) == 0) {
    in_use = true;
    return open_node();
  }
  va_list arguments;
  va_start(arguments, flags);
  const auto mode =
      static_cast<mode_t>((flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(arguments, unsigned) : 0);
  va_end(arguments);
  return real_open(path, flags, mode);
}

__attribute__((visibility("default"))) int open64(const char* path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const auto mode =
      static_cast<mode_t>((flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(arguments, unsigned) : 0);
  va_end(arguments);
  return open(path, flags, mode);
}

__attribute__((visibility("default"))) int ioctl(int fd, unsigned long request, ...) noexcept {
  va_list arguments;
  va_start(arguments, request);
  void* argument = va_arg(arguments, void*);
  va_end(arguments);
  if (_IOC_TYPE(request) == RDMA_BULK_IOC_MAGIC && in_use) {
    const Guard guard;
    const auto file = state().files.find(fd);
    if (file != state().files.end()) {
      const long result = control(file->second, request, argument);
      if (result >= 0) return static_cast<int>(result);
      errno = static_cast<int>(-result);
      return -1;
    }
  }
  static const auto function = real<int (*)(int, unsigned long, ...)>("ioctl");
  return function(fd, request, argument);
}

__attribute__((visibility("default"))) int epoll_ctl(int epoll_fd, int operation, int fd,
                                                     struct epoll_event* event) noexcept {
  static const auto function = real<int (*)(int, int, int, struct epoll_event*)>("epoll_ctl");
  if (in_use) {
    const Guard guard;
    const auto file = state().files.find(fd);
    if (file != state().files.end()) fd = file->second.wake_fd;
  }
  return function(epoll_fd, operation, fd, event);
}

__attribute__((visibility("default"))) int close(int fd) {
  if (fd >= 0 && in_use) close_node(fd);
  return real_close(fd);
}
}
