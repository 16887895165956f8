/* SPDX-License-Identifier: Apache-2.0
 *
 * Prune at one node: the order of its requests, what stays and goes, and every refusal.
 */
#include "kit.h"

static const cf_prune_opts last_1 = {.keep_last = 1};
static const cf_prune_opts last_2 = {.keep_last = 2};

/* --- the order of requests --- */

typedef struct recorder {
    char text[8192];
} recorder;

static cf_err record(void *impl, cf_store_op op, const char *key, cf_error *e)
{
    recorder *const r = impl;
    const size_t used = strlen(r->text);
    char shape[CF_KEY_LEN_MAX + 1] = "";
    (void)e;
    if (op == CF_STORE_OP_NOW)
        return CF_OK;
    /* Ids and numbers are left out: "nodes/n/runs/<run>/<seq>-packs" is "runs/packs". */
    const char *at = strncmp(key, "nodes/n/", 8) == 0 ? key + 8 : key;
    (void)snprintf(shape, sizeof(shape), "%.*s", (int)strcspn(at, "/"), at);
    const char *const kind = strstr(at, "packs.jsonl") != NULL ? "/packs"
                             : strstr(at, "journal") != NULL   ? "/journal"
                             : strncmp(at, "runs/2", 6) == 0   ? "/object"
                             : strstr(at, "/tag-") != NULL     ? "/tag"
                                                               : "";
    (void)snprintf(r->text + used, sizeof(r->text) - used, "%s %s%s\n", cf_store_op_name(op), shape,
                   kind);
    return CF_OK;
}

/* A snapshot that goes, one that stays, a dead run with a journal, one that is alive. */
static void test_order(void **state)
{
    (void)state;
    /* What stands right is the step of prune.c and of the model. */
    static const char expected[] = "get chunkferry.json\n"
                                   "list nodes\n"
                                   "list prunes\n"        /* 1. own lease */
                                   "put prunes\n"         /* */
                                   "list leases\n"        /* 2. who runs: one GET each */
                                   "get leases\n"         /* */
                                   "get leases\n"         /* */
                                   "get leases\n"         /* */
                                   "get leases\n"         /* */
                                   "list snapshots\n"     /* 3. R1st, newest, Q */
                                   "get snapshots\n"      /* */
                                   "get snapshots\n"      /* */
                                   "list marks\n"         /* proofs */
                                   "list marks\n"         /* tags */
                                   "get marks/tag\n"      /* */
                                   "list runs\n"          /* 4. objs */
                                   "put snapshots\n"      /* 5. the dead run's fence */
                                   "list leases\n"        /* 6. L, A, P[] */
                                   "get leases\n"         /* */
                                   "get leases\n"         /* */
                                   "get leases\n"         /* */
                                   "get leases\n"         /* */
                                   "list reads\n"         /* */
                                   "list snapshots\n"     /* 7. R, F: last */
                                   "list marks\n"         /* */
                                   "get runs/packs\n"     /* 8. names[] of what stays */
                                   "put snapshots\n"      /* 9. D: a fence over the root */
                                   "get runs/journal\n"   /* 10. */
                                   "delete runs/object\n" /* G */
                                   "delete leases\n"      /* 11. C */
                                   "list prunes\n"        /* */
                                   "get prunes\n"         /* */
                                   "put prunes\n";        /* 12. release */
    kit k;
    recorder r = {""};
    kit_init(&k);
    const char *const words[] = {"x"};
    const cf_tag_change tag = {.add = words, .add_total = 1};
    const cf_run one = kit_snapshot(&k, 1, 2, NULL);
    const cf_run dead = kit_dead(&k, 2, 1, &one.id);
    char key[CF_KEY_LEN_MAX + 1];
    (void)snprintf(key, sizeof(key), "nodes/n/runs/%s/0000000009-journal.jsonl.zst", dead.id.text);
    put_object(&k.f, key, cf_slice_str("no zstd"));
    pass_s(&k.f, 2 * KIT_DAY_S);
    const cf_run two = kit_snapshot(&k, 3, 1, NULL);
    assert_ok(cf_tag_put(&k.f.repo, KIT_NODE, &two.id, &tag, &e));
    const cf_run live = kit_dead(&k, 4, 1, &two.id);
    const cf_store_memory_hooks hooks = {.before = record, .impl = &r};
    cf_store_memory_set_hooks(k.f.store, &hooks);
    assert_ok(kit_prune(&k, &last_1, &e));
    cf_store_memory_set_hooks(k.f.store, NULL);
    assert_string_equal(r.text, expected);
    assert_string_equal(k.told, "- +last,newest,used");
    assert_int_equal(k.result.snapshots_deleted, 1);
    assert_int_equal(k.result.snapshots_kept, 1);
    assert_int_equal(k.result.runs_fenced, 1);
    assert_non_null(
        strstr(k.warned, "unfinished uploads of run")); /* a journal that is no journal */
    assert_int_equal(kit_check(&k, "after"), 1);
    assert_true(cf_fence_put(&k.f.repo, KIT_NODE, &one.id, false, NULL) == CF_ERR_EXISTS);
    assert_true(cf_fence_put(&k.f.repo, KIT_NODE, &dead.id, false, NULL) == CF_ERR_EXISTS);
    assert_ok(cf_fence_put(&k.f.repo, KIT_NODE, &live.id, false, &e)); /* nobody had fenced it */
    kit_deinit(&k);
}

