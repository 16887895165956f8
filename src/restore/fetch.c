/* SPDX-License-Identifier: Apache-2.0
 *
 * Fetch: the files of a snapshot, from the manifest's lines into the target, each under a temporary
 * name until it is verified.
 */
#include <stdio.h>
#include <unistd.h>

#include "restore/restore.h"
#include "s3/base/alloc.h"
#include "s3/base/cleanup.h"
#include "s3/base/hash.h"
#include "s3/base/num.h"

enum { CF_DISK_BLOCK_BYTES = 4096 }; /* ours: what filesystems round a file up to */

/* Lines of a known type whose paths are text; the rest is refused by name before anything is
 * written. */
static cf_err line_check(const cf_restore *const r, const cf_file_line *const l, cf_error *const e)
{
    CF_TRY(cf_path_check(l->path, e));
    CF_ENSURE(memchr(l->path.ptr, '\0', l->path.len) == NULL, e, CF_ERR_DAMAGE,
              "a path of the manifest holds a NUL byte");
    CF_ENSURE(l->type == CF_LINE_FILE || r->profile->is_tree, e, CF_ERR_UNSUPPORTED,
              "'%.*s' is not a regular file, and profile %s has only those", CF_SLICE_FMT(l->path),
              r->root->profile);
    CF_ENSURE(l->has_sha256 || l->is_withheld || l->type != CF_LINE_FILE, e, CF_ERR_DAMAGE,
              "'%.*s' has no SHA-256 in the manifest", CF_SLICE_FMT(l->path));
    const int role = cf_target_role(&r->target, l->path);
    CF_ENSURE(role >= 0, e, CF_ERR_DAMAGE,
              "path '%.*s' of the manifest belongs to no directory of this profile (%s%s%s)",
              CF_SLICE_FMT(l->path), r->profile->roles[0], r->profile->roles[1] != NULL ? ", " : "",
              r->profile->roles[1] != NULL ? r->profile->roles[1] : "");
    CF_ENSURE(l->path.len > strlen(r->profile->roles[role]) || l->type == CF_LINE_DIR, e,
              CF_ERR_DAMAGE, "path '%.*s' of the manifest is the target itself, and no directory",
              CF_SLICE_FMT(l->path));
    return CF_OK;
}

/* Lines that are told instead of restored. */
static bool is_passed_over(const cf_restore *const r, const cf_file_line *const l)
{
    if (r->profile->is_tree && cf_slice_eq(l->path, cf_slice_str("dir/" CF_RESTORE_MARKER))) {
        cf_restore_log(r, CF_LOG_WARN,
                       "%.*s is not restored: the restore marks its target by that name",
                       CF_SLICE_FMT(l->path));
        return true;
    }
    if (l->is_withheld)
        cf_restore_log(r, CF_LOG_WARN,
                       "%.*s is not restored: its content was withheld from the snapshot\nHINT: "
                       "put the file there from where it is kept",
                       CF_SLICE_FMT(l->path));
    return l->is_withheld;
}

static uint64_t disk_bytes(const cf_file_line *const l)
{
    uint64_t n = l->content.len;

    for (size_t i = 0; i < l->extent_total; i++)
        n += l->extents[i].file_bytes;
    return (n + CF_DISK_BLOCK_BYTES - 1) / CF_DISK_BLOCK_BYTES * CF_DISK_BLOCK_BYTES;
}

/* Files that a server could have left as well: the sweep counts them again in the target. */
static cf_err suspect_count(cf_restore *const r, const cf_file_line *const l, cf_error *const e)
{
    char path[CF_PATH_LEN_MAX + 1];

    CF_ENSURE(l->path.len < sizeof(path), e, CF_ERR_DAMAGE, "a path of the manifest is too long");
    (void)snprintf(path, sizeof(path), "%.*s", CF_SLICE_FMT(l->path));
    r->suspect_total += r->profile->is_leftover(path);
    return CF_OK;
}

