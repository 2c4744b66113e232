/* SPDX-License-Identifier: GPL-2.0 OR BSD-3-Clause */
/*
 * What link.c, table.c, ctl.c and lane.c share with each other only.
 */
#ifndef _RDMA_BULK_LINK_PRIVATE_H
#define _RDMA_BULK_LINK_PRIVATE_H

#include "link/link.h"

struct bulk_ctl_msg {
	struct list_head	list;
	struct bulk_link	*link;
	dma_addr_t		dma;
	u32			len;
	u32			weight;		/* in link->ctl_queued: of an answer */
	u8			data[] __aligned(8);
};

/* link.c */
void bulk_link_setup(struct bulk_link *link);
int bulk_link_attach(struct bulk_link *link);
void bulk_link_set_state(struct bulk_link *link, enum bulk_link_state state);
const char *bulk_link_state_name(const struct bulk_link *link);
struct bulk_conn *bulk_link_new_conn(struct bulk_link *link);
void bulk_link_drop_ctl(struct bulk_link *link);
/* Have the layers above know; link->mutex held. */
void bulk_link_lane_down(struct bulk_lane *lane);
void bulk_link_lane_gone(struct bulk_link *link, kuid_t uid);
void bulk_link_fenced(struct bulk_link *link, kuid_t uid);
bool bulk_link_uses_lane(struct bulk_lane *lane);

/* table.c */
void bulk_link_unlist(struct bulk_link *link);

/* ctl.c */
extern const struct bulk_conn_ops bulk_ctl_conn_ops;
void bulk_ctl_init(void);
void bulk_ctl_drop(struct bulk_link *link);

/* sched.c */
int bulk_lane_recv(struct bulk_smbd *smbd, const void *data, u32 len);

/* lane.c */
extern const struct bulk_conn_ops bulk_lane_conn_ops;
void bulk_lane_init(void);
/* Has it failed, but shall be connected again? link->mutex held. */
bool bulk_lane_again(struct bulk_lane *lane);
/* link->mutex held, link READY: ask for, offer, or (worker only) connect it. */
void bulk_lane_work(struct bulk_lane *lane);
void bulk_lane_wanted(struct bulk_lane *lane);
/* The worker: it has failed; link->mutex held. */
void bulk_lane_end(struct bulk_lane *lane);

#endif /* _RDMA_BULK_LINK_PRIVATE_H */
