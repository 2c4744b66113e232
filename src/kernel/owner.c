// SPDX-License-Identifier: GPL-2.0 OR BSD-3-Clause
/*
 * Address spaces and their end.
 *
 * Domains and channels belong to the address space that made them, not to the
 * file that names them: a forked child or the receiver of a passed descriptor
 * may keep the file open for ever. So each address space with a domain or a
 * channel has one struct bulk_owner, an mmu_notifier found by
 * mmu_notifier_get(). When the last thread of the address space has left it
 * (exit, kill, exec) its release callback marks the owner dead and kills
 * everything on its lists.
 *
 * Life. Every domain and channel holds a reference (one mmu_notifier_get()).
 * The last mmu_notifier_put() frees the owner after an SRCU grace period, in a
 * callback that may not sleep. As long as it lives, the mm_struct does too.
 *
 * Lists. What is on owner->domains or owner->channels got there under
 * owner->lock while owner->dead was false, and leaves under it: taken off by
 * the release callback or, before its memory is freed, by itself. The callback
 * takes a reference of each, if there still is one, before it drops the lock.
 *
 * Context. Everything here runs in process context. The release callback may
 * sleep, but waits for nothing: killing only queues work. It never looks at
 * current->mm, which is NULL during exit and already the new one during exec.
 *
 * A domain's end. bulk_domain_kill() (release callback, file closed) forbids
 * new regions and queues kill_work, which revokes those there are. Each region
 * holds a reference on the domain until its memory is unpinned.
 */

#include <linux/cred.h>
#include <linux/sched/mm.h>

#include "bulk.h"

static atomic_t bulk_owners = ATOMIC_INIT(0);
static DECLARE_WAIT_QUEUE_HEAD(bulk_owners_gone);

static void bulk_owner_release(struct mmu_notifier *mn, struct mm_struct *mm)
{
	struct bulk_owner *owner = container_of(mn, struct bulk_owner, mn);
	struct bulk_channel *ch;
	struct bulk_domain *domain;

	spin_lock(&owner->lock);
	owner->dead = true;

	/* Channels first: their peers are to hear of it at once. */
	while ((ch = list_first_entry_or_null(&owner->channels,
					      struct bulk_channel, owner_list))) {
		list_del_init(&ch->owner_list);
		if (!refcount_inc_not_zero(&ch->refs))
			continue;
		spin_unlock(&owner->lock);
		bulk_channel_kill(ch);
		bulk_channel_put(ch);
		spin_lock(&owner->lock);
	}
	while ((domain = list_first_entry_or_null(&owner->domains,
						  struct bulk_domain, owner_list))) {
		list_del_init(&domain->owner_list);
		if (!refcount_inc_not_zero(&domain->refs))
			continue;
		spin_unlock(&owner->lock);
		bulk_domain_kill(domain);
		bulk_domain_put(domain);
		spin_lock(&owner->lock);
	}
	spin_unlock(&owner->lock);
}

static struct mmu_notifier *bulk_owner_alloc(struct mm_struct *mm)
{
	struct bulk_owner *owner;

	owner = kzalloc(sizeof(*owner), GFP_KERNEL_ACCOUNT);
	if (!owner)
		return ERR_PTR(-ENOMEM);
	spin_lock_init(&owner->lock);
	INIT_LIST_HEAD(&owner->domains);
	INIT_LIST_HEAD(&owner->channels);
	atomic_inc(&bulk_owners);
	return &owner->mn;
}

static void bulk_owner_free(struct mmu_notifier *mn)
{
	kfree(container_of(mn, struct bulk_owner, mn));
	if (atomic_dec_and_test(&bulk_owners))
		wake_up_all(&bulk_owners_gone);
}

static const struct mmu_notifier_ops bulk_owner_ops = {
	.release	= bulk_owner_release,
	.alloc_notifier	= bulk_owner_alloc,
	.free_notifier	= bulk_owner_free,
};

/**
 * bulk_owner_get - the owner for the address space of the caller
 *
 * Context: the process itself; may sleep, takes mmap_lock.
 * Return: a reference; ERR_PTR(-ENOMEM), ERR_PTR(-EINTR), or ERR_PTR(-ESRCH)
 * if there is no address space or it has ended.
 */
