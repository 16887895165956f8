/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/claim.h"

#include "fixture.h"

typedef struct spoken {
    char text[4][1024];
    size_t total;
} spoken;

static void hear(void *impl, cf_log_level level, const char *text)
{
    spoken *const s = impl;
    (void)level;
    assert_true(s->total < ARRAY_LEN(s->text));
    (void)snprintf(s->text[s->total++], sizeof(s->text[0]), "%s", text);
}

static void put_lease(fixture *f, const char *key, const cf_run_id *run, bool ended)
{
    CF_CLEANUP(cf_buf_deinit) cf_buf text = {0};
    cf_lease_body b = {.ttl_s = CF_LEASE_TTL_S, .run = *run, .ended = ended};
    b.owner = (cf_lease_owner){.host = "elsewhere",
                               .machine = "m",
                               .boot = "b",
                               .pid_ns = "p",
                               .pid = 4711,
                               .start_ticks = 9};
    cf_buf_init(&text, CF_LEASE_LEN_MAX);
    assert_ok(cf_lease_body_render(&b, &text, &e));
    put_object(f, key, cf_buf_slice(&text));
}

static cf_run_id commit(fixture *f, int64_t utc_s, uint64_t lease)
{
    const cf_run run = make_run("n", utc_s, 1);
    CF_CLEANUP(cf_root_freep) cf_root *root = make_root(&run);
    root->lease = lease;
    assert_ok(cf_snapshot_commit(&f->repo, "n", root, &e));
    return run.id;
}

static cf_lease_body read_lease(fixture *f, uint64_t number)
{
    CF_CLEANUP(cf_buf_deinit) cf_buf text = {0};
    char key[CF_KEY_LEN_MAX + 1];
    cf_lease_body b = {0};
    cf_key_lease(key, "n", number);
    cf_buf_init(&text, CF_LEASE_LEN_MAX);
    assert_ok(cf_store_get_small(f->store, key, &text, &e));
    assert_ok(cf_lease_body_parse(cf_buf_slice(&text), &b, &e));
    return b;
}

static void test_first(void **state)
{
    (void)state;
    fixture f;
    fixture_init(&f);
    cf_claim c = {0};
    assert_refused(cf_claim_take(&f.repo, &(cf_claim_opts){.node = "N"}, &c, &e), CF_ERR_USAGE,
                   "node's name");
    assert_ok(cf_claim_take(&f.repo, &(cf_claim_opts){.node = "n"}, &c, &e));
    assert_null(c.parent);
    assert_non_null(c.lease);
    assert_string_equal(c.run.node, "n");
    assert_memory_equal(c.run.id.text, "20261121T143100Z-", 17);
    assert_int_equal(read_lease(&f, 1).uses_total, 0);
    assert_ok(cf_claim_release(&c, &e));
    assert_true(read_lease(&f, 1).ended);
    cf_claim_deinit(&c);
    fixture_deinit(&f);
}

static void test_parent(void **state)
{
    (void)state;
    fixture f;
    fixture_init(&f);
    cf_claim c = {0};
    (void)commit(&f, FIXTURE_UTC_S - 7200, 3);
    const cf_run_id newest = commit(&f, FIXTURE_UTC_S - 3600, 4);
    assert_ok(cf_claim_look(&f.repo, &(cf_claim_opts){.node = "n"}, &c, &e));
    assert_string_equal(c.parent->run.text, newest.text);
    assert_null(c.lease);
    assert_int_equal(count_objects(&f, "nodes/n/leases/"), 0);
    cf_claim_deinit(&c);
    assert_ok(cf_claim_take(&f.repo, &(cf_claim_opts){.node = "n"}, &c, &e));
    assert_string_equal(c.parent->run.text, newest.text);
    const cf_lease_body b = read_lease(&f, 5);
    assert_int_equal(b.uses_total, 1);
    assert_string_equal(b.uses[0].text, newest.text);
    cf_claim_deinit(&c);
    assert_true(read_lease(&f, 5).ended);
    fixture_deinit(&f);
}

