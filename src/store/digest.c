/* SPDX-License-Identifier: Apache-2.0
 *
 * The composite form is the SHA-256 over the binary SHA-256s of the parts; the last part may be
 * shorter.
 */
#include "store/digest.h"

#include "s3/base/cleanup.h"

static bool is_parts(const cf_digest_check *const c)
{
    return c->expected.digest.kind == CF_DIGEST_SHA256_PARTS;
}

cf_err cf_digest_check_begin(cf_digest_check *const c, const cf_stored *const expected,
                             cf_error *const e)
{
    CF_CHECK(expected->digest.kind != CF_DIGEST_SHA256_PARTS || expected->digest.part_bytes > 0);
    c->expected = *expected;
    c->bytes = 0;
    c->part_left = expected->digest.part_bytes;
    CF_TRY(cf_hash_init(&c->hash, CF_HASH_SHA256, e));
    return is_parts(c) ? cf_hash_init(&c->parts, CF_HASH_SHA256, e) : CF_OK;
}

static cf_err part_end(cf_digest_check *const c, cf_error *const e)
{
    uint8_t digest[CF_SHA256_LEN];

    CF_TRY(cf_hash_final(&c->hash, digest, e));
    CF_TRY(cf_hash_update(&c->parts, cf_slice_of(digest, sizeof(digest)), e));
    c->part_left = c->expected.digest.part_bytes;
    return cf_hash_init(&c->hash, CF_HASH_SHA256, e);
}

cf_err cf_digest_check_add(cf_digest_check *const c, cf_slice bytes, cf_error *const e)
{
    c->bytes += bytes.len;
    while (is_parts(c) && bytes.len >= c->part_left) {
        const size_t n = (size_t)c->part_left;

        CF_TRY(cf_hash_update(&c->hash, cf_slice_of(bytes.ptr, n), e));
        CF_TRY(part_end(c, e));
        bytes = cf_slice_of(bytes.ptr + n, bytes.len - n);
    }
    if (is_parts(c))
        c->part_left -= bytes.len;
    return bytes.len > 0 ? cf_hash_update(&c->hash, bytes, e) : CF_OK;
}

cf_err cf_digest_check_end(cf_digest_check *const c, cf_error *const e)
{
    uint8_t digest[CF_SHA256_LEN];
    char found[CF_SHA256_HEX_SIZE], expected[CF_SHA256_HEX_SIZE];

    CF_ENSURE(c->bytes == c->expected.size_bytes, e, CF_ERR_DAMAGE,
              "it has %llu bytes, its line says %llu", (unsigned long long)c->bytes,
              (unsigned long long)c->expected.size_bytes);
    if (is_parts(c) && c->part_left < c->expected.digest.part_bytes)
        CF_TRY(part_end(c, e));
    CF_TRY(cf_hash_final(is_parts(c) ? &c->parts : &c->hash, digest, e));
    cf_hex_render(cf_slice_of(digest, sizeof(digest)), found);
    cf_hex_render(cf_slice_of(c->expected.digest.sha256, CF_SHA256_LEN), expected);
    CF_ENSURE(memcmp(digest, c->expected.digest.sha256, sizeof(digest)) == 0, e, CF_ERR_DAMAGE,
              "it has another SHA-256 than its line says: %s, not %s", found, expected);
    return CF_OK;
}

void cf_digest_check_deinit(cf_digest_check *const c)
{
    cf_hash_deinit(&c->hash);
    cf_hash_deinit(&c->parts);
}
