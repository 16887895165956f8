/* SPDX-License-Identifier: Apache-2.0
 *
 * Chunk names, headers, footers from literal bytes of the reference's table.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "profile/kurrentdb/chunk.h"

typedef struct name_case {
    const char *name;
    bool ok;
    uint32_t start, version;
} name_case;

static void names(void **state)
{
    static const name_case cases[] = {
        {"chunk-000000.000000", true, 0, 0},
        {"chunk-000017.000002", true, 17, 2},
        {"chunk-399999.999999", true, 399999, 999999},
        {"chunk-00000.000000", false, 0, 0},
        {"chunk-000000.00000x", false, 0, 0},
        {"chunk-000000.0000000", false, 0, 0},
        {"chk-000000.000000", false, 0, 0},
        {"chunk-000000-000000", false, 0, 0},
        {"chunk-000000.000001.archive.bkup", false, 0, 0},
        {"", false, 0, 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint32_t start = 0, version = 0;

        assert_int_equal(cf_kdb_chunk_name_parse(cf_slice_str(cases[i].name), &start, &version),
                         cases[i].ok);
        assert_int_equal(start, cases[i].start);
        assert_int_equal(version, cases[i].version);
    }
}

/* 24.10: format 3, 1 MiB, chunks 0..7 merged and scavenged, version 4. */
static const uint8_t merged[128] = {2, 3, 0, 0, 16, 0, 0, 0,    0,    0,       7,
                                    0, 0, 0, 1, 0,  0, 0, 0xa0, 0xa1, [34] = 4};
/* 25: transformed, format 4, version 4, AES-GCM. */
static const uint8_t encrypted[128] = {2, 4, 0, 0, 0, 16, 5, 0, 0, 0, 5, [34] = 4, [35] = 1};
/* 23.10: version byte 0; byte 35 means nothing then. */
static const uint8_t old[128] = {2, 3, 0, 0, 16, 0, 9, 0, 0, 0, 9, [35] = 1};

static void headers(void **state)
{
    cf_kdb_chunk_header h = {0};

    (void)state;
    assert_int_equal(cf_kdb_chunk_header_parse(cf_slice_of(merged, 128), &h, NULL), CF_OK);
    assert_int_equal(h.chunk_size, 1 << 20);
    assert_int_equal(h.start, 0);
    assert_int_equal(h.end, 7);
    assert_true(h.scavenged);
    assert_int_equal(h.version, 4);
    assert_int_equal(h.transform, 0);
    assert_int_equal(h.id[0], 0xa0);
    assert_int_equal(cf_kdb_chunk_header_parse(cf_slice_of(encrypted, 128), &h, NULL), CF_OK);
    assert_int_equal(h.chunk_size, 256 << 20);
    assert_int_equal(h.transform, 1);
    assert_int_equal(cf_kdb_chunk_header_parse(cf_slice_of(old, 128), &h, NULL), CF_OK);
    assert_int_equal(h.version, 3);
    assert_int_equal(h.transform, 0);
    assert_int_equal(h.start, 9);
}

typedef struct header_case {
    const char *title;
    size_t at;
    uint8_t value;
    cf_err code;
    const char *part;
} header_case;

static void headers_refused(void **state)
{
    static const header_case cases[] = {
        {"a table is no chunk", 0, 1, CF_ERR_PARSE, "first byte is 1, a chunk begins with 2"},
        {"format 5", 1, 5, CF_ERR_UNSUPPORTED, "chunk format 5 is newer than the newest known, 4"},
        {"negative size", 5, 0x80, CF_ERR_PARSE, "chunk size 2148532224 is not in 1.."},
        {"size 0", 4, 0, CF_ERR_PARSE, "chunk size 0 is not in 1.."},
        {"turned round", 6, 8, CF_ERR_PARSE, "chunk range 8..7 is turned round"},
        {"number too high", 13, 1, CF_ERR_PARSE,
         "chunk number 16777223 is over the limit of 399999"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint8_t bytes[128];
        cf_kdb_chunk_header h = {.start = 77};
        cf_error e = {0};

        memcpy(bytes, merged, sizeof(bytes));
        bytes[cases[i].at] = cases[i].value;
        assert_int_equal(cf_kdb_chunk_header_parse(cf_slice_of(bytes, 128), &h, &e), cases[i].code);
        assert_non_null(strstr(e.message, cases[i].part));
        assert_int_equal(h.start, 77);
    }
    cf_kdb_chunk_header h = {0};
    assert_int_equal(cf_kdb_chunk_header_parse(cf_slice_of(merged, 127), &h, NULL), CF_ERR_PARSE);
}

static void footers(void **state)
{
    /* flags 3: completed, map of 12 bytes: physical 901,809, logical 8,328,843, map 10,704. */
    static const uint8_t wide[128] = {3, 0xb1, 0xc2, 0x0d, 0,    0x8b, 0x16, 0x7f, 0,
                                      0, 0,    0,    0,    0xd0, 0x29, 0,    0,    [112] = 0xee};
    /* flags 1: logical of 4 bytes, then the map. */
    static const uint8_t narrow[128] = {1, 0x10, 0, 0, 0, 0x20, 0, 0, 0, 0x30, 0, 0, 0};
    cf_kdb_chunk_footer f = {0};

    (void)state;
    assert_int_equal(cf_kdb_chunk_footer_parse(cf_slice_of(wide, 128), &f, NULL), CF_OK);
    assert_true(f.completed);
    assert_int_equal(f.physical_bytes, 901809);
    assert_int_equal(f.logical_bytes, 8328843);
    assert_int_equal(f.map_bytes, 10704);
    assert_int_equal(f.md5[0], 0xee);
    assert_int_equal(cf_kdb_chunk_footer_parse(cf_slice_of(narrow, 128), &f, NULL), CF_OK);
    assert_int_equal(f.logical_bytes, 0x20);
    assert_int_equal(f.map_bytes, 0x30);
    assert_int_equal(cf_kdb_chunk_footer_parse(cf_slice_of(narrow, 12), &f, NULL), CF_ERR_PARSE);
}

static void completeness(void **state)
{
    cf_kdb_chunk_header h = {.min_compatible = 3};
    cf_kdb_chunk_footer f = {.completed = true, .physical_bytes = 3840};

    (void)state;
    assert_true(cf_kdb_chunk_is_complete(&h, &f, 4096));
    f.map_bytes = 1; /* one byte more than the file holds */
    assert_false(cf_kdb_chunk_is_complete(&h, &f, 4096));
    assert_false(cf_kdb_chunk_is_complete(&h, &f, 8191));
    assert_true(cf_kdb_chunk_is_complete(&h, &f, 8192));
    h.min_compatible = 2; /* unaligned in those days */
    assert_true(cf_kdb_chunk_is_complete(&h, &f, 8191));
    f.completed = false;
    assert_false(cf_kdb_chunk_is_complete(&h, &f, 8192));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names),           cmocka_unit_test(headers),
        cmocka_unit_test(headers_refused), cmocka_unit_test(footers),
        cmocka_unit_test(completeness),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
