/* SPDX-License-Identifier: Apache-2.0
 *
 * Fault loops over the directory store: the nth filesystem call fails, the nth allocation fails,
 * for n = 1.. until the run gets through. After each: the right error, old or new object whole and
 * nothing between, no descriptor leaked, and the same put again with the same id succeeds.
 */
#include <dirent.h>

#include "tests/store/conformance_util.h"
#include "tests/store/fault_fs.h"
#include "tests/store/tmp.h"

#define ID "00112233445566778899aabbccddeeff"
enum { OLD_LEN = 5000, NEW_LEN = 300000, LOOP_MAX = 500 };
static const char key[] = "nodes/k/snapshots/x";

typedef struct bench {
    fault_fs fault;
    cf_store *s;     /* through the faults */
    cf_store *sober; /* the same place, no faults */
    char path[TMP_PATH_SIZE + 32];
    uint8_t bytes[NEW_LEN];
} bench;

static int fd_total(void)
{
    DIR *const dir = opendir("/proc/self/fd");
    int total = 0;
    assert_non_null(dir);
    while (readdir(dir) != NULL)
        total++;
    (void)closedir(dir);
    return total;
}

static cf_slice body_of(bench *b, bool fresh)
{
    fill(b->bytes, NEW_LEN, 1);
    return fresh ? cf_slice_of(b->bytes, NEW_LEN) : cf_slice_of(b->bytes + 1, OLD_LEN);
}

/* A new place for each turn. */
static void bench_open(bench *b, void **state, const char *name, unsigned long n, bool create)
{
    cf_error e = {0};
    (void)snprintf(b->path, sizeof(b->path), "%s/%s-%lu/r", (const char *)*state, name, n);
    fault_fs_init(&b->fault);
    CHECK_ERR("open", &e, CF_OK, cf_store_directory_new(&b->fault.fs, NULL, b->path, &b->s, &e));
    CHECK_ERR("open", &e, CF_OK, cf_store_directory_new(NULL, NULL, b->path, &b->sober, &e));
    if (!create)
        return;
    CHECK_ERR("open", &e, CF_OK, b->s->ops->create(b->s, &e));
    CHECK_ERR("open", &e, CF_OK, put_text(b->sober, "nodes/j", "j", &e));
}

static void bench_close(bench *b)
{
    cf_store_free(b->s);
    cf_store_free(b->sober);
}

static cf_err stream(cf_store *s, cf_slice body, bool create_only, cf_error *e)
{
    const cf_put_opts opts = {.create_only = create_only, .id = ID};
    cf_store_put *p = NULL;
    CF_TRY(s->ops->put_open(s, key, &opts, &p, e));
    for (size_t at = 0; at < body.len; at += body.len / 3) {
        const size_t n = body.len - at < body.len / 3 ? body.len - at : body.len / 3;
        const cf_err err = s->ops->put_write(p, cf_slice_of(body.ptr + at, n), e);
        if (err != CF_OK) {
            s->ops->put_abort(p);
            return err;
        }
    }
    return s->ops->put_finish(p, NULL, e);
}

/* What must hold after a put that answered err. */
static void check_put(bench *b, bool create_only, cf_err err, const char *title)
{
    cf_error e = {0};
    cf_object_stat stat = {0};
    CF_CLEANUP(listed_deinit) listed l = {0};
    const bool fresh = holds(b->sober, key, body_of(b, true));
    if (err == CF_OK)
        CHECK(title, fresh);
    if (create_only && !fresh)
        CHECK_ERR(title, &e, CF_ERR_NOT_FOUND, b->sober->ops->head(b->sober, key, &stat, &e));
    if (!create_only && !fresh)
        CHECK(title, holds(b->sober, key, body_of(b, false)));
    CHECK_ERR(title, &e, CF_OK, list_into(b->sober, "", NULL, NULL, &l, &e));
    CHECK(title, l.count == (create_only && !fresh ? 1 : 2));
    fault_fs_arm(&b->fault, 0, CF_OK, false, NULL);
    CHECK_ERR(title, &e, CF_OK, stream(b->s, body_of(b, true), create_only, &e));
    CHECK(title, holds(b->sober, key, body_of(b, true)));
}

