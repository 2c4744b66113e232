/* SPDX-License-Identifier: GPL-2.0 OR BSD-3-Clause */
/*
 * rdma_bulk: bulk zero-copy transport between processes of different hosts.
 *
 * This header is the whole contract between a process and rdma_bulk.ko.
 *
 * A process opens RDMA_BULK_PATH and makes the open file either
 *  - a *domain* (RDMA_BULK_IOC_DOMAIN), which owns registered memory (regions)
 *    and the keys to it, for every RDMA device of the host; or
 *  - a *channel* (RDMA_BULK_IOC_BIND), which is attached to a domain and to
 *    one device, and owns an event ring, receive slots, transmit slots and
 *    endpoints.
 *
 * Both belong to the address space that made them: every later ioctl,
 * io_uring command and mmap of another address space is refused with -EPERM
 * (a forked child, a receiver of SCM_RIGHTS, a foreign io_uring). When that
 * address space ends (exit, kill, exec) its peers are told at once and all
 * resources are reclaimed, whoever still holds the file.
 *
 * Requests that move data (struct rdma_bulk_cmd) are submitted by
 *  - IORING_OP_URING_CMD on the channel's file, ring set up with
 *    IORING_SETUP_SQE128, sqe->cmd_op = RDMA_BULK_URING_SUBMIT, the command in
 *    sqe->cmd: the CQE's res is 0 (accepted) or a negative errno (refused); or
 *  - RDMA_BULK_IOC_SUBMIT, for an array of them.
 * An accepted command produces exactly one RDMA_BULK_EV_DONE event in the
 * channel's event ring; a refused one has no effect and produces none.
 * RDMA_BULK_OP_RETURN is complete when accepted and produces no event.
 *
 * Every control structure begins with its own size in bytes, as the caller's
 * header defines it. The kernel accepts a shorter (older) one, treating what
 * is missing as zero, and a longer (newer) one if all bytes it does not know
 * are zero (else -E2BIG). Reserved fields and unknown flags must be zero
 * (-EINVAL). Multi-byte fields are in host byte order unless marked __be.
 */
#ifndef _UAPI_RDMA_RDMA_BULK_H
#define _UAPI_RDMA_RDMA_BULK_H

#include <linux/ioctl.h>
#include <linux/types.h>

/* Raised with every incompatible change; additions do not raise it. */
#define RDMA_BULK_ABI_VERSION	1

#define RDMA_BULK_PATH		"/dev/infiniband/rdma_bulk"

#define RDMA_BULK_NAME_MAX	32	/* "rxe0:1", NUL included */
#define RDMA_BULK_ADDR_MAX	28	/* a sockaddr_in or sockaddr_in6 */
#define RDMA_BULK_KEY_BYTES	24
#define RDMA_BULK_SLOT_PAYLOAD	8256	/* longest message, bytes */
#define RDMA_BULK_MAX_HEADROOM	512	/* in front of a received message */
#define RDMA_BULK_MAX_OP	(1UL << 30) /* longest PUT or GET, bytes */
#define RDMA_BULK_RETURN_MAX	16	/* receive slots per OP_RETURN */
#define RDMA_BULK_NO_SLOT	(~0U)
#define RDMA_BULK_DEFAULT_PORT	20218	/* RDMA CM service port */

#define RDMA_BULK_IOC_MAGIC	0xb7
#define RDMA_BULK_IOC_QUERY	_IO(RDMA_BULK_IOC_MAGIC, 0x00)
#define RDMA_BULK_IOC_DOMAIN	_IO(RDMA_BULK_IOC_MAGIC, 0x01)
#define RDMA_BULK_IOC_BIND	_IO(RDMA_BULK_IOC_MAGIC, 0x02)
#define RDMA_BULK_IOC_GROW	_IO(RDMA_BULK_IOC_MAGIC, 0x03)
#define RDMA_BULK_IOC_REG	_IO(RDMA_BULK_IOC_MAGIC, 0x04)
#define RDMA_BULK_IOC_DEREG	_IO(RDMA_BULK_IOC_MAGIC, 0x05)
#define RDMA_BULK_IOC_EP_OPEN	_IO(RDMA_BULK_IOC_MAGIC, 0x06)
#define RDMA_BULK_IOC_EP_CLOSE	_IO(RDMA_BULK_IOC_MAGIC, 0x07)
#define RDMA_BULK_IOC_SUBMIT	_IO(RDMA_BULK_IOC_MAGIC, 0x08)
#define RDMA_BULK_IOC_STATS	_IO(RDMA_BULK_IOC_MAGIC, 0x09)