cf_err cf_restore_survey(cf_restore *const r, cf_error *const e)
{
    const cf_file_line *l = NULL;
    uint64_t db_bytes = 0, index_bytes = 0;
    char size[CF_SIZE_TEXT_SIZE];

    cf_restore_progress(r, "checking");
    for (;;) {
        CF_TRY(cf_cursor_next_file(r->files, &l, e));
        if (l == NULL)
            break;
        CF_TRY(line_check(r, l, e));
        r->result.files_total++;
        r->result.target_bytes += l->size_bytes;
        const cf_placement placement = r->profile->placement(l);
        if (placement == CF_PLACE_FIRST || placement == CF_PLACE_BODY)
            CF_TRY(suspect_count(r, l, e));
        const uint64_t bytes = disk_bytes(l);
        if (cf_target_role(&r->target, l->path) == 0)
            db_bytes += bytes;
        else
            index_bytes += bytes;
        if (r->opts->dry_run)
            cf_restore_log(r, CF_LOG_DETAIL, "would restore %.*s, %s", CF_SLICE_FMT(l->path),
                           cf_size_render(l->size_bytes, size));
    }
    r->plan_bytes = db_bytes + index_bytes;
    CF_TRY(cf_cursor_rewind(r->files, e));
    /* A restore that goes on has most of it already; the writes themselves tell when the disk is
     * full. */
    return r->target.resumed ? CF_OK : cf_target_check_space(&r->target, db_bytes, index_bytes, e);
}

void cf_fetch_free(cf_restore *const r, cf_fetch *const f)
{
    const cf_fs *const fs = r->ctx->fs;

    if (f == NULL)
        return;
    if (f->fd >= 0)
        (void)fs->ops->close(fs, f->fd, NULL);
    if (f->tmp[0] != '\0' && f->dir_fd >= 0)
        (void)fs->ops->unlink_at(fs, f->dir_fd, f->tmp, NULL); /* fails when it was renamed: good */
    if (f->dir_fd >= 0)
        (void)fs->ops->close(fs, f->dir_fd, NULL);
    cf_free(f->path);
    cf_free(f);
}

static void under_way_take(cf_restore *const r, const cf_fetch *const f)
{
    for (cf_fetch **at = &r->under_way; *at != NULL; at = &(*at)->next) {
        if (*at == f) {
            *at = f->next;
            return;
        }
    }
}

static bool owner_is_set(const cf_restore *const r)
{
    return r->owner.given || geteuid() == 0;
}

/* Whose it will be. */
static cf_owner owner_of(const cf_restore *const r, const cf_attributes *const a)
{
    if (r->owner.given)
        return r->owner;
    if (geteuid() == 0)
        return (cf_owner){.uid = a->uid, .gid = a->gid};
    return (cf_owner){.uid = geteuid(), .gid = getegid()};
}

cf_err cf_restore_attributes(cf_restore *const r, const int fd, const cf_attributes *const a,
                             cf_error *const e)
{
    enum { SETUID = 04000, SETGID = 02000 };
    const cf_fs *const fs = r->ctx->fs;
    const cf_owner owner = owner_of(r, a);
    uint32_t mode = a->mode;

    if (owner.uid != a->uid)
        mode &= ~(uint32_t)SETUID;
    if (owner.gid != a->gid)
        mode &= ~(uint32_t)SETGID;
    r->setuid_dropped_total += mode != a->mode;
    if (owner_is_set(r))
        CF_TRY(fs->ops->chown_fd(fs, fd, owner.uid, owner.gid, e));
    CF_TRY(fs->ops->chmod_fd(fs, fd, mode, e));
    return fs->ops->utime_fd(fs, fd, a->mtime_ns, e);
}

cf_err cf_restore_link_attributes(const cf_restore *const r, const int dir_fd,
                                  const char *const name, const cf_attributes *const a,
                                  cf_error *const e)
{
    const cf_fs *const fs = r->ctx->fs;
    const cf_owner owner = owner_of(r, a);

    if (owner_is_set(r))
        CF_TRY(fs->ops->chown_at(fs, dir_fd, name, owner.uid, owner.gid, e));
    return fs->ops->utime_at(fs, dir_fd, name, a->mtime_ns, e);
}

