/* SPDX-License-Identifier: Apache-2.0 */
#include "fixture.h"

#include "repo/line.h"

#define SHA "\"sha256\":\"3031323334353637383961626364656630313233343536373839616263646566\""
#define OWNER                                                                                      \
    "\"mode\":\"0644\",\"uid\":1000,\"gid\":1000,\"mtime\":\"2026-11-21T14:31:00.123456789Z\","    \
    "\"class\":\"chunk\""
#define PACK "\"pack\":\"20261121T143100Z-00000001/0000000017-pack-x.zst\""
#define IDENTITY(ctime, ino)                                                                       \
    "{\"step\":1,\"path\":\"a\",\"type\":\"file\",\"size\":0," OWNER ",\"ctime\":\"" ctime         \
    "\",\"ino\":" ino "," SHA "}"
#define FILE_LINE(size, rest)                                                                      \
    "{\"step\":1,\"path\":\"db/a\",\"type\":\"file\",\"size\":" size "," OWNER "," SHA rest "}"
#define EXTENT(off, size, at, len, rest)                                                           \
    "{\"off\":" off ",\"size\":" size "," PACK ",\"at\":" at ",\"len\":" len rest "}"

typedef struct row {
    const char *title, *text;
    const char *part; /* NULL: accepted */
} row;

