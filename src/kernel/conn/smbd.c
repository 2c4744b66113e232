// SPDX-License-Identifier: GPL-2.0 OR BSD-3-Clause
/*
 * SMB-Direct 1.0 ([MS-SMBD]) on one RC queue pair: negotiation, credits,
 * keepalive. Knows nothing of what the messages mean.
 *
 * Credits. The peer may have @granted messages under way to us; each has its
 * receive buffer posted. A buffer that has been consumed is posted again and
 * counts in @to_grant until the next PDU announces it. A PDU without data goes
 * out when half of the buffers are unannounced. Our last credit is spent only
 * on a PDU that grants some, so two sides never wait for each other. A side that
 * has spent all of its credits more than once asks for twice as many; the other
 * makes more receive buffers, up to its limit, and keeps them.
 *
 * Locks: smbd->lock, taken with bottom halves off. Completion handlers run in the
 * context that the parameters chose. Upward calls are made without the lock.
 */
#include "base/trace.h"
#include "conn/smbd.h"

/* ------------------------------------------------------------------ sending */

bool bulk_smbd_can_send(const struct bulk_smbd *smbd)
{
	return smbd->state == BULK_SMBD_READY &&
	       (smbd->credits > 1 || (smbd->credits == 1 && smbd->to_grant));
}

/**
 * bulk_smbd_starved - a message waits for credits
 * @smbd: its lock held
 *
 * Asks for more if what there is has been spent since they were last asked for.
 */
void bulk_smbd_starved(struct bulk_smbd *smbd)
{
	lockdep_assert_held(&smbd->lock);
	if (smbd->wish_fresh < smbd->wish || smbd->wish >= smbd->target_max)
		return;
	smbd->wish = min(2 * smbd->wish, smbd->target_max);
	smbd->wish_fresh = 0;
}

static void smbd_post_sges(struct bulk_smbd *smbd, struct bulk_wr *wr,
			   struct ib_sge *sge, int nsge)
{
	struct ib_send_wr send = {
		.wr_cqe		= &wr->cqe,
		.sg_list	= sge,
		.num_sge	= nsge,
		.opcode		= IB_WR_SEND,
		.send_flags	= IB_SEND_SIGNALED,
	};

	ib_dma_sync_single_for_device(smbd->ibdev, sge[0].addr, sge[0].length,
				      DMA_TO_DEVICE);
	bulk_smbd_post(smbd, wr, &send);
}

void bulk_smbd_send(struct bulk_smbd *smbd, struct bulk_wr *wr, u32 hdr_len,
		    struct ib_sge *data, int nsge, u32 data_len)
{
	struct smbd_data *h = wr->hdr;
	struct ib_sge sge[BULK_MAX_SGE];
	u32 len = hdr_len + data_len;
	int i;

	lockdep_assert_held(&smbd->lock);
	memset(h, 0, SMBD_DATA_OFFSET);
	h->credits_requested = cpu_to_le16(smbd->wish);
	h->credits_granted = cpu_to_le16(smbd->to_grant);
	if (smbd->probing)
		h->flags = cpu_to_le16(SMBD_RESPONSE_REQUESTED);
	if (len) {
		h->data_offset = cpu_to_le32(SMBD_DATA_OFFSET);
		h->data_length = cpu_to_le32(len);
	}
	smbd->granted += smbd->to_grant;
	smbd->to_grant = 0;
	smbd->credits--;
	smbd->want_response = false;

	sge[0].addr = wr->hdr_dma;
	sge[0].length = len ? SMBD_DATA_OFFSET + hdr_len : sizeof(*h);
	sge[0].lkey = smbd->pd->local_dma_lkey;
	for (i = 0; i < nsge; i++)
		sge[i + 1] = data[i];
	trace_bulk_post_send(smbd, len, smbd->credits, smbd->sq_free);
	smbd_post_sges(smbd, wr, sge, nsge + 1);
}

/* Grant, answer or probe by a PDU without data, if it is time to. */
static void smbd_maybe_grant(struct bulk_smbd *smbd, bool probe)
{
	struct bulk_wr *wr;

	if (!bulk_smbd_can_send(smbd))
		return;
	if (!probe && !smbd->want_response && smbd->to_grant < (smbd->target + 1) / 2)
		return;
	wr = bulk_smbd_take_wr(smbd, 1, 0);
	if (wr)
		bulk_smbd_send(smbd, wr, 0, NULL, 0, 0);
}

