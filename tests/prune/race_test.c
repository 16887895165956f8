/* SPDX-License-Identifier: Apache-2.0
 *
 * What other machines do between two requests of a prune: at every one of them, and for what has a
 * beginning and an end at every pair. Whatever happens: every listed snapshot has all it names, the
 * newest stands, and who was told that something is kept, keeps it. What an actor does is what the
 * flow of its name does; the model's line is beside it.
 */
#include "kit.h"

typedef struct race race;
typedef void (*actor_fn)(race *r);

struct race {
    kit k;
    unsigned seen; /* requests of the prune so far */
    unsigned begin_at, end_at;
    actor_fn begin, end;
    bool inside; /* the actor's own requests are not counted */
    cf_run base, old, dead;
    cf_run run; /* the actor's */
    kit_names names;
    bool began, promised;
};

static cf_err race_hook(void *impl, cf_store_op op, const char *key, cf_error *e)
{
    race *const r = impl;
    (void)key;
    (void)e;
    if (op == CF_STORE_OP_NOW || r->inside)
        return CF_OK;
    r->seen++;
    r->inside = true;
    if (r->seen == r->begin_at && r->begin != NULL)
        r->begin(r);
    if (r->seen == r->end_at && r->end != NULL)
        r->end(r);
    r->inside = false;
    return CF_OK;
}

/* old (goes), base (the newest), a dead run with packs, out of grace. */
static void race_init(race *r)
{
    memset(r, 0, sizeof(*r));
    kit_init(&r->k);
    r->old = kit_snapshot(&r->k, 1, 2, NULL);
    r->dead = kit_dead(&r->k, 2, 2, &r->old.id);
    pass_s(&r->k.f, 2 * KIT_DAY_S);
    r->base = kit_snapshot(&r->k, 3, 2, NULL);
}

/* Runs prune with the actor at (begin, end); false when the prune had fewer requests. */
static bool race_run(race *r, const cf_prune_opts *opts, unsigned begin, unsigned end)
{
    const cf_store_memory_hooks hooks = {.before = race_hook, .impl = r};
    char when[64];
    r->begin_at = begin;
    r->end_at = end;
    cf_store_memory_set_hooks(r->k.f.store, &hooks);
    cf_error why = {0};
    const cf_err err = kit_prune(&r->k, opts, &why);
    cf_store_memory_set_hooks(r->k.f.store, NULL);
    (void)snprintf(when, sizeof(when), "begin %u, end %u (%s)", begin, end, why.message);
    if (err != CF_OK && err != CF_ERR_LOCKED && err != CF_ERR_CONFLICT)
        fail_msg("%s", when);
    assert_true(kit_check(&r->k, when) >= 1);
    return r->seen >= end;
}

static const cf_prune_opts last_1 = {.keep_last = 1};

static bool newest_of(race *r, cf_run_id *ret)
{
    cf_snapshot_ids ids = {0};
    assert_ok(cf_snapshot_list(&r->k.f.repo, KIT_NODE, /* recent= */ false, &ids, &e));
    const bool any = ids.total > 0;
    if (any)
        *ret = ids.id[ids.total - 1];
    cf_snapshot_ids_deinit(&ids);
    return any;
}

/* --- a backup: `proctype backup` --- */

static void begin_run(race *r, bool adopt)
{
    cf_run_id parent = {""}, again = {""};
    kit_names names = {.total = 0};
    bool decided = false;
    kit *const k = &r->k;
    assert_true(newest_of(r, &parent)); /* choose */
    r->run = kit_run(k, 50);
    assert_ok(cf_run_is_decided(&k->f.repo, KIT_NODE, &r->dead.id, &decided, &e));
    adopt = adopt && !decided;
    const cf_run_id uses[] = {parent, r->dead.id};
    kit_lease(k, "leases", 50, &r->run.id, /* ended= */ false, uses, adopt ? 2 : 1);
    assert_true(newest_of(r, &again)); /* LIST again: still the newest, adopted still undecided */
    assert_ok(cf_run_is_decided(&k->f.repo, KIT_NODE, &r->dead.id, &decided, &e));
    if (strcmp(parent.text, again.text) != 0 || (adopt && decided))
        return; /* would take the next lease; that is another begin */
    assert_true(kit_names_of(k, &parent, &r->names));
    for (unsigned i = 1; adopt && i <= 2; i++) { /* takes what a LIST shows */
        char name[CF_RUN_OBJECT_LEN_MAX + 1];
        (void)snprintf(name, sizeof(name), "%s/%010u-pack-x.zst", r->dead.id.text, i);
        if (kit_pack_there(k, name))
            (void)snprintf(r->names.name[r->names.total++], sizeof(r->names.name[0]), "%s", name);
    }
    (void)names;
    r->began = true;
}

