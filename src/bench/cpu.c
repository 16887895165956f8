/* SPDX-License-Identifier: Apache-2.0
 *
 * The processors: hashes in the grain of the pipeline, zstd at levels on its frames, the decoder.
 *
 * Costs are processor time, not wall: a neighbour does not make them larger. What neighbours, or two
 * threads of one core, take away is measured once, as the number of cores that take work at once.
 */
#include <zstd.h>

#include "bench/bench_inner.h"
#include "pipe/frames.h"
#include "pipe/hash_pair.h"
#include "s3/base/alloc.h"

enum {
    THREADS_MAX = 64,
};

static const int levels_usual[] = {0, 1, 3, 6, 9, 12, 15, 19};

/* One thread's work over the sample, frame by frame, until the time is over. */
typedef struct worker {
    const cf_bench *b;
    int level;
    size_t at;
    uint64_t until_us;
    double source_bytes, stored_bytes;
    ZSTD_CCtx *zstd; /* owned */
    uint8_t *block;  /* owned; CF_BLOCK_BYTES */
    size_t block_len, frame_len;
    pthread_t thread;
    bool started;
    cf_err err;
    cf_error e;
} worker;

static void worker_deinit(worker *const w)
{
    (void)ZSTD_freeCCtx(w->zstd);
    cf_free(w->block);
}

static cf_slice frame_at(const cf_bench *const b, size_t *const at)
{
    const size_t offset = *at < b->sample.len ? *at : 0;
    const size_t left = b->sample.len - offset;
    const size_t len = left < CF_FRAME_BYTES ? left : CF_FRAME_BYTES;

    *at = offset + len;
    return cf_slice_of(b->sample.data + offset, len);
}

/* Processor time for one figure: a busy machine takes longer to give it, four times at most. */
typedef struct span {
    double began_s, enough_s;
    uint64_t until_us;
} span;

static span span_begin(const cf_bench *const b)
{
    enum { PATIENCE = 4 };

    return (span){.began_s = cf_bench_thread_cpu_s(),
                  .enough_s = b->each_ms / 1e3,
                  .until_us = cf_bench_now_us() + PATIENCE * (uint64_t)b->each_ms * 1000};
}

static double span_used_s(const span *const s)
{
    return cf_bench_thread_cpu_s() - s->began_s + 1e-9;
}

static bool span_over(const span *const s)
{
    return span_used_s(s) >= s->enough_s || cf_bench_now_us() >= s->until_us;
}

/* ---- hashes ---- */

typedef struct hasher {
    cf_hash sha256, md5;
    cf_hash_pair both; /* the pipeline's own way to do both */
} hasher;

typedef enum hash_what { HASH_SHA256, HASH_MD5, HASH_BOTH } hash_what;

static void hasher_deinit(hasher *const h)
{
    cf_hash_deinit(&h->sha256);
    cf_hash_deinit(&h->md5);
    cf_hash_pair_deinit(&h->both);
}

static cf_err frame_hash(hasher *const h, const hash_what what, const cf_slice frame,
                         cf_error *const e)
{
    switch (what) {
    case HASH_SHA256:
        return cf_hash_update(&h->sha256, frame, e);
    case HASH_MD5:
        return cf_hash_update(&h->md5, frame, e);
    case HASH_BOTH:
        break;
    }
    return cf_hash_pair_update(&h->both, frame, e);
}

static cf_err hash_measure(const cf_bench *const b, const hash_what what,
                           double *const ret_bytes_per_s, cf_error *const e)
{
    CF_CLEANUP(hasher_deinit) hasher h = {0};
    double bytes = 0;

    CF_TRY(cf_hash_init(&h.sha256, CF_HASH_SHA256, e));
    CF_TRY(cf_hash_init(&h.md5, CF_HASH_MD5, e));
    CF_TRY(cf_hash_pair_init(&h.both, /* plain= */ false, e));
    const span s = span_begin(b);
    for (size_t at = 0; bytes == 0 || !span_over(&s);) {
        const cf_slice frame = frame_at(b, &at);

        CF_TRY(cf_bench_check_stop(b, e));
        CF_TRY(frame_hash(&h, what, frame, e));
        bytes += (double)frame.len;
    }
    *ret_bytes_per_s = bytes / span_used_s(&s);
    return CF_OK;
}

