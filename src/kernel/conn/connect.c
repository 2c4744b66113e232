// SPDX-License-Identifier: GPL-2.0 OR BSD-3-Clause
/*
 * RDMA CM of a connection: connecting, and everything that happens to its id
 *
 * We connect from a reserved port, which rdma_cm gives to CAP_NET_BIND_SERVICE alone,
 * from a kernel worker. The private data tells a data lane (with its one-time token)
 * from a control lane.
 *
 * Handlers run in process context under the id's own mutex. A connection is
 * made (queue pair, buffers) under conn->setup and only while its smbd has not
 * failed; bulk_conn_destroy() takes the same mutex, so that nothing is made
 * behind its back, and destroys the id last, which waits for handlers. Handlers
 * never destroy an id themselves.
 */
#include <rdma/ib_cm.h>

#include "conn/smbd.h"

#define CM_TIMEOUT_MS	5000
#define CM_PORT_LOW	512	/* the upper half of the reserved ports */
#define CM_PORT_HIGH	1023

static atomic_t next_port = ATOMIC_INIT(0);

/**
 * bulk_conn_prepare - make the other functions safe to call
 * @conn: zeroed
 * @ops: of the owner
 * @kind: control or data lane
 * @context: of the owner
 */
void bulk_conn_prepare(struct bulk_conn *conn, const struct bulk_conn_ops *ops,
		       enum bulk_cm_kind kind, void *context)
{
	conn->ops = ops;
	conn->kind = kind;
	conn->context = context;
	mutex_init(&conn->setup);
	INIT_LIST_HEAD(&conn->list);
	bulk_smbd_prepare(&conn->smbd, &ops->smbd);
}

/**
 * bulk_conn_destroy - undo everything
 * @conn: its smbd has failed
 *
 * No callback runs on return, and none will. The structure may be prepared anew.
 *
 * Context: process; under no lock that the ops take.
 */
void bulk_conn_destroy(struct bulk_conn *conn)
{
	mutex_lock(&conn->setup);	/* a running set-up ends; none can begin */
	mutex_unlock(&conn->setup);
	bulk_smbd_destroy(&conn->smbd);
}

/**
 * bulk_conn_param - parameters to connect or accept with
 * @conn: has a device
 * @param: filled in
 */
void bulk_conn_param(struct bulk_conn *conn, struct rdma_conn_param *param)
{
	const struct ib_device_attr *attr = &conn->smbd.cm_id->device->attrs;

	memset(param, 0, sizeof(*param));
	param->responder_resources = min_t(int, attr->max_qp_rd_atom, U8_MAX);
	param->initiator_depth = min_t(int, attr->max_qp_init_rd_atom, U8_MAX);
	param->retry_count = 7;
	param->rnr_retry_count = 7;
}

/**
 * bulk_conn_make - make queue pair and buffers
 * @conn: has a device; conn->setup held
 * @active: this side connects
 *
 * Return: 0, -ECONNABORTED if it has failed meanwhile, or the errno of making.
 */
int bulk_conn_make(struct bulk_conn *conn, bool active)
{
	struct bulk_smbd_params params = {};
	struct ib_pd *pd;

	lockdep_assert_held(&conn->setup);
	if (READ_ONCE(conn->smbd.state) != BULK_SMBD_NEW || conn->smbd.qp)
		return -ECONNABORTED;
	pd = conn->ops->pd(conn);
	if (IS_ERR(pd))
		return PTR_ERR(pd);
	conn->ops->params(conn, &params);
	return bulk_smbd_init(&conn->smbd, pd, &params, active);
}

static int cm_route_resolved(struct bulk_conn *conn)
{
	struct bulk_cm_request req = {
		.magic		= cpu_to_le32(BULK_CM_MAGIC),
		.kind		= conn->kind,
		.instance	= cpu_to_le64(bulk_instance),
		.token		= cpu_to_le64(conn->token),
	};
	struct rdma_conn_param param;
	int err;

	mutex_lock(&conn->setup);
	err = bulk_conn_make(conn, true);
	if (!err) {
		bulk_conn_param(conn, &param);
		param.private_data = &req;
		param.private_data_len = sizeof(req);
		err = rdma_connect_locked(conn->smbd.cm_id, &param);
	}
	mutex_unlock(&conn->setup);
	return err;
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
				    &conn->remote, reason);
	else if (!reason)
		pr_info_ratelimited("%pISpc refuses a connection: %s (status %d)\n",
				    &conn->remote, rdma_reject_msg(id, event->status),
				    event->status);
	return -ECONNREFUSED;
}

static int conn_handler(struct rdma_cm_id *id, struct rdma_cm_event *event)
{
	struct bulk_conn *conn = id->context;
	int err = 0;

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
 * bulk_cm_connect - begin to connect
 * @conn: prepared
 * @net: network namespace
 * @local: address to connect from
 * @remote: address and port to connect to
 *
 * Nothing is destroyed here: that would wait for handlers of the id, and those may
 * take a lock that the caller holds.
 *
 * Context: a kernel worker, for the reserved port.
 * Return: 0, or negative errno, after which the caller fails the smbd and
 * bulk_conn_destroy() is due. The end shows as ready() or failed() of the ops.
 */
int bulk_cm_connect(struct bulk_conn *conn, struct net *net, const union bulk_addr *local,
		    const union bulk_addr *remote)
{
	struct rdma_cm_id *id;
	int err;

	id = rdma_create_id(net, conn_handler, conn, RDMA_PS_TCP, IB_QPT_RC);
	if (IS_ERR(id))
		return PTR_ERR(id);
	conn->smbd.cm_id = id;
	conn->remote = *remote;
	err = cm_bind_reserved(id, local);
	if (err)
		return err;
	return rdma_resolve_addr(id, NULL, &conn->remote.sa, CM_TIMEOUT_MS);
}

/**
 * bulk_conn_take - accept a request with a connection
 * @conn: prepared
 * @req: the request, whose id is the connection's from now on
 *
 * Context: bulk_listen_ops.accept().
 */
void bulk_conn_take(struct bulk_conn *conn, const struct bulk_conn_request *req)
{
	conn->smbd.cm_id = req->id;
	conn->remote = req->remote;
	/* under the id's own mutex: its next events are the connection's */
	req->id->context = conn;
	req->id->event_handler = conn_handler;
}