/**
 * struct rdma_bulk_device - one port of an RDMA device with one IP address
 * @name: "DEVICE:PORT" as UCX names it; a second and later address of the same
 *	port is "DEVICE:PORT@ADDRESS"
 * @netdev: network interface that carries @addr
 * @addr: sockaddr_in or sockaddr_in6 (by its sa_family), port zero
 * @link_layer: RDMA_BULK_LINK_*
 * @port_num: port of the RDMA device, from 1
 * @reserved: zero
 * @mtu: path MTU of the port at present, bytes
 * @speed: of the port, 10^6 bit/s; 0 if the device does not tell
 */
struct rdma_bulk_device {
	char	name[RDMA_BULK_NAME_MAX];
	char	netdev[16];
	__u8	addr[RDMA_BULK_ADDR_MAX];
	__u8	link_layer;
	__u8	port_num;
	__u16	reserved;
	__u32	mtu;
	__u32	speed;
};

#define RDMA_BULK_LINK_ROCE	1
#define RDMA_BULK_LINK_IB	2
#define RDMA_BULK_LINK_IWARP	3

/**
 * struct rdma_bulk_query - RDMA_BULK_IOC_QUERY, on any open file
 * @size: sizeof(struct rdma_bulk_query)
 * @abi_version: out: RDMA_BULK_ABI_VERSION of the kernel
 * @flags: zero
 * @device_size: sizeof(struct rdma_bulk_device) of the caller; at least
 *	the first version's, else -EINVAL. Surplus bytes are zeroed.
 * @devices: pointer to an array of @ndevices entries, may be 0 if @ndevices is
 * @ndevices: in: places in @devices; out: devices there are in the caller's
 *	network namespace (may exceed the places)
 * @max_rx_slots: out: receive slots a channel may have
 * @max_tx_slots: out: transmit slots a channel may have
 * @max_commands: out: commands a channel may have outstanding
 * @service_port: out: RDMA CM port on which this host listens
 * @reserved: zero
 * @max_op_bytes: out: longest PUT or GET, bytes
 * @instance: out: random number of this load of the module
 *
 * Errors: -EFAULT, -EINVAL, -E2BIG.
 */
struct rdma_bulk_query {
	__u32	size;
	__u32	abi_version;
	__u32	flags;
	__u32	device_size;
	__u64	devices;
	__u32	ndevices;
	__u32	max_rx_slots;
	__u32	max_tx_slots;
	__u32	max_commands;
	__u16	service_port;
	__u16	reserved[3];
	__u64	max_op_bytes;
	__u64	instance;
};

/**
 * struct rdma_bulk_domain - RDMA_BULK_IOC_DOMAIN: make the file a domain
 * @size: sizeof(struct rdma_bulk_domain)
 * @abi_version: in: RDMA_BULK_ABI_VERSION of the caller; a version the kernel
 *	does not speak is -EPROTONOSUPPORT
 * @flags: zero
 * @reserved: zero
 *
 * The caller's effective user id owns the regions. Errors: -EBUSY (the file is
 * a domain or channel already), -ENOMEM.
 */
struct rdma_bulk_domain {
	__u32	size;
	__u32	abi_version;
	__u32	flags;
	__u32	reserved;
};

