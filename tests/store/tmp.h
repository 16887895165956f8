/* SPDX-License-Identifier: Apache-2.0
 *
 * A folder for one test program, under $TMPDIR.
 */
#ifndef TESTS_STORE_TMP_H
#define TESTS_STORE_TMP_H

#include <ftw.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { TMP_PATH_SIZE = 512 };

static inline bool tmp_make(char ret[TMP_PATH_SIZE])
{
    const char *const base = getenv("TMPDIR"); /* a test's own: R44 bans it in the program */
    (void)snprintf(ret, TMP_PATH_SIZE, "%s/chunkferry-store-XXXXXX", base != NULL ? base : "/tmp");
    return mkdtemp(ret) != NULL;
}

static inline int tmp_remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st;
    (void)flag;
    (void)ftw;
    return remove(path);
}

static inline void tmp_remove(const char *path)
{
    (void)nftw(path, tmp_remove_one, 32, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

#endif