/**
 * bulk_smbd_send_done - a work request has ended
 * @cq: completion queue
 * @wc: completion
 *
 * Context: that of the completion queue.
 */
void bulk_smbd_send_done(struct ib_cq *cq, struct ib_wc *wc)
{
	struct bulk_wr *wr = container_of(wc->wr_cqe, struct bulk_wr, cqe);
	struct bulk_smbd *smbd = wr->smbd;

	trace_bulk_completion(smbd, wc->status, wr->bytes);
	if (wc->status != IB_WC_SUCCESS)
		bulk_smbd_fail(smbd, wc->status == IB_WC_RETRY_EXC_ERR ?
			       -ETIMEDOUT : -ECONNRESET);
	if (wr->done)
		wr->done(wr, wc->status);
	spin_lock_bh(&smbd->lock);
	bulk_smbd_put_wr(smbd, wr);
	smbd_maybe_grant(smbd, false);
	spin_unlock_bh(&smbd->lock);
	smbd->ops->kick(smbd);
}

/* -------------------------------------------------------------- negotiation */

static void smbd_send_negotiate(struct bulk_smbd *smbd, struct bulk_wr *wr, u32 len)
{
	struct ib_sge sge = {
		.addr = wr->hdr_dma,
		.length = len,
		.lkey = smbd->pd->local_dma_lkey,
	};

	smbd_post_sges(smbd, wr, &sge, 1);
}

/**
 * bulk_smbd_established - the queue pair is connected
 * @smbd: the lane
 *
 * The active side sends its negotiate request ([MS-SMBD] 3.1.5.2); the passive
 * side may have received it already.
 */
void bulk_smbd_established(struct bulk_smbd *smbd)
{
	struct smbd_negotiate_req *req;
	struct bulk_wr *wr;

	spin_lock_bh(&smbd->lock);
	if (smbd->state != BULK_SMBD_NEW)
		goto out;
	smbd->state = BULK_SMBD_NEGOTIATING;
	if (!smbd->active)
		goto out;
	wr = bulk_smbd_take_wr(smbd, 1, 0);
	if (!wr)
		goto out;
	req = wr->hdr;
	*req = (struct smbd_negotiate_req) {
		.min_version		= cpu_to_le16(SMBD_V1),
		.max_version		= cpu_to_le16(SMBD_V1),
		.credits_requested	= cpu_to_le16(smbd->target),
		.preferred_send_size	= cpu_to_le32(smbd->pdu),
		.max_receive_size	= cpu_to_le32(smbd->pdu),
		.max_fragmented_size	= cpu_to_le32(SMBD_MIN_FRAGMENTED),
	};
	smbd_send_negotiate(smbd, wr, sizeof(*req));
out:
	spin_unlock_bh(&smbd->lock);
}

static int smbd_sizes_ok(struct bulk_smbd *smbd, u32 max_receive, u32 max_fragmented)
{
	if (max_receive < SMBD_MIN_RECEIVE || max_fragmented < SMBD_MIN_FRAGMENTED)
		return -EPROTO;
	/* bulk messages are not fragmented: the peer must take the largest */
	if (max_receive < smbd->pdu)
		return -EPROTO;
	return 0;
}

static int smbd_negotiate_request(struct bulk_smbd *smbd, const void *data, u32 len)
{
	const struct smbd_negotiate_req *req = data;
	struct smbd_negotiate_resp *resp;
	struct bulk_wr *wr;
	bool supported;

	if (len < sizeof(*req) || !le16_to_cpu(req->credits_requested))
		return -EPROTO;
	if (smbd_sizes_ok(smbd, le32_to_cpu(req->max_receive_size),
			  le32_to_cpu(req->max_fragmented_size)))
		return -EPROTO;
	supported = le16_to_cpu(req->min_version) <= SMBD_V1 &&
		    le16_to_cpu(req->max_version) >= SMBD_V1;

	spin_lock_bh(&smbd->lock);
	wr = bulk_smbd_take_wr(smbd, 1, 0);
	if (!wr) {
		spin_unlock_bh(&smbd->lock);
		return -ENOBUFS;
	}
	resp = wr->hdr;
	*resp = (struct smbd_negotiate_resp) {
		.min_version		= cpu_to_le16(SMBD_V1),
		.max_version		= cpu_to_le16(SMBD_V1),
		.negotiated_version	= cpu_to_le16(SMBD_V1),
		.credits_requested	= cpu_to_le16(smbd->target),
		.credits_granted	= cpu_to_le16(supported ? smbd->target : 0),
		.status			= cpu_to_le32(supported ?
						      SMBD_STATUS_SUCCESS :
						      SMBD_STATUS_NOT_SUPPORTED),
		.max_readwrite_size	= cpu_to_le32(RDMA_BULK_MAX_OP),
		.preferred_send_size	= cpu_to_le32(smbd->pdu),
		.max_receive_size	= cpu_to_le32(smbd->pdu),
		.max_fragmented_size	= cpu_to_le32(SMBD_MIN_FRAGMENTED),
	};
	if (supported) {
		/* the request's own buffer is posted again on return */
		smbd->granted = smbd->target;
		smbd->state = BULK_SMBD_READY;
	}
	smbd_send_negotiate(smbd, wr, sizeof(*resp));
	spin_unlock_bh(&smbd->lock);
	return supported ? 0 : -EPROTO;
}

