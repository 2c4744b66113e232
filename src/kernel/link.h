/* SPDX-License-Identifier: GPL-2.0 OR BSD-3-Clause */
/*
 * Structures shared by link.c, cm.c, lane.c, endpoint.c, key.c and submit.c:
 * links, lanes, remote and inbound channels, endpoints, operations, keys.
 */
#ifndef _RDMA_BULK_LINK_H
#define _RDMA_BULK_LINK_H

#include <linux/hashtable.h>
#include "bulk.h"

/* ---- link ---- */

enum bulk_link_state {
	BULK_LINK_CONNECTING,	/* control lane is coming up */
	BULK_LINK_HELLO,	/* it is up; HELLO awaited */
	BULK_LINK_READY,
	BULK_LINK_FAILED,	/* being torn down */
};

/* Bytes of answers a link may have queued before its peer, which asks, is cut off. */
#define BULK_CTL_QUEUE_MAX	(16u << 20)
/* OPENs without an answer at a time, per lane (that is, user). */
#define BULK_OPENS_MAX		64
/* KEY_RESOLVEs without an answer at a time. */
#define BULK_RESOLVES_MAX	64
#define BULK_KEYS_MAX		16384	/* key cache of a link */
#define BULK_LINK_RKEYS_MAX	(4u << 20) /* rkeys in it */
#define BULK_INBOUNDS_MAX	(1u << 20)
#define BULK_LANES_MAX		256	/* users of a link */
#define BULK_PATIENCE		(20 * HZ)	/* with a peer that says "retry" */
#define BULK_RETRY		(HZ / 4)

struct bulk_ctl_msg {
	struct list_head	list;
	struct bulk_link	*link;
	dma_addr_t		dma;
	u32			len;
	u32			weight;		/* in link->ctl_queued: of an answer */
	u8			data[] __aligned(8);
};

/**
 * struct bulk_link - two hosts over one device in one network namespace
 * @active: this side connected the control lane
 * @half: this is the accepted half of a host's link to itself; processes open
 *	their endpoints on the other half
 *
 * References: its device's list until torn down, lanes, remote and inbound
 * channels, grantees of regions, queued work.
 */
struct bulk_link {
	struct kref		ref;
	struct bulk_dev		*dev;
	struct list_head	dev_list;	/* dev->links, under dev->mutex */
	struct net		*net;
	u8			port;
	union bulk_addr		local, remote;
	bool			active;
	bool			half;
	u64			peer_instance;
	u32			features;	/* the peer's; set before it is READY */

	struct mutex		mutex;
	enum bulk_link_state	state;
	int			err;
	struct bulk_conn	*ctl;
	struct ib_pd		*ctl_pd;
	unsigned int		attempts;
	unsigned long		first_attempt;
	bool			hello_sent;
	unsigned long		hello_since;	/* jiffies */
	struct list_head	lanes;		/* bulk_lane.list */
	struct list_head	going;		/* those being destroyed */
	struct xarray		rchans;		/* bulk_rchan, by its id */
	u32			next_rchan, next_inbound;
	unsigned int		nr_closing;	/* inbounds; read by data lanes */
	struct list_head	dead_conns;

	spinlock_t		lock;
	struct list_head	ctl_queue;	/* bulk_ctl_msg */
	unsigned int		ctl_queued;	/* bytes of answers in it */
	struct xarray		inbounds;	/* bulk_inbound, by its id; RCU readers */
	struct list_head	dirty;		/* bulk_inbound.dirty_list */
	DECLARE_HASHTABLE(keys, 8);		/* bulk_rkey.node */
	struct list_head	key_lru;	/* bulk_rkey.lru */
	unsigned int		nr_keys;
	u32			nr_rkeys;	/* in all of them */
	unsigned int		resolving;	/* KEY_RESOLVEs without an answer */
	u32			next_req;
	struct list_head	revoked;	/* bulk_rkey.lru: KEY_REVOKED due */
	wait_queue_head_t	key_wait;	/* submitters of plain memory */
	atomic_t		resolves;

	struct work_struct	work;
	struct delayed_work	retry;
	struct delayed_work	watch;		/* for answers */
};

void bulk_link_kick(struct bulk_link *link);	/* queue its worker; any context */
/* The same after @delay jiffies at the latest, or before; the worker looks again. */
void bulk_link_kick_later(struct bulk_link *link, unsigned long delay);
/* Something was asked of the peer: the worker looks for the answer in time. */
void bulk_link_watch(struct bulk_link *link);
void bulk_link_fail(struct bulk_link *link, int err);	/* process context */
/* Give the control lane up, which ends the link. Any context. */
void bulk_ctl_fail(struct bulk_link *link, int err);
/* Queue a control message: @msg from bulk_ctl_alloc. Any context. */
void *bulk_ctl_alloc(struct bulk_link *link, enum bulk_type type, u32 len, gfp_t gfp);
void bulk_ctl_queue(struct bulk_link *link, void *msg);
void bulk_ctl_free(void *msg);
/* The accepted half of a host's link to itself, a reference, or NULL. Process context. */
struct bulk_link *bulk_link_half(struct bulk_link *link);
/* Find or start a link; a reference. Process context. */
struct bulk_link *bulk_link_open(struct bulk_channel *ch, const union bulk_addr *remote);

