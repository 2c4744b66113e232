// SPDX-License-Identifier: GPL-2.0 OR BSD-3-Clause
/*
 * What a link has of endpoints: tables of remote and inbound channels, control messages
 *
 * All under link->mutex, in its worker or the control lane's completions.
 */
#include "ep/private.h"

static int ep_link_attach(struct bulk_link *link)
{
	struct bulk_link_eps *eps = kzalloc(sizeof(*eps), GFP_KERNEL);
	int err;

	if (!eps)
		return -ENOMEM;
	err = rhashtable_init(&eps->tokens, &bulk_rchan_params);
	if (err) {
		kfree(eps);
		return err;
	}
	xa_init_flags(&eps->rchans, XA_FLAGS_ALLOC1);
	xa_init_flags(&eps->inbounds, XA_FLAGS_ALLOC1);
	spin_lock_init(&eps->lock);
	INIT_LIST_HEAD(&eps->awaiting);
	INIT_LIST_HEAD(&eps->opening);
	INIT_LIST_HEAD(&eps->ended);
	INIT_LIST_HEAD(&eps->closing);
	INIT_LIST_HEAD(&eps->dirty);
	link->eps = eps;
	return 0;
}

static void ep_link_release(struct bulk_link *link)
{
	struct bulk_link_eps *eps = link->eps;

	if (!eps)
		return;
	rhashtable_destroy(&eps->tokens);
	xa_destroy(&eps->rchans);
	xa_destroy(&eps->inbounds);
	kfree(eps);
}

static void ep_link_work(struct bulk_link *link)
{
	if (link->state == BULK_LINK_READY)
		bulk_inbound_work(link);
	bulk_rchan_work(link);
}

static bool ep_link_wanted(struct bulk_link *link)
{
	return !xa_empty(&link->eps->rchans);
}

static bool ep_uses_lane(struct bulk_lane *lane)
{
	struct bulk_link_eps *eps = lane->link->eps;
	struct bulk_inbound *in;
	unsigned long id;

	if (!list_empty(&lane->rchans))
		return true;
	xa_for_each(&eps->inbounds, id, in)
		if (uid_eq(in->uid, lane->uid))
			return true;
	return false;
}

static void ep_link_down(struct bulk_link *link)
{
	bulk_inbound_drop_all(link, INVALID_UID);
	bulk_rchan_drop_all(link);
}

static struct bulk_link_client ep_link_client = {
	.attach		= ep_link_attach,
	.release	= ep_link_release,
	.work		= ep_link_work,
	.waiting	= bulk_rchan_waiting,
	.wanted		= ep_link_wanted,
	.uses_lane	= ep_uses_lane,
	.lane_down	= bulk_rchan_lane_down,
	.lane_gone	= bulk_inbound_drop_all,
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

	bulk_rchan_closed(link, le32_to_cpu(m->id), -ECONNREFUSED);
	return 0;
}

static int recv_closed(struct bulk_link *link, const struct bulk_hdr *h)
{
	const struct bulk_closed *m = (const void *)h;

	if (!(h->flags & BULK_CLOSED_TARGET))
		return bulk_inbound_closed(link, le32_to_cpu(m->id), le64_to_cpu(m->last));
	bulk_rchan_closed(link, le32_to_cpu(m->id), -ECONNRESET);
	return 0;
}

static const struct bulk_ctl_handler open_handler = {
	.flags	= BULK_OPEN_FIRST,
	.length	= open_length,
	.recv	= bulk_inbound_open,
};

static const struct bulk_ctl_handler opened_handler = {
	.len	= sizeof(struct bulk_opened),
	.flags	= BULK_OPENED_FIRST,
	.answer	= true,
	.recv	= bulk_rchan_opened,
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
	.recv	= bulk_rchan_window,
};

/**
 * bulk_ep_init - at module load
 *
 * Return: 0 or -ENOMEM.
 */
int bulk_ep_init(void)
{
	int err = bulk_op_init();

	if (err)
		return err;
	bulk_ctl_handle(BULK_OPEN, &open_handler);
	bulk_ctl_handle(BULK_OPENED, &opened_handler);
	bulk_ctl_handle(BULK_REFUSED, &refused_handler);
	bulk_ctl_handle(BULK_CLOSED, &closed_handler);
	bulk_ctl_handle(BULK_WINDOW, &window_handler);
	bulk_link_client_add(&ep_link_client);
	bulk_lane_serve(&bulk_ep_lane_ops);
	return 0;
}

/**
 * bulk_ep_exit - at module exit, when all channels are freed
 */
void bulk_ep_exit(void)
{
	bulk_op_exit();
}
