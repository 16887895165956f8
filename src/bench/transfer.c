/* SPDX-License-Identifier: Apache-2.0
 *
 * The store: how long small requests take, and how much goes through 1, 2, 4, ... connections.
 *
 * A step starts transfers for so long, and lets end what is under way. Its rate is all bytes by the
 * time until the last one ended. Not the sum of each thread's own: a store that serves one after the
 * other would look faster with every thread.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "bench/bench_inner.h"
#include "s3/base/alloc.h"

enum {
    SMALL_BYTES = 512,
    SMALL_TOTAL = 20,
    SMALL_MS = 1500,              /* for all of one kind */
    OBJECT_BYTES_MIN = 64 * 1024, /* what is smaller measures latency */
    WRITE_BYTES = CF_FRAME_BYTES, /* as a lane of the pipeline writes */
    IN_VAIN_MAX = 2,              /* steps in a row that bring less than a tenth more */
};
static const double more = 1.1;

typedef struct step {
    cf_bench *b;
    cf_bench_op op;
    uint64_t object_bytes, until_us;
    int64_t left_bytes; /* lock */
    uint32_t next;      /* lock; GET: the object to read next */
    pthread_mutex_t lock;
} step;

/* One thread of a step: as a lane of a backup, a worker of a restore. */
typedef struct lane {
    step *s;
    uint64_t bytes, last_us;
    pthread_t thread;
    bool started;
    cf_err err;
    cf_error e;
} lane;

/* ---- one transfer ---- */

static uint64_t min_u64(const uint64_t a, const uint64_t b)
{
    return a < b ? a : b;
}

/* A large object is written piece by piece, as a pack is; each is one synced file of a directory. */
static cf_err object_stream(const cf_bench *const b, const char *const key, const uint64_t bytes,
                            cf_error *const e)
{
    const cf_store_ops *const ops = b->store->ops;
    cf_store_put *put = NULL;

    CF_TRY(ops->put_open(b->store, key, /* opts= */ NULL, &put, e));
    for (uint64_t at = 0; at < bytes;) {
        const uint64_t from = at % b->body_bytes;
        const size_t len = (size_t)min_u64(min_u64(bytes - at, WRITE_BYTES), b->body_bytes - from);
        const cf_err err = ops->put_write(put, cf_slice_of(b->body + from, len), e);

        if (err != CF_OK) {
            ops->put_abort(put);
            return err;
        }
        at += len;
    }
    return ops->put_finish(put, /* ret= */ NULL, e);
}

static cf_err object_put(const cf_bench *const b, const uint32_t number, const uint64_t bytes,
                         cf_error *const e)
{
    char key[CF_BENCH_KEY_SIZE];

    cf_bench_key(b, number, key);
    if (bytes > b->body_bytes)
        return object_stream(b, key, bytes, e);
    return b->store->ops->put(b->store, key, cf_slice_of(b->body, (size_t)bytes),
                              /* opts= */ NULL, /* ret= */ NULL, e);
}

static cf_err count_bytes(void *const impl, const cf_slice bytes, cf_error *const e)
{
    uint64_t *const sum = impl;

    (void)e;
    *sum += bytes.len;
    return CF_OK;
}

static cf_err object_get(const cf_bench *const b, const uint32_t number, const uint64_t bytes,
                         cf_error *const e)
{
    char key[CF_BENCH_KEY_SIZE];
    uint64_t got = 0;

    cf_bench_key(b, number, key);
    CF_TRY(b->store->ops->get(b->store, key, /* offset= */ 0, bytes, count_bytes, &got, e));
    CF_ENSURE(got == bytes, e, CF_ERR_PROTOCOL,
              "object '%s' has %" PRIu64 " bytes, the store gave %" PRIu64, key, bytes, got);
    return CF_OK;
}

/* ---- a step ---- */

