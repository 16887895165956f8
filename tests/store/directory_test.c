/* SPDX-License-Identifier: Apache-2.0
 *
 * What only a directory has: modes, links, foreign files, folders, leftovers, other processes, a
 * kill at any moment.
 */
#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "tests/store/conformance_util.h"
#include "tests/store/tmp.h"

enum { PATH_SIZE = TMP_PATH_SIZE + 96 };

typedef struct place {
    char path[PATH_SIZE];
    cf_store *s;
} place;

static void place_deinit(place *p)
{
    cf_store_free(p->s);
}

static void place_open(place *p, void **state, const char *name)
{
    cf_error e = {0};
    (void)snprintf(p->path, sizeof(p->path), "%s/%s", (const char *)*state, name);
    CHECK_ERR(name, &e, CF_OK, cf_store_directory_new(NULL, NULL, p->path, &p->s, &e));
    CHECK_ERR(name, &e, CF_OK, p->s->ops->create(p->s, &e));
}

static const char *below(const place *p, const char *name, char ret[PATH_SIZE + 64])
{
    (void)snprintf(ret, PATH_SIZE + 64, "%s/%s", p->path, name);
    return ret;
}

static unsigned mode_of(const place *p, const char *name)
{
    char path[PATH_SIZE + 64];
    struct stat st;
    assert_int_equal(lstat(below(p, name, path), &st), 0);
    return st.st_mode & 07777;
}

static void write_file(const char *path, const char *text)
{
    const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    (void)close(fd);
}

static void makes_private_files_and_folders(void **state)
{
    CF_CLEANUP(place_deinit) place p = {0};
    cf_error e = {0};
    const mode_t umask_before = umask(0);
    place_open(&p, state, "modes/deep/er");
    CHECK_ERR("put", &e, CF_OK, put_text(p.s, "a/b/c", "x", &e));
    (void)umask(umask_before);
    assert_int_equal(mode_of(&p, ""), 0700);
    assert_int_equal(mode_of(&p, ".."), 0700);
    assert_int_equal(mode_of(&p, "a"), 0700);
    assert_int_equal(mode_of(&p, "a/b"), 0700);
    assert_int_equal(mode_of(&p, "a/b/c"), 0600);
    assert_int_equal(mode_of(&p, ".chunkferry-tmp"), 0700);
}

static void refuses_paths(void **state)
{
    cf_error e = {0};
    cf_store *s = NULL;
    char path[PATH_SIZE + 64];
    CF_CLEANUP(place_deinit) place p = {0};
    place_open(&p, state, "paths");
    CHECK_ERR("relative", &e, CF_ERR_USAGE,
              cf_store_directory_new(NULL, NULL, "relative/path", &s, &e));
    assert_string_equal(e.message, "directory 'relative/path' is not an absolute path");
    CHECK_ERR("empty", &e, CF_ERR_USAGE, cf_store_directory_new(NULL, NULL, "", &s, &e));
    write_file(below(&p, "file", path), "x");
    CHECK_ERR("a file", &e, CF_OK, cf_store_directory_new(NULL, NULL, path, &s, &e));
    CF_CLEANUP(cf_store_freep) cf_store *over_file = s;
    const cf_err err = over_file->ops->create(over_file, &e);
    CHECK("a file is no place", err != CF_OK);
}

