/* SPDX-License-Identifier: GPL-2.0 OR BSD-3-Clause */
/*
 * Internal declarations of rdma_bulk.ko. Layers, top to bottom; each calls only
 * those below it and answers upward through the functions declared here:
 *
 *	file.c		device node: open, ioctl, uring_cmd, mmap, poll
 *	channel.c	channels: their life, shared memory, token
 *	ring.c		what happens in it: event ring, slots
 *	shm.c		areas of shared pages
 *	submit.c	commands: check, take a place in the event ring, queue
 *	endpoint.c	endpoints, remote channels, inbound channels, windows
 *	local.c		endpoints within the host, without the adapter
 *	key.c		the initiator's cache of resolved keys
 *	region.c	pinned memory, MRs, key table, revocation
 *	user.c		a user's PD and registration queue pair on a device
 *	lane.c		data lanes: scheduling and posting
 *	link.c		host to host: control lane, its messages, life
 *	cm.c		RDMA CM: connecting and accepting lanes
 *	smbd.c		SMB-Direct on one RC queue pair
 *	device.c	RDMA devices: ib_client, enumeration
 *
 * Locks, outermost first; those on one line never nest.
 *
 *	process	bf->mutex		a file becomes a domain or a channel
 *	process	local->mutex		commands of a local endpoint, one by one
 *	process	ch->mutex		endpoints opened and closed, slots grown
 *	process	region->mutex		its MRs
 *	process	listeners_mutex		cm.c
 *	process	handler_mutex		of an rdma_cm id, held by its handler
 *	process	conn->setup, bulk_devs_lock
 *	process	dev->mutex		links, users and channels of a device
 *	process	link->mutex		state, rchans, lanes, control messages
 *	process	lane->rw_sem		rdma_rw contexts made, against destroying
 *	process	domain->mutex, user->reg_mutex, bulk_grant_lock
 *	any (bh) smbd->lock		which is the lane's: queues, everything posted
 *	any (bh) ch->lock		event ring, slots, windows
 *	any (bh) link->lock		key cache, inbounds to report, control messages
 *	any (bh) local->lock		which stands for the lane's in a local endpoint
 *
 * No id of rdma_cm is destroyed, and no queue pair drained, under link->mutex or
 * dev->mutex: handlers and the control lane's completions take them. smbd->lock and
 * ch->lock do not nest; link->lock is inside both, local->lock inside ch->lock. User
 * memory is touched and pinned under none but bf->mutex and local->mutex.
 *
 * Control messages are handled in process context (IB_POLL_WORKQUEUE), data
 * lanes in softirq or, on software devices, a worker.
 */
#ifndef _RDMA_BULK_H_INTERNAL
#define _RDMA_BULK_H_INTERNAL

#include <linux/percpu_counter.h>
#include <linux/poll.h>
#include <linux/xarray.h>

#include "mem/mem.h"

struct bulk_channel;

/* Sums over all channels ever, shown in /sys/class/misc/rdma_bulk/. */
struct bulk_counters {
	atomic64_t tx_messages, tx_bytes, rx_messages, rx_bytes;
	atomic64_t puts, put_bytes, gets, get_bytes;
	atomic64_t refused, again, failed, key_misses;
};

/* Count @n things that happened to channel @ch in one of its counters. */
#define bulk_count(ch, field, n) \
	atomic64_add((n), &(ch)->stats.field)

/* ------------------------------------------------------------- mem/domain.c */

/**
 * struct bulk_domain - an open file that owns regions
 */
struct bulk_domain {
	refcount_t		refs;
	struct bulk_owned	owned;
	struct mm_struct	*mm;		/* identity only, mmgrab'ed */
	kuid_t			uid;
	struct mutex		mutex;
	bool			dead;
	struct xarray		regions;	/* by handle, XA_FLAGS_ALLOC1 */
	u32			next_handle;
	atomic_t		nr_regions;	/* not dead yet */
	struct work_struct	kill_work;
};

