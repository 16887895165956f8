/* SPDX-License-Identifier: Apache-2.0
 *
 * Journal: what a later run needs to use what a dead one uploaded. It makes no claim: whoever
 * adopts from it checks that the packs are there, and that their lengths fit.
 */
#include <zstd.h>

#include "repo/json.h"
#include "repo/manifest.h"
#include "repo/segment.h"
#include "s3/base/alloc.h"
#include "s3/base/cleanup.h"

enum {
    JOURNAL_STORED_MAX = CF_SEGMENT_STORED_MAX,
    OUT_BYTES = 128 * 1024,
    WINDOW_LOG = 18, /* a reader of many dead runs' journals holds a window for each */
};

struct cf_journal {
    const cf_repo *repo;
    cf_run *run;
    ZSTD_CCtx *zstd; /* owned */
    cf_buf stored;   /* lines since the last object, compressed */
    uint64_t lines;
    uint64_t put_mono_ms, put_uploaded_bytes; /* of the last object */
    cf_buf put_ids;                           /* multipart uploads it names */
};

void cf_journal_free(cf_journal *const j)
{
    if (j == NULL)
        return;
    (void)ZSTD_freeCCtx(j->zstd);
    cf_buf_deinit(&j->stored);
    cf_buf_deinit(&j->put_ids);
    cf_free(j);
}

cf_err cf_journal_new(const cf_repo *const repo, cf_run *const run, cf_journal **const ret,
                      cf_error *const e)
{
    CF_CLEANUP(cf_journal_freep) cf_journal *j = NULL;
    CF_NEW(j, e);
    j->repo = repo;
    j->run = run;
    cf_buf_init(&j->stored, JOURNAL_STORED_MAX);
    cf_buf_init(&j->put_ids, JOURNAL_STORED_MAX);
    j->put_mono_ms = repo->world->mono_ms(repo->world->impl);
    j->zstd = ZSTD_createCCtx();
    CF_ENSURE(j->zstd != NULL, e, CF_ERR_NO_MEMORY, "allocate a compressor");
    CF_ENSURE(!ZSTD_isError(ZSTD_CCtx_setParameter(j->zstd, ZSTD_c_checksumFlag, 1)), e,
              CF_ERR_UNSUPPORTED, "zstd refuses its parameters");
    CF_ENSURE(!ZSTD_isError(ZSTD_CCtx_setParameter(j->zstd, ZSTD_c_windowLog, WINDOW_LOG)), e,
              CF_ERR_UNSUPPORTED, "zstd refuses its parameters");
    *ret = CF_STEAL(j);
    return CF_OK;
}

static cf_err compress(cf_journal *const j, const cf_slice text, const ZSTD_EndDirective how,
                       cf_error *const e)
{
    ZSTD_inBuffer in = {text.ptr, text.len, 0};
    size_t left = 0;
    do {
        CF_TRY(cf_buf_reserve(&j->stored, OUT_BYTES, e));
        ZSTD_outBuffer out = {j->stored.data + j->stored.len, j->stored.cap - j->stored.len, 0};
        left = ZSTD_compressStream2(j->zstd, &out, &in, how);
        CF_ENSURE(!ZSTD_isError(left), e, CF_ERR_FAILED, "compress the journal: %s",
                  ZSTD_getErrorName(left));
        j->stored.len += out.pos;
    } while (in.pos < in.size || (how == ZSTD_e_end && left > 0));
    return CF_OK;
}

/* The last line of an object: {"uploads":[{"key":...,"id":...}]}, from "key id" lines. */
static cf_err render_uploads(const cf_slice upload_ids, cf_buf *const b, cf_error *const e)
{
    size_t at = 0;
    CF_TRY(cf_buf_append_str(b, "{\"uploads\":[", e));
    while (at < upload_ids.len) {
        const uint8_t *const from = upload_ids.ptr + at;
        const uint8_t *const newline = memchr(from, '\n', upload_ids.len - at);
        const size_t len = newline == NULL ? upload_ids.len - at : (size_t)(newline - from);
        const uint8_t *const space = memchr(from, ' ', len);
        const cf_slice key = cf_slice_of(from, space == NULL ? 0 : (size_t)(space - from));
        const cf_slice id = space == NULL ? key : cf_slice_of(space + 1, len - key.len - 1);
        CF_CHECK(len == 0 || (key.len > 0 && id.len > 0 && cf_utf8_valid(id)));
        if (len > 0) {
            CF_TRY(
                cf_buf_append_str(b, b->data[b->len - 1] == '[' ? "{\"key\":" : ",{\"key\":", e));
            CF_TRY(cf_json_put_str(b, key, e));
            CF_TRY(cf_buf_append_str(b, ",\"id\":", e));
            CF_TRY(cf_json_put_str(b, id, e));
            CF_TRY(cf_buf_append_char(b, '}', e));
        }
        at += len + 1;
    }
    return cf_buf_append_str(b, "]}\n", e);
}

