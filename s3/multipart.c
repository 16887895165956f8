/* SPDX-License-Identifier: Apache-2.0
 *
 * Multipart: Create, UploadPart, Complete, Abort.
 */
#include "s3/multipart.h"

#include <stdio.h>
#include <string.h>

#include "s3/base/cleanup.h"
#include "s3/call.h"
#include "s3/object.h"
#include "s3/put.h"

enum {
    COMPLETE_BODY_MAX = 4 * 1024 * 1024, /* ours: 10,000 parts of 250 bytes */
    COMPLETE_STALL_FACTOR = 4,
};

static cf_err create_check(void *impl, s3_call *call, s3_reply *reply, cf_error *e)
{
    (void)call;
    return s3_xml_parse_initiate(cf_buf_slice(&reply->body), ((s3_multipart *)impl)->upload_id, e);
}

cf_err s3_multipart_create(s3_client *c, s3_multipart *m, cf_error *e)
{
    CF_CLEANUP(s3_reply_deinit) s3_reply reply = {0};
    s3_call call = {.operation = "CreateMultipartUpload",
                    .method = "POST",
                    .key = m->key,
                    .lingers = true,
                    .check = create_check,
                    .impl = m};

    s3_call_param(&call, "uploads", "");
    s3_call_header(&call, "content-type", m->content_type);
    s3_call_header(&call, S3_ID_HEADER, m->id);
    return s3_call_run(c, &call, &reply, e);
}

/* NoSuchUpload: somebody has ended the upload. CF_ERR_NOT_FOUND would mean the object to a caller.
 */
static cf_err gone_is_conflict(cf_err err, cf_error *e)
{
    if (err != CF_ERR_NOT_FOUND)
        return err;
    if (e != NULL) {
        const size_t len = strlen(e->message);
        (void)snprintf(
            e->message + len, sizeof(e->message) - len,
            "\nHINT: a rule of the bucket, a prune or another client aborted the upload");
        e->code = CF_ERR_CONFLICT;
    }
    return CF_ERR_CONFLICT;
}

static cf_err part_check(void *impl, s3_call *call, s3_reply *reply, cf_error *e)
{
    (void)call;
    return s3_object_etag(&reply->http, impl, e);
}

cf_err s3_multipart_send(s3_client *c, const s3_multipart *m, uint32_t number, cf_slice body,
                         const uint8_t sha256[32], char ret_etag[S3_ETAG_LEN_MAX + 1], cf_error *e)
{
    CF_CLEANUP(s3_reply_deinit) s3_reply reply = {0};
    char number_text[16];
    s3_call call = {.operation = "UploadPart",
                    .method = "PUT",
                    .key = m->key,
                    .body = body,
                    .body_sha256 = sha256,
                    .is_upload = true,
                    .check = part_check,
                    .impl = ret_etag};

    (void)snprintf(number_text, sizeof(number_text), "%u", number);
    s3_call_param(&call, "partNumber", number_text);
    s3_call_param(&call, "uploadId", m->upload_id);
    return gone_is_conflict(s3_call_run(c, &call, &reply, e), e);
}

static cf_err complete_check(void *impl, s3_call *call, s3_reply *reply, cf_error *e)
{
    bool failed = false;
    s3_xml_error error = {0};
    s3_put_result *result = impl;

    (void)call;
    CF_TRY(s3_xml_parse_complete(cf_buf_slice(&reply->body), result->etag, &failed, &error, e));
    CF_ENSURE(!failed, e, CF_ERR_PROTOCOL, "the server answered 200 and %s",
              error.code); /* judged before: cannot be */
    return CF_OK;
}

/* The answer is bad or missing: what stands at the key? */
static cf_err complete_settle(s3_client *c, const s3_settle *settle, s3_put_result *ret,
                              bool *ret_unknown, cf_error *failure)
{
    const cf_error before = *failure;
    const cf_err err = s3_put_settle(c, settle, ret, failure);

    if (err == CF_ERR_UNKNOWN) {
        *ret_unknown = true;
        *failure = before;
        return settle->failed;
    }
    return err;
}

cf_err s3_multipart_complete(s3_client *c, const s3_multipart *m, const s3_xml_part *parts,
                             size_t part_total, uint64_t size_bytes, s3_put_result *ret,
                             bool *ret_unknown, cf_error *e)
{
    CF_CLEANUP(s3_reply_deinit) s3_reply reply = {0};
    CF_CLEANUP(cf_buf_deinit) cf_buf body = {0};
    cf_error failure = {0};
    s3_call call = {.operation = "CompleteMultipartUpload",
                    .method = "POST",
                    .key = m->key,
                    .check = complete_check,
                    .impl = ret,
                    .conflict_is_final = true,
                    .lingers = true,
                    .stall_factor = COMPLETE_STALL_FACTOR};

    cf_buf_init(&body, COMPLETE_BODY_MAX);
    CF_TRY(s3_xml_render_complete(parts, part_total, &body, e));
    call.body = cf_buf_slice(&body);
    s3_call_param(&call, "uploadId", m->upload_id);
    if (m->create_only)
        s3_call_header(&call, "if-none-match", "*");
    cf_err err = s3_call_run(c, &call, &reply, &failure);
    const int status = reply.http.status;
    /* Ceph 16 leaves the ETag empty; a second try finds no upload any more; 409 may hide another's
     * object. */
    const bool settles = status == 412 || status == 404 || status == 409 || reply.maybe_done;
    if (err == CF_OK ? ret->etag[0] == '\0' : settles) {
        const s3_settle settle = {.key = m->key,
                                  .id = m->id,
                                  .size_bytes = size_bytes,
                                  .failed = err,
                                  .status = status,
                                  .maybe_done = reply.maybe_done,
                                  .create_only = m->create_only};
        err = complete_settle(c, &settle, ret, ret_unknown, &failure);
    }
    err = gone_is_conflict(err, &failure);
    if (err != CF_OK && e != NULL)
        *e = failure;
    return err;
}

cf_err s3_multipart_abort(s3_client *c, const char *key, const char *upload_id, bool last_words,
                          bool *ret_gone, cf_error *e)
{
    CF_CLEANUP(s3_reply_deinit) s3_reply reply = {0};
    cf_error failure = {0};
    s3_call call = {.operation = "AbortMultipartUpload",
                    .method = "DELETE",
                    .key = key,
                    .last_words = last_words};

    s3_call_param(&call, "uploadId", upload_id);
    const cf_err err = s3_call_run(c, &call, &reply, &failure);
    *ret_gone = err == CF_ERR_NOT_FOUND;
    if (err == CF_OK || *ret_gone)
        return CF_OK;
    if (e != NULL)
        *e = failure;
    return err;
}

cf_err s3_uploads_abort(s3_client *c, const char *key, const char *upload_id, cf_error *e)
{
    bool gone = false;

    return s3_multipart_abort(c, key, upload_id, /* last_words= */ false, &gone, e);
}
