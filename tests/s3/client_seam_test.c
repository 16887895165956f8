/* SPDX-License-Identifier: Apache-2.0
 *
 * The S3 client over a scripted transport and a clock of our own: what it corrects, when it gives
 * up, what it believes after a lost answer, and what is left behind when the nth request fails.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "seam.h"

#define ERROR_BODY(code) "<Error><Code>" code "</Code><Message>text</Message></Error>"
#define ENDPOINT         "http://store.example:7480"

static void expect(const cf_error *e, cf_err got, cf_err wanted, const char *says)
{
    if (got != wanted)
        fail_msg("%s instead of %s: %s", cf_err_name(got), cf_err_name(wanted), e->message);
    if (says != NULL && !seam_contains(e->message, says))
        fail_msg("'%s' is not in '%s'", says, e->message);
    assert_false(seam_contains(e->message, "very-secret"));
}

static cf_err put(seam *s, bool create_only, s3_put_result *ret, cf_error *e)
{
    const s3_put_opts opts = {.create_only = create_only};

    return s3_put(s->client, "k", cf_slice_str("0123456789"), &opts, ret, e);
}

static void script(seam *s, seam_fault fault, uint32_t from, uint32_t total)
{
    s->fault = fault;
    s->fault_from = from;
    s->fault_total = total;
    s->fault_seen = 0;
}

static void script_answer(seam *s, uint32_t total, int status, const char *head, const char *body)
{
    script(s, SEAM_ANSWER, 1, total);
    s->status = status;
    s->head = head;
    s->body = body;
}

/* ---- region and redirects ---- */

static void test_region_moves_an_aws_host_once(void **state)
{
    seam s;
    cf_error e = {0};

    (void)state;
    seam_init(&s, NULL);
    script_answer(&s, 1, 301, "x-amz-bucket-region: eu-west-1\n", ERROR_BODY("PermanentRedirect"));
    expect(&e, put(&s, false, NULL, &e), CF_OK, NULL);
    assert_int_equal(s.note_total, 2);
    assert_string_equal(s.notes[0].host, "backups.s3.us-east-1.amazonaws.com");
    assert_string_equal(s.notes[1].host, "backups.s3.eu-west-1.amazonaws.com");
    assert_true(seam_contains(s.notes[1].url, "https://backups.s3.eu-west-1.amazonaws.com/k"));
    assert_true(seam_contains(s.notes[1].authorization, "/eu-west-1/s3/aws4_request"));
    expect(&e, put(&s, false, NULL, &e), CF_OK, NULL); /* it is remembered */
    assert_int_equal(s.note_total, 3);
    assert_true(seam_contains(s.notes[2].authorization, "/eu-west-1/"));
    seam_deinit(&s);
}

static void test_region_keeps_another_host(void **state)
{
    seam s;
    cf_error e = {0};

    (void)state;
    seam_init(&s, &(s3_client_opts){.endpoint = ENDPOINT});
    script_answer(&s, 1, 400, "x-amz-bucket-region: eu-west-1\n",
                  ERROR_BODY("AuthorizationHeaderMalformed"));
    expect(&e, put(&s, false, NULL, &e), CF_OK, NULL);
    assert_int_equal(s.note_total, 2);
    assert_string_equal(s.notes[1].host, "store.example:7480");
    assert_true(seam_contains(s.notes[1].authorization, "/eu-west-1/"));
    seam_deinit(&s);
}

static void test_region_that_moves_on_is_given_up(void **state)
{
    seam s;
    cf_error e = {0};

    (void)state;
    seam_init(&s, NULL);
    script_answer(&s, 100, 301, "x-amz-bucket-region: eu-west-1\n", "");
    expect(&e, put(&s, false, NULL, &e), CF_ERR_REGION, "HINT: set the region");
    assert_int_equal(s.note_total, 2);
    seam_deinit(&s);
}

