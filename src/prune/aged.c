/* SPDX-License-Identifier: Apache-2.0
 *
 * Prune where the store has no conditional create: a fence could overwrite a root, so there are
 * none. What is garbage is marked, and deleted only when an earlier prune marked it at least seven
 * days before and it is garbage still; nobody adopts what is marked; and this prune's last delete is
 * answered within an hour of its look at the leases. Model: nocond.pml, `proctype prune`; its two passes are one prune
 * here, over what it marks now and what others marked before.
 */
#include <stdio.h>
#include <string.h>

#include "prune/prune.h"
#include "repo/garbage.h"
#include "s3/base/alloc.h"
#include "s3/base/cleanup.h"

typedef struct mark {
    char *key;   /* owned, like all */
    bool is_old; /* seven days and more */
    bool left;   /* something that it names is still there: it stays */
    cf_object_set *objects;
    cf_run_id *roots;
    size_t root_total, root_cap;
} mark;

typedef struct aged {
    cf_prune_node *node;
    int64_t now_utc_ms;
    mark *marks; /* owned */
    size_t total, cap;
    bool stopped;
} aged;

static void aged_deinit(aged *const a)
{
    for (size_t i = 0; i < a->total; i++) {
        cf_free(a->marks[i].key);
        cf_free(a->marks[i].roots);
        cf_object_set_free(a->marks[i].objects);
    }
    cf_free(a->marks);
}

/* --- what was marked before --- */

static cf_err mark_of(aged *const a, const cf_garbage_line *const line, mark **const ret,
                      cf_error *const e)
{
    if (a->total == 0 || strcmp(a->marks[a->total - 1].key, line->mark) != 0) {
        CF_TRY(cf_prune_grow((void **)&a->marks, &a->cap, a->total, sizeof(*a->marks), e));
        mark *const m = &a->marks[a->total++];
        *m = (mark){.key = cf_strdup(line->mark)};
        CF_ENSURE(m->key != NULL, e, CF_ERR_NO_MEMORY, "allocate a key");
        m->is_old = line->modified_utc_ms + (int64_t)CF_PRUNE_GARBAGE_S * 1000 <= a->now_utc_ms;
        CF_TRY(cf_object_set_new(&m->objects, e));
    }
    *ret = &a->marks[a->total - 1];
    return CF_OK;
}

static cf_err line_seen(void *const impl, const cf_garbage_line *const line, cf_error *const e)
{
    char name[CF_RUN_OBJECT_LEN_MAX + 1];
    mark *m = NULL;

    CF_TRY(mark_of(impl, line, &m, e));
    if (line->root) {
        CF_TRY(
            cf_prune_grow((void **)&m->roots, &m->root_cap, m->root_total, sizeof(*m->roots), e));
        m->roots[m->root_total++] = line->run;
    }
    for (size_t i = 0; i < line->range_total; i++) {
        for (uint32_t seq = line->range[i][0]; seq <= line->range[i][1]; seq++) {
            (void)snprintf(name, sizeof(name), "%s/%010u-x", line->run.text, (unsigned)seq);
            CF_TRY(cf_object_set_add(m->objects, cf_slice_str(name), /* ret_new= */ NULL, e));
        }
    }
    return CF_OK;
}

static bool root_marked(const aged *const a, const cf_run_id *const run, const bool old_only)
{
    for (size_t i = 0; i < a->total; i++) {
        for (size_t k = 0; k < a->marks[i].root_total; k++) {
            if ((a->marks[i].is_old || !old_only) &&
                strcmp(a->marks[i].roots[k].text, run->text) == 0)
                return true;
        }
    }
    return false;
}

static bool object_marked(const aged *const a, const cf_slice name, const bool old_only)
{
    for (size_t i = 0; i < a->total; i++) {
        if ((a->marks[i].is_old || !old_only) && cf_object_set_has(a->marks[i].objects, name))
            return true;
    }
    return false;
}

/* --- what is marked now (pass 1) --- */

/* Committed since the first look: its journals are no garbage yet (model: G & ~(R & ~R1)). */
static void keep_new(const cf_prune_node *const n)
{
    for (size_t i = 0; i < n->snap_total; i++) {
        cf_prune_trace *const r = cf_prune_trace_find(n, &n->snaps[i].run);
        if (!n->snaps[i].first && r != NULL)
            r->kept_whole = true;
    }
}

