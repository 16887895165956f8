/* SPDX-License-Identifier: Apache-2.0
 *
 * The controller of the level: what it does in each state, and where it comes to rest on a network
 * and with cores of given speeds.
 */
#include "pipe/adapt.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

typedef struct look_row {
    const char *title;
    cf_adapt_look look;
    int level_after; /* CF_ADAPT_PATIENCE looks, from 5 of 1..9 */
} look_row;

static const look_row rows[] = {
    {"half of the blocks wait to be sent", {.blocks = 12, .raw = 0, .unsent = 6}, 6},
    {"all of them", {.blocks = 12, .raw = 0, .unsent = 12}, 6},
    {"one less than half", {.blocks = 12, .raw = 0, .unsent = 5}, 5},
    {"none to be sent, a quarter to be compressed", {.blocks = 12, .raw = 3, .unsent = 0}, 4},
    {"one less than a quarter", {.blocks = 12, .raw = 2, .unsent = 0}, 5},
    {"some to be compressed, one to be sent", {.blocks = 12, .raw = 9, .unsent = 1}, 5},
    {"the start: nothing anywhere", {.blocks = 12, .raw = 0, .unsent = 0}, 5},
    {"one block only, being sent", {.blocks = 1, .raw = 0, .unsent = 1}, 6},
    {"one block only, to be compressed", {.blocks = 1, .raw = 1, .unsent = 0}, 4},
};

static void each_state(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        cf_adapt a = {.level = 5, .level_max = 9};
        print_message("  %s\n", rows[i].title);
        for (int n = 1; n < CF_ADAPT_PATIENCE; n++)
            assert_int_equal(cf_adapt_next(&a, &rows[i].look), 5);
        assert_int_equal(cf_adapt_next(&a, &rows[i].look), rows[i].level_after);
    }
}

static void ends_of_the_scale(void **state)
{
    const cf_adapt_look slow_network = {.blocks = 8, .unsent = 8};
    const cf_adapt_look slow_cores = {.blocks = 8, .raw = 8};
    cf_adapt a = {.level = 3, .level_max = 6};

    (void)state;
    for (int i = 0; i < 100; i++)
        (void)cf_adapt_next(&a, &slow_network);
    assert_int_equal(a.level, 6);
    for (int i = 0; i < 100; i++)
        (void)cf_adapt_next(&a, &slow_cores);
    assert_int_equal(a.level, 1);
}

/* One look that says otherwise, or nothing, begins the count anew. */
static void patience(void **state)
{
    const cf_adapt_look up = {.blocks = 8, .unsent = 8}, down = {.blocks = 8, .raw = 8};
    const cf_adapt_look neither = {.blocks = 8, .unsent = 2};
    cf_adapt a = {.level = 3, .level_max = 9};

    (void)state;
    for (int round = 0; round < 10; round++) {
        for (int n = 1; n < CF_ADAPT_PATIENCE; n++)
            assert_int_equal(cf_adapt_next(&a, &up), 3);
        assert_int_equal(cf_adapt_next(&a, round % 2 == 0 ? &neither : &down), 3);
    }
}

/* A run of frames: level L compresses a frame in 100 * L ticks and stores 1,000 / (L + 3) of it; the
 * network sends so much in a tick, a lane has one block in hand. Levels at which both take about the same time are at rest. */
typedef struct machine {
    uint32_t blocks;
    double network, unsent, raw;
} machine;

static int settle(machine m, int level, int level_max)
{
    cf_adapt a = {.level = level, .level_max = level_max};
    double sum = 0;
    enum { FRAMES = 4000, LAST = 1000 };

    for (int i = 0; i < FRAMES; i++) {
        const cf_adapt_look look = {.blocks = m.blocks,
                                    .raw = (uint32_t)m.raw,
                                    .unsent = m.unsent > 1 ? (uint32_t)m.unsent - 1 : 0};
        const int now = cf_adapt_next(&a, &look);
        double ticks = 100.0 * now;
        const double frame = 1000.0 / (now + 3);
        const double sent = m.network * ticks / frame;
        m.unsent = (m.unsent > sent ? m.unsent - sent : 0) + 1;
        if (m.unsent > m.blocks) { /* the worker waits for a block */
            ticks += (m.unsent - m.blocks) * frame / m.network;
            m.unsent = m.blocks;
        }
        m.raw = m.blocks - m.unsent; /* the reader is quick */
        sum += i >= FRAMES - LAST ? now : 0;
    }
    return (int)(sum / LAST + 0.5);
}

static void comes_to_rest(void **state)
{
    (void)state;
    for (int begin = 1; begin <= 19; begin += 6) {
        /* 100 * L ticks of 0.25 are 1,000 / (L + 3) at L = 5: 125 of 125. */
        assert_in_range(settle((machine){.blocks = 12, .network = 0.25}, begin, 19), 4, 6);
        assert_int_equal(settle((machine){.blocks = 12, .network = 100}, begin, 19), 1);
        assert_int_equal(settle((machine){.blocks = 12, .network = 0.01}, begin, 19), 19);
        assert_int_equal(settle((machine){.blocks = 12, .network = 0.01}, begin, 7), 7);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_state),
        cmocka_unit_test(ends_of_the_scale),
        cmocka_unit_test(patience),
        cmocka_unit_test(comes_to_rest),
    };
    return cmocka_run_group_tests(tests, /* setup= */ NULL, /* teardown= */ NULL);
}
