/* SPDX-License-Identifier: Apache-2.0 */
#include "fixture.h"

#include "repo/manifest.h"
#include "repo/root.h"

static const char good[] =
    "{\"format\":1,\"requires\":[],\"run\":\"20261121T143100Z-00000001\",\"time\":\"2026-11-21T14:"
    "31:00.250Z\",\"profile\":\"kurrentdb\","
    "\"program\":\"0.1.0\",\"parent\":{\"run\":\"20261120T143100Z-00000001\",\"sha256\":"
    "\"3031323334353637383961626364656630313233343536373839616263646566\"},"
    "\"lease\":7,\"origin\":{\"repository\":\"0123456789abcdef0123456789abcdef\","
    "\"run\":\"20261119T143100Z-00000001\"},\"totals\":{\"files\":1,\"files_new\":2,\"files_"
    "reused\":3,\"source_bytes\":4,"
    "\"read_bytes\":5,\"uploaded_bytes\":6,\"packs\":7,\"stored_bytes\":8,\"sparse_packs\":9},"
    "\"node\":{\"epoch\":\"e\"},\"later\":{\"x\":1},"
    "\"segments\":[{\"kind\":\"packs\",\"key\":\"20261121T143100Z-00000001/"
    "0000000020-packs.jsonl.zst\",\"bytes\":100,\"lines\":3,"
    "\"sha256\":\"3031323334353637383961626364656630313233343536373839616263646566\"},"
    "{\"kind\":\"files\",\"key\":\"20261121T143100Z-00000001/"
    "0000000021-files.jsonl.zst\",\"bytes\":100,\"lines\":3,"
    "\"sha256\":\"3031323334353637383961626364656630313233343536373839616263646566\"}]}";

static void test_good(void **state)
{
    (void)state;
    cf_root *r = NULL;
    cf_root *again = NULL;
    CF_CLEANUP(cf_buf_deinit) cf_buf text = {0};
    cf_buf_init(&text, CF_ROOT_LEN_MAX);
    assert_ok(cf_root_parse(cf_slice_str(good), &r, &e));
    assert_true(r->has_parent);
    assert_string_equal(r->parent.text, "20261120T143100Z-00000001");
    assert_true(r->time_utc_ms == (int64_t)FIXTURE_UTC_S * 1000 + 250);
    assert_int_equal(r->lease, 7);
    assert_int_equal(r->totals.files_total, 1);
    assert_int_equal(r->totals.stored_bytes, 8);
    assert_string_equal(json_string_value(json_object_get(r->facts, "epoch")), "e");
    assert_int_equal(r->segment_total, 2);
    assert_int_equal(r->segments[1].kind, CF_SEGMENT_FILES);
    uint8_t sha256[32];
    assert_ok(cf_sha256(cf_slice_str(good), sha256, &e));
    assert_memory_equal(r->sha256, sha256, 32);
    assert_ok(cf_root_render(r, &text, &e));
    assert_ok(cf_root_parse(cf_buf_slice(&text), &again, &e));
    assert_memory_equal(&again->totals, &r->totals, sizeof(r->totals));
    assert_true(again->time_utc_ms == r->time_utc_ms);
    assert_string_equal(again->segments[1].key, r->segments[1].key);
    assert_true(again->has_origin);
    assert_string_equal(again->origin.repository, "0123456789abcdef0123456789abcdef");
    assert_string_equal(again->origin.run.text, "20261119T143100Z-00000001");
    cf_root_free(r);
    cf_root_free(again);
}

