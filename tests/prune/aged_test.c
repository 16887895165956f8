/* SPDX-License-Identifier: Apache-2.0
 *
 * Prune where the store has no conditional create: what is marked waits seven days, what runs that
 * are alive use stays, and no fence is ever written. The clock is the test's.
 */
#include "kit.h"

static const cf_prune_opts last_1 = {.keep_last = 1};

static void aged_init(kit *k)
{
    kit_init(k);
    static const char descriptor[] =
        "{\"format\":1,\"requires\":[\"unconditional-create\"],"
        "\"id\":\"0123456789abcdef0123456789abcdef\",\"created\":\"2026-11-21T14:31:00.000Z\","
        "\"sealing\":\"none\",\"create\":\"unconditional\"}\n";
    put_object(&k->f, "chunkferry.json", cf_slice_str(descriptor));
    assert_ok(cf_repo_open(k->f.store, &k->f.world, &k->f.repo, &e));
    assert_false(k->f.repo.conditional);
}

/* nodes/n/leases/<n>-<run>: one key a run. */
static void aged_lease(kit *k, uint64_t number, const cf_run_id *run, bool ended,
                       const cf_run_id *uses, size_t uses_total)
{
    char key[CF_KEY_LEN_MAX + 1];
    cf_lease_body b = {.run = *run, .ended = ended, .ttl_s = CF_LEASE_TTL_S};
    CF_CLEANUP(cf_buf_deinit) cf_buf text = {0};
    b.since_utc_ms = atomic_load(&k->f.clock.utc_ms);
    for (size_t i = 0; i < uses_total; i++)
        b.uses[b.uses_total++] = uses[i];
    cf_key_claim(key, KIT_NODE, "leases", number, run);
    cf_buf_init(&text, CF_LEASE_LEN_MAX);
    assert_ok(cf_lease_body_render(&b, &text, &e));
    put_object(&k->f, key, cf_buf_slice(&text));
}

static cf_run aged_snapshot(kit *k, uint32_t random, size_t own, const cf_run_id *parent)
{
    cf_run run = kit_run(k, random);
    kit_names names = {.total = 0};
    if (parent != NULL)
        assert_true(kit_names_of(k, parent, &names));
    aged_lease(k, random, &run.id, /* ended= */ true, parent, parent != NULL);
    for (size_t i = 0; i < own; i++)
        kit_pack(k, &run, &names);
    assert_ok(kit_commit(k, &run, &names, &e));
    pass_s(&k->f, 60);
    return run;
}

static cf_err no_fence(void *impl, cf_store_op op, const char *key, cf_error *e)
{
    (void)impl;
    (void)e;
    if (op == CF_STORE_OP_PUT && strstr(key, "/snapshots/") != NULL)
        fail_msg("a PUT at '%s'", key);
    return CF_OK;
}

static void prune_ok(kit *k, const cf_prune_opts *opts)
{
    const cf_store_memory_hooks hooks = {.before = no_fence};
    cf_store_memory_set_hooks(k->f.store, &hooks);
    assert_ok(kit_prune(k, opts, &e));
    cf_store_memory_set_hooks(k->f.store, NULL);
}

/* Marked first, deleted a week later: roots and objects together. */
static void test_two_passes(void **state)
{
    (void)state;
    kit k;
    aged_init(&k);
    (void)aged_snapshot(&k, 1, 2, NULL);
    (void)aged_snapshot(&k, 2, 1, NULL);
    const size_t objects = count_objects(&k.f, "nodes/n/runs/");
    prune_ok(&k, &last_1);
    assert_string_equal(k.told, "-(marked, an) +last,newest");
    assert_int_equal(k.result.snapshots_deleted, 0);
    assert_int_equal(k.result.snapshots_kept, 2);
    assert_int_equal(k.result.objects_marked, 4); /* two packs, two segments */
    assert_int_equal(count_objects(&k.f, "nodes/n/garbage/"), 1);
    assert_int_equal(kit_check(&k, "marked"), 2);
    pass_s(&k.f, CF_PRUNE_GARBAGE_S - 60);
    prune_ok(&k, &last_1);
    assert_int_equal(k.result.objects_marked, 0); /* once is enough */
    assert_int_equal(k.result.objects_deleted, 0);
    assert_int_equal(count_objects(&k.f, "nodes/n/garbage/"), 1);
    assert_int_equal(kit_check(&k, "a minute before"), 2);
    pass_s(&k.f, 120);
    cf_prune_opts dry = last_1;
    dry.dry_run = true;
    prune_ok(&k, &dry);
    assert_int_equal(k.result.objects_deleted, 4);
    assert_int_equal(kit_check(&k, "dry"), 2);
    prune_ok(&k, &last_1);
    assert_string_equal(k.told, "- +last,newest");
    assert_int_equal(k.result.snapshots_deleted, 1);
    assert_int_equal(k.result.objects_deleted, 4);
    assert_int_equal(count_objects(&k.f, "nodes/n/runs/"), objects - 4);
    assert_int_equal(count_objects(&k.f, "nodes/n/snapshots/"), 1);
    assert_int_equal(count_objects(&k.f, "nodes/n/garbage/"), 0); /* its work is done */
    assert_int_equal(kit_check(&k, "end"), 1);
    kit_deinit(&k);
}

