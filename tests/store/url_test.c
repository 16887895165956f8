/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/store/conformance_util.h"

static void parses(void **state)
{
    static const struct {
        const char *title, *url;
        bool is_s3;
        const char *bucket, *prefix, *path;
    } rows[] = {
        {"bucket", "s3://backups", true, "backups", "", NULL},
        {"bucket and slash", "s3://backups/", true, "backups", "", NULL},
        {"bucket and prefix", "s3://backups/ledger", true, "backups", "ledger", NULL},
        {"deep prefix", "s3://backups/a/b/c", true, "backups", "a/b/c", NULL},
        {"slashes at the ends go", "s3://backups//a/b//", true, "backups", "a/b", NULL},
        {"shortest bucket", "s3://abc", true, "abc", "", NULL},
        {"old bucket names", "s3://My_Bucket.x-1/p", true, "My_Bucket.x-1", "p", NULL},
        {"all bytes of a prefix", "s3://backups/A-Z_0.9", true, "backups", "A-Z_0.9", NULL},
        {"path", "file:///srv/backup", false, NULL, NULL, "/srv/backup"},
        {"slash at the end goes", "file:///srv/backup//", false, NULL, NULL, "/srv/backup"},
        {"spaces and percent are themselves", "file:///srv/my disk/%20", false, NULL, NULL,
         "/srv/my disk/%20"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        cf_error e = {0};
        CF_CLEANUP(cf_store_url_deinit) cf_store_url u = {0};
        CHECK_ERR(rows[i].title, &e, CF_OK, cf_store_url_parse(rows[i].url, &u, &e));
        CHECK(rows[i].title, u.is_s3 == rows[i].is_s3);
        CHECK(rows[i].title, (u.bucket == NULL) == (rows[i].bucket == NULL));
        CHECK(rows[i].title, u.bucket == NULL || strcmp(u.bucket, rows[i].bucket) == 0);
        CHECK(rows[i].title, (u.prefix == NULL) == (rows[i].prefix == NULL));
        CHECK(rows[i].title, u.prefix == NULL || strcmp(u.prefix, rows[i].prefix) == 0);
        CHECK(rows[i].title, (u.path == NULL) == (rows[i].path == NULL));
        CHECK(rows[i].title, u.path == NULL || strcmp(u.path, rows[i].path) == 0);
    }
}

#define HINT "\nHINT: --repo s3://bucket/prefix or --repo file:///path"
#define COMPONENT(url, name)                                                                       \
    "repository '" url "': the prefix has the component '" name                                    \
    "'; neither empty ones, '.' and '..', nor bytes "                                              \
    "but A-Z, a-z, 0-9, '.', '_', '-' are allowed" HINT

static void refuses(void **state)
{
    static const struct {
        const char *title, *url, *message;
    } rows[] = {
        {"empty", "", "the repository's URL is empty" HINT},
        {"bare path", "/srv/backup",
         "repository '/srv/backup' begins neither with s3:// nor with file://" HINT},
        {"other scheme", "http://x/y",
         "repository 'http://x/y' begins neither with s3:// nor with file://" HINT},
        {"upper case scheme", "S3://x",
         "repository 'S3://x' begins neither with s3:// nor with file://" HINT},
        {"one slash", "s3:/backups",
         "repository 's3:/backups' begins neither with s3:// nor with file://" HINT},
        {"no bucket", "s3://", "repository 's3://' names no bucket" HINT},
        {"no bucket, a prefix", "s3:///p", "repository 's3:///p' names no bucket" HINT},
        {"short bucket", "s3://ab",
         "repository 's3://ab': the bucket's name has 2 bytes, 3 are needed"},
        {"bad byte in the bucket", "s3://my bucket",
         "repository 's3://my bucket': the bucket's name has the byte 0x20" HINT},
        {"query", "s3://backups?x=1",
         "repository 's3://backups?x=1': the bucket's name has the byte 0x3f" HINT},
        {"empty component", "s3://backups/a//b", COMPONENT("s3://backups/a//b", "")},
        {"dot dot", "s3://backups/a/../b", COMPONENT("s3://backups/a/../b", "..")},
        {"dot", "s3://backups/./b", COMPONENT("s3://backups/./b", ".")},
        {"space in the prefix", "s3://backups/a b", COMPONENT("s3://backups/a b", "a b")},
        {"relative", "file://srv/backup",
         "repository 'file://srv/backup' is not an absolute path: three slashes are needed\nHINT: "
         "--repo file:///path"},
        {"nothing", "file://",
         "repository 'file://' is not an absolute path: three slashes are needed\nHINT: --repo "
         "file:///path"},
        {"root", "file:///", "repository 'file:///' is the root directory" HINT},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        cf_error e = {0};
        cf_store_url u = {.path = NULL};
        CHECK_ERR(rows[i].title, &e, CF_ERR_USAGE, cf_store_url_parse(rows[i].url, &u, &e));
        assert_string_equal(e.message, rows[i].message);
        CHECK(rows[i].title, u.bucket == NULL && u.prefix == NULL && u.path == NULL);
    }
}

static void limits_lengths(void **state)
{
    char url[512] = "s3://backups/";
    char bucket[512] = "s3://";
    cf_error e = {0};
    CF_CLEANUP(cf_store_url_deinit) cf_store_url u = {0};
    (void)state;
    memset(url + 13, 'p', CF_STORE_PREFIX_LEN_MAX);
    CHECK_ERR("longest prefix", &e, CF_OK, cf_store_url_parse(url, &u, &e));
    CHECK("longest prefix", strlen(u.prefix) == CF_STORE_PREFIX_LEN_MAX);
    url[13 + CF_STORE_PREFIX_LEN_MAX] = 'p';
    cf_store_url_deinit(&u);
    CHECK_ERR("one byte more", &e, CF_ERR_USAGE, cf_store_url_parse(url, &u, &e));
    CHECK("one byte more", strstr(e.message, "the prefix has 124 bytes, 123 are allowed") != NULL);
    memset(bucket + 5, 'b', 255);
    CHECK_ERR("longest bucket", &e, CF_OK, cf_store_url_parse(bucket, &u, &e));
    bucket[260] = 'b';
    cf_store_url_deinit(&u);
    CHECK_ERR("one byte more", &e, CF_ERR_USAGE, cf_store_url_parse(bucket, &u, &e));
    CHECK("one byte more",
          strstr(e.message, "the bucket's name has 256 bytes, 255 are allowed") != NULL);
}

static void survives_failed_allocations(void **state)
{
    static const char *const urls[] = {"s3://backups/p", "file:///p"};
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        cf_err err = CF_ERR_NO_MEMORY;
        for (unsigned long n = 1; err != CF_OK; n++) {
            CF_CLEANUP(cf_store_url_deinit) cf_store_url u = {0};
            cf_alloc_fail_at(n);
            err = cf_store_url_parse(urls[i], &u, NULL);
            cf_alloc_fail_at(0);
            CHECK(urls[i], err == CF_OK || err == CF_ERR_NO_MEMORY);
        }
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(parses),
        cmocka_unit_test(refuses),
        cmocka_unit_test(limits_lengths),
        cmocka_unit_test(survives_failed_allocations),
    };
    return cmocka_run_group_tests_name("url", tests, NULL, NULL);
}
