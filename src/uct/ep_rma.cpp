// SPDX-License-Identifier: BSD-3-Clause
//
// Reading and writing the remote process's memory. Small PUTs and GETs go through a transmit slot; large ones
// go straight between the two processes' memory.

#include <cstring>

#include "uct/ep.hpp"
#include "uct/ep_launch.hpp"
#include "uct/iface.hpp"
#include "uct/iov.hpp"
#include "uct/md.hpp"
#include "uct/rkey.hpp"
#include "uct/status.hpp"

namespace bulk::uct {

ucs_status_t Ep::put_short(const void* from, unsigned length, std::uint64_t remote, uct_rkey_t rkey) {
  if (length > max_message) return UCS_ERR_INVALID_PARAM;
  if (length == 0) return failure_;

  const Prepared prepared = prepare(OperationKind::put);
  if (prepared.status != UCS_OK) return prepared.status;
  std::memcpy(iface_.channel().tx_data(prepared.slot), from, length);
  return launch_put(prepared, length, remote, rkey);
}

ssize_t Ep::put_bcopy(uct_pack_callback_t pack, void* arg, std::uint64_t remote, uct_rkey_t rkey) {
  const Prepared prepared = prepare(OperationKind::put);
  if (prepared.status != UCS_OK) return prepared.status;

  const std::size_t length = pack(iface_.channel().tx_data(prepared.slot), arg);
  const ucs_status_t status = launch_put(prepared, length, remote, rkey);
  if (status != UCS_OK) return status;
  return static_cast<ssize_t>(length);
}

ucs_status_t Ep::launch_put(const Prepared& prepared, std::size_t length, std::uint64_t remote,
                            uct_rkey_t rkey) {
  const std::uint64_t user_data = prepared.operation->user_data();
  const Fence fence = fence_for_next();
  return launch(prepared, length, [&](Local from, bool) {
    return Command::put(handle_, from, length, Remote{remote, key_of(rkey)}, user_data, fence).quiet();
  });
}

ucs_status_t Ep::get_bcopy(uct_unpack_callback_t unpack, void* arg, std::size_t length, std::uint64_t remote,
                           uct_rkey_t rkey, uct_completion_t* completion) {
  if (length > max_message) return UCS_ERR_INVALID_PARAM;

  const Prepared prepared = prepare(OperationKind::get_bcopy);
  if (prepared.status != UCS_OK) return prepared.status;
  Operation& operation = *prepared.operation;
  operation.completion = completion;
  operation.unpack = unpack;
  operation.unpack_arg = arg;
  const ucs_status_t status =
      submit(Command::get(handle_, Local::slot(prepared.slot), length, Remote{remote, key_of(rkey)},
                          operation.user_data(), fence_for_next()),
             operation);
  if (status != UCS_INPROGRESS) static_cast<void>(iface_.channel().tx_release(prepared.slot));
  return status;
}

ucs_status_t Ep::put_zcopy(const uct_iov_t* iov, std::size_t count, std::uint64_t remote, uct_rkey_t rkey,
                           uct_completion_t* completion) {
  return put_or_get_zcopy(OperationKind::put, iov, count, remote, rkey, completion);
}

ucs_status_t Ep::get_zcopy(const uct_iov_t* iov, std::size_t count, std::uint64_t remote, uct_rkey_t rkey,
                           uct_completion_t* completion) {
  return put_or_get_zcopy(OperationKind::get, iov, count, remote, rkey, completion);
}

ucs_status_t Ep::put_or_get_zcopy(OperationKind kind, const uct_iov_t* iov, std::size_t count,
                                  std::uint64_t remote, uct_rkey_t rkey, uct_completion_t* completion) {
  const std::size_t length = total_length(iov, count);
  if (length == 0) return failure_;
  if (count != 1 || !is_contiguous(*iov) || length > max_rma) return UCS_ERR_INVALID_PARAM;
  if (const ucs_status_t status = user_post_status(); status != UCS_OK) {
    iface_.await_all_ends();
    return status;
  }

  Operation& operation = iface_.operations().take(kind, id_);
  operation.completion = completion;
  const Local local = iov->memh != UCT_MEM_HANDLE_NULL
                          ? Local::region(memory_of(iov->memh).region.handle(), iov->buffer)
                          : Local::user(iov->buffer);
  const Remote target{remote, key_of(rkey)};
  const std::uint64_t user_data = operation.user_data();
  const Fence fence = fence_for_next();
  return submit(kind == OperationKind::put ? Command::put(handle_, local, length, target, user_data, fence)
                                           : Command::get(handle_, local, length, target, user_data, fence),
                operation);
}

}  // namespace bulk::uct
