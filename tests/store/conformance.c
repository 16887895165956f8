/* SPDX-License-Identifier: Apache-2.0
 *
 * The suite: single calls here, lists in conformance_list.c, threads in conformance_threads.c.
 */
#include "tests/store/conformance.h"

#include "tests/store/conformance_impl.h"
#include "tests/store/conformance_util.h"

static void stores_and_gives_back(void **state)
{
    static const struct {
        const char *title;
        size_t len;
    } rows[] = {
        {"empty object", 0}, {"one byte", 1},
        {"a sector", 512},   {"beyond a read buffer", 256 * 1024 + 1},
        {"1 MiB", 1 << 20},
    };
    cf_error e = {0};
    CF_CLEANUP(cf_store_freep) cf_store *s = conformance_open(state);
    CF_CLEANUP(cf_freep) uint8_t *bytes = cf_alloc(1 << 20, 1);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const cf_slice body = cf_slice_of(bytes, rows[i].len);
        cf_stored stored = {0};
        cf_object_stat stat = {0};
        uint8_t sha256[CF_SHA256_LEN];
        fill(bytes, rows[i].len, (uint32_t)i);
        CHECK_ERR(rows[i].title, &e, CF_OK, cf_sha256(body, sha256, &e));
        CHECK_ERR(rows[i].title, &e, CF_OK, s->ops->put(s, "nodes/n/obj", body, NULL, &stored, &e));
        CHECK(rows[i].title, stored.size_bytes == rows[i].len);
        CHECK(rows[i].title, stored.digest.kind == CF_DIGEST_SHA256);
        CHECK(rows[i].title, memcmp(stored.digest.sha256, sha256, sizeof(sha256)) == 0);
        CHECK(rows[i].title, holds(s, "nodes/n/obj", body));
        CHECK_ERR(rows[i].title, &e, CF_OK, s->ops->head(s, "nodes/n/obj", &stat, &e));
        CHECK(rows[i].title, stat.size_bytes == rows[i].len);
    }
}

static cf_err no_upload(void *impl, const cf_store_upload *upload, cf_error *e)
{
    (void)impl;
    CF_FAIL(e, CF_ERR_FAILED, "upload '%s' of '%s' is listed", upload->id, upload->key);
}

static cf_err append(void *impl, cf_slice bytes, cf_error *e)
{
    cf_buf *const b = impl;
    return cf_buf_append(b, bytes, e);
}

static void gives_ranges(void **state)
{
    static const struct {
        const char *title;
        size_t size;
        uint64_t offset, len;
        cf_err err;
    } rows[] = {
        {"all by zero", 1000, 0, 0, CF_OK},
        {"all by length", 1000, 0, 1000, CF_OK},
        {"the first byte", 1000, 0, 1, CF_OK},
        {"the last byte", 1000, 999, 1, CF_OK},
        {"to the end", 1000, 999, 0, CF_OK},
        {"in the middle", 1000, 1, 998, CF_OK},
        {"second half", 1000, 500, 500, CF_OK},
        {"empty object whole", 0, 0, 0, CF_OK},
        {"one byte too long", 1000, 0, 1001, CF_ERR_DAMAGE},
        {"ends one byte behind", 1000, 999, 2, CF_ERR_DAMAGE},
        {"begins at the end", 1000, 1000, 1, CF_ERR_DAMAGE},
        {"begins at the end, to the end", 1000, 1000, 0, CF_ERR_DAMAGE},
        {"far behind the end", 1000, 5000, 10, CF_ERR_DAMAGE},
        {"a byte of an empty object", 0, 0, 1, CF_ERR_DAMAGE},
        {"sum overflows", 1000, 10, UINT64_MAX - 5, CF_ERR_DAMAGE},
    };
    cf_error e = {0};
    uint8_t bytes[1000];
    CF_CLEANUP(cf_store_freep) cf_store *s = conformance_open(state);
    CF_CLEANUP(cf_buf_deinit) cf_buf got = {0};
    cf_buf_init(&got, 4096);
    fill(bytes, sizeof(bytes), 7);
    CHECK_ERR("setup", &e, CF_OK,
              s->ops->put(s, "size-1000", cf_slice_of(bytes, 1000), NULL, NULL, &e));
    CHECK_ERR("setup", &e, CF_OK, s->ops->put(s, "size-0", cf_slice_of(bytes, 0), NULL, NULL, &e));
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char key[32];
        (void)snprintf(key, sizeof(key), "size-%zu", rows[i].size);
        cf_buf_clear(&got);
        CHECK_ERR(rows[i].title, &e, rows[i].err,
                  s->ops->get(s, key, rows[i].offset, rows[i].len, append, &got, &e));
        if (rows[i].err != CF_OK)
            continue;
        const size_t n =
            rows[i].len == 0 ? rows[i].size - (size_t)rows[i].offset : (size_t)rows[i].len;
        CHECK(rows[i].title,
              cf_slice_eq(cf_buf_slice(&got), cf_slice_of(bytes + rows[i].offset, n)));
    }
}

