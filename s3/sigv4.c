/* SPDX-License-Identifier: Apache-2.0
 *
 * Signature Version 4: canonical request, string to sign, key, signature, header; one function a
 * step.
 */
#include "s3/sigv4.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "s3/base/alloc.h"
#include "s3/base/cleanup.h"
#include "s3/base/num.h"

#define ALGORITHM "AWS4-HMAC-SHA256"
enum { DATE_LEN = 8, AMZ_DATE_LEN = 16, ADDED_HEADERS_MAX = 3 };

/* Hop-by-hop ones and those that libcurl or a proxy writes. Lower case. Source: s3proto.md 1.2. */
static const char *const never_signed[] = {
    "authorization",
    "connection",
    "expect",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "x-amzn-trace-id",
};

static const char *const added_by_signer[] = {"x-amz-date", "x-amz-content-sha256",
                                              "x-amz-security-token"};

void s3_sigv4_init(s3_sigv4 *s)
{
    *s = (s3_sigv4){0};
    cf_buf_init(&s->canonical_query, S3_SIGV4_TEXT_MAX);
    cf_buf_init(&s->signed_headers, S3_SIGV4_TEXT_MAX);
    cf_buf_init(&s->canonical_request, S3_SIGV4_TEXT_MAX);
    cf_buf_init(&s->string_to_sign, S3_SIGV4_TEXT_MAX);
    cf_buf_init(&s->authorization, S3_SIGV4_TEXT_MAX);
}

void s3_sigv4_deinit(s3_sigv4 *s)
{
    cf_wipe(s->canonical_request.data, s->canonical_request.cap);
    cf_buf_deinit(&s->canonical_query);
    cf_buf_deinit(&s->signed_headers);
    cf_buf_deinit(&s->canonical_request);
    cf_buf_deinit(&s->string_to_sign);
    cf_buf_deinit(&s->authorization);
}

void s3_sigv4_key_deinit(s3_sigv4_key *k)
{
    cf_wipe(k, sizeof(*k));
}

cf_err s3_sigv4_render_value(cf_slice value, cf_buf *ret, cf_error *e)
{
    bool gap = false;   /* spaces seen since the last byte written */
    bool begun = false; /* something written */
    CF_TRY(cf_buf_reserve(ret, value.len, e));
    for (size_t i = 0; i < value.len; i++) {
        if (value.ptr[i] == ' ') {
            gap = begun;
            continue;
        }
        if (gap)
            ret->data[ret->len++] = ' ';
        ret->data[ret->len++] = value.ptr[i];
        gap = false;
        begun = true;
    }
    return CF_OK;
}

/* ---- headers ---- */

typedef struct header_row {
    char *name; /* owned, lower case */
    cf_slice value;
    size_t order; /* place on the wire: values of one name are joined in it */
} header_row;

typedef struct header_table {
    header_row rows[S3_SIGV4_HEADER_TOTAL_MAX + ADDED_HEADERS_MAX];
    size_t total;
} header_table;

static void header_table_deinit(header_table *t)
{
    for (size_t i = 0; i < t->total; i++)
        cf_free(t->rows[i].name);
}

static bool name_in(const char *name, const char *const *names, size_t total)
{
    for (size_t i = 0; i < total; i++)
        if (strcmp(name, names[i]) == 0)
            return true;
    return false;
}

static bool header_bytes_valid(cf_slice s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.ptr[i] == '\r' || s.ptr[i] == '\n' || s.ptr[i] == '\0')
            return false;
    return true;
}

