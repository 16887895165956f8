/* SPDX-License-Identifier: Apache-2.0
 *
 * What a server's error means: its code (or, without one, the status) to a cf_err and a class that
 * says what the request layer may do about it. A table and a fallback; pure, any thread.
 *
 * Source: AWS S3 API reference "Error responses"; the retry lists of the SDKs (s3proto.md 2.1);
 * minio and Ceph names where they differ.
 */
#ifndef S3_CODES_H
#define S3_CODES_H

#include "s3/err.h"
#include "s3/slice.h"

typedef enum s3_code_class {
    S3_CODE_FINAL,       /* another try would get the same answer */
    S3_CODE_THROTTLE,    /* wait long, send less */
    S3_CODE_TRANSIENT,   /* wait, try again */
    S3_CODE_INTEGRITY,   /* the bytes were damaged on the way: try again, few times */
    S3_CODE_CONFLICT,    /* another request was faster: try again (Complete: the whole upload) */
    S3_CODE_CREDENTIALS, /* expired: load them anew, once */
    S3_CODE_SKEW,        /* clock: correct by the answer's Date, once */
    S3_CODE_SKEW_MAYBE,  /* a wrong key, or a wrong clock: only the answer's Date can tell */
    S3_CODE_REGION,      /* sign for another region, once */
} s3_code_class;

typedef struct s3_code {
    const char *name; /* as servers write it, static; NULL: a status without a known code */
    cf_err err;
    s3_code_class code_class;
} s3_code;

/* The row of a code, NULL when unknown. Static. Case counts. */
const s3_code *s3_code_find(cf_slice name);

/* The row of a code; for an unknown or empty one by status alone (HEAD has no body): 5xx and 408,
 * 429, 499, 509, 520 are worth another try, other 4xx are final. http_status 0: no status. */
s3_code s3_code_classify(cf_slice name, int http_status);

/* For tests: all rows, sorted by name. */
const s3_code *s3_code_rows(size_t *ret_total);

#endif
