/* SPDX-License-Identifier: Apache-2.0
 *
 * GetObject: bytes in order to a sink, each once. A transfer that breaks goes on behind the last
 * byte given, with If-Match, so bytes of two objects are never mixed.
 */
#include <stdio.h>

#include "s3/base/cleanup.h"
#include "s3/base/num.h"
#include "s3/call.h"
#include "s3/client.h"
#include "s3/object.h"

typedef struct transfer {
    uint64_t offset, len; /* asked for; len 0: to the end */
    bool whole;           /* no range was asked for */
    s3_sink sink;
    void *sink_impl;
    bool known; /* a good head came: the next four are set */
    s3_object object;
    uint64_t end;        /* first byte behind what is wanted */
    uint64_t at;         /* next byte for the sink */
    bool head_seen;      /* of this attempt */
    uint64_t attempt_at; /* where this attempt began */
    char range_text[64];
} transfer;

static cf_err get_prepare(void *impl, s3_call *call, cf_error *e)
{
    transfer *t = impl;

    (void)e;
    call->header_total = 0;
    t->head_seen = false;
    t->attempt_at = t->at;
    if (t->known)
        s3_call_header(call, "if-match", t->object.etag);
    if (t->known && t->end > 0)
        (void)snprintf(t->range_text, sizeof(t->range_text), "bytes=%llu-%llu",
                       (unsigned long long)t->at, (unsigned long long)t->end - 1);
    else if (t->len > 0)
        (void)snprintf(t->range_text, sizeof(t->range_text), "bytes=%llu-%llu",
                       (unsigned long long)t->offset, (unsigned long long)(t->offset + t->len - 1));
    else
        (void)snprintf(t->range_text, sizeof(t->range_text), "bytes=%llu-",
                       (unsigned long long)t->offset);
    if (!t->whole || t->at > t->offset)
        s3_call_header(call, "range", t->range_text);
    return CF_OK;
}

/* A 206 has to be exactly the range that was asked for. */
static cf_err partial_check(const transfer *t, const s3_http_answer *a, uint64_t length,
                            uint64_t *ret_total, cf_error *e)
{
    const cf_slice text = s3_http_answer_get(a, "content-range");
    s3_content_range r;

    CF_ENSURE(text.len > 0, e, CF_ERR_PROTOCOL,
              "the answer is partial (206) and has no Content-Range");
    CF_ENSURE(s3_content_range_parse(text, &r), e, CF_ERR_PROTOCOL,
              "the answer's Content-Range is '%.*s'", CF_SLICE_FMT(text));
    CF_ENSURE(r.first == t->at, e, CF_ERR_PROTOCOL,
              "the answer begins at byte %llu, asked was for byte %llu",
              (unsigned long long)r.first, (unsigned long long)t->at);
    const bool open_end = !t->known && (t->len == 0 || t->offset + t->len > r.total);
    const uint64_t end = t->known ? t->end : open_end ? r.total : t->offset + t->len;
    CF_ENSURE(r.last + 1 == end, e, CF_ERR_PROTOCOL,
              "the answer ends before byte %llu, it should before byte %llu",
              (unsigned long long)r.last + 1, (unsigned long long)end);
    CF_ENSURE(length == r.last - r.first + 1, e, CF_ERR_PROTOCOL,
              "Content-Length is %llu and Content-Range '%.*s'", (unsigned long long)length,
              CF_SLICE_FMT(text));
    *ret_total = r.total;
    return CF_OK;
}

static cf_err same_object(const transfer *t, const s3_object *o, cf_error *e)
{
    CF_ENSURE(strcmp(t->object.etag, o->etag) == 0, e, CF_ERR_PRECONDITION,
              "the object changed during the transfer: ETag %s became %s", t->object.etag, o->etag);
    CF_ENSURE(t->object.size_bytes == o->size_bytes, e, CF_ERR_PRECONDITION,
              "the object changed during the transfer: %llu bytes became %llu",
              (unsigned long long)t->object.size_bytes, (unsigned long long)o->size_bytes);
    return CF_OK;
}