static void test_redirects_go_nowhere(void **state)
{
    static const struct {
        const char *title, *endpoint;
        int status;
        const char *head;
    } rows[] = {
        {"another host", ENDPOINT, 307, "Location: http://evil.example/backups/k\n"},
        {"http instead of https", "https://store.example", 307,
         "Location: http://store.example/backups/k\n"},
        {"AWS, http instead of https", NULL, 301, "Location: http://backups.s3.amazonaws.com/k\n"},
        {"the same host", ENDPOINT, 308, "Location: http://store.example:7480/other\n"},
        {"AWS, another host, under a region that is none", NULL, 307,
         "Location: https://evil.example/k\nx-amz-bucket-region: evil.example/\n"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        seam s;
        cf_error e = {0};
        print_message("  %s\n", rows[i].title);
        seam_init(&s, &(s3_client_opts){.endpoint = rows[i].endpoint});
        script_answer(&s, 100, rows[i].status, rows[i].head, "");
        expect(&e, put(&s, false, NULL, &e), CF_ERR_REGION, "where the keys must not go");
        assert_int_equal(s.note_total, 1);
        seam_deinit(&s);
    }
}

/* ---- time ---- */

static void test_skew_is_corrected_once_and_remembered(void **state)
{
    static const int64_t ahead[] = {3600000, -7200000};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        seam s;
        cf_error e = {0};
        seam_init(&s, &(s3_client_opts){.endpoint = ENDPOINT});
        s.server_strict = true;
        s.server_ahead_ms = ahead[i];
        expect(&e, put(&s, false, NULL, &e), CF_OK, NULL);
        assert_int_equal(s.note_total, 2);
        assert_string_equal(s.notes[0].date, "20261121T140640Z");
        assert_string_equal(s.notes[1].date, i == 0 ? "20261121T150640Z" : "20261121T120640Z");
        assert_string_not_equal(s.notes[0].authorization, s.notes[1].authorization);
        expect(&e, put(&s, false, NULL, &e), CF_OK, NULL);
        assert_int_equal(s.note_total, 3);
        seam_deinit(&s);
    }
}

static void test_skew_that_stays_is_given_up(void **state)
{
    seam s;
    cf_error e = {0};

    (void)state;
    seam_init(&s, &(s3_client_opts){.endpoint = ENDPOINT});
    script_answer(&s, 100, 403, "", ERROR_BODY("RequestTimeTooSkewed"));
    expect(&e, put(&s, false, NULL, &e), CF_ERR_SKEW, "HINT: set this machine's clock");
    assert_int_equal(s.note_total, 2);
    seam_deinit(&s);
}

static void test_each_attempt_is_signed_anew(void **state)
{
    seam s;
    cf_error e = {0};

    (void)state;
    seam_init(&s, &(s3_client_opts){.endpoint = ENDPOINT});
    script_answer(&s, 5, 500, "", ERROR_BODY("InternalError"));
    expect(&e, put(&s, false, NULL, &e), CF_OK, NULL);
    assert_int_equal(s.note_total, 6);
    /* waits of 50, 100, 200, 800 and 3,200 ms: dates are seconds */
    assert_string_not_equal(s.notes[3].date, s.notes[4].date);
    assert_string_not_equal(s.notes[4].date, s.notes[5].date);
    assert_string_not_equal(s.notes[4].authorization, s.notes[5].authorization);
    seam_deinit(&s);
}

static void test_deadline_ends_the_tries(void **state)
{
    seam s;
    cf_error e = {0};

    (void)state;
    seam_init(&s, &(s3_client_opts){.endpoint = ENDPOINT, .tries_max = 100, .deadline_ms = 10000});
    script_answer(&s, 1000, 500, "", ERROR_BODY("InternalError"));
    const uint64_t start_ms = s.mono_ms;
    expect(&e, put(&s, false, NULL, &e), CF_ERR_SERVER, "no time left to try on");
    assert_int_equal(s.note_total, 6); /* at 0, 50, 150, 350, 1,150 and 4,350; then 17,150 */
    assert_true(s.notes[5].mono_ms - start_ms <= 10000);
    assert_true(s.mono_ms - start_ms <= 10000);
    seam_deinit(&s);
}

/* The wait for a place among our own requests is not the server's: no token, no deadline; and what
 * was signed before it would be stale. */