static void backup_begin(race *r)
{
    begin_run(r, /* adopt= */ false);
}

static void adopter_begin(race *r)
{
    begin_run(r, /* adopt= */ true);
}

static void run_end(race *r)
{
    if (!r->began)
        return;
    kit_pack(&r->k, &r->run, &r->names);
    const cf_err err = kit_commit(&r->k, &r->run, &r->names, NULL);
    assert_true(err == CF_OK || err == CF_ERR_FENCED);
    assert_true(kit_check(&r->k, "at a root's birth") >= 1);
}

/* The same, and its lease runs out meanwhile, out of grace: it slept. */
static void sleeper_end(race *r)
{
    pass_s(&r->k.f, 3 * KIT_DAY_S);
    run_end(r);
}

/* The dead run's PUT was on the wire: `net(1)`. */
static void late_put(race *r)
{
    kit_names names = {.total = 0};
    if (!kit_names_of(&r->k, &r->old.id, &names))
        names.total = 0; /* its parent went: so it is fenced by now, or it names only its own */
    for (unsigned i = 1; i <= 2; i++)
        (void)snprintf(names.name[names.total++], sizeof(names.name[0]), "%s/%010u-pack-x.zst",
                       r->dead.id.text, i);
    const cf_err err = kit_commit(&r->k, &r->dead, &names, NULL);
    assert_true(err == CF_OK || err == CF_ERR_FENCED);
}

static void all_pairs(actor_fn begin, actor_fn end, const cf_prune_opts *opts)
{
    unsigned tried = 0;
    for (unsigned i = 1;; i++) {
        bool reached = false;
        for (unsigned j = i;; j++) {
            race r;
            race_init(&r);
            r.begin = begin;
            r.end = end;
            const bool more = race_run(&r, opts, i, j);
            if (!more) /* it commits after the prune */
                end(&r);
            assert_true(kit_check(&r.k, "after the commit") >= 1);
            /* And the next prune takes it as it finds it. */
            pass_s(&r.k.f, CF_LEASE_TTL_S + 1);
            assert_ok(kit_prune(&r.k, opts, &e));
            assert_true(kit_check(&r.k, "after the next prune") >= 1);
            reached = reached || r.seen >= i;
            tried++;
            kit_deinit(&r.k);
            if (!more)
                break;
        }
        if (!reached)
            break;
    }
    print_message("%u pairs\n", tried);
    assert_true(tried > 300);
}

static void test_backup(void **state)
{
    (void)state;
    all_pairs(backup_begin, run_end, &last_1);
}

static void test_adopter(void **state)
{
    (void)state;
    all_pairs(adopter_begin, run_end, &last_1);
}

static void test_sleeper(void **state)
{
    (void)state;
    all_pairs(adopter_begin, sleeper_end, &last_1);
}

static void test_late_put(void **state)
{
    (void)state;
    unsigned tried = 0;
    for (unsigned i = 1;; i++, tried++) {
        race r;
        race_init(&r);
        r.begin = late_put;
        (void)race_run(&r, &last_1, i, 0);
        const bool more = r.seen >= i;
        kit_deinit(&r.k);
        if (!more)
            break;
    }
    assert_true(tried > 25);
}

/* --- a tag, a proof --- */

static void tag_now(race *r)
{
    const char *const keep[] = {CF_TAG_KEEP};
    const cf_tag_change change = {.add = keep, .add_total = 1};
    const cf_err err = cf_tag_set(&r->k.f.repo, KIT_NODE, &r->old.id, &change, NULL);
    assert_true(err == CF_OK || err == CF_ERR_FENCED || err == CF_ERR_LOCKED);
    r->promised = err == CF_OK;
}

static void test_tag(void **state)
{
    (void)state;
    unsigned kept = 0, tried = 0;
    for (unsigned i = 1;; i++, tried++) {
        race r;
        race_init(&r);
        r.begin = tag_now;
        (void)race_run(&r, &last_1, i, 0);
        const bool more = r.seen >= i;
        kit_names names;
        const bool stands = kit_names_of(&r.k, &r.old.id, &names);
        if (r.promised)
            assert_true(stands);
        kept += stands;
        kit_deinit(&r.k);
        if (!more)
            break;
    }
    assert_true(tried > 25 && kept > 10); /* seen until the last LIST of marks */
}

