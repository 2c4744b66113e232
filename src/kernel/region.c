// SPDX-License-Identifier: GPL-2.0 OR BSD-3-Clause
/*
 * Registered memory: pins, memory regions, keys, and how they end.
 *
 * A region is a range of an address space. With remote access its pages are
 * pinned (FOLL_LONGTERM) and charged from registration until nobody can reach
 * them any more; with none it is a record of the range and nothing else. MRs
 * are made per device, when the region is first used there, locally or by a
 * host that asks for its key.
 *
 * Key. The global table bulk_keys leads from a key's id to its region; the
 * generation tells regions apart that had the same id, the random secret keeps
 * others out. An id stays taken until its region is dead.
 *
 * Grants. When a host is told a key, a struct bulk_grant notes it: on the
 * region's list, and on the list of a struct bulk_grantee, which stands for
 * the lanes of one user id on one link and holds a reference on the link. A
 * grant for a live region outlasts those lanes, as the other host's cache of
 * keys does; it does not outlast the link.
 *
 * Life: LIVE -> REVOKING -> DEAD.
 *
 *  LIVE	the handle names it, the key is good.
 *  REVOKING	entered by deregistration or the end of the domain. Handle and
 *		key are gone at once; no grant is added. region->work asks every
 *		grantee to stop (bulk_link_revoke). A grant ends when that host
 *		answers or, after it was asked, the lanes it could use are
 *		destroyed (bulk_region_link_gone). After two seconds the work has those
 *		lanes destroyed (bulk_link_fence) and goes on waiting: there is
 *		no timeout after which memory that may still be written to is
 *		let go. Own operations that use the region (users) run to their
 *		ends.
 *  DEAD	entered by the work, when no grant and no user is left: MRs
 *		deregistered, pages unpinned and uncharged.
 *
 * References. The state machine owns one (refs) until DEAD, every use has one,
 * and so has region->work when it is queued. The memory is freed by RCU, so that
 * tables are searched without a lock.
 *
 * Locks. region->mutex: MR sets; taken outside dev->mutex. bulk_grant_lock:
 * grants, grantees, region->state, region->deadline; a leaf, in process context.
 * domain->mutex: nothing registers in a dead domain. MR sets are only added to
 * the list while the region lives, so that whoever uses the region may walk
 * it without a lock.
 *
 * Device removal (bulk_regions_removing) deregisters the MRs but leaves the set
 * as an empty shell: a submitter may be reading its keys. They are harmless,
 * as nothing is posted on that device any more.
 *
 * Context: process, except bulk_region_find, _use, _unuse, _put.
 */

#include <linux/hashtable.h>
#include <linux/mm.h>
#include <linux/overflow.h>
#include <linux/random.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>

#include "bulk.h"
#include "base/trace.h"

#define BULK_PIN_BATCH		1024		/* pages */
#define BULK_REVOKE_TIMEOUT	(2 * HZ)
#define BULK_INVALIDATE_TIMEOUT	(HZ / 10)
#define BULK_ACCESS_ALL		(RDMA_BULK_ACCESS_REMOTE_READ | \
				 RDMA_BULK_ACCESS_REMOTE_WRITE)

/* The lanes of a user id on a link. Lives while it has grants. */
struct bulk_grantee {
	struct hlist_node	node;
	struct bulk_link	*link;		/* a reference */
	kuid_t			uid;
	unsigned int		drainers;	/* bulk_region_link_gone() */
	struct list_head	grants;
	struct list_head	asked;		/* of these, to be given up */
};

/* A key that a link has been told. */
struct bulk_grant {
	struct list_head	region_list;	/* those not asked yet come first */
	struct list_head	grantee_list;	/* grants or asked */
	struct bulk_region	*region;
	struct bulk_grantee	*grantee;
	bool			asked;		/* bulk_link_revoke */
	bool			fenced;		/* bulk_link_fence */
};

static DEFINE_SPINLOCK(bulk_grant_lock);
static DEFINE_HASHTABLE(bulk_grantees, 8);	/* by link */

