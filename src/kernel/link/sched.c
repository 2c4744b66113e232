// SPDX-License-Identifier: GPL-2.0 OR BSD-3-Clause
/*
 * Data lanes: whose turn it is, and what all of a lane's streams share
 *
 * A lane schedules streams of transfers and knows nothing of what they are: who has
 * streams on it has handed in a struct bulk_lane_ops. A stream with something to post is
 * on lane->active, and gets its turns round robin. One that cannot go on at the moment moves
 * to the list of those that wait for the same (lane->waiting[]). A pump takes from these as
 * many as can go on, in the order of coming, and before those that are active: it looks at no
 * stream in vain but the first of each list. A stream posts its
 * transfers strictly in order on one queue pair: that, and RC's own ordering, is what keeps
 * messages in order and makes a WRITE visible before a later message.
 *
 * Messages carry a sequence number of the lane and acknowledge what has come. Small ones are
 * copied and share a PDU with all that the lane's streams have at the moment. If as many
 * PDUs as there are buffers are under way, they wait for the end of one and are more by
 * then. A PDU that is being filled is posted before anything else is.
 *
 * Not more than SCHED_INFLIGHT bytes of all streams are under way in each direction: a
 * message that is posted behind them waits for them (for READs as well, where a device
 * has a limit of packets without an answer). It is twice as much while there are no
 * messages. A piece of RDMA should be a quarter of that (WRITE) or half of it (READ).
 *
 * Locks: the lane's lock (bulk_lane_lock()) covers it all; pumping happens in the submitting
 * process and in the completions' context.
 */
#include "base/trace.h"
#include "link/private.h"

#define SCHED_INFLIGHT	(1u << 20)	/* bytes under way in each direction */
#define SCHED_ALONE	(HZ / 10)	/* without a message: twice as many */
#define SCHED_SMALL	512		/* bytes of a small message */
#define SCHED_ACK_EVERY	32		/* messages */

static const struct bulk_lane_ops *lane_ops;

/**
 * bulk_lane_serve - who has streams on lanes
 * @ops: what lanes ask of them
 *
 * Context: module load, before there are lanes.
 */
void bulk_lane_serve(const struct bulk_lane_ops *ops)
{
	lane_ops = ops;
}

static struct bulk_lane *smbd_lane(struct bulk_smbd *smbd)
{
	return container_of(smbd, struct bulk_lane, conn.smbd);
}

/* ------------------------------------------------------------------ small messages */

static void gather_done(struct bulk_wr *wr, enum ib_wc_status status)
{
	struct bulk_lane *lane = smbd_lane(wr->smbd);
	struct bulk_gather *gather = wr->priv;
	struct bulk_tx *tx, *next;
	LIST_HEAD(ended);

	spin_lock_bh(bulk_lane_lock(lane));
	list_for_each_entry_safe(tx, next, &gather->ops, list) {
		list_del_init(&tx->list);
		lane_ops->done(tx, status, &ended);
	}
	list_add(&gather->list, &wr->smbd->gathers);
	spin_unlock_bh(bulk_lane_lock(lane));
	if (!list_empty(&ended))
		lane_ops->finish(&ended);
}

/* Post the PDU of small messages that is being filled, if there is one. */
static void gather_post(struct bulk_lane *lane)
{
	struct bulk_smbd *smbd = &lane->conn.smbd;
	struct bulk_gather *gather = lane->gather;
	struct bulk_wr *wr = lane->gather_wr;
	struct ib_sge sge;

	if (!gather)
		return;
	lane->gather = NULL;
	wr->priv = gather;
	wr->done = gather_done;
	wr->bytes = gather->len;
	sge.addr = gather->dma;
	sge.length = gather->len;
	sge.lkey = smbd->pd->local_dma_lkey;
	ib_dma_sync_single_for_device(smbd->ibdev, sge.addr, sge.length, DMA_TO_DEVICE);
	bulk_smbd_send(smbd, wr, 0, &sge, 1, gather->len);
}

/* Make lane->gather have room for @bytes. */
static enum bulk_turn gather_room(struct bulk_lane *lane, u32 bytes)
{
	struct bulk_smbd *smbd = &lane->conn.smbd;
	struct bulk_gather *gather = lane->gather;

