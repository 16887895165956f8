/* SPDX-License-Identifier: Apache-2.0
 *
 * A condition variable is the clock: a stop wakes it up, so that no command waits for a renewal
 * that is not due.
 */
#include "repo/renewer.h"

#include <pthread.h>

#include "s3/base/alloc.h"
#include "s3/base/cleanup.h"
#include "s3/base/cond.h"

struct cf_renewer {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    pthread_t thread;
    cf_renewer_fn fn;
    void *impl;
    uint64_t wait_ms; /* the thread's own */
    bool stop;        /* under lock */
};

/* true: asked to stop. */
static bool wait_stop(cf_renewer *const r, const uint64_t ms)
{
    bool woken = true;
    CF_CHECK(pthread_mutex_lock(&r->lock) == 0);
    while (!r->stop && woken)
        woken = cf_cond_wait_ms(&r->wake, &r->lock, ms);
    const bool stop = r->stop;
    CF_CHECK(pthread_mutex_unlock(&r->lock) == 0);
    return stop;
}

static void *renewer_run(void *const impl)
{
    cf_renewer *const r = impl;
    while (r->wait_ms > 0 && !wait_stop(r, r->wait_ms))
        r->wait_ms = r->fn(r->impl);
    return NULL;
}

cf_err cf_renewer_start(const uint64_t first_ms, const cf_renewer_fn fn, void *const impl,
                        cf_renewer **const ret, cf_error *const e)
{
    cf_renewer *r = NULL;
    CF_NEW(r, e);
    r->fn = fn;
    r->impl = impl;
    r->wait_ms = first_ms;
    CF_CHECK(pthread_mutex_init(&r->lock, NULL) == 0);
    CF_CHECK(cf_cond_init(&r->wake));
    const int bad = pthread_create(&r->thread, NULL, renewer_run, r);
    if (bad != 0) {
        (void)pthread_cond_destroy(&r->wake);
        (void)pthread_mutex_destroy(&r->lock);
        cf_free(r);
        CF_FAIL(e, CF_ERR_NO_MEMORY, "start a thread (error %d)", bad);
    }
    *ret = r;
    return CF_OK;
}

void cf_renewer_stop(cf_renewer *const r)
{
    if (r == NULL)
        return;
    CF_CHECK(pthread_mutex_lock(&r->lock) == 0);
    r->stop = true;
    CF_CHECK(pthread_cond_signal(&r->wake) == 0);
    CF_CHECK(pthread_mutex_unlock(&r->lock) == 0);
    CF_CHECK(pthread_join(r->thread, NULL) == 0);
    (void)pthread_cond_destroy(&r->wake);
    (void)pthread_mutex_destroy(&r->lock);
    cf_free(r);
}