static void says_what_is_absent(void **state)
{
    cf_error e = {0};
    cf_object_stat stat = {.size_bytes = 77};
    CF_CLEANUP(cf_store_freep) cf_store *s = conformance_open(state);
    CF_CLEANUP(cf_buf_deinit) cf_buf got = {0};
    CF_CLEANUP(listed_deinit) listed l = {0};
    cf_buf_init(&got, 4096);
    CHECK_ERR("setup", &e, CF_OK, put_text(s, "a/b", "x", &e));
    static const char *const keys[] = {"c", "a", "a/bb", "a/b/c", "a/b.c", "z/z/z"};
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        CHECK_ERR(keys[i], &e, CF_ERR_NOT_FOUND, s->ops->head(s, keys[i], &stat, &e));
        CHECK_ERR(keys[i], &e, CF_ERR_NOT_FOUND, s->ops->get(s, keys[i], 0, 0, append, &got, &e));
        CHECK_ERR(keys[i], &e, CF_ERR_NOT_FOUND, s->ops->get(s, keys[i], 5, 5, append, &got, &e));
        CHECK_ERR(keys[i], &e, CF_ERR_NOT_FOUND, cf_store_get_small(s, keys[i], &got, &e));
        CHECK(keys[i], got.len == 0);
    }
    CHECK("outputs are untouched", stat.size_bytes == 77);
    CHECK_ERR("delete of what is not there", &e, CF_OK, s->ops->delete_many(s, keys, 6, NULL, &e));
    CHECK_ERR("delete of nothing", &e, CF_OK, s->ops->delete_many(s, keys, 0, NULL, &e));
    CHECK_ERR("abort of no upload", &e, CF_OK, s->ops->abort_upload(s, "c", "", &e));
    CHECK_ERR("abort of no key", &e, CF_ERR_USAGE, s->ops->abort_upload(s, "", "", &e));
    const cf_err listed_uploads = s->ops->uploads_each(s, "nothing/", no_upload, NULL, &e);
    CHECK("uploads where nothing is",
          listed_uploads == CF_OK || listed_uploads == CF_ERR_UNSUPPORTED);
    CHECK("the neighbour stays", holds(s, "a/b", cf_slice_str("x")));
    CHECK_ERR("list where nothing is", &e, CF_OK, list_into(s, "nothing/", NULL, NULL, &l, &e));
    CHECK("list where nothing is", l.count == 0);
}

