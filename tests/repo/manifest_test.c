/* SPDX-License-Identifier: Apache-2.0 */
#include "fixture.h"

#include <sys/resource.h>
#include <zstd.h>

#include "repo/lease.h"
#include "repo/manifest.h"
#include "repo/pack_use.h"
#include "repo/segment.h"
#include "repo/spool.h"

static const char sha[32] = "0123456789abcdef0123456789abcdef";

/* A node of files, each with a pack of its own, written by the run `owner`. */
static void chunk_name(char *ret, size_t size, uint32_t i)
{
    (void)snprintf(ret, size, "db/chunk-%06u.000000", (unsigned)i);
}

static void pack_name(char *ret, size_t size, const cf_run_id *owner, uint32_t seq)
{
    (void)snprintf(ret, size, "%s/%010u-pack-x.zst", owner->text, (unsigned)seq);
}

static void add_file(cf_manifest *m, uint32_t i, const char *pack)
{
    enum { FRAMES = 4 };
    char path[64];
    uint32_t frames[FRAMES] = {1000001 + i % 97, 1000002, 1000003, 1000004 + i % 89};
    cf_extent x = {.pack = pack,
                   .file_bytes = (uint64_t)FRAMES * CF_FRAME_BYTES,
                   .frame_bytes = frames,
                   .frame_total = FRAMES};
    uint8_t header[128];
    for (size_t b = 0; b < sizeof(header); b++)
        header[b] = (uint8_t)(i * 31 + b * 7);
    for (size_t b = 0; b < FRAMES; b++)
        x.stored_bytes += frames[b];
    chunk_name(path, sizeof(path), i);
    cf_file_line line = {.step = 1,
                         .path = cf_slice_str(path),
                         .type = CF_LINE_FILE,
                         .size_bytes = x.file_bytes,
                         .mode = 0644,
                         .klass = "chunk",
                         .cert_header = cf_slice_of(header, sizeof(header)),
                         .cert_footer = cf_slice_of(header, sizeof(header)),
                         .has_sha256 = true,
                         .extents = &x,
                         .extent_total = 1};
    memcpy(line.sha256, sha, sizeof(line.sha256));
    assert_ok(cf_manifest_add_file(m, &line, &e));
}

/* One pack in ten was copied: whoever takes its line over keeps where it came from. */
static const char *origin_of(const char *pack)
{
    return strstr(pack, "7-pack") != NULL ? "20250101T000000Z-0badcafe/0000000009-pack-x.zst"
                                          : NULL;
}

static void add_pack(cf_manifest *m, const char *pack)
{
    cf_pack_line line = {
        .pack = pack, .stored_bytes = 5000000, .used_bytes = 77, .origin = origin_of(pack)};
    memcpy(line.digest.sha256, sha, sizeof(line.digest.sha256));
    assert_ok(cf_manifest_add_pack(m, &line, &e));
}

/* What a run writes: files first..total-1 (from `changed` on, or one, anew in packs of this run;
 * the others as `old` wrote them). */
typedef struct plan {
    uint32_t first, total;
    const cf_run_id *old; /* NULL: all is new */
    uint32_t changed;     /* this file is new; UINT32_MAX: none */
} plan;

static cf_root *write_run(fixture *f, cf_run *run, const cf_root *parent, const plan *p)
{
    CF_CLEANUP(cf_manifest_freep) cf_manifest *m = NULL;
    cf_root *const root = make_root(run);
    if (parent != NULL) {
        root->has_parent = true;
        root->parent = parent->run;
    }
    assert_ok(cf_manifest_new(&(cf_manifest_opts){.repo = &f->repo, .run = run, .parent = parent},
                              &m, &e));
    atomic_store(&run->seq, p->total); /* packs are numbered by file here, segments behind them */
    for (uint32_t i = p->first; i < p->total; i++) {
        char pack[CF_RUN_OBJECT_LEN_MAX];
        const bool ours = p->old == NULL || i == p->changed;
        pack_name(pack, sizeof(pack), ours ? &run->id : p->old, i + 1);
        if (ours)
            add_pack(m, pack);
        add_file(m, i, pack);
    }
    assert_ok(cf_manifest_finish(m, root, &e));
    return root;
}

