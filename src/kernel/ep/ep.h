/* SPDX-License-Identifier: GPL-2.0 OR BSD-3-Clause */
/*
 * ep: endpoints and operations. Stands on chan and mem.
 *
 * Owns struct bulk_ep (ep.c), struct bulk_rchan, what it leads to on another host
 * (rchan.c), its counterpart there (inbound.c), or what it leads to within the host
 * (local.c); and operations, struct bulk_op: accepted by accept.c (with the request to open
 * the endpoint: first.c), their plain memory pinned by pieces.c, posted by post.c,
 * ended by op.c. client.c is this layer's part of links.
 *
 * Locks, outermost first:
 *
 *	local->mutex		commands of a local endpoint, one by one
 *	ch->mutex		endpoints opened and closed
 *	link->mutex		remote and inbound channels, their states
 *	lane->rw_sem		pieces.c
 *	the lane's lock (bh)	endpoints' and operations' queues, windows of remote channels
 *	ch->lock (bh)		events; does not nest with the lane's lock
 *	eps->lock (bh)		inbounds with something to tell; inside ch->lock
 *	local->lock (bh)	in place of the lane's lock; inside the target's ch->lock
 *
 * User memory is touched and pinned under none of them but local->mutex.
 *
 * Contexts: submission in the process's own task; ends of operations and arrivals in data
 * lanes' completions; links' workers; channels' workers.
 *
 * Death: an endpoint that goes down cancels what is not under way, and reports DOWN when its
 * last command has ended. An operation ends once, by bulk_op_finish(), when nothing of it
 * is under way; with its lane, at the latest, all that is under way ends.
 */
#ifndef _RDMA_BULK_EP_H
#define _RDMA_BULK_EP_H

#include <linux/rhashtable.h>

#include "chan/chan.h"

/* What a channel asks of its endpoints. */
extern const struct bulk_chan_ops bulk_ep_chan_ops;

int bulk_ep_init(void);
void bulk_ep_exit(void);

/* ---- channels of other hosts (rchan.c) ---- */

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
	/* the key of @node: */
	u64			token;
	kuid_t			uid;
	/* under link->mutex */
	bool			hashed;		/* more endpoints may use it */
	struct rhash_head	node;		/* eps->tokens */
	struct list_head	lane_list;	/* lane->rchans */
	struct list_head	due;		/* lane->fresh, or a list of eps, by state */
	enum bulk_rchan_state	state;
	int			err;
	unsigned long		since;		/* jiffies: OPEN was sent, or NEW since */
	bool			opened;		/* the target knows it: CLOSED is due */
	struct list_head	eps;		/* bulk_ep.rchan_list */
	unsigned int		nr_eps;
	/* under the lane's lock */
	u32			target;		/* the target's number for it */
	u32			limit, sent;	/* window, modulo 2^32 */
	struct list_head	starving;	/* bulk_ep.starving: for some of it */
	struct bulk_op		*first;		/* the message that went with OPEN */
	bool			first_again;	/* it found no slot: waits for a window */
	u64			last_seq;
};

/* ---- endpoints (ep.c) ---- */

enum bulk_ep_state {
	BULK_EP_OPENING,
	BULK_EP_UP,
	BULK_EP_DOWN,
	BULK_EP_CLOSED,		/* by its process */
};

/* why a command was refused with -EAGAIN */
#define BULK_STARVED_WINDOW	0x1	/* until BULK_WINDOW comes: rchan->starving */
#define BULK_STARVED_BUSY	0x2	/* until something else has ended: BULK_EP_BUSY */

/* In ch->eps: BULK_STARVED_BUSY. */
#define BULK_EP_BUSY		XA_MARK_1

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
	struct list_head	fifo;		/* bulk_op.tx: not fully posted */
	struct list_head	ops;		/* bulk_op.all: not ended, in order */
	struct bulk_stream	stream;		/* of the lane: it has something to post */
	struct list_head	starving;	/* rchan->starving, a reference */
	u32			puts;
	/* under ch->lock */
	u8			events;		/* BULK_EPEV_* to report */
	struct bulk_due		due;		/* they are on ch->due */
};

