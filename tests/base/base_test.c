/* SPDX-License-Identifier: Apache-2.0
 *
 * Errors, buffers, allocation, hashes, secrets, UTF-8.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdio.h>

#include "s3/base/alloc.h"
#include "s3/base/cleanup.h"
#include "s3/base/env.h"
#include "s3/base/hash.h"
#include "s3/base/secret.h"
#include "s3/base/utf8.h"
#include "s3/buf.h"
#include "s3/world.h"

/* ---- errors ---- */

static cf_err fail_twice(cf_error *e)
{
    CF_TRY_AS(cf_error_set(e, CF_ERR_NOT_FOUND, "file", 7, "no '%s'", "x"), e, "read %d", 5);
    return CF_OK;
}

static void test_error(void **state)
{
    (void)state;
    cf_error e = {0};
    assert_int_equal(fail_twice(&e), CF_ERR_NOT_FOUND);
    assert_string_equal(e.message, "read 5: no 'x'");
    assert_int_equal(e.code, CF_ERR_NOT_FOUND);
    assert_int_equal(e.line, 7);
    assert_int_equal(fail_twice(NULL), CF_ERR_NOT_FOUND);
    /* A message may be made of the message before. */
    (void)cf_error_set(&e, CF_ERR_IO, "f", 1, "again: %s", e.message);
    assert_string_equal(e.message, "again: read 5: no 'x'");
    assert_string_equal(cf_err_name(CF_ERR_SKEW), "CF_ERR_SKEW");
    assert_int_equal(cf_err_exit_code(CF_ERR_INTERRUPTED), 130);
    assert_true(cf_err_retryable(CF_ERR_THROTTLED));
    assert_false(cf_err_retryable(CF_ERR_DAMAGE));
}

static void test_error_long(void **state)
{
    (void)state;
    cf_error e = {0};
    char text[CF_ERROR_MESSAGE_LEN_MAX * 2];
    memset(text, 'a', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    (void)cf_error_set(&e, CF_ERR_IO, "f", 1, "%s", text);
    assert_int_equal(strlen(e.message), CF_ERROR_MESSAGE_LEN_MAX - 1);
    cf_error_prefix(&e, "%s", "p");
    assert_int_equal(strlen(e.message), CF_ERROR_MESSAGE_LEN_MAX - 1);
    assert_memory_equal(e.message, "p: aaa", 6);
    cf_error_prefix(&e, "%s", text); /* no room for prefix and story: the story stays */
    assert_memory_equal(e.message, "p: aaa", 6);
}

/* ---- buffers ---- */

static void test_buf(void **state)
{
    (void)state;
    CF_CLEANUP(cf_buf_deinit) cf_buf b = {0};
    cf_error e = {0};
    const char *text = NULL;
    cf_buf_init(&b, 10);
    assert_int_equal(cf_buf_append_str(&b, "12345", &e), CF_OK);
    assert_int_equal(cf_buf_printf(&b, &e, "%d%c", 67, '8'), CF_OK);
    assert_int_equal(cf_buf_append_str(&b, "9ab", &e), CF_ERR_TOO_LARGE);
    assert_string_equal(e.message, "8 and 3 more bytes do not fit a limit of 10");
    assert_int_equal(cf_buf_printf(&b, &e, "%s", "9ab"), CF_ERR_TOO_LARGE);
    assert_int_equal(b.len, 8);
    assert_int_equal(cf_buf_printf(&b, &e, "%s", "9a"),
                     CF_OK); /* exactly full; its NUL is not counted */
    assert_int_equal(cf_buf_get_str(&b, &text, &e), CF_OK);
    assert_string_equal(text, "123456789a");
    assert_int_equal(cf_buf_append_char(&b, 'b', &e), CF_ERR_TOO_LARGE);
    assert_int_equal(cf_buf_append(&b, (cf_slice){0}, &e), CF_OK);
    assert_int_equal(cf_buf_reserve(&b, SIZE_MAX, &e), CF_ERR_TOO_LARGE);
    cf_buf_clear(&b);
    assert_int_equal(cf_buf_get_str(&b, &text, &e), CF_OK);
    assert_string_equal(text, "");
    cf_buf_deinit(&b);
    assert_int_equal(b.max, 10);
    cf_alloc_fail_at(1);
    assert_int_equal(cf_buf_append_str(&b, "1", &e), CF_ERR_NO_MEMORY);
    assert_int_equal(b.len, 0);
}

static void test_buf_growth(void **state)
{
    (void)state;
    CF_CLEANUP(cf_buf_deinit) cf_buf b = {0};
    cf_buf_init(&b, 1 << 20);
    const unsigned long before = cf_alloc_count();
    for (int i = 0; i < 1 << 20; i++)
        assert_int_equal(cf_buf_append_char(&b, (char)i, NULL), CF_OK);
    assert_true(cf_alloc_count() - before < 20);
    assert_int_equal(b.cap, 1 << 20);
    assert_int_equal(cf_buf_append_char(&b, 'x', NULL), CF_ERR_TOO_LARGE);
}

/* ---- allocation ---- */

static void *alloc_many(void *ret)
{
    unsigned *const failed = ret;
    for (int i = 0; i < 10000; i++) {
        void *const p = cf_alloc(1, 8);
        *failed += p == NULL ? 1 : 0;
        cf_free(p);
    }
    return NULL;
}

static void test_alloc(void **state)
{
    (void)state;
    assert_null(cf_alloc(SIZE_MAX, 2));
    assert_null(cf_realloc(NULL, SIZE_MAX, 2));
    cf_alloc_fail_at(2);
    CF_CLEANUP(cf_freep) char *a = cf_strdup("a");
    assert_non_null(a);
    assert_null(cf_strdup("b"));
    CF_CLEANUP(cf_freep) char *c = cf_strndup("cd", 1);
    assert_string_equal(c, "c");
    /* Exactly one fails, whichever thread meets it. */
    pthread_t threads[4];
    unsigned failed[4] = {0};
    cf_alloc_fail_at(20000);
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, alloc_many, &failed[i]), 0);
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_int_equal(failed[0] + failed[1] + failed[2] + failed[3], 1);
}

