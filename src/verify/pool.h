/* SPDX-License-Identifier: Apache-2.0
 *
 * Pool: workers that read the content of files. Lines come from one thread, in batches, so that
 * those beside each other go to one reader. What seems damaged is read again by itself before it
 * is a finding.
 */
#ifndef SRC_VERIFY_POOL_H
#define SRC_VERIFY_POOL_H

#include "pipe/content.h"
#include "verify/findings.h"
#include "verify/inventory.h"

enum {
    CF_POOL_QUEUE_BYTES = 1024 * 1024,      /* of lines that wait; one batch may have more */
    CF_POOL_BATCH_LINES = 512,              /* a batch ends behind any of these */
    CF_POOL_BATCH_BYTES = 256 * 1024,       /* of lines */
    CF_POOL_BATCH_STORED = 4 * 1024 * 1024, /* of content */
    CF_POOL_WORKER_BYTES = CF_CONTENT_BYTES + CF_POOL_BATCH_BYTES,
    CF_POOL_WORKERS_MAX = 64,
};

/* Threads that memory_bytes (0: the default) allow, and the bytes left for what is kept of the
 * repository; CF_ERR_USAGE below the minimum. Pure. */
CF_NODISCARD cf_err cf_pool_plan(uint64_t memory_bytes, uint32_t jobs, uint32_t *ret_workers,
                                 uint64_t *ret_budget_bytes, cf_error *e);

typedef struct cf_pool_opts {
    cf_store *store; /* borrowed, like all below */
    const cf_world *world;
    cf_findings *findings;
    uint32_t workers;
    /* A line that is of no use to people who have no damage. Any thread. */
    void (*detail)(void *impl, const char *text);
    void *impl;
} cf_pool_opts;

typedef struct cf_pool_counts {
    uint64_t stored_bytes;
    uint64_t files_whole, files_part, healed;
} cf_pool_counts;

/* What the lines of one node share; borrowed until cf_verify_pool_finish(). */
typedef struct cf_pool_node {
    size_t number;
    const char *runs_prefix;
} cf_pool_node;

/* One line, borrowed until the call returns. */
typedef struct cf_pool_line {
    const cf_file_line *line;
    bool ends_with_md5;
    const char *segment; /* that holds it; borrowed until finish */
    cf_run_id snapshot;
    cf_pack_state *const *packs; /* by extent; NULL: it is passed over */
} cf_pool_line;

typedef struct cf_verify_pool cf_verify_pool;
CF_NODISCARD cf_err cf_verify_pool_new(const cf_pool_opts *opts, cf_verify_pool **ret, cf_error *e);
void cf_verify_pool_free(cf_verify_pool *p); /* stops threads; NULL is fine */
CF_DEFINE_FREEP(cf_verify_pool, cf_verify_pool_free)
/* Waits for room. Once anything failed, every call returns that error. */
CF_NODISCARD cf_err cf_verify_pool_add(cf_verify_pool *p, const cf_pool_node *node,
                                       const cf_pool_line *line, cf_error *e);
/* Waits until all was read. More may be added afterwards. */
CF_NODISCARD cf_err cf_verify_pool_finish(cf_verify_pool *p, cf_error *e);
void cf_verify_pool_get_counts(cf_verify_pool *p, cf_pool_counts *ret); /* any thread */

#endif
