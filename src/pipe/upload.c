/* SPDX-License-Identifier: Apache-2.0
 *
 * Upload pipeline, the caller's side: making and ending it, handing in, handing out. The stages are
 * upload_<stage>.c; upload_inner.h is the map.
 */
#include "pipe/upload.h"

#include "pipe/upload_inner.h"
#include "s3/base/alloc.h"
#include "s3/base/cond.h"

enum { LEVEL_DEFAULT = 3, ON_WAIT_MS = 1000 };

typedef struct stage_row {
    void *(*run)(void *upload);
    uint32_t threads;
} stage_row;

/* ---- making ---- */

static cf_err opts_check(const cf_upload_opts *const o, cf_error *const e)
{
    const cf_memory_plan *const m = &o->memory;

    CF_ENSURE(m->frame_buffers >= 1, e, CF_ERR_USAGE, "the memory plan has no frame buffer");
    CF_ENSURE(m->workers >= 1, e, CF_ERR_USAGE, "the memory plan has no worker");
    CF_ENSURE(m->lanes >= CF_UPLOAD_LANES_MIN, e, CF_ERR_USAGE,
              "the memory plan has %u lanes, at least %d are needed", m->lanes,
              CF_UPLOAD_LANES_MIN);
    CF_ENSURE(m->parts_in_flight >= m->lanes, e, CF_ERR_USAGE,
              "the memory plan has %u part buffers for %u lanes", m->parts_in_flight, m->lanes);
    CF_ENSURE(o->level >= CF_UPLOAD_LEVEL_OFF && o->level <= CF_UPLOAD_LEVEL_MAX, e, CF_ERR_USAGE,
              "compression level %d is not in 1..%d", o->level, CF_UPLOAD_LEVEL_MAX);
    CF_ENSURE(!o->adaptive || o->level != CF_UPLOAD_LEVEL_OFF, e, CF_ERR_USAGE,
              "compression is off and adaptive at once\nHINT: leave one of them out");
    return CF_OK;
}

static cf_err monitor_init(cf_upload *const u, cf_error *const e)
{
    CF_ENSURE(pthread_mutex_init(&u->lock, NULL) == 0, e, CF_ERR_NO_MEMORY, "make a lock");
    u->has_lock = true;
    for (; u->conds_total < CF_STAGE_TOTAL; u->conds_total++)
        CF_ENSURE(cf_cond_init(&u->wake[u->conds_total]), e, CF_ERR_NO_MEMORY, "make a condition");
    return CF_OK;
}

/* Big blocks come zeroed from the kernel, page by page as they are used: a small run stays small.
 */
static cf_err blocks_init(cf_upload *const u, cf_error *const e)
{
    const cf_memory_plan *const m = &u->opts.memory;
    const uint32_t total = m->frame_buffers + m->workers;

    u->blocks = cf_alloc(total, sizeof(*u->blocks));
    CF_ENSURE(u->blocks != NULL, e, CF_ERR_NO_MEMORY, "allocate %u blocks", total);
    u->block_total = total;
    for (uint32_t i = 0; i < total; i++) {
        u->blocks[i].data = cf_alloc(CF_BLOCK_BYTES, 1);
        CF_ENSURE(u->blocks[i].data != NULL, e, CF_ERR_NO_MEMORY, "allocate frame buffer %u of %u",
                  i + 1, total);
        if (i >= m->frame_buffers)
            continue; /* a worker's spare */
        u->blocks[i].next = u->free_blocks;
        u->free_blocks = &u->blocks[i];
    }
    return CF_OK;
}

static cf_err threads_start(cf_upload *const u, cf_error *const e)
{
    const cf_memory_plan *const m = &u->opts.memory;
    const stage_row rows[] = {
        {cf_upload_run_reader, 1},          {cf_upload_run_hash, 1},
        {cf_upload_run_worker, m->workers}, {cf_upload_run_packer, 1},
        {cf_upload_run_lane, m->lanes},
    };

    u->threads = cf_alloc(3 + (size_t)m->workers + m->lanes, sizeof(*u->threads));
    CF_ENSURE(u->threads != NULL, e, CF_ERR_NO_MEMORY, "allocate threads");
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        for (uint32_t n = 0; n < rows[i].threads; n++, u->threads_total++)
            CF_ENSURE(pthread_create(&u->threads[u->threads_total], NULL, rows[i].run, u) == 0, e,
                      CF_ERR_NO_MEMORY, "start thread %u", u->threads_total + 1);
    return CF_OK;
}

