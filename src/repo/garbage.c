/* SPDX-License-Identifier: Apache-2.0
 *
 * Marks of garbage, written and read as streams.
 */
#include "repo/garbage.h"

#include <stdio.h>
#include <string.h>
#include <zstd.h>

#include "repo/json.h"
#include "repo/root.h"
#include "repo/segment.h"
#include "s3/base/alloc.h"

enum { OUT_BYTES = 64 * 1024, LINE_LEN_MAX = 64 * 1024 };

/* --- write --- */

struct cf_garbage_writer {
    ZSTD_CCtx *zstd; /* owned */
    cf_buf stored;
    cf_garbage_line line; /* under way; run "" when there is none */
    bool any;
};

void cf_garbage_writer_free(cf_garbage_writer *const w)
{
    if (w == NULL)
        return;
    (void)ZSTD_freeCCtx(w->zstd);
    cf_buf_deinit(&w->stored);
    cf_free(w);
}

static cf_err compress(cf_garbage_writer *const w, const cf_slice text, const ZSTD_EndDirective how,
                       cf_error *const e)
{
    ZSTD_inBuffer in = {text.ptr, text.len, 0};
    size_t left = 0;

    do {
        CF_TRY(cf_buf_reserve(&w->stored, OUT_BYTES, e));
        ZSTD_outBuffer out = {w->stored.data + w->stored.len, w->stored.cap - w->stored.len, 0};
        left = ZSTD_compressStream2(w->zstd, &out, &in, how);
        CF_ENSURE(!ZSTD_isError(left), e, CF_ERR_FAILED, "compress a mark of garbage: %s",
                  ZSTD_getErrorName(left));
        w->stored.len += out.pos;
    } while (in.pos < in.size || (how == ZSTD_e_end && left > 0));
    return CF_OK;
}

cf_err cf_garbage_writer_new(cf_garbage_writer **const ret, cf_error *const e)
{
    static const char head[] = "{\"format\":1,\"requires\":[]}\n";
    CF_CLEANUP(cf_garbage_writer_freep) cf_garbage_writer *w = NULL;

    CF_NEW(w, e);
    cf_buf_init(&w->stored, CF_GARBAGE_STORED_MAX);
    w->zstd = ZSTD_createCCtx();
    CF_ENSURE(w->zstd != NULL, e, CF_ERR_NO_MEMORY, "allocate a compressor");
    CF_ENSURE(!ZSTD_isError(ZSTD_CCtx_setParameter(w->zstd, ZSTD_c_checksumFlag, 1)), e,
              CF_ERR_UNSUPPORTED, "zstd refuses its parameters");
    CF_TRY(compress(w, cf_slice_str(head), ZSTD_e_continue, e));
    *ret = CF_STEAL(w);
    return CF_OK;
}

static cf_err line_end(cf_garbage_writer *const w, cf_error *const e)
{
    CF_CLEANUP(cf_buf_deinit) cf_buf text = {0};
    const cf_garbage_line *const l = &w->line;

    if (l->run.text[0] == '\0')
        return CF_OK;
    cf_buf_init(&text, LINE_LEN_MAX);
    CF_TRY(cf_buf_printf(&text, e, "{\"run\":\"%s\",\"root\":%s,\"objects\":[", l->run.text,
                         l->root ? "true" : "false"));
    for (size_t i = 0; i < l->range_total; i++)
        CF_TRY(cf_buf_printf(&text, e, "%s[%u,%u]", i > 0 ? "," : "", (unsigned)l->range[i][0],
                             (unsigned)l->range[i][1]));
    CF_TRY(cf_buf_append_str(&text, "]}\n", e));
    CF_TRY(compress(w, cf_buf_slice(&text), ZSTD_e_continue, e));
    w->line = (cf_garbage_line){0};
    w->any = true;
    return CF_OK;
}

cf_err cf_garbage_writer_add(cf_garbage_writer *const w, const cf_run_id *const run,
                             const uint32_t seq, bool *const ret_full, cf_error *const e)
{
    cf_garbage_line *const l = &w->line;

    *ret_full = w->stored.len > CF_GARBAGE_STORED_MAX / 2; /* compressed lines lag behind */
    if (*ret_full)
        return CF_OK;
    if (strcmp(l->run.text, run->text) != 0 || l->range_total == CF_GARBAGE_RANGES_MAX) {
        CF_TRY(line_end(w, e));
        l->run = *run;
    }
    if (seq == 0) {
        l->root = true;
    } else if (l->range_total > 0 && l->range[l->range_total - 1][1] + 1 == seq) {
        l->range[l->range_total - 1][1] = seq;
    } else {
        l->range[l->range_total][0] = seq;
        l->range[l->range_total++][1] = seq;
    }
    return CF_OK;
}

