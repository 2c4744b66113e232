// SPDX-License-Identifier: GPL-2.0 OR BSD-3-Clause
/*
 * Which hosts know a region's key, and how they are made to forget it
 *
 * Grants. When a host is told a key, a struct bulk_grant notes it: on the
 * region's list, and on the list of a struct bulk_grantee, which stands for
 * the lanes of one user id on one link and holds a reference on the link. A
 * grant for a live region outlasts those lanes, as the other host's cache of
 * keys does; it does not outlast the link.
 *
 * Revocation (region->work) asks every grantee to stop (KEY_REVOKE). A grant ends when
 * that host answers or, after it was asked, the lanes it could use are destroyed
 * (bulk_grants_fenced). After two seconds the work has those lanes destroyed
 * (bulk_link_fence) and goes on waiting: there is no timeout after which memory that may
 * still be written to is let go.
 *
 * Locks: bulk_grant_lock covers grants, grantees, region->state, region->deadline; a
 * leaf, in process context.
 */
#include <linux/hashtable.h>

#include "mem/private.h"

#define BULK_REVOKE_TIMEOUT	(2 * HZ)

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

/**
 * bulk_region_kick - have region->work run at once
 * @region: the work holds a reference while it is queued
 *
 * Context: any.
 */
void bulk_region_kick(struct bulk_region *region)
{
	refcount_inc(&region->refs);
	if (mod_delayed_work(bulk_end_wq, &region->work, 0))
		bulk_region_put(region);
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

/* KEY_REVOKED has come. Only the answer to a question counts. */
static int grant_answered(struct bulk_link *link, const struct bulk_hdr *h)
{
	const struct bulk_key_revoke *m = (const void *)h;
	u32 id = le32_to_cpu(m->id), generation = le32_to_cpu(m->generation);
	struct bulk_grantee *grantee;
	struct bulk_region *region;
	struct bulk_grant *grant = NULL;

	rcu_read_lock();
	spin_lock(&bulk_grant_lock);
	region = bulk_region_of_id(id);
	if (region && le32_to_cpu(region->key.generation) == generation)
		grant = bulk_grant_find(region, link);
	rcu_read_unlock();
	trace_bulk_key(link, id, generation, "revoked");
	if (!grant || !grant->asked) {
		spin_unlock(&bulk_grant_lock);
		return 0;
	}
	grantee = grant->grantee;
	bulk_grant_end(grant);
	bulk_grantee_unlock(grantee);
	return 0;
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
 * bulk_grants_fenced - lanes are destroyed
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
void bulk_grants_fenced(struct bulk_link *link, kuid_t uid)
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

/* ------------------------------------------------------------------ revocation */

/* Ask the other host to stop using a key. May fail silently if the link has. */
static void grant_revoke(struct bulk_link *link, u32 id, u32 generation)
{
	struct bulk_key_revoke *m;

	m = bulk_ctl_alloc(link, BULK_KEY_REVOKE, sizeof(*m), GFP_KERNEL);
	if (!m)
		return;		/* the revocation's deadline fences the link */
	m->id = cpu_to_le32(id);
	m->generation = cpu_to_le32(generation);
	mutex_lock(&link->mutex);	/* not before KEY_RESOLVED: resolve_one() */
	bulk_ctl_queue(link, m);
	mutex_unlock(&link->mutex);
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
		grant_revoke(link, le32_to_cpu(region->key.id),
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
		bulk_region_trace(region, "fence", 0);
		if (bulk_link_fence(link, region->uid))
			bulk_grants_fenced(link, region->uid);
		bulk_link_put(link);
		cond_resched();
		spin_lock(&bulk_grant_lock);
	}
}

/**
 * bulk_region_work - do what is due of a revocation
 * @work: region->work, which holds a reference
 *
 * Runs when something has changed, and at the deadline.
 */
void bulk_region_work(struct work_struct *work)
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
		if (!queue_delayed_work(bulk_end_wq, &region->work, region->deadline - now))
			refcount_dec(&region->refs);
	}
	reap = list_empty(&region->grantees) && !refcount_read(&region->users);
	spin_unlock(&bulk_grant_lock);

	if (reap)
		bulk_region_reap(region);
put:
	bulk_region_put(region);
}

/**
 * bulk_region_revoke - the handle is gone: start to revoke
 * @region: LIVE, off its tables
 *
 * The work gives back the first reference.
 */
void bulk_region_revoke(struct bulk_region *region)
{
	bulk_region_trace(region, "revoke", 0);
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
 * bulk_region_died - all of it is gone
 * @region: from bulk_region_reap()
 */
void bulk_region_died(struct bulk_region *region)
{
	spin_lock(&bulk_grant_lock);
	WRITE_ONCE(region->state, BULK_REGION_DEAD);
	spin_unlock(&bulk_grant_lock);
}

/**
 * bulk_region_hurry - wait for answers no longer
 * @region: REVOKING, a reference is held
 */
void bulk_region_hurry(struct bulk_region *region)
{
	spin_lock(&bulk_grant_lock);
	region->deadline = jiffies;
	spin_unlock(&bulk_grant_lock);
	bulk_region_kick(region);
}

static const struct bulk_ctl_handler grant_answered_handler = {
	.len	= sizeof(struct bulk_key_revoke),
	.answer	= true,
	.recv	= grant_answered,
};

/**
 * bulk_grant_init - at module load
 */
void bulk_grant_init(void)
{
	bulk_ctl_handle(BULK_KEY_REVOKED, &grant_answered_handler);
}

/**
 * bulk_grant_exit - all links and regions are gone
 */
void bulk_grant_exit(void)
{
	WARN_ON(!hash_empty(bulk_grantees));
}
