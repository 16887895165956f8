/* SPDX-License-Identifier: Apache-2.0
 *
 * Entries: what is known of one name, and whether its content has to be read.
 *
 * A file is taken as unchanged when size, mtime, ctime and inode are the parent's: ctime cannot be
 * set by anybody, so it also shows what was written by tools that put the mtime back. It is kept in
 * the line only when the file had rested for a tick of the clock before it was read; else it could
 * have been written to once more without any of them showing it.
 */
#include "profile/directory/source.h"
#include "s3/base/alloc.h"
#include "s3/base/cleanup.h"

#define NS_PER_MS INT64_C(1000000)
#define NS_PER_S  INT64_C(1000000000)

typedef struct cf_tree_entry {
    struct cf_tree_entry *next;
    cf_entry entry;
    cf_stat st;        /* before it was read */
    char *path, *name; /* owned; name NULL: the path is text */
    char *bytes;       /* owned: inline content, or a link's target */
} cf_tree_entry;

static void entry_free(const cf_source *const s, cf_tree_entry *const t)
{
    if (t->entry.fd >= 0)
        (void)s->opts.fs->ops->close(s->opts.fs, t->entry.fd, NULL);
    cf_free(t->path);
    cf_free(t->name);
    cf_free(t->bytes);
    cf_free(t);
}

void cf_tree_entries_drop(cf_source *const s)
{
    while (s->under_way != NULL) {
        cf_tree_entry *const t = s->under_way;

        s->under_way = t->next;
        entry_free(s, t);
    }
}

static void under_way_put(cf_source *const s, cf_tree_entry *const t)
{
    cf_tree_entry **at = &s->under_way;

    while (*at != NULL)
        at = &(*at)->next;
    *at = t;
}

/* At the end of under_way from here on. */
static cf_err entry_new(cf_source *const s, const uint16_t step, const cf_tree_node *const node,
                        cf_tree_entry **const ret, cf_error *const e)
{
    char name[CF_TREE_NAME_SIZE];
    cf_tree_entry *t = NULL;

    CF_NEW(t, e);
    t->entry.fd = -1;
    under_way_put(s, t);
    t->path = cf_strdup(node->path);
    cf_tree_name_render(node->path, name);
    const bool is_text = strcmp(name, node->path) == 0;
    t->name = is_text ? NULL : cf_strdup(name);
    CF_ENSURE(t->path != NULL && (is_text || t->name != NULL), e, CF_ERR_NO_MEMORY,
              "allocate a path");
    t->entry = (cf_entry){
        .step = step, .path = t->path, .name = t->name, .fd = -1, .prior_given = true, .own = t};
    *ret = t;
    return CF_OK;
}

static void entry_drop_last(cf_source *const s)
{
    cf_tree_entry **at = &s->under_way;

    while ((*at)->next != NULL)
        at = &(*at)->next;
    entry_free(s, *at);
    *at = NULL;
}

static void stat_take(cf_tree_entry *const t, const cf_stat *const st)
{
    t->st = *st;
    t->entry.mode = st->mode;
    t->entry.uid = st->uid;
    t->entry.gid = st->gid;
    t->entry.mtime_ns = st->mtime_ns;
    t->entry.ino = st->ino;
    t->entry.ctime_ns = st->ctime_ns;
}

static bool has_rested(const cf_source *const s, const cf_stat *const st)
{
    const cf_world *const w = s->opts.world;
    const bool coarse = st->ctime_ns % NS_PER_S == 0 && st->mtime_ns % NS_PER_S == 0;
    const int64_t now_ms = w->now_utc_ms(w->impl);

    return st->ctime_ns / NS_PER_MS < now_ms - (coarse ? CF_TREE_TICK_COARSE_MS : CF_TREE_TICK_MS);
}

static bool is_same_content(const cf_stat *const a, const cf_stat *const b)
{
    /* Of a file whose last name went, ctime shows just that. */
    return a->size_bytes == b->size_bytes && a->mtime_ns == b->mtime_ns && a->ino == b->ino &&
           (a->ctime_ns == b->ctime_ns || b->links_total == 0);
}

static bool is_untouched(const cf_stat *const st, const cf_file_line *const l)
{
    return l != NULL && l->type == CF_LINE_FILE && l->has_identity && !l->is_withheld &&
           l->size_bytes == st->size_bytes && l->mtime_ns == st->mtime_ns &&
           l->ctime_ns == st->ctime_ns && l->ino == st->ino;
}

