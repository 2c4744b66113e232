/* SPDX-License-Identifier: GPL-2.0 OR BSD-3-Clause */
/*
 * What keycache.c and keymsg.c share with each other only.
 */
#ifndef _RDMA_BULK_MEM_KEYS_H
#define _RDMA_BULK_MEM_KEYS_H

#include "mem/private.h"

/* here, so that it is a constant to the inlined functions of rhashtable.h */
static const struct rhashtable_params bulk_rkey_params = {
	.key_len	= offsetof(struct bulk_key, secret),	/* id and generation */
	.key_offset	= offsetof(struct bulk_rkey, key),
	.head_offset	= offsetof(struct bulk_rkey, node),
	.automatic_shrinking = true,
};

struct bulk_rkey *bulk_rkey_alloc(struct bulk_link *link, const struct bulk_key *key, kuid_t uid);
/* keys->lock held */
struct bulk_rkey *bulk_rkey_lookup(struct bulk_link *link, const struct bulk_key *key,
				   kuid_t uid);
int bulk_rkey_insert(struct bulk_link *link, struct bulk_rkey *rkey, struct bulk_rkey **victim);
void bulk_rkey_end(struct bulk_link_keys *keys, struct bulk_rkey *rkey,
		   enum bulk_rkey_state state);
void bulk_rkey_unhash(struct bulk_link_keys *keys, struct bulk_rkey *rkey);

#endif /* _RDMA_BULK_MEM_KEYS_H */
