/* SPDX-License-Identifier: Apache-2.0
 *
 * Adoption: what dead runs left that a new run may name: their packs, and the lines of their
 * journals. Nothing of it is believed: a pack counts when a LIST shows it with the length its line
 * says, when it stands below its own run, and when no mark calls it damaged. Only packs of runs
 * that the lease names in `uses` count, whoever's journal names them: prune keeps no others (the
 * model's hole H6).
 */
#ifndef SRC_REPO_ADOPTION_H
#define SRC_REPO_ADOPTION_H

#include "chunkferry/chunkferry.h"
#include "repo/damage.h"
#include "repo/journal_read.h"
#include "repo/lease.h"
#include "repo/line.h"
#include "repo/repo.h"
#include "s3/base/cleanup.h"

/* The runs that may be adopted: of leases in view above the parent's that are free, undecided, with
 * objects of their own, newest first, at most CF_LEASE_USES_MAX - 1; in a repository without
 * conditional create also not marked as garbage. A LIST, then a GET and a HEAD for each that left
 * something. parent NULL: none. */
CF_NODISCARD cf_err cf_adoption_find(const cf_repo *repo, const char *node, const cf_root *parent,
                                     const cf_lease_view *view, cf_run_id *ret, size_t *ret_total,
                                     cf_error *e);

typedef struct cf_adoption cf_adoption;
typedef struct cf_adoption_opts {
    const cf_repo *repo; /* borrowed, like all below; must outlive it */
    const char *node;
    const cf_run_id *runs;   /* in `uses` of a lease that is held; any order */
    size_t total;            /* up to CF_LEASE_USES_MAX */
    const cf_damage *damage; /* only used while it is made; NULL: none */
    void (*log)(void *impl, cf_log_level level, const char *text); /* NULL: none */
    void *impl;
} cf_adoption_opts;
/* A LIST of each run's objects, and a GET of each journal. *ret NULL: nothing of use was left. What
 * cannot be read of a run is left out, and told. */
CF_NODISCARD cf_err cf_adoption_new(const cf_adoption_opts *opts, cf_adoption **ret, cf_error *e);
void cf_adoption_free(cf_adoption *a); /* NULL is fine */
CF_DEFINE_FREEP(cf_adoption, cf_adoption_free)

/* May this pack be named? a may be NULL. */
bool cf_adoption_has(const cf_adoption *a, const char *pack);
/* And has it so many bytes? */
bool cf_adoption_has_bytes(const cf_adoption *a, const char *pack, uint64_t bytes);
/* Its pack lines, sorted by name, used_bytes 0. *ret NULL at the end; valid until the next call. */
CF_NODISCARD cf_err cf_adoption_next_pack(cf_adoption *a, const cf_pack_line **ret, cf_error *e);
void cf_adoption_rewind(cf_adoption *a);

/* The runs' journals, oldest run first; borrowed. */
size_t cf_adoption_run_total(const cf_adoption *a);
cf_journal_reader *cf_adoption_journal(const cf_adoption *a, size_t i);
const cf_run_id *cf_adoption_run(const cf_adoption *a, size_t i);

/* Aborts the multipart uploads that the runs' last journals name, best effort: the parts cost money
 * and nobody else knows of them on a store that cannot list them. */
void cf_adoption_abort_uploads(cf_adoption *a);

#endif
