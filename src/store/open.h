/* SPDX-License-Identifier: Apache-2.0
 *
 * Opening the store a URL names.
 */
#ifndef SRC_STORE_OPEN_H
#define SRC_STORE_OPEN_H

#include "chunkferry/chunkferry.h"
#include "s3/base/fs.h"
#include "store/store.h"

/* part_bytes, parts_in_flight, connections: of the S3 client; 0: its defaults. The remote's own
 * connections count before these.
 * Errors: CF_ERR_USAGE for a URL or flag that is wrong, CF_ERR_CREDENTIALS. Nothing is asked of the
 * server yet. */
typedef struct cf_store_sizes {
    uint64_t part_bytes;
    uint32_t parts_in_flight;
    uint32_t connections;
} cf_store_sizes;
CF_NODISCARD cf_err cf_store_open(const cf_ctx *ctx, const cf_remote *remote,
                                  const cf_store_sizes *sizes, cf_store **ret, cf_error *e);

#endif
