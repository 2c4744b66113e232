// SPDX-License-Identifier: GPL-2.0 OR BSD-3-Clause
/*
 * Data lanes: one RC queue pair per user and link, shared by all endpoints of
 * that user between the two hosts.
 *
 * Scheduling. An endpoint with something to post is on lane->active, and gets
 * its turns round robin: one message, or half of LANE_INFLIGHT bytes of RDMA, each.
 * One that cannot go on at the moment (key not resolved yet, LANE_INFLIGHT bytes
 * under way, no credits for messages, memory not pinned yet) moves to
 * lane->waiting; every pump tries those again. Operations of an endpoint are
 * posted strictly in order on one queue pair: that, and RC's own ordering, is
 * what keeps its messages in order and makes a PUT visible before a later
 * message.
 *
 * Not more than LANE_INFLIGHT bytes of all endpoints are under way in each direction: a
 * message that is posted behind them waits for them (for READs as well, where a device
 * has a limit of packets without an answer). It is twice as much while there are no
 * messages. An operation is cut into pieces of a quarter of that (PUT) or half of it
 * (GET), at the borders of the memory regions on both sides.
 *
 * Locks: the lane's lock (conn.smbd.lock) covers queues and posting; pumping
 * happens in the submitting process and in the completion softirq.
 *
 * Life and death of lanes: link/lane.c.
 */
#include "link/private.h"
#include "ep/private.h"
#include "base/trace.h"

#define LANE_INFLIGHT	(1u << 20)	/* bytes under way in each direction */
#define LANE_ALONE	(HZ / 10)	/* without a message: twice as many */
#define LANE_CREDITS	BULK_RBATCH
#define LANE_CREDITS_MAX (BULK_RBATCHES_MAX * BULK_RBATCH)
#define LANE_SQ		256
#define LANE_GATHERS	4		/* PDUs of small messages under way */
#define LANE_GATHER_MAX	512		/* bytes of a small message */
#define LANE_ACK_EVERY	32		/* messages */
#define LANE_WANT	4		/* messages left of a window: a larger one is asked for */

static struct bulk_lane *smbd_lane(struct bulk_smbd *smbd)
{
	return container_of(smbd, struct bulk_lane, conn.smbd);
}

/* --------------------------------------------------------- ends of operations */

static int wc_errno(enum ib_wc_status status)
{
	switch (status) {
	case IB_WC_SUCCESS:
		return 0;
	case IB_WC_REM_ACCESS_ERR:
	case IB_WC_REM_OP_ERR:
	case IB_WC_REM_INV_REQ_ERR:
		return -EREMOTEIO;
	case IB_WC_RETRY_EXC_ERR:
	case IB_WC_RNR_RETRY_EXC_ERR:
		return -ETIMEDOUT;
	case IB_WC_WR_FLUSH_ERR:
		return -ECONNRESET;
	default:
		return -EIO;
	}
}

/* ------------------------------------------------------------------ completions */

/* Transmit slots stay mapped for DMA: the process has written, the device reads. */
static void slot_for_device(struct bulk_smbd *smbd, const struct ib_sge *sge, int n)
{
	int i;

	for (i = 0; i < n; i++)
		ib_dma_sync_single_for_device(smbd->ibdev, sge[i].addr, sge[i].length,
					      DMA_BIDIRECTIONAL);
}

/* A GET into a slot has ended: the device has written, the process reads. */
static void slot_for_cpu(struct bulk_smbd *smbd, struct bulk_op *op)
{
	struct ib_sge sge[BULK_MAX_SGE];
	int n, i;

	n = bulk_channel_tx_sges(op->ep->ch, op->slot, op->addr, op->length, 0, sge,
				 ARRAY_SIZE(sge));
	for (i = 0; i < n; i++)
		ib_dma_sync_single_for_cpu(smbd->ibdev, sge[i].addr, sge[i].length,
					   DMA_BIDIRECTIONAL);
}

/* Bytes of the operation's kind that the lane has under way. */
static u32 *lane_inflight(struct bulk_lane *lane, const struct bulk_op *op)
{
	return op->op == RDMA_BULK_OP_GET ? &lane->reading : &lane->writing;
}

static void rdma_ended(struct bulk_lane *lane, struct bulk_op *op, struct bulk_wr *wr)
{
	*lane_inflight(lane, op) -= wr->bytes;
	bulk_key_posted_done(op->rkey);
}

