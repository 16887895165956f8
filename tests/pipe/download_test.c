/* SPDX-License-Identifier: Apache-2.0
 *
 * Download pipeline: what the upload pipeline stored comes back byte for byte, and nothing else
 * ever passes.
 */
#include "tests/pipe/trip.h"

#include <malloc.h>
#include <sys/stat.h>

static void assert_content(int fd, const uint8_t *bytes, size_t len, uint64_t size)
{
    struct stat st;
    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(st.st_size, size);
    uint8_t *const found = calloc(1, size + 1);
    assert_int_equal(pread(fd, found, size, 0), size);
    if (len > 0)
        assert_int_equal(memcmp(found, bytes, len), 0);
    for (uint64_t i = len; i < size; i++)
        assert_int_equal(found[i], 0);
    free(found);
}

/* ---- round trips ---- */

typedef struct trip_row {
    const char *title;
    size_t len;
    uint64_t hole;
    kit_fill fill;
    cf_upload_how how;
    bool md5;
} trip_row;

static const trip_row trip_rows[] = {
    {"empty", 0, 0, KIT_TEXT, CF_UPLOAD_WHOLE, false},
    {"only a hole", 0, 70000, KIT_TEXT, CF_UPLOAD_WHOLE, false},
    {"1 byte", 1, 0, KIT_TEXT, CF_UPLOAD_WHOLE, false},
    {"only an MD5", 16, 0, KIT_TEXT, CF_UPLOAD_WHOLE, true},
    {"a frame but one byte", KIT_FRAME - 1, 0, KIT_TEXT, CF_UPLOAD_WHOLE, false},
    {"a frame", KIT_FRAME, 0, KIT_TEXT, CF_UPLOAD_WHOLE, false},
    {"a frame and one byte, with MD5", KIT_FRAME + 1, 0, KIT_TEXT, CF_UPLOAD_WHOLE, true},
    {"9 MiB and a hole", 9 * KIT_MIB, 5 * KIT_MIB, KIT_TEXT, CF_UPLOAD_WHOLE, false},
    {"random: several runs of 16 MiB", 41 * KIT_MIB, 0, KIT_RANDOM, CF_UPLOAD_WHOLE, true},
    {"the MD5 across two read buffers", KIT_MIB + 8, 0, KIT_TEXT, CF_UPLOAD_WHOLE, true},
    {"zeros", 9 * KIT_MIB, 0, KIT_ZERO, CF_UPLOAD_WHOLE, false},
    {"parts", 21 * KIT_MIB, 0, KIT_TEXT, CF_UPLOAD_PARTS, false},
    {"parts and a hole", 5 * KIT_MIB, 9 * KIT_MIB, KIT_TEXT, CF_UPLOAD_PARTS, false},
    {"random parts", 41 * KIT_MIB, 0, KIT_RANDOM, CF_UPLOAD_PARTS, false},
    {"parts of zeros", 9 * KIT_MIB, 0, KIT_ZERO, CF_UPLOAD_PARTS, false},
};

static void test_round_trips(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(trip_rows) / sizeof(trip_rows[0]); i++) {
        const trip_row *const row = &trip_rows[i];
        print_message("  %s\n", row->title);
        for (uint32_t jobs = 1; jobs <= 8; jobs += 7) {
            trip t;
            cf_error e = {0};
            CF_CLEANUP(cf_fd_closep) int fd = -1;
            trip_init(&t, row->len, row->hole, row->fill, row->how, row->md5);
            t.jobs = jobs;
            if (download_one(&t, &fd, &e) != CF_OK)
                fail_msg("%s", e.message);
            assert_int_equal(t.done_total, 1);
            assert_int_equal(t.done_err, CF_OK);
            assert_int_equal(atomic_load(&t.run.fs.syncs), 1);
            assert_content(fd, t.bytes, t.len, t.size);
            trip_deinit(&t);
        }
    }
}