	if (gather && ALIGN(gather->len, 8) + bytes > BULK_GATHER_BYTES)
		gather_post(lane);
	if (lane->gather)
		return BULK_TURN_OK;
	if (!bulk_smbd_can_send(smbd)) {
		bulk_smbd_starved(smbd);
		return BULK_TURN_CREDIT;
	}
	gather = list_first_entry_or_null(&smbd->gathers, struct bulk_gather, list);
	if (!gather)	/* what comes until one has ended will share the next */
		return BULK_TURN_BUFFER;
	lane->gather_wr = bulk_smbd_get_wr(smbd, 1);
	if (!lane->gather_wr)
		return BULK_TURN_FULL;
	list_del(&gather->list);
	gather->len = 0;
	lane->gather = gather;
	return BULK_TURN_OK;
}

/**
 * bulk_lane_small - does a message share a PDU with others?
 * @lane: lane of a READY link
 * @len: bytes of its payload
 *
 * Return: true if it is for bulk_lane_gather(), false for bulk_lane_begin().
 */
bool bulk_lane_small(const struct bulk_lane *lane, u64 len)
{
	return len <= SCHED_SMALL && lane->link->features & BULK_FEATURE_GATHER;
}

/**
 * bulk_lane_gather - post a small message
 * @lane: its lock held, in a stream's turn
 * @tx: the message's, off the stream's queue on success; ops->done() follows
 * @len: bytes of its payload
 * @m: out: where its header, numbered, and behind it the payload is to be put
 *
 * Return: BULK_TURN_OK, or what the turn ends with.
 */
enum bulk_turn bulk_lane_gather(struct bulk_lane *lane, struct bulk_tx *tx, u32 len,
				struct bulk_message **m)
{
	enum bulk_turn r = gather_room(lane, sizeof(**m) + len);
	struct bulk_gather *gather = lane->gather;
	u32 off;

	if (r != BULK_TURN_OK)
		return r;
	off = ALIGN(gather->len, 8);
	memset(gather->buf + gather->len, 0, off - gather->len);
	*m = gather->buf + off;
	bulk_lane_number(lane, *m, len);
	gather->len = off + sizeof(**m) + len;
	list_move_tail(&tx->list, &gather->ops);
	return BULK_TURN_OK;
}

/* ------------------------------------------------------------------ posting */

/**
 * bulk_lane_number - make the header of the lane's next message
 * @lane: its lock held
 * @m: filled in but for flags, target and id
 * @len: bytes of the payload
 */
void bulk_lane_number(struct bulk_lane *lane, struct bulk_message *m, u32 len)
{
	memset(m, 0, sizeof(*m));
	m->h.type = BULK_MESSAGE;
	m->h.length = cpu_to_le32(sizeof(*m) + len);
	m->seq = cpu_to_le64(++lane->tx_seq);
	lane->told = READ_ONCE(lane->rx_seq);
	lane->messaged = jiffies;
	m->ack = cpu_to_le64(lane->told);
}

/**
 * bulk_lane_begin - a PDU of its own for a message
 * @lane: its lock held, in a stream's turn
 * @wr: out: for bulk_smbd_send(), or bulk_smbd_put_wr()
 *
 * Return: BULK_TURN_OK, or what the turn ends with.
 */
enum bulk_turn bulk_lane_begin(struct bulk_lane *lane, struct bulk_wr **wr)
{
	struct bulk_smbd *smbd = &lane->conn.smbd;

	gather_post(lane);
	if (!bulk_smbd_can_send(smbd)) {
		bulk_smbd_starved(smbd);
		return BULK_TURN_CREDIT;
	}
	*wr = bulk_smbd_get_wr(smbd, 1);
	return *wr ? BULK_TURN_OK : BULK_TURN_FULL;
}

/**
 * bulk_lane_limit - bytes of RDMA that may be under way in each direction
 * @lane: its lock held
 *
 * Return: bytes. Half of that is a turn.
 */
u32 bulk_lane_limit(const struct bulk_lane *lane)
{
	bool alone = time_after(jiffies, lane->messaged + SCHED_ALONE);

	return alone ? 2 * SCHED_INFLIGHT : SCHED_INFLIGHT;
}

