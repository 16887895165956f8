/* SPDX-License-Identifier: Apache-2.0
 *
 * A world with a deadline, and the pace.
 */
#include "cli/limits.h"

static int64_t limits_now_utc_ms(void *const impl)
{
    const cf_limits *const l = impl;

    return l->inner->now_utc_ms(l->inner->impl);
}

static uint64_t limits_mono_ms(void *const impl)
{
    const cf_limits *const l = impl;

    return l->inner->mono_ms(l->inner->impl);
}

static bool limits_stopping(void *const impl)
{
    const cf_limits *const l = impl;

    return l->inner->stopping(l->inner->impl) || cf_limits_time_is_over(l);
}

/* To the deadline at most: a sleep ends when stop is wished. Afterwards as long as it is. */
static void limits_sleep_ms(void *const impl, const uint64_t ms)
{
    const cf_limits *const l = impl;
    const uint64_t now = limits_mono_ms(impl);
    const uint64_t left = l->deadline_mono_ms > now ? l->deadline_mono_ms - now : 0;

    l->inner->sleep_ms(l->inner->impl, left > 0 && left < ms ? left : ms);
}

static void limits_random(void *const impl, void *const ret, const size_t len)
{
    const cf_limits *const l = impl;

    l->inner->random(l->inner->impl, ret, len);
}

cf_err cf_limits_init(cf_limits *const l, const cf_values *const v, cf_ctx *const ctx,
                      cf_error *const e)
{
    uint64_t duration_ms = 0, up = 0, down = 0;

    CF_TRY(cf_values_duration(v, CF_OPT_MAX_DURATION, &duration_ms, e));
    CF_TRY(cf_values_size(v, CF_OPT_LIMIT_UPLOAD, &up, e));
    CF_TRY(cf_values_size(v, CF_OPT_LIMIT_DOWNLOAD, &down, e));
    l->inner = ctx->world;
    if (duration_ms > 0) {
        l->deadline_mono_ms = l->inner->mono_ms(l->inner->impl) + duration_ms;
        l->world = (cf_world){.now_utc_ms = limits_now_utc_ms,
                              .mono_ms = limits_mono_ms,
                              .sleep_ms = limits_sleep_ms,
                              .random = limits_random,
                              .stopping = limits_stopping,
                              .impl = l};
        ctx->world = &l->world;
    }
    if (up > 0 || down > 0)
        CF_TRY(cf_pace_new(ctx->world, up, down, &l->pace, e));
    ctx->pace = l->pace;
    return CF_OK;
}

void cf_limits_deinit(cf_limits *const l)
{
    cf_pace_free(l->pace);
    l->pace = NULL;
}

bool cf_limits_time_is_over(const cf_limits *const l)
{
    return l->deadline_mono_ms != 0 && l->inner->mono_ms(l->inner->impl) >= l->deadline_mono_ms;
}
