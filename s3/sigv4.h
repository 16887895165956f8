/* SPDX-License-Identifier: Apache-2.0
 *
 * Signature Version 4, in the Authorization header. Pure: a request and a time in, headers out.
 * Every step is kept for inspection, since "the signature differs" says nothing and "the canonical
 * request differs" says all.
 *
 *   s3_sigv4 s = {0};
 *   s3_sigv4_init(&s);
 *   s3_sigv4_sign(&request, &key_cache, &s, &e);
 *   send the request's own headers and, as they are: x-amz-date: s.amz_date, x-amz-content-sha256:
 * request.payload_hash (S3 mode, or payload_header), x-amz-security-token: the token (when there is
 * one), authorization: s.authorization; the query on the wire is s.canonical_query, byte for byte.
 *   s3_sigv4_deinit(&s);
 *
 * Invariant: what is signed is what is sent. Headers on the never-sign list (user-agent,
 * connection, expect ...) may be passed; they are left out of the signature, since proxies and
 * libcurl change them. No presigned URLs, no aws-chunked, no trailers: the product sends none.
 *
 * Threads    pure; one s3_sigv4_key and one s3_sigv4 per thread, or under the caller's lock.
 * Source     https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html
 *            https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
 */
#ifndef S3_SIGV4_H
#define S3_SIGV4_H

#include <stdint.h>

#include "s3/base/hash.h"
#include "s3/base/secret.h"
#include "s3/buf.h"
#include "s3/err.h"
#include "s3/uri.h"

#define S3_PAYLOAD_UNSIGNED "UNSIGNED-PAYLOAD"
/* SHA-256 of no bytes */
#define S3_PAYLOAD_EMPTY "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

enum {
    S3_SIGV4_HEADER_TOTAL_MAX = 64, /* ours: we send about 12 */
    S3_SIGV4_TEXT_MAX = 128 * 1024, /* ours: a canonical request; a key of 1,024 bytes has 3,072
                                       encoded, a token 16 KiB */
    S3_SIGV4_REGION_SIZE = 64,      /* a DNS label, with NUL */
    S3_SIGV4_SERVICE_SIZE = 32,     /* ours; "s3", "sts" */
};

typedef enum s3_sigv4_mode {
    S3_SIGV4_S3, /* path is canonical already: encoded once by s3_uri_encode(), taken as it is */
    S3_SIGV4_GENERIC,     /* STS and others: path as on the wire; normalised and encoded again */
    S3_SIGV4_GENERIC_RAW, /* like generic, without normalisation */
} s3_sigv4_mode;

/* All borrowed during the call. */
typedef struct s3_sigv4_request {
    s3_sigv4_mode mode;
    const char *method;   /* "GET" */
    cf_slice path;        /* "" is "/" */
    const s3_pair *query; /* not encoded, any order */
    size_t query_total;
    const s3_pair *headers; /* any case, any order; "host" must be among them; without those that
                               signing adds */
    size_t header_total;
    const char *payload_hash; /* hex SHA-256 of the body, S3_PAYLOAD_EMPTY or S3_PAYLOAD_UNSIGNED */
    bool payload_header; /* generic modes: sign x-amz-content-sha256 too. S3 mode always does */
    const char *region;
    const char *service; /* "s3" */
    int64_t now_utc_ms;
    const char *access_key;
    const cf_secret *secret_key;
    const cf_secret *session_token; /* NULL or unset: none */
} s3_sigv4_request;

/* The signing key of one day, region, service and secret. Zero it; belongs to the caller, who wipes
 * it at the end. */
typedef struct s3_sigv4_key {
    char date[9]; /* "20261121"; "" while unset */
    char region[S3_SIGV4_REGION_SIZE];
    char service[S3_SIGV4_SERVICE_SIZE];
    uint8_t secret_sha256[CF_SHA256_LEN]; /* so that renewed credentials are noticed */
    uint8_t key[CF_SHA256_LEN];
    uint64_t derived_total; /* how often it was computed */
} s3_sigv4_key;
void s3_sigv4_key_deinit(s3_sigv4_key *k);

/* Bring *k up to date; nothing is computed when it is already. date: "20261121".
 * CF_ERR_USAGE: region or service too long. */
CF_NODISCARD cf_err s3_sigv4_key_derive(s3_sigv4_key *k, const cf_secret *secret_key,
                                        const char *date, const char *region, const char *service,
                                        cf_error *e);

/* Results, owned; may be used again for the next request. */
typedef struct s3_sigv4 {
    char amz_date[17]; /* "20261121T143100Z" */
    cf_buf canonical_query;
    cf_buf signed_headers;    /* "host;x-amz-date" */
    cf_buf canonical_request; /* holds the session token: never to be shown as it is */
    cf_buf string_to_sign;
    char signature[CF_SHA256_HEX_SIZE];
    cf_buf authorization; /* value of the header; see cf_redacted() */
} s3_sigv4;

void s3_sigv4_init(s3_sigv4 *s);
void s3_sigv4_deinit(s3_sigv4 *s); /* wipes */

/* key may be NULL: derived for this call. Errors: CF_ERR_USAGE for a request that cannot be signed
 * (no host; a header with CR, LF or NUL, without a name or given twice by caller and signer; too
 * many headers); CF_ERR_TOO_LARGE; CF_ERR_NO_MEMORY. *ret is then in any state; deinit or use
 * again. */
CF_NODISCARD cf_err s3_sigv4_sign(const s3_sigv4_request *rq, s3_sigv4_key *key, s3_sigv4 *ret,
                                  cf_error *e);

/* Append a header value in canonical form: spaces trimmed, runs of them one; only U+0020 is a space
 * here. */
CF_NODISCARD cf_err s3_sigv4_render_value(cf_slice value, cf_buf *ret, cf_error *e);

#endif
