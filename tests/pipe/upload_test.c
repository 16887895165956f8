/* SPDX-License-Identifier: Apache-2.0
 *
 * Upload pipeline over a store in memory: what goes in can be decoded again, in order, whatever the
 * pool's size; and whatever fails ends it.
 */
#include "tests/pipe/kit.h"

#include <unistd.h>

/* ---- round trips ---- */

typedef struct trip {
    const char *title;
    size_t len;  /* read_bytes */
    size_t hole; /* size_bytes - read_bytes */
    kit_fill fill;
    cf_upload_how how;
    bool own;
    size_t extents; /* expected */
    size_t packs;   /* expected */
} trip;

static const trip trips[] = {
    {"whole: empty makes no pack", 0, 0, KIT_TEXT, CF_UPLOAD_WHOLE, true, 0, 0},
    {"whole: only a hole", 0, 70000, KIT_TEXT, CF_UPLOAD_WHOLE, true, 0, 0},
    {"whole: 1 byte", 1, 0, KIT_TEXT, CF_UPLOAD_WHOLE, true, 1, 1},
    {"whole: a frame but one byte", KIT_FRAME - 1, 0, KIT_TEXT, CF_UPLOAD_WHOLE, true, 1, 1},
    {"whole: a frame", KIT_FRAME, 0, KIT_TEXT, CF_UPLOAD_WHOLE, true, 1, 1},
    {"whole: a frame and one byte", KIT_FRAME + 1, 0, KIT_TEXT, CF_UPLOAD_WHOLE, true, 1, 1},
    {"whole: 9 MiB in the shared pack", 9 * KIT_MIB, 0, KIT_TEXT, CF_UPLOAD_WHOLE, false, 1, 1},
    {"whole: a hole at the end", 5 * KIT_MIB, 3 * KIT_MIB + 1, KIT_TEXT, CF_UPLOAD_WHOLE, true, 1,
     1},
    {"whole: random bytes do not shrink", 9 * KIT_MIB, 0, KIT_RANDOM, CF_UPLOAD_WHOLE, true, 1, 1},
    {"whole: zeros", 9 * KIT_MIB, 0, KIT_ZERO, CF_UPLOAD_WHOLE, true, 1, 1},
    {"parts: empty makes no pack", 0, 0, KIT_TEXT, CF_UPLOAD_PARTS, false, 0, 0},
    {"parts: 1 byte", 1, 0, KIT_TEXT, CF_UPLOAD_PARTS, false, 1, 1},
    {"parts: a part but one byte", KIT_FRAME - 1, 0, KIT_TEXT, CF_UPLOAD_PARTS, false, 1, 1},
    {"parts: a part", KIT_FRAME, 0, KIT_TEXT, CF_UPLOAD_PARTS, false, 1, 1},
    {"parts: a part and one byte", KIT_FRAME + 1, 0, KIT_TEXT, CF_UPLOAD_PARTS, false, 2, 1},
    {"parts: own_pack means nothing", 9 * KIT_MIB, 0, KIT_TEXT, CF_UPLOAD_PARTS, true, 3, 1},
    {"parts: a hole at the end", 5 * KIT_MIB, 9 * KIT_MIB, KIT_TEXT, CF_UPLOAD_PARTS, false, 2, 1},
    {"parts: zeros are holes, without a pack", 9 * KIT_MIB, 100, KIT_ZERO, CF_UPLOAD_PARTS, false,
     0, 0},
    {"parts: one zero", 1, 0, KIT_ZERO, CF_UPLOAD_PARTS, false, 0, 0},
};

