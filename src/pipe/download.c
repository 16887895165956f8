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
    CF_CHECK(pthread_cond_broadcast(&d->turn) == 0);
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

/* ---- turns ---- */

cf_err cf_download_turn_wait(cf_download *const d, const cf_download_file *const f,
                             const uint64_t follows, uint64_t *const ret_hashed, cf_error *const e)
{
    HOLD(d);
    d->turn_total++;
    while (f->hashed < follows && d->failed == CF_OK && !d->leaving)
        CF_CHECK(pthread_cond_wait(&d->turn, &d->lock) == 0);
    d->turn_total--;
    CF_ENSURE(f->hashed >= follows, e, CF_ERR_INTERRUPTED, "the download was given up");
    *ret_hashed = f->hashed;
    return CF_OK;
}

void cf_download_turn_pass(cf_download *const d, cf_download_file *const f, const uint64_t hashed)
{
    HOLD(d);
    f->hashed = hashed;
    if (d->turn_total > 0)
        CF_CHECK(pthread_cond_broadcast(&d->turn) == 0);
}

/* ---- workers ---- */

typedef enum task_kind { TASK_END, TASK_FETCH, TASK_VERIFY } task_kind;

/* With the lock: a file of one small extent that nobody has taken. */
static bool is_small(const cf_download_file *const f)
{
    return f->item.extent_total == 1 && f->cursor.extent == 0 && f->cursor.frame == 0 &&
           !f->no_more_runs && f->extents[0].stored_bytes <= CF_BATCH_EXTENT_BYTES;
}

/* With the lock: small files wait for more of their kind, but not when the caller waits for them. */
static bool small_may_go(const cf_download *const d)
{
    return d->finishing || d->small_total >= CF_BATCH_WANTED ||
           (d->caller_waits && d->busy_total == 0);
}

/* With the lock: files behind the first one whose bytes are near in the pack. */
static void batch_fill(cf_download *const d, cf_download_file *const first,
                       cf_run_of_frames *const run)
{
    for (cf_download_file *f = first->next; f != NULL; f = f->next) {
        if (!is_small(f) || !cf_run_extend(run, f, &f->extents[0]))
            continue;
        f->cursor.extent = 1;
        f->runs_under_way++;
        d->small_total--;
    }
}

/* With the lock: is there a file for each worker? */
static bool files_abound(const cf_download *const d)
{
    uint32_t total = 0;

    for (const cf_download_file *f = d->files; f != NULL && total < d->worker_total; f = f->next)
        total += !f->no_more_runs;
    return total == d->worker_total;
}

/* With the lock: the next run of the file; false: none now. Behind another one it must fit a worker's
 * buffer. */
static bool run_take(const cf_download *const d, cf_download_file *const f,
                     cf_run_of_frames *const run)
{
    const bool behind = f->runs_under_way > 0;
    const uint64_t room = !behind && files_abound(d) ? CF_RUN_STORED_BYTES : CF_RUN_SHARED_BYTES;
    const cf_run_cursor before = f->cursor;

    if (f->no_more_runs)
        return false;
    if (!cf_run_next(f->extents, f->item.extent_total, room, &f->cursor, run)) {
        f->no_more_runs = true;
        return false;
    }
    if (behind && run->stored_bytes > CF_FRAMES_STORED_BYTES) {
        f->cursor = before;
        return false;
    }
    run->behind = behind;
    f->runs_under_way++;
    return true;
}

/* With the lock: what this file has to do now; TASK_END: nothing. shared: also behind another
 * worker's run. */
static task_kind task_of(cf_download *const d, cf_download_file *const f, const bool shared,
                         cf_run_of_frames *const run)
{
    const bool small = is_small(f);

    if (f->is_done || f->is_verifying || (small && !small_may_go(d)) ||
        (f->runs_under_way > 0 && !shared))
        return TASK_END;
    if (run_take(d, f, run)) {
        for (size_t i = 0; i < run->span_total; i++)
            run->spans[i].file = f;
        if (small) {
            d->small_total--;
            batch_fill(d, f, run);
        }
        return TASK_FETCH;
    }
    if (f->runs_under_way > 0)
        return TASK_END;
    f->is_verifying = true;
    return TASK_VERIFY;
}

/* With the lock. */
static void busy_set(cf_download_worker *const w, const bool busy)
{
    w->d->busy_total += busy;
    w->d->busy_total -= w->is_busy;
    w->is_busy = busy;
}

