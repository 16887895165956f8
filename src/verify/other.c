/* SPDX-License-Identifier: Apache-2.0
 *
 * Other: has another repository a good copy of what is damaged here? It may be the same objects (a
 * mirror of the bucket), a copy of this one (its packs name ours as their origin), or what this one
 * was copied from (ours name theirs). Good means: read to the end, with the digest that our line
 * has.
 */
#include <stdio.h>

#include "s3/base/alloc.h"
#include "s3/base/cleanup.h"
#include "store/digest.h"
#include "store/open.h"
#include "verify/verify.h"

typedef struct other {
    cf_verify *v;
    cf_store *store; /* owned */
    cf_repo repo;
} other;

static void other_deinit(other *const o)
{
    cf_store_free(o->store);
}

typedef struct checking {
    const cf_verify *v;
    cf_digest_check check;
} checking;

static void checking_deinit(checking *const c)
{
    cf_digest_check_deinit(&c->check);
}

static cf_err take(void *const impl, const cf_slice s, cf_error *const e)
{
    checking *const c = impl;

    CF_TRY(cf_verify_check_stop(c->v, e));
    return cf_digest_check_add(&c->check, s, e);
}

/* *ret: it is there and good. */
static cf_err object_check(const other *const o, const char *const key,
                           const cf_stored *const expected, bool *const ret, cf_error *const e)
{
    CF_CLEANUP(checking_deinit) checking c = {.v = o->v};
    cf_object_stat stat = {0};
    cf_err err = o->store->ops->head(o->store, key, &stat, e);

    *ret = false;
    if (err == CF_ERR_NOT_FOUND || (err == CF_OK && stat.size_bytes != expected->size_bytes))
        return CF_OK;
    CF_TRY(err);
    CF_TRY(cf_digest_check_begin(&c.check, expected, e));
    err = o->store->ops->get(o->store, key, 0, 0, take, &c, e);
    if (err == CF_OK)
        err = cf_digest_check_end(&c.check, e);
    if (err == CF_ERR_DAMAGE || err == CF_ERR_NOT_FOUND)
        return CF_OK;
    CF_TRY(err);
    *ret = true;
    return CF_OK;
}

static const char *node_of(const other *const o, const cf_finding *const f)
{
    return o->v->nodes[f->node].name;
}

static cf_err object_try(const other *const o, cf_finding *const f, const char *const name,
                         const cf_stored *const expected, cf_error *const e)
{
    char key[CF_KEY_LEN_MAX + 1];
    bool good = false;

    cf_key_of_object(key, node_of(o, f), name);
    CF_TRY(object_check(o, key, expected, &good, e));
    if (!good)
        return CF_OK;
    cf_free(f->other_copy);
    f->other_copy = cf_strdup(key);
    CF_ENSURE(f->other_copy != NULL, e, CF_ERR_NO_MEMORY, "copy a key");
    return CF_OK;
}

static bool is_found(const cf_finding *const f)
{
    return f->other_copy != NULL && f->other_copy[0] != '\0';
}

/* ---- by name ---- */

/* What its root says of a segment; false: none of the verified roots names it. */
static bool segment_stored(const cf_verify_node *const n, const char *const key,
                           cf_stored *const ret)
{
    for (size_t i = 0; i < n->snapshot_total; i++) {
        const cf_root *const root = n->snapshots[i].root;

        for (size_t s = 0; root != NULL && s < root->segment_total; s++) {
            if (strcmp(root->segments[s].key, key) != 0)
                continue;
            *ret = (cf_stored){.size_bytes = root->segments[s].stored_bytes};
            ret->digest.kind = CF_DIGEST_SHA256;
            memcpy(ret->digest.sha256, root->segments[s].sha256, sizeof(ret->digest.sha256));
            return true;
        }
    }
    return false;
}

static cf_err by_name(const other *const o, cf_finding *const f, cf_error *const e)
{
    const cf_verify_node *const n = &o->v->nodes[f->node];
    cf_stored stored = {0};

    if (f->kind == CF_FINDING_SEGMENT)
        return segment_stored(n, f->object, &stored) ? object_try(o, f, f->object, &stored, e)
                                                     : CF_OK;
    const cf_pack_state *const state = cf_inventory_pack(n->inventory, f->object);
    if (state == NULL)
        return CF_OK;
    CF_TRY(object_try(o, f, f->object, &state->stored, e));
    return is_found(f) || f->origin[0] == '\0' ? CF_OK
                                               : object_try(o, f, f->origin, &state->stored, e);
}

/* A root is the same when its text is: its digest is what children recorded, if any. It is only
 * parsed here. */
