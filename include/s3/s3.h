/* SPDX-License-Identifier: Apache-2.0
 *
 * An S3 client: Signature V4 by hand, libcurl for HTTP, retries with one owner of time and tries.
 *
 *   s3_client_opts opts = {.bucket = "backups", .endpoint = "http://127.0.0.1:7480"};
 *   s3_client *c = NULL;
 *   s3_client_new(&opts, &c, &e);
 *   s3_put(c, "a/key", body, NULL, NULL, &e);
 *   s3_client_free(c);
 *
 * Threads: one s3_client may be used by any number of threads at once. Each call borrows a
 * connection from the client's connections_max and waits for one when all are busy. That cannot
 * lock up as long as no callback of s3_get() waits for another call on the same client.
 *
 * Keys: UTF-8 without NUL, 1..S3_KEY_LEN_MAX bytes, sent exactly as given, without normalisation.
 *
 * Ownership: what goes in is borrowed until the call returns, results are plain values of the
 * caller's and untouched on failure, slices given to callbacks are borrowed during the callback.
 *
 * Retries: every call returns one final answer. Every attempt is signed anew. Full jitter, a token
 * bucket for the whole client (SDK standard mode 2.1), a deadline; SlowDown halves the number of
 * requests at once, success lets it grow back. The wait for a place among the client's own requests
 * takes nothing of the deadline. Region, clock skew and expired credentials are corrected once a
 * request. A 2xx with <Error> inside is that error.
 *
 * Redirects are never followed. A region that the answer names is signed for (an AWS host is built
 * anew, under https as before; a custom one stays); any other Location is CF_ERR_REGION and told.
 *
 * TLS: 1.2 or later, certificate and host name are always checked. A proxy (https_proxy,
 * http_proxy, no_proxy) sees of https only host and port.
 *
 * Errors of every call, besides those named with it:
 *
 * - CF_ERR_USAGE: a key that is empty or too long, a header value with a control character
 * - CF_ERR_NETWORK, CF_ERR_TIMEOUT, CF_ERR_TLS (the certificate): no answer, after all tries
 * - CF_ERR_THROTTLED, CF_ERR_SERVER: SlowDown and 5xx, after all tries
 * - CF_ERR_AUTH: the server does not know the access key, or the signature is not that of its
 *   secret; a session token that has run out, with no other to be had
 * - CF_ERR_DENIED: the key is good and may not do this. A HEAD has no body to say which of the two
 *   it is: its 403 is always CF_ERR_DENIED
 * - CF_ERR_NO_BUCKET: also told for a HEAD only by s3_bucket_head(); s3_head() of a key in a bucket
 *   that is not there is CF_ERR_NOT_FOUND, for the same reason
 * - CF_ERR_NO_SPACE: the server is full or a quota is reached
 * - CF_ERR_REGION, CF_ERR_SKEW: could not be corrected
 * - CF_ERR_PROTOCOL: an answer that contradicts itself, is encoded, malformed or too large
 * - CF_ERR_REQUEST, CF_ERR_UNSUPPORTED: another refusal; 501
 * - CF_ERR_INTERRUPTED: the world stops
 * - CF_ERR_NO_MEMORY
 *
 * The story (cf_error) has operation, key, endpoint, what the server said with its code as it came,
 * tries, request id and a hint; never a key, token or signature.
 *
 * Source: "API_..." below are pages of https://docs.aws.amazon.com/AmazonS3/latest/API/, each
 * "API_PutObject" being API_PutObject.html there; error codes: ErrorResponses.html; signing:
 * sig-v4-header-based-auth.html.
 */
#ifndef S3_S3_H
#define S3_S3_H

#include <stdbool.h>
#include <stdint.h>

#include "s3/buf.h"
#include "s3/err.h"
#include "s3/slice.h"
#include "s3/world.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Limits of the protocol (S3 user guide, "Amazon S3 multipart upload limits", "object keys") and
 * ours. */