static cf_err reuse(cf_tree_entry *const t, const cf_file_line *const l)
{
    t->entry.how = CF_ENTRY_REUSE;
    t->entry.size_bytes = l->size_bytes;
    t->entry.has_identity = true;
    return CF_OK;
}

/* Opens it and takes what it is now: the name may be another file than a moment ago. */
static cf_err file_open(const cf_source *const s, cf_tree_entry *const t,
                        const cf_tree_node *const node, cf_error *const e)
{
    const cf_fs *const fs = s->opts.fs;
    cf_stat st = {0};

    CF_TRY(fs->ops->file_open(fs, node->dir_fd, node->name, CF_FS_READ, &t->entry.fd, e));
    CF_TRY(fs->ops->stat_fd(fs, t->entry.fd, &st, e));
    CF_ENSURE(st.type == CF_FILE_REGULAR, e, CF_ERR_IO, "it is no file any more");
    stat_take(t, &st);
    t->entry.has_identity = has_rested(s, &st);
    return CF_OK;
}

/* Through the pipeline, in parts, whatever its size: so a file that was only touched, or that only
 * grew, sends no byte twice. */
static void take_as_parts(cf_tree_entry *const t)
{
    t->entry.how = CF_ENTRY_PARTS;
    t->entry.size_bytes = t->st.size_bytes;
    t->entry.read_bytes = t->st.size_bytes;
    t->entry.may_change = true;
    t->entry.sparse = t->st.allocated_bytes < t->st.size_bytes;
}

/* A small file is read here and now, until it held still or we have tried enough. *ret_fits: it is
 * still small. */
static cf_err content_read(cf_source *const s, cf_tree_entry *const t, bool *const ret_fits,
                           cf_error *const e)
{
    const cf_fs *const fs = s->opts.fs;
    size_t len = 0;

    t->bytes = cf_alloc(CF_INLINE_LEN_MAX + 1, 1);
    CF_ENSURE(t->bytes != NULL, e, CF_ERR_NO_MEMORY, "allocate %d bytes", CF_INLINE_LEN_MAX + 1);
    for (int attempt = 1;; attempt++) {
        cf_stat after = {0};

        CF_TRY(fs->ops->pread(fs, t->entry.fd, t->bytes, CF_INLINE_LEN_MAX + 1, 0, &len, e));
        CF_TRY(fs->ops->stat_fd(fs, t->entry.fd, &after, e));
        s->bytes_looked += len;
        const bool held = is_same_content(&t->st, &after) && len == t->st.size_bytes;
        if (held || attempt == CF_TREE_ATTEMPT_TOTAL || len > CF_INLINE_LEN_MAX) {
            t->entry.has_identity = t->entry.has_identity && held;
            *ret_fits = len <= CF_INLINE_LEN_MAX;
            if (!held && *ret_fits)
                cf_tree_tell(s, CF_TREE_CHANGED, t->path, "it changed each time it was read");
            break;
        }
        stat_take(t, &after);
        t->entry.has_identity = has_rested(s, &after);
    }
    t->entry.content = cf_slice_of(t->bytes, len);
    t->entry.size_bytes = len;
    return CF_OK;
}

static cf_err file_make(cf_source *const s, cf_tree_entry *const t, const cf_tree_node *const node,
                        cf_error *const e)
{
    bool fits = false;

    t->entry.klass = "file";
    t->entry.type = CF_LINE_FILE;
    if (!s->opts.force && is_untouched(&node->st, t->entry.prior)) {
        stat_take(t, &node->st);
        return reuse(t, t->entry.prior);
    }
    CF_TRY(file_open(s, t, node, e));
    if (t->st.size_bytes <= CF_INLINE_LEN_MAX) {
        CF_TRY(content_read(s, t, &fits, e));
        if (fits) {
            t->entry.how = CF_ENTRY_INLINE;
            cf_fd_closep(&t->entry.fd);
            return CF_OK;
        }
        CF_TRY(s->opts.fs->ops->stat_fd(s->opts.fs, t->entry.fd, &t->st, e));
        stat_take(t, &t->st);
        t->entry.content = cf_slice_of(NULL, 0);
        t->entry.has_identity = false;
    }
    take_as_parts(t);
    return CF_OK;
}

