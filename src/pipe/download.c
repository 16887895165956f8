/* SPDX-License-Identifier: Apache-2.0
 *
 * Download pipeline: the monitor, the workers' loop and the caller's side. download_inner.h is the
 * map.
 */
#include "pipe/download.h"

#include "pipe/download_inner.h"
#include "s3/base/alloc.h"

static void unlockp(cf_download **const d)
{
    CF_CHECK(pthread_mutex_unlock(&(*d)->lock) == 0);
}

static cf_download *hold(cf_download *const d)
{
    CF_CHECK(pthread_mutex_lock(&d->lock) == 0);
    return d;
}

/* Lock until the end of the scope. */
#define HOLD(d)                                                                                    \
    CF_CLEANUP(unlockp)                                                                            \
    cf_download *held_ = hold(d);                                                                  \
    (void)held_

/* With the lock. */
static void wake_all(cf_download *const d)
{
    CF_CHECK(pthread_cond_broadcast(&d->work) == 0);
    CF_CHECK(pthread_cond_broadcast(&d->caller) == 0);
}

/* The first error counts. */
static void fail(cf_download *const d, const cf_err code, const cf_error *const error)
{
    HOLD(d);
    if (d->failed == CF_OK) {
        d->failed = code;
        d->error = *error;
    }
    atomic_store(&d->ended, true);
    wake_all(d);
}

cf_err cf_download_check_stop(const cf_download *const d, cf_error *const e)
{
    CF_ENSURE(!atomic_load(&d->ended), e, CF_ERR_INTERRUPTED, "the download was given up");
    CF_ENSURE(!d->opts.world->stopping(d->opts.world->impl), e, CF_ERR_INTERRUPTED, "interrupted");
    return CF_OK;
}

/* ---- workers ---- */

typedef enum task_kind { TASK_END, TASK_FETCH, TASK_VERIFY } task_kind;

/* With the lock: what this file has to do now; TASK_END: nothing. */
static task_kind task_of(cf_download_file *const f, cf_run_of_frames *const run)
{
    if (f->is_done || f->is_verifying)
        return TASK_END;
    if (!f->no_more_runs && cf_run_next(f->extents, f->item.extent_total, &f->cursor, run)) {
        f->runs_under_way++;
        return TASK_FETCH;
    }
    f->no_more_runs = true;
    if (f->runs_under_way > 0)
        return TASK_END;
    f->is_verifying = true;
    return TASK_VERIFY;
}

/* Waits for something to do; the oldest file goes first. */
static task_kind task_take(cf_download *const d, cf_run_of_frames *const run,
                           cf_download_file **const ret)
{
    HOLD(d);
    while (d->failed == CF_OK && !d->leaving) {
        for (cf_download_file *f = d->files; f != NULL; f = f->next) {
            const task_kind kind = task_of(f, run);
            if (kind == TASK_END)
                continue;
            *ret = f;
            return kind;
        }
        CF_CHECK(pthread_cond_wait(&d->work, &d->lock) == 0);
    }
    return TASK_END;
}

static void fetch_done(cf_download *const d, cf_download_file *const f)
{
    HOLD(d);
    f->runs_under_way--; /* this worker looks for a task next: it finds the verifying that this may
                            allow */
}

static void verify_done(cf_download *const d, cf_download_file *const f, const cf_err err)
{
    HOLD(d);
    f->result.err = err;
    f->is_done = true;
    CF_CHECK(pthread_cond_signal(&d->caller) == 0);
}

static cf_err task_do(cf_download_worker *const w, const task_kind kind, cf_download_file *const f,
                      cf_error *const e)
{
    CF_TRY(cf_download_check_stop(w->d, e));
    if (kind == TASK_FETCH) {
        CF_TRY(cf_download_fetch(w, f, &w->run, e));
        fetch_done(w->d, f);
        return CF_OK;
    }
    const cf_err err = cf_download_verify(w, f, e);
    if (err == CF_OK || (err == CF_ERR_DAMAGE && f->item.verify_only)) {
        verify_done(w->d, f, err);
        return CF_OK;
    }
    return err;
}