static const row file_rows[] = {
    {"a file of zeros", FILE_LINE("5", ""), NULL},
    {"an empty file", FILE_LINE("0", ""), NULL},
    {"unknown keys are ignored", FILE_LINE("5", ",\"later\":{\"x\":[1.5,null]}"), NULL},
    {"an extent",
     FILE_LINE("5", ",\"extents\":[" EXTENT("0", "5", "0", "9", ",\"frames\":[9]") "]"), NULL},
    {"an extent to the last byte",
     FILE_LINE("8", ",\"extents\":[" EXTENT("3", "5", "7", "9", "") "]"), NULL},
    {"two that touch",
     FILE_LINE("5", ",\"extents\":[" EXTENT("0", "3", "0", "9", "") "," EXTENT("3", "2", "9", "9",
                                                                               "") "]"),
     NULL},
    {"inline", FILE_LINE("3", ",\"inline\":\"YWJj\""), NULL},
    {"inline of nothing", FILE_LINE("0", ",\"inline\":\"\""), NULL},
    {"withheld", FILE_LINE("3", ",\"withheld\":true"), NULL},
    {"a certificate", FILE_LINE("3", ",\"cert\":{\"header\":\"YWJj\",\"footer\":\"\"}"), NULL},
    {"the largest size", FILE_LINE("9007199254740991", ""), NULL},
    {"a path that is not UTF-8", "{\"step\":1,\"path_b64\":\"YS//\",\"type\":\"dir\"," OWNER "}",
     NULL},
    {"a link", "{\"step\":65535,\"path\":\"a\",\"type\":\"symlink\",\"target\":\"../b\"," OWNER "}",
     NULL},

    {"an inode's number of 64 bits",
     IDENTITY("1969-12-31T23:59:59.999999999Z", "\"18446744073709551615\""), NULL},

    {"an inode's number of 65 bits",
     IDENTITY("2026-11-21T14:31:00.000000000Z", "\"18446744073709551616\""),
     "'ino' is '18446744073709551616', not a number"},
    {"an inode's number that is none", IDENTITY("2026-11-21T14:31:00.000000000Z", "\"-1\""),
     "'ino' is '-1', not a number"},
    {"an inode's number as a number", IDENTITY("2026-11-21T14:31:00.000000000Z", "7"), "'ino'"},
    {"a change time that is none", IDENTITY("now", "\"7\""), "'ctime' is 'now', not a time"},
    {"a change time alone", FILE_LINE("0", ",\"ctime\":\"2026-11-21T14:31:00.000000000Z\""),
     "'ino' is missing"},
    {"the next size", FILE_LINE("9007199254740992", ""), "'size' is 9007199254740992, outside"},
    {"a size above 64 bits", FILE_LINE("18446744073709551616", ""),
     "malformed JSON: too big integer"},
    {"a negative size", FILE_LINE("-1", ""), "'size' is -1"},
    {"a size with a fraction", FILE_LINE("1.5", ""), "'size' is not an integer"},
    {"a size in quotes", FILE_LINE("\"1\"", ""), "'size' is not an integer"},
    {"a step too high", "{\"step\":65536,\"path\":\"a\",\"type\":\"dir\"," OWNER "}",
     "'step' is 65536"},
    {"no path", "{\"step\":1,\"type\":\"dir\"," OWNER "}", "'path' is missing"},
    {"two paths", "{\"step\":1,\"path\":\"a\",\"path_b64\":\"YQ==\",\"type\":\"dir\"," OWNER "}",
     "both 'path' and 'path_b64'"},
    {"a path that climbs", "{\"step\":1,\"path\":\"../x\",\"type\":\"dir\"," OWNER "}",
     "path '../x' has a component '..'"},
    {"one that climbs in base64",
     "{\"step\":1,\"path_b64\":\"Li4veA==\",\"type\":\"dir\"," OWNER "}", "has a component '..'"},
    {"a NUL in base64", "{\"step\":1,\"path_b64\":\"YQBi\",\"type\":\"dir\"," OWNER "}",
     "path has a NUL byte"},
    {"a NUL in the text", "{\"step\":1,\"path\":\"a\\u0000b\",\"type\":\"dir\"," OWNER "}",
     "malformed JSON"},
    {"a raw byte that is not UTF-8", "{\"step\":1,\"path\":\"a\xff\",\"type\":\"dir\"," OWNER "}",
     "malformed JSON"},
    {"an unknown type", "{\"step\":1,\"path\":\"a\",\"type\":\"pipe\"," OWNER "}",
     "'type' is 'pipe'"},
    {"a link without a target", "{\"step\":1,\"path\":\"a\",\"type\":\"symlink\"," OWNER "}",
     "'target' is missing"},
    {"a directory with content",
     "{\"step\":1,\"path\":\"a\",\"type\":\"dir\",\"inline\":\"\"," OWNER "}",
     "a dir has no content"},
    {"no digest", "{\"step\":1,\"path\":\"a\",\"type\":\"file\",\"size\":1," OWNER "}",
     "'sha256' is missing"},
    {"a digest too short",
     "{\"step\":1,\"path\":\"a\",\"type\":\"file\",\"size\":1,\"sha256\":\"00\"," OWNER "}",
     "'sha256' has 2 bytes, outside 64..64"},
    {"a time without nanoseconds",
     "{\"step\":1,\"path\":\"a\",\"type\":\"dir\",\"mode\":\"0644\",\"uid\":0,\"gid\":0,\"mtime\":"
     "\"2026-11-21T14:31:00Z\",\"class\":\"x\"}",
     "'mtime' is '2026-11-21T14:31:00Z'"},
    {"a time beyond 2262",
     "{\"step\":1,\"path\":\"a\",\"type\":\"dir\",\"mode\":\"0644\",\"uid\":0,\"gid\":0,\"mtime\":"
     "\"2263-01-01T00:00:00.000000000Z\",\"class\":\"x\"}",
     "'mtime' is '2263-01-01T00:00:00.000000000Z'"},
    {"a mode that is not octal",
     "{\"step\":1,\"path\":\"a\",\"type\":\"dir\",\"mode\":\"0648\",\"uid\":0,\"gid\":0,\"mtime\":"
     "\"2026-11-21T14:31:00.000000000Z\",\"class\":\"x\"}",
     "'mode' is '0648', not octal"},
    {"an owner too high",
     "{\"step\":1,\"path\":\"a\",\"type\":\"dir\",\"mode\":\"0644\",\"uid\":4294967296,\"gid\":0,"
     "\"mtime\":\"x\",\"class\":\"x\"}",
     "'uid' is 4294967296"},
    {"inline of another length", FILE_LINE("4", ",\"inline\":\"YWJj\""),
     "inline content has 3 bytes, the file 4"},
    {"inline and extents",
     FILE_LINE("3", ",\"inline\":\"YWJj\",\"extents\":[" EXTENT("0", "3", "0", "9", "") "]"),
     "an inline file has extents"},
    {"inline that is not base64", FILE_LINE("3", ",\"inline\":\"YW!j\""), "'inline' is not base64"},
    {"withheld with content", FILE_LINE("3", ",\"withheld\":true,\"inline\":\"YWJj\""),
     "a withheld file has content"},
    {"withheld is not a flag", FILE_LINE("3", ",\"withheld\":1"),
     "'withheld' is not true or false"},
    {"extents that overlap",
     FILE_LINE("5", ",\"extents\":[" EXTENT("0", "3", "0", "9", "") "," EXTENT("2", "2", "9", "9",
                                                                               "") "]"),
     "extent at 2 overlaps the one before, which ends at 3"},
    {"extents against the order",
     FILE_LINE("5", ",\"extents\":[" EXTENT("3", "2", "0", "9", "") "," EXTENT("0", "2", "9", "9",
                                                                               "") "]"),
     "extent at 0 overlaps"},
    {"an extent one byte beyond the file",
     FILE_LINE("7", ",\"extents\":[" EXTENT("3", "5", "7", "9", "") "]"),
     "extent at 3 of 5 bytes leaves the file of 7"},
    {"an extent far beyond it",
     FILE_LINE("7", ",\"extents\":[" EXTENT("9007199254740991", "5", "7", "9", "") "]"),
     "leaves the file"},
    {"an empty extent", FILE_LINE("7", ",\"extents\":[" EXTENT("0", "0", "0", "9", "") "]"),
     "'size' is 0, outside 1..1073741824"},
    {"an extent above a pack",
     FILE_LINE("9007199254740991", ",\"extents\":[" EXTENT("0", "1073741825", "0", "9", "") "]"),
     "'size' is 1073741825"},
    {"a place beyond all packs",
     FILE_LINE("7", ",\"extents\":[" EXTENT("0", "5", "9007199254740991", "9", "") "]"),
     "extent at 0 begins at 9007199254740991 of its pack"},
    {"frames of another sum",
     FILE_LINE("5", ",\"extents\":[" EXTENT("0", "5", "0", "9", ",\"frames\":[8]") "]"),
     "frames of 8 bytes and a length of 9"},
    {"too many frames",
     FILE_LINE("5", ",\"extents\":[" EXTENT("0", "5", "0", "9", ",\"frames\":[4,5]") "]"),
     "has 2 frames, its 5 bytes make 1"},
    {"too few frames",
     FILE_LINE("4194305", ",\"extents\":[" EXTENT("0", "4194305", "0", "9", ",\"frames\":[9]") "]"),
     "has 1 frames, its 4194305 bytes make 2"},
    {"no frames", FILE_LINE("5", ",\"extents\":[" EXTENT("0", "5", "0", "9", ",\"frames\":[]") "]"),
     "'frames' is empty"},
    {"an empty frame",
     FILE_LINE("5", ",\"extents\":[" EXTENT("0", "5", "0", "9", ",\"frames\":[0]") "]"),
     "'frames' holds 0"},
    {"a frame too large",
     FILE_LINE("5", ",\"extents\":[" EXTENT("0", "5", "0", "9", ",\"frames\":[67108865]") "]"),
     "'frames' holds 67108865"},
    {"a frame that is text",
     FILE_LINE("5", ",\"extents\":[" EXTENT("0", "5", "0", "9", ",\"frames\":[\"9\"]") "]"),
     "'frames' holds something"},
    {"extents that are no list", FILE_LINE("5", ",\"extents\":{}"), "'extents' is not a list"},
    {"an extent that is no object", FILE_LINE("5", ",\"extents\":[7]"),
     "'extents' holds something"},
    {"a pack elsewhere",
     FILE_LINE("5",
               ",\"extents\":[{\"off\":0,\"size\":5,\"pack\":\"../../x\",\"at\":0,\"len\":9}]"),
     "pack '../../x' is not named"},
    {"a segment as pack",
     FILE_LINE("5", ",\"extents\":[{\"off\":0,\"size\":5,\"pack\":\"20261121T143100Z-00000001/"
                    "0000000017-files.zst\",\"at\":0,\"len\":9}]"),
     "is of another kind"},
    {"a certificate too long",
     FILE_LINE(
         "3",
         ",\"cert\":{\"footer\":\"\",\"header\":"
         "\"YWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWF"
         "hYWFh"
         "YWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFh\"}"),
     "'header'"},
    {"a key twice", FILE_LINE("3", ",\"size\":3"), "malformed JSON: duplicate object key"},
    {"nested too deep", FILE_LINE("3", ",\"x\":[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[["),
     "nested deeper than 32"},
    {"a list", "[]", "not an object"},
    {"two objects", "{}{}", "malformed JSON"},
    {"nothing", "", "malformed JSON"},
};

