/* SPDX-License-Identifier: Apache-2.0
 *
 * Lines: the source's file lines under the packs' new names, cut into segments where the source's
 * were cut; then the root, the copy's commit point.
 */
#include <stdio.h>

#include "copy/copy.h"
#include "s3/base/alloc.h"
#include "s3/base/cleanup.h"

/* One line with other pack names. They are as long as the source's, so equal lines stay equal. */
typedef struct rewriter {
    cf_extent *extents; /* owned */
    size_t extent_cap;
    cf_buf names; /* with their NULs; reserved whole before the first is put, so that none moves */
} rewriter;

static void rewriter_deinit(rewriter *const w)
{
    cf_free(w->extents);
    cf_buf_deinit(&w->names);
}

static cf_err room_make(rewriter *const w, const cf_file_line *const l, cf_error *const e)
{
    size_t len = 0;

    for (size_t i = 0; i < l->extent_total; i++)
        len += strlen(l->extents[i].pack) + 1;
    cf_buf_clear(&w->names);
    CF_TRY(cf_buf_reserve(&w->names, len, e));
    if (l->extent_total <= w->extent_cap)
        return CF_OK;
    cf_extent *const grown = cf_realloc(w->extents, l->extent_total, sizeof(*grown));
    CF_ENSURE(grown != NULL, e, CF_ERR_NO_MEMORY, "allocate %zu extents", l->extent_total);
    w->extents = grown;
    w->extent_cap = l->extent_total;
    return CF_OK;
}

static cf_err rewrite(rewriter *const w, const cf_names *const names, cf_file_line *const l,
                      cf_error *const e)
{
    CF_TRY(room_make(w, l, e));
    for (size_t i = 0; i < l->extent_total; i++) {
        char name[CF_RUN_OBJECT_LEN_MAX + 1];
        const cf_extent *const from = &l->extents[i];

        w->extents[i] = *from;
        if (i > 0 && strcmp(from->pack, l->extents[i - 1].pack) == 0) {
            w->extents[i].pack = w->extents[i - 1].pack;
            continue;
        }
        CF_ENSURE(cf_names_translate(names, from->pack, name), e, CF_ERR_DAMAGE,
                  "line of '%.*s' names pack '%s', which the snapshot does not describe",
                  CF_SLICE_FMT(l->path), from->pack);
        w->extents[i].pack = (const char *)w->names.data + w->names.len;
        CF_TRY(cf_buf_append(&w->names, cf_slice_of(name, strlen(name) + 1), e));
    }
    l->extents = w->extents;
    return CF_OK;
}

static cf_err lines_write(cf_transfer *const t, cf_cursor *const files, rewriter *const w,
                          cf_error *const e)
{
    const cf_file_line *line = NULL;
    size_t segment = 0;

    for (;;) {
        CF_TRY(cf_transfer_of_source(t, cf_cursor_next_file(files, &line, e)));
        if (line == NULL)
            return CF_OK;
        cf_file_line ours = *line;
        CF_TRY(cf_transfer_of_source(t, rewrite(w, t->names, &ours, e)));
        if (cf_cursor_get_segment(files) != segment)
            CF_TRY(cf_manifest_cut(t->manifest, e));
        segment = cf_cursor_get_segment(files);
        CF_TRY(cf_manifest_add_file(t->manifest, &ours, e));
        CF_TRY(cf_lease_check(t->claim.lease, e));
    }
}

cf_err cf_transfer_lines(cf_transfer *const t, cf_error *const e)
{
    CF_CLEANUP(cf_cursor_freep) cf_cursor *files = NULL;
    CF_CLEANUP(rewriter_deinit) rewriter w = {0};

    cf_buf_init(&w.names, CF_LINE_LEN_MAX);
    CF_TRY(cf_cursor_new(&t->c->from, t->c->node, t->source, CF_SEGMENT_FILES, &files, e));
    return lines_write(t, files, &w, e);
}

/* Facts, profile and time are the origin's; the chain of parents and what was sent are our own. */
static cf_err root_make(const cf_transfer *const t, cf_root **const ret, cf_error *const e)
{
    CF_CLEANUP(cf_root_freep) cf_root *root = NULL;
    const cf_root *const from = t->source;

    CF_TRY(cf_root_new(&root, e));
    root->run = t->claim.run.id;
    root->time_utc_ms = from->time_utc_ms;
    memcpy(root->profile, from->profile, sizeof(root->profile));
    (void)snprintf(root->version, sizeof(root->version), "%s", CF_VERSION);
    if (t->claim.parent != NULL) {
        root->has_parent = true;
        root->parent = t->claim.parent->run;
        memcpy(root->parent_sha256, t->claim.parent->sha256, sizeof(root->parent_sha256));
    }
    root->has_origin = true;
    root->origin = t->origin;
    root->totals = from->totals; /* the manifest counts packs anew */
    root->totals.uploaded_bytes = t->bytes_sent;
    json_decref(root->facts);
    root->facts = json_incref(from->facts);
    *ret = CF_STEAL(root);
    return CF_OK;
}

cf_err cf_transfer_commit(cf_transfer *const t, cf_error *const e)
{
    CF_CLEANUP(cf_root_freep) cf_root *root = NULL;

    cf_copy_progress(t, "committing");
    CF_TRY(root_make(t, &root, e));
    CF_TRY(cf_manifest_finish(t->manifest, root, e));
    const cf_claim_opts opts = {.node = t->c->node};
    CF_TRY(cf_claim_commit(&t->c->to, &opts, &t->claim, root, e));
    t->is_committed = true;
    return CF_OK;
}