static void test_refused(void **state)
{
    (void)state;
    static const struct {
        const char *title, *from, *to;
        cf_err code;
        const char *part;
    } cases[] = {
        {"no parent is fine", "\"parent\"", "\"nobody\"", CF_OK, ""},
        {"format 2", "\"format\":1", "\"format\":2", CF_ERR_FORMAT,
         "the root has format 2, this program knows up to 1"},
        {"a root from the future", "\"requires\":[]", "\"requires\":[\"delta-packs\"]",
         CF_ERR_FORMAT, "the root requires 'delta-packs', which this program does not know"},
        {"requires something odd", "\"requires\":[]", "\"requires\":[1]", CF_ERR_DAMAGE,
         "not a name"},
        {"a segment of a new kind", "\"kind\":\"packs\"", "\"kind\":\"deltas\"", CF_ERR_FORMAT,
         "segment of kind 'deltas'"},
        {"format is text", "\"format\":1", "\"format\":\"1\"", CF_ERR_DAMAGE,
         "'format' is not an integer"},
        {"no run", "\"run\"", "\"ran\"", CF_ERR_DAMAGE, "'run' is missing"},
        {"a run that is none", "143100Z-00000001\",\"time\"", "143100Z-0000000g\",\"time\"",
         CF_ERR_DAMAGE, "not a run's id"},
        {"a time that is none", "14:31:00.250Z", "25:31:00.250Z", CF_ERR_DAMAGE,
         "'time' is '2026-11-21T25:31:00.250Z'"},
        {"a profile too long", "kurrentdb", "kurrentdbkurrentdbkurrentdbkurre", CF_ERR_DAMAGE,
         "'profile' has 32 bytes"},
        {"a negative lease", "\"lease\":7", "\"lease\":-7", CF_ERR_DAMAGE, "'lease' is -7"},
        {"a huge total", "\"packs\":7", "\"packs\":9007199254740992", CF_ERR_DAMAGE,
         "'packs' is 9007199254740992"},
        {"a total missing", "\"packs\":7", "\"pucks\":7", CF_ERR_DAMAGE, "'packs' is missing"},
        {"no node", "\"node\"", "\"nude\"", CF_ERR_DAMAGE, "'node' is missing"},
        {"a parent without digest", "\"sha256\"", "\"sha255\"", CF_ERR_DAMAGE,
         "'parent': 'sha256' is missing"},
        {"no origin is fine", "\"origin\"", "\"region\"", CF_OK, ""},
        {"an origin that is no object", "\"origin\":{", "\"origin\":7,\"x\":{", CF_ERR_DAMAGE,
         "'origin' is not an object"},
        {"an origin of no repository", "\"repository\"", "\"depository\"", CF_ERR_DAMAGE,
         "'origin': 'repository' is missing"},
        {"a repository that is none", "cdef\",\"run\"", "cdeg\",\"run\"", CF_ERR_DAMAGE,
         "'origin': 'repository' is '0123456789abcdef0123456789abcdeg', not 32 hex digits"},
        {"an origin's run that is none", "20261119T143100Z", "20261119T253100Z", CF_ERR_DAMAGE,
         "'origin': "},
        {"a segment elsewhere", "20261121T143100Z-00000001/0000000020",
         "../../../../../../../../x/0000000020", CF_ERR_DAMAGE, "segment 1: segment '../"},
        {"an empty segment", "\"bytes\":100", "\"bytes\":0", CF_ERR_DAMAGE,
         "segment 1: 'bytes' is 0"},
        {"a segment too large", "\"bytes\":100", "\"bytes\":33554433", CF_ERR_DAMAGE,
         "'bytes' is 33554433"},
        {"too many lines", "\"lines\":3", "\"lines\":16385", CF_ERR_DAMAGE, "'lines' is 16385"},
        {"only files", "\"kind\":\"packs\"", "\"kind\":\"files\"", CF_OK, ""},
        {"only packs", "\"kind\":\"files\"", "\"kind\":\"packs\"", CF_OK, ""},
        {"packs behind files", "\"segments\":[",
         "\"segments\":[{\"kind\":\"files\",\"key\":\"20261121T143100Z-00000001/"
         "0000000019-files\",\"bytes\":1,\"lines\":1,\"sha256\":"
         "\"3031323334353637383961626364656630313233343536373839616263646566\"},",
         CF_ERR_DAMAGE, "segment 2: packs come before files"},
        {"a key twice", "\"lease\":7", "\"lease\":7,\"lease\":7", CF_ERR_DAMAGE,
         "duplicate object key"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char text[4096];
        cf_root *r = NULL;
        cf_error e = {0};
        const char *const at = strstr(good, cases[i].from);
        assert_non_null(at);
        (void)snprintf(text, sizeof(text), "%.*s%s%s", (int)(at - good), good, cases[i].to,
                       at + strlen(cases[i].from));
        const cf_err err = cf_root_parse(cf_slice_str(text), &r, &e);
        if (err != cases[i].code || strstr(e.message, cases[i].part) == NULL)
            fail_msg("%s: %s: %s", cases[i].title, cf_err_name(err), e.message);
        cf_root_free(r);
    }
    for (size_t len = 0; len < sizeof(good) - 1; len++) { /* truncated anywhere */
        cf_root *r = NULL;
        assert_refused(cf_root_parse(cf_slice_of(good, len), &r, &e), CF_ERR_DAMAGE,
                       "malformed JSON");
    }
}

static void test_limits(void **state)
{
    (void)state;
    const cf_run run = make_run("n", FIXTURE_UTC_S, 1);
    cf_root *const r = make_root(&run);
    CF_CLEANUP(cf_buf_deinit) cf_buf text = {0};
    char key[] = "20261121T143100Z-00000001/0000000021-files.jsonl.zst";
    const cf_segment s = {.kind = CF_SEGMENT_FILES,
                          .key = key,
                          .stored_bytes = CF_SEGMENT_STORED_MAX,
                          .lines_total = CF_SEGMENT_LINES_MAX};
    cf_buf_init(&text, 2 * CF_ROOT_LEN_MAX);
    for (int i = 0; i < CF_SEGMENT_TOTAL_MAX; i++)
        assert_ok(cf_root_add_segment(r, &s, &e));
    assert_ok(cf_root_render(r, &text, &e)); /* as many as there may be fit a root */
    print_message("a root of %d segments has %zu bytes\n", CF_SEGMENT_TOTAL_MAX, text.len);
    assert_refused(cf_root_add_segment(r, &s, &e), CF_ERR_TOO_LARGE, "more than 4096 segments");
    CF_CLEANUP(cf_freep) char *fact = cf_alloc(CF_ROOT_LEN_MAX, 1);
    assert_non_null(fact);
    memset(fact, 'x', CF_ROOT_LEN_MAX - 1);
    assert_int_equal(json_object_set_new(r->facts, "long", json_string(fact)), 0);
    cf_buf_clear(&text);
    assert_refused(cf_root_render(r, &text, &e), CF_ERR_TOO_LARGE, "render the root");
    assert_int_equal(text.len, 0);
    cf_root_free(r);
}

static void test_render_refuses(void **state)
{
    (void)state;
    const cf_run run = make_run("n", FIXTURE_UTC_S, 1);
    cf_root *const r = make_root(&run);
    CF_CLEANUP(cf_buf_deinit) cf_buf text = {0};
    cf_buf_init(&text, CF_ROOT_LEN_MAX);
    r->profile[0] = '\0';
    assert_refused(cf_root_render(r, &text, &e), CF_ERR_DAMAGE,
                   "would be refused when it is read: 'profile' has 0 bytes");
    assert_int_equal(text.len, 0);
    cf_root_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_good), cmocka_unit_test(test_refused),
                                       cmocka_unit_test(test_limits),
                                       cmocka_unit_test(test_render_refuses)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
