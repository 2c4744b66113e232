/* SPDX-License-Identifier: GPL-2.0 OR BSD-3-Clause */
/*
 * Tracepoints, under /sys/kernel/tracing/events/rdma_bulk. One for every
 * command, event, post and completion, and for every step in the life of links,
 * lanes, keys, regions and channels. Objects that have no number of their own
 * are told apart by their (hashed) addresses.
 *
 * All may be called in any context and under any lock.
 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM rdma_bulk

#if !defined(_RDMA_BULK_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define _RDMA_BULK_TRACE_H

#include <linux/tracepoint.h>
#include <rdma/ib_cm.h>
#include <rdma/ib_verbs.h>
#include <trace/misc/rdma.h>

#include "base/base.h"
#include "base/compat.h"

struct bulk_channel;
struct bulk_smbd;

#define show_bulk_op(x)						\
	__print_symbolic(x,					\
		{ RDMA_BULK_OP_SEND,		"SEND" },	\
		{ RDMA_BULK_OP_PUT,		"PUT" },	\
		{ RDMA_BULK_OP_GET,		"GET" },	\
		{ RDMA_BULK_OP_FLUSH,		"FLUSH" },	\
		{ RDMA_BULK_OP_RETURN,		"RETURN" })

#define show_bulk_local(x)					\
	__print_symbolic(x,					\
		{ RDMA_BULK_LOCAL_USER,		"user" },	\
		{ RDMA_BULK_LOCAL_SLOT,		"slot" },	\
		{ RDMA_BULK_LOCAL_REGION,	"region" })

#define show_bulk_event(x)					\
	__print_symbolic(x,					\
		{ RDMA_BULK_EV_DONE,		"DONE" },	\
		{ RDMA_BULK_EV_RECV,		"RECV" },	\
		{ RDMA_BULK_EV_EP_UP,		"EP_UP" },	\
		{ RDMA_BULK_EV_EP_DOWN,		"EP_DOWN" },	\
		{ RDMA_BULK_EV_WRITABLE,	"WRITABLE" },	\
		{ RDMA_BULK_EV_RX_LOW,		"RX_LOW" },	\
		{ RDMA_BULK_EV_REMOVED,		"REMOVED" })

TRACE_DEFINE_ENUM(BULK_HELLO);
TRACE_DEFINE_ENUM(BULK_LANE_WANT);
TRACE_DEFINE_ENUM(BULK_LANE_OFFER);
TRACE_DEFINE_ENUM(BULK_OPEN);
TRACE_DEFINE_ENUM(BULK_OPENED);
TRACE_DEFINE_ENUM(BULK_REFUSED);
TRACE_DEFINE_ENUM(BULK_CLOSED);
TRACE_DEFINE_ENUM(BULK_WINDOW);
TRACE_DEFINE_ENUM(BULK_KEY_RESOLVE);
TRACE_DEFINE_ENUM(BULK_KEY_RESOLVED);
TRACE_DEFINE_ENUM(BULK_KEY_REFUSED);
TRACE_DEFINE_ENUM(BULK_KEY_REVOKE);
TRACE_DEFINE_ENUM(BULK_KEY_REVOKED);
TRACE_DEFINE_ENUM(BULK_MESSAGE);
TRACE_DEFINE_ENUM(BULK_ACK);

#define show_bulk_type(x)					\
	__print_symbolic(x,					\
		{ BULK_HELLO,			"HELLO" },	\
		{ BULK_LANE_WANT,		"LANE_WANT" },	\
		{ BULK_LANE_OFFER,		"LANE_OFFER" },	\
		{ BULK_OPEN,			"OPEN" },	\
		{ BULK_OPENED,			"OPENED" },	\
		{ BULK_REFUSED,			"REFUSED" },	\
		{ BULK_CLOSED,			"CLOSED" },	\
		{ BULK_WINDOW,			"WINDOW" },	\
		{ BULK_KEY_RESOLVE,		"KEY_RESOLVE" },	\
		{ BULK_KEY_RESOLVED,		"KEY_RESOLVED" },	\
		{ BULK_KEY_REFUSED,		"KEY_REFUSED" },	\
		{ BULK_KEY_REVOKE,		"KEY_REVOKE" },	\
		{ BULK_KEY_REVOKED,		"KEY_REVOKED" },	\
		{ BULK_MESSAGE,			"MESSAGE" },	\
		{ BULK_ACK,			"ACK" })

/* ---- channels ---- */