static cf_err header_add(header_table *t, cf_slice name, cf_slice value, bool by_signer,
                         cf_error *e)
{
    CF_ENSURE(name.len > 0, e, CF_ERR_USAGE, "a header has no name");
    CF_ENSURE(header_bytes_valid(name), e, CF_ERR_USAGE,
              "a header's name has a line break or NUL in it");
    CF_CLEANUP(cf_freep) char *lower = cf_strndup((const char *)name.ptr, name.len);
    CF_ENSURE(lower != NULL, e, CF_ERR_NO_MEMORY, "allocate %zu bytes", name.len);
    for (char *p = lower; *p != '\0'; p++)
        if (*p >= 'A' && *p <= 'Z')
            *p = (char)(*p + ('a' - 'A'));
    CF_ENSURE(header_bytes_valid(value), e, CF_ERR_USAGE,
              "header '%s' has a line break or NUL in its value", lower);
    if (name_in(lower, never_signed, sizeof(never_signed) / sizeof(never_signed[0])))
        return CF_OK;
    CF_ENSURE(by_signer || !name_in(lower, added_by_signer,
                                    sizeof(added_by_signer) / sizeof(added_by_signer[0])),
              e, CF_ERR_USAGE, "header '%s' is added by signing, it must not be given", lower);
    const size_t max = S3_SIGV4_HEADER_TOTAL_MAX + (by_signer ? ADDED_HEADERS_MAX : 0);
    CF_ENSURE(t->total < max, e, CF_ERR_USAGE, "a request has more than the %d headers allowed",
              S3_SIGV4_HEADER_TOTAL_MAX);
    t->rows[t->total] = (header_row){.name = CF_STEAL(lower), .value = value, .order = t->total};
    t->total++;
    return CF_OK;
}

static int header_compare(const void *a, const void *b)
{
    const header_row *const x = a;
    const header_row *const y = b;
    const int by_name = strcmp(x->name, y->name);
    return by_name != 0 ? by_name : (x->order > y->order) - (x->order < y->order);
}

static cf_err header_table_fill(header_table *t, const s3_sigv4_request *rq, const char *amz_date,
                                cf_error *e)
{
    for (size_t i = 0; i < rq->header_total; i++)
        CF_TRY(header_add(t, rq->headers[i].name, rq->headers[i].value, /* by_signer= */ false, e));
    bool host = false;
    for (size_t i = 0; i < t->total; i++)
        host = host || strcmp(t->rows[i].name, "host") == 0;
    CF_ENSURE(host, e, CF_ERR_USAGE, "a request without a host header cannot be signed");
    CF_TRY(header_add(t, cf_slice_str("x-amz-date"), cf_slice_str(amz_date), /* by_signer= */ true,
                      e));
    if (rq->mode == S3_SIGV4_S3 || rq->payload_header)
        CF_TRY(header_add(t, cf_slice_str("x-amz-content-sha256"), cf_slice_str(rq->payload_hash),
                          /* by_signer= */ true, e));
    if (rq->session_token != NULL && cf_secret_is_set(rq->session_token))
        CF_TRY(header_add(t, cf_slice_str("x-amz-security-token"),
                          cf_secret_reveal(rq->session_token),
                          /* by_signer= */ true, e));
    qsort(t->rows, t->total, sizeof(t->rows[0]), header_compare);
    return CF_OK;
}

/* "name:value\n" for each name, values of one name joined by commas; and the list of names. */
static cf_err header_table_render(const header_table *t, cf_buf *ret_lines, cf_buf *ret_names,
                                  cf_error *e)
{
    for (size_t i = 0; i < t->total; i++) {
        const bool again = i > 0 && strcmp(t->rows[i].name, t->rows[i - 1].name) == 0;
        if (again)
            CF_TRY(cf_buf_append_char(ret_lines, ',', e));
        else
            CF_TRY(cf_buf_printf(ret_lines, e, "%s:", t->rows[i].name));
        CF_TRY(s3_sigv4_render_value(t->rows[i].value, ret_lines, e));
        if (i + 1 == t->total || strcmp(t->rows[i].name, t->rows[i + 1].name) != 0)
            CF_TRY(cf_buf_append_char(ret_lines, '\n', e));
        if (!again)
            CF_TRY(cf_buf_printf(ret_names, e, "%s%s", ret_names->len > 0 ? ";" : "",
                                 t->rows[i].name));
    }
    return CF_OK;
}

/* ---- the steps ---- */

