// SPDX-License-Identifier: GPL-2.0 OR BSD-3-Clause
/*
 * Ports by name
 *
 * Processes name a port and one of its IP addresses: "rxe0:1" for the first, or
 * "rxe0:1@ADDRESS" for any. Nothing is kept: see netaddr.c.
 *
 * All in process context.
 */
#include <rdma/ib_cache.h>

#include "verbs/ports.h"

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

struct bulk_scan {
	struct net		*net;
	struct bulk_if_addrs	ias;
	bulk_found_fn		fn;
	void			*arg;
};

static bool bulk_scan_dev(struct bulk_dev *dev, void *arg)
{
	struct bulk_found found = { .dev = dev };
	struct bulk_scan *scan = arg;
	u32 port;

	if (!rdma_dev_access_netns(dev->ibdev, scan->net))
		return false;
	rdma_for_each_port(dev->ibdev, port) {
		if (port > U8_MAX)
			break;
		found.port = port;
		if (bulk_scan_port(&found, scan->net, &scan->ias, scan->fn, scan->arg))
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
	struct bulk_scan scan = { .net = net, .fn = fn, .arg = arg };
	int err;

	err = bulk_if_scan(net, &scan.ias);
	if (!err)
		err = bulk_dev_walk(bulk_scan_dev, &scan);
	kvfree(scan.ias.addr);
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
