/* SPDX-License-Identifier: Apache-2.0
 *
 * Answers of S3, read. Each parser is a table of paths and a function that puts the text of one
 * away.
 */
#include "s3/xml.h"

#include "s3/base/alloc.h"
#include "s3/base/cleanup.h"
#include "s3/base/num.h"
#include "s3/base/utf8.h"
#include "s3/xml_inner.h"

/* ---- Error ---- */

/* Text for people and logs: cut, and nothing in it that a terminal would obey. */
static void copy_shown(char *ret, size_t size, cf_slice s)
{
    const size_t len = s.len < size - 1 ? s.len : size - 1;
    const bool utf8 = cf_utf8_valid(s) && len == s.len;
    for (size_t i = 0; i < len; i++) {
        const uint8_t c = s.ptr[i];
        /* U+0080..U+009F are controls too: "\xC2\x9B" begins an escape sequence. */
        const bool c1 = (c == 0xC2 && i + 1 < len && s.ptr[i + 1] < 0xA0) ||
                        (c < 0xA0 && i > 0 && s.ptr[i - 1] == 0xC2);
        const bool shown = c >= 0x20 && c != 0x7F && (c < 0x80 || (utf8 && !c1));
        ret[i] = shown ? (char)c : c == '\n' || c == '\t' ? ' ' : '?';
    }
    ret[len] = '\0';
}

typedef struct error_row {
    const char *field;
    size_t offset, size; /* where in s3_xml_error */
} error_row;

#define ERROR_ROW(field, member)                                                                   \
    {                                                                                              \
        field, offsetof(s3_xml_error, member), sizeof(((s3_xml_error *)NULL)->member)              \
    }
static const error_row error_rows[] = {
    ERROR_ROW("Code", code),
    ERROR_ROW("Message", message),
    ERROR_ROW("Region", region),
    ERROR_ROW("Endpoint", endpoint),
    ERROR_ROW("BucketName", bucket),
    ERROR_ROW("Bucket", bucket),
    ERROR_ROW("RequestId", request_id),
    ERROR_ROW("RequestID", request_id),
};

static void error_field(s3_xml_error *error, const char *parent, const char *path, cf_slice text)
{
    for (size_t i = 0; i < sizeof(error_rows) / sizeof(error_rows[0]); i++)
        if (s3_xml_path_is(path, parent, error_rows[i].field))
            copy_shown((char *)error + error_rows[i].offset, error_rows[i].size, text);
    int64_t time_ms = 0;
    if (s3_xml_path_is(path, parent, "ServerTime") && cf_time_parse_iso(text, &time_ms))
        error->server_utc_ms = time_ms;
}

static cf_err error_walk(void *impl, s3_xml_event event, const char *path, cf_slice text,
                         cf_error *e)
{
    /* STS wraps it: <ErrorResponse><Error>. Anything else is no S3 error. */
    const bool wrapped = strncmp(path, "ErrorResponse", strlen("ErrorResponse")) == 0;
    CF_TRY(s3_xml_root_check(event, path, wrapped ? "ErrorResponse" : "Error", e));
    if (event == S3_XML_LEAF)
        error_field(impl, wrapped ? "ErrorResponse/Error" : "Error", path, text);
    if (event == S3_XML_LEAF && wrapped)
        error_field(impl, "ErrorResponse", path, text); /* RequestId stands outside */
    return CF_OK;
}

cf_err s3_xml_parse_error(cf_slice body, s3_xml_error *ret, cf_error *e)
{
    s3_xml_error error = {0};
    CF_TRY(s3_xml_walk(body, error_walk, &error, e));
    CF_ENSURE(error.code[0] != '\0', e, CF_ERR_PROTOCOL, "the error has no code");
    *ret = error;
    return CF_OK;
}

/* ---- ListBucketResult ---- */

void s3_xml_page_deinit(s3_xml_page *p)
{
    cf_free(p->entries);
    cf_buf_deinit(&p->text);
    *p = (s3_xml_page){0};
}

