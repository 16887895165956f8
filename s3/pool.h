/* SPDX-License-Identifier: Apache-2.0
 *
 * Pool: the part buffers of a client and the threads that send them. Both are made when first
 * needed and stay: memory is buffer_total * buffer_bytes at most, threads buffer_total at most.
 */
#ifndef S3_POOL_H
#define S3_POOL_H

#include <stddef.h>
#include <stdint.h>

#include "s3/err.h"
#include "s3/s3.h"

typedef struct s3_pool s3_pool;

CF_NODISCARD cf_err s3_pool_new(s3_client *c, uint32_t buffer_total, size_t buffer_bytes,
                                s3_pool **ret, cf_error *e);
/* Lets running jobs end; NULL is fine. */
void s3_pool_free(s3_pool *p);

/* A buffer of buffer_bytes; waits for one. CF_ERR_INTERRUPTED, CF_ERR_NO_MEMORY. */
CF_NODISCARD cf_err s3_pool_take(s3_pool *p, uint8_t **ret, cf_error *e);
void s3_pool_give(s3_pool *p, uint8_t *buffer); /* NULL is fine */

/* Work for a thread; embed it. run() is called once, on a thread of the pool, and may free the job.
 */
typedef struct s3_job {
    struct s3_job *next;
    void (*run)(struct s3_job *job);
} s3_job;

/* First come, first served. CF_ERR_FAILED when no thread can be started; the job was not taken
 * then. */
CF_NODISCARD cf_err s3_pool_submit(s3_pool *p, s3_job *job, cf_error *e);

#endif
