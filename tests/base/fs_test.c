/* SPDX-License-Identifier: Apache-2.0
 *
 * The real filesystem, in a directory of its own: each member, and each kind of refusal with its
 * words.
 */
#include "s3/base/fs.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "s3/base/alloc.h"
#include "s3/base/cleanup.h"
#include "s3/buf.h"

typedef struct box {
    const cf_fs *fs;
    int dir; /* owned */
    char path[64];
} box;

static void box_init(box *b)
{
    *b = (box){.fs = cf_fs_real(), .dir = -1, .path = "/tmp/cf-fs-XXXXXX"};
    assert_non_null(mkdtemp(b->path));
    assert_int_equal(b->fs->ops->dir_open(b->fs, CF_FS_CWD, b->path, &b->dir, NULL), CF_OK);
}

static void box_deinit(box *b)
{
    CF_CLEANUP(cf_names_deinit) cf_names names = {0};
    if (b->fs->ops->list(b->fs, b->dir, &names, NULL) == CF_OK)
        for (size_t i = 0; i < names.count; i++)
            if (unlinkat(b->dir, cf_names_at(&names, i), 0) != 0)
                (void)unlinkat(b->dir, cf_names_at(&names, i), AT_REMOVEDIR);
    cf_fd_closep(&b->dir);
    (void)rmdir(b->path);
}

static int create(const box *b, const char *name, const char *text)
{
    int fd = -1;
    assert_int_equal(b->fs->ops->file_open(b->fs, b->dir, name, CF_FS_CREATE_NEW, &fd, NULL),
                     CF_OK);
    assert_int_equal(b->fs->ops->pwrite(b->fs, fd, cf_slice_str(text), 0, NULL), CF_OK);
    return fd;
}

