/* SPDX-License-Identifier: Apache-2.0
 *
 * What the target has already. A snapshot is known again by where it was made first: its origin, or
 * itself; so that no way home, around or twice makes two of one.
 */
#include <stdio.h>

#include "copy/copy.h"
#include "s3/base/alloc.h"
#include "s3/base/cleanup.h"
#include "s3/base/num.h"

enum {
    DAY_MS = 24 * 3600 * 1000, /* ours: how far the clocks of two stores may stand apart */
    RUN_TIME_LEN = 16,
};

void cf_present_deinit(cf_present *const p)
{
    cf_free(p->items);
    *p = (cf_present){0};
}

bool cf_present_has(const cf_present *const p, const cf_origin *const origin)
{
    for (size_t i = 0; i < p->total; i++) {
        if (strcmp(p->items[i].run.text, origin->run.text) == 0 &&
            strcmp(p->items[i].repository, origin->repository) == 0)
            return true;
    }
    return false;
}

cf_err cf_present_add(cf_present *const p, const cf_origin *const origin, const int64_t time_utc_ms,
                      cf_error *const e)
{
    if (p->total == p->cap) {
        const size_t cap = p->cap == 0 ? 64 : p->cap * 2;
        cf_origin *const grown = cf_realloc(p->items, cap, sizeof(*grown));
        CF_ENSURE(grown != NULL, e, CF_ERR_NO_MEMORY, "allocate %zu origins", cap);
        p->items = grown;
        p->cap = cap;
    }
    p->items[p->total++] = *origin;
    if (time_utc_ms > p->newest_utc_ms)
        p->newest_utc_ms = time_utc_ms;
    return CF_OK;
}

cf_origin cf_copy_origin(const cf_repo *const repo, const cf_root *const root)
{
    if (root->has_origin)
        return root->origin;
    cf_origin own = {.run = root->run};
    memcpy(own.repository, repo->id, sizeof(own.repository));
    return own;
}

/* A copy's id is made after its origin's: what is older than that cannot be one. */
static void floor_make(const cf_run_id *const from, cf_run_id *const ret)
{
    int64_t utc_ms = 0;

    if (from != NULL && cf_time_parse_basic(cf_slice_of(from->text, RUN_TIME_LEN), &utc_ms))
        cf_run_id_floor(utc_ms - DAY_MS, ret);
}

static cf_err root_note(cf_copy *const c, const cf_run_id *const id, cf_error *const e)
{
    CF_CLEANUP(cf_root_freep) cf_root *root = NULL;
    cf_error why = {0};
    const cf_err err = cf_snapshot_load(&c->to, c->node, id, &root, &why);

    if (err == CF_ERR_NOT_FOUND || err == CF_ERR_FENCED) /* pruned since the LIST */
        return CF_OK;
    if (err == CF_ERR_DAMAGE || err == CF_ERR_FORMAT) {
        cf_copy_log(c, CF_LOG_WARN,
                    "it cannot be known what the target's snapshot %s was copied from: %s",
                    id->text, why.message);
        return CF_OK;
    }
    if (err != CF_OK) {
        if (e != NULL)
            *e = why;
        return err;
    }
    const cf_origin origin = cf_copy_origin(&c->to, root);
    return cf_present_add(&c->present, &origin, root->time_utc_ms, e);
}

cf_err cf_copy_look(cf_copy *const c, const cf_run_id *const from, cf_error *const e)
{
    CF_CLEANUP(cf_snapshot_ids_deinit) cf_snapshot_ids ids = {0};
    cf_run_id floor = {""};

    floor_make(from, &floor);
    CF_TRY_AS(cf_snapshot_list(&c->to, c->node, /* recent= */ false, &ids, e), e, "the target");
    for (size_t i = 0; i < ids.total; i++) {
        if (strcmp(ids.id[i].text, floor.text) >= 0)
            CF_TRY_AS(root_note(c, &ids.id[i], e), e, "the target");
    }
    return CF_OK;
}
