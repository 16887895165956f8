/* SPDX-License-Identifier: Apache-2.0
 *
 * Numbers and times, by hand: the C library's parsers follow the locale, skip blanks and accept
 * signs. The calendar is the proleptic Gregorian one, years 1 to 9999, no leap seconds.
 */
#include "s3/base/num.h"

#include <stdio.h>

bool cf_u64_parse(cf_slice text, uint64_t *ret)
{
    if (text.len == 0)
        return false;
    uint64_t value = 0;
    for (size_t i = 0; i < text.len; i++) {
        const uint8_t c = text.ptr[i];
        if (c < '0' || c > '9')
            return false;
        if (__builtin_mul_overflow(value, (uint64_t)10, &value))
            return false;
        if (__builtin_add_overflow(value, (uint64_t)(c - '0'), &value))
            return false;
    }
    *ret = value;
    return true;
}

bool cf_i64_parse(cf_slice text, int64_t *ret)
{
    const bool negative = text.len > 0 && text.ptr[0] == '-';
    uint64_t value = 0;
    if (!cf_u64_parse(negative ? cf_slice_of(text.ptr + 1, text.len - 1) : text, &value))
        return false;
    const uint64_t max = (uint64_t)INT64_MAX + (negative ? 1 : 0);
    if (value > max)
        return false;
    if (!negative)
        *ret = (int64_t)value;
    else
        *ret = value == (uint64_t)INT64_MAX + 1 ? INT64_MIN : -(int64_t)value;
    return true;
}

typedef struct size_unit {
    const char *suffix;
    unsigned shift;
} size_unit;

static const size_unit size_units[] = {
    {"", 0},     {"B", 0},  {"K", 10},   {"KiB", 10}, {"M", 20},
    {"MiB", 20}, {"G", 30}, {"GiB", 30}, {"T", 40},   {"TiB", 40},
};

bool cf_size_parse(cf_slice text, uint64_t *ret_bytes)
{
    size_t digits = 0;
    while (digits < text.len && text.ptr[digits] >= '0' && text.ptr[digits] <= '9')
        digits++;
    uint64_t value = 0;
    if (!cf_u64_parse(cf_slice_of(text.ptr, digits), &value))
        return false;
    size_t from = digits;
    if (from + 1 < text.len && text.ptr[from] == ' ')
        from++; /* one blank, and only before a unit */
    const cf_slice unit = cf_slice_of(text.ptr + from, text.len - from);
    for (size_t i = 0; i < sizeof(size_units) / sizeof(size_units[0]); i++) {
        if (!cf_slice_eq(unit, cf_slice_str(size_units[i].suffix)))
            continue;
        if (value > UINT64_MAX >> size_units[i].shift)
            return false;
        *ret_bytes = value << size_units[i].shift;
        return true;
    }
    return false;
}

