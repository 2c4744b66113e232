// SPDX-License-Identifier: GPL-2.0 OR BSD-3-Clause
/*
 * Endpoints; the remote channels they lead to; our channels as other hosts see
 * them.
 *
 * An endpoint (struct bulk_ep) belongs to a channel and leads to a remote channel
 * (struct bulk_rchan), which all endpoints of one user to it share. The other
 * host keeps a struct bulk_inbound for it: OPEN makes it, CLOSED from the opener
 * ends it. When the channel dies, its host says CLOSED (target) and keeps the
 * inbound, now dead, until the opener's CLOSED comes, because messages may still
 * be under way; those are dropped.
 *
 * Locks: ch->mutex serialises open and close; link->mutex covers lists and states
 * of remote channels; the lane's lock what submission and posting need; ch->lock
 * events. An endpoint's structure is freed by RCU, since submission
 * finds it by its handle under RCU.
 *
 * The first message. OPEN can carry one (rchan->first), whose sender then does not wait
 * for the answer. Who has opened an endpoint with RDMA_BULK_EP_FIRST has a moment to
 * submit it. It counts as under way until OPENED or REFUSED comes. If the target had no
 * slot for it, it is sent again as soon as the window allows, before anything else of
 * its endpoint.
 *
 * Endpoints within the host (ep->local) have neither of these: see local.c.
 *
 * Death of a channel: ep_close_all(). Death of a lane: bulk_rchan_down() for
 * its remote channels. Both cancel what is not under way; an endpoint reports
 * DOWN when its last command has ended.
 */
#include "link.h"
#include "base/trace.h"

#define FIRST_WAIT	2	/* jiffies that OPEN waits for the first message */

/* ------------------------------------------------------------------ remote channels */

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

static void rchan_put(struct bulk_rchan *rchan)
{
	kref_put(&rchan->ref, rchan_release);
}

/* link->mutex held: a reference for the caller; DEAD ones are not found. */
static struct bulk_rchan *rchan_get(struct bulk_link *link, u64 token, kuid_t uid,
				    struct bulk_user *user)
{
	struct bulk_rchan *rchan;
	struct bulk_lane *lane;
	unsigned long id;
	int err;

	lockdep_assert_held(&link->mutex);
	xa_for_each(&link->eps->rchans, id, rchan) {
		if (rchan->token == token && uid_eq(rchan->uid, uid) &&
		    rchan->state != BULK_RCHAN_DEAD && rchan->nr_eps) {
			kref_get(&rchan->ref);
			return rchan;
		}
	}
	rchan = kzalloc(sizeof(*rchan), GFP_KERNEL_ACCOUNT);
	if (!rchan)
		return ERR_PTR(-ENOMEM);
	lane = bulk_lane_get(link, uid, user);
	if (IS_ERR(lane)) {
		kfree(rchan);
		return ERR_CAST(lane);
	}
	kref_init(&rchan->ref);
	rchan->link = bulk_link_get_ref(link);
	rchan->lane = lane;
	rchan->token = token;
	rchan->uid = uid;
	INIT_LIST_HEAD(&rchan->eps);
	err = xa_alloc_cyclic(&link->eps->rchans, &rchan->id, rchan, xa_limit_31b,
			      &link->eps->next_rchan, GFP_KERNEL);
	if (err < 0) {
		rchan_put(rchan);
		return ERR_PTR(err);
	}
	kref_get(&rchan->ref);	/* the table's */
	return rchan;
}

/* ------------------------------------------------------------------ endpoints */

static void ep_release(struct kref *ref)
{
	struct bulk_ep *ep = container_of(ref, struct bulk_ep, ref);

	if (ep->rchan)
		rchan_put(ep->rchan);
	kfree(ep->local);
	bulk_channel_put(ep->ch);
	kfree_rcu(ep, rcu);	/* no callback of this module's code */
}

/**
 * bulk_ep_put - drop a reference
 * @ep: endpoint
 *
 * Context: any.
 */
void bulk_ep_put(struct bulk_ep *ep)
{
	kref_put(&ep->ref, ep_release);
}

/**
 * bulk_ep_find - look up a handle
 * @ch: channel
 * @handle: from a process
 *
 * Context: any.
 *
 * Return: a reference, or NULL.
 */
struct bulk_ep *bulk_ep_find(struct bulk_channel *ch, u32 handle)
{
	struct bulk_ep *ep;

	rcu_read_lock();
	ep = xa_load(&ch->eps, handle);
	if (ep && !kref_get_unless_zero(&ep->ref))
		ep = NULL;
	rcu_read_unlock();
	return ep;
}

