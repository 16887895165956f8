/* SPDX-License-Identifier: Apache-2.0
 *
 * Verdict: what one attempt's end means. Pure: status, headers, body and the transport's end in;
 * error code, class of retry and corrections out.
 */
#ifndef S3_VERDICT_H
#define S3_VERDICT_H

#include "s3/endpoint.h"
#include "s3/err.h"
#include "s3/http.h"
#include "s3/retry.h"

enum {
    S3_SERVER_TEXT_SIZE = 400,
    S3_REQUEST_ID_SIZE = 64,
    S3_SKEW_MIN_MS = 4 * 60 * 1000 /* smithy-kotlin */
};

/* What the attempt was, as far as judging needs it. */
typedef struct s3_verdict_opts {
    bool is_head;          /* no body: the status must do */
    bool is_bucket;        /* no key: 404 is the bucket */
    bool is_create_bucket; /* IllegalLocationConstraintException is final */
    bool error_in_200;
    bool conflict_is_final;
    const char *region; /* that the attempt was signed for */
    int64_t our_utc_ms; /* when the answer came, by the clock that signed: a Date is as late */
} s3_verdict_opts;

typedef struct s3_verdict {
    cf_err err; /* CF_OK: a 2xx without an error inside */
    s3_retry_class class_;
    s3_http_end end;
    int status;
    char s3_code[CF_ERROR_CODE_LEN_MAX]; /* "" */
    char text[S3_SERVER_TEXT_SIZE];      /* the server's message, cut, without control characters */
    char request_id[S3_REQUEST_ID_SIZE]; /* "" */
    char region[S3_REGION_LEN_MAX + 1];  /* for S3_RETRY_REGION */
    char location[S3_SERVER_TEXT_SIZE];  /* of a redirect, "" */
    int64_t server_utc_ms;               /* Date or <ServerTime>; 0: none */
    bool has_retry_after;
    uint64_t retry_after_ms;
    bool is_html; /* a page of a proxy or a captive portal */
} s3_verdict;

/* A whole answer (a->end is S3_HTTP_END_ANSWER); body: its bytes, maybe cut. */
void s3_verdict_of_answer(const s3_verdict_opts *o, const s3_http_answer *a, cf_slice body,
                          s3_verdict *ret);
/* No whole answer; err is what the transport returned. */
void s3_verdict_of_failure(const s3_http_answer *a, cf_err err, s3_verdict *ret);

#endif