#define S3_KEY_LEN_MAX        1024u /* bytes of UTF-8 */
#define S3_PART_TOTAL_MAX     10000u
#define S3_PART_BYTES_MIN     (5u * 1024u * 1024u) /* but the last */
#define S3_PUT_BYTES_MAX      (5ull * 1024 * 1024 * 1024)
#define S3_DELETE_TOTAL_MAX   1000u
#define S3_ETAG_LEN_MAX       128u /* ours: 32 hex digits, "-10000", quotes; opaque ones have room */
#define S3_UPLOAD_ID_LEN_MAX  1024u /* ours */
#define S3_VERSION_ID_LEN_MAX 1024u /* S3 user guide, "versioning": at most 1,024 bytes */
#define S3_XML_BODY_MAX                                                                            \
    (16u * 1024u * 1024u) /* ours: 1,000 keys of 1,024 bytes, percent-encoded, with room */
#define S3_ERROR_BODY_MAX (64u * 1024u) /* ours */
#define S3_ID_LEN         32u           /* hex digits of the random id put in metadata */

typedef enum s3_addressing {
    S3_ADDRESSING_AUTO,
    S3_ADDRESSING_PATH,
    S3_ADDRESSING_VIRTUAL
} s3_addressing;

/* One finished attempt, for a trace. Strings are borrowed during the call. Never holds a secret. */
typedef struct s3_trace {
    const char *method, *operation, *key;
    int http_status;        /* 0: no answer */
    const char *s3_code;    /* "" */
    const char *request_id; /* "" */
    uint64_t bytes_sent, bytes_received;
    uint64_t duration_ms;
    uint32_t attempt; /* 1.. */
} s3_trace;

/* Zero is the default for each field but bucket. All strings are copied. */
typedef struct s3_client_opts {
    const char *bucket;
    const char
        *endpoint; /* NULL: AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL, profile, else AWS for the region.
                      "http://host:port[/prefix]" or https; http only when it is written here */
    const char *region;       /* NULL: environment, profile, else us-east-1 */
    s3_addressing addressing; /* auto: virtual for AWS; path for an endpoint that is an IP or
                                 localhost, or a bucket that is not DNS-safe (or has a dot on
                                 https); path for other endpoints too */
    const char *ca_bundle;    /* NULL: AWS_CA_BUNDLE, else the system's */
    const char *
        profile; /* NULL: AWS_PROFILE, else "default"; when given it beats the environment's keys */
    const char *user_agent;   /* NULL: "chunkferry-s3" */
    uint32_t connections_max; /* 0: 8; 1..64: upper bound of the adaptive concurrency */
    uint32_t tries_max;       /* 0: 8 */
    /* 0: 300,000: no attempt of one request starts later than this after its first, the waits for
     * a place aside; a GET counts from its last progress */
    uint64_t deadline_ms;
    uint32_t connect_timeout_ms;  /* 0: 10,000 */
    uint32_t stall_timeout_ms;    /* 0: 30,000 without a byte in either direction ends an attempt */
    uint64_t part_bytes;          /* 0: 8 MiB; size of upload parts, S3_PART_BYTES_MIN..512 MiB */
    uint32_t parts_in_flight_max; /* 0: 4; part buffers of the whole client: memory is
                                     parts_in_flight_max * part_bytes */
    const cf_world *world;        /* NULL: cf_world_real(); borrowed */
    struct cf_pace *pace; /* NULL: as fast as it goes; borrowed. Bodies count, of retries too */
    void (*trace)(void *trace_impl, const s3_trace *t); /* NULL: none; called from any thread */
    void *trace_impl;
    /* NULL: getenv. For tests and embedding: value or NULL, borrowed until the client is made. */
    const char *(*env)(void *env_impl, const char *name);
    void *env_impl;
} s3_client_opts;

typedef struct s3_client s3_client;

/* A client; nothing is sent. *ret_client is the caller's, free it with s3_client_free().
 *
 * Errors: CF_ERR_USAGE (an option out of its range, a bad endpoint, bucket or region),
 * CF_ERR_CREDENTIALS and the other errors of reading profile files, CF_ERR_NO_MEMORY. */
CF_NODISCARD cf_err s3_client_new(const s3_client_opts *opts, s3_client **ret_client, cf_error *e);
void s3_client_free(s3_client *c); /* NULL is fine; no call may be under way */

