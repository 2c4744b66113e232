// SPDX-License-Identifier: GPL-2.0 OR BSD-3-Clause
/*
 * SMB-Direct 1.0 ([MS-SMBD]) on one RC queue pair: negotiation, credits,
 * keepalive. Knows nothing of what the messages mean.
 *
 * A struct bulk_smbd owns its queue pair, completion queue, receive buffers and
 * work requests; its user owns the structure itself and the PD.
 *
 * Credits. The peer may have @granted messages under way to us; each has its
 * receive buffer posted. A buffer that has been consumed is posted again and
 * counts in @to_grant until the next PDU announces it. A PDU without data goes
 * out when half of the buffers are unannounced. Our last credit is spent only
 * on a PDU that grants some, so two sides never wait for each other. A side that
 * has spent all of its credits more than once asks for twice as many; the other
 * makes more receive buffers, up to its limit, and keeps them.
 *
 * Send queue. Every work request taken from the pool is signaled and gives its
 * places back at its completion, so that the queue never overflows; two places
 * are kept for PDUs that only grant.
 *
 * Locks: smbd->lock, taken with bottom halves off, covers everything posted;
 * once the state is FAILED nothing is. Completion handlers run in the context
 * that the parameters chose. Upward calls are made without the lock.
 *
 * Death: bulk_smbd_fail() from anywhere, once; the owner is told and calls
 * bulk_smbd_destroy() in process context, which drains. A work request that
 * could not be posted is ended there, because the device may have taken a part
 * of its chain.
 */
#include "bulk.h"
#include "base/trace.h"

#define SMBD_GRANT_WRS		2	/* work requests kept for granting */
#define SMBD_RW_CTXS		16	/* rdma_rw contexts under way at a time */

void bulk_smbd_prepare(struct bulk_smbd *smbd, const struct bulk_smbd_ops *ops)
{
	smbd->ops = ops;
	spin_lock_init(&smbd->lock);
	smbd->state = BULK_SMBD_NEW;
	INIT_LIST_HEAD(&smbd->wrs);
	INIT_LIST_HEAD(&smbd->gathers);
	INIT_LIST_HEAD(&smbd->unposted);
}

void bulk_smbd_fail(struct bulk_smbd *smbd, int err)
{
	bool first;

	spin_lock_bh(&smbd->lock);
	first = smbd->state != BULK_SMBD_FAILED;
	if (first) {
		smbd->err = err;
		/* pairs with bulk_smbd_has_failed() */
		smp_store_release(&smbd->state, BULK_SMBD_FAILED);
	}
	spin_unlock_bh(&smbd->lock);
	if (first) {
		trace_bulk_smbd_failed(smbd, err);
		smbd->ops->failed(smbd, err);
	}
}

/* ------------------------------------------------------------------ sending */

static struct bulk_wr *smbd_take_wr(struct bulk_smbd *smbd, u32 places, u32 keep)
{
	struct bulk_wr *wr;

	lockdep_assert_held(&smbd->lock);
	if (smbd->state == BULK_SMBD_FAILED || smbd->sq_free < places + keep)
		return NULL;
	wr = list_first_entry_or_null(&smbd->wrs, struct bulk_wr, list);
	if (!wr)
		return NULL;
	list_del(&wr->list);
	smbd->sq_free -= places;
	wr->places = places;
	wr->done = NULL;
	wr->priv = NULL;
	wr->bytes = 0;
	return wr;
}

struct bulk_wr *bulk_smbd_get_wr(struct bulk_smbd *smbd, u32 n)
{
	return smbd_take_wr(smbd, n, SMBD_GRANT_WRS);
}

void bulk_smbd_put_wr(struct bulk_smbd *smbd, struct bulk_wr *wr)
{
	lockdep_assert_held(&smbd->lock);
	smbd->sq_free += wr->places;
	list_add(&wr->list, &smbd->wrs);
}

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

/* A failed post may have posted part of the chain: end it only after draining. */
static void smbd_unposted(struct bulk_smbd *smbd, struct bulk_wr *wr, int err)
{
	list_add_tail(&wr->list, &smbd->unposted);
	if (smbd->state != BULK_SMBD_FAILED) {
		smbd->state = BULK_SMBD_FAILED;
		smbd->err = err;
		smbd->ops->failed(smbd, err);
	}
}

void bulk_smbd_post(struct bulk_smbd *smbd, struct bulk_wr *wr,
		    const struct ib_send_wr *chain)
{
	int err;

	lockdep_assert_held(&smbd->lock);
	err = ib_post_send(smbd->qp, chain, NULL);
	if (err)
		smbd_unposted(smbd, wr, err);
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
	wr = smbd_take_wr(smbd, 1, 0);
	if (wr)
		bulk_smbd_send(smbd, wr, 0, NULL, 0, 0);
}

