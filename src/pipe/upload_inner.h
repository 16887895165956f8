/* SPDX-License-Identifier: Apache-2.0
 *
 * Upload pipeline, inside. One monitor (a mutex, a condition variable per stage) and a ring of
 * pieces; each stage is a file.
 *
 *   caller --files--> reader --pieces--> hash --> workers --> packer --blocks of packs--> lanes
 *     ^                 |  takes a free block                   |  gives back blocks        |
 *     +---- results (in order of files), packs (in order) ------+---------------------------+
 *
 * A piece is at most CF_FRAME_BYTES of a file, or an item without bytes. Reader, hash and packer
 * are one thread each and go through the ring in order (read_at >= hashed_at >= packed_at); workers
 * take pieces in order and finish in any. Between two stages a piece belongs to exactly one thread,
 * so its content is touched without the lock; the counters and lists are what the lock is for.
 *
 * Why it cannot hang, with one block and two lanes (CF_UPLOAD_LANES_MIN). Let X be the oldest block
 * in use, in order of reading.
 *   1. X not packed: every older piece has been packed (else an older block or a blockless piece,
 * which never waits, would be X), so the hash thread, a worker (it owns its spare block and waits
 * for nothing else) and the packer each come to X without waiting for a block.
 *   2. X packed, in pack P: all older blocks are written, so X is the head of P's list. If a lane
 * has P, the lane writes it: progress. If none has, all lanes are in packs that were begun before P
 * (lanes take packs in order). Those are done but for finish(), which waits for nobody, except the
 * one open shared pack, if P is not it: it alone waits for younger pieces. So with two lanes one
 * becomes free and, P's predecessors being taken, takes P. The S3 client's part buffers: an open
 * put holds at most one that is not full, so lanes <= parts_in_flight is required of the plan.
 * READY items and files whose parts are all known use no block for longer than step 1.
 *
 * An error (or the wish to stop) is set once, under the lock, and wakes every thread; each leaves
 * at its next look. A call under way in the store or the filesystem ends first: those have their
 * own deadlines and see the same wish to stop.
 */
#ifndef SRC_PIPE_UPLOAD_INNER_H
#define SRC_PIPE_UPLOAD_INNER_H

#include <pthread.h>

#include "pipe/adapt.h"
#include "pipe/memory_plan.h"
#include "pipe/upload.h"
#include "s3/base/cleanup.h"

enum {
    CF_UPLOAD_RING_TOTAL = 1024, /* pieces between reader and packer; most have no block */
    CF_SHARED_CUT_BYTES = 64 * 1024 * 1024, /* source bytes; see upload_pack.c */
};

/* Tests lower them. Zero: the constant. */
typedef struct cf_upload_limits {
    uint64_t pack_source_max;  /* CF_PACK_SOURCE_MAX; not below CF_FRAME_BYTES */
    uint64_t shared_cut_bytes; /* CF_SHARED_CUT_BYTES; not below CF_FRAME_BYTES */
} cf_upload_limits;

/* Memory for one frame, before or after compression. All are in u->blocks; next links it into the
 * list it is in. */
typedef struct cf_block {
    struct cf_block *next;
    uint8_t *data; /* CF_BLOCK_BYTES, owned */
    size_t len;
} cf_block;

typedef struct cf_upload_file {
    struct cf_upload_file *next;
    cf_upload_item item;
    cf_upload_result result; /* hash: sha256, md5, head, tail; packer: the rest */
    char *unreadable;        /* owned; the reader's, before its last piece */
    bool packed;             /* lock: result is complete */
    /* The packer's. */
    cf_extent *extents;
    size_t extent_total, extent_cap;
    uint32_t *frames; /* of all extents that were sent WHOLE, one after the other */
    size_t frame_total, frame_cap;
    char **keys; /* packs that extents name; owned copies, since a pack may go before its result */
    size_t key_total, key_cap;
} cf_upload_file;

typedef enum cf_piece_kind {
    CF_PIECE_NONE, /* no bytes */
    CF_PIECE_NEW,  /* block holds a zstd frame */
    CF_PIECE_SAME, /* same is the parent's extent of these bytes */
    CF_PIECE_ZERO, /* a hole */
} cf_piece_kind;

typedef struct cf_piece {
    cf_upload_file *file;
    cf_block *block; /* NULL when no bytes are held */
    uint64_t file_offset;
    uint32_t source_bytes;
    bool first, last; /* of its file */
    bool cut;         /* last, and the file has ended here */
    bool hole;        /* no block: zeros that were not read */
    bool done;        /* lock: a worker has left it */
    cf_piece_kind kind;
    const cf_extent *same;
    uint8_t sha256[32]; /* PARTS, NEW */
} cf_piece;

typedef struct cf_upload_pack {
    struct cf_upload_pack *next;
    char *key;             /* below runs_prefix; owned */
    uint64_t source_bytes; /* the packer's */
    uint64_t offset;       /* the packer's: stored bytes so far */
    uint64_t others_at;    /* the packer's: u->packed_source_bytes when it was begun */
    cf_block *head, *tail; /* lock: to be written, in order */
    bool closed;           /* lock: nothing follows */
    bool acknowledged;     /* lock: line is complete */
    char *upload_id;       /* lock: NULL until the store has one */
    cf_pack_line line;
} cf_upload_pack;

