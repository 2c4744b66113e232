/* SPDX-License-Identifier: GPL-2.0 OR BSD-3-Clause */
/*
 * chan: channels: what a process shares with the kernel to send and receive. Stands on
 * mem (a channel's domain) and link (other hosts may connect while there is a channel).
 *
 * Owns struct bulk_channel (channel.c: life, token), its event ring (ring.c), its slots
 * (slots.c), and who may send to it: senders of other hosts by windows (window.c), those
 * within the host as slots come (sender.c). Knows neither endpoints nor operations: who
 * uses it hands in a struct bulk_chan_ops, and embeds struct bulk_due, bulk_window and
 * bulk_sender in what has events to write, or sends.
 *
 * Locks, outermost first:
 *
 *	ch->mutex		slots grown; endpoints opened and closed, by the layer above
 *	dev->mutex		(verbs) transmit slots mapped for DMA
 *	ch->lock (bh)		event ring, slots, windows, senders
 *
 * Two channels' locks are never held at once. A lane's lock and ch->lock do not nest.
 * ops are called without ch->lock, but where they say so.
 *
 * Contexts: a process's own calls; completions in softirq or a worker; workers.
 *
 * Death: bulk_channel_kill(), when its file or its address space goes: nothing new is
 * accepted, a worker has its endpoints closed (ops->closing) and ends its windows and
 * senders. All who refer to it hold references; with the last one a worker frees it.
 */
#ifndef _RDMA_BULK_CHAN_H
#define _RDMA_BULK_CHAN_H

#include <linux/poll.h>

#include "mem/mem.h"

#define BULK_CHUNKS		16	/* BIND and 15 GROWs */
#define BULK_DEF_RX		4	/* slots at BIND */
#define BULK_DEF_TX		4
#define BULK_MAX_RX		512
#define BULK_MAX_TX		256
#define BULK_DEF_EVENTS		1024
#define BULK_MAX_EVENTS		65536
#define BULK_MAX_COMMANDS	448	/* with BULK_MAX_RX: fits the default ring */
#define BULK_MAX_ENDPOINTS	65536

/* Sums over all channels ever, shown in /sys/class/misc/rdma_bulk/. */
struct bulk_counters {
	atomic64_t tx_messages, tx_bytes, rx_messages, rx_bytes;
	atomic64_t puts, put_bytes, gets, get_bytes;
	atomic64_t refused, again, failed, key_misses;
};

/* Count @n things that happened to channel @ch in one of its counters. */
#define bulk_count(ch, field, n) \
	atomic64_add((n), &(ch)->stats.field)

struct bulk_channel;

/* What has events to write for which there was no room. */
struct bulk_due {
	struct list_head	list;		/* ch->due, under ch->lock */
};

/**
 * struct bulk_rx_window - what a sender of another host may send; under ch->lock
 */
struct bulk_rx_window {
	struct list_head	list;		/* ch->windows; empty when it is dead */
	struct list_head	low;		/* ch->low: to be raised when slots come free */
	u32			limit, received;
	u32			announced;	/* limit that the sender knows; its holder's */
	u32			grown_at;	/* received when more slots were asked for */
	bool			want;		/* a larger one, as soon as there are slots */
	bool			dead;		/* the channel or the sender has ended */
};

/**
 * struct bulk_sender - a sender within the host; under ch->lock
 */
struct bulk_sender {
	struct list_head	list;		/* ch->senders; empty when it is not attached */
	struct list_head	waiting;	/* ch->waiting or ch->woken, for slots */
	u32			sent;
	u32			grown_at;	/* sent when more slots were asked for */
};

/**
 * struct bulk_chan_ops - what a channel asks of those who use it
 * @closing: it has died: close its endpoints. Process context.
 * @wake: a command has ended: who was refused may try again. Any context.
 * @free: free what is kept for commands to come. Nobody refers to the channel any more.
 * @report: write what is due (bulk_channel_event()). False if there is no room; else it
 *	is off the list. ch->lock held, any context.
 * @window_due: a window was raised, or is dead: the sender is to be told. ch->lock held,
 *	any context.
 * @sender_waits: a sender begins to wait: the list's reference. ch->lock held.
 * @sender_wake: slots have come free; the list's reference is given back. Process context.
 * @sender_gone: the channel is gone; the list's reference is given back. Process context.
 */
