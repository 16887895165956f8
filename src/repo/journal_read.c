/* SPDX-License-Identifier: Apache-2.0
 *
 * A journal object is one zstd frame; all of a run one behind the other are a stream of frames.
 */
#include "repo/journal_read.h"

#include "repo/text.h"
#include "s3/base/alloc.h"

enum {
    /* ours: lines of one file name next to each other shrink to a twentieth; a bomb is told by its
     * rate. */
    EXPANSION_MAX = 2000,
};

struct cf_journal_reader {
    const cf_repo *repo;
    const char *node;
    cf_run_id run;
    const cf_journal_object *objects;
    size_t object_total;
    bool keep;
    cf_text text;
    size_t object; /* to fetch from next */
    uint64_t at;   /* of it */
    cf_buf stored; /* keep: all that was fetched; else the block under way */
};

static cf_err block_take(void *const impl, const cf_slice bytes, cf_error *const e)
{
    return cf_buf_append(impl, bytes, e);
}

/* More stored bytes; CF_OK with none at the end of the last object. */
static cf_err fetch(cf_journal_reader *const r, cf_error *const e)
{
    char key[CF_KEY_LEN_MAX + 1];
    if (r->object == r->object_total)
        return CF_OK;
    const cf_journal_object *const o = &r->objects[r->object];
    const uint64_t left = o->stored_bytes - r->at;
    const uint64_t len = left < CF_JOURNAL_BLOCK_BYTES ? left : CF_JOURNAL_BLOCK_BYTES;
    cf_key_journal(key, r->node, &r->run, o->seq);
    if (!r->keep)
        cf_buf_clear(&r->stored);
    const size_t had = r->stored.len;
    const cf_err err = len == 0 ? CF_OK
                                : r->repo->store->ops->get(r->repo->store, key, r->at, len,
                                                           block_take, &r->stored, e);
    CF_ENSURE(err != CF_ERR_NOT_FOUND, e, CF_ERR_DAMAGE, "journal '%s' is gone", key);
    if (err != CF_OK)
        r->stored.len = had;
    CF_TRY(err);
    r->at += len;
    if (r->at == o->stored_bytes) {
        r->object++;
        r->at = 0;
    }
    return CF_OK;
}

static cf_err more(void *const impl, ZSTD_inBuffer *const in, cf_error *const e)
{
    cf_journal_reader *const r = impl;
    const size_t had = r->keep ? r->stored.len : 0;

    do {
        if (r->object == r->object_total)
            return CF_OK;
        CF_TRY(fetch(r, e));
    } while (r->stored.len == had);
    *in = (ZSTD_inBuffer){r->stored.data, r->stored.len, had};
    return CF_OK;
}

void cf_journal_reader_free(cf_journal_reader *const r)
{
    if (r == NULL)
        return;
    cf_text_deinit(&r->text);
    cf_buf_deinit(&r->stored);
    cf_free(r);
}

cf_err cf_journal_reader_new(const cf_repo *const repo, const char *const node,
                             const cf_run_id *const run, const cf_journal_object *const objects,
                             const size_t total, const bool keep, cf_journal_reader **const ret,
                             cf_error *const e)
{
    CF_CLEANUP(cf_journal_reader_freep) cf_journal_reader *r = NULL;
    uint64_t all_bytes = 0;
    CF_NEW(r, e);
    for (size_t i = 0; i < total; i++)
        all_bytes += objects[i].stored_bytes;
    r->repo = repo;
    r->node = node;
    r->run = *run;
    r->objects = objects;
    r->object_total = total;
    r->keep = keep;
    cf_buf_init(&r->stored, keep ? (size_t)all_bytes + 1 : CF_JOURNAL_BLOCK_BYTES);
    r->text.more = more;
    r->text.impl = r;
    r->text.expansion_max = EXPANSION_MAX;
    CF_TRY(cf_text_init(&r->text, e));
    *ret = CF_STEAL(r);
    return CF_OK;
}

cf_err cf_journal_reader_rewind(cf_journal_reader *const r, cf_error *const e)
{
    if (!r->keep) {
        cf_buf_clear(&r->stored);
        r->object = 0;
        r->at = 0;
    }
    return cf_text_begin(&r->text, (ZSTD_inBuffer){r->stored.data, r->stored.len, 0}, e);
}

/* By how our writer begins them (docs/FORMAT.md 9): the others need not be parsed to be skipped. */
static cf_journal_kind kind_of(const cf_slice line)
{
    static const struct {
        const char *start;
        cf_journal_kind kind;
    } starts[] = {{"{\"step\":", CF_JOURNAL_FILE},
                  {"{\"pack\":", CF_JOURNAL_PACK},
                  {"{\"uploads\":", CF_JOURNAL_UPLOADS}};
    for (size_t i = 0; i < sizeof(starts) / sizeof(starts[0]); i++) {
        if (cf_slice_starts_with(line, cf_slice_str(starts[i].start)))
            return starts[i].kind;
    }
    return CF_JOURNAL_END;
}

cf_err cf_journal_reader_next(cf_journal_reader *const r, cf_journal_kind *const ret_kind,
                              cf_slice *const ret, cf_error *const e)
{
    for (;;) {
        cf_slice line = {NULL, 0};
        CF_TRY_AS(cf_text_next(&r->text, &line, e), e, "journals of run '%s'", r->run.text);
        const cf_journal_kind kind = line.len == 0 ? CF_JOURNAL_END : kind_of(line);
        if (line.len > 0 && kind == CF_JOURNAL_END)
            continue;
        *ret_kind = kind;
        *ret = line;
        return CF_OK;
    }
}
