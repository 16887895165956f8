/* SPDX-License-Identifier: Apache-2.0
 *
 * Content: what went up comes back in order, is checked on the way, and small files cost few
 * requests.
 */
#include "tests/pipe/kit.h"

#include "pipe/content_ahead.h"
#include "pipe/frames.h"

enum { FILES_MAX = 600 };

typedef struct rig {
    kit_run run;
    cf_content_item items[FILES_MAX];
    uint8_t *bytes[FILES_MAX];
    size_t total;
    /* What came. */
    cf_buf written;
    size_t items_whole, items_part, damage_total, whole_damage_total, pack_damage_total,
        proved_total;
    char last_reason[512];
    uint64_t stored_bytes;
    const char *skip_pack; /* not wanted */
    bool know_packs;
} rig;

static void rig_init(rig *r)
{
    *r = (rig){.total = 0};
    kit_run_init(&r->run);
    r->run.level = 1;
    cf_buf_init(&r->written, 1 << 30);
}

static void rig_deinit(rig *r)
{
    for (size_t i = 0; i < r->total; i++)
        free(r->bytes[i]);
    cf_buf_deinit(&r->written);
    kit_run_deinit(&r->run);
}

/* Uploads files of these sizes at once. */
static void rig_upload(rig *r, const size_t *lens, size_t total, cf_upload_how how, kit_fill fill,
                       bool own_pack)
{
    cf_upload_item up[FILES_MAX];
    for (size_t i = 0; i < total; i++) {
        r->bytes[i] = calloc(1, lens[i] + 8);
        kit_fill_bytes(r->bytes[i], lens[i], fill, (uint32_t)(i + 17));
        up[i] = (cf_upload_item){.name = "f",
                                 .how = how,
                                 .fd = kit_file(r->bytes[i], lens[i]),
                                 .read_bytes = lens[i],
                                 .size_bytes = lens[i],
                                 .own_pack = own_pack,
                                 .pack_hint = "x"};
    }
    r->total = total;
    assert_int_equal(kit_upload(&r->run, up, total, NULL), CF_OK);
    for (size_t i = 0; i < total; i++) {
        const kit_result *const k = &r->run.results[i];
        (void)close(up[i].fd);
        r->items[i].line = (cf_file_line){.path = cf_slice_str("db/f"),
                                          .size_bytes = lens[i],
                                          .klass = "x",
                                          .has_sha256 = true,
                                          .extents = k->extents,
                                          .extent_total = k->extent_total};
        memcpy(r->items[i].line.sha256, k->sha256, 32);
    }
}

static cf_err write_it(void *impl, size_t item, cf_slice bytes, cf_error *e)
{
    (void)item;
    return cf_buf_append(&((rig *)impl)->written, bytes, e);
}

static bool wanted(void *impl, cf_content_at at)
{
    const rig *const r = impl;
    return r->skip_pack == NULL ||
           strcmp(r->items[at.item].line.extents[at.extent].pack, r->skip_pack) != 0;
}

static bool stored_of(void *impl, cf_content_at at, cf_stored *ret)
{
    const rig *const r = impl;
    const char *const pack = r->items[at.item].line.extents[at.extent].pack;
    for (size_t i = 0; r->know_packs && i < r->run.pack_total; i++) {
        if (strcmp(r->run.packs[i].pack, pack) != 0)
            continue;
        *ret = (cf_stored){r->run.packs[i].stored_bytes, r->run.packs[i].digest};
        return true;
    }
    return false;
}

static cf_err damaged(void *impl, cf_content_at at, bool whole, const cf_error *why, cf_error *e)
{
    rig *const r = impl;
    (void)at;
    (void)e;
    r->damage_total++;
    r->whole_damage_total += whole;
    (void)snprintf(r->last_reason, sizeof(r->last_reason), "%s", why->message);
    return CF_OK;
}

static cf_err pack_damaged(void *impl, cf_content_at at, const cf_error *why, cf_error *e)
{
    (void)at;
    (void)why;
    (void)e;
    ((rig *)impl)->pack_damage_total++;
    return CF_OK;
}