static void follows_a_link_to_the_place_only(void **state)
{
    char link_path[PATH_SIZE + 64];
    char inner[PATH_SIZE + 64];
    char target[PATH_SIZE + 64];
    cf_error e = {0};
    cf_object_stat stat = {0};
    CF_CLEANUP(listed_deinit) listed l = {0};
    CF_CLEANUP(place_deinit) place p = {0};
    place_open(&p, state, "linked");
    (void)snprintf(link_path, sizeof(link_path), "%s/link", (const char *)*state);
    assert_int_equal(symlink(p.path, link_path), 0);
    CF_CLEANUP(cf_store_freep) cf_store *s = NULL;
    CHECK_ERR("over a link", &e, CF_OK, cf_store_directory_new(NULL, NULL, link_path, &s, &e));
    CHECK_ERR("over a link", &e, CF_OK, put_text(s, "real/x", "x", &e));
    CHECK("over a link", holds(p.s, "real/x", cf_slice_str("x")));

    assert_int_equal(symlink(below(&p, "real", target), below(&p, "alias", inner)), 0);
    CHECK_ERR("get over a link", &e, CF_ERR_IO, s->ops->head(s, "alias/x", &stat, &e));
    CHECK("it says why", strstr(e.message, "'alias' on the way to object 'alias/x'") != NULL);
    CHECK("it says why", strstr(e.message, "is a symbolic link\nHINT: ") != NULL);
    CHECK_ERR("put over a link", &e, CF_ERR_IO, put_text(s, "alias/y", "y", &e));
    CHECK_ERR("put onto a link", &e, CF_ERR_IO, put_text(s, "alias", "y", &e));
    CHECK_ERR(
        "create onto a link", &e, CF_ERR_IO,
        s->ops->put(s, "alias", cf_slice_str("y"), &(cf_put_opts){.create_only = true}, NULL, &e));
    CHECK_ERR("a list does not leave it out", &e, CF_ERR_IO, list_into(s, "", NULL, NULL, &l, &e));
    CHECK_ERR("but elsewhere", &e, CF_OK, list_into(s, "real/", NULL, NULL, &l, &e));
    CHECK("but elsewhere", l.count == 1);
    CHECK("nothing was written through it", holds(s, "real/x", cf_slice_str("x")));
}

static void leaves_foreign_files_alone(void **state)
{
    static const char *const names[] = {"with space", "a+b", "back~", "caf\xc3\xa9",
                                        ".chunkferry-tmp/old"};
    char path[PATH_SIZE + 64];
    char key[PATH_SIZE + 64];
    cf_error e = {0};
    CF_CLEANUP(listed_deinit) listed l = {0};
    CF_CLEANUP(place_deinit) place p = {0};
    place_open(&p, state, "foreign");
    CHECK_ERR("setup", &e, CF_OK, put_text(p.s, "ours", "x", &e));
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        write_file(below(&p, names[i], path), "foreign");
    assert_int_equal(mkdir(below(&p, "lost+found", path), 0700), 0);
    write_file(below(&p, "lost+found/x", path), "foreign");
    CHECK_ERR("list", &e, CF_OK, list_into(p.s, "", NULL, NULL, &l, &e));
    CHECK("list", l.count == 1);
    CHECK_ERR("list", &e, CF_OK, list_into(p.s, "", NULL, "/", &l, &e));
    CHECK("list", l.count == 1);
    assert_int_equal(mkfifo(below(&p, "pipe", key), 0600), 0);
    CHECK_ERR("a pipe is refused", &e, CF_ERR_IO, list_into(p.s, "", NULL, NULL, &l, &e));
}

static void keeps_objects_and_folders_apart(void **state)
{
    static const cf_put_opts create = {.create_only = true};
    cf_error e = {0};
    CF_CLEANUP(place_deinit) place p = {0};
    place_open(&p, state, "apart");
    CHECK_ERR("setup", &e, CF_OK, put_text(p.s, "a/b", "x", &e));
    CHECK_ERR("below an object", &e, CF_ERR_UNSUPPORTED, put_text(p.s, "a/b/c", "x", &e));
    CHECK_ERR("below an object", &e, CF_ERR_UNSUPPORTED,
              p.s->ops->put(p.s, "a/b/c/d", cf_slice_str(""), &create, NULL, &e));
    CHECK_ERR("over a folder", &e, CF_ERR_UNSUPPORTED, put_text(p.s, "a", "x", &e));
    CHECK_ERR("over a folder", &e, CF_ERR_UNSUPPORTED,
              p.s->ops->put(p.s, "a", cf_slice_str(""), &create, NULL, &e));
    CHECK("untouched", holds(p.s, "a/b", cf_slice_str("x")));
}

