// SPDX-License-Identifier: GPL-2.0 OR BSD-3-Clause
/*
 * Links: the association of two hosts over one device in one network namespace.
 *
 * A link begins with the first endpoint that needs it (active side) or with a
 * connection request (passive side). It owns one control lane. All its slow
 * decisions are made by one worker, link->work, which looks at what has changed
 * and does what is due; everybody else only changes state under link->mutex (or
 * a list under link->lock) and kicks the worker. Control messages are handled in
 * the control lane's completion worker, under link->mutex.
 *
 * Both ends connecting at once: the connection of the lower address wins. The
 * winner turns the other's request away with BULK_REJECT_RETRY; the loser, on
 * seeing the winner's request, drops its own attempt and accepts. A request for
 * a link that is up is turned away too, and ends that link if it comes from
 * another load of the module (the peer has restarted). Who is told to retry, or
 * whose connection is taken for an old one (cm_rejected), does so for
 * BULK_PATIENCE; so does who has accepted one that the peer then gave up, if
 * endpoints wait for it.
 *
 * A host's link to itself is two structures: the connecting one, on which
 * endpoints are opened, and the accepted half.
 *
 * Whatever is asked of a peer has a time to be answered in (link_answer_time()),
 * which the worker looks at every LINK_WATCH while something is asked.
 *
 * Death: state FAILED, by whoever notices; the worker tears down: control lane,
 * data lanes (which fences the peer's access to memory), endpoints, inbound
 * channels, keys; then the link leaves its device's list.
 */
#include <linux/sysfs.h>
#include "link.h"
#include "base/trace.h"

#define LINK_WATCH	(5 * HZ)

static DECLARE_WAIT_QUEUE_HEAD(links_gone);

/* --------------------------------------------------------------- references */

struct bulk_link *bulk_link_get_ref(struct bulk_link *link)
{
	kref_get(&link->ref);
	return link;
}

static void link_release(struct kref *ref)
{
	struct bulk_link *link = container_of(ref, struct bulk_link, ref);
	struct bulk_ctl_msg *msg, *next;

	/* what was queued after link_teardown(): answers, revocations */
	list_for_each_entry_safe(msg, next, &link->ctl_queue, list)
		kfree(msg);
	kfree(link->ctl);
	xa_destroy(&link->rchans);
	xa_destroy(&link->inbounds);
	put_net(link->net);
	bulk_dev_put(link->dev);
	kfree(link);
}

void bulk_link_put(struct bulk_link *link)
{
	kref_put(&link->ref, link_release);
}

void bulk_link_kick(struct bulk_link *link)
{
	kref_get(&link->ref);
	if (!queue_work(bulk_wq, &link->work))
		bulk_link_put(link);
}

void bulk_link_kick_later(struct bulk_link *link, unsigned long delay)
{
	kref_get(&link->ref);
	if (!queue_delayed_work(bulk_wq, &link->retry, delay))
		bulk_link_put(link);
}

static const char *const link_state_names[] = {
	[BULK_LINK_CONNECTING]	= "connecting",
	[BULK_LINK_HELLO]	= "hello",
	[BULK_LINK_READY]	= "ready",
	[BULK_LINK_FAILED]	= "failed",
};

static void link_set_state(struct bulk_link *link, enum bulk_link_state state)
{
	lockdep_assert_held(&link->mutex);
	WRITE_ONCE(link->state, state);
	trace_bulk_link_state(link, &link->remote, link_state_names[state], link->err);
}

void bulk_link_fail(struct bulk_link *link, int err)
{
	mutex_lock(&link->mutex);
	if (link->state != BULK_LINK_FAILED) {
		link->err = err;
		link_set_state(link, BULK_LINK_FAILED);
	}
	mutex_unlock(&link->mutex);
	bulk_link_kick(link);
}

/* --------------------------------------------------------- control messages */

/*
 * What counts against the peer. Our own questions do not: there is at most one for
 * each remote channel, inbound channel, key and region that there is.
 */
static bool ctl_is_answer(enum bulk_type type)
{
	switch (type) {
	case BULK_OPENED:
	case BULK_REFUSED:
	case BULK_KEY_RESOLVED:
	case BULK_KEY_REFUSED:
	case BULK_KEY_REVOKED:
		return true;
	default:
		return false;
	}
}

/**
 * bulk_ctl_alloc - a control message
 * @link: the link
 * @type: its type
 * @len: whole length, header included
 * @gfp: as the context allows
 *
 * Return: the zeroed message with its header filled in, or NULL.
 */
void *bulk_ctl_alloc(struct bulk_link *link, enum bulk_type type, u32 len, gfp_t gfp)
{
	struct bulk_ctl_msg *msg = kzalloc(struct_size(msg, data, len), gfp);
	struct bulk_hdr *h;

	if (!msg)
		return NULL;
	msg->link = link;
	msg->len = len;
	msg->weight = ctl_is_answer(type) ? struct_size(msg, data, len) : 0;
	h = (struct bulk_hdr *)msg->data;
	h->type = type;
	h->length = cpu_to_le32(len);
	return h;
}

/* Free a message that is not to be queued after all. */
void bulk_ctl_free(void *data)
{
	kfree(container_of(data, struct bulk_ctl_msg, data));
}

