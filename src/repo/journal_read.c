/* SPDX-License-Identifier: Apache-2.0
 *
 * A journal object is one zstd frame; all of a run one behind the other are a stream of frames.
 */
#include "repo/journal_read.h"

#include <zstd.h>

#include "repo/line.h"
#include "repo/segment.h"
#include "s3/base/alloc.h"

enum {
    OUT_BYTES = 128 * 1024,
    /* ours: lines of one file name next to each other shrink to a twentieth; a bomb is told by its
     * rate. */
    EXPANSION_MAX = 2000,
};

struct cf_journal_reader {
    const cf_repo *repo;
    const char *node;
    cf_run_id run;
    const cf_journal_object *objects;
    size_t object_total;
    bool keep;
    ZSTD_DCtx *zstd;  /* owned */
    size_t object;    /* to fetch from next */
    uint64_t at;      /* of it */
    cf_buf stored;    /* keep: all that was fetched; else the block under way */
    size_t stored_at; /* of it, given to the decompressor */
    bool frame_ended;
    uint64_t in_bytes, text_bytes; /* of this pass */
    cf_buf text;
    size_t text_at, searched;
};

void cf_journal_reader_free(cf_journal_reader *const r)
{
    if (r == NULL)
        return;
    (void)ZSTD_freeDCtx(r->zstd);
    cf_buf_deinit(&r->stored);
    cf_buf_deinit(&r->text);
    cf_free(r);
}

cf_err cf_journal_reader_new(const cf_repo *const repo, const char *const node,
                             const cf_run_id *const run, const cf_journal_object *const objects,
                             const size_t total, const bool keep, cf_journal_reader **const ret,
                             cf_error *const e)
{
    CF_CLEANUP(cf_journal_reader_freep) cf_journal_reader *r = NULL;
    uint64_t all_bytes = 0;
    CF_NEW(r, e);
    for (size_t i = 0; i < total; i++)
        all_bytes += objects[i].stored_bytes;
    r->repo = repo;
    r->node = node;
    r->run = *run;
    r->objects = objects;
    r->object_total = total;
    r->keep = keep;
    r->frame_ended = true;
    cf_buf_init(&r->stored, keep ? (size_t)all_bytes + 1 : CF_JOURNAL_BLOCK_BYTES);
    cf_buf_init(&r->text, CF_LINE_LEN_MAX + 2 * OUT_BYTES);
    r->zstd = ZSTD_createDCtx();
    CF_ENSURE(r->zstd != NULL, e, CF_ERR_NO_MEMORY, "allocate a decompressor");
    CF_ENSURE(!ZSTD_isError(
                  ZSTD_DCtx_setParameter(r->zstd, ZSTD_d_windowLogMax, CF_SEGMENT_WINDOW_LOG_MAX)),
              e, CF_ERR_UNSUPPORTED, "zstd refuses its parameters");
    *ret = CF_STEAL(r);
    return CF_OK;
}

cf_err cf_journal_reader_rewind(cf_journal_reader *const r, cf_error *const e)
{
    const size_t bad = ZSTD_DCtx_reset(r->zstd, ZSTD_reset_session_only);
    CF_ENSURE(!ZSTD_isError(bad), e, CF_ERR_FAILED, "reset a decompressor: %s",
              ZSTD_getErrorName(bad));
    if (!r->keep) {
        cf_buf_clear(&r->stored);
        r->object = 0;
        r->at = 0;
    }
    r->stored_at = 0;
    r->frame_ended = true;
    r->in_bytes = 0;
    r->text_bytes = 0;
    cf_buf_clear(&r->text);
    r->text_at = 0;
    r->searched = 0;
    return CF_OK;
}

static cf_err block_take(void *const impl, const cf_slice bytes, cf_error *const e)
{
    return cf_buf_append(impl, bytes, e);
}

/* More stored bytes; CF_OK with none at the end of the last object. */
static cf_err fetch(cf_journal_reader *const r, cf_error *const e)
{
    char key[CF_KEY_LEN_MAX + 1];
    if (r->object == r->object_total)
        return CF_OK;
    const cf_journal_object *const o = &r->objects[r->object];
    const uint64_t left = o->stored_bytes - r->at;
    const uint64_t len = left < CF_JOURNAL_BLOCK_BYTES ? left : CF_JOURNAL_BLOCK_BYTES;
    cf_key_journal(key, r->node, &r->run, o->seq);
    if (!r->keep) {
        cf_buf_clear(&r->stored);
        r->stored_at = 0;
    }
    const size_t had = r->stored.len;
    const cf_err err = len == 0 ? CF_OK
                                : r->repo->store->ops->get(r->repo->store, key, r->at, len,
                                                           block_take, &r->stored, e);
    CF_ENSURE(err != CF_ERR_NOT_FOUND, e, CF_ERR_DAMAGE, "journal '%s' is gone", key);
    if (err != CF_OK)
        r->stored.len = had;
    CF_TRY(err);
    r->at += len;
    if (r->at == o->stored_bytes) {
        r->object++;
        r->at = 0;
    }
    return CF_OK;
}

