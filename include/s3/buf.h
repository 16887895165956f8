/* SPDX-License-Identifier: Apache-2.0
 *
 * Buffer: bytes that it owns, with a ceiling that is set when it is made. There is no buffer
 * without one.
 */
#ifndef S3_BUF_H
#define S3_BUF_H

#include <stddef.h>
#include <stdint.h>

#include "s3/err.h"
#include "s3/slice.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct cf_buf {
    uint8_t *data; /* owned; NULL while empty */
    size_t len;    /* bytes in use */
    size_t cap;    /* bytes allocated */
    size_t max;    /* bytes it may ever hold */
} cf_buf;

/* No allocation. max > 0. */
void cf_buf_init(cf_buf *b, size_t max);
/* Frees; b is again an empty buffer with the same max. A zeroed struct is fine. */
void cf_buf_deinit(cf_buf *b);
/* len = 0, memory kept. */
void cf_buf_clear(cf_buf *b);

/* Append; CF_ERR_TOO_LARGE above max, CF_ERR_NO_MEMORY; b unchanged on failure. */
CF_NODISCARD cf_err cf_buf_append(cf_buf *b, cf_slice s, cf_error *e);
CF_NODISCARD cf_err cf_buf_append_str(cf_buf *b, const char *text, cf_error *e);
CF_NODISCARD cf_err cf_buf_append_char(cf_buf *b, char c, cf_error *e);
CF_NODISCARD cf_err cf_buf_printf(cf_buf *b, cf_error *e, const char *fmt, ...) CF_PRINTF(3, 4);
/* Room for len more bytes behind data + len; the caller writes there and adds to len. */
CF_NODISCARD cf_err cf_buf_reserve(cf_buf *b, size_t len, cf_error *e);
/* NUL behind the bytes (not counted in len); the text is borrowed until the next change. */
CF_NODISCARD cf_err cf_buf_get_str(cf_buf *b, const char **ret_text, cf_error *e);

static inline cf_slice cf_buf_slice(const cf_buf *b)
{
    return cf_slice_of(b->data, b->len);
}

#ifdef __cplusplus
}
#endif
#endif
