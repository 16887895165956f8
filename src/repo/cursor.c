/* SPDX-License-Identifier: Apache-2.0
 *
 * A forward reader over the lines of one kind. Invariant: lines come strictly ascending, across
 * segments too, so that a merge or a search can trust the order.
 */
#include "repo/manifest.h"
#include "repo/segment.h"
#include "s3/base/alloc.h"
#include "s3/base/cleanup.h"

struct cf_cursor {
    const cf_repo *repo;
    const char *node;
    const cf_root *root;
    cf_segment_kind kind;
    cf_segment_reader *reader; /* owned */
    cf_line_store *store;      /* owned */
    size_t next;               /* segment to open when this one ends */
    bool open;                 /* a segment is being read */
    cf_buf *cache;             /* owned: stored bytes by segment, while all of them together fit
                                  cache_max */
    size_t cache_total;        /* freeing must not look at root: cleanups run in any order */
    uint64_t cached_bytes, cache_max;
    cf_buf stored; /* of the segment being read, when it is not in the cache */
    cf_file_line file;
    cf_pack_line pack;
    bool has_line, held; /* there is a line; it was looked at by find and not given yet */
    bool started;        /* last_* holds the line before */
    uint16_t last_step;
    cf_buf last_key;
};

void cf_cursor_free(cf_cursor *const c)
{
    if (c == NULL)
        return;
    for (size_t i = 0; c->cache != NULL && i < c->cache_total; i++)
        cf_buf_deinit(&c->cache[i]);
    cf_free(c->cache);
    cf_buf_deinit(&c->stored);
    cf_buf_deinit(&c->last_key);
    cf_segment_reader_free(c->reader);
    cf_line_store_free(c->store);
    cf_free(c);
}

cf_err cf_cursor_new(const cf_repo *const repo, const char *const node, const cf_root *const root,
                     const cf_segment_kind kind, cf_cursor **const ret, cf_error *const e)
{
    CF_CLEANUP(cf_cursor_freep) cf_cursor *c = NULL;
    CF_NEW(c, e);
    c->repo = repo;
    c->node = node;
    c->root = root;
    c->kind = kind;
    c->cache_max =
        repo->segment_cache_bytes != 0 ? repo->segment_cache_bytes : CF_SEGMENT_CACHE_BYTES;
    cf_buf_init(&c->stored, CF_SEGMENT_STORED_MAX);
    cf_buf_init(&c->last_key, CF_PATH_LEN_MAX + CF_RUN_OBJECT_LEN_MAX);
    c->cache = cf_alloc(root->segment_total, sizeof(*c->cache));
    CF_ENSURE(c->cache != NULL, e, CF_ERR_NO_MEMORY, "allocate a cache of %zu segments",
              root->segment_total);
    c->cache_total = root->segment_total;
    for (size_t i = 0; i < root->segment_total; i++)
        cf_buf_init(&c->cache[i], CF_SEGMENT_STORED_MAX);
    CF_TRY(cf_segment_reader_new(&c->reader, e));
    CF_TRY(cf_line_store_new(&c->store, e));
    *ret = CF_STEAL(c);
    return CF_OK;
}

cf_err cf_cursor_rewind(cf_cursor *const c, cf_error *const e)
{
    (void)e;
    c->next = 0;
    c->open = false;
    c->has_line = false;
    c->held = false;
    c->started = false;
    return CF_OK;
}

size_t cf_cursor_get_segment(const cf_cursor *const c)
{
    CF_CHECK(c->next > 0);
    return c->next - 1;
}

/* *ret: the stored bytes, borrowed until the next call for one that is not kept. */
static cf_err segment_load(cf_cursor *const c, const size_t i, cf_slice *const ret,
                           cf_error *const e)
{
    const cf_segment *const s = &c->root->segments[i];
    const bool cached = c->cache[i].len > 0;
    const bool fits = !cached && c->cached_bytes + s->stored_bytes <= c->cache_max;
    cf_buf *const stored = cached || fits ? &c->cache[i] : &c->stored;
    if (!cached) {
        const cf_err err = cf_segment_fetch(c->repo, c->node, s, stored, e);
        if (err != CF_OK) {
            cf_buf_clear(stored);
            return err;
        }
    }
    if (fits)
        c->cached_bytes += s->stored_bytes;
    *ret = cf_buf_slice(stored);
    return CF_OK;
}

