// SPDX-License-Identifier: GPL-2.0 OR BSD-3-Clause
/*
 * The life of data lanes: one RC queue pair per user and link
 *
 * Only the side that connected the control lane connects data lanes, so two never come
 * into being at once: it asks (LANE_WANT) and the other offers (LANE_OFFER, with a one-time
 * token), or that offers by itself; then the lane is connected with the token.
 *
 * Locks: link->mutex covers lists, states and all that is asked and offered.
 *
 * Death: bulk_smbd_fail() by anybody; the link's worker calls
 * bulk_lane_end(): nothing new is posted, unposted operations end, the
 * queue pair is drained, which ends the rest. One that was turned away before it
 * was ever up, for a reason that passes (bulk_lane_again), has no operations and
 * was never told of in an OPEN: only its connection is destroyed, and it begins
 * anew, for BULK_PATIENCE.
 */
#include "base/trace.h"
#include "link/private.h"

static void lane_end_work(struct work_struct *work);

#define LANE_CREDITS	BULK_RBATCH
#define LANE_CREDITS_MAX (BULK_RBATCHES_MAX * BULK_RBATCH)
#define LANE_SQ		256
#define LANE_GATHERS	4		/* PDUs of small messages under way */

static struct bulk_lane *smbd_lane(struct bulk_smbd *smbd)
{
	return container_of(smbd, struct bulk_lane, conn.smbd);
}

/* ------------------------------------------------------------------ its connection */

static void lane_ready(struct bulk_smbd *smbd)
{
	struct bulk_lane *lane = smbd_lane(smbd);

	spin_lock_bh(&smbd->lock);
	lane->up = true;
	spin_unlock_bh(&smbd->lock);
	bulk_link_kick(lane->link);
}

static void lane_kick(struct bulk_smbd *smbd)
{
	bulk_lane_pump(smbd_lane(smbd));
}

static void lane_failed(struct bulk_smbd *smbd, int err)
{
	bulk_link_kick(smbd_lane(smbd)->link);
}

static struct ib_pd *lane_pd(struct bulk_conn *conn)
{
	struct bulk_lane *lane = conn->context;

	if (conn->smbd.cm_id->device != lane->link->dev->ibdev)
		return ERR_PTR(-ENODEV);
	return lane->user->pd;
}

static void lane_params(struct bulk_conn *conn, struct bulk_smbd_params *params)
{
	params->pdu = BULK_DATA_PDU;
	params->credits = LANE_CREDITS;
	params->credits_max = LANE_CREDITS_MAX;
	params->sq = LANE_SQ;
	params->gathers = LANE_GATHERS;
	params->rdma = true;
	/*
	 * Software devices complete in a worker. Raising a softirq there
	 * wakes ksoftirqd, which competes with processes that poll; the
	 * completion workers have a high priority.
	 */
	params->poll = ib_uses_virt_dma(conn->smbd.cm_id->device) ?
		       IB_POLL_WORKQUEUE : IB_POLL_SOFTIRQ;
}

const struct bulk_conn_ops bulk_lane_conn_ops = {
	.smbd = {
		.ready	= lane_ready,
		.recv	= bulk_lane_recv,
		.kick	= lane_kick,
		.failed	= lane_failed,
	},
	.pd	= lane_pd,
	.params	= lane_params,
};

/* ------------------------------------------------------------------ references */

static void lane_free_work(struct work_struct *work)
{
	struct bulk_lane *lane = container_of(work, struct bulk_lane, free_work);

	bulk_link_put(lane->link);
	kfree(lane);
}

static void lane_release(struct kref *ref)
{
	struct bulk_lane *lane = container_of(ref, struct bulk_lane, ref);

	INIT_WORK(&lane->free_work, lane_free_work);
	queue_work(bulk_end_wq, &lane->free_work);
}

/**
 * bulk_lane_put - drop a reference
 * @lane: lane
 *
 * Context: any.
 */
void bulk_lane_put(struct bulk_lane *lane)
{
	kref_put(&lane->ref, lane_release);
}

/**
 * bulk_lane_find - the lane of a user
 * @link: link, its mutex held
 * @uid: user
 *
 * Return: a reference, or NULL. Never one that has failed, unless it is connected
 * again.
 */
struct bulk_lane *bulk_lane_find(struct bulk_link *link, kuid_t uid)
{
	struct bulk_lane *lane;

	lockdep_assert_held(&link->mutex);
	list_for_each_entry(lane, &link->lanes, list)
		if (uid_eq(lane->uid, uid) &&
		    (!bulk_smbd_has_failed(&lane->conn.smbd) || bulk_lane_again(lane)))
			goto found;
	/* one that comes back */
	list_for_each_entry(lane, &link->going, list)
		if (uid_eq(lane->uid, uid) && lane->state != BULK_LANE_FAILED)
			goto found;
	return NULL;
found:
	kref_get(&lane->ref);
	return lane;
}

