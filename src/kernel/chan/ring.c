// SPDX-License-Identifier: GPL-2.0 OR BSD-3-Clause
/*
 * Channels: the event ring
 *
 * The process can write to the control page. Of that the kernel reads two words, the
 * consumer index and the armed flag, each once for every use: a wrong consumer makes
 * the ring look full or not, which costs that process its own events; it never leads
 * the kernel anywhere, since the place of an event follows from the kernel's own
 * producer index.
 *
 * Room in the ring is promised before it is needed. @reserved counts the promises:
 * one for each command under way (its EV_DONE), and one for each receive slot that
 * the process does not hold (the EV_RECV of the next message in it). A promise is
 * only made if unread events and promises together fit into the ring; with an
 * honest consumer index it is therefore always kept. Events that no promise
 * covers (of endpoints, EV_RX_LOW, EV_REMOVED) are bits until there is room; they
 * are tried again whenever the channel is touched, and by a timer, since a process
 * that polls memory need not call the kernel.
 *
 * Everything is under ch->lock and runs in any context.
 */
#include "base/trace.h"
#include "chan/private.h"

/* Longest pause before events that found no room are tried again, milliseconds. */
#define BULK_EVENT_DELAY_MAX	256

/* ---- event ring ---- */

/**
 * bulk_ring_room - places that are neither filled nor promised
 * @ch: channel, its lock held
 *
 * Return: how many, 0 too if the consumer index makes no sense.
 */
u32 bulk_ring_room(const struct bulk_channel *ch)
{
	u32 used = ch->producer - READ_ONCE(ch->ctrl->consumer);

	if (used > ch->events || ch->reserved >= ch->events - used)
		return 0;
	return ch->events - used - ch->reserved;
}

/**
 * bulk_ring_write - write an event
 * @ch: channel, its lock held; a place is reserved, or there is room
 * @ev: event
 * @quiet: does not wake who has armed for loud events
 */
void bulk_ring_write(struct bulk_channel *ch, const struct rdma_bulk_event *ev, bool quiet)
{
	u32 armed;

	trace_bulk_event(ch, ch->producer, ev);
	ch->ring->entry[ch->producer & (ch->events - 1)] = *ev;
	ch->producer++;
	/* The entry is there before the index says so. */
	smp_store_release(&ch->ring->producer, ch->producer);
	/*
	 * The process sets armed, then looks at the producer: one of the two sees
	 * what the other has written.
	 */
	smp_mb();
	armed = READ_ONCE(ch->ctrl->armed);
	if (armed && !(quiet && armed == RDMA_BULK_ARMED_LOUD)) {
		WRITE_ONCE(ch->ctrl->armed, 0);
		wake_up_interruptible_poll(&ch->wait, EPOLLIN | EPOLLRDNORM);
	}
}

/**
 * bulk_channel_flush - write the events that are due, as far as there is room
 * @ch: channel, its lock held
 */
void bulk_channel_flush(struct bulk_channel *ch)
{
	struct rdma_bulk_event ev = { .slot = RDMA_BULK_NO_SLOT };
	struct bulk_due *due, *next;

	if (ch->removed_due) {
		ev.type = RDMA_BULK_EV_REMOVED;
		if (!bulk_channel_event(ch, &ev))
			return;
		ch->removed_due = false;
	}
	if (ch->rx_low_due) {
		ev.type = RDMA_BULK_EV_RX_LOW;
		ev.result = min_t(u32, ch->rx_low_due, S32_MAX);
		if (!bulk_channel_event(ch, &ev))
			return;
		ch->rx_low_due = 0;
	}
	list_for_each_entry_safe(due, next, &ch->due, list)
		if (!ch->ops->report(due))
			return;
}

/* See to it that bits are looked at again even if nobody touches the channel. */
static void bulk_channel_retry(struct bulk_channel *ch)
{
	refcount_inc(&ch->refs);
	if (!queue_delayed_work(bulk_wq, &ch->event_work,
				msecs_to_jiffies(ch->event_delay)))
		refcount_dec(&ch->refs);
}

/**
 * bulk_channel_event_work - try again to write what found no room
 * @work: ch->event_work, which holds a reference
 */
