/* SPDX-License-Identifier: Apache-2.0
 *
 * Fetch: one ranged GET, decoded as it comes, written where it belongs. Each span must yield
 * exactly its bytes, in whole frames.
 */
#include <zstd_errors.h>

#include "pipe/download_inner.h"

typedef struct decoder {
    cf_download_worker *w;
    const cf_download_file *f;
    const cf_run_of_frames *run;
    size_t span;           /* the current one */
    uint64_t stored_left;  /* of it */
    uint64_t file_left;    /* of it, to be yielded */
    uint64_t write_offset; /* in the file, of buffer[0] */
    size_t buffered;
    bool at_frame_end;
    bool window_too_large; /* the error was that */
} decoder;

static void span_begin(decoder *const c)
{
    const cf_span *const s = &c->run->spans[c->span];

    c->stored_left = s->stored_bytes;
    c->file_left = s->file_bytes;
    c->write_offset = s->file_offset;
    c->at_frame_end = true;
}

static cf_err buffer_write(decoder *const c, cf_error *const e)
{
    cf_download *const d = c->w->d;
    const cf_fs *const fs = d->opts.fs;

    CF_TRY(cf_download_check_stop(d, e));
    if (c->buffered > 0)
        CF_TRY(fs->ops->pwrite(fs, c->f->item.fd, cf_slice_of(c->w->buffer, c->buffered),
                               c->write_offset, e));
    (void)atomic_fetch_add(&d->written_bytes, c->buffered);
    c->write_offset += c->buffered;
    c->buffered = 0;
    return CF_OK;
}

/* One step of zstd; *ret_more when it has more to say without more input. */
static cf_err step(decoder *const c, ZSTD_inBuffer *const in, bool *const ret_more,
                   cf_error *const e)
{
    ZSTD_outBuffer out = {
        .dst = c->w->buffer, .size = CF_DOWNLOAD_BUFFER_BYTES, .pos = c->buffered};
    const size_t rc = ZSTD_decompressStream(c->w->zstd, &out, in);

    if (ZSTD_isError(rc)) {
        c->window_too_large = ZSTD_getErrorCode(rc) == ZSTD_error_frameParameter_windowTooLarge;
        CF_FAIL(e,
                ZSTD_getErrorCode(rc) == ZSTD_error_memory_allocation ? CF_ERR_NO_MEMORY
                                                                      : CF_ERR_DAMAGE,
                "bad frame: %s", ZSTD_getErrorName(rc));
    }
    const uint64_t yielded = out.pos - c->buffered;
    CF_ENSURE(yielded <= c->file_left, e, CF_ERR_DAMAGE,
              "its frames yield more than the %llu bytes of the extent",
              (unsigned long long)c->run->spans[c->span].file_bytes);
    c->file_left -= yielded;
    c->buffered = out.pos;
    c->at_frame_end = rc == 0;
    *ret_more = rc != 0 && out.pos == out.size;
    return out.pos == out.size ? buffer_write(c, e) : CF_OK;
}

static cf_err span_end(decoder *const c, cf_error *const e)
{
    CF_ENSURE(c->at_frame_end, e, CF_ERR_DAMAGE, "its last frame is cut off");
    CF_ENSURE(c->file_left == 0, e, CF_ERR_DAMAGE,
              "its frames yield %llu bytes less than the %llu of the extent",
              (unsigned long long)c->file_left,
              (unsigned long long)c->run->spans[c->span].file_bytes);
    CF_TRY(buffer_write(c, e));
    c->span++;
    if (c->span < c->run->span_total)
        span_begin(c);
    return CF_OK;
}

