/* SPDX-License-Identifier: Apache-2.0
 *
 * Lease: a run's claim on a node: nodes/<node>/leases/<n>. The words of DESIGN section 5 were
 * model-checked; the order of calls here is theirs: change one only with the model.
 */
#ifndef SRC_REPO_LEASE_H
#define SRC_REPO_LEASE_H

#include "repo/repo.h"
#include "repo/run.h"
#include "s3/err.h"

enum {
    CF_LEASE_TTL_S = 1800, /* without a renewal it has run out, by the store's time */
    CF_LEASE_RENEW_S = 300,
    CF_LEASE_LEN_MAX = 16 * 1024,
};

typedef struct cf_lease_opts {
    const cf_run *run; /* borrowed */
    bool has_parent;
    cf_run_id parent;  /* `uses`; never changes within a number */
    uint64_t after;    /* number of the newest root's lease; 0: none */
    uint32_t ttl_s;    /* 0: CF_LEASE_TTL_S */
    uint64_t renew_ms; /* 0: CF_LEASE_RENEW_S */
} cf_lease_opts;

typedef struct cf_lease cf_lease; /* all calls but the renewal's own thread: one thread at a time */
/* LIST, GET the highest, PUT the next with If-None-Match. CF_ERR_LOCKED says who holds it (machine,
 * process, since, run) and when it runs out. Taken at once: released, run out, or held by a process
 * of this machine that is dead. A thread of its own renews it. */
CF_NODISCARD cf_err cf_lease_acquire(const cf_repo *repo, const cf_lease_opts *opts, cf_lease **ret,
                                     cf_error *e);
/* The run must change `uses`: take the next number (the old one is written as ended afterwards).
 * CF_ERR_LOCKED: it is lost. After another error it is unknown whether the number above is ours:
 * release, and acquire anew. */
CF_NODISCARD cf_err cf_lease_move(cf_lease *l, bool has_parent, const cf_run_id *parent,
                                  cf_error *e);
uint64_t cf_lease_number(const cf_lease *l);
/* CF_ERR_LOCKED once it is lost: renewals failed for longer than the time to live, or another
 * number stands above it. */
CF_NODISCARD cf_err cf_lease_check(cf_lease *l, cf_error *e);
/* Writes it as ended; frees l, also on failure (which costs no more than waiting: it runs out by
 * itself). */
CF_NODISCARD cf_err cf_lease_release(cf_lease *l, cf_error *e);
void cf_lease_abandon(cf_lease *l); /* ends the thread, best-effort release, frees; NULL is fine */

/* A reader's claim: nodes/<node>/reads/<id>, naming its snapshot. Released by writing it as ended.
 */
typedef struct cf_read_lease cf_read_lease;
CF_NODISCARD cf_err cf_read_lease_acquire(const cf_repo *repo, const char *node,
                                          const cf_run_id *snapshot, cf_read_lease **ret,
                                          cf_error *e);
CF_NODISCARD cf_err cf_read_lease_release(cf_read_lease *l, cf_error *e);
void cf_read_lease_abandon(cf_read_lease *l);

#endif
