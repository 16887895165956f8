/* SPDX-License-Identifier: Apache-2.0
 *
 * Bench: what this machine and this store can do. Measures stage by stage with the product's own
 * code: the store's puts and gets, the hashes, the zstd settings and the decoder of the pipelines.
 *
 * Objects go below bench/<32 random hex digits>/ of the repository's prefix, which no other command
 * reads, and are deleted on every way out but a kill. Nothing else is written, nothing of a
 * repository is read: a bucket or a directory is enough.
 */
#ifndef SRC_BENCH_BENCH_H
#define SRC_BENCH_BENCH_H

#include "bench/estimate.h"
#include "chunkferry/chunkferry.h"

enum {
    CF_BENCH_CONNECTIONS_MAX = 64, /* the S3 client's */
    CF_BENCH_CONNECTIONS_USUAL = 16,
    CF_BENCH_LEFT_MAX = 8, /* keys named of those that stay behind */
    CF_BENCH_PREFIX_SIZE = 48,
    CF_BENCH_KEY_SIZE = 64,
};

typedef struct cf_bench_opts {
    cf_remote remote;
    uint64_t
        size_bytes; /* 0: 256 MiB; sent at most, and received, and read of the source. Less makes
                            each measurement shorter too */
    uint32_t connections; /* 0: up to CF_BENCH_CONNECTIONS_USUAL, less when more bring nothing */
    const char *dir;      /* NULL: made-up events; else files below it are read */
    int level;            /* 0: 3; -1: off. That a backup is to use */
} cf_bench_opts;

typedef enum cf_bench_op {
    CF_BENCH_PUT,
    CF_BENCH_GET,
    CF_BENCH_HEAD,
    CF_BENCH_LIST,
    CF_BENCH_OP_TOTAL
} cf_bench_op;

typedef struct cf_bench_latency { /* of a small object, one after the other */
    uint32_t total;
    double median_ms, worst_ms;
} cf_bench_latency;

typedef struct cf_bench_source {
    uint64_t files_total, files_bytes; /* found */
    uint64_t read_bytes;               /* 0: made-up events */
    double duration_s;
    bool more_files; /* than were looked at */
} cf_bench_source;

typedef struct cf_bench_result {
    cf_bench_source source;
    cf_bench_costs costs;
    uint32_t cores_total;
    uint64_t part_bytes, memory_bytes;
    cf_bench_latency latency[CF_BENCH_OP_TOTAL];
    uint64_t objects_total, requests_total, retries_total, sent_bytes, received_bytes;
    char prefix[CF_BENCH_PREFIX_SIZE]; /* bench/<id>/ */
    uint64_t left_total;               /* objects that could not be deleted */
    char left[CF_BENCH_LEFT_MAX][CF_BENCH_KEY_SIZE];
} cf_bench_result;

/* ret is filled as far as it came also on failure (prefix, left_total). CF_ERR_USAGE; what the store
 * answered; CF_ERR_SOURCE: nothing to read there; CF_ERR_INTERRUPTED. Objects that stayed are no
 * failure of their own: look at left_total. */
CF_NODISCARD cf_err cf_bench_run(const cf_ctx *ctx, const cf_bench_opts *opts, cf_bench_result *ret,
                                 cf_error *e);

/* The least --memory with which a backup has so many connections and workers at that level (0: off);
 * 0: none below 16 GiB. Pure. */
uint64_t cf_bench_memory_for(uint32_t connections, uint32_t workers, int level);

#endif
