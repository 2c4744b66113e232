// SPDX-License-Identifier: BSD-3-Clause
//
// ucp_verify: moves messages of all sizes, alignments and shapes between two processes through UCP's public
// interface, and checks every byte. It knows nothing of the transport: UCX_TLS chooses.
//
//   host 2:  ucp_verify --server
//   host 1:  ucp_verify --connect host2
//
// The client decides what is run; it prints a line `ok NAME` or `not ok NAME - why` for each test. Exit
// status: 0 all passed, 1 something failed, 2 it could not begin. What is tried depends only on --seed, so
// that a failure can be repeated.

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "verify_memory.h"
#include "verify_oob.h"
#include "verify_session.h"
#include "verify_transfer.h"

namespace {

using verify::Fatal;
using verify::Kind;
using verify::Layout;
using verify::Order;
using verify::Plan;
using verify::Random;
using verify::Role;
using verify::Session;
using Clock = std::chrono::steady_clock;

// A test: which transfers are made, and how.
struct Recipe {
  std::string_view name;
  std::vector<Kind> kinds;
  Layout layout = Layout::contiguous;  // of half of the sources and half of the destinations
  Order order = Order::any;
  std::uint32_t am_flags = 0;
  bool both_ways = false;  // at the same time
  bool truncated = false;
};

const std::vector<Recipe>& recipes() {
  static const std::vector<Recipe> all{
      {.name = "tag", .kinds = {Kind::tag}},
      {.name = "tag-sync", .kinds = {Kind::tag_sync}},
      {.name = "tag-unexpected", .kinds = {Kind::tag, Kind::tag_sync}, .order = Order::unexpected},
      {.name = "tag-truncated", .kinds = {Kind::tag}, .truncated = true},
      {.name = "tag-iov", .kinds = {Kind::tag}, .layout = Layout::iov},
      {.name = "tag-generic", .kinds = {Kind::tag}, .layout = Layout::generic},
      {.name = "am", .kinds = {Kind::am}},
      {.name = "am-eager", .kinds = {Kind::am}, .am_flags = UCP_AM_SEND_FLAG_EAGER},
      {.name = "am-rendezvous", .kinds = {Kind::am}, .am_flags = UCP_AM_SEND_FLAG_RNDV},
      {.name = "am-iov", .kinds = {Kind::am}, .layout = Layout::iov},
      {.name = "put", .kinds = {Kind::put}},
      {.name = "get", .kinds = {Kind::get}},
      {.name = "both-ways",
       .kinds = {Kind::tag, Kind::tag_sync, Kind::am, Kind::put, Kind::get},
       .both_ways = true},
      // For endpoints that are to fail: UCX 1.18 aborts the process when a GET waits for its turn then.
      {.name = "both-ways-without-get",
       .kinds = {Kind::tag, Kind::tag_sync, Kind::am, Kind::put},
       .both_ways = true},
  };
  return all;
}

constexpr std::string_view atomics_test = "atomics";

std::vector<std::string> all_names() {
  std::vector<std::string> names;
  for (const Recipe& recipe : recipes())
    names.emplace_back(recipe.name);
  names.emplace_back(atomics_test);
  return names;
}

// What the client tells the server.
struct Job {
  std::uint64_t seed = 0;
  std::size_t max_size = std::size_t{64} << 20U;
  unsigned count = 30;   // random sizes per test, beside the fixed ones
  unsigned seconds = 0;  // repeat the last test for so long
  bool peer_errors = false;
  bool wakeup = false;
  std::vector<std::string> tests;

  [[nodiscard]] std::string encode() const {
    return fmt::format("ucp_verify-1 {} {} {} {} {} {} {}", seed, max_size, count, seconds, int{peer_errors},
                       int{wakeup}, fmt::join(tests, " "));
  }
  static Job decode(const std::string& text) {
    Job job;
    std::istringstream in(text);
    std::string magic;
    in >> magic >> job.seed >> job.max_size >> job.count >> job.seconds >> job.peer_errors >> job.wakeup;
    if (!in || magic != "ucp_verify-1") throw Fatal("the other end is no ucp_verify of this version");
    for (std::string name; in >> name;)
      job.tests.push_back(name);
    return job;
  }
};

// All sizes of one test: around the places where protocols change, and random ones, small and large alike.
std::vector<std::size_t> sizes_of(const Job& job, Random& random) {
  std::vector<std::size_t> sizes{0, 1, 2, 7, 8, 9, 63, 64, 65, job.max_size};
  for (const std::size_t edge : {256U, 1024U, 4096U, 8192U, 8256U, 16384U, 65536U, 262144U, 1048576U}) {
    sizes.insert(sizes.end(), {edge - 1, edge, edge + 1 + random.below(100)});
  }
  for (unsigned i = 0; i < job.count; ++i) {
    std::size_t limit = job.max_size;
    const std::uint64_t halvings = random.below(27);
    for (std::uint64_t h = 0; h < halvings && limit > 16; ++h)
      limit /= 2;
    sizes.push_back(random.below(limit + 1));
  }
  std::erase_if(sizes, [&](std::size_t size) { return size > job.max_size; });
  for (std::size_t i = sizes.size(); i > 1; --i)
    std::swap(sizes[i - 1], sizes[random.below(i)]);
  return sizes;
}

// Each end keeps one of these; as both see the same jobs, both make the same plans.
class Planner {
 public:
  explicit Planner(const Job& job) : job_(job), random_(job.seed) {}

