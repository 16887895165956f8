/* SPDX-License-Identifier: Apache-2.0
 *
 * Upload pipeline: whatever fails, wherever, ends it: no hang, no leak, the first error, and it
 * stays.
 */
#include "tests/pipe/kit.h"

static void test_file_ends_early(void **state)
{
    (void)state;
    uint8_t *const bytes = calloc(1, 9 * KIT_MIB);
    kit_run r;
    cf_error e = {0};
    kit_run_init(&r);
    r.fs.end_bytes = 5 * KIT_MIB;
    CF_CLEANUP(cf_fd_closep) int fd = kit_file(bytes, 9 * KIT_MIB);
    const cf_upload_item item = {.name = "db/chunk",
                                 .how = CF_UPLOAD_WHOLE,
                                 .fd = fd,
                                 .read_bytes = 9 * KIT_MIB,
                                 .size_bytes = 9 * KIT_MIB,
                                 .own_pack = true};
    assert_int_equal(kit_upload(&r, &item, 1, &e), CF_ERR_SOURCE);
    assert_string_equal(e.message, "file 'db/chunk' ended at 5242880 of 9437184 bytes\n"
                                   "HINT: it was cut while it was read; run again");
    assert_int_equal(kit_object_total(r.store), 0);
    kit_run_deinit(&r);
    free(bytes);
}

static void test_nth_read_fails(void **state)
{
    (void)state;
    kit_mix m;
    cf_err err = CF_ERR_IO;
    int n = 1;
    kit_mix_init(&m);
    for (; err != CF_OK; n++) {
        kit_run r;
        cf_error e = {0};
        kit_run_init(&r);
        r.level = 1;
        atomic_store(&r.fs.reads_left, n);
        err = kit_upload(&r, m.items, 24, &e);
        if (err != CF_OK) {
            assert_int_equal(err, CF_ERR_SOURCE);
            assert_string_equal(e.message, "file 'mixed': read: the test wants it to fail\n"
                                           "HINT: look at the node's disk and at dmesg");
        }
        kit_run_deinit(&r);
    }
    assert_true(n > 20);
    kit_mix_deinit(&m);
}

static void test_nth_store_operation_fails(void **state)
{
    (void)state;
    kit_mix m;
    cf_err err = CF_ERR_SERVER;
    int n = 1;
    kit_mix_init(&m);
    for (; err != CF_OK; n++) {
        kit_run r;
        cf_error e = {0};
        kit_run_init(&r);
        r.level = 1;
        r.limits.shared_cut_bytes = 6 * KIT_MIB;
        atomic_store(&r.faults.ops_left, n);
        err = kit_upload(&r, m.items, 24, &e);
        if (err != CF_OK) {
            assert_int_equal(err, CF_ERR_SERVER);
            assert_non_null(strstr(e.message, "the test wants it to fail"));
            assert_memory_equal(e.message, "pack 'run1/", 11);
        }
        kit_run_deinit(&r);
    }
    assert_true(n > 20);
    kit_mix_deinit(&m);
}

static void test_nth_allocation_fails(void **state)
{
    (void)state;
    kit_mix m;
    kit_mix_init(&m);
    cf_err err = CF_ERR_NO_MEMORY;
    unsigned long n = 1;
    for (; err != CF_OK; n++) {
        kit_run r;
        cf_error e = {0};
        kit_run_init(&r);
        const cf_upload_opts opts = kit_upload_opts(&r);
        cf_upload *u = NULL;
        cf_alloc_fail_at(n);
        err = cf_upload_new(&opts, &u, &e);
        for (size_t i = 0; i < 2 && err == CF_OK; i++)
            err = cf_upload_add(u, &m.items[i], &e);
        cf_upload_free(u);
        cf_alloc_fail_at(0);
        if (err != CF_OK)
            assert_int_equal(err, CF_ERR_NO_MEMORY);
        kit_run_deinit(&r);
    }
    assert_true(n > 8);
    kit_mix_deinit(&m);
}

static void test_nth_look_wants_to_stop(void **state)
{
    (void)state;
    kit_mix m;
    cf_err err = CF_ERR_INTERRUPTED;
    int n = 0;
    kit_mix_init(&m);
    for (; err != CF_OK; n += 1 + n / 4) {
        kit_run r;
        cf_error e = {0};
        kit_run_init(&r);
        r.level = 1;
        atomic_store(&r.world.looks_left, n);
        err = kit_upload(&r, m.items, 24, &e);
        if (err != CF_OK) {
            assert_int_equal(err, CF_ERR_INTERRUPTED);
            assert_non_null(strstr(e.message, "interrupted"));
        }
        kit_run_deinit(&r);
    }
    assert_true(n > 20);
    kit_mix_deinit(&m);
}

