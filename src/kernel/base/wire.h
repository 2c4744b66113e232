/* SPDX-License-Identifier: GPL-2.0 OR BSD-3-Clause */
/*
 * The wire protocol: SMB-Direct 1.0 framing ([MS-SMBD] section 2.2) and the
 * bulk messages it carries. All fields are little-endian; every structure is
 * exactly as long as its fields. docs/protocol.md tells the story.
 *
 * Every PDU of a lane is one SMB-Direct data transfer message. It carries no
 * data (credits and keepalive only) or exactly one bulk message: a struct
 * bulk_hdr and what belongs to its type. SMB-Direct's fragmentation is not
 * used (RemainingDataLength is 0).
 */
#ifndef _RDMA_BULK_WIRE_H
#define _RDMA_BULK_WIRE_H

#include <linux/types.h>
#include <linux/build_bug.h>

/* ---- SMB-Direct, [MS-SMBD] 2.2.1 to 2.2.3 ---- */

#define SMBD_V1			0x0100
#define SMBD_MIN_RECEIVE	128	/* 3.1.5.2, least MaxReceiveSize */
#define SMBD_MIN_FRAGMENTED	131072	/* 3.1.5.2, least MaxFragmentedSize */
#define SMBD_RESPONSE_REQUESTED	0x0001

struct smbd_negotiate_req {
	__le16	min_version;
	__le16	max_version;
	__le16	reserved;
	__le16	credits_requested;
	__le32	preferred_send_size;
	__le32	max_receive_size;
	__le32	max_fragmented_size;
} __packed;

struct smbd_negotiate_resp {
	__le16	min_version;
	__le16	max_version;
	__le16	negotiated_version;
	__le16	reserved;
	__le16	credits_requested;
	__le16	credits_granted;
	__le32	status;			/* NTSTATUS */
	__le32	max_readwrite_size;
	__le32	preferred_send_size;
	__le32	max_receive_size;
	__le32	max_fragmented_size;
} __packed;

#define SMBD_STATUS_SUCCESS		0x00000000
#define SMBD_STATUS_NOT_SUPPORTED	0xc00000bb

struct smbd_data {
	__le16	credits_requested;
	__le16	credits_granted;
	__le16	flags;
	__le16	reserved;
	__le32	remaining_data_length;
	__le32	data_offset;
	__le32	data_length;
} __packed;

#define SMBD_DATA_OFFSET	24	/* of the data, a multiple of 8 */

/* ---- RDMA CM private data ---- */

#define BULK_CM_MAGIC	0x4b4c5542	/* "BULK" */

enum bulk_cm_kind {
	BULK_CM_CONTROL	= 1,
	BULK_CM_DATA	= 2,
};

/*
 * In the connection request. A data lane must carry it; a control lane may (a
 * request without it is taken for a control lane whose HELLO will tell).
 */
struct bulk_cm_request {
	__le32	magic;
	u8	kind;			/* enum bulk_cm_kind */
	u8	reserved[3];
	__le64	instance;		/* of the connecting module load */
	__le64	token;			/* data lane: from LANE_OFFER */
} __packed;

enum bulk_cm_reason {
	BULK_REJECT_RETRY	= 1,	/* a link of ours is (just) there, or going */
	BULK_REJECT_PORT	= 2,	/* source port is not a reserved one */
	BULK_REJECT_TOKEN	= 3,	/* no such data lane was offered */
	BULK_REJECT_NOMEM	= 4,
	BULK_REJECT_KIND	= 5,	/* neither control nor data lane */
};

/* in a rejection */
struct bulk_cm_reject {
	__le32	magic;
	__le32	reason;			/* enum bulk_cm_reason */
} __packed;

/* ---- bulk messages ---- */

