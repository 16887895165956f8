/* SPDX-License-Identifier: Apache-2.0
 *
 * The way back: placement, modes, truncate.chk, the check of a restored directory, the closing
 * words.
 */
#include "node_builder.h"

#include <signal.h>
#include <sys/file.h>

static const cf_profile *const p = &cf_profile_kurrentdb;

typedef struct line_case {
    const char *path, *klass;
    cf_placement placement;
    bool md5;
    uint32_t mode;
} line_case;

static void lines(void **state)
{
    static const line_case cases[] = {
        {"db/chaser.chk", "checkpoint", CF_PLACE_FIRST, false, 0644},
        {"db/writer.chk", "checkpoint", CF_PLACE_LAST, false, 0644},
        {"db/epoch.chk", "checkpoint", CF_PLACE_BODY, false, 0644},
        {"db/truncate.chk", "checkpoint", CF_PLACE_SKIP, false, 0644},
        {"db/chunk-000001.000000", "chunk", CF_PLACE_BODY, true, 0444},
        {"db/chunk-000002.000000", "ongoing-chunk", CF_PLACE_BODY, false, 0644},
        {"index/" NB_TABLE_A, "ptable", CF_PLACE_BODY, true, 0444},
        {"index/" NB_TABLE_A ".bloomfilter", "bloom", CF_PLACE_BODY, false, 0644},
        {"index/writer.chk", "checkpoint", CF_PLACE_BODY, false, 0644},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const cf_file_line l = {.path = cf_slice_str(cases[i].path), .klass = cases[i].klass};

        assert_int_equal(p->placement(&l), cases[i].placement);
        assert_int_equal(p->ends_with_md5(&l), cases[i].md5);
        assert_int_equal(p->restored_mode(&l), cases[i].mode);
    }
}

static void truncate_is_chaser(void **state)
{
    json_t *const facts =
        json_pack("{s:{s:I}}", "checkpoints", "chaser", (json_int_t)0x0102030405060708);
    const char *path = "";
    uint8_t content[16] = {0};
    size_t len = 0;
    cf_error e = {0};

    (void)state;
    assert_int_equal(p->extra_file(facts, 0, &path, content, &len, &e), CF_OK);
    assert_string_equal(path, "truncate.chk");
    assert_int_equal(len, 8);
    assert_int_equal(content[0], 8);
    assert_int_equal(content[7], 1);
    assert_int_equal(p->extra_file(facts, 1, &path, content, &len, &e), CF_OK);
    assert_null(path);
    (void)json_object_del(facts, "checkpoints");
    assert_int_equal(p->extra_file(facts, 0, &path, content, &len, &e), CF_ERR_DAMAGE);
    assert_string_equal(e.message, "the snapshot's facts have no checkpoint 'chaser'");
    json_decref(facts);
}

