/* SPDX-License-Identifier: GPL-2.0 OR BSD-3-Clause */
/*
 * conn: connections to other hosts' kernels: RDMA CM, one RC queue pair, SMB-Direct 1.0
 * ([MS-SMBD]) on it. Stands on verbs.
 *
 * Owns struct bulk_conn and in it struct bulk_smbd (smbd.c: negotiation, credits,
 * keepalive; qp.c: queue pair, work requests, buffers; connect.c: RDMA CM of a connection)
 * and the listeners (listen.c). Knows neither links and lanes nor what messages mean:
 * whoever makes a connection hands in a struct bulk_conn_ops, who listens a struct
 * bulk_listen_ops.
 *
 * Locks, outermost first:
 *
 *	listeners_mutex		the listeners
 *	handler_mutex		of an rdma_cm id, held by its handler
 *	conn->setup		making a queue pair against destroying it
 *	smbd->lock (bh)		all that is posted, credits, state; the layer above keeps what it
 *				schedules under it, too
 *
 * No id is destroyed and no queue pair drained under a lock that ops take.
 *
 * Contexts: CM handlers run in process context, completions in softirq or a worker
 * (params), ops without smbd->lock.
 *
 * Death: bulk_smbd_fail(), by anybody, once: nothing is posted any more, ops->failed is
 * called and has bulk_conn_destroy() called in process context, which drains: every work
 * request taken has then been done() with, and no packet touches memory.
 */
#ifndef _RDMA_BULK_CONN_H
#define _RDMA_BULK_CONN_H

#include <rdma/rdma_cm.h>
#include <rdma/rw.h>

#include "verbs/verbs.h"

/* ---- SMB-Direct on a queue pair ---- */

#define BULK_MAX_SGE		6	/* header and a payload over five pages */
#define BULK_WR_HDR		64	/* bytes of kernel memory for headers */

struct bulk_smbd;

/**
 * struct bulk_wr - a signaled work request under way on a lane
 * @done: called in the lane's completion context; @status is ib_wc.status
 */
struct bulk_wr {
	struct ib_cqe		cqe;
	struct bulk_smbd	*smbd;
	struct list_head	list;
	void			*hdr;
	dma_addr_t		hdr_dma;
	void			(*done)(struct bulk_wr *wr, enum ib_wc_status status);
	void			*priv;
	u32			bytes;
	u32			places;		/* in the send queue */
};

#define BULK_GATHER_BYTES	2048	/* a divisor of the page size */

/* Where small messages are put together to one PDU. */
struct bulk_gather {
	struct list_head	list;		/* smbd->gathers, while it is free */
	struct list_head	ops;		/* the owner's */
	void			*buf;
	dma_addr_t		dma;
	u32			len;
};

enum bulk_smbd_state {
	BULK_SMBD_NEW,		/* queue pair made, not connected */
	BULK_SMBD_NEGOTIATING,	/* connected; negotiate message awaited */
	BULK_SMBD_READY,
	BULK_SMBD_FAILED,	/* nothing is posted any more; being torn down */
};

/* Upward calls, in the lane's completion context, never under smbd->lock. */
struct bulk_smbd_ops {
	void (*ready)(struct bulk_smbd *smbd);
	/* One data transfer message with data; 0, or an error that closes it. */
	int (*recv)(struct bulk_smbd *smbd, const void *data, u32 len);
	/* Credits or work requests have come free. */
	void (*kick)(struct bulk_smbd *smbd);
	/* First failure, once. Any context; must only queue work. */
	void (*failed)(struct bulk_smbd *smbd, int err);
};

#define BULK_RBATCH		16	/* receive buffers made at a time */
#define BULK_RBATCHES_MAX	8	/* of one lane */

struct bulk_rbuf {
	struct ib_cqe		cqe;
	struct bulk_rbatch	*batch;
	u32			off;
};

struct bulk_rbatch {
	struct bulk_smbd	*smbd;
	struct bulk_shm		bufs;
	struct bulk_rbuf	rbuf[BULK_RBATCH];
};

