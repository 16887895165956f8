/* SPDX-License-Identifier: Apache-2.0
 *
 * One file after the other: fetch, decode, hash, compare. What differs is told where it is known
 * best: an extent names its pack, the whole names the file.
 */
#include "pipe/content.h"

#include <stdio.h>

#include "pipe/content_ahead.h"
#include "pipe/file_digest.h"
#include "pipe/frames.h"
#include "s3/base/alloc.h"
#include "store/digest.h"

/* The file under way. */
typedef struct whole {
    cf_file_digest digest;
    uint64_t offset;               /* so far */
    uint8_t head[CF_CERT_LEN_MAX]; /* its first bytes */
    uint8_t tail[CF_CERT_LEN_MAX]; /* its last ones so far, tail_len of them */
    size_t tail_len;
    bool broken; /* an extent was passed over, or is damaged */
} whole;

struct cf_content {
    cf_content_opts opts;
    cf_frames *frames; /* owned */
    cf_ahead ahead;    /* owned */

    /* Of the read under way; borrowed. */
    const cf_content_item *items;
    const cf_content_visit *visit;
    cf_content_at at;
    const cf_extent *extent;
    whole file;
    uint64_t given;         /* content of the extent that was given */
    uint64_t skip;          /* of it, decoded again and not given again */
    cf_hash part;           /* of the extent, when it has a SHA-256 */
    cf_digest_check stored; /* of the pack, when it is read whole */
    bool has_stored;
};

void cf_content_free(cf_content *const c)
{
    if (c == NULL)
        return;
    cf_frames_free(c->frames);
    cf_ahead_deinit(&c->ahead);
    cf_file_digest_deinit(&c->file.digest);
    cf_hash_deinit(&c->part);
    cf_digest_check_deinit(&c->stored);
    cf_free(c);
}

cf_err cf_content_new(const cf_content_opts *const opts, cf_content **const ret, cf_error *const e)
{
    CF_CLEANUP(cf_content_freep) cf_content *c = NULL;

    CF_NEW(c, e);
    c->opts = *opts;
    CF_TRY(cf_frames_new(opts->whole_frames, &c->frames, e));
    CF_TRY(cf_ahead_init(&c->ahead, e));
    *ret = CF_STEAL(c);
    return CF_OK;
}

/* ---- the whole file ---- */

static cf_err whole_begin(cf_content *const c, cf_error *const e)
{
    const cf_content_item *const item = &c->items[c->at.item];
    whole *const w = &c->file;

    w->offset = 0;
    w->tail_len = 0;
    w->broken = false;
    return cf_file_digest_init(&w->digest, item->ends_with_md5, item->line.size_bytes, e);
}

/* Head and tail, which the certificate is. */
static void ends_keep(whole *const w, const cf_slice s)
{
    if (w->offset < sizeof(w->head)) {
        const size_t room = sizeof(w->head) - (size_t)w->offset;
        memcpy(w->head + w->offset, s.ptr, s.len < room ? s.len : room);
    }
    const size_t cap = sizeof(w->tail);
    const size_t take = s.len < cap ? s.len : cap;
    const size_t keep = w->tail_len < cap - take ? w->tail_len : cap - take;
    memmove(w->tail, w->tail + w->tail_len - keep, keep);
    memcpy(w->tail + keep, s.ptr + s.len - take, take);
    w->tail_len = keep + take;
}

/* Content, in order. After damage nothing counts for the file as a whole. */
static cf_err whole_add(cf_content *const c, const cf_slice s, cf_error *const e)
{
    whole *const w = &c->file;

    CF_ENSURE(!c->opts.world->stopping(c->opts.world->impl), e, CF_ERR_INTERRUPTED, "interrupted");
    if (!w->broken) {
        CF_TRY(cf_file_digest_update(&w->digest, s, e));
        ends_keep(w, s);
    }
    w->offset += s.len;
    return c->visit->write == NULL ? CF_OK : c->visit->write(c->visit->impl, c->at.item, s, e);
}

static cf_err zeros_add(cf_content *const c, const uint64_t to, cf_error *const e)
{
    static const uint8_t zeros[64 * 1024];

    while (c->file.offset < to) {
        const uint64_t left = to - c->file.offset;
        const size_t len = left < sizeof(zeros) ? (size_t)left : sizeof(zeros);
        CF_TRY(whole_add(c, cf_slice_of(zeros, len), e));
    }
    return CF_OK;
}