/* ---- hashes ---- */

typedef struct hash_case {
    const char *text, *sha256, *md5, *base64;
} hash_case;

static const hash_case hash_cases[] = {
    {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
     "d41d8cd98f00b204e9800998ecf8427e", ""},
    {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
     "900150983cd24fb0d6963f7d28e17f72", "YWJj"},
    {"a", "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb",
     "0cc175b9c0f1b6a831c399e269772661", "YQ=="},
    {"ab", "fb8e20fc2e4c3f248c60c39bd652f3c1347298bb977b8b4d5903b85055620603",
     "187ef4436122d1cc2f40dc2b92f0eba0", "YWI="},
};

static void test_hash(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(hash_cases) / sizeof(hash_cases[0]); i++) {
        const hash_case *const c = &hash_cases[i];
        const cf_slice s = cf_slice_str(c->text);
        uint8_t digest[CF_SHA256_LEN];
        uint8_t back[8];
        size_t back_len = 77;
        char text[CF_SHA256_HEX_SIZE];
        assert_int_equal(cf_sha256(s, digest, NULL), CF_OK);
        cf_hex_render(cf_slice_of(digest, CF_SHA256_LEN), text);
        assert_string_equal(text, c->sha256);
        assert_int_equal(cf_md5(s, digest, NULL), CF_OK);
        cf_hex_render(cf_slice_of(digest, CF_MD5_LEN), text);
        assert_string_equal(text, c->md5);
        cf_base64_render(s, text);
        assert_string_equal(text, c->base64);
        assert_true(cf_base64_parse(cf_slice_str(text), back, sizeof(back), &back_len));
        assert_true(cf_slice_eq(cf_slice_of(back, back_len), s));
    }
}

