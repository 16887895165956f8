/* SPDX-License-Identifier: Apache-2.0
 *
 * ListObjectVersions, one page at a time, and what keeps one version: GetObjectRetention,
 * GetObjectLegalHold.
 */
#include <string.h>

#include "s3/base/cleanup.h"
#include "s3/base/num.h"
#include "s3/call.h"
#include "s3/client.h"
#include "s3/xml.h"

typedef struct versions_page {
    const char *prefix;
    cf_slice at_key, at_version_id;
    s3_xml_versions page;
} versions_page;

static void versions_page_deinit(versions_page *p)
{
    s3_xml_versions_deinit(&p->page);
}

static cf_err versions_check(void *impl, s3_call *call, s3_reply *reply, cf_error *e)
{
    versions_page *const p = impl;
    const s3_xml_versions *const v = &p->page;
    const cf_slice prefix = cf_slice_str(p->prefix);

    (void)call;
    s3_xml_versions_deinit(&p->page);
    p->page = (s3_xml_versions){0};
    CF_TRY(s3_xml_parse_versions(cf_buf_slice(&reply->body), &p->page, e));
    for (size_t i = 0; i < v->entry_total; i++)
        CF_ENSURE(cf_slice_starts_with(v->entries[i].key, prefix), e, CF_ERR_PROTOCOL,
                  "the page has '%.*s', which is not under '%.*s'", CF_SLICE_FMT(v->entries[i].key),
                  CF_SLICE_FMT(prefix));
    if (!v->truncated)
        return CF_OK;
    /* Their order says nothing: MinIO puts words of its own behind the key. */
    CF_ENSURE(!cf_slice_eq(v->next_key_marker, p->at_key) ||
                  !cf_slice_eq(v->next_version_id_marker, p->at_version_id),
              e, CF_ERR_PROTOCOL, "the page's markers do not lead on");
    CF_ENSURE(v->next_key_marker.len <= S3_KEY_LEN_MAX, e, CF_ERR_PROTOCOL,
              "the page's key marker has %zu bytes, %u are allowed", v->next_key_marker.len,
              S3_KEY_LEN_MAX);
    CF_ENSURE(v->next_version_id_marker.len <= S3_VERSION_ID_LEN_MAX, e, CF_ERR_PROTOCOL,
              "the page's version id marker has %zu bytes, %u are allowed",
              v->next_version_id_marker.len, S3_VERSION_ID_LEN_MAX);
    return CF_OK;
}

static void copy_text(char *ret, cf_slice s)
{
    if (s.len > 0)
        memcpy(ret, s.ptr, s.len);
    ret[s.len] = '\0';
}

cf_err s3_versions_page(s3_client *c, const char *prefix, s3_versions_at *at, s3_version_fn fn,
                        void *impl, cf_error *e)
{
    CF_CLEANUP(s3_reply_deinit) s3_reply reply = {0};
    CF_CLEANUP(versions_page_deinit)
    versions_page p = {.prefix = prefix,
                       .at_key = cf_slice_str(at->key),
                       .at_version_id = cf_slice_str(at->version_id)};
    s3_call call = {.operation = "ListObjectVersions",
                    .method = "GET",
                    .answer_max = S3_XML_BODY_MAX,
                    .check = versions_check,
                    .impl = &p};

    s3_call_param(&call, "versions", "");
    s3_call_param(&call, "encoding-type", "url");
    s3_call_param(&call, "max-keys", "1000");
    if (prefix != NULL && prefix[0] != '\0')
        s3_call_param(&call, "prefix", prefix);
    if (at->key[0] != '\0')
        s3_call_param(&call, "key-marker", at->key);
    if (at->version_id[0] != '\0')
        s3_call_param(&call, "version-id-marker", at->version_id);
    CF_TRY(s3_call_run(c, &call, &reply, e));
    for (size_t i = 0; i < p.page.entry_total; i++)
        CF_TRY(fn(impl, &p.page.entries[i], e));
    at->end = !p.page.truncated;
    if (p.page.truncated) {
        copy_text(at->key, p.page.next_key_marker);
        copy_text(at->version_id, p.page.next_version_id_marker);
    }
    return CF_OK;
}

/* ---- what keeps a version ---- */

static cf_err head_check(void *impl, s3_call *call, s3_reply *reply, cf_error *e)
{
    s3_lock *const lock = impl;
    const cf_slice mode = s3_http_answer_get(&reply->http, "x-amz-object-lock-mode");
    const cf_slice until = s3_http_answer_get(&reply->http, "x-amz-object-lock-retain-until-date");
    const cf_slice hold = s3_http_answer_get(&reply->http, "x-amz-object-lock-legal-hold");

    (void)call;
    *lock = (s3_lock){.legal_hold = cf_slice_eq(hold, cf_slice_str("ON"))};
    if (mode.len > 0)
        s3_xml_mode_copy(lock->mode, sizeof(lock->mode), mode);
    CF_ENSURE(until.len == 0 || cf_time_parse_iso(until, &lock->retain_until_utc_ms), e,
              CF_ERR_PROTOCOL, "x-amz-object-lock-retain-until-date is no time");
    return CF_OK;
}

static cf_err lock_check(void *impl, s3_call *call, s3_reply *reply, cf_error *e)
{
    (void)call;
    return s3_xml_parse_lock(cf_buf_slice(&reply->body), impl, e);
}

/* Nothing keeps it, or the server knows no locks. */
static bool says_none(cf_err err, int status)
{
    return err == CF_ERR_NOT_FOUND || err == CF_ERR_UNSUPPORTED || status == 400 || status == 404 ||
           status == 405;
}

/* Retention or legal hold, by a request of its own. */
static cf_err lock_ask(s3_client *c, const s3_target *target, const char *what, s3_lock *lock,
                       cf_error *e)
{
    CF_CLEANUP(s3_reply_deinit) s3_reply reply = {0};
    cf_error failure = {0};
    s3_call call = {.operation = what[0] == 'r' ? "GetObjectRetention" : "GetObjectLegalHold",
                    .method = "GET",
                    .key = target->key,
                    .check = lock_check,
                    .impl = lock};

    s3_call_param(&call, what, "");
    if (target->version_id != NULL)
        s3_call_param(&call, "versionId", target->version_id);
    const cf_err err = s3_call_run(c, &call, &reply, &failure);
    if (err == CF_OK || says_none(err, reply.http.status))
        return CF_OK;
    if (e != NULL)
        *e = failure;
    return err;
}

cf_err s3_lock_get(s3_client *c, const s3_target *target, s3_lock *ret, cf_error *e)
{
    CF_CLEANUP(s3_reply_deinit) s3_reply reply = {0};
    s3_lock lock = {0};
    s3_call call = {.operation = "HeadObject",
                    .method = "HEAD",
                    .key = target->key,
                    .check = head_check,
                    .impl = &lock};

    if (target->version_id != NULL)
        s3_call_param(&call, "versionId", target->version_id);
    const cf_err err = s3_call_run(c, &call, &reply, e);
    if (err == CF_ERR_INTERRUPTED)
        return err;
    if (err != CF_OK || (lock.mode[0] == '\0' && !lock.legal_hold)) {
        /* Not every server, and not every key, sees the lock in a HEAD. */
        lock = (s3_lock){0};
        CF_TRY(lock_ask(c, target, "retention", &lock, e));
        CF_TRY(lock_ask(c, target, "legal-hold", &lock, e));
    }
    *ret = lock;
    return CF_OK;
}