static void ctl_sent(struct bulk_wr *wr, enum ib_wc_status status)
{
	struct bulk_ctl_msg *msg = wr->priv;

	ib_dma_unmap_single(wr->smbd->ibdev, msg->dma, msg->len, DMA_TO_DEVICE);
	kfree(msg);
}

static void ctl_pump(struct bulk_link *link)
{
	struct bulk_ctl_msg *msg;
	struct bulk_smbd *smbd;
	struct ib_sge sge;
	struct bulk_wr *wr;

	if (READ_ONCE(link->state) != BULK_LINK_HELLO &&
	    READ_ONCE(link->state) != BULK_LINK_READY)
		return;
	smbd = &link->ctl->smbd;
	spin_lock_bh(&smbd->lock);
	while (bulk_smbd_can_send(smbd)) {
		wr = bulk_smbd_get_wr(smbd, 1);
		if (!wr)
			break;
		spin_lock(&link->lock);
		msg = list_first_entry_or_null(&link->ctl_queue, struct bulk_ctl_msg, list);
		if (msg) {
			list_del(&msg->list);
			link->ctl_queued -= msg->weight;
		}
		spin_unlock(&link->lock);
		if (!msg) {
			bulk_smbd_put_wr(smbd, wr);
			break;
		}
		msg->dma = ib_dma_map_single(smbd->ibdev, msg->data, msg->len, DMA_TO_DEVICE);
		if (ib_dma_mapping_error(smbd->ibdev, msg->dma)) {
			bulk_smbd_put_wr(smbd, wr);
			spin_lock(&link->lock);
			list_add(&msg->list, &link->ctl_queue);
			link->ctl_queued += msg->weight;
			spin_unlock(&link->lock);
			break;
		}
		wr->priv = msg;
		wr->done = ctl_sent;
		wr->bytes = msg->len;
		sge.addr = msg->dma;
		sge.length = msg->len;
		sge.lkey = smbd->pd->local_dma_lkey;
		bulk_smbd_send(smbd, wr, 0, &sge, 1, msg->len);
	}
	spin_unlock_bh(&smbd->lock);
}

/**
 * bulk_ctl_queue - send a control message
 * @link: the link
 * @data: from bulk_ctl_alloc(); consumed
 *
 * A peer that lets the queue grow without end is cut off.
 */
void bulk_ctl_queue(struct bulk_link *link, void *data)
{
	struct bulk_ctl_msg *msg = container_of(data, struct bulk_ctl_msg, data);
	bool over;

	trace_bulk_control_send(link, ((struct bulk_hdr *)data)->type, msg->len);
	spin_lock_bh(&link->lock);
	list_add_tail(&msg->list, &link->ctl_queue);
	link->ctl_queued += msg->weight;
	over = link->ctl_queued > BULK_CTL_QUEUE_MAX;
	spin_unlock_bh(&link->lock);
	if (over && READ_ONCE(link->state) == BULK_LINK_READY) {
		pr_warn_ratelimited("%pISc does not take its control messages, closing the link\n",
				    &link->remote);
		bulk_smbd_fail(&link->ctl->smbd, -EPROTO);
	} else {
		ctl_pump(link);
	}
}

static void ctl_hello(struct bulk_link *link)
{
	struct bulk_hello *m = bulk_ctl_alloc(link, BULK_HELLO, sizeof(*m), GFP_KERNEL);

	if (!m) {
		bulk_smbd_fail(&link->ctl->smbd, -ENOMEM);
		return;
	}
	m->version_min = cpu_to_le16(BULK_WIRE_VERSION);
	m->version_max = cpu_to_le16(BULK_WIRE_VERSION);
	m->features = cpu_to_le32(BULK_FEATURE_GATHER | BULK_FEATURE_FIRST);
	m->instance = cpu_to_le64(bulk_instance);
	m->max_message = cpu_to_le32(RDMA_BULK_SLOT_PAYLOAD);
	link->hello_sent = true;
	bulk_ctl_queue(link, m);
}

static void ctl_ready(struct bulk_smbd *smbd)
{
	struct bulk_conn *conn = container_of(smbd, struct bulk_conn, smbd);
	struct bulk_link *link = conn->context;

	mutex_lock(&link->mutex);
	if (link->state == BULK_LINK_CONNECTING && link->ctl == conn) {
		link_set_state(link, BULK_LINK_HELLO);
		link->hello_since = jiffies;
		ctl_hello(link);
		bulk_link_kick(link);
	}
	mutex_unlock(&link->mutex);
}

static int ctl_recv_hello(struct bulk_link *link, const struct bulk_hello *m)
{
	if (link->state != BULK_LINK_HELLO)
		return -EPROTO;
	if (le16_to_cpu(m->version_min) > BULK_WIRE_VERSION ||
	    le16_to_cpu(m->version_max) < BULK_WIRE_VERSION ||
	    le32_to_cpu(m->max_message) < RDMA_BULK_SLOT_PAYLOAD) {
		pr_warn_ratelimited("%pISc speaks bulk versions %u to %u, not %u\n",
				    &link->remote, le16_to_cpu(m->version_min),
				    le16_to_cpu(m->version_max), BULK_WIRE_VERSION);
		return -EPROTONOSUPPORT;
	}
	link->peer_instance = le64_to_cpu(m->instance);
	link->features = le32_to_cpu(m->features);
	link_set_state(link, BULK_LINK_READY);
	bulk_link_kick(link);
	return 0;
}

