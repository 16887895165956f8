/* SPDX-License-Identifier: Apache-2.0
 *
 * chunkferry copy
 */
#include "cli/cli.h"
#include "s3/base/num.h"

/* What is not said of the target is as it is of the source: most copies stay with one provider. */
static const char *to_or(const cf_values *const v, const cf_option_id id, const char *const source)
{
    return v->text[id] != NULL ? v->text[id] : source;
}

static cf_err opts_fill(const cf_cli *const c, cf_copy_opts *const ret, cf_error *const e)
{
    const cf_values *const v = &c->values;
    cf_copy_opts o = {
        .node = v->text[CF_OPT_NODE],
        .snapshot = v->arg_total > 0 ? v->arg[0] : NULL,
        .dry_run = cf_values_on(v, CF_OPT_DRY_RUN),
    };

    CF_TRY(cf_cli_mover(c, &o.remote, e));
    CF_TRY(cf_values_duration(v, CF_OPT_WAIT_LOCK, &o.wait_lock_ms, e));
    o.to = o.remote;
    o.to.url = v->text[CF_OPT_TO_REPO];
    o.to.endpoint = to_or(v, CF_OPT_TO_ENDPOINT, o.remote.endpoint);
    o.to.region = to_or(v, CF_OPT_TO_REGION, o.remote.region);
    o.to.addressing = to_or(v, CF_OPT_TO_ADDRESSING, o.remote.addressing);
    o.to.ca_bundle = to_or(v, CF_OPT_TO_CA_BUNDLE, o.remote.ca_bundle);
    o.to.aws_profile = to_or(v, CF_OPT_TO_AWS_PROFILE, o.remote.aws_profile);
    *ret = o;
    return CF_OK;
}

static void copied_print(void *const impl, const cf_copied *const r)
{
    cf_output *const out = impl;
    char bytes[CF_SIZE_TEXT_SIZE];
    const bool dry = r->snapshot[0] == '\0';

    cf_output_text(out, "node %s: %s %s%s: %llu packs, %s %s; %llu were there\n", r->node,
                   r->origin, dry ? "would be copied" : "is copied as ", r->snapshot,
                   (unsigned long long)r->packs_new, cf_size_render(r->bytes_new, bytes),
                   dry ? "to send" : "sent", (unsigned long long)r->packs_reused);
    cf_output_object(out, json_pack("{s:s, s:s, s:s, s:s, s:I, s:I, s:I}", "type", "copied", "node",
                                    r->node, "snapshot", r->snapshot, "origin", r->origin,
                                    "packs_copied", (json_int_t)r->packs_new, "packs_reused",
                                    (json_int_t)r->packs_reused, "bytes_copied",
                                    (json_int_t)r->bytes_new));
}

static void summary_print(cf_output *const out, const cf_copy_opts *const o,
                          const cf_copy_result *const r)
{
    char bytes[CF_SIZE_TEXT_SIZE];

    cf_output_text(
        out, "%llu snapshots %s, %llu were there already%s\n",
        (unsigned long long)r->snapshots_copied, o->dry_run ? "would be copied" : "copied",
        (unsigned long long)r->snapshots_skipped, o->dry_run ? "; nothing was written" : "");
    cf_output_text(out, "  packs   %llu %s, %s; %llu were there\n",
                   (unsigned long long)r->packs_copied,
                   o->dry_run ? "to send" : "sent and verified",
                   cf_size_render(r->bytes_copied, bytes), (unsigned long long)r->packs_reused);
    cf_output_text(
        out, "  time    %llu.%llu s, %llu requests\n", (unsigned long long)(r->duration_ms / 1000),
        (unsigned long long)(r->duration_ms % 1000 / 100), (unsigned long long)r->requests_total);
    cf_output_object(
        out,
        json_pack("{s:s, s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:f}", "type", "summary",
                  "dry_run", (int)o->dry_run, "snapshots_copied", (json_int_t)r->snapshots_copied,
                  "snapshots_skipped", (json_int_t)r->snapshots_skipped, "snapshots_failed",
                  (json_int_t)r->snapshots_failed, "packs_copied", (json_int_t)r->packs_copied,
                  "packs_reused", (json_int_t)r->packs_reused, "bytes_copied",
                  (json_int_t)r->bytes_copied, "requests", (json_int_t)r->requests_total,
                  "duration_s", (double)r->duration_ms / 1000.0));
}

cf_err cf_cli_copy(cf_cli *const c, cf_error *const e)
{
    cf_copy_opts o = {0};
    cf_copy_result r = {0};

    CF_TRY(opts_fill(c, &o, e));
    o.copied = copied_print;
    CF_TRY(cf_copy_run(c->ctx, &o, &r, e));
    summary_print(c->output, &o, &r);
    CF_ENSURE(r.failed == CF_OK, e, r.failed,
              "%llu of %llu snapshots could not be copied, see above; the others are there\nHINT: "
              "%s",
              (unsigned long long)r.snapshots_failed,
              (unsigned long long)(r.snapshots_failed + r.snapshots_copied + r.snapshots_skipped),
              r.failed == CF_ERR_FORMAT
                  ? "a newer chunkferry can"
                  : "'chunkferry verify --read-data' of the source names the files that are hurt");
    return CF_OK;
}
