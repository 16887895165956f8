/* SPDX-License-Identifier: Apache-2.0
 *
 * Verify: read a file back, compare it with its SHA-256 and its own MD5, and have it on disk.
 */
#include "pipe/download_inner.h"
#include "s3/base/hash.h"

enum { MD5_TAIL_BYTES = CF_MD5_LEN };

typedef struct hashes {
    cf_hash sha256, md5;
    uint8_t tail[MD5_TAIL_BYTES]; /* the last bytes of the file, when it ends with an MD5 */
} hashes;

static void hashes_deinit(hashes *const h)
{
    cf_hash_deinit(&h->sha256);
    cf_hash_deinit(&h->md5);
}

static cf_err length_check(const cf_download *const d, const cf_download_item *const item,
                           cf_error *const e)
{
    cf_stat st = {0};

    CF_TRY(d->opts.fs->ops->stat_fd(d->opts.fs, item->fd, &st, e));
    CF_ENSURE(st.size_bytes == item->size_bytes, e, CF_ERR_DAMAGE,
              "it has %llu bytes, the manifest says %llu", (unsigned long long)st.size_bytes,
              (unsigned long long)item->size_bytes);
    return CF_OK;
}

/* The MD5 covers all but the file's last bytes, and those are kept. */
static cf_err md5_update(hashes *const h, const cf_download_item *const item, const uint64_t offset,
                         const cf_slice s, cf_error *const e)
{
    const uint64_t end = item->size_bytes - MD5_TAIL_BYTES;
    const size_t before = offset >= end ? 0 : end - offset < s.len ? (size_t)(end - offset) : s.len;

    if (before < s.len)
        memcpy(h->tail + (offset + before - end), s.ptr + before, s.len - before);
    return cf_hash_update(&h->md5, cf_slice_of(s.ptr, before), e);
}

/* Zeros that are on no disk need not be read to be known. */
static cf_err hole_update(const cf_download *const d, cf_hash *const sha256, uint64_t left,
                          cf_error *const e)
{
    enum { SLICE_BYTES = 256 * 1024 };
    static const uint8_t zeros[SLICE_BYTES];

    while (left > 0) {
        const size_t len = left < sizeof(zeros) ? (size_t)left : sizeof(zeros);

        CF_TRY(cf_download_check_stop(d, e));
        CF_TRY(cf_hash_update(sha256, cf_slice_of(zeros, len), e));
        left -= len;
    }
    return CF_OK;
}

/* Where data goes on behind offset; files with an MD5 of their own are read whole. */
static uint64_t data_seek(const cf_download *const d, const cf_download_item *const item,
                          const uint64_t offset)
{
    uint64_t data = offset;

    if (item->ends_with_md5 || item->size_bytes <= CF_DOWNLOAD_BUFFER_BYTES ||
        d->opts.fs->ops->seek_data(d->opts.fs, item->fd, offset, &data, NULL) != CF_OK)
        return offset;
    return data < item->size_bytes ? data : item->size_bytes;
}

static cf_err read_back(cf_download_worker *const w, const cf_download_item *const item,
                        hashes *const h, cf_error *const e)
{
    cf_download *const d = w->d;
    const cf_fs *const fs = d->opts.fs;

    for (uint64_t offset = 0; offset < item->size_bytes;) {
        const uint64_t data = data_seek(d, item, offset);

        if (data > offset) {
            CF_TRY(hole_update(d, &h->sha256, data - offset, e));
            offset = data;
            continue;
        }
        const uint64_t left = item->size_bytes - offset;
        const size_t len =
            left < CF_DOWNLOAD_BUFFER_BYTES ? (size_t)left : CF_DOWNLOAD_BUFFER_BYTES;
        size_t got = 0;

        CF_TRY(cf_download_check_stop(d, e));
        CF_TRY(fs->ops->pread(fs, item->fd, w->buffer, len, offset, &got, e));
        CF_ENSURE(got == len, e, CF_ERR_DAMAGE, "it ended at %llu of %llu bytes",
                  (unsigned long long)(offset + got), (unsigned long long)item->size_bytes);
        const cf_slice s = cf_slice_of(w->buffer, len);
        CF_TRY(cf_hash_update(&h->sha256, s, e));
        if (item->ends_with_md5)
            CF_TRY(md5_update(h, item, offset, s, e));
        offset += len;
        (void)atomic_fetch_add(&d->verified_bytes, len);
    }
    return CF_OK;
}

static cf_err hashes_check(hashes *const h, const cf_download_item *const item, cf_error *const e)
{
    uint8_t found[CF_SHA256_LEN];
    char expected_hex[CF_SHA256_HEX_SIZE], found_hex[CF_SHA256_HEX_SIZE];

    CF_TRY(cf_hash_final(&h->sha256, found, e));
    cf_hex_render(cf_slice_of(item->sha256, CF_SHA256_LEN), expected_hex);
    cf_hex_render(cf_slice_of(found, CF_SHA256_LEN), found_hex);
    CF_ENSURE(memcmp(found, item->sha256, CF_SHA256_LEN) == 0, e, CF_ERR_DAMAGE,
              "its SHA-256 is %s, the manifest says %s", found_hex, expected_hex);
    if (!item->ends_with_md5)
        return CF_OK;
    CF_TRY(cf_hash_final(&h->md5, found, e));
    cf_hex_render(cf_slice_of(h->tail, CF_MD5_LEN), expected_hex);
    cf_hex_render(cf_slice_of(found, CF_MD5_LEN), found_hex);
    CF_ENSURE(memcmp(found, h->tail, CF_MD5_LEN) == 0, e, CF_ERR_DAMAGE,
              "its MD5 is %s, its last bytes say %s", found_hex, expected_hex);
    return CF_OK;
}

static cf_err content_check(cf_download_worker *const w, const cf_download_item *const item,
                            cf_error *const e)
{
    CF_CLEANUP(hashes_deinit) hashes h = {0};

    CF_TRY(length_check(w->d, item, e));
    CF_ENSURE(!item->ends_with_md5 || item->size_bytes >= MD5_TAIL_BYTES, e, CF_ERR_DAMAGE,
              "its %llu bytes cannot end with an MD5", (unsigned long long)item->size_bytes);
    CF_TRY(cf_hash_init(&h.sha256, CF_HASH_SHA256, e));
    if (item->ends_with_md5)
        CF_TRY(cf_hash_init(&h.md5, CF_HASH_MD5, e));
    CF_TRY(read_back(w, item, &h, e));
    CF_TRY(hashes_check(&h, item, e));
    /* Also what was there already: whoever wrote it may have been killed before it was on disk. */
    if (item->synced_later)
        return CF_OK;
    return w->d->opts.fs->ops->sync(w->d->opts.fs, item->fd, e);
}

cf_err cf_download_verify(cf_download_worker *const w, const cf_download_file *const f,
                          cf_error *const e)
{
    CF_TRY_AS(content_check(w, &f->item, e), e, "file '%s'", f->item.name);
    return CF_OK;
}