static cf_err digest_compare(const uint8_t *const found, const uint8_t *const expected,
                             const size_t len, const char *const what, const char *const who,
                             cf_error *const e)
{
    char found_hex[CF_SHA256_HEX_SIZE], expected_hex[CF_SHA256_HEX_SIZE];

    cf_hex_render(cf_slice_of(found, len), found_hex);
    cf_hex_render(cf_slice_of(expected, len), expected_hex);
    CF_ENSURE(memcmp(found, expected, len) == 0, e, CF_ERR_DAMAGE, "%s is %s, %s %s", what,
              found_hex, who, expected_hex);
    return CF_OK;
}

static cf_err cert_check(const whole *const w, const cf_file_line *const l, cf_error *const e)
{
    const size_t head = l->cert_header.len, foot = l->cert_footer.len;

    CF_ENSURE(head <= l->size_bytes && foot <= l->size_bytes, e, CF_ERR_DAMAGE,
              "its certificate is longer than the file");
    CF_ENSURE(head == 0 || memcmp(w->head, l->cert_header.ptr, head) == 0, e, CF_ERR_DAMAGE,
              "its first %zu bytes are not those of its certificate", head);
    CF_ENSURE(foot == 0 || (foot <= w->tail_len &&
                            memcmp(w->tail + w->tail_len - foot, l->cert_footer.ptr, foot) == 0),
              e, CF_ERR_DAMAGE, "its last %zu bytes are not those of its certificate", foot);
    return CF_OK;
}

static cf_err whole_check(cf_content *const c, cf_error *const e)
{
    const cf_content_item *const item = &c->items[c->at.item];
    whole *const w = &c->file;
    uint8_t found[CF_SHA256_LEN];

    CF_TRY(cf_file_digest_end(&w->digest, found, e));
    CF_TRY(digest_compare(found, item->line.sha256, CF_SHA256_LEN, "its SHA-256",
                          "the manifest says", e));
    CF_TRY(cert_check(w, &item->line, e));
    if (!item->ends_with_md5)
        return CF_OK;
    CF_ENSURE(item->line.size_bytes >= CF_MD5_LEN, e, CF_ERR_DAMAGE,
              "its %llu bytes cannot end with an MD5", (unsigned long long)item->line.size_bytes);
    return digest_compare(w->digest.md5_found, w->digest.md5_expected, CF_MD5_LEN, "its MD5",
                          "its last bytes say", e);
}

/* ---- one extent ---- */

/* cf_store_sink: content of the extent */
static cf_err content_take(void *const impl, cf_slice s, cf_error *const e)
{
    cf_content *const c = impl;
    const size_t known = s.len < c->skip ? s.len : (size_t)c->skip;

    c->skip -= known;
    s = cf_slice_of(s.ptr + known, s.len - known);
    if (s.len == 0)
        return CF_OK;
    c->given += s.len;
    if (c->extent->has_sha256)
        CF_TRY(cf_hash_update(&c->part, s, e));
    return whole_add(c, s, e);
}

/* cf_store_sink: stored bytes of the extent */
static cf_err stored_take(void *const impl, const cf_slice s, cf_error *const e)
{
    cf_content *const c = impl;

    if (c->opts.on_bytes != NULL)
        CF_TRY(c->opts.on_bytes(c->opts.impl, s.len, e));
    if (c->has_stored)
        CF_TRY(cf_digest_check_add(&c->stored, s, e));
    return cf_frames_feed(c->frames, s, e);
}

/* Is [offset, offset + len) the whole pack of this extent? Then its digest is checked too. */
static cf_err stored_begin(cf_content *const c, const cf_content_at at, const uint64_t offset,
                           const uint64_t len, cf_error *const e)
{
    cf_stored stored = {0};

    c->has_stored = offset == 0 && c->visit->stored_of != NULL &&
                    c->visit->stored_of(c->visit->impl, at, &stored) && stored.size_bytes == len;
    return c->has_stored ? cf_digest_check_begin(&c->stored, &stored, e) : CF_OK;
}

static void pack_prove(const cf_content *const c, const cf_content_at at)
{
    if (c->visit->pack_proved != NULL)
        c->visit->pack_proved(c->visit->impl, at);
}

static cf_err get(const cf_content *const c, const char *const pack, const uint64_t offset,
                  const uint64_t len, const cf_store_sink sink, void *const impl, cf_error *const e)
{
    char key[CF_KEY_LEN_MAX + 1];
    const int key_len = snprintf(key, sizeof(key), "%s%s", c->opts.runs_prefix, pack);

    CF_CHECK(key_len > 0 && key_len <= CF_KEY_LEN_MAX);
    const cf_err err = c->opts.store->ops->get(c->opts.store, key, offset, len, sink, impl, e);
    CF_ENSURE(err != CF_ERR_NOT_FOUND, e, CF_ERR_DAMAGE, "it is missing");
    return err;
}

