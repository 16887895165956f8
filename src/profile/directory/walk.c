/* SPDX-License-Identifier: Apache-2.0
 *
 * The walk: a tree by the bytes of its paths, with one directory's names a level in memory.
 *
 * What is below "a" sorts as "a/...", so behind "a-" and "a.b", which sort behind "a": a directory's
 * line comes where its name is, and it is gone into only when no name of its folder comes before
 * "a/" any more. Several may wait so at once, but then each is the beginning of the next ("a",
 * "a-", "a-b"), and the longest goes first: a stack.
 *
 * Nothing is followed: every directory is opened from its parent's descriptor, and must be the one
 * whose line was given.
 */
#include <stdio.h>

#include "profile/directory/source.h"
#include "s3/base/alloc.h"
#include "s3/base/cleanup.h"

static void level_deinit(const cf_source *const s, cf_tree_level *const l)
{
    if (l->fd >= 0)
        (void)s->opts.fs->ops->close(s->opts.fs, l->fd, NULL);
    cf_names_deinit(&l->names);
    cf_free(l->pending);
    *l = (cf_tree_level){.fd = -1};
}

void cf_tree_walk_deinit(cf_source *const s)
{
    while (s->walk.depth > 0)
        level_deinit(s, &s->walk.level[--s->walk.depth]);
}

/* Is this directory the one whose line was given? */
static bool is_same(const cf_stat *const st, const cf_tree_pending *const p)
{
    return st->dev == p->dev && st->ino == p->ino;
}

static cf_err level_fill(const cf_source *const s, cf_tree_level *const l, const int dir_fd,
                         const char *const name, const cf_tree_pending *const expected,
                         cf_error *const e)
{
    const cf_fs *const fs = s->opts.fs;
    cf_stat st = {0};

    CF_TRY(fs->ops->dir_open(fs, dir_fd, name, &l->fd, e));
    CF_TRY(fs->ops->stat_fd(fs, l->fd, &st, e));
    CF_ENSURE(is_same(&st, expected), e, CF_ERR_IO, "another directory took its place");
    return fs->ops->list(fs, l->fd, &l->names, e);
}

/* Goes down into a directory; what cannot be entered is told, and the walk goes on behind it. */
static cf_err descend(cf_source *const s, const int dir_fd, const char *const name,
                      const cf_tree_pending *const expected, cf_error *const e)
{
    cf_tree_walk *const w = &s->walk;
    cf_error why = {0};

    if (w->depth == CF_TREE_DEPTH_MAX) {
        cf_tree_tell(s, CF_TREE_TOO_LONG, w->path, "what is in it lies too deep");
        return CF_OK;
    }
    cf_tree_level *const l = &w->level[w->depth];
    *l = (cf_tree_level){.fd = -1};
    if (level_fill(s, l, dir_fd, name, expected, &why) != CF_OK) {
        level_deinit(s, l);
        return cf_tree_pass_over(s, w->path, &why, e);
    }
    l->path_len = strlen(w->path) + 1;
    w->depth++;
    return CF_OK;
}

/* "a/" against another name of the folder. */
static int inside_cmp(const char *const dir, const char *const name)
{
    const size_t len = strlen(dir);
    const int order = strncmp(dir, name, len);

    return order != 0 ? order : '/' - (int)(unsigned char)name[len];
}

static cf_err pending_push(cf_tree_level *const l, const cf_stat *const st, cf_error *const e)
{
    if (l->pending_total == l->pending_cap) {
        const size_t cap = l->pending_cap == 0 ? 4 : l->pending_cap * 2;
        cf_tree_pending *const grown = cf_realloc(l->pending, cap, sizeof(*grown));

        CF_ENSURE(grown != NULL, e, CF_ERR_NO_MEMORY, "allocate %zu directories", cap);
        l->pending = grown;
        l->pending_cap = cap;
    }
    l->pending[l->pending_total++] =
        (cf_tree_pending){.name = (uint32_t)(l->next - 1), .dev = st->dev, .ino = st->ino};
    return CF_OK;
}

/* Puts a name behind the level's path; false: it is too long to be stored. */
static bool path_set(cf_tree_walk *const w, const cf_tree_level *const l, const char *const name)
{
    w->path[l->path_len - 1] = '/';
    (void)snprintf(w->path + l->path_len, sizeof(w->path) - l->path_len, "%s", name);
    return l->path_len + strlen(name) <= CF_PATH_LEN_MAX;
}

static const char *path_from_top(const cf_tree_walk *const w)
{
    return w->path + sizeof("dir/") - 1;
}

/* A directory: does the walk go into it? Its line is written all the same, but for our own. */
static cf_err dir_look(cf_source *const s, cf_tree_level *const l, const cf_stat *const st,
                       bool *const ret_wanted, cf_error *const e)
{
    if (s->has_leave_out && st->dev == s->leave_out_dev && st->ino == s->leave_out_ino) {
        cf_tree_tell(s, CF_TREE_OUR_OWN, s->walk.path, "it is the repository that is written to");
        *ret_wanted = false;
        return CF_OK;
    }
    if (s->opts.one_file_system && st->dev != s->top_dev) {
        s->other_fs_total++;
        return CF_OK;
    }
    return pending_push(l, st, e);
}