/*
 * The lane of a user, made if need be, a reference; NULL if it cannot be, then
 * who asked for it times out. Leaves link->mutex for a while, because finding
 * the user takes its device's.
 */
static struct bulk_lane *link_user_lane(struct bulk_link *link, kuid_t uid)
{
	struct bulk_lane *lane = NULL;
	struct bulk_user *user;

	mutex_unlock(&link->mutex);
	user = bulk_user_get(link->dev, link->port, uid);
	mutex_lock(&link->mutex);
	if (IS_ERR(user))
		return NULL;
	if (link->state == BULK_LINK_READY)
		lane = bulk_lane_get(link, uid, user);
	mutex_unlock(&link->mutex);
	bulk_user_put(user);
	mutex_lock(&link->mutex);
	return IS_ERR(lane) ? NULL : lane;
}

/* Only the side that connected the control lane connects data lanes. */
static int ctl_recv_lane_want(struct bulk_link *link, const struct bulk_lane_want *m)
{
	kuid_t uid = make_kuid(&init_user_ns, le32_to_cpu(m->uid));
	struct bulk_lane *lane;

	if (link->active || !uid_valid(uid))
		return -EPROTO;
	lane = link_user_lane(link, uid);
	if (lane) {
		bulk_lane_wanted(lane);
		bulk_lane_work(lane);	/* offers a new one */
		bulk_lane_put(lane);
	}
	return 0;
}

static int ctl_recv_lane_offer(struct bulk_link *link, const struct bulk_lane_offer *m)
{
	kuid_t uid = make_kuid(&init_user_ns, le32_to_cpu(m->uid));
	u64 token = le64_to_cpu(m->token);
	struct bulk_lane *lane;

	if (!link->active || !uid_valid(uid) || !token)
		return -EPROTO;
	lane = link_user_lane(link, uid);
	if (lane && lane->state >= BULK_LANE_CONNECTING && lane->conn.token != token) {
		/*
		 * The peer has lost this one, or it would not offer another. If it
		 * was not up yet, it is this one that is connected again.
		 */
		WRITE_ONCE(lane->conn.reject, BULK_REJECT_RETRY);
		bulk_smbd_fail(&lane->conn.smbd, -ECONNRESET);
		bulk_lane_put(lane);
		lane = link_user_lane(link, uid);
	}
	if (!lane)
		return 0;
	if (lane->state < BULK_LANE_CONNECTING || bulk_lane_again(lane)) {
		lane->conn.token = token;
		lane->state = BULK_LANE_OFFERED;
		lane->since = jiffies;
		bulk_link_kick(link);	/* connecting needs a kernel worker */
	}
	bulk_lane_put(lane);
	return 0;
}

static const u32 ctl_min_len[] = {
	[BULK_HELLO]		= sizeof(struct bulk_hello),
	[BULK_LANE_WANT]	= sizeof(struct bulk_lane_want),
	[BULK_LANE_OFFER]	= sizeof(struct bulk_lane_offer),
	[BULK_OPEN]		= sizeof(struct bulk_open),
	[BULK_OPENED]		= sizeof(struct bulk_opened),
	[BULK_REFUSED]		= sizeof(struct bulk_refused),
	[BULK_CLOSED]		= sizeof(struct bulk_closed),
	[BULK_WINDOW]		= sizeof(struct bulk_window),
	[BULK_KEY_RESOLVE]	= sizeof(struct bulk_key_resolve),
	[BULK_KEY_RESOLVED]	= sizeof(struct bulk_key_resolved),
	[BULK_KEY_REFUSED]	= sizeof(struct bulk_refused),
	[BULK_KEY_REVOKE]	= sizeof(struct bulk_key_revoke),
	[BULK_KEY_REVOKED]	= sizeof(struct bulk_key_revoke),
};

static int ctl_dispatch(struct bulk_link *link, const struct bulk_hdr *h)
{
	const struct bulk_refused *refused = (const void *)h;
	const struct bulk_opened *opened = (const void *)h;
	const struct bulk_closed *closed = (const void *)h;
	const struct bulk_window *window = (const void *)h;
	const struct bulk_key_revoke *revoke = (const void *)h;

	if (h->type == BULK_HELLO)
		return ctl_recv_hello(link, (const void *)h);
	if (link->state == BULK_LINK_FAILED)
		return 0;
	if (link->state != BULK_LINK_READY)
		return -EPROTO;

	switch (h->type) {
	case BULK_LANE_WANT:
		return ctl_recv_lane_want(link, (const void *)h);
	case BULK_LANE_OFFER:
		return ctl_recv_lane_offer(link, (const void *)h);
	case BULK_OPEN:
		return bulk_inbound_open(link, (const void *)h);
	case BULK_OPENED:
		return bulk_rchan_opened(link, opened);
	case BULK_REFUSED:
		bulk_rchan_closed(link, le32_to_cpu(refused->id), -ECONNREFUSED);
		return 0;
	case BULK_CLOSED:
		if (!(h->flags & BULK_CLOSED_TARGET))
			return bulk_inbound_closed(link, le32_to_cpu(closed->id),
						   le64_to_cpu(closed->last));
		bulk_rchan_closed(link, le32_to_cpu(closed->id), -ECONNRESET);
		return 0;
	case BULK_WINDOW:
		bulk_rchan_window(link, le32_to_cpu(window->opener),
				  le32_to_cpu(window->limit));
		return 0;
	case BULK_KEY_RESOLVE:
		return bulk_key_resolve(link, (const void *)h);
	case BULK_KEY_RESOLVED:
		return bulk_key_resolved(link, (const void *)h);
	case BULK_KEY_REFUSED:
		bulk_key_refused(link, le32_to_cpu(refused->id));
		return 0;
	case BULK_KEY_REVOKE:
		bulk_key_revoke(link, le32_to_cpu(revoke->id), le32_to_cpu(revoke->generation));
		return 0;
	case BULK_KEY_REVOKED:
		bulk_region_answered(link, le32_to_cpu(revoke->id),
				     le32_to_cpu(revoke->generation));
		return 0;
	}
	return -EPROTO;
}

