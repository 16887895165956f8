/* SPDX-License-Identifier: Apache-2.0 */
#include "fixture.h"

#include "repo/object_set.h"

static cf_slice name_of(char ret[128], unsigned run, unsigned seq, const char *kind)
{
    cf_run_id id = {""};
    cf_run_id_make((int64_t)run * 1000, NULL, run * 2654435761u, &id);
    (void)snprintf(ret, 128, "%s/%010u-%s", id.text, seq, kind);
    return cf_slice_str(ret);
}

static void test_members(void **state)
{
    (void)state;
    CF_CLEANUP(cf_object_set_freep) cf_object_set *s = NULL;
    char n[128];
    bool is_new = false;
    assert_ok(cf_object_set_new(&s, &e));
    assert_false(cf_object_set_has(s, name_of(n, 1, 1, "pack")));
    assert_ok(cf_object_set_add(s, name_of(n, 1, 1, "pack-a.zst"), &is_new, &e));
    assert_true(is_new);
    assert_true(cf_object_set_has(s, name_of(n, 1, 1, "pack-a.zst")));
    /* The number is what counts. */
    assert_true(cf_object_set_has(s, name_of(n, 1, 1, "journal")));
    assert_ok(cf_object_set_add(s, name_of(n, 1, 1, "pack-b.zst"), &is_new, &e));
    assert_false(is_new);
    assert_false(cf_object_set_has(s, name_of(n, 1, 2, "pack-a.zst")));
    assert_false(cf_object_set_has(s, name_of(n, 2, 1, "pack-a.zst")));
    assert_false(cf_object_set_has(s, name_of(n, 1, 513, "pack-a.zst")));
    assert_int_equal(cf_object_set_total(s), 1);
    /* The ends of the numbers, in one set. */
    assert_ok(cf_object_set_add(s, name_of(n, 1, CF_SEQ_MAX, "pack"), NULL, &e));
    assert_true(cf_object_set_has(s, name_of(n, 1, CF_SEQ_MAX, "pack")));
    assert_false(cf_object_set_has(s, name_of(n, 1, CF_SEQ_MAX - 1, "pack")));
}

static void test_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"",
                                      "20261121T143100Z-0123abcd",
                                      "20261121T143100Z-0123abcd/0000000001",
                                      "20261121T143100Z-0123abcd/0000000000-pack",
                                      "20261121T143100Z-0123abcd/2000000001-pack",
                                      "20261121T143100Z-0123abcd/000000001-pack",
                                      "20261321T143100Z-0123abcd/0000000001-pack",
                                      "20261121T143100Z-0123abcd/0000000001-pack/x"};
    CF_CLEANUP(cf_object_set_freep) cf_object_set *s = NULL;
    assert_ok(cf_object_set_new(&s, &e));
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_refused(cf_object_set_add(s, cf_slice_str(bad[i]), NULL, &e), CF_ERR_DAMAGE,
                       "is not named");
        assert_false(cf_object_set_has(s, cf_slice_str(bad[i])));
    }
    assert_int_equal(cf_object_set_total(s), 0);
}

static void test_many(void **state)
{
    (void)state;
    enum { RUNS = 1500, OBJECTS = 400 };
    CF_CLEANUP(cf_object_set_freep) cf_object_set *s = NULL;
    char n[128];
    assert_ok(cf_object_set_new(&s, &e));
    for (unsigned r = 0; r < RUNS; r++) {
        for (unsigned i = 1; i <= OBJECTS; i++) {
            if ((r + i) % 3 != 0)
                assert_ok(cf_object_set_add(s, name_of(n, r, i * 7, "pack"), NULL, &e));
        }
    }
    uint64_t found = 0;
    for (unsigned r = 0; r < RUNS; r++) {
        for (unsigned i = 1; i <= OBJECTS; i++) {
            const bool has = cf_object_set_has(s, name_of(n, r, i * 7, "pack"));
            assert_int_equal(has, (r + i) % 3 != 0);
            assert_false(cf_object_set_has(s, name_of(n, r, i * 7 + 1, "pack")));
            found += has;
        }
    }
    assert_int_equal(cf_object_set_total(s), found);
}

static void test_no_memory(void **state)
{
    (void)state;
    for (unsigned long nth = 1; nth < 40; nth++) {
        CF_CLEANUP(cf_object_set_freep) cf_object_set *s = NULL;
        char n[128];
        unsigned added = 0;
        cf_err err = CF_OK;
        cf_alloc_fail_at(nth);
        err = cf_object_set_new(&s, NULL);
        for (unsigned i = 0; err == CF_OK && i < 300; i++) {
            err = cf_object_set_add(s, name_of(n, i, 1, "pack"), NULL, NULL);
            added += err == CF_OK;
        }
        cf_alloc_fail_at(0);
        assert_true(err == CF_OK || err == CF_ERR_NO_MEMORY);
        for (unsigned i = 0; s != NULL && i < added; i++)
            assert_true(cf_object_set_has(s, name_of(n, i, 1, "pack")));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_members),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_many),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
