/* SPDX-License-Identifier: Apache-2.0
 *
 * Store in a directory: the embedded repository, for trying out and for offline media. Layout,
 * durability and exclusion: directory_impl.h. Writing: directory_put.c. Listing: directory_list.c.
 */
#include "s3/base/alloc.h"
#include "s3/base/cleanup.h"
#include "s3/base/num.h"
#include "store/directory_impl.h"

static const char link_hint[] =
    "HINT: move it out of the repository; links inside are not followed";

void cf_dir_fd_closep(cf_dir_fd *f)
{
    if (f->fd >= 0)
        (void)f->fs->ops->close(f->fs, f->fd, NULL);
    f->fd = -1;
}

pthread_mutex_t *cf_directory_lock(cf_directory *d)
{
    CF_CHECK(pthread_mutex_lock(&d->lock) == 0);
    return &d->lock;
}

void cf_directory_unlockp(pthread_mutex_t **lock)
{
    (void)pthread_mutex_unlock(*lock);
}

/* "<path>/.", so that the path itself may be a symbolic link to a disk. */
static cf_err root_open(cf_directory *d, int *ret_fd, cf_error *e)
{
    char *const text = cf_alloc(strlen(d->path) + 3, 1);
    CF_CLEANUP(cf_freep) char *path = text;
    CF_ENSURE(path != NULL, e, CF_ERR_NO_MEMORY, "allocate a path");
    memcpy(path, d->path, strlen(d->path));
    memcpy(path + strlen(d->path), "/.", 2);
    const cf_err err = d->fs->ops->dir_open(d->fs, CF_FS_CWD, path, ret_fd, e);
    if (err == CF_ERR_NOT_FOUND)
        CF_FAIL(e, CF_ERR_NO_BUCKET,
                "directory '%.900s' is not there\nHINT: is its disk mounted? For a new repository, "
                "'chunkferry init' makes it",
                d->path);
    return err;
}

static cf_err root_get(cf_directory *d, bool counts, int *ret_root_fd, cf_error *e)
{
    CF_DIRECTORY_HOLD(d);
    d->counts.requests_total += counts;
    if (d->root_fd < 0)
        CF_TRY(root_open(d, &d->root_fd, e));
    *ret_root_fd = d->root_fd;
    return CF_OK;
}

cf_err cf_directory_enter(cf_directory *d, int *ret_root_fd, cf_error *e)
{
    return root_get(d, /* counts= */ true, ret_root_fd, e);
}

const char *cf_directory_name(const char *key)
{
    const char *const slash = strrchr(key, '/');
    return slash == NULL ? key : slash + 1;
}

/* Why name could not be opened as a folder, once err says that it is something else. */
static cf_err not_a_folder(cf_directory *d, int dir_fd, const char *name, const char *key,
                           cf_walk how, cf_err err, cf_error *e)
{
    cf_stat st = {0};
    if (err != CF_ERR_IO || d->fs->ops->stat_at(d->fs, dir_fd, name, &st, NULL) != CF_OK)
        return err;
    if (st.type == CF_FILE_SYMLINK)
        CF_FAIL(e, CF_ERR_IO, "'%s' on the way to object '%s' in '%.512s' is a symbolic link\n%s",
                name, key, d->path, link_hint);
    if (st.type == CF_FILE_REGULAR && how == CF_WALK_MAKE)
        CF_FAIL(e, CF_ERR_UNSUPPORTED,
                "object '%s' cannot be in '%.512s': its folder '%s' is an object itself", key,
                d->path, name);
    if (st.type == CF_FILE_REGULAR)
        CF_FAIL(e, CF_ERR_NOT_FOUND, "object '%s' is not in '%.512s'", key, d->path);
    return err;
}

/* One step down: *at is replaced by its child. */
static cf_err walk_step(cf_directory *d, const char *name, const char *key, cf_walk how,
                        cf_dir_fd *at, cf_error *e)
{
    const cf_fs *const fs = d->fs;
    int fd = -1;
    cf_err err = fs->ops->dir_open(fs, at->fd, name, &fd, e);
    if (err == CF_ERR_NOT_FOUND && how == CF_WALK_MAKE) {
        err = fs->ops->mkdir_at(fs, at->fd, name, 0700, e);
        if (err == CF_OK || err == CF_ERR_EXISTS)
            err = fs->ops->dir_open(fs, at->fd, name, &fd, e);
    } else if (err == CF_ERR_NOT_FOUND) {
        CF_FAIL(e, CF_ERR_NOT_FOUND, "object '%s' is not in '%.512s'", key, d->path);
    }
    if (err != CF_OK)
        return not_a_folder(d, at->fd, name, key, how, err, e);
    cf_dir_fd_closep(at);
    at->fd = fd;
    return CF_OK;
}