/* Nothing of the plan is written by a dry run, and it says the same. */
static cf_err no_writes(void *impl, cf_store_op op, const char *key, cf_error *e)
{
    (void)impl;
    if (op == CF_STORE_OP_PUT || op == CF_STORE_OP_DELETE || op == CF_STORE_OP_PUT_OPEN)
        CF_FAIL(e, CF_ERR_FAILED, "%s %s", cf_store_op_name(op), key);
    return CF_OK;
}

static void test_dry_run(void **state)
{
    (void)state;
    kit k;
    kit_init(&k);
    cf_run run = kit_snapshot(&k, 1, 2, NULL);
    for (uint32_t i = 2; i < 6; i++)
        run = kit_snapshot(&k, i, 1, i % 2 == 0 ? &run.id : NULL);
    (void)kit_dead(&k, 9, 3, &run.id);
    pass_s(&k.f, 2 * KIT_DAY_S);
    const cf_store_memory_hooks hooks = {.before = no_writes};
    cf_prune_opts dry = last_2;
    dry.dry_run = true;
    cf_store_memory_set_hooks(k.f.store, &hooks);
    assert_ok(kit_prune(&k, &dry, &e));
    const cf_prune_result said = k.result;
    char told[sizeof(k.told)];
    memcpy(told, k.told, sizeof(told));
    cf_store_memory_set_hooks(k.f.store, NULL);
    assert_int_equal(said.runs_fenced, 1);
    assert_true(said.objects_deleted > 3);
    assert_ok(kit_prune(&k, &last_2, &e));
    assert_string_equal(k.told, told);
    assert_int_equal(k.result.objects_deleted, said.objects_deleted);
    assert_int_equal(k.result.bytes_freed, said.bytes_freed);
    assert_int_equal(k.result.snapshots_deleted, said.snapshots_deleted);
    assert_int_equal(kit_check(&k, "after"), 2);
    kit_deinit(&k);
}

/* Interrupted at any request, done or not done, the next prune finishes: the same is left. */
typedef struct stopper {
    unsigned at, seen;
    bool after;
} stopper;

static cf_err stop_before(void *impl, cf_store_op op, const char *key, cf_error *e)
{
    stopper *const s = impl;
    (void)key;
    if (op != CF_STORE_OP_NOW && !s->after && ++s->seen == s->at)
        CF_FAIL(e, CF_ERR_INTERRUPTED, "stopped");
    return CF_OK;
}

static cf_err stop_after(void *impl, cf_store_op op, const char *key, cf_error *e)
{
    stopper *const s = impl;
    (void)key;
    if (op != CF_STORE_OP_NOW && s->after && ++s->seen == s->at)
        CF_FAIL(e, CF_ERR_INTERRUPTED, "stopped");
    return CF_OK;
}

static void test_interrupted(void **state)
{
    (void)state;
    size_t left[2] = {0, 0};
    for (unsigned at = 0, done = 0; done < 2; at++) {
        kit k;
        stopper s = {.at = at / 2, .after = at % 2 != 0};
        const cf_store_memory_hooks hooks = {stop_before, stop_after, &s};
        kit_init(&k);
        cf_run run = kit_snapshot(&k, 1, 2, NULL);
        for (uint32_t i = 2; i < 6; i++)
            run = kit_snapshot(&k, i, 1, i % 3 == 0 ? &run.id : NULL);
        (void)kit_dead(&k, 9, 3, &run.id);
        pass_s(&k.f, 2 * KIT_DAY_S);
        if (s.at > 0) {
            cf_store_memory_set_hooks(k.f.store, &hooks);
            const cf_err err = kit_prune(&k, &last_2, NULL);
            cf_store_memory_set_hooks(k.f.store, NULL);
            done += err == CF_OK && s.seen < s.at;
            assert_true(kit_check(&k, "interrupted") >= 2);
            pass_s(&k.f, CF_LEASE_TTL_S + 1);
        }
        assert_ok(kit_prune(&k, &last_2, &e));
        assert_int_equal(kit_check(&k, "finished"), 2);
        const size_t objects = count_objects(&k.f, "nodes/n/runs/");
        const size_t others = count_objects(&k.f, "nodes/n/snapshots/");
        if (at == 0) {
            left[0] = objects;
            left[1] = others;
        }
        assert_int_equal(objects, left[0]);
        assert_int_equal(others, left[1]);
        assert_true(at < 400);
        kit_deinit(&k);
    }
}

/* --- what stays --- */

