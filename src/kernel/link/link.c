// SPDX-License-Identifier: GPL-2.0 OR BSD-3-Clause
/*
 * Links: the association of two hosts over one device in one network namespace; their
 * states and their worker
 *
 * A link begins with the first endpoint that needs it (active side) or with a
 * connection request (passive side). It owns one control lane. All its slow
 * decisions are made by one worker, link->work, which looks at what has changed
 * and does what is due; everybody else only changes state under link->mutex (or
 * a list under link->lock) and kicks the worker. Control messages are handled in
 * the control lane's completion worker, under link->mutex.
 *
 * Whatever is asked of a peer has a time to be answered in (link_answer_time()),
 * which the worker looks at every LINK_WATCH while something is asked.
 *
 * Death: state FAILED, by whoever notices; the worker tears down: control lane,
 * data lanes (which fences the peer's access to memory), then what the layers above
 * have on it, the uppermost first; then the link leaves its device's list.
 */
#include <net/net_namespace.h>

#include "base/trace.h"
#include "link/private.h"

#define LINK_WATCH	(5 * HZ)

static LIST_HEAD(link_clients);

/**
 * bulk_link_client_add - a layer has something on links
 * @client: its operations
 *
 * Context: module load, before there is a device; lower layers first.
 */
void bulk_link_client_add(struct bulk_link_client *client)
{
	list_add_tail(&client->list, &link_clients);
}

/* --------------------------------------------------------------- references */

struct bulk_link *bulk_link_get_ref(struct bulk_link *link)
{
	kref_get(&link->ref);
	return link;
}

static void link_free_work(struct work_struct *work)
{
	struct bulk_link *link = container_of(work, struct bulk_link, free_work);
	struct bulk_link_client *client;

	/* what was queued after link_teardown(): answers, revocations */
	bulk_ctl_drop(link);
	kfree(link->ctl);
	list_for_each_entry(client, &link_clients, list)
		client->release(link);
	put_net(link->net);
	bulk_dev_put(link->dev);
	kfree(link);
}

static void link_release(struct kref *ref)
{
	struct bulk_link *link = container_of(ref, struct bulk_link, ref);

	INIT_WORK(&link->free_work, link_free_work);
	queue_work(bulk_end_wq, &link->free_work);
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

/**
 * bulk_link_state_name - for people
 * @link: its mutex held
 *
 * Return: the name of its state.
 */
const char *bulk_link_state_name(const struct bulk_link *link)
{
	return link_state_names[link->state];
}

/**
 * bulk_link_set_state - a link gets into another state
 * @link: its mutex held
 * @state: the state
 */
void bulk_link_set_state(struct bulk_link *link, enum bulk_link_state state)
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
		bulk_link_set_state(link, BULK_LINK_FAILED);
	}
	mutex_unlock(&link->mutex);
	bulk_link_kick(link);
}

/* --------------------------------------------------------------- the layers above */

/**
 * bulk_link_fenced - the other host has no way to a user's memory at the moment
 * @link: its mutex held
 * @uid: user
 */
void bulk_link_fenced(struct bulk_link *link, kuid_t uid)
{
	struct bulk_link_client *client;

	list_for_each_entry(client, &link_clients, list)
		if (client->fenced)
			client->fenced(link, uid);
}

/**
 * bulk_link_lane_gone - the lane of a user is destroyed
 * @link: its mutex held
 * @uid: user
 */
void bulk_link_lane_gone(struct bulk_link *link, kuid_t uid)
{
	struct bulk_link_client *client;

	list_for_each_entry_reverse(client, &link_clients, list)
		if (client->lane_gone)
			client->lane_gone(link, uid);
}

/* link->mutex held: do processes wait for it? */
static bool link_wanted(struct bulk_link *link)
{
	struct bulk_link_client *client;

	list_for_each_entry(client, &link_clients, list)
		if (client->wanted && client->wanted(link))
			return true;
	return false;
}

/**
 * bulk_link_lane_down - a lane takes nothing any more
 * @lane: failed; link->mutex held
 */