static void pack_proved(void *impl, cf_content_at at)
{
    (void)at;
    ((rig *)impl)->proved_total++;
}

static void done(void *impl, size_t item, bool whole)
{
    rig *const r = impl;
    (void)item;
    r->items_whole += whole;
    r->items_part += !whole;
}

static cf_err on_bytes(void *impl, size_t stored_bytes, cf_error *e)
{
    (void)e;
    ((rig *)impl)->stored_bytes += stored_bytes;
    return CF_OK;
}

/* tolerant: damage is counted, not the answer. */
static cf_err rig_read(rig *r, bool tolerant, bool whole_frames, cf_error *e)
{
    CF_CLEANUP(cf_content_freep) cf_content *c = NULL;
    const cf_content_opts opts = {.store = r->run.store,
                                  .world = &r->run.world.world,
                                  .runs_prefix = KIT_RUNS,
                                  .on_bytes = on_bytes,
                                  .whole_frames = whole_frames,
                                  .impl = r};
    const cf_content_visit visit = {.write = write_it,
                                    .wanted = wanted,
                                    .stored_of = stored_of,
                                    .damaged = tolerant ? damaged : NULL,
                                    .pack_damaged = pack_damaged,
                                    .pack_proved = pack_proved,
                                    .done = done,
                                    .impl = r};
    cf_buf_clear(&r->written);
    r->items_whole = r->items_part = r->damage_total = r->whole_damage_total = 0;
    r->pack_damage_total = r->proved_total = 0;
    r->stored_bytes = 0;
    CF_TRY(cf_content_new(&opts, &c, e));
    return cf_content_read(c, r->items, r->total, &visit, e);
}

static void assert_written(const rig *r)
{
    size_t at = 0;
    for (size_t i = 0; i < r->total; i++) {
        const size_t len = (size_t)r->items[i].line.size_bytes;
        assert_true(r->written.len - at >= len);
        if (len > 0)
            assert_int_equal(memcmp(r->written.data + at, r->bytes[i], len), 0);
        at += len;
    }
    assert_int_equal(at, r->written.len);
}

static uint64_t requests(rig *r)
{
    cf_store_counts c = {0};
    r->run.store->ops->get_counts(r->run.store, &c);
    return c.requests_total;
}