/* The next object, or that the time, the bytes or the numbers are used up. Each thread gets one. */
static bool object_take(step *const s, const bool first, uint32_t *const ret)
{
    cf_bench *const b = s->b;
    const bool in_time = cf_bench_now_us() < s->until_us;

    (void)pthread_mutex_lock(&s->lock);
    bool given = first || (in_time && s->left_bytes > 0);
    if (s->op == CF_BENCH_PUT) {
        given = given && b->object_total < CF_BENCH_OBJECTS_MAX;
        *ret = b->object_total;
        if (given)
            b->object_bytes[b->object_total++] = (uint32_t)s->object_bytes;
    } else if (given) {
        while (b->object_bytes[s->next % b->object_total] < s->object_bytes)
            s->next++; /* one is that large: see object_bytes_of() */
        *ret = s->next++ % b->object_total;
    }
    if (given)
        s->left_bytes -= (int64_t)s->object_bytes;
    (void)pthread_mutex_unlock(&s->lock);
    return given;
}

/* Not there, or not whole: nobody is to read it. It is deleted all the same. */
static void object_forget(step *const s, const uint32_t number)
{
    (void)pthread_mutex_lock(&s->lock);
    if (s->op == CF_BENCH_PUT)
        s->b->object_bytes[number] = 0;
    (void)pthread_mutex_unlock(&s->lock);
}

static void *lane_run(void *const arg)
{
    lane *const l = arg;
    step *const s = l->s;
    uint32_t number = 0;

    for (bool first = true; object_take(s, first, &number); first = false) {
        l->err = s->op == CF_BENCH_PUT ? object_put(s->b, number, s->object_bytes, &l->e)
                                       : object_get(s->b, number, s->object_bytes, &l->e);
        if (l->err != CF_OK) {
            object_forget(s, number);
            return NULL;
        }
        l->bytes += s->object_bytes;
        l->last_us = cf_bench_now_us();
    }
    return NULL;
}

/* What ended a lane: the user, the deadline of the step, or the store. */
static cf_err lane_judge(const cf_bench *const b, const lane *const l, cf_error *const e)
{
    if (l->err == CF_OK ||
        (l->err == CF_ERR_INTERRUPTED && !cf_bench_user_stops(&b->world) && l->bytes > 0))
        return CF_OK;
    CF_ENSURE(l->err != CF_ERR_INTERRUPTED || cf_bench_user_stops(&b->world), e, CF_ERR_TIMEOUT,
              "the store did not take or give an object of %" PRIu64 " bytes within %u s",
              l->s->object_bytes, (b->step_ms + CF_BENCH_ANSWER_MS) / 1000);
    if (e != NULL)
        *e = l->e;
    return l->err;
}

static cf_err lanes_run(step *const s, lane *const lanes, const uint32_t total, cf_error *const e)
{
    cf_bench *const b = s->b;

    cf_bench_world_allow(&b->world, b->step_ms + CF_BENCH_ANSWER_MS);
    for (uint32_t i = 0; i < total; i++) {
        lanes[i].s = s;
        lanes[i].started =
            pthread_create(&lanes[i].thread, /* attr= */ NULL, lane_run, &lanes[i]) == 0;
    }
    for (uint32_t i = 0; i < total; i++) {
        if (lanes[i].started)
            (void)pthread_join(lanes[i].thread, NULL);
    }
    for (uint32_t i = 0; i < total; i++) {
        CF_ENSURE(lanes[i].started, e, CF_ERR_NO_MEMORY, "start %u threads", total);
        CF_TRY(lane_judge(b, &lanes[i], e));
    }
    return CF_OK;
}

static cf_err step_run(step *const s, const uint32_t connections, cf_bench_step *const ret,
                       cf_error *const e)
{
    CF_CLEANUP(cf_freep) lane *lanes = cf_alloc(connections, sizeof(*lanes));
    cf_bench_step x = {.connections = connections, .object_bytes = s->object_bytes};

    CF_ENSURE(lanes != NULL, e, CF_ERR_NO_MEMORY, "allocate %u lanes", connections);
    CF_TRY(cf_bench_check_stop(s->b, e));
    const double cpu_s = cf_bench_process_cpu_s();
    const uint64_t began_us = cf_bench_now_us();
    s->until_us = began_us + (uint64_t)s->b->step_ms * 1000;
    CF_TRY(lanes_run(s, lanes, connections, e));
    for (uint32_t i = 0; i < connections; i++) {
        const double lane_s = (double)(lanes[i].last_us - began_us + 1) / 1e6;

        x.bytes += lanes[i].bytes;
        x.duration_s = lane_s > x.duration_s ? lane_s : x.duration_s;
    }
    x.bytes_per_s = (double)x.bytes / x.duration_s;
    x.cpu_s_per_byte = (cf_bench_process_cpu_s() - cpu_s) / (double)x.bytes;
    *ret = x;
    return CF_OK;
}