/**
 * struct bulk_smbd - one lane's queue pair and its SMB-Direct state
 */
struct bulk_smbd {
	const struct bulk_smbd_ops *ops;
	struct ib_device	*ibdev;
	struct rdma_cm_id	*cm_id;
	struct ib_pd		*pd;
	struct ib_cq		*cq;
	struct ib_qp		*qp;
	bool			active;		/* this side connected */
	u32			pdu;		/* largest, both directions */
	u32			peer_pdu;	/* largest the peer takes */

	spinlock_t		lock;
	enum bulk_smbd_state	state;
	int			err;
	u16			target;		/* credits to keep granted */
	u16			target_max;	/* as many if the peer needs them */
	u16			peer_wish;	/* that it asked for last */
	u16			wish;		/* to ask the peer for */
	u16			wish_fresh;	/* granted since the wish grew */
	u16			granted;	/* of these, not used by the peer */
	u16			to_grant;	/* receives posted, not announced */
	u16			credits;	/* granted by the peer */
	bool			want_response;	/* keepalive to be answered */
	u32			sq_free;	/* work requests that may be posted */
	struct list_head	wrs;		/* free bulk_wr */
	struct list_head	unposted;	/* bulk_wr whose posting failed */
	struct bulk_wr		*wr_pool;
	struct bulk_shm		hdrs;
	struct list_head	gathers;	/* free bulk_gather */
	struct bulk_gather	*gather_pool;
	struct bulk_shm		gather_bufs;
	struct bulk_rbatch	*rbatch[BULK_RBATCHES_MAX];
	u32			nr_rbatches;
	struct work_struct	grow;		/* makes target peer_wish */
	unsigned long		last_recv;	/* jiffies */
	bool			probing;
	bool			qp_error;	/* keepalive is to end the lane */
	struct delayed_work	keepalive;
};

/* What a lane needs of its queue pair. */
struct bulk_smbd_params {
	u32	pdu;
	u16	credits;	/* multiples of BULK_RBATCH: to begin with, */
	u16	credits_max;	/* and if the peer needs more */
	u32	sq;		/* work requests */
	u32	gathers;	/* struct bulk_gather */
	bool	rdma;		/* carries RDMA (rdma_rw contexts) */
	enum ib_poll_context poll;
};

/* First of all: makes the lock and the other functions safe to call. */
void bulk_smbd_prepare(struct bulk_smbd *smbd, const struct bulk_smbd_ops *ops);
/* Make queue pair, CQ, buffers on smbd->cm_id's device, in @pd. */
int bulk_smbd_init(struct bulk_smbd *smbd, struct ib_pd *pd,
		   const struct bulk_smbd_params *params, bool active);
/* The connection is up: the active side sends its negotiate request. */
void bulk_smbd_established(struct bulk_smbd *smbd);
/* Nothing is posted after it returns; ops->failed is called once. Any context. */
void bulk_smbd_fail(struct bulk_smbd *smbd, int err);
/*
 * Disconnect, drain, free; the cm_id too. Afterwards no completion runs and
 * no packet of this lane touches memory. Process context.
 */
void bulk_smbd_destroy(struct bulk_smbd *smbd);
/* After bulk_smbd_destroy(): it may be connected again. */
void bulk_smbd_reset(struct bulk_smbd *smbd);

/* What was written before bulk_smbd_fail() can be seen if it has. */
static inline bool bulk_smbd_has_failed(const struct bulk_smbd *smbd)
{
	/* pairs with bulk_smbd_fail() */
	return smp_load_acquire(&smbd->state) == BULK_SMBD_FAILED;
}

/*
 * Caller holds smbd->lock from here on.
 * bulk_smbd_get_wr: a work request and @n places in the send queue, or NULL.
 */
