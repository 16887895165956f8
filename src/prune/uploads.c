/* SPDX-License-Identifier: Apache-2.0
 *
 * Multipart uploads of dead runs: parts that no LIST of objects shows, and that cost all the same.
 * Two ways lead to them. The last line of a run's last journal names those that were open; an
 * earlier one that is not named any more was finished or aborted by its run. Some stores cannot
 * list uploads, so this is the way that always works. And where the store lists them, what no
 * journal named: a run may die before it writes one.
 *
 * Of runs that are decided only, as the sweep of objects. Ending an upload takes nothing from
 * anybody: a run that sleeps and is decided cannot commit, and one that is not is let alone.
 */
#include <stdio.h>
#include <string.h>

#include "prune/prune.h"
#include "repo/journal_read.h"
#include "repo/json.h"
#include "s3/base/cleanup.h"

enum { UPLOAD_ID_LEN_MAX = 4096 };

/* --- of journals --- */

/* Only uploads below the run's own folder: a journal is no proof of anything else. */
static cf_err upload_abort(cf_prune_node *const n, const cf_run_id *const run,
                           const json_t *const item, cf_error *const e)
{
    cf_slice key = {NULL, 0}, id = {NULL, 0};
    cf_run_id owner = {""};

    CF_TRY(cf_json_get_str(item, "key", 1, CF_KEY_LEN_MAX, &key, e));
    CF_TRY(cf_json_get_str(item, "id", 1, UPLOAD_ID_LEN_MAX, &id, e));
    const char *const name = cf_key_object_name((const char *)key.ptr);
    char expected[CF_KEY_LEN_MAX + 1] = "";
    if (name != NULL && cf_object_name_parse(cf_slice_str(name), &owner, NULL, NULL))
        cf_key_of_object(expected, n->name, name);
    if (strcmp(owner.text, run->text) != 0 || strcmp(expected, (const char *)key.ptr) != 0)
        return CF_OK;
    CF_TRY(n->repo->store->ops->abort_upload(n->repo->store, expected, (const char *)id.ptr, e));
    n->prune->result.uploads_aborted++;
    return CF_OK;
}

static cf_err uploads_abort(cf_prune_node *const n, const cf_run_id *const run,
                            const cf_journal_object *const last, cf_error *const e)
{
    CF_CLEANUP(cf_journal_reader_freep) cf_journal_reader *reader = NULL;
    cf_journal_kind kind = CF_JOURNAL_END;
    cf_slice line = {NULL, 0};

    CF_TRY(cf_journal_reader_new(n->repo, n->name, run, last, 1, /* keep= */ false, &reader, e));
    for (;;) {
        CF_CLEANUP(json_decrefp) json_t *o = NULL;

        CF_TRY(cf_journal_reader_next(reader, &kind, &line, e));
        if (kind == CF_JOURNAL_END)
            return CF_OK;
        if (kind != CF_JOURNAL_UPLOADS)
            continue;
        CF_TRY(cf_json_load(line, &o, e));
        const json_t *const list = json_object_get(o, "uploads");
        for (size_t i = 0; i < json_array_size(list); i++)
            CF_TRY(upload_abort(n, run, json_array_get(list, i), e));
    }
}

/* Parts that stay cost money, no data: it is told, and prune goes on. */
static cf_err run_end(cf_prune_node *const n, const cf_run_id *const run,
                      const cf_journal_object *const last, cf_error *const e)
{
    cf_error why = {0};

    if (last->seq == 0)
        return CF_OK;
    CF_TRY(cf_prune_check(n, e));
    const cf_err err = uploads_abort(n, run, last, &why);
    if (err == CF_ERR_INTERRUPTED) {
        if (e != NULL)
            *e = why;
        return err;
    }
    if (err != CF_OK && err != CF_ERR_NOT_FOUND)
        cf_prune_log(n->prune, CF_LOG_WARN,
                     "node '%s': unfinished uploads of run '%s' may have been left: %s\nHINT: a "
                     "lifecycle rule of the bucket aborts such uploads",
                     n->name, run->text, why.message);
    return CF_OK;
}

