/* SPDX-License-Identifier: Apache-2.0
 *
 * Does a server hold this data directory? Two signs: a flock on its checkpoints, which .NET takes
 * on every file it keeps open (not Mono before 5.x, not NFS), and a process that has a checkpoint
 * of this folder open (/proc). Source: shared reference kurrentdb.md section 6.
 */
#ifndef SRC_PROFILE_KURRENTDB_HELD_H
#define SRC_PROFILE_KURRENTDB_HELD_H

#include <stdbool.h>

#include "profile/kurrentdb/io.h"

typedef struct cf_kdb_holder {
    bool held;
    char how[96]; /* for messages: "a lock on 'writer.chk'", "process 4711 has 'writer.chk' open" */
} cf_kdb_holder;

/* dir_fd: the data directory. An exclusive lock is taken and released at once, so never ask while a
 * server may start that must not fail. */
CF_NODISCARD cf_err cf_kdb_held(cf_kdb_io *io, int dir_fd, cf_kdb_holder *ret, cf_error *e);

#endif