static u8 ctl_flags(u8 type)
{
	switch (type) {
	case BULK_OPEN:
		return BULK_OPEN_FIRST;
	case BULK_OPENED:
		return BULK_OPENED_FIRST;
	case BULK_CLOSED:
		return BULK_CLOSED_TARGET;
	}
	return 0;
}

/* The length suits the type: what follows the fixed part is checked with its content. */
static bool ctl_length(const struct bulk_hdr *h, u32 len)
{
	u32 least;

	if (h->type >= ARRAY_SIZE(ctl_min_len) || !ctl_min_len[h->type])
		return false;
	least = ctl_min_len[h->type];
	if (h->type == BULK_KEY_RESOLVED)
		return len >= least;
	if (h->type == BULK_OPEN && h->flags & BULK_OPEN_FIRST)
		return len >= least + sizeof(struct bulk_first) &&
		       len <= least + sizeof(struct bulk_first) + BULK_FIRST_MAX;
	return len == least;
}

static int ctl_recv(struct bulk_smbd *smbd, const void *data, u32 len)
{
	struct bulk_conn *conn = container_of(smbd, struct bulk_conn, smbd);
	struct bulk_link *link = conn->context;
	const struct bulk_hdr *h = data;
	int err;

	if (len < sizeof(*h) || le32_to_cpu(h->length) != len || h->reserved ||
	    h->flags & ~ctl_flags(h->type) || !ctl_length(h, len))
		return -EPROTO;
	trace_bulk_control_receive(link, h->type, len);
	mutex_lock(&link->mutex);
	err = link->ctl == conn ? ctl_dispatch(link, h) : 0;
	mutex_unlock(&link->mutex);
	return err;
}

static void ctl_kick(struct bulk_smbd *smbd)
{
	ctl_pump(container_of(smbd, struct bulk_conn, smbd)->context);
}

static void ctl_failed(struct bulk_smbd *smbd, int err)
{
	bulk_link_kick(container_of(smbd, struct bulk_conn, smbd)->context);
}

/**
 * bulk_ctl_fail - give the control lane up
 * @link: link that has one
 * @err: why
 *
 * Context: any; ends the link.
 */
void bulk_ctl_fail(struct bulk_link *link, int err)
{
	bulk_smbd_fail(&link->ctl->smbd, err);
}

static struct ib_pd *ctl_pd(struct bulk_conn *conn)
{
	struct bulk_link *link = conn->context;

	if (conn->smbd.cm_id->device != link->dev->ibdev)
		return ERR_PTR(-ENODEV);
	/* one connection at a time makes use of it: conn->setup and link->ctl */
	if (!link->ctl_pd) {
		struct ib_pd *pd = ib_alloc_pd(link->dev->ibdev, 0);

		if (IS_ERR(pd))
			return pd;
		if (cmpxchg(&link->ctl_pd, NULL, pd))
			ib_dealloc_pd(pd);
	}
	return link->ctl_pd;
}

static void ctl_params(struct bulk_conn *conn, struct bulk_smbd_params *params)
{
	params->pdu = BULK_CTL_PDU;
	params->credits = 2 * BULK_RBATCH;
	params->credits_max = params->credits;
	params->sq = 48;
	params->gathers = 0;
	params->rdma = false;
	params->poll = IB_POLL_WORKQUEUE;
}

static const struct bulk_conn_ops ctl_conn_ops = {
	.smbd = {
		.ready	= ctl_ready,
		.recv	= ctl_recv,
		.kick	= ctl_kick,
		.failed	= ctl_failed,
	},
	.pd	= ctl_pd,
	.params	= ctl_params,
};

/* ----------------------------------------------------- regions ask the peer */

void bulk_link_revoke(struct bulk_link *link, u32 id, u32 generation)
{
	struct bulk_key_revoke *m;

	m = bulk_ctl_alloc(link, BULK_KEY_REVOKE, sizeof(*m), GFP_KERNEL);
	if (!m)
		return;		/* the revocation's deadline fences the link */
	m->id = cpu_to_le32(id);
	m->generation = cpu_to_le32(generation);
	mutex_lock(&link->mutex);	/* not before KEY_RESOLVED: resolve_one() */
	bulk_ctl_queue(link, m);
	mutex_unlock(&link->mutex);
}