static int smbd_negotiate_response(struct bulk_smbd *smbd, const void *data, u32 len)
{
	const struct smbd_negotiate_resp *resp = data;
	int err = -EPROTO;

	if (len < sizeof(*resp) || le32_to_cpu(resp->status) != SMBD_STATUS_SUCCESS ||
	    le16_to_cpu(resp->negotiated_version) != SMBD_V1 ||
	    !le16_to_cpu(resp->credits_requested) || !le16_to_cpu(resp->credits_granted))
		return -EPROTO;
	if (smbd_sizes_ok(smbd, le32_to_cpu(resp->max_receive_size),
			  le32_to_cpu(resp->max_fragmented_size)))
		return -EPROTO;
	spin_lock_bh(&smbd->lock);
	/* in any other state nobody has asked */
	if (smbd->state == BULK_SMBD_NEGOTIATING) {
		smbd->credits = le16_to_cpu(resp->credits_granted);
		/* all but the response's own buffer, which comes on return */
		smbd->to_grant = smbd->target - 1;
		smbd->state = BULK_SMBD_READY;
		err = 0;
	} else if (smbd->state == BULK_SMBD_FAILED) {
		err = -ECONNRESET;
	}
	spin_unlock_bh(&smbd->lock);
	return err;
}

/* ---------------------------------------------------------------- receiving */

static int smbd_data_message(struct bulk_smbd *smbd, const void *data, u32 len)
{
	const struct smbd_data *h = data;
	u32 off, data_len, granted, wish;
	int err = 0;

	if (len < sizeof(*h))
		return -EPROTO;
	off = le32_to_cpu(h->data_offset);
	data_len = le32_to_cpu(h->data_length);
	granted = le16_to_cpu(h->credits_granted);
	wish = le16_to_cpu(h->credits_requested);
	if (!wish || h->remaining_data_length)
		return -EPROTO;
	if (data_len && (off < SMBD_DATA_OFFSET || off % 8 || off > len ||
			 data_len > len - off))
		return -EPROTO;

	spin_lock_bh(&smbd->lock);
	if (!smbd->granted || smbd->credits + granted > U16_MAX) {
		err = -EPROTO;
	} else {
		smbd->granted--;
		smbd->credits += granted;
		smbd->wish_fresh = min(smbd->wish_fresh + granted, U16_MAX);
		smbd->peer_wish = wish;
		if (wish > smbd->target && smbd->target < smbd->target_max &&
		    smbd->state == BULK_SMBD_READY)
			queue_work(bulk_wq, &smbd->grow);
		if (le16_to_cpu(h->flags) & SMBD_RESPONSE_REQUESTED)
			smbd->want_response = true;
	}
	spin_unlock_bh(&smbd->lock);
	if (!err && data_len)
		err = smbd->ops->recv(smbd, data + off, data_len);
	return err;
}

/**
 * bulk_smbd_recv_done - a PDU has come
 * @cq: completion queue
 * @wc: completion
 *
 * Context: that of the completion queue.
 */