/* Before the first byte of an attempt, or at the end of an empty one. */
static cf_err head_check(transfer *t, s3_call *call, const s3_http_answer *a, cf_error *e)
{
    const bool asked_range = !t->whole || t->at > t->offset;
    s3_object o = {0};
    uint64_t length = 0;

    if (t->head_seen)
        return CF_OK;
    CF_TRY(s3_object_of_headers(a, &o, e));
    CF_TRY(s3_object_length(a, &length, e));
    CF_ENSURE(!asked_range || a->status == 206, e, CF_ERR_PROTOCOL,
              "a range was asked for, the answer has status %d", a->status);
    CF_ENSURE(asked_range || a->status == 200, e, CF_ERR_PROTOCOL,
              "the whole object was asked for, the answer has status %d", a->status);
    o.size_bytes = length;
    if (asked_range)
        CF_TRY(partial_check(t, a, length, &o.size_bytes, e));
    t->head_seen = true;
    if (t->known) {
        const cf_err err = same_object(t, &o, e);
        call->stop = err != CF_OK;
        return err;
    }
    t->object = o;
    t->end = t->at + length;
    t->known = true;
    return CF_OK;
}

static cf_err get_stream(void *impl, s3_call *call, const s3_http_answer *a, cf_slice bytes,
                         cf_error *e)
{
    transfer *t = impl;

    CF_TRY(head_check(t, call, a, e));
    CF_ENSURE(bytes.len <= t->end - t->at, e, CF_ERR_PROTOCOL,
              "the answer has more bytes than it announced");
    const cf_err err = t->sink(t->sink_impl, bytes, e);
    if (err != CF_OK) {
        call->stop = true;
        return err;
    }
    t->at += bytes.len;
    return CF_OK;
}

static cf_err get_check(void *impl, s3_call *call, s3_reply *reply, cf_error *e)
{
    transfer *t = impl;

    CF_TRY(head_check(t, call, &reply->http, e));
    CF_ENSURE(t->at == t->end, e, CF_ERR_PROTOCOL, "the answer ended at byte %llu of %llu",
              (unsigned long long)t->at, (unsigned long long)t->end);
    return CF_OK;
}

static bool get_progressed(void *impl)
{
    const transfer *t = impl;

    return t->at > t->attempt_at;
}

cf_err s3_get(s3_client *c, const char *key, const s3_range *range, s3_sink sink, void *sink_impl,
              s3_object *ret, cf_error *e)
{
    CF_CLEANUP(s3_reply_deinit) s3_reply reply = {0};
    transfer t = {.whole = range == NULL, .sink = sink, .sink_impl = sink_impl};
    s3_call call = {.operation = "GetObject",
                    .method = "GET",
                    .key = key,
                    .prepare = get_prepare,
                    .stream = get_stream,
                    .check = get_check,
                    .progressed = get_progressed,
                    .impl = &t};

    if (range != NULL) {
        CF_ENSURE(range->len <= UINT64_MAX - range->offset, e, CF_ERR_USAGE,
                  "range %llu + %llu is too large", (unsigned long long)range->offset,
                  (unsigned long long)range->len);
        t.offset = range->offset;
        t.len = range->len;
        t.at = range->offset;
    }
    const cf_err err = s3_call_run(c, &call, &reply, e);
    /* Else a store would take the 416 for a range that was never there. */
    CF_ENSURE(err == CF_OK || reply.http.status != 416 || !t.known, e, CF_ERR_PROTOCOL,
              "GetObject '%s': the server announced bytes up to %llu and has none behind %llu", key,
              (unsigned long long)t.end, (unsigned long long)t.at);
    CF_TRY(err);
    if (ret != NULL)
        *ret = t.object;
    return CF_OK;
}
