/* SPDX-License-Identifier: Apache-2.0
 *
 * FNV-1a with a finisher: not for secrets, but even enough that t parts are of about one size.
 */
#include "verify/subset.h"

#include "s3/base/alloc.h"

enum { BUCKET_BITS = 16, BUCKET_TOTAL = 1 << BUCKET_BITS };

struct cf_subset_scale {
    uint64_t bytes[BUCKET_TOTAL];
    uint64_t total;
};

static uint64_t hash(const uint64_t seed, const char *const name)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325) ^ seed;

    for (const char *c = name; *c != '\0'; c++)
        h = (h ^ (uint8_t)*c) * UINT64_C(0x100000001b3);
    h = (h ^ (h >> 33)) * UINT64_C(0xff51afd7ed558ccd);
    h = (h ^ (h >> 33)) * UINT64_C(0xc4ceb9fe1a85ec53);
    return h ^ (h >> 33);
}

bool cf_subset_has(const cf_subset *const s, const char *const name)
{
    switch (s->how) {
    case CF_VERIFY_LOOK:
        return false;
    case CF_VERIFY_DATA:
        return true;
    case CF_VERIFY_PART:
        return hash(/* seed= */ 0, name) % s->parts == s->part - 1;
    case CF_VERIFY_PERCENT:
    case CF_VERIFY_BYTES:
        return hash(s->seed, name) <= s->below;
    }
    CF_CHECK(false); /* a way to verify that has no row */
}

cf_err cf_subset_scale_new(cf_subset_scale **const ret, cf_error *const e)
{
    cf_subset_scale *s = NULL;

    CF_NEW(s, e);
    *ret = s;
    return CF_OK;
}

void cf_subset_scale_free(cf_subset_scale *const s)
{
    cf_free(s);
}

void cf_subset_scale_add(cf_subset_scale *const s, const cf_subset *const of,
                         const char *const name, const uint64_t bytes)
{
    s->bytes[hash(of->seed, name) >> (64 - BUCKET_BITS)] += bytes;
    s->total += bytes;
}

void cf_subset_cut(cf_subset *const s, const cf_subset_scale *const scale,
                   const uint64_t permille_or_bytes)
{
    const uint64_t most =
        s->how == CF_VERIFY_PERCENT
            ? (uint64_t)((double)scale->total / 1000.0 * (double)permille_or_bytes)
            : permille_or_bytes;
    uint64_t sum = 0;

    s->below = UINT64_MAX;
    for (uint64_t i = 0; i < BUCKET_TOTAL; i++) {
        if (scale->bytes[i] == 0)
            continue;
        if (sum > 0 && sum + scale->bytes[i] > most) {
            s->below = (i << (64 - BUCKET_BITS)) - 1;
            return;
        }
        sum += scale->bytes[i];
    }
}