/* Without the list of frames an extent is one stream. */
static void test_no_frame_list(void **state)
{
    (void)state;
    trip t;
    CF_CLEANUP(cf_fd_closep) int fd = -1;
    trip_init(&t, 21 * KIT_MIB, 0, KIT_RANDOM, CF_UPLOAD_WHOLE, false);
    cf_extent x = t.item.extents[0];
    x.frame_bytes = NULL;
    t.item.extents = &x;
    assert_int_equal(download_one(&t, &fd, NULL), CF_OK);
    assert_content(fd, t.bytes, t.len, t.size);
    trip_deinit(&t);
}

/* ---- runs ---- */

static void test_runs(void **state)
{
    (void)state;
    enum { M = KIT_MIB };
    const uint32_t frames[] = {4 * M, 4 * M, 4 * M, 4 * M, 4 * M, 1};
    const cf_extent extents[] = {
        {.pack = "a",
         .pack_offset = 100,
         .stored_bytes = 20 * M + 1,
         .file_bytes = 20 * M + 1,
         .frame_bytes = frames,
         .frame_total = 6},
        {.pack = "a",
         .pack_offset = 20 * M + 101,
         .stored_bytes = 10,
         .file_offset = 24 * M,
         .file_bytes = 4 * M}, /* adjacent */
        {.pack = "a",
         .pack_offset = 20 * M + 111,
         .stored_bytes = 10,
         .file_offset = 28 * M,
         .file_bytes = 4 * M}, /* adjacent */
        {.pack = "a",
         .pack_offset = 20 * M + 131,
         .stored_bytes = 10,
         .file_offset = 32 * M,
         .file_bytes = 4 * M}, /* a gap */
        {.pack = "b",
         .pack_offset = 20 * M + 141,
         .stored_bytes = 17 * M,
         .file_offset = 36 * M,
         .file_bytes = 40 * M}, /* long */
    };
    const struct {
        uint64_t offset, stored;
        size_t spans;
    } expected[] = {{100, 16 * M, 1},
                    {16 * M + 100, 4 * M + 21, 3},
                    {20 * M + 131, 10, 1},
                    {20 * M + 141, 17 * M, 1}};
    cf_run_cursor c = {0};
    cf_run_of_frames run;
    uint64_t file_bytes = 0;
    for (size_t i = 0; i < 4; i++) {
        assert_true(cf_run_next(extents, 5, CF_RUN_STORED_BYTES, &c, &run));
        assert_int_equal(run.pack_offset, expected[i].offset);
        assert_int_equal(run.stored_bytes, expected[i].stored);
        assert_int_equal(run.span_total, expected[i].spans);
        for (size_t s = 0; s < run.span_total; s++)
            file_bytes += run.spans[s].file_bytes;
    }
    assert_false(cf_run_next(extents, 5, CF_RUN_STORED_BYTES, &c, &run));
    assert_int_equal(file_bytes, 20 * M + 1 + 12 * M + 40 * M);
}

static void test_extents_refused(void **state)
{
    (void)state;
    const uint32_t two[] = {5, 5};
    const uint32_t zero[] = {10, 0};
    const struct {
        const char *title, *message;
        cf_extent extents[2];
    } rows[] = {
        {"empty",
         "file 'f': the extent at 0 is empty",
         {{.pack = "p", .stored_bytes = 1},
          {.pack = "p", .stored_bytes = 1, .file_offset = 50, .file_bytes = 1}}},
        {"nothing stored",
         "file 'f': the extent at 0 has no stored bytes",
         {{.pack = "p", .file_bytes = 1}}},
        {"leaves the pack",
         "file 'f': the extent at 0 leaves its pack",
         {{.pack = "p", .pack_offset = UINT64_MAX, .stored_bytes = 1, .file_bytes = 1}}},
        {"overlap",
         "file 'f': the extent at 9 begins before 10, the end of the one before",
         {{.pack = "p", .stored_bytes = 1, .file_bytes = 10},
          {.pack = "p", .stored_bytes = 1, .file_offset = 9, .file_bytes = 1}}},
        {"leaves the file",
         "file 'f': the extent at 99 of 2 bytes leaves the file of 100",
         {{.pack = "p", .stored_bytes = 1, .file_offset = 99, .file_bytes = 2}}},
        {"begins behind the file",
         "file 'f': the extent at 101 of 1 bytes leaves the file of 100",
         {{.pack = "p", .stored_bytes = 1, .file_offset = 101, .file_bytes = 1}}},
        {"too many frames",
         "file 'f': the extent at 0 has 2 frames, its length needs 1",
         {{.pack = "p",
           .stored_bytes = 10,
           .file_bytes = 10,
           .frame_bytes = two,
           .frame_total = 2}}},
        {"sum",
         "file 'f': the frames of the extent at 0 have 5 bytes, the extent 10",
         {{.pack = "p",
           .stored_bytes = 10,
           .file_bytes = 10,
           .frame_bytes = two,
           .frame_total = 1}}},
        {"an empty frame",
         "file 'f': the extent at 0 has an empty frame",
         {{.pack = "p",
           .stored_bytes = 10,
           .file_bytes = 10,
           .frame_bytes = zero + 1,
           .frame_total = 1}}},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        cf_error e = {0};
        const cf_download_item item = {.name = "f",
                                       .size_bytes = 100,
                                       .extents = rows[i].extents,
                                       .extent_total = rows[i].extents[1].pack != NULL ? 2 : 1};
        assert_int_equal(cf_extents_check(&item, &e), CF_ERR_DAMAGE);
        assert_string_equal(e.message, rows[i].message);
    }
}

