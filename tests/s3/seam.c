/* SPDX-License-Identifier: Apache-2.0
 *
 * Seam: the little server.
 */
#include "seam.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "s3/base/num.h"

static seam *seam_of(s3_http *h)
{
    return (seam *)(void *)h;
}

/* ---- world ---- */

static int64_t world_utc(void *impl)
{
    seam *s = impl;
    (void)pthread_mutex_lock(&s->lock);
    const int64_t t = s->utc_ms;
    (void)pthread_mutex_unlock(&s->lock);
    return t;
}

static uint64_t world_mono(void *impl)
{
    seam *s = impl;
    (void)pthread_mutex_lock(&s->lock);
    const uint64_t t = s->mono_ms;
    (void)pthread_mutex_unlock(&s->lock);
    return t;
}

static void world_sleep(void *impl, uint64_t ms)
{
    seam *s = impl;
    (void)pthread_mutex_lock(&s->lock);
    s->mono_ms += ms;
    s->utc_ms += (int64_t)ms;
    (void)pthread_mutex_unlock(&s->lock);
}

/* The longest waits: all bits set. But 16 bytes are an id, and ids must differ. */
static void world_random(void *impl, void *ret, size_t len)
{
    seam *s = impl;
    memset(ret, 0xff, len);
    if (len < 16)
        return;
    (void)pthread_mutex_lock(&s->lock);
    s->random_next++;
    memcpy(ret, &s->random_next, sizeof(s->random_next));
    (void)pthread_mutex_unlock(&s->lock);
}

/* s3_client_enter() asks this with the client's lock held, when it has waited for a place. */
static bool world_stopping(void *impl)
{
    seam *s = impl;
    (void)pthread_mutex_lock(&s->lock);
    if (s->blocked != NULL) {
        s->blocked->throttle.active = 0;
        s->blocked = NULL;
        s->mono_ms += 400000;
        s->utc_ms += 400000;
    }
    (void)pthread_mutex_unlock(&s->lock);
    return false;
}

/* ---- server ---- */

bool seam_contains(const char *text, const char *part)
{
    return strstr(text, part) != NULL;
}

static void header_copy(const s3_http_request *rq, const char *name, char *ret, size_t size)
{
    ret[0] = '\0';
    for (size_t i = 0; i < rq->header_total; i++)
        if (cf_slice_eq(rq->headers[i].name, cf_slice_str(name)))
            (void)snprintf(ret, size, "%.*s", CF_SLICE_FMT(rq->headers[i].value));
}

static cf_err head_add(s3_http_answer *a, const char *lines)
{
    while (lines != NULL && *lines != '\0') {
        const size_t len = strcspn(lines, "\n");
        const cf_err err = s3_http_answer_add(a, cf_slice_of(lines, len), NULL);
        if (err != CF_OK)
            return err;
        lines += len + (lines[len] == '\n');
    }
    return CF_OK;
}

typedef struct reply {
    int status;
    char head[SEAM_TEXT];
    char body[SEAM_TEXT];
} reply;

static void reply_error(reply *r, int status, const char *code)
{
    r->status = status;
    (void)snprintf(r->body, sizeof(r->body),
                   "<Error><Code>%s</Code><Message>text</Message></Error>", code);
}

static void object_write(seam *s, const s3_http_request *rq, const char *id, uint64_t size,
                         reply *r)
{
    char match[8];

    header_copy(rq, "if-none-match", match, sizeof(match));
    if (match[0] != '\0' && s->present) {
        reply_error(r, 412, "PreconditionFailed");
        return;
    }
    s->present = true;
    s->object_size = size;
    (void)snprintf(s->object_id, sizeof(s->object_id), "%s", id);
    (void)snprintf(r->head, sizeof(r->head), "ETag: \"e\"\n");
}

static void upload_serve(seam *s, const s3_http_request *rq, const char *upload_id, reply *r)
{
    const unsigned i = (unsigned)atoi(upload_id); /* of our own making */

    if (i >= s->upload_total || !s->uploads[i].open) {
        reply_error(r, 404, "NoSuchUpload");
    } else if (strcmp(rq->method, "PUT") == 0) {
        s->uploads[i].size += rq->body.len;
        (void)snprintf(r->head, sizeof(r->head), "ETag: \"p\"\n");
    } else if (strcmp(rq->method, "DELETE") == 0) {
        s->uploads[i].open = false;
        r->status = 204;
    } else {
        object_write(s, rq, s->uploads[i].id, s->uploads[i].size, r);
        if (r->status == 200) {
            s->uploads[i].open = false;
            (void)snprintf(r->body, sizeof(r->body),
                           "<CompleteMultipartUploadResult><ETag>\"e-2\"</ETag>"
                           "</CompleteMultipartUploadResult>");
        }
    }
}