/* ch->lock held: write what there is room for. True if all is reported. */
static bool ep_report(struct bulk_ep *ep)
{
	static const struct { u8 bit; u16 type; } order[] = {
		{ BULK_EPEV_UP, RDMA_BULK_EV_EP_UP },
		{ BULK_EPEV_WRITABLE, RDMA_BULK_EV_WRITABLE },
		{ BULK_EPEV_DOWN, RDMA_BULK_EV_EP_DOWN },
	};
	int i;

	for (i = 0; i < ARRAY_SIZE(order); i++) {
		struct rdma_bulk_event ev = {
			.user_data	= ep->user_data,
			.type		= order[i].type,
			.ep		= ep->handle,
			.slot		= RDMA_BULK_NO_SLOT,
		};

		if (!(ep->events & order[i].bit))
			continue;
		if (order[i].bit == BULK_EPEV_DOWN)
			ev.result = READ_ONCE(ep->err);
		if (!bulk_channel_event(ep->ch, &ev))
			return false;
		ep->events &= ~order[i].bit;
	}
	return true;
}

/**
 * bulk_ep_event - report what has happened to an endpoint
 * @ep: endpoint
 * @bits: BULK_EPEV_*
 *
 * Bits that find no room in the ring stay until there is some. Nothing is reported of
 * an endpoint that its process has closed.
 *
 * Context: any; takes ch->lock.
 */
void bulk_ep_event(struct bulk_ep *ep, u8 bits)
{
	struct bulk_channel *ch = ep->ch;

	spin_lock_bh(&ch->lock);
	/* nothing follows DOWN, which comes after the state */
	if (READ_ONCE(ep->state) == BULK_EP_DOWN)
		bits &= ~BULK_EPEV_WRITABLE;
	if (bits && READ_ONCE(ep->state) != BULK_EP_CLOSED) {
		ep->events |= bits;
		if (list_empty(&ep->due.list) && !ep_report(ep)) {
			kref_get(&ep->ref);
			list_add_tail(&ep->due.list, &ch->due);
		}
	}
	spin_unlock_bh(&ch->lock);
}

/* ch->lock held: write bits that found no room before. False if there still is none. */
static bool ep_report_due(struct bulk_due *due)
{
	struct bulk_ep *ep = container_of(due, struct bulk_ep, due);

	lockdep_assert_held(&ep->ch->lock);
	if (READ_ONCE(ep->state) != BULK_EP_CLOSED && !ep->ch->dead && !ep_report(ep))
		return false;
	list_del_init(&due->list);
	/*
	 * Not the last reference: the table's goes in ep_close() after the
	 * state is CLOSED, and that takes ch->lock afterwards.
	 */
	kref_put(&ep->ref, ep_release);
	return true;
}

/**
 * bulk_ep_down - an endpoint takes no further commands
 * @ep: endpoint
 * @state: DOWN, or CLOSED by its process
 * @err: what it reports, unless it was down before
 *
 * What is not under way ends with @err. DOWN is reported when all has ended.
 */
void bulk_ep_down(struct bulk_ep *ep, enum bulk_ep_state state, int err)
{
	spinlock_t *lock = bulk_ep_lock(ep);
	LIST_HEAD(ended);
	bool was_alive, alone;

	spin_lock_bh(lock);
	was_alive = ep->state == BULK_EP_OPENING || ep->state == BULK_EP_UP;
	if (was_alive || state == BULK_EP_CLOSED) {
		ep->state = state;
		if (was_alive)
			WRITE_ONCE(ep->err, err);
		if (ep->rchan)
			bulk_ep_cancel(ep, err, &ended);
	}
	spin_unlock_bh(lock);
	bulk_ops_finish(&ended);
	if (was_alive)
		trace_bulk_endpoint(ep->ch, ep->handle,
				    state == BULK_EP_CLOSED ? "close" : "down", err);
	if (ep->rchan) {
		/* cancelled messages leave their part of the window to other endpoints */
		bulk_link_kick(ep->rchan->link);
		/* whoever waits for a key on its behalf need not any more */
		bulk_key_wake(ep->rchan->link);
	}
	alone = was_alive && atomic_dec_and_test(&ep->pending);
	if (alone)
		bulk_ep_event(ep, BULK_EPEV_DOWN);
}

/**
 * bulk_ep_up - an endpoint can be used, unless it has gone down meanwhile
 * @ep: endpoint
 */
