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

#include "repo/line.h"
#include "repo/repo.h"
#include "s3/base/cleanup.h"

typedef struct cf_adoption cf_adoption;
void cf_adoption_free(cf_adoption *a); /* NULL is fine */
CF_DEFINE_FREEP(cf_adoption, cf_adoption_free)

/* May this pack be named? a may be NULL. Any thread. */
bool cf_adoption_has(const cf_adoption *a, const char *pack);
/* Its pack lines, sorted by name, used_bytes 0. *ret NULL at the end; valid until the next call. */
CF_NODISCARD cf_err cf_adoption_next_pack(cf_adoption *a, const cf_pack_line **ret, cf_error *e);
void cf_adoption_rewind(cf_adoption *a);

#endif