static DEFINE_XARRAY_FLAGS(bulk_keys, XA_FLAGS_ALLOC1);
static u32 bulk_next_key;
static atomic_t bulk_generation;

static atomic_t bulk_regions = ATOMIC_INIT(0);
static DECLARE_WAIT_QUEUE_HEAD(bulk_regions_gone);

static_assert(sizeof(struct bulk_key) == RDMA_BULK_KEY_BYTES);

static void bulk_region_work(struct work_struct *work);

static void region_trace(const struct bulk_region *region, const char *step, int err)
{
	trace_bulk_region(&region->key, region->handle, region->mem.access, region->mem.addr,
			  region->mem.length, step, err);
}

/* ------------------------------------------------------------------- charges */

/**
 * bulk_pin_charge - charge pinned pages to an address space
 * @mm: of the calling process
 * @npages: pages
 *
 * Context: the process itself, whose RLIMIT_MEMLOCK and capability count.
 * Return: 0 or -ENOMEM.
 */
int bulk_pin_charge(struct mm_struct *mm, unsigned long npages)
{
	unsigned long limit = rlimit(RLIMIT_MEMLOCK) >> PAGE_SHIFT;

	if (atomic64_add_return(npages, &mm->pinned_vm) > limit &&
	    !capable(CAP_IPC_LOCK)) {
		atomic64_sub(npages, &mm->pinned_vm);
		return -ENOMEM;
	}
	return 0;
}

/**
 * bulk_pin_uncharge - undo bulk_pin_charge()
 * @mm: the caller holds a reference (mmgrab)
 * @npages: pages
 *
 * Context: any.
 */
void bulk_pin_uncharge(struct mm_struct *mm, unsigned long npages)
{
	atomic64_sub(npages, &mm->pinned_vm);
}

/* ------------------------------------------------------------------- pinning */

static void bulk_region_unpin(struct bulk_region *region, unsigned long pinned)
{
	unsigned long i, n;

	for (i = 0; i < pinned; i += n) {
		n = min(pinned - i, BULK_PIN_BATCH);
		unpin_user_pages_dirty_lock(region->mem.pages + i, n, region->mem.writable);
		cond_resched();
	}
	kvfree(region->mem.pages);
	region->mem.pages = NULL;
	bulk_pin_uncharge(region->mm, region->mem.npages);
	mmdrop(region->mm);
}

static int bulk_region_pin(struct bulk_region *region)
{
	unsigned long start = region->mem.addr & PAGE_MASK;
	unsigned long last = region->mem.addr + region->mem.length - 1;
	unsigned int flags = FOLL_LONGTERM;
	unsigned long done = 0;
	int n, err;

	if (region->mem.writable)
		flags |= FOLL_WRITE;
	region->mem.npages = (last >> PAGE_SHIFT) - (start >> PAGE_SHIFT) + 1;
	if (region->mem.npages > INT_MAX / sizeof(*region->mem.pages))
		return -ENOMEM;

	/* Charged first, so that the limit also bounds the list of pages. */
	err = bulk_pin_charge(current->mm, region->mem.npages);
	if (err)
		return err;
	region->mm = current->mm;
	mmgrab(region->mm);

	region->mem.pages = kvmalloc_array(region->mem.npages, sizeof(*region->mem.pages),
				       GFP_KERNEL_ACCOUNT | __GFP_NOWARN);
	if (!region->mem.pages) {
		err = -ENOMEM;
		goto unpin;
	}
	while (done < region->mem.npages) {
		if (fatal_signal_pending(current)) {
			err = -EINTR;
			goto unpin;
		}
		n = min(region->mem.npages - done, BULK_PIN_BATCH);
		n = pin_user_pages_fast(start + (done << PAGE_SHIFT), n, flags,
					region->mem.pages + done);
		if (n <= 0) {
			err = n ? n : -EFAULT;
			goto unpin;
		}
		done += n;
		cond_resched();
	}
	return 0;

unpin:
	bulk_region_unpin(region, done);
	return err;
}

