/* SPDX-License-Identifier: Apache-2.0
 *
 * Call: the loop over attempts. It asks s3_retry_decide() and does what it says.
 */
#include "s3/call.h"

#include <assert.h>
#include <stdio.h>

#include "s3/attempt.h"
#include "s3/base/hash.h"
#include "s3/client.h"
#include "s3/failure.h"

typedef struct call_state {
    s3_client *c;
    s3_call *call;
    s3_reply *reply;
    uint32_t attempt; /* since the last progress, 1.. */
    uint64_t start_mono_ms, progress_mono_ms;
    uint64_t progress_queued_ms; /* reply->queued_ms at progress_mono_ms */
    uint32_t last_cost;
    unsigned fixed;
    s3_verdict verdict;
    cf_error detail; /* of this attempt */
    bool has_md5;
    char md5[4 * ((CF_MD5_LEN + 2) / 3) + 1];
} call_state;

void s3_reply_deinit(s3_reply *r)
{
    s3_http_answer_deinit(&r->http);
    cf_buf_deinit(&r->body);
}

void s3_call_param(s3_call *call, const char *name, const char *value)
{
    assert(call->param_total < S3_CALL_PARAM_TOTAL_MAX);
    call->params[call->param_total++] = (s3_pair){cf_slice_str(name), cf_slice_str(value)};
}

void s3_call_header(s3_call *call, const char *name, const char *value)
{
    assert(call->header_total < S3_CALL_HEADER_TOTAL_MAX);
    call->headers[call->header_total++] = (s3_pair){cf_slice_str(name), cf_slice_str(value)};
}

static uint64_t mono(const s3_client *c)
{
    return c->world->mono_ms(c->world->impl);
}

static cf_err sha_render(const s3_call *call, char ret[CF_SHA256_HEX_SIZE], cf_error *e)
{
    uint8_t digest[CF_SHA256_LEN];

    if (call->body_sha256 != NULL) {
        cf_hex_render(cf_slice_of(call->body_sha256, CF_SHA256_LEN), ret);
        return CF_OK;
    }
    CF_TRY(cf_sha256(call->body, digest, e));
    cf_hex_render(cf_slice_of(digest, sizeof(digest)), ret);
    return CF_OK;
}

static s3_retry_decision decide(const call_state *s)
{
    s3_retry_event ev = {.class_ = s->verdict.class_,
                         .attempt = s->attempt,
                         .elapsed_ms = mono(s->c) - s->progress_mono_ms -
                                       (s->reply->queued_ms - s->progress_queued_ms),
                         .has_retry_after = s->verdict.has_retry_after,
                         .retry_after_ms = s->verdict.retry_after_ms,
                         .fixed = s->fixed};

    return s3_client_decide(s->c, &ev);
}

/* false: nothing could be corrected. */
static bool correct(call_state *s)
{
    s3_client *c = s->c;

    s->fixed |= 1u << s->verdict.class_;
    if (s->verdict.class_ == S3_RETRY_REGION)
        return s3_client_set_region(c, s->verdict.region, &s->detail) == CF_OK;
    if (s->verdict.class_ == S3_RETRY_SKEW) {
        s3_client_set_skew(c, s->verdict.server_utc_ms - c->world->now_utc_ms(c->world->impl));
        return true;
    }
    return s3_provider_refresh(c->creds, s->reply->cred_generation, &s->detail) == CF_OK;
}

static cf_err give_up(const call_state *s, s3_retry_action why, cf_error *e)
{
    s3_endpoint endpoint;
    int64_t skew_ms = 0;

    s3_client_get_state(s->c, &endpoint, &skew_ms);
    const s3_failure f = {.call = s->call,
                          .verdict = &s->verdict,
                          .endpoint = &endpoint,
                          .bucket = s->c->bucket,
                          .detail = s->detail.message,
                          .tries = s->reply->tries,
                          .elapsed_ms = mono(s->c) - s->start_mono_ms,
                          .why = why};
    return s3_failure_set(&f, e);
}

/* "Content-MD5 OR x-amz-checksum- HTTP header is required ...": the server says it of uploads to a
 * bucket with a default retention, of all that follow too. */
static bool md5_is_asked_for(call_state *s)
{
    if (!s->call->is_upload || s->has_md5 || s->verdict.status != 400 ||
        strstr(s->verdict.text, "Content-MD5") == NULL)
        return false;
    s3_client_lock(s->c);
    s->c->send_md5 = true;
    s3_client_unlock(s->c);
    return true;
}

static cf_err md5_add(call_state *s, cf_error *e)
{
    uint8_t md5[CF_MD5_LEN];

    s3_client_lock(s->c);
    const bool wanted = s->c->send_md5;
    s3_client_unlock(s->c);
    if (!s->call->is_upload || s->has_md5 || !wanted)
        return CF_OK;
    CF_TRY(cf_md5(s->call->body, md5, e));
    cf_base64_render(cf_slice_of(md5, sizeof(md5)), s->md5);
    s3_call_header(s->call, "content-md5", s->md5);
    s->has_md5 = true;
    return CF_OK;
}

