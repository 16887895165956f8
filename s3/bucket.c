/* SPDX-License-Identifier: Apache-2.0
 *
 * HeadBucket, CreateBucket, ListMultipartUploads.
 */
#include <stdio.h>

#include "s3/base/cleanup.h"
#include "s3/call.h"
#include "s3/client.h"
#include "s3/xml.h"

enum {
    LOCATION_BODY_MAX = 1024,
    EMPTY_PAGES_MAX = 10000, /* ours, in a row */
    KEY_PAGES_MAX = 1000,    /* ours, in a row that begin at one key: ids have no order */
};

cf_err s3_bucket_head(s3_client *c, cf_error *e)
{
    CF_CLEANUP(s3_reply_deinit) s3_reply reply = {0};
    s3_call call = {.operation = "HeadBucket", .method = "HEAD"};

    return s3_call_run(c, &call, &reply, e);
}

cf_err s3_bucket_create(s3_client *c, cf_error *e)
{
    CF_CLEANUP(s3_reply_deinit) s3_reply reply = {0};
    CF_CLEANUP(cf_buf_deinit) cf_buf body = {0};
    s3_endpoint endpoint;
    int64_t skew_ms = 0;
    cf_error failure = {0};
    s3_call call = {.operation = "CreateBucket", .method = "PUT"};

    cf_buf_init(&body, LOCATION_BODY_MAX);
    s3_client_get_state(c, &endpoint, &skew_ms);
    if (strcmp(endpoint.region, "us-east-1") != 0) {
        CF_TRY(s3_xml_render_location(endpoint.region, &body, e));
        s3_call_header(&call, "content-type", "application/xml");
    }
    call.body = cf_buf_slice(&body);
    const cf_err err = s3_call_run(c, &call, &reply, &failure);
    if (err == CF_OK || strcmp(failure.s3_code, "BucketAlreadyOwnedByYou") == 0)
        return CF_OK;
    if (e != NULL)
        *e = failure;
    return err;
}

static cf_err versioning_check(void *impl, s3_call *call, s3_reply *reply, cf_error *e)
{
    (void)call;
    return s3_xml_parse_versioning(cf_buf_slice(&reply->body), impl, e);
}

cf_err s3_bucket_versioning(s3_client *c, bool *ret_on, cf_error *e)
{
    CF_CLEANUP(s3_reply_deinit) s3_reply reply = {0};
    bool on = false;
    cf_error failure = {0};
    s3_call call = {.operation = "GetBucketVersioning",
                    .method = "GET",
                    .check = versioning_check,
                    .impl = &on};

    s3_call_param(&call, "versioning", "");
    const cf_err err = s3_call_run(c, &call, &reply, &failure);
    if (err != CF_OK && err != CF_ERR_UNSUPPORTED && reply.http.status != 405) {
        if (e != NULL)
            *e = failure;
        return err;
    }
    *ret_on = err == CF_OK && on;
    return CF_OK;
}

typedef struct uploads_listing {
    const char *prefix;
    s3_xml_uploads page;
    cf_buf key_marker, upload_id_marker;
} uploads_listing;

static void uploads_listing_deinit(uploads_listing *l)
{
    s3_xml_uploads_deinit(&l->page);
    cf_buf_deinit(&l->key_marker);
    cf_buf_deinit(&l->upload_id_marker);
}

static cf_err uploads_check(void *impl, s3_call *call, s3_reply *reply, cf_error *e)
{
    uploads_listing *l = impl;
    const cf_slice prefix = cf_slice_str(l->prefix);

    (void)call;
    s3_xml_uploads_deinit(&l->page);
    l->page = (s3_xml_uploads){0};
    CF_TRY(s3_xml_parse_uploads(cf_buf_slice(&reply->body), &l->page, e));
    for (size_t i = 0; i < l->page.entry_total; i++)
        CF_ENSURE(cf_slice_starts_with(l->page.entries[i].key, prefix), e, CF_ERR_PROTOCOL,
                  "the page has '%.*s', which is not under '%.*s'",
                  CF_SLICE_FMT(l->page.entries[i].key), CF_SLICE_FMT(prefix));
    if (l->page.truncated) {
        const int order = cf_slice_cmp(l->page.next_key_marker, cf_buf_slice(&l->key_marker));
        CF_ENSURE(order > 0 || (order == 0 && !cf_slice_eq(l->page.next_upload_id_marker,
                                                           cf_buf_slice(&l->upload_id_marker))),
                  e, CF_ERR_PROTOCOL, "the page's markers do not lead on");
    }
    return CF_OK;
}

