/* SPDX-License-Identifier: Apache-2.0
 *
 * chunkferry inspect: the same looks as a backup's, without a repository.
 */
#include "cli/cli.h"
#include "profile/profile.h"
#include "s3/base/cleanup.h"

static void warn_to_output(void *const impl, const char *const text)
{
    cf_output_log(impl, CF_LOG_WARN, text);
}

static void detail_to_output(void *const impl, const char *const text)
{
    cf_output_log(impl, CF_LOG_DETAIL, text);
}

typedef struct looker {
    const cf_profile *profile;
    cf_source *source;
} looker;

static void looker_deinit(looker *const l)
{
    if (l->source != NULL)
        l->profile->close(l->source);
}

static cf_err opts_fill(const cf_cli *const c, cf_source_opts *const ret, cf_error *const e)
{
    static const char *const sources[] = {"live", "stopped", NULL};
    const cf_values *const v = &c->values;
    unsigned source = 0;
    cf_source_opts o = {
        .fs = c->ctx->fs,
        .world = c->ctx->world,
        .db = v->text[CF_OPT_DB],
        .index = v->text[CF_OPT_INDEX],
        .without_secondary_indexes = cf_values_on(v, CF_OPT_WITHOUT_SECONDARY_INDEXES),
        .without_existence_filter = cf_values_on(v, CF_OPT_WITHOUT_EXISTENCE_FILTER),
        .archive = cf_values_on(v, CF_OPT_ARCHIVE),
        .inspect = true,
        .warn = warn_to_output,
        .detail = detail_to_output,
        .impl = c->output,
    };

    CF_ENSURE(o.db != NULL, e, CF_ERR_USAGE,
              "no database directory given\nHINT: --db /var/lib/kurrentdb");
    CF_TRY(cf_values_choice(v, CF_OPT_SOURCE, sources, &source, e));
    CF_TRY(cf_values_size(v, CF_OPT_MAX_TRUNCATION, &o.max_truncation_bytes, e));
    o.stopped = source == 1;
    *ret = o;
    return CF_OK;
}

cf_err cf_cli_inspect(cf_cli *const c, cf_error *const e)
{
    const char *const name =
        c->values.text[CF_OPT_PROFILE] != NULL ? c->values.text[CF_OPT_PROFILE] : "kurrentdb";
    CF_CLEANUP(looker_deinit) looker l = {.profile = cf_profile_find(name)};
    CF_CLEANUP(cf_buf_deinit) cf_buf report = {0};
    cf_source_opts opts = {0};
    json_t *facts = NULL;

    cf_buf_init(&report, 1024 * 1024);
    CF_ENSURE(l.profile != NULL, e, CF_ERR_USAGE,
              "profile '%s' is not known\nHINT: --profile kurrentdb", name);
    CF_ENSURE(l.profile->render_report != NULL, e, CF_ERR_USAGE,
              "profile '%s' has nothing to inspect\nHINT: chunkferry backup --profile %s --dry-run "
              "goes through the tree",
              name, name);
    CF_TRY(opts_fill(c, &opts, e));
    CF_TRY(l.profile->open(&opts, &l.source, e));
    CF_TRY(l.profile->plan(l.source, /* prior= */ NULL, /* prior_facts= */ NULL,
                           /* prior_run= */ NULL, e));
    CF_TRY(l.profile->render_report(l.source, &report, e));
    CF_TRY(l.profile->facts(l.source, &facts, e));
    const json_t *const refusals = json_object_get(facts, "refusals");
    const char *const first = json_string_value(json_array_get(refusals, 0));
    cf_output_text(c->output, "%.*s", (int)report.len, (const char *)report.data);
    (void)cf_error_set(e, CF_ERR_SOURCE, __FILE__, __LINE__, "a backup now would be refused: %s",
                       first != NULL ? first : "");
    cf_output_object(c->output, json_pack("{s:s, s:o, s:b, s:o}", "type", "summary", "db",
                                          cf_output_json(opts.db, strlen(opts.db)), "fit",
                                          first == NULL, "facts", facts));
    return first == NULL ? CF_OK : CF_ERR_SOURCE;
}