/* A step in a channel's life: "bind", "grow", "removed", "kill", "free". */
TRACE_EVENT(bulk_channel,
	TP_PROTO(const struct bulk_channel *ch, u32 rx_slots, u32 tx_slots, u32 commands,
		 const char *step),
	TP_ARGS(ch, rx_slots, tx_slots, commands, step),
	TP_STRUCT__entry(
		__field(const void *, ch)
		__field(u32, rx_slots)
		__field(u32, tx_slots)
		__field(u32, commands)
		__string(step, step)
	),
	TP_fast_assign(
		__entry->ch = ch;
		__entry->rx_slots = rx_slots;
		__entry->tx_slots = tx_slots;
		__entry->commands = commands;
		__assign_str(step);
	),
	TP_printk("ch=%p %s rx_slots=%u tx_slots=%u commands=%u", __entry->ch,
		  __get_str(step), __entry->rx_slots, __entry->tx_slots,
		  __entry->commands)
);

/* A command was accepted (@ret 0) or refused. */
TRACE_EVENT(bulk_command,
	TP_PROTO(const struct bulk_channel *ch, const struct rdma_bulk_cmd *cmd,
		 int ret),
	TP_ARGS(ch, cmd, ret),
	TP_STRUCT__entry(
		__field(const void *, ch)
		__field(u32, ep)
		__field(u8, op)
		__field(u8, kind)
		__field(u16, flags)
		__field(u64, user_data)
		__field(u64, length)
		__field(int, ret)
	),
	TP_fast_assign(
		__entry->ch = ch;
		__entry->ep = cmd->ep;
		__entry->op = cmd->op;
		__entry->kind = cmd->local_kind;
		__entry->flags = cmd->flags;
		__entry->user_data = cmd->user_data;
		__entry->length = cmd->length;
		__entry->ret = ret;
	),
	TP_printk("ch=%p ep=%u %s from %s flags=%#x length=%llu user_data=%#llx ret=%d",
		  __entry->ch, __entry->ep, show_bulk_op(__entry->op),
		  show_bulk_local(__entry->kind), __entry->flags, __entry->length,
		  __entry->user_data, __entry->ret)
);

/* An event was written to a channel's ring, at @index. */
TRACE_EVENT(bulk_event,
	TP_PROTO(const struct bulk_channel *ch, u32 index, const struct rdma_bulk_event *ev),
	TP_ARGS(ch, index, ev),
	TP_STRUCT__entry(
		__field(const void *, ch)
		__field(u32, index)
		__field(u32, ep)
		__field(u16, type)
		__field(u16, id)
		__field(int, result)
		__field(u32, slot)
		__field(u64, length)
		__field(u64, user_data)
	),
	TP_fast_assign(
		__entry->ch = ch;
		__entry->index = index;
		__entry->ep = ev->ep;
		__entry->type = ev->type;
		__entry->id = ev->id;
		__entry->result = ev->result;
		__entry->slot = ev->slot;
		__entry->length = ev->length;
		__entry->user_data = ev->user_data;
	),
	TP_printk("ch=%p [%u] %s ep=%u result=%d slot=%d id=%u length=%llu user_data=%#llx",
		  __entry->ch, __entry->index, show_bulk_event(__entry->type),
		  __entry->ep, __entry->result, (int)__entry->slot, __entry->id,
		  __entry->length, __entry->user_data)
);

/* ---- queue pairs: SMB-Direct and RDMA ---- */

/* An SMB-Direct message of @len bytes was handed to the send queue. */
TRACE_EVENT(bulk_post_send,
	TP_PROTO(const struct bulk_smbd *smbd, u32 len, u32 credits, u32 sq_free),
	TP_ARGS(smbd, len, credits, sq_free),
	TP_STRUCT__entry(
		__field(const void *, smbd)
		__field(u32, len)
		__field(u32, credits)
		__field(u32, sq_free)
	),
	TP_fast_assign(
		__entry->smbd = smbd;
		__entry->len = len;
		__entry->credits = credits;
		__entry->sq_free = sq_free;
	),
	TP_printk("smbd=%p len=%u credits=%u sq_free=%u", __entry->smbd,
		  __entry->len, __entry->credits, __entry->sq_free)
);

/* RDMA of @bytes bytes, or registrations, were handed to the send queue. */
TRACE_EVENT(bulk_post_rdma,
	TP_PROTO(const struct bulk_smbd *smbd, u32 opcode, u64 bytes, u32 sq_free),
	TP_ARGS(smbd, opcode, bytes, sq_free),
	TP_STRUCT__entry(
		__field(const void *, smbd)
		__field(u32, opcode)
		__field(u64, bytes)
		__field(u32, sq_free)
	),
	TP_fast_assign(
		__entry->smbd = smbd;
		__entry->opcode = opcode;
		__entry->bytes = bytes;
		__entry->sq_free = sq_free;
	),
	TP_printk("smbd=%p opcode=%u bytes=%llu sq_free=%u", __entry->smbd,
		  __entry->opcode, __entry->bytes, __entry->sq_free)
);

