/* SPDX-License-Identifier: Apache-2.0
 *
 * Target: the directories a node is restored into. Never written over: empty, or begun by a restore of the same snapshot.
 */
#include <stdio.h>

#include "restore/restore.h"
#include "s3/base/alloc.h"
#include "s3/base/cleanup.h"

enum { CF_MARKER_LEN_MAX = 256 };

static cf_err close_fd(const cf_fs *const fs, int *const fd, cf_error *const e)
{
    const int old = *fd;

    *fd = -1;
    return old >= 0 ? fs->ops->close(fs, old, e) : CF_OK;
}

static cf_err open_if_there(const cf_fs *const fs, const int dir_fd, const char *const path,
                            int *const ret_fd, cf_error *const e)
{
    const cf_err err = fs->ops->dir_open(fs, dir_fd, path, ret_fd, e);

    if (err == CF_ERR_NOT_FOUND) {
        *ret_fd = -1;
        return CF_OK;
    }
    return err;
}

/* Files a filesystem brings along are not somebody's data. */
static cf_err ensure_empty(const cf_fs *const fs, const int dir_fd, const char *const path,
                           cf_error *const e)
{
    CF_CLEANUP(cf_names_deinit) cf_names names = {0};

    if (dir_fd < 0)
        return CF_OK;
    CF_TRY(fs->ops->list(fs, dir_fd, &names, e));
    for (size_t i = 0; i < names.count; i++) {
        const char *const name = cf_names_at(&names, i);

        if (strcmp(name, "lost+found") != 0 && strcmp(name, CF_RESTORE_MARKER CF_RESTORE_TMP) != 0)
            CF_FAIL(e, CF_ERR_TARGET,
                    "target '%s' is not empty: it holds '%s'\nHINT: restore into an empty or "
                    "missing directory, then move it",
                    path, name);
    }
    return CF_OK;
}

/* The marker's text, or "" when there is none. */
static cf_err marker_read(const cf_target *const t, char ret[CF_MARKER_LEN_MAX + 1],
                          cf_error *const e)
{
    CF_CLEANUP(cf_buf_deinit) cf_buf b = {0};

    ret[0] = '\0';
    if (t->db_fd < 0)
        return CF_OK;
    cf_buf_init(&b, CF_MARKER_LEN_MAX);
    const cf_err err = cf_fs_read_small(t->fs, t->db_fd, CF_RESTORE_MARKER, &b, e);
    if (err == CF_ERR_NOT_FOUND)
        return CF_OK;
    CF_TRY(err);
    (void)snprintf(ret, CF_MARKER_LEN_MAX + 1, "%.*s", (int)b.len, (const char *)b.data);
    return CF_OK;
}

static void marker_render(const char *const node, const cf_run_id *const run,
                          char ret[CF_MARKER_LEN_MAX + 1])
{
    (void)snprintf(ret, CF_MARKER_LEN_MAX + 1, "%s %s\n", node, run->text);
}

cf_err cf_target_look(cf_target *const t, const char *const node, const cf_run_id *const run,
                      cf_error *const e)
{
    char found[CF_MARKER_LEN_MAX + 1], ours[CF_MARKER_LEN_MAX + 1];

    CF_TRY_AS(open_if_there(t->fs, CF_FS_CWD, t->db, &t->db_fd, e), e, "open target");
    if (t->index != NULL)
        CF_TRY_AS(open_if_there(t->fs, CF_FS_CWD, t->index, &t->index_fd, e), e,
                  "open index target");
    else if (t->db_fd >= 0 && t->roles[1] != NULL)
        CF_TRY_AS(open_if_there(t->fs, t->db_fd, t->roles[1], &t->index_fd, e), e,
                  "open index target");
    CF_TRY(marker_read(t, found, e));
    marker_render(node, run, ours);
    t->resumed = strcmp(found, ours) == 0;
    if (t->resumed)
        return CF_OK;
    CF_ENSURE(found[0] == '\0', e, CF_ERR_TARGET,
              "target '%s' holds a restore that was broken off, of another snapshot: %.*s\nHINT: "
              "run that restore again, or empty the directory",
              t->db, (int)strcspn(found, "\n"), found);
    CF_TRY(ensure_empty(t->fs, t->db_fd, t->db, e));
    return t->index != NULL ? ensure_empty(t->fs, t->index_fd, t->index, e) : CF_OK;
}