typedef struct list_state {
    s3_xml_page page; /* owned */
    bool url_encoded, has_size;
} list_state;

static void list_state_deinit(list_state *s)
{
    s3_xml_page_deinit(&s->page);
}

static cf_err list_open(list_state *s, const char *path, cf_error *e)
{
    const bool prefix = strcmp(path, "ListBucketResult/CommonPrefixes") == 0;
    if (!prefix && strcmp(path, "ListBucketResult/Contents") != 0)
        return CF_OK;
    void *rows = s->page.entries;
    CF_TRY(s3_xml_rows_grow(&rows, s->page.entry_total, sizeof(*s->page.entries), e));
    s->page.entries = rows;
    s->page.entries[s->page.entry_total++].is_prefix = prefix;
    s->has_size = false;
    return CF_OK;
}

static cf_err list_close(list_state *s, const char *path, cf_error *e)
{
    if (strcmp(path, "ListBucketResult/Contents") == 0) {
        CF_ENSURE(s->has_size, e, CF_ERR_PROTOCOL, "an object in the list has no size");
        CF_ENSURE(s->page.entries[s->page.entry_total - 1].key.len > 0, e, CF_ERR_PROTOCOL,
                  "a key is empty");
    }
    return CF_OK;
}

static cf_err list_object_field(list_state *s, const char *path, cf_slice text, cf_error *e)
{
    static const char parent[] = "ListBucketResult/Contents";
    s3_list_entry *const entry = &s->page.entries[s->page.entry_total - 1];
    if (s3_xml_path_is(path, parent, "Key")) {
        entry->key = s3_xml_keep(&s->page.text, text);
    } else if (s3_xml_path_is(path, parent, "Size")) {
        CF_ENSURE(cf_u64_parse(text, &entry->size_bytes), e, CF_ERR_PROTOCOL,
                  "the size of an object is no number");
        s->has_size = true;
    } else if (s3_xml_path_is(path, parent, "LastModified")) {
        CF_TRY(s3_xml_time(text, "LastModified", &entry->modified_utc_ms, e));
    } else if (s3_xml_path_is(path, parent, "ETag")) {
        CF_ENSURE(text.len <= S3_ETAG_LEN_MAX, e, CF_ERR_PROTOCOL,
                  "an ETag has %zu bytes, %u are allowed", text.len, S3_ETAG_LEN_MAX);
        entry->etag = s3_xml_keep(&s->page.text, text);
    }
    return CF_OK;
}

static cf_err list_leaf(list_state *s, const char *path, cf_slice text, cf_error *e)
{
    static const char root[] = "ListBucketResult";
    static const char prefixes[] = "ListBucketResult/CommonPrefixes";
    if (s3_xml_path_is(path, root, "IsTruncated"))
        return s3_xml_bool(text, "IsTruncated", &s->page.truncated, e);
    if (s3_xml_path_is(path, root, "EncodingType"))
        s->url_encoded = cf_slice_eq(text, cf_slice_str("url"));
    if (s3_xml_path_is(path, root, "NextContinuationToken")) {
        CF_ENSURE(text.len <= S3_XML_TOKEN_LEN_MAX, e, CF_ERR_PROTOCOL,
                  "a token has %zu bytes, %d are allowed", text.len, S3_XML_TOKEN_LEN_MAX);
        s->page.next_token = s3_xml_keep(&s->page.text, text);
    }
    if (s3_xml_path_is(path, prefixes, "Prefix"))
        s->page.entries[s->page.entry_total - 1].key = s3_xml_keep(&s->page.text, text);
    /* An element without children under the root is no entry's field. */
    if (strncmp(path, "ListBucketResult/Contents/", strlen("ListBucketResult/Contents/")) == 0)
        return list_object_field(s, path, text, e);
    CF_ENSURE(!s3_xml_path_is(path, root, "Contents"), e, CF_ERR_PROTOCOL,
              "an object in the list has no key");
    return CF_OK;
}