static const row pack_rows[] = {
    {"a single put",
     "{" PACK ",\"size\":9,\"used\":9,\"digest\":{\"alg\":\"sha256\",\"value\":"
     "\"3031323334353637383961626364656630313233343536373839616263646566\"}}",
     NULL},
    {"parts",
     "{" PACK ",\"size\":9,\"used\":0,\"digest\":{\"alg\":\"sha256-parts\",\"part\":5,\"value\":"
     "\"3031323334353637383961626364656630313233343536373839616263646566\"}}",
     NULL},
    {"copied",
     "{" PACK ",\"size\":9,\"used\":9,\"digest\":{\"alg\":\"sha256\",\"value\":"
     "\"3031323334353637383961626364656630313233343536373839616263646566\"},\"origin\":"
     "\"20250101T000000Z-0badcafe/0000000009-pack-x.zst\"}",
     NULL},
    {"copied from a key above",
     "{" PACK ",\"size\":9,\"used\":9,\"digest\":{\"alg\":\"sha256\",\"value\":"
     "\"3031323334353637383961626364656630313233343536373839616263646566\"},\"origin\":"
     "\"../../x\"}",
     "'origin': pack '../../x' is not named"},
    {"an origin that is no text",
     "{" PACK ",\"size\":9,\"used\":9,\"digest\":{\"alg\":\"sha256\",\"value\":"
     "\"3031323334353637383961626364656630313233343536373839616263646566\"},\"origin\":7}",
     "'origin'"},
    {"used above the size",
     "{" PACK ",\"size\":9,\"used\":10,\"digest\":{\"alg\":\"sha256\",\"value\":"
     "\"3031323334353637383961626364656630313233343536373839616263646566\"}}",
     "'used' is 10 of 9"},
    {"an empty pack", "{" PACK ",\"size\":0,\"used\":0,\"digest\":{}}", "'size' is 0"},
    {"no digest", "{" PACK ",\"size\":9,\"used\":0}", "'digest' is missing"},
    {"an unknown digest",
     "{" PACK ",\"size\":9,\"used\":0,\"digest\":{\"alg\":\"crc\",\"value\":\"\"}}",
     "'alg' is 'crc'"},
    {"parts of no length",
     "{" PACK
     ",\"size\":9,\"used\":0,\"digest\":{\"alg\":\"sha256-parts\",\"part\":0,\"value\":\"\"}}",
     "'part' is 0"},
    {"no pack", "{\"size\":9}", "'pack' is missing"},
    {"a key above",
     "{\"pack\":\"/etc/"
     "passwd\",\"size\":9,\"used\":0,\"digest\":{\"alg\":\"sha256\",\"value\":"
     "\"3031323334353637383961626364656630313233343536373839616263646566\"}}",
     "pack '/etc/passwd' is not named"},
};

