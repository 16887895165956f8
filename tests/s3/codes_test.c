/* SPDX-License-Identifier: Apache-2.0
 *
 * The table of codes: sorted, and in agreement with AWS's list and the SDKs' lists
 * (../shared/vectors, when there).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <jansson.h>
#include <stdio.h>

#include "s3/base/cleanup.h"
#include "s3/codes.h"

static void json_freep(json_t **json)
{
    json_decref(*json);
}

static void test_sorted(void **state)
{
    (void)state;
    size_t total = 0;
    const s3_code *const rows = s3_code_rows(&total);
    for (size_t i = 1; i < total; i++)
        if (strcmp(rows[i - 1].name, rows[i].name) >= 0)
            fail_msg("'%s' stands before '%s'", rows[i - 1].name, rows[i].name);
}

typedef struct code_case {
    const char *title, *name;
    int status;
    cf_err err;
    s3_code_class code_class;
} code_case;

static const code_case code_cases[] = {
    {"a throttle", "SlowDown", 503, CF_ERR_THROTTLED, S3_CODE_THROTTLE},
    {"a timeout that comes as 400", "RequestTimeout", 400, CF_ERR_TIMEOUT, S3_CODE_TRANSIENT},
    {"an error inside a 200", "InternalError", 200, CF_ERR_SERVER, S3_CODE_TRANSIENT},
    {"an unknown error inside a 200", "NewError", 200, CF_ERR_SERVER, S3_CODE_TRANSIENT},
    {"denied inside a 200", "AccessDenied", 200, CF_ERR_DENIED, S3_CODE_FINAL},
    {"HEAD without a body: 404", "", 404, CF_ERR_NOT_FOUND, S3_CODE_FINAL},
    {"HEAD without a body: 403", "", 403, CF_ERR_DENIED, S3_CODE_FINAL},
    {"HEAD without a body: 412", "", 412, CF_ERR_PRECONDITION, S3_CODE_FINAL},
    {"HEAD without a body: 301", "", 301, CF_ERR_REGION, S3_CODE_REGION},
    {"an unknown 400", "Whatever", 400, CF_ERR_REQUEST, S3_CODE_FINAL},
    {"a plain 500", "", 500, CF_ERR_SERVER, S3_CODE_TRANSIENT},
    {"a 502 of a proxy", "", 502, CF_ERR_SERVER, S3_CODE_TRANSIENT},
    {"501 never heals", "", 501, CF_ERR_UNSUPPORTED, S3_CODE_FINAL},
    {"429", "", 429, CF_ERR_THROTTLED, S3_CODE_THROTTLE},
    {"a case that differs is another code", "slowdown", 400, CF_ERR_REQUEST, S3_CODE_FINAL},
    {"an expired token", "ExpiredToken", 400, CF_ERR_AUTH, S3_CODE_CREDENTIALS},
    {"a wrong key is final", "InvalidAccessKeyId", 403, CF_ERR_AUTH, S3_CODE_FINAL},
    {"a wrong signature may be a clock", "SignatureDoesNotMatch", 403, CF_ERR_AUTH,
     S3_CODE_SKEW_MAYBE},
    {"a clock", "RequestTimeTooSkewed", 403, CF_ERR_SKEW, S3_CODE_SKEW},
    {"bytes damaged on the way", "BadDigest", 400, CF_ERR_PROTOCOL, S3_CODE_INTEGRITY},
    {"a conditional race", "ConditionalRequestConflict", 409, CF_ERR_CONFLICT, S3_CODE_CONFLICT},
    {"no bucket is not no object", "NoSuchBucket", 404, CF_ERR_NO_BUCKET, S3_CODE_FINAL},
};

static void test_cases(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(code_cases) / sizeof(code_cases[0]); i++) {
        const code_case *const c = &code_cases[i];
        const s3_code found = s3_code_classify(cf_slice_str(c->name), c->status);
        if (found.err != c->err || found.code_class != c->code_class)
            fail_msg("%s: %s, class %d", c->title, cf_err_name(found.err), found.code_class);
    }
}

/* Codes whose status alone would be misread: 4xx that are worth another try, or 5xx that are not.
 */
static void test_published(void **state)
{
    (void)state;
    CF_CLEANUP(json_freep)
    json_t *file = json_load_file("../shared/vectors/s3/s3-error-codes.json", 0, NULL);
    if (file == NULL) {
        print_message("skipped: ../shared/vectors not present\n");
        skip();
    }
    unsigned by_table = 0;
    unsigned by_status = 0;
    size_t i = 0;
    const json_t *row = NULL;
    json_array_foreach(json_object_get(file, "codes"), i, row)
    {
        const char *const name = json_string_value(json_object_get(row, "code"));
        const int status = (int)json_integer_value(json_object_get(row, "http"));
        const s3_code found = s3_code_classify(cf_slice_str(name), status);
        by_table += found.name != NULL ? 1 : 0;
        by_status += found.name == NULL ? 1 : 0;
        if (found.name != NULL || status == 0)
            continue;
        /* Not in the table: a client error that no other try would change. A 409 without a row
         * is a conflict that may pass. */
        if (status < 300 || (status >= 500 && status != 501) ||
            (found.code_class != S3_CODE_FINAL && status != 409))
            fail_msg("'%s' (%d) is classed %d by its status alone", name, status, found.code_class);
    }
    print_message("codes: %u by the table, %u by status\n", by_table, by_status);
    assert_int_equal(by_table + by_status, 136);
}

static void list_check(const json_t *names, s3_code_class expected)
{
    size_t i = 0;
    const json_t *name = NULL;
    assert_true(json_array_size(names) > 0);
    json_array_foreach(names, i, name)
    {
        const s3_code *const found = s3_code_find(cf_slice_str(json_string_value(name)));
        if (found == NULL || found->code_class != expected)
            fail_msg("'%s' is not of class %d", json_string_value(name), expected);
    }
}

static void test_retry_lists(void **state)
{
    (void)state;
    CF_CLEANUP(json_freep)
    json_t *file = json_load_file("../shared/vectors/retry/standard-retry-cases.json", 0, NULL);
    if (file == NULL) {
        print_message("skipped: ../shared/vectors not present\n");
        skip();
    }
    list_check(json_object_get(file, "throttling_codes"), S3_CODE_THROTTLE);
    list_check(json_object_get(file, "transient_codes"), S3_CODE_TRANSIENT);
    size_t i = 0;
    const json_t *status = NULL;
    json_array_foreach(json_object_get(file, "transient_http"), i, status)
    {
        const s3_code found = s3_code_classify(cf_slice_str(""), (int)json_integer_value(status));
        assert_true(found.code_class == S3_CODE_TRANSIENT || found.code_class == S3_CODE_THROTTLE);
        assert_true(cf_err_retryable(found.err));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sorted),
        cmocka_unit_test(test_cases),
        cmocka_unit_test(test_published),
        cmocka_unit_test(test_retry_lists),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
