// SPDX-License-Identifier: GPL-2.0 OR BSD-3-Clause
/*
 * Domains: what owns a process's regions.
 *
 * A domain belongs to the address space that made it. Its end: bulk_domain_kill() (the
 * address space has gone, the file is closed) forbids new regions and queues kill_work,
 * which revokes those there are. Each region holds a reference on the domain until its
 * memory is unpinned; with the last one it is freed.
 *
 * Locks: domain->mutex: nothing is registered in a dead domain.
 *
 * Context: process.
 */
#include <linux/cred.h>
#include <linux/sched/mm.h>

#include "mem/mem.h"

static struct bulk_domain *owned_domain(struct bulk_owned *owned)
{
	return container_of(owned, struct bulk_domain, owned);
}

static bool domain_get(struct bulk_owned *owned)
{
	return refcount_inc_not_zero(&owned_domain(owned)->refs);
}

static void domain_kill(struct bulk_owned *owned)
{
	bulk_domain_kill(owned_domain(owned));
	bulk_domain_put(owned_domain(owned));
}

static const struct bulk_owned_ops domain_owned_ops = {
	.get	= domain_get,
	.kill	= domain_kill,
};

static void domain_kill_work(struct work_struct *work)
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
 * Return: a reference, or an ERR_PTR: -ENOMEM, or as from bulk_own().
 */
struct bulk_domain *bulk_domain_create(void)
{
	struct bulk_domain *domain;
	int err;

	domain = kzalloc(sizeof(*domain), GFP_KERNEL_ACCOUNT);
	if (!domain)
		return ERR_PTR(-ENOMEM);
	refcount_set(&domain->refs, 1);
	domain->mm = current->mm;
	domain->uid = current_euid();
	mutex_init(&domain->mutex);
	xa_init_flags(&domain->regions, XA_FLAGS_ALLOC1 | XA_FLAGS_ACCOUNT);
	atomic_set(&domain->nr_regions, 0);
	INIT_WORK(&domain->kill_work, domain_kill_work);

	err = bulk_own(&domain->owned, &domain_owned_ops, false);
	if (err) {
		kfree(domain);
		return ERR_PTR(err);
	}
	mmgrab(domain->mm);
	return domain;
}

/**
 * bulk_domain_put - give back a reference
 * @domain: freed with the last one, which comes after bulk_domain_kill()
 */
void bulk_domain_put(struct bulk_domain *domain)
{
	if (!refcount_dec_and_test(&domain->refs))
		return;

	WARN_ON_ONCE(!xa_empty(&domain->regions));
	xa_destroy(&domain->regions);
	mmdrop(domain->mm);
	bulk_disown(&domain->owned);
	kfree(domain);
}

/**
 * bulk_domain_kill - the owner has died or the file is closed
 * @domain: the caller holds a reference
 *
 * Revokes all regions, without waiting. May be called more than once.
 */
void bulk_domain_kill(struct bulk_domain *domain)
{
	refcount_inc(&domain->refs);
	if (!queue_work(bulk_end_wq, &domain->kill_work))
		bulk_domain_put(domain);
}