void bulk_ep_up(struct bulk_ep *ep)
{
	spinlock_t *lock = bulk_ep_lock(ep);
	bool up;

	spin_lock_bh(lock);
	up = ep->state == BULK_EP_OPENING;
	if (up)
		ep->state = BULK_EP_UP;
	spin_unlock_bh(lock);
	if (up) {
		trace_bulk_endpoint(ep->ch, ep->handle, "up", 0);
		bulk_ep_event(ep, BULK_EPEV_UP);
	}
}

/**
 * bulk_ep_writable - tell an endpoint whose command was refused, if a new try may succeed
 * @ep: endpoint
 * @window: if it was refused for want of a window or slot, too
 *
 * Context: any; takes the lane's lock and ch->lock.
 */
void bulk_ep_writable(struct bulk_ep *ep, bool window)
{
	struct bulk_rchan *rchan = ep->rchan;
	spinlock_t *lock = bulk_ep_lock(ep);
	u8 ready = BULK_STARVED_BUSY;

	if (!READ_ONCE(ep->starved))
		return;
	spin_lock_bh(lock);
	if (window && (!rchan || (s32)(rchan->limit - rchan->sent) > 0))
		ready |= BULK_STARVED_WINDOW;
	ready = ep->state == BULK_EP_UP ? ready & ep->starved : 0;
	ep->starved &= ~ready;
	spin_unlock_bh(lock);
	if (ready)
		bulk_ep_event(ep, BULK_EPEV_WRITABLE);
}

/* A command has ended: whoever was refused may try again. Any context. */
static void ep_wake_all(struct bulk_channel *ch)
{
	unsigned long handle;
	struct bulk_ep *ep;

	rcu_read_lock();
	xa_for_each(&ch->eps, handle, ep) {
		/* RCU keeps the endpoint, not what it refers to */
		if (!kref_get_unless_zero(&ep->ref))
			continue;
		bulk_ep_writable(ep, false);
		bulk_ep_put(ep);
	}
	rcu_read_unlock();
}

/*
 * link->mutex held: is OPEN due? Not before the lane is up: the target may not have
 * noticed the end of the one before, and would drop the channel with it.
 */
static bool rchan_due(const struct bulk_rchan *rchan)
{
	return rchan->state == BULK_RCHAN_NEW && rchan->nr_eps &&
	       rchan->link->state == BULK_LINK_READY &&
	       rchan->lane->state == BULK_LANE_READY && rchan->lane->opens < BULK_OPENS_MAX;
}

static struct bulk_open *open_alloc(struct bulk_rchan *rchan, u32 more)
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

/* link->mutex held */
static void rchan_opening(struct bulk_rchan *rchan, struct bulk_open *m)
{
	bulk_ctl_queue(rchan->link, m);
	rchan->lane->opens++;
	WRITE_ONCE(rchan->state, BULK_RCHAN_OPENING);
	rchan->since = jiffies;
}

/* link->mutex held: a command is to follow soon, maybe with the first message. */
static void rchan_await_first(struct bulk_rchan *rchan)
{
	rchan->first_due = true;
	rchan->since = jiffies;
	bulk_link_kick_later(rchan->link, FIRST_WAIT);
}

static bool rchan_awaits_first(const struct bulk_rchan *rchan)
{
	return rchan->first_due && time_before(jiffies, rchan->since + FIRST_WAIT);
}

/* link->mutex held: send OPEN if it is due. */
static bool rchan_open(struct bulk_rchan *rchan)
{
	struct bulk_open *m = rchan_due(rchan) ? open_alloc(rchan, 0) : NULL;

	if (m)
		rchan_opening(rchan, m);
	return m;
}

/**
 * bulk_rchan_first - a command has come for an endpoint that is OPENING
 * @ep: endpoint of a remote channel; link->mutex held
 * @op: a message of BULK_FIRST_MAX bytes at most that has its place, or NULL
 *
 * Sends OPEN, if that has not happened yet, with the message if the peer takes it.
 *
 * Return: 0 if the message is accepted; else nothing has been done with it: -EAGAIN,
 * -EAGAIN_BUSY, -ENOMEM, or why the endpoint is down.
 */
int bulk_rchan_first(struct bulk_ep *ep, struct bulk_op *op)
{
	struct bulk_rchan *rchan = ep->rchan;
	struct bulk_link *link = rchan->link;
	struct bulk_first *first;
	struct bulk_open *m;
	int err;

	lockdep_assert_held(&link->mutex);
	if (!rchan_due(rchan))
		return -EAGAIN;
	if (!op || !(link->features & BULK_FEATURE_FIRST)) {
		if (rchan_open(rchan))
			bulk_link_watch(link);
		return -EAGAIN;
	}
	m = open_alloc(rchan, sizeof(*first) + op->length);
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
	err = bulk_accept_first(ep, op);
	if (err) {
		bulk_ctl_free(m);
		return err;
	}
	rchan_opening(rchan, m);
	bulk_link_watch(link);
	return 0;
}

