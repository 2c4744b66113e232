// SPDX-License-Identifier: GPL-2.0 OR BSD-3-Clause
/*
 * Keys of other hosts' regions, as resolved over the control lane.
 *
 * A link caches what it has resolved: a key becomes an array of rkeys with the
 * region's bounds and rights. Every operation is checked against that before it
 * is posted, so that no wrong address reaches the queue pair, which others share.
 *
 * A cached key is found by all of its 24 bytes and the user id. It dies by
 * KEY_REVOKE: from then on it is not posted any more; when nothing posted with
 * it is left, KEY_REVOKED is answered. It also dies with its link, by refusal,
 * and, unused, when the cache is full.
 *
 * Locks: keys->lock covers the table; a poster takes its lane's lock,
 * increments @posted and then looks at @state; the revoker changes @state and
 * then looks at @posted (both with full barriers), so one of them sees the other.
 */
#include <linux/hash.h>

#include "mem/private.h"

#define KEYS_MAX	16384		/* of a link */
#define KEY_RKEYS_MAX	(4u << 20)	/* rkeys in them */

/* ------------------------------------------------------------------- the cache */

static u32 rkey_hash(const struct bulk_key *key)
{
	return le32_to_cpu(key->id);
}

/**
 * bulk_key_put - drop a reference
 * @rkey: key
 *
 * Context: any.
 */
void bulk_key_put(struct bulk_rkey *rkey)
{
	if (refcount_dec_and_test(&rkey->ref)) {
		kvfree(rkey->rkeys);
		kfree(rkey);
	}
}

/* link->keys->lock held: off the table; its reference goes to the caller. */
static void rkey_unhash(struct bulk_link *link, struct bulk_rkey *rkey)
{
	hash_del(&rkey->node);
	list_del_init(&rkey->lru);
	link->keys->nr_keys--;
	link->keys->nr_rkeys -= rkey->total;
	if (rkey->req && rkey->state == BULK_RKEY_RESOLVING)
		link->keys->resolving--;
}

static void key_trace(const struct bulk_link *link, const struct bulk_key *key,
		      const char *step)
{
	trace_bulk_key(link, le32_to_cpu(key->id), le32_to_cpu(key->generation), step);
}

static struct bulk_rkey *rkey_lookup(struct bulk_link *link, const struct bulk_key *key,
				    kuid_t uid)
{
	struct bulk_rkey *rkey;

	hash_for_each_possible(link->keys->table, rkey, node, rkey_hash(key))
		if (uid_eq(rkey->uid, uid) && !memcmp(&rkey->key, key, sizeof(*key)))
			return rkey;
	return NULL;
}

static struct bulk_rkey *rkey_by_req(struct bulk_link *link, u32 req)
{
	struct bulk_rkey *rkey;

	/* those being resolved are the youngest */
	list_for_each_entry_reverse(rkey, &link->keys->lru, lru)
		if (rkey->req == req && rkey->state == BULK_RKEY_RESOLVING)
			return rkey;
	return NULL;
}

static struct bulk_rkey *rkey_alloc(struct bulk_link *link, const struct bulk_key *key,
				   kuid_t uid)
{
	struct bulk_rkey *rkey = kzalloc(sizeof(*rkey), GFP_KERNEL);

	if (!rkey)
		return NULL;
	refcount_set(&rkey->ref, 1);
	INIT_LIST_HEAD(&rkey->lru);
	rkey->link = link;
	rkey->key = *key;
	rkey->uid = uid;
	rkey->since = jiffies;
	rkey->state = BULK_RKEY_RESOLVING;
	return rkey;
}

/* link->keys->lock held: insert; drops the least recently used idle key if full. */
static struct bulk_rkey *rkey_insert(struct bulk_link *link, struct bulk_rkey *rkey)
{
	struct bulk_rkey *old, *victim = NULL;

