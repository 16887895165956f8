/* SPDX-License-Identifier: Apache-2.0
 *
 * The rules that all stores share, with their exact messages. That each store keeps them:
 * conformance.c.
 */
#include "tests/store/conformance_util.h"

static void checks_keys(void **state)
{
    static const struct {
        const char *key, *message; /* NULL: fine */
    } rows[] = {
        {"chunkferry.json", NULL},
        {"nodes/kdb-1/runs/20261121T143100Z-0a1b2c3d/0000000017-pack-chunk-000017.000002.zst",
         NULL},
        {"a/.b/..c/d..", NULL},
        {".chunkferry-tmp2/x", NULL},
        {"x/.chunkferry-tmp/y", NULL},
        {"", "a key is empty"},
        {"/a", "key '/a' has an empty component"},
        {"a/", "key 'a/' has an empty component"},
        {"a//b", "key 'a//b' has an empty component"},
        {".", "key '.' has the component '.'"},
        {"a/../b", "key 'a/../b' has the component '..'"},
        {"a b",
         "key 'a b' has the byte 0x20, only A-Z, a-z, 0-9, '.', '_', '-' and '/' are allowed"},
        {"a/\x80",
         "key 'a/\x80' has the byte 0x80, only A-Z, a-z, 0-9, '.', '_', '-' and '/' are allowed"},
        {".chunkferry-tmp",
         "key '.chunkferry-tmp' is in '.chunkferry-tmp', which is reserved for unfinished files"},
        {".chunkferry-tmp/x",
         "key '.chunkferry-tmp/x' is in '.chunkferry-tmp', which is reserved for unfinished files"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        cf_error e = {0};
        CHECK_ERR(rows[i].key, &e, rows[i].message == NULL ? CF_OK : CF_ERR_USAGE,
                  cf_store_key_check(rows[i].key, &e));
        if (rows[i].message != NULL)
            assert_string_equal(e.message, rows[i].message);
    }
}

static void checks_every_byte(void **state)
{
    static const char allowed[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
    (void)state;
    for (int c = 1; c < 256; c++) {
        const uint8_t name[3] = {'x', (uint8_t)c, 'y'};
        assert_int_equal(cf_store_component_ok(cf_slice_of(name, 3)), strchr(allowed, c) != NULL);
    }
    assert_false(cf_store_component_ok(cf_slice_of("a\0b", 3)));
    assert_false(cf_store_component_ok(cf_slice_of(NULL, 0)));
}

static void checks_ranges(void **state)
{
    static const struct {
        const char *title;
        uint64_t size, offset, len;
        cf_err err;
        uint64_t want;
    } rows[] = {
        {"whole", 10, 0, 0, CF_OK, 10},
        {"whole of nothing", 0, 0, 0, CF_OK, 0},
        {"last byte", 10, 9, 1, CF_OK, 1},
        {"rest", 10, 4, 0, CF_OK, 6},
        {"exabytes", UINT64_MAX, UINT64_MAX - 1, 1, CF_OK, 1},
        {"a byte of nothing", 0, 0, 1, CF_ERR_DAMAGE, 0},
        {"at the end", 10, 10, 0, CF_ERR_DAMAGE, 0},
        {"one too long", 10, 9, 2, CF_ERR_DAMAGE, 0},
        {"sum overflows", 10, 5, UINT64_MAX, CF_ERR_DAMAGE, 0},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        cf_error e = {0};
        uint64_t len = 77;
        CHECK_ERR(rows[i].title, &e, rows[i].err,
                  cf_store_range_check("k", rows[i].size, rows[i].offset, rows[i].len, &len, &e));
        CHECK(rows[i].title, len == (rows[i].err == CF_OK ? rows[i].want : 77));
    }
}

static void makes_ids(void **state)
{
    static const cf_put_opts given = {.id = "0123456789ABCDEF0123456789abcdef"};
    static const cf_put_opts bad[] = {
        {.id = ""},
        {.id = "0123456789abcdef0123456789abcde"},
        {.id = "0123456789abcdef0123456789abcdef0"},
        {.id = "z123456789abcdef0123456789abcdef"},
    };
    char id[CF_STORE_ID_LEN + 1];
    char other[CF_STORE_ID_LEN + 1];
    cf_error e = {0};
    (void)state;
    CHECK_ERR("given", &e, CF_OK, cf_store_id_make(&given, cf_world_real(), id, &e));
    assert_string_equal(id, "0123456789abcdef0123456789abcdef");
    CHECK_ERR("random", &e, CF_OK, cf_store_id_make(NULL, cf_world_real(), id, &e));
    CHECK_ERR("random", &e, CF_OK, cf_store_id_make(&(cf_put_opts){0}, cf_world_real(), other, &e));
    CHECK("random", strlen(id) == CF_STORE_ID_LEN && strcmp(id, other) != 0);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        CHECK_ERR(bad[i].id, &e, CF_ERR_USAGE, cf_store_id_make(&bad[i], cf_world_real(), id, &e));
    cf_store_free(NULL);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(checks_keys),
        cmocka_unit_test(checks_every_byte),
        cmocka_unit_test(checks_ranges),
        cmocka_unit_test(makes_ids),
    };
    return cmocka_run_group_tests_name("store", tests, NULL, NULL);
}
