/* SPDX-License-Identifier: Apache-2.0
 *
 * Multipart uploads of dead runs: parts that no LIST of objects shows, and that cost all the same.
 * The last line of a run's last journal names those that were open; an earlier one that is not
 * named any more was finished or aborted by its run. Some stores cannot list uploads, so this is
 * the way that always works.
 */
#include <stdio.h>
#include <string.h>
#include <zstd.h>

#include "prune/prune.h"
#include "repo/json.h"
#include "repo/line.h"
#include "repo/manifest.h"
#include "s3/base/alloc.h"
#include "s3/base/cleanup.h"

enum { OUT_BYTES = 128 * 1024, UPLOAD_ID_LEN_MAX = 4096 };

typedef struct unpacker {
    ZSTD_DCtx *zstd; /* owned */
    cf_buf out, line, last;
} unpacker;

static void unpacker_deinit(unpacker *const u)
{
    (void)ZSTD_freeDCtx(u->zstd);
    cf_buf_deinit(&u->out);
    cf_buf_deinit(&u->line);
    cf_buf_deinit(&u->last);
}

/* Keeps the last whole line. */
static cf_err text_take(unpacker *const u, cf_slice text, cf_error *const e)
{
    while (text.len > 0) {
        const uint8_t *const end = memchr(text.ptr, '\n', text.len);
        const size_t len = end == NULL ? text.len : (size_t)(end - text.ptr);

        CF_TRY(cf_buf_append(&u->line, cf_slice_of(text.ptr, len), e));
        if (end == NULL)
            return CF_OK;
        cf_buf_clear(&u->last);
        CF_TRY(cf_buf_append(&u->last, cf_buf_slice(&u->line), e));
        cf_buf_clear(&u->line);
        text = cf_slice_of(end + 1, text.len - len - 1);
    }
    return CF_OK;
}

static cf_err unpack(unpacker *const u, const cf_slice stored, cf_error *const e)
{
    ZSTD_inBuffer in = {stored.ptr, stored.len, 0};
    uint64_t total = 0;

    u->zstd = ZSTD_createDCtx();
    CF_ENSURE(u->zstd != NULL, e, CF_ERR_NO_MEMORY, "allocate a decompressor");
    cf_buf_init(&u->out, OUT_BYTES);
    cf_buf_init(&u->line, CF_LINE_LEN_MAX);
    cf_buf_init(&u->last, CF_LINE_LEN_MAX);
    CF_TRY(cf_buf_reserve(&u->out, OUT_BYTES, e));
    for (;;) {
        ZSTD_outBuffer out = {u->out.data, OUT_BYTES, 0};
        const size_t pos = in.pos;
        const size_t left = ZSTD_decompressStream(u->zstd, &out, &in);

        CF_ENSURE(!ZSTD_isError(left), e, CF_ERR_DAMAGE, "decompress: %s", ZSTD_getErrorName(left));
        total += out.pos;
        CF_ENSURE(total <= CF_SEGMENT_SOURCE_MAX, e, CF_ERR_DAMAGE,
                  "decompresses to more than %d bytes", CF_SEGMENT_SOURCE_MAX);
        CF_TRY(text_take(u, cf_slice_of(u->out.data, out.pos), e));
        if (out.pos == 0 && in.pos == pos)
            return CF_OK; /* the end, or a stream that stops in the middle: nothing more comes */
    }
}

/* Only uploads below the run's own folder: a journal is no proof of anything else. */
static cf_err upload_abort(cf_prune_node *const n, const cf_run_id *const run,
                           const json_t *const item, cf_error *const e)
{
    cf_slice key = {NULL, 0}, id = {NULL, 0};
    cf_run_id owner = {""};

    CF_TRY(cf_json_get_str(item, "key", 1, CF_KEY_LEN_MAX, &key, e));
    CF_TRY(cf_json_get_str(item, "id", 1, UPLOAD_ID_LEN_MAX, &id, e));
    const char *const name = cf_key_object_name((const char *)key.ptr);
    char expected[CF_KEY_LEN_MAX + 1] = "";
    if (name != NULL && cf_object_name_parse(cf_slice_str(name), &owner, NULL, NULL))
        cf_key_of_object(expected, n->name, name);
    if (strcmp(owner.text, run->text) != 0 || strcmp(expected, (const char *)key.ptr) != 0)
        return CF_OK;
    CF_TRY(n->repo->store->ops->abort_upload(n->repo->store, expected, (const char *)id.ptr, e));
    n->prune->result.uploads_aborted++;
    return CF_OK;
}

static cf_err uploads_abort(cf_prune_node *const n, const cf_run_id *const run,
                            const char *const name, cf_error *const e)
{
    CF_CLEANUP(cf_buf_deinit) cf_buf stored = {0};
    CF_CLEANUP(unpacker_deinit) unpacker u = {0};
    CF_CLEANUP(json_decrefp) json_t *o = NULL;
    char key[CF_KEY_LEN_MAX + 1];

    cf_buf_init(&stored, CF_SEGMENT_STORED_MAX);
    cf_key_of_object(key, n->name, name);
    CF_TRY(cf_store_get_small(n->repo->store, key, &stored, e));
    CF_TRY(unpack(&u, cf_buf_slice(&stored), e));
    CF_TRY(cf_json_load(cf_buf_slice(&u.last), &o, e));
    const json_t *const list = json_object_get(o, "uploads");
    for (size_t i = 0; i < json_array_size(list); i++)
        CF_TRY(upload_abort(n, run, json_array_get(list, i), e));
    return CF_OK;
}

/* Parts that stay cost money, no data: it is told, and prune goes on. */
static cf_err run_end(cf_prune_node *const n, const cf_run_id *const run, const char *const name,
                      cf_error *const e)
{
    cf_error why = {0};

    if (name[0] == '\0')
        return CF_OK;
    CF_TRY(cf_prune_check(n, e));
    const cf_err err = uploads_abort(n, run, name, &why);
    if (err == CF_ERR_INTERRUPTED) {
        if (e != NULL)
            *e = why;
        return err;
    }
    if (err != CF_OK && err != CF_ERR_NOT_FOUND)
        cf_prune_log(n->prune, CF_LOG_WARN,
                     "node '%s': unfinished uploads of run '%s' may have been left: %s\nHINT: a "
                     "lifecycle rule of the bucket aborts such uploads",
                     n->name, run->text, why.message);
    return CF_OK;
}

cf_err cf_prune_abort_uploads(cf_prune_node *const n, cf_error *const e)
{
    char last[CF_RUN_OBJECT_LEN_MAX + 1] = "";
    cf_run_id run = {""};
    cf_prune_object o = {0};

    if (n->prune->opts->dry_run)
        return CF_OK;
    cf_spool_rewind(n->objects);
    for (;;) {
        cf_run_id id = {""};
        cf_slice kind = {NULL, 0};

        CF_TRY(cf_prune_object_next(n, &o, e));
        const bool more = o.name.len > 0 && cf_object_name_parse(o.name, &id, NULL, &kind);
        if (!more || strcmp(id.text, run.text) != 0) {
            CF_TRY(run_end(n, &run, last, e));
            last[0] = '\0';
            run = id;
        }
        if (!more)
            return CF_OK;
        const cf_prune_trace *const r = cf_prune_trace_find(n, &id);
        if (r != NULL && r->is_fence && cf_slice_eq(kind, cf_slice_str("journal")) &&
            cf_prune_may_go(n, &o))
            (void)snprintf(last, sizeof(last), "%.*s", CF_SLICE_FMT(o.name));
    }
}