static void test_round_trips(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(trips) / sizeof(trips[0]); i++) {
        const trip *const t = &trips[i];
        print_message("  %s\n", t->title);
        uint8_t *const bytes = calloc(1, t->len + 8);
        kit_run r;
        cf_error e = {0};
        kit_run_init(&r);
        kit_fill_bytes(bytes, t->len, t->fill, (uint32_t)i + 1);
        CF_CLEANUP(cf_fd_closep) int fd = kit_file(bytes, t->len);
        const cf_upload_item item = {.token = &r,
                                     .name = t->title,
                                     .how = t->how,
                                     .fd = fd,
                                     .read_bytes = t->len,
                                     .size_bytes = t->len + t->hole,
                                     .own_pack = t->own,
                                     .pack_hint = "chunk"};
        if (kit_upload(&r, &item, 1, &e) != CF_OK)
            fail_msg("%s: %s", t->title, e.message);
        assert_int_equal(r.result_total, 1);
        assert_ptr_equal(r.results[0].token, &r);
        assert_int_equal(r.results[0].read_bytes, t->len);
        assert_int_equal(r.results[0].extent_total, t->extents);
        assert_int_equal(r.pack_total, t->packs);
        assert_int_equal(kit_object_total(r.store), t->packs);
        if (t->packs == 1) {
            const char *const expected = t->own && t->how == CF_UPLOAD_WHOLE
                                             ? "run1/0000000000-pack-chunk.zst"
                                             : "run1/0000000000-pack-small.zst";
            assert_string_equal(r.pack_keys[0], expected);
        }
        if (t->len >= 256) {
            assert_memory_equal(r.results[0].head, bytes, CF_CERT_LEN_MAX);
            assert_memory_equal(r.results[0].tail, bytes + t->len - CF_CERT_LEN_MAX,
                                CF_CERT_LEN_MAX);
        }
        kit_check(r.store, &r.results[0], bytes, t->len);
        kit_run_deinit(&r);
        free(bytes);
    }
}

/* ---- parts against the parent ---- */

typedef struct parts_row {
    const char *title;
    size_t len_before, len_now;
    size_t change_at; /* this byte is another now; SIZE_MAX: none */
    uint64_t new_bytes;
    size_t packs;
} parts_row;

static const parts_row parts_rows[] = {
    {"nothing changed: no pack", 9 * KIT_MIB, 9 * KIT_MIB, SIZE_MAX, 0, 0},
    {"one changed part is sent", 13 * KIT_MIB, 13 * KIT_MIB, 5 * KIT_MIB, KIT_FRAME, 1},
    {"the last part has grown", 9 * KIT_MIB, 10 * KIT_MIB, SIZE_MAX, 2 * KIT_MIB, 1},
    {"a part more", 8 * KIT_MIB, 12 * KIT_MIB, SIZE_MAX, KIT_FRAME, 1},
    {"it has become shorter", 9 * KIT_MIB, 8 * KIT_MIB, SIZE_MAX, 0, 0},
    {"it was empty", 0, 1, SIZE_MAX, 1, 1},
};

static void test_parts(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(parts_rows) / sizeof(parts_rows[0]); i++) {
        const parts_row *const t = &parts_rows[i];
        print_message("  %s\n", t->title);
        uint8_t *const bytes = calloc(1, 16 * KIT_MIB);
        kit_run r;
        kit_run_init(&r);
        kit_fill_bytes(bytes, 16 * KIT_MIB, KIT_TEXT, 7);
        CF_CLEANUP(cf_fd_closep) int before = kit_file(bytes, t->len_before);
        cf_upload_item item = {.name = "writer",
                               .how = CF_UPLOAD_PARTS,
                               .fd = before,
                               .read_bytes = t->len_before,
                               .size_bytes = 16 * KIT_MIB};
        assert_int_equal(kit_upload(&r, &item, 1, NULL), CF_OK);
        kit_result first = r.results[0];
        r.result_total = r.pack_total = 0;

        if (t->change_at != SIZE_MAX)
            bytes[t->change_at] ^= 1;
        CF_CLEANUP(cf_fd_closep) int now = kit_file(bytes, t->len_now);
        item.fd = now;
        item.read_bytes = t->len_now;
        item.prior = first.extents;
        item.prior_total = first.extent_total;
        assert_int_equal(kit_upload(&r, &item, 1, NULL), CF_OK);
        assert_int_equal(r.results[0].new_bytes, t->new_bytes);
        assert_int_equal(r.pack_total, t->packs);
        kit_check(r.store, &r.results[0], bytes, t->len_now);
        kit_extents_free(first.extents, first.extent_total);
        kit_run_deinit(&r);
        free(bytes);
    }
}

