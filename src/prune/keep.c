/* SPDX-License-Identifier: Apache-2.0
 *
 * Keep: which snapshots stay, and why. Chosen once, by the first LIST; from then on reasons to stay
 * are only added.
 */
#include <inttypes.h>
#include <stdio.h>

#include "prune/prune.h"
#include "repo/tag.h"
#include "s3/base/alloc.h"
#include "s3/base/cleanup.h"
#include "s3/base/num.h"

/* --- by rules --- */

static cf_err proof_seen(void *const impl, const cf_mark *const mark, cf_error *const e)
{
    cf_prune_snap **const newest = ((void **)impl)[1];
    const cf_prune_node *const n = ((void **)impl)[0];
    cf_prune_snap *const snap = cf_prune_snap_find(n, &mark->run);

    (void)e;
    if (cf_mark_is(mark, CF_MARK_PROOF) && snap != NULL)
        *newest = snap; /* they come in order */
    return CF_OK;
}

static cf_err proofs_load(cf_prune_node *const n, cf_error *const e)
{
    cf_prune_snap *newest = NULL;
    void *impl[] = {n, &newest};

    CF_TRY(cf_mark_each(n->repo, n->name, /* only= */ NULL, proof_seen, (void *)impl, e));
    if (newest != NULL)
        newest->keep |= CF_KEEP_PROVED;
    return CF_OK;
}

static void tags_unreadable(void *const impl, const cf_mark *const mark, const char *const why)
{
    const cf_prune_node *const n = impl;
    cf_prune_snap *const snap = cf_prune_snap_find(n, &mark->run);

    if (snap == NULL)
        return;
    cf_prune_log(n->prune, CF_LOG_WARN,
                 "node '%s': snapshot '%s' stays: it is not known whether it is tagged keep: %s",
                 n->name, snap->run.text, why);
    snap->keep |= CF_KEEP_PINNED;
}

static cf_err tags_load(cf_prune_node *const n, cf_error *const e)
{
    CF_CLEANUP(json_decrefp) json_t *all = NULL;
    const cf_retention *const rules = &n->prune->rules;

    CF_TRY(cf_tags_load(n->repo, n->name, /* only= */ NULL, tags_unreadable, n, &all, e));
    for (size_t i = 0; i < n->snap_total && json_object_size(all) > 0; i++) {
        cf_prune_snap *const s = &n->snaps[i];
        const json_t *const tags = json_object_get(all, s->run.text);

        if (cf_tags_have(tags, CF_TAG_KEEP))
            s->keep |= CF_KEEP_PINNED;
        for (size_t k = 0; k < rules->tag_total; k++)
            s->tagged = s->tagged || cf_tags_have(tags, rules->tags[k]);
    }
    return CF_OK;
}

static cf_err rules_apply(cf_prune_node *const n, cf_error *const e)
{
    CF_CLEANUP(cf_freep)
    cf_retention_item *items = cf_alloc(n->snap_total + 1, sizeof(*items));
    int64_t now_utc_ms = 0;
    size_t total = 0;

    CF_ENSURE(items != NULL, e, CF_ERR_NO_MEMORY, "allocate %zu snapshots", n->snap_total);
    CF_TRY(n->repo->store->ops->now_utc_ms(n->repo->store, &now_utc_ms, e));
    for (size_t i = 0; i < n->snap_total; i++) {
        const cf_prune_snap *const s = &n->snaps[i];
        if (!s->is_future && !s->is_damaged)
            items[total++] = (cf_retention_item){
                .run = s->run, .time_utc_ms = s->time_utc_ms, .tagged = s->tagged};
    }
    CF_TRY(cf_retention_apply(&n->prune->rules, now_utc_ms, items, total, e));
    for (size_t i = 0; i < total; i++)
        cf_prune_snap_find(n, &items[i].run)->keep |= items[i].keep;
    return CF_OK;
}

uint64_t cf_prune_going(const cf_prune_node *const n)
{
    uint64_t total = 0;

    for (size_t i = 0; i < n->snap_total; i++)
        total += n->snaps[i].listed && n->snaps[i].keep == 0;
    return total;
}

static cf_err check_max(const cf_prune_node *const n, cf_error *const e)
{
    const cf_prune_opts *const o = n->prune->opts;
    uint64_t going = 0;

    for (size_t i = 0; i < n->snap_total; i++)
        going += n->snaps[i].keep == 0;
    CF_ENSURE(!o->has_max_delete || going <= o->max_delete, e, CF_ERR_LIMIT,
              "%" PRIu64 " of %zu snapshots would go, --max-delete allows %" PRIu64
              "; nothing was changed\nHINT: --dry-run shows which; if that is meant, allow more",
              going, n->snap_total, o->max_delete);
    return CF_OK;
}