static cf_err link_make(cf_source *const s, cf_tree_entry *const t, const cf_tree_node *const node,
                        cf_error *const e)
{
    const cf_fs *const fs = s->opts.fs;

    t->entry.klass = "symlink";
    t->entry.type = CF_LINE_SYMLINK;
    t->entry.how = CF_ENTRY_INLINE;
    stat_take(t, &node->st);
    t->bytes = cf_alloc(CF_PATH_LEN_MAX + 1, 1);
    CF_ENSURE(t->bytes != NULL, e, CF_ERR_NO_MEMORY, "allocate %d bytes", CF_PATH_LEN_MAX + 1);
    CF_TRY(fs->ops->readlink_at(fs, node->dir_fd, node->name, t->bytes, CF_PATH_LEN_MAX + 1, e));
    CF_ENSURE(t->bytes[0] != '\0', e, CF_ERR_IO, "its target is empty");
    t->entry.target = cf_slice_str(t->bytes);
    return CF_OK;
}

static cf_err entry_fill(cf_source *const s, cf_tree_entry *const t, const cf_tree_node *const node,
                         cf_error *const e)
{
    if (node->st.type == CF_FILE_REGULAR)
        return file_make(s, t, node, e);
    if (node->st.type == CF_FILE_SYMLINK)
        return link_make(s, t, node, e);
    CF_CHECK(node->st.type == CF_FILE_DIR);
    t->entry.klass = "dir";
    t->entry.type = CF_LINE_DIR;
    t->entry.how = CF_ENTRY_INLINE;
    stat_take(t, &node->st);
    return CF_OK;
}

cf_err cf_tree_entry_make(cf_source *const s, const uint16_t step, const cf_tree_node *const node,
                          cf_entry **const ret, cf_error *const e)
{
    cf_tree_entry *t = NULL;
    cf_error why = {0};

    *ret = NULL;
    CF_TRY(entry_new(s, step, node, &t, e));
    CF_TRY(cf_tree_prior_find(s, t->path, &t->entry.prior, e));
    if (entry_fill(s, t, node, &why) != CF_OK) {
        entry_drop_last(s);
        return cf_tree_pass_over(s, node->path, &why, e);
    }
    s->file_total += t->entry.type == CF_LINE_FILE;
    s->dir_total += t->entry.type == CF_LINE_DIR;
    s->link_total += t->entry.type == CF_LINE_SYMLINK;
    *ret = &t->entry;
    return CF_OK;
}

cf_err cf_tree_reopen(cf_source *const s, cf_entry *const entry, cf_error *const e)
{
    const cf_fs *const fs = s->opts.fs;
    cf_tree_entry *const t = entry->own;
    CF_CLEANUP(cf_fd_closep) int fd = -1;
    cf_stat st = {0};

    (void)e;
    CF_CHECK(strcmp(s->node.path, t->path) == 0); /* the one given last */
    if (fs->ops->file_open(fs, s->node.dir_fd, s->node.name, CF_FS_READ, &fd, NULL) != CF_OK ||
        fs->ops->stat_fd(fs, fd, &st, NULL) != CF_OK || st.type != CF_FILE_REGULAR ||
        !is_same_content(&t->st, &st) || st.size_bytes <= CF_INLINE_LEN_MAX)
        return CF_OK;
    t->entry.fd = fd;
    fd = -1;
    take_as_parts(t);
    return CF_OK;
}

bool cf_tree_still_wanted(cf_source *const s, cf_entry *const entry,
                          const cf_read_outcome *const outcome)
{
    const cf_fs *const fs = s->opts.fs;
    const cf_tree_entry *const t = entry->own;
    cf_stat after = {0};

    if (outcome == NULL)
        return true;
    if (outcome->unreadable != NULL) {
        cf_tree_tell(s, CF_TREE_UNREADABLE, t->path, outcome->unreadable);
        s->file_total--;
        return false;
    }
    if (fs->ops->stat_fd(fs, entry->fd, &after, NULL) == CF_OK && is_same_content(&t->st, &after) &&
        outcome->size_bytes == t->st.size_bytes)
        return true;
    entry->has_identity = false;
    if (entry->step == CF_TREE_STEP_WALK && cf_tree_again_note(s, t->path))
        return false;
    cf_tree_tell(s, CF_TREE_CHANGED, t->path, "it changed each time it was read");
    return true;
}

cf_err cf_tree_read_done(cf_source *const s, cf_entry *const entry,
                         const cf_read_outcome *const outcome, cf_error *const e)
{
    cf_tree_entry **at = &s->under_way;

    (void)outcome;
    (void)e;
    while (*at != NULL && *at != entry->own)
        at = &(*at)->next;
    CF_CHECK(*at != NULL);
    cf_tree_entry *const t = *at;
    *at = t->next;
    entry_free(s, t);
    return CF_OK;
}
