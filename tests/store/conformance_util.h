/* SPDX-License-Identifier: Apache-2.0
 *
 * For tests of stores: cmocka's includes in their order, and checks that name the row that failed.
 */
#ifndef TESTS_STORE_CONFORMANCE_UTIL_H
#define TESTS_STORE_CONFORMANCE_UTIL_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "s3/base/alloc.h"
#include "s3/base/cleanup.h"
#include "s3/base/hash.h"
#include "store/store.h"

#define CHECK_ERR(title, e, expected, call)                                                        \
    do {                                                                                           \
        const cf_err check_err_ = (call);                                                          \
        if (check_err_ != (expected))                                                              \
            fail_msg("%s: %s gave %s, not %s: %s", (title), #call, cf_err_name(check_err_),        \
                     cf_err_name(expected), (e)->message);                                         \
    } while (0)
#define CHECK(title, condition)                                                                    \
    do {                                                                                           \
        if (!(condition))                                                                          \
            fail_msg("%s: not so: %s", (title), #condition);                                       \
    } while (0)

/* Bytes that differ from place to place and from seed to seed. */
static inline void fill(uint8_t *bytes, size_t len, uint32_t seed)
{
    uint32_t x = seed * 2654435761u + 1;
    for (size_t i = 0; i < len; i++) {
        x = x * 1664525u + 1013904223u;
        bytes[i] = (uint8_t)(x >> 24);
    }
}

/* The object is there and holds exactly these bytes. false without a message: usable in any thread.
 */
static inline bool holds(cf_store *s, const char *key, cf_slice expected)
{
    CF_CLEANUP(cf_buf_deinit) cf_buf b = {0};
    cf_buf_init(&b, expected.len + 1024);
    return cf_store_get_small(s, key, &b, NULL) == CF_OK && cf_slice_eq(cf_buf_slice(&b), expected);
}

static inline cf_err put_text(cf_store *s, const char *key, const char *text, cf_error *e)
{
    return s->ops->put(s, key, cf_slice_str(text), /* opts= */ NULL, /* ret= */ NULL, e);
}

/* Keys of a list, one a line; "P " before a common prefix. */
typedef struct listed {
    cf_buf text;
    size_t count;
} listed;

static inline void listed_deinit(listed *l)
{
    cf_buf_deinit(&l->text);
}

static inline cf_err listed_add(void *impl, const cf_store_entry *entry, bool *ret_stop,
                                cf_error *e)
{
    listed *const l = impl;
    (void)ret_stop;
    l->count++;
    return cf_buf_printf(&l->text, e, "%s%s\n", entry->is_prefix ? "P " : "", entry->key);
}

static inline cf_err list_into(cf_store *s, const char *prefix, const char *after,
                               const char *delimiter, listed *ret, cf_error *e)
{
    cf_buf_deinit(&ret->text);
    cf_buf_init(&ret->text, 8 * 1024 * 1024);
    ret->count = 0;
    return s->ops->list(s, prefix, after, delimiter, listed_add, ret, e);
}

#endif