/* Runs ascend in both; a root that goes comes before its run's objects. */
static cf_err roots_mark(const aged *const a, size_t *const next, const cf_run_id *const until,
                         cf_garbage_writer *const w, cf_error *const e)
{
    cf_prune_node *const n = a->node;
    bool full = false;

    for (; *next < n->snap_total; (*next)++) {
        cf_prune_snap *const s = &n->snaps[*next];

        if (until != NULL && strcmp(s->run.text, until->text) > 0)
            break;
        if (s->listed && s->keep == 0 && !root_marked(a, &s->run, /* old_only= */ false))
            CF_TRY(cf_garbage_writer_add(w, &s->run, /* seq= */ 0, &full, e));
    }
    return CF_OK;
}

static cf_err mark_new(aged *const a, cf_error *const e)
{
    CF_CLEANUP(cf_garbage_writer_freep) cf_garbage_writer *w = NULL;
    cf_prune_node *const n = a->node;
    cf_prune_object o = {0};
    size_t next = 0;
    bool full = false;

    CF_TRY(cf_garbage_writer_new(&w, e));
    cf_spool_rewind(n->objects);
    for (;;) {
        cf_run_id run = {""};
        uint32_t seq = 0;

        CF_TRY(cf_prune_object_next(n, &o, e));
        if (o.name.len == 0)
            break;
        if (full || !cf_prune_may_go(n, &o) || object_marked(a, o.name, /* old_only= */ false) ||
            !cf_object_name_parse(o.name, &run, &seq, NULL))
            continue;
        CF_TRY(roots_mark(a, &next, &run, w, e));
        CF_TRY(cf_garbage_writer_add(w, &run, seq, &full, e));
        n->prune->result.objects_marked += !full;
    }
    CF_TRY(roots_mark(a, &next, /* until= */ NULL, w, e));
    CF_TRY(cf_prune_check(n, e));
    return n->prune->opts->dry_run ? CF_OK
                                   : cf_garbage_writer_put(w, n->repo, n->name, &n->self.id, e);
}

/* --- what goes now (pass 2) --- */

/* A run that slept through its lease waits so long before it commits: by the clock that goes on
 * while a machine sleeps, or by the store's, whichever says more. */
static cf_err check_hour(aged *const a, cf_error *const e)
{
    cf_prune_node *const n = a->node;
    const cf_world *const w = n->prune->ctx->world;
    int64_t now_utc_ms = 0;

    CF_TRY(cf_prune_check(n, e));
    CF_TRY(n->repo->store->ops->now_utc_ms(n->repo->store, &now_utc_ms, e));
    const uint64_t limit_ms = (uint64_t)(CF_PRUNE_STOP_S - CF_PRUNE_ANSWER_S) * 1000;
    const bool late = w->mono_ms(w->impl) - n->looked_mono_ms > limit_ms ||
                      now_utc_ms - n->looked_utc_ms > (int64_t)limit_ms;
    if (late && !a->stopped)
        cf_prune_log(n->prune, CF_LOG_WARN,
                     "node '%s': stopped %d minutes after prune looked, as it must where the "
                     "store has no conditional create\nHINT: prune again: it goes on",
                     n->name, (CF_PRUNE_STOP_S - CF_PRUNE_ANSWER_S) / 60);
    a->stopped = a->stopped || late;
    return CF_OK;
}

static void snaps_wait(const aged *const a)
{
    cf_prune_node *const n = a->node;

    n->goes_total = 0;
    for (size_t i = 0; i < n->snap_total; i++) {
        cf_prune_snap *const s = &n->snaps[i];

        s->waits = s->listed && s->keep == 0 && !root_marked(a, &s->run, /* old_only= */ true);
        n->goes_total += s->listed && s->keep == 0 && !s->waits;
    }
}

