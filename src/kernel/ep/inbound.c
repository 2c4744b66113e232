// SPDX-License-Identifier: GPL-2.0 OR BSD-3-Clause
/*
 * Inbound channels: our channels, as users of other hosts see them
 *
 * OPEN makes a struct bulk_inbound, CLOSED from the opener ends it. When the channel dies,
 * this host says CLOSED (target) and keeps the inbound, whose window is dead then, until the
 * opener's CLOSED comes, because messages may still be under way; those are dropped.
 *
 * What is to be told (windows that were raised, channels that have died) is on eps->dirty,
 * and told by the link's worker.
 *
 * Locks: link->mutex covers the table and what is said of it; data lanes find an inbound
 * under RCU; eps->lock the list of what is to be told.
 */
#include "base/trace.h"
#include "ep/private.h"

static void inbound_put(struct bulk_inbound *in)
{
	if (refcount_dec_and_test(&in->ref)) {
		bulk_channel_put(in->ch);
		bulk_link_put(in->link);
		kfree_rcu(in, rcu);
	}
}

/**
 * bulk_inbound_due - the worker has something to tell
 * @w: an inbound's window; its channel's ch->lock held
 */
void bulk_inbound_due(struct bulk_rx_window *w)
{
	struct bulk_inbound *in = container_of(w, struct bulk_inbound, window);

	spin_lock(&in->link->eps->lock);
	if (list_empty(&in->dirty_list)) {
		refcount_inc(&in->ref);
		list_add_tail(&in->dirty_list, &in->link->eps->dirty);
	}
	spin_unlock(&in->link->eps->lock);
	bulk_link_kick(in->link);
}

/* The message that came with OPEN: true if it has been delivered. */
static bool inbound_first(struct bulk_inbound *in, const struct bulk_first *first, u32 len)
{
	struct bulk_channel *ch = in->ch;

	return bulk_window_first(ch, &in->window) &&
	       !bulk_channel_deliver(ch, le16_to_cpu(first->id), first + 1, len);
}

/**
 * bulk_inbound_open - OPEN has come
 * @link: link, its mutex held
 * @h: the message, its length checked
 *
 * Answers OPENED or REFUSED, after it has delivered the message that came with it.
 *
 * Return: 0, or an error that closes the link.
 */
int bulk_inbound_open(struct bulk_link *link, const struct bulk_hdr *h)
{
	const struct bulk_open *m = (const void *)h;
	kuid_t uid = make_kuid(&init_user_ns, le32_to_cpu(m->uid));
	const struct bulk_first *first = NULL;
	enum bulk_refusal reason = BULK_REFUSE_NONE;
	struct bulk_opened *opened;
	struct bulk_refused *refused;
	struct bulk_channel *ch;
	struct bulk_inbound *in;
	int err;

	if (m->h.flags & BULK_OPEN_FIRST) {
		first = (const void *)(m + 1);
		if (memchr_inv(first->reserved, 0, sizeof(first->reserved)))
			return -EPROTO;
	}
	ch = bulk_channel_find(le64_to_cpu(m->token));
	if (!ch)
		goto refuse;
	if (ch->dev != link->dev || !net_eq(ch->net, link->net))
		goto refuse;
	reason = BULK_REFUSE_USER;
	if (!uid_valid(uid) || !uid_eq(uid, ch->uid))
		goto refuse;
	reason = BULK_REFUSE_NOMEM;
	in = kzalloc(sizeof(*in), GFP_KERNEL);
	opened = bulk_ctl_alloc(link, BULK_OPENED, sizeof(*opened), GFP_KERNEL);
	if (!in || !opened)
		goto free;
	refcount_set(&in->ref, 1);
	in->link = bulk_link_get_ref(link);
	in->ch = ch;
	in->opener = le32_to_cpu(m->opener);
	in->uid = uid;
	INIT_LIST_HEAD(&in->dirty_list);
	err = xa_alloc_cyclic(&link->eps->inbounds, &in->id, in, XA_LIMIT(1, BULK_INBOUNDS_MAX),
			      &link->eps->next_inbound, GFP_KERNEL);
	if (err < 0) {
		bulk_link_put(link);
		goto free;
	}
	bulk_window_open(ch, &in->window, first);
	if (first && inbound_first(in, first, le32_to_cpu(m->h.length) - sizeof(*m) -
					      sizeof(*first)))
		opened->h.flags = BULK_OPENED_FIRST;
	opened->opener = m->opener;
	opened->target = cpu_to_le32(in->id);
	opened->limit = cpu_to_le32(in->window.limit);
	bulk_ctl_queue(link, opened);
	if (in->window.dead) {
		spin_lock_bh(&ch->lock);
		bulk_inbound_due(&in->window);
		spin_unlock_bh(&ch->lock);
	}
	return 0;

free:
	kfree(in);
	if (opened)
		bulk_ctl_free(opened);
refuse:
	if (ch)
		bulk_channel_put(ch);
	refused = bulk_ctl_alloc(link, BULK_REFUSED, sizeof(*refused), GFP_KERNEL);
	if (!refused)
		return -ENOMEM;
	refused->id = m->opener;
	refused->reason = cpu_to_le32(reason);
	bulk_ctl_queue(link, refused);
	return 0;
}

/* link->mutex held: off the tables. */
static void inbound_drop(struct bulk_link *link, struct bulk_inbound *in)
{
	bool dirty;

	xa_erase(&link->eps->inbounds, in->id);
	if (in->closing)
		WRITE_ONCE(link->rx_waiters, link->rx_waiters - 1);
	bulk_window_close(in->ch, &in->window);
	spin_lock_bh(&link->eps->lock);
	dirty = !list_empty(&in->dirty_list);
	list_del_init(&in->dirty_list);
	spin_unlock_bh(&link->eps->lock);
	if (dirty)
		inbound_put(in);
	inbound_put(in);
}