cf_err cf_upload_new_limited(const cf_upload_opts *const opts, const cf_upload_limits *const limits,
                             cf_upload **const ret, cf_error *const e)
{
    CF_CLEANUP(cf_upload_freep) cf_upload *u = NULL;

    CF_TRY(opts_check(opts, e));
    CF_NEW(u, e);
    u->opts = *opts;
    u->opts.level = opts->level != 0 ? opts->level : LEVEL_DEFAULT;
    u->adapt = (cf_adapt){.level = u->opts.level, .level_max = u->opts.level};
    if (opts->adaptive) {
        const int best = cf_memory_plan_best_level(&u->opts.memory);
        u->adapt.level_max = best > u->opts.level ? best : u->opts.level;
    }
    CF_TRY(cf_memory_plan_fit_level(&u->opts.memory, u->adapt.level_max, e));
    u->adapt.workers = u->opts.memory.workers;
    u->adapt.began_ms = u->opts.world->mono_ms(u->opts.world->impl);
    u->limits.pack_source_max =
        limits->pack_source_max != 0 ? limits->pack_source_max : CF_PACK_SOURCE_MAX;
    u->limits.shared_cut_bytes =
        limits->shared_cut_bytes != 0 ? limits->shared_cut_bytes : CF_SHARED_CUT_BYTES;
    CF_TRY(monitor_init(u, e));
    CF_TRY(blocks_init(u, e));
    CF_TRY(threads_start(u, e));
    *ret = CF_STEAL(u);
    return CF_OK;
}

cf_err cf_upload_new(const cf_upload_opts *const opts, cf_upload **const ret, cf_error *const e)
{
    return cf_upload_new_limited(opts, &(cf_upload_limits){0}, ret, e);
}

/* ---- ending ---- */

static void threads_join(cf_upload *const u)
{
    if (u->threads_total > 0) {
        CF_UPLOAD_HOLD(u);
        u->leaving = true;
        for (int stage = 0; stage < CF_STAGE_TOTAL; stage++)
            cf_upload_wake_all(u, (cf_stage)stage);
    }
    for (uint32_t i = 0; i < u->threads_total; i++)
        CF_CHECK(pthread_join(u->threads[i], NULL) == 0);
}

void cf_upload_free(cf_upload *const u)
{
    if (u == NULL)
        return;
    threads_join(u);
    for (cf_upload_file *f = u->files, *next = NULL; f != NULL; f = next) {
        next = f->next;
        cf_upload_file_free(f);
    }
    for (cf_upload_pack *p = u->packs, *next = NULL; p != NULL; p = next) {
        next = p->next;
        cf_upload_pack_free(p);
    }
    for (uint32_t i = 0; i < u->block_total; i++)
        cf_free(u->blocks[i].data);
    while (u->conds_total > 0)
        (void)pthread_cond_destroy(&u->wake[--u->conds_total]);
    if (u->has_lock)
        (void)pthread_mutex_destroy(&u->lock);
    cf_free(u->blocks);
    cf_free(u->threads);
    cf_free(u);
}

/* ---- handing in and out ---- */

typedef enum waiting_for { FOR_ROOM, FOR_ALL } waiting_for;

/* What the caller has to do next: a result, a pack, a look at other things, or nothing more. */
typedef struct delivery {
    cf_upload_file *file; /* owned now */
    cf_upload_pack *pack; /* owned now */
    bool waited;
} delivery;

static void delivery_deinit(delivery *const d)
{
    if (d->file != NULL)
        cf_upload_file_free(d->file);
    if (d->pack != NULL)
        cf_upload_pack_free(d->pack);
}

static bool is_reached(const cf_upload *const u, const waiting_for what)
{
    return what == FOR_ALL ? u->files == NULL && u->packs == NULL
                           : u->file_total < CF_UPLOAD_ITEMS_MAX;
}

static cf_err delivery_take(cf_upload *const u, const waiting_for what, delivery *const ret,
                            cf_error *const e)
{
    CF_UPLOAD_HOLD(u);

    for (;;) {
        if (u->failed != CF_OK) {
            if (e != NULL)
                *e = u->error;
            return u->failed;
        }
        if (u->files != NULL && u->files->packed) {
            ret->file = u->files;
            u->files = ret->file->next;
            u->files_last = u->files == NULL ? NULL : u->files_last;
            u->file_total--;
            return CF_OK;
        }
        if (u->packs != NULL && u->packs->acknowledged) {
            ret->pack = u->packs;
            u->packs = ret->pack->next;
            u->packs_last = u->packs == NULL ? NULL : u->packs_last;
            return CF_OK;
        }
        if (is_reached(u, what))
            return CF_OK;
        if (u->opts.on_wait == NULL)
            cf_upload_wait(u, CF_STAGE_CALLER);
        else if (!cf_upload_wait_ms(u, CF_STAGE_CALLER, ON_WAIT_MS)) {
            ret->waited = true;
            return CF_OK;
        }
    }
}

