/* SPDX-License-Identifier: Apache-2.0
 *
 * Backup: what the steps of one run share. backup.c reads as the plan; claim.c, plan.c, read.c and
 * commit.c are the steps.
 */
#ifndef SRC_BACKUP_BACKUP_H
#define SRC_BACKUP_BACKUP_H

#include "chunkferry/chunkferry.h"
#include "pipe/upload.h"
#include "profile/profile.h"
#include "repo/claim.h"
#include "repo/manifest.h"
#include "repo/prior.h"
#include "repo/repo.h"

typedef struct cf_backup {
    const cf_ctx *ctx;          /* borrowed; world and fs are set */
    const cf_backup_opts *opts; /* borrowed */
    const cf_profile *profile;
    cf_memory_plan memory;
    uint64_t started_mono_ms;

    cf_store *store; /* borrowed */
    cf_repo repo;
    char runs_prefix[CF_NODE_NAME_LEN_MAX + 16]; /* "nodes/<node>/runs/" */

    cf_claim claim;
    bool reuse;                             /* the parent's packs may be named */
    cf_cursor *parent_files, *parent_packs; /* NULL without reuse */
    cf_prior *prior; /* the parent's files and adopted ones; NULL: there is nothing to reuse */

    cf_source *source;
    uint64_t plan_files, plan_reused, plan_read_bytes;

    cf_journal *journal;
    cf_manifest *manifest;
    cf_upload *upload;
    struct cf_pending *first, *last;        /* owned; files under way, in the order of results */
    struct cf_left *left_first, *left_last; /* owned; files that were read and left out */
    uint64_t left_bytes;
    bool again;               /* the profile gives such files again */
    struct cf_sparse *sparse; /* NULL: no pack of the parent is worth emptying */
    cf_totals totals;
    uint64_t bytes_changed, packs_new;
} cf_backup;

/* cf_backup_run() on a store that is open; borrowed. The options' remote gives memory and jobs
 * only.
 */
CF_NODISCARD cf_err cf_backup_run_on(const cf_ctx *ctx, const cf_backup_opts *opts, cf_store *store,
                                     cf_backup_result *ret, cf_error *e);

/* Each step leaves b as it was on failure, or half-made and ready for cf_backup_deinit. Errors as
 * cf_backup_run says. */
CF_NODISCARD cf_err cf_backup_connect(cf_backup *b, cf_error *e);
CF_NODISCARD cf_err cf_backup_claim(cf_backup *b, cf_error *e);
CF_NODISCARD cf_err cf_backup_find_parent(cf_backup *b,
                                          cf_error *e); /* without a lease: for a dry run */
cf_claim_opts cf_backup_claim_opts(cf_backup *b);
CF_NODISCARD cf_err cf_backup_plan(cf_backup *b, cf_error *e);
CF_NODISCARD cf_err
cf_backup_rehearse(cf_backup *b, cf_error *e); /* dry run: goes through the plan, reads nothing */
CF_NODISCARD cf_err cf_backup_read(cf_backup *b, cf_error *e);
CF_NODISCARD cf_err cf_backup_commit(cf_backup *b, cf_error *e);
void cf_backup_deinit(cf_backup *b); /* releases the lease too when it is still held */

void cf_backup_log(const cf_backup *b, cf_log_level level, const char *fmt, ...) CF_PRINTF(3, 4);
void cf_backup_progress(const cf_backup *b, const char *phase);

/* How the pipeline takes an entry. A file with more parts than a line should name is sent whole,
 * each time: such a manifest line would not fit --memory when it is read. */
static inline cf_upload_how cf_backup_how(const cf_entry *entry)
{
    const uint64_t parts_max = (uint64_t)CF_PARTS_TOTAL_MAX * CF_FRAME_BYTES;

    if (entry->how == CF_ENTRY_REUSE || entry->how == CF_ENTRY_INLINE)
        return CF_UPLOAD_READY;
    return entry->how == CF_ENTRY_WHOLE || entry->read_bytes > parts_max ? CF_UPLOAD_WHOLE
                                                                         : CF_UPLOAD_PARTS;
}

/* One file under way: the profile's entry and a copy of the parent's line. */
typedef struct cf_pending {
    struct cf_pending *next;
    cf_entry *entry;     /* the profile's */
    cf_file_line *prior; /* owned; NULL: the parent has no such file */
} cf_pending;
CF_NODISCARD cf_err cf_pending_new(cf_entry *entry, const cf_file_line *prior, cf_pending **ret,
                                   cf_error *e);
void cf_pending_free(cf_pending *p);
static inline void cf_pending_freep(cf_pending **p)
{
    cf_pending_free(*p);
}

/* What was sent of files that changed while they were read: they come again in a later step, in the
 * same order, and send only what is new since. */
CF_NODISCARD cf_err cf_left_put(cf_backup *b, const cf_entry *entry, const cf_upload_result *r,
                                cf_error *e);
/* The line of that path, owned by the caller now, or NULL; those before it are forgotten. */
cf_file_line *cf_left_take(cf_backup *b, const char *path);

/* Sparse packs: their live files are sent again, within a budget. */
typedef struct cf_sparse cf_sparse;
CF_NODISCARD cf_err cf_sparse_load(cf_backup *b, cf_error *e);
void cf_sparse_free(cf_sparse *s);
bool cf_sparse_wants(const cf_backup *b,
                     const cf_file_line *prior); /* the file stands in one, and fits */
void cf_sparse_spend(cf_backup *b, const cf_file_line *prior);
/* Takes out the extents that stand in one, as far as they fit: they will be sent. */
void cf_sparse_strip(cf_backup *b, cf_extent *extents, size_t *total);

#endif
