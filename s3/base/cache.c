/* SPDX-License-Identifier: Apache-2.0
 *
 * The page cache: which pages were there, and giving up those that were not.
 */
#include "s3/base/cache.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
    WINDOWS_KNOWN = 2,
    GROUP_BYTES = 4 * 1024 * 1024, /* of pages that come and go together: large folios have 2 MiB */
};

static uint64_t page_bytes(void)
{
    const long size = sysconf(_SC_PAGESIZE);

    return size > CF_CACHE_PAGE_BYTES ? (uint64_t)size : CF_CACHE_PAGE_BYTES;
}

void cf_cache_init(cf_cache *const c, const int fd, const uint64_t size_bytes)
{
    c->fd = fd;
    c->size_bytes = size_bytes;
    c->is_known = false;
    c->first = 0;
    c->read_to = 0;
    c->cold_from = 0;
}

/* What cannot be known counts as there: it is not ours to give up. */
static void window_look(cf_cache *const c, const uint64_t window)
{
    uint8_t *const there = c->there[window % 2];
    const uint64_t start = window * CF_CACHE_WINDOW_BYTES;

    if (start >= c->size_bytes)
        return;
    const uint64_t left = c->size_bytes - start;
    const size_t len = left < CF_CACHE_WINDOW_BYTES ? (size_t)left : CF_CACHE_WINDOW_BYTES;
    void *const map = mmap(NULL, len, PROT_READ, MAP_SHARED, c->fd, (off_t)start);

    if (map == MAP_FAILED || mincore(map, len, there) != 0)
        memset(there, 1, sizeof(c->there[0]));
    if (map != MAP_FAILED)
        (void)munmap(map, len);
}

void cf_cache_look(cf_cache *const c, const uint64_t offset)
{
    const uint64_t window = offset / CF_CACHE_WINDOW_BYTES;

    if (c->is_known && window == c->first)
        return;
    if (!c->is_known || window != c->first + 1)
        window_look(c, window);
    window_look(c, window + 1);
    c->first = window;
    c->is_known = true;
}

/* Of the known windows; what is outside of them was there. */
static bool was_there(const cf_cache *const c, const uint64_t offset, const uint64_t page)
{
    const uint64_t window = offset / CF_CACHE_WINDOW_BYTES;

    if (window != c->first && window != c->first + 1)
        return true;
    return (c->there[window % 2][offset % CF_CACHE_WINDOW_BYTES / page] & 1) != 0;
}

static void give_up(const cf_cache *const c, const uint64_t from, const uint64_t to)
{
    if (to > from)
        (void)posix_fadvise(c->fd, (off_t)from, (off_t)(to - from), POSIX_FADV_DONTNEED);
}

/* Where giving up begins: some way before the block, because pages come in groups, and one that
 * reached over the end of the last block could not be given up with it. */
static uint64_t cold_begin(const cf_cache *const c, const uint64_t offset)
{
    if (offset != c->read_to)
        return offset;
    return offset > c->cold_from + GROUP_BYTES ? offset - GROUP_BYTES : c->cold_from;
}

void cf_cache_drop(cf_cache *const c, const uint64_t offset, const uint64_t len, const bool last)
{
    const uint64_t page = page_bytes();
    const uint64_t wanted =
        last ? (c->first + WINDOWS_KNOWN) * CF_CACHE_WINDOW_BYTES : offset + len;
    const uint64_t end = wanted < c->size_bytes ? wanted : c->size_bytes;

    if (!c->is_known)
        return;
    c->cold_from = cold_begin(c, offset);
    c->read_to = offset + len;
    for (uint64_t at = offset / page * page; at < end; at += page) {
        if (!was_there(c, at, page))
            continue;
        give_up(c, c->cold_from, at);
        c->cold_from = at + page;
    }
    give_up(c, c->cold_from, end);
}

void cf_cache_drop_all(const int fd)
{
    (void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
}