/* ---- lane ---- */

enum bulk_lane_state {
	BULK_LANE_NEW,		/* nothing done yet */
	BULK_LANE_ASKED,	/* LANE_WANT or LANE_OFFER sent */
	BULK_LANE_OFFERED,	/* LANE_OFFER received */
	BULK_LANE_CONNECTING,
	BULK_LANE_READY,
	BULK_LANE_FAILED,	/* being torn down, then freed */
};

/**
 * struct bulk_lane - the RC queue pair of a link that carries one user's data
 *
 * conn.smbd.lock is the lane's lock; it covers the fields below @active and its
 * endpoints' queues.
 */
struct bulk_lane {
	struct kref		ref;
	struct work_struct	free_work;
	struct bulk_link	*link;		/* a reference */
	struct list_head	list;		/* link->lanes, under link->mutex */
	kuid_t			uid;
	struct bulk_user	*user;
	enum bulk_lane_state	state;		/* under link->mutex */
	u64			token;		/* offered, one-time, 0: none */
	unsigned long		since;		/* jiffies: asked, offered, connecting */
	bool			wanted;		/* the peer waits for its successor */
	unsigned int		refusals;	/* how often turned away before it was up */
	unsigned long		first_refusal;	/* jiffies */
	unsigned long		not_before;	/* jiffies: asked for again, if @refusals */
	unsigned int		opens;		/* OPENs without an answer; link->mutex */
	struct bulk_conn	conn;
	struct rw_semaphore	rw_sem;		/* rdma_rw contexts made against destroying */

	struct list_head	active;		/* bulk_ep.sched: something to post */
	struct list_head	waiting;	/* bulk_ep.sched: for a key, credits, data */
	bool			up;
	u32			reading, writing;	/* bytes of RDMA under way */
	unsigned long		messaged;	/* jiffies: a message was posted */
	struct bulk_gather	*gather;	/* being filled; never without the lock */
	struct bulk_wr		*gather_wr;	/* that it goes out with */
	u64			tx_seq;		/* last sent */
	u64			acked;
	u64			rx_seq;		/* last received; written in CQ context */
	u64			told;		/* last acknowledgement sent */
};

static inline spinlock_t *bulk_lane_lock(struct bulk_lane *lane)
{
	return &lane->conn.smbd.lock;
}

/*
 * Of @uid on @link, made if need be; a reference or ERR_PTR. Never one that has
 * failed: its successor waits for its end. link->mutex held.
 */
struct bulk_lane *bulk_lane_get(struct bulk_link *link, kuid_t uid, struct bulk_user *user);
struct bulk_lane *bulk_lane_find(struct bulk_link *link, kuid_t uid);
/* Has it failed, but shall be connected again? link->mutex held. */
bool bulk_lane_again(struct bulk_lane *lane);
/*
 * Worker: connect a lane again that was turned away. bulk_lane_renew() before its
 * connection is destroyed, on link->going; bulk_lane_renewed() after that.
 */
void bulk_lane_renew(struct bulk_lane *lane);
void bulk_lane_renewed(struct bulk_lane *lane);
void bulk_lane_put(struct bulk_lane *lane);
/* link->mutex held, link READY: ask for, offer, or (worker only) connect it. */
void bulk_lane_work(struct bulk_lane *lane);
void bulk_lane_wanted(struct bulk_lane *lane);
/* Post what can be posted. Takes the lane's lock. Any context. */
void bulk_lane_pump(struct bulk_lane *lane);
/*
 * Worker, without link->mutex: @lane is failed and off link->lanes. Destroys the
 * queue pair; all its operations have ended on return.
 */
void bulk_lane_destroy(struct bulk_lane *lane);

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
	u32			id;		/* in link->rchans */
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
	u32			id;		/* in link->inbounds */
	u32			opener;
	kuid_t			uid;
	/* under ch->lock */
	struct list_head	ch_list;	/* ch->inbounds; empty when detached */
	u32			limit, received;
	u32			announced;	/* limit that the opener knows */
	u32			grown_at;	/* received when more slots were asked for */
	bool			want;
	bool			dead;		/* channel is gone */
	/* under link->lock */
	struct list_head	dirty_list;
	/* link->mutex */
	bool			told_dead;
	bool			closing;	/* CLOSED received, waits for @last */
	u64			last;
};

/* All under link->mutex, worker or control lane context. */
int bulk_inbound_open(struct bulk_link *link, const struct bulk_open *open);
int bulk_inbound_closed(struct bulk_link *link, u32 id, u64 last);
void bulk_inbound_work(struct bulk_link *link);
void bulk_inbound_drop_all(struct bulk_link *link, kuid_t uid);
/* A MESSAGE has come, data lane context. 0, or an error that closes the lane. */
int bulk_inbound_message(struct bulk_lane *lane, const struct bulk_message *msg,
			 const void *data, u32 len);
