/* SPDX-License-Identifier: Apache-2.0
 *
 * Verdict: status, code and headers to a decision table's input.
 */
#include "s3/verdict.h"

#include <stdio.h>
#include <string.h>

#include "s3/base/num.h"
#include "s3/codes.h"
#include "s3/xml.h"

static void copy_slice(char *ret, size_t size, cf_slice s)
{
    const size_t len = s.len < size - 1 ? s.len : size - 1;

    for (size_t i = 0; i < len; i++)
        ret[i] = (char)(s.ptr[i] < 0x20 || s.ptr[i] == 0x7f ? '?' : s.ptr[i]);
    ret[len] = '\0';
}

static void headers_note(const s3_http_answer *a, s3_verdict *v)
{
    const cf_slice date = s3_http_answer_get(a, "date");
    const cf_slice retry_after = s3_http_answer_get(a, "x-amz-retry-after");

    copy_slice(v->request_id, sizeof(v->request_id), s3_http_answer_get(a, "x-amz-request-id"));
    if (!cf_time_parse_http(date, &v->server_utc_ms))
        v->server_utc_ms = 0;
    v->has_retry_after = cf_u64_parse(retry_after, &v->retry_after_ms);
    v->is_html =
        cf_slice_starts_with(s3_http_answer_get(a, "content-type"), cf_slice_str("text/html"));
}

static const s3_retry_class classes[] = {
    [S3_CODE_FINAL] = S3_RETRY_FATAL,      [S3_CODE_THROTTLE] = S3_RETRY_THROTTLE,
    [S3_CODE_TRANSIENT] = S3_RETRY_SERVER, [S3_CODE_INTEGRITY] = S3_RETRY_SERVER,
    [S3_CODE_CONFLICT] = S3_RETRY_SERVER,  [S3_CODE_CREDENTIALS] = S3_RETRY_CREDENTIALS,
    [S3_CODE_SKEW] = S3_RETRY_SKEW,        [S3_CODE_SKEW_MAYBE] = S3_RETRY_SKEW,
    [S3_CODE_REGION] = S3_RETRY_REGION,
};

/* The region the answer names, when it is one we did not sign for. */
static void region_judge(const s3_verdict_opts *o, const s3_http_answer *a, const s3_xml_error *x,
                         s3_verdict *v)
{
    cf_slice region = s3_http_answer_get(a, "x-amz-bucket-region");

    if (region.len == 0)
        region = cf_slice_str(x->region);
    v->class_ = S3_RETRY_FATAL;
    if (!s3_region_valid(region) || cf_slice_eq(region, cf_slice_str(o->region)) ||
        o->is_create_bucket)
        return;
    copy_slice(v->region, sizeof(v->region), region);
    v->class_ = S3_RETRY_REGION;
}

/* Rules of our notes s3proto 2.3. */
static void skew_judge(const s3_verdict_opts *o, bool maybe, s3_verdict *v)
{
    const int64_t differs = v->server_utc_ms - o->our_utc_ms;
    const bool large = differs >= S3_SKEW_MIN_MS || differs <= -S3_SKEW_MIN_MS;

    if (v->server_utc_ms == 0 || (maybe && !large)) {
        v->class_ = S3_RETRY_FATAL;
        return;
    }
    v->class_ = S3_RETRY_SKEW;
    v->err = CF_ERR_SKEW;
}

static bool is_redirect(int status)
{
    return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

static void failed_judge(const s3_verdict_opts *o, const s3_http_answer *a, const s3_xml_error *x,
                         s3_verdict *v)
{
    const s3_code code = s3_code_classify(cf_slice_str(v->s3_code), v->status);
    const bool bare = v->s3_code[0] == '\0';

    v->err = code.err;
    v->class_ = classes[code.code_class];
    if (bare && v->status == 404)
        v->err = o->is_bucket ? CF_ERR_NO_BUCKET : CF_ERR_NOT_FOUND;
    if (bare && v->status == 503)
        v->class_ = S3_RETRY_THROTTLE; /* a HEAD cannot say SlowDown */
    if (is_redirect(v->status)) {
        v->err = CF_ERR_REGION;
        copy_slice(v->location, sizeof(v->location), s3_http_answer_get(a, "location"));
    }
    if (code.code_class == S3_CODE_CONFLICT && o->conflict_is_final)
        v->class_ = S3_RETRY_FATAL;
    if (code.code_class == S3_CODE_REGION || is_redirect(v->status) ||
        (o->is_head && v->status == 400))
        region_judge(o, a, x, v);
    else if (code.code_class == S3_CODE_SKEW || code.code_class == S3_CODE_SKEW_MAYBE)
        skew_judge(o, code.code_class == S3_CODE_SKEW_MAYBE, v);
    else if (o->is_head && v->status == 403) /* no body: only the Date can tell a wrong clock */
        skew_judge(o, /* maybe= */ true, v);
}

void s3_verdict_of_answer(const s3_verdict_opts *o, const s3_http_answer *a, cf_slice body,
                          s3_verdict *ret)
{
    s3_xml_error x = {0};
    s3_verdict v = {.end = S3_HTTP_END_ANSWER, .status = a->status};
    const bool good = a->status >= 200 && a->status < 300;

    headers_note(a, &v);
    const bool has_error =
        (!good || o->error_in_200) && body.len > 0 && s3_xml_parse_error(body, &x, NULL) == CF_OK;
    if (good && !has_error) {
        *ret = v; /* CF_OK */
        return;
    }
    if (has_error) {
        copy_slice(v.s3_code, sizeof(v.s3_code), cf_slice_str(x.code));
        copy_slice(v.text, sizeof(v.text), cf_slice_str(x.message));
        if (v.request_id[0] == '\0')
            copy_slice(v.request_id, sizeof(v.request_id), cf_slice_str(x.request_id));
        if (v.server_utc_ms == 0)
            v.server_utc_ms = x.server_utc_ms;
        v.is_html = false;
    }
    failed_judge(o, a, &x, &v);
    *ret = v;
}

void s3_verdict_of_failure(const s3_http_answer *a, cf_err err, s3_verdict *ret)
{
    s3_verdict v = {.err = err, .end = a->end, .status = a->status, .class_ = S3_RETRY_FATAL};

    headers_note(a, &v);
    switch (a->end) {
    case S3_HTTP_END_NAME:
    case S3_HTTP_END_CONNECT:
    case S3_HTTP_END_TLS:
    case S3_HTTP_END_BROKEN:
    case S3_HTTP_END_STALLED:
        v.class_ = S3_RETRY_TRANSPORT;
        break;
    case S3_HTTP_END_SINK: /* call->stop says when it is final */
        v.class_ = S3_RETRY_SERVER;
        break;
    case S3_HTTP_END_ANSWER:
    case S3_HTTP_END_TLS_VERIFY:
    case S3_HTTP_END_STOPPED:
    case S3_HTTP_END_LOCAL:
        break;
    }
    *ret = v;
}
