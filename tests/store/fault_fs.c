/* SPDX-License-Identifier: Apache-2.0
 *
 * Each member counts, maybe fails, and passes on.
 */
#include "tests/store/fault_fs.h"

#include <string.h>

static bool due(const cf_fs *fs, const char *member)
{
    fault_fs *const f = fs->impl;
    if (f->only != NULL && strcmp(f->only, member) != 0)
        return false;
    const bool hit = atomic_fetch_add(&f->calls, 1) + 1 == f->fail_at;
    if (hit)
        f->failed = member;
    return hit;
}

static bool is_after(const cf_fs *fs)
{
    const fault_fs *const f = fs->impl;
    return f->after;
}

static cf_err injected(const cf_fs *fs, const char *member, cf_error *e)
{
    const fault_fs *const f = fs->impl;
    return cf_error_set(e, f->code, __FILE__, __LINE__, "injected into %s", member);
}

/* Does its work also when it fails `after`. */
#define MEMBER(name, args, ...)                                                                    \
    static cf_err fault_##name(const cf_fs *fs, __VA_ARGS__)                                       \
    {                                                                                              \
        const bool hit = due(fs, #name);                                                           \
        if (hit && !is_after(fs))                                                                  \
            return injected(fs, #name, e);                                                         \
        const cf_err err = cf_fs_real()->ops->name args;                                           \
        return hit && err == CF_OK ? injected(fs, #name, e) : err;                                 \
    }
/* Gives something that must be closed or freed: only fails before. */
#define MEMBER_GIVING(name, args, ...)                                                             \
    static cf_err fault_##name(const cf_fs *fs, __VA_ARGS__)                                       \
    {                                                                                              \
        if (due(fs, #name))                                                                        \
            return injected(fs, #name, e);                                                         \
        return cf_fs_real()->ops->name args;                                                       \
    }

MEMBER_GIVING(dir_open, (fs, d, p, r, e), int d, const char *p, int *r, cf_error *e)
MEMBER_GIVING(file_open, (fs, d, n, h, r, e), int d, const char *n, cf_fs_open h, int *r,
              cf_error *e)
MEMBER_GIVING(list, (fs, d, r, e), int d, cf_names *r, cf_error *e)
MEMBER_GIVING(stat_at, (fs, d, n, r, e), int d, const char *n, cf_stat *r, cf_error *e)
MEMBER_GIVING(stat_fd, (fs, f, r, e), int f, cf_stat *r, cf_error *e)
MEMBER_GIVING(pread, (fs, f, r, l, o, g, e), int f, void *r, size_t l, uint64_t o, size_t *g,
              cf_error *e)
MEMBER(pwrite, (fs, f, s, o, e), int f, cf_slice s, uint64_t o, cf_error *e)
MEMBER(truncate, (fs, f, s, e), int f, uint64_t s, cf_error *e)
MEMBER(sync, (fs, f, e), int f, cf_error *e)
MEMBER(sync_fs, (fs, f, e), int f, cf_error *e)
MEMBER(mkdir_at, (fs, d, n, m, e), int d, const char *n, uint32_t m, cf_error *e)
MEMBER(rename_at, (fs, d, a, b, e), int d, const char *a, const char *b, cf_error *e)
MEMBER(link_at, (fs, d, a, b, e), int d, const char *a, const char *b, cf_error *e)
MEMBER(unlink_at, (fs, d, n, e), int d, const char *n, cf_error *e)
MEMBER(rmdir_at, (fs, d, n, e), int d, const char *n, cf_error *e)
MEMBER_GIVING(readlink_at, (fs, d, n, r, s, e), int d, const char *n, char *r, size_t s,
              cf_error *e)
MEMBER(symlink_at, (fs, t, d, n, e), const char *t, int d, const char *n, cf_error *e)
MEMBER(chmod_fd, (fs, f, m, e), int f, uint32_t m, cf_error *e)
MEMBER(chown_fd, (fs, f, u, g, e), int f, uint32_t u, uint32_t g, cf_error *e)
MEMBER(utime_fd, (fs, f, m, e), int f, int64_t m, cf_error *e)
MEMBER(chown_at, (fs, d, n, u, g, e), int d, const char *n, uint32_t u, uint32_t g, cf_error *e)
MEMBER(utime_at, (fs, d, n, m, e), int d, const char *n, int64_t m, cf_error *e)
MEMBER_GIVING(seek_data, (fs, f, o, r, e), int f, uint64_t o, uint64_t *r, cf_error *e)
MEMBER(lock, (fs, f, h, e), int f, cf_fs_lock h, cf_error *e)
MEMBER_GIVING(free_bytes, (fs, d, r, e), int d, uint64_t *r, cf_error *e)

/* A close always closes, whatever it says. */
static cf_err fault_close(const cf_fs *fs, int fd, cf_error *e)
{
    const bool hit = due(fs, "close");
    const cf_err err = cf_fs_real()->ops->close(fs, fd, e);
    return hit ? injected(fs, "close", e) : err;
}

static void fault_set_direct(const cf_fs *fs, int fd, bool on)
{
    cf_fs_real()->ops->set_direct(fs, fd, on);
}

static const cf_fs_ops fault_ops = {
    .dir_open = fault_dir_open,
    .file_open = fault_file_open,
    .close = fault_close,
    .stat_at = fault_stat_at,
    .stat_fd = fault_stat_fd,
    .list = fault_list,
    .pread = fault_pread,
    .pwrite = fault_pwrite,
    .set_direct = fault_set_direct,
    .truncate = fault_truncate,
    .sync = fault_sync,
    .sync_fs = fault_sync_fs,
    .mkdir_at = fault_mkdir_at,
    .rename_at = fault_rename_at,
    .link_at = fault_link_at,
    .unlink_at = fault_unlink_at,
    .rmdir_at = fault_rmdir_at,
    .readlink_at = fault_readlink_at,
    .symlink_at = fault_symlink_at,
    .chmod_fd = fault_chmod_fd,
    .chown_fd = fault_chown_fd,
    .utime_fd = fault_utime_fd,
    .chown_at = fault_chown_at,
    .utime_at = fault_utime_at,
    .seek_data = fault_seek_data,
    .lock = fault_lock,
    .free_bytes = fault_free_bytes,
};

void fault_fs_init(fault_fs *f)
{
    *f = (fault_fs){.fs.ops = &fault_ops};
    f->fs.impl = f;
}

void fault_fs_arm(fault_fs *f, unsigned long fail_at, cf_err code, bool after, const char *only)
{
    atomic_store(&f->calls, 0);
    f->fail_at = fail_at;
    f->code = code;
    f->after = after;
    f->only = only;
    f->failed = NULL;
}
