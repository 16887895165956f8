/* SPDX-License-Identifier: Apache-2.0
 *
 * The rules of retention, newest first, in one pass.
 */
#include "repo/retention.h"

#include <stdlib.h>

#include "s3/base/alloc.h"
#include "s3/base/cleanup.h"
#include "s3/base/num.h"

enum { DAY_S = 86400, WEEK_DAYS = 7, MONDAY_OFFSET = 3 /* 1970-01-01 was a Thursday */ };

static const struct {
    const char *name, *text;
} keeps[CF_KEEP_TOTAL] = {
    {"last", "last"},
    {"hourly", "hourly"},
    {"daily", "daily"},
    {"weekly", "weekly"},
    {"monthly", "monthly"},
    {"yearly", "yearly"},
    {"oldest", "oldest, the rules have counts left"},
    {"within", "within"},
    {"tag", "tag"},
    {"newest", "newest of the node"},
    {"proved", "newest proved"},
    {"pinned", "tagged keep"},
    {"used", "a run under way builds on it"},
    {"read", "being read"},
    {"future", "written by a newer chunkferry"},
    {"new", "committed meanwhile"},
};

static unsigned keep_index(const unsigned bit)
{
    const unsigned i = (unsigned)__builtin_ctz(bit);
    CF_CHECK(i < CF_KEEP_TOTAL);
    return i;
}

const char *cf_keep_text(const unsigned bit)
{
    return keeps[keep_index(bit)].text;
}

const char *cf_keep_name(const unsigned bit)
{
    return keeps[keep_index(bit)].name;
}

bool cf_retention_is_empty(const cf_retention *const r)
{
    const cf_retention_span *const w = &r->within;
    const bool counted = r->last > 0 || r->hourly > 0 || r->daily > 0 || r->weekly > 0 ||
                         r->monthly > 0 || r->yearly > 0;
    const bool within =
        w->years > 0 || w->months > 0 || w->weeks > 0 || w->days > 0 || w->hours > 0;

    return !counted && !within && r->tag_total == 0;
}

/* --- spans --- */

bool cf_retention_span_parse(const cf_slice text, cf_retention_span *const ret)
{
    static const char units[] = "ymwdh";
    cf_retention_span s = {0};
    uint32_t *const fields[] = {&s.years, &s.months, &s.weeks, &s.days, &s.hours};
    size_t unit = 0, at = 0;
    bool any = false;

    while (at < text.len) {
        uint64_t value = 0;
        size_t len = 0;

        while (at + len < text.len && text.ptr[at + len] >= '0' && text.ptr[at + len] <= '9')
            len++;
        if (!cf_u64_parse(cf_slice_of(text.ptr + at, len), &value) ||
            value > CF_RETENTION_SPAN_MAX || at + len == text.len)
            return false;
        while (unit < sizeof(units) - 1 && units[unit] != (char)text.ptr[at + len])
            unit++;
        if (unit == sizeof(units) - 1)
            return false;
        *fields[unit++] = (uint32_t)value;
        any = any || value > 0;
        at += len + 1;
    }
    if (any)
        *ret = s;
    return any;
}

int64_t cf_retention_span_before(const int64_t utc_ms, const cf_retention_span *const span)
{
    const cf_civil c = cf_civil_of(utc_ms);
    const int64_t day_start_s = cf_civil_to_days(c.year, c.month, c.day) * DAY_S;
    const int64_t in_day_ms = utc_ms - day_start_s * 1000;
    const int64_t month =
        c.year * 12 + (int64_t)c.month - 1 - (int64_t)span->years * 12 - (int64_t)span->months;
    const int64_t year = month >= 0 ? month / 12 : -((11 - month) / 12);
    const int64_t days = cf_civil_to_days(year, (unsigned)(month - year * 12) + 1, /* day= */ 1) +
                         (int64_t)c.day - 1 - (int64_t)span->days -
                         (int64_t)span->weeks * WEEK_DAYS;

    return days * DAY_S * 1000 + in_day_ms - (int64_t)span->hours * 3600 * 1000;
}

/* --- buckets --- */

static int64_t floor_div(const int64_t a, const int64_t b)
{
    return a >= 0 ? a / b : -((-a + b - 1) / b);
}

static int64_t hour_of(const int64_t utc_ms)
{
    return floor_div(utc_ms, (int64_t)3600 * 1000);
}

static int64_t day_of(const int64_t utc_ms)
{
    return floor_div(utc_ms, (int64_t)DAY_S * 1000);
}