/**
 * struct rdma_bulk_bind - RDMA_BULK_IOC_BIND: make the file a channel
 * @size: sizeof(struct rdma_bulk_bind)
 * @abi_version: as in struct rdma_bulk_domain
 * @domain_fd: a domain of the same address space (-EBADF, -EINVAL, -EPERM)
 * @flags: zero
 * @device: name of a device in the caller's network namespace, NUL terminated
 *	(-ENODEV)
 * @rx_slots: in: receive slots wanted at first, 0 for the default;
 *	out: those there are, numbered from 0
 * @tx_slots: likewise for transmit slots
 * @rx_headroom: bytes the process wants in front of every received message,
 *	at most RDMA_BULK_MAX_HEADROOM; their content is never written by the
 *	kernel after the slot has been handed out the first time
 * @events: in: entries of the event ring, a power of two of at most 65536, 0
 *	for the default; out: those there are
 * @token: out: random, unique on this host, never 0: with the device's address
 *	it is the channel's address. Who does not know it cannot open an
 *	endpoint to this channel.
 * @addr: out: the device's address, see struct rdma_bulk_device
 * @rx_stride: out: distance of two receive slots, bytes. The message of slot i
 *	begins at i * rx_stride + rx_headroom of the slots' mapping.
 * @tx_stride: out: distance of two transmit slots, bytes
 * @ctrl_offset: out: mmap offset of the page with struct rdma_bulk_ctrl,
 *	readable and writable
 * @ring_offset: out: mmap offset of struct rdma_bulk_ring, read-only
 * @ring_bytes: out: length of that mapping
 * @rx_offset: out: mmap offset of the first @rx_slots receive slots, readable
 *	and writable
 * @rx_bytes: out: length of that mapping
 * @tx_offset: out: likewise for transmit slots
 * @tx_bytes: out: likewise
 *
 * All mappings must be MAP_SHARED, whole (offset and length as given), and are
 * neither inherited by fork nor dumped. Errors: -EBUSY (the file is something
 * already), -EINVAL, -ENODEV, -ENOMEM, -EPROTONOSUPPORT.
 */
struct rdma_bulk_bind {
	__u32	size;
	__u32	abi_version;
	__s32	domain_fd;
	__u32	flags;
	char	device[RDMA_BULK_NAME_MAX];
	__u32	rx_slots;
	__u32	tx_slots;
	__u32	rx_headroom;
	__u32	events;
	__u64	token;
	__u8	addr[RDMA_BULK_ADDR_MAX];
	__u32	reserved;
	__u32	rx_stride;
	__u32	tx_stride;
	__u64	ctrl_offset;
	__u64	ring_offset;
	__u64	ring_bytes;
	__u64	rx_offset;
	__u64	rx_bytes;
	__u64	tx_offset;
	__u64	tx_bytes;
};

/**
 * struct rdma_bulk_grow - RDMA_BULK_IOC_GROW: more slots for a channel
 * @size: sizeof(struct rdma_bulk_grow)
 * @flags: zero
 * @rx_add: in: receive slots wanted in addition; out: those given
 * @tx_add: in: transmit slots wanted in addition; out: those given
 * @rx_first: out: number of the first new receive slot
 * @tx_first: out: number of the first new transmit slot
 * @rx_offset: out: mmap offset of the new receive slots
 * @rx_bytes: out: length of that mapping
 * @tx_offset: out: mmap offset of the new transmit slots
 * @tx_bytes: out: length of that mapping
 *
 * The kernel gives at most what is left to its limits (0 is possible, with an
 * offset and length of 0). At most 15 calls that give something. Messages may
 * arrive in new receive slots before they are mapped. Errors: -EINVAL, -ENOMEM,
 * -ENOSPC (calls used up).
 */
struct rdma_bulk_grow {
	__u32	size;
	__u32	flags;
	__u32	rx_add;
	__u32	tx_add;
	__u32	rx_first;
	__u32	tx_first;
	__u64	rx_offset;
	__u64	rx_bytes;
	__u64	tx_offset;
	__u64	tx_bytes;
};

/**
 * struct rdma_bulk_ctrl - what the process tells the kernel, one page
 * @consumer: events the process has taken, counted from 0, wrapping at 2^32.
 *	The kernel reads it when it looks for room and never trusts it.
 * @armed: the process sets it to RDMA_BULK_ARMED or RDMA_BULK_ARMED_LOUD before it
 *	sleeps in poll(); the kernel clears it when it wakes the process. After
 *	setting it the process must issue a full memory barrier and look at the
 *	ring once more.
 */
struct rdma_bulk_ctrl {
	__u32	consumer;
	__u32	armed;
};

#define RDMA_BULK_ARMED		1	/* wake for any event */
#define RDMA_BULK_ARMED_LOUD	2	/* not for the good end of a RDMA_BULK_CMD_QUIET */

