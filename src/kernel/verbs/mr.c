// SPDX-License-Identifier: GPL-2.0 OR BSD-3-Clause
/*
 * Sets of memory regions: some pinned memory, registered on one device for one user
 *
 * Fast registration, the portable way of kernel ULPs, with the iova set to the user's
 * address; memory that is longer than a device's page list takes several MRs. What the
 * memory is, who may be told its keys, and how long it is needed, is its owner's.
 *
 * A set is on the list of its user (user->mrsets), under dev->users_mutex, from when it is
 * complete until it is retired, so that device removal finds it: the owner retires it
 * then. All in process context.
 */
#include <linux/mm.h>
#include <linux/sched/signal.h>

#include "verbs/verbs.h"

#define BULK_MR_PAGES		512		/* at most in one MR */

static enum dma_data_direction mem_dir(const struct bulk_memory *mem)
{
	return mem->writable ? DMA_BIDIRECTIONAL : DMA_TO_DEVICE;
}

/* Register bytes [start, end) of the memory as one MR. */
static int bulk_mr_create(struct bulk_memory *mem, struct bulk_user *user,
			  struct bulk_mr *bmr, u64 start, u64 end)
{
	struct ib_device *ibdev = user->dev->ibdev;
	unsigned int npages = ((end - 1) >> PAGE_SHIFT) - (start >> PAGE_SHIFT) + 1;
	struct page **pages = mem->pages +
			      ((start >> PAGE_SHIFT) - (mem->addr >> PAGE_SHIFT));
	int access = 0;
	struct ib_mr *mr;
	int n, err;

	err = sg_alloc_table_from_pages_segment(&bmr->sgt, pages, npages,
						offset_in_page(start), end - start,
						ib_dma_max_seg_size(ibdev),
						GFP_KERNEL_ACCOUNT);
	if (err)
		return err;
	err = ib_dma_map_sgtable_attrs(ibdev, &bmr->sgt, mem_dir(mem), 0);
	if (err)
		goto free_sgt;

	mr = ib_alloc_mr(user->pd, IB_MR_TYPE_MEM_REG, npages);
	if (IS_ERR(mr)) {
		err = PTR_ERR(mr);
		goto unmap;
	}
	n = ib_map_mr_sg(mr, bmr->sgt.sgl, bmr->sgt.nents, NULL, PAGE_SIZE);
	if (n < 0) {
		err = n;
		goto dereg;
	}
	if (n != bmr->sgt.nents || mr->length != end - start) {
		err = -EIO;
		goto dereg;
	}

	/* The user's address, congruent to the DMA address in its page. */
	mr->iova = start;
	if (mem->writable)
		access |= IB_ACCESS_LOCAL_WRITE;
	if (mem->access & RDMA_BULK_ACCESS_REMOTE_READ)
		access |= IB_ACCESS_REMOTE_READ;
	if (mem->access & RDMA_BULK_ACCESS_REMOTE_WRITE)
		access |= IB_ACCESS_REMOTE_WRITE;
	err = bulk_user_reg_mr(user, mr, access);
	if (err)
		goto dereg;

	bmr->mr = mr;
	bmr->lkey = mr->lkey;
	bmr->rkey = mr->rkey;
	return 0;

dereg:
	/* Nobody has been told its keys; if it stays, so does its mapping. */
	if (ib_dereg_mr(mr)) {
		bmr->mr = mr;
		return err;
	}
unmap:
	ib_dma_unmap_sgtable_attrs(ibdev, &bmr->sgt, mem_dir(mem), 0);
free_sgt:
	sg_free_table(&bmr->sgt);
	return err;
}

/*
 * Deregister what there is. If a driver refuses, its adapter may still reach
 * the pages: they are given up rather than given back.
 */
