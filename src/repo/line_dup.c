/* SPDX-License-Identifier: Apache-2.0
 *
 * A line that outlives its cursor: one allocation, the struct first, behind it what it points to.
 */
#include "repo/line.h"
#include "s3/base/alloc.h"

size_t cf_file_line_dup_bytes(const cf_file_line *const l)
{
    size_t n = sizeof(*l) + l->path.len + l->target.len + l->cert_header.len + l->cert_footer.len +
               l->content.len + strlen(l->klass) + 1 + l->extent_total * sizeof(cf_extent);

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

/* Alignment: extents, then frames, then bytes. */
cf_err cf_file_line_dup(const cf_file_line *const l, cf_file_line **const ret, cf_error *const e)
{
    cf_file_line *const d = cf_alloc(1, cf_file_line_dup_bytes(l));

    CF_ENSURE(d != NULL, e, CF_ERR_NO_MEMORY, "copy the line of '%.*s'", CF_SLICE_FMT(l->path));
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
    d->klass = area_take(&at, l->klass, strlen(l->klass) + 1);
    d->path = area_take_slice(&at, l->path);
    d->target = area_take_slice(&at, l->target);
    d->cert_header = area_take_slice(&at, l->cert_header);
    d->cert_footer = area_take_slice(&at, l->cert_footer);
    d->content = area_take_slice(&at, l->content);
    *ret = d;
    return CF_OK;
}
