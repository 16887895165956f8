/* SPDX-License-Identifier: Apache-2.0 */
#include "fixture.h"

#include "repo/fence.h"

static void test_fence(void **state)
{
    (void)state;
    fixture f;
    fixture_init(&f);
    const cf_run run = make_run("n", FIXTURE_UTC_S, 1);
    cf_root *root = make_root(&run);
    cf_root *loaded = NULL;

    assert_ok(cf_fence_put(&f.repo, "n", &run.id, /* over_root= */ false, &e));
    assert_refused(cf_snapshot_load(&f.repo, "n", &run.id, &loaded, &e), CF_ERR_FENCED, "fenced");
    assert_refused(cf_fence_put(&f.repo, "n", &run.id, /* over_root= */ false, &e), CF_ERR_EXISTS,
                   run.id.text);
    assert_refused(cf_snapshot_commit(&f.repo, "n", root, &e), CF_ERR_FENCED, "");
    cf_root_free(root);
    fixture_deinit(&f);
}

static void test_over_root(void **state)
{
    (void)state;
    fixture f;
    fixture_init(&f);
    const cf_run run = make_run("n", FIXTURE_UTC_S, 1);
    cf_root *root = make_root(&run);
    cf_root *loaded = NULL;

    assert_ok(cf_snapshot_commit(&f.repo, "n", root, &e));
    assert_refused(cf_fence_put(&f.repo, "n", &run.id, /* over_root= */ false, &e), CF_ERR_EXISTS,
                   "fence run");
    assert_ok(cf_snapshot_load(&f.repo, "n", &run.id, &loaded, &e));
    cf_root_free(loaded);
    assert_ok(cf_fence_put(&f.repo, "n", &run.id, /* over_root= */ true, &e));
    assert_refused(cf_snapshot_load(&f.repo, "n", &run.id, &loaded, &e), CF_ERR_FENCED, "fenced");
    assert_int_equal(count_objects(&f, "nodes/n/snapshots/"), 1);
    cf_root_free(root);
    fixture_deinit(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_fence),
                                       cmocka_unit_test(test_over_root)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