static void test_dead_run(void **state)
{
    (void)state;
    kit k;
    kit_init(&k);
    const cf_run base = kit_snapshot(&k, 1, 1, NULL);
    const cf_run dead = kit_dead(&k, 2, 2, &base.id);
    /* Its lease is out, but a later run may still adopt it. */
    pass_s(&k.f, CF_PRUNE_GRACE_S - 120);
    assert_ok(kit_prune(&k, &last_1, &e));
    assert_int_equal(k.result.runs_fenced, 0);
    assert_int_equal(count_objects(&k.f, "nodes/n/runs/"), 3 + 2);
    pass_s(&k.f, 240);
    assert_ok(kit_prune(&k, &last_1, &e));
    assert_int_equal(k.result.runs_fenced, 1);
    assert_int_equal(k.result.objects_deleted, 2);
    assert_int_equal(count_objects(&k.f, "nodes/n/runs/"), 3);
    assert_true(kit_there(&k, "nodes/n/leases/0000000002")); /* the highest */
    assert_false(kit_there(&k, "nodes/n/leases/0000000001"));
    (void)dead;
    kit_deinit(&k);
}

/* What a dead run left is adopted: its objects stay while the adopter is not decided, however old
 * its lease is; the parent it names too. */
static void test_used(void **state)
{
    (void)state;
    kit k;
    kit_init(&k);
    const cf_run one = kit_snapshot(&k, 1, 2, NULL);
    const cf_run dead = kit_dead(&k, 2, 2, &one.id);
    pass_s(&k.f, 2 * KIT_DAY_S);
    cf_run adopter = kit_run(&k, 3);
    const cf_run_id uses[] = {one.id, dead.id};
    kit_lease(&k, "leases", 3, &adopter.id, /* ended= */ false, uses, 2);
    pass_s(&k.f, 60);
    (void)kit_snapshot(&k, 4, 1, NULL);
    (void)kit_snapshot(&k, 5, 1, NULL);
    assert_ok(kit_prune(&k, &last_1, &e));
    assert_string_equal(k.told, "+used - +last,newest");
    assert_int_equal(k.result.runs_fenced, 1); /* the dead one: it can not commit any more */
    kit_names names = {.total = 0};
    assert_true(kit_names_of(&k, &one.id, &names));
    char key[CF_KEY_LEN_MAX + 1];
    (void)snprintf(key, sizeof(key), "%s/0000000001-pack-x.zst", dead.id.text);
    assert_true(kit_pack_there(&k, key));
    /* The adopter dies too, and is out of grace: all of it goes. */
    pass_s(&k.f, 2 * KIT_DAY_S);
    assert_ok(kit_prune(&k, &last_1, &e));
    assert_string_equal(k.told, "- +last,newest");
    assert_false(kit_pack_there(&k, key));
    assert_int_equal(kit_check(&k, "end"), 1);
    kit_deinit(&k);
}

static void test_marks_and_reads(void **state)
{
    (void)state;
    kit k;
    kit_init(&k);
    cf_run run[6];
    const char *const keep[] = {"keep"}, *const weekly[] = {"weekly"};
    const cf_tag_change pin = {.add = keep, .add_total = 1}, tag = {.add = weekly, .add_total = 1};
    json_t *proof = json_pack("{s:i}", "files", 1);
    for (uint32_t i = 0; i < 6; i++)
        run[i] = kit_snapshot(&k, i + 1, 1, NULL);
    assert_ok(cf_tag_put(&k.f.repo, KIT_NODE, &run[0].id, &pin, &e));
    assert_ok(cf_tag_put(&k.f.repo, KIT_NODE, &run[1].id, &tag, &e));
    assert_ok(cf_mark_add(&k.f.repo, KIT_NODE, &run[1].id, CF_MARK_PROOF, proof, &e));
    assert_ok(cf_mark_add(&k.f.repo, KIT_NODE, &run[2].id, CF_MARK_PROOF, proof, &e));
    kit_lease(&k, "reads", 7, &run[3].id, /* ended= */ false, NULL, 0);
    kit_lease(&k, "reads", 8, &run[4].id, /* ended= */ true, NULL, 0);
    assert_ok(kit_prune(&k, &last_1, &e));
    assert_string_equal(k.told, "+pinned - +proved +read - +last,newest");
    /* Marks of what went are gone, a read lease that ended too. */
    assert_int_equal(count_objects(&k.f, "nodes/n/marks/"), 2);
    assert_int_equal(count_objects(&k.f, "nodes/n/reads/"), 1);
    pass_s(&k.f, CF_LEASE_TTL_S + 1);
    const cf_tag_change unpin = {.remove = keep, .remove_total = 1};
    const cf_tag_change retag = {.add = weekly, .add_total = 1};
    assert_ok(cf_tag_set(&k.f.repo, KIT_NODE, &run[0].id, &unpin, &e));
    assert_ok(cf_tag_set(&k.f.repo, KIT_NODE, &run[3].id, &retag, &e));
    const cf_prune_opts by_tag = {.keep_tags = weekly, .keep_tag_total = 1};
    assert_ok(kit_prune(&k, &by_tag, &e));
    assert_string_equal(k.told, "- +proved +tag +newest");
    assert_int_equal(kit_check(&k, "end"), 3);
    json_decref(proof);
    kit_deinit(&k);
}

