/* SPDX-License-Identifier: Apache-2.0
 *
 * Memory plan: one figure of the user's, divided among the pipeline and the S3 client. Pure.
 *
 *   rest      what does not grow with the work: program, libraries, TLS, manifest lines
 *   parts     the S3 client's part buffers: a quarter, at least two
 *   workers   a spare frame and a zstd context each, and two frames in the pool to have something
 *             to do
 *   frames    what is left, up to what keeps every stage busy: more would only be slower memory
 *
 * Frames are CF_FRAME_BYTES also in the smallest plan: a part of a growing file is one, at fixed
 * offsets, so a block must hold it, and a pool of smaller blocks would save nothing.
 */
#include "pipe/memory_plan.h"

#include "repo/manifest.h"

enum {
    MIB = 1024 * 1024,
    SMALL_PLAN_MIB = 96, /* below it, parts are as small as S3 allows */
    PART_SMALL_MIB =
        5, /* S3's minimum: 10,000 of them are 48 GiB, a pack has at most 1 GiB of source */
    PART_MIB = 8,
    PARTS_MIN = CF_UPLOAD_LANES_MIN, /* an open upload holds one */
    PARTS_MAX = 16,                  /* 16 of 8 MiB in flight fill 10 Gbit/s at 100 ms */
    LANES_MAX = 8,
    WORKERS_MAX = 64,
    FRAMES_PER_WORKER = 2,
    LEVEL_ENOUGH_MIB = 512, /* for one worker at any level */
    CACHE_MIN_MIB = 1,
};

