/* SPDX-License-Identifier: Apache-2.0
 *
 * The real nodes under ../shared/fixtures: each is looked at, backed up, backed up again with
 * nothing changed, and its report made. 77 when they are not there.
 */
#include "node_builder.h"

#include <spawn.h>
#include <sys/wait.h>

#include "s3/world.h"

enum { SKIPPED = 77 };

typedef struct node_case {
    const char *archive, *db; /* below the fixtures; inside the archive */
    const char *refusal;      /* NULL: good */
    const char *epoch_id;
    unsigned files, merged, epoch_number;
    uint32_t versions;
    bool scavenge_db;
} node_case;

static const node_case cases[] = {
    {"eventstore-24.10.14/single-fresh-running", "single-fresh-running", NULL,
     "594aa707-32b9-4406-9fe2-74a85cdcc9ef", 9, 0, 0, 16, false},
    {"eventstore-24.10.14/single-fresh-stopped", "single-fresh-stopped", NULL,
     "594aa707-32b9-4406-9fe2-74a85cdcc9ef", 9, 0, 0, 16, false},
    {"eventstore-24.10.14/single-scavenged-stopped", "single-scavenged-stopped", NULL,
     "594aa707-32b9-4406-9fe2-74a85cdcc9ef", 3, 1, 2, 16, true},
    {"eventstore-24.10.14/single-scavenging-running", "single-scavenging-running", NULL,
     "594aa707-32b9-4406-9fe2-74a85cdcc9ef", 10, 0, 1, 16, false},
    {"eventstore-24.10.14/cluster-stopped-2411", "cluster-stopped-2411", NULL,
     "eed33122-19ea-4927-8937-5a53cf7cfc54", 14, 0, 1, 16, true},
    {"eventstore-24.10.14/cluster-stopped-2412", "cluster-stopped-2412", NULL,
     "eed33122-19ea-4927-8937-5a53cf7cfc54", 14, 0, 2, 16, false},
    {"eventstore-24.10.14/cluster-stopped-2413", "cluster-stopped-2413", NULL,
     "eed33122-19ea-4927-8937-5a53cf7cfc54", 14, 0, 1, 16, false},
    {"eventstore-23.10.8/cluster-stopped-2411", "v23-cluster-stopped-2411", NULL, NULL, 3, 0, 0, 8,
     false},
    {"eventstore-23.10.8/cluster-stopped-2412", "v23-cluster-stopped-2412", NULL, NULL, 3, 0, 0, 8,
     false},
    {"eventstore-23.10.8/single-scavenged-stopped", "v23-single-scavenged-stopped", NULL,
     "a4ece55b-7d1e-472a-9a48-b4d7bad39441", 11, 3, 0, 8, true},
    {"eventstore-4.1.4/single-scavenged-merged", "", NULL, NULL, 2, 1, 0, 8, false},
    {"eventstore-4.1.4/cluster-node1-scavenged", "", NULL, NULL, 2, 1, 0, 8, false},
    {"eventstore-4.1.4/cluster-node2", "", NULL, NULL, 4, 0, 0, 8, false},
    {"eventstore-4.1.4/cluster-node3-scavenged", "", NULL, NULL, 2, 1, 0, 8, false},
    {"eventstore-4.1.4/single-prepared-for-restore", "",
     "'db/truncate.chk' is 4458145, expected -1", NULL, 0, 0, 0, 0, false},
};