static void refuses_what_is_no_key(void **state)
{
    char long_key[CF_KEY_LEN_MAX + 2];
    char long_component[CF_KEY_COMPONENT_LEN_MAX + 2];
    memset(long_key, 'k', sizeof(long_key) - 1);
    for (size_t i = 100; i < sizeof(long_key) - 1; i += 100)
        long_key[i] = '/';
    long_key[sizeof(long_key) - 2] = 'k';
    long_key[sizeof(long_key) - 1] = '\0';
    memset(long_component, 'c', sizeof(long_component) - 1);
    long_component[sizeof(long_component) - 1] = '\0';
    const char *const keys[] = {
        "",
        "/",
        "/a",
        "a/",
        "a//b",
        "..",
        ".",
        "a/../b",
        "a/.",
        "a b",
        "a\nb",
        "a\\b",
        "a%2Fb",
        "\xc3\xa9",
        "a?b",
        "a+b",
        "a~b",
        ".chunkferry-tmp/x",
        ".chunkferry-tmp",
        long_key,
        long_component,
    };
    cf_error e = {0};
    cf_object_stat stat = {0};
    cf_store_put *p = NULL;
    CF_CLEANUP(cf_store_freep) cf_store *s = conformance_open(state);
    CF_CLEANUP(cf_buf_deinit) cf_buf got = {0};
    cf_buf_init(&got, 4096);
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        CHECK_ERR(keys[i], &e, CF_ERR_USAGE, put_text(s, keys[i], "x", &e));
        CHECK_ERR(keys[i], &e, CF_ERR_USAGE, s->ops->put_open(s, keys[i], NULL, &p, &e));
        CHECK_ERR(keys[i], &e, CF_ERR_USAGE, s->ops->head(s, keys[i], &stat, &e));
        CHECK_ERR(keys[i], &e, CF_ERR_USAGE, s->ops->get(s, keys[i], 0, 0, append, &got, &e));
        CHECK_ERR(keys[i], &e, CF_ERR_USAGE, s->ops->delete_many(s, &keys[i], 1, NULL, &e));
    }
    long_key[CF_KEY_LEN_MAX] = '\0'; /* one byte less: the longest key there is */
    long_key[CF_KEY_LEN_MAX - 1] = 'k';
    long_component[CF_KEY_COMPONENT_LEN_MAX] = '\0';
    static const char *const good[] = {"-",  "_",   "...",     ".a",
                                       "a.", "..a", "A-Z_0.9", "x/.chunkferry-tmp"};
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        CHECK_ERR(good[i], &e, CF_OK, put_text(s, good[i], good[i], &e));
        CHECK(good[i], holds(s, good[i], cf_slice_str(good[i])));
    }
    CHECK_ERR("longest key", &e, CF_OK, put_text(s, long_key, "long", &e));
    CHECK("longest key", holds(s, long_key, cf_slice_str("long")));
    CHECK_ERR("longest component", &e, CF_OK, put_text(s, long_component, "comp", &e));
    CF_CLEANUP(listed_deinit) listed l = {0};
    CHECK_ERR("all are listed", &e, CF_OK, list_into(s, "", NULL, NULL, &l, &e));
    CHECK("all are listed", l.count == sizeof(good) / sizeof(good[0]) + 2);
}

static void overwrites(void **state)
{
    cf_error e = {0};
    cf_object_stat stat = {0};
    CF_CLEANUP(cf_store_freep) cf_store *s = conformance_open(state);
    CF_CLEANUP(listed_deinit) listed l = {0};
    CHECK_ERR("first", &e, CF_OK, put_text(s, "l/1", "the longer body of the first", &e));
    CHECK_ERR("second", &e, CF_OK, put_text(s, "l/1", "short", &e));
    CHECK("second", holds(s, "l/1", cf_slice_str("short")));
    CHECK_ERR("to nothing", &e, CF_OK, put_text(s, "l/1", "", &e));
    CHECK("to nothing", holds(s, "l/1", cf_slice_str("")));
    CHECK_ERR("to nothing", &e, CF_OK, s->ops->head(s, "l/1", &stat, &e));
    CHECK("to nothing", stat.size_bytes == 0);
    CHECK_ERR("listed once", &e, CF_OK, list_into(s, "", NULL, NULL, &l, &e));
    CHECK("listed once", l.count == 1);
}