static void test_hash_running(void **state)
{
    (void)state;
    CF_CLEANUP(cf_hash_deinit) cf_hash h = {0};
    uint8_t whole[CF_SHA256_LEN];
    uint8_t parts[CF_SHA256_LEN];
    char hex[CF_SHA256_HEX_SIZE];
    assert_int_equal(cf_hash_init(&h, CF_HASH_SHA256, NULL), CF_OK);
    assert_int_equal(cf_hash_update(&h, cf_slice_str("lost"), NULL), CF_OK);
    assert_int_equal(cf_hash_init(&h, CF_HASH_SHA256, NULL), CF_OK); /* starts anew */
    assert_int_equal(cf_hash_update(&h, cf_slice_str("ab"), NULL), CF_OK);
    assert_int_equal(cf_hash_update(&h, (cf_slice){0}, NULL), CF_OK);
    assert_int_equal(cf_hash_update(&h, cf_slice_str("c"), NULL), CF_OK);
    assert_int_equal(cf_hash_final(&h, parts, NULL), CF_OK);
    assert_int_equal(cf_sha256(cf_slice_str("abc"), whole, NULL), CF_OK);
    assert_memory_equal(whole, parts, sizeof(whole));
    /* RFC 4231, case 2 */
    assert_int_equal(cf_hmac_sha256(cf_slice_str("Jefe"),
                                    cf_slice_str("what do ya want for nothing?"), whole, NULL),
                     CF_OK);
    cf_hex_render(cf_slice_of(whole, sizeof(whole)), hex);
    assert_string_equal(hex, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
}

static void test_text_refused(void **state)
{
    (void)state;
    static const char *const hex[] = {"", "0", "012", "0g", "01020", " 102", "01 2"};
    static const char *const base64[] = {
        "a", "YQ", "YQ=", "YQ===", "Y===", "YR==", "YWK=", "Y-Jj", "YW=j", "====", "YWJjZGVmZ2hp"};
    uint8_t ret[8];
    size_t len = 0;
    for (size_t i = 0; i < sizeof(hex) / sizeof(hex[0]); i++)
        if (cf_hex_parse(cf_slice_str(hex[i]), ret, 2))
            fail_msg("hex '%s'", hex[i]);
    for (size_t i = 0; i < sizeof(base64) / sizeof(base64[0]); i++)
        if (cf_base64_parse(cf_slice_str(base64[i]), ret, sizeof(ret), &len))
            fail_msg("base64 '%s'", base64[i]);
    assert_true(cf_hex_parse(cf_slice_str("aBcD"), ret, 2));
    assert_int_equal(ret[0] << 8 | ret[1], 0xabcd);
}

/* ---- secrets ---- */

static void test_secret(void **state)
{
    (void)state;
    CF_CLEANUP(cf_secret_deinit) cf_secret a = {0};
    CF_CLEANUP(cf_secret_deinit) cf_secret b = {0};
    static uint8_t large[CF_SECRET_LEN_MAX + 1];
    cf_error e = {0};
    assert_false(cf_secret_is_set(&a));
    assert_int_equal(cf_secret_set(&a, cf_slice_str("s"), NULL), CF_OK);
    assert_int_equal(cf_secret_dup(&b, &a, NULL), CF_OK);
    assert_true(cf_slice_eq(cf_secret_reveal(&b), cf_slice_str("s")));
    assert_int_equal(cf_secret_set(&a, cf_slice_of(large, sizeof(large)), &e), CF_ERR_TOO_LARGE);
    assert_true(cf_slice_eq(cf_secret_reveal(&a), cf_slice_str("s")));
    assert_int_equal(cf_secret_set(&a, cf_slice_of(large, sizeof(large) - 1), NULL), CF_OK);
    cf_alloc_fail_at(1);
    assert_int_equal(cf_secret_set(&b, cf_slice_str("t"), NULL), CF_ERR_NO_MEMORY);
    assert_true(cf_slice_eq(cf_secret_reveal(&b), cf_slice_str("s")));
}

static void test_redacted(void **state)
{
    (void)state;
    static const char *const yes[] = {"authorization", "X-Amz-Security-Token", "x-amz-signature",
                                      "x-amz-server-side-encryption-customer-key",
                                      "x-amz-server-side-encryption-customer-key-md5"};
    static const char *const no[] = {"", "host", "authorizations", "x-amz-server-side-encryption",
                                     "x-amz-date"};
    for (size_t i = 0; i < 5; i++) {
        assert_true(cf_redacted(cf_slice_str(yes[i])));
        assert_false(cf_redacted(cf_slice_str(no[i])));
    }
}

/* ---- UTF-8 ---- */

static void test_utf8(void **state)
{
    (void)state;
    static const char *const good[] = {"",
                                       "a",
                                       "\xC2\x80",
                                       "\xDF\xBF",
                                       "\xE0\xA0\x80",
                                       "\xED\x9F\xBF",
                                       "\xEE\x80\x80",
                                       "\xF0\x90\x80\x80",
                                       "\xF4\x8F\xBF\xBF"};
    static const char *const bad[] = {"\x80",
                                      "\xC1\xBF",
                                      "\xC2",
                                      "\xE0\x9F\xBF",
                                      "\xED\xA0\x80",
                                      "\xE2\x82",
                                      "\xF0\x8F\xBF\xBF",
                                      "\xF4\x90\x80\x80",
                                      "\xF5\x80\x80\x80",
                                      "a\xFF",
                                      "\xE2\x82\x41",
                                      "\xC3("};
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        assert_true(cf_utf8_valid(cf_slice_str(good[i])));
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        if (cf_utf8_valid(cf_slice_str(bad[i])))
            fail_msg("row %zu", i);
}

/* ---- world ---- */

static void test_world(void **state)
{
    (void)state;
    const cf_world *const w = cf_world_real();
    uint8_t a[600] = {0};
    uint8_t b[600] = {0};
    w->random(w->impl, a, sizeof(a));
    w->random(w->impl, b, sizeof(b));
    assert_memory_not_equal(a, b, sizeof(a));
    assert_memory_not_equal(a + 512, b + 512, 88);
    assert_true(w->now_utc_ms(w->impl) > 1700000000000);
    const uint64_t start_ms = w->mono_ms(w->impl);
    w->sleep_ms(w->impl, 60);
    const uint64_t slept_ms = w->mono_ms(w->impl) - start_ms;
    assert_true(slept_ms >= 60 && slept_ms < 5000);
    assert_false(w->stopping(w->impl));
    cf_world_request_stop();
    assert_true(w->stopping(w->impl));
    w->sleep_ms(w->impl, 3600000); /* returns at once */
    assert_null(cf_env_get(NULL, "CHUNKFERRY_NO_SUCH_VARIABLE"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_error),        cmocka_unit_test(test_error_long),
        cmocka_unit_test(test_buf),          cmocka_unit_test(test_buf_growth),
        cmocka_unit_test(test_alloc),        cmocka_unit_test(test_hash),
        cmocka_unit_test(test_hash_running), cmocka_unit_test(test_text_refused),
        cmocka_unit_test(test_secret),       cmocka_unit_test(test_redacted),
        cmocka_unit_test(test_utf8),         cmocka_unit_test(test_world),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
