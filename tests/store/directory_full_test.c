/* SPDX-License-Identifier: Apache-2.0
 *
 * A disk that is really full: a tmpfs of 1 MiB in a mount namespace of our own. Exit 77 where none
 * is to be had.
 */
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>

#include "tests/store/conformance_util.h"
#include "tests/store/tmp.h"

enum { OBJECT_LEN = 200000 };

/* As root, or as root of a user namespace. */
static bool mount_small(const char *path, const char *options)
{
    if (mount("tmpfs", path, "tmpfs", 0, options) == 0)
        return true;
    (void)fprintf(stderr, "cannot mount a tmpfs\n");
    return false;
}

static bool own_mounts(void)
{
    if (unshare(CLONE_NEWNS) != 0 && unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0)
        return false;
    return mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
}

static cf_err put_big(cf_store *s, const char *key, bool create_only, cf_error *e)
{
    static uint8_t body[OBJECT_LEN];
    const cf_put_opts opts = {.create_only = create_only};
    fill(body, sizeof(body), 5);
    return s->ops->put(s, key, cf_slice_of(body, sizeof(body)), &opts, NULL, e);
}

static void check_message(const cf_error *e, const char *path)
{
    CHECK(e->message, strstr(e->message, path) != NULL);
    CHECK(e->message, strstr(e->message, "bytes of it are needed") != NULL);
    CHECK(e->message, strstr(e->message, "are free\nHINT: ") != NULL);
}

/* Fills it with name-0, name-1 ...; the number of those acknowledged. */
static size_t fill_up(cf_store *s, const char *path, bool create_only)
{
    for (size_t n = 0; n < 100; n++) {
        char key[32];
        cf_error e = {0};
        cf_object_stat stat = {0};
        (void)snprintf(key, sizeof(key), "n/o-%zu", n);
        const cf_err err = put_big(s, key, create_only, &e);
        if (err == CF_OK)
            continue;
        CHECK_ERR(key, &e, CF_ERR_NO_SPACE, err);
        check_message(&e, path);
        CHECK_ERR(key, &e, CF_ERR_NOT_FOUND, s->ops->head(s, key, &stat, &e));
        return n;
    }
    fail_msg("the disk never got full");
    return 0;
}

static void stays_whole_on_a_full_disk(void **state)
{
    const char *const path = *state;
    cf_error e = {0};
    int64_t now = 0;
    CF_CLEANUP(listed_deinit) listed l = {0};
    CF_CLEANUP(cf_store_freep) cf_store *s = NULL;
    if (!mount_small(path, "size=1m"))
        skip();
    CHECK_ERR("open", &e, CF_OK, cf_store_directory_new(NULL, NULL, path, &s, &e));
    for (int turn = 0; turn < 4; turn++) {
        const char *const first[] = {"n/o-0"};
        const size_t n = fill_up(s, path, turn % 2 == 0);
        CHECK("five fit", n == 5);
        CHECK_ERR("list", &e, CF_OK, list_into(s, "", NULL, NULL, &l, &e));
        CHECK("only what was acknowledged is listed", l.count == n);
        CHECK_ERR("overwriting fails and keeps the old", &e, CF_ERR_NO_SPACE,
                  put_big(s, "n/o-1", false, &e));
        CHECK_ERR("the time is still told", &e, CF_OK, s->ops->now_utc_ms(s, &now, &e));
        CHECK_ERR("delete frees", &e, CF_OK, s->ops->delete_many(s, first, 1, NULL, &e));
        CHECK_ERR("room again, for one", &e, CF_OK, put_big(s, "n/o-0", true, &e));
        const char *const all[] = {"n/o-0", "n/o-1", "n/o-2", "n/o-3", "n/o-4"};
        CHECK_ERR("delete", &e, CF_OK, s->ops->delete_many(s, all, 5, NULL, &e));
    }
    CHECK_ERR("fits once more", &e, CF_OK, put_big(s, "n/o-0", false, &e));
    cf_store_free(CF_STEAL(s));
    assert_int_equal(umount(path), 0);
}

static void stays_whole_without_inodes(void **state)
{
    const char *const path = *state;
    cf_error e = {0};
    size_t stored = 0;
    CF_CLEANUP(listed_deinit) listed l = {0};
    CF_CLEANUP(cf_store_freep) cf_store *s = NULL;
    if (!mount_small(path, "size=1m,nr_inodes=24"))
        skip();
    CHECK_ERR("open", &e, CF_OK, cf_store_directory_new(NULL, NULL, path, &s, &e));
    cf_err err = CF_OK;
    for (; stored < 100 && err == CF_OK; stored += err == CF_OK) {
        char key[64];
        (void)snprintf(key, sizeof(key), "n/%zu/o", stored);
        err = put_text(s, key, "x", &e);
    }
    CHECK_ERR("no inodes", &e, CF_ERR_NO_SPACE, err);
    check_message(&e, path);
    CHECK_ERR("list", &e, CF_OK, list_into(s, "", NULL, NULL, &l, &e));
    CHECK("only what was acknowledged is listed", l.count == stored);
    cf_store_free(CF_STEAL(s));
    assert_int_equal(umount(path), 0);
}

int main(void)
{
    char path[TMP_PATH_SIZE];
    if (!tmp_make(path))
        return 1;
    if (!own_mounts() || !mount_small(path, "size=1m") || umount(path) != 0) {
        (void)puts("skipped: no mount namespace and tmpfs for this user");
        tmp_remove(path);
        return 77;
    }
    struct CMUnitTest tests[] = {
        cmocka_unit_test(stays_whole_on_a_full_disk),
        cmocka_unit_test(stays_whole_without_inodes),
    };
    for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++)
        tests[i].initial_state = path;
    const int failed = cmocka_run_group_tests_name("full disk", tests, NULL, NULL);
    (void)umount(path);
    tmp_remove(path);
    return failed;
}
