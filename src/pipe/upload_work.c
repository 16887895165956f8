/* SPDX-License-Identifier: Apache-2.0
 *
 * Workers: find out what a piece is, and compress what is new. Each has a zstd context and one
 * spare block: it compresses from the piece's block into the spare and swaps them, so that it never
 * waits for memory.
 *
 * A frame that does not shrink needs no second try: zstd writes its blocks raw, which is as fast to
 * read as a copy. High levels take long to find that out; so samples tell before.
 */
#include <zstd.h>

#include "pipe/upload_inner.h"
#include "s3/base/hash.h"

/* At least what zstd asks for one frame. */
_Static_assert(CF_BLOCK_BYTES >= ZSTD_COMPRESSBOUND(CF_FRAME_BYTES), "a block holds any frame");

typedef struct worker {
    ZSTD_CCtx *zstd; /* owned */
    cf_block *spare;
    int level; /* of the piece at hand */
    int set;   /* of zstd; 0: none yet */
} worker;

static void worker_deinit(worker *const w)
{
    (void)ZSTD_freeCCtx(w->zstd);
}

static cf_err zstd_set(ZSTD_CCtx *const zstd, const ZSTD_cParameter parameter, const int value,
                       cf_error *const e)
{
    const size_t rc = ZSTD_CCtx_setParameter(zstd, parameter, value);

    CF_ENSURE(!ZSTD_isError(rc), e, CF_ERR_USAGE, "set zstd parameter %d to %d: %s", (int)parameter,
              value, ZSTD_getErrorName(rc));
    return CF_OK;
}

static cf_err worker_init(worker *const w, cf_upload *const u, cf_error *const e)
{
    w->zstd = ZSTD_createCCtx();
    CF_ENSURE(w->zstd != NULL, e, CF_ERR_NO_MEMORY, "allocate a zstd context");
    CF_TRY(zstd_set(w->zstd, ZSTD_c_checksumFlag, 1, e));

    CF_UPLOAD_HOLD(u);
    w->spare = &u->blocks[u->opts.memory.frame_buffers + u->spares_taken++];
    return CF_OK;
}

static bool is_zero(const cf_slice s)
{
    return s.len == 0 || (s.ptr[0] == 0 && memcmp(s.ptr, s.ptr + 1, s.len - 1) == 0);
}

/* PARTS: a hole, the parent's, or new. */
static cf_err part_look(cf_piece *const p, cf_error *const e)
{
    const cf_slice bytes = cf_slice_of(p->block->data, p->source_bytes);

    if (is_zero(bytes)) {
        p->kind = CF_PIECE_ZERO;
        return CF_OK;
    }
    CF_TRY(cf_sha256(bytes, p->sha256, e));
    const cf_extent *const prior =
        cf_upload_prior_find(&p->file->item, p->file_offset, p->source_bytes);
    const bool same = prior != NULL && memcmp(prior->sha256, p->sha256, sizeof(p->sha256)) == 0;
    p->kind = same ? CF_PIECE_SAME : CF_PIECE_NEW;
    p->same = same ? prior : NULL;
    return CF_OK;
}

/* Off: at its lowest level zstd looks for so little that it stores the bytes as they are. */
static cf_err level_set(worker *const w, const int level, cf_error *const e)
{
    if (level == w->set)
        return CF_OK;
    CF_TRY(zstd_set(w->zstd, ZSTD_c_compressionLevel,
                    level == CF_UPLOAD_LEVEL_OFF ? ZSTD_minCLevel() : level, e));
    w->set = level;
    return CF_OK;
}

/* Does nothing of three samples shrink at level 1? Levels up to 4 find that out by themselves as
 * fast as they go; the others search every byte of it, at 10 times the price. */
static cf_err noise_look(worker *const w, const cf_slice s, bool *const ret, cf_error *const e)
{
    enum { QUICK_MAX = 4, SAMPLES = 3, SAMPLE_BYTES = 64 * 1024 };
    size_t stored = 0;

    *ret = false;
    if (w->level <= QUICK_MAX || s.len < 4 * SAMPLES * SAMPLE_BYTES)
        return CF_OK;
    CF_TRY(level_set(w, 1, e));
    for (size_t i = 0; i < SAMPLES; i++) {
        const size_t len =
            ZSTD_compress2(w->zstd, w->spare->data, CF_BLOCK_BYTES,
                           s.ptr + (s.len - SAMPLE_BYTES) / (SAMPLES - 1) * i, SAMPLE_BYTES);
        CF_ENSURE(!ZSTD_isError(len), e, CF_ERR_NO_MEMORY, "compress a sample: %s",
                  ZSTD_getErrorName(len));
        stored += len;
    }
    *ret = stored >= (size_t)SAMPLES * SAMPLE_BYTES;
    return CF_OK;
}