void bulk_link_lane_down(struct bulk_lane *lane)
{
	struct bulk_link_client *client;

	list_for_each_entry_reverse(client, &link_clients, list)
		if (client->lane_down)
			client->lane_down(lane);
}

/**
 * bulk_link_uses_lane - is a lane of use?
 * @lane: link->mutex held
 *
 * Return: true if a layer above uses it.
 */
bool bulk_link_uses_lane(struct bulk_lane *lane)
{
	struct bulk_link_client *client;

	list_for_each_entry(client, &link_clients, list)
		if (client->uses_lane && client->uses_lane(lane))
			return true;
	return false;
}

/**
 * bulk_link_pump - whoever could not be posted may try again
 * @link: its mutex held
 */
void bulk_link_pump(struct bulk_link *link)
{
	struct bulk_lane *lane;

	lockdep_assert_held(&link->mutex);
	list_for_each_entry(lane, &link->lanes, list)
		bulk_lane_pump_keys(lane);
}

/* ------------------------------------------------------------------ control and data lanes */

/**
 * bulk_link_fence - destroy the data lanes of a user
 * @link: the link
 * @uid: the user
 *
 * Context: process.
 * Return: true if the other host cannot reach memory by them any more; else
 * client->fenced() follows when it cannot.
 */
bool bulk_link_fence(struct bulk_link *link, kuid_t uid)
{
	struct bulk_lane *lane;
	bool reachable = false;

	mutex_lock(&link->mutex);
	/* until lane_end_work() says so */
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
	return !reachable;
}

/**
 * bulk_link_new_conn - another attempt at a control lane
 * @link: its mutex held
 *
 * Return: the connection, prepared, or NULL.
 */
struct bulk_conn *bulk_link_new_conn(struct bulk_link *link)
{
	struct bulk_conn *conn = kzalloc(sizeof(*conn), GFP_KERNEL);

	if (!conn)
		return NULL;
	bulk_conn_prepare(conn, &bulk_ctl_conn_ops, BULK_CM_CONTROL, link);
	if (!link->attempts++)
		link->first_attempt = jiffies;
	return conn;
}

static void ctl_end_work(struct work_struct *work)
{
	struct bulk_conn *conn = container_of(work, struct bulk_conn, end_work);
	struct bulk_link *link = conn->context;

	bulk_conn_destroy(conn);
	mutex_lock(&link->mutex);
	list_del_init(&conn->list);
	if (conn != link->ctl)
		kfree(conn);
	mutex_unlock(&link->mutex);
	bulk_link_kick(link);
	bulk_link_put(link);
}

/* link->mutex held: destroy a connection, by work of its own. */
static void link_end_conn(struct bulk_link *link, struct bulk_conn *conn, int err)
{
	list_add_tail(&conn->list, &link->dead_conns);
	bulk_smbd_fail(&conn->smbd, err);
	kref_get(&link->ref);
	INIT_WORK(&conn->end_work, ctl_end_work);
	queue_work(bulk_end_wq, &conn->end_work);
}

/**
 * bulk_link_drop_ctl - give up the connection under way or up
 * @link: its mutex held
 */
void bulk_link_drop_ctl(struct bulk_link *link)
{
	struct bulk_conn *conn = link->ctl;

	if (!conn)
		return;
	link->ctl = NULL;
	link_end_conn(link, conn, -ECANCELED);
}

static void link_start_connect(struct bulk_link *link)
{
	struct bulk_conn *conn;
	int err;

	lockdep_assert_held(&link->mutex);
	conn = bulk_link_new_conn(link);
	if (!conn) {
		link->err = -ENOMEM;
		bulk_link_set_state(link, BULK_LINK_FAILED);
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
	    (link->active || link_wanted(link)) &&
	    time_before(jiffies, link->first_attempt + BULK_PATIENCE)) {
		bulk_link_drop_ctl(link);
		WRITE_ONCE(link->active, true);
		bulk_link_kick_later(link, BULK_RETRY);
		return;
	}
	link->err = conn->smbd.err;
	if (conn->reject == BULK_REJECT_PORT)
		link->err = -EACCES;
	bulk_link_set_state(link, BULK_LINK_FAILED);
}

