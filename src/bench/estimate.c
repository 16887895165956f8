/* SPDX-License-Identifier: Apache-2.0
 *
 * Sums over stages.
 */
#include "bench/estimate.h"

/* Ours: below it, a difference between two steps is noise. */
static const double more_connections_help = 1.25;
static const double enough_of_the_most = 0.95;
static const double as_fast = 0.97;
static const double most_of_the_processors = 0.6;

const char *cf_bench_stage_name(const cf_bench_stage stage, const bool restore)
{
    static const char *const names[CF_BENCH_STAGE_TOTAL] = {"source",     "hashing", "compression",
                                                            "processors", "upload",  "latency"};

    if (restore && stage == CF_BENCH_CODING)
        return "decompression";
    if (restore && stage == CF_BENCH_TRANSFER)
        return "download";
    return names[stage];
}

double cf_bench_rate_at(const cf_bench_step *const steps, const size_t total,
                        const uint32_t connections)
{
    if (total == 0)
        return 0;
    if (connections <= steps[0].connections)
        return steps[0].bytes_per_s * connections / steps[0].connections;
    for (size_t i = 1; i < total; i++) {
        const cf_bench_step *const a = &steps[i - 1], *const b = &steps[i];

        if (connections <= b->connections)
            return a->bytes_per_s + (b->bytes_per_s - a->bytes_per_s) *
                                        (connections - a->connections) /
                                        (b->connections - a->connections);
    }
    return steps[total - 1].bytes_per_s;
}

static double rate_most(const cf_bench_step *const steps, const size_t total)
{
    double most = 0;

    for (size_t i = 0; i < total; i++)
        most = steps[i].bytes_per_s > most ? steps[i].bytes_per_s : most;
    return most;
}

uint32_t cf_bench_connections_best(const cf_bench_step *const steps, const size_t total)
{
    const double most = rate_most(steps, total);

    for (size_t i = 0; i < total; i++) {
        if (steps[i].bytes_per_s >= enough_of_the_most * most)
            return steps[i].connections;
    }
    return 0;
}

const cf_bench_level *cf_bench_level_find(const cf_bench_costs *const c, const int level)
{
    for (size_t i = 0; i < c->level_total; i++) {
        if (c->levels[i].level == level)
            return &c->levels[i];
    }
    return NULL;
}

/* Processor seconds a byte of the step next to that many connections. */
static double cpu_at(const cf_bench_step *const steps, const size_t total,
                     const uint32_t connections)
{
    size_t i = 0;

    while (i + 1 < total && steps[i].connections < connections)
        i++;
    return total == 0 ? 0 : steps[i].cpu_s_per_byte;
}

static double cost(const double bytes_per_s)
{
    return bytes_per_s > 0 ? 1 / bytes_per_s : 0;
}

/* The least limit is the bound. Where that is all processors together, the stage that takes most of
 * their time has the name, if one does. */
static void bound_find(cf_bench_estimate *const x, const double hashing_share)
{
    for (int i = 0; i < CF_BENCH_STAGE_TOTAL; i++) {
        if (x->limit[i] <= 0 || (x->bytes_per_s > 0 && x->limit[i] >= x->bytes_per_s))
            continue;
        x->bytes_per_s = x->limit[i];
        x->bound = (cf_bench_stage)i;
    }
    if (x->bound != CF_BENCH_PROCESSORS)
        return;
    if (x->coding_share >= most_of_the_processors)
        x->bound = CF_BENCH_CODING;
    else if (hashing_share >= most_of_the_processors)
        x->bound = CF_BENCH_HASHING;
}

static void latency_tell(cf_bench_estimate *const x, const cf_bench_step *const steps,
                         const size_t total)
{
    const double now = cf_bench_rate_at(steps, total, x->connections);

    if (x->bound == CF_BENCH_TRANSFER && rate_most(steps, total) >= more_connections_help * now)
        x->bound = CF_BENCH_LATENCY;
}

static void processors_limit(cf_bench_estimate *const x, const cf_bench_costs *const c,
                             const double hash_s, const double code_s, const double rest_s)
{
    const double all = hash_s + code_s + rest_s;

    if (all > 0)
        x->limit[CF_BENCH_PROCESSORS] = c->cores / all;
    x->coding_share = all > 0 ? code_s / all : 0;
    bound_find(x, all > 0 ? hash_s / all : 0);
}

cf_bench_estimate cf_bench_estimate_backup(const cf_bench_costs *const c,
                                           const cf_bench_level *const level,
                                           const uint32_t connections)
{
    cf_bench_estimate x = {.level = level->level, .connections = connections};
    const double workers = level->workers < c->cores ? level->workers : c->cores;
    const double send_s = cpu_at(c->puts, c->put_total, connections) / level->ratio;

    x.limit[CF_BENCH_SOURCE] = c->read_bytes_per_s;
    x.limit[CF_BENCH_HASHING] = c->both_bytes_per_s;
    x.limit[CF_BENCH_CODING] = level->bytes_per_s * workers;
    x.limit[CF_BENCH_TRANSFER] =
        cf_bench_rate_at(c->puts, c->put_total, connections) * level->ratio;
    processors_limit(&x, c, cost(c->both_bytes_per_s), cost(level->bytes_per_s),
                     send_s + c->read_cpu_s_per_byte);
    latency_tell(&x, c->puts, c->put_total);
    return x;
}

