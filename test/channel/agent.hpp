// SPDX-License-Identifier: BSD-3-Clause
//
// A second process for tests: this program, started again as `PROGRAM --agent SUBMISSION`, here or on another
// host by ssh. It binds a channel of its own and does what lines on its standard input say, one at a time,
// answering each with one line ("ok ..." or "error ..."). Between lines it makes progress on its channel.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "channel/types.hpp"

namespace bulk::lab {

struct Node;

// The agent's main function. Returns its exit status.
int agent_main(const std::string& submission);

// The test's end of this program started again with `arguments`, here or on `host` by ssh; a conversation in
// lines. Killed at the end.
class Process {
 public:
  Process(const std::vector<std::string>& arguments, const std::string& host);
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;
  ~Process();

  // Writes a line.
  void tell(const std::string& line);
  // The next line; nothing at the end, or when none comes. Meanwhile `node` makes progress.
  std::optional<std::string> read_line(Node* node = nullptr);
  bool remote() const { return remote_; }

 protected:
  pid_t pid_ = -1;

 private:
  int in_ = -1;   // to the process
  int out_ = -1;  // from it
  bool remote_;
  std::string buffer_;
};

// The test's end of an agent.
class Agent : public Process {
 public:
  // Check started().
  explicit Agent(const std::string& submission, const std::string& host = {});

  bool started() const { return !address_text_.empty(); }
  Address address() const;  // of its channel

  // Sends a line and returns the rest of the answer behind "ok "; nothing (and a test failure) for anything
  // else. Commands:
  //   open ADDRESS                        an endpoint, and waits until it is up
  //   send COUNT LENGTH SEED              messages with ids 0, 1, ... filled by SEED, SEED + 1, ...
  //   expect COUNT LENGTH SEED            waits for such messages, in order, and compares them
  //   hold | release                      keeps receive slots from now on; returns all that are kept
  //   region BYTES r|w|rw                 registers zeroed memory; answers "ADDRESS KEY"
  //   fill OFFSET LENGTH SEED             in the region
  //   check OFFSET LENGTH SEED            in the region
  //   put|get BYTES ADDRESS KEY SEED      to/from the remote region; get compares
  //   tell-key                            sends a message with the region's key, naming the region
  //   deregister                          with Deregister::invalidate
  //   down                                waits until the endpoint is down; answers the errno
  //   stream ADDRESS KEY BYTES            answers, then puts, gets and sends until the next line, ignoring
  //   errors hold-file                           a forked child keeps the files open until the test is over
  //   exec                                answers, then becomes another program (its memory ends)
  //   die                                 kills itself (SIGKILL) without an answer
  // Meanwhile `node` makes progress.
  std::optional<std::string> ask(const std::string& line, Node* node = nullptr);
  // kill -9 for a local agent, "die" for a remote one. Returns when it is gone.
  void kill();

 private:
  std::string address_text_;
};

std::string hex(const Key& key);
std::optional<Key> key_from_hex(const std::string& text);

}  // namespace bulk::lab
