/* SPDX-License-Identifier: Apache-2.0
 *
 * Numbers, sizes and times: both sides of each boundary.
 */
#include "s3/base/num.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdio.h>

typedef struct u64_case {
    const char *text;
    bool ok;
    uint64_t value;
} u64_case;

static const u64_case u64_cases[] = {
    {"0", true, 0},
    {"007", true, 7},
    {"18446744073709551615", true, UINT64_MAX},
    {"18446744073709551616", false, 0},
    {"99999999999999999999999", false, 0},
    {"", false, 0},
    {"-1", false, 0},
    {"+1", false, 0},
    {" 1", false, 0},
    {"1 ", false, 0},
    {"0x10", false, 0},
    {"1e3", false, 0},
};

static const u64_case size_cases[] = {
    {"64", true, 64},
    {"64B", true, 64},
    {"64K", true, 65536},
    {"64KiB", true, 65536},
    {"128 MiB", true, 134217728},
    {"2G", true, 2147483648u},
    {"15T", true, 16492674416640u},
    {"16777215TiB", true, 16777215ull << 40},
    {"16777216TiB", false, 0},
    {"", false, 0},
    {"K", false, 0},
    {"64KB", false, 0},
    {"64k", false, 0},
    {"64  K", false, 0},
    {"64 ", false, 0},
    {"1.5G", false, 0},
    {"-1K", false, 0},
};

static void test_u64(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(u64_cases) / sizeof(u64_cases[0]); i++) {
        uint64_t value = 77;
        if (cf_u64_parse(cf_slice_str(u64_cases[i].text), &value) != u64_cases[i].ok ||
            value != (u64_cases[i].ok ? u64_cases[i].value : 77))
            fail_msg("'%s'", u64_cases[i].text);
    }
}

static void test_size(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(size_cases) / sizeof(size_cases[0]); i++) {
        uint64_t value = 77;
        if (cf_size_parse(cf_slice_str(size_cases[i].text), &value) != size_cases[i].ok ||
            value != (size_cases[i].ok ? size_cases[i].value : 77))
            fail_msg("'%s'", size_cases[i].text);
    }
}

static void test_i64(void **state)
{
    (void)state;
    int64_t v = 0;
    assert_true(cf_i64_parse(cf_slice_str("-9223372036854775808"), &v) && v == INT64_MIN);
    assert_true(cf_i64_parse(cf_slice_str("9223372036854775807"), &v) && v == INT64_MAX);
    assert_true(cf_i64_parse(cf_slice_str("-0"), &v) && v == 0);
    assert_false(cf_i64_parse(cf_slice_str("9223372036854775808"), &v));
    assert_false(cf_i64_parse(cf_slice_str("-9223372036854775809"), &v));
    assert_false(cf_i64_parse(cf_slice_str("-"), &v));
    assert_false(cf_i64_parse(cf_slice_str("--1"), &v));
}

typedef struct render_case {
    uint64_t bytes;
    const char *text;
} render_case;

static const render_case render_cases[] = {
    {0, "0 B"},
    {1023, "1023 B"},
    {1024, "1.0 KiB"},
    {1024 * 1024 - 1, "1.0 MiB"},
    {1047500, "1022.9 KiB"},
    {1047501, "1023.0 KiB"},
    {451936256, "431.0 MiB"},
    {UINT64_MAX, "16.0 EiB"},
    {5ull << 40, "5.0 TiB"},
};

static void test_size_render(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(render_cases) / sizeof(render_cases[0]); i++) {
        char text[CF_SIZE_TEXT_SIZE];
        assert_string_equal(cf_size_render(render_cases[i].bytes, text), render_cases[i].text);
    }
}

typedef struct time_case {
    const char *iso, *basic, *http;
    int64_t utc_ms;
} time_case;

static const time_case time_cases[] = {
    {"1970-01-01T00:00:00Z", "19700101T000000Z", "Thu, 01 Jan 1970 00:00:00 GMT", 0},
    {"2026-11-21T14:31:00Z", "20261121T143100Z", "Sat, 21 Nov 2026 14:31:00 GMT", 1795271460000},
    {"2024-02-29T23:59:59Z", "20240229T235959Z", "Thu, 29 Feb 2024 23:59:59 GMT", 1709251199000},
    {"2000-02-29T00:00:00Z", "20000229T000000Z", "Tue, 29 Feb 2000 00:00:00 GMT", 951782400000},
    {"1969-12-31T23:59:59Z", "19691231T235959Z", "Wed, 31 Dec 1969 23:59:59 GMT", -1000},
    {"0001-01-01T00:00:00Z", "00010101T000000Z", "Mon, 01 Jan 0001 00:00:00 GMT", -62135596800000},
    {"9999-12-31T23:59:59Z", "99991231T235959Z", "Fri, 31 Dec 9999 23:59:59 GMT", 253402300799000},
};

