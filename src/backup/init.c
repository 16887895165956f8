/* SPDX-License-Identifier: Apache-2.0
 *
 * Init: makes the repository that backups go to.
 */
#include "chunkferry/chunkferry.h"
#include "repo/repo.h"
#include "s3/base/cleanup.h"
#include "store/open.h"

cf_err cf_init_run(const cf_ctx *const ctx, const cf_remote *const remote,
                   cf_init_result *const ret, cf_error *const e)
{
    cf_ctx full = *ctx;
    CF_CLEANUP(cf_store_freep) cf_store *store = NULL;
    cf_repo repo = {0};
    cf_store_counts counts = {0};

    full.world = ctx->world != NULL ? ctx->world : cf_world_real();
    CF_TRY(cf_store_open(&full, remote, /* sizes= */ NULL, &store, e));
    CF_TRY(cf_repo_init(store, full.world, &repo, e));
    if (!repo.conditional && full.log != NULL)
        full.log(full.impl, CF_LOG_WARN,
                 "this store overwrites an object in spite of 'If-None-Match: *'. Backups are safe "
                 "all the same, by weaker rules: two that start at once may both run; what nobody "
                 "needs is deleted seven days after it was marked, by a second prune; a run that "
                 "slept waits an hour before its commit, and one that sleeps again just then may "
                 "commit a snapshot whose data a prune has taken\n"
                 "HINT: a server with conditional writes has none of this");
    store->ops->get_counts(store, &counts);
    *ret = (cf_init_result){.requests_total = counts.requests_total};
    memcpy(ret->repository, repo.id, sizeof(ret->repository));
    return CF_OK;
}