static void test_callbacks_fail(void **state)
{
    (void)state;
    kit_mix m;
    kit_mix_init(&m);
    for (size_t n = 1; n <= 10; n++) {
        kit_run r;
        cf_error e = {0};
        kit_run_init(&r);
        r.level = 1;
        r.limits.shared_cut_bytes = 6 * KIT_MIB;
        if (n % 2 == 0)
            r.fail_result_at = n;
        else
            r.fail_pack_at = n / 2 + 1;
        assert_int_equal(kit_upload(&r, m.items, 24, &e), CF_ERR_FENCED);
        kit_run_deinit(&r);
    }
    kit_mix_deinit(&m);
}

static void test_error_stays(void **state)
{
    (void)state;
    kit_run r;
    cf_error e = {0};
    kit_run_init(&r);
    const cf_upload_opts opts = kit_upload_opts(&r);
    CF_CLEANUP(cf_fd_closep) int fd = kit_file((const uint8_t *)"hello", 5);
    const cf_upload_item bad = {
        .name = "t", .how = CF_UPLOAD_WHOLE, .fd = fd, .read_bytes = 6, .size_bytes = 6};
    {
        CF_CLEANUP(cf_upload_freep) cf_upload *u = NULL;
        assert_int_equal(cf_upload_new(&opts, &u, NULL), CF_OK);
        assert_int_equal(cf_upload_add(u, &bad, NULL), CF_OK);
        for (int i = 0; i < 2; i++) {
            assert_int_equal(cf_upload_finish(u, &e), CF_ERR_SOURCE);
            assert_string_equal(
                e.message,
                "file 't' ended at 5 of 6 bytes\nHINT: it was cut while it was read; run again");
        }
        assert_int_equal(cf_upload_add(u, &bad, &e), CF_ERR_SOURCE);
        assert_string_equal(
            e.message,
            "file 't' ended at 5 of 6 bytes\nHINT: it was cut while it was read; run again");
    }
    kit_run_deinit(&r);
}

static void test_key_exists(void **state)
{
    (void)state;
    kit_run r;
    cf_error e = {0};
    kit_run_init(&r);
    CF_CLEANUP(cf_fd_closep) int fd = kit_file((const uint8_t *)"hello", 5);
    const cf_upload_item item = {
        .name = "t", .how = CF_UPLOAD_WHOLE, .fd = fd, .read_bytes = 5, .size_bytes = 5};
    assert_int_equal(r.store->ops->put(r.store, KIT_RUNS "run1/0000000000-pack-small.zst",
                                       cf_slice_str("theirs"), NULL, NULL, NULL),
                     CF_OK);
    assert_int_equal(kit_upload(&r, &item, 1, &e), CF_ERR_EXISTS);
    assert_memory_equal(e.message, "pack 'run1/0000000000-pack-small.zst': ", 39);
    kit_run_deinit(&r);
}

typedef struct plan_row {
    const char *title;
    cf_memory_plan plan;
    int level;
    const char *message;
} plan_row;

static void test_refused(void **state)
{
    (void)state;
    const plan_row rows[] = {
        {"no frames",
         {.workers = 1, .lanes = 2, .parts_in_flight = 2},
         0,
         "the memory plan has no frame buffer"},
        {"no workers",
         {.frame_buffers = 1, .lanes = 2, .parts_in_flight = 2},
         0,
         "the memory plan has no worker"},
        {"one lane",
         {.frame_buffers = 1, .workers = 1, .lanes = 1, .parts_in_flight = 2},
         0,
         "the memory plan has 1 lanes, at least 2 are needed"},
        {"more lanes than parts",
         {.frame_buffers = 1, .workers = 1, .lanes = 3, .parts_in_flight = 2},
         0,
         "the memory plan has 2 part buffers for 3 lanes"},
        {"level",
         {.frame_buffers = 1, .workers = 1, .lanes = 2, .parts_in_flight = 2},
         20,
         "compression level 20 is not in 1..19"},
        {"level below",
         {.frame_buffers = 1, .workers = 1, .lanes = 2, .parts_in_flight = 2},
         -2,
         "compression level -2 is not in 1..19"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        kit_run r;
        cf_error e = {0};
        cf_upload *u = NULL;
        kit_run_init(&r);
        r.plan = rows[i].plan;
        r.level = rows[i].level;
        const cf_upload_opts opts = kit_upload_opts(&r);
        assert_int_equal(cf_upload_new(&opts, &u, &e), CF_ERR_USAGE);
        assert_string_equal(e.message, rows[i].message);
        kit_run_deinit(&r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_file_ends_early),
        cmocka_unit_test(test_nth_read_fails),
        cmocka_unit_test(test_nth_store_operation_fails),
        cmocka_unit_test(test_nth_allocation_fails),
        cmocka_unit_test(test_nth_look_wants_to_stop),
        cmocka_unit_test(test_callbacks_fail),
        cmocka_unit_test(test_error_stays),
        cmocka_unit_test(test_key_exists),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
