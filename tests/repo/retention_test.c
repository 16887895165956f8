/* SPDX-License-Identifier: Apache-2.0
 *
 * Retention: a table against what restic's manual says, and random histories against a second,
 * naive implementation that knows no buckets: it asks for each snapshot how many newer ones a rule
 * would have kept before it.
 */
#include "fixture.h"

#include <stdlib.h>
#include <time.h>

#include "repo/retention.h"
#include "s3/base/num.h"

enum { ITEMS_MAX = 64 };

static int64_t at(const char *text)
{
    char full[CF_TIME_SIZE];
    int64_t ms = 0;
    (void)snprintf(full, sizeof(full), strlen(text) == 10 ? "%sT12:00:00Z" : "%s:00Z", text);
    if (!cf_time_parse_iso(cf_slice_str(full), &ms))
        fail_msg("'%s' is no time", full);
    return ms;
}

typedef struct row {
    const char *title;
    cf_retention rules;
    const char *times[16]; /* "2026-11-21" at noon, or "2026-11-21T14:31"; in order of ids */
    const char *kept;      /* a letter a snapshot: K or - */
} row;

static const char *const one_tag[] = {"monthly"};

static const row rows[] = {
    {"last keeps the newest", {.last = 2}, {"2026-11-19", "2026-11-20", "2026-11-21"}, "-KK"},
    {"last more than there are", {.last = 9}, {"2026-11-20", "2026-11-21"}, "KK"},
    {"last goes by the time, not by the id: a clock went back",
     {.last = 1},
     {"2026-11-19", "2026-11-21", "2026-11-20"},
     "-K-"},
    {"equal times: the later id", {.last = 1}, {"2026-11-21", "2026-11-21", "2026-11-21"}, "--K"},
    {"hourly: the newest of each hour, the oldest when counts are left",
     {.hourly = 3},
     {"2026-11-21T10:01", "2026-11-21T10:59", "2026-11-21T11:00", "2026-11-21T11:30"},
     "KK-K"},
    {"hourly: counts used up",
     {.hourly = 2},
     {"2026-11-21T10:01", "2026-11-21T10:59", "2026-11-21T11:00", "2026-11-21T11:30"},
     "-K-K"},
    {"an hour ends at the full hour",
     {.hourly = 2},
     {"2026-11-21T09:00", "2026-11-21T10:59", "2026-11-21T11:00"},
     "-KK"},
    {"daily: hours of one day are one bucket",
     {.daily = 2},
     {"2026-11-19", "2026-11-20T00:00", "2026-11-20T23:59", "2026-11-21T00:00"},
     "--KK"},
    {"daily counts days that have one: gaps do not count",
     {.daily = 3},
     {"2026-01-01", "2026-03-01", "2026-06-01", "2026-11-21"},
     "-KKK"},
    {"restic's manual: twelve Sundays, --keep-daily 4",
     {.daily = 4},
     {"2019-09-01T11:00", "2019-09-08T11:00", "2019-09-15T11:00", "2019-09-22T11:00",
      "2019-09-29T11:00", "2019-10-06T11:00", "2019-10-13T11:00", "2019-10-20T11:00",
      "2019-10-27T11:00", "2019-11-03T11:00", "2019-11-10T11:00", "2019-11-17T11:00"},
     "--------KKKK"},
    {"weekly: Monday to Sunday",
     {.weekly = 2},
     {"2026-11-08", "2026-11-09", "2026-11-15", "2026-11-16T00:00"},
     "--KK"},
    {"weekly: Sunday is the last day",
     {.weekly = 1},
     {"2026-11-15T23:59", "2026-11-16T00:00", "2026-11-22T23:59"},
     "--K"},
    {"weekly over New Year: 28 December to 3 January is week 53 of 2020",
     {.weekly = 2},
     {"2020-12-20", "2020-12-28", "2020-12-31", "2021-01-01", "2021-01-03", "2021-01-04"},
     "----KK"},
    {"weekly: 31 December 2024 is in week 1 of 2025",
     {.weekly = 2},
     {"2024-12-22", "2024-12-29", "2024-12-30", "2024-12-31", "2025-01-05"},
     "-K--K"},
    {"monthly: a leap day is in February",
     {.monthly = 2},
     {"2024-01-31", "2024-02-28", "2024-02-29", "2024-03-01"},
     "--KK"},
    {"yearly",
     {.yearly = 2},
     {"2024-12-31T23:59", "2025-01-01T00:00", "2025-12-31", "2026-01-01"},
     "--KK"},
    {"yearly with counts left keeps the oldest",
     {.yearly = 9},
     {"2025-03-01", "2025-12-31", "2026-01-01", "2026-02-01"},
     "KK-K"},
    {"rules add up",
     {.last = 1, .monthly = 2},
     {"2026-09-30", "2026-10-01", "2026-10-31", "2026-11-20", "2026-11-21"},
     "--K-K"},
    {"within 3d counts from the newest, its very moment is out",
     {.within = {.days = 3}},
     {"2026-11-18", "2026-11-18T12:01", "2026-11-21"},
     "-KK"},
    {"within counts weeks",
     {.within = {.weeks = 1}},
     {"2026-11-14", "2026-11-14T12:01", "2026-11-21"},
     "-KK"},
    {"within 1m before 31 March runs over into March",
     {.within = {.months = 1}},
     {"2026-03-02", "2026-03-03", "2026-03-03T12:01", "2026-03-31"},
     "--KK"},
    {"within 1y before a leap day is 1 March",
     {.within = {.years = 1}},
     {"2023-02-28", "2023-03-01", "2023-03-01T12:01", "2024-02-29"},
     "--KK"},
    {"within over New Year",
     {.within = {.months = 13}},
     {"2024-12-21", "2024-12-21T12:01", "2026-01-21"},
     "-KK"},
    {"within 24h",
     {.within = {.hours = 24}},
     {"2026-11-20", "2026-11-20T12:01", "2026-11-21"},
     "-KK"},
    {"a snapshot from the future is not what within counts from",
     {.within = {.days = 1}},
     {"2026-11-19", "2026-11-20T13:00", "2026-11-21", "2099-01-01"},
     "-KKK"},
    {"before 1970",
     {.yearly = 2},
     {"1968-12-31", "1969-01-01", "1969-12-31", "1970-01-01"},
     "--KK"},
    {"nothing to keep", {.tags = one_tag, .tag_total = 1}, {"2026-11-20", "2026-11-21"}, "--"},
};

