/* SPDX-License-Identifier: Apache-2.0
 *
 * Download pipeline: whatever fails, wherever, ends it: no hang, no leak, the right error.
 */
#include "tests/pipe/trip.h"

typedef enum where { AT_STORE, AT_READ, AT_WRITE, AT_SYNC, AT_TRUNCATE, AT_STOP } where;

static atomic_int *counter_of(trip *t, where w)
{
    atomic_int *const counters[] = {
        [AT_STORE] = &t->run.faults.ops_left,      [AT_READ] = &t->run.fs.reads_left,
        [AT_WRITE] = &t->run.fs.writes_left,       [AT_SYNC] = &t->run.fs.syncs_left,
        [AT_TRUNCATE] = &t->run.fs.truncates_left, [AT_STOP] = &t->run.world.looks_left,
    };
    return counters[w];
}

static void test_nth_fails(void **state)
{
    (void)state;
    const struct {
        const char *title;
        where where;
        cf_err expected;
    } rows[] = {
        {"nth get fails", AT_STORE, CF_ERR_SERVER},
        {"nth read fails", AT_READ, CF_ERR_IO},
        {"nth write: no space", AT_WRITE, CF_ERR_NO_SPACE},
        {"nth sync fails", AT_SYNC, CF_ERR_IO},
        {"nth truncate: no space", AT_TRUNCATE, CF_ERR_NO_SPACE},
        {"stop at the nth look", AT_STOP, CF_ERR_INTERRUPTED},
    };
    trip t;
    cf_download_item items[4];
    trip_init(&t, 37 * KIT_MIB, 0, KIT_RANDOM, CF_UPLOAD_WHOLE, false);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        int n = 1;
        print_message("  %s\n", rows[i].title);
        for (cf_err err = rows[i].expected; err != CF_OK;
             n += rows[i].where < AT_SYNC || rows[i].where == AT_STOP ? 1 + n / 3 : 1) {
            cf_error e = {0};
            for (size_t k = 0; k < 4; k++) {
                items[k] = t.item;
                items[k].fd = kit_file(NULL, 0);
            }
            for (size_t k = 0; k < 4; k++)
                items[k].read_back = rows[i].where == AT_READ;
            atomic_store(counter_of(&t, rows[i].where), n);
            err = download(&t, items, 4, &e);
            atomic_store(counter_of(&t, rows[i].where), rows[i].where == AT_STOP ? -1 : 0);
            if (err != CF_OK) {
                assert_int_equal(err, rows[i].expected);
                if (rows[i].where != AT_STOP)
                    assert_memory_equal(e.message, "file 'db/file': ", 16);
            }
            for (size_t k = 0; k < 4; k++)
                (void)close(items[k].fd);
        }
        assert_true(n > 4);
    }
    trip_deinit(&t);
}

static void test_nth_allocation_fails(void **state)
{
    (void)state;
    trip t;
    bool hit = true;
    unsigned long n = 1;
    trip_init(&t, KIT_MIB, 0, KIT_TEXT, CF_UPLOAD_WHOLE, false);
    for (; hit; n++) { /* that of a container's limit is no failure: the cores are taken */
        CF_CLEANUP(cf_fd_closep) int fd = -1;
        const unsigned long before = cf_alloc_failures();
        cf_alloc_fail_at(n);
        const cf_err err = download_one(&t, &fd, NULL);
        cf_alloc_fail_at(0);
        hit = cf_alloc_failures() > before;
        if (err != CF_OK)
            assert_int_equal(err, CF_ERR_NO_MEMORY);
    }
    assert_true(n > 6);
    trip_deinit(&t);
}

static void test_callback_fails(void **state)
{
    (void)state;
    trip t;
    cf_error e = {0};
    cf_download_item items[8];
    trip_init(&t, 8192, 0, KIT_TEXT, CF_UPLOAD_WHOLE, false);
    CF_CLEANUP(cf_fd_closep) int fd = kit_file(NULL, 0);
    t.item.fd = fd;
    for (size_t i = 0; i < 8; i++)
        items[i] = t.item;
    t.fail_done_at = 3;
    assert_int_equal(download(&t, items, 8, &e), CF_ERR_FENCED);
    assert_string_equal(e.message, "the test's callback fails");
    assert_int_equal(t.done_total, 3);
    trip_deinit(&t);
}

static void test_too_little_memory(void **state)
{
    (void)state;
    trip t;
    cf_error e = {0};
    trip_init(&t, 1, 0, KIT_TEXT, CF_UPLOAD_WHOLE, false);
    t.memory_bytes = 47 * (uint64_t)KIT_MIB;
    assert_int_equal(download(&t, NULL, 0, &e), CF_ERR_USAGE);
    assert_memory_equal(e.message,
                        "memory of 47 MiB is too little, 48 MiB is the least\nHINT: ", 58);
    trip_deinit(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nth_fails),
        cmocka_unit_test(test_nth_allocation_fails),
        cmocka_unit_test(test_callback_fails),
        cmocka_unit_test(test_too_little_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
