/* SPDX-License-Identifier: Apache-2.0
 *
 * A copy of two snapshots with one fault, at every place there is: the nth operation of either store
 * (refused, or done and its answer lost), the nth allocation. After each: the right error, no
 * snapshot in the target that is not whole, and the same command again brings all. Run under ASan
 * this also proves that nothing leaks.
 */
#include "pair.h"

enum {
    EVERY_UP_TO = 250, /* beyond it, every STRIDEth */
    STRIDE = 37,
    LEASE_OUT_S = 2 * 3600, /* this process is alive, so its lost lease must run out */
};

typedef struct sweep {
    const char *title;
    bool at_source, after, allocations;
    cf_err code; /* allowed besides CF_OK */
} sweep;

static unsigned long allocs_before;

static void arm(pair *p, const sweep *s, unsigned n)
{
    rig *const r = s->at_source ? &p->from : &p->to;

    if (s->allocations) {
        allocs_before = cf_alloc_count();
        cf_alloc_fail_at(n);
        return;
    }
    atomic_store(&r->ops, 0);
    atomic_store(&r->hit, false);
    r->fail_after = s->after;
    r->fail_at = n;
    cf_store_memory_set_hooks(
        r->f.store, &(cf_store_memory_hooks){.before = rig_before, .after = rig_after, .impl = r});
}

static bool disarm(pair *p, const sweep *s, unsigned n)
{
    rig *const r = s->at_source ? &p->from : &p->to;

    if (s->allocations) {
        cf_alloc_fail_at(0);
        return cf_alloc_count() - allocs_before >= n;
    }
    cf_store_memory_set_hooks(r->f.store, NULL);
    r->fail_at = 0;
    return atomic_load(&r->hit);
}

/* Every snapshot of the target is whole. */
static size_t check_all(pair *p, const cf_buf expected[2])
{
    cf_snapshot_ids ids = {0};

    assert_ok(cf_snapshot_list(&p->to.f.repo, RIG_NODE, /* recent= */ false, &ids, &e));
    const size_t total = ids.total;
    assert_true(total <= 2);
    for (size_t i = 0; i < total; i++)
        rig_check_complete(&p->to, ids.id[i].text, &expected[i]);
    cf_snapshot_ids_deinit(&ids);
    return total;
}

typedef struct packs {
    size_t total;
} packs;

static cf_err pack_count(void *impl, const cf_store_entry *entry, bool *ret_stop, cf_error *e)
{
    (void)ret_stop;
    (void)e;
    ((packs *)impl)->total += strstr(entry->key, "-pack-") != NULL;
    return CF_OK;
}

static size_t count_packs(rig *r)
{
    packs n = {0};

    assert_ok(r->f.store->ops->list(r->f.store, "nodes/", NULL, NULL, pack_count, &n, &e));
    return n.total;
}

/* What the first copy sent is named by the second: only what was under way is there twice. Where
 * the journal itself or memory for it was refused, a few more may be. */
static void check_resumed(pair *p, const sweep *s, unsigned n, const char *what)
{
    const size_t allowed = count_packs(&p->from) + 2;
    const size_t found = count_packs(&p->to);

    if (s->allocations || strstr(what, "-journal") != NULL)
        return;
    if (found > allowed)
        fail_msg("%s, n = %u (%s): %zu packs in the target, %zu in the source", s->title, n, what,
                 found, allowed - 2);
}

static bool fault_once(pair *p, const sweep *s, unsigned n, const cf_buf expected[2])
{
    cf_copy_result r = {0};
    cf_error error = {0};
    const char *const what = s->at_source ? p->from.hit_what : p->to.hit_what;

    arm(p, s, n);
    const cf_err err = pair_copy(p, "all", &r, &error);
    const bool hit = disarm(p, s, n);
    if ((err != CF_OK && err != s->code) || (!hit && err != CF_OK) || r.failed != CF_OK)
        fail_msg("%s, n = %u (%s): %s, %s: %s\n%s", s->title, n, what, cf_err_name(err),
                 cf_err_name(r.failed), error.message, p->said);
    if (err != CF_OK && error.message[0] == '\0')
        fail_msg("%s, n = %u: no message", s->title, n);
    const size_t found = check_all(p, expected);
    if (err == CF_OK && found != 2)
        fail_msg("%s, n = %u (%s): %zu snapshots of 2", s->title, n, what, found);
    pass_s(&p->from.f, LEASE_OUT_S);
    assert_ok(pair_copy(p, "all", &r, &e));
    assert_int_equal(r.snapshots_skipped, found);
    check_resumed(p, s, n, what);
    assert_int_equal(check_all(p, expected), 2);
    return hit;
}

static void run_sweep(const sweep *s)
{
    bool hit = true;
    unsigned n = 0;

    while (hit) {
        pair p;
        cf_buf expected[2] = {{0}, {0}};

        n += n < EVERY_UP_TO ? 1 : STRIDE;
        pair_init(&p);
        rig_read(&p.from, pair_backup(&p, &p.from).snapshot, &expected[0]);
        rig_node_change(&p.from);
        rig_read(&p.from, pair_backup(&p, &p.from).snapshot, &expected[1]);
        hit = fault_once(&p, s, n, expected);
        cf_buf_deinit(&expected[0]);
        cf_buf_deinit(&expected[1]);
        pair_deinit(&p);
    }
    print_message("%s: about %u places\n", s->title, n - 1);
    assert_true(n > 10);
}

static void test_source_refused(void **state)
{
    (void)state;
    run_sweep(&(sweep){.title = "source, refused", .at_source = true, .code = CF_ERR_SERVER});
}

static void test_source_answer_lost(void **state)
{
    (void)state;
    run_sweep(&(sweep){
        .title = "source, answer lost", .at_source = true, .after = true, .code = CF_ERR_SERVER});
}

static void test_target_refused(void **state)
{
    (void)state;
    run_sweep(&(sweep){.title = "target, refused", .code = CF_ERR_SERVER});
}

static void test_target_answer_lost(void **state)
{
    (void)state;
    run_sweep(&(sweep){.title = "target, answer lost", .after = true, .code = CF_ERR_SERVER});
}

static void test_allocation_fails(void **state)
{
    (void)state;
    run_sweep(&(sweep){.title = "allocation", .allocations = true, .code = CF_ERR_NO_MEMORY});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_source_refused),   cmocka_unit_test(test_source_answer_lost),
        cmocka_unit_test(test_target_refused),   cmocka_unit_test(test_target_answer_lost),
        cmocka_unit_test(test_allocation_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
