/* SPDX-License-Identifier: Apache-2.0
 *
 * Garbage: what prune marked in a repository without conditional create, where it must wait seven
 * days before it deletes: nodes/<node>/garbage/<id>, zstd, a JSON line a run. Nobody adopts what is
 * marked.
 */
#ifndef SRC_REPO_GARBAGE_H
#define SRC_REPO_GARBAGE_H

#include "repo/repo.h"
#include "repo/run.h"
#include "s3/err.h"

typedef cf_err (*cf_garbage_run_fn)(void *impl, const cf_run_id *run, cf_error *e);
/* Each run of which a mark of the node names the root or an object, once a mark and not in order.
 * One LIST, one GET a mark. CF_ERR_DAMAGE, CF_ERR_FORMAT: a mark cannot be read, so it is unknown
 * what it names. */
CF_NODISCARD cf_err cf_garbage_each_run(const cf_repo *repo, const char *node, cf_garbage_run_fn fn,
                                        void *impl, cf_error *e);

#endif
