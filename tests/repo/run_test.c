/* SPDX-License-Identifier: Apache-2.0 */
#include "fixture.h"

#include "repo/run.h"

static void test_ids(void **state)
{
    (void)state;
    static const struct {
        const char *title, *text;
        bool good;
    } cases[] = {
        {"an id", "20261121T143100Z-0123abcd", true},
        {"the last second of the year 9999", "99991231T235959Z-ffffffff", true},
        {"a leap day", "20240229T000000Z-00000000", true},
        {"no leap day", "20230229T000000Z-00000000", false},
        {"month 13", "20261321T143100Z-0123abcd", false},
        {"hour 24", "20261121T243100Z-0123abcd", false},
        {"upper-case digits", "20261121T143100Z-0123ABCD", false},
        {"one digit less", "20261121T143100Z-0123abc", false},
        {"one digit more", "20261121T143100Z-0123abcde", false},
        {"another separator", "20261121T143100Z_0123abcd", false},
        {"a slash", "20261121T143100Z-0123abc/", false},
        {"empty", "", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        cf_run_id id = {"untouched"};
        if (cf_run_id_parse(cf_slice_str(cases[i].text), &id) != cases[i].good)
            fail_msg("%s", cases[i].title);
        assert_string_equal(id.text, cases[i].good ? cases[i].text : "untouched");
    }
}

static void test_make_id(void **state)
{
    (void)state;
    static const struct {
        const char *title;
        int64_t utc_s;
        const char *newest, *expected;
    } cases[] = {
        {"no newest", FIXTURE_UTC_S, "", "20261121T143100Z-00c0ffee"},
        {"an older newest", FIXTURE_UTC_S, "20261121T143059Z-ffffffff",
         "20261121T143100Z-00c0ffee"},
        {"a newest of the same second", FIXTURE_UTC_S, "20261121T143100Z-00000000",
         "20261121T143101Z-00c0ffee"},
        {"a newest from a wrong clock", FIXTURE_UTC_S, "20991231T235959Z-00000000",
         "21000101T000000Z-00c0ffee"},
        {"a newest at the end of time", FIXTURE_UTC_S, "99991231T235959Z-00000000",
         "99991231T235959Z-00c0ffee"},
        {"a store before 1970", -5, "", "19700101T000000Z-00c0ffee"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        cf_run_id newest = {""};
        cf_run_id id = {""};
        (void)snprintf(newest.text, sizeof(newest.text), "%s", cases[i].newest);
        cf_run_id_make(cases[i].utc_s * 1000, &newest, 0xc0ffee, &id);
        if (strcmp(id.text, cases[i].expected) != 0)
            fail_msg("%s: %s", cases[i].title, id.text);
    }
    cf_run_id floor = {""};
    cf_run_id_floor((int64_t)FIXTURE_UTC_S * 1000 + 999, &floor);
    assert_string_equal(floor.text, "20261121T143100Z-00000000");
}

static void test_node_names(void **state)
{
    (void)state;
    char long_name[65];
    memset(long_name, 'a', 64);
    long_name[64] = '\0';
    assert_refused(cf_node_name_check(long_name, &e), CF_ERR_USAGE, "longer than 63");
    long_name[63] = '\0';
    assert_ok(cf_node_name_check(long_name, &e));
    assert_ok(cf_node_name_check("kdb-1.eu_west", &e));
    assert_ok(cf_node_name_check("0", &e));
    assert_refused(cf_node_name_check("", &e), CF_ERR_USAGE, "is empty");
    assert_refused(cf_node_name_check("Kdb", &e), CF_ERR_USAGE, "byte 0x4b at position 1");
    assert_refused(cf_node_name_check("-a", &e), CF_ERR_USAGE, "byte 0x2d at position 1");
    assert_refused(cf_node_name_check("a/b", &e), CF_ERR_USAGE, "byte 0x2f at position 2");
    assert_refused(cf_node_name_check("..", &e), CF_ERR_USAGE, "position 1");
    assert_refused(cf_node_name_check("a\xc3\xa4", &e), CF_ERR_USAGE, "byte 0xc3");
}

static void test_keys(void **state)
{
    (void)state;
    char key[CF_KEY_LEN_MAX + 1];
    cf_run run = make_run("kdb-1", FIXTURE_UTC_S, 1);
    cf_key_root(key, "kdb-1", &run.id);
    assert_string_equal(key, "nodes/kdb-1/snapshots/20261121T143100Z-00000001");
    cf_key_lease(key, "kdb-1", 12);
    assert_string_equal(key, "nodes/kdb-1/leases/0000000012");
    assert_int_equal(cf_run_next_seq(&run), 1);
    cf_key_run_object(key, &run, cf_run_next_seq(&run), "pack", "chunk-000017.000002", ".zst");
    assert_string_equal(
        key, "nodes/kdb-1/runs/20261121T143100Z-00000001/0000000002-pack-chunk-000017.000002.zst");
    assert_string_equal(cf_key_object_name(key),
                        "20261121T143100Z-00000001/0000000002-pack-chunk-000017.000002.zst");
    cf_key_run_object(key, &run, 3, "pack", "a b/../\xc3\xa4", "zst");
    assert_string_equal(cf_key_object_name(key),
                        "20261121T143100Z-00000001/0000000003-pack-a_b_..___.zst");
    cf_key_run_object(key, &run, 4, "files", "", ".jsonl.zst");
    assert_string_equal(cf_key_object_name(key),
                        "20261121T143100Z-00000001/0000000004-files.jsonl.zst");
    char hint[200];
    memset(hint, 'x', sizeof(hint) - 1);
    hint[sizeof(hint) - 1] = '\0';
    cf_key_run_object(key, &run, 5, "pack", hint, ".zst");
    assert_int_equal(strlen(cf_key_object_name(key)), 26 + 10 + 6 + 64 + 4);
    assert_null(cf_key_object_name("nodes/kdb-1/snapshots/20261121T143100Z-00000001"));
    assert_null(cf_key_object_name("chunkferry.json"));
}

static void test_object_names(void **state)
{
    (void)state;
    static const struct {
        const char *title, *name;
        uint32_t seq; /* 0: refused */
        const char *kind;
    } cases[] = {
        {"a pack", "20261121T143100Z-00000001/0000000017-pack-chunk-000017.000002.zst", 17, "pack"},
        {"a segment", "20261121T143100Z-00000001/2000000000-files.jsonl.zst", 2000000000, "files"},
        {"a number too high", "20261121T143100Z-00000001/2000000001-files.jsonl.zst", 0, ""},
        {"number zero", "20261121T143100Z-00000001/0000000000-files", 0, ""},
        {"nine digits", "20261121T143100Z-00000001/000000017-pack", 0, ""},
        {"no kind", "20261121T143100Z-00000001/0000000017-", 0, ""},
        {"a kind in upper case", "20261121T143100Z-00000001/0000000017-Pack", 0, ""},
        {"another folder", "20261121T143100Z-00000001/0000000017-pack/../../x", 0, ""},
        {"a space", "20261121T143100Z-00000001/0000000017-pack x", 0, ""},
        {"not a run", "../snapshots/20261121T14310/0000000017-pack", 0, ""},
        {"absolute", "/20261121T143100Z-00000001/0000000017-pack", 0, ""},
        {"empty", "", 0, ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        cf_run_id run = {""};
        uint32_t seq = 0;
        cf_slice kind = {NULL, 0};
        const bool good = cf_object_name_parse(cf_slice_str(cases[i].name), &run, &seq, &kind);
        if (good != (cases[i].seq != 0) || seq != cases[i].seq ||
            !cf_slice_eq(kind, cf_slice_str(cases[i].kind)))
            fail_msg("%s", cases[i].title);
    }
    char name[CF_RUN_OBJECT_LEN_MAX + 2];
    memset(name, 'a', sizeof(name));
    memcpy(name, "20261121T143100Z-00000001/0000000017-pack", 41);
    assert_true(cf_object_name_parse(cf_slice_of(name, CF_RUN_OBJECT_LEN_MAX), NULL, NULL, NULL));
    assert_false(
        cf_object_name_parse(cf_slice_of(name, CF_RUN_OBJECT_LEN_MAX + 1), NULL, NULL, NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ids),          cmocka_unit_test(test_make_id),
        cmocka_unit_test(test_node_names),   cmocka_unit_test(test_keys),
        cmocka_unit_test(test_object_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
