/* SPDX-License-Identifier: Apache-2.0
 *
 * Call: one S3 request from its description to its final answer. The only owner of time and tries:
 * operations describe and interpret, they never loop over attempts, and nothing above s3/ retries.
 *
 * Invariant: each attempt is signed anew, with the credentials, clock offset, region and host of
 * that moment.
 */
#ifndef S3_CALL_H
#define S3_CALL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "s3/buf.h"
#include "s3/err.h"
#include "s3/http.h"
#include "s3/s3.h"

enum {
    S3_CALL_PARAM_TOTAL_MAX = 8,
    S3_CALL_HEADER_TOTAL_MAX = 8,
    S3_SMALL_BODY_MAX = 64 * 1024, /* ours: answers of operations that say little */
};

typedef struct s3_call s3_call;
typedef struct s3_reply s3_reply;

struct s3_call {
    const char *operation; /* "PutObject": for messages and the trace */
    const char *method;
    const char *key;                         /* NULL: the bucket itself */
    s3_pair params[S3_CALL_PARAM_TOTAL_MAX]; /* any order, not encoded; an empty value becomes
                                                "name=" */
    size_t param_total;
    s3_pair headers[S3_CALL_HEADER_TOTAL_MAX]; /* lower case; besides host, x-amz-date and what
                                                  signing adds */
    size_t header_total;
    cf_slice body;              /* borrowed until the call is over */
    const uint8_t *body_sha256; /* NULL: computed once */
    size_t answer_max;          /* bytes of a good answer that are kept; 0: S3_SMALL_BODY_MAX */
    uint32_t stall_factor;      /* 0: 1; times the client's stall_timeout_ms */
    bool is_upload; /* the body is an object's: where the server asks for it, with Content-MD5 */
    bool conflict_is_final; /* 409 is not tried again: the caller must start over */
    bool lingers;    /* under way when the wish to stop comes, it gets a moment more: what it makes
                        would be left behind unknown */
    bool last_words; /* sent although world->stopping(): abort of an upload; no retries then */
    /* All three may be NULL. prepare: before each attempt, may change params and headers.
     * stream: takes the body of a 2xx instead of reply->body; an error of it is retried unless it
     * sets call->stop. check: looks at a whole 2xx (interpret it there); an error of it is retried
     * unless it sets call->stop. progressed: true when the attempt that broke still got on: the
     * tries are counted anew. */
    cf_err (*prepare)(void *impl, s3_call *call, cf_error *e);
    cf_err (*stream)(void *impl, s3_call *call, const s3_http_answer *a, cf_slice bytes,
                     cf_error *e);
    cf_err (*check)(void *impl, s3_call *call, s3_reply *reply, cf_error *e);
    bool (*progressed)(void *impl);
    void *impl;
    bool stop;
};

/* The last attempt's answer. Zero it; s3_reply_deinit() is fine on a zeroed one. */
struct s3_reply {
    s3_http_answer http;
    cf_buf body;
    uint32_t tries;
    uint64_t cred_generation; /* of the keys the last attempt was signed with */
    uint64_t queued_ms; /* of all attempts: waited for a place among the client's own requests, and
                           for the pace: no time of the deadline's */
    /* Some attempt may have been carried out at the server without a good answer reaching us: a
     * lost or broken answer, or a 5xx. */
    bool maybe_done;
};
void s3_reply_deinit(s3_reply *r);

void s3_call_param(s3_call *call, const char *name, const char *value);  /* borrowed */
void s3_call_header(s3_call *call, const char *name, const char *value); /* borrowed */

/* The final answer: CF_OK for a 2xx that passed check. Else e tells the operation, the key, what
 * the server said, the tries, the request id and a hint, and reply->http.status is the last status
 * (0: none). Errors: those of codes.h; CF_ERR_NETWORK, CF_ERR_TIMEOUT, CF_ERR_TLS, CF_ERR_PROTOCOL,
 * CF_ERR_INTERRUPTED, CF_ERR_CREDENTIALS, CF_ERR_NO_MEMORY, and what prepare, stream or check
 * return. Threads: any number at once. Waits while the client's concurrency limit is reached. */
CF_NODISCARD cf_err s3_call_run(s3_client *c, s3_call *call, s3_reply *reply, cf_error *e);

#endif