struct bulk_chan_ops {
	void (*closing)(struct bulk_channel *ch);
	void (*wake)(struct bulk_channel *ch);
	void (*free)(struct bulk_channel *ch);
	bool (*report)(struct bulk_due *due);
	void (*window_due)(struct bulk_rx_window *w);
	void (*sender_waits)(struct bulk_sender *s);
	void (*sender_wake)(struct bulk_sender *s);
	void (*sender_gone)(struct bulk_sender *s, int err);
};

/* Slots that were made at a time. */
struct bulk_chunk {
	struct bulk_shm		shm;
	u32			first;		/* slot */
	u32			count;
};

/**
 * struct bulk_channel - an open file bound to a device
 */
struct bulk_channel {
	refcount_t		refs;
	const struct bulk_chan_ops *ops;
	struct bulk_owned	owned;
	struct bulk_domain	*domain;
	struct mm_struct	*mm;		/* identity only, mmgrab'ed */
	kuid_t			uid;
	struct net		*net;		/* identity, under a tracker of the file */
	struct bulk_dev		*dev;
	struct list_head	dev_list;	/* dev->channels */
	u8			port;
	union bulk_addr		addr;
	u64			token;
	struct rhash_head	token_node;

	struct mutex		mutex;		/* endpoints, growth */

	spinlock_t		lock;		/* all below */
	bool			dead;		/* no more arrivals, commands, events */
	bool			removed;	/* RDMA device gone */
	bool			rx_low;		/* RX_LOW reported, none granted since */
	u32			rx_low_due;	/* its result, if still to be written */
	bool			removed_due;	/* REMOVED is still to be written */

	struct bulk_shm		ctrl_shm, ring_shm;
	struct rdma_bulk_ctrl	*ctrl;
	struct rdma_bulk_ring	*ring;
	u32			events;		/* power of two */
	u32			producer;	/* kernel's own */
	u32			reserved;	/* places promised to commands and slots */
	wait_queue_head_t	wait;
	struct list_head	due;		/* bulk_due.list */

	u32			headroom, rx_stride, tx_stride;
	struct bulk_chunk	rx[BULK_CHUNKS], tx[BULK_CHUNKS];
	unsigned int		rx_chunks, tx_chunks;
	unsigned int		grows;		/* calls that gave slots; ch->mutex */
	bool			dma;		/* transmit slots mapped; dev->mutex */
	u32			rx_slots, tx_slots;
	u16			*rx_free;	/* stack of free receive slots */
	u32			rx_nfree;
	unsigned long		*rx_held;	/* bitmap: held by the process */
	unsigned long		*tx_busy;	/* bitmap: held by the kernel */
	u32			commands;	/* outstanding */

	struct list_head	windows;	/* bulk_rx_window.list */
	struct list_head	low;		/* bulk_rx_window.low */
	u32			nr_windows;
	u32			rx_promised;	/* windows granted and not used up */

	struct list_head	senders;	/* bulk_sender.list */
	struct list_head	waiting;	/* bulk_sender.waiting: for slots */
	struct list_head	woken;		/* those that are being told */
	bool			local_turn;	/* the last slots that came back were theirs */
	struct delayed_work	turn_work;	/* what they have left of them */

	struct work_struct	wake_work;
	struct bulk_counters	stats;
	unsigned long		kernel_bytes;
	struct list_head	all_list;	/* every channel, for the sums */
	struct delayed_work	event_work;	/* events that found no room */
	unsigned int		event_delay;	/* milliseconds */
	struct work_struct	kill_work;
	struct work_struct	free_work;

	/* Of those who use it. */
	struct xarray		eps;		/* by handle, XA_FLAGS_ALLOC1 | LOCK_BH */
	unsigned int		nr_eps;		/* under ch->mutex */
	u32			next_ep;
	struct list_head	spare_ops;	/* under ch->lock: for commands to come */
	unsigned int		nr_spare_ops;
	bool			starved;	/* who was refused waits for a command's end */
	unsigned long		key_window;	/* jiffies: refused keys are counted from */
	u32			key_refused;
	atomic_t		puts;		/* outstanding, for FENCE_ALL */
};

