/* SPDX-License-Identifier: Apache-2.0
 *
 * Client: made from options and environment, shared by threads.
 */
#include "s3/client.h"

#include "s3/base/alloc.h"
#include "s3/base/env.h"
#include "s3/base/hash.h"
#include "s3/wait.h"
#include "s3/xml.h"

enum {
    CONNECTIONS_DEFAULT = 8,
    CONNECTIONS_MAX = 64,
    CONNECT_TIMEOUT_MS = 10000,
    STALL_TIMEOUT_MS = 30000,
    PARTS_IN_FLIGHT_DEFAULT = 4,
    PARTS_IN_FLIGHT_MAX = 64,
    TRIES_MAX = 100,
    MIB = 1024 * 1024,
    PART_MIB_DEFAULT = 8,
    PART_MIB_MAX = 512,
    LAST_WORDS_MS = 1300, /* ours: all of a run's, so that it stops within 2 s of the wish */
    LAST_WORDS_LEAST_MS = 100,
    DELETE_BODY_MAX =
        1024 * 1024, /* Ceph's rgw_max_put_param_size; others take as much or say 413 */
};

static uint32_t or_default(uint32_t value, uint32_t otherwise)
{
    return value == 0 ? otherwise : value;
}

/* Ranges of the manual, defaults made explicit. */
static cf_err opts_fill(s3_client_opts *o, cf_error *e)
{
    o->connections_max = or_default(o->connections_max, CONNECTIONS_DEFAULT);
    o->connect_timeout_ms = or_default(o->connect_timeout_ms, CONNECT_TIMEOUT_MS);
    o->stall_timeout_ms = or_default(o->stall_timeout_ms, STALL_TIMEOUT_MS);
    o->parts_in_flight_max = or_default(o->parts_in_flight_max, PARTS_IN_FLIGHT_DEFAULT);
    if (o->part_bytes == 0)
        o->part_bytes = (uint64_t)PART_MIB_DEFAULT * MIB;
    if (o->user_agent == NULL)
        o->user_agent = "chunkferry-s3";
    if (o->world == NULL)
        o->world = cf_world_real();
    if (o->env == NULL)
        o->env = cf_env_get;
    CF_ENSURE(o->connections_max <= CONNECTIONS_MAX, e, CF_ERR_USAGE,
              "%u connections are asked for, 1 to %d are allowed", o->connections_max,
              CONNECTIONS_MAX);
    CF_ENSURE(o->parts_in_flight_max <= PARTS_IN_FLIGHT_MAX, e, CF_ERR_USAGE,
              "%u parts in flight are asked for, 1 to %d are allowed", o->parts_in_flight_max,
              PARTS_IN_FLIGHT_MAX);
    CF_ENSURE(o->tries_max <= TRIES_MAX, e, CF_ERR_USAGE,
              "%u tries are asked for, 1 to %d are allowed", o->tries_max, TRIES_MAX);
    CF_ENSURE(o->part_bytes >= S3_PART_BYTES_MIN, e, CF_ERR_USAGE,
              "a part size of %llu bytes is asked for, at least %u are needed",
              (unsigned long long)o->part_bytes, S3_PART_BYTES_MIN);
    CF_ENSURE(o->part_bytes <= (uint64_t)PART_MIB_MAX * MIB, e, CF_ERR_USAGE,
              "a part size of %llu bytes is asked for, at most %d MiB are allowed",
              (unsigned long long)o->part_bytes, PART_MIB_MAX);
    return CF_OK;
}

static cf_err dup_text(char **ret, const char *text, cf_error *e)
{
    if (text == NULL || text[0] == '\0')
        return CF_OK;
    *ret = cf_strdup(text);
    CF_ENSURE(*ret != NULL, e, CF_ERR_NO_MEMORY, "allocate %zu bytes", strlen(text));
    return CF_OK;
}

