/* SPDX-License-Identifier: Apache-2.0
 *
 * The order of a bench: what can be wrong first, the machine, then the store.
 */
#include "bench/bench_inner.h"

#include <stdio.h>

#include "pipe/download_inner.h"
#include "s3/base/alloc.h"
#include "store/open.h"

enum {
    SIZE_USUAL = 256 * 1024 * 1024,
    SIZE_MIN = 1024 * 1024,
    STEP_MS = 2000,
    STEP_MS_MIN = 300,
    EACH_MS = 400,
    EACH_MS_MIN = 40,
    SYNCED_BYTES = 64 * 1024 * 1024, /* of a file: about a pack of one chunk */
};

static void bench_deinit(cf_bench *const b)
{
    cf_store_free(b->store);
    cf_bench_world_deinit(&b->world);
    cf_free(b->sample.data);
    cf_free(b->body);
    cf_free(b->object_bytes);
}

cf_err cf_bench_check_stop(const cf_bench *const b, cf_error *const e)
{
    CF_ENSURE(!cf_bench_user_stops(&b->world), e, CF_ERR_INTERRUPTED, "interrupted");
    return CF_OK;
}

void cf_bench_tell(const cf_bench *const b, const char *const phase, const uint64_t done_bytes,
                   const uint64_t total_bytes)
{
    const cf_progress p = {.phase = phase,
                           .done_bytes = done_bytes,
                           .total_bytes = total_bytes,
                           .done_files = b->object_total,
                           .things = "objects"};

    if (b->ctx->progress != NULL)
        b->ctx->progress(b->ctx->impl, &p);
}

/* Whoever asks for less to be moved wants to be done sooner. */
static uint32_t time_of(const uint64_t size_bytes, const uint32_t least_ms, const uint32_t most_ms)
{
    const uint64_t ms = size_bytes < SIZE_USUAL ? most_ms * size_bytes / SIZE_USUAL : most_ms;

    return ms > least_ms ? (uint32_t)ms : least_ms;
}

static cf_err opts_check(const cf_bench_opts *const o, cf_error *const e)
{
    CF_ENSURE(o->size_bytes == 0 || o->size_bytes >= SIZE_MIN, e, CF_ERR_USAGE,
              "a size of %llu bytes measures nothing, 1 MiB is the least",
              (unsigned long long)o->size_bytes);
    CF_ENSURE(o->connections <= CF_BENCH_CONNECTIONS_MAX, e, CF_ERR_USAGE,
              "%u connections are too many, %d are the most", o->connections,
              CF_BENCH_CONNECTIONS_MAX);
    CF_ENSURE(o->level >= -1 && o->level <= CF_UPLOAD_LEVEL_MAX, e, CF_ERR_USAGE,
              "compression level %d is outside 1 to %d", o->level, CF_UPLOAD_LEVEL_MAX);
    return CF_OK;
}

/* The same plan that a backup with these options makes. */
static cf_err plan_make(cf_bench *const b, cf_error *const e)
{
    const cf_remote *const o = &b->opts->remote;
    cf_bench_result *const r = b->r;

    r->memory_bytes =
        o->memory_bytes != 0 ? o->memory_bytes : (uint64_t)CF_MEMORY_DEFAULT_MIB * 1024 * 1024;
    r->cores_total = cf_cores();
    CF_TRY(cf_memory_plan_make(r->memory_bytes, o->jobs, &b->plan, e));
    if (b->opts->level > CF_BENCH_LEVEL_DEFAULT) { /* say now that it does not fit */
        cf_memory_plan fits = b->plan;
        CF_TRY(cf_memory_plan_fit_level(&fits, b->opts->level, e));
    }
    CF_TRY(cf_download_plan(r->memory_bytes, o->jobs, &r->costs.download_connections, e));
    r->costs.upload_connections = b->plan.parts_in_flight;
    r->part_bytes = b->plan.part_bytes;
    return CF_OK;
}

