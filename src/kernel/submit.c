// SPDX-License-Identifier: GPL-2.0 OR BSD-3-Clause
/*
 * Commands: from a process's struct rdma_bulk_cmd to an operation in its
 * endpoint's queue.
 *
 * A command is a copy by now; the process cannot change it. It is checked, the
 * local memory is found or pinned, the key looked up, a place in the event ring
 * taken; only then does it enter the endpoint's queue, and from there on it ends
 * with exactly one event. Everything before can be undone, and is, on refusal.
 *
 * Runs in the submitting task: its ioctl, its io_uring_enter, or a worker of its
 * io_uring, all with its address space. Only here is user memory touched. With
 * @nonblock, what would have to wait (for a key that plain memory is to be pinned
 * against, or for room while pinning a long range) is handed back, and io_uring
 * tries again from a worker.
 *
 * Plain memory of a PUT or GET is pinned in pieces of SUBMIT_PIECE bytes, each
 * with an rdma_rw context, no more than SUBMIT_AHEAD pieces ahead of the queue
 * pair. While op->unpinned is not 0 the operation cannot end, so the submitter
 * may use it; afterwards it must not.
 *
 * Commands of local endpoints have ended when they are accepted: submit_local().
 */
#include <linux/sched/mm.h>
#include "link.h"
#include "base/trace.h"

#define SUBMIT_PIECE	(256u << 10)
#define SUBMIT_AHEAD	4
#define KEY_REFUSALS	64		/* per channel and second */

static bool cmd_tail_zero(const struct rdma_bulk_cmd *cmd)
{
	return !memchr_inv(&cmd->slots, 0, sizeof(cmd->slots));
}

/* Everything that can be said without looking at any state. */
static int cmd_check(const struct rdma_bulk_cmd *cmd)
{
	u16 flags = RDMA_BULK_CMD_FENCE | RDMA_BULK_CMD_FENCE_ALL | RDMA_BULK_CMD_QUIET;
	bool local = true, remote = false;
	u64 max = RDMA_BULK_MAX_OP;

	switch (cmd->op) {
	case RDMA_BULK_OP_SEND:
		max = RDMA_BULK_SLOT_PAYLOAD;
		break;
	case RDMA_BULK_OP_PUT:
	case RDMA_BULK_OP_GET:
		remote = true;
		break;
	case RDMA_BULK_OP_FLUSH:
		flags = RDMA_BULK_CMD_REMOTE;
		local = false;
		break;
	default:
		return -EINVAL;
	}
	if (cmd->flags & ~flags || memchr_inv(cmd->reserved, 0, sizeof(cmd->reserved)))
		return -EINVAL;
	if (!remote && !cmd_tail_zero(cmd))
		return -EINVAL;
	if (cmd->op != RDMA_BULK_OP_SEND && (cmd->key_region || cmd->id))
		return -EINVAL;
	if (!local && (cmd->local_kind || cmd->local || cmd->addr || cmd->length))
		return -EINVAL;
	if (cmd->length > max)
		return -EMSGSIZE;
	switch (cmd->local_kind) {
	case RDMA_BULK_LOCAL_USER:
		if (cmd->local)
			return -EINVAL;
		if (cmd->addr + cmd->length < cmd->addr)
			return -EFAULT;
		break;
	case RDMA_BULK_LOCAL_SLOT:
		if (cmd->local == RDMA_BULK_NO_SLOT)
			return -EINVAL;
		if (cmd->addr > RDMA_BULK_SLOT_PAYLOAD ||
		    cmd->length > RDMA_BULK_SLOT_PAYLOAD - cmd->addr)
			return -EMSGSIZE;
		break;
	case RDMA_BULK_LOCAL_REGION:
		if (cmd->op == RDMA_BULK_OP_SEND)
			return -EINVAL;
		if (cmd->addr + cmd->length < cmd->addr)
			return -ERANGE;
		break;
	default:
		return -EINVAL;
	}
	if (remote && cmd->remote_addr + cmd->length < cmd->remote_addr)
		return -ERANGE;
	return 0;
}

