/* SPDX-License-Identifier: Apache-2.0
 *
 * DeleteObject and DeleteObjects. A batch is a queue: what the server could not delete for now stays
 * in it and is sent again after a wait, alone; what it refuses for good is told to the caller. What
 * XML cannot carry, and everything on a server without batches, is deleted one by one.
 */
#include <stdio.h>

#include "s3/base/alloc.h"
#include "s3/base/cleanup.h"
#include "s3/base/hash.h"
#include "s3/call.h"
#include "s3/client.h"
#include "s3/codes.h"
#include "s3/xml.h"

enum {
    DELETE_BODY_SLACK = 16 * 1024, /* ours: one object, escaped, and the end of the document */
    DELETE_BODY_MIN = 1024,        /* ours: below it a 413 is about something else */
};

typedef struct deletion {
    s3_client *c;
    s3_refused_fn fn; /* may be NULL */
    void *fn_impl;
    size_t failed_total;
    cf_error first; /* the first failure */
} deletion;

/* The targets of one batch that are still to be deleted. */
typedef struct queue {
    const s3_target *targets[S3_DELETE_TOTAL_MAX];
    size_t total;
    size_t waiting; /* of them, at the front: failed at least once */
    bool throttled; /* one of those was told to slow down */
    uint32_t attempt;
    uint32_t cost; /* tokens that the retries took */
    uint64_t start_mono_ms;
} queue;

static cf_err delete_one(s3_client *c, const s3_target *target, cf_error *e)
{
    CF_CLEANUP(s3_reply_deinit) s3_reply reply = {0};
    s3_call call = {.operation = "DeleteObject", .method = "DELETE", .key = target->key};
    cf_error failure = {0};

    if (target->version_id != NULL)
        s3_call_param(&call, "versionId", target->version_id);
    const cf_err err = s3_call_run(c, &call, &reply, &failure);
    if (err == CF_OK ||
        err == CF_ERR_NOT_FOUND) /* S3 says 204 for what is not there; some servers 404 */
        return CF_OK;
    if (e != NULL)
        *e = failure;
    return err;
}

cf_err s3_delete(s3_client *c, const char *key, cf_error *e)
{
    const s3_target target = {.key = key};

    return delete_one(c, &target, e);
}

/* A failure that no further try will change. An error of fn ends all. */
static cf_err settle(deletion *d, const s3_target *target, const cf_error *why, cf_error *e)
{
    bool fine = false;

    if (d->fn != NULL)
        CF_TRY(d->fn(d->fn_impl, target, why, &fine, e));
    if (!fine && d->failed_total++ == 0)
        d->first = *why;
    return CF_OK;
}

static cf_err one_by_one(deletion *d, const s3_target *target, cf_error *e)
{
    cf_error why = {0};
    const cf_err err = delete_one(d->c, target, &why);

    if (err == CF_OK)
        return CF_OK;
    if (err == CF_ERR_INTERRUPTED || err == CF_ERR_NO_MEMORY || err == CF_ERR_NO_BUCKET) {
        if (e != NULL)
            *e = why;
        return err;
    }
    return settle(d, target, &why, e);
}

/* ---- one request ---- */

static cf_err batch_check(void *impl, s3_call *call, s3_reply *reply, cf_error *e)
{
    s3_xml_deletions *d = impl;

    (void)call;
    s3_xml_deletions_deinit(d);
    *d = (s3_xml_deletions){0};
    return s3_xml_parse_deletions(cf_buf_slice(&reply->body), d, e);
}

static cf_err batch_send(s3_client *c, cf_slice body, s3_xml_deletions *ret, int *ret_status,
                         cf_error *e)
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
    const cf_err err = s3_call_run(c, &call, &reply, e);
    *ret_status = reply.http.status;
    return err;
}

static size_t body_limit(s3_client *c)
{
    s3_client_lock(c);
    const size_t limit = c->delete_body_max;
    s3_client_unlock(c);
    return limit;
}

/* As many of the queue's first targets as the limit allows, at least one; *ret_total of them. What
 * was tried before is not mixed with what was not: a wait would hold it up. */
static cf_err batch_render(s3_client *c, const queue *q, cf_buf *ret, size_t *ret_total,
                           cf_error *e)
{
    const size_t limit = body_limit(c);
    const size_t most = q->waiting > 0 ? q->waiting : q->total;
    size_t n = 0;

    cf_buf_init(ret, limit + DELETE_BODY_SLACK);
    CF_TRY(s3_xml_delete_begin(ret, e));
    for (; n < most; n++) {
        const size_t before = ret->len;
        CF_TRY(s3_xml_delete_add(q->targets[n]->key, q->targets[n]->version_id, ret, e));
        if (n > 0 && ret->len > limit) {
            ret->len = before;
            break;
        }
    }
    *ret_total = n;
    return s3_xml_delete_end(ret, e);
}

