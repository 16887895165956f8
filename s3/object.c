/* SPDX-License-Identifier: Apache-2.0
 *
 * Object: headers to values, and HeadObject.
 */
#include "s3/object.h"

#include "s3/base/cleanup.h"
#include "s3/base/num.h"
#include "s3/call.h"

cf_err s3_object_etag(const s3_http_answer *a, char ret[S3_ETAG_LEN_MAX + 1], cf_error *e)
{
    const cf_slice etag = s3_http_answer_get(a, "etag");

    CF_ENSURE(etag.len > 0, e, CF_ERR_PROTOCOL, "the answer has no ETag");
    CF_ENSURE(etag.len <= S3_ETAG_LEN_MAX, e, CF_ERR_PROTOCOL,
              "the answer's ETag has %zu bytes, %u are allowed", etag.len, S3_ETAG_LEN_MAX);
    memcpy(ret, etag.ptr, etag.len);
    ret[etag.len] = '\0';
    return CF_OK;
}

cf_err s3_object_length(const s3_http_answer *a, uint64_t *ret, cf_error *e)
{
    const cf_slice text = s3_http_answer_get(a, "content-length");

    CF_ENSURE(text.ptr != NULL, e, CF_ERR_PROTOCOL, "the answer has no Content-Length");
    CF_ENSURE(cf_u64_parse(text, ret), e, CF_ERR_PROTOCOL, "the answer's Content-Length is '%.*s'",
              CF_SLICE_FMT(text));
    return CF_OK;
}

cf_err s3_object_of_headers(const s3_http_answer *a, s3_object *ret, cf_error *e)
{
    s3_object o = {0};
    const cf_slice modified = s3_http_answer_get(a, "last-modified");
    const cf_slice id = s3_http_answer_get(a, S3_ID_HEADER);

    CF_TRY(s3_object_etag(a, o.etag, e));
    if (modified.len > 0)
        CF_ENSURE(cf_time_parse_http(modified, &o.modified_utc_ms), e, CF_ERR_PROTOCOL,
                  "the answer's Last-Modified is '%.*s'", CF_SLICE_FMT(modified));
    if (id.len == S3_ID_LEN) /* else somebody else's: as if there were none */
        memcpy(o.id, id.ptr, id.len);
    *ret = o;
    return CF_OK;
}

static bool number_until(cf_slice *rest, uint8_t stop, uint64_t *ret)
{
    const uint8_t *end = rest->len == 0 ? NULL : memchr(rest->ptr, stop, rest->len);

    if (end == NULL)
        return false;
    const size_t len = (size_t)(end - rest->ptr);
    if (!cf_u64_parse(cf_slice_of(rest->ptr, len), ret))
        return false;
    *rest = cf_slice_of(end + 1, rest->len - len - 1);
    return true;
}

bool s3_content_range_parse(cf_slice text, s3_content_range *ret)
{
    s3_content_range r = {0};

    if (!cf_slice_starts_with(text, cf_slice_str("bytes ")))
        return false;
    cf_slice rest = cf_slice_of(text.ptr + 6, text.len - 6);
    if (!number_until(&rest, '-', &r.first) || !number_until(&rest, '/', &r.last) ||
        !cf_u64_parse(rest, &r.total))
        return false;
    if (r.first > r.last || r.last >= r.total)
        return false;
    *ret = r;
    return true;
}

static cf_err head_check(void *impl, s3_call *call, s3_reply *reply, cf_error *e)
{
    s3_object o;

    (void)call;
    CF_TRY(s3_object_of_headers(&reply->http, &o, e));
    CF_TRY(s3_object_length(&reply->http, &o.size_bytes, e));
    *(s3_object *)impl = o;
    return CF_OK;
}

cf_err s3_head(s3_client *c, const char *key, s3_object *ret, cf_error *e)
{
    CF_CLEANUP(s3_reply_deinit) s3_reply reply = {0};
    s3_object o = {0};
    s3_call call = {
        .operation = "HeadObject", .method = "HEAD", .key = key, .check = head_check, .impl = &o};

    CF_TRY(s3_call_run(c, &call, &reply, e));
    if (ret != NULL)
        *ret = o;
    return CF_OK;
}

cf_err s3_object_standing(s3_client *c, const char *key, const char *id, s3_standing *ret_standing,
                          s3_object *ret, cf_error *e)
{
    CF_CHECK(ret != NULL);
    const cf_err err = s3_head(c, key, ret, e);

    if (err != CF_OK && err != CF_ERR_NOT_FOUND)
        return err;
    if (err == CF_ERR_NOT_FOUND)
        *ret_standing = S3_STANDING_ABSENT;
    else
        *ret_standing =
            id != NULL && strcmp(ret->id, id) == 0 ? S3_STANDING_OURS : S3_STANDING_OTHER;
    return CF_OK;
}
