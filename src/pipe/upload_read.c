/* SPDX-License-Identifier: Apache-2.0
 *
 * Reader: the only thread that reads the source, file after file, in the order in which they were
 * handed in.
 */
#include <fcntl.h>

#include "pipe/upload_inner.h"
#include "s3/base/alloc.h"
#include "s3/base/cache.h"

/* Waits for the next file; NULL at the end. */
static cf_upload_file *file_take(cf_upload *const u)
{
    CF_UPLOAD_HOLD(u);

    while (!cf_upload_ended(u) && u->files_unread == NULL)
        cf_upload_wait(u, CF_STAGE_READ);
    if (cf_upload_ended(u))
        return NULL;
    cf_upload_file *const f = u->files_unread;
    u->files_unread = f->next;
    return f;
}

/* Waits for a place in the ring, and a block when bytes are to be held. */
static bool room_take(cf_upload *const u, const bool need_block, cf_block **const ret)
{
    CF_UPLOAD_HOLD(u);

    while (!cf_upload_ended(u) && (u->read_at - u->packed_at == CF_UPLOAD_RING_TOTAL ||
                                   (need_block && u->free_blocks == NULL)))
        cf_upload_wait(u, CF_STAGE_READ);
    if (cf_upload_ended(u))
        return false;
    *ret = NULL;
    if (need_block) {
        *ret = u->free_blocks;
        u->free_blocks = u->free_blocks->next;
        (*ret)->next = NULL;
    }
    return true;
}

static void piece_put(cf_upload *const u, const cf_piece *const piece)
{
    CF_UPLOAD_HOLD(u);

    *cf_upload_piece_at(u, u->read_at) = *piece;
    u->read_at++;
    u->counts.read_bytes += piece->hole ? 0 : piece->source_bytes;
    cf_upload_wake(u, CF_STAGE_HASH);
}

static cf_err unreadable_note(cf_upload_file *const f, const char *const why, cf_error *const e)
{
    f->unreadable = cf_strdup(why);
    CF_ENSURE(f->unreadable != NULL, e, CF_ERR_NO_MEMORY, "allocate a message");
    return CF_OK;
}

static cf_err block_fill(const cf_upload *const u, cf_upload_file *const f, cf_piece *const p,
                         cf_error *const e)
{
    const cf_upload_item *const item = &f->item;
    cf_error why = {0};
    size_t got = 0;
    const cf_err err = u->opts.fs->ops->pread(u->opts.fs, item->fd, p->block->data, p->source_bytes,
                                              p->file_offset, &got, &why);

    if (err != CF_OK && !item->may_change)
        CF_FAIL(e, CF_ERR_SOURCE, "file '%s': %s\nHINT: look at the node's disk and at dmesg",
                item->name, why.message);
    if (err != CF_OK) {
        got = 0;
        CF_TRY(unreadable_note(f, why.message, e));
    }
    CF_ENSURE(
        got == p->source_bytes || item->may_change, e, CF_ERR_SOURCE,
        "file '%s' ended at %llu of %llu bytes\nHINT: it was cut while it was read; run again",
        item->name, (unsigned long long)(p->file_offset + got),
        (unsigned long long)item->read_bytes);
    p->cut = got < p->source_bytes;
    p->last = p->last || p->cut;
    p->source_bytes = (uint32_t)got;
    p->block->len = got;
    return CF_OK;
}

/* Bytes from offset on that are a hole: whole parts, or to the end of the file; what one piece can
 * stand for at most. */
static uint32_t hole_look(const cf_upload *const u, const cf_upload_item *const item,
                          const uint64_t offset)
{
    uint64_t data = offset;

    if (!item->sparse || offset >= item->read_bytes ||
        u->opts.fs->ops->seek_data(u->opts.fs, item->fd, offset, &data, NULL) != CF_OK)
        return 0; /* then it is read */
    const uint64_t left = item->read_bytes - offset;
    uint64_t len = data - offset;
    len = len >= left ? left : len / CF_FRAME_BYTES * CF_FRAME_BYTES;
    return (uint32_t)(len < CF_PACK_SOURCE_MAX ? len : CF_PACK_SOURCE_MAX);
}

static void read_ahead(const cf_upload_item *const item)
{
    /* Advice: nothing depends on it. */
    if (item->how != CF_UPLOAD_READY && item->read_bytes > CF_FRAME_BYTES)
        (void)posix_fadvise(item->fd, 0, 0, POSIX_FADV_SEQUENTIAL);
}

/* An item without bytes makes one piece, so that it keeps its turn. */
static cf_err file_read(cf_upload *const u, cf_upload_file *const f, cf_error *const e)
{
    const cf_upload_item *const item = &f->item;
    const uint64_t total = item->how == CF_UPLOAD_READY ? 0 : item->read_bytes;
    uint64_t offset = 0;
    bool last = false;
    cf_cache cache;

    read_ahead(item);
    cf_cache_init(&cache, item->fd, item->size_bytes);
    while (!last) {
        const uint64_t left = total - offset;
        cf_piece piece = {.file = f, .file_offset = offset, .first = offset == 0};

        CF_TRY(cf_upload_check_stop(u, e));
        piece.source_bytes = hole_look(u, item, offset);
        piece.hole = piece.source_bytes > 0;
        if (!piece.hole)
            piece.source_bytes = left < CF_FRAME_BYTES ? (uint32_t)left : CF_FRAME_BYTES;
        piece.last = piece.source_bytes == left;
        if (!room_take(u, !piece.hole && piece.source_bytes > 0, &piece.block))
            return CF_OK;
        if (piece.block != NULL) {
            cf_cache_look(&cache, offset);
            CF_TRY(block_fill(u, f, &piece, e));
            cf_cache_drop(&cache, offset, piece.source_bytes, piece.last);
        }
        offset += piece.source_bytes;
        last = piece.last;
        piece_put(u, &piece);
    }
    return CF_OK;
}

void *cf_upload_run_reader(void *const upload)
{
    cf_upload *const u = upload;
    cf_error e = {0};

    for (cf_upload_file *f = file_take(u); f != NULL; f = file_take(u)) {
        const cf_err err = file_read(u, f, &e);
        if (err != CF_OK)
            cf_upload_fail(u, err, &e);
    }
    return NULL;
}
