/* SPDX-License-Identifier: Apache-2.0
 *
 * Manifest: roots and their chain, segments, and pack lines against what was listed.
 */
#include <stdio.h>

#include "s3/base/cleanup.h"
#include "verify/verify.h"

static cf_err found_add(cf_verify *const v, const cf_verify_node *const n,
                        const cf_verify_snapshot *const s, const cf_finding_kind kind,
                        const char *const object, const char *const reason, cf_error *const e)
{
    const cf_found found = {.node = (size_t)(n - v->nodes),
                            .kind = kind,
                            .object = object,
                            .found_in = &s->id,
                            .reason = reason};

    return cf_findings_add(v->findings, &found, e);
}

/* Damage is looked at twice. *ret NULL: gone, or damaged (*ret_why has it). */
static cf_err root_read(const cf_verify *const v, const char *const node, const cf_run_id *const id,
                        cf_root **const ret, bool *const ret_damaged, cf_error *const ret_why,
                        cf_error *const e)
{
    cf_err err = cf_snapshot_load(&v->repo, node, id, ret, ret_why);

    if (err == CF_ERR_DAMAGE) {
        *ret_why = (cf_error){0};
        err = cf_snapshot_load(&v->repo, node, id, ret, ret_why);
    }
    *ret_damaged = err == CF_ERR_DAMAGE;
    if (err == CF_OK || err == CF_ERR_DAMAGE || err == CF_ERR_NOT_FOUND || err == CF_ERR_FENCED)
        return CF_OK;
    if (e != NULL)
        *e = *ret_why;
    return err;
}

static const cf_root *root_known(const cf_verify_node *const n, const cf_run_id *const id)
{
    for (size_t i = 0; i < n->snapshot_total; i++) {
        if (strcmp(n->snapshots[i].id.text, id->text) == 0)
            return n->snapshots[i].root;
    }
    return NULL;
}

/* A parent that was pruned is no fault; one that is another than it was is. */
static cf_err chain_check(cf_verify *const v, const cf_verify_node *const n,
                          const cf_verify_snapshot *const s, cf_error *const e)
{
    CF_CLEANUP(cf_root_freep) cf_root *loaded = NULL;
    const cf_root *parent = root_known(n, &s->root->parent);
    char reason[CF_FINDING_REASON_SIZE];
    cf_error why = {0};
    bool damaged = false;

    if (!s->root->has_parent)
        return CF_OK;
    if (parent == NULL) {
        CF_TRY(root_read(v, n->name, &s->root->parent, &loaded, &damaged, &why, e));
        parent = loaded;
    }
    if (damaged)
        return found_add(v, n, s, CF_FINDING_ROOT, s->root->parent.text, why.message, e);
    if (parent == NULL || memcmp(parent->sha256, s->root->parent_sha256, 32) == 0)
        return CF_OK;
    (void)snprintf(reason, sizeof(reason),
                   "it has another SHA-256 than when snapshot %s was made on it", s->id.text);
    return found_add(v, n, s, CF_FINDING_ROOT, s->root->parent.text, reason, e);
}

cf_err cf_verify_load_root(cf_verify *const v, cf_verify_node *const n, cf_verify_snapshot *const s,
                           cf_error *const e)
{
    cf_error why = {0};
    bool damaged = false;

    CF_TRY(cf_verify_check_stop(v, e));
    CF_TRY(root_read(v, n->name, &s->id, &s->root, &damaged, &why, e));
    if (damaged)
        return found_add(v, n, s, CF_FINDING_ROOT, s->id.text, why.message, e);
    if (s->root == NULL) {
        s->gone = true;
        return CF_OK;
    }
    json_decref(s->root->facts); /* a thousand of them are not kept */
    s->root->facts = NULL;
    v->result.snapshots_total++;
    return chain_check(v, n, s, e);
}

/* ---- segments ---- */

static cf_err segment_lines(cf_verify *const v, const cf_segment *const segment,
                            const cf_verify_line_fn fn, void *const impl, cf_error *const e)
{
    CF_TRY(cf_segment_reader_begin(v->reader, segment, cf_buf_slice(&v->stored), e));
    for (;;) {
        cf_slice line = {NULL, 0};

        CF_TRY(cf_segment_reader_next(v->reader, &line, e));
        if (line.len == 0)
            return CF_OK;
        CF_TRY(fn(impl, line, e));
    }
}

cf_err cf_verify_segment(cf_verify *const v, cf_verify_node *const n, cf_verify_snapshot *const s,
                         const cf_segment *const segment, const cf_verify_line_fn fn,
                         void *const impl, bool *const ret_sound, cf_error *const e)
{
    cf_error why = {0};

    CF_TRY(cf_verify_check_stop(v, e));
    cf_err err = cf_segment_fetch(&v->repo, n->name, segment, &v->stored, &why);
    if (err == CF_ERR_DAMAGE) {
        cf_buf_clear(&v->stored);
        err = cf_segment_fetch(&v->repo, n->name, segment, &v->stored, &why);
    }
    if (err == CF_OK)
        err = segment_lines(v, segment, fn, impl, &why);
    cf_buf_clear(&v->stored);
    *ret_sound = err == CF_OK;
    if (err == CF_ERR_DAMAGE)
        return found_add(v, n, s, CF_FINDING_SEGMENT, segment->key, why.message, e);
    if (err != CF_OK && e != NULL)
        *e = why;
    return err;
}