const char *cf_size_render(uint64_t bytes, char ret[CF_SIZE_TEXT_SIZE])
{
    static const char *const names[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    if (bytes < 1024) {
        (void)snprintf(ret, CF_SIZE_TEXT_SIZE, "%llu B", (unsigned long long)bytes);
        return ret;
    }
    unsigned unit = 1;
    /* Tenths, rounded half up, without floating point; 1023.95 KiB and more reads as 1.0 MiB. */
    for (;; unit++) {
        const uint64_t whole = bytes >> (10 * unit);
        const uint64_t rest = (bytes >> (10 * unit - 10)) & 1023;
        const uint64_t tenths = whole * 10 + (rest * 10 + 512) / 1024;
        if (tenths < 10240 || unit == 6) {
            (void)snprintf(ret, CF_SIZE_TEXT_SIZE, "%llu.%llu %s",
                           (unsigned long long)(tenths / 10), (unsigned long long)(tenths % 10),
                           names[unit]);
            return ret;
        }
    }
}

enum { DAY_S = 86400, ERA_DAYS = 146097, EPOCH_DAYS = 719468 };

/* Days since 1970-01-01. The year is taken to begin in March, so that the leap day is its last. */
int64_t cf_civil_to_days(int64_t year, unsigned month, unsigned day)
{
    const int64_t y = month <= 2 ? year - 1 : year;
    const int64_t era = (y >= 0 ? y : y - 399) / 400;
    const int64_t year_of_era = y - era * 400;
    const int64_t day_of_year = (153 * (int64_t)((month + 9) % 12) + 2) / 5 + day - 1;
    const int64_t day_of_era =
        year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * ERA_DAYS + day_of_era - EPOCH_DAYS;
}

cf_civil cf_civil_of(int64_t utc_ms)
{
    int64_t utc_s = utc_ms / 1000 - (utc_ms % 1000 < 0 ? 1 : 0);
    int64_t days = utc_s / DAY_S;
    int64_t in_day = utc_s % DAY_S;
    if (in_day < 0) {
        in_day += DAY_S;
        days--;
    }
    days += EPOCH_DAYS;
    const int64_t era = (days >= 0 ? days : days - (ERA_DAYS - 1)) / ERA_DAYS;
    const int64_t day_of_era = days - era * ERA_DAYS;
    const int64_t year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    const int64_t day_of_year =
        day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    const int64_t month_from_march = (5 * day_of_year + 2) / 153;
    const unsigned month =
        (unsigned)(month_from_march < 10 ? month_from_march + 3 : month_from_march - 9);
    return (cf_civil){
        .year = year_of_era + era * 400 + (month <= 2 ? 1 : 0),
        .month = month,
        .day = (unsigned)(day_of_year - (153 * month_from_march + 2) / 5 + 1),
        .hour = (unsigned)(in_day / 3600),
        .minute = (unsigned)(in_day / 60 % 60),
        .second = (unsigned)(in_day % 60),
    };
}

static bool civil_valid(const cf_civil *c)
{
    static const unsigned days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    if (c->year < 1 || c->year > 9999 || c->month < 1 || c->month > 12)
        return false;
    const bool leap = (c->year % 4 == 0 && c->year % 100 != 0) || c->year % 400 == 0;
    const unsigned day_max = days[c->month - 1] + (c->month == 2 && leap ? 1 : 0);
    return c->day >= 1 && c->day <= day_max && c->hour < 24 && c->minute < 60 && c->second < 60;
}

static bool civil_to_ms(const cf_civil *c, unsigned ms, int64_t *ret_utc_ms)
{
    if (!civil_valid(c))
        return false;
    const int64_t utc_s = cf_civil_to_days(c->year, c->month, c->day) * DAY_S +
                          (int64_t)(c->hour * 3600 + c->minute * 60 + c->second);
    *ret_utc_ms = utc_s * 1000 + ms;
    return true;
}

/* Years that have not four digits cannot be written in these forms: the nearest that can is. */
static cf_civil civil_clamped(int64_t utc_ms)
{
    enum { YEAR_1_DAYS = 719162 };
    const int64_t min_ms = -(int64_t)YEAR_1_DAYS * DAY_S * 1000;
    const int64_t max_ms = 253402300799999; /* 9999-12-31T23:59:59.999Z */
    return cf_civil_of(utc_ms < min_ms ? min_ms : utc_ms > max_ms ? max_ms : utc_ms);
}

void cf_time_render_iso(int64_t utc_ms, char ret[CF_TIME_SIZE])
{
    const cf_civil c = civil_clamped(utc_ms);
    (void)snprintf(ret, CF_TIME_SIZE, "%04u-%02u-%02uT%02u:%02u:%02uZ", (unsigned)c.year % 10000,
                   c.month % 100, c.day % 100, c.hour % 100, c.minute % 100, c.second % 100);
}

void cf_time_render_basic(int64_t utc_ms, char ret[CF_TIME_SIZE])
{
    const cf_civil c = civil_clamped(utc_ms);
    (void)snprintf(ret, CF_TIME_SIZE, "%04u%02u%02uT%02u%02u%02uZ", (unsigned)c.year % 10000,
                   c.month % 100, c.day % 100, c.hour % 100, c.minute % 100, c.second % 100);
}

/* A cursor over a fixed form: letters of the form stand for themselves but
 * Y o (month) D h m s, which each take one digit of their number. */
static bool civil_scan(cf_slice text, const char *form, cf_civil *ret)
{
    cf_civil c = {0};
    if (text.len != strlen(form))
        return false;
    for (size_t i = 0; i < text.len; i++) {
        const uint8_t byte = text.ptr[i];
        unsigned *field = NULL;
        switch (form[i]) {
        case 'o':
            field = &c.month;
            break;
        case 'D':
            field = &c.day;
            break;
        case 'h':
            field = &c.hour;
            break;
        case 'm':
            field = &c.minute;
            break;
        case 's':
            field = &c.second;
            break;
        case 'Y':
            break;
        default:
            if (byte != (uint8_t)form[i])
                return false;
            continue;
        }
        if (byte < '0' || byte > '9')
            return false;
        if (field != NULL)
            *field = *field * 10 + (unsigned)(byte - '0');
        else
            c.year = c.year * 10 + (byte - '0');
    }
    *ret = c;
    return true;
}

bool cf_time_parse_iso(cf_slice text, int64_t *ret_utc_ms)
{
    static const char form[] = "YYYY-oo-DDThh:mm:ss";
    const size_t head = sizeof(form) - 1;
    if (text.len < head + 1 || text.ptr[text.len - 1] != 'Z')
        return false;
    cf_civil c = {0};
    if (!civil_scan(cf_slice_of(text.ptr, head), form, &c))
        return false;
    /* A fraction of 1 to 9 digits; below a millisecond it is cut. */
    unsigned ms = 0;
    const cf_slice rest = cf_slice_of(text.ptr + head, text.len - head - 1);
    if (rest.len > 0) {
        if (rest.ptr[0] != '.' || rest.len < 2 || rest.len > 10)
            return false;
        for (size_t i = 1, scale = 100; i < rest.len; i++, scale /= 10) {
            if (rest.ptr[i] < '0' || rest.ptr[i] > '9')
                return false;
            ms += (unsigned)(rest.ptr[i] - '0') * (unsigned)scale;
        }
    }
    return civil_to_ms(&c, ms, ret_utc_ms);
}

bool cf_time_parse_basic(cf_slice text, int64_t *ret_utc_ms)
{
    cf_civil c = {0};
    return civil_scan(text, "YYYYooDDThhmmssZ", &c) && civil_to_ms(&c, /* ms= */ 0, ret_utc_ms);
}

bool cf_time_parse_http(cf_slice text, int64_t *ret_utc_ms)
{
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    static const char weekdays[] = "ThuFriSatSunMonTueWed"; /* 1970-01-01 was a Thursday */
    enum { HTTP_LEN = 29, MONTH_AT = 8 };
    if (text.len != HTTP_LEN)
        return false;

    /* The names are read by hand; what stands in for them lets the rest be one form. */
    uint8_t digits[HTTP_LEN];
    memcpy(digits, text.ptr, HTTP_LEN);
    memcpy(digits, "---", 3);
    memcpy(digits + MONTH_AT, "---", 3);
    cf_civil c = {0};
    if (!civil_scan(cf_slice_of(digits, HTTP_LEN), "---, DD --- YYYY hh:mm:ss GMT", &c))
        return false;
    for (unsigned i = 0; i < 12; i++)
        if (memcmp(text.ptr + MONTH_AT, months + (size_t)i * 3, 3) == 0)
            c.month = i + 1;
    int64_t utc_ms = 0;
    if (!civil_to_ms(&c, /* ms= */ 0, &utc_ms))
        return false;
    const int64_t days = cf_civil_to_days(c.year, c.month, c.day);
    const size_t weekday = (size_t)(((days % 7) + 7) % 7);
    if (memcmp(text.ptr, weekdays + weekday * 3, 3) != 0)
        return false;
    *ret_utc_ms = utc_ms;
    return true;
}
