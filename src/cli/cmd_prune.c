/* SPDX-License-Identifier: Apache-2.0
 *
 * chunkferry prune
 */
#include <inttypes.h>
#include <string.h>

#include "cli/cli.h"
#include "s3/base/num.h"

enum { COUNT_MAX = 1000000, DELETE_MAX = 1000000000 };

typedef struct pruner {
    cf_cli *cli;
    bool dry_run;
    char node[64]; /* of the last line */
} pruner;

static json_t *words_array(const char *const *const words, const size_t total)
{
    json_t *const array = json_array();

    for (size_t i = 0; i < total; i++)
        (void)json_array_append_new(array, json_string(words[i]));
    return array;
}

static void words_join(const cf_prune_snapshot *const s, char *const ret, const size_t size)
{
    size_t used = 0;

    ret[0] = '\0';
    for (size_t i = 0; i < s->reason_total && used < size; i++)
        used += (size_t)snprintf(ret + used, size - used, "%s%s", i > 0 ? ", " : "", s->reasons[i]);
    if (s->reason_total == 0)
        (void)snprintf(ret, size, "%s", s->words[0] != '\0' ? s->words : "no rule keeps it");
}

static void snapshot_print(void *const impl, const cf_prune_snapshot *const s)
{
    pruner *const p = impl;
    cf_output *const out = p->cli->output;
    char time[CF_TIME_SIZE] = "unknown", reasons[1024];

    if (s->has_time)
        cf_time_render_iso(s->time_utc_ms, time);
    if (strcmp(p->node, s->node) != 0)
        cf_output_text(out, "node %s\n", s->node);
    (void)snprintf(p->node, sizeof(p->node), "%s", s->node);
    words_join(s, reasons, sizeof(reasons));
    cf_output_text(out, "  %-5s  %s  %-20s  %s\n", s->keep ? "stays" : "goes", s->snapshot, time,
                   reasons);
    json_t *const object =
        json_pack("{s:s, s:s, s:s, s:s, s:b, s:o}", "type", "snapshot", "node", s->node, "snapshot",
                  s->snapshot, "time", s->has_time ? time : "", "keep", s->keep, "reasons",
                  words_array(s->names, s->reason_total));
    if (s->words[0] != '\0')
        (void)json_object_set_new(object, "lost", cf_output_json(s->words, strlen(s->words)));
    cf_output_object(out, object);
}

static void summary_print(const pruner *const p, const cf_prune_result *const r)
{
    cf_output *const out = p->cli->output;
    char size[CF_SIZE_TEXT_SIZE], until[CF_TIME_SIZE] = "";

    if (r->locked_until_utc_ms != 0)
        cf_time_render_iso(r->locked_until_utc_ms, until);
    cf_output_text(
        out, "%s%" PRIu64 " snapshots stay, %" PRIu64 " %s; %" PRIu64 " objects %s, %s\n",
        p->dry_run ? "dry run, nothing was changed: " : "", r->snapshots_kept, r->snapshots_deleted,
        p->dry_run ? "would go" : "went", r->objects_deleted,
        p->dry_run ? "would be deleted" : "deleted", cf_size_render(r->bytes_freed, size));
    if (r->runs_fenced > 0)
        cf_output_text(out, "  of %" PRIu64 " dead runs that never became a snapshot%s\n",
                       r->runs_fenced, p->dry_run ? " (they would be fenced)" : "");
    if (r->objects_marked > 0)
        cf_output_text(out, "  %" PRIu64 " objects %s: a prune in 7 days or later deletes them\n",
                       r->objects_marked, p->dry_run ? "would be marked" : "are marked");
    if (r->objects_locked > 0)
        cf_output_text(out, "  %" PRIu64 " objects are locked by the store and stay%s%s\n",
                       r->objects_locked, until[0] != '\0' ? ", the last until " : "", until);
    cf_output_object(
        out,
        json_pack("{s:s, s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:s, s:I, s:I, s:I, s:I, s:f}",
                  "type", "summary", "dry_run", p->dry_run, "nodes", (json_int_t)r->nodes_total,
                  "nodes_failed", (json_int_t)r->nodes_failed, "snapshots_kept",
                  (json_int_t)r->snapshots_kept, "snapshots_deleted",
                  (json_int_t)r->snapshots_deleted, "objects_deleted",
                  (json_int_t)r->objects_deleted, "bytes_freed", (json_int_t)r->bytes_freed,
                  "objects_locked", (json_int_t)r->objects_locked, "locked_until", until,
                  "objects_marked", (json_int_t)r->objects_marked, "uploads_aborted",
                  (json_int_t)r->uploads_aborted, "fenced", (json_int_t)r->runs_fenced, "requests",
                  (json_int_t)r->requests_total, "duration_s", (double)r->duration_ms / 1000.0));
}

static cf_err counts_take(const cf_values *const v, cf_prune_opts *const o, cf_error *const e)
{
    const struct {
        cf_option_id id;
        uint32_t *to;
    } rows[] = {
        {CF_OPT_KEEP_LAST, &o->keep_last},       {CF_OPT_KEEP_HOURLY, &o->keep_hourly},
        {CF_OPT_KEEP_DAILY, &o->keep_daily},     {CF_OPT_KEEP_WEEKLY, &o->keep_weekly},
        {CF_OPT_KEEP_MONTHLY, &o->keep_monthly}, {CF_OPT_KEEP_YEARLY, &o->keep_yearly},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        uint64_t count = 0;
        CF_TRY(cf_values_number(v, rows[i].id, 1, COUNT_MAX, &count, e));
        *rows[i].to = (uint32_t)count;
    }
    o->has_max_delete = cf_values_on(v, CF_OPT_MAX_DELETE);
    return cf_values_number(v, CF_OPT_MAX_DELETE, 0, DELETE_MAX, &o->max_delete, e);
}

cf_err cf_cli_prune(cf_cli *const c, cf_error *const e)
{
    const cf_values *const v = &c->values;
    pruner p = {.cli = c, .dry_run = cf_values_on(v, CF_OPT_DRY_RUN)};
    const char *tags[CF_MANY_MAX], *dropped[CF_MANY_MAX];
    cf_prune_result result = {0};
    cf_prune_opts o = {
        .node = v->text[CF_OPT_NODE],
        .keep_within = v->text[CF_OPT_KEEP_WITHIN],
        .keep_tags = tags,
        .keep_tag_total = cf_values_each(v, CF_OPT_KEEP_TAG, tags),
        .drop_damaged = dropped,
        .drop_damaged_total = cf_values_each(v, CF_OPT_DROP_DAMAGED, dropped),
        .delete_versions = cf_values_on(v, CF_OPT_DELETE_VERSIONS),
        .dry_run = p.dry_run,
        .on_snapshot = snapshot_print,
        .impl = &p,
    };

    CF_TRY(cf_cli_remote(c, &o.remote, e));
    CF_TRY(cf_values_duration(v, CF_OPT_WAIT_LOCK, &o.wait_lock_ms, e));
    CF_TRY(counts_take(v, &o, e));
    const cf_err err = cf_prune_run(c->ctx, &o, &result, e);
    if (err == CF_OK || result.nodes_total > 0) /* what was done is told, also when it failed */
        summary_print(&p, &result);
    return err;
}
