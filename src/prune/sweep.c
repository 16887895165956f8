/* SPDX-License-Identifier: Apache-2.0
 *
 * Sweep: fences over the roots that go, then their objects, then what only protected them. Each of
 * these can be the last thing this prune does: the next one sees the fences and goes on.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "prune/prune.h"
#include "repo/fence.h"
#include "repo/json.h"
#include "s3/base/alloc.h"
#include "s3/base/cleanup.h"
#include "s3/base/num.h"

/* --- roots --- */

/* Model: core.pml P11. The lease is looked at before each, for tag (T2). */
cf_err cf_prune_sweep_roots(cf_prune_node *const n, cf_error *const e)
{
    for (size_t i = 0; i < n->snap_total; i++) {
        const cf_prune_snap *const s = &n->snaps[i];
        cf_prune_trace *const r = cf_prune_trace_find(n, &s->run);

        if (!s->listed || s->keep != 0)
            continue;
        CF_CHECK(s->first && r != NULL && strcmp(s->run.text, n->newest.text) < 0);
        CF_TRY(cf_prune_check(n, e));
        if (!n->prune->opts->dry_run)
            CF_TRY(cf_fence_put(n->repo, n->name, &s->run, /* over_root= */ true, e));
        r->is_fence = true;
        cf_prune_progress(n->prune, "fencing", i + 1, n->snap_total);
    }
    return CF_OK;
}

/* --- objects --- */

/* Model: core.pml P12. */
bool cf_prune_may_go(const cf_prune_node *const n, const cf_prune_object *const o)
{
    cf_run_id id = {""};

    if (!cf_object_name_parse(o->name, &id, NULL, NULL))
        return false;
    const cf_prune_trace *const r = cf_prune_trace_find(n, &id);
    if (r == NULL || !r->decided || r->kept_whole)
        return false;
    if (n->has_future &&
        (strcmp(id.text, n->future_run.text) <= 0 || o->modified_utc_ms <= n->future_utc_ms))
        return false;
    return !cf_object_set_has(n->named, o->name);
}

void cf_prune_batch_deinit(cf_prune_batch *const b)
{
    cf_free(b->text);
}

static int key_cmp(const void *const key, const void *const entry)
{
    return strcmp(key, *(const char *const *)entry);
}

/* Keys of a batch ascend, as LISTs do. */
static void kept(void *const impl, const char *const key, const char *const why,
                 const int64_t retain_until_utc_ms)
{
    cf_prune_batch *const b = impl;
    cf_prune_node *const n = b->node;
    cf_prune_result *const r = &n->prune->result;
    const char *const *const found =
        bsearch(key, (const void *)b->keys, b->total, sizeof(*b->keys), key_cmp);

    if (b->claims || found == NULL || b->locked[found - (const char *const *)b->keys])
        return;
    b->locked[found - (const char *const *)b->keys] = true;
    r->objects_locked++;
    n->locked_total++;
    if (retain_until_utc_ms > r->locked_until_utc_ms)
        r->locked_until_utc_ms = retain_until_utc_ms;
    cf_prune_log(n->prune, CF_LOG_DETAIL, "%s is locked (%s) and stays", key, why);
}

cf_err cf_prune_batch_flush(cf_prune_batch *const b, cf_error *const e)
{
    cf_prune_node *const n = b->node;
    cf_prune *const p = n->prune;
    const cf_delete_opts opts = {.versions = p->opts->delete_versions, .on_kept = kept, .impl = b};

    if (b->total == 0)
        return CF_OK;
    CF_TRY(cf_prune_check(n, e));
    memset(b->locked, 0, sizeof(b->locked));
    if (!p->opts->dry_run)
        CF_TRY(n->repo->store->ops->delete_many(n->repo->store, b->keys, b->total, &opts, e));
    for (size_t i = 0; i < b->total && !b->claims; i++) {
        p->result.objects_deleted += !b->locked[i];
        p->result.bytes_freed += b->locked[i] ? 0 : b->size_bytes[i];
    }
    b->total = 0;
    cf_prune_progress(p, "deleting", p->result.objects_deleted, /* total= */ 0);
    return CF_OK;
}

cf_err cf_prune_batch_add(cf_prune_batch *const b, const char *const key, const uint64_t size_bytes,
                          cf_error *const e)
{
    if (b->text == NULL) {
        b->text = cf_alloc(CF_PRUNE_BATCH_MAX, sizeof(*b->text));
        CF_ENSURE(b->text != NULL, e, CF_ERR_NO_MEMORY, "allocate a batch of keys");
    }
    const int len = snprintf(b->text[b->total], sizeof(*b->text), "%s", key);
    CF_CHECK(len > 0 && (size_t)len < sizeof(*b->text));
    b->keys[b->total] = b->text[b->total];
    b->size_bytes[b->total++] = size_bytes;
    return b->total == CF_PRUNE_BATCH_MAX ? cf_prune_batch_flush(b, e) : CF_OK;
}

static void say_locked(const cf_prune_node *const n)
{
    char until[CF_TIME_SIZE] = "";
    const cf_prune_result *const r = &n->prune->result;

    if (n->locked_total == 0)
        return;
    cf_time_render_iso(r->locked_until_utc_ms, until);
    cf_prune_log(n->prune, CF_LOG_INFO,
                 "node '%s': %llu objects are locked by the store and stay%s%s; a later prune "
                 "deletes them",
                 n->name, (unsigned long long)n->locked_total,
                 r->locked_until_utc_ms != 0 ? ", the last until " : "",
                 r->locked_until_utc_ms != 0 ? until : "");
}

