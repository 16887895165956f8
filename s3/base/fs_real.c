/* SPDX-License-Identifier: Apache-2.0
 *
 * The filesystem seam over Linux system calls.
 *
 * Invariant: the last component of a name is never followed when it is a symbolic link, and no
 * descriptor is inherited by a child.
 */
#include "s3/base/fs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/types.h>
#include <unistd.h>

#include "s3/base/alloc.h"
#include "s3/base/cleanup.h"

_Static_assert(CF_FS_CWD == AT_FDCWD, "the seam's working directory is the kernel's");

typedef struct errno_row {
    int number;
    cf_err code;
} errno_row;

static const errno_row errno_rows[] = {
    {ENOENT, CF_ERR_NOT_FOUND},
    {ENOTDIR, CF_ERR_NOT_FOUND},
    {EEXIST, CF_ERR_EXISTS},
    {ENOTEMPTY, CF_ERR_EXISTS},
    {EACCES, CF_ERR_ACCESS},
    {EPERM, CF_ERR_ACCESS},
    {EROFS, CF_ERR_ACCESS},
    {ENOSPC, CF_ERR_NO_SPACE},
    {EDQUOT, CF_ERR_NO_SPACE},
    {EFBIG, CF_ERR_TOO_LARGE},
    {ENOMEM, CF_ERR_NO_MEMORY},
    {EWOULDBLOCK, CF_ERR_LOCKED},
    /* Of the process, not of the file: whoever passes over a file he cannot read must not pass over
     * all of them. */
    {EMFILE, CF_ERR_NO_MEMORY},
    {ENFILE, CF_ERR_NO_MEMORY},
};

/* "open 'name': No such file or directory". */
static cf_err fs_fail(int number, const char *verb, const char *name, cf_error *e)
{
    char text[128];
    cf_err code = CF_ERR_IO;
    for (size_t i = 0; i < sizeof(errno_rows) / sizeof(errno_rows[0]); i++)
        if (errno_rows[i].number == number)
            code = errno_rows[i].code;
    /* banned-ok: the one call for the text of an errno; this is the GNU form, which returns the
     * text. */
    const char *const reason =
        number == ELOOP ? "a symbolic link is in the way" : strerror_r(number, text, sizeof(text));
    return cf_error_set(e, code, __FILE__, __LINE__, "%s '%s': %s", verb, name, reason);
}

/* The same for a descriptor: its name is asked from the kernel, so that the message tells the file.
 */
