/* SPDX-License-Identifier: Apache-2.0
 *
 * Segments in, lines out. The stored bytes are proved by their SHA-256 before anything looks into
 * them; what they decompress to is bounded all the same, since a root can be wrong too.
 */
#include <zstd.h>

#include "repo/manifest.h"
#include "repo/segment.h"
#include "s3/base/alloc.h"
#include "s3/base/hash.h"

enum { OUT_BYTES = 128 * 1024 };

struct cf_segment_reader {
    ZSTD_DCtx *zstd; /* owned */
    const cf_segment *segment;
    ZSTD_inBuffer in;
    bool frame_ended; /* the input is between two frames */
    uint64_t source_bytes, lines;
    cf_buf text; /* decompressed and not yet given, from at on */
    size_t at;
    size_t searched; /* of text: no newline before */
};

cf_err cf_segment_reader_new(cf_segment_reader **const ret, cf_error *const e)
{
    CF_CLEANUP(cf_segment_reader_freep) cf_segment_reader *r = NULL;
    CF_NEW(r, e);
    cf_buf_init(&r->text, CF_LINE_LEN_MAX + 2 * OUT_BYTES);
    r->zstd = ZSTD_createDCtx();
    CF_ENSURE(r->zstd != NULL, e, CF_ERR_NO_MEMORY, "allocate a decompressor");
    CF_ENSURE(!ZSTD_isError(
                  ZSTD_DCtx_setParameter(r->zstd, ZSTD_d_windowLogMax, CF_SEGMENT_WINDOW_LOG_MAX)),
              e, CF_ERR_UNSUPPORTED, "zstd refuses its parameters");
    *ret = CF_STEAL(r);
    return CF_OK;
}

void cf_segment_reader_free(cf_segment_reader *const r)
{
    if (r == NULL)
        return;
    (void)ZSTD_freeDCtx(r->zstd);
    cf_buf_deinit(&r->text);
    cf_free(r);
}

cf_err cf_segment_reader_begin(cf_segment_reader *const r, const cf_segment *const s,
                               const cf_slice stored, cf_error *const e)
{
    const size_t bad = ZSTD_DCtx_reset(r->zstd, ZSTD_reset_session_only);
    CF_ENSURE(!ZSTD_isError(bad), e, CF_ERR_FAILED, "reset a decompressor: %s",
              ZSTD_getErrorName(bad));
    r->segment = s;
    r->in = (ZSTD_inBuffer){stored.ptr, stored.len, 0};
    r->frame_ended = true;
    r->source_bytes = 0;
    r->lines = 0;
    cf_buf_clear(&r->text);
    r->at = 0;
    r->searched = 0;
    return CF_OK;
}

/* One more piece of text; CF_OK with nothing added only at the end of the input. */
static cf_err decompress(cf_segment_reader *const r, cf_error *const e)
{
    if (r->at > 0) { /* what was given is dropped */
        memmove(r->text.data, r->text.data + r->at, r->text.len - r->at);
        r->text.len -= r->at;
        r->searched -= r->at;
        r->at = 0;
    }
    size_t added = 0;
    while (added == 0 && (r->in.pos < r->in.size || !r->frame_ended)) {
        CF_TRY(cf_buf_reserve(&r->text, OUT_BYTES, e));
        ZSTD_outBuffer out = {r->text.data + r->text.len, OUT_BYTES, 0};
        const size_t pos = r->in.pos;
        const size_t left = ZSTD_decompressStream(r->zstd, &out, &r->in);
        CF_ENSURE(!ZSTD_isError(left), e, CF_ERR_DAMAGE, "decompress: %s", ZSTD_getErrorName(left));
        CF_ENSURE(out.pos > 0 || r->in.pos > pos || left == 0, e, CF_ERR_DAMAGE,
                  "decompress: the stream ends in the middle of a frame");
        r->frame_ended = left == 0;
        r->text.len += out.pos;
        r->source_bytes += out.pos;
        added = out.pos;
        CF_ENSURE(r->source_bytes <= CF_SEGMENT_SOURCE_MAX, e, CF_ERR_DAMAGE,
                  "decompresses to more than %d bytes", CF_SEGMENT_SOURCE_MAX);
    }
    return CF_OK;
}

