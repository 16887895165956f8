/* SPDX-License-Identifier: Apache-2.0
 *
 * Pool: the monitor, and the caller's side. One mutex; batches wait in a list, oldest first. Nothing
 * waits for another worker, so nothing can hang.
 */
#include <stdatomic.h>

#include "pipe/memory_plan.h"
#include "s3/base/alloc.h"
#include "verify/pool_inner.h"

cf_err cf_pool_plan(const uint64_t memory_bytes, const uint32_t jobs, uint32_t *const ret_workers,
                    uint64_t *const ret_budget_bytes, cf_error *const e)
{
    enum { CONNECTIONS_MIN = 4, BUDGET_PART = 8 };
    cf_memory_plan plan = {0}; /* made for its check only: one minimum, one message */
    const uint64_t total =
        memory_bytes != 0 ? memory_bytes : (uint64_t)CF_MEMORY_DEFAULT_MIB * 1024 * 1024;

    CF_TRY(cf_memory_plan_make(total, jobs, &plan, e));
    const uint64_t budget = total / BUDGET_PART;
    const uint64_t left = total - CF_MEMORY_REST_BYTES - budget - CF_POOL_QUEUE_BYTES;
    const uint64_t allowed = left / CF_POOL_WORKER_BYTES;
    const uint32_t cores = cf_cores();
    uint64_t wanted = jobs != 0 ? jobs : cores < CONNECTIONS_MIN ? CONNECTIONS_MIN : cores;
    if (wanted > CF_POOL_WORKERS_MAX)
        wanted = CF_POOL_WORKERS_MAX;
    *ret_workers = (uint32_t)(wanted < allowed ? wanted : allowed);
    *ret_budget_bytes = budget;
    return CF_OK;
}

static void unlockp(cf_verify_pool **const p)
{
    CF_CHECK(pthread_mutex_unlock(&(*p)->lock) == 0);
}

static cf_verify_pool *hold(cf_verify_pool *const p)
{
    CF_CHECK(pthread_mutex_lock(&p->lock) == 0);
    return p;
}

/* Lock until the end of the scope. */
#define HOLD(p)                                                                                    \
    CF_CLEANUP(unlockp)                                                                            \
    cf_verify_pool *held_ = hold(p);                                                               \
    (void)held_

void cf_pool_batch_free(cf_pool_batch *const b)
{
    if (b == NULL)
        return;
    for (size_t i = 0; i < b->total; i++) {
        cf_free(b->rows[i].line);
        cf_free(b->rows[i].packs);
    }
    cf_free(b);
}

/* ---- workers ---- */

static void fail(cf_verify_pool *const p, const cf_err code, const cf_error *const error)
{
    HOLD(p);
    if (p->failed == CF_OK) {
        p->failed = code;
        p->error = *error;
    }
    atomic_store(&p->ended, true);
    CF_CHECK(pthread_cond_broadcast(&p->work) == 0);
    CF_CHECK(pthread_cond_broadcast(&p->caller) == 0);
}

/* NULL: there will be no more. */
static cf_pool_batch *batch_take(cf_verify_pool *const p)
{
    HOLD(p);
    while (p->failed == CF_OK && !p->leaving) {
        cf_pool_batch *const b = p->first;
        if (b != NULL) {
            p->first = b->next;
            if (p->first == NULL)
                p->last = NULL;
            p->waiting_bytes -= b->bytes;
            p->waiting_total--;
            p->busy++;
            CF_CHECK(pthread_cond_signal(&p->caller) == 0);
            return b;
        }
        CF_CHECK(pthread_cond_wait(&p->work, &p->lock) == 0);
    }
    return NULL;
}

static void batch_done(cf_verify_pool *const p)
{
    HOLD(p);
    p->busy--;
    CF_CHECK(pthread_cond_signal(&p->caller) == 0);
}

static void *run_worker(void *const worker)
{
    cf_pool_worker *const w = worker;

    for (cf_pool_batch *b = batch_take(w->pool); b != NULL; b = batch_take(w->pool)) {
        cf_error e = {0};
        const cf_err err = cf_pool_batch_read(w, b, &e);
        cf_pool_batch_free(b);
        if (err != CF_OK)
            fail(w->pool, err, &e);
        batch_done(w->pool);
    }
    return NULL;
}

/* ---- making and ending ---- */

static cf_err monitor_init(cf_verify_pool *const p, cf_error *const e)
{
    CF_ENSURE(pthread_mutex_init(&p->lock, NULL) == 0, e, CF_ERR_NO_MEMORY, "make a lock");
    p->sync_total++;
    CF_ENSURE(pthread_mutex_init(&p->large, NULL) == 0, e, CF_ERR_NO_MEMORY, "make a lock");
    p->sync_total++;
    CF_ENSURE(pthread_cond_init(&p->work, NULL) == 0, e, CF_ERR_NO_MEMORY, "make a condition");
    p->sync_total++;
    CF_ENSURE(pthread_cond_init(&p->caller, NULL) == 0, e, CF_ERR_NO_MEMORY, "make a condition");
    p->sync_total++;
    return CF_OK;
}

static cf_err workers_start(cf_verify_pool *const p, cf_error *const e)
{
    p->workers = cf_alloc(p->opts.workers, sizeof(*p->workers));
    CF_ENSURE(p->workers != NULL, e, CF_ERR_NO_MEMORY, "allocate %u workers", p->opts.workers);
    for (; p->started_total < p->opts.workers; p->started_total++) {
        cf_pool_worker *const w = &p->workers[p->started_total];
        w->pool = p;
        CF_ENSURE(pthread_create(&w->thread, NULL, run_worker, w) == 0, e, CF_ERR_NO_MEMORY,
                  "start thread %u", p->started_total + 1);
    }
    return CF_OK;
}

