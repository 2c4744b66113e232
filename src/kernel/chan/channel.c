// SPDX-License-Identifier: GPL-2.0 OR BSD-3-Clause
/*
 * Channels: how they are made and end
 *
 * Owns struct bulk_channel and the token by which others open endpoints to it. What
 * lies in the memory that it shares with its process is ring.c's and slots.c's, who may
 * send to it window.c's and sender.c's.
 *
 * Context: making and freeing run in process context; finding, putting and killing in
 * any.
 *
 * Life: made by BIND, reachable by its token from then on. Ends by
 * bulk_channel_kill, when its file or its address space goes: nothing new is
 * accepted, the token is gone, a worker closes its endpoints and ends its windows. These,
 * and operations under way, hold references; with the last one a worker frees
 * it. Transmit slots stay mapped for DMA until then, for operations under
 * way may name them, unless the device goes first: bulk_channel_dev_gone comes
 * when no queue pair of the device is left. Whoever of these two finds
 * ch->dma set under dev->mutex undoes it.
 */
#include <linux/mm.h>
#include <linux/random.h>
#include <linux/sched/mm.h>
#include <net/net_namespace.h>

#include "base/trace.h"
#include "chan/private.h"

static struct rhashtable bulk_tokens;		/* bulk_channel.token_node */
static DEFINE_SPINLOCK(bulk_tokens_lock);	/* bh */

static LIST_HEAD(bulk_channels);
static DEFINE_SPINLOCK(bulk_channels_lock);
static struct bulk_counters bulk_gone;		/* of channels that are freed */
static DECLARE_WAIT_QUEUE_HEAD(bulk_channels_wait);

/**
 * bulk_channel_trace - a step in a channel's life
 * @ch: channel
 * @step: its name
 */
void bulk_channel_trace(const struct bulk_channel *ch, const char *step)
{
	trace_bulk_channel(ch, ch->rx_slots, ch->tx_slots, ch->commands, step);
}

/* ---- token ---- */

static const struct rhashtable_params bulk_token_params = {
	.key_len	= sizeof_field(struct bulk_channel, token),
	.key_offset	= offsetof(struct bulk_channel, token),
	.head_offset	= offsetof(struct bulk_channel, token_node),
	.automatic_shrinking = true,
};

static int bulk_token_make(struct bulk_channel *ch)
{
	int err;

	spin_lock_bh(&bulk_tokens_lock);
	do {
		ch->token = get_random_u64();
		err = ch->token ? rhashtable_insert_fast(&bulk_tokens, &ch->token_node,
							 bulk_token_params) : -EEXIST;
	} while (err == -EEXIST);
	spin_unlock_bh(&bulk_tokens_lock);
	return err ? -ENOMEM : 0;
}

static void bulk_token_drop(struct bulk_channel *ch)
{
	spin_lock_bh(&bulk_tokens_lock);
	rhashtable_remove_fast(&bulk_tokens, &ch->token_node, bulk_token_params);
	spin_unlock_bh(&bulk_tokens_lock);
}

/**
 * bulk_channel_find - the channel of a token
 * @token: as told by a peer
 *
 * It may die at any time: look at ch->dead under its lock.
 *
 * Context: any.
 * Return: a reference, or NULL.
 */
struct bulk_channel *bulk_channel_find(u64 token)
{
	struct bulk_channel *ch;

	spin_lock_bh(&bulk_tokens_lock);
	ch = rhashtable_lookup_fast(&bulk_tokens, &token, bulk_token_params);
	if (ch && !refcount_inc_not_zero(&ch->refs))
		ch = NULL;
	spin_unlock_bh(&bulk_tokens_lock);
	return ch;
}

/* ---- sums ---- */

static void bulk_counters_add(struct bulk_counters *to, const struct bulk_counters *from)
{
	const atomic64_t *f = (const atomic64_t *)from;
	atomic64_t *t = (atomic64_t *)to;
	unsigned int i;

	for (i = 0; i < sizeof(*to) / sizeof(*t); i++)
		atomic64_add(atomic64_read(&f[i]), &t[i]);
}

/**
 * bulk_channel_total - sums over all channels ever
 * @total: filled in
 *
 * They are added up here, so that channels need not share cache lines.
 */