static cf_err canonical_path(const s3_sigv4_request *rq, cf_buf *ret, cf_error *e)
{
    if (rq->mode == S3_SIGV4_S3)
        return cf_buf_append(ret, rq->path.len == 0 ? cf_slice_str("/") : rq->path, e);
    return s3_uri_render_path(
        rq->path, rq->mode == S3_SIGV4_GENERIC ? S3_URI_PATH_GENERIC : S3_URI_PATH_GENERIC_RAW, ret,
        e);
}

static cf_err step_canonical_request(const s3_sigv4_request *rq, s3_sigv4 *s, cf_error *e)
{
    cf_buf *const out = &s->canonical_request;
    CF_CLEANUP(header_table_deinit) header_table headers = {0};
    CF_TRY(header_table_fill(&headers, rq, s->amz_date, e));
    CF_TRY(s3_uri_render_query(rq->query, rq->query_total, &s->canonical_query, e));

    CF_TRY(cf_buf_printf(out, e, "%s\n", rq->method));
    CF_TRY(canonical_path(rq, out, e));
    CF_TRY(cf_buf_append_char(out, '\n', e));
    CF_TRY(cf_buf_append(out, cf_buf_slice(&s->canonical_query), e));
    CF_TRY(cf_buf_append_char(out, '\n', e));
    CF_TRY(header_table_render(&headers, out, &s->signed_headers, e));
    CF_TRY(cf_buf_append_char(out, '\n', e));
    CF_TRY(cf_buf_append(out, cf_buf_slice(&s->signed_headers), e));
    return cf_buf_printf(out, e, "\n%s", rq->payload_hash);
}

static cf_err step_string_to_sign(const s3_sigv4_request *rq, s3_sigv4 *s, cf_error *e)
{
    uint8_t digest[CF_SHA256_LEN];
    char hex[CF_SHA256_HEX_SIZE];
    CF_TRY(cf_sha256(cf_buf_slice(&s->canonical_request), digest, e));
    cf_hex_render(cf_slice_of(digest, sizeof(digest)), hex);
    return cf_buf_printf(&s->string_to_sign, e, ALGORITHM "\n%s\n%.*s/%s/%s/aws4_request\n%s",
                         s->amz_date, DATE_LEN, s->amz_date, rq->region, rq->service, hex);
}

/* HMAC chain of the documentation: "AWS4" + secret, date, region, service, "aws4_request". */
static cf_err key_chain(const cf_secret *secret_key, const char *const links[4],
                        uint8_t ret[CF_SHA256_LEN], cf_error *e)
{
    CF_CLEANUP(cf_secret_deinit) cf_secret seed = {0};
    const cf_slice secret = cf_secret_reveal(secret_key);
    CF_ENSURE(secret.len <= CF_SECRET_LEN_MAX - 4, e, CF_ERR_TOO_LARGE,
              "the secret key has %zu bytes", secret.len);
    uint8_t *const text = cf_alloc(secret.len + 4, 1);
    CF_ENSURE(text != NULL, e, CF_ERR_NO_MEMORY, "allocate %zu bytes", secret.len + 4);
    seed = (cf_secret){.data = text, .len = secret.len + 4};
    memcpy(text, "AWS4", 4);
    if (secret.len > 0)
        memcpy(text + 4, secret.ptr, secret.len);

    CF_TRY(cf_hmac_sha256(cf_secret_reveal(&seed), cf_slice_str(links[0]), ret, e));
    for (size_t i = 1; i < 4; i++) {
        uint8_t next[CF_SHA256_LEN];
        CF_TRY(cf_hmac_sha256(cf_slice_of(ret, CF_SHA256_LEN), cf_slice_str(links[i]), next, e));
        memcpy(ret, next, sizeof(next));
        cf_wipe(next, sizeof(next));
    }
    return CF_OK;
}

