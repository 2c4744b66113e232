// SPDX-License-Identifier: GPL-2.0 OR BSD-3-Clause
/*
 * The control lane: its messages, queued and dispatched
 *
 * What a message means is its handler's business: bulk_ctl_handle(). The head is
 * checked here, against what the handler says of its type: length and flags. HELLO is
 * this file's own.
 *
 * Messages wait in link->ctl_queue, under link->lock, for a credit and a place in the send
 * queue. What is queued as an answer counts against the peer, which asks: one that
 * lets too much of it pile up is cut off. Our own questions do not: there is at most one for
 * each remote channel, inbound channel, key and region that there is.
 *
 * Handlers run in the control lane's completion worker, under link->mutex.
 */
#include <linux/nospec.h>

#include "base/trace.h"
#include "link/private.h"

static const struct bulk_ctl_handler *ctl_handlers[BULK_CTL_TYPES];

/**
 * bulk_ctl_handle - say who handles a type of control message
 * @type: the type
 * @handler: how
 *
 * Context: module load, once for each type.
 */
void bulk_ctl_handle(enum bulk_type type, const struct bulk_ctl_handler *handler)
{
	WARN_ON_ONCE(ctl_handlers[type]);
	ctl_handlers[type] = handler;
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
	msg->weight = ctl_handlers[type]->answer ? struct_size(msg, data, len) : 0;
	h = (struct bulk_hdr *)msg->data;
	h->type = type;
	h->length = cpu_to_le32(len);
	return h;
}

/**
 * bulk_ctl_free - free a message that is not to be queued after all
 * @data: from bulk_ctl_alloc(), or NULL
 */
void bulk_ctl_free(void *data)
{
	if (data)
		kfree(container_of(data, struct bulk_ctl_msg, data));
}

/**
 * bulk_ctl_answer - a message of no answering type is one
 * @data: from bulk_ctl_alloc()
 */
void bulk_ctl_answer(void *data)
{
	struct bulk_ctl_msg *msg = container_of(data, struct bulk_ctl_msg, data);

	msg->weight = struct_size(msg, data, msg->len);
}

/**
 * bulk_ctl_drop - free what is queued
 * @link: nobody else refers to it
 */
void bulk_ctl_drop(struct bulk_link *link)
{
	struct bulk_ctl_msg *msg, *next;

	list_for_each_entry_safe(msg, next, &link->ctl_queue, list)
		kfree(msg);
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
		bulk_link_set_state(link, BULK_LINK_HELLO);
		link->hello_since = jiffies;
		ctl_hello(link);
		bulk_link_kick(link);
	}
	mutex_unlock(&link->mutex);
}

static int ctl_recv_hello(struct bulk_link *link, const struct bulk_hdr *h)
{
	const struct bulk_hello *m = (const void *)h;

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
	bulk_link_set_state(link, BULK_LINK_READY);
	bulk_link_kick(link);
	return 0;
}

static int ctl_dispatch(struct bulk_link *link, const struct bulk_ctl_handler *handler,
			const struct bulk_hdr *h)
{
	if (h->type != BULK_HELLO) {
		if (link->state == BULK_LINK_FAILED)
			return 0;
		if (link->state != BULK_LINK_READY)
			return -EPROTO;
	}
	return handler->recv(link, h);
}

/* Who handles a message of this head and length, NULL if they are wrong. */
static const struct bulk_ctl_handler *ctl_handler(const struct bulk_hdr *h, u32 len)
{
	const struct bulk_ctl_handler *handler;

	if (len < sizeof(*h) || le32_to_cpu(h->length) != len || h->reserved ||
	    h->type >= BULK_CTL_TYPES)
		return NULL;
	handler = ctl_handlers[array_index_nospec(h->type, BULK_CTL_TYPES)];
	if (!handler || !handler->recv || h->flags & ~handler->flags)
		return NULL;
	if (handler->length ? !handler->length(h, len) : len != handler->len)
		return NULL;
	return handler;
}

static int ctl_recv(struct bulk_smbd *smbd, const void *data, u32 len)
{
	struct bulk_conn *conn = container_of(smbd, struct bulk_conn, smbd);
	struct bulk_link *link = conn->context;
	const struct bulk_hdr *h = data;
	const struct bulk_ctl_handler *handler = ctl_handler(h, len);
	int err;

	if (!handler)
		return -EPROTO;
	trace_bulk_control_receive(link, h->type, len);
	mutex_lock(&link->mutex);
	err = link->ctl == conn ? ctl_dispatch(link, handler, h) : 0;
	mutex_unlock(&link->mutex);
	return err;
}

static const struct bulk_ctl_handler ctl_hello_handler = {
	.len	= sizeof(struct bulk_hello),
	.recv	= ctl_recv_hello,
};

/**
 * bulk_ctl_init - at module load
 */
void bulk_ctl_init(void)
{
	bulk_ctl_handle(BULK_HELLO, &ctl_hello_handler);
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

const struct bulk_conn_ops bulk_ctl_conn_ops = {
	.smbd = {
		.ready	= ctl_ready,
		.recv	= ctl_recv,
		.kick	= ctl_kick,
		.failed	= ctl_failed,
	},
	.pd	= ctl_pd,
	.params	= ctl_params,
};
