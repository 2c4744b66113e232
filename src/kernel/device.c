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
 * or peers, so it takes away what they hold: links first, whose lanes are
 * destroyed (no packet moves after that), then the DMA mappings of channels, then
 * memory regions. Only then does it wait for the verbs references, all of which
 * are on their way to be dropped. Whoever makes something that remove has to take
 * away puts it on one of the device's lists under dev->mutex, after looking at
 * dev->dying.
 *
 * Processes name a port and one of its IP addresses. Which port carries which
 * address is answered as the RDMA CM answers it: by the port's GID table for RoCE
 * and InfiniBand, by the port's network interface for iWARP. Nothing of that is
 * kept: addresses come and go.
 *
 * All in process context, except bulk_dev_get, _put and the verbs references:
 * any context.
 */
#include <linux/if_arp.h>
#include <linux/if_vlan.h>
#include <linux/inetdevice.h>
#include <linux/netdevice.h>
#include <net/addrconf.h>
#include <net/if_inet6.h>
#include <net/ipv6.h>
#include <rdma/ib_addr.h>
#include <rdma/ib_cache.h>

#include "bulk.h"

static struct ib_client bulk_client;
static LIST_HEAD(bulk_devs);
static DEFINE_MUTEX(bulk_devs_lock);

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

/* ---- addresses of network interfaces ---- */

/* More than these are not looked at. */
#define BULK_MAX_ADDRS	4096

/* An address of a network interface, and what leads from there to a port. */
struct bulk_if_addr {
	int			ifindex;
	int			real_ifindex;	/* below a VLAN */
	unsigned short		type;		/* ARPHRD_* */
	char			name[IFNAMSIZ];
	union ib_gid		hw_gid;		/* of an IPoIB interface */
	union bulk_addr		addr;
};

struct bulk_if_addrs {
	unsigned int		count;		/* all there are */
	unsigned int		max;
	struct bulk_if_addr	*addr;
};

static void bulk_if_addr_add(struct bulk_if_addrs *out, struct net_device *ndev,
			     const union bulk_addr *addr)
{
	struct bulk_if_addr *ia;

	if (out->count++ >= out->max)
		return;

	ia = &out->addr[out->count - 1];
	ia->ifindex = ndev->ifindex;
	ia->real_ifindex = ndev->ifindex;
	if (is_vlan_dev(ndev))
		ia->real_ifindex = vlan_dev_real_dev(ndev)->ifindex;
	ia->type = ndev->type;
	strscpy(ia->name, ndev->name, sizeof(ia->name));
	if (ndev->type == ARPHRD_INFINIBAND)
		memcpy(&ia->hw_gid, ndev->dev_addr + 4, sizeof(ia->hw_gid));
	ia->addr = *addr;
}

static void bulk_if_scan4(struct bulk_if_addrs *out, struct net_device *ndev)
{
	struct in_device *in_dev = __in_dev_get_rcu(ndev);
	const struct in_ifaddr *ifa;

	if (!in_dev)
		return;
	in_dev_for_each_ifa_rcu(ifa, in_dev) {
		union bulk_addr addr = {};

		if (ipv4_is_loopback(ifa->ifa_local) ||
		    ipv4_is_linklocal_169(ifa->ifa_local) ||
		    ipv4_is_zeronet(ifa->ifa_local))
			continue;
		addr.in4.sin_family = AF_INET;
		addr.in4.sin_addr.s_addr = ifa->ifa_local;
		bulk_if_addr_add(out, ndev, &addr);
	}
}

static void bulk_if_scan6(struct bulk_if_addrs *out, struct net_device *ndev)
{
	const struct inet6_ifaddr *ifa;
	struct inet6_dev *in6_dev;

	if (!IS_ENABLED(CONFIG_IPV6))
		return;
	in6_dev = __in6_dev_get(ndev);
	if (!in6_dev)
		return;

	read_lock_bh(&in6_dev->lock);
	list_for_each_entry(ifa, &in6_dev->addr_list, if_list) {
		int type = ipv6_addr_type(&ifa->addr);
		union bulk_addr addr = {};

		if (!(type & IPV6_ADDR_UNICAST) ||
		    type & (IPV6_ADDR_LOOPBACK | IPV6_ADDR_LINKLOCAL |
			    IPV6_ADDR_MAPPED) ||
		    ifa->flags & IFA_F_DADFAILED)
			continue;
		addr.in6.sin6_family = AF_INET6;
		addr.in6.sin6_addr = ifa->addr;
		bulk_if_addr_add(out, ndev, &addr);
	}
	read_unlock_bh(&in6_dev->lock);
}