static void lane_op_done(struct bulk_wr *wr, enum ib_wc_status status)
{
	struct bulk_op *op = wr->priv;
	struct bulk_lane *lane = smbd_lane(wr->smbd);
	struct bulk_ep *ep = op->ep;
	LIST_HEAD(ended);

	if (op->bounce)
		ib_dma_unmap_single(wr->smbd->ibdev, op->bounce_dma, op->length,
				    DMA_TO_DEVICE);
	else if (op->op == RDMA_BULK_OP_GET && op->slot != RDMA_BULK_NO_SLOT)
		slot_for_cpu(wr->smbd, op);
	spin_lock_bh(bulk_lane_lock(lane));
	if (status != IB_WC_SUCCESS && !op->status)
		op->status = wc_errno(status);
	op->inflight--;
	if (op->rkey)
		rdma_ended(lane, op, wr);
	bulk_ep_reap(ep, op, &ended);
	spin_unlock_bh(bulk_lane_lock(lane));
	bulk_ops_finish(&ended);
}

static void lane_gather_done(struct bulk_wr *wr, enum ib_wc_status status)
{
	struct bulk_lane *lane = smbd_lane(wr->smbd);
	struct bulk_gather *gather = wr->priv;
	struct bulk_op *op, *next;
	LIST_HEAD(ended);

	spin_lock_bh(bulk_lane_lock(lane));
	list_for_each_entry_safe(op, next, &gather->ops, fifo) {
		list_del_init(&op->fifo);
		if (status != IB_WC_SUCCESS && !op->status)
			op->status = wc_errno(status);
		op->inflight--;
		bulk_ep_reap(op->ep, op, &ended);
	}
	list_add(&gather->list, &wr->smbd->gathers);
	spin_unlock_bh(bulk_lane_lock(lane));
	bulk_ops_finish(&ended);
}

static void lane_piece_done(struct bulk_wr *wr, enum ib_wc_status status)
{
	struct bulk_piece *piece = wr->priv;
	struct bulk_op *op = piece->op;
	struct bulk_lane *lane = smbd_lane(wr->smbd);

	spin_lock_bh(bulk_lane_lock(lane));
	if (status != IB_WC_SUCCESS && !op->status)
		op->status = wc_errno(status);
	rdma_ended(lane, op, wr);
	bulk_piece_free(piece);
	op->inflight--;		/* the piece counts until it is unpinned */
	spin_unlock_bh(bulk_lane_lock(lane));
}

/* --------------------------------------------------------------------- posting */

enum post_result {
	POST_OK,	/* went on; there may be more */
	POST_IDLE,	/* nothing left */
	POST_WAIT,	/* this endpoint waits */
	POST_FULL,	/* the send queue is full */
};

/* Post the PDU of small messages that is being filled, if there is one. */
static void gather_post(struct bulk_lane *lane)
{
	struct bulk_smbd *smbd = &lane->conn.smbd;
	struct bulk_gather *gather = lane->gather;
	struct bulk_wr *wr = lane->gather_wr;
	struct ib_sge sge;

	if (!gather)
		return;
	lane->gather = NULL;
	wr->priv = gather;
	wr->done = lane_gather_done;
	wr->bytes = gather->len;
	sge.addr = gather->dma;
	sge.length = gather->len;
	sge.lkey = smbd->pd->local_dma_lkey;
	ib_dma_sync_single_for_device(smbd->ibdev, sge.addr, sge.length, DMA_TO_DEVICE);
	bulk_smbd_send(smbd, wr, 0, &sge, 1, gather->len);
}

/* Make lane->gather have room for @bytes. */
static enum post_result gather_room(struct bulk_lane *lane, u32 bytes)
{
	struct bulk_smbd *smbd = &lane->conn.smbd;
	struct bulk_gather *gather = lane->gather;

	if (gather && ALIGN(gather->len, 8) + bytes > BULK_GATHER_BYTES)
		gather_post(lane);
	if (lane->gather)
		return POST_OK;
	if (!bulk_smbd_can_send(smbd)) {
		bulk_smbd_starved(smbd);
		return POST_WAIT;
	}
	gather = list_first_entry_or_null(&smbd->gathers, struct bulk_gather, list);
	if (!gather)	/* what comes until one has ended will share the next */
		return POST_WAIT;
	lane->gather_wr = bulk_smbd_get_wr(smbd, 1);
	if (!lane->gather_wr)
		return POST_FULL;
	list_del(&gather->list);
	gather->len = 0;
	lane->gather = gather;
	return POST_OK;
}