static void smbd_send_done(struct ib_cq *cq, struct ib_wc *wc)
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
	wr = smbd_take_wr(smbd, 1, 0);
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
	wr = smbd_take_wr(smbd, 1, 0);
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

static int smbd_post_recv(struct bulk_smbd *smbd, struct bulk_rbuf *rbuf)
{
	struct ib_sge sge[BULK_MAX_SGE];
	struct ib_recv_wr wr = {
		.wr_cqe = &rbuf->cqe,
		.sg_list = sge,
	};
	int n, i;

	n = bulk_shm_sges(&rbuf->batch->bufs, rbuf->off, smbd->pdu,
			  smbd->pd->local_dma_lkey, sge, BULK_MAX_SGE);
	if (n < 0)
		return n;
	wr.num_sge = n;
	for (i = 0; i < n; i++)
		ib_dma_sync_single_for_device(smbd->ibdev, sge[i].addr,
					      sge[i].length, DMA_FROM_DEVICE);
	return ib_post_recv(smbd->qp, &wr, NULL);
}

static void smbd_sync_recv(struct bulk_smbd *smbd, struct bulk_rbuf *rbuf, u32 len)
{
	struct ib_sge sge[BULK_MAX_SGE];
	int n, i;

	n = bulk_shm_sges(&rbuf->batch->bufs, rbuf->off, len, 0, sge, BULK_MAX_SGE);
	for (i = 0; i < n; i++)
		ib_dma_sync_single_for_cpu(smbd->ibdev, sge[i].addr,
					   sge[i].length, DMA_FROM_DEVICE);
}

static void smbd_recv_done(struct ib_cq *cq, struct ib_wc *wc)
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
	smbd_sync_recv(smbd, rbuf, wc->byte_len);
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
		err = smbd_post_recv(smbd, rbuf);
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

/*
 * After a period of silence the peer is asked for a sign of life, after a second one
 * the lane ends; one that is not READY after the first period ends at once.
 */

static void smbd_keepalive(struct work_struct *work)
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

/* -------------------------------------------------------------- life, death */

static void smbd_qp_event(struct ib_event *event, void *context)
{
	struct bulk_smbd *smbd = context;

	if (event->event == IB_EVENT_COMM_EST)
		return;
	/* some drivers call this with interrupts off */
	WRITE_ONCE(smbd->qp_error, true);
	mod_delayed_work(bulk_wq, &smbd->keepalive, 0);
}

static int smbd_make_qp(struct bulk_smbd *smbd, const struct bulk_smbd_params *params)
{
	const struct ib_device_attr *dev = &smbd->ibdev->attrs;
	u32 sq = params->sq + 1, rq = params->credits_max + 1;	/* one for draining */
	struct ib_qp_init_attr attr = {
		.event_handler	= smbd_qp_event,
		.qp_context	= smbd,
		.sq_sig_type	= IB_SIGNAL_REQ_WR,
		.qp_type	= IB_QPT_RC,
		.port_num	= smbd->cm_id->port_num,
		.cap = {
			.max_send_wr	= sq,
			.max_recv_wr	= rq,
			.max_send_sge	= min_t(u32, BULK_MAX_SGE, dev->max_send_sge),
			.max_recv_sge	= min_t(u32, BULK_MAX_SGE, dev->max_recv_sge),
			.max_rdma_ctxs	= params->rdma ? SMBD_RW_CTXS : 0,
		},
	};
	/*
	 * Devices round depths up, rdma_rw adds to the send queue, and after an
	 * error each entry may complete: make room for all of it.
	 */
	u32 cqe = 2 * (roundup_pow_of_two(sq + 8 * SMBD_RW_CTXS) + roundup_pow_of_two(rq));
	int err;

	if (dev->max_send_sge < 5 || dev->max_recv_sge < 4)
		return -EOPNOTSUPP;
	smbd->cq = ib_alloc_cq_any(smbd->ibdev, smbd, min_t(u32, cqe, dev->max_cqe),
				   params->poll);
	if (IS_ERR(smbd->cq)) {
		err = PTR_ERR(smbd->cq);
		smbd->cq = NULL;
		return err;
	}
	attr.send_cq = smbd->cq;
	attr.recv_cq = smbd->cq;
	err = rdma_create_qp(smbd->cm_id, smbd->pd, &attr);
	if (err)
		return err;
	smbd->qp = smbd->cm_id->qp;
	smbd->sq_free = params->sq;
	return 0;
}