  // The transfers of one test, in chunks that fit into memory.
  std::vector<std::vector<Plan>> chunks(const Recipe& recipe) {
    constexpr std::size_t chunk_bytes = std::size_t{64} << 20U;
    std::vector<std::vector<Plan>> chunks;
    std::size_t bytes = 0;
    std::size_t places = 0;
    Role destination = Role::client;
    for (const std::size_t size : sizes_of(job_, random_)) {
      if (places == 0 || bytes + size > chunk_bytes) {
        chunks.emplace_back();
        bytes = 0;
        places = 1 + random_.below(recipe.both_ways ? 32 : 8);
        destination = destination == Role::client ? Role::server : Role::client;
      }
      if (recipe.both_ways) destination = random_.chance(2) ? Role::client : Role::server;
      chunks.back().push_back(plan(recipe, size, destination));
      bytes += size;
      --places;
    }
    return chunks;
  }

 private:
  Plan plan(const Recipe& recipe, std::size_t size, Role destination) {
    Plan made{};
    made.kind = recipe.kinds[random_.below(recipe.kinds.size())];
    made.destination = destination;
    made.index = ++index_;
    made.seed = random_.next();
    made.size = size;
    made.room = recipe.truncated && size > 0 && random_.chance(2) ? random_.below(size) : size;
    made.source_misalignment = misalignment();
    made.destination_misalignment = misalignment();
    made.source_layout = random_.chance(2) ? Layout::contiguous : recipe.layout;
    made.destination_layout =
        made.source_layout == Layout::contiguous || random_.chance(2) ? recipe.layout : Layout::contiguous;
    made.registered = random_.chance(2);
    made.am_flags = recipe.am_flags;
    made.header_length = random_.below(100);
    made.held = random_.chance(2);
    return made;
  }

  std::size_t misalignment() { return random_.chance(3) ? 0 : random_.below(64); }

  Job job_;
  Random random_;
  std::uint32_t index_ = 0;
};

class Problems {
 public:
  void add(const std::vector<std::string>& found) { all_.insert(all_.end(), found.begin(), found.end()); }
  [[nodiscard]] bool none() const { return all_.empty(); }
  // A few of them, on one line.
  [[nodiscard]] std::string text() const {
    constexpr std::size_t shown = 3;
    std::string text;
    for (std::size_t i = 0; i < std::min(shown, all_.size()); ++i)
      text += (i == 0 ? "" : "; ") + all_[i];
    if (all_.size() > shown) text += fmt::format("; and {} more", all_.size() - shown);
    return text;
  }