struct bulk_domain *bulk_domain_create(void);
void bulk_domain_put(struct bulk_domain *domain);	/* process context */
/* Owner died or file closed: revoke everything, once; asynchronous. */
void bulk_domain_kill(struct bulk_domain *domain);

/* ----------------------------------------------------------------- channel.c */

#define BULK_CHUNKS		16	/* BIND and 15 GROWs */
#define BULK_DEF_RX		4	/* slots at BIND */
#define BULK_DEF_TX		4
#define BULK_MAX_RX		512
#define BULK_MAX_TX		256
#define BULK_DEF_EVENTS		1024
#define BULK_MAX_EVENTS		65536
#define BULK_MAX_COMMANDS	448	/* with BULK_MAX_RX: fits the default ring */
#define BULK_MAX_ENDPOINTS	65536

struct bulk_chunk {
	struct bulk_shm		shm;
	u32			first;		/* slot */
	u32			count;
};

enum bulk_tx_state { BULK_TX_FREE, BULK_TX_BUSY };

/**
 * struct bulk_channel - an open file bound to a device
 */
struct bulk_channel {
	refcount_t		refs;
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
	struct hlist_node	token_node;

	struct mutex		mutex;		/* endpoints, growth */
	struct xarray		eps;		/* by handle, XA_FLAGS_ALLOC1 | LOCK_BH */
	unsigned int		nr_eps;
	u32			next_ep;

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
	struct list_head	ep_events;	/* bulk_ep.event_list: bits to report */

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
	struct list_head	spare_ops;	/* bulk_op.all: for commands to come */
	unsigned int		nr_spare_ops;

	struct list_head	inbounds;	/* bulk_inbound.ch_list */
	u32			nr_inbounds;
	u32			rx_promised;	/* windows granted and not used up */

	struct list_head	locals;		/* bulk_ep.rchan_list: local endpoints to here */
	struct list_head	local_waiting;	/* bulk_ep.sched: of these, for slots */
	struct list_head	local_woken;	/* those that are being told */
	bool			local_turn;	/* the last slots that came back were theirs */
	struct delayed_work	turn_work;	/* what they have left of them */

	atomic_t		puts;		/* outstanding, for FENCE_ALL */
	unsigned long		key_window;	/* jiffies: refused keys are counted from */
	u32			key_refused;
	bool			starved;	/* who was refused waits for a command's end */
	struct work_struct	wake_work;
	struct bulk_counters	stats;
	unsigned long		kernel_bytes;
	struct list_head	all_list;	/* every channel, for the sums */
	struct delayed_work	event_work;	/* events that found no room */
	unsigned int		event_delay;	/* milliseconds */
	struct work_struct	kill_work;
	struct work_struct	free_work;
};

struct bulk_channel *bulk_channel_create(struct bulk_domain *domain,
					 struct rdma_bulk_bind *bind);
int bulk_channel_grow(struct bulk_channel *ch, struct rdma_bulk_grow *grow);
int bulk_channel_mmap(struct bulk_channel *ch, struct vm_area_struct *vma);
__poll_t bulk_channel_poll(struct bulk_channel *ch, struct file *file, poll_table *wait);
void bulk_channel_stats(struct bulk_channel *ch, struct rdma_bulk_stats *stats);
void bulk_channel_put(struct bulk_channel *ch);	/* any context */
/* A command has ended: tell the endpoints that wait for that. Any context. */
void bulk_channel_wake(struct bulk_channel *ch);
/* Owner died or file closed: once, asynchronous. */
void bulk_channel_kill(struct bulk_channel *ch);
/* By token, a reference, or NULL. Any context. */
struct bulk_channel *bulk_channel_find(u64 token);
/* Sums over all channels ever. */
void bulk_channel_total(struct bulk_counters *total);
void bulk_channel_init(void);
/* Wait until every channel is freed (module exit). */
void bulk_channel_exit(void);

/* All of the following: caller holds ch->lock. */
/*
 * Take a place in the event ring for a command: false if there is none, or
 * too many commands are outstanding.
 */
