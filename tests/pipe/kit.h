/* SPDX-License-Identifier: Apache-2.0
 *
 * What the tests of both pipelines share: sources made from a seed, a world that stops on order, a
 * filesystem that fails on order, and a run whose results are kept so that they can be looked at,
 * or downloaded again.
 */
#ifndef TESTS_PIPE_KIT_H
#define TESTS_PIPE_KIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
#include <zstd.h>

#include <cmocka.h>

#include "pipe/upload_inner.h"
#include "s3/base/alloc.h"
#include "s3/base/cleanup.h"
#include "s3/base/fs.h"
#include "s3/base/hash.h"
#include "store/memory.h"

#define KIT_UNUSED __attribute__((unused))
#define KIT_RUNS   "nodes/n/runs/"

enum { KIT_FRAME = CF_FRAME_BYTES, KIT_MIB = 1024 * 1024 };

/* ---- sources ---- */

typedef enum kit_fill { KIT_TEXT, KIT_RANDOM, KIT_ZERO } kit_fill;

KIT_UNUSED static void kit_fill_bytes(uint8_t *to, size_t len, kit_fill fill, uint32_t seed)
{
    uint64_t x = seed * 2654435761ull + 88172645463325252ull;
    for (size_t i = 0; i < len; i += 8) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        const uint64_t v = fill == KIT_TEXT ? 0x2020202020202020ull | (x & 0x0303000003000003ull)
                           : fill == KIT_RANDOM ? x
                                                : 0;
        memcpy(to + i, &v, len - i < 8 ? len - i : 8);
    }
}

/* A file without a name. */
KIT_UNUSED static int kit_file(const uint8_t *bytes, size_t len)
{
    const int fd = memfd_create("kit", MFD_CLOEXEC);
    assert_true(fd >= 0);
    for (size_t done = 0; done < len;) {
        const ssize_t n = write(fd, bytes + done, len - done);
        assert_true(n > 0);
        done += (size_t)n;
    }
    return fd;
}

/* ---- the world ---- */

typedef struct kit_world {
    cf_world world;
    atomic_int looks_left; /* stopping() answers true after so many looks; < 0: never */
} kit_world;

static bool kit_stopping(void *impl)
{
    kit_world *const w = impl;
    const int left = atomic_load(&w->looks_left);
    if (left < 0)
        return false;
    return left == 0 || atomic_fetch_sub(&w->looks_left, 1) <= 1;
}

static void kit_world_random(void *impl, void *ret, size_t len)
{
    (void)impl;
    cf_world_real()->random(NULL, ret, len);
}

KIT_UNUSED static void kit_world_init(kit_world *w)
{
    w->world = *cf_world_real();
    w->world.random = kit_world_random;
    w->world.stopping = kit_stopping;
    w->world.impl = w;
    atomic_init(&w->looks_left, -1);
}

/* ---- the filesystem ---- */

typedef struct kit_fs {
    cf_fs fs;
    cf_fs_ops ops;
    atomic_int reads_left;     /* the nth pread fails; 0: none */
    atomic_int writes_left;    /* the nth pwrite fails with CF_ERR_NO_SPACE; 0: none */
    atomic_int syncs_left;     /* the nth sync fails; 0: none */
    atomic_int truncates_left; /* the nth truncate fails; 0: none */
    uint64_t end_bytes;        /* files seem to end here; UINT64_MAX: no */
    atomic_int syncs;
} kit_fs;

static bool kit_hit(atomic_int *left)
{
    return atomic_load(left) > 0 && atomic_fetch_sub(left, 1) == 1;
}

static cf_err kit_pread(const cf_fs *fs, int fd, void *ret, size_t len, uint64_t offset,
                        size_t *ret_len, cf_error *e)
{
    kit_fs *const k = fs->impl;
    CF_ENSURE(!kit_hit(&k->reads_left), e, CF_ERR_IO, "read: the test wants it to fail");
    const uint64_t left = offset < k->end_bytes ? k->end_bytes - offset : 0;
    return cf_fs_real()->ops->pread(fs, fd, ret, len < left ? len : (size_t)left, offset, ret_len,
                                    e);
}

static cf_err kit_pwrite(const cf_fs *fs, int fd, cf_slice s, uint64_t offset, cf_error *e)
{
    kit_fs *const k = fs->impl;
    CF_ENSURE(!kit_hit(&k->writes_left), e, CF_ERR_NO_SPACE, "write: no space left, says the test");
    return cf_fs_real()->ops->pwrite(fs, fd, s, offset, e);
}

