/* SPDX-License-Identifier: Apache-2.0
 *
 * chunkferry bench: the figures as tables, then what they mean in words.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "bench/bench.h"
#include "cli/cli.h"
#include "s3/base/num.h"

static const double mega = 1e6, gib = 1024.0 * 1024 * 1024;

static const char *const op_names[CF_BENCH_OP_TOTAL] = {"put", "get", "head", "list"};

enum { RATE_SIZE = 24, LEVEL_SIZE = 16, WORDS_SIZE = 320 };

/* Three digits are as much as such a measurement is worth. */
static const char *rate_render(const double bytes_per_s, char ret[RATE_SIZE])
{
    const double mb = bytes_per_s / mega;

    if (bytes_per_s <= 0)
        (void)snprintf(ret, RATE_SIZE, "-");
    else
        (void)snprintf(ret, RATE_SIZE, "%.*f", mb < 10 ? 2 : mb < 100 ? 1 : 0, mb);
    return ret;
}

static const char *level_render(const int level, char ret[LEVEL_SIZE])
{
    if (level == 0)
        (void)snprintf(ret, LEVEL_SIZE, "off");
    else
        (void)snprintf(ret, LEVEL_SIZE, "%d", level);
    return ret;
}

/* ---- tables ---- */

static void machine_print(cf_output *const o, const cf_bench_result *const r,
                          const cf_bench_level *const level)
{
    const cf_bench_costs *const c = &r->costs;
    char memory[CF_SIZE_TEXT_SIZE], part[CF_SIZE_TEXT_SIZE], text[LEVEL_SIZE];

    cf_output_text(o, "machine     %" PRIu32 " cores, %.1f of them take work at once\n",
                   r->cores_total, c->cores);
    cf_output_text(o,
                   "            with %s of memory and compression %s: %" PRIu32 " workers, %" PRIu32
                   " connections up with parts of %s, %" PRIu32 " down\n",
                   cf_size_render(r->memory_bytes, memory), level_render(level->level, text),
                   level->workers, c->upload_connections, cf_size_render(r->part_bytes, part),
                   c->download_connections);
}

static void cpu_print(cf_output *const o, const cf_bench_result *const r)
{
    const cf_bench_costs *const c = &r->costs;
    char a[RATE_SIZE], b[RATE_SIZE], d[RATE_SIZE], size[CF_SIZE_TEXT_SIZE];

    if (r->source.read_bytes > 0)
        cf_output_text(o, "source      %s MB/s, %s read of %" PRIu64 "%s files\n",
                       rate_render(c->read_bytes_per_s, a),
                       cf_size_render(r->source.read_bytes, size), r->source.files_total,
                       r->source.more_files ? " and more" : "");
    else
        cf_output_text(o, "source      not read: made-up events; --db or --dir DIR takes a sample "
                          "of the node's own data\n");
    cf_output_text(o,
                   "hashing     %s MB/s of SHA-256 and MD5 together, as a backup does on one "
                   "thread; alone %s and %s\n",
                   rate_render(c->both_bytes_per_s, a), rate_render(c->sha256_bytes_per_s, b),
                   rate_render(c->md5_bytes_per_s, d));
    cf_output_text(o, "decompress  %s MB/s a core\n", rate_render(c->decode_bytes_per_s, a));
}

static void levels_print(cf_output *const o, const cf_bench_costs *const c)
{
    cf_output_text(o, "\ncompression  MB/s a core  ratio  workers  backup MB/s  bound by\n");
    for (size_t i = 0; i < c->level_total; i++) {
        const cf_bench_level *const l = &c->levels[i];
        char level[LEVEL_SIZE], core[RATE_SIZE], all[RATE_SIZE];

        if (l->workers == 0) {
            cf_output_text(o, "%11s  needs more --memory\n", level_render(l->level, level));
            continue;
        }
        const cf_bench_estimate x = cf_bench_estimate_backup(c, l, c->upload_connections);
        cf_output_text(o, "%11s  %11s  %5.2f  %7" PRIu32 "  %11s  %s\n",
                       level_render(l->level, level), rate_render(l->bytes_per_s, core), l->ratio,
                       l->workers, rate_render(x.bytes_per_s, all),
                       cf_bench_stage_name(x.bound, /* restore= */ false));
    }
}

