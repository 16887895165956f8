/* SPDX-License-Identifier: Apache-2.0
 *
 * Claim: who may write, on what, and with what a dead run left. The start of every run that writes
 * a snapshot, backup or copy; its order was model-checked (DESIGN 5, "Start of a run").
 */
#ifndef SRC_REPO_CLAIM_H
#define SRC_REPO_CLAIM_H

#include "chunkferry/chunkferry.h"
#include "repo/adoption.h"
#include "repo/damage.h"
#include "repo/lease.h"
#include "repo/repo.h"

typedef struct cf_claim_opts {
    const char *node; /* borrowed */
    bool adopt;       /* take over what dead runs left */
    uint64_t wait_ms; /* for a node that is busy; 0: CF_ERR_LOCKED at once */
    void (*log)(void *impl, cf_log_level level, const char *text); /* NULL: none */
    void *impl;
} cf_claim_opts;

typedef struct cf_claim {
    cf_run run;           /* its id is above all of the node */
    cf_lease *lease;      /* owned; NULL after cf_claim_look() */
    cf_root *parent;      /* owned; NULL: the first snapshot, or one that cannot be read */
    cf_run_id chosen;     /* the newest snapshot; "" when there is none */
    cf_adoption *adopted; /* owned; NULL: nothing was left */
    cf_damage *damage;    /* owned; NULL: none is known */
} cf_claim;

/* LIST snapshots, choose the newest as parent, look for what dead runs left, PUT the lease that
 * names both, LIST again. CF_ERR_LOCKED: another run holds the node (or held it for all of
 * wait_ms). CF_ERR_INTERRUPTED while waiting. ret is untouched on failure. */
CF_NODISCARD cf_err cf_claim_take(const cf_repo *repo, const cf_claim_opts *opts, cf_claim *ret,
                                  cf_error *e);
/* Without a lease, for a dry run: what is chosen may go at any time. Nothing is adopted. */
CF_NODISCARD cf_err cf_claim_look(const cf_repo *repo, const cf_claim_opts *opts, cf_claim *ret,
                                  cf_error *e);
/* The commit point; root->lease is filled in. Errors as cf_snapshot_commit(); CF_ERR_LOCKED: the lease
 * is lost. In a repository without conditional create a run whose lease ran out (it slept) first
 * puts it again, waits out every prune that may have looked meanwhile, CF_CLAIM_WAIT_S, and checks
 * that all the root names is there. */
enum { CF_CLAIM_WAIT_S = 3600 + 60 };
CF_NODISCARD cf_err cf_claim_commit(const cf_repo *repo, const cf_claim_opts *opts, cf_claim *c,
                                    cf_root *root, cf_error *e);
/* The run is decided: gives the lease back. A failure costs the next run a wait. Not deinit. */
CF_NODISCARD cf_err cf_claim_release(cf_claim *c, cf_error *e);
/* Gives the lease back too when it is still held. A zeroed one is fine. */
void cf_claim_deinit(cf_claim *c);

#endif
