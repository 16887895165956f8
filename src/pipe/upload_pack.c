/* SPDX-License-Identifier: Apache-2.0
 *
 * Packer: one thread that takes pieces in order, decides which pack a frame goes to, and so knows
 * every offset before a byte is sent.
 *
 * Packs end: own ones with their file, and before CF_PACK_SOURCE_MAX; the shared one before
 * CF_SHARED_CUT_BYTES, with the file by whose end so much of its own and others' source has gone by
 * since it was begun, and at finish. Lines of packs are told in order, so an open shared pack holds
 * back those of all behind it, and a kill would lose them.
 */
#include "pipe/upload_inner.h"
#include "s3/base/alloc.h"

static void pack_close(cf_upload *const u, cf_upload_pack **const open)
{
    if (*open == NULL)
        return;
    CF_UPLOAD_HOLD(u);
    (*open)->closed = true;
    *open = NULL; /* it may be gone as soon as the lock is */
    cf_upload_wake_all(u, CF_STAGE_LANE);
}

static cf_err pack_open(cf_upload *const u, const char *const hint, cf_upload_pack **const ret,
                        cf_error *const e)
{
    CF_CLEANUP(cf_upload_pack_freep) cf_upload_pack *p = NULL;
    char key[CF_KEY_LEN_MAX + 1] = "";

    CF_NEW(p, e);
    CF_TRY(u->opts.next_pack(u->opts.impl, hint, key, e));
    p->key = cf_strdup(key);
    CF_ENSURE(p->key != NULL, e, CF_ERR_NO_MEMORY, "allocate a key");
    p->line.pack = p->key;
    p->others_at = u->packed_source_bytes;

    CF_UPLOAD_HOLD(u);
    if (u->packs_last != NULL)
        u->packs_last->next = p;
    else
        u->packs = p;
    u->packs_last = p;
    if (u->packs_untaken == NULL)
        u->packs_untaken = p;
    *ret = CF_STEAL(p);
    cf_upload_wake_all(u, CF_STAGE_LANE);
    return CF_OK;
}

static void block_send(cf_upload *const u, cf_upload_pack *const pack, cf_block *const block)
{
    CF_UPLOAD_HOLD(u);

    if (pack->tail != NULL)
        pack->tail->next = block;
    else
        pack->head = block;
    pack->tail = block;
    cf_upload_wake_all(u, CF_STAGE_LANE);
}

static cf_err frame_pack(cf_upload *const u, cf_piece *const p, cf_error *const e)
{
    const cf_upload_item *const item = &p->file->item;
    const bool own = item->own_pack && item->how == CF_UPLOAD_WHOLE;
    cf_upload_pack **const open = own ? &u->own : &u->shared;

    const uint64_t max = own ? u->limits.pack_source_max : u->limits.shared_cut_bytes;

    if (*open != NULL && (*open)->source_bytes + p->source_bytes > max)
        pack_close(u, open);
    if (*open == NULL)
        CF_TRY(pack_open(u, own && item->pack_hint != NULL ? item->pack_hint : "small", open, e));
    cf_upload_pack *const pack = *open;
    CF_CHECK(pack != NULL);
    CF_TRY(cf_upload_file_add_new(p->file, p, pack->key, pack->offset, e));
    pack->offset += p->block->len;
    pack->source_bytes += p->source_bytes;
    u->packed_source_bytes += p->source_bytes;
    p->block->next = NULL;
    block_send(u, pack, CF_STEAL(p->block));
    return CF_OK;
}

static void file_done(cf_upload *const u, cf_upload_file *const f)
{
    cf_upload_file_seal(f);
    pack_close(u, &u->own);
    if (u->shared != NULL &&
        u->packed_source_bytes - u->shared->others_at >= u->limits.shared_cut_bytes)
        pack_close(u, &u->shared);
    CF_UPLOAD_HOLD(u);
    f->packed = true;
    u->unpacked_total--;
    cf_upload_wake(u, CF_STAGE_CALLER);
}

static cf_err piece_pack(cf_upload *const u, cf_piece *const p, cf_error *const e)
{
    cf_upload_file *const f = p->file;

    if (p->kind == CF_PIECE_SAME)
        CF_TRY(cf_upload_file_add_same(f, p->same, e));
    else if (p->kind == CF_PIECE_NEW)
        CF_TRY(frame_pack(u, p, e));
    if (p->last)
        file_done(u, f);
    return CF_OK;
}

/* NULL without *ret_end: everything handed in was packed, and finish() waits. */
static cf_piece *piece_take(cf_upload *const u, bool *const ret_end)
{
    CF_UPLOAD_HOLD(u);

    for (;;) {
        cf_piece *const p = cf_upload_piece_at(u, u->packed_at);
        *ret_end = cf_upload_ended(u);
        if (*ret_end)
            return NULL;
        if (u->packed_at < u->taken_at && p->done)
            return p;
        if (u->finishing && u->unpacked_total == 0 && u->shared != NULL)
            return NULL;
        cf_upload_wait(u, CF_STAGE_PACK);
    }
}

static void piece_done(cf_upload *const u)
{
    CF_UPLOAD_HOLD(u);

    u->packed_at++;
    cf_upload_wake(u, CF_STAGE_READ);
}

void *cf_upload_run_packer(void *const upload)
{
    cf_upload *const u = upload;
    cf_error e = {0};
    bool end = false;

    for (;;) {
        cf_piece *const p = piece_take(u, &end);
        if (end)
            return NULL;
        if (p == NULL) {
            pack_close(u, &u->shared);
            continue;
        }
        const cf_err err = piece_pack(u, p, &e);
        if (err != CF_OK)
            cf_upload_fail(u, err, &e);
        else
            piece_done(u);
    }
}