/* Owner, mode, time; then the name it shall have. */
static cf_err file_finish(cf_restore *const r, const cf_fetch *const f, cf_error *const e)
{
    const cf_fs *const fs = r->ctx->fs;
    const cf_attributes a = {
        .mode = f->mode, .uid = f->uid, .gid = f->gid, .mtime_ns = f->mtime_ns};

    CF_TRY(cf_restore_attributes(r, f->fd, &a, e));
    if (f->tmp[0] == '\0')
        return CF_OK;
    CF_TRY(fs->ops->rename_at(fs, f->dir_fd, f->tmp, f->name, e));
    if (r->profile->is_tree || strchr(f->path, '/') == strrchr(f->path, '/'))
        return CF_OK; /* all of it is synced at the end */
    return fs->ops->sync(fs, f->dir_fd, e);
}

static cf_err fetch_done(cf_restore *const r, cf_fetch *const f, const cf_err outcome,
                         cf_error *const e)
{
    char size[CF_SIZE_TEXT_SIZE];

    if (outcome != CF_OK) { /* what an interrupted restore left is not what it should be */
        CF_TRY(r->ctx->fs->ops->unlink_at(r->ctx->fs, f->dir_fd, f->name, e));
        cf_restore_log(r, CF_LOG_DETAIL, "%s was there with another content, it is fetched again",
                       f->path);
        r->again_total++;
        return CF_OK;
    }
    CF_TRY_AS(file_finish(r, f, e), e, "finish '%s'", f->path);
    if (f->tmp[0] == '\0') {
        r->result.files_kept++;
    } else {
        r->result.files_restored++;
        r->result.bytes_written += f->size_bytes;
    }
    cf_restore_log(r, CF_LOG_DETAIL, "%s %s, %s", f->tmp[0] == '\0' ? "kept" : "restored", f->path,
                   cf_size_render(f->size_bytes, size));
    cf_restore_progress(r, "restoring");
    return CF_OK;
}

static cf_err on_done(void *const impl, const cf_download_result *const result, cf_error *const e)
{
    cf_restore *const r = impl;
    cf_fetch *const f = result->token;

    under_way_take(r, f);
    const cf_err err = fetch_done(r, f, result->err, e);
    cf_fetch_free(r, f);
    return err;
}

/* A tree may hold any name, also one with our ending, and one that has no room for it: so there it
 * is a name of its own. The same each time: a restore that goes on finds what was left. */
static cf_err tmp_name(const cf_restore *const r, cf_fetch *const f, cf_error *const e)
{
    enum { DIGITS = 24 };
    uint8_t sha256[CF_SHA256_LEN];
    char hex[CF_SHA256_HEX_SIZE];

    if (!r->profile->is_tree) {
        (void)snprintf(f->tmp, sizeof(f->tmp), "%.*s" CF_RESTORE_TMP,
                       (int)(sizeof(f->tmp) - sizeof(CF_RESTORE_TMP)), f->name);
        return CF_OK;
    }
    CF_TRY(cf_sha256(cf_slice_str(f->name), sha256, e));
    cf_hex_render(cf_slice_of(sha256, sizeof(sha256)), hex);
    (void)snprintf(f->tmp, sizeof(f->tmp), ".%.*s" CF_RESTORE_TMP, DIGITS, hex);
    return CF_OK;
}

/* What a restore left that was broken off: good enough to be verified? In a tree a file that may not
 * be read, or has a second name, is made anew. */
static cf_err kept_open(const cf_restore *const r, cf_fetch *const f, const cf_stat *const st,
                        cf_error *const e)
{
    const cf_fs *const fs = r->ctx->fs;

    CF_ENSURE(st->type == CF_FILE_REGULAR, e, CF_ERR_TARGET,
              "'%s' stands in the way and is not a regular file\nHINT: empty the target", f->path);
    if (st->size_bytes != f->size_bytes || (r->profile->is_tree && st->links_total != 1))
        return CF_OK;
    const cf_err err = fs->ops->file_open(fs, f->dir_fd, f->name, CF_FS_READ, &f->fd, e);
    return err == CF_ERR_ACCESS && r->profile->is_tree ? CF_OK : err;
}

