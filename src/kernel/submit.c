// SPDX-License-Identifier: GPL-2.0 OR BSD-3-Clause
/*
 * Commands: from a process's struct rdma_bulk_cmd to an operation in its
 * endpoint's queue.
 *
 * A command is a copy by now; the process cannot change it. It is checked, by what the
 * table of opcodes says, then an operation is made of it and prepared: the local memory is
 * found or copied, the key looked up, a place in the event ring taken; only then is
 * it accepted into the endpoint's queue, and from there on it ends with exactly one
 * event. Everything before can be undone, and is, on refusal.
 *
 * Runs in the submitting task: its ioctl, its io_uring_enter, or a worker of its
 * io_uring, all with its address space. With @nonblock, what would have to wait (for a
 * key that plain memory is to be pinned against, or for room while pinning a long range)
 * is handed back, and io_uring tries again from a worker.
 *
 * Commands of local endpoints have ended when they are accepted: submit_local().
 */
#include <linux/nospec.h>

#include "ep/ep.h"
#include "submit.h"

/* Longer ones may have to wait while they are pinned or copied. */
#define SUBMIT_SHORT	(BULK_PIECES_AHEAD * (u64)BULK_PIECE)

/* ------------------------------------------------------------------ checks */

/**
 * struct opcode - what commands of an opcode may be
 * @max: bytes
 * @flags: RDMA_BULK_CMD_*
 * @kinds: BIT(RDMA_BULK_LOCAL_*) of the local side
 * @nowhere: has no local side, though it says RDMA_BULK_LOCAL_USER
 * @message: has an id, and may name a key that it carries
 * @access: what it does to the remote side, RDMA_BULK_ACCESS_*; 0: it has none
 */
struct opcode {
	u64	max;
	u16	flags;
	u8	kinds;
	bool	nowhere;
	bool	message;
	u32	access;
};

#define FLAGS_DATA	(RDMA_BULK_CMD_FENCE | RDMA_BULK_CMD_FENCE_ALL | RDMA_BULK_CMD_QUIET)
#define KINDS_PLAIN	(BIT(RDMA_BULK_LOCAL_USER) | BIT(RDMA_BULK_LOCAL_SLOT))

static const struct opcode opcodes[] = {
	[RDMA_BULK_OP_SEND] = {
		.max		= RDMA_BULK_SLOT_PAYLOAD,
		.flags		= FLAGS_DATA,
		.kinds		= KINDS_PLAIN,
		.message	= true,
	},
	[RDMA_BULK_OP_PUT] = {
		.max		= RDMA_BULK_MAX_OP,
		.flags		= FLAGS_DATA,
		.kinds		= KINDS_PLAIN | BIT(RDMA_BULK_LOCAL_REGION),
		.access		= RDMA_BULK_ACCESS_REMOTE_WRITE,
	},
	[RDMA_BULK_OP_GET] = {
		.max		= RDMA_BULK_MAX_OP,
		.flags		= FLAGS_DATA,
		.kinds		= KINDS_PLAIN | BIT(RDMA_BULK_LOCAL_REGION),
		.access		= RDMA_BULK_ACCESS_REMOTE_READ,
	},
	[RDMA_BULK_OP_FLUSH] = {
		.flags		= RDMA_BULK_CMD_REMOTE,
		.kinds		= BIT(RDMA_BULK_LOCAL_USER),
		.nowhere	= true,
	},
};

static const struct opcode *opcode_get(u8 op)
{
	const struct opcode *code;

	if (op >= ARRAY_SIZE(opcodes))
		return NULL;
	code = &opcodes[array_index_nospec(op, ARRAY_SIZE(opcodes))];
	return code->kinds ? code : NULL;
}

static int check_local(const struct rdma_bulk_cmd *cmd, const struct opcode *code)
{
	if (cmd->local_kind >= BITS_PER_BYTE || !(code->kinds & BIT(cmd->local_kind)))
		return -EINVAL;
	switch (cmd->local_kind) {
	case RDMA_BULK_LOCAL_USER:
		if (cmd->local)
			return -EINVAL;
		return cmd->addr + cmd->length < cmd->addr ? -EFAULT : 0;
	case RDMA_BULK_LOCAL_SLOT:
		if (cmd->local == RDMA_BULK_NO_SLOT)
			return -EINVAL;
		return cmd->addr > RDMA_BULK_SLOT_PAYLOAD ||
		       cmd->length > RDMA_BULK_SLOT_PAYLOAD - cmd->addr ? -EMSGSIZE : 0;
	default:
		return cmd->addr + cmd->length < cmd->addr ? -ERANGE : 0;
	}
}