static cf_err kit_sync(const cf_fs *fs, int fd, cf_error *e)
{
    kit_fs *const k = fs->impl;
    (void)fd;
    (void)atomic_fetch_add(&k->syncs, 1);
    CF_ENSURE(!kit_hit(&k->syncs_left), e, CF_ERR_IO, "sync: the test wants it to fail");
    return CF_OK;
}

static cf_err kit_truncate(const cf_fs *fs, int fd, uint64_t size_bytes, cf_error *e)
{
    kit_fs *const k = fs->impl;
    CF_ENSURE(!kit_hit(&k->truncates_left), e, CF_ERR_NO_SPACE,
              "truncate: no space left, says the test");
    return cf_fs_real()->ops->truncate(fs, fd, size_bytes, e);
}

KIT_UNUSED static void kit_fs_init(kit_fs *k)
{
    *k = (kit_fs){.end_bytes = UINT64_MAX};
    k->ops = *cf_fs_real()->ops;
    k->ops.pread = kit_pread;
    k->ops.pwrite = kit_pwrite;
    k->ops.sync = kit_sync;
    k->ops.truncate = kit_truncate;
    k->fs = (cf_fs){.ops = &k->ops, .impl = k};
}

/* ---- the store's faults ---- */

typedef struct kit_faults {
    atomic_int ops_left; /* the nth operation fails; 0: none */
} kit_faults;

KIT_UNUSED static cf_err kit_before(void *impl, cf_store_op op, const char *key, cf_error *e)
{
    kit_faults *const f = impl;
    CF_ENSURE(!kit_hit(&f->ops_left), e, CF_ERR_SERVER, "%s '%s': the test wants it to fail",
              cf_store_op_name(op), key);
    return CF_OK;
}

/* ---- a run of the upload pipeline ---- */

typedef struct kit_result {
    void *token;
    cf_err is_set;
    uint8_t sha256[32], head[CF_CERT_LEN_MAX], tail[CF_CERT_LEN_MAX];
    bool md5_ok;
    uint64_t size_bytes, read_bytes, new_bytes;
    cf_extent *extents; /* deep copy */
    size_t extent_total;
} kit_result;

typedef struct kit_run {
    kit_world world;
    kit_fs fs;
    cf_store *store;
    kit_faults faults;
    cf_memory_plan plan;
    cf_upload_limits limits;
    int level;
    uint32_t run; /* part of the keys */
    atomic_uint seq;
    kit_result *results;
    size_t result_total, result_cap;
    cf_pack_line packs[64]; /* the first ones */
    char pack_keys[64][CF_KEY_LEN_MAX + 1];
    size_t pack_total;
    size_t fail_result_at, fail_pack_at; /* 1..: the callback answers CF_ERR_FENCED */
} kit_run;

static cf_err kit_next_pack(void *impl, const char *hint, char ret_key[CF_KEY_LEN_MAX + 1],
                            cf_error *e)
{
    kit_run *const r = impl;
    (void)e;
    (void)snprintf(ret_key, CF_KEY_LEN_MAX + 1, "run%u/%010u-pack-%s.zst", r->run,
                   atomic_fetch_add(&r->seq, 1), hint);
    return CF_OK;
}

static void kit_extents_free(cf_extent *x, size_t total)
{
    for (size_t i = 0; i < total; i++) {
        cf_free((void *)(uintptr_t)x[i].pack);
        cf_free((void *)(uintptr_t)x[i].frame_bytes);
    }
    cf_free(x);
}

static cf_extent *kit_extents_dup(const cf_extent *from, size_t total)
{
    cf_extent *const to = cf_alloc(total, sizeof(*to));
    assert_non_null(to);
    for (size_t i = 0; i < total; i++) {
        to[i] = from[i];
        to[i].pack = cf_strdup(from[i].pack);
        assert_non_null(to[i].pack);
        if (from[i].frame_bytes == NULL)
            continue;
        uint32_t *const frames = cf_alloc(from[i].frame_total, sizeof(*frames));
        assert_non_null(frames);
        memcpy(frames, from[i].frame_bytes, from[i].frame_total * sizeof(*frames));
        to[i].frame_bytes = frames;
    }
    return to;
}

