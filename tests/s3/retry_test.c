/* SPDX-License-Identifier: Apache-2.0
 *
 * Retry against the published sequences (../shared/vectors/retry): delays with the jitter fixed at
 * 1, tokens after each step. The 2.1 sequences run on our defaults, with only the tries they name;
 * the 2.0 ones on 2.0's numbers. Our own cases are in retry_own_test.c and run everywhere.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "s3/retry.h"

static const char *const vectors_path = "../shared/vectors/retry/standard-retry-cases.json";

static s3_retry_opts opts_of(const json_t *one)
{
    const bool old = strcmp(json_string_value(json_object_get(one, "spec")), "2.0") == 0;
    s3_retry_opts o = {.tries_max =
                           (uint32_t)json_integer_value(json_object_get(one, "max_attempts"))};

    if (old) {
        o.base_ms = 1000;
        o.steep_from = UINT32_MAX;
        o.retry_cost = 5;
        o.throttle_cost = 5;
        o.transport_cost = 10;
        o.retry_after_exact = true;
    }
    o.cap_ms = (uint32_t)json_integer_value(json_object_get(one, "max_backoff_ms"));
    return s3_retry_opts_fill(o);
}

static s3_retry_event event_of(const char *response)
{
    s3_retry_event ev = {.random = UINT32_MAX};
    const char *after = strstr(response, "x-amz-retry-after: ");
    unsigned long long ms = 0;

    if (strstr(response, "SlowDown") != NULL)
        ev.class_ = S3_RETRY_THROTTLE;
    else
        ev.class_ = strstr(response, "timeout") != NULL ? S3_RETRY_TRANSPORT : S3_RETRY_SERVER;
    if (strstr(response, "explicit delay 1s") != NULL)
        ms = 1000;
    for (const char *c = after == NULL ? "" : after + strlen("x-amz-retry-after: ");
         *c >= '0' && *c <= '9'; c++)
        ms = ms * 10 + (unsigned)(*c - '0');
    ev.has_retry_after = ms > 0;
    ev.retry_after_ms = ms;
    return ev;
}

static const char *const expects[] = {
    [S3_RETRY_STOP_FATAL] = "?",
    [S3_RETRY_STOP_TRIES] = "max_attempts_exceeded",
    [S3_RETRY_STOP_QUOTA] = "retry_quota_exceeded",
    [S3_RETRY_STOP_DEADLINE] = "?",
    [S3_RETRY_WAIT] = "retry",
    [S3_RETRY_FIX] = "?",
};

static void run_case(const json_t *one)
{
    const s3_retry_opts o = opts_of(one);
    const char *name = json_string_value(json_object_get(one, "name"));
    uint32_t quota = (uint32_t)json_integer_value(json_object_get(one, "initial_quota"));
    uint32_t attempt = 1;
    uint32_t last_cost = 0;
    size_t i = 0;
    const json_t *step = NULL;

    json_array_foreach(json_object_get(one, "steps"), i, step)
    {
        const char *response = json_string_value(json_object_get(step, "response"));
        const char *expect = json_string_value(json_object_get(step, "expect"));
        print_message("  %s, step %zu: %s\n", name, i + 1, response);
        if (strcmp(response, "200") == 0) {
            assert_memory_equal(expect, "success", 7);
            quota = s3_retry_refund(&o, quota, last_cost);
            attempt = 1;
            last_cost = 0;
        } else {
            s3_retry_event ev = event_of(response);
            ev.attempt = attempt++;
            ev.quota = quota;
            const s3_retry_decision d = s3_retry_decide(&o, &ev);
            assert_string_equal(expects[d.action], expect);
            if (d.action == S3_RETRY_WAIT)
                assert_int_equal(d.wait_ms, json_integer_value(json_object_get(step, "delay_ms")));
            quota -= d.cost;
            last_cost = d.cost;
        }
        assert_int_equal(quota, json_integer_value(json_object_get(step, "quota_after")));
    }
}

static void test_vectors(void **state)
{
    json_t *cases = json_object_get(*state, "cases");
    size_t i = 0;
    const json_t *one = NULL;

    json_array_foreach(cases, i, one) run_case(one);
    assert_int_equal(json_array_size(cases), 16);
}

int main(void)
{
    json_t *all = json_load_file(vectors_path, 0, NULL);

    if (all == NULL) {
        (void)printf("skipped: %s not present\n", vectors_path);
        return 77;
    }
    const struct CMUnitTest tests[] = {cmocka_unit_test_prestate(test_vectors, all)};
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    json_decref(all);
    return failed;
}
