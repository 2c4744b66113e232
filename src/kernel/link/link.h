/* SPDX-License-Identifier: GPL-2.0 OR BSD-3-Clause */
/*
 * link: the association of two hosts over one device in one network namespace: its
 * control lane and the data lanes of its users. Stands on conn.
 *
 * Owns struct bulk_link (link.c: states and worker; table.c: making and finding; ctl.c:
 * control messages) and struct bulk_lane (lane.c: life; sched.c: whose turn it is). Knows
 * neither channels, endpoints and operations nor keys: what messages mean, what is due on a
 * link, and what is posted in a turn, the layers above have handed in (struct
 * bulk_ctl_handler, struct bulk_link_client, struct bulk_lane_ops). What they have on a
 * link hangs on link->keys and link->eps.
 *
 * Locks, outermost first:
 *
 *	dev->mutex		dev->links
 *	link->mutex		state, lanes' states, all that control messages do
 *	lane->rw_sem		rdma_rw contexts made, against destroying
 *	smbd->lock (bh)		of a lane: its queues, everything posted; bulk_lane_lock()
 *	link->lock (bh)		queued control messages; a leaf
 *
 * No id of rdma_cm is destroyed, and no queue pair drained, under link->mutex or
 * dev->mutex: handlers and the control lane's completions take them. What is to be
 * destroyed waits for that on link->going or link->dead_conns, by work of its own.
 *
 * Contexts: the link's worker, the control lane's completion worker, and data lanes'
 * completions; see each.
 *
 * Death: a link gets FAILED, by whoever notices; its worker tears it down. A lane's queue
 * pair fails; the worker destroys it (which fences the peer's access to memory), the
 * structure lives until endpoints let go of it.
 */
#ifndef _RDMA_BULK_LINK_H
#define _RDMA_BULK_LINK_H

#include <linux/rwsem.h>

#include "conn/conn.h"

struct bulk_lane;
struct bulk_link_eps;
struct bulk_link_keys;

/* ---- link ---- */

enum bulk_link_state {
	BULK_LINK_CONNECTING,	/* control lane is coming up */
	BULK_LINK_HELLO,	/* it is up; HELLO awaited */
	BULK_LINK_READY,
	BULK_LINK_FAILED,	/* being torn down */
};

/* Bytes of answers a link may have queued before its peer, which asks, is cut off. */
#define BULK_CTL_QUEUE_MAX	(16u << 20)
#define BULK_LANES_MAX		256	/* users of a link */
#define BULK_PATIENCE		(20 * HZ)	/* with a peer that says "retry" */
#define BULK_RETRY		(HZ / 4)

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
	bool			ctl_over;	/* it is being destroyed, or is */
	struct ib_pd		*ctl_pd;
	unsigned int		attempts;
	unsigned long		first_attempt;
	bool			hello_sent;
	unsigned long		hello_since;	/* jiffies */
	struct list_head	lanes;		/* bulk_lane.list */
	struct list_head	going;		/* those being destroyed */
	struct list_head	dead_conns;
	unsigned int		rx_waiters;	/* who waits for messages; read by data lanes */

	spinlock_t		lock;
	struct list_head	ctl_queue;	/* control messages */
	unsigned int		ctl_queued;	/* bytes of answers in it */

	struct bulk_link_keys	*keys;		/* mem/'s part */
	struct bulk_link_eps	*eps;		/* ep/'s part */

	struct work_struct	work, free_work;
	struct delayed_work	retry;
	struct delayed_work	watch;		/* for answers */
};

struct bulk_link *bulk_link_get_ref(struct bulk_link *link);
void bulk_link_put(struct bulk_link *link);
void bulk_link_kick(struct bulk_link *link);	/* queue its worker; any context */
/* The same after @delay jiffies at the latest, or before; the worker looks again. */
void bulk_link_kick_later(struct bulk_link *link, unsigned long delay);
/* Something was asked of the peer: the worker looks for the answer in time. */
void bulk_link_watch(struct bulk_link *link);
void bulk_link_fail(struct bulk_link *link, int err);	/* process context */
/* The accepted half of a host's link to itself, a reference, or NULL. Process context. */
struct bulk_link *bulk_link_half(struct bulk_link *link);
struct bulk_link *bulk_link_open(struct net *net, struct bulk_dev *dev, u8 port,
				 const union bulk_addr *local, const union bulk_addr *remote);
/* Pump all its lanes, for keys too; link->mutex held. */
void bulk_link_pump(struct bulk_link *link);
/*
 * Destroy the data lanes of a user on this link, which can reach memory: true if there
 * are none; else client->fenced() follows.
 */
