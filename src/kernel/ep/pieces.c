// SPDX-License-Identifier: GPL-2.0 OR BSD-3-Clause
/*
 * Pieces: plain memory of a PUT or GET, pinned while it is used
 *
 * The submitter pins it in pieces of BULK_PIECE bytes, each with an rdma_rw context, no more
 * than BULK_PIECES_AHEAD pieces ahead of the queue pair. The operation is accepted with
 * its first one. While op->unpinned is not 0 it cannot end, so the submitter may use
 * it; afterwards it must not. A piece that is not under way any more is unpinned by a
 * worker, and only then has that part of the operation ended: its memory is the process's
 * again.
 *
 * Locks: the lane's lock covers op->pieces. lane->rw_sem is held for reading from when
 * a context is made until it is in the queue, where who destroys the lane finds it.
 */
#include <linux/mm.h>
#include <linux/sched/mm.h>

#include "ep/private.h"

static enum dma_data_direction piece_dir(const struct bulk_op *op)
{
	return op->op == RDMA_BULK_OP_GET ? DMA_FROM_DEVICE : DMA_TO_DEVICE;
}

static struct bulk_lane *op_lane(const struct bulk_op *op)
{
	return op->ep->rchan->lane;
}

/* ------------------------------------------------------------------ the end of a piece */

/* Before its queue pair is destroyed. */
static void piece_unmap(struct bulk_piece *piece)
{
	struct bulk_op *op = piece->op;
	struct bulk_smbd *smbd = &op_lane(op)->conn.smbd;

	if (piece->rw_valid)
		rdma_rw_ctx_destroy(&piece->rw, smbd->qp, smbd->cm_id->port_num,
				    piece->sgt.sgl, piece->sgt.orig_nents, piece_dir(op));
	piece->rw_valid = false;
}

static void piece_unpin(struct bulk_piece *piece, bool dirty)
{
	sg_free_table(&piece->sgt);
	unpin_user_pages_dirty_lock(piece->pages, piece->npages, dirty);
	bulk_pin_uncharge(piece->op->mm, piece->npages);
	kvfree(piece->pages);
	kfree(piece);
}

static void piece_free_work(struct work_struct *work)
{
	struct bulk_piece *piece = container_of(work, struct bulk_piece, work);
	struct bulk_op *op = piece->op;
	struct bulk_lane *lane = op_lane(op);
	LIST_HEAD(ended);

	piece_unpin(piece, op->op == RDMA_BULK_OP_GET);

	/* the operation ends only now: its memory is the process's again */
	spin_lock_bh(bulk_lane_lock(lane));
	op->inflight--;
	if (op->waiter)
		wake_up(op->waiter);
	bulk_ep_reap(op->ep, op, &ended);
	spin_unlock_bh(bulk_lane_lock(lane));
	bulk_ops_finish(&ended);
}

/**
 * bulk_piece_free - let go of pinned memory
 * @piece: not under way, off op->pieces
 *
 * Under the lane's lock, before its queue pair is destroyed. Counts as under way
 * until a worker has unpinned.
 */
void bulk_piece_free(struct bulk_piece *piece)
{
	piece_unmap(piece);
	piece->op->inflight++;
	INIT_WORK(&piece->work, piece_free_work);
	queue_work(bulk_unpin_wq, &piece->work);
}

/* ------------------------------------------------------------------ pinning */

static int piece_pin_pages(struct bulk_piece *piece, unsigned long addr, unsigned long n)
{
	bool get = piece->op->op == RDMA_BULK_OP_GET;
	long got;

	while (piece->npages < n) {
		got = pin_user_pages_fast((addr & PAGE_MASK) + piece->npages * PAGE_SIZE,
					  n - piece->npages,
					  FOLL_LONGTERM | (get ? FOLL_WRITE : 0),
					  piece->pages + piece->npages);
		if (got <= 0)
			return got == -ENOMEM ? -ENOMEM : -EFAULT;
		piece->npages += got;
	}
	return 0;
}