static cf_err journals_abort(cf_prune_node *const n, cf_error *const e)
{
    cf_journal_object last = {0};
    cf_run_id run = {""};
    cf_prune_object o = {0};

    cf_spool_rewind(n->objects);
    for (;;) {
        cf_run_id id = {""};
        cf_slice kind = {NULL, 0};
        uint32_t seq = 0;

        CF_TRY(cf_prune_object_next(n, &o, e));
        const bool more = o.name.len > 0 && cf_object_name_parse(o.name, &id, &seq, &kind);
        if (!more || strcmp(id.text, run.text) != 0) {
            CF_TRY(run_end(n, &run, &last, e));
            last = (cf_journal_object){0};
            run = id;
        }
        if (!more)
            return CF_OK;
        const cf_prune_trace *const r = cf_prune_trace_find(n, &id);
        if (r != NULL && r->is_fence && cf_slice_eq(kind, cf_slice_str("journal")) &&
            cf_prune_may_go(n, &o))
            last = (cf_journal_object){.stored_bytes = o.size_bytes, .seq = seq};
    }
}

/* --- that the store lists --- */

typedef struct listed {
    cf_prune_node *node;
    bool stopped; /* by us: interrupted, or the lease is lost */
} listed;

/* Without conditional create nothing refuses a root of a run that slept; what has to be older than
 * seven days there is the upload. Such a run leaves no fence, so it may have left no trace at all. */
static bool may_abort(const cf_prune_node *const n, const cf_store_upload *const upload)
{
    const char *const name = cf_key_object_name(upload->key);
    cf_run_id id = {""};

    if (name == NULL || !cf_object_name_parse(cf_slice_str(name), &id, NULL, NULL))
        return false;
    const cf_prune_trace *const r = cf_prune_trace_find(n, &id);
    if (n->repo->conditional)
        return r != NULL && r->decided;
    return (r == NULL || r->decided) && upload->begun_utc_ms > 0 &&
           upload->begun_utc_ms + (int64_t)CF_PRUNE_GARBAGE_S * 1000 < n->looked_utc_ms;
}

static cf_err listed_abort(void *const impl, const cf_store_upload *const upload, cf_error *const e)
{
    listed *const l = impl;
    cf_prune_node *const n = l->node;

    if (!may_abort(n, upload))
        return CF_OK;
    l->stopped = true;
    CF_TRY(cf_prune_check(n, e));
    l->stopped = false;
    if (!n->prune->opts->dry_run)
        CF_TRY(n->repo->store->ops->abort_upload(n->repo->store, upload->key, upload->id, e));
    n->prune->result.uploads_aborted++;
    return CF_OK;
}

cf_err cf_prune_abort_listed(cf_prune_node *const n, cf_error *const e)
{
    listed l = {.node = n};
    char prefix[CF_KEY_LEN_MAX + 1];
    cf_error why = {0};

    cf_key_folder(prefix, n->name, "runs");
    const cf_err err =
        n->repo->store->ops->uploads_each(n->repo->store, prefix, listed_abort, &l, &why);
    if (l.stopped || err == CF_ERR_INTERRUPTED) {
        if (e != NULL)
            *e = why;
        return err;
    }
    if (err != CF_OK && err != CF_ERR_UNSUPPORTED)
        cf_prune_log(n->prune, CF_LOG_WARN,
                     "node '%s': unfinished uploads may have been left: %s\nHINT: allow this key "
                     "s3:ListBucketMultipartUploads and s3:AbortMultipartUpload, or give the "
                     "bucket a lifecycle rule that aborts such uploads after some days",
                     n->name, why.message);
    return CF_OK;
}

cf_err cf_prune_abort_uploads(cf_prune_node *const n, cf_error *const e)
{
    if (!n->prune->opts->dry_run)
        CF_TRY(journals_abort(n, e));
    return cf_prune_abort_listed(n, e);
}