/* With the lock: of the oldest file that has one. */
static task_kind task_find(cf_download_worker *const w, const bool shared,
                           cf_download_file **const ret)
{
    for (cf_download_file *f = w->d->files; f != NULL; f = f->next) {
        const task_kind kind = task_of(w->d, f, shared, &w->run);

        if (kind == TASK_END)
            continue;
        *ret = f;
        return kind;
    }
    return TASK_END;
}

/* Waits for something to do. */
static task_kind task_take(cf_download_worker *const w, cf_download_file **const ret)
{
    cf_download *const d = w->d;

    HOLD(d);
    busy_set(w, false);
    while (d->failed == CF_OK && !d->leaving) {
        task_kind kind = task_find(w, /* shared= */ false, ret);
        if (kind == TASK_END)
            kind = task_find(w, /* shared= */ true, ret);
        if (kind != TASK_END) {
            busy_set(w, true);
            return kind;
        }
        CF_CHECK(pthread_cond_wait(&d->work, &d->lock) == 0);
    }
    return TASK_END;
}

/* This worker looks for a task next and finds the verifying that this may allow; that of more than
 * one file is for others too. */
static void fetch_done(cf_download *const d, const cf_run_of_frames *const run)
{
    const cf_download_file *const first = run->spans[0].file;
    bool others = false;

    HOLD(d);
    run->spans[0].file->runs_under_way--;
    for (size_t i = 1; i < run->span_total; i++) {
        cf_download_file *const f = run->spans[i].file;

        if (f == NULL || f == first)
            continue;
        f->runs_under_way--;
        others = true;
    }
    if (others)
        CF_CHECK(pthread_cond_broadcast(&d->work) == 0);
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
        CF_TRY(cf_download_fetch(w, &w->run, e));
        fetch_done(w->d, &w->run);
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

    for (task_kind kind = task_take(w, &f); kind != TASK_END; kind = task_take(w, &f)) {
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
    CF_ENSURE(pthread_cond_init(&d->turn, NULL) == 0, e, CF_ERR_NO_MEMORY, "make a condition");
    d->sync_total++;
    return CF_OK;
}

static void monitor_deinit(cf_download *const d)
{
    if (d->sync_total > 4)
        (void)pthread_cond_destroy(&d->turn);
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
        CF_TRY(cf_frames_new(/* whole_frames= */ false, &w->frames, e));
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
        d->caller_waits = true;
        if (d->busy_total == 0) /* else the one that is busy looks next */
            CF_CHECK(pthread_cond_signal(&d->work) == 0);
        CF_CHECK(pthread_cond_wait(&d->caller, &d->lock) == 0);
        d->caller_waits = false;
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
    const bool small = is_small(f);
    d->small_total += small;
    if (!small) /* may be for several workers */
        CF_CHECK(pthread_cond_broadcast(&d->work) == 0);
    else if (small_may_go(d))
        CF_CHECK(pthread_cond_signal(&d->work) == 0);
}

/* What is written once, and read when the server starts, would only push other pages out. */
static cf_err file_begin(const cf_download *const d, const cf_download_item *const item,
                         cf_error *const e)
{
    const cf_fs *const fs = d->opts.fs;

    CF_TRY(fs->ops->truncate(fs, item->fd, item->size_bytes, e));
    if (item->size_bytes >= CF_DOWNLOAD_DIRECT_BYTES)
        fs->ops->set_direct(fs, item->fd, /* on= */ true);
    return CF_OK;
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
        CF_TRY_AS(file_begin(d, item, e), e, "file '%s'", item->name);
    file_put(d, CF_STEAL(f));
    return CF_OK;
}

static void finishing_set(cf_download *const d, const bool finishing)
{
    HOLD(d);
    d->finishing = finishing;
    CF_CHECK(pthread_cond_broadcast(&d->work) == 0);
}

cf_err cf_download_finish(cf_download *const d, cf_error *const e)
{
    finishing_set(d, true);
    CF_TRY(deliver_until(d, SIZE_MAX, e));
    finishing_set(d, false);
    return CF_OK;
}

void cf_download_get_counts(cf_download *const d, cf_download_counts *const ret)
{
    ret->stored_bytes = atomic_load(&d->stored_bytes);
    ret->written_bytes = atomic_load(&d->written_bytes);
    ret->verified_bytes = atomic_load(&d->verified_bytes);
}
