// SPDX-License-Identifier: GPL-2.0 OR BSD-3-Clause
/*
 * The direct path: endpoints between two channels of one host, without the adapter.
 *
 * A local endpoint (ep->local) has no remote channel and no lane, but refers to the
 * channel itself. Its commands are carried out by the task that submits them,
 * before the submission returns: a message is copied into a receive slot of the
 * target, PUT and GET copy between the pages of both sides, once. Their event is
 * written then, so that nothing is ever under way, and FENCE and FLUSH have nothing
 * to wait for. local->mutex takes the commands of an endpoint one by one.
 *
 * A region is looked up by its key for every piece of LOCAL_PIECE bytes, and is in use
 * only while that is copied. The pages of plain memory are pinned before, and
 * given back after: however long their page faults take, nobody waits for them but who
 * named them. Own regions are in use throughout, as with the adapter.
 *
 * Life. A local endpoint is one of its target's senders (local->sender) from when it is
 * opened until it goes down. Whoever takes it off, its own closing or the end of the
 * target, has the list's reference; whoever clears local->target has the reference to
 * the channel. So a channel that has died is kept by no endpoint, only by a message that is
 * being copied into it.
 *
 * Locks. local->lock stands for the lane's lock: state, starved, target. It is
 * inside the target's ch->lock, which covers the sender.
 *
 * Context: process.
 */
#include <linux/highmem.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/sched/signal.h>
#include <net/net_namespace.h>

#include "ep/private.h"

#define LOCAL_PIECE	(256u << 10)
#define LOCAL_PAGES	(LOCAL_PIECE / PAGE_SIZE + 1)

static bool bulk_direct = true;
module_param_named(direct, bulk_direct, bool, 0644);
MODULE_PARM_DESC(direct, "endpoints to the own host's address bypass the adapter (default Y)");

/* ------------------------------------------------------------------ life */

/**
 * bulk_local_is - is an endpoint to an address a local one?
 * @ch: the opener
 * @remote: where it leads, with a port
 *
 * Another port than this module's is somebody else's.
 *
 * Return: true if it is this channel's device and the module may go this way.
 */
bool bulk_local_is(const struct bulk_channel *ch, const union bulk_addr *remote)
{
	__be16 port = remote->sa.sa_family == AF_INET6 ? remote->in6.sin6_port :
							 remote->in4.sin_port;

	return READ_ONCE(bulk_direct) && port == htons(bulk_port) &&
	       bulk_addr_equal(&ch->addr, remote);
}

/**
 * bulk_local_alloc - what a local endpoint has in place of a remote channel
 * @ep: endpoint
 *
 * Return: to be freed by kfree(), or NULL.
 */
struct bulk_local *bulk_local_alloc(struct bulk_ep *ep)
{
	struct bulk_local *local = kzalloc(sizeof(*local), GFP_KERNEL_ACCOUNT);

	if (!local)
		return NULL;
	local->ep = ep;
	INIT_LIST_HEAD(&local->sender.list);
	INIT_LIST_HEAD(&local->sender.waiting);
	mutex_init(&local->mutex);
	spin_lock_init(&local->lock);
	return local;
}

static bool local_may_open(const struct bulk_channel *ch, const struct bulk_channel *target)
{
	return target->dev == ch->dev && net_eq(target->net, ch->net) &&
	       uid_eq(target->uid, ch->uid);
}

/* Returns the target before. */
static struct bulk_channel *local_set_target(struct bulk_local *local,
					     struct bulk_channel *target)
{
	spin_lock_bh(&local->lock);
	swap(local->target, target);
	spin_unlock_bh(&local->lock);
	return target;
}

/**
 * bulk_local_attach - find the channel that a local endpoint leads to
 * @ep: local endpoint, OPENING
 * @token: the channel's
 *
 * The endpoint is up, or down, on return.
 */
void bulk_local_attach(struct bulk_ep *ep, u64 token)
{
	struct bulk_channel *target = bulk_channel_find(token);
	bool attached = false;

	if (target && local_may_open(ep->ch, target)) {
		kref_get(&ep->ref);
		/* who tells it of the target's end lets go of the target */
		local_set_target(ep->local, target);
		attached = bulk_sender_attach(target, &ep->local->sender);
		if (!attached) {
			local_set_target(ep->local, NULL);
			bulk_ep_put(ep);
		}
	}
	if (attached) {
		bulk_ep_up(ep);
		return;
	}
	if (target)
		bulk_channel_put(target);
	bulk_ep_down(ep, BULK_EP_DOWN, -ECONNREFUSED);
}

/**
 * bulk_local_detach - a local endpoint is down: let go of the target
 * @ep: local endpoint, not UP; the caller has a reference of its own
 */