/**
 * bulk_lane_rdma - post RDMA
 * @lane: its lock held, in a stream's turn
 * @wr: its work request
 * @chain: ends with wr->cqe
 * @bytes: of all in it
 * @read: READ, else WRITE
 *
 * bulk_lane_rdma_ended() is due in wr->done().
 */
void bulk_lane_rdma(struct bulk_lane *lane, struct bulk_wr *wr,
		    const struct ib_send_wr *chain, u32 bytes, bool read)
{
	struct bulk_smbd *smbd = &lane->conn.smbd;

	*bulk_lane_under_way(lane, read) += bytes;
	wr->bytes = bytes;
	trace_bulk_post_rdma(smbd, chain->opcode, bytes, smbd->sq_free);
	gather_post(lane);	/* what comes first is posted first */
	bulk_smbd_post(smbd, wr, chain);
}

static void lane_ack(struct bulk_lane *lane)
{
	struct bulk_smbd *smbd = &lane->conn.smbd;
	u64 seq = READ_ONCE(lane->rx_seq);
	struct bulk_ack *m;
	struct bulk_wr *wr;

	if (seq - lane->told < SCHED_ACK_EVERY || !bulk_smbd_can_send(smbd))
		return;
	wr = bulk_smbd_get_wr(smbd, 1);
	if (!wr)
		return;
	m = wr->hdr + SMBD_DATA_OFFSET;
	memset(m, 0, sizeof(*m));
	m->h.type = BULK_ACK;
	m->h.length = cpu_to_le32(sizeof(*m));
	m->ack = cpu_to_le64(seq);
	lane->told = seq;
	bulk_smbd_send(smbd, wr, sizeof(*m), NULL, 0, 0);
}

/* May a stream that waits for this go on? */
static bool cause_is_gone(struct bulk_lane *lane, enum bulk_turn cause)
{
	struct bulk_smbd *smbd = &lane->conn.smbd;

	switch (cause) {
	case BULK_TURN_CREDIT:
		return bulk_smbd_can_send(smbd);
	case BULK_TURN_BUFFER:
		return lane->gather || !list_empty(&smbd->gathers);
	case BULK_TURN_WRITE:
	case BULK_TURN_READ:
		return *bulk_lane_under_way(lane, cause == BULK_TURN_READ) <
		       bulk_lane_limit(lane);
	default:	/* somebody says so */
		return false;
	}
}

/* Whose turn is it? Those that wait for one of @blocked cannot go on in this pump. */
static struct bulk_stream *next_stream(struct bulk_lane *lane, unsigned long blocked)
{
	enum bulk_turn cause;

	for (cause = 0; cause < BULK_TURN_CAUSES; cause++)
		if (!list_empty(&lane->waiting[cause]) && !test_bit(cause, &blocked) &&
		    cause_is_gone(lane, cause))
			return list_first_entry(&lane->waiting[cause], struct bulk_stream, sched);
	return list_first_entry_or_null(&lane->active, struct bulk_stream, sched);
}

/*
 * A stream has to wait. One that has waited for that before keeps its place, and those
 * behind it need not be asked.
 */
static void stream_waits(struct bulk_lane *lane, struct bulk_stream *stream,
			 enum bulk_turn cause, unsigned long *blocked)
{
	struct list_head *list = &lane->waiting[cause];

	if (list_empty(list) || list_first_entry(list, struct bulk_stream, sched) != stream)
		list_move_tail(&stream->sched, list);
	__set_bit(cause, blocked);
}

static void pump(struct bulk_lane *lane, bool keys)
{
	struct bulk_stream *stream;
	unsigned long blocked = 0;
	LIST_HEAD(ended);

	spin_lock_bh(bulk_lane_lock(lane));
	if (keys)
		list_splice_tail_init(&lane->waiting[BULK_TURN_KEY], &lane->active);
	while (lane->conn.smbd.state == BULK_SMBD_READY &&
	       (stream = next_stream(lane, blocked))) {
		enum bulk_turn r = lane_ops->turn(lane, stream, &ended);

		if (r == BULK_TURN_FULL)
			break;
		if (r == BULK_TURN_IDLE)
			list_del_init(&stream->sched);
		else if (r == BULK_TURN_OK)
			list_move_tail(&stream->sched, &lane->active);
		else
			stream_waits(lane, stream, r, &blocked);
	}
	gather_post(lane);
	lane_ack(lane);
	spin_unlock_bh(bulk_lane_lock(lane));
	if (!list_empty(&ended))
		lane_ops->finish(&ended);
}

