/* SPDX-License-Identifier: Apache-2.0
 *
 * A node's repository in memory, made of tiny snapshots; actors that do what other machines do
 * between two requests of a prune; and the check that must hold whatever they did: every snapshot
 * that is listed has all it names.
 */
#ifndef TESTS_PRUNE_KIT_H
#define TESTS_PRUNE_KIT_H

#include "tests/repo/fixture.h"

#include "prune/prune.h"
#include "repo/fence.h"
#include "repo/lease_body.h"
#include "repo/manifest.h"
#include "repo/segment.h"
#include "repo/tag.h"

#define KIT_NODE "n"
enum { KIT_PACKS_MAX = 32, KIT_DAY_S = 86400 };

typedef struct kit_names {
    char name[KIT_PACKS_MAX][CF_RUN_OBJECT_LEN_MAX + 1];
    size_t total;
} kit_names;

typedef struct kit {
    fixture f;
    cf_prune_result result;
    char told[8192]; /* "-daily,last +..." a line a snapshot */
    char warned[8192];
    int64_t root_age_ms; /* of roots committed from now on: as if copied so much later */
} kit;

static inline void kit_init(kit *k)
{
    memset(k, 0, sizeof(*k));
    fixture_init(&k->f);
}

static inline void kit_deinit(kit *k)
{
    fixture_deinit(&k->f);
}

static inline cf_run kit_run(kit *k, uint32_t random)
{
    return make_run(KIT_NODE, atomic_load(&k->f.clock.utc_ms) / 1000, random);
}

static inline void kit_pack(kit *k, cf_run *run, kit_names *names)
{
    char key[CF_KEY_LEN_MAX + 1];
    cf_key_run_object(key, run, cf_run_next_seq(run), "pack", "x", ".zst");
    put_object(&k->f, key, cf_slice_str(key));
    (void)snprintf(names->name[names->total++], sizeof(names->name[0]), "%s",
                   cf_key_object_name(key));
}

static inline int kit_name_cmp(const void *a, const void *b)
{
    return strcmp(a, b);
}

static inline void kit_segment(kit *k, cf_run *run, const kit_names *names, cf_root *root,
                               cf_segment_kind kind)
{
    CF_CLEANUP(cf_segment_writer_freep) cf_segment_writer *w = NULL;
    const cf_segment_writer_opts opts = {.repo = &k->f.repo, .run = run, .kind = kind};
    cf_buf text = {0};
    assert_ok(cf_segment_writer_new(&opts, &w, &e));
    for (size_t i = 0; i < names->total; i++) {
        const cf_pack_line line = {.pack = names->name[i], .stored_bytes = 5, .used_bytes = 5};
        cf_buf_init(&text, 4096);
        if (kind == CF_SEGMENT_PACKS)
            assert_ok(cf_pack_line_render(&line, &text, &e));
        else
            assert_ok(cf_buf_append_str(&text, "{\"step\":1}\n", &e));
        assert_ok(
            cf_segment_writer_add(w, cf_buf_slice(&text), cf_slice_str(names->name[i]), root, &e));
        cf_buf_deinit(&text);
    }
    assert_ok(cf_segment_writer_cut(w, root, &e));
}

/* Segments and root; the commit's answer. */
static inline cf_err kit_commit(kit *k, cf_run *run, kit_names *names, cf_error *e_)
{
    cf_root *root = make_root(run);
    root->time_utc_ms = atomic_load(&k->f.clock.utc_ms) - k->root_age_ms;
    qsort(names->name, names->total, sizeof(names->name[0]), kit_name_cmp);
    kit_segment(k, run, names, root, CF_SEGMENT_PACKS);
    kit_segment(k, run, names, root, CF_SEGMENT_FILES);
    const cf_err err = cf_snapshot_commit(&k->f.repo, KIT_NODE, root, e_);
    cf_root_free(root);
    return err;
}

/* What a snapshot names, by its pack segments; false: it is none (any more). */
static inline bool kit_names_of(kit *k, const cf_run_id *id, kit_names *ret)
{
    cf_root *root = NULL;
    CF_CLEANUP(cf_cursor_freep) cf_cursor *c = NULL;
    const cf_pack_line *line = NULL;
    ret->total = 0;
    if (cf_snapshot_load(&k->f.repo, KIT_NODE, id, &root, NULL) != CF_OK)
        return false;
    assert_ok(cf_cursor_new(&k->f.repo, KIT_NODE, root, CF_SEGMENT_PACKS, &c, &e));
    for (;;) {
        assert_ok(cf_cursor_next_pack(c, &line, &e));
        if (line == NULL)
            break;
        (void)snprintf(ret->name[ret->total++], sizeof(ret->name[0]), "%s", line->pack);
    }
    for (size_t i = 0; i < root->segment_total; i++) { /* file segments too */
        char key[CF_KEY_LEN_MAX + 1];
        cf_object_stat stat = {0};
        cf_key_of_object(key, KIT_NODE, root->segments[i].key);
        assert_ok(k->f.store->ops->head(k->f.store, key, &stat, &e));
    }
    cf_root_free(root);
    return true;
}