/* A run that is alive keeps its parent, though that was marked a week ago. */
static void test_live_run(void **state)
{
    (void)state;
    kit k;
    aged_init(&k);
    const cf_run one = aged_snapshot(&k, 1, 2, NULL);
    cf_run run = kit_run(&k, 9);
    aged_lease(&k, 9, &run.id, /* ended= */ false, &one.id, 1);
    (void)aged_snapshot(&k, 10, 1, NULL);
    prune_ok(&k, &last_1);
    assert_string_equal(k.told, "+used +last,newest");
    pass_s(&k.f, 2 * KIT_DAY_S);
    prune_ok(&k, &last_1); /* it died: now the parent is marked */
    assert_string_equal(k.told, "-(marked, an) +last,newest");
    pass_s(&k.f, CF_PRUNE_GARBAGE_S + 60);
    aged_lease(&k, 9, &run.id, /* ended= */ false, &one.id, 1); /* but no: it slept */
    prune_ok(&k, &last_1);
    assert_string_equal(k.told, "+used +last,newest");
    assert_int_equal(kit_check(&k, "it wakes"), 2);
    kit_names names;
    assert_true(kit_names_of(&k, &one.id, &names));
    kit_pack(&k, &run, &names);
    assert_ok(kit_commit(&k, &run, &names, &e));
    assert_int_equal(kit_check(&k, "it commits"), 3);
    pass_s(&k.f, 2 * KIT_DAY_S);
    prune_ok(&k, &last_1);
    assert_int_equal(kit_check(&k, "after"), 2);
    kit_deinit(&k);
}

/* What a dead run left is marked after the grace, deleted a week after that. */
static void test_dead_run(void **state)
{
    (void)state;
    kit k;
    aged_init(&k);
    const cf_run one = aged_snapshot(&k, 1, 1, NULL);
    cf_run dead = kit_run(&k, 2);
    kit_names names = {.total = 0};
    aged_lease(&k, 2, &dead.id, /* ended= */ false, &one.id, 1);
    kit_pack(&k, &dead, &names);
    pass_s(&k.f, KIT_DAY_S - 60);
    prune_ok(&k, &last_1);
    assert_int_equal(k.result.objects_marked, 0);
    pass_s(&k.f, 120);
    prune_ok(&k, &last_1);
    assert_int_equal(k.result.objects_marked, 1);
    pass_s(&k.f, CF_PRUNE_GARBAGE_S);
    prune_ok(&k, &last_1);
    assert_int_equal(k.result.objects_deleted, 1);
    assert_false(kit_pack_there(&k, names.name[0]));
    kit_deinit(&k);
}

/* An hour behind the look at the leases nothing is deleted any more. */
static cf_err slow_list(void *impl, cf_store_op op, const char *key, cf_error *e)
{
    (void)e;
    if (op == CF_STORE_OP_LIST && strstr(key, "garbage") != NULL)
        pass_s(impl, CF_PRUNE_STOP_S - CF_PRUNE_ANSWER_S + 1);
    if (op == CF_STORE_OP_DELETE)
        fail_msg("deleted '%s' after an hour", key);
    return CF_OK;
}

static void test_hour(void **state)
{
    (void)state;
    kit k;
    aged_init(&k);
    (void)aged_snapshot(&k, 1, 2, NULL);
    (void)aged_snapshot(&k, 2, 1, NULL);
    prune_ok(&k, &last_1);
    pass_s(&k.f, CF_PRUNE_GARBAGE_S + 60);
    const cf_store_memory_hooks hooks = {.before = slow_list, .impl = &k.f};
    cf_store_memory_set_hooks(k.f.store, &hooks);
    const cf_err err = kit_prune(&k, &last_1, NULL);
    cf_store_memory_set_hooks(k.f.store, NULL);
    assert_true(err == CF_OK || err == CF_ERR_LOCKED); /* its own lease ran out too */
    assert_int_equal(kit_check(&k, "late"), 2);
    pass_s(&k.f, CF_LEASE_TTL_S + 1);
    prune_ok(&k, &last_1);
    assert_int_equal(kit_check(&k, "again"), 1);
    kit_deinit(&k);
}

/* At each request another run begins, with a live lease, and commits at each later one. */
typedef struct race {
    kit k;
    unsigned seen, begin_at, end_at;
    bool inside, began;
    cf_run run;
    kit_names names;
} race;

static void race_begin(race *r)
{
    cf_snapshot_ids ids = {0};
    assert_ok(cf_snapshot_list(&r->k.f.repo, KIT_NODE, false, &ids, &e));
    const cf_run_id parent = ids.id[ids.total - 1];
    cf_snapshot_ids_deinit(&ids);
    r->run = kit_run(&r->k, 50);
    aged_lease(&r->k, 50, &r->run.id, /* ended= */ false, &parent, 1);
    assert_true(kit_names_of(&r->k, &parent, &r->names));
    r->began = true;
}

