/* SPDX-License-Identifier: Apache-2.0
 *
 * Hash: SHA-256 and MD5 of whole files, so one thread, in order. Runs before the workers, because
 * they give the block away.
 */
#include "pipe/file_digest.h"
#include "pipe/upload_inner.h"

enum {
    ZEROS_BYTES = 128 * 1024,            /* of a hole, hashed again and again */
    CERT_READ_MIN = 2 * CF_CERT_LEN_MAX, /* a smaller file has no certificate */
};

/* The running hashes of the file under way. */
typedef struct hasher {
    cf_file_digest digest;
    uint8_t tail[CF_CERT_LEN_MAX]; /* the last bytes so far, right-aligned */
} hasher;

static void hasher_deinit(hasher *const h)
{
    cf_file_digest_deinit(&h->digest);
}

static cf_err file_begin(hasher *const h, const cf_piece *const p, cf_error *const e)
{
    const cf_upload_item *const item = &p->file->item;

    CF_TRY(cf_file_digest_init(&h->digest, item->ends_with_md5, item->read_bytes, e));
    memset(h->tail, 0, sizeof(h->tail));
    if (item->read_bytes >= CERT_READ_MIN && p->source_bytes >= CERT_READ_MIN && !p->hole)
        memcpy(p->file->result.head, p->block->data, CF_CERT_LEN_MAX);
    return CF_OK;
}

static void tail_keep(hasher *const h, const cf_slice s)
{
    const size_t fresh = s.len < sizeof(h->tail) ? s.len : sizeof(h->tail);

    memmove(h->tail, h->tail + fresh, sizeof(h->tail) - fresh);
    memcpy(h->tail + sizeof(h->tail) - fresh, s.ptr + s.len - fresh, fresh);
}

static cf_err bytes_update(hasher *const h, const cf_piece *const p, cf_error *const e)
{
    const cf_slice s = cf_slice_of(p->block->data, p->source_bytes);

    CF_TRY(cf_file_digest_update(&h->digest, s, e));
    tail_keep(h, s);
    p->file->result.read_bytes += p->source_bytes;
    return CF_OK;
}

/* A hole may be huge: look at the wish to stop. */
static cf_err hole_update(const cf_upload *const u, hasher *const h, uint64_t left,
                          cf_error *const e)
{
    static const uint8_t zeros[ZEROS_BYTES];

    for (uint32_t slices = 0; left > 0; slices++) {
        const cf_slice s = cf_slice_of(zeros, left < sizeof(zeros) ? (size_t)left : sizeof(zeros));
        if (slices % 64 == 0)
            CF_TRY(cf_upload_check_stop(u, e));
        CF_TRY(cf_file_digest_update(&h->digest, s, e));
        left -= s.len;
    }
    return CF_OK;
}

static cf_err file_end(const cf_upload *const u, hasher *const h, const cf_piece *const p,
                       cf_error *const e)
{
    const cf_upload_item *const item = &p->file->item;
    cf_upload_result *const r = &p->file->result;

    r->size_bytes = p->cut ? p->file_offset + p->source_bytes : item->size_bytes;
    if (!p->cut)
        CF_TRY(hole_update(u, h, item->size_bytes - item->read_bytes, e));
    CF_TRY(cf_file_digest_end(&h->digest, r->sha256, e));
    if (item->read_bytes >= CERT_READ_MIN)
        memcpy(r->tail, h->tail, sizeof(r->tail));
    if (item->ends_with_md5) {
        memcpy(r->md5_expected, h->digest.md5_expected, CF_MD5_LEN);
        memcpy(r->md5_found, h->digest.md5_found, CF_MD5_LEN);
        r->md5_ok = item->read_bytes >= CF_MD5_LEN &&
                    memcmp(r->md5_expected, r->md5_found, CF_MD5_LEN) == 0;
    }
    return CF_OK;
}

static cf_err piece_hash(const cf_upload *const u, hasher *const h, const cf_piece *const p,
                         cf_error *const e)
{
    if (p->file->item.how == CF_UPLOAD_READY)
        return CF_OK;
    if (p->first)
        CF_TRY(file_begin(h, p, e));
    if (p->hole)
        CF_TRY(hole_update(u, h, p->source_bytes, e));
    else if (p->source_bytes > 0)
        CF_TRY(bytes_update(h, p, e));
    return p->last ? file_end(u, h, p, e) : CF_OK;
}

static cf_piece *piece_take(cf_upload *const u)
{
    CF_UPLOAD_HOLD(u);

    while (!cf_upload_ended(u) && u->hashed_at == u->read_at)
        cf_upload_wait(u, CF_STAGE_HASH);
    return cf_upload_ended(u) ? NULL : cf_upload_piece_at(u, u->hashed_at);
}

static void piece_done(cf_upload *const u)
{
    CF_UPLOAD_HOLD(u);

    u->hashed_at++;
    cf_upload_wake(u, CF_STAGE_WORK);
}

void *cf_upload_run_hash(void *const upload)
{
    cf_upload *const u = upload;
    CF_CLEANUP(hasher_deinit) hasher h = {0};
    cf_error e = {0};

    for (const cf_piece *p = piece_take(u); p != NULL; p = piece_take(u)) {
        const cf_err err = piece_hash(u, &h, p, &e);
        if (err != CF_OK)
            cf_upload_fail(u, err, &e);
        else
            piece_done(u);
    }
    return NULL;
}