/**
 * struct rdma_bulk_event - an entry of the event ring
 * @user_data: EV_DONE: of the command; EV_EP_*: of the endpoint; else 0
 * @type: RDMA_BULK_EV_*
 * @id: EV_RECV: the sender's message id
 * @result: EV_DONE: 0 or a negative errno; EV_EP_DOWN: negative errno;
 *	EV_RX_LOW: messages that peers would like to send; else 0
 * @ep: handle of the endpoint concerned, 0 for none
 * @slot: EV_RECV: receive slot; EV_DONE: transmit slot that the command named
 *	and that is the process's again; else RDMA_BULK_NO_SLOT
 * @length: EV_RECV: bytes of the message; EV_DONE: bytes asked for
 */
struct rdma_bulk_event {
	__u64	user_data;
	__u16	type;
	__u16	id;
	__s32	result;
	__u32	ep;
	__u32	slot;
	__u64	length;
};

#define RDMA_BULK_EV_DONE	1	/* a command has ended */
#define RDMA_BULK_EV_RECV	2	/* a message is in a receive slot */
#define RDMA_BULK_EV_EP_UP	3	/* the endpoint can be used */
#define RDMA_BULK_EV_EP_DOWN	4	/* it never will be again; all its commands have ended */
#define RDMA_BULK_EV_WRITABLE	5	/* it refused with -EAGAIN; try again */
#define RDMA_BULK_EV_RX_LOW	6	/* receive slots limit a sender: grow, or return some */
#define RDMA_BULK_EV_REMOVED	7	/* the RDMA device is gone: close the channel */

/**
 * struct rdma_bulk_ring - head of the event ring's mapping
 * @producer: events written so far, counted from 0, wrapping at 2^32; load it
 *	with acquire semantics. Entry n stands at index n modulo the number of
 *	entries.
 * @events: entries, as told by RDMA_BULK_IOC_BIND
 * @reserved: zero
 * @entry: the entries
 */
struct rdma_bulk_ring {
	__u32	producer;
	__u32	events;
	__u32	reserved[14];
	struct rdma_bulk_event entry[];
};

/**
 * struct rdma_bulk_reg - RDMA_BULK_IOC_REG, on a domain: register memory
 * @size: sizeof(struct rdma_bulk_reg)
 * @access: RDMA_BULK_ACCESS_*; 0 registers for local use only, which pins
 *	nothing
 * @addr: first byte, any alignment
 * @length: bytes, not 0
 * @handle: out: names the region in commands, in RDMA_BULK_IOC_DEREG; never 0
 * @reserved: zero
 * @key: out: capability to reach the region from elsewhere, to be handed to
 *	peers by the process. All zero if @access is 0.
 *
 * Pages of a region with remote access are pinned and charged to the address
 * space (RLIMIT_MEMLOCK) until deregistration is over. Memory that is to be
 * written remotely must be writable. Errors: -EINVAL, -EFAULT (unmapped or
 * read-only), -ENOMEM (memory or RLIMIT_MEMLOCK), -EOVERFLOW (@addr + @length
 * wraps), -ENOSPC (too many regions).
 */
struct rdma_bulk_reg {
	__u32	size;
	__u32	access;
	__u64	addr;
	__u64	length;
	__u32	handle;
	__u32	reserved;
	__u8	key[RDMA_BULK_KEY_BYTES];
};

#define RDMA_BULK_ACCESS_REMOTE_READ	(1U << 0)
#define RDMA_BULK_ACCESS_REMOTE_WRITE	(1U << 1)

/**
 * struct rdma_bulk_dereg - RDMA_BULK_IOC_DEREG, on a domain
 * @size: sizeof(struct rdma_bulk_dereg)
 * @handle: the region's; -ENOENT if there is none
 * @flags: RDMA_BULK_DEREG_*
 * @reserved: zero
 *
 * The key is dead when the call returns: no operation is started with it any
 * more on this host, and other hosts are being told. Pages stay pinned until
 * every host has answered or has been fenced.
 */
struct rdma_bulk_dereg {
	__u32	size;
	__u32	handle;
	__u32	flags;
	__u32	reserved;
};

/*
 * Return only when no host can reach the memory any more: waits, killably, at
 * most 100 ms for the others' answers before it fences them off.
 */
#define RDMA_BULK_DEREG_INVALIDATE	(1U << 0)