static void removes_folders_that_became_empty(void **state)
{
    static const char *const keys[] = {"n/k/runs/r/1", "n/k/runs/r/2"};
    char path[PATH_SIZE + 64];
    cf_error e = {0};
    CF_CLEANUP(place_deinit) place p = {0};
    place_open(&p, state, "empty");
    CHECK_ERR("setup", &e, CF_OK, put_text(p.s, keys[0], "x", &e));
    CHECK_ERR("setup", &e, CF_OK, put_text(p.s, keys[1], "x", &e));
    CHECK_ERR("setup", &e, CF_OK, put_text(p.s, "n/k/snapshots/s", "x", &e));
    CHECK_ERR("one", &e, CF_OK, p.s->ops->delete_many(p.s, keys, 1, NULL, &e));
    assert_int_equal(access(below(&p, "n/k/runs/r", path), F_OK), 0);
    CHECK_ERR("both", &e, CF_OK, p.s->ops->delete_many(p.s, keys, 2, NULL, &e));
    assert_int_equal(access(below(&p, "n/k/runs", path), F_OK), -1);
    assert_int_equal(access(below(&p, "n/k/snapshots/s", path), F_OK), 0);
}

static void sweeps_leftovers(void **state)
{
    static const struct timespec long_ago[2] = {{.tv_sec = 1500000000}, {.tv_sec = 1500000000}};
    char dead[PATH_SIZE + 64];
    char alive[PATH_SIZE + 64];
    char young[PATH_SIZE + 64];
    cf_error e = {0};
    CF_CLEANUP(place_deinit) place p = {0};
    place_open(&p, state, "sweep");
    assert_int_equal(mkdir(below(&p, ".chunkferry-tmp", dead), 0700), 0);
    write_file(below(&p, ".chunkferry-tmp/dead", dead), "x");
    write_file(below(&p, ".chunkferry-tmp/alive", alive), "x");
    write_file(below(&p, ".chunkferry-tmp/young", young), "x");
    assert_int_equal(utimensat(AT_FDCWD, dead, long_ago, 0), 0);
    assert_int_equal(utimensat(AT_FDCWD, alive, long_ago, 0), 0);
    const int fd = open(alive, O_RDONLY | O_CLOEXEC);
    assert_int_equal(flock(fd, LOCK_EX | LOCK_NB), 0);
    CHECK_ERR("put", &e, CF_OK, put_text(p.s, "k", "x", &e));
    assert_int_equal(access(dead, F_OK), -1);
    assert_int_equal(access(alive, F_OK), 0);
    assert_int_equal(access(young, F_OK), 0);
    (void)close(fd);
}

/* The world's clock, but time flies. */
static uint64_t fast_mono_ms(void *impl)
{
    uint64_t *const now = impl;
    return *now += 1000;
}
static int64_t fast_now(void *impl)
{
    (void)impl;
    return 0;
}
static void fast_sleep(void *impl, uint64_t ms)
{
    uint64_t *const now = impl;
    *now += ms;
}
static void real_random(void *impl, void *ret, size_t len)
{
    (void)impl;
    cf_world_real()->random(NULL, ret, len);
}
static bool never(void *impl)
{
    (void)impl;
    return false;
}