static void test_round_trips(void **state)
{
    static const struct {
        const char *title;
        size_t lens[6];
        cf_upload_how how;
        kit_fill fill;
        bool own_pack;
    } rows[] = {
        {"small ones", {1, 100, 0, 5000, 70000, 3}, CF_UPLOAD_WHOLE, KIT_TEXT, false},
        {"around a frame",
         {KIT_FRAME - 1, KIT_FRAME, KIT_FRAME + 1, 1, KIT_FRAME * 2, 0},
         CF_UPLOAD_WHOLE,
         KIT_RANDOM,
         false},
        {"own packs",
         {100, 9 * KIT_MIB + 7, 1, 0, KIT_FRAME, 12},
         CF_UPLOAD_WHOLE,
         KIT_RANDOM,
         true},
        {"parts",
         {9 * KIT_MIB + 7, 3, KIT_FRAME, 1, 0, 13 * KIT_MIB},
         CF_UPLOAD_PARTS,
         KIT_TEXT,
         false},
        {"zeros", {9 * KIT_MIB, 3, 0, 1, KIT_FRAME, 2}, CF_UPLOAD_PARTS, KIT_ZERO, false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        for (int frames = 0; frames < 2; frames++) {
            rig r;
            cf_error e = {0};
            print_message("  %s\n", rows[i].title);
            rig_init(&r);
            r.know_packs = true;
            rig_upload(&r, rows[i].lens, 6, rows[i].how, rows[i].fill, rows[i].own_pack);
            if (rig_read(&r, /* tolerant= */ false, frames == 1, &e) != CF_OK)
                fail_msg("%s", e.message);
            assert_written(&r);
            assert_int_equal(r.items_whole, 6);
            rig_deinit(&r);
        }
    }
}

/* 500 files of 1 to 4 KiB in one pack: few GETs, and the digest of the pack. */
static void test_neighbours(void **state)
{
    size_t lens[500];
    rig r;
    (void)state;
    rig_init(&r);
    r.know_packs = true;
    for (size_t i = 0; i < 500; i++)
        lens[i] = 1000 + i * 6;
    rig_upload(&r, lens, 500, CF_UPLOAD_WHOLE, KIT_RANDOM, false);
    const uint64_t before = requests(&r);
    assert_int_equal(rig_read(&r, false, false, NULL), CF_OK);
    assert_written(&r);
    assert_true(requests(&r) - before <= 2);
    assert_int_equal(r.proved_total, 1);
    rig_deinit(&r);
}

/* The plan: what is near is one range, what is far is not, and it fits the area. */
static void test_ranges(void **state)
{
    static const struct {
        const char *title;
        uint64_t at[4], len[4];
        const char *pack[4];
        size_t total, ranges;
    } rows[] = {
        {"one", {10}, {5}, {"a"}, 1, 1},
        {"adjacent", {10, 15}, {5, 5}, {"a", "a"}, 2, 1},
        {"the largest gap", {0, 5 + 32 * 1024}, {5, 5}, {"a", "a"}, 2, 1},
        {"one byte more", {0, 6 + 32 * 1024}, {5, 5}, {"a", "a"}, 2, 2},
        {"backwards", {100, 50, 0}, {50, 50, 50}, {"a", "a", "a"}, 3, 1},
        {"the same twice", {10, 10}, {5, 5}, {"a", "a"}, 2, 1},
        {"one inside the other", {10, 12, 30}, {20, 3, 4}, {"a", "a", "a"}, 3, 1},
        {"two packs in turn", {0, 0, 5, 5}, {5, 5, 5, 5}, {"a", "b", "a", "b"}, 4, 2},
        {"too long to be fetched ahead", {0, 1}, {512 * 1024 + 1, 7}, {"a", "a"}, 2, 1},
    };
    const cf_content_visit visit = {.write = NULL};
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        cf_extent x[4] = {{.pack = NULL}};
        cf_ahead a = {.total = 0};
        cf_ahead_range range = {0};
        size_t ranges = 0, at = 0;
        for (size_t n = 0; n < rows[i].total; n++)
            x[n] = (cf_extent){.pack = rows[i].pack[n],
                               .pack_offset = rows[i].at[n],
                               .stored_bytes = rows[i].len[n]};
        const cf_content_item item = {.line = {.extents = x, .extent_total = rows[i].total}};
        assert_int_equal(cf_ahead_init(&a, NULL), CF_OK);
        cf_ahead_plan(&a, &item, 1, (cf_content_at){0, 0}, &visit);
        while (cf_ahead_range_next(&a, &at, &range)) {
            ranges++;
            for (size_t s = range.slot_from; s < range.slot_to; s++) {
                const cf_extent *const y = a.slots[s].x;
                assert_true(y->pack_offset >= range.offset &&
                            y->pack_offset + y->stored_bytes <= range.offset + range.len);
            }
        }
        if (ranges != rows[i].ranges)
            fail_msg("%s: %zu ranges", rows[i].title, ranges);
        cf_ahead_deinit(&a);
    }
}

/* ---- damage ---- */

static void object_change(cf_store *store, const char *pack, size_t cut, size_t flip_at)
{
    CF_CLEANUP(cf_buf_deinit) cf_buf raw = {0};
    char key[CF_KEY_LEN_MAX + 1];
    cf_buf_init(&raw, 1 << 30);
    (void)snprintf(key, sizeof(key), KIT_RUNS "%s", pack);
    assert_int_equal(store->ops->get(store, key, 0, 0, kit_sink, &raw, NULL), CF_OK);
    if (flip_at < raw.len)
        raw.data[flip_at] ^= 1;
    assert_int_equal(
        store->ops->put(store, key, cf_slice_of(raw.data, raw.len - cut), NULL, NULL, NULL), CF_OK);
}

