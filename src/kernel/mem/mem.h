/* SPDX-License-Identifier: GPL-2.0 OR BSD-3-Clause */
/*
 * mem: registered memory, who may reach it, and the keys of other hosts' memory. Stands
 * on link.
 *
 * Owns struct bulk_domain (domain.c), whose are struct bulk_region (region.c: life; pin.c:
 * pages; grant.c: which hosts know the key, and its revocation; resolve.c: answers to
 * KEY_RESOLVE), and struct bulk_rkey (keycache.c: what a link has resolved; keymsg.c: what
 * the other host says of it). Knows neither channels nor endpoints.
 *
 * Locks, outermost first:
 *
 *	domain->mutex		handles; nothing registers in a dead domain
 *	region->mutex		its MR sets; outside dev->users_mutex
 *	link->mutex		held from before a grant until KEY_RESOLVED is queued
 *	bulk_grant_lock		grants, region->state and ->deadline; a leaf, process context
 *	keys->lock (bh)		a link's cache of keys; a leaf, inside a lane's lock too
 *
 * User memory is touched and pinned under none of them.
 *
 * Contexts: process, but for references, the use of a region and a key's posting (any).
 *
 * Death: a region is revoked at every host that was told its key before its MRs and pins go;
 * see grant.c. Keys die by the other host's revocation, by age, and with their link.
 */
#ifndef _RDMA_BULK_MEM_H
#define _RDMA_BULK_MEM_H

#include <linux/completion.h>
#include <linux/rhashtable.h>
#include <linux/xarray.h>

#include "link/link.h"

#define BULK_MAX_REGIONS	65536	/* of a domain */

void bulk_mem_init(void);
/* Wait until all regions are dead (module exit). */
void bulk_mem_exit(void);

/* ---- domains (domain.c) ---- */

/**
 * struct bulk_domain - an open file that owns regions
 */
struct bulk_domain {
	refcount_t		refs;
	struct bulk_owned	owned;
	struct mm_struct	*mm;		/* identity only, mmgrab'ed */
	kuid_t			uid;
	struct mutex		mutex;
	bool			dead;
	struct xarray		regions;	/* by handle, XA_FLAGS_ALLOC1 */
	u32			next_handle;
	atomic_t		nr_regions;	/* not dead yet */
	struct work_struct	kill_work;
};

struct bulk_domain *bulk_domain_create(void);
void bulk_domain_put(struct bulk_domain *domain);	/* process context */
/* Owner died or file closed: revoke everything, once; asynchronous. */
void bulk_domain_kill(struct bulk_domain *domain);


/* ---- regions (region.c) ---- */

enum bulk_region_state {
	BULK_REGION_LIVE,
	BULK_REGION_REVOKING,	/* key dead; waiting for hosts that resolved it */
	BULK_REGION_DEAD,	/* MRs gone, pages unpinned */
};

/**
 * struct bulk_region - registered memory of an address space
 * @refs: holders of the structure. @users: 1 for being registered, and one for
 * each posted operation that uses it as local memory; MRs and pins go when
 * it drops to zero and no host can reach it any more.
 * @mem: if writable, may be the target of a GET. (A region with access 0 is not
 * pinned; its pages are when it is used, as LOCAL_USER's are.)
 */
struct bulk_region {
	refcount_t		refs;
	enum bulk_region_state	state;
	struct bulk_domain	*domain;	/* a reference, until dead */
	u32			handle;		/* in domain->regions, not 0 */
	struct bulk_memory	mem;
	struct bulk_key		key;
	kuid_t			uid;
	struct mm_struct	*mm;		/* mmgrab'ed, for pinned_vm */
	struct mutex		mutex;		/* mrsets */
	struct list_head	mrsets;
	struct list_head	grantees;	/* hosts that resolved the key */
	refcount_t		users;
	struct completion	dead;
	struct delayed_work	work;		/* revocation */
	unsigned long		deadline;
	struct rcu_head		rcu;
};

int bulk_region_register(struct bulk_domain *domain, struct rdma_bulk_reg *reg);
int bulk_region_deregister(struct bulk_domain *domain, u32 handle, bool invalidate);
/* All regions of a dying domain: revoke, without waiting. */
void bulk_region_kill_all(struct bulk_domain *domain);
/* The structure, or NULL. */
struct bulk_region *bulk_region_find(struct bulk_domain *domain, u32 handle);
void bulk_region_put(struct bulk_region *region);	/* any context */
/**
 * bulk_region_use - use a region as local memory of an operation
 * Fails (-ENOENT) once it is being deregistered; ended by bulk_region_unuse,
 * from any context. -ERANGE if [addr, addr + len) is outside.
 */
