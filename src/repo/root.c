/* SPDX-License-Identifier: Apache-2.0
 *
 * The root, read and written. It holds what list, status and retention need, so that they read one
 * object a snapshot.
 */
#include "repo/root.h"

#include "repo/json.h"
#include "repo/manifest.h"
#include "s3/base/alloc.h"
#include "s3/base/cleanup.h"
#include "s3/base/hash.h"
#include "s3/base/num.h"

enum {
    ROOT_WORD_LEN_MAX = 31, /* profile, version */
    REPO_ID_LEN = 32,
};

cf_err cf_root_new(cf_root **const ret, cf_error *const e)
{
    CF_CLEANUP(cf_root_freep) cf_root *r = NULL;
    CF_NEW(r, e);
    r->facts = json_object();
    CF_ENSURE(r->facts != NULL, e, CF_ERR_NO_MEMORY, "allocate the facts of a root");
    *ret = CF_STEAL(r);
    return CF_OK;
}

void cf_root_free(cf_root *const r)
{
    if (r == NULL)
        return;
    for (size_t i = 0; i < r->segment_total; i++)
        cf_free(r->segments[i].key);
    cf_free(r->segments);
    json_decref(r->facts);
    cf_free(r);
}

cf_err cf_root_add_segment(cf_root *const r, const cf_segment *const s, cf_error *const e)
{
    CF_ENSURE(r->segment_total < CF_SEGMENT_TOTAL_MAX, e, CF_ERR_TOO_LARGE, "more than %d segments",
              CF_SEGMENT_TOTAL_MAX);
    CF_CLEANUP(cf_freep) char *key = cf_strdup(s->key);
    CF_ENSURE(key != NULL, e, CF_ERR_NO_MEMORY, "allocate the key of a segment");
    cf_segment *const grown = cf_realloc(r->segments, r->segment_total + 1, sizeof(*grown));
    CF_ENSURE(grown != NULL, e, CF_ERR_NO_MEMORY, "allocate %zu segments", r->segment_total + 1);
    r->segments = grown;
    grown[r->segment_total] = *s;
    grown[r->segment_total].key = CF_STEAL(key);
    r->segment_total++;
    return CF_OK;
}

/* --- totals: one table for both ways --- */

typedef struct total_member {
    const char *key;
    size_t offset;
} total_member;

static const total_member total_members[] = {
    {"files", offsetof(cf_totals, files_total)},
    {"files_new", offsetof(cf_totals, files_new)},
    {"files_reused", offsetof(cf_totals, files_reused)},
    {"source_bytes", offsetof(cf_totals, source_bytes)},
    {"read_bytes", offsetof(cf_totals, read_bytes)},
    {"uploaded_bytes", offsetof(cf_totals, uploaded_bytes)},
    {"packs", offsetof(cf_totals, packs_total)},
    {"stored_bytes", offsetof(cf_totals, stored_bytes)},
    {"sparse_packs", offsetof(cf_totals, sparse_packs)},
};
enum { TOTAL_MEMBER_TOTAL = sizeof(total_members) / sizeof(total_members[0]) };

static cf_err take_totals(const json_t *const root, cf_totals *const ret, cf_error *const e)
{
    const json_t *const o = json_object_get(root, "totals");
    CF_ENSURE(json_is_object(o), e, CF_ERR_DAMAGE, "'totals' is missing or not an object");
    for (size_t i = 0; i < TOTAL_MEMBER_TOTAL; i++) {
        uint64_t value = 0;
        CF_TRY(cf_json_get_u64(o, total_members[i].key, 0, CF_NUMBER_MAX, &value, e));
        memcpy((uint8_t *)ret + total_members[i].offset, &value, sizeof(value));
    }
    return CF_OK;
}

static json_t *put_totals(const cf_totals *const totals)
{
    json_t *const o = json_object();
    for (size_t i = 0; i < TOTAL_MEMBER_TOTAL; i++) {
        uint64_t value = 0;
        memcpy(&value, (const uint8_t *)totals + total_members[i].offset, sizeof(value));
        (void)json_object_set_new(o, total_members[i].key, json_integer((json_int_t)value));
    }
    return o;
}

/* --- parse --- */

static const char *const kind_names[] = {
    [CF_SEGMENT_PACKS] = "packs", [CF_SEGMENT_FILES] = "files"};