static cf_err list_walk(void *impl, s3_xml_event event, const char *path, cf_slice text,
                        cf_error *e)
{
    CF_TRY(s3_xml_root_check(event, path, "ListBucketResult", e));
    switch (event) {
    case S3_XML_OPEN:
        return list_open(impl, path, e);
    case S3_XML_LEAF:
        return list_leaf(impl, path, text, e);
    case S3_XML_CLOSE:
        break;
    }
    return list_close(impl, path, e);
}

static cf_err list_finish(list_state *s, cf_error *e)
{
    s3_xml_page *const p = &s->page;
    bool plus_is_space = true;
    for (size_t i = 0; i < p->entry_total; i++)
        plus_is_space = plus_is_space && !s3_xml_has_encoded_space(p->entries[i].key);
    for (size_t i = 0; i < p->entry_total; i++) {
        if (s->url_encoded)
            CF_TRY(s3_xml_key_decode(&p->text, &p->entries[i].key, plus_is_space, e));
        CF_TRY(s3_xml_key_check(p->entries[i].key, e));
    }
    CF_ENSURE(!p->truncated || p->next_token.len > 0, e, CF_ERR_PROTOCOL,
              "the list goes on, but the answer has no token");
    return CF_OK;
}

cf_err s3_xml_parse_list(cf_slice body, s3_xml_page *ret, cf_error *e)
{
    CF_CLEANUP(list_state_deinit) list_state s = {0};
    CF_TRY(s3_xml_keep_init(&s.page.text, body, e));
    CF_TRY(s3_xml_walk(body, list_walk, &s, e));
    CF_TRY(list_finish(&s, e));
    s3_xml_page_deinit(ret);
    *ret = s.page;
    s.page = (s3_xml_page){0};
    return CF_OK;
}

/* ---- InitiateMultipartUploadResult, CompleteMultipartUploadResult ---- */

typedef struct text_state {
    const char *root, *field;
    char *ret;
    size_t size;
    bool found;
} text_state;

static cf_err text_walk(void *impl, s3_xml_event event, const char *path, cf_slice text,
                        cf_error *e)
{
    text_state *const s = impl;
    CF_TRY(s3_xml_root_check(event, path, s->root, e));
    if (event != S3_XML_LEAF || !s3_xml_path_is(path, s->root, s->field))
        return CF_OK;
    CF_ENSURE(text.len > 0, e, CF_ERR_PROTOCOL, "%s is empty", s->field);
    CF_ENSURE(text.len < s->size, e, CF_ERR_PROTOCOL, "%s has %zu bytes, %zu are allowed", s->field,
              text.len, s->size - 1);
    /* Both go back in a header or a query: what could break a line has no place in them. */
    for (size_t i = 0; i < text.len; i++)
        CF_ENSURE(text.ptr[i] >= 0x20 && text.ptr[i] != 0x7F, e, CF_ERR_PROTOCOL,
                  "%s has a control character", s->field);
    memcpy(s->ret, text.ptr, text.len);
    s->ret[text.len] = '\0';
    s->found = true;
    return CF_OK;
}

/* The text of root/field, into ret of size bytes. */
static cf_err parse_text(cf_slice body, const char *root, const char *field, char *ret, size_t size,
                         cf_error *e)
{
    text_state s = {.root = root, .field = field, .ret = ret, .size = size};
    CF_TRY(s3_xml_walk(body, text_walk, &s, e));
    CF_ENSURE(s.found, e, CF_ERR_PROTOCOL, "the answer has no %s", field);
    return CF_OK;
}

cf_err s3_xml_parse_initiate(cf_slice body, char ret_upload_id[S3_UPLOAD_ID_LEN_MAX + 1],
                             cf_error *e)
{
    char id[S3_UPLOAD_ID_LEN_MAX + 1];
    CF_TRY(parse_text(body, "InitiateMultipartUploadResult", "UploadId", id, sizeof(id), e));
    memcpy(ret_upload_id, id, strlen(id) + 1);
    return CF_OK;
}