/* ---- zstd ---- */

static cf_err worker_init(worker *const w, const cf_bench *const b, const int level,
                          cf_error *const e)
{
    w->b = b;
    w->level = level;
    w->block = cf_alloc(CF_BLOCK_BYTES, 1);
    w->zstd = ZSTD_createCCtx();
    CF_ENSURE(w->block != NULL && w->zstd != NULL, e, CF_ERR_NO_MEMORY, "allocate a zstd context");
    /* "off" is what a worker of the pipeline makes of it: frames of stored bytes. */
    const size_t set = ZSTD_CCtx_setParameter(w->zstd, ZSTD_c_compressionLevel,
                                              level == 0 ? ZSTD_minCLevel() : level);
    const size_t sum = ZSTD_CCtx_setParameter(w->zstd, ZSTD_c_checksumFlag, 1);
    CF_ENSURE(!ZSTD_isError(set) && !ZSTD_isError(sum), e, CF_ERR_USAGE,
              "zstd does not take level %d: %s", level, ZSTD_getErrorName(set));
    return CF_OK;
}

static cf_err frame_compress(worker *const w, cf_error *const e)
{
    const cf_slice frame = frame_at(w->b, &w->at);

    CF_TRY(cf_bench_check_stop(w->b, e));
    w->block_len = ZSTD_compress2(w->zstd, w->block, CF_BLOCK_BYTES, frame.ptr, frame.len);
    CF_ENSURE(!ZSTD_isError(w->block_len), e, CF_ERR_NO_MEMORY, "compress at level %d: %s",
              w->level, ZSTD_getErrorName(w->block_len));
    w->frame_len = frame.len;
    w->source_bytes += (double)frame.len;
    w->stored_bytes += (double)w->block_len;
    return CF_OK;
}

static cf_err level_measure(cf_bench *const b, const int level, cf_error *const e)
{
    cf_bench_costs *const c = &b->r->costs;
    cf_memory_plan plan = b->plan;
    cf_bench_level l = {.level = level, .ratio = 1, .workers = plan.workers};

    if (level > 0 && cf_memory_plan_fit_level(&plan, level, /* e= */ NULL) != CF_OK)
        l.workers = 0;
    else
        l.workers = plan.workers;
    if (l.workers > 0) {
        CF_CLEANUP(worker_deinit) worker w = {0};

        CF_TRY(worker_init(&w, b, level, e));
        const span s = span_begin(b);
        while (w.source_bytes == 0 || !span_over(&s))
            CF_TRY(frame_compress(&w, e));
        l.bytes_per_s = w.source_bytes / span_used_s(&s);
        l.ratio = w.source_bytes / w.stored_bytes;
    }
    c->levels[c->level_total++] = l;
    return CF_OK;
}

/* ---- decoder ---- */

static cf_err throw_away(void *const impl, const cf_slice bytes, cf_error *const e)
{
    double *const sum = impl;

    (void)e;
    *sum += (double)bytes.len;
    return CF_OK;
}

static cf_err decode_measure(const cf_bench *const b, double *const ret_bytes_per_s,
                             cf_error *const e)
{
    CF_CLEANUP(worker_deinit) worker w = {0};
    CF_CLEANUP(cf_frames_freep) cf_frames *decoder = NULL;
    double bytes = 0, cpu_s = 0;

    CF_TRY(worker_init(&w, b, CF_BENCH_LEVEL_DEFAULT, e));
    CF_TRY(cf_frames_new(/* whole_frames= */ false, &decoder, e));
    /* One frame is made, then read back: processor time of the second half only. */
    for (const span s = span_begin(b); bytes == 0 || !span_over(&s);) {
        CF_TRY(frame_compress(&w, e));
        const double began_s = cf_bench_thread_cpu_s();
        CF_TRY(cf_frames_begin(decoder, CF_WINDOW_LOG_USUAL, w.frame_len, throw_away, &bytes, e));
        CF_TRY(cf_frames_feed(decoder, cf_slice_of(w.block, w.block_len), e));
        CF_TRY(cf_frames_end(decoder, e));
        cpu_s += cf_bench_thread_cpu_s() - began_s;
    }
    *ret_bytes_per_s = bytes / (cpu_s + 1e-9);
    return CF_OK;
}

