// SPDX-License-Identifier: GPL-2.0 OR BSD-3-Clause
/*
 * What mem/ has on links, and its beginning and end.
 */
#include "mem/private.h"

static void mem_link_work(struct bulk_link *link)
{
	if (link->state == BULK_LINK_READY)
		bulk_key_work(link);
}

static void mem_link_down(struct bulk_link *link)
{
	bulk_grants_fenced(link, INVALID_UID);
	bulk_key_drop_all(link);
}

static struct bulk_link_client mem_link_client = {
	.attach		= bulk_key_attach,
	.release	= bulk_key_release,
	.work		= mem_link_work,
	.waiting	= bulk_key_waiting,
	.fenced		= bulk_grants_fenced,
	.down		= mem_link_down,
};

/**
 * bulk_mem_init - at module load
 */
void bulk_mem_init(void)
{
	bulk_region_init();
	bulk_grant_init();
	bulk_resolve_init();
	bulk_key_init();
	bulk_link_client_add(&mem_link_client);
}

/**
 * bulk_mem_exit - wait until all regions are dead
 *
 * All domains have been killed and all links are gone, which ends their grants.
 *
 * Context: module exit.
 */
void bulk_mem_exit(void)
{
	bulk_region_exit();
	bulk_grant_exit();
}