/* 'latest' goes by time, a run's parent by id: both stay, whatever the rules say. */
static void test_copied_late(void **state)
{
    (void)state;
    kit k;
    kit_init(&k);
    const char *const none[] = {"none"};
    const cf_prune_opts by_tag = {.keep_tags = none, .keep_tag_total = 1};
    cf_run_id found = {""};
    (void)kit_snapshot(&k, 1, 1, NULL);
    const cf_run latest = kit_snapshot(&k, 2, 1, NULL);
    k.root_age_ms = 30 * (int64_t)KIT_DAY_S * 1000;
    (void)kit_snapshot(&k, 3, 1, NULL);
    (void)kit_snapshot(&k, 4, 1, NULL);
    assert_ok(kit_prune(&k, &by_tag, &e));
    assert_string_equal(k.told, "- +newest - +newest");
    assert_ok(cf_snapshot_find(&k.f.repo, KIT_NODE, latest.id.text, &found, &e));
    assert_int_equal(kit_check(&k, "end"), 2);
    kit_deinit(&k);
}

/* What is known of an object outlives the snapshot by which it was found. */
static void test_damage_marks(void **state)
{
    (void)state;
    kit k;
    kit_init(&k);
    kit_names names = {.total = 0};
    const cf_run first = kit_snapshot(&k, 1, 2, NULL);
    assert_true(kit_names_of(&k, &first.id, &names));
    const cf_run alone = kit_snapshot(&k, 2, 1, NULL);
    (void)kit_snapshot(&k, 3, 1, &first.id);
    json_t *shared = json_pack("{s:[s, s], s:[]}", "objects", "no name", names.name[0], "files");
    json_t *whole = json_pack("{s:[], s:[]}", "objects", "files");
    assert_ok(cf_mark_add(&k.f.repo, KIT_NODE, &first.id, CF_MARK_DAMAGE, shared, &e));
    assert_ok(cf_mark_add(&k.f.repo, KIT_NODE, &alone.id, CF_MARK_DAMAGE, whole, &e));
    assert_ok(kit_prune(&k, &last_1, &e));
    assert_string_equal(k.told, "- - +last,newest");
    assert_int_equal(count_objects(&k.f, "nodes/n/marks/"), 1);
    /* Nobody names it any more. */
    (void)kit_snapshot(&k, 4, 1, NULL);
    assert_ok(kit_prune(&k, &last_1, &e));
    assert_int_equal(count_objects(&k.f, "nodes/n/marks/"), 0);
    json_decref(shared);
    json_decref(whole);
    kit_deinit(&k);
}

/* Keys of another shape are nobody's business. */
static void test_foreign(void **state)
{
    (void)state;
    static const char *const foreign[] = {
        "nodes/n/runs/readme.txt",
        "nodes/n/runs/20261121T143100Z-0123abcd/notes",
        "nodes/n/runs/20261121T143100Z-0123abcd/0000000001-pack/deeper",
        "nodes/n/snapshots/old",
        "nodes/n/snapshots/20261121T143100Z-0123abcd.bak",
        "nodes/n/leases/x",
        "nodes/n/marks/20261121T143100Z-0123abcd/note",
        "nodes/n/reads/x/y",
        "nodes/n/other/0000000001",
        "nodes/M/runs/20261121T143100Z-0123abcd/0000000001-pack",
        "elsewhere/x",
    };
    kit k;
    kit_init(&k);
    for (size_t i = 0; i < ARRAY_LEN(foreign); i++)
        put_object(&k.f, foreign[i], cf_slice_str("theirs"));
    for (uint32_t i = 1; i < 4; i++)
        (void)kit_snapshot(&k, i, 1, NULL);
    pass_s(&k.f, 2 * KIT_DAY_S);
    assert_ok(kit_prune(&k, &last_1, &e));
    for (size_t i = 0; i < ARRAY_LEN(foreign); i++) {
        if (!kit_there(&k, foreign[i]))
            fail_msg("'%s' is gone", foreign[i]);
    }
    kit_deinit(&k);
}

/* More objects than a batch takes. */
static void test_batches(void **state)
{
    (void)state;
    enum { DEAD = 2500 };
    kit k;
    recorder r = {""};
    char key[CF_KEY_LEN_MAX + 1];
    kit_init(&k);
    (void)kit_snapshot(&k, 1, 1, NULL);
    cf_run dead = kit_run(&k, 2);
    for (unsigned i = 0; i < DEAD; i++) {
        cf_key_run_object(key, &dead, cf_run_next_seq(&dead), "pack", "x", ".zst");
        put_object(&k.f, key, cf_slice_str("x"));
    }
    pass_s(&k.f, 2 * KIT_DAY_S);
    const cf_store_memory_hooks hooks = {.before = record, .impl = &r};
    cf_store_memory_set_hooks(k.f.store, &hooks);
    assert_ok(kit_prune(&k, &last_1, &e));
    cf_store_memory_set_hooks(k.f.store, NULL);
    assert_int_equal(k.result.objects_deleted, DEAD);
    unsigned deletes = 0;
    for (const char *at = r.text; (at = strstr(at, "delete runs")) != NULL; at++)
        deletes++;
    assert_int_equal(deletes, 3);
    assert_int_equal(kit_check(&k, "end"), 1);
    kit_deinit(&k);
}

