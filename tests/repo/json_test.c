/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "s3/base/alloc.h"

/* Long strings grow jansson's buffer; escapes and nesting take its other ways. */
static const char text[] =
    "{\"name\":\"0123456789012345678901234567890123456789012345678901234567890123456789\","
    "\"escaped\":\"\\u00e4\\n\",\"list\":[1,2.5,true,null,{\"a\":\"b\"}]}";

static void memory_ends_anywhere(void **state)
{
    unsigned long n = 1;
    cf_err err = CF_ERR_NO_MEMORY;

    (void)state;
    for (; err != CF_OK; n++) {
        json_t *j = NULL;
        cf_error e = {0};
        cf_alloc_fail_at(n);
        err = cf_json_load(cf_slice_str(text), &j, &e);
        cf_alloc_fail_at(0);
        assert_true(err == CF_OK || err == CF_ERR_NO_MEMORY); /* never damage, never other bytes */
        if (err == CF_OK) {
            char *const again = cf_json_dump(j, JSON_COMPACT);
            assert_string_equal(
                again, "{\"name\":"
                       "\"0123456789012345678901234567890123456789012345678901234567890123456789\","
                       "\"escaped\":\"\xc3\xa4\\n\",\"list\":[1,2.5,true,null,{\"a\":\"b\"}]}");
            cf_free(again);
        } else {
            assert_null(j);
        }
        json_decref(j);
    }
    assert_true(n > 10);
}

static void malformed_is_damage(void **state)
{
    static const char *const bad[] = {
        "", "{", "[]", "{\"a\":1,\"a\":2}", "{\"a\":01}", "{\"a\":\"\xff\"}"};

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        json_t *j = NULL;
        cf_error e = {0};
        assert_int_equal(cf_json_load(cf_slice_str(bad[i]), &j, &e), CF_ERR_DAMAGE);
        assert_non_null(strstr(e.message, "malformed JSON"));
        assert_null(j);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(memory_ends_anywhere),
                                       cmocka_unit_test(malformed_is_damage)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