static cf_err take_segment(const json_t *const o, cf_root *const r, cf_error *const e)
{
    cf_slice kind = {NULL, 0};
    cf_slice key = {NULL, 0};
    cf_segment s = {0};
    CF_ENSURE(json_is_object(o), e, CF_ERR_DAMAGE, "a segment is not an object");
    CF_TRY(cf_json_get_str(o, "kind", 1, 32, &kind, e));
    s.kind = cf_slice_eq(kind, cf_slice_str(kind_names[CF_SEGMENT_PACKS])) ? CF_SEGMENT_PACKS
                                                                           : CF_SEGMENT_FILES;
    CF_ENSURE(cf_slice_eq(kind, cf_slice_str(kind_names[s.kind])), e, CF_ERR_FORMAT,
              "the root has a segment of kind '%.*s', which this program does not know",
              CF_SLICE_FMT(kind));
    CF_TRY(cf_json_get_str(o, "key", 1, CF_RUN_OBJECT_LEN_MAX, &key, e));
    CF_ENSURE(cf_object_name_parse(key, NULL, NULL, NULL), e, CF_ERR_DAMAGE,
              "segment '%.*s' is not named '<run>/<number>-<kind>...'", CF_SLICE_FMT(key));
    CF_TRY(cf_json_get_u64(o, "bytes", 1, CF_SEGMENT_STORED_MAX, &s.stored_bytes, e));
    CF_TRY(cf_json_get_u64(o, "lines", 1, CF_SEGMENT_LINES_MAX, &s.lines_total, e));
    CF_TRY(cf_json_get_sha256(o, "sha256", s.sha256, e));
    CF_CLEANUP(cf_freep) char *text = cf_strndup((const char *)key.ptr, key.len);
    CF_ENSURE(text != NULL, e, CF_ERR_NO_MEMORY, "allocate the key of a segment");
    s.key = text;
    return cf_root_add_segment(r, &s, e);
}

static cf_err take_segments(const json_t *const root, cf_root *const r, cf_error *const e)
{
    const json_t *const list = json_object_get(root, "segments");
    CF_ENSURE(json_is_array(list), e, CF_ERR_DAMAGE, "'segments' is missing or not a list");
    CF_ENSURE(json_array_size(list) <= CF_SEGMENT_TOTAL_MAX, e, CF_ERR_DAMAGE,
              "'segments' has %zu entries, more than %d", json_array_size(list),
              CF_SEGMENT_TOTAL_MAX);
    for (size_t i = 0; i < json_array_size(list); i++) {
        CF_TRY_AS(take_segment(json_array_get(list, i), r, e), e, "segment %zu", i + 1);
        CF_ENSURE(i == 0 || r->segments[i - 1].kind <= r->segments[i].kind, e, CF_ERR_DAMAGE,
                  "segment %zu: packs come before files", i + 1);
    }
    return CF_OK;
}

static cf_err take_parent(const json_t *const root, cf_root *const r, cf_error *const e)
{
    const json_t *const o = json_object_get(root, "parent");
    if (o == NULL || json_is_null(o))
        return CF_OK;
    CF_ENSURE(json_is_object(o), e, CF_ERR_DAMAGE, "'parent' is not an object");
    r->has_parent = true;
    CF_TRY_AS(cf_json_get_run_id(o, "run", &r->parent, e), e, "'parent'");
    CF_TRY_AS(cf_json_get_sha256(o, "sha256", r->parent_sha256, e), e, "'parent'");
    return CF_OK;
}

static cf_err take_origin(const json_t *const root, cf_root *const r, cf_error *const e)
{
    const json_t *const o = json_object_get(root, "origin");
    uint8_t id[REPO_ID_LEN / 2] = {0};
    if (o == NULL || json_is_null(o))
        return CF_OK;
    CF_ENSURE(json_is_object(o), e, CF_ERR_DAMAGE, "'origin' is not an object");
    CF_TRY_AS(cf_json_get_word(o, "repository", REPO_ID_LEN, REPO_ID_LEN, r->origin.repository, e),
              e, "'origin'");
    CF_ENSURE(cf_hex_parse(cf_slice_str(r->origin.repository), id, sizeof(id)), e, CF_ERR_DAMAGE,
              "'origin': 'repository' is '%s', not %d hex digits", r->origin.repository,
              REPO_ID_LEN);
    CF_TRY_AS(cf_json_get_run_id(o, "run", &r->origin.run, e), e, "'origin'");
    r->has_origin = true;
    return CF_OK;
}

static cf_err root_take(const json_t *const o, cf_root *const r, cf_error *const e)
{
    json_t *const facts = json_object_get(o, "node");
    CF_TRY(cf_json_check_format(o, "root", e));
    CF_TRY(cf_json_get_run_id(o, "run", &r->run, e));
    CF_TRY(cf_json_get_time_ms(o, "time", &r->time_utc_ms, e));
    CF_TRY(cf_json_get_word(o, "profile", 1, ROOT_WORD_LEN_MAX, r->profile, e));
    CF_TRY(cf_json_get_word(o, "program", 1, ROOT_WORD_LEN_MAX, r->version, e));
    CF_TRY(take_parent(o, r, e));
    CF_TRY(cf_json_get_u64(o, "lease", 0, CF_NUMBER_MAX, &r->lease, e));
    CF_TRY(take_origin(o, r, e));
    CF_TRY(take_totals(o, &r->totals, e));
    CF_ENSURE(json_is_object(facts), e, CF_ERR_DAMAGE, "'node' is missing or not an object");
    json_decref(r->facts);
    r->facts = json_incref(facts);
    return take_segments(o, r, e);
}

