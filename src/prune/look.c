/* SPDX-License-Identifier: Apache-2.0
 *
 * The looks: LISTs of leases, snapshots, objects, reads and marks. Which comes when is prune.c's
 * affair, and the model's.
 */
#include <stdio.h>

#include "prune/prune.h"
#include "repo/tag.h"
#include "s3/base/alloc.h"
#include "s3/base/cleanup.h"
#include "s3/base/hash.h"
#include "s3/base/num.h"

/* --- leases --- */

static cf_err lease_unreadable(const cf_lease_seen *const seen, cf_error *const e)
{
    CF_FAIL(e, CF_ERR_DAMAGE,
            "lease '%s' is damaged or of a newer chunkferry, so it is not "
            "known what its run uses; nothing was deleted\n"
            "HINT: try a newer chunkferry; if no backup or copy into this node runs anywhere, "
            "delete this key by hand",
            seen->key);
}

/* First look: only for the question who is dead. */
static cf_err lease_first(void *const impl, const cf_lease_seen *const seen, cf_error *const e)
{
    cf_prune_node *const n = impl;
    cf_prune_trace *run = NULL;

    if (!seen->readable)
        return lease_unreadable(seen, e);
    CF_TRY(cf_prune_trace_add(n, &seen->body.run, &run, e));
    run->live = run->live || seen->state == CF_LEASE_LIVE;
    if (seen->modified_utc_ms > run->modified_utc_ms)
        run->modified_utc_ms = seen->modified_utc_ms;
    return CF_OK;
}

cf_err cf_prune_look_leases(cf_prune_node *const n, cf_error *const e)
{
    cf_prune_progress(n->prune, "looking", /* done= */ 0, /* total= */ 0);
    return cf_lease_each(n->repo, n->name, "leases", /* above= */ 0, lease_first, n, e);
}

/* Second look: however old a lease is, what it uses is kept until its run is decided (model: L, A,
 * P[]). */
static cf_err lease_second(void *const impl, const cf_lease_seen *const seen, cf_error *const e)
{
    cf_prune_node *const n = impl;

    if (!seen->readable)
        return lease_unreadable(seen, e);
    CF_TRY(
        cf_prune_grow((void **)&n->leases, &n->lease_cap, n->lease_total, sizeof(*n->leases), e));
    cf_prune_lease *const l = &n->leases[n->lease_total];
    *l = (cf_prune_lease){
        .key = cf_strdup(seen->key),
        .number = seen->number,
        .run = seen->body.run,
        .uses_total = seen->body.uses_total,
        .state = seen->state,
    };
    CF_ENSURE(l->key != NULL, e, CF_ERR_NO_MEMORY, "allocate the key of a lease");
    memcpy(l->uses, seen->body.uses, sizeof(l->uses));
    n->lease_total++;
    return CF_OK;
}

cf_err cf_prune_look_leases_again(cf_prune_node *const n, cf_error *const e)
{
    const cf_world *const w = n->prune->ctx->world;

    n->looked_mono_ms = w->mono_ms(w->impl);
    CF_TRY(n->repo->store->ops->now_utc_ms(n->repo->store, &n->looked_utc_ms, e));
    return cf_lease_each(n->repo, n->name, "leases", /* above= */ 0, lease_second, n, e);
}

/* --- readers --- */

static cf_err stale_add(cf_prune_node *const n, const char *const key, cf_error *const e)
{
    CF_TRY(cf_prune_grow((void **)&n->stale, &n->stale_cap, n->stale_total, sizeof(*n->stale), e));
    char *const copy = cf_strdup(key);
    CF_ENSURE(copy != NULL, e, CF_ERR_NO_MEMORY, "allocate a key");
    n->stale[n->stale_total++] = copy;
    return CF_OK;
}

/* "reads/<32 hex digits>": another key there is none of ours. */
static bool read_key_ok(const char *const key)
{
    const char *const slash = strrchr(key, '/');
    const char *const folder = strstr(key, "/reads/");
    uint8_t id[CF_STORE_ID_LEN / 2];

    return slash != NULL && folder != NULL && folder + sizeof("/reads") - 1 == slash &&
           cf_hex_parse(cf_slice_str(slash + 1), id, sizeof(id));
}

/* Best effort, as FORMAT.md says of readers: one that sleeps through its lease is not waited for. */
static cf_err read_seen(void *const impl, const cf_lease_seen *const seen, cf_error *const e)
{
    cf_prune_node *const n = impl;
    cf_prune_snap *snap = NULL;

    if (!read_key_ok(seen->key))
        return CF_OK;
    if (seen->state != CF_LEASE_LIVE)
        return stale_add(n, seen->key, e);
    if (!seen->readable)
        return lease_unreadable(seen, e);
    snap = cf_prune_snap_find(n, &seen->body.run);
    if (snap != NULL)
        snap->keep |= CF_KEEP_READ;
    return CF_OK;
}

cf_err cf_prune_look_reads(cf_prune_node *const n, cf_error *const e)
{
    return cf_lease_each(n->repo, n->name, "reads", /* above= */ 0, read_seen, n, e);
}