/* Reads all; packs are named by `total` files. */
static void check_all(fixture *f, const cf_root *root, uint32_t first, uint32_t total)
{
    CF_CLEANUP(cf_cursor_freep) cf_cursor *files = NULL;
    CF_CLEANUP(cf_cursor_freep) cf_cursor *packs = NULL;
    const cf_file_line *line = NULL;
    const cf_pack_line *pack = NULL;
    uint64_t used = 0;
    uint32_t n = 0;
    assert_ok(cf_cursor_new(&f->repo, "n", root, CF_SEGMENT_FILES, &files, &e));
    for (uint32_t i = first; i < total; i++) {
        char path[64];
        chunk_name(path, sizeof(path), i);
        assert_ok(cf_cursor_next_file(files, &line, &e));
        assert_non_null(line);
        assert_true(cf_slice_eq(line->path, cf_slice_str(path)));
        assert_int_equal(line->extent_total, 1);
        used += line->extents[0].stored_bytes;
    }
    assert_ok(cf_cursor_next_file(files, &line, &e));
    assert_null(line);
    assert_ok(cf_cursor_new(&f->repo, "n", root, CF_SEGMENT_PACKS, &packs, &e));
    assert_ok(cf_cursor_next_pack(packs, &pack, &e));
    for (; pack != NULL; n++) {
        assert_true(pack->used_bytes > 4000000 && pack->used_bytes < pack->stored_bytes);
        used -= pack->used_bytes;
        assert_true((pack->origin != NULL) == (origin_of(pack->pack) != NULL));
        if (pack->origin != NULL)
            assert_string_equal(pack->origin, origin_of(pack->pack));
        assert_ok(cf_cursor_next_pack(packs, &pack, &e));
    }
    assert_int_equal(n, total - first);
    assert_int_equal(used, 0);
    assert_int_equal(root->totals.packs_total, total - first);
}

static void test_two_runs(void **state)
{
    (void)state;
    fixture f;
    fixture_init(&f);
    cf_run first = make_run("n", FIXTURE_UTC_S, 1);
    cf_root *const a = write_run(&f, &first, NULL, &(plan){.total = 20000, .changed = UINT32_MAX});
    check_all(&f, a, 0, 20000);
    assert_int_equal(a->segments[0].kind, CF_SEGMENT_PACKS);
    const size_t objects = count_objects(&f, "nodes/n/runs/");
    assert_int_equal(objects, a->segment_total);

    cf_run same = make_run("n", FIXTURE_UTC_S + 60, 2);
    cf_root *const b =
        write_run(&f, &same, a, &(plan){.total = 20000, .old = &first.id, .changed = UINT32_MAX});
    assert_int_equal(b->segment_total, a->segment_total);
    for (size_t i = 0; i < a->segment_total; i++)
        assert_string_equal(a->segments[i].key, b->segments[i].key);
    assert_int_equal(count_objects(&f, "nodes/n/runs/"), objects); /* nothing was written */

    cf_run third = make_run("n", FIXTURE_UTC_S + 120, 3);
    cf_root *const c = write_run(
        &f, &third, b, &(plan){.first = 1, .total = 20001, .old = &first.id, .changed = 20000});
    check_all(&f, c, 1,
              20001); /* the pack of file 0 is dropped, one of ours is behind the parent's */
    /* A file went at the front and one came at the end: the segments between are the parent's,
     * thanks to cuts by path. */
    size_t equal = 0;
    for (size_t i = 0; i < c->segment_total; i++)
        for (size_t j = 0; j < b->segment_total; j++)
            equal += strcmp(c->segments[i].key, b->segments[j].key) == 0;
    assert_true(equal >= 1);
    cf_root_free(a);
    cf_root_free(b);
    cf_root_free(c);
    fixture_deinit(&f);
}

static long max_rss_kib(void)
{
    struct rusage u = {0};
    assert_int_equal(getrusage(RUSAGE_SELF, &u), 0);
    return u.ru_maxrss;
}

