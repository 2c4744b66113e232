/* SPDX-License-Identifier: GPL-2.0 OR BSD-3-Clause */
/*
 * What ring.c and channel.c share with each other only.
 */
#ifndef _RDMA_BULK_CHANNEL_H
#define _RDMA_BULK_CHANNEL_H

#include "bulk.h"

/* First pause before events that found no room are tried again, milliseconds. */
#define BULK_EVENT_DELAY	2

/* ch->lock held */
u32 bulk_ring_room(const struct bulk_channel *ch);
void bulk_channel_flush(struct bulk_channel *ch);

void bulk_channel_event_work(struct work_struct *work);

/* How many chunks of slots are complete: of ch->rx_chunks or ch->tx_chunks. */
static inline unsigned int bulk_chunks(const unsigned int *nr)
{
	/* Pairs with bulk_chunk_publish. */
	return smp_load_acquire(nr);
}

#endif /* _RDMA_BULK_CHANNEL_H */