static cf_err root_by_name(const other *const o, cf_finding *const f, cf_error *const e)
{
    CF_CLEANUP(cf_root_freep) cf_root *root = NULL;
    cf_run_id id = {""};
    char key[CF_KEY_LEN_MAX + 1];
    const cf_err err = cf_run_id_parse(cf_slice_str(f->object), &id)
                           ? cf_snapshot_load(&o->repo, node_of(o, f), &id, &root, e)
                           : CF_ERR_NOT_FOUND;

    if (err == CF_ERR_NOT_FOUND || err == CF_ERR_FENCED || err == CF_ERR_DAMAGE ||
        err == CF_ERR_FORMAT)
        return CF_OK;
    CF_TRY(err);
    cf_key_root(key, node_of(o, f), &id);
    cf_free(f->other_copy);
    f->other_copy = cf_strdup(key);
    CF_ENSURE(f->other_copy != NULL, e, CF_ERR_NO_MEMORY, "copy a key");
    return CF_OK;
}

/* ---- by origin ---- */

static bool same_origin(const cf_finding *const f, const cf_pack_line *const l)
{
    if (l->origin == NULL)
        return false;
    return strcmp(l->origin, f->object) == 0 ||
           (f->origin[0] != '\0' && strcmp(l->origin, f->origin) == 0);
}

static cf_err line_try(const other *const o, const size_t node, const cf_pack_line *const l,
                       cf_error *const e)
{
    for (size_t i = 0; i < o->v->findings->total; i++) {
        cf_finding *const f = o->v->findings->at[i];

        if (f->node != node || f->kind != CF_FINDING_PACK || is_found(f) || !same_origin(f, l))
            continue;
        const cf_pack_state *const state =
            cf_inventory_pack(o->v->nodes[node].inventory, f->object);
        if (state != NULL)
            CF_TRY(object_try(o, f, l->pack, &state->stored, e));
    }
    return CF_OK;
}

static bool some_left(const other *const o, const size_t node)
{
    for (size_t i = 0; i < o->v->findings->total; i++) {
        const cf_finding *const f = o->v->findings->at[i];
        if (f->node == node && f->kind == CF_FINDING_PACK && !is_found(f))
            return true;
    }
    return false;
}

static cf_err packs_scan(const other *const o, const size_t node, const cf_root *const root,
                         cf_error *const e)
{
    CF_CLEANUP(cf_cursor_freep) cf_cursor *packs = NULL;
    const cf_pack_line *l = NULL;

    CF_TRY(cf_cursor_new(&o->repo, o->v->nodes[node].name, root, CF_SEGMENT_PACKS, &packs, e));
    for (;;) {
        const cf_err err = cf_cursor_next_pack(packs, &l, e);
        if (err == CF_ERR_DAMAGE) /* of the other one; that is for its own verify */
            return CF_OK;
        CF_TRY(err);
        if (l == NULL)
            return CF_OK;
        if (l->origin != NULL)
            CF_TRY(line_try(o, node, l, e));
    }
}

static cf_err by_origin(const other *const o, const size_t node, cf_error *const e)
{
    CF_CLEANUP(cf_snapshot_ids_deinit) cf_snapshot_ids ids = {0};

    if (!some_left(o, node))
        return CF_OK;
    CF_TRY(cf_snapshot_list(&o->repo, o->v->nodes[node].name, /* recent= */ false, &ids, e));
    for (size_t i = ids.total; i > 0 && some_left(o, node); i--) {
        CF_CLEANUP(cf_root_freep) cf_root *root = NULL;
        const cf_err err =
            cf_snapshot_load(&o->repo, o->v->nodes[node].name, &ids.id[i - 1], &root, e);

        if (err == CF_ERR_NOT_FOUND || err == CF_ERR_FENCED || err == CF_ERR_DAMAGE ||
            err == CF_ERR_FORMAT)
            continue;
        CF_TRY(err);
        CF_TRY(packs_scan(o, node, root, e));
    }
    return CF_OK;
}

static cf_err ask(cf_verify *const v, cf_error *const e)
{
    CF_CLEANUP(other_deinit) other o = {.v = v};

    CF_TRY(cf_store_open(v->ctx, v->opts->other, /* sizes= */ NULL, &o.store, e));
    CF_TRY(cf_repo_open(o.store, v->ctx->world, &o.repo, e));
    for (size_t i = 0; i < v->findings->total; i++) {
        cf_finding *const f = v->findings->at[i];

        f->other_copy = cf_strdup("");
        CF_ENSURE(f->other_copy != NULL, e, CF_ERR_NO_MEMORY, "copy a key");
        CF_TRY(f->kind == CF_FINDING_ROOT ? root_by_name(&o, f, e) : by_name(&o, f, e));
    }
    for (size_t n = 0; n < v->node_total; n++)
        CF_TRY(by_origin(&o, n, e));
    return CF_OK;
}

cf_err cf_verify_ask_other(cf_verify *const v, cf_error *const e)
{
    if (v->opts->other == NULL || v->findings->total == 0)
        return CF_OK;
    CF_TRY_AS(ask(v, e), e, "--other-repo '%s'", v->opts->other->url);
    return CF_OK;
}