static size_t items_make(const row *r, cf_retention_item *items)
{
    size_t total = 0;
    while (total < ARRAY_LEN(r->times) && r->times[total] != NULL) {
        items[total] = (cf_retention_item){.time_utc_ms = at(r->times[total])};
        cf_run_id_make((int64_t)FIXTURE_UTC_S * 1000, NULL, (uint32_t)total, &items[total].run);
        total++;
    }
    return total;
}

static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        cf_retention_item items[16];
        char kept[17] = "";
        const size_t total = items_make(&rows[i], items);
        /* Given in another order, they come out the same. */
        for (size_t turn = 0; turn < 2; turn++) {
            for (size_t k = 0; k < total; k++)
                items[k].keep = 0;
            assert_ok(cf_retention_apply(&rows[i].rules, at("2026-11-21T14:31"), items, total, &e));
            for (size_t k = 0; k < total; k++)
                kept[turn == 0 ? k : total - 1 - k] = items[k].keep != 0 ? 'K' : '-';
            kept[total] = '\0';
            if (strcmp(kept, rows[i].kept) != 0)
                fail_msg("%s: %s, expected %s", rows[i].title, kept, rows[i].kept);
            for (size_t k = 0; k < total / 2; k++) {
                const cf_retention_item swap = items[k];
                items[k] = items[total - 1 - k];
                items[total - 1 - k] = swap;
            }
        }
    }
}

