// SPDX-License-Identifier: GPL-2.0 OR BSD-3-Clause
/*
 * Remote channels: channels of other hosts, as one user's endpoints see them
 *
 * The other host keeps a struct bulk_inbound for each: OPEN makes it, CLOSED from here
 * ends it. When the channel dies, its host says CLOSED (target).
 *
 * Locks: link->mutex covers the table, states and the lists of endpoints; the lane's lock
 * the window.
 *
 * What is due is on a list (rchan->due): NEW, on its lane's until OPEN has its turn;
 * OPENING, for the time of the answer; ended, for the link's worker to say CLOSED. Endpoints
 * that were refused for want of a window are on rchan->starving. So no event looks at remote
 * channels or endpoints that it does not concern.
 *
 * Death: rchan_down(), for a lane that has failed, a channel that is closed or was
 * refused, a link that is over. The link's worker takes it off the table when it has no
 * endpoints or is dead, and its host need not be told any more.
 */
#include "base/trace.h"
#include "ep/private.h"

#define RETRY	(HZ / 10)	/* what there was no memory for */

static void rchan_free_work(struct work_struct *work)
{
	struct bulk_rchan *rchan = container_of(work, struct bulk_rchan, free_work);

	bulk_lane_put(rchan->lane);
	bulk_link_put(rchan->link);
	kfree(rchan);
}

static void rchan_release(struct kref *ref)
{
	struct bulk_rchan *rchan = container_of(ref, struct bulk_rchan, ref);

	INIT_WORK(&rchan->free_work, rchan_free_work);
	queue_work(bulk_end_wq, &rchan->free_work);
}

/**
 * bulk_rchan_put - drop a reference
 * @rchan: remote channel; freed by a worker
 *
 * Context: any.
 */
void bulk_rchan_put(struct bulk_rchan *rchan)
{
	kref_put(&rchan->ref, rchan_release);
}

const struct rhashtable_params bulk_rchan_params = {
	.key_len	= offsetofend(struct bulk_rchan, uid) - offsetof(struct bulk_rchan, token),
	.key_offset	= offsetof(struct bulk_rchan, token),
	.head_offset	= offsetof(struct bulk_rchan, node),
	.automatic_shrinking = true,
};

static struct bulk_rchan *rchan_find(struct bulk_link *link, u64 token, kuid_t uid)
{
	struct {
		u64	token;
		kuid_t	uid;
	} __packed key = { token, uid };

	return rhashtable_lookup_fast(&link->eps->tokens, &key, bulk_rchan_params);
}

static struct bulk_rchan *rchan_alloc(struct bulk_lane *lane, u64 token)
{
	struct bulk_rchan *rchan = kzalloc(sizeof(*rchan), GFP_KERNEL_ACCOUNT);

	if (!rchan)
		return NULL;
	kref_init(&rchan->ref);
	rchan->link = bulk_link_get_ref(lane->link);
	rchan->lane = lane;
	rchan->token = token;
	rchan->uid = lane->uid;
	INIT_LIST_HEAD(&rchan->lane_list);
	INIT_LIST_HEAD(&rchan->due);
	INIT_LIST_HEAD(&rchan->eps);
	INIT_LIST_HEAD(&rchan->starving);
	return rchan;
}

/* link->mutex held: into the tables, or negative errno. */
static int rchan_insert(struct bulk_link *link, struct bulk_rchan *rchan)
{
	struct bulk_link_eps *eps = link->eps;
	int err;

	err = xa_alloc_cyclic(&eps->rchans, &rchan->id, rchan, xa_limit_31b, &eps->next_rchan,
			      GFP_KERNEL);
	if (err < 0)
		return err;
	err = rhashtable_insert_fast(&eps->tokens, &rchan->node, bulk_rchan_params);
	if (err) {
		xa_erase(&eps->rchans, rchan->id);
		return -ENOMEM;
	}
	rchan->hashed = true;
	list_add_tail(&rchan->lane_list, &rchan->lane->rchans);
	kref_get(&rchan->ref);	/* the table's */
	return 0;
}

/* link->mutex held: a reference for the caller; DEAD ones are not found. */
static struct bulk_rchan *rchan_get(struct bulk_link *link, u64 token, kuid_t uid,
				    struct bulk_user *user)
{
	struct bulk_rchan *rchan;
	struct bulk_lane *lane;
	int err;