static void object_read(const seam *s, bool is_head, reply *r)
{
    if (!s->present) {
        if (is_head)
            r->status = 404;
        else
            reply_error(r, 404, "NoSuchKey");
        return;
    }
    const uint64_t size = is_head ? s->object_size : 10;
    (void)snprintf(r->head, sizeof(r->head),
                   "ETag: \"e\"\nContent-Length: %llu\nx-amz-meta-chunkferry-id: %s\n",
                   (unsigned long long)size, s->object_id);
    if (!is_head)
        (void)snprintf(r->body, sizeof(r->body), "0123456789");
}

static void serve(seam *s, const s3_http_request *rq, reply *r)
{
    const char *upload_id = strstr(rq->url, "uploadId=");

    r->status = 200;
    if (s->endless) {
        const char *name = strstr(rq->url, "list-type=2") != NULL ? "ListBucketResult"
                                                                  : "ListMultipartUploadsResult";
        (void)snprintf(r->body, sizeof(r->body),
                       "<%s><IsTruncated>true</IsTruncated>"
                       "<NextContinuationToken>%u</NextContinuationToken>"
                       "<NextKeyMarker>k%08u</NextKeyMarker></%s>",
                       name, s->note_total, s->note_total, name);
    } else if (s->one_key && strstr(rq->url, "max-uploads=") != NULL) {
        (void)snprintf(r->body, sizeof(r->body),
                       "<ListMultipartUploadsResult><IsTruncated>true</IsTruncated>"
                       "<Upload><Key>k</Key><UploadId>%u</UploadId></Upload>"
                       "<NextKeyMarker>k</NextKeyMarker><NextUploadIdMarker>%u</NextUploadIdMarker>"
                       "</ListMultipartUploadsResult>",
                       s->note_total % 2, s->note_total % 2);
    } else if (strstr(rq->url, "list-type=2") != NULL) {
        (void)snprintf(r->body, sizeof(r->body),
                       "<ListBucketResult><IsTruncated>false</IsTruncated>"
                       "<Contents><Key>k</Key><Size>10</Size>"
                       "<LastModified>2026-11-21T14:06:40.000Z</LastModified>"
                       "<ETag>\"e\"</ETag></Contents></ListBucketResult>");
    } else if (upload_id != NULL) {
        upload_serve(s, rq, upload_id + strlen("uploadId="), r);
    } else if (strstr(rq->url, "?uploads=") != NULL) {
        s->uploads[s->upload_total].open = true;
        header_copy(rq, "x-amz-meta-chunkferry-id", s->uploads[s->upload_total].id,
                    sizeof(s->uploads[0].id));
        (void)snprintf(r->body, sizeof(r->body),
                       "<InitiateMultipartUploadResult><UploadId>%u</UploadId>"
                       "</InitiateMultipartUploadResult>",
                       s->upload_total);
        s->upload_total++;
    } else if (strcmp(rq->method, "PUT") == 0) {
        char id[S3_ID_LEN + 1];
        header_copy(rq, "x-amz-meta-chunkferry-id", id, sizeof(id));
        object_write(s, rq, id, rq->body.len, r);
    } else if (strcmp(rq->method, "DELETE") == 0) {
        s->present = false;
        r->status = 204;
    } else {
        object_read(s, strcmp(rq->method, "HEAD") == 0, r);
    }
}

static const seam_note *note_request(seam *s, const s3_http_request *rq)
{
    const uint32_t at = s->note_total++;
    seam_note *n = &s->notes[at < SEAM_NOTE_MAX ? at : SEAM_NOTE_MAX - 1];
    (void)snprintf(n->method, sizeof(n->method), "%s", rq->method);
    (void)snprintf(n->url, sizeof(n->url), "%s", rq->url);
    header_copy(rq, "host", n->host, sizeof(n->host));
    header_copy(rq, "x-amz-date", n->date, sizeof(n->date));
    header_copy(rq, "authorization", n->authorization, sizeof(n->authorization));
    n->mono_ms = s->mono_ms;
    return n;
}

static seam_fault fault_of(seam *s, const s3_http_request *rq)
{
    if (s->fault_method != NULL && strcmp(s->fault_method, rq->method) != 0)
        return SEAM_NONE;
    const uint32_t nth = ++s->fault_seen;
    return nth >= s->fault_from && nth - s->fault_from < s->fault_total ? s->fault : SEAM_NONE;
}

/* As real servers: x-amz-date against the own clock. */
static bool too_skewed(const seam *s, const seam_note *n)
{
    int64_t signed_ms = 0;

    if (!cf_time_parse_basic(cf_slice_str(n->date), &signed_ms))
        abort();
    return llabs(signed_ms - (s->utc_ms + s->server_ahead_ms)) > 15 * 60 * 1000;
}