void bulk_link_fence(struct bulk_link *link, kuid_t uid)
{
	struct bulk_lane *lane;
	bool reachable = false;

	mutex_lock(&link->mutex);
	/* until link_lane_down() says so */
	list_for_each_entry(lane, &link->going, list)
		if (uid_eq(lane->uid, uid))
			reachable = true;
	/* one that has failed can reach memory too; its successor cannot yet */
	list_for_each_entry(lane, &link->lanes, list) {
		if (reachable || !uid_eq(lane->uid, uid))
			continue;
		reachable = true;
		pr_warn_ratelimited("%pISc does not answer a key's revocation, closing the lane of user %u\n",
				    &link->remote, from_kuid(&init_user_ns, uid));
		bulk_smbd_fail(&lane->conn.smbd, -ETIMEDOUT);
	}
	mutex_unlock(&link->mutex);
	if (!reachable)
		bulk_region_link_gone(link, uid);
}

/* ------------------------------------------------------------------ control lane */

static struct bulk_conn *link_new_conn(struct bulk_link *link)
{
	struct bulk_conn *conn = kzalloc(sizeof(*conn), GFP_KERNEL);

	if (!conn)
		return NULL;
	bulk_conn_prepare(conn, &ctl_conn_ops, BULK_CM_CONTROL, link);
	if (!link->attempts++)
		link->first_attempt = jiffies;
	return conn;
}

/* link->mutex held: give up the connection under way or up. */
static void link_drop_ctl(struct bulk_link *link)
{
	struct bulk_conn *conn = link->ctl;

	if (!conn)
		return;
	link->ctl = NULL;
	list_add_tail(&conn->list, &link->dead_conns);
	bulk_smbd_fail(&conn->smbd, -ECANCELED);
	bulk_link_kick(link);
}

static void link_start_connect(struct bulk_link *link)
{
	struct bulk_conn *conn;
	int err;

	lockdep_assert_held(&link->mutex);
	conn = link_new_conn(link);
	if (!conn) {
		link->err = -ENOMEM;
		link_set_state(link, BULK_LINK_FAILED);
		return;
	}
	link->ctl = conn;
	err = bulk_cm_connect(conn, link->net, &link->local, &link->remote);
	if (err)
		bulk_smbd_fail(&conn->smbd, err);
}

static void link_retry(struct work_struct *work)
{
	struct bulk_link *link = container_of(work, struct bulk_link, retry.work);

	bulk_link_kick(link);
	bulk_link_put(link);
}

/* The worker: the control lane has failed. */
static void link_ctl_failed(struct bulk_link *link)
{
	struct bulk_conn *conn = link->ctl;

	if (link->state == BULK_LINK_CONNECTING && conn->reject == BULK_REJECT_RETRY &&
	    (link->active || !xa_empty(&link->rchans)) &&
	    time_before(jiffies, link->first_attempt + BULK_PATIENCE)) {
		link_drop_ctl(link);
		WRITE_ONCE(link->active, true);
		bulk_link_kick_later(link, BULK_RETRY);
		return;
	}
	link->err = conn->smbd.err;
	if (conn->reject == BULK_REJECT_PORT)
		link->err = -EACCES;
	link_set_state(link, BULK_LINK_FAILED);
}

static void link_reap_conns(struct bulk_link *link)
{
	struct bulk_conn *conn;

	while ((conn = list_first_entry_or_null(&link->dead_conns, struct bulk_conn, list))) {
		list_del(&conn->list);
		mutex_unlock(&link->mutex);
		bulk_conn_destroy(conn);
		kfree(conn);
		mutex_lock(&link->mutex);
	}
}

static void link_lane_down(struct bulk_link *link, struct bulk_lane *lane)
{
	kuid_t uid = lane->uid;
	struct bulk_lane *next;

	lockdep_assert_held(&link->mutex);
	list_move(&lane->list, &link->going);
	lane->state = BULK_LANE_FAILED;
	if (lane->wanted && link->state == BULK_LINK_READY) {
		next = bulk_lane_get(link, uid, lane->user);
		if (!IS_ERR(next))
			bulk_lane_put(next);
	}
	mutex_unlock(&link->mutex);
	bulk_lane_destroy(lane);
	mutex_lock(&link->mutex);
	bulk_inbound_drop_all(link, uid);
	mutex_unlock(&link->mutex);
	bulk_region_link_gone(link, uid);
	mutex_lock(&link->mutex);
	list_del_init(&lane->list);
	bulk_lane_put(lane);
}

/*
 * A lane was turned away before it was up. It stays, with its endpoints, and gets
 * another connection. Nobody finds it twice, and none is made beside it.
 */
static void link_lane_again(struct bulk_link *link, struct bulk_lane *lane)
{
	lockdep_assert_held(&link->mutex);
	list_move(&lane->list, &link->going);
	bulk_lane_renew(lane);
	mutex_unlock(&link->mutex);
	bulk_conn_destroy(&lane->conn);
	mutex_lock(&link->mutex);
	/* bulk_link_fence() may have waited for this; not after it can connect */
	bulk_region_link_gone(link, lane->uid);
	bulk_lane_renewed(lane);
	list_move_tail(&lane->list, &link->lanes);
}

/* It could have been given up before the peer's answer came. */
static bool link_lane_succeeded(struct bulk_link *link, struct bulk_lane *lane)
{
	struct bulk_lane *next = lane;

	list_for_each_entry_continue(next, &link->lanes, list)
		if (uid_eq(next->uid, lane->uid))
			return true;
	return false;
}

static void link_reap_lanes(struct bulk_link *link, bool all)
{
	struct bulk_lane *lane;
again:
	list_for_each_entry(lane, &link->lanes, list) {
		if (all)
			bulk_smbd_fail(&lane->conn.smbd, link->err);
		if (!bulk_smbd_has_failed(&lane->conn.smbd))
			continue;
		if (!all && bulk_lane_again(lane) && !link_lane_succeeded(link, lane))
			link_lane_again(link, lane);
		else
			link_lane_down(link, lane);
		goto again;
	}
}

