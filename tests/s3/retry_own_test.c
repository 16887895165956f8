/* SPDX-License-Identifier: Apache-2.0
 *
 * Retry and throttle: our own rules, both sides of each boundary.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "s3/retry.h"
#include "s3/throttle.h"

typedef struct row {
    const char *title;
    s3_retry_event ev;
    s3_retry_action action;
    uint64_t wait_ms;
    uint32_t cost;
} row;

enum { MOST = -1 }; /* random: the whole bound */
#define R (uint32_t) MOST

static const row rows[] = {
    {"first wait is at most the base",
     {S3_RETRY_SERVER, 1, 0, false, 0, R, 500, 0},
     S3_RETRY_WAIT,
     50,
     14},
    {"no jitter, no wait", {S3_RETRY_SERVER, 1, 0, false, 0, 0, 500, 0}, S3_RETRY_WAIT, 0, 14},
    {"half the jitter, half the wait",
     {S3_RETRY_SERVER, 1, 0, false, 0, R / 2, 500, 0},
     S3_RETRY_WAIT,
     25,
     14},
    {"third wait still doubles",
     {S3_RETRY_SERVER, 3, 0, false, 0, R, 500, 0},
     S3_RETRY_WAIT,
     200,
     14},
    {"fourth wait is four times the third",
     {S3_RETRY_SERVER, 4, 0, false, 0, R, 500, 0},
     S3_RETRY_WAIT,
     800,
     14},
    {"sixth", {S3_RETRY_TRANSPORT, 6, 0, false, 0, R, 500, 0}, S3_RETRY_WAIT, 12800, 14},
    {"the cap holds", {S3_RETRY_SERVER, 7, 0, false, 0, R, 500, 0}, S3_RETRY_WAIT, 20000, 14},
    {"eight tries are enough",
     {S3_RETRY_SERVER, 8, 0, false, 0, R, 500, 0},
     S3_RETRY_STOP_TRIES,
     0,
     0},
    {"throttled waits start at a second",
     {S3_RETRY_THROTTLE, 1, 0, false, 0, R, 500, 0},
     S3_RETRY_WAIT,
     1000,
     5},
    {"and double always", {S3_RETRY_THROTTLE, 5, 0, false, 0, R, 500, 0}, S3_RETRY_WAIT, 16000, 5},
    {"final is final", {S3_RETRY_FATAL, 1, 0, false, 0, R, 500, 0}, S3_RETRY_STOP_FATAL, 0, 0},
    {"tokens just enough", {S3_RETRY_SERVER, 1, 0, false, 0, R, 14, 0}, S3_RETRY_WAIT, 50, 14},
    {"one token short", {S3_RETRY_SERVER, 1, 0, false, 0, R, 13, 0}, S3_RETRY_STOP_QUOTA, 0, 0},
    {"throttled with five tokens",
     {S3_RETRY_THROTTLE, 1, 0, false, 0, R, 5, 0},
     S3_RETRY_WAIT,
     1000,
     5},
    {"throttled with four tokens",
     {S3_RETRY_THROTTLE, 1, 0, false, 0, R, 4, 0},
     S3_RETRY_STOP_QUOTA,
     0,
     0},
    {"the wait ends at the deadline",
     {S3_RETRY_SERVER, 1, 299950, false, 0, R, 500, 0},
     S3_RETRY_WAIT,
     50,
     14},
    {"the wait ends behind the deadline",
     {S3_RETRY_SERVER, 1, 299951, false, 0, R, 500, 0},
     S3_RETRY_STOP_DEADLINE,
     0,
     0},
    {"hint below our wait", {S3_RETRY_SERVER, 1, 0, true, 49, R, 500, 0}, S3_RETRY_WAIT, 50, 14},
    {"hint above our wait", {S3_RETRY_SERVER, 1, 0, true, 51, R, 500, 0}, S3_RETRY_WAIT, 51, 14},
    {"hint at its most", {S3_RETRY_SERVER, 1, 0, true, 5050, R, 500, 0}, S3_RETRY_WAIT, 5050, 14},
    {"hint cut", {S3_RETRY_SERVER, 1, 0, true, 5051, R, 500, 0}, S3_RETRY_WAIT, 5050, 14},
    {"an absurd hint is cut",
     {S3_RETRY_SERVER, 1, 0, true, UINT64_MAX, R, 500, 0},
     S3_RETRY_WAIT,
     5050,
     14},
    {"region is corrected at once", {S3_RETRY_REGION, 1, 0, false, 0, R, 0, 0}, S3_RETRY_FIX, 0, 0},
    {"also by the last try", {S3_RETRY_REGION, 8, 0, false, 0, R, 0, 0}, S3_RETRY_FIX, 0, 0},
    {"but once",
     {S3_RETRY_REGION, 2, 0, false, 0, R, 500, 1u << S3_RETRY_REGION},
     S3_RETRY_STOP_FATAL,
     0,
     0},
    {"skew after region",
     {S3_RETRY_SKEW, 2, 0, false, 0, R, 500, 1u << S3_RETRY_REGION},
     S3_RETRY_FIX,
     0,
     0},
    {"skew once",
     {S3_RETRY_SKEW, 2, 0, false, 0, R, 500, 1u << S3_RETRY_SKEW},
     S3_RETRY_STOP_FATAL,
     0,
     0},
    {"credentials once",
     {S3_RETRY_CREDENTIALS, 2, 0, false, 0, R, 500, 1u << S3_RETRY_CREDENTIALS},
     S3_RETRY_STOP_FATAL,
     0,
     0},
};