cf_err cf_directory_walk(cf_directory *d, int root_fd, const char *key, cf_walk how, cf_dir_fd *ret,
                         cf_error *e)
{
    CF_CLEANUP(cf_dir_fd_closep) cf_dir_fd at = {.fs = d->fs, .fd = -1};
    char name[CF_KEY_COMPONENT_LEN_MAX + 1];
    CF_TRY(d->fs->ops->dir_open(d->fs, root_fd, ".", &at.fd, e));
    for (const char *rest = key;;) {
        if (how == CF_WALK_SYNC)
            CF_TRY(d->fs->ops->sync(d->fs, at.fd, e));
        const size_t n = strcspn(rest, "/");
        if (rest[n] == '\0')
            break;
        memcpy(name, rest, n);
        name[n] = '\0';
        CF_TRY(walk_step(d, name, key, how, &at, e));
        rest += n + 1;
    }
    ret->fd = at.fd;
    at.fd = -1;
    return CF_OK;
}

cf_err cf_directory_stat(cf_directory *d, int dir_fd, const char *key, cf_stat *ret, cf_error *e)
{
    cf_stat st = {0};
    const cf_err err = d->fs->ops->stat_at(d->fs, dir_fd, cf_directory_name(key), &st, e);
    if (err == CF_ERR_NOT_FOUND || (err == CF_OK && st.type == CF_FILE_DIR))
        CF_FAIL(e, CF_ERR_NOT_FOUND, "object '%s' is not in '%.512s'", key, d->path);
    CF_TRY(err);
    CF_ENSURE(st.type != CF_FILE_SYMLINK, e, CF_ERR_IO,
              "'%s' in '%.512s' is a symbolic link, not an object\n%s", key, d->path, link_hint);
    CF_ENSURE(st.type == CF_FILE_REGULAR, e, CF_ERR_IO,
              "'%s' in '%.512s' is a device or a pipe, not an object", key, d->path);
    *ret = st;
    return CF_OK;
}

cf_err cf_directory_flock(cf_directory *d, int dir_fd, cf_fs_lock how, cf_error *e)
{
    const uint64_t start_ms = d->world->mono_ms(d->world->impl);
    for (;;) {
        const cf_err err = d->fs->ops->lock(d->fs, dir_fd, how, e);
        if (err != CF_ERR_LOCKED)
            return CF_OK; /* taken, or a filesystem without locks */
        const uint64_t waited_ms = d->world->mono_ms(d->world->impl) - start_ms;
        CF_ENSURE(waited_ms < CF_DIRECTORY_LOCK_WAIT_MS, e, CF_ERR_LOCKED,
                  "a folder of '%.900s' was locked by another process for %llu ms\nHINT: is one of "
                  "them stopped?",
                  d->path, (unsigned long long)waited_ms);
        CF_ENSURE(!d->world->stopping(d->world->impl), e, CF_ERR_INTERRUPTED,
                  "interrupted while waiting for a lock");
        d->world->sleep_ms(d->world->impl, 2);
    }
}

cf_err cf_directory_pace(cf_directory *d, cf_pace_way way, size_t len, cf_error *e)
{
    if (d->pace == NULL)
        return CF_OK;
    (void)cf_pace_wait(d->pace, way, len);
    CF_ENSURE(!d->world->stopping(d->world->impl), e, CF_ERR_INTERRUPTED, "interrupted");
    return CF_OK;
}

bool cf_directory_created_id(cf_directory *d, const cf_stat *st, char ret[CF_STORE_ID_LEN + 1])
{
    CF_DIRECTORY_HOLD(d);
    for (size_t i = 0; i < CF_DIRECTORY_CREATED_MAX; i++) {
        const cf_created *const c = &d->created[i];
        if (c->id[0] != '\0' && c->ino == st->ino && c->dev == st->dev &&
            c->size_bytes == st->size_bytes && c->mtime_ns == st->mtime_ns) {
            memcpy(ret, c->id, sizeof(c->id));
            return true;
        }
    }
    return false;
}

