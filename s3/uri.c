/* SPDX-License-Identifier: Apache-2.0
 *
 * Percent-encoding, canonical queries and paths.
 */
#include "s3/uri.h"

#include <stdint.h>
#include <stdlib.h>

#include "s3/base/alloc.h"
#include "s3/base/cleanup.h"
#include "s3/base/hash.h"

static bool uri_unreserved(uint8_t c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '.' || c == '_' || c == '~';
}

cf_err s3_uri_encode(cf_slice s, bool keep_slash, cf_buf *ret, cf_error *e)
{
    static const char digits[] = "0123456789ABCDEF";
    CF_ENSURE(s.len <= SIZE_MAX / 3, e, CF_ERR_TOO_LARGE, "%zu bytes are too many to encode",
              s.len);
    size_t need = 0;
    for (size_t i = 0; i < s.len; i++)
        need += uri_unreserved(s.ptr[i]) || (keep_slash && s.ptr[i] == '/') ? 1 : 3;
    CF_TRY(cf_buf_reserve(ret, need, e));
    for (size_t i = 0; i < s.len; i++) {
        const uint8_t c = s.ptr[i];
        if (uri_unreserved(c) || (keep_slash && c == '/')) {
            ret->data[ret->len++] = c;
            continue;
        }
        ret->data[ret->len++] = '%';
        ret->data[ret->len++] = (uint8_t)digits[c >> 4];
        ret->data[ret->len++] = (uint8_t)digits[c & 15];
    }
    return CF_OK;
}

cf_err s3_uri_decode(cf_slice s, bool plus_is_space, cf_buf *ret, cf_error *e)
{
    CF_TRY(cf_buf_reserve(ret, s.len, e));
    for (size_t i = 0; i < s.len; i++) {
        uint8_t c = s.ptr[i];
        if (c == '%') {
            CF_ENSURE(s.len - i >= 3 && cf_hex_parse(cf_slice_of(s.ptr + i + 1, 2), &c, 1), e,
                      CF_ERR_PARSE, "a percent sign at byte %zu has no two hex digits behind it",
                      i);
            i += 2;
        } else if (c == '+' && plus_is_space) {
            c = ' ';
        }
        ret->data[ret->len++] = c;
    }
    return CF_OK;
}

/* One encoded pair: where "name=value" lies in the scratch buffer. */
typedef struct query_part {
    size_t at, name_len, len; /* len counts '=' too */
} query_part;

static int query_compare(const void *a, const void *b, void *text)
{
    const query_part *const x = a;
    const query_part *const y = b;
    const uint8_t *const base = text;
    const int by_name = cf_slice_cmp(cf_slice_of(base + x->at, x->name_len),
                                     cf_slice_of(base + y->at, y->name_len));
    return by_name != 0
               ? by_name
               : cf_slice_cmp(cf_slice_of(base + x->at, x->len), cf_slice_of(base + y->at, y->len));
}

cf_err s3_uri_render_query(const s3_pair *pairs, size_t total, cf_buf *ret, cf_error *e)
{
    if (total == 0)
        return CF_OK;
    CF_CLEANUP(cf_buf_deinit) cf_buf text = {0};
    cf_buf_init(&text, ret->max);
    CF_CLEANUP(cf_freep) query_part *parts = cf_alloc(total, sizeof(*parts));
    CF_ENSURE(parts != NULL, e, CF_ERR_NO_MEMORY, "allocate %zu query parameters", total);
    for (size_t i = 0; i < total; i++) {
        parts[i].at = text.len;
        CF_TRY(s3_uri_encode(pairs[i].name, /* keep_slash= */ false, &text, e));
        parts[i].name_len = text.len - parts[i].at;
        CF_TRY(cf_buf_append_char(&text, '=', e));
        CF_TRY(s3_uri_encode(pairs[i].value, /* keep_slash= */ false, &text, e));
        parts[i].len = text.len - parts[i].at;
    }
    qsort_r(parts, total, sizeof(*parts), query_compare, text.data);
    for (size_t i = 0; i < total; i++) {
        if (i > 0)
            CF_TRY(cf_buf_append_char(ret, '&', e));
        CF_TRY(cf_buf_append(ret, cf_slice_of(text.data + parts[i].at, parts[i].len), e));
    }
    return CF_OK;
}

/* Append "/seg" for each segment that stays, and a slash when the last one named a directory. */
static cf_err path_normalise(cf_slice path, cf_buf *ret, cf_error *e)
{
    const size_t start = ret->len;
    bool slash_last = false;
    for (size_t i = 0; i < path.len;) {
        while (i < path.len && path.ptr[i] == '/')
            i++;
        size_t end = i;
        while (end < path.len && path.ptr[end] != '/')
            end++;
        const cf_slice segment = cf_slice_of(path.ptr + i, end - i);
        i = end;
        slash_last = segment.len == 0 || end < path.len;
        if (segment.len == 0 || cf_slice_eq(segment, cf_slice_str("."))) {
            slash_last = true; /* RFC 3986 5.2.4: "/a/." is "/a/" */
        } else if (cf_slice_eq(segment, cf_slice_str(".."))) {
            slash_last = true;
            while (ret->len > start && ret->data[--ret->len] != '/')
                ;
        } else {
            CF_TRY(cf_buf_append_char(ret, '/', e));
            CF_TRY(cf_buf_append(ret, segment, e));
        }
    }
    return slash_last || ret->len == start ? cf_buf_append_char(ret, '/', e) : CF_OK;
}

cf_err s3_uri_render_path(cf_slice wire_path, s3_uri_path how, cf_buf *ret, cf_error *e)
{
    const cf_slice path = wire_path.len == 0 ? cf_slice_str("/") : wire_path;
    CF_CLEANUP(cf_buf_deinit) cf_buf plain = {0};
    cf_buf_init(&plain, ret->max);
    if (how == S3_URI_PATH_S3)
        CF_TRY(s3_uri_decode(path, /* plus_is_space= */ false, &plain, e));
    else if (how == S3_URI_PATH_GENERIC)
        CF_TRY(path_normalise(path, &plain, e));
    else
        CF_TRY(cf_buf_append(&plain, path, e));
    return s3_uri_encode(cf_buf_slice(&plain), /* keep_slash= */ true, ret, e);
}