	lockdep_assert_held(&link->mutex);
	rchan = rchan_find(link, token, uid);
	if (rchan) {
		kref_get(&rchan->ref);
		return rchan;
	}
	lane = bulk_lane_get(link, uid, user);
	if (IS_ERR(lane))
		return ERR_CAST(lane);
	rchan = rchan_alloc(lane, token);
	if (!rchan) {
		bulk_lane_put(lane);
		return ERR_PTR(-ENOMEM);
	}
	err = rchan_insert(link, rchan);
	if (err) {
		bulk_rchan_put(rchan);
		return ERR_PTR(err);
	}
	return rchan;
}

/*
 * link->mutex held: without endpoints, or DEAD, it is not found any more, and leaves as soon
 * as nothing that was asked of its host waits for an answer.
 */
static void rchan_check_end(struct bulk_rchan *rchan)
{
	struct bulk_link_eps *eps = rchan->link->eps;

	if (rchan->nr_eps && rchan->state != BULK_RCHAN_DEAD)
		return;
	if (list_empty(&rchan->lane_list))	/* it has left: rchan_drop() */
		return;
	if (rchan->hashed) {
		rhashtable_remove_fast(&eps->tokens, &rchan->node, bulk_rchan_params);
		rchan->hashed = false;
	}
	if (rchan->state != BULK_RCHAN_OPENING) {
		list_move_tail(&rchan->due, &eps->ended);
		bulk_link_kick(rchan->link);
	}
}

/**
 * bulk_rchan_due - is OPEN due?
 * @rchan: remote channel; link->mutex held
 *
 * Not before the lane is up: the target may not have noticed the end of the one before, and
 * would drop the channel with it.
 *
 * Return: true if it can be sent now.
 */
bool bulk_rchan_due(const struct bulk_rchan *rchan)
{
	return rchan->state == BULK_RCHAN_NEW && rchan->nr_eps &&
	       rchan->link->state == BULK_LINK_READY &&
	       rchan->lane->state == BULK_LANE_READY && rchan->lane->opens < BULK_OPENS_MAX;
}

/**
 * bulk_rchan_open_alloc - an OPEN
 * @rchan: remote channel
 * @more: bytes behind the fixed part
 *
 * Return: the message, for bulk_rchan_opening(), or NULL.
 */
struct bulk_open *bulk_rchan_open_alloc(struct bulk_rchan *rchan, u32 more)
{
	struct bulk_open *m = bulk_ctl_alloc(rchan->link, BULK_OPEN, sizeof(*m) + more,
					     GFP_KERNEL);

	if (m) {
		m->opener = cpu_to_le32(rchan->id);
		m->uid = cpu_to_le32(from_kuid(&init_user_ns, rchan->uid));
		m->token = cpu_to_le64(rchan->token);
	}
	return m;
}

/**
 * bulk_rchan_opening - send OPEN
 * @rchan: remote channel; link->mutex held
 * @m: the message
 */
void bulk_rchan_opening(struct bulk_rchan *rchan, struct bulk_open *m)
{
	bulk_ctl_queue(rchan->link, m);
	rchan->lane->opens++;
	WRITE_ONCE(rchan->state, BULK_RCHAN_OPENING);
	rchan->since = jiffies;
	list_move_tail(&rchan->due, &rchan->link->eps->opening);
}

/**
 * bulk_rchan_open - send OPEN if it is due
 * @rchan: remote channel; link->mutex held
 *
 * Return: true if it was sent: the caller sees to it that somebody watches for the answer.
 */
bool bulk_rchan_open(struct bulk_rchan *rchan)
{
	struct bulk_open *m = bulk_rchan_due(rchan) ? bulk_rchan_open_alloc(rchan, 0) : NULL;

	if (m)
		bulk_rchan_opening(rchan, m);
	return m;
}

/* link->mutex held: OPEN follows when the lane is up and others' have been answered. */
static void rchan_wait_turn(struct bulk_rchan *rchan)
{
	if (list_empty(&rchan->due))
		list_add_tail(&rchan->due, &rchan->lane->fresh);
	bulk_link_kick(rchan->link);
}

/* ------------------------------------------------------------------ endpoints come and go */

