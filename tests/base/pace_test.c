/* SPDX-License-Identifier: Apache-2.0
 *
 * Pace: by a clock of its own, so that it is exact; the real one is tests/cli/limits_test.py's.
 */
#include "s3/pace.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "s3/base/cleanup.h"

typedef struct clock_state {
    uint64_t mono_ms;
    uint64_t stop_ms; /* 0: never */
} clock_state;

static uint64_t clock_mono_ms(void *impl)
{
    return ((const clock_state *)impl)->mono_ms;
}

static bool clock_stopping(void *impl)
{
    const clock_state *const c = impl;
    return c->stop_ms != 0 && c->mono_ms >= c->stop_ms;
}

static void clock_sleep_ms(void *impl, uint64_t ms)
{
    clock_state *const c = impl;
    const uint64_t end = c->mono_ms + ms;
    c->mono_ms = c->stop_ms != 0 && c->stop_ms < end ? c->stop_ms : end;
}

static cf_world clock_world(clock_state *c)
{
    return (cf_world){.mono_ms = clock_mono_ms,
                      .sleep_ms = clock_sleep_ms,
                      .stopping = clock_stopping,
                      .impl = c};
}

CF_DEFINE_FREEP(cf_pace, cf_pace_free)

static void keeps_the_rate(void **state)
{
    (void)state;
    static const uint64_t rates[] = {1024, 10 * 1024, 1000000, 100 * 1024 * 1024};
    for (size_t i = 0; i < sizeof(rates) / sizeof(rates[0]); i++) {
        clock_state c = {.mono_ms = 1000};
        const cf_world w = clock_world(&c);
        CF_CLEANUP(cf_pace_freep) cf_pace *p = NULL;
        uint64_t moved = 0;
        assert_int_equal(cf_pace_new(&w, rates[i], 0, &p, NULL), CF_OK);
        while (moved < rates[i] * 10) {
            const size_t step = cf_pace_step(p, CF_PACE_UP, 1 << 20);
            assert_true(step >= 256 && (step <= rates[i] / 20 || step == 256));
            (void)cf_pace_wait(p, CF_PACE_UP, step);
            moved += step;
        }
        assert_in_range(c.mono_ms - 1000, 9500, 10100);
        assert_int_equal(cf_pace_wait(p, CF_PACE_DOWN, 1 << 30), 0);
    }
}

/* Late by a second: only a little of it is caught up with. */
static void does_not_save_up(void **state)
{
    (void)state;
    clock_state c = {.mono_ms = 1000};
    const cf_world w = clock_world(&c);
    CF_CLEANUP(cf_pace_freep) cf_pace *p = NULL;
    assert_int_equal(cf_pace_new(&w, 0, 10000, &p, NULL), CF_OK);
    (void)cf_pace_wait(p, CF_PACE_DOWN, 500);
    c.mono_ms += 60000;
    const uint64_t began = c.mono_ms;
    for (int i = 0; i < 20; i++)
        (void)cf_pace_wait(p, CF_PACE_DOWN, 500);
    assert_in_range(c.mono_ms - began, 700, 1000);
}

static void ends_with_the_wish_to_stop(void **state)
{
    (void)state;
    clock_state c = {.mono_ms = 1000, .stop_ms = 1500};
    const cf_world w = clock_world(&c);
    CF_CLEANUP(cf_pace_freep) cf_pace *p = NULL;
    assert_int_equal(cf_pace_new(&w, 1024, 0, &p, NULL), CF_OK);
    (void)cf_pace_wait(p, CF_PACE_UP, 1 << 20);
    assert_int_equal(cf_pace_wait(p, CF_PACE_UP, 1), 500);
}

static void refuses_what_would_crawl(void **state)
{
    (void)state;
    const cf_world w = {0};
    cf_pace *p = NULL;
    cf_error e = {0};
    assert_int_equal(cf_pace_new(&w, 0, 1023, &p, &e), CF_ERR_USAGE);
    assert_string_equal(e.message,
                        "a limit of 1023 bytes a second is asked for, 1024 is the least");
}

static void none_is_no_limit(void **state)
{
    (void)state;
    assert_int_equal(cf_pace_step(NULL, CF_PACE_UP, 12345), 12345);
    assert_int_equal(cf_pace_wait(NULL, CF_PACE_UP, 12345), 0);
    assert_int_equal(cf_pace_rate(NULL, CF_PACE_DOWN), 0);
    cf_pace_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_the_rate),
        cmocka_unit_test(does_not_save_up),
        cmocka_unit_test(ends_with_the_wish_to_stop),
        cmocka_unit_test(refuses_what_would_crawl),
        cmocka_unit_test(none_is_no_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
