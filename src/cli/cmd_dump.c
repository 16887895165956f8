/* SPDX-License-Identifier: Apache-2.0
 *
 * chunkferry dump
 */
#include <stdio.h>

#include "cli/snapshots.h"
#include "pipe/content.h"
#include "profile/profile.h"
#include "repo/lease.h"
#include "repo/manifest.h"
#include "s3/base/alloc.h"
#include "s3/base/cleanup.h"

enum { NEAR_MAX = 3 };

typedef struct dumper {
    cf_cli *cli;
    cf_opened opened;
    const char *node;
    cf_slice path;
    cf_root *root;
    cf_read_lease *lease;
    cf_file_line *line;   /* owned; what is to be written */
    char *near[NEAR_MAX]; /* owned; paths that may have been meant */
    unsigned near_distance[NEAR_MAX];
    bool has_written;
} dumper;

static void dumper_deinit(dumper *const d)
{
    for (size_t i = 0; i < NEAR_MAX; i++)
        cf_free(d->near[i]);
    cf_free(d->line);
    cf_root_free(d->root);
    cf_read_lease_abandon(d->lease);
    cf_opened_close(&d->opened);
}

/* ---- the line ---- */

static cf_slice base_of(const cf_slice path)
{
    const uint8_t *const slash = memrchr(path.ptr, '/', path.len);
    const size_t head = slash == NULL ? 0 : (size_t)(slash - path.ptr) + 1;

    return cf_slice_of(path.ptr + head, path.len - head);
}

/* Another folder, or a slip of the fingers. */
static unsigned distance_of(const cf_slice wanted, const char *const path)
{
    const cf_slice known = cf_slice_str(path);

    if (cf_slice_eq(base_of(wanted), base_of(known)) || cf_slice_eq(wanted, base_of(known)))
        return 0;
    return cf_word_distance(wanted, path);
}

static cf_err near_note(dumper *const d, const cf_slice path, cf_error *const e)
{
    CF_CLEANUP(cf_freep) char *text = cf_strndup((const char *)path.ptr, path.len);

    CF_ENSURE(text != NULL, e, CF_ERR_NO_MEMORY, "copy a path");
    unsigned distance = distance_of(d->path, text);
    if (distance > CF_WORD_DISTANCE_MAX)
        return CF_OK;
    for (size_t i = 0; i < NEAR_MAX && text != NULL; i++) {
        if (d->near[i] != NULL && d->near_distance[i] <= distance)
            continue;
        char *const worse = d->near[i];
        const unsigned worse_distance = d->near_distance[i];
        d->near[i] = text;
        d->near_distance[i] = distance;
        text = worse;
        distance = worse_distance;
    }
    return CF_OK;
}

static cf_err line_find(dumper *const d, cf_error *const e)
{
    CF_CLEANUP(cf_cursor_freep) cf_cursor *files = NULL;
    const cf_file_line *l = NULL;

    CF_TRY(cf_cursor_new(&d->opened.repo, d->node, d->root, CF_SEGMENT_FILES, &files, e));
    for (;;) {
        CF_TRY(cf_cursor_next_file(files, &l, e));
        if (l == NULL)
            break;
        if (cf_slice_eq(l->path, d->path))
            return cf_file_line_dup(l, &d->line, e);
        CF_TRY(near_note(d, l->path, e));
    }
    CF_ENSURE(d->near[0] != NULL, e, CF_ERR_NOT_FOUND,
              "snapshot %s of node '%s' has no file '%.*s'\nHINT: 'chunkferry show -v' lists its "
              "files",
              d->root->run.text, d->node, CF_SLICE_FMT(d->path));
    CF_FAIL(e, CF_ERR_NOT_FOUND,
            "snapshot %s of node '%s' has no file '%.*s'\nHINT: did you mean '%.600s'%s%.600s%s?",
            d->root->run.text, d->node, CF_SLICE_FMT(d->path), d->near[0],
            d->near[1] != NULL ? " or '" : "", d->near[1] != NULL ? d->near[1] : "",
            d->near[1] != NULL ? "'" : "");
}