/* ---- damage ---- */

typedef enum harm {
    HARM_FLIP,
    HARM_TRUNCATE,
    HARM_MISSING,
    HARM_TOO_MUCH,
    HARM_TOO_LITTLE,
    HARM_CUT_FRAME,
    HARM_SHA,
    HARM_MD5,
    HARM_GARBAGE,
} harm;

typedef struct harm_row {
    const char *title;
    harm harm;
    const char *message; /* a part of it */
} harm_row;

static const harm_row harm_rows[] = {
    {"a bit is flipped", HARM_FLIP,
     "file 'db/file': pack 'run1/0000000000-pack-x.zst' at 0: bad frame: "},
    {"the pack is truncated", HARM_TRUNCATE,
     "file 'db/file': pack 'run1/0000000000-pack-x.zst' at 0: "},
    {"the pack is missing", HARM_MISSING,
     "file 'db/file': pack 'run1/0000000000-pack-x.zst' at 0: it is missing"},
    {"the extent yields too much", HARM_TOO_MUCH,
     "its frames yield more than the 9437183 bytes of the extent"},
    {"the extent yields too little", HARM_TOO_LITTLE,
     "its frames yield 1 bytes less than the 9437185 of the extent"},
    {"the last frame is cut off", HARM_CUT_FRAME, "its last frame is cut off"},
    {"not zstd", HARM_GARBAGE, "bad frame: "},
    {"the SHA-256 differs", HARM_SHA, "file 'db/file': its SHA-256 is "},
    {"the MD5 differs", HARM_MD5, "file 'db/file': its MD5 is "},
};

static void pack_harm(trip *t, harm h)
{
    const char *const key = KIT_RUNS "run1/0000000000-pack-x.zst";
    cf_store *const s = t->run.store;
    CF_CLEANUP(cf_buf_deinit) cf_buf b = {0};
    cf_buf_init(&b, 1 << 28);
    assert_int_equal(s->ops->get(s, key, 0, 0, kit_sink, &b, NULL), CF_OK);
    assert_int_equal(s->ops->delete_many(s, &key, 1, NULL, NULL), CF_OK);
    if (h == HARM_MISSING)
        return;
    if (h == HARM_FLIP)
        b.data[b.len / 2] ^= 4;
    if (h == HARM_TRUNCATE)
        b.len--;
    if (h == HARM_GARBAGE)
        memset(b.data, 'x', b.len);
    assert_int_equal(s->ops->put(s, key, cf_buf_slice(&b), NULL, NULL, NULL), CF_OK);
}