cf_err cf_cursor_check(cf_cursor *const c, cf_error *const e)
{
    for (size_t i = 0; i < c->root->segment_total; i++) {
        cf_slice stored = {NULL, 0};
        if (c->root->segments[i].kind == c->kind)
            CF_TRY(segment_load(c, i, &stored, e));
    }
    return cf_cursor_rewind(c, e);
}

static cf_err segment_open(cf_cursor *const c, const size_t i, cf_error *const e)
{
    cf_slice stored = {NULL, 0};
    CF_TRY(segment_load(c, i, &stored, e));
    c->open = true;
    return cf_segment_reader_begin(c->reader, &c->root->segments[i], stored, e);
}

/* The next line's text; len 0 at the end of all. */
static cf_err text_next(cf_cursor *const c, cf_slice *const ret, cf_error *const e)
{
    for (;;) {
        if (c->open) {
            CF_TRY(cf_segment_reader_next(c->reader, ret, e));
            if (ret->len > 0)
                return CF_OK;
            c->open = false;
        }
        while (c->next < c->root->segment_total && c->root->segments[c->next].kind != c->kind)
            c->next++;
        if (c->next == c->root->segment_total) {
            *ret = cf_slice_of(NULL, 0);
            return CF_OK;
        }
        CF_TRY(segment_open(c, c->next, e));
        c->next++;
    }
}

static cf_err order_check(cf_cursor *const c, const uint16_t step, const cf_slice key,
                          cf_error *const e)
{
    CF_ENSURE(!c->started ||
                  cf_file_line_cmp(c->last_step, cf_buf_slice(&c->last_key), step, key) < 0,
              e, CF_ERR_DAMAGE, "line of '%.*s' comes after '%.*s', against the order",
              CF_SLICE_FMT(key), CF_SLICE_FMT(cf_buf_slice(&c->last_key)));
    cf_buf_clear(&c->last_key);
    CF_TRY(cf_buf_append(&c->last_key, key, e));
    c->last_step = step;
    c->started = true;
    return CF_OK;
}

static cf_err line_take(cf_cursor *const c, const cf_slice text, cf_error *const e)
{
    if (c->kind == CF_SEGMENT_FILES) {
        CF_TRY(cf_file_line_parse(text, c->store, &c->file, e));
        return order_check(c, c->file.step, c->file.path, e);
    }
    CF_TRY(cf_pack_line_parse(text, c->store, &c->pack, e));
    return order_check(c, /* step= */ 0, cf_slice_str(c->pack.pack), e);
}

static cf_err line_next(cf_cursor *const c, cf_error *const e)
{
    cf_slice text = {NULL, 0};
    if (c->held) {
        c->held = false;
        return CF_OK;
    }
    c->has_line = false;
    CF_TRY(text_next(c, &text, e));
    if (text.len == 0)
        return CF_OK;
    CF_TRY_AS(line_take(c, text, e), e, "segment '%s'", c->root->segments[c->next - 1].key);
    c->has_line = true;
    return CF_OK;
}

cf_err cf_cursor_next_file(cf_cursor *const c, const cf_file_line **const ret, cf_error *const e)
{
    CF_CHECK(c->kind == CF_SEGMENT_FILES);
    CF_TRY(line_next(c, e));
    *ret = c->has_line ? &c->file : NULL;
    return CF_OK;
}

cf_err cf_cursor_next_pack(cf_cursor *const c, const cf_pack_line **const ret, cf_error *const e)
{
    CF_CHECK(c->kind == CF_SEGMENT_PACKS);
    CF_TRY(line_next(c, e));
    *ret = c->has_line ? &c->pack : NULL;
    return CF_OK;
}

cf_err cf_cursor_find_file(cf_cursor *const c, const uint16_t step, const cf_slice path,
                           const cf_file_line **const ret, cf_error *const e)
{
    const cf_file_line *line = NULL;
    for (;;) {
        CF_TRY(cf_cursor_next_file(c, &line, e));
        const int order = line == NULL ? 1 : cf_file_line_cmp(line->step, line->path, step, path);
        if (order < 0)
            continue;
        c->held = line != NULL && order > 0; /* looked at too early: the next call gets it again */
        *ret = order == 0 ? line : NULL;
        return CF_OK;
    }
}