/* --- snapshots --- */

typedef struct snap_list {
    cf_prune_node *node;
    size_t prefix_len;
    cf_err (*take)(cf_prune_node *n, const cf_run_id *run, const cf_store_entry *entry,
                   cf_error *e);
} snap_list;

static cf_err snap_entry(void *const impl, const cf_store_entry *const entry, bool *const ret_stop,
                         cf_error *const e)
{
    const snap_list *const l = impl;
    cf_run_id run = {""};

    (void)ret_stop;
    if (!cf_run_id_parse(cf_slice_str(entry->key + l->prefix_len), &run))
        return CF_OK; /* none of ours */
    return l->take(l->node, &run, entry, e);
}

static cf_err snaps_list(cf_prune_node *const n,
                         cf_err (*const take)(cf_prune_node *, const cf_run_id *,
                                              const cf_store_entry *, cf_error *),
                         cf_error *const e)
{
    char prefix[CF_KEY_LEN_MAX + 1];

    cf_key_folder(prefix, n->name, "snapshots");
    snap_list l = {n, strlen(prefix), take};
    CF_TRY_AS(n->repo->store->ops->list(n->repo->store, prefix, /* after= */ NULL,
                                        /* delimiter= */ NULL, snap_entry, &l, e),
              e, "list the snapshots of '%s'", n->name);
    return CF_OK;
}

/* Root or fence: the run is decided (model: Q = R1st | F). */
static cf_err snap_first(cf_prune_node *const n, const cf_run_id *const run,
                         const cf_store_entry *const entry, cf_error *const e)
{
    cf_prune_snap *snap = NULL;
    cf_prune_trace *r = NULL;

    CF_TRY(cf_prune_trace_add(n, run, &r, e));
    r->decided = true;
    r->is_fence = entry->size_bytes == 0;
    if (r->is_fence)
        return CF_OK;
    CF_TRY(cf_prune_snap_add(n, run, &snap, e));
    snap->first = true;
    snap->modified_utc_ms = entry->modified_utc_ms;
    n->newest = *run; /* they come in order */
    return CF_OK;
}

cf_err cf_prune_look_snapshots(cf_prune_node *const n, cf_error *const e)
{
    n->newest = (cf_run_id){""};
    return snaps_list(n, snap_first, e);
}

static cf_err snap_last(cf_prune_node *const n, const cf_run_id *const run,
                        const cf_store_entry *const entry, cf_error *const e)
{
    cf_prune_snap *snap = cf_prune_snap_find(n, run);
    cf_prune_trace *r = cf_prune_trace_find(n, run);

    if (entry->size_bytes == 0) {
        if (r != NULL)
            r->is_fence = true;
        return CF_OK;
    }
    if (r != NULL)
        r->is_fence = false;
    if (snap == NULL) { /* committed since the first LIST */
        CF_TRY(cf_prune_trace_add(n, run, &r, e));
        CF_TRY(cf_prune_snap_add(n, run, &snap, e));
        snap->modified_utc_ms = entry->modified_utc_ms;
        snap->keep = CF_KEEP_NEW;
    }
    snap->listed = true;
    return CF_OK;
}

/* Its root can only have become a fence: another prune had it. A key that is gone altogether was
 * deleted by hand, and then the run is as if it had never committed. */
static cf_err snaps_check(const cf_prune_node *const n, cf_error *const e)
{
    for (size_t i = 0; i < n->snap_total; i++) {
        const cf_prune_snap *const s = &n->snaps[i];
        const cf_prune_trace *const r = cf_prune_trace_find(n, &s->run);

        CF_ENSURE(s->listed || (r != NULL && r->is_fence), e, CF_ERR_CONFLICT,
                  "the root of snapshot '%s' is gone", s->run.text);
    }
    return CF_OK;
}

cf_err cf_prune_look_snapshots_last(cf_prune_node *const n, cf_error *const e)
{
    CF_TRY(snaps_list(n, snap_last, e));
    CF_TRY(snaps_check(n, e));
    for (size_t i = 0; i < n->snap_total; i++) {
        if (n->snaps[i].listed && !n->snaps[i].read)
            CF_TRY(cf_prune_root_read(n, &n->snaps[i], e));
    }
    return CF_OK;
}

/* --- objects --- */

static cf_err object_entry(void *const impl, const cf_store_entry *const entry,
                           bool *const ret_stop, cf_error *const e)
{
    cf_prune_node *const n = impl;
    const char *const name = cf_key_object_name(entry->key);
    char line[CF_RUN_OBJECT_LEN_MAX + 64];
    cf_run_id id = {""};
    cf_prune_trace *run = NULL;

    (void)ret_stop;
    if (name == NULL || !cf_object_name_parse(cf_slice_str(name), &id, NULL, NULL))
        return CF_OK; /* a key of another shape is none of ours */
    CF_TRY(cf_prune_trace_add(n, &id, &run, e));
    if (entry->modified_utc_ms > run->modified_utc_ms)
        run->modified_utc_ms = entry->modified_utc_ms;
    const int len =
        snprintf(line, sizeof(line), "%lld %llu %s\n", (long long)entry->modified_utc_ms,
                 (unsigned long long)entry->size_bytes, name);
    CF_CHECK(len > 0 && (size_t)len < sizeof(line));
    return cf_spool_add(n->objects, cf_slice_of(line, (size_t)len), e);
}

