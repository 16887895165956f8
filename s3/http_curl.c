/* SPDX-License-Identifier: Apache-2.0
 *
 * HTTP over libcurl, a fixed number of lines. A line is an easy handle in a multi handle of its own,
 * with a connection and its cache; the one given back last is taken first, so that few connections
 * stay warm. The multi handle is there for its poll: curl_easy_perform() looks up once a second only,
 * and the wish to stop must be heard sooner.
 *
 * The stall limit is ours, not CURLOPT_LOW_SPEED_TIME: it counts both directions, knows
 * milliseconds, and a request may have its own (Complete takes minutes).
 */
#include <curl/curl.h>
#include <pthread.h>
#include <sys/socket.h>

#include "s3/base/alloc.h"
#include "s3/base/cleanup.h"
#include "s3/http.h"
#include "s3/pace.h"
#include "s3/wait.h"

enum {
    IDLE_S_MAX = 5,   /* S3 closes idle connections then (aws-c-s3); our notes s3proto 1.3 */
    DNS_CACHE_S = 60, /* S3 spreads load over many addresses */
    RECEIVE_BUFFER = 256 * 1024,
    SEND_BUFFER = 512 * 1024,
    POLL_MS = 100,                /* the wish to stop is heard so soon */
    PACED_BUFFER_MIN = 1024,      /* libcurl's least */
    PACED_WINDOW_MIN = 16 * 1024, /* of the socket: what the server may send ahead of the pace */
    PACED_WINDOW_MAX = 1024 * 1024,
};

typedef struct curl_line {
    CURL *easy;   /* owned; NULL: not made yet */
    CURLM *multi; /* owned; as above */
} curl_line;

typedef struct curl_impl {
    s3_http base; /* first: s3_http* is curl_impl* */
    const cf_world *world;
    cf_pace *pace; /* borrowed; NULL: none */
    char *ca_bundle, *user_agent;
    uint32_t connect_timeout_ms;
    pthread_mutex_t lock;
    pthread_cond_t freed;
    curl_line *idle; /* stack */
    uint32_t idle_total, total;
} curl_impl;

/* One exchange under way. */
typedef struct exchange {
    curl_impl *impl;
    curl_line line;
    const s3_http_request *rq;
    s3_http_answer *a;
    size_t body_at;
    cf_err failed; /* what a callback of ours returned */
    cf_error *e;
    uint64_t began_ms, moved_ms;
    uint64_t stop_seen_ms; /* 0: not yet */
    curl_off_t moved_total;
    bool stopped, stalled;
} exchange;

static pthread_once_t curl_once = PTHREAD_ONCE_INIT; /* the counted exception: curl_global_init */
static CURLcode curl_once_code = CURLE_FAILED_INIT;

static void curl_once_init(void)
{
    curl_once_code = curl_global_init(CURL_GLOBAL_ALL);
}

/* The wish to stop counts at once, for a request that lingers a little later: its answer may come
 * meanwhile, and is worth more than the time. */
static bool stop_is_due(exchange *x, uint64_t now)
{
    const cf_world *const w = x->impl->world;

    if (x->rq->ignore_stop || !w->stopping(w->impl))
        return false;
    if (x->stop_seen_ms == 0)
        x->stop_seen_ms = now;
    return now - x->stop_seen_ms >= x->rq->linger_ms;
}

/* false: the wish to stop came meanwhile. Last words are few and go at once. */
static bool pace_keep(exchange *x, cf_pace_way way, size_t len)
{
    const cf_world *const w = x->impl->world;

    if (x->impl->pace == NULL || x->rq->ignore_stop)
        return true;
    x->a->paced_ms += cf_pace_wait(x->impl->pace, way, len);
    x->moved_ms = w->mono_ms(w->impl); /* the wait was ours: no stall */
    x->stopped = stop_is_due(x, x->moved_ms);
    return !x->stopped;
}

static size_t on_header(char *ptr, size_t size, size_t count, void *user)
{
    exchange *x = user;
    const cf_slice line = cf_slice_of(ptr, size * count);

    if (cf_slice_starts_with(line, cf_slice_str("HTTP/"))) {
        s3_http_answer_clear(x->a); /* a head of its own: 100 Continue came before */
        return line.len;
    }
    x->failed = s3_http_answer_add(x->a, line, x->e);
    return x->failed == CF_OK ? line.len : 0;
}

