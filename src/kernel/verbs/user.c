// SPDX-License-Identifier: GPL-2.0 OR BSD-3-Clause
/*
 * A user id on a port of a device: protection domain and registration queue
 * pair.
 *
 * The memory of one user id and the data lanes that reach it share a PD, so no
 * lane of another user id can reach it, whatever keys go round. There is one
 * struct bulk_user per device, port and user id. It lives as long as somebody
 * uses the PD: every MR set of that user's regions and every data lane holds a
 * reference; each bulk_user holds the device's verbs.
 *
 * Fast registration needs a queue pair of the MR's PD in RTS. Data lanes come
 * and go with other hosts, so registration has a queue pair of its own: a
 * small RC queue pair connected to itself, made with the first registration.
 * It never sends a packet, and has no remote access rights: a forged packet
 * that hits it reads and writes nothing. One work request is outstanding at a
 * time and is waited for, hence there is never anything to drain. A failed one
 * leaves the queue pair in error: it is destroyed and the next registration
 * makes a new one.
 *
 * Locks: dev->users_mutex protects dev->users and the last put; user->reg_mutex the
 * registration queue pair. Everything is called in process context and may
 * sleep; completions come in softirq.
 *
 * iWARP cannot connect a queue pair to itself without a second endpoint of its
 * stream; regions with remote access are refused there for now.
 */

#include <linux/etherdevice.h>
#include <rdma/ib_cache.h>

#include "verbs/verbs.h"

#define BULK_REG_CQE	8

struct bulk_reg_wait {
	struct ib_cqe		cqe;
	struct completion	done;
	enum ib_wc_status	status;
};

static void bulk_reg_done(struct ib_cq *cq, struct ib_wc *wc)
{
	struct bulk_reg_wait *wait = container_of(wc->wr_cqe, struct bulk_reg_wait, cqe);

	wait->status = wc->status;
	complete(&wait->done);
}

static void bulk_user_destroy_qp(struct bulk_user *user)
{
	if (user->reg_qp)
		ib_destroy_qp(user->reg_qp);
	user->reg_qp = NULL;
	if (user->reg_cq)
		ib_free_cq(user->reg_cq);
	user->reg_cq = NULL;
}

/* A GID of the port to talk to oneself with; RoCEv2 preferred. */
static const struct ib_gid_attr *
bulk_user_find_gid(struct ib_device *ibdev, u8 port, int gids, u8 *mac)
{
	const struct ib_gid_attr *gid, *best = NULL;
	u8 gid_mac[ETH_ALEN];
	int i;

	for (i = 0; i < gids; i++) {
		gid = rdma_get_gid_attr(ibdev, port, i);
		if (IS_ERR(gid))
			continue;
		if (rdma_read_gid_l2_fields(gid, NULL, gid_mac) ||
		    (best && gid->gid_type != IB_GID_TYPE_ROCE_UDP_ENCAP)) {
			rdma_put_gid_attr(gid);
			continue;
		}
		if (best)
			rdma_put_gid_attr(best);
		best = gid;
		ether_addr_copy(mac, gid_mac);
		if (gid->gid_type == IB_GID_TYPE_ROCE_UDP_ENCAP)
			break;
	}
	return best;
}

/* The way from the port to itself. Undone by rdma_destroy_ah_attr(). */
static int bulk_user_loop_ah(struct bulk_user *user, const struct ib_port_attr *port,
			     struct rdma_ah_attr *ah)
{
	struct ib_device *ibdev = user->dev->ibdev;
	const struct ib_gid_attr *gid = NULL;
	union ib_gid dgid;

	ah->type = rdma_ah_find_type(ibdev, user->port);
	rdma_ah_set_port_num(ah, user->port);

	if (ah->type == RDMA_AH_ATTR_TYPE_ROCE) {
		gid = bulk_user_find_gid(ibdev, user->port, port->gid_tbl_len,
					 ah->roce.dmac);
		if (!gid)
			return -ENETUNREACH;
	} else {
		if (!port->lid)
			return -ENETDOWN;
		rdma_ah_set_dlid(ah, port->lid);
		if (rdma_is_grh_required(ibdev, user->port)) {
			gid = rdma_get_gid_attr(ibdev, user->port, 0);
			if (IS_ERR(gid))
				return PTR_ERR(gid);
		}
	}
	if (gid) {
		dgid = gid->gid;
		rdma_move_grh_sgid_attr(ah, &dgid, 0, 64, 0, gid);
	}
	return 0;
}

