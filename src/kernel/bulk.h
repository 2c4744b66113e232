/* SPDX-License-Identifier: GPL-2.0 OR BSD-3-Clause */
/*
 * Internal declarations of rdma_bulk.ko. Layers, top to bottom; each calls only
 * those below it and answers upward through the functions declared here:
 *
 *	file.c		device node: open, ioctl, uring_cmd, mmap, poll
 *	chan/		channels: see chan/chan.h
 *	submit.c	commands: check, take a place in the event ring, queue
 *	endpoint.c	endpoints, remote channels, inbound channels, windows
 *	local.c		endpoints within the host, without the adapter
 *	key.c		the initiator's cache of resolved keys
 *	region.c	pinned memory, MRs, key table, revocation
 *	user.c		a user's PD and registration queue pair on a device
 *	lane.c		data lanes: scheduling and posting
 *	link.c		host to host: control lane, its messages, life
 *	cm.c		RDMA CM: connecting and accepting lanes
 *	smbd.c		SMB-Direct on one RC queue pair
 *	device.c	RDMA devices: ib_client, enumeration
 *
 * Locks, outermost first; those on one line never nest.
 *
 *	process	bf->mutex		a file becomes a domain or a channel
 *	process	local->mutex		commands of a local endpoint, one by one
 *	process	ch->mutex		endpoints opened and closed, slots grown
 *	process	region->mutex		its MRs
 *	process	listeners_mutex		cm.c
 *	process	handler_mutex		of an rdma_cm id, held by its handler
 *	process	conn->setup, bulk_devs_lock
 *	process	dev->mutex		links, users and channels of a device
 *	process	link->mutex		state, rchans, lanes, control messages
 *	process	lane->rw_sem		rdma_rw contexts made, against destroying
 *	process	domain->mutex, user->reg_mutex, bulk_grant_lock
 *	any (bh) smbd->lock		which is the lane's: queues, everything posted
 *	any (bh) ch->lock		event ring, slots, windows
 *	any (bh) link->lock		key cache, inbounds to report, control messages
 *	any (bh) local->lock		which stands for the lane's in a local endpoint
 *
 * No id of rdma_cm is destroyed, and no queue pair drained, under link->mutex or
 * dev->mutex: handlers and the control lane's completions take them. smbd->lock and
 * ch->lock do not nest; link->lock is inside both, local->lock inside ch->lock. User
 * memory is touched and pinned under none but bf->mutex and local->mutex.
 *
 * Control messages are handled in process context (IB_POLL_WORKQUEUE), data
 * lanes in softirq or, on software devices, a worker.
 */
#ifndef _RDMA_BULK_H_INTERNAL
#define _RDMA_BULK_H_INTERNAL

#include "chan/chan.h"

/* ---------------------------------------------------------------- endpoint.c */

extern const struct bulk_chan_ops bulk_ep_chan_ops;

int bulk_ep_open(struct bulk_channel *ch, struct rdma_bulk_ep_open *open);
int bulk_ep_close(struct bulk_channel *ch, u32 handle);

/* ------------------------------------------------------------------ submit.c */

/*
 * Check and accept a command. 0, negative errno (counted by the caller), or
 * BULK_SUBMIT_BLOCK: it would have to sleep, and @nonblock forbids it.
 */
#define BULK_SUBMIT_BLOCK	1
int bulk_submit(struct bulk_channel *ch, const struct rdma_bulk_cmd *cmd, bool nonblock);
int bulk_submit_init(void);
void bulk_submit_exit(void);

#endif /* _RDMA_BULK_H_INTERNAL */