#define ID_A "0123456789abcdef0123456789abcdef"
#define ID_B "ffffffffffffffffffffffffffffffff"

static void creates_only_once(void **state)
{
    static const cf_put_opts by_a = {.create_only = true, .id = ID_A};
    static const cf_put_opts by_b = {.create_only = true, .id = ID_B};
    static const cf_put_opts by_any = {.create_only = true};
    static const cf_put_opts bad[] = {{.create_only = true, .id = "123"},
                                      {.id = "g123456789abcdef0123456789abcdef"}};
    static const char *const key = "snapshots/1";
    cf_error e = {0};
    cf_object_stat stat = {0};
    cf_store_put *p = NULL;
    CF_CLEANUP(cf_store_freep) cf_store *s = conformance_open(state);
    CHECK_ERR("first", &e, CF_OK, s->ops->put(s, key, cf_slice_str("a"), &by_a, NULL, &e));
    CHECK_ERR("another's", &e, CF_ERR_EXISTS,
              s->ops->put(s, key, cf_slice_str("b"), &by_b, NULL, &e));
    CHECK_ERR("no id", &e, CF_ERR_EXISTS,
              s->ops->put(s, key, cf_slice_str("a"), &by_any, NULL, &e));
    CHECK_ERR("ours again", &e, CF_OK, s->ops->put(s, key, cf_slice_str("a"), &by_a, NULL, &e));
    CHECK("still the first", holds(s, key, cf_slice_str("a")));
    CHECK_ERR("its id", &e, CF_OK, s->ops->head(s, key, &stat, &e));
    assert_string_equal(stat.id, ID_A);

    CHECK_ERR("streamed over it", &e, CF_OK, s->ops->put_open(s, key, &by_b, &p, &e));
    CHECK_ERR("streamed over it", &e, CF_OK, s->ops->put_write(p, cf_slice_str("bb"), &e));
    CHECK_ERR("streamed over it", &e, CF_ERR_EXISTS, s->ops->put_finish(p, NULL, &e));
    CHECK("still the first", holds(s, key, cf_slice_str("a")));

    CHECK_ERR("plain put overwrites", &e, CF_OK, put_text(s, key, "plain", &e));
    CHECK_ERR("not ours any more", &e, CF_ERR_EXISTS,
              s->ops->put(s, key, cf_slice_str("a"), &by_a, NULL, &e));
    CHECK_ERR("free again", &e, CF_OK, s->ops->delete_many(s, &key, 1, NULL, &e));
    CHECK_ERR("free again", &e, CF_OK, s->ops->put(s, key, cf_slice_str("b"), &by_b, NULL, &e));
    CHECK("free again", holds(s, key, cf_slice_str("b")));
    for (size_t i = 0; i < 2; i++)
        CHECK_ERR("bad id", &e, CF_ERR_USAGE,
                  s->ops->put(s, "other", cf_slice_str("b"), &bad[i], NULL, &e));
    CHECK_ERR("empty object", &e, CF_OK,
              s->ops->put(s, "fence", cf_slice_str(""), &by_any, NULL, &e));
    CHECK_ERR("empty object", &e, CF_ERR_EXISTS,
              s->ops->put(s, "fence", cf_slice_str("x"), &by_any, NULL, &e));
}

/* What a repository on a store without conditional create does: init's probe found none. */
static void overwrites_without_conditions(void **state)
{
    static const cf_put_opts by_any = {.create_only = true};
    cf_error e = {0};
    cf_store_put *p = NULL;
    CF_CLEANUP(cf_store_freep) cf_store *s = conformance_open(state);
    s->features &= ~(unsigned)CF_STORE_CONDITIONAL_CREATE;
    CHECK_ERR("first", &e, CF_OK, s->ops->put(s, "k", cf_slice_str("a"), &by_any, NULL, &e));
    CHECK_ERR("second", &e, CF_OK, s->ops->put(s, "k", cf_slice_str("b"), &by_any, NULL, &e));
    CHECK("second", holds(s, "k", cf_slice_str("b")));
    CHECK_ERR("streamed", &e, CF_OK, s->ops->put_open(s, "k", &by_any, &p, &e));
    CHECK_ERR("streamed", &e, CF_OK, s->ops->put_write(p, cf_slice_str("cc"), &e));
    CHECK_ERR("streamed", &e, CF_OK, s->ops->put_finish(p, NULL, &e));
    CHECK("streamed", holds(s, "k", cf_slice_str("cc")));
}

