// SPDX-License-Identifier: GPL-2.0 OR BSD-3-Clause
/*
 * Channels: areas of slots, and messages in them
 *
 * Owns the tables of receive and transmit slots, the areas they lie in, as the process
 * maps them, and who has which receive slot. (Who has which transmit slot is the
 * commands'.)
 *
 * The process can write to all slots at any time. Who holds which is kept where it cannot
 * see it.
 *
 * Locks: the tables only grow: under ch->mutex, published by a release store of their
 * number, read without a lock; a transmit area is also mapped for DMA and published
 * under dev->mutex, so that device removal finds all. Counts and free slots are under
 * ch->lock. A message is copied without it, while its slot is on nobody's list.
 *
 * Context: making, growing and mapping are the process's own; slots are looked up, filled
 * and given back in any context.
 */
#include <linux/mm.h>
#include <linux/nospec.h>

#include "base/trace.h"
#include "chan/private.h"

/* ---- making ---- */

/* Receive slots there may be: their EV_RECV must always have a place. */
static u32 bulk_rx_limit(u32 events)
{
	return min_t(u32, BULK_MAX_RX, events - BULK_MAX_COMMANDS - BULK_EVENT_SLACK);
}

/* How many chunks of slots are complete: of ch->rx_chunks or ch->tx_chunks. */
static unsigned int bulk_chunks(const unsigned int *nr)
{
	/* Pairs with bulk_chunk_publish. */
	return smp_load_acquire(nr);
}

static void bulk_chunk_publish(unsigned int *nr)
{
	/* Whoever sees the number sees the chunk. */
	smp_store_release(nr, *nr + 1);
}

/**
 * bulk_channel_account - an area is a part of what the channel takes
 * @ch: channel; nobody else sees it, or its lock is held
 * @shm: the area
 */
void bulk_channel_account(struct bulk_channel *ch, const struct bulk_shm *shm)
{
	ch->kernel_bytes += (size_t)shm->npages *
			    (PAGE_SIZE + sizeof(*shm->pages) +
			     (shm->dma ? sizeof(*shm->dma) : 0));
}

/*
 * Make slots @first to @first + @count - 1 in @chunk. Transmit slots are mapped
 * for DMA by bulk_channel_add_slots.
 */
static int bulk_chunk_alloc(struct bulk_chunk *chunk, u64 area, unsigned int nr,
			    u32 first, u32 count, u32 stride)
{
	chunk->first = first;
	chunk->count = count;
	return bulk_shm_alloc(&chunk->shm, (size_t)count * stride,
			      area | (u64)nr << BULK_CHUNK_SHIFT, true);
}

/**
 * bulk_channel_add_slots - make more slots
 * @ch: channel, its mutex held, or nobody else sees it
 * @rx_add: receive slots, within the limits, their events promised
 * @tx_add: transmit slots, within the limits
 *
 * Return: 0; or -ENOMEM, -ENODEV, with no effect.
 */
int bulk_channel_add_slots(struct bulk_channel *ch, u32 rx_add, u32 tx_add)
{
	struct bulk_chunk *rx = &ch->rx[ch->rx_chunks];
	struct bulk_chunk *tx = &ch->tx[ch->tx_chunks];
	struct bulk_dev *dev = ch->dev;
	int err = 0;
	u32 i;

	if (rx_add)
		err = bulk_chunk_alloc(rx, BULK_AREA_RX, ch->rx_chunks, ch->rx_slots,
				       rx_add, ch->rx_stride);
	if (err)
		return err;
	if (tx_add)
		err = bulk_chunk_alloc(tx, BULK_AREA_TX, ch->tx_chunks, ch->tx_slots,
				       tx_add, ch->tx_stride);
	if (err)
		goto free_rx;

	/* Either the device's removal sees the new area, or we see the removal. */
	mutex_lock(&dev->mutex);
	if (!ch->dma)
		err = -ENODEV;
	else if (tx_add)
		err = bulk_shm_map_dma(&tx->shm, dev->ibdev, DMA_BIDIRECTIONAL);
	if (err) {
		mutex_unlock(&dev->mutex);
		goto free_tx;
	}

	spin_lock_bh(&ch->lock);
	if (rx_add) {
		bulk_channel_account(ch, &rx->shm);
		for (i = 0; i < rx_add; i++)
			ch->rx_free[ch->rx_nfree++] = rx->first + rx_add - 1 - i;
		ch->rx_slots += rx_add;
		bulk_chunk_publish(&ch->rx_chunks);
	}
	if (tx_add) {
		bulk_channel_account(ch, &tx->shm);
		ch->tx_slots += tx_add;
		bulk_chunk_publish(&ch->tx_chunks);
	}
	spin_unlock_bh(&ch->lock);
	mutex_unlock(&dev->mutex);
	return 0;

free_tx:
	if (tx_add)
		bulk_shm_free(&tx->shm);
free_rx:
	if (rx_add)
		bulk_shm_free(&rx->shm);
	return err;
}

