/* SPDX-License-Identifier: Apache-2.0
 *
 * Prune: what the steps at one node share. prune.c reads as the plan, in the order of the model
 * (tests/model/core.pml, `proctype prune`); each other file is a step or two.
 */
#ifndef SRC_PRUNE_PRUNE_H
#define SRC_PRUNE_PRUNE_H

#include "chunkferry/chunkferry.h"
#include "repo/lease.h"
#include "repo/mark.h"
#include "repo/object_set.h"
#include "repo/repo.h"
#include "repo/retention.h"
#include "repo/spool.h"

enum {
    CF_PRUNE_GRACE_S = 24 * 3600,       /* what a dead run left may still be adopted */
    CF_PRUNE_GARBAGE_S = 7 * 24 * 3600, /* without conditional create: from mark to delete */
    CF_PRUNE_STOP_S = 3600,  /* the same: from the look at the leases to the last delete */
    CF_PRUNE_ANSWER_S = 900, /* of it, for the last request and its retries */
    CF_PRUNE_BATCH_MAX = 1000,
    CF_PRUNE_ROUNDS_MAX = 5,
};

/* A snapshot that the LISTs showed. Sorted by id. */
typedef struct cf_prune_snap {
    cf_run_id run;
    int64_t modified_utc_ms; /* of the root's key */
    int64_t time_utc_ms;
    bool first;      /* in the first LIST: only these may go (model: R1st) */
    bool listed;     /* in the last LIST (model: R) */
    bool read;       /* its root was read */
    bool is_future;  /* a newer chunkferry wrote it: what it names is not known */
    bool is_damaged; /* its root or a segment cannot be read, and it was given up */
    uint64_t files_total, source_bytes;
    bool tagged;        /* has a tag of --keep-tag */
    bool waits;         /* without conditional create: it goes, but not yet */
    unsigned keep;      /* cf_keep bits; 0: it goes (model: D) */
    char *words;        /* owned; NULL, or what is to be said about it */
    uint32_t *segments; /* owned; indexes into cf_prune_node.segments */
    size_t segment_total;
} cf_prune_snap;

/* A run that left objects or a lease. Sorted by id. */
typedef struct cf_prune_trace {
    cf_run_id id;
    bool decided;  /* a root or a fence was seen before the second look at the leases (model: Q) */
    bool is_fence; /* it is a fence, as far as seen */
    bool live;     /* it has a lease that is held */
    bool kept_whole; /* an undecided run uses it, or it committed after the first look: nothing of
                        it goes */
    int64_t modified_utc_ms; /* newest of its objects and leases */
} cf_prune_trace;

/* A lease as the second look saw it. */
typedef struct cf_prune_lease {
    char *key; /* owned */
    uint64_t number;
    cf_run_id run;
    cf_run_id uses[CF_LEASE_USES_MAX];
    size_t uses_total;
    cf_lease_state state;
} cf_prune_lease;

typedef struct cf_prune_mark {
    cf_run_id run;
    bool is_tag;
    char name[CF_MARK_NAME_SIZE];
} cf_prune_mark;

/* A segment that one root or more name. */
typedef struct cf_prune_segment {
    cf_segment segment; /* key owned */
    bool done;          /* its lines are in `named` */
} cf_prune_segment;

typedef struct cf_prune_segments {
    cf_prune_segment *list; /* owned */
    size_t total, cap;
    uint32_t *slots; /* owned; index + 1 by the key's hash, 0: free */
    size_t slot_cap;
} cf_prune_segments;
void cf_prune_segments_deinit(cf_prune_segments *s);
/* CF_ERR_DAMAGE: another root says something else about the same key. */
CF_NODISCARD cf_err cf_prune_segments_add(cf_prune_segments *s, const cf_segment *segment,
                                          uint32_t *ret_index, cf_error *e);

typedef struct cf_prune {
    const cf_ctx *ctx; /* borrowed; world is set */
    const cf_prune_opts *opts;
    cf_retention rules;
    cf_repo repo;
    bool versions_on;
    cf_prune_result result;
} cf_prune;

typedef struct cf_prune_node {
    cf_prune *prune; /* borrowed */
    const cf_repo *repo;
    char name[CF_NODE_NAME_LEN_MAX + 1];
    cf_run self;     /* the id stands in its lease */
    cf_lease *lease; /* NULL for a dry run */
    uint64_t looked_mono_ms;
    int64_t looked_utc_ms; /* begin of the second look at the leases */

    cf_prune_snap *snaps; /* owned, as all below */
    size_t snap_total, snap_cap;
    cf_run_id newest; /* of the first LIST; "" none (model: newest) */
    cf_prune_trace *runs;
    size_t run_total, run_cap;
    cf_prune_lease *leases;
    size_t lease_total, lease_cap;
    cf_prune_mark *marks; /* of snapshots, as the last LIST showed them */
    size_t mark_total, mark_cap;
    char **stale; /* keys of read and prune leases that nobody holds */
    size_t stale_total, stale_cap;
    cf_prune_segments segments;
    cf_spool *objects;    /* "<modified> <size> <name>" (model: objs) */
    cf_object_set *named; /* what remaining roots name */
    bool has_future;      /* a snapshot that cannot be read stands: see cf_prune_may_go() */
    cf_run_id future_run; /* the newest such, and when it was written */
    int64_t future_utc_ms;
    uint64_t goes_total;
    uint64_t locked_total; /* of this node */
} cf_prune_node;

