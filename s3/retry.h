/* SPDX-License-Identifier: Apache-2.0
 *
 * Retry: may this request be tried again, and when. Pure: time, chance and quota come in, a
 * decision goes out.
 *
 * Numbers: the AWS SDKs' standard mode, specification 2.1 (our notes s3proto 2.2; vectors
 * retry/standard-retry-cases.json): delay rand(0, min(cap, base * 2^i)), base 50 ms or 1,000 ms
 * when throttled, cap 20 s; a bucket of 500 tokens for the whole client, 14 for a retry, 5 for a
 * throttled one, given back by success. Two things are ours, because a backup has time: 8 tries
 * instead of 3, and from the fourth wait on the delay grows by 4 instead of 2, so that the waits
 * reach over a server's restart (bounds 50, 100, 200, 800, 3,200, 12,800, 20,000 ms).
 */
#ifndef S3_RETRY_H
#define S3_RETRY_H

#include <stdbool.h>
#include <stdint.h>

/* Zero is the default for each field. */
typedef struct s3_retry_opts {
    uint32_t tries_max;        /* 0: 8 */
    uint32_t base_ms;          /* 0: 50 */
    uint32_t throttle_base_ms; /* 0: 1,000 */
    uint32_t cap_ms;           /* 0: 20,000 */
    uint32_t steep_from;       /* 0: 3; index of the first wait that is 4 times the one before;
                                  UINT32_MAX: never */
    uint64_t deadline_ms;      /* 0: 300,000; no attempt starts later than this after the first */
    bool retry_after_exact;  /* false; true: 2.0's rule, wait what the server says (up to cap_ms) */
    uint32_t quota_max;      /* 0: 500 */
    uint32_t retry_cost;     /* 0: 14 */
    uint32_t transport_cost; /* 0: 14; a timeout or a broken connection (2.0 has 10) */
    uint32_t throttle_cost;  /* 0: 5 */
} s3_retry_opts;

/* Makes the defaults explicit. */
s3_retry_opts s3_retry_opts_fill(s3_retry_opts o);

typedef enum s3_retry_class {
    S3_RETRY_FATAL,       /* will not heal */
    S3_RETRY_SERVER,      /* 5xx, InternalError, a digest that differed, a malformed answer */
    S3_RETRY_TRANSPORT,   /* no or half an answer */
    S3_RETRY_THROTTLE,    /* SlowDown and its relatives */
    S3_RETRY_REGION,      /* another region is named in the answer and it is usable */
    S3_RETRY_SKEW,        /* our clock differs and the answer says by how much */
    S3_RETRY_CREDENTIALS, /* expired: new ones may be had */
} s3_retry_class;

/* What happened so far to one request. */
typedef struct s3_retry_event {
    s3_retry_class class_;
    uint32_t attempt;    /* 1..: the one that has just ended */
    uint64_t elapsed_ms; /* since the first attempt began */
    bool has_retry_after;
    uint64_t retry_after_ms; /* x-amz-retry-after, milliseconds */
    uint32_t random;         /* 0..UINT32_MAX, uniform */
    uint32_t quota;          /* tokens left in the client's bucket */
    unsigned fixed;          /* bit set of (1u << s3_retry_class) already corrected once */
} s3_retry_event;

typedef enum s3_retry_action {
    S3_RETRY_STOP_FATAL,
    S3_RETRY_STOP_TRIES,
    S3_RETRY_STOP_QUOTA,
    S3_RETRY_STOP_DEADLINE,
    S3_RETRY_WAIT, /* wait_ms, then again */
    S3_RETRY_FIX,  /* correct what class_ says, then again at once; once a request and class */
} s3_retry_action;

typedef struct s3_retry_decision {
    s3_retry_action action;
    uint64_t wait_ms;
    uint32_t cost; /* tokens to take from the bucket; never more than quota */
} s3_retry_decision;

/* opts filled. */
s3_retry_decision s3_retry_decide(const s3_retry_opts *opts, const s3_retry_event *ev);

/* Tokens in the bucket after a success: the last cost comes back, or 1 when there was no retry;
 * never above quota_max.
 */
uint32_t s3_retry_refund(const s3_retry_opts *opts, uint32_t quota, uint32_t last_cost);

#endif
