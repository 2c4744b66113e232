// SPDX-License-Identifier: GPL-2.0 OR BSD-3-Clause
/*
 * Address spaces and their end.
 *
 * What a process has made belongs to its address space, not to the file that names
 * it: a forked child or the receiver of a passed descriptor may keep the file open
 * for ever. So each address space that owns something (struct bulk_owned) has one
 * struct bulk_owner, an mmu_notifier found by mmu_notifier_get(). When the last thread
 * of the address space has left it (exit, kill, exec) its release callback marks the
 * owner dead and kills everything on its list.
 *
 * Life. Everything owned holds a reference (one mmu_notifier_get()). The last
 * mmu_notifier_put() frees the owner after an SRCU grace period, in a callback that may
 * not sleep. As long as it lives, the mm_struct does too.
 *
 * The list. What is on owner->owned got there under owner->lock while owner->dead was
 * false, and leaves under it: taken off by the release callback or, before its memory
 * is freed, by itself. The callback takes a reference of each, if there still is one,
 * before it drops the lock.
 *
 * Context. Everything here runs in process context. The release callback may
 * sleep, but waits for nothing: killing only queues work. It never looks at
 * current->mm, which is NULL during exit and already the new one during exec.
 */

#include <linux/mmu_notifier.h>

#include "base/base.h"

struct bulk_owner {
	struct mmu_notifier	mn;
	spinlock_t		lock;		/* all below; process context */
	bool			dead;
	struct list_head	owned;		/* bulk_owned.list */
};

static atomic_t bulk_owners = ATOMIC_INIT(0);
static DECLARE_WAIT_QUEUE_HEAD(bulk_owners_gone);

static void bulk_owner_release(struct mmu_notifier *mn, struct mm_struct *mm)
{
	struct bulk_owner *owner = container_of(mn, struct bulk_owner, mn);
	struct bulk_owned *owned;

	spin_lock(&owner->lock);
	owner->dead = true;
	while ((owned = list_first_entry_or_null(&owner->owned, struct bulk_owned, list))) {
		list_del_init(&owned->list);
		if (!owned->ops->get(owned))
			continue;
		spin_unlock(&owner->lock);
		owned->ops->kill(owned);
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
	INIT_LIST_HEAD(&owner->owned);
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
 * bulk_own - something begins to belong to the address space of the caller
 * @owned: from here on @ops may be called, in any thread
 * @ops: what is called at the end of the address space
 * @first: before all that is owned without
 *
 * Context: the process itself; may sleep, takes mmap_lock.
 * Return: 0, to be followed by bulk_disown(); -ENOMEM, -EINTR, or -ESRCH if there is no
 * address space or it has ended.
 */
int bulk_own(struct bulk_owned *owned, const struct bulk_owned_ops *ops, bool first)
{
	struct mmu_notifier *mn;
	struct bulk_owner *owner;
	bool dead;

	if (!current->mm)
		return -ESRCH;
	mn = mmu_notifier_get(&bulk_owner_ops, current->mm);
	if (IS_ERR(mn))
		return PTR_ERR(mn);

	owner = container_of(mn, struct bulk_owner, mn);
	owned->ops = ops;
	spin_lock(&owner->lock);
	dead = owner->dead;
	if (!dead) {
		owned->owner = owner;
		if (first)
			list_add(&owned->list, &owner->owned);
		else
			list_add_tail(&owned->list, &owner->owned);
	}
	spin_unlock(&owner->lock);
	if (dead) {
		mmu_notifier_put(mn);
		return -ESRCH;
	}
	return 0;
}

/**
 * bulk_disown - before its memory is freed
 * @owned: nobody has a reference any more; nothing is done if bulk_own() has failed or
 *	was not called (all is zero)
 *
 * Context: process, under no spinlock that is taken with bottom halves off.
 */
void bulk_disown(struct bulk_owned *owned)
{
	struct bulk_owner *owner = owned->owner;

	if (!owner)
		return;
	spin_lock(&owner->lock);
	list_del_init(&owned->list);
	spin_unlock(&owner->lock);
	owned->owner = NULL;
	mmu_notifier_put(&owner->mn);
}

/**
 * bulk_owner_exit - wait until no notifier can call into this module
 *
 * Nothing is owned any more. Context: module exit.
 */
void bulk_owner_exit(void)
{
	wait_event(bulk_owners_gone, !atomic_read(&bulk_owners));
	/* The last callback has counted, but may not have returned yet. */
	mmu_notifier_synchronize();
}