static int submit_return(struct bulk_channel *ch, const struct rdma_bulk_cmd *cmd)
{
	int err;

	if (cmd->local_kind || cmd->flags || cmd->ep || cmd->addr || cmd->local ||
	    cmd->key_region || cmd->id || cmd->user_data || !cmd->length ||
	    cmd->length > RDMA_BULK_RETURN_MAX ||
	    memchr_inv(cmd->reserved, 0, sizeof(cmd->reserved)))
		return -EINVAL;
	spin_lock_bh(&ch->lock);
	err = bulk_channel_return(ch, cmd->slots, cmd->length);
	spin_unlock_bh(&ch->lock);
	if (!err)
		bulk_senders_wake(ch);
	return err;
}

/* ------------------------------------------------------------------ preparation */

static int prepare_bounce(struct bulk_op *op)
{
	if (!op->length)
		return 0;
	op->bounce = kmalloc(op->length, GFP_KERNEL_ACCOUNT);
	if (!op->bounce)
		return -ENOMEM;
	if (copy_from_user(op->bounce, u64_to_user_ptr(op->addr), op->length))
		return -EFAULT;
	return 0;	/* the lane maps it for DMA: the device may go meanwhile */
}

static int prepare_region(struct bulk_op *op, struct bulk_channel *ch, u32 handle)
{
	struct bulk_region *region = bulk_region_find(ch->domain, handle);
	struct bulk_mrset *set;
	int err;

	if (!region)
		return -ENOENT;
	err = bulk_region_use(region, op->addr, op->length);
	if (err) {
		bulk_region_put(region);
		return err;
	}
	op->region = region;
	if (op->op == RDMA_BULK_OP_GET && region->mem.access && !region->mem.writable)
		return -EFAULT;
	if (!region->mem.access) {		/* a record: nothing is pinned */
		op->local_kind = RDMA_BULK_LOCAL_USER;
		return 0;
	}
	if (op->ep->local)
		return 0;
	set = bulk_region_mrset(region, ch->dev, ch->port);
	if (IS_ERR(set))
		return PTR_ERR(set);
	op->mrset = set;
	return 0;
}

/* A process that guesses keys has no more of them asked about for a while. */
static bool key_guesser(struct bulk_channel *ch)
{
	return READ_ONCE(ch->key_refused) >= KEY_REFUSALS &&
	       time_before(jiffies, READ_ONCE(ch->key_window) + HZ);
}

/**
 * bulk_key_guessed - an operation has ended for a wrong or dead key
 * @ch: its channel
 *
 * Too many of them in a second, and keys that are not known are refused unasked.
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

static int prepare_key(struct bulk_op *op, struct bulk_ep *ep, const u8 *raw)
{
	struct bulk_channel *ch = ep->ch;
	struct bulk_rkey *rkey;
	struct bulk_key key;
	bool fresh;

	memcpy(&key, raw, sizeof(key));
	rkey = bulk_key_get(ep->rchan->link, &key, ch->uid, !key_guesser(ch), &fresh);
	if (IS_ERR(rkey))
		return PTR_ERR(rkey);
	op->rkey = rkey;
	if (fresh)
		bulk_count(ch, key_misses, 1);
	if (bulk_rkey_state(rkey) != BULK_RKEY_READY)
		return 0;
	return bulk_key_check(rkey, op->remote, op->length,
			      op->op == RDMA_BULK_OP_PUT ? RDMA_BULK_ACCESS_REMOTE_WRITE :
							   RDMA_BULK_ACCESS_REMOTE_READ);
}

/* --------------------------------------------------------------------- pinning */

static void piece_undo(struct bulk_piece *piece, struct bulk_op *op)
{
	if (piece->sgt.sgl)
		sg_free_table(&piece->sgt);
	if (piece->npages)
		unpin_user_pages(piece->pages, piece->npages);
	kvfree(piece->pages);
	kfree(piece);
}

/*
 * Pin the next piece of an operation and make its rdma_rw context. The key is
 * READY. ERR_PTR: -EFAULT, -ENOMEM, -ECONNRESET.
 */
