/* SPDX-License-Identifier: Apache-2.0
 *
 * Condition variables that wait by the monotonic clock: a clock that is set does not stretch a
 * wait.
 */
#ifndef S3_BASE_COND_H
#define S3_BASE_COND_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

/* false: the system has no room for one. Ends with pthread_cond_destroy(). */
bool cf_cond_init(pthread_cond_t *ret);
/* With the lock; cond made by cf_cond_init(). false: ms went by; may also return early. */
bool cf_cond_wait_ms(pthread_cond_t *cond, pthread_mutex_t *lock, uint64_t ms);

#endif
