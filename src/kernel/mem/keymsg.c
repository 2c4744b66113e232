// SPDX-License-Identifier: GPL-2.0 OR BSD-3-Clause
/*
 * What other hosts tell about their keys: KEY_RESOLVED, KEY_REFUSED, KEY_REVOKE; and what
 * they are answered
 *
 * Handlers run under link->mutex, in the control lane's completion worker, the rest in
 * the link's worker; keys->lock as in keycache.c.
 */
#include "mem/keys.h"

#define KEY_RKEYS_MAX	(4u << 20)	/* rkeys in a link's keys */

/* keys->lock held: the one that KEY_RESOLVE @req is about */
static struct bulk_rkey *rkey_by_req(struct bulk_link *link, u32 req)
{
	struct bulk_rkey *rkey;

	list_for_each_entry(rkey, &link->keys->asked, asked)
		if (rkey->req == req)
			return rkey;
	return NULL;
}

/* Whoever waits for a key of this user may go on now. link->mutex held. */
static void rkey_pump(struct bulk_link *link, kuid_t uid)
{
	struct bulk_lane *lane = bulk_lane_find(link, uid);

	if (lane) {
		bulk_lane_pump_keys(lane);
		bulk_lane_put(lane);
	}
	wake_up_all(&link->keys->wait);
	bulk_link_kick(link);	/* and who was refused for want of a place */
}

static int resolved_check(const struct bulk_key_resolved *m)
{
	u64 addr = le64_to_cpu(m->addr), length = le64_to_cpu(m->region_length);
	u64 span = le64_to_cpu(m->span), base = addr & ~4095ULL;
	u32 total = le32_to_cpu(m->total), first = le32_to_cpu(m->first);
	u32 count = le32_to_cpu(m->count);

	if (!length || addr + length < addr || !span || span & 4095 ||
	    !total || total > BULK_RKEYS_TOTAL || !count || count > BULK_RKEYS_MAX ||
	    first >= total || count > total - first ||
	    le32_to_cpu(m->h.length) != struct_size(m, rkey, count))
		return -EPROTO;
	/* the memory regions cover the region, and no more are listed than do */
	if (DIV64_U64_ROUND_UP(addr + length - base, span) != total)
		return -EPROTO;
	return 0;
}

/* KEY_RESOLVED has come, at least as long as its head. */
static int key_recv_resolved(struct bulk_link *link, const struct bulk_hdr *h)
{
	const struct bulk_key_resolved *m = (const void *)h;
	kuid_t uid = make_kuid(&init_user_ns, le32_to_cpu(m->uid));
	u32 total, first, count, i, req = le32_to_cpu(m->req);
	struct bulk_rkey *rkey, *new = NULL, *victim = NULL;
	u32 *rkeys;
	int err;

	if (!uid_valid(uid))
		return -EPROTO;
	err = resolved_check(m);
	if (err)
		return err;
	total = le32_to_cpu(m->total);
	first = le32_to_cpu(m->first);
	count = le32_to_cpu(m->count);
	/* an unsolicited list is taken whole or not at all: nobody waits for its rest */
	if (!req && count != total)
		return 0;
	rkeys = first ? NULL : kvcalloc(total, sizeof(*rkeys), GFP_KERNEL);
	if (!first && !rkeys)
		return 0;	/* stays unresolved until bulk_key_waiting() */
	if (!req && !first) {
		new = bulk_rkey_alloc(link, &m->key, uid);
		if (!new) {
			kvfree(rkeys);
			return 0;
		}
	}

	spin_lock_bh(&link->keys->lock);
	rkey = req ? rkey_by_req(link, req) : bulk_rkey_lookup(link, &m->key, uid);
	if (!rkey && new && !bulk_rkey_insert(link, new, &victim)) {
		rkey = new;
		new = NULL;
	}
	/* resolved already (asked and told at once), or revoked meanwhile */
	if (!rkey || rkey->state != BULK_RKEY_RESOLVING ||
	    memcmp(&rkey->key, &m->key, sizeof(m->key)) || rkey->have != first ||
	    (first && rkey->total != total))
		goto out;
	if (!first && link->keys->nr_rkeys + total > KEY_RKEYS_MAX)
		goto out;
	if (!first) {
		swap(rkey->rkeys, rkeys);
		rkey->addr = le64_to_cpu(m->addr);
		rkey->length = le64_to_cpu(m->region_length);
		rkey->span = le64_to_cpu(m->span);
		rkey->access = le32_to_cpu(m->access);
		rkey->total = total;
		link->keys->nr_rkeys += total;
	}
	for (i = 0; i < count; i++)
		rkey->rkeys[first + i] = le32_to_cpu(m->rkey[i]);
	rkey->have += count;
	if (rkey->have == total) {
		bulk_key_trace(link, &rkey->key, "resolved");
		if (!list_empty(&rkey->asked)) {
			list_del_init(&rkey->asked);
			link->keys->resolving--;
		}
		/* all other fields are there; pairs with bulk_rkey_state() */
		smp_store_release(&rkey->state, BULK_RKEY_READY);
	}
out:
	spin_unlock_bh(&link->keys->lock);
	kvfree(rkeys);
	kfree(new);
	if (victim)
		bulk_key_put(victim);
	rkey_pump(link, uid);
	return 0;
}

/* KEY_REFUSED has come. */
static int key_recv_refused(struct bulk_link *link, const struct bulk_hdr *h)
{
	const struct bulk_refused *m = (const void *)h;
	struct bulk_rkey *rkey;

	spin_lock_bh(&link->keys->lock);
	rkey = rkey_by_req(link, le32_to_cpu(m->id));
	if (rkey) {
		bulk_rkey_end(link->keys, rkey, BULK_RKEY_REFUSED);
		bulk_rkey_unhash(link->keys, rkey);
	}
	spin_unlock_bh(&link->keys->lock);
	if (rkey) {
		bulk_key_trace(link, &rkey->key, "refused");
		rkey_pump(link, rkey->uid);
		bulk_key_put(rkey);
	}
	return 0;
}

