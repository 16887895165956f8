/* SPDX-License-Identifier: Apache-2.0
 *
 * How one node stands, with few requests.
 */
#ifndef SRC_CLI_STATUS_LOOK_H
#define SRC_CLI_STATUS_LOOK_H

#include "repo/lease.h"
#include "repo/manifest.h"
#include "repo/mark.h"
#include "repo/repo.h"

enum { CF_LEFTOVER_RUNS_MAX = 16 }; /* ours: measured, a LIST each */

typedef struct cf_status {
    cf_root *root; /* owned; newest snapshot; NULL: none, or it cannot be read */
    size_t snapshot_total;
    uint64_t runs_total; /* distinct, of its packs */
    bool has_proof;
    cf_mark proof;         /* the newest one of the node */
    uint64_t damage_total; /* marks on the newest snapshot */
    bool has_lease;
    cf_lease_seen lease; /* live */
    uint64_t leftover_runs, leftover_bytes;
    bool leftovers_measured; /* all of them */
} cf_status;

/* On CF_ERR_DAMAGE and CF_ERR_FORMAT ret holds what could be found. */
CF_NODISCARD cf_err cf_status_look(const cf_repo *repo, const char *node, cf_status *ret,
                                   cf_error *e);
void cf_status_deinit(cf_status *s);

#endif