cf_err cf_prune_look_objects(cf_prune_node *const n, cf_error *const e)
{
    char prefix[CF_KEY_LEN_MAX + 1];

    cf_key_folder(prefix, n->name, "runs");
    CF_TRY(cf_spool_new(&n->objects, e));
    CF_TRY_AS(n->repo->store->ops->list(n->repo->store, prefix, /* after= */ NULL,
                                        /* delimiter= */ NULL, object_entry, n, e),
              e, "list the objects of '%s'", n->name);
    return CF_OK;
}

/* "<modified> <size> <name>" */
static bool object_parse(const cf_slice line, cf_prune_object *const ret)
{
    const uint8_t *const first = memchr(line.ptr, ' ', line.len);
    const size_t rest = first == NULL ? 0 : (size_t)(line.ptr + line.len - first) - 1;
    const uint8_t *const second = first == NULL ? NULL : memchr(first + 1, ' ', rest);

    if (second == NULL ||
        !cf_i64_parse(cf_slice_of(line.ptr, (size_t)(first - line.ptr)), &ret->modified_utc_ms) ||
        !cf_u64_parse(cf_slice_of(first + 1, (size_t)(second - first) - 1), &ret->size_bytes))
        return false;
    ret->name = cf_slice_of(second + 1, (size_t)(line.ptr + line.len - second) - 1);
    return true;
}

cf_err cf_prune_object_next(cf_prune_node *const n, cf_prune_object *const ret, cf_error *const e)
{
    cf_slice line = {NULL, 0};

    CF_TRY(cf_spool_next(n->objects, &line, e));
    *ret = (cf_prune_object){0};
    CF_ENSURE(line.len == 0 || object_parse(line, ret), e, CF_ERR_IO,
              "a temporary file holds something else than was written");
    return CF_OK;
}

/* --- marks, last --- */

typedef struct mark_list {
    cf_prune_node *node;
    cf_run_id proved; /* newest snapshot with a proof; "" none */
} mark_list;

static cf_err mark_last(void *const impl, const cf_mark *const mark, cf_error *const e)
{
    mark_list *const l = impl;
    cf_prune_node *const n = l->node;
    const cf_prune_snap *const snap = cf_prune_snap_find(n, &mark->run);

    CF_TRY(cf_prune_grow((void **)&n->marks, &n->mark_cap, n->mark_total, sizeof(*n->marks), e));
    n->marks[n->mark_total] =
        (cf_prune_mark){.run = mark->run, .is_tag = cf_mark_is(mark, CF_MARK_TAG)};
    (void)snprintf(n->marks[n->mark_total].name, sizeof(n->marks[0].name), "%s", mark->name);
    n->mark_total++;
    if (snap != NULL && snap->listed && cf_mark_is(mark, CF_MARK_PROOF))
        l->proved = mark->run; /* they come in order */
    return CF_OK;
}

/* What they say is not known: the snapshot may be pinned. */
static void tags_unreadable(void *const impl, const cf_mark *const mark, const char *const why)
{
    (void)mark;
    (void)why; /* the first look said it */
    ((cf_prune_snap *)impl)->keep |= CF_KEEP_PINNED;
}

static cf_err tags_again(const cf_prune_node *const n, cf_prune_snap *const snap, cf_error *const e)
{
    CF_CLEANUP(json_decrefp) json_t *tags = NULL;

    CF_TRY(cf_tags_load(n->repo, n->name, &snap->run, tags_unreadable, snap, &tags, e));
    if (cf_tags_have(json_object_get(tags, snap->run.text), CF_TAG_KEEP))
        snap->keep |= CF_KEEP_PINNED;
    return CF_OK;
}

/* Proved or pinned since the first look? Only what would go is asked for: that is little, and of
 * it little has tags. */
cf_err cf_prune_look_marks_last(cf_prune_node *const n, cf_error *const e)
{
    mark_list l = {.node = n};
    const cf_run_id *before = NULL; /* whose tags were just read */

    CF_TRY(cf_mark_each(n->repo, n->name, /* only= */ NULL, mark_last, &l, e));
    cf_prune_snap *const proved =
        l.proved.text[0] != '\0' ? cf_prune_snap_find(n, &l.proved) : NULL;
    if (proved != NULL)
        proved->keep |= CF_KEEP_PROVED;
    for (size_t i = 0; i < n->mark_total; i++) {
        const cf_prune_mark *const m = &n->marks[i];
        cf_prune_snap *const snap = cf_prune_snap_find(n, &m->run);

        if (!m->is_tag || snap == NULL || !snap->listed || snap->keep != 0 ||
            (before != NULL && strcmp(before->text, m->run.text) == 0))
            continue;
        before = &m->run;
        CF_TRY(tags_again(n, snap, e));
    }
    return CF_OK;
}
