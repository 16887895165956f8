/* SPDX-License-Identifier: Apache-2.0
 *
 * Marks and what they say of damage.
 */
#include "repo/mark.h"

#include "fixture.h"
#include "repo/damage.h"

static const char run_1[] = "20261121T143100Z-00000001";
static const char run_2[] = "20261121T143100Z-00000002";
static const char pack_1[] = "20261121T143100Z-00000001/0000000001-pack-small.zst";
static const char segment_2[] = "20261121T143100Z-00000002/0000000004-files.jsonl.zst";

static cf_run_id id_of(const char *text)
{
    cf_run_id id = {""};
    assert_true(cf_run_id_parse(cf_slice_str(text), &id));
    return id;
}

static void test_names(void **state)
{
    static const struct {
        const char *title, *name, *kind;
        int64_t utc_ms;
    } cases[] = {
        {"a tag", "tag-20261121T143100123Z", "tag", INT64_C(1795271460123)},
        {"the first millisecond", "damage-20261121T143100000Z", "damage", INT64_C(1795271460000)},
        {"the last one", "proof-20261121T143100999Z", "proof", INT64_C(1795271460999)},
        {"the longest kind", "abcdefghijklmnop-20261121T143100999Z", "abcdefghijklmnop",
         INT64_C(1795271460999)},
        {"a kind too long", "abcdefghijklmnopq-20261121T143100999Z", NULL, 0},
        {"no kind", "-20261121T143100999Z", NULL, 0},
        {"a kind that is no word", "Tag-20261121T143100999Z", NULL, 0},
        {"without milliseconds", "tag-20261121T143100Z", NULL, 0},
        {"no time", "tag", NULL, 0},
        {"no such day", "tag-20261131T143100123Z", NULL, 0},
        {"milliseconds that are no number", "tag-20261121T143100+12Z", NULL, 0},
        {"something behind", "tag-20261121T143100123Zx", NULL, 0},
        {"a folder", "tag-20261121T143100123Z/x", NULL, 0},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        cf_mark m = {0};
        const bool sound = cf_mark_name_parse(cf_slice_str(cases[i].name), &m);
        if (sound != (cases[i].kind != NULL) ||
            (sound && (strcmp(m.kind, cases[i].kind) != 0 || m.time_utc_ms != cases[i].utc_ms ||
                       strcmp(m.name, cases[i].name) != 0)))
            fail_msg("%s: %d '%s' %lld", cases[i].title, sound, m.kind, (long long)m.time_utc_ms);
    }
}

static cf_err collect(void *impl, const cf_mark *mark, cf_error *e)
{
    (void)e;
    const size_t used = strlen(impl);
    (void)snprintf((char *)impl + used, 1024 - used, "%.*s/%s ", 2, mark->run.text + 23,
                   mark->name);
    return CF_OK;
}

static void add(fixture *f, const char *run, const char *kind, json_t *body)
{
    const cf_run_id id = id_of(run);
    assert_ok(cf_mark_add(&f->repo, "b", &id, kind, body, &e));
    json_decref(body);
}

static void test_add_and_each(void **state)
{
    char text[1024] = "";
    fixture f;
    const cf_run_id first = id_of(run_1);
    (void)state;
    fixture_init(&f);
    put_object(&f, "nodes/b/marks/stray", cf_slice_str("x"));
    put_object(&f, "nodes/b/marks/20261121T143100Z-00000001/stray", cf_slice_str("x"));
    add(&f, run_2, "tag", json_pack("{s:[s], s:[]}", "add", "keep", "remove"));
    add(&f, run_1, "tag", json_pack("{s:[s], s:[]}", "add", "a", "remove"));
    add(&f, run_1, "tag", json_pack("{s:[], s:[s]}", "add", "remove", "a"));
    add(&f, run_1, "proof", json_pack("{s:i}", "files", 3));
    const uint64_t before = count_requests(&f);
    assert_ok(cf_mark_each(&f.repo, "b", NULL, collect, text, &e));
    assert_int_equal(count_requests(&f) - before, 1);
    assert_string_equal(text, "01/proof-20261121T143100000Z 01/tag-20261121T143100000Z "
                              "01/tag-20261121T143100001Z 02/tag-20261121T143100000Z ");
    text[0] = '\0';
    assert_ok(cf_mark_each(&f.repo, "b", &first, collect, text, &e));
    assert_string_equal(text, "01/proof-20261121T143100000Z 01/tag-20261121T143100000Z "
                              "01/tag-20261121T143100001Z ");
    text[0] = '\0';
    assert_ok(cf_mark_each(&f.repo, "c", NULL, collect, text, &e));
    assert_string_equal(text, "");
    fixture_deinit(&f);
}

/* A store that overwrites in spite of the condition loses no mark all the same. */
static void test_add_without_conditional_create(void **state)
{
    char text[1024] = "";
    fixture f;
    (void)state;
    fixture_init(&f);
    cf_store_memory_set_features(f.store, CF_STORE_RANGED_GET);
    for (int i = 0; i < 3; i++)
        add(&f, run_1, "tag", json_pack("{s:[]}", "add"));
    assert_ok(cf_mark_each(&f.repo, "b", NULL, collect, text, &e));
    assert_string_equal(text, "01/tag-20261121T143100000Z 01/tag-20261121T143100001Z "
                              "01/tag-20261121T143100002Z ");
    fixture_deinit(&f);
}

