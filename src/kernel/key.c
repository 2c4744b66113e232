// SPDX-License-Identifier: GPL-2.0 OR BSD-3-Clause
/*
 * Keys of other hosts' regions, as resolved over the control lane, and answers
 * to other hosts that ask for ours.
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
 * Locks: link->lock covers the table; a poster takes its lane's lock,
 * increments @posted and then looks at @state; the revoker changes @state and
 * then looks at @posted (both with full barriers), so one of them sees the other.
 *
 * Answering KEY_RESOLVE may have to register memory, so each is a work item; a
 * peer may have BULK_RESOLVES_MAX of them under way.
 */
#include <linux/hash.h>
#include "link.h"
#include "base/trace.h"

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

/* link->lock held: off the table; its reference goes to the caller. */
static void rkey_unhash(struct bulk_link *link, struct bulk_rkey *rkey)
{
	hash_del(&rkey->node);
	list_del_init(&rkey->lru);
	link->nr_keys--;
	link->nr_rkeys -= rkey->total;
	if (rkey->req && rkey->state == BULK_RKEY_RESOLVING)
		link->resolving--;
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

	hash_for_each_possible(link->keys, rkey, node, rkey_hash(key))
		if (uid_eq(rkey->uid, uid) && !memcmp(&rkey->key, key, sizeof(*key)))
			return rkey;
	return NULL;
}

static struct bulk_rkey *rkey_by_req(struct bulk_link *link, u32 req)
{
	struct bulk_rkey *rkey;

	/* those being resolved are the youngest */
	list_for_each_entry_reverse(rkey, &link->key_lru, lru)
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

/* link->lock held: insert; drops the least recently used idle key if full. */
static struct bulk_rkey *rkey_insert(struct bulk_link *link, struct bulk_rkey *rkey)
{
	struct bulk_rkey *old, *victim = NULL;

	if (link->nr_keys >= BULK_KEYS_MAX) {
		list_for_each_entry(old, &link->key_lru, lru) {
			if (refcount_read(&old->ref) == 1 && !atomic_read(&old->posted)) {
				victim = old;
				rkey_unhash(link, victim);
				break;
			}
		}
	}
	hash_add(link->keys, &rkey->node, rkey_hash(&rkey->key));
	list_add_tail(&rkey->lru, &link->key_lru);
	link->nr_keys++;
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
	spin_lock_bh(&link->lock);
	rkey = rkey_lookup(link, key, uid);
	if (rkey) {
		refcount_inc(&rkey->ref);
		if (rkey->state == BULK_RKEY_READY)
			list_move_tail(&rkey->lru, &link->key_lru);
	}
	spin_unlock_bh(&link->lock);
	if (rkey)
		return rkey;
	if (!ask)
		return ERR_PTR(-EKEYREJECTED);

	new = rkey_alloc(link, key, uid);
	m = bulk_ctl_alloc(link, BULK_KEY_RESOLVE, sizeof(*m), GFP_KERNEL);
	if (!new || !m) {
		kfree(new);
		kfree(m ? container_of((void *)m, struct bulk_ctl_msg, data) : NULL);
		return ERR_PTR(-ENOMEM);
	}
	spin_lock_bh(&link->lock);
	rkey = rkey_lookup(link, key, uid);
	if (rkey) {
		refcount_inc(&rkey->ref);
		spin_unlock_bh(&link->lock);
		kfree(new);
		kfree(container_of((void *)m, struct bulk_ctl_msg, data));
		return rkey;
	}
	if (link->resolving >= BULK_RESOLVES_MAX) {
		spin_unlock_bh(&link->lock);
		kfree(new);
		kfree(container_of((void *)m, struct bulk_ctl_msg, data));
		return ERR_PTR(-EAGAIN);
	}
	link->resolving++;
	if (!++link->next_req)
		link->next_req = 1;
	new->req = link->next_req;
	victim = rkey_insert(link, new);
	refcount_inc(&new->ref);
	spin_unlock_bh(&link->lock);
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
	smp_mb__after_atomic();		/* pairs with bulk_key_revoke() */
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
	struct bulk_lane *lane;

