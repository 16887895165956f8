/* SPDX-License-Identifier: Apache-2.0
 *
 * Tree: directories and symbolic links. A directory is made with mode 0700 and gets its own owner,
 * mode and time when all of the tree is there: writing into it would change the time, and its mode
 * may forbid us to enter it. Of two directories the lower one is finished first, for the same
 * reason; root enters any, so for root, and for directories that let their owner in, the order of
 * the manifest does.
 */
#include <stdio.h>
#include <unistd.h>

#include "restore/restore.h"
#include "s3/base/alloc.h"
#include "s3/base/cleanup.h"

enum {
    MODE_WHILE_FILLED = 0700,
    MODE_LETS_OWNER_IN = 0700,
    CF_TREE_BATCH_TOTAL = 4096, /* ours: directories that let nobody in, finished in one pass */
};

static cf_attributes attributes_of(const cf_file_line *const l)
{
    return (cf_attributes){.mode = l->mode, .uid = l->uid, .gid = l->gid, .mtime_ns = l->mtime_ns};
}

/* The line's name in its folder. */
typedef struct place {
    char *path; /* owned */
    int dir_fd; /* owned */
    const char *name;
} place;

static void place_deinit(place *const p)
{
    cf_fd_closep(&p->dir_fd);
    cf_free(p->path);
}

static cf_err place_open(const cf_restore *const r, const cf_slice path, place *const p,
                         cf_error *const e)
{
    p->path = cf_strndup((const char *)path.ptr, path.len);
    CF_ENSURE(p->path != NULL, e, CF_ERR_NO_MEMORY, "copy a path");
    return cf_target_open_parent(&r->target, p->path, &r->owner, &p->dir_fd, &p->name, e);
}

static bool is_top(const cf_restore *const r, const cf_slice path)
{
    return cf_slice_eq(path, cf_slice_str(r->profile->roles[0]));
}

static void count(cf_restore *const r, const bool kept, const cf_slice path)
{
    r->result.files_kept += kept;
    r->result.files_restored += !kept;
    cf_restore_log(r, CF_LOG_DETAIL, "%s %.*s", kept ? "kept" : "restored", CF_SLICE_FMT(path));
}

static cf_err dir_restore(cf_restore *const r, const cf_file_line *const l, cf_error *const e)
{
    CF_CLEANUP(place_deinit) place p = {.dir_fd = -1};
    const cf_fs *const fs = r->ctx->fs;
    cf_stat st = {0};

    if (is_top(r, l->path)) {
        r->has_top = true;
        r->top = attributes_of(l);
        count(r, /* kept= */ false, l->path);
        return CF_OK;
    }
    CF_TRY(place_open(r, l->path, &p, e));
    const cf_err made = fs->ops->mkdir_at(fs, p.dir_fd, p.name, MODE_WHILE_FILLED, e);
    if (made == CF_ERR_EXISTS) {
        CF_TRY(fs->ops->stat_at(fs, p.dir_fd, p.name, &st, e));
        CF_ENSURE(st.type == CF_FILE_DIR, e, CF_ERR_TARGET,
                  "'%s' stands in the way and is not a directory\nHINT: empty the target", p.path);
    } else {
        CF_TRY_AS(made, e, "make '%s'", p.path);
    }
    count(r, made == CF_ERR_EXISTS, l->path);
    return CF_OK;
}

/* Makes the link; *ret_kept: it was there already. Only what a broken-off restore may have left is
 * replaced. */
static cf_err link_make(const cf_restore *const r, const place *const p, const char *const target,
                        bool *const ret_kept, cf_error *const e)
{
    const cf_fs *const fs = r->ctx->fs;
    char found[CF_PATH_LEN_MAX + 1];
    cf_stat st = {0};
    const cf_err made = fs->ops->symlink_at(fs, target, p->dir_fd, p->name, e);

    if (made != CF_ERR_EXISTS)
        return made;
    CF_TRY(fs->ops->stat_at(fs, p->dir_fd, p->name, &st, e));
    CF_ENSURE(st.type == CF_FILE_SYMLINK, e, CF_ERR_TARGET,
              "'%s' stands in the way and is not a symbolic link\nHINT: empty the target", p->path);
    CF_TRY(fs->ops->readlink_at(fs, p->dir_fd, p->name, found, sizeof(found), e));
    *ret_kept = strcmp(found, target) == 0;
    if (*ret_kept)
        return CF_OK;
    CF_TRY(fs->ops->unlink_at(fs, p->dir_fd, p->name, e));
    return fs->ops->symlink_at(fs, target, p->dir_fd, p->name, e);
}

static cf_err link_restore(cf_restore *const r, const cf_file_line *const l, cf_error *const e)
{
    CF_CLEANUP(place_deinit) place p = {.dir_fd = -1};
    const cf_attributes a = attributes_of(l);
    char target[CF_PATH_LEN_MAX + 1];
    bool kept = false;

    CF_ENSURE(l->target.len < sizeof(target), e, CF_ERR_DAMAGE, "the target of '%.*s' is too long",
              CF_SLICE_FMT(l->path));
    memcpy(target, l->target.ptr, l->target.len);
    target[l->target.len] = '\0';
    CF_TRY(place_open(r, l->path, &p, e));
    CF_TRY_AS(link_make(r, &p, target, &kept, e), e, "make the link '%s'", p.path);
    CF_TRY_AS(cf_restore_link_attributes(r, p.dir_fd, p.name, &a, e), e, "finish the link '%s'",
              p.path);
    count(r, kept, l->path);
    return CF_OK;
}

