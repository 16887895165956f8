/* SPDX-License-Identifier: Apache-2.0
 *
 * Pace: how many bytes a second may pass, one way and the other. One for the whole process: every
 * connection of every store draws on it.
 */
#ifndef S3_PACE_H
#define S3_PACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "s3/err.h"
#include "s3/world.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { CF_PACE_BYTES_PER_S_MIN = 1024 }; /* ours: below it every time-out would be about us */

typedef enum cf_pace_way { CF_PACE_UP, CF_PACE_DOWN } cf_pace_way;
typedef struct cf_pace cf_pace;

/* 0: no limit that way. world is borrowed. CF_ERR_USAGE below CF_PACE_BYTES_PER_S_MIN. */
CF_NODISCARD cf_err cf_pace_new(const cf_world *world, uint64_t up_bytes_per_s,
                                uint64_t down_bytes_per_s, cf_pace **ret, cf_error *e);
void cf_pace_free(cf_pace *p); /* NULL is fine */

/* All below: any thread; p may be NULL: no limits. */
uint64_t cf_pace_rate(const cf_pace *p, cf_pace_way way); /* bytes a second; 0: no limit */
/* How much of len to move at once, so that many connections share the rate evenly: at most a
 * twentieth of a second's worth. */
size_t cf_pace_step(const cf_pace *p, cf_pace_way way, size_t len);
/* Waits until len bytes may pass, first come, first served. Returns early when the world stops,
 * which the caller has to look at. The milliseconds waited: nobody else's fault, so no time-out's
 * business. */
uint64_t cf_pace_wait(cf_pace *p, cf_pace_way way, size_t len);

#ifdef __cplusplus
}
#endif
#endif