static void test_waiting_for_a_place(void **state)
{
    seam s;
    cf_error e = {0};

    (void)state;
    seam_init(&s, &(s3_client_opts){.endpoint = ENDPOINT, .deadline_ms = 10000});
    script_answer(&s, 2, 500, "", ERROR_BODY("InternalError"));
    seam_block(&s);
    expect(&e, put(&s, false, NULL, &e), CF_OK, NULL);
    assert_int_equal(s.note_total, 3);
    assert_string_equal(s.notes[0].date, "20261121T141320Z"); /* 400 s later */
    seam_deinit(&s);
}

/* ---- SlowDown ---- */

static void test_slowdown_shrinks_and_grows_back(void **state)
{
    static const uint32_t limits[] = {4, 2, 1, 1};
    seam s;
    cf_error e = {0};

    (void)state;
    for (uint32_t n = 1; n <= 4; n++) {
        seam_init(&s, &(s3_client_opts){.endpoint = ENDPOINT, .tries_max = n});
        script_answer(&s, n, 503, "", ERROR_BODY("SlowDown"));
        expect(&e, put(&s, false, NULL, &e), CF_ERR_THROTTLED, "HINT: lower the number");
        assert_int_equal(s.client->throttle.limit, limits[n - 1]);
        assert_int_equal(s.client->throttle.active, 0);
        for (uint32_t good = 0; good < 8 * 7 / 2; good++) { /* a round of successes for each step */
            expect(&e, put(&s, false, NULL, &e), CF_OK, NULL);
            assert_in_range(s.client->throttle.limit, 1, 8);
        }
        assert_int_equal(s.client->throttle.limit, 8);
        assert_int_equal(s.client->throttle.active, 0);
        seam_deinit(&s);
    }
}

/* SlowDown in a good status: the server's code counts, not that our parser missed a list. */
static void test_error_under_200_keeps_its_code(void **state)
{
    seam s;
    cf_error e = {0};
    s3_upload *u = NULL;
    static uint8_t big[SEAM_PART + 1];

    (void)state;
    seam_init(&s, &(s3_client_opts){.endpoint = ENDPOINT, .tries_max = 1});
    script_answer(&s, 1, 200, "", ERROR_BODY("SlowDown"));
    expect(&e, s3_uploads_list(s.client, NULL, NULL, NULL, &e), CF_ERR_THROTTLED, "200 SlowDown");
    assert_int_equal(s.client->throttle.limit, 4);
    script_answer(&s, 1, 200, "", ERROR_BODY("AccessDenied"));
    expect(&e, s3_list(s.client, NULL, NULL, NULL, &e), CF_ERR_DENIED, "200 AccessDenied: text");
    script_answer(&s, 1, 200, "", ERROR_BODY("AccessDenied"));
    expect(&e, s3_delete(s.client, "k", &e), CF_ERR_DENIED, "200 AccessDenied");
    script_answer(&s, 1, 200, "ETag: \"e\"\n", ERROR_BODY("InternalError"));
    expect(&e, put(&s, false, NULL, &e), CF_ERR_SERVER, "200 InternalError");
    script_answer(&s, 1, 200, "", ERROR_BODY("AccessDenied"));
    expect(&e, s3_upload_open(s.client, "k", NULL, &u, &e), CF_OK, NULL);
    expect(&e, s3_upload_write(u, cf_slice_of(big, sizeof(big)), &e), CF_ERR_DENIED,
           "CreateMultipartUpload 'k'");
    expect(&e, s3_upload_finish(u, NULL, &e), CF_ERR_DENIED, NULL);
    seam_deinit(&s);
}

/* ---- lost answers ---- */