/**
 * bulk_key_waiting - give up KEY_RESOLVEs that were not answered in time
 * @link: link, its mutex held
 * @asked: jiffies; those sent before count as refused
 *
 * Return: true if others have no answer yet.
 */
bool bulk_key_waiting(struct bulk_link *link, unsigned long asked)
{
	struct bulk_link_keys *keys = link->keys;
	struct bulk_rkey *rkey, *next;
	bool waiting = false;
	LIST_HEAD(late);

	spin_lock_bh(&keys->lock);
	list_for_each_entry_safe(rkey, next, &keys->asked, asked) {
		if (!time_before(rkey->since, asked)) {
			waiting = true;
			break;
		}
		bulk_rkey_end(keys, rkey, BULK_RKEY_REFUSED);
		bulk_rkey_unhash(keys, rkey);
		list_add_tail(&rkey->lru, &late);
	}
	spin_unlock_bh(&keys->lock);
	list_for_each_entry_safe(rkey, next, &late, lru) {
		list_del_init(&rkey->lru);
		rkey_pump(link, rkey->uid);
		bulk_key_put(rkey);
	}
	return waiting;
}

static void key_send_revoked(struct bulk_link *link, u32 id, u32 generation)
{
	struct bulk_key_revoke *m;

	m = bulk_ctl_alloc(link, BULK_KEY_REVOKED, sizeof(*m), GFP_KERNEL);
	if (!m)
		return;		/* the owner's deadline fences us */
	m->id = cpu_to_le32(id);
	m->generation = cpu_to_le32(generation);
	trace_bulk_key(link, id, generation, "revoked");
	bulk_ctl_queue(link, m);
}

/*
 * KEY_REVOKE has come: all users' entries of the key die; the answer goes when nothing
 * posted with any of them is left (bulk_key_work()).
 */
static int key_recv_revoke(struct bulk_link *link, const struct bulk_hdr *h)
{
	const struct bulk_key_revoke *m = (const void *)h;
	u32 id = le32_to_cpu(m->id), generation = le32_to_cpu(m->generation);
	const struct bulk_key key = { .id = m->id, .generation = m->generation };
	struct bulk_link_keys *keys = link->keys;
	struct rhlist_head *list, *pos;
	struct bulk_rkey *rkey;
	unsigned int found = 0;

	trace_bulk_key(link, id, generation, "revoke");
	spin_lock_bh(&keys->lock);
	rcu_read_lock();
	list = rhltable_lookup(&keys->table, &key, bulk_rkey_params);
	rhl_for_each_entry_rcu(rkey, pos, list, node) {
		found++;
		if (rkey->state == BULK_RKEY_REVOKED)
			continue;
		bulk_rkey_end(keys, rkey, BULK_RKEY_REVOKED);
		smp_mb();	/* pairs with bulk_key_post(), bulk_key_posted_done() */
		if (!atomic_read(&rkey->posted))
			list_add_tail(&rkey->lru, &keys->quiet);
	}
	rcu_read_unlock();
	spin_unlock_bh(&keys->lock);
	if (!found) {
		key_send_revoked(link, id, generation);
		return 0;
	}
	bulk_link_pump(link);
	wake_up_all(&keys->wait);
	bulk_link_kick(link);
	return 0;
}

/**
 * bulk_key_work - answer KEY_REVOKEs
 * @link: link, its mutex held; its worker
 */
void bulk_key_work(struct bulk_link *link)
{
	struct bulk_link_keys *keys = link->keys;
	struct bulk_rkey *rkey;

	for (;;) {
		bool last;

		spin_lock_bh(&keys->lock);
		rkey = list_first_entry_or_null(&keys->quiet, struct bulk_rkey, lru);
		if (rkey) {
			list_del_init(&rkey->lru);
			bulk_rkey_unhash(keys, rkey);
			/* another user's entry of the same key may still be posted */
			rcu_read_lock();
			last = !rhltable_lookup(&keys->table, &rkey->key, bulk_rkey_params);
			rcu_read_unlock();
		}
		spin_unlock_bh(&keys->lock);
		if (!rkey)
			return;
		if (last)
			key_send_revoked(link, le32_to_cpu(rkey->key.id),
					 le32_to_cpu(rkey->key.generation));
		bulk_key_put(rkey);
	}
}

static bool key_resolved_length(const struct bulk_hdr *h, u32 len)
{
	return len >= sizeof(struct bulk_key_resolved);
}

static const struct bulk_ctl_handler key_resolved_handler = {
	.answer	= true,
	.length	= key_resolved_length,
	.recv	= key_recv_resolved,
};

static const struct bulk_ctl_handler key_refused_handler = {
	.len	= sizeof(struct bulk_refused),
	.answer	= true,
	.recv	= key_recv_refused,
};

static const struct bulk_ctl_handler key_revoke_handler = {
	.len	= sizeof(struct bulk_key_revoke),
	.recv	= key_recv_revoke,
};

/**
 * bulk_key_init - at module load
 */
void bulk_key_init(void)
{
	bulk_ctl_handle(BULK_KEY_RESOLVED, &key_resolved_handler);
	bulk_ctl_handle(BULK_KEY_REFUSED, &key_refused_handler);
	bulk_ctl_handle(BULK_KEY_REVOKE, &key_revoke_handler);
}
