/* SPDX-License-Identifier: Apache-2.0
 *
 * The whole copy over stores in memory: what is there afterwards, what is sent again, and back.
 */
#include "pair.h"

#include "repo/tag.h"

enum { DAY_S = 24 * 3600 };

/* ---- names of packs ---- */

typedef struct names {
    char text[64][CF_RUN_OBJECT_LEN_MAX + 1];
    size_t total;
} names;

static void note_first(void *impl, const cf_pack_line *line)
{
    names *const n = impl;

    assert_true(n->total < ARRAY_LEN(n->text));
    (void)snprintf(n->text[n->total++], sizeof(n->text[0]), "%s",
                   line->origin != NULL ? line->origin : line->pack);
}

static bool names_have(const names *n, const char *text)
{
    for (size_t i = 0; i < n->total; i++) {
        if (strcmp(n->text[i], text) == 0)
            return true;
    }
    return false;
}

/* Both name the same packs, by the names they had first. */
static void check_same_packs(rig *a, const char *snapshot_a, rig *b, const char *snapshot_b)
{
    names mine = {0}, theirs = {0};

    (void)pair_each_pack(a, snapshot_a, note_first, &mine);
    (void)pair_each_pack(b, snapshot_b, note_first, &theirs);
    assert_true(mine.total > 0);
    assert_int_equal(mine.total, theirs.total);
    for (size_t i = 0; i < mine.total; i++)
        assert_true(names_have(&theirs, mine.text[i]));
}

static void check_origin(rig *r, const char *snapshot, const rig *where, const char *run)
{
    CF_CLEANUP(cf_root_freep) cf_root *root = pair_root(r, snapshot);

    assert_true(root->has_origin);
    assert_string_equal(root->origin.repository, where->f.repo.id);
    assert_string_equal(root->origin.run.text, run);
}

/* ---- the tests ---- */

static void test_one(void **state)
{
    (void)state;
    pair p;
    cf_copy_result r = {0};

    pair_init(&p);
    const cf_backup_result b = pair_backup(&p, &p.from);
    pass_s(&p.from.f, 3 * DAY_S);
    assert_ok(pair_copy(&p, NULL, &r, &e));
    assert_int_equal(r.snapshots_copied, 1);
    assert_int_equal(r.packs_copied, b.packs_new);
    assert_int_equal(r.packs_reused, 0);
    assert_int_equal(r.failed, CF_OK);
    assert_string_equal(p.origin, b.snapshot);
    assert_string_equal(p.said, "");
    pair_check_same(&p.from, b.snapshot, &p.to, p.snapshot);
    check_same_packs(&p.from, b.snapshot, &p.to, p.snapshot);
    check_origin(&p.to, p.snapshot, &p.from, b.snapshot);

    CF_CLEANUP(cf_root_freep) cf_root *source = pair_root(&p.from, b.snapshot);
    CF_CLEANUP(cf_root_freep) cf_root *copy = pair_root(&p.to, p.snapshot);
    assert_true(copy->time_utc_ms == source->time_utc_ms); /* retention counts with this */
    assert_true(strcmp(copy->run.text, source->run.text) > 0);
    assert_true(json_equal(copy->facts, source->facts));
    assert_string_equal(copy->profile, source->profile);
    assert_int_equal(copy->totals.files_total, source->totals.files_total);
    assert_int_equal(copy->totals.source_bytes, source->totals.source_bytes);
    assert_int_equal(copy->totals.packs_total, source->totals.packs_total);
    assert_int_equal(copy->totals.stored_bytes, source->totals.stored_bytes);
    assert_int_equal(copy->totals.uploaded_bytes, r.bytes_copied);
    assert_int_equal(copy->segment_total, source->segment_total); /* cut at the same places */
    assert_false(copy->has_parent);
    pair_deinit(&p);
}