/* Opens a directory that is made when missing, one component; its owner is set when it was made. */
static cf_err subdir_open(const cf_fs *const fs, const int dir_fd, const char *const name,
                          const cf_owner *const owner, int *const ret_fd, cf_error *const e)
{
    CF_CLEANUP(cf_fd_closep) int fd = -1;
    const cf_err made = fs->ops->mkdir_at(fs, dir_fd, name, 0755, e);

    if (made != CF_OK && made != CF_ERR_EXISTS)
        return made;
    CF_TRY(fs->ops->dir_open(fs, dir_fd, name, &fd, e));
    if (made == CF_OK && owner->given)
        CF_TRY(fs->ops->chown_fd(fs, fd, owner->uid, owner->gid, e));
    *ret_fd = fd;
    fd = -1;
    return CF_OK;
}

/* mkdir -p, then open. The path is the operator's: links in it are followed, but not at its end. */
static cf_err path_open(const cf_fs *const fs, const char *const path, const cf_owner *const owner,
                        int *const ret_fd, cf_error *const e)
{
    char part[CF_PATH_LEN_MAX];

    for (const char *at = path; (at = strchr(at + 1, '/')) != NULL;) {
        if (at[1] == '\0')
            break;
        CF_ENSURE((size_t)(at - path) < sizeof(part), e, CF_ERR_USAGE,
                  "path '%.100s...' is longer than %d bytes", path, CF_PATH_LEN_MAX);
        (void)snprintf(part, sizeof(part), "%.*s", (int)(at - path), path);
        const cf_err err = fs->ops->mkdir_at(fs, CF_FS_CWD, part, 0755, e);
        if (err != CF_OK && err != CF_ERR_EXISTS) {
            cf_stat st = {0};
            if (fs->ops->stat_at(fs, CF_FS_CWD, part, &st, NULL) != CF_OK)
                return err; /* else it is there, on a read-only filesystem perhaps */
        }
    }
    return subdir_open(fs, CF_FS_CWD, path, owner, ret_fd, e);
}

static cf_err marker_fill(const cf_target *const t, const int fd, const char *const tmp,
                          const char *const text, cf_error *const e)
{
    CF_TRY(t->fs->ops->pwrite(t->fs, fd, cf_slice_str(text), 0, e));
    CF_TRY(t->fs->ops->sync(t->fs, fd, e));
    CF_TRY(t->fs->ops->rename_at(t->fs, t->db_fd, tmp, CF_RESTORE_MARKER, e));
    return t->fs->ops->sync(t->fs, t->db_fd, e);
}

/* Whole or not there: half a marker would make what follows somebody else's directory. */
static cf_err marker_write(const cf_target *const t, const char *const node,
                           const cf_run_id *const run, cf_error *const e)
{
    static const char tmp[] = CF_RESTORE_MARKER CF_RESTORE_TMP;
    CF_CLEANUP(cf_fd_closep) int fd = -1;
    char text[CF_MARKER_LEN_MAX + 1];

    if (t->resumed)
        return CF_OK;
    marker_render(node, run, text);
    cf_err made = t->fs->ops->file_open(t->fs, t->db_fd, tmp, CF_FS_CREATE_NEW, &fd, e);
    if (made == CF_ERR_EXISTS) { /* of a restore that was killed just here */
        CF_TRY(t->fs->ops->unlink_at(t->fs, t->db_fd, tmp, e));
        made = t->fs->ops->file_open(t->fs, t->db_fd, tmp, CF_FS_CREATE_NEW, &fd, e);
    }
    CF_TRY(made);
    const cf_err err = marker_fill(t, fd, tmp, text, e);
    if (err != CF_OK)
        (void)t->fs->ops->unlink_at(t->fs, t->db_fd, tmp, NULL);
    return err;
}

