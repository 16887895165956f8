/* SPDX-License-Identifier: Apache-2.0
 *
 * Fence: an empty object where a run's root would be. That run can never commit.
 */
#ifndef SRC_REPO_FENCE_H
#define SRC_REPO_FENCE_H

#include "repo/repo.h"
#include "repo/run.h"
#include "s3/err.h"

/* Conditional create: CF_ERR_EXISTS when a root or a fence stands there: it is decided.
 * over_root: overwrite a root that goes; prune only. Not for an unconditional repository. */
CF_NODISCARD cf_err cf_fence_put(const cf_repo *repo, const char *node, const cf_run_id *run,
                                 bool over_root, cf_error *e);

#endif
