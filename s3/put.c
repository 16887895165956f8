/* SPDX-License-Identifier: Apache-2.0
 *
 * PutObject from memory. A lost answer to a conditional PUT is settled by the id in the object's
 * metadata.
 */
#include <stdio.h>

#include "s3/base/hash.h"
#include "s3/call.h"
#include "s3/client.h"
#include "s3/object.h"
#include "s3/put.h"

static cf_err put_check(void *impl, s3_call *call, s3_reply *reply, cf_error *e)
{
    (void)call;
    return s3_object_etag(&reply->http, ((s3_put_result *)impl)->etag, e);
}

cf_err s3_put_id(s3_client *c, const s3_put_opts *opts, char ret[S3_ID_LEN + 1], cf_error *e)
{
    uint8_t raw[S3_ID_LEN / 2];

    if (opts == NULL || opts->id == NULL) {
        s3_client_make_id(c, ret);
        return CF_OK;
    }
    CF_ENSURE(cf_hex_parse(cf_slice_str(opts->id), raw, sizeof(raw)), e, CF_ERR_USAGE,
              "the id '%s' is not %u hex digits", opts->id, S3_ID_LEN);
    (void)snprintf(ret, S3_ID_LEN + 1, "%s", opts->id);
    return CF_OK;
}

const char *s3_put_content_type(const s3_put_opts *opts)
{
    return opts == NULL || opts->content_type == NULL ? "application/octet-stream"
                                                      : opts->content_type;
}

/* Ours does not stand there. */
static cf_err not_ours(const s3_settle *s, s3_standing standing, cf_error *e)
{
    const bool refused = s->status == 412;
    cf_error first = {0};

    if (s->create_only && (standing == S3_STANDING_OTHER || (refused && !s->maybe_done)))
        CF_FAIL(e, CF_ERR_EXISTS, "'%s' exists already", s->key);
    CF_ENSURE(s->failed != CF_OK, e, CF_ERR_CONFLICT,
              "'%s' was written, but somebody has replaced or deleted it since", s->key);
    if (s->failed == CF_ERR_INTERRUPTED || !s->maybe_done)
        return s->failed;
    /* Else nothing of ours stands there now, but a request that is still under way somewhere may
     * yet arrive. */
    if (e != NULL)
        first = *e;
    CF_FAIL(e, CF_ERR_UNKNOWN,
            "whether '%s' was or will be written is unknown, it does not stand there now: %.1400s",
            s->key, first.message);
}

static cf_err head_failed(const s3_settle *s, const cf_error *head, cf_error *e)
{
    cf_error first = {0};

    if (e != NULL)
        first = *e;
    if (s->create_only && s->status == 412 && !s->maybe_done)
        CF_FAIL(e, CF_ERR_EXISTS, "'%s' exists already (whose it is could not be read: %.800s)",
                s->key, head->message);
    if (s->failed == CF_ERR_INTERRUPTED || head->code == CF_ERR_INTERRUPTED)
        CF_FAIL(e, CF_ERR_INTERRUPTED, "interrupted; whether '%s' was written is unknown", s->key);
    CF_FAIL(e, CF_ERR_UNKNOWN, "whether '%s' was written is unknown: %.800s; then %.600s", s->key,
            first.message, head->message);
}

cf_err s3_put_settle(s3_client *c, const s3_settle *s, s3_put_result *result, cf_error *e)
{
    s3_standing standing = S3_STANDING_ABSENT;
    s3_object object = {0};
    cf_error head = {0};

    if (s3_object_standing(c, s->key, s->id, &standing, &object, &head) != CF_OK)
        return head_failed(s, &head, e);
    if (standing != S3_STANDING_OURS)
        return not_ours(s, standing, e);
    CF_ENSURE(object.size_bytes == s->size_bytes, e, CF_ERR_DAMAGE,
              "'%s' has our id but %llu bytes, %llu were sent", s->key,
              (unsigned long long)object.size_bytes, (unsigned long long)s->size_bytes);
    memcpy(result->etag, object.etag, sizeof(result->etag));
    result->settled = true;
    return CF_OK;
}

cf_err s3_put(s3_client *c, const char *key, cf_slice body, const s3_put_opts *opts,
              s3_put_result *ret, cf_error *e)
{
    CF_CLEANUP(s3_reply_deinit) s3_reply reply = {0};
    char id[S3_ID_LEN + 1];
    cf_error failure = {0};
    s3_put_result result = {.size_bytes = body.len};
    s3_call call = {.operation = "PutObject",
                    .method = "PUT",
                    .key = key,
                    .body = body,
                    .body_sha256 = result.sha256,
                    .is_upload = true,
                    .check = put_check,
                    .impl = &result};

    CF_ENSURE(body.len <= S3_PUT_BYTES_MAX, e, CF_ERR_TOO_LARGE,
              "'%s' has %zu bytes, one PUT takes %llu", key, body.len,
              (unsigned long long)S3_PUT_BYTES_MAX);
    CF_TRY(s3_put_id(c, opts, id, e));
    CF_TRY(cf_sha256(body, result.sha256, e));
    s3_call_header(&call, "content-type", s3_put_content_type(opts));
    s3_call_header(&call, S3_ID_HEADER, id);
    const bool create_only = opts != NULL && opts->create_only;
    call.last_words = opts != NULL && opts->last_words;
    call.lingers = create_only || body.len <= S3_SMALL_BODY_MAX; /* a lease, a root, a mark */
    if (create_only)
        s3_call_header(&call, "if-none-match", "*");
    cf_err err = s3_call_run(c, &call, &reply, &failure);
    if (err != CF_OK && create_only && (reply.http.status == 412 || reply.maybe_done)) {
        const s3_settle settle = {.key = key,
                                  .id = id,
                                  .size_bytes = body.len,
                                  .failed = err,
                                  .status = reply.http.status,
                                  .maybe_done = reply.maybe_done,
                                  .create_only = true};
        err = s3_put_settle(c, &settle, &result, &failure);
    }
    if (err == CF_OK && ret != NULL)
        *ret = result;
    if (err != CF_OK && e != NULL)
        *e = failure;
    return err;
}
