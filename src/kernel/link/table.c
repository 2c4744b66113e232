// SPDX-License-Identifier: GPL-2.0 OR BSD-3-Clause
/*
 * Which links there are: making and finding them, requests for connections, the end of
 * all links of a device or network namespace
 *
 * Both ends connecting at once: the connection of the lower address wins. The
 * winner turns the other's request away with BULK_REJECT_RETRY; the loser, on
 * seeing the winner's request, drops its own attempt and accepts. A request for
 * a link that is up is turned away too, and ends that link if it comes from
 * another load of the module (the peer has restarted). Who is told to retry, or
 * whose connection is taken for an old one (conn/connect.c), does so for
 * BULK_PATIENCE; so does who has accepted one that the peer then gave up, if
 * endpoints wait for it.
 *
 * A host's link to itself is two structures: the connecting one, on which
 * endpoints are opened, and the accepted half.
 *
 * Locks: dev->mutex covers the list of a device's links, then link->mutex.
 */
#include <linux/sysfs.h>
#include <net/net_namespace.h>

#include "link/private.h"

static DECLARE_WAIT_QUEUE_HEAD(links_gone);

static struct bulk_link *link_create(struct net *net, struct bulk_dev *dev, u8 port,
				     const union bulk_addr *local,
				     const union bulk_addr *remote)
{
	struct bulk_link *link = kzalloc(sizeof(*link), GFP_KERNEL);
	int err;

	lockdep_assert_held(&dev->mutex);
	if (!link)
		return ERR_PTR(-ENOMEM);
	if (!bulk_dev_verbs_get(dev)) {
		kfree(link);
		return ERR_PTR(-ENODEV);
	}
	bulk_link_setup(link);
	link->dev = bulk_dev_get(dev);
	link->net = get_net(net);
	link->port = port;
	link->local = *local;
	link->remote = *remote;
	err = bulk_link_attach(link);
	if (err) {
		bulk_dev_verbs_put(dev);
		bulk_link_put(link);
		return ERR_PTR(err);
	}
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
 * @net: network namespace
 * @dev: device
 * @port: of the device
 * @local: its address
 * @remote: the other host's address, with port
 *
 * Return: a reference, or ERR_PTR.
 */
struct bulk_link *bulk_link_open(struct net *net, struct bulk_dev *dev, u8 port,
				 const union bulk_addr *local, const union bulk_addr *remote)
{
	struct bulk_link *link;

	mutex_lock(&dev->mutex);
	link = link_find(dev, net, local, remote, false, bulk_addr_port(remote));
	if (link) {
		bulk_link_get_ref(link);
		link_note_port(link, remote);
	} else {
		link = link_create(net, dev, port, local, remote);
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
	struct bulk_conn *conn = bulk_link_new_conn(link);

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
			bulk_link_set_state(link, BULK_LINK_FAILED);
			bulk_link_kick(link);
		}
		mutex_unlock(&link->mutex);
		goto out;
	}
	mutex_lock(&link->mutex);
	if (link->state == BULK_LINK_CONNECTING && link->active &&
	    (!link->ctl || bulk_addr_cmp(local, remote) > 0)) {
		bulk_link_drop_ctl(link);
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

/**
 * bulk_link_unlist - a link is torn down
 * @link: its worker; the list's reference is put
 */
void bulk_link_unlist(struct bulk_link *link)
{
	mutex_lock(&link->dev->mutex);
	list_del_init(&link->dev_list);
	mutex_unlock(&link->dev->mutex);
	bulk_dev_verbs_put(link->dev);
	wake_up_all(&links_gone);
	bulk_link_put(link);
}

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
	bulk_ctl_init();
	bulk_lane_init();
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
					  bulk_link_state_name(link),
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
