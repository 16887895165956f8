/* SPDX-License-Identifier: Apache-2.0
 *
 * Fences: an empty object at a root's key says that this run can never commit. Model: core.pml,
 * `root[i] = 2`. A fence is never taken away, so that a run that wakes after years still meets it.
 */
#include "repo/fence.h"

cf_err cf_fence_put(const cf_repo *const repo, const char *const node, const cf_run_id *const run,
                    const bool over_root, cf_error *const e)
{
    char key[CF_KEY_LEN_MAX + 1];
    /* Over a root there is nothing to lose by overwriting: whoever writes here writes a fence. */
    const cf_put_opts opts = {.create_only = !over_root};

    cf_key_root(key, node, run);
    CF_TRY_AS(repo->store->ops->put(repo->store, key, cf_slice_of(NULL, 0), &opts,
                                    /* ret= */ NULL, e),
              e, "fence run '%s'", run->text);
    return CF_OK;
}