bool bulk_link_fence(struct bulk_link *link, kuid_t uid);
/*
 * A channel begins, or ends, in a network namespace: other hosts can connect while there
 * is one; links outlive the last one in the initial namespace only.
 */
int bulk_link_listen(struct net *net);
void bulk_link_unlisten(struct net *net);
void bulk_link_init(void);
ssize_t bulk_link_show(char *buf);	/* for sysfs: a line per link */

/**
 * struct bulk_link_client - a layer that has something on links
 * @attach: make its part of a new link that nobody sees yet; 0 or negative errno
 * @release: free that, if it was made; process context
 * @work: do what is due; also told of everything that bulk_link_kick() was called for
 * @waiting: give up what the peer was asked before @asked; true if something else waits
 *	for an answer
 * @wanted: do processes wait for the link?
 * @uses_lane: is the lane of use?
 * @lane_down: the lane has failed: what is not under way on it ends
 * @lane_gone: the lane of a user is destroyed, messages that it carried are lost
 * @fenced: the other host has no way to @uid's memory, though it may get another one
 * @down: the link is over, all lanes are destroyed
 *
 * But for @attach and @release in process context, under link->mutex: the link's worker.
 * Those from @wanted to @fenced are optional. @lane_down, @lane_gone and @down are
 * called from the uppermost layer down, all others from the lowest up.
 */
struct bulk_link_client {
	struct list_head	list;
	int	(*attach)(struct bulk_link *link);
	void	(*release)(struct bulk_link *link);
	void	(*work)(struct bulk_link *link);
	bool	(*waiting)(struct bulk_link *link, unsigned long asked);
	bool	(*wanted)(struct bulk_link *link);
	bool	(*uses_lane)(struct bulk_lane *lane);
	void	(*lane_down)(struct bulk_lane *lane);
	void	(*lane_gone)(struct bulk_link *link, kuid_t uid);
	void	(*fenced)(struct bulk_link *link, kuid_t uid);
	void	(*down)(struct bulk_link *link);
};

/* At module load, lower layers first. */
void bulk_link_client_add(struct bulk_link_client *client);

/* ---- control messages (ctl.c) ---- */

#define BULK_CTL_TYPES		32	/* enum bulk_type of the control lane is below this */

/**
 * struct bulk_ctl_handler - a type of control message
 * @len: bytes, header included, if it has no @length
 * @flags: of the header, that there are
 * @answer: it answers the peer, and counts against it until it is sent
 * @length: is @len right? What follows the fixed part is checked with its content
 * @recv: it has come on a READY link (HELLO: on any): 0, or an error that closes the
 *	link. Process context, under link->mutex
 */
struct bulk_ctl_handler {
	u32	len;
	u8	flags;
	bool	answer;
	bool	(*length)(const struct bulk_hdr *h, u32 len);
	int	(*recv)(struct bulk_link *link, const struct bulk_hdr *h);
};

void bulk_ctl_handle(enum bulk_type type, const struct bulk_ctl_handler *handler);
/* Queue a control message: @msg from bulk_ctl_alloc. Any context. */
void *bulk_ctl_alloc(struct bulk_link *link, enum bulk_type type, u32 len, gfp_t gfp);
void bulk_ctl_queue(struct bulk_link *link, void *msg);
void bulk_ctl_free(void *msg);
/* Count @msg as an answer, whatever its type. */
void bulk_ctl_answer(void *msg);
/* Give the control lane up, which ends the link. Any context. */
void bulk_ctl_fail(struct bulk_link *link, int err);

/* ---- lane ---- */

enum bulk_lane_state {
	BULK_LANE_NEW,		/* nothing done yet */
	BULK_LANE_ASKED,	/* LANE_WANT or LANE_OFFER sent */
	BULK_LANE_OFFERED,	/* LANE_OFFER received */
	BULK_LANE_CONNECTING,
	BULK_LANE_READY,
	BULK_LANE_FAILED,	/* being torn down, then freed */
};

/* How a stream's turn has ended. */
enum bulk_turn {
	/* it waits, on lane->waiting[]: */
	BULK_TURN_CREDIT,	/* for the peer's credits */
	BULK_TURN_BUFFER,	/* for a PDU of small messages */
	BULK_TURN_WRITE,	/* until fewer bytes are under way: of WRITEs, */
	BULK_TURN_READ,		/* or of READs */
	BULK_TURN_KEY,		/* for a key: bulk_lane_pump_keys() */
	BULK_TURN_OWNER,	/* for what its owner has to do: bulk_stream_resume() */
	BULK_TURN_CAUSES,
	BULK_TURN_OK = BULK_TURN_CAUSES, /* it went on; there may be more */
	BULK_TURN_IDLE,		/* nothing left */
	BULK_TURN_FULL,		/* the send queue is full */
};