	if (link->keys->nr_keys >= KEYS_MAX) {
		list_for_each_entry(old, &link->keys->lru, lru) {
			if (refcount_read(&old->ref) == 1 && !atomic_read(&old->posted)) {
				victim = old;
				rkey_unhash(link, victim);
				break;
			}
		}
	}
	hash_add(link->keys->table, &rkey->node, rkey_hash(&rkey->key));
	list_add_tail(&rkey->lru, &link->keys->lru);
	link->keys->nr_keys++;
	return victim;
}

static void key_send_resolve(struct bulk_link *link, struct bulk_rkey *rkey,
			     struct bulk_key_resolve *m)
{
	m->req = cpu_to_le32(rkey->req);
	m->uid = cpu_to_le32(from_kuid(&init_user_ns, rkey->uid));
	m->key = rkey->key;
	key_trace(link, &rkey->key, "resolve");
	bulk_ctl_queue(link, m);
}

/**
 * bulk_key_get - the cache's entry for a key
 * @link: link to the host that owns it
 * @key: as the process gave it
 * @uid: the process's user
 * @ask: send KEY_RESOLVE if it is not there
 * @fresh: out: KEY_RESOLVE had to be sent
 *
 * Return: a reference, or ERR_PTR: -ENOMEM; -EAGAIN if too many are being
 * resolved; -EKEYREJECTED if it is not there and @ask is false. Process context.
 */
struct bulk_rkey *bulk_key_get(struct bulk_link *link, const struct bulk_key *key,
			       kuid_t uid, bool ask, bool *fresh)
{
	struct bulk_key_resolve *m;
	struct bulk_rkey *rkey, *new, *victim;

	*fresh = false;
	spin_lock_bh(&link->keys->lock);
	rkey = rkey_lookup(link, key, uid);
	if (rkey) {
		refcount_inc(&rkey->ref);
		if (rkey->state == BULK_RKEY_READY)
			list_move_tail(&rkey->lru, &link->keys->lru);
	}
	spin_unlock_bh(&link->keys->lock);
	if (rkey)
		return rkey;
	if (!ask)
		return ERR_PTR(-EKEYREJECTED);

	new = rkey_alloc(link, key, uid);
	m = bulk_ctl_alloc(link, BULK_KEY_RESOLVE, sizeof(*m), GFP_KERNEL);
	if (!new || !m) {
		kfree(new);
		bulk_ctl_free(m);
		return ERR_PTR(-ENOMEM);
	}
	spin_lock_bh(&link->keys->lock);
	rkey = rkey_lookup(link, key, uid);
	if (rkey) {
		refcount_inc(&rkey->ref);
		spin_unlock_bh(&link->keys->lock);
		kfree(new);
		bulk_ctl_free(m);
		return rkey;
	}
	if (link->keys->resolving >= BULK_RESOLVES_MAX) {
		spin_unlock_bh(&link->keys->lock);
		kfree(new);
		bulk_ctl_free(m);
		return ERR_PTR(-EAGAIN);
	}
	link->keys->resolving++;
	if (!++link->keys->next_req)
		link->keys->next_req = 1;
	new->req = link->keys->next_req;
	victim = rkey_insert(link, new);
	refcount_inc(&new->ref);
	spin_unlock_bh(&link->keys->lock);
	if (victim)
		bulk_key_put(victim);
	key_send_resolve(link, new, m);
	bulk_link_kick(link);	/* which watches over the time */
	*fresh = true;
	return new;
}

/**
 * bulk_key_check - may these bytes be accessed?
 * @rkey: READY
 * @addr: first byte in the remote process
 * @len: bytes, not 0
 * @access: RDMA_BULK_ACCESS_* needed
 *
 * Return: 0, -ERANGE or -EACCES.
 */
int bulk_key_check(const struct bulk_rkey *rkey, u64 addr, u64 len, u32 access)
{
	if (addr < rkey->addr || len > rkey->length ||
	    addr - rkey->addr > rkey->length - len)
		return -ERANGE;
	return (rkey->access & access) == access ? 0 : -EACCES;
}

/**
 * bulk_key_at - the rkey for an address
 * @rkey: READY; @addr has been checked
 * @addr: in the remote process
 * @run: out: bytes from there that the same rkey covers
 *
 * Return: the rkey.
 */