/**
 * struct rdma_bulk_ep_open - RDMA_BULK_IOC_EP_OPEN, on a channel
 * @size: sizeof(struct rdma_bulk_ep_open)
 * @flags: RDMA_BULK_EP_FIRST or zero
 * @addr: address of the remote channel's device; family as the own device's
 *	(-EAFNOSUPPORT), port in network byte order or 0 for the default
 * @ep: out: the endpoint's handle, never 0
 * @token: the remote channel's
 * @user_data: returned in the endpoint's events
 *
 * Returns at once; EV_EP_UP or EV_EP_DOWN follows, or is there already
 * (result -ECONNREFUSED: no such channel there, or it belongs to another user;
 * -EHOSTUNREACH, -ETIMEDOUT, -ECONNRESET, -EPROTO as usual). Commands on an endpoint that is
 * not up yet are refused with -EAGAIN. Only the first SEND of up to 512 bytes to that
 * channel may travel with the request to open it, and is accepted then. Errors: -EINVAL,
 * -ENODEV (own device gone), -ENOMEM, -ENOSPC (too many endpoints).
 */
struct rdma_bulk_ep_open {
	__u32	size;
	__u32	flags;
	__u8	addr[RDMA_BULK_ADDR_MAX];
	__u32	ep;
	__u64	token;
	__u64	user_data;
};

/* A command follows at once: the request to open the channel waits some ms for it. */
#define RDMA_BULK_EP_FIRST	(1U << 0)

/**
 * struct rdma_bulk_ep_close - RDMA_BULK_IOC_EP_CLOSE, on a channel
 * @size: sizeof(struct rdma_bulk_ep_close)
 * @ep: handle; -ENOENT if there is none
 *
 * Commands of the endpoint that are not on their way yet end with -ECANCELED;
 * those under way end as usual, their events may follow later. No EV_EP_*
 * event of this endpoint follows.
 */
struct rdma_bulk_ep_close {
	__u32	size;
	__u32	ep;
};

/**
 * struct rdma_bulk_submit - RDMA_BULK_IOC_SUBMIT, on a channel
 * @size: sizeof(struct rdma_bulk_submit)
 * @count: commands, 1 to 256
 * @cmds: pointer to an array of struct rdma_bulk_cmd
 *
 * Handles the commands in order and stops at the first that is refused. The
 * ioctl returns how many were accepted; if that is none, the errno of the
 * first.
 */
struct rdma_bulk_submit {
	__u32	size;
	__u32	count;
	__u64	cmds;
};

/* sqe->cmd_op of IORING_OP_URING_CMD */
#define RDMA_BULK_URING_SUBMIT	1

/**
 * struct rdma_bulk_cmd - a request that moves data, 80 bytes
 * @op: RDMA_BULK_OP_*
 * @local_kind: RDMA_BULK_LOCAL_*: where the local bytes are
 * @flags: RDMA_BULK_CMD_*
 * @ep: endpoint (not for OP_RETURN: 0)
 * @user_data: returned in EV_DONE
 * @addr: LOCAL_USER, LOCAL_REGION: virtual address; LOCAL_SLOT: offset in the
 *	slot, bytes
 * @length: bytes; OP_SEND: 0 to RDMA_BULK_SLOT_PAYLOAD; OP_PUT, OP_GET: 0 to
 *	RDMA_BULK_MAX_OP; OP_RETURN: slots in @slots; OP_FLUSH: 0
 * @remote_addr: OP_PUT, OP_GET: address in the remote process, inside the
 *	region that @key names
 * @key: OP_PUT, OP_GET: the remote region's
 * @slots: OP_RETURN: receive slots that the process gives back
 * @local: LOCAL_SLOT: transmit slot; LOCAL_REGION: the region's handle
 * @key_region: OP_SEND: handle of an own region whose key the message carries,
 *	or 0. The kernel then tells the target's kernel about it ahead, which
 *	spares the first use of the key a round trip.
 * @id: OP_SEND: any number for the receiver
 * @reserved: zero
 *
 * Commands of one endpoint take effect in order. OP_SEND and LOCAL_SLOT: the
 * slot belongs to the kernel until EV_DONE; naming a busy one is -EBUSY.
 *
 * Refusals: -EINVAL (unknown op, kind, flag; reserved field; field that the op
 * does not use is not zero), -ENOENT (no such endpoint, region), -EMSGSIZE
 * (@length too long, or out of the slot), -ERANGE (outside the local or the
 * remote region), -EACCES (rights), -EKEYREJECTED (known to be a wrong or dead
 * key), -EFAULT (unmapped or read-only local memory), -ENOMEM, -EBUSY, -EAGAIN
 * (window, command or endpoint not ready: EV_WRITABLE will tell), or the
 * endpoint's errno if it is down. EV_DONE has the same errors where they show
 * only later, and -ECANCELED for an endpoint that was closed.
 */
