/* SPDX-License-Identifier: Apache-2.0
 *
 * An array of entries in the order they came, and an open-addressed index of their numbers, half
 * full at most.
 */
#include "repo/pack_use.h"

#include "repo/pack_name.h"
#include "s3/base/alloc.h"

enum { INDEX_MIN = 1024 };

typedef struct entry {
    cf_pack_name name;
    uint64_t used; /* bytes; the highest bit: described */
} entry;

#define DESCRIBED (UINT64_C(1) << 63)

struct cf_pack_use {
    entry *entries; /* owned */
    size_t total, cap;
    uint32_t *index;   /* owned; number of the entry plus one, 0: free */
    size_t index_size; /* a power of two */
    size_t total_max;
};

cf_err cf_pack_use_new(const uint32_t total_max, cf_pack_use **const ret, cf_error *const e)
{
    CF_CLEANUP(cf_pack_use_freep) cf_pack_use *u = NULL;
    CF_NEW(u, e);
    u->total_max = total_max;
    u->index = cf_alloc(INDEX_MIN, sizeof(*u->index));
    CF_ENSURE(u->index != NULL, e, CF_ERR_NO_MEMORY, "allocate an index of packs");
    u->index_size = INDEX_MIN;
    *ret = CF_STEAL(u);
    return CF_OK;
}

void cf_pack_use_free(cf_pack_use *const u)
{
    if (u == NULL)
        return;
    cf_free(u->entries);
    cf_free(u->index);
    cf_free(u);
}

static entry entry_of(const char *const pack)
{
    return (entry){.name = cf_pack_name_of(pack)};
}

/* Mixed well enough that sequence numbers and seconds, which count up, spread over the index. */
static size_t slot_of(const entry *const x, const size_t index_size)
{
    uint64_t h = (x->name.run ^ (x->name.rest * UINT64_C(0x9e3779b97f4a7c15))) *
                 UINT64_C(0xd6e8feb86659fd93);
    h ^= h >> 32;
    return (size_t)(h * UINT64_C(0xd6e8feb86659fd93) >> 32) & (index_size - 1);
}

/* The slot of x, or the free one where it belongs. */
static size_t slot_find(const cf_pack_use *const u, const entry *const x)
{
    size_t slot = slot_of(x, u->index_size);
    while (u->index[slot] != 0) {
        const entry *const there = &u->entries[u->index[slot] - 1];
        if (cf_pack_name_cmp(&there->name, &x->name) == 0)
            break;
        slot = (slot + 1) & (u->index_size - 1);
    }
    return slot;
}

static cf_err grow_index(cf_pack_use *const u, cf_error *const e)
{
    const size_t size = u->index_size * 2;
    uint32_t *const index = cf_alloc(size, sizeof(*index));
    CF_ENSURE(index != NULL, e, CF_ERR_NO_MEMORY, "allocate an index of %zu packs", size);
    cf_free(u->index);
    u->index = index;
    u->index_size = size;
    for (size_t i = 0; i < u->total; i++)
        index[slot_find(u, &u->entries[i])] = (uint32_t)i + 1;
    return CF_OK;
}

static cf_err make_room(cf_pack_use *const u, cf_error *const e)
{
    CF_ENSURE(u->total < u->total_max, e, CF_ERR_TOO_LARGE, "a snapshot names more than %zu packs",
              u->total_max);
    if (u->total == u->cap) {
        const size_t cap = u->cap == 0 ? INDEX_MIN / 2 : u->cap * 2;
        entry *const grown = cf_realloc(u->entries, cap, sizeof(*grown));
        CF_ENSURE(grown != NULL, e, CF_ERR_NO_MEMORY, "allocate %zu packs", cap);
        u->entries = grown;
        u->cap = cap;
    }
    return u->total + 1 > u->index_size / 2 ? grow_index(u, e) : CF_OK;
}

cf_err cf_pack_use_add(cf_pack_use *const u, const char *const pack, const uint64_t bytes,
                       cf_error *const e)
{
    entry x = entry_of(pack);
    size_t slot = slot_find(u, &x);
    if (u->index[slot] == 0) {
        CF_TRY(make_room(u, e));
        slot = slot_find(u, &x); /* the index may be another one */
        u->entries[u->total] = x;
        u->index[slot] = (uint32_t)++u->total;
    }
    entry *const there = &u->entries[u->index[slot] - 1];
    const uint64_t used = there->used & ~DESCRIBED;
    const uint64_t sum = bytes > ~DESCRIBED - used ? ~DESCRIBED : used + bytes;
    there->used = sum | (there->used & DESCRIBED);
    return CF_OK;
}

uint64_t cf_pack_use_describe(cf_pack_use *const u, const char *const pack)
{
    const entry x = entry_of(pack);
    const size_t slot = slot_find(u, &x);
    if (u->index[slot] == 0)
        return 0;
    entry *const there = &u->entries[u->index[slot] - 1];
    there->used |= DESCRIBED;
    return there->used & ~DESCRIBED;
}

bool cf_pack_use_find_undescribed(const cf_pack_use *const u, char *const ret)
{
    for (size_t i = 0; i < u->total; i++) {
        const entry *const x = &u->entries[i];
        if ((x->used & DESCRIBED) != 0)
            continue;
        cf_pack_name_render(&x->name, ret);
        return true;
    }
    return false;
}
