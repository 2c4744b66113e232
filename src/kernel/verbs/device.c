// SPDX-License-Identifier: GPL-2.0 OR BSD-3-Clause
/*
 * RDMA devices
 *
 * Owns struct bulk_dev, one for each device that can be used: it has kernel
 * verbs and registers memory by work request. They are made by ib_client's add
 * and stand on bulk_devs, under bulk_devs_lock, until remove; whoever holds that
 * mutex and finds a device on the list may use its ib_device.
 *
 * Everybody else needs a verbs reference for that. Remove must not wait for files
 * or peers, so the layers above, its clients, take away what those hold: links first,
 * whose lanes are destroyed (no packet moves after that), then memory regions and the
 * DMA mappings of channels. Only then does it wait for the verbs references, all of
 * which are on their way to be dropped. Whoever makes something that remove has to
 * take away puts it on one of the device's lists under dev->mutex, after looking at
 * dev->dying.
 *
 * All in process context, except bulk_dev_get, _put and the verbs references:
 * any context.
 */
#include "verbs/ports.h"

static struct ib_client bulk_client;
static LIST_HEAD(bulk_devs);
static DEFINE_MUTEX(bulk_devs_lock);
static LIST_HEAD(bulk_dev_clients);	/* complete before there is a device */

/**
 * bulk_dev_client_add - have a layer told of the removal of devices
 * @client: its operations
 *
 * Context: module load, before bulk_device_init(); they are called in this order.
 */
void bulk_dev_client_add(struct bulk_dev_client *client)
{
	list_add_tail(&client->list, &bulk_dev_clients);
}

static void bulk_dev_free(struct kref *ref)
{
	kfree(container_of(ref, struct bulk_dev, ref));
}

/**
 * bulk_dev_get - take a reference on the structure
 * @dev: device
 *
 * Return: @dev.
 */
struct bulk_dev *bulk_dev_get(struct bulk_dev *dev)
{
	kref_get(&dev->ref);
	return dev;
}

/**
 * bulk_dev_put - drop a reference on the structure
 * @dev: device
 */
void bulk_dev_put(struct bulk_dev *dev)
{
	kref_put(&dev->ref, bulk_dev_free);
}

/**
 * bulk_dev_verbs_get - keep the ib_device
 * @dev: device
 *
 * Device removal waits until it is put, so the holder must be one that removal
 * can make let go; it has to look at dev->dying again, under dev->mutex, when it
 * enters itself into one of the device's lists.
 *
 * Return: false if the device is being removed.
 */
bool bulk_dev_verbs_get(struct bulk_dev *dev)
{
	return !READ_ONCE(dev->dying) && refcount_inc_not_zero(&dev->verbs);
}

/**
 * bulk_dev_verbs_put - undo bulk_dev_verbs_get
 * @dev: device
 */
void bulk_dev_verbs_put(struct bulk_dev *dev)
{
	if (refcount_dec_and_test(&dev->verbs))
		complete(&dev->verbs_gone);
}

/**
 * bulk_dev_find - the device of an ib_device
 * @ibdev: the ib_device
 *
 * Return: a reference, or NULL if it is not (or no more) used.
 */
struct bulk_dev *bulk_dev_find(struct ib_device *ibdev)
{
	struct bulk_dev *dev, *found = NULL;

	mutex_lock(&bulk_devs_lock);
	list_for_each_entry(dev, &bulk_devs, list) {
		if (dev->ibdev == ibdev) {
			found = bulk_dev_get(dev);
			break;
		}
	}
	mutex_unlock(&bulk_devs_lock);
	return found;
}

/**
 * bulk_dev_for_each - call a function for every device
 * @fn: gets a device, on which a reference is held, and no lock; stops the
 *	iteration by a result other than 0
 * @arg: for @fn
 *
 * Return: the last result of @fn, 0 if there is no device; -ENOMEM.
 */
