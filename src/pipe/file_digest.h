/* SPDX-License-Identifier: Apache-2.0
 *
 * Digests of one file in one pass: its SHA-256, and the MD5 that chunks and tables end with, which
 * is of all bytes before it. One thread at a time.
 */
#ifndef SRC_PIPE_FILE_DIGEST_H
#define SRC_PIPE_FILE_DIGEST_H

#include "pipe/hash_pair.h"

/* Zero it, then init; deinit is fine on a zeroed one. */
typedef struct cf_file_digest {
    bool with_md5;
    uint64_t at, md5_end; /* bytes so far; those that the MD5 is of */
    cf_hash sha256;
    cf_hash_pair pair; /* instead of it, with an MD5 */
    uint8_t md5_found[CF_MD5_LEN], md5_expected[CF_MD5_LEN];
} cf_file_digest;

/* Again: starts anew. with_md5: the last 16 of size_bytes are the MD5 of all before; what follows
 * them counts for the SHA-256 alone. Without: size_bytes is not looked at. */
CF_NODISCARD cf_err cf_file_digest_init(cf_file_digest *d, bool with_md5, uint64_t size_bytes,
                                        cf_error *e);
CF_NODISCARD cf_err cf_file_digest_update(cf_file_digest *d, cf_slice s, cf_error *e);
/* Of all bytes; md5_found and md5_expected are those of the file then, if it had its size_bytes.
 * Only init may follow. */
CF_NODISCARD cf_err cf_file_digest_end(cf_file_digest *d, uint8_t ret_sha256[CF_SHA256_LEN],
                                       cf_error *e);
void cf_file_digest_deinit(cf_file_digest *d);

#endif