/* Another run commits between the choice and the lease: the parent is chosen anew, with a new
 * number, and the old one is ended. */
typedef struct committer {
    fixture *f;
    int times;
    int64_t utc_s;
} committer;

static cf_err commit_before_lease(void *impl, cf_store_op op, const char *key, cf_error *e)
{
    committer *const c = impl;
    (void)e;
    if (op != CF_STORE_OP_PUT || strstr(key, "/leases/") == NULL || c->times == 0)
        return CF_OK;
    c->times--;
    c->utc_s++;
    cf_store_memory_set_hooks(c->f->store, NULL);
    (void)commit(c->f, c->utc_s, 0);
    cf_store_memory_set_hooks(c->f->store,
                              &(cf_store_memory_hooks){.before = commit_before_lease, .impl = c});
    return CF_OK;
}

static void test_newer_parent(void **state)
{
    (void)state;
    fixture f;
    cf_claim c = {0};
    fixture_init(&f);
    (void)commit(&f, FIXTURE_UTC_S - 3600, 0);
    committer other = {&f, 2, FIXTURE_UTC_S - 100};
    cf_store_memory_set_hooks(
        f.store, &(cf_store_memory_hooks){.before = commit_before_lease, .impl = &other});
    assert_ok(cf_claim_take(&f.repo, &(cf_claim_opts){.node = "n"}, &c, &e));
    const cf_run newest = make_run("n", FIXTURE_UTC_S - 98, 1);
    assert_string_equal(c.parent->run.text, newest.id.text);
    assert_int_equal(cf_lease_number(c.lease), 3);
    assert_string_equal(read_lease(&f, 3).uses[0].text, newest.id.text);
    assert_true(read_lease(&f, 1).ended);
    cf_claim_deinit(&c);
    other.times = 1000;
    assert_refused(cf_claim_take(&f.repo, &(cf_claim_opts){.node = "n"}, &c, &e), CF_ERR_LOCKED,
                   "committed 8 times while this one started");
    cf_store_memory_set_hooks(f.store, NULL);
    fixture_deinit(&f);
}

static void test_busy(void **state)
{
    (void)state;
    static const struct {
        const char *title;
        uint64_t wait_ms;
        cf_err expected;
        size_t told;
    } cases[] = {
        {"at once", 0, CF_ERR_LOCKED, 0},
        {"waits, not long enough", (CF_LEASE_TTL_S - 1) * 1000, CF_ERR_LOCKED, 1},
        {"waits until it runs out", (CF_LEASE_TTL_S + 60) * 1000, CF_OK, 1},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        fixture f;
        spoken s = {0};
        cf_claim c = {0};
        cf_error e = {0};
        fixture_init(&f);
        const cf_run other = make_run("n", FIXTURE_UTC_S, 7);
        put_lease(&f, "nodes/n/leases/0000000001", &other.id, /* ended= */ false);
        const cf_err err = cf_claim_take(
            &f.repo,
            &(cf_claim_opts){.node = "n", .wait_ms = cases[i].wait_ms, .log = hear, .impl = &s}, &c,
            &e);
        if (err != cases[i].expected)
            fail_msg("%s: %s", cases[i].title, e.message);
        if (err == CF_OK)
            assert_int_equal(cf_lease_number(c.lease), 2);
        else
            assert_non_null(strstr(e.message, "process 4711 on 'elsewhere'"));
        assert_int_equal(s.total, cases[i].told);
        if (s.total > 0) {
            assert_non_null(strstr(s.text[0], "waiting up to "));
            assert_non_null(strstr(s.text[0], "process 4711 on 'elsewhere'"));
            assert_null(strstr(s.text[0], "HINT"));
        }
        print_message("%s: %llu operations in %lld ms\n", cases[i].title,
                      (unsigned long long)count_requests(&f),
                      (long long)atomic_load(&f.clock.slept_ms));
        const uint64_t slept_ms = (uint64_t)atomic_load(&f.clock.slept_ms);
        assert_true(slept_ms <= cases[i].wait_ms);
        assert_true(err == CF_OK || slept_ms == cases[i].wait_ms);
        /* Not hot: ten operations a look (the memory store counts clock readings too), looks a
         * second apart. */
        assert_true(count_requests(&f) <= 10 * (2 + slept_ms / 1000));
        cf_claim_deinit(&c);
        fixture_deinit(&f);
    }
}