static void key_of(char ret[CF_KEY_LEN_MAX + 1], const char *const node, const char *const id)
{
    const int len = snprintf(ret, CF_KEY_LEN_MAX + 1, "nodes/%s/garbage/%s", node, id);
    CF_CHECK(len > 0 && len <= CF_KEY_LEN_MAX);
}

cf_err cf_garbage_writer_put(cf_garbage_writer *const w, const cf_repo *const repo,
                             const char *const node, const cf_run_id *const id, cf_error *const e)
{
    char key[CF_KEY_LEN_MAX + 1];

    CF_TRY(line_end(w, e));
    if (!w->any)
        return CF_OK;
    CF_TRY(compress(w, cf_slice_of(NULL, 0), ZSTD_e_end, e));
    key_of(key, node, id->text);
    CF_TRY_AS(repo->store->ops->put(repo->store, key, cf_buf_slice(&w->stored), /* opts= */ NULL,
                                    /* ret= */ NULL, e),
              e, "write '%s'", key);
    return CF_OK;
}

/* --- read --- */

typedef struct reading {
    const cf_repo *repo;
    const char *node;
    size_t prefix_len;
    cf_garbage_line_fn fn;
    void *impl;
    cf_garbage_line line;
} reading;

static cf_err line_take(cf_garbage_line *const l, const cf_slice text, cf_error *const e)
{
    CF_CLEANUP(json_decrefp) json_t *o = NULL;

    CF_TRY(cf_json_load(text, &o, e));
    CF_TRY(cf_json_get_run_id(o, "run", &l->run, e));
    l->root = json_is_true(json_object_get(o, "root"));
    const json_t *const list = json_object_get(o, "objects");
    CF_ENSURE(json_is_array(list) && json_array_size(list) <= CF_GARBAGE_RANGES_MAX, e,
              CF_ERR_DAMAGE, "'objects' is no list of at most %d ranges", CF_GARBAGE_RANGES_MAX);
    l->range_total = json_array_size(list);
    for (size_t i = 0; i < l->range_total; i++) {
        const json_t *const range = json_array_get(list, i);
        const json_int_t first = json_integer_value(json_array_get(range, 0));
        const json_int_t last = json_integer_value(json_array_get(range, 1));

        CF_ENSURE(first >= 1 && first <= last && last <= CF_SEQ_MAX, e, CF_ERR_DAMAGE,
                  "range %zu is not from 1 to %d", i + 1, CF_SEQ_MAX);
        l->range[i][0] = (uint32_t)first;
        l->range[i][1] = (uint32_t)last;
    }
    return CF_OK;
}

static cf_err text_take(reading *const r, const cf_slice text, const bool first, cf_error *const e)
{
    CF_CLEANUP(json_decrefp) json_t *head = NULL;

    if (first) {
        CF_TRY(cf_json_load(text, &head, e));
        return cf_json_check_format(head, "mark of garbage", e);
    }
    CF_TRY(line_take(&r->line, text, e));
    return r->fn(r->impl, &r->line, e);
}

typedef struct unpacker {
    ZSTD_DCtx *zstd; /* owned */
    cf_buf text;
} unpacker;

static void unpacker_deinit(unpacker *const u)
{
    (void)ZSTD_freeDCtx(u->zstd);
    cf_buf_deinit(&u->text);
}

/* Gives every whole line of the text, and drops it. */
static cf_err lines_give(reading *const r, cf_buf *const text, uint64_t *const lines,
                         cf_error *const e)
{
    size_t at = 0;

    for (;;) {
        const uint8_t *const from = text->data + at;
        const uint8_t *const end = text->len == at ? NULL : memchr(from, '\n', text->len - at);

        if (end == NULL)
            break;
        CF_TRY_AS(text_take(r, cf_slice_of(from, (size_t)(end - from)), (*lines)++ == 0, e), e,
                  "line %llu", (unsigned long long)*lines);
        at += (size_t)(end - from) + 1;
    }
    if (at > 0)
        memmove(text->data, text->data + at, text->len - at);
    text->len -= at;
    return CF_OK;
}