/**
 * bulk_channel_grow - RDMA_BULK_IOC_GROW
 * @ch: channel
 * @grow: in and out
 *
 * Gives what the limits, and the events that the process has not read, leave; a
 * channel whose device is gone gets nothing.
 *
 * Return: 0, -EINVAL, -ENOMEM, -ENOSPC, -EINTR.
 */
int bulk_channel_grow(struct bulk_channel *ch, struct rdma_bulk_grow *grow)
{
	u32 rx_add, tx_add;
	int err;

	if (grow->flags)
		return -EINVAL;

	err = mutex_lock_killable(&ch->mutex);
	if (err)
		return err;

	spin_lock_bh(&ch->lock);
	rx_add = min(grow->rx_add, bulk_rx_limit(ch->events) - ch->rx_slots);
	rx_add = min(rx_add, bulk_ring_room(ch));
	tx_add = min(grow->tx_add, BULK_MAX_TX - ch->tx_slots);
	if (ch->dead || ch->removed) {
		rx_add = 0;
		tx_add = 0;
	}
	if (rx_add + tx_add && ch->grows == BULK_CHUNKS - 1)
		err = -ENOSPC;
	else
		ch->reserved += rx_add;
	spin_unlock_bh(&ch->lock);
	if (err)
		goto unlock;

	grow->rx_add = rx_add;
	grow->tx_add = tx_add;
	grow->rx_first = ch->rx_slots;
	grow->tx_first = ch->tx_slots;
	grow->rx_offset = 0;
	grow->rx_bytes = 0;
	grow->tx_offset = 0;
	grow->tx_bytes = 0;

	if (rx_add + tx_add) {
		err = bulk_channel_add_slots(ch, rx_add, tx_add);
		if (err) {
			spin_lock_bh(&ch->lock);
			ch->reserved -= rx_add;
			spin_unlock_bh(&ch->lock);
			if (err == -ENODEV) {
				grow->rx_add = 0;
				grow->tx_add = 0;
				err = 0;
			}
			goto unlock;
		}
		ch->grows++;
	}
	if (rx_add) {
		const struct bulk_shm *shm = &ch->rx[ch->rx_chunks - 1].shm;

		grow->rx_offset = shm->offset;
		grow->rx_bytes = (u64)shm->npages << PAGE_SHIFT;
	}
	if (tx_add) {
		const struct bulk_shm *shm = &ch->tx[ch->tx_chunks - 1].shm;

		grow->tx_offset = shm->offset;
		grow->tx_bytes = (u64)shm->npages << PAGE_SHIFT;
	}

	spin_lock_bh(&ch->lock);
	if (rx_add)
		bulk_window_grant(ch);
	bulk_channel_flush(ch);
	spin_unlock_bh(&ch->lock);
	bulk_senders_wake(ch);
	bulk_channel_trace(ch, "grow");
unlock:
	mutex_unlock(&ch->mutex);
	return err;
}

/* ---- mapping ---- */

