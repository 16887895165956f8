/* SPDX-License-Identifier: Apache-2.0
 *
 * chunkferry list
 */
#include <string.h>

#include "cli/snapshots.h"
#include "repo/json.h"
#include "repo/tag.h"
#include "s3/base/alloc.h"
#include "s3/base/cleanup.h"
#include "s3/base/num.h"

typedef struct lister {
    cf_cli *cli;
    cf_opened opened;
    json_t *tags; /* owned; of the node under way, by snapshot */
    uint64_t snapshots_total, nodes_total, damaged_total;
} lister;

static void lister_deinit(lister *const l)
{
    json_decref(l->tags);
    cf_opened_close(&l->opened);
}

static void snapshot_print(lister *const l, const char *const node, const cf_root *const root)
{
    char time[CF_TIME_SIZE], source[CF_SIZE_TEXT_SIZE], sent[CF_SIZE_TEXT_SIZE];
    json_t *const tags = json_object_get(l->tags, root->run.text);
    CF_CLEANUP(cf_freep) char *words = cf_tags_text(tags);
    const bool tagged = words != NULL && words[0] != '\0';

    cf_time_render_iso(root->time_utc_ms, time);
    cf_output_text(l->cli->output, "%-25s  %-20s  %-14s  %6llu files  %10s  %10s new%s%s\n",
                   root->run.text, time, node, (unsigned long long)root->totals.files_total,
                   cf_size_render(root->totals.source_bytes, source),
                   cf_size_render(root->totals.uploaded_bytes, sent), tagged ? "  " : "",
                   tagged ? words : "");
    json_t *const object = cf_snapshot_object("snapshot", node, root);
    (void)json_object_set_new(object, "tags", tags != NULL ? json_incref(tags) : json_array());
    cf_output_object(l->cli->output, object);
}

/* One snapshot that cannot be read does not hide the others; the exit code tells. */
static cf_err snapshot_list_one(lister *const l, const char *const node, const cf_run_id *const id,
                                cf_error *const e)
{
    CF_CLEANUP(cf_root_freep) cf_root *root = NULL;
    const cf_err err = cf_snapshot_load(&l->opened.repo, node, id, &root, e);

    if (err == CF_ERR_DAMAGE || err == CF_ERR_FORMAT) {
        cf_output_log(l->cli->output, CF_LOG_WARN, e->message);
        l->damaged_total += err == CF_ERR_DAMAGE;
        return CF_OK;
    }
    if (err == CF_ERR_FENCED || err == CF_ERR_NOT_FOUND) /* pruned since the LIST */
        return CF_OK;
    CF_TRY(err);
    snapshot_print(l, node, root);
    l->snapshots_total++;
    return CF_OK;
}

static void tag_bad(void *const impl, const cf_mark *const mark, const char *const why)
{
    (void)mark;
    cf_output_log(((lister *)impl)->cli->output, CF_LOG_WARN, why);
}

static cf_err node_list(void *const impl, const char *const node, cf_error *const e)
{
    lister *const l = impl;
    CF_CLEANUP(cf_snapshot_ids_deinit) cf_snapshot_ids ids = {0};

    CF_TRY(cf_snapshot_list(&l->opened.repo, node, /* recent= */ false, &ids, e));
    json_decref(CF_STEAL(l->tags));
    if (ids.total > 0)
        CF_TRY(cf_tags_load(&l->opened.repo, node, /* only= */ NULL, tag_bad, l, &l->tags, e));
    for (size_t i = 0; i < ids.total; i++)
        CF_TRY(snapshot_list_one(l, node, &ids.id[i], e));
    l->nodes_total++;
    return CF_OK;
}

cf_err cf_cli_list(cf_cli *const c, cf_error *const e)
{
    CF_CLEANUP(lister_deinit) lister l = {.cli = c};
    const char *const node = c->values.text[CF_OPT_NODE];

    if (node != NULL)
        CF_TRY(cf_node_name_check(node, e));
    CF_TRY(cf_opened_open(c, &l.opened, e));
    if (node != NULL)
        CF_TRY(node_list(&l, node, e));
    else
        CF_TRY(cf_repo_list_nodes(&l.opened.repo, node_list, &l, e));
    if (l.snapshots_total == 0)
        cf_output_text(c->output, "no snapshots%s%s\n", node != NULL ? " of node " : "",
                       node != NULL ? node : "");
    cf_output_object(c->output,
                     json_pack("{s:s, s:I, s:I}", "type", "summary", "snapshots",
                               (json_int_t)l.snapshots_total, "nodes", (json_int_t)l.nodes_total));
    CF_ENSURE(l.damaged_total == 0, e, CF_ERR_DAMAGE,
              "%llu snapshots could not be read\n"
              "HINT: the warnings name them; the others can be restored, and 'chunkferry verify' "
              "says what is damaged",
              (unsigned long long)l.damaged_total);
    return CF_OK;
}
