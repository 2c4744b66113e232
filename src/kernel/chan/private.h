/* SPDX-License-Identifier: GPL-2.0 OR BSD-3-Clause */
/*
 * What the files of chan/ share with each other only.
 */
#ifndef _RDMA_BULK_CHAN_PRIVATE_H
#define _RDMA_BULK_CHAN_PRIVATE_H

#include "chan/chan.h"

/* First pause before events that found no room are tried again, milliseconds. */
#define BULK_EVENT_DELAY	2
/* Room in the ring beside commands and receive slots, for events of endpoints. */
#define BULK_EVENT_SLACK	64

/* mmap offsets: what it is, and for slots which call made them */
#define BULK_AREA_SHIFT		36
#define BULK_CHUNK_SHIFT	28
#define BULK_AREA_CTRL		0ULL
#define BULK_AREA_RING		BIT_ULL(BULK_AREA_SHIFT)
#define BULK_AREA_RX		(2ULL << BULK_AREA_SHIFT)
#define BULK_AREA_TX		(3ULL << BULK_AREA_SHIFT)

/* channel.c */
void bulk_channel_trace(const struct bulk_channel *ch, const char *step);

/* ring.c; ch->lock held */
u32 bulk_ring_room(const struct bulk_channel *ch);
void bulk_ring_write(struct bulk_channel *ch, const struct rdma_bulk_event *ev, bool quiet);
void bulk_channel_flush(struct bulk_channel *ch);
void bulk_channel_rx_low(struct bulk_channel *ch, u32 want);
void bulk_channel_event_work(struct work_struct *work);

/* Are there events that found no room? */
static inline bool bulk_channel_due(const struct bulk_channel *ch)
{
	return ch->removed_due || ch->rx_low_due || !list_empty(&ch->due);
}

/* slots.c */
void bulk_channel_account(struct bulk_channel *ch, const struct bulk_shm *shm);
int bulk_channel_add_slots(struct bulk_channel *ch, u32 rx_add, u32 tx_add);

/* window.c */
void bulk_windows_end(struct bulk_channel *ch);
/* ch->lock held */
void bulk_window_grant(struct bulk_channel *ch);
void bulk_window_busy(struct bulk_channel *ch, u32 received, u32 *grown_at);

/* Free receive slots that nobody has been promised; ch->lock held. */
static inline u32 bulk_channel_spare(const struct bulk_channel *ch)
{
	return ch->rx_nfree - min(ch->rx_promised, ch->rx_nfree);
}

/* sender.c */
void bulk_senders_gone(struct bulk_channel *ch, int err);
void bulk_sender_turn_work(struct work_struct *work);
/* ch->lock held */
bool bulk_sender_turn(struct bulk_channel *ch);

#endif /* _RDMA_BULK_CHAN_PRIVATE_H */
