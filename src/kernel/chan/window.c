// SPDX-License-Identifier: GPL-2.0 OR BSD-3-Clause
/*
 * Windows: how many messages a sender of another host may send to a channel
 *
 * A window has a limit: so many messages may have been received in all. The sum of what
 * all windows of a channel may still receive (ch->rx_promised) never exceeds its free
 * receive slots, so every message has a place. A window never shrinks.
 *
 * Raising limits is decided whenever slots come back (bulk_window_grant), and only those
 * that have something coming are looked at: a window with less than half of its share left,
 * or whose sender has asked for more, stands on ch->low, in the order of coming there. The
 * layer above tells the sender (ops->window_due).
 *
 * All under ch->lock, in any context. A window is its holder's memory. It is on
 * ch->windows until its holder closes it, or the channel dies.
 */
#include "chan/private.h"

#define WINDOW_FIRST	2	/* granted at first, if there are slots */
#define WINDOW_MAX	128	/* of one window */
#define WINDOWS_FULL	4	/* windows' worth of messages before more slots are wanted */

static u32 window_share(const struct bulk_channel *ch)
{
	u32 n = max_t(u32, ch->nr_windows, 1);

	return clamp_t(u32, ch->rx_slots / (2 * n), 1, WINDOW_MAX);
}

/* Half of a share is used up; not for every message: each raise costs one, too. */
static bool window_is_low(const struct bulk_rx_window *w, u32 share)
{
	return w->want || w->limit - w->received < (share + 1) / 2;
}

/* It has a share coming, if it is not on the list already. */
static void window_check(struct bulk_channel *ch, struct bulk_rx_window *w)
{
	if (list_empty(&w->low) && window_is_low(w, window_share(ch)))
		list_add_tail(&w->low, &ch->low);
}

/* Raise a window to @want if slots allow. True if it was raised. */
static bool window_raise(struct bulk_channel *ch, struct bulk_rx_window *w, u32 want)
{
	u32 have = w->limit - w->received;
	u32 add = have < want ? min(want - have, bulk_channel_spare(ch)) : 0;

	w->limit += add;
	ch->rx_promised += add;
	return add;
}

/* It is empty, and there is no slot for another message. */
static void window_dry(struct bulk_channel *ch, struct bulk_rx_window *w)
{
	w->want = true;
	bulk_channel_rx_low(ch, 1);
}

/* Off the list; what it was promised is free again. */
static void window_end(struct bulk_channel *ch, struct bulk_rx_window *w)
{
	list_del_init(&w->list);
	list_del_init(&w->low);
	w->dead = true;
	ch->nr_windows--;
	ch->rx_promised -= w->limit - w->received;
}

/**
 * bulk_window_busy - a sender has asked for a larger window, or found no slot
 * @ch: channel, its lock held
 * @received: messages of that sender in all
 * @grown_at: what that was when more slots were asked for
 *
 * One that goes on running out would be faster with a larger share: the process is asked
 * for more slots.
 */
void bulk_window_busy(struct bulk_channel *ch, u32 received, u32 *grown_at)
{
	u32 share = window_share(ch);

	if (share >= WINDOW_MAX || received - *grown_at < WINDOWS_FULL * share)
		return;
	*grown_at = received;
	bulk_channel_rx_low(ch, share);
}

/**
 * bulk_window_grant - slots have come free: raise windows
 * @ch: channel, its lock held
 */
void bulk_window_grant(struct bulk_channel *ch)
{
	u32 share = window_share(ch);
	struct bulk_rx_window *w;

	lockdep_assert_held(&ch->lock);
	ch->rx_low = false;
	if (bulk_sender_turn(ch))
		return;
	while (bulk_channel_spare(ch) && !list_empty(&ch->low)) {
		w = list_first_entry(&ch->low, struct bulk_rx_window, low);
		list_del_init(&w->low);
		if (window_is_low(w, share) && window_raise(ch, w, share)) {
			w->want = false;
			ch->ops->window_due(w);
			window_check(ch, w);	/* there were too few slots */
		}
	}
}

