/* SPDX-License-Identifier: Apache-2.0
 *
 * Lease: a run's claim on a node: nodes/<node>/leases/<n>, and a prune's: prunes/<n>. The words of
 * DESIGN section 5 were model-checked; the order of calls here is theirs: change one only with the
 * model.
 */
#ifndef SRC_REPO_LEASE_H
#define SRC_REPO_LEASE_H

#include "repo/lease_body.h"
#include "repo/repo.h"
#include "repo/run.h"
#include "s3/err.h"

enum {
    CF_LEASE_TTL_S = 300, /* without a renewal it has run out, by the store's time */
    CF_LEASE_RENEW_S = 60,
    CF_LEASE_LEN_MAX = 16 * 1024,
    CF_LEASE_LOOK_MAX = 256, /* ours: runs that ended without a snapshot since the newest one */
};

/* --- looking --- */

typedef enum cf_lease_state {
    CF_LEASE_LIVE,
    CF_LEASE_ENDED,
    CF_LEASE_RAN_OUT,
    CF_LEASE_OWNER_DEAD, /* a process of this machine that is gone */
} cf_lease_state;

typedef struct cf_lease_seen {
    char key[CF_KEY_LEN_MAX + 1];
    uint64_t number; /* 0: a reader's */
    bool readable;   /* else: held by somebody unknown, for the usual time */
    cf_lease_body body;
    int64_t modified_utc_ms; /* of its last renewal, by the store's time */
    cf_lease_state state;
} cf_lease_seen;

typedef cf_err (*cf_lease_fn)(void *impl, const cf_lease_seen *seen, cf_error *e);
/* LIST and a GET for each, ascending. folder: "leases", "prunes", "reads". above: numbers up to
 * this are left out; 0: none. One that goes meanwhile is left out. */
CF_NODISCARD cf_err cf_lease_each(const cf_repo *repo, const char *node, const char *folder,
                                  uint64_t above, cf_lease_fn fn, void *impl, cf_error *e);

/* HEAD of the root's key: a root or a fence stands there, so that the run will never change its
 * mind, and nobody need wait for it. */
CF_NODISCARD cf_err cf_run_is_decided(const cf_repo *repo, const char *node, const cf_run_id *run,
                                      bool *ret, cf_error *e);

typedef struct cf_lease_name {
    uint64_t number;
    cf_run_id run; /* "" where the key is only a number */
    int64_t modified_utc_ms;
} cf_lease_name;

/* What one LIST of a node's leases said. */
typedef struct cf_lease_view {
    uint64_t highest;                        /* 0: none */
    cf_lease_name newest[CF_LEASE_LOOK_MAX]; /* ascending; the newest when there are more */
    size_t total;
} cf_lease_view;

/* LIST from number `from` on, GET the highest. CF_ERR_LOCKED when it is held: the message says by
 * whom (machine, process, since, run) and until when. Free: released, run out, of a process of this
 * machine that is dead, of a run that is decided. */
CF_NODISCARD cf_err cf_lease_look(const cf_repo *repo, const char *node, const char *folder,
                                  uint64_t from, cf_lease_view *ret, cf_error *e);
/* GET one of them. CF_ERR_NOT_FOUND: it is gone. */
CF_NODISCARD cf_err cf_lease_see(const cf_repo *repo, const char *node, const char *folder,
                                 const cf_lease_name *name, cf_lease_seen *ret, cf_error *e);

/* --- holding one --- */

typedef struct cf_lease_opts {
    const cf_run *run;     /* borrowed */
    const char *folder;    /* NULL: "leases" */
    const cf_run_id *uses; /* parent, then adopted; copied; never changes within a number */
    size_t uses_total;     /* up to CF_LEASE_USES_MAX */
    uint64_t after;        /* number of the newest root's lease; 0: none */
    uint32_t ttl_s;        /* 0: CF_LEASE_TTL_S */
    uint64_t renew_ms;     /* 0: CF_LEASE_RENEW_S */
} cf_lease_opts;

typedef struct cf_lease cf_lease; /* all calls but the renewal's own thread: one thread at a time */
/* PUT the number behind the highest of `view` and `after`, with If-None-Match. CF_ERR_EXISTS:
 * somebody was faster; look again. A thread of its own renews it. */
CF_NODISCARD cf_err cf_lease_take(const cf_repo *repo, const cf_lease_opts *opts,
                                  const cf_lease_view *view, cf_lease **ret, cf_error *e);
/* cf_lease_look() and cf_lease_take() until one of them decides; CF_ERR_LOCKED. */
CF_NODISCARD cf_err cf_lease_acquire(const cf_repo *repo, const cf_lease_opts *opts, cf_lease **ret,
                                     cf_error *e);
/* The run must change `uses`: take the next number (the old one is written as ended afterwards).
 * CF_ERR_LOCKED: it is lost. After another error it is unknown whether the number above is ours:
 * release, and acquire anew. */
CF_NODISCARD cf_err cf_lease_move(cf_lease *l, const cf_run_id *uses, size_t uses_total,
                                  cf_error *e);
uint64_t cf_lease_number(const cf_lease *l);
/* CF_ERR_LOCKED once it is lost: renewals failed for longer than the time to live, or another
 * number stands above it. */
CF_NODISCARD cf_err cf_lease_check(cf_lease *l, cf_error *e);
/* Without conditional create a prune goes by the time of leases alone. Has it ever run out since it
 * was taken, or put again? Then cf_lease_check() does not say so there. */
bool cf_lease_lapsed(cf_lease *l);
/* Put it again, now; then it has not lapsed. CF_ERR_LOCKED: somebody else has the node. */
CF_NODISCARD cf_err cf_lease_again(cf_lease *l, cf_error *e);
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