enum bulk_type {
	/* control lane */
	BULK_HELLO		= 1,
	BULK_LANE_WANT		= 2,
	BULK_LANE_OFFER		= 3,
	BULK_OPEN		= 4,
	BULK_OPENED		= 5,
	BULK_REFUSED		= 6,
	BULK_CLOSED		= 7,
	BULK_WINDOW		= 8,
	BULK_KEY_RESOLVE	= 9,
	BULK_KEY_RESOLVED	= 10,
	BULK_KEY_REFUSED	= 11,
	BULK_KEY_REVOKE		= 12,
	BULK_KEY_REVOKED	= 13,
	/* data lane */
	BULK_MESSAGE		= 32,
	BULK_ACK		= 33,
};

struct bulk_hdr {
	u8	type;			/* enum bulk_type */
	u8	flags;			/* per type, else zero */
	__le16	reserved;		/* zero */
	__le32	length;			/* of the whole message, this header included */
} __packed;

#define BULK_WIRE_VERSION	1

/*
 * This side takes PDUs of several MESSAGEs on data lanes, each beginning at a
 * multiple of 8 bytes from the first.
 */
#define BULK_FEATURE_GATHER	0x01
/* This side takes a message with OPEN. */
#define BULK_FEATURE_FIRST	0x02

/* First message on a control lane, in both directions, once. */
struct bulk_hello {
	struct bulk_hdr	h;
	__le16	version_min;
	__le16	version_max;
	__le32	features;		/* BULK_FEATURE_*, unknown bits are ignored */
	__le64	instance;		/* random, per module load */
	__le32	max_message;		/* longest MESSAGE payload accepted, bytes */
	__le32	reserved;
} __packed;

/*
 * LANE_WANT (to the connecting side of the control lane): offer me a data lane
 * for this user. LANE_OFFER (to the connecting side): connect one with this
 * one-time token in the private data. Only the side that connected the control
 * lane connects data lanes, so two never come into being at once.
 */
struct bulk_lane_want {
	struct bulk_hdr	h;
	__le32	uid;
	__le32	reserved;
} __packed;

struct bulk_lane_offer {
	struct bulk_hdr	h;
	__le32	uid;
	__le32	reserved;
	__le64	token;
} __packed;

/*
 * Open the channel @token for a user of this host. h.flags BULK_OPEN_FIRST: a struct
 * bulk_first and up to BULK_FIRST_MAX bytes of a message follow, the opener's first to
 * that channel (BULK_FEATURE_FIRST).
 */
#define BULK_OPEN_FIRST		0x01
#define BULK_FIRST_MAX		512

struct bulk_open {
	struct bulk_hdr	h;
	__le32	opener;			/* the opener's number for it */
	__le32	uid;			/* of the opening channel's user */
	__le64	token;			/* of the channel wanted */
} __packed;

struct bulk_first {
	__le16	id;			/* the application's */
	__le16	reserved[3];		/* zero */
} __packed;

/*
 * h.flags BULK_OPENED_FIRST: the message that came with OPEN has been delivered, and
 * counts in @limit. Without it there was none, or no slot for it: it is to be sent again,
 * as a MESSAGE.
 */
#define BULK_OPENED_FIRST	0x01

struct bulk_opened {
	struct bulk_hdr	h;
	__le32	opener;
	__le32	target;			/* the target's number, for MESSAGE */
	__le32	limit;			/* first window: messages that may be sent */
	__le32	reserved;
} __packed;

enum bulk_refusal {
	BULK_REFUSE_NONE	= 1,	/* no such channel */
	BULK_REFUSE_USER	= 2,	/* it belongs to somebody else */
	BULK_REFUSE_NOMEM	= 3,
	BULK_REFUSE_KEY		= 4,	/* wrong or dead key */
};

/* answers OPEN and (as KEY_REFUSED) KEY_RESOLVE */
struct bulk_refused {
	struct bulk_hdr	h;
	__le32	id;			/* opener, or KEY_RESOLVE's req */
	__le32	reason;			/* enum bulk_refusal */
} __packed;

/*
 * h.flags BULK_CLOSED_TARGET: the channel is gone; @id is the opener's number;
 * the opener answers with a CLOSED of its own. Else: the opener is done with
 * it; @id is the target's number. @last is the stream sequence of the last
 * MESSAGE it sent there, so that CLOSED overtakes nothing.
 */
