/* SPDX-License-Identifier: Apache-2.0
 *
 * Sweep: what a server that was started too early left in the target, and what must not stand while
 * a broken-off restore goes on. Only names that the profile knows as a server's own are removed,
 * and only when the snapshot has no such file.
 */
#include <stdio.h>

#include "restore/restore.h"
#include "s3/base/alloc.h"
#include "s3/base/cleanup.h"

enum { CF_SWEEP_FOLDER_TOTAL_MAX = 8 };

/* One folder of the target: the files a server may have left, and which of them the snapshot has.
 */
typedef struct folder {
    const char *path; /* role-relative, the profile's; NULL: not there */
    int fd;
    cf_names names;
    bool *keep; /* owned; names.count entries */
    size_t suspect_total;
} folder;

typedef struct sweep {
    const cf_restore *r;
    folder at[CF_SWEEP_FOLDER_TOTAL_MAX];
    size_t total;
} sweep;

static void sweep_deinit(sweep *const s)
{
    const cf_fs *const fs = s->r->ctx->fs;

    for (size_t i = 0; i < s->total; i++) {
        if (s->at[i].fd >= 0)
            (void)fs->ops->close(fs, s->at[i].fd, NULL);
        cf_names_deinit(&s->at[i].names);
        cf_free(s->at[i].keep);
    }
}

static bool is_suspect(const cf_restore *const r, const folder *const f, const size_t i)
{
    char path[CF_PATH_LEN_MAX];

    (void)snprintf(path, sizeof(path), "%s/%s", f->path, cf_names_at(&f->names, i));
    return r->profile->is_leftover(path);
}

/* Opens one folder and lists what is suspect in it. */
static cf_err folder_look(sweep *const s, const char *const path, cf_error *const e)
{
    const cf_fs *const fs = s->r->ctx->fs;
    folder *const f = &s->at[s->total++];

    *f = (folder){.path = path, .fd = -1};
    const cf_err err = cf_target_open_dir(&s->r->target, path, &f->fd, e);
    if (err == CF_ERR_NOT_FOUND)
        return CF_OK;
    CF_TRY(err);
    CF_TRY(fs->ops->list(fs, f->fd, &f->names, e));
    f->keep = cf_alloc(f->names.count + 1, sizeof(*f->keep));
    CF_ENSURE(f->keep != NULL, e, CF_ERR_NO_MEMORY, "note %zu names", f->names.count);
    for (size_t i = 0; i < f->names.count; i++) {
        f->keep[i] = !is_suspect(s->r, f, i);
        f->suspect_total += !f->keep[i];
    }
    return CF_OK;
}

/* The snapshot has this file: it stays. */
static void line_keep(sweep *const s, const cf_file_line *const l)
{
    for (size_t k = 0; k < s->total; k++) {
        folder *const f = &s->at[k];
        const size_t len = strlen(f->path);

        if (l->path.len <= len + 1 || memcmp(l->path.ptr, f->path, len) != 0 ||
            l->path.ptr[len] != '/')
            continue;
        const cf_slice name = cf_slice_of(l->path.ptr + len + 1, l->path.len - len - 1);
        for (size_t low = 0, high = f->names.count; low < high;) {
            const size_t middle = low + (high - low) / 2;
            const int order = cf_slice_cmp(cf_slice_str(cf_names_at(&f->names, middle)), name);

            if (order == 0) {
                f->keep[middle] = true;
                break;
            }
            if (order < 0)
                low = middle + 1;
            else
                high = middle;
        }
    }
}

static cf_err unlink_if_there(const cf_restore *const r, const int dir_fd, const char *const name,
                              cf_error *const e)
{
    cf_error why = {0};
    const cf_err err = r->ctx->fs->ops->unlink_at(r->ctx->fs, dir_fd, name, &why);

    if (err == CF_OK || err == CF_ERR_NOT_FOUND)
        return CF_OK;
    if (e != NULL)
        *e = why;
    return err;
}

static cf_err folder_sweep(const cf_restore *const r, const folder *const f, cf_error *const e)
{
    for (size_t i = 0; i < f->names.count; i++) {
        const char *const name = cf_names_at(&f->names, i);
        cf_stat st = {0};

        if (f->keep[i] || r->ctx->fs->ops->stat_at(r->ctx->fs, f->fd, name, &st, NULL) != CF_OK ||
            st.type != CF_FILE_REGULAR)
            continue;
        CF_TRY_AS(unlink_if_there(r, f->fd, name, e), e, "remove '%s/%s'", f->path, name);
        cf_restore_log(r, CF_LOG_DETAIL,
                       "removed %s/%s: a server that was started too early left it", f->path, name);
    }
    return f->fd >= 0 ? r->ctx->fs->ops->sync(r->ctx->fs, f->fd, e) : CF_OK;
}

cf_err cf_restore_sweep(cf_restore *const r, cf_error *const e)
{
    CF_CLEANUP(sweep_deinit) sweep s = {.r = r};
    const cf_file_line *l = NULL;
    size_t suspect_total = 0;

    for (const char *const *path = r->profile->leftover_folders; *path != NULL; path++) {
        CF_CHECK(s.total < CF_SWEEP_FOLDER_TOTAL_MAX);
        CF_TRY_AS(folder_look(&s, *path, e), e, "look for leftovers in '%s'", *path);
        suspect_total += s.at[s.total - 1].suspect_total;
    }
    /* All that were placed are there, so as many names as lines are the same names. */
    if (suspect_total <= r->suspect_total)
        return CF_OK;
    CF_TRY(cf_cursor_rewind(r->files, e));
    for (;;) {
        CF_TRY(cf_cursor_next_file(r->files, &l, e));
        if (l == NULL)
            break;
        line_keep(&s, l);
    }
    for (size_t i = 0; i < s.total; i++)
        CF_TRY(folder_sweep(r, &s.at[i], e));
    return CF_OK;
}

/* A restore that goes on may have been killed behind its last step: until it is there again, what
 * lets the server start must not be. */
cf_err cf_restore_withdraw(cf_restore *const r, cf_error *const e)
{
    const cf_file_line *l = NULL;

    if (!r->target.resumed)
        return CF_OK;
    for (unsigned i = 0;; i++) {
        const char *name = NULL;
        uint8_t content[16];
        size_t len = 0;

        CF_TRY(r->profile->extra_file(r->root->facts, i, &name, content, &len, e));
        if (name == NULL)
            break;
        CF_TRY(unlink_if_there(r, r->target.db_fd, name, e));
    }
    CF_TRY(cf_cursor_rewind(r->files, e));
    for (;;) {
        CF_TRY(cf_cursor_next_file(r->files, &l, e));
        if (l == NULL)
            return cf_target_sync(&r->target, e);
        if (r->profile->placement(l) != CF_PLACE_LAST ||
            !cf_slice_starts_with(l->path, cf_slice_str("db/")))
            continue;
        char name[CF_NAME_SIZE];
        CF_ENSURE(l->path.len - 3 < sizeof(name), e, CF_ERR_DAMAGE,
                  "path '%.*s' ends in a name longer than a file may have", CF_SLICE_FMT(l->path));
        (void)snprintf(name, sizeof(name), "%.*s", (int)(l->path.len - 3),
                       (const char *)l->path.ptr + 3);
        CF_TRY(unlink_if_there(r, r->target.db_fd, name, e));
    }
}
