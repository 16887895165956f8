/* SPDX-License-Identifier: Apache-2.0
 *
 * Attempt: build, sign, exchange, judge. The only place that knows both the signer and the
 * transport.
 */
#include "s3/attempt.h"

#include <assert.h>
#include <stdlib.h>

#include "s3/base/cleanup.h"
#include "s3/base/num.h"
#include "s3/client.h"

enum {
    URL_MAX = 64 * 1024, /* ours: key 3,072, continuation token, prefix, host; servers allow less */
    HEADER_TOTAL_MAX = S3_CALL_HEADER_TOTAL_MAX +
                       6, /* and host, date, sha256, token, authorization, accept-encoding */
    LINGER_MS = 500,      /* ours: with the last words, a run that is to stop stops within 2 s */
};

typedef struct attempt {
    s3_client *c;
    s3_call *call;
    s3_reply *reply;
    s3_endpoint endpoint;
    int64_t signed_utc_ms;
    int64_t answered_utc_ms; /* by the clock that signed */
    s3_credentials cred;
    s3_sigv4 sig;
    cf_buf path, url;
    s3_pair headers[HEADER_TOTAL_MAX];
    size_t header_total;
    cf_error *e;
} attempt;

static void attempt_deinit(attempt *t)
{
    s3_credentials_deinit(&t->cred);
    s3_sigv4_deinit(&t->sig);
    cf_buf_deinit(&t->path);
    cf_buf_deinit(&t->url);
}

static void add_header(attempt *t, const char *name, cf_slice value)
{
    assert(t->header_total < HEADER_TOTAL_MAX);
    t->headers[t->header_total++] = (s3_pair){cf_slice_str(name), value};
}

static cf_err path_render(attempt *t, cf_error *e)
{
    CF_TRY(cf_buf_append_str(&t->path, t->endpoint.path, e));
    if (t->call->key != NULL) {
        CF_TRY(cf_buf_append_char(&t->path, '/', e));
        return s3_uri_encode(cf_slice_str(t->call->key), /* keep_slash= */ true, &t->path, e);
    }
    return t->path.len == 0 ? cf_buf_append_char(&t->path, '/', e) : CF_OK;
}

/* The signing key's cache is the client's: the signing itself (microseconds) happens under its
 * lock. */
static cf_err sign(attempt *t, const char *sha_hex, cf_error *e)
{
    const s3_sigv4_request rq = {.mode = S3_SIGV4_S3,
                                 .method = t->call->method,
                                 .path = cf_buf_slice(&t->path),
                                 .query = t->call->params,
                                 .query_total = t->call->param_total,
                                 .headers = t->headers,
                                 .header_total = t->header_total,
                                 .payload_hash = sha_hex,
                                 .region = t->endpoint.region,
                                 .service = "s3",
                                 .now_utc_ms = t->signed_utc_ms,
                                 .access_key = t->cred.access_key,
                                 .secret_key = &t->cred.secret_key,
                                 .session_token = &t->cred.session_token};

    s3_client_lock(t->c);
    const cf_err err = s3_sigv4_sign(&rq, &t->c->sign_key, &t->sig, e);
    s3_client_unlock(t->c);
    CF_TRY(err);
    add_header(t, "x-amz-date", cf_slice_str(t->sig.amz_date));
    add_header(t, "x-amz-content-sha256", cf_slice_str(sha_hex));
    if (cf_secret_is_set(&t->cred.session_token))
        add_header(t, "x-amz-security-token", cf_secret_reveal(&t->cred.session_token));
    add_header(t, "authorization", cf_buf_slice(&t->sig.authorization));
    add_header(t, "accept-encoding", cf_slice_str("identity")); /* not signed: proxies change it */
    return CF_OK;
}

