/* SPDX-License-Identifier: Apache-2.0
 *
 * Prune: deletes the snapshots that no rule keeps, and what only they named, while backups,
 * restores and other prunes run or sleep on other machines. The order of the steps is the design
 * (DESIGN 5 "Prune, in this order"; tests/model/core.pml, `proctype prune`): change it only with
 * the model. Interrupted anywhere, the next prune finishes.
 */
#include "prune/prune.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "s3/base/alloc.h"
#include "s3/base/cleanup.h"
#include "store/open.h"

enum { WAIT_EVERY_MS = 2000 }; /* one LIST, one GET and a HEAD each time */

void cf_prune_log(const cf_prune *const p, const cf_log_level level, const char *const fmt, ...)
{
    char text[CF_ERROR_MESSAGE_LEN_MAX];
    va_list args;

    if (p->ctx->log == NULL)
        return;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    p->ctx->log(p->ctx->impl, level, text);
}

void cf_prune_progress(const cf_prune *const p, const char *const phase, const uint64_t done,
                       const uint64_t total)
{
    const cf_progress progress = {.phase = phase, .done_files = done, .total_files = total};

    if (p->ctx->progress != NULL)
        p->ctx->progress(p->ctx->impl, &progress);
}

/* --- one node --- */

void cf_prune_node_reset(cf_prune_node *const n)
{
    for (size_t i = 0; i < n->snap_total; i++) {
        cf_free(n->snaps[i].words);
        cf_free(n->snaps[i].segments);
    }
    for (size_t i = 0; i < n->lease_total; i++)
        cf_free(n->leases[i].key);
    for (size_t i = 0; i < n->stale_total; i++)
        cf_free(n->stale[i]);
    cf_prune_segments_deinit(&n->segments);
    cf_spool_free(CF_STEAL(n->objects));
    cf_object_set_free(CF_STEAL(n->named));
    n->snap_total = 0;
    n->run_total = 0;
    n->lease_total = 0;
    n->mark_total = 0;
    n->stale_total = 0;
    n->has_future = false;
    n->goes_total = 0;
}

static void node_deinit(cf_prune_node *const n)
{
    cf_prune_node_reset(n);
    cf_free(n->snaps);
    cf_free(n->runs);
    cf_free(n->leases);
    cf_free(n->marks);
    cf_free(n->stale);
    cf_lease_abandon(n->lease);
}

cf_err cf_prune_check(cf_prune_node *const n, cf_error *const e)
{
    const cf_world *const w = n->prune->ctx->world;

    CF_ENSURE(!w->stopping(w->impl), e, CF_ERR_INTERRUPTED,
              "interrupted; the next prune goes on from here");
    return n->lease != NULL ? cf_lease_check(n->lease, e) : CF_OK;
}

static cf_err wait_for_lease(cf_prune_node *const n, cf_error *const e)
{
    const cf_world *const w = n->prune->ctx->world;
    const cf_lease_opts opts = {.run = &n->self, .folder = "prunes"};
    const uint64_t begin_mono_ms = w->mono_ms(w->impl);

    for (bool told = false;; told = true) {
        cf_error why = {0};
        const cf_err err = cf_lease_acquire(n->repo, &opts, &n->lease, &why);
        const uint64_t passed_ms = w->mono_ms(w->impl) - begin_mono_ms;
        const uint64_t left_ms =
            n->prune->opts->wait_lock_ms > passed_ms ? n->prune->opts->wait_lock_ms - passed_ms : 0;

        if (err != CF_ERR_LOCKED || left_ms == 0) {
            if (err != CF_OK && e != NULL)
                *e = why;
            return err;
        }
        if (!told)
            cf_prune_log(n->prune, CF_LOG_INFO, "node '%s': waiting up to %llu s for another prune",
                         n->name, (unsigned long long)(left_ms + 999) / 1000);
        w->sleep_ms(w->impl, left_ms < WAIT_EVERY_MS ? left_ms : WAIT_EVERY_MS);
        CF_TRY(cf_prune_check(n, e));
    }
}

/* One prune a node at a time. It saves work; what is deleted is safe without it (the model has two
 * prunes at once, and no such lease). */
static cf_err claim(cf_prune_node *const n, cf_error *const e)
{
    const cf_world *const w = n->prune->ctx->world;
    int64_t now_utc_ms = 0;
    uint32_t random = 0;

    CF_TRY(n->repo->store->ops->now_utc_ms(n->repo->store, &now_utc_ms, e));
    w->random(w->impl, &random, sizeof(random));
    (void)snprintf(n->self.node, sizeof(n->self.node), "%s", n->name);
    cf_run_id_make(now_utc_ms, /* newest= */ NULL, random, &n->self.id);
    if (n->prune->opts->dry_run)
        return CF_OK;
    return wait_for_lease(n, e);
}