/* What the digest must be, by its own words. */
static void check_digest(const char *title, cf_slice body, const cf_digest *digest)
{
    CF_CLEANUP(cf_hash_deinit) cf_hash all = {0};
    cf_error e = {0};
    uint8_t sha256[CF_SHA256_LEN];
    if (digest->kind == CF_DIGEST_SHA256) {
        CHECK_ERR(title, &e, CF_OK, cf_sha256(body, sha256, &e));
    } else {
        CHECK(title, digest->part_bytes > 0 && body.len > digest->part_bytes);
        CHECK_ERR(title, &e, CF_OK, cf_hash_init(&all, CF_HASH_SHA256, &e));
        for (size_t at = 0; at < body.len; at += (size_t)digest->part_bytes) {
            const size_t left = body.len - at;
            const size_t n = left < digest->part_bytes ? left : (size_t)digest->part_bytes;
            CHECK_ERR(title, &e, CF_OK, cf_sha256(cf_slice_of(body.ptr + at, n), sha256, &e));
            CHECK_ERR(title, &e, CF_OK,
                      cf_hash_update(&all, cf_slice_of(sha256, sizeof(sha256)), &e));
        }
        CHECK_ERR(title, &e, CF_OK, cf_hash_final(&all, sha256, &e));
    }
    CHECK(title, memcmp(sha256, digest->sha256, sizeof(sha256)) == 0);
}

static void stream_one(cf_store *s, const char *title, const char *key, cf_slice body, size_t step)
{
    cf_error e = {0};
    cf_store_put *p = NULL;
    cf_stored stored = {0};
    cf_object_stat stat = {0};
    CHECK_ERR(title, &e, CF_OK,
              s->ops->put_open(s, key, &(cf_put_opts){.create_only = true}, &p, &e));
    for (size_t at = 0; at < body.len; at += step) {
        const size_t n = body.len - at < step ? body.len - at : step;
        CHECK_ERR(title, &e, CF_OK, s->ops->put_write(p, cf_slice_of(body.ptr + at, n), &e));
    }
    CHECK(title, s->ops->put_upload_id(p) != NULL);
    CHECK_ERR(title, &e, CF_ERR_NOT_FOUND, s->ops->head(s, key, &stat, &e));
    CHECK_ERR(title, &e, CF_OK, s->ops->put_finish(p, &stored, &e));
    CHECK(title, stored.size_bytes == body.len);
    check_digest(title, body, &stored.digest);
    CHECK(title, holds(s, key, body));
}

static void streams(void **state)
{
    const uint64_t part = conformance_of(state)->part_bytes;
    const struct {
        const char *title;
        uint64_t len;
        size_t step;
    } rows[] = {
        {"0 bytes", 0, 1},
        {"1 byte", 1, 1},
        {"one byte less than a part", part - 1, 1 << 20},
        {"exactly a part", part, 1 << 20},
        {"exactly a part at once", part, (size_t)part},
        {"one byte more than a part", part + 1, (size_t)part + 1},
        {"two parts exactly", part * 2, 999983},
        {"three parts and some", part * 3 + 7, 999983},
    };
    CF_CLEANUP(cf_store_freep) cf_store *s = conformance_open(state);
    CF_CLEANUP(cf_freep) uint8_t *bytes = cf_alloc((size_t)part * 3 + 7, 1);
    CHECK("setup", bytes != NULL);
    fill(bytes, (size_t)part * 3 + 7, 3);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char key[32];
        (void)snprintf(key, sizeof(key), "packs/%zu.zst", i);
        stream_one(s, rows[i].title, key, cf_slice_of(bytes, (size_t)rows[i].len), rows[i].step);
    }
}

