/* SPDX-License-Identifier: Apache-2.0
 *
 * Which dead runs left something. Most that ended without a snapshot left nothing (the node was not
 * fit), so runs with objects are found first, by one LIST, and only their leases are looked for.
 */
#include <stdio.h>

#include "repo/adoption.h"
#include "repo/garbage.h"

enum {
    LEFT_MAX = 64, /* ours: runs with objects above the parent; the newest of them count */
};

typedef struct leavers {
    cf_run_id run[LEFT_MAX]; /* a ring of the newest */
    size_t seen;
    size_t prefix_len;
} leavers;

static cf_err leavers_add(void *const impl, const cf_store_entry *const entry, bool *const ret_stop,
                          cf_error *const e)
{
    leavers *const l = impl;
    cf_run_id run = {""};
    (void)ret_stop;
    (void)e;
    const size_t len = strlen(entry->key);
    if (entry->is_prefix && len == l->prefix_len + CF_RUN_ID_LEN + 1 &&
        cf_run_id_parse(cf_slice_of(entry->key + l->prefix_len, CF_RUN_ID_LEN), &run))
        l->run[l->seen++ % LEFT_MAX] = run;
    return CF_OK;
}

/* Runs with objects, behind the parent's: a run that started before it has nothing that counts. */
static cf_err leavers_list(const cf_repo *const repo, const char *const node,
                           const cf_root *const parent, leavers *const l, cf_error *const e)
{
    char prefix[CF_KEY_LEN_MAX + 1];
    char after[CF_KEY_LEN_MAX + CF_RUN_ID_LEN + 2];
    cf_key_folder(prefix, node, "runs");
    l->prefix_len = strlen(prefix);
    if (parent != NULL) /* '0' sorts behind '/': what the parent itself wrote is left out */
        (void)snprintf(after, sizeof(after), "%s%s0", prefix, parent->run.text);
    CF_TRY_AS(repo->store->ops->list(repo->store, prefix, parent != NULL ? after : NULL, "/",
                                     leavers_add, l, e),
              e, "list the runs of '%s'", node);
    return CF_OK;
}

/* Takes it out: a run may have had several leases, and only its newest counts. */
static bool leavers_take(leavers *const l, const cf_run_id *const run)
{
    const size_t total = l->seen < LEFT_MAX ? l->seen : LEFT_MAX;
    for (size_t i = 0; i < total; i++) {
        if (strcmp(l->run[i].text, run->text) == 0) {
            l->run[i] = (cf_run_id){""};
            return true;
        }
    }
    return false;
}

static cf_err garbage_take(void *const impl, const cf_run_id *const run, cf_error *const e)
{
    (void)e;
    (void)leavers_take(impl, run);
    return CF_OK;
}

static cf_err consider(const cf_repo *const repo, const char *const node,
                       const cf_lease_name *const name, leavers *const l, bool *const ret,
                       cf_run_id *const ret_run, cf_error *const e)
{
    cf_lease_seen seen = {0};
    bool decided = true;
    *ret = false;
    const cf_err err = cf_lease_see(repo, node, "leases", name, &seen, e);
    if (err == CF_ERR_NOT_FOUND)
        return CF_OK;
    CF_TRY(err);
    /* Taken first: an older number of a run that moved says nothing of it. */
    if (!seen.readable || !leavers_take(l, &seen.body.run) || seen.state == CF_LEASE_LIVE)
        return CF_OK;
    CF_TRY(cf_run_is_decided(repo, node, &seen.body.run, &decided, e));
    *ret = !decided;
    *ret_run = seen.body.run;
    return CF_OK;
}

cf_err cf_adoption_find(const cf_repo *const repo, const char *const node,
                        const cf_root *const parent, const cf_lease_view *const view,
                        cf_run_id *const ret, size_t *const ret_total, cf_error *const e)
{
    leavers l = {0};
    size_t total = 0;
    *ret_total = 0;
    CF_TRY(leavers_list(repo, node, parent, &l, e));
    if (l.seen > 0 && !repo->conditional)
        CF_TRY(cf_garbage_each_run(repo, node, garbage_take, &l, e));
    const uint64_t above = parent != NULL ? parent->lease : 0;
    for (size_t i = view->total; i > 0 && l.seen > 0; i--) {
        bool has = false;
        if (view->newest[i - 1].number <= above || total == CF_LEASE_USES_MAX - 1)
            break;
        CF_TRY(consider(repo, node, &view->newest[i - 1], &l, &has, &ret[total], e));
        total += has;
    }
    *ret_total = total;
    return CF_OK;
}