static uint64_t min_u64(const uint64_t a, const uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t max_u64(const uint64_t a, const uint64_t b)
{
    return a > b ? a : b;
}

uint64_t cf_memory_plan_bytes(const cf_memory_plan *const p)
{
    return CF_MEMORY_REST_BYTES + p->part_bytes * p->parts_in_flight +
           (uint64_t)p->workers * CF_MEMORY_WORKER_BYTES +
           (uint64_t)p->frame_buffers * CF_MEMORY_FRAME_BYTES;
}

cf_err cf_memory_plan_make_for(const uint64_t memory_bytes, const uint32_t jobs,
                               const uint32_t connections, cf_memory_plan *const ret,
                               cf_error *const e)
{
    const uint64_t total = memory_bytes != 0 ? memory_bytes : (uint64_t)CF_MEMORY_DEFAULT_MIB * MIB;
    const uint64_t cores = jobs != 0 ? jobs : cf_cores();

    CF_ENSURE(total >= (uint64_t)CF_MEMORY_MIN_MIB * MIB, e, CF_ERR_USAGE,
              "memory of %llu MiB is too little, %d MiB is the least\nHINT: give --memory 128M or "
              "leave it out",
              (unsigned long long)(total / MIB), CF_MEMORY_MIN_MIB);
    cf_memory_plan p = {.part_bytes =
                            (total < (uint64_t)SMALL_PLAN_MIB * MIB ? PART_SMALL_MIB : PART_MIB) *
                            (uint64_t)MIB};
    p.parts_in_flight = (uint32_t)min_u64(max_u64(total / 4 / p.part_bytes, PARTS_MIN),
                                          connections != 0 ? connections : PARTS_MAX);
    p.parts_in_flight = (uint32_t)max_u64(p.parts_in_flight, CF_UPLOAD_LANES_MIN);
    p.lanes = (uint32_t)min_u64(p.parts_in_flight, LANES_MAX);

    uint64_t left = total - CF_MEMORY_REST_BYTES - p.part_bytes * p.parts_in_flight;
    const uint64_t per_worker =
        CF_MEMORY_WORKER_BYTES + FRAMES_PER_WORKER * (uint64_t)CF_MEMORY_FRAME_BYTES;
    p.workers = (uint32_t)min_u64(max_u64(left / per_worker, 1), min_u64(cores, WORKERS_MAX));
    left -= (uint64_t)p.workers * CF_MEMORY_WORKER_BYTES;
    const uint64_t useful = 4ull * p.workers + 2ull * p.lanes + 4;
    p.frame_buffers = (uint32_t)min_u64(left / CF_MEMORY_FRAME_BYTES, useful);
    *ret = p;
    return CF_OK;
}

cf_err cf_memory_plan_make(const uint64_t memory_bytes, const uint32_t jobs,
                           cf_memory_plan *const ret, cf_error *const e)
{
    return cf_memory_plan_make_for(memory_bytes, jobs, /* connections= */ 0, ret, e);
}

uint64_t cf_memory_worker_bytes(const int level)
{
    /* MiB of a zstd context for 4 MiB of source, measured with zstd 1.5.4; memory_plan_test
     * compares. */
    static const uint8_t context_mib[CF_UPLOAD_LEVEL_MAX + 1] = {
        2, 2, 2, 2, 3, 4, 4, 7, 7, 13, 25, 25, 49, 33, 49, 65, 33, 49, 50, 50};

    return CF_MEMORY_FRAME_BYTES + (uint64_t)context_mib[level > 0 ? level : 0] * MIB;
}

/* false: one worker and one frame do not fit. */
static bool fit(cf_memory_plan *const p, const int level)
{
    const uint64_t worker = cf_memory_worker_bytes(level);
    const uint64_t total = (uint64_t)p->workers * CF_MEMORY_WORKER_BYTES +
                           (uint64_t)p->frame_buffers * CF_MEMORY_FRAME_BYTES;
    const uint64_t most = (total - min_u64(total, CF_MEMORY_FRAME_BYTES)) / worker;

    if (worker <= CF_MEMORY_WORKER_BYTES)
        return true;
    if (most < 1)
        return false;
    p->workers =
        (uint32_t)min_u64(p->workers, max_u64(total / (worker + CF_MEMORY_FRAME_BYTES), 1));
    p->frame_buffers = (uint32_t)((total - p->workers * worker) / CF_MEMORY_FRAME_BYTES);
    return true;
}

/* How a plan is rounded hangs on the number of workers. */
static bool fits_all_jobs(const uint32_t mib, const int level)
{
    bool fits = true;

    for (uint32_t jobs = 1; jobs <= WORKERS_MAX && fits; jobs++) {
        cf_memory_plan p = {0};

        fits = cf_memory_plan_make((uint64_t)mib * MIB, jobs, &p, NULL) == CF_OK && fit(&p, level);
    }
    return fits;
}

uint32_t cf_memory_plan_least_mib(const int level)
{
    uint32_t mib = LEVEL_ENOUGH_MIB;

    /* Downwards: where parts become larger, a little more memory may leave less for the rest. */
    while (mib > CF_MEMORY_MIN_MIB && fits_all_jobs(mib - 1, level))
        mib--;
    return mib;
}

cf_err cf_memory_plan_fit_level(cf_memory_plan *const p, const int level, cf_error *const e)
{
    CF_ENSURE(fit(p, level), e, CF_ERR_USAGE,
              "compression level %d needs --memory of %u MiB at least\nHINT: give that, or a lower "
              "level",
              level, cf_memory_plan_least_mib(level));
    return CF_OK;
}

uint64_t cf_memory_cache_bytes(const uint64_t memory_bytes)
{
    enum { PART = 32 };
    const uint64_t total = memory_bytes != 0 ? memory_bytes : (uint64_t)CF_MEMORY_DEFAULT_MIB * MIB;

    return min_u64(max_u64(total / PART, (uint64_t)CACHE_MIN_MIB * MIB), CF_SEGMENT_CACHE_BYTES);
}

int cf_memory_plan_best_level(const cf_memory_plan *const p)
{
    int best = 1;

    for (int level = 1; level <= CF_UPLOAD_LEVEL_MAX; level++) {
        cf_memory_plan fitted = *p;

        if (fit(&fitted, level) && fitted.workers == p->workers &&
            fitted.frame_buffers >= FRAMES_PER_WORKER * fitted.workers)
            best = level;
    }
    return best;
}
