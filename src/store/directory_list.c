/* SPDX-License-Identifier: Apache-2.0
 *
 * Listing a directory store in the byte order of whole keys.
 *
 * A folder "a" stands for keys that begin with "a/", and '/' sorts behind '-' and '.': "a-b" and
 * "a.b" come before what is in "a". So a folder is held back while names that begin with its own
 * and go on with a smaller byte follow. Those held back are beginnings of each other: a name has
 * room for no more than CF_KEY_COMPONENT_LEN_MAX of them. Memory: the names of the folders on the
 * way, nothing else.
 */
#include "s3/base/cleanup.h"
#include "store/directory_impl.h"

typedef struct list_run {
    cf_directory *d;
    cf_slice prefix, after;
    bool delimited;
    cf_store_list_fn fn;
    void *impl;
    bool stop;
    char path[CF_KEY_LEN_MAX + CF_KEY_COMPONENT_LEN_MAX + 2]; /* "a/b/": the folder being listed */
    size_t path_len;
} list_run;

static cf_err list_folder(list_run *l, int dir_fd, cf_error *e);

/* ---- the path ---- */

/* path + name + tail; false when no key can be that long. */
static bool path_push(list_run *l, const char *name, const char *tail)
{
    const size_t n = strlen(name);
    const size_t t = strlen(tail);
    if (l->path_len + n + t >
        CF_KEY_LEN_MAX + 1) /* the longest key, and the '/' that name_wanted tries */
        return false;
    memcpy(l->path + l->path_len, name, n);
    memcpy(l->path + l->path_len + n, tail, t + 1);
    l->path_len += n + t;
    return true;
}

static void path_cut(list_run *l, size_t len)
{
    l->path_len = len;
    l->path[len] = '\0';
}

static bool is_after(const list_run *l, cf_slice text)
{
    return l->after.len == 0 || cf_slice_cmp(text, l->after) > 0;
}

/* Can a folder with this path ("a/b/") hold a key that is asked for? */
static bool folder_wanted(const list_run *l, cf_slice path)
{
    if (!cf_slice_starts_with(path, l->prefix) && !cf_slice_starts_with(l->prefix, path))
        return false;
    return is_after(l, path) || cf_slice_starts_with(l->after, path);
}

static bool name_ok(const list_run *l, const char *name)
{
    if (l->path_len == 0 && strcmp(name, CF_STORE_TMP_NAME) == 0)
        return false;
    return cf_store_component_ok(cf_slice_str(name));
}

/* ---- entries ---- */

/* Names of a folder, at one moment: see "Exclusion" in directory_impl.h. */
static cf_err names_read(cf_directory *d, int dir_fd, cf_names *ret, cf_error *e)
{
    CF_TRY(cf_directory_flock(d, dir_fd, CF_FS_LOCK_SHARED, e));
    const cf_err err = d->fs->ops->list(d->fs, dir_fd, ret, e);
    (void)d->fs->ops->lock(d->fs, dir_fd, CF_FS_LOCK_NONE, NULL);
    return err;
}

static cf_err emit(list_run *l, const cf_stat *st, cf_error *e)
{
    const cf_store_entry entry = {
        .key = l->path,
        .is_prefix = st == NULL,
        .size_bytes = st == NULL ? 0 : st->size_bytes,
        .modified_utc_ms = st == NULL ? 0 : st->mtime_ns / 1000000,
    };
    return l->fn(l->impl, &entry, &l->stop, e);
}

/* One file under the current path. */
static cf_err list_file(list_run *l, const char *name, const cf_stat *st, cf_error *e)
{
    const size_t len = l->path_len;
    if (!path_push(l, name, ""))
        return CF_OK;
    const cf_slice key = cf_slice_of(l->path, l->path_len);
    cf_err err = CF_OK;
    if (cf_slice_starts_with(key, l->prefix) && is_after(l, key))
        err = emit(l, st, e);
    path_cut(l, len);
    return err;
}

/* Is there any object below? A folder that is only left over from a delete is no common prefix. */
static cf_err any_object(list_run *l, int dir_fd, bool *ret, cf_error *e)
{
    const cf_fs *const fs = l->d->fs;
    CF_CLEANUP(cf_names_deinit) cf_names names = {0};
    CF_TRY(names_read(l->d, dir_fd, &names, e));
    for (size_t i = 0; i < names.count && !*ret; i++) {
        CF_CLEANUP(cf_dir_fd_closep) cf_dir_fd child = {.fs = fs, .fd = -1};
        cf_stat st = {0};
        if (!cf_store_component_ok(cf_slice_str(cf_names_at(&names, i))))
            continue;
        cf_err err = fs->ops->stat_at(fs, dir_fd, cf_names_at(&names, i), &st, e);
        if (err == CF_OK && st.type == CF_FILE_REGULAR)
            *ret = true;
        if (err == CF_OK && st.type == CF_FILE_DIR)
            err = fs->ops->dir_open(fs, dir_fd, cf_names_at(&names, i), &child.fd, e);
        if (child.fd >= 0)
            err = any_object(l, child.fd, ret, e);
        if (err != CF_OK && err != CF_ERR_NOT_FOUND)
            return err;
    }
    return CF_OK;
}

static cf_err list_below(list_run *l, int dir_fd, cf_error *e)
{
    const cf_slice path = cf_slice_of(l->path, l->path_len);
    bool any = false;
    if (!l->delimited || !cf_slice_starts_with(path, l->prefix) || path.len == l->prefix.len)
        return list_folder(l, dir_fd, e);
    if (!is_after(l, path))
        return CF_OK;
    CF_TRY(any_object(l, dir_fd, &any, e));
    return any ? emit(l, NULL, e) : CF_OK;
}

