/* SPDX-License-Identifier: Apache-2.0
 *
 * Download pipeline, inside. One monitor, one kind of thread.
 *
 *   caller --files--> list; each worker takes the next task of the oldest file that has one:
 *       a run    adjacent frames of one pack, one ranged GET, decoded, hashed, written where it
 *                belongs; files of one small extent each share a run when they are neighbours in
 *                their pack, so that 100,000 of them are not 100,000 GETs
 *       verify   when all runs of a file are written (or there were none): compare, sync
 *   caller <--done files, any order
 *
 * A file that nobody works on goes before one that somebody does: then a worker has a file for
 * itself, and its frames are decoded as they come. Where files are fewer than workers, runs are
 * short, and those behind another run of their file are fetched whole before they are decoded.
 *
 * Nothing can hang. A file's hash goes in order, so a worker may wait for its turn; but runs are
 * taken in order too, the first one of a file that is not done never waits, and it needs nothing
 * that one who waits may hold: no lock, no large window, and no connection to the store, since only
 * the first one hashes while its GET is under way.
 *
 * Memory: a worker has the content of one frame, and its stored bytes. A frame of another writer may
 * need a window of up to CF_FRAME_READ_MAX: its run is done again by one worker at a time, so that at
 * most one such window exists.
 */
#ifndef SRC_PIPE_DOWNLOAD_INNER_H
#define SRC_PIPE_DOWNLOAD_INNER_H

#include <pthread.h>
#include <stdatomic.h>

#include "pipe/download.h"
#include "pipe/file_digest.h"
#include "pipe/frames.h"
#include "pipe/memory_plan.h"
#include "s3/base/cleanup.h"
#include "s3/base/hash.h"

enum {
    CF_RUN_STORED_BYTES =
        16 * 1024 *
        1024, /* of a run: long enough to hide a request's latency, short enough to share a file */
    CF_RUN_SHARED_BYTES = 1024 * 1024, /* of a file that several workers share: mostly one frame */
    CF_RUN_SPANS_MAX = 128,            /* extents and gaps in a run: 512 MiB of parts */
    CF_BATCH_EXTENT_BYTES = 1024 * 1024,       /* a file of one extent up to this may share a run */
    CF_BATCH_GAP_BYTES = 64 * 1024,            /* fetched in vain between two of them */
    CF_BATCH_WANTED = 32,                      /* such files to wait for while more may come */
    CF_DOWNLOAD_READ_BYTES = 1024 * 1024,      /* one pread */
    CF_DOWNLOAD_DIRECT_BYTES = CF_FRAME_BYTES, /* a file from here on goes around the page cache */
    CF_DOWNLOAD_EXTENTS_MAX =
        65536, /* copied extents of all files under way, unless one file alone has more */
    CF_DOWNLOAD_WORKER_BYTES = 9 * 1024 * 1024, /* CF_FRAMES_BYTES, the client's connection */
    CF_DOWNLOAD_WORKERS_MAX = 64,
};

/* Stored bytes that follow one another, and the range of the file that they hold: whole frames. */
typedef struct cf_span {
    struct cf_download_file *file; /* NULL: a gap between two files, thrown away */
    uint64_t stored_bytes, file_offset, file_bytes;
    uint64_t
        follows; /* where the bytes before it end in the file; up to file_offset it is a hole */
} cf_span;

typedef struct cf_run_of_frames {
    const char *pack;
    uint64_t pack_offset, stored_bytes;
    cf_span spans[CF_RUN_SPANS_MAX];
    size_t span_total;
    bool behind; /* another run of its file is under way: its turn may come later */
} cf_run_of_frames;

/* Where the next run of a file begins. */
typedef struct cf_run_cursor {
    size_t extent;
    uint32_t frame;                  /* of that extent */
    uint64_t stored_done, file_done; /* bytes of that extent before it */
    uint64_t file_end;               /* behind the content handed out so far */
} cf_run_cursor;

/* download_run.c, pure */
/* Up to room stored bytes, but one frame (a whole extent without a list) at least. false: there are
 * no more. */
bool cf_run_next(const cf_extent *extents, size_t total, uint64_t room, cf_run_cursor *cursor,
                 cf_run_of_frames *ret);
