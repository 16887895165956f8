/* SPDX-License-Identifier: Apache-2.0
 *
 * A sorted array of objects, since a LIST is sorted; packs in blocks that never move; names that
 * were not listed in a short list of their own.
 */
#include "verify/inventory.h"

#include "s3/base/alloc.h"

enum {
    PACKS_PER_BLOCK = 1024,
    LOST_MAX = 10 * 1000, /* ours: packs that lines name and the LIST did not have */
};

typedef struct lost_pack {
    char *name; /* owned */
    uint32_t index;
} lost_pack;

struct cf_inventory {
    uint64_t *budget_bytes;
    cf_run_id *runs; /* owned, ascending */
    size_t run_total, run_cap;
    cf_object *objects; /* owned; by run, then number */
    size_t total, cap;
    cf_pack_state **blocks; /* owned */
    size_t block_total, block_cap;
    uint32_t pack_total;
    lost_pack *lost; /* owned; in order of being named */
    size_t lost_total, lost_cap;
};

cf_err cf_inventory_new(uint64_t *const budget_bytes, cf_inventory **const ret, cf_error *const e)
{
    cf_inventory *v = NULL;

    CF_NEW(v, e);
    v->budget_bytes = budget_bytes;
    *ret = v;
    return CF_OK;
}

void cf_inventory_free(cf_inventory *const v)
{
    if (v == NULL)
        return;
    for (size_t i = 0; i < v->block_total; i++)
        cf_free(v->blocks[i]);
    for (size_t i = 0; i < v->lost_total; i++)
        cf_free(v->lost[i].name);
    cf_free(v->blocks);
    cf_free(v->lost);
    cf_free(v->runs);
    cf_free(v->objects);
    cf_free(v);
}

static cf_err spend(cf_inventory *const v, const uint64_t bytes, cf_error *const e)
{
    CF_ENSURE(bytes <= *v->budget_bytes, e, CF_ERR_TOO_LARGE,
              "the repository has too many objects for the memory allowed: %zu were counted\n"
              "HINT: give more --memory, or verify one node and one snapshot at a time",
              v->total);
    *v->budget_bytes -= bytes;
    return CF_OK;
}

/* Array with room for one more, array itself when it has; grown by a half, so that the budget is not spent on air. */
static cf_err grow(cf_inventory *const v, void *const array, size_t *const cap, const size_t total,
                   const size_t size, void **const ret, cf_error *const e)
{
    *ret = array;
    if (total < *cap)
        return CF_OK;
    const size_t wanted = *cap < 64 ? 128 : *cap + *cap / 2;
    CF_TRY(spend(v, (wanted - *cap) * size, e));
    void *const grown = cf_realloc(array, wanted, size);
    CF_ENSURE(grown != NULL, e, CF_ERR_NO_MEMORY, "allocate %zu entries", wanted);
    *ret = grown;
    *cap = wanted;
    return CF_OK;
}

#define GROW(v, array, cap, total, type, e)                                                        \
    do {                                                                                           \
        void *grow_ret_ = NULL;                                                                    \
        CF_TRY(grow((v), (array), &(cap), (total), sizeof(type), &grow_ret_, (e)));                \
        (array) = grow_ret_;                                                                       \
    } while (0)

static uint32_t name_hash(const char *const name)
{
    uint32_t h = UINT32_C(0x811c9dc5);

    for (const char *c = name; *c != '\0'; c++)
        h = (h ^ (uint8_t)*c) * UINT32_C(0x01000193);
    return h;
}

cf_err cf_inventory_add(cf_inventory *const v, const char *const name, const uint64_t size_bytes,
                        cf_error *const e)
{
    cf_run_id run = {""};
    cf_object o = {.size_bytes = size_bytes, .name_hash = name_hash(name)};

    if (!cf_object_name_parse(cf_slice_str(name), &run, &o.seq, NULL))
        return CF_OK; /* none of ours */
    const int order = v->run_total == 0 ? 1 : strcmp(run.text, v->runs[v->run_total - 1].text);
    CF_ENSURE(order >= 0, e, CF_ERR_PROTOCOL, "the store lists '%s' behind run '%s'", name,
              v->runs[v->run_total - 1].text);
    if (order > 0) {
        GROW(v, v->runs, v->run_cap, v->run_total, cf_run_id, e);
        v->runs[v->run_total++] = run;
    }
    o.run = (uint32_t)(v->run_total - 1);
    GROW(v, v->objects, v->cap, v->total, cf_object, e);
    v->objects[v->total++] = o;
    return CF_OK;
}