/* The message that went with OPEN has been delivered, or ends with @err. */
static void rchan_first_over(struct bulk_rchan *rchan, int err)
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

/*
 * So many messages may be sent. The first one, if it is to be sent @again, has its turn
 * before its endpoint can submit others.
 */
static void rchan_raise(struct bulk_rchan *rchan, u32 limit, bool again)
{
	struct bulk_lane *lane = rchan->lane;
	struct bulk_op *op;
	struct bulk_ep *ep;
	LIST_HEAD(ended);

	spin_lock_bh(bulk_lane_lock(lane));
	if ((s32)(limit - rchan->limit) > 0)
		rchan->limit = limit;
	op = again ? rchan->first : NULL;
	if (op) {
		ep = op->ep;
		rchan->first_again = true;
		if (ep->state == BULK_EP_DOWN || ep->state == BULK_EP_CLOSED) {
			bulk_ep_cancel(ep, ep->err, &ended);
		} else if ((s32)(rchan->limit - rchan->sent) >= 0) {
			rchan->first = NULL;
			rchan->first_again = false;
			op->inflight--;
			op->todo = 1;
			list_add(&op->fifo, &ep->fifo);
			if (list_empty(&ep->sched))
				list_add_tail(&ep->sched, &lane->active);
		}
	}
	spin_unlock_bh(bulk_lane_lock(lane));
	bulk_ops_finish(&ended);
	if (op)
		bulk_lane_pump(lane);
}

/* @first: a message will follow at once */
static int ep_attach(struct bulk_ep *ep, struct bulk_link *link, u64 token,
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
		bulk_link_kick(link);	/* it may be of no use now */
		kref_put(&ep->ref, ep_release);
		goto out;
	}
	err = 0;
	/* on a live link here and now; else the worker does it in time */
	if (rchan->state == BULK_RCHAN_OPEN && rchan->lane->state == BULK_LANE_READY)
		bulk_ep_up(ep);
	else if (first && link->features & BULK_FEATURE_FIRST && rchan_due(rchan))
		rchan_await_first(rchan);
	else if (rchan_open(rchan))
		bulk_link_watch(link);
	else
		bulk_link_kick(link);
out:
	mutex_unlock(&link->mutex);
	return err;
}

static int ep_remote(const struct bulk_channel *ch, const u8 *raw, union bulk_addr *remote)
{
	memset(remote, 0, sizeof(*remote));
	memcpy(remote, raw, RDMA_BULK_ADDR_MAX);
	if (remote->sa.sa_family != ch->addr.sa.sa_family)
		return -EAFNOSUPPORT;
	if (remote->sa.sa_family == AF_INET6) {
		if (!remote->in6.sin6_port)
			remote->in6.sin6_port = htons(bulk_port);
		remote->in6.sin6_scope_id = ch->addr.in6.sin6_scope_id;
		if (ipv6_addr_any(&remote->in6.sin6_addr) ||
		    ipv6_addr_is_multicast(&remote->in6.sin6_addr))
			return -EINVAL;
		return 0;
	}
	if (!remote->in4.sin_port)
		remote->in4.sin_port = htons(bulk_port);
	memset(remote->in4.sin_zero, 0, sizeof(remote->in4.sin_zero));
	if (ipv4_is_multicast(remote->in4.sin_addr.s_addr) ||
	    ipv4_is_lbcast(remote->in4.sin_addr.s_addr) ||
	    ipv4_is_zeronet(remote->in4.sin_addr.s_addr))
		return -EINVAL;
	return 0;
}

/* ch->mutex held */
static int ep_open_local(struct bulk_ep *ep, u64 token)
{
	int err;

	refcount_inc(&ep->ch->refs);
	err = xa_alloc_cyclic_bh(&ep->ch->eps, &ep->handle, ep, xa_limit_31b,
				 &ep->ch->next_ep, GFP_KERNEL_ACCOUNT);
	if (err < 0) {
		bulk_channel_put(ep->ch);
		return err;
	}
	bulk_local_attach(ep, token);
	return 0;
}

/**
 * bulk_ep_open - RDMA_BULK_IOC_EP_OPEN
 * @ch: the channel
 * @open: checked for size; @ep is filled in
 *
 * Return: 0 or negative errno.
 */
