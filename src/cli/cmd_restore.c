/* SPDX-License-Identifier: Apache-2.0
 *
 * chunkferry restore
 */
#include "cli/cli.h"
#include "s3/base/cleanup.h"
#include "s3/base/num.h"

static void result_deinit(cf_restore_result *const r)
{
    cf_buf_deinit(&r->closing_words);
}

static void text_print(cf_output *const out, const cf_restore_opts *const o,
                       const cf_restore_result *const r)
{
    char target[CF_SIZE_TEXT_SIZE], written[CF_SIZE_TEXT_SIZE], got[CF_SIZE_TEXT_SIZE];

    (void)cf_size_render(r->target_bytes, target);
    (void)cf_size_render(r->bytes_written, written);
    (void)cf_size_render(r->bytes_downloaded, got);
    if (o->dry_run) {
        cf_output_text(out,
                       "a restore of snapshot %s of node %s to %s would write %llu files, %s; "
                       "nothing was written\n",
                       r->snapshot, o->node, o->target, (unsigned long long)r->files_total, target);
        return;
    }
    cf_output_text(out, "snapshot %s of node %s is restored to %s\n", r->snapshot, o->node,
                   o->target);
    cf_output_text(out, "  files   %llu: %llu restored, %llu kept, all verified\n",
                   (unsigned long long)r->files_total, (unsigned long long)r->files_restored,
                   (unsigned long long)r->files_kept);
    cf_output_text(out, "  bytes   %s; %s written, %s fetched in %llu requests\n", target, written,
                   got, (unsigned long long)r->requests_total);
    cf_output_text(out, "  time    %llu.%llu s\n", (unsigned long long)(r->duration_ms / 1000),
                   (unsigned long long)(r->duration_ms % 1000 / 100));
    cf_output_text(out, "\n%.*s", (int)r->closing_words.len, (const char *)r->closing_words.data);
}

cf_err cf_cli_restore(cf_cli *const c, cf_error *const e)
{
    const cf_values *const v = &c->values;
    CF_CLEANUP(result_deinit) cf_restore_result r = {0};
    cf_restore_opts o = {
        .node = v->text[CF_OPT_NODE],
        .snapshot = v->arg[0],
        .target = v->text[CF_OPT_TARGET],
        .index_target = v->text[CF_OPT_INDEX_TARGET],
        .owner = v->text[CF_OPT_OWNER],
        .recheck = cf_values_on(v, CF_OPT_RECHECK),
        .no_verify_source = cf_values_on(v, CF_OPT_NO_VERIFY_SOURCE),
        .dry_run = cf_values_on(v, CF_OPT_DRY_RUN),
    };

    CF_TRY(cf_cli_mover(c, &o.remote, e));
    CF_TRY(cf_restore_run(c->ctx, &o, &r, e));
    text_print(c->output, &o, &r);
    cf_output_object(
        c->output,
        json_pack("{s:s, s:s, s:s, s:o, s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:f, s:o}", "type",
                  "summary", "snapshot", r.snapshot, "node", o.node, "target",
                  cf_output_json(o.target, strlen(o.target)), "dry_run", (int)o.dry_run,
                  "files_total", (json_int_t)r.files_total, "files_restored",
                  (json_int_t)r.files_restored, "files_kept", (json_int_t)r.files_kept,
                  "bytes_target", (json_int_t)r.target_bytes, "bytes_written",
                  (json_int_t)r.bytes_written, "bytes_downloaded", (json_int_t)r.bytes_downloaded,
                  "requests", (json_int_t)r.requests_total, "duration_s",
                  (double)r.duration_ms / 1000.0, "closing_words",
                  cf_output_json((const char *)r.closing_words.data, r.closing_words.len)));
    return CF_OK;
}