/* Opens what is there with the right size to verify it, else a new temporary file. */
static cf_err file_open(const cf_restore *const r, cf_fetch *const f, cf_error *const e)
{
    const cf_fs *const fs = r->ctx->fs;
    cf_stat st = {0};
    const cf_err err = fs->ops->stat_at(fs, f->dir_fd, f->name, &st, e);

    if (err != CF_ERR_NOT_FOUND) {
        CF_TRY(err);
        CF_TRY(kept_open(r, f, &st, e));
        if (f->fd >= 0)
            return CF_OK;
    }
    CF_TRY(tmp_name(r, f, e));
    cf_err made = fs->ops->file_open(fs, f->dir_fd, f->tmp, CF_FS_CREATE_NEW, &f->fd, e);
    if (made == CF_ERR_EXISTS) { /* of a restore that was killed */
        CF_TRY(fs->ops->unlink_at(fs, f->dir_fd, f->tmp, e));
        made = fs->ops->file_open(fs, f->dir_fd, f->tmp, CF_FS_CREATE_NEW, &f->fd, e);
    }
    return made;
}

static cf_err inline_write(cf_restore *const r, cf_fetch *const f, const cf_file_line *const l,
                           cf_error *const e)
{
    const cf_fs *const fs = r->ctx->fs;
    uint8_t sha256[CF_SHA256_LEN];

    CF_TRY(cf_sha256(l->content, sha256, e));
    CF_ENSURE(memcmp(sha256, l->sha256, sizeof(sha256)) == 0 && l->content.len == l->size_bytes, e,
              CF_ERR_DAMAGE, "the inline content of '%s' is not what its SHA-256 says", f->path);
    CF_TRY(fs->ops->pwrite(fs, f->fd, l->content, 0, e));
    if (!r->profile->is_tree)
        CF_TRY(fs->ops->sync(fs, f->fd, e));
    return fetch_done(r, f, CF_OK, e);
}

static cf_err fetch_new(cf_restore *const r, const cf_file_line *const l, cf_fetch **const ret,
                        cf_error *const e)
{
    const char *name = NULL;
    cf_fetch *f = NULL;

    CF_NEW(f, e);
    f->dir_fd = f->fd = -1;
    f->next = r->under_way;
    r->under_way = f; /* freed with r from here on */
    f->path = cf_strndup((const char *)l->path.ptr, l->path.len);
    CF_ENSURE(f->path != NULL, e, CF_ERR_NO_MEMORY, "copy a path");
    CF_TRY(cf_target_open_parent(&r->target, f->path, &r->owner, &f->dir_fd, &name, e));
    (void)snprintf(f->name, sizeof(f->name), "%s", name);
    f->size_bytes = l->size_bytes;
    f->mode = r->profile->restored_mode(l);
    f->uid = l->uid;
    f->gid = l->gid;
    f->mtime_ns = l->mtime_ns;
    *ret = f;
    return CF_OK;
}

/* Checkpoints are always written anew: a server that was started too early may have left its own.
 */
static cf_err inline_restore(cf_restore *const r, cf_fetch *const f, const cf_file_line *const l,
                             cf_error *const e)
{
    const uint64_t size_bytes = f->size_bytes;

    f->size_bytes = UINT64_MAX; /* never equal: a new file in any case */
    CF_TRY(file_open(r, f, e));
    f->size_bytes = size_bytes;
    CF_TRY(inline_write(r, f, l, e));
    under_way_take(r, f);
    cf_fetch_free(r, f);
    return CF_OK;
}

