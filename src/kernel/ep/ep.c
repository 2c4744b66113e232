// SPDX-License-Identifier: GPL-2.0 OR BSD-3-Clause
/*
 * Endpoints: a channel's handles for others
 *
 * An endpoint (struct bulk_ep) belongs to a channel and leads to a remote channel
 * (rchan.c), which all endpoints of one user to it share, or to a channel within the host
 * (local.c).
 *
 * Locks: ch->mutex serialises open and close; the lane's lock (bulk_ep_lock()) covers what
 * submission and posting need; ch->lock events.
 *
 * Life: from open to close it is in ch->eps. Its structure is freed by RCU, since
 * submission finds it by its handle under RCU. When it can be used no more, because its
 * process closes it, its channel or the remote one dies, or the lane fails, what is not
 * under way is cancelled; it reports DOWN when its last command has ended.
 */
#include "base/trace.h"
#include "ep/private.h"

static void ep_release(struct kref *ref)
{
	struct bulk_ep *ep = container_of(ref, struct bulk_ep, ref);

	if (ep->rchan)
		bulk_rchan_put(ep->rchan);
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

/* ------------------------------------------------------------------ states, events */

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
	bool was_alive, alone, starving;

	spin_lock_bh(lock);
	starving = !list_empty(&ep->starving);
	list_del_init(&ep->starving);
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
		bulk_rchan_writable(ep->rchan);
		/* whoever waits for a key on its behalf need not any more */
		bulk_key_wake(ep->rchan->link);
	}
	alone = was_alive && atomic_dec_and_test(&ep->pending);
	if (alone)
		bulk_ep_event(ep, BULK_EPEV_DOWN);
	if (starving)
		bulk_ep_put(ep);
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
 * @slot: if it is a local one that was refused for want of a slot, too
 *
 * Context: any; takes bulk_ep_lock() and ch->lock.
 */
void bulk_ep_writable(struct bulk_ep *ep, bool slot)
{
	spinlock_t *lock = bulk_ep_lock(ep);
	u8 ready = BULK_STARVED_BUSY;

	if (!READ_ONCE(ep->starved))
		return;
	spin_lock_bh(lock);
	if (slot)
		ready |= BULK_STARVED_WINDOW;
	ready = ep->state == BULK_EP_UP ? ready & ep->starved : 0;
	ep->starved &= ~ready;
	spin_unlock_bh(lock);
	if (ready)
		bulk_ep_event(ep, BULK_EPEV_WRITABLE);
}

/* A command has ended: those that were refused may try again. Any context. */
static void ep_wake(struct bulk_channel *ch)
{
	unsigned long handle;
	struct bulk_ep *ep;

	rcu_read_lock();
	xa_for_each_marked(&ch->eps, handle, ep, BULK_EP_BUSY) {
		/* RCU keeps the endpoint, not what it refers to */
		if (!kref_get_unless_zero(&ep->ref))
			continue;
		/* first: who is refused from here on is marked again */
		xa_lock_bh(&ch->eps);
		__xa_clear_mark(&ch->eps, handle, BULK_EP_BUSY);
		xa_unlock_bh(&ch->eps);
		bulk_ep_writable(ep, false);
		bulk_ep_put(ep);
	}
	rcu_read_unlock();
}

/* ------------------------------------------------------------------ open, close */

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

static struct bulk_ep *ep_alloc(struct bulk_channel *ch, u64 user_data)
{
	struct bulk_ep *ep = kzalloc(sizeof(*ep), GFP_KERNEL_ACCOUNT);

	if (!ep)
		return NULL;
	kref_init(&ep->ref);
	atomic_set(&ep->pending, 1);
	ep->user_data = user_data;
	refcount_inc(&ch->refs);
	ep->ch = ch;
	INIT_LIST_HEAD(&ep->rchan_list);
	INIT_LIST_HEAD(&ep->fifo);
	INIT_LIST_HEAD(&ep->ops);
	INIT_LIST_HEAD(&ep->stream.sched);
	INIT_LIST_HEAD(&ep->starving);
	INIT_LIST_HEAD(&ep->due.list);
	return ep;
}

/* ch->mutex held */
static int ep_open_local(struct bulk_ep *ep, u64 token)
{
	int err;

	err = xa_alloc_cyclic_bh(&ep->ch->eps, &ep->handle, ep, xa_limit_31b,
				 &ep->ch->next_ep, GFP_KERNEL_ACCOUNT);
	if (err < 0)
		return err;
	bulk_local_attach(ep, token);
	return 0;
}

/* ch->mutex held. A link may fail before the endpoint is on it. */
static int ep_open_remote(struct bulk_ep *ep, const union bulk_addr *remote, u64 token,
			  bool first)
{
	struct bulk_channel *ch = ep->ch;
	struct bulk_user *user = bulk_user_get(ch->dev, ch->port, ch->uid);
	struct bulk_link *link;
	int err, tries = 3;

	if (IS_ERR(user))
		return PTR_ERR(user);
	do {
		link = bulk_link_open(ch->net, ch->dev, ch->port, &ch->addr, remote);
		if (IS_ERR(link)) {
			err = PTR_ERR(link);
			break;
		}
		err = bulk_rchan_attach(ep, link, token, user, first);
		bulk_link_put(link);
	} while (err == -EAGAIN && --tries);
	bulk_user_put(user);
	return err == -EAGAIN ? -ECONNRESET : err;
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
	struct bulk_ep *ep;
	int err;

	if (open->flags & ~RDMA_BULK_EP_FIRST || !open->token)
		return -EINVAL;
	err = ep_remote(ch, open->addr, &remote);
	if (err)
		return err;
	ep = ep_alloc(ch, open->user_data);
	if (!ep)
		return -ENOMEM;
	if (bulk_local_is(ch, &remote)) {
		ep->local = bulk_local_alloc(ep);
		if (!ep->local) {
			bulk_ep_put(ep);
			return -ENOMEM;
		}
	}

	mutex_lock(&ch->mutex);
	if (ch->nr_eps >= BULK_MAX_ENDPOINTS)
		err = -ENOSPC;
	else if (READ_ONCE(ch->dead) || READ_ONCE(ch->removed))
		err = -ENODEV;
	else if (ep->local)
		err = ep_open_local(ep, open->token);
	else
		err = ep_open_remote(ep, &remote, open->token,
				     open->flags & RDMA_BULK_EP_FIRST);
	if (!err) {
		ch->nr_eps++;
		open->ep = ep->handle;
	}
	mutex_unlock(&ch->mutex);
	if (err)
		bulk_ep_put(ep);
	return err;
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
		bulk_rchan_detach(ep);
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
	.wake		= ep_wake,
	.free		= bulk_op_drop_spares,
	.report		= ep_report_due,
	.window_due	= bulk_inbound_due,
	.sender_waits	= bulk_local_waits,
	.sender_wake	= bulk_local_wake,
	.sender_gone	= bulk_local_gone,
};
