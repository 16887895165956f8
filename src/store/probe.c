/* SPDX-License-Identifier: Apache-2.0
 *
 * Does one of many creates win, or all of them? Ceph RGW (20.2.4, measured) refuses the second of
 * two creates in a row everywhere, and in a versioned bucket lets every one of several at once win:
 * asking one after the other does not tell.
 */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>

#include "s3/base/cleanup.h"
#include "store/store.h"

enum { RACERS = 4, ROUNDS = 3 };

typedef struct racer {
    cf_store *s;
    const char *key;
    char id[CF_STORE_ID_LEN + 1];
    cf_err err;
    cf_error e;
    pthread_t thread;
    bool started;
} racer;

static void *racer_run(void *arg)
{
    racer *const r = arg;
    const cf_put_opts opts = {.create_only = true, .id = r->id};
    r->err = r->s->ops->put(r->s, r->key, cf_slice_str("probe\n"), &opts, /* ret= */ NULL, &r->e);
    return NULL;
}

/* Signals stay with the program's own threads; a racer without a thread runs at once. */
static void racers_run(racer *racers)
{
    sigset_t all;
    sigset_t before;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    for (size_t i = 0; i < RACERS; i++)
        racers[i].started =
            pthread_create(&racers[i].thread, /* attr= */ NULL, racer_run, &racers[i]) == 0;
    (void)pthread_sigmask(SIG_SETMASK, &before, /* ret= */ NULL);
    for (size_t i = 0; i < RACERS; i++) {
        if (racers[i].started)
            (void)pthread_join(racers[i].thread, NULL);
        else
            (void)racer_run(&racers[i]);
    }
}

static cf_err round_run(cf_store *s, const cf_world *world, unsigned *ret_winners, cf_error *e)
{
    racer racers[RACERS] = {0};
    char key[CF_STORE_ID_LEN + 16];
    char id[CF_STORE_ID_LEN + 1];
    unsigned winners = 0;
    CF_TRY(cf_store_id_make(/* opts= */ NULL, world, id, e));
    (void)snprintf(key, sizeof(key), "probe-%s", id);
    for (size_t i = 0; i < RACERS; i++) {
        CF_TRY(cf_store_id_make(/* opts= */ NULL, world, racers[i].id, e));
        racers[i].s = s;
        racers[i].key = key;
    }
    racers_run(racers);
    const char *const keys[] = {key};
    const cf_delete_opts opts = {.versions = true};
    (void)s->ops->delete_many(s, keys, 1, &opts, /* e= */ NULL);
    for (size_t i = 0; i < RACERS; i++) {
        winners += racers[i].err == CF_OK;
        if (racers[i].err == CF_OK || racers[i].err == CF_ERR_EXISTS)
            continue;
        if (e != NULL)
            *e = racers[i].e;
        return racers[i].err;
    }
    *ret_winners = winners;
    return CF_OK;
}

cf_err cf_store_probe_race(cf_store *s, const cf_world *world, bool *ret_one_wins, cf_error *e)
{
    bool versioned = false;
    unsigned winners = 1;
    const cf_err asked = s->ops->versioning(s, &versioned, /* e= */ NULL);
    for (int i = 0; i < ROUNDS && (asked != CF_OK || versioned) && winners == 1; i++)
        CF_TRY(round_run(s, world, &winners, e));
    *ret_one_wins = winners == 1;
    return CF_OK;
}
