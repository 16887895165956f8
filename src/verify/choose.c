/* SPDX-License-Identifier: Apache-2.0
 *
 * Choose: the nodes, their snapshots, and what a LIST of their runs shows. Snapshots come first: all
 * that a snapshot names stood before its root did, so a later LIST has it.
 */
#include <stdio.h>

#include "s3/base/alloc.h"
#include "s3/base/cleanup.h"
#include "verify/verify.h"

static cf_err node_add(void *const impl, const char *const name, cf_error *const e)
{
    cf_verify *const v = impl;

    if (v->node_total == v->node_cap) {
        const size_t cap = v->node_cap == 0 ? 8 : v->node_cap * 2;
        cf_verify_node *const grown = cf_realloc(v->nodes, cap, sizeof(*grown));
        CF_ENSURE(grown != NULL, e, CF_ERR_NO_MEMORY, "allocate %zu nodes", cap);
        v->nodes = grown;
        v->node_cap = cap;
    }
    cf_verify_node *const n = &v->nodes[v->node_total];
    *n = (cf_verify_node){.snapshots = NULL};
    (void)snprintf(n->name, sizeof(n->name), "%s", name);
    (void)snprintf(n->runs_prefix, sizeof(n->runs_prefix), "nodes/%s/runs/", name);
    v->node_total++;
    return CF_OK;
}

static cf_err snapshots_take(cf_verify_node *const n, const cf_run_id *const id, const size_t total,
                             cf_error *const e)
{
    n->snapshots = cf_alloc(total + 1, sizeof(*n->snapshots));
    CF_ENSURE(n->snapshots != NULL, e, CF_ERR_NO_MEMORY, "allocate %zu snapshots", total);
    n->snapshot_total = total;
    for (size_t i = 0; i < total; i++)
        n->snapshots[i].id = id[i];
    return CF_OK;
}

/* A node without snapshots is nothing to verify, unless it was asked for by name. */
static cf_err node_choose(const cf_verify *const v, cf_verify_node *const n, cf_error *const e)
{
    CF_CLEANUP(cf_snapshot_ids_deinit) cf_snapshot_ids ids = {0};
    const char *const wanted = v->opts->snapshot != NULL ? v->opts->snapshot : "latest";
    const bool all = strcmp(wanted, "all") == 0;
    const bool latest = strcmp(wanted, "latest") == 0;
    cf_run_id id = {""};

    if (v->opts->node != NULL && !all) {
        CF_TRY(cf_snapshot_find(&v->repo, n->name, wanted, &id, e));
        return snapshots_take(n, &id, 1, e);
    }
    CF_TRY(cf_snapshot_list(&v->repo, n->name, /* recent= */ latest, &ids, e));
    CF_ENSURE(ids.total > 0 || v->opts->node == NULL, e, CF_ERR_NOT_FOUND,
              "node '%s' has no snapshot\nHINT: 'chunkferry list' shows the nodes and their "
              "snapshots",
              n->name);
    if (latest && ids.total > 0)
        return snapshots_take(n, &ids.id[ids.total - 1], 1, e);
    return snapshots_take(n, ids.id, ids.total, e);
}

/* Best effort: on a medium that is read-only nobody prunes either. What was pruned all the same is
 * seen at the end. */
static cf_err leases_take(cf_verify *const v, cf_verify_node *const n, cf_error *const e)
{
    for (size_t i = 0; i < n->snapshot_total && n->snapshot_total <= CF_VERIFY_LEASES_MAX; i++) {
        cf_verify_snapshot *const s = &n->snapshots[i];
        cf_error why = {0};
        const cf_err err = cf_read_lease_acquire(&v->repo, n->name, &s->id, &s->lease, &why);

        if (err == CF_ERR_ACCESS || err == CF_ERR_DENIED || err == CF_ERR_IO) {
            cf_verify_log(v, CF_LOG_WARN,
                          "no lease could be put, so a prune that runs meanwhile may take what is "
                          "being read: %s",
                          why.message);
            return CF_OK;
        }
        if (err != CF_OK && e != NULL)
            *e = why;
        CF_TRY(err);
    }
    return CF_OK;
}

cf_err cf_verify_choose(cf_verify *const v, cf_error *const e)
{
    const char *const wanted = v->opts->snapshot;

    if (v->opts->node != NULL) {
        CF_TRY(cf_node_name_check(v->opts->node, e));
        CF_TRY(node_add(v, v->opts->node, e));
    } else {
        CF_ENSURE(wanted == NULL || strcmp(wanted, "latest") == 0 || strcmp(wanted, "all") == 0, e,
                  CF_ERR_USAGE,
                  "snapshot '%s' of which node?\nHINT: --node NAME, or 'latest' or 'all'", wanted);
        CF_TRY(cf_repo_list_nodes(&v->repo, node_add, v, e));
    }
    for (size_t i = 0; i < v->node_total; i++) {
        CF_TRY(node_choose(v, &v->nodes[i], e));
        CF_TRY(leases_take(v, &v->nodes[i], e));
        v->result.nodes_total += v->nodes[i].snapshot_total > 0;
    }
    return CF_OK;
}

void cf_verify_release(cf_verify *const v)
{
    for (size_t n = 0; n < v->node_total; n++) {
        for (size_t i = 0; i < v->nodes[n].snapshot_total; i++)
            cf_read_lease_abandon(CF_STEAL(v->nodes[n].snapshots[i].lease));
    }
}

/* ---- LIST ---- */

typedef struct lister {
    const cf_verify *v;
    cf_verify_node *n;
} lister;

static cf_err object_take(void *const impl, const cf_store_entry *const entry, bool *const ret_stop,
                          cf_error *const e)
{
    const lister *const l = impl;
    const char *const name = cf_key_object_name(entry->key);

    (void)ret_stop;
    CF_TRY(cf_verify_check_stop(l->v, e));
    return name == NULL ? CF_OK : cf_inventory_add(l->n->inventory, name, entry->size_bytes, e);
}

cf_err cf_verify_list_objects(cf_verify *const v, cf_verify_node *const n, cf_error *const e)
{
    lister l = {v, n};

    CF_TRY(cf_inventory_new(&v->budget_bytes, &n->inventory, e));
    if (n->snapshot_total == 0)
        return CF_OK;
    CF_TRY_AS(v->store->ops->list(v->store, n->runs_prefix, /* after= */ NULL,
                                  /* delimiter= */ NULL, object_take, &l, e),
              e, "list the objects of '%s'", n->name);
    return CF_OK;
}