/* The parent's extents of a WHOLE file have no SHA-256 a part: they are no prior. */
static void test_prior_without_sha(void **state)
{
    (void)state;
    uint8_t *const bytes = calloc(1, KIT_MIB);
    kit_run r;
    kit_run_init(&r);
    kit_fill_bytes(bytes, KIT_MIB, KIT_TEXT, 7);
    CF_CLEANUP(cf_fd_closep) int fd = kit_file(bytes, KIT_MIB);
    cf_upload_item item = {.name = "writer",
                           .how = CF_UPLOAD_WHOLE,
                           .fd = fd,
                           .read_bytes = KIT_MIB,
                           .size_bytes = KIT_MIB};
    assert_int_equal(kit_upload(&r, &item, 1, NULL), CF_OK);
    kit_result first = r.results[0];
    r.result_total = r.pack_total = 0;
    item.how = CF_UPLOAD_PARTS;
    item.prior = first.extents;
    item.prior_total = 1;
    assert_int_equal(kit_upload(&r, &item, 1, NULL), CF_OK);
    assert_int_equal(r.results[0].new_bytes, KIT_MIB);
    kit_extents_free(first.extents, 1);
    kit_run_deinit(&r);
    free(bytes);
}

/* ---- MD5 ---- */

typedef struct md5_row {
    const char *title;
    size_t len;  /* before the MD5 */
    size_t flip; /* byte to change afterwards; SIZE_MAX: none */
    bool ok;
} md5_row;

static const md5_row md5_rows[] = {
    {"good", 1000, SIZE_MAX, true},
    {"good, nothing before it", 0, SIZE_MAX, true},
    {"good, across two frames", KIT_FRAME - 8, SIZE_MAX, true},
    {"good, at the begin of a frame", KIT_FRAME, SIZE_MAX, true},
    {"good, at the end of a frame", 2 * KIT_FRAME - 16, SIZE_MAX, true},
    {"a byte of the content differs", 1000, 999, false},
    {"the last byte of the MD5 differs", 1000, 1015, false},
    {"across two frames, the second half differs", KIT_FRAME - 8, KIT_FRAME + 1, false},
};

static void test_md5(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(md5_rows) / sizeof(md5_rows[0]); i++) {
        const md5_row *const t = &md5_rows[i];
        print_message("  %s\n", t->title);
        uint8_t *const bytes = calloc(1, t->len + 32);
        kit_run r;
        kit_run_init(&r);
        kit_fill_bytes(bytes, t->len, KIT_TEXT, 3);
        assert_int_equal(cf_md5(cf_slice_of(bytes, t->len), bytes + t->len, NULL), CF_OK);
        if (t->flip != SIZE_MAX)
            bytes[t->flip] ^= 0x10;
        CF_CLEANUP(cf_fd_closep) int fd = kit_file(bytes, t->len + 16);
        const cf_upload_item item = {.name = t->title,
                                     .how = CF_UPLOAD_WHOLE,
                                     .fd = fd,
                                     .read_bytes = t->len + 16,
                                     .size_bytes = t->len + 4096,
                                     .own_pack = true,
                                     .ends_with_md5 = true};
        assert_int_equal(kit_upload(&r, &item, 1, NULL), CF_OK);
        assert_int_equal(r.results[0].md5_ok, t->ok);
        kit_check(r.store, &r.results[0], bytes, t->len + 16);
        kit_run_deinit(&r);
        free(bytes);
    }
}

static void test_md5_of_too_few_bytes(void **state)
{
    (void)state;
    kit_run r;
    kit_run_init(&r);
    CF_CLEANUP(cf_fd_closep) int fd = kit_file((const uint8_t *)"short", 5);
    const cf_upload_item item = {.name = "t",
                                 .how = CF_UPLOAD_WHOLE,
                                 .fd = fd,
                                 .read_bytes = 5,
                                 .size_bytes = 5,
                                 .ends_with_md5 = true};
    assert_int_equal(kit_upload(&r, &item, 1, NULL), CF_OK);
    assert_false(r.results[0].md5_ok);
    kit_run_deinit(&r);
}

/* ---- many items ---- */