uint64_t cf_bench_memory_for(const uint32_t connections, const uint32_t workers, const int level)
{
    const uint64_t step = UINT64_C(64) * 1024 * 1024, most = 256 * step;

    for (uint64_t bytes = step; bytes <= most; bytes += step) {
        cf_memory_plan p = {0};

        if (cf_memory_plan_make_for(bytes, workers, connections, &p, NULL) == CF_OK &&
            (level <= CF_BENCH_LEVEL_DEFAULT ||
             cf_memory_plan_fit_level(&p, level, NULL) == CF_OK) &&
            p.parts_in_flight >= connections && p.workers >= workers)
            return bytes;
    }
    return 0;
}

static cf_err store_open(cf_bench *const b, cf_error *const e)
{
    CF_CLEANUP(cf_store_url_deinit) cf_store_url url = {0};
    const cf_store_sizes sizes = {.part_bytes = b->plan.part_bytes,
                                  .parts_in_flight = b->plan.parts_in_flight,
                                  .connections = CF_BENCH_CONNECTIONS_MAX};
    uint8_t id[CF_BENCH_ID_LEN / 2];
    int len = snprintf(b->r->prefix, sizeof(b->r->prefix), "bench/");

    b->world.inner->random(b->world.inner->impl, id, sizeof(id));
    for (size_t i = 0; i < sizeof(id); i++)
        len += snprintf(b->r->prefix + len, sizeof(b->r->prefix) - (size_t)len, "%02x", id[i]);
    (void)snprintf(b->r->prefix + len, sizeof(b->r->prefix) - (size_t)len, "/");
    b->store_ctx = *b->ctx;
    b->store_ctx.world = &b->world.world;
    CF_TRY(cf_store_open(&b->store_ctx, &b->opts->remote, &sizes, &b->store, e));
    CF_TRY(cf_store_url_parse(b->opts->remote.url, &url, e));
    b->body_bytes = b->plan.part_bytes;
    b->object_max = url.is_s3 ? b->plan.part_bytes : SYNCED_BYTES;
    b->body = cf_alloc((size_t)b->body_bytes, 1);
    b->object_bytes = cf_alloc(CF_BENCH_OBJECTS_MAX, sizeof(*b->object_bytes));
    CF_ENSURE(b->body != NULL && b->object_bytes != NULL, e, CF_ERR_NO_MEMORY,
              "allocate an object of %llu bytes", (unsigned long long)b->body_bytes);
    b->world.inner->random(b->world.inner->impl, b->body, (size_t)b->body_bytes);
    return CF_OK;
}

static cf_err bench_steps(cf_bench *const b, cf_error *const e)
{
    CF_TRY(cf_bench_try_store(b, e));    /* 1. may we write there at all?             */
    CF_TRY(cf_bench_read_source(b, e));  /* 2. the node's disk, a sample of its data  */
    CF_TRY(cf_bench_measure_cpu(b, e));  /* 3. hashes, levels, decoder                */
    return cf_bench_measure_store(b, e); /* 4. latency, then 1, 2, 4 ... connections  */
}

cf_err cf_bench_run(const cf_ctx *const ctx, const cf_bench_opts *const opts,
                    cf_bench_result *const ret, cf_error *const e)
{
    CF_CLEANUP(bench_deinit) cf_bench b = {.ctx = ctx, .opts = opts, .r = ret};
    cf_store_counts counts = {0};

    *ret = (cf_bench_result){0};
    b.size_bytes = opts->size_bytes != 0 ? opts->size_bytes : SIZE_USUAL;
    b.step_ms = time_of(b.size_bytes, STEP_MS_MIN, STEP_MS);
    b.each_ms = time_of(b.size_bytes, EACH_MS_MIN, EACH_MS);
    CF_TRY(opts_check(opts, e));
    CF_TRY(plan_make(&b, e));
    CF_TRY(cf_bench_world_init(&b.world, ctx->world, e));
    CF_TRY(store_open(&b, e));
    const cf_err err = bench_steps(&b, e);
    cf_bench_clean(&b); /* on every way out */
    b.store->ops->get_counts(b.store, &counts);
    ret->objects_total = b.object_total;
    ret->requests_total = counts.requests_total;
    ret->retries_total = counts.retries_total;
    ret->sent_bytes = counts.bytes_sent;
    ret->received_bytes = counts.bytes_received;
    return err;
}