static struct bulk_piece *piece_make(struct bulk_op *op, u64 done)
{
	bool get = op->op == RDMA_BULK_OP_GET;
	struct bulk_lane *lane = op->ep->rchan->lane;
	struct bulk_smbd *smbd = &lane->conn.smbd;
	unsigned long addr = op->addr + done, n;
	struct bulk_piece *piece;
	u64 len, run;
	long got;
	u32 rkey;
	int err;

	rkey = bulk_key_at(op->rkey, op->remote + done, &run);
	len = min3(op->length - done, run, (u64)SUBMIT_PIECE);
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
		goto undo;
	err = bulk_pin_charge(op->mm, n);
	if (err)
		goto undo;
	while (piece->npages < n) {
		got = pin_user_pages_fast((addr & PAGE_MASK) + piece->npages * PAGE_SIZE,
					  n - piece->npages,
					  FOLL_LONGTERM | (get ? FOLL_WRITE : 0),
					  piece->pages + piece->npages);
		if (got <= 0) {
			err = got == -ENOMEM ? -ENOMEM : -EFAULT;
			goto uncharge;
		}
		piece->npages += got;
	}
	err = sg_alloc_table_from_pages_segment(&piece->sgt, piece->pages, n,
						offset_in_page(addr), len,
						op->ep->ch->dev->max_seg,
						GFP_KERNEL);
	if (err)
		goto uncharge;
	err = -ECONNRESET;
	down_read(&lane->rw_sem);
	if (READ_ONCE(smbd->state) == BULK_SMBD_READY)
		err = rdma_rw_ctx_init(&piece->rw, smbd->qp, smbd->cm_id->port_num,
				       piece->sgt.sgl, piece->sgt.orig_nents, 0,
				       op->remote + done, rkey,
				       get ? DMA_FROM_DEVICE : DMA_TO_DEVICE);
	if (err >= 0) {
		piece->nr_wrs = err;
		piece->rw_valid = true;
		return piece;		/* with rw_sem held, until it is queued */
	}
	up_read(&lane->rw_sem);
uncharge:
	bulk_pin_uncharge(op->mm, n);
undo:
	piece_undo(piece, op);
	return ERR_PTR(err);
}

/* Queue a piece; false if the operation has been cancelled. */
static bool piece_queue(struct bulk_op *op, struct bulk_piece *piece)
{
	struct bulk_lane *lane = op->ep->rchan->lane;
	LIST_HEAD(ended);
	bool live;

	spin_lock_bh(bulk_lane_lock(lane));
	live = op->todo && lane->conn.smbd.state == BULK_SMBD_READY;
	if (live) {
		list_add_tail(&piece->list, &op->pieces);
		op->unpinned -= piece->bytes;
	} else {
		bulk_piece_free(piece);
	}
	spin_unlock_bh(bulk_lane_lock(lane));
	up_read(&lane->rw_sem);
	return live;
}

/* The rest cannot be pinned: the operation ends when what is under way has. */
static void pieces_abort(struct bulk_op *op, int err)
{
	struct bulk_lane *lane = op->ep->rchan->lane;
	struct bulk_ep *ep = op->ep;
	LIST_HEAD(ended);

	spin_lock_bh(bulk_lane_lock(lane));
	if (!op->status)
		op->status = err;
	bulk_op_stop(op);
	op->unpinned = 0;
	op->waiter = NULL;
	bulk_ep_reap(ep, op, &ended);
	spin_unlock_bh(bulk_lane_lock(lane));
	bulk_ops_finish(&ended);
}