static void check_again(cf_slice rendered, bool is_pack)
{
    cf_line_store *s = NULL;
    CF_CLEANUP(cf_buf_deinit) cf_buf again = {0};
    cf_buf_init(&again, CF_LINE_LEN_MAX);
    assert_ok(cf_line_store_new(&s, &e));
    if (is_pack) {
        cf_pack_line l = {0};
        assert_ok(cf_pack_line_parse(rendered, s, &l, &e));
        assert_ok(cf_pack_line_render(&l, &again, &e));
    } else {
        cf_file_line l = {0};
        assert_ok(cf_file_line_parse(rendered, s, &l, &e));
        assert_ok(cf_file_line_render(&l, &again, &e));
    }
    assert_true(cf_slice_eq(rendered, cf_buf_slice(&again)));
    cf_line_store_free(s);
}

static void test_rows(void **state)
{
    (void)state;
    cf_line_store *s = NULL;
    assert_ok(cf_line_store_new(
        &s, &e)); /* one for all: what a line leaves behind must not reach the next */
    for (size_t i = 0; i < ARRAY_LEN(file_rows) + ARRAY_LEN(pack_rows); i++) {
        const bool is_pack = i >= ARRAY_LEN(file_rows);
        const row *const r = is_pack ? &pack_rows[i - ARRAY_LEN(file_rows)] : &file_rows[i];
        CF_CLEANUP(cf_buf_deinit) cf_buf text = {0};
        cf_file_line file = {0};
        cf_pack_line pack = {0};
        cf_error story = {0};
        const cf_err err = is_pack ? cf_pack_line_parse(cf_slice_str(r->text), s, &pack, &story)
                                   : cf_file_line_parse(cf_slice_str(r->text), s, &file, &story);
        if (err != (r->part == NULL ? CF_OK : CF_ERR_DAMAGE) ||
            (r->part != NULL && strstr(story.message, r->part) == NULL))
            fail_msg("%s: %s: %s", r->title, cf_err_name(err), story.message);
        if (err != CF_OK)
            continue;
        cf_buf_init(&text, CF_LINE_LEN_MAX);
        assert_ok(is_pack ? cf_pack_line_render(&pack, &text, &e)
                          : cf_file_line_render(&file, &text, &e));
        check_again(cf_buf_slice(&text), is_pack);
    }
    cf_line_store_free(s);
}