#define BULK_CLOSED_TARGET	0x01

struct bulk_closed {
	struct bulk_hdr	h;
	__le32	id;
	__le32	reserved;
	__le64	last;
} __packed;

/* @limit messages may have been sent in all since OPENED, modulo 2^32 */
struct bulk_window {
	struct bulk_hdr	h;
	__le32	opener;
	__le32	limit;
} __packed;

/* What a process passes around as its 24 byte key. */
struct bulk_key {
	__le32	id;
	__le32	generation;
	u8	secret[16];
} __packed;

struct bulk_key_resolve {
	struct bulk_hdr	h;
	__le32	req;			/* not 0 */
	__le32	uid;			/* user whose data lane will use it */
	struct bulk_key	key;
} __packed;

/*
 * The region and its memory regions: number i covers the bytes from
 * (addr rounded down to 4096) + i * span on, span bytes; the first and the last
 * are cut at the region's ends. Several messages carry a long list in order.
 * req 0: unsolicited, ahead of a message that carries the key.
 */
struct bulk_key_resolved {
	struct bulk_hdr	h;
	__le32	req;
	__le32	uid;
	struct bulk_key	key;
	__le64	addr;
	__le64	region_length;
	__le64	span;			/* bytes, a multiple of 4096 */
	__le32	access;			/* RDMA_BULK_ACCESS_* */
	__le32	total;			/* rkeys in all */
	__le32	first;			/* number of rkey[0] */
	__le32	count;			/* rkeys here, 1 to BULK_RKEYS_MAX */
	__le32	rkey[];
} __packed;

#define BULK_RKEYS_MAX		128
#define BULK_RKEYS_TOTAL	(1U << 18)

/* KEY_REVOKE: stop using the key. KEY_REVOKED: nothing posted with it is left. */
struct bulk_key_revoke {
	struct bulk_hdr	h;
	__le32	id;
	__le32	generation;
} __packed;

/*
 * A message for channel @target. @seq counts the messages of this lane and
 * direction from 1; @ack is the last sequence received on it. h.flags
 * BULK_MESSAGE_WANT: the sender would like a larger window. Several may share a
 * PDU: BULK_FEATURE_GATHER.
 */
#define BULK_MESSAGE_WANT	0x01

struct bulk_message {
	struct bulk_hdr	h;
	__le32	target;
	__le16	id;			/* the application's */
	__le16	reserved;
	__le64	seq;
	__le64	ack;
} __packed;

struct bulk_ack {
	struct bulk_hdr	h;
	__le64	ack;
} __packed;

/* Largest PDU of each kind of lane: SMB-Direct header, bulk header, payload. */
#define BULK_CTL_PDU	(SMBD_DATA_OFFSET + sizeof(struct bulk_key_resolved) + \
			 BULK_RKEYS_MAX * sizeof(__le32))
#define BULK_DATA_PDU	(SMBD_DATA_OFFSET + sizeof(struct bulk_message) + \
			 RDMA_BULK_SLOT_PAYLOAD)

static_assert(SMBD_DATA_OFFSET + sizeof(struct bulk_open) + sizeof(struct bulk_first) +
	      BULK_FIRST_MAX <= BULK_CTL_PDU);

static_assert(sizeof(struct smbd_negotiate_req) == 20);
static_assert(sizeof(struct smbd_negotiate_resp) == 32);
static_assert(sizeof(struct smbd_data) == 20);
static_assert(sizeof(struct bulk_cm_request) == 24);
static_assert(sizeof(struct bulk_hdr) == 8);
static_assert(sizeof(struct bulk_hello) == 32);
static_assert(sizeof(struct bulk_open) == 24);
static_assert(sizeof(struct bulk_first) == 8);
static_assert(sizeof(struct bulk_opened) == 24);
static_assert(sizeof(struct bulk_closed) == 24);
static_assert(sizeof(struct bulk_key_resolve) == 40);
static_assert(sizeof(struct bulk_key_resolved) == 80);
static_assert(sizeof(struct bulk_message) == 32);

#endif /* _RDMA_BULK_WIRE_H */
