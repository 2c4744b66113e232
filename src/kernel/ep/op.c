// SPDX-License-Identifier: GPL-2.0 OR BSD-3-Clause
/*
 * Operations: how they are made and end
 *
 * An operation is made for a command (bulk_op_alloc()), given back if that is refused
 * (bulk_op_undo()), and ends once otherwise (bulk_op_finish()), when nothing of it is
 * under way: its event is written, all that it refers to let go of. A channel keeps some that
 * have ended for commands to come: allocation charges the process's memory cgroup,
 * which was a third of a submission.
 *
 * Locks: what is queued and under way is covered by the lane's lock, spare operations by
 * ch->lock.
 */
#include <linux/sched/mm.h>

#include "base/trace.h"
#include "ep/private.h"

/* KASAN finds more where each operation is allocated anew. */
#define SPARE_OPS	(IS_ENABLED(CONFIG_KASAN) ? 0 : 64)
#define KEY_REFUSALS	64		/* per channel and second */

static struct kmem_cache *op_cache;

/* ------------------------------------------------------------------ making */

/* ch->lock held: keep @op, which nobody refers to, for a command to come; or false. */
static bool op_keep(struct bulk_channel *ch, struct bulk_op *op)
{
	lockdep_assert_held(&ch->lock);
	if (ch->nr_spare_ops >= SPARE_OPS)
		return false;
	ch->nr_spare_ops++;
	list_add(&op->all, &ch->spare_ops);
	return true;
}

/**
 * bulk_op_drop_spares - free what is kept for commands to come
 * @ch: channel that nobody can use any more
 */
void bulk_op_drop_spares(struct bulk_channel *ch)
{
	struct bulk_op *op, *next;

	list_for_each_entry_safe(op, next, &ch->spare_ops, all)
		kmem_cache_free(op_cache, op);
}

static struct bulk_op *op_take_spare(struct bulk_channel *ch)
{
	struct bulk_op *op;

	spin_lock_bh(&ch->lock);
	op = list_first_entry_or_null(&ch->spare_ops, struct bulk_op, all);
	if (op) {
		list_del(&op->all);
		ch->nr_spare_ops--;
	}
	spin_unlock_bh(&ch->lock);
	return op;
}

/**
 * bulk_op_alloc - an operation for a command
 * @ep: its endpoint; no reference is taken
 * @cmd: checked
 *
 * Return: the operation, which refers to nothing yet, or NULL.
 */
struct bulk_op *bulk_op_alloc(struct bulk_ep *ep, const struct rdma_bulk_cmd *cmd)
{
	struct bulk_op *op = op_take_spare(ep->ch);

	if (op)
		memset(op, 0, sizeof(*op));
	else
		op = kmem_cache_zalloc(op_cache, GFP_KERNEL);
	if (!op)
		return NULL;
	INIT_LIST_HEAD(&op->tx.list);
	INIT_LIST_HEAD(&op->all);
	INIT_LIST_HEAD(&op->pieces);
	op->ep = ep;
	op->op = cmd->op;
	op->local_kind = cmd->local_kind;
	op->id = cmd->id;
	op->quiet = cmd->flags & RDMA_BULK_CMD_QUIET;
	op->slot = cmd->local_kind == RDMA_BULK_LOCAL_SLOT ? cmd->local : RDMA_BULK_NO_SLOT;
	op->user_data = cmd->user_data;
	op->length = cmd->length;
	op->addr = cmd->addr;
	op->remote = cmd->op == RDMA_BULK_OP_SEND ? 0 : cmd->remote_addr;
	op->todo = cmd->op == RDMA_BULK_OP_SEND ? 1 : cmd->length;
	return op;
}

/* Of all that it refers to. */
static void op_let_go(struct bulk_op *op)
{
	if (op->region) {
		bulk_region_unuse(op->region);
		bulk_region_put(op->region);
	}
	if (op->rkey)
		bulk_key_put(op->rkey);
	kfree(op->bounce);
	if (op->mm)
		mmdrop(op->mm);
}

/**
 * bulk_op_undo - the command is refused
 * @op: operation; nothing of it has been queued
 */
void bulk_op_undo(struct bulk_op *op)
{
	op_let_go(op);
	kmem_cache_free(op_cache, op);
}

/* ------------------------------------------------------------------ keys that are guessed */

/**
 * bulk_key_guesser - has this channel's process named too many wrong keys?
 * @ch: channel
 *
 * Return: true: keys that are not known are refused unasked for a while.
 */
bool bulk_key_guesser(struct bulk_channel *ch)
{
	return READ_ONCE(ch->key_refused) >= KEY_REFUSALS &&
	       time_before(jiffies, READ_ONCE(ch->key_window) + HZ);
}

/**
 * bulk_key_guessed - an operation has ended for a wrong or dead key
 * @ch: its channel
 *
 * Context: any; takes ch->lock.
 */
void bulk_key_guessed(struct bulk_channel *ch)
{
	spin_lock_bh(&ch->lock);
	if (!time_before(jiffies, ch->key_window + HZ)) {
		ch->key_window = jiffies;
		ch->key_refused = 0;
	}
	ch->key_refused++;
	spin_unlock_bh(&ch->lock);
}

/* ------------------------------------------------------------------ ends */