/* ---- pack lines ---- */

typedef struct pack_look {
    cf_verify *v;
    cf_verify_node *n;
    cf_verify_snapshot *s;
    cf_subset_scale *scale; /* not NULL: only measured, for the choice of a subset */
    char last[CF_RUN_OBJECT_LEN_MAX + 1];
} pack_look;

/* The LIST has another length, or not the pack at all: asked for by its name before it is believed. */
static cf_err absence_check(const pack_look *const p, const cf_pack_line *const l,
                            cf_pack_state *const state, cf_error *const e)
{
    const cf_object *const o = cf_inventory_find(p->n->inventory, l->pack);
    char reason[CF_FINDING_REASON_SIZE];
    char key[CF_KEY_LEN_MAX + 1];
    cf_object_stat stat = {0};

    if (o != NULL && o->size_bytes == l->stored_bytes)
        return CF_OK;
    cf_key_of_object(key, p->n->name, l->pack);
    const cf_err err = p->v->store->ops->head(p->v->store, key, &stat, e);
    if (err == CF_OK && stat.size_bytes == l->stored_bytes)
        return CF_OK;
    if (err == CF_OK)
        (void)snprintf(reason, sizeof(reason), "it has %llu bytes, its line says %llu",
                       (unsigned long long)stat.size_bytes, (unsigned long long)l->stored_bytes);
    else if (err == CF_ERR_NOT_FOUND)
        (void)snprintf(reason, sizeof(reason), "it is missing");
    else
        return err;
    state->absent = true;
    return found_add(p->v, p->n, p->s, CF_FINDING_PACK, l->pack, reason, e);
}

static bool stored_equal(const cf_stored *const a, const cf_pack_line *const b)
{
    return a->size_bytes == b->stored_bytes && a->digest.kind == b->digest.kind &&
           a->digest.part_bytes == b->digest.part_bytes &&
           memcmp(a->digest.sha256, b->digest.sha256, sizeof(a->digest.sha256)) == 0;
}

static cf_err pack_name(const pack_look *const p, const cf_pack_line *const l, cf_error *const e)
{
    cf_verify *const v = p->v;
    cf_pack_state *state = NULL;
    bool new = false;

    CF_TRY(cf_inventory_name(p->n->inventory, l, &new, &state, e));
    state->named_by = v->snapshot_number;
    CF_ENSURE(new || stored_equal(&state->stored, l), e, CF_ERR_DAMAGE,
              "the line of pack '%s' says another length or digest than another line of it",
              l->pack);
    if (!new)
        return CF_OK;
    v->result.packs_total++;
    v->result.packs_bytes += l->stored_bytes;
    state->chosen = cf_subset_has(&v->subset, l->pack);
    if (state->chosen) {
        v->result.packs_read++;
        v->plan_bytes += l->stored_bytes;
    }
    return absence_check(p, l, state, e);
}

static cf_err pack_line(void *const impl, const cf_slice text, cf_error *const e)
{
    pack_look *const p = impl;
    cf_pack_line l = {0};

    CF_TRY(cf_pack_line_parse(text, p->v->lines, &l, e));
    CF_ENSURE(strcmp(p->last, l.pack) < 0, e, CF_ERR_DAMAGE,
              "the line of pack '%s' comes behind that of '%s', against the order", l.pack,
              p->last);
    (void)snprintf(p->last, sizeof(p->last), "%s", l.pack);
    if (p->scale == NULL)
        return pack_name(p, &l, e);
    cf_subset_scale_add(p->scale, &p->v->subset, l.pack, l.stored_bytes);
    return CF_OK;
}

cf_err cf_verify_packs(cf_verify *const v, cf_verify_node *const n, cf_verify_snapshot *const s,
                       cf_subset_scale *const scale, cf_error *const e)
{
    pack_look p = {.v = v, .n = n, .s = s, .scale = scale};

    for (size_t i = 0; i < s->root->segment_total; i++) {
        const cf_segment *const segment = &s->root->segments[i];
        const uint64_t name = cf_seen_hash_text(n->name, segment->key);
        bool sound = false;

        if (segment->kind != CF_SEGMENT_PACKS)
            continue;
        if (cf_seen_add(scale != NULL ? v->measured : v->pack_segments, name)) {
            s->shares_packs = true; /* read for another snapshot; its packs are known */
            p.last[0] = '\0';
            continue;
        }
        CF_TRY(cf_verify_segment(v, n, s, segment, pack_line, &p, &sound, e));
        n->lacks_packs = n->lacks_packs || !sound;
    }
    return CF_OK;
}