/* The message is the lane's next. */
static void message_header(struct bulk_lane *lane, struct bulk_rchan *rchan,
			   struct bulk_op *op, struct bulk_message *m)
{
	u32 left = rchan->limit - rchan->sent;

	list_del_init(&op->fifo);
	op->todo = 0;
	op->inflight++;
	memset(m, 0, sizeof(*m));
	m->h.type = BULK_MESSAGE;
	/* in good time, but not already with the first of what may be few */
	if (left <= LANE_WANT && left < rchan->sent)
		m->h.flags = BULK_MESSAGE_WANT;
	m->h.length = cpu_to_le32(sizeof(*m) + op->length);
	m->target = cpu_to_le32(rchan->target);
	m->id = cpu_to_le16(op->id);
	m->seq = cpu_to_le64(++lane->tx_seq);
	lane->told = READ_ONCE(lane->rx_seq);
	lane->messaged = jiffies;
	m->ack = cpu_to_le64(lane->told);
	rchan->last_seq = lane->tx_seq;
	trace_bulk_message_send(lane, rchan->target, op->id, lane->tx_seq, lane->told,
				op->length);
}

/*
 * Small messages are copied and share a PDU with all that the lane's endpoints have
 * at the moment. If as many PDUs as there are buffers are under way, they wait for
 * the end of one and are more by then.
 */
static enum post_result post_small(struct bulk_lane *lane, struct bulk_ep *ep,
				   struct bulk_op *op)
{
	enum post_result r = gather_room(lane, sizeof(struct bulk_message) + op->length);
	struct bulk_gather *gather = lane->gather;
	struct bulk_message *m;
	u32 off;

	if (r != POST_OK)
		return r;
	off = ALIGN(gather->len, 8);
	memset(gather->buf + gather->len, 0, off - gather->len);
	m = gather->buf + off;
	message_header(lane, ep->rchan, op, m);
	/* length and place in the slot were checked at submission */
	if (op->bounce)
		memcpy(m + 1, op->bounce, op->length);
	else if (op->length)
		memcpy(m + 1, bulk_channel_tx_vaddr(ep->ch, op->slot) + op->addr,
		       op->length);
	gather->len = off + sizeof(*m) + op->length;
	list_add_tail(&op->fifo, &gather->ops);
	return POST_OK;
}

static enum post_result post_message(struct bulk_lane *lane, struct bulk_ep *ep,
				     struct bulk_op *op)
{
	struct bulk_smbd *smbd = &lane->conn.smbd;
	struct ib_sge sge[BULK_MAX_SGE - 1];
	struct bulk_wr *wr;
	int n = 0;

	if (op->length <= LANE_GATHER_MAX && lane->link->features & BULK_FEATURE_GATHER)
		return post_small(lane, ep, op);
	gather_post(lane);
	if (!bulk_smbd_can_send(smbd)) {
		bulk_smbd_starved(smbd);
		return POST_WAIT;
	}
	wr = bulk_smbd_get_wr(smbd, 1);
	if (!wr)
		return POST_FULL;
	if (op->bounce) {
		op->bounce_dma = ib_dma_map_single(smbd->ibdev, op->bounce, op->length,
						   DMA_TO_DEVICE);
		n = ib_dma_mapping_error(smbd->ibdev, op->bounce_dma) ? -ENOMEM : 1;
		sge[0].addr = op->bounce_dma;
		sge[0].length = op->length;
		sge[0].lkey = smbd->pd->local_dma_lkey;
	} else if (op->length) {
		n = bulk_channel_tx_sges(ep->ch, op->slot, op->addr, op->length,
					 smbd->pd->local_dma_lkey, sge, ARRAY_SIZE(sge));
		slot_for_device(smbd, sge, n);
	}
	if (n < 0) {	/* checked at submission; the device may be going */
		list_del_init(&op->fifo);
		op->todo = 0;
		bulk_smbd_put_wr(smbd, wr);
		ep->rchan->sent--;
		op->status = n;
		return POST_OK;
	}
	message_header(lane, ep->rchan, op, wr->hdr + SMBD_DATA_OFFSET);
	wr->priv = op;
	wr->done = lane_op_done;
	wr->bytes = op->length;
	bulk_smbd_send(smbd, wr, sizeof(struct bulk_message), sge, n, op->length);
	return POST_OK;
}