cf_err s3_sigv4_key_derive(s3_sigv4_key *k, const cf_secret *secret_key, const char *date,
                           const char *region, const char *service, cf_error *e)
{
    CF_ENSURE(strlen(date) == DATE_LEN, e, CF_ERR_USAGE,
              "a signing date has %zu characters, not %d", strlen(date), DATE_LEN);
    CF_ENSURE(strlen(region) < sizeof(k->region), e, CF_ERR_USAGE,
              "region '%.80s' has more than %zu characters", region, sizeof(k->region) - 1);
    CF_ENSURE(strlen(service) < sizeof(k->service), e, CF_ERR_USAGE,
              "service '%.80s' has more than %zu characters", service, sizeof(k->service) - 1);
    uint8_t secret_sha256[CF_SHA256_LEN];
    CF_TRY(cf_sha256(cf_secret_reveal(secret_key), secret_sha256, e));
    if (strcmp(k->date, date) == 0 && strcmp(k->region, region) == 0 &&
        strcmp(k->service, service) == 0 &&
        cf_slice_eq(cf_slice_of(k->secret_sha256, CF_SHA256_LEN),
                    cf_slice_of(secret_sha256, CF_SHA256_LEN)))
        return CF_OK;

    const char *const links[4] = {date, region, service, "aws4_request"};
    k->date[0] = '\0'; /* unset until all of it is there */
    CF_TRY(key_chain(secret_key, links, k->key, e));
    memcpy(k->secret_sha256, secret_sha256, sizeof(secret_sha256));
    (void)snprintf(k->region, sizeof(k->region), "%s", region);
    (void)snprintf(k->service, sizeof(k->service), "%s", service);
    memcpy(k->date, date, DATE_LEN + 1);
    k->derived_total++;
    return CF_OK;
}

static cf_err step_signature(const s3_sigv4_request *rq, s3_sigv4_key *key, s3_sigv4 *s,
                             cf_error *e)
{
    char date[DATE_LEN + 1] = "";
    uint8_t mac[CF_SHA256_LEN];
    memcpy(date, s->amz_date, DATE_LEN);
    CF_TRY(s3_sigv4_key_derive(key, rq->secret_key, date, rq->region, rq->service, e));
    CF_TRY(cf_hmac_sha256(cf_slice_of(key->key, CF_SHA256_LEN), cf_buf_slice(&s->string_to_sign),
                          mac, e));
    cf_hex_render(cf_slice_of(mac, sizeof(mac)), s->signature);
    return CF_OK;
}

static cf_err step_authorization(const s3_sigv4_request *rq, s3_sigv4 *s, cf_error *e)
{
    return cf_buf_printf(&s->authorization, e,
                         ALGORITHM
                         " Credential=%s/%.*s/%s/%s/aws4_request, SignedHeaders=%.*s, Signature=%s",
                         rq->access_key, DATE_LEN, s->amz_date, rq->region, rq->service,
                         CF_SLICE_FMT(cf_buf_slice(&s->signed_headers)), s->signature);
}

cf_err s3_sigv4_sign(const s3_sigv4_request *rq, s3_sigv4_key *key, s3_sigv4 *ret, cf_error *e)
{
    assert(rq->method != NULL && rq->payload_hash != NULL && rq->region != NULL &&
           rq->service != NULL);
    assert(rq->access_key != NULL && rq->secret_key != NULL);
    cf_buf_clear(&ret->canonical_query);
    cf_buf_clear(&ret->signed_headers);
    cf_buf_clear(&ret->canonical_request);
    cf_buf_clear(&ret->string_to_sign);
    cf_buf_clear(&ret->authorization);
    char now[CF_TIME_SIZE];
    cf_time_render_basic(rq->now_utc_ms, now);
    assert(strlen(now) == AMZ_DATE_LEN);
    memcpy(ret->amz_date, now, AMZ_DATE_LEN + 1);

    CF_CLEANUP(s3_sigv4_key_deinit) s3_sigv4_key own = {0};
    CF_TRY(step_canonical_request(rq, ret, e));
    CF_TRY(step_string_to_sign(rq, ret, e));
    CF_TRY(step_signature(rq, key != NULL ? key : &own, ret, e));
    return step_authorization(rq, ret, e);
}
