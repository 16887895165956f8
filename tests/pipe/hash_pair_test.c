/* SPDX-License-Identifier: Apache-2.0
 *
 * Both digests at once against OpenSSL's one by one: every length around a block, every place where
 * the MD5 ends, any cut of the bytes.
 */
#include "pipe/hash_pair.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "s3/base/cleanup.h"

enum { BYTES_MAX = 300, BIG_BYTES = 1000 * 1000 };

static void pair_check(const uint8_t *const bytes, const size_t total, const size_t md5_at,
                       const size_t step, const bool plain)
{
    CF_CLEANUP(cf_hash_pair_deinit) cf_hash_pair h = {0};
    uint8_t md5[CF_MD5_LEN], sha256[CF_SHA256_LEN];
    uint8_t want_md5[CF_MD5_LEN], want_sha256[CF_SHA256_LEN];

    assert_false(cf_hash_pair_init(&h, plain, NULL));
    for (size_t at = 0; at < md5_at; at += step)
        assert_false(cf_hash_pair_update(
            &h, cf_slice_of(bytes + at, step < md5_at - at ? step : md5_at - at), NULL));
    assert_false(cf_hash_pair_md5(&h, md5, NULL));
    for (size_t at = md5_at; at < total; at += step)
        assert_false(cf_hash_pair_update(
            &h, cf_slice_of(bytes + at, step < total - at ? step : total - at), NULL));
    assert_false(cf_hash_pair_sha256(&h, sha256, NULL));
    assert_false(cf_md5(cf_slice_of(bytes, md5_at), want_md5, NULL));
    assert_false(cf_sha256(cf_slice_of(bytes, total), want_sha256, NULL));
    if (memcmp(md5, want_md5, sizeof(md5)) != 0 || memcmp(sha256, want_sha256, sizeof(sha256)) != 0)
        fail_msg("%zu bytes, MD5 of %zu, in steps of %zu%s: %s differs", total, md5_at, step,
                 plain ? ", OpenSSL" : "",
                 memcmp(md5, want_md5, sizeof(md5)) != 0 ? "MD5" : "SHA-256");
}

static void fill(uint8_t *const bytes, const size_t len)
{
    uint32_t x = 1;

    for (size_t i = 0; i < len; i++) {
        x = x * 1664525 + 1013904223;
        bytes[i] = (uint8_t)(x >> 24);
    }
}

static void lengths_around_a_block(void **state)
{
    uint8_t bytes[BYTES_MAX];

    (void)state;
    fill(bytes, sizeof(bytes));
    for (size_t total = 0; total <= sizeof(bytes); total++)
        for (size_t tail = 0; tail <= 80 && tail <= total; tail += tail == 17 ? 1 : 1 + tail / 3)
            for (size_t step = 1; step <= total + 1; step = step * 3 + 1)
                pair_check(bytes, total, total - tail, step, total % 16 == 0);
}

static void many_blocks(void **state)
{
    static uint8_t bytes[BIG_BYTES];

    (void)state;
    fill(bytes, sizeof(bytes));
    for (int plain = 0; plain < 2; plain++)
        for (size_t total = sizeof(bytes) - 70; total <= sizeof(bytes); total += 7) {
            pair_check(bytes, total, total - 16, 65537, plain == 1);
            pair_check(bytes, total, total - 16, total, plain == 1);
        }
}

/* What is left of one file must not come into the next. */
static void the_second_starts_anew(void **state)
{
    CF_CLEANUP(cf_hash_pair_deinit) cf_hash_pair h = {0};
    uint8_t got[CF_SHA256_LEN], want[CF_SHA256_LEN], md5[CF_MD5_LEN], want_md5[CF_MD5_LEN];

    (void)state;
    for (int plain = 0; plain < 2; plain++) {
        assert_false(cf_hash_pair_init(&h, plain == 1, NULL));
        assert_false(cf_hash_pair_update(&h, cf_slice_str("left behind, without an end"), NULL));
        assert_false(cf_hash_pair_init(&h, plain == 1, NULL));
        assert_false(cf_hash_pair_update(&h, cf_slice_str("abc"), NULL));
        assert_false(cf_hash_pair_md5(&h, md5, NULL));
        assert_false(cf_hash_pair_sha256(&h, got, NULL));
        assert_false(cf_sha256(cf_slice_str("abc"), want, NULL));
        assert_false(cf_md5(cf_slice_str("abc"), want_md5, NULL));
        assert_memory_equal(got, want, sizeof(got));
        assert_memory_equal(md5, want_md5, sizeof(md5));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lengths_around_a_block),
        cmocka_unit_test(many_blocks),
        cmocka_unit_test(the_second_starts_anew),
    };
    return cmocka_run_group_tests(tests, /* setup= */ NULL, /* teardown= */ NULL);
}