/* Wait or correct after a failed attempt; CF_OK: try again. */
static cf_err after_failure(call_state *s, cf_error *e)
{
    if (s->call->stop)
        return give_up(s, S3_RETRY_STOP_FATAL, e);
    if (md5_is_asked_for(s))
        return CF_OK;
    if (s->call->progressed != NULL && s->call->progressed(s->call->impl)) {
        s->attempt = 1;
        s->progress_mono_ms = mono(s->c);
        s->progress_queued_ms = s->reply->queued_ms;
    }
    const s3_retry_decision d = decide(s);
    if (d.action == S3_RETRY_FIX)
        return correct(s) ? CF_OK : give_up(s, S3_RETRY_STOP_FATAL, e);
    if (d.action != S3_RETRY_WAIT)
        return give_up(s, d.action, e);
    s->last_cost = d.cost;
    if (d.wait_ms > 0)
        s->c->world->sleep_ms(s->c->world->impl, d.wait_ms);
    CF_ENSURE(!s->c->world->stopping(s->c->world->impl), e, CF_ERR_INTERRUPTED,
              "%s '%s': interrupted", s->call->operation,
              s->call->key == NULL ? s->c->bucket : s->call->key);
    return CF_OK;
}

static cf_err attempt_once(call_state *s, const char *sha_hex, cf_error *e)
{
    s3_call *call = s->call;

    s->detail = (cf_error){0};
    if (call->prepare != NULL)
        CF_TRY(call->prepare(call->impl, call, e));
    CF_TRY(md5_add(s, e));
    s->attempt++;
    s->reply->tries++;
    const cf_err err = s3_attempt_run(s->c, call, sha_hex, s->reply, &s->verdict, &s->detail);
    if (err != CF_OK && e != NULL) {
        *e = s->detail;
        cf_error_prefix(e, "%s '%s'", call->operation,
                        call->key == NULL ? s->c->bucket : call->key);
    }
    return err;
}

/* A line break in a value would be a header of its own. */
static cf_err headers_check(const s3_call *call, cf_error *e)
{
    for (size_t i = 0; i < call->header_total; i++) {
        const cf_slice value = call->headers[i].value;
        for (size_t k = 0; k < value.len; k++)
            CF_ENSURE(value.ptr[k] >= 0x20 && value.ptr[k] != 0x7f, e, CF_ERR_USAGE,
                      "%s: header '%.*s' has a control character", call->operation,
                      CF_SLICE_FMT(call->headers[i].name));
    }
    return CF_OK;
}

/* Can the server have carried the request out all the same? A refusal (4xx, SlowDown) says no. */
static bool is_ambiguous(const s3_verdict *v)
{
    switch (v->end) {
    case S3_HTTP_END_BROKEN:
    case S3_HTTP_END_STALLED:
    case S3_HTTP_END_STOPPED:
    case S3_HTTP_END_SINK:
        return true;
    case S3_HTTP_END_ANSWER:
        return v->class_ == S3_RETRY_SERVER && v->status / 100 != 4;
    case S3_HTTP_END_NAME:
    case S3_HTTP_END_CONNECT:
    case S3_HTTP_END_TLS:
    case S3_HTTP_END_TLS_VERIFY:
    case S3_HTTP_END_LOCAL:
        break;
    }
    return false;
}

cf_err s3_call_run(s3_client *c, s3_call *call, s3_reply *reply, cf_error *e)
{
    char sha_hex[CF_SHA256_HEX_SIZE];
    call_state s = {.c = c, .call = call, .reply = reply, .start_mono_ms = mono(c)};

    s.progress_mono_ms = s.start_mono_ms;
    if (call->key != NULL) {
        const size_t len = strlen(call->key);
        CF_ENSURE(len > 0, e, CF_ERR_USAGE, "%s: the key is empty", call->operation);
        CF_ENSURE(len <= S3_KEY_LEN_MAX, e, CF_ERR_USAGE,
                  "%s '%.64s...': the key has %zu bytes, %u are allowed", call->operation,
                  call->key, len, S3_KEY_LEN_MAX);
    }
    CF_TRY(headers_check(call, e));
    CF_TRY(sha_render(call, sha_hex, e));
    s3_http_answer_init(&reply->http);
    cf_buf_init(&reply->body, call->answer_max == 0 ? (size_t)S3_SMALL_BODY_MAX : call->answer_max);
    for (;;) {
        CF_TRY(attempt_once(&s, sha_hex, e));
        if (s.verdict.err == CF_OK) {
            s3_client_refund(c, s.last_cost);
            return CF_OK;
        }
        reply->maybe_done = reply->maybe_done || is_ambiguous(&s.verdict);
        CF_TRY(after_failure(&s, e));
        s3_client_lock(c);
        c->counts.retries_total++;
        s3_client_unlock(c);
    }
}
