/* SPDX-License-Identifier: Apache-2.0
 *
 * The writers' lease. It saves work and clears conflicts between runs that are awake; the promise
 * that nothing needed is deleted hangs from the whole protocol (DESIGN section 5), which also holds
 * for a run that slept through its lease.
 *
 * Invariants: a number is created once, by a conditional PUT; its `uses` never changes; it is only
 * ever overwritten by its own run; the numbers go up.
 */
#include "repo/lease.h"

#include <pthread.h>
#include <stdio.h>

#include "repo/json.h"
#include "repo/lease_body.h"
#include "repo/lease_look.h"
#include "repo/renewer.h"
#include "s3/base/alloc.h"
#include "s3/base/cleanup.h"

enum {
    ACQUIRE_TRIES_MAX = 8,
    RETRY_PART = 5, /* a renewal that failed is tried again after a fifth of the interval */
};
static const uint64_t lease_number_max = 9999999999; /* ten digits, so that keys sort */

struct cf_lease {
    const cf_repo *repo;
    char node[CF_NODE_NAME_LEN_MAX + 1];
    char folder[CF_LEASE_FOLDER_SIZE];
    uint64_t renew_ms;
    cf_renewer *renewer;  /* owned */
    pthread_mutex_t io;   /* held while the lease is being written: a renewal, a move */
    pthread_mutex_t lock; /* of all below; never held across a request */
    cf_lease_body body;
    uint64_t number;
    uint64_t renewed_mono_ms; /* begin of the last request that wrote it */
    bool lapsed;              /* it had run out before it was written again */
    bool lost;
    char lost_why[256];
};

static void lock(pthread_mutex_t *const m)
{
    CF_CHECK(pthread_mutex_lock(m) == 0);
}

static void unlock(pthread_mutex_t *const m)
{
    CF_CHECK(pthread_mutex_unlock(m) == 0);
}

static void unlockp(pthread_mutex_t **const m)
{
    unlock(*m);
}

static uint64_t mono_ms(const cf_repo *const repo)
{
    return repo->world->mono_ms(repo->world->impl);
}

/* --- writing --- */

static cf_err put_body(const cf_repo *const repo, const char *const key,
                       const cf_lease_body *const b, const bool create_only, cf_error *const e)
{
    CF_CLEANUP(cf_buf_deinit) cf_buf text = {0};
    const cf_put_opts opts = {
        .create_only = create_only,
        /* A run that is interrupted gives its lease back: else other machines wait it out. */
        .last_words = b->ended && repo->world->stopping(repo->world->impl),
    };
    cf_buf_init(&text, CF_LEASE_LEN_MAX);
    CF_TRY(cf_lease_body_render(b, &text, e));
    CF_TRY_AS(
        repo->store->ops->put(repo->store, key, cf_buf_slice(&text), &opts, /* ret= */ NULL, e), e,
        "write lease '%s'", key);
    return CF_OK;
}

static cf_err put_number(const cf_lease *const l, const uint64_t number,
                         const cf_lease_body *const b, const bool create_only, cf_error *const e)
{
    char key[CF_KEY_LEN_MAX + 1];
    CF_ENSURE(number <= lease_number_max, e, CF_ERR_DAMAGE,
              "the leases of '%s' are used up: %llu is the last number", l->node,
              (unsigned long long)lease_number_max);
    cf_key_claim(key, l->node, l->folder, number, l->repo->conditional ? NULL : &b->run);
    return put_body(l->repo, key, b, create_only, e);
}

static void set_lost(cf_lease *const l, const char *const why)
{
    lock(&l->lock);
    l->lost = true;
    (void)snprintf(l->lost_why, sizeof(l->lost_why), "%s", why);
    unlock(&l->lock);
}

/* Somebody's that ours gives way to: a higher number, or (where a number can have two) ours under a
 * lower run. */
static cf_err find_winner(const cf_lease *const l, const uint64_t number, cf_lease_name *const ret,
                          cf_error *const e)
{
    cf_lease_view v = {0};
    *ret = (cf_lease_name){0};
    CF_TRY(cf_lease_list(l->repo, l->node, l->folder, number, &v, e));
    for (size_t i = 0; i < v.total; i++) {
        const cf_lease_name *const n = &v.newest[i];
        if (n->number > number ||
            (n->number == number && n->run.text[0] != '\0' &&
             strcmp(n->run.text, l->body.run.text) < 0)) /* body.run never changes */
            *ret = *n;
    }
    return CF_OK;
}

static uint64_t ttl_ms(const cf_lease *const l)
{
    return (uint64_t)l->body.ttl_s * 1000; /* never changes */
}

