/* SPDX-License-Identifier: Apache-2.0
 *
 * Retention: which snapshots of one node stay, by rules as restic's users know them. Pure.
 *
 * A counted rule keeps the newest snapshot of each of the last N hours, days, weeks... that have
 * one; while it has counts left at the end it also keeps the oldest snapshot of all, so that a
 * history that is not long enough yet is not cut. Hours, days, ISO weeks (from Monday), months and
 * years are those of UTC. A snapshot stays when any rule keeps it. Times are the true ones of the
 * roots, in whole seconds; ids only break ties.
 */
#ifndef SRC_REPO_RETENTION_H
#define SRC_REPO_RETENTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "repo/run.h"
#include "s3/err.h"
#include "s3/slice.h"

enum {
    CF_RETENTION_COUNT_MAX = 1000000,
    CF_RETENTION_SPAN_MAX = 99999, /* of each unit of a span; ours: 273 years of days */
};

/* Counted back from the newest snapshot: years and months by the calendar, then days, then hours.
 * A day that a month does not have runs over into the next, as in restic: a month before 31 July
 * is 1 July. */
typedef struct cf_retention_span {
    uint32_t years, months, weeks, days, hours;
} cf_retention_span;

/* 0, NULL: the rule is not given. */
typedef struct cf_retention {
    uint32_t last, hourly, daily, weekly, monthly, yearly;
    cf_retention_span within;
    const char *const *tags; /* borrowed; a snapshot that has any of them stays */
    size_t tag_total;
} cf_retention;

/* Bits: why a snapshot stays. Those behind CF_KEEP_TAG are not rules of the user's. */
typedef enum cf_keep {
    CF_KEEP_LAST = 1 << 0,
    CF_KEEP_HOURLY = 1 << 1,
    CF_KEEP_DAILY = 1 << 2,
    CF_KEEP_WEEKLY = 1 << 3,
    CF_KEEP_MONTHLY = 1 << 4,
    CF_KEEP_YEARLY = 1 << 5,
    CF_KEEP_OLDEST = 1 << 6, /* a counted rule had counts left */
    CF_KEEP_WITHIN = 1 << 7,
    CF_KEEP_TAG = 1 << 8,
    CF_KEEP_NEWEST = 1 << 9,
    CF_KEEP_PROVED = 1 << 10, /* the newest that verify --read-data found whole */
    CF_KEEP_PINNED = 1 << 11, /* tagged "keep" */
    CF_KEEP_USED = 1 << 12,   /* a run that is not decided yet builds on it */
    CF_KEEP_READ = 1 << 13,   /* a restore, verify or copy reads it */
    CF_KEEP_FUTURE = 1 << 14, /* written by a newer chunkferry */
    CF_KEEP_NEW = 1 << 15,    /* committed since prune looked */
} cf_keep;
enum { CF_KEEP_TOTAL = 16 };
/* Of one bit, for people and for JSON: "daily", "the newest"; static. */
const char *cf_keep_text(unsigned bit);
const char *cf_keep_name(unsigned bit);

typedef struct cf_retention_item {
    cf_run_id run;
    int64_t time_utc_ms;
    bool tagged;   /* has one of the rules' tags */
    unsigned keep; /* cf_keep bits; the rules only add */
} cf_retention_item;

bool cf_retention_is_empty(const cf_retention *r);
/* Fills keep of each. items: any order, left in it. now_utc_ms: a snapshot later than this does not
 * count as the newest for `within` (a clock was wrong), and stays by that rule. CF_ERR_NO_MEMORY. */
CF_NODISCARD cf_err cf_retention_apply(const cf_retention *r, int64_t now_utc_ms,
                                       cf_retention_item *items, size_t total, cf_error *e);

/* "1y6m2w3d12h": each unit once, in this order, m for months. false for anything else, or nothing.
 */
bool cf_retention_span_parse(cf_slice text, cf_retention_span *ret);
/* The moment that lies a span before. */
int64_t cf_retention_span_before(int64_t utc_ms, const cf_retention_span *span);

#endif
