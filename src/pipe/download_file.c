/* SPDX-License-Identifier: Apache-2.0
 *
 * A file under way: a copy of what the caller lent, in three allocations.
 */
#include "pipe/download_inner.h"
#include "s3/base/alloc.h"

void cf_download_file_free(cf_download_file *const f)
{
    if (f == NULL)
        return;
    cf_file_digest_deinit(&f->digest);
    cf_free(f->extents);
    cf_free(f->frames);
    cf_free(f->packs);
    cf_free(f);
}

/* Neighbours mostly share their pack: one copy for them. */
static bool pack_is_new(const cf_download_item *const item, const size_t i)
{
    return i == 0 || strcmp(item->extents[i].pack, item->extents[i - 1].pack) != 0;
}

static cf_err copies_allocate(cf_download_file *const f, const cf_download_item *const item,
                              cf_error *const e)
{
    size_t frame_total = 0;
    size_t text_bytes = 0;

    for (size_t i = 0; i < item->extent_total; i++) {
        frame_total += item->extents[i].frame_bytes != NULL ? item->extents[i].frame_total : 0;
        text_bytes += pack_is_new(item, i) ? strlen(item->extents[i].pack) + 1 : 0;
    }
    f->extents = cf_alloc(item->extent_total, sizeof(*f->extents));
    f->frames = cf_alloc(frame_total, sizeof(*f->frames));
    f->packs = cf_alloc(text_bytes, 1);
    CF_ENSURE(f->extents != NULL && f->frames != NULL && f->packs != NULL, e, CF_ERR_NO_MEMORY,
              "allocate %zu extents", item->extent_total);
    return CF_OK;
}

cf_err cf_download_file_new(const cf_download_item *const item, cf_download_file **const ret,
                            cf_error *const e)
{
    CF_CLEANUP(cf_download_file_freep) cf_download_file *f = NULL;

    CF_NEW(f, e);
    CF_TRY(copies_allocate(f, item, e));
    uint32_t *frames = f->frames;
    char *text = f->packs;
    for (size_t i = 0; i < item->extent_total; i++) {
        cf_extent *const x = &f->extents[i];
        *x = item->extents[i];
        if (pack_is_new(item, i)) {
            const size_t size = strlen(x->pack) + 1;
            memcpy(text, x->pack, size);
            x->pack = text;
            text += size;
        } else {
            x->pack = f->extents[i - 1].pack;
        }
        if (x->frame_bytes == NULL) {
            x->frame_total = 0;
            continue;
        }
        memcpy(frames, x->frame_bytes, x->frame_total * sizeof(*frames));
        x->frame_bytes = frames;
        frames += x->frame_total;
    }
    f->item = *item;
    f->item.extents = f->extents;
    f->result = (cf_download_result){.token = item->token, .name = item->name};
    *ret = CF_STEAL(f);
    return CF_OK;
}
