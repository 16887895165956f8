/* SPDX-License-Identifier: Apache-2.0
 *
 * What a worker does: read a batch, and what seems damaged once more. A bit that flipped on the way
 * is not there the second time; what is wrong twice is a finding.
 */
#include <stdio.h>

#include "store/digest.h"
#include "verify/pool_inner.h"

typedef struct reading {
    cf_pool_worker *w;
    const cf_pool_batch *b;
    size_t only;                       /* second look: number of the item; the visitor sees 0 */
    bool again;                        /* second look */
    bool found;                        /* in this second look */
    bool suspect[CF_POOL_BATCH_LINES]; /* first look: to be read again */
} reading;

static size_t number_of(const reading *const r, const size_t item)
{
    return r->again ? r->only : item;
}

static cf_pack_state *pack_of(const reading *const r, const cf_content_at at)
{
    return r->b->rows[number_of(r, at.item)].packs[at.extent];
}

static bool wanted(void *const impl, const cf_content_at at)
{
    return pack_of(impl, at) != NULL;
}

static bool stored_of(void *const impl, const cf_content_at at, cf_stored *const ret)
{
    *ret = pack_of(impl, at)->stored;
    return true;
}

static void pack_proved(void *const impl, const cf_content_at at)
{
    atomic_store(&pack_of(impl, at)->digested, true);
}

static cf_err finding_add(reading *const r, const cf_pool_row *const row,
                          const cf_finding_kind kind, const char *const object,
                          const char *const reason, cf_error *const e)
{
    const cf_found found = {.node = r->b->node,
                            .kind = kind,
                            .object = object,
                            .found_in = &row->snapshot,
                            .file = row->line->path,
                            .reason = reason};

    r->found = true;
    return cf_findings_add(r->w->pool->opts.findings, &found, e);
}

static cf_err pack_found(reading *const r, const cf_pool_row *const row, const size_t extent,
                         const char *const reason, cf_error *const e)
{
    atomic_store(&row->packs[extent]->damaged, true);
    return finding_add(r, row, CF_FINDING_PACK, row->line->extents[extent].pack, reason, e);
}

/* The file as a whole is wrong, and each extent by itself seemed right: one of its packs holds other
 * bytes than were written, or the line is wrong. Where packs are many, or none, it is the line. */
static cf_err whole_found(reading *const r, const cf_pool_row *const row, const cf_error *const why,
                          cf_error *const e)
{
    enum { PACKS_MAX = 16 };
    const cf_file_line *const l = row->line;
    char reason[CF_FINDING_REASON_SIZE];
    size_t distinct = 0;

    (void)snprintf(reason, sizeof(reason), "file '%.*s': %.300s", CF_SLICE_FMT(l->path),
                   why->message);
    for (size_t i = 0; i < l->extent_total; i++)
        distinct += i == 0 || strcmp(l->extents[i].pack, l->extents[i - 1].pack) != 0;
    if (distinct == 0 || distinct > PACKS_MAX)
        return finding_add(r, row, CF_FINDING_SEGMENT, row->segment, reason, e);
    for (size_t i = 0; i < l->extent_total; i++) {
        if (i == 0 || strcmp(l->extents[i].pack, l->extents[i - 1].pack) != 0)
            CF_TRY(pack_found(r, row, i, reason, e));
    }
    return CF_OK;
}

static cf_err damaged(void *const impl, const cf_content_at at, const bool whole,
                      const cf_error *const why, cf_error *const e)
{
    reading *const r = impl;
    const cf_pool_row *const row = &r->b->rows[number_of(r, at.item)];

    if (!r->again) {
        r->suspect[at.item] = true;
        return CF_OK;
    }
    if (whole)
        return whole_found(r, row, why, e);
    char reason[CF_FINDING_REASON_SIZE];
    (void)snprintf(reason, sizeof(reason), "at byte %llu: %.400s",
                   (unsigned long long)row->line->extents[at.extent].pack_offset, why->message);
    return pack_found(r, row, at.extent, reason, e);
}

/* ---- the digest of a pack of small extents, read again as a whole ---- */

typedef struct digesting {
    const reading *r;
    cf_digest_check check;
} digesting;

static void digesting_deinit(digesting *const d)
{
    cf_digest_check_deinit(&d->check);
}

