/* SPDX-License-Identifier: Apache-2.0
 *
 * Claim: LIST snapshots to choose the parent, PUT the lease that names it, then LIST again: the
 * parent must be the newest there, else again with a new lease. The order was model-checked (DESIGN
 * 5, "Start of a run"); a prune that runs at the same time keeps what the lease names.
 */
#include "repo/claim.h"

#include <stdarg.h>
#include <stdio.h>

#include "repo/garbage.h"
#include "s3/base/cleanup.h"

enum {
    CLAIM_TRIES_MAX = 8,  /* ours: each try lost means another run of this node committed, or took
                              the lease, in between */
    WAIT_LEAST_MS = 1000, /* between two looks at a node that is busy... */
    WAIT_JITTER_MS =
        4000, /* ...and at most so much more, so that many that wait do not ask at once */
};

/* One claim being made. */
typedef struct claiming {
    const cf_repo *repo;
    const cf_claim_opts *opts;
    cf_claim c;
    cf_run_id adopt[CF_LEASE_USES_MAX]; /* what the lease names beside the parent */
    size_t adopt_total;
    cf_run_id uses[CF_LEASE_USES_MAX];
    size_t uses_total;
} claiming;

static void say(const claiming *const g, const cf_log_level level, const char *const fmt, ...)
    CF_PRINTF(3, 4);
static void say(const claiming *const g, const cf_log_level level, const char *const fmt, ...)
{
    char text[CF_ERROR_MESSAGE_LEN_MAX];
    va_list args;
    if (g->opts->log == NULL)
        return;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    g->opts->log(g->opts->impl, level, text);
}

void cf_claim_deinit(cf_claim *const c)
{
    cf_adoption_free(c->adopted);
    cf_damage_free(c->damage);
    cf_root_free(c->parent);
    cf_lease_abandon(c->lease);
    *c = (cf_claim){0};
}

static void claiming_deinit(claiming *const g)
{
    cf_claim_deinit(&g->c);
}

cf_err cf_claim_release(cf_claim *const c, cf_error *const e)
{
    return cf_lease_release(CF_STEAL(c->lease), e);
}

static cf_run_id newest_of(const cf_snapshot_ids *const ids)
{
    return ids->total > 0 ? ids->id[ids->total - 1] : (cf_run_id){{0}};
}

/* The newest snapshot, or none. A root that is damaged is no parent: the run then stands alone and
 * says so. One that went between LIST and GET (a newer one was committed, prune had it) is none
 * either: the LIST behind the lease tells of the newer one. */
static cf_err parent_load(claiming *const g, const cf_snapshot_ids *const ids, cf_error *const e)
{
    CF_CLEANUP(cf_root_freep) cf_root *root = NULL;
    cf_error why = {0};
    if (ids->total > 0) {
        const cf_run_id *const newest = &ids->id[ids->total - 1];
        const cf_err err = cf_snapshot_load(g->repo, g->opts->node, newest, &root, &why);
        if (err == CF_ERR_DAMAGE) {
            say(g, CF_LOG_WARN,
                "snapshot %s cannot be the parent: %s; everything is read and sent again",
                newest->text, why.message);
        } else if (err != CF_OK && err != CF_ERR_FENCED && err != CF_ERR_NOT_FOUND) {
            if (e != NULL)
                *e = why;
            return err;
        }
    }
    cf_root_free(g->c.parent);
    g->c.parent = CF_STEAL(root);
    g->c.chosen = newest_of(ids);
    return CF_OK;
}

static cf_err run_id_make(claiming *const g, const cf_snapshot_ids *const ids, cf_error *const e)
{
    const cf_world *const w = g->repo->world;
    int64_t now_utc_ms = 0;
    uint32_t random = 0;
    CF_TRY(g->repo->store->ops->now_utc_ms(g->repo->store, &now_utc_ms, e));
    w->random(w->impl, &random, sizeof(random));
    cf_run_id_make(now_utc_ms, &ids->newest, random, &g->c.run.id);
    return CF_OK;
}

/* Ids order: ours must be above all that are there. Runs that are short, or started in one second,
 * can commit one above ours before our lease; then ours is given up, and another one made. */
static cf_err run_id_keep_newest(claiming *const g, const cf_snapshot_ids *const ids,
                                 cf_error *const e)
{
    if (strcmp(ids->newest.text, g->c.run.id.text) < 0)
        return CF_OK;
    cf_lease_abandon(CF_STEAL(g->c.lease));
    return run_id_make(g, ids, e);
}

