/* SPDX-License-Identifier: Apache-2.0
 *
 * Which small extents are fetched together. Files were packed in the order of their lines, so most
 * neighbours here are neighbours there; after many runs the lines of one folder lie in many packs,
 * each with its own neighbours.
 */
#include "pipe/content_ahead.h"

#include <stdlib.h>

#include "s3/base/alloc.h"

cf_err cf_ahead_init(cf_ahead *const a, cf_error *const e)
{
    a->area = cf_alloc(CF_CONTENT_AREA_BYTES, 1);
    CF_ENSURE(a->area != NULL, e, CF_ERR_NO_MEMORY, "allocate an area of %d bytes",
              CF_CONTENT_AREA_BYTES);
    a->slots = cf_alloc(CF_CONTENT_AHEAD_TOTAL, sizeof(*a->slots));
    CF_ENSURE(a->slots != NULL, e, CF_ERR_NO_MEMORY, "allocate %d slots", CF_CONTENT_AHEAD_TOTAL);
    return CF_OK;
}

void cf_ahead_deinit(cf_ahead *const a)
{
    cf_free(a->area);
    cf_free(a->slots);
}

static int place_cmp(const void *const a, const void *const b)
{
    const cf_extent *const x = ((const cf_ahead_slot *)a)->x, *const y =
                                                                  ((const cf_ahead_slot *)b)->x;
    const int order = strcmp(x->pack, y->pack);

    return order != 0 ? order
                      : (x->pack_offset > y->pack_offset) - (x->pack_offset < y->pack_offset);
}

static int at_cmp(const cf_content_at a, const cf_content_at b)
{
    return a.item != b.item ? (a.item > b.item) - (a.item < b.item)
                            : (a.extent > b.extent) - (a.extent < b.extent);
}

static int item_cmp(const void *const a, const void *const b)
{
    return at_cmp(((const cf_ahead_slot *)a)->at, ((const cf_ahead_slot *)b)->at);
}

/* false: it is full. */
static bool slot_add(cf_ahead *const a, const cf_extent *const x, const cf_content_at at,
                     uint64_t *const bytes)
{
    if (a->total == CF_CONTENT_AHEAD_TOTAL || *bytes + x->stored_bytes > CF_CONTENT_PLAN_BYTES)
        return false;
    *bytes += x->stored_bytes;
    a->slots[a->total++] = (cf_ahead_slot){.at = at, .x = x, .area_offset = SIZE_MAX};
    return true;
}

void cf_ahead_plan(cf_ahead *const a, const cf_content_item *const items, const size_t total,
                   const cf_content_at from, const cf_content_visit *const visit)
{
    uint64_t bytes = 0;
    bool room = true;

    a->total = a->next = 0;
    for (cf_content_at at = from; room && at.item < total; at = (cf_content_at){at.item + 1, 0}) {
        const cf_file_line *const l = &items[at.item].line;

        for (; room && at.extent < l->extent_total; at.extent++) {
            const cf_extent *const x = &l->extents[at.extent];

            if (cf_extent_is_small(x) && (visit->wanted == NULL || visit->wanted(visit->impl, at)))
                room = slot_add(a, x, at, &bytes);
        }
    }
    a->gap_left = CF_CONTENT_AREA_BYTES - bytes;
    if (a->total > 1)
        qsort(a->slots, a->total, sizeof(*a->slots), place_cmp);
}

bool cf_ahead_range_next(cf_ahead *const a, size_t *const at, cf_ahead_range *const ret)
{
    if (*at == a->total)
        return false;
    const cf_extent *const first = a->slots[*at].x;
    cf_ahead_range r = {.pack = first->pack,
                        .offset = first->pack_offset,
                        .len = first->stored_bytes,
                        .slot_from = *at};

    for (++*at; *at < a->total && strcmp(a->slots[*at].x->pack, r.pack) == 0; ++*at) {
        const cf_extent *const x = a->slots[*at].x;
        const uint64_t end = r.offset + r.len;
        const uint64_t gap = x->pack_offset > end ? x->pack_offset - end : 0;

        if (gap > CF_CONTENT_GAP_BYTES || gap > a->gap_left)
            break;
        a->gap_left -= gap;
        if (x->pack_offset + x->stored_bytes > end)
            r.len = x->pack_offset + x->stored_bytes - r.offset;
    }
    r.slot_to = *at;
    *ret = r;
    return true;
}

void cf_ahead_ready(cf_ahead *const a)
{
    if (a->total > 1)
        qsort(a->slots, a->total, sizeof(*a->slots), item_cmp);
    a->next = 0;
}

const uint8_t *cf_ahead_take(cf_ahead *const a, const cf_content_at at)
{
    while (a->next < a->total && at_cmp(a->slots[a->next].at, at) < 0)
        a->next++;
    if (a->next == a->total || at_cmp(a->slots[a->next].at, at) != 0 ||
        a->slots[a->next].area_offset == SIZE_MAX)
        return NULL;
    return a->area + a->slots[a->next].area_offset;
}

bool cf_ahead_covers(const cf_ahead *const a, const cf_content_at at)
{
    return a->total > 0 && at_cmp(at, a->slots[a->total - 1].at) <= 0;
}