static cf_err kit_on_result(void *impl, const cf_upload_result *r, cf_error *e)
{
    kit_run *const run = impl;
    if (run->result_total == run->result_cap) {
        run->result_cap = run->result_cap == 0 ? 64 : run->result_cap * 2;
        run->results = cf_realloc(run->results, run->result_cap, sizeof(*run->results));
        assert_non_null(run->results);
    }
    kit_result *const k = &run->results[run->result_total++];
    *k = (kit_result){.token = r->item->token,
                      .md5_ok = r->md5_ok,
                      .size_bytes = r->item->size_bytes,
                      .read_bytes = r->read_bytes,
                      .new_bytes = r->new_bytes,
                      .extent_total = r->extent_total};
    memcpy(k->sha256, r->sha256, sizeof(k->sha256));
    memcpy(k->head, r->head, sizeof(k->head));
    memcpy(k->tail, r->tail, sizeof(k->tail));
    k->extents = kit_extents_dup(r->extents, r->extent_total);
    CF_ENSURE(run->result_total != run->fail_result_at, e, CF_ERR_FENCED,
              "the test's result callback fails");
    return CF_OK;
}

static cf_err kit_on_pack(void *impl, const cf_pack_line *pack, cf_error *e)
{
    kit_run *const run = impl;
    const size_t i = run->pack_total++;
    CF_ENSURE(run->pack_total != run->fail_pack_at, e, CF_ERR_FENCED,
              "the test's pack callback fails");
    if (i >= 64)
        return CF_OK;
    (void)snprintf(run->pack_keys[i], sizeof(run->pack_keys[i]), "%s", pack->pack);
    run->packs[i] = *pack;
    run->packs[i].pack = run->pack_keys[i];
    return CF_OK;
}

KIT_UNUSED static void kit_run_init(kit_run *r)
{
    *r = (kit_run){.plan = {.frame_buffers = 4,
                            .workers = 2,
                            .lanes = 3,
                            .part_bytes = 5 * KIT_MIB,
                            .parts_in_flight = 3}};
    kit_world_init(&r->world);
    kit_fs_init(&r->fs);
    assert_int_equal(cf_store_memory_new(cf_world_real(), &r->store, NULL), CF_OK);
    cf_store_memory_set_hooks(r->store,
                              &(cf_store_memory_hooks){.before = kit_before, .impl = &r->faults});
}

KIT_UNUSED static void kit_run_forget(kit_run *r)
{
    for (size_t i = 0; i < r->result_total; i++)
        kit_extents_free(r->results[i].extents, r->results[i].extent_total);
    cf_free(r->results);
    r->results = NULL;
    r->result_total = r->result_cap = r->pack_total = 0;
}

KIT_UNUSED static void kit_run_deinit(kit_run *r)
{
    kit_run_forget(r);
    cf_store_free(r->store);
}

KIT_UNUSED static cf_upload_opts kit_upload_opts(kit_run *r)
{
    return (cf_upload_opts){.store = r->store,
                            .fs = &r->fs.fs,
                            .world = &r->world.world,
                            .memory = r->plan,
                            .level = r->level,
                            .runs_prefix = KIT_RUNS,
                            .next_pack = kit_next_pack,
                            .on_result = kit_on_result,
                            .on_pack = kit_on_pack,
                            .impl = r};
}

KIT_UNUSED static cf_err kit_upload(kit_run *r, const cf_upload_item *items, size_t total,
                                    cf_error *e)
{
    const cf_upload_opts opts = kit_upload_opts(r);
    CF_CLEANUP(cf_upload_freep) cf_upload *u = NULL;
    r->run++;
    CF_TRY(cf_upload_new_limited(&opts, &r->limits, &u, e));
    for (size_t i = 0; i < total; i++)
        CF_TRY(cf_upload_add(u, &items[i], e));
    return cf_upload_finish(u, e);
}

/* ---- many items at once ---- */

typedef struct kit_mix {
    uint8_t *bytes;
    size_t lens[24];
    int fds[24];
    cf_upload_item items[24];
} kit_mix;

/* Own packs, shared ones, parts, empty and ready items, so that the shared pack is open while
 * others come and go. */
