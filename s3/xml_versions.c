/* SPDX-License-Identifier: Apache-2.0
 *
 * Answers about versions and locks, read: VersioningConfiguration, ListVersionsResult, Retention,
 * LegalHold.
 */
#include "s3/base/alloc.h"
#include "s3/base/cleanup.h"
#include "s3/xml.h"
#include "s3/xml_inner.h"

/* ---- VersioningConfiguration ---- */

static cf_err versioning_walk(void *impl, s3_xml_event event, const char *path, cf_slice text,
                              cf_error *e)
{
    static const char root[] = "VersioningConfiguration";
    bool *const on = impl;
    CF_TRY(s3_xml_root_check(event, path, root, e));
    if (event == S3_XML_LEAF && s3_xml_path_is(path, root, "Status"))
        *on = cf_slice_eq(text, cf_slice_str("Enabled")) ||
              cf_slice_eq(text, cf_slice_str("Suspended"));
    return CF_OK;
}

cf_err s3_xml_parse_versioning(cf_slice body, bool *ret_on, cf_error *e)
{
    bool on = false;
    CF_TRY(s3_xml_walk(body, versioning_walk, &on, e));
    *ret_on = on;
    return CF_OK;
}

/* ---- ListVersionsResult ---- */

void s3_xml_versions_deinit(s3_xml_versions *v)
{
    cf_free(v->entries);
    cf_buf_deinit(&v->text);
    *v = (s3_xml_versions){0};
}

typedef struct versions_state {
    s3_xml_versions page; /* owned */
    bool url_encoded;
} versions_state;

static void versions_state_deinit(versions_state *s)
{
    s3_xml_versions_deinit(&s->page);
}

/* "Version" or "DeleteMarker" under the root, or a field of one. */
static bool in_version(const char *path, bool *ret_marker)
{
    static const char version[] = "ListVersionsResult/Version";
    static const char marker[] = "ListVersionsResult/DeleteMarker";
    *ret_marker = strncmp(path, marker, strlen(marker)) == 0;
    const char *const rest =
        path + (*ret_marker                                    ? strlen(marker)
                : strncmp(path, version, strlen(version)) == 0 ? strlen(version)
                                                               : 0);
    return rest != path && (*rest == '\0' || *rest == '/');
}

static cf_err version_open(s3_xml_versions *p, bool marker, cf_error *e)
{
    void *rows = p->entries;
    CF_TRY(s3_xml_rows_grow(&rows, p->entry_total, sizeof(*p->entries), e));
    p->entries = rows;
    p->entries[p->entry_total++].is_marker = marker;
    return CF_OK;
}

static void version_field(s3_xml_versions *p, const char *path, cf_slice text)
{
    s3_version_entry *const entry = &p->entries[p->entry_total - 1];
    const char *const field = strrchr(path, '/') + 1;
    if (strcmp(field, "Key") == 0)
        entry->key = s3_xml_keep(&p->text, text);
    if (strcmp(field, "VersionId") == 0)
        entry->version_id = s3_xml_keep(&p->text, text);
}

static cf_err versions_leaf(versions_state *s, const char *path, cf_slice text, cf_error *e)
{
    static const char root[] = "ListVersionsResult";
    s3_xml_versions *const p = &s->page;
    if (s3_xml_path_is(path, root, "IsTruncated"))
        return s3_xml_bool(text, "IsTruncated", &p->truncated, e);
    if (s3_xml_path_is(path, root, "EncodingType"))
        s->url_encoded = cf_slice_eq(text, cf_slice_str("url"));
    if (s3_xml_path_is(path, root, "NextKeyMarker"))
        p->next_key_marker = s3_xml_keep(&p->text, text);
    if (s3_xml_path_is(path, root, "NextVersionIdMarker"))
        p->next_version_id_marker = s3_xml_keep(&p->text, text);
    return CF_OK;
}

static cf_err versions_walk(void *impl, s3_xml_event event, const char *path, cf_slice text,
                            cf_error *e)
{
    static const char root[] = "ListVersionsResult";
    versions_state *const s = impl;
    bool marker = false;
    CF_TRY(s3_xml_root_check(event, path, root, e));
    const bool inside = in_version(path, &marker);
    const bool is_entry = inside && strchr(path + sizeof(root), '/') == NULL;
    if (event == S3_XML_OPEN && is_entry)
        return version_open(&s->page, marker, e);
    /* An entry without children is a leaf itself: it has no key, which the end tells. */
    if (event == S3_XML_LEAF && inside && !is_entry)
        version_field(&s->page, path, text);
    return event == S3_XML_LEAF && !inside ? versions_leaf(s, path, text, e) : CF_OK;
}

