/* SPDX-License-Identifier: Apache-2.0
 *
 * Estimate: from what each stage of the pipeline costs here, how fast a first backup and a restore
 * will be, and which stage they wait for. Pure: figures in, figures out. tests/bench/model.py
 * does the same sums for machines that are not here.
 *
 * A pipeline is as fast as its slowest stage, or as all processors together: each limit below is
 * bytes of the node's own data a second, as if nothing else limited it; the least one is the bound.
 */
#ifndef SRC_BENCH_ESTIMATE_H
#define SRC_BENCH_ESTIMATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { CF_BENCH_LEVELS_MAX = 24, CF_BENCH_STEPS_MAX = 16, CF_BENCH_LEVEL_DEFAULT = 3 };

typedef enum cf_bench_stage {
    CF_BENCH_SOURCE,     /* reading the node's files */
    CF_BENCH_HASHING,    /* the one thread that hashes a file from front to back */
    CF_BENCH_CODING,     /* zstd on its threads */
    CF_BENCH_PROCESSORS, /* all of it on all of them, no single stage */
    CF_BENCH_TRANSFER,   /* the link, or the store's disks */
    CF_BENCH_LATENCY,    /* as TRANSFER, and more connections were seen to carry more */
    CF_BENCH_STAGE_TOTAL,
} cf_bench_stage;
/* "source", "hashing", "compression", "processors", "upload", "latency"; of a restore
 * "decompression" and "download". Stable: --json prints them. */
const char *cf_bench_stage_name(cf_bench_stage stage, bool restore);

typedef struct cf_bench_level {
    int level;          /* 0: off */
    double bytes_per_s; /* source, one thread; 0: as good as free */
    double ratio;       /* source bytes / stored bytes, > 0 */
    uint32_t workers;   /* that --memory and --jobs allow at this level; 0: it does not fit */
} cf_bench_level;

typedef struct cf_bench_step {
    uint32_t connections;
    uint64_t object_bytes, bytes; /* of one object; moved in all */
    double duration_s;
    double bytes_per_s;    /* stored */
    double cpu_s_per_byte; /* of this process: signing, TLS, the kernel's copying */
} cf_bench_step;

typedef struct cf_bench_costs {
    double cores; /* that take work at once: measured, so not more than there are */
    double read_bytes_per_s, read_cpu_s_per_byte; /* 0: not measured, and no limit */
    double sha256_bytes_per_s, md5_bytes_per_s;   /* one thread */
    double both_bytes_per_s;                      /* SHA-256 and MD5, as the hash thread does */
    double decode_bytes_per_s;                    /* source, one thread */
    cf_bench_level levels[CF_BENCH_LEVELS_MAX];
    size_t level_total;
    cf_bench_step puts[CF_BENCH_STEPS_MAX], gets[CF_BENCH_STEPS_MAX]; /* by connections */
    size_t put_total, get_total;
    uint32_t upload_connections;   /* that a backup with these options uses */
    uint32_t download_connections; /* a restore */
} cf_bench_costs;

typedef struct cf_bench_estimate {
    int level;
    uint32_t connections;
    double bytes_per_s; /* of source; 0: nothing was measured */
    cf_bench_stage bound;
    double limit[CF_BENCH_STAGE_TOTAL]; /* 0: none; LATENCY is never set, TRANSFER is */
    double coding_share;                /* of the processors' time, 0..1 */
} cf_bench_estimate;

/* Stored bytes a second at so many connections: between two steps on the line between them, beyond
 * the last as much as there. 0 without steps. */
double cf_bench_rate_at(const cf_bench_step *steps, size_t total, uint32_t connections);
/* The fewest connections that move 95 % of the most any step did; 0 without steps. */
uint32_t cf_bench_connections_best(const cf_bench_step *steps, size_t total);

/* NULL: that level was not measured. */
const cf_bench_level *cf_bench_level_find(const cf_bench_costs *c, int level);
/* A first backup: everything is read, hashed, compressed and sent. */
cf_bench_estimate cf_bench_estimate_backup(const cf_bench_costs *c, const cf_bench_level *level,
                                           uint32_t connections);
/* A restore of what was stored at that level; the target's disk is not in it. */
cf_bench_estimate cf_bench_estimate_restore(const cf_bench_costs *c, const cf_bench_level *level,
                                            uint32_t connections);
/* The level that makes a backup fastest with so many connections, and of those within 3 % of it the
 * one that stores least. NULL: none fits. */
const cf_bench_level *cf_bench_level_best(const cf_bench_costs *c, uint32_t connections);

/* What to change, with what it brings. */
typedef enum cf_bench_advice_kind {
    CF_BENCH_ADVICE_CONNECTIONS, /* value: how many */
    CF_BENCH_ADVICE_COMPRESSION, /* value: the level, 0: off */
    CF_BENCH_ADVICE_WORKERS,     /* value: how many cores would take work; --jobs, --memory */
} cf_bench_advice_kind;

typedef struct cf_bench_advice {
    cf_bench_advice_kind kind;
    uint32_t value;
    uint32_t connections, workers; /* that it takes: memory has to allow them */
    int level;
    double before_bytes_per_s, after_bytes_per_s; /* of a first backup */
    double stored_before, stored_after;           /* stored bytes a source byte */
} cf_bench_advice;
enum { CF_BENCH_ADVICE_MAX = 3 };

/* For a backup at that level; each builds on the one before. Returns their number; 0: all is well.
 */
size_t cf_bench_advise(const cf_bench_costs *c, const cf_bench_level *level,
                       cf_bench_advice ret[CF_BENCH_ADVICE_MAX]);

#endif
