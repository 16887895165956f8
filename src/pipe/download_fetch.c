/* SPDX-License-Identifier: Apache-2.0
 *
 * Fetch: one ranged GET, decoded as it comes, written where it belongs. Each span must yield
 * exactly its bytes, in whole frames.
 */
#include "pipe/download_inner.h"

typedef struct decoder {
    cf_download_worker *w;
    const cf_run_of_frames *run;
    int window_log;
    size_t span;           /* the current one */
    uint64_t stored_left;  /* of it */
    uint64_t write_offset; /* in the file, of what comes next */
} decoder;

/* Whose bytes come now; NULL: nobody's, a gap between two files. */
static const cf_download_file *file_of(const decoder *const c)
{
    return c->run->spans[c->span].file;
}

/* cf_store_sink: content */
static cf_err content_write(void *const impl, const cf_slice content, cf_error *const e)
{
    decoder *const c = impl;
    cf_download *const d = c->w->d;
    const cf_fs *const fs = d->opts.fs;

    CF_TRY(cf_download_check_stop(d, e));
    CF_TRY(fs->ops->pwrite(fs, file_of(c)->item.fd, content, c->write_offset, e));
    (void)atomic_fetch_add(&d->written_bytes, content.len);
    c->write_offset += content.len;
    return CF_OK;
}

static cf_err span_begin(decoder *const c, cf_error *const e)
{
    const cf_span *const s = &c->run->spans[c->span];

    c->stored_left = s->stored_bytes;
    c->write_offset = s->file_offset;
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

/* cf_store_sink: stored bytes */
static cf_err decode(void *const impl, cf_slice bytes, cf_error *const e)
{
    decoder *const c = impl;

    (void)atomic_fetch_add(&c->w->d->stored_bytes, bytes.len);
    while (bytes.len > 0) {
        CF_ENSURE(c->span < c->run->span_total, e, CF_ERR_DAMAGE,
                  "the store gave more than the %llu bytes asked for",
                  (unsigned long long)c->run->stored_bytes);
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

static cf_err run_get(decoder *const c, const int window_log, cf_error *const e)
{
    cf_download *const d = c->w->d;
    const cf_run_of_frames *const run = c->run;
    CF_CLEANUP(cf_buf_deinit) cf_buf key = {0};
    const char *text = NULL;

    cf_buf_init(&key, CF_KEY_LEN_MAX + 1);
    CF_TRY(cf_buf_printf(&key, e, "%s%s", d->opts.runs_prefix, run->pack));
    CF_TRY(cf_buf_get_str(&key, &text, e));
    c->window_log = window_log;
    c->span = 0;
    CF_TRY(span_begin(c, e));
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

/* Once more, from the start, alone; what was written is written again. */
static cf_err run_get_large(decoder *const c, cf_error *const e)
{
    CF_CLEANUP(window_unlockp) pthread_mutex_t *window = &c->w->d->window;

    CF_CHECK(pthread_mutex_lock(window) == 0);
    const cf_err err = run_get(c, CF_WINDOW_LOG_MAX, e);
    cf_frames_shrink(c->w->frames);
    return err;
}

cf_err cf_download_fetch(cf_download_worker *const w, const cf_run_of_frames *const run,
                         cf_error *const e)
{
    decoder c = {.w = w, .run = run};
    cf_err err = run_get(&c, CF_WINDOW_LOG_USUAL, e);

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