static cf_err build(attempt *t, const char *sha_hex, cf_error *e)
{
    int64_t skew_ms = 0;

    s3_sigv4_init(&t->sig);
    cf_buf_init(&t->path, URL_MAX);
    cf_buf_init(&t->url, URL_MAX);
    s3_client_get_state(t->c, &t->endpoint, &skew_ms);
    t->signed_utc_ms = t->c->world->now_utc_ms(t->c->world->impl) + skew_ms;
    CF_TRY(s3_provider_get(t->c->creds, &t->cred, &t->reply->cred_generation, e));
    add_header(t, "host", cf_slice_str(t->endpoint.host));
    for (size_t i = 0; i < t->call->header_total; i++)
        t->headers[t->header_total++] = t->call->headers[i];
    CF_TRY(path_render(t, e));
    CF_TRY(sign(t, sha_hex, e));
    CF_TRY(cf_buf_printf(&t->url, e, "%s://%s", t->endpoint.https ? "https" : "http",
                         t->endpoint.host));
    CF_TRY(cf_buf_append(&t->url, cf_buf_slice(&t->path), e));
    if (t->sig.canonical_query.len > 0) {
        CF_TRY(cf_buf_append_char(&t->url, '?', e));
        CF_TRY(cf_buf_append(&t->url, cf_buf_slice(&t->sig.canonical_query), e));
    }
    return CF_OK;
}

static bool is_good(int status)
{
    return status >= 200 && status < 300;
}

/* A body that is encoded is not the object: nobody asked for it. */
static cf_err encoding_check(const s3_http_answer *a, cf_error *e)
{
    const cf_slice encoding = s3_http_answer_get(a, "content-encoding");

    CF_ENSURE(encoding.len == 0 || cf_slice_eq(encoding, cf_slice_str("identity")) ||
                  cf_slice_eq(
                      encoding,
                      cf_slice_str("aws-chunked")), /* Ceph 16 and 18 echo it from other writers */
              e, CF_ERR_PROTOCOL, "the answer is encoded ('%.*s') although that was not allowed",
              CF_SLICE_FMT(encoding));
    return CF_OK;
}

static cf_err on_body(void *impl, const s3_http_answer *a, cf_slice bytes, cf_error *e)
{
    attempt *t = impl;

    if (is_good(a->status)) {
        CF_TRY(encoding_check(a, e));
        if (t->call->stream != NULL)
            return t->call->stream(t->call->impl, t->call, a, bytes, e);
        CF_ENSURE(bytes.len <= t->reply->body.max - t->reply->body.len, e, CF_ERR_PROTOCOL,
                  "the answer has more than the %zu bytes that are allowed", t->reply->body.max);
        return cf_buf_append(&t->reply->body, bytes, e);
    }
    /* Else an error's text: what is over the limit is dropped, the status still counts. */
    const size_t room =
        S3_ERROR_BODY_MAX -
        (t->reply->body.len < S3_ERROR_BODY_MAX ? t->reply->body.len : S3_ERROR_BODY_MAX);
    const size_t left = t->reply->body.max - t->reply->body.len;
    const size_t most = room < left ? room : left;
    return cf_buf_append(&t->reply->body,
                         cf_slice_of(bytes.ptr, bytes.len < most ? bytes.len : most), e);
}

static void note(const attempt *t, const s3_verdict *v, uint64_t sent_before,
                 uint64_t received_before, uint64_t duration_ms)
{
    s3_client *c = t->c;
    const s3_http_answer *a = &t->reply->http;

    s3_client_lock(c);
    c->counts.requests_total++;
    c->counts.bytes_sent += a->bytes_sent - sent_before;
    c->counts.bytes_received += a->bytes_received - received_before;
    s3_client_unlock(c);
    if (v->server_utc_ms != 0)
        s3_client_note_server_time(c, v->server_utc_ms);
    if (c->trace == NULL)
        return;
    const s3_trace trace = {.method = t->call->method,
                            .operation = t->call->operation,
                            .key = t->call->key == NULL ? "" : t->call->key,
                            .http_status = a->status,
                            .s3_code = v->s3_code,
                            .request_id = v->request_id,
                            .bytes_sent = a->bytes_sent - sent_before,
                            .bytes_received = a->bytes_received - received_before,
                            .duration_ms = duration_ms,
                            .attempt = t->reply->tries};
    c->trace(c->trace_impl, &trace);
}

/* A good status may carry <Error>: AWS says so of Complete, others do it anywhere. Only what a GET
 * streams is the object's own, and a long page is none. */
