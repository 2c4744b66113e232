/* SPDX-License-Identifier: GPL-2.0 OR BSD-3-Clause */
/*
 * What smbd.c, qp.c, connect.c and listen.c share with each other only.
 */
#ifndef _RDMA_BULK_CONN_SMBD_H
#define _RDMA_BULK_CONN_SMBD_H

#include "conn/conn.h"

#define BULK_SMBD_GRANT_WRS	2	/* work requests kept for granting */

/* smbd.c */
void bulk_smbd_send_done(struct ib_cq *cq, struct ib_wc *wc);
void bulk_smbd_recv_done(struct ib_cq *cq, struct ib_wc *wc);
void bulk_smbd_keepalive_work(struct work_struct *work);
void bulk_smbd_grow_work(struct work_struct *work);

/* qp.c; smbd->lock held, but for bulk_smbd_sync_recv() and the making and freeing */
struct bulk_wr *bulk_smbd_take_wr(struct bulk_smbd *smbd, u32 places, u32 keep);
int bulk_smbd_post_recv(struct bulk_smbd *smbd, struct bulk_rbuf *rbuf);
void bulk_smbd_sync_recv(struct bulk_smbd *smbd, struct bulk_rbuf *rbuf, u32 len);
struct bulk_rbatch *bulk_smbd_make_batch(struct bulk_smbd *smbd);
void bulk_smbd_free_batch(struct bulk_rbatch *batch, struct ib_device *ibdev);
int bulk_smbd_post_batch(struct bulk_smbd *smbd, struct bulk_rbatch *batch);

/* connect.c */
int bulk_conn_make(struct bulk_conn *conn, bool active);
void bulk_conn_param(struct bulk_conn *conn, struct rdma_conn_param *param);

#endif /* _RDMA_BULK_CONN_SMBD_H */