struct bulk_owner *bulk_owner_get(void)
{
	struct mmu_notifier *mn;
	struct bulk_owner *owner;
	bool dead;

	if (!current->mm)
		return ERR_PTR(-ESRCH);
	mn = mmu_notifier_get(&bulk_owner_ops, current->mm);
	if (IS_ERR(mn))
		return ERR_CAST(mn);

	owner = container_of(mn, struct bulk_owner, mn);
	spin_lock(&owner->lock);
	dead = owner->dead;
	spin_unlock(&owner->lock);
	if (dead) {
		bulk_owner_put(owner);
		return ERR_PTR(-ESRCH);
	}
	return owner;
}

/**
 * bulk_owner_put - give back a reference
 * @owner: nothing of the caller is on its lists any more
 *
 * Context: process, under no spinlock that is taken with bottom halves off.
 */
void bulk_owner_put(struct bulk_owner *owner)
{
	mmu_notifier_put(&owner->mn);
}

/**
 * bulk_owner_exit - wait until no notifier can call into this module
 *
 * All domains and channels have been put. Context: module exit.
 */
void bulk_owner_exit(void)
{
	wait_event(bulk_owners_gone, !atomic_read(&bulk_owners));
	/* The last callback has counted, but may not have returned yet. */
	mmu_notifier_synchronize();
}

static void bulk_domain_kill_work(struct work_struct *work)
{
	struct bulk_domain *domain = container_of(work, struct bulk_domain, kill_work);

	/* After this no registration that has not seen @dead is under way. */
	mutex_lock(&domain->mutex);
	domain->dead = true;
	mutex_unlock(&domain->mutex);

	bulk_region_kill_all(domain);
	bulk_domain_put(domain);
}

/**
 * bulk_domain_create - a domain for the calling process
 *
 * The effective user id of the caller owns its regions.
 *
 * Context: the process itself; may sleep.
 * Return: a reference, or an ERR_PTR as from bulk_owner_get().
 */
struct bulk_domain *bulk_domain_create(void)
{
	struct bulk_domain *domain;
	struct bulk_owner *owner;
	int err = 0;

	owner = bulk_owner_get();
	if (IS_ERR(owner))
		return ERR_CAST(owner);

	domain = kzalloc(sizeof(*domain), GFP_KERNEL_ACCOUNT);
	if (!domain) {
		err = -ENOMEM;
		goto put_owner;
	}
	refcount_set(&domain->refs, 1);
	domain->owner = owner;
	domain->mm = current->mm;
	domain->uid = current_euid();
	mutex_init(&domain->mutex);
	xa_init_flags(&domain->regions, XA_FLAGS_ALLOC1 | XA_FLAGS_ACCOUNT);
	atomic_set(&domain->nr_regions, 0);
	INIT_WORK(&domain->kill_work, bulk_domain_kill_work);

	spin_lock(&owner->lock);
	if (owner->dead)
		err = -ESRCH;
	else
		list_add_tail(&domain->owner_list, &owner->domains);
	spin_unlock(&owner->lock);
	if (err)
		goto free_domain;

	mmgrab(domain->mm);
	return domain;

free_domain:
	kfree(domain);
put_owner:
	bulk_owner_put(owner);
	return ERR_PTR(err);
}

/**
 * bulk_domain_put - give back a reference
 * @domain: freed with the last one, which comes after bulk_domain_kill()
 *
 * Context: process.
 */
void bulk_domain_put(struct bulk_domain *domain)
{
	struct bulk_owner *owner = domain->owner;

	if (!refcount_dec_and_test(&domain->refs))
		return;

	spin_lock(&owner->lock);
	list_del_init(&domain->owner_list);
	spin_unlock(&owner->lock);

	WARN_ON_ONCE(!xa_empty(&domain->regions));
	xa_destroy(&domain->regions);
	mmdrop(domain->mm);
	kfree(domain);
	bulk_owner_put(owner);
}

/**
 * bulk_domain_kill - the owner has died or the file is closed
 * @domain: the caller holds a reference
 *
 * Revokes all regions, without waiting. May be called more than once.
 *
 * Context: process.
 */
void bulk_domain_kill(struct bulk_domain *domain)
{
	refcount_inc(&domain->refs);
	if (!queue_work(bulk_end_wq, &domain->kill_work))
		bulk_domain_put(domain);
}