static void mix_check(const kit_mix *m, const kit_run *r)
{
    assert_int_equal(r->result_total, 24);
    for (size_t i = 0; i < 24; i++) {
        assert_ptr_equal(r->results[i].token, &m->items[i]);
        if (m->items[i].how != CF_UPLOAD_READY)
            kit_check(r->store, &r->results[i], m->bytes, m->lens[i]);
    }
    for (size_t i = 1; i < r->pack_total; i++)
        assert_true(strcmp(r->pack_keys[i - 1], r->pack_keys[i]) < 0);
    assert_int_equal(kit_object_total(r->store), r->pack_total);
}

static void test_every_pool(void **state)
{
    (void)state;
    kit_mix m;
    kit_mix_init(&m);
    for (uint32_t frames = 1; frames <= 6; frames++)
        for (uint32_t workers = 1; workers <= 3; workers++)
            for (uint32_t lanes = CF_UPLOAD_LANES_MIN; lanes <= 4; lanes += 2) {
                kit_run r;
                cf_error e = {0};
                kit_run_init(&r);
                r.plan = (cf_memory_plan){.frame_buffers = frames,
                                          .workers = workers,
                                          .lanes = lanes,
                                          .parts_in_flight = lanes};
                r.limits = (cf_upload_limits){.pack_source_max = 8 * KIT_MIB,
                                              .shared_cut_bytes = (frames % 2) * 6 * KIT_MIB};
                r.level = 1;
                if (kit_upload(&r, m.items, 24, &e) != CF_OK)
                    fail_msg("%u frames, %u workers, %u lanes: %s", frames, workers, lanes,
                             e.message);
                mix_check(&m, &r);
                kit_run_deinit(&r);
            }
    kit_mix_deinit(&m);
}

static void test_packs_are_cut(void **state)
{
    (void)state;
    uint8_t *const bytes = calloc(1, 30 * KIT_MIB);
    kit_run r;
    kit_run_init(&r);
    kit_fill_bytes(bytes, 30 * KIT_MIB, KIT_TEXT, 5);
    r.limits.pack_source_max = 12 * KIT_MIB;
    CF_CLEANUP(cf_fd_closep) int fd = kit_file(bytes, 30 * KIT_MIB);
    const cf_upload_item item = {.name = "long",
                                 .how = CF_UPLOAD_WHOLE,
                                 .fd = fd,
                                 .read_bytes = 30 * KIT_MIB,
                                 .size_bytes = 30 * KIT_MIB,
                                 .own_pack = true};
    assert_int_equal(kit_upload(&r, &item, 1, NULL), CF_OK);
    assert_int_equal(r.pack_total, 3);
    assert_int_equal(r.results[0].extent_total, 3);
    assert_int_equal(r.results[0].extents[0].file_bytes, 12 * KIT_MIB);
    assert_int_equal(r.results[0].extents[0].frame_total, 3);
    assert_int_equal(r.results[0].extents[2].frame_total, 2);
    kit_check(r.store, &r.results[0], bytes, 30 * KIT_MIB);
    kit_run_deinit(&r);
    free(bytes);
}

/* A file longer than the real limit, mostly a hole on disk: the real constants, two packs. */
static void test_over_one_gib(void **state)
{
    (void)state;
    kit_run r;
    kit_run_init(&r);
    r.level = 1;
    CF_CLEANUP(cf_fd_closep) int fd = kit_file((const uint8_t *)"x", 1);
    const uint64_t len = CF_PACK_SOURCE_MAX + 5;
    assert_int_equal(ftruncate(fd, (off_t)len), 0);
    const cf_upload_item item = {.name = "long",
                                 .how = CF_UPLOAD_WHOLE,
                                 .fd = fd,
                                 .read_bytes = len,
                                 .size_bytes = len,
                                 .own_pack = true};
    assert_int_equal(kit_upload(&r, &item, 1, NULL), CF_OK);
    assert_int_equal(r.pack_total, 2);
    assert_int_equal(r.results[0].extent_total, 2);
    assert_int_equal(r.results[0].extents[0].frame_total, 256);
    assert_int_equal(r.results[0].extents[1].file_bytes, 5);
    kit_run_deinit(&r);
}

