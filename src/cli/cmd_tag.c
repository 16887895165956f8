/* SPDX-License-Identifier: Apache-2.0
 *
 * chunkferry tag
 */
#include <string.h>

#include "cli/snapshots.h"
#include "repo/json.h"
#include "repo/tag.h"
#include "s3/base/alloc.h"
#include "s3/base/cleanup.h"

static cf_err change_take(const cf_values *const v, const char **const add,
                          const char **const remove, cf_tag_change *const ret, cf_error *const e)
{
    cf_tag_change c = {.add = add, .remove = remove};

    c.add_total = cf_values_each(v, CF_OPT_ADD, add);
    c.remove_total = cf_values_each(v, CF_OPT_REMOVE, remove);
    CF_ENSURE(c.add_total + c.remove_total > 0, e, CF_ERR_USAGE,
              "no tag given\nHINT: --add TAG, --remove TAG; both may be given more than once");
    for (size_t i = 0; i < c.add_total; i++)
        CF_TRY(cf_tag_check(add[i], e));
    for (size_t i = 0; i < c.remove_total; i++) {
        CF_TRY(cf_tag_check(remove[i], e));
        for (size_t k = 0; k < c.add_total; k++)
            CF_ENSURE(strcmp(add[k], remove[i]) != 0, e, CF_ERR_USAGE,
                      "tag '%s' is to be added and to be taken away\nHINT: give it to one of --add "
                      "and --remove",
                      remove[i]);
    }
    *ret = c;
    return CF_OK;
}

static cf_err tags_print(const cf_cli *const c, const cf_opened *const o, const char *const node,
                         const cf_run_id *const run, cf_error *const e)
{
    CF_CLEANUP(json_decrefp) json_t *all = NULL;
    CF_CLEANUP(cf_freep) char *text = NULL;

    CF_TRY(cf_tags_load(&o->repo, node, run, /* bad= */ NULL, NULL, &all, e));
    json_t *const found = json_object_get(all, run->text);
    json_t *const tags = found != NULL ? json_incref(found) : json_array();
    text = cf_tags_text(tags);
    cf_output_text(c->output, "snapshot %s of node %s: %s\n", run->text, node,
                   text != NULL && text[0] != '\0' ? text : "no tags");
    cf_output_object(c->output, json_pack("{s:s, s:s, s:s, s:o}", "type", "summary", "node", node,
                                          "snapshot", run->text, "tags", tags));
    return CF_OK;
}

cf_err cf_cli_tag(cf_cli *const c, cf_error *const e)
{
    CF_CLEANUP(cf_opened_close) cf_opened opened = {0};
    const char *const node = c->values.text[CF_OPT_NODE];
    const char *add[CF_MANY_MAX], *remove[CF_MANY_MAX];
    cf_tag_change change = {0};
    cf_run_id run = {""};

    CF_ENSURE(node != NULL, e, CF_ERR_USAGE,
              "no node given\nHINT: --node NAME, or set CHUNKFERRY_NODE");
    CF_TRY(cf_node_name_check(node, e));
    CF_TRY(change_take(&c->values, add, remove, &change, e));
    CF_TRY(cf_opened_open(c, &opened, e));
    CF_TRY(cf_snapshot_find(&opened.repo, node, c->values.arg[0], &run, e));
    CF_TRY(cf_tag_set(&opened.repo, node, &run, &change, e));
    return tags_print(c, &opened, node, &run, e);
}