static cf_err roots_delete(aged *const a, cf_error *const e)
{
    cf_prune_node *const n = a->node;
    char key[CF_KEY_LEN_MAX + 1];

    for (size_t i = 0; i < n->snap_total; i++) {
        const cf_prune_snap *const s = &n->snaps[i];
        cf_prune_trace *const r = cf_prune_trace_find(n, &s->run);

        n->prune->result.snapshots_kept += s->listed && (s->keep != 0 || s->waits);
        if (!s->listed || s->keep != 0 || s->waits)
            continue;
        CF_TRY(check_hour(a, e));
        if (a->stopped)
            return CF_OK;
        CF_CHECK(s->first && r != NULL && strcmp(s->run.text, n->newest.text) < 0);
        cf_key_root(key, n->name, &s->run);
        const char *const keys[] = {key};
        const cf_delete_opts opts = {.versions = n->prune->opts->delete_versions};
        if (!n->prune->opts->dry_run)
            CF_TRY(n->repo->store->ops->delete_many(n->repo->store, keys, 1, &opts, e));
        r->is_fence = true; /* decided: its marks and leases go */
        n->prune->result.snapshots_deleted++;
    }
    return CF_OK;
}

static void still_there(aged *const a, const cf_slice name)
{
    for (size_t i = 0; i < a->total; i++)
        a->marks[i].left = a->marks[i].left || cf_object_set_has(a->marks[i].objects, name);
}

static cf_err objects_delete(aged *const a, cf_error *const e)
{
    CF_CLEANUP(cf_prune_batch_deinit) cf_prune_batch b = {.node = a->node};
    cf_prune_node *const n = a->node;
    cf_prune_object o = {0};
    char name[CF_RUN_OBJECT_LEN_MAX + 1];
    char key[CF_KEY_LEN_MAX + 1];

    cf_spool_rewind(n->objects);
    for (;;) {
        CF_TRY(cf_prune_object_next(n, &o, e));
        if (o.name.len == 0)
            break;
        if (b.total == 0)
            CF_TRY(check_hour(a, e));
        if (a->stopped || !cf_prune_may_go(n, &o) ||
            !object_marked(a, o.name, /* old_only= */ true)) {
            still_there(a, o.name);
            continue;
        }
        (void)snprintf(name, sizeof(name), "%.*s", CF_SLICE_FMT(o.name));
        cf_key_of_object(key, n->name, name);
        CF_TRY(cf_prune_batch_add(&b, key, o.size_bytes, e));
    }
    return cf_prune_batch_flush(&b, e);
}

/* A mark whose every word is done. */
static cf_err marks_delete(const aged *const a, cf_error *const e)
{
    CF_CLEANUP(cf_prune_batch_deinit) cf_prune_batch b = {.node = a->node, .claims = true};
    const cf_prune_node *const n = a->node;

    for (size_t i = 0; i < a->total; i++) {
        bool left = a->marks[i].left || n->locked_total > 0 || a->stopped;

        for (size_t k = 0; k < a->marks[i].root_total; k++) {
            const cf_prune_snap *const s = cf_prune_snap_find(n, &a->marks[i].roots[k]);
            left = left || (s != NULL && s->listed && (s->keep != 0 || s->waits));
        }
        if (!left)
            CF_TRY(cf_prune_batch_add(&b, a->marks[i].key, /* size_bytes= */ 0, e));
    }
    return cf_prune_batch_flush(&b, e);
}

cf_err cf_prune_aged(cf_prune_node *const n, cf_error *const e)
{
    CF_CLEANUP(aged_deinit) aged a = {.node = n};

    CF_TRY(cf_prune_decide(n, e)); /* as everywhere, but nobody is fenced */
    keep_new(n);
    CF_TRY(n->repo->store->ops->now_utc_ms(n->repo->store, &a.now_utc_ms, e));
    CF_TRY(cf_garbage_each(n->repo, n->name, line_seen, &a, e));
    snaps_wait(&a);
    cf_prune_tell(n);
    CF_TRY(mark_new(&a, e));             /* with what would be free when all that go were gone */
    CF_TRY(cf_prune_read_waiting(n, e)); /* but those that wait still need theirs */
    CF_TRY(roots_delete(&a, e));
    CF_TRY(objects_delete(&a, e));
    CF_TRY(marks_delete(&a, e));
    CF_TRY(cf_prune_abort_listed(n, e));
    return a.stopped ? CF_OK : cf_prune_sweep_claims(n, e);
}
