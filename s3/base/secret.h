/* SPDX-License-Identifier: Apache-2.0
 *
 * Secret: bytes that no helper prints and that are wiped when they go.
 */
#ifndef S3_BASE_SECRET_H
#define S3_BASE_SECRET_H

#include "s3/err.h"
#include "s3/slice.h"

enum {
    CF_SECRET_LEN_MAX = 16 * 1024
}; /* ours: a session token has 2 KiB, a web identity token 10 KiB */

typedef struct cf_secret {
    uint8_t *data; /* owned */
    size_t len;
} cf_secret;

void cf_secret_deinit(cf_secret *s); /* wipes, frees, zeroes */
/* Replaces the content; CF_ERR_TOO_LARGE, CF_ERR_NO_MEMORY: s unchanged. */
CF_NODISCARD cf_err cf_secret_set(cf_secret *s, cf_slice value, cf_error *e);
CF_NODISCARD cf_err cf_secret_dup(cf_secret *to, const cf_secret *from, cf_error *e);
cf_slice cf_secret_reveal(
    const cf_secret *s); /* borrowed; the name is long so that grep finds it */
bool cf_secret_is_set(const cf_secret *s);
void cf_wipe(void *ptr, size_t len);

/* Is this header (lower case) or query key one whose value must never be shown? */
bool cf_redacted(cf_slice name);

#endif