static void test_paths(void **state)
{
    (void)state;
    static const row rows[] = {
        {"plain", "db/chunk-000017.000002", NULL},
        {"dots within a name", "db/a..b", NULL},
        {"three dots", ".../x", NULL},
        {"hidden", ".x", NULL},
        {"a newline", "a\nb", NULL},
        {"empty", "", "path is empty"},
        {"absolute", "/abs", "path '/abs' is absolute"},
        {"climbs", "../x", "component '..'"},
        {"climbs in the middle", "a/../x", "component '..'"},
        {"climbs at the end", "a/..", "component '..'"},
        {"an empty component", "a//b", "empty component"},
        {"a slash at the end", "a/", "empty component"},
        {"a dot", ".", "component '.'"},
        {"a dot in the middle", "a/./b", "component '.'"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        cf_error e = {0};
        const cf_err err = cf_path_check(cf_slice_str(rows[i].text), &e);
        if (err != (rows[i].part == NULL ? CF_OK : CF_ERR_DAMAGE) ||
            (rows[i].part != NULL && strstr(e.message, rows[i].part) == NULL))
            fail_msg("%s: %s", rows[i].title, e.message);
    }
    assert_refused(cf_path_check(cf_slice_of("a\0b", 3), &e), CF_ERR_DAMAGE, "NUL byte");
    char path[CF_PATH_LEN_MAX + 1];
    memset(path, 'a', sizeof(path));
    assert_ok(cf_path_check(cf_slice_of(path, CF_NAME_LEN_MAX), &e));
    assert_refused(cf_path_check(cf_slice_of(path, CF_NAME_LEN_MAX + 1), &e), CF_ERR_DAMAGE,
                   "component of 256 bytes, more than 255");
    for (size_t i = 1; i < sizeof(path); i += 2)
        path[i] = '/';
    assert_refused(cf_path_check(cf_slice_of(path, CF_PATH_LEN_MAX + 1), &e), CF_ERR_DAMAGE,
                   "path has 4097 bytes, more than 4096");
    assert_ok(cf_path_check(cf_slice_of(path, CF_PATH_LEN_MAX - 1), &e));
}

static void test_order(void **state)
{
    (void)state;
    assert_true(cf_file_line_cmp(1, cf_slice_str("z"), 2, cf_slice_str("a")) < 0);
    assert_true(cf_file_line_cmp(2, cf_slice_str("a"), 1, cf_slice_str("z")) > 0);
    assert_true(cf_file_line_cmp(1, cf_slice_str("a"), 1, cf_slice_str("ab")) < 0);
    assert_true(cf_file_line_cmp(1, cf_slice_str("a\xff"), 1, cf_slice_str("ab")) >
                0); /* bytes, not signed char */
    assert_int_equal(cf_file_line_cmp(1, cf_slice_str("a"), 1, cf_slice_str("a")), 0);
}

static void test_round_trip(void **state)
{
    (void)state;
    CF_CLEANUP(cf_buf_deinit) cf_buf text = {0};
    cf_line_store *s = NULL;
    cf_file_line l = {0};
    uint8_t bytes[CF_CERT_LEN_MAX];
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)i;
    const uint32_t frames[2] = {100, 23};
    const cf_extent x[2] = {
        {.pack = "20261121T143100Z-00000001/0000000017-pack-x.zst",
         .stored_bytes = 123,
         .file_bytes = CF_FRAME_BYTES + 1,
         .frame_bytes = frames,
         .frame_total = 2},
        {.pack = "20261121T143100Z-00000001/0000000018-pack-x.zst",
         .pack_offset = 77,
         .stored_bytes = 9,
         .file_offset = (uint64_t)3 * CF_FRAME_BYTES,
         .file_bytes = 5,
         .has_sha256 = true,
         .sha256 = {1, 2, 3}},
    };
    const cf_file_line in = {.step = 7,
                             .path = cf_slice_str("a\"\\\n\x7f\xff"),
                             .type = CF_LINE_FILE,
                             .size_bytes = (uint64_t)3 * CF_FRAME_BYTES + 5,
                             .mode = 04755,
                             .uid = UINT32_MAX,
                             .gid = 1,
                             .mtime_ns = -1,
                             .has_identity = true,
                             .ino = UINT64_MAX,
                             .ctime_ns = INT64_MIN,
                             .klass = "ongoing-chunk",
                             .cert_header = cf_slice_of(bytes, 128),
                             .cert_footer = cf_slice_of(bytes, 1),
                             .has_sha256 = true,
                             .sha256 = {9},
                             .extents = x,
                             .extent_total = 2};
    cf_buf_init(&text, CF_LINE_LEN_MAX);
    assert_ok(cf_file_line_render(&in, &text, &e));
    assert_int_equal(text.data[text.len - 1], '\n');
    assert_null(memchr(text.data, '\n', text.len - 1));
    assert_ok(cf_line_store_new(&s, &e));
    assert_ok(cf_file_line_parse(cf_buf_slice(&text), s, &l, &e));
    assert_true(cf_slice_eq(l.path, in.path));
    assert_int_equal(l.step, 7);
    assert_int_equal(l.mode, 04755);
    assert_true(l.uid == UINT32_MAX && l.gid == 1 && l.mtime_ns == -1);
    assert_true(l.has_identity && l.ino == UINT64_MAX && l.ctime_ns == INT64_MIN);
    assert_string_equal(l.klass, "ongoing-chunk");
    assert_true(cf_slice_eq(l.cert_header, in.cert_header) &&
                cf_slice_eq(l.cert_footer, in.cert_footer));
    assert_memory_equal(l.sha256, in.sha256, 32);
    assert_int_equal(l.extent_total, 2);
    assert_int_equal(l.extents[0].frame_total, 2);
    assert_int_equal(l.extents[0].frame_bytes[1], 23);
    assert_false(l.extents[0].has_sha256);
    assert_null(l.extents[1].frame_bytes);
    assert_true(l.extents[1].has_sha256 && l.extents[1].pack_offset == 77);
    static const int64_t times[] = {0,           1,         -1,        999999999,
                                    -1000000000, INT64_MAX, INT64_MIN, 1795271460123456789};
    for (size_t i = 0; i < ARRAY_LEN(times); i++) {
        cf_file_line t = in;
        t.mtime_ns = times[i];
        cf_buf_clear(&text);
        assert_ok(cf_file_line_render(&t, &text, &e));
        assert_ok(cf_file_line_parse(cf_buf_slice(&text), s, &l, &e));
        assert_true(l.mtime_ns == times[i]);
    }
    cf_line_store_free(s);
}