static const struct bulk_shm *bulk_channel_area(const struct bulk_channel *ch, u64 offset)
{
	unsigned int i, nr;

	if (offset == ch->ctrl_shm.offset)
		return &ch->ctrl_shm;
	if (offset == ch->ring_shm.offset)
		return &ch->ring_shm;
	nr = bulk_chunks(&ch->rx_chunks);
	for (i = 0; i < nr; i++)
		if (offset == ch->rx[i].shm.offset)
			return &ch->rx[i].shm;
	nr = bulk_chunks(&ch->tx_chunks);
	for (i = 0; i < nr; i++)
		if (offset == ch->tx[i].shm.offset)
			return &ch->tx[i].shm;
	return NULL;
}

/**
 * bulk_channel_mmap - mmap() of a channel's file
 * @ch: channel
 * @vma: mapping to be
 *
 * One whole area, shared. The pages have references of their own in the mapping.
 *
 * Return: 0, -EINVAL, -EACCES (the ring is read-only), -ENOMEM.
 */
int bulk_channel_mmap(struct bulk_channel *ch, struct vm_area_struct *vma)
{
	const struct bulk_shm *shm;
	unsigned long num;

	if (!(vma->vm_flags & VM_MAYSHARE))
		return -EINVAL;
	/* what others write into is not to be run */
	if (vma->vm_flags & VM_EXEC)
		return -EACCES;
	vm_flags_clear(vma, VM_MAYEXEC);
	shm = bulk_channel_area(ch, (u64)vma->vm_pgoff << PAGE_SHIFT);
	if (!shm || vma_pages(vma) != shm->npages)
		return -EINVAL;
	if (!shm->writable) {
		if (vma->vm_flags & VM_WRITE)
			return -EACCES;
		vm_flags_clear(vma, VM_MAYWRITE);
	}
	vm_flags_set(vma, VM_DONTCOPY | VM_DONTEXPAND | VM_DONTDUMP | VM_MIXEDMAP);
	num = shm->npages;
	return vm_insert_pages(vma, vma->vm_start, shm->pages, &num);
}

/* ---- use ---- */

/*
 * The area and offset of a slot, NULL if there is no such slot. @nr is the number
 * of valid chunks, loaded with acquire semantics.
 */
static const struct bulk_shm *bulk_slot_area(const struct bulk_chunk *chunks,
					     unsigned int nr, u32 slot, u32 stride,
					     u32 *off)
{
	const struct bulk_chunk *chunk;

	for (chunk = chunks; chunk < chunks + nr; chunk++) {
		u32 i = slot - chunk->first;

		if (i < chunk->count) {
			/* @slot may be the process's word. */
			*off = array_index_nospec(i, chunk->count) * stride;
			return &chunk->shm;
		}
	}
	return NULL;
}

/**
 * bulk_channel_tx_vaddr - where a transmit slot lies
 * @ch: channel
 * @slot: any number
 *
 * Context: any. The memory stays while the caller has a reference to @ch. The
 * process can write to it at any time.
 *
 * Return: its first of RDMA_BULK_SLOT_PAYLOAD bytes, NULL if there is no such slot.
 */
void *bulk_channel_tx_vaddr(struct bulk_channel *ch, u32 slot)
{
	unsigned int nr = bulk_chunks(&ch->tx_chunks);
	const struct bulk_shm *shm;
	u32 off;

	shm = bulk_slot_area(ch->tx, nr, slot, ch->tx_stride, &off);
	return shm ? shm->vaddr + off : NULL;
}

/**
 * bulk_channel_tx_sges - describe a part of a transmit slot to the device
 * @ch: channel
 * @slot: any number
 * @off: first byte in the slot
 * @len: bytes
 * @lkey: for all entries
 * @sge: filled in
 * @max: room in @sge
 *
 * Context: any, on behalf of a lane: lanes are destroyed before the device goes
 * and takes the mappings along.
 *
 * Return: number of entries, -EINVAL if there is no such slot, -EMSGSIZE if the
 * part is not all in it or needs more entries, -ENODEV after device removal.
 */
