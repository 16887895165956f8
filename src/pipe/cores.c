/* SPDX-License-Identifier: Apache-2.0
 *
 * How many threads are worth starting.
 */
#include <sched.h>

#include "pipe/cgroup.h"
#include "pipe/memory_plan.h"

uint32_t cf_cores(void)
{
    /* The affinity mask and the group's quota, not the machine: a container's share is what counts.
     */
    cpu_set_t set;
    cf_cgroup group = {0};

    CPU_ZERO(&set);
    const int total = sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : 1;
    cf_cgroup_look(cf_fs_real(), /* root= */ "", &group);
    return cf_cgroup_cores(&group, total > 0 ? (uint32_t)total : 1);
}
