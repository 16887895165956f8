/* SPDX-License-Identifier: Apache-2.0
 *
 * Upload pipeline: reader -> hash -> compress -> upload, with a fixed pool of frame buffers,
 * bounded queues and worker threads. Items are handed in by one thread, in the order of reading,
 * and that order is kept: files are read one after the other, packs are numbered in that order, and
 * results come back in that order, on the caller's thread, from inside add() and finish(). What is
 * not in the pool is not in memory. An error anywhere stops all of it: every later call returns
 * that error, nothing hangs.
 */
#ifndef SRC_PIPE_UPLOAD_H
#define SRC_PIPE_UPLOAD_H

#include "repo/line.h"
#include "s3/base/fs.h"
#include "s3/err.h"
#include "s3/world.h"
#include "store/store.h"

/* How much memory goes where; pure, so that --memory can be tested. */
typedef struct cf_memory_plan {
    uint32_t frame_buffers;   /* of CF_FRAME_BYTES and a little */
    uint32_t workers;         /* compressing threads */
    uint32_t lanes;           /* packs being uploaded at once */
    uint64_t part_bytes;      /* S3 part size */
    uint32_t parts_in_flight; /* S3 part buffers */
} cf_memory_plan;
enum { CF_MEMORY_MIN_MIB = 48, CF_MEMORY_DEFAULT_MIB = 128 };
/* CF_ERR_USAGE below the minimum. jobs 0: the cores. The same plan sizes the S3 client's part
 * buffers. */
CF_NODISCARD cf_err cf_memory_plan_make(uint64_t memory_bytes, uint32_t jobs, cf_memory_plan *ret,
                                        cf_error *e);
/* The same for at most so many connections to the server, 1..64: as many parts in flight, as far as
 * memory goes. 0: cf_memory_plan_make(). */
CF_NODISCARD cf_err cf_memory_plan_make_for(uint64_t memory_bytes, uint32_t jobs,
                                            uint32_t connections, cf_memory_plan *ret, cf_error *e);

enum {
    CF_UPLOAD_ITEMS_MAX =
        64, /* handed in and not handed back: what the caller must be able to keep open */
    CF_UPLOAD_LANES_MIN = 2,  /* one may be waiting for more of the shared pack */
    CF_UPLOAD_LEVEL_MAX = 19, /* zstd's own without --ultra: a context has 50 MiB at 19 */
    CF_UPLOAD_LEVEL_OFF = -1, /* frames of stored bytes: zstd's quickest level finds nothing */
};

typedef enum cf_upload_how {
    CF_UPLOAD_READY, /* nothing to read; handed back in its turn */
    CF_UPLOAD_WHOLE, /* frames into a pack */
    CF_UPLOAD_PARTS, /* CF_FRAME_BYTES parts at fixed offsets: one equal to the parent's is
                        referenced, an all-zero one is a hole */
} cf_upload_how;

typedef struct cf_upload_item {
    void *token;      /* given back with the result */
    const char *name; /* for messages; borrowed until the result */
    cf_upload_how how;
    int fd;              /* borrowed until the result */
    uint64_t read_bytes; /* [0, read_bytes) is read; a file that ends earlier is CF_ERR_SOURCE */
    uint64_t size_bytes; /* >= read_bytes: the file's size in the manifest; the rest is a hole, and
                            counts as zeros in the SHA-256 */
    bool own_pack; /* WHOLE: packs of its own (several above CF_PACK_SOURCE_MAX); else the shared
                      pack */
    const char *pack_hint; /* for the key; borrowed until the result; NULL: "small" */
    bool ends_with_md5;    /* the last 16 of read_bytes must be the MD5 of all before: see md5_ok */
    /* A file that others may write to, and that is stored as it is found: one that ends early is as
     * long as it was found to be, one that cannot be read is told in the result, and neither stops
     * the pipeline. */
    bool may_change;
    bool sparse; /* has holes: they are passed over, not read. Not with ends_with_md5 */
    const cf_extent
        *prior; /* PARTS: the parent's extents of this file; borrowed until the result */
    size_t prior_total;
} cf_upload_item;