/* ---- cores ---- */

static void *worker_run(void *const arg)
{
    worker *const w = arg;

    while (w->err == CF_OK && (w->source_bytes == 0 || cf_bench_now_us() < w->until_us))
        w->err = frame_compress(w, &w->e);
    return NULL;
}

/* All workers of the plan at once: processor time they got, by the wall. */
static cf_err cores_measure(const cf_bench *const b, double *const ret_cores, cf_error *const e)
{
    const uint32_t total = b->plan.workers < THREADS_MAX ? b->plan.workers : THREADS_MAX;
    const cf_bench_level *const alone = cf_bench_level_find(&b->r->costs, CF_BENCH_LEVEL_DEFAULT);
    CF_CLEANUP(cf_freep) worker *w = cf_alloc(total, sizeof(*w));
    const uint64_t began_us = cf_bench_now_us();
    cf_err err = CF_OK;
    double bytes = 0;

    CF_ENSURE(w != NULL, e, CF_ERR_NO_MEMORY, "allocate %u workers", total);
    for (uint32_t i = 0; i < total && err == CF_OK; i++) {
        err = worker_init(&w[i], b, CF_BENCH_LEVEL_DEFAULT, e);
        w[i].at = (size_t)i * CF_FRAME_BYTES % b->sample.len;
        w[i].until_us = began_us + 2 * (uint64_t)b->each_ms * 1000;
        w[i].started =
            err == CF_OK && pthread_create(&w[i].thread, /* attr= */ NULL, worker_run, &w[i]) == 0;
    }
    for (uint32_t i = 0; i < total; i++) {
        if (!w[i].started)
            continue;
        (void)pthread_join(w[i].thread, NULL);
        bytes += w[i].source_bytes;
        if (err == CF_OK && w[i].err != CF_OK) {
            err = w[i].err;
            if (e != NULL)
                *e = w[i].e;
        }
    }
    const double wall_s = (double)(cf_bench_now_us() - began_us + 1) / 1e6;
    for (uint32_t i = 0; i < total; i++)
        worker_deinit(&w[i]);
    CF_TRY(err);
    *ret_cores = alone != NULL && alone->bytes_per_s > 0 ? bytes / wall_s / alone->bytes_per_s : 1;
    return CF_OK;
}

/* With --jobs below the cores only so many were tried: the others are taken to do as well. */
static cf_err cores_find(cf_bench *const b, cf_error *const e)
{
    const double tried = b->plan.workers;
    double found = 0;

    CF_TRY(cores_measure(b, &found, e));
    b->r->costs.cores = (found > tried ? tried : found) / tried * b->r->cores_total;
    return CF_OK;
}

/* The highest take a second for a frame: not for who is in a hurry. */
static bool level_is_usual(const cf_bench *const b, const int level)
{
    enum { HIGH = 10, IN_A_HURRY_BYTES = 64 * 1024 * 1024 };

    if (level >= HIGH && b->size_bytes < IN_A_HURRY_BYTES)
        return false;
    for (size_t i = 0; i < sizeof(levels_usual) / sizeof(levels_usual[0]); i++) {
        if (levels_usual[i] == level)
            return true;
    }
    return false;
}

cf_err cf_bench_measure_cpu(cf_bench *const b, cf_error *const e)
{
    cf_bench_costs *const c = &b->r->costs;
    const int wanted = b->opts->level == 0  ? CF_BENCH_LEVEL_DEFAULT
                       : b->opts->level < 0 ? 0
                                            : b->opts->level;

    cf_bench_tell(b, "hashing", 0, 0);
    CF_TRY(hash_measure(b, HASH_SHA256, &c->sha256_bytes_per_s, e));
    CF_TRY(hash_measure(b, HASH_MD5, &c->md5_bytes_per_s, e));
    CF_TRY(hash_measure(b, HASH_BOTH, &c->both_bytes_per_s, e));
    cf_bench_tell(b, "compressing", 0, 0);
    for (int level = 0; level <= CF_UPLOAD_LEVEL_MAX; level++) {
        if (level == wanted || level_is_usual(b, level))
            CF_TRY(level_measure(b, level, e));
    }
    CF_TRY(decode_measure(b, &c->decode_bytes_per_s, e));
    return cores_find(b, e);
}