cf_err cf_directory_explain(cf_directory *d, cf_err err, int root_fd, const char *key,
                            uint64_t needed_bytes, cf_error *e)
{
    if (err != CF_ERR_NO_SPACE)
        return err;
    uint64_t free_bytes = 0;
    char have[CF_SIZE_TEXT_SIZE] = "an unknown number of bytes";
    if (d->fs->ops->free_bytes(d->fs, root_fd, &free_bytes, NULL) == CF_OK)
        (void)cf_size_render(free_bytes, have);
    CF_FAIL(e, CF_ERR_NO_SPACE,
            "no space left for object '%.512s' in '%.512s': %llu bytes of it are needed so far, %s "
            "are free\n"
            "HINT: free space on that disk, give it more, or prune snapshots; a quota counts too",
            key, d->path, (unsigned long long)needed_bytes, have);
}

/* ---- reading ---- */

/* An object open for reading, and its size. */
static cf_err object_open(cf_directory *d, const char *key, cf_dir_fd *ret, cf_stat *ret_stat,
                          cf_error *e)
{
    CF_CLEANUP(cf_dir_fd_closep) cf_dir_fd dir = {.fs = d->fs, .fd = -1};
    int root_fd = -1;
    CF_TRY(cf_store_key_check(key, e));
    CF_TRY(cf_directory_enter(d, &root_fd, e));
    CF_TRY(cf_directory_walk(d, root_fd, key, CF_WALK_FIND, &dir, e));
    CF_TRY(cf_directory_stat(d, dir.fd, key, ret_stat, e));
    const cf_err err =
        d->fs->ops->file_open(d->fs, dir.fd, cf_directory_name(key), CF_FS_READ, &ret->fd, e);
    if (err == CF_ERR_NOT_FOUND)
        CF_FAIL(e, CF_ERR_NOT_FOUND, "object '%s' is not in '%.512s'", key, d->path);
    CF_TRY(err);
    /* Again: it may have been overwritten between the two. */
    return d->fs->ops->stat_fd(d->fs, ret->fd, ret_stat, e);
}

static cf_err directory_get(cf_store *s, const char *key, uint64_t offset, uint64_t len,
                            cf_store_sink sink, void *sink_impl, cf_error *e)
{
    cf_directory *const d = cf_directory_of(s);
    CF_CLEANUP(cf_dir_fd_closep) cf_dir_fd file = {.fs = d->fs, .fd = -1};
    cf_stat st = {0};
    uint64_t left = 0;
    CF_TRY(object_open(d, key, &file, &st, e));
    CF_TRY(cf_store_range_check(key, st.size_bytes, offset, len, &left, e));

    const size_t room =
        cf_pace_step(d->pace, CF_PACE_DOWN,
                     left < CF_DIRECTORY_GET_BYTES ? (size_t)left : CF_DIRECTORY_GET_BYTES);
    CF_CLEANUP(cf_freep) uint8_t *bytes = cf_alloc(room, 1);
    CF_ENSURE(bytes != NULL, e, CF_ERR_NO_MEMORY, "allocate %zu bytes", room);
    while (left > 0) {
        const size_t want = left < room ? (size_t)left : room;
        size_t got = 0;
        CF_TRY(cf_directory_pace(d, CF_PACE_DOWN, want, e));
        CF_TRY(d->fs->ops->pread(d->fs, file.fd, bytes, want, offset, &got, e));
        CF_ENSURE(got == want, e, CF_ERR_DAMAGE,
                  "object '%s' in '%.512s' shrank to %llu bytes while it was read", key, d->path,
                  (unsigned long long)(offset + got));
        CF_TRY(sink(sink_impl, cf_slice_of(bytes, got), e));
        offset += got;
        left -= got;
        CF_DIRECTORY_HOLD(d);
        d->counts.bytes_received += got;
    }
    return CF_OK;
}

static cf_err directory_head(cf_store *s, const char *key, cf_object_stat *ret, cf_error *e)
{
    cf_directory *const d = cf_directory_of(s);
    CF_CLEANUP(cf_dir_fd_closep) cf_dir_fd dir = {.fs = d->fs, .fd = -1};
    cf_stat st = {0};
    int root_fd = -1;
    CF_TRY(cf_store_key_check(key, e));
    CF_TRY(cf_directory_enter(d, &root_fd, e));
    CF_TRY(cf_directory_walk(d, root_fd, key, CF_WALK_FIND, &dir, e));
    CF_TRY(cf_directory_stat(d, dir.fd, key, &st, e));
    *ret = (cf_object_stat){.size_bytes = st.size_bytes, .modified_utc_ms = st.mtime_ns / 1000000};
    (void)cf_directory_created_id(d, &st, ret->id);
    return CF_OK;
}