static void proof_now(race *r)
{
    json_t *const body = json_pack("{s:i}", "files", 1);
    assert_ok(cf_mark_add(&r->k.f.repo, KIT_NODE, &r->old.id, CF_MARK_PROOF, body, &e));
    json_decref(body);
}

static void test_proof(void **state)
{
    (void)state;
    unsigned kept = 0;
    for (unsigned i = 1;; i++) {
        race r;
        race_init(&r);
        r.begin = proof_now;
        (void)race_run(&r, &last_1, i, 0);
        const bool more = r.seen >= i;
        kept += kit_names_of(&r.k, &r.old.id, &(kit_names){.total = 0});
        kit_deinit(&r.k);
        if (!more)
            break;
    }
    assert_true(kept > 10);
}

/* --- another prune, and a prune that sleeps --- */

static void fence_old(race *r)
{
    assert_ok(cf_fence_put(&r->k.f.repo, KIT_NODE, &r->old.id, /* over_root= */ true, &e));
}

static void test_fenced_root(void **state)
{
    (void)state;
    for (unsigned i = 1;; i++) {
        race r;
        race_init(&r);
        r.begin = fence_old;
        const cf_prune_opts last_9 = {.keep_last = 9};
        (void)race_run(&r, &last_9, i, 0);
        const bool more = r.seen >= i;
        assert_ok(kit_prune(&r.k, &last_9, &e));
        assert_int_equal(kit_check(&r.k, "end"), more ? 1 : 2);
        kit_deinit(&r.k);
        if (!more)
            break;
    }
}

/* Everything others can do while this prune is frozen: its lease runs out, backups commit, another
 * prune sweeps, a dead run is adopted. */
static void frozen(race *r)
{
    kit *const k = &r->k;
    pass_s(&k->f, 2 * KIT_DAY_S);
    adopter_begin(r);
    r->inside = true;
    kit other = *k; /* the same store, results of its own */
    (void)kit_prune(&other, &last_1, NULL);
    run_end(r);
    pass_s(&k->f, 60);
    r->base = kit_snapshot(k, 60, 1, NULL);
    pass_s(&k->f, 2 * KIT_DAY_S);
    other = *k;
    assert_ok(kit_prune(&other, &last_1, &e));
}

static void test_frozen(void **state)
{
    (void)state;
    unsigned tried = 0;
    for (unsigned i = 1;; i++, tried++) {
        race r;
        race_init(&r);
        r.begin = frozen;
        (void)race_run(&r, &last_1, i, 0);
        const bool more = r.seen >= i;
        assert_ok(kit_prune(&r.k, &last_1, &e));
        assert_int_equal(kit_check(&r.k, "end"), 1);
        kit_deinit(&r.k);
        if (!more)
            break;
    }
    assert_true(tried > 25);
}

/* --- the list must be able to fail --- */

/* The same pairs on a prune that has its second look at the leases first: it must lose packs, else
 * these tests show nothing. Played by hiding the actor's lease from its second LIST. */
static void hidden_begin(race *r)
{
    adopter_begin(r);
    if (r->began)
        assert_ok(r->k.f.store->ops->delete_many(
            r->k.f.store, (const char *const[]){"nodes/n/leases/0000000050"}, 1, NULL, &e));
}

static void test_can_fail(void **state)
{
    (void)state;
    unsigned lost = 0;
    for (unsigned i = 1; i < 30; i++) {
        race r;
        race_init(&r);
        r.begin = hidden_begin;
        (void)race_run(&r, &last_1, i, 0);
        if (r.began) { /* it commits afterwards, and names what went */
            kit_pack(&r.k, &r.run, &r.names);
            assert_ok(kit_commit(&r.k, &r.run, &r.names, &e));
            for (size_t p = 0; p < r.names.total; p++)
                lost += !kit_pack_there(&r.k, r.names.name[p]);
        }
        kit_deinit(&r.k);
    }
    assert_true(lost > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_backup),      cmocka_unit_test(test_adopter),
        cmocka_unit_test(test_sleeper),     cmocka_unit_test(test_late_put),
        cmocka_unit_test(test_tag),         cmocka_unit_test(test_proof),
        cmocka_unit_test(test_fenced_root), cmocka_unit_test(test_frozen),
        cmocka_unit_test(test_can_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
