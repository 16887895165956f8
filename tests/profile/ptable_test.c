/* SPDX-License-Identifier: Apache-2.0
 *
 * Index tables from their first and last bytes; GUIDs.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "profile/kurrentdb/ptable.h"

/* Version 4, 100 midpoints, as the reference's 5,072 byte table. */
static void tables(void **state)
{
    uint8_t head[128] = {1, 4}, tail[144] = {1, 4, 100};
    cf_kdb_ptable t = {0};

    (void)state;
    tail[128] = 0xab;
    assert_int_equal(
        cf_kdb_ptable_parse(cf_slice_of(head, 128), cf_slice_of(tail, 144), 5072, &t, NULL), CF_OK);
    assert_int_equal(t.version, 4);
    assert_int_equal(t.entries_total, 100);
    assert_int_equal(t.midpoints_total, 100);
    assert_int_equal(t.md5[0], 0xab);
    head[1] = 3; /* no footer: 24 byte entries up to the MD5 */
    assert_int_equal(
        cf_kdb_ptable_parse(cf_slice_of(head, 128), cf_slice_of(tail, 144), 144 + 24 * 7, &t, NULL),
        CF_OK);
    assert_int_equal(t.entries_total, 7);
    head[1] = 2;
    assert_int_equal(
        cf_kdb_ptable_parse(cf_slice_of(head, 128), cf_slice_of(tail, 144), 144 + 20 * 7, &t, NULL),
        CF_OK);
    assert_int_equal(t.entries_total, 7);
}

typedef struct refused_case {
    const char *title;
    uint8_t type, version, foot_type, foot_version, midpoints;
    uint64_t size;
    cf_err code;
    const char *part;
} refused_case;

static void tables_refused(void **state)
{
    static const refused_case cases[] = {
        {"one byte too short", 1, 4, 1, 4, 0, 271, CF_ERR_PARSE,
         "271 bytes, a table has at least 272"},
        {"zeros: not begun", 0, 0, 0, 0, 0, 272, CF_ERR_PARSE,
         "first byte is 0, a table begins with 1"},
        {"version 0", 1, 0, 1, 0, 0, 272, CF_ERR_UNSUPPORTED, "table format 0 is not in 1..4"},
        {"version 5", 1, 5, 1, 5, 0, 272, CF_ERR_UNSUPPORTED, "table format 5 is not in 1..4"},
        {"footer not written", 1, 4, 0, 0, 0, 272, CF_ERR_PARSE, "footer begins with 0, not 1"},
        {"footer of another version", 1, 4, 1, 3, 0, 272, CF_ERR_PARSE,
         "footer says format 3, header 4"},
        {"a torn entry", 1, 4, 1, 4, 0, 273, CF_ERR_PARSE,
         "1 bytes of entries are no multiple of 24"},
        {"more midpoints than rows", 1, 4, 1, 4, 2, 296, CF_ERR_PARSE, "2 midpoints in 1 rows"},
        {"version 3, a torn entry", 1, 3, 0, 0, 0, 273, CF_ERR_PARSE, "are no multiple of 24"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const refused_case *const c = &cases[i];
        uint8_t head[128] = {c->type, c->version},
                tail[144] = {c->foot_type, c->foot_version, c->midpoints};
        cf_kdb_ptable t = {.version = 99};
        cf_error e = {0};

        assert_int_equal(
            cf_kdb_ptable_parse(cf_slice_of(head, 128), cf_slice_of(tail, 144), c->size, &t, &e),
            c->code);
        assert_non_null(strstr(e.message, c->part));
        assert_int_equal(t.version, 99);
    }
}

static void guids(void **state)
{
    (void)state;
    assert_true(cf_kdb_guid_is(cf_slice_str("0beebbc3-893b-4ce6-8fdb-2a504d55aef5")));
    assert_false(cf_kdb_guid_is(cf_slice_str("0BEEBBC3-893b-4ce6-8fdb-2a504d55aef5")));
    assert_false(cf_kdb_guid_is(cf_slice_str("0beebbc3-893b-4ce6-8fdb-2a504d55aef")));
    assert_false(cf_kdb_guid_is(cf_slice_str("0beebbc3-893b-4ce6-8fdb-2a504d55aef5.bloomfilter")));
    assert_false(cf_kdb_guid_is(cf_slice_str("../../../../etc/passwd/xxxxxxxxxxxxx")));
    assert_false(cf_kdb_guid_is(cf_slice_str("")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(tables), cmocka_unit_test(tables_refused),
                                       cmocka_unit_test(guids)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
