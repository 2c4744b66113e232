// SPDX-License-Identifier: GPL-2.0 OR BSD-3-Clause
/*
 * Telling other hosts about keys: answers to those that ask, and announcements
 *
 * Answering KEY_RESOLVE may have to register memory, so each is a work item; a
 * peer may have BULK_RESOLVES_MAX of them under way. No other lock but link->mutex, from
 * before the grant until the answer is queued.
 */
#include "mem/private.h"

struct resolve_work {
	struct work_struct	work;
	struct bulk_link	*link;
	struct bulk_key		key;
	u32			req;
	kuid_t			uid;
};

static int resolved_send(struct bulk_link *link, struct bulk_region *region,
			 struct bulk_mrset *set, u32 req)
{
	u32 first, count, i;

	for (first = 0; first < set->count; first += count) {
		struct bulk_key_resolved *m;

		count = min_t(u32, set->count - first, BULK_RKEYS_MAX);
		m = bulk_ctl_alloc(link, BULK_KEY_RESOLVED, struct_size(m, rkey, count),
				   GFP_KERNEL);
		if (!m)
			return -ENOMEM;
		m->req = cpu_to_le32(req);
		m->uid = cpu_to_le32(from_kuid(&init_user_ns, region->uid));
		m->key = region->key;
		m->addr = cpu_to_le64(region->mem.addr);
		m->region_length = cpu_to_le64(region->mem.length);
		m->span = cpu_to_le64(set->span);
		m->access = cpu_to_le32(region->mem.access);
		m->total = cpu_to_le32(set->count);
		m->first = cpu_to_le32(first);
		m->count = cpu_to_le32(count);
		for (i = 0; i < count; i++)
			m->rkey[i] = cpu_to_le32(set->mr[first + i].rkey);
		bulk_ctl_queue(link, m);
	}
	return 0;
}

static int resolve_one(struct bulk_link *link, struct bulk_region *region, u32 req)
{
	struct bulk_mrset *set;
	int err;

	/* its MRs stay while it is in use */
	err = bulk_region_use(region, region->mem.addr, region->mem.length);
	if (err)
		return err;
	set = bulk_region_mrset(region, link->dev, link->port);
	if (IS_ERR(set)) {
		err = PTR_ERR(set);
		goto unuse;
	}
	/* a KEY_REVOKE must not come in between, nor the link's end */
	mutex_lock(&link->mutex);
	err = link->state == BULK_LINK_READY ? bulk_region_grant(region, link) : -ECONNRESET;
	if (!err)
		bulk_key_trace(link, &region->key, "grant");
	if (err == 0 || (err == 1 && req))
		err = resolved_send(link, region, set, req);
	mutex_unlock(&link->mutex);
unuse:
	bulk_region_unuse(region);
	return err;
}

static void resolve_work(struct work_struct *work)
{
	struct resolve_work *w = container_of(work, struct resolve_work, work);
	struct bulk_link *link = w->link;
	struct bulk_region *region;
	struct bulk_refused *m;
	int err;

	region = bulk_region_by_key(&w->key, w->uid);
	if (IS_ERR(region)) {
		err = PTR_ERR(region);
	} else {
		err = resolve_one(link, region, w->req);
		bulk_region_put(region);
	}
	if (err < 0) {
		m = bulk_ctl_alloc(link, BULK_KEY_REFUSED, sizeof(*m), GFP_KERNEL);
		if (m) {
			m->id = cpu_to_le32(w->req);
			m->reason = cpu_to_le32(err == -ENOMEM ? BULK_REFUSE_NOMEM :
								 BULK_REFUSE_KEY);
			bulk_ctl_queue(link, m);
		}
	}
	atomic_dec(&link->keys->resolves);
	bulk_link_put(link);
	kfree(w);
}

/* KEY_RESOLVE has come. A worker answers: memory may have to be registered. */
static int key_recv_resolve(struct bulk_link *link, const struct bulk_hdr *h)
{
	const struct bulk_key_resolve *m = (const void *)h;
	kuid_t uid = make_kuid(&init_user_ns, le32_to_cpu(m->uid));
	struct resolve_work *w;

	/* an answer may have been sent before it is counted as such */
	if (!m->req || !uid_valid(uid) ||
	    atomic_read(&link->keys->resolves) >= 2 * BULK_RESOLVES_MAX)
		return -EPROTO;
	w = kzalloc(sizeof(*w), GFP_KERNEL);
	if (!w)
		return -ENOMEM;
	w->key = m->key;
	w->req = le32_to_cpu(m->req);
	w->uid = uid;
	w->link = bulk_link_get_ref(link);
	atomic_inc(&link->keys->resolves);
	INIT_WORK(&w->work, resolve_work);
	queue_work(bulk_resolve_wq, &w->work);
	return 0;
}

/**
 * bulk_key_announce - tell a host about a key that a message to it will carry
 * @link: the link
 * @region: the region, in the caller's process; not told again to a link that
 *	has been told
 *
 * Process context, may sleep. An error is of no consequence: the peer will ask. Nor
 * is a long queue made longer, which would count against the peer.
 */
void bulk_key_announce(struct bulk_link *link, struct bulk_region *region)
{
	struct bulk_link *half = bulk_link_half(link);

	/* on a host's link to itself keys are asked for on the half that announces */
	if (half)
		link = half;
	if (READ_ONCE(link->ctl_queued) < BULK_CTL_QUEUE_MAX / 4)
		resolve_one(link, region, 0);
	if (half)
		bulk_link_put(half);
}

static const struct bulk_ctl_handler key_resolve_handler = {
	.len	= sizeof(struct bulk_key_resolve),
	.recv	= key_recv_resolve,
};

/**
 * bulk_resolve_init - at module load
 */
void bulk_resolve_init(void)
{
	bulk_ctl_handle(BULK_KEY_RESOLVE, &key_resolve_handler);
}