static struct bulk_mrset *bulk_mrset_find(struct bulk_region *region,
					  struct bulk_dev *dev, u8 port)
{
	struct bulk_mrset *set;

	/* Sets are freed with the last user gone; the caller is one. */
	list_for_each_entry_rcu(set, &region->mrsets, list, true) {
		if (READ_ONCE(set->dev) == dev && set->port == port)
			return set;
	}
	return NULL;
}

/**
 * bulk_region_mrset - the MRs of a region on a device, made if need be
 * @region: in use by the caller (bulk_region_use())
 * @dev: device; the caller holds a reference
 * @port: of the device
 *
 * Context: process, sleeps as long as it takes to register the memory. The
 * caller holds neither dev->mutex nor link->mutex.
 * Return: the set, valid until bulk_region_unuse(); ERR_PTR(-EINVAL) for a
 * region without remote access, -ENODEV if the device is going, -EOPNOTSUPP if
 * it cannot register memory, -EFBIG if the region has too many pieces, -ENOMEM,
 * -EIO.
 */
struct bulk_mrset *bulk_region_mrset(struct bulk_region *region,
				     struct bulk_dev *dev, u8 port)
{
	struct bulk_mrset *set;

	if (!region->mem.access)
		return ERR_PTR(-EINVAL);
	set = bulk_mrset_find(region, dev, port);
	if (set)
		return set;

	mutex_lock(&region->mutex);
	set = bulk_mrset_find(region, dev, port);
	if (!set) {
		/* no pages: a driver has failed to let go of them */
		set = region->mem.pages ? bulk_mrset_create(&region->mem, dev, port, region->uid) :
				      ERR_PTR(-EIO);
		if (!IS_ERR(set))
			list_add_tail_rcu(&set->list, &region->mrsets);
		region_trace(region, "map", PTR_ERR_OR_ZERO(set));
	}
	mutex_unlock(&region->mutex);
	return set;
}

/*
 * A device is going, and its lanes are destroyed: deregister all MRs on it. Pages stay
 * pinned by their regions.
 */
static void bulk_regions_removing(struct bulk_dev *dev)
{
	struct bulk_region *region;
	struct bulk_mrset *set;
	struct bulk_user *user;

	for (;;) {
		region = NULL;
		mutex_lock(&dev->mutex);
		list_for_each_entry(user, &dev->users, list) {
			set = list_first_entry_or_null(&user->mrsets, struct bulk_mrset,
						       user_list);
			if (set) {
				/* A listed set's region is not dead. */
				region = container_of(set->mem, struct bulk_region, mem);
				refcount_inc(&region->refs);
				break;
			}
		}
		mutex_unlock(&dev->mutex);
		if (!region)
			return;

		mutex_lock(&region->mutex);
		list_for_each_entry(set, &region->mrsets, list) {
			if (set->dev == dev)
				bulk_mrset_retire(set);
		}
		mutex_unlock(&region->mutex);
		bulk_region_put(region);
	}
}

/* -------------------------------------------------------- references and use */

/**
 * bulk_region_put - give back a reference to the structure
 * @region: region
 *
 * Context: any.
 */
void bulk_region_put(struct bulk_region *region)
{
	if (!refcount_dec_and_test(&region->refs))
		return;
	kfree_rcu(region, rcu);
	if (atomic_dec_and_test(&bulk_regions))
		wake_up_all(&bulk_regions_gone);
}

/* Have region->work run at once. It holds a reference while it is queued. */
static void bulk_region_kick(struct bulk_region *region)
{
	refcount_inc(&region->refs);
	if (mod_delayed_work(bulk_wq, &region->work, 0))
		bulk_region_put(region);
}

/**
 * bulk_region_find - look up a handle
 * @domain: domain
 * @handle: from a process
 *
 * Context: any.
 * Return: a reference, or NULL.
 */
struct bulk_region *bulk_region_find(struct bulk_domain *domain, u32 handle)
{
	struct bulk_region *region;