static void test_reasons(void **state)
{
    (void)state;
    const cf_retention rules = {
        .last = 1, .daily = 2, .within = {.hours = 1}, .tags = one_tag, .tag_total = 1};
    cf_retention_item items[] = {
        {.time_utc_ms = at("2026-11-01"), .tagged = true},
        {.time_utc_ms = at("2026-11-20")},
        {.time_utc_ms = at("2026-11-21"), .keep = CF_KEEP_NEWEST},
    };
    assert_ok(cf_retention_apply(&rules, at("2026-11-22"), items, 3, &e));
    assert_int_equal(items[0].keep, CF_KEEP_TAG);
    assert_int_equal(items[1].keep, CF_KEEP_DAILY);
    assert_int_equal(items[2].keep, CF_KEEP_LAST | CF_KEEP_DAILY | CF_KEEP_WITHIN | CF_KEEP_NEWEST);
    assert_string_equal(cf_keep_name(CF_KEEP_DAILY), "daily");
    assert_string_equal(cf_keep_name(CF_KEEP_NEW), "new");
    assert_ok(cf_retention_apply(&rules, 0, NULL, 0, &e));
}

/* S3's clock has whole seconds: two backups of one second may have their times the wrong way. */
static void test_one_second(void **state)
{
    (void)state;
    const cf_retention rules = {.last = 1};
    cf_retention_item items[] = {{.time_utc_ms = 5900}, {.time_utc_ms = 5100}};
    cf_run_id_make(1000, NULL, 0, &items[0].run);
    cf_run_id_make(2000, NULL, 0, &items[1].run);
    assert_ok(cf_retention_apply(&rules, 9000, items, 2, &e));
    assert_int_equal(items[0].keep, 0);
    assert_int_equal(items[1].keep, CF_KEEP_LAST);
}

static void test_empty(void **state)
{
    (void)state;
    assert_true(cf_retention_is_empty(&(cf_retention){0}));
    assert_false(cf_retention_is_empty(&(cf_retention){.yearly = 1}));
    assert_false(cf_retention_is_empty(&(cf_retention){.within = {.hours = 1}}));
    assert_false(cf_retention_is_empty(&(cf_retention){.tags = one_tag, .tag_total = 1}));
}

static void test_span(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool ok;
        cf_retention_span span;
    } cases[] = {
        {"30d", true, {.days = 30}},
        {"1y2m3w4d5h", true, {1, 2, 3, 4, 5}},
        {"0y1h", true, {.hours = 1}},
        {"99999h", true, {.hours = 99999}},
        {"100000h", false, {0}},
        {"", false, {0}},
        {"0d", false, {0}},
        {"30", false, {0}},
        {"d", false, {0}},
        {"3d1y", false, {0}},
        {"1d1d", false, {0}},
        {"1.5d", false, {0}},
        {"-1d", false, {0}},
        {"1s", false, {0}},
        {"1 d", false, {0}},
        {"18446744073709551617d", false, {0}},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        cf_retention_span span = {0};
        if (cf_retention_span_parse(cf_slice_str(cases[i].text), &span) != cases[i].ok ||
            memcmp(&span, &cases[i].span, sizeof(span)) != 0)
            fail_msg("'%s'", cases[i].text);
    }
}

/* --- the naive one: by the C library's calendar, and by counting --- */

/* Digits of the hour's text that name the bucket. */
enum { NONE, YEAR = 4, MONTH = 6, DAY = 8, HOUR = 10, WEEK };

static void bucket_text(int64_t utc_ms, size_t kind, char ret[32])
{
    const time_t s = (time_t)(utc_ms / 1000);
    struct tm tm = {0};
    char all[32] = "";
    assert_non_null(gmtime_r(&s, &tm));
    assert_int_not_equal(strftime(all, sizeof(all), "%Y%m%d%H%G%V", &tm), 0);
    (void)snprintf(ret, 32, "%.*s", kind == WEEK ? 6 : (int)kind, all + (kind == WEEK ? 10 : 0));
}