static void answer_judge(const attempt *t, s3_verdict *ret)
{
    const s3_call *call = t->call;
    const s3_verdict_opts judging = {
        .is_head = call->method[0] == 'H',
        .is_bucket = call->key == NULL,
        .is_create_bucket = call->key == NULL && call->method[0] == 'P' && call->param_total == 0,
        .error_in_200 = call->stream == NULL && t->reply->body.len <= S3_ERROR_BODY_MAX,
        .conflict_is_final = call->conflict_is_final,
        .region = t->endpoint.region,
        .our_utc_ms = t->answered_utc_ms};

    s3_verdict_of_answer(&judging, &t->reply->http, cf_buf_slice(&t->reply->body), ret);
}

/* A 2xx has to pass the operation's own check too. */
static void check_good(attempt *t, s3_verdict *v)
{
    s3_call *call = t->call;
    cf_err err = encoding_check(&t->reply->http, t->e);

    if (err == CF_OK && call->check != NULL)
        err = call->check(call->impl, call, t->reply, t->e);
    if (err != CF_OK) {
        v->err = err;
        v->class_ = call->stop ? S3_RETRY_FATAL : S3_RETRY_SERVER;
    }
}

/* On the wire and back; ret->err is CF_OK for a 2xx whose own check is still to come. */
static cf_err exchange(attempt *t, s3_verdict *ret, cf_error *e)
{
    s3_client *c = t->c;
    s3_call *call = t->call;
    s3_http_answer *a = &t->reply->http;
    const char *url = NULL;

    CF_TRY(cf_buf_get_str(&t->url, &url, e));
    const uint32_t factor = call->stall_factor == 0 ? 1 : call->stall_factor;
    const s3_http_request rq = {.method = call->method,
                                .url = url,
                                .headers = t->headers,
                                .header_total = t->header_total,
                                .body = call->body,
                                .stall_ms = call->last_words ? s3_client_last_words_ms(c)
                                                             : c->stall_ms * factor,
                                .linger_ms = call->lingers ? LINGER_MS : 0,
                                .ignore_stop = call->last_words,
                                .on_body = on_body,
                                .on_body_impl = t};
    const uint64_t sent_before = a->bytes_sent;
    const uint64_t received_before = a->bytes_received;
    const uint64_t paced_before = a->paced_ms;
    const uint64_t start_ms = c->world->mono_ms(c->world->impl);
    const cf_err err = c->http->ops->perform(c->http, &rq, a, e);
    const uint64_t duration_ms = c->world->mono_ms(c->world->impl) - start_ms;
    t->reply->queued_ms += a->paced_ms - paced_before;
    t->answered_utc_ms = t->signed_utc_ms + (int64_t)duration_ms;
    if (a->end == S3_HTTP_END_ANSWER)
        answer_judge(t, ret);
    else
        s3_verdict_of_failure(a, err, ret);
    if (ret->err == CF_OK)
        check_good(t, ret);
    note(t, ret, sent_before, received_before, duration_ms);
    return CF_OK;
}

/* A place among the client's requests. The wait for it is not the server's fault: it costs no time
 * of the deadline. */
static cf_err enter(attempt *t, uint64_t *ret_epoch, cf_error *e)
{
    const cf_world *w = t->c->world;
    const uint64_t start_ms = w->mono_ms(w->impl);
    const cf_err err = s3_client_enter(t->c, t->call->last_words, ret_epoch, e);

    t->reply->queued_ms += w->mono_ms(w->impl) - start_ms;
    return err;
}

cf_err s3_attempt_run(s3_client *c, s3_call *call, const char *sha_hex, s3_reply *reply,
                      s3_verdict *ret, cf_error *e)
{
    CF_CLEANUP(attempt_deinit) attempt t = {.c = c, .call = call, .reply = reply, .e = e};

    uint64_t epoch = 0;

    cf_buf_clear(&reply->body);
    *ret = (s3_verdict){.err = CF_ERR_FAILED};
    CF_TRY(enter(&t, &epoch, e)); /* before signing: a signature is good for 15 minutes only */
    cf_err err = build(&t, sha_hex, e);
    if (err == CF_OK)
        err = exchange(&t, ret, e);
    s3_client_leave(c, epoch,
                    err != CF_OK                       ? S3_THROTTLE_OTHER
                    : ret->class_ == S3_RETRY_THROTTLE ? S3_THROTTLE_SLOW
                    : ret->err == CF_OK                ? S3_THROTTLE_GOOD
                                                       : S3_THROTTLE_OTHER);
    return err;
}
