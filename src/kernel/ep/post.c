// SPDX-License-Identifier: GPL-2.0 OR BSD-3-Clause
/*
 * Posting: an endpoint's turns on its lane
 *
 * An endpoint is a stream of its lane, its operations (ep->fifo) are posted strictly in
 * order. A turn is one message, or as many bytes of RDMA as the lane says. What cannot go on
 * at the moment (key not resolved yet, memory not pinned yet, too much under way, no
 * credits for messages) waits on the lane for that. A PUT or GET is cut into pieces
 * at the borders of the memory regions on both sides, too. Whatever has failed before it
 * was posted, or has ended, goes to @ended.
 *
 * Locks: the lane's lock, but for the beginning of completions.
 *
 * Context: the submitting process, and the lane's completions.
 */
#include "base/trace.h"
#include "ep/private.h"

#define POST_WANT	4		/* messages left of a window: a larger one is asked for */

/* ------------------------------------------------------------------ completions */

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

static bool op_reads(const struct bulk_op *op)
{
	return op->op == RDMA_BULK_OP_GET;
}

/* The lane's lock held: a work request of the operation has ended. */
static void op_ended(struct bulk_op *op, enum ib_wc_status status)
{
	if (status != IB_WC_SUCCESS && !op->status)
		op->status = wc_errno(status);
	op->inflight--;
}

static void rdma_ended(struct bulk_lane *lane, struct bulk_op *op, struct bulk_wr *wr)
{
	*bulk_lane_under_way(lane, op_reads(op)) -= wr->bytes;
	bulk_key_posted_done(op->rkey);
}

static void op_done(struct bulk_wr *wr, enum ib_wc_status status)
{
	struct bulk_op *op = wr->priv;
	struct bulk_ep *ep = op->ep;
	struct bulk_lane *lane = ep->rchan->lane;
	LIST_HEAD(ended);

	if (op->bounce)
		ib_dma_unmap_single(wr->smbd->ibdev, op->bounce_dma, op->length,
				    DMA_TO_DEVICE);
	else if (op_reads(op) && op->slot != RDMA_BULK_NO_SLOT)
		slot_for_cpu(wr->smbd, op);
	spin_lock_bh(bulk_lane_lock(lane));
	op_ended(op, status);
	if (op->rkey)
		rdma_ended(lane, op, wr);
	bulk_ep_reap(ep, op, &ended);
	spin_unlock_bh(bulk_lane_lock(lane));
	bulk_ops_finish(&ended);
}

static void piece_done(struct bulk_wr *wr, enum ib_wc_status status)
{
	struct bulk_piece *piece = wr->priv;
	struct bulk_op *op = piece->op;
	struct bulk_lane *lane = op->ep->rchan->lane;

	spin_lock_bh(bulk_lane_lock(lane));
	rdma_ended(lane, op, wr);
	bulk_piece_free(piece);	/* which counts until it is unpinned */
	op_ended(op, status);
	spin_unlock_bh(bulk_lane_lock(lane));
}

static void small_done(struct bulk_tx *tx, enum ib_wc_status status, struct list_head *ended)
{
	struct bulk_op *op = container_of(tx, struct bulk_op, tx);

	op_ended(op, status);
	bulk_ep_reap(op->ep, op, ended);
}

/* ------------------------------------------------------------------ messages */

/* It is posted, @m its numbered header. */
static void message_posted(struct bulk_lane *lane, struct bulk_op *op, struct bulk_message *m)
{
	struct bulk_rchan *rchan = op->ep->rchan;
	u32 left = rchan->limit - rchan->sent;

	op->todo = 0;
	op->inflight++;
	/* in good time, but not already with the first of what may be few */
	if (left <= POST_WANT && left < rchan->sent)
		m->h.flags = BULK_MESSAGE_WANT;
	m->target = cpu_to_le32(rchan->target);
	m->id = cpu_to_le16(op->id);
	rchan->last_seq = lane->tx_seq;
	trace_bulk_message_send(lane, rchan->target, op->id, lane->tx_seq, lane->told,
				op->length);
}

static enum bulk_turn post_small(struct bulk_lane *lane, struct bulk_op *op)
{
	struct bulk_message *m;
	enum bulk_turn r = bulk_lane_gather(lane, &op->tx, op->length, &m);

	if (r != BULK_TURN_OK)
		return r;
	message_posted(lane, op, m);
	/* length and place in the slot were checked at submission */
	if (op->bounce)
		memcpy(m + 1, op->bounce, op->length);
	else if (op->length)
		memcpy(m + 1, bulk_channel_tx_vaddr(op->ep->ch, op->slot) + op->addr,
		       op->length);
	return BULK_TURN_OK;
}

