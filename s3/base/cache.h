/* SPDX-License-Identifier: Apache-2.0
 *
 * The page cache, left as it was found: who reads a file asks before which of its pages are there,
 * and afterwards gives up those that only the reading brought in. What was there stays, so a node's
 * hot files stay hot while all of its cold ones are read.
 *
 * The question is asked a window ahead of the reading: the kernel reads ahead, and what it brought
 * must not be taken for what was there. It is mincore(2), which tells the truth to the file's owner,
 * root, and whoever may write to it; to others every page is there, so nothing of theirs is given
 * up. Advice throughout: nothing can fail, and where a filesystem knows no better nothing happens.
 *
 * Threads: a cf_cache belongs to one.
 */
#ifndef S3_BASE_CACHE_H
#define S3_BASE_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    /* More than the kernel is ahead: twice read_ahead_kb, and that doubled by
     * POSIX_FADV_SEQUENTIAL; cloud disks have been seen with 8 MiB of it. */
    CF_CACHE_WINDOW_BYTES = 64 * 1024 * 1024,
    CF_CACHE_PAGE_BYTES = 4096, /* the least: larger pages take fewer entries */
};

typedef struct cf_cache {
    int fd;
    uint64_t size_bytes; /* of the file */
    bool is_known;       /* some window is */
    uint64_t first;      /* number of the first known window; the next is known too */
    uint64_t read_to;    /* where the last block ended */
    uint64_t cold_from;  /* no page from here to read_to was there */
    uint8_t there[2][CF_CACHE_WINDOW_BYTES / CF_CACHE_PAGE_BYTES]; /* as mincore(2) says it */
} cf_cache;

/* fd is borrowed. size_bytes: nothing behind it is looked at. */
void cf_cache_init(cf_cache *c, int fd, uint64_t size_bytes);
/* Before reading at offset. Offsets rise. */
void cf_cache_look(cf_cache *c, uint64_t offset);
/* After reading [offset, offset + len). last: nothing more will be read, so what the kernel read
 * ahead goes too. */
void cf_cache_drop(cf_cache *c, uint64_t offset, uint64_t len, bool last);
/* All of a file that nobody else can have read, once it is on disk. */
void cf_cache_drop_all(int fd);

#endif
