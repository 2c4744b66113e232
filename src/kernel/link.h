/* SPDX-License-Identifier: GPL-2.0 OR BSD-3-Clause */
/*
 * Structures shared by endpoint.c, lane.c, local.c and submit.c: remote and inbound channels,
 * endpoints, operations.
 */
#ifndef _RDMA_BULK_EP_H
#define _RDMA_BULK_EP_H

#include "bulk.h"

/* OPENs without an answer at a time, per lane (that is, user). */
#define BULK_OPENS_MAX		64
#define BULK_INBOUNDS_MAX	(1u << 20)	/* of a link */

/**
 * struct bulk_link_eps - what a link has of this layer
 */
struct bulk_link_eps {
	/* under link->mutex */
	struct xarray		rchans;		/* bulk_rchan, by its id */
	struct xarray		inbounds;	/* bulk_inbound, by its id; RCU readers */
	u32			next_rchan, next_inbound;
	unsigned int		nr_closing;	/* inbounds; read by data lanes */

	spinlock_t		lock;		/* inside ch->lock */
	struct list_head	dirty;		/* bulk_inbound.dirty_list */
};

/* ---- channels of other hosts, and of ours seen by them ---- */

enum bulk_rchan_state {
	BULK_RCHAN_NEW,
	BULK_RCHAN_OPENING,	/* OPEN sent */
	BULK_RCHAN_OPEN,
	BULK_RCHAN_DEAD,	/* refused, closed by its host, or lane lost */
};

/**
 * struct bulk_rchan - a channel of another host, as one user's endpoints see it
 *
 * Shared by all endpoints of that user to that channel over one link.
 */
struct bulk_rchan {
	struct kref		ref;
	struct work_struct	free_work;
	struct bulk_link	*link;		/* a reference */
	struct bulk_lane	*lane;		/* a reference */
	u32			id;		/* in eps->rchans */
	u64			token;
	kuid_t			uid;
	/* under link->mutex */
	enum bulk_rchan_state	state;
	int			err;
	unsigned long		since;		/* jiffies: OPEN was sent, or NEW since */
	bool			first_due;	/* NEW: OPEN waits for a message */
	bool			opened;		/* the target knows it: CLOSED is due */
	struct list_head	eps;		/* bulk_ep.rchan_list */
	unsigned int		nr_eps;
	/* under the lane's lock */
	u32			target;		/* the target's number for it */
	u32			limit, sent;	/* window, modulo 2^32 */
	struct bulk_op		*first;		/* the message that went with OPEN */
	bool			first_again;	/* it found no slot: waits for a window */
	u64			last_seq;
};

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
	u64			last;
};

/* A MESSAGE has come, data lane context. 0, or an error that closes the lane. */
int bulk_inbound_message(struct bulk_lane *lane, const struct bulk_message *msg,
			 const void *data, u32 len);
/* lane->rx_seq says so, too, now. */
void bulk_inbound_received(struct bulk_lane *lane);
void bulk_ep_init(void);
/* No further command; what is not under way ends with @err; EV_EP_DOWN follows
 * when all have ended. link->mutex held.
 */
void bulk_rchan_down(struct bulk_rchan *rchan, int err);

/* ---- endpoints ---- */

enum bulk_ep_state {
	BULK_EP_OPENING,
	BULK_EP_UP,
	BULK_EP_DOWN,
	BULK_EP_CLOSED,		/* by its process */
};

/* why a command was refused with -EAGAIN */
#define BULK_STARVED_WINDOW	0x1	/* until BULK_WINDOW comes */
#define BULK_STARVED_BUSY	0x2	/* until something else has ended */

#define BULK_EPEV_UP		0x1
#define BULK_EPEV_DOWN		0x2
#define BULK_EPEV_WRITABLE	0x4

/**
 * struct bulk_local - what an endpoint within the host has in place of a remote channel
 */
struct bulk_local {
	struct mutex		mutex;		/* one command at a time */
	spinlock_t		lock;		/* the endpoint's, as a lane's is */
	struct bulk_channel	*target;	/* a reference, until it is down */
	struct bulk_sender	sender;		/* under the target's ch->lock */
	struct bulk_ep		*ep;		/* whose it is */
	struct bulk_key		good;		/* last key that was; under @mutex */
};

/**
 * struct bulk_ep - a channel's handle for one remote channel
 *
 * A local one has @local instead of @rchan.
 */
struct bulk_ep {
	struct kref		ref;
	struct rcu_head		rcu;
	u32			handle;
	u64			user_data;
	struct bulk_channel	*ch;		/* a reference */
	struct bulk_rchan	*rchan;		/* a reference, or NULL */
	struct bulk_local	*local;		/* or this one */
	struct list_head	rchan_list;	/* under link->mutex */
	/* under the lane's lock, see bulk_ep_lock() */
	u8			state;		/* enum bulk_ep_state */
	u8			starved;	/* BULK_STARVED_*: refused, WRITABLE is due */
	int			err;
	atomic_t		pending;	/* commands, and 1 until it goes down */
	struct list_head	fifo;		/* bulk_op.fifo: not fully posted */
	struct list_head	ops;		/* bulk_op.all: not ended, in order */
	struct list_head	sched;		/* lane->active */
	u32			puts;
	/* under ch->lock */
	u8			events;		/* BULK_EPEV_* to report */
	struct bulk_due		due;		/* they are on ch->due */
};

