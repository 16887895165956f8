/* SPDX-License-Identifier: Apache-2.0
 *
 * Open addressing, half full at most.
 */
#include "verify/seen.h"

#include "s3/base/alloc.h"

enum { SIZE_MIN = 4096 };

struct cf_seen {
    uint64_t *budget_bytes;
    uint64_t *slots; /* owned; 0: free */
    size_t size, total;
};

cf_err cf_seen_new(uint64_t *const budget_bytes, cf_seen **const ret, cf_error *const e)
{
    CF_CLEANUP(cf_seen_freep) cf_seen *s = NULL;

    CF_NEW(s, e);
    s->budget_bytes = budget_bytes;
    s->slots = cf_alloc(SIZE_MIN, sizeof(*s->slots));
    CF_ENSURE(s->slots != NULL, e, CF_ERR_NO_MEMORY, "allocate %d slots", SIZE_MIN);
    s->size = SIZE_MIN;
    *ret = CF_STEAL(s);
    return CF_OK;
}

void cf_seen_free(cf_seen *const s)
{
    if (s == NULL)
        return;
    cf_free(s->slots);
    cf_free(s);
}

static size_t slot_find(const uint64_t *const slots, const size_t size, const uint64_t hash)
{
    size_t at = (size_t)hash & (size - 1);

    while (slots[at] != 0 && slots[at] != hash)
        at = (at + 1) & (size - 1);
    return at;
}

/* false: there is no room, which only costs reading. */
static bool grow(cf_seen *const s)
{
    const size_t size = s->size * 2;
    const uint64_t bytes = (uint64_t)size * sizeof(*s->slots);

    if (bytes > *s->budget_bytes)
        return false;
    uint64_t *const slots = cf_alloc(size, sizeof(*slots));
    if (slots == NULL)
        return false;
    *s->budget_bytes -= bytes - (uint64_t)s->size * sizeof(*s->slots);
    for (size_t i = 0; i < s->size; i++) {
        if (s->slots[i] != 0)
            slots[slot_find(slots, size, s->slots[i])] = s->slots[i];
    }
    cf_free(s->slots);
    s->slots = slots;
    s->size = size;
    return true;
}

bool cf_seen_add(cf_seen *const s, const uint64_t hash)
{
    const uint64_t value = hash == 0 ? 1 : hash;

    if (s == NULL)
        return false;
    size_t at = slot_find(s->slots, s->size, value);
    if (s->slots[at] == value)
        return true;
    if (s->total + 1 > s->size / 2) {
        if (!grow(s))
            return false;
        at = slot_find(s->slots, s->size, value);
    }
    s->slots[at] = value;
    s->total++;
    return false;
}

static uint64_t mix(uint64_t h, const void *const bytes, const size_t len)
{
    const uint8_t *const b = bytes;

    for (size_t i = 0; i < len; i++)
        h = (h ^ b[i]) * UINT64_C(0x100000001b3);
    h = (h ^ (h >> 33)) * UINT64_C(0xff51afd7ed558ccd);
    return h ^ (h >> 29);
}

uint64_t cf_seen_hash_text(const char *const a, const char *const b)
{
    return mix(mix(UINT64_C(0xcbf29ce484222325), a, strlen(a) + 1), b, strlen(b));
}

uint64_t cf_seen_hash_extent(const cf_extent *const x)
{
    const uint64_t place[] = {x->pack_offset, x->stored_bytes, x->file_bytes};
    uint64_t h = mix(UINT64_C(0xcbf29ce484222325), x->pack, strlen(x->pack));

    h = mix(h, place, sizeof(place));
    return x->has_sha256 ? mix(h, x->sha256, sizeof(x->sha256)) : h;
}

uint64_t cf_seen_hash_line(const cf_file_line *const l)
{
    uint64_t h = mix(UINT64_C(0x84222325cbf29ce4), l->sha256, sizeof(l->sha256));

    h = mix(h, l->path.ptr, l->path.len);
    h = mix(h, &l->size_bytes, sizeof(l->size_bytes));
    h = mix(h, l->cert_header.ptr, l->cert_header.len);
    h = mix(h, l->cert_footer.ptr, l->cert_footer.len);
    for (size_t i = 0; i < l->extent_total; i++) {
        const uint64_t x = cf_seen_hash_extent(&l->extents[i]);
        h = mix(h, &x, sizeof(x));
        h = mix(h, &l->extents[i].file_offset, sizeof(uint64_t));
    }
    return h;
}

void cf_seen_segments_deinit(cf_seen_segments *const s)
{
    for (size_t i = 0; i < s->total; i++) {
        cf_free(s->at[i].first);
        cf_free(s->at[i].last);
    }
    cf_free(s->at);
    *s = (cf_seen_segments){0};
}

cf_err cf_seen_segments_add(cf_seen_segments *const s, const cf_slice first, const cf_slice last,
                            const bool sound, cf_error *const e)
{
    if (s->total == s->cap) {
        const size_t cap = s->cap == 0 ? 64 : s->cap * 2;
        cf_seen_segment *const grown = cf_realloc(s->at, cap, sizeof(*grown));
        CF_ENSURE(grown != NULL, e, CF_ERR_NO_MEMORY, "allocate %zu segments", cap);
        s->at = grown;
        s->cap = cap;
    }
    cf_seen_segment *const x = &s->at[s->total];
    *x = (cf_seen_segment){.first_len = first.len, .last_len = last.len, .sound = sound};
    s->total++;
    x->first = cf_strndup(first.len == 0 ? "" : (const char *)first.ptr, first.len);
    x->last = cf_strndup(last.len == 0 ? "" : (const char *)last.ptr, last.len);
    CF_ENSURE(x->first != NULL && x->last != NULL, e, CF_ERR_NO_MEMORY,
              "copy the ends of a segment");
    return CF_OK;
}