static void test_damage(void **state)
{
    static const struct {
        const char *title;
        size_t cut, flip_at, whole_total, damage_total;
        bool gone;
    } rows[] = {
        {"a byte of the first file", 0, 20, 5, 1, false},
        {"the last byte is missing", 1, SIZE_MAX, 5, 1, false},
        {"the pack is missing", 0, SIZE_MAX, 0, 6, true},
    };
    static const size_t lens[] = {3000, 3000, 3000, 3000, 3000, 3000};
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        rig r;
        cf_error e = {0};
        rig_init(&r);
        r.know_packs = true;
        rig_upload(&r, lens, 6, CF_UPLOAD_WHOLE, KIT_RANDOM, false);
        const char *const pack = r.items[0].line.extents[0].pack;
        object_change(r.run.store, pack, rows[i].cut, rows[i].flip_at);
        if (rows[i].gone) {
            char key[CF_KEY_LEN_MAX + 1];
            const char *keys[] = {key};
            (void)snprintf(key, sizeof(key), KIT_RUNS "%s", pack);
            assert_int_equal(r.run.store->ops->delete_many(r.run.store, keys, 1, NULL, NULL),
                             CF_OK);
        }
        assert_int_equal(rig_read(&r, /* tolerant= */ true, false, &e), CF_OK);
        if (r.items_whole != rows[i].whole_total || r.damage_total != rows[i].damage_total ||
            r.whole_damage_total != 0)
            fail_msg("%s: %zu whole, %zu damaged: %s", rows[i].title, r.items_whole, r.damage_total,
                     r.last_reason);
        assert_int_equal(rig_read(&r, /* tolerant= */ false, false, &e), CF_ERR_DAMAGE);
        assert_non_null(strstr(e.message, "file 'db/f': pack '"));
        rig_deinit(&r);
    }
}

/* A byte between the frames that files name: only the pack's digest tells. */
static void test_unused_byte(void **state)
{
    static const size_t lens[] = {3000, 3000, 3000};
    rig r;
    (void)state;
    rig_init(&r);
    r.know_packs = true;
    rig_upload(&r, lens, 3, CF_UPLOAD_WHOLE, KIT_RANDOM, false);
    const cf_extent *const middle = &r.items[1].line.extents[0];
    object_change(r.run.store, middle->pack, 0, (size_t)middle->pack_offset + 20);
    r.items[1] = r.items[2];
    r.total = 2;
    assert_int_equal(rig_read(&r, true, false, NULL), CF_OK);
    assert_int_equal(r.items_whole, 2);
    assert_int_equal(r.pack_damage_total, 1);
    r.total = 3;
    rig_deinit(&r);
}

/* Line and bytes do not agree, though every frame is sound. */
static void test_whole(void **state)
{
    static const size_t lens[] = {5000};
    static const uint8_t other[128] = {1, 2, 3};
    rig r;
    (void)state;
    rig_init(&r);
    rig_upload(&r, lens, 1, CF_UPLOAD_WHOLE, KIT_RANDOM, false);
    cf_file_line *const l = &r.items[0].line;
    const cf_file_line good = *l;

    l->sha256[0] ^= 1;
    assert_int_equal(rig_read(&r, true, false, NULL), CF_OK);
    assert_int_equal(r.whole_damage_total, 1);
    assert_non_null(strstr(r.last_reason, "its SHA-256 is"));
    *l = good;
    l->cert_header = cf_slice_of(other, 128);
    assert_int_equal(rig_read(&r, true, false, NULL), CF_OK);
    assert_non_null(strstr(r.last_reason, "first 128 bytes"));
    l->cert_header = cf_slice_of(r.bytes[0], 128);
    l->cert_footer = cf_slice_of(r.bytes[0] + 5000 - 16, 16);
    assert_int_equal(rig_read(&r, true, false, NULL), CF_OK);
    assert_int_equal(r.items_whole, 1);
    l->cert_footer = cf_slice_of(other, 16);
    assert_int_equal(rig_read(&r, true, false, NULL), CF_OK);
    assert_non_null(strstr(r.last_reason, "last 16 bytes"));
    *l = good;
    r.items[0].ends_with_md5 = true;
    assert_int_equal(rig_read(&r, true, false, NULL), CF_OK);
    assert_non_null(strstr(r.last_reason, "its MD5 is"));
    rig_deinit(&r);
}