/* ---- what the answer means ---- */

static const s3_xml_deletion *said_of(const s3_xml_deletions *d, const s3_target *t)
{
    for (size_t i = 0; i < d->failed_total; i++) {
        const s3_xml_deletion *const one = &d->failed[i];
        /* Some servers leave the version out of their answer. */
        if (cf_slice_eq(one->key, cf_slice_str(t->key)) &&
            (one->version_id.len == 0 || t->version_id == NULL ||
             cf_slice_eq(one->version_id, cf_slice_str(t->version_id))))
            return one;
    }
    return NULL;
}

static cf_err failure_of(const s3_target *t, const s3_xml_deletion *said, const s3_code *code,
                         cf_error *ret)
{
    const cf_err err = cf_error_set(ret, code->err, __FILE__, __LINE__,
                                    "DeleteObjects '%s'%s%s: the server says %.*s: %.*s", t->key,
                                    t->version_id != NULL ? " version " : "",
                                    t->version_id != NULL ? t->version_id : "",
                                    CF_SLICE_FMT(said->code), CF_SLICE_FMT(said->message));
    (void)snprintf(ret->s3_code, sizeof(ret->s3_code), "%.*s", CF_SLICE_FMT(said->code));
    return err;
}

/* The answer's word on the first total targets: done, refused, or once more. */
static cf_err batch_judge(deletion *d, queue *q, size_t total, const s3_xml_deletions *said,
                          cf_error *ret_last, cf_error *e)
{
    size_t kept = 0;

    q->throttled = false;
    for (size_t i = 0; i < total; i++) {
        const s3_target *const t = q->targets[i];
        const s3_xml_deletion *const one = said->failed_total > 0 ? said_of(said, t) : NULL;
        if (one == NULL)
            continue;
        const s3_code code = s3_code_classify(one->code, /* http_status= */ 400);
        cf_error why = {0};
        if (code.err == CF_ERR_NOT_FOUND)
            continue;
        (void)failure_of(t, one, &code, &why);
        if (code.code_class == S3_CODE_FINAL) {
            CF_TRY(settle(d, t, &why, e));
            continue;
        }
        q->throttled = q->throttled || code.code_class == S3_CODE_THROTTLE;
        q->targets[kept++] = t;
        *ret_last = why;
    }
    memmove(q->targets + kept, q->targets + total, (q->total - total) * sizeof(const s3_target *));
    q->total -= total - kept;
    q->waiting = kept + (q->waiting > total ? q->waiting - total : 0);
    return CF_OK;
}

/* Wait before the failed ones go again; or count them as failed, with the last word on one of them.
 */
static cf_err batch_wait(deletion *d, queue *q, const cf_error *last, cf_error *e)
{
    const cf_world *const w = d->c->world;
    s3_retry_event ev = {.class_ = q->throttled ? S3_RETRY_THROTTLE : S3_RETRY_SERVER,
                         .attempt = ++q->attempt,
                         .elapsed_ms = w->mono_ms(w->impl) - q->start_mono_ms};
    const s3_retry_decision decision = s3_client_decide(d->c, &ev);

    if (decision.action == S3_RETRY_WAIT) {
        q->cost += decision.cost;
        w->sleep_ms(w->impl, decision.wait_ms);
        CF_ENSURE(!w->stopping(w->impl), e, CF_ERR_INTERRUPTED, "DeleteObjects: interrupted");
        return CF_OK;
    }
    for (size_t i = 0; i < q->waiting; i++)
        CF_TRY(settle(d, q->targets[i], last, e));
    memmove(q->targets, q->targets + q->waiting,
            (q->total - q->waiting) * sizeof(const s3_target *));
    q->total -= q->waiting;
    q->waiting = 0;
    q->attempt = 0;
    q->cost = 0;
    return CF_OK;
}

/* A server without DeleteObjects. */
static cf_err queue_singly(deletion *d, queue *q, cf_error *e)
{
    for (size_t i = 0; i < q->total; i++)
        CF_TRY(one_by_one(d, q->targets[i], e));
    q->total = 0;
    return CF_OK;
}

/* true: the body was too large for this server, and a smaller one is worth trying. */
static bool limit_lower(s3_client *c, size_t body_len, size_t total)
{
    if (total < 2 || body_len / 2 < DELETE_BODY_MIN)
        return false;
    s3_client_lock(c);
    if (body_len / 2 < c->delete_body_max)
        c->delete_body_max = body_len / 2;
    s3_client_unlock(c);
    return true;
}