static cf_err versions_finish(versions_state *s, cf_error *e)
{
    s3_xml_versions *const p = &s->page;
    bool plus_is_space = true;
    for (size_t i = 0; i < p->entry_total; i++)
        plus_is_space = plus_is_space && !s3_xml_has_encoded_space(p->entries[i].key);
    for (size_t i = 0; i < p->entry_total; i++) {
        const cf_slice id = p->entries[i].version_id;
        if (s->url_encoded)
            CF_TRY(s3_xml_key_decode(&p->text, &p->entries[i].key, plus_is_space, e));
        CF_TRY(s3_xml_key_check(p->entries[i].key, e));
        CF_ENSURE(id.len > 0, e, CF_ERR_PROTOCOL, "a version has no id");
        CF_ENSURE(id.len <= S3_VERSION_ID_LEN_MAX, e, CF_ERR_PROTOCOL,
                  "a version id has %zu bytes, %u are allowed", id.len, S3_VERSION_ID_LEN_MAX);
        CF_ENSURE(memchr(id.ptr, '\0', id.len) == NULL, e, CF_ERR_PROTOCOL,
                  "a version id has a NUL in it");
    }
    if (s->url_encoded)
        CF_TRY(s3_xml_key_decode(&p->text, &p->next_key_marker, plus_is_space, e));
    CF_ENSURE(!p->truncated || p->next_key_marker.len > 0, e, CF_ERR_PROTOCOL,
              "the list goes on, but the answer has no marker");
    return CF_OK;
}

cf_err s3_xml_parse_versions(cf_slice body, s3_xml_versions *ret, cf_error *e)
{
    CF_CLEANUP(versions_state_deinit) versions_state s = {0};
    CF_TRY(s3_xml_keep_init(&s.page.text, body, e));
    CF_TRY(s3_xml_walk(body, versions_walk, &s, e));
    CF_TRY(versions_finish(&s, e));
    s3_xml_versions_deinit(ret);
    *ret = s.page;
    s.page = (s3_xml_versions){0};
    return CF_OK;
}

/* ---- Retention, LegalHold ---- */

static cf_err lock_walk(void *impl, s3_xml_event event, const char *path, cf_slice text,
                        cf_error *e)
{
    s3_lock *const lock = impl;
    const bool hold = strncmp(path, "LegalHold", strlen("LegalHold")) == 0;
    CF_TRY(s3_xml_root_check(event, path, hold ? "LegalHold" : "Retention", e));
    if (event != S3_XML_LEAF)
        return CF_OK;
    if (s3_xml_path_is(path, "LegalHold", "Status"))
        lock->legal_hold = cf_slice_eq(text, cf_slice_str("ON"));
    if (s3_xml_path_is(path, "Retention", "RetainUntilDate"))
        return s3_xml_time(text, "RetainUntilDate", &lock->retain_until_utc_ms, e);
    if (s3_xml_path_is(path, "Retention", "Mode")) {
        CF_ENSURE(text.len < sizeof(lock->mode), e, CF_ERR_PROTOCOL,
                  "Mode has %zu bytes, %zu are allowed", text.len, sizeof(lock->mode) - 1);
        s3_xml_mode_copy(lock->mode, sizeof(lock->mode), text);
    }
    return CF_OK;
}

void s3_xml_mode_copy(char *ret, size_t size, cf_slice text)
{
    const size_t len = text.len < size - 1 ? text.len : size - 1;
    for (size_t i = 0; i < len; i++)
        ret[i] = text.ptr[i] >= 'A' && text.ptr[i] <= 'Z' ? (char)text.ptr[i] : '?';
    ret[len] = '\0';
}

cf_err s3_xml_parse_lock(cf_slice body, s3_lock *lock, cf_error *e)
{
    s3_lock read = *lock;
    CF_TRY(s3_xml_walk(body, lock_walk, &read, e));
    *lock = read;
    return CF_OK;
}
