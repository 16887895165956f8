/* SPDX-License-Identifier: Apache-2.0
 *
 * A world with a deadline a step, and clocks that are fine enough to measure with.
 */
#include <sys/resource.h>
#include <time.h>

#include "bench/bench_inner.h"
#include "s3/base/cond.h"

static int64_t bench_now_utc_ms(void *const impl)
{
    const cf_bench_world *const w = impl;

    return w->inner->now_utc_ms(w->inner->impl);
}

static uint64_t bench_mono_ms(void *const impl)
{
    const cf_bench_world *const w = impl;

    return w->inner->mono_ms(w->inner->impl);
}

static bool bench_stopping(void *const impl)
{
    cf_bench_world *const w = impl;
    const uint64_t deadline = atomic_load(&w->deadline_mono_ms);

    if (deadline != 0 && bench_mono_ms(impl) >= deadline)
        return true;
    return !atomic_load(&w->cleaning) && w->inner->stopping(w->inner->impl);
}

/* The inner world does not sleep any more once the user wants to stop; what deletes then must still
 * wait between two tries. */
static void bench_sleep_ms(void *const impl, const uint64_t ms)
{
    enum { SLICE_MS = 50 };
    cf_bench_world *const w = impl;
    const uint64_t until = bench_mono_ms(impl) + ms;

    for (uint64_t now = bench_mono_ms(impl); now < until && !bench_stopping(impl);
         now = bench_mono_ms(impl)) {
        const uint64_t nap = until - now < SLICE_MS ? until - now : SLICE_MS;

        if (!w->inner->stopping(w->inner->impl)) {
            w->inner->sleep_ms(w->inner->impl, nap);
            continue;
        }
        (void)pthread_mutex_lock(&w->lock);
        (void)cf_cond_wait_ms(&w->nobody, &w->lock, nap);
        (void)pthread_mutex_unlock(&w->lock);
    }
}

static void bench_random(void *const impl, void *const ret, const size_t len)
{
    const cf_bench_world *const w = impl;

    w->inner->random(w->inner->impl, ret, len);
}

cf_err cf_bench_world_init(cf_bench_world *const w, const cf_world *const inner, cf_error *const e)
{
    w->inner = inner;
    w->world = (cf_world){.now_utc_ms = bench_now_utc_ms,
                          .mono_ms = bench_mono_ms,
                          .sleep_ms = bench_sleep_ms,
                          .random = bench_random,
                          .stopping = bench_stopping,
                          .impl = w};
    w->has_lock = pthread_mutex_init(&w->lock, /* attr= */ NULL) == 0;
    w->has_cond = w->has_lock && cf_cond_init(&w->nobody);
    CF_ENSURE(w->has_cond, e, CF_ERR_NO_MEMORY, "make a lock");
    return CF_OK;
}

void cf_bench_world_deinit(cf_bench_world *const w)
{
    if (w->has_cond)
        (void)pthread_cond_destroy(&w->nobody);
    if (w->has_lock)
        (void)pthread_mutex_destroy(&w->lock);
    w->has_cond = w->has_lock = false;
}

void cf_bench_world_allow(cf_bench_world *const w, const uint64_t ms)
{
    atomic_store(&w->deadline_mono_ms, bench_mono_ms(w) + ms);
}

bool cf_bench_user_stops(const cf_bench_world *const w)
{
    return w->inner->stopping(w->inner->impl);
}

uint64_t cf_bench_now_us(void)
{
    struct timespec t = {0};

    CF_CHECK(clock_gettime(CLOCK_MONOTONIC, &t) == 0); /* banned: clock_gettime: to measure with */
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static double cpu_s(const int who)
{
    struct rusage u = {0};

    CF_CHECK(getrusage(who, &u) == 0);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

double cf_bench_thread_cpu_s(void)
{
    return cpu_s(RUSAGE_THREAD);
}

double cf_bench_process_cpu_s(void)
{
    return cpu_s(RUSAGE_SELF);
}