static cf_err client_fill(s3_client *c, const s3_client_opts *o, cf_error *e)
{
    c->world = o->world;
    c->addressing = o->addressing;
    c->stall_ms = o->stall_timeout_ms;
    c->part_bytes = o->part_bytes;
    c->trace = o->trace;
    c->trace_impl = o->trace_impl;
    c->retry = s3_retry_opts_fill(
        (s3_retry_opts){.tries_max = o->tries_max, .deadline_ms = o->deadline_ms});
    c->quota = c->retry.quota_max;
    c->delete_body_max = DELETE_BODY_MAX;
    s3_throttle_init(&c->throttle, o->connections_max);
    CF_TRY(dup_text(&c->bucket, o->bucket, e));
    return CF_OK;
}

static const char *first_set(const char *a, const char *b)
{
    if (a != NULL && a[0] != '\0')
        return a;
    return b[0] == '\0' ? NULL : b;
}

static cf_err client_open(s3_client *c, const s3_client_opts *o, cf_error *e)
{
    s3_settings settings = {0};

    CF_TRY(s3_provider_open(o, &c->creds, &settings, e));
    CF_TRY(dup_text(&c->endpoint_text, first_set(o->endpoint, settings.endpoint), e));
    const s3_endpoint_opts where = {.endpoint = c->endpoint_text,
                                    .region = first_set(o->region, settings.region),
                                    .bucket = o->bucket,
                                    .addressing = c->addressing};
    CF_TRY(s3_endpoint_resolve(&where, &c->endpoint, e));
    if (c->http == NULL) {
        const s3_http_curl_opts http = {.connections_max = o->connections_max,
                                        .connect_timeout_ms = o->connect_timeout_ms,
                                        .ca_bundle = first_set(o->ca_bundle, settings.ca_bundle),
                                        .user_agent = o->user_agent,
                                        .world = c->world,
                                        .pace = o->pace};
        CF_TRY(s3_http_curl_new(&http, &c->http, e));
    }
    return s3_pool_new(c, o->parts_in_flight_max, (size_t)c->part_bytes, &c->pool, e);
}

cf_err s3_client_new_over(const s3_client_opts *opts, s3_http *http, s3_client **ret, cf_error *e)
{
    CF_CLEANUP(s3_client_freep) s3_client *c = NULL;
    s3_client_opts o = *opts;

    s3_xml_init();
    c = cf_alloc(1, sizeof(*c));
    if (c == NULL) {
        s3_http_free(http);
        CF_FAIL(e, CF_ERR_NO_MEMORY, "allocate a client");
    }
    c->http = http;
    (void)pthread_mutex_init(&c->lock, NULL);
    (void)pthread_cond_init(&c->room, NULL);
    CF_TRY(opts_fill(&o, e));
    CF_TRY(client_fill(c, &o, e));
    CF_TRY(client_open(c, &o, e));
    *ret = CF_STEAL(c);
    return CF_OK;
}

cf_err s3_client_new(const s3_client_opts *opts, s3_client **ret, cf_error *e)
{
    return s3_client_new_over(opts, /* http= */ NULL, ret, e);
}

void s3_client_free(s3_client *c)
{
    if (c == NULL)
        return;
    s3_pool_free(c->pool);
    s3_http_free(c->http);
    s3_provider_free(c->creds);
    s3_sigv4_key_deinit(&c->sign_key);
    (void)pthread_cond_destroy(&c->room);
    (void)pthread_mutex_destroy(&c->lock);
    cf_free(c->bucket);
    cf_free(c->endpoint_text);
    cf_free(c);
}

cf_err s3_client_enter(s3_client *c, bool ignore_stop, uint64_t *ret_epoch, cf_error *e)
{
    s3_client_lock(c);
    while (!s3_throttle_enter(&c->throttle, ret_epoch)) {
        const struct timespec until = s3_wait_slice();
        (void)pthread_cond_timedwait(&c->room, &c->lock, &until);
        if (!ignore_stop && c->world->stopping(c->world->impl)) {
            s3_client_unlock(c);
            CF_FAIL(e, CF_ERR_INTERRUPTED, "interrupted");
        }
    }
    s3_client_unlock(c);
    return CF_OK;
}

