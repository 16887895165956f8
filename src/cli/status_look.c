/* SPDX-License-Identifier: Apache-2.0
 *
 * Runs that have objects and neither root nor fence, and on which the newest snapshot does not rest
 * (an adopted run has no root), are leftovers, unless their lease is live.
 */
#include "cli/status_look.h"

#include <stdio.h>
#include <stdlib.h>

#include "s3/base/alloc.h"
#include "s3/base/cleanup.h"

typedef struct ids {
    cf_run_id *id; /* owned */
    size_t total, cap;
    size_t prefix_len;
    uint64_t committed; /* not empty: of snapshots */
    cf_run_id newest;   /* committed */
} ids;

static void ids_deinit(ids *const x)
{
    cf_free(x->id);
}

static cf_err id_push(ids *const x, const cf_run_id *const id, cf_error *const e)
{
    if (x->total == x->cap) {
        const size_t cap = x->cap == 0 ? 64 : x->cap * 2;
        cf_run_id *const grown = cf_realloc(x->id, cap, sizeof(*grown));
        CF_ENSURE(grown != NULL, e, CF_ERR_NO_MEMORY, "allocate %zu ids", cap);
        x->id = grown;
        x->cap = cap;
    }
    x->id[x->total++] = *id;
    return CF_OK;
}

static int id_cmp(const void *const a, const void *const b)
{
    return strcmp(((const cf_run_id *)a)->text, ((const cf_run_id *)b)->text);
}

static bool id_has(const ids *const x, const cf_run_id *const id)
{
    return x->total > 0 && bsearch(id, x->id, x->total, sizeof(*id), id_cmp) != NULL;
}

/* Roots and fences are objects, runs are prefixes that end in a slash. */
static cf_err id_take(void *const impl, const cf_store_entry *const entry, bool *const ret_stop,
                      cf_error *const e)
{
    ids *const x = impl;
    cf_slice name = cf_slice_str(entry->key);
    cf_run_id id = {""};

    (void)ret_stop;
    name = cf_slice_of(name.ptr + x->prefix_len,
                       name.len - x->prefix_len - (entry->is_prefix ? 1 : 0));
    if (!cf_run_id_parse(name, &id))
        return CF_OK;
    if (!entry->is_prefix && entry->size_bytes > 0) {
        x->committed++;
        x->newest = id;
    }
    return id_push(x, &id, e);
}

static cf_err ids_list(const cf_repo *const repo, const char *const node, const char *const folder,
                       ids *const ret, cf_error *const e)
{
    char prefix[CF_KEY_LEN_MAX + 1];

    cf_key_folder(prefix, node, folder);
    ret->prefix_len = strlen(prefix);
    CF_TRY_AS(repo->store->ops->list(repo->store, prefix, /* after= */ NULL, "/", id_take, ret, e),
              e, "list the %s of '%s'", folder, node);
    return CF_OK;
}

/* Pack lines are sorted by name, so by run. */
static cf_err runs_of_packs(const cf_repo *const repo, const char *const node,
                            const cf_root *const root, ids *const ret, cf_error *const e)
{
    CF_CLEANUP(cf_cursor_freep) cf_cursor *packs = NULL;
    const cf_pack_line *l = NULL;
    cf_run_id run = {""};

    CF_TRY(cf_cursor_new(repo, node, root, CF_SEGMENT_PACKS, &packs, e));
    for (;;) {
        CF_TRY(cf_cursor_next_pack(packs, &l, e));
        if (l == NULL)
            return CF_OK;
        CF_CHECK(cf_object_name_parse(cf_slice_str(l->pack), &run, NULL, NULL));
        if (ret->total == 0 || strcmp(ret->id[ret->total - 1].text, run.text) != 0)
            CF_TRY(id_push(ret, &run, e));
    }
}