static unsigned long put_loop(void **state, bool create_only, cf_err code, bool after,
                              const char *name)
{
    static bench b; /* large; the test's only thread */
    for (unsigned long n = 1; n < LOOP_MAX; n++) {
        cf_error e = {0};
        char title[128];
        const int fds = fd_total();
        bench_open(&b, state, name, n, true);
        if (!create_only)
            CHECK_ERR("setup", &e, CF_OK, stream(b.sober, body_of(&b, false), true, &e));
        fault_fs_arm(&b.fault, n, code, after, NULL);
        const cf_err err = stream(b.s, body_of(&b, true), create_only, &e);
        const char *const failed = b.fault.failed;
        (void)snprintf(title, sizeof(title), "%s, call %lu: %s", name, n,
                       failed == NULL ? "none" : failed);
        /* Done all the same (a lock, a sweep, a lost answer that was found out), or exactly that
         * error. */
        if (err != CF_OK)
            CHECK_ERR(title, &e, code, err);
        if (err == CF_ERR_NO_SPACE)
            CHECK(title, strstr(e.message, "HINT: ") != NULL && strstr(e.message, b.path) != NULL);
        check_put(&b, create_only, err, title);
        bench_close(&b);
        CHECK(title, fd_total() == fds);
        if (failed == NULL)
            return n;
    }
    fail_msg("%s: never got through", name);
    return 0;
}

static void puts_survive_every_fault(void **state)
{
    static const struct {
        const char *name;
        bool create_only;
        cf_err code;
        bool after;
    } rows[] = {
        {"create-io", true, CF_ERR_IO, false},
        {"create-full", true, CF_ERR_NO_SPACE, false},
        {"create-access", true, CF_ERR_ACCESS, false},
        {"create-lost", true, CF_ERR_IO, true},
        {"over-io", false, CF_ERR_IO, false},
        {"over-full", false, CF_ERR_NO_SPACE, false},
        {"over-lost", false, CF_ERR_IO, true},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const unsigned long n =
            put_loop(state, rows[i].create_only, rows[i].code, rows[i].after, rows[i].name);
        CHECK("the loop saw the calls of a put", n > 25);
    }
}

/* The other operations: code, or success; and nothing changes that should not. */
typedef cf_err (*operation)(cf_store *s, cf_error *e);

static cf_err do_get(cf_store *s, cf_error *e)
{
    CF_CLEANUP(cf_buf_deinit) cf_buf b = {0};
    cf_buf_init(&b, 1 << 20);
    return cf_store_get_small(s, "nodes/k/a/o", &b, e);
}
static cf_err do_head(cf_store *s, cf_error *e)
{
    cf_object_stat stat = {0};
    return s->ops->head(s, "nodes/k/a/o", &stat, e);
}
static cf_err do_list(cf_store *s, cf_error *e)
{
    CF_CLEANUP(listed_deinit) listed l = {0};
    CF_TRY(list_into(s, "nodes/", NULL, NULL, &l, e));
    CF_ENSURE(l.count == 4, e, CF_ERR_DAMAGE, "%zu of 4 keys", l.count);
    return CF_OK;
}
static cf_err do_list_delimited(cf_store *s, cf_error *e)
{
    CF_CLEANUP(listed_deinit) listed l = {0};
    CF_TRY(list_into(s, "nodes/k/", NULL, "/", &l, e));
    CF_ENSURE(l.count == 3, e, CF_ERR_DAMAGE, "%zu of 3 entries", l.count);
    return CF_OK;
}
static cf_err do_now(cf_store *s, cf_error *e)
{
    int64_t now = 0;
    return s->ops->now_utc_ms(s, &now, e);
}
static cf_err do_create(cf_store *s, cf_error *e)
{
    return s->ops->create(s, e);
}