TRACE_EVENT(bulk_completion,
	TP_PROTO(const struct bulk_smbd *smbd, enum ib_wc_status status, u64 bytes),
	TP_ARGS(smbd, status, bytes),
	TP_STRUCT__entry(
		__field(const void *, smbd)
		__field(u32, status)
		__field(u64, bytes)
	),
	TP_fast_assign(
		__entry->smbd = smbd;
		__entry->status = status;
		__entry->bytes = bytes;
	),
	TP_printk("smbd=%p bytes=%llu %s", __entry->smbd, __entry->bytes,
		  rdma_show_wc_status(__entry->status))
);

/* A receive completed: a PDU of @len bytes with so many new credits. */
TRACE_EVENT(bulk_receive,
	TP_PROTO(const struct bulk_smbd *smbd, enum ib_wc_status status, u32 len,
		 u32 granted),
	TP_ARGS(smbd, status, len, granted),
	TP_STRUCT__entry(
		__field(const void *, smbd)
		__field(u32, status)
		__field(u32, len)
		__field(u32, granted)
	),
	TP_fast_assign(
		__entry->smbd = smbd;
		__entry->status = status;
		__entry->len = len;
		__entry->granted = granted;
	),
	TP_printk("smbd=%p len=%u granted=%u %s", __entry->smbd, __entry->len,
		  __entry->granted, rdma_show_wc_status(__entry->status))
);

DECLARE_EVENT_CLASS(bulk_object_class,
	TP_PROTO(const void *object, int result),
	TP_ARGS(object, result),
	TP_STRUCT__entry(
		__field(const void *, object)
		__field(int, result)
	),
	TP_fast_assign(
		__entry->object = object;
		__entry->result = result;
	),
	TP_printk("%p result=%d", __entry->object, __entry->result)
);

#define DEFINE_BULK_OBJECT_EVENT(name)					\
	DEFINE_EVENT(bulk_object_class, name,				\
		TP_PROTO(const void *object, int result),		\
		TP_ARGS(object, result))

/* First failure of a lane's queue pair (struct bulk_smbd), errno. */
DEFINE_BULK_OBJECT_EVENT(bulk_smbd_failed);
/* Its negotiation is over. */
DEFINE_BULK_OBJECT_EVENT(bulk_smbd_ready);
/* The peer may have more messages under way from now on: so many. */
DEFINE_BULK_OBJECT_EVENT(bulk_smbd_credits);
/* It is drained and freed. */
DEFINE_BULK_OBJECT_EVENT(bulk_smbd_destroyed);
/* The peer was silent for a keepalive period and is asked. */
DEFINE_BULK_OBJECT_EVENT(bulk_keepalive);

/* ---- links and lanes ---- */

/* @state: "connecting", "hello", "ready", "failed", "free" */
TRACE_EVENT(bulk_link_state,
	TP_PROTO(const void *link, const union bulk_addr *remote,
		 const char *state, int err),
	TP_ARGS(link, remote, state, err),
	TP_STRUCT__entry(
		__field(const void *, link)
		__array(u8, remote, sizeof(union bulk_addr))
		__string(state, state)
		__field(int, err)
	),
	TP_fast_assign(
		__entry->link = link;
		memcpy(__entry->remote, remote, sizeof(union bulk_addr));
		__assign_str(state);
		__entry->err = err;
	),
	TP_printk("link=%p %pISpc %s err=%d", __entry->link, __entry->remote,
		  __get_str(state), __entry->err)
);

/* @state: "asked", "connecting", "ready", "failed", "free" */
TRACE_EVENT(bulk_lane_state,
	TP_PROTO(const void *lane, const void *link, kuid_t uid,
		 const char *state, int err),
	TP_ARGS(lane, link, uid, state, err),
	TP_STRUCT__entry(
		__field(const void *, lane)
		__field(const void *, link)
		__field(u32, uid)
		__string(state, state)
		__field(int, err)
	),
	TP_fast_assign(
		__entry->lane = lane;
		__entry->link = link;
		__entry->uid = from_kuid(&init_user_ns, uid);
		__assign_str(state);
		__entry->err = err;
	),
	TP_printk("lane=%p link=%p uid=%u %s err=%d", __entry->lane, __entry->link,
		  __entry->uid, __get_str(state), __entry->err)
);

DECLARE_EVENT_CLASS(bulk_control_class,
	TP_PROTO(const void *link, u8 type, u32 len),
	TP_ARGS(link, type, len),
	TP_STRUCT__entry(
		__field(const void *, link)
		__field(u8, type)
		__field(u32, len)
	),
	TP_fast_assign(
		__entry->link = link;
		__entry->type = type;
		__entry->len = len;
	),
	TP_printk("link=%p %s len=%u", __entry->link, show_bulk_type(__entry->type),
		  __entry->len)
);