static cf_err release(cf_prune_node *const n)
{
    cf_error why = {0};

    if (n->lease != NULL && cf_lease_release(CF_STEAL(n->lease), &why) != CF_OK)
        cf_prune_log(n->prune, CF_LOG_WARN,
                     "node '%s': the prune's lease could not be released: %s\nHINT: it runs out by "
                     "itself in %d minutes",
                     n->name, why.message, CF_LEASE_TTL_S / 60);
    return CF_OK;
}

/* What may go is chosen at the beginning, what must stay is added until the end. */
static cf_err decide(cf_prune_node *const n, cf_error *const e)
{
    /* In the model these are P2 to P10. */
    CF_TRY(cf_prune_look_leases(n, e));       /* 2. who runs */
    CF_TRY(cf_prune_look_snapshots(n, e));    /* 3. only these may go, never the newest */
    CF_TRY(cf_prune_choose(n, e));            /*    of them those that no rule keeps */
    CF_TRY(cf_prune_look_objects(n, e));      /* 4. only these are ever deleted */
    CF_TRY(cf_prune_fence_dead(n, e));        /* 5. who is not protected can not commit any more */
    CF_TRY(cf_prune_look_leases_again(n, e)); /* 6. what undecided runs use */
    CF_TRY(cf_prune_look_reads(n, e));
    CF_TRY(cf_prune_look_snapshots_last(n, e)); /* 7. what was committed or tagged meanwhile */
    CF_TRY(cf_prune_look_marks_last(n, e));
    CF_TRY(cf_prune_keep_used(n, e));
    return cf_prune_read_named(n, e); /* 8. what all that stay name */
}

cf_err cf_prune_decide(cf_prune_node *const n, cf_error *const e)
{
    for (unsigned round = 0; round < CF_PRUNE_ROUNDS_MAX; round++) {
        cf_prune_node_reset(n);
        const cf_err err = decide(n, e);
        if (err != CF_ERR_CONFLICT)
            return err;
    }
    CF_FAIL(e, CF_ERR_CONFLICT,
            "snapshots of node '%s' changed %d times while prune looked; nothing was deleted\n"
            "HINT: is another prune running? Try again later",
            n->name, CF_PRUNE_ROUNDS_MAX);
}

static void count(cf_prune_node *const n)
{
    cf_prune_result *const r = &n->prune->result;

    r->snapshots_deleted += n->goes_total;
    for (size_t i = 0; i < n->snap_total; i++)
        r->snapshots_kept += n->snaps[i].listed && n->snaps[i].keep != 0;
}

static cf_err node_prune(cf_prune_node *const n, cf_error *const e)
{
    CF_TRY(claim(n, e)); /* 1. */
    if (!n->repo->conditional) {
        CF_TRY(cf_prune_aged(n, e));
        return release(n);
    }
    CF_TRY(cf_prune_decide(n, e)); /* 2 to 8 */
    cf_prune_tell(n);
    CF_TRY(cf_prune_sweep_roots(n, e)); /* 9. a root that goes becomes a fence, for ever */
    count(n);
    CF_TRY(cf_prune_sweep_objects(n, e)); /* 10. */
    CF_TRY(cf_prune_sweep_claims(n, e));  /* 11. leases and marks that protect nothing any more */
    return release(n);
}

/* --- all nodes --- */

typedef struct names {
    const char *only;                       /* NULL: all */
    char (*list)[CF_NODE_NAME_LEN_MAX + 1]; /* owned */
    size_t total, cap;
} names;

static void names_deinit(names *const n)
{
    cf_free(n->list);
}

static cf_err names_add(void *const impl, const char *const name, cf_error *const e)
{
    names *const n = impl;

    if (n->only != NULL && strcmp(n->only, name) != 0)
        return CF_OK;
    CF_TRY(cf_prune_grow((void **)&n->list, &n->cap, n->total, sizeof(*n->list), e));
    (void)snprintf(n->list[n->total++], sizeof(*n->list), "%s", name);
    return CF_OK;
}

/* Worse ones last; what is not here is worse than "locked", better than damage. */
static unsigned badness(const cf_err err)
{
    return err == CF_OK                ? 0
           : err == CF_ERR_LOCKED      ? 1
           : err == CF_ERR_DAMAGE      ? 3
           : err == CF_ERR_INTERRUPTED ? 4
                                       : 2;
}

static cf_err nodes_prune(cf_prune *const p, const names *const all, cf_error *const e)
{
    cf_error worst = {0};

    for (size_t i = 0; i < all->total && worst.code != CF_ERR_INTERRUPTED; i++) {
        cf_error why = {0};
        CF_CLEANUP(node_deinit) cf_prune_node n = {.prune = p, .repo = &p->repo};

        (void)snprintf(n.name, sizeof(n.name), "%s", all->list[i]);
        why.code = node_prune(&n, &why);
        p->result.nodes_total++;
        if (why.code == CF_OK)
            continue;
        p->result.nodes_failed++;
        cf_error_prefix(&why, "node '%s'", n.name);
        if (badness(why.code) > badness(worst.code)) {
            const cf_error swap = worst;
            worst = why;
            why = swap;
        }
        if (why.code != CF_OK) /* the worst is the command's own error */
            cf_prune_log(p, CF_LOG_WARN, "%s", why.message);
    }
    if (worst.code != CF_OK && e != NULL)
        *e = worst;
    return worst.code;
}

