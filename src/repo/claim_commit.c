/* SPDX-License-Identifier: Apache-2.0
 *
 * The end of a claim. With conditional create it is one PUT: a fence refuses a run that slept. Without
 * it nothing does, so a run must know that no prune can have taken what it names: nocond.pml, AWAIT.
 */
#include <stdio.h>

#include "repo/claim.h"
#include "repo/manifest.h"
#include "s3/base/cleanup.h"

enum {
    ROUNDS_MAX = 3,     /* ours: each is an hour, after which it slept again */
    NAP_MS = 60 * 1000, /* of that hour */
};

/* --- what the root names is there --- */

typedef struct presence {
    const cf_repo *repo;
    const char *node;
    cf_cursor *packs;         /* owned */
    const cf_pack_line *next; /* not yet seen; NULL: no more */
    size_t prefix_len;
} presence;

static void presence_deinit(presence *const p)
{
    cf_cursor_free(p->packs);
}

static cf_err say_gone(const char *const name, cf_error *const e)
{
    CF_FAIL(e, CF_ERR_FENCED,
            "'%s' is gone: a prune took this run for dead while it slept\n"
            "HINT: run the backup again; was this machine asleep for long?",
            name);
}

static cf_err present_add(void *const impl, const cf_store_entry *const entry, bool *const ret_stop,
                          cf_error *const e)
{
    presence *const p = impl;
    const char *const name = entry->key + p->prefix_len;
    if (p->next == NULL) {
        *ret_stop = true;
        return CF_OK;
    }
    const int order = strcmp(name, p->next->pack);
    if (order < 0)
        return CF_OK;
    if (order > 0 || entry->size_bytes != p->next->stored_bytes)
        return say_gone(p->next->pack, e);
    return cf_cursor_next_pack(p->packs, &p->next, e);
}

/* Both are sorted: one LIST for each run that has packs in it. */
static cf_err check_packs(presence *const p, cf_error *const e)
{
    char prefix[CF_KEY_LEN_MAX + 1];
    CF_TRY(cf_cursor_next_pack(p->packs, &p->next, e));
    while (p->next != NULL) {
        char run[CF_RUN_ID_LEN + 2];
        (void)snprintf(run, sizeof(run), "%.*s/", CF_RUN_ID_LEN, p->next->pack);
        cf_key_of_object(prefix, p->node, run);
        p->prefix_len = strlen(prefix) - strlen(run);
        CF_TRY(p->repo->store->ops->list(p->repo->store, prefix, /* after= */ NULL,
                                         /* delimiter= */ NULL, present_add, p, e));
        if (p->next != NULL && strncmp(p->next->pack, run, CF_RUN_ID_LEN) == 0)
            return say_gone(p->next->pack, e);
    }
    return CF_OK;
}

static cf_err check_segments(const cf_repo *const repo, const char *const node,
                             const cf_root *const root, cf_error *const e)
{
    for (size_t i = 0; i < root->segment_total; i++) {
        char key[CF_KEY_LEN_MAX + 1];
        cf_object_stat stat = {0};
        cf_key_of_object(key, node, root->segments[i].key);
        const cf_err err = repo->store->ops->head(repo->store, key, &stat, e);
        if (err == CF_ERR_NOT_FOUND)
            return say_gone(root->segments[i].key, e);
        CF_TRY(err);
    }
    return CF_OK;
}

static cf_err check_named(const cf_repo *const repo, const char *const node,
                          const cf_root *const root, cf_error *const e)
{
    CF_CLEANUP(presence_deinit) presence p = {.repo = repo, .node = node};
    CF_TRY(check_segments(repo, node, root, e));
    CF_TRY(cf_cursor_new(repo, node, root, CF_SEGMENT_PACKS, &p.packs, e));
    return check_packs(&p, e);
}

/* --- waiting --- */

/* Keeps the lease meanwhile. Ends early when it lapses again: then the hour counts for nothing. */
static cf_err wait_out(const cf_repo *const repo, const cf_claim *const c, cf_error *const e)
{
    const cf_world *const w = repo->world;
    const uint64_t begin_ms = w->mono_ms(w->impl);
    while (w->mono_ms(w->impl) - begin_ms < (uint64_t)CF_CLAIM_WAIT_S * 1000) {
        w->sleep_ms(w->impl, NAP_MS);
        CF_ENSURE(!w->stopping(w->impl), e, CF_ERR_INTERRUPTED,
                  "interrupted while it waited to commit");
        if (cf_lease_lapsed(c->lease))
            return CF_OK;
        CF_TRY(cf_lease_again(c->lease, e));
    }
    return CF_OK;
}

static bool is_alive(void *const impl)
{
    return !cf_lease_lapsed(impl) && cf_lease_check(impl, /* e= */ NULL) == CF_OK;
}

/* The lease lives, and has since nothing that the root names could be taken. */
static cf_err make_alive(const cf_repo *const repo, const cf_claim_opts *const opts,
                         const cf_claim *const c, const cf_root *const root, cf_error *const e)
{
    for (unsigned i = 0; i < ROUNDS_MAX; i++) {
        if (!cf_lease_lapsed(c->lease))
            return CF_OK;
        if (opts->log != NULL)
            opts->log(opts->impl, CF_LOG_WARN,
                      "the lease ran out while this run slept, and this store has no conditional "
                      "create: waiting an hour before the commit, until no prune can be at work "
                      "that did not see it");
        CF_TRY(cf_lease_again(c->lease, e));
        CF_TRY(wait_out(repo, c, e));
        CF_TRY(check_named(repo, opts->node, root, e));
    }
    CF_FAIL(e, CF_ERR_LOCKED,
            "the lease of run '%s' ran out %d times: no snapshot was made\n"
            "HINT: run it again on a machine that does not sleep",
            c->run.id.text, ROUNDS_MAX);
}

cf_err cf_claim_commit(const cf_repo *const repo, const cf_claim_opts *const opts,
                       cf_claim *const c, cf_root *const root, cf_error *const e)
{
    CF_TRY(cf_lease_check(c->lease, e));
    root->lease = cf_lease_number(c->lease);
    if (!repo->conditional)
        CF_TRY(make_alive(repo, opts, c, root, e));
    return cf_snapshot_commit_while(repo, opts->node, root, is_alive, c->lease, e);
}