typedef struct s3_counts {
    uint64_t requests_total; /* attempts put on the wire */
    uint64_t retries_total;
    uint64_t bytes_sent; /* bodies */
    uint64_t bytes_received;
} s3_counts;
/* So far. Any thread, at any time. */
void s3_client_get_counts(s3_client *c, s3_counts *ret);
/* The newest Date of the server's answers, carried on by the monotonic clock; 0 before the first
 * answer. */
int64_t s3_client_server_time_ms(s3_client *c);

typedef struct s3_put_opts {
    bool create_only; /* If-None-Match: *. CF_ERR_EXISTS when another's object stands there; when it
                         is ours (metadata id: a lost answer) the call succeeds */
    const char *content_type; /* NULL: application/octet-stream */
    const char *id;  /* NULL: random; S3_ID_LEN hex digits kept in x-amz-meta-chunkferry-id */
    bool last_words; /* s3_put() only: sent although the world is stopping, once, without retries */
} s3_put_opts;

typedef struct s3_put_result {
    char etag[S3_ETAG_LEN_MAX + 1];
    uint64_t size_bytes;
    uint8_t sha256[32]; /* of the body (one PUT), or of the parts' binary SHA-256s in order
                           (multipart) */
    bool multipart;
    uint64_t part_bytes; /* multipart: size of each part but the last */
    bool settled;        /* the answer was lost and settled by HEAD */
} s3_put_result;

/* One object from memory, one PUT. body <= S3_PUT_BYTES_MAX. opts, ret may be NULL.
 *
 * A lost answer to a create_only put is settled by HEAD and the id in the object's metadata.
 *
 * Errors:
 * - CF_ERR_EXISTS: create_only, and another's object stands there
 * - CF_ERR_UNKNOWN: create_only, answers were lost, HEAD finds nothing of ours at the key, and the
 *   write may still be under way (or the HEAD failed too)
 * - CF_ERR_CONFLICT: others kept writing the key
 * - CF_ERR_DAMAGE: our id stands there with another size
 * - CF_ERR_TOO_LARGE
 *
 * Without create_only a put that failed may have happened all the same, whole.
 *
 * Source: API_PutObject; user guide "conditional-writes". */
CF_NODISCARD cf_err s3_put(s3_client *c, const char *key, cf_slice body, const s3_put_opts *opts,
                           s3_put_result *ret, cf_error *e);

/* Upload of unknown length: one PUT when it fits one part, else multipart, parts sent in parallel
 * while the caller writes. write() copies into part buffers and waits for a free one.
 *
 * Ownership: finish() or abort() ends and frees it, finish() also on failure, after aborting the
 * upload at the server (also when the world is stopping, with one short try). Only an upload whose
 * CreateMultipartUpload lost its answer stays behind, empty: s3_uploads_list() finds it.
 *
 * Threads: one at a time per upload, any number of uploads.
 *
 * Buffers: an open upload holds one from its first byte on, and one a part under way. A thread that
 * writes more than parts_in_flight_max uploads in turns waits for itself: do not. Uploads on
 * threads of their own never wait for one another without end: who waits for a buffer holds none.
 *
 * Size: the part size is fixed for an upload: at most part_bytes * 10,000, else CF_ERR_TOO_LARGE.
 *
 * Errors of write(): that of the first part that failed; it stays. Of finish(), besides:
 * CF_ERR_EXISTS (create_only, decided at the end), CF_ERR_CONFLICT (all must be sent again; also
 * when somebody else aborted the upload), CF_ERR_UNKNOWN as s3_put(), also without create_only.
 *
 * Source: API_CreateMultipartUpload, API_UploadPart, API_CompleteMultipartUpload (200 may carry
 * <Error>), API_AbortMultipartUpload; user guide "qfacts" (limits). */
typedef struct s3_upload s3_upload;
CF_NODISCARD cf_err s3_upload_open(s3_client *c, const char *key, const s3_put_opts *opts,
                                   s3_upload **ret, cf_error *e);
CF_NODISCARD cf_err s3_upload_write(s3_upload *u, cf_slice bytes, cf_error *e);
CF_NODISCARD cf_err s3_upload_finish(s3_upload *u, s3_put_result *ret, cf_error *e);
void s3_upload_abort(s3_upload *u); /* NULL is fine */
const char *s3_upload_id(
    const s3_upload *u); /* multipart upload id, "" while there is none; borrowed */

