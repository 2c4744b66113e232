// SPDX-License-Identifier: GPL-2.0 OR BSD-3-Clause
/*
 * Senders within the host: those that take receive slots as they come
 *
 * A sender takes any free slot that no window has been promised. If there is none, it
 * waits on the channel's list, and is told when slots have come back. While some wait,
 * every other return of slots is theirs; what they leave is granted to other hosts a
 * moment later (turn_work).
 *
 * A sender is its holder's memory. Its holder has a reference to the sender for being on
 * ch->senders and one for waiting, and lets go of them as it is told (ops->sender_wake,
 * ops->sender_gone, bulk_sender_detach()).
 *
 * All lists are under ch->lock. Context: process.
 */
#include "chan/private.h"

#define SENDER_TURN	1		/* jiffies until the others have theirs */

/**
 * bulk_sender_attach - a sender begins
 * @ch: channel; its lock is taken
 * @s: the holder has taken the list's reference
 *
 * Return: true; false if the channel is dead or its device is gone.
 */
bool bulk_sender_attach(struct bulk_channel *ch, struct bulk_sender *s)
{
	bool attached = false;

	spin_lock_bh(&ch->lock);
	if (!ch->dead && !ch->removed) {
		list_add_tail(&s->list, &ch->senders);
		attached = true;
	}
	spin_unlock_bh(&ch->lock);
	return attached;
}

/**
 * bulk_sender_detach - a sender has ended
 * @ch: channel; its lock is taken
 * @s: sender, attached once
 *
 * Return: how many references the holder has to let go of: one for each list it was on.
 */
unsigned int bulk_sender_detach(struct bulk_channel *ch, struct bulk_sender *s)
{
	unsigned int lists;

	spin_lock_bh(&ch->lock);
	lists = !list_empty(&s->list);
	list_del_init(&s->list);
	lists += !list_empty(&s->waiting);
	list_del_init(&s->waiting);
	spin_unlock_bh(&ch->lock);
	return lists;
}

/**
 * bulk_senders_gone - the channel has died, or its device is gone
 * @ch: marked so; its lock is taken
 * @err: what senders are told
 */
void bulk_senders_gone(struct bulk_channel *ch, int err)
{
	struct bulk_sender *s;

	for (;;) {
		spin_lock_bh(&ch->lock);
		s = list_first_entry_or_null(&ch->senders, struct bulk_sender, list);
		if (s)
			list_del_init(&s->list);
		spin_unlock_bh(&ch->lock);
		if (!s)
			return;
		ch->ops->sender_gone(s, err);
		cond_resched();
	}
}

/**
 * bulk_sender_promise - take a place for a message
 * @ch: channel; its lock is taken
 * @s: sender
 *
 * If there is none, the sender waits for one, and the process is asked for more slots.
 *
 * Return: 0: bulk_channel_deliver() is to follow; -EAGAIN; -ECONNRESET if it is not
 * attached any more.
 */
int bulk_sender_promise(struct bulk_channel *ch, struct bulk_sender *s)
{
	int err = 0;

	spin_lock_bh(&ch->lock);
	if (list_empty(&s->list)) {
		err = -ECONNRESET;
	} else if (bulk_channel_spare(ch)) {
		ch->rx_promised++;
		s->sent++;
	} else {
		err = -EAGAIN;
		if (list_empty(&s->waiting)) {
			ch->ops->sender_waits(s);
			list_add_tail(&s->waiting, &ch->waiting);
		}
		bulk_window_busy(ch, s->sent, &s->grown_at);
		bulk_channel_rx_low(ch, 1);
	}
	spin_unlock_bh(&ch->lock);
	return err;
}

/**
 * bulk_senders_wake - receive slots have come free
 * @ch: channel; its lock is taken
 *
 * Those that have waited for them are told, all of them: one that is told may have
 * nothing more to send.
 */
void bulk_senders_wake(struct bulk_channel *ch)
{
	struct bulk_sender *s;

	/* who begins to wait now sees the free slots */
	if (list_empty(&ch->waiting))
		return;
	spin_lock_bh(&ch->lock);
	if (bulk_channel_spare(ch))
		list_splice_tail_init(&ch->waiting, &ch->woken);
	while ((s = list_first_entry_or_null(&ch->woken, struct bulk_sender, waiting))) {
		list_del_init(&s->waiting);
		spin_unlock_bh(&ch->lock);
		ch->ops->sender_wake(s);
		cond_resched();
		spin_lock_bh(&ch->lock);
	}
	spin_unlock_bh(&ch->lock);
}

/**
 * bulk_sender_turn - whose are the slots that have come free?
 * @ch: channel, its lock held
 *
 * Return: true if they are left to senders within the host this time.
 */
bool bulk_sender_turn(struct bulk_channel *ch)
{
	lockdep_assert_held(&ch->lock);
	ch->local_turn = !ch->local_turn && !list_empty(&ch->waiting);
	if (ch->local_turn && ch->nr_windows && !ch->dead) {
		refcount_inc(&ch->refs);
		if (!queue_delayed_work(bulk_wq, &ch->turn_work, SENDER_TURN))
			refcount_dec(&ch->refs);
	}
	return ch->local_turn;
}

/**
 * bulk_sender_turn_work - what senders within the host have left is for other hosts
 * @work: ch->turn_work, which holds a reference
 */
void bulk_sender_turn_work(struct work_struct *work)
{
	struct bulk_channel *ch = container_of(to_delayed_work(work),
					       struct bulk_channel, turn_work);

	spin_lock_bh(&ch->lock);
	if (!ch->dead) {
		ch->local_turn = true;
		bulk_window_grant(ch);
	}
	spin_unlock_bh(&ch->lock);
	bulk_channel_put(ch);
}
