/* SPDX-License-Identifier: Apache-2.0
 *
 * Pool, inside: pool.c is the monitor, pool_read.c what a worker does with a batch.
 */
#ifndef SRC_VERIFY_POOL_INNER_H
#define SRC_VERIFY_POOL_INNER_H

#include "verify/pool.h"

typedef struct cf_pool_row {
    cf_file_line *line;    /* owned */
    cf_pack_state **packs; /* owned array, borrowed states */
    const char *segment;
    cf_run_id snapshot;
} cf_pool_row;

typedef struct cf_pool_batch {
    struct cf_pool_batch *next;
    size_t node;
    const char *runs_prefix;
    cf_pool_row rows[CF_POOL_BATCH_LINES];
    cf_content_item items[CF_POOL_BATCH_LINES]; /* of the same numbers */
    size_t total;
    uint64_t bytes, stored_bytes;
} cf_pool_batch;
void cf_pool_batch_free(cf_pool_batch *b);

typedef struct cf_pool_worker {
    cf_verify_pool *pool;
    pthread_t thread;
    cf_content *content; /* owned; of the node whose prefix is below */
    const char *runs_prefix;
} cf_pool_worker;

struct cf_verify_pool {
    cf_pool_opts opts;
    pthread_mutex_t lock, large; /* large: held by the one that decodes with a large window */
    pthread_cond_t work, caller;
    uint32_t sync_total; /* initialised of the four above, in that order */
    cf_pool_worker *workers;
    uint32_t started_total;
    cf_pool_batch *filling; /* the caller's */
    atomic_bool ended;
    atomic_uint_fast64_t stored_bytes, files_whole, files_part, healed;

    /* Below: under the lock. */
    bool leaving;
    cf_err failed;
    cf_error error;
    cf_pool_batch *first, *last;
    uint64_t waiting_bytes;
    uint32_t waiting_total;
    uint32_t busy;
};

CF_NODISCARD cf_err cf_pool_batch_read(cf_pool_worker *w, const cf_pool_batch *b, cf_error *e);

#endif
