/* SPDX-License-Identifier: Apache-2.0
 *
 * Exclude: which names of a tree are left out. Pure.
 *
 * A pattern without '/' is held against the last component of a path, wherever it is. One with a
 * '/' at its beginning or inside is held against the whole path from the tree's top, component by
 * component. In a component '*', '?' and '[...]' are a shell's and '\' takes the next byte as it
 * is; a component '**' stands for any number of them, at the end for at least one. With a '/' at
 * its end a pattern is for directories only. A directory that is left out takes all below it along.
 */
#ifndef SRC_PROFILE_DIRECTORY_EXCLUDE_H
#define SRC_PROFILE_DIRECTORY_EXCLUDE_H

#include <stdbool.h>
#include <stddef.h>

#include "s3/base/cleanup.h"
#include "s3/err.h"

typedef struct cf_exclude cf_exclude;
/* CF_ERR_USAGE names the pattern that can never match, and why. Patterns are copied. */
CF_NODISCARD cf_err cf_exclude_new(const char *const *patterns, size_t total, cf_exclude **ret,
                                   cf_error *e);
void cf_exclude_free(cf_exclude *x); /* NULL is fine */
CF_DEFINE_FREEP(cf_exclude, cf_exclude_free)

/* path: from the top, "a/b", at most CF_PATH_LEN_MAX bytes. Bytes count, not characters. */
bool cf_exclude_matches(const cf_exclude *x, const char *path, bool is_dir);

#endif
