/* SPDX-License-Identifier: Apache-2.0
 *
 * Roots: what prune needs of each is its time and its segments. A root never changes but into a
 * fence, so it is read once, whenever it was listed.
 */
#include <stdio.h>
#include <string.h>

#include "prune/prune.h"
#include "repo/root.h"
#include "s3/base/alloc.h"
#include "s3/base/cleanup.h"

bool cf_prune_is_dropped(const cf_prune_node *const n, const cf_run_id *const run)
{
    const cf_prune_opts *const o = n->prune->opts;

    for (size_t i = 0; i < o->drop_damaged_total; i++) {
        if (strcmp(o->drop_damaged[i], run->text) == 0)
            return true;
    }
    return false;
}

static cf_err segments_take(cf_prune_node *const n, const cf_root *const root,
                            cf_prune_snap *const s, cf_error *const e)
{
    CF_CLEANUP(cf_freep) uint32_t *list = cf_alloc(root->segment_total + 1, sizeof(*list));

    CF_ENSURE(list != NULL, e, CF_ERR_NO_MEMORY, "allocate %zu segments", root->segment_total);
    for (size_t i = 0; i < root->segment_total; i++)
        CF_TRY_AS(cf_prune_segments_add(&n->segments, &root->segments[i], &list[i], e), e,
                  "root of snapshot '%s'", s->run.text);
    s->segments = CF_STEAL(list);
    s->segment_total = root->segment_total;
    return CF_OK;
}

/* What it names is not known. It can only name objects that were there before it: runs below its
 * own id, and, should a clock have gone back between them, what was stored before it was. */
static void future_take(cf_prune_node *const n, cf_prune_snap *const s, const char *const why)
{
    cf_prune_log(n->prune, CF_LOG_WARN,
                 "node '%s': snapshot '%s' stays, and with it every object that is older: %s\n"
                 "HINT: prune with the chunkferry that wrote it",
                 n->name, s->run.text, why);
    s->is_future = true;
    s->keep |= CF_KEEP_FUTURE;
    if (!n->has_future || strcmp(s->run.text, n->future_run.text) > 0)
        n->future_run = s->run;
    if (!n->has_future || s->modified_utc_ms > n->future_utc_ms)
        n->future_utc_ms = s->modified_utc_ms;
    n->has_future = true;
}

static cf_err damaged_take(const cf_prune_node *const n, cf_prune_snap *const s,
                           const cf_error *const why, cf_error *const e)
{
    const bool is_newest = strcmp(s->run.text, n->newest.text) == 0;

    CF_ENSURE(cf_prune_is_dropped(n, &s->run), e, CF_ERR_DAMAGE,
              "%s; so it is not known what snapshot '%s' names, and nothing was deleted\n"
              "HINT: %s--drop-damaged %s gives this snapshot up and goes on",
              why->message, s->run.text,
              is_newest ? "it is the newest: make another backup first, then " : "", s->run.text);
    s->is_damaged = true;
    s->words = cf_strdup(why->message);
    CF_ENSURE(s->words != NULL, e, CF_ERR_NO_MEMORY, "allocate a message");
    return CF_OK;
}

static cf_err root_take(cf_prune_node *const n, cf_prune_snap *const s, cf_error *const e)
{
    CF_CLEANUP(cf_root_freep) cf_root *root = NULL;

    CF_TRY(cf_snapshot_load(n->repo, n->name, &s->run, &root, e));
    CF_TRY(segments_take(n, root, s, e));
    s->time_utc_ms = root->time_utc_ms;
    s->files_total = root->totals.files_total;
    s->source_bytes = root->totals.source_bytes;
    return CF_OK;
}

cf_err cf_prune_root_read(cf_prune_node *const n, cf_prune_snap *const s, cf_error *const e)
{
    cf_error why = {0};
    const cf_err err = root_take(n, s, &why);

    s->read = true;
    if (err == CF_ERR_FORMAT)
        future_take(n, s, why.message);
    else if (err == CF_ERR_DAMAGE)
        return damaged_take(n, s, &why, e);
    else if (err == CF_ERR_FENCED || err == CF_ERR_NOT_FOUND)
        CF_FAIL(e, CF_ERR_CONFLICT, "snapshot '%s' went between LIST and GET", s->run.text);
    else if (err != CF_OK) {
        if (e != NULL)
            *e = why;
        return err;
    }
    return CF_OK;
}