/* false: no such run. */
static bool run_find(const cf_inventory *const v, const cf_run_id *const run, uint32_t *const ret)
{
    size_t from = 0, to = v->run_total;

    while (from < to) {
        const size_t mid = from + (to - from) / 2;
        const int order = strcmp(v->runs[mid].text, run->text);
        if (order == 0) {
            *ret = (uint32_t)mid;
            return true;
        }
        if (order < 0)
            from = mid + 1;
        else
            to = mid;
    }
    return false;
}

/* The first object that is not before (run, seq). */
static size_t lower_bound(const cf_inventory *const v, const uint32_t run, const uint32_t seq)
{
    size_t from = 0, to = v->total;

    while (from < to) {
        const size_t mid = from + (to - from) / 2;
        const cf_object *const o = &v->objects[mid];
        if (o->run < run || (o->run == run && o->seq < seq))
            from = mid + 1;
        else
            to = mid;
    }
    return from;
}

cf_object *cf_inventory_find(const cf_inventory *const v, const char *const name)
{
    cf_run_id run = {""};
    uint32_t seq = 0, at = 0;

    if (!cf_object_name_parse(cf_slice_str(name), &run, &seq, NULL) || !run_find(v, &run, &at))
        return NULL;
    const uint32_t hash = name_hash(name);
    for (size_t i = lower_bound(v, at, seq);
         i < v->total && v->objects[i].run == at && v->objects[i].seq == seq; i++) {
        if (v->objects[i].name_hash == hash)
            return &v->objects[i];
    }
    return NULL;
}

static cf_pack_state *pack_at(const cf_inventory *const v, const uint32_t index)
{
    return &v->blocks[(index - 1) / PACKS_PER_BLOCK][(index - 1) % PACKS_PER_BLOCK];
}

static lost_pack *lost_find(const cf_inventory *const v, const char *const name)
{
    for (size_t i = 0; i < v->lost_total; i++) {
        if (strcmp(v->lost[i].name, name) == 0)
            return &v->lost[i];
    }
    return NULL;
}

cf_pack_state *cf_inventory_pack(const cf_inventory *const v, const char *const name)
{
    const cf_object *const o = cf_inventory_find(v, name);
    const lost_pack *const lost = o == NULL ? lost_find(v, name) : NULL;
    const uint32_t index = o != NULL ? o->index : lost != NULL ? lost->index : 0;

    return index == 0 ? NULL : pack_at(v, index);
}

static cf_err pack_new(cf_inventory *const v, uint32_t *const ret_index, cf_error *const e)
{
    if (v->pack_total % PACKS_PER_BLOCK == 0) {
        GROW(v, v->blocks, v->block_cap, v->block_total, cf_pack_state *, e);
        CF_TRY(spend(v, PACKS_PER_BLOCK * sizeof(cf_pack_state), e));
        cf_pack_state *const block = cf_alloc(PACKS_PER_BLOCK, sizeof(*block));
        CF_ENSURE(block != NULL, e, CF_ERR_NO_MEMORY, "allocate %d packs", PACKS_PER_BLOCK);
        v->blocks[v->block_total++] = block;
    }
    *ret_index = ++v->pack_total;
    return CF_OK;
}

static cf_err lost_add(cf_inventory *const v, const char *const name, const uint32_t index,
                       cf_error *const e)
{
    CF_ENSURE(v->lost_total < LOST_MAX, e, CF_ERR_DAMAGE,
              "more than %d packs are missing\nHINT: is this the right repository?", LOST_MAX);
    GROW(v, v->lost, v->lost_cap, v->lost_total, lost_pack, e);
    CF_TRY(spend(v, strlen(name) + 1, e));
    char *const copy = cf_strdup(name);
    CF_ENSURE(copy != NULL, e, CF_ERR_NO_MEMORY, "copy a name");
    v->lost[v->lost_total++] = (lost_pack){copy, index};
    return CF_OK;
}

cf_err cf_inventory_name(cf_inventory *const v, const cf_pack_line *const line, bool *const ret_new,
                         cf_pack_state **const ret, cf_error *const e)
{
    cf_object *const o = cf_inventory_find(v, line->pack);
    const lost_pack *const lost = o == NULL ? lost_find(v, line->pack) : NULL;
    uint32_t index = o != NULL ? o->index : lost != NULL ? lost->index : 0;

    *ret_new = index == 0;
    if (index == 0) {
        CF_TRY(pack_new(v, &index, e));
        pack_at(v, index)->stored = (cf_stored){line->stored_bytes, line->digest};
        if (o != NULL)
            o->index = index;
        else
            CF_TRY(lost_add(v, line->pack, index, e));
    }
    *ret = pack_at(v, index);
    return CF_OK;
}

uint64_t cf_inventory_count_digested(const cf_inventory *const v)
{
    uint64_t n = 0;

    for (uint32_t i = 1; v != NULL && i <= v->pack_total; i++)
        n += atomic_load(&pack_at(v, i)->digested);
    return n;
}
