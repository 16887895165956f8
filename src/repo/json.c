/* SPDX-License-Identifier: Apache-2.0
 *
 * Jansson with limits. Its own limit of depth is 2,048; ours is checked on the text, before it
 * builds anything.
 */
#include "repo/json.h"

#include <stdio.h>

#include "repo/root.h"
#include "s3/base/alloc.h"
#include "s3/base/cleanup.h"
#include "s3/base/hash.h"
#include "s3/base/num.h"

static cf_err depth_check(const cf_slice text, cf_error *const e)
{
    unsigned depth = 0;
    bool quoted = false;
    for (size_t i = 0; i < text.len; i++) {
        const uint8_t c = text.ptr[i];
        if (quoted && c == '\\') {
            i++;
        } else if (c == '"') {
            quoted = !quoted;
        } else if (!quoted && (c == '{' || c == '[')) {
            depth++;
            CF_ENSURE(depth <= CF_JSON_DEPTH_MAX, e, CF_ERR_DAMAGE,
                      "malformed JSON: nested deeper than %d at byte %zu", CF_JSON_DEPTH_MAX, i);
        } else if (!quoted && (c == '}' || c == ']') && depth > 0) {
            depth--;
        }
    }
    return CF_OK;
}

cf_err cf_json_load(const cf_slice text, json_t **const ret, cf_error *const e)
{
    CF_TRY(depth_check(text, e));
    cf_json_memory();
    const unsigned long failures = cf_alloc_failures();
    json_error_t story = {0};
    json_t *const object = json_loadb(text.len == 0 ? "" : (const char *)text.ptr, text.len,
                                      JSON_REJECT_DUPLICATES, &story);
    if (cf_alloc_failures() != failures) {
        json_decref(object);
        CF_FAIL(e, CF_ERR_NO_MEMORY, "parse %zu bytes of JSON", text.len);
    }
    CF_ENSURE(object != NULL, e, CF_ERR_DAMAGE, "malformed JSON: %s at byte %d", story.text,
              story.position);
    if (!json_is_object(object)) {
        json_decref(object);
        CF_FAIL(e, CF_ERR_DAMAGE, "malformed JSON: not an object");
    }
    *ret = object;
    return CF_OK;
}

cf_err cf_json_get_u64(const json_t *const object, const char *const key, const uint64_t min,
                       const uint64_t max, uint64_t *const ret, cf_error *const e)
{
    const json_t *const member = json_object_get(object, key);
    CF_ENSURE(member != NULL, e, CF_ERR_DAMAGE, "'%s' is missing", key);
    CF_ENSURE(json_is_integer(member), e, CF_ERR_DAMAGE, "'%s' is not an integer", key);
    const json_int_t value = json_integer_value(member);
    CF_ENSURE(value >= 0 && (uint64_t)value >= min && (uint64_t)value <= max, e, CF_ERR_DAMAGE,
              "'%s' is %lld, outside %llu..%llu", key, (long long)value, (unsigned long long)min,
              (unsigned long long)max);
    *ret = (uint64_t)value;
    return CF_OK;
}

cf_err cf_json_get_str(const json_t *const object, const char *const key, const size_t min,
                       const size_t max, cf_slice *const ret, cf_error *const e)
{
    const json_t *const member = json_object_get(object, key);
    CF_ENSURE(member != NULL, e, CF_ERR_DAMAGE, "'%s' is missing", key);
    CF_ENSURE(json_is_string(member), e, CF_ERR_DAMAGE, "'%s' is not a string", key);
    const size_t len = json_string_length(member);
    CF_ENSURE(len >= min && len <= max, e, CF_ERR_DAMAGE, "'%s' has %zu bytes, outside %zu..%zu",
              key, len, min, max);
    *ret = cf_slice_of(json_string_value(member), len);
    return CF_OK;
}

cf_err cf_json_get_word(const json_t *const object, const char *const key, const size_t min,
                        const size_t max, char *const ret, cf_error *const e)
{
    cf_slice text = {NULL, 0};
    CF_TRY(cf_json_get_str(object, key, min, max, &text, e));
    memcpy(ret, text.ptr, text.len);
    ret[text.len] = '\0';
    return CF_OK;
}

cf_err cf_json_get_run_id(const json_t *const object, const char *const key, cf_run_id *const ret,
                          cf_error *const e)
{
    cf_slice text = {NULL, 0};
    CF_TRY(cf_json_get_str(object, key, CF_RUN_ID_LEN, CF_RUN_ID_LEN, &text, e));
    CF_ENSURE(cf_run_id_parse(text, ret), e, CF_ERR_DAMAGE, "'%s' is '%.*s', not a run's id", key,
              CF_SLICE_FMT(text));
    return CF_OK;
}

