/* SPDX-License-Identifier: Apache-2.0
 *
 * Verdict, answer heads and Content-Range: what servers say, and what it means.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "s3/object.h"
#include "s3/verdict.h"

#define ERR(code, more) "<Error><Code>" code "</Code><Message>text</Message>" more "</Error>"
#define NOW_MS          1795270000000 /* Sat, 21 Nov 2026 14:06:40 GMT */
#define DATE_SAME       "Date: Sat, 21 Nov 2026 14:06:40 GMT\n"
#define DATE_4_MIN      "Date: Sat, 21 Nov 2026 14:10:40 GMT\n"
#define DATE_LESS       "Date: Sat, 21 Nov 2026 14:10:39 GMT\n"
#define DATE_HOUR       "Date: Sat, 21 Nov 2026 13:06:40 GMT\n"

enum { HEAD = 1, BUCKET = 2, CREATE = 4, IN_200 = 8, FINAL_409 = 16 };

typedef struct row {
    const char *title;
    unsigned how;
    int status;
    const char *head, *body;
    cf_err err;
    s3_retry_class class_;
} row;

static const row rows[] = {
    {"good", 0, 200, "", "", CF_OK, S3_RETRY_FATAL},
    {"good, no content", 0, 204, "", "", CF_OK, S3_RETRY_FATAL},
    {"error under 200, not looked for", 0, 200, "", ERR("InternalError", ""), CF_OK,
     S3_RETRY_FATAL},
    {"error under 200", IN_200, 200, "", ERR("InternalError", ""), CF_ERR_SERVER, S3_RETRY_SERVER},
    {"error under 200 after white space", IN_200, 200, "", "  \n  " ERR("InternalError", ""),
     CF_ERR_SERVER, S3_RETRY_SERVER},
    {"final error under 200", IN_200, 200, "", ERR("AccessDenied", ""), CF_ERR_DENIED,
     S3_RETRY_FATAL},
    {"unknown error under 200", IN_200, 200, "", ERR("Surprise", ""), CF_ERR_SERVER,
     S3_RETRY_SERVER},
    {"result under 200", IN_200, 200, "", "<Result/>", CF_OK, S3_RETRY_FATAL},
    {"500", 0, 500, "", "", CF_ERR_SERVER, S3_RETRY_SERVER},
    {"SlowDown", 0, 503, "", ERR("SlowDown", ""), CF_ERR_THROTTLED, S3_RETRY_THROTTLE},
    {"bare 503", HEAD, 503, "", "", CF_ERR_THROTTLED, S3_RETRY_THROTTLE},
    {"ServiceUnavailable", 0, 503, "", ERR("ServiceUnavailable", ""), CF_ERR_SERVER,
     S3_RETRY_SERVER},
    {"no key", 0, 404, "", ERR("NoSuchKey", ""), CF_ERR_NOT_FOUND, S3_RETRY_FATAL},
    {"no key, HEAD", HEAD, 404, "", "", CF_ERR_NOT_FOUND, S3_RETRY_FATAL},
    {"no bucket", 0, 404, "", ERR("NoSuchBucket", ""), CF_ERR_NO_BUCKET, S3_RETRY_FATAL},
    {"no bucket, HEAD", HEAD | BUCKET, 404, "", "", CF_ERR_NO_BUCKET, S3_RETRY_FATAL},
    {"precondition", 0, 412, "", ERR("PreconditionFailed", ""), CF_ERR_PRECONDITION,
     S3_RETRY_FATAL},
    {"conflict", 0, 409, "", ERR("ConditionalRequestConflict", ""), CF_ERR_CONFLICT,
     S3_RETRY_SERVER},
    {"conflict at Complete", FINAL_409, 409, "", ERR("ConditionalRequestConflict", ""),
     CF_ERR_CONFLICT, S3_RETRY_FATAL},
    {"request timeout", 0, 400, "", ERR("RequestTimeout", ""), CF_ERR_TIMEOUT, S3_RETRY_SERVER},
    {"expired token", 0, 400, "", ERR("ExpiredToken", ""), CF_ERR_AUTH, S3_RETRY_CREDENTIALS},
    {"region in the header", 0, 301, "X-Amz-Bucket-Region: eu-west-1\n",
     ERR("PermanentRedirect", ""), CF_ERR_REGION, S3_RETRY_REGION},
    {"region in the body", 0, 400, "",
     ERR("AuthorizationHeaderMalformed", "<Region>eu-west-1</Region>"), CF_ERR_REGION,
     S3_RETRY_REGION},
    {"no region named", 0, 400, "", ERR("AuthorizationHeaderMalformed", ""), CF_ERR_REGION,
     S3_RETRY_FATAL},
    {"the region we used", 0, 301, "x-amz-bucket-region: us-east-1\n", "", CF_ERR_REGION,
     S3_RETRY_FATAL},
    {"a region that is none", 0, 301, "x-amz-bucket-region: evil.example/\n", "", CF_ERR_REGION,
     S3_RETRY_FATAL},
    {"HEAD 400 with a region", HEAD, 400, "x-amz-bucket-region: eu-west-1\n", "", CF_ERR_REQUEST,
     S3_RETRY_REGION},
    {"GET 400 with a region", 0, 400, "x-amz-bucket-region: eu-west-1\n",
     ERR("InvalidArgument", ""), CF_ERR_REQUEST, S3_RETRY_FATAL},
    {"creating in the wrong region is final", CREATE | BUCKET, 400, "",
     ERR("IllegalLocationConstraintException", "<Region>x</Region>"), CF_ERR_REGION,
     S3_RETRY_FATAL},
    {"bare redirect", 0, 307, "Location: http://other/\n", "", CF_ERR_REGION, S3_RETRY_FATAL},
    {"skew", 0, 403, DATE_SAME, ERR("RequestTimeTooSkewed", ""), CF_ERR_SKEW, S3_RETRY_SKEW},
    {"skew without a date", 0, 403, "", ERR("RequestTimeTooSkewed", ""), CF_ERR_SKEW,
     S3_RETRY_FATAL},
    {"skew, the time in the body", 0, 403, "",
     ERR("RequestTimeTooSkewed", "<ServerTime>2026-11-21T15:27:59Z</ServerTime>"), CF_ERR_SKEW,
     S3_RETRY_SKEW},
    {"signature, clock right", 0, 403, DATE_SAME, ERR("SignatureDoesNotMatch", ""), CF_ERR_AUTH,
     S3_RETRY_FATAL},
    {"signature, just under four minutes", 0, 403, DATE_LESS, ERR("SignatureDoesNotMatch", ""),
     CF_ERR_AUTH, S3_RETRY_FATAL},
    {"signature, four minutes", 0, 403, DATE_4_MIN, ERR("SignatureDoesNotMatch", ""), CF_ERR_SKEW,
     S3_RETRY_SKEW},
    {"signature, an hour before", 0, 403, DATE_HOUR, ERR("SignatureDoesNotMatch", ""), CF_ERR_SKEW,
     S3_RETRY_SKEW},
    {"HEAD 403, clock right", HEAD, 403, DATE_SAME, "", CF_ERR_DENIED, S3_RETRY_FATAL},
    {"HEAD 403, an hour before", HEAD, 403, DATE_HOUR, "", CF_ERR_SKEW, S3_RETRY_SKEW},
    {"GET denied, an hour before", 0, 403, DATE_HOUR, ERR("AccessDenied", ""), CF_ERR_DENIED,
     S3_RETRY_FATAL},
    {"a proxy's page", 0, 403, "Content-Type: text/html\n", "<html><body>no</body></html>",
     CF_ERR_DENIED, S3_RETRY_FATAL},
    {"an entity in the error", 0, 500, "",
     "<!DOCTYPE a [<!ENTITY b 'c'>]><Error><Code>AccessDenied</Code></Error>", CF_ERR_SERVER,
     S3_RETRY_SERVER},
};