static size_t on_write(char *ptr, size_t size, size_t count, void *user)
{
    exchange *x = user;
    const cf_slice bytes = cf_slice_of(ptr, size * count);
    long status = 0;

    x->a->bytes_received += bytes.len;
    if (!pace_keep(x, CF_PACE_DOWN, bytes.len))
        return bytes.len + 1;
    if (x->rq->on_body == NULL || bytes.len == 0)
        return bytes.len;
    (void)curl_easy_getinfo(x->line.easy, CURLINFO_RESPONSE_CODE, &status);
    x->a->status = (int)status;
    x->failed = x->rq->on_body(x->rq->on_body_impl, x->a, bytes, x->e);
    return x->failed == CF_OK ? bytes.len
                              : bytes.len + 1; /* a count that is not bytes.len ends the transfer */
}

static size_t on_read(char *ret, size_t size, size_t count, void *user)
{
    exchange *x = user;
    const size_t room = size * count;
    const size_t left = x->rq->body.len - x->body_at;
    const size_t len = cf_pace_step(x->impl->pace, CF_PACE_UP, left < room ? left : room);

    if (len > 0 && !pace_keep(x, CF_PACE_UP, len))
        return CURL_READFUNC_ABORT;
    if (len > 0)
        memcpy(ret, x->rq->body.ptr + x->body_at, len);
    x->body_at += len;
    x->a->bytes_sent += len;
    return len;
}

static int on_seek(void *user, curl_off_t offset, int origin)
{
    exchange *x = user;

    if (origin != SEEK_SET || offset < 0 || (uint64_t)offset > x->rq->body.len)
        return CURL_SEEKFUNC_FAIL;
    x->body_at = (size_t)offset;
    return CURL_SEEKFUNC_OK;
}

/* libcurl calls this with every poll. Non-zero ends the exchange. */
static int on_progress(void *user, curl_off_t down_total, curl_off_t down, curl_off_t up_total,
                       curl_off_t up)
{
    exchange *x = user;
    const cf_world *w = x->impl->world;
    const uint64_t now = w->mono_ms(w->impl);

    (void)down_total;
    (void)up_total;
    if (stop_is_due(x, now)) {
        x->stopped = true;
        return 1;
    }
    if (down + up != x->moved_total) {
        x->moved_total = down + up;
        x->moved_ms = now;
    }
    /* Last words have no more time than that, whatever moves. */
    if (now - (x->rq->ignore_stop ? x->began_ms : x->moved_ms) >= x->rq->stall_ms) {
        x->stalled = true;
        return 1;
    }
    return 0;
}

/* What libcurl's codes mean to us; what is not here is a broken connection. */
static const struct {
    CURLcode code;
    s3_http_end end;
    cf_err err;
} ends[] = {
    {CURLE_COULDNT_RESOLVE_HOST, S3_HTTP_END_NAME, CF_ERR_NETWORK},
    {CURLE_COULDNT_RESOLVE_PROXY, S3_HTTP_END_NAME, CF_ERR_NETWORK},
    {CURLE_COULDNT_CONNECT, S3_HTTP_END_CONNECT, CF_ERR_NETWORK},
    {CURLE_PEER_FAILED_VERIFICATION, S3_HTTP_END_TLS_VERIFY, CF_ERR_TLS},
    {CURLE_SSL_CACERT_BADFILE, S3_HTTP_END_TLS_VERIFY, CF_ERR_TLS},
    {CURLE_SSL_ISSUER_ERROR, S3_HTTP_END_TLS_VERIFY, CF_ERR_TLS},
    {CURLE_SSL_CONNECT_ERROR, S3_HTTP_END_TLS, CF_ERR_NETWORK},
    {CURLE_OPERATION_TIMEDOUT, S3_HTTP_END_CONNECT,
     CF_ERR_TIMEOUT}, /* the only limit libcurl knows of is connect */
    {CURLE_WEIRD_SERVER_REPLY, S3_HTTP_END_BROKEN, CF_ERR_PROTOCOL},
    {CURLE_PARTIAL_FILE, S3_HTTP_END_BROKEN, CF_ERR_NETWORK},
    {CURLE_URL_MALFORMAT, S3_HTTP_END_LOCAL, CF_ERR_USAGE},
    {CURLE_UNSUPPORTED_PROTOCOL, S3_HTTP_END_BROKEN,
     CF_ERR_PROTOCOL}, /* HTTP/0.9: our URLs are http or https */
    {CURLE_BAD_FUNCTION_ARGUMENT, S3_HTTP_END_LOCAL, CF_ERR_FAILED},
    {CURLE_OUT_OF_MEMORY, S3_HTTP_END_LOCAL, CF_ERR_NO_MEMORY},
};