static void gives_up_on_a_stopped_process(void **state)
{
    uint64_t now = 0;
    const cf_world fast = {fast_now, fast_mono_ms, fast_sleep, real_random, never, &now};
    char folder[PATH_SIZE + 64];
    cf_error e = {0};
    CF_CLEANUP(listed_deinit) listed l = {0};
    CF_CLEANUP(place_deinit) place p = {0};
    CF_CLEANUP(cf_store_freep) cf_store *s = NULL;
    place_open(&p, state, "stopped");
    CHECK_ERR("setup", &e, CF_OK, put_text(p.s, "leases/1", "x", &e));
    CHECK_ERR("setup", &e, CF_OK, cf_store_directory_new(NULL, &fast, p.path, &s, &e));
    const int fd = open(below(&p, "leases", folder), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(flock(fd, LOCK_EX), 0);
    CHECK_ERR("list", &e, CF_ERR_LOCKED, list_into(s, "leases/", NULL, NULL, &l, &e));
    CHECK("it says why", strstr(e.message, "was locked by another process") != NULL);
    CHECK_ERR("overwrite", &e, CF_ERR_LOCKED, put_text(s, "leases/1", "y", &e));
    CHECK("not overwritten", holds(s, "leases/1", cf_slice_str("x")));
    (void)close(fd);
    CHECK_ERR("free again", &e, CF_OK, put_text(s, "leases/1", "y", &e));
}

static void tells_this_machines_time_when_it_must(void **state)
{
    char path[PATH_SIZE + 64];
    cf_error e = {0};
    int64_t now = 0;
    CF_CLEANUP(place_deinit) place p = {0};
    place_open(&p, state, "readonly");
    write_file(below(&p, ".chunkferry-tmp", path),
               "in the way: no file can be made"); /* root ignores modes */
    const cf_err err = p.s->ops->now_utc_ms(p.s, &now, &e);
    CHECK("no time out of nothing", err != CF_OK);
    assert_int_equal(unlink(path), 0);
    CHECK_ERR("time", &e, CF_OK, p.s->ops->now_utc_ms(p.s, &now, &e));
    CHECK("time", llabs(now - (int64_t)time(NULL) * 1000) < 5000);
}

/* ---- other processes ---- */

enum { PROCESSES = 8, ROUNDS = 12, BODY_LEN = 30000 };

/* In a child: wait for the start, create, tell by exit code. */
static void child_create(const char *path, const char *key, uint32_t seed, int start_fd)
{
    static const cf_put_opts opts = {.create_only = true};
    uint8_t body[BODY_LEN];
    char go = 0;
    cf_store *s = NULL;
    fill(body, sizeof(body), seed);
    if (cf_store_directory_new(NULL, NULL, path, &s, NULL) != CF_OK || read(start_fd, &go, 1) < 0)
        _exit(99);
    const cf_err err = s->ops->put(s, key, cf_slice_of(body, sizeof(body)), &opts, NULL, NULL);
    cf_store_free(s);
    _exit(err == CF_OK ? 0 : err == CF_ERR_EXISTS ? 1 : 98);
}

static void race_processes(const place *p, unsigned round)
{
    int start[2];
    pid_t pids[PROCESSES];
    char key[64];
    uint8_t body[BODY_LEN];
    int winners = 0;
    uint32_t winner = 0;
    (void)snprintf(key, sizeof(key), "deep/%u/race", round);
    assert_int_equal(pipe(start), 0);
    for (uint32_t i = 0; i < PROCESSES; i++) {
        pids[i] = fork();
        assert_true(pids[i] >= 0);
        if (pids[i] == 0) {
            (void)close(start[1]);
            child_create(p->path, key, round * PROCESSES + i, start[0]);
        }
    }
    (void)close(start[0]);
    (void)close(start[1]); /* all reads end at once */
    for (uint32_t i = 0; i < PROCESSES; i++) {
        int status = 0;
        assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) <= 1);
        winners += WEXITSTATUS(status) == 0;
        winner = WEXITSTATUS(status) == 0 ? round * PROCESSES + i : winner;
    }
    assert_int_equal(winners, 1);
    fill(body, sizeof(body), winner);
    CHECK("the winner's bytes, whole", holds(p->s, key, cf_slice_of(body, sizeof(body))));
}

static void lets_one_process_win(void **state)
{
    CF_CLEANUP(place_deinit) place p = {0};
    place_open(&p, state, "processes");
    for (unsigned round = 0; round < ROUNDS; round++)
        race_processes(&p, round);
}

