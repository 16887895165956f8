/* SPDX-License-Identifier: Apache-2.0
 *
 * The parts of the directory store share this; nobody else includes it.
 *
 * Layout: an object is the regular file <path>/<key>. An unfinished one is
 * <path>/CF_STORE_TMP_NAME/<32 hex digits>, flocked by its writer: what is old and not locked is a
 * dead writer's leftover. Durability: file synced before its name appears; after that every folder
 * from the top down to it is synced, also those found there: another process may have made them a
 * moment ago without having synced them yet. Exclusion: overwriting renames over the old name. On
 * some filesystems (btrfs) a folder that is read at that moment may show neither the old nor the
 * new one, so lists hold a shared flock of the folder, renames an exclusive one.
 */
#ifndef SRC_STORE_DIRECTORY_IMPL_H
#define SRC_STORE_DIRECTORY_IMPL_H

#include <pthread.h>

#include "s3/base/fs.h"
#include "s3/pace.h"
#include "s3/world.h"
#include "store/store.h"

enum {
    CF_DIRECTORY_CREATED_MAX = 64, /* ours: more than puts ever run at once */
    CF_DIRECTORY_LOCK_WAIT_MS = 10000,
    CF_DIRECTORY_TRIES_MAX = 16, /* a folder removed under a put by a delete: made again */
    CF_DIRECTORY_GET_BYTES = 256 * 1024,
    /* Written objects from here on are packs, which nobody reads soon: they do not stay in the page
     * cache. What is smaller is what the next run begins with. */
    CF_DIRECTORY_COLD_BYTES = 1024 * 1024,
    CF_DIRECTORY_LEFTOVER_AGE_H = 24,
};

/* A creation of this process: what "ours" means when the same put comes again. */
typedef struct cf_created {
    char id[CF_STORE_ID_LEN + 1];
    uint64_t dev, ino, size_bytes;
    int64_t mtime_ns;
} cf_created;

typedef struct cf_directory {
    cf_store base;
    const cf_fs *fs;
    const cf_world *world;
    cf_pace *pace;        /* borrowed; NULL: none */
    char *path;           /* owned */
    pthread_mutex_t lock; /* of all below */
    int root_fd;          /* -1 before the first use; then open until the end */
    bool swept;           /* leftovers were looked for */
    cf_created created[CF_DIRECTORY_CREATED_MAX];
    size_t created_next;
    cf_store_counts counts;
} cf_directory;

/* A descriptor that is closed through the seam at the end of its scope; .fd -1: none. Only read
 * from, so nothing that its close could say matters. */
typedef struct cf_dir_fd {
    const cf_fs *fs;
    int fd;
} cf_dir_fd;
void cf_dir_fd_closep(cf_dir_fd *f);

pthread_mutex_t *cf_directory_lock(cf_directory *d);
void cf_directory_unlockp(pthread_mutex_t **lock);
/* Holds the lock to the end of the scope. */
#define CF_DIRECTORY_HOLD(d)                                                                       \
    CF_CLEANUP(cf_directory_unlockp)                                                               \
    __attribute__((unused)) pthread_mutex_t *held_ = cf_directory_lock(d)
static inline cf_directory *cf_directory_of(cf_store *s)
{
    return (cf_directory *)(void *)s;
}

/* Counts one operation and gives the top's descriptor, borrowed; CF_ERR_NO_BUCKET when it is not
 * there. */
CF_NODISCARD cf_err cf_directory_enter(cf_directory *d, int *ret_root_fd, cf_error *e);

typedef enum cf_walk {
    CF_WALK_FIND, /* CF_ERR_NOT_FOUND when a folder is not there */
    CF_WALK_MAKE, /* make what is not there */
    CF_WALK_SYNC, /* sync every folder on the way, the top and the last one too */
} cf_walk;
/* Open the folder that holds key, step by step, so that no symbolic link is ever followed. ret->fs
 * must be set. A file where a folder should be: CF_ERR_NOT_FOUND, for MAKE CF_ERR_UNSUPPORTED. A
 * symbolic link: CF_ERR_IO. */
CF_NODISCARD cf_err cf_directory_walk(cf_directory *d, int root_fd, const char *key, cf_walk how,
                                      cf_dir_fd *ret, cf_error *e);
/* The last component: borrowed from key. */
const char *cf_directory_name(const char *key);
/* Is the name an object? CF_ERR_NOT_FOUND also for a folder; CF_ERR_IO with a hint for anything
 * else. */
CF_NODISCARD cf_err cf_directory_stat(cf_directory *d, int dir_fd, const char *key, cf_stat *ret,
                                      cf_error *e);
/* flock dir_fd, waiting; CF_ERR_LOCKED after CF_DIRECTORY_LOCK_WAIT_MS. Fine where the filesystem
 * has no locks. */
CF_NODISCARD cf_err cf_directory_flock(cf_directory *d, int dir_fd, cf_fs_lock how, cf_error *e);
/* Wait until len bytes may pass. CF_ERR_INTERRUPTED. */
CF_NODISCARD cf_err cf_directory_pace(cf_directory *d, cf_pace_way way, size_t len, cf_error *e);
/* The id of the creation by this process that st is; false when it is none. */
bool cf_directory_created_id(cf_directory *d, const cf_stat *st, char ret[CF_STORE_ID_LEN + 1]);
/* Message and hint for a full disk; passes any other code on. needed_bytes: of the object, as far
 * as known. */
CF_NODISCARD cf_err cf_directory_explain(cf_directory *d, cf_err err, int root_fd, const char *key,
                                         uint64_t needed_bytes, cf_error *e);

/* directory_put.c */
CF_NODISCARD cf_err cf_directory_put(cf_store *s, const char *key, cf_slice body,
                                     const cf_put_opts *opts, cf_stored *ret, cf_error *e);
CF_NODISCARD cf_err cf_directory_put_open(cf_store *s, const char *key, const cf_put_opts *opts,
                                          cf_store_put **ret, cf_error *e);
CF_NODISCARD cf_err cf_directory_put_write(cf_store_put *p, cf_slice bytes, cf_error *e);
CF_NODISCARD cf_err cf_directory_put_finish(cf_store_put *p, cf_stored *ret, cf_error *e);
void cf_directory_put_abort(cf_store_put *p);
/* A new file under CF_STORE_TMP_NAME; the name is relative to the top. */
enum { CF_DIRECTORY_TMP_SIZE = sizeof(CF_STORE_TMP_NAME) + 1 + CF_STORE_ID_LEN };
CF_NODISCARD cf_err cf_directory_tmp_open(cf_directory *d, int root_fd,
                                          char ret_name[CF_DIRECTORY_TMP_SIZE], cf_dir_fd *ret,
                                          cf_error *e);

/* directory_list.c */
CF_NODISCARD cf_err cf_directory_list(cf_store *s, const char *prefix, const char *after,
                                      const char *delimiter, cf_store_list_fn fn, void *impl,
                                      cf_error *e);

#endif