/* libcurl sends again over a new connection when an idle one turns out dead: that the second could
 * not be had says nothing of the first. */
static s3_http_end end_of(const exchange *x, s3_http_end end)
{
    long sent = 0;

    if (end != S3_HTTP_END_NAME && end != S3_HTTP_END_CONNECT)
        return end;
    (void)curl_easy_getinfo(x->line.easy, CURLINFO_REQUEST_SIZE, &sent);
    return sent > 0 ? S3_HTTP_END_BROKEN : end;
}

static cf_err judge(exchange *x, CURLcode code, const char *detail)
{
    s3_http_answer *a = x->a;
    const char *text = detail[0] == '\0' ? curl_easy_strerror(code) : detail;

    if (x->failed != CF_OK) {
        a->end = x->failed == CF_ERR_NO_MEMORY ? S3_HTTP_END_LOCAL : S3_HTTP_END_SINK;
        return x->failed;
    }
    if (x->stopped) {
        a->end = S3_HTTP_END_STOPPED;
        CF_FAIL(x->e, CF_ERR_INTERRUPTED, "interrupted");
    }
    if (x->stalled) {
        a->end = S3_HTTP_END_STALLED;
        CF_FAIL(x->e, CF_ERR_TIMEOUT, "no byte moved for %llu ms",
                (unsigned long long)x->rq->stall_ms);
    }
    if (code == CURLE_OK && a->status != 0) {
        a->end = S3_HTTP_END_ANSWER;
        return CF_OK;
    }
    for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
        if (ends[i].code == code) {
            a->end = end_of(x, ends[i].end);
            CF_FAIL(x->e, ends[i].err, "%s", text);
        }
    }
    a->end = S3_HTTP_END_BROKEN;
    CF_FAIL(x->e, CF_ERR_NETWORK, "%s", text);
}

/* A line from the stack; waits for one. */
static cf_err line_take(curl_impl *p, curl_line *ret, cf_error *e)
{
    (void)pthread_mutex_lock(&p->lock);
    while (p->idle_total == 0) {
        const struct timespec until = s3_wait_slice();
        (void)pthread_cond_timedwait(&p->freed, &p->lock, &until);
        if (p->idle_total == 0 && p->world->stopping(p->world->impl)) {
            (void)pthread_mutex_unlock(&p->lock);
            CF_FAIL(e, CF_ERR_INTERRUPTED, "interrupted");
        }
    }
    *ret = p->idle[--p->idle_total];
    (void)pthread_mutex_unlock(&p->lock);
    return CF_OK;
}

static void line_give(curl_impl *p, const curl_line *line)
{
    (void)pthread_mutex_lock(&p->lock);
    p->idle[p->idle_total++] = *line;
    (void)pthread_cond_signal(&p->freed);
    (void)pthread_mutex_unlock(&p->lock);
}

/* Both handles, when they are not there yet. */
static cf_err line_open(curl_line *line, cf_error *e)
{
    if (line->easy == NULL)
        line->easy = curl_easy_init();
    if (line->multi == NULL)
        line->multi = curl_multi_init();
    CF_ENSURE(line->easy != NULL && line->multi != NULL, e, CF_ERR_NO_MEMORY,
              "allocate a connection");
    (void)curl_multi_setopt(line->multi, CURLMOPT_MAXCONNECTS, 1L);
    return CF_OK;
}

static void line_close(const curl_line *line)
{
    curl_easy_cleanup(line->easy);
    (void)curl_multi_cleanup(line->multi);
}

