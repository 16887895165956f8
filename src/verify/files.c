/* SPDX-License-Identifier: Apache-2.0
 *
 * Files: every line is sound by itself and lies in packs that are there; its content goes to the
 * pool.
 */
#include <stdio.h>

#include "s3/base/alloc.h"
#include "s3/base/cleanup.h"
#include "s3/base/hash.h"
#include "verify/verify.h"

typedef struct file_look {
    cf_verify *v;
    cf_verify_node *n;
    cf_verify_snapshot *s;
    const cf_segment *segment;
    const cf_profile *profile; /* NULL: not known */
    cf_buf first, last;        /* keys of lines: of this segment's first, of the one before */
    bool has_first;
    cf_pack_state **packs; /* owned; by extent of the line under way */
    size_t packs_cap;
} file_look;

static void file_look_deinit(file_look *const f)
{
    cf_buf_deinit(&f->first);
    cf_buf_deinit(&f->last);
    cf_free(f->packs);
}

/* Step and path as bytes that sort as lines do. */
static cf_err key_make(cf_buf *const b, const cf_file_line *const l, cf_error *const e)
{
    cf_buf_clear(b);
    CF_TRY(cf_buf_printf(b, e, "%05u", (unsigned)l->step));
    return cf_buf_append(b, l->path, e);
}

static cf_err order_check(file_look *const f, const cf_file_line *const l, cf_error *const e)
{
    CF_CLEANUP(cf_buf_deinit) cf_buf key = {0};

    cf_buf_init(&key, CF_PATH_LEN_MAX + 16);
    CF_TRY(key_make(&key, l, e));
    CF_ENSURE(f->last.len == 0 || cf_slice_cmp(cf_buf_slice(&f->last), cf_buf_slice(&key)) < 0, e,
              CF_ERR_DAMAGE, "the line of '%.*s' comes too late, against the order",
              CF_SLICE_FMT(l->path));
    cf_buf_clear(&f->last);
    CF_TRY(cf_buf_append(&f->last, cf_buf_slice(&key), e));
    if (f->has_first)
        return CF_OK;
    f->has_first = true;
    cf_buf_clear(&f->first);
    return cf_buf_append(&f->first, cf_buf_slice(&key), e);
}

static cf_err inline_check(const cf_file_line *const l, cf_error *const e)
{
    uint8_t sha256[CF_SHA256_LEN];

    if (!l->is_inline)
        return CF_OK;
    CF_TRY(cf_sha256(l->content, sha256, e));
    CF_ENSURE(memcmp(sha256, l->sha256, sizeof(sha256)) == 0, e, CF_ERR_DAMAGE,
              "the inline content of '%.*s' is not what its SHA-256 says", CF_SLICE_FMT(l->path));
    return CF_OK;
}

static cf_err cert_check(const cf_file_line *const l, cf_error *const e)
{
    CF_ENSURE(l->cert_header.len <= l->size_bytes && l->cert_footer.len <= l->size_bytes, e,
              CF_ERR_DAMAGE, "the certificate of '%.*s' is longer than its %llu bytes",
              CF_SLICE_FMT(l->path), (unsigned long long)l->size_bytes);
    return CF_OK;
}

/* The pack is not there as it should be: this file is concerned. */
static cf_err absent_tell(const file_look *const f, const cf_file_line *const l,
                          const cf_extent *const x, cf_error *const e)
{
    const cf_found found = {.node = (size_t)(f->n - f->v->nodes),
                            .kind = CF_FINDING_PACK,
                            .object = x->pack,
                            .found_in = &f->s->id,
                            .file = l->path,
                            .reason = "it is missing, or has another length"};

    return cf_findings_add(f->v->findings, &found, e);
}

/* *ret: to be read; NULL: passed over. */
static cf_err extent_look(const file_look *const f, const cf_file_line *const l,
                          const cf_extent *const x, cf_pack_state **const ret, cf_error *const e)
{
    cf_pack_state *const state = cf_inventory_pack(f->n->inventory, x->pack);
    const bool strict = !f->s->shares_packs && !f->n->lacks_packs;

    *ret = NULL;
    if (state == NULL && f->n->lacks_packs) /* told with the segment that is damaged */
        return CF_OK;
    CF_ENSURE(state != NULL && (!strict || state->named_by == f->v->snapshot_number), e,
              CF_ERR_DAMAGE, "'%.*s' names pack '%s', which has no line", CF_SLICE_FMT(l->path),
              x->pack);
    CF_ENSURE(x->pack_offset + x->stored_bytes <= state->stored.size_bytes, e, CF_ERR_DAMAGE,
              "'%.*s' names bytes %llu to %llu of pack '%s', which has %llu", CF_SLICE_FMT(l->path),
              (unsigned long long)x->pack_offset,
              (unsigned long long)(x->pack_offset + x->stored_bytes), x->pack,
              (unsigned long long)state->stored.size_bytes);
    if (state->absent)
        return absent_tell(f, l, x, e);
    if (!state->chosen || (x->has_sha256 && cf_seen_add(f->v->seen, cf_seen_hash_extent(x))))
        return CF_OK;
    *ret = state;
    return CF_OK;
}