/* ---- how large, how many ---- */

static uint64_t max_u64(const uint64_t a, const uint64_t b)
{
    return a > b ? a : b;
}

/* A directory has no latency to hide: as many as a backup has lanes will do. */
static uint32_t connections_most(const cf_bench *const b)
{
    if (b->opts->connections != 0)
        return b->opts->connections;
    return b->object_max > b->body_bytes ? b->plan.lanes : CF_BENCH_CONNECTIONS_USUAL;
}

static uint64_t largest_stored(const cf_bench *const b)
{
    uint64_t most = 0;

    for (uint32_t i = 0; i < b->object_total; i++)
        most = b->object_bytes[i] > most ? b->object_bytes[i] : most;
    return most;
}

/* So large that each connection has about a second with one, if all together are no faster than the
 * best step so far; a part at most; and so that what is left of --size does for this step and the
 * ones that may follow, which have twice as many each. */
static uint64_t object_bytes_of(const cf_bench *const b, const cf_bench_op op,
                                const double best_bytes_per_s, const uint64_t left_bytes,
                                const uint32_t connections)
{
    const uint64_t share = left_bytes / (2 * connections_most(b) - connections);
    const uint64_t second = (uint64_t)(best_bytes_per_s / connections);
    const uint64_t ceiling = min_u64(op == CF_BENCH_PUT ? b->object_max : largest_stored(b), share);
    const uint64_t least = min_u64(OBJECT_BYTES_MIN, largest_stored(b));

    return second < ceiling ? max_u64(second, least) : max_u64(ceiling, least);
}

/* The first guess of the store's speed: objects that grow until one takes a while. */
static cf_err speed_guess(cf_bench *const b, const cf_bench_op op, double *const ret_bytes_per_s,
                          cf_error *const e)
{
    enum { A_WHILE_US = 100000, GROWTH = 4 };
    uint64_t bytes = OBJECT_BYTES_MIN;
    double rate = 0;

    for (uint64_t took_us = 0; took_us < A_WHILE_US && bytes <= b->body_bytes; bytes *= GROWTH) {
        step s = {.b = b,
                  .op = op,
                  .object_bytes = min_u64(bytes, op == CF_BENCH_PUT ? bytes : largest_stored(b)),
                  .left_bytes = 1,
                  .lock = PTHREAD_MUTEX_INITIALIZER};
        cf_bench_step x = {0};

        CF_TRY(step_run(&s, 1, &x, e));
        rate = x.bytes_per_s > rate ? x.bytes_per_s : rate;
        took_us = (uint64_t)(x.duration_s * 1e6);
    }
    *ret_bytes_per_s = rate;
    return CF_OK;
}

static cf_err curve_measure(cf_bench *const b, const cf_bench_op op, cf_bench_step *const steps,
                            size_t *const ret_total, cf_error *const e)
{
    const uint32_t most = connections_most(b);
    double best = 0;
    unsigned in_vain = 0;
    uint64_t moved = 0;
    size_t total = 0;

    CF_TRY(speed_guess(b, op, &best, e));
    for (uint32_t n = 1; total < CF_BENCH_STEPS_MAX; n = (uint32_t)min_u64(2ull * n, most)) {
        const uint64_t left = moved < b->size_bytes ? b->size_bytes - moved : 0;
        const uint64_t bytes = object_bytes_of(b, op, best, left, n);
        step s = {.b = b,
                  .op = op,
                  .object_bytes = bytes,
                  .left_bytes = (int64_t)(left / (2 * most - n) * n),
                  .lock = PTHREAD_MUTEX_INITIALIZER};

        cf_bench_tell(b, op == CF_BENCH_PUT ? "sending" : "receiving", moved, b->size_bytes);
        CF_TRY(step_run(&s, n, &steps[total], e));
        moved += steps[total].bytes;
        in_vain = steps[total].bytes_per_s < more * best ? in_vain + 1 : 0;
        best = steps[total].bytes_per_s > best ? steps[total].bytes_per_s : best;
        total++;
        if (n == most || (b->opts->connections == 0 && in_vain > IN_VAIN_MAX))
            break;
    }
    *ret_total = total;
    return CF_OK;
}