/**
 * bulk_lane_pump - post what can be posted
 * @lane: the lane; its lock is taken
 *
 * Context: any.
 */
void bulk_lane_pump(struct bulk_lane *lane)
{
	pump(lane, false);
}

/**
 * bulk_lane_pump_keys - keys have come, or gone: post what can be posted
 * @lane: the lane; its lock is taken
 *
 * Context: any.
 */
void bulk_lane_pump_keys(struct bulk_lane *lane)
{
	pump(lane, true);
}

/* ------------------------------------------------------------------ receiving */

static int lane_recv_one(struct bulk_smbd *smbd, const void *data, u32 len)
{
	struct bulk_lane *lane = smbd_lane(smbd);
	const struct bulk_message *m = data;
	const struct bulk_ack *ack = data;
	u64 seq, acked;
	int err;

	if (len < sizeof(struct bulk_hdr) || le32_to_cpu(m->h.length) != len || m->h.reserved ||
	    m->h.flags & ~(m->h.type == BULK_MESSAGE ? BULK_MESSAGE_WANT : 0))
		return -EPROTO;
	if (m->h.type == BULK_ACK && len == sizeof(*ack))
		acked = le64_to_cpu(ack->ack);
	else if (m->h.type == BULK_MESSAGE && len >= sizeof(*m) && !m->reserved)
		acked = le64_to_cpu(m->ack);
	else
		return -EPROTO;

	spin_lock_bh(&smbd->lock);
	if (acked < lane->acked || acked > lane->tx_seq) {
		spin_unlock_bh(&smbd->lock);
		return -EPROTO;
	}
	lane->acked = acked;
	spin_unlock_bh(&smbd->lock);
	if (m->h.type == BULK_ACK)
		return 0;

	seq = le64_to_cpu(m->seq);
	if (seq != lane->rx_seq + 1)
		return -EPROTO;
	err = lane_ops->message(lane, m, m + 1, len - sizeof(*m));
	if (err)
		return err;
	/*
	 * Only now is it received: who waits for that frees what it was delivered to.
	 * Pairs with bulk_lane_received(): one sees the other.
	 */
	WRITE_ONCE(lane->rx_seq, seq);
	smp_mb();	/* pairs with bulk_lane_received() */
	if (READ_ONCE(lane->link->rx_waiters))
		bulk_link_kick(lane->link);
	return 0;
}

/**
 * bulk_lane_received - have all messages up to one been received?
 * @lane: lane; link->mutex held, link->rx_waiters counts the caller until they have
 * @seq: the last one's sequence number
 *
 * Return: true; or false, then the link's worker runs when more have.
 */
bool bulk_lane_received(struct bulk_lane *lane, u64 seq)
{
	smp_mb();	/* pairs with lane_recv_one() */
	return READ_ONCE(lane->rx_seq) >= seq;
}

/**
 * bulk_lane_recv - a PDU has come
 * @smbd: the lane's
 * @data: its data
 * @len: bytes
 *
 * Context: the lane's completions.
 * Return: 0, or an error that closes the lane.
 */
int bulk_lane_recv(struct bulk_smbd *smbd, const void *data, u32 len)
{
	for (;;) {
		const struct bulk_hdr *h = data;
		u32 one, step;
		int err;

		if (len < sizeof(*h))
			return -EPROTO;
		one = le32_to_cpu(h->length);
		if (one > len)
			return -EPROTO;
		err = lane_recv_one(smbd, data, one);
		if (err || one == len)
			return err;
		/* not less than a header: checked */
		step = ALIGN(one, 8);
		if (h->type != BULK_MESSAGE || step >= len)
			return -EPROTO;
		data += step;
		len -= step;
	}
}
