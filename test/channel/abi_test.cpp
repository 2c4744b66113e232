// SPDX-License-Identifier: BSD-3-Clause
//
// The ABI's sizes, offsets and numbers, written down independently of the header. Whoever must change a line
// here is changing the ABI: programs that exist stop working, and RDMA_BULK_ABI_VERSION must rise.
#include <gtest/gtest.h>

#include <cstddef>

#include "channel/abi.hpp"

namespace {

#define FIELD(type, field, offset, size)                                                                     \
  EXPECT_EQ(offsetof(struct type, field), std::size_t{offset}) << #type "." #field " is at the wrong place"; \
  EXPECT_EQ(sizeof(type::field), std::size_t{size}) << #type "." #field " has the wrong size"

TEST(Abi, constants) {
  EXPECT_EQ(RDMA_BULK_ABI_VERSION, 1);
  EXPECT_STREQ(RDMA_BULK_PATH, "/dev/infiniband/rdma_bulk");
  EXPECT_EQ(RDMA_BULK_NAME_MAX, 32);
  EXPECT_EQ(RDMA_BULK_ADDR_MAX, 28);
  EXPECT_EQ(RDMA_BULK_KEY_BYTES, 24);
  EXPECT_EQ(RDMA_BULK_SLOT_PAYLOAD, 8256);
  EXPECT_EQ(RDMA_BULK_MAX_HEADROOM, 512);
  EXPECT_EQ(RDMA_BULK_MAX_OP, 1073741824UL);
  EXPECT_EQ(RDMA_BULK_RETURN_MAX, 16);
  EXPECT_EQ(RDMA_BULK_NO_SLOT, 0xffffffffU);
  EXPECT_EQ(RDMA_BULK_DEFAULT_PORT, 20218);
}

TEST(Abi, ioctl_numbers) {
  // _IO(0xb7, n): no direction, no size
  EXPECT_EQ(RDMA_BULK_IOC_QUERY, 0xb700U);
  EXPECT_EQ(RDMA_BULK_IOC_DOMAIN, 0xb701U);
  EXPECT_EQ(RDMA_BULK_IOC_BIND, 0xb702U);
  EXPECT_EQ(RDMA_BULK_IOC_GROW, 0xb703U);
  EXPECT_EQ(RDMA_BULK_IOC_REG, 0xb704U);
  EXPECT_EQ(RDMA_BULK_IOC_DEREG, 0xb705U);
  EXPECT_EQ(RDMA_BULK_IOC_EP_OPEN, 0xb706U);
  EXPECT_EQ(RDMA_BULK_IOC_EP_CLOSE, 0xb707U);
  EXPECT_EQ(RDMA_BULK_IOC_SUBMIT, 0xb708U);
  EXPECT_EQ(RDMA_BULK_IOC_STATS, 0xb709U);
  EXPECT_EQ(RDMA_BULK_URING_SUBMIT, 1);
}

TEST(Abi, enumerations) {
  EXPECT_EQ(RDMA_BULK_LINK_ROCE, 1);
  EXPECT_EQ(RDMA_BULK_LINK_IB, 2);
  EXPECT_EQ(RDMA_BULK_LINK_IWARP, 3);
  EXPECT_EQ(RDMA_BULK_EV_DONE, 1);
  EXPECT_EQ(RDMA_BULK_EV_RECV, 2);
  EXPECT_EQ(RDMA_BULK_EV_EP_UP, 3);
  EXPECT_EQ(RDMA_BULK_EV_EP_DOWN, 4);
  EXPECT_EQ(RDMA_BULK_EV_WRITABLE, 5);
  EXPECT_EQ(RDMA_BULK_EV_RX_LOW, 6);
  EXPECT_EQ(RDMA_BULK_EV_REMOVED, 7);
  EXPECT_EQ(RDMA_BULK_ACCESS_REMOTE_READ, 1U);
  EXPECT_EQ(RDMA_BULK_ACCESS_REMOTE_WRITE, 2U);
  EXPECT_EQ(RDMA_BULK_DEREG_INVALIDATE, 1U);
  EXPECT_EQ(RDMA_BULK_OP_SEND, 1);
  EXPECT_EQ(RDMA_BULK_OP_PUT, 2);
  EXPECT_EQ(RDMA_BULK_OP_GET, 3);
  EXPECT_EQ(RDMA_BULK_OP_FLUSH, 4);
  EXPECT_EQ(RDMA_BULK_OP_RETURN, 5);
  EXPECT_EQ(RDMA_BULK_LOCAL_USER, 0);
  EXPECT_EQ(RDMA_BULK_LOCAL_SLOT, 1);
  EXPECT_EQ(RDMA_BULK_LOCAL_REGION, 2);
  EXPECT_EQ(RDMA_BULK_CMD_FENCE, 1U);
  EXPECT_EQ(RDMA_BULK_CMD_FENCE_ALL, 2U);
  EXPECT_EQ(RDMA_BULK_CMD_REMOTE, 4U);
  EXPECT_EQ(RDMA_BULK_CMD_QUIET, 8U);
  EXPECT_EQ(RDMA_BULK_ARMED, 1);
  EXPECT_EQ(RDMA_BULK_ARMED_LOUD, 2);
}

TEST(Abi, device) {
  EXPECT_EQ(sizeof(rdma_bulk_device), 88U);
  FIELD(rdma_bulk_device, name, 0, 32);
  FIELD(rdma_bulk_device, netdev, 32, 16);
  FIELD(rdma_bulk_device, addr, 48, 28);
  FIELD(rdma_bulk_device, link_layer, 76, 1);
  FIELD(rdma_bulk_device, port_num, 77, 1);
  FIELD(rdma_bulk_device, reserved, 78, 2);
  FIELD(rdma_bulk_device, mtu, 80, 4);
  FIELD(rdma_bulk_device, speed, 84, 4);
}

TEST(Abi, query) {
  EXPECT_EQ(sizeof(rdma_bulk_query), 64U);
  FIELD(rdma_bulk_query, size, 0, 4);
  FIELD(rdma_bulk_query, abi_version, 4, 4);
  FIELD(rdma_bulk_query, flags, 8, 4);
  FIELD(rdma_bulk_query, device_size, 12, 4);
  FIELD(rdma_bulk_query, devices, 16, 8);
  FIELD(rdma_bulk_query, ndevices, 24, 4);
  FIELD(rdma_bulk_query, max_rx_slots, 28, 4);
  FIELD(rdma_bulk_query, max_tx_slots, 32, 4);
  FIELD(rdma_bulk_query, max_commands, 36, 4);
  FIELD(rdma_bulk_query, service_port, 40, 2);
  FIELD(rdma_bulk_query, reserved, 42, 6);
  FIELD(rdma_bulk_query, max_op_bytes, 48, 8);
  FIELD(rdma_bulk_query, instance, 56, 8);
}

TEST(Abi, domain) {
  EXPECT_EQ(sizeof(rdma_bulk_domain), 16U);
  FIELD(rdma_bulk_domain, size, 0, 4);
  FIELD(rdma_bulk_domain, abi_version, 4, 4);
  FIELD(rdma_bulk_domain, flags, 8, 4);
  FIELD(rdma_bulk_domain, reserved, 12, 4);
}

TEST(Abi, bind) {
  EXPECT_EQ(sizeof(rdma_bulk_bind), 168U);
  FIELD(rdma_bulk_bind, size, 0, 4);
  FIELD(rdma_bulk_bind, abi_version, 4, 4);
  FIELD(rdma_bulk_bind, domain_fd, 8, 4);
  FIELD(rdma_bulk_bind, flags, 12, 4);
  FIELD(rdma_bulk_bind, device, 16, 32);
  FIELD(rdma_bulk_bind, rx_slots, 48, 4);
  FIELD(rdma_bulk_bind, tx_slots, 52, 4);
  FIELD(rdma_bulk_bind, rx_headroom, 56, 4);
  FIELD(rdma_bulk_bind, events, 60, 4);
  FIELD(rdma_bulk_bind, token, 64, 8);
  FIELD(rdma_bulk_bind, addr, 72, 28);
  FIELD(rdma_bulk_bind, reserved, 100, 4);
  FIELD(rdma_bulk_bind, rx_stride, 104, 4);
  FIELD(rdma_bulk_bind, tx_stride, 108, 4);
  FIELD(rdma_bulk_bind, ctrl_offset, 112, 8);
  FIELD(rdma_bulk_bind, ring_offset, 120, 8);
  FIELD(rdma_bulk_bind, ring_bytes, 128, 8);
  FIELD(rdma_bulk_bind, rx_offset, 136, 8);
  FIELD(rdma_bulk_bind, rx_bytes, 144, 8);
  FIELD(rdma_bulk_bind, tx_offset, 152, 8);
  FIELD(rdma_bulk_bind, tx_bytes, 160, 8);
}

TEST(Abi, grow) {
  EXPECT_EQ(sizeof(rdma_bulk_grow), 56U);
  FIELD(rdma_bulk_grow, size, 0, 4);
  FIELD(rdma_bulk_grow, flags, 4, 4);
  FIELD(rdma_bulk_grow, rx_add, 8, 4);
  FIELD(rdma_bulk_grow, tx_add, 12, 4);
  FIELD(rdma_bulk_grow, rx_first, 16, 4);
  FIELD(rdma_bulk_grow, tx_first, 20, 4);
  FIELD(rdma_bulk_grow, rx_offset, 24, 8);
  FIELD(rdma_bulk_grow, rx_bytes, 32, 8);
  FIELD(rdma_bulk_grow, tx_offset, 40, 8);
  FIELD(rdma_bulk_grow, tx_bytes, 48, 8);
}

TEST(Abi, ctrl_and_ring) {
  EXPECT_EQ(sizeof(rdma_bulk_ctrl), 8U);
  FIELD(rdma_bulk_ctrl, consumer, 0, 4);
  FIELD(rdma_bulk_ctrl, armed, 4, 4);
  EXPECT_EQ(sizeof(rdma_bulk_ring), 64U);
  FIELD(rdma_bulk_ring, producer, 0, 4);
  FIELD(rdma_bulk_ring, events, 4, 4);
  FIELD(rdma_bulk_ring, reserved, 8, 56);
  EXPECT_EQ(offsetof(rdma_bulk_ring, entry), 64U);
}

TEST(Abi, event) {
  EXPECT_EQ(sizeof(rdma_bulk_event), 32U);
  FIELD(rdma_bulk_event, user_data, 0, 8);
  FIELD(rdma_bulk_event, type, 8, 2);
  FIELD(rdma_bulk_event, id, 10, 2);
  FIELD(rdma_bulk_event, result, 12, 4);
  FIELD(rdma_bulk_event, ep, 16, 4);
  FIELD(rdma_bulk_event, slot, 20, 4);
  FIELD(rdma_bulk_event, length, 24, 8);
}

TEST(Abi, regions) {
  EXPECT_EQ(sizeof(rdma_bulk_reg), 56U);
  FIELD(rdma_bulk_reg, size, 0, 4);
  FIELD(rdma_bulk_reg, access, 4, 4);
  FIELD(rdma_bulk_reg, addr, 8, 8);
  FIELD(rdma_bulk_reg, length, 16, 8);
  FIELD(rdma_bulk_reg, handle, 24, 4);
  FIELD(rdma_bulk_reg, reserved, 28, 4);
  FIELD(rdma_bulk_reg, key, 32, 24);
  EXPECT_EQ(sizeof(rdma_bulk_dereg), 16U);
  FIELD(rdma_bulk_dereg, size, 0, 4);
  FIELD(rdma_bulk_dereg, handle, 4, 4);
  FIELD(rdma_bulk_dereg, flags, 8, 4);
  FIELD(rdma_bulk_dereg, reserved, 12, 4);
}

TEST(Abi, endpoints) {
  EXPECT_EQ(sizeof(rdma_bulk_ep_open), 56U);
  FIELD(rdma_bulk_ep_open, size, 0, 4);
  FIELD(rdma_bulk_ep_open, flags, 4, 4);
  FIELD(rdma_bulk_ep_open, addr, 8, 28);
  FIELD(rdma_bulk_ep_open, ep, 36, 4);
  FIELD(rdma_bulk_ep_open, token, 40, 8);
  FIELD(rdma_bulk_ep_open, user_data, 48, 8);
  EXPECT_EQ(sizeof(rdma_bulk_ep_close), 8U);
  FIELD(rdma_bulk_ep_close, size, 0, 4);
  FIELD(rdma_bulk_ep_close, ep, 4, 4);
}

TEST(Abi, submit_and_command) {
  EXPECT_EQ(sizeof(rdma_bulk_submit), 16U);
  FIELD(rdma_bulk_submit, size, 0, 4);
  FIELD(rdma_bulk_submit, count, 4, 4);
  FIELD(rdma_bulk_submit, cmds, 8, 8);
  EXPECT_EQ(sizeof(rdma_bulk_cmd), 80U) << "what a 128-byte submission entry has room for";
  FIELD(rdma_bulk_cmd, op, 0, 1);
  FIELD(rdma_bulk_cmd, local_kind, 1, 1);
  FIELD(rdma_bulk_cmd, flags, 2, 2);
  FIELD(rdma_bulk_cmd, ep, 4, 4);
  FIELD(rdma_bulk_cmd, user_data, 8, 8);
  FIELD(rdma_bulk_cmd, addr, 16, 8);
  FIELD(rdma_bulk_cmd, length, 24, 8);
  FIELD(rdma_bulk_cmd, remote_addr, 32, 8);
  FIELD(rdma_bulk_cmd, key, 40, 24);
  FIELD(rdma_bulk_cmd, slots, 32, 32);
  FIELD(rdma_bulk_cmd, local, 64, 4);
  FIELD(rdma_bulk_cmd, key_region, 68, 4);
  FIELD(rdma_bulk_cmd, id, 72, 2);
  FIELD(rdma_bulk_cmd, reserved, 74, 6);
}

TEST(Abi, stats) {
  EXPECT_EQ(sizeof(rdma_bulk_stats), 128U);
  FIELD(rdma_bulk_stats, tx_messages, 8, 8);
  FIELD(rdma_bulk_stats, key_misses, 96, 8);
  FIELD(rdma_bulk_stats, endpoints, 104, 4);
  FIELD(rdma_bulk_stats, rx_slots, 108, 4);
  FIELD(rdma_bulk_stats, rx_slots_held, 112, 4);
  FIELD(rdma_bulk_stats, tx_slots, 116, 4);
  FIELD(rdma_bulk_stats, kernel_bytes, 120, 8);
}

}  // namespace
