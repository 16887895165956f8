/* SPDX-License-Identifier: Apache-2.0
 *
 * A tiny node, a repository in memory, and a run of the whole backup flow over them, in a world
 * whose clock the test sets and with faults on order. What was committed is read back and decoded.
 */
#ifndef TESTS_BACKUP_RIG_H
#define TESTS_BACKUP_RIG_H

#define NB_FILES_ONLY
#include "backup/backup.h"
#include "tests/profile/node_builder.h"
#include "tests/repo/fixture.h"
#include "tests/store/fault_fs.h"

#include <zstd.h>

#define RIG_NODE "kdb-1"

typedef struct rig {
    fixture f;
    nb_node node;
    fault_fs fs;
    /* Faults of the store. */
    atomic_uint ops;  /* calls so far; hooks count while armed */
    unsigned fail_at; /* 0: none */
    bool fail_after;  /* done, and the answer lost */
    atomic_bool hit;
    char hit_what[CF_KEY_LEN_MAX + 32];
    bool left_out; /* the last run warned that the scavenge's database is not in it: correct */
} rig;

static inline void rig_log(void *impl, cf_log_level level, const char *text)
{
    if (level == CF_LOG_WARN && strstr(text, "a restore the next scavenge starts anew") != NULL)
        ((rig *)impl)->left_out = true;
}

static inline cf_err rig_maybe_fail(rig *r, bool after, cf_store_op op, const char *key,
                                    cf_error *e)
{
    if (r->fail_at == 0 || after != r->fail_after || atomic_fetch_add(&r->ops, 1) + 1 != r->fail_at)
        return CF_OK;
    atomic_store(&r->hit, true);
    (void)snprintf(r->hit_what, sizeof(r->hit_what), "%s '%s'", cf_store_op_name(op), key);
    CF_FAIL(e, CF_ERR_SERVER, "injected into the store");
}

static inline cf_err rig_before(void *impl, cf_store_op op, const char *key, cf_error *e)
{
    return rig_maybe_fail(impl, /* after= */ false, op, key, e);
}

static inline cf_err rig_after(void *impl, cf_store_op op, const char *key, cf_error *e)
{
    return rig_maybe_fail(impl, /* after= */ true, op, key, e);
}

static inline void rig_init(rig *r)
{
    memset(r, 0, sizeof(*r));
    fixture_init(&r->f);
    fault_fs_init(&r->fs);
}

static inline void rig_deinit(rig *r)
{
    fixture_deinit(&r->f);
}

static inline cf_err rig_backup(rig *r, cf_backup_result *ret, cf_error *e)
{
    const cf_ctx ctx = {.world = &r->f.world, .fs = &r->fs.fs, .log = rig_log, .impl = r};

    r->left_out = false;
    const cf_backup_opts opts = {
        .remote = {.memory_bytes = (uint64_t)CF_MEMORY_MIN_MIB << 20, .jobs = 1},
        .node = RIG_NODE,
        .profile = "kurrentdb",
        .db = r->node.db,
    };

    return cf_backup_run_on(&ctx, &opts, r->f.store, ret, e);
}

static inline void rig_node_new(rig *r)
{
    nb_node_new(&r->node);
}

/* What a node does between two backups: a new table, another filter, a later checkpoint. */
static inline void rig_node_change(rig *r)
{
    nb_table(r->node.index, "00000000-0000-0000-0000-00000000000c", 30);
    nb_bloom(r->node.index, "00000000-0000-0000-0000-00000000000c");
    nb_indexmap(r->node.index, 2 * NB_CHUNK_SIZE,
                "0,0," NB_TABLE_A "\n0,1,00000000-0000-0000-0000-00000000000c\n1,0," NB_TABLE_B
                "\n");
    nb_write(r->node.index, "stream-existence/streamExistenceFilter.dat", "FILTER", 6);
}

/* ---- what was committed ---- */

static inline size_t rig_snapshots(rig *r, char ret_newest[CF_SNAPSHOT_ID_SIZE])
{
    cf_snapshot_ids ids = {0};

    assert_ok(cf_snapshot_list(&r->f.repo, RIG_NODE, /* recent= */ false, &ids, &e));
    const size_t total = ids.total;
    ret_newest[0] = '\0';
    if (total > 0)
        memcpy(ret_newest, ids.id[total - 1].text, CF_SNAPSHOT_ID_SIZE);
    cf_snapshot_ids_deinit(&ids);
    return total;
}

