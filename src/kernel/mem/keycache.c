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
 * The table leads from id and generation to the entries of all users. A revoked key stays
 * in it, off all other lists, until nothing posted with it is left (quiet) and the worker
 * answers. What is due is on a list: no event looks at keys that it does not concern.
 *
 * Locks: keys->lock covers table and lists; a poster takes its lane's lock,
 * increments @posted and then looks at @state; the revoker changes @state and
 * then looks at @posted (both with full barriers), so one of them sees the other.
 */
#include "mem/keys.h"

#define KEYS_MAX	16384		/* of a link */
#define KEY_EVICT_TRIES	32		/* keys looked at to make room */

/* ------------------------------------------------------------------- the cache */

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

/**
 * bulk_rkey_unhash - take a key off the table
 * @keys: lock held
 * @rkey: in it; the table's reference goes to the caller
 */
void bulk_rkey_unhash(struct bulk_link_keys *keys, struct bulk_rkey *rkey)
{
	rhltable_remove(&keys->table, &rkey->node, bulk_rkey_params);
	rkey->hashed = false;
}

/**
 * bulk_rkey_end - a key is not good any more
 * @keys: lock held
 * @rkey: RESOLVING or READY
 * @state: REFUSED or REVOKED
 *
 * It leaves all lists, but not the table.
 */
void bulk_rkey_end(struct bulk_link_keys *keys, struct bulk_rkey *rkey,
		   enum bulk_rkey_state state)
{
	list_del_init(&rkey->lru);
	keys->nr_keys--;
	keys->nr_rkeys -= rkey->total;
	if (!list_empty(&rkey->asked)) {
		list_del_init(&rkey->asked);
		keys->resolving--;
	}
	WRITE_ONCE(rkey->state, state);
}

/**
 * bulk_rkey_lookup - a user's entry for a key
 * @link: its keys->lock held
 * @key: all of it counts
 * @uid: the user
 *
 * Return: the entry, which is not revoked, or NULL.
 */
struct bulk_rkey *bulk_rkey_lookup(struct bulk_link *link, const struct bulk_key *key,
				   kuid_t uid)
{
	struct rhlist_head *list, *pos;
	struct bulk_rkey *rkey, *found = NULL;

	rcu_read_lock();
	list = rhltable_lookup(&link->keys->table, key, bulk_rkey_params);
	rhl_for_each_entry_rcu(rkey, pos, list, node) {
		if (uid_eq(rkey->uid, uid) && rkey->state != BULK_RKEY_REVOKED &&
		    !memcmp(&rkey->key, key, sizeof(*key))) {
			found = rkey;
			break;
		}
	}
	rcu_read_unlock();
	return found;
}

/**
 * bulk_rkey_alloc - an entry to be inserted
 * @link: link
 * @key: of the other host
 * @uid: user
 *
 * Context: process.
 * Return: the entry, RESOLVING, to be freed by kfree(); or NULL.
 */
struct bulk_rkey *bulk_rkey_alloc(struct bulk_link *link, const struct bulk_key *key, kuid_t uid)
{
	struct bulk_rkey *rkey = kzalloc(sizeof(*rkey), GFP_KERNEL);

	if (!rkey)
		return NULL;
	refcount_set(&rkey->ref, 1);
	INIT_LIST_HEAD(&rkey->lru);
	INIT_LIST_HEAD(&rkey->asked);
	rkey->link = link;
	rkey->key = *key;
	rkey->uid = uid;
	rkey->since = jiffies;
	rkey->state = BULK_RKEY_RESOLVING;
	return rkey;
}

/*
 * keys->lock held: take the least recently used key out that nobody uses, if there is one
 * among the first. Those in use are not looked at again soon.
 */
static struct bulk_rkey *rkey_evict(struct bulk_link_keys *keys)
{
	struct bulk_rkey *rkey;
	int tries;

	for (tries = 0; tries < KEY_EVICT_TRIES && !list_empty(&keys->lru); tries++) {
		rkey = list_first_entry(&keys->lru, struct bulk_rkey, lru);
		if (refcount_read(&rkey->ref) == 1 && !atomic_read(&rkey->posted)) {
			bulk_rkey_end(keys, rkey, BULK_RKEY_REFUSED);
			bulk_rkey_unhash(keys, rkey);
			return rkey;
		}
		list_move_tail(&rkey->lru, &keys->lru);
	}
	return NULL;
}

/**
 * bulk_rkey_insert - add an entry to the cache
 * @link: its keys->lock held
 * @rkey: entry; its reference is the table's from now on
 * @victim: a key that had to make room, to be put, or NULL
 *
 * Return: 0 or -ENOMEM.
 */