/* One renewal: look for one above ours, then overwrite our own. */
static cf_err renew(cf_lease *const l, cf_error *const e)
{
    cf_lease_name above = {0};
    char why[256];
    lock(&l->lock);
    const cf_lease_body body = l->body;
    const uint64_t number = l->number;
    unlock(&l->lock);
    CF_TRY(find_winner(l, number, &above, e));
    if (above.number > 0) {
        (void)snprintf(why, sizeof(why), "somebody took lease %llu, above our %llu",
                       (unsigned long long)above.number, (unsigned long long)number);
        set_lost(l, why);
        return CF_OK;
    }
    const uint64_t begin_ms = mono_ms(l->repo);
    CF_TRY(put_number(l, number, &body, /* create_only= */ false, e));
    lock(&l->lock);
    /* By its end: it may have been on its way while the lease ran out. */
    l->lapsed = l->lapsed || mono_ms(l->repo) - l->renewed_mono_ms > ttl_ms(l);
    l->renewed_mono_ms = begin_ms;
    unlock(&l->lock);
    return CF_OK;
}

static uint64_t renew_on_thread(void *const impl)
{
    cf_lease *const l = impl;
    lock(&l->io);
    const cf_err err =
        renew(l, /* e= */ NULL); /* cf_lease_check() tells when it has failed for too long */
    lock(&l->lock);
    const bool lost = l->lost;
    unlock(&l->lock);
    unlock(&l->io);
    if (lost)
        return 0;
    return err == CF_OK || l->renew_ms < RETRY_PART ? l->renew_ms : l->renew_ms / RETRY_PART;
}

/* --- the calls --- */

static const char *folder_of(const cf_lease_opts *const o)
{
    return o->folder != NULL ? o->folder : "leases";
}

static void lease_free(cf_lease *const l)
{
    (void)pthread_mutex_destroy(&l->io);
    (void)pthread_mutex_destroy(&l->lock);
    cf_free(l);
}

static cf_err put_first(cf_lease *const l, const uint64_t number, cf_error *const e)
{
    cf_lease_name winner = {0};
    CF_TRY(l->repo->store->ops->now_utc_ms(l->repo->store, &l->body.since_utc_ms, e));
    l->renewed_mono_ms = mono_ms(l->repo);
    CF_TRY(put_number(l, number, &l->body, /* create_only= */ true, e));
    l->number = number;
    if (l->repo->conditional)
        return CF_OK;
    /* Two may have made one number: a second look, and the lower run has it. */
    CF_TRY(find_winner(l, number, &winner, e));
    if (winner.number == 0)
        return CF_OK;
    l->body.ended = true;
    (void)put_number(l, number, &l->body, /* create_only= */ false, /* e= */ NULL);
    CF_FAIL(e, CF_ERR_EXISTS, "run '%s' took lease %llu", winner.run.text,
            (unsigned long long)winner.number);
}

static void lease_freep(cf_lease **const l)
{
    if (*l != NULL)
        lease_free(*l);
}

static void set_uses(cf_lease_body *const b, const cf_run_id *const uses, const size_t total)
{
    CF_CHECK(total <= CF_LEASE_USES_MAX);
    memset(b->uses, 0, sizeof(b->uses));
    if (total > 0)
        memcpy(b->uses, uses, total * sizeof(*uses));
    b->uses_total = total;
}

cf_err cf_lease_take(const cf_repo *const repo, const cf_lease_opts *const opts,
                     const cf_lease_view *const view, cf_lease **const ret, cf_error *const e)
{
    CF_CLEANUP(lease_freep) cf_lease *l = NULL;
    CF_TRY(cf_node_name_check(opts->run->node, e));
    CF_NEW(l, e);
    CF_CHECK(pthread_mutex_init(&l->io, NULL) == 0);
    CF_CHECK(pthread_mutex_init(&l->lock, NULL) == 0);
    l->repo = repo;
    (void)snprintf(l->node, sizeof(l->node), "%s", opts->run->node);
    (void)snprintf(l->folder, sizeof(l->folder), "%s", folder_of(opts));
    l->renew_ms = opts->renew_ms != 0 ? opts->renew_ms : (uint64_t)CF_LEASE_RENEW_S * 1000;
    l->body.run = opts->run->id;
    set_uses(&l->body, opts->uses, opts->uses_total);
    l->body.ttl_s = opts->ttl_s != 0 ? opts->ttl_s : CF_LEASE_TTL_S;
    cf_owner_self(&l->body.owner);
    CF_TRY(put_first(l, (view->highest > opts->after ? view->highest : opts->after) + 1, e));
    const cf_err err = cf_renewer_start(l->renew_ms, renew_on_thread, l, &l->renewer, e);
    if (err != CF_OK) { /* taken, and no thread to keep it: give it back */
        l->body.ended = true;
        (void)put_number(l, l->number, &l->body, /* create_only= */ false, /* e= */ NULL);
        return err;
    }
    *ret = CF_STEAL(l);
    return CF_OK;
}

