/* SPDX-License-Identifier: Apache-2.0
 *
 * Digest check: does a stream of stored bytes have the digest that its line says? Plain SHA-256, or
 * S3's composite form.
 */
#ifndef SRC_STORE_DIGEST_H
#define SRC_STORE_DIGEST_H

#include "s3/base/hash.h"
#include "store/store.h"

/* Zero it, then begin; deinit is fine on a zeroed one. */
typedef struct cf_digest_check {
    cf_stored expected;
    uint64_t bytes;     /* so far */
    uint64_t part_left; /* PARTS: of the part under way */
    cf_hash hash;       /* of all, or of the part under way */
    cf_hash parts;      /* PARTS: over the parts' digests */
} cf_digest_check;

CF_NODISCARD cf_err cf_digest_check_begin(cf_digest_check *c, const cf_stored *expected,
                                          cf_error *e); /* again: starts anew */
CF_NODISCARD cf_err cf_digest_check_add(cf_digest_check *c, cf_slice bytes, cf_error *e);
/* CF_ERR_DAMAGE: another length, another digest. */
CF_NODISCARD cf_err cf_digest_check_end(cf_digest_check *c, cf_error *e);
void cf_digest_check_deinit(cf_digest_check *c);

#endif