cf_bench_estimate cf_bench_estimate_restore(const cf_bench_costs *const c,
                                            const cf_bench_level *const level,
                                            const uint32_t connections)
{
    cf_bench_estimate x = {.level = level->level, .connections = connections};
    const double threads = connections < c->cores ? connections : c->cores;
    const double decode = level->level == 0 ? 0 : c->decode_bytes_per_s;
    const double get_s = cpu_at(c->gets, c->get_total, connections) / level->ratio;

    x.limit[CF_BENCH_CODING] = decode * threads;
    x.limit[CF_BENCH_TRANSFER] =
        cf_bench_rate_at(c->gets, c->get_total, connections) * level->ratio;
    processors_limit(&x, c, cost(c->sha256_bytes_per_s), cost(decode), get_s);
    latency_tell(&x, c->gets, c->get_total);
    return x;
}

/* What is saved once in time is paid for in space every month: a level that stores twice as much
 * as another could is none to advise, however fast. */
static bool is_small_enough(const cf_bench_costs *const c, const cf_bench_level *const level)
{
    bool small = level->workers > 0;

    for (size_t i = 0; i < c->level_total; i++)
        small = small && (c->levels[i].workers == 0 || level->ratio * 2 >= c->levels[i].ratio);
    return small;
}

const cf_bench_level *cf_bench_level_best(const cf_bench_costs *const c, const uint32_t connections)
{
    const cf_bench_level *best = NULL;
    double most = 0;

    for (size_t i = 0; i < c->level_total; i++) {
        if (!is_small_enough(c, &c->levels[i]))
            continue;
        const double rate = cf_bench_estimate_backup(c, &c->levels[i], connections).bytes_per_s;
        most = rate > most ? rate : most;
    }
    for (size_t i = 0; i < c->level_total; i++) {
        const cf_bench_level *const l = &c->levels[i];

        if (!is_small_enough(c, l) ||
            cf_bench_estimate_backup(c, l, connections).bytes_per_s < as_fast * most)
            continue;
        best = best == NULL || l->ratio > best->ratio ? l : best;
    }
    return best;
}

/* ---- advice ---- */

static const double worth_a_change = 1.05;

/* Workers that --jobs or --memory keep from the cores. */
static bool workers_advise(const cf_bench_costs *const c, const cf_bench_level *const level,
                           const uint32_t connections, cf_bench_advice *const ret)
{
    cf_bench_level all = *level;
    const cf_bench_estimate now = cf_bench_estimate_backup(c, level, connections);

    all.workers = (uint32_t)(c->cores + 0.5);
    const cf_bench_estimate then = cf_bench_estimate_backup(c, &all, connections);
    if (all.workers <= level->workers || then.bytes_per_s < worth_a_change * now.bytes_per_s)
        return false;
    *ret = (cf_bench_advice){.kind = CF_BENCH_ADVICE_WORKERS,
                             .value = all.workers,
                             .connections = connections,
                             .workers = all.workers,
                             .level = level->level,
                             .before_bytes_per_s = now.bytes_per_s,
                             .after_bytes_per_s = then.bytes_per_s,
                             .stored_before = 1 / level->ratio,
                             .stored_after = 1 / level->ratio};
    return true;
}

/* Faster, or as fast and smaller. */
static bool compression_advise(const cf_bench_costs *const c, const cf_bench_level *const level,
                               const uint32_t connections, cf_bench_advice *const ret)
{
    const cf_bench_level *const best = cf_bench_level_best(c, connections);

    if (best == NULL || best == level)
        return false;
    const cf_bench_estimate now = cf_bench_estimate_backup(c, level, connections);
    const cf_bench_estimate then = cf_bench_estimate_backup(c, best, connections);
    if (then.bytes_per_s < worth_a_change * now.bytes_per_s &&
        best->ratio < worth_a_change * level->ratio)
        return false;
    *ret = (cf_bench_advice){.kind = CF_BENCH_ADVICE_COMPRESSION,
                             .value = (uint32_t)best->level,
                             .connections = connections,
                             .workers = best->workers,
                             .level = best->level,
                             .before_bytes_per_s = now.bytes_per_s,
                             .after_bytes_per_s = then.bytes_per_s,
                             .stored_before = 1 / level->ratio,
                             .stored_after = 1 / best->ratio};
    return true;
}

size_t cf_bench_advise(const cf_bench_costs *const c, const cf_bench_level *const level,
                       cf_bench_advice ret[CF_BENCH_ADVICE_MAX])
{
    const uint32_t best = cf_bench_connections_best(c->puts, c->put_total);
    uint32_t connections = c->upload_connections;
    const cf_bench_estimate now = cf_bench_estimate_backup(c, level, connections);
    size_t total = 0;

    if (now.bound == CF_BENCH_LATENCY && best > connections) {
        connections = best;
        ret[total++] = (cf_bench_advice){.kind = CF_BENCH_ADVICE_CONNECTIONS,
                                         .value = best,
                                         .connections = best,
                                         .workers = level->workers,
                                         .level = level->level,
                                         .before_bytes_per_s = now.bytes_per_s,
                                         .after_bytes_per_s =
                                             cf_bench_estimate_backup(c, level, best).bytes_per_s,
                                         .stored_before = 1 / level->ratio,
                                         .stored_after = 1 / level->ratio};
    }
    if (compression_advise(c, level, connections, &ret[total]))
        total++;
    else if (workers_advise(c, level, connections, &ret[total]))
        total++;
    return total;
}