void bulk_channel_total(struct bulk_counters *total)
{
	struct bulk_channel *ch;

	memset(total, 0, sizeof(*total));
	spin_lock(&bulk_channels_lock);
	bulk_counters_add(total, &bulk_gone);
	list_for_each_entry(ch, &bulk_channels, all_list)
		bulk_counters_add(total, &ch->stats);
	spin_unlock(&bulk_channels_lock);
}

/**
 * bulk_channel_stats - RDMA_BULK_IOC_STATS
 * @ch: channel
 * @stats: filled in, apart from its size
 */
void bulk_channel_stats(struct bulk_channel *ch, struct rdma_bulk_stats *stats)
{
	struct bulk_counters *c = &ch->stats;

	stats->tx_messages = atomic64_read(&c->tx_messages);
	stats->tx_bytes = atomic64_read(&c->tx_bytes);
	stats->rx_messages = atomic64_read(&c->rx_messages);
	stats->rx_bytes = atomic64_read(&c->rx_bytes);
	stats->puts = atomic64_read(&c->puts);
	stats->put_bytes = atomic64_read(&c->put_bytes);
	stats->gets = atomic64_read(&c->gets);
	stats->get_bytes = atomic64_read(&c->get_bytes);
	stats->refused = atomic64_read(&c->refused);
	stats->again = atomic64_read(&c->again);
	stats->failed = atomic64_read(&c->failed);
	stats->key_misses = atomic64_read(&c->key_misses);
	stats->endpoints = READ_ONCE(ch->nr_eps);
	spin_lock_bh(&ch->lock);
	stats->rx_slots = ch->rx_slots;
	stats->rx_slots_held = bitmap_weight(ch->rx_held, BULK_MAX_RX);
	stats->tx_slots = ch->tx_slots;
	stats->kernel_bytes = ch->kernel_bytes;
	spin_unlock_bh(&ch->lock);
}

/* ---- life ---- */

/* ch->dma is set: unmap the transmit slots and let go of the device's verbs. */
static void bulk_channel_unmap(struct bulk_channel *ch)
{
	struct bulk_dev *dev = ch->dev;
	unsigned int i;
	bool dma;

	mutex_lock(&dev->mutex);
	list_del_init(&ch->dev_list);
	dma = ch->dma;
	ch->dma = false;
	if (dma)
		for (i = 0; i < ch->tx_chunks; i++)
			bulk_shm_unmap_dma(&ch->tx[i].shm, dev->ibdev,
					   DMA_BIDIRECTIONAL);
	mutex_unlock(&dev->mutex);
	if (dma)
		bulk_dev_verbs_put(dev);
}

/* Undo bulk_channel_create, however far it came. */
static void bulk_channel_free_work(struct work_struct *work)
{
	struct bulk_channel *ch = container_of(work, struct bulk_channel, free_work);
	unsigned int i;

	bulk_channel_trace(ch, "free");
	WARN_ON_ONCE(ch->commands);
	ch->ops->free(ch);
	if (ch->dev) {
		bulk_channel_unmap(ch);
		bulk_dev_put(ch->dev);
	}
	bulk_disown(&ch->owned);
	for (i = 0; i < ch->rx_chunks; i++)
		bulk_shm_free(&ch->rx[i].shm);
	for (i = 0; i < ch->tx_chunks; i++)
		bulk_shm_free(&ch->tx[i].shm);
	bulk_shm_free(&ch->ring_shm);
	bulk_shm_free(&ch->ctrl_shm);
	bitmap_free(ch->rx_held);
	bitmap_free(ch->tx_busy);
	kfree(ch->rx_free);
	xa_destroy(&ch->eps);
	if (ch->domain)
		bulk_domain_put(ch->domain);
	put_net(ch->net);
	mmdrop(ch->mm);

	spin_lock(&bulk_channels_lock);
	bulk_counters_add(&bulk_gone, &ch->stats);
	list_del(&ch->all_list);
	if (list_empty(&bulk_channels))
		wake_up(&bulk_channels_wait);
	spin_unlock(&bulk_channels_lock);
	kvfree(ch);
}

/**
 * bulk_channel_put - drop a reference
 * @ch: channel
 *
 * Context: any; it is freed by a worker.
 */
void bulk_channel_put(struct bulk_channel *ch)
{
	if (refcount_dec_and_test(&ch->refs))
		queue_work(bulk_end_wq, &ch->free_work);
}

/* More endpoints than these are not looked at in a completion. */
#define BULK_WAKE_INLINE	64

