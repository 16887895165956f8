/* SPDX-License-Identifier: Apache-2.0
 *
 * What the cleanup macros need at run time.
 */
#include "s3/base/cleanup.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

_Noreturn void cf_check_failed(const char *condition, const char *file, int line)
{
    (void)fprintf(stderr, "chunkferry: bug: %s:%d: check failed: %s\n", file, line, condition);
    abort();
}

void cf_fd_closep(int *fd)
{
    /* The net below an early return: the path of success closes by itself and hears of failures. */
    if (*fd >= 0)
        (void)close(*fd);
    *fd = -1;
}