/* Puts and deletes for ever; object n holds fill(seed n). */
static void child_write_for_ever(const char *path)
{
    static uint8_t body[BODY_LEN];
    cf_store *s = NULL;
    if (cf_store_directory_new(NULL, NULL, path, &s, NULL) != CF_OK)
        _exit(99);
    for (uint32_t n = 0;; n++) {
        char key[64];
        const char *const keys[] = {key};
        const cf_put_opts opts = {.create_only = n % 2 == 0};
        (void)snprintf(key, sizeof(key), "n/%u/o-%u", n % 7, n % 50);
        fill(body, sizeof(body), n % 50);
        if (n % 5 == 0)
            (void)!s->ops->delete_many(s, keys, 1, NULL, NULL);
        (void)!s->ops->put(s, key, cf_slice_of(body, sizeof(body)), &opts, NULL, NULL);
    }
}

typedef struct wholeness {
    cf_store *s;
    size_t count, broken;
} wholeness;

static cf_err check_whole(void *impl, const cf_store_entry *entry, bool *ret_stop, cf_error *e)
{
    static uint8_t body[BODY_LEN];
    wholeness *const w = impl;
    const char *const dash = strchr(entry->key, '-');
    (void)ret_stop;
    (void)e;
    fill(body, sizeof(body), dash == NULL ? 0 : (uint32_t)strtoul(dash + 1, NULL, 10));
    w->count++;
    w->broken += !holds(w->s, entry->key, cf_slice_of(body, sizeof(body)));
    return CF_OK;
}

static void survives_a_kill_at_any_moment(void **state)
{
    enum { KILLS = 25 };
    size_t seen = 0;
    CF_CLEANUP(place_deinit) place p = {0};
    place_open(&p, state, "kills");
    for (int i = 0; i < KILLS; i++) {
        cf_error e = {0};
        const pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0)
            child_write_for_ever(p.path);
        const struct timespec wait = {.tv_nsec = 5000000 + i * 1700000};
        (void)nanosleep(&wait, NULL);
        assert_int_equal(kill(pid, SIGKILL), 0);
        assert_int_equal(waitpid(pid, NULL, 0), pid);
        wholeness w = {.s = p.s};
        CHECK_ERR("list after a kill", &e, CF_OK,
                  p.s->ops->list(p.s, "", NULL, NULL, check_whole, &w, &e));
        CHECK("all that is listed is whole", w.broken == 0);
        seen += w.count;
        CHECK_ERR("no repair is needed", &e, CF_OK, put_text(p.s, "after", "x", &e));
        CHECK_ERR("no repair is needed", &e, CF_OK,
                  p.s->ops->delete_many(p.s, (const char *const[]){"after"}, 1, NULL, &e));
    }
    CHECK("something was written", seen > 0);
}

int main(void)
{
    char path[TMP_PATH_SIZE];
    if (!tmp_make(path))
        return 1;
    struct CMUnitTest tests[] = {
        cmocka_unit_test(makes_private_files_and_folders),
        cmocka_unit_test(refuses_paths),
        cmocka_unit_test(follows_a_link_to_the_place_only),
        cmocka_unit_test(leaves_foreign_files_alone),
        cmocka_unit_test(keeps_objects_and_folders_apart),
        cmocka_unit_test(removes_folders_that_became_empty),
        cmocka_unit_test(sweeps_leftovers),
        cmocka_unit_test(gives_up_on_a_stopped_process),
        cmocka_unit_test(tells_this_machines_time_when_it_must),
        cmocka_unit_test(lets_one_process_win),
        cmocka_unit_test(survives_a_kill_at_any_moment),
    };
    for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++)
        tests[i].initial_state = path;
    const int failed = cmocka_run_group_tests_name("directory", tests, NULL, NULL);
    tmp_remove(path);
    return failed;
}
