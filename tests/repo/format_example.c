/* SPDX-License-Identifier: Apache-2.0
 *
 * format_example REPOSITORY PLAIN: writes a tiny repository of node kdb-1 into directory
 * REPOSITORY, and the files that a restore must give into directory PLAIN.
 * tests/repo/format_by_hand_test.py restores it with the commands of docs/FORMAT.md.
 */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <zstd.h>

#include "repo/lease.h"
#include "repo/manifest.h"
#include "s3/base/alloc.h"
#include "s3/base/cleanup.h"
#include "s3/base/fs.h"
#include "s3/base/hash.h"

enum {
    CHUNK_BYTES =
        11 * 1024 * 1024 + 77, /* two packs, with a hole of 1 MiB between and one at the end */
    FIRST_BYTES = 5 * 1024 * 1024,
    SECOND_AT = 6 * 1024 * 1024,
    SECOND_BYTES = 4 * 1024 * 1024 + 5,
    PARTS_BYTES = 2 * CF_FRAME_BYTES + 999,
    FRAME_ROOM = CF_FRAME_BYTES + 64 * 1024,
};

typedef struct example {
    cf_repo repo;
    cf_run run;
    cf_manifest *m;
    cf_buf pack; /* stored bytes of the pack being made */
    char name[CF_RUN_OBJECT_LEN_MAX + 1];
    const char *plain;
} example;

/* Bytes that compress a little. */
static void fill(uint8_t *to, size_t len, uint32_t seed)
{
    for (size_t i = 0; i < len; i++) {
        seed = seed * 1664525 + 1013904223;
        to[i] = i % 64 < 40 ? (uint8_t)(seed >> 24) : 'k';
    }
}

static cf_err pack_begin(example *x, const char *hint)
{
    char key[CF_KEY_LEN_MAX + 1];
    cf_key_run_object(key, &x->run, cf_run_next_seq(&x->run), "pack", hint, ".zst");
    (void)snprintf(x->name, sizeof(x->name), "%s", cf_key_object_name(key));
    cf_buf_clear(&x->pack);
    return CF_OK;
}

/* Frames of at most CF_FRAME_BYTES; fills the extent, whose frame_bytes has room. */
static cf_err pack_add(example *x, const uint8_t *from, size_t len, uint64_t file_offset,
                       uint32_t *frames, cf_extent *ret, cf_error *e)
{
    *ret = (cf_extent){.pack = x->name,
                       .pack_offset = x->pack.len,
                       .file_offset = file_offset,
                       .file_bytes = len,
                       .frame_bytes = frames};
    for (size_t at = 0; at < len; at += CF_FRAME_BYTES) {
        const size_t part = len - at < CF_FRAME_BYTES ? len - at : CF_FRAME_BYTES;
        CF_TRY(cf_buf_reserve(&x->pack, FRAME_ROOM, e));
        const size_t stored =
            ZSTD_compress(x->pack.data + x->pack.len, FRAME_ROOM, from + at, part, 3);
        CF_ENSURE(!ZSTD_isError(stored), e, CF_ERR_FAILED, "compress");
        x->pack.len += stored;
        frames[ret->frame_total++] = (uint32_t)stored;
    }
    ret->stored_bytes = x->pack.len - ret->pack_offset;
    return CF_OK;
}

static cf_err pack_end(example *x, cf_error *e)
{
    char key[CF_KEY_LEN_MAX + 1];
    cf_stored stored = {0};
    cf_key_of_object(key, x->run.node, x->name);
    CF_TRY(x->repo.store->ops->put(x->repo.store, key, cf_buf_slice(&x->pack),
                                   &(cf_put_opts){.create_only = true}, &stored, e));
    const cf_pack_line line = {
        .pack = x->name, .stored_bytes = stored.size_bytes, .digest = stored.digest};
    return cf_manifest_add_pack(x->m, &line, e);
}

/* A file line, and the file itself below PLAIN. */
static cf_err add_file(example *x, uint16_t step, const char *path, cf_slice bytes,
                       const char *klass, const cf_extent *extents, size_t extent_total,
                       cf_error *e)
{
    char file[4096];
    cf_file_line l = {.step = step,
                      .path = cf_slice_str(path),
                      .type = CF_LINE_FILE,
                      .size_bytes = bytes.len,
                      .mode = 0640,
                      .klass = klass,
                      .mtime_ns = INT64_C(1795271460123456789),
                      .has_sha256 = true,
                      .extents = extents,
                      .extent_total = extent_total};
    l.is_inline = bytes.len <= CF_INLINE_LEN_MAX;
    if (l.is_inline)
        l.content = bytes;
    CF_TRY(cf_sha256(bytes, l.sha256, e));
    if (bytes.len >= 256 && strcmp(klass, "chunk") == 0) {
        l.cert_header = cf_slice_of(bytes.ptr, 128);
        l.cert_footer = cf_slice_of(bytes.ptr + bytes.len - 128, 128);
    }
    (void)snprintf(file, sizeof(file), "%s/%s", x->plain, path);
    FILE *const out = fopen(file, "wbx");
    CF_ENSURE(out != NULL, e, CF_ERR_IO, "open '%s'", file);
    const bool written = fwrite(bytes.ptr, 1, bytes.len, out) == bytes.len;
    CF_ENSURE(fclose(out) == 0 && written, e, CF_ERR_IO, "write '%s'", file);
    return cf_manifest_add_file(x->m, &l, e);
}