static cf_err mark_unpack(reading *const r, const cf_slice stored, cf_error *const e)
{
    CF_CLEANUP(unpacker_deinit) unpacker u = {.zstd = ZSTD_createDCtx()};
    ZSTD_inBuffer in = {stored.ptr, stored.len, 0};
    uint64_t total = 0, lines = 0;
    size_t left = 1;

    cf_buf_init(&u.text, LINE_LEN_MAX + OUT_BYTES);
    CF_ENSURE(u.zstd != NULL, e, CF_ERR_NO_MEMORY, "allocate a decompressor");
    CF_ENSURE(!ZSTD_isError(
                  ZSTD_DCtx_setParameter(u.zstd, ZSTD_d_windowLogMax, CF_SEGMENT_WINDOW_LOG_MAX)),
              e, CF_ERR_UNSUPPORTED, "zstd refuses its parameters");
    while (left > 0) {
        CF_ENSURE(u.text.len <= LINE_LEN_MAX, e, CF_ERR_DAMAGE, "a line of more than %d bytes",
                  LINE_LEN_MAX);
        CF_TRY(cf_buf_reserve(&u.text, OUT_BYTES, e));
        ZSTD_outBuffer out = {u.text.data + u.text.len, OUT_BYTES, 0};
        const size_t pos = in.pos;
        left = ZSTD_decompressStream(u.zstd, &out, &in);
        CF_ENSURE(!ZSTD_isError(left), e, CF_ERR_DAMAGE, "decompress: %s", ZSTD_getErrorName(left));
        CF_ENSURE(left == 0 || out.pos > 0 || in.pos > pos, e, CF_ERR_DAMAGE,
                  "decompress: it ends in the middle");
        total += out.pos;
        CF_ENSURE(total <= CF_GARBAGE_SOURCE_MAX, e, CF_ERR_DAMAGE,
                  "decompresses to more than %d bytes", CF_GARBAGE_SOURCE_MAX);
        u.text.len += out.pos;
        CF_TRY(lines_give(r, &u.text, &lines, e));
    }
    CF_ENSURE(u.text.len == 0 && in.pos == in.size && lines > 0, e, CF_ERR_DAMAGE,
              "its last line has no newline, or something stands behind it");
    return CF_OK;
}

static cf_err mark_read(void *const impl, const cf_store_entry *const entry, bool *const ret_stop,
                        cf_error *const e)
{
    reading *const r = impl;
    CF_CLEANUP(cf_buf_deinit) cf_buf stored = {0};
    cf_run_id id = {""};

    (void)ret_stop;
    if (!cf_run_id_parse(cf_slice_str(entry->key + r->prefix_len), &id))
        return CF_OK; /* none of ours */
    cf_buf_init(&stored, CF_GARBAGE_STORED_MAX);
    const cf_err err = cf_store_get_small(r->repo->store, entry->key, &stored, e);
    if (err == CF_ERR_NOT_FOUND) /* another prune had it since the LIST */
        return CF_OK;
    CF_ENSURE(err != CF_ERR_TOO_LARGE, e, CF_ERR_DAMAGE, "'%s' has more than %d bytes", entry->key,
              CF_GARBAGE_STORED_MAX);
    CF_TRY(err);
    r->line.mark = entry->key;
    r->line.modified_utc_ms = entry->modified_utc_ms;
    CF_TRY_AS(mark_unpack(r, cf_buf_slice(&stored), e), e, "'%s'", entry->key);
    return CF_OK;
}

cf_err cf_garbage_each(const cf_repo *const repo, const char *const node,
                       const cf_garbage_line_fn fn, void *const impl, cf_error *const e)
{
    CF_CLEANUP(cf_freep) reading *r = NULL; /* a line is 8 KiB */
    char prefix[CF_KEY_LEN_MAX + 1];

    CF_NEW(r, e);
    *r = (reading){.repo = repo, .node = node, .fn = fn, .impl = impl};
    CF_TRY(cf_node_name_check(node, e));
    cf_key_folder(prefix, node, "garbage");
    r->prefix_len = strlen(prefix);
    CF_TRY_AS(repo->store->ops->list(repo->store, prefix, /* after= */ NULL, /* delimiter= */ NULL,
                                     mark_read, r, e),
              e, "read what is marked as garbage of '%s'", node);
    return CF_OK;
}

typedef struct run_each {
    cf_garbage_run_fn fn;
    void *impl;
} run_each;

static cf_err run_give(void *const impl, const cf_garbage_line *const line, cf_error *const e)
{
    const run_each *const x = impl;
    return x->fn(x->impl, &line->run, e);
}

cf_err cf_garbage_each_run(const cf_repo *const repo, const char *const node,
                           const cf_garbage_run_fn fn, void *const impl, cf_error *const e)
{
    run_each x = {fn, impl};
    return cf_garbage_each(repo, node, run_give, &x, e);
}
