/* SPDX-License-Identifier: Apache-2.0
 *
 * Subset: which packs a run of verify reads. By pack, since a pack is what damage hits, and by the
 * hash of its name, so that nothing need be remembered. Pure.
 */
#ifndef SRC_VERIFY_SUBSET_H
#define SRC_VERIFY_SUBSET_H

#include "chunkferry/chunkferry.h"
#include "s3/base/cleanup.h"

typedef struct cf_subset {
    cf_verify_how how;
    uint64_t part, parts; /* PART: 1..parts */
    uint64_t seed;        /* PERCENT, BYTES: another part each time */
    uint64_t below;       /* PERCENT, BYTES: hashes up to here, inclusive */
} cf_subset;

/* name: below nodes/<node>/runs/. The n of t runs together read every pack exactly once. */
bool cf_subset_has(const cf_subset *s, const char *name);

/* How many bytes lie below which hash: to find cf_subset.below. 512 KiB. */
typedef struct cf_subset_scale cf_subset_scale;
CF_NODISCARD cf_err cf_subset_scale_new(cf_subset_scale **ret, cf_error *e);
void cf_subset_scale_free(cf_subset_scale *s);
CF_DEFINE_FREEP(cf_subset_scale, cf_subset_scale_free)
void cf_subset_scale_add(cf_subset_scale *s, const cf_subset *of, const char *name, uint64_t bytes);
/* The most that stays within bytes (PERCENT: of all), but never nothing. */
void cf_subset_cut(cf_subset *s, const cf_subset_scale *scale, uint64_t permille_or_bytes);

#endif