static bool inbound_all_received(struct bulk_link *link, struct bulk_inbound *in)
{
	struct bulk_lane *lane = bulk_lane_find(link, in->uid);
	bool all;

	if (!lane)
		return true;
	all = bulk_lane_received(lane, in->last);
	bulk_lane_put(lane);
	return all;
}

/**
 * bulk_inbound_closed - the opener's CLOSED has come
 * @link: link, its mutex held
 * @id: our number for the inbound channel
 * @last: sequence of its last message on the lane, which may be still to come
 *
 * Return: 0, or an error that closes the link.
 */
int bulk_inbound_closed(struct bulk_link *link, u32 id, u64 last)
{
	struct bulk_inbound *in = xa_load(&link->eps->inbounds, id);

	if (!in)	/* its lane has failed meanwhile */
		return 0;
	if (in->closing)
		return -EPROTO;
	in->closing = true;
	in->last = last;
	WRITE_ONCE(link->rx_waiters, link->rx_waiters + 1);
	if (inbound_all_received(link, in))
		inbound_drop(link, in);
	return 0;
}

/**
 * bulk_inbound_work - tell senders of windows and dead channels
 * @link: link, READY, its mutex held; its worker
 */
void bulk_inbound_work(struct bulk_link *link)
{
	struct bulk_inbound *in;
	unsigned long id;

	for (;;) {
		struct bulk_window *window = NULL;
		struct bulk_closed *closed = NULL;
		struct bulk_rx_window *w;
		bool dead;

		spin_lock_bh(&link->eps->lock);
		in = list_first_entry_or_null(&link->eps->dirty, struct bulk_inbound, dirty_list);
		if (in)
			list_del_init(&in->dirty_list);
		spin_unlock_bh(&link->eps->lock);
		if (!in)
			break;
		w = &in->window;
		spin_lock_bh(&in->ch->lock);
		dead = w->dead;
		spin_unlock_bh(&in->ch->lock);
		if (dead && !in->told_dead && !in->closing) {
			closed = bulk_ctl_alloc(link, BULK_CLOSED, sizeof(*closed), GFP_KERNEL);
			if (closed) {
				closed->h.flags = BULK_CLOSED_TARGET;
				closed->id = cpu_to_le32(in->opener);
				in->told_dead = true;
				bulk_ctl_queue(link, closed);
			} else {	/* the link's end tells them too */
				bulk_ctl_fail(link, -ENOMEM);
			}
		} else if (!dead && w->announced != w->limit) {
			window = bulk_ctl_alloc(link, BULK_WINDOW, sizeof(*window), GFP_KERNEL);
			if (window) {
				window->opener = cpu_to_le32(in->opener);
				spin_lock_bh(&in->ch->lock);
				w->announced = w->limit;
				spin_unlock_bh(&in->ch->lock);
				window->limit = cpu_to_le32(w->announced);
				bulk_ctl_queue(link, window);
			} else {
				bulk_ctl_fail(link, -ENOMEM);
			}
		}
		inbound_put(in);
	}
	/* CLOSED that came before the last messages it speaks of */
	xa_for_each(&link->eps->inbounds, id, in)
		if (in->closing && inbound_all_received(link, in))
			inbound_drop(link, in);
}

/**
 * bulk_inbound_drop_all - a lane or the link is gone
 * @link: link, its mutex held
 * @uid: whose lane; INVALID_UID: everybody's
 */
void bulk_inbound_drop_all(struct bulk_link *link, kuid_t uid)
{
	struct bulk_inbound *in;
	unsigned long id;

	xa_for_each(&link->eps->inbounds, id, in)
		if (!uid_valid(uid) || uid_eq(in->uid, uid))
			inbound_drop(link, in);
}

/**
 * bulk_inbound_message - MESSAGE has come
 * @lane: data lane
 * @m: its header, length checked
 * @data: payload
 * @len: its bytes
 *
 * Context: the data lane's completions.
 *
 * Return: 0, also if the channel is dead; or an error that closes the lane.
 */
int bulk_inbound_message(struct bulk_lane *lane, const struct bulk_message *m,
			 const void *data, u32 len)
{
	struct bulk_link *link = lane->link;
	struct bulk_channel *ch;
	struct bulk_inbound *in;
	int err;

	if (len > RDMA_BULK_SLOT_PAYLOAD)
		return -EPROTO;
	rcu_read_lock();
	in = xa_load(&link->eps->inbounds, le32_to_cpu(m->target));
	if (in && !refcount_inc_not_zero(&in->ref))
		in = NULL;
	rcu_read_unlock();
	if (!in)
		return -EPROTO;
	if (!uid_eq(in->uid, lane->uid)) {
		inbound_put(in);
		return -EPROTO;
	}
	ch = in->ch;
	trace_bulk_message_receive(lane, in->id, le16_to_cpu(m->id), le64_to_cpu(m->seq),
				   le64_to_cpu(m->ack), len);
	err = bulk_window_receive(ch, &in->window, m->h.flags & BULK_MESSAGE_WANT);
	if (!err)
		err = bulk_channel_deliver(ch, le16_to_cpu(m->id), data, len);
	if (err == -EPIPE)
		err = 0;	/* its host has been told, or is being told */
	inbound_put(in);
	return err;
}