static void *run_worker(void *const worker)
{
    cf_download_worker *const w = worker;
    cf_download_file *f = NULL;
    cf_error e = {0};

    for (task_kind kind = task_take(w->d, &w->run, &f); kind != TASK_END;
         kind = task_take(w->d, &w->run, &f)) {
        const cf_err err = task_do(w, kind, f, &e);
        if (err != CF_OK)
            fail(w->d, err, &e);
    }
    return NULL;
}

/* ---- making and ending ---- */

static cf_err monitor_init(cf_download *const d, cf_error *const e)
{
    CF_ENSURE(pthread_mutex_init(&d->lock, NULL) == 0, e, CF_ERR_NO_MEMORY, "make a lock");
    d->sync_total++;
    CF_ENSURE(pthread_mutex_init(&d->window, NULL) == 0, e, CF_ERR_NO_MEMORY, "make a lock");
    d->sync_total++;
    CF_ENSURE(pthread_cond_init(&d->work, NULL) == 0, e, CF_ERR_NO_MEMORY, "make a condition");
    d->sync_total++;
    CF_ENSURE(pthread_cond_init(&d->caller, NULL) == 0, e, CF_ERR_NO_MEMORY, "make a condition");
    d->sync_total++;
    return CF_OK;
}

static void monitor_deinit(cf_download *const d)
{
    if (d->sync_total > 3)
        (void)pthread_cond_destroy(&d->caller);
    if (d->sync_total > 2)
        (void)pthread_cond_destroy(&d->work);
    if (d->sync_total > 1)
        (void)pthread_mutex_destroy(&d->window);
    if (d->sync_total > 0)
        (void)pthread_mutex_destroy(&d->lock);
}

static cf_err workers_start(cf_download *const d, cf_error *const e)
{
    d->workers = cf_alloc(d->worker_total, sizeof(*d->workers));
    CF_ENSURE(d->workers != NULL, e, CF_ERR_NO_MEMORY, "allocate %u workers", d->worker_total);
    for (; d->started_total < d->worker_total; d->started_total++) {
        cf_download_worker *const w = &d->workers[d->started_total];
        w->d = d;
        w->buffer = cf_alloc(CF_DOWNLOAD_BUFFER_BYTES, 1);
        CF_ENSURE(w->buffer != NULL, e, CF_ERR_NO_MEMORY, "allocate the buffer of a worker");
        CF_ENSURE(pthread_create(&w->thread, NULL, run_worker, w) == 0, e, CF_ERR_NO_MEMORY,
                  "start thread %u", d->started_total + 1);
    }
    return CF_OK;
}

cf_err cf_download_new(const cf_download_opts *const opts, cf_download **const ret,
                       cf_error *const e)
{
    CF_CLEANUP(cf_download_freep) cf_download *d = NULL;
    uint32_t workers = 0;

    CF_TRY(cf_download_plan(opts->memory_bytes, opts->jobs, &workers, e));
    CF_NEW(d, e);
    d->opts = *opts;
    d->worker_total = workers;
    CF_TRY(monitor_init(d, e));
    CF_TRY(workers_start(d, e));
    *ret = CF_STEAL(d);
    return CF_OK;
}

static void workers_join(cf_download *const d)
{
    if (d->started_total > 0) {
        HOLD(d);
        d->leaving = true;
        atomic_store(&d->ended, true);
        wake_all(d);
    }
    for (uint32_t i = 0; i < d->started_total; i++)
        CF_CHECK(pthread_join(d->workers[i].thread, NULL) == 0);
}

