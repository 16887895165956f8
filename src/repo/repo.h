/* SPDX-License-Identifier: Apache-2.0
 *
 * Repository: the descriptor, and the snapshots of its nodes.
 */
#ifndef SRC_REPO_REPO_H
#define SRC_REPO_REPO_H

#include "repo/root.h"
#include "repo/run.h"
#include "s3/err.h"
#include "s3/world.h"
#include "store/store.h"

typedef struct cf_repo {
    cf_store *store;       /* borrowed */
    const cf_world *world; /* borrowed */
    char id[33];           /* 32 hex digits */
    int64_t created_utc_ms;
    /* The store refuses to overwrite when asked to. Else (descriptor: "create":"unconditional") the
     * flows keep the weaker rules of docs/FORMAT.md 9. */
    bool conditional;
    uint64_t segment_cache_bytes; /* of a cursor; 0: CF_SEGMENT_CACHE_BYTES */
} cf_repo;

/* Makes the place when missing, probes conditional create, writes the descriptor. CF_ERR_EXISTS: a
 * repository is there. A store that overwrites in spite of If-None-Match is taken, with
 * ret->conditional false: whoever calls says what is weaker then. */
CF_NODISCARD cf_err cf_repo_init(cf_store *store, const cf_world *world, cf_repo *ret, cf_error *e);
/* CF_ERR_NO_REPOSITORY, CF_ERR_FORMAT, CF_ERR_DAMAGE. */
CF_NODISCARD cf_err cf_repo_open(cf_store *store, const cf_world *world, cf_repo *ret, cf_error *e);

/* Ids of a node, ascending. */
typedef struct cf_snapshot_ids {
    cf_run_id *id; /* owned; committed snapshots */
    size_t total;
    cf_run_id newest; /* newest id of all, fences too; "" when there is none */
} cf_snapshot_ids;
void cf_snapshot_ids_deinit(cf_snapshot_ids *s);

enum { CF_SNAPSHOT_WINDOW_DAYS = 35 };
/* recent: those of the last 35 days, all when there are none. Fences (empty objects) are left out.
 */
CF_NODISCARD cf_err cf_snapshot_list(const cf_repo *r, const char *node, bool recent,
                                     cf_snapshot_ids *ret, cf_error *e);
/* CF_ERR_NOT_FOUND; a fence is CF_ERR_FENCED. */
CF_NODISCARD cf_err cf_snapshot_load(const cf_repo *r, const char *node, const cf_run_id *id,
                                     cf_root **ret, cf_error *e);
/* "latest" or an id or a unique beginning of one; CF_ERR_NOT_FOUND lists what there is,
 * CF_ERR_USAGE when several begin so. The latest goes by the snapshots' own times: a copy that came
 * in later than a newer one is not it. */
CF_NODISCARD cf_err cf_snapshot_find(const cf_repo *r, const char *node, const char *text,
                                     cf_run_id *ret, cf_error *e);
/* The commit point: one conditional PUT. CF_ERR_FENCED: a fence stood there. CF_ERR_UNKNOWN: it
 * cannot be known; the message says what to do. "failed" is only said when a fence stands at the
 * key, if need be our own: then the code is that of the last PUT's failure. CF_ERR_EXISTS: another
 * machine committed a run of the same id (a clone). Bounded: 5 tries, 10 minutes. */
CF_NODISCARD cf_err cf_snapshot_commit(const cf_repo *r, const char *node, const cf_root *root,
                                       cf_error *e);

/* In a repository without conditional create, where a fence would overwrite a root: no try starts
 * once alive() says false, and a commit that is not known to have come is CF_ERR_UNKNOWN. Else alive
 * is not asked. */
CF_NODISCARD cf_err cf_snapshot_commit_while(const cf_repo *r, const char *node,
                                             const cf_root *root, bool (*alive)(void *impl),
                                             void *impl, cf_error *e);

/* 32 random hex digits and NUL. */
void cf_repo_random_id(const cf_world *world, char ret[CF_STORE_ID_LEN + 1]);

typedef cf_err (*cf_name_fn)(void *impl, const char *name, cf_error *e);
CF_NODISCARD cf_err cf_repo_list_nodes(const cf_repo *r, cf_name_fn fn, void *impl, cf_error *e);

#endif
