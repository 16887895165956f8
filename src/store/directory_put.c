/* SPDX-License-Identifier: Apache-2.0
 *
 * Writing into a directory store: unfinished file, sync, name, sync of the folders.
 *
 * Invariant: a name under which a list or a get finds something is given only to a file that is
 * whole and synced.
 */
#include <stdio.h>

#include "s3/base/alloc.h"
#include "s3/base/cache.h"
#include "s3/base/cleanup.h"
#include "s3/base/hash.h"
#include "store/directory_impl.h"

struct cf_store_put {
    cf_directory *d;
    char *key; /* owned */
    bool create_only, has_id, last_words;
    char id[CF_STORE_ID_LEN + 1];
    int root_fd; /* borrowed */
    cf_dir_fd file;
    char tmp[CF_DIRECTORY_TMP_SIZE]; /* "" when nothing is left to remove */
    cf_hash hash;
    uint64_t size_bytes;
    bool broken; /* a write failed: the bytes are not what the caller meant */
};

static void put_free(cf_store_put *p)
{
    const cf_fs *const fs = p->d->fs;
    if (p->tmp[0] != '\0')
        (void)fs->ops->unlink_at(fs, p->root_fd, p->tmp, NULL); /* else a leftover, swept later */
    cf_dir_fd_closep(&p->file);
    cf_hash_deinit(&p->hash);
    cf_free(p->key);
    cf_free(p);
}
CF_DEFINE_FREEP(cf_store_put, put_free)

cf_err cf_directory_tmp_open(cf_directory *d, int root_fd, char ret_name[CF_DIRECTORY_TMP_SIZE],
                             cf_dir_fd *ret, cf_error *e)
{
    char id[CF_STORE_ID_LEN + 1];
    char name[CF_DIRECTORY_TMP_SIZE];
    CF_TRY(cf_store_id_make(NULL, d->world, id, e));
    (void)snprintf(name, sizeof(name), "%s/%s", CF_STORE_TMP_NAME, id);
    cf_err err = d->fs->ops->file_open(d->fs, root_fd, name, CF_FS_CREATE_NEW, &ret->fd, e);
    if (err == CF_ERR_NOT_FOUND) {
        err = d->fs->ops->mkdir_at(d->fs, root_fd, CF_STORE_TMP_NAME, 0700, e);
        if (err == CF_OK || err == CF_ERR_EXISTS)
            err = d->fs->ops->file_open(d->fs, root_fd, name, CF_FS_CREATE_NEW, &ret->fd, e);
    }
    CF_TRY(err);
    memcpy(ret_name, name, sizeof(name));
    return CF_OK;
}

/* ---- leftovers of writers that died ---- */

/* Old by the filesystem's own time, and nobody holds its lock. */
static void sweep_one(cf_directory *d, int tmp_fd, const char *name, int64_t now_ns)
{
    CF_CLEANUP(cf_dir_fd_closep) cf_dir_fd file = {.fs = d->fs, .fd = -1};
    cf_stat st = {0};
    if (d->fs->ops->file_open(d->fs, tmp_fd, name, CF_FS_READ, &file.fd, NULL) != CF_OK)
        return;
    if (d->fs->ops->stat_fd(d->fs, file.fd, &st, NULL) != CF_OK || st.type != CF_FILE_REGULAR)
        return;
    if (now_ns - st.mtime_ns < (int64_t)CF_DIRECTORY_LEFTOVER_AGE_H * 3600 * 1000000000)
        return;
    if (d->fs->ops->lock(d->fs, file.fd, CF_FS_LOCK_EXCLUSIVE, NULL) == CF_OK)
        (void)d->fs->ops->unlink_at(d->fs, tmp_fd, name, NULL);
}

/* Once a store, when its first unfinished file has been made. They are harmless: failures wait for
 * the next time. */
static void sweep(cf_directory *d, int root_fd, int fresh_fd)
{
    CF_CLEANUP(cf_dir_fd_closep) cf_dir_fd tmp = {.fs = d->fs, .fd = -1};
    CF_CLEANUP(cf_names_deinit) cf_names names = {0};
    cf_stat fresh = {0};
    bool swept = true;
    {
        CF_DIRECTORY_HOLD(d);
        swept = d->swept;
        d->swept = true;
    }
    if (swept || d->fs->ops->stat_fd(d->fs, fresh_fd, &fresh, NULL) != CF_OK)
        return;
    if (d->fs->ops->dir_open(d->fs, root_fd, CF_STORE_TMP_NAME, &tmp.fd, NULL) != CF_OK)
        return;
    if (d->fs->ops->list(d->fs, tmp.fd, &names, NULL) != CF_OK)
        return;
    for (size_t i = 0; i < names.count; i++)
        sweep_one(d, tmp.fd, cf_names_at(&names, i), fresh.mtime_ns);
}

/* ---- open, write ---- */