/* Counted from a Monday, so a week over New Year is one week, as ISO 8601 has it. */
static int64_t week_of(const int64_t utc_ms)
{
    return floor_div(day_of(utc_ms) + MONDAY_OFFSET, WEEK_DAYS);
}

static int64_t month_of(const int64_t utc_ms)
{
    const cf_civil c = cf_civil_of(utc_ms);
    return c.year * 12 + (int64_t)c.month;
}

static int64_t year_of(const int64_t utc_ms)
{
    return cf_civil_of(utc_ms).year;
}

typedef struct bucket_rule {
    uint32_t left;
    int64_t (*bucket_of)(int64_t utc_ms); /* NULL: each snapshot is one of its own */
    unsigned keep;
    bool started;
    int64_t newest; /* bucket that was kept last */
} bucket_rule;

static void rule_apply(bucket_rule *const r, cf_retention_item *const item, const bool is_oldest)
{
    if (r->left == 0)
        return;
    const int64_t bucket = r->bucket_of != NULL ? r->bucket_of(item->time_utc_ms) : 0;
    const bool fresh = !r->started || r->bucket_of == NULL || bucket != r->newest;

    if (!fresh && !is_oldest)
        return;
    item->keep |= fresh ? r->keep : CF_KEEP_OLDEST;
    r->started = true;
    r->newest = bucket;
    r->left--;
}

/* --- all rules --- */

/* Whole seconds: S3 tells its time no finer, so what stands behind them orders nothing. */
static int64_t second_of(const int64_t utc_ms)
{
    return floor_div(utc_ms, 1000);
}

/* Newest first; of one second the later id. */
static int item_cmp(const void *const a, const void *const b)
{
    const cf_retention_item *const x = *(cf_retention_item *const *)a;
    const cf_retention_item *const y = *(cf_retention_item *const *)b;

    if (second_of(x->time_utc_ms) != second_of(y->time_utc_ms))
        return x->time_utc_ms > y->time_utc_ms ? -1 : 1;
    return strcmp(y->run.text, x->run.text);
}

/* The newest that is not later than now; when all are, the newest of all. */
static int64_t newest_time(cf_retention_item *const *const sorted, const size_t total,
                           const int64_t now_utc_ms)
{
    for (size_t i = 0; i < total; i++) {
        if (sorted[i]->time_utc_ms <= now_utc_ms)
            return sorted[i]->time_utc_ms;
    }
    return sorted[0]->time_utc_ms;
}

cf_err cf_retention_apply(const cf_retention *const r, const int64_t now_utc_ms,
                          cf_retention_item *const items, const size_t total, cf_error *const e)
{
    bucket_rule rules[] = {
        {.left = r->last, .keep = CF_KEEP_LAST},
        {.left = r->hourly, .bucket_of = hour_of, .keep = CF_KEEP_HOURLY},
        {.left = r->daily, .bucket_of = day_of, .keep = CF_KEEP_DAILY},
        {.left = r->weekly, .bucket_of = week_of, .keep = CF_KEEP_WEEKLY},
        {.left = r->monthly, .bucket_of = month_of, .keep = CF_KEEP_MONTHLY},
        {.left = r->yearly, .bucket_of = year_of, .keep = CF_KEEP_YEARLY},
    };
    const cf_retention within = {.within = r->within};
    const bool has_within = !cf_retention_is_empty(&within);

    if (total == 0)
        return CF_OK;
    CF_CLEANUP(cf_freep) cf_retention_item **sorted = cf_alloc(total, sizeof(cf_retention_item *));
    CF_ENSURE(sorted != NULL, e, CF_ERR_NO_MEMORY, "allocate %zu snapshots", total);
    for (size_t i = 0; i < total; i++)
        sorted[i] = &items[i];
    qsort(sorted, total, sizeof(cf_retention_item *), item_cmp);
    const int64_t from_utc_ms =
        cf_retention_span_before(newest_time(sorted, total, now_utc_ms), &r->within);

    for (size_t i = 0; i < total; i++) {
        for (size_t k = 0; k < sizeof(rules) / sizeof(rules[0]); k++)
            rule_apply(&rules[k], sorted[i], i + 1 == total);
        if (has_within && sorted[i]->time_utc_ms > from_utc_ms)
            sorted[i]->keep |= CF_KEEP_WITHIN;
        if (r->tag_total > 0 && sorted[i]->tagged)
            sorted[i]->keep |= CF_KEEP_TAG;
    }
    return CF_OK;
}
