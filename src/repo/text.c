/* SPDX-License-Identifier: Apache-2.0
 *
 * The decompressor is fed block by block, and gives its text in pieces: one line and two of them are
 * in memory.
 */
#include "repo/text.h"

#include "repo/line.h"
#include "repo/segment.h"

enum { OUT_BYTES = 128 * 1024 };

cf_err cf_text_init(cf_text *const t, cf_error *const e)
{
    cf_buf_init(&t->text, CF_LINE_LEN_MAX + 2 * OUT_BYTES);
    t->frame_ended = true;
    t->zstd = ZSTD_createDCtx();
    CF_ENSURE(t->zstd != NULL, e, CF_ERR_NO_MEMORY, "allocate a decompressor");
    CF_ENSURE(!ZSTD_isError(
                  ZSTD_DCtx_setParameter(t->zstd, ZSTD_d_windowLogMax, CF_SEGMENT_WINDOW_LOG_MAX)),
              e, CF_ERR_UNSUPPORTED, "zstd refuses its parameters");
    return CF_OK;
}

void cf_text_deinit(cf_text *const t)
{
    (void)ZSTD_freeDCtx(t->zstd);
    cf_buf_deinit(&t->text);
}

cf_err cf_text_begin(cf_text *const t, const ZSTD_inBuffer in, cf_error *const e)
{
    const size_t bad = ZSTD_DCtx_reset(t->zstd, ZSTD_reset_session_only);
    CF_ENSURE(!ZSTD_isError(bad), e, CF_ERR_FAILED, "reset a decompressor: %s",
              ZSTD_getErrorName(bad));
    t->in = in;
    t->frame_ended = true;
    t->in_bytes = 0;
    t->text_bytes = 0;
    t->lines = 0;
    cf_buf_clear(&t->text);
    t->at = 0;
    t->searched = 0;
    return CF_OK;
}

static cf_err bounds_check(const cf_text *const t, cf_error *const e)
{
    CF_ENSURE(t->bytes_max == 0 || t->text_bytes <= t->bytes_max, e, CF_ERR_DAMAGE,
              "decompresses to more than %llu bytes", (unsigned long long)t->bytes_max);
    CF_ENSURE(t->expansion_max == 0 || t->text_bytes <= t->in_bytes * t->expansion_max + OUT_BYTES,
              e, CF_ERR_DAMAGE, "decompresses to more than %llu times its length",
              (unsigned long long)t->expansion_max);
    return CF_OK;
}

/* One more piece of text; CF_OK with nothing added only at the end of the input. */
static cf_err decompress(cf_text *const t, cf_error *const e)
{
    if (t->at > 0) { /* what was given is dropped */
        memmove(t->text.data, t->text.data + t->at, t->text.len - t->at);
        t->text.len -= t->at;
        t->searched -= t->at;
        t->at = 0;
    }
    const size_t had = t->text.len;
    while (t->text.len == had) {
        if (t->in.pos == t->in.size && t->more != NULL)
            CF_TRY(t->more(t->impl, &t->in, e));
        if (t->in.pos == t->in.size && t->frame_ended)
            return CF_OK;
        CF_TRY(cf_buf_reserve(&t->text, OUT_BYTES, e));
        ZSTD_outBuffer out = {t->text.data + t->text.len, OUT_BYTES, 0};
        const size_t pos = t->in.pos;
        const size_t left = ZSTD_decompressStream(t->zstd, &out, &t->in);
        CF_ENSURE(!ZSTD_isError(left), e, CF_ERR_DAMAGE, "decompress: %s", ZSTD_getErrorName(left));
        CF_ENSURE(out.pos > 0 || t->in.pos > pos || left == 0, e, CF_ERR_DAMAGE,
                  "decompress: the stream ends in the middle of a frame");
        t->in_bytes += t->in.pos - pos;
        t->frame_ended = left == 0;
        t->text.len += out.pos;
        t->text_bytes += out.pos;
        CF_TRY(bounds_check(t, e));
    }
    return CF_OK;
}

cf_err cf_text_next(cf_text *const t, cf_slice *const ret, cf_error *const e)
{
    for (;;) {
        const unsigned long long line = t->lines + 1;
        const size_t left = t->text.len - t->searched;
        const uint8_t *const end =
            left == 0 ? NULL : memchr(t->text.data + t->searched, '\n', left);
        if (end != NULL) {
            *ret = cf_slice_of(t->text.data + t->at, (size_t)(end - (t->text.data + t->at)));
            CF_ENSURE(ret->len > 0, e, CF_ERR_DAMAGE, "line %llu is empty", line);
            CF_ENSURE(ret->len <= CF_LINE_LEN_MAX, e, CF_ERR_DAMAGE,
                      "line %llu has %zu bytes, more than %d", line, ret->len, CF_LINE_LEN_MAX);
            t->at += ret->len + 1;
            t->searched = t->at;
            t->lines++;
            return CF_OK;
        }
        t->searched = t->text.len;
        CF_ENSURE(t->text.len - t->at <= CF_LINE_LEN_MAX, e, CF_ERR_DAMAGE,
                  "line %llu has more than %d bytes", line, CF_LINE_LEN_MAX);
        const uint64_t before = t->text_bytes;
        CF_TRY(decompress(t, e));
        if (t->text_bytes == before) {
            CF_ENSURE(t->text.len == t->at, e, CF_ERR_DAMAGE, "the last line has no newline");
            *ret = cf_slice_of(NULL, 0);
            return CF_OK;
        }
    }
}