static char aborted[1024];

static cf_err abort_spy(cf_store *s, const char *key, const char *id, cf_error *e)
{
    (void)s;
    (void)e;
    const size_t used = strlen(aborted);
    (void)snprintf(aborted + used, sizeof(aborted) - used, "%s=%s ", strrchr(key, '/') + 1, id);
    return CF_OK;
}

/* The uploads that a dead run's last journal names, below its own folder only; not a live run's. */
static void test_uploads(void **state)
{
    (void)state;
    kit k;
    char ids[2048];
    kit_init(&k);
    cf_store_ops ops = *k.f.store->ops;
    ops.abort_upload = abort_spy;
    const cf_run base = kit_snapshot(&k, 1, 1, NULL);
    cf_run dead = kit_dead(&k, 2, 1, &base.id);
    for (unsigned i = 0; i < 2; i++) {
        CF_CLEANUP(cf_journal_freep) cf_journal *j = NULL;
        assert_ok(cf_journal_new(&k.f.repo, &dead, &j, &e));
        (void)snprintf(ids, sizeof(ids),
                       "nodes/n/runs/%s/0000000077-pack-x.zst id%u\n"
                       "nodes/n/runs/%s/0000000001-pack-x.zst foreign\n"
                       "nodes/other/runs/%s/0000000001-pack-x.zst foreign\n",
                       dead.id.text, i, base.id.text, dead.id.text);
        pass_s(&k.f, 3600);
        assert_ok(cf_journal_tick(j, (uint64_t)1 << 40, cf_slice_str(ids), &e));
    }
    assert_int_equal(count_objects(&k.f, "nodes/n/runs/"), 3 + 1 + 2);
    k.f.store->ops = &ops;
    aborted[0] = '\0';
    assert_ok(kit_prune(&k, &last_1, &e));
    assert_string_equal(aborted, ""); /* within the grace */
    pass_s(&k.f, 2 * KIT_DAY_S);
    cf_prune_opts dry = last_1;
    dry.dry_run = true;
    assert_ok(kit_prune(&k, &dry, &e));
    assert_string_equal(aborted, "");
    assert_ok(kit_prune(&k, &last_1, &e));
    assert_string_equal(aborted, "0000000077-pack-x.zst=id1 ");
    assert_int_equal(k.result.uploads_aborted, 1);
    assert_int_equal(count_objects(&k.f, "nodes/n/runs/"), 3);
    kit_deinit(&k);
}

static struct {
    char keys[8][CF_KEY_LEN_MAX + 1];
    size_t total;
    int64_t begun_utc_ms;
    cf_err err; /* behind the first of them */
} told_uploads;

static cf_err uploads_spy(cf_store *s, const char *prefix, cf_store_upload_fn fn, void *impl,
                          cf_error *e_)
{
    (void)s;
    assert_string_equal(prefix, "nodes/n/runs/");
    for (size_t i = 0; i < told_uploads.total; i++) {
        char id[8];
        (void)snprintf(id, sizeof(id), "u%zu", i);
        const cf_store_upload u = {
            .key = told_uploads.keys[i], .id = id, .begun_utc_ms = told_uploads.begun_utc_ms};
        CF_TRY(fn(impl, &u, e_));
        CF_ENSURE(told_uploads.err == CF_OK, e_, told_uploads.err, "the list broke off");
    }
    return CF_OK;
}

static void tell_upload(const char *run, const char *name)
{
    (void)snprintf(told_uploads.keys[told_uploads.total++], sizeof(told_uploads.keys[0]),
                   "nodes/n/runs/%s%s", run, name);
}