static inline cf_err rig_sink(void *impl, cf_slice s, cf_error *e)
{
    return cf_buf_append(impl, s, e);
}

/* The content as the manifest says it is, against its own SHA-256 (the whole node is tiny). */
static inline void rig_check_content(rig *r, const cf_file_line *line)
{
    static uint8_t content[256 * 1024];
    uint8_t sha256[32];

    assert_true(line->size_bytes <= sizeof(content));
    memset(content, 0, sizeof(content));
    if (line->is_inline && line->content.len > 0)
        memcpy(content, line->content.ptr, line->content.len);
    for (size_t i = 0; i < line->extent_total; i++) {
        const cf_extent *const x = &line->extents[i];
        CF_CLEANUP(cf_buf_deinit) cf_buf raw = {0};
        char key[CF_KEY_LEN_MAX + 1];

        cf_buf_init(&raw, 1 << 20);
        cf_key_of_object(key, RIG_NODE, x->pack);
        assert_ok(r->f.store->ops->get(r->f.store, key, x->pack_offset, x->stored_bytes, rig_sink,
                                       &raw, &e));
        assert_true(x->file_offset + x->file_bytes <= sizeof(content));
        assert_int_equal(
            ZSTD_decompress(content + x->file_offset, x->file_bytes, raw.data, raw.len),
            x->file_bytes);
    }
    assert_int_equal(cf_sha256(cf_slice_of(content, line->size_bytes), sha256, NULL), CF_OK);
    if (memcmp(sha256, line->sha256, 32) != 0)
        fail_msg("'%.*s' decodes to another content than its line says (%llu bytes, %zu extents)",
                 CF_SLICE_FMT(line->path), (unsigned long long)line->size_bytes,
                 line->extent_total);
}

/* Every file of a snapshot: "path sha size\n"; decoded. */
static inline void rig_read(rig *r, const char *snapshot, cf_buf *ret)
{
    CF_CLEANUP(cf_root_freep) cf_root *root = NULL;
    CF_CLEANUP(cf_cursor_freep) cf_cursor *c = NULL;
    const cf_file_line *line = NULL;
    cf_run_id id = {""};

    assert_true(cf_run_id_parse(cf_slice_str(snapshot), &id));
    assert_ok(cf_snapshot_load(&r->f.repo, RIG_NODE, &id, &root, &e));
    assert_ok(cf_cursor_new(&r->f.repo, RIG_NODE, root, CF_SEGMENT_FILES, &c, &e));
    cf_buf_init(ret, 1 << 20);
    for (;;) {
        char hex[65];

        assert_ok(cf_cursor_next_file(c, &line, &e));
        if (line == NULL)
            break;
        rig_check_content(r, line);
        cf_hex_render(cf_slice_of(line->sha256, 32), hex);
        assert_ok(cf_buf_printf(ret, &e, "%.*s %s %llu\n", CF_SLICE_FMT(line->path), hex,
                                (unsigned long long)line->size_bytes));
    }
}

/* The snapshot holds exactly what a run without faults held. */
static inline void rig_check_complete(rig *r, const char *snapshot, const cf_buf *expected)
{
    CF_CLEANUP(cf_buf_deinit) cf_buf found = {0};

    rig_read(r, snapshot, &found);
    size_t same = 0;
    while (same < found.len && same < expected->len && found.data[same] == expected->data[same])
        same++;
    if (found.len == expected->len && same == found.len)
        return;
    while (same > 0 && found.data[same - 1] != '\n')
        same--;
    fail_msg("snapshot %s holds, from byte %zu of %zu on, '%.*s', expected '%.*s'", snapshot, same,
             found.len, (int)(found.len - same < 200 ? found.len - same : 200), found.data + same,
             (int)(expected->len - same < 200 ? expected->len - same : 200), expected->data + same);
}

/* Of the node as it is now, in a repository of its own. */
static inline void rig_expect(const rig *like, cf_buf *ret)
{
    rig r;
    cf_backup_result result = {0};

    rig_init(&r);
    r.node = like->node;
    assert_ok(rig_backup(&r, &result, &e));
    rig_read(&r, result.snapshot, ret);
    rig_deinit(&r);
}

#endif