static void link_teardown(struct bulk_link *link)
{
	lockdep_assert_held(&link->mutex);
	if (link->ctl) {
		bulk_smbd_fail(&link->ctl->smbd, link->err);
		mutex_unlock(&link->mutex);
		bulk_conn_destroy(link->ctl);
		mutex_lock(&link->mutex);
	}
	link_reap_conns(link);
	link_reap_lanes(link, true);
	bulk_inbound_drop_all(link, INVALID_UID);
	bulk_rchan_drop_all(link);
	mutex_unlock(&link->mutex);

	if (cancel_delayed_work_sync(&link->retry))
		bulk_link_put(link);
	if (cancel_delayed_work_sync(&link->watch))
		bulk_link_put(link);
	bulk_region_link_gone(link, INVALID_UID);
	bulk_key_drop_all(link);
	if (link->ctl_pd)
		ib_dealloc_pd(link->ctl_pd);
	link->ctl_pd = NULL;

	mutex_lock(&link->dev->mutex);
	list_del_init(&link->dev_list);
	mutex_unlock(&link->dev->mutex);
	bulk_dev_verbs_put(link->dev);
	wake_up_all(&links_gone);
	bulk_link_put(link);	/* the list's */
}

void bulk_link_watch(struct bulk_link *link)
{
	kref_get(&link->ref);
	if (!queue_delayed_work(bulk_wq, &link->watch, LINK_WATCH))
		bulk_link_put(link);
}

static void link_watch(struct work_struct *work)
{
	struct bulk_link *link = container_of(work, struct bulk_link, watch.work);

	bulk_link_kick(link);
	bulk_link_put(link);
}

/*
 * A peer needs time to answer: to register memory, or to notice that a lane we want
 * again is gone, which its keepalive does in two periods at worst.
 */
static unsigned long link_answer_time(void)
{
	return (30 + 2 * bulk_keepalive) * HZ;
}

/* The worker: give up what has not been answered in time. */
static void link_check_answers(struct bulk_link *link)
{
	unsigned long asked = jiffies - link_answer_time();
	bool waiting = link->state == BULK_LINK_HELLO;
	struct bulk_lane *lane;

	lockdep_assert_held(&link->mutex);
	if (waiting && time_before(link->hello_since, asked))
		bulk_smbd_fail(&link->ctl->smbd, -ETIMEDOUT);
	list_for_each_entry(lane, &link->lanes, list) {
		if (lane->state != BULK_LANE_ASKED && lane->state != BULK_LANE_OFFERED &&
		    lane->state != BULK_LANE_CONNECTING)
			continue;
		waiting = true;
		if (time_before(lane->since, asked))
			bulk_smbd_fail(&lane->conn.smbd, -ETIMEDOUT);
	}
	/* OPEN is answered without any waiting: the peer is out of order */
	if (bulk_rchan_waiting(link, asked, &waiting))
		bulk_smbd_fail(&link->ctl->smbd, -ETIMEDOUT);
	if (bulk_key_waiting(link, asked))
		waiting = true;
	if (waiting)
		bulk_link_watch(link);
}

static void link_work(struct work_struct *work)
{
	struct bulk_link *link = container_of(work, struct bulk_link, work);

	mutex_lock(&link->mutex);
	link_reap_conns(link);
	if (link->state != BULK_LINK_FAILED && link->ctl &&
	    bulk_smbd_has_failed(&link->ctl->smbd))
		link_ctl_failed(link);
	if (link->state == BULK_LINK_CONNECTING && link->active && !link->ctl &&
	    !delayed_work_pending(&link->retry))
		link_start_connect(link);
	if (link->state == BULK_LINK_FAILED) {
		if (!list_empty(&link->dev_list)) {
			link_teardown(link);
			goto out;
		}
	} else {
		link_reap_lanes(link, false);
	}
	if (link->state == BULK_LINK_READY) {
		struct bulk_lane *lane;

		list_for_each_entry(lane, &link->lanes, list)
			bulk_lane_work(lane);
		bulk_inbound_work(link);
		bulk_key_work(link);
	}
	if (link->state != BULK_LINK_FAILED) {
		bulk_rchan_work(link);
		link_check_answers(link);
	}
	mutex_unlock(&link->mutex);
out:
	bulk_link_put(link);
}

/* ----------------------------------------------------------- making and finding */

