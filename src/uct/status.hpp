// SPDX-License-Identifier: BSD-3-Clause
//
// The kernel's error numbers in UCX's words.

#pragma once

#include <ucs/type/status.h>

#include <cerrno>

#include "channel/error.hpp"

namespace bulk::uct {

// For a positive errno; UCS_OK for 0. EAGAIN is "no resource": try again, or queue the request.
constexpr ucs_status_t ucs_status_of(int error) {
  switch (error) {
    case 0:
      return UCS_OK;
    case EAGAIN:
      return UCS_ERR_NO_RESOURCE;
    case ENOMEM:
    case ENOSPC:
      return UCS_ERR_NO_MEMORY;
    case EINVAL:
    case EOVERFLOW:
      return UCS_ERR_INVALID_PARAM;
    case EFAULT:
    case ERANGE:
      return UCS_ERR_INVALID_ADDR;
    case EACCES:
    case EPERM:
    case EKEYREJECTED:
    case ECONNREFUSED:
      return UCS_ERR_REJECTED;
    case EMSGSIZE:
      return UCS_ERR_EXCEEDS_LIMIT;
    case EBUSY:
      return UCS_ERR_BUSY;
    case ECANCELED:
      return UCS_ERR_CANCELED;
    case ENODEV:
    case ENXIO:
      return UCS_ERR_NO_DEVICE;
    case ENOENT:
      return UCS_ERR_NO_ELEM;
    case EPROTONOSUPPORT:
    case EOPNOTSUPP:
      return UCS_ERR_UNSUPPORTED;
    case EAFNOSUPPORT:
    case EHOSTUNREACH:
    case ENETUNREACH:
      return UCS_ERR_UNREACHABLE;
    case ETIMEDOUT:
      return UCS_ERR_ENDPOINT_TIMEOUT;
    case ECONNRESET:
    case EPIPE:
    case ENOTCONN:
      return UCS_ERR_CONNECTION_RESET;
    default:
      return UCS_ERR_IO_ERROR;
  }
}

constexpr ucs_status_t ucs_status_of(Status status) {
  return ucs_status_of(status.error());
}

}  // namespace bulk::uct