static void test_md5(void **state)
{
    static const size_t bodies[] = {0, 1, 4080, KIT_FRAME - 8, 2 * KIT_FRAME, 3 * KIT_FRAME - 16};
    (void)state;
    for (size_t i = 0; i < 6; i++) {
        rig r;
        rig_init(&r);
        const size_t body = bodies[i], size = body + CF_MD5_LEN;
        uint8_t *const bytes = calloc(1, size + 8);
        kit_fill_bytes(bytes, size, KIT_TEXT, 5);
        uint8_t md5[CF_MD5_LEN];
        assert_int_equal(cf_md5(cf_slice_of(bytes, body), md5, NULL), CF_OK);
        for (size_t n = 0; n < sizeof(md5); n++)
            bytes[body + n] = md5[n];
        CF_CLEANUP(cf_fd_closep) int fd = kit_file(bytes, size);
        const cf_upload_item up = {
            .name = "f", .how = CF_UPLOAD_WHOLE, .fd = fd, .read_bytes = size, .size_bytes = size};
        assert_int_equal(kit_upload(&r.run, &up, 1, NULL), CF_OK);
        const kit_result *const k = &r.run.results[0];
        r.bytes[0] = bytes;
        r.total = 1;
        r.items[0] = (cf_content_item){.line = {.path = cf_slice_str("db/f"),
                                                .size_bytes = size,
                                                .has_sha256 = true,
                                                .extents = k->extents,
                                                .extent_total = k->extent_total},
                                       .ends_with_md5 = true};
        memcpy(r.items[0].line.sha256, k->sha256, 32);
        assert_int_equal(rig_read(&r, false, false, NULL), CF_OK);
        assert_written(&r);
        rig_deinit(&r);
    }
}

static void test_passed_over(void **state)
{
    static const size_t lens[] = {3000, 9 * KIT_MIB};
    rig r;
    (void)state;
    rig_init(&r);
    rig_upload(&r, lens, 2, CF_UPLOAD_WHOLE, KIT_RANDOM, true);
    r.skip_pack = r.items[1].line.extents[0].pack;
    assert_int_equal(rig_read(&r, false, false, NULL), CF_OK);
    assert_int_equal(r.items_whole, 1);
    assert_int_equal(r.items_part, 1);
    assert_true(r.stored_bytes < 4000);
    rig_deinit(&r);
}

/* A frame of another writer, 40 MiB with a window as large; one in front of it was given already. */
static void test_large_frame(void **state)
{
    (void)state;
    for (int whole = 0; whole < 2; whole++) {
        const size_t len = 44 * (size_t)KIT_MIB;
        rig r;
        rig_init(&r);
        uint8_t *const bytes = calloc(1, len + 8);
        kit_fill_bytes(bytes, len, KIT_RANDOM, 3);
        memcpy(bytes + len / 2, bytes, len / 2); /* so that the window is needed */
        uint8_t *const stored = malloc(ZSTD_compressBound(len) * 2);
        ZSTD_CCtx *const cctx = ZSTD_createCCtx();
        (void)ZSTD_CCtx_setParameter(cctx, ZSTD_c_checksumFlag, 1);
        (void)ZSTD_CCtx_setParameter(cctx, ZSTD_c_compressionLevel, 1);
        const size_t first =
            ZSTD_compress2(cctx, stored, ZSTD_compressBound(len), bytes, KIT_FRAME);
        (void)ZSTD_CCtx_setParameter(cctx, ZSTD_c_windowLog, 26);
        (void)ZSTD_CCtx_setParameter(cctx, ZSTD_c_contentSizeFlag, 0);
        const size_t second = ZSTD_compress2(cctx, stored + first, ZSTD_compressBound(len),
                                             bytes + KIT_FRAME, len - KIT_FRAME);
        assert_false(ZSTD_isError(first) || ZSTD_isError(second));
        assert_int_equal(r.run.store->ops->put(r.run.store, KIT_RUNS "run/1-pack-x.zst",
                                               cf_slice_of(stored, first + second), NULL, NULL,
                                               NULL),
                         CF_OK);
        const cf_extent x = {
            .pack = "run/1-pack-x.zst", .stored_bytes = first + second, .file_bytes = len};
        r.bytes[0] = bytes;
        r.total = 1;
        r.items[0].line = (cf_file_line){.path = cf_slice_str("db/f"),
                                         .size_bytes = len,
                                         .has_sha256 = true,
                                         .extents = &x,
                                         .extent_total = 1};
        assert_int_equal(cf_sha256(cf_slice_of(bytes, len), r.items[0].line.sha256, NULL), CF_OK);
        cf_error e = {0};
        if (rig_read(&r, false, whole == 1, &e) != CF_OK)
            fail_msg("%s", e.message);
        assert_written(&r);
        (void)ZSTD_freeCCtx(cctx);
        free(stored);
        rig_deinit(&r);
    }
}

