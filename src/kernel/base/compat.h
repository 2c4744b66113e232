/* SPDX-License-Identifier: GPL-2.0 OR BSD-3-Clause */
/*
 * Kernels from 6.1 on
 *
 * The module is written for the newest kernel it is known to work with. What an
 * older one does not have, or has in another form, is supplied here and nowhere
 * else, so that this file can be dropped where there is one kernel only. What the
 * preprocessor can see is asked for, since vendors bring things to older kernels;
 * the version decides the rest.
 */
#ifndef _RDMA_BULK_COMPAT_H
#define _RDMA_BULK_COMPAT_H

#include <linux/file.h>
#include <linux/mm.h>
#include <linux/overflow.h>
#include <linux/version.h>
#include <rdma/ib_verbs.h>

#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 8, 0)
#include <crypto/utils.h>
#include <linux/io_uring/cmd.h>
#else
#include <crypto/algapi.h>
#include <linux/io_uring.h>
#endif

#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 12, 0)
#include <linux/unaligned.h>
#else
#include <asm/unaligned.h>
#endif

/* ---- io_uring ---- */

#ifndef IORING_URING_CMD_MASK
#define IORING_URING_CMD_MASK	IORING_URING_CMD_FIXED
#endif

#ifndef io_uring_sqe128_cmd
#define io_uring_sqe128_cmd(sqe, type)	\
	((const type *)((const void *)(sqe) + offsetof(struct io_uring_sqe, cmd)))
#endif

/* The data of a command in a 128-byte SQE. Once, a driver was not shown the whole SQE. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 5, 0)
#define bulk_uring_cmd_data(ioucmd, type)	io_uring_sqe128_cmd((ioucmd)->sqe, type)
#else
#define bulk_uring_cmd_data(ioucmd, type)	((const type *)(ioucmd)->cmd)
#endif

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 18, 0)
#define io_uring_cmd_done(ioucmd, ret, issue_flags)	\
	io_uring_cmd_done(ioucmd, ret, 0, issue_flags)
#endif

/* ---- files and memory ---- */

#ifndef fd_file
#define fd_file(f)	((f).file)
#endif

#ifndef overflows_type
#define overflows_type(n, T)	({				\
	typeof(T) __v;						\
	__builtin_add_overflow(n, (typeof(T))0, &__v);		\
})
#endif

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 3, 0)
static inline void vm_flags_set(struct vm_area_struct *vma, vm_flags_t flags)
{
	vma->vm_flags |= flags;
}

static inline void vm_flags_clear(struct vm_area_struct *vma, vm_flags_t flags)
{
	vma->vm_flags &= ~flags;
}
#endif

/*
 * Pin pages to be read for as long as the process has them. Before 6.2 that could
 * give the zero page or one of a file's, and what the process wrote later went to
 * another: so they are pinned to be written. Of memory that it may read only, page
 * by page, it gets pages of its own at once, but for shared mappings.
 */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 2, 0)
#define bulk_pin_lasting	pin_user_pages_fast
#else
static inline int bulk_pin_lasting(unsigned long start, int nr_pages, unsigned int gup_flags,
				   struct page **pages)
{
	struct page *own;
	int got;

	got = pin_user_pages_fast(start, nr_pages, gup_flags | FOLL_WRITE, pages);
	if (got != -EFAULT || gup_flags & FOLL_WRITE)
		return got;
	got = pin_user_pages_fast(start, 1, gup_flags, pages);
	if (got == 1 && pin_user_pages_fast(start, 1, gup_flags | FOLL_WRITE | FOLL_FORCE,
					    &own) == 1) {
		unpin_user_page(pages[0]);
		pages[0] = own;
	}
	return got;
}
#endif

/* ---- comparing keys ---- */

/* In a library of its own, which a kernel may have been built without. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 8, 0) && !IS_ENABLED(CONFIG_CRYPTO_LIB_UTILS)
static inline int bulk_memneq(const void *a, const void *b, size_t size)
{
	const u8 *x = a, *y = b;
	u8 differ = 0;

	while (size--) {
		differ |= *x++ ^ *y++;
		OPTIMIZER_HIDE_VAR(differ);
	}
	return !!differ;
}
#define crypto_memneq	bulk_memneq
#endif

/* ---- RDMA ---- */

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 8, 0)
#define IB_SPEED_XDR	256
#endif

#endif /* _RDMA_BULK_COMPAT_H */

/* ---- tracepoints ---- */

/*
 * Defined anew by each pass over trace.h, which therefore reads this part each
 * time. A string field is always named as the argument that it holds.
 */
#if defined(TRACE_HEADER_MULTI_READ) && LINUX_VERSION_CODE < KERNEL_VERSION(6, 10, 0)
#undef __assign_str
#define __assign_str(dst)	\
	strscpy(__get_str(dst), dst, __get_dynamic_array_len(dst))
#endif
