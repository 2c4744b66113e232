// SPDX-License-Identifier: GPL-2.0 OR BSD-3-Clause
/*
 * The device node
 *
 * Owns struct bulk_file: an open file, which one ioctl makes a domain or a
 * channel, for good. The pointer is set once, under bf->mutex, with a release
 * store, and read without a lock; it is dropped by release, when no other call on
 * the file can run.
 *
 * What a process passes is copied into the kernel once and judged there: control
 * structures by copy_struct_from_user, commands in small batches, and the SQE of
 * an io_uring command too, since it lies in memory that the process shares.
 * Every call on a domain or channel must come from the address space that made it.
 *
 * All in process context. Release may run with no address space at all, in a
 * worker, and only starts what has to end; see base/owner.c for what ends at exit.
 */
#include <linux/compat.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/nsproxy.h>
#include <linux/uaccess.h>

#include "base/trace.h"
#include "ep/ep.h"
#include "file.h"
#include "submit.h"

struct bulk_file {
	struct mutex		mutex;		/* becoming something */
	struct bulk_domain	*domain;	/* at most one of the two */
	struct bulk_channel	*ch;
};

static struct bulk_domain *bulk_file_domain(struct bulk_file *bf)
{
	/* Pairs with the store in bulk_ioc_domain. */
	return smp_load_acquire(&bf->domain);
}

static struct bulk_channel *bulk_file_channel(struct bulk_file *bf)
{
	/* Pairs with the store in bulk_ioc_bind. */
	return smp_load_acquire(&bf->ch);
}

/* Is the caller's address space the one that the file belongs to, if any? */
static bool bulk_file_mine(struct bulk_file *bf)
{
	struct bulk_channel *ch = bulk_file_channel(bf);
	struct bulk_domain *domain;

	if (ch)
		return ch->mm == current->mm;
	domain = bulk_file_domain(bf);
	return !domain || domain->mm == current->mm;
}

/*
 * Copy a control structure that begins with its size as the process knows it:
 * missing bytes become zero, surplus ones must be.
 */
static int bulk_arg_get(void *arg, size_t size, const void __user *uarg)
{
	u32 usize;
	int err;

	if (get_user(usize, (const u32 __user *)uarg))
		return -EFAULT;
	if (usize < sizeof(usize))
		return -EINVAL;
	if (usize > PAGE_SIZE)
		return -E2BIG;
	err = copy_struct_from_user(arg, size, uarg, usize);
	/* Another thread may have changed it meanwhile. */
	*(u32 *)arg = usize;
	return err;
}

/* Copy it back, as much of it as the process knows. */
static int bulk_arg_put(void __user *uarg, const void *arg, size_t size)
{
	u32 usize = *(const u32 *)arg;

	return copy_to_user(uarg, arg, min_t(size_t, size, usize)) ? -EFAULT : 0;
}

/* ---- any file ---- */

/* Devices there may be in an answer; what is beyond is only counted. */
#define BULK_QUERY_MAX	1024

static int bulk_query_put(struct rdma_bulk_query *query,
			  const struct rdma_bulk_device *list, u32 n)
{
	u8 __user *out = u64_to_user_ptr(query->devices);
	size_t size = min_t(size_t, query->device_size, sizeof(*list));
	u32 i;

	for (i = 0; i < n; i++, out += query->device_size) {
		if (copy_to_user(out, &list[i], size))
			return -EFAULT;
		if (clear_user(out + size, query->device_size - size))
			return -EFAULT;
	}
	return 0;
}

static long bulk_ioc_query(void __user *arg)
{
	struct rdma_bulk_device *list = NULL;
	struct rdma_bulk_query query;
	u32 places;
	int n, err;

	err = bulk_arg_get(&query, sizeof(query), arg);
	if (err)
		return err;
	if (query.flags || memchr_inv(query.reserved, 0, sizeof(query.reserved)) ||
	    query.device_size < sizeof(*list))
		return -EINVAL;
	if (query.device_size > PAGE_SIZE)
		return -E2BIG;

	places = min_t(u32, query.ndevices, BULK_QUERY_MAX);
	if (places) {
		list = kvcalloc(places, sizeof(*list), GFP_KERNEL_ACCOUNT);
		if (!list)
			return -ENOMEM;
	}
	n = bulk_dev_list(current->nsproxy->net_ns, list, places);
	err = n < 0 ? n : bulk_query_put(&query, list, min_t(u32, n, places));
	kvfree(list);
	if (err)
		return err;

	query.abi_version = RDMA_BULK_ABI_VERSION;
	query.ndevices = n;
	query.max_rx_slots = BULK_MAX_RX;
	query.max_tx_slots = BULK_MAX_TX;
	query.max_commands = BULK_MAX_COMMANDS;
	query.service_port = bulk_port;
	query.max_op_bytes = RDMA_BULK_MAX_OP;
	query.instance = bulk_instance;
	return bulk_arg_put(arg, &query, sizeof(query));
}