static void test_load(void **state)
{
    static const struct {
        const char *title, *body, *part;
        cf_err code;
    } cases[] = {
        {"as written", "{\"format\":1,\"requires\":[],\"files\":3}", "", CF_OK},
        {"empty", "", "malformed", CF_ERR_DAMAGE},
        {"cut", "{\"format\":1", "malformed", CF_ERR_DAMAGE},
        {"newer", "{\"format\":2,\"requires\":[]}", "format", CF_ERR_FORMAT},
        {"requires more", "{\"format\":1,\"requires\":[\"x\"]}", "x", CF_ERR_FORMAT},
        {"gone", NULL, "", CF_ERR_NOT_FOUND},
    };
    fixture f;
    cf_mark m = {.run = id_of(run_1)};
    (void)state;
    fixture_init(&f);
    assert_true(cf_mark_name_parse(cf_slice_str("tag-20261121T143100000Z"), &m));
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        static const char *const key =
            "nodes/b/marks/20261121T143100Z-00000001/tag-20261121T143100000Z";
        json_t *body = NULL;
        cf_error found = {0};
        if (cases[i].body != NULL)
            put_object(&f, key, cf_slice_str(cases[i].body));
        else
            assert_ok(f.store->ops->delete_many(f.store, &key, 1, /* opts= */ NULL, &e));
        const cf_err err = cf_mark_load(&f.repo, "b", &m, &body, &found);
        if (err != cases[i].code || strstr(found.message, cases[i].part) == NULL)
            fail_msg("%s: %s %s", cases[i].title, cf_err_name(err), found.message);
        if (err == CF_OK)
            assert_int_equal(json_integer_value(json_object_get(body, "files")), 3);
        json_decref(body);
    }
    fixture_deinit(&f);
}

static void test_damage(void **state)
{
    fixture f;
    cf_damage *d = NULL;
    const cf_run_id first = id_of(run_1), second = id_of(run_2);
    (void)state;
    fixture_init(&f);
    add(&f, run_1, "tag", json_pack("{s:[s]}", "add", "keep"));
    uint64_t before = count_requests(&f);
    assert_ok(cf_damage_load(&f.repo, "b", &d, &e));
    assert_null(d);
    assert_int_equal(count_requests(&f) - before, 1);
    assert_false(cf_damage_has(d, pack_1));
    assert_false(cf_damage_has_all_of(d, &first));
    add(&f, run_1, "damage", json_pack("{s:[s]}", "objects", pack_1));
    add(&f, run_2, "damage", json_pack("{s:[s,s]}", "objects", segment_2, pack_1));
    before = count_requests(&f);
    assert_ok(cf_damage_load(&f.repo, "b", &d, &e));
    assert_int_equal(count_requests(&f) - before, 3);
    assert_true(cf_damage_has(d, pack_1));
    assert_true(cf_damage_has(d, segment_2));
    assert_false(cf_damage_has(d, "20261121T143100Z-00000001/0000000002-pack-small.zst"));
    assert_false(cf_damage_has(d, ""));
    assert_true(cf_damage_has_in(d, &first, pack_1));
    assert_false(cf_damage_has_in(d, &first, segment_2));
    assert_true(cf_damage_has_in(d, &second, segment_2));
    assert_false(cf_damage_has_all_of(d, &first));
    cf_damage_free(d);
    fixture_deinit(&f);
}

/* What cannot be read still warns: nothing of that snapshot is relied on. */
static void test_damage_unreadable(void **state)
{
    static const char *const bodies[] = {"",
                                         "x",
                                         "{\"format\":9,\"requires\":[]}",
                                         "{\"format\":1,\"requires\":[]}",
                                         "{\"format\":1,\"requires\":[],\"objects\":[]}",
                                         "{\"format\":1,\"requires\":[],\"objects\":7}",
                                         "{\"format\":1,\"requires\":[],\"objects\":[7]}",
                                         "{\"format\":1,\"requires\":[],\"objects\":[\"../x\"]}"};
    const cf_run_id first = id_of(run_1), second = id_of(run_2);
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
        fixture f;
        cf_damage *d = NULL;
        fixture_init(&f);
        put_object(&f, "nodes/b/marks/20261121T143100Z-00000001/damage-20261121T143100000Z",
                   cf_slice_str(bodies[i]));
        assert_ok(cf_damage_load(&f.repo, "b", &d, &e));
        if (!cf_damage_has_all_of(d, &first) || cf_damage_has_all_of(d, &second) ||
            cf_damage_has(d, pack_1))
            fail_msg("%s", bodies[i]);
        cf_damage_free(d);
        fixture_deinit(&f);
    }
}

static void test_no_memory(void **state)
{
    fixture f;
    (void)state;
    fixture_init(&f);
    add(&f, run_1, "damage", json_pack("{s:[s]}", "objects", pack_1));
    for (unsigned long n = 1;; n++) {
        cf_damage *d = NULL;
        cf_error e = {0};
        const unsigned long before = cf_alloc_count();
        cf_alloc_fail_at(n);
        const cf_err err = cf_damage_load(&f.repo, "b", &d, &e);
        cf_alloc_fail_at(0);
        if (err == CF_OK && cf_alloc_count() - before < n) {
            assert_true(cf_damage_has(d, pack_1));
            cf_damage_free(d);
            break;
        }
        assert_int_equal(err, CF_ERR_NO_MEMORY);
        assert_null(d);
    }
    fixture_deinit(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_add_and_each),
        cmocka_unit_test(test_add_without_conditional_create),
        cmocka_unit_test(test_load),
        cmocka_unit_test(test_damage),
        cmocka_unit_test(test_damage_unreadable),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
