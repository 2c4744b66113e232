// SPDX-License-Identifier: GPL-2.0 OR BSD-3-Clause
/*
 * RDMA CM: listening, connecting and accepting lanes.
 *
 * A listener exists per network namespace that has channels, on the service
 * port of every address; the initial namespace keeps its listener until the
 * module goes, so that links stay warm between processes.
 *
 * A connection request is looked at only if it comes from a reserved port,
 * which rdma_cm gives to CAP_NET_BIND_SERVICE alone; we connect from one
 * ourselves, from a kernel worker. The private data tells a data lane (with its
 * one-time token) from a control lane.
 *
 * Handlers run in process context under the id's own mutex. A connection is
 * made (queue pair, buffers) under conn->setup and only while its smbd has not
 * failed; bulk_conn_destroy() takes the same mutex, so that nothing is made
 * behind its back, and destroys the id last, which waits for handlers. Handlers
 * never destroy an id themselves, but for refused requests, where rdma_cm does
 * it on their return value.
 */
#include "link.h"
#include "base/trace.h"

#define CM_TIMEOUT_MS	5000
#define CM_PORT_LOW	512	/* the upper half of the reserved ports */
#define CM_PORT_HIGH	1023

struct bulk_listener {
	struct list_head	list;
	struct net		*net;
	unsigned int		users;
	struct rdma_cm_id	*id4, *id6;
};

static DEFINE_MUTEX(listeners_mutex);
static LIST_HEAD(listeners);
static atomic_t next_port = ATOMIC_INIT(0);

void bulk_conn_prepare(struct bulk_conn *conn, struct bulk_link *link,
		       struct bulk_lane *lane)
{
	conn->link = link;
	conn->lane = lane;
	mutex_init(&conn->setup);
	INIT_LIST_HEAD(&conn->list);
	bulk_smbd_prepare(&conn->smbd, lane ? &bulk_lane_ops : &bulk_ctl_ops);
}

void bulk_conn_destroy(struct bulk_conn *conn)
{
	mutex_lock(&conn->setup);	/* a running set-up ends; none can begin */
	mutex_unlock(&conn->setup);
	bulk_smbd_destroy(&conn->smbd);
}

static void cm_param(struct bulk_conn *conn, struct rdma_conn_param *param)
{
	const struct ib_device_attr *attr = &conn->smbd.cm_id->device->attrs;

	memset(param, 0, sizeof(*param));
	param->responder_resources = min_t(int, attr->max_qp_rd_atom, U8_MAX);
	param->initiator_depth = min_t(int, attr->max_qp_init_rd_atom, U8_MAX);
	param->retry_count = 7;
	param->rnr_retry_count = 7;
}

/* Under conn->setup: queue pair and buffers, unless the connection has failed. */
static int cm_make(struct bulk_conn *conn, bool active)
{
	struct bulk_smbd_params params = {};
	struct ib_pd *pd;

	lockdep_assert_held(&conn->setup);
	if (READ_ONCE(conn->smbd.state) != BULK_SMBD_NEW || conn->smbd.qp)
		return -ECONNABORTED;
	pd = bulk_conn_pd(conn);
	if (IS_ERR(pd))
		return PTR_ERR(pd);
	bulk_conn_params(conn, &params);
	return bulk_smbd_init(&conn->smbd, pd, &params, active);
}

static int cm_route_resolved(struct bulk_conn *conn)
{
	struct bulk_cm_request req = {
		.magic		= cpu_to_le32(BULK_CM_MAGIC),
		.kind		= conn->lane ? BULK_CM_DATA : BULK_CM_CONTROL,
		.instance	= cpu_to_le64(bulk_instance),
		.token		= cpu_to_le64(conn->token),
	};
	struct rdma_conn_param param;
	int err;

	mutex_lock(&conn->setup);
	err = cm_make(conn, true);
	if (!err) {
		cm_param(conn, &param);
		param.private_data = &req;
		param.private_data_len = sizeof(req);
		err = rdma_connect_locked(conn->smbd.cm_id, &param);
	}
	mutex_unlock(&conn->setup);
	return err;
}