static bool stop_after_sleep(void *impl)
{
    return atomic_load(&((fake_world *)impl)->slept_ms) > 0;
}

static void test_interrupted(void **state)
{
    (void)state;
    fixture f;
    cf_claim c = {0};
    fixture_init(&f);
    const cf_run other = make_run("n", FIXTURE_UTC_S, 7);
    put_lease(&f, "nodes/n/leases/0000000001", &other.id, /* ended= */ false);
    cf_world w = f.world;
    w.stopping = stop_after_sleep;
    f.repo.world = &w;
    assert_refused(cf_claim_take(&f.repo, &(cf_claim_opts){.node = "n", .wait_ms = 600000}, &c, &e),
                   CF_ERR_INTERRUPTED, "waited for node 'n'");
    assert_true(atomic_load(&f.clock.slept_ms) <= 5000);
    fixture_deinit(&f);
}

/* A root that cannot be read is no parent, and the run says so. */
static void test_damaged_parent(void **state)
{
    (void)state;
    fixture f;
    spoken s = {0};
    cf_claim c = {0};
    char key[CF_KEY_LEN_MAX + 1];
    fixture_init(&f);
    (void)commit(&f, FIXTURE_UTC_S - 7200, 3);
    const cf_run bad = make_run("n", FIXTURE_UTC_S - 3600, 1);
    cf_key_root(key, "n", &bad.id);
    put_object(&f, key, cf_slice_str("{\"format\":1,"));
    assert_ok(
        cf_claim_take(&f.repo, &(cf_claim_opts){.node = "n", .log = hear, .impl = &s}, &c, &e));
    assert_null(c.parent);
    assert_string_equal(c.chosen.text, bad.id.text);
    assert_true(strcmp(c.run.id.text, bad.id.text) > 0);
    assert_int_equal(s.total, 1);
    assert_non_null(strstr(s.text[0], "cannot be the parent"));
    cf_claim_deinit(&c);
    fixture_deinit(&f);
}

/* --- the commit in a repository without conditional create --- */

static void take_unconditional(fixture *f, cf_claim *c)
{
    fixture_init(f);
    cf_store_memory_set_features(f->store, 0);
    f->repo.conditional = false;
    assert_ok(cf_claim_take(&f->repo, &(cf_claim_opts){.node = "n"}, c, &e));
}

static void test_commit_unconditional(void **state)
{
    (void)state;
    static const struct {
        const char *title;
        int64_t slept_s; /* of the run, before it commits */
        bool waits;
    } cases[] = {
        {"awake", 0, false},
        {"the lease is old but lives", CF_LEASE_TTL_S, false},
        {"the lease ran out", CF_LEASE_TTL_S + 1, true},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        fixture f;
        cf_claim c = {0};
        spoken s = {0};
        const cf_claim_opts opts = {.node = "n", .log = hear, .impl = &s};
        take_unconditional(&f, &c);
        CF_CLEANUP(cf_root_freep) cf_root *root = make_root(&c.run);
        pass_s(&f, cases[i].slept_s);
        cf_error e = {0};
        if (cf_claim_commit(&f.repo, &opts, &c, root, &e) != CF_OK)
            fail_msg("%s: %s", cases[i].title, e.message);
        const int64_t waited_ms = atomic_load(&f.clock.slept_ms);
        assert_int_equal(waited_ms >= INT64_C(3600) * 1000, cases[i].waits);
        assert_int_equal(s.total, cases[i].waits ? 1 : 0);
        assert_int_equal(count_objects(&f, "nodes/n/snapshots/"), 1);
        cf_claim_deinit(&c);
        fixture_deinit(&f);
    }
}