/* Nothing of a frame whose checksum is wrong is written. */
static void test_whole_frames_hold_back(void **state)
{
    static const size_t lens[] = {3 * KIT_FRAME};
    (void)state;
    for (int whole = 0; whole < 2; whole++) {
        rig r;
        rig_init(&r);
        rig_upload(&r, lens, 1, CF_UPLOAD_WHOLE, KIT_RANDOM, true);
        const cf_extent *const x = &r.items[0].line.extents[0];
        object_change(r.run.store, x->pack, 0, (size_t)x->frame_bytes[0] + x->frame_bytes[1] - 100);
        assert_int_equal(rig_read(&r, false, whole == 1, NULL), CF_ERR_DAMAGE);
        assert_int_equal(r.written.len, KIT_FRAME); /* ours are decoded as a whole in any case */
        assert_int_equal(memcmp(r.written.data, r.bytes[0], KIT_FRAME), 0);
        rig_deinit(&r);
    }
}

static void test_faults(void **state)
{
    static const size_t lens[] = {3000, 9 * KIT_MIB, 10, 5 * KIT_MIB};
    rig r;
    (void)state;
    rig_init(&r);
    rig_upload(&r, lens, 4, CF_UPLOAD_WHOLE, KIT_RANDOM, false);
    for (int n = 1;; n++) {
        cf_error e = {0};
        atomic_store(&r.run.faults.ops_left, n);
        const cf_err err = rig_read(&r, /* tolerant= */ true, false, &e);
        if (atomic_load(&r.run.faults.ops_left) > 0) {
            assert_int_equal(err, CF_OK);
            break;
        }
        assert_int_equal(err, CF_ERR_SERVER); /* no damage: the store said no */
        assert_int_equal(r.damage_total, 0);
    }
    atomic_store(&r.run.faults.ops_left, 0);
    for (unsigned long n = 1;; n++) {
        const unsigned long before = cf_alloc_count();
        cf_alloc_fail_at(n);
        const cf_err err = rig_read(&r, true, false, NULL);
        cf_alloc_fail_at(0);
        if (err == CF_OK && cf_alloc_count() - before < n)
            break;
        assert_int_equal(err, CF_ERR_NO_MEMORY);
        assert_int_equal(r.damage_total, 0);
    }
    atomic_store(&r.run.world.looks_left, 3);
    assert_int_equal(rig_read(&r, true, false, NULL), CF_ERR_INTERRUPTED);
    rig_deinit(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trips), cmocka_unit_test(test_neighbours),
        cmocka_unit_test(test_ranges),      cmocka_unit_test(test_damage),
        cmocka_unit_test(test_unused_byte), cmocka_unit_test(test_whole),
        cmocka_unit_test(test_md5),         cmocka_unit_test(test_passed_over),
        cmocka_unit_test(test_large_frame), cmocka_unit_test(test_whole_frames_hold_back),
        cmocka_unit_test(test_faults),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
