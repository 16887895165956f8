/* SPDX-License-Identifier: Apache-2.0
 *
 * Plan: the profile looks at the node, against the parent, and pins the cut.
 */
#include "backup/backup.h"
#include "s3/base/cleanup.h"
#include "s3/base/num.h"

static void warn_to_log(void *const impl, const char *const text)
{
    cf_backup_log(impl, CF_LOG_WARN, "%s", text);
}

static void detail_to_log(void *const impl, const char *const text)
{
    cf_backup_log(impl, CF_LOG_DETAIL, "%s", text);
}

/* Without reuse the parent's lines only say which snapshot has a good copy of what is found
 * damaged; so a parent that cannot be opened is no failure. */
static cf_prior *hints_open(cf_backup *const b)
{
    cf_prior *p = NULL;

    if (b->prior != NULL || b->claim.parent == NULL || !b->opts->full ||
        cf_cursor_new(&b->repo, b->opts->node, b->claim.parent, CF_SEGMENT_FILES, &b->parent_files,
                      /* e= */ NULL) != CF_OK ||
        cf_prior_new(&(cf_prior_opts){.parent = b->parent_files}, &p, /* e= */ NULL) != CF_OK)
        return NULL;
    return p;
}

cf_err cf_backup_plan(cf_backup *const b, cf_error *const e)
{
    CF_CLEANUP(cf_prior_freep) cf_prior *hints = hints_open(b);
    CF_CLEANUP(cf_store_url_deinit) cf_store_url url = {0};
    const cf_backup_opts *const o = b->opts;

    if (o->remote.url != NULL)
        CF_TRY(cf_store_url_parse(o->remote.url, &url, e));
    const cf_source_opts opts = {
        .fs = b->ctx->fs,
        .world = b->ctx->world,
        .db = o->db,
        .index = o->index,
        .stopped = o->stopped,
        .without_secondary_indexes = o->without_secondary_indexes,
        .without_existence_filter = o->without_existence_filter,
        .archive = o->archive,
        .full = o->full,
        .max_truncation_bytes = o->max_truncation_bytes,
        .dir = o->dir,
        .exclude = o->exclude,
        .exclude_total = o->exclude_total,
        .one_file_system = o->one_file_system,
        .force = o->force,
        .leave_out = url.path,
        .warn = warn_to_log,
        .detail = detail_to_log,
        .impl = b,
    };
    cf_backup_progress(b, "looking");
    CF_TRY(b->profile->open(&opts, &b->source, e));
    CF_TRY(b->profile->plan(b->source, hints != NULL ? hints : b->prior,
                            b->claim.parent != NULL ? b->claim.parent->facts : NULL,
                            b->claim.parent != NULL ? b->claim.parent->run.text : NULL, e));
    b->profile->plan_totals(b->source, &b->plan_files, &b->plan_reused, &b->plan_read_bytes);
    if (b->prior != NULL)
        CF_TRY(cf_prior_rewind(b->prior, e));
    return CF_OK;
}

cf_err cf_backup_rehearse(cf_backup *const b, cf_error *const e)
{
    static const char *const words[] = {[CF_ENTRY_REUSE] = "keep",
                                        [CF_ENTRY_INLINE] = "store",
                                        [CF_ENTRY_WHOLE] = "send",
                                        [CF_ENTRY_PARTS] = "compare"};
    cf_entry *entry = NULL;

    for (;;) {
        CF_TRY(b->profile->next(b->source, &entry, e));
        if (entry == NULL)
            break;
        char size[CF_SIZE_TEXT_SIZE];
        cf_backup_log(b, CF_LOG_DETAIL, "would %s %s, %s", words[entry->how],
                      entry->name != NULL ? entry->name : entry->path,
                      cf_size_render(entry->size_bytes, size));
        b->totals.files_total++;
        b->totals.files_reused += entry->how == CF_ENTRY_REUSE;
        b->totals.files_new += entry->how == CF_ENTRY_WHOLE || entry->how == CF_ENTRY_INLINE;
        b->totals.source_bytes += entry->size_bytes;
        b->bytes_changed +=
            entry->how == CF_ENTRY_WHOLE || entry->how == CF_ENTRY_PARTS ? entry->read_bytes : 0;
        CF_TRY(b->profile->read_done(b->source, entry, /* outcome= */ NULL, e));
    }
    b->totals.read_bytes = b->profile->bytes_looked(b->source);
    return CF_OK;
}
