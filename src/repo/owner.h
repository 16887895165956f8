/* SPDX-License-Identifier: Apache-2.0
 *
 * Owner: which process holds a lease, so that a dead one's lease on the same machine need not be
 * waited for.
 */
#ifndef SRC_REPO_OWNER_H
#define SRC_REPO_OWNER_H

#include <stdbool.h>
#include <stdint.h>

enum { CF_OWNER_WORD_LEN_MAX = 64 };

typedef struct cf_lease_owner {
    char host[CF_OWNER_WORD_LEN_MAX + 1]; /* for people only */
    char machine[CF_OWNER_WORD_LEN_MAX +
                 1];                      /* /etc/machine-id; "" when unknown, like the next two */
    char boot[CF_OWNER_WORD_LEN_MAX + 1]; /* /proc/sys/kernel/random/boot_id */
    char pid_ns[CF_OWNER_WORD_LEN_MAX +
                1]; /* /proc/self/ns/pid: containers of one machine count their processes apart */
    uint32_t pid;
    uint64_t start_ticks; /* since boot, /proc/<pid>/stat field 22; 0: unknown */
} cf_lease_owner;

/* This process. */
void cf_owner_self(cf_lease_owner *ret);
/* true only when it is certain: the same machine, boot and process namespace as self, all known,
 * and no such process, or another one (a later start) with its number, or one that has ended and
 * was not waited for. */
bool cf_owner_is_dead(const cf_lease_owner *o, const cf_lease_owner *self);

#endif