void cf_download_free(cf_download *const d)
{
    if (d == NULL)
        return;
    workers_join(d);
    for (uint32_t i = 0; d->workers != NULL && i < d->worker_total; i++) {
        cf_frames_free(d->workers[i].frames);
        cf_free(d->workers[i].buffer);
    }
    for (cf_download_file *f = d->files, *next = NULL; f != NULL; f = next) {
        next = f->next;
        cf_download_file_free(f);
    }
    monitor_deinit(d);
    cf_free(d->workers);
    cf_free(d);
}

/* ---- handing in and out ---- */

/* With the lock: the first done file, out of the list; NULL: none. */
static cf_download_file *done_take(cf_download *const d)
{
    for (cf_download_file **at = &d->files; *at != NULL; at = &(*at)->next) {
        cf_download_file *const f = *at;
        if (!f->is_done)
            continue;
        *at = f->next;
        d->file_total--;
        d->extent_total -= f->item.extent_total;
        return f;
    }
    return NULL;
}

/* With the lock: may a file of so many extents come in? SIZE_MAX: is everything done? */
static bool has_room(const cf_download *const d, const size_t extent_total)
{
    if (d->file_total == 0)
        return true;
    return extent_total <= CF_DOWNLOAD_EXTENTS_MAX &&
           d->extent_total + extent_total <= CF_DOWNLOAD_EXTENTS_MAX &&
           d->file_total < CF_DOWNLOAD_ITEMS_MAX;
}

/* Waits for a done file, or (NULL) for room. */
static cf_err done_wait(cf_download *const d, const size_t extent_total,
                        cf_download_file **const ret, cf_error *const e)
{
    HOLD(d);
    for (;;) {
        if (d->failed != CF_OK) {
            if (e != NULL)
                *e = d->error;
            return d->failed;
        }
        *ret = done_take(d);
        if (*ret != NULL || has_room(d, extent_total))
            return CF_OK;
        CF_CHECK(pthread_cond_wait(&d->caller, &d->lock) == 0);
    }
}

static cf_err deliver_until(cf_download *const d, const size_t extent_total, cf_error *const e)
{
    for (;;) {
        CF_CLEANUP(cf_download_file_freep) cf_download_file *f = NULL;
        cf_error own = {0};

        CF_TRY(done_wait(d, extent_total, &f, e));
        if (f == NULL)
            return CF_OK;
        cf_err err = d->opts.on_done(d->opts.impl, &f->result, &own);
        if (err == CF_OK)
            err = cf_download_check_stop(d, &own);
        if (err != CF_OK)
            fail(d, err, &own);
    }
}

static void file_put(cf_download *const d, cf_download_file *const f)
{
    HOLD(d);
    cf_download_file **at = &d->files;
    while (*at != NULL)
        at = &(*at)->next;
    *at = f;
    d->file_total++;
    d->extent_total += f->item.extent_total;
    CF_CHECK(pthread_cond_broadcast(&d->work) == 0);
}

cf_err cf_download_add(cf_download *const d, const cf_download_item *const item, cf_error *const e)
{
    CF_CLEANUP(cf_download_file_freep) cf_download_file *f = NULL;
    cf_download_item wanted = *item;

    if (item->verify_only)
        wanted.extent_total = 0;
    CF_TRY(cf_extents_check(&wanted, e));
    CF_TRY(cf_download_file_new(&wanted, &f, e));
    CF_TRY(deliver_until(d, wanted.extent_total, e));
    if (!item->verify_only)
        CF_TRY_AS(d->opts.fs->ops->truncate(d->opts.fs, item->fd, item->size_bytes, e), e,
                  "file '%s'", item->name);
    file_put(d, CF_STEAL(f));
    return CF_OK;
}

cf_err cf_download_finish(cf_download *const d, cf_error *const e)
{
    return deliver_until(d, SIZE_MAX, e);
}

void cf_download_get_counts(cf_download *const d, cf_download_counts *const ret)
{
    ret->stored_bytes = atomic_load(&d->stored_bytes);
    ret->written_bytes = atomic_load(&d->written_bytes);
    ret->verified_bytes = atomic_load(&d->verified_bytes);
}