cf_err s3_xml_parse_complete(cf_slice body, char ret_etag[S3_ETAG_LEN_MAX + 1], bool *ret_failed,
                             s3_xml_error *ret_error, cf_error *e)
{
    s3_xml_error error = {0};
    if (s3_xml_parse_error(body, &error, /* e= */ NULL) == CF_OK) {
        *ret_failed = true;
        *ret_error = error;
        return CF_OK;
    }
    char etag[S3_ETAG_LEN_MAX + 1];
    CF_TRY(parse_text(body, "CompleteMultipartUploadResult", "ETag", etag, sizeof(etag), e));
    memcpy(ret_etag, etag, strlen(etag) + 1);
    *ret_failed = false;
    return CF_OK;
}

/* ---- ListMultipartUploadsResult ---- */

void s3_xml_uploads_deinit(s3_xml_uploads *u)
{
    cf_free(u->entries);
    cf_buf_deinit(&u->text);
    *u = (s3_xml_uploads){0};
}

typedef struct uploads_state {
    s3_xml_uploads uploads; /* owned */
    bool url_encoded;
} uploads_state;

static void uploads_state_deinit(uploads_state *s)
{
    s3_xml_uploads_deinit(&s->uploads);
}

static cf_err uploads_entry_field(s3_xml_uploads *u, const char *path, cf_slice text, cf_error *e)
{
    static const char parent[] = "ListMultipartUploadsResult/Upload";
    s3_upload_entry *const entry = &u->entries[u->entry_total - 1];
    if (s3_xml_path_is(path, parent, "Key"))
        entry->key = s3_xml_keep(&u->text, text);
    if (s3_xml_path_is(path, parent, "UploadId"))
        entry->upload_id = s3_xml_keep(&u->text, text);
    if (s3_xml_path_is(path, parent, "Initiated"))
        return s3_xml_time(text, "Initiated", &entry->initiated_utc_ms, e);
    return CF_OK;
}

static cf_err uploads_walk(void *impl, s3_xml_event event, const char *path, cf_slice text,
                           cf_error *e)
{
    static const char root[] = "ListMultipartUploadsResult";
    static const char upload[] = "ListMultipartUploadsResult/Upload/";
    uploads_state *const s = impl;
    s3_xml_uploads *const u = &s->uploads;
    CF_TRY(s3_xml_root_check(event, path, root, e));
    if (event == S3_XML_OPEN && s3_xml_path_is(path, root, "Upload")) {
        void *rows = u->entries;
        CF_TRY(s3_xml_rows_grow(&rows, u->entry_total, sizeof(*u->entries), e));
        u->entries = rows;
        u->entry_total++;
    }
    if (event != S3_XML_LEAF)
        return CF_OK;
    if (s3_xml_path_is(path, root, "IsTruncated"))
        return s3_xml_bool(text, "IsTruncated", &u->truncated, e);
    if (s3_xml_path_is(path, root, "EncodingType"))
        s->url_encoded = cf_slice_eq(text, cf_slice_str("url"));
    if (s3_xml_path_is(path, root, "NextKeyMarker"))
        u->next_key_marker = s3_xml_keep(&u->text, text);
    if (s3_xml_path_is(path, root, "NextUploadIdMarker"))
        u->next_upload_id_marker = s3_xml_keep(&u->text, text);
    return strncmp(path, upload, strlen(upload)) == 0 ? uploads_entry_field(u, path, text, e)
                                                      : CF_OK;
}