/*
 * The addresses of all interfaces of @net that are up. Counts first, since there
 * is no allocating under RCU; what comes in between is found if it fits into a
 * little surplus.
 */
static int bulk_if_scan(struct net *net, struct bulk_if_addrs *out)
{
	struct net_device *ndev;
	int pass;

	memset(out, 0, sizeof(*out));
	for (pass = 0; pass < 2; pass++) {
		rcu_read_lock();
		for_each_netdev_rcu(net, ndev) {
			if (!(ndev->flags & IFF_UP) || ndev->flags & IFF_LOOPBACK)
				continue;
			bulk_if_scan4(out, ndev);
			bulk_if_scan6(out, ndev);
		}
		rcu_read_unlock();

		if (pass || !out->count)
			break;
		out->max = min_t(unsigned int, out->count + 8, BULK_MAX_ADDRS);
		out->addr = kvcalloc(out->max, sizeof(*out->addr), GFP_KERNEL_ACCOUNT);
		if (!out->addr)
			return -ENOMEM;
		out->count = 0;
	}
	out->count = min(out->count, out->max);
	return 0;
}

/* ---- from addresses to ports ---- */

static bool bulk_port_has_gid(struct ib_device *ibdev, u32 port,
			      const union ib_gid *gid, enum ib_gid_type type,
			      struct net_device *ndev)
{
	const struct ib_gid_attr *attr;

	attr = rdma_find_gid_by_port(ibdev, gid, type, port, ndev);
	if (IS_ERR(attr))
		return false;
	rdma_put_gid_attr(attr);
	return true;
}

static bool bulk_port_has_roce(struct ib_device *ibdev, u32 port, struct net *net,
			       struct bulk_if_addr *ia)
{
	struct net_device *ndev;
	union ib_gid gid;
	bool found;

	if (ia->type != ARPHRD_ETHER || rdma_ip2gid(&ia->addr.sa, &gid))
		return false;
	ndev = dev_get_by_index(net, ia->ifindex);
	if (!ndev)
		return false;
	found = bulk_port_has_gid(ibdev, port, &gid, IB_GID_TYPE_ROCE_UDP_ENCAP, ndev) ||
		bulk_port_has_gid(ibdev, port, &gid, IB_GID_TYPE_ROCE, ndev);
	dev_put(ndev);
	return found;
}

static bool bulk_port_has_iwarp(struct ib_device *ibdev, u32 port, struct net *net,
				struct bulk_if_addr *ia)
{
	const struct ib_gid_attr *attr;
	struct net_device *ndev;
	bool found = false;

	/* An iWARP port has one interface, that of its first GID. */
	attr = rdma_get_gid_attr(ibdev, port, 0);
	if (IS_ERR(attr))
		return false;
	rcu_read_lock();
	ndev = rdma_read_gid_attr_ndev_rcu(attr);
	if (!IS_ERR(ndev) && net_eq(dev_net(ndev), net))
		found = ndev->ifindex == ia->ifindex ||
			ndev->ifindex == ia->real_ifindex;
	rcu_read_unlock();
	rdma_put_gid_attr(attr);
	return found;
}

/* RDMA_BULK_LINK_* of @port if it carries this address, else 0. */
static u8 bulk_port_carries(struct ib_device *ibdev, u32 port, struct net *net,
			    struct bulk_if_addr *ia)
{
	if (rdma_protocol_roce(ibdev, port))
		return bulk_port_has_roce(ibdev, port, net, ia) ?
			RDMA_BULK_LINK_ROCE : 0;
	if (rdma_protocol_iwarp(ibdev, port))
		return bulk_port_has_iwarp(ibdev, port, net, ia) ?
			RDMA_BULK_LINK_IWARP : 0;
	if (rdma_protocol_ib(ibdev, port))
		return ia->type == ARPHRD_INFINIBAND &&
			bulk_port_has_gid(ibdev, port, &ia->hw_gid,
					  IB_GID_TYPE_IB, NULL) ?
			RDMA_BULK_LINK_IB : 0;
	return 0;
}

