/* SPDX-License-Identifier: Apache-2.0
 *
 * Pace: each way has the moment at which the next byte may pass. Who wants to move bytes takes the
 * time they need from there on and waits for its beginning.
 */
#include "s3/pace.h"

#include <pthread.h>

#include "s3/base/alloc.h"
#include "s3/base/cleanup.h"

enum {
    STEPS_PER_S = 20,
    STEP_MIN = 256,
    STEP_MAX = 1024 * 1024,
    BURST_MS = 200, /* ours: what a late thread may catch up with; 2 % of 10 s */
    NS_PER_MS = 1000000,
    NS_PER_S = 1000000000,
    WAYS = 2,
};

struct cf_pace {
    const cf_world *world;
    uint64_t rates[WAYS]; /* bytes a second; 0: no limit */
    pthread_mutex_t lock;
    uint64_t next_ns[WAYS]; /* of the monotonic clock */
};

cf_err cf_pace_new(const cf_world *world, uint64_t up_bytes_per_s, uint64_t down_bytes_per_s,
                   cf_pace **ret, cf_error *e)
{
    const uint64_t rates[WAYS] = {up_bytes_per_s, down_bytes_per_s};
    cf_pace *p = NULL;

    for (size_t i = 0; i < WAYS; i++)
        CF_ENSURE(rates[i] == 0 || rates[i] >= CF_PACE_BYTES_PER_S_MIN, e, CF_ERR_USAGE,
                  "a limit of %llu bytes a second is asked for, %d is the least",
                  (unsigned long long)rates[i], CF_PACE_BYTES_PER_S_MIN);
    CF_NEW(p, e);
    p->world = world;
    p->rates[CF_PACE_UP] = up_bytes_per_s;
    p->rates[CF_PACE_DOWN] = down_bytes_per_s;
    CF_CHECK(pthread_mutex_init(&p->lock, NULL) == 0);
    *ret = p;
    return CF_OK;
}

void cf_pace_free(cf_pace *p)
{
    if (p == NULL)
        return;
    (void)pthread_mutex_destroy(&p->lock);
    cf_free(p);
}

uint64_t cf_pace_rate(const cf_pace *p, cf_pace_way way)
{
    return p == NULL ? 0 : p->rates[way];
}

size_t cf_pace_step(const cf_pace *p, cf_pace_way way, size_t len)
{
    const uint64_t rate = cf_pace_rate(p, way);
    uint64_t step = rate / STEPS_PER_S;

    if (rate == 0)
        return len;
    step = step < STEP_MIN ? STEP_MIN : step;
    step = step > STEP_MAX ? STEP_MAX : step;
    return len < step ? len : (size_t)step;
}

/* len * 10^9 / rate without overflow: seconds and their rest. */
static uint64_t time_of(uint64_t len, uint64_t rate)
{
    return len / rate * NS_PER_S + len % rate * NS_PER_S / rate;
}

uint64_t cf_pace_wait(cf_pace *p, cf_pace_way way, size_t len)
{
    const uint64_t rate = cf_pace_rate(p, way);

    if (rate == 0 || len == 0)
        return 0;
    const cf_world *const w = p->world;
    const uint64_t began_ms = w->mono_ms(w->impl);
    const uint64_t now_ns = began_ms * NS_PER_MS;
    const uint64_t burst_ns = (uint64_t)BURST_MS * NS_PER_MS;
    const uint64_t least_ns = now_ns > burst_ns ? now_ns - burst_ns : 0;
    (void)pthread_mutex_lock(&p->lock);
    const uint64_t start_ns = p->next_ns[way] > least_ns ? p->next_ns[way] : least_ns;
    p->next_ns[way] = start_ns + time_of(len, rate);
    (void)pthread_mutex_unlock(&p->lock);
    uint64_t at_ms = began_ms;
    while (at_ms * NS_PER_MS < start_ns && !w->stopping(w->impl)) {
        w->sleep_ms(w->impl, start_ns / NS_PER_MS - at_ms + 1);
        at_ms = w->mono_ms(w->impl);
    }
    return at_ms - began_ms;
}