static cf_err line_find(cf_segment_reader *const r, cf_slice *const ret, cf_error *const e)
{
    for (;;) {
        const size_t left = r->text.len - r->searched;
        const uint8_t *const end =
            left == 0 ? NULL : memchr(r->text.data + r->searched, '\n', left);
        if (end != NULL) {
            *ret = cf_slice_of(r->text.data + r->at, (size_t)(end - (r->text.data + r->at)));
            CF_ENSURE(ret->len > 0, e, CF_ERR_DAMAGE, "line %llu is empty",
                      (unsigned long long)r->lines + 1);
            CF_ENSURE(ret->len <= CF_LINE_LEN_MAX, e, CF_ERR_DAMAGE,
                      "line %llu has %zu bytes, more than %d", (unsigned long long)r->lines + 1,
                      ret->len, CF_LINE_LEN_MAX);
            r->at += ret->len + 1;
            r->searched = r->at;
            return CF_OK;
        }
        r->searched = r->text.len;
        CF_ENSURE(r->text.len - r->at <= CF_LINE_LEN_MAX, e, CF_ERR_DAMAGE,
                  "line %llu has more than %d bytes", (unsigned long long)r->lines + 1,
                  CF_LINE_LEN_MAX);
        const uint64_t before = r->source_bytes;
        CF_TRY(decompress(r, e));
        if (r->source_bytes == before) {
            CF_ENSURE(r->text.len == r->at, e, CF_ERR_DAMAGE, "the last line has no newline");
            *ret = cf_slice_of(NULL, 0);
            return CF_OK;
        }
    }
}

static cf_err next_checked(cf_segment_reader *const r, cf_slice *const ret, cf_error *const e)
{
    CF_TRY(line_find(r, ret, e));
    const unsigned long long expected = r->segment->lines_total;
    if (ret->len == 0) {
        CF_ENSURE(r->lines == expected, e, CF_ERR_DAMAGE, "has %llu lines, the root says %llu",
                  (unsigned long long)r->lines, expected);
        return CF_OK;
    }
    r->lines++;
    CF_ENSURE(r->lines <= expected, e, CF_ERR_DAMAGE, "has more lines than the %llu of the root",
              expected);
    return CF_OK;
}

cf_err cf_segment_reader_next(cf_segment_reader *const r, cf_slice *const ret, cf_error *const e)
{
    CF_TRY_AS(next_checked(r, ret, e), e, "segment '%s'", r->segment->key);
    return CF_OK;
}

static cf_err check_stored(const cf_segment *const s, const cf_slice stored, cf_error *const e)
{
    uint8_t digest[CF_SHA256_LEN] = {0};
    CF_ENSURE(stored.len == s->stored_bytes, e, CF_ERR_DAMAGE,
              "segment '%s' has %zu bytes, the root says %llu", s->key, stored.len,
              (unsigned long long)s->stored_bytes);
    CF_TRY(cf_sha256(stored, digest, e));
    CF_ENSURE(memcmp(digest, s->sha256, sizeof(digest)) == 0, e, CF_ERR_DAMAGE,
              "segment '%s' has another SHA-256 than the root says", s->key);
    return CF_OK;
}

cf_err cf_segment_fetch(const cf_repo *const repo, const char *const node,
                        const cf_segment *const s, cf_buf *const ret, cf_error *const e)
{
    char key[CF_KEY_LEN_MAX + 1];
    cf_key_of_object(key, node, s->key);
    const cf_err err = cf_store_get_small(repo->store, key, ret, e);
    CF_ENSURE(err != CF_ERR_NOT_FOUND, e, CF_ERR_DAMAGE, "segment '%s' is gone", s->key);
    CF_ENSURE(err != CF_ERR_TOO_LARGE, e, CF_ERR_DAMAGE, "segment '%s' has more than %d bytes",
              s->key, CF_SEGMENT_STORED_MAX);
    CF_TRY(err);
    return check_stored(s, cf_buf_slice(ret), e);
}
