/* SPDX-License-Identifier: Apache-2.0
 *
 * Others act at chosen points of a run: a second run of the same node, a run that sleeps beyond its
 * lease, a prune that fences it. The other acts inside a hook of the store, between two requests of
 * the run.
 */
#include <time.h>

#include "tests/backup/rig.h"

typedef struct scene {
    rig r;
    cf_store_op op;       /* acts before the first such operation ... */
    const char *key_part; /* ... on such a key */
    void (*act)(struct scene *s, const char *key);
    atomic_bool acted;
    cf_err other; /* what the other run got */
    cf_error other_error;
    cf_backup_result other_result;
} scene;

static cf_err scene_before(void *impl, cf_store_op op, const char *key, cf_error *e)
{
    scene *const s = impl;
    (void)e;
    if (op == s->op && strstr(key, s->key_part) != NULL && !atomic_exchange(&s->acted, true))
        s->act(s, key);
    return CF_OK;
}

static void scene_init(scene *s, cf_store_op op, const char *key_part,
                       void (*act)(scene *s, const char *key))
{
    memset(s, 0, sizeof(*s));
    rig_init(&s->r);
    rig_node_new(&s->r);
    s->op = op;
    s->key_part = key_part;
    s->act = act;
}

static void scene_arm(scene *s)
{
    cf_store_memory_set_hooks(s->r.f.store,
                              &(cf_store_memory_hooks){.before = scene_before, .impl = s});
}

static void scene_deinit(scene *s)
{
    assert_true(s->acted);
    nb_node_free(&s->r.node);
    rig_deinit(&s->r);
}

static void other_runs(scene *s)
{
    s->other = rig_backup(&s->r, &s->other_result, &s->other_error);
}

/* The next run succeeds, is the newest, and is complete. */
static void check_next(scene *s, size_t snapshots)
{
    CF_CLEANUP(cf_buf_deinit) cf_buf expected = {0};
    cf_backup_result result = {0};
    char newest[CF_SNAPSHOT_ID_SIZE];

    assert_int_equal(rig_snapshots(&s->r, newest), snapshots);
    rig_expect(&s->r, &expected);
    assert_ok(rig_backup(&s->r, &result, &e));
    assert_int_equal(rig_snapshots(&s->r, newest), snapshots + 1);
    assert_string_equal(newest, result.snapshot);
    rig_check_complete(&s->r, newest, &expected);
}

static void act_run(scene *s, const char *key)
{
    (void)key;
    other_runs(s);
}

static void test_two_runs_at_once(void **state)
{
    (void)state;
    scene s;
    cf_backup_result result = {0};

    scene_init(&s, CF_STORE_OP_PUT_FINISH, "-pack-", act_run);
    scene_arm(&s);
    assert_ok(rig_backup(&s.r, &result, &e));
    assert_int_equal(s.other, CF_ERR_LOCKED);
    assert_non_null(strstr(s.other_error.message, "holds lease 1"));
    assert_non_null(strstr(s.other_error.message, result.snapshot));
    check_next(&s, 1);
    scene_deinit(&s);
}

static void act_sleep_and_run(scene *s, const char *key)
{
    (void)key;
    pass_s(&s->r.f, 3600);
    other_runs(s);
}

static void test_sleeps_beyond_its_lease_while_reading(void **state)
{
    (void)state;
    scene s;
    cf_backup_result result = {0};

    scene_init(&s, CF_STORE_OP_PUT_FINISH, "-pack-", act_sleep_and_run);
    scene_arm(&s);
    assert_refused(rig_backup(&s.r, &result, &e), CF_ERR_LOCKED, "no renewal got through for");
    assert_int_equal(s.other, CF_OK);
    check_next(&s, 1);
    scene_deinit(&s);
}

/* Two children of one parent are fine: both are whole. */
static void test_sleeps_beyond_its_lease_at_the_commit(void **state)
{
    (void)state;
    scene s;
    cf_backup_result result = {0};
    CF_CLEANUP(cf_buf_deinit) cf_buf expected = {0};

    scene_init(&s, CF_STORE_OP_PUT, "/snapshots/", act_sleep_and_run);
    rig_expect(&s.r, &expected);
    scene_arm(&s);
    assert_ok(rig_backup(&s.r, &result, &e));
    assert_int_equal(s.other, CF_OK);
    rig_check_complete(&s.r, result.snapshot, &expected);
    rig_check_complete(&s.r, s.other_result.snapshot, &expected);
    check_next(&s, 2);
    scene_deinit(&s);
}

static void act_sleep_and_fence(scene *s, const char *key)
{
    pass_s(&s->r.f, 2 * 24 * 3600);
    put_object(&s->r.f, key, cf_slice_of(NULL, 0));
}

static void test_fenced_while_it_sleeps(void **state)
{
    (void)state;
    scene s;
    cf_backup_result result = {0};

    scene_init(&s, CF_STORE_OP_PUT, "/snapshots/", act_sleep_and_fence);
    scene_arm(&s);
    assert_refused(rig_backup(&s.r, &result, &e), CF_ERR_FENCED, "was fenced by a prune");
    check_next(&s, 0);
    scene_deinit(&s);
}

