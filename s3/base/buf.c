/* SPDX-License-Identifier: Apache-2.0
 *
 * Buffer: grows by doubling up to its ceiling.
 */
#include "s3/buf.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "s3/base/alloc.h"
#include "s3/base/cleanup.h"

enum { BUF_CAP_MIN = 64 };

void cf_buf_init(cf_buf *b, size_t max)
{
    assert(max > 0);
    *b = (cf_buf){.max = max};
}

void cf_buf_deinit(cf_buf *b)
{
    cf_free(b->data);
    *b = (cf_buf){.max = b->max};
}

void cf_buf_clear(cf_buf *b)
{
    b->len = 0;
}

/* Make cap >= want, where want may be one above max: the room for a NUL that is not counted. */
static cf_err buf_grow(cf_buf *b, size_t want, cf_error *e)
{
    if (want <= b->cap)
        return CF_OK;
    size_t cap = b->cap < BUF_CAP_MIN ? BUF_CAP_MIN : b->cap;
    while (cap < want)
        cap = cap > SIZE_MAX / 2 ? want : cap * 2;
    if (cap > b->max && want <= b->max)
        cap = b->max;
    uint8_t *const data = cf_realloc(b->data, cap, 1);
    CF_ENSURE(data != NULL, e, CF_ERR_NO_MEMORY, "allocate %zu bytes", cap);
    b->data = data;
    b->cap = cap;
    return CF_OK;
}

cf_err cf_buf_reserve(cf_buf *b, size_t len, cf_error *e)
{
    assert(b->len <= b->max || b->max == 0);
    CF_CHECK(b->max > 0);
    CF_ENSURE(len <= b->max - b->len, e, CF_ERR_TOO_LARGE,
              "%zu and %zu more bytes do not fit a limit of %zu", b->len, len, b->max);
    return buf_grow(b, b->len + len, e);
}

cf_err cf_buf_append(cf_buf *b, cf_slice s, cf_error *e)
{
    if (s.len == 0)
        return CF_OK;
    CF_TRY(cf_buf_reserve(b, s.len, e));
    memcpy(b->data + b->len, s.ptr, s.len);
    b->len += s.len;
    return CF_OK;
}

cf_err cf_buf_append_str(cf_buf *b, const char *text, cf_error *e)
{
    return cf_buf_append(b, cf_slice_str(text), e);
}

cf_err cf_buf_append_char(cf_buf *b, char c, cf_error *e)
{
    return cf_buf_append(b, cf_slice_of(&c, 1), e);
}

cf_err cf_buf_printf(cf_buf *b, cf_error *e, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    va_list again;
    va_copy(again, args);
    const int need = vsnprintf(NULL, 0, fmt, args);
    va_end(args);

    cf_err err = CF_OK;
    if (need < 0)
        err = cf_error_set(e, CF_ERR_FAILED, __FILE__, __LINE__, "format '%s' failed", fmt);
    else
        err = cf_buf_reserve(b, (size_t)need, e);
    /* One byte more for the NUL that vsnprintf writes; it is not part of the content. */
    if (err == CF_OK)
        err = buf_grow(b, b->len + (size_t)need + 1, e);
    if (err == CF_OK) {
        (void)vsnprintf((char *)b->data + b->len, (size_t)need + 1, fmt, again);
        b->len += (size_t)need;
    }
    va_end(again);
    return err;
}

cf_err cf_buf_get_str(cf_buf *b, const char **ret_text, cf_error *e)
{
    CF_TRY(buf_grow(b, b->len + 1, e));
    b->data[b->len] = '\0';
    *ret_text = (const char *)b->data;
    return CF_OK;
}
