/* SPDX-License-Identifier: Apache-2.0
 *
 * Text to lines. A line comes from the store: each member is checked for type and range as it is
 * taken, the whole by the rules of line_check.c.
 */
#include "repo/json.h"
#include "repo/line.h"
#include "repo/line_check.h"
#include "repo/run.h"
#include "s3/base/alloc.h"
#include "s3/base/hash.h"
#include "s3/base/num.h"

struct cf_line_store {
    json_t *json;                                           /* owned; the strings of the line */
    uint8_t path[CF_PATH_LEN_MAX], target[CF_PATH_LEN_MAX]; /* decoded from base64 */
    uint8_t header[CF_CERT_LEN_MAX], footer[CF_CERT_LEN_MAX];
    uint8_t content[CF_INLINE_LEN_MAX];
    cf_extent *extents; /* owned */
    size_t extent_cap;
    uint32_t *frames; /* owned; of all extents, one after the other */
    size_t frame_cap;
};

cf_err cf_line_store_new(cf_line_store **const ret, cf_error *const e)
{
    cf_line_store *s = NULL;
    CF_NEW(s, e);
    *ret = s;
    return CF_OK;
}

void cf_line_store_free(cf_line_store *const s)
{
    if (s == NULL)
        return;
    json_decref(s->json);
    cf_free(s->extents);
    cf_free(s->frames);
    cf_free(s);
}

static cf_err store_load(cf_line_store *const s, const cf_slice json, cf_error *const e)
{
    CF_ENSURE(json.len <= CF_LINE_LEN_MAX, e, CF_ERR_DAMAGE, "a line of %zu bytes, more than %d",
              json.len, CF_LINE_LEN_MAX);
    json_decref(s->json);
    s->json = NULL;
    return cf_json_load(json, &s->json, e);
}

/* Room for total elements; what is there is not kept. */
static cf_err store_room(void **const array, size_t *const cap, const size_t total,
                         const size_t size, cf_error *const e)
{
    if (total <= *cap)
        return CF_OK;
    void *const grown = cf_alloc(total, size);
    CF_ENSURE(grown != NULL, e, CF_ERR_NO_MEMORY, "allocate %zu times %zu bytes", total, size);
    cf_free(*array);
    *array = grown;
    *cap = total;
    return CF_OK;
}

/* key, or key_b64 decoded into room. Exactly one of both. */
static cf_err get_bytes(const json_t *const o, const char *const key, const char *const key_b64,
                        uint8_t *const room, const size_t room_len, cf_slice *const ret,
                        cf_error *const e)
{
    if (json_object_get(o, key_b64) == NULL)
        return cf_json_get_str(o, key, 1, room_len, ret, e);
    size_t len = 0;
    CF_ENSURE(json_object_get(o, key) == NULL, e, CF_ERR_DAMAGE, "both '%s' and '%s'", key,
              key_b64);
    CF_TRY(cf_json_get_base64(o, key_b64, room, room_len, &len, e));
    CF_ENSURE(len > 0, e, CF_ERR_DAMAGE, "'%s' is empty", key_b64);
    *ret = cf_slice_of(room, len);
    return CF_OK;
}

static cf_err get_type(const json_t *const o, cf_line_type *const ret, cf_error *const e)
{
    cf_slice text = {NULL, 0};
    CF_TRY(cf_json_get_str(o, "type", 1, 16, &text, e));
    for (unsigned i = 0; i < CF_LINE_TYPE_TOTAL; i++) {
        if (cf_slice_eq(text, cf_slice_str(cf_line_type_name((cf_line_type)i)))) {
            *ret = (cf_line_type)i;
            return CF_OK;
        }
    }
    CF_FAIL(e, CF_ERR_DAMAGE, "'type' is '%.*s', not file, dir or symlink", CF_SLICE_FMT(text));
}

/* "0644": octal, as chmod takes it. */
static cf_err get_mode(const json_t *const o, uint32_t *const ret, cf_error *const e)
{
    cf_slice text = {NULL, 0};
    uint32_t mode = 0;
    CF_TRY(cf_json_get_str(o, "mode", 4, 4, &text, e));
    for (size_t i = 0; i < text.len; i++) {
        CF_ENSURE(text.ptr[i] >= '0' && text.ptr[i] <= '7', e, CF_ERR_DAMAGE,
                  "'mode' is '%.*s', not octal", CF_SLICE_FMT(text));
        mode = mode << 3 | (uint32_t)(text.ptr[i] - '0');
    }
    *ret = mode;
    return CF_OK;
}