static int smbd_make_wrs(struct bulk_smbd *smbd, u32 n)
{
	int err;
	u32 i;

	smbd->wr_pool = kvcalloc(n, sizeof(*smbd->wr_pool), GFP_KERNEL);
	if (!smbd->wr_pool)
		return -ENOMEM;
	err = bulk_shm_alloc(&smbd->hdrs, (size_t)n * BULK_WR_HDR, 0, false);
	if (!err)
		err = bulk_shm_map_dma(&smbd->hdrs, smbd->ibdev, DMA_TO_DEVICE);
	if (err)
		return err;
	for (i = 0; i < n; i++) {
		struct bulk_wr *wr = &smbd->wr_pool[i];
		u32 off = i * BULK_WR_HDR;

		wr->cqe.done = smbd_send_done;
		wr->smbd = smbd;
		wr->hdr = smbd->hdrs.vaddr + off;
		wr->hdr_dma = smbd->hdrs.dma[off >> PAGE_SHIFT] + offset_in_page(off);
		list_add_tail(&wr->list, &smbd->wrs);
	}
	return 0;
}

static int smbd_make_gathers(struct bulk_smbd *smbd, u32 n)
{
	int err;
	u32 i;

	if (!n)
		return 0;
	smbd->gather_pool = kcalloc(n, sizeof(*smbd->gather_pool), GFP_KERNEL);
	if (!smbd->gather_pool)
		return -ENOMEM;
	err = bulk_shm_alloc(&smbd->gather_bufs, (size_t)n * BULK_GATHER_BYTES, 0, false);
	if (!err)
		err = bulk_shm_map_dma(&smbd->gather_bufs, smbd->ibdev, DMA_TO_DEVICE);
	if (err)
		return err;
	for (i = 0; i < n; i++) {
		struct bulk_gather *g = &smbd->gather_pool[i];
		u32 off = i * BULK_GATHER_BYTES;

		INIT_LIST_HEAD(&g->ops);
		g->buf = smbd->gather_bufs.vaddr + off;
		g->dma = smbd->gather_bufs.dma[off >> PAGE_SHIFT] + offset_in_page(off);
		list_add_tail(&g->list, &smbd->gathers);
	}
	return 0;
}

static void smbd_free_batch(struct bulk_rbatch *batch, struct ib_device *ibdev)
{
	bulk_shm_unmap_dma(&batch->bufs, ibdev, DMA_FROM_DEVICE);
	bulk_shm_free(&batch->bufs);
	kfree(batch);
}

static struct bulk_rbatch *smbd_make_batch(struct bulk_smbd *smbd)
{
	u32 stride = ALIGN(smbd->pdu, 64), i;
	struct bulk_rbatch *batch;
	int err;

	batch = kzalloc(sizeof(*batch), GFP_KERNEL_ACCOUNT);
	if (!batch)
		return ERR_PTR(-ENOMEM);
	batch->smbd = smbd;
	for (i = 0; i < BULK_RBATCH; i++) {
		batch->rbuf[i].cqe.done = smbd_recv_done;
		batch->rbuf[i].batch = batch;
		batch->rbuf[i].off = i * stride;
	}
	err = bulk_shm_alloc(&batch->bufs, BULK_RBATCH * stride, 0, false);
	if (!err)
		err = bulk_shm_map_dma(&batch->bufs, smbd->ibdev, DMA_FROM_DEVICE);
	if (err) {
		smbd_free_batch(batch, smbd->ibdev);
		return ERR_PTR(err);
	}
	return batch;
}

/* The lane's from now on: in error as well, since some may have been posted. */
static int smbd_post_batch(struct bulk_smbd *smbd, struct bulk_rbatch *batch)
{
	int err = 0;
	u32 i;

	smbd->rbatch[smbd->nr_rbatches++] = batch;
	for (i = 0; !err && i < BULK_RBATCH; i++)
		err = smbd_post_recv(smbd, &batch->rbuf[i]);
	return err;
}

static int smbd_make_bufs(struct bulk_smbd *smbd)
{
	struct bulk_rbatch *batch;
	int err = 0;

	while (!err && smbd->nr_rbatches * BULK_RBATCH < smbd->target) {
		batch = smbd_make_batch(smbd);
		if (IS_ERR(batch))
			return PTR_ERR(batch);
		err = smbd_post_batch(smbd, batch);
	}
	return err;
}

/*
 * The peer would send more than it has credits for. Without memory for that it
 * goes on with what it has.
 */