static void test_nothing_twice(void **state)
{
    (void)state;
    pair p;
    cf_copy_result r = {0};

    pair_init(&p);
    (void)pair_backup(&p, &p.from);
    assert_ok(pair_copy(&p, NULL, &r, &e));
    const size_t objects = count_objects(&p.to.f, "");
    assert_ok(pair_copy(&p, "all", &r, &e)); /* the same again: not even a lease */
    assert_int_equal(r.snapshots_copied, 0);
    assert_int_equal(r.snapshots_skipped, 1);
    assert_int_equal(count_objects(&p.to.f, ""), objects);

    const cf_backup_result same = pair_backup(&p, &p.from); /* nothing changed in the node */
    const size_t run_objects = count_objects(&p.to.f, "nodes/" RIG_NODE "/runs/");
    assert_ok(pair_copy(&p, "all", &r, &e));
    assert_int_equal(r.snapshots_copied, 1);
    assert_int_equal(r.snapshots_skipped, 1);
    assert_int_equal(r.packs_copied, 0);
    assert_true(r.packs_reused > 0);
    assert_int_equal(count_objects(&p.to.f, "nodes/" RIG_NODE "/runs/"),
                     run_objects); /* equal segments too: only a root was written */
    pair_check_same(&p.from, same.snapshot, &p.to, p.snapshot);

    rig_node_change(&p.from);
    const cf_backup_result changed = pair_backup(&p, &p.from);
    assert_ok(pair_copy(&p, "latest", &r, &e));
    assert_int_equal(r.packs_copied, changed.packs_new); /* what the run wrote, nothing else */
    assert_true(r.packs_reused > 0);
    pair_check_same(&p.from, changed.snapshot, &p.to, p.snapshot);

    CF_CLEANUP(cf_root_freep) cf_root *root = pair_root(&p.to, p.snapshot);
    assert_true(root->has_parent); /* the target's chain */
    pair_deinit(&p);
}

/* Backups into the copy take pack lines over with their origins; so the copy of those sends only
 * what is new, in either direction. */
static void test_backup_into_copy(void **state)
{
    (void)state;
    pair p;
    cf_copy_result r = {0};
    names n = {0};
    size_t kept = 0;

    pair_init(&p);
    const cf_backup_result first = pair_backup(&p, &p.from);
    assert_ok(pair_copy(&p, NULL, &r, &e));
    rig_node_change(&p.from);
    const cf_backup_result here = pair_backup(&p, &p.to); /* the node goes on in the copy */
    assert_string_equal(here.parent, p.snapshot);
    assert_true(here.files_reused > 0);
    (void)pair_each_pack(&p.to, here.snapshot, note_first, &n);
    for (size_t i = 0; i < n.total; i++)
        kept += strncmp(n.text[i], first.snapshot, CF_RUN_ID_LEN) == 0;
    assert_true(kept > 0);

    assert_ok(pair_copy_between(&p, &p.to, &p.from, "all", &r, &e)); /* back home */
    assert_int_equal(r.snapshots_copied, 1);
    assert_int_equal(r.snapshots_skipped, 1); /* that one came from there */
    assert_int_equal(r.packs_reused, kept);
    assert_int_equal(r.packs_copied, here.packs_new);
    pair_check_same(&p.to, here.snapshot, &p.from, p.snapshot);
    pair_deinit(&p);
}

