/* SPDX-License-Identifier: Apache-2.0
 *
 * chunkferry backup
 */
#include <string.h>

#include "cli/cli.h"
#include "s3/base/num.h"

/* excludes, tags: CF_MANY_MAX entries each, borrowed by ret. */
static cf_err opts_fill(const cf_cli *const c, const char **const excludes, const char **const tags,
                        cf_backup_opts *const ret, cf_error *const e)
{
    static const char *const sources[] = {"live", "stopped", NULL};
    static const char *const modes[] = {"differential", "full", NULL};
    const cf_values *const v = &c->values;
    unsigned source = 0, mode = 0;
    cf_backup_opts o = {
        .node = v->text[CF_OPT_NODE],
        .profile = v->text[CF_OPT_PROFILE] != NULL ? v->text[CF_OPT_PROFILE] : "kurrentdb",
        .db = v->text[CF_OPT_DB],
        .index = v->text[CF_OPT_INDEX],
        .without_secondary_indexes = cf_values_on(v, CF_OPT_WITHOUT_SECONDARY_INDEXES),
        .without_existence_filter = cf_values_on(v, CF_OPT_WITHOUT_EXISTENCE_FILTER),
        .archive = cf_values_on(v, CF_OPT_ARCHIVE),
        .dry_run = cf_values_on(v, CF_OPT_DRY_RUN),
        .dir = v->text[CF_OPT_DIR],
        .exclude = excludes,
        .exclude_total = cf_values_each(v, CF_OPT_EXCLUDE, excludes),
        .one_file_system = cf_values_on(v, CF_OPT_ONE_FILE_SYSTEM),
        .force = cf_values_on(v, CF_OPT_FORCE),
        .adaptive = cf_values_on(v, CF_OPT_ADAPTIVE),
        .no_verify_source = cf_values_on(v, CF_OPT_NO_VERIFY_SOURCE),
        .tags = tags,
        .tag_total = cf_values_each(v, CF_OPT_TAG, tags),
    };

    CF_TRY(cf_cli_mover(c, &o.remote, e));
    CF_TRY(cf_values_choice(v, CF_OPT_SOURCE, sources, &source, e));
    CF_TRY(cf_values_choice(v, CF_OPT_MODE, modes, &mode, e));
    CF_TRY(cf_values_size(v, CF_OPT_MAX_TRUNCATION, &o.max_truncation_bytes, e));
    CF_TRY(cf_values_duration(v, CF_OPT_WAIT_LOCK, &o.wait_lock_ms, e));
    CF_TRY(cf_values_level(v, CF_OPT_COMPRESSION, &o.level, e));
    CF_ENSURE(!o.adaptive || o.level != CF_LEVEL_OFF, e, CF_ERR_USAGE,
              "'--adaptive' chooses a level, '--compression off' has none\nHINT: leave one of them "
              "out");
    o.stopped = source == 1;
    o.full = mode == 1;
    *ret = o;
    return CF_OK;
}

/* What was asked for, and what came of it. */
static void level_print(cf_output *const out, const cf_backup_opts *const o,
                        const cf_backup_result *const r)
{
    if (r->frames_new == 0 || (o->level == 0 && !o->adaptive))
        return;
    if (o->level == CF_LEVEL_OFF)
        cf_output_text(out, "  level   off: stored as it is\n");
    else if (o->adaptive)
        cf_output_text(out, "  level   %d to %d, %.1f on average\n", r->level_min, r->level_max,
                       r->level_mean);
    else
        cf_output_text(out, "  level   %d\n", r->level_min);
}

