/* SPDX-License-Identifier: Apache-2.0
 *
 * Fetch: one ranged GET, decoded, hashed in the file's order, written where it belongs. Each span
 * must yield exactly its bytes, in whole frames.
 *
 * A run whose turn it is decodes as the bytes come. One behind another run is fetched whole first: who
 * waits for a turn must hold no connection, SlowDown may have left the one in front only that.
 */
#include "pipe/download_inner.h"

typedef struct decoder {
    cf_download_worker *w;
    const cf_run_of_frames *run;
    int window_log;
    size_t span;           /* the current one */
    uint64_t stored_left;  /* of it */
    uint64_t write_offset; /* in the file, of what comes next */
    uint64_t follows;      /* where the file's bytes before it end */
    uint8_t *collected;    /* of the worker's frames */
    uint64_t collected_len;
} decoder;

/* Whose bytes come now; NULL: nobody's, a gap between two files. */
static cf_download_file *file_of(const decoder *const c)
{
    return c->run->spans[c->span].file;
}

/* cf_store_sink: content. What came once before, with a smaller window, is hashed and written. */
static cf_err content_write(void *const impl, const cf_slice content, cf_error *const e)
{
    decoder *const c = impl;
    cf_download *const d = c->w->d;
    cf_download_file *const f = file_of(c);
    const uint64_t end = c->write_offset + content.len;
    uint64_t hashed = 0;

    CF_TRY(cf_download_check_stop(d, e));
    CF_TRY(cf_download_turn_wait(d, f, c->follows, &hashed, e));
    if (hashed < end) {
        const size_t known = hashed > c->write_offset ? (size_t)(hashed - c->write_offset) : 0;
        const cf_slice rest = cf_slice_of(content.ptr + known, content.len - known);

        CF_TRY(cf_download_hash(d, f, hashed, c->write_offset + known, rest, e));
        cf_download_turn_pass(d, f, end);
        CF_TRY(d->opts.fs->ops->pwrite(d->opts.fs, f->item.fd, rest, c->write_offset + known, e));
        (void)atomic_fetch_add(&d->written_bytes, rest.len);
    }
    c->write_offset = c->follows = end;
    return CF_OK;
}

static cf_err span_begin(decoder *const c, cf_error *const e)
{
    const cf_span *const s = &c->run->spans[c->span];

    c->stored_left = s->stored_bytes;
    c->write_offset = s->file_offset;
    c->follows = s->follows;
    if (file_of(c) == NULL)
        return CF_OK;
    return cf_frames_begin(c->w->frames, c->window_log, s->file_bytes, content_write, c, e);
}

static cf_err span_end(decoder *const c, cf_error *const e)
{
    if (file_of(c) != NULL)
        CF_TRY(cf_frames_end(c->w->frames, e));
    CF_TRY(cf_download_check_stop(c->w->d, e));
    c->span++;
    return c->span < c->run->span_total ? span_begin(c, e) : CF_OK;
}

static cf_err too_much(const decoder *const c, cf_error *const e)
{
    CF_FAIL(e, CF_ERR_DAMAGE, "the store gave more than the %llu bytes asked for",
            (unsigned long long)c->run->stored_bytes);
}

static cf_err decode(decoder *const c, cf_slice bytes, cf_error *const e)
{
    while (bytes.len > 0) {
        if (c->span == c->run->span_total)
            return too_much(c, e);
        const size_t len = bytes.len < c->stored_left ? bytes.len : (size_t)c->stored_left;
        if (file_of(c) != NULL)
            CF_TRY(cf_frames_feed(c->w->frames, cf_slice_of(bytes.ptr, len), e));
        c->stored_left -= len;
        bytes = cf_slice_of(bytes.ptr + len, bytes.len - len);
        if (c->stored_left == 0)
            CF_TRY(span_end(c, e));
    }
    return CF_OK;
}

/* cf_store_sink: stored bytes */
static cf_err stored_decode(void *const impl, const cf_slice bytes, cf_error *const e)
{
    decoder *const c = impl;

    (void)atomic_fetch_add(&c->w->d->stored_bytes, bytes.len);
    return decode(c, bytes, e);
}

