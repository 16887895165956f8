/* SPDX-License-Identifier: Apache-2.0
 *
 * Numbers and times from text and back, without locale, errno or surprises.
 */
#ifndef S3_BASE_NUM_H
#define S3_BASE_NUM_H

#include <stdint.h>

#include "s3/slice.h"

/* Whole text, decimal digits only (cf_i64_parse: one leading '-'); false on overflow or anything
 * else. */
bool cf_u64_parse(cf_slice text, uint64_t *ret);
bool cf_i64_parse(cf_slice text, int64_t *ret);
/* "64", "64K", "64KiB", "128 MiB", "2G": powers of 1024. */
bool cf_size_parse(cf_slice text, uint64_t *ret_bytes);

enum {
    CF_TIME_SIZE = 32, /* room for every form below, with NUL */
    CF_SIZE_TEXT_SIZE = 32,
};
/* "431.0 MiB" */
const char *cf_size_render(uint64_t bytes, char ret[CF_SIZE_TEXT_SIZE]);

void cf_time_render_iso(int64_t utc_ms, char ret[CF_TIME_SIZE]);   /* 2026-11-21T14:31:00Z */
void cf_time_render_basic(int64_t utc_ms, char ret[CF_TIME_SIZE]); /* 20261121T143100Z */
/* 2026-11-21T14:31:00Z and 2026-11-21T14:31:00.123Z */
bool cf_time_parse_iso(cf_slice text, int64_t *ret_utc_ms);
bool cf_time_parse_basic(cf_slice text, int64_t *ret_utc_ms); /* 20261121T143100Z */
/* Sat, 21 Nov 2026 14:31:00 GMT */
bool cf_time_parse_http(cf_slice text, int64_t *ret_utc_ms);

/* The proleptic Gregorian calendar in UTC. */
typedef struct cf_civil {
    int64_t year;
    unsigned month, day, hour, minute, second; /* 1..12, 1..31, 0..23, 0..59, 0..59 */
} cf_civil;
cf_civil cf_civil_of(int64_t utc_ms);
/* Days since 1970-01-01, a Thursday. day may be outside the month: it is counted from its first;
 * month is 1..12. */
int64_t cf_civil_to_days(int64_t year, unsigned month, unsigned day);

static inline uint32_t cf_le32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}
static inline uint64_t cf_le64(const uint8_t *p)
{
    return (uint64_t)cf_le32(p) | (uint64_t)cf_le32(p + 4) << 32;
}

#endif
