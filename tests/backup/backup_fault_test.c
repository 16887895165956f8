/* SPDX-License-Identifier: Apache-2.0
 *
 * The whole flow with one fault, at every place there is: the nth operation of the store (refused,
 * or done and its answer lost), the nth allocation, the nth call of the filesystem. After each: the
 * right error, nothing committed (or, where the flow gets over it, a complete snapshot), and the
 * next run succeeds. Run under ASan this also proves that nothing leaks.
 */
#include "tests/backup/rig.h"

enum {
    EVERY_UP_TO = 200, /* beyond it, every STRIDEth */
    STRIDE = 7,
    LEASE_OUT_S = 2 * 3600, /* this process is alive, so its lost lease must run out */
};

typedef struct sweep {
    const char *title;
    void (*arm)(rig *r, unsigned n);
    bool (*disarm)(rig *r, unsigned n); /* was it hit? */
    cf_err codes[3];                    /* allowed besides CF_OK; CF_OK: end */
} sweep;

static void arm_store(rig *r, unsigned n, bool after)
{
    atomic_store(&r->ops, 0);
    atomic_store(&r->hit, false);
    r->fail_after = after;
    r->fail_at = n;
    cf_store_memory_set_hooks(
        r->f.store, &(cf_store_memory_hooks){.before = rig_before, .after = rig_after, .impl = r});
}

static void arm_store_before(rig *r, unsigned n)
{
    arm_store(r, n, false);
}

static void arm_store_after(rig *r, unsigned n)
{
    arm_store(r, n, true);
}

static bool disarm_store(rig *r, unsigned n)
{
    (void)n;
    cf_store_memory_set_hooks(r->f.store, NULL);
    r->fail_at = 0;
    return atomic_load(&r->hit);
}

static unsigned long allocs_before;

static void arm_alloc(rig *r, unsigned n)
{
    (void)r;
    allocs_before = cf_alloc_count();
    cf_alloc_fail_at(n);
}

static bool disarm_alloc(rig *r, unsigned n)
{
    (void)r;
    cf_alloc_fail_at(0);
    return cf_alloc_count() - allocs_before >= n;
}

static void arm_fs(rig *r, unsigned n)
{
    fault_fs_arm(&r->fs, n, CF_ERR_IO, /* after= */ false, /* only= */ NULL);
}

static bool disarm_fs(rig *r, unsigned n)
{
    (void)n;
    const bool hit = r->fs.failed != NULL;
    fault_fs_arm(&r->fs, 0, CF_OK, false, NULL);
    return hit;
}

static const sweep sweeps[] = {
    {"store, refused", arm_store_before, disarm_store, {CF_ERR_SERVER}},
    {"store, answer lost", arm_store_after, disarm_store, {CF_ERR_SERVER}},
    {"allocation", arm_alloc, disarm_alloc, {CF_ERR_NO_MEMORY}},
    {"filesystem", arm_fs, disarm_fs, {CF_ERR_IO, CF_ERR_SOURCE}},
};

static bool is_allowed(const sweep *s, cf_err err)
{
    for (size_t i = 0; i < ARRAY_LEN(s->codes) && s->codes[i] != CF_OK; i++) {
        if (s->codes[i] == err)
            return true;
    }
    return err == CF_OK;
}

static void backup_ok(rig *r)
{
    cf_backup_result result = {0};

    assert_ok(rig_backup(r, &result, &e));
}

/* One run with the nth fault, then a clean one. False: there is no nth place. */
static bool fault_once(rig *r, const sweep *s, unsigned n, size_t snapshots, const cf_buf *expected)
{
    cf_backup_result result = {0};
    cf_error error = {0};
    char newest[CF_SNAPSHOT_ID_SIZE];

    s->arm(r, n);
    const cf_err err = rig_backup(r, &result, &error);
    const bool hit = s->disarm(r, n);
    if (!is_allowed(s, err) || (!hit && err != CF_OK))
        fail_msg("%s, n = %u (%s): %s: %s", s->title, n, r->hit_what, cf_err_name(err),
                 error.message);
    if (err != CF_OK && error.message[0] == '\0')
        fail_msg("%s, n = %u: no message", s->title, n);
    const size_t found = rig_snapshots(r, newest);
    if (found != snapshots + (err == CF_OK ? 1 : 0))
        fail_msg("%s, n = %u (%s): %s, and %zu snapshots", s->title, n, r->hit_what,
                 cf_err_name(err), found);
    if (err == CF_OK && !r->left_out)
        rig_check_complete(r, result.snapshot, expected);
    pass_s(&r->f, LEASE_OUT_S);
    assert_ok(rig_backup(r, &result, &e));
    rig_check_complete(r, result.snapshot, expected);
    assert_int_equal(rig_snapshots(r, newest), found + 1);
    assert_string_equal(newest, result.snapshot);
    return hit;
}

/* The parent's state is made in the repository first; n counts from the run after it. */
static unsigned sweep_all(const sweep *s, bool has_parent)
{
    rig r;
    CF_CLEANUP(cf_buf_deinit) cf_buf expected = {0};
    bool hit = true;
    unsigned n = 0;

    while (hit) {
        n += n < EVERY_UP_TO ? 1 : STRIDE;
        rig_init(&r);
        rig_node_new(&r);
        if (has_parent) {
            backup_ok(&r);
            rig_node_change(&r);
        }
        if (expected.len == 0)
            rig_expect(&r, &expected);
        hit = fault_once(&r, s, n, has_parent ? 1 : 0, &expected);
        nb_node_free(&r.node);
        rig_deinit(&r);
    }
    return n - 1;
}

static void run_sweep(size_t i)
{
    for (int has_parent = 0; has_parent < 2; has_parent++) {
        const unsigned places = sweep_all(&sweeps[i], has_parent != 0);
        print_message("%s, %s: about %u places\n", sweeps[i].title,
                      has_parent != 0 ? "with a parent" : "first snapshot", places);
        assert_true(places > 10);
    }
}

static void test_nth_store_operation_refused(void **state)
{
    (void)state;
    run_sweep(0);
}

static void test_nth_store_answer_lost(void **state)
{
    (void)state;
    run_sweep(1);
}

static void test_nth_allocation_fails(void **state)
{
    (void)state;
    run_sweep(2);
}

static void test_nth_filesystem_call_fails(void **state)
{
    (void)state;
    run_sweep(3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nth_store_operation_refused),
        cmocka_unit_test(test_nth_store_answer_lost),
        cmocka_unit_test(test_nth_allocation_fails),
        cmocka_unit_test(test_nth_filesystem_call_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