static void test_shared_pack_is_cut(void **state)
{
    (void)state;
    uint8_t *const bytes = calloc(1, 3 * KIT_MIB);
    cf_upload_item items[6];
    kit_run r;
    kit_run_init(&r);
    kit_fill_bytes(bytes, 3 * KIT_MIB, KIT_TEXT, 5);
    r.limits.shared_cut_bytes = 6 * KIT_MIB;
    CF_CLEANUP(cf_fd_closep) int fd = kit_file(bytes, 3 * KIT_MIB);
    for (size_t i = 0; i < 6; i++)
        items[i] = (cf_upload_item){.name = "s",
                                    .how = CF_UPLOAD_WHOLE,
                                    .fd = fd,
                                    .read_bytes = 3 * KIT_MIB,
                                    .size_bytes = 3 * KIT_MIB};
    assert_int_equal(kit_upload(&r, items, 6, NULL), CF_OK);
    assert_int_equal(r.pack_total, 3);
    assert_string_equal(r.results[1].extents[0].pack, r.pack_keys[0]);
    assert_true(r.results[1].extents[0].pack_offset > 0);
    assert_string_equal(r.results[2].extents[0].pack, r.pack_keys[1]);
    kit_run_deinit(&r);
    free(bytes);
}

/* Else its lane, and every later pack's line, would wait for the end of the run. */
static void test_shared_pack_does_not_wait_for_ever(void **state)
{
    (void)state;
    uint8_t *const bytes = calloc(1, 5 * KIT_MIB);
    cf_upload_item items[5];
    kit_run r;
    kit_run_init(&r);
    kit_fill_bytes(bytes, 5 * KIT_MIB, KIT_TEXT, 5);
    r.limits.shared_cut_bytes = 15 * KIT_MIB;
    CF_CLEANUP(cf_fd_closep) int fd = kit_file(bytes, 5 * KIT_MIB);
    for (size_t i = 0; i < 5; i++) {
        const bool own = i > 0 && i < 4;
        const uint64_t len = own ? 5 * KIT_MIB : 100;
        items[i] = (cf_upload_item){.name = "s",
                                    .how = CF_UPLOAD_WHOLE,
                                    .fd = fd,
                                    .read_bytes = len,
                                    .size_bytes = len,
                                    .own_pack = own};
    }
    assert_int_equal(kit_upload(&r, items, 5, NULL), CF_OK);
    assert_int_equal(r.pack_total, 5);
    assert_string_equal(r.results[0].extents[0].pack, r.pack_keys[0]);
    assert_string_equal(r.results[4].extents[0].pack, r.pack_keys[4]);
    kit_run_deinit(&r);
    free(bytes);
}

/* ---- the journal's view ---- */

typedef struct looker {
    cf_upload *u;
    cf_buf open; /* at the end of the pack, and after it */
} looker;

static cf_err look_before_finish(void *impl, cf_store_op op, const char *key, cf_error *e)
{
    looker *const l = impl;
    (void)key;
    return op == CF_STORE_OP_PUT_FINISH ? cf_upload_render_open(l->u, &l->open, e) : CF_OK;
}

static const char *multipart_id(const cf_store_put *p)
{
    (void)p;
    return "upload-1";
}

static void test_open_uploads_are_listed(void **state)
{
    (void)state;
    kit_run r;
    looker l = {0};
    kit_run_init(&r);
    cf_buf_init(&l.open, 4096);
    cf_store_ops ops = *r.store->ops;
    ops.put_upload_id = multipart_id;
    r.store->ops = &ops;
    cf_store_memory_set_hooks(r.store,
                              &(cf_store_memory_hooks){.before = look_before_finish, .impl = &l});
    const cf_upload_opts opts = kit_upload_opts(&r);
    CF_CLEANUP(cf_fd_closep) int fd = kit_file((const uint8_t *)"hello", 5);
    const cf_upload_item item = {
        .name = "t", .how = CF_UPLOAD_WHOLE, .fd = fd, .read_bytes = 5, .size_bytes = 5};
    assert_int_equal(cf_upload_new(&opts, &l.u, NULL), CF_OK);
    assert_int_equal(cf_upload_add(l.u, &item, NULL), CF_OK);
    assert_int_equal(cf_upload_finish(l.u, NULL), CF_OK);
    assert_int_equal(cf_upload_render_open(l.u, &l.open, NULL), CF_OK); /* there is none any more */
    assert_true(cf_slice_eq(cf_buf_slice(&l.open),
                            cf_slice_str(KIT_RUNS "run0/0000000000-pack-small.zst upload-1\n")));
    cf_upload_free(l.u);
    cf_buf_deinit(&l.open);
    kit_run_deinit(&r);
}