/* prune.c */
/* Steps 2 to 8, again when what was seen does not hold; errors as cf_prune_run says. */
CF_NODISCARD cf_err cf_prune_decide(cf_prune_node *n, cf_error *e);
void cf_prune_log(const cf_prune *p, cf_log_level level, const char *fmt, ...) CF_PRINTF(3, 4);
void cf_prune_progress(const cf_prune *p, const char *phase, uint64_t done, uint64_t total);
/* What was seen is forgotten, the lease stays. */
void cf_prune_node_reset(cf_prune_node *n);
/* CF_ERR_LOCKED: somebody took this prune's lease, since it slept; CF_ERR_INTERRUPTED. */
CF_NODISCARD cf_err cf_prune_check(cf_prune_node *n, cf_error *e);
/* cf_prune_run() on a store that is open; borrowed. */
CF_NODISCARD cf_err cf_prune_run_on(const cf_ctx *ctx, const cf_prune_opts *opts, cf_store *store,
                                    cf_prune_result *ret, cf_error *e);

/* table.c: the sorted tables. */
cf_prune_snap *cf_prune_snap_find(const cf_prune_node *n, const cf_run_id *run);
CF_NODISCARD cf_err cf_prune_snap_add(cf_prune_node *n, const cf_run_id *run, cf_prune_snap **ret,
                                      cf_error *e);
cf_prune_trace *cf_prune_trace_find(const cf_prune_node *n, const cf_run_id *run);
CF_NODISCARD cf_err cf_prune_trace_add(cf_prune_node *n, const cf_run_id *run, cf_prune_trace **ret,
                                       cf_error *e);
/* Room for one more of any of the arrays. */
CF_NODISCARD cf_err cf_prune_grow(void **list, size_t *cap, size_t total, size_t size, cf_error *e);

/* look.c: the LISTs. */
CF_NODISCARD cf_err cf_prune_look_leases(cf_prune_node *n, cf_error *e);
CF_NODISCARD cf_err cf_prune_look_snapshots(cf_prune_node *n, cf_error *e);
CF_NODISCARD cf_err cf_prune_look_objects(cf_prune_node *n, cf_error *e);
CF_NODISCARD cf_err cf_prune_look_leases_again(cf_prune_node *n, cf_error *e);
CF_NODISCARD cf_err cf_prune_look_reads(cf_prune_node *n, cf_error *e);
/* CF_ERR_CONFLICT: what was seen does not hold any more, start again. */
CF_NODISCARD cf_err cf_prune_look_snapshots_last(cf_prune_node *n, cf_error *e);
CF_NODISCARD cf_err cf_prune_look_marks_last(cf_prune_node *n, cf_error *e);

/* roots.c */
CF_NODISCARD cf_err cf_prune_root_read(cf_prune_node *n, cf_prune_snap *s, cf_error *e);
bool cf_prune_is_dropped(const cf_prune_node *n, const cf_run_id *run);

/* keep.c */
/* By rules and marks: fills keep of each. */
CF_NODISCARD cf_err cf_prune_choose(cf_prune_node *n, cf_error *e);
/* After the last looks: takes back what undecided runs and readers need. */
CF_NODISCARD cf_err cf_prune_keep_used(cf_prune_node *n, cf_error *e);
/* Snapshots of the last LIST that go. */
uint64_t cf_prune_going(const cf_prune_node *n);
void cf_prune_tell(cf_prune_node *n);

/* fence.c */
CF_NODISCARD cf_err cf_prune_fence_dead(cf_prune_node *n, cf_error *e);

/* named.c */
CF_NODISCARD cf_err cf_prune_read_named(cf_prune_node *n, cf_error *e);
/* Adds what those that wait name. */
CF_NODISCARD cf_err cf_prune_read_waiting(cf_prune_node *n, cf_error *e);

/* sweep.c */
CF_NODISCARD cf_err cf_prune_sweep_roots(cf_prune_node *n, cf_error *e);
CF_NODISCARD cf_err cf_prune_sweep_objects(cf_prune_node *n, cf_error *e);
CF_NODISCARD cf_err cf_prune_sweep_claims(cf_prune_node *n, cf_error *e);

typedef struct cf_prune_object {
    cf_slice name;
    uint64_t size_bytes;
    int64_t modified_utc_ms;
} cf_prune_object;
/* Of the spool, in order; name.len 0 at the end. */
CF_NODISCARD cf_err cf_prune_object_next(cf_prune_node *n, cf_prune_object *ret, cf_error *e);
/* Nobody needs it (model: in G). */
bool cf_prune_may_go(const cf_prune_node *n, const cf_prune_object *o);

typedef struct cf_prune_batch {
    cf_prune_node *node;
    bool claims; /* leases, marks: not counted as objects */
    size_t total;
    const char *keys[CF_PRUNE_BATCH_MAX]; /* into text */
    uint64_t size_bytes[CF_PRUNE_BATCH_MAX];
    bool locked[CF_PRUNE_BATCH_MAX];
    char (*text)[CF_NODE_NAME_LEN_MAX + CF_RUN_OBJECT_LEN_MAX + 64]; /* owned */
} cf_prune_batch;
void cf_prune_batch_deinit(cf_prune_batch *b);
CF_NODISCARD cf_err cf_prune_batch_add(cf_prune_batch *b, const char *key, uint64_t size_bytes,
                                       cf_error *e);
CF_NODISCARD cf_err cf_prune_batch_flush(cf_prune_batch *b, cf_error *e);

/* uploads.c: ends the multipart uploads of runs that are decided: those that their journals say were
 * open, and those that the store lists. */
CF_NODISCARD cf_err cf_prune_abort_uploads(cf_prune_node *n, cf_error *e);
CF_NODISCARD cf_err cf_prune_abort_listed(cf_prune_node *n, cf_error *e); /* only the latter */

/* aged.c: a repository without conditional create. */
CF_NODISCARD cf_err cf_prune_aged(cf_prune_node *n, cf_error *e);

#endif