/* Describe the payload to the device: number of SGEs, or negative errno. */
static int message_sges(struct bulk_smbd *smbd, struct bulk_op *op, struct ib_sge *sge, int max)
{
	int n;

	if (op->bounce) {
		op->bounce_dma = ib_dma_map_single(smbd->ibdev, op->bounce, op->length,
						   DMA_TO_DEVICE);
		if (ib_dma_mapping_error(smbd->ibdev, op->bounce_dma))
			return -ENOMEM;
		sge[0].addr = op->bounce_dma;
		sge[0].length = op->length;
		sge[0].lkey = smbd->pd->local_dma_lkey;
		return 1;
	}
	if (!op->length)
		return 0;
	n = bulk_channel_tx_sges(op->ep->ch, op->slot, op->addr, op->length,
				 smbd->pd->local_dma_lkey, sge, max);
	slot_for_device(smbd, sge, n);
	return n;
}

static enum bulk_turn post_message(struct bulk_lane *lane, struct bulk_op *op)
{
	struct bulk_smbd *smbd = &lane->conn.smbd;
	struct ib_sge sge[BULK_MAX_SGE - 1];
	struct bulk_message *m;
	struct bulk_wr *wr;
	enum bulk_turn r;
	int n;

	if (bulk_lane_small(lane, op->length))
		return post_small(lane, op);
	r = bulk_lane_begin(lane, &wr);
	if (r != BULK_TURN_OK)
		return r;
	list_del_init(&op->tx.list);
	n = message_sges(smbd, op, sge, ARRAY_SIZE(sge));
	if (n < 0) {	/* checked at submission; the device may be going */
		op->todo = 0;
		bulk_smbd_put_wr(smbd, wr);
		op->ep->rchan->sent--;
		op->status = n;
		return BULK_TURN_OK;
	}
	m = wr->hdr + SMBD_DATA_OFFSET;
	bulk_lane_number(lane, m, op->length);
	message_posted(lane, op, m);
	wr->priv = op;
	wr->done = op_done;
	wr->bytes = op->length;
	bulk_smbd_send(smbd, wr, sizeof(*m), sge, n, op->length);
	return BULK_TURN_OK;
}

/* ------------------------------------------------------------------ RDMA */

/*
 * The key of the operation at the head: may it be used? BULK_TURN_OK: then
 * bulk_key_posted_done() is due; BULK_TURN_IDLE: the operation has failed.
 */
static enum bulk_turn post_key(struct bulk_op *op)
{
	int state = bulk_rkey_state(op->rkey);
	int err = 0;

	if (state == BULK_RKEY_RESOLVING)
		return BULK_TURN_KEY;
	if (state != BULK_RKEY_READY)
		err = -EKEYREJECTED;
	else if (!op->done)
		err = bulk_key_check(op->rkey, op->remote, op->length, bulk_op_access(op));
	if (!err && !bulk_key_post(op->rkey))
		err = -EKEYREJECTED;
	if (err) {
		op->status = err;
		return BULK_TURN_IDLE;
	}
	return BULK_TURN_OK;
}

static void rdma_post(struct bulk_lane *lane, struct bulk_op *op, struct bulk_wr *wr,
		      const struct ib_send_wr *chain, u32 bytes)
{
	op->inflight++;
	op->todo -= bytes;
	op->done += bytes;
	if (!op->todo)
		list_del_init(&op->tx.list);
	bulk_lane_rdma(lane, wr, chain, bytes, op_reads(op));
}

/* Bytes of a piece: what a GET brings takes the other direction. */
static u32 rdma_piece(const struct bulk_lane *lane, const struct bulk_op *op)
{
	return bulk_lane_limit(lane) / (op_reads(op) ? 2 : 4);
}

/* The next *@len bytes of a slot or region, or fewer: number of SGEs, or negative errno. */
static int rdma_sges(struct bulk_smbd *smbd, struct bulk_op *op, u64 *len, struct ib_sge *sge)
{
	u32 max_sge = min_t(u32, BULK_MAX_SGE, smbd->ibdev->attrs.max_sge_rd ?: BULK_MAX_SGE);
	u64 at = op->addr + op->done;
	int n;

	if (op->local_kind == RDMA_BULK_LOCAL_REGION) {
		struct bulk_mrset *set = op->mrset;
		u64 i = div64_u64(at - set->base, set->span);

		*len = min(*len, set->base + (i + 1) * set->span - at);
		sge[0].addr = at;
		sge[0].length = *len;
		sge[0].lkey = set->mr[i].lkey;
		return 1;
	}
	n = bulk_channel_tx_sges(op->ep->ch, op->slot, at, *len, smbd->pd->local_dma_lkey, sge,
				 op_reads(op) ? max_sge : BULK_MAX_SGE);
	slot_for_device(smbd, sge, n);
	return n;
}