static long bulk_ioc_domain(struct bulk_file *bf, const void __user *arg)
{
	struct rdma_bulk_domain args;
	struct bulk_domain *domain;
	int err;

	err = bulk_arg_get(&args, sizeof(args), arg);
	if (err)
		return err;
	if (args.abi_version != RDMA_BULK_ABI_VERSION)
		return -EPROTONOSUPPORT;
	if (args.flags || args.reserved)
		return -EINVAL;

	err = mutex_lock_killable(&bf->mutex);
	if (err)
		return err;
	if (bf->domain || bf->ch) {
		err = -EBUSY;
		goto unlock;
	}
	domain = bulk_domain_create();
	if (IS_ERR(domain)) {
		err = PTR_ERR(domain);
		goto unlock;
	}
	/* Readers do not take the mutex. */
	smp_store_release(&bf->domain, domain);
unlock:
	mutex_unlock(&bf->mutex);
	return err;
}

/* Make a channel on the domain that is open as @bind->domain_fd. */
static struct bulk_channel *bulk_bind(struct rdma_bulk_bind *bind)
{
	struct fd f = fdget(bind->domain_fd);
	struct bulk_domain *domain;
	struct bulk_channel *ch;

	if (!fd_file(f))
		return ERR_PTR(-EBADF);
	if (fd_file(f)->f_op != &bulk_fops) {
		ch = ERR_PTR(-EINVAL);
		goto put;
	}
	domain = bulk_file_domain(fd_file(f)->private_data);
	if (!domain)
		ch = ERR_PTR(-EINVAL);
	else if (domain->mm != current->mm)
		ch = ERR_PTR(-EPERM);
	else
		ch = bulk_channel_create(domain, bind, &bulk_ep_chan_ops);
put:
	fdput(f);
	return ch;
}

static long bulk_ioc_bind(struct bulk_file *bf, void __user *arg)
{
	struct rdma_bulk_bind bind;
	struct bulk_channel *ch;
	int err;

	err = bulk_arg_get(&bind, sizeof(bind), arg);
	if (err)
		return err;
	if (bind.abi_version != RDMA_BULK_ABI_VERSION)
		return -EPROTONOSUPPORT;

	err = mutex_lock_killable(&bf->mutex);
	if (err)
		return err;
	if (bf->domain || bf->ch) {
		err = -EBUSY;
		goto unlock;
	}
	ch = bulk_bind(&bind);
	if (IS_ERR(ch)) {
		err = PTR_ERR(ch);
		goto unlock;
	}
	err = bulk_arg_put(arg, &bind, sizeof(bind));
	if (err) {
		bulk_channel_kill(ch);
		bulk_channel_put(ch);
		goto unlock;
	}
	/* Readers do not take the mutex. */
	smp_store_release(&bf->ch, ch);
unlock:
	mutex_unlock(&bf->mutex);
	return err;
}

/* ---- domains ---- */

static long bulk_ioc_reg(struct bulk_domain *domain, void __user *arg)
{
	struct rdma_bulk_reg reg;
	int err;

	err = bulk_arg_get(&reg, sizeof(reg), arg);
	if (err)
		return err;
	if (reg.reserved)
		return -EINVAL;
	err = bulk_region_register(domain, &reg);
	if (err)
		return err;
	err = bulk_arg_put(arg, &reg, sizeof(reg));
	if (err)
		bulk_region_deregister(domain, reg.handle, false);
	return err;
}