static void steps_print(cf_output *const o, const char *const title,
                        const cf_bench_step *const steps, const size_t total)
{
    char rate[RATE_SIZE], size[CF_SIZE_TEXT_SIZE];

    cf_output_text(o, "\n%-11s  connections   MB/s  object\n", title);
    for (size_t i = 0; i < total; i++)
        cf_output_text(o, "%11s  %11" PRIu32 "  %5s  %s\n", "", steps[i].connections,
                       rate_render(steps[i].bytes_per_s, rate),
                       cf_size_render(steps[i].object_bytes, size));
}

static void store_print(cf_output *const o, const cf_bench_result *const r)
{
    static const char *const words[CF_BENCH_OP_TOTAL] = {"PUT", "GET", "HEAD", "LIST"};

    cf_output_text(o, "\nanswers     ");
    for (int i = 0; i < CF_BENCH_OP_TOTAL; i++)
        cf_output_text(o, "%s%s %.1f ms (worst %.1f)", i == 0 ? "" : ", ", words[i],
                       r->latency[i].median_ms, r->latency[i].worst_ms);
    cf_output_text(o, "\n");
    steps_print(o, "send", r->costs.puts, r->costs.put_total);
    steps_print(o, "receive", r->costs.gets, r->costs.get_total);
}

/* ---- in words ---- */

/* Why it is not faster. */
static void bound_words(const cf_bench_estimate *const x, const cf_bench_costs *const c,
                        const bool restore, char ret[WORDS_SIZE])
{
    char a[RATE_SIZE];
    const double wire = restore ? cf_bench_rate_at(c->gets, c->get_total, x->connections)
                                : cf_bench_rate_at(c->puts, c->put_total, x->connections);
    const char *const coding = restore ? "decompression" : "compression";

    switch (x->bound) {
    case CF_BENCH_SOURCE:
        (void)snprintf(ret, WORDS_SIZE, "reading the source: its disk gives no more");
        return;
    case CF_BENCH_HASHING:
        (void)snprintf(ret, WORDS_SIZE,
                       restore ? "SHA-256 of what is restored, on all cores"
                               : "hashing: SHA-256 and MD5 go through a file from front to back, "
                                 "on one thread");
        return;
    case CF_BENCH_CODING:
        (void)snprintf(ret, WORDS_SIZE, "%s, which takes %.0f %% of the processors' time", coding,
                       x->coding_share * 100);
        return;
    case CF_BENCH_PROCESSORS:
        (void)snprintf(ret, WORDS_SIZE,
                       "the processors: %s takes %.0f %% of them, hashing and sending the rest",
                       coding, x->coding_share * 100);
        return;
    case CF_BENCH_LATENCY:
        (void)snprintf(ret, WORDS_SIZE,
                       "latency: %" PRIu32 " connections wait for answers and move %s MB/s; more "
                       "connections move more",
                       x->connections, rate_render(wire, a));
        return;
    case CF_BENCH_TRANSFER:
    case CF_BENCH_STAGE_TOTAL:
        break;
    }
    (void)snprintf(ret, WORDS_SIZE,
                   "the %s: the way to the store carries %s MB/s through %" PRIu32
                   " connections, and more of them would not help",
                   restore ? "download" : "upload", rate_render(wire, a), x->connections);
}

/* " --memory 512MiB" when what is advised needs more than there is; else "". */
static const char *memory_words(const uint64_t needed_bytes, const uint64_t memory_bytes,
                                char ret[CF_SIZE_TEXT_SIZE])
{
    (void)snprintf(ret, CF_SIZE_TEXT_SIZE, " --memory %" PRIu64 "MiB", needed_bytes >> 20);
    return needed_bytes > memory_bytes ? ret : "";
}