static cf_err get_time(const json_t *const o, const char *const key, int64_t *const ret,
                       cf_error *const e)
{
    cf_slice text = {NULL, 0};
    CF_TRY(cf_json_get_str(o, key, 1, CF_TIME_NS_SIZE, &text, e));
    CF_ENSURE(cf_time_parse_ns(text, ret), e, CF_ERR_DAMAGE,
              "'%s' is '%.*s', not a time like 2026-11-21T14:31:00.123456789Z", key,
              CF_SLICE_FMT(text));
    return CF_OK;
}

static cf_err get_owner_and_time(const json_t *const o, cf_file_line *const l, cf_error *const e)
{
    uint64_t uid = 0;
    uint64_t gid = 0;
    CF_TRY(get_mode(o, &l->mode, e));
    CF_TRY(cf_json_get_u64(o, "uid", 0, UINT32_MAX, &uid, e));
    CF_TRY(cf_json_get_u64(o, "gid", 0, UINT32_MAX, &gid, e));
    CF_TRY(get_time(o, "mtime", &l->mtime_ns, e));
    l->uid = (uint32_t)uid;
    l->gid = (uint32_t)gid;
    return CF_OK;
}

/* Both or none. The inode's number has 64 bits, so it is text. */
static cf_err get_identity(const json_t *const o, cf_file_line *const l, cf_error *const e)
{
    cf_slice text = {NULL, 0};
    l->has_identity = json_object_get(o, "ino") != NULL || json_object_get(o, "ctime") != NULL;
    if (!l->has_identity)
        return CF_OK;
    CF_TRY(get_time(o, "ctime", &l->ctime_ns, e));
    CF_TRY(cf_json_get_str(o, "ino", 1, 20, &text, e));
    CF_ENSURE(cf_u64_parse(text, &l->ino), e, CF_ERR_DAMAGE, "'ino' is '%.*s', not a number",
              CF_SLICE_FMT(text));
    return CF_OK;
}

static cf_err get_certificate(const json_t *const o, cf_line_store *const s, cf_file_line *const l,
                              cf_error *const e)
{
    const json_t *const cert = json_object_get(o, "cert");
    size_t header_len = 0;
    size_t footer_len = 0;
    if (cert == NULL)
        return CF_OK;
    CF_ENSURE(json_is_object(cert), e, CF_ERR_DAMAGE, "'cert' is not an object");
    CF_TRY(cf_json_get_base64(cert, "header", s->header, sizeof(s->header), &header_len, e));
    CF_TRY(cf_json_get_base64(cert, "footer", s->footer, sizeof(s->footer), &footer_len, e));
    l->cert_header = cf_slice_of(s->header, header_len);
    l->cert_footer = cf_slice_of(s->footer, footer_len);
    return CF_OK;
}

static cf_err get_frames(const json_t *const list, uint32_t *const frames, cf_extent *const x,
                         cf_error *const e)
{
    CF_ENSURE(json_array_size(list) > 0, e, CF_ERR_DAMAGE, "'frames' is empty");
    x->frame_bytes = frames;
    x->frame_total = (uint32_t)json_array_size(list);
    for (uint32_t i = 0; i < x->frame_total; i++) {
        const json_t *const item = json_array_get(list, i);
        CF_ENSURE(json_is_integer(item), e, CF_ERR_DAMAGE,
                  "'frames' holds something that is not an integer");
        const json_int_t len = json_integer_value(item);
        CF_ENSURE(len >= 1 && len <= CF_FRAME_READ_MAX, e, CF_ERR_DAMAGE,
                  "'frames' holds %lld, outside 1..%d", (long long)len, CF_FRAME_READ_MAX);
        frames[i] = (uint32_t)len;
    }
    return CF_OK;
}

