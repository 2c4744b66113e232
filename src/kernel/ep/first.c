// SPDX-License-Identifier: GPL-2.0 OR BSD-3-Clause
/*
 * First messages: those that go with OPEN
 *
 * OPEN can carry a message (rchan->first), whose sender then does not wait for the answer.
 * Who has opened an endpoint with RDMA_BULK_EP_FIRST has a moment to submit it. It counts
 * as under way until OPENED or REFUSED comes. If the target had no slot for it, it is sent
 * again as soon as the window allows, before anything else of its endpoint.
 *
 * Locks: link->mutex; the lane's lock covers rchan->first.
 */
#include "ep/private.h"

#define FIRST_WAIT	2	/* jiffies that OPEN waits for the first message */

/**
 * bulk_first_await - a command is to follow soon, maybe with the first message
 * @rchan: remote channel that is NEW; link->mutex held
 */
void bulk_first_await(struct bulk_rchan *rchan)
{
	rchan->since = jiffies;
	list_move_tail(&rchan->due, &rchan->link->eps->awaiting);
	bulk_link_kick_later(rchan->link, FIRST_WAIT);
}

/**
 * bulk_first_work - OPEN waits for a message no longer
 * @link: link, its mutex held; its worker
 */
void bulk_first_work(struct bulk_link *link)
{
	struct list_head *awaiting = &link->eps->awaiting;
	struct bulk_rchan *rchan;

	while ((rchan = list_first_entry_or_null(awaiting, struct bulk_rchan, due))) {
		if (time_before(jiffies, rchan->since + FIRST_WAIT)) {
			bulk_link_kick_later(link, FIRST_WAIT);
			break;
		}
		list_move_tail(&rchan->due, &rchan->lane->fresh);
	}
}

/**
 * bulk_first_due - can a first message still go with OPEN?
 * @ep: endpoint of a remote channel
 *
 * Return: false if OPEN has been sent already.
 */
bool bulk_first_due(const struct bulk_ep *ep)
{
	return READ_ONCE(ep->rchan->state) == BULK_RCHAN_NEW;
}

/* The lane's lock held: it counts as under way. 0, or why the endpoint is down. */
static int first_accept(struct bulk_ep *ep, struct bulk_op *op)
{
	struct bulk_lane *lane = ep->rchan->lane;
	int err = 0;

	spin_lock_bh(bulk_lane_lock(lane));
	if (ep->state == BULK_EP_OPENING) {
		bulk_accept_count(ep, op);
		op->todo = 0;
		op->inflight++;
		ep->rchan->first = op;
	} else {
		err = ep->err ?: -ENOENT;
	}
	spin_unlock_bh(bulk_lane_lock(lane));
	return err;
}

/* link->mutex held: send OPEN, if it is due, with the message if the peer takes it. */
static int first_send(struct bulk_ep *ep, struct bulk_op *op)
{
	struct bulk_rchan *rchan = ep->rchan;
	struct bulk_link *link = rchan->link;
	struct bulk_first *first;
	struct bulk_open *m;
	int err;

	if (!bulk_rchan_due(rchan))
		return -EAGAIN;
	if (!op || !(link->features & BULK_FEATURE_FIRST)) {
		if (bulk_rchan_open(rchan))
			bulk_link_watch(link);
		return -EAGAIN;
	}
	m = bulk_rchan_open_alloc(rchan, sizeof(*first) + op->length);
	if (!m)
		return -ENOMEM;
	m->h.flags = BULK_OPEN_FIRST;
	first = (struct bulk_first *)(m + 1);
	first->id = cpu_to_le16(op->id);
	/* length and place in the slot were checked at submission */
	if (op->bounce)
		memcpy(first + 1, op->bounce, op->length);
	else if (op->length)
		memcpy(first + 1, bulk_channel_tx_vaddr(ep->ch, op->slot) + op->addr,
		       op->length);
	err = first_accept(ep, op);
	if (err) {
		bulk_ctl_free(m);
		return err;
	}
	bulk_rchan_opening(rchan, m);
	bulk_link_watch(link);
	return 0;
}

/**
 * bulk_first_send - a command has come for an endpoint that is OPENING
 * @ep: endpoint of a remote channel
 * @op: a message of BULK_FIRST_MAX bytes at most that has its place, or NULL
 * @nonblock: do not wait for link->mutex
 *
 * Sends OPEN, if that has not happened yet, with the message if the peer takes it.
 *
 * Context: process.
 * Return: 0 if the message is accepted; else nothing has been done with it: -EAGAIN,
 * -ENOMEM, why the endpoint is down, or BULK_SUBMIT_BLOCK.
 */
int bulk_first_send(struct bulk_ep *ep, struct bulk_op *op, bool nonblock)
{
	struct bulk_link *link = ep->rchan->link;
	int err;

	if (!nonblock)
		mutex_lock(&link->mutex);
	else if (!mutex_trylock(&link->mutex))
		return BULK_SUBMIT_BLOCK;
	err = first_send(ep, op);
	mutex_unlock(&link->mutex);
	return err;
}

/**
 * bulk_first_over - the message that went with OPEN has been delivered, or ends with @err
 * @rchan: remote channel; link->mutex held
 * @err: 0 or why
 */
void bulk_first_over(struct bulk_rchan *rchan, int err)
{
	spinlock_t *lock = bulk_lane_lock(rchan->lane);
	struct bulk_op *op;
	LIST_HEAD(ended);

	spin_lock_bh(lock);
	op = rchan->first;
	rchan->first = NULL;
	rchan->first_again = false;
	if (op) {
		op->status = err;
		op->inflight--;
		bulk_ep_reap(op->ep, op, &ended);
	}
	spin_unlock_bh(lock);
	bulk_ops_finish(&ended);
}

/**
 * bulk_first_again - the target had no slot for the message that went with OPEN
 * @rchan: remote channel, its lane's lock held
 * @ended: for bulk_ops_finish()
 *
 * If the window allows, it has its turn before its endpoint can submit others.
 *
 * Return: true if there is such a message: the lane is to be pumped.
 */
bool bulk_first_again(struct bulk_rchan *rchan, struct list_head *ended)
{
	struct bulk_op *op = rchan->first;
	struct bulk_ep *ep;

	if (!op)
		return false;
	ep = op->ep;
	rchan->first_again = true;
	if (ep->state == BULK_EP_DOWN || ep->state == BULK_EP_CLOSED) {
		bulk_ep_cancel(ep, ep->err, ended);
	} else if ((s32)(rchan->limit - rchan->sent) >= 0) {
		rchan->first = NULL;
		rchan->first_again = false;
		op->inflight--;
		op->todo = 1;
		list_add(&op->tx.list, &ep->fifo);
		bulk_stream_resume(rchan->lane, &ep->stream);
	}
	return true;
}

/**
 * bulk_first_cancel - an endpoint goes down
 * @ep: endpoint, its lane's lock held
 * @err: how the message ends, if it was to be sent again
 * @ended: for bulk_ops_finish()
 */
void bulk_first_cancel(struct bulk_ep *ep, int err, struct list_head *ended)
{
	struct bulk_rchan *rchan = ep->rchan;
	struct bulk_op *op = rchan->first;

	if (!rchan->first_again || op->ep != ep)
		return;
	rchan->first = NULL;
	rchan->first_again = false;
	rchan->sent--;
	op->status = err;
	op->inflight--;
	bulk_ep_reap(ep, op, ended);
}