/**
 * bulk_lane_again - is a lane that was turned away to be connected again?
 * @lane: link->mutex held
 *
 * A token is unknown to a peer that has lost the lane it was for: it offers another
 * if it is asked.
 *
 * Return: true if its smbd has failed for a reason that passes and it was never up.
 */
bool bulk_lane_again(struct bulk_lane *lane)
{
	u32 reject;

	lockdep_assert_held(&lane->link->mutex);
	if (!bulk_smbd_has_failed(&lane->conn.smbd) || lane->state >= BULK_LANE_READY ||
	    READ_ONCE(lane->up))
		return false;
	reject = READ_ONCE(lane->conn.reject);
	if (reject != BULK_REJECT_RETRY && reject != BULK_REJECT_TOKEN)
		return false;
	return !lane->refusals || time_before(jiffies, lane->first_refusal + BULK_PATIENCE);
}

/*
 * Begin anew with a lane that was turned away; its connection is to be destroyed. An offer
 * that comes meanwhile is kept.
 */
static void lane_renew(struct bulk_lane *lane)
{
	trace_bulk_lane_state(lane, lane->link, lane->uid, "again", lane->conn.smbd.err);
	if (!lane->refusals++)
		lane->first_refusal = jiffies;
	lane->not_before = jiffies + BULK_RETRY;
	lane->token = 0;
	lane->wanted = false;
	if (lane->state != BULK_LANE_OFFERED)
		lane->state = BULK_LANE_NEW;
}

/* link->mutex held: an older lane of the same user is not yet destroyed. */
static bool lane_has_predecessor(struct bulk_lane *lane)
{
	struct bulk_link *link = lane->link;
	struct bulk_lane *old;

	list_for_each_entry(old, &link->going, list)
		if (uid_eq(old->uid, lane->uid))
			return true;
	list_for_each_entry(old, &link->lanes, list) {
		if (old == lane)	/* younger ones are behind it */
			break;
		if (uid_eq(old->uid, lane->uid))
			return true;
	}
	return false;
}

/* Nothing above uses it (any more). */
static bool lane_is_idle(struct bulk_lane *lane)
{
	return lane->state == BULK_LANE_READY && !bulk_link_uses_lane(lane);
}

/* Make a place for another user: end the oldest lane that nobody uses. */
static bool lane_drop_idle(struct bulk_link *link)
{
	struct bulk_lane *lane;

	list_for_each_entry(lane, &link->lanes, list) {
		if (bulk_lane_again(lane))
			continue;
		if (bulk_smbd_has_failed(&lane->conn.smbd))
			return true;	/* one is leaving already */
		if (lane_is_idle(lane)) {
			bulk_smbd_fail(&lane->conn.smbd, -ECANCELED);
			return true;
		}
	}
	return false;
}

/**
 * bulk_lane_get - the lane of a user, made if need be
 * @link: link, its mutex held
 * @uid: user
 * @user: its PD, on which the lane takes a reference
 *
 * Return: a reference, or ERR_PTR: -ENOMEM, -ENOSPC.
 */
struct bulk_lane *bulk_lane_get(struct bulk_link *link, kuid_t uid, struct bulk_user *user)
{
	struct bulk_lane *lane = bulk_lane_find(link, uid);
	unsigned int n = 0, i;

	if (lane)
		return lane;
	list_for_each_entry(lane, &link->lanes, list)
		n++;
	if (n >= BULK_LANES_MAX && !lane_drop_idle(link))
		return ERR_PTR(-ENOSPC);
	lane = kzalloc(sizeof(*lane), GFP_KERNEL);
	if (!lane)
		return ERR_PTR(-ENOMEM);
	kref_init(&lane->ref);		/* the list's */
	kref_get(&lane->ref);
	lane->link = bulk_link_get_ref(link);
	lane->uid = uid;
	refcount_inc(&user->refs);
	lane->user = user;
	INIT_LIST_HEAD(&lane->rchans);
	INIT_LIST_HEAD(&lane->fresh);
	INIT_LIST_HEAD(&lane->active);
	for (i = 0; i < ARRAY_SIZE(lane->waiting); i++)
		INIT_LIST_HEAD(&lane->waiting[i]);
	init_rwsem(&lane->rw_sem);
	INIT_WORK(&lane->conn.end_work, lane_end_work);
	bulk_conn_prepare(&lane->conn, &bulk_lane_conn_ops, BULK_CM_DATA, lane);
	list_add_tail(&lane->list, &link->lanes);
	return lane;
}