/* What a connection request's private data says; false: nothing of ours. */
static bool cm_request_data(const struct rdma_cm_event *event, struct bulk_cm_request *req)
{
	if (event->param.conn.private_data_len < sizeof(*req) ||
	    !event->param.conn.private_data)
		return false;
	if (get_unaligned_le32(event->param.conn.private_data) != BULK_CM_MAGIC)
		return false;
	memcpy(req, event->param.conn.private_data, sizeof(*req));
	return true;
}

static int cm_connect_request(struct bulk_listener *listener, struct rdma_cm_id *id,
			      const struct rdma_cm_event *event)
{
	struct bulk_cm_reject reject = { .magic = cpu_to_le32(BULK_CM_MAGIC) };
	struct bulk_cm_request req = { .kind = BULK_CM_CONTROL };
	struct rdma_conn_param param;
	union bulk_addr local = {}, remote = {};
	struct bulk_conn *conn;
	struct bulk_dev *dev;
	u32 reason = BULK_REJECT_NOMEM;
	u16 port;
	int err;

	memcpy(&local, &id->route.addr.src_addr, sizeof(local));
	memcpy(&remote, &id->route.addr.dst_addr, sizeof(remote));
	cm_request_data(event, &req);
	conn = ERR_PTR(-EACCES);
	port = ntohs(bulk_addr_port(&remote));
	if (port < 1 || port > CM_PORT_HIGH) {
		reason = BULK_REJECT_PORT;
		pr_warn_ratelimited("connection from %pISpc refused: not from a reserved port\n",
				    &remote);
		goto reject;
	}
	if (req.kind != BULK_CM_CONTROL && req.kind != BULK_CM_DATA) {
		reason = BULK_REJECT_KIND;
		goto reject;
	}
	dev = bulk_dev_find(id->device);
	if (!dev) {	/* it is coming or going */
		reason = BULK_REJECT_RETRY;
		goto reject;
	}
	if (req.kind == BULK_CM_DATA)
		conn = bulk_lane_request(listener->net, dev, &local, &remote,
					 le64_to_cpu(req.token), id, &reason);
	else
		conn = bulk_link_request(listener->net, dev, id->port_num, &local,
					 &remote, le64_to_cpu(req.instance), id, &reason);
	bulk_dev_put(dev);
	if (IS_ERR(conn))
		goto reject;

	/* from here on the connection owns the id, and its link's worker ends it */
	mutex_lock(&conn->setup);
	err = cm_make(conn, false);
	if (!err) {
		cm_param(conn, &param);
		param.responder_resources = min_t(u8, param.responder_resources,
						  event->param.conn.responder_resources);
		param.initiator_depth = min_t(u8, param.initiator_depth,
					      event->param.conn.initiator_depth);
		err = rdma_accept(id, &param);
	}
	mutex_unlock(&conn->setup);
	if (err) {
		/* given up meanwhile, or the device goes: the peer shall try again */
		reason = err == -ECONNABORTED || err == -ENODEV ?
			 BULK_REJECT_RETRY : BULK_REJECT_NOMEM;
		reject.reason = cpu_to_le32(reason);
		rdma_reject(id, &reject, sizeof(reject), IB_CM_REJ_CONSUMER_DEFINED);
		bulk_smbd_fail(&conn->smbd, err);
	}
	return 0;

reject:
	reject.reason = cpu_to_le32(reason);
	rdma_reject(id, &reject, sizeof(reject), IB_CM_REJ_CONSUMER_DEFINED);
	return -ECONNREFUSED;
}

/*
 * What passes is BULK_REJECT_RETRY. A peer that has vanished and come back begins
 * again with queue pair numbers that the IB CM here, or there, still takes for those
 * of its earlier connections; it says STALE_CONN, once for each, and ends that one. A
 * peer that does not want what it has asked for itself has given up that attempt.
 */
