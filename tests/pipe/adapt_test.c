/* SPDX-License-Identifier: Apache-2.0
 *
 * The controller of the level: what it does with each share of waiting, and where it comes to rest
 * with a network and cores of given speeds.
 */
#include "pipe/adapt.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

typedef struct share_row {
    const char *title;
    uint32_t workers;
    uint64_t idle_ms; /* of 1,000 ms, of all workers */
    int level_after;  /* from 5 of 1..9 */
} share_row;

static const share_row rows[] = {
    {"never waits", 1, 0, 4},
    {"just below a tenth", 1, 99, 4},
    {"a tenth", 1, 100, 5},
    {"just below two fifths", 1, 399, 5},
    {"two fifths", 1, 400, 6},
    {"just below three quarters", 1, 749, 6},
    {"three quarters", 1, 750, 7},
    {"all the time", 1, 1000, 7},
    {"one of two workers, all the time", 2, 1000, 6},
    {"four workers, a tenth each", 4, 400, 5},
    {"four workers, less than a tenth each", 4, 396, 4},
};

static int window(cf_adapt *const a, uint64_t *const now_ms, const uint64_t time_ms,
                  const uint64_t idle_ms)
{
    const int before = a->level;

    for (int i = 1; i < CF_ADAPT_FRAMES; i++)
        assert_int_equal(cf_adapt_next(a, *now_ms, 0), before);
    *now_ms += time_ms;
    return cf_adapt_next(a, *now_ms, idle_ms);
}

static void each_share(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        uint64_t now_ms = 77;
        cf_adapt a = {.level = 5, .level_max = 9, .workers = rows[i].workers, .began_ms = now_ms};
        print_message("  %s\n", rows[i].title);
        assert_int_equal(window(&a, &now_ms, 1000, rows[i].idle_ms), rows[i].level_after);
        /* The next look begins anew. */
        const int level = a.level;
        assert_int_equal(window(&a, &now_ms, 1000, rows[i].workers * UINT64_C(200)), level);
    }
}

static void ends_of_the_scale(void **state)
{
    uint64_t now_ms = 0;
    cf_adapt a = {.level = 3, .level_max = 6, .workers = 2};

    (void)state;
    for (int i = 0; i < 20; i++)
        (void)window(&a, &now_ms, 1000, 2000);
    assert_int_equal(a.level, 6);
    for (int i = 0; i < 20; i++)
        (void)window(&a, &now_ms, 1000, 0);
    assert_int_equal(a.level, 1);
    assert_int_equal(window(&a, &now_ms, 0, 0), 1); /* a clock that stands says nothing */
}

/* Level L takes 10 * L ms a frame and stores 1,000 / (L + 3) of it; the network sends so much in a
 * ms, out of a buffer of 40 frames. */
static int settle(const double network, const int begin, const int level_max)
{
    enum { FRAMES = 4000, LAST = 1000, BUFFER = 10000 };
    cf_adapt a = {.level = begin, .level_max = level_max, .workers = 1};
    double now = 0, queued = 0, idle = 0;
    int sum = 0;

    for (int i = 0; i < FRAMES; i++) {
        const int level = cf_adapt_next(&a, (uint64_t)now, (uint64_t)idle);
        queued -= network * 10 * level;
        queued = (queued > 0 ? queued : 0) + 1000.0 / (level + 3);
        idle = queued > BUFFER ? (queued - BUFFER) / network : 0;
        queued = queued > BUFFER ? BUFFER : queued;
        now += 10 * level + idle;
        sum += i >= FRAMES - LAST ? level : 0;
    }
    return (sum + LAST / 2) / LAST;
}

static void comes_to_rest(void **state)
{
    (void)state;
    for (int begin = 1; begin <= 19; begin += 6) {
        /* 10 * L ms of 2.5 are 1,000 / (L + 3) at L = 5; a little idle is let be. */
        assert_in_range(settle(2.5, begin, 19), 3, 6);
        assert_int_equal(settle(1000, begin, 19), 1);
        assert_int_equal(settle(0.05, begin, 19), 19);
        assert_int_equal(settle(0.05, begin, 7), 7);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_share),
        cmocka_unit_test(ends_of_the_scale),
        cmocka_unit_test(comes_to_rest),
    };
    return cmocka_run_group_tests(tests, /* setup= */ NULL, /* teardown= */ NULL);
}
