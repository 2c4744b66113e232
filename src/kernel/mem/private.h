/* SPDX-License-Identifier: GPL-2.0 OR BSD-3-Clause */
/*
 * What the files of mem/ share with each other only.
 */
#ifndef _RDMA_BULK_MEM_PRIVATE_H
#define _RDMA_BULK_MEM_PRIVATE_H

#include "base/trace.h"
#include "mem/mem.h"

/* KEY_RESOLVEs without an answer at a time. */
#define BULK_RESOLVES_MAX	64

/* A link's keys: what it has resolved (keycache.c), and how many it is answering. */
struct bulk_link_keys {
	spinlock_t		lock;
	struct rhltable		table;		/* bulk_rkey.node, by id and generation */
	struct list_head	lru;		/* bulk_rkey.lru: those that are good */
	unsigned int		nr_keys;
	u32			nr_rkeys;	/* in all of them */
	struct list_head	asked;		/* bulk_rkey.asked, the oldest first */
	unsigned int		resolving;	/* those on it */
	u32			next_req;
	struct list_head	quiet;		/* bulk_rkey.lru: revoked, KEY_REVOKED is due */
	wait_queue_head_t	wait;		/* submitters of plain memory */
	atomic_t		resolves;	/* of the peer, being answered */
};

static inline void bulk_key_trace(const struct bulk_link *link, const struct bulk_key *key,
				  const char *step)
{
	trace_bulk_key(link, le32_to_cpu(key->id), le32_to_cpu(key->generation), step);
}

/* keycache.c */
int bulk_key_attach(struct bulk_link *link);
void bulk_key_release(struct bulk_link *link);
void bulk_key_drop_all(struct bulk_link *link);

/* keymsg.c */
void bulk_key_init(void);
void bulk_key_work(struct bulk_link *link);	/* worker: KEY_REVOKEDs */
/*
 * Worker: gives up KEY_RESOLVEs sent before @asked, as if they had been refused.
 * True if there are others without an answer.
 */
bool bulk_key_waiting(struct bulk_link *link, unsigned long asked);

/* resolve.c */
void bulk_resolve_init(void);

/* pin.c */
int bulk_region_pin(struct bulk_region *region);
void bulk_region_unpin(struct bulk_region *region, unsigned long pinned);

/* region.c */
void bulk_region_init(void);
void bulk_region_exit(void);
struct bulk_region *bulk_region_of_id(u32 id);
void bulk_region_reap(struct bulk_region *region);

static inline void bulk_region_trace(const struct bulk_region *region, const char *step, int err)
{
	trace_bulk_region(&region->key, region->handle, region->mem.access, region->mem.addr,
			  region->mem.length, step, err);
}

/* grant.c */
void bulk_grant_init(void);
void bulk_grant_exit(void);
/**
 * bulk_region_grant - note that a link has been told the key
 * Must come before KEY_RESOLVED is sent. Returns 0, 1 if the link has been
 * told already, -EKEYREJECTED if the region is going, -ENOMEM. May sleep. The
 * caller holds link->mutex from before this call until KEY_RESOLVED is queued,
 * and KEY_REVOKE is queued under it: so the revocation never overtakes the key.
 */
int bulk_region_grant(struct bulk_region *region, struct bulk_link *link);
/*
 * All data lanes of user @uid on @link are destroyed: those keys that the other
 * host was asked to give up are out of its reach. Grants of live regions stay,
 * as its key cache does. uid INVALID_UID: the link is over, ends all grants.
 */
void bulk_grants_fenced(struct bulk_link *link, kuid_t uid);
void bulk_region_work(struct work_struct *work);
void bulk_region_kick(struct bulk_region *region);
void bulk_region_revoke(struct bulk_region *region);
void bulk_region_hurry(struct bulk_region *region);
void bulk_region_died(struct bulk_region *region);

#endif /* _RDMA_BULK_MEM_PRIVATE_H */
