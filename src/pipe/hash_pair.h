/* SPDX-License-Identifier: Apache-2.0
 *
 * SHA-256 and MD5 of the same bytes in one pass. On x86 with SHA instructions both are computed in
 * one loop, step by step beside each other: each waits for its own last result most of the time, so
 * the second costs next to nothing (docs/internals/pipe.md has the figures). Elsewhere it is
 * OpenSSL's two, one after the other.
 */
#ifndef SRC_PIPE_HASH_PAIR_H
#define SRC_PIPE_HASH_PAIR_H

#include "s3/base/hash.h"

enum { CF_HASH_PAIR_BLOCK = 64 };

/* Zero it, then init; deinit is fine on a zeroed one. */
typedef struct cf_hash_pair {
    bool at_once, md5_done;
    /* At once: */
    uint32_t md5[4], sha256[8]; /* sha256: in the order of the instructions */
    uint64_t bytes;
    uint8_t block[CF_HASH_PAIR_BLOCK]; /* the last bytes % CF_HASH_PAIR_BLOCK */
    /* Else: */
    cf_hash ssl_sha256, ssl_md5;
} cf_hash_pair;

/* Again: starts anew. plain: OpenSSL's in any case, for tests. */
CF_NODISCARD cf_err cf_hash_pair_init(cf_hash_pair *h, bool plain, cf_error *e);
CF_NODISCARD cf_err cf_hash_pair_update(cf_hash_pair *h, cf_slice s, cf_error *e);
/* Of all bytes so far; what follows is the SHA-256's alone. Once. */
CF_NODISCARD cf_err cf_hash_pair_md5(cf_hash_pair *h, uint8_t ret[CF_MD5_LEN], cf_error *e);
/* Of all bytes; only init may follow. */
CF_NODISCARD cf_err cf_hash_pair_sha256(cf_hash_pair *h, uint8_t ret[CF_SHA256_LEN], cf_error *e);
void cf_hash_pair_deinit(cf_hash_pair *h);

#endif