/* The key of the operation at the head: may it be used? */
static enum post_result post_key(struct bulk_op *op)
{
	int state = bulk_rkey_state(op->rkey);
	int err = 0;

	if (state == BULK_RKEY_RESOLVING)
		return POST_WAIT;
	if (state != BULK_RKEY_READY)
		err = -EKEYREJECTED;
	else if (!op->done)
		err = bulk_key_check(op->rkey, op->remote, op->length,
				     op->op == RDMA_BULK_OP_PUT ?
				     RDMA_BULK_ACCESS_REMOTE_WRITE :
				     RDMA_BULK_ACCESS_REMOTE_READ);
	if (!err && !bulk_key_post(op->rkey))
		err = -EKEYREJECTED;
	if (err) {
		op->status = err;
		return POST_IDLE;
	}
	return POST_OK;
}

/* Bytes that may be under way in each direction. */
static u32 lane_limit(const struct bulk_lane *lane)
{
	bool alone = time_after(jiffies, lane->messaged + LANE_ALONE);

	return alone ? 2 * LANE_INFLIGHT : LANE_INFLIGHT;
}

/* Bytes of a piece: what a GET brings takes the other direction. */
static u32 lane_piece(const struct bulk_lane *lane, const struct bulk_op *op)
{
	return lane_limit(lane) / (op->op == RDMA_BULK_OP_GET ? 2 : 4);
}

static void rdma_posted(struct bulk_lane *lane, struct bulk_op *op, struct bulk_wr *wr, u32 len)
{
	*lane_inflight(lane, op) += len;
	wr->bytes = len;
	op->inflight++;
	op->todo -= len;
	op->done += len;
	if (!op->todo)
		list_del_init(&op->fifo);
}

/* One piece of a PUT or GET whose local memory has a key: slot or region. */
static enum post_result post_rdma(struct bulk_lane *lane, struct bulk_ep *ep,
				  struct bulk_op *op)
{
	struct bulk_smbd *smbd = &lane->conn.smbd;
	struct ib_sge sge[BULK_MAX_SGE];
	struct ib_rdma_wr rdma = {
		.wr.sg_list	= sge,
		.wr.send_flags	= IB_SEND_SIGNALED,
	};
	u64 run, len = min_t(u64, op->todo, lane_piece(lane, op));
	u32 max_sge = min_t(u32, BULK_MAX_SGE, smbd->ibdev->attrs.max_sge_rd ?: BULK_MAX_SGE);
	struct bulk_wr *wr;
	int n;

	wr = bulk_smbd_get_wr(smbd, 1);
	if (!wr) {
		bulk_key_posted_done(op->rkey);
		return POST_FULL;
	}
	rdma.rkey = bulk_key_at(op->rkey, op->remote + op->done, &run);
	rdma.remote_addr = op->remote + op->done;
	len = min(len, run);
	if (op->local_kind == RDMA_BULK_LOCAL_REGION) {
		struct bulk_mrset *set = op->mrset;
		u64 at = op->addr + op->done, i = div64_u64(at - set->base, set->span);

		len = min(len, set->base + (i + 1) * set->span - at);
		sge[0].addr = at;
		sge[0].length = len;
		sge[0].lkey = set->mr[i].lkey;
		n = 1;
	} else {
		n = bulk_channel_tx_sges(ep->ch, op->slot, op->addr + op->done, len,
					 smbd->pd->local_dma_lkey, sge,
					 op->op == RDMA_BULK_OP_GET ? max_sge : BULK_MAX_SGE);
		if (n < 0) {
			bulk_smbd_put_wr(smbd, wr);
			bulk_key_posted_done(op->rkey);
			op->status = n;
			return POST_IDLE;
		}
		slot_for_device(smbd, sge, n);
	}
	rdma.wr.wr_cqe = &wr->cqe;
	rdma.wr.num_sge = n;
	rdma.wr.opcode = op->op == RDMA_BULK_OP_PUT ? IB_WR_RDMA_WRITE : IB_WR_RDMA_READ;
	wr->priv = op;
	wr->done = lane_op_done;
	rdma_posted(lane, op, wr, len);
	trace_bulk_post_rdma(smbd, rdma.wr.opcode, len, smbd->sq_free);
	gather_post(lane);	/* what comes first is posted first */
	bulk_smbd_post(smbd, wr, &rdma.wr);
	return POST_OK;
}

