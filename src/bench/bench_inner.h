/* SPDX-License-Identifier: Apache-2.0
 *
 * Bench, inside: the steps of cf_bench_run(), one file each.
 */
#ifndef SRC_BENCH_BENCH_INNER_H
#define SRC_BENCH_BENCH_INNER_H

#include <pthread.h>
#include <stdatomic.h>

#include "bench/bench.h"
#include "pipe/memory_plan.h"
#include "s3/base/cleanup.h"
#include "store/store.h"

enum {
    CF_BENCH_OBJECTS_MAX = 16384,
    CF_BENCH_ID_LEN = 32,
    CF_BENCH_ANSWER_MS = 30000, /* for what is under way when the time of a step is over */
    CF_BENCH_CLEAN_MS = 30000,  /* for deleting, also after an interrupt */
};

/* The command's world with a deadline of each step; deleting goes on when the user wants to stop. */
typedef struct cf_bench_world {
    cf_world world; /* impl is this */
    const cf_world *inner;
    atomic_ullong deadline_mono_ms; /* 0: none */
    atomic_bool cleaning;
    pthread_mutex_t lock;
    pthread_cond_t nobody; /* to sleep on while cleaning */
    bool has_lock, has_cond;
} cf_bench_world;
CF_NODISCARD cf_err cf_bench_world_init(cf_bench_world *w, const cf_world *inner, cf_error *e);
void cf_bench_world_deinit(cf_bench_world *w); /* a zeroed one is fine */
/* Waits end so many ms from now. */
void cf_bench_world_allow(cf_bench_world *w, uint64_t ms);
bool cf_bench_user_stops(const cf_bench_world *w);

/* Microseconds that never go back; the world's clock counts milliseconds. */
uint64_t cf_bench_now_us(void);
/* Processor time so far, user and system: of the calling thread, of the process. */
double cf_bench_thread_cpu_s(void);
double cf_bench_process_cpu_s(void);

/* What is compressed: whole frames of the source, or made up. */
typedef struct cf_bench_sample {
    uint8_t *data; /* owned */
    size_t len, max;
} cf_bench_sample;

typedef struct cf_bench {
    const cf_ctx *ctx;
    const cf_bench_opts *opts;
    cf_bench_result *r;
    cf_bench_world world;
    cf_ctx store_ctx; /* ctx with our world */
    cf_store *store;  /* owned */
    cf_memory_plan plan;
    cf_bench_sample sample;
    uint8_t *body; /* owned; body_bytes that no store can make smaller */
    uint64_t body_bytes;
    uint64_t object_max; /* of one object: a part, or more where each is synced */
    uint64_t size_bytes;
    uint32_t step_ms;       /* to start transfers in */
    uint32_t each_ms;       /* of the processors, for one figure */
    uint32_t *object_bytes; /* owned; by number, of those that were begun */
    uint32_t object_total;
} cf_bench;

/* sample.c: fills b->sample and r->source. */
CF_NODISCARD cf_err cf_bench_read_source(cf_bench *b, cf_error *e);
/* cpu.c: hashes, levels, decoder, cores. */
CF_NODISCARD cf_err cf_bench_measure_cpu(cf_bench *b, cf_error *e);
/* transfer.c: one small PUT, which says in the store's words what is wrong. */
CF_NODISCARD cf_err cf_bench_try_store(cf_bench *b, cf_error *e);
/* Latency, PUT and GET at 1, 2, 4, ... connections. */
CF_NODISCARD cf_err cf_bench_measure_store(cf_bench *b, cf_error *e);
/* clean.c: deletes all objects of this run, and lists what is left. */
void cf_bench_clean(cf_bench *b);

/* Key of an object by its number, or by a name. */
void cf_bench_key(const cf_bench *b, uint32_t number, char ret[CF_BENCH_KEY_SIZE]);
CF_NODISCARD cf_err cf_bench_check_stop(const cf_bench *b, cf_error *e);
void cf_bench_tell(const cf_bench *b, const char *phase, uint64_t done_bytes, uint64_t total_bytes);

#endif