static void aborts_without_a_trace(void **state)
{
    const size_t part = (size_t)conformance_of(state)->part_bytes;
    const size_t lens[] = {0, 10, part, part * 2 + 5};
    CF_CLEANUP(cf_store_freep) cf_store *s = conformance_open(state);
    CF_CLEANUP(cf_freep) uint8_t *bytes = cf_alloc(part * 2 + 5, 1);
    CF_CLEANUP(listed_deinit) listed l = {0};
    cf_error e = {0};
    cf_object_stat stat = {0};
    for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
        cf_store_put *p = NULL;
        CHECK_ERR("abort", &e, CF_OK, s->ops->put_open(s, "gone", NULL, &p, &e));
        CHECK_ERR("abort", &e, CF_OK, s->ops->put_write(p, cf_slice_of(bytes, lens[i]), &e));
        s->ops->put_abort(p);
        CHECK_ERR("abort", &e, CF_ERR_NOT_FOUND, s->ops->head(s, "gone", &stat, &e));
    }
    CHECK_ERR("abort", &e, CF_OK, list_into(s, "", NULL, NULL, &l, &e));
    CHECK("abort", l.count == 0);
    s->ops->put_abort(NULL);
}

static cf_err refuse(void *impl, cf_slice bytes, cf_error *e)
{
    size_t *const calls = impl;
    (void)bytes;
    (*calls)++;
    CF_FAIL(e, CF_ERR_SOURCE, "the sink is full");
}

static void passes_the_sinks_error_on(void **state)
{
    cf_error e = {0};
    size_t calls = 0;
    CF_CLEANUP(cf_store_freep) cf_store *s = conformance_open(state);
    CF_CLEANUP(cf_freep) uint8_t *bytes = cf_alloc(1 << 20, 1);
    CF_CLEANUP(cf_buf_deinit) cf_buf small = {0};
    CHECK_ERR("setup", &e, CF_OK, s->ops->put(s, "k", cf_slice_of(bytes, 1 << 20), NULL, NULL, &e));
    CHECK_ERR("sink", &e, CF_ERR_SOURCE, s->ops->get(s, "k", 0, 0, refuse, &calls, &e));
    CHECK("sink is called once", calls == 1);
    cf_buf_init(&small, 1000);
    CHECK_ERR("small buffer", &e, CF_ERR_TOO_LARGE, cf_store_get_small(s, "k", &small, &e));
    CHECK("small buffer is empty", small.len == 0);
}

static void tells_the_time(void **state)
{
    enum { SLACK_MS = 2000 }; /* S3's times have whole seconds */
    cf_error e = {0};
    int64_t before = 0;
    int64_t after = 0;
    cf_object_stat stat = {0};
    const cf_world *const w = cf_world_real();
    CF_CLEANUP(cf_store_freep) cf_store *s = conformance_open(state);
    CHECK_ERR("time", &e, CF_OK, s->ops->now_utc_ms(s, &before, &e));
    CHECK_ERR("time", &e, CF_OK, put_text(s, "k", "x", &e));
    CHECK_ERR("time", &e, CF_OK, s->ops->head(s, "k", &stat, &e));
    CHECK_ERR("time", &e, CF_OK, s->ops->now_utc_ms(s, &after, &e));
    CHECK("time goes on", after + SLACK_MS >= before);
    CHECK("near this machine's", llabs(after - w->now_utc_ms(w->impl)) < 15 * 60 * 1000);
    CHECK("modified not before", stat.modified_utc_ms + SLACK_MS >= before);
    CHECK("modified not after", stat.modified_utc_ms <= after + SLACK_MS);
}