static cf_err mark_take(void *const impl, const cf_mark *const mark, cf_error *const e)
{
    cf_status *const s = impl;

    (void)e;
    if (cf_mark_is(mark, CF_MARK_PROOF) &&
        (!s->has_proof || mark->time_utc_ms > s->proof.time_utc_ms)) {
        s->has_proof = true;
        s->proof = *mark;
    }
    if (cf_mark_is(mark, CF_MARK_DAMAGE) && s->root != NULL &&
        strcmp(mark->run.text, s->root->run.text) == 0)
        s->damage_total++;
    return CF_OK;
}

static cf_err lease_take(void *const impl, const cf_lease_seen *const seen, cf_error *const e)
{
    cf_status *const s = impl;

    (void)e;
    if (seen->state == CF_LEASE_LIVE) {
        s->has_lease = true;
        s->lease = *seen;
    }
    return CF_OK;
}

static cf_err size_take(void *const impl, const cf_store_entry *const entry, bool *const ret_stop,
                        cf_error *const e)
{
    (void)ret_stop;
    (void)e;
    *(uint64_t *)impl += entry->size_bytes;
    return CF_OK;
}

static cf_err leftover_measure(const cf_repo *const repo, const char *const node,
                               const cf_run_id *const run, cf_status *const s, cf_error *const e)
{
    char prefix[CF_KEY_LEN_MAX + 1];

    if (++s->leftover_runs > CF_LEFTOVER_RUNS_MAX) {
        s->leftovers_measured = false;
        return CF_OK;
    }
    (void)snprintf(prefix, sizeof(prefix), "nodes/%s/runs/%s/", node, run->text);
    CF_TRY_AS(repo->store->ops->list(repo->store, prefix, /* after= */ NULL, /* delimiter= */ NULL,
                                     size_take, &s->leftover_bytes, e),
              e, "list run '%s'", run->text);
    return CF_OK;
}

static cf_err leftovers_look(const cf_repo *const repo, const char *const node,
                             const ids *const decided, const ids *const used, cf_status *const s,
                             cf_error *const e)
{
    CF_CLEANUP(ids_deinit) ids runs = {0};

    s->leftovers_measured = true;
    CF_TRY(ids_list(repo, node, "runs", &runs, e));
    for (size_t i = 0; i < runs.total; i++) {
        const bool live = s->has_lease && s->lease.readable &&
                          strcmp(s->lease.body.run.text, runs.id[i].text) == 0;
        if (!live && !id_has(decided, &runs.id[i]) && !id_has(used, &runs.id[i]))
            CF_TRY(leftover_measure(repo, node, &runs.id[i], s, e));
    }
    return CF_OK;
}

/* What cannot be read is told at the end; all else is looked at first. */
static cf_err newest_look(const cf_repo *const repo, const char *const node, const ids *const all,
                          ids *const used, cf_status *const s, cf_error *const e)
{
    if (all->committed == 0)
        return CF_OK;
    CF_TRY(cf_snapshot_load(repo, node, &all->newest, &s->root, e));
    CF_TRY(runs_of_packs(repo, node, s->root, used, e));
    s->runs_total = used->total;
    return CF_OK;
}

cf_err cf_status_look(const cf_repo *const repo, const char *const node, cf_status *const s,
                      cf_error *const e)
{
    CF_CLEANUP(ids_deinit) ids all = {0};
    CF_CLEANUP(ids_deinit) ids used = {0};
    cf_error why = {0};

    CF_TRY(ids_list(repo, node, "snapshots", &all, e));
    s->snapshot_total = all.committed;
    const cf_err err = newest_look(repo, node, &all, &used, s, &why);
    if (err != CF_OK && e != NULL)
        *e = why;
    if (err != CF_ERR_DAMAGE && err != CF_ERR_FORMAT)
        CF_TRY(err);
    CF_TRY(cf_mark_each(repo, node, /* only= */ NULL, mark_take, s, e));
    CF_TRY(cf_lease_each(repo, node, "leases", s->root != NULL ? s->root->lease : 0, lease_take, s,
                         e));
    CF_TRY(leftovers_look(repo, node, &all, &used, s, e));
    return err;
}

void cf_status_deinit(cf_status *const s)
{
    cf_root_free(s->root);
}