/* One request for the front of the queue. */
static cf_err queue_step(deletion *d, queue *q, cf_error *e)
{
    CF_CLEANUP(s3_xml_deletions_deinit) s3_xml_deletions said = {0};
    CF_CLEANUP(cf_buf_deinit) cf_buf body = {0};
    cf_error failure = {0};
    cf_error last = {0};
    size_t total = 0;
    int status = 0;

    CF_TRY(batch_render(d->c, q, &body, &total, e));
    const cf_err err = batch_send(d->c, cf_buf_slice(&body), &said, &status, &failure);
    if (status == 413 && limit_lower(d->c, body.len, total))
        return CF_OK;
    if (err == CF_ERR_UNSUPPORTED || (err != CF_OK && status == 405))
        return queue_singly(d, q, e);
    if (err != CF_OK) {
        if (e != NULL)
            *e = failure;
        return err;
    }
    CF_TRY(batch_judge(d, q, total, &said, &last, e));
    if (q->waiting > 0)
        return last.code != CF_OK ? batch_wait(d, q, &last, e) : CF_OK;
    s3_client_refund(d->c, q->cost); /* all of them went in the end */
    q->cost = 0;
    q->attempt = 0;
    q->start_mono_ms = d->c->world->mono_ms(d->c->world->impl);
    return CF_OK;
}

static cf_err queue_run(deletion *d, queue *q, cf_error *e)
{
    q->start_mono_ms = d->c->world->mono_ms(d->c->world->impl);
    q->attempt = 0;
    q->cost = 0;
    q->waiting = 0;
    while (q->total > 0)
        CF_TRY(queue_step(d, q, e));
    return CF_OK;
}

/* ---- any number of targets ---- */

/* Keys that XML 1.0 cannot carry: control characters, bytes that are not UTF-8. */
static bool xml_can_carry(const s3_target *t)
{
    cf_buf probe;

    cf_buf_init(&probe, DELETE_BODY_SLACK);
    const cf_err err = s3_xml_delete_add(t->key, t->version_id, &probe, NULL);
    cf_buf_deinit(&probe);
    return err == CF_OK;
}

static cf_err targets_check(const s3_target *targets, size_t total, cf_error *e)
{
    for (size_t i = 0; i < total; i++) {
        const size_t len = strlen(targets[i].key);
        CF_ENSURE(len >= 1, e, CF_ERR_USAGE, "DeleteObjects: key %zu is empty", i);
        CF_ENSURE(len <= S3_KEY_LEN_MAX, e, CF_ERR_USAGE,
                  "DeleteObjects: key %zu has %zu bytes, %u are allowed", i, len, S3_KEY_LEN_MAX);
        CF_ENSURE(targets[i].version_id == NULL ||
                      strlen(targets[i].version_id) <= S3_VERSION_ID_LEN_MAX,
                  e, CF_ERR_USAGE, "DeleteObjects: the version id of key %zu is too long", i);
    }
    return CF_OK;
}

cf_err s3_delete_targets(s3_client *c, const s3_target *targets, size_t total, s3_refused_fn fn,
                         void *impl, cf_error *e)
{
    deletion d = {.c = c, .fn = fn, .fn_impl = impl};
    queue q = {.total = 0};

    CF_TRY(targets_check(targets, total, e));
    for (size_t i = 0; i < total; i++) {
        if (xml_can_carry(&targets[i]))
            q.targets[q.total++] = &targets[i];
        else
            CF_TRY(one_by_one(&d, &targets[i], e));
        if (q.total == S3_DELETE_TOTAL_MAX || i + 1 == total)
            CF_TRY(queue_run(&d, &q, e));
    }
    if (d.failed_total == 0)
        return CF_OK;
    const cf_err err = cf_error_set(e, d.first.code, __FILE__, __LINE__,
                                    "%zu of %zu objects were not deleted; the first: %.1800s",
                                    d.failed_total, total, d.first.message);
    if (e != NULL)
        memcpy(e->s3_code, d.first.s3_code, sizeof(e->s3_code));
    return err;
}

cf_err s3_delete_many(s3_client *c, const char *const *keys, size_t key_total, cf_error *e)
{
    CF_CLEANUP(cf_freep) s3_target *targets = NULL;

    if (key_total == 0)
        return CF_OK;
    targets = cf_alloc(key_total, sizeof(*targets));
    CF_ENSURE(targets != NULL, e, CF_ERR_NO_MEMORY, "allocate %zu keys", key_total);
    for (size_t i = 0; i < key_total; i++)
        targets[i].key = keys[i];
    return s3_delete_targets(c, targets, key_total, /* fn= */ NULL, /* impl= */ NULL, e);
}
