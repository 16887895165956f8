/* SPDX-License-Identifier: Apache-2.0
 *
 * Endpoint: as many refused as accepted. Rows follow the AWS endpoint rules (s3proto.md 4.8) where
 * AWS is meant.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "s3/endpoint.h"

#define AUTO S3_ADDRESSING_AUTO
#define PATH S3_ADDRESSING_PATH
#define VIRT S3_ADDRESSING_VIRTUAL

typedef struct good_row {
    const char *title;
    s3_endpoint_opts in;
    bool https, aws, virtual_host;
    const char *host, *path, *region;
} good_row;

static const good_row good[] = {
    {"AWS, default region",
     {NULL, NULL, "bucket-name", AUTO},
     true,
     true,
     true,
     "bucket-name.s3.us-east-1.amazonaws.com",
     "",
     "us-east-1"},
    {"AWS, region",
     {"", "eu-west-1", "bucket", AUTO},
     true,
     true,
     true,
     "bucket.s3.eu-west-1.amazonaws.com",
     "",
     "eu-west-1"},
    {"AWS, China",
     {NULL, "cn-north-1", "bucket", AUTO},
     true,
     true,
     true,
     "bucket.s3.cn-north-1.amazonaws.com.cn",
     "",
     "cn-north-1"},
    {"AWS, dots on https",
     {NULL, NULL, "a.b.c", AUTO},
     true,
     true,
     false,
     "s3.us-east-1.amazonaws.com",
     "/a.b.c",
     "us-east-1"},
    {"AWS, dots on https, forced",
     {NULL, NULL, "a.b.c", VIRT},
     true,
     true,
     true,
     "a.b.c.s3.us-east-1.amazonaws.com",
     "",
     "us-east-1"},
    {"AWS, upper case",
     {NULL, NULL, "Bucket", AUTO},
     true,
     true,
     false,
     "s3.us-east-1.amazonaws.com",
     "/Bucket",
     "us-east-1"},
    {"AWS, underscore",
     {NULL, NULL, "a_b", AUTO},
     true,
     true,
     false,
     "s3.us-east-1.amazonaws.com",
     "/a_b",
     "us-east-1"},
    {"AWS, two letters",
     {NULL, NULL, "ab", AUTO},
     true,
     true,
     false,
     "s3.us-east-1.amazonaws.com",
     "/ab",
     "us-east-1"},
    {"AWS, three letters",
     {NULL, NULL, "abc", AUTO},
     true,
     true,
     true,
     "abc.s3.us-east-1.amazonaws.com",
     "",
     "us-east-1"},
    {"AWS, path asked for",
     {NULL, "eu-west-1", "bucket", PATH},
     true,
     true,
     false,
     "s3.eu-west-1.amazonaws.com",
     "/bucket",
     "eu-west-1"},
    {"AWS host by name, region from it",
     {"https://s3.eu-west-3.amazonaws.com", NULL, "bucket", AUTO},
     true,
     true,
     true,
     "bucket.s3.eu-west-3.amazonaws.com",
     "",
     "eu-west-3"},
    {"AWS host by name, region wins",
     {"https://s3.eu-west-3.amazonaws.com/", "us-west-2", "bucket", AUTO},
     true,
     true,
     true,
     "bucket.s3.us-west-2.amazonaws.com",
     "",
     "us-west-2"},
    {"AWS global host",
     {"https://s3.amazonaws.com", NULL, "bucket", AUTO},
     true,
     true,
     true,
     "bucket.s3.us-east-1.amazonaws.com",
     "",
     "us-east-1"},
    {"AWS dualstack is kept",
     {"https://s3.dualstack.eu-west-1.amazonaws.com", "eu-west-1", "bucket", AUTO},
     true,
     false,
     true,
     "bucket.s3.dualstack.eu-west-1.amazonaws.com",
     "",
     "eu-west-1"},
    {"custom, name",
     {"https://s3.example.com", NULL, "bucket", AUTO},
     true,
     false,
     false,
     "s3.example.com",
     "/bucket",
     "us-east-1"},
    {"custom, virtual",
     {"https://s3.example.com:9000", "garage", "bucket", VIRT},
     true,
     false,
     true,
     "bucket.s3.example.com:9000",
     "",
     "garage"},
    {"custom, IPv4 and port",
     {"http://127.0.0.1:7480", NULL, "bucket", AUTO},
     false,
     false,
     false,
     "127.0.0.1:7480",
     "/bucket",
     "us-east-1"},
    {"custom, IPv6",
     {"http://[::1]:7480", NULL, "bucket", AUTO},
     false,
     false,
     false,
     "[::1]:7480",
     "/bucket",
     "us-east-1"},
    {"custom, IPv6 without port",
     {"https://[FE80::1]", NULL, "bucket", AUTO},
     true,
     false,
     false,
     "[fe80::1]",
     "/bucket",
     "us-east-1"},
    {"custom, localhost",
     {"http://localhost:80", NULL, "bucket", AUTO},
     false,
     false,
     false,
     "localhost",
     "/bucket",
     "us-east-1"},
    {"custom, localhost, virtual",
     {"http://localhost:8080", NULL, "bucket", VIRT},
     false,
     false,
     true,
     "bucket.localhost:8080",
     "",
     "us-east-1"},
    {"default port goes, https",
     {"https://Host.Example:443", NULL, "bucket", AUTO},
     true,
     false,
     false,
     "host.example",
     "/bucket",
     "us-east-1"},
    {"port 443 on http stays",
     {"http://host.example:443", NULL, "bucket", AUTO},
     false,
     false,
     false,
     "host.example:443",
     "/bucket",
     "us-east-1"},
    {"port 80 on https stays",
     {"https://host.example:80", NULL, "bucket", AUTO},
     true,
     false,
     false,
     "host.example:80",
     "/bucket",
     "us-east-1"},
    {"own path",
     {"http://beta.example.com:1234/path", NULL, "bucket", AUTO},
     false,
     false,
     false,
     "beta.example.com:1234",
     "/path/bucket",
     "us-east-1"},
    {"own path, slashes at the end",
     {"http://beta.example.com/a/b//", NULL, "bucket", AUTO},
     false,
     false,
     false,
     "beta.example.com",
     "/a/b/bucket",
     "us-east-1"},
    {"own path, virtual",
     {"http://beta.example.com/a", NULL, "bucket", VIRT},
     false,
     false,
     true,
     "bucket.beta.example.com",
     "/a",
     "us-east-1"},
    {"AWS over http keeps http",
     {"http://s3.amazonaws.com", NULL, "a.b.c", AUTO},
     false,
     true,
     true,
     "a.b.c.s3.us-east-1.amazonaws.com",
     "",
     "us-east-1"},
};

typedef struct bad_row {
    const char *title;
    s3_endpoint_opts in;
    const char *message; /* part of it */
} bad_row;