/* Bytes in order. Return an error to stop the transfer (it becomes the call's error, never
 * retried). A connection is held meanwhile: calling the same client from here can wait for ever
 * when SlowDown has lowered the limit to one. */
typedef cf_err (*s3_sink)(void *impl, cf_slice bytes, cf_error *e);

typedef struct s3_range {
    uint64_t offset, len; /* len 0: to the end */
} s3_range;

typedef struct s3_object {
    uint64_t size_bytes; /* of the whole object */
    int64_t modified_utc_ms;
    char etag[S3_ETAG_LEN_MAX + 1];
    char id[S3_ID_LEN + 1]; /* "" or the id in metadata */
} s3_object;

/* GET whole (range NULL) or a range. A transfer that breaks goes on behind the last byte given to
 * the sink, with If-Match, so the sink sees each byte once. ret may be NULL.
 *
 * Errors: CF_ERR_NOT_FOUND; CF_ERR_PRECONDITION when the object changed in between; CF_ERR_PROTOCOL
 * for short, long or contradicting answers (Content-Range, Content-Length); CF_ERR_REQUEST with
 * http_status 416 for a range that begins behind the end; what the sink returned.
 *
 * Source: API_GetObject; RFC 9110, 14 (ranges) and 13.1.1 (If-Match). */
CF_NODISCARD cf_err s3_get(s3_client *c, const char *key, const s3_range *range, s3_sink sink,
                           void *sink_impl, s3_object *ret, cf_error *e);
/* Size, time, ETag and id. CF_ERR_NOT_FOUND: the key, or the bucket. ret may be NULL. Source:
 * API_HeadObject. */
CF_NODISCARD cf_err s3_head(s3_client *c, const char *key, s3_object *ret, cf_error *e);

typedef struct s3_list_opts {
    const char *prefix;      /* NULL: all */
    const char *start_after; /* NULL */
    const char *delimiter;   /* NULL: none */
    uint32_t page_keys_max;  /* 0: 1,000 */
} s3_list_opts;

typedef struct s3_list_entry {
    cf_slice key; /* or common prefix; borrowed during the call */
    bool is_prefix;
    uint64_t size_bytes;
    int64_t modified_utc_ms;
    cf_slice etag;
} s3_list_entry;

/* *ret_stop = true ends the listing early with success; an error becomes the listing's. No
 * connection is held meanwhile: it may call the client. */
typedef cf_err (*s3_list_fn)(void *impl, const s3_list_entry *entry, bool *ret_stop, cf_error *e);
/* In byte order, all pages; memory is one page. opts may be NULL: all keys.
 *
 * Errors: CF_ERR_PROTOCOL for a page that lies (unsorted, repeated or foreign keys, truncated
 * without a token, a token loop); CF_ERR_USAGE: page_keys_max.
 *
 * Source: API_ListObjectsV2. */
CF_NODISCARD cf_err s3_list(s3_client *c, const s3_list_opts *opts, s3_list_fn fn, void *impl,
                            cf_error *e);

/* A key that is not there is success. Source: API_DeleteObject. */
CF_NODISCARD cf_err s3_delete(s3_client *c, const char *key, cf_error *e);

/* What is to go: an object, behind a delete marker in a versioned bucket; or, with a version id, one
 * version or marker for good. */
typedef struct s3_target {
    const char *key;
    const char *version_id; /* NULL: none */
} s3_target;

/* A target that the server refused for good, or too often; why: its story. *ret_fine = true: no
 * failure after all. It may call the client; an error of it ends the deletion and is its result. */
typedef cf_err (*s3_refused_fn)(void *impl, const s3_target *target, const cf_error *why,
                                bool *ret_fine, cf_error *e);
/* Any number; what is not there is fine. Sent in batches of S3_DELETE_TOTAL_MAX and of at most 1
 * MiB, less once a server has answered 413, with Content-MD5. Those a batch could not delete for now
 * are sent again, they alone, with the waits and tries of any request. Keys that XML cannot carry go
 * one by one, and all do where DeleteObjects is not known. What failed, and fn (NULL: none) did not
 * call fine, is summed up in e with the first key and its error; the rest is deleted. A batch that
 * fails as a whole ends the call. Source: API_DeleteObjects. */
