// SPDX-License-Identifier: GPL-2.0 OR BSD-3-Clause
/*
 * The module: parameters, device node, sums in sysfs, order of beginning and end
 *
 * Everything is made before the device node appears. The end is possible once
 * all files are closed, which the device node's reference to the module sees to.
 * Then channels and domains have been told to end, and their workers run; each
 * layer's exit waits for what is left of it.
 */
#include <linux/device.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/sysfs.h>

#include "ep/ep.h"
#include "file.h"

#define BULK_MODULE_VERSION	"0.1.0"

/* ---- /sys/class/misc/rdma_bulk/ ---- */

#define BULK_COUNTER_ATTR(field)						\
static ssize_t field##_show(struct device *device,				\
			    struct device_attribute *attr, char *buf)		\
{										\
	struct bulk_counters total;						\
										\
	bulk_channel_total(&total);						\
	return sysfs_emit(buf, "%lld\n", (s64)atomic64_read(&total.field));	\
}										\
static DEVICE_ATTR_RO(field)

BULK_COUNTER_ATTR(tx_messages);
BULK_COUNTER_ATTR(tx_bytes);
BULK_COUNTER_ATTR(rx_messages);
BULK_COUNTER_ATTR(rx_bytes);
BULK_COUNTER_ATTR(puts);
BULK_COUNTER_ATTR(put_bytes);
BULK_COUNTER_ATTR(gets);
BULK_COUNTER_ATTR(get_bytes);
BULK_COUNTER_ATTR(refused);
BULK_COUNTER_ATTR(again);
BULK_COUNTER_ATTR(failed);
BULK_COUNTER_ATTR(key_misses);

static ssize_t links_show(struct device *device, struct device_attribute *attr,
			  char *buf)
{
	return bulk_link_show(buf);
}
static DEVICE_ATTR_RO(links);

static ssize_t instance_show(struct device *device, struct device_attribute *attr,
			     char *buf)
{
	return sysfs_emit(buf, "%016llx\n", bulk_instance);
}
static DEVICE_ATTR_RO(instance);

static ssize_t version_show(struct device *device, struct device_attribute *attr,
			    char *buf)
{
	return sysfs_emit(buf, "%s\n", BULK_MODULE_VERSION);
}
static DEVICE_ATTR_RO(version);

static struct attribute *bulk_attrs[] = {
	&dev_attr_tx_messages.attr,
	&dev_attr_tx_bytes.attr,
	&dev_attr_rx_messages.attr,
	&dev_attr_rx_bytes.attr,
	&dev_attr_puts.attr,
	&dev_attr_put_bytes.attr,
	&dev_attr_gets.attr,
	&dev_attr_get_bytes.attr,
	&dev_attr_refused.attr,
	&dev_attr_again.attr,
	&dev_attr_failed.attr,
	&dev_attr_key_misses.attr,
	&dev_attr_links.attr,
	&dev_attr_instance.attr,
	&dev_attr_version.attr,
	NULL
};
ATTRIBUTE_GROUPS(bulk);

static struct miscdevice bulk_misc = {
	.minor		= MISC_DYNAMIC_MINOR,
	.name		= "rdma_bulk",
	.nodename	= "infiniband/rdma_bulk",
	.mode		= 0666,
	.fops		= &bulk_fops,
	.groups		= bulk_groups,
};

/* ---- beginning and end ---- */

static int __init bulk_init(void)
{
	int err;

	err = bulk_base_init();
	if (err)
		return err;
	/* the order in which they let go of a device */
	bulk_link_init();
	err = bulk_channel_init();
	if (err)
		goto exit_base;
	bulk_mem_init();
	err = bulk_ep_init();
	if (err)
		goto exit_channel;
	err = bulk_device_init();
	if (err)
		goto exit_ep;
	err = misc_register(&bulk_misc);
	if (err)
		goto exit_device;
	return 0;

exit_device:
	bulk_device_exit();
exit_ep:
	bulk_ep_exit();
exit_channel:
	bulk_channel_exit();
exit_base:
	bulk_base_exit();
	return err;
}

static void __exit bulk_exit(void)
{
	misc_deregister(&bulk_misc);
	/* Channels and domains end: no endpoints and listeners after this. */
	bulk_base_flush();
	bulk_cm_exit();
	/* As if all devices were removed: links, and the operations on them, end. */
	bulk_device_exit();
	bulk_channel_exit();
	bulk_mem_exit();
	bulk_ep_exit();
	/* What is being freed may still have to put its owner. */
	bulk_base_flush();
	bulk_owner_exit();
	bulk_base_exit();
}

module_init(bulk_init);
module_exit(bulk_exit);

MODULE_DESCRIPTION("Bulk zero-copy transport between processes of different hosts");
MODULE_LICENSE("Dual BSD/GPL");
MODULE_VERSION(BULK_MODULE_VERSION);