static const bad_row bad[] = {
    {"no bucket", {NULL, NULL, NULL, AUTO}, "no bucket is given"},
    {"empty bucket", {NULL, NULL, "", AUTO}, "no bucket is given"},
    {"slash in the bucket", {NULL, NULL, "a/b", AUTO}, "a character that no bucket name may have"},
    {"dots", {NULL, NULL, "..", AUTO}, "'..' is no bucket name"},
    {"space in the bucket", {NULL, NULL, "a b", AUTO}, "a character that no bucket name may have"},
    {"no scheme",
     {"s3.example.com", NULL, "bucket", AUTO},
     "does not start with http:// or https://"},
    {"another scheme",
     {"ftp://s3.example.com", NULL, "bucket", AUTO},
     "does not start with http:// or https://"},
    {"capital scheme",
     {"HTTP://s3.example.com", NULL, "bucket", AUTO},
     "does not start with http:// or https://"},
    {"password",
     {"https://user:secret@s3.example.com", NULL, "bucket", AUTO},
     "holds a user or password"},
    {"password without scheme",
     {"user:secret@s3.example.com", NULL, "bucket", AUTO},
     "holds a user or password"},
    {"no host", {"https://", NULL, "bucket", AUTO}, "has no host"},
    {"no host, a port", {"https://:80", NULL, "bucket", AUTO}, "has no host"},
    {"no host, a path", {"https:///x", NULL, "bucket", AUTO}, "has no host"},
    {"query", {"https://h?x=1", NULL, "bucket", AUTO}, "has a query"},
    {"fragment", {"https://h#x", NULL, "bucket", AUTO}, "has a fragment"},
    {"port 0", {"https://h:0", NULL, "bucket", AUTO}, "has port 0, 1 to 65535"},
    {"port 65536", {"https://h:65536", NULL, "bucket", AUTO}, "has port 65536, 1 to 65535"},
    {"port text", {"https://h:x", NULL, "bucket", AUTO}, "has a port that is no number"},
    {"port empty", {"https://h:", NULL, "bucket", AUTO}, "has a port that is no number"},
    {"open bracket", {"https://[::1", NULL, "bucket", AUTO}, "'[' without ']'"},
    {"text behind the bracket",
     {"https://[::1]x", NULL, "bucket", AUTO},
     "has something behind its host that is neither a port nor a path"},
    {"bracket with a name",
     {"https://[host]", NULL, "bucket", AUTO},
     "a character that is not allowed"},
    {"space in the host", {"https://a b", NULL, "bucket", AUTO}, "a character that is not allowed"},
    {"percent in the path", {"https://h/a%2Fb", NULL, "bucket", AUTO}, "the path of endpoint"},
    {"line break in the host",
     {"https://h\r\nX: y", NULL, "bucket", AUTO},
     "a character that is not allowed"},
    {"region with a dot", {NULL, "a.b", "bucket", AUTO}, "region 'a.b' is not valid"},
    {"region with a slash", {NULL, "a/b", "bucket", AUTO}, "region 'a/b' is not valid"},
    {"region ending in a dash", {NULL, "a-", "bucket", AUTO}, "region 'a-' is not valid"},
    {"virtual on an address",
     {"http://127.0.0.1", NULL, "bucket", VIRT},
     "cannot be part of the address"},
    {"virtual, capital bucket",
     {"http://h.example", NULL, "Bucket", VIRT},
     "cannot be part of a host name"},
    {"virtual, bucket that looks like an address",
     {"http://h.example", NULL, "127.0.0.1", VIRT},
     "cannot be part of a host name"},
};

static void test_good(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        s3_endpoint ep;
        cf_error e = {0};
        print_message("  %s\n", good[i].title);
        if (s3_endpoint_resolve(&good[i].in, &ep, &e) != CF_OK)
            fail_msg("%s", e.message);
        assert_string_equal(ep.host, good[i].host);
        assert_string_equal(ep.path, good[i].path);
        assert_string_equal(ep.region, good[i].region);
        assert_int_equal(ep.https, good[i].https);
        assert_int_equal(ep.aws, good[i].aws);
        assert_int_equal(ep.virtual_host, good[i].virtual_host);
    }
}

static void test_bad(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        s3_endpoint ep = {.host = "untouched"};
        cf_error e = {0};
        print_message("  %s\n", bad[i].title);
        assert_int_equal(s3_endpoint_resolve(&bad[i].in, &ep, &e), CF_ERR_USAGE);
        if (strstr(e.message, bad[i].message) == NULL)
            fail_msg("'%s' is not in '%s'", bad[i].message, e.message);
        assert_null(strstr(e.message, "secret"));
        assert_string_equal(ep.host, "untouched");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_good), cmocka_unit_test(test_bad)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