void bulk_channel_event_work(struct work_struct *work)
{
	struct bulk_channel *ch = container_of(to_delayed_work(work),
					       struct bulk_channel, event_work);

	spin_lock_bh(&ch->lock);
	if (!ch->dead) {
		ch->event_delay = min_t(unsigned int, ch->event_delay * 2,
					BULK_EVENT_DELAY_MAX);
		bulk_channel_flush(ch);
		if (!bulk_channel_due(ch))
			ch->event_delay = BULK_EVENT_DELAY;
	}
	spin_unlock_bh(&ch->lock);
	bulk_channel_put(ch);
}

/**
 * bulk_channel_event - write an event for which no place is reserved
 * @ch: channel, its lock held
 * @ev: event
 *
 * A dead channel swallows events.
 *
 * Return: false if there is no room: the caller keeps a bit and tries again in
 * bulk_channel_flush().
 */
bool bulk_channel_event(struct bulk_channel *ch, const struct rdma_bulk_event *ev)
{
	lockdep_assert_held(&ch->lock);

	if (ch->dead)
		return true;
	if (!bulk_ring_room(ch)) {
		bulk_channel_retry(ch);
		return false;
	}
	bulk_ring_write(ch, ev, false);
	return true;
}

/**
 * bulk_channel_done - a command has ended: write its EV_DONE
 * @ch: channel, its lock held
 * @ev: event, for which bulk_channel_reserve took a place
 * @quiet: does not wake who has armed for loud events
 *
 * The command is no longer outstanding. A dead channel swallows events.
 */
void bulk_channel_done(struct bulk_channel *ch, const struct rdma_bulk_event *ev,
		       bool quiet)
{
	lockdep_assert_held(&ch->lock);

	ch->reserved--;
	ch->commands--;
	if (ch->dead)
		return;
	bulk_ring_write(ch, ev, quiet);
	if (bulk_channel_due(ch))
		bulk_channel_flush(ch);
}

/**
 * bulk_channel_reserve - promise a place in the ring to a command's EV_DONE
 * @ch: channel, its lock held
 *
 * Return: false if the ring has no room (the process does not read its events) or
 * too many commands are outstanding: the command is refused with -EAGAIN.
 */
bool bulk_channel_reserve(struct bulk_channel *ch)
{
	lockdep_assert_held(&ch->lock);

	if (bulk_channel_due(ch))
		bulk_channel_flush(ch);
	if (ch->dead || ch->commands >= BULK_MAX_COMMANDS || !bulk_ring_room(ch))
		return false;
	ch->commands++;
	ch->reserved++;
	return true;
}

/**
 * bulk_channel_unreserve - take back bulk_channel_reserve, the command is refused
 * @ch: channel, its lock held
 */
void bulk_channel_unreserve(struct bulk_channel *ch)
{
	lockdep_assert_held(&ch->lock);

	ch->commands--;
	ch->reserved--;
}

/**
 * bulk_channel_rx_low - report that receive slots limit a sender
 * @ch: channel, its lock held
 * @want: messages that peers would like to send
 *
 * Does nothing if ch->rx_low is set; sets it. Whoever grants a window clears it.
 */
void bulk_channel_rx_low(struct bulk_channel *ch, u32 want)
{
	lockdep_assert_held(&ch->lock);

	if (ch->rx_low || ch->dead)
		return;
	ch->rx_low = true;
	ch->rx_low_due = max(want, 1U);
	bulk_channel_flush(ch);
}

/**
 * bulk_channel_poll - poll() of a channel's file
 * @ch: channel
 * @file: the file
 * @wait: poll table
 *
 * Return: readable if there are events that the process has not taken; hung up
 * once the address space that owns the channel is gone.
 */
__poll_t bulk_channel_poll(struct bulk_channel *ch, struct file *file, poll_table *wait)
{
	__poll_t mask = 0;

	poll_wait(file, &ch->wait, wait);

	spin_lock_bh(&ch->lock);
	if (ch->dead)
		mask |= EPOLLERR | EPOLLHUP;
	else if (bulk_channel_due(ch))
		bulk_channel_flush(ch);
	if (ch->producer != READ_ONCE(ch->ctrl->consumer))
		mask |= EPOLLIN | EPOLLRDNORM;
	spin_unlock_bh(&ch->lock);
	return mask;
}
