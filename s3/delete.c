/* SPDX-License-Identifier: Apache-2.0
 *
 * DeleteObject and DeleteObjects. What a batch cannot carry or could not delete is deleted one by
 * one, so that every key gets the same retries and a failure names the key.
 */
#include <stdio.h>

#include "s3/base/cleanup.h"
#include "s3/base/hash.h"
#include "s3/call.h"
#include "s3/client.h"
#include "s3/codes.h"
#include "s3/xml.h"

enum {
    DELETE_BODY_MAX = 8 * 1024 * 1024 /* ours: 1,000 keys of 1,024 bytes, escaped, with room */
};

typedef struct deletion {
    s3_client *c;
    size_t failed_total;
    cf_error first; /* the first key's failure */
} deletion;

cf_err s3_delete(s3_client *c, const char *key, cf_error *e)
{
    CF_CLEANUP(s3_reply_deinit) s3_reply reply = {0};
    s3_call call = {.operation = "DeleteObject", .method = "DELETE", .key = key};
    cf_error failure = {0};
    const cf_err err = s3_call_run(c, &call, &reply, &failure);

    if (err == CF_OK ||
        err == CF_ERR_NOT_FOUND) /* S3 says 204 for what is not there; some servers 404 */
        return CF_OK;
    if (e != NULL)
        *e = failure;
    return err;
}

static cf_err batch_check(void *impl, s3_call *call, s3_reply *reply, cf_error *e)
{
    s3_xml_deletions *d = impl;

    (void)call;
    s3_xml_deletions_deinit(d);
    *d = (s3_xml_deletions){0};
    return s3_xml_parse_deletions(cf_buf_slice(&reply->body), d, e);
}

static cf_err batch_send(s3_client *c, cf_slice body, s3_xml_deletions *ret, cf_error *e)
{
    CF_CLEANUP(s3_reply_deinit) s3_reply reply = {0};
    uint8_t md5[CF_MD5_LEN];
    char md5_text[4 * ((CF_MD5_LEN + 2) / 3) + 1];
    s3_call call = {.operation = "DeleteObjects",
                    .method = "POST",
                    .body = body,
                    .answer_max = S3_XML_BODY_MAX,
                    .check = batch_check,
                    .impl = ret};

    CF_TRY(cf_md5(body, md5, e));
    cf_base64_render(cf_slice_of(md5, sizeof(md5)), md5_text);
    s3_call_param(&call, "delete", "");
    s3_call_header(&call, "content-md5", md5_text); /* required, and every server knows it */
    s3_call_header(&call, "content-type", "application/xml");
    return s3_call_run(c, &call, &reply, e);
}

static void note_failure(deletion *d, const cf_error *failure)
{
    if (d->failed_total++ == 0)
        d->first = *failure;
}

/* The batch's word on one key: final as it is, or the key is deleted alone. CF_ERR_INTERRUPTED ends
 * all. */
static cf_err one_by_one(deletion *d, const char *key, const s3_xml_deletion *said, cf_error *e)
{
    cf_error failure = {0};

    if (said != NULL) {
        const s3_code code = s3_code_classify(said->code, /* http_status= */ 400);
        if (code.err == CF_ERR_NOT_FOUND)
            return CF_OK;
        if (code.code_class == S3_CODE_FINAL) {
            (void)cf_error_set(&failure, code.err, __FILE__, __LINE__,
                               "DeleteObjects '%s': the server says %.*s: %.*s", key,
                               CF_SLICE_FMT(said->code), CF_SLICE_FMT(said->message));
            note_failure(d, &failure);
            return CF_OK;
        }
    }
    const cf_err err = s3_delete(d->c, key, &failure);
    if (err == CF_ERR_INTERRUPTED) {
        if (e != NULL)
            *e = failure;
        return err;
    }
    if (err != CF_OK)
        note_failure(d, &failure);
    return CF_OK;
}

/* Keys that XML 1.0 cannot carry: control characters, bytes that are not UTF-8. */
static bool xml_can_carry(const char *key)
{
    cf_buf probe;
    const char *const keys[] = {key};

    cf_buf_init(&probe, DELETE_BODY_MAX);
    const cf_err err = s3_xml_render_delete(keys, 1, &probe, NULL);
    cf_buf_deinit(&probe);
    return err == CF_OK;
}

static const s3_xml_deletion *said_of(const s3_xml_deletions *d, const char *key)
{
    for (size_t i = 0; i < d->failed_total; i++) {
        if (cf_slice_eq(d->failed[i].key, cf_slice_str(key)))
            return &d->failed[i];
    }
    return NULL;
}

static cf_err batch_delete(deletion *d, const char *const *keys, size_t total, cf_error *e)
{
    CF_CLEANUP(s3_xml_deletions_deinit) s3_xml_deletions said = {0};
    CF_CLEANUP(cf_buf_deinit) cf_buf body = {0};

    cf_buf_init(&body, DELETE_BODY_MAX);
    CF_TRY(s3_xml_render_delete(keys, total, &body, e));
    CF_TRY(batch_send(d->c, cf_buf_slice(&body), &said, e));
    for (size_t i = 0; i < total && said.failed_total > 0; i++) {
        const s3_xml_deletion *one = said_of(&said, keys[i]);
        if (one != NULL)
            CF_TRY(one_by_one(d, keys[i], one, e));
    }
    return CF_OK;
}

cf_err s3_delete_many(s3_client *c, const char *const *keys, size_t key_total, cf_error *e)
{
    deletion d = {.c = c};
    const char *batch[S3_DELETE_TOTAL_MAX];
    size_t batch_total = 0;

    for (size_t i = 0; i < key_total; i++) {
        const size_t len = strlen(keys[i]);
        CF_ENSURE(len >= 1, e, CF_ERR_USAGE, "DeleteObjects: key %zu is empty", i);
        CF_ENSURE(len <= S3_KEY_LEN_MAX, e, CF_ERR_USAGE,
                  "DeleteObjects: key %zu has %zu bytes, %u are allowed", i, len, S3_KEY_LEN_MAX);
    }
    for (size_t i = 0; i < key_total; i++) {
        if (xml_can_carry(keys[i]))
            batch[batch_total++] = keys[i];
        else
            CF_TRY(one_by_one(&d, keys[i], /* said= */ NULL, e));
        if (batch_total == S3_DELETE_TOTAL_MAX || (i + 1 == key_total && batch_total > 0)) {
            CF_TRY(batch_delete(&d, batch, batch_total, e));
            batch_total = 0;
        }
    }
    if (d.failed_total == 0)
        return CF_OK;
    CF_FAIL(e, d.first.code, "%zu of %zu objects were not deleted; the first: %.1800s",
            d.failed_total, key_total, d.first.message);
}
