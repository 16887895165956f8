/* SPDX-License-Identifier: Apache-2.0
 *
 * Filesystem seam, by directory descriptor. The real one is cf_fs_real(); tests decorate it
 * (a fault at the nth call, another process that acts between two calls, a full disk).
 *
 * Every open is O_CLOEXEC and, for the last component, O_NOFOLLOW. Names are single components or
 * relative paths without "..", checked by the caller. Errors: CF_ERR_NOT_FOUND, CF_ERR_EXISTS,
 * CF_ERR_ACCESS, CF_ERR_NO_SPACE, else CF_ERR_IO; the message names the file and the reason.
 * Threads: all members may be called from any thread.
 */
#ifndef S3_BASE_FS_H
#define S3_BASE_FS_H

#include <stdint.h>

#include "s3/err.h"
#include "s3/slice.h"

typedef enum cf_file_type {
    CF_FILE_REGULAR,
    CF_FILE_DIR,
    CF_FILE_SYMLINK,
    CF_FILE_OTHER
} cf_file_type;

typedef struct cf_stat {
    cf_file_type type;
    uint64_t size_bytes;
    uint64_t allocated_bytes; /* st_blocks * 512 */
    uint64_t ino;
    uint64_t dev;
    uint64_t links_total;       /* 0: removed, but still open */
    int64_t mtime_ns, ctime_ns; /* years 1677 to 2262; what is outside is the nearest of them */
    uint32_t mode;              /* permission bits only */
    uint32_t uid;
    uint32_t gid;
} cf_stat;

/* Names of a directory, sorted by bytes, without "." and "..". One allocation, offsets into it. */
typedef struct cf_names {
    char *text;       /* owned: NUL-terminated names one after the other */
    uint32_t *offset; /* owned: count entries */
    size_t count;
} cf_names;
void cf_names_deinit(cf_names *n);
static inline const char *cf_names_at(const cf_names *n, size_t i)
{
    return n->text + n->offset[i];
}

enum {
    CF_DIR_ENTRY_TOTAL_MAX = 1200000
}; /* ours: three times the 400,000 chunks a node can have */

typedef enum cf_fs_open {
    CF_FS_READ,       /* O_RDONLY */
    CF_FS_CREATE_NEW, /* O_RDWR | O_CREAT | O_EXCL, mode 0600 */
    CF_FS_UPDATE,     /* O_RDWR, must exist */
} cf_fs_open;

typedef enum cf_fs_lock { CF_FS_LOCK_NONE, CF_FS_LOCK_SHARED, CF_FS_LOCK_EXCLUSIVE } cf_fs_lock;

typedef struct cf_fs cf_fs;
typedef struct cf_fs_ops {
    /* dir_fd CF_FS_CWD: relative to the working directory; path may then be absolute. */
    cf_err (*dir_open)(const cf_fs *fs, int dir_fd, const char *path, int *ret_fd, cf_error *e);
    cf_err (*file_open)(const cf_fs *fs, int dir_fd, const char *name, cf_fs_open how, int *ret_fd,
                        cf_error *e);
    cf_err (*close)(const cf_fs *fs, int fd, cf_error *e);
    cf_err (*stat_at)(const cf_fs *fs, int dir_fd, const char *name, cf_stat *ret,
                      cf_error *e); /* no follow */
    cf_err (*stat_fd)(const cf_fs *fs, int fd, cf_stat *ret, cf_error *e);
    cf_err (*list)(const cf_fs *fs, int dir_fd, cf_names *ret, cf_error *e);
    /* Reads until len or the end of the file; *ret_len < len only at the end. */
    cf_err (*pread)(const cf_fs *fs, int fd, void *ret, size_t len, uint64_t offset,
                    size_t *ret_len, cf_error *e);
    cf_err (*pwrite)(const cf_fs *fs, int fd, cf_slice s, uint64_t offset,
                     cf_error *e); /* all of it */
    /* From here on what is read and written goes around the page cache, or (false) through it again.
     * Never a failure: where the filesystem cannot, and from the first pwrite on whose memory, offset
     * or length is no multiple of the disk's blocks (4096 is one of all), it goes through it. */
    void (*set_direct)(const cf_fs *fs, int fd, bool on);
    cf_err (*truncate)(const cf_fs *fs, int fd, uint64_t size_bytes, cf_error *e);
    cf_err (*sync)(const cf_fs *fs, int fd, cf_error *e); /* file or directory */
    /* All of the filesystem that fd is on: one wait instead of one a file. */
    cf_err (*sync_fs)(const cf_fs *fs, int fd, cf_error *e);
    cf_err (*mkdir_at)(const cf_fs *fs, int dir_fd, const char *name, uint32_t mode, cf_error *e);
    cf_err (*rename_at)(const cf_fs *fs, int dir_fd, const char *from, const char *to, cf_error *e);
    /* Hard link without overwriting: CF_ERR_EXISTS. */
    cf_err (*link_at)(const cf_fs *fs, int dir_fd, const char *from, const char *to, cf_error *e);
    cf_err (*unlink_at)(const cf_fs *fs, int dir_fd, const char *name, cf_error *e);
    cf_err (*rmdir_at)(const cf_fs *fs, int dir_fd, const char *name, cf_error *e);
    cf_err (*readlink_at)(const cf_fs *fs, int dir_fd, const char *name, char *ret, size_t size,
                          cf_error *e);
    cf_err (*symlink_at)(const cf_fs *fs, const char *target, int dir_fd, const char *name,
                         cf_error *e);
    cf_err (*chmod_fd)(const cf_fs *fs, int fd, uint32_t mode, cf_error *e);
    cf_err (*chown_fd)(const cf_fs *fs, int fd, uint32_t uid, uint32_t gid, cf_error *e);
    cf_err (*utime_fd)(const cf_fs *fs, int fd, int64_t mtime_ns, cf_error *e);
    /* Of the name itself, also when it is a symbolic link: those have no descriptor. */
    cf_err (*chown_at)(const cf_fs *fs, int dir_fd, const char *name, uint32_t uid, uint32_t gid,
                       cf_error *e);
    cf_err (*utime_at)(const cf_fs *fs, int dir_fd, const char *name, int64_t mtime_ns,
                       cf_error *e);
    /* First offset >= offset that holds data, size_bytes of the file when there is none; offset
     * itself where the filesystem knows of no holes. */
    cf_err (*seek_data)(const cf_fs *fs, int fd, uint64_t offset, uint64_t *ret, cf_error *e);
    /* flock(2) without waiting: CF_ERR_LOCKED when somebody holds it otherwise. */
    cf_err (*lock)(const cf_fs *fs, int fd, cf_fs_lock how, cf_error *e);
    cf_err (*free_bytes)(const cf_fs *fs, int dir_fd, uint64_t *ret_bytes, cf_error *e);
} cf_fs_ops;

struct cf_fs {
    const cf_fs_ops *ops; /* no member is NULL */
    void *impl;
};

enum { CF_FS_CWD = -100 }; /* AT_FDCWD */

const cf_fs *cf_fs_real(void); /* static */

/* Whoever starts us may have closed 0, 1 or 2: a file of ours would get that number, and what is
 * printed would go into it. Each that is missing becomes /dev/null. First thing in main(). */
void cf_fs_fill_standard(void);

/* Small helpers over the seam. */
/* Whole small file into an initialised buffer (its max is the limit): CF_ERR_TOO_LARGE above it. */
struct cf_buf;
CF_NODISCARD cf_err cf_fs_read_small(const cf_fs *fs, int dir_fd, const char *name,
                                     struct cf_buf *ret, cf_error *e);

#endif
