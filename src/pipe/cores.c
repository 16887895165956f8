/* SPDX-License-Identifier: Apache-2.0
 *
 * How many threads are worth starting.
 */
#include <sched.h>

#include "pipe/memory_plan.h"

uint32_t cf_cores(void)
{
    /* The affinity mask, not the machine: a container's share is what counts. */
    cpu_set_t set;
    CPU_ZERO(&set);
    const int total = sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : 1;
    return total > 0 ? (uint32_t)total : 1;
}