typedef struct cf_upload_result {
    const cf_upload_item *item;
    uint64_t size_bytes;      /* the item's, or how long a file was that ended early */
    const char *unreadable;   /* why it could not be read to its end (may_change), borrowed; NULL */
    uint8_t sha256[32];       /* WHOLE, PARTS: of size_bytes */
    const cf_extent *extents; /* by file_offset; borrowed during the call */
    size_t extent_total;
    uint8_t head[CF_CERT_LEN_MAX],
        tail[CF_CERT_LEN_MAX]; /* first and last 128 bytes of read_bytes (when it has 256) */
    bool md5_ok;               /* true when not asked for */
    uint8_t md5_expected[16], md5_found[16];
    uint64_t read_bytes, new_bytes; /* read; of them compressed and sent (source bytes) */
} cf_upload_result;

typedef struct cf_upload_counts {
    uint64_t read_bytes;
    uint64_t sent_source_bytes; /* source bytes in new packs */
    uint64_t packs_total;
    uint64_t stored_bytes; /* of finished packs */
    uint64_t frames_total; /* compressed */
    uint64_t level_sum;    /* of their levels; off counts as 0 */
    int level_min, level_max;
} cf_upload_counts;

typedef struct cf_upload_opts {
    cf_store *store; /* borrowed, like all below */
    const cf_fs *fs;
    const cf_world *world;
    cf_memory_plan memory;
    int level; /* 0: 3; 1..CF_UPLOAD_LEVEL_MAX, CF_UPLOAD_LEVEL_OFF. A higher one takes its memory
                  from the frames, then from the workers */
    bool adaptive; /* level is the first frame's; then pipe/adapt.h, up to what leaves every worker
                      enough frames. Not with CF_UPLOAD_LEVEL_OFF */
    const char *runs_prefix; /* "nodes/<node>/runs/" */
    /* Gives the key below runs_prefix for the next pack: "<run>/<seq>-pack-<hint>.zst", in order.
     * Called on one thread of the pipeline's own, with no lock held, while the caller's thread goes
     * on. */
    cf_err (*next_pack)(void *impl, const char *hint, char ret_key[CF_KEY_LEN_MAX + 1],
                        cf_error *e);
    /* In order of items; an error stops the pipeline. */
    cf_err (*on_result)(void *impl, const cf_upload_result *result, cf_error *e);
    /* In order of packs, once the store has acknowledged it; used_bytes is its whole length. Every
     * result that names a pack may come before it. */
    cf_err (*on_pack)(void *impl, const cf_pack_line *pack, cf_error *e);
    /* NULL: none. About once a second while add() or finish() waits, on the caller's thread: what
     * must happen now and then also when one pack takes an hour. An error stops the pipeline. */
    cf_err (*on_wait)(void *impl, cf_error *e);
    void *impl;
} cf_upload_opts;

typedef struct cf_upload cf_upload;
/* Checks the plan and the level, and whether the plan has room for it (CF_ERR_USAGE), starts the
 * threads. */
CF_NODISCARD cf_err cf_upload_new(const cf_upload_opts *opts, cf_upload **ret, cf_error *e);
/* Waits for room; delivers results and packs that are ready. The item is copied, what it points to
 * is borrowed. CF_ERR_SOURCE: the file ended early; CF_ERR_INTERRUPTED; what the filesystem, the
 * store or a callback answered. */
CF_NODISCARD cf_err cf_upload_add(cf_upload *u, const cf_upload_item *item, cf_error *e);
/* Reads and sends what is left, closes the shared pack, delivers all results and packs. More may be
 * added afterwards.
 */
CF_NODISCARD cf_err cf_upload_finish(cf_upload *u, cf_error *e);
void cf_upload_get_counts(cf_upload *u, cf_upload_counts *ret); /* any thread: for progress */
/* "key id\n" of every multipart upload under way, for the journal; appended. The key is the
 * store's: runs_prefix and the pack's. Any thread. */
CF_NODISCARD cf_err cf_upload_render_open(cf_upload *u, cf_buf *ret, cf_error *e);
bool cf_upload_failed(cf_upload *u); /* any thread */
/* After a failure: the packs that the store has acknowledged and on_pack was not told of, in order. fn
 * is called with the pipeline's lock held: it must not call back. */
CF_NODISCARD cf_err cf_upload_each_stored(cf_upload *u,
                                          cf_err (*fn)(void *impl, const cf_pack_line *pack,
                                                       cf_error *e),
                                          void *impl, cf_error *e);
void cf_upload_free(cf_upload *u); /* stops threads, aborts uploads; NULL is fine */
static inline void cf_upload_freep(cf_upload **u)
{
    cf_upload_free(*u);
}

#endif