/* Uploads that no journal names: of runs that are decided, in this node's folder, of our shape. */
static void test_uploads_listed(void **state)
{
    (void)state;
    kit k;
    kit_init(&k);
    cf_store_ops ops = *k.f.store->ops;
    ops.abort_upload = abort_spy;
    ops.uploads_each = uploads_spy;
    const cf_run base = kit_snapshot(&k, 1, 1, NULL);
    const cf_run dead = kit_dead(&k, 2, 1, &base.id);
    told_uploads.total = 0;
    told_uploads.err = CF_OK;
    told_uploads.begun_utc_ms = atomic_load(&k.f.clock.utc_ms);
    tell_upload(dead.id.text, "/0000000009-pack-x.zst");
    tell_upload(dead.id.text, "/notes.txt");
    tell_upload("20261121T000000Z-12345678", "/0000000009-pack-x.zst"); /* without any trace */
    tell_upload(base.id.text, "/0000000009-pack-y.zst");                /* of a committed run */
    k.f.store->ops = &ops;
    aborted[0] = '\0';
    assert_ok(kit_prune(&k, &last_1, &e));
    assert_string_equal(aborted, "0000000009-pack-y.zst=u3 "); /* the dead one has its grace */
    pass_s(&k.f, 2 * KIT_DAY_S);
    const cf_run live = kit_dead(&k, 4, 1, &base.id); /* its lease is held */
    tell_upload(live.id.text, "/0000000009-pack-z.zst");
    aborted[0] = '\0';
    cf_prune_opts dry = last_1;
    dry.dry_run = true;
    assert_ok(kit_prune(&k, &dry, &e));
    assert_string_equal(aborted, "");
    assert_int_equal(k.result.uploads_aborted, 2); /* what would be, as with objects */
    assert_ok(kit_prune(&k, &last_1, &e));
    assert_string_equal(aborted, "0000000009-pack-x.zst=u0 0000000009-pack-y.zst=u3 ");
    assert_int_equal(k.result.uploads_aborted, 2);
    /* Behind a failure prune goes on, and says so; one that cannot list says nothing. */
    told_uploads.err = CF_ERR_DENIED;
    assert_ok(kit_prune(&k, &last_1, &e));
    assert_non_null(strstr(k.warned, "unfinished uploads may have been left: the list broke off"));
    told_uploads.err = CF_ERR_UNSUPPORTED;
    k.warned[0] = '\0';
    assert_ok(kit_prune(&k, &last_1, &e));
    assert_null(strstr(k.warned, "uploads"));
    told_uploads.err = CF_ERR_INTERRUPTED;
    assert_refused(kit_prune(&k, &last_1, &e), CF_ERR_INTERRUPTED, "the list broke off");
    kit_deinit(&k);
}

/* --- refusals: nothing is deleted --- */

static void test_usage(void **state)
{
    (void)state;
    kit k;
    kit_init(&k);
    (void)kit_snapshot(&k, 1, 1, NULL);
    (void)kit_snapshot(&k, 2, 1, NULL);
    const char *const bad_run[] = {"2026"};
    const struct {
        cf_prune_opts opts;
        cf_err code;
        const char *part;
    } cases[] = {
        {{.node = NULL}, CF_ERR_USAGE, "no rule is given"},
        {{.keep_within = "30"}, CF_ERR_USAGE, "'30' is no span of time"},
        {{.keep_within = "0d"}, CF_ERR_USAGE, "no span of time"},
        {{.keep_last = 1, .node = "N"}, CF_ERR_USAGE, "not allowed"},
        {{.keep_last = 1, .node = "other"}, CF_ERR_NOT_FOUND, "there is no node 'other'"},
        {{.keep_last = 1, .drop_damaged = bad_run, .drop_damaged_total = 1},
         CF_ERR_USAGE,
         "'2026' is no snapshot's id"},
        {{.keep_last = 1, .has_max_delete = true}, CF_ERR_LIMIT, "1 of 2 snapshots would go"},
    };
    const size_t before = count_objects(&k.f, "nodes/n/snapshots/");
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_refused(kit_prune(&k, &cases[i].opts, &e), cases[i].code, cases[i].part);
    assert_int_equal(kit_check(&k, "usage"), 2);
    assert_int_equal(count_objects(&k.f, "nodes/n/snapshots/"), before);
    assert_int_equal(count_objects(&k.f, "nodes/other/"), 0);
    const cf_prune_opts enough = {.keep_last = 1, .has_max_delete = true, .max_delete = 1};
    assert_ok(kit_prune(&k, &enough, &e));
    kit_deinit(&k);
}

static void overwrite(kit *k, const char *key, const char *text)
{
    assert_true(kit_there(k, key));
    put_object(&k->f, key, cf_slice_str(text));
}

static void test_damaged_root(void **state)
{
    (void)state;
    kit k;
    char key[CF_KEY_LEN_MAX + 1];
    kit_init(&k);
    const cf_run bad = kit_snapshot(&k, 1, 1, NULL);
    const cf_run good = kit_snapshot(&k, 2, 1, NULL);
    (void)kit_snapshot(&k, 3, 1, &good.id);
    cf_key_root(key, KIT_NODE, &bad.id);
    overwrite(&k, key, "{\"format\":1,");
    const size_t before = count_objects(&k.f, "nodes/n/runs/");
    assert_refused(kit_prune(&k, &last_1, &e), CF_ERR_DAMAGE, "--drop-damaged");
    assert_int_equal(count_objects(&k.f, "nodes/n/runs/"), before);
    const char *const drop[] = {bad.id.text};
    const cf_prune_opts go = {.keep_last = 2, .drop_damaged = drop, .drop_damaged_total = 1};
    assert_ok(kit_prune(&k, &go, &e));
    assert_string_equal(k.told, "-(given up: ) +last +last,newest");
    assert_int_equal(k.result.snapshots_deleted, 1);
    assert_int_equal(kit_check(&k, "dropped"), 2);
    kit_deinit(&k);
}