static void test_file(void **state)
{
    (void)state;
    CF_CLEANUP(box_deinit) box b;
    cf_error e = {0};
    cf_stat st = {0};
    char text[16] = "";
    size_t len = 0;
    uint64_t free_bytes = 0;
    box_init(&b);
    const cf_fs_ops *const o = b.fs->ops;
    CF_CLEANUP(cf_fd_closep) int fd = create(&b, "a", "hello");
    assert_true((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
    assert_int_equal(o->pwrite(b.fs, fd, cf_slice_str("!"), 7, &e), CF_OK);
    assert_int_equal(o->pread(b.fs, fd, text, sizeof(text), 0, &len, &e), CF_OK);
    assert_int_equal(len, 8);
    assert_memory_equal(text, "hello\0\0!", 8);
    assert_int_equal(o->pread(b.fs, fd, text, sizeof(text), 8, &len, &e), CF_OK);
    assert_int_equal(len, 0);
    assert_int_equal(o->pread(b.fs, fd, text, 1, UINT64_MAX, &len, &e), CF_ERR_IO);
    assert_int_equal(o->pwrite(b.fs, fd, cf_slice_str("!"), UINT64_MAX, &e), CF_ERR_TOO_LARGE);
    assert_int_equal(o->truncate(b.fs, fd, 2, &e), CF_OK);
    assert_int_equal(o->chmod_fd(b.fs, fd, 0640, &e), CF_OK);
    assert_int_equal(o->utime_fd(b.fs, fd, -1, &e), CF_OK);
    assert_int_equal(o->stat_fd(b.fs, fd, &st, &e), CF_OK);
    assert_int_equal(st.type, CF_FILE_REGULAR);
    assert_int_equal(st.size_bytes, 2);
    assert_int_equal(st.mode, 0640);
    assert_true(st.mtime_ns == -1);
    assert_int_equal(o->chown_fd(b.fs, fd, st.uid, st.gid, &e), CF_OK);
    assert_int_equal(o->sync(b.fs, fd, &e), CF_OK);
    assert_int_equal(o->sync(b.fs, b.dir, &e), CF_OK);
    assert_int_equal(o->sync_fs(b.fs, b.dir, &e), CF_OK);
    assert_int_equal(o->free_bytes(b.fs, b.dir, &free_bytes, &e), CF_OK);
    assert_true(free_bytes > 0);
    assert_int_equal(o->free_bytes(b.fs, CF_FS_CWD, &free_bytes, &e), CF_OK);
    const int closed = fd;
    assert_int_equal(o->close(b.fs, fd, &e), CF_OK);
    fd = -1;
    assert_int_equal(o->close(b.fs, closed, &e), CF_ERR_IO);
    assert_string_equal(e.message, "close 'file': Bad file descriptor");
}

/* Links have no descriptor: owner and time of the name itself, never of what it points to. */
static void test_link_and_holes(void **state)
{
    (void)state;
    CF_CLEANUP(box_deinit) box b;
    cf_error e = {0};
    cf_stat st = {0}, pointed = {0};
    uint64_t at = 0;
    box_init(&b);
    const cf_fs_ops *const o = b.fs->ops;
    CF_CLEANUP(cf_fd_closep) int fd = create(&b, "a", "hello");
    assert_int_equal(o->symlink_at(b.fs, "a", b.dir, "l", &e), CF_OK);
    assert_int_equal(o->stat_fd(b.fs, fd, &pointed, &e), CF_OK);
    assert_int_equal(o->utime_at(b.fs, b.dir, "l", -1234567890123456789, &e), CF_OK);
    assert_int_equal(o->chown_at(b.fs, b.dir, "l", pointed.uid, pointed.gid, &e), CF_OK);
    assert_int_equal(o->stat_at(b.fs, b.dir, "l", &st, &e), CF_OK);
    assert_int_equal(st.type, CF_FILE_SYMLINK);
    assert_true(st.mtime_ns == -1234567890123456789);
    assert_int_equal(o->stat_fd(b.fs, fd, &st, &e), CF_OK);
    assert_true(st.mtime_ns == pointed.mtime_ns && st.ctime_ns == pointed.ctime_ns);
    assert_int_equal(o->utime_at(b.fs, b.dir, "none", 0, &e), CF_ERR_NOT_FOUND);
    assert_int_equal(o->chown_at(b.fs, b.dir, "none", 0, 0, &e), CF_ERR_NOT_FOUND);

    assert_int_equal(o->truncate(b.fs, fd, 64 << 20, &e), CF_OK);
    assert_int_equal(o->seek_data(b.fs, fd, 0, &at, &e), CF_OK);
    assert_int_equal(at, 0);
    assert_int_equal(o->seek_data(b.fs, fd, 32 << 20, &at, &e), CF_OK);
    assert_true(at == 32 << 20 || at == 64 << 20); /* a filesystem without holes says the first */
    assert_int_equal(o->seek_data(b.fs, fd, UINT64_MAX, &at, &e), CF_OK);
    assert_true(at == UINT64_MAX);
    assert_int_equal(o->unlink_at(b.fs, b.dir, "a", &e), CF_OK);
    assert_int_equal(o->stat_fd(b.fs, fd, &st, &e), CF_OK);
    assert_int_equal(st.links_total, 0);
}

static void test_names(void **state)
{
    (void)state;
    CF_CLEANUP(box_deinit) box b;
    CF_CLEANUP(cf_names_deinit) cf_names names = {0};
    static const char *const sorted[] = {"A", "a", "a-", "a.", "ab", "b", "\xC3\xA9"};
    box_init(&b);
    for (size_t i = 7; i > 0; i--) {
        CF_CLEANUP(cf_fd_closep) int fd = create(&b, sorted[i - 1], "");
        assert_true(fd >= 0);
    }
    for (int again = 0; again < 2; again++) { /* the descriptor's position does not count */
        cf_names_deinit(&names);
        assert_int_equal(b.fs->ops->list(b.fs, b.dir, &names, NULL), CF_OK);
        assert_int_equal(names.count, 7);
        for (size_t i = 0; i < 7; i++)
            assert_string_equal(cf_names_at(&names, i), sorted[i]);
    }
    unsigned long n = 0;
    cf_err err = CF_ERR_NO_MEMORY;
    while (err == CF_ERR_NO_MEMORY) {
        CF_CLEANUP(cf_names_deinit) cf_names torture = {0};
        cf_alloc_fail_at(++n);
        err = b.fs->ops->list(b.fs, b.dir, &torture, NULL);
        cf_alloc_fail_at(0);
    }
    assert_int_equal(err, CF_OK);
    assert_int_equal(n, 3);
}

static void test_many_names(void **state)
{
    (void)state;
    CF_CLEANUP(box_deinit) box b;
    CF_CLEANUP(cf_names_deinit) cf_names names = {0};
    box_init(&b);
    for (int i = 2999; i >= 0; i--) {
        char name[32];
        (void)snprintf(name, sizeof(name), "chunk-%06d.000000", i);
        CF_CLEANUP(cf_fd_closep) int fd = create(&b, name, "");
        assert_true(fd >= 0);
    }
    assert_int_equal(b.fs->ops->list(b.fs, b.dir, &names, NULL), CF_OK);
    assert_int_equal(names.count, 3000);
    assert_string_equal(cf_names_at(&names, 0), "chunk-000000.000000");
    assert_string_equal(cf_names_at(&names, 2999), "chunk-002999.000000");
}

static void test_moves(void **state)
{
    (void)state;
    CF_CLEANUP(box_deinit) box b;
    cf_error e = {0};
    cf_stat st = {0};
    char target[8];
    box_init(&b);
    const cf_fs_ops *const o = b.fs->ops;
    CF_CLEANUP(cf_fd_closep) int fd = create(&b, "a", "1");
    assert_true(fd >= 0);
    assert_int_equal(o->link_at(b.fs, b.dir, "a", "b", &e), CF_OK);
    assert_int_equal(o->link_at(b.fs, b.dir, "a", "b", &e), CF_ERR_EXISTS);
    assert_string_equal(e.message, "link to 'b': File exists");
    assert_int_equal(o->rename_at(b.fs, b.dir, "a", "c", &e), CF_OK);
    assert_int_equal(o->rename_at(b.fs, b.dir, "a", "c", &e), CF_ERR_NOT_FOUND);
    assert_int_equal(o->mkdir_at(b.fs, b.dir, "d", 0700, &e), CF_OK);
    assert_int_equal(o->mkdir_at(b.fs, b.dir, "d", 0700, &e), CF_ERR_EXISTS);
    assert_int_equal(o->symlink_at(b.fs, "target7", b.dir, "l", &e), CF_OK);
    assert_int_equal(o->stat_at(b.fs, b.dir, "l", &st, &e), CF_OK);
    assert_int_equal(st.type, CF_FILE_SYMLINK);
    assert_int_equal(o->readlink_at(b.fs, b.dir, "l", target, sizeof(target), &e), CF_OK);
    assert_string_equal(target, "target7");
    assert_int_equal(o->readlink_at(b.fs, b.dir, "l", target, 7, &e), CF_ERR_TOO_LARGE);
    assert_int_equal(o->rmdir_at(b.fs, b.dir, "d", &e), CF_OK);
    assert_int_equal(o->rmdir_at(b.fs, b.dir, "d", &e), CF_ERR_NOT_FOUND);
    assert_int_equal(o->unlink_at(b.fs, b.dir, "b", &e), CF_OK);
    assert_int_equal(o->unlink_at(b.fs, b.dir, "b", &e), CF_ERR_NOT_FOUND);
    assert_string_equal(e.message, "remove 'b': No such file or directory");
}

static void test_refused(void **state)
{
    (void)state;
    CF_CLEANUP(box_deinit) box b;
    cf_error e = {0};
    CF_CLEANUP(cf_fd_closep) int fd = -1;
    box_init(&b);
    const cf_fs_ops *const o = b.fs->ops;
    assert_int_equal(o->file_open(b.fs, b.dir, "no", CF_FS_READ, &fd, &e), CF_ERR_NOT_FOUND);
    assert_string_equal(e.message, "open 'no': No such file or directory");
    fd = create(&b, "a", "1");
    cf_fd_closep(&fd);
    assert_int_equal(o->file_open(b.fs, b.dir, "a", CF_FS_CREATE_NEW, &fd, &e), CF_ERR_EXISTS);
    assert_int_equal(o->symlink_at(b.fs, "a", b.dir, "l", &e), CF_OK);
    assert_int_equal(o->file_open(b.fs, b.dir, "l", CF_FS_READ, &fd, &e), CF_ERR_IO);
    assert_string_equal(e.message, "open 'l': a symbolic link is in the way");
    assert_int_equal(o->dir_open(b.fs, b.dir, "l", &fd, &e), CF_ERR_IO);
    assert_string_equal(e.message, "open directory 'l': a symbolic link is in the way");
    assert_int_equal(o->dir_open(b.fs, b.dir, "a", &fd, &e), CF_ERR_IO);
    assert_string_equal(e.message, "open directory 'a': not a directory");
    assert_int_equal(o->file_open(b.fs, b.dir, "a/b", CF_FS_READ, &fd, &e), CF_ERR_NOT_FOUND);
    assert_int_equal(fd, -1);
    /* A fifo must not stop us for ever. */
    assert_int_equal(mkfifoat(b.dir, "f", 0600), 0);
    assert_int_equal(o->file_open(b.fs, b.dir, "f", CF_FS_READ, &fd, &e), CF_OK);
    cf_fd_closep(&fd);
    /* /dev/full: a disk without room. */
    assert_int_equal(o->file_open(b.fs, CF_FS_CWD, "/dev/full", CF_FS_UPDATE, &fd, &e), CF_OK);
    assert_int_equal(o->pwrite(b.fs, fd, cf_slice_str("x"), 0, &e), CF_ERR_NO_SPACE);
    assert_string_equal(e.message, "write '/dev/full': No space left on device");
}

static void test_lock(void **state)
{
    (void)state;
    CF_CLEANUP(box_deinit) box b;
    cf_error e = {0};
    box_init(&b);
    const cf_fs_ops *const o = b.fs->ops;
    CF_CLEANUP(cf_fd_closep) int one = create(&b, "a", "");
    CF_CLEANUP(cf_fd_closep) int two = -1;
    assert_int_equal(o->file_open(b.fs, b.dir, "a", CF_FS_READ, &two, &e), CF_OK);
    assert_int_equal(o->lock(b.fs, one, CF_FS_LOCK_SHARED, &e), CF_OK);
    assert_int_equal(o->lock(b.fs, two, CF_FS_LOCK_SHARED, &e), CF_OK);
    assert_int_equal(o->lock(b.fs, two, CF_FS_LOCK_EXCLUSIVE, &e), CF_ERR_LOCKED);
    assert_int_equal(o->lock(b.fs, one, CF_FS_LOCK_NONE, &e), CF_OK);
    assert_int_equal(o->lock(b.fs, two, CF_FS_LOCK_EXCLUSIVE, &e), CF_OK);
}

static void test_read_small(void **state)
{
    (void)state;
    CF_CLEANUP(box_deinit) box b;
    CF_CLEANUP(cf_buf_deinit) cf_buf exact = {0};
    CF_CLEANUP(cf_buf_deinit) cf_buf small = {0};
    cf_error e = {0};
    box_init(&b);
    CF_CLEANUP(cf_fd_closep) int fd = create(&b, "a", "12345");
    assert_true(fd >= 0);
    cf_buf_init(&exact, 5);
    cf_buf_init(&small, 4);
    assert_int_equal(cf_fs_read_small(b.fs, b.dir, "a", &exact, &e), CF_OK);
    assert_true(cf_slice_eq(cf_buf_slice(&exact), cf_slice_str("12345")));
    assert_int_equal(cf_fs_read_small(b.fs, b.dir, "a", &small, &e), CF_ERR_TOO_LARGE);
    assert_string_equal(e.message, "file 'a' has more than the 4 bytes allowed");
    assert_int_equal(small.len, 0);
    assert_int_equal(cf_fs_read_small(b.fs, b.dir, "b", &small, &e), CF_ERR_NOT_FOUND);
    assert_int_equal(cf_fs_read_small(b.fs, CF_FS_CWD, b.path, &small, &e), CF_ERR_IO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_file),           cmocka_unit_test(test_names),
        cmocka_unit_test(test_link_and_holes), cmocka_unit_test(test_many_names),
        cmocka_unit_test(test_moves),          cmocka_unit_test(test_refused),
        cmocka_unit_test(test_lock),           cmocka_unit_test(test_read_small),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