cf_err cf_directory_put_open(cf_store *s, const char *key, const cf_put_opts *opts,
                             cf_store_put **ret, cf_error *e)
{
    cf_directory *const d = cf_directory_of(s);
    CF_CLEANUP(put_freep) cf_store_put *p = NULL;
    CF_TRY(cf_store_key_check(key, e));
    CF_NEW(p, e);
    p->d = d;
    p->file = (cf_dir_fd){.fs = d->fs, .fd = -1};
    p->create_only =
        opts != NULL && opts->create_only && (d->base.features & CF_STORE_CONDITIONAL_CREATE) != 0;
    p->last_words = opts != NULL && opts->last_words;
    p->has_id = opts != NULL && opts->id != NULL;
    CF_TRY(cf_store_id_make(opts, d->world, p->id, e));
    p->key = cf_strdup(key);
    CF_ENSURE(p->key != NULL, e, CF_ERR_NO_MEMORY, "allocate a key");
    CF_TRY(cf_hash_init(&p->hash, CF_HASH_SHA256, e));
    CF_TRY(cf_directory_enter(d, &p->root_fd, e));
    const cf_err err = cf_directory_tmp_open(d, p->root_fd, p->tmp, &p->file, e);
    CF_TRY(cf_directory_explain(d, err, p->root_fd, key, 0, e));
    /* Says that its writer lives. Where there are no locks, only its age protects it from being
     * swept. */
    (void)d->fs->ops->lock(d->fs, p->file.fd, CF_FS_LOCK_EXCLUSIVE, NULL);
    sweep(d, p->root_fd, p->file.fd);
    *ret = CF_STEAL(p);
    return CF_OK;
}

/* last_words, a lease's end, are few bytes and go at once. */
static cf_err write_paced(cf_store_put *p, cf_slice bytes, cf_error *e)
{
    cf_directory *const d = p->d;
    if (d->pace == NULL || p->last_words)
        return d->fs->ops->pwrite(d->fs, p->file.fd, bytes, p->size_bytes, e);
    for (size_t at = 0, n = 0; at < bytes.len; at += n) {
        n = cf_pace_step(d->pace, CF_PACE_UP, bytes.len - at);
        CF_TRY(cf_directory_pace(d, CF_PACE_UP, n, e));
        CF_TRY(d->fs->ops->pwrite(d->fs, p->file.fd, cf_slice_of(bytes.ptr + at, n),
                                  p->size_bytes + at, e));
    }
    return CF_OK;
}

cf_err cf_directory_put_write(cf_store_put *p, cf_slice bytes, cf_error *e)
{
    cf_directory *const d = p->d;
    CF_ENSURE(!p->broken, e, CF_ERR_IO, "an earlier write of object '%s' failed", p->key);
    p->broken = true; /* until all of it is done */
    CF_TRY(cf_hash_update(&p->hash, bytes, e));
    const cf_err err = write_paced(p, bytes, e);
    CF_TRY(cf_directory_explain(d, err, p->root_fd, p->key, p->size_bytes + bytes.len, e));
    p->size_bytes += bytes.len;
    p->broken = false;
    CF_DIRECTORY_HOLD(d);
    d->counts.bytes_sent += bytes.len;
    return CF_OK;
}

void cf_directory_put_abort(cf_store_put *p)
{
    if (p != NULL)
        put_free(p);
}

/* ---- giving the name ---- */

static void created_remember(cf_store_put *p, const cf_stat *st)
{
    cf_directory *const d = p->d;
    CF_DIRECTORY_HOLD(d);
    cf_created *const c = &d->created[d->created_next++ % CF_DIRECTORY_CREATED_MAX];
    *c = (cf_created){
        .dev = st->dev, .ino = st->ino, .size_bytes = st->size_bytes, .mtime_ns = st->mtime_ns};
    memcpy(c->id, p->id, sizeof(c->id));
}

/* What stands under the name after link or rename answered err: our file (the answer was lost, as
 * NFS can), our file of an earlier put with the same id, or another's. */
static cf_err settle(cf_store_put *p, const cf_stat *mine, int dir_fd, cf_err err, cf_error *e)
{
    cf_directory *const d = p->d;
    cf_stat st = {0};
    char id[CF_STORE_ID_LEN + 1];
    if (d->fs->ops->stat_at(d->fs, dir_fd, cf_directory_name(p->key), &st, NULL) != CF_OK)
        return err;
    if (st.ino == mine->ino && st.dev == mine->dev) {
        created_remember(p, mine);
        return CF_OK;
    }
    if (st.type == CF_FILE_DIR)
        CF_FAIL(e, CF_ERR_UNSUPPORTED,
                "object '%s' cannot be in '%.512s': it is a folder of other objects", p->key,
                d->path);
    if (err != CF_ERR_EXISTS)
        return err;
    CF_TRY(cf_directory_stat(d, dir_fd, p->key, &st, e));
    if (p->has_id && cf_directory_created_id(d, &st, id) && strcmp(id, p->id) == 0)
        return CF_OK;
    CF_FAIL(e, CF_ERR_EXISTS, "object '%s' exists already in '%.512s'", p->key, d->path);
}