/* One piece of a PUT or GET whose local memory has a key: slot or region. */
static enum bulk_turn post_rdma(struct bulk_lane *lane, struct bulk_op *op)
{
	struct bulk_smbd *smbd = &lane->conn.smbd;
	struct ib_sge sge[BULK_MAX_SGE];
	struct ib_rdma_wr rdma = {
		.wr.sg_list	= sge,
		.wr.send_flags	= IB_SEND_SIGNALED,
	};
	u64 run, len = min_t(u64, op->todo, rdma_piece(lane, op));
	struct bulk_wr *wr;
	int n;

	wr = bulk_smbd_get_wr(smbd, 1);
	if (!wr) {
		bulk_key_posted_done(op->rkey);
		return BULK_TURN_FULL;
	}
	rdma.rkey = bulk_key_at(op->rkey, op->remote + op->done, &run);
	rdma.remote_addr = op->remote + op->done;
	len = min(len, run);
	n = rdma_sges(smbd, op, &len, sge);
	if (n < 0) {
		bulk_smbd_put_wr(smbd, wr);
		bulk_key_posted_done(op->rkey);
		op->status = n;
		return BULK_TURN_IDLE;
	}
	rdma.wr.wr_cqe = &wr->cqe;
	rdma.wr.num_sge = n;
	rdma.wr.opcode = op_reads(op) ? IB_WR_RDMA_READ : IB_WR_RDMA_WRITE;
	wr->priv = op;
	wr->done = op_done;
	rdma_post(lane, op, wr, &rdma.wr, len);
	return BULK_TURN_OK;
}

/* One pinned piece of a PUT or GET of plain memory. */
static enum bulk_turn post_piece(struct bulk_lane *lane, struct bulk_op *op)
{
	struct bulk_smbd *smbd = &lane->conn.smbd;
	const struct ib_send_wr *chain;
	struct bulk_piece *piece;
	struct bulk_wr *wr;

	piece = list_first_entry_or_null(&op->pieces, struct bulk_piece, list);
	if (!piece) {		/* its submitter is pinning */
		bulk_key_posted_done(op->rkey);
		return BULK_TURN_OWNER;
	}
	wr = bulk_smbd_get_wr(smbd, piece->nr_wrs);
	if (!wr) {
		bulk_key_posted_done(op->rkey);
		return BULK_TURN_FULL;
	}
	list_del_init(&piece->list);
	wr->priv = piece;
	wr->done = piece_done;
	chain = rdma_rw_ctx_wrs(&piece->rw, smbd->qp, smbd->cm_id->port_num, &wr->cqe, NULL);
	rdma_post(lane, op, wr, chain, piece->bytes);
	return BULK_TURN_OK;
}

/* ------------------------------------------------------------------ turns */

static enum bulk_turn ep_turn(struct bulk_lane *lane, struct bulk_stream *stream,
			      struct list_head *ended)
{
	struct bulk_ep *ep = container_of(stream, struct bulk_ep, stream);
	u32 limit = bulk_lane_limit(lane), turn = limit / 2, before, *under_way;
	enum bulk_turn r;
	struct bulk_op *op;

	do {
		op = list_first_entry_or_null(&ep->fifo, struct bulk_op, tx.list);
		if (!op)
			return BULK_TURN_IDLE;
		if (op->op == RDMA_BULK_OP_SEND) {
			r = post_message(lane, op);
			if (r == BULK_TURN_OK)
				bulk_ep_reap(ep, op, ended);
			return r;
		}
		under_way = bulk_lane_under_way(lane, op_reads(op));
		if (*under_way >= limit)
			return op_reads(op) ? BULK_TURN_READ : BULK_TURN_WRITE;
		before = *under_way;
		r = post_key(op);
		if (r == BULK_TURN_OK)
			r = op->local_kind == RDMA_BULK_LOCAL_USER ?
			    post_piece(lane, op) : post_rdma(lane, op);
		if (r == BULK_TURN_IDLE) {	/* this operation has failed */
			bulk_op_stop(op);
			bulk_ep_reap(ep, op, ended);
			r = BULK_TURN_OK;
		}
		turn -= min(turn, *under_way - before);
	} while (r == BULK_TURN_OK && turn);
	return r;
}

const struct bulk_lane_ops bulk_ep_lane_ops = {
	.turn		= ep_turn,
	.done		= small_done,
	.finish		= bulk_ops_finish,
	.message	= bulk_inbound_message,
};