/* Chooses: the newest snapshot is the parent. */
static cf_err choose(claiming *const g, cf_snapshot_ids *const ids, cf_error *const e)
{
    (void)snprintf(g->c.run.node, sizeof(g->c.run.node), "%s", g->opts->node);
    CF_TRY(cf_snapshot_list(g->repo, g->opts->node, /* recent= */ true, ids, e));
    CF_TRY(parent_load(g, ids, e));
    return run_id_make(g, ids, e);
}

/* Parent first, then what is adopted. */
static void uses_fill(claiming *const g)
{
    g->uses_total = 0;
    if (g->c.parent != NULL)
        g->uses[g->uses_total++] = g->c.parent->run;
    for (size_t i = 0; i < g->adopt_total && g->uses_total < CF_LEASE_USES_MAX; i++)
        g->uses[g->uses_total++] = g->adopt[i];
}

/* The number behind the highest, with all of `uses` in it; again when somebody was faster. */
static cf_err lease_take(claiming *const g, cf_error *const e)
{
    const uint64_t after = g->c.parent != NULL ? g->c.parent->lease : 0;
    if (g->c.lease != NULL) {
        uses_fill(g);
        return cf_lease_move(g->c.lease, g->uses, g->uses_total, e);
    }
    for (unsigned i = 0; i < CLAIM_TRIES_MAX; i++) {
        cf_lease_view view = {0};
        CF_TRY(cf_lease_look(g->repo, g->opts->node, "leases", after, &view, e));
        g->adopt_total = 0;
        if (g->opts->adopt && view.highest > after)
            CF_TRY(cf_adoption_find(g->repo, g->opts->node, g->c.parent, &view, g->adopt,
                                    &g->adopt_total, e));
        uses_fill(g);
        const cf_lease_opts opts = {
            .run = &g->c.run, .uses = g->uses, .uses_total = g->uses_total, .after = after};
        const cf_err err = cf_lease_take(g->repo, &opts, &view, &g->c.lease, e);
        if (err != CF_ERR_EXISTS)
            return err;
    }
    CF_FAIL(e, CF_ERR_LOCKED,
            "others took the lease of '%s' %d times while this run looked\nHINT: try again later",
            g->opts->node, CLAIM_TRIES_MAX);
}

static cf_err garbage_drop(void *const impl, const cf_run_id *const run, cf_error *const e)
{
    claiming *const g = impl;
    size_t kept = 0;
    (void)e;
    for (size_t i = 0; i < g->adopt_total; i++) {
        if (strcmp(g->adopt[i].text, run->text) != 0)
            g->adopt[kept++] = g->adopt[i];
    }
    g->adopt_total = kept;
    return CF_OK;
}

/* Behind the lease: adopted runs must be undecided still, and not be marked as garbage. *ret: they
 * are; else those that are not are left out, which needs a new number. */
static cf_err adopted_check(claiming *const g, bool *const ret, cf_error *const e)
{
    const size_t had = g->adopt_total;
    size_t kept = 0;
    for (size_t i = 0; i < g->adopt_total; i++) {
        bool decided = false;
        CF_TRY(cf_run_is_decided(g->repo, g->opts->node, &g->adopt[i], &decided, e));
        if (!decided)
            g->adopt[kept++] = g->adopt[i];
    }
    g->adopt_total = kept;
    if (kept > 0 && !g->repo->conditional)
        CF_TRY(cf_garbage_each_run(g->repo, g->opts->node, garbage_drop, g, e));
    *ret = g->adopt_total == had;
    return CF_OK;
}

static cf_err take_once(claiming *const g, cf_error *const e)
{
    CF_CLEANUP(cf_snapshot_ids_deinit) cf_snapshot_ids ids = {0};
    CF_TRY(choose(g, &ids, e)); /* model: core.pml B1, B2 */
    for (unsigned i = 0; i < CLAIM_TRIES_MAX; i++) {
        CF_TRY(lease_take(g, e)); /* B3 */
        cf_snapshot_ids_deinit(&ids);
        /* B4, B5: the parent must be the newest still, the adopted undecided. */
        CF_TRY(cf_snapshot_list(g->repo, g->opts->node, /* recent= */ true, &ids, e));
        const cf_run_id newest = newest_of(&ids);
        bool undecided = true;
        CF_TRY(adopted_check(g, &undecided, e));
        if (strcmp(g->c.chosen.text, newest.text) == 0 && undecided)
            return CF_OK;
        CF_TRY(parent_load(g, &ids, e));
        CF_TRY(run_id_keep_newest(g, &ids, e));
    }
    CF_FAIL(e, CF_ERR_LOCKED,
            "other runs of node '%s' committed %d times while this one started\nHINT: is a backup "
            "started twice?",
            g->opts->node, CLAIM_TRIES_MAX);
}

