/* SPDX-License-Identifier: Apache-2.0
 *
 * Provider: keys that expire and are found anew in the file.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "s3/base/env.h"
#include "s3/provider.h"

static void keys_write(const char *path, const char *token)
{
    FILE *f = fopen(path, "w");

    assert_non_null(f);
    (void)fprintf(f,
                  "[default]\naws_access_key_id = A\naws_secret_access_key = very-secret\n"
                  "aws_session_token = %s\n",
                  token);
    assert_int_equal(fclose(f), 0);
}

static uint64_t token_expect(s3_provider *p, const char *token)
{
    s3_credentials found = {0};
    uint64_t generation = 0;

    assert_int_equal(s3_provider_get(p, &found, &generation, NULL), CF_OK);
    assert_true(cf_slice_eq(cf_secret_reveal(&found.session_token), cf_slice_str(token)));
    s3_credentials_deinit(&found);
    return generation;
}

/* Eight requests under way learn of it together: one of them looks, all go on. */
static void test_expired_for_many_at_once(void **state)
{
    char path[] = "/tmp/cf_provider_XXXXXX";
    const int fd = mkstemp(path);
    const s3_client_opts opts = {.env = cf_env_get};
    s3_provider *p = NULL;
    s3_settings settings = {0};
    cf_error e = {0};

    (void)state;
    assert_true(fd >= 0);
    assert_int_equal(close(fd), 0);
    assert_int_equal(setenv("AWS_SHARED_CREDENTIALS_FILE", path, 1), 0);
    assert_int_equal(setenv("AWS_CONFIG_FILE", "/dev/null", 1), 0);
    assert_int_equal(unsetenv("AWS_ACCESS_KEY_ID"), 0);
    assert_int_equal(unsetenv("AWS_SECRET_ACCESS_KEY"), 0);
    assert_int_equal(unsetenv("AWS_PROFILE"), 0);
    keys_write(path, "one");
    assert_int_equal(s3_provider_open(&opts, &p, &settings, &e), CF_OK);
    const uint64_t first = token_expect(p, "one");
    assert_int_equal(s3_provider_refresh(p, first, &e), CF_ERR_AUTH);
    assert_non_null(strstr(e.message, "has expired, and no other is there"));
    assert_null(strstr(e.message, "very-secret"));
    keys_write(path, "two");
    for (int i = 0; i < 8; i++)
        assert_int_equal(s3_provider_refresh(p, first, &e), CF_OK);
    const uint64_t second = token_expect(p, "two");
    assert_int_not_equal(first, second);
    assert_int_equal(s3_provider_refresh(p, second, &e), CF_ERR_AUTH);
    s3_provider_free(p);
    assert_int_equal(unlink(path), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_expired_for_many_at_once)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
