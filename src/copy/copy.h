/* SPDX-License-Identifier: Apache-2.0
 *
 * Copy: what the steps share. copy.c is the command and reads as the way of one snapshot; choose.c,
 * match.c, packs.c and lines.c are the steps.
 */
#ifndef SRC_COPY_COPY_H
#define SRC_COPY_COPY_H

#include "chunkferry/chunkferry.h"
#include "copy/names.h"
#include "copy/send.h"
#include "repo/adoption.h"
#include "repo/claim.h"
#include "repo/damage.h"
#include "repo/lease.h"
#include "repo/manifest.h"
#include "repo/repo.h"

/* How --memory is divided; pure. */
typedef struct cf_copy_plan {
    uint32_t jobs;            /* packs at once, each with a connection to the source */
    uint64_t part_bytes;      /* of the target's S3 client */
    uint32_t parts_in_flight; /* likewise; an upload holds one at least */
} cf_copy_plan;
/* memory_bytes 0: CF_MEMORY_DEFAULT_MIB. CF_ERR_USAGE below CF_MEMORY_MIN_MIB. jobs 0: the cores,
 * at least 4; in any case no more than memory allows. */
CF_NODISCARD cf_err cf_copy_plan_make(uint64_t memory_bytes, uint32_t jobs, cf_copy_plan *ret,
                                      cf_error *e);

/* The snapshots that the target has of one node, by where they were made first. */
typedef struct cf_present {
    cf_origin *items; /* owned; in no order */
    size_t total, cap;
    int64_t newest_utc_ms; /* of their times */
} cf_present;
void cf_present_deinit(cf_present *p);
bool cf_present_has(const cf_present *p, const cf_origin *origin);
CF_NODISCARD cf_err cf_present_add(cf_present *p, const cf_origin *origin, int64_t time_utc_ms,
                                   cf_error *e);

typedef struct cf_copy {
    const cf_ctx *ctx;        /* borrowed; world and fs are set */
    const cf_copy_opts *opts; /* borrowed */
    cf_copy_plan plan;
    cf_repo from, to;
    const char *node;                            /* under way */
    char runs_prefix[CF_NODE_NAME_LEN_MAX + 16]; /* "nodes/<node>/runs/" */
    cf_present present;
    cf_names
        *rehearsed; /* dry run: packs that the snapshot before would have brought; NULL: none */
    cf_copy_result result;
} cf_copy;

/* One snapshot on its way. */
typedef struct cf_transfer {
    cf_copy *c;
    cf_run_id id;              /* the source's */
    cf_read_lease *read_lease; /* NULL: it could not be written */
    cf_root *source;
    cf_origin origin;
    cf_claim claim;
    cf_cursor *packs;        /* the source's pack lines */
    cf_cursor *parent_packs; /* NULL: nothing of the parent is named */
    cf_names *names;
    uint64_t packs_total, packs_missing, bytes_missing;
    cf_journal *journal;
    cf_manifest *manifest;
    cf_send *send;
    uint64_t packs_sent, bytes_sent;
    bool is_committed, is_ending;
    bool failed_at_source; /* the error is the source's: other snapshots may be whole */
} cf_transfer;

/* cf_copy_run() over stores that are open; borrowed. The options' remotes give memory and jobs
 * only. */
CF_NODISCARD cf_err cf_copy_run_on(const cf_ctx *ctx, const cf_copy_opts *opts, cf_store *from,
                                   cf_store *to, cf_copy_result *ret, cf_error *e);

/* Where a snapshot was made first. */
cf_origin cf_copy_origin(const cf_repo *repo, const cf_root *root);
/* What of the node the target has, made since from's time: fills c->present. */
CF_NODISCARD cf_err cf_copy_look(cf_copy *c, const cf_run_id *from, cf_error *e);

/* The steps. Each leaves t half-made and ready for cf_transfer_deinit on failure. */
CF_NODISCARD cf_err cf_transfer_open(cf_transfer *t, cf_error *e);
CF_NODISCARD cf_err cf_transfer_claim(cf_transfer *t, cf_error *e);
CF_NODISCARD cf_err cf_transfer_match(cf_transfer *t, cf_error *e);
CF_NODISCARD cf_err cf_transfer_send(cf_transfer *t, cf_error *e);
CF_NODISCARD cf_err cf_transfer_lines(cf_transfer *t, cf_error *e);
CF_NODISCARD cf_err cf_transfer_tags(cf_transfer *t, cf_error *e);
CF_NODISCARD cf_err cf_transfer_commit(cf_transfer *t, cf_error *e);
void cf_transfer_release(cf_transfer *t); /* what fails is told, not failed */
void cf_transfer_deinit(cf_transfer *t);

/* Notes whose fault it is, and passes on. */
CF_NODISCARD cf_err cf_transfer_of_source(cf_transfer *t, cf_err err);

void cf_copy_log(const cf_copy *c, cf_log_level level, const char *fmt, ...) CF_PRINTF(3, 4);
void cf_copy_progress(const cf_transfer *t, const char *phase);

#endif