/* Is the name at the walk's path to be stored? */
static cf_err name_look(cf_source *const s, cf_tree_level *const l, const char *const name,
                        cf_stat *const ret, bool *const ret_wanted, cf_error *const e)
{
    const cf_fs *const fs = s->opts.fs;
    cf_error why = {0};

    *ret_wanted = false;
    if (!path_set(&s->walk, l, name)) {
        cf_tree_tell(s, CF_TREE_TOO_LONG, s->walk.path, "its path is too long");
        return CF_OK;
    }
    if (fs->ops->stat_at(fs, l->fd, name, ret, &why) != CF_OK)
        return cf_tree_pass_over(s, s->walk.path, &why, e);
    if (cf_exclude_matches(s->exclude, path_from_top(&s->walk), ret->type == CF_FILE_DIR)) {
        s->excluded_total++;
        return CF_OK;
    }
    if (ret->type == CF_FILE_OTHER) {
        cf_tree_tell(s, CF_TREE_SPECIAL, s->walk.path, "it is a socket, a fifo or a device");
        return CF_OK;
    }
    *ret_wanted = true;
    return ret->type == CF_FILE_DIR ? dir_look(s, l, ret, ret_wanted, e) : CF_OK;
}

static cf_err begin(cf_source *const s, cf_tree_node *const ret, cf_error *const e)
{
    const cf_fs *const fs = s->opts.fs;
    cf_stat st = {0};

    CF_TRY(fs->ops->stat_fd(fs, s->top_fd, &st, e));
    (void)snprintf(s->walk.path, sizeof(s->walk.path), "dir");
    *ret = (cf_tree_node){.path = s->walk.path, .dir_fd = s->top_fd, .name = ".", .st = st};
    s->walk.begun = true;
    /* The one directory without which there is no snapshot at all. */
    cf_tree_level *const l = &s->walk.level[0];
    *l = (cf_tree_level){.fd = -1, .path_len = sizeof("dir/") - 1};
    s->walk.depth = 1;
    const cf_tree_pending top = {.dev = st.dev, .ino = st.ino};
    return level_fill(s, l, s->top_fd, ".", &top, e);
}

/* One step of the walk: a node, a directory gone into or left, or a name passed over. */
static cf_err step(cf_source *const s, cf_tree_node *const ret, bool *const ret_found,
                   cf_error *const e)
{
    cf_tree_walk *const w = &s->walk;
    cf_tree_level *const l = &w->level[w->depth - 1];
    const char *const name = l->next < l->names.count ? cf_names_at(&l->names, l->next) : NULL;

    if (l->pending_total > 0) {
        CF_CHECK(l->names.text != NULL); /* it has a name */
        const cf_tree_pending p = l->pending[l->pending_total - 1];
        const char *const dir = cf_names_at(&l->names, p.name);

        if (name == NULL || inside_cmp(dir, name) < 0) {
            l->pending_total--;
            (void)path_set(w, l, dir);
            return descend(s, l->fd, dir, &p, e);
        }
    }
    if (name == NULL) {
        level_deinit(s, l);
        w->depth--;
        return CF_OK;
    }
    l->next++;
    CF_TRY(name_look(s, l, name, &ret->st, ret_found, e));
    ret->path = w->path;
    ret->dir_fd = l->fd;
    ret->name = name;
    return CF_OK;
}

cf_err cf_tree_walk_next(cf_source *const s, cf_tree_node *const ret, bool *const ret_found,
                         cf_error *const e)
{
    const cf_world *const w = s->opts.world;

    *ret_found = !s->walk.begun;
    if (!s->walk.begun)
        return begin(s, ret, e);
    while (!*ret_found && s->walk.depth > 0) {
        CF_ENSURE(!w->stopping(w->impl), e, CF_ERR_INTERRUPTED, "interrupted");
        CF_TRY(step(s, ret, ret_found, e));
    }
    return CF_OK;
}

cf_err cf_tree_open_parent(const cf_source *const s, const char *const path, int *const ret_fd,
                           const char **const ret_name, cf_error *const e)
{
    const cf_fs *const fs = s->opts.fs;
    CF_CLEANUP(cf_fd_closep) int fd = -1;
    const char *rest = path + sizeof("dir/") - 1;

    CF_TRY(fs->ops->dir_open(fs, s->top_fd, ".", &fd, e));
    for (const char *slash = strchr(rest, '/'); slash != NULL; slash = strchr(rest, '/')) {
        char part[CF_NAME_LEN_MAX + 1];
        int sub_fd = -1;

        (void)snprintf(part, sizeof(part), "%.*s", (int)(slash - rest), rest);
        CF_TRY(fs->ops->dir_open(fs, fd, part, &sub_fd, e));
        cf_fd_closep(&fd);
        fd = sub_fd;
        rest = slash + 1;
    }
    *ret_name = rest;
    *ret_fd = fd;
    fd = -1;
    return CF_OK;
}
