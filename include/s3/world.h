/* SPDX-License-Identifier: Apache-2.0
 *
 * World: clock, random numbers, sleep, and the wish to stop. A seam: the real one is
 * cf_world_real(), tests bring their own. Members are called from any thread.
 */
#ifndef S3_WORLD_H
#define S3_WORLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct cf_world {
    int64_t (*now_utc_ms)(void *impl);                 /* since 1970-01-01T00:00:00Z; may jump */
    uint64_t (*mono_ms)(void *impl);                   /* never goes back; counts suspension */
    void (*sleep_ms)(void *impl, uint64_t ms);         /* returns early when stop is wished */
    void (*random)(void *impl, void *ret, size_t len); /* cryptographic quality */
    bool (*stopping)(void *impl);                      /* true once the user wants to stop */
    void *impl;
} cf_world;

/* The machine's own. impl is unused; stopping follows cf_world_request_stop(). Static, never freed.
 */
const cf_world *cf_world_real(void);

/* Async-signal-safe; makes every stopping() of the real world true, for good. */
void cf_world_request_stop(void);

#ifdef __cplusplus
}
#endif
#endif