u32 bulk_key_at(const struct bulk_rkey *rkey, u64 addr, u64 *run)
{
	u64 base = rkey->addr & ~4095ULL;
	u64 i = div64_u64(addr - base, rkey->span);

	*run = base + (i + 1) * rkey->span - addr;
	return rkey->rkeys[i];
}

/**
 * bulk_key_post - a work request is about to be posted with a key
 * @rkey: key
 *
 * Context: under the lane's lock.
 *
 * Return: false if it is dead; else bulk_key_posted_done() is due.
 */
bool bulk_key_post(struct bulk_rkey *rkey)
{
	atomic_inc(&rkey->posted);
	smp_mb__after_atomic();		/* pairs with key_recv_revoke() */
	if (READ_ONCE(rkey->state) == BULK_RKEY_READY)
		return true;
	bulk_key_posted_done(rkey);
	return false;
}

/**
 * bulk_key_posted_done - a work request has ended, or was not posted
 * @rkey: key; the caller holds its link
 *
 * The last one of a revoked key lets KEY_REVOKED go.
 *
 * Context: any.
 */
void bulk_key_posted_done(struct bulk_rkey *rkey)
{
	/* fully ordered; pairs with bulk_key_work() */
	if (atomic_dec_and_test(&rkey->posted) && READ_ONCE(rkey->state) == BULK_RKEY_REVOKED)
		bulk_link_kick(rkey->link);
}

/* Whoever waits for a key may go on now. */
static void rkey_pump(struct bulk_link *link)
{
	bulk_link_pump(link);
	wake_up_all(&link->keys->wait);
	bulk_link_kick(link);	/* and who was refused for want of a place */
}

/**
 * bulk_key_queue - where to wait for the end of RESOLVING
 * @link: link of the keys
 *
 * Return: the queue.
 */
wait_queue_head_t *bulk_key_queue(struct bulk_link *link)
{
	return &link->keys->wait;
}

/**
 * bulk_key_wake - have all who wait for a key look again
 * @link: link of the keys
 *
 * Context: any.
 */
void bulk_key_wake(struct bulk_link *link)
{
	wake_up_all(&link->keys->wait);
}

/* ------------------------------------------------------------- what peers tell us */

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
		new = rkey_alloc(link, &m->key, uid);
		if (!new) {
			kvfree(rkeys);
			return 0;
		}
	}

	spin_lock_bh(&link->keys->lock);
	rkey = req ? rkey_by_req(link, req) : rkey_lookup(link, &m->key, uid);
	if (!rkey && new) {
		rkey = new;
		victim = rkey_insert(link, new);
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
		key_trace(link, &rkey->key, "resolved");
		if (rkey->req)
			link->keys->resolving--;
		/* all other fields are there; pairs with bulk_rkey_state() */
		smp_store_release(&rkey->state, BULK_RKEY_READY);
	}
