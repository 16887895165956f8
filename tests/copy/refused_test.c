/* SPDX-License-Identifier: Apache-2.0
 *
 * What a copy refuses, and what it goes on over.
 */
#include "pair.h"

/* ---- damage ---- */

typedef struct first_pack {
    char name[CF_RUN_OBJECT_LEN_MAX + 1];
} first_pack;

static void note_one(void *impl, const cf_pack_line *line)
{
    first_pack *const p = impl;

    if (p->name[0] == '\0')
        (void)snprintf(p->name, sizeof(p->name), "%s", line->pack);
}

static void hurt(rig *r, const char *name, const char *how)
{
    CF_CLEANUP(cf_buf_deinit) cf_buf body = {0};
    char key[CF_KEY_LEN_MAX + 1];
    const char *const keys[] = {key};

    cf_buf_init(&body, 1 << 24);
    cf_key_of_object(key, RIG_NODE, name);
    assert_ok(cf_store_get_small(r->f.store, key, &body, &e));
    if (strcmp(how, "gone") == 0) {
        assert_ok(r->f.store->ops->delete_many(r->f.store, keys, 1, NULL, &e));
        return;
    }
    if (strcmp(how, "bit") == 0)
        body.data[body.len / 2] ^= 1;
    else if (strcmp(how, "short") == 0)
        body.len--;
    else
        assert_ok(cf_buf_append_char(&body, 'x', &e));
    put_object(&r->f, key, cf_buf_slice(&body));
}

static void test_damage(void **state)
{
    (void)state;
    static const struct {
        const char *how, *message;
        uint64_t part_bytes; /* of the source's digests */
    } cases[] = {
        {"bit", "another SHA-256", 0},    {"short", "its line says", 0},
        {"long", "more than the", 0},     {"gone", "it is gone", 0},
        {"bit", "another SHA-256", 1000}, {"short", "its line says", 1000},
        {"long", "more than the", 1000},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        pair p;
        cf_copy_result r = {0};
        first_pack pack = {0};
        char newest[CF_SNAPSHOT_ID_SIZE];

        pair_init(&p);
        cf_store_memory_set_part_bytes(p.from.f.store, cases[i].part_bytes);
        const cf_backup_result b = pair_backup(&p, &p.from);
        assert_int_equal(pair_each_pack(&p.from, b.snapshot, note_one, &pack), b.packs_new);
        hurt(&p.from, pack.name, cases[i].how);
        assert_ok(pair_copy(&p, NULL, &r, &e));
        assert_int_equal(r.failed, CF_ERR_DAMAGE);
        assert_int_equal(r.snapshots_failed, 1);
        assert_int_equal(r.snapshots_copied, 0);
        if (strstr(p.said, cases[i].message) == NULL || strstr(p.said, pack.name) == NULL ||
            strstr(p.said, b.snapshot) == NULL)
            fail_msg("%s: %s", cases[i].how, p.said);
        assert_int_equal(rig_snapshots(&p.to, newest), 0);
        pair_deinit(&p);
    }
}

static void test_damaged_segments(void **state)
{
    (void)state;
    for (size_t kind = 0; kind < 2; kind++) {
        pair p;
        cf_copy_result r = {0};
        char newest[CF_SNAPSHOT_ID_SIZE];

        pair_init(&p);
        const cf_backup_result b = pair_backup(&p, &p.from);
        CF_CLEANUP(cf_root_freep) cf_root *root = pair_root(&p.from, b.snapshot);
        hurt(&p.from, root->segments[kind == 0 ? 0 : root->segment_total - 1].key,
             kind == 0 ? "bit" : "gone");
        assert_ok(pair_copy(&p, NULL, &r, &e));
        assert_int_equal(r.failed, CF_ERR_DAMAGE);
        assert_non_null(strstr(p.said, "segment '"));
        assert_int_equal(rig_snapshots(&p.to, newest), 0);
        pair_deinit(&p);
    }
}

static void put_root(rig *r, const char *run, const char *text)
{
    char key[CF_KEY_LEN_MAX + 1];

    (void)snprintf(key, sizeof(key), "nodes/" RIG_NODE "/snapshots/%s", run);
    put_object(&r->f, key, cf_slice_str(text));
}