void bulk_local_detach(struct bulk_ep *ep)
{
	struct bulk_local *local = ep->local;
	struct bulk_channel *target = local_set_target(local, NULL);
	unsigned int lists;

	if (!target)
		return;
	for (lists = bulk_sender_detach(target, &local->sender); lists; lists--)
		bulk_ep_put(ep);
	bulk_channel_put(target);
}

/* ------------------------------------------------------------------ receive slots */

static struct bulk_local *sender_local(struct bulk_sender *s)
{
	return container_of(s, struct bulk_local, sender);
}

/**
 * bulk_local_gone - the target has died, or its device is gone
 * @s: a local endpoint's, off the target's list
 * @err: what the endpoint reports
 */
void bulk_local_gone(struct bulk_sender *s, int err)
{
	struct bulk_ep *ep = sender_local(s)->ep;

	bulk_ep_down(ep, BULK_EP_DOWN, err);
	bulk_local_detach(ep);
	bulk_ep_put(ep);
}

/**
 * bulk_local_waits - there is no slot for a message
 * @s: a local endpoint's; the target's ch->lock held
 */
void bulk_local_waits(struct bulk_sender *s)
{
	struct bulk_local *local = sender_local(s);

	spin_lock(&local->lock);
	local->ep->starved |= BULK_STARVED_WINDOW;
	spin_unlock(&local->lock);
	kref_get(&local->ep->ref);
}

/**
 * bulk_local_wake - slots have come free
 * @s: a local endpoint's, which has waited for them
 */
void bulk_local_wake(struct bulk_sender *s)
{
	struct bulk_ep *ep = sender_local(s)->ep;

	bulk_ep_writable(ep, true);
	bulk_ep_put(ep);
}

/**
 * bulk_local_promise - take a place for a message
 * @ep: local endpoint
 *
 * If there is none, the endpoint waits for one, and the target's process is asked for
 * more slots.
 *
 * Return: the target, with a reference and one of its slots promised; or
 * ERR_PTR(-EAGAIN), or the endpoint's errno.
 */
struct bulk_channel *bulk_local_promise(struct bulk_ep *ep)
{
	struct bulk_local *local = ep->local;
	struct bulk_channel *target;
	int err;

	spin_lock_bh(&local->lock);
	target = local->target;
	if (target)
		refcount_inc(&target->refs);
	spin_unlock_bh(&local->lock);
	if (!target)
		return ERR_PTR(READ_ONCE(ep->err) ?: -ECONNRESET);

	err = bulk_sender_promise(target, &local->sender);
	if (!err)
		return target;
	bulk_channel_put(target);
	return ERR_PTR(err);
}

/**
 * bulk_local_send - carry out a SEND
 * @op: the operation; ends here
 * @target: from bulk_local_promise(); its reference is given back
 */
void bulk_local_send(struct bulk_op *op, struct bulk_channel *target)
{
	const void *data = op->bounce;

	if (op->slot != RDMA_BULK_NO_SLOT)
		data = bulk_channel_tx_vaddr(op->ep->ch, op->slot) + op->addr;
	if (bulk_channel_deliver(target, op->id, data, op->length))
		op->status = -ECONNRESET;
	bulk_channel_put(target);
	bulk_op_finish(op);
}

/* ------------------------------------------------------------------ PUT and GET */

/* The remote side of @len bytes from @done, in use until bulk_region_unuse(). */
static struct bulk_region *local_region(const struct bulk_op *op, const struct bulk_key *key,
					u64 done, u64 len)
{
	struct bulk_region *region = bulk_region_by_key(key, op->ep->ch->uid);
	int err;

	if (IS_ERR(region))
		return region;
	err = bulk_region_use(region, op->remote + done, len);
	bulk_region_put(region);	/* the use has one, too */
	if (err)
		return ERR_PTR(err == -ENOENT ? -EKEYREJECTED : err);
	if (!(region->mem.access & bulk_op_access(op)))
		err = -EACCES;
	else if (!READ_ONCE(region->mem.pages))	/* a driver has not let go of them */
		err = -EIO;
	if (err) {
		bulk_region_unuse(region);
		return ERR_PTR(err);
	}
	return region;
}

/**
 * bulk_local_check - may this operation be carried out?
 * @op: PUT or GET
 * @key: the remote region's
 * @ask: the process may try keys; else only the one it used last
 *
 * Return: 0, -EKEYREJECTED, -ERANGE, -EACCES, -EIO.
 */