CF_NODISCARD cf_err s3_delete_targets(s3_client *c, const s3_target *targets, size_t total,
                                      s3_refused_fn fn, void *impl, cf_error *e);
CF_NODISCARD cf_err s3_delete_many(s3_client *c, const char *const *keys, size_t key_total,
                                   cf_error *e);

typedef struct s3_version_entry {
    cf_slice key, version_id; /* borrowed during the call; "null": of before versioning */
    bool is_marker;
} s3_version_entry;
typedef cf_err (*s3_version_fn)(void *impl, const s3_version_entry *entry, cf_error *e);

/* Where a list of versions goes on: behind this version of key; without one behind all of key's. */
typedef struct s3_versions_at {
    char key[S3_KEY_LEN_MAX + 1]; /* "": from the beginning */
    char version_id[S3_VERSION_ID_LEN_MAX + 1];
    bool end; /* set by a page: it was the last */
} s3_versions_at;
/* One page of the versions and delete markers under prefix (NULL: all), by key, the newest first.
 * at is moved behind it, so that a caller may also jump ahead. fn may call the client.
 *
 * Errors: CF_ERR_PROTOCOL: markers that do not lead on, foreign keys. CF_ERR_UNSUPPORTED: the server
 * knows no versions. Source: API_ListObjectVersions. */
CF_NODISCARD cf_err s3_versions_page(s3_client *c, const char *prefix, s3_versions_at *at,
                                     s3_version_fn fn, void *impl, cf_error *e);

/* What keeps a version from being deleted. */
typedef struct s3_lock {
    char mode[16];               /* "GOVERNANCE", "COMPLIANCE"; "": no retention */
    int64_t retain_until_utc_ms; /* may have passed; 0: no retention */
    bool legal_hold;
} s3_lock;
/* By a HEAD, and where that does not show it by GetObjectRetention and GetObjectLegalHold. A server
 * or bucket without Object Lock: all zero. CF_ERR_DENIED: the key may not ask. */
CF_NODISCARD cf_err s3_lock_get(s3_client *c, const s3_target *target, s3_lock *ret, cf_error *e);

/* CF_OK: it is there and the key may list it. CF_ERR_NO_BUCKET, CF_ERR_DENIED. Source:
 * API_HeadBucket. */
CF_NODISCARD cf_err s3_bucket_head(s3_client *c, cf_error *e);
/* In the client's region. CF_ERR_EXISTS when it is another's; ours: success. Source:
 * API_CreateBucket. */
CF_NODISCARD cf_err s3_bucket_create(s3_client *c, cf_error *e);

/* Does the bucket keep older versions? true also when versioning is suspended: what was kept before
 * is still there. A server that does not know the question (501, 405) has none: false. Source:
 * API_GetBucketVersioning. */
CF_NODISCARD cf_err s3_bucket_versioning(s3_client *c, bool *ret_on, cf_error *e);

typedef struct s3_upload_entry {
    cf_slice key, upload_id; /* borrowed during the call */
    int64_t initiated_utc_ms;
} s3_upload_entry;
typedef cf_err (*s3_uploads_fn)(void *impl, const s3_upload_entry *entry, cf_error *e);
/* Multipart uploads that were neither completed nor aborted, under prefix (NULL: all), all pages.
 * An error of fn ends it and is its result; fn may call the client. CF_ERR_PROTOCOL: markers that
 * do not lead on, foreign keys. CF_ERR_UNSUPPORTED: the server cannot list them. Source:
 * API_ListMultipartUploads. */
CF_NODISCARD cf_err s3_uploads_list(s3_client *c, const char *prefix, s3_uploads_fn fn, void *impl,
                                    cf_error *e);
/* One that is not there (any more) is success. Source: API_AbortMultipartUpload. */
CF_NODISCARD cf_err s3_uploads_abort(s3_client *c, const char *key, const char *upload_id,
                                     cf_error *e);

#ifdef __cplusplus
}
#endif
#endif
