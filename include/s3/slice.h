/* SPDX-License-Identifier: Apache-2.0
 *
 * Slice: bytes that somebody else owns, passed by value.
 */
#ifndef S3_SLICE_H
#define S3_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct cf_slice {
    const uint8_t *ptr; /* may be NULL when len is 0 */
    size_t len;         /* bytes */
} cf_slice;

/* For printf: printf("'%.*s'", CF_SLICE_FMT(s)). Cut at INT_MAX by the caller's limits. */
#define CF_SLICE_FMT(s) (int)(s).len, (const char *)(s).ptr

static inline cf_slice cf_slice_of(const void *ptr, size_t len)
{
    cf_slice s;
    s.ptr = (const uint8_t *)ptr;
    s.len = len;
    return s;
}

static inline cf_slice cf_slice_str(const char *text)
{
    return cf_slice_of(text, text == NULL ? 0 : strlen(text));
}

static inline bool cf_slice_eq(cf_slice a, cf_slice b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

/* Order by bytes, a prefix first: < 0, 0, > 0. */
static inline int cf_slice_cmp(cf_slice a, cf_slice b)
{
    const size_t n = a.len < b.len ? a.len : b.len;
    const int c = n == 0 ? 0 : memcmp(a.ptr, b.ptr, n);
    return c != 0 ? c : (a.len > b.len) - (a.len < b.len);
}

static inline bool cf_slice_starts_with(cf_slice s, cf_slice prefix)
{
    return s.len >= prefix.len && (prefix.len == 0 || memcmp(s.ptr, prefix.ptr, prefix.len) == 0);
}

#ifdef __cplusplus
}
#endif
#endif
