/* SPDX-License-Identifier: Apache-2.0
 *
 * Throttle: how many requests of a client may be under way. A server that says SlowDown halves it,
 * success lets it grow back by one for each round of successes (AIMD). Pure; the client holds its
 * lock around the calls.
 */
#ifndef S3_THROTTLE_H
#define S3_THROTTLE_H

#include <stdbool.h>
#include <stdint.h>

typedef struct s3_throttle {
    uint32_t limit_max; /* connections_max */
    uint32_t limit;     /* 1..limit_max */
    uint32_t active;    /* under way */
    uint32_t successes; /* since the limit last changed */
    uint64_t epoch;     /* counts halvings */
} s3_throttle;

void s3_throttle_init(s3_throttle *t, uint32_t limit_max);
/* true: a request may start, and counts as active. *ret_epoch is for s3_throttle_leave(). */
bool s3_throttle_enter(s3_throttle *t, uint64_t *ret_epoch);

typedef enum s3_throttle_result {
    S3_THROTTLE_GOOD,
    S3_THROTTLE_SLOW,
    S3_THROTTLE_OTHER
} s3_throttle_result;
/* An attempt ended. SLOW halves once for all requests that were under way together: epoch tells. */
void s3_throttle_leave(s3_throttle *t, uint64_t epoch, s3_throttle_result result);

#endif