/* A port with an address, as found. */
struct bulk_found {
	struct bulk_dev			*dev;
	u32				port;
	u8				link_layer;
	bool				first;	/* of the port: its plain name */
	const struct bulk_if_addr	*ia;
};

typedef bool (*bulk_found_fn)(const struct bulk_found *found, void *arg);

static bool bulk_scan_port(struct bulk_found *found, struct net *net,
			   struct bulk_if_addrs *ias, bulk_found_fn fn, void *arg)
{
	struct bulk_if_addr *first = NULL, *ia;
	u8 layer, first_layer = 0;

	for (ia = ias->addr; ia < ias->addr + ias->count; ia++) {
		if (first && ia->addr.sa.sa_family != AF_INET)
			continue;
		layer = bulk_port_carries(found->dev->ibdev, found->port, net, ia);
		if (!layer)
			continue;
		first = ia;
		first_layer = layer;
		if (ia->addr.sa.sa_family == AF_INET)
			break;
	}
	if (!first)
		return false;

	found->ia = first;
	found->link_layer = first_layer;
	found->first = true;
	if (fn(found, arg))
		return true;

	found->first = false;
	for (ia = ias->addr; ia < ias->addr + ias->count; ia++) {
		if (ia == first)
			continue;
		layer = bulk_port_carries(found->dev->ibdev, found->port, net, ia);
		if (!layer)
			continue;
		found->ia = ia;
		found->link_layer = layer;
		if (fn(found, arg))
			return true;
	}
	return false;
}

/*
 * Call @fn for every address of every port that @net may use, until it returns
 * true. The ib_device stays while it runs.
 */
static int bulk_scan(struct net *net, bulk_found_fn fn, void *arg)
{
	struct bulk_if_addrs ias;
	struct bulk_found found;
	struct bulk_dev *dev;
	u32 port;
	int err;

	err = bulk_if_scan(net, &ias);
	if (err)
		return err;

	err = mutex_lock_killable(&bulk_devs_lock);
	if (err)
		goto free;
	list_for_each_entry(dev, &bulk_devs, list) {
		if (!rdma_dev_access_netns(dev->ibdev, net))
			continue;
		found.dev = dev;
		rdma_for_each_port(dev->ibdev, port) {
			if (port > U8_MAX)
				break;
			found.port = port;
			if (bulk_scan_port(&found, net, &ias, fn, arg))
				goto unlock;
		}
	}
unlock:
	mutex_unlock(&bulk_devs_lock);
free:
	kvfree(ias.addr);
	return err;
}

/* "DEVICE:PORT@ADDRESS", the last part of which only @first ones may lack */
#define BULK_LONG_NAME	(IB_DEVICE_NAME_MAX + 8 + INET6_ADDRSTRLEN)

static int bulk_found_name(const struct bulk_found *found, bool plain, char *name)
{
	const char *device = found->dev->ibdev->name;

	if (plain)
		return snprintf(name, BULK_LONG_NAME, "%s:%u", device, found->port);
	if (found->ia->addr.sa.sa_family == AF_INET)
		return snprintf(name, BULK_LONG_NAME, "%s:%u@%pI4", device,
				found->port, &found->ia->addr.in4.sin_addr);
	return snprintf(name, BULK_LONG_NAME, "%s:%u@%pI6c", device, found->port,
			&found->ia->addr.in6.sin6_addr);
}

struct bulk_lookup {
	const char		*name;
	struct bulk_dev		*dev;
	u8			port;
	union bulk_addr		addr;
};

static bool bulk_lookup_one(const struct bulk_found *found, void *arg)
{
	struct bulk_lookup *lookup = arg;
	char name[BULK_LONG_NAME];

	bulk_found_name(found, false, name);
	if (strcmp(name, lookup->name)) {
		if (!found->first)
			return false;
		bulk_found_name(found, true, name);
		if (strcmp(name, lookup->name))
			return false;
	}

	lookup->dev = bulk_dev_get(found->dev);
	lookup->port = found->port;
	lookup->addr = found->ia->addr;
	return true;
}