/* link never overwrites, whoever races. */
static cf_err name_new(cf_store_put *p, const cf_stat *mine, int dir_fd, cf_error *e)
{
    const cf_fs *const fs = p->d->fs;
    cf_err err = fs->ops->link_at(fs, p->root_fd, p->tmp, p->key, e);
    if (err == CF_OK)
        created_remember(p, mine);
    else
        err = settle(p, mine, dir_fd, err, e);
    if (err == CF_ERR_ACCESS)
        CF_FAIL(e, CF_ERR_ACCESS,
                "object '%s' cannot be linked into '%.512s': permission denied, or no hard links "
                "there\n"
                "HINT: the filesystem must have hard links (ext4, xfs, btrfs; not FAT or exFAT)",
                p->key, p->d->path);
    return err;
}

/* rename replaces a file in one step; what is no object is left alone. */
static cf_err name_over(cf_store_put *p, const cf_stat *mine, int dir_fd, cf_error *e)
{
    const cf_fs *const fs = p->d->fs;
    cf_stat old = {0};
    if (fs->ops->stat_at(fs, dir_fd, cf_directory_name(p->key), &old, NULL) == CF_OK &&
        old.type != CF_FILE_DIR)
        CF_TRY(cf_directory_stat(p->d, dir_fd, p->key, &old, e));
    CF_TRY(cf_directory_flock(p->d, dir_fd, CF_FS_LOCK_EXCLUSIVE, e));
    const cf_err err = fs->ops->rename_at(fs, p->root_fd, p->tmp, p->key, e);
    if (err != CF_OK)
        return settle(p, mine, dir_fd, err, e);
    created_remember(p, mine);
    return CF_OK;
}

static cf_err name_once(cf_store_put *p, const cf_stat *mine, cf_error *e)
{
    CF_CLEANUP(cf_dir_fd_closep) cf_dir_fd dir = {.fs = p->d->fs, .fd = -1};
    CF_TRY(cf_directory_walk(p->d, p->root_fd, p->key, CF_WALK_MAKE, &dir, e));
    return p->create_only ? name_new(p, mine, dir.fd, e) : name_over(p, mine, dir.fd, e);
}

/* A delete may take an empty folder away between walk and link: then once more. */
static cf_err name_it(cf_store_put *p, const cf_stat *mine, cf_error *e)
{
    cf_err err = CF_ERR_NOT_FOUND;
    for (int i = 0; i < CF_DIRECTORY_TRIES_MAX && err == CF_ERR_NOT_FOUND; i++)
        err = name_once(p, mine, e);
    /* Not the object's absence, which CF_ERR_NOT_FOUND would mean to the caller. */
    CF_ENSURE(err != CF_ERR_NOT_FOUND, e, CF_ERR_IO,
              "object '%s' cannot get its name in '%.512s': its folder or '%s' vanishes", p->key,
              p->d->path, p->tmp);
    return err;
}

static cf_err finish_steps(cf_store_put *p, uint8_t *ret_sha256, cf_error *e)
{
    const cf_fs *const fs = p->d->fs;
    CF_CLEANUP(cf_dir_fd_closep) cf_dir_fd dir = {.fs = fs, .fd = -1};
    cf_stat mine = {0};
    CF_TRY(cf_hash_final(&p->hash, ret_sha256, e));
    CF_TRY(fs->ops->sync(fs, p->file.fd, e)); /* 1. the bytes are safe           */
    if (p->size_bytes >= CF_DIRECTORY_COLD_BYTES)
        cf_cache_drop_all(p->file.fd);
    CF_TRY(fs->ops->stat_fd(fs, p->file.fd, &mine, e));
    CF_TRY(name_it(p, &mine, e)); /* 2. they appear, whole           */
    return cf_directory_walk(p->d, p->root_fd, p->key, CF_WALK_SYNC, &dir,
                             e); /* 3. the name is safe */
}

cf_err cf_directory_put_finish(cf_store_put *put, cf_stored *ret, cf_error *e)
{
    CF_CLEANUP(put_freep) cf_store_put *p = put;
    cf_stored stored = {.size_bytes = p->size_bytes, .digest.kind = CF_DIGEST_SHA256};
    CF_ENSURE(!p->broken, e, CF_ERR_IO, "an earlier write of object '%s' failed", p->key);
    const cf_err err = finish_steps(p, stored.digest.sha256, e);
    CF_TRY(cf_directory_explain(p->d, err, p->root_fd, p->key, p->size_bytes, e));
    if (ret != NULL)
        *ret = stored;
    return CF_OK;
}

cf_err cf_directory_put(cf_store *s, const char *key, cf_slice body, const cf_put_opts *opts,
                        cf_stored *ret, cf_error *e)
{
    CF_CLEANUP(put_freep) cf_store_put *p = NULL;
    CF_TRY(cf_directory_put_open(s, key, opts, &p, e));
    CF_TRY(cf_directory_put_write(p, body, e));
    return cf_directory_put_finish(CF_STEAL(p), ret, e);
}
