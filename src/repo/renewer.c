/* SPDX-License-Identifier: Apache-2.0
 *
 * A condition variable is the clock: a stop wakes it up, so that no command waits for a renewal
 * that is not due.
 */
#include "repo/renewer.h"

#include <pthread.h>
#include <time.h>

#include "s3/base/alloc.h"
#include "s3/base/cleanup.h"

struct cf_renewer {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    pthread_t thread;
    cf_renewer_fn fn;
    void *impl;
    uint64_t wait_ms; /* the thread's own */
    bool stop;        /* under lock */
};

static void deadline_after(const uint64_t ms, struct timespec *const ret)
{
    CF_CHECK(clock_gettime(CLOCK_MONOTONIC, ret) == 0);
    ret->tv_sec += (time_t)(ms / 1000);
    ret->tv_nsec += (long)(ms % 1000) * 1000000;
    if (ret->tv_nsec >= 1000000000) {
        ret->tv_sec++;
        ret->tv_nsec -= 1000000000;
    }
}

/* true: asked to stop. */
static bool wait_stop(cf_renewer *const r, const uint64_t ms)
{
    struct timespec until = {0};
    int waited = 0;
    deadline_after(ms, &until);
    CF_CHECK(pthread_mutex_lock(&r->lock) == 0);
    while (!r->stop && waited == 0)
        waited = pthread_cond_timedwait(&r->wake, &r->lock, &until);
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
    pthread_condattr_t attr;
    CF_NEW(r, e);
    r->fn = fn;
    r->impl = impl;
    r->wait_ms = first_ms;
    CF_CHECK(pthread_mutex_init(&r->lock, NULL) == 0);
    CF_CHECK(pthread_condattr_init(&attr) == 0);
    CF_CHECK(pthread_condattr_setclock(&attr, CLOCK_MONOTONIC) == 0);
    CF_CHECK(pthread_cond_init(&r->wake, &attr) == 0);
    CF_CHECK(pthread_condattr_destroy(&attr) == 0);
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