/* What a prune took while the run slept: it says so, and commits nothing. */
static void test_commit_unconditional_pruned(void **state)
{
    (void)state;
    fixture f;
    cf_claim c = {0};
    take_unconditional(&f, &c);
    CF_CLEANUP(cf_root_freep) cf_root *root = make_root(&c.run);
    char key[CF_KEY_LEN_MAX + 1];
    cf_key_run_object(key, &c.run, 1, "files", "", ".jsonl.zst");
    cf_segment gone = {.kind = CF_SEGMENT_FILES, .stored_bytes = 10, .lines_total = 1};
    gone.key = (char *)(uintptr_t)cf_key_object_name(key);
    assert_ok(cf_root_add_segment(root, &gone, &e));
    pass_s(&f, CF_LEASE_TTL_S + 1);
    assert_refused(cf_claim_commit(&f.repo, &(cf_claim_opts){.node = "n"}, &c, root, &e),
                   CF_ERR_FENCED, "is gone: a prune took this run for dead");
    assert_int_equal(count_objects(&f, "nodes/n/snapshots/"), 0);
    cf_claim_deinit(&c);
    fixture_deinit(&f);
}

/* The machine sleeps again and again: no hour ever counts. */
static void sleep_badly(void *impl, uint64_t ms)
{
    fake_sleep(impl, ms + (uint64_t)(CF_LEASE_TTL_S + 1) * 1000);
}

static void test_commit_unconditional_sleeper(void **state)
{
    (void)state;
    fixture f;
    cf_claim c = {0};
    take_unconditional(&f, &c);
    cf_world w = f.world;
    w.sleep_ms = sleep_badly;
    f.repo.world = &w;
    CF_CLEANUP(cf_root_freep) cf_root *root = make_root(&c.run);
    pass_s(&f, CF_LEASE_TTL_S + 1);
    assert_refused(cf_claim_commit(&f.repo, &(cf_claim_opts){.node = "n"}, &c, root, &e),
                   CF_ERR_LOCKED, "ran out 3 times");
    assert_int_equal(count_objects(&f, "nodes/n/snapshots/"), 0);
    cf_claim_deinit(&c);
    fixture_deinit(&f);
}

/* Nothing refuses a late PUT there, so a fence of our own would destroy what it brought. */
static cf_err fail_roots(void *impl, cf_store_op op, const char *key, cf_error *e)
{
    if (op != CF_STORE_OP_PUT || strstr(key, "/snapshots/") == NULL)
        return CF_OK;
    (*(int *)impl)++;
    CF_FAIL(e, CF_ERR_NETWORK, "cut");
}

static void test_commit_unconditional_unknown(void **state)
{
    (void)state;
    fixture f;
    cf_claim c = {0};
    int puts = 0;
    take_unconditional(&f, &c);
    CF_CLEANUP(cf_root_freep) cf_root *root = make_root(&c.run);
    cf_store_memory_set_hooks(f.store,
                              &(cf_store_memory_hooks){.before = fail_roots, .impl = &puts});
    assert_refused(cf_claim_commit(&f.repo, &(cf_claim_opts){.node = "n"}, &c, root, &e),
                   CF_ERR_UNKNOWN, "it is unknown whether it is");
    cf_store_memory_set_hooks(f.store, NULL);
    assert_int_equal(puts, 5); /* roots all of them, no fence */
    assert_int_equal(count_objects(&f, "nodes/n/snapshots/"), 0);
    cf_claim_deinit(&c);
    fixture_deinit(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_first),
        cmocka_unit_test(test_parent),
        cmocka_unit_test(test_newer_parent),
        cmocka_unit_test(test_busy),
        cmocka_unit_test(test_interrupted),
        cmocka_unit_test(test_damaged_parent),
        cmocka_unit_test(test_commit_unconditional),
        cmocka_unit_test(test_commit_unconditional_pruned),
        cmocka_unit_test(test_commit_unconditional_sleeper),
        cmocka_unit_test(test_commit_unconditional_unknown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