static cf_err opts_check(const cf_prune_opts *const o, cf_retention *const ret, cf_error *const e)
{
    *ret = (cf_retention){
        .last = o->keep_last,
        .hourly = o->keep_hourly,
        .daily = o->keep_daily,
        .weekly = o->keep_weekly,
        .monthly = o->keep_monthly,
        .yearly = o->keep_yearly,
        .tags = o->keep_tags,
        .tag_total = o->keep_tag_total,
    };
    if (o->node != NULL)
        CF_TRY(cf_node_name_check(o->node, e));
    if (o->keep_within != NULL)
        CF_ENSURE(cf_retention_span_parse(cf_slice_str(o->keep_within), &ret->within), e,
                  CF_ERR_USAGE,
                  "'%s' is no span of time\nHINT: years, months, weeks, days and hours in this "
                  "order, like 1y6m2w3d12h or 30d; at most %d of each",
                  o->keep_within, CF_RETENTION_SPAN_MAX);
    CF_ENSURE(!cf_retention_is_empty(ret), e, CF_ERR_USAGE,
              "no rule is given, so nothing would be kept\n"
              "HINT: for example --keep-daily 7 --keep-weekly 5 --keep-monthly 12; --dry-run shows "
              "what would go");
    for (size_t i = 0; i < o->drop_damaged_total; i++) {
        cf_run_id run = {""};
        CF_ENSURE(cf_run_id_parse(cf_slice_str(o->drop_damaged[i]), &run), e, CF_ERR_USAGE,
                  "'%s' is no snapshot's id\nHINT: give the whole id, as 'chunkferry list' and "
                  "prune's message about the damage show it",
                  o->drop_damaged[i]);
    }
    return CF_OK;
}

/* Where the store keeps versions, deleting frees nothing by itself. */
static void say_versions(const cf_prune *const p)
{
    if (p->versions_on && !p->opts->delete_versions && p->result.objects_deleted > 0)
        cf_prune_log(p, CF_LOG_INFO,
                     "the bucket keeps versions: the space of what was deleted is freed by its "
                     "lifecycle rule for noncurrent versions\n"
                     "HINT: without such a rule, prune with --delete-versions from now on");
}

cf_err cf_prune_run_on(const cf_ctx *const ctx, const cf_prune_opts *const opts,
                       cf_store *const store, cf_prune_result *const ret, cf_error *const e)
{
    CF_CLEANUP(names_deinit) names all = {.only = opts->node};
    cf_ctx full = *ctx;
    cf_prune p = {.ctx = &full, .opts = opts};
    cf_store_counts counts = {0};

    full.world = ctx->world != NULL ? ctx->world : cf_world_real();
    const uint64_t begin_mono_ms = full.world->mono_ms(full.world->impl);
    CF_TRY(opts_check(opts, &p.rules, e));
    CF_TRY(cf_repo_open(store, full.world, &p.repo, e));
    if (store->ops->versioning(store, &p.versions_on, /* e= */ NULL) != CF_OK)
        p.versions_on = false; /* a key that may not ask: then nothing is said about it */
    CF_TRY(cf_repo_list_nodes(&p.repo, names_add, &all, e));
    CF_ENSURE(opts->node == NULL || all.total > 0, e, CF_ERR_NOT_FOUND,
              "there is no node '%s' in this repository\nHINT: 'chunkferry list' shows the nodes",
              opts->node);
    const cf_err err = nodes_prune(&p, &all, e);
    say_versions(&p);
    store->ops->get_counts(store, &counts);
    p.result.requests_total = counts.requests_total;
    p.result.duration_ms = full.world->mono_ms(full.world->impl) - begin_mono_ms;
    *ret = p.result;
    return err;
}

cf_err cf_prune_run(const cf_ctx *const ctx, const cf_prune_opts *const opts,
                    cf_prune_result *const ret, cf_error *const e)
{
    CF_CLEANUP(cf_store_freep) cf_store *store = NULL;
    cf_retention rules = {0};
    cf_ctx full = *ctx;

    full.world = ctx->world != NULL ? ctx->world : cf_world_real();
    full.fs = ctx->fs != NULL ? ctx->fs : cf_fs_real();
    CF_TRY(opts_check(opts, &rules, e)); /* what is wrong here is told before any server is asked */
    CF_TRY(cf_store_open(&full, &opts->remote, /* sizes= */ NULL, &store, e));
    return cf_prune_run_on(&full, opts, store, ret, e);
}