	rcu_read_lock();
	region = xa_load(&domain->regions, handle);
	if (region && !refcount_inc_not_zero(&region->refs))
		region = NULL;
	rcu_read_unlock();
	return region;
}

/**
 * bulk_region_use - use a region as local memory of an operation
 * @region: the caller holds a reference; this takes another
 * @addr: first byte
 * @len: bytes
 *
 * The range may also be the whole region, by who needs its MRs for another
 * reason.
 *
 * Context: any.
 * Return: 0, to be followed by bulk_region_unuse(); -ERANGE if the range is not
 * inside; -ENOENT if the region is going.
 */
int bulk_region_use(struct bulk_region *region, u64 addr, u64 len)
{
	if (addr < region->mem.addr || len > region->mem.length ||
	    addr - region->mem.addr > region->mem.length - len)
		return -ERANGE;
	if (READ_ONCE(region->state) != BULK_REGION_LIVE ||
	    !refcount_inc_not_zero(&region->users))
		return -ENOENT;
	refcount_inc(&region->refs);
	return 0;
}

/**
 * bulk_region_unuse - the operation has ended
 * @region: the reference that bulk_region_use() took is given back
 *
 * Context: any.
 */
void bulk_region_unuse(struct bulk_region *region)
{
	if (refcount_dec_and_test(&region->users))
		bulk_region_kick(region);
	bulk_region_put(region);
}

/* -------------------------------------------------------------- keys, grants */

/**
 * bulk_region_by_key - the live region of a key
 * @key: from another host
 * @uid: user id whose lanes will reach the region; must own it
 *
 * Every refusal takes the same comparison of a secret.
 *
 * Context: process.
 * Return: a reference, or ERR_PTR(-EKEYREJECTED).
 */
struct bulk_region *bulk_region_by_key(const struct bulk_key *key, kuid_t uid)
{
	static const struct bulk_key nothing;
	struct bulk_region *region;
	bool good;

	rcu_read_lock();
	region = xa_load(&bulk_keys, le32_to_cpu(key->id));
	good = !crypto_memneq(key, region ? &region->key : &nothing, sizeof(*key));
	good = good && region && uid_eq(region->uid, uid) &&
	       READ_ONCE(region->state) == BULK_REGION_LIVE &&
	       refcount_inc_not_zero(&region->refs);
	rcu_read_unlock();
	return good ? region : ERR_PTR(-EKEYREJECTED);
}

static struct bulk_grantee *bulk_grantee_find(struct bulk_link *link, kuid_t uid)
{
	struct bulk_grantee *grantee;

	hash_for_each_possible(bulk_grantees, grantee, node, (unsigned long)link) {
		if (grantee->link == link &&
		    (!uid_valid(uid) || uid_eq(grantee->uid, uid)))
			return grantee;
	}
	return NULL;
}

static struct bulk_grant *bulk_grant_find(struct bulk_region *region,
					  struct bulk_link *link)
{
	struct bulk_grant *grant;

	list_for_each_entry(grant, &region->grantees, region_list) {
		if (grant->grantee->link == link)
			return grant;
	}
	return NULL;
}

/*
 * Drop the lock and free a grantee that is not needed any more. Full lists
 * or a drainer keep it.
 */
static void bulk_grantee_unlock(struct bulk_grantee *grantee)
	__releases(&bulk_grant_lock)
{
	bool idle = list_empty(&grantee->grants) && list_empty(&grantee->asked) &&
		    !grantee->drainers;

	if (idle)
		hash_del(&grantee->node);
	spin_unlock(&bulk_grant_lock);
	if (idle) {
		bulk_link_put(grantee->link);
		kfree(grantee);
	}
}

/* bulk_grant_lock held */
static void bulk_grant_end(struct bulk_grant *grant)
{
	struct bulk_region *region = grant->region;

	list_del(&grant->region_list);
	list_del(&grant->grantee_list);
	kfree(grant);
	if (region->state == BULK_REGION_REVOKING && list_empty(&region->grantees))
		bulk_region_kick(region);
}