static void reads_survive_every_fault(void **state)
{
    static const struct {
        const char *name;
        operation run;
        cf_err code;
    } rows[] = {
        {"get", do_get, CF_ERR_IO},
        {"head", do_head, CF_ERR_IO},
        {"list", do_list, CF_ERR_IO},
        {"list-access", do_list, CF_ERR_ACCESS},
        {"list-delimited", do_list_delimited, CF_ERR_IO},
        {"now", do_now, CF_ERR_IO},
        {"now-access", do_now, CF_ERR_ACCESS},
        {"create", do_create, CF_ERR_IO},
        {"create-access", do_create, CF_ERR_ACCESS},
    };
    static const char *const keys[] = {"nodes/k/a/o", "nodes/k/a-/o", "nodes/k/b"};
    static bench b;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        bool through = false;
        for (unsigned long n = 1; n < LOOP_MAX && !through; n++) {
            cf_error e = {0};
            char title[64];
            const int fds = fd_total();
            const bool made = rows[i].run != do_create;
            bench_open(&b, state, rows[i].name, n, made);
            for (size_t k = 0; k < 3 && made; k++)
                CHECK_ERR("setup", &e, CF_OK, put_text(b.sober, keys[k], "x", &e));
            fault_fs_arm(&b.fault, n, rows[i].code, false, NULL);
            const cf_err err = rows[i].run(b.s, &e);
            through = b.fault.failed == NULL;
            (void)snprintf(title, sizeof(title), "%s, call %lu", rows[i].name, n);
            CHECK(title, err == CF_OK || err == rows[i].code);
            fault_fs_arm(&b.fault, 0, CF_OK, false, NULL);
            CHECK_ERR(title, &e, CF_OK, rows[i].run(b.s, &e));
            bench_close(&b);
            CHECK(title, fd_total() == fds);
        }
        CHECK(rows[i].name, through);
    }
}

static void deletes_survive_every_fault(void **state)
{
    static const char *const keys[] = {"nodes/k/a/o", "nodes/k/a-/o", "nodes/k/b"};
    static bench b;
    bool through = false;
    for (unsigned long n = 1; n < LOOP_MAX && !through; n++) {
        cf_error e = {0};
        CF_CLEANUP(listed_deinit) listed l = {0};
        bench_open(&b, state, "delete", n, true);
        for (size_t k = 0; k < 3; k++)
            CHECK_ERR("setup", &e, CF_OK, put_text(b.sober, keys[k], "x", &e));
        fault_fs_arm(&b.fault, n, CF_ERR_IO, n % 2 == 0, NULL);
        const cf_err err = b.s->ops->delete_many(b.s, keys, 3, NULL, &e);
        through = b.fault.failed == NULL;
        CHECK("delete", err == CF_OK || err == CF_ERR_IO);
        if (err != CF_OK)
            CHECK("message", strstr(e.message, "of 3 objects failed") != NULL ||
                                 strstr(e.message, "injected") != NULL);
        CHECK_ERR("delete", &e, CF_OK, list_into(b.sober, "", NULL, NULL, &l, &e));
        CHECK("delete goes on after a failure", l.count <= (err == CF_OK ? 1u : 4u));
        fault_fs_arm(&b.fault, 0, CF_OK, false, NULL);
        CHECK_ERR("delete again", &e, CF_OK, b.s->ops->delete_many(b.s, keys, 3, NULL, &e));
        CHECK_ERR("delete", &e, CF_OK, list_into(b.sober, "", NULL, NULL, &l, &e));
        CHECK("the neighbour stays", l.count == 1);
        bench_close(&b);
    }
    CHECK("through", through);
}

static cf_err do_put(cf_store *s, cf_error *e)
{
    const cf_put_opts opts = {.create_only = true, .id = ID};
    return s->ops->put(s, key, cf_slice_str("x"), &opts, NULL, e);
}
static cf_err do_delete(cf_store *s, cf_error *e)
{
    static const char *const keys[] = {"nodes/k/a/o"};
    return s->ops->delete_many(s, keys, 1, NULL, e);
}