/* With the lock held. */
static seam_fault exchange(seam *s, const s3_http_request *rq, reply *r)
{
    const seam_note *n = note_request(s, rq);
    const seam_fault fault = fault_of(s, rq);
    const time_t date_s = (time_t)((s->utc_ms + s->server_ahead_ms) / 1000);
    struct tm tm;

    if (fault == SEAM_ANSWER) {
        r->status = s->status;
        (void)snprintf(r->head, sizeof(r->head), "%s", s->head == NULL ? "" : s->head);
        (void)snprintf(r->body, sizeof(r->body), "%s", s->body == NULL ? "" : s->body);
    } else if (s->server_strict && too_skewed(s, n)) {
        reply_error(r, 403, "RequestTimeTooSkewed");
    } else if (fault == SEAM_NONE || fault == SEAM_LOST) {
        serve(s, rq, r);
        s->unknown_total += fault == SEAM_LOST && strstr(rq->url, "?uploads=") != NULL ? 1 : 0;
    }
    const size_t at = strlen(r->head);
    (void)strftime(r->head + at, sizeof(r->head) - at, "Date: %a, %d %b %Y %H:%M:%S GMT\n",
                   gmtime_r(&date_s, &tm));
    return fault;
}

static cf_err ended(s3_http_answer *a, seam_fault fault, cf_error *e)
{
    a->status = 0;
    switch (fault) {
    case SEAM_LOST:
    case SEAM_BREAK:
        a->end = S3_HTTP_END_BROKEN;
        CF_FAIL(e, CF_ERR_NETWORK, "connection reset");
    case SEAM_NO_CONNECT:
        a->end = S3_HTTP_END_CONNECT;
        CF_FAIL(e, CF_ERR_NETWORK, "connection refused");
    case SEAM_NO_MEMORY:
        a->end = S3_HTTP_END_LOCAL;
        CF_FAIL(e, CF_ERR_NO_MEMORY, "allocate a header");
    case SEAM_NONE:
    case SEAM_ANSWER:
        break;
    }
    return CF_OK;
}

static cf_err seam_perform(s3_http *h, const s3_http_request *rq, s3_http_answer *a, cf_error *e)
{
    seam *s = seam_of(h);
    reply r = {0};

    s3_http_answer_clear(a);
    (void)pthread_mutex_lock(&s->lock);
    const seam_fault fault = exchange(s, rq, &r);
    (void)pthread_mutex_unlock(&s->lock);
    const cf_err err = ended(a, fault, e);
    if (err != CF_OK)
        return err;
    a->status = r.status;
    CF_TRY(head_add(a, r.head));
    if (r.body[0] != '\0' && strcmp(rq->method, "HEAD") != 0) {
        const cf_err sunk = rq->on_body(rq->on_body_impl, a, cf_slice_str(r.body), e);
        if (sunk != CF_OK) {
            a->end = S3_HTTP_END_SINK;
            return sunk;
        }
    }
    a->end = S3_HTTP_END_ANSWER;
    return CF_OK;
}

static void seam_free(s3_http *h)
{
    (void)h; /* the test's own */
}

static const s3_http_ops seam_ops = {.perform = seam_perform, .free = seam_free};

static const char *seam_env(void *impl, const char *name)
{
    (void)impl;
    if (strcmp(name, "AWS_ACCESS_KEY_ID") == 0)
        return "AKIDEXAMPLE";
    return strcmp(name, "AWS_SECRET_ACCESS_KEY") == 0 ? "very-secret" : NULL;
}

void seam_init(seam *s, const s3_client_opts *opts)
{
    s3_client_opts o = opts == NULL ? (s3_client_opts){0} : *opts;
    cf_error e = {0};

    *s = (seam){.http.ops = &seam_ops, .mono_ms = 1000000, .utc_ms = 1795270000000};
    s->world = (cf_world){.now_utc_ms = world_utc,
                          .mono_ms = world_mono,
                          .sleep_ms = world_sleep,
                          .random = world_random,
                          .stopping = world_stopping,
                          .impl = s};
    (void)pthread_mutex_init(&s->lock, NULL);
    o.bucket = "backups";
    o.world = &s->world;
    o.env = seam_env;
    o.part_bytes = SEAM_PART;
    if (s3_client_new_over(&o, &s->http, &s->client, &e) != CF_OK) {
        (void)fprintf(stderr, "%s\n", e.message);
        abort();
    }
}

void seam_deinit(seam *s)
{
    s3_client_free(s->client);
    (void)pthread_mutex_destroy(&s->lock);
}

void seam_block(seam *s)
{
    s3_client_lock(s->client);
    s->client->throttle.active = s->client->throttle.limit;
    s3_client_unlock(s->client);
    (void)pthread_mutex_lock(&s->lock);
    s->blocked = s->client;
    (void)pthread_mutex_unlock(&s->lock);
}

uint32_t seam_open_uploads(const seam *s)
{
    uint32_t total = 0;

    for (uint32_t i = 0; i < s->upload_total; i++)
        total += s->uploads[i].open ? 1 : 0;
    return total - s->unknown_total;
}