int bulk_ep_open(struct bulk_channel *ch, struct rdma_bulk_ep_open *open)
{
	union bulk_addr remote;
	struct bulk_link *link;
	struct bulk_user *user;
	struct bulk_ep *ep;
	int err, tries = 3;

	if (open->flags & ~RDMA_BULK_EP_FIRST || !open->token)
		return -EINVAL;
	err = ep_remote(ch, open->addr, &remote);
	if (err)
		return err;
	ep = kzalloc(sizeof(*ep), GFP_KERNEL_ACCOUNT);
	if (!ep)
		return -ENOMEM;
	kref_init(&ep->ref);
	atomic_set(&ep->pending, 1);
	ep->user_data = open->user_data;
	ep->ch = ch;
	INIT_LIST_HEAD(&ep->rchan_list);
	INIT_LIST_HEAD(&ep->fifo);
	INIT_LIST_HEAD(&ep->ops);
	INIT_LIST_HEAD(&ep->sched);
	INIT_LIST_HEAD(&ep->due.list);
	if (bulk_local_is(ch, &remote)) {
		ep->local = bulk_local_alloc(ep);
		if (!ep->local) {
			kfree(ep);
			return -ENOMEM;
		}
	}

	mutex_lock(&ch->mutex);
	err = -ENOSPC;
	if (ch->nr_eps >= BULK_MAX_ENDPOINTS)
		goto fail;
	err = -ENODEV;
	if (READ_ONCE(ch->dead) || READ_ONCE(ch->removed))
		goto fail;
	if (ep->local) {
		err = ep_open_local(ep, open->token);
		if (err)
			goto fail;
		goto opened;
	}
	user = bulk_user_get(ch->dev, ch->port, ch->uid);
	if (IS_ERR(user)) {
		err = PTR_ERR(user);
		goto fail;
	}
	refcount_inc(&ch->refs);
	do {
		link = bulk_link_open(ch->net, ch->dev, ch->port, &ch->addr, &remote);
		if (IS_ERR(link)) {
			err = PTR_ERR(link);
			break;
		}
		err = ep_attach(ep, link, open->token, user,
				open->flags & RDMA_BULK_EP_FIRST);
		bulk_link_put(link);
	} while (err == -EAGAIN && --tries);
	bulk_user_put(user);
	if (err) {
		mutex_unlock(&ch->mutex);
		if (ep->rchan) {
			bulk_ep_put(ep);
		} else {
			bulk_channel_put(ch);
			kfree(ep);
		}
		return err == -EAGAIN ? -ECONNRESET : err;
	}
opened:
	ch->nr_eps++;
	open->ep = ep->handle;
	mutex_unlock(&ch->mutex);
	return 0;
fail:
	mutex_unlock(&ch->mutex);
	kfree(ep->local);
	kfree(ep);
	return err;
}

/* An endpoint leaves its remote channel. */
static void ep_detach(struct bulk_ep *ep)
{
	struct bulk_rchan *rchan = ep->rchan;
	struct bulk_link *link = rchan->link;

	mutex_lock(&link->mutex);
	if (!list_empty(&ep->rchan_list)) {
		list_del_init(&ep->rchan_list);
		rchan->nr_eps--;
		bulk_ep_put(ep);
		if (!rchan->nr_eps)
			bulk_link_kick(link);
	}
	mutex_unlock(&link->mutex);
}

/* ch->mutex held */
static void ep_close(struct bulk_channel *ch, struct bulk_ep *ep)
{
	bool listed;

	ch->nr_eps--;
	bulk_ep_down(ep, BULK_EP_CLOSED, -ECANCELED);

	spin_lock_bh(&ch->lock);
	listed = !list_empty(&ep->due.list);
	list_del_init(&ep->due.list);
	spin_unlock_bh(&ch->lock);
	if (listed)
		bulk_ep_put(ep);

	if (ep->local)
		bulk_local_detach(ep);
	else
		ep_detach(ep);
	bulk_ep_put(ep);	/* the table's */
}

/**
 * bulk_ep_close - RDMA_BULK_IOC_EP_CLOSE
 * @ch: channel
 * @handle: the endpoint's
 *
 * Return: 0 or -ENOENT.
 */
int bulk_ep_close(struct bulk_channel *ch, u32 handle)
{
	struct bulk_ep *ep;

	mutex_lock(&ch->mutex);
	ep = handle ? xa_erase_bh(&ch->eps, handle) : NULL;
	if (ep)
		ep_close(ch, ep);
	mutex_unlock(&ch->mutex);
	return ep ? 0 : -ENOENT;
}