cf_err cf_restore_tree_line(cf_restore *const r, const cf_file_line *const l, cf_error *const e)
{
    CF_CHECK(l->type == CF_LINE_DIR || l->type == CF_LINE_SYMLINK);
    return l->type == CF_LINE_DIR ? dir_restore(r, l, e) : link_restore(r, l, e);
}

static cf_err dir_finish(cf_restore *const r, const cf_slice path, const cf_attributes *const a,
                         cf_error *const e)
{
    CF_CLEANUP(place_deinit) place p = {.dir_fd = -1};
    CF_CLEANUP(cf_fd_closep) int fd = -1;
    const cf_fs *const fs = r->ctx->fs;

    CF_TRY(place_open(r, path, &p, e));
    CF_TRY_AS(fs->ops->dir_open(fs, p.dir_fd, p.name, &fd, e), e, "finish '%s'", p.path);
    return cf_restore_attributes(r, fd, a, e);
}

static bool lets_us_in(const cf_file_line *const l)
{
    return geteuid() == 0 || (l->mode & MODE_LETS_OWNER_IN) == MODE_LETS_OWNER_IN;
}

/* Directories that let nobody in, the last ones of those before a bound. */
typedef struct batch {
    char *path[CF_TREE_BATCH_TOTAL]; /* owned; a ring */
    cf_attributes at[CF_TREE_BATCH_TOTAL];
    size_t total; /* seen, so the newest is at (total - 1) % CF_TREE_BATCH_TOTAL */
    char *bound;  /* owned; NULL: none */
} batch;

static void batch_free(batch *const b)
{
    for (size_t i = 0; i < CF_TREE_BATCH_TOTAL; i++)
        cf_free(b->path[i]);
    cf_free(b->bound);
    cf_free(b);
}
CF_DEFINE_FREEP(batch, batch_free)

static cf_err batch_put(batch *const b, const cf_file_line *const l, cf_error *const e)
{
    const size_t i = b->total % CF_TREE_BATCH_TOTAL;

    cf_free(b->path[i]);
    b->path[i] = cf_strndup((const char *)l->path.ptr, l->path.len);
    CF_ENSURE(b->path[i] != NULL, e, CF_ERR_NO_MEMORY, "copy a path");
    b->at[i] = attributes_of(l);
    b->total++;
    return CF_OK;
}

/* One pass over the manifest. first: those that let us in are finished as they come. */
static cf_err batch_collect(cf_restore *const r, batch *const b, const bool first,
                            cf_error *const e)
{
    const cf_file_line *l = NULL;

    b->total = 0;
    CF_TRY(cf_cursor_rewind(r->files, e));
    for (;;) {
        CF_TRY(cf_cursor_next_file(r->files, &l, e));
        if (l == NULL)
            return CF_OK;
        if (l->type != CF_LINE_DIR || is_top(r, l->path))
            continue;
        if (!lets_us_in(l) &&
            (b->bound == NULL || cf_slice_cmp(l->path, cf_slice_str(b->bound)) < 0)) {
            CF_TRY(batch_put(b, l, e));
        } else if (first && lets_us_in(l)) {
            const cf_attributes a = attributes_of(l);
            CF_TRY(dir_finish(r, l->path, &a, e));
        }
    }
}

/* From the last to the first: what is below a directory sorts behind it. */
static cf_err batch_finish(cf_restore *const r, batch *const b, cf_error *const e)
{
    const size_t total = b->total < CF_TREE_BATCH_TOTAL ? b->total : CF_TREE_BATCH_TOTAL;

    for (size_t k = 0; k < total; k++) {
        const size_t i = (b->total - 1 - k) % CF_TREE_BATCH_TOTAL;

        CF_TRY(dir_finish(r, cf_slice_str(b->path[i]), &b->at[i], e));
        if (k + 1 == total) {
            cf_free(b->bound);
            b->bound = CF_STEAL(b->path[i]);
        }
    }
    return CF_OK;
}

cf_err cf_restore_tree_finish(cf_restore *const r, cf_error *const e)
{
    CF_CLEANUP(batch_freep) batch *b = NULL;
    bool first = true;

    CF_NEW(b, e);
    do {
        CF_TRY(batch_collect(r, b, first, e));
        CF_TRY(batch_finish(r, b, e));
        first = false;
    } while (b->total > CF_TREE_BATCH_TOTAL);
    return CF_OK;
}

cf_err cf_restore_tree_top(cf_restore *const r, cf_error *const e)
{
    if (!r->has_top)
        return CF_OK;
    return cf_restore_attributes(r, r->target.db_fd, &r->top, e);
}
