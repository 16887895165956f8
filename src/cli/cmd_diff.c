/* SPDX-License-Identifier: Apache-2.0
 *
 * chunkferry diff: two manifests side by side, in their common order. A path that moved to another
 * step (a chunk that was completed) is found again at the end, among what only one of them has.
 */
#include <stdlib.h>

#include "cli/snapshots.h"
#include "repo/manifest.h"
#include "s3/base/alloc.h"
#include "s3/base/cleanup.h"
#include "s3/base/num.h"

enum { LEFT_MAX = 100 * 1000 }; /* ours: lines kept for the end; more are told at once */

typedef struct lines {
    cf_file_line **at; /* owned, owned; without extents */
    size_t total, cap;
} lines;

typedef struct differ {
    cf_cli *cli;
    const char *node;
    cf_opened opened;
    cf_root *root[2]; /* before, after */
    cf_cursor *cursor[2];
    lines only[2];
    uint64_t added, removed, changed, metadata;
    uint64_t bytes_added, bytes_removed;
    uint64_t packs_new, bytes_stored_new;
} differ;

static void lines_deinit(lines *const l)
{
    for (size_t i = 0; i < l->total; i++)
        cf_free(l->at[i]);
    cf_free(l->at);
}

static void differ_deinit(differ *const d)
{
    for (size_t i = 0; i < 2; i++) {
        lines_deinit(&d->only[i]);
        cf_cursor_free(d->cursor[i]);
        cf_root_free(d->root[i]);
    }
    cf_opened_close(&d->opened);
}

/* ---- telling ---- */

/* sign: '+', '-', 'M', 'm'; one of the lines may be NULL. */
static void change_print(const differ *const d, const char sign, const char *const change,
                         const cf_file_line *const before, const cf_file_line *const after)
{
    const cf_file_line *const l = after != NULL ? after : before;
    const uint64_t old_bytes = before != NULL ? before->size_bytes : 0;
    const uint64_t new_bytes = after != NULL ? after->size_bytes : 0;
    char old_size[CF_SIZE_TEXT_SIZE], new_size[CF_SIZE_TEXT_SIZE];

    (void)cf_size_render(old_bytes, old_size);
    (void)cf_size_render(new_bytes, new_size);
    if (sign == 'M' && old_bytes != new_bytes)
        cf_output_text(d->cli->output, "%c  %.*s  %s -> %s\n", sign, CF_SLICE_FMT(l->path),
                       old_size, new_size);
    else if (sign != 'm' || d->cli->output->verbose > 0)
        cf_output_text(d->cli->output, "%c  %.*s  %s\n", sign, CF_SLICE_FMT(l->path),
                       after != NULL ? new_size : old_size);
    cf_output_object(d->cli->output,
                     json_pack("{s:s, s:o, s:s, s:I, s:I}", "type", "file", "path",
                               cf_output_json((const char *)l->path.ptr, l->path.len), "change",
                               change, "bytes_before", (json_int_t)old_bytes, "bytes_after",
                               (json_int_t)new_bytes));
}

static void added_tell(differ *const d, const cf_file_line *const l)
{
    d->added++;
    d->bytes_added += l->size_bytes;
    change_print(d, '+', "added", NULL, l);
}

static void removed_tell(differ *const d, const cf_file_line *const l)
{
    d->removed++;
    d->bytes_removed += l->size_bytes;
    change_print(d, '-', "removed", l, NULL);
}

static bool same_content(const cf_file_line *const a, const cf_file_line *const b)
{
    return a->type == b->type && a->size_bytes == b->size_bytes &&
           a->is_withheld == b->is_withheld && a->has_sha256 == b->has_sha256 &&
           (!a->has_sha256 || memcmp(a->sha256, b->sha256, sizeof(a->sha256)) == 0) &&
           cf_slice_eq(a->target, b->target);
}

static bool same_metadata(const cf_file_line *const a, const cf_file_line *const b)
{
    return a->mode == b->mode && a->uid == b->uid && a->gid == b->gid && a->mtime_ns == b->mtime_ns;
}

static void both_tell(differ *const d, const cf_file_line *const before,
                      const cf_file_line *const after)
{
    if (!same_content(before, after)) {
        d->changed++;
        if (after->size_bytes > before->size_bytes)
            d->bytes_added += after->size_bytes - before->size_bytes;
        else
            d->bytes_removed += before->size_bytes - after->size_bytes;
        change_print(d, 'M', "changed", before, after);
    } else if (!same_metadata(before, after)) {
        d->metadata++;
        change_print(d, 'm', "metadata", before, after);
    }
}

/* ---- what only one has ---- */

static cf_err only_keep(differ *const d, const size_t side, const cf_file_line *const l,
                        cf_error *const e)
{
    lines *const x = &d->only[side];
    cf_file_line bare = *l;

    if (x->total == LEFT_MAX) {
        if (side == 0)
            removed_tell(d, l);
        else
            added_tell(d, l);
        return CF_OK;
    }
    if (x->total == x->cap) {
        const size_t cap = x->cap == 0 ? 64 : x->cap * 2;
        cf_file_line **const grown = cf_realloc(x->at, cap, sizeof(cf_file_line *));
        CF_ENSURE(grown != NULL, e, CF_ERR_NO_MEMORY, "allocate %zu lines", cap);
        x->at = grown;
        x->cap = cap;
    }
    bare.extents = NULL;
    bare.extent_total = 0;
    CF_TRY(cf_file_line_dup(&bare, &x->at[x->total], e));
    x->total++;
    return CF_OK;
}

static int path_cmp(const void *const a, const void *const b)
{
    return cf_slice_cmp((*(cf_file_line *const *)a)->path, (*(cf_file_line *const *)b)->path);
}