static void test_rows(void **state)
{
    const s3_retry_opts o = s3_retry_opts_fill((s3_retry_opts){0});

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const s3_retry_decision d = s3_retry_decide(&o, &rows[i].ev);
        print_message("  %s\n", rows[i].title);
        assert_int_equal(d.action, rows[i].action);
        assert_int_equal(d.wait_ms, rows[i].wait_ms);
        assert_int_equal(d.cost, rows[i].cost);
    }
}

static void test_refund(void **state)
{
    const s3_retry_opts o = s3_retry_opts_fill((s3_retry_opts){0});

    (void)state;
    assert_int_equal(s3_retry_refund(&o, 100, 14), 114);
    assert_int_equal(s3_retry_refund(&o, 100, 0), 101);
    assert_int_equal(s3_retry_refund(&o, 499, 0), 500);
    assert_int_equal(s3_retry_refund(&o, 500, 0), 500);
    assert_int_equal(s3_retry_refund(&o, 490, 14), 500);
}

static void test_throttle_halves_once_for_all_under_way(void **state)
{
    s3_throttle t;
    uint64_t epoch[8];
    uint64_t late = 0;

    (void)state;
    s3_throttle_init(&t, 8);
    for (int i = 0; i < 8; i++)
        assert_true(s3_throttle_enter(&t, &epoch[i]));
    assert_false(s3_throttle_enter(&t, &late));
    for (int i = 0; i < 8; i++)
        s3_throttle_leave(&t, epoch[i], S3_THROTTLE_SLOW);
    assert_int_equal(t.limit, 4);
    for (int i = 0; i < 3; i++) {
        assert_true(s3_throttle_enter(&t, &late));
        s3_throttle_leave(&t, late, S3_THROTTLE_SLOW);
    }
    assert_int_equal(t.limit, 1);
    assert_true(s3_throttle_enter(&t, &late));
    assert_int_equal(t.active, 1);
    assert_false(s3_throttle_enter(&t, &epoch[0]));
    s3_throttle_leave(&t, late, S3_THROTTLE_OTHER);
    assert_int_equal(t.limit, 1);
}

static void test_throttle_grows_back(void **state)
{
    s3_throttle t;
    uint64_t epoch = 0;
    unsigned successes = 0;

    (void)state;
    s3_throttle_init(&t, 4);
    assert_true(s3_throttle_enter(&t, &epoch));
    s3_throttle_leave(&t, epoch, S3_THROTTLE_SLOW);
    for (; t.limit < 4; successes++) {
        assert_true(s3_throttle_enter(&t, &epoch));
        s3_throttle_leave(&t, epoch, S3_THROTTLE_GOOD);
    }
    assert_int_equal(successes, 2 + 3);
    assert_true(s3_throttle_enter(&t, &epoch));
    s3_throttle_leave(&t, epoch, S3_THROTTLE_GOOD);
    assert_int_equal(t.limit, 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_refund),
        cmocka_unit_test(test_throttle_halves_once_for_all_under_way),
        cmocka_unit_test(test_throttle_grows_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