/* ch->lock held: the worker has something to tell. */
static void inbound_due(struct bulk_rx_window *w)
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

/* A channel has died: close its endpoints. */
static void ep_close_all(struct bulk_channel *ch)
{
	struct bulk_ep *ep;
	unsigned long handle;

	mutex_lock(&ch->mutex);
	xa_for_each(&ch->eps, handle, ep) {
		xa_erase_bh(&ch->eps, handle);
		ep_close(ch, ep);
	}
	mutex_unlock(&ch->mutex);
}

const struct bulk_chan_ops bulk_ep_chan_ops = {
	.closing	= ep_close_all,
	.wake		= ep_wake_all,
	.free		= bulk_submit_drop_spares,
	.report		= ep_report_due,
	.window_due	= inbound_due,
	.sender_waits	= bulk_local_waits,
	.sender_wake	= bulk_local_wake,
	.sender_gone	= bulk_local_gone,
};

/* ------------------------------------------------------- remote channels' messages */

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

/**
 * bulk_rchan_down - a remote channel cannot be used any more
 * @rchan: remote channel; link->mutex held
 * @err: what its endpoints report; 0 for -ECONNRESET
 *
 * Its endpoints take no further command; what is not under way ends with the error.
 * Each reports DOWN when its last command has ended.
 */
void bulk_rchan_down(struct bulk_rchan *rchan, int err)
{
	struct bulk_ep *ep;

	lockdep_assert_held(&rchan->link->mutex);
	if (rchan->state == BULK_RCHAN_OPENING)
		rchan->lane->opens--;
	if (rchan->state != BULK_RCHAN_DEAD) {
		rchan->state = BULK_RCHAN_DEAD;
		rchan->err = err ?: -ECONNRESET;
	}
	list_for_each_entry(ep, &rchan->eps, rchan_list)
		bulk_ep_down(ep, BULK_EP_DOWN, rchan->err);
	rchan_first_over(rchan, rchan->err);
	bulk_link_kick(rchan->link);
}

/* link->mutex held: what waits for a remote channel that is open now */
static void rchan_up(struct bulk_rchan *rchan)
{
	struct bulk_ep *ep;

	if (rchan->state == BULK_RCHAN_OPEN && rchan->lane->state == BULK_LANE_READY)
		list_for_each_entry(ep, &rchan->eps, rchan_list)
			bulk_ep_up(ep);
}

/*
 * OPENED has come. If nobody waits for it (any more), the target is told to forget it.
 */
static int rchan_opened(struct bulk_link *link, const struct bulk_hdr *h)
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
	rchan->state = BULK_RCHAN_OPEN;
	rchan_up(rchan);
	/* who has nothing under way any more knows that the endpoint is up */
	if (first)
		rchan_first_over(rchan, 0);
	/* others may have waited for their turn; or it is of no use any more */
	if (rchan->lane->opens-- == BULK_OPENS_MAX || !rchan->nr_eps)
		bulk_link_kick(link);
	return 0;
}

/* REFUSED, or the target's CLOSED, has come: endpoints report @err. */
static void rchan_closed(struct bulk_link *link, u32 id, int err)
{
	struct bulk_rchan *rchan = xa_load(&link->eps->rchans, id);

	if (rchan && (rchan->state == BULK_RCHAN_OPENING || rchan->state == BULK_RCHAN_OPEN))
		bulk_rchan_down(rchan, err);
}

/* Tell endpoints that were refused. */
static void rchan_writable(struct bulk_rchan *rchan)
{
	struct bulk_ep *ep;

	lockdep_assert_held(&rchan->link->mutex);
	list_for_each_entry(ep, &rchan->eps, rchan_list)
		bulk_ep_writable(ep, true);
}

/*
 * WINDOW has come. A window never shrinks. Endpoints that were refused for want of one
 * are told.
 */
static int rchan_window(struct bulk_link *link, const struct bulk_hdr *h)
{
	const struct bulk_window *m = (const void *)h;
	struct bulk_rchan *rchan = xa_load(&link->eps->rchans, le32_to_cpu(m->opener));

	if (!rchan || rchan->state != BULK_RCHAN_OPEN)
		return 0;
	rchan_raise(rchan, le32_to_cpu(m->limit), true);
	rchan_writable(rchan);
	return 0;
}

/*
 * Open, report and close remote channels. One without endpoints, or a dead one, leaves when
 * its host need not be told any more; one whose OPEN is not answered yet waits for that.
 */
