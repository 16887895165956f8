/* SPDX-License-Identifier: Apache-2.0
 *
 * Up when the workers wait for much of the time, down when they hardly do; between the two the level
 * is right. Two steps up at once, since a look that falls into the moment when a part buffer became
 * free says "down".
 */
#include "pipe/adapt.h"

enum { IDLE_MUCH = 75, IDLE_SOME = 40, IDLE_NONE = 10 }; /* percent */

static int step_of(const uint64_t idle_percent)
{
    if (idle_percent >= IDLE_MUCH)
        return 2;
    if (idle_percent >= IDLE_SOME)
        return 1;
    return idle_percent < IDLE_NONE ? -1 : 0;
}

int cf_adapt_next(cf_adapt *const a, const uint64_t now_ms, const uint64_t idle_ms)
{
    a->idle_ms += idle_ms;
    if (++a->frames < CF_ADAPT_FRAMES)
        return a->level;
    const uint64_t time_ms = (now_ms - a->began_ms) * a->workers;

    if (time_ms > 0)
        a->level += step_of(a->idle_ms * 100 / time_ms);
    if (a->level < 1)
        a->level = 1;
    if (a->level > a->level_max)
        a->level = a->level_max;
    a->frames = 0;
    a->began_ms = now_ms;
    a->idle_ms = 0;
    return a->level;
}