cf_err cf_root_parse(const cf_slice json, cf_root **const ret, cf_error *const e)
{
    CF_CLEANUP(cf_root_freep) cf_root *r = NULL;
    CF_CLEANUP(json_decrefp) json_t *o = NULL;
    CF_ENSURE(json.len <= CF_ROOT_LEN_MAX, e, CF_ERR_DAMAGE, "a root of %zu bytes, more than %d",
              json.len, CF_ROOT_LEN_MAX);
    CF_TRY(cf_json_load(json, &o, e));
    CF_TRY(cf_root_new(&r, e));
    CF_TRY(root_take(o, r, e));
    CF_TRY(cf_sha256(json, r->sha256, e));
    *ret = CF_STEAL(r);
    return CF_OK;
}

/* --- render: a member that cannot be made is missing from the object; json_object_set_new() takes
 * the NULL, and the whole is checked at the end --- */

static json_t *put_sha256(const uint8_t sha256[32])
{
    char hex[CF_SHA256_HEX_SIZE] = "";
    cf_hex_render(cf_slice_of(sha256, CF_SHA256_LEN), hex);
    return json_string(hex);
}

static json_t *put_segment(const cf_segment *const s)
{
    return json_pack("{s:s, s:s, s:I, s:I, s:o}", "kind", kind_names[s->kind], "key", s->key,
                     "bytes", (json_int_t)s->stored_bytes, "lines", (json_int_t)s->lines_total,
                     "sha256", put_sha256(s->sha256));
}

static cf_err root_build(const cf_root *const r, json_t *const o, cf_error *const e)
{
    char time[CF_TIME_MS_SIZE] = "";
    cf_time_render_ms(r->time_utc_ms, time);
    json_t *const segments = json_array();
    int bad = segments == NULL;
    for (size_t i = 0; i < r->segment_total && !bad; i++)
        bad |= json_array_append_new(segments, put_segment(&r->segments[i]));
    bad |= json_object_set_new(o, "format", json_integer(CF_FORMAT));
    bad |= json_object_set_new(o, "requires", json_array());
    bad |= json_object_set_new(o, "run", json_string(r->run.text));
    bad |= json_object_set_new(o, "time", json_string(time));
    bad |= json_object_set_new(o, "profile", json_string(r->profile));
    bad |= json_object_set_new(o, "program", json_string(r->version));
    if (r->has_parent)
        bad |= json_object_set_new(
            o, "parent",
            json_pack("{s:s, s:o}", "run", r->parent.text, "sha256", put_sha256(r->parent_sha256)));
    bad |= json_object_set_new(o, "lease", json_integer((json_int_t)r->lease));
    if (r->has_origin)
        bad |= json_object_set_new(
            o, "origin",
            json_pack("{s:s, s:s}", "repository", r->origin.repository, "run", r->origin.run.text));
    bad |= json_object_set_new(o, "totals", put_totals(&r->totals));
    bad |= json_object_set(o, "node", r->facts);
    bad |= json_object_set_new(o, "segments", segments);
    CF_ENSURE(bad == 0, e, CF_ERR_NO_MEMORY, "build a root of %zu segments", r->segment_total);
    return CF_OK;
}

/* jansson gives the text in pieces. */
typedef struct text_sink {
    cf_buf *buf;
    cf_error *e;
    cf_err err;
} text_sink;

static int text_sink_write(const char *const text, const size_t len, void *const impl)
{
    text_sink *const sink = impl;
    if (sink->err != CF_OK) /* jansson 2.14 goes on behind a key that was refused */
        return -1;
    sink->err = cf_buf_append(sink->buf, cf_slice_of(text, len), sink->e);
    return sink->err == CF_OK ? 0 : -1;
}

cf_err cf_root_render(const cf_root *const r, cf_buf *const ret, cf_error *const e)
{
    CF_CLEANUP(json_decrefp) json_t *o = json_object();
    CF_CLEANUP(cf_buf_deinit) cf_buf text = {0};
    CF_CLEANUP(cf_root_freep) cf_root *again = NULL;
    CF_ENSURE(o != NULL, e, CF_ERR_NO_MEMORY, "build a root");
    CF_TRY(root_build(r, o, e));
    cf_buf_init(&text, CF_ROOT_LEN_MAX);
    text_sink sink = {&text, e, CF_OK};
    const int bad = json_dump_callback(o, text_sink_write, &sink, JSON_COMPACT);
    CF_TRY_AS(sink.err, e, "render the root");
    CF_ENSURE(bad == 0, e, CF_ERR_NO_MEMORY, "render the root");
    CF_TRY_AS(cf_buf_append_char(&text, '\n', e), e, "render the root");
    CF_TRY_AS(cf_root_parse(cf_buf_slice(&text), &again, e), e,
              "the root would be refused when it is read"); /* what is written can be read */
    return cf_buf_append(ret, cf_buf_slice(&text), e);
}
