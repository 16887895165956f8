/* SPDX-License-Identifier: Apache-2.0
 *
 * One suite over every store: what src/store/store.h promises. A driver says how to get a place.
 */
#ifndef TESTS_STORE_CONFORMANCE_H
#define TESTS_STORE_CONFORMANCE_H

#include "store/store.h"

typedef struct conformance {
    const char *name;
    /* A store over a place of its own, there and empty; n differs from call to call. Freed by the
     * suite. */
    cf_store *(*open)(void *impl, unsigned n);
    /* A store over a place that is not there. */
    cf_store *(*open_absent)(void *impl);
    uint64_t part_bytes; /* a streamed put is tried at this boundary */
    cf_err
        absent_head; /* what head answers there: S3's HEAD has no body that tells bucket from key */
    unsigned race_rounds; /* how often racing threads start */
    bool ghost_folders;   /* a folder of deleted objects stays a common prefix (MinIO, versioned) */
    void *impl;
} conformance;

/* 0: all passed; else the number of failed tests. */
int conformance_run(const conformance *c);

#endif