/* Pin the piece of an operation from @done. The key is READY. ERR_PTR: -EFAULT, -ENOMEM. */
static struct bulk_piece *piece_pin(struct bulk_op *op, u64 done)
{
	unsigned long addr = op->addr + done, n;
	struct bulk_piece *piece;
	u64 len, run;
	int err;

	bulk_key_at(op->rkey, op->remote + done, &run);
	len = min3(op->length - done, run, (u64)BULK_PIECE);
	n = DIV_ROUND_UP(offset_in_page(addr) + len, PAGE_SIZE);

	piece = kzalloc(sizeof(*piece), GFP_KERNEL_ACCOUNT);
	if (!piece)
		return ERR_PTR(-ENOMEM);
	piece->op = op;
	piece->bytes = len;
	INIT_LIST_HEAD(&piece->list);
	err = -ENOMEM;
	piece->pages = kvmalloc_array(n, sizeof(*piece->pages), GFP_KERNEL_ACCOUNT);
	if (!piece->pages)
		goto free;
	err = bulk_pin_charge(op->mm, n);
	if (err)
		goto free;
	err = piece_pin_pages(piece, addr, n);
	if (!err)
		err = sg_alloc_table_from_pages_segment(&piece->sgt, piece->pages, n,
							offset_in_page(addr), len,
							op->ep->ch->dev->max_seg,
							GFP_KERNEL);
	if (!err)
		return piece;

	bulk_pin_uncharge(op->mm, n);
	if (piece->npages)
		unpin_user_pages(piece->pages, piece->npages);
free:
	kvfree(piece->pages);
	kfree(piece);
	return ERR_PTR(err);
}

/* lane->rw_sem held: make its rdma_rw context; @done is where it begins. */
static int piece_map(struct bulk_piece *piece, u64 done)
{
	struct bulk_op *op = piece->op;
	struct bulk_smbd *smbd = &op_lane(op)->conn.smbd;
	u64 run;
	u32 rkey;
	int n;

	if (READ_ONCE(smbd->state) != BULK_SMBD_READY)
		return -ECONNRESET;
	rkey = bulk_key_at(op->rkey, op->remote + done, &run);
	n = rdma_rw_ctx_init(&piece->rw, smbd->qp, smbd->cm_id->port_num, piece->sgt.sgl,
			     piece->sgt.orig_nents, 0, op->remote + done, rkey,
			     piece_dir(op));
	if (n < 0)
		return n;
	piece->nr_wrs = n;
	piece->rw_valid = true;
	return 0;
}

/* The lane's lock held */
static void piece_queue(struct bulk_piece *piece)
{
	struct bulk_op *op = piece->op;

	list_add_tail(&piece->list, &op->pieces);
	op->unpinned -= piece->bytes;
	bulk_stream_resume(op_lane(op), &op->ep->stream);
}

/* ------------------------------------------------------------------ all of them */

/* The first one, with which the operation is accepted. Its bytes, or a refusal. */
static int pieces_first(struct bulk_ep *ep, struct bulk_op *op,
			const struct rdma_bulk_cmd *cmd)
{
	struct bulk_piece *piece = piece_pin(op, 0);
	struct bulk_lane *lane = op_lane(op);
	int err, bytes;

	if (IS_ERR(piece))
		return PTR_ERR(piece);
	bytes = piece->bytes;
	down_read(&lane->rw_sem);
	err = piece_map(piece, 0);
	if (!err) {
		spin_lock_bh(bulk_lane_lock(lane));
		err = bulk_accept_queue(ep, op, cmd);
		if (!err)
			piece_queue(piece);
		spin_unlock_bh(bulk_lane_lock(lane));
	}
	if (err)
		piece_unmap(piece);
	up_read(&lane->rw_sem);
	if (err)
		piece_unpin(piece, false);
	return err ?: bytes;
}

/*
 * The one from @done of an accepted operation. Its bytes, or why there is none: @op has not
 * ended. The operation may end as soon as its last one is queued.
 */