cf_err cf_prune_sweep_objects(cf_prune_node *const n, cf_error *const e)
{
    CF_CLEANUP(cf_prune_batch_deinit) cf_prune_batch b = {.node = n};
    cf_prune_object o = {0};
    char name[CF_RUN_OBJECT_LEN_MAX + 1];
    char key[CF_KEY_LEN_MAX + 1];

    CF_TRY(cf_prune_abort_uploads(n, e));
    cf_spool_rewind(n->objects);
    for (;;) {
        CF_TRY(cf_prune_object_next(n, &o, e));
        if (o.name.len == 0)
            break;
        if (!cf_prune_may_go(n, &o))
            continue;
        (void)snprintf(name, sizeof(name), "%.*s", CF_SLICE_FMT(o.name));
        cf_key_of_object(key, n->name, name);
        CF_TRY(cf_prune_batch_add(&b, key, o.size_bytes, e));
    }
    CF_TRY(cf_prune_batch_flush(&b, e));
    say_locked(n);
    return CF_OK;
}

/* --- claims --- */

static cf_err leases_sweep(const cf_prune_node *const n, cf_prune_batch *const b, cf_error *const e)
{
    uint64_t highest = 0;

    for (size_t i = 0; i < n->lease_total; i++)
        highest = n->leases[i].number > highest ? n->leases[i].number : highest;
    for (size_t i = 0; i < n->lease_total; i++) {
        const cf_prune_lease *const l = &n->leases[i];
        const cf_prune_snap *const snap = cf_prune_snap_find(n, &l->run);
        const cf_prune_trace *const r = cf_prune_trace_find(n, &l->run);
        const bool decided = (snap != NULL && snap->listed) || (r != NULL && r->is_fence);

        if (decided && l->number != highest)
            CF_TRY(cf_prune_batch_add(b, l->key, /* size_bytes= */ 0, e));
    }
    return cf_prune_batch_flush(b, e);
}

static cf_err prune_seen(void *const impl, const cf_lease_seen *const seen, cf_error *const e)
{
    cf_prune_node *const n = impl;

    /* Ours is the highest, and it is live. */
    if (seen->state == CF_LEASE_LIVE || seen->number >= cf_lease_number(n->lease))
        return CF_OK;
    CF_TRY(cf_prune_grow((void **)&n->stale, &n->stale_cap, n->stale_total, sizeof(*n->stale), e));
    char *const key = cf_strdup(seen->key);
    CF_ENSURE(key != NULL, e, CF_ERR_NO_MEMORY, "allocate a key");
    n->stale[n->stale_total++] = key;
    return CF_OK;
}

static int text_cmp(const void *const a, const void *const b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static cf_err stale_sweep(const cf_prune_node *const n, cf_prune_batch *const b, cf_error *const e)
{
    if (n->stale_total > 0) /* qsort() takes no NULL */
        qsort((void *)n->stale, n->stale_total, sizeof(*n->stale), text_cmp);
    for (size_t i = 0; i < n->stale_total; i++)
        CF_TRY(cf_prune_batch_add(b, n->stale[i], /* size_bytes= */ 0, e));
    return cf_prune_batch_flush(b, e);
}

/* Damage is told of an object, which others may name: as long as one does, no run may rely on it,
 * though the snapshot goes by which it was found. One that cannot be read spoke of that alone. */
static cf_err still_speaks(const cf_prune_node *const n, const cf_prune_mark *const m,
                           bool *const ret, cf_error *const e)
{
    CF_CLEANUP(json_decrefp) json_t *body = NULL;
    cf_error why = {0};
    cf_mark mark = {0};

    *ret = false;
    if (!cf_mark_name_parse(cf_slice_str(m->name), &mark) || !cf_mark_is(&mark, CF_MARK_DAMAGE))
        return CF_OK;
    mark.run = m->run;
    const cf_err err = cf_mark_load(n->repo, n->name, &mark, &body, &why);
    if (err == CF_ERR_NOT_FOUND || err == CF_ERR_DAMAGE || err == CF_ERR_FORMAT)
        return CF_OK;
    if (err != CF_OK) {
        if (e != NULL)
            *e = why;
        return err;
    }
    const json_t *const objects = json_object_get(body, "objects");
    for (size_t i = 0; i < json_array_size(objects) && !*ret; i++) {
        const char *const name = json_string_value(json_array_get(objects, i));
        *ret = name != NULL && cf_object_set_has(n->named, cf_slice_str(name));
    }
    return CF_OK;
}

static cf_err marks_sweep(const cf_prune_node *const n, cf_prune_batch *const b, cf_error *const e)
{
    char key[CF_KEY_LEN_MAX + 1];
    bool speaks = false;

    for (size_t i = 0; i < n->mark_total; i++) {
        const cf_prune_mark *const m = &n->marks[i];
        const cf_prune_trace *const r = cf_prune_trace_find(n, &m->run);

        if (r == NULL || !r->is_fence)
            continue;
        CF_TRY(still_speaks(n, m, &speaks, e));
        if (speaks)
            continue;
        (void)snprintf(key, sizeof(key), "nodes/%s/marks/%s/%s", n->name, m->run.text, m->name);
        CF_TRY(cf_prune_batch_add(b, key, /* size_bytes= */ 0, e));
    }
    return cf_prune_batch_flush(b, e);
}

cf_err cf_prune_sweep_claims(cf_prune_node *const n, cf_error *const e)
{
    CF_CLEANUP(cf_prune_batch_deinit) cf_prune_batch b = {.node = n, .claims = true};

    if (n->prune->opts->dry_run)
        return CF_OK;
    CF_TRY(leases_sweep(n, &b, e));
    CF_TRY(cf_lease_each(n->repo, n->name, "prunes", /* above= */ 0, prune_seen, n, e));
    CF_TRY(stale_sweep(n, &b, e));
    return marks_sweep(n, &b, e);
}