static void advice_words(const cf_bench_advice *const a, const uint64_t memory_bytes,
                         char ret[WORDS_SIZE])
{
    char memory[CF_SIZE_TEXT_SIZE];
    const uint64_t needed_bytes = cf_bench_memory_for(a->connections, a->workers, a->level);
    char before[RATE_SIZE], after[RATE_SIZE], level[LEVEL_SIZE];
    const double smaller = (1 - a->stored_after / a->stored_before) * 100;

    (void)rate_render(a->before_bytes_per_s, before);
    (void)rate_render(a->after_bytes_per_s, after);
    switch (a->kind) {
    case CF_BENCH_ADVICE_CONNECTIONS:
        (void)snprintf(ret, WORDS_SIZE,
                       "--connections %" PRIu32 "%s: a first backup at %s instead of %s MB/s",
                       a->value, memory_words(needed_bytes, memory_bytes, memory), after, before);
        return;
    case CF_BENCH_ADVICE_WORKERS:
        (void)snprintf(ret, WORDS_SIZE,
                       "--jobs %" PRIu32 "%s: a first backup at %s instead of %s MB/s", a->value,
                       memory_words(needed_bytes, memory_bytes, memory), after, before);
        return;
    case CF_BENCH_ADVICE_COMPRESSION:
        break;
    }
    (void)snprintf(ret, WORDS_SIZE,
                   "--compression %s: a first backup at %s instead of %s MB/s, and %.0f %% %s "
                   "stored",
                   level_render((int)a->value, level), after, before,
                   smaller < 0 ? -smaller : smaller, smaller < 0 ? "more" : "less");
}

/* ---- JSON ---- */

static void machine_object(cf_output *const o, const cf_bench_result *const r,
                           const cf_bench_level *const level)
{
    cf_output_object(o, json_pack("{s:s, s:I, s:f, s:I, s:I, s:I, s:I, s:I}", "type", "machine",
                                  "cores", (json_int_t)r->cores_total, "cores_effective",
                                  r->costs.cores, "memory_bytes", (json_int_t)r->memory_bytes,
                                  "workers", (json_int_t)level->workers, "part_bytes",
                                  (json_int_t)r->part_bytes, "upload_connections",
                                  (json_int_t)r->costs.upload_connections, "download_connections",
                                  (json_int_t)r->costs.download_connections));
    if (r->source.read_bytes > 0)
        cf_output_object(o, json_pack("{s:s, s:I, s:I, s:I, s:f, s:f}", "type", "source", "files",
                                      (json_int_t)r->source.files_total, "bytes_total",
                                      (json_int_t)r->source.files_bytes, "bytes_read",
                                      (json_int_t)r->source.read_bytes, "bytes_per_s",
                                      r->costs.read_bytes_per_s, "cpu_s_per_gib",
                                      r->costs.read_cpu_s_per_byte * gib));
    cf_output_object(o, json_pack("{s:s, s:f, s:f, s:f, s:f}", "type", "cpu", "sha256_bytes_per_s",
                                  r->costs.sha256_bytes_per_s, "md5_bytes_per_s",
                                  r->costs.md5_bytes_per_s, "both_bytes_per_s",
                                  r->costs.both_bytes_per_s, "decompress_bytes_per_s",
                                  r->costs.decode_bytes_per_s));
}

static void levels_object(cf_output *const o, const cf_bench_costs *const c)
{
    for (size_t i = 0; i < c->level_total; i++) {
        const cf_bench_level *const l = &c->levels[i];
        const cf_bench_estimate x = cf_bench_estimate_backup(c, l, c->upload_connections);

        cf_output_object(
            o, json_pack("{s:s, s:i, s:f, s:f, s:I, s:f, s:s}", "type", "level", "level", l->level,
                         "bytes_per_s", l->bytes_per_s, "ratio", l->ratio, "workers",
                         (json_int_t)l->workers, "backup_bytes_per_s",
                         l->workers > 0 ? x.bytes_per_s : 0.0, "bound",
                         l->workers > 0 ? cf_bench_stage_name(x.bound, false) : "memory"));
    }
}

static void steps_object(cf_output *const o, const char *const op, const cf_bench_step *const steps,
                         const size_t total)
{
    for (size_t i = 0; i < total; i++)
        cf_output_object(o, json_pack("{s:s, s:s, s:I, s:I, s:I, s:f, s:f, s:f}", "type", "step",
                                      "op", op, "connections", (json_int_t)steps[i].connections,
                                      "object_bytes", (json_int_t)steps[i].object_bytes, "bytes",
                                      (json_int_t)steps[i].bytes, "duration_s", steps[i].duration_s,
                                      "bytes_per_s", steps[i].bytes_per_s, "cpu_s_per_gib",
                                      steps[i].cpu_s_per_byte * gib));
}

