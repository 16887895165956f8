/* SPDX-License-Identifier: Apache-2.0
 *
 * Waits hang from the system's clock, not from the world's: a test's clock wakes nobody up.
 */
#include "s3/base/cond.h"

#include <errno.h>
#include <time.h>

#include "s3/base/cleanup.h"

enum { MS_PER_S = 1000, NS_PER_MS = 1000000, NS_PER_S = 1000000000 };

bool cf_cond_init(pthread_cond_t *const ret)
{
    pthread_condattr_t attr;

    if (pthread_condattr_init(&attr) != 0)
        return false;
    const bool made = pthread_condattr_setclock(&attr, CLOCK_MONOTONIC) == 0 &&
                      pthread_cond_init(ret, &attr) == 0;
    (void)pthread_condattr_destroy(&attr);
    return made;
}

bool cf_cond_wait_ms(pthread_cond_t *const cond, pthread_mutex_t *const lock, const uint64_t ms)
{
    struct timespec until = {0};

    CF_CHECK(clock_gettime(CLOCK_MONOTONIC, &until) == 0); /* banned: clock_gettime: as above */
    until.tv_sec += (time_t)(ms / MS_PER_S);
    until.tv_nsec += (long)(ms % MS_PER_S) * NS_PER_MS;
    if (until.tv_nsec >= NS_PER_S) {
        until.tv_sec++;
        until.tv_nsec -= NS_PER_S;
    }
    const int bad = pthread_cond_timedwait(cond, lock, &until);
    CF_CHECK(bad == 0 || bad == ETIMEDOUT);
    return bad == 0;
}
