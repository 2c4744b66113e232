/* SPDX-License-Identifier: GPL-2.0 OR BSD-3-Clause */
#ifndef _RDMA_BULK_SUBMIT_H
#define _RDMA_BULK_SUBMIT_H

struct bulk_channel;
struct rdma_bulk_cmd;

int bulk_submit(struct bulk_channel *ch, const struct rdma_bulk_cmd *cmd, bool nonblock);

#endif /* _RDMA_BULK_SUBMIT_H */