/**
 * bulk_rchan_attach - an endpoint finds its remote channel, and gets its handle
 * @ep: OPENING; its ch->mutex held
 * @link: to the channel's host; its mutex is taken
 * @token: the channel's
 * @user: of @ep's channel
 * @first: a message will follow at once
 *
 * Return: 0: it may be UP; -EAGAIN if the link has failed; -ENOMEM, -ENOSPC. On error
 * ep->rchan may be set; the endpoint is on no list.
 */
int bulk_rchan_attach(struct bulk_ep *ep, struct bulk_link *link, u64 token,
		     struct bulk_user *user, bool first)
{
	struct bulk_rchan *rchan;
	int err = 0;

	mutex_lock(&link->mutex);
	if (link->state == BULK_LINK_FAILED) {
		err = -EAGAIN;		/* a new one can be begun */
		goto out;
	}
	rchan = rchan_get(link, token, ep->ch->uid, user);
	if (IS_ERR(rchan)) {
		err = PTR_ERR(rchan);
		goto out;
	}
	ep->rchan = rchan;
	list_add_tail(&ep->rchan_list, &rchan->eps);
	rchan->nr_eps++;
	kref_get(&ep->ref);	/* the list's */
	err = xa_alloc_cyclic_bh(&ep->ch->eps, &ep->handle, ep, xa_limit_31b,
				 &ep->ch->next_ep, GFP_KERNEL_ACCOUNT);
	if (err < 0) {
		list_del_init(&ep->rchan_list);
		rchan->nr_eps--;
		rchan_check_end(rchan);
		bulk_ep_put(ep);
		goto out;
	}
	err = 0;
	/* on a live link here and now; else the worker does it in time */
	if (rchan->state == BULK_RCHAN_OPEN && rchan->lane->state == BULK_LANE_READY)
		bulk_ep_up(ep);
	else if (first && link->features & BULK_FEATURE_FIRST && bulk_rchan_due(rchan))
		bulk_first_await(rchan);
	else if (bulk_rchan_open(rchan))
		bulk_link_watch(link);
	else if (rchan->state == BULK_RCHAN_NEW)
		rchan_wait_turn(rchan);
out:
	mutex_unlock(&link->mutex);
	return err;
}

/**
 * bulk_rchan_detach - an endpoint leaves its remote channel
 * @ep: CLOSED; link->mutex is taken
 */
void bulk_rchan_detach(struct bulk_ep *ep)
{
	struct bulk_rchan *rchan = ep->rchan;
	struct bulk_link *link = rchan->link;

	mutex_lock(&link->mutex);
	if (!list_empty(&ep->rchan_list)) {
		list_del_init(&ep->rchan_list);
		rchan->nr_eps--;
		bulk_ep_put(ep);
		rchan_check_end(rchan);
	}
	mutex_unlock(&link->mutex);
}

/* link->mutex held: what waits for a remote channel that is open now */
static void rchan_up(struct bulk_rchan *rchan)
{
	struct bulk_ep *ep;

	if (rchan->state == BULK_RCHAN_OPEN && rchan->lane->state == BULK_LANE_READY)
		list_for_each_entry(ep, &rchan->eps, rchan_list)
			bulk_ep_up(ep);
}

/**
 * bulk_rchan_writable - tell endpoints that were refused for want of a window
 * @rchan: remote channel
 *
 * All of them: one that is told may have nothing more to send.
 *
 * Context: any, no locks held.
 */
void bulk_rchan_writable(struct bulk_rchan *rchan)
{
	spinlock_t *lock = bulk_lane_lock(rchan->lane);
	struct bulk_ep *ep;
	bool up;

	/* who begins to wait now sees the window */
	while (!list_empty(&rchan->starving)) {
		ep = NULL;
		spin_lock_bh(lock);
		if ((s32)(rchan->limit - rchan->sent) > 0)
			ep = list_first_entry_or_null(&rchan->starving, struct bulk_ep, starving);
		if (ep) {
			list_del_init(&ep->starving);
			ep->starved &= ~BULK_STARVED_WINDOW;
			up = ep->state == BULK_EP_UP;
		}
		spin_unlock_bh(lock);
		if (!ep)
			return;
		if (up)
			bulk_ep_event(ep, BULK_EPEV_WRITABLE);
		bulk_ep_put(ep);
	}
}