static void test_third_repository(void **state)
{
    (void)state;
    pair p;
    rig third;
    cf_copy_result r = {0};

    pair_init(&p);
    pair_repository(&p, &third);
    const cf_backup_result b = pair_backup(&p, &p.from);
    assert_ok(pair_copy(&p, NULL, &r, &e));
    assert_ok(pair_copy_between(&p, &p.to, &third, "all", &r, &e));
    assert_int_equal(r.snapshots_copied, 1);
    check_origin(&third, p.snapshot, &p.from, b.snapshot); /* the first place, not the second */
    check_same_packs(&p.from, b.snapshot, &third, p.snapshot);
    pair_check_same(&p.from, b.snapshot, &third, p.snapshot);
    assert_ok(pair_copy_between(&p, &p.from, &third, "all", &r, &e)); /* there by the other way */
    assert_int_equal(r.snapshots_skipped, 1);
    assert_int_equal(r.snapshots_copied, 0);

    /* A chain goes on over a way around: what is new at home is all that the third lacks. */
    rig_node_change(&p.from);
    const cf_backup_result next = pair_backup(&p, &p.from);
    assert_ok(pair_copy_between(&p, &p.from, &third, "all", &r, &e));
    assert_int_equal(r.packs_copied, next.packs_new);
    pair_check_same(&p.from, next.snapshot, &third, p.snapshot);
    rig_deinit(&third);
    pair_deinit(&p);
}

/* Digests of the source in parts, of every length that parts can have at their ends. */
static void test_parts(void **state)
{
    (void)state;
    static const uint64_t parts[] = {1, 7, 1000, 4096, 65536, 65537};

    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        pair p;
        cf_copy_result r = {0};

        pair_init(&p);
        cf_store_memory_set_part_bytes(p.from.f.store, parts[i]);
        cf_store_memory_set_part_bytes(p.to.f.store, parts[ARRAY_LEN(parts) - 1 - i]);
        const cf_backup_result b = pair_backup(&p, &p.from);
        assert_ok(pair_copy(&p, NULL, &r, &e));
        assert_int_equal(r.failed, CF_OK);
        assert_int_equal(r.snapshots_copied, 1);
        pair_check_same(&p.from, b.snapshot, &p.to, p.snapshot);
        pair_deinit(&p);
    }
}

static cf_run_id tag(rig *r, const char *snapshot, const cf_tag_change *change)
{
    cf_run_id id = {""};

    assert_true(cf_run_id_parse(cf_slice_str(snapshot), &id));
    assert_ok(cf_tag_put(&r->f.repo, RIG_NODE, &id, change, &e));
    return id;
}

static void test_tags(void **state)
{
    (void)state;
    pair p;
    cf_copy_result r = {0};
    cf_run_id copy = {""};
    CF_CLEANUP(json_decrefp) json_t *tags = NULL;
    static const char *const words[] = {"keep", "before-upgrade", "wrong"};

    pair_init(&p);
    const cf_backup_result b = pair_backup(&p, &p.from);
    (void)tag(&p.from, b.snapshot, &(cf_tag_change){.add = words, .add_total = 3});
    (void)tag(&p.from, b.snapshot, &(cf_tag_change){.remove = words + 2, .remove_total = 1});
    assert_ok(pair_copy(&p, NULL, &r, &e));
    assert_true(cf_run_id_parse(cf_slice_str(p.snapshot), &copy));
    assert_ok(cf_tags_load(&p.to.f.repo, RIG_NODE, &copy, NULL, NULL, &tags, &e));
    const json_t *const have = json_object_get(tags, p.snapshot);
    assert_int_equal(json_array_size(have), 2);
    assert_true(cf_tags_have(have, "keep") && cf_tags_have(have, "before-upgrade"));
    pair_deinit(&p);
}

/* The mark is there when the root comes: no prune sees the snapshot without its tags. */
typedef struct order {
    pair *p;
    bool seen;
} order;

static cf_err look_for_mark(void *impl, cf_store_op op, const char *key, cf_error *e)
{
    order *const o = impl;
    (void)e;

    if (op == CF_STORE_OP_PUT && strstr(key, "/snapshots/") != NULL && !o->seen) {
        o->seen = true;
        assert_int_equal(count_objects(&o->p->to.f, "nodes/" RIG_NODE "/marks/"), 1);
    }
    return CF_OK;
}

