/* SPDX-License-Identifier: GPL-2.0 OR BSD-3-Clause */
/*
 * What device.c, netaddr.c and ports.c share with each other only.
 */
#ifndef _RDMA_BULK_VERBS_PORTS_H
#define _RDMA_BULK_VERBS_PORTS_H

#include "verbs/verbs.h"

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

int bulk_if_scan(struct net *net, struct bulk_if_addrs *out);
u8 bulk_port_carries(struct ib_device *ibdev, u32 port, struct net *net,
		     struct bulk_if_addr *ia);

int bulk_dev_walk(bool (*fn)(struct bulk_dev *dev, void *arg), void *arg);

#endif /* _RDMA_BULK_VERBS_PORTS_H */