typedef enum cf_stage {
    CF_STAGE_CALLER,
    CF_STAGE_READ,
    CF_STAGE_HASH,
    CF_STAGE_WORK,
    CF_STAGE_PACK,
    CF_STAGE_LANE,
    CF_STAGE_TOTAL,
} cf_stage;

struct cf_upload {
    cf_upload_opts opts;
    cf_upload_limits limits;
    pthread_mutex_t lock;
    pthread_cond_t wake[CF_STAGE_TOTAL];
    uint32_t conds_total; /* initialised; the lock before them */
    bool has_lock;
    pthread_t *threads;
    uint32_t threads_total; /* started */
    cf_block *blocks;       /* owned: frame_buffers for the pool, then one spare a worker */
    uint32_t block_total;

    /* Below: under the lock. */
    bool leaving;   /* free() was called */
    bool finishing; /* finish() waits: the shared pack is to be closed */
    cf_err failed;  /* the first error, for good */
    cf_error error;
    cf_block *free_blocks;
    uint32_t spares_taken;
    cf_upload_file *files, *files_last,
        *files_unread;   /* oldest undelivered; newest; the next for the reader */
    uint32_t file_total; /* undelivered */
    uint32_t unpacked_total;
    cf_upload_pack *packs, *packs_last, *packs_untaken;
    uint64_t read_at, hashed_at, taken_at, packed_at; /* pieces so far */
    cf_adapt adapt;
    cf_upload_counts counts;

    cf_piece ring[CF_UPLOAD_RING_TOTAL];
    /* The packer's own. */
    cf_upload_pack *shared, *own; /* open packs, NULL: none */
    uint64_t packed_source_bytes;
};

CF_NODISCARD cf_err cf_upload_new_limited(const cf_upload_opts *opts,
                                          const cf_upload_limits *limits, cf_upload **ret,
                                          cf_error *e);

/* The threads: each returns when the pipeline ends or fails. */
void *cf_upload_run_reader(void *upload);
void *cf_upload_run_hash(void *upload);
void *cf_upload_run_worker(void *upload);
void *cf_upload_run_packer(void *upload);
void *cf_upload_run_lane(void *upload);

/* upload_monitor.c */
void cf_upload_lock(cf_upload *u);
void cf_upload_unlock(cf_upload *u);
void cf_upload_wait(cf_upload *u, cf_stage stage); /* with the lock */
bool cf_upload_wait_ms(cf_upload *u, cf_stage stage,
                       uint64_t ms);               /* with the lock; false: that time went by */
void cf_upload_wake(cf_upload *u, cf_stage stage); /* one thread of it */
void cf_upload_wake_all(cf_upload *u, cf_stage stage);
bool cf_upload_ended(const cf_upload *u); /* with the lock: failed or leaving */
void cf_upload_fail(cf_upload *u, cf_err code,
                    const cf_error *error); /* without the lock; the first one counts */
/* Without the lock: CF_ERR_INTERRUPTED once the user wants to stop. */
CF_NODISCARD cf_err cf_upload_check_stop(const cf_upload *u, cf_error *e);
void cf_upload_give_block(cf_upload *u, cf_block *block); /* with the lock */

static inline void cf_upload_unlockp(cf_upload **u)
{
    cf_upload_unlock(*u);
}
static inline cf_upload *cf_upload_hold(cf_upload *u)
{
    cf_upload_lock(u);
    return u;
}
/* Lock until the end of the scope. */
#define CF_UPLOAD_HOLD(u)                                                                          \
    CF_CLEANUP(cf_upload_unlockp)                                                                  \
    cf_upload *held_ = cf_upload_hold(u);                                                          \
    (void)held_

static inline cf_piece *cf_upload_piece_at(cf_upload *u, uint64_t at)
{
    return &u->ring[at % CF_UPLOAD_RING_TOTAL];
}

/* upload_file.c: owner of a file's growing arrays. */
CF_NODISCARD cf_err cf_upload_file_new(const cf_upload_item *item, cf_upload_file **ret,
                                       cf_error *e);
void cf_upload_file_free(cf_upload_file *f);
CF_DEFINE_FREEP(cf_upload_file, cf_upload_file_free)
CF_NODISCARD cf_err cf_upload_file_add_same(cf_upload_file *f, const cf_extent *prior, cf_error *e);
/* A frame of stored_bytes at offset of the pack: grows the last extent (WHOLE) or makes one. */
CF_NODISCARD cf_err cf_upload_file_add_new(cf_upload_file *f, const cf_piece *piece,
                                           const char *pack_key, uint64_t pack_offset, cf_error *e);
/* Points everything where it stands now; the file gets no more. */
void cf_upload_file_seal(cf_upload_file *f);
/* The parent's extent of exactly these bytes, NULL: none. */
const cf_extent *cf_upload_prior_find(const cf_upload_item *item, uint64_t offset, uint32_t len);

void cf_upload_pack_free(cf_upload_pack *p);
CF_DEFINE_FREEP(cf_upload_pack, cf_upload_pack_free)

#endif