static cf_err fs_fail_fd(int number, const char *verb, int fd, cf_error *e)
{
    enum { NAME_SIZE = 1024 };
    char link[64];
    char name[NAME_SIZE];
    (void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    const ssize_t n = e == NULL ? -1 : readlink(link, name, sizeof(name) - 1);
    if (n >= 0)
        name[n] = '\0';
    else
        (void)snprintf(name, sizeof(name), "descriptor %d", fd);
    return fs_fail(number, verb, name, e);
}

static int open_again(int dir_fd, const char *path, int flags, mode_t mode)
{
    int fd = -1;
    do {
        fd = openat(dir_fd, path, flags | O_CLOEXEC | O_NOFOLLOW, mode);
    } while (fd < 0 && errno == EINTR);
    return fd;
}

static cf_err real_dir_open(const cf_fs *fs, int dir_fd, const char *path, int *ret_fd, cf_error *e)
{
    (void)fs;
    const int fd = open_again(dir_fd, path, O_RDONLY | O_DIRECTORY, 0);
    /* O_DIRECTORY with O_NOFOLLOW answers ENOTDIR for a link: the same refusal, a worse reason. */
    struct stat st;
    const int number = fd < 0 ? errno : 0;
    if (number == ENOTDIR && fstatat(dir_fd, path, &st, AT_SYMLINK_NOFOLLOW) == 0)
        return S_ISLNK(st.st_mode) ? fs_fail(ELOOP, "open directory", path, e)
                                   : cf_error_set(e, CF_ERR_IO, __FILE__, __LINE__,
                                                  "open directory '%s': not a directory", path);
    if (fd < 0)
        return fs_fail(number, "open directory", path, e);
    *ret_fd = fd;
    return CF_OK;
}

static cf_err real_file_open(const cf_fs *fs, int dir_fd, const char *name, cf_fs_open how,
                             int *ret_fd, cf_error *e)
{
    static const int flags[] = {
        /* O_NONBLOCK: a fifo under a name that we expect to be a file must not stop us for ever. */
        [CF_FS_READ] = O_RDONLY | O_NONBLOCK | O_NOCTTY,
        [CF_FS_CREATE_NEW] = O_RDWR | O_CREAT | O_EXCL,
        [CF_FS_UPDATE] = O_RDWR | O_NONBLOCK | O_NOCTTY,
    };
    (void)fs;
    const int fd = open_again(dir_fd, name, flags[how], 0600);
    if (fd < 0)
        return fs_fail(errno, how == CF_FS_CREATE_NEW ? "create" : "open", name, e);
    *ret_fd = fd;
    return CF_OK;
}

static cf_err real_close(const cf_fs *fs, int fd, cf_error *e)
{
    (void)fs;
    /* Linux frees the descriptor also when close fails: a second close could hit another thread's
     * file. */
    if (close(fd) != 0 && errno != EINTR)
        return fs_fail(errno, "close", "file", e);
    return CF_OK;
}

static cf_file_type type_of(mode_t mode)
{
    if (S_ISREG(mode))
        return CF_FILE_REGULAR;
    if (S_ISDIR(mode))
        return CF_FILE_DIR;
    return S_ISLNK(mode) ? CF_FILE_SYMLINK : CF_FILE_OTHER;
}

/* Some filesystems hold times that 64 bits of nanoseconds do not. */
static int64_t ns_of(const struct timespec *t)
{
    int64_t ns = 0;
    if (__builtin_mul_overflow((int64_t)t->tv_sec, INT64_C(1000000000), &ns) ||
        __builtin_add_overflow(ns, (int64_t)t->tv_nsec, &ns))
        return t->tv_sec < 0 ? INT64_MIN : INT64_MAX;
    return ns;
}

static cf_stat stat_of(const struct stat *st)
{
    return (cf_stat){
        .type = type_of(st->st_mode),
        .size_bytes = (uint64_t)st->st_size,
        .allocated_bytes = (uint64_t)st->st_blocks * 512,
        .ino = (uint64_t)st->st_ino,
        .dev = (uint64_t)st->st_dev,
        .links_total = (uint64_t)st->st_nlink,
        .mtime_ns = ns_of(&st->st_mtim),
        .ctime_ns = ns_of(&st->st_ctim),
        .mode = (uint32_t)(st->st_mode & 07777),
        .uid = (uint32_t)st->st_uid,
        .gid = (uint32_t)st->st_gid,
    };
}

static cf_err real_stat_at(const cf_fs *fs, int dir_fd, const char *name, cf_stat *ret, cf_error *e)
{
    (void)fs;
    struct stat st;
    if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
        return fs_fail(errno, "stat", name, e);
    *ret = stat_of(&st);
    return CF_OK;
}

static cf_err real_stat_fd(const cf_fs *fs, int fd, cf_stat *ret, cf_error *e)
{
    (void)fs;
    struct stat st;
    if (fstat(fd, &st) != 0)
        return fs_fail_fd(errno, "stat", fd, e);
    *ret = stat_of(&st);
    return CF_OK;
}

/* Names gathered so far; offsets into text, so that text may move while it grows. */
typedef struct gather {
    cf_names names; /* owned until it is handed over */
    size_t text_len, text_cap, offset_cap;
} gather;

static void gather_deinit(gather *g)
{
    cf_names_deinit(&g->names);
}

static cf_err gather_add(gather *g, const char *name, cf_error *e)
{
    const size_t size = strlen(name) + 1;
    CF_ENSURE(g->names.count < CF_DIR_ENTRY_TOTAL_MAX, e, CF_ERR_TOO_LARGE,
              "a directory has more than %d entries", CF_DIR_ENTRY_TOTAL_MAX);
    if (g->names.count == g->offset_cap) {
        const size_t cap = g->offset_cap == 0 ? 64 : g->offset_cap * 2;
        uint32_t *const offset = cf_realloc(g->names.offset, cap, sizeof(*offset));
        CF_ENSURE(offset != NULL, e, CF_ERR_NO_MEMORY, "allocate %zu names", cap);
        g->names.offset = offset;
        g->offset_cap = cap;
    }
    if (g->text_len + size > g->text_cap) {
        const size_t cap = (g->text_cap == 0 ? 1024 : g->text_cap * 2) + size;
        char *const text = cf_realloc(g->names.text, cap, 1);
        CF_ENSURE(text != NULL, e, CF_ERR_NO_MEMORY, "allocate %zu bytes of names", cap);
        g->names.text = text;
        g->text_cap = cap;
    }
    memcpy(g->names.text + g->text_len, name, size);
    g->names.offset[g->names.count++] = (uint32_t)g->text_len;
    g->text_len += size;
    return CF_OK;
}

/* 1,200,000 names of 256 bytes at most: an offset always fits 32 bits. */
_Static_assert((uint64_t)CF_DIR_ENTRY_TOTAL_MAX * 256 < UINT32_MAX, "offsets of names fit");

static int name_compare(const void *a, const void *b, void *text)
{
    uint32_t at_a = 0;
    uint32_t at_b = 0;
    memcpy(&at_a, a, sizeof(at_a));
    memcpy(&at_b, b, sizeof(at_b));
    return strcmp((const char *)text + at_a,
                  (const char *)text + at_b); /* bytes, unsigned, no locale */
}

static void dir_closep(DIR **dir)
{
    if (*dir != NULL)
        (void)closedir(*dir); /* nothing was written through it: there is no failure to tell of */
}

static cf_err real_list(const cf_fs *fs, int dir_fd, cf_names *ret, cf_error *e)
{
    (void)fs;
    /* A descriptor of its own: closedir closes it, and the caller's position stays where it is. */
    CF_CLEANUP(cf_fd_closep) int fd = open_again(dir_fd, ".", O_RDONLY | O_DIRECTORY, 0);
    if (fd < 0)
        return fs_fail_fd(errno, "list", dir_fd, e);
    CF_CLEANUP(dir_closep) DIR *dir = fdopendir(fd);
    if (dir == NULL)
        return fs_fail_fd(errno, "list", fd, e);
    fd = -1; /* owned by dir now */

    CF_CLEANUP(gather_deinit) gather g = {0};
    for (;;) {
        errno = 0;
        const struct dirent *const entry = readdir(dir);
        if (entry == NULL && errno != 0)
            return fs_fail_fd(errno, "list", dir_fd, e);
        if (entry == NULL)
            break;
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            CF_TRY(gather_add(&g, entry->d_name, e));
    }
    if (g.names.count > 1)
        qsort_r(g.names.offset, g.names.count, sizeof(*g.names.offset), name_compare, g.names.text);
    *ret = g.names;
    g.names = (cf_names){0};
    return CF_OK;
}

static cf_err real_pread(const cf_fs *fs, int fd, void *ret, size_t len, uint64_t offset,
                         size_t *ret_len, cf_error *e)
{
    (void)fs;
    CF_ENSURE(offset <= INT64_MAX && len <= INT64_MAX - offset, e, CF_ERR_IO,
              "read %zu bytes at %llu: beyond what a file can have", len,
              (unsigned long long)offset);
    size_t done = 0;
    while (done < len) {
        const ssize_t n = pread(fd, (uint8_t *)ret + done, len - done, (off_t)(offset + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return fs_fail_fd(errno, "read", fd, e);
        if (n == 0)
            break;
        done += (size_t)n;
    }
    *ret_len = done;
    return CF_OK;
}

static void real_set_direct(const cf_fs *fs, int fd, bool on)
{
    const int flags = fcntl(fd, F_GETFL);

    (void)fs;
    if (flags >= 0)
        (void)fcntl(fd, F_SETFL, on ? flags | O_DIRECT : flags & ~O_DIRECT);
}

static cf_err real_pwrite(const cf_fs *fs, int fd, cf_slice s, uint64_t offset, cf_error *e)
{
    (void)fs;
    CF_ENSURE(offset <= INT64_MAX && s.len <= INT64_MAX - offset, e, CF_ERR_TOO_LARGE,
              "write %zu bytes at %llu: beyond what a file can have", s.len,
              (unsigned long long)offset);
    size_t done = 0;
    bool again = false;
    while (done < s.len) {
        const ssize_t n = pwrite(fd, s.ptr + done, s.len - done, (off_t)(offset + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EINVAL &&
            !again) { /* not aligned, perhaps: the page cache takes it */
            real_set_direct(fs, fd, /* on= */ false);
            again = true;
            continue;
        }
        if (n < 0)
            return fs_fail_fd(errno, "write", fd, e);
        done += (size_t)n;
    }
    return CF_OK;
}

static cf_err real_truncate(const cf_fs *fs, int fd, uint64_t size_bytes, cf_error *e)
{
    (void)fs;
    CF_ENSURE(size_bytes <= INT64_MAX, e, CF_ERR_TOO_LARGE,
              "truncate to %llu: beyond what a file can have", (unsigned long long)size_bytes);
    int rc = -1;
    do {
        rc = ftruncate(fd, (off_t)size_bytes);
    } while (rc != 0 && errno == EINTR);
    return rc == 0 ? CF_OK : fs_fail_fd(errno, "truncate", fd, e);
}

static cf_err real_sync(const cf_fs *fs, int fd, cf_error *e)
{
    (void)fs;
    /* Not repeated after a failure: the kernel may have dropped the dirty pages, and say success.
     */
    return fsync(fd) == 0 ? CF_OK : fs_fail_fd(errno, "sync", fd, e);
}

static cf_err real_sync_fs(const cf_fs *fs, int fd, cf_error *e)
{
    (void)fs;
    return syncfs(fd) == 0 ? CF_OK : fs_fail_fd(errno, "sync the filesystem of", fd, e);
}

static cf_err real_mkdir_at(const cf_fs *fs, int dir_fd, const char *name, uint32_t mode,
                            cf_error *e)
{
    (void)fs;
    return mkdirat(dir_fd, name, (mode_t)mode) == 0 ? CF_OK
                                                    : fs_fail(errno, "make directory", name, e);
}

static cf_err real_rename_at(const cf_fs *fs, int dir_fd, const char *from, const char *to,
                             cf_error *e)
{
    (void)fs;
    return renameat(dir_fd, from, dir_fd, to) == 0 ? CF_OK : fs_fail(errno, "rename to", to, e);
}

static cf_err real_link_at(const cf_fs *fs, int dir_fd, const char *from, const char *to,
                           cf_error *e)
{
    (void)fs;
    return linkat(dir_fd, from, dir_fd, to, 0) == 0 ? CF_OK : fs_fail(errno, "link to", to, e);
}

static cf_err real_unlink_at(const cf_fs *fs, int dir_fd, const char *name, cf_error *e)
{
    (void)fs;
    return unlinkat(dir_fd, name, 0) == 0 ? CF_OK : fs_fail(errno, "remove", name, e);
}

static cf_err real_rmdir_at(const cf_fs *fs, int dir_fd, const char *name, cf_error *e)
{
    (void)fs;
    return unlinkat(dir_fd, name, AT_REMOVEDIR) == 0 ? CF_OK
                                                     : fs_fail(errno, "remove directory", name, e);
}

static cf_err real_readlink_at(const cf_fs *fs, int dir_fd, const char *name, char *ret,
                               size_t size, cf_error *e)
{
    (void)fs;
    const ssize_t n = readlinkat(dir_fd, name, ret, size);
    if (n < 0)
        return fs_fail(errno, "read link", name, e);
    /* A full buffer may have been cut, and has no room for the NUL. */
    CF_ENSURE((size_t)n < size, e, CF_ERR_TOO_LARGE,
              "read link '%s': its target has more than %zu bytes", name, size - 1);
    ret[n] = '\0';
    return CF_OK;
}

static cf_err real_symlink_at(const cf_fs *fs, const char *target, int dir_fd, const char *name,
                              cf_error *e)
{
    (void)fs;
    return symlinkat(target, dir_fd, name) == 0 ? CF_OK : fs_fail(errno, "make link", name, e);
}

static cf_err real_chmod_fd(const cf_fs *fs, int fd, uint32_t mode, cf_error *e)
{
    (void)fs;
    return fchmod(fd, (mode_t)mode) == 0 ? CF_OK : fs_fail_fd(errno, "set mode of", fd, e);
}

static cf_err real_chown_fd(const cf_fs *fs, int fd, uint32_t uid, uint32_t gid, cf_error *e)
{
    (void)fs;
    return fchown(fd, (uid_t)uid, (gid_t)gid) == 0 ? CF_OK
                                                   : fs_fail_fd(errno, "set owner of", fd, e);
}

/* Access time left alone. */
static void times_of(int64_t mtime_ns, struct timespec ret[2])
{
    const int64_t second_ns = 1000000000;
    const int64_t rest_ns = ((mtime_ns % second_ns) + second_ns) % second_ns;
    const int64_t utc_s = mtime_ns / second_ns - (mtime_ns % second_ns < 0 ? 1 : 0);
    ret[0] = (struct timespec){.tv_nsec = UTIME_OMIT};
    ret[1] = (struct timespec){.tv_sec = (time_t)utc_s, .tv_nsec = (long)rest_ns};
}

static cf_err real_utime_fd(const cf_fs *fs, int fd, int64_t mtime_ns, cf_error *e)
{
    (void)fs;
    struct timespec times[2];
    times_of(mtime_ns, times);
    return futimens(fd, times) == 0 ? CF_OK : fs_fail_fd(errno, "set time of", fd, e);
}

static cf_err real_chown_at(const cf_fs *fs, int dir_fd, const char *name, uint32_t uid,
                            uint32_t gid, cf_error *e)
{
    (void)fs;
    return fchownat(dir_fd, name, (uid_t)uid, (gid_t)gid, AT_SYMLINK_NOFOLLOW) == 0
               ? CF_OK
               : fs_fail(errno, "set owner of", name, e);
}

static cf_err real_utime_at(const cf_fs *fs, int dir_fd, const char *name, int64_t mtime_ns,
                            cf_error *e)
{
    (void)fs;
    struct timespec times[2];
    times_of(mtime_ns, times);
    return utimensat(dir_fd, name, times, AT_SYMLINK_NOFOLLOW) == 0
               ? CF_OK
               : fs_fail(errno, "set time of", name, e);
}

static cf_err real_seek_data(const cf_fs *fs, int fd, uint64_t offset, uint64_t *ret, cf_error *e)
{
    (void)fs;
    const off_t at = offset <= INT64_MAX ? lseek(fd, (off_t)offset, SEEK_DATA) : -1;
    if (at >= 0) {
        *ret = (uint64_t)at;
        return CF_OK;
    }
    struct stat st;
    if (errno != ENXIO) { /* EINVAL: it has no such call; what else is wrong, the read tells */
        *ret = offset;
        return CF_OK;
    }
    if (fstat(fd, &st) != 0)
        return fs_fail_fd(errno, "stat", fd, e);
    *ret = (uint64_t)st.st_size > offset ? (uint64_t)st.st_size : offset;
    return CF_OK;
}

static cf_err real_lock(const cf_fs *fs, int fd, cf_fs_lock how, cf_error *e)
{
    static const int operations[] = {
        [CF_FS_LOCK_NONE] = LOCK_UN,
        [CF_FS_LOCK_SHARED] = LOCK_SH | LOCK_NB,
        [CF_FS_LOCK_EXCLUSIVE] = LOCK_EX | LOCK_NB,
    };
    (void)fs;
    int rc = -1;
    do {
        rc = flock(fd, operations[how]);
    } while (rc != 0 && errno == EINTR);
    return rc == 0 ? CF_OK : fs_fail_fd(errno, "lock", fd, e);
}

static cf_err real_free_bytes(const cf_fs *fs, int dir_fd, uint64_t *ret_bytes, cf_error *e)
{
    (void)fs;
    struct statvfs st;
    int rc = -1;
    do {
        rc = dir_fd == CF_FS_CWD ? statvfs(".", &st) : fstatvfs(dir_fd, &st);
    } while (rc != 0 && errno == EINTR);
    if (rc != 0)
        return fs_fail_fd(errno, "ask free space of", dir_fd, e);
    uint64_t bytes = 0;
    if (__builtin_mul_overflow((uint64_t)st.f_bavail, (uint64_t)st.f_frsize, &bytes))
        bytes = UINT64_MAX;
    *ret_bytes = bytes;
    return CF_OK;
}

static const cf_fs_ops real_ops = {
    .dir_open = real_dir_open,
    .file_open = real_file_open,
    .close = real_close,
    .stat_at = real_stat_at,
    .stat_fd = real_stat_fd,
    .list = real_list,
    .pread = real_pread,
    .pwrite = real_pwrite,
    .set_direct = real_set_direct,
    .truncate = real_truncate,
    .sync = real_sync,
    .sync_fs = real_sync_fs,
    .mkdir_at = real_mkdir_at,
    .rename_at = real_rename_at,
    .link_at = real_link_at,
    .unlink_at = real_unlink_at,
    .rmdir_at = real_rmdir_at,
    .readlink_at = real_readlink_at,
    .symlink_at = real_symlink_at,
    .chmod_fd = real_chmod_fd,
    .chown_fd = real_chown_fd,
    .utime_fd = real_utime_fd,
    .chown_at = real_chown_at,
    .utime_at = real_utime_at,
    .seek_data = real_seek_data,
    .lock = real_lock,
    .free_bytes = real_free_bytes,
};

const cf_fs *cf_fs_real(void)
{
    static const cf_fs real = {.ops = &real_ops};
    return &real;
}

void cf_fs_fill_standard(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) == -1 && errno == EBADF)
            CF_CHECK(open("/dev/null", O_RDWR) == fd); /* the lowest that is free */
}