#define DEFINE_BULK_CONTROL_EVENT(name)					\
	DEFINE_EVENT(bulk_control_class, name,				\
		TP_PROTO(const void *link, u8 type, u32 len),		\
		TP_ARGS(link, type, len))

/* A control message is queued, or has come (@len: of the whole message). */
DEFINE_BULK_CONTROL_EVENT(bulk_control_send);
DEFINE_BULK_CONTROL_EVENT(bulk_control_receive);

/* ---- messages ---- */

DECLARE_EVENT_CLASS(bulk_message_class,
	TP_PROTO(const void *lane, u32 target, u16 id, u64 seq, u64 ack, u32 len),
	TP_ARGS(lane, target, id, seq, ack, len),
	TP_STRUCT__entry(
		__field(const void *, lane)
		__field(u32, target)
		__field(u16, id)
		__field(u64, seq)
		__field(u64, ack)
		__field(u32, len)
	),
	TP_fast_assign(
		__entry->lane = lane;
		__entry->target = target;
		__entry->id = id;
		__entry->seq = seq;
		__entry->ack = ack;
		__entry->len = len;
	),
	TP_printk("lane=%p target=%u id=%u seq=%llu ack=%llu len=%u",
		  __entry->lane, __entry->target, __entry->id, __entry->seq,
		  __entry->ack, __entry->len)
);

#define DEFINE_BULK_MESSAGE_EVENT(name)					\
	DEFINE_EVENT(bulk_message_class, name,				\
		TP_PROTO(const void *lane, u32 target, u16 id, u64 seq,	\
			 u64 ack, u32 len),				\
		TP_ARGS(lane, target, id, seq, ack, len))

DEFINE_BULK_MESSAGE_EVENT(bulk_message_send);
DEFINE_BULK_MESSAGE_EVENT(bulk_message_receive);

/* ---- endpoints ---- */

/* @step: "open", "up", "down", "close", "writable" */
TRACE_EVENT(bulk_endpoint,
	TP_PROTO(const struct bulk_channel *ch, u32 handle, const char *step,
		 int err),
	TP_ARGS(ch, handle, step, err),
	TP_STRUCT__entry(
		__field(const void *, ch)
		__field(u32, handle)
		__string(step, step)
		__field(int, err)
	),
	TP_fast_assign(
		__entry->ch = ch;
		__entry->handle = handle;
		__assign_str(step);
		__entry->err = err;
	),
	TP_printk("ch=%p ep=%u %s err=%d", __entry->ch, __entry->handle,
		  __get_str(step), __entry->err)
);

/* ---- regions and keys ---- */

/*
 * A step in a region's life: "register", "map" (MRs on a device), "revoke",
 * "fence", "dead".
 */
TRACE_EVENT(bulk_region,
	TP_PROTO(const struct bulk_key *key, u32 handle, u32 access, u64 addr, u64 length,
		 const char *step, int err),
	TP_ARGS(key, handle, access, addr, length, step, err),
	TP_STRUCT__entry(
		__field(u32, id)
		__field(u32, generation)
		__field(u32, handle)
		__field(u32, access)
		__field(u64, addr)
		__field(u64, length)
		__string(step, step)
		__field(int, err)
	),
	TP_fast_assign(
		__entry->id = le32_to_cpu(key->id);
		__entry->generation = le32_to_cpu(key->generation);
		__entry->handle = handle;
		__entry->access = access;
		__entry->addr = addr;
		__entry->length = length;
		__assign_str(step);
		__entry->err = err;
	),
	TP_printk("region=%u.%u handle=%u %s addr=%#llx length=%llu access=%#x err=%d",
		  __entry->id, __entry->generation, __entry->handle,
		  __get_str(step), __entry->addr, __entry->length, __entry->access,
		  __entry->err)
);

/*
 * What a link's two hosts tell each other about a key (never its secret), seen
 * by either: "resolve", "resolved", "refused", "grant", "revoke", "revoked".
 */
TRACE_EVENT(bulk_key,
	TP_PROTO(const void *link, u32 id, u32 generation, const char *step),
	TP_ARGS(link, id, generation, step),
	TP_STRUCT__entry(
		__field(const void *, link)
		__field(u32, id)
		__field(u32, generation)
		__string(step, step)
	),
	TP_fast_assign(
		__entry->link = link;
		__entry->id = id;
		__entry->generation = generation;
		__assign_str(step);
	),
	TP_printk("link=%p region=%u.%u %s", __entry->link, __entry->id,
		  __entry->generation, __get_str(step))
);

#endif /* _RDMA_BULK_TRACE_H */

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH base
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
