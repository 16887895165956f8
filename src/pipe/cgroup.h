/* SPDX-License-Identifier: Apache-2.0
 *
 * What the control group of this process may use: a container's share, not the machine's.
 */
#ifndef SRC_PIPE_CGROUP_H
#define SRC_PIPE_CGROUP_H

#include "s3/base/fs.h"

enum { CF_CGROUP_CPU_UNIT = 1000 };

typedef struct cf_cgroup {
    uint64_t cpu_milli;    /* thousandths of a processor; 0: no quota */
    uint64_t memory_bytes; /* 0: no limit */
} cf_cgroup;

/* Of version 2 and 1, the tightest of the group and those above it. root is "" for this machine; a
 * test gives a folder that holds proc/self/cgroup and sys/fs/cgroup. What cannot be read is no
 * limit. */
void cf_cgroup_look(const cf_fs *fs, const char *root, cf_cgroup *ret);

/* Pure. Zero: no limit, or no such text. */
uint64_t cf_cgroup_cpu_max(cf_slice text); /* "50000 100000\n", "max 100000\n" */
uint64_t cf_cgroup_cpu_quota(cf_slice quota, cf_slice period); /* "50000\n", "-1\n" */
uint64_t cf_cgroup_memory(
    cf_slice text); /* "max\n", bytes; version 1 says "none" by a huge number */
/* The group's path of /proc/self/cgroup; controller NULL: version 2's. false: it has none. */
bool cf_cgroup_path(cf_slice self, const char *controller, cf_slice *ret);

/* Threads worth starting of so many processors, at least 1. */
uint32_t cf_cgroup_cores(const cf_cgroup *group, uint32_t processors);
/* What --memory is when nobody says: the default, or half of the group's limit when that is less,
 * never below the minimum. Equal to the default: the group has no say. */
uint64_t cf_cgroup_memory_default(const cf_cgroup *group);

#endif