/* Runs of less than a second push ids ahead of the clock: the second one's is above ours. */
static void act_run_twice(scene *s, const char *key)
{
    (void)key;
    other_runs(s);
    assert_int_equal(s->other, CF_OK);
    other_runs(s);
}

static void test_others_commit_before_our_lease(void **state)
{
    (void)state;
    scene s;
    cf_backup_result result = {0};
    char newest[CF_SNAPSHOT_ID_SIZE];

    scene_init(&s, CF_STORE_OP_LIST, "/leases/", act_run_twice);
    scene_arm(&s);
    assert_ok(rig_backup(&s.r, &result, &e));
    assert_int_equal(s.other, CF_OK);
    assert_string_equal(result.parent, s.other_result.snapshot);
    assert_int_equal(rig_snapshots(&s.r, newest), 3);
    assert_string_equal(newest, result.snapshot); /* ours came last, and sorts last */
    check_next(&s, 3);
    scene_deinit(&s);
}

/* A newer one is committed and prune takes the one that we chose, before we have read it. */
static void act_run_and_prune(scene *s, const char *key)
{
    other_runs(s);
    put_object(&s->r.f, key, cf_slice_of(NULL, 0));
}

static void test_parent_goes_before_it_is_read(void **state)
{
    (void)state;
    scene s;
    cf_backup_result result = {0};

    scene_init(&s, CF_STORE_OP_GET, "/snapshots/", act_run_and_prune);
    assert_ok(rig_backup(&s.r, &result, &e));
    scene_arm(&s);
    assert_ok(rig_backup(&s.r, &result, &e));
    assert_int_equal(s.other, CF_OK);
    assert_string_equal(result.parent, s.other_result.snapshot);
    check_next(&s, 2);
    scene_deinit(&s);
}

/* ---- the journal, while the run goes on ---- */

typedef struct seen {
    rig *r;
    size_t journals, file_lines, other_lines;
} seen;

static cf_err seen_add(void *impl, const cf_store_entry *entry, bool *ret_stop, cf_error *e)
{
    seen *const s = impl;
    CF_CLEANUP(cf_buf_deinit) cf_buf raw = {0};
    static char text[1 << 20];

    (void)ret_stop;
    if (strstr(entry->key, "-journal.jsonl.zst") == NULL)
        return CF_OK;
    cf_buf_init(&raw, 1 << 20);
    CF_TRY(cf_store_get_small(s->r->f.store, entry->key, &raw, e));
    const size_t len = ZSTD_decompress(text, sizeof(text) - 1, raw.data, raw.len);
    assert_false(ZSTD_isError(len));
    text[len] = '\0';
    s->journals++;
    for (const char *line = text; *line != '\0'; line = strchr(line, '\n') + 1) {
        s->file_lines += strncmp(line, "{\"step\":", 8) == 0;
        s->other_lines += strncmp(line, "{\"uploads\":[", 12) == 0;
    }
    return CF_OK;
}

static void act_slow(scene *s, const char *key)
{
    (void)key;
    pass_s(&s->r.f, CF_JOURNAL_EVERY_MS / 1000);
}

/* Everything was handed in, and the last pack takes its time: the journal does not wait for it. */
static void act_wait(scene *s, const char *key)
{
    const struct timespec nap = {.tv_nsec = 20000000};

    (void)key;
    pass_s(&s->r.f, CF_JOURNAL_EVERY_MS / 1000);
    for (unsigned i = 0; i < 500; i++) {
        seen found = {.r = &s->r};

        assert_ok(s->r.f.store->ops->list(s->r.f.store, "nodes/" RIG_NODE "/runs/", NULL, NULL,
                                          seen_add, &found, &e));
        if (found.journals > 0)
            return;
        (void)nanosleep(&nap, NULL);
    }
    fail_msg("no journal in 10 s while a pack is being finished");
}

static void check_journal(void (*act)(scene *s, const char *key))
{
    scene s;
    cf_backup_result result = {0};

    scene_init(&s, CF_STORE_OP_PUT_FINISH, "-pack-small", act);
    scene_arm(&s);
    assert_ok(rig_backup(&s.r, &result, &e));
    seen found = {.r = &s.r};
    assert_ok(s.r.f.store->ops->list(s.r.f.store, "nodes/" RIG_NODE "/runs/", NULL, NULL, seen_add,
                                     &found, &e));
    assert_true(found.journals >= 1 && found.journals <= 2);
    assert_int_equal(found.other_lines, found.journals);
    assert_true(found.file_lines > 0);
    check_next(&s, 1);
    scene_deinit(&s);
}

static void test_journal_after_a_minute(void **state)
{
    (void)state;
    check_journal(act_slow);
}

static void test_journal_while_a_pack_is_slow(void **state)
{
    (void)state;
    check_journal(act_wait);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_two_runs_at_once),
        cmocka_unit_test(test_sleeps_beyond_its_lease_while_reading),
        cmocka_unit_test(test_sleeps_beyond_its_lease_at_the_commit),
        cmocka_unit_test(test_fenced_while_it_sleeps),
        cmocka_unit_test(test_others_commit_before_our_lease),
        cmocka_unit_test(test_parent_goes_before_it_is_read),
        cmocka_unit_test(test_journal_after_a_minute),
        cmocka_unit_test(test_journal_while_a_pack_is_slow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