static void knows_that_the_place_is_absent(void **state)
{
    static const char *const key = "k";
    const conformance *const c = conformance_of(state);
    cf_error e = {0};
    cf_object_stat stat = {0};
    CF_CLEANUP(cf_store_freep) cf_store *s = c->open_absent(c->impl);
    CF_CLEANUP(cf_buf_deinit) cf_buf got = {0};
    CF_CLEANUP(listed_deinit) listed l = {0};
    cf_buf_init(&got, 100);
    CHECK("setup", s != NULL);
    CHECK_ERR("put", &e, CF_ERR_NO_BUCKET, put_text(s, key, "x", &e));
    CHECK_ERR("get", &e, CF_ERR_NO_BUCKET, s->ops->get(s, key, 0, 0, append, &got, &e));
    CHECK_ERR("head", &e, c->absent_head, s->ops->head(s, key, &stat, &e));
    CHECK_ERR("list", &e, CF_ERR_NO_BUCKET, list_into(s, "", NULL, NULL, &l, &e));
    CHECK_ERR("delete", &e, CF_ERR_NO_BUCKET, s->ops->delete_many(s, &key, 1, NULL, &e));
}

static void counts_and_creates_again(void **state)
{
    cf_error e = {0};
    cf_store_counts before = {0};
    cf_store_counts after = {0};
    CF_CLEANUP(cf_store_freep) cf_store *s = conformance_open(state);
    s->ops->get_counts(s, &before);
    CHECK_ERR("create what is there", &e, CF_OK, s->ops->create(s, &e));
    CHECK_ERR("put", &e, CF_OK, put_text(s, "k", "twelve bytes", &e));
    CHECK("get", holds(s, "k", cf_slice_str("twelve bytes")));
    s->ops->get_counts(s, &after);
    CHECK("requests", after.requests_total >= before.requests_total + 3);
    CHECK("sent", after.bytes_sent >= before.bytes_sent + 12);
    CHECK("received", after.bytes_received >= before.bytes_received + 12);
}

static const struct CMUnitTest single_tests[] = {
    cmocka_unit_test(stores_and_gives_back),
    cmocka_unit_test(gives_ranges),
    cmocka_unit_test(says_what_is_absent),
    cmocka_unit_test(refuses_what_is_no_key),
    cmocka_unit_test(overwrites),
    cmocka_unit_test(creates_only_once),
    cmocka_unit_test(overwrites_without_conditions),
    cmocka_unit_test(streams),
    cmocka_unit_test(aborts_without_a_trace),
    cmocka_unit_test(passes_the_sinks_error_on),
    cmocka_unit_test(tells_the_time),
    cmocka_unit_test(knows_that_the_place_is_absent),
    cmocka_unit_test(counts_and_creates_again),
};

/* ---- running ---- */

enum { TESTS_MAX = 64 };

typedef struct conformance_case {
    const conformance *c;
    unsigned n;
} conformance_case;

const conformance *conformance_of(void **state)
{
    const conformance_case *const one = *state;
    return one->c;
}

cf_store *conformance_open(void **state)
{
    const conformance_case *const one = *state;
    cf_store *const s = one->c->open(one->c->impl, one->n);
    assert_non_null(s);
    return s;
}

int conformance_run(const conformance *c)
{
    struct CMUnitTest tests[TESTS_MAX];
    conformance_case cases[TESTS_MAX];
    const conformance_group groups[] = {
        {single_tests, sizeof(single_tests) / sizeof(single_tests[0])},
        conformance_list_tests(),
        conformance_thread_tests(),
    };
    size_t total = 0;
    for (size_t g = 0; g < sizeof(groups) / sizeof(groups[0]); g++) {
        for (size_t i = 0; i < groups[g].count; i++, total++) {
            cases[total] = (conformance_case){.c = c, .n = (unsigned)total};
            tests[total] = groups[g].tests[i];
            tests[total].initial_state = &cases[total];
        }
    }
    return _cmocka_run_group_tests(c->name, tests, total, NULL, NULL);
}
