/* SPDX-License-Identifier: Apache-2.0
 *
 * Damage: what marks say was found damaged. A new snapshot must not name it again.
 */
#ifndef SRC_REPO_DAMAGE_H
#define SRC_REPO_DAMAGE_H

#include "repo/repo.h"
#include "s3/base/cleanup.h"

typedef struct cf_damage cf_damage;
/* All damage marks of a node: one LIST, and a GET for each such mark. *ret NULL: there are none,
 * which is the rule. */
CF_NODISCARD cf_err cf_damage_load(const cf_repo *repo, const char *node, cf_damage **ret,
                                   cf_error *e);
void cf_damage_free(cf_damage *d); /* NULL is fine */
CF_DEFINE_FREEP(cf_damage, cf_damage_free)

/* d may be NULL: nothing is damaged. object_name: of a pack or a segment, "<run>/<seq>-...". */
bool cf_damage_has(const cf_damage *d, const char *object_name);
/* Said by a mark of this very snapshot. */
bool cf_damage_has_in(const cf_damage *d, const cf_run_id *snapshot, const char *object_name);
/* A mark of this snapshot names no object, or cannot be read: nothing of the snapshot is to be
 * relied on. */
bool cf_damage_has_all_of(const cf_damage *d, const cf_run_id *snapshot);

#endif