static void unpack(const char *archive, char dir[NB_PATH])
{
    char file[NB_PATH];
    char tar[] = "tar", zstd[] = "--zstd", extract[] = "-xf", into[] = "-C";
    char *argv[] = {tar, zstd, extract, file, into, dir, NULL};
    char *envp[] = {(char[]){"PATH=/usr/bin:/bin"}, NULL};
    pid_t pid = 0;
    int status = -1;

    (void)snprintf(dir, NB_PATH, "/tmp/cf-fixture-XXXXXX");
    assert_non_null(mkdtemp(dir));
    (void)snprintf(file, sizeof(file), "../shared/fixtures/%s.tar.zst", archive);
    assert_int_equal(posix_spawnp(&pid, "tar", NULL, NULL, argv, envp), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static json_int_t fact(const json_t *facts, const char *group, const char *key)
{
    return json_integer_value(json_object_get(json_object_get(facts, group), key));
}

static void facts_check(const node_case *c, const json_t *facts)
{
    const json_t *const versions = json_object_get(facts, "chunk_versions");
    uint32_t bits = 0;

    for (size_t i = 0; i < json_array_size(versions); i++)
        bits |= 1u << json_integer_value(json_array_get(versions, i));
    assert_int_equal(bits, c->versions);
    assert_int_equal(fact(facts, "chunks", "files"), c->files);
    assert_int_equal(fact(facts, "chunks", "merged"), c->merged);
    assert_int_equal(fact(facts, "chunks", "ongoing"), 1);
    assert_int_equal(fact(facts, "epoch", "number"), c->epoch_number);
    assert_int_equal(json_integer_value(json_object_get(facts, "chunk_size")), 1 << 20);
    if (c->epoch_id != NULL)
        assert_string_equal(
            json_string_value(json_object_get(json_object_get(facts, "epoch"), "id")), c->epoch_id);
    assert_int_equal(strcmp(json_string_value(json_object_get(facts, "scavenge_db")), "stored") ==
                         0,
                     c->scavenge_db);
}

/* A second backup of the same directory: only what may change is looked into. */
static void again_check(const nb_snapshot *first, const nb_snapshot *second, uint64_t looked,
                        unsigned files)
{
    assert_int_equal(first->total, second->total);
    for (size_t i = 0; i < second->total; i++) {
        const nb_line *const l = &second->at[i];

        if (strcmp(l->klass, "chunk") == 0 || strcmp(l->klass, "ptable") == 0 ||
            strcmp(l->klass, "bloom") == 0)
            assert_int_equal(l->how, CF_ENTRY_REUSE);
    }
    assert_true(looked < (uint64_t)files * 256 + 16 * 1024);
}

static void one(const node_case *c)
{
    char dir[NB_PATH], db[2 * NB_PATH];
    static nb_snapshot first, second;
    uint64_t looked = 0;
    json_t *facts = NULL, *facts_again = NULL;
    cf_error e = {0};

    unpack(c->archive, dir);
    (void)snprintf(db, sizeof(db), "%s/%s", dir, c->db);
    const cf_source_opts opts = {.fs = cf_fs_real(), .world = cf_world_real(), .db = db};
    const cf_err err = nb_backup_with(&opts, NULL, NULL, &first, &facts, NULL, &e);

    if (c->refusal != NULL) {
        assert_int_equal(err, CF_ERR_SOURCE);
        assert_non_null(strstr(e.message, c->refusal));
    } else {
        if (err != CF_OK)
            print_error("%s: %s\n", c->archive, e.message);
        assert_int_equal(err, CF_OK);
        facts_check(c, facts);
        assert_int_equal(nb_backup_with(&opts, &first, facts, &second, &facts_again, &looked, &e),
                         CF_OK);
        again_check(&first, &second, looked, c->files);
        assert_true(json_equal(facts, facts_again));
    }
    json_decref(facts);
    json_decref(facts_again);
    (void)nftw(dir, nb_unlink_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void real_nodes(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        one(&cases[i]);
}

/* Same name, same length, other bytes: the other node's chunk is sent. */
static void equally_named_chunks_are_never_mixed(void **state)
{
    char a[NB_PATH], b[NB_PATH];
    static nb_snapshot first, second;
    json_t *facts = NULL;
    cf_error e = {0};

    (void)state;
    unpack("eventstore-4.1.4/cluster-node1-scavenged", a);
    unpack("eventstore-4.1.4/cluster-node3-scavenged", b);
    cf_source_opts opts = {.fs = cf_fs_real(), .world = cf_world_real(), .db = a};
    assert_int_equal(nb_backup_with(&opts, NULL, NULL, &first, &facts, NULL, &e), CF_OK);
    opts.db = b;
    assert_int_equal(nb_backup_with(&opts, &first, facts, &second, NULL, NULL, &e), CF_OK);
    assert_int_equal(nb_find(&first, "db/chunk-000000.000002")->line.size_bytes,
                     nb_find(&second, "db/chunk-000000.000002")->line.size_bytes);
    assert_int_equal(nb_find(&second, "db/chunk-000000.000002")->how, CF_ENTRY_WHOLE);
    json_decref(facts);
    (void)nftw(a, nb_unlink_one, 16, FTW_DEPTH | FTW_PHYS);
    (void)nftw(b, nb_unlink_one, 16, FTW_DEPTH | FTW_PHYS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(real_nodes),
        cmocka_unit_test(equally_named_chunks_are_never_mixed),
    };

    if (access("../shared/fixtures/eventstore-4.1.4", R_OK) != 0)
        return SKIPPED;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
