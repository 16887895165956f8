/* SPDX-License-Identifier: Apache-2.0
 *
 * Lines to text, by hand: a fixed order of keys makes equal lines equal bytes, and equal segments
 * cost nothing.
 */
#include "repo/json.h"
#include "repo/line.h"
#include "repo/line_check.h"

/* "key": text, or "key_b64": base64 when it is not UTF-8; after a comma. */
static cf_err put_bytes(cf_buf *const b, const char *const key, const cf_slice bytes,
                        cf_error *const e)
{
    if (cf_utf8_valid(bytes)) {
        CF_TRY(cf_buf_printf(b, e, ",\"%s\":", key));
        return cf_json_put_str(b, bytes, e);
    }
    CF_TRY(cf_buf_printf(b, e, ",\"%s_b64\":", key));
    return cf_json_put_base64(b, bytes, e);
}

static cf_err put_owner_and_times(cf_buf *const b, const cf_file_line *const l, cf_error *const e)
{
    char time[CF_TIME_NS_SIZE] = "";
    cf_time_render_ns(l->mtime_ns, time);
    CF_TRY(cf_buf_printf(b, e, ",\"mode\":\"%04o\",\"uid\":%u,\"gid\":%u,\"mtime\":\"%s\"",
                         (unsigned)l->mode, (unsigned)l->uid, (unsigned)l->gid, time));
    if (!l->has_identity)
        return CF_OK;
    cf_time_render_ns(l->ctime_ns, time);
    return cf_buf_printf(b, e, ",\"ctime\":\"%s\",\"ino\":\"%llu\"", time,
                         (unsigned long long)l->ino);
}

static cf_err put_certificate(cf_buf *const b, const cf_file_line *const l, cf_error *const e)
{
    if (l->cert_header.len == 0 && l->cert_footer.len == 0)
        return CF_OK;
    CF_TRY(cf_buf_append_str(b, ",\"cert\":{\"header\":", e));
    CF_TRY(cf_json_put_base64(b, l->cert_header, e));
    CF_TRY(cf_buf_append_str(b, ",\"footer\":", e));
    CF_TRY(cf_json_put_base64(b, l->cert_footer, e));
    return cf_buf_append_char(b, '}', e);
}

static cf_err put_extent(cf_buf *const b, const cf_extent *const x, cf_error *const e)
{
    CF_TRY(cf_buf_printf(
        b, e, "{\"off\":%llu,\"size\":%llu,\"pack\":\"%s\",\"at\":%llu,\"len\":%llu",
        (unsigned long long)x->file_offset, (unsigned long long)x->file_bytes, x->pack,
        (unsigned long long)x->pack_offset, (unsigned long long)x->stored_bytes));
    if (x->frame_bytes != NULL) {
        for (uint32_t i = 0; i < x->frame_total; i++)
            CF_TRY(cf_buf_printf(b, e, "%s%u", i == 0 ? ",\"frames\":[" : ",",
                                 (unsigned)x->frame_bytes[i]));
        CF_TRY(cf_buf_append_char(b, ']', e));
    }
    if (x->has_sha256) {
        CF_TRY(cf_buf_append_str(b, ",\"sha256\":", e));
        CF_TRY(cf_json_put_sha256(b, x->sha256, e));
    }
    return cf_buf_append_char(b, '}', e);
}

static cf_err put_content(cf_buf *const b, const cf_file_line *const l, cf_error *const e)
{
    if (l->has_sha256) {
        CF_TRY(cf_buf_append_str(b, ",\"sha256\":", e));
        CF_TRY(cf_json_put_sha256(b, l->sha256, e));
    }
    if (l->md5_unchecked)
        CF_TRY(cf_buf_append_str(b, ",\"md5_unchecked\":true", e));
    if (l->is_withheld)
        CF_TRY(cf_buf_append_str(b, ",\"withheld\":true", e));
    if (l->is_inline) {
        CF_TRY(cf_buf_append_str(b, ",\"inline\":", e));
        CF_TRY(cf_json_put_base64(b, l->content, e));
    }
    if (l->extent_total == 0)
        return CF_OK;
    for (size_t i = 0; i < l->extent_total; i++) {
        CF_TRY(cf_buf_append_str(b, i == 0 ? ",\"extents\":[" : ",", e));
        CF_TRY(put_extent(b, &l->extents[i], e));
    }
    return cf_buf_append_char(b, ']', e);
}

cf_err cf_file_line_render(const cf_file_line *const l, cf_buf *const ret, cf_error *const e)
{
    const size_t begin = ret->len;
    CF_TRY(cf_file_line_check(l, e));
    CF_TRY(cf_buf_printf(ret, e, "{\"step\":%u", (unsigned)l->step));
    CF_TRY(put_bytes(ret, "path", l->path, e));
    CF_TRY(cf_buf_printf(ret, e, ",\"type\":\"%s\"", cf_line_type_name(l->type)));
    if (l->type == CF_LINE_SYMLINK)
        CF_TRY(put_bytes(ret, "target", l->target, e));
    if (l->type == CF_LINE_FILE)
        CF_TRY(cf_buf_printf(ret, e, ",\"size\":%llu", (unsigned long long)l->size_bytes));
    CF_TRY(put_owner_and_times(ret, l, e));
    CF_TRY(cf_buf_append_str(ret, ",\"class\":", e));
    CF_TRY(cf_json_put_str(ret, cf_slice_str(l->klass), e));
    CF_TRY(put_certificate(ret, l, e));
    CF_TRY(put_content(ret, l, e));
    CF_TRY(cf_buf_append_str(ret, "}\n", e));
    CF_ENSURE(ret->len - begin <= CF_LINE_LEN_MAX, e, CF_ERR_TOO_LARGE,
              "the line of '%.*s' has %zu bytes, more than %d", CF_SLICE_FMT(l->path),
              ret->len - begin, CF_LINE_LEN_MAX);
    return CF_OK;
}

cf_err cf_pack_line_render(const cf_pack_line *const l, cf_buf *const ret, cf_error *const e)
{
    CF_TRY(cf_pack_line_check(l, e));
    CF_TRY(cf_buf_printf(
        ret, e, "{\"pack\":\"%s\",\"size\":%llu,\"used\":%llu,\"digest\":{\"alg\":\"%s\"", l->pack,
        (unsigned long long)l->stored_bytes, (unsigned long long)l->used_bytes,
        l->digest.kind == CF_DIGEST_SHA256 ? "sha256" : "sha256-parts"));
    if (l->digest.kind == CF_DIGEST_SHA256_PARTS)
        CF_TRY(cf_buf_printf(ret, e, ",\"part\":%llu", (unsigned long long)l->digest.part_bytes));
    CF_TRY(cf_buf_append_str(ret, ",\"value\":", e));
    CF_TRY(cf_json_put_sha256(ret, l->digest.sha256, e));
    CF_TRY(cf_buf_append_char(ret, '}', e));
    if (l->origin != NULL)
        CF_TRY(cf_buf_printf(ret, e, ",\"origin\":\"%s\"", l->origin));
    return cf_buf_append_str(ret, "}\n", e);
}