static inline spinlock_t *bulk_ep_lock(struct bulk_ep *ep)
{
	return ep->local ? &ep->local->lock : bulk_lane_lock(ep->rchan->lane);
}

void bulk_ep_put(struct bulk_ep *ep);
/* By handle, with a reference. Any context. */
struct bulk_ep *bulk_ep_find(struct bulk_channel *ch, u32 handle);
/* Report BULK_EPEV_* bits. Takes ch->lock. */
void bulk_ep_event(struct bulk_ep *ep, u8 bits);
void bulk_ep_up(struct bulk_ep *ep);
/* No further command; what is not under way ends with @err. */
void bulk_ep_down(struct bulk_ep *ep, enum bulk_ep_state state, int err);
/* Tell it if a refused command may be tried again; @window: for want of one, too. */
void bulk_ep_writable(struct bulk_ep *ep, bool window);

/* ---- operations ---- */

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

/**
 * struct bulk_op - an accepted command
 *
 * On ep->ops until it ends; on ep->fifo until fully posted. Ends when nothing of
 * it is under way: @todo is 0 (or it was cancelled) and @inflight is 0.
 */
struct bulk_op {
	struct list_head	fifo;
	struct list_head	all;
	struct bulk_ep		*ep;		/* a reference */
	u8			op;
	u8			local_kind;
	u16			id;
	bool			quiet;		/* nobody waits for its good end */
	u32			slot;		/* transmit slot, or NO_SLOT */
	u64			user_data;
	u64			length;
	int			status;
	/* under the lane's lock */
	u32			inflight;	/* work requests */
	u64			todo;		/* bytes not posted; messages: 1 */
	u64			done;		/* bytes posted */
	/* local side */
	u64			addr;		/* or offset in the slot */
	struct bulk_region	*region;
	struct bulk_mrset	*mrset;
	struct list_head	pieces;		/* LOCAL_USER RDMA */
	u64			unpinned;	/* bytes whose pieces are still to come */
	struct mm_struct	*mm;		/* mmgrab'ed, charged for pieces */
	wait_queue_head_t	*waiter;	/* the submitter, between pieces */
	/* remote side */
	u64			remote;
	struct bulk_rkey	*rkey;
	/* a message from plain memory */
	void			*bounce;
	dma_addr_t		bounce_dma;
};

extern struct kmem_cache *bulk_op_cache;
/* ch->lock held: keep @op, which nobody refers to, for a command to come; or false. */
bool bulk_op_keep(struct bulk_channel *ch, struct bulk_op *op);
/*
 * A command for an endpoint that is OPENING: send OPEN if that has not happened yet, with
 * the message @op, which is accepted then; or without (NULL): -EAGAIN. link->mutex held.
 */
int bulk_rchan_first(struct bulk_ep *ep, struct bulk_op *op);
/* submit.c: accept the message that goes with OPEN; 0, or a refusal. link->mutex held. */
int bulk_accept_first(struct bulk_ep *ep, struct bulk_op *op);
/* submit.c: free what is kept for commands to come. */
void bulk_submit_drop_spares(struct bulk_channel *ch);
void bulk_key_guessed(struct bulk_channel *ch);

/* lane.c: an operation has ended, it is off all lists. No locks held. */
void bulk_op_finish(struct bulk_op *op);
void bulk_piece_free(struct bulk_piece *piece);
void bulk_op_stop(struct bulk_op *op);
/* Cancel what is not under way of an endpoint; lane's lock held. Ended
 * operations go to @ended.
 */
void bulk_ep_cancel(struct bulk_ep *ep, int err, struct list_head *ended);
/* The lane's lock held: put operations that can end onto @ended. */
void bulk_ep_reap(struct bulk_ep *ep, struct bulk_op *op, struct list_head *ended);
void bulk_ops_finish(struct list_head *ended);

/* ---- endpoints within the host (local.c) ---- */

void bulk_local_waits(struct bulk_sender *s);
void bulk_local_wake(struct bulk_sender *s);
void bulk_local_gone(struct bulk_sender *s, int err);
bool bulk_local_is(const struct bulk_channel *ch, const union bulk_addr *remote);
struct bulk_local *bulk_local_alloc(struct bulk_ep *ep);
void bulk_local_attach(struct bulk_ep *ep, u64 token);
void bulk_local_detach(struct bulk_ep *ep);
struct bulk_channel *bulk_local_promise(struct bulk_ep *ep);
void bulk_local_send(struct bulk_op *op, struct bulk_channel *target);
int bulk_local_check(const struct bulk_op *op, const struct bulk_key *key, bool ask);
void bulk_local_rma(struct bulk_op *op, const struct bulk_key *key);

#endif /* _RDMA_BULK_EP_H */