void s3_client_leave(s3_client *c, uint64_t epoch, s3_throttle_result result)
{
    s3_client_lock(c);
    s3_throttle_leave(&c->throttle, epoch, result);
    (void)pthread_cond_broadcast(&c->room);
    s3_client_unlock(c);
}

uint64_t s3_client_last_words_ms(s3_client *c)
{
    const uint64_t now = c->world->mono_ms(c->world->impl);

    s3_client_lock(c);
    if (c->last_words_until_ms == 0)
        c->last_words_until_ms = now + LAST_WORDS_MS;
    const uint64_t left = c->last_words_until_ms > now ? c->last_words_until_ms - now : 0;
    s3_client_unlock(c);
    return left > LAST_WORDS_LEAST_MS ? left : LAST_WORDS_LEAST_MS;
}

s3_retry_decision s3_client_decide(s3_client *c, s3_retry_event *ev)
{
    c->world->random(c->world->impl, &ev->random, sizeof(ev->random));
    s3_client_lock(c);
    ev->quota = c->quota;
    const s3_retry_decision d = s3_retry_decide(&c->retry, ev);
    c->quota -= d.cost;
    s3_client_unlock(c);
    return d;
}

void s3_client_refund(s3_client *c, uint32_t last_cost)
{
    s3_client_lock(c);
    c->quota = s3_retry_refund(&c->retry, c->quota, last_cost);
    s3_client_unlock(c);
}

void s3_client_get_state(s3_client *c, s3_endpoint *ret_endpoint, int64_t *ret_skew_ms)
{
    s3_client_lock(c);
    *ret_endpoint = c->endpoint;
    *ret_skew_ms = c->skew_ms;
    s3_client_unlock(c);
}

cf_err s3_client_set_region(s3_client *c, const char *region, cf_error *e)
{
    const s3_endpoint_opts where = {.endpoint = c->endpoint_text,
                                    .region = region,
                                    .bucket = c->bucket,
                                    .addressing = c->addressing};
    s3_endpoint corrected;

    CF_TRY(s3_endpoint_resolve(&where, &corrected, e));
    s3_client_lock(c);
    c->endpoint = corrected;
    s3_client_unlock(c);
    return CF_OK;
}

void s3_client_set_skew(s3_client *c, int64_t skew_ms)
{
    s3_client_lock(c);
    c->skew_ms = skew_ms;
    s3_client_unlock(c);
}

void s3_client_note_server_time(s3_client *c, int64_t server_utc_ms)
{
    const uint64_t now = c->world->mono_ms(c->world->impl);

    s3_client_lock(c);
    const int64_t carried = c->server_utc_ms + (int64_t)(now - c->server_mono_ms);
    /* An older Date than the clock carried on: an answer that was long under way, or one second's
     * rounding. */
    if (c->server_utc_ms == 0 || server_utc_ms > carried) {
        c->server_utc_ms = server_utc_ms;
        c->server_mono_ms = now;
    }
    s3_client_unlock(c);
}

int64_t s3_client_server_time_ms(s3_client *c)
{
    const uint64_t now = c->world->mono_ms(c->world->impl);

    s3_client_lock(c);
    const int64_t t =
        c->server_utc_ms == 0 ? 0 : c->server_utc_ms + (int64_t)(now - c->server_mono_ms);
    s3_client_unlock(c);
    return t;
}

void s3_client_get_counts(s3_client *c, s3_counts *ret)
{
    s3_client_lock(c);
    *ret = c->counts;
    s3_client_unlock(c);
}

void s3_client_make_id(s3_client *c, char ret[S3_ID_LEN + 1])
{
    uint8_t raw[S3_ID_LEN / 2];

    c->world->random(c->world->impl, raw, sizeof(raw));
    cf_hex_render(cf_slice_of(raw, sizeof(raw)), ret);
}
