// SPDX-License-Identifier: GPL-2.0 OR BSD-3-Clause
/*
 * Pinned pages and whom they are charged to. No locks.
 */
#include <linux/mm.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>

#include "mem/private.h"

#define BULK_PIN_BATCH		1024		/* pages */

/**
 * bulk_pin_charge - charge pinned pages to an address space
 * @mm: of the calling process
 * @npages: pages
 *
 * Context: the process itself, whose RLIMIT_MEMLOCK and capability count.
 * Return: 0 or -ENOMEM.
 */
int bulk_pin_charge(struct mm_struct *mm, unsigned long npages)
{
	unsigned long limit = rlimit(RLIMIT_MEMLOCK) >> PAGE_SHIFT;

	if (atomic64_add_return(npages, &mm->pinned_vm) > limit &&
	    !capable(CAP_IPC_LOCK)) {
		atomic64_sub(npages, &mm->pinned_vm);
		return -ENOMEM;
	}
	return 0;
}

/**
 * bulk_pin_uncharge - undo bulk_pin_charge()
 * @mm: the caller holds a reference (mmgrab)
 * @npages: pages
 *
 * Context: any.
 */
void bulk_pin_uncharge(struct mm_struct *mm, unsigned long npages)
{
	atomic64_sub(npages, &mm->pinned_vm);
}

/**
 * bulk_region_unpin - give the pages back
 * @region: nobody can reach them any more
 * @pinned: pages; all of them are charged
 *
 * Context: process.
 */
void bulk_region_unpin(struct bulk_region *region, unsigned long pinned)
{
	unsigned long i, n;

	for (i = 0; i < pinned; i += n) {
		n = min(pinned - i, BULK_PIN_BATCH);
		unpin_user_pages_dirty_lock(region->mem.pages + i, n, region->mem.writable);
		cond_resched();
	}
	kvfree(region->mem.pages);
	region->mem.pages = NULL;
	bulk_pin_uncharge(region->mm, region->mem.npages);
	mmdrop(region->mm);
}

/**
 * bulk_region_pin - pin the pages of a region, and charge them
 * @region: range and rights are set
 *
 * Context: the process itself; stops if it is killed.
 * Return: 0, -ENOMEM, -EFAULT, -EINTR.
 */
int bulk_region_pin(struct bulk_region *region)
{
	unsigned long start = region->mem.addr & PAGE_MASK;
	unsigned long last = region->mem.addr + region->mem.length - 1;
	unsigned int flags = FOLL_LONGTERM;
	unsigned long done = 0;
	int n, err;

	if (region->mem.writable)
		flags |= FOLL_WRITE;
	region->mem.npages = (last >> PAGE_SHIFT) - (start >> PAGE_SHIFT) + 1;
	if (region->mem.npages > INT_MAX / sizeof(*region->mem.pages))
		return -ENOMEM;

	/* Charged first, so that the limit also bounds the list of pages. */
	err = bulk_pin_charge(current->mm, region->mem.npages);
	if (err)
		return err;
	region->mm = current->mm;
	mmgrab(region->mm);

	region->mem.pages = kvmalloc_array(region->mem.npages, sizeof(*region->mem.pages),
				       GFP_KERNEL_ACCOUNT | __GFP_NOWARN);
	if (!region->mem.pages) {
		err = -ENOMEM;
		goto unpin;
	}
	while (done < region->mem.npages) {
		if (fatal_signal_pending(current)) {
			err = -EINTR;
			goto unpin;
		}
		n = min(region->mem.npages - done, BULK_PIN_BATCH);
		n = bulk_pin_lasting(start + (done << PAGE_SHIFT), n, flags,
				     region->mem.pages + done);
		if (n <= 0) {
			err = n ? n : -EFAULT;
			goto unpin;
		}
		done += n;
		cond_resched();
	}
	return 0;

unpin:
	bulk_region_unpin(region, done);
	return err;
}
