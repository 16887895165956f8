/* SPDX-License-Identifier: Apache-2.0 */
#include "fixture.h"

#include "repo/fence.h"
#include "repo/lease.h"
#include "repo/tag.h"

static void commit(fixture *f, const cf_run *run)
{
    cf_root *root = make_root(run);
    assert_ok(cf_snapshot_commit(&f->repo, run->node, root, &e));
    cf_root_free(root);
}

/* "a b" of the tags of a run, in order. */
static void assert_tags(fixture *f, const cf_run *run, const char *expected)
{
    json_t *all = NULL;
    char text[256] = "";
    assert_ok(cf_tags_load(&f->repo, run->node, &run->id, NULL, NULL, &all, &e));
    const json_t *const tags = json_object_get(all, run->id.text);
    for (size_t i = 0; i < json_array_size(tags); i++)
        (void)snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%s", i > 0 ? " " : "",
                       json_string_value(json_array_get(tags, i)));
    assert_string_equal(text, expected);
    json_decref(all);
}

static cf_tag_change change_of(const char *const *add, size_t add_total, const char *const *remove,
                               size_t remove_total)
{
    return (cf_tag_change){add, add_total, remove, remove_total};
}

static void test_fold(void **state)
{
    (void)state;
    fixture f;
    fixture_init(&f);
    const cf_run one = make_run("n", FIXTURE_UTC_S, 1), two = make_run("n", FIXTURE_UTC_S + 1, 2);
    const char *const zab[] = {"z", "a", "keep"}, *const a[] = {"a"}, *const b[] = {"b"};
    const cf_tag_change changes[] = {change_of(zab, 3, NULL, 0), change_of(b, 1, a, 1),
                                     change_of(a, 1, b, 1)};
    json_t *all = NULL;
    commit(&f, &one);
    commit(&f, &two);
    assert_tags(&f, &one, "");
    assert_ok(cf_tag_set(&f.repo, "n", &one.id, &changes[0], &e));
    assert_tags(&f, &one, "a keep z");
    assert_ok(cf_tag_set(&f.repo, "n", &one.id, &changes[0], &e)); /* twice does no harm */
    assert_ok(cf_tag_set(&f.repo, "n", &one.id, &changes[1], &e));
    assert_tags(&f, &one, "b keep z");
    assert_ok(cf_tag_set(&f.repo, "n", &one.id, &changes[2], &e));
    assert_tags(&f, &one, "a keep z");
    assert_tags(&f, &two, "");
    assert_ok(cf_tag_set(&f.repo, "n", &two.id, &changes[1], &e));
    assert_ok(cf_tags_load(&f.repo, "n", NULL, NULL, NULL, &all, &e));
    assert_int_equal(json_object_size(all), 2);
    assert_true(cf_tags_have(json_object_get(all, one.id.text), CF_TAG_KEEP));
    assert_false(cf_tags_have(json_object_get(all, two.id.text), CF_TAG_KEEP));
    assert_false(cf_tags_have(NULL, CF_TAG_KEEP));
    json_decref(all);
    assert_int_equal(count_objects(&f, "nodes/n/marks/"), 5); /* nothing was overwritten */
    fixture_deinit(&f);
}

static void test_refused_words(void **state)
{
    (void)state;
    static const struct {
        const char *tag, *part;
    } bad[] = {
        {"", "a tag is empty"},
        {"a b", "0x20 at position 2"},
        {"a,b", "0x2c"},
        {"caf\xc3\xa9", "0xc3"},
        {"x/y", "0x2f"},
        {"123456789012345678901234567890123456789012345678901234567890abcde", "longer than 64"},
    };
    fixture f;
    fixture_init(&f);
    const cf_run run = make_run("n", FIXTURE_UTC_S, 1);
    commit(&f, &run);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        const cf_tag_change add = change_of(&bad[i].tag, 1, NULL, 0);
        const cf_tag_change away = change_of(NULL, 0, &bad[i].tag, 1);
        assert_refused(cf_tag_set(&f.repo, "n", &run.id, &add, &e), CF_ERR_USAGE, bad[i].part);
        assert_refused(cf_tag_set(&f.repo, "n", &run.id, &away, &e), CF_ERR_USAGE, bad[i].part);
    }
    assert_int_equal(count_objects(&f, "nodes/n/marks/"), 0);
    assert_ok(cf_tag_check("123456789012345678901234567890123456789012345678901234567890abcd", &e));
    assert_ok(cf_tag_check("v1.2_A:b-c", &e));
    fixture_deinit(&f);
}

/* A prune that is there before, during or after the mark. */
static void test_prune_near(void **state)
{
    (void)state;
    fixture f;
    cf_lease *lease = NULL;
    fixture_init(&f);
    const cf_run run = make_run("n", FIXTURE_UTC_S, 1), prune = make_run("n", FIXTURE_UTC_S, 7);
    const char *const keep[] = {"keep"};
    const cf_tag_change add = change_of(keep, 1, NULL, 0);
    const cf_lease_opts opts = {.run = &prune, .folder = "prunes", .renew_ms = 3600 * 1000};
    commit(&f, &run);
    assert_ok(cf_lease_acquire(&f.repo, &opts, &lease, &e));
    assert_refused(cf_tag_set(&f.repo, "n", &run.id, &add, &e), CF_ERR_LOCKED,
                   "a prune is running");
    assert_tags(&f, &run, "keep"); /* written all the same */
    assert_ok(cf_lease_release(lease, &e));
    assert_ok(cf_tag_set(&f.repo, "n", &run.id, &add, &e));
    assert_ok(cf_fence_put(&f.repo, "n", &run.id, /* over_root= */ true, &e));
    assert_refused(cf_tag_set(&f.repo, "n", &run.id, &add, &e), CF_ERR_FENCED,
                   "deleted by a prune before it was tagged");
    fixture_deinit(&f);
}

static void bad_count(void *impl, const cf_mark *mark, const char *why)
{
    assert_string_equal(mark->kind, CF_MARK_TAG);
    assert_true(why[0] != '\0');
    (*(unsigned *)impl)++;
}

static void test_bad_marks(void **state)
{
    (void)state;
    static const char *const bodies[] = {
        "",
        "{",
        "{\"format\":1,\"requires\":[]}",
        "{\"format\":1,\"requires\":[],\"add\":[1],\"remove\":[]}",
        "{\"format\":1,\"requires\":[],\"add\":[\"a b\"],\"remove\":[]}",
        "{\"format\":1,\"requires\":[],\"add\":\"a\",\"remove\":[]}",
        "{\"format\":2,\"requires\":[],\"add\":[],\"remove\":[]}",
    };
    fixture f;
    fixture_init(&f);
    const cf_run run = make_run("n", FIXTURE_UTC_S, 1);
    for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
        char key[256];
        json_t *all = NULL;
        unsigned bad = 0;
        (void)snprintf(key, sizeof(key), "nodes/n/marks/%s/tag-20261121T14310000%zuZ", run.id.text,
                       i);
        put_object(&f, key, cf_slice_str(bodies[i]));
        const cf_err err = cf_tags_load(&f.repo, "n", NULL, NULL, NULL, &all, NULL);
        assert_true(err == CF_ERR_DAMAGE || err == CF_ERR_FORMAT);
        assert_ok(cf_tags_load(&f.repo, "n", NULL, bad_count, &bad, &all, &e));
        assert_int_equal(bad, i + 1);
        json_decref(all);
    }
    fixture_deinit(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fold),
        cmocka_unit_test(test_refused_words),
        cmocka_unit_test(test_prune_near),
        cmocka_unit_test(test_bad_marks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