static void slist_freep(struct curl_slist **list)
{
    curl_slist_free_all(*list);
}

static cf_err slist_add(struct curl_slist **list, const char *line, cf_error *e)
{
    struct curl_slist *grown = curl_slist_append(*list, line);

    CF_ENSURE(grown != NULL, e, CF_ERR_NO_MEMORY, "allocate a header");
    *list = grown;
    return CF_OK;
}

/* "name: value"; an empty value needs "name;", else libcurl drops the line. What libcurl would add
 * by itself goes. */
static cf_err headers_render(const s3_http_request *rq, struct curl_slist **ret, cf_error *e)
{
    static const char *const removed[] = {"Accept:", "Content-Type:", "Transfer-Encoding:"};
    CF_CLEANUP(cf_buf_deinit) cf_buf line = {0};
    CF_CLEANUP(slist_freep) struct curl_slist *list = NULL;
    bool content_type = false;

    cf_buf_init(&line, S3_HTTP_HEAD_MAX);
    for (size_t i = 0; i < rq->header_total; i++) {
        const s3_pair *h = &rq->headers[i];
        const char *text = NULL;
        cf_buf_clear(&line);
        CF_TRY(cf_buf_append(&line, h->name, e));
        CF_TRY(cf_buf_append_str(&line, h->value.len == 0 ? ";" : ": ", e));
        CF_TRY(cf_buf_append(&line, h->value, e));
        CF_TRY(cf_buf_get_str(&line, &text, e));
        CF_TRY(slist_add(&list, text, e));
        content_type = content_type || cf_slice_eq(h->name, cf_slice_str("content-type"));
    }
    for (size_t i = 0; i < sizeof(removed) / sizeof(removed[0]); i++) {
        if (!(content_type && i == 1))
            CF_TRY(slist_add(&list, removed[i], e));
    }
    CF_TRY(slist_add(&list,
                     rq->body.len >= S3_HTTP_EXPECT_MIN ? "Expect: 100-continue" : "Expect:", e));
    *ret = CF_STEAL(list);
    return CF_OK;
}

static size_t clamp(size_t n, size_t least, size_t most)
{
    return n < least ? least : n > most ? most : n;
}

/* The kernel's buffer would take megabytes ahead of the pace. */
static int on_socket(void *user, curl_socket_t socket, curlsocktype purpose)
{
    const curl_impl *const p = user;
    const uint64_t rate = cf_pace_rate(p->pace, CF_PACE_DOWN);
    const int window = (int)clamp((size_t)(rate / 4), PACED_WINDOW_MIN, PACED_WINDOW_MAX);

    if (purpose == CURLSOCKTYPE_IPCXN && rate > 0)
        (void)setsockopt(socket, SOL_SOCKET, SO_RCVBUF, &window, sizeof(window));
    return CURL_SOCKOPT_OK;
}

/* First failure of a row of setopt calls. */
#define SET(handle, option, value)                                                                 \
    do {                                                                                           \
        if (code == CURLE_OK)                                                                      \
            code = curl_easy_setopt((handle), (option), (value));                                  \
    } while (0)