cf_err cf_json_get_sha256(const json_t *const object, const char *const key, uint8_t ret[32],
                          cf_error *const e)
{
    cf_slice text = {NULL, 0};
    uint8_t digest[CF_SHA256_LEN] = {0};
    CF_TRY(cf_json_get_str(object, key, 64, 64, &text, e));
    CF_ENSURE(cf_hex_parse(text, digest, sizeof(digest)), e, CF_ERR_DAMAGE,
              "'%s' is not a SHA-256 in hex", key);
    memcpy(ret, digest, sizeof(digest));
    return CF_OK;
}

cf_err cf_json_get_base64(const json_t *const object, const char *const key, uint8_t *const ret,
                          const size_t cap, size_t *const ret_len, cf_error *const e)
{
    cf_slice text = {NULL, 0};
    CF_TRY(cf_json_get_str(object, key, 0, (cap + 2) / 3 * 4, &text, e));
    CF_ENSURE(cf_base64_parse(text, ret, cap, ret_len), e, CF_ERR_DAMAGE,
              "'%s' is not base64 of at most %zu bytes", key, cap);
    return CF_OK;
}

cf_err cf_json_get_time_ms(const json_t *const object, const char *const key,
                           int64_t *const ret_utc_ms, cf_error *const e)
{
    cf_slice text = {NULL, 0};
    CF_TRY(cf_json_get_str(object, key, 1, CF_TIME_SIZE, &text, e));
    CF_ENSURE(cf_time_parse_iso(text, ret_utc_ms), e, CF_ERR_DAMAGE,
              "'%s' is '%.*s', not a time like 2026-11-21T14:31:00Z", key, CF_SLICE_FMT(text));
    return CF_OK;
}

cf_err cf_json_check_format_but(const json_t *const object, const char *const what,
                                const char *const known, cf_error *const e)
{
    static const char hint[] = "HINT: use the chunkferry that wrote it, or a newer one";
    uint64_t format = 0;
    CF_TRY(cf_json_get_u64(object, "format", 1, CF_NUMBER_MAX, &format, e));
    CF_ENSURE(format <= CF_FORMAT, e, CF_ERR_FORMAT,
              "the %s has format %llu, this program knows up to %d\n%s", what,
              (unsigned long long)format, CF_FORMAT, hint);
    const json_t *const required = json_object_get(object, "requires");
    CF_ENSURE(json_is_array(required), e, CF_ERR_DAMAGE, "'requires' is missing or not a list");
    for (size_t i = 0; i < json_array_size(required); i++) {
        const char *const name = json_string_value(json_array_get(required, i));
        CF_ENSURE(name != NULL, e, CF_ERR_DAMAGE, "'requires' holds something that is not a name");
        CF_ENSURE(strcmp(name, known) == 0, e, CF_ERR_FORMAT,
                  "the %s requires '%.64s', which this program does not know\n%s", what, name,
                  hint);
    }
    return CF_OK;
}

cf_err cf_json_check_format(const json_t *const object, const char *const what, cf_error *const e)
{
    return cf_json_check_format_but(object, what, /* known= */ "", e);
}

cf_err cf_json_put_str(cf_buf *const b, const cf_slice utf8, cf_error *const e)
{
    CF_TRY(cf_buf_append_char(b, '"', e));
    size_t done = 0;
    for (size_t i = 0; i < utf8.len; i++) {
        const uint8_t c = utf8.ptr[i];
        if (c >= 0x20 && c != '"' && c != '\\')
            continue;
        CF_TRY(cf_buf_append(b, cf_slice_of(utf8.ptr + done, i - done), e));
        if (c < 0x20)
            CF_TRY(cf_buf_printf(b, e, "\\u%04x", (unsigned)c));
        else
            CF_TRY(cf_buf_printf(b, e, "\\%c", c));
        done = i + 1;
    }
    if (done < utf8.len)
        CF_TRY(cf_buf_append(b, cf_slice_of(utf8.ptr + done, utf8.len - done), e));
    return cf_buf_append_char(b, '"', e);
}

cf_err cf_json_put_base64(cf_buf *const b, const cf_slice bytes, cf_error *const e)
{
    CF_CLEANUP(cf_freep) char *text = cf_alloc((bytes.len + 2) / 3 * 4 + 1, 1);
    CF_ENSURE(text != NULL, e, CF_ERR_NO_MEMORY, "allocate base64 of %zu bytes", bytes.len);
    cf_base64_render(bytes, text);
    return cf_buf_printf(b, e, "\"%s\"", text);
}

cf_err cf_json_put_sha256(cf_buf *const b, const uint8_t sha256[32], cf_error *const e)
{
    char hex[CF_SHA256_HEX_SIZE] = "";
    cf_hex_render(cf_slice_of(sha256, CF_SHA256_LEN), hex);
    return cf_buf_printf(b, e, "\"%s\"", hex);
}

void cf_time_render_ms(const int64_t utc_ms, char ret[CF_TIME_MS_SIZE])
{
    char iso[CF_TIME_SIZE] = "";
    cf_time_render_iso(utc_ms, iso);
    const int64_t ms = ((utc_ms % 1000) + 1000) % 1000;
    (void)snprintf(ret, CF_TIME_MS_SIZE, "%.19s.%03uZ", iso, (unsigned)ms);
}