static void test_damage(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(harm_rows) / sizeof(harm_rows[0]); i++) {
        const harm_row *const row = &harm_rows[i];
        print_message("  %s\n", row->title);
        trip t;
        cf_error e = {0};
        CF_CLEANUP(cf_fd_closep) int fd = -1;
        trip_init(&t, 9 * KIT_MIB, 8, KIT_TEXT, CF_UPLOAD_WHOLE, false);
        cf_extent x = t.item.extents[0];
        x.frame_bytes = NULL;
        t.item.extents = &x;
        if (row->harm == HARM_TOO_MUCH)
            x.file_bytes--;
        else if (row->harm == HARM_TOO_LITTLE)
            x.file_bytes++;
        else if (row->harm == HARM_CUT_FRAME)
            x.stored_bytes--;
        else if (row->harm == HARM_SHA)
            t.item.sha256[31] ^= 1;
        else if (row->harm == HARM_MD5)
            t.item.ends_with_md5 = true;
        else
            pack_harm(&t, row->harm);
        assert_int_equal(download_one(&t, &fd, &e), CF_ERR_DAMAGE);
        if (strstr(e.message, row->message) == NULL)
            fail_msg("%s", e.message);
        assert_int_equal(t.done_total, 0);
        trip_deinit(&t);
    }
}

static void test_md5_of_too_few_bytes(void **state)
{
    (void)state;
    trip t;
    cf_error e = {0};
    CF_CLEANUP(cf_fd_closep) int fd = -1;
    trip_init(&t, 15, 0, KIT_TEXT, CF_UPLOAD_WHOLE, false);
    t.item.ends_with_md5 = true;
    assert_int_equal(download_one(&t, &fd, &e), CF_ERR_DAMAGE);
    assert_string_equal(e.message, "file 'db/file': its 15 bytes cannot end with an MD5");
    trip_deinit(&t);
}

/* ---- frames of another writer ---- */

static void foreign_put(trip *t, int window_log, cf_extent *ret)
{
    ZSTD_CCtx *const z = ZSTD_createCCtx();
    const size_t cap = ZSTD_compressBound(t->len);
    uint8_t *const frame = malloc(cap);
    assert_false(ZSTD_isError(ZSTD_CCtx_setParameter(z, ZSTD_c_windowLog, window_log)));
    assert_false(ZSTD_isError(ZSTD_CCtx_setParameter(
        z, ZSTD_c_contentSizeFlag, 0))); /* so that it is not cut to the content */
    const size_t len = ZSTD_compress2(z, frame, cap, t->bytes, t->len);
    assert_false(ZSTD_isError(len));
    assert_int_equal(t->run.store->ops->put(t->run.store, KIT_RUNS "other.zst",
                                            cf_slice_of(frame, len), NULL, NULL, NULL),
                     CF_OK);
    *ret = (cf_extent){.pack = "other.zst", .stored_bytes = len, .file_bytes = t->len};
    free(frame);
    (void)ZSTD_freeCCtx(z);
}

static void test_large_frames(void **state)
{
    (void)state;
    const struct {
        const char *title;
        int window_log;
        cf_err expected;
    } rows[] = {{"a window of 64 MiB", 26, CF_OK}, {"a window of 128 MiB", 27, CF_ERR_DAMAGE}};
    for (size_t i = 0; i < 2; i++) {
        trip t;
        cf_error e = {0};
        cf_extent x;
        CF_CLEANUP(cf_fd_closep) int fd = -1;
        print_message("  %s\n", rows[i].title);
        trip_init(&t, 70 * KIT_MIB, 0, KIT_TEXT, CF_UPLOAD_WHOLE, false);
        foreign_put(&t, rows[i].window_log, &x);
        t.item.extents = &x;
        t.item.extent_total = 1;
        assert_int_equal(download_one(&t, &fd, &e), rows[i].expected);
        if (rows[i].expected == CF_OK)
            assert_content(fd, t.bytes, t.len, t.size);
        trip_deinit(&t);
    }
}

/* ---- what is there already ---- */