/* ---- life (channel.c) ---- */

struct bulk_channel *bulk_channel_create(struct bulk_domain *domain,
					 struct rdma_bulk_bind *bind,
					 const struct bulk_chan_ops *ops);
void bulk_channel_put(struct bulk_channel *ch);	/* any context */
/* A command has ended: tell the endpoints that wait for that. Any context. */
void bulk_channel_wake(struct bulk_channel *ch);
/* The same by a worker. */
void bulk_channel_wake_later(struct bulk_channel *ch);
/* Owner died or file closed: once, asynchronous. */
void bulk_channel_kill(struct bulk_channel *ch);
/* By token, a reference, or NULL. Any context. */
struct bulk_channel *bulk_channel_find(u64 token);
void bulk_channel_stats(struct bulk_channel *ch, struct rdma_bulk_stats *stats);
/* Sums over all channels ever. */
void bulk_channel_total(struct bulk_counters *total);
int bulk_channel_init(void);
/* Wait until every channel is freed (module exit). */
void bulk_channel_exit(void);

/* ---- the event ring (ring.c); ch->lock held, but by poll ---- */

/*
 * Take a place in the event ring for a command: false if there is none, or
 * too many commands are outstanding.
 */
bool bulk_channel_reserve(struct bulk_channel *ch);
void bulk_channel_unreserve(struct bulk_channel *ch);
/*
 * Write an event if there is room: false if there is none, and it stays due until
 * ops->report.
 */
bool bulk_channel_event(struct bulk_channel *ch, const struct rdma_bulk_event *ev);
/* A command's EV_DONE, which uses up the place that bulk_channel_reserve took. */
void bulk_channel_done(struct bulk_channel *ch, const struct rdma_bulk_event *ev,
		       bool quiet);
__poll_t bulk_channel_poll(struct bulk_channel *ch, struct file *file, poll_table *wait);

/* ---- slots (slots.c) ---- */

int bulk_channel_grow(struct bulk_channel *ch, struct rdma_bulk_grow *grow);
int bulk_channel_mmap(struct bulk_channel *ch, struct vm_area_struct *vma);
/*
 * ch->lock held: give back receive slots, then grant windows. All, or none with -EINVAL
 * (one is not held) or -EAGAIN (the ring has no room for what may arrive in them).
 */
int bulk_channel_return(struct bulk_channel *ch, const u16 *slots, unsigned int n);
/* Where slot @slot lies: kernel address, NULL if there is no such slot. */
void *bulk_channel_tx_vaddr(struct bulk_channel *ch, u32 slot);
/*
 * SGEs (at most @max, merged where contiguous) of bytes [off, off + len) of a
 * transmit slot. Returns their number, or -EMSGSIZE, -EINVAL.
 */
int bulk_channel_tx_sges(struct bulk_channel *ch, u32 slot, u32 off, u32 len,
			 u32 lkey, struct ib_sge *sge, int max);
/*
 * Put a message into a free receive slot, with its event. Takes ch->lock. Windows and
 * promises guarantee a slot and a place in the ring. Uses up one of ch->rx_promised.
 */
int bulk_channel_deliver(struct bulk_channel *ch, u16 id, const void *data, u32 len);

/* ---- senders of other hosts (window.c); take ch->lock ---- */

void bulk_window_open(struct bulk_channel *ch, struct bulk_rx_window *w, bool first);
void bulk_window_close(struct bulk_channel *ch, struct bulk_rx_window *w);
bool bulk_window_first(struct bulk_channel *ch, struct bulk_rx_window *w);
int bulk_window_receive(struct bulk_channel *ch, struct bulk_rx_window *w, bool want);

/* ---- senders within the host (sender.c); take ch->lock ---- */

bool bulk_sender_attach(struct bulk_channel *ch, struct bulk_sender *s);
unsigned int bulk_sender_detach(struct bulk_channel *ch, struct bulk_sender *s);
int bulk_sender_promise(struct bulk_channel *ch, struct bulk_sender *s);
/* Slots have come free: tell those that wait. */
void bulk_senders_wake(struct bulk_channel *ch);

#endif /* _RDMA_BULK_CHAN_H */