out:
	spin_unlock_bh(&link->keys->lock);
	kvfree(rkeys);
	kfree(new);
	if (victim)
		bulk_key_put(victim);
	rkey_pump(link);
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
		rkey_unhash(link, rkey);
		WRITE_ONCE(rkey->state, BULK_RKEY_REFUSED);
	}
	spin_unlock_bh(&link->keys->lock);
	if (rkey) {
		key_trace(link, &rkey->key, "refused");
		rkey_pump(link);
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
	struct bulk_rkey *rkey, *next;
	bool waiting = false;
	LIST_HEAD(late);

	spin_lock_bh(&link->keys->lock);
	if (link->keys->resolving) {
		list_for_each_entry_safe(rkey, next, &link->keys->lru, lru) {
			if (rkey->state != BULK_RKEY_RESOLVING)
				continue;
			if (time_before(rkey->since, asked)) {
				rkey_unhash(link, rkey);
				WRITE_ONCE(rkey->state, BULK_RKEY_REFUSED);
				list_add_tail(&rkey->lru, &late);
			} else {
				waiting = true;
			}
		}
	}
	spin_unlock_bh(&link->keys->lock);
	if (list_empty(&late))
		return waiting;
	rkey_pump(link);
	list_for_each_entry_safe(rkey, next, &late, lru) {
		list_del_init(&rkey->lru);
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
	struct bulk_rkey *rkey;
	struct hlist_node *next;
	unsigned int found = 0;

	trace_bulk_key(link, id, generation, "revoke");
	spin_lock_bh(&link->keys->lock);
	hash_for_each_possible_safe(link->keys->table, rkey, next, node, id) {
		if (le32_to_cpu(rkey->key.id) != id ||
		    le32_to_cpu(rkey->key.generation) != generation)
			continue;
		rkey_unhash(link, rkey);
		WRITE_ONCE(rkey->state, BULK_RKEY_REVOKED);
		smp_mb();	/* pairs with bulk_key_post() */
		list_add_tail(&rkey->lru, &link->keys->revoked);
		found++;
	}
	spin_unlock_bh(&link->keys->lock);
	if (found)
		rkey_pump(link);
	else
		key_send_revoked(link, id, generation);
	return 0;
}

/**
 * bulk_key_work - answer KEY_REVOKEs
 * @link: link, its mutex held; its worker
 */
void bulk_key_work(struct bulk_link *link)
{
	struct bulk_rkey *rkey, *other, *next;
	LIST_HEAD(done);

	spin_lock_bh(&link->keys->lock);
	list_for_each_entry_safe(rkey, next, &link->keys->revoked, lru)
		if (!atomic_read(&rkey->posted))
			list_move_tail(&rkey->lru, &done);
	spin_unlock_bh(&link->keys->lock);
	list_for_each_entry_safe(rkey, next, &done, lru) {
		bool last = true;

		list_del_init(&rkey->lru);
		/* another user's entry of the same key may still be posted */
		spin_lock_bh(&link->keys->lock);
		list_for_each_entry(other, &link->keys->revoked, lru)
			if (other->key.id == rkey->key.id &&
			    other->key.generation == rkey->key.generation)
				last = false;
		spin_unlock_bh(&link->keys->lock);
		if (last)
			key_send_revoked(link, le32_to_cpu(rkey->key.id),
					 le32_to_cpu(rkey->key.generation));
		bulk_key_put(rkey);
	}
}

/**
 * bulk_key_drop_all - the link is over: its keys are dead
 * @link: link, whose lanes are destroyed
 */
void bulk_key_drop_all(struct bulk_link *link)
{
	struct bulk_rkey *rkey, *next;
	LIST_HEAD(keys);

	spin_lock_bh(&link->keys->lock);
	list_for_each_entry_safe(rkey, next, &link->keys->lru, lru) {
		rkey_unhash(link, rkey);
		WRITE_ONCE(rkey->state, BULK_RKEY_REFUSED);
		list_add_tail(&rkey->lru, &keys);
	}
	list_splice_tail_init(&link->keys->revoked, &keys);
	spin_unlock_bh(&link->keys->lock);
	wake_up_all(&link->keys->wait);
	list_for_each_entry_safe(rkey, next, &keys, lru) {
		list_del_init(&rkey->lru);
		bulk_key_put(rkey);
	}
}

/* ------------------------------------------------------------- part of a link */

/**
 * bulk_key_attach - make the cache of a new link
 * @link: link
 *
 * Return: 0 or -ENOMEM.
 */
int bulk_key_attach(struct bulk_link *link)
{
	struct bulk_link_keys *keys = kzalloc(sizeof(*keys), GFP_KERNEL);

	if (!keys)
		return -ENOMEM;
	spin_lock_init(&keys->lock);
	hash_init(keys->table);
	INIT_LIST_HEAD(&keys->lru);
	INIT_LIST_HEAD(&keys->revoked);
	init_waitqueue_head(&keys->wait);
	link->keys = keys;
	return 0;
}

/**
 * bulk_key_release - nobody refers to a link any more
 * @link: link
 *
 * Context: any.
 */
void bulk_key_release(struct bulk_link *link)
{
	if (!link->keys)
		return;
	/* those that were asked about when the link was over */
	bulk_key_drop_all(link);
	kfree(link->keys);
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