cf_err cf_lease_acquire(const cf_repo *const repo, const cf_lease_opts *const opts,
                        cf_lease **const ret, cf_error *const e)
{
    CF_TRY(cf_node_name_check(opts->run->node, e));
    for (unsigned i = 0; i < ACQUIRE_TRIES_MAX; i++) {
        cf_lease_view view = {0};
        CF_TRY(cf_lease_look(repo, opts->run->node, folder_of(opts), opts->after, &view, e));
        const cf_err err = cf_lease_take(repo, opts, &view, ret, e);
        if (err != CF_ERR_EXISTS)
            return err;
    }
    CF_FAIL(e, CF_ERR_LOCKED,
            "others took the lease of '%s' %d times while this run looked\nHINT: try again later",
            opts->run->node, ACQUIRE_TRIES_MAX);
}

cf_err cf_lease_move(cf_lease *const l, const cf_run_id *const uses, const size_t uses_total,
                     cf_error *const e)
{
    CF_TRY(cf_lease_check(l, e));
    lock(&l->io);
    CF_CLEANUP(unlockp) pthread_mutex_t *io = &l->io;
    CF_CHECK(io != NULL);
    cf_lease_body old = l->body; /* only written with io held */
    cf_lease_body body = old;
    const uint64_t number = l->number;
    set_uses(&body, uses, uses_total);
    const uint64_t begin_ms = mono_ms(l->repo);
    const cf_err err = put_number(l, number + 1, &body, /* create_only= */ true, e);
    if (err == CF_ERR_EXISTS) {
        set_lost(l, "somebody took the number above ours");
        CF_FAIL(e, CF_ERR_LOCKED,
                "the lease of run '%s' is lost: somebody took lease %llu\n"
                "HINT: run it again; was this machine asleep for long?",
                body.run.text, (unsigned long long)number + 1);
    }
    CF_TRY(err);
    lock(&l->lock);
    l->body = body;
    l->number = number + 1;
    l->renewed_mono_ms = begin_ms;
    unlock(&l->lock);
    /* Only the highest number excludes. If this fails, the old one protects its `uses` for longer
     * than it must. */
    old.ended = true;
    (void)put_number(l, number, &old, /* create_only= */ false, /* e= */ NULL);
    return CF_OK;
}

uint64_t cf_lease_number(const cf_lease *const l)
{
    return l->number; /* changed by cf_lease_move() only, on the same thread */
}

cf_err cf_lease_check(cf_lease *const l, cf_error *const e)
{
    char why[sizeof(l->lost_why)];
    lock(&l->lock);
    const bool lost = l->lost;
    const uint64_t renewed_mono_ms = l->renewed_mono_ms;
    memcpy(why, l->lost_why, sizeof(why));
    unlock(&l->lock);
    CF_ENSURE(!lost, e, CF_ERR_LOCKED, "the lease of run '%s' is lost: %s\nHINT: run it again",
              l->body.run.text, why);
    const uint64_t age_ms = mono_ms(l->repo) - renewed_mono_ms;
    CF_ENSURE(age_ms <= ttl_ms(l) || !l->repo->conditional, e, CF_ERR_LOCKED,
              "the lease of run '%s' is lost: no renewal got through for %llu s, more than %u "
              "s\nHINT: run it again "
              "when the store answers",
              l->body.run.text, (unsigned long long)age_ms / 1000, (unsigned)l->body.ttl_s);
    return CF_OK;
}

bool cf_lease_lapsed(cf_lease *const l)
{
    lock(&l->lock);
    const bool lapsed = l->lapsed || mono_ms(l->repo) - l->renewed_mono_ms > ttl_ms(l);
    unlock(&l->lock);
    return lapsed;
}

cf_err cf_lease_again(cf_lease *const l, cf_error *const e)
{
    lock(&l->io);
    CF_CLEANUP(unlockp) pthread_mutex_t *io = &l->io;
    CF_CHECK(io != NULL);
    CF_TRY(renew(l, e));
    CF_TRY(cf_lease_check(l, e));
    lock(&l->lock);
    l->lapsed = false;
    unlock(&l->lock);
    return CF_OK;
}

static cf_err lease_end(cf_lease *const l, cf_error *const e)
{
    cf_renewer_stop(l->renewer);
    l->renewer = NULL;
    l->body.ended = true;
    const cf_err err = put_number(l, l->number, &l->body, /* create_only= */ false, e);
    lease_free(l);
    return err;
}

cf_err cf_lease_release(cf_lease *const l, cf_error *const e)
{
    CF_TRY_AS(lease_end(l, e), e, "release the lease (it runs out by itself)");
    return CF_OK;
}

void cf_lease_abandon(cf_lease *const l)
{
    if (l != NULL)
        (void)lease_end(l, /* e= */ NULL);
}