cf_err cf_target_make(cf_target *const t, const char *const node, const cf_run_id *const run,
                      const cf_owner *const owner, cf_error *const e)
{
    if (t->db_fd < 0)
        CF_TRY_AS(path_open(t->fs, t->db, owner, &t->db_fd, e), e, "make target");
    CF_TRY_AS(marker_write(t, node, run, e), e, "mark target '%s'", t->db);
    if (t->index_fd >= 0 || t->roles[1] == NULL)
        return CF_OK;
    if (t->index != NULL)
        CF_TRY_AS(path_open(t->fs, t->index, owner, &t->index_fd, e), e, "make index target");
    else
        CF_TRY_AS(subdir_open(t->fs, t->db_fd, t->roles[1], owner, &t->index_fd, e), e,
                  "make index target");
    return CF_OK;
}

/* The nearest directory that is there: where the free bytes of a missing target are counted. */
static cf_err nearest_open(const cf_fs *const fs, const char *const path, int *const ret_fd,
                           cf_error *const e)
{
    char part[CF_PATH_LEN_MAX];

    (void)snprintf(part, sizeof(part), "%s", path);
    for (;;) {
        char *const slash = strrchr(part, '/');

        if (slash == NULL)
            return fs->ops->dir_open(fs, CF_FS_CWD, ".", ret_fd, e);
        slash[slash == part] = '\0';
        CF_TRY(open_if_there(fs, CF_FS_CWD, part, ret_fd, e));
        if (*ret_fd >= 0 || slash == part)
            return CF_OK;
    }
}

typedef struct volume {
    uint64_t dev, free_bytes;
} volume;

static cf_err volume_look(const cf_fs *const fs, const int fd, const char *const path,
                          volume *const ret, cf_error *const e)
{
    CF_CLEANUP(cf_fd_closep) int near_fd = -1;
    cf_stat st = {0};

    if (fd < 0)
        CF_TRY(nearest_open(fs, path, &near_fd, e));
    const int use = fd >= 0 ? fd : near_fd;
    CF_TRY(fs->ops->stat_fd(fs, use, &st, e));
    CF_TRY(fs->ops->free_bytes(fs, use, &ret->free_bytes, e));
    ret->dev = st.dev;
    return CF_OK;
}

cf_err cf_target_check_space(const cf_target *const t, const uint64_t db_bytes,
                             const uint64_t index_bytes, cf_error *const e)
{
    volume db = {0}, index = {0};

    CF_TRY(volume_look(t->fs, t->db_fd, t->db, &db, e));
    CF_TRY(volume_look(t->fs, t->index_fd, t->index != NULL ? t->index : t->db, &index, e));
    const bool shared = t->index == NULL || db.dev == index.dev;
    const uint64_t need = shared ? db_bytes + index_bytes : db_bytes;
    CF_ENSURE(
        need <= db.free_bytes, e, CF_ERR_NO_SPACE,
        "the restore needs %llu bytes on '%s', where %llu are free\nHINT: nothing was written",
        (unsigned long long)need, t->db, (unsigned long long)db.free_bytes);
    CF_ENSURE(
        shared || index_bytes <= index.free_bytes, e, CF_ERR_NO_SPACE,
        "the restore needs %llu bytes on '%s', where %llu are free\nHINT: nothing was written",
        (unsigned long long)index_bytes, t->index, (unsigned long long)index.free_bytes);
    return CF_OK;
}

/* Is the path the role's name, or below it? */
static bool is_of_role(const cf_slice path, const char *const role)
{
    const cf_slice name = cf_slice_str(role);

    return cf_slice_starts_with(path, name) && (path.len == name.len || path.ptr[name.len] == '/');
}