static struct bulk_link *link_create(struct net *net, struct bulk_dev *dev, u8 port,
				     const union bulk_addr *local,
				     const union bulk_addr *remote)
{
	struct bulk_link *link = kzalloc(sizeof(*link), GFP_KERNEL);

	lockdep_assert_held(&dev->mutex);
	if (!link)
		return ERR_PTR(-ENOMEM);
	if (!bulk_dev_verbs_get(dev)) {
		kfree(link);
		return ERR_PTR(-ENODEV);
	}
	kref_init(&link->ref);
	link->dev = bulk_dev_get(dev);
	link->net = get_net(net);
	link->port = port;
	link->local = *local;
	link->remote = *remote;
	mutex_init(&link->mutex);
	spin_lock_init(&link->lock);
	INIT_LIST_HEAD(&link->lanes);
	INIT_LIST_HEAD(&link->going);
	init_waitqueue_head(&link->key_wait);
	INIT_LIST_HEAD(&link->dead_conns);
	INIT_LIST_HEAD(&link->ctl_queue);
	INIT_LIST_HEAD(&link->dirty);
	INIT_LIST_HEAD(&link->key_lru);
	INIT_LIST_HEAD(&link->revoked);
	hash_init(link->keys);
	xa_init_flags(&link->rchans, XA_FLAGS_ALLOC1);
	xa_init_flags(&link->inbounds, XA_FLAGS_ALLOC1);
	INIT_WORK(&link->work, link_work);
	INIT_DELAYED_WORK(&link->retry, link_retry);
	INIT_DELAYED_WORK(&link->watch, link_watch);
	list_add_tail(&link->dev_list, &dev->links);
	return link;
}

/*
 * dev->mutex held. One that was accepted has the port its peer came from; should it
 * have to connect itself, it needs the one that the peer listens at.
 */
static void link_note_port(struct bulk_link *link, const union bulk_addr *remote)
{
	mutex_lock(&link->mutex);
	if (link->state == BULK_LINK_CONNECTING && !link->active)
		link->remote = *remote;
	mutex_unlock(&link->mutex);
}

/*
 * dev->mutex held; a live link, no reference. @port: one that is being connected to
 * another port does not count, since processes choose ports.
 */
static struct bulk_link *link_find(struct bulk_dev *dev, struct net *net,
				   const union bulk_addr *local,
				   const union bulk_addr *remote, bool half, __be16 port)
{
	struct bulk_link *link;

	lockdep_assert_held(&dev->mutex);
	list_for_each_entry(link, &dev->links, dev_list)
		if (net_eq(link->net, net) && link->half == half &&
		    READ_ONCE(link->state) != BULK_LINK_FAILED &&
		    (READ_ONCE(link->state) == BULK_LINK_READY ||
		     !READ_ONCE(link->active) ||
		     bulk_addr_port(&link->remote) == port) &&
		    bulk_addr_equal(&link->local, local) &&
		    bulk_addr_equal(&link->remote, remote))
			return link;
	return NULL;
}

/**
 * bulk_link_open - the link to a host, begun if need be
 * @ch: channel whose device and namespace it uses
 * @remote: the other host's address, with port
 *
 * Return: a reference, or ERR_PTR.
 */
struct bulk_link *bulk_link_open(struct bulk_channel *ch, const union bulk_addr *remote)
{
	struct bulk_dev *dev = ch->dev;
	struct bulk_link *link;

	mutex_lock(&dev->mutex);
	link = link_find(dev, ch->net, &ch->addr, remote, false, bulk_addr_port(remote));
	if (link) {
		bulk_link_get_ref(link);
		link_note_port(link, remote);
	} else {
		link = link_create(ch->net, dev, ch->port, &ch->addr, remote);
		if (!IS_ERR(link)) {
			link->active = true;
			bulk_link_get_ref(link);
			bulk_link_kick(link);
		}
	}
	mutex_unlock(&dev->mutex);
	return link;
}

/**
 * bulk_link_half - the other end of a host's link to itself
 * @link: any link
 *
 * Return: a reference on the accepted half; NULL for a link to another host.
 */
struct bulk_link *bulk_link_half(struct bulk_link *link)
{
	struct bulk_dev *dev = link->dev;
	struct bulk_link *half;

	if (link->half || !bulk_addr_equal(&link->local, &link->remote))
		return NULL;
	mutex_lock(&dev->mutex);
	half = link_find(dev, link->net, &link->local, &link->remote, true, 0);
	if (half)
		bulk_link_get_ref(half);
	mutex_unlock(&dev->mutex);
	return half;
}

static struct bulk_conn *link_accept(struct bulk_link *link, const struct bulk_conn_request *req)
{
	struct bulk_conn *conn = link_new_conn(link);

	lockdep_assert_held(&link->mutex);
	if (!conn)
		return ERR_PTR(-ENOMEM);
	bulk_conn_take(conn, req);
	WRITE_ONCE(link->active, false);
	link->ctl = conn;
	return conn;
}

static struct bulk_conn *link_request(const struct bulk_conn_request *req, u32 *reason)
{
	const union bulk_addr *local = &req->local, *remote = &req->remote;
	bool self = bulk_addr_equal(local, remote);
	struct bulk_dev *dev = req->dev;
	struct bulk_conn *conn = ERR_PTR(-EALREADY);
	struct bulk_link *link, *stale = NULL;

	*reason = BULK_REJECT_RETRY;
	mutex_lock(&dev->mutex);
	link = link_find(dev, req->net, local, remote, self, htons(bulk_port));
	if (!link) {
		link = link_create(req->net, dev, req->port, local, remote);
		if (IS_ERR(link)) {
			if (PTR_ERR(link) != -ENODEV)	/* else it goes */
				*reason = BULK_REJECT_NOMEM;
			conn = ERR_CAST(link);
			goto out;
		}
		mutex_lock(&link->mutex);
		link->half = self;
		conn = link_accept(link, req);
		if (IS_ERR(conn)) {
			link->err = -ENOMEM;
			link_set_state(link, BULK_LINK_FAILED);
			bulk_link_kick(link);
		}
		mutex_unlock(&link->mutex);
		goto out;
	}
	mutex_lock(&link->mutex);
	if (link->state == BULK_LINK_CONNECTING && link->active &&
	    (!link->ctl || bulk_addr_cmp(local, remote) > 0)) {
		link_drop_ctl(link);
		conn = link_accept(link, req);
	} else if (self || (link->peer_instance && req->instance &&
			    req->instance != link->peer_instance)) {
		stale = bulk_link_get_ref(link);
	}
	mutex_unlock(&link->mutex);
out:
	mutex_unlock(&dev->mutex);
	if (stale) {
		bulk_link_fail(stale, -ECONNRESET);
		bulk_link_put(stale);
	}
	return conn;
}