static void bulk_channel_wake_work(struct work_struct *work)
{
	struct bulk_channel *ch = container_of(work, struct bulk_channel, wake_work);

	ch->ops->wake(ch);
	bulk_channel_put(ch);
}

/**
 * bulk_channel_wake_later - have those that were refused try again, by a worker
 * @ch: channel
 *
 * Context: any.
 */
void bulk_channel_wake_later(struct bulk_channel *ch)
{
	refcount_inc(&ch->refs);
	if (!queue_work(bulk_wq, &ch->wake_work))
		bulk_channel_put(ch);
}

/**
 * bulk_channel_wake - a command has ended, for which refused ones have waited
 * @ch: channel
 *
 * Context: any, no locks held.
 */
void bulk_channel_wake(struct bulk_channel *ch)
{
	if (READ_ONCE(ch->nr_eps) <= BULK_WAKE_INLINE)
		ch->ops->wake(ch);
	else
		bulk_channel_wake_later(ch);
}

static void bulk_channel_kill_work(struct work_struct *work)
{
	struct bulk_channel *ch = container_of(work, struct bulk_channel, kill_work);

	if (cancel_delayed_work_sync(&ch->event_work))
		bulk_channel_put(ch);
	ch->ops->closing(ch);
	bulk_windows_end(ch);
	bulk_senders_gone(ch, -ECONNRESET);
	bulk_link_unlisten(ch->net);
	bulk_channel_put(ch);
}

/**
 * bulk_channel_kill - end a channel, once
 * @ch: channel; the caller's reference stays
 *
 * No message arrives and no command is accepted from here on; peers are told by a
 * worker.
 *
 * Context: any.
 */
void bulk_channel_kill(struct bulk_channel *ch)
{
	bool first;

	spin_lock_bh(&ch->lock);
	first = !ch->dead;
	ch->dead = true;
	/* Not dead means that its file, or its maker, still has a reference. */
	if (first)
		refcount_inc(&ch->refs);
	spin_unlock_bh(&ch->lock);
	if (!first)
		return;

	bulk_channel_trace(ch, "kill");
	bulk_token_drop(ch);
	wake_up_all(&ch->wait);
	queue_work(bulk_end_wq, &ch->kill_work);
}

/* Tell the process, and undo DMA mappings. The file stays good for being closed. */
static void bulk_channel_dev_gone(struct bulk_channel *ch)
{
	bulk_channel_trace(ch, "removed");
	bulk_channel_unmap(ch);

	spin_lock_bh(&ch->lock);
	if (!ch->removed) {
		ch->removed = true;
		ch->removed_due = true;
		bulk_channel_flush(ch);
	}
	spin_unlock_bh(&ch->lock);
	bulk_senders_gone(ch, -ENODEV);
}

/* A device is going, and its lanes are gone: take the DMA mappings from its channels. */
static void bulk_channels_removing(struct bulk_dev *dev)
{
	struct bulk_channel *ch;

	mutex_lock(&dev->mutex);
	while ((ch = list_first_entry_or_null(&dev->channels, struct bulk_channel,
					      dev_list))) {
		list_del_init(&ch->dev_list);
		/* One that is being freed undoes them by itself. */
		if (!refcount_inc_not_zero(&ch->refs))
			continue;
		mutex_unlock(&dev->mutex);
		bulk_channel_dev_gone(ch);
		bulk_channel_put(ch);
		mutex_lock(&dev->mutex);
	}
	mutex_unlock(&dev->mutex);
}

static struct bulk_dev_client bulk_channel_dev_client = {
	.removing	= bulk_channels_removing,
};

/**
 * bulk_channel_init - at module load
 *
 * Return: 0 or -ENOMEM.
 */
int bulk_channel_init(void)
{
	bulk_dev_client_add(&bulk_channel_dev_client);
	return rhashtable_init(&bulk_tokens, &bulk_token_params);
}

static bool bulk_channels_none(void)
{
	bool none;

	spin_lock(&bulk_channels_lock);
	none = list_empty(&bulk_channels);
	spin_unlock(&bulk_channels_lock);
	return none;
}

/**
 * bulk_channel_exit - wait until every channel is freed (module exit, or failed load)
 *
 * All files are closed, and nothing makes new references.
 */
void bulk_channel_exit(void)
{
	wait_event(bulk_channels_wait, bulk_channels_none());
	rhashtable_destroy(&bulk_tokens);
}

/* ---- making ---- */