/* One folder under the current path; one that vanished meanwhile holds nothing. */
static cf_err list_child(list_run *l, int dir_fd, const char *name, cf_error *e)
{
    CF_CLEANUP(cf_dir_fd_closep) cf_dir_fd child = {.fs = l->d->fs, .fd = -1};
    const size_t len = l->path_len;
    if (!path_push(l, name, "/"))
        return CF_OK;
    cf_err err = CF_OK;
    if (folder_wanted(l, cf_slice_of(l->path, l->path_len)))
        err = l->d->fs->ops->dir_open(l->d->fs, dir_fd, name, &child.fd, e);
    if (child.fd >= 0)
        err = list_below(l, child.fd, e);
    path_cut(l, len);
    return err == CF_ERR_NOT_FOUND ? CF_OK : err;
}

/* ---- one folder ---- */

/* Do all keys of folder come before name? Both are in the same folder, and folder's own name is the
 * smaller one. */
static bool comes_first(const char *folder, const char *name)
{
    const size_t n = strlen(folder);
    return strncmp(folder, name, n) != 0 || (uint8_t)name[n] > '/';
}

typedef struct held {
    const char *folder[CF_KEY_COMPONENT_LEN_MAX]; /* each begins with the one before */
    size_t count;
} held;

/* Lists the folders held back that come before name; NULL: all. */
static cf_err release(list_run *l, int dir_fd, held *h, const char *name, cf_error *e)
{
    while (h->count > 0 && !l->stop && (name == NULL || comes_first(h->folder[h->count - 1], name)))
        CF_TRY(list_child(l, dir_fd, h->folder[--h->count], e));
    return CF_OK;
}

/* May this name matter, as a file or as a folder? Saves a stat for each that does not. */
static bool name_wanted(list_run *l, const char *name)
{
    const size_t len = l->path_len;
    if (!path_push(l, name, "/"))
        return false;
    const cf_slice folder = cf_slice_of(l->path, l->path_len);
    const cf_slice file = cf_slice_of(l->path, l->path_len - 1);
    const bool wanted =
        folder_wanted(l, folder) || (cf_slice_starts_with(file, l->prefix) && is_after(l, file));
    path_cut(l, len);
    return wanted;
}

static cf_err list_name(list_run *l, int dir_fd, held *h, const char *name, cf_error *e)
{
    cf_stat st = {0};
    CF_TRY(release(l, dir_fd, h, name, e));
    if (l->stop || !name_ok(l, name) || !name_wanted(l, name))
        return CF_OK;
    const cf_err err = l->d->fs->ops->stat_at(l->d->fs, dir_fd, name, &st, e);
    if (err == CF_ERR_NOT_FOUND)
        return CF_OK; /* deleted meanwhile */
    CF_TRY(err);
    if (st.type == CF_FILE_DIR) {
        CF_CHECK(h->count < CF_KEY_COMPONENT_LEN_MAX);
        h->folder[h->count++] = name;
        return CF_OK;
    }
    /* Not left out: what hides behind a link (moved to another disk?) would silently be missing. */
    CF_ENSURE(st.type == CF_FILE_REGULAR, e, CF_ERR_IO,
              "'%s%s' in '%.512s' is neither a file nor a folder\nHINT: move it out of the "
              "repository; links inside are "
              "not followed",
              l->path, name, l->d->path);
    return list_file(l, name, &st, e);
}

/* The prefix names the next folder in full: nothing else of this one matters. */
static bool only_child(const list_run *l, char ret[CF_KEY_COMPONENT_LEN_MAX + 1])
{
    if (l->prefix.len <= l->path_len)
        return false;
    const uint8_t *const rest = l->prefix.ptr + l->path_len;
    const uint8_t *const slash = memchr(rest, '/', l->prefix.len - l->path_len);
    if (slash == NULL || slash - rest > CF_KEY_COMPONENT_LEN_MAX)
        return false;
    memcpy(ret, rest, (size_t)(slash - rest));
    ret[slash - rest] = '\0';
    return true;
}

static cf_err list_folder(list_run *l, int dir_fd, cf_error *e)
{
    char child[CF_KEY_COMPONENT_LEN_MAX + 1];
    if (only_child(l, child)) {
        held one = {.count = 0};
        CF_TRY(list_name(l, dir_fd, &one, child, e));
        return release(l, dir_fd, &one, NULL, e);
    }
    CF_CLEANUP(cf_names_deinit) cf_names names = {0};
    held h = {.count = 0};
    CF_TRY(names_read(l->d, dir_fd, &names, e));
    for (size_t i = 0; i < names.count && !l->stop; i++)
        CF_TRY(list_name(l, dir_fd, &h, cf_names_at(&names, i), e));
    return release(l, dir_fd, &h, NULL, e);
}

cf_err cf_directory_list(cf_store *s, const char *prefix, const char *after, const char *delimiter,
                         cf_store_list_fn fn, void *impl, cf_error *e)
{
    cf_directory *const d = cf_directory_of(s);
    CF_CLEANUP(cf_dir_fd_closep) cf_dir_fd top = {.fs = d->fs, .fd = -1};
    list_run l = {
        .d = d,
        .prefix = cf_slice_str(prefix),
        .after = cf_slice_str(after),
        .delimited = delimiter != NULL,
        .fn = fn,
        .impl = impl,
    };
    int root_fd = -1;
    CF_TRY(cf_directory_enter(d, &root_fd, e));
    CF_TRY(d->fs->ops->dir_open(d->fs, root_fd, ".", &top.fd, e));
    return list_folder(&l, top.fd, e);
}
