// SPDX-License-Identifier: GPL-2.0 OR BSD-3-Clause
/*
 * The queue pair under SMB-Direct: its making and destroying, work requests, buffers
 *
 * Owns the queue pair, the completion queue, receive buffers, work requests and their
 * headers. The owner of the connection owns the structure and the PD.
 *
 * Send queue. Every work request taken from the pool is signaled and gives its places
 * back at its completion, so that the queue never overflows; BULK_SMBD_GRANT_WRS places
 * are kept for PDUs that only grant. A work request that could not be posted is ended
 * when the queue pair is drained, because the device may have taken a part of its chain.
 *
 * Locks: smbd->lock covers everything posted; once the state is FAILED nothing is.
 */
#include "base/trace.h"
#include "conn/smbd.h"

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

/* ---------------------------------------------------------- work requests, posting */

/**
 * bulk_smbd_take_wr - take a work request
 * @smbd: its lock held
 * @places: it needs in the send queue
 * @keep: places that must be left
 *
 * Return: the work request, or NULL.
 */
struct bulk_wr *bulk_smbd_take_wr(struct bulk_smbd *smbd, u32 places, u32 keep)
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
	return bulk_smbd_take_wr(smbd, n, BULK_SMBD_GRANT_WRS);
}

void bulk_smbd_put_wr(struct bulk_smbd *smbd, struct bulk_wr *wr)
{
	lockdep_assert_held(&smbd->lock);
	smbd->sq_free += wr->places;
	list_add(&wr->list, &smbd->wrs);
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

/* -------------------------------------------------------------- receive buffers */

/**
 * bulk_smbd_post_recv - post a receive buffer
 * @smbd: its lock held
 * @rbuf: the buffer
 *
 * Return: 0 or negative errno.
 */
int bulk_smbd_post_recv(struct bulk_smbd *smbd, struct bulk_rbuf *rbuf)
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

/**
 * bulk_smbd_sync_recv - a receive buffer has been filled by the device
 * @smbd: lane
 * @rbuf: the buffer
 * @len: bytes
 *
 * Context: any.
 */
void bulk_smbd_sync_recv(struct bulk_smbd *smbd, struct bulk_rbuf *rbuf, u32 len)
{
	struct ib_sge sge[BULK_MAX_SGE];
	int n, i;

	n = bulk_shm_sges(&rbuf->batch->bufs, rbuf->off, len, 0, sge, BULK_MAX_SGE);
	for (i = 0; i < n; i++)
		ib_dma_sync_single_for_cpu(smbd->ibdev, sge[i].addr,
					   sge[i].length, DMA_FROM_DEVICE);
}

/**
 * bulk_smbd_free_batch - free receive buffers
 * @batch: none of it is posted
 * @ibdev: device
 *
 * Context: process.
 */
void bulk_smbd_free_batch(struct bulk_rbatch *batch, struct ib_device *ibdev)
{
	bulk_shm_unmap_dma(&batch->bufs, ibdev, DMA_FROM_DEVICE);
	bulk_shm_free(&batch->bufs);
	kfree(batch);
}

/**
 * bulk_smbd_make_batch - make receive buffers
 * @smbd: lane
 *
 * Context: process.
 * Return: BULK_RBATCH buffers, or ERR_PTR(-ENOMEM).
 */
struct bulk_rbatch *bulk_smbd_make_batch(struct bulk_smbd *smbd)
{
	u32 stride = ALIGN(smbd->pdu, 64), i;
	struct bulk_rbatch *batch;
	int err;

	batch = kzalloc(sizeof(*batch), GFP_KERNEL_ACCOUNT);
	if (!batch)
		return ERR_PTR(-ENOMEM);
	batch->smbd = smbd;
	for (i = 0; i < BULK_RBATCH; i++) {
		batch->rbuf[i].cqe.done = bulk_smbd_recv_done;
		batch->rbuf[i].batch = batch;
		batch->rbuf[i].off = i * stride;
	}
	err = bulk_shm_alloc(&batch->bufs, BULK_RBATCH * stride, 0, false);
	if (!err)
		err = bulk_shm_map_dma(&batch->bufs, smbd->ibdev, DMA_FROM_DEVICE);
	if (err) {
		bulk_smbd_free_batch(batch, smbd->ibdev);
		return ERR_PTR(err);
	}
	return batch;
}

/**
 * bulk_smbd_post_batch - post receive buffers
 * @smbd: lane, whose they are from now on: in error as well, since some may have been posted
 * @batch: the buffers
 *
 * Return: 0 or negative errno.
 */
int bulk_smbd_post_batch(struct bulk_smbd *smbd, struct bulk_rbatch *batch)
{
	int err = 0;
	u32 i;

	smbd->rbatch[smbd->nr_rbatches++] = batch;
	for (i = 0; !err && i < BULK_RBATCH; i++)
		err = bulk_smbd_post_recv(smbd, &batch->rbuf[i]);
	return err;
}

/* -------------------------------------------------------------- making, destroying */

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

		wr->cqe.done = bulk_smbd_send_done;
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

static int smbd_make_bufs(struct bulk_smbd *smbd)
{
	struct bulk_rbatch *batch;
	int err = 0;

	while (!err && smbd->nr_rbatches * BULK_RBATCH < smbd->target) {
		batch = bulk_smbd_make_batch(smbd);
		if (IS_ERR(batch))
			return PTR_ERR(batch);
		err = bulk_smbd_post_batch(smbd, batch);
	}
	return err;
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
	INIT_WORK(&smbd->grow, bulk_smbd_grow_work);
	INIT_DELAYED_WORK(&smbd->keepalive, bulk_smbd_keepalive_work);

	err = smbd_make_qp(smbd, params);
	if (!err)
		err = smbd_make_wrs(smbd, params->sq + BULK_SMBD_GRANT_WRS);
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
		bulk_smbd_free_batch(smbd->rbatch[--smbd->nr_rbatches], smbd->ibdev);
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
