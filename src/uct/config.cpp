// SPDX-License-Identifier: BSD-3-Clause

#include "uct/config.hpp"

#include "uct/abi/imports.hpp"

namespace bulk::uct {
namespace {

// In the order of Submission.
constinit const char* submission_names[] = {"auto", "ioctl", "io_uring", "sqpoll", nullptr};
static_assert(static_cast<int>(Submission::automatic) == 0 && static_cast<int>(Submission::ioctl) == 1 &&
              static_cast<int>(Submission::uring) == 2 && static_cast<int>(Submission::sqpoll) == 3);

}  // namespace

constinit ucs_config_field_t md_config_table[] = {
    {"", "", nullptr, offsetof(MdConfig, super), UCS_CONFIG_TYPE_TABLE(uct_md_config_table)},
    {},
};

constinit ucs_config_field_t iface_config_table[] = {
    {"", "", nullptr, offsetof(IfaceConfig, super), UCS_CONFIG_TYPE_TABLE(uct_iface_config_table)},

    {"SUBMIT", "auto",
     "How operations are handed to the kernel:\n"
     "  auto     - a lone one by ioctl, several by io_uring where that is allowed\n"
     "  ioctl    - always by ioctl; works everywhere\n"
     "  io_uring - always by io_uring; fails where the kernel or a container forbids it\n"
     "  sqpoll   - by io_uring with a kernel thread that looks for operations: fewer\n"
     "             system calls, one busy processor core for each interface",
     offsetof(IfaceConfig, submission), UCS_CONFIG_TYPE_ENUM(submission_names)},

    {"SLOTS", "64",
     "Message buffers of each direction that an interface has from its first endpoint on\n"
     "(8 KiB each). The number of messages under way is limited by it.",
     offsetof(IfaceConfig, slots), UCS_CONFIG_TYPE_UINT},

    {"MAX_RX_SLOTS", "0",
     "Up to how many receive buffers an interface may grow while senders wait for them;\n"
     "0 leaves it to the kernel's limit.",
     offsetof(IfaceConfig, max_rx_slots), UCS_CONFIG_TYPE_UINT},

    {"MAX_EVENTS", "32",
     "Messages and completions that one call of progress handles before it returns to the\n"
     "other transports.",
     offsetof(IfaceConfig, max_events), UCS_CONFIG_TYPE_UINT},

    {"YIELD_AFTER", "64",
     "After so many calls of progress in a row that found nothing, give the processor away\n"
     "in each further one (sched_yield), so that a process that polls does not keep it from\n"
     "the kernel, or from the process it waits for; inf never does.",
     offsetof(IfaceConfig, yield_after), UCS_CONFIG_TYPE_UINT},

    {"IDLE_SLEEP", "auto",
     "Whether a process that has polled in vain for a moment (0.05 ms at most) sleeps in further\n"
     "calls of progress, until something happens: for 0.1 ms at most beside other transports, else\n"
     "for 1 to 5 ms. Leaves the processors to those who do the work, at the price of a wake-up.\n"
     "auto does it on software RDMA devices, which work on the same processors.",
     offsetof(IfaceConfig, idle_sleep), UCS_CONFIG_TYPE_ON_OFF_AUTO},

    {"BANDWIDTH", "auto",
     "Bandwidth to expect of the device, for choosing between transports and protocols;\n"
     "auto takes the port's speed.",
     offsetof(IfaceConfig, bandwidth), UCS_CONFIG_TYPE_BW},

    {"LATENCY", "auto", "Latency to expect of a message (e.g. 5e-6 for 5 microseconds), or auto.",
     offsetof(IfaceConfig, latency), UCS_CONFIG_TYPE_POS_DOUBLE},

    {},
};

}  // namespace bulk::uct
