/* SPDX-License-Identifier: Apache-2.0
 *
 * Retry: the decision, as arithmetic.
 */
#include "s3/retry.h"

#include <stddef.h>

enum {
    TRIES_DEFAULT = 8,
    BASE_MS = 50,
    THROTTLE_BASE_MS = 1000,
    CAP_MS = 20000,
    STEEP_FROM = 3,
    DEADLINE_MS = 300000,
    QUOTA = 500,
    RETRY_COST = 14,
    THROTTLE_COST = 5,
    RETRY_AFTER_SPAN_MS = 5000, /* x-amz-retry-after counts within [t_i, t_i + 5 s] */
};

static void fill(uint32_t *field, uint32_t value)
{
    if (*field == 0)
        *field = value;
}

s3_retry_opts s3_retry_opts_fill(s3_retry_opts o)
{
    fill(&o.tries_max, TRIES_DEFAULT);
    fill(&o.base_ms, BASE_MS);
    fill(&o.throttle_base_ms, THROTTLE_BASE_MS);
    fill(&o.cap_ms, CAP_MS);
    fill(&o.steep_from, STEEP_FROM);
    fill(&o.quota_max, QUOTA);
    fill(&o.retry_cost, RETRY_COST);
    fill(&o.transport_cost, RETRY_COST);
    fill(&o.throttle_cost, THROTTLE_COST);
    if (o.deadline_ms == 0)
        o.deadline_ms = DEADLINE_MS;
    return o;
}

/* base * 2^i, from steep_from on * 4; never above the cap. */
static uint64_t bound_ms(const s3_retry_opts *o, uint32_t base_ms, uint32_t retry_idx, bool steep)
{
    uint64_t grown = base_ms;

    for (uint32_t i = 1; i <= retry_idx && grown < o->cap_ms; i++)
        grown *= steep && i >= o->steep_from ? 4u : 2u;
    return grown < o->cap_ms ? grown : o->cap_ms;
}

/* Full jitter: random share of the bound. UINT32_MAX is the whole of it. */
static uint64_t share(uint64_t bound, uint32_t random)
{
    return bound * ((uint64_t)random + 1) >> 32;
}

static uint64_t wait_of(const s3_retry_opts *o, const s3_retry_event *ev)
{
    const bool throttled = ev->class_ == S3_RETRY_THROTTLE;
    const uint32_t base_ms = throttled ? o->throttle_base_ms : o->base_ms;
    const uint64_t wait_ms = share(bound_ms(o, base_ms, ev->attempt - 1, !throttled), ev->random);

    if (ev->has_retry_after && o->retry_after_exact)
        return ev->retry_after_ms < o->cap_ms ? ev->retry_after_ms : o->cap_ms;
    if (!ev->has_retry_after || ev->retry_after_ms <= wait_ms)
        return wait_ms;
    const uint64_t most = wait_ms + RETRY_AFTER_SPAN_MS;
    return ev->retry_after_ms < most ? ev->retry_after_ms : most;
}

static uint32_t cost_of(const s3_retry_opts *o, s3_retry_class class_)
{
    if (class_ == S3_RETRY_THROTTLE)
        return o->throttle_cost;
    return class_ == S3_RETRY_TRANSPORT ? o->transport_cost : o->retry_cost;
}

static bool is_fix(s3_retry_class class_)
{
    return class_ == S3_RETRY_REGION || class_ == S3_RETRY_SKEW || class_ == S3_RETRY_CREDENTIALS;
}

s3_retry_decision s3_retry_decide(const s3_retry_opts *o, const s3_retry_event *ev)
{
    s3_retry_decision d = {.action = S3_RETRY_STOP_FATAL};

    if (ev->class_ == S3_RETRY_FATAL || (is_fix(ev->class_) && (ev->fixed & 1u << ev->class_) != 0))
        return d;
    if (is_fix(ev->class_)) {
        d.action = S3_RETRY_FIX; /* free of charge: it is answered, and happens once */
        return d;
    }
    if (ev->attempt >= o->tries_max) {
        d.action = S3_RETRY_STOP_TRIES;
        return d;
    }
    const uint32_t cost = cost_of(o, ev->class_);
    if (cost > ev->quota) {
        d.action = S3_RETRY_STOP_QUOTA;
        return d;
    }
    const uint64_t wait_ms = wait_of(o, ev);
    if (ev->elapsed_ms + wait_ms > o->deadline_ms) {
        d.action = S3_RETRY_STOP_DEADLINE;
        return d;
    }
    d = (s3_retry_decision){.action = S3_RETRY_WAIT, .wait_ms = wait_ms, .cost = cost};
    return d;
}

uint32_t s3_retry_refund(const s3_retry_opts *o, uint32_t quota, uint32_t last_cost)
{
    const uint64_t sum = (uint64_t)quota + (last_cost == 0 ? 1 : last_cost);

    return sum < o->quota_max ? (uint32_t)sum : o->quota_max;
}