static void text_print(cf_output *const out, const cf_backup_opts *const o,
                       const cf_backup_result *const r)
{
    char source[CF_SIZE_TEXT_SIZE], read[CF_SIZE_TEXT_SIZE], changed[CF_SIZE_TEXT_SIZE],
        sent[CF_SIZE_TEXT_SIZE];

    (void)cf_size_render(r->source_bytes, source);
    (void)cf_size_render(r->bytes_read, read);
    (void)cf_size_render(r->bytes_changed, changed);
    (void)cf_size_render(r->bytes_uploaded, sent);
    if (o->dry_run) {
        cf_output_text(out, "a backup of node %s would succeed; nothing was written\n", o->node);
        cf_output_text(out,
                       "  files   %llu: %llu to send, %llu unchanged, the rest compared in parts\n",
                       (unsigned long long)r->files_total, (unsigned long long)r->files_new,
                       (unsigned long long)r->files_reused);
        cf_output_text(out, "  node    %s, of it %s to read\n", source, changed);
        return;
    }
    cf_output_text(out, "snapshot %s of node %s is committed\n", r->snapshot, o->node);
    cf_output_text(out, "  parent  %s\n", r->parent[0] != '\0' ? r->parent : "none");
    cf_output_text(out, "  files   %llu: %llu new, %llu unchanged\n",
                   (unsigned long long)r->files_total, (unsigned long long)r->files_new,
                   (unsigned long long)r->files_reused);
    cf_output_text(out, "  node    %s; %s read, %s new\n", source, read, changed);
    cf_output_text(out, "  sent    %s in %llu packs and %llu requests\n", sent,
                   (unsigned long long)r->packs_new, (unsigned long long)r->requests_total);
    if (r->files_left_out > 0 || r->files_changed > 0)
        cf_output_text(out,
                       "  not whole: %llu left out, %llu changed while they were read; see the "
                       "warnings\n",
                       (unsigned long long)r->files_left_out, (unsigned long long)r->files_changed);
    level_print(out, o, r);
    if (o->no_verify_source)
        cf_output_text(out, "  source  not held against its own MD5 (--no-verify-source)\n");
    cf_output_text(out, "  time    %llu.%llu s\n", (unsigned long long)(r->duration_ms / 1000),
                   (unsigned long long)(r->duration_ms % 1000 / 100));
}

/* The snapshot stands; who asked for it is told that it is not all there. */
static cf_err strict_check(const cf_cli *const c, const cf_backup_result *const r,
                           cf_error *const e)
{
    if (!cf_values_on(&c->values, CF_OPT_STRICT) || r->files_left_out + r->files_changed == 0)
        return CF_OK;
    CF_FAIL(e, CF_ERR_SOURCE,
            "%s%s, but %llu files were left out and %llu changed while they were read\nHINT: the "
            "warnings name them; without --strict this is no failure",
            r->snapshot[0] != '\0' ? "the snapshot stands: " : "nothing was written", r->snapshot,
            (unsigned long long)r->files_left_out, (unsigned long long)r->files_changed);
}

cf_err cf_cli_backup(cf_cli *const c, cf_error *const e)
{
    const char *excludes[CF_MANY_MAX], *tags[CF_MANY_MAX];
    cf_backup_opts o = {0};
    cf_backup_result r = {0};

    CF_TRY(opts_fill(c, excludes, tags, &o, e));
    CF_TRY(cf_backup_run(c->ctx, &o, &r, e));
    text_print(c->output, &o, &r);
    cf_output_object(
        c->output,
        json_pack(
            "{s:s, s:s, s:s, s:s, s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:f, "
            "s:I, s:i, s:i, s:f, s:b}",
            "type", "summary", "snapshot", r.snapshot, "node", o.node, "parent", r.parent,
            "dry_run", (int)o.dry_run, "files_total", (json_int_t)r.files_total, "files_new",
            (json_int_t)r.files_new, "files_reused", (json_int_t)r.files_reused, "bytes_source",
            (json_int_t)r.source_bytes, "bytes_read", (json_int_t)r.bytes_read, "bytes_changed",
            (json_int_t)r.bytes_changed, "bytes_uploaded", (json_int_t)r.bytes_uploaded,
            "packs_new", (json_int_t)r.packs_new, "requests", (json_int_t)r.requests_total,
            "files_left_out", (json_int_t)r.files_left_out, "files_changed",
            (json_int_t)r.files_changed, "duration_s", (double)r.duration_ms / 1000.0, "frames_new",
            (json_int_t)r.frames_new, "level_min", r.level_min, "level_max", r.level_max,
            "level_mean", r.level_mean, "source_verified", (int)!o.no_verify_source));
    return strict_check(c, &r, e);
}
