/* SPDX-License-Identifier: Apache-2.0
 *
 * SHA-256 and MD5 over OpenSSL's EVP. MD5 is here because servers and nodes use it as a checksum;
 * nothing trusts it for more.
 */
#ifndef S3_BASE_HASH_H
#define S3_BASE_HASH_H

#include "s3/err.h"
#include "s3/slice.h"

enum {
    CF_SHA256_LEN = 32,
    CF_MD5_LEN = 16,
    CF_SHA256_HEX_SIZE = 65, /* with NUL */
    CF_MD5_HEX_SIZE = 33,
};

typedef enum cf_hash_kind { CF_HASH_SHA256, CF_HASH_MD5 } cf_hash_kind;

/* A running hash. Zero it, then cf_hash_init; deinit is fine on a zeroed one. */
typedef struct cf_hash {
    void *ctx; /* EVP_MD_CTX, owned */
    cf_hash_kind kind;
} cf_hash;

CF_NODISCARD cf_err cf_hash_init(cf_hash *h, cf_hash_kind kind,
                                 cf_error *e); /* again: starts anew */
CF_NODISCARD cf_err cf_hash_update(cf_hash *h, cf_slice s, cf_error *e);
CF_NODISCARD cf_err cf_hash_final(cf_hash *h, uint8_t *ret_digest,
                                  cf_error *e); /* 32 or 16 bytes */
void cf_hash_deinit(cf_hash *h);

CF_NODISCARD cf_err cf_sha256(cf_slice s, uint8_t ret[CF_SHA256_LEN], cf_error *e);
CF_NODISCARD cf_err cf_md5(cf_slice s, uint8_t ret[CF_MD5_LEN], cf_error *e);
CF_NODISCARD cf_err cf_hmac_sha256(cf_slice key, cf_slice s, uint8_t ret[CF_SHA256_LEN],
                                   cf_error *e);

/* Lower-case hex and NUL: ret has 2 * s.len + 1 bytes. */
void cf_hex_render(cf_slice s, char *ret);
/* false unless text is exactly 2 * len hex digits (either case). */
bool cf_hex_parse(cf_slice text, uint8_t *ret, size_t len);
/* Standard base64 with padding and NUL: ret has 4 * ((len + 2) / 3) + 1 bytes. */
void cf_base64_render(cf_slice s, char *ret);
/* false when malformed or longer than cap. */
bool cf_base64_parse(cf_slice text, uint8_t *ret, size_t cap, size_t *ret_len);

#endif
