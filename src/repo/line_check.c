/* SPDX-License-Identifier: Apache-2.0
 *
 * Rules of a line. The parser applies them to what the store gave, the renderer to what it is asked
 * to write: what one writes, the other reads.
 */
#include "repo/line_check.h"

#include <stdio.h>

#include "repo/json.h"
#include "repo/run.h"
#include "s3/base/num.h"

static const char *const type_names[CF_LINE_TYPE_TOTAL] = {
    [CF_LINE_FILE] = "file",
    [CF_LINE_DIR] = "dir",
    [CF_LINE_SYMLINK] = "symlink",
};

const char *cf_line_type_name(const cf_line_type type)
{
    CF_CHECK((unsigned)type < CF_LINE_TYPE_TOTAL);
    return type_names[type];
}

void cf_time_render_ns(const int64_t utc_ns, char ret[CF_TIME_NS_SIZE])
{
    const int64_t second_ns = 1000000000;
    const int64_t ns = (utc_ns % second_ns + second_ns) % second_ns;
    const int64_t utc_s = utc_ns / second_ns - (utc_ns % second_ns < 0 ? 1 : 0);
    char iso[CF_TIME_SIZE] = "";
    cf_time_render_iso(utc_s * 1000, iso);
    (void)snprintf(ret, CF_TIME_NS_SIZE, "%.19s.%09lldZ", iso, (long long)ns);
}

bool cf_time_parse_ns(const cf_slice text, int64_t *const ret_utc_ns)
{
    enum { HEAD = 19, LEN = 30 }; /* "2026-11-21T14:31:00", then ".123456789Z" */
    char whole[HEAD + 2] = "";
    int64_t utc_ms = 0;
    uint64_t ns = 0;
    if (text.len != LEN || text.ptr[HEAD] != '.' || text.ptr[LEN - 1] != 'Z')
        return false;
    memcpy(whole, text.ptr, HEAD);
    whole[HEAD] = 'Z';
    if (!cf_time_parse_iso(cf_slice_of(whole, HEAD + 1), &utc_ms) ||
        !cf_u64_parse(cf_slice_of(text.ptr + HEAD + 1, 9), &ns))
        return false;
    int64_t utc_ns = 0;
    if (utc_ms < 0 && ns > 0) { /* the lowest second of all may not fit before ns is added */
        utc_ms += 1000;
        return !__builtin_mul_overflow(utc_ms, INT64_C(1000000), &utc_ns) &&
               !__builtin_add_overflow(utc_ns, (int64_t)ns - 1000000000, ret_utc_ns);
    }
    return !__builtin_mul_overflow(utc_ms, INT64_C(1000000), &utc_ns) &&
           !__builtin_add_overflow(utc_ns, (int64_t)ns, ret_utc_ns);
}

static cf_err component_check(const cf_slice path, const cf_slice name, cf_error *const e)
{
    CF_ENSURE(name.len > 0, e, CF_ERR_DAMAGE, "path '%.*s' has an empty component",
              CF_SLICE_FMT(path));
    CF_ENSURE(name.len <= CF_NAME_LEN_MAX, e, CF_ERR_DAMAGE,
              "path '%.*s' has a component of %zu bytes, more than %d", CF_SLICE_FMT(path),
              name.len, CF_NAME_LEN_MAX);
    CF_ENSURE(!cf_slice_eq(name, cf_slice_str(".")), e, CF_ERR_DAMAGE,
              "path '%.*s' has a component '.'", CF_SLICE_FMT(path));
    CF_ENSURE(!cf_slice_eq(name, cf_slice_str("..")), e, CF_ERR_DAMAGE,
              "path '%.*s' has a component '..'", CF_SLICE_FMT(path));
    return CF_OK;
}

cf_err cf_path_check(const cf_slice path, cf_error *const e)
{
    CF_ENSURE(path.len > 0, e, CF_ERR_DAMAGE, "path is empty");
    CF_ENSURE(path.len <= CF_PATH_LEN_MAX, e, CF_ERR_DAMAGE, "path has %zu bytes, more than %d",
              path.len, CF_PATH_LEN_MAX);
    CF_ENSURE(memchr(path.ptr, '\0', path.len) == NULL, e, CF_ERR_DAMAGE, "path has a NUL byte");
    CF_ENSURE(path.ptr[0] != '/', e, CF_ERR_DAMAGE, "path '%.*s' is absolute", CF_SLICE_FMT(path));
    size_t from = 0;
    for (size_t i = 0; i <= path.len; i++) {
        if (i < path.len && path.ptr[i] != '/')
            continue;
        CF_TRY(component_check(path, cf_slice_of(path.ptr + from, i - from), e));
        from = i + 1;
    }
    return CF_OK;
}

