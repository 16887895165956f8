/* SPDX-License-Identifier: Apache-2.0
 *
 * zstd with a ceiling: never more content than the manifest says, never a larger window than
 * allowed.
 *
 * A frame as we write them is decoded in one call, once all of it is there, straight into the buffer
 * that is handed out: without a window, and without the copy out of it, which streaming needs. What
 * says not how long it is, or is longer than ours, is streamed.
 */
#include "pipe/frames.h"

#include <zstd.h>
#include <zstd_errors.h>

#include "s3/base/alloc.h"

/* Of content, so that it can go around the page cache. */
enum { ALIGNMENT = 4096 };

struct cf_frames {
    ZSTD_DCtx *zstd;  /* owned; NULL until it is needed */
    uint8_t *memory;  /* owned; content stands in it, aligned */
    uint8_t *content; /* in memory */
    size_t buffered, cap;
    uint8_t
        *stored; /* owned; CF_FRAMES_STORED_BYTES; NULL until it is needed: a frame's beginning */
    size_t stored_len;
    bool whole_frames;
    cf_store_sink sink;
    void *impl;
    uint64_t content_bytes, left; /* said; not yielded yet */
    bool streaming;               /* the frame under way */
    bool at_frame_end;            /* of the streamed one */
    bool window_too_large;
};

static uint8_t *aligned(uint8_t *const p)
{
    return p + (ALIGNMENT - (uintptr_t)p % ALIGNMENT) % ALIGNMENT;
}

cf_err cf_frames_new(const bool whole_frames, cf_frames **const ret, cf_error *const e)
{
    CF_CLEANUP(cf_frames_freep) cf_frames *f = NULL;

    CF_NEW(f, e);
    f->whole_frames = whole_frames;
    f->cap = CF_FRAME_BYTES;
    f->memory = cf_alloc(f->cap + ALIGNMENT, 1);
    CF_ENSURE(f->memory != NULL, e, CF_ERR_NO_MEMORY, "allocate the buffer of a decoder");
    f->content = aligned(f->memory);
    *ret = CF_STEAL(f);
    return CF_OK;
}

void cf_frames_free(cf_frames *const f)
{
    if (f == NULL)
        return;
    (void)ZSTD_freeDCtx(f->zstd);
    cf_free(f->memory);
    cf_free(f->stored);
    cf_free(f);
}

static cf_err stored_make(cf_frames *const f, cf_error *const e)
{
    if (f->stored == NULL)
        f->stored = cf_alloc(CF_FRAMES_STORED_BYTES, 1);
    CF_ENSURE(f->stored != NULL, e, CF_ERR_NO_MEMORY, "allocate the stored bytes of a frame");
    return CF_OK;
}

cf_err cf_frames_borrow(cf_frames *const f, uint8_t **const ret, cf_error *const e)
{
    CF_TRY(stored_make(f, e));
    *ret = f->stored;
    return CF_OK;
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
    f->buffered = f->stored_len = 0;
    f->streaming = false;
    f->at_frame_end = true;
    f->window_too_large = false;
    return CF_OK;
}

static cf_err give(cf_frames *const f, cf_error *const e)
{
    const size_t len = f->buffered;

    f->buffered = 0;
    return len == 0 ? CF_OK : f->sink(f->impl, cf_slice_of(f->content, len), e);
}

static cf_err zstd_check(cf_frames *const f, const size_t rc, cf_error *const e)
{
    if (!ZSTD_isError(rc))
        return CF_OK;
    f->window_too_large = ZSTD_getErrorCode(rc) == ZSTD_error_frameParameter_windowTooLarge;
    CF_FAIL(
        e, ZSTD_getErrorCode(rc) == ZSTD_error_memory_allocation ? CF_ERR_NO_MEMORY : CF_ERR_DAMAGE,
        "bad frame: %s", ZSTD_getErrorName(rc));
}

static cf_err yield(cf_frames *const f, const size_t len, cf_error *const e)
{
    CF_ENSURE(len <= f->left, e, CF_ERR_DAMAGE,
              "its frames yield more than the %llu bytes of the extent",
              (unsigned long long)f->content_bytes);
    f->left -= len;
    f->buffered += len;
    return CF_OK;
}

/* ---- streamed ---- */

/* The buffer is full. Of a frame that is to be held back it must grow, else it goes on. */
static cf_err make_room(cf_frames *const f, cf_error *const e)
{
    if (!f->whole_frames || f->at_frame_end)
        return give(f, e);
    CF_ENSURE(f->cap < CF_FRAME_READ_MAX, e, CF_ERR_DAMAGE, "a frame holds more than %d bytes",
              CF_FRAME_READ_MAX);
    const size_t offset = (size_t)(f->content - f->memory);
    uint8_t *const grown = cf_realloc(f->memory, f->cap * 2 + ALIGNMENT, 1);
    CF_ENSURE(grown != NULL, e, CF_ERR_NO_MEMORY, "allocate a frame of %zu bytes", f->cap * 2);
    f->memory = grown;
    f->content = aligned(grown);
    memmove(f->content, grown + offset, f->buffered);
    f->cap *= 2;
    return CF_OK;
}