/* ready: its stored bytes; NULL: they are streamed. */
static cf_err extent_decode(cf_content *const c, const uint8_t *const ready, const int window_log,
                            cf_error *const e)
{
    const cf_extent *const x = c->extent;

    c->has_stored = false;
    CF_TRY(cf_frames_begin(c->frames, window_log, x->file_bytes, content_take, c, e));
    if (ready != NULL) {
        CF_TRY(cf_frames_feed(c->frames, cf_slice_of(ready, (size_t)x->stored_bytes), e));
    } else {
        CF_TRY(stored_begin(c, c->at, x->pack_offset, x->stored_bytes, e));
        CF_TRY(get(c, x->pack, x->pack_offset, x->stored_bytes, stored_take, c, e));
    }
    return cf_frames_end(c->frames, e);
}

static void large_unlockp(pthread_mutex_t **const large)
{
    if (*large != NULL)
        CF_CHECK(pthread_mutex_unlock(*large) == 0);
}

/* Once more from the start, alone; what was given already is not given again. */
static cf_err extent_decode_large(cf_content *const c, const uint8_t *const ready,
                                  cf_error *const e)
{
    CF_CLEANUP(large_unlockp) pthread_mutex_t *large = c->opts.large;

    if (large != NULL)
        CF_CHECK(pthread_mutex_lock(large) == 0);
    c->skip = c->given;
    const cf_err err = extent_decode(c, ready, CF_WINDOW_LOG_MAX, e);
    cf_frames_shrink(c->frames);
    return err;
}

static cf_err extent_check(cf_content *const c, const uint8_t *const ready, cf_error *const e)
{
    const cf_extent *const x = c->extent;

    c->given = c->skip = 0;
    if (x->has_sha256)
        CF_TRY(cf_hash_init(&c->part, CF_HASH_SHA256, e));
    cf_err err = extent_decode(c, ready, CF_WINDOW_LOG_USUAL, e);
    if (err != CF_OK && cf_frames_window_too_large(c->frames))
        err = extent_decode_large(c, ready, e);
    CF_TRY(err);
    if (x->has_sha256) {
        uint8_t found[CF_SHA256_LEN];

        CF_TRY(cf_hash_final(&c->part, found, e));
        CF_TRY(digest_compare(found, x->sha256, CF_SHA256_LEN, "the SHA-256 of the extent",
                              "the manifest says", e));
    }
    if (!c->has_stored)
        return CF_OK;
    CF_TRY(cf_digest_check_end(&c->stored, e));
    pack_prove(c, c->at);
    return CF_OK;
}

/* Damage: to the visitor, if there is one who wants it. */
static cf_err damage_tell(cf_content *const c, const cf_err code, cf_error *const why,
                          cf_error *const e)
{
    const cf_slice path = c->items[c->at.item].line.path;

    c->file.broken = true;
    if (code == CF_ERR_DAMAGE && c->visit->damaged != NULL)
        return c->visit->damaged(c->visit->impl, c->at, /* whole= */ c->extent == NULL, why, e);
    if (code != CF_ERR_INTERRUPTED && c->extent != NULL)
        cf_error_prefix(why, "file '%.*s': pack '%s' at %llu", CF_SLICE_FMT(path), c->extent->pack,
                        (unsigned long long)c->extent->pack_offset);
    else if (code != CF_ERR_INTERRUPTED)
        cf_error_prefix(why, "file '%.*s'", CF_SLICE_FMT(path));
    if (e != NULL)
        *e = *why;
    return code;
}

/* ---- ahead ---- */

typedef struct area_fill {
    cf_content *c;
    uint8_t *to;
    uint64_t left;
} area_fill;

static cf_err area_take(void *const impl, const cf_slice s, cf_error *const e)
{
    area_fill *const f = impl;

    CF_ENSURE(s.len <= f->left, e, CF_ERR_DAMAGE, "the store gave more than was asked for");
    if (f->c->opts.on_bytes != NULL)
        CF_TRY(f->c->opts.on_bytes(f->c->opts.impl, s.len, e));
    memcpy(f->to, s.ptr, s.len);
    f->to += s.len;
    f->left -= s.len;
    return CF_OK;
}

/* The digest of a pack that is in the area as a whole. */
static cf_err range_prove(cf_content *const c, const cf_ahead_range *const r,
                          const uint8_t *const bytes, cf_error *const e)
{
    cf_error why = {0};

    const cf_content_at at = c->ahead.slots[r->slot_from].at;
    CF_TRY(stored_begin(c, at, r->offset, r->len, e));
    if (!c->has_stored)
        return CF_OK;
    CF_TRY(cf_digest_check_add(&c->stored, cf_slice_of(bytes, (size_t)r->len), e));
    const cf_err err = cf_digest_check_end(&c->stored, &why);
    if (err == CF_OK)
        pack_prove(c, at);
    else if (err == CF_ERR_DAMAGE && c->visit->pack_damaged != NULL)
        return c->visit->pack_damaged(c->visit->impl, at, &why, e);
    return CF_OK; /* each extent is looked at by itself */
}

