/* SPDX-License-Identifier: Apache-2.0
 *
 * Content: the bytes of files, from their lines, in order, checked on the way: every frame, every
 * extent's SHA-256, the whole's SHA-256, its own MD5, its certificate, and the stored digest of
 * each pack that is read whole.
 *
 * Several files at a time: those that stand beside each other in a pack are fetched with one GET.
 * A reader belongs to one thread. Memory: CF_CONTENT_BYTES, whatever is read; only a frame of
 * another writer may need up to CF_FRAME_READ_MAX more, one reader at a time.
 */
#ifndef SRC_PIPE_CONTENT_H
#define SRC_PIPE_CONTENT_H

#include <pthread.h>

#include "repo/line.h"
#include "s3/base/cleanup.h"
#include "s3/err.h"
#include "s3/world.h"
#include "store/store.h"

enum {
    CF_CONTENT_AREA_BYTES = 2 * 1024 * 1024, /* of small extents, fetched ahead */
    CF_CONTENT_SMALL_BYTES = 512 * 1024,     /* stored; a longer extent is streamed on its own */
    CF_CONTENT_AHEAD_TOTAL = 4096,           /* small extents fetched ahead */
    CF_CONTENT_GAP_BYTES = 32 * 1024,        /* ours: cheaper to read over than a request */
    CF_CONTENT_BYTES = 11 * 1024 * 1024,     /* of a reader: area, CF_FRAMES_BYTES, connection */
};

typedef struct cf_content_opts {
    cf_store *store; /* borrowed, like all below */
    const cf_world *world;
    const char *runs_prefix; /* "nodes/<node>/runs/" */
    pthread_mutex_t *large;  /* held while a large window is in use; NULL: there is one reader */
    /* Stored bytes came in. NULL: nobody counts. Any thread. An error stops the reading. */
    cf_err (*on_bytes)(void *impl, size_t stored_bytes, cf_error *e);
    bool
        whole_frames; /* a visitor writes: nothing is given before its frame's checksum was checked */
    void *impl;
} cf_content_opts;

typedef struct cf_content_item {
    cf_file_line line;  /* of type file; what it points to is borrowed during the read */
    bool ends_with_md5; /* its last 16 bytes are the MD5 of all before */
} cf_content_item;

/* An extent, by the numbers of its item and in it. */
typedef struct cf_content_at {
    size_t item, extent;
} cf_content_at;

/* What the one who reads wants to see; impl of its own. */
typedef struct cf_content_visit {
    /* NULL: nobody. All bytes in order, holes as zeros; verified at least by their frame. */
    cf_err (*write)(void *impl, size_t item, cf_slice bytes, cf_error *e);
    /* NULL: all. false: the extent is passed over, and its file not checked as a whole. */
    bool (*wanted)(void *impl, cf_content_at at);
    /* What the line of the extent's pack says; false, NULL: not known, and its digest not checked.
     */
    bool (*stored_of)(void *impl, cf_content_at at, cf_stored *ret);
    /* NULL: the first damage is the answer. whole: of the file as a whole, not of this extent.
     * CF_OK: go on, and the file is not checked as a whole. */
    cf_err (*damaged)(void *impl, cf_content_at at, bool whole, const cf_error *why, cf_error *e);
    /* NULL: nobody. A pack of small extents was read whole, and its stored digest is wrong; its
     * extents are looked at all the same. */
    cf_err (*pack_damaged)(void *impl, cf_content_at at, const cf_error *why, cf_error *e);
    /* NULL: nobody. The stored digest of the extent's pack is right. */
    void (*pack_proved)(void *impl, cf_content_at at);
    /* NULL: nobody. whole: read to its end, and all of it is as it should be. */
    void (*done)(void *impl, size_t item, bool whole);
    void *impl;
} cf_content_visit;

typedef struct cf_content cf_content;
CF_NODISCARD cf_err cf_content_new(const cf_content_opts *opts, cf_content **ret, cf_error *e);
void cf_content_free(cf_content *c); /* NULL is fine */
CF_DEFINE_FREEP(cf_content, cf_content_free)
/* Each item's content, one after the other. CF_ERR_DAMAGE names the file, the pack and what
 * differs; CF_ERR_INTERRUPTED; what the store or the visitor answered. */
CF_NODISCARD cf_err cf_content_read(cf_content *c, const cf_content_item *items, size_t total,
                                    const cf_content_visit *visit, cf_error *e);

#endif