static void test_time(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(time_cases) / sizeof(time_cases[0]); i++) {
        const time_case *const c = &time_cases[i];
        char text[CF_TIME_SIZE];
        int64_t ms = 77;
        cf_time_render_iso(c->utc_ms, text);
        assert_string_equal(text, c->iso);
        cf_time_render_basic(c->utc_ms, text);
        assert_string_equal(text, c->basic);
        assert_true(cf_time_parse_iso(cf_slice_str(c->iso), &ms) && ms == c->utc_ms);
        assert_true(cf_time_parse_basic(cf_slice_str(c->basic), &ms) && ms == c->utc_ms);
        if (!cf_time_parse_http(cf_slice_str(c->http), &ms) || ms != c->utc_ms)
            fail_msg("'%s'", c->http);
    }
}

/* Each day of 800 years goes there and back, and is one day after the other. */
static void test_time_days(void **state)
{
    (void)state;
    char text[CF_TIME_SIZE];
    for (int64_t ms = -12622780800000; ms < 12622780800000; ms += 86400000) {
        int64_t back = 0;
        cf_time_render_iso(ms, text);
        if (!cf_time_parse_iso(cf_slice_str(text), &back) || back != ms)
            fail_msg("%s", text);
    }
}

static void test_time_refused(void **state)
{
    (void)state;
    static const char *const iso[] = {
        "",
        "2026-11-21T14:31:00",
        "2026-11-21T14:31:00+00:00",
        "2026-11-21 14:31:00Z",
        "2026-13-21T14:31:00Z",
        "2026-00-21T14:31:00Z",
        "2026-02-29T14:31:00Z",
        "1900-02-29T14:31:00Z",
        "2026-11-31T14:31:00Z",
        "2026-11-21T24:00:00Z",
        "2026-11-21T14:60:00Z",
        "2026-11-21T14:31:60Z",
        "0000-11-21T14:31:00Z",
        "2026-11-21T14:31:00.Z",
        "2026-11-21T14:31:00.1234567890Z",
        "2026-11-21T14:31:00.12aZ",
        "2026-11-21T14:31:0:Z",
    };
    static const char *const http[] = {
        "Sun, 21 Nov 2026 14:31:00 GMT", "Sat, 21 nov 2026 14:31:00 GMT",
        "Sat, 21 Nov 2026 14:31:00 UTC", "Sat, 1 Nov 2026 14:31:00 GMT",
        "Sat, 21 --- 2026 14:31:00 GMT", "---, 21 Nov 2026 14:31:00 GMT",
    };
    int64_t ms = 0;
    for (size_t i = 0; i < sizeof(iso) / sizeof(iso[0]); i++)
        if (cf_time_parse_iso(cf_slice_str(iso[i]), &ms))
            fail_msg("'%s'", iso[i]);
    for (size_t i = 0; i < sizeof(http) / sizeof(http[0]); i++)
        if (cf_time_parse_http(cf_slice_str(http[i]), &ms))
            fail_msg("'%s'", http[i]);
    assert_false(cf_time_parse_basic(cf_slice_str("20261121T143100"), &ms));
    assert_false(cf_time_parse_basic(cf_slice_str("20261121 143100Z"), &ms));
    assert_true(cf_time_parse_iso(cf_slice_str("2026-11-21T14:31:00.123Z"), &ms) &&
                ms == 1795271460123);
    assert_true(cf_time_parse_iso(cf_slice_str("2026-11-21T14:31:00.1239999Z"), &ms) &&
                ms == 1795271460123);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_u64),          cmocka_unit_test(test_size),
        cmocka_unit_test(test_i64),          cmocka_unit_test(test_size_render),
        cmocka_unit_test(test_time),         cmocka_unit_test(test_time_days),
        cmocka_unit_test(test_time_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
