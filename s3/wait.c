/* SPDX-License-Identifier: Apache-2.0
 *
 * Wait: a point in time a slice ahead.
 */
#include "s3/wait.h"

enum { WAIT_SLICE_MS = 200, NS_PER_MS = 1000000, NS_PER_S = 1000000000 };

struct timespec s3_wait_slice(void)
{
    struct timespec until;

    /* The system's clock is what conditions wait by. */
    (void)clock_gettime(CLOCK_REALTIME, &until); /* banned: not the world's */
    until.tv_nsec += (long)WAIT_SLICE_MS * NS_PER_MS;
    until.tv_sec += until.tv_nsec / NS_PER_S;
    until.tv_nsec %= NS_PER_S;
    return until;
}
