/* SPDX-License-Identifier: Apache-2.0
 *
 * HTTP answers: the head as lines in one bounded buffer. No I/O here.
 */
#include "s3/http.h"

static bool is_space(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static cf_slice trim(cf_slice s)
{
    while (s.len > 0 && is_space(s.ptr[0]))
        s = cf_slice_of(s.ptr + 1, s.len - 1);
    while (s.len > 0 && is_space(s.ptr[s.len - 1]))
        s.len--;
    return s;
}

void s3_http_answer_init(s3_http_answer *a)
{
    *a = (s3_http_answer){.end = S3_HTTP_END_LOCAL};
    cf_buf_init(&a->head, S3_HTTP_HEAD_MAX);
}

void s3_http_answer_deinit(s3_http_answer *a)
{
    cf_buf_deinit(&a->head);
}

void s3_http_answer_clear(s3_http_answer *a)
{
    a->status = 0;
    cf_buf_clear(&a->head);
}

cf_err s3_http_answer_add(s3_http_answer *a, cf_slice line, cf_error *e)
{
    const cf_slice text = trim(line);
    const uint8_t *colon = text.len == 0 ? NULL : memchr(text.ptr, ':', text.len);

    if (colon == NULL)
        return CF_OK; /* the blank line that ends a head, or a folded line nobody sends */
    const size_t name_len = (size_t)(colon - text.ptr);
    CF_ENSURE(a->head.len + text.len + 1 <= S3_HTTP_HEAD_MAX, e, CF_ERR_PROTOCOL,
              "the answer has more than %d bytes of headers", S3_HTTP_HEAD_MAX);
    const size_t at = a->head.len;
    CF_TRY(cf_buf_append(&a->head, text, e));
    for (size_t i = at; i < at + name_len; i++) {
        const uint8_t c = a->head.data[i];
        a->head.data[i] = (uint8_t)(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
    }
    return cf_buf_append_char(&a->head, '\n', e);
}

cf_slice s3_http_answer_get(const s3_http_answer *a, const char *name)
{
    const cf_slice wanted = cf_slice_str(name);
    cf_slice rest = cf_buf_slice(&a->head);

    while (rest.len > 0) {
        const uint8_t *end = memchr(rest.ptr, '\n', rest.len);
        const size_t len = end == NULL ? rest.len : (size_t)(end - rest.ptr);
        const cf_slice line = cf_slice_of(rest.ptr, len);
        if (cf_slice_starts_with(line, wanted) && line.len > wanted.len &&
            line.ptr[wanted.len] == ':')
            return trim(cf_slice_of(line.ptr + wanted.len + 1, line.len - wanted.len - 1));
        rest = end == NULL ? cf_slice_of(NULL, 0) : cf_slice_of(end + 1, rest.len - len - 1);
    }
    return cf_slice_of(NULL, 0);
}

void s3_http_free(s3_http *h)
{
    if (h != NULL)
        h->ops->free(h);
}