static int lane_offer(struct bulk_lane *lane)
{
	struct bulk_link *link = lane->link;
	struct bulk_lane_offer *m;

	m = bulk_ctl_alloc(link, BULK_LANE_OFFER, sizeof(*m), GFP_KERNEL);
	if (!m)
		return -ENOMEM;
	while (!lane->token)		/* it may be asked for again */
		lane->token = get_random_u64();
	m->uid = cpu_to_le32(from_kuid(&init_user_ns, lane->uid));
	m->token = cpu_to_le64(lane->token);
	bulk_ctl_queue(link, m);
	return 0;
}

static int lane_want(struct bulk_lane *lane)
{
	struct bulk_link *link = lane->link;
	struct bulk_lane_want *m;

	m = bulk_ctl_alloc(link, BULK_LANE_WANT, sizeof(*m), GFP_KERNEL);
	if (!m)
		return -ENOMEM;
	m->uid = cpu_to_le32(from_kuid(&init_user_ns, lane->uid));
	bulk_ctl_queue(link, m);
	return 0;
}

/**
 * bulk_lane_work - do what is next for a lane to come up
 * @lane: of a READY link whose mutex is held; connecting needs its worker
 *
 * Nothing as long as a predecessor may still be able to reach memory.
 */
void bulk_lane_work(struct bulk_lane *lane)
{
	int err = 0;

	lockdep_assert_held(&lane->link->mutex);
	/* its predecessor, or itself before, may still be able to reach memory */
	if (lane_has_predecessor(lane) || bulk_smbd_has_failed(&lane->conn.smbd))
		return;
	switch (lane->state) {
	case BULK_LANE_NEW:
		if (lane->refusals && time_before(jiffies, lane->not_before)) {
			bulk_link_kick_later(lane->link, lane->not_before - jiffies);
			break;
		}
		err = lane->link->active ? lane_want(lane) : lane_offer(lane);
		if (!err)
			lane->state = BULK_LANE_ASKED;
		lane->since = jiffies;
		break;
	case BULK_LANE_OFFERED:
		lane->state = BULK_LANE_CONNECTING;
		lane->since = jiffies;
		err = bulk_cm_connect(&lane->conn, lane->link->net, &lane->link->local,
				      &lane->link->remote);
		break;
	case BULK_LANE_CONNECTING:
		if (READ_ONCE(lane->up)) {
			lane->state = BULK_LANE_READY;
			trace_bulk_lane_state(lane, lane->link, lane->uid, "ready", 0);
		}
		break;
	default:
		break;
	}
	if (err)
		bulk_smbd_fail(&lane->conn.smbd, err);
}

/**
 * bulk_lane_wanted - the peer, which connects, asks for a lane that is here already
 * @lane: link->mutex held
 *
 * Either our offer and its wish have crossed, or it lost the lane and we have not
 * noticed yet. Both are served: a lane that is merely offered is offered again (the
 * same token), one that is connected has a successor when it ends.
 */
void bulk_lane_wanted(struct bulk_lane *lane)
{
	lockdep_assert_held(&lane->link->mutex);
	if (lane->state == BULK_LANE_ASKED)
		lane_offer(lane);
	else if (lane->state != BULK_LANE_NEW)
		lane->wanted = true;
}

/* It could have been given up before the peer's answer came. */
static bool lane_succeeded(struct bulk_lane *lane)
{
	struct bulk_lane *next = lane;

	list_for_each_entry_continue(next, &lane->link->lanes, list)
		if (uid_eq(next->uid, lane->uid))
			return true;
	return false;
}

/*
 * Destroy a failed lane's queue pair. After that nothing of it can reach memory, and its
 * operations have ended, apart from those whose memory is still being unpinned or pinned.
 */
static void lane_destroy(struct bulk_lane *lane)
{
	trace_bulk_lane_state(lane, lane->link, lane->uid, "failed", lane->conn.smbd.err);
	/* no rdma_rw context is being made, and none will be */
	down_write(&lane->rw_sem);
	up_write(&lane->rw_sem);
	mutex_lock(&lane->link->mutex);
	bulk_link_lane_down(lane);
	mutex_unlock(&lane->link->mutex);
	bulk_conn_destroy(&lane->conn);
	/* endpoints may keep the structure, but not the device's PD */
	bulk_user_put(lane->user);
	lane->user = NULL;
}