static void smbd_grow(struct work_struct *work)
{
	struct bulk_smbd *smbd = container_of(work, struct bulk_smbd, grow);
	struct bulk_rbatch *batch;
	int err = 0;

	while (!err && READ_ONCE(smbd->target) < min(READ_ONCE(smbd->peer_wish),
						     smbd->target_max)) {
		batch = smbd_make_batch(smbd);
		if (IS_ERR(batch))
			return;
		spin_lock_bh(&smbd->lock);
		if (smbd->state != BULK_SMBD_READY) {
			spin_unlock_bh(&smbd->lock);
			smbd_free_batch(batch, smbd->ibdev);
			return;
		}
		err = smbd_post_batch(smbd, batch);
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

/**
 * bulk_smbd_init - make the queue pair and all buffers
 * @smbd: prepared, its cm_id bound to a device
 * @pd: protection domain, outlives the lane
 * @params: sizes
 * @active: this side connects
 *
 * Return: 0 or negative errno; bulk_smbd_destroy() is due in both cases.
 */
int bulk_smbd_init(struct bulk_smbd *smbd, struct ib_pd *pd,
		   const struct bulk_smbd_params *params, bool active)
{
	int err;

	smbd->ibdev = smbd->cm_id->device;
	smbd->pd = pd;
	smbd->active = active;
	smbd->pdu = params->pdu;
	smbd->target = params->credits;
	smbd->target_max = params->credits_max;
	smbd->wish = params->credits;
	smbd->last_recv = jiffies;
	INIT_WORK(&smbd->grow, smbd_grow);
	INIT_DELAYED_WORK(&smbd->keepalive, smbd_keepalive);

	err = smbd_make_qp(smbd, params);
	if (!err)
		err = smbd_make_wrs(smbd, params->sq + SMBD_GRANT_WRS);
	if (!err)
		err = smbd_make_gathers(smbd, params->gathers);
	if (!err)
		err = smbd_make_bufs(smbd);
	if (!err)
		queue_delayed_work(bulk_wq, &smbd->keepalive, bulk_keepalive * HZ);
	return err;
}

/**
 * bulk_smbd_destroy - disconnect, drain, free
 * @smbd: failed (bulk_smbd_fail), or never initialised
 *
 * Every work request's done() has been called on return, and no packet of this
 * lane touches memory any more.
 */
void bulk_smbd_destroy(struct bulk_smbd *smbd)
{
	struct bulk_wr *wr, *next;

	if (smbd->keepalive.work.func) {
		cancel_delayed_work_sync(&smbd->keepalive);
		cancel_work_sync(&smbd->grow);
	}
	if (smbd->qp) {
		rdma_disconnect(smbd->cm_id);
		ib_drain_qp(smbd->qp);
		list_for_each_entry_safe(wr, next, &smbd->unposted, list) {
			list_del(&wr->list);
			if (wr->done)
				wr->done(wr, IB_WC_WR_FLUSH_ERR);
		}
		rdma_destroy_qp(smbd->cm_id);
		smbd->qp = NULL;
		cancel_delayed_work_sync(&smbd->keepalive);	/* smbd_qp_event() */
	}
	if (smbd->cq)
		ib_free_cq(smbd->cq);
	smbd->cq = NULL;
	if (smbd->cm_id)
		rdma_destroy_id(smbd->cm_id);
	smbd->cm_id = NULL;
	while (smbd->nr_rbatches)
		smbd_free_batch(smbd->rbatch[--smbd->nr_rbatches], smbd->ibdev);
	if (smbd->ibdev) {
		bulk_shm_unmap_dma(&smbd->gather_bufs, smbd->ibdev, DMA_TO_DEVICE);
		bulk_shm_unmap_dma(&smbd->hdrs, smbd->ibdev, DMA_TO_DEVICE);
	}
	trace_bulk_smbd_destroyed(smbd, smbd->err);
	bulk_shm_free(&smbd->gather_bufs);
	bulk_shm_free(&smbd->hdrs);
	kfree(smbd->gather_pool);
	smbd->gather_pool = NULL;
	kvfree(smbd->wr_pool);
	smbd->wr_pool = NULL;
}

/**
 * bulk_smbd_reset - as after bulk_smbd_prepare()
 * @smbd: destroyed
 *
 * Unlike there, others may hold the lock, to see that nothing can be posted.
 */
void bulk_smbd_reset(struct bulk_smbd *smbd)
{
	spin_lock_bh(&smbd->lock);
	INIT_LIST_HEAD(&smbd->wrs);
	INIT_LIST_HEAD(&smbd->gathers);
	smbd->ibdev = NULL;
	smbd->pd = NULL;
	smbd->granted = 0;
	smbd->to_grant = 0;
	smbd->credits = 0;
	smbd->wish_fresh = 0;
	smbd->peer_wish = 0;
	smbd->sq_free = 0;
	smbd->want_response = false;
	smbd->probing = false;
	smbd->qp_error = false;
	smbd->err = 0;
	WRITE_ONCE(smbd->state, BULK_SMBD_NEW);
	spin_unlock_bh(&smbd->lock);
}
