/* SPDX-License-Identifier: Apache-2.0
 *
 * Snapshots: what list and show have in common.
 */
#include "cli/snapshots.h"

#include "s3/base/num.h"
#include "store/open.h"

cf_err cf_opened_open(const cf_cli *const c, cf_opened *const ret, cf_error *const e)
{
    cf_remote remote = {0};

    CF_TRY(cf_cli_remote(c, &remote, e));
    CF_TRY(cf_store_open(c->ctx, &remote, /* sizes= */ NULL, &ret->store, e));
    return cf_repo_open(ret->store, c->ctx->world, &ret->repo, e);
}

void cf_opened_close(cf_opened *const o)
{
    cf_store_free(o->store);
    o->store = NULL;
}

json_t *cf_snapshot_object(const char *const type, const char *const node,
                           const cf_root *const root)
{
    char time[CF_TIME_SIZE];
    const cf_totals *const t = &root->totals;

    cf_time_render_iso(root->time_utc_ms, time);
    json_t *const object = json_pack(
        "{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "type", type,
        "snapshot", root->run.text, "node", node, "time", time, "profile", root->profile, "version",
        root->version, "parent", root->has_parent ? root->parent.text : "", "files_total",
        (json_int_t)t->files_total, "files_new", (json_int_t)t->files_new, "files_reused",
        (json_int_t)t->files_reused, "bytes_source", (json_int_t)t->source_bytes, "bytes_read",
        (json_int_t)t->read_bytes, "bytes_uploaded", (json_int_t)t->uploaded_bytes, "packs_total",
        (json_int_t)t->packs_total, "bytes_stored", (json_int_t)t->stored_bytes);
    json_t *const writer = json_object_get(json_object_get(root->facts, "checkpoints"), "writer");

    if (writer != NULL)
        (void)json_object_set(object, "writer", writer);
    if (root->has_origin) {
        (void)json_object_set_new(object, "origin", json_string(root->origin.run.text));
        (void)json_object_set_new(object, "origin_repository",
                                  json_string(root->origin.repository));
    }
    return object;
}
