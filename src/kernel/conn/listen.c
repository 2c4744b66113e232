// SPDX-License-Identifier: GPL-2.0 OR BSD-3-Clause
/*
 * Listening, and requests for connections
 *
 * A listener exists per network namespace that has channels, on the service
 * port of every address; the initial namespace keeps its listener until the
 * module goes, so that links stay warm between processes.
 *
 * A request is looked at only if it comes from a reserved port. The layer above, asked
 * by ops->accept, has a connection for it or a reason to refuse; then its id and
 * all its events are the connection's. A refused one is destroyed by rdma_cm.
 *
 * Locks: listeners_mutex. Handlers run in process context under the mutex of the new id.
 */
#include <rdma/ib_cm.h>

#include "conn/smbd.h"

#define LISTEN_PORT_HIGH	1023	/* of the reserved ones */

struct bulk_listener {
	struct list_head	list;
	struct net		*net;
	const struct bulk_listen_ops *ops;
	unsigned int		users;
	struct rdma_cm_id	*id4, *id6;
};

static DEFINE_MUTEX(listeners_mutex);
static LIST_HEAD(listeners);

/* What a connection request's private data says; false: nothing of ours. */
static bool listen_data(const struct rdma_cm_event *event, struct bulk_cm_request *req)
{
	if (event->param.conn.private_data_len < sizeof(*req) ||
	    !event->param.conn.private_data)
		return false;
	if (get_unaligned_le32(event->param.conn.private_data) != BULK_CM_MAGIC)
		return false;
	memcpy(req, event->param.conn.private_data, sizeof(*req));
	return true;
}

static void listen_reject(struct rdma_cm_id *id, u32 reason)
{
	struct bulk_cm_reject reject = {
		.magic	= cpu_to_le32(BULK_CM_MAGIC),
		.reason	= cpu_to_le32(reason),
	};

	rdma_reject(id, &reject, sizeof(reject), IB_CM_REJ_CONSUMER_DEFINED);
}

/* From here on the connection owns the id, and its owner ends it. */
static void listen_accept(struct bulk_conn *conn, const struct rdma_cm_event *event)
{
	struct rdma_cm_id *id = conn->smbd.cm_id;
	struct rdma_conn_param param;
	int err;

	mutex_lock(&conn->setup);
	err = bulk_conn_make(conn, false);
	if (!err) {
		bulk_conn_param(conn, &param);
		param.responder_resources = min_t(u8, param.responder_resources,
						  event->param.conn.responder_resources);
		param.initiator_depth = min_t(u8, param.initiator_depth,
					      event->param.conn.initiator_depth);
		err = rdma_accept(id, &param);
	}
	mutex_unlock(&conn->setup);
	if (err) {
		/* given up meanwhile, or the device goes: the peer shall try again */
		listen_reject(id, err == -ECONNABORTED || err == -ENODEV ?
				  BULK_REJECT_RETRY : BULK_REJECT_NOMEM);
		bulk_smbd_fail(&conn->smbd, err);
	}
}

/* Whom to accept it with, or ERR_PTR with *@reason. */
static struct bulk_conn *listen_ask(struct bulk_listener *listener,
				    struct bulk_conn_request *req, u32 *reason)
{
	u16 port = ntohs(bulk_addr_port(&req->remote));
	struct bulk_conn *conn;

	if (port < 1 || port > LISTEN_PORT_HIGH) {
		*reason = BULK_REJECT_PORT;
		pr_warn_ratelimited("connection from %pISpc refused: not from a reserved port\n",
				    &req->remote);
		return ERR_PTR(-EACCES);
	}
	if (req->kind != BULK_CM_CONTROL && req->kind != BULK_CM_DATA) {
		*reason = BULK_REJECT_KIND;
		return ERR_PTR(-EACCES);
	}
	req->dev = bulk_dev_find(req->id->device);
	if (!req->dev) {	/* it is coming or going */
		*reason = BULK_REJECT_RETRY;
		return ERR_PTR(-ENODEV);
	}
	conn = listener->ops->accept(req, reason);
	bulk_dev_put(req->dev);
	return conn;
}

static int listen_request(struct bulk_listener *listener, struct rdma_cm_id *id,
			  const struct rdma_cm_event *event)
{
	struct bulk_conn_request req = {
		.id	= id,
		.net	= listener->net,
		.port	= id->port_num,
		.kind	= BULK_CM_CONTROL,
	};
	struct bulk_cm_request data;
	u32 reason = BULK_REJECT_NOMEM;
	struct bulk_conn *conn;

	memcpy(&req.local, &id->route.addr.src_addr, sizeof(req.local));
	memcpy(&req.remote, &id->route.addr.dst_addr, sizeof(req.remote));
	if (listen_data(event, &data)) {
		req.kind = data.kind;
		req.instance = le64_to_cpu(data.instance);
		req.token = le64_to_cpu(data.token);
	}
	conn = listen_ask(listener, &req, &reason);
	if (IS_ERR(conn)) {
		listen_reject(id, reason);
		return -ECONNREFUSED;	/* rdma_cm destroys the id */
	}
	listen_accept(conn, event);
	return 0;
}

static int listen_handler(struct rdma_cm_id *id, struct rdma_cm_event *event)
{
	/* an accepted one has the connection's handler: bulk_conn_take() */
	if (event->event == RDMA_CM_EVENT_CONNECT_REQUEST)
		return listen_request(id->context, id, event);
	return 0;
}

static struct rdma_cm_id *listen_id(struct bulk_listener *listener, int family)
{
	union bulk_addr any = { .sa.sa_family = family };
	struct rdma_cm_id *id;
	int err;

	id = rdma_create_id(listener->net, listen_handler, listener, RDMA_PS_TCP, IB_QPT_RC);
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

static void listener_free(struct bulk_listener *listener)
{
	rdma_destroy_id(listener->id4);
	if (listener->id6)
		rdma_destroy_id(listener->id6);
	kfree(listener);
}

static struct bulk_listener *listener_find(struct net *net)
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
 * @ops: who takes connections, the same for all
 *
 * Return: 0 or negative errno (-EADDRINUSE: somebody else has the port).
 */
int bulk_cm_listen(struct net *net, const struct bulk_listen_ops *ops)
{
	struct bulk_listener *l;
	int err = 0;

	mutex_lock(&listeners_mutex);
	l = listener_find(net);
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
	l->ops = ops;
	l->users = 1;
	l->id4 = listen_id(l, AF_INET);
	if (IS_ERR(l->id4)) {
		err = PTR_ERR(l->id4);
		kfree(l);
		goto out;
	}
	/* a host without IPv6 is fine */
	l->id6 = listen_id(l, AF_INET6);
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
 * The initial namespace's listener stays.
 *
 * Return: true if this was the last: nobody listens in the namespace any more.
 */
bool bulk_cm_unlisten(struct net *net)
{
	struct bulk_listener *l;

	mutex_lock(&listeners_mutex);
	l = listener_find(net);
	if (WARN_ON_ONCE(!l) || --l->users || net_eq(net, &init_net))
		l = NULL;
	else
		list_del(&l->list);
	/* under the mutex: the next channel shall find the port free */
	if (l)
		listener_free(l);
	mutex_unlock(&listeners_mutex);
	return l;
}

/**
 * bulk_cm_exit - stop listening (module exit)
 */
void bulk_cm_exit(void)
{
	struct bulk_listener *l, *next;

	mutex_lock(&listeners_mutex);
	list_for_each_entry_safe(l, next, &listeners, list) {
		list_del(&l->list);
		listener_free(l);
	}
	mutex_unlock(&listeners_mutex);
}