static void leftovers(void **state)
{
    static const struct {
        const char *path;
        bool is;
    } cases[] = {
        {"db/writer.chk", true},
        {"db/tag.chk", true},
        {"db/kurrent.ddb.wal", true},
        {"db/chunk-000003.000001", true},
        {"index/indexmap", true},
        {"index/indexmap.x.indexmap.tmp", true},
        {"index/" NB_TABLE_A, true},
        {"index/" NB_TABLE_A ".bloomfilter", true},
        {"index/stream-existence/streamExistenceFilter.dat", true},
        {"index/scavenging/scavenging.db-shm", true},
        {"db/.chk", false},
        {"db/notes.txt", false},
        {"db/sub/writer.chk", false},
        {"db/chunk-000003.000001.old", false},
        {"index/.bloomfilter", false},
        {"index/readme", false},
        {"index/stream-existence/readme", false},
        {"db", false},
        {"", false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_int_equal(p->is_leftover(cases[i].path), cases[i].is);
    assert_string_equal(p->leftover_folders[0], "db");
}

static void in_use(void **state)
{
    nb_node n;
    cf_error e = {0};
    char path[600];

    (void)state;
    nb_node_new(&n);
    const cf_target_opts opts = {.fs = cf_fs_real(), .db = n.db};
    assert_int_equal(p->target_in_use(&opts, &e), CF_OK);
    (void)snprintf(path, sizeof(path), "%s/writer.chk", n.db);
    const int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_int_equal(flock(fd, LOCK_SH), 0);
    assert_int_equal(p->target_in_use(&opts, &e), CF_ERR_TARGET);
    assert_non_null(strstr(e.message, "a server holds the target '"));
    assert_non_null(strstr(e.message, "a lock on 'writer.chk'\nHINT: stop it"));
    (void)close(fd);
    /* Without a lock, as on NFS: a process that has it open. */
    const pid_t child = fork();
    if (child == 0) {
        (void)open(path, O_RDONLY);
        (void)pause();
        _exit(0);
    }
    for (int i = 0; i < 200 && p->target_in_use(&opts, &e) == CF_OK; i++)
        (void)usleep(10000);
    assert_int_equal(p->target_in_use(&opts, &e), CF_ERR_TARGET);
    assert_non_null(strstr(e.message, "has 'writer.chk' open"));
    (void)kill(child, SIGKILL);
    nb_node_free(&n);
    const cf_target_opts absent = {.fs = cf_fs_real(), .db = "/nonexistent/x"};
    assert_int_equal(p->target_in_use(&absent, &e), CF_OK);
}

static void check_fails(const nb_node *n, const json_t *facts, const char *part)
{
    const cf_target_opts opts = {.fs = cf_fs_real(), .db = n->db};
    cf_error e = {0};

    assert_int_equal(p->check_restored(&opts, facts, &e), CF_ERR_TARGET);
    if (strstr(e.message, part) == NULL)
        print_error("%s\n", e.message);
    assert_non_null(strstr(e.message, part));
}

static void check_restored(void **state)
{
    nb_node n;
    nb_snapshot *const s = calloc(1, sizeof(*s));
    json_t *facts = NULL;
    cf_error e = {0};

    (void)state;
    nb_node_new(&n);
    const cf_source_opts source = {.fs = cf_fs_real(), .world = cf_world_real(), .db = n.db};
    const cf_target_opts opts = {.fs = cf_fs_real(), .db = n.db};
    assert_int_equal(nb_backup_with(&source, NULL, NULL, s, &facts, NULL, &e), CF_OK);
    check_fails(&n, facts, "'db/truncate.chk' is -1, expected the value of 'db/chaser.chk', 17184");
    nb_checkpoint(n.db, "truncate.chk", n.writer);
    assert_int_equal(p->check_restored(&opts, facts, &e), CF_OK);
    nb_remove(n.index, NB_TABLE_B);
    check_fails(&n, facts, "names table '" NB_TABLE_B "', which is missing");
    nb_table(n.index, NB_TABLE_B, 20);
    nb_remove(n.db, "chunk-000001.000000");
    check_fails(&n, facts, "chunks 1..1 are missing in 'db'");
    (void)nb_chunk(n.db, (nb_chunk_opts){.start = 1});
    (void)nb_chunk(n.db, (nb_chunk_opts){.start = 3, .ongoing = true});
    check_fails(&n, facts, "1 chunk files lie behind 'db/writer.chk'");
    nb_remove(n.db, "chunk-000003.000000");
    nb_checkpoint(n.db, "writer.chk", n.writer - 200);
    check_fails(&n, facts, "'db/chaser.chk' is 17184, over 'db/writer.chk' with 16984");
    json_decref(facts);
    free(s);
    nb_node_free(&n);
}

static void words(void **state)
{
    static const char *const parts[] = {"exits with code 0",
                                        "Start it a second time",
                                        "ChunkSize must be 8192",
                                        "before you start any empty node",
                                        "POST /auto-scavenge/resume",
                                        "background for minutes",
                                        "Left out: secondary indexes",
                                        "Left out: the stream existence",
                                        "Left out: the scavenge database",
                                        "Left out: the index",
                                        "master keys",
                                        "the archive"};
    json_t *const facts =
        json_pack("{s:i, s:s, s:s, s:s, s:n, s:[s, s]}", "chunk_size", 8192, "secondary_indexes",
                  "left-out", "existence_filter", "absent", "scavenge_db", "left-out", "index",
                  "hazards", "encrypted", "archiving");
    CF_CLEANUP(cf_buf_deinit) cf_buf b = {0};
    const char *text = NULL;

    (void)state;
    cf_buf_init(&b, 64 * 1024);
    assert_int_equal(p->closing_words(facts, &b, NULL), CF_OK);
    assert_int_equal(cf_buf_get_str(&b, &text, NULL), CF_OK);
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
        assert_non_null(strstr(text, parts[i]));
    json_decref(facts);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines),  cmocka_unit_test(truncate_is_chaser),
        cmocka_unit_test(in_use), cmocka_unit_test(check_restored),
        cmocka_unit_test(words),  cmocka_unit_test(leftovers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
