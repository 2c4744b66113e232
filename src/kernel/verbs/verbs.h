/* SPDX-License-Identifier: GPL-2.0 OR BSD-3-Clause */
/*
 * verbs: RDMA devices and what belongs to one of them: ports and their addresses, a
 * user's protection domain, memory regions. Stands on base.
 *
 * Owns struct bulk_dev (device.c), struct bulk_user (user.c) and struct bulk_mrset (mr.c);
 * netaddr.c and ports.c answer which port has which name and address, and keep nothing.
 * Knows neither connections nor what the memory is good for: whoever has made something
 * on a device hears of its removal as a struct bulk_dev_client.
 *
 * Locks, outermost first:
 *
 *	bulk_devs_lock		the list of devices
 *	dev->mutex		the layers' lists on a device; with the next one: dev->dying
 *	dev->users_mutex	users and their MR sets, the last put of a user
 *	user->reg_mutex		the registration queue pair
 *
 * The layers above take theirs between the second and the third.
 *
 * Contexts: process, but for references (any).
 *
 * Death: removal marks the device dying and calls the clients in the order in which they
 * have registered (links first: their end fences the peers), then waits until the last
 * reference on its verbs is put. bulk_user and bulk_mrset die with their last reference
 * or by their maker; the structure of the device lives until nobody refers to it.
 */
#ifndef _RDMA_BULK_VERBS_H
#define _RDMA_BULK_VERBS_H

#include <linux/completion.h>
#include <linux/scatterlist.h>
#include <linux/uidgid.h>

#include "base/base.h"

/**
 * struct bulk_dev - an RDMA device
 *
 * Made by ib_client add. Remove marks it @dying, has the clients let go of what they
 * have on it, waits for @verbs to drop to zero and returns; the structure itself lives
 * until the last reference.
 */
struct bulk_dev {
	struct kref		ref;
	struct ib_device	*ibdev;		/* valid while a verbs reference is held */
	struct list_head	list;
	struct mutex		mutex;
	bool			dying;
	/* under @mutex; whose they are: */
	struct list_head	links;		/* link/ */
	struct list_head	channels;	/* chan/ */
	struct mutex		users_mutex;
	struct list_head	users;		/* bulk_user.list; under @users_mutex */
	u32			max_seg;	/* longest DMA segment */
	refcount_t		verbs;		/* holders of verbs objects */
	struct completion	verbs_gone;
};

/**
 * struct bulk_dev_client - a layer that has something on devices
 * @removing: let go of all that the layer has on @dev, which is marked dying; what it
 *	cannot end at once must be on its way to end, without waiting for processes or
 *	peers. Process context, no locks held.
 */
struct bulk_dev_client {
	struct list_head	list;
	void			(*removing)(struct bulk_dev *dev);
};

/* Before bulk_device_init(); called in this order. */
void bulk_dev_client_add(struct bulk_dev_client *client);
int bulk_device_init(void);
void bulk_device_exit(void);
struct bulk_dev *bulk_dev_get(struct bulk_dev *dev);
void bulk_dev_put(struct bulk_dev *dev);
/* A reference on verbs objects of @dev: false if it is dying. */
bool bulk_dev_verbs_get(struct bulk_dev *dev);
void bulk_dev_verbs_put(struct bulk_dev *dev);
/* by ib_device; a reference, or NULL */
struct bulk_dev *bulk_dev_find(struct ib_device *ibdev);
/* Call @fn for every live device, with a reference held and no lock. */
int bulk_dev_for_each(int (*fn)(struct bulk_dev *dev, void *arg), void *arg);

/* ---- ports (ports.c) ---- */

/**
 * bulk_dev_lookup - find "rxe0:1" or "rxe0:1@ADDRESS" in a network namespace
 * @port, @addr: filled in. Returns a reference or an ERR_PTR (-ENODEV).
 */
struct bulk_dev *bulk_dev_lookup(struct net *net, const char *name, u8 *port,
				 union bulk_addr *addr);
/* Fill up to @max entries; returns how many there are, or negative errno. */
int bulk_dev_list(struct net *net, struct rdma_bulk_device *out, int max);

/* ---- users (user.c) ---- */

/**
 * struct bulk_user - a user id on a device: its PD and registration queue pair
 *
 * The PD holds this user's memory, and the data lanes of this user to all
 * hosts. @reg_qp is an RC queue pair of that PD connected to itself on which
 * memory regions are registered.
 */
struct bulk_user {
	refcount_t		refs;
	struct list_head	list;		/* dev->users, under dev->users_mutex */
	struct bulk_dev		*dev;
	kuid_t			uid;
	struct ib_pd		*pd;
	struct mutex		reg_mutex;
	struct ib_qp		*reg_qp;	/* made with the first registration */
	struct ib_cq		*reg_cq;
	u8			port;
	struct list_head	mrsets;		/* bulk_mrset.user_list, under dev->users_mutex */
};

/* Find or make; holds verbs of the device. ERR_PTR on failure. May sleep. */
struct bulk_user *bulk_user_get(struct bulk_dev *dev, u8 port, kuid_t uid);
void bulk_user_put(struct bulk_user *user);	/* may sleep */
/**
 * bulk_user_reg_mr - map and register, waiting for the completion
 * @mr is from ib_alloc_mr(user->pd), already mapped by ib_map_mr_sg with iova
 * set. Returns 0 or negative errno; recreates the queue pair after an error.
 */
int bulk_user_reg_mr(struct bulk_user *user, struct ib_mr *mr, int access);

/* ---- memory regions (mr.c) ---- */

/**
 * struct bulk_memory - pinned pages of an address space
 * @pages: NULL if a device has not let go of them, or nothing is pinned
 * @access: RDMA_BULK_ACCESS_* of other hosts
 * @writable: pinned for writing
 */
struct bulk_memory {
	u64			addr;
	u64			length;
	struct page		**pages;
	unsigned long		npages;
	u32			access;
	bool			writable;
};

/* The keys are copies: they may be read while the device goes. */
struct bulk_mr {
	u32			lkey;
	u32			rkey;
	struct ib_mr		*mr;
	struct sg_table		sgt;		/* its part of the memory */
};

/**
 * struct bulk_mrset - memory regions for some memory on one device
 * MR i covers [base + i * span, base + (i + 1) * span), cut at the memory's
 * ends; iova == user address.
 */
struct bulk_mrset {
	struct list_head	list;		/* its owner's */
	struct list_head	user_list;
	struct bulk_memory	*mem;
	struct bulk_dev		*dev;		/* NULL once the device is gone */
	u8			port;
	struct bulk_user	*user;		/* NULL once retired */
	u64			base;		/* address rounded down to 4096 */
	u64			span;
	u32			count;
	struct bulk_mr		mr[];
};

struct bulk_mrset *bulk_mrset_create(struct bulk_memory *mem, struct bulk_dev *dev,
				     u8 port, kuid_t uid);
void bulk_mrset_retire(struct bulk_mrset *set);

#endif /* _RDMA_BULK_VERBS_H */