/* ---- deleting ---- */

/* Folders that became empty go, from the last one up; a put that needs one at this moment makes it
 * again. */
static void remove_empty(cf_directory *d, int root_fd, const char *key)
{
    char path[CF_KEY_LEN_MAX + 1];
    memcpy(path, key, strlen(key) + 1);
    for (char *slash = strrchr(path, '/'); slash != NULL; slash = strrchr(path, '/')) {
        *slash = '\0';
        if (d->fs->ops->rmdir_at(d->fs, root_fd, path, NULL) != CF_OK)
            return;
    }
}

static cf_err delete_one(cf_directory *d, int root_fd, const char *key, cf_error *e)
{
    CF_CLEANUP(cf_dir_fd_closep) cf_dir_fd dir = {.fs = d->fs, .fd = -1};
    cf_stat st = {0};
    cf_err err = cf_directory_walk(d, root_fd, key, CF_WALK_FIND, &dir, e);
    if (err == CF_OK)
        err = cf_directory_stat(d, dir.fd, key, &st, e);
    if (err == CF_OK)
        err = d->fs->ops->unlink_at(d->fs, dir.fd, cf_directory_name(key), e);
    if (err == CF_ERR_NOT_FOUND)
        return CF_OK;
    return err == CF_OK ? d->fs->ops->sync(d->fs, dir.fd, e) : err;
}

/* No versions, no locks of the store: opts has nothing to say here. */
static cf_err directory_delete_many(cf_store *s, const char *const *keys, size_t key_total,
                                    const cf_delete_opts *opts, cf_error *e)
{
    (void)opts;
    cf_directory *const d = cf_directory_of(s);
    cf_err first = CF_OK;
    size_t failed = 0;
    int root_fd = -1;
    for (size_t i = 0; i < key_total; i++)
        CF_TRY(cf_store_key_check(keys[i], e));
    CF_TRY(cf_directory_enter(d, &root_fd, e));
    for (size_t i = 0; i < key_total; i++) {
        const cf_err err = delete_one(d, root_fd, keys[i], first == CF_OK ? e : NULL);
        first = first == CF_OK ? err : first;
        failed += err != CF_OK;
        if (err == CF_OK)
            remove_empty(d, root_fd, keys[i]);
    }
    if (first != CF_OK)
        cf_error_prefix(e, "delete: %zu of %zu objects failed, the first", failed, key_total);
    return first;
}

/* ---- place, time, end ---- */

/* Make path[0..len) when it is not there, and sync the folder it is in. */
static cf_err make_one(cf_directory *d, char *path, size_t len, size_t parent_len, cf_error *e)
{
    CF_CLEANUP(cf_dir_fd_closep) cf_dir_fd parent = {.fs = d->fs, .fd = -1};
    const char kept = path[len];
    path[len] = '\0';
    const cf_err err = d->fs->ops->mkdir_at(d->fs, CF_FS_CWD, path, 0700, e);
    path[len] = kept;
    if (err == CF_ERR_EXISTS)
        return CF_OK;
    CF_TRY(err);
    char *const dot =
        cf_strndup(path, parent_len + 2); /* "/a/" and one byte more, which becomes "." */
    CF_CLEANUP(cf_freep) char *parent_path = dot;
    CF_ENSURE(parent_path != NULL, e, CF_ERR_NO_MEMORY, "allocate a path");
    parent_path[parent_len + 1] = '.';
    CF_TRY(d->fs->ops->dir_open(d->fs, CF_FS_CWD, parent_path, &parent.fd, e));
    return d->fs->ops->sync(d->fs, parent.fd, e);
}

static cf_err directory_create(cf_store *s, cf_error *e)
{
    cf_directory *const d = cf_directory_of(s);
    int root_fd = -1;
    if (cf_directory_enter(d, &root_fd, NULL) == CF_OK)
        return CF_OK;
    char *const copy = cf_strdup(d->path);
    CF_CLEANUP(cf_freep) char *path = copy;
    CF_ENSURE(path != NULL, e, CF_ERR_NO_MEMORY, "allocate a path");
    for (size_t at = 0; path[at] != '\0';) {
        const size_t end = at + 1 + strcspn(path + at + 1, "/");
        /* A parent on a read-only filesystem answers EROFS or EACCES though it is there: the open
         * below tells. */
        const cf_err err = make_one(d, path, end, at, e);
        if (err != CF_OK && (err != CF_ERR_ACCESS || path[end] == '\0'))
            return cf_directory_explain(d, err, -1, ".", 0, e);
        at = end;
    }
    return cf_directory_enter(d, &root_fd, e);
}