static void test_damaged_newest(void **state)
{
    (void)state;
    kit k;
    char key[CF_KEY_LEN_MAX + 1];
    kit_init(&k);
    (void)kit_snapshot(&k, 1, 1, NULL);
    const cf_run bad = kit_snapshot(&k, 2, 1, NULL);
    cf_key_root(key, KIT_NODE, &bad.id);
    overwrite(&k, key, "{");
    const char *const drop[] = {bad.id.text};
    const cf_prune_opts go = {.keep_last = 1, .drop_damaged = drop, .drop_damaged_total = 1};
    assert_refused(kit_prune(&k, &last_1, &e), CF_ERR_DAMAGE, "make another backup first");
    assert_refused(kit_prune(&k, &go, &e), CF_ERR_DAMAGE, "it is the newest");
    (void)kit_snapshot(&k, 3, 1, NULL);
    assert_ok(kit_prune(&k, &go, &e));
    assert_int_equal(kit_check(&k, "end"), 1);
    kit_deinit(&k);
}

static void test_damaged_segment(void **state)
{
    (void)state;
    kit k;
    char key[CF_KEY_LEN_MAX + 1];
    cf_root *root = NULL;
    kit_init(&k);
    const cf_run bad = kit_snapshot(&k, 1, 2, NULL);
    (void)kit_snapshot(&k, 2, 1, NULL);
    (void)kit_snapshot(&k, 3, 1, NULL);
    assert_ok(cf_snapshot_load(&k.f.repo, KIT_NODE, &bad.id, &root, &e));
    cf_key_of_object(key, KIT_NODE, root->segments[0].key);
    cf_root_free(root);
    overwrite(&k, key, "rot");
    const cf_prune_opts last_3 = {.keep_last = 3};
    const char *const drop[] = {bad.id.text};
    const cf_prune_opts go = {.keep_last = 3, .drop_damaged = drop, .drop_damaged_total = 1};
    assert_refused(kit_prune(&k, &last_3, &e), CF_ERR_DAMAGE, bad.id.text);
    assert_refused(kit_prune(&k, &last_3, &e), CF_ERR_DAMAGE, "1 snapshots that stay rest on it");
    assert_int_equal(k.result.objects_deleted, 0);
    /* One that goes anyway need not be read. */
    cf_prune_opts dry = last_2;
    dry.dry_run = true;
    assert_ok(kit_prune(&k, &dry, &e));
    assert_ok(kit_prune(&k, &go, &e));
    assert_string_equal(k.told, "-(given up: ) +last +last,newest");
    assert_int_equal(kit_check(&k, "dropped"), 2);
    assert_int_equal(k.result.objects_deleted, 4);
    assert_ok(kit_prune(&k, &last_3, &e));
    kit_deinit(&k);
}

static void test_drop_of_a_whole_one(void **state)
{
    (void)state;
    kit k;
    kit_init(&k);
    const cf_run whole = kit_snapshot(&k, 1, 1, NULL);
    (void)kit_snapshot(&k, 2, 1, NULL);
    const char *const drop[] = {whole.id.text};
    const cf_prune_opts go = {.keep_last = 2, .drop_damaged = drop, .drop_damaged_total = 1};
    assert_ok(kit_prune(&k, &go, &e));
    assert_non_null(strstr(k.warned, "is not damaged: the rules decide"));
    assert_int_equal(kit_check(&k, "end"), 2);
    kit_deinit(&k);
}

/* A snapshot of a newer program stays, and all that it could name; later ones are as usual. */
static void test_future(void **state)
{
    (void)state;
    kit k;
    char key[CF_KEY_LEN_MAX + 1];
    kit_init(&k);
    const cf_run one = kit_snapshot(&k, 1, 2, NULL);
    const cf_run future = kit_snapshot(&k, 2, 1, &one.id);
    const cf_run three = kit_snapshot(&k, 3, 2, NULL);
    (void)kit_snapshot(&k, 4, 1, NULL);
    cf_key_root(key, KIT_NODE, &future.id);
    overwrite(&k, key, "{\"format\":9}");
    /* The overwriting made it look newer than all: what it could name is bounded by that too. */
    const size_t before = count_objects(&k.f, "nodes/n/runs/");
    assert_ok(kit_prune(&k, &last_1, &e));
    assert_string_equal(k.told, "- +future - +last,newest");
    assert_non_null(strstr(k.warned, "and with it every object that is older"));
    assert_int_equal(count_objects(&k.f, "nodes/n/runs/"), before);
    pass_s(&k.f, 60);
    const cf_run five = kit_snapshot(&k, 5, 3, NULL);
    (void)kit_snapshot(&k, 6, 1, NULL);
    assert_ok(kit_prune(&k, &last_1, &e));
    assert_int_equal(k.result.objects_deleted, 5); /* of five: it came after */
    (void)three;
    (void)five;
    assert_true(kit_there(&k, key));
    kit_deinit(&k);
}