static CURLcode setup_transport(const curl_impl *p, CURL *h)
{
    CURLcode code = CURLE_OK;

    SET(h, CURLOPT_NOSIGNAL, 1L);
#if LIBCURL_VERSION_NUM >= 0x075700
    SET(h, CURLOPT_QUICK_EXIT, 1L); /* a name server that is silent must not hold up the end */
#endif
#if LIBCURL_VERSION_NUM >= 0x075500
    SET(h, CURLOPT_PROTOCOLS_STR, "http,https");
#else
    SET(h, CURLOPT_PROTOCOLS, (long)(CURLPROTO_HTTP | CURLPROTO_HTTPS));
#endif
    SET(h, CURLOPT_FOLLOWLOCATION, 0L);
    SET(h, CURLOPT_PATH_AS_IS, 1L); /* else "/a/../b" becomes "/b": another key */
    SET(h, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    SET(h, CURLOPT_HTTP_CONTENT_DECODING, 0L);
    SET(h, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    SET(h, CURLOPT_TCP_NODELAY, 1L);
    SET(h, CURLOPT_TCP_KEEPALIVE, 1L);
    SET(h, CURLOPT_MAXAGE_CONN, (long)IDLE_S_MAX);
    SET(h, CURLOPT_DNS_CACHE_TIMEOUT, (long)DNS_CACHE_S);
    SET(h, CURLOPT_CONNECTTIMEOUT_MS, (long)p->connect_timeout_ms);
    /* Refused when an exchange that failed early has left its buffer behind: it has this size
     * already then. */
    (void)curl_easy_setopt(h, CURLOPT_BUFFERSIZE,
                           (long)clamp(cf_pace_step(p->pace, CF_PACE_DOWN, RECEIVE_BUFFER),
                                       PACED_BUFFER_MIN, RECEIVE_BUFFER));
    (void)curl_easy_setopt(h, CURLOPT_UPLOAD_BUFFERSIZE, (long)SEND_BUFFER);
    SET(h, CURLOPT_HEADEROPT, (long)CURLHEADER_SEPARATE); /* a proxy's CONNECT has none of ours */
    SET(h, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2); /* AWS's own minimum */
    SET(h, CURLOPT_SSL_VERIFYPEER, 1L);
    SET(h, CURLOPT_SSL_VERIFYHOST, 2L);
    if (p->ca_bundle != NULL)
        SET(h, CURLOPT_CAINFO, p->ca_bundle);
    SET(h, CURLOPT_USERAGENT, p->user_agent);
    SET(h, CURLOPT_SOCKOPTFUNCTION, on_socket);
    SET(h, CURLOPT_SOCKOPTDATA, (void *)(uintptr_t)p);
    return code;
}

static CURLcode setup_request(exchange *x, struct curl_slist *headers, char *detail)
{
    CURL *h = x->line.easy;
    const s3_http_request *rq = x->rq;
    const bool has_body = strcmp(rq->method, "PUT") == 0 || strcmp(rq->method, "POST") == 0;
    CURLcode code = CURLE_OK;

    SET(h, CURLOPT_ERRORBUFFER, detail);
    SET(h, CURLOPT_URL, rq->url);
    SET(h, CURLOPT_HTTPHEADER, headers);
    if (has_body) {
        SET(h, CURLOPT_UPLOAD, 1L);
        SET(h, CURLOPT_INFILESIZE_LARGE, (curl_off_t)rq->body.len);
    } else if (strcmp(rq->method, "HEAD") == 0) {
        SET(h, CURLOPT_NOBODY, 1L);
    }
    SET(h, CURLOPT_CUSTOMREQUEST, rq->method);
    SET(h, CURLOPT_READFUNCTION, on_read);
    SET(h, CURLOPT_READDATA, x);
    SET(h, CURLOPT_SEEKFUNCTION, on_seek);
    SET(h, CURLOPT_SEEKDATA, x);
    SET(h, CURLOPT_WRITEFUNCTION, on_write);
    SET(h, CURLOPT_WRITEDATA, x);
    SET(h, CURLOPT_HEADERFUNCTION, on_header);
    SET(h, CURLOPT_HEADERDATA, x);
    SET(h, CURLOPT_NOPROGRESS, 0L);
    SET(h, CURLOPT_XFERINFOFUNCTION, on_progress);
    SET(h, CURLOPT_XFERINFODATA, x);
    return code;
}

/* How the transfer ended, when it did. */
static CURLcode transfer_result(CURLM *multi)
{
    const CURLMsg *m = NULL;
    int left = 0;

    while ((m = curl_multi_info_read(multi, &left)) != NULL)
        if (m->msg == CURLMSG_DONE)
            return m->data.result;
    return CURLE_OUT_OF_MEMORY; /* the loop broke off: nothing else makes it */
}

/* curl_easy_perform(), looking up more often. */
static CURLcode transfer_run(const curl_line *line)
{
    CURLMcode code = curl_multi_add_handle(line->multi, line->easy);
    int running = code == CURLM_OK ? 1 : 0;

    while (running > 0 && code == CURLM_OK) {
        code = curl_multi_perform(line->multi, &running);
        if (running > 0 && code == CURLM_OK)
            code = curl_multi_poll(line->multi, NULL, 0, POLL_MS, NULL);
    }
    const CURLcode result = transfer_result(line->multi);
    (void)curl_multi_remove_handle(line->multi, line->easy);
    return result;
}

static cf_err exchange_run(exchange *x)
{
    CF_CLEANUP(slist_freep) struct curl_slist *headers = NULL;
    char detail[CURL_ERROR_SIZE] = "";
    long status = 0;

    CF_TRY(headers_render(x->rq, &headers, x->e));
    curl_easy_reset(x->line.easy); /* keeps connections, caches and sessions */
    CURLcode code = setup_transport(x->impl, x->line.easy);
    if (code == CURLE_OK)
        code = setup_request(x, headers, detail);
    CF_ENSURE(code == CURLE_OK, x->e, CF_ERR_FAILED, "set up libcurl: %s",
              curl_easy_strerror(code));
    x->moved_ms = x->impl->world->mono_ms(x->impl->world->impl);
    x->began_ms = x->moved_ms;
    code = transfer_run(&x->line);
    (void)curl_easy_getinfo(x->line.easy, CURLINFO_RESPONSE_CODE, &status);
    x->a->status = (int)status;
    const cf_err err = judge(x, code, detail);
    curl_easy_reset(x->line.easy); /* no pointer into this frame stays behind */
    return err;
}

static cf_err curl_perform(s3_http *h, const s3_http_request *rq, s3_http_answer *a, cf_error *e)
{
    curl_impl *p = (curl_impl *)h;
    exchange x = {.impl = p, .rq = rq, .a = a, .e = e};

    a->end = S3_HTTP_END_LOCAL;
    s3_http_answer_clear(a);
    const cf_err taken = line_take(p, &x.line, e);
    if (taken != CF_OK) {
        a->end = S3_HTTP_END_STOPPED;
        return taken;
    }
    cf_err err = line_open(&x.line, e);
    if (err == CF_OK)
        err = exchange_run(&x);
    line_give(p, &x.line);
    return err;
}

static void curl_free_impl(s3_http *h)
{
    curl_impl *p = (curl_impl *)h;

    for (uint32_t i = 0; i < p->idle_total; i++)
        line_close(&p->idle[i]);
    (void)pthread_cond_destroy(&p->freed);
    (void)pthread_mutex_destroy(&p->lock);
    cf_free(p->idle);
    cf_free(p->ca_bundle);
    cf_free(p->user_agent);
    cf_free(p);
}

static const s3_http_ops curl_ops = {.perform = curl_perform, .free = curl_free_impl};

CF_DEFINE_FREEP(s3_http, s3_http_free)

cf_err s3_http_curl_new(const s3_http_curl_opts *opts, s3_http **ret, cf_error *e)
{
    curl_impl *p = NULL;

    (void)pthread_once(&curl_once, curl_once_init);
    CF_ENSURE(curl_once_code == CURLE_OK, e, CF_ERR_FAILED, "libcurl: %s",
              curl_easy_strerror(curl_once_code));
    CF_NEW(p, e);
    p->base.ops = &curl_ops;
    (void)pthread_mutex_init(&p->lock, NULL);
    (void)pthread_cond_init(&p->freed, NULL);
    CF_CLEANUP(s3_http_freep) s3_http *owned = &p->base;
    p->world = opts->world;
    p->pace = opts->pace;
    p->connect_timeout_ms = opts->connect_timeout_ms;
    p->user_agent = cf_strdup(opts->user_agent);
    CF_ENSURE(p->user_agent != NULL, e, CF_ERR_NO_MEMORY, "allocate the user agent");
    if (opts->ca_bundle != NULL) {
        p->ca_bundle = cf_strdup(opts->ca_bundle);
        CF_ENSURE(p->ca_bundle != NULL, e, CF_ERR_NO_MEMORY, "allocate the CA path");
    }
    p->idle = cf_alloc(opts->connections_max, sizeof(*p->idle));
    CF_ENSURE(p->idle != NULL, e, CF_ERR_NO_MEMORY, "allocate %u connections",
              opts->connections_max);
    p->total = opts->connections_max;
    p->idle_total = p->total;
    *ret = CF_STEAL(owned);
    return CF_OK;
}