static void bulk_mrset_dereg(struct bulk_mrset *set)
{
	struct bulk_memory *mem = set->mem;
	struct ib_device *ibdev = set->user->dev->ibdev;
	int err;
	u32 i;

	for (i = 0; i < set->count; i++) {
		struct bulk_mr *bmr = &set->mr[i];

		if (!bmr->mr)
			continue;
		err = ib_dereg_mr(bmr->mr);
		bmr->mr = NULL;
		if (err) {
			pr_err_ratelimited("%s: cannot deregister memory: %d; %lu pages stay pinned\n",
					   dev_name(&ibdev->dev), err, mem->npages);
			mem->pages = NULL;
			continue;
		}
		ib_dma_unmap_sgtable_attrs(ibdev, &bmr->sgt, mem_dir(mem), 0);
		sg_free_table(&bmr->sgt);
		cond_resched();
	}
}

/**
 * bulk_mrset_retire - deregister a set
 * @set: not retired before
 *
 * Its structure, which its owner frees by kvfree(), stays as an empty shell: whoever may
 * still read its keys does no harm, as nothing is posted with them any more. If a device
 * does not let go of the memory, @set->mem->pages becomes NULL: the pages are lost.
 *
 * Context: process, one at a time for the memory; takes dev->users_mutex.
 */
void bulk_mrset_retire(struct bulk_mrset *set)
{
	struct bulk_user *user = set->user;

	WRITE_ONCE(set->dev, NULL);
	bulk_mrset_dereg(set);
	set->user = NULL;

	mutex_lock(&user->dev->users_mutex);
	list_del(&set->user_list);
	mutex_unlock(&user->dev->users_mutex);
	bulk_user_put(user);
}

/**
 * bulk_mrset_create - register memory on a device
 * @mem: pinned; stays until the set is retired
 * @dev: device; the caller holds a reference
 * @port: of the device
 * @uid: user whose PD it is for
 *
 * Context: process, sleeps as long as it takes; stops if killed. Takes dev->users_mutex.
 * Return: the set, which device removal finds from now on (dev->users, user->mrsets);
 * ERR_PTR(-ENODEV) if the device is going, -EOPNOTSUPP if it cannot register memory,
 * -EFBIG if it would be too many pieces, -ENOMEM, -EIO, -EINTR.
 */
struct bulk_mrset *bulk_mrset_create(struct bulk_memory *mem, struct bulk_dev *dev,
				     u8 port, kuid_t uid)
{
	u64 end = mem->addr + mem->length;
	u64 base = round_down(mem->addr, SZ_4K);
	struct bulk_mrset *set;
	struct bulk_user *user;
	u64 span, count, start;
	u32 max, i;
	int err;

	user = bulk_user_get(dev, port, uid);
	if (IS_ERR(user))
		return ERR_CAST(user);

	/* An MR that starts inside a larger page touches one page more. */
	max = min_t(u32, dev->ibdev->attrs.max_fast_reg_page_list_len, BULK_MR_PAGES);
	if (max && !IS_ALIGNED(SZ_4K, PAGE_SIZE))
		max--;
	if (!max || !(dev->ibdev->attrs.device_cap_flags & IB_DEVICE_MEM_MGT_EXTENSIONS)) {
		err = -EOPNOTSUPP;
		goto put_user;
	}
	span = (u64)max << PAGE_SHIFT;
	count = DIV_ROUND_UP_ULL(end - base, span);
	if (count > BULK_RKEYS_TOTAL) {
		err = -EFBIG;
		goto put_user;
	}

	set = kvzalloc(struct_size(set, mr, count), GFP_KERNEL_ACCOUNT);
	if (!set) {
		err = -ENOMEM;
		goto put_user;
	}
	set->mem = mem;
	set->dev = dev;
	set->port = port;
	set->user = user;
	set->base = base;
	set->span = span;
	set->count = count;

	for (i = 0, start = base; i < count; i++, start += span) {
		err = -EINTR;
		if (fatal_signal_pending(current))
			goto dereg;
		err = bulk_mr_create(mem, user, &set->mr[i], max(start, mem->addr),
				     min(start + span, end));
		if (err)
			goto dereg;
	}

	mutex_lock(&dev->users_mutex);
	err = dev->dying ? -ENODEV : 0;
	if (!err)
		list_add(&set->user_list, &user->mrsets);
	mutex_unlock(&dev->users_mutex);
	if (err)
		goto dereg;
	return set;

dereg:
	bulk_mrset_dereg(set);
	kvfree(set);
put_user:
	bulk_user_put(user);
	return ERR_PTR(err);
}