KIT_UNUSED static void kit_mix_init(kit_mix *m)
{
    static const size_t lens[] = {100, 5 * KIT_MIB, 0, 9 * KIT_MIB + 3, 1000, KIT_FRAME};
    m->bytes = calloc(1, 10 * KIT_MIB);
    kit_fill_bytes(m->bytes, 10 * KIT_MIB, KIT_TEXT, 99);
    for (size_t i = 0; i < 24; i++) {
        m->lens[i] = lens[i % 6];
        m->fds[i] = kit_file(m->bytes, m->lens[i]);
        m->items[i] = (cf_upload_item){.token = &m->items[i],
                                       .name = "mixed",
                                       .how = i % 5 == 4   ? CF_UPLOAD_READY
                                              : i % 3 == 2 ? CF_UPLOAD_PARTS
                                                           : CF_UPLOAD_WHOLE,
                                       .fd = m->fds[i],
                                       .read_bytes = m->lens[i],
                                       .size_bytes = m->lens[i] + i * 10,
                                       .own_pack = i % 4 == 1,
                                       .pack_hint = "own"};
    }
}

KIT_UNUSED static void kit_mix_deinit(kit_mix *m)
{
    for (size_t i = 0; i < 24; i++)
        (void)close(m->fds[i]);
    free(m->bytes);
}

/* ---- looking at what came of it ---- */

static cf_err kit_sink(void *impl, cf_slice s, cf_error *e)
{
    return cf_buf_append(impl, s, e);
}

static void kit_extent_decode(cf_store *store, const cf_extent *x, uint8_t *content)
{
    CF_CLEANUP(cf_buf_deinit) cf_buf raw = {0};
    char key[CF_KEY_LEN_MAX + 1];
    cf_buf_init(&raw, 1 << 30);
    (void)snprintf(key, sizeof(key), KIT_RUNS "%s", x->pack);
    assert_int_equal(
        store->ops->get(store, key, x->pack_offset, x->stored_bytes, kit_sink, &raw, NULL), CF_OK);
    assert_int_equal(raw.len, x->stored_bytes);
    /* ZSTD_decompress takes several frames one after the other. */
    assert_int_equal(ZSTD_decompress(content + x->file_offset, x->file_bytes, raw.data, raw.len),
                     x->file_bytes);
    uint64_t sum = 0;
    for (uint32_t f = 0; f < x->frame_total; f++) {
        const uint64_t expected =
            f + 1 < x->frame_total ? KIT_FRAME : x->file_bytes - (uint64_t)f * KIT_FRAME;
        assert_int_equal(ZSTD_getFrameContentSize(raw.data + sum, raw.len - sum), expected);
        sum += x->frame_bytes[f];
    }
    if (x->frame_bytes != NULL)
        assert_int_equal(sum, x->stored_bytes);
    if (x->has_sha256) {
        uint8_t sha[32];
        assert_int_equal(cf_sha256(cf_slice_of(content + x->file_offset, x->file_bytes), sha, NULL),
                         CF_OK);
        assert_memory_equal(sha, x->sha256, 32);
    }
}

/* The result stands for exactly these bytes, and zeros up to its size. */
KIT_UNUSED static void kit_check(cf_store *store, const kit_result *r, const uint8_t *bytes,
                                 size_t len)
{
    uint8_t *const content = calloc(1, r->size_bytes + 1);
    uint8_t sha[32];
    uint64_t end = 0;
    assert_non_null(content);
    for (size_t i = 0; i < r->extent_total; i++) {
        assert_true(r->extents[i].file_offset >= end);
        end = r->extents[i].file_offset + r->extents[i].file_bytes;
        assert_true(end <= r->size_bytes);
        kit_extent_decode(store, &r->extents[i], content);
    }
    if (len > 0)
        assert_int_equal(memcmp(content, bytes, len), 0);
    for (size_t i = len; i < r->size_bytes; i++)
        if (content[i] != 0)
            fail_msg("byte %zu of a hole is %u", i, content[i]);
    assert_int_equal(cf_sha256(cf_slice_of(content, r->size_bytes), sha, NULL), CF_OK);
    assert_memory_equal(sha, r->sha256, 32);
    free(content);
}

static cf_err kit_count_entry(void *impl, const cf_store_entry *entry, bool *ret_stop, cf_error *e)
{
    (void)entry;
    (void)ret_stop;
    (void)e;
    ++*(size_t *)impl;
    return CF_OK;
}

KIT_UNUSED static size_t kit_object_total(cf_store *store)
{
    size_t total = 0;
    assert_int_equal(store->ops->list(store, "", NULL, NULL, kit_count_entry, &total, NULL), CF_OK);
    return total;
}

#endif