int cf_target_role(const cf_target *const t, const cf_slice path)
{
    for (int i = 0; t->roles[i] != NULL; i++) {
        if (is_of_role(path, t->roles[i]))
            return i;
    }
    return -1;
}

static cf_err role_of(const cf_target *const t, const char *const path, int *const ret_fd,
                      const char **const ret_rest, cf_error *const e)
{
    const int role = cf_target_role(t, cf_slice_str(path));
    const size_t len = role < 0 ? 0 : strlen(t->roles[role]);

    CF_ENSURE(role >= 0 && path[len] == '/', e, CF_ERR_DAMAGE,
              "path '%s' of the manifest belongs to no directory of this profile (%s%s%s)", path,
              t->roles[0], t->roles[1] != NULL ? ", " : "", t->roles[1] != NULL ? t->roles[1] : "");
    *ret_fd = role == 0 ? t->db_fd : t->index_fd;
    *ret_rest = path + len + 1;
    return CF_OK;
}

cf_err cf_target_open_parent(const cf_target *const t, const char *const path,
                             const cf_owner *const owner, int *const ret_fd,
                             const char **const ret_name, cf_error *const e)
{
    CF_CLEANUP(cf_fd_closep) int fd = -1;
    const char *rest = NULL;
    int role_fd = -1;

    CF_TRY(role_of(t, path, &role_fd, &rest, e));
    CF_TRY(t->fs->ops->dir_open(t->fs, role_fd, ".", &fd, e));
    for (const char *slash = strchr(rest, '/'); slash != NULL;
         rest = slash + 1, slash = strchr(rest, '/')) {
        char part[CF_NAME_SIZE];
        cf_error why = {0};
        int sub_fd = -1;

        CF_ENSURE((size_t)(slash - rest) < sizeof(part), e, CF_ERR_DAMAGE,
                  "path '%s' has a component longer than a file name", path);
        (void)snprintf(part, sizeof(part), "%.*s", (int)(slash - rest), rest);
        if (subdir_open(t->fs, fd, part, owner, &sub_fd, &why) != CF_OK)
            CF_FAIL(e, CF_ERR_TARGET,
                    "'%s' of '%s' cannot be entered: %s\nHINT: a link or a file stands in the way, "
                    "or permission is missing",
                    part, path, why.message);
        (void)close_fd(t->fs, &fd, NULL);
        fd = sub_fd;
    }
    CF_ENSURE(strlen(rest) <= CF_NAME_LEN_MAX, e, CF_ERR_DAMAGE,
              "path '%s' ends in a name longer than a file may have", path);
    *ret_fd = fd;
    *ret_name = rest;
    fd = -1;
    return CF_OK;
}

cf_err cf_target_open_dir(const cf_target *const t, const char *const path, int *const ret_fd,
                          cf_error *const e)
{
    const int role = cf_target_role(t, cf_slice_str(path));
    CF_CHECK(role >= 0);
    const char *const rest = path + strlen(t->roles[role]);

    return t->fs->ops->dir_open(t->fs, role == 0 ? t->db_fd : t->index_fd,
                                rest[0] == '/' ? rest + 1 : ".", ret_fd, e);
}

cf_err cf_target_sync(const cf_target *const t, cf_error *const e)
{
    CF_TRY(t->fs->ops->sync(t->fs, t->db_fd, e));
    return t->index_fd >= 0 ? t->fs->ops->sync(t->fs, t->index_fd, e) : CF_OK;
}

cf_err cf_target_finish(const cf_target *const t, cf_error *const e)
{
    CF_TRY(t->fs->ops->unlink_at(t->fs, t->db_fd, CF_RESTORE_MARKER, e));
    return t->fs->ops->sync(t->fs, t->db_fd, e);
}

void cf_target_deinit(cf_target *const t)
{
    (void)close_fd(t->fs, &t->index_fd, NULL);
    (void)close_fd(t->fs, &t->db_fd, NULL);
}