/* Puts another file's only extent behind the run; false: it is not near, or the run is full. */
bool cf_run_extend(cf_run_of_frames *run, struct cf_download_file *file, const cf_extent *x);
/* CF_ERR_DAMAGE when extents leave the file, are empty, or their frames do not add up. */
CF_NODISCARD cf_err cf_extents_check(const cf_download_item *item, cf_error *e);
/* Threads that memory_bytes (0: the default) allow; CF_ERR_USAGE below the minimum. */
CF_NODISCARD cf_err cf_download_plan(uint64_t memory_bytes, uint32_t jobs, uint32_t *ret_workers,
                                     cf_error *e);

typedef struct cf_download_file {
    struct cf_download_file *next;
    cf_download_item item;   /* extents point to our copy */
    cf_extent *extents;      /* owned */
    uint32_t *frames;        /* owned: all lists, one after the other */
    char *packs;             /* owned: keys with their NULs, one after the other */
    cf_run_cursor cursor;    /* lock */
    bool no_more_runs;       /* lock */
    uint32_t runs_under_way; /* lock */
    bool is_verifying;       /* lock */
    bool is_done;            /* lock; result is complete */
    uint64_t hashed;         /* lock; bytes of the file: who has the next ones has the turn */
    cf_file_digest digest;   /* of whoever has the turn */
    bool digest_begun;
    cf_download_result result;
} cf_download_file;

CF_NODISCARD cf_err cf_download_file_new(const cf_download_item *item, cf_download_file **ret,
                                         cf_error *e);
void cf_download_file_free(cf_download_file *f);
CF_DEFINE_FREEP(cf_download_file, cf_download_file_free)

typedef struct cf_download_worker {
    cf_download *d;
    cf_frames *frames; /* owned */
    pthread_t thread;
    cf_run_of_frames run;
    bool is_busy; /* d->lock */
} cf_download_worker;

struct cf_download {
    cf_download_opts opts;
    pthread_mutex_t lock, window; /* window: held by the one worker that decodes with a large one */
    pthread_cond_t work, caller, turn;
    uint32_t sync_total; /* initialised of the five above, in that order */
    cf_download_worker *workers;
    uint32_t worker_total, started_total;
    atomic_uint_fast64_t stored_bytes, written_bytes, verified_bytes;
    atomic_bool
        ended; /* failed or leaving: a look without the lock, for loops that are under way */

    /* Below: under the lock. */
    bool leaving;
    cf_err failed;
    cf_error error;
    cf_download_file *files; /* oldest first */
    uint32_t file_total;
    size_t extent_total;
    uint32_t small_total; /* files of one small extent that nobody has taken */
    uint32_t busy_total;  /* workers */
    uint32_t turn_total;  /* workers that wait for their turn */
    bool caller_waits;    /* for room, or for the end: no more files come for now */
    bool finishing;       /* it is the end */
};

/* Both run on a worker. CF_ERR_INTERRUPTED also when the pipeline ended for another reason: the
 * first error is the one that counts. */
CF_NODISCARD cf_err cf_download_fetch(cf_download_worker *w, const cf_run_of_frames *run,
                                      cf_error *e);
/* Not the same: CF_ERR_DAMAGE. */
CF_NODISCARD cf_err cf_download_verify(cf_download_worker *w, cf_download_file *f, cf_error *e);
CF_NODISCARD cf_err cf_download_check_stop(const cf_download *d, cf_error *e);

/* Waits until the file is hashed up to `follows`; *ret_hashed: how far it is (more when these bytes
 * came once before). With `hashed` the turn goes to whoever has the next bytes. */
CF_NODISCARD cf_err cf_download_turn_wait(cf_download *d, const cf_download_file *f,
                                          uint64_t follows, uint64_t *ret_hashed, cf_error *e);
void cf_download_turn_pass(cf_download *d, cf_download_file *f, uint64_t hashed);
/* Whoever has the turn: zeros from `from` on, then content at offset. */
CF_NODISCARD cf_err cf_download_hash(cf_download *d, cf_download_file *f, uint64_t from,
                                     uint64_t offset, cf_slice content, cf_error *e);

#endif
