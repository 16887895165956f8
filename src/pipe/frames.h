/* SPDX-License-Identifier: Apache-2.0
 *
 * Frames: stored bytes in as they come, content out, in whole zstd frames. What every reader of
 * packs shares. One thread at a time. Memory: CF_FRAMES_BYTES; a window only for frames of another
 * writer.
 */
#ifndef SRC_PIPE_FRAMES_H
#define SRC_PIPE_FRAMES_H

#include "repo/line.h"
#include "s3/base/cleanup.h"
#include "s3/err.h"
#include "store/store.h"

enum {
    CF_FRAMES_STORED_BYTES =
        CF_FRAME_BYTES + CF_FRAME_BYTES / 256 + 64, /* ZSTD_COMPRESSBOUND: any frame of ours */
    CF_FRAMES_BYTES = CF_FRAME_BYTES + CF_FRAMES_STORED_BYTES + 256 * 1024, /* with a context */
    CF_WINDOW_LOG_USUAL = 22, /* 4 MiB: CF_FRAME_BYTES */
    CF_WINDOW_LOG_MAX = 26,   /* CF_FRAME_READ_MAX */
};
_Static_assert(1 << CF_WINDOW_LOG_USUAL == CF_FRAME_BYTES, "our own frames need no more");
_Static_assert(1 << CF_WINDOW_LOG_MAX == CF_FRAME_READ_MAX, "readers accept frames up to this");

typedef struct cf_frames cf_frames;
/* The sink gets at most CF_FRAME_BYTES at a time, aligned for I/O around the page cache where the
 * frames are ours. whole_frames: nothing of a frame before its checksum was checked; the buffer then
 * grows for a frame of another writer, to CF_FRAME_READ_MAX at most. */
CF_NODISCARD cf_err cf_frames_new(bool whole_frames, cf_frames **ret, cf_error *e);
void cf_frames_free(cf_frames *f); /* NULL is fine */
CF_DEFINE_FREEP(cf_frames, cf_frames_free)

/* Frames that hold exactly content_bytes follow. window_log: of the two above; a frame that needs
 * more is CF_ERR_DAMAGE, and cf_frames_window_too_large() tells. */
CF_NODISCARD cf_err cf_frames_begin(cf_frames *f, int window_log, uint64_t content_bytes,
                                    cf_store_sink sink, void *impl, cf_error *e);
/* CF_ERR_DAMAGE: a bad frame, or more content than was said; what the sink answered. */
CF_NODISCARD cf_err cf_frames_feed(cf_frames *f, cf_slice stored, cf_error *e);
/* The last bytes go to the sink. CF_ERR_DAMAGE: the last frame is cut off, or less content than was
 * said. */
CF_NODISCARD cf_err cf_frames_end(cf_frames *f, cf_error *e);

/* Room for CF_FRAMES_STORED_BYTES that come before begin(), to be fed from where they are, in whole
 * frames; the decoder's own until the next call of borrow(). */
CF_NODISCARD cf_err cf_frames_borrow(cf_frames *f, uint8_t **ret, cf_error *e);

/* The failure was that. */
bool cf_frames_window_too_large(const cf_frames *f);
/* Gives back the context: after a large window. */
void cf_frames_shrink(cf_frames *f);

#endif