/* Until the next look, or the end of the time given; CF_ERR_INTERRUPTED. */
static cf_err wait_once(const claiming *const g, const uint64_t left_ms, cf_error *const e)
{
    const cf_world *const w = g->repo->world;
    uint32_t random = 0;
    w->random(w->impl, &random, sizeof(random));
    const uint64_t wanted_ms = WAIT_LEAST_MS + random % (WAIT_JITTER_MS + 1);
    w->sleep_ms(w->impl, wanted_ms < left_ms ? wanted_ms : left_ms);
    CF_ENSURE(!w->stopping(w->impl), e, CF_ERR_INTERRUPTED,
              "interrupted while it waited for node '%s'", g->opts->node);
    return CF_OK;
}

/* The message's HINT is for who does not wait. */
static void say_waiting(const claiming *const g, const cf_error *const why)
{
    const char *const hint = strstr(why->message, "\nHINT: ");
    const size_t len = hint != NULL ? (size_t)(hint - why->message) : strlen(why->message);
    say(g, CF_LOG_INFO, "waiting up to %llu s: %.*s",
        (unsigned long long)(g->opts->wait_ms + 999) / 1000, (int)len, why->message);
}

/* Marks are read behind the lease: what is in them by now is known. */
static cf_err finish(claiming *const g, cf_claim *const ret, cf_error *const e)
{
    const cf_claim_opts *const o = g->opts;
    if (g->c.parent != NULL || g->adopt_total > 0)
        CF_TRY(cf_damage_load(g->repo, o->node, &g->c.damage, e));
    if (g->adopt_total > 0) {
        const size_t parents = g->c.parent != NULL ? 1 : 0;
        const cf_adoption_opts adoption = {
            .repo = g->repo,
            .node = o->node,
            .runs = g->uses + parents, /* what the lease names, not what did not fit */
            .total = g->uses_total - parents,
            .damage = g->c.damage,
            .log = o->log,
            .impl = o->impl,
        };
        CF_TRY(cf_adoption_new(&adoption, &g->c.adopted, e));
        cf_adoption_abort_uploads(g->c.adopted);
    }
    *ret = g->c;
    g->c = (cf_claim){0};
    return CF_OK;
}

cf_err cf_claim_take(const cf_repo *const repo, const cf_claim_opts *const opts,
                     cf_claim *const ret, cf_error *const e)
{
    const cf_world *const w = repo->world;
    const uint64_t begin_ms = w->mono_ms(w->impl);
    CF_CLEANUP(claiming_deinit) claiming g = {.repo = repo, .opts = opts};
    CF_TRY(cf_node_name_check(opts->node, e));
    for (bool told = false;; told = true) {
        cf_error why = {0};
        const cf_err err = take_once(&g, &why);
        const uint64_t passed_ms = w->mono_ms(w->impl) - begin_ms;
        if (err == CF_OK)
            break;
        cf_claim_deinit(&g.c);
        if (err != CF_ERR_LOCKED || passed_ms >= opts->wait_ms) {
            if (e != NULL)
                *e = why;
            return err;
        }
        if (!told)
            say_waiting(&g, &why);
        CF_TRY(wait_once(&g, opts->wait_ms - passed_ms, e));
    }
    return finish(&g, ret, e);
}

cf_err cf_claim_look(const cf_repo *const repo, const cf_claim_opts *const opts,
                     cf_claim *const ret, cf_error *const e)
{
    CF_CLEANUP(cf_snapshot_ids_deinit) cf_snapshot_ids ids = {0};
    CF_CLEANUP(claiming_deinit) claiming g = {.repo = repo, .opts = opts};
    CF_TRY(cf_node_name_check(opts->node, e));
    CF_TRY(choose(&g, &ids, e));
    return finish(&g, ret, e);
}
