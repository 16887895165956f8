/* SPDX-License-Identifier: Apache-2.0
 *
 * The tables of one node. LISTs come in order, so most additions are at the end.
 */
#include <string.h>

#include "prune/prune.h"
#include "s3/base/alloc.h"
#include "s3/base/cleanup.h"

cf_err cf_prune_grow(void **const list, size_t *const cap, const size_t total, const size_t size,
                     cf_error *const e)
{
    if (total < *cap)
        return CF_OK;
    const size_t more = *cap == 0 ? 64 : *cap * 2;
    void *const grown = cf_realloc(*list, more, size);
    CF_ENSURE(grown != NULL, e, CF_ERR_NO_MEMORY, "allocate %zu entries of %zu bytes", more, size);
    *list = grown;
    *cap = more;
    return CF_OK;
}

/* Place of run in a table whose entries begin with their id. */
static size_t place(const void *const list, const size_t total, const size_t size,
                    const cf_run_id *const run)
{
    size_t low = 0, high = total;

    while (low < high) {
        const size_t mid = low + (high - low) / 2;
        if (strcmp((const char *)list + mid * size, run->text) < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

_Static_assert(offsetof(cf_prune_snap, run) == 0, "place() takes entries by their id");
_Static_assert(offsetof(cf_prune_trace, id) == 0, "place() takes entries by their id");

cf_prune_snap *cf_prune_snap_find(const cf_prune_node *const n, const cf_run_id *const run)
{
    const size_t i = place(n->snaps, n->snap_total, sizeof(*n->snaps), run);
    return i < n->snap_total && strcmp(n->snaps[i].run.text, run->text) == 0 ? &n->snaps[i] : NULL;
}

cf_err cf_prune_snap_add(cf_prune_node *const n, const cf_run_id *const run,
                         cf_prune_snap **const ret, cf_error *const e)
{
    CF_TRY(cf_prune_grow((void **)&n->snaps, &n->snap_cap, n->snap_total, sizeof(*n->snaps), e));
    const size_t i = place(n->snaps, n->snap_total, sizeof(*n->snaps), run);
    memmove(n->snaps + i + 1, n->snaps + i, (n->snap_total - i) * sizeof(*n->snaps));
    n->snaps[i] = (cf_prune_snap){.run = *run};
    n->snap_total++;
    *ret = &n->snaps[i];
    return CF_OK;
}

cf_prune_trace *cf_prune_trace_find(const cf_prune_node *const n, const cf_run_id *const run)
{
    const size_t i = place(n->runs, n->run_total, sizeof(*n->runs), run);
    return i < n->run_total && strcmp(n->runs[i].id.text, run->text) == 0 ? &n->runs[i] : NULL;
}

cf_err cf_prune_trace_add(cf_prune_node *const n, const cf_run_id *const run,
                          cf_prune_trace **const ret, cf_error *const e)
{
    cf_prune_trace *const there = cf_prune_trace_find(n, run);

    if (there != NULL) {
        *ret = there;
        return CF_OK;
    }
    CF_TRY(cf_prune_grow((void **)&n->runs, &n->run_cap, n->run_total, sizeof(*n->runs), e));
    const size_t i = place(n->runs, n->run_total, sizeof(*n->runs), run);
    memmove(n->runs + i + 1, n->runs + i, (n->run_total - i) * sizeof(*n->runs));
    n->runs[i] = (cf_prune_trace){.id = *run};
    n->run_total++;
    *ret = &n->runs[i];
    return CF_OK;
}

/* --- segments --- */

void cf_prune_segments_deinit(cf_prune_segments *const s)
{
    for (size_t i = 0; i < s->total; i++)
        cf_free(s->list[i].segment.key);
    cf_free(s->list);
    cf_free(s->slots);
    *s = (cf_prune_segments){0};
}

static size_t key_hash(const char *const key)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325); /* FNV-1a */
    for (size_t i = 0; key[i] != '\0'; i++)
        h = (h ^ (uint8_t)key[i]) * UINT64_C(0x100000001b3);
    return (size_t)(h ^ h >> 29);
}

/* The slot of this key, or the free one where it belongs. */
static uint32_t *slot_of(const cf_prune_segments *const s, uint32_t *const slots,
                         const size_t slot_cap, const char *const key)
{
    size_t at = key_hash(key) & (slot_cap - 1);
    while (slots[at] != 0 && strcmp(s->list[slots[at] - 1].segment.key, key) != 0)
        at = (at + 1) & (slot_cap - 1);
    return &slots[at];
}

static cf_err slots_grow(cf_prune_segments *const s, cf_error *const e)
{
    if (s->total * 2 < s->slot_cap)
        return CF_OK;
    const size_t cap = s->slot_cap == 0 ? 256 : s->slot_cap * 2;
    uint32_t *const slots = cf_alloc(cap, sizeof(*slots));
    CF_ENSURE(slots != NULL, e, CF_ERR_NO_MEMORY, "allocate a table of %zu segments", cap);
    for (size_t i = 0; i < s->total; i++)
        *slot_of(s, slots, cap, s->list[i].segment.key) = (uint32_t)i + 1;
    cf_free(s->slots);
    s->slots = slots;
    s->slot_cap = cap;
    return CF_OK;
}

static bool same(const cf_segment *const a, const cf_segment *const b)
{
    return a->kind == b->kind && a->stored_bytes == b->stored_bytes &&
           a->lines_total == b->lines_total && memcmp(a->sha256, b->sha256, sizeof(a->sha256)) == 0;
}

cf_err cf_prune_segments_add(cf_prune_segments *const s, const cf_segment *const segment,
                             uint32_t *const ret_index, cf_error *const e)
{
    CF_TRY(slots_grow(s, e));
    uint32_t *const slot = slot_of(s, s->slots, s->slot_cap, segment->key);
    if (*slot != 0) {
        CF_ENSURE(same(&s->list[*slot - 1].segment, segment), e, CF_ERR_DAMAGE,
                  "what it says about segment '%s' is not what another root says", segment->key);
        *ret_index = *slot - 1;
        return CF_OK;
    }
    CF_TRY(cf_prune_grow((void **)&s->list, &s->cap, s->total, sizeof(*s->list), e));
    char *const key = cf_strdup(segment->key);
    CF_ENSURE(key != NULL, e, CF_ERR_NO_MEMORY, "allocate the key of a segment");
    s->list[s->total] = (cf_prune_segment){.segment = *segment};
    s->list[s->total].segment.key = key;
    *ret_index = (uint32_t)s->total++;
    *slot = *ret_index + 1;
    return CF_OK;
}
