// SPDX-License-Identifier: GPL-2.0 OR BSD-3-Clause
/*
 * IP addresses of network interfaces, and which port carries which
 *
 * That is answered as the RDMA CM answers it: by the port's GID table for RoCE and
 * InfiniBand, by the port's network interface for iWARP. Nothing of it is kept:
 * addresses come and go.
 *
 * All in process context.
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

#include "verbs/ports.h"

/* ---- addresses of network interfaces ---- */

/* More than these are not looked at. */
#define BULK_MAX_ADDRS	4096

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

/**
 * bulk_if_scan - the addresses of all interfaces that are up
 * @net: network namespace
 * @out: filled in; the caller frees @out->addr by kvfree()
 *
 * Counts first, since there is no allocating under RCU; what comes in between is
 * found if it fits into a little surplus.
 *
 * Return: 0 or -ENOMEM.
 */
int bulk_if_scan(struct net *net, struct bulk_if_addrs *out)
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

/**
 * bulk_port_carries - does a port carry an address?
 * @ibdev: its device
 * @port: its number
 * @net: network namespace of the address
 * @ia: the address
 *
 * Return: RDMA_BULK_LINK_* of the port if it does, else 0.
 */
u8 bulk_port_carries(struct ib_device *ibdev, u32 port, struct net *net,
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
