/* SPDX-License-Identifier: GPL-2.0 OR BSD-3-Clause */
#ifndef _RDMA_BULK_FILE_H
#define _RDMA_BULK_FILE_H

extern const struct file_operations bulk_fops;

#endif /* _RDMA_BULK_FILE_H */
