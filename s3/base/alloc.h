/* SPDX-License-Identifier: Apache-2.0
 *
 * The only place that calls malloc. Memory is zeroed. Tests let the nth allocation fail.
 */
#ifndef S3_BASE_ALLOC_H
#define S3_BASE_ALLOC_H

#include <stddef.h>

#include "s3/err.h"

/* NULL when out of memory or count * size overflows. Free with cf_free(). */
void *cf_alloc(size_t count, size_t size);
/* Grow or shrink; the old memory stays valid on NULL. New bytes are not zeroed. */
void *cf_realloc(void *ptr, size_t count, size_t size);
void cf_free(void *ptr); /* NULL is fine */
char *cf_strdup(const char *text);
char *cf_strndup(const char *text, size_t len);
void cf_freep(void *pointer_to_pointer); /* for CF_CLEANUP(cf_freep) char *x */

/* How many have failed so far in this process, for libraries that do not tell theirs. */
unsigned long cf_alloc_failures(void);

/* Tests only: the nth allocation from now fails (1: the next; 0: none). Not thread-safe to change.
 */
void cf_alloc_fail_at(unsigned long nth);
unsigned long cf_alloc_count(void);

#define CF_NEW(ptr, e)                                                                             \
    do {                                                                                           \
        (ptr) = cf_alloc(1, sizeof(*(ptr)));                                                       \
        CF_ENSURE((ptr) != NULL, (e), CF_ERR_NO_MEMORY, "allocate %zu bytes", sizeof(*(ptr)));     \
    } while (0)

#endif