/**
 * bulk_region_grant - note that a link is told the key
 * @region: the caller holds a reference
 * @link: the caller holds a reference, and link->mutex until KEY_RESOLVED is
 *	queued
 *
 * Context: process, may sleep.
 * Return: 0; 1 if the link has been told before; -EKEYREJECTED if the region is
 * going; -ENOMEM.
 */
int bulk_region_grant(struct bulk_region *region, struct bulk_link *link)
{
	struct bulk_grantee *grantee, *spare;
	struct bulk_grant *grant;
	int ret = 0;

	grant = kzalloc(sizeof(*grant), GFP_KERNEL);
	spare = kzalloc(sizeof(*spare), GFP_KERNEL);
	if (!grant || !spare) {
		ret = -ENOMEM;
		goto free;
	}

	spin_lock(&bulk_grant_lock);
	if (region->state != BULK_REGION_LIVE) {
		ret = -EKEYREJECTED;
		goto unlock;
	}
	if (bulk_grant_find(region, link)) {
		ret = 1;
		goto unlock;
	}
	grantee = bulk_grantee_find(link, region->uid);
	if (!grantee) {
		grantee = spare;
		spare = NULL;
		grantee->link = bulk_link_get_ref(link);
		grantee->uid = region->uid;
		INIT_LIST_HEAD(&grantee->grants);
		INIT_LIST_HEAD(&grantee->asked);
		hash_add(bulk_grantees, &grantee->node, (unsigned long)link);
	}
	grant->region = region;
	grant->grantee = grantee;
	list_add(&grant->region_list, &region->grantees);
	list_add(&grant->grantee_list, &grantee->grants);
	grant = NULL;
unlock:
	spin_unlock(&bulk_grant_lock);
free:
	kfree(grant);
	kfree(spare);
	return ret;
}

/**
 * bulk_region_answered - KEY_REVOKED has come
 * @link: from where
 * @id: the key's
 * @generation: the key's
 *
 * Only the answer to a question counts.
 *
 * Context: process; may hold link->mutex.
 */
void bulk_region_answered(struct bulk_link *link, u32 id, u32 generation)
{
	struct bulk_grantee *grantee;
	struct bulk_region *region;
	struct bulk_grant *grant = NULL;

	rcu_read_lock();
	spin_lock(&bulk_grant_lock);
	region = xa_load(&bulk_keys, id);
	if (region && le32_to_cpu(region->key.generation) == generation)
		grant = bulk_grant_find(region, link);
	rcu_read_unlock();
	trace_bulk_key(link, id, generation, "revoked");
	if (!grant || !grant->asked) {
		spin_unlock(&bulk_grant_lock);
		return;
	}
	grantee = grant->grantee;
	bulk_grant_end(grant);
	bulk_grantee_unlock(grantee);
}

/* The lock is held and, between two grants, dropped. */
static void bulk_grants_end(struct list_head *grants)
{
	struct bulk_grant *grant;

	while ((grant = list_first_entry_or_null(grants, struct bulk_grant, grantee_list))) {
		bulk_grant_end(grant);
		cond_resched_lock(&bulk_grant_lock);
	}
}

/**
 * bulk_region_link_gone - lanes are destroyed
 * @link: link
 * @uid: of the lanes, or INVALID_UID if the link is over
 *
 * With @uid, ends those grants to its lanes that the other host was asked to
 * give up: that host may keep the keys of live regions and use them on the
 * next lane. There must have been a moment without a lane of @uid between
 * bulk_link_fence() and this call, and no lane of @uid may have come up since.
 * With INVALID_UID, ends all grants; the other host must forget the keys with
 * the link, and bulk_region_grant() must not be called for @link again.
 *
 * Context: process; may hold link->mutex.
 */