static cf_err extents_look(file_look *const f, const cf_file_line *const l,
                           size_t *const ret_wanted, cf_error *const e)
{
    if (l->extent_total > f->packs_cap) {
        cf_pack_state **const grown =
            cf_realloc(f->packs, l->extent_total, sizeof(cf_pack_state *));
        CF_ENSURE(grown != NULL, e, CF_ERR_NO_MEMORY, "allocate %zu packs", l->extent_total);
        f->packs = grown;
        f->packs_cap = l->extent_total;
    }
    *ret_wanted = 0;
    for (size_t i = 0; i < l->extent_total; i++) {
        CF_TRY(extent_look(f, l, &l->extents[i], &f->packs[i], e));
        *ret_wanted += f->packs[i] != NULL;
    }
    return CF_OK;
}

static cf_err content_read(file_look *const f, const cf_file_line *const l, const size_t wanted,
                           cf_error *const e)
{
    cf_verify *const v = f->v;
    const cf_pool_node node = {.number = (size_t)(f->n - v->nodes),
                               .runs_prefix = f->n->runs_prefix};
    const cf_pool_line line = {
        .line = l,
        .ends_with_md5 = f->profile != NULL && f->profile->ends_with_md5(l),
        .segment = f->segment->key,
        .snapshot = f->s->id,
        .packs = f->packs,
    };
    char path[CF_PATH_LEN_MAX + 1];

    if (v->pool == NULL)
        return CF_OK;
    if (l->extent_total == 0) { /* a hole, or inline: nothing to fetch; shared out by its path */
        (void)snprintf(path, sizeof(path), "%.*s", CF_SLICE_FMT(l->path));
        if (!cf_subset_has(&v->subset, path))
            return CF_OK;
    } else if (wanted == 0) {
        return CF_OK;
    }
    cf_verify_progress(v, "verifying");
    return cf_verify_pool_add(v->pool, &node, &line, e);
}

static cf_err file_line(void *const impl, const cf_slice text, cf_error *const e)
{
    file_look *const f = impl;
    cf_file_line l = {0};
    size_t wanted = 0;

    CF_TRY(cf_verify_check_stop(f->v, e));
    CF_TRY(cf_file_line_parse(text, f->v->lines, &l, e));
    CF_TRY(order_check(f, &l, e));
    if (l.type != CF_LINE_FILE || l.is_withheld)
        return CF_OK;
    CF_TRY(inline_check(&l, e));
    CF_TRY(cert_check(&l, e));
    if (cf_seen_add(f->v->seen, cf_seen_hash_line(&l)))
        return CF_OK;
    f->v->result.files_total++;
    CF_TRY(extents_look(f, &l, &wanted, e));
    return content_read(f, &l, wanted, e);
}

/* Another snapshot shares the segment: only its place in the order is looked at. */
static cf_err segment_known(file_look *const f, const cf_seen_segment *const known,
                            cf_error *const e)
{
    const cf_slice first = cf_slice_of(known->first, known->first_len);
    const cf_found found = {.node = (size_t)(f->n - f->v->nodes),
                            .kind = CF_FINDING_SEGMENT,
                            .object = f->segment->key,
                            .found_in = &f->s->id,
                            .reason = "its first line comes before the last one of the segment "
                                      "before it, against the order"};

    if (known->first_len > 0 && f->last.len > 0 && cf_slice_cmp(cf_buf_slice(&f->last), first) >= 0)
        CF_TRY(cf_findings_add(f->v->findings, &found, e));
    cf_buf_clear(&f->last);
    return cf_buf_append(&f->last, cf_slice_of(known->last, known->last_len), e);
}

static cf_err segment_look(file_look *const f, cf_error *const e)
{
    cf_object *const o = cf_inventory_find(f->n->inventory, f->segment->key);
    bool sound = false;

    if (o != NULL && o->index > 0)
        return segment_known(f, &f->n->segments.at[o->index - 1], e);
    f->has_first = false;
    cf_buf_clear(&f->first);
    CF_TRY(cf_verify_segment(f->v, f->n, f->s, f->segment, file_line, f, &sound, e));
    if (!sound)
        cf_buf_clear(&f->last); /* the rest of its lines is not known */
    if (o == NULL)
        return CF_OK;
    CF_TRY(cf_seen_segments_add(&f->n->segments, cf_buf_slice(&f->first), cf_buf_slice(&f->last),
                                sound, e));
    o->index = (uint32_t)f->n->segments.total;
    return CF_OK;
}

cf_err cf_verify_files(cf_verify *const v, cf_verify_node *const n, cf_verify_snapshot *const s,
                       cf_error *const e)
{
    CF_CLEANUP(file_look_deinit) file_look f = {.v = v, .n = n, .s = s};

    f.profile = cf_profile_find(s->root->profile);
    if (f.profile == NULL && v->pool != NULL && !v->warned_profile) {
        v->warned_profile = true;
        cf_verify_log(v, CF_LOG_WARN,
                      "profile '%s' is not known here: its files' own checksums are not checked, "
                      "all others are",
                      s->root->profile);
    }
    cf_buf_init(&f.first, CF_PATH_LEN_MAX + 16);
    cf_buf_init(&f.last, CF_PATH_LEN_MAX + 16);
    for (size_t i = 0; i < s->root->segment_total; i++) {
        f.segment = &s->root->segments[i];
        if (f.segment->kind == CF_SEGMENT_FILES)
            CF_TRY(segment_look(&f, e));
    }
    s->looked_at = true;
    return CF_OK;
}