/* Everything that can be said without looking at any state. */
static int cmd_check(const struct rdma_bulk_cmd *cmd)
{
	const struct opcode *code = opcode_get(cmd->op);
	int err;

	if (!code || cmd->flags & ~code->flags ||
	    memchr_inv(cmd->reserved, 0, sizeof(cmd->reserved)))
		return -EINVAL;
	if (!code->access && memchr_inv(&cmd->slots, 0, sizeof(cmd->slots)))
		return -EINVAL;
	if (!code->message && (cmd->key_region || cmd->id))
		return -EINVAL;
	if (code->nowhere && (cmd->local_kind || cmd->local || cmd->addr || cmd->length))
		return -EINVAL;
	if (cmd->length > code->max)
		return -EMSGSIZE;
	err = check_local(cmd, code);
	if (err)
		return err;
	if (code->access && cmd->remote_addr + cmd->length < cmd->remote_addr)
		return -ERANGE;
	return 0;
}

/* ------------------------------------------------------------------ preparation */

static int prepare_bounce(struct bulk_op *op)
{
	op->bounce = kmalloc(op->length, GFP_KERNEL_ACCOUNT);
	if (!op->bounce)
		return -ENOMEM;
	if (copy_from_user(op->bounce, u64_to_user_ptr(op->addr), op->length))
		return -EFAULT;
	return 0;	/* the lane maps it for DMA: the device may go meanwhile */
}

