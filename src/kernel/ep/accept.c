// SPDX-License-Identifier: GPL-2.0 OR BSD-3-Clause
/*
 * Acceptance: from here on an operation ends with exactly one event
 *
 * A command is accepted when it has its place in the event ring (and its transmit slot),
 * and its operation is in the queue of an endpoint that is up. What is asked before
 * (bulk_accept_check()) may have changed by then, and is asked again. What is refused with
 * -EAGAIN has the endpoint told when a new try may succeed.
 *
 * Context: the submitting task.
 */
#include "ep/private.h"

/**
 * bulk_accept_fence - may the command pass the PUTs of other endpoints?
 * @ep: endpoint; bulk_ep_lock() held, or it is OPENING and has no PUTs
 * @cmd: the command
 *
 * Return: 0 or -BULK_EAGAIN_BUSY.
 */
int bulk_accept_fence(const struct bulk_ep *ep, const struct rdma_bulk_cmd *cmd)
{
	if (cmd->flags & RDMA_BULK_CMD_FENCE_ALL && atomic_read(&ep->ch->puts) > ep->puts)
		return -BULK_EAGAIN_BUSY;
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
		if (list_empty(&ep->starving)) {
			kref_get(&ep->ref);
			list_add_tail(&ep->starving, &rchan->starving);
		}
		return -BULK_EAGAIN_WINDOW;
	}
	return bulk_accept_fence(ep, cmd);
}

/**
 * bulk_accept_check - cheap refusals first
 * @ep: endpoint
 * @cmd: the command
 *
 * Return: 0, -EAGAIN (OPENING), -BULK_EAGAIN_WINDOW, -BULK_EAGAIN_BUSY, -ENOENT, or why the
 * endpoint is down.
 */
int bulk_accept_check(struct bulk_ep *ep, const struct rdma_bulk_cmd *cmd)
{
	int err;

	spin_lock_bh(bulk_ep_lock(ep));
	err = accept_state(ep, cmd);
	spin_unlock_bh(bulk_ep_lock(ep));
	return err;
}

/**
 * bulk_accept_count - one more operation that will end with an event
 * @ep: endpoint of a remote channel, the lane's lock held
 * @op: operation
 */
void bulk_accept_count(struct bulk_ep *ep, struct bulk_op *op)
{
	if (op->op == RDMA_BULK_OP_SEND)
		ep->rchan->sent++;
	atomic_inc(&ep->pending);
	kref_get(&ep->ref);
	list_add_tail(&op->all, &ep->ops);
}

/**
 * bulk_accept_place - take a place in the event ring, and the transmit slot
 * @ch: channel; its lock is taken
 * @op: operation
 *
 * Return: 0; -ENODEV, -EINVAL or -EBUSY (of the slot), -BULK_EAGAIN_BUSY.
 */
int bulk_accept_place(struct bulk_channel *ch, struct bulk_op *op)
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
		err = -BULK_EAGAIN_BUSY;
	else if (op->slot != RDMA_BULK_NO_SLOT)
		set_bit(op->slot, ch->tx_busy);
	spin_unlock_bh(&ch->lock);
	return err;
}

/**
 * bulk_unaccept_place - give them back
 * @ch: channel; its lock is taken
 * @op: refused after all
 */
void bulk_unaccept_place(struct bulk_channel *ch, struct bulk_op *op)
{
	spin_lock_bh(&ch->lock);
	if (op->slot != RDMA_BULK_NO_SLOT)
		clear_bit(op->slot, ch->tx_busy);
	bulk_channel_unreserve(ch);
	spin_unlock_bh(&ch->lock);
}

/**
 * bulk_accept_queue - into the endpoint's queue
 * @ep: endpoint of a remote channel, the lane's lock held
 * @op: has its place. If it has nothing to post, the caller reaps
 * @cmd: the command
 *
 * Return: 0, or as bulk_accept_check().
 */
int bulk_accept_queue(struct bulk_ep *ep, struct bulk_op *op, const struct rdma_bulk_cmd *cmd)
{
	struct bulk_lane *lane = ep->rchan->lane;
	int err = accept_state(ep, cmd);

	if (err)
		return err;
	bulk_accept_count(ep, op);
	if (op->op == RDMA_BULK_OP_PUT) {
		atomic_inc(&ep->ch->puts);
		if (op->todo)
			ep->puts++;
	}
	if (op->todo) {
		list_add_tail(&op->tx.list, &ep->fifo);
		bulk_stream_ready(lane, &ep->stream);
	}
	return 0;
}

/**
 * bulk_accept_op - accept an operation whose local memory needs no pinning
 * @ep: endpoint of a remote channel
 * @op: has its place
 * @cmd: the command
 *
 * Return: 0: it may have ended; or as bulk_accept_check().
 */
int bulk_accept_op(struct bulk_ep *ep, struct bulk_op *op, const struct rdma_bulk_cmd *cmd)
{
	struct bulk_lane *lane = ep->rchan->lane;
	LIST_HEAD(ended);
	int err;

	spin_lock_bh(bulk_lane_lock(lane));
	err = bulk_accept_queue(ep, op, cmd);
	if (!err && !op->todo)
		bulk_ep_reap(ep, NULL, &ended);
	spin_unlock_bh(bulk_lane_lock(lane));
	bulk_ops_finish(&ended);
	return err;
}

/**
 * bulk_accept_local - a local endpoint has one more command that will end with an event
 * @ep: local endpoint, its mutex held
 * @cmd: the command
 *
 * Return: 0, or as bulk_accept_check().
 */
int bulk_accept_local(struct bulk_ep *ep, const struct rdma_bulk_cmd *cmd)
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

/**
 * bulk_unaccept_local - undo that
 * @ep: local endpoint
 */
void bulk_unaccept_local(struct bulk_ep *ep)
{
	if (atomic_dec_and_test(&ep->pending))
		bulk_ep_event(ep, BULK_EPEV_DOWN);
	bulk_ep_put(ep);
}

/**
 * bulk_ep_starved - the endpoint is to be told when it may try again
 * @ep: endpoint, a command of which was refused
 * @busy: until a command of its channel has ended
 *
 * First it says so, then it is made sure that somebody looks: the end of a command, or else
 * a worker. A local endpoint without commands waits for room in the ring only.
 */
void bulk_ep_starved(struct bulk_ep *ep, bool busy)
{
	struct bulk_channel *ch = ep->ch;
	bool waits = false;

	spin_lock_bh(bulk_ep_lock(ep));
	ep->starved |= BULK_STARVED_BUSY;
	spin_unlock_bh(bulk_ep_lock(ep));
	xa_lock_bh(&ch->eps);
	__xa_set_mark(&ch->eps, ep->handle, BULK_EP_BUSY);
	xa_unlock_bh(&ch->eps);
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
		bulk_channel_wake_later(ch);
}