/* What cannot be fetched together is fetched one by one later, and told there. */
static cf_err range_fetch(cf_content *const c, const cf_ahead_range *const r,
                          const size_t area_offset, cf_error *const e)
{
    area_fill f = {.c = c, .to = c->ahead.area + area_offset, .left = r->len};
    cf_error why = {0};
    const cf_err err = get(c, r->pack, r->offset, r->len, area_take, &f, &why);

    if (err == CF_ERR_DAMAGE || (err == CF_OK && f.left > 0))
        return CF_OK;
    if (err != CF_OK) {
        cf_error_prefix(&why, "pack '%s' at %llu", r->pack, (unsigned long long)r->offset);
        if (e != NULL)
            *e = why;
        return err;
    }
    for (size_t i = r->slot_from; i < r->slot_to; i++) {
        cf_ahead_slot *const slot = &c->ahead.slots[i];
        slot->area_offset = area_offset + (size_t)(slot->x->pack_offset - r->offset);
    }
    return range_prove(c, r, c->ahead.area + area_offset, e);
}

static cf_err ahead_fill(cf_content *const c, const size_t total, cf_error *const e)
{
    cf_ahead_range r = {0};
    size_t used = 0;

    cf_ahead_plan(&c->ahead, c->items, total, c->at, c->visit);
    for (size_t at = 0; cf_ahead_range_next(&c->ahead, &at, &r);) {
        CF_CHECK(r.len <= CF_CONTENT_AREA_BYTES - used);
        CF_TRY(range_fetch(c, &r, used, e));
        used += (size_t)r.len;
    }
    cf_ahead_ready(&c->ahead);
    return CF_OK;
}

/* ---- one file ---- */

static cf_err extent_read(cf_content *const c, const size_t total, cf_error *const e)
{
    const cf_extent *const x = c->extent;
    const uint8_t *ready = NULL;
    cf_error why = {0};

    if (cf_extent_is_small(x)) {
        if (!cf_ahead_covers(&c->ahead, c->at))
            CF_TRY(ahead_fill(c, total, e));
        ready = cf_ahead_take(&c->ahead, c->at);
    }
    const cf_err err = extent_check(c, ready, &why);
    if (err != CF_OK)
        CF_TRY(damage_tell(c, err, &why, e));
    c->file.offset = x->file_offset + x->file_bytes; /* also behind damage */
    return CF_OK;
}

static cf_err extents_read(cf_content *const c, const size_t total, cf_error *const e)
{
    const cf_file_line *const l = &c->items[c->at.item].line;

    for (c->at.extent = 0; c->at.extent < l->extent_total; c->at.extent++) {
        const cf_extent *const x = &l->extents[c->at.extent];

        if (c->visit->wanted != NULL && !c->visit->wanted(c->visit->impl, c->at)) {
            c->file.broken = true;
            c->file.offset = x->file_offset + x->file_bytes;
            continue;
        }
        if (!c->file.broken)
            CF_TRY(zeros_add(c, x->file_offset, e));
        c->extent = x;
        CF_TRY(extent_read(c, total, e));
        c->extent = NULL;
    }
    return c->file.broken ? CF_OK : zeros_add(c, l->size_bytes, e);
}

static cf_err item_read(cf_content *const c, const size_t total, cf_error *const e)
{
    const cf_file_line *const l = &c->items[c->at.item].line;
    cf_error why = {0};

    CF_CHECK(l->type == CF_LINE_FILE && !l->is_withheld);
    c->extent = NULL;
    CF_TRY(whole_begin(c, e));
    if (l->is_inline && l->content.len > 0)
        CF_TRY(whole_add(c, l->content, e));
    CF_TRY(extents_read(c, total, e));
    const cf_err err = c->file.broken ? CF_OK : whole_check(c, &why);
    if (err != CF_OK)
        CF_TRY(damage_tell(c, err, &why, e));
    if (c->visit->done != NULL)
        c->visit->done(c->visit->impl, c->at.item, !c->file.broken);
    return CF_OK;
}

cf_err cf_content_read(cf_content *const c, const cf_content_item *const items, const size_t total,
                       const cf_content_visit *const visit, cf_error *const e)
{
    c->items = items;
    c->visit = visit;
    c->ahead.total = 0;
    for (c->at = (cf_content_at){0}; c->at.item < total; c->at.item++) {
        CF_ENSURE(!c->opts.world->stopping(c->opts.world->impl), e, CF_ERR_INTERRUPTED,
                  "interrupted");
        CF_TRY(item_read(c, total, e));
    }
    return CF_OK;
}