static inline spinlock_t *bulk_ep_lock(struct bulk_ep *ep)
{
	return ep->local ? &ep->local->lock : bulk_lane_lock(ep->rchan->lane);
}

int bulk_ep_open(struct bulk_channel *ch, struct rdma_bulk_ep_open *open);
int bulk_ep_close(struct bulk_channel *ch, u32 handle);
/* By handle, with a reference. Any context. */
struct bulk_ep *bulk_ep_find(struct bulk_channel *ch, u32 handle);
void bulk_ep_put(struct bulk_ep *ep);

/* ---- operations (op.c) ---- */

/**
 * struct bulk_op - an accepted command
 *
 * On ep->ops until it ends; on ep->fifo until fully posted. Ends when nothing of
 * it is under way: @todo is 0 (or it was cancelled) and @inflight is 0.
 */
struct bulk_op {
	struct bulk_tx		tx;		/* in ep->fifo; then the lane's */
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

/* What a PUT or GET does to the remote side: RDMA_BULK_ACCESS_*; 0: it is neither. */
static inline u32 bulk_op_access(const struct bulk_op *op)
{
	switch (op->op) {
	case RDMA_BULK_OP_PUT:
		return RDMA_BULK_ACCESS_REMOTE_WRITE;
	case RDMA_BULK_OP_GET:
		return RDMA_BULK_ACCESS_REMOTE_READ;
	}
	return 0;
}

struct bulk_op *bulk_op_alloc(struct bulk_ep *ep, const struct rdma_bulk_cmd *cmd);
/* One that was not accepted: undo what it refers to. */
void bulk_op_undo(struct bulk_op *op);
bool bulk_key_guesser(struct bulk_channel *ch);
void bulk_key_guessed(struct bulk_channel *ch);

/* ---- acceptance (accept.c, pieces.c, first.c) ---- */

/* Returned where a command would have to sleep and must not. */
#define BULK_SUBMIT_BLOCK	1

/*
 * What becomes -EAGAIN, by what the endpoint then waits for: EAGAIN_WINDOW has noted
 * that already; EAGAIN_BUSY is over when a command of the channel has ended (or the
 * process has read its events).
 */
#define BULK_EAGAIN_WINDOW	ENOBUFS
#define BULK_EAGAIN_BUSY	EUSERS

/* Plain memory is pinned in pieces of so many bytes, so many ahead of the queue pair. */
#define BULK_PIECE		(256u << 10)
#define BULK_PIECES_AHEAD	4

int bulk_accept_check(struct bulk_ep *ep, const struct rdma_bulk_cmd *cmd);
int bulk_accept_fence(const struct bulk_ep *ep, const struct rdma_bulk_cmd *cmd);
int bulk_accept_place(struct bulk_channel *ch, struct bulk_op *op);
void bulk_unaccept_place(struct bulk_channel *ch, struct bulk_op *op);
int bulk_accept_op(struct bulk_ep *ep, struct bulk_op *op, const struct rdma_bulk_cmd *cmd);
/* A PUT or GET of plain memory, of the calling process. */
int bulk_accept_pinned(struct bulk_ep *ep, struct bulk_op *op,
		       const struct rdma_bulk_cmd *cmd);
int bulk_accept_local(struct bulk_ep *ep, const struct rdma_bulk_cmd *cmd);
void bulk_unaccept_local(struct bulk_ep *ep);
void bulk_ep_starved(struct bulk_ep *ep, bool busy);
/* The endpoint is OPENING: with OPEN, if that has not been sent yet. */
bool bulk_first_due(const struct bulk_ep *ep);
int bulk_first_send(struct bulk_ep *ep, struct bulk_op *op, bool nonblock);

/* ---- endpoints within the host (local.c) ---- */

struct bulk_channel *bulk_local_promise(struct bulk_ep *ep);
void bulk_local_send(struct bulk_op *op, struct bulk_channel *target);
int bulk_local_check(const struct bulk_op *op, const struct bulk_key *key, bool ask);
void bulk_local_rma(struct bulk_op *op, const struct bulk_key *key);

#endif /* _RDMA_BULK_EP_H */
