// SPDX-License-Identifier: BSD-3-Clause
//
// How a command leaves whose payload is in a transmit slot: shared by ep_am.cpp and ep_rma.cpp.

#pragma once

#include <cerrno>
#include <cstring>
#include <utility>

#include "uct/ep.hpp"
#include "uct/iface.hpp"
#include "uct/status.hpp"

namespace bulk::uct {

template <class Make>
ucs_status_t Ep::launch(const Prepared& prepared, std::size_t length, Make&& make) {
  Channel& channel = iface_.channel();
  Operation& operation = *prepared.operation;

  Status status = blocked_ ? Status(EAGAIN) : channel.submit(make(Local::slot(prepared.slot), true));
  if (status.ok()) {
    accepted(operation);
    return UCS_OK;
  }
  if (!status.again()) {
    give_up(prepared);
    return refused(status);
  }

  blocked_ = true;
  operation.copy.reset(static_cast<std::byte*>(std::malloc(length != 0 ? length : 1)));
  if (operation.copy == nullptr) {
    give_up(prepared);
    return UCS_ERR_NO_MEMORY;
  }
  std::memcpy(operation.copy.get(), channel.tx_data(prepared.slot), length);
  static_cast<void>(channel.tx_release(prepared.slot));
  // A message to a new endpoint is offered as a copy: to many of them at once, all slots would be under way.
  if (state_ == State::connecting && std::exchange(first_, false)) {
    status = channel.submit(make(Local::user(operation.copy.get()), true));
    if (!status.again()) {
      operation.copy.reset();
      if (status.ok()) {
        accepted(operation);
        return UCS_OK;
      }
      iface_.operations().put_back(operation);
      return refused(status);
    }
  }
  deferred_ = Deferred{make(Local::user(operation.copy.get()), false), &operation};
  accepted(operation);
  return UCS_OK;
}

}  // namespace bulk::uct