/* More text; CF_OK with nothing added only at the end of the input. */
static cf_err decompress(cf_journal_reader *const r, cf_error *const e)
{
    if (r->text_at > 0) { /* what was given is dropped */
        memmove(r->text.data, r->text.data + r->text_at, r->text.len - r->text_at);
        r->text.len -= r->text_at;
        r->searched -= r->text_at;
        r->text_at = 0;
    }
    const size_t had = r->text.len;
    while (r->text.len == had) {
        while (r->stored_at == r->stored.len && r->object < r->object_total)
            CF_TRY(fetch(r, e));
        ZSTD_inBuffer in = {r->stored.data, r->stored.len, r->stored_at};
        if (in.pos == in.size && r->frame_ended)
            return CF_OK;
        CF_TRY(cf_buf_reserve(&r->text, OUT_BYTES, e));
        ZSTD_outBuffer out = {r->text.data + r->text.len, OUT_BYTES, 0};
        const size_t left = ZSTD_decompressStream(r->zstd, &out, &in);
        CF_ENSURE(!ZSTD_isError(left), e, CF_ERR_DAMAGE, "decompress: %s", ZSTD_getErrorName(left));
        CF_ENSURE(out.pos > 0 || in.pos > r->stored_at || left == 0, e, CF_ERR_DAMAGE,
                  "decompress: the stream ends in the middle of a frame");
        r->in_bytes += in.pos - r->stored_at;
        r->stored_at = in.pos;
        r->frame_ended = left == 0;
        r->text.len += out.pos;
        r->text_bytes += out.pos;
        CF_ENSURE(r->text_bytes <= r->in_bytes * EXPANSION_MAX + OUT_BYTES, e, CF_ERR_DAMAGE,
                  "decompresses to more than %d times its length", EXPANSION_MAX);
    }
    return CF_OK;
}

/* A whole line; len 0 at the end. */
static cf_err line_find(cf_journal_reader *const r, cf_slice *const ret, cf_error *const e)
{
    for (;;) {
        const size_t left = r->text.len - r->searched;
        const uint8_t *const end =
            left == 0 ? NULL : memchr(r->text.data + r->searched, '\n', left);
        if (end != NULL) {
            *ret =
                cf_slice_of(r->text.data + r->text_at, (size_t)(end - (r->text.data + r->text_at)));
            CF_ENSURE(ret->len > 0 && ret->len <= CF_LINE_LEN_MAX, e, CF_ERR_DAMAGE,
                      "a line of %zu bytes, outside 1..%d", ret->len, CF_LINE_LEN_MAX);
            r->text_at += ret->len + 1;
            r->searched = r->text_at;
            return CF_OK;
        }
        r->searched = r->text.len;
        CF_ENSURE(r->text.len - r->text_at <= CF_LINE_LEN_MAX, e, CF_ERR_DAMAGE,
                  "a line has more than %d bytes", CF_LINE_LEN_MAX);
        const uint64_t before = r->text_bytes;
        CF_TRY(decompress(r, e));
        if (r->text_bytes == before) {
            CF_ENSURE(r->text.len == r->text_at, e, CF_ERR_DAMAGE, "the last line has no newline");
            *ret = cf_slice_of(NULL, 0);
            return CF_OK;
        }
    }
}

/* By how our writer begins them (docs/FORMAT.md 9): the others need not be parsed to be skipped. */
static cf_journal_kind kind_of(const cf_slice line)
{
    static const struct {
        const char *start;
        cf_journal_kind kind;
    } starts[] = {{"{\"step\":", CF_JOURNAL_FILE},
                  {"{\"pack\":", CF_JOURNAL_PACK},
                  {"{\"uploads\":", CF_JOURNAL_UPLOADS}};
    for (size_t i = 0; i < sizeof(starts) / sizeof(starts[0]); i++) {
        if (cf_slice_starts_with(line, cf_slice_str(starts[i].start)))
            return starts[i].kind;
    }
    return CF_JOURNAL_END;
}

cf_err cf_journal_reader_next(cf_journal_reader *const r, cf_journal_kind *const ret_kind,
                              cf_slice *const ret, cf_error *const e)
{
    for (;;) {
        cf_slice line = {NULL, 0};
        CF_TRY_AS(line_find(r, &line, e), e, "journals of run '%s'", r->run.text);
        const cf_journal_kind kind = line.len == 0 ? CF_JOURNAL_END : kind_of(line);
        if (line.len > 0 && kind == CF_JOURNAL_END)
            continue;
        *ret_kind = kind;
        *ret = line;
        return CF_OK;
    }
}
