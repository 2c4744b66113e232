// SPDX-License-Identifier: GPL-2.0 OR BSD-3-Clause
/*
 * Areas of shared pages
 *
 * An area is a number of zeroed pages that the kernel sees as one range (vmap)
 * and that may be mapped into a process (channel.c) and for DMA. A channel's
 * rings and slots are areas, and so are a lane's receive buffers and headers.
 *
 * The pages are single ones, never parts of a larger allocation, because the
 * process may keep them mapped (or pinned) beyond the life of the area: each
 * lives until its last user has gone. They come from the page allocator and go
 * back there, so that no process ever sees another's data in them. Memory is
 * charged to the memory cgroup of whoever calls bulk_shm_alloc.
 *
 * There is no lock: the owner makes and frees an area while nobody else can see
 * it; bulk_shm_sges only reads and runs in any context, all else in process
 * context.
 */
#include <linux/mm.h>
#include <linux/vmalloc.h>

#include "base/base.h"

/**
 * bulk_shm_alloc - make an area
 * @shm: filled in, whatever it held before; good for bulk_shm_free in any case
 * @bytes: its length, rounded up to whole pages; 0 makes an empty area
 * @offset: offset at which the process maps it
 * @writable: the process may write to it
 *
 * Return: 0 or -ENOMEM.
 */
int bulk_shm_alloc(struct bulk_shm *shm, size_t bytes, u64 offset, bool writable)
{
	unsigned int npages = DIV_ROUND_UP(bytes, PAGE_SIZE);

	memset(shm, 0, sizeof(*shm));
	if (!npages)
		return 0;

	shm->offset = offset;
	shm->writable = writable;
	shm->pages = kvmalloc_array(npages, sizeof(*shm->pages), GFP_KERNEL_ACCOUNT);
	if (!shm->pages)
		return -ENOMEM;

	for (; shm->npages < npages; shm->npages++) {
		struct page *page = alloc_page(GFP_KERNEL_ACCOUNT | __GFP_ZERO);

		if (!page)
			goto nomem;
		shm->pages[shm->npages] = page;
		cond_resched();
	}

	shm->vaddr = vmap(shm->pages, npages, VM_MAP, PAGE_KERNEL);
	if (!shm->vaddr)
		goto nomem;
	return 0;

nomem:
	bulk_shm_free(shm);
	return -ENOMEM;
}

/**
 * bulk_shm_map_dma - map an area for DMA, page by page
 * @shm: the area
 * @ibdev: device; the caller keeps it until bulk_shm_unmap_dma
 * @dir: direction
 *
 * Return: 0 or -ENOMEM.
 */
int bulk_shm_map_dma(struct bulk_shm *shm, struct ib_device *ibdev,
		     enum dma_data_direction dir)
{
	dma_addr_t *dma;
	unsigned int i;

	if (!shm->npages)
		return 0;
	dma = kvmalloc_array(shm->npages, sizeof(*dma), GFP_KERNEL_ACCOUNT);
	if (!dma)
		return -ENOMEM;

	for (i = 0; i < shm->npages; i++) {
		dma[i] = ib_dma_map_page(ibdev, shm->pages[i], 0, PAGE_SIZE, dir);
		if (ib_dma_mapping_error(ibdev, dma[i]))
			goto unmap;
	}
	shm->dma = dma;
	return 0;

unmap:
	while (i--)
		ib_dma_unmap_page(ibdev, dma[i], PAGE_SIZE, dir);
	kvfree(dma);
	return -ENOMEM;
}

/**
 * bulk_shm_unmap_dma - undo bulk_shm_map_dma
 * @shm: the area; nothing is done if it is not mapped for DMA
 * @ibdev: as then
 * @dir: as then
 *
 * The caller has seen to it that no work request names the area any more.
 */
void bulk_shm_unmap_dma(struct bulk_shm *shm, struct ib_device *ibdev,
			enum dma_data_direction dir)
{
	dma_addr_t *dma = shm->dma;
	unsigned int i;

	if (!dma)
		return;
	shm->dma = NULL;
	for (i = 0; i < shm->npages; i++)
		ib_dma_unmap_page(ibdev, dma[i], PAGE_SIZE, dir);
	kvfree(dma);
}

/**
 * bulk_shm_free - give up an area
 * @shm: the area, not mapped for DMA any more; empty afterwards
 *
 * Pages that the process still maps live on until it does not.
 */
void bulk_shm_free(struct bulk_shm *shm)
{
	unsigned int i;

	WARN_ON_ONCE(shm->dma);
	if (shm->vaddr)
		vunmap(shm->vaddr);
	for (i = 0; i < shm->npages; i++)
		put_page(shm->pages[i]);
	kvfree(shm->pages);
	memset(shm, 0, sizeof(*shm));
}

/**
 * bulk_shm_sges - describe a part of an area to the device
 * @shm: the area, mapped for DMA
 * @off: first byte
 * @len: bytes
 * @lkey: for all entries
 * @sge: filled in; neighbours in DMA addresses share an entry
 * @max: room in @sge
 *
 * Return: number of entries, 0 if @len is, or -EMSGSIZE if they do not suffice
 * or the part is not all inside the area, or -ENODEV if that is not mapped.
 */
int bulk_shm_sges(const struct bulk_shm *shm, u32 off, u32 len, u32 lkey,
		  struct ib_sge *sge, int max)
{
	u64 size = (u64)shm->npages << PAGE_SHIFT;
	const dma_addr_t *dma = shm->dma;
	int n = 0;

	if (off > size || len > size - off)
		return -EMSGSIZE;
	if (len && !dma)
		return -ENODEV;

	while (len) {
		u64 addr = dma[off >> PAGE_SHIFT] + offset_in_page(off);
		u32 part = min_t(u32, len, PAGE_SIZE - offset_in_page(off));

		if (n && sge[n - 1].addr + sge[n - 1].length == addr) {
			sge[n - 1].length += part;
		} else {
			if (n == max)
				return -EMSGSIZE;
			sge[n].addr = addr;
			sge[n].length = part;
			sge[n].lkey = lkey;
			n++;
		}
		off += part;
		len -= part;
	}
	return n;
}
