/* SPDX-License-Identifier: Apache-2.0
 *
 * Segments in, lines out. The stored bytes are proved by their SHA-256 before anything looks into
 * them; what they decompress to is bounded all the same, since a root can be wrong too.
 */
#include "repo/manifest.h"
#include "repo/segment.h"
#include "repo/text.h"
#include "s3/base/alloc.h"
#include "s3/base/hash.h"

struct cf_segment_reader {
    cf_text text;
    const cf_segment *segment;
};

cf_err cf_segment_reader_new(cf_segment_reader **const ret, cf_error *const e)
{
    CF_CLEANUP(cf_segment_reader_freep) cf_segment_reader *r = NULL;
    CF_NEW(r, e);
    r->text.bytes_max = CF_SEGMENT_SOURCE_MAX;
    CF_TRY(cf_text_init(&r->text, e));
    *ret = CF_STEAL(r);
    return CF_OK;
}

void cf_segment_reader_free(cf_segment_reader *const r)
{
    if (r == NULL)
        return;
    cf_text_deinit(&r->text);
    cf_free(r);
}

cf_err cf_segment_reader_begin(cf_segment_reader *const r, const cf_segment *const s,
                               const cf_slice stored, cf_error *const e)
{
    r->segment = s;
    return cf_text_begin(&r->text, (ZSTD_inBuffer){stored.ptr, stored.len, 0}, e);
}

static cf_err next_checked(cf_segment_reader *const r, cf_slice *const ret, cf_error *const e)
{
    CF_TRY(cf_text_next(&r->text, ret, e));
    const unsigned long long expected = r->segment->lines_total;
    if (ret->len == 0) {
        CF_ENSURE(r->text.lines == expected, e, CF_ERR_DAMAGE, "has %llu lines, the root says %llu",
                  (unsigned long long)r->text.lines, expected);
        return CF_OK;
    }
    CF_ENSURE(r->text.lines <= expected, e, CF_ERR_DAMAGE,
              "has more lines than the %llu of the root", expected);
    return CF_OK;
}

cf_err cf_segment_reader_next(cf_segment_reader *const r, cf_slice *const ret, cf_error *const e)
{
    CF_TRY_AS(next_checked(r, ret, e), e, "segment '%s'", r->segment->key);
    return CF_OK;
}

static cf_err check_stored(const cf_segment *const s, const cf_slice stored, cf_error *const e)
{
    uint8_t digest[CF_SHA256_LEN] = {0};
    CF_ENSURE(stored.len == s->stored_bytes, e, CF_ERR_DAMAGE,
              "segment '%s' has %zu bytes, the root says %llu", s->key, stored.len,
              (unsigned long long)s->stored_bytes);
    CF_TRY(cf_sha256(stored, digest, e));
    CF_ENSURE(memcmp(digest, s->sha256, sizeof(digest)) == 0, e, CF_ERR_DAMAGE,
              "segment '%s' has another SHA-256 than the root says", s->key);
    return CF_OK;
}

cf_err cf_segment_fetch(const cf_repo *const repo, const char *const node,
                        const cf_segment *const s, cf_buf *const ret, cf_error *const e)
{
    char key[CF_KEY_LEN_MAX + 1];
    cf_key_of_object(key, node, s->key);
    const cf_err err = cf_store_get_small(repo->store, key, ret, e);
    CF_ENSURE(err != CF_ERR_NOT_FOUND, e, CF_ERR_DAMAGE, "segment '%s' is gone", s->key);
    CF_ENSURE(err != CF_ERR_TOO_LARGE, e, CF_ERR_DAMAGE, "segment '%s' has more than %d bytes",
              s->key, CF_SEGMENT_STORED_MAX);
    CF_TRY(err);
    return check_stored(s, cf_buf_slice(ret), e);
}