static void op_count(struct bulk_op *op)
{
	struct bulk_channel *ch = op->ep->ch;

	if (op->status) {
		bulk_count(ch, failed, 1);
		return;
	}
	switch (op->op) {
	case RDMA_BULK_OP_SEND:
		bulk_count(ch, tx_messages, 1);
		bulk_count(ch, tx_bytes, op->length);
		break;
	case RDMA_BULK_OP_PUT:
		bulk_count(ch, puts, 1);
		bulk_count(ch, put_bytes, op->length);
		break;
	case RDMA_BULK_OP_GET:
		bulk_count(ch, gets, 1);
		bulk_count(ch, get_bytes, op->length);
		break;
	}
}

/**
 * bulk_op_finish - an operation has ended: tell the process, let go of everything
 * @op: off all lists; freed
 *
 * Any context, no locks held.
 */
void bulk_op_finish(struct bulk_op *op)
{
	struct bulk_ep *ep = op->ep;
	struct bulk_channel *ch = ep->ch;
	struct rdma_bulk_event ev = {
		.user_data	= op->user_data,
		.type		= RDMA_BULK_EV_DONE,
		.result		= op->status,
		.ep		= ep->handle,
		.slot		= op->slot,
		.length		= op->length,
	};
	bool starved, kept;

	op_let_go(op);
	op_count(op);
	if (op->status == -EKEYREJECTED)
		bulk_key_guessed(ch);
	if (op->op == RDMA_BULK_OP_PUT)
		atomic_dec(&ch->puts);

	spin_lock_bh(&ch->lock);
	if (op->slot != RDMA_BULK_NO_SLOT)
		clear_bit(op->slot, ch->tx_busy);
	bulk_channel_done(ch, &ev, op->quiet && !op->status);
	starved = ch->starved;
	ch->starved = false;
	kept = op_keep(ch, op);
	spin_unlock_bh(&ch->lock);

	if (!kept)
		kmem_cache_free(op_cache, op);
	/* a message that was not sent leaves its part of the window to others */
	if (ev.result && ep->rchan)
		bulk_rchan_writable(ep->rchan);
	if (starved)
		bulk_channel_wake(ch);
	if (atomic_dec_and_test(&ep->pending))
		bulk_ep_event(ep, BULK_EPEV_DOWN);
	bulk_ep_put(ep);
}

/**
 * bulk_ops_finish - finish operations that have ended
 * @ended: bulk_op.all; emptied
 *
 * Context: any, no locks held.
 */
void bulk_ops_finish(struct list_head *ended)
{
	struct bulk_op *op, *next;

	list_for_each_entry_safe(op, next, ended, all) {
		list_del(&op->all);
		bulk_op_finish(op);
	}
}

/**
 * bulk_ep_reap - put operations that can end onto a list
 * @ep: endpoint, its lane's lock held
 * @op: one that may have ended just now, or NULL
 * @ended: for bulk_ops_finish()
 *
 * PUTs and GETs end as soon as nothing of them is under way; what has nothing to post
 * (FLUSH, no bytes) ends when it is the oldest.
 */
void bulk_ep_reap(struct bulk_ep *ep, struct bulk_op *op, struct list_head *ended)
{
	const struct bulk_smbd *smbd = &ep->rchan->lane->conn.smbd;

	if (op && !op->todo && !op->inflight && list_empty(&op->pieces) && !op->unpinned) {
		list_move_tail(&op->all, ended);
		if (op->op == RDMA_BULK_OP_PUT)
			ep->puts--;
	}
	/* what has nothing to post ends when it is the oldest */
	while ((op = list_first_entry_or_null(&ep->ops, struct bulk_op, all)) &&
	       list_empty(&op->tx.list) && !op->todo && !op->inflight &&
	       list_empty(&op->pieces) && !op->unpinned) {
		/* a FLUSH has not succeeded if what it waited for was cut off */
		if (!op->status && ep->state != BULK_EP_UP)
			op->status = ep->err;
		else if (!op->status && smbd->state == BULK_SMBD_FAILED)
			op->status = smbd->err;
		list_move_tail(&op->all, ended);
	}
}

/**
 * bulk_ep_cancel - cancel what is not under way
 * @ep: endpoint, its lane's lock held
 * @err: how it ends
 * @ended: for bulk_ops_finish()
 */
void bulk_ep_cancel(struct bulk_ep *ep, int err, struct list_head *ended)
{
	struct bulk_rchan *rchan = ep->rchan;
	struct bulk_op *op, *next;

	bulk_first_cancel(ep, err, ended);
	list_for_each_entry_safe(op, next, &ep->fifo, tx.list) {
		if (!op->status)
			op->status = err;
		if (op->op == RDMA_BULK_OP_SEND)	/* not sent after all */
			rchan->sent--;
		bulk_op_stop(op);
		bulk_ep_reap(ep, op, ended);
	}
	list_del_init(&ep->stream.sched);
}

/**
 * bulk_op_stop - post no more of an operation
 * @op: not ended; the lane's lock held
 *
 * Lets go of what is pinned and not under way. The caller reaps.
 */
void bulk_op_stop(struct bulk_op *op)
{
	struct bulk_piece *piece, *next;

	list_del_init(&op->tx.list);
	op->todo = 0;
	list_for_each_entry_safe(piece, next, &op->pieces, list) {
		list_del_init(&piece->list);
		bulk_piece_free(piece);
	}
}

/**
 * bulk_op_init - at module load
 *
 * Return: 0 or -ENOMEM.
 */
int bulk_op_init(void)
{
	op_cache = KMEM_CACHE(bulk_op, SLAB_ACCOUNT);
	return op_cache ? 0 : -ENOMEM;
}

/**
 * bulk_op_exit - at module exit, when all channels are freed
 */
void bulk_op_exit(void)
{
	kmem_cache_destroy(op_cache);
}