bool bulk_channel_reserve(struct bulk_channel *ch);
void bulk_channel_unreserve(struct bulk_channel *ch);
/*
 * Write an event if there is room: false if there is none, and the caller's bit
 * stays set until bulk_ep_flush_events.
 */
bool bulk_channel_event(struct bulk_channel *ch, const struct rdma_bulk_event *ev);
/* A command's EV_DONE, which uses up the place that bulk_channel_reserve took. */
void bulk_channel_done(struct bulk_channel *ch, const struct rdma_bulk_event *ev,
		       bool quiet);
/*
 * Give back receive slots, then grant windows. All, or none with -EINVAL (one is
 * not held) or -EAGAIN (the ring has no room for what may arrive in them).
 */
int bulk_channel_return(struct bulk_channel *ch, const u16 *slots, unsigned int n);

/* Report RX_LOW (@want: messages peers would like to send) unless reported. */
void bulk_channel_rx_low(struct bulk_channel *ch, u32 want);

/* ch->lock not needed from here on. */
/* Where slot @slot lies: kernel address, NULL if there is no such slot. */
void *bulk_channel_tx_vaddr(struct bulk_channel *ch, u32 slot);
/*
 * SGEs (at most @max, merged where contiguous) of bytes [off, off + len) of a
 * transmit slot. Returns their number, or -EMSGSIZE, -EINVAL.
 */
int bulk_channel_tx_sges(struct bulk_channel *ch, u32 slot, u32 off, u32 len,
			 u32 lkey, struct ib_sge *sge, int max);
/**
 * bulk_channel_deliver - put a message into a free receive slot, with its event
 * Takes ch->lock. Windows guarantee a slot and a place in the ring. Uses up one
 * of ch->rx_promised: the caller must not. Returns -EPIPE if the channel is
 * dead, -ENOBUFS if nothing is promised, -EMSGSIZE if @len is too much.
 */
int bulk_channel_deliver(struct bulk_channel *ch, u16 id, const void *data, u32 len);

/* ---------------------------------------------------------------- endpoint.c */

int bulk_ep_open(struct bulk_channel *ch, struct rdma_bulk_ep_open *open);
int bulk_ep_close(struct bulk_channel *ch, u32 handle);
/* All endpoints of a dying channel, all inbounds. Process context. */
void bulk_ep_close_all(struct bulk_channel *ch);
/* A command of the channel has ended: whoever was refused may try again. */
void bulk_ep_wake_all(struct bulk_channel *ch);
/* ch->lock held: write EV_EP_* events that found no room before. */
void bulk_ep_flush_events(struct bulk_channel *ch);
/* ch->lock held: slots have come free, grant windows to who wants some. */
void bulk_inbound_grant(struct bulk_channel *ch);

/* ------------------------------------------------------------------- local.c */

/* Slots have come free: tell local endpoints that wait. Takes ch->lock. */
void bulk_local_wake(struct bulk_channel *ch);
/* ch->lock held: are slots that come free left to local endpoints this time? */
bool bulk_local_turn(struct bulk_channel *ch);
void bulk_local_turn_work(struct work_struct *work);
/* Local endpoints to @target go down with @err. Process context. */
void bulk_local_target_gone(struct bulk_channel *target, int err);

/* ------------------------------------------------------------------ submit.c */

/*
 * Check and accept a command. 0, negative errno (counted by the caller), or
 * BULK_SUBMIT_BLOCK: it would have to sleep, and @nonblock forbids it.
 */
#define BULK_SUBMIT_BLOCK	1
int bulk_submit(struct bulk_channel *ch, const struct rdma_bulk_cmd *cmd, bool nonblock);
/* Free what is kept for commands to come. Of a channel that nobody can use any more. */
void bulk_submit_drop_spares(struct bulk_channel *ch);
int bulk_submit_init(void);
void bulk_submit_exit(void);

#endif /* _RDMA_BULK_H_INTERNAL */
