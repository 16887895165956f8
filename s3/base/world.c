/* SPDX-License-Identifier: Apache-2.0
 *
 * The machine's own clock, random numbers and sleep.
 *
 * Exception to R24 (no mutable file-scope state): the stop flag, which a signal handler sets.
 * A lock-free atomic, since it is also read by other threads than the one that took the signal.
 */
#include "s3/world.h"

#include <errno.h>
#include <stdatomic.h>
#include <sys/random.h>
#include <sys/types.h>
#include <time.h>

#include "s3/base/cleanup.h"

static atomic_bool world_stop;

static int64_t world_now_utc_ms(void *impl)
{
    (void)impl;
    struct timespec t = {0};
    CF_CHECK(clock_gettime(CLOCK_REALTIME, &t) == 0);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static uint64_t world_mono_ms(void *impl)
{
    (void)impl;
    struct timespec t = {0};
    /* It counts while the machine is suspended: a lease does not wait for who sleeps. */
    CF_CHECK(clock_gettime(CLOCK_BOOTTIME, &t) == 0);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static bool world_stopping(void *impl)
{
    (void)impl;
    return atomic_load(&world_stop);
}

static void world_sleep_ms(void *impl, uint64_t ms)
{
    /* Slices: a signal may be taken by another thread, whose flag only a look can show. */
    enum { SLICE_MS = 50 };
    const uint64_t start_ms = world_mono_ms(impl);
    for (uint64_t passed_ms = 0; passed_ms < ms && !world_stopping(impl);
         passed_ms = world_mono_ms(impl) - start_ms) {
        const uint64_t left_ms = ms - passed_ms;
        const long nap_ms = left_ms < SLICE_MS ? (long)left_ms : SLICE_MS;
        const struct timespec nap = {.tv_nsec = nap_ms * 1000000};
        (void)clock_nanosleep(CLOCK_MONOTONIC, 0, &nap, /* remain= */ NULL);
    }
}

static void world_random(void *impl, void *ret, size_t len)
{
    (void)impl;
    enum {
        STEP_MAX = 256
    }; /* getrandom(2): requests up to 256 bytes are not cut short by signals */
    uint8_t *at = ret;
    while (len > 0) {
        const ssize_t n = getrandom(at, len < STEP_MAX ? len : STEP_MAX, 0);
        CF_CHECK(n > 0 ||
                 errno == EINTR); /* ids that are not random would overwrite others' objects */
        if (n > 0) {
            at += n;
            len -= (size_t)n;
        }
    }
}

static const cf_world world_real = {
    .now_utc_ms = world_now_utc_ms,
    .mono_ms = world_mono_ms,
    .sleep_ms = world_sleep_ms,
    .random = world_random,
    .stopping = world_stopping,
};

const cf_world *cf_world_real(void)
{
    return &world_real;
}

void cf_world_request_stop(void)
{
    atomic_store(&world_stop, true);
}