static long bulk_ioc_dereg(struct bulk_domain *domain, const void __user *arg)
{
	struct rdma_bulk_dereg dereg;
	int err;

	err = bulk_arg_get(&dereg, sizeof(dereg), arg);
	if (err)
		return err;
	if (dereg.flags & ~RDMA_BULK_DEREG_INVALIDATE || dereg.reserved)
		return -EINVAL;
	return bulk_region_deregister(domain, dereg.handle,
				      dereg.flags & RDMA_BULK_DEREG_INVALIDATE);
}

/* ---- channels ---- */

static long bulk_ioc_grow(struct bulk_channel *ch, void __user *arg)
{
	struct rdma_bulk_grow grow;
	int err;

	err = bulk_arg_get(&grow, sizeof(grow), arg);
	if (err)
		return err;
	err = bulk_channel_grow(ch, &grow);
	if (err)
		return err;
	return bulk_arg_put(arg, &grow, sizeof(grow));
}

static long bulk_ioc_ep_open(struct bulk_channel *ch, void __user *arg)
{
	struct rdma_bulk_ep_open open;
	int err;

	err = bulk_arg_get(&open, sizeof(open), arg);
	if (err)
		return err;
	err = bulk_ep_open(ch, &open);
	if (err)
		return err;
	err = bulk_arg_put(arg, &open, sizeof(open));
	if (err)
		bulk_ep_close(ch, open.ep);
	return err;
}

static long bulk_ioc_ep_close(struct bulk_channel *ch, const void __user *arg)
{
	struct rdma_bulk_ep_close args;
	int err;

	err = bulk_arg_get(&args, sizeof(args), arg);
	if (err)
		return err;
	return bulk_ep_close(ch, args.ep);
}

static long bulk_ioc_stats(struct bulk_channel *ch, void __user *arg)
{
	struct rdma_bulk_stats stats;
	int err;

	err = bulk_arg_get(&stats, sizeof(stats), arg);
	if (err)
		return err;
	if (stats.flags)
		return -EINVAL;
	bulk_channel_stats(ch, &stats);
	return bulk_arg_put(arg, &stats, sizeof(stats));
}

/* Submit a command that the process cannot change any more, and count refusals. */
static int bulk_file_submit(struct bulk_channel *ch, const struct rdma_bulk_cmd *cmd,
			    bool nonblock)
{
	int ret = bulk_submit(ch, cmd, nonblock);

	if (ret == BULK_SUBMIT_BLOCK)
		return ret;
	trace_bulk_command(ch, cmd, ret);
	if (ret == -EAGAIN)
		bulk_count(ch, again, 1);
	else if (ret < 0)
		bulk_count(ch, refused, 1);
	return ret;
}

#define BULK_SUBMIT_MAX		256
#define BULK_SUBMIT_BATCH	8

static long bulk_ioc_submit(struct bulk_channel *ch, const void __user *arg)
{
	struct rdma_bulk_cmd batch[BULK_SUBMIT_BATCH];
	const struct rdma_bulk_cmd __user *cmds;
	struct rdma_bulk_submit args;
	u32 done = 0, i, n;
	int err;

	err = bulk_arg_get(&args, sizeof(args), arg);
	if (err)
		return err;
	if (!args.count || args.count > BULK_SUBMIT_MAX)
		return -EINVAL;

	cmds = u64_to_user_ptr(args.cmds);
	while (done < args.count) {
		n = min_t(u32, args.count - done, BULK_SUBMIT_BATCH);
		if (copy_from_user(batch, cmds + done, n * sizeof(*cmds)))
			return done ?: -EFAULT;
		for (i = 0; i < n; i++, done++) {
			err = bulk_file_submit(ch, &batch[i], false);
			if (err)
				return done ?: err;
		}
	}
	return done;
}

/* ---- file operations ---- */

static int bulk_open(struct inode *inode, struct file *file)
{
	struct bulk_file *bf = kzalloc(sizeof(*bf), GFP_KERNEL_ACCOUNT);

	if (!bf)
		return -ENOMEM;
	mutex_init(&bf->mutex);
	file->private_data = bf;
	return nonseekable_open(inode, file);
}

static int bulk_release(struct inode *inode, struct file *file)
{
	struct bulk_file *bf = file->private_data;

	if (bf->ch) {
		bulk_channel_kill(bf->ch);
		bulk_channel_put(bf->ch);
	}
	if (bf->domain) {
		bulk_domain_kill(bf->domain);
		bulk_domain_put(bf->domain);
	}
	kfree(bf);
	return 0;
}