static cf_err uploads_finish(uploads_state *s, cf_error *e)
{
    s3_xml_uploads *const u = &s->uploads;
    bool plus_is_space = true;
    for (size_t i = 0; i < u->entry_total; i++)
        plus_is_space = plus_is_space && !s3_xml_has_encoded_space(u->entries[i].key);
    for (size_t i = 0; i < u->entry_total; i++) {
        if (s->url_encoded)
            CF_TRY(s3_xml_key_decode(&u->text, &u->entries[i].key, plus_is_space, e));
        CF_TRY(s3_xml_key_check(u->entries[i].key, e));
        const cf_slice id = u->entries[i].upload_id;
        CF_ENSURE(id.len > 0, e, CF_ERR_PROTOCOL, "an upload has no id");
        CF_ENSURE(id.len <= S3_UPLOAD_ID_LEN_MAX, e, CF_ERR_PROTOCOL,
                  "an upload id has %zu bytes, %u are allowed", id.len, S3_UPLOAD_ID_LEN_MAX);
    }
    if (s->url_encoded)
        CF_TRY(s3_xml_key_decode(&u->text, &u->next_key_marker, plus_is_space, e));
    CF_ENSURE(!u->truncated || u->next_key_marker.len > 0, e, CF_ERR_PROTOCOL,
              "the list goes on, but the answer has no marker");
    return CF_OK;
}

cf_err s3_xml_parse_uploads(cf_slice body, s3_xml_uploads *ret, cf_error *e)
{
    CF_CLEANUP(uploads_state_deinit) uploads_state s = {0};
    CF_TRY(s3_xml_keep_init(&s.uploads.text, body, e));
    CF_TRY(s3_xml_walk(body, uploads_walk, &s, e));
    CF_TRY(uploads_finish(&s, e));
    s3_xml_uploads_deinit(ret);
    *ret = s.uploads;
    s.uploads = (s3_xml_uploads){0};
    return CF_OK;
}

/* ---- DeleteResult ---- */

void s3_xml_deletions_deinit(s3_xml_deletions *d)
{
    cf_free(d->failed);
    cf_buf_deinit(&d->text);
    *d = (s3_xml_deletions){0};
}

static cf_err deletions_walk(void *impl, s3_xml_event event, const char *path, cf_slice text,
                             cf_error *e)
{
    static const char root[] = "DeleteResult";
    static const char parent[] = "DeleteResult/Error";
    s3_xml_deletions *const d = impl;
    CF_TRY(s3_xml_root_check(event, path, root, e));
    if (event == S3_XML_OPEN && strcmp(path, parent) == 0) {
        void *rows = d->failed;
        CF_TRY(s3_xml_rows_grow(&rows, d->failed_total, sizeof(*d->failed), e));
        d->failed = rows;
        d->failed_total++;
    }
    if (event == S3_XML_OPEN && s3_xml_path_is(path, root, "Deleted"))
        d->deleted_total++;
    if (event != S3_XML_LEAF || d->failed_total == 0)
        return CF_OK;
    s3_xml_deletion *const failed = &d->failed[d->failed_total - 1];
    if (s3_xml_path_is(path, parent, "Key"))
        failed->key = s3_xml_keep(&d->text, text);
    if (s3_xml_path_is(path, parent, "VersionId"))
        failed->version_id = s3_xml_keep(&d->text, text);
    if (s3_xml_path_is(path, parent, "Code"))
        failed->code = s3_xml_keep(&d->text, text);
    if (s3_xml_path_is(path, parent, "Message"))
        failed->message = s3_xml_keep(&d->text, text);
    return CF_OK;
}

cf_err s3_xml_parse_deletions(cf_slice body, s3_xml_deletions *ret, cf_error *e)
{
    CF_CLEANUP(s3_xml_deletions_deinit) s3_xml_deletions d = {0};
    CF_TRY(s3_xml_keep_init(&d.text, body, e));
    CF_TRY(s3_xml_walk(body, deletions_walk, &d, e));
    for (size_t i = 0; i < d.failed_total; i++) {
        CF_TRY(s3_xml_key_check(d.failed[i].key, e));
        CF_ENSURE(d.failed[i].code.len > 0, e, CF_ERR_PROTOCOL, "a failed deletion has no code");
    }
    s3_xml_deletions_deinit(ret);
    *ret = d;
    d = (s3_xml_deletions){0};
    return CF_OK;
}