void bulk_region_link_gone(struct bulk_link *link, kuid_t uid)
{
	struct bulk_grantee *grantee;
	LIST_HEAD(asked);

	for (;;) {
		spin_lock(&bulk_grant_lock);
		grantee = bulk_grantee_find(link, uid);
		if (!grantee)
			break;
		/* Those asked from here on are not meant. */
		list_splice_init(&grantee->asked, &asked);
		grantee->drainers++;
		bulk_grants_end(&asked);
		if (uid_valid(uid)) {
			grantee->drainers--;
			bulk_grantee_unlock(grantee);
			return;
		}
		/* Not to be found again; freed by the last drainer. */
		hash_del(&grantee->node);
		bulk_grants_end(&grantee->grants);
		bulk_grants_end(&grantee->asked);
		grantee->drainers--;
		bulk_grantee_unlock(grantee);
	}
	spin_unlock(&bulk_grant_lock);
}

/* ------------------------------------------------------------------ the end */

/* No grant and no user is left. */
static void bulk_region_reap(struct bulk_region *region)
{
	struct bulk_domain *domain = region->domain;
	struct bulk_mrset *set, *next;

	mutex_lock(&region->mutex);
	list_for_each_entry_safe(set, next, &region->mrsets, list) {
		if (set->user)
			bulk_mrset_retire(set);
		list_del(&set->list);
		kvfree(set);
	}
	mutex_unlock(&region->mutex);

	if (region->mem.pages)
		bulk_region_unpin(region, region->mem.npages);
	if (region->key.id)
		xa_erase(&bulk_keys, le32_to_cpu(region->key.id));

	spin_lock(&bulk_grant_lock);
	WRITE_ONCE(region->state, BULK_REGION_DEAD);
	spin_unlock(&bulk_grant_lock);

	region_trace(region, "dead", 0);
	region->domain = NULL;
	atomic_dec(&domain->nr_regions);
	bulk_domain_put(domain);
	complete_all(&region->dead);
	bulk_region_put(region);
}

/*
 * Ask all grantees that have not been asked. Called and returns with
 * bulk_grant_lock held, drops it between.
 */
static void bulk_region_ask(struct bulk_region *region)
	__must_hold(&bulk_grant_lock)
{
	struct bulk_grant *grant;
	struct bulk_link *link;

	while ((grant = list_first_entry_or_null(&region->grantees, struct bulk_grant,
						 region_list)) && !grant->asked) {
		grant->asked = true;
		list_move_tail(&grant->region_list, &region->grantees);
		list_move_tail(&grant->grantee_list, &grant->grantee->asked);
		link = bulk_link_get_ref(grant->grantee->link);
		spin_unlock(&bulk_grant_lock);
		trace_bulk_key(link, le32_to_cpu(region->key.id),
			       le32_to_cpu(region->key.generation), "revoke");
		bulk_link_revoke(link, le32_to_cpu(region->key.id),
				 le32_to_cpu(region->key.generation));
		bulk_link_put(link);
		cond_resched();
		spin_lock(&bulk_grant_lock);
	}
}

/* Likewise have the lanes destroyed of all that have not answered. */
static void bulk_region_fence(struct bulk_region *region)
	__must_hold(&bulk_grant_lock)
{
	struct bulk_grant *grant;
	struct bulk_link *link;

	while ((grant = list_first_entry_or_null(&region->grantees, struct bulk_grant,
						 region_list)) && !grant->fenced) {
		grant->fenced = true;
		list_move_tail(&grant->region_list, &region->grantees);
		link = bulk_link_get_ref(grant->grantee->link);
		spin_unlock(&bulk_grant_lock);
		region_trace(region, "fence", 0);
		bulk_link_fence(link, region->uid);
		bulk_link_put(link);
		cond_resched();
		spin_lock(&bulk_grant_lock);
	}
}