static int cm_rejected(struct bulk_conn *conn, struct rdma_cm_id *id,
		       struct rdma_cm_event *event)
{
	const struct bulk_cm_reject *reject;
	u32 reason = 0;
	u8 len = 0;

	reject = rdma_consumer_reject_data(id, event, &len);
	if (reject && len >= sizeof(*reject) &&
	    get_unaligned_le32(&reject->magic) == BULK_CM_MAGIC)
		reason = get_unaligned_le32(&reject->reason);
	else if (!conn->smbd.active ||
		 (rdma_cap_ib_cm(id->device, id->port_num) &&
		  event->status == IB_CM_REJ_STALE_CONN))
		reason = BULK_REJECT_RETRY;
	WRITE_ONCE(conn->reject, reason);
	if (reason && reason != BULK_REJECT_RETRY)
		pr_info_ratelimited("%pISpc refuses a connection: reason %u\n",
				    &conn->link->remote, reason);
	else if (!reason)
		pr_info_ratelimited("%pISpc refuses a connection: %s (status %d)\n",
				    &conn->link->remote, rdma_reject_msg(id, event->status),
				    event->status);
	return -ECONNREFUSED;
}

static int cm_handler(struct rdma_cm_id *id, struct rdma_cm_event *event)
{
	struct bulk_conn *conn = id->context;
	int err = 0;

	if (event->event == RDMA_CM_EVENT_CONNECT_REQUEST)
		return cm_connect_request(id->context, id, event);
	if (id->qp_type != IB_QPT_RC || !conn)
		return 0;

	switch (event->event) {
	case RDMA_CM_EVENT_ADDR_RESOLVED:
		err = rdma_resolve_route(id, CM_TIMEOUT_MS);
		break;
	case RDMA_CM_EVENT_ROUTE_RESOLVED:
		err = cm_route_resolved(conn);
		break;
	case RDMA_CM_EVENT_ESTABLISHED:
		bulk_smbd_established(&conn->smbd);
		break;
	case RDMA_CM_EVENT_REJECTED:
		err = cm_rejected(conn, id, event);
		break;
	case RDMA_CM_EVENT_ADDR_ERROR:
	case RDMA_CM_EVENT_ROUTE_ERROR:
	case RDMA_CM_EVENT_UNREACHABLE:
	case RDMA_CM_EVENT_CONNECT_ERROR:
		err = -EHOSTUNREACH;
		break;
	case RDMA_CM_EVENT_DISCONNECTED:
	case RDMA_CM_EVENT_ADDR_CHANGE:
		err = -ECONNRESET;
		break;
	case RDMA_CM_EVENT_DEVICE_REMOVAL:
		err = -ENODEV;
		break;
	default:
		break;
	}
	if (err)
		bulk_smbd_fail(&conn->smbd, err);
	return 0;
}

static int cm_bind_reserved(struct rdma_cm_id *id, const union bulk_addr *local)
{
	const unsigned int n = CM_PORT_HIGH - CM_PORT_LOW + 1;
	unsigned int first = (unsigned int)atomic_inc_return(&next_port), i;
	union bulk_addr addr = *local;
	int err = -EADDRINUSE;

	for (i = 0; i < n && err == -EADDRINUSE; i++) {
		bulk_addr_set_port(&addr, htons(CM_PORT_LOW + (first + i) % n));
		err = rdma_bind_addr(id, &addr.sa);
	}
	return err;
}

/**
 * bulk_cm_connect - begin to connect a lane
 * @conn: prepared, its link's addresses known
 *
 * The caller holds link->mutex, so nothing is destroyed here: that would wait for
 * handlers of the id, and those of others take the mutex.
 *
 * Return: 0, or negative errno, after which the caller fails the smbd and
 * bulk_conn_destroy() is due. The end shows as ready() or failed() of the smbd.
 */