 private:
  std::vector<std::string> all_;
};

std::vector<std::string> run_recipe(Session& session, Planner& planner, const Recipe& recipe) {
  Problems problems;
  for (const auto& chunk : planner.chunks(recipe))
    problems.add(verify::run_chunk(session, chunk, recipe.order));
  if (problems.none()) return {};
  return {problems.text()};
}

// Both ends add to one counter of the server at once: every value is fetched exactly once.
std::vector<std::string> run_atomics(Session& session) {
  constexpr std::uint64_t rounds = 200;
  alignas(64) std::array<std::uint64_t, 2> counters{};
  ucp_mem_map_params_t map{};
  map.field_mask = UCP_MEM_MAP_PARAM_FIELD_ADDRESS | UCP_MEM_MAP_PARAM_FIELD_LENGTH;
  map.address = counters.data();
  map.length = sizeof(counters);
  ucp_mem_h handle = nullptr;
  verify::require(ucp_mem_map(session.context(), &map, &handle), "ucp_mem_map");
  void* packed = nullptr;
  size_t packed_length = 0;
  verify::require(ucp_rkey_pack(session.context(), handle, &packed, &packed_length), "ucp_rkey_pack");
  const auto own_address = reinterpret_cast<std::uint64_t>(counters.data());
  std::string mine(reinterpret_cast<const char*>(&own_address), sizeof(own_address));
  mine.append(static_cast<const char*>(packed), packed_length);
  ucp_rkey_buffer_release(packed);
  const std::string theirs = session.exchange(mine);
  std::uint64_t address = 0;
  if (theirs.size() <= sizeof(address)) throw Fatal("the other end sent no key");
  std::memcpy(&address, theirs.data(), sizeof(address));
  ucp_rkey_h rkey = nullptr;
  verify::require(ucp_ep_rkey_unpack(session.endpoint(), theirs.data() + sizeof(address), &rkey),
                  "ucp_ep_rkey_unpack");

  std::vector<std::string> problems;
  std::uint64_t previous = 0;
  for (std::uint64_t i = 0; i < rounds && problems.empty(); ++i) {
    std::uint64_t one = 1;
    std::uint64_t fetched = ~std::uint64_t{0};
    ucp_request_param_t param{};
    param.op_attr_mask = UCP_OP_ATTR_FIELD_DATATYPE | UCP_OP_ATTR_FIELD_REPLY_BUFFER;
    param.datatype = ucp_dt_make_contig(sizeof(one));
    param.reply_buffer = &fetched;
    ucs_status_ptr_t request =
        ucp_atomic_op_nbx(session.endpoint(), UCP_ATOMIC_OP_ADD, &one, 1, address, rkey, &param);
    ucs_status_t status = UCS_PTR_STATUS(request);
    if (UCS_PTR_IS_PTR(request)) {
      session.wait("an atomic operation",
                   [&] { return (status = ucp_request_check_status(request)) != UCS_INPROGRESS; });
      ucp_request_free(request);
    }
    if (status != UCS_OK) {
      problems.push_back(fmt::format("fetch-and-add {}: {}", i, ucs_status_string(status)));
    } else if (fetched != i) {
      problems.push_back(
          fmt::format("fetch-and-add {}: expected {}, got {} (before it {})", i, i, fetched, previous));
    }
    previous = fetched;
    // The other half of the work: add without an answer.
    ucp_request_param_t quiet{};
    quiet.op_attr_mask = UCP_OP_ATTR_FIELD_DATATYPE;
    quiet.datatype = ucp_dt_make_contig(sizeof(one));
    request = ucp_atomic_op_nbx(session.endpoint(), UCP_ATOMIC_OP_ADD, &one, 1, address + sizeof(one), rkey,
                                &quiet);
    if (UCS_PTR_IS_PTR(request)) {
      session.wait("an atomic operation",
                   [&] { return ucp_request_check_status(request) != UCS_INPROGRESS; });
      ucp_request_free(request);
    }
  }
  session.flush();
  session.exchange("added");
  for (const std::uint64_t counter : counters) {
    const std::uint64_t got = *const_cast<const volatile std::uint64_t*>(&counter);
    if (got != rounds) problems.push_back(fmt::format("counter: expected {}, got {}", rounds, got));
  }
  ucp_rkey_destroy(rkey);
  ucp_mem_unmap(session.context(), handle);
  return problems;
}

const Recipe* find_recipe(std::string_view name) {
  const auto it =
      std::find_if(recipes().begin(), recipes().end(), [&](const Recipe& r) { return r.name == name; });
  return it == recipes().end() ? nullptr : &*it;
}

std::vector<std::string> run_test(Session& session, Planner& planner, const std::string& name) {
  if (const Recipe* recipe = find_recipe(name)) return run_recipe(session, planner, *recipe);
  if (name == atomics_test) return run_atomics(session);
  throw Fatal("no test has the name " + name);
}

// True if all tests passed on both ends.
bool run_job(Session& session, const Job& job, std::string& current) {
  Planner planner(job);
  bool all_good = true;
  const bool client = session.role() == Role::client;
  if (client) fmt::print("1..{}\n", job.tests.size());
  for (const std::string& name : job.tests) {
    current = name;
    const bool last = &name == &job.tests.back();
    const auto end = Clock::now() + std::chrono::seconds(job.seconds);
    std::vector<std::string> problems;
    unsigned rounds = 0;
    for (std::string go_on = "yes"; go_on == "yes"; ++rounds) {
      const auto found = run_test(session, planner, name);
      problems.insert(problems.end(), found.begin(), found.end());
      // The client's clock decides for both.
      const bool more = client && last && Clock::now() < end && problems.empty();
      const std::string theirs = session.exchange(more ? "yes" : "no");
      go_on = client ? (more ? "yes" : "no") : theirs;
    }
    const std::string own = problems.empty() ? "" : problems.front();
    const std::string theirs = session.exchange(own);
    const bool good = own.empty() && theirs.empty();
    all_good = all_good && good;
    if (good) {
      fmt::print("ok {}\n", name);
    } else {
      fmt::print("not ok {} -{}{}{}{}\n", name,
                 own.empty() ? ""
                 : client    ? " client: "
                             : " server: ",
                 own,
                 theirs.empty() ? ""
                 : client       ? " server: "
                                : " client: ",
                 theirs);
    }
    std::fflush(stdout);
  }
  return all_good;
}

int run(int argc, char** argv) {
  CLI::App app{"Moves data between two processes through UCP and checks every byte.", "ucp_verify"};
  bool server = false;
  bool expect_failure = false;
  std::string host;
  std::string port = "18520";
  Job job;
  verify::SessionOptions options;
  unsigned stall_seconds = 120;
  unsigned death_ms = 2000;

  auto* server_flag = app.add_flag("--server", server, "wait for a client, do what it says, exit");
  app.add_option("--connect", host, "be the client of the server on this host")->excludes(server_flag);
  app.add_option("--port", port, "TCP port for the exchange of addresses")->capture_default_str();
  auto* seed =
      app.add_option("--seed", job.seed, "decides sizes, alignments and contents (default: random, printed)");
  app.add_option("--max-size", job.max_size, "largest message, bytes")->capture_default_str();
  app.add_option("--count", job.count, "random sizes for each test, beside the fixed ones")
      ->capture_default_str();
  app.add_option("--tests", job.tests, "tests to run, by name (default: all)")
      ->delimiter(',')
      ->check(CLI::IsMember(all_names()));
  app.add_option("--seconds", job.seconds, "repeat the last test for so long");
  app.add_flag("--peer-errors", job.peer_errors, "let UCX handle the death of the other end");
  app.add_flag("--wakeup", job.wakeup, "sleep in poll() where there is nothing to do, on both ends");
  app.add_flag("--expect-failure", expect_failure,
               "pass if the endpoint fails, and quickly once the other end is gone");
  app.add_option("--death-limit", death_ms, "how long that may take, ms")->capture_default_str();
  app.add_option("--stall-limit", stall_seconds, "give up after so long without an end, s")
      ->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  if (!server && host.empty()) {
    fmt::print(stderr, "ucp_verify: --server or --connect HOST is needed\n");
    return 2;
  }

  const Role role = server ? Role::server : Role::client;
  std::string current = "start";
  try {
    verify::OutOfBand oob = server ? verify::OutOfBand::listen(port)
                                   : verify::OutOfBand::connect(host, port, std::chrono::seconds(60));
    if (server) {
      job = Job::decode(oob.receive());
    } else {
      if (job.tests.empty()) {
        job.tests = all_names();
        // UCX has no emulated atomics for endpoints with error handling.
        if (job.peer_errors) std::erase(job.tests, atomics_test);
      }
      if (seed->count() == 0) job.seed = std::random_device{}();
      fmt::print("# seed {}\n", job.seed);
      oob.send(job.encode());
    }
    options.stall_limit = std::chrono::seconds(stall_seconds);
    options.death_limit = std::chrono::milliseconds(death_ms);
    options.peer_errors = job.peer_errors;
    options.wakeup = job.wakeup;
    options.atomics = std::find(job.tests.begin(), job.tests.end(), atomics_test) != job.tests.end();

    Session session(role, std::move(oob), options);
    try {
      const bool good = run_job(session, job, current);
      session.close_endpoint(false);
      session.exchange("closed");
      if (expect_failure) fmt::print("not ok endpoint-error - the endpoint did not fail\n");
      return good && !expect_failure ? 0 : 1;
    } catch (const Fatal& fatal) {
      session.close_endpoint(true);
      if (!expect_failure) throw;
      const bool failed = session.endpoint_error().has_value();
      fmt::print("{} endpoint-error - {}\n", failed ? "ok" : "not ok", fatal.what());
      std::fflush(stdout);
      if (session.has_stranded_receives()) std::_Exit(failed ? 0 : 1);
      return failed ? 0 : 1;
    }
  } catch (const std::exception& error) {
    fmt::print("not ok {} - {}\n", current, error.what());
    return current == "start" ? 2 : 1;
  }
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "ucp_verify: %s\n", error.what());
    return 2;
  }
}