/* A snapshot's own fault does not keep the others from their copy. */
static void test_others_go_on(void **state)
{
    (void)state;
    pair p;
    cf_copy_result r = {0};

    pair_init(&p);
    const cf_backup_result b = pair_backup(&p, &p.from);
    put_root(&p.from, "20250101T000000Z-00000001", "{\"format\":1,\"requires\":[\"delta-packs\"]}");
    put_root(&p.from, "20250101T000000Z-00000003", ""); /* a fence is no snapshot */
    assert_ok(pair_copy(&p, "all", &r, &e));
    assert_int_equal(r.snapshots_copied, 1);
    assert_int_equal(r.snapshots_failed, 1);
    assert_int_equal(r.failed, CF_ERR_FORMAT);
    assert_non_null(strstr(p.said, "requires 'delta-packs', which this program does not know"));
    pair_check_same(&p.from, b.snapshot, &p.to, p.snapshot);

    put_root(&p.from, "20250101T000000Z-00000002", "{\"format\":1");
    assert_ok(pair_copy(&p, "all", &r, &e));
    assert_int_equal(r.snapshots_skipped, 1);
    assert_int_equal(r.snapshots_failed, 2);
    assert_int_equal(r.failed, CF_ERR_DAMAGE); /* weighs more */
    assert_non_null(
        strstr(p.said, "snapshot 20250101T000000Z-00000002 of node 'kdb-1' was not copied"));
    pair_deinit(&p);
}

/* ---- the target ---- */

static void test_busy(void **state)
{
    (void)state;
    pair p;
    cf_copy_result r = {0};
    cf_lease *held = NULL;

    pair_init(&p);
    (void)pair_backup(&p, &p.from);
    const cf_run other = make_run(RIG_NODE, FIXTURE_UTC_S, 9);
    assert_ok(cf_lease_acquire(&p.to.f.repo, &(cf_lease_opts){.run = &other}, &held, &e));
    assert_refused(pair_copy(&p, NULL, &r, &e), CF_ERR_LOCKED, "the target: ");
    assert_ok(cf_lease_release(held, &e));
    assert_ok(pair_copy(&p, NULL, &r, &e));
    pair_deinit(&p);
}

/* A root that nobody can read cannot be known again: the snapshot is copied once more, and said. */
static void test_damaged_target(void **state)
{
    (void)state;
    pair p;
    cf_copy_result r = {0};

    pair_init(&p);
    const cf_backup_result b = pair_backup(&p, &p.from);
    assert_ok(pair_copy(&p, NULL, &r, &e));
    put_root(&p.to, p.snapshot, "{");
    assert_ok(pair_copy(&p, NULL, &r, &e));
    assert_int_equal(r.snapshots_copied, 1);
    assert_int_equal(r.packs_reused, 0);
    assert_non_null(strstr(p.said, "it cannot be known what the target's snapshot"));
    pair_check_same(&p.from, b.snapshot, &p.to, p.snapshot);
    pair_deinit(&p);
}

/* ---- the source ---- */

typedef struct pruning {
    pair *p;
    char run[CF_SNAPSHOT_ID_SIZE];
    bool done;
} pruning;

/* Pruned between the lease and the packs: no damage, and a way on. */
static cf_err prune_now(void *impl, cf_store_op op, const char *key, cf_error *e)
{
    pruning *const g = impl;

    if (op != CF_STORE_OP_GET || strstr(key, "-pack-") == NULL)
        return CF_OK;
    if (!g->done) {
        g->done = true;
        put_root(&g->p->from, g->run, "");
    }
    CF_FAIL(e, CF_ERR_NOT_FOUND, "object '%s' is not there", key);
}

static void test_pruned_meanwhile(void **state)
{
    (void)state;
    for (size_t all = 0; all < 2; all++) {
        pair p;
        cf_copy_result r = {0};
        pruning g = {.p = &p};

        pair_init(&p);
        const cf_backup_result b = pair_backup(&p, &p.from);
        memcpy(g.run, b.snapshot, sizeof(g.run));
        cf_store_memory_set_hooks(p.from.f.store,
                                  &(cf_store_memory_hooks){.before = prune_now, .impl = &g});
        if (all == 0) {
            assert_refused(pair_copy(&p, b.snapshot, &r, &e), CF_ERR_NOT_FOUND,
                           "was pruned from the source while it was copied\nHINT: copy 'latest'");
        } else {
            assert_ok(pair_copy(&p, "all", &r, &e));
            assert_int_equal(r.failed, CF_OK);
            assert_non_null(strstr(p.said, "was pruned from the source meanwhile"));
        }
        pair_deinit(&p);
    }
}

/* A key that may only read, a medium that is read-only: it is copied all the same. */
static cf_err refuse_writes(void *impl, cf_store_op op, const char *key, cf_error *e)
{
    const cf_err code = *(const cf_err *)impl;

    if (op == CF_STORE_OP_PUT)
        CF_FAIL(e, code, "no writing of '%s'", key);
    return CF_OK;
}