static cf_err line_restore(cf_restore *const r, const cf_file_line *const l, cf_error *const e)
{
    cf_fetch *f = NULL;

    if (is_passed_over(r, l))
        return CF_OK;
    if (l->type != CF_LINE_FILE)
        return cf_restore_tree_line(r, l, e);
    CF_TRY(fetch_new(r, l, &f, e));
    r->last_uid = l->uid;
    r->last_gid = l->gid;
    if (l->is_inline)
        return inline_restore(r, f, l, e);
    CF_TRY_AS(file_open(r, f, e), e, "open '%s' in the target", f->path);
    cf_download_item item = {
        .token = f,
        .name = f->path,
        .fd = f->fd,
        .size_bytes = l->size_bytes,
        .extents = l->extents,
        .extent_total = l->extent_total,
        /* The SHA-256 is of bytes whose MD5 the backup checked, or said that it did not. */
        .ends_with_md5 = (r->opts->recheck || l->md5_unchecked) && !r->opts->no_verify_source &&
                         r->profile->ends_with_md5(l),
        .read_back = r->opts->recheck,
        .verify_only = f->tmp[0] == '\0',
        .synced_later = r->profile->is_tree,
    };
    memcpy(item.sha256, l->sha256, sizeof(item.sha256));
    return cf_download_add(r->download, &item, e);
}

static cf_err pass(cf_restore *const r, const cf_placement placement, cf_error *const e)
{
    const cf_download_opts opts = {
        .store = r->store,
        .fs = r->ctx->fs,
        .world = r->ctx->world,
        .memory_bytes = r->opts->remote.memory_bytes,
        /* Each has a connection. */
        .jobs = r->opts->remote.connections > r->opts->remote.jobs ? r->opts->remote.connections
                                                                   : r->opts->remote.jobs,
        .runs_prefix = r->runs_prefix,
        .on_done = on_done,
        .impl = r,
    };
    const cf_file_line *l = NULL;

    cf_download_free(r->download);
    r->download = NULL;
    CF_TRY(cf_download_new(&opts, &r->download, e));
    CF_TRY(cf_cursor_rewind(r->files, e));
    for (;;) {
        CF_TRY(cf_cursor_next_file(r->files, &l, e));
        if (l == NULL)
            return cf_download_finish(r->download, e);
        if (r->profile->placement(l) == placement)
            CF_TRY(line_restore(r, l, e));
    }
}

cf_err cf_restore_fetch(cf_restore *const r, const cf_placement placement, cf_error *const e)
{
    const uint64_t kept = r->result.files_kept, restored = r->result.files_restored;

    r->again_total = 0;
    CF_TRY(pass(r, placement, e));
    if (r->again_total == 0)
        return CF_OK;
    /* Files of an interrupted restore were wrong and are gone now: the second pass fetches them,
     * and keeps the others. */
    r->result.files_kept = kept;
    r->result.files_restored = restored;
    r->again_total = 0;
    CF_TRY(pass(r, placement, e));
    CF_ENSURE(
        r->again_total == 0, e, CF_ERR_TARGET,
        "%llu files in the target change while they are restored\nHINT: is a server running on it?",
        (unsigned long long)r->again_total);
    return CF_OK;
}

cf_err cf_restore_write_extra(cf_restore *const r, cf_error *const e)
{
    for (unsigned i = 0;; i++) {
        const char *name = NULL;
        char path[CF_NAME_SIZE];
        uint8_t content[16];
        size_t len = 0;
        cf_fetch *f = NULL;

        CF_TRY(r->profile->extra_file(r->root->facts, i, &name, content, &len, e));
        if (name == NULL)
            return CF_OK;
        (void)snprintf(path, sizeof(path), "db/%s", name);
        cf_file_line line = {
            .path = cf_slice_str(path),
            .size_bytes = len,
            .is_inline = true,
            .content = cf_slice_of(content, len),
            .mtime_ns = r->ctx->world->now_utc_ms(r->ctx->world->impl) * 1000000,
            .klass = "checkpoint",
            .mode = 0644,
            .uid = r->last_uid,
            .gid = r->last_gid,
        };
        CF_TRY(cf_sha256(line.content, line.sha256, e));
        CF_TRY(fetch_new(r, &line, &f, e));
        CF_TRY(inline_restore(r, f, &line, e));
        r->result.files_restored--; /* not of the manifest */
    }
}
