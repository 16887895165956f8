/* SPDX-License-Identifier: Apache-2.0
 *
 * chunkferry show
 */
#include <inttypes.h>

#include "cli/snapshots.h"
#include "repo/json.h"
#include "repo/line_check.h"
#include "repo/manifest.h"
#include "repo/mark.h"
#include "repo/tag.h"
#include "s3/base/alloc.h"
#include "s3/base/cleanup.h"
#include "s3/base/hash.h"
#include "s3/base/num.h"
#include "s3/base/utf8.h"

typedef struct shower {
    cf_cli *cli;
    cf_opened opened;
    cf_root *root;
    json_t *marks, *tags;
} shower;

static void shower_deinit(shower *const s)
{
    json_decref(s->marks);
    json_decref(s->tags);
    cf_root_free(s->root);
    cf_opened_close(&s->opened);
}

static cf_err mark_add(void *const impl, const cf_mark *const mark, cf_error *const e)
{
    CF_ENSURE(json_array_append_new(((shower *)impl)->marks, json_string(mark->name)) == 0, e,
              CF_ERR_NO_MEMORY, "list marks");
    return CF_OK;
}

/* The bytes of a path that is no text. */
static json_t *base64_new(const cf_slice bytes)
{
    CF_CLEANUP(cf_buf_deinit) cf_buf text = {0};

    cf_buf_init(&text, 2 * CF_PATH_LEN_MAX);
    if (cf_json_put_base64(&text, bytes, NULL) != CF_OK || text.len < 2)
        return NULL;
    return json_stringn((const char *)text.data + 1, text.len - 2); /* without its quotes */
}

static void file_print(const shower *const s, const cf_file_line *const l)
{
    char sha256[CF_SHA256_HEX_SIZE], size[CF_SIZE_TEXT_SIZE];

    cf_hex_render(cf_slice_of(l->sha256, sizeof(l->sha256)), sha256);
    cf_output_text(s->cli->output, "  %10s  %.16s  %-14s  %.*s\n",
                   cf_size_render(l->size_bytes, size), sha256, l->klass, CF_SLICE_FMT(l->path));
    json_t *const object =
        json_pack("{s:s, s:o, s:s, s:s, s:I, s:s, s:i}", "type", "file", "path",
                  cf_output_json((const char *)l->path.ptr, l->path.len), "kind",
                  cf_line_type_name(l->type), "class", l->klass, "bytes", (json_int_t)l->size_bytes,
                  "sha256", l->has_sha256 ? sha256 : "", "step", (int)l->step);
    if (!cf_utf8_valid(l->path))
        (void)json_object_set_new(object, "path_b64", base64_new(l->path));
    cf_output_object(s->cli->output, object);
}

static cf_err files_print(shower *const s, const char *const node, cf_error *const e)
{
    CF_CLEANUP(cf_cursor_freep) cf_cursor *files = NULL;
    const cf_file_line *l = NULL;

    CF_TRY(cf_cursor_new(&s->opened.repo, node, s->root, CF_SEGMENT_FILES, &files, e));
    for (;;) {
        CF_TRY(cf_cursor_next_file(files, &l, e));
        if (l == NULL)
            return CF_OK;
        file_print(s, l);
    }
}

/* Facts as an indented list: objects open a level, everything else is one line. */
static void facts_print(cf_output *const out, const json_t *const facts, const int indent)
{
    const char *key = NULL;
    json_t *value = NULL;

    json_object_foreach((json_t *)(uintptr_t)facts, key, value)
    {
        if (json_is_object(value)) {
            cf_output_text(out, "%*s%s\n", indent, "", key);
            facts_print(out, value, indent + 2);
            continue;
        }
        char *const text = cf_json_dump(value, JSON_ENCODE_ANY | JSON_COMPACT);
        cf_output_text(out, "%*s%-20s %s\n", indent, "", key,
                       json_is_string(value) ? json_string_value(value)
                       : text != NULL        ? text
                                             : "");
        cf_free(text);
    }
}