static void only_tell(differ *const d)
{
    lines *const left = &d->only[0], *const right = &d->only[1];
    size_t i = 0, j = 0;

    for (size_t side = 0; side < 2; side++) {
        if (d->only[side].total > 1)
            qsort(d->only[side].at, d->only[side].total, sizeof(cf_file_line *), path_cmp);
    }
    while (i < left->total || j < right->total) {
        const int order = i == left->total    ? 1
                          : j == right->total ? -1
                                              : path_cmp(&left->at[i], &right->at[j]);
        if (order == 0)
            both_tell(d, left->at[i++], right->at[j++]);
        else if (order < 0)
            removed_tell(d, left->at[i++]);
        else
            added_tell(d, right->at[j++]);
    }
}

/* ---- side by side ---- */

static cf_err files_merge(differ *const d, cf_error *const e)
{
    const cf_file_line *l[2] = {NULL, NULL};

    for (size_t i = 0; i < 2; i++) {
        CF_TRY(cf_cursor_new(&d->opened.repo, d->node, d->root[i], CF_SEGMENT_FILES, &d->cursor[i],
                             e));
        CF_TRY(cf_cursor_next_file(d->cursor[i], &l[i], e));
    }
    while (l[0] != NULL || l[1] != NULL) {
        const int order = l[0] == NULL ? 1
                          : l[1] == NULL
                              ? -1
                              : cf_file_line_cmp(l[0]->step, l[0]->path, l[1]->step, l[1]->path);
        if (order == 0)
            both_tell(d, l[0], l[1]);
        else
            CF_TRY(only_keep(d, order < 0 ? 0 : 1, order < 0 ? l[0] : l[1], e));
        if (order <= 0)
            CF_TRY(cf_cursor_next_file(d->cursor[0], &l[0], e));
        if (order >= 0)
            CF_TRY(cf_cursor_next_file(d->cursor[1], &l[1], e));
    }
    only_tell(d);
    return CF_OK;
}

/* Packs that only the second names: what the change cost. */
static cf_err packs_merge(differ *const d, cf_error *const e)
{
    const cf_pack_line *l[2] = {NULL, NULL};

    for (size_t i = 0; i < 2; i++) {
        cf_cursor_free(d->cursor[i]);
        d->cursor[i] = NULL;
        CF_TRY(cf_cursor_new(&d->opened.repo, d->node, d->root[i], CF_SEGMENT_PACKS, &d->cursor[i],
                             e));
        CF_TRY(cf_cursor_next_pack(d->cursor[i], &l[i], e));
    }
    while (l[1] != NULL) {
        const int order = l[0] == NULL ? 1 : strcmp(l[0]->pack, l[1]->pack);
        if (order > 0) {
            d->packs_new++;
            d->bytes_stored_new += l[1]->stored_bytes;
        }
        if (order <= 0)
            CF_TRY(cf_cursor_next_pack(d->cursor[0], &l[0], e));
        if (order >= 0)
            CF_TRY(cf_cursor_next_pack(d->cursor[1], &l[1], e));
    }
    return CF_OK;
}

static cf_err roots_load(differ *const d, cf_error *const e)
{
    for (size_t i = 0; i < 2; i++) {
        cf_run_id id = {""};

        CF_TRY(cf_snapshot_find(&d->opened.repo, d->node, d->cli->values.arg[i], &id, e));
        CF_TRY(cf_snapshot_load(&d->opened.repo, d->node, &id, &d->root[i], e));
    }
    return CF_OK;
}

static void summary_print(const differ *const d)
{
    char added[CF_SIZE_TEXT_SIZE], removed[CF_SIZE_TEXT_SIZE], stored[CF_SIZE_TEXT_SIZE];

    cf_output_text(d->cli->output,
                   "%llu added, %llu removed, %llu changed, %llu with other metadata only\n"
                   "  bytes   %s more, %s less; %llu packs that only the second has, %s\n",
                   (unsigned long long)d->added, (unsigned long long)d->removed,
                   (unsigned long long)d->changed, (unsigned long long)d->metadata,
                   cf_size_render(d->bytes_added, added), cf_size_render(d->bytes_removed, removed),
                   (unsigned long long)d->packs_new, cf_size_render(d->bytes_stored_new, stored));
    cf_output_object(d->cli->output,
                     json_pack("{s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}",
                               "type", "summary", "node", d->node, "from", d->root[0]->run.text,
                               "to", d->root[1]->run.text, "added", (json_int_t)d->added, "removed",
                               (json_int_t)d->removed, "changed", (json_int_t)d->changed,
                               "metadata", (json_int_t)d->metadata, "bytes_added",
                               (json_int_t)d->bytes_added, "bytes_removed",
                               (json_int_t)d->bytes_removed, "packs_new", (json_int_t)d->packs_new,
                               "bytes_stored_new", (json_int_t)d->bytes_stored_new));
}

cf_err cf_cli_diff(cf_cli *const c, cf_error *const e)
{
    CF_CLEANUP(differ_deinit) differ d = {.cli = c, .node = c->values.text[CF_OPT_NODE]};

    CF_ENSURE(d.node != NULL, e, CF_ERR_USAGE,
              "no node given\nHINT: --node NAME, or set CHUNKFERRY_NODE");
    CF_TRY(cf_node_name_check(d.node, e));
    CF_TRY(cf_opened_open(c, &d.opened, e));
    CF_TRY(roots_load(&d, e));
    CF_TRY(files_merge(&d, e));
    CF_TRY(packs_merge(&d, e));
    summary_print(&d);
    return CF_OK;
}
