/* SPDX-License-Identifier: Apache-2.0
 *
 * Names: which snapshots of a node name what was found. Asked only when something was, and of all
 * snapshots, not only of those that were verified: the newest one that names a damaged pack carries
 * the mark, and people want to know what they have lost.
 */
#include <stdio.h>

#include "s3/base/alloc.h"
#include "s3/base/cleanup.h"
#include "verify/verify.h"

enum { BITS = 64, WORDS = CF_FINDINGS_MAX / BITS };

/* A pack segment that was read here: which findings it names. */
typedef struct known {
    uint64_t hash;
    uint64_t named[WORDS];
} known;

typedef struct namer {
    cf_verify *v;
    cf_verify_node *n;
    size_t node;
    const cf_run_id *snapshot; /* under way */
    uint64_t named[WORDS];     /* by it */
    uint64_t *into;            /* by the segment under way */
    known **known;             /* owned, owned */
    size_t known_total, known_cap;
} namer;

static void namer_deinit(namer *const x)
{
    for (size_t i = 0; i < x->known_total; i++)
        cf_free(x->known[i]);
    cf_free(x->known);
}

static void bit_set(uint64_t *const bits, const size_t i)
{
    bits[i / BITS] |= UINT64_C(1) << (i % BITS);
}

static cf_err pack_line(void *const impl, const cf_slice text, cf_error *const e)
{
    namer *const x = impl;
    cf_pack_line l = {0};

    CF_TRY(cf_pack_line_parse(text, x->v->lines, &l, e));
    for (size_t i = 0; i < x->v->findings->total; i++) {
        cf_finding *const f = x->v->findings->at[i];

        if (f->node != x->node || f->kind != CF_FINDING_PACK || strcmp(f->object, l.pack) != 0)
            continue;
        bit_set(x->into, i);
        if (l.origin != NULL)
            (void)snprintf(f->origin, sizeof(f->origin), "%s", l.origin);
    }
    return CF_OK;
}

static cf_err known_get(namer *const x, const uint64_t hash, known **const ret, bool *const ret_new,
                        cf_error *const e)
{
    for (size_t i = 0; i < x->known_total; i++) {
        if (x->known[i]->hash == hash) {
            *ret = x->known[i];
            *ret_new = false;
            return CF_OK;
        }
    }
    if (x->known_total == x->known_cap) {
        const size_t cap = x->known_cap == 0 ? 16 : x->known_cap * 2;
        known **const grown = cf_realloc(x->known, cap, sizeof(known *));
        CF_ENSURE(grown != NULL, e, CF_ERR_NO_MEMORY, "allocate %zu segments", cap);
        x->known = grown;
        x->known_cap = cap;
    }
    known *k = NULL;
    CF_NEW(k, e);
    k->hash = hash;
    x->known[x->known_total++] = k;
    *ret = k;
    *ret_new = true;
    return CF_OK;
}

/* A segment that cannot be read names nothing here: it is a finding itself. */
static cf_err segment_scan(namer *const x, const cf_segment *const segment, cf_error *const e)
{
    cf_verify_snapshot fake = {.id = *x->snapshot};
    bool new = false, sound = false;
    known *k = NULL;

    CF_TRY(known_get(x, cf_seen_hash_text("", segment->key), &k, &new, e));
    x->into = k->named;
    if (new)
        CF_TRY(cf_verify_segment(x->v, x->n, &fake, segment, pack_line, x, &sound, e));
    for (size_t i = 0; i < WORDS; i++)
        x->named[i] |= k->named[i];
    return CF_OK;
}

static cf_err root_scan(namer *const x, const cf_root *const root, cf_error *const e)
{
    for (size_t s = 0; s < root->segment_total; s++) {
        for (size_t i = 0; i < x->v->findings->total; i++) {
            const cf_finding *const f = x->v->findings->at[i];

            if (f->node == x->node && f->kind == CF_FINDING_SEGMENT &&
                strcmp(f->object, root->segments[s].key) == 0)
                bit_set(x->named, i);
        }
        if (root->segments[s].kind == CF_SEGMENT_PACKS)
            CF_TRY(segment_scan(x, &root->segments[s], e));
    }
    return CF_OK;
}

static void snapshot_note(const namer *const x)
{
    for (size_t i = 0; i < x->v->findings->total; i++) {
        cf_finding *const f = x->v->findings->at[i];
        /* Found on the way from this very snapshot, though its own lines cannot be read now. */
        const bool led = f->node == x->node && strcmp(f->found_in.text, x->snapshot->text) == 0;
        const bool is_root = f->node == x->node && f->kind == CF_FINDING_ROOT &&
                             strcmp(f->object, x->snapshot->text) == 0;

        if ((x->named[i / BITS] >> (i % BITS) & 1) == 0 && !led && !is_root)
            continue;
        if (f->snapshots_shown < CF_FINDING_SNAPSHOTS_MAX)
            f->snapshots[f->snapshots_shown++] = *x->snapshot;
        f->snapshots_total++;
    }
}

static cf_err snapshot_scan(namer *const x, const cf_run_id *const id, cf_error *const e)
{
    CF_CLEANUP(cf_root_freep) cf_root *root = NULL;
    cf_error why = {0};

    x->snapshot = id;
    memset(x->named, 0, sizeof(x->named));
    const cf_err err = cf_snapshot_load(&x->v->repo, x->n->name, id, &root, &why);
    if (err == CF_ERR_FENCED || err == CF_ERR_NOT_FOUND) /* pruned just now */
        return CF_OK;
    if (err == CF_OK)
        CF_TRY(root_scan(x, root, e));
    else if (err != CF_ERR_DAMAGE && err != CF_ERR_FORMAT) {
        if (e != NULL)
            *e = why;
        return err;
    }
    snapshot_note(x);
    return CF_OK;
}

static bool id_has(const cf_snapshot_ids *const ids, const cf_run_id *const id)
{
    for (size_t i = 0; i < ids->total; i++) {
        if (strcmp(ids->id[i].text, id->text) == 0)
            return true;
    }
    return false;
}

cf_err cf_verify_name(cf_verify *const v, cf_verify_node *const n, cf_error *const e)
{
    CF_CLEANUP(namer_deinit) namer x = {.v = v, .n = n, .node = (size_t)(n - v->nodes)};
    CF_CLEANUP(cf_snapshot_ids_deinit) cf_snapshot_ids ids = {0};
    bool any = false;

    for (size_t i = 0; i < v->findings->total; i++)
        any = any || v->findings->at[i]->node == x.node;
    if (!any)
        return CF_OK;
    CF_TRY(cf_snapshot_list(&v->repo, n->name, /* recent= */ false, &ids, e));
    for (size_t i = 0; i < n->snapshot_total; i++)
        n->snapshots[i].gone = n->snapshots[i].gone || !id_has(&ids, &n->snapshots[i].id);
    for (size_t i = ids.total; i > 0; i--)
        CF_TRY(snapshot_scan(&x, &ids.id[i - 1], e));
    return CF_OK;
}