int cf_file_line_cmp(const uint16_t step_a, const cf_slice path_a, const uint16_t step_b,
                     const cf_slice path_b)
{
    return step_a != step_b ? (step_a > step_b) - (step_a < step_b) : cf_slice_cmp(path_a, path_b);
}

static cf_err pack_name_check(const char *const pack, cf_error *const e)
{
    cf_slice kind = {NULL, 0};
    CF_ENSURE(pack != NULL && cf_object_name_parse(cf_slice_str(pack), NULL, NULL, &kind), e,
              CF_ERR_DAMAGE, "pack '%.300s' is not named '<run>/<number>-pack...'",
              pack == NULL ? "" : pack);
    CF_ENSURE(cf_slice_eq(kind, cf_slice_str("pack")), e, CF_ERR_DAMAGE,
              "pack '%s' is of another kind", pack);
    return CF_OK;
}

static cf_err frames_check(const cf_extent *const x, cf_error *const e)
{
    const uint64_t expected = (x->file_bytes + CF_FRAME_BYTES - 1) / CF_FRAME_BYTES;
    CF_ENSURE(x->frame_total == expected, e, CF_ERR_DAMAGE,
              "extent at %llu has %u frames, its %llu bytes make %llu",
              (unsigned long long)x->file_offset, (unsigned)x->frame_total,
              (unsigned long long)x->file_bytes, (unsigned long long)expected);
    uint64_t sum = 0;
    for (uint32_t i = 0; i < x->frame_total; i++) {
        CF_ENSURE(x->frame_bytes[i] > 0 && x->frame_bytes[i] <= CF_FRAME_READ_MAX, e, CF_ERR_DAMAGE,
                  "extent at %llu has a frame of %u bytes, outside 1..%d",
                  (unsigned long long)x->file_offset, (unsigned)x->frame_bytes[i],
                  CF_FRAME_READ_MAX);
        sum += x->frame_bytes[i];
    }
    CF_ENSURE(sum == x->stored_bytes, e, CF_ERR_DAMAGE,
              "extent at %llu has frames of %llu bytes and a length of %llu",
              (unsigned long long)x->file_offset, (unsigned long long)sum,
              (unsigned long long)x->stored_bytes);
    return CF_OK;
}

static cf_err extent_check(const cf_file_line *const l, const cf_extent *const x,
                           const uint64_t end, cf_error *const e)
{
    const unsigned long long at = x->file_offset;
    CF_TRY(pack_name_check(x->pack, e));
    CF_ENSURE(x->file_bytes >= 1 && x->file_bytes <= CF_PACK_SOURCE_MAX, e, CF_ERR_DAMAGE,
              "extent at %llu has %llu bytes of the file, outside 1..%d", at,
              (unsigned long long)x->file_bytes, CF_PACK_SOURCE_MAX);
    CF_ENSURE(x->file_offset >= end, e, CF_ERR_DAMAGE,
              "extent at %llu overlaps the one before, which ends at %llu", at,
              (unsigned long long)end);
    CF_ENSURE(x->file_offset <= l->size_bytes && x->file_bytes <= l->size_bytes - x->file_offset, e,
              CF_ERR_DAMAGE, "extent at %llu of %llu bytes leaves the file of %llu", at,
              (unsigned long long)x->file_bytes, (unsigned long long)l->size_bytes);
    CF_ENSURE(x->stored_bytes >= 1 && x->stored_bytes <= CF_NUMBER_MAX, e, CF_ERR_DAMAGE,
              "extent at %llu has a length of %llu", at, (unsigned long long)x->stored_bytes);
    CF_ENSURE(x->pack_offset <= CF_NUMBER_MAX - x->stored_bytes, e, CF_ERR_DAMAGE,
              "extent at %llu begins at %llu of its pack", at, (unsigned long long)x->pack_offset);
    return x->frame_bytes == NULL ? CF_OK : frames_check(x, e);
}

