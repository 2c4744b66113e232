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

/* The channel that OPEN asks for, a reference; or NULL, and why not. */
static struct bulk_channel *inbound_target(const struct bulk_link *link, u64 token, kuid_t uid,
					   enum bulk_refusal *reason)
{
	struct bulk_channel *ch = bulk_channel_find(token);

	*reason = BULK_REFUSE_NONE;
	if (!ch)
		return NULL;
	if (ch->dev == link->dev && net_eq(ch->net, link->net)) {
		if (uid_valid(uid) && uid_eq(uid, ch->uid))
			return ch;
		*reason = BULK_REFUSE_USER;
	}
	bulk_channel_put(ch);
	return NULL;
}

/* In the table, its window not open yet. Has the caller's reference on @ch, unless NULL. */
static struct bulk_inbound *inbound_make(struct bulk_link *link, struct bulk_channel *ch,
					 u32 opener, kuid_t uid)
{
	struct bulk_inbound *in = kzalloc(sizeof(*in), GFP_KERNEL);
	int err;

	if (!in)
		return NULL;
	refcount_set(&in->ref, 1);
	in->link = bulk_link_get_ref(link);
	in->ch = ch;
	in->opener = opener;
	in->uid = uid;
	INIT_LIST_HEAD(&in->dirty_list);
	INIT_LIST_HEAD(&in->closing_list);
	err = xa_alloc_cyclic(&link->eps->inbounds, &in->id, in, XA_LIMIT(1, BULK_INBOUNDS_MAX),
			      &link->eps->next_inbound, GFP_KERNEL);
	if (err < 0) {
		bulk_link_put(link);
		kfree(in);
		return NULL;
	}
	return in;
}

static int inbound_refuse(struct bulk_link *link, __le32 opener, enum bulk_refusal reason)
{
	struct bulk_refused *m = bulk_ctl_alloc(link, BULK_REFUSED, sizeof(*m), GFP_KERNEL);

	if (!m)
		return -ENOMEM;
	m->id = opener;
	m->reason = cpu_to_le32(reason);
	bulk_ctl_queue(link, m);
	return 0;
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
	struct bulk_opened *opened;
	struct bulk_channel *ch;
	struct bulk_inbound *in;
	enum bulk_refusal reason;

	if (m->h.flags & BULK_OPEN_FIRST) {
		first = (const void *)(m + 1);
		if (memchr_inv(first->reserved, 0, sizeof(first->reserved)))
			return -EPROTO;
	}
	ch = inbound_target(link, le64_to_cpu(m->token), uid, &reason);
	if (!ch)
		return inbound_refuse(link, m->opener, reason);
	opened = bulk_ctl_alloc(link, BULK_OPENED, sizeof(*opened), GFP_KERNEL);
	in = opened ? inbound_make(link, ch, le32_to_cpu(m->opener), uid) : NULL;
	if (!in) {
		if (opened)
			bulk_ctl_free(opened);
		bulk_channel_put(ch);
		return inbound_refuse(link, m->opener, BULK_REFUSE_NOMEM);
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
}

/* link->mutex held: off the tables. */
static void inbound_drop(struct bulk_link *link, struct bulk_inbound *in)
{
	bool dirty;

	xa_erase(&link->eps->inbounds, in->id);
	if (in->closing) {
		list_del_init(&in->closing_list);
		WRITE_ONCE(link->rx_waiters, link->rx_waiters - 1);
	}
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
	list_add_tail(&in->closing_list, &link->eps->closing);
	WRITE_ONCE(link->rx_waiters, link->rx_waiters + 1);
	if (inbound_all_received(link, in))
		inbound_drop(link, in);
	return 0;
}

/* Its channel has died. */
static int inbound_tell_dead(struct bulk_inbound *in)
{
	struct bulk_closed *m = bulk_ctl_alloc(in->link, BULK_CLOSED, sizeof(*m), GFP_KERNEL);

	if (!m)
		return -ENOMEM;
	m->h.flags = BULK_CLOSED_TARGET;
	m->id = cpu_to_le32(in->opener);
	in->told_dead = true;
	bulk_ctl_queue(in->link, m);
	return 0;
}

static int inbound_tell_window(struct bulk_inbound *in)
{
	struct bulk_window *m = bulk_ctl_alloc(in->link, BULK_WINDOW, sizeof(*m), GFP_KERNEL);
	struct bulk_rx_window *w = &in->window;

	if (!m)
		return -ENOMEM;
	spin_lock_bh(&in->ch->lock);
	w->announced = w->limit;
	spin_unlock_bh(&in->ch->lock);
	m->opener = cpu_to_le32(in->opener);
	m->limit = cpu_to_le32(w->announced);
	bulk_ctl_queue(in->link, m);
	return 0;
}

/* What is due: 0 or -ENOMEM. */
static int inbound_tell(struct bulk_inbound *in)
{
	struct bulk_rx_window *w = &in->window;
	bool dead, raised;

	spin_lock_bh(&in->ch->lock);
	dead = w->dead;
	raised = w->announced != w->limit;
	spin_unlock_bh(&in->ch->lock);
	if (dead)
		return in->told_dead || in->closing ? 0 : inbound_tell_dead(in);
	return raised ? inbound_tell_window(in) : 0;
}

static struct bulk_inbound *inbound_next_dirty(struct bulk_link_eps *eps)
{
	struct bulk_inbound *in;

	spin_lock_bh(&eps->lock);
	in = list_first_entry_or_null(&eps->dirty, struct bulk_inbound, dirty_list);
	if (in)
		list_del_init(&in->dirty_list);
	spin_unlock_bh(&eps->lock);
	return in;
}

/**
 * bulk_inbound_work - tell senders of windows and dead channels
 * @link: link, READY, its mutex held; its worker
 */
void bulk_inbound_work(struct bulk_link *link)
{
	struct bulk_inbound *in, *next;

	while ((in = inbound_next_dirty(link->eps))) {
		/* the link's end tells them too */
		if (inbound_tell(in))
			bulk_ctl_fail(link, -ENOMEM);
		inbound_put(in);
	}
	/* CLOSED that came before the last messages it speaks of */
	list_for_each_entry_safe(in, next, &link->eps->closing, closing_list)
		if (inbound_all_received(link, in))
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
