/* SPDX-License-Identifier: Apache-2.0
 *
 * Segment: some lines of a manifest as one object, NDJSON in one zstd frame. The writer compresses
 * as lines come, and references the parent's segment when the bytes are the same; the reader
 * fetches whole, checks, and gives line by line.
 */
#ifndef SRC_REPO_SEGMENT_H
#define SRC_REPO_SEGMENT_H

#include "repo/repo.h"
#include "repo/root.h"
#include "repo/run.h"
#include "s3/base/cleanup.h"

enum {
    CF_SEGMENT_ZSTD_LEVEL = 3,
    /* Written; level 3 has 21. A run holds three readers and two writers, each with a window: 2 MiB
     * a piece were a fifth of the least memory. */
    CF_SEGMENT_WINDOW_LOG = 19,
    CF_SEGMENT_WINDOW_LOG_MAX = 23, /* a reader accepts frames with windows up to 8 MiB */
    CF_SEGMENT_LINES_MIN = 4096,    /* a writer may cut from here on: see cf_segment_writer_add() */
};

typedef struct cf_segment_writer cf_segment_writer;
typedef struct cf_segment_writer_opts {
    const cf_repo *repo;   /* borrowed, like all below */
    cf_run *run;           /* gives sequence numbers */
    const cf_root *parent; /* NULL: none */
    cf_segment_kind kind;
} cf_segment_writer_opts;
CF_NODISCARD cf_err cf_segment_writer_new(const cf_segment_writer_opts *opts,
                                          cf_segment_writer **ret, cf_error *e);
void cf_segment_writer_free(cf_segment_writer *w);
CF_DEFINE_FREEP(cf_segment_writer, cf_segment_writer_free)
/* line with its newline. sort_key: path or pack; where it says so, a segment ends behind this line:
 * so a line that comes or goes in the middle changes one or two segments, not all behind it.
 * Finished segments are added to root. */
CF_NODISCARD cf_err cf_segment_writer_add(cf_segment_writer *w, cf_slice line, cf_slice sort_key,
                                          cf_root *root, cf_error *e);
/* Ends the segment under way, if any. */
CF_NODISCARD cf_err cf_segment_writer_cut(cf_segment_writer *w, cf_root *root, cf_error *e);

typedef struct cf_segment_reader cf_segment_reader;
CF_NODISCARD cf_err cf_segment_reader_new(cf_segment_reader **ret, cf_error *e);
void cf_segment_reader_free(cf_segment_reader *r);
CF_DEFINE_FREEP(cf_segment_reader, cf_segment_reader_free)
/* Begin with a segment whose stored bytes have been checked; they are borrowed until the next call
 * of this. */
CF_NODISCARD cf_err cf_segment_reader_begin(cf_segment_reader *r, const cf_segment *s,
                                            cf_slice stored, cf_error *e);
/* One line without its newline, valid until the next call; len 0 at the end. CF_ERR_DAMAGE: bad
 * frame, more or fewer lines than the root says, a line or the whole above its limit, an empty
 * line, no newline at the end. */
CF_NODISCARD cf_err cf_segment_reader_next(cf_segment_reader *r, cf_slice *ret, cf_error *e);

/* Fetch and check length and SHA-256; CF_ERR_DAMAGE names the segment, also when it is gone. ret
 * initialised, max CF_SEGMENT_STORED_MAX. */
CF_NODISCARD cf_err cf_segment_fetch(const cf_repo *repo, const char *node, const cf_segment *s,
                                     cf_buf *ret, cf_error *e);

#endif