static cf_err content_check(const cf_file_line *const l, cf_error *const e)
{
    if (l->type != CF_LINE_FILE) {
        CF_ENSURE(l->size_bytes == 0 && !l->is_inline && l->extent_total == 0 && !l->is_withheld, e,
                  CF_ERR_DAMAGE, "a %s has no content", cf_line_type_name(l->type));
        return CF_OK;
    }
    CF_ENSURE(l->has_sha256 || l->is_withheld, e, CF_ERR_DAMAGE, "'sha256' is missing");
    CF_ENSURE(!l->is_withheld || (!l->is_inline && l->extent_total == 0), e, CF_ERR_DAMAGE,
              "a withheld file has content");
    if (l->is_inline) {
        CF_ENSURE(l->extent_total == 0, e, CF_ERR_DAMAGE, "an inline file has extents");
        CF_ENSURE(l->content.len <= CF_INLINE_LEN_MAX, e, CF_ERR_DAMAGE,
                  "inline content has %zu bytes, more than %d", l->content.len, CF_INLINE_LEN_MAX);
        CF_ENSURE(l->content.len == l->size_bytes, e, CF_ERR_DAMAGE,
                  "inline content has %zu bytes, the file %llu", l->content.len,
                  (unsigned long long)l->size_bytes);
    }
    uint64_t end = 0;
    for (size_t i = 0; i < l->extent_total; i++) {
        CF_TRY(extent_check(l, &l->extents[i], end, e));
        end = l->extents[i].file_offset + l->extents[i].file_bytes;
    }
    return CF_OK;
}

cf_err cf_file_line_check(const cf_file_line *const l, cf_error *const e)
{
    const size_t klass_len = l->klass == NULL ? 0 : strnlen(l->klass, CF_CLASS_LEN_MAX + 1);
    CF_TRY(cf_path_check(l->path, e));
    CF_ENSURE(l->size_bytes <= CF_NUMBER_MAX, e, CF_ERR_DAMAGE, "'size' is %llu, more than %llu",
              (unsigned long long)l->size_bytes, (unsigned long long)CF_NUMBER_MAX);
    CF_ENSURE(l->mode <= 07777, e, CF_ERR_DAMAGE, "'mode' is 0%o, more than 07777",
              (unsigned)l->mode);
    CF_ENSURE(klass_len >= 1 && klass_len <= CF_CLASS_LEN_MAX, e, CF_ERR_DAMAGE,
              "'class' has %zu bytes, outside 1..%d", klass_len, CF_CLASS_LEN_MAX);
    CF_ENSURE(cf_utf8_valid(cf_slice_of(l->klass, klass_len)), e, CF_ERR_DAMAGE,
              "'class' is not UTF-8");
    CF_ENSURE(l->cert_header.len <= CF_CERT_LEN_MAX, e, CF_ERR_DAMAGE,
              "the certificate's header has %zu bytes, more than %d", l->cert_header.len,
              CF_CERT_LEN_MAX);
    CF_ENSURE(l->cert_footer.len <= CF_CERT_LEN_MAX, e, CF_ERR_DAMAGE,
              "the certificate's footer has %zu bytes, more than %d", l->cert_footer.len,
              CF_CERT_LEN_MAX);
    CF_ENSURE((l->type == CF_LINE_SYMLINK) == (l->target.len > 0), e, CF_ERR_DAMAGE,
              "a %s with a target of %zu bytes", cf_line_type_name(l->type), l->target.len);
    CF_ENSURE(l->target.len <= CF_PATH_LEN_MAX, e, CF_ERR_DAMAGE,
              "'target' has %zu bytes, more than %d", l->target.len, CF_PATH_LEN_MAX);
    CF_ENSURE(l->target.len == 0 || memchr(l->target.ptr, '\0', l->target.len) == NULL, e,
              CF_ERR_DAMAGE, "'target' has a NUL byte");
    return content_check(l, e);
}

cf_err cf_pack_line_check(const cf_pack_line *const l, cf_error *const e)
{
    CF_TRY(pack_name_check(l->pack, e));
    if (l->origin != NULL)
        CF_TRY_AS(pack_name_check(l->origin, e), e, "'origin'");
    CF_ENSURE(l->stored_bytes >= 1 && l->stored_bytes <= CF_NUMBER_MAX, e, CF_ERR_DAMAGE,
              "'size' is %llu", (unsigned long long)l->stored_bytes);
    CF_ENSURE(l->used_bytes <= l->stored_bytes, e, CF_ERR_DAMAGE, "'used' is %llu of %llu bytes",
              (unsigned long long)l->used_bytes, (unsigned long long)l->stored_bytes);
    CF_ENSURE(l->digest.kind != CF_DIGEST_SHA256_PARTS ||
                  (l->digest.part_bytes >= 1 && l->digest.part_bytes <= CF_NUMBER_MAX),
              e, CF_ERR_DAMAGE, "'part' is %llu", (unsigned long long)l->digest.part_bytes);
    return CF_OK;
}
