/* SPDX-License-Identifier: Apache-2.0
 *
 * Verify: what the steps of one run share. verify.c reads as the plan; choose.c (which snapshots),
 * manifest.c (roots, chain, pack lines), files.c (file lines), pool.c (reading content), findings.c
 * (what was found), names.c (who names it), other.c (a good copy elsewhere), record.c (marks) are
 * the steps.
 *
 * Nothing is believed at once: what looks damaged is read again, and only what is wrong twice is
 * told.
 */
#ifndef SRC_VERIFY_VERIFY_H
#define SRC_VERIFY_VERIFY_H

#include "chunkferry/chunkferry.h"
#include "profile/profile.h"
#include "repo/lease.h"
#include "repo/manifest.h"
#include "repo/repo.h"
#include "repo/segment.h"
#include "verify/findings.h"
#include "verify/inventory.h"
#include "verify/pool.h"
#include "verify/seen.h"
#include "verify/subset.h"

enum {
    CF_VERIFY_LEASES_MAX = 8, /* ours: each has a thread; more snapshots are looked at again at the
                                 end instead */
    CF_VERIFY_PROFILE_SIZE = 32,
};

typedef struct cf_verify_snapshot {
    cf_run_id id;
    cf_root *root; /* owned; without facts; NULL: not loaded, or damaged */
    cf_read_lease *lease;
    bool gone;         /* pruned since it was chosen */
    bool shares_packs; /* some of its pack lines were read for another snapshot */
    bool looked_at;    /* its manifest was read to the end */
} cf_verify_snapshot;

typedef struct cf_verify_node {
    char name[CF_NODE_NAME_LEN_MAX + 1];
    char runs_prefix[CF_NODE_NAME_LEN_MAX + 16];
    cf_verify_snapshot *snapshots; /* owned; ascending */
    size_t snapshot_total;
    cf_inventory *inventory;
    cf_seen_segments segments;
    bool lacks_packs; /* a segment with pack lines cannot be read */
} cf_verify_node;

typedef struct cf_verify {
    const cf_ctx *ctx; /* borrowed; world and fs are set */
    const cf_verify_opts *opts;
    uint64_t started_mono_ms;

    cf_store *store;
    cf_repo repo;
    cf_subset subset;
    uint64_t budget_bytes; /* of inventories and what was seen */
    cf_verify_node *nodes; /* owned */
    size_t node_total;
    size_t node_cap;
    uint32_t snapshot_number; /* counts up over all: 1.. */
    cf_seen *seen;            /* content read before; NULL: one snapshot only */
    cf_seen *pack_segments;   /* read before */
    cf_seen *measured;        /* the same, while the subset is chosen */
    cf_findings *findings;
    cf_verify_pool *pool; /* NULL: nothing is read */
    cf_segment_reader *reader;
    cf_line_store *lines;
    cf_buf stored; /* of a segment */
    bool warned_profile;
    uint64_t plan_bytes;
    cf_verify_result result;
} cf_verify;

/* choose.c: nodes and snapshots, and a reader's lease on them (best effort). */
CF_NODISCARD cf_err cf_verify_choose(cf_verify *v, cf_error *e);
CF_NODISCARD cf_err cf_verify_list_objects(cf_verify *v, cf_verify_node *n, cf_error *e);
void cf_verify_release(cf_verify *v);
/* manifest.c: root and chain; pack lines against the inventory. Damage is a finding, no error. */
CF_NODISCARD cf_err cf_verify_load_root(cf_verify *v, cf_verify_node *n, cf_verify_snapshot *s,
                                        cf_error *e);
CF_NODISCARD cf_err cf_verify_packs(cf_verify *v, cf_verify_node *n, cf_verify_snapshot *s,
                                    cf_subset_scale *scale, cf_error *e);
/* Each line of a segment, after its bytes were checked (twice, when they seem damaged). What is
 * wrong is a finding; *ret_sound tells. */
typedef cf_err (*cf_verify_line_fn)(void *impl, cf_slice line, cf_error *e);
CF_NODISCARD cf_err cf_verify_segment(cf_verify *v, cf_verify_node *n, cf_verify_snapshot *s,
                                      const cf_segment *segment, cf_verify_line_fn fn, void *impl,
                                      bool *ret_sound, cf_error *e);
/* files.c: file lines; hands content to the pool. */
CF_NODISCARD cf_err cf_verify_files(cf_verify *v, cf_verify_node *n, cf_verify_snapshot *s,
                                    cf_error *e);
/* names.c: which snapshots of the node name what was found; what only pruned ones named is dropped.
 */
CF_NODISCARD cf_err cf_verify_name(cf_verify *v, cf_verify_node *n, cf_error *e);
/* other.c: is there a good copy in the other repository? */
CF_NODISCARD cf_err cf_verify_ask_other(cf_verify *v, cf_error *e);
/* record.c: marks of damage and of proof, best effort. complete: all was read that there is. */
void cf_verify_record(cf_verify *v, bool complete);

CF_NODISCARD cf_err cf_verify_check_stop(const cf_verify *v, cf_error *e);
void cf_verify_log(const cf_verify *v, cf_log_level level, const char *fmt, ...) CF_PRINTF(3, 4);
void cf_verify_progress(const cf_verify *v, const char *phase);

#endif