int bulk_local_check(const struct bulk_op *op, const struct bulk_key *key, bool ask)
{
	struct bulk_local *local = op->ep->local;
	struct bulk_region *region;

	lockdep_assert_held(&local->mutex);
	if (!ask && crypto_memneq(key, &local->good, sizeof(*key)))
		return -EKEYREJECTED;
	region = local_region(op, key, 0, op->length);
	if (!IS_ERR(region))
		bulk_region_unuse(region);
	if (region != ERR_PTR(-EKEYREJECTED))
		local->good = *key;
	return PTR_ERR_OR_ZERO(region);
}

/* Pages, or the kernel's own memory; where to begin. */
struct local_memory {
	struct page	**pages;
	void		*vaddr;
	size_t		off;
};

/* From @mem to @pages, at their byte @off, or the other way round (@get). */
static void local_copy(struct page **pages, size_t off, const struct local_memory *mem,
		       size_t len, bool get)
{
	size_t here = mem->off, n;

	for (; len; len -= n, off += n, here += n) {
		struct page *page = pages[off >> PAGE_SHIFT], *own;

		n = min(len, PAGE_SIZE - offset_in_page(off));
		if (mem->vaddr) {
			if (get)
				memcpy_from_page(mem->vaddr + here, page,
						 offset_in_page(off), n);
			else
				memcpy_to_page(page, offset_in_page(off),
					       mem->vaddr + here, n);
			continue;
		}
		n = min(n, PAGE_SIZE - offset_in_page(here));
		own = mem->pages[here >> PAGE_SHIFT];
		if (get) {
			memcpy_page(own, offset_in_page(here), page, offset_in_page(off), n);
			flush_dcache_page(own);
		} else {
			memcpy_page(page, offset_in_page(off), own, offset_in_page(here), n);
			flush_dcache_page(page);
		}
	}
}

/* Pin @len bytes of plain memory; their number, or -EFAULT, -ENOMEM. */
static int local_pin(unsigned long addr, u32 len, bool write, struct page **pages)
{
	int n = DIV_ROUND_UP(offset_in_page(addr) + len, PAGE_SIZE);
	int done, got;

	for (done = 0; done < n; done += got) {
		got = pin_user_pages_fast((addr & PAGE_MASK) + done * PAGE_SIZE, n - done,
					  write ? FOLL_WRITE : 0, pages + done);
		if (got <= 0) {
			unpin_user_pages(pages, done);
			return got == -ENOMEM ? -ENOMEM : -EFAULT;
		}
	}
	return n;
}

/* Move @len bytes from @done. Nothing in here can take long but page faults of @op's own. */
static int local_piece(const struct bulk_op *op, const struct bulk_key *key, u64 done,
		       u32 len, struct page **pinned)
{
	bool get = op->op == RDMA_BULK_OP_GET;
	struct local_memory mem = {};
	struct bulk_region *region;
	int npinned = 0, err;

	switch (op->local_kind) {
	case RDMA_BULK_LOCAL_SLOT:
		mem.vaddr = bulk_channel_tx_vaddr(op->ep->ch, op->slot);
		mem.off = op->addr + done;
		break;
	case RDMA_BULK_LOCAL_REGION:
		mem.pages = READ_ONCE(op->region->mem.pages);
		mem.off = op->addr + done - (op->region->mem.addr & PAGE_MASK);
		if (!mem.pages)
			return -EIO;
		break;
	default:
		npinned = local_pin(op->addr + done, len, get, pinned);
		if (npinned < 0)
			return npinned;
		mem.pages = pinned;
		mem.off = offset_in_page(op->addr + done);
	}
	region = local_region(op, key, done, len);
	err = PTR_ERR_OR_ZERO(region);
	if (!err) {
		local_copy(region->mem.pages, op->remote + done - (region->mem.addr & PAGE_MASK),
			   &mem, len, get);
		bulk_region_unuse(region);
	}
	if (npinned)
		unpin_user_pages_dirty_lock(pinned, npinned, get && !err);
	return err;
}

/**
 * bulk_local_rma - carry out a PUT or GET
 * @op: the operation; ends here
 * @key: the remote region's
 *
 * Stops when the process is killed or the endpoint goes down.
 */
void bulk_local_rma(struct bulk_op *op, const struct bulk_key *key)
{
	struct page *pinned[LOCAL_PAGES];
	struct bulk_ep *ep = op->ep;
	u64 done;
	u32 n;

	for (done = 0; done < op->length && !op->status; done += n) {
		n = min_t(u64, op->length - done, LOCAL_PIECE);
		if (fatal_signal_pending(current))
			op->status = -EINTR;
		else if (READ_ONCE(ep->state) != BULK_EP_UP)
			op->status = READ_ONCE(ep->err);
		else
			op->status = local_piece(op, key, done, n, pinned);
		cond_resched();
	}
	bulk_op_finish(op);
}