static cf_err add_files(example *x, uint8_t *chunk, uint8_t *parts, cf_error *e)
{
    cf_extent extents[3];
    uint32_t frames[3][4] = {{0}};
    char first[CF_RUN_OBJECT_LEN_MAX + 1];
    fill(chunk, FIRST_BYTES, 1);
    fill(chunk + SECOND_AT, SECOND_BYTES, 2);
    fill(parts, PARTS_BYTES, 3);
    memset(parts + CF_FRAME_BYTES, 0, CF_FRAME_BYTES); /* a part of zeros is a hole */

    CF_TRY(pack_begin(x, "chunk-000000.000000"));
    CF_TRY(pack_add(x, chunk, FIRST_BYTES, 0, frames[0], &extents[0], e));
    (void)memcpy(first, x->name, sizeof(first));
    extents[0].pack = first;
    CF_TRY(pack_end(x, e));
    CF_TRY(pack_begin(x, "chunk-000000.000000"));
    CF_TRY(pack_add(x, chunk + SECOND_AT, SECOND_BYTES, SECOND_AT, frames[1], &extents[1], e));
    CF_TRY(pack_end(x, e));
    CF_TRY(add_file(x, 1, "db/chunk-000000.000000", cf_slice_of(chunk, CHUNK_BYTES), "chunk",
                    extents, 2, e));

    CF_TRY(pack_begin(x, "small"));
    for (uint32_t i = 0; i < 2; i++) { /* the first part and the last */
        const uint64_t at = (uint64_t)i * 2 * CF_FRAME_BYTES;
        const size_t len = i == 0 ? CF_FRAME_BYTES : PARTS_BYTES - 2 * CF_FRAME_BYTES;
        CF_TRY(pack_add(x, parts + at, len, at, frames[i], &extents[i], e));
        extents[i].has_sha256 = true;
        CF_TRY(cf_sha256(cf_slice_of(parts + at, len), extents[i].sha256, e));
    }
    CF_TRY(pack_end(x, e));
    CF_TRY(add_file(x, 2, "db/chunk-000001.000000", cf_slice_of(parts, PARTS_BYTES),
                    "ongoing-chunk", extents, 2, e));
    CF_TRY(cf_manifest_cut(x->m, e));
    return add_file(x, 3, "db/writer.chk", cf_slice_of("\x10\x27\0\0\0\0\0\0", 8), "checkpoint",
                    NULL, 0, e);
}

static cf_err write_snapshot(example *x, cf_lease *lease, cf_error *e)
{
    CF_CLEANUP(cf_root_freep) cf_root *root = NULL;
    CF_CLEANUP(cf_freep) uint8_t *chunk = cf_alloc(CHUNK_BYTES, 1);
    CF_CLEANUP(cf_freep) uint8_t *parts = cf_alloc(PARTS_BYTES, 1);
    CF_ENSURE(chunk != NULL && parts != NULL, e, CF_ERR_NO_MEMORY, "allocate");
    CF_TRY(cf_manifest_new(&(cf_manifest_opts){.repo = &x->repo, .run = &x->run}, &x->m, e));
    CF_TRY(add_files(x, chunk, parts, e));
    CF_TRY(cf_root_new(&root, e));
    root->run = x->run.id;
    CF_TRY(x->repo.store->ops->now_utc_ms(x->repo.store, &root->time_utc_ms, e));
    (void)snprintf(root->profile, sizeof(root->profile), "kurrentdb");
    (void)snprintf(root->version, sizeof(root->version), "%s", CF_VERSION);
    root->lease = cf_lease_number(lease);
    root->totals = (cf_totals){
        .files_total = 3, .files_new = 3, .source_bytes = CHUNK_BYTES + PARTS_BYTES + 8};
    CF_TRY(cf_manifest_finish(x->m, root, e));
    CF_TRY(cf_lease_check(lease, e));
    return cf_snapshot_commit(&x->repo, x->run.node, root, e);
}

static cf_err run(const char *repository, example *x, cf_error *e)
{
    CF_CLEANUP(cf_store_freep) cf_store *store = NULL;
    cf_lease *lease = NULL;
    int64_t now_utc_ms = 0;
    CF_TRY(cf_store_directory_new(cf_fs_real(), cf_world_real(), repository, &store, e));
    CF_TRY(cf_repo_init(store, cf_world_real(), &x->repo, e));
    CF_TRY(store->ops->now_utc_ms(store, &now_utc_ms, e));
    (void)snprintf(x->run.node, sizeof(x->run.node), "kdb-1");
    cf_run_id_make(now_utc_ms, NULL, 0x0123abcd, &x->run.id);
    CF_TRY(cf_lease_acquire(&x->repo, &(cf_lease_opts){.run = &x->run}, &lease, e));
    const cf_err err = write_snapshot(x, lease, e);
    if (err != CF_OK) {
        cf_lease_abandon(lease);
        return err;
    }
    return cf_lease_release(lease, e);
}

int main(int argc, char **argv)
{
    example x = {0};
    cf_error e = {0};
    char db[4096];
    if (argc != 3) {
        (void)fprintf(stderr, "usage: format_example REPOSITORY PLAIN\n");
        return 2;
    }
    x.plain = argv[2];
    (void)snprintf(db, sizeof(db), "%s/db", x.plain);
    cf_buf_init(&x.pack, 64 * 1024 * 1024);
    cf_err err = CF_OK;
    if (mkdir(db, 0700) != 0)
        err = cf_error_set(&e, CF_ERR_IO, __FILE__, __LINE__, "make '%s'", db);
    else
        err = run(argv[1], &x, &e);
    cf_manifest_free(x.m);
    cf_buf_deinit(&x.pack);
    if (err != CF_OK)
        (void)fprintf(stderr, "format_example: %s\n", e.message);
    return cf_err_exit_code(err);
}