static void test_tags_come_first(void **state)
{
    (void)state;
    pair p;
    cf_copy_result r = {0};
    order o = {.p = &p};
    static const char *const words[] = {"keep"};

    pair_init(&p);
    const cf_backup_result b = pair_backup(&p, &p.from);
    (void)tag(&p.from, b.snapshot, &(cf_tag_change){.add = words, .add_total = 1});
    cf_store_memory_set_hooks(p.to.f.store,
                              &(cf_store_memory_hooks){.before = look_for_mark, .impl = &o});
    assert_ok(pair_copy(&p, NULL, &r, &e));
    assert_true(o.seen);
    pair_deinit(&p);
}

static void test_dry_run(void **state)
{
    (void)state;
    pair p;
    cf_copy_result dry = {0}, real = {0};

    pair_init(&p);
    (void)pair_backup(&p, &p.from);
    rig_node_change(&p.from);
    (void)pair_backup(&p, &p.from);
    const size_t from_objects = count_objects(&p.from.f, "");
    const size_t to_objects = count_objects(&p.to.f, "");
    const cf_ctx ctx = {.world = &p.from.f.world, .fs = &p.from.fs.fs, .impl = &p};
    const cf_copy_opts opts = {
        .node = RIG_NODE, .snapshot = "all", .dry_run = true, .copied = pair_copied};
    assert_ok(cf_copy_run_on(&ctx, &opts, p.from.f.store, p.to.f.store, &dry, &e));
    assert_int_equal(p.copied_total, 2);
    assert_string_equal(p.snapshot, "");
    assert_int_equal(count_objects(&p.from.f, ""), from_objects);
    assert_int_equal(count_objects(&p.to.f, ""), to_objects);
    assert_ok(pair_copy(&p, "all", &real, &e));
    assert_int_equal(dry.snapshots_copied, real.snapshots_copied);
    assert_int_equal(dry.packs_copied, real.packs_copied);
    assert_int_equal(dry.packs_reused, real.packs_reused);
    assert_int_equal(dry.bytes_copied, real.bytes_copied);
    pair_deinit(&p);
}

/* Ids of the target count up by the time of copying, times are the origins'. */
static void test_older_later(void **state)
{
    (void)state;
    pair p;
    cf_copy_result r = {0};

    pair_init(&p);
    const cf_backup_result old = pair_backup(&p, &p.from);
    rig_node_change(&p.from);
    const cf_backup_result new = pair_backup(&p, &p.from);
    assert_ok(pair_copy(&p, "latest", &r, &e));
    assert_string_equal(p.origin, new.snapshot);
    assert_string_equal(p.said, "");
    assert_ok(pair_copy(&p, "all", &r, &e));
    assert_string_equal(p.origin, old.snapshot);
    assert_non_null(strstr(p.said, "is older than what the target had already"));
    pair_check_same(&p.from, old.snapshot, &p.to, p.snapshot);
    pair_deinit(&p);
}

static void test_plan(void **state)
{
    (void)state;
    for (uint64_t mib = CF_MEMORY_MIN_MIB; mib <= 4096; mib += 8) {
        for (uint32_t jobs = 0; jobs <= 64; jobs += 16) {
            cf_copy_plan p = {0};

            assert_ok(cf_copy_plan_make(mib << 20, jobs, &p, &e));
            assert_true(p.jobs >= 1 && p.jobs <= CF_SEND_JOBS_MAX && p.jobs <= p.parts_in_flight);
            assert_true(jobs == 0 || p.jobs <= jobs);
            assert_true(p.parts_in_flight * p.part_bytes + ((uint64_t)27 << 20) <= mib << 20);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one),
        cmocka_unit_test(test_nothing_twice),
        cmocka_unit_test(test_backup_into_copy),
        cmocka_unit_test(test_third_repository),
        cmocka_unit_test(test_parts),
        cmocka_unit_test(test_tags),
        cmocka_unit_test(test_tags_come_first),
        cmocka_unit_test(test_dry_run),
        cmocka_unit_test(test_older_later),
        cmocka_unit_test(test_plan),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