/* End the lanes that have failed; all, if the link has. */
static void link_reap_lanes(struct bulk_link *link)
{
	struct bulk_lane *lane, *next;

	list_for_each_entry_safe(lane, next, &link->lanes, list) {
		if (link->state == BULK_LINK_FAILED)
			bulk_smbd_fail(&lane->conn.smbd, link->err);
		if (bulk_smbd_has_failed(&lane->conn.smbd))
			bulk_lane_end(lane);
	}
}

/*
 * The worker: the link has failed. True when nothing of it is left; until then the end of
 * each connection kicks the worker.
 */
static bool link_torn_down(struct bulk_link *link)
{
	struct bulk_link_client *client;

	lockdep_assert_held(&link->mutex);
	if (link->ctl && !link->ctl_over) {
		link->ctl_over = true;
		link_end_conn(link, link->ctl, link->err);
	}
	if (!list_empty(&link->dead_conns) || !list_empty(&link->lanes) ||
	    !list_empty(&link->going))
		return false;
	/* the upper layers first */
	list_for_each_entry_reverse(client, &link_clients, list)
		client->down(link);
	if (cancel_delayed_work_sync(&link->retry))
		bulk_link_put(link);
	if (cancel_delayed_work_sync(&link->watch))
		bulk_link_put(link);
	if (link->ctl_pd)
		ib_dealloc_pd(link->ctl_pd);
	link->ctl_pd = NULL;
	return true;
}

/**
 * bulk_link_watch - something was asked of the peer
 * @link: the link
 *
 * The worker looks for the answer in time.
 *
 * Context: any.
 */
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
	struct bulk_link_client *client;
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
	list_for_each_entry(client, &link_clients, list)
		if (client->waiting(link, asked))
			waiting = true;
	if (waiting)
		bulk_link_watch(link);
}

static void link_work(struct work_struct *work)
{
	struct bulk_link *link = container_of(work, struct bulk_link, work);
	struct bulk_link_client *client;
	bool over = false;

	/* only this worker takes it off */
	if (list_empty(&link->dev_list))
		goto put;
	mutex_lock(&link->mutex);
	if (link->state != BULK_LINK_FAILED && link->ctl &&
	    bulk_smbd_has_failed(&link->ctl->smbd))
		link_ctl_failed(link);
	if (link->state == BULK_LINK_CONNECTING && link->active && !link->ctl &&
	    list_empty(&link->dead_conns) && !delayed_work_pending(&link->retry))
		link_start_connect(link);
	link_reap_lanes(link);
	if (link->state == BULK_LINK_READY) {
		struct bulk_lane *lane;

		list_for_each_entry(lane, &link->lanes, list)
			bulk_lane_work(lane);
	}
	if (link->state != BULK_LINK_FAILED) {
		list_for_each_entry(client, &link_clients, list)
			client->work(link);
		link_check_answers(link);
	} else {
		over = link_torn_down(link);
	}
	mutex_unlock(&link->mutex);
	if (over)
		bulk_link_unlist(link);
put:
	bulk_link_put(link);
}

/* ------------------------------------------------------------------- making */

/**
 * bulk_link_setup - first of all
 * @link: zeroed
 */
void bulk_link_setup(struct bulk_link *link)
{
	kref_init(&link->ref);
	mutex_init(&link->mutex);
	spin_lock_init(&link->lock);
	INIT_LIST_HEAD(&link->lanes);
	INIT_LIST_HEAD(&link->going);
	INIT_LIST_HEAD(&link->dead_conns);
	INIT_LIST_HEAD(&link->ctl_queue);
	INIT_WORK(&link->work, link_work);
	INIT_DELAYED_WORK(&link->retry, link_retry);
	INIT_DELAYED_WORK(&link->watch, link_watch);
}

/**
 * bulk_link_attach - have the layers above make their parts of a link
 * @link: set up
 *
 * Return: 0 or negative errno; the link is put in both cases.
 */
int bulk_link_attach(struct bulk_link *link)
{
	struct bulk_link_client *client;
	int err;

	list_for_each_entry(client, &link_clients, list) {
		err = client->attach(link);
		if (err)
			return err;
	}
	return 0;
}