static struct bulk_channel *bulk_channel_alloc(const struct bulk_chan_ops *ops)
{
	struct bulk_channel *ch;

	ch = kvzalloc(sizeof(*ch), GFP_KERNEL_ACCOUNT);
	if (!ch)
		return NULL;
	refcount_set(&ch->refs, 1);
	ch->ops = ops;
	INIT_LIST_HEAD(&ch->dev_list);
	mutex_init(&ch->mutex);
	xa_init_flags(&ch->eps, XA_FLAGS_ALLOC1 | XA_FLAGS_LOCK_BH);
	spin_lock_init(&ch->lock);
	init_waitqueue_head(&ch->wait);
	INIT_LIST_HEAD(&ch->spare_ops);
	INIT_LIST_HEAD(&ch->due);
	INIT_LIST_HEAD(&ch->windows);
	INIT_LIST_HEAD(&ch->low);
	INIT_LIST_HEAD(&ch->senders);
	INIT_LIST_HEAD(&ch->waiting);
	INIT_LIST_HEAD(&ch->woken);
	INIT_DELAYED_WORK(&ch->turn_work, bulk_sender_turn_work);
	atomic_set(&ch->puts, 0);
	ch->event_delay = BULK_EVENT_DELAY;
	INIT_DELAYED_WORK(&ch->event_work, bulk_channel_event_work);
	INIT_WORK(&ch->wake_work, bulk_channel_wake_work);
	INIT_WORK(&ch->kill_work, bulk_channel_kill_work);
	INIT_WORK(&ch->free_work, bulk_channel_free_work);

	ch->mm = current->mm;
	mmgrab(ch->mm);
	ch->uid = current_euid();
	ch->net = get_net(current->nsproxy->net_ns);

	spin_lock(&bulk_channels_lock);
	list_add_tail(&ch->all_list, &bulk_channels);
	spin_unlock(&bulk_channels_lock);
	return ch;
}

/* Ring and the tables of slots. */
static int bulk_channel_alloc_ring(struct bulk_channel *ch)
{
	int err;

	ch->rx_free = kcalloc(BULK_MAX_RX, sizeof(*ch->rx_free), GFP_KERNEL_ACCOUNT);
	ch->rx_held = bitmap_zalloc(BULK_MAX_RX, GFP_KERNEL_ACCOUNT);
	ch->tx_busy = bitmap_zalloc(BULK_MAX_TX, GFP_KERNEL_ACCOUNT);
	if (!ch->rx_free || !ch->rx_held || !ch->tx_busy)
		return -ENOMEM;
	ch->kernel_bytes = sizeof(*ch) + BULK_MAX_RX * sizeof(*ch->rx_free) +
			   (BULK_MAX_RX + BULK_MAX_TX) / 8;

	err = bulk_shm_alloc(&ch->ctrl_shm, sizeof(*ch->ctrl), BULK_AREA_CTRL, true);
	if (err)
		return err;
	ch->ctrl = ch->ctrl_shm.vaddr;
	bulk_channel_account(ch, &ch->ctrl_shm);

	err = bulk_shm_alloc(&ch->ring_shm, struct_size(ch->ring, entry, ch->events),
			     BULK_AREA_RING, false);
	if (err)
		return err;
	ch->ring = ch->ring_shm.vaddr;
	ch->ring->events = ch->events;
	bulk_channel_account(ch, &ch->ring_shm);
	return 0;
}

/* Enter the device's list, which keeps its verbs until unmapped. */
static int bulk_channel_attach(struct bulk_channel *ch)
{
	struct bulk_dev *dev = ch->dev;
	int err = -ENODEV;

	mutex_lock(&dev->mutex);
	if (!dev->dying && bulk_dev_verbs_get(dev)) {
		ch->dma = true;
		list_add_tail(&ch->dev_list, &dev->channels);
		err = 0;
	}
	mutex_unlock(&dev->mutex);
	return err;
}

static struct bulk_channel *owned_channel(struct bulk_owned *owned)
{
	return container_of(owned, struct bulk_channel, owned);
}

static bool channel_owned_get(struct bulk_owned *owned)
{
	return refcount_inc_not_zero(&owned_channel(owned)->refs);
}

static void channel_owned_kill(struct bulk_owned *owned)
{
	bulk_channel_kill(owned_channel(owned));
	bulk_channel_put(owned_channel(owned));
}

