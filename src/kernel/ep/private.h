/* SPDX-License-Identifier: GPL-2.0 OR BSD-3-Clause */
/*
 * What the files of ep/ share with each other only.
 */
#ifndef _RDMA_BULK_EP_PRIVATE_H
#define _RDMA_BULK_EP_PRIVATE_H

#include "ep/ep.h"

/* OPENs without an answer at a time, per lane (that is, user). */
#define BULK_OPENS_MAX		64
#define BULK_INBOUNDS_MAX	(1u << 20)	/* of a link */

/**
 * struct bulk_link_eps - what a link has of this layer
 */
struct bulk_link_eps {
	/* under link->mutex */
	struct xarray		rchans;		/* bulk_rchan, by its id */
	struct rhashtable	tokens;		/* those that more endpoints may use */
	struct xarray		inbounds;	/* bulk_inbound, by its id; RCU readers */
	u32			next_rchan, next_inbound;
	/* bulk_rchan.due; those that are NEW are on their lane's list, or */
	struct list_head	awaiting;	/* a first message, in the order of time */
	struct list_head	opening;	/* OPENING, the oldest first */
	struct list_head	ended;		/* of no use any more: CLOSED may be due */
	struct list_head	closing;	/* bulk_inbound.closing_list */

	spinlock_t		lock;		/* inside ch->lock */
	struct list_head	dirty;		/* bulk_inbound.dirty_list */
};

/* ---- rchan.c; link->mutex held ---- */

/*
 * Find or make the remote channel of @token for @ep, which gets its handle; @first: a
 * message will follow at once. -EAGAIN if the link has failed. Takes link->mutex.
 */
int bulk_rchan_attach(struct bulk_ep *ep, struct bulk_link *link, u64 token,
		      struct bulk_user *user, bool first);
void bulk_rchan_detach(struct bulk_ep *ep);	/* takes link->mutex */
void bulk_rchan_put(struct bulk_rchan *rchan);	/* any context */
bool bulk_rchan_due(const struct bulk_rchan *rchan);
struct bulk_open *bulk_rchan_open_alloc(struct bulk_rchan *rchan, u32 more);
void bulk_rchan_opening(struct bulk_rchan *rchan, struct bulk_open *m);
bool bulk_rchan_open(struct bulk_rchan *rchan);
int bulk_rchan_opened(struct bulk_link *link, const struct bulk_hdr *h);
int bulk_rchan_window(struct bulk_link *link, const struct bulk_hdr *h);
void bulk_rchan_closed(struct bulk_link *link, u32 id, int err);
/* Tell endpoints that wait for a window, if there is some. Any context, no locks. */
void bulk_rchan_writable(struct bulk_rchan *rchan);
extern const struct rhashtable_params bulk_rchan_params;
void bulk_rchan_work(struct bulk_link *link);
bool bulk_rchan_waiting(struct bulk_link *link, unsigned long asked);
void bulk_rchan_lane_down(struct bulk_lane *lane);
void bulk_rchan_drop_all(struct bulk_link *link);

/* ---- inbound.c; link->mutex held ---- */

/**
 * struct bulk_inbound - a channel of ours, as a user of another host sees it
 *
 * Found by data lanes under RCU.
 */
struct bulk_inbound {
	refcount_t		ref;
	struct rcu_head		rcu;
	struct bulk_link	*link;		/* a reference */
	struct bulk_channel	*ch;		/* a reference */
	u32			id;		/* in eps->inbounds */
	u32			opener;
	kuid_t			uid;
	struct bulk_rx_window	window;		/* under ch->lock */
	/* under eps->lock */
	struct list_head	dirty_list;
	/* link->mutex */
	bool			told_dead;
	bool			closing;	/* CLOSED received, waits for @last */
	struct list_head	closing_list;	/* eps->closing */
	u64			last;
};