static bool newer(const cf_retention_item *a, const cf_retention_item *b)
{
    const int64_t x = a->time_utc_ms / 1000, y = b->time_utc_ms / 1000;
    return x != y ? x > y : strcmp(a->run.text, b->run.text) > 0;
}

/* NONE makes each its own bucket. */
static bool naive_counted(const cf_retention_item *items, size_t total, size_t me, uint32_t count,
                          size_t kind)
{
    char mine[32], seen[ITEMS_MAX][32];
    size_t seen_total = 0;
    bool oldest = true, first = true;
    bucket_text(items[me].time_utc_ms, kind, mine);
    for (size_t i = 0; i < total; i++) {
        char other[32];
        bool known = kind != NONE;
        if (i == me)
            continue;
        if (!newer(&items[i], &items[me])) {
            oldest = false;
            continue;
        }
        bucket_text(items[i].time_utc_ms, kind, other);
        if (kind != NONE && strcmp(other, mine) == 0)
            first = false;
        if (known) {
            known = false;
            for (size_t k = 0; k < seen_total; k++)
                known = known || strcmp(seen[k], other) == 0;
        }
        if (!known)
            memcpy(seen[seen_total++], other, sizeof(other));
    }
    /* seen_total: buckets at or above mine that a newer snapshot opened */
    return seen_total < count && (first || oldest);
}

static void test_against_naive(void **state)
{
    (void)state;
    static const struct {
        size_t offset;
        size_t kind;
    } rules[] = {
        {offsetof(cf_retention, last), NONE},     {offsetof(cf_retention, hourly), HOUR},
        {offsetof(cf_retention, daily), DAY},     {offsetof(cf_retention, weekly), WEEK},
        {offsetof(cf_retention, monthly), MONTH}, {offsetof(cf_retention, yearly), YEAR},
    };
    static const int64_t steps_s[] = {600, 7200, 86400, 86400 * 5, 86400 * 40, 86400 * 300};
    unsigned seed = 20261121;
    for (size_t round = 0; round < 4000; round++) {
        cf_retention_item items[ITEMS_MAX] = {0};
        const size_t total = 1 + (size_t)rand_r(&seed) % (ITEMS_MAX - 1);
        const int64_t step_ms = steps_s[(size_t)rand_r(&seed) % ARRAY_LEN(steps_s)] * 1000;
        int64_t time_ms = (int64_t)(rand_r(&seed) % 2000000) * 1000 * 1000;
        cf_retention r = {0};
        for (size_t i = 0; i < total; i++) {
            /* now and then a clock that stands still or goes back */
            time_ms += rand_r(&seed) % 16 == 0 ? -step_ms : rand_r(&seed) % step_ms;
            time_ms = time_ms < 0 || rand_r(&seed) % 16 == 0 ? 0 : time_ms;
            items[i].time_utc_ms = time_ms;
            cf_run_id_make((int64_t)i * 1000, NULL, 0, &items[i].run);
        }
        for (size_t k = 0; k < ARRAY_LEN(rules); k++) {
            const uint32_t count = rand_r(&seed) % 3 == 0 ? (uint32_t)rand_r(&seed) % 12 : 0;
            memcpy((uint8_t *)&r + rules[k].offset, &count, sizeof(count));
        }
        assert_ok(cf_retention_apply(&r, INT64_MAX, items, total, &e));
        for (size_t i = 0; i < total; i++) {
            bool expected = false;
            for (size_t k = 0; k < ARRAY_LEN(rules); k++) {
                uint32_t count = 0;
                memcpy(&count, (uint8_t *)&r + rules[k].offset, sizeof(count));
                expected = expected || naive_counted(items, total, i, count, rules[k].kind);
            }
            if (expected != (items[i].keep != 0))
                fail_msg("round %zu, snapshot %zu of %zu: kept %d", round, i, total,
                         items[i].keep != 0);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),       cmocka_unit_test(test_reasons),
        cmocka_unit_test(test_one_second), cmocka_unit_test(test_empty),
        cmocka_unit_test(test_span),       cmocka_unit_test(test_against_naive),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