static void answer_fill(s3_http_answer *a, int status, const char *head)
{
    s3_http_answer_init(a);
    a->end = S3_HTTP_END_ANSWER;
    a->status = status;
    while (*head != '\0') {
        const size_t len = strcspn(head, "\n") + 1;
        assert_int_equal(s3_http_answer_add(a, cf_slice_of(head, len), NULL), CF_OK);
        head += len;
    }
}

static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const row *r = &rows[i];
        const s3_verdict_opts o = {.is_head = (r->how & HEAD) != 0,
                                   .is_bucket = (r->how & BUCKET) != 0,
                                   .is_create_bucket = (r->how & CREATE) != 0,
                                   .error_in_200 = (r->how & IN_200) != 0,
                                   .conflict_is_final = (r->how & FINAL_409) != 0,
                                   .region = "us-east-1",
                                   .our_utc_ms = NOW_MS};
        s3_http_answer a;
        s3_verdict v;
        print_message("  %s\n", r->title);
        answer_fill(&a, r->status, r->head);
        s3_verdict_of_answer(&o, &a, cf_slice_str(r->body), &v);
        assert_string_equal(cf_err_name(v.err), cf_err_name(r->err));
        if (v.err != CF_OK)
            assert_int_equal(v.class_, r->class_);
        s3_http_answer_deinit(&a);
    }
}