	lockdep_assert_held(&link->mutex);
	list_for_each_entry(lane, &link->lanes, list)
		bulk_lane_pump(lane);
	wake_up_all(&link->key_wait);
	bulk_link_kick(link);	/* and who was refused for want of a place */
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

/**
 * bulk_key_resolved - KEY_RESOLVED has come
 * @link: link, its mutex held
 * @m: the message, at least as long as its head
 *
 * Return: 0, or an error that closes the link.
 */
int bulk_key_resolved(struct bulk_link *link, const struct bulk_key_resolved *m)
{
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

	spin_lock_bh(&link->lock);
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
	if (!first && link->nr_rkeys + total > BULK_LINK_RKEYS_MAX)
		goto out;
	if (!first) {
		swap(rkey->rkeys, rkeys);
		rkey->addr = le64_to_cpu(m->addr);
		rkey->length = le64_to_cpu(m->region_length);
		rkey->span = le64_to_cpu(m->span);
		rkey->access = le32_to_cpu(m->access);
		rkey->total = total;
		link->nr_rkeys += total;
	}
	for (i = 0; i < count; i++)
		rkey->rkeys[first + i] = le32_to_cpu(m->rkey[i]);
	rkey->have += count;
	if (rkey->have == total) {
		key_trace(link, &rkey->key, "resolved");
		if (rkey->req)
			link->resolving--;
		/* all other fields are there; pairs with bulk_rkey_state() */
		smp_store_release(&rkey->state, BULK_RKEY_READY);
	}
out:
	spin_unlock_bh(&link->lock);
	kvfree(rkeys);
	kfree(new);
	if (victim)
		bulk_key_put(victim);
	rkey_pump(link);
	return 0;
}

/**
 * bulk_key_refused - KEY_REFUSED has come
 * @link: link, its mutex held
 * @req: of the KEY_RESOLVE
 */
void bulk_key_refused(struct bulk_link *link, u32 req)
{
	struct bulk_rkey *rkey;

	spin_lock_bh(&link->lock);
	rkey = rkey_by_req(link, req);
	if (rkey) {
		rkey_unhash(link, rkey);
		WRITE_ONCE(rkey->state, BULK_RKEY_REFUSED);
	}
	spin_unlock_bh(&link->lock);
	if (rkey) {
		key_trace(link, &rkey->key, "refused");
		rkey_pump(link);
		bulk_key_put(rkey);
	}
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

	spin_lock_bh(&link->lock);
	if (link->resolving) {
		list_for_each_entry_safe(rkey, next, &link->key_lru, lru) {
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
	spin_unlock_bh(&link->lock);
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

/**
 * bulk_key_revoke - KEY_REVOKE has come
 * @link: link, its mutex held
 * @id: the key's
 * @generation: the key's
 *
 * All users' entries of it die; the answer goes when nothing posted with any of them is
 * left (bulk_key_work()).
 */
void bulk_key_revoke(struct bulk_link *link, u32 id, u32 generation)
{
	struct bulk_rkey *rkey;
	struct hlist_node *next;
	unsigned int found = 0;

	trace_bulk_key(link, id, generation, "revoke");
	spin_lock_bh(&link->lock);
	hash_for_each_possible_safe(link->keys, rkey, next, node, id) {
		if (le32_to_cpu(rkey->key.id) != id ||
		    le32_to_cpu(rkey->key.generation) != generation)
			continue;
		rkey_unhash(link, rkey);
		WRITE_ONCE(rkey->state, BULK_RKEY_REVOKED);
		smp_mb();	/* pairs with bulk_key_post() */
		list_add_tail(&rkey->lru, &link->revoked);
		found++;
	}
	spin_unlock_bh(&link->lock);
	if (found)
		rkey_pump(link);
	else
		key_send_revoked(link, id, generation);
}

/**
 * bulk_key_work - answer KEY_REVOKEs
 * @link: link, its mutex held; its worker
 */
void bulk_key_work(struct bulk_link *link)
{
	struct bulk_rkey *rkey, *other, *next;
	LIST_HEAD(done);

	spin_lock_bh(&link->lock);
	list_for_each_entry_safe(rkey, next, &link->revoked, lru)
		if (!atomic_read(&rkey->posted))
			list_move_tail(&rkey->lru, &done);
	spin_unlock_bh(&link->lock);
	list_for_each_entry_safe(rkey, next, &done, lru) {
		bool last = true;

		list_del_init(&rkey->lru);
		/* another user's entry of the same key may still be posted */
		spin_lock_bh(&link->lock);
		list_for_each_entry(other, &link->revoked, lru)
			if (other->key.id == rkey->key.id &&
			    other->key.generation == rkey->key.generation)
				last = false;
		spin_unlock_bh(&link->lock);
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

	spin_lock_bh(&link->lock);
	list_for_each_entry_safe(rkey, next, &link->key_lru, lru) {
		rkey_unhash(link, rkey);
		WRITE_ONCE(rkey->state, BULK_RKEY_REFUSED);
		list_add_tail(&rkey->lru, &keys);
	}
	list_splice_tail_init(&link->revoked, &keys);
	spin_unlock_bh(&link->lock);
	wake_up_all(&link->key_wait);
	list_for_each_entry_safe(rkey, next, &keys, lru) {
		list_del_init(&rkey->lru);
		bulk_key_put(rkey);
	}
}

/* ------------------------------------------------------------- what peers ask us */

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
		key_trace(link, &region->key, "grant");
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
	atomic_dec(&link->resolves);
	bulk_link_put(link);
	kfree(w);
}

/**
 * bulk_key_resolve - KEY_RESOLVE has come
 * @link: link, its mutex held
 * @m: the message, its length checked
 *
 * A worker answers: memory may have to be registered.
 *
 * Return: 0, or an error that closes the link.
 */
int bulk_key_resolve(struct bulk_link *link, const struct bulk_key_resolve *m)
{
	kuid_t uid = make_kuid(&init_user_ns, le32_to_cpu(m->uid));
	struct resolve_work *w;

	/* an answer may have been sent before it is counted as such */
	if (!m->req || !uid_valid(uid) ||
	    atomic_read(&link->resolves) >= 2 * BULK_RESOLVES_MAX)
		return -EPROTO;
	w = kzalloc(sizeof(*w), GFP_KERNEL);
	if (!w)
		return -ENOMEM;
	w->key = m->key;
	w->req = le32_to_cpu(m->req);
	w->uid = uid;
	w->link = bulk_link_get_ref(link);
	atomic_inc(&link->resolves);
	INIT_WORK(&w->work, resolve_work);
	queue_work(bulk_wq, &w->work);
	return 0;
}

/**
 * bulk_link_announce - tell a host about a key that a message to it will carry
 * @link: the link
 * @region: the region, in the caller's process; not told again to a link that
 *	has been told
 *
 * Process context, may sleep. An error is of no consequence: the peer will ask. Nor
 * is a long queue made longer, which would count against the peer.
 */
void bulk_link_announce(struct bulk_link *link, struct bulk_region *region)
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