static void test_many_lines(void **state)
{
    (void)state;
    fixture f;
    fixture_init(&f);
    cf_run first = make_run("n", FIXTURE_UTC_S, 1);
    const long before_kib = max_rss_kib();
    cf_root *const a = write_run(&f, &first, NULL, &(plan){.total = 100000, .changed = UINT32_MAX});
    check_all(&f, a, 0, 100000);
    const long grown_kib = max_rss_kib() - before_kib;
    uint64_t stored = 0;
    for (size_t i = 0; i < a->segment_total; i++)
        stored += a->segments[i].stored_bytes;
    print_message("100,000 files: %zu segments, %llu KiB stored (in this process: the store is "
                  "memory), +%ld KiB\n",
                  a->segment_total, (unsigned long long)stored / 1024, grown_kib);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    assert_true(grown_kib <
                (long)(stored / 1024) +
                    48 * 1024); /* beside the store: use of packs, spool, windows, cache */
#endif
    cf_root_free(a);
    fixture_deinit(&f);
}

static void test_find(void **state)
{
    (void)state;
    fixture f;
    fixture_init(&f);
    cf_run run = make_run("n", FIXTURE_UTC_S, 1);
    cf_root *const root = write_run(&f, &run, NULL, &(plan){.total = 10, .changed = UINT32_MAX});
    CF_CLEANUP(cf_cursor_freep) cf_cursor *c = NULL;
    const cf_file_line *line = NULL;
    assert_ok(cf_cursor_new(&f.repo, "n", root, CF_SEGMENT_FILES, &c, &e));
    for (int round = 0; round < 2; round++) {
        assert_ok(cf_cursor_find_file(c, 0, cf_slice_str("zzz"), &line, &e)); /* a step before */
        assert_null(line);
        assert_ok(cf_cursor_find_file(c, 1, cf_slice_str("db/chunk-000000.000000"), &line, &e));
        assert_non_null(line);
        assert_ok(cf_cursor_find_file(c, 1, cf_slice_str("db/chunk-000003.000000"), &line, &e));
        assert_non_null(line);
        assert_ok(cf_cursor_find_file(c, 1, cf_slice_str("db/chunk-000003.000001"), &line, &e));
        assert_null(line);
        assert_ok(cf_cursor_find_file(c, 1, cf_slice_str("db/chunk-000003.000002"), &line, &e));
        assert_null(line);
        assert_ok(cf_cursor_next_file(c, &line, &e)); /* looked at, not given yet */
        assert_true(cf_slice_eq(line->path, cf_slice_str("db/chunk-000004.000000")));
        assert_ok(cf_cursor_find_file(c, 1, cf_slice_str("db/chunk-000009.000000"), &line, &e));
        assert_non_null(line);
        assert_ok(cf_cursor_find_file(c, 2, cf_slice_str("a"), &line, &e));
        assert_null(line);
        const uint64_t requests = count_requests(&f);
        assert_ok(cf_cursor_rewind(c, &e));
        assert_ok(cf_cursor_next_file(c, &line, &e));
        assert_non_null(line);
        assert_ok(cf_cursor_rewind(c, &e));
        assert_int_equal(count_requests(&f), requests); /* read twice, fetched once */
    }
    cf_root_free(root);
    fixture_deinit(&f);
}

static void test_undescribed(void **state)
{
    (void)state;
    fixture f;
    fixture_init(&f);
    cf_run run = make_run("n", FIXTURE_UTC_S, 1);
    cf_root *const root = make_root(&run);
    CF_CLEANUP(cf_manifest_freep) cf_manifest *m = NULL;
    assert_ok(cf_manifest_new(&(cf_manifest_opts){.repo = &f.repo, .run = &run}, &m, &e));
    add_file(m, 0, "20200101T000000Z-deadbeef/0000000007-pack-x.zst");
    assert_refused(cf_manifest_finish(m, root, &e), CF_ERR_DAMAGE,
                   "names pack '20200101T000000Z-deadbeef/0000000007', which neither");
    assert_int_equal(root->segment_total, 0); /* untouched */
    cf_root_free(root);
    fixture_deinit(&f);
}