/**
 * struct bulk_lane - the RC queue pair of a link that carries one user's data
 *
 * conn.smbd.lock is the lane's lock; it covers the fields from @active on and its
 * streams' queues.
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
	bool			renewing;	/* on link->going: it comes back */
	unsigned int		refusals;	/* how often turned away before it was up */
	unsigned long		first_refusal;	/* jiffies */
	unsigned long		not_before;	/* jiffies: asked for again, if @refusals */
	/* ep/'s, under link->mutex */
	struct list_head	rchans;		/* all of its remote channels */
	struct list_head	fresh;		/* of these, whose OPEN waits for its turn */
	unsigned int		opens;		/* OPENs without an answer */
	struct bulk_conn	conn;
	struct rw_semaphore	rw_sem;		/* rdma_rw contexts made against destroying */

	struct list_head	active;		/* bulk_stream.sched: something to post */
	struct list_head	waiting[BULK_TURN_CAUSES]; /* bulk_stream.sched, by what for */
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
void bulk_lane_put(struct bulk_lane *lane);

/* ---- what a lane carries (sched.c); the lane's lock held, but for pump ---- */

/**
 * struct bulk_stream - what has its turns on a lane
 */
struct bulk_stream {
	struct list_head	sched;		/* lane->active or one of ->waiting, or none */
};

/**
 * struct bulk_tx - a small message
 */
struct bulk_tx {
	struct list_head	list;		/* its stream's; when it is posted, the lane's */
};

/**
 * struct bulk_lane_ops - what lanes ask of who has streams on them
 * @turn: it is the stream's turn. What ends by that goes to @ended. The lane's lock held
 * @done: a small message is not under way any more; @ended as above. The lane's lock held
 * @finish: finish what has ended. No locks held
 * @message: a message has come: 0, or an error that closes the lane. No locks held
 *
 * Context: those of the lane, and of who pumps.
 */
struct bulk_lane_ops {
	enum bulk_turn	(*turn)(struct bulk_lane *lane, struct bulk_stream *stream,
				struct list_head *ended);
	void	(*done)(struct bulk_tx *tx, enum ib_wc_status status, struct list_head *ended);
	void	(*finish)(struct list_head *ended);
	int	(*message)(struct bulk_lane *lane, const struct bulk_message *m,
			   const void *data, u32 len);
};

void bulk_lane_serve(const struct bulk_lane_ops *ops);
/* Post what can be posted. Takes the lane's lock. Any context. */
void bulk_lane_pump(struct bulk_lane *lane);
/* The same, when keys have come, or gone: those that wait for one have their turns, too. */
void bulk_lane_pump_keys(struct bulk_lane *lane);

/* It has something to post. */
static inline void bulk_stream_ready(struct bulk_lane *lane, struct bulk_stream *stream)
{
	if (list_empty(&stream->sched))
		list_add_tail(&stream->sched, &lane->active);
}

/* Whatever it has waited for: it shall have a turn. The lane's lock held. */
static inline void bulk_stream_resume(struct bulk_lane *lane, struct bulk_stream *stream)
{
	list_move_tail(&stream->sched, &lane->active);
}

/* Bytes of RDMA that are under way in a direction; its poster takes off what has ended. */
static inline u32 *bulk_lane_under_way(struct bulk_lane *lane, bool read)
{
	return read ? &lane->reading : &lane->writing;
}

bool bulk_lane_small(const struct bulk_lane *lane, u64 len);
enum bulk_turn bulk_lane_gather(struct bulk_lane *lane, struct bulk_tx *tx, u32 len,
				struct bulk_message **m);
enum bulk_turn bulk_lane_begin(struct bulk_lane *lane, struct bulk_wr **wr);
void bulk_lane_number(struct bulk_lane *lane, struct bulk_message *m, u32 len);
u32 bulk_lane_limit(const struct bulk_lane *lane);
void bulk_lane_rdma(struct bulk_lane *lane, struct bulk_wr *wr,
		    const struct ib_send_wr *chain, u32 bytes, bool read);
/* link->mutex held, not the lane's lock. */
bool bulk_lane_received(struct bulk_lane *lane, u64 seq);

#endif /* _RDMA_BULK_LINK_H */