static cf_err deliver(cf_upload *const u, const delivery *const d, cf_error *const e)
{
    if (d->waited)
        return u->opts.on_wait(u->opts.impl, e);
    if (d->file != NULL)
        return u->opts.on_result(u->opts.impl, &d->file->result, e);
    return u->opts.on_pack(u->opts.impl, &d->pack->line, e);
}

/* An error of a callback stops the pipeline like any other. */
static void deliver_or_fail(cf_upload *const u, const delivery *const d)
{
    cf_error own = {0};
    cf_err err = deliver(u, d, &own);

    if (err == CF_OK)
        err = cf_upload_check_stop(u, &own);
    if (err != CF_OK)
        cf_upload_fail(u, err, &own);
}

/* Deliver until what is waited for has come. */
static cf_err deliver_until(cf_upload *const u, const waiting_for what, cf_error *const e)
{
    for (;;) {
        CF_CLEANUP(delivery_deinit) delivery d = {0};

        CF_TRY(delivery_take(u, what, &d, e));
        if (d.file == NULL && d.pack == NULL && !d.waited)
            return CF_OK;
        deliver_or_fail(u, &d);
    }
}

/* Nothing to read and nothing before it: its turn is now. A run in which nothing changed is all of
 * these, and need not wake four threads for each. */
static bool is_its_turn(cf_upload *const u, const cf_upload_item *const item)
{
    CF_UPLOAD_HOLD(u);

    return item->how == CF_UPLOAD_READY && u->files == NULL && u->failed == CF_OK;
}

static cf_err item_check(const cf_upload_item *const item, cf_error *const e)
{
    if (item->how == CF_UPLOAD_READY)
        return CF_OK;
    CF_ENSURE(item->read_bytes <= item->size_bytes, e, CF_ERR_SOURCE,
              "file '%s' is to be read for %llu bytes, more than its %llu", item->name,
              (unsigned long long)item->read_bytes, (unsigned long long)item->size_bytes);
    return CF_OK;
}

cf_err cf_upload_add(cf_upload *const u, const cf_upload_item *const item, cf_error *const e)
{
    CF_CLEANUP(cf_upload_file_freep) cf_upload_file *f = NULL;

    CF_TRY(item_check(item, e));
    CF_TRY(cf_upload_file_new(item, &f, e));
    CF_TRY(deliver_until(u, FOR_ROOM, e));
    if (is_its_turn(u, item)) {
        deliver_or_fail(u, &(delivery){.file = f});
        return deliver_until(u, FOR_ROOM, e);
    }

    CF_UPLOAD_HOLD(u);
    if (u->files_last != NULL)
        u->files_last->next = f;
    else
        u->files = f;
    u->files_last = f;
    if (u->files_unread == NULL)
        u->files_unread = f;
    u->file_total++;
    u->unpacked_total++;
    f = NULL;
    cf_upload_wake(u, CF_STAGE_READ);
    return CF_OK;
}

static void finishing_set(cf_upload *const u, const bool finishing)
{
    CF_UPLOAD_HOLD(u);

    u->finishing = finishing;
    cf_upload_wake(u, CF_STAGE_PACK);
}

cf_err cf_upload_finish(cf_upload *const u, cf_error *const e)
{
    finishing_set(u, true);
    CF_TRY(deliver_until(u, FOR_ALL, e));
    finishing_set(u, false);
    return CF_OK;
}

/* ---- looking on ---- */

void cf_upload_get_counts(cf_upload *const u, cf_upload_counts *const ret)
{
    CF_UPLOAD_HOLD(u);

    *ret = u->counts;
}

cf_err cf_upload_render_open(cf_upload *const u, cf_buf *const ret, cf_error *const e)
{
    CF_UPLOAD_HOLD(u);

    for (const cf_upload_pack *p = u->packs; p != NULL; p = p->next)
        if (p->upload_id != NULL && !p->acknowledged)
            CF_TRY(cf_buf_printf(ret, e, "%s%s %s\n", u->opts.runs_prefix, p->key, p->upload_id));
    return CF_OK;
}

bool cf_upload_failed(cf_upload *const u)
{
    CF_UPLOAD_HOLD(u);

    return u->failed != CF_OK;
}

cf_err cf_upload_each_stored(cf_upload *const u,
                             cf_err (*const fn)(void *impl, const cf_pack_line *pack, cf_error *e),
                             void *const impl, cf_error *const e)
{
    CF_UPLOAD_HOLD(u);

    CF_CHECK(u->failed != CF_OK);
    for (const cf_upload_pack *p = u->packs; p != NULL; p = p->next) {
        if (p->acknowledged)
            CF_TRY(fn(impl, &p->line, e));
    }
    return CF_OK;
}