static struct bulk_conn *lane_request(const struct bulk_conn_request *req, u32 *reason)
{
	const union bulk_addr *local = &req->local, *remote = &req->remote;
	struct bulk_dev *dev = req->dev;
	struct bulk_conn *conn = ERR_PTR(-EACCES);
	struct bulk_link *link;
	struct bulk_lane *lane;

	*reason = BULK_REJECT_TOKEN;
	mutex_lock(&dev->mutex);
	link = link_find(dev, req->net, local, remote, bulk_addr_equal(local, remote),
			 htons(bulk_port));
	if (link) {
		mutex_lock(&link->mutex);
		list_for_each_entry(lane, &link->lanes, list) {
			if (link->state != BULK_LINK_READY || !req->token ||
			    lane->token != req->token || lane->state != BULK_LANE_ASKED)
				continue;
			lane->token = 0;
			lane->state = BULK_LANE_CONNECTING;
			lane->since = jiffies;
			conn = &lane->conn;
			bulk_conn_take(conn, req);
			break;
		}
		mutex_unlock(&link->mutex);
	}
	mutex_unlock(&dev->mutex);
	return conn;
}

/*
 * A connection request. A data lane is accepted with a token that was offered; a control
 * lane by the rule at the top.
 */
static struct bulk_conn *link_accept_request(const struct bulk_conn_request *req, u32 *reason)
{
	return req->kind == BULK_CM_DATA ? lane_request(req, reason) : link_request(req, reason);
}

static const struct bulk_listen_ops link_listen_ops = {
	.accept	= link_accept_request,
};

/* ------------------------------------------------------------------- the end */

/* @net NULL: of all namespaces */
static void link_fail_all(struct bulk_dev *dev, struct net *net, int err)
{
	struct bulk_link *link;

	mutex_lock(&dev->mutex);
	list_for_each_entry(link, &dev->links, dev_list)
		if (!net || net_eq(link->net, net))
			bulk_link_fail(link, err);
	mutex_unlock(&dev->mutex);
}

/*
 * A device is going, no link is made on it any more: tear down those there are. Depends
 * on no peer: queue pairs go to error and are drained.
 */
static void links_removing(struct bulk_dev *dev)
{
	link_fail_all(dev, NULL, -ENODEV);
	wait_event(links_gone, list_empty_careful(&dev->links));
}

static struct bulk_dev_client link_dev_client = {
	.removing	= links_removing,
};

/**
 * bulk_link_init - at module load
 */
void bulk_link_init(void)
{
	bulk_dev_client_add(&link_dev_client);
}

static int link_net_gone_one(struct bulk_dev *dev, void *net)
{
	link_fail_all(dev, net, -ENETDOWN);
	return 0;
}

/**
 * bulk_link_listen - a channel begins in a network namespace
 * @net: the namespace
 *
 * Return: 0 or negative errno (-EADDRINUSE: somebody else has the port).
 */
int bulk_link_listen(struct net *net)
{
	return bulk_cm_listen(net, &link_listen_ops);
}

/**
 * bulk_link_unlisten - a channel has ended
 * @net: its network namespace
 *
 * With the last one, links of the namespace end, since their ids hold it; the
 * initial namespace's stay warm.
 */
void bulk_link_unlisten(struct net *net)
{
	if (bulk_cm_unlisten(net))
		bulk_dev_for_each(link_net_gone_one, net);
}

struct link_show_ctx {
	char *buf;
	int len;
};

static int link_show_dev(struct bulk_dev *dev, void *arg)
{
	struct link_show_ctx *ctx = arg;
	struct bulk_link *link;

	mutex_lock(&dev->mutex);
	list_for_each_entry(link, &dev->links, dev_list) {
		struct bulk_lane *lane;
		unsigned int lanes = 0;

		if (!net_eq(link->net, current->nsproxy->net_ns))
			continue;
		mutex_lock(&link->mutex);
		list_for_each_entry(lane, &link->lanes, list)
			lanes++;
		ctx->len += sysfs_emit_at(ctx->buf, ctx->len, "%s:%u %pISc %pISc %s%s lanes=%u\n",
					  dev_name(&dev->ibdev->dev), link->port,
					  &link->local, &link->remote,
					  link_state_names[link->state],
					  link->half ? " half" : "", lanes);
		mutex_unlock(&link->mutex);
	}
	mutex_unlock(&dev->mutex);
	return 0;
}

/**
 * bulk_link_show - the links of the reader's network namespace, for sysfs
 * @buf: a page
 *
 * Return: bytes written: a line per link, as many as fit.
 */
ssize_t bulk_link_show(char *buf)
{
	struct link_show_ctx ctx = { .buf = buf };

	bulk_dev_for_each(link_show_dev, &ctx);
	return ctx.len;
}