static cf_err piece_compress(worker *const w, cf_piece *const p, cf_error *const e)
{
    cf_block *const raw = p->block;
    CF_CHECK(raw != NULL && w->spare != NULL);
    bool noise = false;
    CF_TRY(noise_look(w, cf_slice_of(raw->data, p->source_bytes), &noise, e));
    CF_TRY(level_set(w, noise ? 1 : w->level, e));
    /* Knows the length, so the frame says it. */
    const size_t len =
        ZSTD_compress2(w->zstd, w->spare->data, CF_BLOCK_BYTES, raw->data, p->source_bytes);

    CF_ENSURE(!ZSTD_isError(len), e, CF_ERR_NO_MEMORY, "compress %u bytes of '%s': %s",
              p->source_bytes, p->file->item.name, ZSTD_getErrorName(len));
    p->block = w->spare;
    p->block->len = len;
    w->spare = raw;
    return CF_OK;
}

static cf_err piece_work(worker *const w, cf_piece *const p, cf_error *const e)
{
    p->kind = p->source_bytes == 0 ? CF_PIECE_NONE : p->hole ? CF_PIECE_ZERO : CF_PIECE_NEW;
    if (p->kind == CF_PIECE_NEW && p->file->item.how == CF_UPLOAD_PARTS)
        CF_TRY(part_look(p, e));
    return p->kind == CF_PIECE_NEW ? piece_compress(w, p, e) : CF_OK;
}

static uint64_t now_ms(const cf_upload *const u)
{
    return u->opts.world->mono_ms(u->opts.world->impl);
}

static cf_piece *piece_take(cf_upload *const u, int *const ret_level)
{
    CF_UPLOAD_HOLD(u);
    const uint64_t began_ms = u->opts.adaptive ? now_ms(u) : 0;

    while (!cf_upload_ended(u) && u->taken_at == u->hashed_at)
        cf_upload_wait(u, CF_STAGE_WORK);
    if (cf_upload_ended(u))
        return NULL;
    cf_piece *const p = cf_upload_piece_at(u, u->taken_at++);
    if (u->opts.adaptive) {
        const uint64_t now = now_ms(u);
        *ret_level = cf_adapt_next(&u->adapt, now, now - began_ms);
    } else {
        *ret_level = u->adapt.level;
    }
    return p;
}

/* With the lock. */
static void level_count(cf_upload_counts *const c, const int level)
{
    const int shown = level == CF_UPLOAD_LEVEL_OFF ? 0 : level;

    c->level_min = c->frames_total == 0 || shown < c->level_min ? shown : c->level_min;
    c->level_max = shown > c->level_max ? shown : c->level_max;
    c->level_sum += (uint64_t)shown;
    c->frames_total++;
}

/* A block that holds nothing to send goes back at once. */
static void piece_done(cf_upload *const u, cf_piece *const p, const int level)
{
    CF_UPLOAD_HOLD(u);

    if (p->kind == CF_PIECE_NEW)
        level_count(&u->counts, level);
    if (p->kind != CF_PIECE_NEW && p->block != NULL) {
        cf_upload_give_block(u, p->block);
        p->block = NULL;
    }
    p->done = true;
    if (p == cf_upload_piece_at(u, u->packed_at))
        cf_upload_wake(u, CF_STAGE_PACK);
}

void *cf_upload_run_worker(void *const upload)
{
    cf_upload *const u = upload;
    CF_CLEANUP(worker_deinit) worker w = {0};
    cf_error e = {0};
    cf_err err = worker_init(&w, u, &e);

    while (err == CF_OK) {
        cf_piece *const p = piece_take(u, &w.level);
        if (p == NULL)
            return NULL;
        err = cf_upload_check_stop(u, &e);
        if (err == CF_OK)
            err = piece_work(&w, p, &e);
        if (err == CF_OK)
            piece_done(u, p, w.level);
    }
    cf_upload_fail(u, err, &e);
    return NULL;
}
