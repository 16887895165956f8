/* SPDX-License-Identifier: Apache-2.0
 *
 * Small things that the parsers of answers share.
 */
#include "s3/xml_inner.h"

#include "s3/base/alloc.h"
#include "s3/base/cleanup.h"
#include "s3/base/num.h"
#include "s3/base/utf8.h"
#include "s3/uri.h"
#include "s3/xml.h"

bool s3_xml_path_is(const char *path, const char *parent, const char *field)
{
    const size_t len = strlen(parent);
    return strncmp(path, parent, len) == 0 && path[len] == '/' &&
           strcmp(path + len + 1, field) == 0;
}

cf_err s3_xml_root_check(s3_xml_event event, const char *path, const char *root, cf_error *e)
{
    if (event == S3_XML_OPEN && strchr(path, '/') == NULL)
        CF_ENSURE(strcmp(path, root) == 0, e, CF_ERR_PROTOCOL,
                  "the XML's root is '%.64s', not '%s'", path, root);
    return CF_OK;
}

cf_err s3_xml_bool(cf_slice text, const char *field, bool *ret, cf_error *e)
{
    const bool yes = cf_slice_eq(text, cf_slice_str("true"));
    CF_ENSURE(yes || cf_slice_eq(text, cf_slice_str("false")), e, CF_ERR_PROTOCOL,
              "%s is neither true nor false", field);
    *ret = yes;
    return CF_OK;
}

cf_err s3_xml_time(cf_slice text, const char *field, int64_t *ret, cf_error *e)
{
    CF_ENSURE(cf_time_parse_iso(text, ret), e, CF_ERR_PROTOCOL, "%s is no time", field);
    return CF_OK;
}

cf_slice s3_xml_keep(cf_buf *text, cf_slice s)
{
    CF_CHECK(s.len <= text->cap - text->len);
    uint8_t *const at = text->data + text->len;
    if (s.len > 0)
        memcpy(at, s.ptr, s.len);
    text->len += s.len;
    return cf_slice_of(at, s.len);
}

cf_err s3_xml_keep_init(cf_buf *text, cf_slice body, cf_error *e)
{
    CF_ENSURE(body.len <= S3_XML_BODY_MAX, e, CF_ERR_PROTOCOL,
              "the XML has %zu bytes, %u are allowed", body.len, S3_XML_BODY_MAX);
    cf_buf_init(text, body.len + 1);
    return cf_buf_reserve(text, body.len + 1, e);
}

cf_err s3_xml_rows_grow(void **rows, size_t total, size_t size, cf_error *e)
{
    CF_ENSURE(total < S3_XML_ENTRY_TOTAL_MAX, e, CF_ERR_PROTOCOL,
              "the answer has more than the %d entries allowed", S3_XML_ENTRY_TOTAL_MAX);
    if (total != 0 && (total < 16 || (total & (total - 1)) != 0))
        return CF_OK;
    const size_t cap = total == 0 ? 16 : total * 2;
    void *const grown = cf_realloc(*rows, cap, size);
    CF_ENSURE(grown != NULL, e, CF_ERR_NO_MEMORY, "allocate %zu entries", cap);
    *rows = grown;
    memset((uint8_t *)grown + total * size, 0, (cap - total) * size);
    return CF_OK;
}

cf_err s3_xml_key_decode(cf_buf *text, cf_slice *s, bool plus_is_space, cf_error *e)
{
    CF_CLEANUP(cf_buf_deinit) cf_buf plain = {0};
    cf_buf_init(&plain, S3_XML_TEXT_LEN_MAX);
    const cf_err err = s3_uri_decode(*s, plus_is_space, &plain, NULL);
    if (err == CF_ERR_PARSE)
        CF_FAIL(e, CF_ERR_PROTOCOL, "a key is not percent-encoded as it claims to be");
    CF_ENSURE(err == CF_OK, e, err, "decode a key");
    if (plain.len > 0)
        memcpy(text->data + (s->ptr - text->data), plain.data, plain.len);
    s->len = plain.len;
    return CF_OK;
}

cf_err s3_xml_key_check(cf_slice key, cf_error *e)
{
    CF_ENSURE(key.len > 0, e, CF_ERR_PROTOCOL, "a key is empty");
    CF_ENSURE(key.len <= S3_KEY_LEN_MAX, e, CF_ERR_PROTOCOL, "a key has %zu bytes, %u are allowed",
              key.len, S3_KEY_LEN_MAX);
    CF_ENSURE(memchr(key.ptr, '\0', key.len) == NULL, e, CF_ERR_PROTOCOL, "a key has a NUL in it");
    CF_ENSURE(cf_utf8_valid(key), e, CF_ERR_PROTOCOL, "a key is not UTF-8");
    return CF_OK;
}

bool s3_xml_has_encoded_space(cf_slice s)
{
    return s.len > 0 && memmem(s.ptr, s.len, "%20", 3) != NULL;
}