/**
 * bulk_window_open - a sender begins
 * @ch: channel; its lock is taken
 * @w: all zero
 * @first: it sends a message at once
 *
 * Its limit, which may be 0, counts as announced. On a dead channel it is dead.
 */
void bulk_window_open(struct bulk_channel *ch, struct bulk_rx_window *w, bool first)
{
	u32 want;

	INIT_LIST_HEAD(&w->list);
	INIT_LIST_HEAD(&w->low);
	spin_lock_bh(&ch->lock);
	if (ch->dead) {
		w->dead = true;
	} else {
		list_add_tail(&w->list, &ch->windows);
		ch->nr_windows++;
		/* it cannot ask for more before it has sent one more */
		want = min_t(u32, WINDOW_FIRST, window_share(ch)) + (first ? 1 : 0);
		if (!window_raise(ch, w, want))
			window_dry(ch, w);
		window_check(ch, w);
	}
	w->announced = w->limit;
	spin_unlock_bh(&ch->lock);
}

/**
 * bulk_window_close - a sender has ended
 * @ch: channel; its lock is taken
 * @w: its window; dead from here on, ops->window_due() is not called for it any more
 *
 * What it was promised is for others, who may wait for it.
 *
 * Context: process.
 */
void bulk_window_close(struct bulk_channel *ch, struct bulk_rx_window *w)
{
	spin_lock_bh(&ch->lock);
	if (!list_empty(&w->list)) {
		window_end(ch, w);
		bulk_window_grant(ch);
	}
	w->dead = true;
	spin_unlock_bh(&ch->lock);
	bulk_senders_wake(ch);
}

/**
 * bulk_windows_end - the channel has died
 * @ch: marked dead; its lock is taken
 *
 * Windows, which their holders close later, are dead from here on.
 */
void bulk_windows_end(struct bulk_channel *ch)
{
	struct bulk_rx_window *w, *next;

	spin_lock_bh(&ch->lock);
	list_for_each_entry_safe(w, next, &ch->windows, list) {
		window_end(ch, w);
		ch->ops->window_due(w);
	}
	spin_unlock_bh(&ch->lock);
}

/**
 * bulk_window_first - the message that has come when the window was opened
 * @ch: channel; its lock is taken
 * @w: window
 *
 * Return: true if it has a place: bulk_channel_deliver() is to follow.
 */
bool bulk_window_first(struct bulk_channel *ch, struct bulk_rx_window *w)
{
	bool place;

	spin_lock_bh(&ch->lock);
	place = !w->dead && w->limit != w->received;
	if (place) {
		w->received++;		/* deliver() takes it off rx_promised */
		if (w->limit == w->received)
			window_dry(ch, w);
		window_check(ch, w);
	}
	spin_unlock_bh(&ch->lock);
	return place;
}

/**
 * bulk_window_receive - a message has come
 * @ch: channel; its lock is taken
 * @w: its sender's window
 * @want: the sender asks for a larger one
 *
 * Return: 0: bulk_channel_deliver() is to follow; -EPIPE if the window is dead; -EPROTO
 * if the sender had no window left.
 */
int bulk_window_receive(struct bulk_channel *ch, struct bulk_rx_window *w, bool want)
{
	int err = 0;

	spin_lock_bh(&ch->lock);
	if (w->dead) {
		err = -EPIPE;
		goto out;
	}
	if (w->limit == w->received)
		err = -EPROTO;
	else
		w->received++;		/* deliver() takes it off rx_promised */
	if (want) {
		w->want = true;
		if (window_raise(ch, w, window_share(ch))) {
			w->want = false;
			ch->ops->window_due(w);
		} else if (w->limit == w->received) {
			bulk_channel_rx_low(ch, 1);
		}
		bulk_window_busy(ch, w->received, &w->grown_at);
	}
	window_check(ch, w);
out:
	spin_unlock_bh(&ch->lock);
	return err;
}
