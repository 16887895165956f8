/* SPDX-License-Identifier: Apache-2.0
 *
 * zstd with a ceiling: never more content than the manifest says, never a larger window than
 * allowed.
 */
#include "pipe/frames.h"

#include <zstd.h>
#include <zstd_errors.h>

#include "s3/base/alloc.h"

struct cf_frames {
    ZSTD_DCtx *zstd; /* owned; NULL until it is needed */
    uint8_t *buffer; /* owned */
    size_t buffered, cap;
    bool whole_frames;
    cf_store_sink sink;
    void *impl;
    uint64_t content_bytes, left; /* said; not yielded yet */
    bool at_frame_end;
    bool window_too_large;
};

cf_err cf_frames_new(const bool whole_frames, cf_frames **const ret, cf_error *const e)
{
    CF_CLEANUP(cf_frames_freep) cf_frames *f = NULL;

    CF_NEW(f, e);
    f->whole_frames = whole_frames;
    f->cap = whole_frames ? CF_FRAME_BYTES : CF_FRAMES_BUFFER_BYTES;
    f->buffer = cf_alloc(f->cap, 1);
    CF_ENSURE(f->buffer != NULL, e, CF_ERR_NO_MEMORY, "allocate the buffer of a decoder");
    *ret = CF_STEAL(f);
    return CF_OK;
}

void cf_frames_free(cf_frames *const f)
{
    if (f == NULL)
        return;
    (void)ZSTD_freeDCtx(f->zstd);
    cf_free(f->buffer);
    cf_free(f);
}

cf_err cf_frames_begin(cf_frames *const f, const int window_log, const uint64_t content_bytes,
                       const cf_store_sink sink, void *const impl, cf_error *const e)
{
    if (f->zstd == NULL)
        f->zstd = ZSTD_createDCtx();
    CF_ENSURE(f->zstd != NULL, e, CF_ERR_NO_MEMORY, "allocate a zstd context");
    (void)ZSTD_DCtx_reset(f->zstd, ZSTD_reset_session_only);
    const size_t rc = ZSTD_DCtx_setParameter(f->zstd, ZSTD_d_windowLogMax, window_log);
    CF_ENSURE(!ZSTD_isError(rc), e, CF_ERR_FAILED, "set the window of zstd: %s",
              ZSTD_getErrorName(rc));
    f->sink = sink;
    f->impl = impl;
    f->content_bytes = f->left = content_bytes;
    f->buffered = 0;
    f->at_frame_end = true;
    f->window_too_large = false;
    return CF_OK;
}

static cf_err give(cf_frames *const f, cf_error *const e)
{
    const size_t len = f->buffered;

    f->buffered = 0;
    return len == 0 ? CF_OK : f->sink(f->impl, cf_slice_of(f->buffer, len), e);
}

/* The buffer is full. Of a frame that is to be held back it must grow, else it goes on. */
static cf_err make_room(cf_frames *const f, cf_error *const e)
{
    if (!f->whole_frames || f->at_frame_end)
        return give(f, e);
    CF_ENSURE(f->cap < CF_FRAME_READ_MAX, e, CF_ERR_DAMAGE, "a frame holds more than %d bytes",
              CF_FRAME_READ_MAX);
    uint8_t *const grown = cf_realloc(f->buffer, f->cap * 2, 1);
    CF_ENSURE(grown != NULL, e, CF_ERR_NO_MEMORY, "allocate a frame of %zu bytes", f->cap * 2);
    f->buffer = grown;
    f->cap *= 2;
    return CF_OK;
}

/* One step of zstd; *ret_more when it has more to say without more input. */
static cf_err step(cf_frames *const f, ZSTD_inBuffer *const in, bool *const ret_more,
                   cf_error *const e)
{
    ZSTD_outBuffer out = {.dst = f->buffer, .size = f->cap, .pos = f->buffered};
    const size_t rc = ZSTD_decompressStream(f->zstd, &out, in);

    if (ZSTD_isError(rc)) {
        f->window_too_large = ZSTD_getErrorCode(rc) == ZSTD_error_frameParameter_windowTooLarge;
        CF_FAIL(e,
                ZSTD_getErrorCode(rc) == ZSTD_error_memory_allocation ? CF_ERR_NO_MEMORY
                                                                      : CF_ERR_DAMAGE,
                "bad frame: %s", ZSTD_getErrorName(rc));
    }
    const uint64_t yielded = out.pos - f->buffered;
    CF_ENSURE(yielded <= f->left, e, CF_ERR_DAMAGE,
              "its frames yield more than the %llu bytes of the extent",
              (unsigned long long)f->content_bytes);
    f->left -= yielded;
    f->buffered = out.pos;
    f->at_frame_end = rc == 0;
    *ret_more = rc != 0 && out.pos == out.size;
    if (f->whole_frames && f->at_frame_end)
        return give(f, e);
    return out.pos == out.size ? make_room(f, e) : CF_OK;
}

cf_err cf_frames_feed(cf_frames *const f, const cf_slice stored, cf_error *const e)
{
    ZSTD_inBuffer in = {.src = stored.ptr, .size = stored.len};

    for (bool more = false; more || in.pos < in.size;)
        CF_TRY(step(f, &in, &more, e));
    return CF_OK;
}

cf_err cf_frames_end(cf_frames *const f, cf_error *const e)
{
    CF_ENSURE(f->at_frame_end, e, CF_ERR_DAMAGE, "its last frame is cut off");
    CF_ENSURE(f->left == 0, e, CF_ERR_DAMAGE,
              "its frames yield %llu bytes less than the %llu of the extent",
              (unsigned long long)f->left, (unsigned long long)f->content_bytes);
    return give(f, e);
}

bool cf_frames_window_too_large(const cf_frames *const f)
{
    return f->window_too_large;
}

void cf_frames_shrink(cf_frames *const f)
{
    (void)ZSTD_freeDCtx(f->zstd);
    f->zstd = NULL;
}
