/* SPDX-License-Identifier: Apache-2.0
 *
 * Wait: how long a thread sleeps on a condition before it looks whether to stop.
 */
#ifndef S3_WAIT_H
#define S3_WAIT_H

#include <time.h>

/* 200 ms from now, for pthread_cond_timedwait(). Not the world's clock: it is the operating system
 * that waits. */
struct timespec s3_wait_slice(void);

#endif