/* cf_store_sink: stored bytes */
static cf_err stored_collect(void *const impl, const cf_slice bytes, cf_error *const e)
{
    decoder *const c = impl;

    CF_TRY(cf_download_check_stop(c->w->d, e));
    (void)atomic_fetch_add(&c->w->d->stored_bytes, bytes.len);
    if (bytes.len > c->run->stored_bytes - c->collected_len)
        return too_much(c, e);
    memcpy(c->collected + c->collected_len, bytes.ptr, bytes.len);
    c->collected_len += bytes.len;
    return CF_OK;
}

static cf_err get(decoder *const c, const cf_store_sink sink, cf_error *const e)
{
    cf_download *const d = c->w->d;
    const cf_run_of_frames *const run = c->run;
    CF_CLEANUP(cf_buf_deinit) cf_buf key = {0};
    const char *text = NULL;

    cf_buf_init(&key, CF_KEY_LEN_MAX + 1);
    CF_TRY(cf_buf_printf(&key, e, "%s%s", d->opts.runs_prefix, run->pack));
    CF_TRY(cf_buf_get_str(&key, &text, e));
    const cf_err err = d->opts.store->ops->get(d->opts.store, text, run->pack_offset,
                                               run->stored_bytes, sink, c, e);
    CF_ENSURE(err != CF_ERR_NOT_FOUND, e, CF_ERR_DAMAGE, "it is missing");
    return err;
}

static cf_err too_little(const decoder *const c, cf_error *const e)
{
    CF_FAIL(e, CF_ERR_DAMAGE, "the store gave fewer than the %llu bytes asked for",
            (unsigned long long)c->run->stored_bytes);
}

static cf_err run_get(decoder *const c, const int window_log, cf_error *const e)
{
    c->window_log = window_log;
    c->span = 0;
    CF_TRY(span_begin(c, e));
    CF_TRY(get(c, stored_decode, e));
    return c->span == c->run->span_total ? CF_OK : too_little(c, e);
}

static cf_err run_get_whole(decoder *const c, cf_error *const e)
{
    CF_CHECK(c->run->stored_bytes <= CF_FRAMES_STORED_BYTES);
    CF_TRY(cf_frames_borrow(c->w->frames, &c->collected, e));
    CF_TRY(get(c, stored_collect, e));
    if (c->collected_len < c->run->stored_bytes)
        return too_little(c, e);
    c->window_log = CF_WINDOW_LOG_USUAL;
    CF_TRY(span_begin(c, e));
    return decode(c, cf_slice_of(c->collected, (size_t)c->collected_len), e);
}

static void window_unlockp(pthread_mutex_t **const window)
{
    CF_CHECK(pthread_mutex_unlock(*window) == 0);
}

/* Once more, from the start, alone. The turn comes first: who holds the window must not wait for one
 * who needs it. */
static cf_err run_get_large(decoder *const c, cf_error *const e)
{
    const cf_span *const first = &c->run->spans[0];
    cf_download *const d = c->w->d;
    uint64_t hashed = 0;

    CF_TRY(cf_download_turn_wait(d, first->file, first->follows, &hashed, e));
    CF_CLEANUP(window_unlockp) pthread_mutex_t *window = &d->window;
    CF_CHECK(pthread_mutex_lock(window) == 0);
    const cf_err err = run_get(c, CF_WINDOW_LOG_MAX, e);
    cf_frames_shrink(c->w->frames);
    return err;
}

cf_err cf_download_fetch(cf_download_worker *const w, const cf_run_of_frames *const run,
                         cf_error *const e)
{
    decoder c = {.w = w, .run = run};
    cf_err err = run->behind ? run_get_whole(&c, e) : run_get(&c, CF_WINDOW_LOG_USUAL, e);

    if (err != CF_OK && cf_frames_window_too_large(w->frames))
        err = run_get_large(&c, e);
    if (err != CF_OK) {
        const cf_download_file *file = c.span < run->span_total ? file_of(&c) : NULL;

        if (file == NULL) /* between two files: the first has one */
            file = run->spans[0].file;
        CF_CHECK(file != NULL);
        cf_error_prefix(e, "file '%s': pack '%s' at %llu", file->item.name, run->pack,
                        (unsigned long long)run->pack_offset);
    }
    return err;
}