/* The newest by id: a run may be choosing it as its parent just now (model: newest). And the newest
 * by its time, where an older one was copied in later: a restore asks for that one. */
static void newest_keep(cf_prune_node *const n)
{
    cf_prune_snap *const newest = cf_prune_snap_find(n, &n->newest);
    cf_prune_snap *latest = NULL;

    for (size_t i = 0; i < n->snap_total; i++) {
        cf_prune_snap *const s = &n->snaps[i];
        if (!s->is_future && !s->is_damaged &&
            (latest == NULL || s->time_utc_ms >= latest->time_utc_ms))
            latest = s;
    }
    if (newest != NULL)
        newest->keep |= CF_KEEP_NEWEST;
    if (latest != NULL)
        latest->keep |= CF_KEEP_NEWEST;
}

cf_err cf_prune_choose(cf_prune_node *const n, cf_error *const e)
{
    for (size_t i = 0; i < n->snap_total; i++) {
        CF_TRY(cf_prune_check(n, e));
        CF_TRY(cf_prune_root_read(n, &n->snaps[i], e));
        cf_prune_progress(n->prune, "looking", i + 1, n->snap_total);
    }
    CF_TRY(proofs_load(n, e));
    CF_TRY(tags_load(n, e));
    CF_TRY(rules_apply(n, e));
    newest_keep(n);
    return check_max(n, e);
}

/* --- by use --- */

/* Neither a root nor a fence stood there at the last LIST (model: U = L & ~(R | F)). */
static bool is_undecided(const cf_prune_node *const n, const cf_run_id *const run)
{
    const cf_prune_snap *const snap = cf_prune_snap_find(n, run);
    const cf_prune_trace *const r = cf_prune_trace_find(n, run);

    return !(snap != NULL && snap->listed) && !(r != NULL && r->is_fence);
}

/* A name in `uses` is a parent or an adopted run by what stands at its root's key. Of either kind
 * all objects stay: an adopted one may have committed since, with less in its root than its
 * journals name. */
static void use_keep(const cf_prune_node *const n, const cf_run_id *const run)
{
    cf_prune_snap *const snap = cf_prune_snap_find(n, run);
    cf_prune_trace *const r = cf_prune_trace_find(n, run);

    if (snap != NULL)
        snap->keep |= CF_KEEP_USED;
    if (r != NULL)
        r->kept_whole = true;
}

cf_err cf_prune_keep_used(cf_prune_node *const n, cf_error *const e)
{
    (void)e;
    for (size_t i = 0; i < n->lease_total; i++) {
        const cf_prune_lease *const l = &n->leases[i];

        for (size_t k = 0; is_undecided(n, &l->run) && k < l->uses_total; k++)
            use_keep(n, &l->uses[k]);
    }
    n->goes_total = cf_prune_going(n);
    return CF_OK;
}

/* --- told --- */

static void snap_tell(const cf_prune_node *const n, const cf_prune_snap *const s)
{
    const char *reasons[CF_KEEP_TOTAL], *names[CF_KEEP_TOTAL];
    char words[512] = "";
    char size[CF_SIZE_TEXT_SIZE];
    cf_prune_snapshot told = {
        .node = n->name,
        .snapshot = s->run.text,
        .has_time = !s->is_future && s->segments != NULL,
        .time_utc_ms = s->time_utc_ms,
        .keep = s->keep != 0,
        .reasons = reasons,
        .names = names,
        .words = words,
    };

    for (unsigned i = 0; i < CF_KEEP_TOTAL; i++) {
        if ((s->keep & 1u << i) == 0)
            continue;
        reasons[told.reason_total] = cf_keep_text(1u << i);
        names[told.reason_total++] = cf_keep_name(1u << i);
    }
    if (s->waits)
        (void)snprintf(words, sizeof(words), "marked, and goes %d days after that",
                       CF_PRUNE_GARBAGE_S / (24 * 3600));
    else if (s->is_damaged && s->segments != NULL)
        (void)snprintf(words, sizeof(words), "given up: %" PRIu64 " files, %s: %.300s",
                       s->files_total, cf_size_render(s->source_bytes, size), s->words);
    else if (s->is_damaged)
        (void)snprintf(words, sizeof(words), "given up: %.400s", s->words);
    n->prune->opts->on_snapshot(n->prune->opts->impl, &told);
}

void cf_prune_tell(cf_prune_node *const n)
{
    if (n->prune->opts->on_snapshot == NULL)
        return;
    for (size_t i = 0; i < n->snap_total; i++) {
        if (n->snaps[i].listed)
            snap_tell(n, &n->snaps[i]);
    }
}
