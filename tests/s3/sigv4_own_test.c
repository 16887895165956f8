/* SPDX-License-Identifier: Apache-2.0
 *
 * Where S3 differs from the published suites, with literal expectations: runs on any machine.
 * The signatures were computed by hmac and hashlib of Python from the literal canonical requests.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <stdio.h>

#include "s3/base/alloc.h"
#include "s3/base/cleanup.h"
#include "s3/sigv4.h"

#define HASH S3_PAYLOAD_EMPTY
#define TAIL                                                                                       \
    "x-amz-content-sha256:" HASH                                                                   \
    "\nx-amz-date:20261121T143100Z\n\nhost;x-amz-content-sha256;x-amz-date\n" HASH
enum { NOW_S = 1795271460 }; /* 2026-11-21T14:31:00Z */

typedef struct sign_case {
    const char *title;
    const char *key; /* not encoded */
    s3_pair query[3];
    size_t query_total;
    const char *host, *token, *canonical;
} sign_case;

#define S(text)                                                                                    \
    {                                                                                              \
        (const uint8_t *)(text), sizeof(text) - 1                                                  \
    }

static const sign_case sign_cases[] = {
    {"a plain key", "a/key", {{S(""), S("")}}, 0, "h", NULL, "GET\n/a/key\n\nhost:h\n" TAIL},
    {"no double encoding of a percent sign",
     "100%25",
     {{S(""), S("")}},
     0,
     "h",
     NULL,
     "GET\n/100%2525\n\nhost:h\n" TAIL},
    {"no normalisation of dots and slashes",
     "a//./b/../c",
     {{S(""), S("")}},
     0,
     "h",
     NULL,
     "GET\n/a//./b/../c\n\nhost:h\n" TAIL},
    {"a plus is %2B", "a+b", {{S(""), S("")}}, 0, "h", NULL, "GET\n/a%2Bb\n\nhost:h\n" TAIL},
    {"a tilde stays", "~a", {{S(""), S("")}}, 0, "h", NULL, "GET\n/~a\n\nhost:h\n" TAIL},
    {"a space is %20", "a b", {{S(""), S("")}}, 0, "h", NULL, "GET\n/a%20b\n\nhost:h\n" TAIL},
    {"UTF-8 byte by byte",
     "\xC3\xA9\xF0\x9F\x98\x80",
     {{S(""), S("")}},
     0,
     "h",
     NULL,
     "GET\n/%C3%A9%F0%9F%98%80\n\nhost:h\n" TAIL},
    {"reserved characters of a path",
     "=:$,;!'()*@&?#[]",
     {{S(""), S("")}},
     0,
     "h",
     NULL,
     "GET\n/%3D%3A%24%2C%3B%21%27%28%29%2A%40%26%3F%23%5B%5D\n\nhost:h\n" TAIL},
    {"an empty query value keeps its '='",
     "k",
     {{S("uploads"), S("")}},
     1,
     "h",
     NULL,
     "GET\n/k\nuploads=\nhost:h\n" TAIL},
    {"equal query keys are sorted by value",
     "k",
     {{S("a"), S("2")}, {S("a"), S("1")}, {S("A"), S("9")}},
     3,
     "h",
     NULL,
     "GET\n/k\nA=9&a=1&a=2\nhost:h\n" TAIL},
    {"a shorter query key goes first",
     "k",
     {{S("a-"), S("1")}, {S("a"), S("2")}},
     2,
     "h",
     NULL,
     "GET\n/k\na=2&a-=1\nhost:h\n" TAIL},
    {"a token with + / = in a query",
     "k",
     {{S("continuation-token"), S("a+b/c=")}},
     1,
     "h",
     NULL,
     "GET\n/k\ncontinuation-token=a%2Bb%2Fc%3D\nhost:h\n" TAIL},
    {"a port in the host",
     "k",
     {{S(""), S("")}},
     0,
     "127.0.0.1:9000",
     NULL,
     "GET\n/k\n\nhost:127.0.0.1:9000\n" TAIL},
    {"an IPv6 host",
     "k",
     {{S(""), S("")}},
     0,
     "[::1]:9000",
     NULL,
     "GET\n/k\n\nhost:[::1]:9000\n" TAIL},
    {"a session token is signed",
     "k",
     {{S(""), S("")}},
     0,
     "h",
     "tok/+=",
     "GET\n/k\n\nhost:h\nx-amz-content-sha256:" HASH
     "\nx-amz-date:20261121T143100Z\nx-amz-security-token:tok/+=\n\n"
     "host;x-amz-content-sha256;x-amz-date;x-amz-security-token\n" HASH},
};

typedef struct fixture {
    cf_secret secret, token;
    cf_buf path;
    s3_sigv4 s;
    s3_pair headers[4];
    s3_sigv4_request rq;
} fixture;