/* --- segments that are not what the root says --- */

static cf_err read_all(fixture *f, const cf_root *root, cf_error *e)
{
    CF_CLEANUP(cf_cursor_freep) cf_cursor *c = NULL;
    const cf_file_line *line = NULL;
    CF_TRY(cf_cursor_new(&f->repo, "n", root, CF_SEGMENT_FILES, &c, e));
    do
        CF_TRY(cf_cursor_next_file(c, &line, e));
    while (line != NULL);
    return CF_OK;
}

#define LINE(path)                                                                                 \
    "{\"step\":1,\"path\":\"" path                                                                 \
    "\",\"type\":\"dir\",\"mode\":\"0755\",\"uid\":0,\"gid\":0,\"mtime\":\"2026-11-21T14:31:00."   \
    "000000000Z\",\"class\":\"d\"}\n"

static void put_segment(fixture *f, cf_root *root, const char *name, cf_slice text, uint64_t lines)
{
    char key[CF_KEY_LEN_MAX + 1];
    CF_CLEANUP(cf_buf_deinit) cf_buf stored = {0};
    cf_segment s = {.kind = CF_SEGMENT_FILES, .lines_total = lines};
    cf_buf_init(&stored, CF_SEGMENT_STORED_MAX);
    assert_ok(cf_buf_reserve(&stored, ZSTD_compressBound(text.len), &e));
    stored.len = ZSTD_compress(stored.data, stored.cap, text.ptr, text.len, 3);
    assert_false(ZSTD_isError(stored.len));
    char copy[CF_RUN_OBJECT_LEN_MAX];
    (void)snprintf(copy, sizeof(copy), "20261121T143100Z-00000001/%s-files.jsonl.zst", name);
    s.key = copy;
    s.stored_bytes = stored.len;
    cf_key_of_object(key, "n", copy);
    put_object(f, key, cf_buf_slice(&stored));
    assert_ok(cf_sha256(cf_buf_slice(&stored), s.sha256, &e));
    assert_ok(cf_root_add_segment(root, &s, &e));
}