int bulk_dev_for_each(int (*fn)(struct bulk_dev *dev, void *arg), void *arg)
{
	unsigned int n = 0, i = 0;
	struct bulk_dev *dev, **devs;
	int err = 0;

	mutex_lock(&bulk_devs_lock);
	list_for_each_entry(dev, &bulk_devs, list)
		n++;
	devs = kcalloc(n, sizeof(*devs), GFP_KERNEL);
	if (devs)
		list_for_each_entry(dev, &bulk_devs, list)
			devs[i++] = bulk_dev_get(dev);
	mutex_unlock(&bulk_devs_lock);
	if (!devs)
		return n ? -ENOMEM : 0;

	for (i = 0; i < n; i++) {
		if (!err)
			err = fn(devs[i], arg);
		bulk_dev_put(devs[i]);
	}
	kfree(devs);
	return err;
}

/**
 * bulk_dev_walk - look at every device until a function is content
 * @fn: gets a device, whose ib_device stays while it runs; true ends the walk
 * @arg: for @fn
 *
 * Return: 0, or -EINTR if the caller was killed while it waited for its turn.
 */
int bulk_dev_walk(bool (*fn)(struct bulk_dev *dev, void *arg), void *arg)
{
	struct bulk_dev *dev;
	int err;

	err = mutex_lock_killable(&bulk_devs_lock);
	if (err)
		return err;
	list_for_each_entry(dev, &bulk_devs, list)
		if (fn(dev, arg))
			break;
	mutex_unlock(&bulk_devs_lock);
	return 0;
}

/* ---- coming and going ---- */

static int bulk_dev_add(struct ib_device *ibdev)
{
	struct bulk_dev *dev;

	if (!(ibdev->attrs.device_cap_flags & IB_DEVICE_MEM_MGT_EXTENSIONS))
		return -EOPNOTSUPP;

	dev = kzalloc(sizeof(*dev), GFP_KERNEL);
	if (!dev)
		return -ENOMEM;
	kref_init(&dev->ref);
	dev->ibdev = ibdev;
	dev->max_seg = ib_dma_max_seg_size(ibdev);
	mutex_init(&dev->mutex);
	mutex_init(&dev->users_mutex);
	INIT_LIST_HEAD(&dev->links);
	INIT_LIST_HEAD(&dev->users);
	INIT_LIST_HEAD(&dev->channels);
	refcount_set(&dev->verbs, 1);
	init_completion(&dev->verbs_gone);
	ib_set_client_data(ibdev, &bulk_client, dev);
	mutex_lock(&bulk_devs_lock);
	list_add_tail(&dev->list, &bulk_devs);
	mutex_unlock(&bulk_devs_lock);
	return 0;
}

static void bulk_dev_remove(struct ib_device *ibdev, void *client_data)
{
	struct bulk_dev *dev = client_data;
	struct bulk_dev_client *client;

	mutex_lock(&bulk_devs_lock);
	list_del(&dev->list);
	mutex_unlock(&bulk_devs_lock);

	mutex_lock(&dev->mutex);
	mutex_lock(&dev->users_mutex);
	WRITE_ONCE(dev->dying, true);
	mutex_unlock(&dev->users_mutex);
	mutex_unlock(&dev->mutex);

	list_for_each_entry(client, &bulk_dev_clients, list)
		client->removing(dev);

	bulk_dev_verbs_put(dev);
	wait_for_completion(&dev->verbs_gone);
	bulk_dev_put(dev);
}

static struct ib_client bulk_client = {
	.name	= KBUILD_MODNAME,
	.add	= bulk_dev_add,
	.remove	= bulk_dev_remove,
};

/**
 * bulk_device_init - begin to use RDMA devices, those there are and later ones
 *
 * Return: 0 or negative errno.
 */
int bulk_device_init(void)
{
	return ib_register_client(&bulk_client);
}

/**
 * bulk_device_exit - stop using RDMA devices, as if all were removed
 */
void bulk_device_exit(void)
{
	ib_unregister_client(&bulk_client);
}