static cf_err line_check(const dumper *const d, cf_error *const e)
{
    const cf_file_line *const l = d->line;

    CF_ENSURE(l->type != CF_LINE_DIR, e, CF_ERR_USAGE,
              "'%.*s' is a directory\nHINT: 'chunkferry show -v' lists the files in it",
              CF_SLICE_FMT(l->path));
    CF_ENSURE(l->type != CF_LINE_SYMLINK, e, CF_ERR_USAGE,
              "'%.*s' is a symbolic link to '%.*s'\nHINT: dump what it points to",
              CF_SLICE_FMT(l->path), CF_SLICE_FMT(l->target));
    CF_ENSURE(!l->is_withheld, e, CF_ERR_UNSUPPORTED,
              "the content of '%.*s' was kept out of the backup: there is nothing to write\n"
              "HINT: it holds a key; bring it from where you keep it",
              CF_SLICE_FMT(l->path));
    return CF_OK;
}

/* ---- the content ---- */

static cf_err content_write(void *const impl, const size_t item, const cf_slice bytes,
                            cf_error *const e)
{
    dumper *const d = impl;

    (void)item;
    d->has_written = true;
    CF_ENSURE(fwrite(bytes.ptr, 1, bytes.len, d->cli->output->out) == bytes.len, e, CF_ERR_IO,
              "standard output could not be written\nHINT: is its disk full, or the reader of the "
              "pipe gone?");
    return CF_OK;
}

static cf_err content_dump(dumper *const d, cf_error *const e)
{
    CF_CLEANUP(cf_content_freep) cf_content *content = NULL;
    const cf_profile *const profile = cf_profile_find(d->root->profile);
    char runs_prefix[CF_NODE_NAME_LEN_MAX + 16];
    const cf_content_opts opts = {.store = d->opened.store,
                                  .world = d->cli->ctx->world,
                                  .runs_prefix = runs_prefix,
                                  .whole_frames = true};
    const cf_content_item item = {
        .line = *d->line, .ends_with_md5 = profile != NULL && profile->ends_with_md5(d->line)};
    const cf_content_visit visit = {.write = content_write, .impl = d};

    (void)snprintf(runs_prefix, sizeof(runs_prefix), "nodes/%s/runs/", d->node);
    CF_TRY(cf_content_new(&opts, &content, e));
    CF_TRY(cf_content_read(content, &item, 1, &visit, e));
    return cf_output_close(d->cli->output, e);
}

static cf_err dump(dumper *const d, cf_error *const e)
{
    cf_run_id id = {""};

    CF_TRY(cf_opened_open(d->cli, &d->opened, e));
    CF_TRY(cf_snapshot_find(&d->opened.repo, d->node, d->cli->values.arg[0], &id, e));
    const cf_err err = cf_read_lease_acquire(&d->opened.repo, d->node, &id, &d->lease, e);
    if (err != CF_ERR_ACCESS && err != CF_ERR_DENIED && err != CF_ERR_IO)
        CF_TRY(err); /* else: on a read-only medium nobody prunes */
    CF_TRY(cf_snapshot_load(&d->opened.repo, d->node, &id, &d->root, e));
    CF_TRY(line_find(d, e));
    CF_TRY(line_check(d, e));
    return content_dump(d, e);
}

cf_err cf_cli_dump(cf_cli *const c, cf_error *const e)
{
    CF_CLEANUP(dumper_deinit) dumper d = {.cli = c, .node = c->values.text[CF_OPT_NODE]};
    cf_error why = {0};

    c->output->json = false; /* standard output is the file; an error does not belong there */
    d.path = cf_slice_str(c->values.arg[1]);
    CF_ENSURE(d.node != NULL, e, CF_ERR_USAGE,
              "no node given\nHINT: --node NAME, or set CHUNKFERRY_NODE");
    CF_TRY(cf_node_name_check(d.node, e));
    const cf_err err = dump(&d, &why);
    if (err == CF_OK)
        return CF_OK;
    if (!d.has_written) {
        *e = why;
        return err;
    }
    *e = why;
    CF_FAIL(
        e, err,
        "%.1500s\nHINT: do not trust what was written: it ends in the middle, or is not what was "
        "backed up",
        why.message);
}