struct bulk_wr *bulk_smbd_get_wr(struct bulk_smbd *smbd, u32 n);
/* May a PDU be sent (state, credits)? */
bool bulk_smbd_can_send(const struct bulk_smbd *smbd);
void bulk_smbd_starved(struct bulk_smbd *smbd);
/*
 * Send a PDU: @hdr_len bytes of bulk headers at wr->hdr + SMBD_DATA_OFFSET, and
 * the SGEs' bytes. The caller has asked can_send. On error the lane fails and
 * wr->done is called at teardown with a flush status.
 */
void bulk_smbd_send(struct bulk_smbd *smbd, struct bulk_wr *wr, u32 hdr_len,
		    struct ib_sge *sge, int nsge, u32 data_len);
/* Post work requests that end with wr->cqe; on error as above. */
void bulk_smbd_post(struct bulk_smbd *smbd, struct bulk_wr *wr,
		    const struct ib_send_wr *chain);
/* A work request that was taken but is not needed. */
void bulk_smbd_put_wr(struct bulk_smbd *smbd, struct bulk_wr *wr);

/* ---- connections (connect.c) ---- */

struct bulk_conn;

/**
 * struct bulk_conn_ops - what a connection asks of its owner
 * @smbd: see there
 * @pd: the protection domain, or ERR_PTR
 * @params: what it needs of its queue pair
 *
 * @pd and @params are called once conn->smbd.cm_id has a device, in process context,
 * under conn->setup.
 */
struct bulk_conn_ops {
	struct bulk_smbd_ops	smbd;
	struct ib_pd		*(*pd)(struct bulk_conn *conn);
	void			(*params)(struct bulk_conn *conn, struct bulk_smbd_params *params);
};

/**
 * struct bulk_conn - a connection under way or up
 * @context: the owner's
 * @list, @end_work: the owner's
 * @reject: enum bulk_cm_reason if the peer turned us away, set before smbd fails
 */
struct bulk_conn {
	struct bulk_smbd	smbd;
	const struct bulk_conn_ops *ops;
	void			*context;
	struct list_head	list;
	struct work_struct	end_work;
	struct mutex		setup;		/* making against destroying */
	union bulk_addr		remote;
	enum bulk_cm_kind	kind;
	u64			token;		/* data lane, this side connects */
	u32			reject;
};

/* First of all, before it is connected or accepted with. */
void bulk_conn_prepare(struct bulk_conn *conn, const struct bulk_conn_ops *ops,
		       enum bulk_cm_kind kind, void *context);
/* Connect; the end shows in the ops. A kernel worker, for the reserved port. */
int bulk_cm_connect(struct bulk_conn *conn, struct net *net, const union bulk_addr *local,
		    const union bulk_addr *remote);
/* smbd has failed: undo everything; no callback runs on return. Process context. */
void bulk_conn_destroy(struct bulk_conn *conn);

/* ---- listening (listen.c) ---- */

/* Who asks for a connection, and what for. */
struct bulk_conn_request {
	struct rdma_cm_id	*id;
	struct net		*net;
	struct bulk_dev		*dev;
	u8			port;
	union bulk_addr		local, remote;
	enum bulk_cm_kind	kind;
	u64			instance;	/* the peer's, 0 if it does not say */
	u64			token;		/* data lane */
};

/**
 * struct bulk_listen_ops - who takes connections
 * @accept: the connection, prepared and on which bulk_conn_take() was called, that this
 *	request is to be accepted with; or ERR_PTR, with *@reason set. Process context.
 */
struct bulk_listen_ops {
	struct bulk_conn	*(*accept)(const struct bulk_conn_request *req, u32 *reason);
};

/* The connection owns the id from now on. */
void bulk_conn_take(struct bulk_conn *conn, const struct bulk_conn_request *req);
/* Listen in a network namespace (first use). */
int bulk_cm_listen(struct net *net, const struct bulk_listen_ops *ops);
/* True if nobody listens there any more. */
bool bulk_cm_unlisten(struct net *net);
void bulk_cm_exit(void);

#endif /* _RDMA_BULK_CONN_H */