static void rchan_work(struct bulk_link *link)
{
	bool ready = link->state == BULK_LINK_READY;
	struct bulk_rchan *rchan;
	unsigned long id;

	xa_for_each(&link->eps->rchans, id, rchan) {
		if (rchan->state == BULK_RCHAN_NEW && rchan_awaits_first(rchan))
			bulk_link_kick_later(link, FIRST_WAIT);
		else
			rchan_open(rchan);
		rchan_up(rchan);
		rchan_writable(rchan);
		if (rchan->state == BULK_RCHAN_OPENING ||
		    (rchan->nr_eps && rchan->state != BULK_RCHAN_DEAD))
			continue;
		if (rchan->opened && rchan->lane->state != BULK_LANE_FAILED) {
			if (!ready || send_closed(link, rchan->target, rchan->last_seq, false))
				continue;
			rchan->opened = false;
		}
		rchan->state = BULK_RCHAN_DEAD;
		xa_erase(&link->eps->rchans, id);
		rchan_put(rchan);	/* endpoints keep theirs */
	}
}

/* OPEN is answered without any waiting: a peer that does not is out of order. */
static bool ep_link_waiting(struct bulk_link *link, unsigned long asked)
{
	struct bulk_rchan *rchan;
	bool waiting = false;
	unsigned long id;

	xa_for_each(&link->eps->rchans, id, rchan) {
		if (rchan->state != BULK_RCHAN_OPENING)
			continue;
		waiting = true;
		if (time_before(rchan->since, asked)) {
			bulk_ctl_fail(link, -ETIMEDOUT);
			break;
		}
	}
	return waiting;
}

/* The link is over, all its lanes are gone. */
static void rchan_drop_all(struct bulk_link *link)
{
	struct bulk_rchan *rchan;
	unsigned long id;

	xa_for_each(&link->eps->rchans, id, rchan) {
		bulk_rchan_down(rchan, link->err);
		xa_erase(&link->eps->rchans, id);
		rchan_put(rchan);
	}
}

/* ------------------------------------------------------------------ inbound channels */

static void inbound_put(struct bulk_inbound *in)
{
	if (refcount_dec_and_test(&in->ref)) {
		bulk_channel_put(in->ch);
		bulk_link_put(in->link);
		kfree_rcu(in, rcu);
	}
}

/* The message that came with OPEN: true if it has been delivered. */
static bool inbound_first(struct bulk_inbound *in, const struct bulk_first *first, u32 len)
{
	struct bulk_channel *ch = in->ch;

	return bulk_window_first(ch, &in->window) &&
	       !bulk_channel_deliver(ch, le16_to_cpu(first->id), first + 1, len);
}

/*
 * OPEN has come. Answers OPENED or REFUSED, after it has delivered the message that came
 * with it.
 */
static int inbound_open(struct bulk_link *link, const struct bulk_hdr *h)
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
		inbound_due(&in->window);
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
		WRITE_ONCE(link->eps->nr_closing, link->eps->nr_closing - 1);
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
	all = READ_ONCE(lane->rx_seq) >= in->last;
	bulk_lane_put(lane);
	return all;
}

/*
 * The opener's CLOSED has come. Messages up to @last on the lane may be still to come.
 */
static int inbound_closed(struct bulk_link *link, u32 id, u64 last)
{
	struct bulk_inbound *in = xa_load(&link->eps->inbounds, id);

	if (!in)	/* its lane has failed meanwhile */
		return 0;
	if (in->closing)
		return -EPROTO;
	in->closing = true;
	in->last = last;
	WRITE_ONCE(link->eps->nr_closing, link->eps->nr_closing + 1);
	smp_mb();	/* pairs with bulk_inbound_received() */
	if (inbound_all_received(link, in))
		inbound_drop(link, in);
	return 0;
}

/* Tell senders of windows and dead channels. */
static void inbound_work(struct bulk_link *link)
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

/* The lane of a user (INVALID_UID: of everybody) is gone. */
static void inbound_drop_all(struct bulk_link *link, kuid_t uid)
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

/**
 * bulk_inbound_received - lane->rx_seq says so, too, now
 * @lane: data lane
 *
 * Context: the data lane's completions.
 */
void bulk_inbound_received(struct bulk_lane *lane)
{
	smp_mb();	/* pairs with inbound_closed() */
	if (READ_ONCE(lane->link->eps->nr_closing))
		bulk_link_kick(lane->link);
}

/* ------------------------------------------------------------------ part of a link */