static void fixture_deinit(fixture *f)
{
    cf_secret_deinit(&f->secret);
    cf_secret_deinit(&f->token);
    cf_buf_deinit(&f->path);
    s3_sigv4_deinit(&f->s);
}

static void fixture_init(fixture *f, const char *key, const char *host)
{
    *f = (fixture){0};
    assert_int_equal(
        cf_secret_set(&f->secret, cf_slice_str("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"), NULL),
        CF_OK);
    cf_buf_init(&f->path, 8192);
    s3_sigv4_init(&f->s);
    assert_int_equal(cf_buf_append_char(&f->path, '/', NULL), CF_OK);
    assert_int_equal(s3_uri_encode(cf_slice_str(key), true, &f->path, NULL), CF_OK);
    f->headers[0] = (s3_pair){cf_slice_str("Host"), cf_slice_str(host)};
    f->headers[1] = (s3_pair){cf_slice_str("User-Agent"), cf_slice_str("not signed")};
    f->rq = (s3_sigv4_request){
        .mode = S3_SIGV4_S3,
        .method = "GET",
        .path = cf_buf_slice(&f->path),
        .headers = f->headers,
        .header_total = 2,
        .payload_hash = HASH,
        .region = "us-east-1",
        .service = "s3",
        .now_utc_ms = (int64_t)NOW_S * 1000,
        .access_key = "AKIDEXAMPLE",
        .secret_key = &f->secret,
        .session_token = &f->token,
    };
}

static void test_canonical(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(sign_cases) / sizeof(sign_cases[0]); i++) {
        const sign_case *const c = &sign_cases[i];
        CF_CLEANUP(fixture_deinit) fixture f;
        const char *found = NULL;
        fixture_init(&f, c->key, c->host);
        f.rq.query = c->query;
        f.rq.query_total = c->query_total;
        if (c->token != NULL)
            assert_int_equal(cf_secret_set(&f.token, cf_slice_str(c->token), NULL), CF_OK);
        assert_int_equal(s3_sigv4_sign(&f.rq, NULL, &f.s, NULL), CF_OK);
        assert_int_equal(cf_buf_get_str(&f.s.canonical_request, &found, NULL), CF_OK);
        if (strcmp(found, c->canonical) != 0)
            print_error("case '%s'\n", c->title);
        assert_string_equal(found, c->canonical);
    }
}

static void test_whole(void **state)
{
    (void)state;
    CF_CLEANUP(fixture_deinit) fixture f;
    const char *text = NULL;
    fixture_init(&f, "a b+c", "127.0.0.1:9000");
    assert_int_equal(s3_sigv4_sign(&f.rq, NULL, &f.s, NULL), CF_OK);
    assert_string_equal(f.s.amz_date, "20261121T143100Z");
    assert_int_equal(cf_buf_get_str(&f.s.string_to_sign, &text, NULL), CF_OK);
    assert_string_equal(
        text, "AWS4-HMAC-SHA256\n20261121T143100Z\n20261121/us-east-1/s3/"
              "aws4_request\n8afa23b411f12198b46b85c4f459347e8574e7941bda0e93d847077717ba63c7");
    assert_string_equal(f.s.signature,
                        "6c19eae4d3bd640ac435bb21a17a57e00623e29bea9725dd9e77a4bb3fe24d29");
    assert_int_equal(cf_buf_get_str(&f.s.authorization, &text, NULL), CF_OK);
    assert_string_equal(
        text, "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261121/us-east-1/s3/aws4_request, "
              "SignedHeaders=host;x-amz-content-sha256;x-amz-date, "
              "Signature=6c19eae4d3bd640ac435bb21a17a57e00623e29bea9725dd9e77a4bb3fe24d29");
}

/* The key is computed once a day, region, service and secret. */
static void test_key_cache(void **state)
{
    (void)state;
    CF_CLEANUP(fixture_deinit) fixture f;
    CF_CLEANUP(s3_sigv4_key_deinit) s3_sigv4_key key = {0};
    fixture_init(&f, "k", "h");
    assert_int_equal(s3_sigv4_sign(&f.rq, &key, &f.s, NULL), CF_OK);
    assert_int_equal(s3_sigv4_sign(&f.rq, &key, &f.s, NULL), CF_OK);
    assert_int_equal(key.derived_total, 1);
    char before[CF_SHA256_HEX_SIZE];
    memcpy(before, f.s.signature, sizeof(before));
    f.rq.now_utc_ms += 86400 * 1000;
    assert_int_equal(s3_sigv4_sign(&f.rq, &key, &f.s, NULL), CF_OK);
    assert_int_equal(key.derived_total, 2);
    f.rq.region = "eu-west-1";
    assert_int_equal(s3_sigv4_sign(&f.rq, &key, &f.s, NULL), CF_OK);
    assert_int_equal(key.derived_total, 3);
    assert_int_equal(cf_secret_set(&f.secret, cf_slice_str("renewed"), NULL), CF_OK);
    assert_int_equal(s3_sigv4_sign(&f.rq, &key, &f.s, NULL), CF_OK);
    assert_int_equal(key.derived_total, 4);
    assert_string_not_equal(before, f.s.signature);
}

