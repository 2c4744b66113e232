// SPDX-License-Identifier: GPL-2.0 OR BSD-3-Clause
/*
 * IP addresses of hosts, as sockaddrs of the kernel's own. No state; any context.
 */
#include "base/base.h"

/**
 * bulk_addr_cmp - compare two addresses, not their ports
 * @a: one
 * @b: the other
 *
 * Return: less than, equal to or greater than 0: a total order, the same on all hosts.
 */
int bulk_addr_cmp(const union bulk_addr *a, const union bulk_addr *b)
{
	if (a->sa.sa_family != b->sa.sa_family)
		return a->sa.sa_family < b->sa.sa_family ? -1 : 1;
	if (a->sa.sa_family == AF_INET6)
		return memcmp(&a->in6.sin6_addr, &b->in6.sin6_addr,
			      sizeof(a->in6.sin6_addr));
	return memcmp(&a->in4.sin_addr, &b->in4.sin_addr, sizeof(a->in4.sin_addr));
}

/**
 * bulk_addr_equal - are these the same address?
 * @a: one
 * @b: the other
 *
 * Return: true if so; ports are not compared.
 */
bool bulk_addr_equal(const union bulk_addr *a, const union bulk_addr *b)
{
	return bulk_addr_cmp(a, b) == 0;
}

/**
 * bulk_addr_port - the port of an address
 * @a: address
 *
 * Return: the port.
 */
__be16 bulk_addr_port(const union bulk_addr *a)
{
	return a->sa.sa_family == AF_INET6 ? a->in6.sin6_port : a->in4.sin_port;
}

/**
 * bulk_addr_set_port - set it
 * @a: address
 * @port: port
 */
void bulk_addr_set_port(union bulk_addr *a, __be16 port)
{
	if (a->sa.sa_family == AF_INET6)
		a->in6.sin6_port = port;
	else
		a->in4.sin_port = port;
}
