/* SPDX-License-Identifier: Apache-2.0
 *
 * Reader: the only thread that reads the source, file after file, in the order in which they were
 * handed in.
 */
#include <fcntl.h>

#include "pipe/upload_inner.h"

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
    u->counts.read_bytes += piece->source_bytes;
    cf_upload_wake(u, CF_STAGE_HASH);
}

static cf_err block_fill(const cf_upload *const u, const cf_upload_item *const item,
                         const uint64_t offset, const size_t len, cf_block *const block,
                         cf_error *const e)
{
    cf_error why = {0};
    size_t got = 0;

    if (u->opts.fs->ops->pread(u->opts.fs, item->fd, block->data, len, offset, &got, &why) != CF_OK)
        CF_FAIL(e, CF_ERR_SOURCE, "file '%s': %s\nHINT: look at the node's disk and at dmesg",
                item->name, why.message);
    CF_ENSURE(
        got == len, e, CF_ERR_SOURCE,
        "file '%s' ended at %llu of %llu bytes\nHINT: it was cut while it was read; run again",
        item->name, (unsigned long long)(offset + got), (unsigned long long)item->read_bytes);
    block->len = len;
    return CF_OK;
}

/* An item without bytes makes one piece, so that it keeps its turn. */
static cf_err file_read(cf_upload *const u, cf_upload_file *const f, cf_error *const e)
{
    const cf_upload_item *const item = &f->item;
    const uint64_t total = item->how == CF_UPLOAD_READY ? 0 : item->read_bytes;

    if (total > CF_FRAME_BYTES)
        (void)posix_fadvise(
            item->fd, 0, 0,
            POSIX_FADV_SEQUENTIAL); /* advice: read ahead more; nothing depends on it */
    uint64_t offset = 0;
    do {
        const uint64_t left = total - offset;
        const uint32_t len = left < CF_FRAME_BYTES ? (uint32_t)left : CF_FRAME_BYTES;
        cf_piece piece = {.file = f,
                          .file_offset = offset,
                          .source_bytes = len,
                          .first = offset == 0,
                          .last = len == left};

        CF_TRY(cf_upload_check_stop(u, e));
        if (!room_take(u, len > 0, &piece.block))
            return CF_OK;
        if (len > 0)
            CF_TRY(block_fill(u, item, offset, len, piece.block, e));
        offset += len;
        piece_put(u, &piece);
    } while (offset < total);
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