static const struct bulk_owned_ops channel_owned_ops = {
	.get	= channel_owned_get,
	.kill	= channel_owned_kill,
};

/**
 * bulk_channel_create - RDMA_BULK_IOC_BIND
 * @domain: a domain of current->mm; a reference is taken
 * @bind: in and out; size, ABI version and domain_fd have been seen to
 * @ops: what it asks of its endpoints
 *
 * Return: the channel, with a reference that is to be put after
 * bulk_channel_kill; or an ERR_PTR as the ABI says.
 */
struct bulk_channel *bulk_channel_create(struct bulk_domain *domain,
					 struct rdma_bulk_bind *bind,
					 const struct bulk_chan_ops *ops)
{
	u32 rx = min_t(u32, bind->rx_slots ?: BULK_DEF_RX, BULK_MAX_RX);
	u32 tx = min_t(u32, bind->tx_slots ?: BULK_DEF_TX, BULK_MAX_TX);
	u32 events = bind->events ?: BULK_DEF_EVENTS;
	struct bulk_channel *ch;
	struct bulk_dev *dev;
	int err;

	if (bind->flags || bind->reserved ||
	    bind->rx_headroom > RDMA_BULK_MAX_HEADROOM ||
	    !is_power_of_2(events) || events > BULK_MAX_EVENTS ||
	    strnlen(bind->device, sizeof(bind->device)) == sizeof(bind->device))
		return ERR_PTR(-EINVAL);
	/* One process, one user: the channel's lanes use the domain's memory. */
	if (!uid_eq(domain->uid, current_euid()))
		return ERR_PTR(-EPERM);

	ch = bulk_channel_alloc(ops);
	if (!ch)
		return ERR_PTR(-ENOMEM);
	ch->domain = domain;
	refcount_inc(&domain->refs);
	ch->events = max_t(u32, events,
			   roundup_pow_of_two(rx + BULK_MAX_COMMANDS + BULK_EVENT_SLACK));
	ch->headroom = bind->rx_headroom;
	ch->rx_stride = ALIGN(ch->headroom + RDMA_BULK_SLOT_PAYLOAD, SMP_CACHE_BYTES);
	ch->tx_stride = ALIGN(RDMA_BULK_SLOT_PAYLOAD, SMP_CACHE_BYTES);

	dev = bulk_dev_lookup(ch->net, bind->device, &ch->port, &ch->addr);
	if (IS_ERR(dev)) {
		err = PTR_ERR(dev);
		goto free;
	}
	ch->dev = dev;
	err = bulk_channel_alloc_ring(ch);
	if (err)
		goto free;
	err = bulk_channel_attach(ch);
	if (err)
		goto free;
	ch->reserved = rx;
	err = bulk_channel_add_slots(ch, rx, tx);
	if (err)
		goto free;
	err = bulk_link_listen(ch->net);
	if (err)
		goto free;
	err = bulk_token_make(ch);
	if (err)
		goto unlisten;
	/* From here on the end of the address space is the end of the channel. */
	err = bulk_own(&ch->owned, &channel_owned_ops, true);
	if (err)
		goto drop_token;
	bulk_channel_trace(ch, "bind");

	bind->rx_slots = rx;
	bind->tx_slots = tx;
	bind->events = ch->events;
	bind->token = ch->token;
	memset(bind->addr, 0, sizeof(bind->addr));
	memcpy(bind->addr, &ch->addr, sizeof(ch->addr));
	bind->rx_stride = ch->rx_stride;
	bind->tx_stride = ch->tx_stride;
	bind->ctrl_offset = ch->ctrl_shm.offset;
	bind->ring_offset = ch->ring_shm.offset;
	bind->ring_bytes = (u64)ch->ring_shm.npages << PAGE_SHIFT;
	bind->rx_offset = ch->rx[0].shm.offset;
	bind->rx_bytes = (u64)ch->rx[0].shm.npages << PAGE_SHIFT;
	bind->tx_offset = ch->tx[0].shm.offset;
	bind->tx_bytes = (u64)ch->tx[0].shm.npages << PAGE_SHIFT;
	return ch;

drop_token:
	bulk_token_drop(ch);
unlisten:
	bulk_link_unlisten(ch->net);
free:
	/* Device removal may have found it already. */
	spin_lock_bh(&ch->lock);
	ch->dead = true;
	spin_unlock_bh(&ch->lock);
	bulk_channel_put(ch);
	return ERR_PTR(err);
}