/* ---- small requests ---- */

static cf_err entry_pass(void *const impl, const cf_store_entry *const entry, bool *const ret_stop,
                         cf_error *const e)
{
    (void)impl;
    (void)entry;
    (void)ret_stop;
    (void)e;
    return CF_OK;
}

static cf_err small_ask(cf_bench *const b, const cf_bench_op op, cf_error *const e)
{
    const cf_store_ops *const ops = b->store->ops;
    char key[CF_BENCH_KEY_SIZE];
    cf_object_stat st = {0};
    uint64_t got = 0;

    cf_bench_key(b, 0, key);
    if (op == CF_BENCH_PUT)
        return ops->put(b->store, key, cf_slice_of(b->body, SMALL_BYTES), /* opts= */ NULL,
                        /* ret= */ NULL, e);
    if (op == CF_BENCH_GET)
        return ops->get(b->store, key, /* offset= */ 0, /* len= */ 0, count_bytes, &got, e);
    if (op == CF_BENCH_HEAD)
        return ops->head(b->store, key, &st, e);
    return ops->list(b->store, b->r->prefix, /* after= */ NULL, /* delimiter= */ NULL, entry_pass,
                     /* impl= */ NULL, e);
}

static int compare_u64(const void *const a, const void *const b)
{
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

static cf_err latency_measure(cf_bench *const b, const cf_bench_op op, cf_error *const e)
{
    cf_bench_latency *const l = &b->r->latency[op];
    const uint64_t began_us = cf_bench_now_us();
    uint64_t us[SMALL_TOTAL];

    cf_bench_world_allow(&b->world, SMALL_MS + CF_BENCH_ANSWER_MS);
    while (l->total < SMALL_TOTAL &&
           (l->total == 0 || cf_bench_now_us() - began_us < (uint64_t)SMALL_MS * 1000)) {
        const uint64_t asked_us = cf_bench_now_us();
        const cf_err err = small_ask(b, op, e);

        if (err == CF_ERR_INTERRUPTED && !cf_bench_user_stops(&b->world))
            CF_FAIL(e, CF_ERR_TIMEOUT, "the store did not answer a small request within %d s",
                    CF_BENCH_ANSWER_MS / 1000);
        CF_TRY(err);
        us[l->total++] = cf_bench_now_us() - asked_us;
    }
    qsort(us, l->total, sizeof(us[0]), compare_u64);
    const size_t middle = l->total / 2;
    l->median_ms = (double)us[middle] / 1e3;
    l->worst_ms = (double)us[l->total - 1] / 1e3;
    return CF_OK;
}

/* Refused for good: nothing of ours is there. */
static bool is_refusal(const cf_err err)
{
    return err == CF_ERR_NO_BUCKET || err == CF_ERR_AUTH || err == CF_ERR_DENIED ||
           err == CF_ERR_CREDENTIALS || err == CF_ERR_ACCESS;
}

cf_err cf_bench_try_store(cf_bench *const b, cf_error *const e)
{
    cf_bench_world_allow(&b->world, CF_BENCH_ANSWER_MS);
    b->object_bytes[b->object_total++] = SMALL_BYTES; /* number 0 */
    const cf_err err = small_ask(b, CF_BENCH_PUT, e);

    if (err == CF_ERR_INTERRUPTED && !cf_bench_user_stops(&b->world))
        CF_FAIL(e, CF_ERR_TIMEOUT,
                "the store did not answer within %d s\nHINT: check --repo and "
                "--endpoint",
                CF_BENCH_ANSWER_MS / 1000);
    if (is_refusal(err))
        b->object_total = 0;
    return err;
}

cf_err cf_bench_measure_store(cf_bench *const b, cf_error *const e)
{
    cf_bench_costs *const c = &b->r->costs;

    cf_bench_tell(b, "asking", 0, 0);
    for (int op = 0; op < CF_BENCH_OP_TOTAL; op++)
        CF_TRY(latency_measure(b, (cf_bench_op)op, e));
    CF_TRY(curve_measure(b, CF_BENCH_PUT, c->puts, &c->put_total, e));
    return curve_measure(b, CF_BENCH_GET, c->gets, &c->get_total, e);
}
