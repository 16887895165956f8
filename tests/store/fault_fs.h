/* SPDX-License-Identifier: Apache-2.0
 *
 * The real filesystem with a fault at its nth call: refused before anything happens, or done and
 * then the answer lost.
 */
#ifndef TESTS_STORE_FAULT_FS_H
#define TESTS_STORE_FAULT_FS_H

#include <stdatomic.h>

#include "s3/base/fs.h"

typedef struct fault_fs {
    cf_fs fs; /* hand out &fs */
    atomic_ulong calls;
    unsigned long fail_at; /* 0: never; n: the nth call from the last fault_fs_arm() */
    cf_err code;
    bool after; /* done, then told as failed; not for calls that give a descriptor */
    const char
        *only; /* NULL, or the one member that fails: "pwrite"; fail_at counts its calls only */
    const char *failed; /* the member that was made to fail; NULL: none yet */
} fault_fs;

void fault_fs_init(fault_fs *f);
void fault_fs_arm(fault_fs *f, unsigned long fail_at, cf_err code, bool after, const char *only);

#endif