/* Pin and queue what is left of an accepted operation. */
static void pieces_rest(struct bulk_op *op, u64 done)
{
	struct bulk_lane *lane = op->ep->rchan->lane;
	DECLARE_WAIT_QUEUE_HEAD_ONSTACK(room);
	u64 length = op->length;

	spin_lock_bh(bulk_lane_lock(lane));
	op->waiter = &room;
	spin_unlock_bh(bulk_lane_lock(lane));
	while (done < length) {
		struct bulk_piece *piece;
		u32 bytes;

		/* room: few pieces are queued or being unpinned */
		if (wait_event_killable(room, !READ_ONCE(op->todo) ||
					done - READ_ONCE(op->done) +
					READ_ONCE(op->inflight) * (u64)SUBMIT_PIECE <
					SUBMIT_AHEAD * (u64)SUBMIT_PIECE)) {
			pieces_abort(op, -EINTR);
			return;
		}
		piece = READ_ONCE(op->todo) ? piece_make(op, done) : ERR_PTR(-ECANCELED);
		if (IS_ERR(piece)) {
			pieces_abort(op, PTR_ERR(piece));
			return;
		}
		bytes = piece->bytes;
		done += bytes;
		if (done == length) {	/* op may end as soon as it is queued */
			spin_lock_bh(bulk_lane_lock(lane));
			op->waiter = NULL;
			spin_unlock_bh(bulk_lane_lock(lane));
		}
		kref_get(&lane->ref);
		if (!piece_queue(op, piece)) {
			pieces_abort(op, -ECANCELED);
			bulk_lane_put(lane);
			return;
		}
		bulk_lane_pump(lane);
		bulk_lane_put(lane);
	}
}

/* ------------------------------------------------------------------- acceptance */

/*
 * What becomes -EAGAIN, by what the endpoint then waits for: EAGAIN_WINDOW has noted
 * that already; EAGAIN_BUSY is over when a command of the channel has ended (or the
 * process has read its events).
 */
#define EAGAIN_WINDOW	ENOBUFS
#define EAGAIN_BUSY	EUSERS

/* bulk_ep_lock() held, or the endpoint is OPENING and has no PUTs */
static int accept_fence(const struct bulk_ep *ep, const struct rdma_bulk_cmd *cmd)
{
	if (cmd->flags & RDMA_BULK_CMD_FENCE_ALL && atomic_read(&ep->ch->puts) > ep->puts)
		return -EAGAIN_BUSY;
	return 0;
}

/* bulk_ep_lock() held */
static int accept_state(struct bulk_ep *ep, const struct rdma_bulk_cmd *cmd)
{
	struct bulk_rchan *rchan = ep->rchan;

	switch (ep->state) {
	case BULK_EP_UP:
		break;
	case BULK_EP_OPENING:
		return -EAGAIN;
	case BULK_EP_DOWN:
		return ep->err;
	default:
		return -ENOENT;
	}
	if (cmd->op == RDMA_BULK_OP_SEND && rchan && (s32)(rchan->limit - rchan->sent) <= 0) {
		/* under the lock that a new window takes: it will be seen */
		ep->starved |= BULK_STARVED_WINDOW;
		return -EAGAIN_WINDOW;
	}
	return accept_fence(ep, cmd);
}

/* The lane's lock held: one more operation that will end with an event. */
static void accept_count(struct bulk_ep *ep, struct bulk_op *op)
{
	if (op->op == RDMA_BULK_OP_SEND)
		ep->rchan->sent++;
	atomic_inc(&ep->pending);
	kref_get(&ep->ref);
	list_add_tail(&op->all, &ep->ops);
}

static int accept_place(struct bulk_channel *ch, struct bulk_op *op)
{
	int err = 0;

	spin_lock_bh(&ch->lock);
	if (ch->dead || ch->removed)
		err = -ENODEV;
	else if (op->slot != RDMA_BULK_NO_SLOT && !bulk_channel_tx_vaddr(ch, op->slot))
		err = -EINVAL;
	else if (op->slot != RDMA_BULK_NO_SLOT && test_bit(op->slot, ch->tx_busy))
		err = -EBUSY;
	else if (!bulk_channel_reserve(ch))
		err = -EAGAIN_BUSY;
	else if (op->slot != RDMA_BULK_NO_SLOT)
		set_bit(op->slot, ch->tx_busy);
	spin_unlock_bh(&ch->lock);
	return err;
}

