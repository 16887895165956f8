/* SPDX-License-Identifier: Apache-2.0
 *
 * Text: zstd frames in, lines out. What segments and journals are made of; nothing of either is
 * trusted, so everything has a bound.
 */
#ifndef SRC_REPO_TEXT_H
#define SRC_REPO_TEXT_H

#include <stdint.h>
#include <zstd.h>

#include "s3/buf.h"
#include "s3/err.h"
#include "s3/slice.h"

/* Called when `in` is used up: points it at more; as it is: the end. */
typedef cf_err (*cf_text_more_fn)(void *impl, ZSTD_inBuffer *in, cf_error *e);

typedef struct cf_text {
    ZSTD_DCtx *zstd; /* owned */
    ZSTD_inBuffer in;
    cf_text_more_fn more; /* NULL: `in` is all */
    void *impl;
    uint64_t bytes_max;     /* all lines together; 0: no such limit */
    uint64_t expansion_max; /* bytes of text for one that is stored; 0: no such limit */
    bool frame_ended;       /* the input is between two frames */
    uint64_t in_bytes, text_bytes, lines; /* since the begin */
    cf_buf text;                          /* decompressed and not yet given, from at on */
    size_t at, searched;                  /* searched: no newline before */
} cf_text;

/* The members of above from `more` to `expansion_max` are the caller's to set. */
CF_NODISCARD cf_err cf_text_init(cf_text *t, cf_error *e);
void cf_text_deinit(cf_text *t); /* a zeroed one is fine */
/* From the start of `in`, which is borrowed until the next begin (or the next `more`). */
CF_NODISCARD cf_err cf_text_begin(cf_text *t, ZSTD_inBuffer in, cf_error *e);
/* One line without its newline, valid until the next call; len 0 at the end. CF_ERR_DAMAGE: a bad
 * frame, a line or the whole above its limit, an empty line, no newline at the end. */
CF_NODISCARD cf_err cf_text_next(cf_text *t, cf_slice *ret, cf_error *e);

#endif