/* One step of zstd; *ret_more when it has more to say without more input. */
static cf_err step(cf_frames *const f, ZSTD_inBuffer *const in, bool *const ret_more,
                   cf_error *const e)
{
    ZSTD_outBuffer out = {.dst = f->content, .size = f->cap, .pos = f->buffered};
    const size_t rc = ZSTD_decompressStream(f->zstd, &out, in);

    CF_TRY(zstd_check(f, rc, e));
    CF_TRY(yield(f, out.pos - f->buffered, e));
    f->at_frame_end = rc == 0;
    *ret_more = rc != 0 && out.pos == out.size;
    if (f->whole_frames && f->at_frame_end)
        return give(f, e);
    return out.pos == out.size ? make_room(f, e) : CF_OK;
}

/* Up to the end of the frame, or of these bytes. */
static cf_err stream(cf_frames *const f, const cf_slice s, size_t *const ret_used,
                     cf_error *const e)
{
    ZSTD_inBuffer in = {.src = s.ptr, .size = s.len};

    for (bool more = false; more || (in.pos < in.size && !(f->at_frame_end && in.pos > 0));)
        CF_TRY(step(f, &in, &more, e));
    f->streaming = !f->at_frame_end;
    *ret_used = in.pos;
    return CF_OK;
}

/* What was kept of the frame is streamed, and so will be its rest. */
static cf_err stream_kept(cf_frames *const f, cf_error *const e)
{
    const size_t len = f->stored_len;

    f->stored_len = 0;
    (void)ZSTD_DCtx_reset(f->zstd, ZSTD_reset_session_only);
    f->streaming = true;
    for (size_t at = 0, used = 0; at < len; at += used)
        CF_TRY(stream(f, cf_slice_of(f->stored + at, len - at), &used, e));
    return CF_OK;
}

/* ---- whole ---- */

/* The length of the frame that begins here, when all of it is here and it is as long as ours at most;
 * else 0. */
static size_t frame_len(const cf_slice s)
{
    const size_t len = ZSTD_findFrameCompressedSize(s.ptr, s.len);

    if (ZSTD_isError(len))
        return 0;
    const unsigned long long content = ZSTD_getFrameContentSize(s.ptr, len);
    return content <= CF_FRAME_BYTES ? len : 0; /* the two errors are huge numbers */
}

static cf_err decode(cf_frames *const f, const cf_slice frame, cf_error *const e)
{
    const unsigned long long content = ZSTD_getFrameContentSize(frame.ptr, frame.len);

    CF_ENSURE(content <= f->left, e, CF_ERR_DAMAGE,
              "its frames yield more than the %llu bytes of the extent",
              (unsigned long long)f->content_bytes);
    if (content > f->cap - f->buffered)
        CF_TRY(give(f, e));
    const size_t rc = ZSTD_decompressDCtx(f->zstd, f->content + f->buffered, f->cap - f->buffered,
                                          frame.ptr, frame.len);
    CF_TRY(zstd_check(f, rc, e));
    CF_TRY(yield(f, rc, e));
    return f->whole_frames || f->buffered == f->cap ? give(f, e) : CF_OK;
}

/* Decodes the frame that begins with what was kept and goes on here, or keeps more of it. */
static cf_err frame_take(cf_frames *const f, const cf_slice s, size_t *const ret_used,
                         cf_error *const e)
{
    const size_t ready = f->stored_len == 0 ? frame_len(s) : 0;

    if (ready > 0) {
        *ret_used = ready;
        return decode(f, cf_slice_of(s.ptr, ready), e);
    }
    CF_TRY(stored_make(f, e));
    const size_t room = CF_FRAMES_STORED_BYTES - f->stored_len;
    const size_t add = s.len < room ? s.len : room;
    const size_t before = f->stored_len;
    memmove(f->stored + before, s.ptr, add); /* s may be of what was borrowed */
    f->stored_len += add;
    *ret_used = add;
    const size_t len = frame_len(cf_slice_of(f->stored, f->stored_len));
    if (len == 0) /* incomplete; full: longer than ours, so it is streamed */
        return add == room ? stream_kept(f, e) : CF_OK;
    *ret_used = len - before;
    f->stored_len = 0;
    return decode(f, cf_slice_of(f->stored, len), e);
}

cf_err cf_frames_feed(cf_frames *const f, cf_slice stored, cf_error *const e)
{
    while (stored.len > 0) {
        size_t used = 0;

        CF_TRY(f->streaming ? stream(f, stored, &used, e) : frame_take(f, stored, &used, e));
        stored = cf_slice_of(stored.ptr + used, stored.len - used);
    }
    return CF_OK;
}

cf_err cf_frames_end(cf_frames *const f, cf_error *const e)
{
    if (f->stored_len > 0) /* zstd says what is wrong, or nothing but that it is cut off */
        CF_TRY(stream_kept(f, e));
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