int bulk_region_use(struct bulk_region *region, u64 addr, u64 len);
void bulk_region_unuse(struct bulk_region *region);
/*
 * Its MRs on a device, made if need be, or ERR_PTR. The region must be in use
 * (bulk_region_use), by whoever answers KEY_RESOLVE too: the set is valid until
 * unuse. Sleeps long; caller holds none of dev->mutex, link->mutex. Regions with
 * access 0 have none (-EINVAL).
 */
struct bulk_mrset *bulk_region_mrset(struct bulk_region *region,
				     struct bulk_dev *dev, u8 port);
/**
 * bulk_region_by_key - the live region of a key, for a peer that asks
 * @uid: user whose lane will reach it, must own the region. Compares the secret
 * in constant time. A reference, or ERR_PTR(-EKEYREJECTED).
 */
struct bulk_region *bulk_region_by_key(const struct bulk_key *key, kuid_t uid);

/* ---- pinning (pin.c) ---- */

/**
 * bulk_pin_charge - charge @npages to an address space's pinned_vm
 * -ENOMEM beyond RLIMIT_MEMLOCK without CAP_IPC_LOCK.
 */
int bulk_pin_charge(struct mm_struct *mm, unsigned long npages);
void bulk_pin_uncharge(struct mm_struct *mm, unsigned long npages);

/* ---- keys of regions, told to other hosts (resolve.c) ---- */

/* Tell the other host about @region's key, unasked. Process context. */
void bulk_key_announce(struct bulk_link *link, struct bulk_region *region);

/* ---- keys of other hosts (keycache.c) ---- */

enum bulk_rkey_state {
	BULK_RKEY_RESOLVING,
	BULK_RKEY_READY,
	BULK_RKEY_REFUSED,
	BULK_RKEY_REVOKED,
};

/**
 * struct bulk_rkey - a key as its owner's kernel resolved it
 *
 * READY is published by a release store after all other fields; they do not
 * change then. @posted counts work requests; a poster increments it and then
 * looks at @state, under its lane's lock.
 */
struct bulk_rkey {
	refcount_t		ref;
	struct rhlist_head	node;		/* in the table */
	bool			hashed;		/* it is in the table */
	struct list_head	lru;		/* by use; or quiet, if it is revoked */
	struct list_head	asked;		/* KEY_RESOLVE has no answer yet */
	struct bulk_link	*link;		/* not a reference: keys die with it */
	struct bulk_key		key;
	kuid_t			uid;
	u32			req;
	unsigned long		since;		/* jiffies: KEY_RESOLVE was sent */
	int			state;		/* enum bulk_rkey_state */
	atomic_t		posted;
	u64			addr, length, span;
	u32			access;
	u32			total, have;
	u32			*rkeys;
};

static inline int bulk_rkey_state(const struct bulk_rkey *rkey)
{
	/* pairs with the store of READY in key_recv_resolved() */
	return smp_load_acquire(&rkey->state);
}

/*
 * The entry for @key, a reference; if there is none, makes one and sends KEY_RESOLVE
 * (*fresh), unless not @ask. ERR_PTR(-ENOMEM), -EAGAIN, -EKEYREJECTED (not @ask).
 * Process context.
 */
struct bulk_rkey *bulk_key_get(struct bulk_link *link, const struct bulk_key *key,
			       kuid_t uid, bool ask, bool *fresh);
void bulk_key_put(struct bulk_rkey *rkey);
/* Check an access against a READY key: 0, -ERANGE, -EACCES. */
int bulk_key_check(const struct bulk_rkey *rkey, u64 addr, u64 len, u32 access);
/* rkey at @addr and how many bytes from there it is good for. */
u32 bulk_key_at(const struct bulk_rkey *rkey, u64 addr, u64 *run);
/* Before posting, under the lane's lock: false if the key is dead. */
bool bulk_key_post(struct bulk_rkey *rkey);
void bulk_key_posted_done(struct bulk_rkey *rkey);
/* Where to wait for the end of RESOLVING; whoever shall look again is woken. */
wait_queue_head_t *bulk_key_queue(struct bulk_link *link);
void bulk_key_wake(struct bulk_link *link);

#endif /* _RDMA_BULK_MEM_H */
