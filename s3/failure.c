/* SPDX-License-Identifier: Apache-2.0
 *
 * Failure: "operation 'key': what the server said (tries, request id)" and a hint where the user
 * can act.
 */
#include "s3/failure.h"

#include <stdio.h>
#include <string.h>

static const struct {
    const char *s3_code; /* NULL: any */
    cf_err err;          /* CF_OK: any */
    const char *hint;
} hints[] = {
    {"InvalidAccessKeyId", CF_OK,
     "the server does not know this access key: check AWS_ACCESS_KEY_ID or the profile"},
    {"SignatureDoesNotMatch", CF_OK,
     "the secret key does not belong to the access key, or a proxy changed the request"},
    {"ExpiredToken", CF_OK, "the session token has run out: get a new one"},
    {"InvalidToken", CF_OK, "the session token is not valid: get a new one"},
    {"AccessDenied", CF_OK, "the key lacks the permission for this operation on the bucket"},
    {"InvalidObjectState", CF_OK,
     "the object is in an archive storage class: restore it there first"},
    {"QuotaExceeded", CF_OK, "the bucket or user has reached its quota"},
    {NULL, CF_ERR_NO_SPACE, "the server's storage is full: make room there"},
    {NULL, CF_ERR_NO_BUCKET, "create the bucket, or check its name and the endpoint"},
    {NULL, CF_ERR_REGION, "set the region of the bucket, or for another server its endpoint"},
    {NULL, CF_ERR_SKEW, "set this machine's clock (NTP): S3 allows 15 minutes"},
    {NULL, CF_ERR_AUTH, "check the access key, the secret key and the endpoint"},
    {NULL, CF_ERR_DENIED, "check the key's permissions, the bucket's policy and the endpoint"},
    {NULL, CF_ERR_THROTTLED, "lower the number of connections or try later"},
};

static const char *hint_of(const s3_verdict *v)
{
    switch (v->end) {
    case S3_HTTP_END_NAME:
        return "check the host name of the endpoint and the name server";
    case S3_HTTP_END_CONNECT:
        return "check host and port of the endpoint, the server and the firewall";
    case S3_HTTP_END_TLS_VERIFY:
        return "give the server's CA with --ca-bundle or AWS_CA_BUNDLE, and use the host name of "
               "its certificate";
    case S3_HTTP_END_TLS:
        return "does the server speak https on this port?";
    case S3_HTTP_END_ANSWER:
    case S3_HTTP_END_BROKEN:
    case S3_HTTP_END_STALLED:
    case S3_HTTP_END_STOPPED:
    case S3_HTTP_END_SINK:
    case S3_HTTP_END_LOCAL:
        break;
    }
    if (v->is_html)
        return "a web page answered, not an S3 server: check the endpoint, http_proxy and "
               "https_proxy";
    for (size_t i = 0; i < sizeof(hints) / sizeof(hints[0]); i++) {
        if ((hints[i].s3_code == NULL || strcmp(hints[i].s3_code, v->s3_code) == 0) &&
            (hints[i].err == CF_OK || hints[i].err == v->err))
            return hints[i].hint;
    }
    return NULL;
}

static const char *reason_of(s3_retry_action why)
{
    switch (why) {
    case S3_RETRY_STOP_QUOTA:
        return ", too many failures of late to try on";
    case S3_RETRY_STOP_DEADLINE:
        return ", no time left to try on";
    case S3_RETRY_STOP_FATAL:
    case S3_RETRY_STOP_TRIES:
    case S3_RETRY_WAIT:
    case S3_RETRY_FIX:
        break;
    }
    return "";
}

/* "(8 tries in 12.3 s, too many ..., request id X)", or "". */
static void tail_render(const s3_failure *f, char *ret, size_t size)
{
    char tries[64] = "";
    char id[S3_REQUEST_ID_SIZE + 16] = "";

    if (f->tries > 1)
        (void)snprintf(tries, sizeof(tries), "%u tries in %llu.%llu s", f->tries,
                       (unsigned long long)(f->elapsed_ms / 1000),
                       (unsigned long long)(f->elapsed_ms % 1000 / 100));
    else
        (void)snprintf(tries, sizeof(tries), "1 try");
    if (f->verdict->request_id[0] != '\0')
        (void)snprintf(id, sizeof(id), ", request id %s", f->verdict->request_id);
    (void)snprintf(ret, size, " (%s%s%s)", tries, reason_of(f->why), id);
}

static void said_render(const s3_failure *f, char *ret, size_t size)
{
    const s3_verdict *v = f->verdict;

    if (f->detail[0] != '\0')
        (void)snprintf(ret, size, "%s", f->detail);
    else if (v->location[0] != '\0')
        (void)snprintf(ret, size,
                       "the server answered %d and sends us to '%s', where the keys must not go",
                       v->status, v->location);
    else if (v->is_html)
        (void)snprintf(ret, size, "a web page with status %d came instead of S3's answer",
                       v->status);
    else
        (void)snprintf(ret, size, "the server answered %d%s%s%s%s", v->status,
                       v->s3_code[0] == '\0' ? "" : " ", v->s3_code, v->text[0] == '\0' ? "" : ": ",
                       v->text);
}

cf_err s3_failure_set(const s3_failure *f, cf_error *e)
{
    const s3_verdict *v = f->verdict;
    const char *hint = hint_of(v);
    char said[1024];
    char tail[256];

    said_render(f, said, sizeof(said));
    tail_render(f, tail, sizeof(tail));
    const cf_err err = cf_error_set(e, v->err, __FILE__, __LINE__, "%s %s'%s' at %s://%s: %s%s%s%s",
                                    f->call->operation, f->call->key == NULL ? "bucket " : "",
                                    f->call->key == NULL ? f->bucket : f->call->key,
                                    f->endpoint->https ? "https" : "http", f->endpoint->host, said,
                                    tail, hint == NULL ? "" : "\nHINT: ", hint == NULL ? "" : hint);
    if (e != NULL) {
        e->http_status = v->status;
        (void)snprintf(e->s3_code, sizeof(e->s3_code), "%s", v->s3_code);
        (void)snprintf(e->request_id, sizeof(e->request_id), "%s", v->request_id);
    }
    return err;
}