static void test_read_only_source(void **state)
{
    (void)state;
    static const cf_err codes[] = {CF_ERR_ACCESS, CF_ERR_DENIED};

    for (size_t i = 0; i < ARRAY_LEN(codes); i++) {
        pair p;
        cf_copy_result r = {0};
        cf_err code = codes[i];

        pair_init(&p);
        const cf_backup_result b = pair_backup(&p, &p.from);
        cf_store_memory_set_hooks(p.from.f.store,
                                  &(cf_store_memory_hooks){.before = refuse_writes, .impl = &code});
        assert_ok(pair_copy(&p, NULL, &r, &e));
        assert_int_equal(r.snapshots_copied, 1);
        cf_store_memory_set_hooks(p.from.f.store, NULL);
        pair_check_same(&p.from, b.snapshot, &p.to, p.snapshot);
        pair_deinit(&p);
    }
}

/* ---- words ---- */

static void test_places(void **state)
{
    (void)state;
    static const struct {
        const char *from, *to, *from_endpoint, *to_endpoint, *part;
    } places[] = {
        {"file:///a/b", "file:///a/b", NULL, NULL, "is the source and the target"},
        {"file:///a/b", "file:///a/b/", NULL, NULL, "is the source and the target"},
        {"s3://bkt/p", "s3://bkt/p/", NULL, NULL, "is the source and the target"},
        {"s3://bkt/p", "s3://bkt/p", "http://x", "http://x", "is the source and the target"},
        {NULL, "file:///a", NULL, NULL, "no repository given"},
        {"file:///a", NULL, NULL, NULL, "no repository to copy into given"},
        {"file:///a", "ftp://x", NULL, NULL, "--to-repo: "},
        {"a", "file:///b", NULL, NULL, "--repo: "},
    };
    const cf_ctx ctx = {0};
    cf_copy_result r = {0};

    for (size_t i = 0; i < ARRAY_LEN(places); i++) {
        const cf_copy_opts o = {
            .remote = {.url = places[i].from, .endpoint = places[i].from_endpoint},
            .to = {.url = places[i].to, .endpoint = places[i].to_endpoint},
        };
        assert_refused(cf_copy_run(&ctx, &o, &r, &e), CF_ERR_USAGE, places[i].part);
    }
}

static void test_words(void **state)
{
    (void)state;
    pair p;
    cf_copy_result r = {0};

    pair_init(&p);
    const cf_ctx ctx = {.world = &p.from.f.world};
    cf_store *const from = p.from.f.store, *const to = p.to.f.store;
    assert_refused(pair_copy(&p, NULL, &r, &e), CF_ERR_NOT_FOUND,
                   "node 'kdb-1' has no snapshot in the source\nHINT: ");
    assert_ok(cf_copy_run_on(&ctx, &(cf_copy_opts){.snapshot = "all"}, from, to, &r,
                             &e)); /* no node at all: nothing to do */
    (void)pair_backup(&p, &p.from);
    assert_refused(pair_copy(&p, "2019", &r, &e), CF_ERR_NOT_FOUND, "has no snapshot '2019'");
    assert_refused(cf_copy_run_on(&ctx, &(cf_copy_opts){.snapshot = "2026"}, from, to, &r, &e),
                   CF_ERR_USAGE, "of which node?");
    assert_refused(cf_copy_run_on(&ctx, &(cf_copy_opts){.node = "No"}, from, to, &r, &e),
                   CF_ERR_USAGE, "name");
    assert_refused(
        cf_copy_run_on(&ctx, &(cf_copy_opts){.remote.memory_bytes = 1 << 20}, from, to, &r, &e),
        CF_ERR_USAGE, "48 MiB is the least");
    pair_deinit(&p);
}

static void test_no_target(void **state)
{
    (void)state;
    pair p;
    fixture empty;
    cf_copy_result r = {0};

    pair_init(&p);
    (void)pair_backup(&p, &p.from);
    fixture_init_empty(&empty);
    const cf_ctx ctx = {.world = &p.from.f.world};
    const cf_copy_opts o = {.to = {.url = "s3://bkt/p"}};
    assert_refused(cf_copy_run_on(&ctx, &o, p.from.f.store, empty.store, &r, &e),
                   CF_ERR_NO_REPOSITORY,
                   "the target 's3://bkt/p' is no repository yet\nHINT: make it one first: "
                   "chunkferry init --repo s3://bkt/p");
    cf_store_memory_set_there(empty.store, false);
    assert_refused(cf_copy_run_on(&ctx, &o, p.from.f.store, empty.store, &r, &e), CF_ERR_NO_BUCKET,
                   "is no repository yet\nHINT: ");
    fixture_deinit(&empty);
    pair_deinit(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_damage),
        cmocka_unit_test(test_damaged_segments),
        cmocka_unit_test(test_others_go_on),
        cmocka_unit_test(test_busy),
        cmocka_unit_test(test_damaged_target),
        cmocka_unit_test(test_pruned_meanwhile),
        cmocka_unit_test(test_read_only_source),
        cmocka_unit_test(test_places),
        cmocka_unit_test(test_words),
        cmocka_unit_test(test_no_target),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
