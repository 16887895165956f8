/* SPDX-License-Identifier: Apache-2.0
 *
 * Ahead: the small extents that come next, fetched with as few GETs as their places in the packs
 * allow. Inside of pipe/content.
 */
#ifndef SRC_PIPE_CONTENT_AHEAD_H
#define SRC_PIPE_CONTENT_AHEAD_H

#include "pipe/content.h"

enum { CF_CONTENT_PLAN_BYTES = 3 * 512 * 1024 }; /* of the area, the rest is for gaps */

/* One small extent that is to be fetched, or was. */
typedef struct cf_ahead_slot {
    cf_content_at at;
    const cf_extent *x;
    size_t area_offset; /* SIZE_MAX: the fetch found damage; it is tried on its own */
} cf_ahead_slot;

typedef struct cf_ahead {
    uint8_t *area;        /* owned; CF_CONTENT_AREA_BYTES */
    cf_ahead_slot *slots; /* owned; CF_CONTENT_AHEAD_TOTAL, in order of the items once fetched */
    size_t total;
    size_t next;       /* of slots, to be given */
    uint64_t gap_left; /* bytes between extents that still fit the area */
} cf_ahead;

/* A range of one pack. */
typedef struct cf_ahead_range {
    const char *pack;
    uint64_t offset, len;
    size_t slot_from, slot_to; /* slots in order of their packs */
} cf_ahead_range;

static inline bool cf_extent_is_small(const cf_extent *const x)
{
    return x->stored_bytes <= CF_CONTENT_SMALL_BYTES;
}

CF_NODISCARD cf_err cf_ahead_init(cf_ahead *a, cf_error *e);
void cf_ahead_deinit(cf_ahead *a);
/* Collects small extents from `from` on, as many as fit; sorts them by place. Pure. */
void cf_ahead_plan(cf_ahead *a, const cf_content_item *items, size_t total, cf_content_at from,
                   const cf_content_visit *visit);
/* The next range from slot *at on; false: no more. Extents that overlap or stand at most
 * CF_CONTENT_GAP_BYTES apart are one range. */
bool cf_ahead_range_next(cf_ahead *a, size_t *at, cf_ahead_range *ret);
/* After all ranges: back into the order of the items. Pure. */
void cf_ahead_ready(cf_ahead *a);
/* The bytes of the extent at this place; NULL: they were not fetched. */
const uint8_t *cf_ahead_take(cf_ahead *a, cf_content_at at);
/* Does the place come before what was planned last, so that nothing new is to be fetched? */
bool cf_ahead_covers(const cf_ahead *a, cf_content_at at);

#endif
