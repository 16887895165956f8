/* SPDX-License-Identifier: Apache-2.0
 *
 * indexmap: the reference's text, and every line of it spoiled. The MD5 is made by the test, so
 * that it is not the reason for a refusal but where it is meant to be.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "profile/kurrentdb/indexmap.h"
#include "s3/base/hash.h"

#define A "3a1856c3-0000-4000-8000-00000000000a"
#define B "1b1856c3-0000-4000-8000-00000000000b"

static cf_err parse(const char *body, cf_kdb_indexmap *ret, cf_error *e)
{
    char text[1024];
    uint8_t md5[16];
    char hex[33];

    (void)snprintf(text + 32, sizeof(text) - 32, "\n%s", body);
    assert_int_equal(cf_md5(cf_slice_str(text + 32), md5, NULL), CF_OK);
    cf_hex_render(cf_slice_of(md5, 16), hex);
    memcpy(text, hex, 32);
    return cf_kdb_indexmap_parse(cf_slice_str(text), ret, e);
}

static void good(void **state)
{
    cf_kdb_indexmap m = {0};

    (void)state;
    assert_int_equal(parse("1\n3181768/3181769\n0,0," A "\n", &m, NULL), CF_OK);
    assert_int_equal(m.version, 1);
    assert_int_equal(m.prepare, 3181768);
    assert_int_equal(m.commit, 3181769);
    assert_int_equal(m.table_total, 1);
    cf_kdb_indexmap_deinit(&m);
    assert_int_equal(parse("2\n10/20\n2147483647\n0,1," A "\n5,0," B, &m, NULL), CF_OK);
    assert_int_equal(m.table_total, 2);
    assert_string_equal(m.tables[0].name, B); /* sorted by name */
    assert_int_equal(m.tables[0].level, 5);
    assert_int_equal(m.tables[1].position, 1);
    cf_kdb_indexmap_deinit(&m);
    assert_int_equal(parse("2\n-1/-1\n5\n", &m, NULL), CF_OK);
    assert_int_equal(m.table_total, 0);
    cf_kdb_indexmap_deinit(&m);
}

typedef struct refused_case {
    const char *body;
    cf_err code;
    const char *part;
} refused_case;

static void refused(void **state)
{
    static const refused_case cases[] = {
        {"", CF_ERR_PARSE, "no version"},
        {"x\n", CF_ERR_PARSE, "no version"},
        {"3\n1/1\n1\n", CF_ERR_UNSUPPORTED, "version 3 is not 1 or 2"},
        {"1\n", CF_ERR_PARSE, "no checkpoints"},
        {"1\n5\n", CF_ERR_PARSE, "no checkpoints"},
        {"1\nx/5\n", CF_ERR_PARSE, "prepare checkpoint 'x'"},
        {"1\n5/-2\n", CF_ERR_PARSE, "commit checkpoint '-2'"},
        {"1\n5/9223372036854775808\n", CF_ERR_PARSE, "commit checkpoint '9223372036854775808'"},
        {"2\n1/1\n", CF_ERR_PARSE, "no highest level"},
        {"1\n1/1\n0,0\n", CF_ERR_PARSE, "line '0,0' is not level,position,file"},
        {"1\n1/1\n-1,0," A "\n", CF_ERR_PARSE, "level '-1'"},
        {"1\n1/1\n0,," A "\n", CF_ERR_PARSE, "position ''"},
        {"1\n1/1\n0,0,../../etc/passwd\n", CF_ERR_PARSE,
         "table name '../../etc/passwd' is no GUID"},
        {"1\n1/1\n0,0," A "\n1,0," A "\n", CF_ERR_PARSE, "table '" A "' is there twice"},
        {"1\n-1/-1\n0,0," A "\n", CF_ERR_PARSE, "1 tables without a commit checkpoint"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        cf_kdb_indexmap m = {0};
        cf_error e = {0};

        assert_int_equal(parse(cases[i].body, &m, &e), cases[i].code);
        assert_non_null(strstr(e.message, cases[i].part));
        assert_null(m.tables);
    }
}

static void hash_refused(void **state)
{
    cf_kdb_indexmap m = {0};
    cf_error e = {0};

    (void)state;
    assert_int_equal(
        cf_kdb_indexmap_parse(cf_slice_str("00000000000000000000000000000000\n1\n1/1\n"), &m, &e),
        CF_ERR_PARSE);
    assert_non_null(
        strstr(e.message, "its MD5 is '00000000000000000000000000000000', its content gives '"));
    assert_int_equal(cf_kdb_indexmap_parse(cf_slice_str("short"), &m, &e), CF_ERR_PARSE);
    assert_string_equal(e.message, "5 bytes are too few");
    assert_int_equal(
        cf_kdb_indexmap_parse(cf_slice_str("xyz00000000000000000000000000000\n1\n"), &m, &e),
        CF_ERR_PARSE);
    assert_string_equal(e.message, "its first line is no MD5");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(good), cmocka_unit_test(refused),
                                       cmocka_unit_test(hash_refused)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