int bulk_channel_tx_sges(struct bulk_channel *ch, u32 slot, u32 off, u32 len,
			 u32 lkey, struct ib_sge *sge, int max)
{
	unsigned int nr = bulk_chunks(&ch->tx_chunks);
	const struct bulk_shm *shm;
	u32 base;

	shm = bulk_slot_area(ch->tx, nr, slot, ch->tx_stride, &base);
	if (!shm)
		return -EINVAL;
	if (off > RDMA_BULK_SLOT_PAYLOAD || len > RDMA_BULK_SLOT_PAYLOAD - off)
		return -EMSGSIZE;
	return bulk_shm_sges(shm, base + off, len, lkey, sge, max);
}

/**
 * bulk_channel_return - give back receive slots
 * @ch: channel, its lock held
 * @slots: their numbers, as the process gives them
 * @n: how many
 *
 * All of them or none. Windows are granted from them.
 *
 * Return: 0; -EINVAL if one is not held, or named twice; -EAGAIN if the process
 * has so many events unread that the next messages' would not fit.
 */
int bulk_channel_return(struct bulk_channel *ch, const u16 *slots, unsigned int n)
{
	unsigned int i;
	int err;

	lockdep_assert_held(&ch->lock);

	for (i = 0; i < n; i++) {
		u32 slot = slots[i];

		err = -EINVAL;
		if (slot >= ch->rx_slots)
			goto undo;
		slot = array_index_nospec(slot, ch->rx_slots);
		if (!__test_and_clear_bit(slot, ch->rx_held))
			goto undo;
	}
	err = -EAGAIN;
	if (bulk_ring_room(ch) < n)
		goto undo;

	for (i = 0; i < n; i++)
		ch->rx_free[ch->rx_nfree++] = slots[i];
	ch->reserved += n;
	bulk_window_grant(ch);
	if (bulk_channel_due(ch))
		bulk_channel_flush(ch);
	return 0;

undo:
	while (i--)
		__set_bit(slots[i], ch->rx_held);
	return err;
}

/**
 * bulk_channel_deliver - put a message into a receive slot, with its event
 * @ch: channel; its lock is taken
 * @id: the sender's message id
 * @data: the message
 * @len: its bytes
 *
 * Uses up a free slot together with one of ch->rx_promised, which the caller must
 * leave alone. Messages of one sender have to come one after the other.
 *
 * Context: any.
 * Return: 0; -EPIPE if the channel is dead; -EMSGSIZE; -ENOBUFS if no message was
 * promised a slot: the sender broke its window.
 */
int bulk_channel_deliver(struct bulk_channel *ch, u16 id, const void *data, u32 len)
{
	struct rdma_bulk_event ev = {
		.type = RDMA_BULK_EV_RECV,
		.id = id,
		.length = len,
	};
	const struct bulk_shm *shm;
	unsigned int nr;
	u32 off;

	if (len > RDMA_BULK_SLOT_PAYLOAD)
		return -EMSGSIZE;

	spin_lock_bh(&ch->lock);
	if (ch->dead) {
		spin_unlock_bh(&ch->lock);
		return -EPIPE;
	}
	if (!ch->rx_nfree || !ch->rx_promised) {
		spin_unlock_bh(&ch->lock);
		return -ENOBUFS;
	}
	ch->rx_promised--;
	ev.slot = ch->rx_free[--ch->rx_nfree];
	nr = ch->rx_chunks;
	spin_unlock_bh(&ch->lock);

	/* The slot is on nobody's list now: it is ours. */
	shm = bulk_slot_area(ch->rx, nr, ev.slot, ch->rx_stride, &off);
	if (WARN_ON_ONCE(!shm))
		return -ENOBUFS;
	memcpy(shm->vaddr + off + ch->headroom, data, len);

	spin_lock_bh(&ch->lock);
	__set_bit(ev.slot, ch->rx_held);
	ch->reserved--;
	if (!ch->dead) {
		bulk_ring_write(ch, &ev, false);
		if (bulk_channel_due(ch))
			bulk_channel_flush(ch);
	}
	spin_unlock_bh(&ch->lock);

	bulk_count(ch, rx_messages, 1);
	bulk_count(ch, rx_bytes, len);
	return 0;
}
