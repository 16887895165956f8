/* SPDX-License-Identifier: Apache-2.0
 *
 * Download pipeline: ranged gets in parallel -> decompress -> hash -> write. Work items are runs of
 * frames, so that one large file is fetched and decoded by all workers at once; its bytes are hashed
 * in order, by whoever has the next ones, just before they are written. When all are, the hash is
 * held against the file's SHA-256 (and its own trailing MD5), then it is synced. Memory: workers
 * times a fixed amount, inside --memory.
 */
#ifndef SRC_PIPE_DOWNLOAD_H
#define SRC_PIPE_DOWNLOAD_H

#include "repo/line.h"
#include "s3/base/fs.h"
#include "s3/err.h"
#include "s3/world.h"
#include "store/store.h"

enum {
    CF_DOWNLOAD_ITEMS_MAX = 128
}; /* handed in and not done: what the caller must be able to keep open */

typedef struct cf_download_item {
    void *token;
    const char *name; /* for messages; borrowed until done */
    int fd;           /* empty file open for reading and writing; borrowed until done. It is set to
                         size_bytes, so holes stay           holes */
    uint64_t size_bytes;
    const cf_extent *extents; /* copied */
    size_t extent_total;
    uint8_t sha256[32];
    bool ends_with_md5; /* check it: the last 16 bytes are the MD5 of all before */
    bool read_back;     /* once synced, the whole file is read from the disk and compared again */
    bool synced_later;  /* the caller sees to it that it comes to disk */
    bool verify_only; /* the content is there already: read it back and compare, nothing is fetched
                        */
} cf_download_item;

typedef struct cf_download_result {
    void *token;
    const char *name;
    cf_err
        err; /* CF_OK, or why verify_only found another content (CF_ERR_DAMAGE): not fatal there */
} cf_download_result;

typedef struct cf_download_counts {
    uint64_t stored_bytes, written_bytes, verified_bytes;
} cf_download_counts;

typedef struct cf_download_opts {
    cf_store *store; /* borrowed, like all below */
    const cf_fs *fs;
    const cf_world *world;
    uint64_t memory_bytes;   /* 0: CF_MEMORY_DEFAULT_MIB */
    uint32_t jobs;           /* 0: the cores, at least 4 connections */
    const char *runs_prefix; /* "nodes/<node>/runs/" */
    cf_err (*on_done)(void *impl, const cf_download_result *result,
                      cf_error *e); /* on the caller's thread, any order */
    void *impl;
} cf_download_opts;

typedef struct cf_download cf_download;
/* CF_ERR_USAGE below CF_MEMORY_MIN_MIB. Starts the threads: as many as memory allows, at most jobs.
 */
CF_NODISCARD cf_err cf_download_new(const cf_download_opts *opts, cf_download **ret, cf_error *e);
/* Waits for room; reports files that are done. Sets the file's size. CF_ERR_DAMAGE names the file,
 * the pack and what differs: wrong length, bad frame, more or fewer bytes, SHA-256, MD5. */
CF_NODISCARD cf_err cf_download_add(cf_download *d, const cf_download_item *item, cf_error *e);
/* Waits for all files. Once anything failed, every call returns that error. More may be added
 * afterwards. */
CF_NODISCARD cf_err cf_download_finish(cf_download *d, cf_error *e);
void cf_download_get_counts(cf_download *d, cf_download_counts *ret); /* any thread: for progress */
void cf_download_free(cf_download *d); /* stops threads; NULL is fine */
static inline void cf_download_freep(cf_download **d)
{
    cf_download_free(*d);
}

#endif