static cf_err get_extent(const json_t *const o, uint32_t *const frames, cf_extent *const x,
                         cf_error *const e)
{
    const json_t *const list = json_object_get(o, "frames");
    cf_slice pack = {NULL, 0};
    CF_TRY(cf_json_get_str(o, "pack", 1, CF_RUN_OBJECT_LEN_MAX, &pack, e));
    CF_TRY(cf_json_get_u64(o, "at", 0, CF_NUMBER_MAX, &x->pack_offset, e));
    CF_TRY(cf_json_get_u64(o, "len", 1, CF_NUMBER_MAX, &x->stored_bytes, e));
    CF_TRY(cf_json_get_u64(o, "off", 0, CF_NUMBER_MAX, &x->file_offset, e));
    CF_TRY(cf_json_get_u64(o, "size", 1, CF_PACK_SOURCE_MAX, &x->file_bytes, e));
    x->pack = (const char *)pack.ptr;
    if (list != NULL)
        CF_TRY(get_frames(list, frames, x, e));
    x->has_sha256 = json_object_get(o, "sha256") != NULL;
    return x->has_sha256 ? cf_json_get_sha256(o, "sha256", x->sha256, e) : CF_OK;
}

/* All frames of all extents, each list within its limit; the sum is bounded by the length of the
 * line. */
static cf_err count_frames(const json_t *const extents, size_t *const ret, cf_error *const e)
{
    size_t total = 0;
    for (size_t i = 0; i < json_array_size(extents); i++) {
        const json_t *const o = json_array_get(extents, i);
        const json_t *const list = json_object_get(o, "frames");
        CF_ENSURE(json_is_object(o), e, CF_ERR_DAMAGE,
                  "'extents' holds something that is not an object");
        CF_ENSURE(list == NULL || json_is_array(list), e, CF_ERR_DAMAGE, "'frames' is not a list");
        CF_ENSURE(json_array_size(list) <= CF_FRAMES_MAX, e, CF_ERR_DAMAGE,
                  "'frames' has %zu entries, more than %d", json_array_size(list), CF_FRAMES_MAX);
        total += json_array_size(list);
    }
    *ret = total;
    return CF_OK;
}

static cf_err get_extents(const json_t *const o, cf_line_store *const s, cf_file_line *const l,
                          cf_error *const e)
{
    const json_t *const list = json_object_get(o, "extents");
    size_t frame_total = 0;
    size_t frame_used = 0;
    if (list == NULL)
        return CF_OK;
    CF_ENSURE(json_is_array(list), e, CF_ERR_DAMAGE, "'extents' is not a list");
    const size_t total = json_array_size(list);
    void *extents = s->extents;
    CF_TRY(count_frames(list, &frame_total, e));
    CF_TRY(store_room(&extents, &s->extent_cap, total, sizeof(*s->extents), e));
    s->extents = extents;
    void *frames = s->frames;
    CF_TRY(store_room(&frames, &s->frame_cap, frame_total, sizeof(*s->frames), e));
    s->frames = frames;
    for (size_t i = 0; i < total; i++) {
        cf_extent *const x = &s->extents[i];
        *x = (cf_extent){0};
        CF_TRY(get_extent(json_array_get(list, i), frame_total == 0 ? NULL : s->frames + frame_used,
                          x, e));
        frame_used += x->frame_total;
    }
    l->extents = s->extents;
    l->extent_total = total;
    return CF_OK;
}

static cf_err get_content(const json_t *const o, cf_line_store *const s, cf_file_line *const l,
                          cf_error *const e)
{
    const json_t *const withheld = json_object_get(o, "withheld");
    CF_ENSURE(withheld == NULL || json_is_boolean(withheld), e, CF_ERR_DAMAGE,
              "'withheld' is not true or false");
    l->is_withheld = json_is_true(withheld);
    l->md5_unchecked = json_is_true(json_object_get(o, "md5_unchecked"));
    if (l->type == CF_LINE_FILE)
        CF_TRY(cf_json_get_u64(o, "size", 0, CF_NUMBER_MAX, &l->size_bytes, e));
    l->has_sha256 = json_object_get(o, "sha256") != NULL;
    if (l->has_sha256)
        CF_TRY(cf_json_get_sha256(o, "sha256", l->sha256, e));
    l->is_inline = json_object_get(o, "inline") != NULL;
    if (l->is_inline) {
        size_t len = 0;
        CF_TRY(cf_json_get_base64(o, "inline", s->content, sizeof(s->content), &len, e));
        l->content = cf_slice_of(s->content, len);
    }
    return get_extents(o, s, l, e);
}

