/* SPDX-License-Identifier: Apache-2.0
 *
 * Verify: hash a file's bytes on their way to the disk, compare with its SHA-256 and its own MD5,
 * have it on disk; and read back what was there already, or what is wanted so.
 */
#include "pipe/download_inner.h"

/* Zeros that are on no disk need not be read to be known. */
static cf_err hole_add(const cf_download *const d, cf_file_digest *const h, uint64_t offset,
                       const uint64_t to, cf_error *const e)
{
    enum { SLICE_BYTES = 256 * 1024 };
    static const uint8_t zeros[SLICE_BYTES];

    while (offset < to) {
        const size_t len = to - offset < sizeof(zeros) ? (size_t)(to - offset) : sizeof(zeros);

        CF_TRY(cf_download_check_stop(d, e));
        CF_TRY(cf_file_digest_update(h, cf_slice_of(zeros, len), e));
        offset += len;
    }
    return CF_OK;
}

/* On the way; what is read back later has its MD5 checked then. */
static bool md5_inline(const cf_download_item *const item)
{
    return item->ends_with_md5 && !item->read_back;
}

cf_err cf_download_hash(cf_download *const d, cf_download_file *const f, const uint64_t from,
                        const uint64_t offset, const cf_slice content, cf_error *const e)
{
    if (!f->digest_begun)
        CF_TRY(cf_file_digest_init(&f->digest, md5_inline(&f->item), f->item.size_bytes, e));
    f->digest_begun = true;
    CF_TRY(hole_add(d, &f->digest, from, offset, e));
    CF_TRY(cf_file_digest_update(&f->digest, content, e));
    (void)atomic_fetch_add(&d->verified_bytes, content.len);
    return CF_OK;
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

/* Where data goes on behind offset; files with an MD5 of their own are read whole. */
static uint64_t data_seek(const cf_download *const d, const cf_download_item *const item,
                          const uint64_t offset)
{
    uint64_t data = offset;

    if (item->ends_with_md5 || item->size_bytes <= CF_DOWNLOAD_READ_BYTES ||
        d->opts.fs->ops->seek_data(d->opts.fs, item->fd, offset, &data, NULL) != CF_OK)
        return offset;
    return data < item->size_bytes ? data : item->size_bytes;
}

static cf_err digest_check(cf_file_digest *const h, const cf_download_item *const item,
                           cf_error *const e)
{
    uint8_t found[CF_SHA256_LEN];
    char expected_hex[CF_SHA256_HEX_SIZE], found_hex[CF_SHA256_HEX_SIZE];

    CF_TRY(cf_file_digest_end(h, found, e));
    cf_hex_render(cf_slice_of(item->sha256, CF_SHA256_LEN), expected_hex);
    cf_hex_render(cf_slice_of(found, CF_SHA256_LEN), found_hex);
    CF_ENSURE(memcmp(found, item->sha256, CF_SHA256_LEN) == 0, e, CF_ERR_DAMAGE,
              "its SHA-256 is %s, the manifest says %s", found_hex, expected_hex);
    if (!h->with_md5)
        return CF_OK;
    cf_hex_render(cf_slice_of(h->md5_expected, CF_MD5_LEN), expected_hex);
    cf_hex_render(cf_slice_of(h->md5_found, CF_MD5_LEN), found_hex);
    CF_ENSURE(memcmp(h->md5_found, h->md5_expected, CF_MD5_LEN) == 0, e, CF_ERR_DAMAGE,
              "its MD5 is %s, its last bytes say %s\nHINT: a backup with --no-verify-source stores "
              "a damaged file as it found it; restore --no-verify-source gives it back so",
              found_hex, expected_hex);
    return CF_OK;
}

static cf_err read_back(cf_download_worker *const w, const cf_download_item *const item,
                        cf_error *const e)
{
    cf_download *const d = w->d;
    const cf_fs *const fs = d->opts.fs;
    CF_CLEANUP(cf_file_digest_deinit) cf_file_digest h = {0};
    uint8_t *bytes = NULL;

    CF_TRY(cf_file_digest_init(&h, item->ends_with_md5, item->size_bytes, e));
    CF_TRY(cf_frames_borrow(w->frames, &bytes, e));
    for (uint64_t offset = 0; offset < item->size_bytes;) {
        const uint64_t data = data_seek(d, item, offset);

        CF_TRY(hole_add(d, &h, offset, data, e));
        offset = data;
        const uint64_t left = item->size_bytes - offset;
        const size_t len = left < CF_DOWNLOAD_READ_BYTES ? (size_t)left : CF_DOWNLOAD_READ_BYTES;
        size_t got = 0;

        CF_TRY(cf_download_check_stop(d, e));
        CF_TRY(fs->ops->pread(fs, item->fd, bytes, len, offset, &got, e));
        CF_ENSURE(got == len, e, CF_ERR_DAMAGE, "it ended at %llu of %llu bytes",
                  (unsigned long long)(offset + got), (unsigned long long)item->size_bytes);
        CF_TRY(cf_file_digest_update(&h, cf_slice_of(bytes, len), e));
        offset += len;
        (void)atomic_fetch_add(&d->verified_bytes, len);
    }
    return digest_check(&h, item, e);
}

/* All of it passed by and was written: a hole may be left at its end. */
static cf_err written_check(cf_download *const d, cf_download_file *const f, cf_error *const e)
{
    uint64_t hashed = 0;

    CF_TRY(cf_download_turn_wait(d, f, /* follows= */ 0, &hashed, e));
    CF_TRY(cf_download_hash(d, f, hashed, f->item.size_bytes, cf_slice_of(NULL, 0), e));
    return digest_check(&f->digest, &f->item, e);
}

static cf_err content_check(cf_download_worker *const w, cf_download_file *const f,
                            cf_error *const e)
{
    const cf_download_item *const item = &f->item;
    const cf_fs *const fs = w->d->opts.fs;

    CF_TRY(length_check(w->d, item, e));
    if (item->verify_only)
        CF_TRY(read_back(w, item, e));
    else
        CF_TRY(written_check(w->d, f, e));
    /* Also what was there already: whoever wrote it may have been killed before it was on disk. */
    if (!item->synced_later || item->read_back)
        CF_TRY(fs->ops->sync(fs, item->fd, e));
    if (item->verify_only || !item->read_back)
        return CF_OK;
    fs->ops->set_direct(fs, item->fd, /* on= */ false);
    return read_back(w, item, e);
}

cf_err cf_download_verify(cf_download_worker *const w, cf_download_file *const f, cf_error *const e)
{
    CF_TRY_AS(content_check(w, f, e), e, "file '%s'", f->item.name);
    return CF_OK;
}