/* Does what is due; runs when something has changed, and at the deadline. */
static void bulk_region_work(struct work_struct *work)
{
	struct bulk_region *region = container_of(to_delayed_work(work),
						  struct bulk_region, work);
	unsigned long now;
	bool reap;

	spin_lock(&bulk_grant_lock);
	if (region->state != BULK_REGION_REVOKING) {
		spin_unlock(&bulk_grant_lock);
		goto put;
	}
	bulk_region_ask(region);
	now = jiffies;
	if (time_after_eq(now, region->deadline)) {
		bulk_region_fence(region);
	} else if (!list_empty(&region->grantees)) {
		refcount_inc(&region->refs);
		if (!queue_delayed_work(bulk_wq, &region->work, region->deadline - now))
			refcount_dec(&region->refs);
	}
	reap = list_empty(&region->grantees) && !refcount_read(&region->users);
	spin_unlock(&bulk_grant_lock);

	if (reap)
		bulk_region_reap(region);
put:
	bulk_region_put(region);
}

/* Handle gone: start to revoke. The work gives back the first reference. */
static void bulk_region_revoke(struct bulk_region *region)
{
	region_trace(region, "revoke", 0);
	spin_lock(&bulk_grant_lock);
	WRITE_ONCE(region->state, BULK_REGION_REVOKING);
	region->deadline = jiffies + BULK_REVOKE_TIMEOUT;
	/* From here on the work may reap it. */
	refcount_inc(&region->refs);
	spin_unlock(&bulk_grant_lock);

	if (refcount_dec_and_test(&region->users) || region->mem.access)
		bulk_region_kick(region);
	bulk_region_put(region);
}

/**
 * bulk_region_kill_all - revoke all regions of a domain, without waiting
 * @domain: dead; nothing is registered in it any more
 *
 * Context: process.
 */
void bulk_region_kill_all(struct bulk_domain *domain)
{
	struct bulk_region *region;
	unsigned long handle;

	xa_for_each(&domain->regions, handle, region) {
		/* A DEREG may be faster. */
		region = xa_erase(&domain->regions, handle);
		if (region)
			bulk_region_revoke(region);
		cond_resched();
	}
}

/**
 * bulk_region_deregister - handle RDMA_BULK_IOC_DEREG
 * @domain: of the calling process
 * @handle: the region's
 * @invalidate: return only when nobody can reach the memory any more
 *
 * Context: the process itself.
 * Return: 0; -ENOENT; -EINTR if killed while waiting (revocation goes on).
 */
int bulk_region_deregister(struct bulk_domain *domain, u32 handle, bool invalidate)
{
	struct bulk_region *region;
	long ret = 0;

	/* Against a registration that has only reserved its handle yet. */
	mutex_lock(&domain->mutex);
	region = xa_erase(&domain->regions, handle);
	mutex_unlock(&domain->mutex);
	if (!region)
		return -ENOENT;

	refcount_inc(&region->refs);
	bulk_region_revoke(region);
	if (!invalidate)
		goto put;

	ret = wait_for_completion_killable_timeout(&region->dead, BULK_INVALIDATE_TIMEOUT);
	if (ret == 0) {
		spin_lock(&bulk_grant_lock);
		region->deadline = jiffies;
		spin_unlock(&bulk_grant_lock);
		bulk_region_kick(region);
		ret = wait_for_completion_killable(&region->dead);
	}
put:
	bulk_region_put(region);
	return ret < 0 ? -EINTR : 0;
}

/*
 * Give it a handle and, with remote access, a key, and tell @reg: as soon as
 * domain->mutex is dropped another thread may deregister it.
 */