static cf_err file_line_take(const json_t *const o, cf_line_store *const s, cf_file_line *const l,
                             cf_error *const e)
{
    uint64_t step = 0;
    cf_slice klass = {NULL, 0};
    CF_TRY(cf_json_get_u64(o, "step", 0, UINT16_MAX, &step, e));
    l->step = (uint16_t)step;
    CF_TRY(get_type(o, &l->type, e));
    if (l->type == CF_LINE_SYMLINK)
        CF_TRY(get_bytes(o, "target", "target_b64", s->target, sizeof(s->target), &l->target, e));
    CF_TRY(get_owner_and_time(o, l, e));
    CF_TRY(get_identity(o, l, e));
    CF_TRY(cf_json_get_str(o, "class", 1, CF_CLASS_LEN_MAX, &klass, e));
    l->klass = (const char *)klass.ptr;
    CF_TRY(get_certificate(o, s, l, e));
    CF_TRY(get_content(o, s, l, e));
    return cf_file_line_check(l, e);
}

cf_err cf_file_line_parse(const cf_slice json, cf_line_store *const store, cf_file_line *const ret,
                          cf_error *const e)
{
    cf_file_line l = {0};
    CF_TRY_AS(store_load(store, json, e), e, "file line");
    CF_TRY_AS(
        get_bytes(store->json, "path", "path_b64", store->path, sizeof(store->path), &l.path, e), e,
        "file line");
    CF_TRY_AS(file_line_take(store->json, store, &l, e), e, "line of '%.*s'", CF_SLICE_FMT(l.path));
    *ret = l;
    return CF_OK;
}

static cf_err get_digest(const json_t *const o, cf_digest *const ret, cf_error *const e)
{
    const json_t *const digest = json_object_get(o, "digest");
    cf_slice alg = {NULL, 0};
    CF_ENSURE(json_is_object(digest), e, CF_ERR_DAMAGE, "'digest' is missing or not an object");
    CF_TRY(cf_json_get_str(digest, "alg", 1, 32, &alg, e));
    if (cf_slice_eq(alg, cf_slice_str("sha256-parts"))) {
        ret->kind = CF_DIGEST_SHA256_PARTS;
        CF_TRY(cf_json_get_u64(digest, "part", 1, CF_NUMBER_MAX, &ret->part_bytes, e));
    } else {
        CF_ENSURE(cf_slice_eq(alg, cf_slice_str("sha256")), e, CF_ERR_DAMAGE,
                  "'alg' is '%.*s', not sha256 or sha256-parts", CF_SLICE_FMT(alg));
        ret->kind = CF_DIGEST_SHA256;
    }
    return cf_json_get_sha256(digest, "value", ret->sha256, e);
}

static cf_err pack_line_take(const json_t *const o, cf_pack_line *const l, cf_error *const e)
{
    CF_TRY(cf_json_get_u64(o, "size", 1, CF_NUMBER_MAX, &l->stored_bytes, e));
    CF_TRY(cf_json_get_u64(o, "used", 0, CF_NUMBER_MAX, &l->used_bytes, e));
    CF_TRY(get_digest(o, &l->digest, e));
    if (json_object_get(o, "origin") != NULL) {
        cf_slice origin = {NULL, 0};
        CF_TRY(cf_json_get_str(o, "origin", 1, CF_RUN_OBJECT_LEN_MAX, &origin, e));
        l->origin = (const char *)origin.ptr;
    }
    return cf_pack_line_check(l, e);
}

cf_err cf_pack_line_parse(const cf_slice json, cf_line_store *const store, cf_pack_line *const ret,
                          cf_error *const e)
{
    cf_pack_line l = {0};
    cf_slice pack = {NULL, 0};
    CF_TRY_AS(store_load(store, json, e), e, "pack line");
    CF_TRY_AS(cf_json_get_str(store->json, "pack", 1, CF_RUN_OBJECT_LEN_MAX, &pack, e), e,
              "pack line");
    l.pack = (const char *)pack.ptr;
    CF_TRY_AS(pack_line_take(store->json, &l, e), e, "line of pack '%s'", l.pack);
    *ret = l;
    return CF_OK;
}