static void test_head_lines(void **state)
{
    s3_http_answer a;
    char line[1024];

    (void)state;
    answer_fill(&a, 200, "ETag:  \"x\" \r\nX-Empty:\r\nDate: a: b\r\n\r\nno colon\n");
    assert_true(cf_slice_eq(s3_http_answer_get(&a, "etag"), cf_slice_str("\"x\"")));
    assert_true(cf_slice_eq(s3_http_answer_get(&a, "date"), cf_slice_str("a: b")));
    assert_int_equal(s3_http_answer_get(&a, "x-empty").len, 0);
    assert_non_null(s3_http_answer_get(&a, "x-empty").ptr);
    assert_null(s3_http_answer_get(&a, "eta").ptr);
    assert_null(s3_http_answer_get(&a, "no colon").ptr);
    memset(line, 'x', sizeof(line));
    line[0] = ':';
    cf_err err = CF_OK;
    size_t lines = 0;
    for (; err == CF_OK; lines++)
        err = s3_http_answer_add(&a, cf_slice_of(line, sizeof(line)), NULL);
    assert_int_equal(err, CF_ERR_PROTOCOL);
    assert_int_equal(lines, 64);
    s3_http_answer_deinit(&a);
}

static void test_content_range(void **state)
{
    static const char *const refused[] = {"",
                                          "bytes",
                                          "bytes ",
                                          "bytes */10",
                                          "bytes 0-9/*",
                                          "bytes 0-9",
                                          "0-9/10",
                                          "bytes 0-10/10",
                                          "bytes 5-4/10",
                                          "bytes -1/10",
                                          "bytes 0 -9/10",
                                          "bytes 0-9/10 ",
                                          "items 0-9/10",
                                          "bytes 0-99999999999999999999/10"};
    s3_content_range r = {0};

    (void)state;
    assert_true(s3_content_range_parse(cf_slice_str("bytes 2-9/10"), &r));
    assert_int_equal(r.first, 2);
    assert_int_equal(r.last, 9);
    assert_int_equal(r.total, 10);
    assert_true(s3_content_range_parse(cf_slice_str("bytes 0-0/1"), &r));
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        print_message("  '%s'\n", refused[i]);
        assert_false(s3_content_range_parse(cf_slice_str(refused[i]), &r));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_rows),
                                       cmocka_unit_test(test_head_lines),
                                       cmocka_unit_test(test_content_range)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
