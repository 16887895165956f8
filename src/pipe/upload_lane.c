/* SPDX-License-Identifier: Apache-2.0
 *
 * Lanes: each sends one pack at a time; packs are taken in order.
 */
#include <stdio.h>

#include "pipe/upload_inner.h"
#include "s3/base/alloc.h"

/* An upload under way, that is aborted unless it was finished. */
typedef struct sending {
    const cf_store_ops *ops;
    cf_store_put *put;
} sending;

static void sending_deinit(sending *const s)
{
    if (s->put != NULL)
        s->ops->put_abort(s->put);
}

static cf_upload_pack *pack_take(cf_upload *const u)
{
    CF_UPLOAD_HOLD(u);

    while (!cf_upload_ended(u) && u->packs_untaken == NULL)
        cf_upload_wait(u, CF_STAGE_LANE);
    if (cf_upload_ended(u))
        return NULL;
    cf_upload_pack *const p = u->packs_untaken;
    u->packs_untaken = p->next;
    return p;
}

/* Waits for the next block of the pack; NULL at its end. */
static cf_block *block_take(cf_upload *const u, cf_upload_pack *const pack, bool *const ret_ended)
{
    CF_UPLOAD_HOLD(u);

    while (!cf_upload_ended(u) && pack->head == NULL && !pack->closed)
        cf_upload_wait(u, CF_STAGE_LANE);
    *ret_ended = cf_upload_ended(u);
    cf_block *const block = *ret_ended ? NULL : pack->head;
    if (block != NULL) {
        pack->head = block->next;
        if (pack->head == NULL)
            pack->tail = NULL;
    }
    return block;
}

/* For the journal: the id appears once the store has begun a multipart upload. */
static cf_err id_keep(cf_upload *const u, cf_upload_pack *const pack, const sending *const s,
                      cf_error *const e)
{
    const char *const id = s->ops->put_upload_id(s->put);

    if (id[0] == '\0' || pack->upload_id != NULL) /* only this thread sets it */
        return CF_OK;
    char *const copy = cf_strdup(id);
    CF_ENSURE(copy != NULL, e, CF_ERR_NO_MEMORY, "allocate an upload id");
    CF_UPLOAD_HOLD(u);
    pack->upload_id = copy;
    return CF_OK;
}

static void pack_acknowledge(cf_upload *const u, cf_upload_pack *const pack,
                             const cf_stored *const stored)
{
    CF_UPLOAD_HOLD(u);

    pack->line.stored_bytes = stored->size_bytes;
    pack->line.used_bytes = stored->size_bytes;
    pack->line.digest = stored->digest;
    pack->acknowledged = true;
    u->counts.packs_total++;
    u->counts.stored_bytes += stored->size_bytes;
    u->counts.sent_source_bytes += pack->source_bytes;
    cf_upload_wake(u, CF_STAGE_CALLER);
}

/* Returns CF_OK also when the pipeline ends meanwhile: the upload is aborted then. */
static cf_err pack_send(cf_upload *const u, cf_upload_pack *const pack, cf_error *const e)
{
    const cf_store_ops *const ops = u->opts.store->ops;
    char key[CF_KEY_LEN_MAX + 1];
    CF_CLEANUP(sending_deinit) sending s = {.ops = ops};
    cf_stored stored = {0};
    uint64_t sent_bytes = 0;
    bool ended = false;

    const int len = snprintf(key, sizeof(key), "%s%s", u->opts.runs_prefix, pack->key);
    CF_ENSURE(len > 0 && (size_t)len < sizeof(key), e, CF_ERR_TOO_LARGE,
              "key '%s%s' has more than %d bytes", u->opts.runs_prefix, pack->key, CF_KEY_LEN_MAX);
    CF_TRY(ops->put_open(u->opts.store, key, &(cf_put_opts){.create_only = true}, &s.put, e));
    for (cf_block *b = block_take(u, pack, &ended); b != NULL; b = block_take(u, pack, &ended)) {
        CF_TRY(cf_upload_check_stop(u, e));
        CF_TRY(ops->put_write(s.put, cf_slice_of(b->data, b->len), e));
        sent_bytes += b->len;
        CF_TRY(id_keep(u, pack, &s, e));
        CF_UPLOAD_HOLD(u);
        cf_upload_give_block(u, b);
    }
    if (ended)
        return CF_OK;
    CF_TRY(ops->put_finish(CF_STEAL(s.put), &stored, e));
    CF_ENSURE(stored.size_bytes == sent_bytes, e, CF_ERR_PROTOCOL,
              "the store has %llu bytes, %llu were sent", (unsigned long long)stored.size_bytes,
              (unsigned long long)sent_bytes);
    pack_acknowledge(u, pack, &stored);
    return CF_OK;
}

void *cf_upload_run_lane(void *const upload)
{
    cf_upload *const u = upload;
    cf_error e = {0};

    for (cf_upload_pack *p = pack_take(u); p != NULL; p = pack_take(u)) {
        const cf_err err = pack_send(u, p, &e);
        if (err != CF_OK) {
            cf_error_prefix(&e, "pack '%s'", p->key);
            cf_upload_fail(u, err, &e);
        }
    }
    return NULL;
}
