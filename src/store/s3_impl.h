/* SPDX-License-Identifier: Apache-2.0
 *
 * The parts of the S3 store share this; nobody else includes it.
 */
#ifndef SRC_STORE_S3_IMPL_H
#define SRC_STORE_S3_IMPL_H

#include "s3/s3.h"
#include "store/store.h"

typedef struct cf_s3_store {
    cf_store base;
    s3_client *client;
    const cf_world *world;
    char prefix[CF_STORE_PREFIX_LEN_MAX + 2]; /* "" or "a/b/" */
    size_t prefix_len;
} cf_s3_store;

static inline cf_s3_store *cf_s3_store_of(cf_store *s)
{
    return (cf_s3_store *)(void *)s;
}

/* s3_delete.c: as cf_store_ops says. */
CF_NODISCARD cf_err cf_s3_store_delete_many(cf_store *store, const char *const *keys,
                                            size_t key_total, const cf_delete_opts *opts,
                                            cf_error *e);

#endif