struct rdma_bulk_cmd {
	__u8	op;
	__u8	local_kind;
	__u16	flags;
	__u32	ep;
	__u64	user_data;
	__u64	addr;
	__u64	length;
	union {
		struct {
			__u64	remote_addr;
			__u8	key[RDMA_BULK_KEY_BYTES];
		};
		__u16	slots[RDMA_BULK_RETURN_MAX];
	};
	__u32	local;
	__u32	key_region;
	__u16	id;
	__u16	reserved[3];
};

/* A message to the remote channel. Local: a transmit slot, or plain memory
 * (LOCAL_USER), which is copied before the command is accepted.
 */
#define RDMA_BULK_OP_SEND	1
/* Write local bytes to the remote region. EV_DONE: they are there, and the
 * local memory may be reused.
 */
#define RDMA_BULK_OP_PUT	2
/* Read the remote region into local memory. */
#define RDMA_BULK_OP_GET	3
/* EV_DONE when every earlier command of the endpoint has ended: messages are
 * accepted into the remote channel and survive this process.
 */
#define RDMA_BULK_OP_FLUSH	4
/* Give receive slots back. -EINVAL, with no effect, if one is not held. */
#define RDMA_BULK_OP_RETURN	5

#define RDMA_BULK_LOCAL_USER	0	/* plain memory, pinned for the operation */
#define RDMA_BULK_LOCAL_SLOT	1	/* a transmit slot */
#define RDMA_BULK_LOCAL_REGION	2	/* inside an own region */

/* The command takes no effect before all earlier PUTs of this endpoint. */
#define RDMA_BULK_CMD_FENCE	(1U << 0)
/* The same for all earlier PUTs of the whole channel. Refused with -EAGAIN
 * while PUTs of other endpoints are outstanding.
 */
#define RDMA_BULK_CMD_FENCE_ALL	(1U << 1)
/* OP_FLUSH: the data of earlier PUTs is globally visible on the target. */
#define RDMA_BULK_CMD_REMOTE	(1U << 2)
/* OP_SEND, OP_PUT, OP_GET: nobody waits for EV_DONE: it wakes a process that has
 * armed with RDMA_BULK_ARMED_LOUD only if it tells an error.
 */
#define RDMA_BULK_CMD_QUIET	(1U << 3)

/**
 * struct rdma_bulk_stats - RDMA_BULK_IOC_STATS, on a channel
 * @size: sizeof(struct rdma_bulk_stats)
 * @flags: zero
 * @tx_messages: messages whose EV_DONE was good
 * @tx_bytes: their payload
 * @rx_messages: messages put into receive slots
 * @rx_bytes: their payload
 * @puts: PUTs ended well
 * @put_bytes: their bytes
 * @gets: GETs ended well
 * @get_bytes: their bytes
 * @refused: commands refused with another errno than -EAGAIN
 * @again: commands refused with -EAGAIN
 * @failed: commands that ended with an error
 * @key_misses: PUTs and GETs that had to wait for KEY_RESOLVE
 * @endpoints: endpoints there are now
 * @rx_slots: receive slots there are now
 * @rx_slots_held: of these held by the process now
 * @tx_slots: transmit slots there are now
 * @kernel_bytes: kernel memory of this channel, shared pages included
 *
 * The same counters summed over all channels ever, and the links, are in
 * /sys/class/misc/rdma_bulk/.
 */
struct rdma_bulk_stats {
	__u32	size;
	__u32	flags;
	__u64	tx_messages;
	__u64	tx_bytes;
	__u64	rx_messages;
	__u64	rx_bytes;
	__u64	puts;
	__u64	put_bytes;
	__u64	gets;
	__u64	get_bytes;
	__u64	refused;
	__u64	again;
	__u64	failed;
	__u64	key_misses;
	__u32	endpoints;
	__u32	rx_slots;
	__u32	rx_slots_held;
	__u32	tx_slots;
	__u64	kernel_bytes;
};

#endif /* _UAPI_RDMA_RDMA_BULK_H */
