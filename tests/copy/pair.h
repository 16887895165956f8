/* SPDX-License-Identifier: Apache-2.0
 *
 * Two repositories in memory and a tiny node: backed up into the first, copied into the second.
 */
#ifndef TESTS_COPY_PAIR_H
#define TESTS_COPY_PAIR_H

#include "copy/copy.h"
#include "tests/backup/rig.h"

typedef struct pair {
    rig from, to; /* one world; the node is from's */
    char said[8192];
    unsigned copied_total;
    char snapshot[CF_SNAPSHOT_ID_SIZE], origin[CF_SNAPSHOT_ID_SIZE]; /* of the last */
} pair;

static inline void pair_log(void *impl, cf_log_level level, const char *text)
{
    pair *const p = impl;
    const size_t used = strlen(p->said);

    if (level <= CF_LOG_WARN)
        (void)snprintf(p->said + used, sizeof(p->said) - used, "%s\n", text);
}

static inline void pair_copied(void *impl, const cf_copied *copied)
{
    pair *const p = impl;

    p->copied_total++;
    (void)snprintf(p->snapshot, sizeof(p->snapshot), "%s", copied->snapshot);
    (void)snprintf(p->origin, sizeof(p->origin), "%s", copied->origin);
}

/* A repository more, in the world of the first. */
static inline void pair_repository(pair *p, rig *ret)
{
    memset(ret, 0, sizeof(*ret));
    fault_fs_init(&ret->fs);
    ret->f.world = p->from.f.world;
    assert_ok(cf_store_memory_new(&p->from.f.world, &ret->f.store, &e));
    assert_ok(cf_repo_init(ret->f.store, &p->from.f.world, &ret->f.repo, &e));
}

static inline void pair_init(pair *p)
{
    memset(p, 0, sizeof(*p));
    rig_init(&p->from);
    rig_node_new(&p->from);
    pair_repository(p, &p->to);
}

static inline void pair_deinit(pair *p)
{
    nb_node_free(&p->from.node);
    rig_deinit(&p->from);
    rig_deinit(&p->to);
}

/* The node as it is now, into any of the repositories; a minute passes. */
static inline cf_backup_result pair_backup(pair *p, rig *r)
{
    cf_backup_result result = {0};

    r->node = p->from.node;
    assert_ok(rig_backup(r, &result, &e));
    pass_s(&p->from.f, 60);
    return result;
}

static inline cf_err pair_copy_between(pair *p, rig *from, rig *to, const char *snapshot,
                                       cf_copy_result *ret, cf_error *e)
{
    const cf_ctx ctx = {
        .world = &p->from.f.world, .fs = &p->from.fs.fs, .log = pair_log, .impl = p};
    const cf_copy_opts opts = {
        .remote = {.memory_bytes = (uint64_t)CF_MEMORY_MIN_MIB << 20, .jobs = 2},
        .node = RIG_NODE,
        .snapshot = snapshot,
        .copied = pair_copied,
    };

    p->said[0] = '\0';
    p->copied_total = 0;
    return cf_copy_run_on(&ctx, &opts, from->f.store, to->f.store, ret, e);
}

static inline cf_err pair_copy(pair *p, const char *snapshot, cf_copy_result *ret, cf_error *e)
{
    return pair_copy_between(p, &p->from, &p->to, snapshot, ret, e);
}

static inline cf_root *pair_root(rig *r, const char *snapshot)
{
    cf_root *root = NULL;
    cf_run_id id = {""};

    assert_true(cf_run_id_parse(cf_slice_str(snapshot), &id));
    assert_ok(cf_snapshot_load(&r->f.repo, RIG_NODE, &id, &root, &e));
    return root;
}

/* The same files with the same content on both sides, each decoded from its own packs. */
static inline void pair_check_same(rig *a, const char *snapshot_a, rig *b, const char *snapshot_b)
{
    CF_CLEANUP(cf_buf_deinit) cf_buf expected = {0};

    rig_read(a, snapshot_a, &expected);
    assert_true(expected.len > 0);
    rig_check_complete(b, snapshot_b, &expected);
}

typedef void (*pair_pack_fn)(void *impl, const cf_pack_line *line);
static inline size_t pair_each_pack(rig *r, const char *snapshot, pair_pack_fn fn, void *impl)
{
    CF_CLEANUP(cf_root_freep) cf_root *root = pair_root(r, snapshot);
    CF_CLEANUP(cf_cursor_freep) cf_cursor *c = NULL;
    const cf_pack_line *line = NULL;

    assert_ok(cf_cursor_new(&r->f.repo, RIG_NODE, root, CF_SEGMENT_PACKS, &c, &e));
    for (size_t n = 0;; n++) {
        assert_ok(cf_cursor_next_pack(c, &line, &e));
        if (line == NULL)
            return n;
        fn(impl, line);
    }
}

#endif