static void all_survive_a_failed_allocation(void **state)
{
    static const struct {
        const char *name;
        operation run;
    } rows[] = {
        {"mem-put", do_put},       {"mem-get", do_get},
        {"mem-head", do_head},     {"mem-list", do_list_delimited},
        {"mem-delete", do_delete}, {"mem-now", do_now},
        {"mem-create", do_create},
    };
    static const char *const keys[] = {"nodes/k/a/o", "nodes/k/a-/o", "nodes/k/b"};
    static bench b;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        unsigned long allocations = 1;
        for (unsigned long n = 1; n <= allocations && n < LOOP_MAX; n++) {
            cf_error e = {0};
            const bool made = rows[i].run != do_create;
            bench_open(&b, state, rows[i].name, n, made);
            for (size_t k = 0; k < 3 && made; k++)
                CHECK_ERR("setup", &e, CF_OK, put_text(b.sober, keys[k], "x", &e));
            const unsigned long before = cf_alloc_count();
            cf_alloc_fail_at(n);
            const cf_err err = rows[i].run(b.s, &e);
            cf_alloc_fail_at(0);
            allocations = cf_alloc_count() - before + (err == CF_OK ? 0 : 1);
            CHECK(rows[i].name, err == CF_OK || err == CF_ERR_NO_MEMORY);
            if (rows[i].run != do_delete)
                CHECK_ERR(rows[i].name, &e, CF_OK, rows[i].run(b.s, &e));
            bench_close(&b);
        }
    }
}

static void finds_out_a_lost_answer(void **state)
{
    static const char *const members[] = {"link_at", "rename_at"};
    static bench b;
    for (size_t i = 0; i < 2; i++) {
        cf_error e = {0};
        bench_open(&b, state, "lost", i, true);
        fault_fs_arm(&b.fault, 1, CF_ERR_IO, true, members[i]);
        CHECK_ERR(members[i], &e, CF_OK, stream(b.s, body_of(&b, true), i == 0, &e));
        CHECK(members[i], b.fault.failed != NULL);
        CHECK(members[i], holds(b.sober, key, body_of(&b, true)));
        bench_close(&b);
    }
}

/* The name stands, its folder could not be synced: not acknowledged, and the same put again is
 * found to be ours. */
static void knows_its_own_object_again(void **state)
{
    static bench b;
    static const cf_put_opts other = {.create_only = true,
                                      .id = "ffffffffffffffffffffffffffffffff"};
    cf_error e = {0};
    bench_open(&b, state, "again", 0, true);
    fault_fs_arm(&b.fault, 2, CF_ERR_IO, false, "sync");
    CHECK_ERR("sync of the folder", &e, CF_ERR_IO, stream(b.s, body_of(&b, true), true, &e));
    fault_fs_arm(&b.fault, 0, CF_OK, false, NULL);
    CHECK("it stands", holds(b.sober, key, body_of(&b, true)));
    CHECK_ERR("another's id", &e, CF_ERR_EXISTS,
              b.s->ops->put(b.s, key, body_of(&b, true), &other, NULL, &e));
    CHECK_ERR("another process", &e, CF_ERR_EXISTS, stream(b.sober, body_of(&b, true), true, &e));
    CHECK_ERR("the same id", &e, CF_OK, stream(b.s, body_of(&b, true), true, &e));
    bench_close(&b);
}

static void says_what_a_full_disk_needs(void **state)
{
    static bench b;
    cf_error e = {0};
    bench_open(&b, state, "full", 0, true);
    fault_fs_arm(&b.fault, 2, CF_ERR_NO_SPACE, false, "pwrite");
    CHECK_ERR("second write", &e, CF_ERR_NO_SPACE, stream(b.s, body_of(&b, true), true, &e));
    CHECK("object", strstr(e.message, "'nodes/k/snapshots/x'") != NULL);
    CHECK("path", strstr(e.message, b.path) != NULL);
    CHECK("needed", strstr(e.message, "200000 bytes of it are needed so far") != NULL);
    CHECK("free", strstr(e.message, "iB are free") != NULL);
    CHECK("hint", strstr(e.message, "\nHINT: free space on that disk") != NULL);
    bench_close(&b);
}

int main(void)
{
    char path[TMP_PATH_SIZE];
    if (!tmp_make(path))
        return 1;
    struct CMUnitTest tests[] = {
        cmocka_unit_test(puts_survive_every_fault),
        cmocka_unit_test(reads_survive_every_fault),
        cmocka_unit_test(deletes_survive_every_fault),
        cmocka_unit_test(all_survive_a_failed_allocation),
        cmocka_unit_test(finds_out_a_lost_answer),
        cmocka_unit_test(knows_its_own_object_again),
        cmocka_unit_test(says_what_a_full_disk_needs),
    };
    for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++)
        tests[i].initial_state = path;
    const int failed = cmocka_run_group_tests_name("directory faults", tests, NULL, NULL);
    tmp_remove(path);
    return failed;
}
