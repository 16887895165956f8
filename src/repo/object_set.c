/* SPDX-License-Identifier: Apache-2.0
 *
 * Two open-addressing tables: runs by their id, and pages of 512 bits by run and number. Both
 * double when they are half full, and nothing is ever taken out.
 */
#include "repo/object_set.h"

#include "s3/base/alloc.h"

enum {
    PAGE_BITS = 512,
    PAGE_WORDS = PAGE_BITS / 64,
    SLOTS_FIRST = 64, /* a power of two, like every size */
};

typedef struct run_slot {
    cf_run_id id;
    uint32_t index; /* 0: the slot is free */
} run_slot;

typedef struct page_slot {
    uint64_t key; /* run's index << 32 | page's number; 0: the slot is free */
    uint64_t words[PAGE_WORDS];
} page_slot;

struct cf_object_set {
    run_slot *runs; /* owned */
    size_t run_cap, run_total;
    page_slot *pages; /* owned */
    size_t page_cap, page_total;
    uint64_t total;
};

cf_err cf_object_set_new(cf_object_set **const ret, cf_error *const e)
{
    CF_CLEANUP(cf_object_set_freep) cf_object_set *s = NULL;
    CF_NEW(s, e);
    s->run_cap = SLOTS_FIRST;
    s->page_cap = SLOTS_FIRST;
    s->runs = cf_alloc(s->run_cap, sizeof(*s->runs));
    s->pages = cf_alloc(s->page_cap, sizeof(*s->pages));
    CF_ENSURE(s->runs != NULL && s->pages != NULL, e, CF_ERR_NO_MEMORY,
              "allocate a set of objects");
    *ret = CF_STEAL(s);
    return CF_OK;
}

void cf_object_set_free(cf_object_set *const s)
{
    if (s == NULL)
        return;
    cf_free(s->runs);
    cf_free(s->pages);
    cf_free(s);
}

static uint64_t mix(uint64_t x)
{
    x ^= x >> 33;
    x *= UINT64_C(0xff51afd7ed558ccd);
    x ^= x >> 33;
    x *= UINT64_C(0xc4ceb9fe1a85ec53);
    return x ^ x >> 33;
}

static uint64_t run_hash(const cf_run_id *const id)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325); /* FNV-1a */
    for (size_t i = 0; i < CF_RUN_ID_LEN; i++)
        h = (h ^ (uint8_t)id->text[i]) * UINT64_C(0x100000001b3);
    return mix(h);
}

/* The run's slot, or the free one where it belongs. */
static run_slot *run_find(run_slot *const runs, const size_t cap, const cf_run_id *const id)
{
    size_t at = (size_t)run_hash(id) & (cap - 1);
    while (runs[at].index != 0 && memcmp(runs[at].id.text, id->text, CF_RUN_ID_LEN) != 0)
        at = (at + 1) & (cap - 1);
    return &runs[at];
}

static page_slot *page_find(page_slot *const pages, const size_t cap, const uint64_t key)
{
    size_t at = (size_t)mix(key) & (cap - 1);
    while (pages[at].key != 0 && pages[at].key != key)
        at = (at + 1) & (cap - 1);
    return &pages[at];
}

static cf_err runs_grow(cf_object_set *const s, cf_error *const e)
{
    if (s->run_total * 2 < s->run_cap)
        return CF_OK;
    const size_t cap = s->run_cap * 2;
    run_slot *const runs = cf_alloc(cap, sizeof(*runs));
    CF_ENSURE(runs != NULL, e, CF_ERR_NO_MEMORY, "allocate a set of %zu runs", cap);
    for (size_t i = 0; i < s->run_cap; i++) {
        if (s->runs[i].index != 0)
            *run_find(runs, cap, &s->runs[i].id) = s->runs[i];
    }
    cf_free(s->runs);
    s->runs = runs;
    s->run_cap = cap;
    return CF_OK;
}

static cf_err pages_grow(cf_object_set *const s, cf_error *const e)
{
    if (s->page_total * 2 < s->page_cap)
        return CF_OK;
    const size_t cap = s->page_cap * 2;
    page_slot *const pages = cf_alloc(cap, sizeof(*pages));
    CF_ENSURE(pages != NULL, e, CF_ERR_NO_MEMORY, "allocate a set of %zu pages", cap);
    for (size_t i = 0; i < s->page_cap; i++) {
        if (s->pages[i].key != 0)
            *page_find(pages, cap, s->pages[i].key) = s->pages[i];
    }
    cf_free(s->pages);
    s->pages = pages;
    s->page_cap = cap;
    return CF_OK;
}

static uint64_t page_key(const uint32_t run_index, const uint32_t seq)
{
    return (uint64_t)run_index << 32 | seq / PAGE_BITS;
}

cf_err cf_object_set_add(cf_object_set *const s, const cf_slice name, bool *const ret_new,
                         cf_error *const e)
{
    cf_run_id id = {""};
    uint32_t seq = 0;
    CF_ENSURE(cf_object_name_parse(name, &id, &seq, /* ret_kind= */ NULL), e, CF_ERR_DAMAGE,
              "'%.*s' is not named '<run>/<number>-<kind>...'", CF_SLICE_FMT(name));
    CF_TRY(runs_grow(s, e));
    CF_TRY(pages_grow(s, e));
    run_slot *const run = run_find(s->runs, s->run_cap, &id);
    if (run->index == 0)
        *run = (run_slot){.id = id, .index = (uint32_t)++s->run_total};
    const uint64_t key = page_key(run->index, seq);
    page_slot *const page = page_find(s->pages, s->page_cap, key);
    if (page->key == 0) {
        page->key = key;
        s->page_total++;
    }
    uint64_t *const word = &page->words[seq % PAGE_BITS / 64];
    const uint64_t bit = UINT64_C(1) << seq % 64;
    const bool is_new = (*word & bit) == 0;
    *word |= bit;
    s->total += is_new;
    if (ret_new != NULL)
        *ret_new = is_new;
    return CF_OK;
}

bool cf_object_set_has(const cf_object_set *const s, const cf_slice name)
{
    cf_run_id id = {""};
    uint32_t seq = 0;
    if (!cf_object_name_parse(name, &id, &seq, /* ret_kind= */ NULL))
        return false;
    const run_slot *const run = run_find(s->runs, s->run_cap, &id);
    if (run->index == 0)
        return false;
    const page_slot *const page = page_find(s->pages, s->page_cap, page_key(run->index, seq));
    return (page->words[seq % PAGE_BITS / 64] >> seq % 64 & 1) != 0; /* a free slot has no bits */
}

uint64_t cf_object_set_total(const cf_object_set *const s)
{
    return s->total;
}