static int bulk_user_connect_qp(struct bulk_user *user)
{
	struct ib_qp *qp = user->reg_qp;
	struct ib_port_attr port;
	struct ib_qp_attr attr = {};
	int err;

	err = ib_query_port(qp->device, user->port, &port);
	if (err)
		return err;

	attr.qp_state = IB_QPS_INIT;
	attr.port_num = user->port;
	err = ib_modify_qp(qp, &attr, IB_QP_STATE | IB_QP_PKEY_INDEX | IB_QP_PORT |
			   IB_QP_ACCESS_FLAGS);
	if (err)
		return err;

	attr.qp_state = IB_QPS_RTR;
	attr.path_mtu = port.active_mtu;
	attr.dest_qp_num = qp->qp_num;
	attr.max_dest_rd_atomic = 1;
	attr.min_rnr_timer = 12;
	err = bulk_user_loop_ah(user, &port, &attr.ah_attr);
	if (err)
		return err;
	err = ib_modify_qp(qp, &attr, IB_QP_STATE | IB_QP_AV | IB_QP_PATH_MTU |
			   IB_QP_DEST_QPN | IB_QP_RQ_PSN |
			   IB_QP_MAX_DEST_RD_ATOMIC | IB_QP_MIN_RNR_TIMER);
	rdma_destroy_ah_attr(&attr.ah_attr);
	if (err)
		return err;

	attr.qp_state = IB_QPS_RTS;
	attr.timeout = 14;
	attr.retry_cnt = 7;
	attr.rnr_retry = 7;
	attr.max_rd_atomic = 1;
	return ib_modify_qp(qp, &attr, IB_QP_STATE | IB_QP_TIMEOUT | IB_QP_RETRY_CNT |
			    IB_QP_RNR_RETRY | IB_QP_SQ_PSN | IB_QP_MAX_QP_RD_ATOMIC);
}

static int bulk_user_create_qp(struct bulk_user *user)
{
	struct ib_device *ibdev = user->dev->ibdev;
	struct ib_qp_init_attr init = {
		.qp_type	= IB_QPT_RC,
		.sq_sig_type	= IB_SIGNAL_REQ_WR,
		.port_num	= user->port,
		.cap = {
			.max_send_wr	= 2,
			.max_recv_wr	= 1,
			.max_send_sge	= 1,
			.max_recv_sge	= 1,
		},
	};
	int err;

	user->reg_cq = ib_alloc_cq(ibdev, user, BULK_REG_CQE, 0, IB_POLL_SOFTIRQ);
	if (IS_ERR(user->reg_cq)) {
		err = PTR_ERR(user->reg_cq);
		user->reg_cq = NULL;
		return err;
	}
	init.send_cq = user->reg_cq;
	init.recv_cq = user->reg_cq;
	user->reg_qp = ib_create_qp(user->pd, &init);
	if (IS_ERR(user->reg_qp)) {
		err = PTR_ERR(user->reg_qp);
		user->reg_qp = NULL;
		goto destroy;
	}
	err = bulk_user_connect_qp(user);
	if (!err)
		return 0;

	pr_warn_ratelimited("%s:%u: cannot connect the registration queue pair: %d\n",
			    dev_name(&ibdev->dev), user->port, err);
destroy:
	bulk_user_destroy_qp(user);
	return err;
}

/* -EAGAIN: the queue pair was in error before */
static int bulk_user_post_reg(struct bulk_user *user, struct ib_mr *mr, int access)
{
	struct bulk_reg_wait wait = { .cqe.done = bulk_reg_done };
	struct ib_reg_wr wr = {
		.wr.wr_cqe	= &wait.cqe,
		.wr.opcode	= IB_WR_REG_MR,
		.wr.send_flags	= IB_SEND_SIGNALED,
		.mr		= mr,
		.key		= mr->rkey,
		.access		= access,
	};
	int err;

	init_completion(&wait.done);
	err = ib_post_send(user->reg_qp, &wr.wr, NULL);
	if (err)
		return -EAGAIN;
	wait_for_completion(&wait.done);

	switch (wait.status) {
	case IB_WC_SUCCESS:
		return 0;
	case IB_WC_WR_FLUSH_ERR:
		return -EAGAIN;
	default:
		pr_warn_ratelimited("%s:%u: registration failed: %s\n",
				    dev_name(&user->dev->ibdev->dev), user->port,
				    ib_wc_status_msg(wait.status));
		return -EIO;
	}
}