static void test_lying_segments(void **state)
{
    (void)state;
    static const struct {
        const char *title, *first, *second;
        uint64_t lines;
        const char *part; /* NULL: good */
    } cases[] = {
        {"good", LINE("a") LINE("b"), LINE("c"), 2, NULL},
        {"fewer lines than said", LINE("a"), NULL, 2, "has 1 lines, the root says 2"},
        {"more lines than said", LINE("a") LINE("b"), NULL, 1, "has more lines than the 1"},
        {"against the order", LINE("b") LINE("a"), NULL, 2, "line of 'a' comes after 'b'"},
        {"a line twice", LINE("a") LINE("a"), NULL, 2, "line of 'a' comes after 'a'"},
        {"against the order across segments", LINE("a") LINE("c"), LINE("b"), 2,
         "line of 'b' comes after 'c'"},
        {"an empty line", LINE("a") "\n", NULL, 2, "line 2 is empty"},
        {"no newline at the end", LINE("a") "{}", NULL, 2, "the last line has no newline"},
        {"not JSON", "hello\n", NULL, 1, "malformed JSON"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        fixture f;
        fixture_init(&f);
        cf_run run = make_run("n", FIXTURE_UTC_S, 1);
        cf_root *const root = make_root(&run);
        put_segment(&f, root, "0000000001", cf_slice_str(cases[i].first), cases[i].lines);
        if (cases[i].second != NULL)
            put_segment(&f, root, "0000000002", cf_slice_str(cases[i].second), 1);
        if (cases[i].part == NULL)
            assert_ok(read_all(&f, root, &e));
        else
            assert_refused(read_all(&f, root, &e), CF_ERR_DAMAGE, cases[i].part);
        cf_root_free(root);
        fixture_deinit(&f);
    }
}

static void test_damaged_segments(void **state)
{
    (void)state;
    fixture f;
    fixture_init(&f);
    cf_run run = make_run("n", FIXTURE_UTC_S, 1);
    cf_root *const root = write_run(&f, &run, NULL, &(plan){.total = 50, .changed = UINT32_MAX});
    cf_segment *const s = &root->segments[1];
    CF_CLEANUP(cf_buf_deinit) cf_buf good = {0};
    CF_CLEANUP(cf_buf_deinit) cf_buf bad = {0};
    char key[CF_KEY_LEN_MAX + 1];
    cf_buf_init(&good, CF_SEGMENT_STORED_MAX);
    cf_buf_init(&bad, CF_SEGMENT_STORED_MAX);
    cf_key_of_object(key, "n", s->key);
    assert_ok(cf_store_get_small(f.store, key, &good, &e));
    for (size_t bit = 0; bit < good.len * 8;
         bit += 101) { /* each is found before anything is decompressed */
        cf_buf_clear(&bad);
        assert_ok(cf_buf_append(&bad, cf_buf_slice(&good), &e));
        bad.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        put_object(&f, key, cf_buf_slice(&bad));
        assert_refused(read_all(&f, root, &e), CF_ERR_DAMAGE, "has another SHA-256");
    }
    put_object(&f, key, cf_slice_of(good.data, good.len - 1));
    assert_refused(read_all(&f, root, &e), CF_ERR_DAMAGE, "the root says");
    /* A root that was made to fit: truncated frames, bombs. */
    assert_ok(cf_sha256(cf_slice_of(good.data, good.len - 1), s->sha256, &e));
    s->stored_bytes--;
    assert_refused(read_all(&f, root, &e), CF_ERR_DAMAGE, "in the middle of a frame");
    const char *const keys[] = {key};
    assert_ok(f.store->ops->delete_many(f.store, keys, 1, NULL, &e));
    assert_refused(read_all(&f, root, &e), CF_ERR_DAMAGE, "is gone");
    cf_root_free(root);
    fixture_deinit(&f);
}

static void test_bombs(void **state)
{
    (void)state;
    fixture f;
    fixture_init(&f);
    cf_run run = make_run("n", FIXTURE_UTC_S, 1);
    cf_root *root = make_root(&run);
    const size_t size = (size_t)CF_LINE_LEN_MAX + 300000;
    CF_CLEANUP(cf_freep) char *text = cf_alloc(size, 1);
    assert_non_null(text);
    memset(text, ' ', size);
    put_segment(&f, root, "0000000001", cf_slice_of(text, size), 1);
    assert_true(root->segments[0].stored_bytes < 10000);
    assert_refused(read_all(&f, root, &e), CF_ERR_DAMAGE, "line 1 has more than 4194304 bytes");
    cf_root_free(root);
    fixture_deinit(&f);
}

static void test_pack_use(void **state)
{
    (void)state;
    CF_CLEANUP(cf_pack_use_freep) cf_pack_use *u = NULL;
    char name[CF_RUN_OBJECT_LEN_MAX + 1];
    enum { PACKS = 50000 };
    assert_ok(cf_pack_use_new(PACKS, &u, &e));
    for (uint32_t i = 0; i < PACKS; i++) {
        const cf_run run = make_run("n", FIXTURE_UTC_S + i / 100, i / 50);
        pack_name(name, sizeof(name), &run.id, i + 1);
        assert_ok(cf_pack_use_add(u, name, i, &e));
        assert_ok(cf_pack_use_add(u, name, 1, &e));
    }
    assert_refused(cf_pack_use_add(u, "20200101T000000Z-deadbeef/0000000007-pack", 1, &e),
                   CF_ERR_TOO_LARGE, "more than 50000 packs");
    assert_int_equal(cf_pack_use_describe(u, "20200101T000000Z-deadbeef/0000000007-pack"), 0);
    for (uint32_t i = 0; i < PACKS; i++) {
        const cf_run run = make_run("n", FIXTURE_UTC_S + i / 100, i / 50);
        pack_name(name, sizeof(name), &run.id, i + 1);
        if (i == PACKS - 1) {
            char found[CF_RUN_OBJECT_LEN_MAX + 1] = "";
            assert_true(cf_pack_use_find_undescribed(u, found));
            assert_memory_equal(found, name, strlen(found));
        }
        assert_int_equal(cf_pack_use_describe(u, name), i + 1);
    }
    assert_false(cf_pack_use_find_undescribed(u, name));
}

static void test_spool(void **state)
{
    (void)state;
    CF_CLEANUP(cf_spool_freep) cf_spool *s = NULL;
    static const uint32_t totals[] = {0, 1, 300, 5000};
    for (size_t t = 0; t < ARRAY_LEN(totals); t++) {
        cf_spool_free(CF_STEAL(s));
        assert_ok(cf_spool_new(&s, &e));
        for (uint32_t i = 0; i < totals[t]; i++) {
            char line[512];
            (void)snprintf(line, sizeof(line), "%u %*s\n", (unsigned)i, (int)(i % 400), "x");
            assert_ok(cf_spool_add(s, cf_slice_str(line), &e));
        }
        for (int round = 0; round < 2; round++) {
            cf_slice line = {NULL, 0};
            cf_spool_rewind(s);
            for (uint32_t i = 0; i < totals[t]; i++) {
                char expected[512];
                (void)snprintf(expected, sizeof(expected), "%u %*s", (unsigned)i, (int)(i % 400),
                               "x");
                assert_ok(cf_spool_next(s, &line, &e));
                assert_true(cf_slice_eq(line, cf_slice_str(expected)));
            }
            assert_ok(cf_spool_next(s, &line, &e));
            assert_int_equal(line.len, 0);
        }
    }
}

static void test_journal(void **state)
{
    (void)state;
    fixture f;
    fixture_init(&f);
    cf_run run = make_run("n", FIXTURE_UTC_S, 1);
    CF_CLEANUP(cf_journal_freep) cf_journal *j = NULL;
    assert_ok(cf_journal_new(&f.repo, &run, &j, &e));
    assert_ok(cf_journal_add_line(j, cf_slice_str("{\"a\":1}\n"), &e));
    assert_ok(cf_journal_tick(j, 1000, cf_slice_of(NULL, 0), &e));
    assert_int_equal(count_objects(&f, "nodes/n/runs/"), 0); /* not yet */
    pass_s(&f, 60);
    assert_ok(cf_journal_tick(j, 1000, cf_slice_str("k1 id1\nk2 id2\n"), &e));
    assert_int_equal(count_objects(&f, "nodes/n/runs/"), 1);
    pass_s(&f, 60);
    assert_ok(cf_journal_tick(j, 1000, cf_slice_of(NULL, 0), &e)); /* nothing new: nothing put */
    assert_int_equal(count_objects(&f, "nodes/n/runs/"), 1);
    assert_ok(cf_journal_add_line(j, cf_slice_str("{\"b\":2}\n"), &e));
    assert_ok(
        cf_journal_tick(j, 1000 + (uint64_t)CF_JOURNAL_EVERY_BYTES_MIN, cf_slice_of(NULL, 0), &e));
    assert_int_equal(count_objects(&f, "nodes/n/runs/"), 2);

    static const char *const expected[] = {
        "{\"a\":1}\n{\"uploads\":[{\"key\":\"k1\",\"id\":\"id1\"},{\"key\":\"k2\",\"id\":\"id2\"}]}"
        "\n",
        "{\"b\":2}\n{\"uploads\":[]}\n",
    };
    for (uint32_t i = 0; i < ARRAY_LEN(expected); i++) {
        CF_CLEANUP(cf_buf_deinit) cf_buf stored = {0};
        char key[CF_KEY_LEN_MAX + 1];
        char text[512];
        cf_buf_init(&stored, 10000);
        cf_key_run_object(key, &run, i + 1, "journal", "", ".jsonl.zst");
        assert_ok(cf_store_get_small(f.store, key, &stored, &e));
        const size_t len = ZSTD_decompress(text, sizeof(text), stored.data, stored.len);
        assert_false(ZSTD_isError(len));
        assert_true(cf_slice_eq(cf_slice_of(text, len), cf_slice_str(expected[i])));
    }
    fixture_deinit(&f);
}

/* --- what a no-change backup of 10,000 chunks costs --- */

static cf_err count_before(void *impl, cf_store_op op, const char *key, cf_error *e)
{
    (void)key;
    (void)e;
    if (op != CF_STORE_OP_NOW) /* on S3 the time comes with every answer */
        (*(int *)impl)++;
    return CF_OK;
}

static void no_change_run(fixture *f)
{
    CF_CLEANUP(cf_snapshot_ids_deinit) cf_snapshot_ids ids = {0};
    CF_CLEANUP(cf_snapshot_ids_deinit) cf_snapshot_ids again = {0};
    CF_CLEANUP(cf_root_freep) cf_root *parent = NULL;
    CF_CLEANUP(cf_cursor_freep) cf_cursor *c = NULL;
    CF_CLEANUP(cf_manifest_freep) cf_manifest *m = NULL;
    const cf_file_line *line = NULL;
    cf_lease *lease = NULL;
    cf_repo repo = {0};
    cf_run run = make_run("n", FIXTURE_UTC_S + 3600, 9);
    assert_ok(cf_repo_open(f->store, &f->world, &repo, &e));
    assert_ok(cf_snapshot_list(&repo, "n", true, &ids, &e));
    assert_ok(cf_snapshot_load(&repo, "n", &ids.id[ids.total - 1], &parent, &e));
    const cf_lease_opts opts = {
        .run = &run, .uses = &parent->run, .uses_total = 1, .after = parent->lease};
    assert_ok(cf_lease_acquire(&repo, &opts, &lease, &e));
    assert_ok(cf_snapshot_list(&repo, "n", true, &again, &e));
    assert_ok(cf_cursor_new(&repo, "n", parent, CF_SEGMENT_FILES, &c, &e));
    assert_ok(
        cf_manifest_new(&(cf_manifest_opts){.repo = &repo, .run = &run, .parent = parent}, &m, &e));
    cf_root *const root = make_root(&run);
    assert_ok(cf_cursor_next_file(c, &line, &e));
    while (line != NULL) {
        assert_ok(cf_manifest_add_file(m, line, &e));
        assert_ok(cf_cursor_next_file(c, &line, &e));
    }
    assert_ok(cf_manifest_finish(m, root, &e));
    assert_ok(cf_snapshot_commit(&repo, "n", root, &e));
    assert_ok(cf_lease_release(lease, &e));
    cf_root_free(root);
}

static void test_requests(void **state)
{
    (void)state;
    fixture f;
    cf_lease *lease = NULL;
    int requests = 0;
    fixture_init(&f);
    cf_run first = make_run("n", FIXTURE_UTC_S, 1);
    assert_ok(cf_lease_acquire(&f.repo, &(cf_lease_opts){.run = &first}, &lease, &e));
    cf_root *const a = write_run(&f, &first, NULL, &(plan){.total = 10000, .changed = UINT32_MAX});
    assert_ok(cf_snapshot_commit(&f.repo, "n", a, &e));
    assert_ok(cf_lease_release(lease, &e));
    const size_t objects = count_objects(&f, "nodes/n/runs/");
    cf_store_memory_set_hooks(f.store,
                              &(cf_store_memory_hooks){.before = count_before, .impl = &requests});
    no_change_run(&f);
    cf_store_memory_set_hooks(f.store, NULL);
    print_message("a no-change run of 10,000 packs and files: %d requests (%zu segments)\n",
                  requests, a->segment_total);
    assert_true(requests <= 16);
    assert_int_equal(count_objects(&f, "nodes/n/runs/"), objects);
    cf_root_free(a);
    fixture_deinit(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_many_lines),     cmocka_unit_test(test_two_runs),
        cmocka_unit_test(test_find),           cmocka_unit_test(test_undescribed),
        cmocka_unit_test(test_lying_segments), cmocka_unit_test(test_damaged_segments),
        cmocka_unit_test(test_bombs),          cmocka_unit_test(test_pack_use),
        cmocka_unit_test(test_spool),          cmocka_unit_test(test_journal),
        cmocka_unit_test(test_requests),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
