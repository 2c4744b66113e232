/* SPDX-License-Identifier: GPL-2.0 OR BSD-3-Clause */
/*
 * base: what every layer of rdma_bulk.ko stands on. Above it, each including only those
 * before it: verbs, conn, link, mem, chan, ep, then submit.c, file.c, main.c.
 *
 * Owns the parameters that more than one layer looks at and the workqueues (base.c), IP
 * addresses (addr.c), areas of shared pages (shm.c), address spaces that own something
 * (owner.c), the tracepoints (trace.h), the wire's structures (wire.h).
 *
 * Locks: owner.c's, inside all others of process context. Contexts: said with each function.
 */
#ifndef _RDMA_BULK_BASE_H
#define _RDMA_BULK_BASE_H

#include <linux/inet.h>
#include <linux/kref.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/refcount.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/wait.h>
#include <linux/workqueue.h>
#include <rdma/ib_verbs.h>

#include <rdma/rdma_bulk.h>
#include "base/compat.h"
#include "base/wire.h"

#undef pr_fmt
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

int bulk_base_init(void);
void bulk_base_flush(void);
void bulk_base_exit(void);

/* Work may sleep in all of them, and none is ordered. */
extern struct workqueue_struct *bulk_wq;	/* links and connections; events of channels */
extern struct workqueue_struct *bulk_end_wq;	/* ends of channels, domains and regions; freeing */
extern struct workqueue_struct *bulk_resolve_wq; /* answers to KEY_RESOLVE: register memory */
extern struct workqueue_struct *bulk_unpin_wq;	/* unpinning behind operations */

extern u64 bulk_instance;			/* random, not 0 */
extern unsigned short bulk_port;		/* module parameter: service port */
extern unsigned int bulk_keepalive;		/* module parameter: seconds */

/* ---- addresses (addr.c) ---- */

union bulk_addr {
	struct sockaddr sa;
	struct sockaddr_in in4;
	struct sockaddr_in6 in6;
};

/* same family and address, ports not compared */
bool bulk_addr_equal(const union bulk_addr *a, const union bulk_addr *b);
/* total order over addresses, for the rule of simultaneous connects */
int bulk_addr_cmp(const union bulk_addr *a, const union bulk_addr *b);
__be16 bulk_addr_port(const union bulk_addr *a);
void bulk_addr_set_port(union bulk_addr *a, __be16 port);

/* ---- areas of shared pages (shm.c) ---- */

/**
 * struct bulk_shm - zeroed order-0 pages, contiguous for kernel and process
 */
struct bulk_shm {
	struct page		**pages;
	unsigned int		npages;
	void			*vaddr;		/* vmap, may be NULL if npages is 0 */
	dma_addr_t		*dma;		/* per page, if DMA-mapped */
	u64			offset;		/* mmap offset */
	bool			writable;
};

int bulk_shm_alloc(struct bulk_shm *shm, size_t bytes, u64 offset, bool writable);
int bulk_shm_map_dma(struct bulk_shm *shm, struct ib_device *ibdev,
		     enum dma_data_direction dir);
void bulk_shm_unmap_dma(struct bulk_shm *shm, struct ib_device *ibdev,
			enum dma_data_direction dir);
void bulk_shm_free(struct bulk_shm *shm);	/* process context */
/* SGEs of bytes [off, off + len) of DMA-mapped pages; number or -EMSGSIZE */
int bulk_shm_sges(const struct bulk_shm *shm, u32 off, u32 len, u32 lkey,
		  struct ib_sge *sge, int max);

/* ---- address spaces and their end (owner.c) ---- */

struct bulk_owned;

/**
 * struct bulk_owned_ops - the address space has ended
 * @get: take a reference, if there still is one. Under the owner's lock.
 * @kill: begin to end it, and give back that reference. Process context; must not wait.
 */
struct bulk_owned_ops {
	bool (*get)(struct bulk_owned *owned);
	void (*kill)(struct bulk_owned *owned);
};

/**
 * struct bulk_owned - what ends with the address space that has made it
 */
struct bulk_owned {
	struct list_head	list;
	struct bulk_owner	*owner;		/* NULL: not owned */
	const struct bulk_owned_ops *ops;
};

int bulk_own(struct bulk_owned *owned, const struct bulk_owned_ops *ops, bool first);
void bulk_disown(struct bulk_owned *owned);
void bulk_owner_exit(void);

#endif /* _RDMA_BULK_BASE_H */