static cf_err count_bytes(void *const impl, const size_t stored_bytes, cf_error *const e)
{
    cf_verify_pool *const p = impl;

    (void)atomic_fetch_add(&p->stored_bytes, stored_bytes);
    CF_ENSURE(!atomic_load(&p->ended), e, CF_ERR_INTERRUPTED, "the reading was given up");
    CF_ENSURE(!p->opts.world->stopping(p->opts.world->impl), e, CF_ERR_INTERRUPTED, "interrupted");
    return CF_OK;
}

static cf_err digest_take(void *const impl, const cf_slice s, cf_error *const e)
{
    digesting *const d = impl;

    CF_TRY(count_bytes(d->r->w->pool, s.len, e));
    return cf_digest_check_add(&d->check, s, e);
}

static cf_err pack_damaged(void *const impl, const cf_content_at at, const cf_error *const why,
                           cf_error *const e)
{
    reading *const r = impl;
    CF_CLEANUP(digesting_deinit) digesting d = {.r = r};
    const size_t number = number_of(r, at.item);
    const cf_pool_row *const row = &r->b->rows[number];
    cf_store *const store = r->w->pool->opts.store;
    cf_error second = {0};
    char key[CF_KEY_LEN_MAX + 1];

    (void)why;
    (void)snprintf(key, sizeof(key), "%s%s", r->b->runs_prefix, row->line->extents[at.extent].pack);
    CF_TRY(cf_digest_check_begin(&d.check, &row->packs[at.extent]->stored, e));
    cf_err err = store->ops->get(store, key, 0, 0, digest_take, &d, &second);
    if (err == CF_OK)
        err = cf_digest_check_end(&d.check, &second);
    if (err == CF_OK) {
        (void)atomic_fetch_add(&r->w->pool->healed, 1);
        return CF_OK;
    }
    if (err == CF_ERR_DAMAGE || err == CF_ERR_NOT_FOUND)
        return pack_found(r, row, at.extent, second.message, e);
    if (e != NULL)
        *e = second;
    return err;
}

/* ---- a batch ---- */

static void done(void *const impl, const size_t item, const bool whole)
{
    reading *const r = impl;
    cf_verify_pool *const p = r->w->pool;

    if (!r->again && r->suspect[item])
        return; /* counted by the second look */
    (void)atomic_fetch_add(whole ? &p->files_whole : &p->files_part, 1);
}

static cf_err content_for(cf_pool_worker *const w, const cf_pool_batch *const b, cf_error *const e)
{
    cf_verify_pool *const p = w->pool;
    const cf_content_opts opts = {.store = p->opts.store,
                                  .world = p->opts.world,
                                  .runs_prefix = b->runs_prefix,
                                  .large = &p->large,
                                  .on_bytes = count_bytes,
                                  .impl = p};

    if (w->content != NULL && w->runs_prefix == b->runs_prefix)
        return CF_OK;
    cf_content_free(w->content);
    w->content = NULL;
    w->runs_prefix = b->runs_prefix;
    return cf_content_new(&opts, &w->content, e);
}

static cf_err read_again(reading *const r, const size_t i, const cf_content_visit *const visit,
                         cf_error *const e)
{
    const cf_pool_opts *const o = &r->w->pool->opts;
    char text[CF_PATH_LEN_MAX + 128];

    r->again = true;
    r->only = i;
    r->found = false;
    CF_TRY(cf_content_read(r->w->content, &r->b->items[i], 1, visit, e));
    if (r->found)
        return CF_OK;
    (void)atomic_fetch_add(&r->w->pool->healed, 1);
    (void)snprintf(text, sizeof(text), "'%.*s' was read wrong once, and right the second time",
                   CF_SLICE_FMT(r->b->rows[i].line->path));
    o->detail(o->impl, text);
    return CF_OK;
}

cf_err cf_pool_batch_read(cf_pool_worker *const w, const cf_pool_batch *const b, cf_error *const e)
{
    reading r = {.w = w, .b = b};
    const cf_content_visit visit = {.wanted = wanted,
                                    .stored_of = stored_of,
                                    .damaged = damaged,
                                    .pack_damaged = pack_damaged,
                                    .pack_proved = pack_proved,
                                    .done = done,
                                    .impl = &r};

    CF_TRY(content_for(w, b, e));
    CF_TRY(cf_content_read(w->content, b->items, b->total, &visit, e));
    for (size_t i = 0; i < b->total; i++) {
        if (r.suspect[i])
            CF_TRY(read_again(&r, i, &visit, e));
    }
    return CF_OK;
}