static cf_err uploads_page(s3_client *c, uploads_listing *l, cf_error *e)
{
    CF_CLEANUP(s3_reply_deinit) s3_reply reply = {0};
    const char *key = NULL;
    const char *upload_id = NULL;
    s3_call call = {.operation = "ListMultipartUploads",
                    .method = "GET",
                    .answer_max = S3_XML_BODY_MAX,
                    .check = uploads_check,
                    .impl = l};

    s3_call_param(&call, "uploads", "");
    s3_call_param(&call, "encoding-type", "url");
    s3_call_param(&call, "max-uploads", "1000");
    if (l->prefix != NULL && l->prefix[0] != '\0')
        s3_call_param(&call, "prefix", l->prefix);
    if (l->key_marker.len > 0) {
        CF_TRY(cf_buf_get_str(&l->key_marker, &key, e));
        CF_TRY(cf_buf_get_str(&l->upload_id_marker, &upload_id, e));
        s3_call_param(&call, "key-marker", key);
        if (upload_id[0] != '\0')
            s3_call_param(&call, "upload-id-marker", upload_id);
    }
    const cf_err err = s3_call_run(c, &call, &reply, e);
    CF_ENSURE(err == CF_OK || reply.http.status != 405, e, CF_ERR_UNSUPPORTED,
              "the server does not list multipart uploads (405)");
    return err;
}

cf_err s3_uploads_list(s3_client *c, const char *prefix, s3_uploads_fn fn, void *impl, cf_error *e)
{
    CF_CLEANUP(uploads_listing_deinit) uploads_listing l = {.prefix = prefix};
    uint32_t empty_total = 0;
    uint32_t key_total = 0;

    cf_buf_init(&l.key_marker, 2 * S3_KEY_LEN_MAX);
    cf_buf_init(&l.upload_id_marker, S3_UPLOAD_ID_LEN_MAX + 1);
    do {
        CF_TRY(uploads_page(c, &l, e));
        empty_total = l.page.entry_total > 0 ? 0 : empty_total + 1;
        CF_ENSURE(empty_total <= EMPTY_PAGES_MAX, e, CF_ERR_PROTOCOL,
                  "ListMultipartUploads bucket '%s': %d pages in a row were empty, and each said "
                  "that more would come",
                  c->bucket, EMPTY_PAGES_MAX);
        key_total =
            cf_slice_eq(l.page.next_key_marker, cf_buf_slice(&l.key_marker)) ? key_total + 1 : 0;
        CF_ENSURE(key_total <= KEY_PAGES_MAX, e, CF_ERR_PROTOCOL,
                  "ListMultipartUploads bucket '%s': %d pages in a row were of key '%.*s' alone, "
                  "and each said that more would come",
                  c->bucket, KEY_PAGES_MAX, CF_SLICE_FMT(l.page.next_key_marker));
        for (size_t i = 0; i < l.page.entry_total; i++)
            CF_TRY(fn(impl, &l.page.entries[i], e));
        cf_buf_clear(&l.key_marker);
        cf_buf_clear(&l.upload_id_marker);
        CF_TRY(cf_buf_append(&l.key_marker, l.page.next_key_marker, e));
        CF_TRY(cf_buf_append(&l.upload_id_marker, l.page.next_upload_id_marker, e));
    } while (l.page.truncated);
    return CF_OK;
}