static void race_end(race *r)
{
    if (!r->began)
        return;
    kit_pack(&r->k, &r->run, &r->names);
    assert_ok(kit_commit(&r->k, &r->run, &r->names, &e));
    assert_true(kit_check(&r->k, "born") >= 1);
}

static cf_err race_hook(void *impl, cf_store_op op, const char *key, cf_error *e)
{
    race *const r = impl;
    (void)key;
    (void)e;
    if (op == CF_STORE_OP_NOW || r->inside)
        return CF_OK;
    r->seen++;
    r->inside = true;
    if (r->seen == r->begin_at)
        race_begin(r);
    if (r->seen == r->end_at)
        race_end(r);
    r->inside = false;
    return CF_OK;
}

static void test_race(void **state)
{
    (void)state;
    unsigned tried = 0;
    for (unsigned pass = 0; pass < 2; pass++) {
        for (unsigned i = 1;; i++) {
            bool reached = false;
            for (unsigned j = i;; j++, tried++) {
                race r = {.begin_at = i, .end_at = j};
                const cf_store_memory_hooks hooks = {.before = race_hook, .impl = &r};
                aged_init(&r.k);
                const cf_run one = aged_snapshot(&r.k, 1, 2, NULL);
                (void)aged_snapshot(&r.k, 2, 1, &one.id);
                if (pass == 1) { /* the one that deletes */
                    assert_ok(kit_prune(&r.k, &last_1, &e));
                    pass_s(&r.k.f, CF_PRUNE_GARBAGE_S + 60);
                }
                cf_store_memory_set_hooks(r.k.f.store, &hooks);
                assert_ok(kit_prune(&r.k, &last_1, &e));
                cf_store_memory_set_hooks(r.k.f.store, NULL);
                const bool more = r.seen >= j;
                reached = reached || r.seen >= i;
                if (!more)
                    race_end(&r);
                assert_true(kit_check(&r.k, "end") >= 1);
                kit_deinit(&r.k);
                if (!more)
                    break;
            }
            if (!reached)
                break;
        }
    }
    assert_true(tried > 500);
}

/* Interrupted at any request, the next ones finish. */
static cf_err stop_at(void *impl, cf_store_op op, const char *key, cf_error *e)
{
    unsigned *const left = impl;
    (void)key;
    if (op != CF_STORE_OP_NOW && (*left)-- == 1)
        CF_FAIL(e, CF_ERR_INTERRUPTED, "stopped");
    return CF_OK;
}

static void test_interrupted(void **state)
{
    (void)state;
    for (unsigned at = 1;; at++) {
        kit k;
        unsigned left = at;
        const cf_store_memory_hooks hooks = {.before = stop_at, .impl = &left};
        aged_init(&k);
        const cf_run one = aged_snapshot(&k, 1, 2, NULL);
        (void)aged_snapshot(&k, 2, 1, &one.id);
        (void)aged_snapshot(&k, 3, 1, NULL);
        assert_ok(kit_prune(&k, &last_1, &e));
        pass_s(&k.f, CF_PRUNE_GARBAGE_S + 60);
        cf_store_memory_set_hooks(k.f.store, &hooks);
        const cf_err err = kit_prune(&k, &last_1, NULL);
        cf_store_memory_set_hooks(k.f.store, NULL);
        assert_true(kit_check(&k, "stopped") >= 1);
        pass_s(&k.f, CF_PRUNE_GARBAGE_S + 60);
        prune_ok(&k, &last_1);
        pass_s(&k.f, CF_PRUNE_GARBAGE_S + 60);
        prune_ok(&k, &last_1);
        assert_int_equal(kit_check(&k, "finished"), 1);
        assert_int_equal(count_objects(&k.f, "nodes/n/runs/"), 3);
        assert_int_equal(count_objects(&k.f, "nodes/n/garbage/"), 0);
        kit_deinit(&k);
        if (err == CF_OK)
            break;
    }
}

static void test_bad_mark(void **state)
{
    (void)state;
    kit k;
    aged_init(&k);
    (void)aged_snapshot(&k, 1, 1, NULL);
    (void)aged_snapshot(&k, 2, 1, NULL);
    put_object(&k.f, "nodes/n/garbage/20260101T000000Z-00000001", cf_slice_str("rot"));
    assert_refused(kit_prune(&k, &last_1, &e), CF_ERR_DAMAGE, "garbage/20260101T000000Z-00000001");
    assert_int_equal(kit_check(&k, "end"), 2);
    kit_deinit(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_two_passes), cmocka_unit_test(test_live_run),
        cmocka_unit_test(test_dead_run),   cmocka_unit_test(test_hour),
        cmocka_unit_test(test_race),       cmocka_unit_test(test_interrupted),
        cmocka_unit_test(test_bad_mark),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
