/* SPDX-License-Identifier: Apache-2.0
 *
 * Client, inside: what the requests of one client share. Everything that changes is behind one
 * lock, which is never held during I/O.
 */
#ifndef S3_CLIENT_H
#define S3_CLIENT_H

#include <pthread.h>

#include "s3/base/cleanup.h"
#include "s3/endpoint.h"
#include "s3/http.h"
#include "s3/pool.h"
#include "s3/provider.h"
#include "s3/retry.h"
#include "s3/s3.h"
#include "s3/sigv4.h"
#include "s3/throttle.h"

struct s3_client {
    /* set once by s3_client_new() */
    const cf_world *world;
    s3_http *http;                /* owned */
    s3_provider *creds;           /* owned */
    char *bucket, *endpoint_text; /* owned; endpoint_text NULL: AWS */
    s3_addressing addressing;
    s3_retry_opts retry;
    uint64_t stall_ms;
    uint64_t part_bytes;
    void (*trace)(void *trace_impl, const s3_trace *t);
    void *trace_impl;
    s3_pool *pool; /* owned: part buffers and the threads that send them */

    pthread_mutex_t lock;  /* for all below */
    pthread_cond_t room;   /* a request ended */
    s3_endpoint endpoint;  /* host and region, corrected at most when the server says so */
    s3_sigv4_key sign_key; /* of the day; wiped at the end */
    int64_t skew_ms;       /* server - ours; 0 until a request was refused for it */
    s3_throttle throttle;
    uint32_t quota;
    s3_counts counts;
    bool
        send_md5; /* this server wants Content-MD5 with uploads: a bucket with a default retention */
    size_t delete_body_max;       /* bytes of one DeleteObjects; less after a 413 */
    int64_t server_utc_ms;        /* newest Date, 0: none */
    uint64_t server_mono_ms;      /* when it came */
    uint64_t last_words_until_ms; /* monotonic; 0: none were said yet */
};

/* For tests: the client over another transport (owned from now on, also on failure). */
CF_NODISCARD cf_err s3_client_new_over(const s3_client_opts *opts, s3_http *http, s3_client **ret,
                                       cf_error *e);

static inline void s3_client_lock(s3_client *c)
{
    (void)pthread_mutex_lock(&c->lock);
}
static inline void s3_client_unlock(s3_client *c)
{
    (void)pthread_mutex_unlock(&c->lock);
}

/* Wait for leave to start one request. CF_ERR_INTERRUPTED. */
CF_NODISCARD cf_err s3_client_enter(s3_client *c, bool ignore_stop, uint64_t *ret_epoch,
                                    cf_error *e);
void s3_client_leave(s3_client *c, uint64_t epoch, s3_throttle_result result);
/* What is left of the time for all last words together, which begins with the first; never 0. */
uint64_t s3_client_last_words_ms(s3_client *c);
/* Decide on another try, and take the tokens while nobody else can. ev's random and quota are filled
 * in. */
s3_retry_decision s3_client_decide(s3_client *c, s3_retry_event *ev);
void s3_client_refund(s3_client *c, uint32_t last_cost); /* after a success; 0: without a retry */
/* What an attempt signs with. */
void s3_client_get_state(s3_client *c, s3_endpoint *ret_endpoint, int64_t *ret_skew_ms);
/* Sign for another region from now on; an AWS host is built anew, a custom host stays.
 * CF_ERR_USAGE: no region name. */
CF_NODISCARD cf_err s3_client_set_region(s3_client *c, const char *region, cf_error *e);
void s3_client_set_skew(s3_client *c, int64_t skew_ms);
void s3_client_note_server_time(s3_client *c, int64_t server_utc_ms);
/* S3_ID_LEN random hex digits and NUL. */
void s3_client_make_id(s3_client *c, char ret[S3_ID_LEN + 1]);

CF_DEFINE_FREEP(s3_client, s3_client_free)

#endif