/**
 * bulk_user_reg_mr - register a memory region and wait for it
 * @user: of the PD that @mr belongs to
 * @mr: from ib_alloc_mr(), mapped by ib_map_mr_sg(), iova set
 * @access: IB_ACCESS_*
 *
 * After an error @mr may or may not be valid and must be deregistered.
 *
 * Context: process, sleeps for the completion.
 * Return: 0; -EOPNOTSUPP on iWARP; -EIO if the registration failed, or the
 * errno of making the queue pair.
 */
int bulk_user_reg_mr(struct bulk_user *user, struct ib_mr *mr, int access)
{
	struct ib_device *ibdev = user->dev->ibdev;
	int err = -EAGAIN;
	int try;

	if (rdma_protocol_iwarp(ibdev, user->port)) {
		pr_notice_ratelimited("%s:%u: memory registration is not supported on iWARP\n",
				      dev_name(&ibdev->dev), user->port);
		return -EOPNOTSUPP;
	}

	mutex_lock(&user->reg_mutex);
	for (try = 0; try < 2 && err == -EAGAIN; try++) {
		if (!user->reg_qp) {
			err = bulk_user_create_qp(user);
			if (err)
				break;
		}
		err = bulk_user_post_reg(user, mr, access);
		if (err)
			bulk_user_destroy_qp(user);
	}
	mutex_unlock(&user->reg_mutex);
	return err == -EAGAIN ? -EIO : err;
}

/**
 * bulk_user_get - find or make a user id on a port
 * @dev: device
 * @port: of the device
 * @uid: user id
 *
 * Context: process, may sleep; takes dev->users_mutex.
 * Return: a reference, which holds the verbs of @dev; ERR_PTR(-ENODEV) if the
 * device is going, or the errno of making the PD.
 */
struct bulk_user *bulk_user_get(struct bulk_dev *dev, u8 port, kuid_t uid)
{
	struct bulk_user *user;
	int err;

	if (!bulk_dev_verbs_get(dev))
		return ERR_PTR(-ENODEV);

	mutex_lock(&dev->users_mutex);
	list_for_each_entry(user, &dev->users, list) {
		/* On the list: not put for the last time yet. */
		if (user->port == port && uid_eq(user->uid, uid)) {
			refcount_inc(&user->refs);
			mutex_unlock(&dev->users_mutex);
			bulk_dev_verbs_put(dev);
			return user;
		}
	}

	user = kzalloc(sizeof(*user), GFP_KERNEL_ACCOUNT);
	if (!user) {
		err = -ENOMEM;
		goto unlock;
	}
	user->pd = ib_alloc_pd(dev->ibdev, 0);
	if (IS_ERR(user->pd)) {
		err = PTR_ERR(user->pd);
		goto free_user;
	}
	refcount_set(&user->refs, 1);
	user->dev = dev;
	user->uid = uid;
	user->port = port;
	mutex_init(&user->reg_mutex);
	INIT_LIST_HEAD(&user->mrsets);
	list_add(&user->list, &dev->users);
	mutex_unlock(&dev->users_mutex);
	return user;

free_user:
	kfree(user);
unlock:
	mutex_unlock(&dev->users_mutex);
	bulk_dev_verbs_put(dev);
	return ERR_PTR(err);
}

/**
 * bulk_user_put - give back a reference
 * @user: destroyed with the last one
 *
 * Context: process, may sleep; takes dev->users_mutex.
 */
void bulk_user_put(struct bulk_user *user)
{
	struct bulk_dev *dev = user->dev;

	if (!refcount_dec_and_mutex_lock(&user->refs, &dev->users_mutex))
		return;
	list_del(&user->list);
	mutex_unlock(&dev->users_mutex);

	WARN_ON_ONCE(!list_empty(&user->mrsets));
	bulk_user_destroy_qp(user);
	ib_dealloc_pd(user->pd);
	mutex_destroy(&user->reg_mutex);
	kfree(user);
	bulk_dev_verbs_put(dev);
}
