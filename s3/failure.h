/* SPDX-License-Identifier: Apache-2.0
 *
 * Failure: the sentence a person reads when a request has finally failed. Pure.
 */
#ifndef S3_FAILURE_H
#define S3_FAILURE_H

#include "s3/call.h"
#include "s3/endpoint.h"
#include "s3/verdict.h"

typedef struct s3_failure {
    const s3_call *call;
    const s3_verdict *verdict;
    const s3_endpoint *endpoint;
    const char *bucket;
    const char *detail; /* of a failure without an answer, or of check: what was wrong; "" */
    uint32_t tries;
    uint64_t elapsed_ms;
    s3_retry_action why; /* a STOP */
} s3_failure;

/* Fills e (when not NULL) and returns the code. */
cf_err s3_failure_set(const s3_failure *f, cf_error *e);

#endif