static void lane_end_work(struct work_struct *work)
{
	struct bulk_lane *lane = container_of(work, struct bulk_lane, conn.end_work);
	struct bulk_link *link = lane->link;

	if (lane->renewing)
		bulk_conn_destroy(&lane->conn);
	else
		lane_destroy(lane);

	mutex_lock(&link->mutex);
	if (lane->renewing) {
		/* bulk_link_fence() may have waited for this; not after it can connect */
		bulk_link_fenced(link, lane->uid);
		bulk_smbd_reset(&lane->conn.smbd);
		WRITE_ONCE(lane->conn.reject, 0);
		list_move_tail(&lane->list, &link->lanes);
	} else {
		bulk_link_lane_gone(link, lane->uid);
		bulk_link_fenced(link, lane->uid);
		list_del_init(&lane->list);
		bulk_lane_put(lane);	/* the list's */
	}
	mutex_unlock(&link->mutex);
	bulk_link_kick(link);
	bulk_lane_put(lane);
}

/**
 * bulk_lane_end - end a lane that has failed
 * @lane: on link->lanes; link->mutex held
 *
 * It goes to link->going until its queue pair is destroyed, by work of its own. One that was
 * turned away before it was up comes back then, with its endpoints, and gets another
 * connection: nobody finds it twice, and none is made beside it.
 */
void bulk_lane_end(struct bulk_lane *lane)
{
	struct bulk_link *link = lane->link;
	struct bulk_lane *next;

	lockdep_assert_held(&link->mutex);
	lane->renewing = link->state != BULK_LINK_FAILED && bulk_lane_again(lane) &&
			 !lane_succeeded(lane);
	list_move(&lane->list, &link->going);
	if (lane->renewing) {
		lane_renew(lane);
	} else {
		lane->state = BULK_LANE_FAILED;
		if (lane->wanted && link->state == BULK_LINK_READY) {
			next = bulk_lane_get(link, lane->uid, lane->user);
			if (!IS_ERR(next))
				bulk_lane_put(next);
		}
	}
	kref_get(&lane->ref);
	queue_work(bulk_end_wq, &lane->conn.end_work);
}

/* ---- what the peer says of lanes ---- */

/* The lane of a user, made if need be, a reference; NULL: who asked for it times out. */
static struct bulk_lane *lane_of_user(struct bulk_link *link, kuid_t uid)
{
	struct bulk_user *user = bulk_user_get(link->dev, link->port, uid);
	struct bulk_lane *lane;

	if (IS_ERR(user))
		return NULL;
	lane = bulk_lane_get(link, uid, user);
	bulk_user_put(user);
	return IS_ERR(lane) ? NULL : lane;
}

/* Only the side that connected the control lane connects data lanes. */
static int lane_recv_want(struct bulk_link *link, const struct bulk_hdr *h)
{
	const struct bulk_lane_want *m = (const void *)h;
	kuid_t uid = make_kuid(&init_user_ns, le32_to_cpu(m->uid));
	struct bulk_lane *lane;

	if (link->active || !uid_valid(uid))
		return -EPROTO;
	lane = lane_of_user(link, uid);
	if (lane) {
		bulk_lane_wanted(lane);
		bulk_lane_work(lane);	/* offers a new one */
		bulk_lane_put(lane);
	}
	return 0;
}

static int lane_recv_offer(struct bulk_link *link, const struct bulk_hdr *h)
{
	const struct bulk_lane_offer *m = (const void *)h;
	kuid_t uid = make_kuid(&init_user_ns, le32_to_cpu(m->uid));
	u64 token = le64_to_cpu(m->token);
	struct bulk_lane *lane;

	if (!link->active || !uid_valid(uid) || !token)
		return -EPROTO;
	lane = lane_of_user(link, uid);
	if (lane && lane->state >= BULK_LANE_CONNECTING && lane->conn.token != token) {
		/*
		 * The peer has lost this one, or it would not offer another. If it
		 * was not up yet, it is this one that is connected again.
		 */
		WRITE_ONCE(lane->conn.reject, BULK_REJECT_RETRY);
		bulk_smbd_fail(&lane->conn.smbd, -ECONNRESET);
		bulk_lane_put(lane);
		lane = lane_of_user(link, uid);
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

static const struct bulk_ctl_handler lane_want_handler = {
	.len	= sizeof(struct bulk_lane_want),
	.recv	= lane_recv_want,
};

static const struct bulk_ctl_handler lane_offer_handler = {
	.len	= sizeof(struct bulk_lane_offer),
	.recv	= lane_recv_offer,
};

/**
 * bulk_lane_init - at module load
 */
void bulk_lane_init(void)
{
	bulk_ctl_handle(BULK_LANE_WANT, &lane_want_handler);
	bulk_ctl_handle(BULK_LANE_OFFER, &lane_offer_handler);
}