static int bulk_region_publish(struct bulk_region *region, struct rdma_bulk_reg *reg)
{
	struct bulk_domain *domain = region->domain;
	u32 id = 0;
	int err;

	mutex_lock(&domain->mutex);
	err = -ESRCH;
	if (domain->dead)
		goto unlock;
	err = xa_alloc_cyclic(&domain->regions, &region->handle, NULL,
			      XA_LIMIT(1, U32_MAX), &domain->next_handle, GFP_KERNEL);
	if (err < 0)
		goto unlock;

	if (region->mem.access) {
		err = xa_alloc_cyclic(&bulk_keys, &id, NULL, XA_LIMIT(1, U32_MAX),
				      &bulk_next_key, GFP_KERNEL_ACCOUNT);
		if (err < 0) {
			xa_erase(&domain->regions, region->handle);
			goto unlock;
		}
		region->key.id = cpu_to_le32(id);
		region->key.generation = cpu_to_le32(atomic_inc_return(&bulk_generation));
		get_random_bytes(region->key.secret, sizeof(region->key.secret));
		/* Into a reserved place: allocates nothing. */
		xa_store(&bulk_keys, id, region, GFP_KERNEL_ACCOUNT);
	}
	xa_store(&domain->regions, region->handle, region, GFP_KERNEL);

	reg->handle = region->handle;
	memcpy(reg->key, &region->key, sizeof(reg->key));
	region_trace(region, "register", 0);
	err = 0;
unlock:
	mutex_unlock(&domain->mutex);
	return err;
}

/**
 * bulk_region_register - handle RDMA_BULK_IOC_REG
 * @domain: of the calling process
 * @reg: as the process gave it; @handle and @key are filled in
 *
 * Context: the process itself; sleeps, killable.
 * Return: 0 or a negative errno as the ABI says, -EINTR if killed.
 */
int bulk_region_register(struct bulk_domain *domain, struct rdma_bulk_reg *reg)
{
	struct bulk_region *region;
	unsigned long last;
	u64 end;
	int err;

	if (reg->reserved || !reg->length || (reg->access & ~BULK_ACCESS_ALL))
		return -EINVAL;
	if (check_add_overflow(reg->addr, reg->length, &end) ||
	    overflows_type(end - 1, last))
		return -EOVERFLOW;
	if (current->mm != domain->mm)
		return -EPERM;

	/* Also counts those whose revocation goes on. */
	if (!atomic_add_unless(&domain->nr_regions, 1, BULK_MAX_REGIONS))
		return -ENOSPC;
	region = kzalloc(sizeof(*region), GFP_KERNEL_ACCOUNT);
	if (!region) {
		err = -ENOMEM;
		goto uncount;
	}
	refcount_set(&region->refs, 1);
	refcount_set(&region->users, 1);
	region->state = BULK_REGION_LIVE;
	region->domain = domain;
	region->mem.access = reg->access;
	region->mem.writable = reg->access & RDMA_BULK_ACCESS_REMOTE_WRITE;
	region->mem.addr = reg->addr;
	region->mem.length = reg->length;
	region->uid = domain->uid;
	mutex_init(&region->mutex);
	INIT_LIST_HEAD(&region->mrsets);
	INIT_LIST_HEAD(&region->grantees);
	init_completion(&region->dead);
	INIT_DELAYED_WORK(&region->work, bulk_region_work);

	if (region->mem.access) {
		err = bulk_region_pin(region);
		if (err)
			goto free;
	}

	refcount_inc(&domain->refs);
	atomic_inc(&bulk_regions);
	err = bulk_region_publish(region, reg);
	if (!err)
		return 0;

	atomic_dec(&bulk_regions);
	refcount_dec(&domain->refs);
	if (region->mem.pages)
		bulk_region_unpin(region, region->mem.npages);
free:
	kfree(region);
uncount:
	atomic_dec(&domain->nr_regions);
	return err;
}

static struct bulk_dev_client bulk_region_dev_client = {
	.removing	= bulk_regions_removing,
};

/**
 * bulk_region_init - at module load
 *
 * Return: 0.
 */
int bulk_region_init(void)
{
	atomic_set(&bulk_generation, get_random_u32());
	bulk_dev_client_add(&bulk_region_dev_client);
	return 0;
}

/**
 * bulk_region_exit - wait until all regions are dead
 *
 * All domains have been killed and all links are gone, which ends their grants;
 * bulk_wq is still there.
 *
 * Context: module exit.
 */
void bulk_region_exit(void)
{
	wait_event(bulk_regions_gone, !atomic_read(&bulk_regions));
	WARN_ON(!hash_empty(bulk_grantees));
	xa_destroy(&bulk_keys);
}