static void test_verify_only(void **state)
{
    (void)state;
    const struct {
        const char *title;
        size_t flip; /* SIZE_MAX: none */
        int longer;  /* bytes more on disk */
        cf_err expected;
    } rows[] = {
        {"the same", SIZE_MAX, 0, CF_OK},
        {"a byte differs", 3 * KIT_MIB, 0, CF_ERR_DAMAGE},
        {"longer", SIZE_MAX, 1, CF_ERR_DAMAGE},
        {"shorter", SIZE_MAX, -1, CF_ERR_DAMAGE},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        trip t;
        print_message("  %s\n", rows[i].title);
        trip_init(&t, 5 * KIT_MIB, 0, KIT_TEXT, CF_UPLOAD_WHOLE, true);
        if (rows[i].flip != SIZE_MAX)
            t.bytes[rows[i].flip] ^= 1;
        CF_CLEANUP(cf_fd_closep) int fd = kit_file(t.bytes, (size_t)((int)t.len + rows[i].longer));
        t.item.fd = fd;
        t.item.verify_only = true;
        atomic_store(&t.run.faults.ops_left, 1); /* the store is not asked */
        assert_int_equal(download(&t, &t.item, 1, NULL), CF_OK);
        assert_int_equal(t.done_total, 1);
        assert_int_equal(t.done_err, rows[i].expected);
        trip_deinit(&t);
    }
}

/* ---- read back ---- */

static cf_err sync_and_harm(const cf_fs *fs, int fd, cf_error *e)
{
    uint8_t byte = 0;
    (void)fs, (void)e;
    assert_int_equal(pread(fd, &byte, 1, 5 * KIT_MIB), 1);
    byte ^= 1;
    assert_int_equal(pwrite(fd, &byte, 1, 5 * KIT_MIB), 1);
    return CF_OK;
}

/* What the disk made of it is seen only by who asks. */
static void test_read_back(void **state)
{
    (void)state;
    for (int flips = 0; flips < 2; flips++)
        for (int read_back = 0; read_back < 2; read_back++) {
            trip t;
            cf_error e = {0};
            CF_CLEANUP(cf_fd_closep) int fd = -1;
            trip_init(&t, 9 * KIT_MIB + 3, 0, KIT_TEXT, CF_UPLOAD_WHOLE, true);
            t.item.read_back = read_back == 1;
            if (flips == 1)
                t.run.fs.ops.sync = sync_and_harm;
            const bool seen = flips == 1 && read_back == 1;
            assert_int_equal(download_one(&t, &fd, &e), seen ? CF_ERR_DAMAGE : CF_OK);
            if (seen)
                assert_memory_equal(e.message, "file 'db/file': its SHA-256 is ", 31);
            trip_deinit(&t);
        }
}

/* ---- turns ---- */

typedef struct narrow {
    pthread_mutex_t one;
    atomic_uint gets;
} narrow;

static cf_err narrow_enter(void *impl, cf_store_op op, const char *key, cf_error *e)
{
    narrow *const n = impl;
    (void)key, (void)e, (void)op;
    assert_int_equal(pthread_mutex_lock(&n->one), 0);
    /* Those that come first are late: who is behind them has to wait for its turn. */
    if (atomic_fetch_add(&n->gets, 1) % 3 == 0)
        (void)usleep(3000);
    return CF_OK;
}

static cf_err narrow_leave(void *impl, cf_store_op op, const char *key, cf_error *e)
{
    narrow *const n = impl;
    (void)key, (void)e, (void)op;
    assert_int_equal(pthread_mutex_unlock(&n->one), 0);
    return CF_OK;
}

/* A store that gives one object at a time: who waited for a turn inside a get would wait for ever. */
static void test_one_connection(void **state)
{
    (void)state;
    narrow n = {.one = PTHREAD_MUTEX_INITIALIZER};
    trip t;
    cf_download_item items[3];
    trip_init(&t, 37 * KIT_MIB, KIT_MIB, KIT_RANDOM, CF_UPLOAD_WHOLE, false);
    t.jobs = 8;
    t.memory_bytes = 256 * (uint64_t)KIT_MIB;
    for (size_t i = 0; i < 3; i++) {
        items[i] = t.item;
        items[i].fd = kit_file(NULL, 0);
    }
    cf_store_memory_set_hooks(
        t.run.store,
        &(cf_store_memory_hooks){.before = narrow_enter, .after = narrow_leave, .impl = &n});
    assert_int_equal(download(&t, items, 3, NULL), CF_OK);
    assert_true(atomic_load(&n.gets) > 9); /* shared: in runs of a frame */
    for (size_t i = 0; i < 3; i++) {
        assert_content(items[i].fd, t.bytes, t.len, t.size);
        (void)close(items[i].fd);
    }
    trip_deinit(&t);
}

