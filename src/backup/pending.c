/* SPDX-License-Identifier: Apache-2.0
 *
 * Pending: a file between the plan and the manifest. The parent's line is copied, since the cursor
 * goes on.
 */
#include "backup/backup.h"
#include "s3/base/alloc.h"
#include "s3/base/cleanup.h"

/* Bytes behind the struct for what a line points to. */
static size_t line_extra_bytes(const cf_file_line *const l)
{
    size_t n = l->cert_header.len + l->cert_footer.len + l->content.len +
               l->extent_total * sizeof(cf_extent);

    for (size_t i = 0; i < l->extent_total; i++)
        n += strlen(l->extents[i].pack) + 1 + l->extents[i].frame_total * sizeof(uint32_t);
    return n;
}

/* Takes len bytes from the area at *at. */
static void *area_take(uint8_t **const at, const void *const from, const size_t len)
{
    void *const to = *at;

    if (len > 0)
        memcpy(to, from, len);
    *at += len;
    return to;
}

static cf_slice area_take_slice(uint8_t **const at, const cf_slice s)
{
    return cf_slice_of(area_take(at, s.ptr, s.len), s.len);
}

/* What a reused or compared file needs of its line: certificate, digest, extents. Alignment:
 * extents, then frames, then bytes. */
static cf_err line_dup(const cf_file_line *const l, cf_file_line **const ret, cf_error *const e)
{
    cf_file_line *const d = cf_alloc(1, sizeof(*d) + line_extra_bytes(l));

    CF_ENSURE(d != NULL, e, CF_ERR_NO_MEMORY, "copy the parent's line of '%.*s'",
              CF_SLICE_FMT(l->path));
    *d = *l;
    uint8_t *at = (uint8_t *)(d + 1);
    cf_extent *const extents = area_take(&at, l->extents, l->extent_total * sizeof(cf_extent));
    for (size_t i = 0; i < l->extent_total; i++)
        extents[i].frame_bytes = l->extents[i].frame_total == 0
                                     ? NULL
                                     : area_take(&at, l->extents[i].frame_bytes,
                                                 l->extents[i].frame_total * sizeof(uint32_t));
    for (size_t i = 0; i < l->extent_total; i++)
        extents[i].pack = area_take(&at, l->extents[i].pack, strlen(l->extents[i].pack) + 1);
    d->extents = extents;
    d->cert_header = area_take_slice(&at, l->cert_header);
    d->cert_footer = area_take_slice(&at, l->cert_footer);
    d->content = area_take_slice(&at, l->content);
    d->path = (cf_slice){0}; /* the entry's path is the same */
    d->target = (cf_slice){0};
    d->klass = NULL;
    *ret = d;
    return CF_OK;
}

cf_err cf_pending_new(cf_entry *const entry, const cf_file_line *const prior,
                      cf_pending **const ret, cf_error *const e)
{
    CF_CLEANUP(cf_pending_freep) cf_pending *p = NULL;

    CF_NEW(p, e);
    p->entry = entry;
    if (prior != NULL)
        CF_TRY(line_dup(prior, &p->prior, e));
    *ret = CF_STEAL(p);
    return CF_OK;
}

void cf_pending_free(cf_pending *const p)
{
    if (p == NULL)
        return;
    cf_free(p->prior);
    cf_free(p);
}