/* cf_store_sink */
static cf_err decode(void *const impl, cf_slice bytes, cf_error *const e)
{
    decoder *const c = impl;

    (void)atomic_fetch_add(&c->w->d->stored_bytes, bytes.len);
    while (bytes.len > 0) {
        CF_ENSURE(c->span < c->run->span_total, e, CF_ERR_DAMAGE,
                  "the store gave more than the %llu bytes asked for",
                  (unsigned long long)c->run->stored_bytes);
        const size_t len = bytes.len < c->stored_left ? bytes.len : (size_t)c->stored_left;
        ZSTD_inBuffer in = {.src = bytes.ptr, .size = len};
        for (bool more = false; more || in.pos < in.size;)
            CF_TRY(step(c, &in, &more, e));
        c->stored_left -= len;
        bytes = cf_slice_of(bytes.ptr + len, bytes.len - len);
        if (c->stored_left == 0)
            CF_TRY(span_end(c, e));
    }
    return CF_OK;
}

static cf_err zstd_begin(cf_download_worker *const w, const int window_log, cf_error *const e)
{
    if (w->zstd == NULL)
        w->zstd = ZSTD_createDCtx();
    CF_ENSURE(w->zstd != NULL, e, CF_ERR_NO_MEMORY, "allocate a zstd context");
    (void)ZSTD_DCtx_reset(w->zstd, ZSTD_reset_session_only);
    const size_t rc = ZSTD_DCtx_setParameter(w->zstd, ZSTD_d_windowLogMax, window_log);
    CF_ENSURE(!ZSTD_isError(rc), e, CF_ERR_FAILED, "set the window of zstd: %s",
              ZSTD_getErrorName(rc));
    return CF_OK;
}

static cf_err run_get(decoder *const c, const int window_log, cf_error *const e)
{
    cf_download *const d = c->w->d;
    const cf_run_of_frames *const run = c->run;
    CF_CLEANUP(cf_buf_deinit) cf_buf key = {0};
    const char *text = NULL;

    cf_buf_init(&key, CF_KEY_LEN_MAX + 1);
    CF_TRY(cf_buf_printf(&key, e, "%s%s", d->opts.runs_prefix, run->pack));
    CF_TRY(cf_buf_get_str(&key, &text, e));
    CF_TRY(zstd_begin(c->w, window_log, e));
    c->span = 0;
    c->buffered = 0;
    span_begin(c);
    const cf_err err = d->opts.store->ops->get(d->opts.store, text, run->pack_offset,
                                               run->stored_bytes, decode, c, e);
    CF_ENSURE(err != CF_ERR_NOT_FOUND, e, CF_ERR_DAMAGE, "it is missing");
    CF_TRY(err);
    CF_ENSURE(c->span == run->span_total, e, CF_ERR_DAMAGE,
              "the store gave fewer than the %llu bytes asked for",
              (unsigned long long)run->stored_bytes);
    return CF_OK;
}

static void window_unlockp(pthread_mutex_t **const window)
{
    CF_CHECK(pthread_mutex_unlock(*window) == 0);
}

/* Once more, from the start, alone; what was written is written again. The context is freed: it has
 * grown. */
static cf_err run_get_large(decoder *const c, cf_error *const e)
{
    CF_CLEANUP(window_unlockp) pthread_mutex_t *window = &c->w->d->window;

    CF_CHECK(pthread_mutex_lock(window) == 0);
    c->window_too_large = false;
    const cf_err err = run_get(c, CF_WINDOW_LOG_MAX, e);
    (void)ZSTD_freeDCtx(c->w->zstd);
    c->w->zstd = NULL;
    return err;
}

cf_err cf_download_fetch(cf_download_worker *const w, const cf_download_file *const f,
                         const cf_run_of_frames *const run, cf_error *const e)
{
    decoder c = {.w = w, .f = f, .run = run};
    cf_err err = run_get(&c, CF_WINDOW_LOG_USUAL, e);

    if (c.window_too_large)
        err = run_get_large(&c, e);
    if (err != CF_OK)
        cf_error_prefix(e, "file '%s': pack '%s' at %llu", f->item.name, run->pack,
                        (unsigned long long)run->pack_offset);
    return err;
}