int bulk_rchan_opened(struct bulk_link *link, const struct bulk_opened *m);
void bulk_rchan_closed(struct bulk_link *link, u32 id, int err);
void bulk_rchan_window(struct bulk_link *link, u32 id, u32 limit);
void bulk_rchan_work(struct bulk_link *link);
/* Has an OPEN sent before @asked no answer yet? *waiting: has any? */
bool bulk_rchan_waiting(struct bulk_link *link, unsigned long asked, bool *waiting);
void bulk_rchan_drop_all(struct bulk_link *link);
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
	u32			sent;		/* under the target's lock */
	u32			grown_at;	/* sent when more slots were asked for */
	struct bulk_key		good;		/* last key that was; under @mutex */
};

/**
 * struct bulk_ep - a channel's handle for one remote channel
 *
 * A local one has @local instead of @rchan, and is on its target's lists by @rchan_list
 * and @sched, under the target's ch->lock.
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
	struct list_head	event_list;	/* ch->ep_events */
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
/* ch->lock held: a sender of so many messages has too few slots. */
void bulk_rx_busy(struct bulk_channel *ch, u32 received, u32 *grown_at);

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

bool bulk_local_is(const struct bulk_channel *ch, const union bulk_addr *remote);
struct bulk_local *bulk_local_alloc(void);
void bulk_local_attach(struct bulk_ep *ep, u64 token);
void bulk_local_detach(struct bulk_ep *ep);
struct bulk_channel *bulk_local_promise(struct bulk_ep *ep);
void bulk_local_send(struct bulk_op *op, struct bulk_channel *target);
int bulk_local_check(const struct bulk_op *op, const struct bulk_key *key, bool ask);
void bulk_local_rma(struct bulk_op *op, const struct bulk_key *key);

/* ---- keys ---- */

enum bulk_rkey_state {
	BULK_RKEY_RESOLVING,
	BULK_RKEY_READY,
	BULK_RKEY_REFUSED,
	BULK_RKEY_REVOKED,
};

/**
 * struct bulk_rkey - a key as its owner's kernel resolved it
 *
 * READY is published by a release store after all other fields; they do not
 * change then. @posted counts work requests; a poster increments it and then
 * looks at @state, under its lane's lock.
 */
struct bulk_rkey {
	refcount_t		ref;
	struct hlist_node	node;		/* link->keys; unhashed when dead */
	struct list_head	lru;		/* link->key_lru or ->revoked */
	struct bulk_link	*link;		/* not a reference: keys die with it */
	struct bulk_key		key;
	kuid_t			uid;
	u32			req;
	unsigned long		since;		/* jiffies: KEY_RESOLVE was sent */
	int			state;		/* enum bulk_rkey_state */
	bool			quiet;		/* KEY_REVOKED is due when posted is 0 */
	atomic_t		posted;
	u64			addr, length, span;
	u32			access;
	u32			total, have;
	u32			*rkeys;
};

static inline int bulk_rkey_state(const struct bulk_rkey *rkey)
{
	/* pairs with the store of READY in bulk_key_resolved() */
	return smp_load_acquire(&rkey->state);
}

/*
 * The entry for @key, a reference; if there is none, makes one and sends KEY_RESOLVE
 * (*fresh), unless not @ask. ERR_PTR(-ENOMEM), -EAGAIN, -EKEYREJECTED (not @ask).
 * Process context.
 */
struct bulk_rkey *bulk_key_get(struct bulk_link *link, const struct bulk_key *key,
			       kuid_t uid, bool ask, bool *fresh);
void bulk_key_put(struct bulk_rkey *rkey);
/* Check an access against a READY key: 0, -ERANGE, -EACCES. */
int bulk_key_check(const struct bulk_rkey *rkey, u64 addr, u64 len, u32 access);
/* rkey at @addr and how many bytes from there it is good for. */
u32 bulk_key_at(const struct bulk_rkey *rkey, u64 addr, u64 *run);
/* Before posting, under the lane's lock: false if the key is dead. */
bool bulk_key_post(struct bulk_rkey *rkey);
void bulk_key_posted_done(struct bulk_rkey *rkey);
/* Control lane messages. 0, or an error that closes the link. */
int bulk_key_resolved(struct bulk_link *link, const struct bulk_key_resolved *msg);
void bulk_key_refused(struct bulk_link *link, u32 req);
void bulk_key_revoke(struct bulk_link *link, u32 id, u32 generation);
/* Their KEY_RESOLVE. */
int bulk_key_resolve(struct bulk_link *link, const struct bulk_key_resolve *msg);
void bulk_key_work(struct bulk_link *link);	/* worker: KEY_REVOKEDs */
/*
 * Worker: gives up KEY_RESOLVEs sent before @asked, as if they had been refused.
 * True if there are others without an answer.
 */
bool bulk_key_waiting(struct bulk_link *link, unsigned long asked);
void bulk_key_drop_all(struct bulk_link *link);

#endif /* _RDMA_BULK_LINK_H */