static void store_object(cf_output *const o, const cf_bench_result *const r)
{
    for (int i = 0; i < CF_BENCH_OP_TOTAL; i++)
        cf_output_object(o, json_pack("{s:s, s:s, s:I, s:f, s:f}", "type", "latency", "op",
                                      op_names[i], "total", (json_int_t)r->latency[i].total,
                                      "median_ms", r->latency[i].median_ms, "worst_ms",
                                      r->latency[i].worst_ms));
    steps_object(o, "put", r->costs.puts, r->costs.put_total);
    steps_object(o, "get", r->costs.gets, r->costs.get_total);
}

static void estimate_object(cf_output *const o, const cf_bench_estimate *const x,
                            const bool restore)
{
    json_t *const limits = json_object();

    for (int i = 0; i < CF_BENCH_STAGE_TOTAL; i++) {
        if (x->limit[i] > 0)
            (void)json_object_set_new(limits, cf_bench_stage_name((cf_bench_stage)i, restore),
                                      json_real(x->limit[i]));
    }
    cf_output_object(o,
                     json_pack("{s:s, s:s, s:i, s:I, s:f, s:s, s:o}", "type", "estimate", "flow",
                               restore ? "restore" : "backup", "level", x->level, "connections",
                               (json_int_t)x->connections, "bytes_per_s", x->bytes_per_s, "bound",
                               cf_bench_stage_name(x->bound, restore), "limits", limits));
}

static void advice_object(cf_output *const o, const cf_bench_advice *const a,
                          const char *const words)
{
    static const char *const flags[] = {[CF_BENCH_ADVICE_CONNECTIONS] = "--connections",
                                        [CF_BENCH_ADVICE_COMPRESSION] = "--compression",
                                        [CF_BENCH_ADVICE_WORKERS] = "--jobs"};

    cf_output_object(
        o, json_pack("{s:s, s:s, s:I, s:I, s:f, s:f, s:s}", "type", "advice", "flag",
                     flags[a->kind], "value", (json_int_t)a->value, "memory_bytes",
                     (json_int_t)cf_bench_memory_for(a->connections, a->workers, a->level),
                     "before_bytes_per_s", a->before_bytes_per_s, "after_bytes_per_s",
                     a->after_bytes_per_s, "text", words));
}

static void summary_object(cf_output *const o, const cf_bench_result *const r,
                           const cf_bench_estimate *const backup,
                           const cf_bench_estimate *const restore)
{
    json_t *const left = json_array();

    for (uint64_t i = 0; i < r->left_total && i < CF_BENCH_LEFT_MAX; i++)
        (void)json_array_append_new(left, json_string(r->left[i]));
    cf_output_object(
        o, json_pack("{s:s, s:s, s:I, s:I, s:o, s:I, s:I, s:I, s:f, s:s, s:f, s:s}", "type",
                     "summary", "prefix", r->prefix, "objects", (json_int_t)r->objects_total,
                     "objects_left", (json_int_t)r->left_total, "left", left, "requests",
                     (json_int_t)r->requests_total, "bytes_sent", (json_int_t)r->sent_bytes,
                     "bytes_received", (json_int_t)r->received_bytes, "backup_bytes_per_s",
                     backup->bytes_per_s, "backup_bound", cf_bench_stage_name(backup->bound, false),
                     "restore_bytes_per_s", restore->bytes_per_s, "restore_bound",
                     cf_bench_stage_name(restore->bound, true)));
}

/* ---- all of it ---- */

static void estimate_print(cf_output *const o, const cf_bench_costs *const c,
                           const cf_bench_estimate *const x, const bool restore)
{
    char rate[RATE_SIZE], words[WORDS_SIZE];

    bound_words(x, c, restore, words);
    cf_output_text(o,
                   "%s %s MB/s of the node's data, %.2f GiB a minute.\n            Bound by %s.\n",
                   restore ? "restore    " : "\nbackup     ", rate_render(x->bytes_per_s, rate),
                   x->bytes_per_s * 60 / gib, words);
    if (restore)
        cf_output_text(o, "            The disk it writes to is not in this figure.\n");
    estimate_object(o, x, restore);
}

