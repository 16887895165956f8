/* SPDX-License-Identifier: Apache-2.0
 *
 * HTTP seam: one request out, one answer in. The real transport is s3_http_curl_new(); tests script
 * their own.
 *
 * Invariant: the transport neither retries, follows redirects, decodes bodies nor adds a header
 * that is signed. What it is given goes on the wire as it is. (libcurl alone sends a request a
 * second time, when an idle connection turns out to be dead before any byte of an answer came: a
 * body must be readable again, and a caller must not take "sent once" for granted.)
 */
#ifndef S3_HTTP_H
#define S3_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "s3/buf.h"
#include "s3/err.h"
#include "s3/slice.h"
#include "s3/uri.h"
#include "s3/world.h"

enum {
    S3_HTTP_HEAD_MAX =
        64 * 1024, /* ours: all header lines of one answer; S3 allows 8 KiB in a request */
    S3_HTTP_EXPECT_MIN = 1024 * 1024, /* bytes of body from which "Expect: 100-continue" is sent: a
                                         refusal costs no upload */
};

/* Where an exchange ended. Decides whether the server can have acted, and whether to try again. */
typedef enum s3_http_end {
    S3_HTTP_END_ANSWER,     /* a whole answer, whatever its status */
    S3_HTTP_END_NAME,       /* the host name was not found: nothing was sent */
    S3_HTTP_END_CONNECT,    /* no connection: nothing was sent */
    S3_HTTP_END_TLS_VERIFY, /* the certificate was refused: nothing was sent, will not heal */
    S3_HTTP_END_TLS,        /* the handshake failed: nothing was sent */
    S3_HTTP_END_BROKEN,     /* reset, short answer, malformed answer */
    S3_HTTP_END_STALLED,    /* not a byte for stall_ms */
    S3_HTTP_END_STOPPED,    /* world->stopping() */
    S3_HTTP_END_SINK,       /* on_body returned an error */
    S3_HTTP_END_LOCAL,      /* out of memory, bad argument: our side */
} s3_http_end;

/* Zero it, s3_http_answer_init(), perform, s3_http_answer_deinit(). */
typedef struct s3_http_answer {
    s3_http_end end;
    int status;  /* 0: no status line came */
    cf_buf head; /* "name: value\n" lines of the last head; names in lower case */
    uint64_t bytes_sent, bytes_received; /* of bodies */
    uint64_t paced_ms;                   /* waited for the pace; sum over all exchanges */
} s3_http_answer;

void s3_http_answer_init(s3_http_answer *a);
void s3_http_answer_deinit(s3_http_answer *a);
/* Forget the head and the status; counts stay. */
void s3_http_answer_clear(s3_http_answer *a);
/* Append a header line as it came ("Name: value\r\n"). For transports. CF_ERR_PROTOCOL above
 * S3_HTTP_HEAD_MAX. */
CF_NODISCARD cf_err s3_http_answer_add(s3_http_answer *a, cf_slice line, cf_error *e);
/* First value of a header (name in lower case), trimmed; an empty slice with ptr NULL when absent.
 * Borrowed from a. */
cf_slice s3_http_answer_get(const s3_http_answer *a, const char *name);

/* Some bytes of the body, in order; the head is complete. An error ends the exchange and is its
 * result. */
typedef cf_err (*s3_http_body_fn)(void *impl, const s3_http_answer *a, cf_slice bytes, cf_error *e);

typedef struct s3_http_request {
    const char *method;     /* "GET", "HEAD", "PUT", "POST", "DELETE" */
    const char *url;        /* percent-encoded; sent byte for byte */
    const s3_pair *headers; /* names in lower case; all of them but Content-Length, Connection,
                               Accept, Expect; with Host */
    size_t header_total;
    cf_slice body;      /* sent with Content-Length, also when empty, for PUT and POST */
    uint64_t stall_ms;  /* > 0 */
    bool ignore_stop;   /* last words: sent although world->stopping(), within stall_ms in all */
    uint64_t linger_ms; /* goes on so long after the wish to stop: its answer matters */
    s3_http_body_fn on_body;
    void *on_body_impl;
} s3_http_request;

typedef struct s3_http s3_http;
typedef struct s3_http_ops {
    /* One exchange; waits for a free connection when all are busy. CF_OK exactly when a->end is
     * S3_HTTP_END_ANSWER; else CF_ERR_NETWORK, CF_ERR_TIMEOUT, CF_ERR_TLS, CF_ERR_PROTOCOL,
     * CF_ERR_INTERRUPTED, CF_ERR_NO_MEMORY or what on_body returned. Any number of threads at once.
     */
    cf_err (*perform)(s3_http *h, const s3_http_request *rq, s3_http_answer *a, cf_error *e);
    void (*free)(s3_http *h);
} s3_http_ops;

struct s3_http {
    const s3_http_ops *ops; /* no member is NULL */
};

typedef struct s3_http_curl_opts {
    uint32_t connections_max;    /* > 0 */
    uint32_t connect_timeout_ms; /* > 0 */
    const char *ca_bundle;       /* NULL: the system's; PEM file; copied */
    const char *user_agent;      /* copied */
    const cf_world *world;       /* borrowed: clock and the wish to stop */
    struct cf_pace *pace;        /* borrowed; NULL: no limits */
} s3_http_curl_opts;

/* libcurl: HTTP/1.1, certificates checked, idle connections kept 5 s (S3 closes them then), no
 * redirects. Environment variables http_proxy, https_proxy, no_proxy count (libcurl reads them).
 * Errors: CF_ERR_NO_MEMORY, CF_ERR_FAILED when libcurl cannot start. */
CF_NODISCARD cf_err s3_http_curl_new(const s3_http_curl_opts *opts, s3_http **ret, cf_error *e);
void s3_http_free(s3_http *h); /* NULL is fine; no exchange may be under way */

#endif
