// SPDX-License-Identifier: GPL-2.0 OR BSD-3-Clause
/*
 * Parameters that more than one layer looks at, the instance number, and workqueues
 *
 * A workqueue for each purpose: what takes long, or is given to us in any number by a
 * process or a peer, has one of its own, so that nothing else waits for its turn behind it.
 */
#include <linux/module.h>
#include <linux/random.h>

#include "base/base.h"

struct workqueue_struct *bulk_wq;
struct workqueue_struct *bulk_end_wq;
struct workqueue_struct *bulk_resolve_wq;
struct workqueue_struct *bulk_unpin_wq;
u64 bulk_instance;

unsigned short bulk_port = RDMA_BULK_DEFAULT_PORT;
module_param_named(port, bulk_port, ushort, 0444);
MODULE_PARM_DESC(port, "RDMA CM service port, the same on all hosts (default 20218)");

unsigned int bulk_keepalive = 10;
module_param_named(keepalive, bulk_keepalive, uint, 0444);
MODULE_PARM_DESC(keepalive, "seconds of silence after which a host is asked for a sign of life (default 10)");

/* What one of them does may be the next one's work. */
static struct {
	struct workqueue_struct	**wq;
	const char		*name;
} bulk_wqs[] = {
	{ &bulk_resolve_wq,	"rdma_bulk-resolve" },
	{ &bulk_unpin_wq,	"rdma_bulk-unpin" },
	{ &bulk_wq,		"rdma_bulk" },
	{ &bulk_end_wq,		"rdma_bulk-end" },
};

/**
 * bulk_base_init - at module load: look at the parameters, make the workqueues
 *
 * Return: 0, -EINVAL, -ENOMEM.
 */
int bulk_base_init(void)
{
	unsigned int i;

	if (!bulk_port || !bulk_keepalive || bulk_keepalive > 3600) {
		pr_err("port must not be 0, keepalive must be 1 to 3600\n");
		return -EINVAL;
	}
	do {
		bulk_instance = get_random_u64();
	} while (!bulk_instance);

	for (i = 0; i < ARRAY_SIZE(bulk_wqs); i++) {
		*bulk_wqs[i].wq = alloc_workqueue("%s", WQ_UNBOUND, 0, bulk_wqs[i].name);
		if (!*bulk_wqs[i].wq) {
			bulk_base_exit();
			return -ENOMEM;
		}
	}
	return 0;
}

/**
 * bulk_base_flush - wait for all work that is queued
 *
 * And for what that queues, if it is for a workqueue further down.
 */
void bulk_base_flush(void)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(bulk_wqs); i++)
		flush_workqueue(*bulk_wqs[i].wq);
}

/**
 * bulk_base_exit - at module exit: all work has been done, destroy the workqueues
 */
void bulk_base_exit(void)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(bulk_wqs) && *bulk_wqs[i].wq; i++)
		destroy_workqueue(*bulk_wqs[i].wq);
}