static int prepare_region(struct bulk_op *op, u32 handle)
{
	struct bulk_channel *ch = op->ep->ch;
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

/* The local side, as far as that is not plain memory of a PUT or GET. */
static int prepare_memory(struct bulk_op *op, const struct rdma_bulk_cmd *cmd)
{
	if (op->op == RDMA_BULK_OP_SEND && op->local_kind == RDMA_BULK_LOCAL_USER)
		return prepare_bounce(op);
	if (op->local_kind == RDMA_BULK_LOCAL_REGION)
		return prepare_region(op, cmd->local);
	return 0;
}

static int prepare_key(struct bulk_op *op, const u8 *raw)
{
	struct bulk_ep *ep = op->ep;
	struct bulk_channel *ch = ep->ch;
	struct bulk_rkey *rkey;
	struct bulk_key key;
	bool fresh;

	memcpy(&key, raw, sizeof(key));
	rkey = bulk_key_get(ep->rchan->link, &key, ch->uid, !bulk_key_guesser(ch), &fresh);
	if (IS_ERR(rkey))
		return PTR_ERR(rkey);
	op->rkey = rkey;
	if (fresh)
		bulk_count(ch, key_misses, 1);
	if (bulk_rkey_state(rkey) != BULK_RKEY_READY)
		return 0;
	return bulk_key_check(rkey, op->remote, op->length, bulk_op_access(op));
}

/* The key of an operation on plain memory must be READY: its rkey is needed. */
static int wait_for_key(struct bulk_op *op, bool nonblock)
{
	struct bulk_rkey *rkey = op->rkey;
	struct bulk_ep *ep = op->ep;

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
	return bulk_key_check(rkey, op->remote, op->length, bulk_op_access(op));
}

static int prepare_remote(struct bulk_op *op, const struct rdma_bulk_cmd *cmd, bool nonblock)
{
	int err;

	if (!op->length)
		return 0;
	err = prepare_memory(op, cmd);
	if (err || !bulk_op_access(op))
		return err;
	err = prepare_key(op, cmd->key);
	if (err || op->local_kind != RDMA_BULK_LOCAL_USER)
		return err;
	if (nonblock && op->length > SUBMIT_SHORT)
		return BULK_SUBMIT_BLOCK;
	if (!access_ok(u64_to_user_ptr(op->addr), op->length))
		return -EFAULT;
	return wait_for_key(op, nonblock);
}

static int prepare_local(struct bulk_op *op, const struct rdma_bulk_cmd *cmd,
			 const struct bulk_key *key)
{
	struct bulk_channel *ch = op->ep->ch;
	bool ask = !bulk_key_guesser(ch);
	int err;

	if (!op->length)
		return 0;
	err = prepare_memory(op, cmd);
	if (err || !bulk_op_access(op))
		return err;
	err = bulk_local_check(op, key, ask);
	if (err == -EKEYREJECTED && ask)
		bulk_key_guessed(ch);
	if (!err && op->local_kind == RDMA_BULK_LOCAL_USER &&
	    !access_ok(u64_to_user_ptr(op->addr), op->length))
		err = -EFAULT;
	return err;
}

/* ------------------------------------------------------------------ to other hosts */

/* An operation with all that it refers to, and its place: *op. 0, or a refusal. */
static int op_begin(struct bulk_op **op, struct bulk_channel *ch, struct bulk_ep *ep,
		    const struct rdma_bulk_cmd *cmd, bool nonblock)
{
	int err;

	*op = bulk_op_alloc(ep, cmd);
	if (!*op)
		return -ENOMEM;
	err = prepare_remote(*op, cmd, nonblock);
	if (!err)
		err = bulk_accept_place(ch, *op);
	if (err)
		bulk_op_undo(*op);
	return err;
}

/* After op_begin(): it is refused after all. */
static void op_abort(struct bulk_op *op, struct bulk_channel *ch)
{
	bulk_unaccept_place(ch, op);
	bulk_op_undo(op);
}

/* The endpoint is not up yet: its first message may go with the request to open it. */
static int submit_first(struct bulk_channel *ch, struct bulk_ep *ep,
			const struct rdma_bulk_cmd *cmd, bool nonblock)
{
	struct bulk_op *op = NULL;
	int err;

	if (!bulk_first_due(ep))
		return -EAGAIN;
	if (cmd->op == RDMA_BULK_OP_SEND && cmd->length <= BULK_FIRST_MAX) {
		err = bulk_accept_fence(ep, cmd);
		if (!err)
			err = op_begin(&op, ch, ep, cmd, nonblock);
		if (err)
			return err;
	}
	err = bulk_first_send(ep, op, nonblock);
	if (err && op)
		op_abort(op, ch);
	return err;
}

static int submit_op(struct bulk_channel *ch, struct bulk_ep *ep,
		     const struct rdma_bulk_cmd *cmd, bool nonblock)
{
	struct bulk_op *op;
	int err;

	if (READ_ONCE(ep->state) == BULK_EP_OPENING)
		return submit_first(ch, ep, cmd, nonblock);

	/* asked again when it is accepted */
	err = bulk_accept_check(ep, cmd);
	if (err)
		return err;
	err = op_begin(&op, ch, ep, cmd, nonblock);
	if (err)
		return err;
	if (bulk_op_access(op) && op->length && op->local_kind == RDMA_BULK_LOCAL_USER)
		err = bulk_accept_pinned(ep, op, cmd);
	else
		err = bulk_accept_op(ep, op, cmd);
	if (err)
		op_abort(op, ch);
	else
		bulk_lane_pump(ep->rchan->lane);
	return err;
}

/* ------------------------------------------------------------------ within the host */

/* A command of a local endpoint, whose mutex is held: it ends in here. */
static int submit_local(struct bulk_channel *ch, struct bulk_ep *ep,
			const struct rdma_bulk_cmd *cmd)
{
	struct bulk_channel *target = NULL;
	struct bulk_key key;
	struct bulk_op *op;
	int err;

	memcpy(&key, cmd->key, sizeof(key));
	op = bulk_op_alloc(ep, cmd);
	if (!op)
		return -ENOMEM;
	err = prepare_local(op, cmd, &key);
	if (err)
		goto undo;
	err = bulk_accept_place(ch, op);
	if (err)
		goto undo;
	err = bulk_accept_local(ep, cmd);
	if (err)
		goto unplace;
	if (op->op == RDMA_BULK_OP_SEND) {
		target = bulk_local_promise(ep);
		if (IS_ERR(target)) {
			err = target == ERR_PTR(-EAGAIN) ? -BULK_EAGAIN_WINDOW : PTR_ERR(target);
			bulk_unaccept_local(ep);
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
	bulk_unaccept_place(ch, op);
undo:
	bulk_op_undo(op);
	return err;
}

static int submit_local_locked(struct bulk_channel *ch, struct bulk_ep *ep,
			       const struct rdma_bulk_cmd *cmd, bool nonblock)
{
	struct mutex *mutex = &ep->local->mutex;
	int err;

	if (nonblock) {
		if (cmd->length > SUBMIT_SHORT || !mutex_trylock(mutex))
			return BULK_SUBMIT_BLOCK;
	} else if (mutex_lock_killable(mutex)) {
		return -EINTR;
	}
	err = submit_local(ch, ep, cmd);
	mutex_unlock(mutex);
	return err;
}

/* ------------------------------------------------------------------ commands */

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

/* Tell the other host of a key that the message will carry. 0 or -ENOENT. */
static int submit_announce(struct bulk_channel *ch, struct bulk_ep *ep, u32 handle)
{
	struct bulk_region *region = bulk_region_find(ch->domain, handle);
	int err = 0;

	if (!region || !region->mem.access)
		err = -ENOENT;
	else if (!ep->local)	/* this kernel knows it */
		bulk_key_announce(ep->rchan->link, region);
	if (region)
		bulk_region_put(region);
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
	if (cmd->key_region)
		err = submit_announce(ch, ep, cmd->key_region);
	if (!err)
		err = ep->local ? submit_local_locked(ch, ep, cmd, nonblock) :
				  submit_op(ch, ep, cmd, nonblock);
	if (err == -EAGAIN || err == -BULK_EAGAIN_BUSY)
		bulk_ep_starved(ep, err == -BULK_EAGAIN_BUSY);
	if (err == -BULK_EAGAIN_BUSY || err == -BULK_EAGAIN_WINDOW)
		err = -EAGAIN;
	bulk_ep_put(ep);
	return err;
}