static cf_err directory_now_utc_ms(cf_store *s, int64_t *ret, cf_error *e)
{
    cf_directory *const d = cf_directory_of(s);
    CF_CLEANUP(cf_dir_fd_closep) cf_dir_fd file = {.fs = d->fs, .fd = -1};
    char name[CF_DIRECTORY_TMP_SIZE];
    cf_stat st = {0};
    int root_fd = -1;
    /* No request: a server's time comes with its answers. */
    CF_TRY(root_get(d, /* counts= */ false, &root_fd, e));
    cf_err err = cf_directory_tmp_open(d, root_fd, name, &file, e);
    if (err == CF_ERR_ACCESS || err == CF_ERR_NO_SPACE) {
        *ret = d->world->now_utc_ms(
            d->world->impl); /* read-only or full: nothing better is to be had */
        return CF_OK;
    }
    CF_TRY(err);
    err = d->fs->ops->stat_fd(d->fs, file.fd, &st, e);
    (void)d->fs->ops->unlink_at(d->fs, root_fd, name, NULL); /* else it is a leftover like others */
    CF_TRY(err);
    *ret = st.mtime_ns / 1000000;
    return CF_OK;
}

static const char *directory_put_upload_id(const cf_store_put *p)
{
    (void)p;
    return "";
}

static void directory_get_counts(cf_store *s, cf_store_counts *ret)
{
    cf_directory *const d = cf_directory_of(s);
    CF_DIRECTORY_HOLD(d);
    *ret = d->counts;
}

static void directory_free(cf_store *s)
{
    cf_directory *const d = cf_directory_of(s);
    if (d->root_fd >= 0)
        (void)d->fs->ops->close(d->fs, d->root_fd, NULL);
    (void)pthread_mutex_destroy(&d->lock);
    cf_free(d->path);
    cf_free(d);
}

static const cf_store_ops directory_ops = {
    .kind = "file",
    .put = cf_directory_put,
    .put_open = cf_directory_put_open,
    .put_write = cf_directory_put_write,
    .put_finish = cf_directory_put_finish,
    .put_abort = cf_directory_put_abort,
    .put_upload_id = directory_put_upload_id,
    .get = directory_get,
    .head = directory_head,
    .list = cf_directory_list,
    .delete_many = directory_delete_many,
    .abort_upload = cf_store_abort_none,
    .uploads_each = cf_store_uploads_none,
    .versioning = cf_store_versioning_off,
    .create = directory_create,
    .now_utc_ms = directory_now_utc_ms,
    .get_counts = directory_get_counts,
    .free = directory_free,
};

cf_err cf_store_directory_new(const cf_fs *fs, const cf_world *world, const char *path,
                              cf_store **ret, cf_error *e)
{
    CF_ENSURE(path[0] == '/', e, CF_ERR_USAGE, "directory '%.900s' is not an absolute path", path);
    CF_CLEANUP(cf_freep) char *copy = cf_strdup(path);
    cf_directory *d = NULL;
    CF_ENSURE(copy != NULL, e, CF_ERR_NO_MEMORY, "allocate a path");
    for (size_t n = strlen(copy); n > 1 && copy[n - 1] == '/'; n--)
        copy[n - 1] = '\0';
    CF_NEW(d, e);
    d->base.ops = &directory_ops;
    d->base.features = CF_STORE_CONDITIONAL_CREATE | CF_STORE_BATCH_DELETE | CF_STORE_RANGED_GET;
    d->fs = fs != NULL ? fs : cf_fs_real();
    d->world = world != NULL ? world : cf_world_real();
    d->path = CF_STEAL(copy);
    d->root_fd = -1;
    CF_CHECK(pthread_mutex_init(&d->lock, NULL) == 0);
    *ret = &d->base;
    return CF_OK;
}

void cf_store_directory_set_pace(cf_store *s, cf_pace *pace)
{
    cf_directory_of(s)->pace = pace;
}