cf_err cf_verify_pool_new(const cf_pool_opts *const opts, cf_verify_pool **const ret,
                          cf_error *const e)
{
    CF_CLEANUP(cf_verify_pool_freep) cf_verify_pool *p = NULL;

    CF_NEW(p, e);
    p->opts = *opts;
    CF_TRY(monitor_init(p, e));
    CF_TRY(workers_start(p, e));
    *ret = CF_STEAL(p);
    return CF_OK;
}

static void workers_join(cf_verify_pool *const p)
{
    if (p->started_total > 0) {
        HOLD(p);
        p->leaving = true;
        atomic_store(&p->ended, true);
        CF_CHECK(pthread_cond_broadcast(&p->work) == 0);
    }
    for (uint32_t i = 0; i < p->started_total; i++) {
        CF_CHECK(pthread_join(p->workers[i].thread, NULL) == 0);
        cf_content_free(p->workers[i].content);
    }
}

void cf_verify_pool_free(cf_verify_pool *const p)
{
    if (p == NULL)
        return;
    workers_join(p);
    for (cf_pool_batch *b = p->first, *next = NULL; b != NULL; b = next) {
        next = b->next;
        cf_pool_batch_free(b);
    }
    cf_pool_batch_free(p->filling);
    if (p->sync_total > 3)
        (void)pthread_cond_destroy(&p->caller);
    if (p->sync_total > 2)
        (void)pthread_cond_destroy(&p->work);
    if (p->sync_total > 1)
        (void)pthread_mutex_destroy(&p->large);
    if (p->sync_total > 0)
        (void)pthread_mutex_destroy(&p->lock);
    cf_free(p->workers);
    cf_free(p);
}

/* ---- handing in ---- */

/* With the lock. */
static cf_err failed(const cf_verify_pool *const p, cf_error *const e)
{
    if (p->failed != CF_OK && e != NULL)
        *e = p->error;
    return p->failed;
}

static cf_err batch_put(cf_verify_pool *const p, cf_error *const e)
{
    HOLD(p);
    while (p->failed == CF_OK && p->first != NULL &&
           (p->waiting_bytes + p->filling->bytes > CF_POOL_QUEUE_BYTES ||
            p->waiting_total >= p->started_total))
        CF_CHECK(pthread_cond_wait(&p->caller, &p->lock) == 0);
    CF_TRY(failed(p, e));
    cf_pool_batch *const b = CF_STEAL(p->filling);
    if (p->last != NULL)
        p->last->next = b;
    else
        p->first = b;
    p->last = b;
    p->waiting_bytes += b->bytes;
    p->waiting_total++;
    CF_CHECK(pthread_cond_signal(&p->work) == 0);
    return CF_OK;
}

static cf_err batch_begin(cf_verify_pool *const p, const cf_pool_node *const node,
                          cf_error *const e)
{
    if (p->filling != NULL && p->filling->node != node->number)
        CF_TRY(batch_put(p, e));
    if (p->filling != NULL)
        return CF_OK;
    CF_NEW(p->filling, e);
    p->filling->node = node->number;
    p->filling->runs_prefix = node->runs_prefix;
    return CF_OK;
}

static cf_err row_add(cf_pool_batch *const b, const cf_pool_line *const l, cf_error *const e)
{
    const size_t extents = l->line->extent_total;
    cf_pool_row *const row = &b->rows[b->total];

    *row = (cf_pool_row){.segment = l->segment, .snapshot = l->snapshot};
    row->packs = cf_alloc(extents + 1, sizeof(cf_pack_state *));
    CF_ENSURE(row->packs != NULL, e, CF_ERR_NO_MEMORY, "allocate %zu packs", extents);
    b->total++; /* freed with the batch from here on */
    if (extents > 0)
        memcpy(row->packs, l->packs, extents * sizeof(cf_pack_state *));
    CF_TRY(cf_file_line_dup(l->line, &row->line, e));
    b->items[b->total - 1] =
        (cf_content_item){.line = *row->line, .ends_with_md5 = l->ends_with_md5};
    b->bytes += cf_file_line_dup_bytes(l->line) + extents * sizeof(cf_pack_state *);
    for (size_t i = 0; i < extents; i++)
        b->stored_bytes += l->packs[i] != NULL ? l->line->extents[i].stored_bytes : 0;
    return CF_OK;
}

cf_err cf_verify_pool_add(cf_verify_pool *const p, const cf_pool_node *const node,
                          const cf_pool_line *const line, cf_error *const e)
{
    CF_TRY(batch_begin(p, node, e));
    CF_TRY(row_add(p->filling, line, e));
    const cf_pool_batch *const b = p->filling;
    return b->total == CF_POOL_BATCH_LINES || b->bytes >= CF_POOL_BATCH_BYTES ||
                   b->stored_bytes >= CF_POOL_BATCH_STORED
               ? batch_put(p, e)
               : CF_OK;
}

cf_err cf_verify_pool_finish(cf_verify_pool *const p, cf_error *const e)
{
    if (p->filling != NULL)
        CF_TRY(batch_put(p, e));
    HOLD(p);
    while (p->failed == CF_OK && (p->first != NULL || p->busy > 0))
        CF_CHECK(pthread_cond_wait(&p->caller, &p->lock) == 0);
    return failed(p, e);
}

void cf_verify_pool_get_counts(cf_verify_pool *const p, cf_pool_counts *const ret)
{
    ret->stored_bytes = atomic_load(&p->stored_bytes);
    ret->files_whole = atomic_load(&p->files_whole);
    ret->files_part = atomic_load(&p->files_part);
    ret->healed = atomic_load(&p->healed);
}
