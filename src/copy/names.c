/* SPDX-License-Identifier: Apache-2.0
 *
 * Two orders over one array: by the source's name, as the lines come, and by the first name.
 */
#include "copy/names.h"

#include <stdio.h>
#include <stdlib.h>

#include "repo/manifest.h"
#include "repo/pack_name.h"
#include "s3/base/alloc.h"

typedef struct entry {
    cf_pack_name source, first, target; /* target.rest 0: none yet */
    uint64_t stored_bytes;
} entry;

struct cf_names {
    entry *entries; /* owned; by source */
    size_t total, cap;
    uint32_t *by_first; /* owned; numbers of entries; NULL: not sealed, or no memory for it */
    bool sealed;
};

cf_err cf_names_new(cf_names **const ret, cf_error *const e)
{
    cf_names *n = NULL;

    CF_NEW(n, e);
    *ret = n;
    return CF_OK;
}

void cf_names_free(cf_names *const n)
{
    if (n == NULL)
        return;
    cf_free(n->entries);
    cf_free(n->by_first);
    cf_free(n);
}

/* A line whose origin has another tail than its pack was made by a writer with other rules: files
 * name packs with their tails, so such an origin says nothing to us. */
const char *cf_names_first(const cf_pack_line *const line)
{
    if (line->origin == NULL ||
        strcmp(cf_pack_name_tail(line->origin), cf_pack_name_tail(line->pack)) != 0)
        return line->pack;
    return line->origin;
}

static cf_err make_room(cf_names *const n, cf_error *const e)
{
    CF_ENSURE(n->total < CF_PACK_TOTAL_MAX, e, CF_ERR_TOO_LARGE, "more than %d packs",
              CF_PACK_TOTAL_MAX);
    if (n->total < n->cap)
        return CF_OK;
    const size_t cap = n->cap == 0 ? 256 : n->cap * 2;
    entry *const grown = cf_realloc(n->entries, cap, sizeof(*grown));
    CF_ENSURE(grown != NULL, e, CF_ERR_NO_MEMORY, "allocate a table of %zu packs", cap);
    n->entries = grown;
    uint32_t *const order = cf_realloc(n->by_first, cap, sizeof(*order));
    CF_ENSURE(order != NULL, e, CF_ERR_NO_MEMORY, "allocate a table of %zu packs", cap);
    n->by_first = order;
    n->cap = cap;
    return CF_OK;
}

cf_err cf_names_add(cf_names *const n, const cf_pack_line *const line, cf_error *const e)
{
    CF_CHECK(!n->sealed);
    CF_TRY(make_room(n, e));
    n->by_first[n->total] = (uint32_t)n->total;
    n->entries[n->total++] = (entry){.source = cf_pack_name_of(line->pack),
                                     .first = cf_pack_name_of(cf_names_first(line)),
                                     .stored_bytes = line->stored_bytes};
    return CF_OK;
}

static int first_cmp(const void *const a, const void *const b, void *const names)
{
    const entry *const entries = ((const cf_names *)names)->entries;

    return cf_pack_name_cmp(&entries[*(const uint32_t *)a].first,
                            &entries[*(const uint32_t *)b].first);
}

void cf_names_seal(cf_names *const n)
{
    n->sealed = true;
    if (n->total > 1)
        qsort_r(n->by_first, n->total, sizeof(*n->by_first), first_cmp, n);
}

void cf_names_offer(cf_names *const n, const cf_pack_line *const theirs)
{
    const cf_pack_name first = cf_pack_name_of(cf_names_first(theirs));
    size_t low = 0, high = n->total;

    CF_CHECK(n->sealed);
    while (low < high) {
        const size_t mid = low + (high - low) / 2;
        if (cf_pack_name_cmp(&n->entries[n->by_first[mid]].first, &first) < 0)
            low = mid + 1;
        else
            high = mid;
    }
    for (; low < n->total; low++) { /* a pack may have been sent twice */
        entry *const x = &n->entries[n->by_first[low]];
        if (cf_pack_name_cmp(&x->first, &first) != 0)
            return;
        if (x->target.rest == 0 && x->stored_bytes == theirs->stored_bytes)
            x->target = cf_pack_name_of(theirs->pack);
    }
}

static entry *find(const cf_names *const n, const char *const source)
{
    const cf_pack_name name = cf_pack_name_of(source);
    size_t low = 0, high = n->total;

    while (low < high) {
        const size_t mid = low + (high - low) / 2;
        const int order = cf_pack_name_cmp(&n->entries[mid].source, &name);
        if (order == 0)
            return &n->entries[mid];
        if (order < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return NULL;
}

bool cf_names_has(const cf_names *const n, const char *const source)
{
    const entry *const x = find(n, source);

    return x != NULL && x->target.rest != 0;
}

bool cf_names_knows(const cf_names *const n, const char *const source)
{
    return find(n, source) != NULL;
}

void cf_names_set(cf_names *const n, const char *const source, const char *const target)
{
    entry *const x = find(n, source);

    CF_CHECK(x != NULL);
    x->target = cf_pack_name_of(target);
}

bool cf_names_translate(const cf_names *const n, const char *const source, char *const ret)
{
    const entry *const x = find(n, source);

    if (x == NULL || x->target.rest == 0)
        return false;
    cf_pack_name_render(&x->target, ret);
    const size_t len = strlen(ret);
    (void)snprintf(ret + len, CF_RUN_OBJECT_LEN_MAX + 1 - len, "%s", cf_pack_name_tail(source));
    return true;
}