int bulk_cm_connect(struct bulk_conn *conn)
{
	struct bulk_link *link = conn->link;
	struct rdma_cm_id *id;
	int err;

	id = rdma_create_id(link->net, cm_handler, conn, RDMA_PS_TCP, IB_QPT_RC);
	if (IS_ERR(id))
		return PTR_ERR(id);
	conn->smbd.cm_id = id;
	err = cm_bind_reserved(id, &link->local);
	if (err)
		return err;
	return rdma_resolve_addr(id, NULL, &link->remote.sa, CM_TIMEOUT_MS);
}

/* ---------------------------------------------------------------- listening */

static struct rdma_cm_id *cm_listen_id(struct bulk_listener *listener, int family)
{
	union bulk_addr any = { .sa.sa_family = family };
	struct rdma_cm_id *id;
	int err;

	id = rdma_create_id(listener->net, cm_handler, listener, RDMA_PS_TCP, IB_QPT_RC);
	if (IS_ERR(id))
		return id;
	bulk_addr_set_port(&any, htons(bulk_port));
	err = family == AF_INET6 ? rdma_set_afonly(id, 1) : 0;
	if (!err)
		err = rdma_bind_addr(id, &any.sa);
	if (!err)
		err = rdma_listen(id, 128);
	if (err) {
		rdma_destroy_id(id);
		return ERR_PTR(err);
	}
	return id;
}

static void cm_listener_free(struct bulk_listener *listener)
{
	rdma_destroy_id(listener->id4);
	if (listener->id6)
		rdma_destroy_id(listener->id6);
	kfree(listener);
}

static struct bulk_listener *cm_listener_find(struct net *net)
{
	struct bulk_listener *l;

	list_for_each_entry(l, &listeners, list)
		if (net_eq(l->net, net))
			return l;
	return NULL;
}

/**
 * bulk_cm_listen - a channel begins in a network namespace
 * @net: the namespace; the caller keeps it until bulk_cm_unlisten()
 *
 * Return: 0 or negative errno (-EADDRINUSE: somebody else has the port).
 */
int bulk_cm_listen(struct net *net)
{
	struct bulk_listener *l;
	int err = 0;

	mutex_lock(&listeners_mutex);
	l = cm_listener_find(net);
	if (l) {
		l->users++;
		goto out;
	}
	l = kzalloc(sizeof(*l), GFP_KERNEL);
	if (!l) {
		err = -ENOMEM;
		goto out;
	}
	l->net = net;
	l->users = 1;
	l->id4 = cm_listen_id(l, AF_INET);
	if (IS_ERR(l->id4)) {
		err = PTR_ERR(l->id4);
		kfree(l);
		goto out;
	}
	/* a host without IPv6 is fine */
	l->id6 = cm_listen_id(l, AF_INET6);
	if (IS_ERR(l->id6))
		l->id6 = NULL;
	list_add(&l->list, &listeners);
out:
	mutex_unlock(&listeners_mutex);
	return err;
}

/**
 * bulk_cm_unlisten - a channel has ended
 * @net: its network namespace
 *
 * With the last one, links of the namespace end, since their ids hold it; the
 * initial namespace's stay warm.
 */
void bulk_cm_unlisten(struct net *net)
{
	struct bulk_listener *l;

	mutex_lock(&listeners_mutex);
	l = cm_listener_find(net);
	if (WARN_ON_ONCE(!l) || --l->users || net_eq(net, &init_net))
		l = NULL;
	else
		list_del(&l->list);
	/* under the mutex: the next channel shall find the port free */
	if (l)
		cm_listener_free(l);
	mutex_unlock(&listeners_mutex);
	if (l)
		bulk_link_net_gone(net);
}

void bulk_cm_exit(void)
{
	struct bulk_listener *l, *next;

	mutex_lock(&listeners_mutex);
	list_for_each_entry_safe(l, next, &listeners, list) {
		list_del(&l->list);
		cm_listener_free(l);
	}
	mutex_unlock(&listeners_mutex);
}