static cf_err journal_put(cf_journal *const j, const uint64_t uploaded_bytes,
                          const cf_slice upload_ids, const bool last_words, cf_error *const e)
{
    CF_CLEANUP(cf_buf_deinit) cf_buf uploads = {0};
    const cf_world *const world = j->repo->world;
    const cf_put_opts opts = {.create_only = true, .last_words = last_words};
    char key[CF_KEY_LEN_MAX + 1];
    cf_buf_init(&uploads, JOURNAL_STORED_MAX);
    CF_TRY(render_uploads(upload_ids, &uploads, e));
    CF_TRY(compress(j, cf_buf_slice(&uploads), ZSTD_e_end, e));
    cf_key_run_object(key, j->run, cf_run_next_seq(j->run), "journal", /* hint= */ "",
                      ".jsonl.zst");
    CF_TRY_AS(j->repo->store->ops->put(j->repo->store, key, cf_buf_slice(&j->stored), &opts,
                                       /* ret= */ NULL, e),
              e, "write journal '%s'", key);
    cf_buf_clear(&j->stored);
    j->lines = 0;
    j->put_mono_ms = world->mono_ms(world->impl);
    j->put_uploaded_bytes = uploaded_bytes;
    cf_buf_clear(&j->put_ids);
    return cf_buf_append(&j->put_ids, upload_ids, e);
}

cf_err cf_journal_add_line(cf_journal *const j, const cf_slice json_line, cf_error *const e)
{
    CF_CHECK(json_line.len > 1 && json_line.ptr[json_line.len - 1] == '\n');
    CF_TRY(compress(j, json_line, ZSTD_e_continue, e));
    j->lines++;
    return CF_OK;
}

/* A kill costs what came since: about three parts in a hundred of what was uploaded. */
static uint64_t every_bytes(const uint64_t uploaded_bytes)
{
    const uint64_t part = uploaded_bytes / CF_JOURNAL_SHARE;
    return part < CF_JOURNAL_EVERY_BYTES_MIN   ? CF_JOURNAL_EVERY_BYTES_MIN
           : part > CF_JOURNAL_EVERY_BYTES_MAX ? CF_JOURNAL_EVERY_BYTES_MAX
                                               : part;
}

cf_err cf_journal_tick(cf_journal *const j, const uint64_t uploaded_bytes,
                       const cf_slice upload_ids, cf_error *const e)
{
    const cf_world *const world = j->repo->world;
    const uint64_t now_ms = world->mono_ms(world->impl);
    const bool due =
        j->stored.len >= CF_JOURNAL_STORED_CUT || now_ms - j->put_mono_ms >= CF_JOURNAL_EVERY_MS ||
        /* Of an upload that no journal names nobody can clean up, where uploads cannot be listed. */
        (now_ms - j->put_mono_ms >= CF_JOURNAL_IDS_MS && upload_ids.len > 0 &&
         !cf_slice_eq(upload_ids, cf_buf_slice(&j->put_ids))) ||
        uploaded_bytes - j->put_uploaded_bytes >= every_bytes(uploaded_bytes);
    if (!due || (j->lines == 0 && upload_ids.len == 0))
        return CF_OK;
    return journal_put(j, uploaded_bytes, upload_ids, /* last_words= */ false, e);
}

cf_err cf_journal_end(cf_journal *const j, cf_error *const e)
{
    return j->lines == 0 ? CF_OK
                         : journal_put(j, j->put_uploaded_bytes, cf_slice_of(NULL, 0),
                                       /* last_words= */ true, e);
}