/* link->mutex held: OPEN has its answer, or needs none. */
static void rchan_answered(struct bulk_rchan *rchan)
{
	list_del_init(&rchan->due);
	/* others may have waited for their turn */
	if (rchan->lane->opens-- == BULK_OPENS_MAX)
		bulk_link_kick(rchan->link);
}

/*
 * link->mutex held: it cannot be used any more. Endpoints report @err (0: -ECONNRESET) when
 * their last command has ended.
 */
static void rchan_down(struct bulk_rchan *rchan, int err)
{
	struct bulk_ep *ep;

	lockdep_assert_held(&rchan->link->mutex);
	if (rchan->state == BULK_RCHAN_OPENING)
		rchan_answered(rchan);
	if (rchan->state != BULK_RCHAN_DEAD) {
		rchan->state = BULK_RCHAN_DEAD;
		rchan->err = err ?: -ECONNRESET;
	}
	list_for_each_entry(ep, &rchan->eps, rchan_list)
		bulk_ep_down(ep, BULK_EP_DOWN, rchan->err);
	bulk_first_over(rchan, rchan->err);
	rchan_check_end(rchan);
}

/* ------------------------------------------------------------------ messages */

/* @answer: to an OPENED that nobody waits for */
static int send_closed(struct bulk_link *link, u32 target, u64 last, bool answer)
{
	struct bulk_closed *m = bulk_ctl_alloc(link, BULK_CLOSED, sizeof(*m), GFP_KERNEL);

	if (!m)
		return -ENOMEM;
	m->id = cpu_to_le32(target);
	m->last = cpu_to_le64(last);
	if (answer)
		bulk_ctl_answer(m);
	bulk_ctl_queue(link, m);
	return 0;
}

/* So many messages may be sent; maybe the first one, @again. */
static void rchan_raise(struct bulk_rchan *rchan, u32 limit, bool again)
{
	struct bulk_lane *lane = rchan->lane;
	LIST_HEAD(ended);

	spin_lock_bh(bulk_lane_lock(lane));
	if ((s32)(limit - rchan->limit) > 0)
		rchan->limit = limit;
	again = again && bulk_first_again(rchan, &ended);
	spin_unlock_bh(bulk_lane_lock(lane));
	bulk_ops_finish(&ended);
	if (again)
		bulk_lane_pump(lane);
}

/**
 * bulk_rchan_opened - OPENED has come
 * @link: link, its mutex held
 * @h: the message
 *
 * If nobody waits for it (any more), the target is told to forget it.
 *
 * Return: 0, or an error that closes the link.
 */
int bulk_rchan_opened(struct bulk_link *link, const struct bulk_hdr *h)
{
	const struct bulk_opened *m = (const void *)h;
	struct bulk_rchan *rchan = xa_load(&link->eps->rchans, le32_to_cpu(m->opener));
	bool first = m->h.flags & BULK_OPENED_FIRST;

	if (!rchan || rchan->state == BULK_RCHAN_DEAD) {	/* its lane has failed meanwhile */
		send_closed(link, le32_to_cpu(m->target), 0, true);
		return 0;
	}
	if (rchan->state != BULK_RCHAN_OPENING)
		return 0;
	if (first && !READ_ONCE(rchan->first))
		return -EPROTO;
	rchan->target = le32_to_cpu(m->target);	/* nobody sends yet */
	rchan_raise(rchan, le32_to_cpu(m->limit), !first);
	rchan->opened = true;
	rchan_answered(rchan);
	rchan->state = BULK_RCHAN_OPEN;
	rchan_up(rchan);
	/* who has nothing under way any more knows that the endpoint is up */
	if (first)
		bulk_first_over(rchan, 0);
	rchan_check_end(rchan);	/* it may be of no use any more */
	return 0;
}

/**
 * bulk_rchan_closed - REFUSED, or the target's CLOSED, has come
 * @link: link, its mutex held
 * @id: our number for the remote channel
 * @err: what endpoints report
 */
void bulk_rchan_closed(struct bulk_link *link, u32 id, int err)
{
	struct bulk_rchan *rchan = xa_load(&link->eps->rchans, id);

	if (rchan && (rchan->state == BULK_RCHAN_OPENING || rchan->state == BULK_RCHAN_OPEN))
		rchan_down(rchan, err);
}