void bulk_smbd_recv_done(struct ib_cq *cq, struct ib_wc *wc)
{
	struct bulk_rbuf *rbuf = container_of(wc->wr_cqe, struct bulk_rbuf, cqe);
	struct bulk_smbd *smbd = rbuf->batch->smbd;
	const void *data = rbuf->batch->bufs.vaddr + rbuf->off;
	enum bulk_smbd_state state;
	int err;

	trace_bulk_receive(smbd, wc->status, wc->byte_len, smbd->granted);
	if (wc->status != IB_WC_SUCCESS) {
		bulk_smbd_fail(smbd, -ECONNRESET);
		return;
	}
	bulk_smbd_sync_recv(smbd, rbuf, wc->byte_len);
	WRITE_ONCE(smbd->last_recv, jiffies);
	WRITE_ONCE(smbd->probing, false);

	state = READ_ONCE(smbd->state);
	if (state == BULK_SMBD_READY)
		err = smbd_data_message(smbd, data, wc->byte_len);
	else if (state == BULK_SMBD_FAILED)
		return;
	else if (smbd->active)
		err = smbd_negotiate_response(smbd, data, wc->byte_len);
	else
		err = smbd_negotiate_request(smbd, data, wc->byte_len);
	if (err) {
		if (err == -EPROTO)
			pr_warn_ratelimited("%s: malformed or unexpected PDU of %u bytes, closing the lane\n",
					    dev_name(&smbd->ibdev->dev), wc->byte_len);
		bulk_smbd_fail(smbd, err);
		return;
	}

	spin_lock_bh(&smbd->lock);
	if (smbd->state != BULK_SMBD_FAILED) {
		err = bulk_smbd_post_recv(smbd, rbuf);
		/* the passive side has granted the negotiate request's buffer */
		if (!err && (state == BULK_SMBD_READY || smbd->active))
			smbd->to_grant++;
		smbd_maybe_grant(smbd, false);
	}
	spin_unlock_bh(&smbd->lock);
	if (err) {
		bulk_smbd_fail(smbd, err);
	} else if (state != BULK_SMBD_READY) {
		trace_bulk_smbd_ready(smbd, 0);
		smbd->ops->ready(smbd);
	} else {
		smbd->ops->kick(smbd);
	}
}

/* ---------------------------------------------------------------- keepalive */

/**
 * bulk_smbd_keepalive_work - look for a sign of life
 * @work: smbd->keepalive
 *
 * After a period of silence the peer is asked for one, after a second one the lane ends;
 * one that is not READY after the first period ends at once.
 */
void bulk_smbd_keepalive_work(struct work_struct *work)
{
	struct bulk_smbd *smbd = container_of(work, struct bulk_smbd, keepalive.work);
	unsigned long period = bulk_keepalive * HZ;
	long left = READ_ONCE(smbd->last_recv) + period - jiffies;
	int err = 0;

	spin_lock_bh(&smbd->lock);
	if (smbd->state == BULK_SMBD_FAILED) {
		spin_unlock_bh(&smbd->lock);
		return;
	}
	if (READ_ONCE(smbd->qp_error)) {
		err = -ECONNRESET;
	} else if (left <= 0) {
		if (smbd->state != BULK_SMBD_READY || smbd->probing) {
			err = -ETIMEDOUT;
		} else {
			trace_bulk_keepalive(smbd, 0);
			smbd->probing = true;
			smbd_maybe_grant(smbd, true);
		}
	}
	spin_unlock_bh(&smbd->lock);
	if (err)
		bulk_smbd_fail(smbd, err);
	else
		queue_delayed_work(bulk_wq, &smbd->keepalive, left > 0 ? left : period);
}

/**
 * bulk_smbd_grow_work - the peer would send more than it has credits for
 * @work: smbd->grow
 *
 * Without memory for that it goes on with what it has.
 */
void bulk_smbd_grow_work(struct work_struct *work)
{
	struct bulk_smbd *smbd = container_of(work, struct bulk_smbd, grow);
	struct bulk_rbatch *batch;
	int err = 0;

	while (!err && READ_ONCE(smbd->target) < min(READ_ONCE(smbd->peer_wish),
						     smbd->target_max)) {
		batch = bulk_smbd_make_batch(smbd);
		if (IS_ERR(batch))
			return;
		spin_lock_bh(&smbd->lock);
		if (smbd->state != BULK_SMBD_READY) {
			spin_unlock_bh(&smbd->lock);
			bulk_smbd_free_batch(batch, smbd->ibdev);
			return;
		}
		err = bulk_smbd_post_batch(smbd, batch);
		if (!err) {
			smbd->target += BULK_RBATCH;
			smbd->to_grant += BULK_RBATCH;
			smbd_maybe_grant(smbd, true);
			trace_bulk_smbd_credits(smbd, smbd->target);
		}
		spin_unlock_bh(&smbd->lock);
	}
	if (err)
		bulk_smbd_fail(smbd, err);
}