typedef struct refused_case {
    const char *title;
    s3_pair header; /* in place of User-Agent */
    size_t header_total;
    const char *message;
} refused_case;

static const refused_case refused_cases[] = {
    {"no host", {{0}, {0}}, 0, "a request without a host header cannot be signed"},
    {"no name", {S(""), S("v")}, 2, "a header has no name"},
    {"a line break in a value",
     {S("X-A"), S("v\r\nevil: 1")},
     2,
     "header 'x-a' has a line break or NUL in its value"},
    {"a NUL in a value",
     {S("x-a"), S("v\0w")},
     2,
     "header 'x-a' has a line break or NUL in its value"},
    {"a line break in a name",
     {S("x\na"), S("v")},
     2,
     "a header's name has a line break or NUL in it"},
    {"what the signer adds",
     {S("X-Amz-Date"), S("v")},
     2,
     "header 'x-amz-date' is added by signing, it must not be given"},
};

static void test_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(refused_cases) / sizeof(refused_cases[0]); i++) {
        const refused_case *const c = &refused_cases[i];
        CF_CLEANUP(fixture_deinit) fixture f;
        cf_error e = {0};
        fixture_init(&f, "k", "h");
        f.headers[1] = c->header;
        f.rq.header_total = c->header_total;
        if (s3_sigv4_sign(&f.rq, NULL, &f.s, &e) != CF_ERR_USAGE)
            print_error("case '%s'\n", c->title);
        assert_int_equal(e.code, CF_ERR_USAGE);
        assert_string_equal(e.message, c->message);
    }
}

static void test_region_limit(void **state)
{
    (void)state;
    CF_CLEANUP(fixture_deinit) fixture f;
    cf_error e = {0};
    char region[S3_SIGV4_REGION_SIZE + 1];
    memset(region, 'a', sizeof(region));
    region[S3_SIGV4_REGION_SIZE] = '\0';
    fixture_init(&f, "k", "h");
    f.rq.region = region;
    assert_int_equal(s3_sigv4_sign(&f.rq, NULL, &f.s, &e), CF_ERR_USAGE);
    region[S3_SIGV4_REGION_SIZE - 1] = '\0';
    assert_int_equal(s3_sigv4_sign(&f.rq, NULL, &f.s, &e), CF_OK);
}

static void test_decode(void **state)
{
    (void)state;
    static const char *const bad[] = {"%", "a%4", "%zz", "%4g", "100%"};
    CF_CLEANUP(cf_buf_deinit) cf_buf b = {0};
    cf_buf_init(&b, 64);
    assert_int_equal(s3_uri_decode(cf_slice_str("a%2fb+%C3%a9"), false, &b, NULL), CF_OK);
    assert_true(cf_slice_eq(cf_buf_slice(&b), cf_slice_str("a/b+\xC3\xA9")));
    cf_buf_clear(&b);
    assert_int_equal(s3_uri_decode(cf_slice_str("a+%2B"), true, &b, NULL), CF_OK);
    assert_true(cf_slice_eq(cf_buf_slice(&b), cf_slice_str("a +")));
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(s3_uri_decode(cf_slice_str(bad[i]), false, &b, NULL), CF_ERR_PARSE);
    cf_buf_clear(&b);
    assert_int_equal(
        s3_uri_encode(cf_slice_str("0123456789012345678901                                 "),
                      false, &b, NULL),
        CF_ERR_TOO_LARGE);
    assert_int_equal(b.len, 0);
}

/* Every allocation fails once: the error is told, nothing leaks. */
static void test_no_memory(void **state)
{
    (void)state;
    cf_err err = CF_ERR_NO_MEMORY;
    unsigned long n = 0;
    while (err == CF_ERR_NO_MEMORY) {
        CF_CLEANUP(fixture_deinit) fixture f;
        const s3_pair query[] = {{S("b"), S("1")}, {S("a"), S("2")}};
        fixture_init(&f, "k", "h");
        f.rq.query = query;
        f.rq.query_total = 2;
        cf_alloc_fail_at(++n);
        err = s3_sigv4_sign(&f.rq, NULL, &f.s, NULL);
        cf_alloc_fail_at(0);
    }
    assert_int_equal(err, CF_OK);
    assert_true(n > 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_canonical),    cmocka_unit_test(test_whole),
        cmocka_unit_test(test_key_cache),    cmocka_unit_test(test_refused),
        cmocka_unit_test(test_region_limit), cmocka_unit_test(test_decode),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