/**
 * bulk_dev_lookup - find a port with an address by its name
 * @net: network namespace that has the address
 * @name: "DEVICE:PORT" for the port's first address, or "DEVICE:PORT@ADDRESS" for
 *	any, NUL terminated
 * @port: the port's number
 * @addr: the address, port number zero
 *
 * Return: a reference, or an ERR_PTR: -ENODEV, -ENOMEM, -EINTR.
 */
struct bulk_dev *bulk_dev_lookup(struct net *net, const char *name, u8 *port,
				 union bulk_addr *addr)
{
	struct bulk_lookup lookup = { .name = name };
	int err;

	err = bulk_scan(net, bulk_lookup_one, &lookup);
	if (err)
		return ERR_PTR(err);
	if (!lookup.dev)
		return ERR_PTR(-ENODEV);
	*port = lookup.port;
	*addr = lookup.addr;
	return lookup.dev;
}

/* 10^6 bit/s of one lane */
static u32 bulk_lane_speed(u16 speed)
{
	switch (speed) {
	case IB_SPEED_SDR:	return 2500;
	case IB_SPEED_DDR:	return 5000;
	case IB_SPEED_QDR:
	case IB_SPEED_FDR10:	return 10000;
	case IB_SPEED_FDR:	return 14000;
	case IB_SPEED_EDR:	return 25000;
	case IB_SPEED_HDR:	return 50000;
	case IB_SPEED_NDR:	return 100000;
	case IB_SPEED_XDR:	return 200000;
	default:		return 0;
	}
}

struct bulk_listing {
	struct rdma_bulk_device	*out;
	int			max;
	int			count;
};

static bool bulk_list_one(const struct bulk_found *found, void *arg)
{
	struct ib_device *ibdev = found->dev->ibdev;
	struct bulk_listing *list = arg;
	struct rdma_bulk_device *out;
	struct ib_port_attr attr;
	char name[BULK_LONG_NAME];
	int width;

	/* An address that is too long to be named cannot be used. */
	if (bulk_found_name(found, found->first, name) >= RDMA_BULK_NAME_MAX)
		return false;
	if (list->count++ >= list->max)
		return false;

	out = &list->out[list->count - 1];
	memset(out, 0, sizeof(*out));
	strscpy(out->name, name, sizeof(out->name));
	strscpy(out->netdev, found->ia->name, sizeof(out->netdev));
	memcpy(out->addr, &found->ia->addr, sizeof(found->ia->addr));
	out->link_layer = found->link_layer;
	out->port_num = found->port;
	if (!ib_query_port(ibdev, found->port, &attr)) {
		out->mtu = rdma_mtu_enum_to_int(ibdev, found->port, attr.active_mtu);
		width = ib_width_enum_to_int(attr.active_width);
		if (width > 0)
			out->speed = bulk_lane_speed(attr.active_speed) * width;
	}
	return false;
}

/**
 * bulk_dev_list - all ports with their addresses
 * @net: network namespace whose addresses count
 * @out: filled in
 * @max: room in @out, may be 0
 *
 * Return: how many there are, also beyond @max, or -ENOMEM, -EINTR.
 */
int bulk_dev_list(struct net *net, struct rdma_bulk_device *out, int max)
{
	struct bulk_listing list = { .out = out, .max = max };
	int err;

	BUILD_BUG_ON(sizeof(union bulk_addr) > RDMA_BULK_ADDR_MAX);
	BUILD_BUG_ON(sizeof(out->netdev) < IFNAMSIZ);

	err = bulk_scan(net, bulk_list_one, &list);
	return err ?: list.count;
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

/* Take their DMA mappings away from all channels. */
static void bulk_dev_drop_channels(struct bulk_dev *dev)
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

static void bulk_dev_remove(struct ib_device *ibdev, void *client_data)
{
	struct bulk_dev *dev = client_data;

	mutex_lock(&bulk_devs_lock);
	list_del(&dev->list);
	mutex_unlock(&bulk_devs_lock);

	mutex_lock(&dev->mutex);
	WRITE_ONCE(dev->dying, true);
	mutex_unlock(&dev->mutex);

	bulk_link_dev_gone(dev);
	bulk_dev_drop_channels(dev);
	bulk_region_dev_gone(dev);

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
