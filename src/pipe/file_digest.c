/* SPDX-License-Identifier: Apache-2.0
 *
 * A file's bytes come in two lengths: what the MD5 is of, then its 16 bytes and all that follows.
 */
#include "pipe/file_digest.h"

#include <string.h>

cf_err cf_file_digest_init(cf_file_digest *const d, const bool with_md5, const uint64_t size_bytes,
                           cf_error *const e)
{
    d->with_md5 = with_md5;
    d->at = 0;
    d->md5_end = size_bytes < CF_MD5_LEN ? 0 : size_bytes - CF_MD5_LEN;
    if (!with_md5)
        return cf_hash_init(&d->sha256, CF_HASH_SHA256, e);
    memset(d->md5_found, 0, sizeof(d->md5_found));
    memset(d->md5_expected, 0, sizeof(d->md5_expected));
    CF_TRY(cf_hash_pair_init(&d->pair, /* plain= */ false, e));
    return d->md5_end > 0 ? CF_OK : cf_hash_pair_md5(&d->pair, d->md5_found, e);
}

/* Behind md5_end: the 16 bytes are kept. */
static void expected_keep(cf_file_digest *const d, const cf_slice s)
{
    const uint64_t from = d->at - d->md5_end;
    const size_t room = from < CF_MD5_LEN ? CF_MD5_LEN - (size_t)from : 0;

    if (room > 0)
        memcpy(d->md5_expected + from, s.ptr, s.len < room ? s.len : room);
}

cf_err cf_file_digest_update(cf_file_digest *const d, cf_slice s, cf_error *const e)
{
    if (s.len == 0) /* it may point nowhere */
        return CF_OK;
    if (!d->with_md5)
        return cf_hash_update(&d->sha256, s, e);
    const uint64_t left = d->at < d->md5_end ? d->md5_end - d->at : 0;
    const size_t both = left < s.len ? (size_t)left : s.len;

    if (both > 0) {
        CF_TRY(cf_hash_pair_update(&d->pair, cf_slice_of(s.ptr, both), e));
        d->at += both;
        if (d->at == d->md5_end)
            CF_TRY(cf_hash_pair_md5(&d->pair, d->md5_found, e));
    }
    s = cf_slice_of(s.ptr + both, s.len - both);
    if (s.len == 0)
        return CF_OK;
    expected_keep(d, s);
    d->at += s.len;
    return cf_hash_pair_update(&d->pair, s, e);
}

cf_err cf_file_digest_end(cf_file_digest *const d, uint8_t ret_sha256[CF_SHA256_LEN],
                          cf_error *const e)
{
    return d->with_md5 ? cf_hash_pair_sha256(&d->pair, ret_sha256, e)
                       : cf_hash_final(&d->sha256, ret_sha256, e);
}

void cf_file_digest_deinit(cf_file_digest *const d)
{
    cf_hash_deinit(&d->sha256);
    cf_hash_pair_deinit(&d->pair);
}