/* One pinned piece of a PUT or GET of plain memory. */
static enum post_result post_piece(struct bulk_lane *lane, struct bulk_ep *ep,
				   struct bulk_op *op)
{
	struct bulk_smbd *smbd = &lane->conn.smbd;
	const struct ib_send_wr *chain;
	struct bulk_piece *piece;
	struct bulk_wr *wr;

	piece = list_first_entry_or_null(&op->pieces, struct bulk_piece, list);
	if (!piece) {		/* its submitter is pinning */
		bulk_key_posted_done(op->rkey);
		return POST_WAIT;
	}
	wr = bulk_smbd_get_wr(smbd, piece->nr_wrs);
	if (!wr) {
		bulk_key_posted_done(op->rkey);
		return POST_FULL;
	}
	list_del_init(&piece->list);
	wr->priv = piece;
	wr->done = lane_piece_done;
	rdma_posted(lane, op, wr, piece->bytes);
	chain = rdma_rw_ctx_wrs(&piece->rw, smbd->qp, smbd->cm_id->port_num, &wr->cqe, NULL);
	trace_bulk_post_rdma(smbd, chain->opcode, piece->bytes, smbd->sq_free);
	gather_post(lane);	/* what comes first is posted first */
	bulk_smbd_post(smbd, wr, chain);
	return POST_OK;
}

/* A turn of an endpoint. */
static enum post_result lane_turn(struct bulk_lane *lane, struct bulk_ep *ep,
				  struct list_head *ended)
{
	u32 limit = lane_limit(lane), turn = limit / 2, before, *inflight;
	enum post_result r;
	struct bulk_op *op;

	do {
		op = list_first_entry_or_null(&ep->fifo, struct bulk_op, fifo);
		if (!op)
			return POST_IDLE;
		if (op->op == RDMA_BULK_OP_SEND) {
			r = post_message(lane, ep, op);
			if (r == POST_OK)
				bulk_ep_reap(ep, op, ended);
			return r;
		}
		inflight = lane_inflight(lane, op);
		if (*inflight >= limit)
			return POST_WAIT;
		before = *inflight;
		r = post_key(op);
		if (r == POST_OK)
			r = op->local_kind == RDMA_BULK_LOCAL_USER ?
			    post_piece(lane, ep, op) : post_rdma(lane, ep, op);
		if (r == POST_IDLE) {		/* this operation has failed */
			bulk_op_stop(op);
			bulk_ep_reap(ep, op, ended);
			r = POST_OK;
		}
		turn -= min(turn, *inflight - before);
	} while (r == POST_OK && turn);
	return r;
}

static void lane_ack(struct bulk_lane *lane)
{
	struct bulk_smbd *smbd = &lane->conn.smbd;
	u64 seq = READ_ONCE(lane->rx_seq);
	struct bulk_ack *m;
	struct bulk_wr *wr;

	if (seq - lane->told < LANE_ACK_EVERY || !bulk_smbd_can_send(smbd))
		return;
	wr = bulk_smbd_get_wr(smbd, 1);
	if (!wr)
		return;
	m = wr->hdr + SMBD_DATA_OFFSET;
	memset(m, 0, sizeof(*m));
	m->h.type = BULK_ACK;
	m->h.length = cpu_to_le32(sizeof(*m));
	m->ack = cpu_to_le64(seq);
	lane->told = seq;
	bulk_smbd_send(smbd, wr, sizeof(*m), NULL, 0, 0);
}

/**
 * bulk_lane_pump - post what can be posted
 * @lane: the lane
 */
void bulk_lane_pump(struct bulk_lane *lane)
{
	LIST_HEAD(waiting);
	LIST_HEAD(ended);
	struct bulk_ep *ep;

	spin_lock_bh(bulk_lane_lock(lane));
	list_splice_init(&lane->waiting, &lane->active);
	while (lane->conn.smbd.state == BULK_SMBD_READY &&
	       (ep = list_first_entry_or_null(&lane->active, struct bulk_ep, sched))) {
		enum post_result r = lane_turn(lane, ep, &ended);

		if (r == POST_FULL)
			break;
		if (r == POST_IDLE)
			list_del_init(&ep->sched);
		else if (r == POST_WAIT)
			list_move_tail(&ep->sched, &waiting);
		else
			list_move_tail(&ep->sched, &lane->active);
	}
	list_splice(&waiting, &lane->waiting);
	gather_post(lane);
	lane_ack(lane);
	spin_unlock_bh(bulk_lane_lock(lane));
	bulk_ops_finish(&ended);
}