int bulk_inbound_open(struct bulk_link *link, const struct bulk_hdr *h);
int bulk_inbound_closed(struct bulk_link *link, u32 id, u64 last);
void bulk_inbound_work(struct bulk_link *link);
void bulk_inbound_drop_all(struct bulk_link *link, kuid_t uid);
void bulk_inbound_due(struct bulk_rx_window *w);	/* ch->lock held */
/* A MESSAGE has come, data lane context. 0, or an error that closes the lane. */
int bulk_inbound_message(struct bulk_lane *lane, const struct bulk_message *msg,
			 const void *data, u32 len);

/* ---- ep.c ---- */

#define BULK_EPEV_UP		0x1
#define BULK_EPEV_DOWN		0x2
#define BULK_EPEV_WRITABLE	0x4

/* Report BULK_EPEV_* bits. Takes ch->lock. */
void bulk_ep_event(struct bulk_ep *ep, u8 bits);
void bulk_ep_up(struct bulk_ep *ep);
/* No further command; what is not under way ends with @err. */
void bulk_ep_down(struct bulk_ep *ep, enum bulk_ep_state state, int err);
/* Tell it if a refused command may be tried again; @window: for want of one, too. */
void bulk_ep_writable(struct bulk_ep *ep, bool window);

/* ---- op.c ---- */

int bulk_op_init(void);
void bulk_op_exit(void);
/* It has ended and is off all lists. No locks held. */
void bulk_op_finish(struct bulk_op *op);
void bulk_ops_finish(struct list_head *ended);
void bulk_op_drop_spares(struct bulk_channel *ch);
/* The lane's lock held: */
void bulk_op_stop(struct bulk_op *op);
/* put operations that can end onto @ended; */
void bulk_ep_reap(struct bulk_ep *ep, struct bulk_op *op, struct list_head *ended);
/* cancel what is not under way of an endpoint. */
void bulk_ep_cancel(struct bulk_ep *ep, int err, struct list_head *ended);

/* ---- first.c ---- */

void bulk_first_await(struct bulk_rchan *rchan);
void bulk_first_work(struct bulk_link *link);
void bulk_first_over(struct bulk_rchan *rchan, int err);
/* The lane's lock held: */
bool bulk_first_again(struct bulk_rchan *rchan, struct list_head *ended);
void bulk_first_cancel(struct bulk_ep *ep, int err, struct list_head *ended);

/* ---- accept.c; the lane's lock held ---- */

int bulk_accept_queue(struct bulk_ep *ep, struct bulk_op *op, const struct rdma_bulk_cmd *cmd);
void bulk_accept_count(struct bulk_ep *ep, struct bulk_op *op);

/* ---- pieces.c ---- */

/**
 * struct bulk_piece - pinned user memory of an operation, one rdma_rw context
 */
struct bulk_piece {
	struct list_head	list;		/* op->pieces: ready to be posted */
	struct bulk_op		*op;
	struct work_struct	work;
	struct rdma_rw_ctx	rw;
	struct sg_table		sgt;
	struct page		**pages;
	unsigned long		npages;
	u32			nr_wrs;
	u32			bytes;
	bool			rw_valid;
};

/* Not under way, off op->pieces; the lane's lock held. */
void bulk_piece_free(struct bulk_piece *piece);

/* ---- post.c ---- */

extern const struct bulk_lane_ops bulk_ep_lane_ops;

/* ---- local.c ---- */

bool bulk_local_is(const struct bulk_channel *ch, const union bulk_addr *remote);
struct bulk_local *bulk_local_alloc(struct bulk_ep *ep);
void bulk_local_attach(struct bulk_ep *ep, u64 token);
void bulk_local_detach(struct bulk_ep *ep);
void bulk_local_waits(struct bulk_sender *s);
void bulk_local_wake(struct bulk_sender *s);
void bulk_local_gone(struct bulk_sender *s, int err);

#endif /* _RDMA_BULK_EP_PRIVATE_H */