/* The longest line that our writer makes of parts is half of what a reader takes. */
static void test_most_parts(void **state)
{
    (void)state;
    CF_CLEANUP(cf_buf_deinit) cf_buf text = {0};
    CF_CLEANUP(cf_freep) cf_extent *x = cf_alloc(CF_PARTS_TOTAL_MAX, sizeof(*x));
    assert_non_null(x);
    for (size_t i = 0; i < CF_PARTS_TOTAL_MAX; i++)
        x[i] = (cf_extent){.pack = "20261121T143100Z-0123abcd/2000000000-pack-small.zst",
                           .pack_offset = CF_PACK_SOURCE_MAX,
                           .stored_bytes = CF_FRAME_BYTES,
                           .file_offset = i * CF_FRAME_BYTES,
                           .file_bytes = CF_FRAME_BYTES,
                           .has_sha256 = true};
    const cf_file_line l = {.path = cf_slice_str("index/scavenging/scavenging.db"),
                            .size_bytes = (uint64_t)CF_PARTS_TOTAL_MAX * CF_FRAME_BYTES,
                            .klass = "scavenge-database",
                            .has_sha256 = true,
                            .extents = x,
                            .extent_total = CF_PARTS_TOTAL_MAX};
    cf_buf_init(&text, CF_LINE_LEN_MAX);
    assert_ok(cf_file_line_render(&l, &text, &e));
    assert_true(text.len < CF_LINE_LEN_MAX / 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows), cmocka_unit_test(test_paths), cmocka_unit_test(test_order),
        cmocka_unit_test(test_round_trip), cmocka_unit_test(test_most_parts)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