static void advice_print(cf_output *const o, const cf_bench_result *const r,
                         const cf_bench_level *const level)
{
    const cf_bench_costs *const c = &r->costs;
    cf_bench_advice advice[CF_BENCH_ADVICE_MAX];
    const size_t total = cf_bench_advise(c, level, advice);
    char words[WORDS_SIZE];

    for (size_t i = 0; i < total; i++) {
        advice_words(&advice[i], r->memory_bytes, words);
        cf_output_text(o, "%s  %s\n", i == 0 ? "advice    " : "          ", words);
        advice_object(o, &advice[i], words);
    }
    if (total == 0)
        cf_output_text(o, "advice      none: other levels or more connections would gain less than "
                          "5 %%\n");
}

static void result_print(cf_output *const o, const cf_bench_result *const r, const int wanted)
{
    const cf_bench_costs *const c = &r->costs;
    const cf_bench_level *const level = cf_bench_level_find(c, wanted);

    if (level == NULL) /* it was measured, or the run failed */
        return;
    const cf_bench_estimate backup = cf_bench_estimate_backup(c, level, c->upload_connections);
    const cf_bench_estimate restore = cf_bench_estimate_restore(c, level, c->download_connections);
    machine_print(o, r, level);
    cpu_print(o, r);
    machine_object(o, r, level);
    levels_print(o, c);
    levels_object(o, c);
    store_print(o, r);
    store_object(o, r);
    estimate_print(o, c, &backup, /* restore= */ false);
    estimate_print(o, c, &restore, /* restore= */ true);
    advice_print(o, r, level);
    summary_object(o, r, &backup, &restore);
}

/* Objects that stay are named, on every way out. */
static void left_tell(const cf_cli *const c, const cf_bench_result *const r)
{
    char text[CF_BENCH_LEFT_MAX * (CF_BENCH_KEY_SIZE + 4) + 256];
    int len = 0;

    if (r->left_total == 0)
        return;
    len = snprintf(text, sizeof(text), "%" PRIu64 " objects could not be deleted:", r->left_total);
    for (uint64_t i = 0; i < r->left_total && i < CF_BENCH_LEFT_MAX; i++)
        len += snprintf(text + len, sizeof(text) - (size_t)len, " '%s'", r->left[i]);
    (void)snprintf(text + len, sizeof(text) - (size_t)len,
                   "%s\nHINT: delete what is below '%s' by hand: nothing else is there",
                   r->left_total > CF_BENCH_LEFT_MAX ? " and more" : "", r->prefix);
    cf_output_log(c->output, CF_LOG_WARN, text);
}

static cf_err opts_fill(const cf_cli *const c, cf_bench_opts *const ret, cf_error *const e)
{
    const cf_values *const v = &c->values;
    const char *const connections = v->text[CF_OPT_CONNECTIONS];
    cf_bench_opts o = {0};
    uint64_t number = 0;

    CF_TRY(cf_cli_remote(c, &o.remote, e));
    CF_TRY(cf_values_size(v, CF_OPT_SIZE, &o.size_bytes, e));
    if (connections != NULL && strcmp(connections, "max") == 0)
        number = CF_BENCH_CONNECTIONS_MAX;
    else
        CF_TRY(cf_values_number(v, CF_OPT_CONNECTIONS, 1, CF_BENCH_CONNECTIONS_MAX, &number, e));
    CF_TRY(cf_values_level(v, CF_OPT_COMPRESSION, &o.level, e));
    CF_ENSURE(v->text[CF_OPT_DB] == NULL || v->text[CF_OPT_DIR] == NULL, e, CF_ERR_USAGE,
              "both --db and --dir are given\nHINT: one directory to take a sample of");
    o.dir = v->text[CF_OPT_DB] != NULL ? v->text[CF_OPT_DB] : v->text[CF_OPT_DIR];
    o.connections = (uint32_t)number;
    *ret = o;
    return CF_OK;
}

cf_err cf_cli_bench(cf_cli *const c, cf_error *const e)
{
    cf_bench_opts opts = {0};
    cf_bench_result result = {0};

    CF_TRY(opts_fill(c, &opts, e));
    const cf_err err = cf_bench_run(c->ctx, &opts, &result, e);
    left_tell(c, &result);
    CF_TRY(err);
    result_print(c->output, &result,
                 opts.level == 0  ? CF_BENCH_LEVEL_DEFAULT
                 : opts.level < 0 ? 0
                                  : opts.level);
    return CF_OK;
}