static inline bool kit_there(kit *k, const char *key)
{
    cf_object_stat stat = {0};
    return k->f.store->ops->head(k->f.store, key, &stat, NULL) == CF_OK;
}

static inline bool kit_pack_there(kit *k, const char *name)
{
    char key[CF_KEY_LEN_MAX + 1];
    cf_key_of_object(key, KIT_NODE, name);
    return kit_there(k, key);
}

/* The promise. Returns the number of snapshots. */
static inline size_t kit_check(kit *k, const char *when)
{
    cf_snapshot_ids ids = {0};
    kit_names names;
    assert_ok(cf_snapshot_list(&k->f.repo, KIT_NODE, /* recent= */ false, &ids, &e));
    for (size_t i = 0; i < ids.total; i++) {
        assert_true(kit_names_of(k, &ids.id[i], &names));
        for (size_t p = 0; p < names.total; p++) {
            if (!kit_pack_there(k, names.name[p]))
                fail_msg("%s: snapshot %s lost %s", when, ids.id[i].text, names.name[p]);
        }
    }
    const size_t total = ids.total;
    cf_snapshot_ids_deinit(&ids);
    return total;
}

/* A lease as another machine wrote it. */
static inline void kit_lease(kit *k, const char *folder, uint64_t number, const cf_run_id *run,
                             bool ended, const cf_run_id *uses, size_t uses_total)
{
    cf_lease_body b = {.run = *run, .ended = ended, .ttl_s = CF_LEASE_TTL_S};
    char key[CF_KEY_LEN_MAX + 1];
    cf_buf text = {0};
    b.is_read = strcmp(folder, "reads") == 0;
    b.since_utc_ms = atomic_load(&k->f.clock.utc_ms);
    (void)snprintf(b.owner.host, sizeof(b.owner.host), "other");
    for (size_t i = 0; i < uses_total; i++)
        b.uses[b.uses_total++] = uses[i];
    (void)snprintf(key, sizeof(key), "nodes/%s/%s/%010llu", KIT_NODE, folder,
                   (unsigned long long)number);
    if (b.is_read)
        (void)snprintf(key, sizeof(key), "nodes/%s/reads/%032llx", KIT_NODE,
                       (unsigned long long)number);
    cf_buf_init(&text, CF_LEASE_LEN_MAX);
    assert_ok(cf_lease_body_render(&b, &text, &e));
    put_object(&k->f, key, cf_buf_slice(&text));
    cf_buf_deinit(&text);
}

/* A snapshot of `own` packs and all of parent's (NULL: none), its lease ended. */
static inline cf_run kit_snapshot(kit *k, uint32_t random, size_t own, const cf_run_id *parent)
{
    cf_run run = kit_run(k, random);
    kit_names names = {.total = 0};
    if (parent != NULL)
        assert_true(kit_names_of(k, parent, &names));
    kit_lease(k, "leases", random, &run.id, /* ended= */ true, parent, parent != NULL);
    for (size_t i = 0; i < own; i++)
        kit_pack(k, &run, &names);
    assert_ok(kit_commit(k, &run, &names, &e));
    pass_s(&k->f, 60);
    return run;
}

/* A run that stored packs and died. */
static inline cf_run kit_dead(kit *k, uint32_t random, size_t own, const cf_run_id *parent)
{
    cf_run run = kit_run(k, random);
    kit_names names = {.total = 0};
    kit_lease(k, "leases", random, &run.id, /* ended= */ false, parent, parent != NULL);
    for (size_t i = 0; i < own; i++)
        kit_pack(k, &run, &names);
    pass_s(&k->f, 60);
    return run;
}

static inline void kit_on_snapshot(void *impl, const cf_prune_snapshot *s)
{
    kit *const k = impl;
    size_t used = strlen(k->told);
    used += (size_t)snprintf(k->told + used, sizeof(k->told) - used, "%s%s", used > 0 ? " " : "",
                             s->keep ? "+" : "-");
    for (size_t i = 0; i < s->reason_total; i++)
        used += (size_t)snprintf(k->told + used, sizeof(k->told) - used, "%s%s", i > 0 ? "," : "",
                                 s->names[i]);
    if (s->words[0] != '\0')
        (void)snprintf(k->told + used, sizeof(k->told) - used, "(%.10s)", s->words);
}

static inline void kit_log(void *impl, cf_log_level level, const char *text)
{
    kit *const k = impl;
    const size_t used = strlen(k->warned);
    if (level <= CF_LOG_INFO)
        (void)snprintf(k->warned + used, sizeof(k->warned) - used, "%s\n", text);
}

static inline cf_err kit_prune(kit *k, const cf_prune_opts *opts, cf_error *e_)
{
    const cf_ctx ctx = {.world = &k->f.world, .log = kit_log, .impl = k};
    cf_prune_opts o = *opts;
    o.on_snapshot = kit_on_snapshot;
    o.impl = k;
    k->told[0] = '\0';
    k->warned[0] = '\0';
    k->result = (cf_prune_result){0};
    return cf_prune_run_on(&ctx, &o, k->f.store, &k->result, e_);
}

#endif
