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
 * Life: LIVE -> REVOKING -> DEAD.
 *
 *  LIVE	the handle names it, the key is good.
 *  REVOKING	entered by deregistration or the end of the domain. Handle and
 *		key are gone at once; no grant is added; hosts that know the key are
 *		made to forget it: grant.c. Own operations that use the region
 *		(users) run to their ends.
 *  DEAD	entered by the work, when no grant and no user is left: MRs
 *		deregistered, pages unpinned and uncharged.
 *
 * References. The state machine owns one (refs) until DEAD, every use has one,
 * and so has region->work when it is queued. The memory is freed by RCU, so that
 * tables are searched without a lock.
 *
 * Locks. region->mutex: MR sets; taken outside dev->users_mutex. region->state is
 * grant.c's. domain->mutex: nothing registers in a dead domain. MR sets are only added to
 * the list while the region lives, so that whoever uses the region may walk
 * it without a lock.
 *
 * Device removal (bulk_regions_removing) deregisters the MRs but leaves the set
 * as an empty shell: a submitter may be reading its keys. They are harmless,
 * as nothing is posted on that device any more.
 *
 * Context: process, except bulk_region_find, _use, _unuse, _put.
 */

#include <linux/mm.h>
#include <linux/overflow.h>
#include <linux/random.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>

#include "mem/private.h"

#define BULK_INVALIDATE_TIMEOUT	(HZ / 10)
#define BULK_ACCESS_ALL		(RDMA_BULK_ACCESS_REMOTE_READ | \
				 RDMA_BULK_ACCESS_REMOTE_WRITE)

static DEFINE_XARRAY_FLAGS(bulk_keys, XA_FLAGS_ALLOC1);
static u32 bulk_next_key;
static atomic_t bulk_generation;

static atomic_t bulk_regions = ATOMIC_INIT(0);
static DECLARE_WAIT_QUEUE_HEAD(bulk_regions_gone);

static_assert(sizeof(struct bulk_key) == RDMA_BULK_KEY_BYTES);

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
		bulk_region_trace(region, "map", PTR_ERR_OR_ZERO(set));
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
		mutex_lock(&dev->users_mutex);
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
		mutex_unlock(&dev->users_mutex);
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

/* ---------------------------------------------------------------------- keys */

/**
 * bulk_region_of_id - the region of a key's id
 * @id: the id
 *
 * Context: under RCU, which keeps it.
 * Return: the region, or NULL.
 */
struct bulk_region *bulk_region_of_id(u32 id)
{
	return xa_load(&bulk_keys, id);
}

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

/* ------------------------------------------------------------------ the end */

/**
 * bulk_region_reap - no grant and no user is left: MRs and pins go
 * @region: REVOKING; gives back the first reference
 *
 * Context: region->work.
 */
void bulk_region_reap(struct bulk_region *region)
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

	bulk_region_died(region);
	bulk_region_trace(region, "dead", 0);
	region->domain = NULL;
	atomic_dec(&domain->nr_regions);
	bulk_domain_put(domain);
	complete_all(&region->dead);
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
		bulk_region_hurry(region);
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
	bulk_region_trace(region, "register", 0);
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
 */
void bulk_region_init(void)
{
	atomic_set(&bulk_generation, get_random_u32());
	bulk_dev_client_add(&bulk_region_dev_client);
}

/**
 * bulk_region_exit - wait until all regions are dead
 *
 * All domains have been killed and all links are gone, which ends their grants;
 * bulk_end_wq is still there.
 *
 * Context: module exit.
 */
void bulk_region_exit(void)
{
	wait_event(bulk_regions_gone, !atomic_read(&bulk_regions));
	xa_destroy(&bulk_keys);
}
