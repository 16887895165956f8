/* SPDX-License-Identifier: Apache-2.0
 *
 * Fences for the dead: a run that is not decided, whose leases are all ended or out, and that
 * stored nothing for the grace time, can not commit any more. Its objects may go in this very
 * prune, unless somebody adopted it: the second look at the leases tells.
 */
#include "repo/fence.h"
#include "prune/prune.h"

static bool is_dead(const cf_prune_trace *const r, const int64_t now_utc_ms)
{
    return !r->decided && !r->live &&
           r->modified_utc_ms + (int64_t)CF_PRUNE_GRACE_S * 1000 < now_utc_ms;
}

cf_err cf_prune_fence_dead(cf_prune_node *const n, cf_error *const e)
{
    int64_t now_utc_ms = 0;

    CF_TRY(n->repo->store->ops->now_utc_ms(n->repo->store, &now_utc_ms, e));
    for (size_t i = 0; i < n->run_total; i++) {
        cf_prune_trace *const r = &n->runs[i];

        if (!is_dead(r, now_utc_ms))
            continue;
        CF_TRY(cf_prune_check(n, e));
        /* Without conditional create a fence could overwrite a root: the seven days stand for it. */
        const bool put = n->repo->conditional && !n->prune->opts->dry_run;
        const cf_err err =
            put ? cf_fence_put(n->repo, n->name, &r->id, /* over_root= */ false, e) : CF_OK;
        if (err != CF_ERR_EXISTS) /* else it was decided just now: the last LIST says how */
            CF_TRY(err);
        r->decided = true;
        r->is_fence = err == CF_OK;
        n->prune->result.runs_fenced += err == CF_OK && n->repo->conditional;
    }
    return CF_OK;
}