static void unaccept_place(struct bulk_channel *ch, struct bulk_op *op)
{
	spin_lock_bh(&ch->lock);
	if (op->slot != RDMA_BULK_NO_SLOT)
		clear_bit(op->slot, ch->tx_busy);
	bulk_channel_unreserve(ch);
	spin_unlock_bh(&ch->lock);
}

/* Into the endpoint's queue; 0, or a refusal. */
static int accept_op(struct bulk_ep *ep, struct bulk_op *op,
		     const struct rdma_bulk_cmd *cmd, struct bulk_piece *piece)
{
	struct bulk_lane *lane = ep->rchan->lane;
	LIST_HEAD(ended);
	int err;

	spin_lock_bh(bulk_lane_lock(lane));
	err = accept_state(ep, cmd);
	if (err) {
		spin_unlock_bh(bulk_lane_lock(lane));
		return err;
	}
	accept_count(ep, op);
	if (op->op == RDMA_BULK_OP_PUT) {
		atomic_inc(&ep->ch->puts);
		if (op->todo)
			ep->puts++;
	}
	if (op->todo) {
		list_add_tail(&op->fifo, &ep->fifo);
		if (list_empty(&ep->sched))
			list_add_tail(&ep->sched, &lane->active);
	} else {
		bulk_ep_reap(ep, NULL, &ended);
	}
	if (piece) {
		list_add_tail(&piece->list, &op->pieces);
		op->unpinned -= piece->bytes;
	}
	spin_unlock_bh(bulk_lane_lock(lane));
	bulk_ops_finish(&ended);
	return 0;
}

int bulk_accept_first(struct bulk_ep *ep, struct bulk_op *op)
{
	struct bulk_lane *lane = ep->rchan->lane;
	int err = 0;

	spin_lock_bh(bulk_lane_lock(lane));
	if (ep->state == BULK_EP_OPENING) {
		accept_count(ep, op);
		op->todo = 0;
		op->inflight++;
		ep->rchan->first = op;
	} else {
		err = ep->err ?: -ENOENT;
	}
	spin_unlock_bh(bulk_lane_lock(lane));
	return err;
}

/*
 * The endpoint is to be told when it may try again. First it says so, then it is
 * made sure that somebody looks: the end of a command, or else the link's worker. A
 * local endpoint without commands waits for room in the ring only.
 */
static void submit_starved(struct bulk_ep *ep, bool busy)
{
	struct bulk_channel *ch = ep->ch;
	bool waits = false;

	spin_lock_bh(bulk_ep_lock(ep));
	ep->starved |= BULK_STARVED_BUSY;
	spin_unlock_bh(bulk_ep_lock(ep));
	if (busy) {
		spin_lock_bh(&ch->lock);
		waits = ch->commands;
		if (waits)
			ch->starved = true;
		spin_unlock_bh(&ch->lock);
	}
	if (waits)
		return;
	if (ep->local)
		bulk_ep_writable(ep, false);
	else
		bulk_link_kick(ep->rchan->link);
}

/*
 * Allocation charges the process's memory cgroup, which was a third of a submission.
 * KASAN finds more where each operation is allocated anew.
 */
#define SPARE_OPS	(IS_ENABLED(CONFIG_KASAN) ? 0 : 64)

bool bulk_op_keep(struct bulk_channel *ch, struct bulk_op *op)
{
	lockdep_assert_held(&ch->lock);
	if (ch->nr_spare_ops >= SPARE_OPS)
		return false;
	ch->nr_spare_ops++;
	list_add(&op->all, &ch->spare_ops);
	return true;
}

