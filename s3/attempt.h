/* SPDX-License-Identifier: Apache-2.0
 *
 * Attempt: one request, built, signed and exchanged once, and judged.
 */
#ifndef S3_ATTEMPT_H
#define S3_ATTEMPT_H

#include "s3/call.h"
#include "s3/verdict.h"

/* Run call once. *ret says how it ended; reply holds the answer. bodies' sha256 in hex: sha_hex.
 * Returns CF_OK when there is a verdict; an error of ours (no memory, no credentials, interrupted
 * while waiting) else.
 */
CF_NODISCARD cf_err s3_attempt_run(s3_client *c, s3_call *call, const char *sha_hex,
                                   s3_reply *reply, s3_verdict *ret, cf_error *e);

#endif