/* ------------------------------------------------------------- SMB-Direct calls */

static void lane_ready(struct bulk_smbd *smbd)
{
	struct bulk_lane *lane = smbd_lane(smbd);

	spin_lock_bh(&smbd->lock);
	lane->up = true;
	spin_unlock_bh(&smbd->lock);
	bulk_link_kick(lane->link);
}

static int lane_recv_one(struct bulk_smbd *smbd, const void *data, u32 len)
{
	struct bulk_lane *lane = smbd_lane(smbd);
	const struct bulk_message *m = data;
	const struct bulk_ack *ack = data;
	u64 seq, acked;
	int err;

	if (len < sizeof(struct bulk_hdr) || le32_to_cpu(m->h.length) != len || m->h.reserved ||
	    m->h.flags & ~(m->h.type == BULK_MESSAGE ? BULK_MESSAGE_WANT : 0))
		return -EPROTO;
	if (m->h.type == BULK_ACK && len == sizeof(*ack))
		acked = le64_to_cpu(ack->ack);
	else if (m->h.type == BULK_MESSAGE && len >= sizeof(*m) && !m->reserved)
		acked = le64_to_cpu(m->ack);
	else
		return -EPROTO;

	spin_lock_bh(&smbd->lock);
	if (acked < lane->acked || acked > lane->tx_seq) {
		spin_unlock_bh(&smbd->lock);
		return -EPROTO;
	}
	lane->acked = acked;
	spin_unlock_bh(&smbd->lock);
	if (m->h.type == BULK_ACK)
		return 0;

	seq = le64_to_cpu(m->seq);
	if (seq != lane->rx_seq + 1)
		return -EPROTO;
	err = bulk_inbound_message(lane, m, m + 1, len - sizeof(*m));
	if (err)
		return err;
	/*
	 * Only now is it received: a CLOSED that speaks of it frees what it was
	 * delivered to. Pairs with inbound_closed(): one sees the other.
	 */
	WRITE_ONCE(lane->rx_seq, seq);
	bulk_inbound_received(lane);
	return 0;
}

static int lane_recv(struct bulk_smbd *smbd, const void *data, u32 len)
{
	for (;;) {
		const struct bulk_hdr *h = data;
		u32 one, step;
		int err;

		if (len < sizeof(*h))
			return -EPROTO;
		one = le32_to_cpu(h->length);
		if (one > len)
			return -EPROTO;
		err = lane_recv_one(smbd, data, one);
		if (err || one == len)
			return err;
		/* not less than a header: checked */
		step = ALIGN(one, 8);
		if (h->type != BULK_MESSAGE || step >= len)
			return -EPROTO;
		data += step;
		len -= step;
	}
}

static void lane_kick(struct bulk_smbd *smbd)
{
	bulk_lane_pump(smbd_lane(smbd));
}

static void lane_failed(struct bulk_smbd *smbd, int err)
{
	bulk_link_kick(smbd_lane(smbd)->link);
}

static struct ib_pd *lane_pd(struct bulk_conn *conn)
{
	struct bulk_lane *lane = conn->context;

	if (conn->smbd.cm_id->device != lane->link->dev->ibdev)
		return ERR_PTR(-ENODEV);
	return lane->user->pd;
}

static void lane_params(struct bulk_conn *conn, struct bulk_smbd_params *params)
{
	params->pdu = BULK_DATA_PDU;
	params->credits = LANE_CREDITS;
	params->credits_max = LANE_CREDITS_MAX;
	params->sq = LANE_SQ;
	params->gathers = LANE_GATHERS;
	params->rdma = true;
	/*
	 * Software devices complete in a worker. Raising a softirq there
	 * wakes ksoftirqd, which competes with processes that poll; the
	 * completion workers have a high priority.
	 */
	params->poll = ib_uses_virt_dma(conn->smbd.cm_id->device) ?
		       IB_POLL_WORKQUEUE : IB_POLL_SOFTIRQ;
}

const struct bulk_conn_ops bulk_lane_conn_ops = {
	.smbd = {
		.ready	= lane_ready,
		.recv	= lane_recv,
		.kick	= lane_kick,
		.failed	= lane_failed,
	},
	.pd	= lane_pd,
	.params	= lane_params,
};