static long bulk_ioctl(struct file *file, unsigned int cmd, unsigned long ularg)
{
	struct bulk_file *bf = file->private_data;
	void __user *arg = (void __user *)ularg;
	struct bulk_domain *domain;
	struct bulk_channel *ch;

	if (!bulk_file_mine(bf))
		return -EPERM;

	switch (cmd) {
	case RDMA_BULK_IOC_QUERY:
		return bulk_ioc_query(arg);
	case RDMA_BULK_IOC_DOMAIN:
		return bulk_ioc_domain(bf, arg);
	case RDMA_BULK_IOC_BIND:
		return bulk_ioc_bind(bf, arg);
	case RDMA_BULK_IOC_REG:
	case RDMA_BULK_IOC_DEREG:
		domain = bulk_file_domain(bf);
		if (!domain)
			return -EINVAL;
		if (cmd == RDMA_BULK_IOC_REG)
			return bulk_ioc_reg(domain, arg);
		return bulk_ioc_dereg(domain, arg);
	}

	ch = bulk_file_channel(bf);
	switch (cmd) {
	case RDMA_BULK_IOC_GROW:
		return ch ? bulk_ioc_grow(ch, arg) : -EINVAL;
	case RDMA_BULK_IOC_EP_OPEN:
		return ch ? bulk_ioc_ep_open(ch, arg) : -EINVAL;
	case RDMA_BULK_IOC_EP_CLOSE:
		return ch ? bulk_ioc_ep_close(ch, arg) : -EINVAL;
	case RDMA_BULK_IOC_SUBMIT:
		return ch ? bulk_ioc_submit(ch, arg) : -EINVAL;
	case RDMA_BULK_IOC_STATS:
		return ch ? bulk_ioc_stats(ch, arg) : -EINVAL;
	default:
		return -ENOTTY;
	}
}

/*
 * A command by io_uring. It is accepted or refused here and now, so none is ever
 * pending. -EAGAIN as return value asks io_uring to call again from a worker that
 * may sleep; a command that is refused with -EAGAIN is completed with it instead.
 */
static int bulk_uring_cmd(struct io_uring_cmd *ioucmd, unsigned int issue_flags)
{
	struct bulk_channel *ch = bulk_file_channel(ioucmd->file->private_data);
	struct rdma_bulk_cmd cmd;
	int ret;

	BUILD_BUG_ON(sizeof(cmd) != 80);

	if (!(issue_flags & IO_URING_F_SQE128) || issue_flags & IO_URING_F_IOPOLL ||
	    ioucmd->flags & IORING_URING_CMD_MASK ||
	    ioucmd->cmd_op != RDMA_BULK_URING_SUBMIT || !ch)
		return -EINVAL;
	if (ch->mm != current->mm)
		return -EPERM;

	memcpy(&cmd, bulk_uring_cmd_data(ioucmd, struct rdma_bulk_cmd), sizeof(cmd));
	/* That was the only look at shared memory. */
	barrier();

	ret = bulk_file_submit(ch, &cmd, issue_flags & IO_URING_F_NONBLOCK);
	if (ret == BULK_SUBMIT_BLOCK)
		return -EAGAIN;
	if (ret == -EAGAIN) {
		io_uring_cmd_done(ioucmd, ret, issue_flags);
		return -EIOCBQUEUED;
	}
	return ret;
}

static int bulk_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct bulk_channel *ch = bulk_file_channel(file->private_data);

	if (!ch)
		return -EINVAL;
	if (ch->mm != vma->vm_mm || ch->mm != current->mm)
		return -EPERM;
	return bulk_channel_mmap(ch, vma);
}

static __poll_t bulk_poll(struct file *file, poll_table *wait)
{
	struct bulk_channel *ch = bulk_file_channel(file->private_data);

	return ch ? bulk_channel_poll(ch, file, wait) : EPOLLERR;
}

const struct file_operations bulk_fops = {
	.owner		= THIS_MODULE,
	.open		= bulk_open,
	.release	= bulk_release,
	.unlocked_ioctl	= bulk_ioctl,
	.compat_ioctl	= compat_ptr_ioctl,
	.uring_cmd	= bulk_uring_cmd,
	.mmap		= bulk_mmap,
	.poll		= bulk_poll,
};