int bulk_rkey_insert(struct bulk_link *link, struct bulk_rkey *rkey, struct bulk_rkey **victim)
{
	struct bulk_link_keys *keys = link->keys;

	*victim = keys->nr_keys >= KEYS_MAX ? rkey_evict(keys) : NULL;
	if (rhltable_insert(&keys->table, &rkey->node, bulk_rkey_params))
		return -ENOMEM;
	rkey->hashed = true;
	list_add_tail(&rkey->lru, &keys->lru);
	keys->nr_keys++;
	if (rkey->req) {
		list_add_tail(&rkey->asked, &keys->asked);
		keys->resolving++;
	}
	return 0;
}

static void key_send_resolve(struct bulk_link *link, struct bulk_rkey *rkey,
			     struct bulk_key_resolve *m)
{
	m->req = cpu_to_le32(rkey->req);
	m->uid = cpu_to_le32(from_kuid(&init_user_ns, rkey->uid));
	m->key = rkey->key;
	bulk_key_trace(link, &rkey->key, "resolve");
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
	struct bulk_rkey *rkey, *new, *victim = NULL;
	int err;

	*fresh = false;
	spin_lock_bh(&link->keys->lock);
	rkey = bulk_rkey_lookup(link, key, uid);
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

	new = bulk_rkey_alloc(link, key, uid);
	m = bulk_ctl_alloc(link, BULK_KEY_RESOLVE, sizeof(*m), GFP_KERNEL);
	if (!new || !m) {
		kfree(new);
		bulk_ctl_free(m);
		return ERR_PTR(-ENOMEM);
	}
	spin_lock_bh(&link->keys->lock);
	rkey = bulk_rkey_lookup(link, key, uid);
	if (rkey) {
		refcount_inc(&rkey->ref);
		spin_unlock_bh(&link->keys->lock);
		kfree(new);
		bulk_ctl_free(m);
		return rkey;
	}
	err = link->keys->resolving >= BULK_RESOLVES_MAX ? -EAGAIN : 0;
	if (!err) {
		if (!++link->keys->next_req)
			link->keys->next_req = 1;
		new->req = link->keys->next_req;
		err = bulk_rkey_insert(link, new, &victim);
	}
	if (!err)
		refcount_inc(&new->ref);
	spin_unlock_bh(&link->keys->lock);
	if (victim)
		bulk_key_put(victim);
	if (err) {
		kfree(new);
		bulk_ctl_free(m);
		return ERR_PTR(err);
	}
	key_send_resolve(link, new, m);
	bulk_link_watch(link);
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

/* A revoked key, nothing posted with which is left: KEY_REVOKED is due. */
static void rkey_quiet(struct bulk_rkey *rkey)
{
	struct bulk_link_keys *keys = rkey->link->keys;

	spin_lock_bh(&keys->lock);
	if (rkey->hashed && list_empty(&rkey->lru) && !atomic_read(&rkey->posted))
		list_add_tail(&rkey->lru, &keys->quiet);
	spin_unlock_bh(&keys->lock);
	bulk_link_kick(rkey->link);
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
	/* fully ordered; pairs with key_recv_revoke() */
	if (atomic_dec_and_test(&rkey->posted) && READ_ONCE(rkey->state) == BULK_RKEY_REVOKED)
		rkey_quiet(rkey);
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

/**
 * bulk_key_drop_all - the link is over: its keys are dead
 * @link: link, whose lanes are destroyed
 */
void bulk_key_drop_all(struct bulk_link *link)
{
	struct bulk_link_keys *keys = link->keys;
	struct bulk_rkey *rkey;

	for (;;) {
		spin_lock_bh(&keys->lock);
		rkey = list_first_entry_or_null(&keys->lru, struct bulk_rkey, lru);
		if (rkey) {
			bulk_rkey_end(keys, rkey, BULK_RKEY_REFUSED);
		} else {
			rkey = list_first_entry_or_null(&keys->quiet, struct bulk_rkey, lru);
			if (rkey)
				list_del_init(&rkey->lru);
		}
		if (rkey)
			bulk_rkey_unhash(keys, rkey);
		spin_unlock_bh(&keys->lock);
		if (!rkey)
			break;
		bulk_key_put(rkey);
	}
	wake_up_all(&keys->wait);
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
	int err;

	if (!keys)
		return -ENOMEM;
	err = rhltable_init(&keys->table, &bulk_rkey_params);
	if (err) {
		kfree(keys);
		return err;
	}
	spin_lock_init(&keys->lock);
	INIT_LIST_HEAD(&keys->lru);
	INIT_LIST_HEAD(&keys->asked);
	INIT_LIST_HEAD(&keys->quiet);
	init_waitqueue_head(&keys->wait);
	link->keys = keys;
	return 0;
}

/**
 * bulk_key_release - nobody refers to a link any more
 * @link: link
 *
 * Context: process.
 */
void bulk_key_release(struct bulk_link *link)
{
	if (!link->keys)
		return;
	/* those that were asked about when the link was over */
	bulk_key_drop_all(link);
	rhltable_destroy(&link->keys->table);
	kfree(link->keys);
}