static void test_lost_answer_to_a_conditional_put(void **state)
{
    static const struct {
        const char *title;
        seam_fault fault;
        uint32_t tries_max;
        const char *another; /* id of an object that stands there before */
        cf_err err;
        bool settled;
    } rows[] = {
        {"carried out, one try", SEAM_LOST, 1, NULL, CF_OK, true},
        {"carried out, the second try is refused", SEAM_LOST, 8, NULL, CF_OK, true},
        {"not carried out, the second try does it", SEAM_BREAK, 8, NULL, CF_OK, false},
        {"not carried out, one try", SEAM_BREAK, 1, NULL, CF_ERR_UNKNOWN, false},
        {"nothing was sent, one try", SEAM_NO_CONNECT, 1, NULL, CF_ERR_NETWORK, false},
        {"another's stands there, one try", SEAM_BREAK, 1, "another", CF_ERR_EXISTS, false},
        {"another's stands there", SEAM_BREAK, 8, "another", CF_ERR_EXISTS, false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        seam s;
        cf_error e = {0};
        s3_put_result r = {0};
        print_message("  %s\n", rows[i].title);
        seam_init(&s, &(s3_client_opts){.endpoint = ENDPOINT, .tries_max = rows[i].tries_max});
        if (rows[i].another != NULL) {
            s.present = true;
            (void)snprintf(s.object_id, sizeof(s.object_id), "%s", rows[i].another);
        }
        script(&s, rows[i].fault, 1, 1);
        expect(&e, put(&s, true, &r, &e), rows[i].err, NULL);
        assert_int_equal(r.settled, rows[i].settled);
        if (rows[i].err == CF_OK)
            assert_string_equal(r.etag, "\"e\"");
        seam_deinit(&s);
    }
}

static cf_err upload(seam *s, bool create_only, s3_put_result *ret, cf_error *e)
{
    static const uint8_t part[SEAM_PART];
    const s3_put_opts opts = {.create_only = create_only};
    s3_upload *u = NULL;
    cf_err err = s3_upload_open(s->client, "k", &opts, &u, e);

    if (err != CF_OK)
        return err;
    for (int i = 0; i < 3; i++) /* an error stays: finish tells it again */
        (void)!s3_upload_write(u, cf_slice_of(part, i < 2 ? sizeof(part) : 1), NULL);
    return s3_upload_finish(u, ret, e);
}

static void test_lost_answer_to_complete(void **state)
{
    static const struct {
        const char *title;
        seam_fault fault;
        uint32_t tries_max;
        cf_err err;
        bool settled;
    } rows[] = {
        {"carried out, the second try finds no upload", SEAM_LOST, 8, CF_OK, true},
        {"carried out, one try", SEAM_LOST, 1, CF_OK, true},
        {"not carried out, the second try does it", SEAM_BREAK, 8, CF_OK, false},
        {"not carried out, one try: aborted, so it never will be", SEAM_BREAK, 1, CF_ERR_NETWORK,
         false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        seam s;
        cf_error e = {0};
        s3_put_result r = {0};
        print_message("  %s\n", rows[i].title);
        seam_init(&s, &(s3_client_opts){.endpoint = ENDPOINT, .tries_max = rows[i].tries_max});
        s.fault_method = "POST";
        script(&s, rows[i].fault, 2, 1); /* Create is the first */
        expect(&e, upload(&s, true, &r, &e), rows[i].err, NULL);
        assert_int_equal(r.settled, rows[i].settled);
        assert_int_equal(s.present, rows[i].err == CF_OK);
        assert_int_equal(seam_open_uploads(&s), 0);
        seam_deinit(&s);
    }
}

/* A lifecycle rule, or a prune that took us for dead. */
static void test_upload_that_was_aborted_by_another(void **state)
{
    (void)state;
    for (uint32_t nth = 2; nth <= 5; nth++) { /* parts and Complete */
        seam s;
        cf_error e = {0};
        seam_init(&s, &(s3_client_opts){.endpoint = ENDPOINT});
        script(&s, SEAM_ANSWER, nth, 1000);
        s.status = 404;
        s.body = ERROR_BODY("NoSuchUpload");
        expect(&e, upload(&s, true, NULL, &e), CF_ERR_CONFLICT, "HINT: a rule of the bucket");
        assert_int_equal(e.code, CF_ERR_CONFLICT);
        assert_false(s.present);
        seam_deinit(&s);
    }
}

/* ---- the nth request fails ---- */

static cf_err ignore_bytes(void *impl, cf_slice bytes, cf_error *e)
{
    (void)e;
    *(size_t *)impl += bytes.len;
    return CF_OK;
}

static cf_err ignore_entry(void *impl, const s3_list_entry *entry, bool *ret_stop, cf_error *e)
{
    (void)entry;
    (void)ret_stop;
    (void)e;
    (*(size_t *)impl)++;
    return CF_OK;
}

static cf_err do_put(seam *s, cf_error *e)
{
    return put(s, true, NULL, e);
}

static cf_err do_upload(seam *s, cf_error *e)
{
    return upload(s, true, NULL, e);
}

static cf_err do_get(seam *s, cf_error *e)
{
    size_t len = 0;

    s->present = true;
    const cf_err err = s3_get(s->client, "k", NULL, ignore_bytes, &len, NULL, e);
    assert_int_equal(len, err == CF_OK ? 10 : 0);
    return err;
}

static cf_err do_list(seam *s, cf_error *e)
{
    size_t total = 0;
    const cf_err err = s3_list(s->client, NULL, ignore_entry, &total, e);

    assert_int_equal(total, err == CF_OK ? 1 : 0);
    return err;
}

static cf_err do_delete(seam *s, cf_error *e)
{
    s->present = true;
    return s3_delete(s->client, "k", e);
}

static const struct {
    const char *title;
    cf_err (*run)(seam *s, cf_error *e);
    bool writes;
} ops[] = {{"put", do_put, true},
           {"upload", do_upload, true},
           {"get", do_get, false},
           {"list", do_list, false},
           {"delete", do_delete, false}};

static const struct {
    const char *title;
    seam_fault fault;
    int status;
    const char *body;
    cf_err err;
    bool ambiguous; /* the write may have been done: CF_ERR_UNKNOWN is right too */
} faults[] = {
    {"lost answer", SEAM_LOST, 0, NULL, CF_ERR_NETWORK, true},
    {"broken before", SEAM_BREAK, 0, NULL, CF_ERR_NETWORK, true},
    {"no connection", SEAM_NO_CONNECT, 0, NULL, CF_ERR_NETWORK, false},
    {"no memory", SEAM_NO_MEMORY, 0, NULL, CF_ERR_NO_MEMORY, false},
    {"500", SEAM_ANSWER, 500, ERROR_BODY("InternalError"), CF_ERR_SERVER, true},
    {"503", SEAM_ANSWER, 503, ERROR_BODY("SlowDown"), CF_ERR_THROTTLED, false},
    {"denied", SEAM_ANSWER, 403, ERROR_BODY("AccessDenied"), CF_ERR_DENIED, false},
    {"unknown key", SEAM_ANSWER, 403, ERROR_BODY("InvalidAccessKeyId"), CF_ERR_AUTH, false},
    {"no bucket", SEAM_ANSWER, 404, ERROR_BODY("NoSuchBucket"), CF_ERR_NO_BUCKET, false},
    {"garbage under 200", SEAM_ANSWER, 200, "garbage", CF_ERR_PROTOCOL, true},
};

/* One op, one fault, the nth request; tries_max 1 shows the failure, 8 heals what can heal. true:
 * the op ended before its nth request. */
static bool nth_run(size_t op, size_t fault, uint32_t nth, uint32_t tries_max)
{
    seam s;
    cf_error e = {0};

    seam_init(&s, &(s3_client_opts){
                      .endpoint = ENDPOINT, .tries_max = tries_max, .parts_in_flight_max = 2});
    script(&s, faults[fault].fault, nth, 1);
    s.status = faults[fault].status;
    s.body = faults[fault].body;
    const cf_err err = ops[op].run(&s, &e);
    const bool beyond = s.fault_seen < nth;
    if (err != CF_OK && err != faults[fault].err &&
        !(faults[fault].ambiguous && err == CF_ERR_UNKNOWN))
        fail_msg("%s, %s at request %u: %s: %s", ops[op].title, faults[fault].title, nth,
                 cf_err_name(err), e.message);
    if (beyond && err != CF_OK)
        fail_msg("%s failed without a fault: %s", ops[op].title, e.message);
    if (err != CF_OK && e.code != err)
        fail_msg("%s: the story has %s, returned was %s", ops[op].title, cf_err_name(e.code),
                 cf_err_name(err));
    if (seam_open_uploads(&s) != 0)
        fail_msg("%s, %s at request %u leaves an upload behind", ops[op].title, faults[fault].title,
                 nth);
    if (ops[op].writes && s.present != (err == CF_OK))
        fail_msg("%s, %s at request %u: %s, and the object %s: %s", ops[op].title,
                 faults[fault].title, nth, cf_err_name(err), s.present ? "stands" : "is missing",
                 e.message);
    assert_int_equal(s.client->throttle.active, 0);
    seam_deinit(&s);
    return beyond;
}

static void test_the_nth_request_fails(void **state)
{
    (void)state;
    for (size_t op = 0; op < sizeof(ops) / sizeof(ops[0]); op++) {
        for (size_t fault = 0; fault < sizeof(faults) / sizeof(faults[0]); fault++) {
            for (uint32_t tries_max = 1; tries_max <= 8; tries_max += 7) {
                uint32_t nth = 1;
                while (!nth_run(op, fault, nth, tries_max))
                    assert_in_range(++nth, 1, 50);
            }
        }
    }
}

static cf_err ignore_upload(void *impl, const s3_upload_entry *entry, cf_error *e)
{
    (void)impl;
    (void)entry;
    (void)e;
    return CF_OK;
}

static void test_lists_without_end_end(void **state)
{
    seam s;
    cf_error e = {0};
    size_t total = 0;

    (void)state;
    seam_init(&s, &(s3_client_opts){.endpoint = ENDPOINT});
    s.endless = true;
    expect(&e, s3_list(s.client, NULL, ignore_entry, &total, &e), CF_ERR_PROTOCOL,
           "10000 pages in a row were empty");
    assert_int_equal(s.note_total, 10001);
    s.note_total = 0;
    expect(&e, s3_uploads_list(s.client, NULL, ignore_upload, NULL, &e), CF_ERR_PROTOCOL,
           "10000 pages in a row were empty");
    assert_int_equal(s.note_total, 10001);
    s.endless = false;
    s.one_key = true;
    s.note_total = 0;
    expect(&e, s3_uploads_list(s.client, NULL, ignore_upload, NULL, &e), CF_ERR_PROTOCOL,
           "1000 pages in a row were of key 'k' alone");
    assert_int_equal(s.note_total, 1002); /* the first leads to the key */
    seam_deinit(&s);
}

static void test_headers_cannot_be_smuggled(void **state)
{
    seam s;
    cf_error e = {0};
    const s3_put_opts opts = {.content_type = "text/plain\r\nx-amz-acl: public-read"};

    (void)state;
    seam_init(&s, &(s3_client_opts){.endpoint = ENDPOINT});
    expect(&e, s3_put(s.client, "k", cf_slice_str("x"), &opts, NULL, &e), CF_ERR_USAGE,
           "header 'content-type' has a control character");
    assert_int_equal(s.note_total, 0);
    seam_deinit(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_region_moves_an_aws_host_once),
        cmocka_unit_test(test_region_keeps_another_host),
        cmocka_unit_test(test_region_that_moves_on_is_given_up),
        cmocka_unit_test(test_redirects_go_nowhere),
        cmocka_unit_test(test_skew_is_corrected_once_and_remembered),
        cmocka_unit_test(test_skew_that_stays_is_given_up),
        cmocka_unit_test(test_each_attempt_is_signed_anew),
        cmocka_unit_test(test_deadline_ends_the_tries),
        cmocka_unit_test(test_waiting_for_a_place),
        cmocka_unit_test(test_slowdown_shrinks_and_grows_back),
        cmocka_unit_test(test_error_under_200_keeps_its_code),
        cmocka_unit_test(test_lost_answer_to_a_conditional_put),
        cmocka_unit_test(test_lost_answer_to_complete),
        cmocka_unit_test(test_upload_that_was_aborted_by_another),
        cmocka_unit_test(test_the_nth_request_fails),
        cmocka_unit_test(test_lists_without_end_end),
        cmocka_unit_test(test_headers_cannot_be_smuggled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