/* ---- many ---- */

static void test_many_files(void **state)
{
    (void)state;
    enum { TOTAL = 1000 };
    trip t;
    trip_init(&t, 8192, 0, KIT_TEXT, CF_UPLOAD_WHOLE, false);
    cf_download_item *const items = calloc(TOTAL, sizeof(*items));
    int *const fds = calloc(TOTAL, sizeof(*fds));
    for (size_t i = 0; i < TOTAL; i++) {
        items[i] = t.item;
        if (i % 64 < 32 || i < 64)
            fds[i] = kit_file(NULL, 0);
        else
            fds[i] = dup(fds[i - 64]); /* done long ago */
        items[i].fd = fds[i];
    }
    assert_int_equal(download(&t, items, TOTAL, NULL), CF_OK);
    assert_int_equal(t.done_total, TOTAL);
    for (size_t i = 0; i < TOTAL; i++) {
        assert_content(fds[i], t.bytes, t.len, t.size);
        (void)close(fds[i]);
    }
    free(fds);
    free(items);
    trip_deinit(&t);
}

/* Bytes from malloc now, arenas and mapped ones. */
static size_t heap_bytes(void)
{
    const struct mallinfo2 m = mallinfo2();
    return m.uordblks + m.hblkhd;
}

typedef struct peak {
    size_t start, most;
} peak;

static cf_err peak_look(void *impl, cf_store_op op, const char *key, cf_error *e)
{
    peak *const p = impl;
    (void)op, (void)key, (void)e;
    const size_t now = heap_bytes();
    p->most = now > p->start && now - p->start > p->most ? now - p->start : p->most;
    return CF_OK;
}

static void test_memory_is_bounded(void **state)
{
    (void)state;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    skip();
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
    skip();
#endif
#endif
    const size_t totals[] = {1, 10000};
    for (size_t n = 0; n < 2; n++) {
        trip t;
        cf_extent x;
        peak p = {0};
        /* One large file; 10,000 small ones. */
        trip_init(&t, n == 0 ? 200 * KIT_MIB : 8192, 0, KIT_RANDOM, CF_UPLOAD_WHOLE, false);
        CF_CLEANUP(cf_fd_closep) int fd = kit_file(NULL, 0);
        x = t.item.extents[0];
        t.item.fd = fd;
        t.jobs = 16;
        t.memory_bytes = 64 * (uint64_t)KIT_MIB;
        cf_download_item *const items = calloc(totals[n], sizeof(*items));
        for (size_t i = 0; i < totals[n]; i++)
            items[i] = t.item;
        p.start = heap_bytes();
        cf_store_memory_set_hooks(
            t.run.store,
            &(cf_store_memory_hooks){.before = peak_look, .after = peak_look, .impl = &p});
        assert_int_equal(download(&t, items, totals[n], NULL), CF_OK);
        print_message("  %zu files: %.1f MiB at most\n", totals[n], (double)p.most / KIT_MIB);
        assert_true(p.most > 0);
        assert_true(p.most < 64u * KIT_MIB - CF_MEMORY_REST_BYTES);
        assert_int_equal(x.file_offset, 0);
        free(items);
        trip_deinit(&t);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trips),  cmocka_unit_test(test_no_frame_list),
        cmocka_unit_test(test_runs),         cmocka_unit_test(test_extents_refused),
        cmocka_unit_test(test_damage),       cmocka_unit_test(test_md5_of_too_few_bytes),
        cmocka_unit_test(test_large_frames), cmocka_unit_test(test_verify_only),
        cmocka_unit_test(test_read_back),    cmocka_unit_test(test_one_connection),
        cmocka_unit_test(test_many_files),   cmocka_unit_test(test_memory_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