static int ep_link_attach(struct bulk_link *link)
{
	struct bulk_link_eps *eps = kzalloc(sizeof(*eps), GFP_KERNEL);

	if (!eps)
		return -ENOMEM;
	xa_init_flags(&eps->rchans, XA_FLAGS_ALLOC1);
	xa_init_flags(&eps->inbounds, XA_FLAGS_ALLOC1);
	spin_lock_init(&eps->lock);
	INIT_LIST_HEAD(&eps->dirty);
	link->eps = eps;
	return 0;
}

static void ep_link_release(struct bulk_link *link)
{
	struct bulk_link_eps *eps = link->eps;

	if (!eps)
		return;
	xa_destroy(&eps->rchans);
	xa_destroy(&eps->inbounds);
	kfree(eps);
}

static void ep_link_work(struct bulk_link *link)
{
	if (link->state == BULK_LINK_READY)
		inbound_work(link);
	rchan_work(link);
}

static bool ep_link_wanted(struct bulk_link *link)
{
	return !xa_empty(&link->eps->rchans);
}

static bool ep_uses_lane(struct bulk_lane *lane)
{
	struct bulk_link_eps *eps = lane->link->eps;
	struct bulk_rchan *rchan;
	struct bulk_inbound *in;
	unsigned long id;

	xa_for_each(&eps->rchans, id, rchan)
		if (rchan->lane == lane)
			return true;
	xa_for_each(&eps->inbounds, id, in)
		if (uid_eq(in->uid, lane->uid))
			return true;
	return false;
}

static void ep_lane_down(struct bulk_lane *lane)
{
	struct bulk_rchan *rchan;
	unsigned long id;

	xa_for_each(&lane->link->eps->rchans, id, rchan)
		if (rchan->lane == lane)
			bulk_rchan_down(rchan, lane->conn.smbd.err);
}

static void ep_link_down(struct bulk_link *link)
{
	inbound_drop_all(link, INVALID_UID);
	rchan_drop_all(link);
}

static struct bulk_link_client ep_link_client = {
	.attach		= ep_link_attach,
	.release	= ep_link_release,
	.work		= ep_link_work,
	.waiting	= ep_link_waiting,
	.wanted		= ep_link_wanted,
	.uses_lane	= ep_uses_lane,
	.lane_down	= ep_lane_down,
	.lane_gone	= inbound_drop_all,
	.down		= ep_link_down,
};

/* ------------------------------------------------------------------ control messages */

static bool open_length(const struct bulk_hdr *h, u32 len)
{
	u32 least = sizeof(struct bulk_open);

	if (!(h->flags & BULK_OPEN_FIRST))
		return len == least;
	least += sizeof(struct bulk_first);
	return len >= least && len <= least + BULK_FIRST_MAX;
}

static int recv_refused(struct bulk_link *link, const struct bulk_hdr *h)
{
	const struct bulk_refused *m = (const void *)h;

	rchan_closed(link, le32_to_cpu(m->id), -ECONNREFUSED);
	return 0;
}

static int recv_closed(struct bulk_link *link, const struct bulk_hdr *h)
{
	const struct bulk_closed *m = (const void *)h;

	if (!(h->flags & BULK_CLOSED_TARGET))
		return inbound_closed(link, le32_to_cpu(m->id), le64_to_cpu(m->last));
	rchan_closed(link, le32_to_cpu(m->id), -ECONNRESET);
	return 0;
}

static const struct bulk_ctl_handler open_handler = {
	.flags	= BULK_OPEN_FIRST,
	.length	= open_length,
	.recv	= inbound_open,
};

static const struct bulk_ctl_handler opened_handler = {
	.len	= sizeof(struct bulk_opened),
	.flags	= BULK_OPENED_FIRST,
	.answer	= true,
	.recv	= rchan_opened,
};

static const struct bulk_ctl_handler refused_handler = {
	.len	= sizeof(struct bulk_refused),
	.answer	= true,
	.recv	= recv_refused,
};

static const struct bulk_ctl_handler closed_handler = {
	.len	= sizeof(struct bulk_closed),
	.flags	= BULK_CLOSED_TARGET,
	.recv	= recv_closed,
};

static const struct bulk_ctl_handler window_handler = {
	.len	= sizeof(struct bulk_window),
	.recv	= rchan_window,
};

/**
 * bulk_ep_init - at module load
 */
void bulk_ep_init(void)
{
	bulk_ctl_handle(BULK_OPEN, &open_handler);
	bulk_ctl_handle(BULK_OPENED, &opened_handler);
	bulk_ctl_handle(BULK_REFUSED, &refused_handler);
	bulk_ctl_handle(BULK_CLOSED, &closed_handler);
	bulk_ctl_handle(BULK_WINDOW, &window_handler);
	bulk_link_client_add(&ep_link_client);
}
