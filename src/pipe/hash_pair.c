/* SPDX-License-Identifier: Apache-2.0
 *
 * Two digests of the same bytes: buffering, padding, and the choice between the loop and OpenSSL.
 */
#include "pipe/hash_pair.h"

#ifdef __x86_64__
#include "pipe/hash_pair_x86.h"
#else
static bool at_once_is_possible(void)
{
    return false;
}
static void blocks_at_once(uint32_t md5[4], uint32_t sha256[8], const uint8_t *block, size_t total)
{
    (void)md5, (void)sha256, (void)block, (void)total;
}
#endif

enum {
    BLOCK = CF_HASH_PAIR_BLOCK,
    LENGTH_AT = BLOCK - 8,    /* both end with the number of bits, in 8 bytes */
    SLICE_BYTES = 128 * 1024, /* one after the other: the second finds it in the cache */
};

cf_err cf_hash_pair_init(cf_hash_pair *const h, const bool plain, cf_error *const e)
{
    /* RFC 1321, 3.3; FIPS 180-4, 5.3.3 as the instructions want it: f e b a, h g d c. */
    static const uint32_t md5[4] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476};
    static const uint32_t sha256[8] = {0x9b05688c, 0x510e527f, 0xbb67ae85, 0x6a09e667,
                                       0x5be0cd19, 0x1f83d9ab, 0xa54ff53a, 0x3c6ef372};

    h->at_once = !plain && at_once_is_possible();
    h->md5_done = false;
    h->bytes = 0;
    if (!h->at_once) {
        CF_TRY(cf_hash_init(&h->ssl_sha256, CF_HASH_SHA256, e));
        return cf_hash_init(&h->ssl_md5, CF_HASH_MD5, e);
    }
    memcpy(h->md5, md5, sizeof(md5));
    memcpy(h->sha256, sha256, sizeof(sha256));
    return CF_OK;
}

static cf_err update_in_turn(cf_hash_pair *const h, const cf_slice s, cf_error *const e)
{
    for (size_t at = 0; at < s.len; at += SLICE_BYTES) {
        const size_t left = s.len - at;
        const cf_slice part = cf_slice_of(s.ptr + at, left < SLICE_BYTES ? left : SLICE_BYTES);

        CF_TRY(cf_hash_update(&h->ssl_sha256, part, e));
        if (!h->md5_done)
            CF_TRY(cf_hash_update(&h->ssl_md5, part, e));
    }
    return CF_OK;
}

cf_err cf_hash_pair_update(cf_hash_pair *const h, cf_slice s, cf_error *const e)
{
    if (!h->at_once)
        return update_in_turn(h, s, e);
    const size_t held = h->bytes % BLOCK;

    h->bytes += s.len;
    if (held > 0) {
        const size_t n = s.len < BLOCK - held ? s.len : BLOCK - held;

        memcpy(h->block + held, s.ptr, n);
        s = cf_slice_of(s.ptr + n, s.len - n);
        if (held + n < BLOCK)
            return CF_OK;
        blocks_at_once(h->md5, h->sha256, h->block, 1);
    }
    blocks_at_once(h->md5, h->sha256, s.ptr, s.len / BLOCK);
    if (s.len % BLOCK > 0)
        memcpy(h->block, s.ptr + s.len / BLOCK * BLOCK, s.len % BLOCK);
    return CF_OK;
}

/* What is held, 0x80, zeros, the number of bits: one block or two. Both digests are gone after it. */
static void pad(cf_hash_pair *const h, const bool big_endian)
{
    uint8_t end[2 * BLOCK] = {0};
    const size_t held = h->bytes % BLOCK;
    const size_t total = held < LENGTH_AT ? 1 : 2;

    memcpy(end, h->block, held);
    end[held] = 0x80;
    for (size_t i = 0; i < 8; i++)
        end[total * BLOCK - 8 + i] = (uint8_t)(h->bytes * 8 >> 8 * (big_endian ? 7 - i : i));
    blocks_at_once(h->md5, h->sha256, end, total);
}

static void words_render(const uint32_t *const words, const uint8_t *const order,
                         const size_t total, const bool big_endian, uint8_t *const ret)
{
    for (size_t i = 0; i < 4 * total; i++)
        ret[i] = (uint8_t)(words[order[i / 4]] >> 8 * (big_endian ? 3 - i % 4 : i % 4));
}

cf_err cf_hash_pair_md5(cf_hash_pair *const h, uint8_t ret[CF_MD5_LEN], cf_error *const e)
{
    static const uint8_t order[4] = {0, 1, 2, 3};

    if (!h->at_once)
        CF_TRY(cf_hash_final(&h->ssl_md5, ret, e));
    h->md5_done = true;
    if (!h->at_once)
        return CF_OK;
    cf_hash_pair end = *h; /* the SHA-256 goes on */
    pad(&end, /* big_endian= */ false);
    words_render(end.md5, order, 4, /* big_endian= */ false, ret);
    return CF_OK;
}

cf_err cf_hash_pair_sha256(cf_hash_pair *const h, uint8_t ret[CF_SHA256_LEN], cf_error *const e)
{
    static const uint8_t order[8] = {3, 2, 7, 6, 1, 0, 5, 4}; /* a to h */

    if (!h->at_once)
        return cf_hash_final(&h->ssl_sha256, ret, e);
    pad(h, /* big_endian= */ true);
    words_render(h->sha256, order, 8, /* big_endian= */ true, ret);
    return CF_OK;
}

void cf_hash_pair_deinit(cf_hash_pair *const h)
{
    cf_hash_deinit(&h->ssl_sha256);
    cf_hash_deinit(&h->ssl_md5);
    *h = (cf_hash_pair){0};
}