static int pieces_next(struct bulk_op *op, u64 done)
{
	struct bulk_piece *piece = piece_pin(op, done);
	struct bulk_lane *lane = op_lane(op);
	int err, bytes;

	if (IS_ERR(piece))
		return PTR_ERR(piece);
	bytes = piece->bytes;
	down_read(&lane->rw_sem);
	err = piece_map(piece, done);
	if (!err) {
		spin_lock_bh(bulk_lane_lock(lane));
		if (op->unpinned == bytes)
			op->waiter = NULL;
		/* unless it has been cancelled */
		if (op->todo && lane->conn.smbd.state == BULK_SMBD_READY)
			piece_queue(piece);
		else
			err = -ECANCELED;
		spin_unlock_bh(bulk_lane_lock(lane));
	}
	if (err)
		piece_unmap(piece);
	up_read(&lane->rw_sem);
	if (err)
		piece_unpin(piece, false);
	return err ?: bytes;
}

/* The rest cannot be pinned: the operation ends when what is under way has. */
static void pieces_abort(struct bulk_op *op, int err)
{
	struct bulk_lane *lane = op_lane(op);
	LIST_HEAD(ended);

	spin_lock_bh(bulk_lane_lock(lane));
	if (!op->status)
		op->status = err;
	bulk_op_stop(op);
	op->unpinned = 0;
	op->waiter = NULL;
	/* what comes behind it can go on */
	if (!list_empty(&op->ep->stream.sched))
		bulk_stream_resume(lane, &op->ep->stream);
	bulk_ep_reap(op->ep, op, &ended);
	kref_get(&lane->ref);
	spin_unlock_bh(bulk_lane_lock(lane));
	bulk_ops_finish(&ended);
	bulk_lane_pump(lane);
	bulk_lane_put(lane);
}

/* Is there room? Few pieces are queued or being unpinned then. */
static bool pieces_room(const struct bulk_op *op, u64 done)
{
	return !READ_ONCE(op->todo) ||
	       done - READ_ONCE(op->done) + READ_ONCE(op->inflight) * (u64)BULK_PIECE <
	       BULK_PIECES_AHEAD * (u64)BULK_PIECE;
}

/* Pin and queue what is left of an accepted operation. */
static void pieces_rest(struct bulk_op *op, u64 done)
{
	struct bulk_lane *lane = op_lane(op);
	DECLARE_WAIT_QUEUE_HEAD_ONSTACK(room);
	u64 length = op->length;
	int bytes;

	spin_lock_bh(bulk_lane_lock(lane));
	op->waiter = &room;
	spin_unlock_bh(bulk_lane_lock(lane));
	while (done < length) {
		if (wait_event_killable(room, pieces_room(op, done)))
			bytes = -EINTR;
		else
			bytes = READ_ONCE(op->todo) ? pieces_next(op, done) : -ECANCELED;
		if (bytes < 0) {
			pieces_abort(op, bytes);
			return;
		}
		done += bytes;
		bulk_lane_pump(lane);
	}
}

/**
 * bulk_accept_pinned - accept a PUT or GET of plain memory, and pin it
 * @ep: endpoint of a remote channel
 * @op: has its place; its key is READY, its memory the calling process's
 * @cmd: the command
 *
 * Context: the submitting task; waits for room when it is long.
 * Return: 0: it may have ended; or as bulk_accept_check(), -EFAULT, -ENOMEM, -ECONNRESET.
 */
int bulk_accept_pinned(struct bulk_ep *ep, struct bulk_op *op,
		       const struct rdma_bulk_cmd *cmd)
{
	u64 length = op->length;
	int bytes;

	mmgrab(current->mm);
	op->mm = current->mm;
	op->unpinned = length;
	bytes = pieces_first(ep, op, cmd);
	if (bytes < 0)
		return bytes;
	if (bytes < length)
		pieces_rest(op, bytes);
	return 0;
}