static void tag_bad(void *const impl, const cf_mark *const mark, const char *const why)
{
    (void)mark;
    cf_output_log(((shower *)impl)->cli->output, CF_LOG_WARN, why);
}

static cf_err tags_take(shower *const s, const char *const node, const cf_run_id *const id,
                        cf_error *const e)
{
    CF_CLEANUP(json_decrefp) json_t *all = NULL;

    CF_TRY(cf_tags_load(&s->opened.repo, node, id, tag_bad, s, &all, e));
    json_t *const found = json_object_get(all, id->text);
    s->tags = found != NULL ? json_incref(found) : json_array();
    return CF_OK;
}

static void text_print(const shower *const s, const char *const node)
{
    cf_output *const out = s->cli->output;
    const cf_totals *const t = &s->root->totals;
    char time[CF_TIME_SIZE], source[CF_SIZE_TEXT_SIZE], sent[CF_SIZE_TEXT_SIZE],
        stored[CF_SIZE_TEXT_SIZE];

    cf_time_render_iso(s->root->time_utc_ms, time);
    cf_output_text(out, "snapshot %s of node %s\n", s->root->run.text, node);
    cf_output_text(
        out, "  time      %s\n  profile   %s\n  written by chunkferry %s\n  parent    %s\n", time,
        s->root->profile, s->root->version, s->root->has_parent ? s->root->parent.text : "none");
    if (s->root->has_origin)
        cf_output_text(out, "  copy of   %s of repository %s\n", s->root->origin.run.text,
                       s->root->origin.repository);
    cf_output_text(out, "  files     %" PRIu64 ": %" PRIu64 " new, %" PRIu64 " unchanged\n",
                   t->files_total, t->files_new, t->files_reused);
    cf_output_text(out, "  node      %s; stored in %" PRIu64 " packs, %s; %s of them new\n",
                   cf_size_render(t->source_bytes, source), t->packs_total,
                   cf_size_render(t->stored_bytes, stored),
                   cf_size_render(t->uploaded_bytes, sent));
    if (json_array_size(s->tags) > 0) {
        CF_CLEANUP(cf_freep) char *words = cf_tags_text(s->tags);
        cf_output_text(out, "  tags      %s\n", words != NULL ? words : "");
    }
    for (size_t i = 0; i < json_array_size(s->marks); i++)
        cf_output_text(out, "  mark      %s\n", json_string_value(json_array_get(s->marks, i)));
    cf_output_text(out, "  as it was\n");
    facts_print(out, s->root->facts, 4);
}

cf_err cf_cli_show(cf_cli *const c, cf_error *const e)
{
    CF_CLEANUP(shower_deinit) shower s = {.cli = c, .marks = json_array()};
    const char *const node = c->values.text[CF_OPT_NODE];
    cf_run_id id = {{0}};

    CF_ENSURE(node != NULL, e, CF_ERR_USAGE,
              "no node given\nHINT: --node NAME, or set CHUNKFERRY_NODE");
    CF_TRY(cf_node_name_check(node, e));
    CF_TRY(cf_opened_open(c, &s.opened, e));
    CF_TRY(cf_snapshot_find(&s.opened.repo, node, c->values.arg[0], &id, e));
    CF_TRY(cf_snapshot_load(&s.opened.repo, node, &id, &s.root, e));
    CF_TRY(cf_mark_each(&s.opened.repo, node, &id, mark_add, &s, e));
    CF_TRY(tags_take(&s, node, &id, e));
    text_print(&s, node);
    if (c->output->verbose > 0)
        CF_TRY(files_print(&s, node, e));
    json_t *const summary = cf_snapshot_object("summary", node, s.root);
    (void)json_object_set(summary, "facts", s.root->facts);
    (void)json_object_set(summary, "marks", s.marks);
    (void)json_object_set(summary, "tags", s.tags);
    cf_output_object(c->output, summary);
    return CF_OK;
}