static void test_many_small(void **state)
{
    (void)state;
    enum { TOTAL = 3000, LEN = 8192 };
    uint8_t bytes[LEN];
    cf_error e = {0};
    kit_run r;
    kit_run_init(&r);
    kit_fill_bytes(bytes, LEN, KIT_TEXT, 5);
    CF_CLEANUP(cf_fd_closep) int fd = kit_file(bytes, LEN);
    cf_upload_item *const items = calloc(TOTAL, sizeof(*items));
    for (size_t i = 0; i < TOTAL; i++)
        items[i] = (cf_upload_item){.token = &items[i],
                                    .name = "t",
                                    .how = CF_UPLOAD_WHOLE,
                                    .fd = fd,
                                    .read_bytes = LEN,
                                    .size_bytes = LEN,
                                    .own_pack = true};
    const uint64_t start_ms = cf_world_real()->mono_ms(NULL);
    if (kit_upload(&r, items, TOTAL, &e) != CF_OK)
        fail_msg("%s", e.message);
    print_message("  %d items in %llu ms\n", TOTAL,
                  (unsigned long long)(cf_world_real()->mono_ms(NULL) - start_ms));
    assert_int_equal(r.result_total, TOTAL);
    assert_int_equal(r.pack_total, TOTAL);
    for (size_t i = 0; i < TOTAL; i++)
        assert_ptr_equal(r.results[i].token, &items[i]);
    kit_check(r.store, &r.results[TOTAL - 1], bytes, LEN);
    kit_run_deinit(&r);
    free(items);
}

static void test_nothing(void **state)
{
    (void)state;
    kit_run r;
    kit_run_init(&r);
    assert_int_equal(kit_upload(&r, NULL, 0, NULL), CF_OK);
    assert_int_equal(kit_object_total(r.store), 0);
    kit_run_deinit(&r);
}

static void test_finish_then_more(void **state)
{
    (void)state;
    kit_run r;
    kit_run_init(&r);
    const cf_upload_opts opts = kit_upload_opts(&r);
    cf_upload_counts counts = {0};
    CF_CLEANUP(cf_fd_closep) int fd = kit_file((const uint8_t *)"hello", 5);
    const cf_upload_item item = {
        .name = "t", .how = CF_UPLOAD_WHOLE, .fd = fd, .read_bytes = 5, .size_bytes = 5};
    {
        CF_CLEANUP(cf_upload_freep) cf_upload *u = NULL;
        assert_int_equal(cf_upload_new(&opts, &u, NULL), CF_OK);
        for (size_t i = 1; i <= 3; i++) {
            assert_int_equal(cf_upload_add(u, &item, NULL), CF_OK);
            assert_int_equal(cf_upload_finish(u, NULL), CF_OK);
            assert_int_equal(r.pack_total, i);
        }
        cf_upload_get_counts(u, &counts);
    }
    assert_int_equal(counts.packs_total, 3);
    assert_int_equal(counts.read_bytes, 15);
    assert_int_equal(counts.sent_source_bytes, 15);
    kit_run_deinit(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trips),
        cmocka_unit_test(test_parts),
        cmocka_unit_test(test_prior_without_sha),
        cmocka_unit_test(test_md5),
        cmocka_unit_test(test_md5_of_too_few_bytes),
        cmocka_unit_test(test_every_pool),
        cmocka_unit_test(test_packs_are_cut),
        cmocka_unit_test(test_over_one_gib),
        cmocka_unit_test(test_shared_pack_is_cut),
        cmocka_unit_test(test_shared_pack_does_not_wait_for_ever),
        cmocka_unit_test(test_open_uploads_are_listed),
        cmocka_unit_test(test_many_small),
        cmocka_unit_test(test_nothing),
        cmocka_unit_test(test_finish_then_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