void bulk_submit_drop_spares(struct bulk_channel *ch)
{
	struct bulk_op *op, *next;

	list_for_each_entry_safe(op, next, &ch->spare_ops, all)
		kmem_cache_free(bulk_op_cache, op);
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

static struct bulk_op *op_alloc(struct bulk_ep *ep, const struct rdma_bulk_cmd *cmd)
{
	struct bulk_op *op = op_take_spare(ep->ch);

	if (op)
		memset(op, 0, sizeof(*op));
	else
		op = kmem_cache_zalloc(bulk_op_cache, GFP_KERNEL);
	if (!op)
		return NULL;
	INIT_LIST_HEAD(&op->fifo);
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

/* A refused operation: nothing of it has been queued. */
static void op_undo(struct bulk_op *op)
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
	kmem_cache_free(bulk_op_cache, op);
}

/* The key of an operation on plain memory must be READY: its rkey is needed. */
static int wait_for_key(struct bulk_op *op, struct bulk_ep *ep, bool nonblock)
{
	struct bulk_rkey *rkey = op->rkey;
	u32 access = op->op == RDMA_BULK_OP_PUT ? RDMA_BULK_ACCESS_REMOTE_WRITE :
						  RDMA_BULK_ACCESS_REMOTE_READ;

	if (bulk_rkey_state(rkey) == BULK_RKEY_RESOLVING) {
		if (nonblock)
			return BULK_SUBMIT_BLOCK;
		if (wait_event_killable(*bulk_key_queue(ep->rchan->link),
					bulk_rkey_state(rkey) != BULK_RKEY_RESOLVING ||
					READ_ONCE(ep->state) != BULK_EP_UP))
			return -EINTR;
	}
	if (READ_ONCE(ep->state) != BULK_EP_UP)
		return READ_ONCE(ep->err) ?: -ECONNRESET;
	if (READ_ONCE(rkey->state) != BULK_RKEY_READY) {
		bulk_key_guessed(ep->ch);
		return -EKEYREJECTED;
	}
	return bulk_key_check(rkey, op->remote, op->length, access);
}

static int submit_prepare(struct bulk_op *op, struct bulk_ep *ep,
			  const struct rdma_bulk_cmd *cmd, bool nonblock)
{
	struct bulk_channel *ch = ep->ch;
	int err = 0;

	if (!op->length)
		return 0;
	if (cmd->op == RDMA_BULK_OP_SEND)
		return op->local_kind == RDMA_BULK_LOCAL_USER ? prepare_bounce(op) : 0;
	if (op->local_kind == RDMA_BULK_LOCAL_REGION)
		err = prepare_region(op, ch, cmd->local);
	if (!err)
		err = prepare_key(op, ep, cmd->key);
	if (!err && op->local_kind == RDMA_BULK_LOCAL_USER) {
		if (nonblock && op->length > SUBMIT_AHEAD * (u64)SUBMIT_PIECE)
			return BULK_SUBMIT_BLOCK;
		if (!access_ok(u64_to_user_ptr(op->addr), op->length))
			return -EFAULT;
		err = wait_for_key(op, ep, nonblock);
	}
	return err;
}

/* An operation with all that it refers to, and its place: *op. 0, or a refusal. */
static int op_begin(struct bulk_op **op, struct bulk_channel *ch, struct bulk_ep *ep,
		    const struct rdma_bulk_cmd *cmd, bool nonblock)
{
	int err;

	*op = op_alloc(ep, cmd);
	if (!*op)
		return -ENOMEM;
	err = submit_prepare(*op, ep, cmd, nonblock);
	if (!err)
		err = accept_place(ch, *op);
	if (err)
		op_undo(*op);
	return err;
}

/* After op_begin(): it is refused after all. */
static void op_abort(struct bulk_op *op, struct bulk_channel *ch)
{
	unaccept_place(ch, op);
	op_undo(op);
}

/* The endpoint is not up yet: its first message may go with the request to open it. */
static int submit_first(struct bulk_channel *ch, struct bulk_ep *ep,
			const struct rdma_bulk_cmd *cmd, bool nonblock)
{
	struct bulk_link *link = ep->rchan->link;
	struct bulk_op *op = NULL;
	int err = -EAGAIN;

	if (READ_ONCE(ep->rchan->state) != BULK_RCHAN_NEW)
		return err;
	if (cmd->op == RDMA_BULK_OP_SEND && cmd->length <= BULK_FIRST_MAX) {
		err = accept_fence(ep, cmd);
		if (!err)
			err = op_begin(&op, ch, ep, cmd, nonblock);
		if (err)
			return err;
	}
	if (!nonblock) {
		mutex_lock(&link->mutex);
	} else if (!mutex_trylock(&link->mutex)) {
		err = BULK_SUBMIT_BLOCK;
		goto out;
	}
	err = bulk_rchan_first(ep, op);
	mutex_unlock(&link->mutex);
out:
	if (err && op)
		op_abort(op, ch);
	return err;
}

static int submit_op(struct bulk_channel *ch, struct bulk_ep *ep,
		     const struct rdma_bulk_cmd *cmd, bool nonblock)
{
	struct bulk_lane *lane = ep->rchan->lane;
	struct bulk_piece *piece = NULL;
	struct bulk_op *op;
	u64 first = 0, length;
	int err;

	if (READ_ONCE(ep->state) == BULK_EP_OPENING)
		return submit_first(ch, ep, cmd, nonblock);

	/* cheap refusals first; asked again when it is accepted */
	spin_lock_bh(bulk_lane_lock(lane));
	err = accept_state(ep, cmd);
	spin_unlock_bh(bulk_lane_lock(lane));
	if (err)
		return err;

	err = op_begin(&op, ch, ep, cmd, nonblock);
	if (err)
		return err;
	if (op->op != RDMA_BULK_OP_SEND && op->length &&
	    op->local_kind == RDMA_BULK_LOCAL_USER) {
		mmgrab(current->mm);
		op->mm = current->mm;
		op->unpinned = op->length;
		piece = piece_make(op, 0);
		if (IS_ERR(piece)) {
			err = PTR_ERR(piece);
			goto abort;
		}
		first = piece->bytes;
	}
	length = op->length;
	err = accept_op(ep, op, cmd, piece);
	if (err && piece) {
		struct bulk_smbd *smbd = &lane->conn.smbd;

		rdma_rw_ctx_destroy(&piece->rw, smbd->qp, smbd->cm_id->port_num,
				    piece->sgt.sgl, piece->sgt.orig_nents,
				    op->op == RDMA_BULK_OP_GET ? DMA_FROM_DEVICE :
								 DMA_TO_DEVICE);
		bulk_pin_uncharge(op->mm, piece->npages);
		piece_undo(piece, op);
	}
	if (piece)
		up_read(&lane->rw_sem);
	if (err)
		goto abort;
	if (piece && first < length)
		pieces_rest(op, first);
	bulk_lane_pump(lane);
	return 0;

abort:
	op_abort(op, ch);
	return err;
}

static int prepare_local(struct bulk_op *op, const struct rdma_bulk_cmd *cmd,
			 const struct bulk_key *key)
{
	struct bulk_channel *ch = op->ep->ch;
	bool ask = !key_guesser(ch);
	int err = 0;

	if (!op->length)
		return 0;
	if (op->op == RDMA_BULK_OP_SEND)
		return op->local_kind == RDMA_BULK_LOCAL_USER ? prepare_bounce(op) : 0;
	if (op->local_kind == RDMA_BULK_LOCAL_REGION)
		err = prepare_region(op, ch, cmd->local);
	if (!err)
		err = bulk_local_check(op, key, ask);
	if (err == -EKEYREJECTED && ask)
		bulk_key_guessed(ch);
	if (!err && op->local_kind == RDMA_BULK_LOCAL_USER &&
	    !access_ok(u64_to_user_ptr(op->addr), op->length))
		err = -EFAULT;
	return err;
}

/* The endpoint has one more command that will end with an event; 0, or a refusal. */
static int accept_local(struct bulk_ep *ep, const struct rdma_bulk_cmd *cmd)
{
	int err;

	spin_lock_bh(bulk_ep_lock(ep));
	err = accept_state(ep, cmd);
	if (!err) {
		atomic_inc(&ep->pending);
		kref_get(&ep->ref);
	}
	spin_unlock_bh(bulk_ep_lock(ep));
	return err;
}

static void unaccept_local(struct bulk_ep *ep)
{
	if (atomic_dec_and_test(&ep->pending))
		bulk_ep_event(ep, BULK_EPEV_DOWN);
	bulk_ep_put(ep);
}

/* A command of a local endpoint, whose mutex is held: it ends in here. */
static int submit_local(struct bulk_channel *ch, struct bulk_ep *ep,
			const struct rdma_bulk_cmd *cmd)
{
	struct bulk_channel *target = NULL;
	struct bulk_key key;
	struct bulk_op *op;
	int err;

	memcpy(&key, cmd->key, sizeof(key));
	op = op_alloc(ep, cmd);
	if (!op)
		return -ENOMEM;
	err = prepare_local(op, cmd, &key);
	if (err)
		goto undo;
	err = accept_place(ch, op);
	if (err)
		goto undo;
	err = accept_local(ep, cmd);
	if (err)
		goto unplace;
	if (op->op == RDMA_BULK_OP_SEND) {
		target = bulk_local_promise(ep);
		if (IS_ERR(target)) {
			err = target == ERR_PTR(-EAGAIN) ? -EAGAIN_WINDOW : PTR_ERR(target);
			unaccept_local(ep);
			goto unplace;
		}
		bulk_local_send(op, target);
		return 0;
	}
	if (op->op == RDMA_BULK_OP_PUT)
		atomic_inc(&ch->puts);
	bulk_local_rma(op, &key);
	return 0;

unplace:
	unaccept_place(ch, op);
undo:
	op_undo(op);
	return err;
}

static int submit_local_locked(struct bulk_channel *ch, struct bulk_ep *ep,
			       const struct rdma_bulk_cmd *cmd, bool nonblock)
{
	struct mutex *mutex = &ep->local->mutex;
	int err;

	if (nonblock) {
		if (cmd->length > SUBMIT_AHEAD * (u64)SUBMIT_PIECE || !mutex_trylock(mutex))
			return BULK_SUBMIT_BLOCK;
	} else if (mutex_lock_killable(mutex)) {
		return -EINTR;
	}
	err = submit_local(ch, ep, cmd);
	mutex_unlock(mutex);
	return err;
}

/**
 * bulk_submit - handle one command
 * @ch: the channel; the caller is its process
 * @cmd: a private copy
 * @nonblock: do not wait
 *
 * Return: 0 if accepted; a negative errno if refused (with no effect);
 * BULK_SUBMIT_BLOCK if it must wait and may not.
 */
int bulk_submit(struct bulk_channel *ch, const struct rdma_bulk_cmd *cmd, bool nonblock)
{
	struct bulk_ep *ep;
	int err;

	if (cmd->op == RDMA_BULK_OP_RETURN)
		return submit_return(ch, cmd);
	err = cmd_check(cmd);
	if (err)
		return err;
	ep = bulk_ep_find(ch, cmd->ep);
	if (!ep)
		return -ENOENT;
	if (cmd->key_region) {
		struct bulk_region *region = bulk_region_find(ch->domain, cmd->key_region);

		if (!region || !region->mem.access)
			err = -ENOENT;
		else if (!ep->local)	/* this kernel knows it */
			bulk_key_announce(ep->rchan->link, region);
		if (region)
			bulk_region_put(region);
	}
	if (!err)
		err = ep->local ? submit_local_locked(ch, ep, cmd, nonblock) :
				  submit_op(ch, ep, cmd, nonblock);
	if (err == -EAGAIN || err == -EAGAIN_BUSY)
		submit_starved(ep, err == -EAGAIN_BUSY);
	if (err == -EAGAIN_BUSY || err == -EAGAIN_WINDOW)
		err = -EAGAIN;
	bulk_ep_put(ep);
	return err;
}

/**
 * bulk_submit_init() - at module load
 *
 * Return: 0 or -ENOMEM.
 */
int bulk_submit_init(void)
{
	bulk_op_cache = KMEM_CACHE(bulk_op, SLAB_ACCOUNT);
	return bulk_op_cache ? 0 : -ENOMEM;
}

/**
 * bulk_submit_exit() - at module exit, when all channels are freed
 */
void bulk_submit_exit(void)
{
	kmem_cache_destroy(bulk_op_cache);
}