static void test_bad_lease(void **state)
{
    (void)state;
    kit k;
    kit_init(&k);
    (void)kit_snapshot(&k, 1, 1, NULL);
    (void)kit_snapshot(&k, 2, 1, NULL);
    overwrite(&k, "nodes/n/leases/0000000002", "{}");
    assert_refused(kit_prune(&k, &last_1, &e), CF_ERR_DAMAGE, "nodes/n/leases/0000000002");
    assert_int_equal(kit_check(&k, "end"), 2);
    kit_deinit(&k);
}

static void test_busy(void **state)
{
    (void)state;
    kit k;
    kit_init(&k);
    (void)kit_snapshot(&k, 1, 1, NULL);
    (void)kit_snapshot(&k, 2, 1, NULL);
    const cf_run other = kit_run(&k, 77);
    kit_lease(&k, "prunes", 1, &other.id, /* ended= */ false, NULL, 0);
    assert_refused(kit_prune(&k, &last_1, &e), CF_ERR_LOCKED, "other");
    assert_int_equal(kit_check(&k, "busy"), 2);
    cf_prune_opts patient = {.keep_last = 2, .wait_lock_ms = 60 * 1000};
    assert_refused(kit_prune(&k, &patient, &e), CF_ERR_LOCKED, "other");
    assert_true(atomic_load(&k.f.clock.slept_ms) >= 60 * 1000);
    assert_non_null(strstr(k.warned, "waiting up to 60 s for another prune"));
    patient.wait_lock_ms = 3600 * (uint64_t)1000;
    assert_ok(kit_prune(&k, &patient, &e)); /* the other's lease ran out meanwhile */
    assert_true(atomic_load(&k.f.clock.slept_ms) < (CF_LEASE_TTL_S + 70) * 1000);
    assert_ok(kit_prune(&k, &last_1, &e));
    assert_int_equal(count_objects(&k.f, "nodes/n/prunes/"), 1); /* the dead prune's is cleared */
    kit_deinit(&k);
}

/* A node that cannot be pruned does not keep the others from it; the worst is told. */
static void test_nodes(void **state)
{
    (void)state;
    kit k;
    kit_init(&k);
    for (uint32_t i = 1; i < 4; i++)
        (void)kit_snapshot(&k, i, 1, NULL);
    put_object(&k.f, "nodes/a/snapshots/20261121T143100Z-0123abcd", cf_slice_str("{"));
    put_object(&k.f, "nodes/a/snapshots/20261122T143100Z-0123abcd", cf_slice_str("{"));
    put_object(&k.f, "nodes/z/leases/0000000001", cf_slice_str("{"));
    assert_refused(kit_prune(&k, &last_1, &e), CF_ERR_DAMAGE, "node 'a'");
    assert_int_equal(k.result.nodes_total, 3);
    assert_int_equal(k.result.nodes_failed, 2);
    assert_int_equal(k.result.snapshots_deleted, 2);
    assert_non_null(strstr(k.warned, "node 'z'"));
    assert_int_equal(kit_check(&k, "n"), 1);
    kit_deinit(&k);
}

static void test_no_memory(void **state)
{
    (void)state;
    for (unsigned long nth = 1;; nth++) {
        kit k;
        kit_init(&k);
        const cf_run one = kit_snapshot(&k, 1, 2, NULL);
        (void)kit_dead(&k, 2, 2, &one.id);
        pass_s(&k.f, 2 * KIT_DAY_S);
        (void)kit_snapshot(&k, 3, 1, &one.id);
        (void)kit_snapshot(&k, 4, 1, NULL);
        const unsigned long before = cf_alloc_count();
        cf_alloc_fail_at(nth);
        const cf_err err = kit_prune(&k, &last_1, NULL);
        const bool hit = cf_alloc_count() - before >= nth;
        cf_alloc_fail_at(0);
        assert_true(kit_check(&k, "no memory") >= 1);
        pass_s(&k.f, CF_LEASE_TTL_S + 1);
        assert_ok(kit_prune(&k, &last_1, &e));
        assert_int_equal(kit_check(&k, "again"), 1);
        kit_deinit(&k);
        if (!hit || nth > 3000) {
            assert_int_equal(err, CF_OK);
            assert_true(nth < 3000);
            return;
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_dry_run),
        cmocka_unit_test(test_interrupted),
        cmocka_unit_test(test_dead_run),
        cmocka_unit_test(test_used),
        cmocka_unit_test(test_marks_and_reads),
        cmocka_unit_test(test_damage_marks),
        cmocka_unit_test(test_copied_late),
        cmocka_unit_test(test_foreign),
        cmocka_unit_test(test_batches),
        cmocka_unit_test(test_uploads),
        cmocka_unit_test(test_uploads_listed),
        cmocka_unit_test(test_usage),
        cmocka_unit_test(test_damaged_root),
        cmocka_unit_test(test_damaged_newest),
        cmocka_unit_test(test_damaged_segment),
        cmocka_unit_test(test_drop_of_a_whole_one),
        cmocka_unit_test(test_future),
        cmocka_unit_test(test_bad_lease),
        cmocka_unit_test(test_busy),
        cmocka_unit_test(test_nodes),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
