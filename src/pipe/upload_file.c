/* SPDX-License-Identifier: Apache-2.0
 *
 * What the pipeline knows of one item: its extents as they grow.
 *
 * Extents that were sent WHOLE have a list of frames; all lists are one array, which moves while it
 * grows, so extents get their pointers only when the file is sealed. A part is one frame, which its
 * extent describes fully: it has no list.
 */
#include "pipe/upload_inner.h"
#include "s3/base/alloc.h"

/* Room for one more of size bytes; *items moves. */
static cf_err grow(void **const items, const size_t total, size_t *const cap, const size_t size,
                   cf_error *const e)
{
    if (total < *cap)
        return CF_OK;
    const size_t more = *cap == 0 ? 4 : *cap * 2;
    void *const moved = cf_realloc(*items, more, size);

    CF_ENSURE(moved != NULL, e, CF_ERR_NO_MEMORY, "allocate %zu entries of %zu bytes", more, size);
    *items = moved;
    *cap = more;
    return CF_OK;
}

/* The same for a typed array, without a cast between pointers to pointers. */
#define GROW(array, total, cap, e)                                                                 \
    __extension__({                                                                                \
        void *moved_ = (array);                                                                    \
        const cf_err grown_ = grow(&moved_, (total), &(cap), sizeof(*(array)), (e));               \
        (array) = moved_;                                                                          \
        grown_;                                                                                    \
    })

cf_err cf_upload_file_new(const cf_upload_item *const item, cf_upload_file **const ret,
                          cf_error *const e)
{
    cf_upload_file *f = NULL;

    CF_NEW(f, e);
    f->item = *item;
    f->result.item = &f->item;
    f->result.md5_ok = true;
    *ret = f;
    return CF_OK;
}

void cf_upload_file_free(cf_upload_file *const f)
{
    for (size_t i = 0; i < f->key_total; i++)
        cf_free(f->keys[i]);
    cf_free(f->keys);
    cf_free(f->unreadable);
    cf_free(f->frames);
    cf_free(f->extents);
    cf_free(f);
}

cf_err cf_upload_file_add_same(cf_upload_file *const f, const cf_extent *const prior,
                               cf_error *const e)
{
    CF_TRY(GROW(f->extents, f->extent_total, f->extent_cap, e));
    f->extents[f->extent_total++] = *prior;
    return CF_OK;
}

/* The file's own copy of a pack's key; the same pointer while it is the same pack. */
static cf_err key_keep(cf_upload_file *const f, const char *const key, const char **const ret,
                       cf_error *const e)
{
    if (f->key_total == 0 || strcmp(f->keys[f->key_total - 1], key) != 0) {
        CF_TRY(GROW(f->keys, f->key_total, f->key_cap, e));
        char *const copy = cf_strdup(key);
        CF_ENSURE(copy != NULL, e, CF_ERR_NO_MEMORY, "allocate a key");
        f->keys[f->key_total++] = copy;
    }
    *ret = f->keys[f->key_total - 1];
    return CF_OK;
}

/* WHOLE: the last extent goes on when it ends where this frame begins, in the same pack, with no
 * hole between. */
static cf_extent *extent_to_grow(const cf_upload_file *const f, const cf_piece *const piece,
                                 const char *const key, const uint64_t pack_offset)
{
    if (f->item.how != CF_UPLOAD_WHOLE || f->extent_total == 0)
        return NULL;
    cf_extent *const x = &f->extents[f->extent_total - 1];
    return x->pack == key && x->pack_offset + x->stored_bytes == pack_offset &&
                   x->file_offset + x->file_bytes == piece->file_offset
               ? x
               : NULL;
}

cf_err cf_upload_file_add_new(cf_upload_file *const f, const cf_piece *const piece,
                              const char *const pack_key, const uint64_t pack_offset,
                              cf_error *const e)
{
    const bool whole = f->item.how == CF_UPLOAD_WHOLE;
    const char *key = NULL;

    CF_TRY(key_keep(f, pack_key, &key, e));
    CF_TRY(GROW(f->extents, f->extent_total, f->extent_cap, e));
    if (whole) {
        CF_TRY(GROW(f->frames, f->frame_total, f->frame_cap, e));
        f->frames[f->frame_total++] = (uint32_t)piece->block->len;
    }
    cf_extent *x = extent_to_grow(f, piece, key, pack_offset);
    if (x == NULL) {
        x = &f->extents[f->extent_total++];
        *x = (cf_extent){.pack = key,
                         .pack_offset = pack_offset,
                         .file_offset = piece->file_offset,
                         .has_sha256 = !whole};
        memcpy(x->sha256, piece->sha256, sizeof(x->sha256));
    }
    x->stored_bytes += piece->block->len;
    x->file_bytes += piece->source_bytes;
    x->frame_total += whole;
    f->result.new_bytes += piece->source_bytes;
    return CF_OK;
}

void cf_upload_file_seal(cf_upload_file *const f)
{
    const uint32_t *frames = f->frames;

    if (f->item.how == CF_UPLOAD_WHOLE)
        for (size_t i = 0; i < f->extent_total; i++) {
            f->extents[i].frame_bytes = frames;
            frames += f->extents[i].frame_total;
        }
    f->result.unreadable = f->unreadable;
    f->result.extents = f->extents;
    f->result.extent_total = f->extent_total;
}

const cf_extent *cf_upload_prior_find(const cf_upload_item *const item, const uint64_t offset,
                                      const uint32_t len)
{
    size_t low = 0;
    size_t high = item->prior_total;

    while (low < high) {
        const size_t mid = low + (high - low) / 2;
        if (item->prior[mid].file_offset < offset)
            low = mid + 1;
        else
            high = mid;
    }
    if (low == item->prior_total)
        return NULL;
    const cf_extent *const x = &item->prior[low];
    return x->file_offset == offset && x->file_bytes == len && x->has_sha256 ? x : NULL;
}

void cf_upload_pack_free(cf_upload_pack *const p)
{
    cf_free(p->key);
    cf_free(p->upload_id);
    cf_free(p);
}
