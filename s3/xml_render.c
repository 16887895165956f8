/* SPDX-License-Identifier: Apache-2.0
 *
 * Requests to S3, written. By hand: three bodies and one escape function need no library.
 */
#include <assert.h>

#include "s3/base/utf8.h"
#include "s3/xml.h"

#define NAMESPACE " xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\""

typedef struct escape_row {
    char c;
    const char *text;
} escape_row;

/* Line breaks and tabs are written as references: a parser would turn a raw CR into a LF. */
static const escape_row escape_rows[] = {
    {'&', "&amp;"},   {'<', "&lt;"},   {'>', "&gt;"},   {'"', "&quot;"},
    {'\'', "&apos;"}, {'\t', "&#x9;"}, {'\n', "&#xA;"}, {'\r', "&#xD;"},
};

static const char *escape_find(uint8_t c)
{
    for (size_t i = 0; i < sizeof(escape_rows) / sizeof(escape_rows[0]); i++)
        if (c == (uint8_t)escape_rows[i].c)
            return escape_rows[i].text;
    return NULL;
}

/* U+FFFE and U+FFFF are no XML characters either. Source: XML 1.0, 2.2 Char. */
static bool is_noncharacter(cf_slice s, size_t i)
{
    return s.len - i >= 3 && s.ptr[i] == 0xEF && s.ptr[i + 1] == 0xBF && s.ptr[i + 2] >= 0xBE;
}

static cf_err escape(const char *text, cf_buf *ret, cf_error *e)
{
    const cf_slice s = cf_slice_str(text);
    CF_ENSURE(cf_utf8_valid(s), e, CF_ERR_UNSUPPORTED,
              "a text that is not UTF-8 cannot be sent as XML");
    for (size_t i = 0; i < s.len; i++) {
        const char *const escaped = escape_find(s.ptr[i]);
        CF_ENSURE(escaped != NULL || s.ptr[i] >= 0x20, e, CF_ERR_UNSUPPORTED,
                  "a text with the control character 0x%02x cannot be sent as XML", s.ptr[i]);
        CF_ENSURE(!is_noncharacter(s, i), e, CF_ERR_UNSUPPORTED,
                  "a text with U+FFFE or U+FFFF cannot be sent as XML");
        if (escaped != NULL)
            CF_TRY(cf_buf_append_str(ret, escaped, e));
        else
            CF_TRY(cf_buf_append_char(ret, (char)s.ptr[i], e));
    }
    return CF_OK;
}

static cf_err render_element(const char *name, const char *text, cf_buf *ret, cf_error *e)
{
    CF_TRY(cf_buf_printf(ret, e, "<%s>", name));
    CF_TRY(escape(text, ret, e));
    return cf_buf_printf(ret, e, "</%s>", name);
}

cf_err s3_xml_render_complete(const s3_xml_part *parts, size_t total, cf_buf *ret, cf_error *e)
{
    assert(total >= 1 && total <= S3_PART_TOTAL_MAX);
    CF_TRY(cf_buf_append_str(ret, "<CompleteMultipartUpload" NAMESPACE ">", e));
    for (size_t i = 0; i < total; i++) {
        assert(i == 0 || parts[i].number > parts[i - 1].number);
        CF_TRY(cf_buf_printf(ret, e, "<Part><PartNumber>%u</PartNumber>", parts[i].number));
        CF_TRY(render_element("ETag", parts[i].etag, ret, e));
        CF_TRY(cf_buf_append_str(ret, "</Part>", e));
    }
    return cf_buf_append_str(ret, "</CompleteMultipartUpload>", e);
}

cf_err s3_xml_delete_begin(cf_buf *ret, cf_error *e)
{
    return cf_buf_append_str(ret, "<Delete" NAMESPACE "><Quiet>true</Quiet>", e);
}

static cf_err render_object(const char *key, const char *version_id, cf_buf *ret, cf_error *e)
{
    CF_TRY(cf_buf_append_str(ret, "<Object>", e));
    CF_TRY(render_element("Key", key, ret, e));
    if (version_id != NULL)
        CF_TRY(render_element("VersionId", version_id, ret, e));
    return cf_buf_append_str(ret, "</Object>", e);
}

cf_err s3_xml_delete_add(const char *key, const char *version_id, cf_buf *ret, cf_error *e)
{
    const size_t before = ret->len;
    const cf_err err = render_object(key, version_id, ret, e);
    if (err != CF_OK)
        ret->len = before;
    return err;
}

cf_err s3_xml_delete_end(cf_buf *ret, cf_error *e)
{
    return cf_buf_append_str(ret, "</Delete>", e);
}

cf_err s3_xml_render_location(const char *region, cf_buf *ret, cf_error *e)
{
    CF_TRY(cf_buf_append_str(ret, "<CreateBucketConfiguration" NAMESPACE ">", e));
    CF_TRY(render_element("LocationConstraint", region, ret, e));
    return cf_buf_append_str(ret, "</CreateBucketConfiguration>", e);
}
