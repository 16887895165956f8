/* SPDX-License-Identifier: Apache-2.0
 *
 * Lines in, segments out. Compressed bytes of one segment are in memory, the lines are not.
 */
#include <stdio.h>
#include <zstd.h>

#include "repo/manifest.h"
#include "repo/segment.h"
#include "s3/base/alloc.h"
#include "s3/base/hash.h"

enum {
    CUT_MASK = 4095, /* one sort key in 4,096 ends a segment that has CF_SEGMENT_LINES_MIN lines */
    OUT_BYTES = 128 * 1024,
};

struct cf_segment_writer {
    cf_segment_writer_opts opts;
    ZSTD_CCtx *zstd; /* owned */
    cf_buf stored;   /* compressed so far */
    uint64_t lines;
    uint64_t source_bytes;
};

cf_err cf_segment_writer_new(const cf_segment_writer_opts *const opts,
                             cf_segment_writer **const ret, cf_error *const e)
{
    CF_CLEANUP(cf_segment_writer_freep) cf_segment_writer *w = NULL;
    CF_NEW(w, e);
    w->opts = *opts;
    cf_buf_init(&w->stored, CF_SEGMENT_STORED_MAX);
    w->zstd = ZSTD_createCCtx();
    CF_ENSURE(w->zstd != NULL, e, CF_ERR_NO_MEMORY, "allocate a compressor");
    const bool bad =
        ZSTD_isError(
            ZSTD_CCtx_setParameter(w->zstd, ZSTD_c_compressionLevel, CF_SEGMENT_ZSTD_LEVEL)) ||
        ZSTD_isError(ZSTD_CCtx_setParameter(w->zstd, ZSTD_c_windowLog, CF_SEGMENT_WINDOW_LOG)) ||
        ZSTD_isError(ZSTD_CCtx_setParameter(w->zstd, ZSTD_c_checksumFlag, 1));
    CF_ENSURE(!bad, e, CF_ERR_UNSUPPORTED, "zstd refuses its parameters");
    *ret = CF_STEAL(w);
    return CF_OK;
}

void cf_segment_writer_free(cf_segment_writer *const w)
{
    if (w == NULL)
        return;
    (void)ZSTD_freeCCtx(w->zstd);
    cf_buf_deinit(&w->stored);
    cf_free(w);
}

static cf_err compress(cf_segment_writer *const w, const cf_slice line, const ZSTD_EndDirective how,
                       cf_error *const e)
{
    ZSTD_inBuffer in = {line.ptr, line.len, 0};
    size_t left = 0;
    do {
        CF_TRY(cf_buf_reserve(&w->stored, OUT_BYTES, e));
        ZSTD_outBuffer out = {w->stored.data + w->stored.len, w->stored.cap - w->stored.len, 0};
        left = ZSTD_compressStream2(w->zstd, &out, &in, how);
        CF_ENSURE(!ZSTD_isError(left), e, CF_ERR_FAILED, "compress a segment: %s",
                  ZSTD_getErrorName(left));
        w->stored.len += out.pos;
    } while (in.pos < in.size || (how == ZSTD_e_end && left > 0));
    return CF_OK;
}

/* FNV-1a, folded. Only the writer's cuts hang from it: no reader needs to know it. */
static bool ends_segment(const cf_slice sort_key)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < sort_key.len; i++)
        h = (h ^ sort_key.ptr[i]) * UINT64_C(0x100000001b3);
    return ((h ^ h >> 29 ^ h >> 47) & CUT_MASK) == 0;
}

cf_err cf_segment_writer_add(cf_segment_writer *const w, const cf_slice line,
                             const cf_slice sort_key, cf_root *const root, cf_error *const e)
{
    CF_TRY(compress(w, line, ZSTD_e_continue, e));
    w->lines++;
    w->source_bytes += line.len;
    const bool full = w->lines >= CF_SEGMENT_LINES_MAX || w->source_bytes >= CF_SEGMENT_CUT_BYTES;
    const bool good = w->lines >= CF_SEGMENT_LINES_MIN && ends_segment(sort_key);
    return full || good ? cf_segment_writer_cut(w, root, e) : CF_OK;
}

static const cf_segment *find_equal(const cf_root *const parent, const cf_segment *const s)
{
    for (size_t i = 0; parent != NULL && i < parent->segment_total; i++) {
        const cf_segment *const p = &parent->segments[i];
        if (p->kind == s->kind && p->stored_bytes == s->stored_bytes &&
            p->lines_total == s->lines_total &&
            memcmp(p->sha256, s->sha256, sizeof(p->sha256)) == 0)
            return p;
    }
    return NULL;
}

static cf_err put_segment(cf_segment_writer *const w, cf_segment *const s, cf_root *const root,
                          cf_error *const e)
{
    char key[CF_KEY_LEN_MAX + 1];
    char name[CF_KEY_LEN_MAX + 1];
    cf_store *const store = w->opts.repo->store;
    const cf_put_opts opts = {.create_only = true};
    cf_key_run_object(key, w->opts.run, cf_run_next_seq(w->opts.run),
                      s->kind == CF_SEGMENT_PACKS ? "packs" : "files",
                      /* hint= */ "", ".jsonl.zst");
    CF_TRY_AS(store->ops->put(store, key, cf_buf_slice(&w->stored), &opts, /* ret= */ NULL, e), e,
              "write segment '%s'", key);
    (void)snprintf(name, sizeof(name), "%s", cf_key_object_name(key));
    s->key = name;
    const cf_err err = cf_root_add_segment(root, s, e); /* copies */
    s->key = NULL;
    return err;
}

cf_err cf_segment_writer_cut(cf_segment_writer *const w, cf_root *const root, cf_error *const e)
{
    if (w->lines == 0)
        return CF_OK;
    CF_TRY(compress(w, cf_slice_of(NULL, 0), ZSTD_e_end, e));
    cf_segment s = {.kind = w->opts.kind, .stored_bytes = w->stored.len, .lines_total = w->lines};
    CF_TRY(cf_sha256(cf_buf_slice(&w->stored), s.sha256, e));
    const cf_segment *const equal = find_equal(w->opts.parent, &s);
    CF_TRY(equal != NULL ? cf_root_add_segment(root, equal, e) : put_segment(w, &s, root, e));
    cf_buf_clear(&w->stored);
    w->lines = 0;
    w->source_bytes = 0;
    return CF_OK;
}