/**
 * bulk_rchan_window - WINDOW has come
 * @link: link, its mutex held
 * @h: the message
 *
 * A window never shrinks. Endpoints that were refused for want of one are told.
 *
 * Return: 0.
 */
int bulk_rchan_window(struct bulk_link *link, const struct bulk_hdr *h)
{
	const struct bulk_window *m = (const void *)h;
	struct bulk_rchan *rchan = xa_load(&link->eps->rchans, le32_to_cpu(m->opener));

	if (!rchan || rchan->state != BULK_RCHAN_OPEN)
		return 0;
	rchan_raise(rchan, le32_to_cpu(m->limit), true);
	bulk_rchan_writable(rchan);
	return 0;
}

/* ------------------------------------------------------------------ the worker */

/* link->mutex held: off the tables. Endpoints keep their references. */
static void rchan_drop(struct bulk_rchan *rchan)
{
	rchan->state = BULK_RCHAN_DEAD;
	list_del_init(&rchan->due);
	list_del_init(&rchan->lane_list);
	xa_erase(&rchan->link->eps->rchans, rchan->id);
	bulk_rchan_put(rchan);
}

/* OPENs that have waited for their turn. */
static void rchan_open_fresh(struct bulk_lane *lane)
{
	struct bulk_rchan *rchan;

	while ((rchan = list_first_entry_or_null(&lane->fresh, struct bulk_rchan, due)) &&
	       bulk_rchan_due(rchan)) {
		if (!bulk_rchan_open(rchan)) {	/* no memory */
			bulk_link_kick_later(lane->link, RETRY);
			break;
		}
	}
}

/* Say CLOSED of those that have ended, where their hosts know them. */
static void rchan_close_ended(struct bulk_link *link)
{
	struct bulk_rchan *rchan, *next;

	list_for_each_entry_safe(rchan, next, &link->eps->ended, due) {
		if (rchan->opened && rchan->lane->state != BULK_LANE_FAILED &&
		    send_closed(link, rchan->target, rchan->last_seq, false)) {
			bulk_link_kick_later(link, RETRY);
			break;
		}
		rchan_drop(rchan);
	}
}

/**
 * bulk_rchan_work - open and close remote channels
 * @link: link, its mutex held; its worker
 *
 * One without endpoints, or a dead one, leaves when its host need not be told any more; one
 * whose OPEN is not answered yet waits for that.
 */
void bulk_rchan_work(struct bulk_link *link)
{
	struct bulk_lane *lane;

	bulk_first_work(link);
	if (link->state == BULK_LINK_READY)
		list_for_each_entry(lane, &link->lanes, list)
			rchan_open_fresh(lane);
	rchan_close_ended(link);
}

/**
 * bulk_rchan_waiting - look for OPENs without an answer
 * @link: link, its mutex held; its worker
 * @asked: jiffies; a peer that has not answered one that was sent before is out of order,
 *	since OPEN is answered without any waiting
 *
 * Return: true if others have no answer yet.
 */
bool bulk_rchan_waiting(struct bulk_link *link, unsigned long asked)
{
	struct bulk_rchan *rchan = list_first_entry_or_null(&link->eps->opening,
							    struct bulk_rchan, due);

	if (rchan && time_before(rchan->since, asked))
		bulk_ctl_fail(link, -ETIMEDOUT);
	return rchan;
}

/**
 * bulk_rchan_lane_down - a lane has failed: so have its remote channels
 * @lane: lane; link->mutex held
 */
void bulk_rchan_lane_down(struct bulk_lane *lane)
{
	struct bulk_rchan *rchan;

	list_for_each_entry(rchan, &lane->rchans, lane_list)
		rchan_down(rchan, lane->conn.smbd.err);
}

/**
 * bulk_rchan_drop_all - the link is over, all its lanes are gone
 * @link: link, its mutex held
 */
void bulk_rchan_drop_all(struct bulk_link *link)
{
	struct bulk_rchan *rchan;
	unsigned long id;

	xa_for_each(&link->eps->rchans, id, rchan) {
		rchan_down(rchan, link->err);
		rchan_drop(rchan);
	}
}
