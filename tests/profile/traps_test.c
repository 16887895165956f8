/* SPDX-License-Identifier: Apache-2.0
 *
 * One test for each trap of the reference's section 12 that a file copy can meet, named after it.
 */
#include "node_builder.h"

#include <sys/file.h>
#include <sys/resource.h>

typedef struct fixture {
    nb_node node;
    nb_world world;
    cf_source_opts opts;
    nb_snapshot first, second;
    json_t *facts;
    cf_error e;
    /* hook */
    const char *what, *name;
    unsigned nth, seen;
    void (*act)(struct fixture *f);
    char said[4096];
} fixture;

static void hook(void *impl, const char *what, const char *name)
{
    fixture *const f = impl;

    if (f->act == NULL || strcmp(what, f->what) != 0 || strcmp(name, f->name) != 0 ||
        ++f->seen != f->nth)
        return;
    f->act(f);
}

/* Another process acts right before the nth call of that kind on that name. */
static void before(fixture *f, const char *what, const char *name, unsigned nth,
                   void (*act)(fixture *f))
{
    f->what = what;
    f->name = name;
    f->nth = nth;
    f->seen = 0;
    f->act = act;
}

static void say(void *impl, const char *text)
{
    fixture *const f = impl;
    const size_t len = strlen(f->said);

    (void)snprintf(f->said + len, sizeof(f->said) - len, "%s\n", text);
}

static int setup(void **state)
{
    fixture *const f = calloc(1, sizeof(*f));

    nb_node_new(&f->node);
    nb_world_init(&f->world, hook, f);
    f->opts = (cf_source_opts){.fs = &f->world.fs,
                               .world = &f->world.world,
                               .db = f->node.db,
                               .warn = say,
                               .detail = say,
                               .impl = f};
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    fixture *const f = *state;

    nb_node_free(&f->node);
    json_decref(f->facts);
    free(f);
    return 0;
}

static cf_err backup(fixture *f, nb_snapshot *ret, const nb_snapshot *prior)
{
    json_t *facts = NULL;

    f->e = (cf_error){0};
    const cf_err err = nb_backup_with(&f->opts, prior, f->facts, ret, &facts, NULL, &f->e);

    if (facts != NULL) {
        json_decref(f->facts);
        f->facts = facts;
    }
    return err;
}

static void good(fixture *f)
{
    const cf_err err = backup(f, &f->first, NULL);

    if (err != CF_OK)
        print_error("%s\n", f->e.message);
    assert_int_equal(err, CF_OK);
}

static void refused(fixture *f, const char *part)
{
    assert_int_equal(backup(f, &f->first, NULL), CF_ERR_SOURCE);
    if (strstr(f->e.message, part) == NULL)
        print_error("message: %s\nexpected: %s\n", f->e.message, part);
    assert_non_null(strstr(f->e.message, part));
    assert_non_null(strstr(f->e.message, "\nHINT: "));
}

static cf_entry_how how_of(const nb_snapshot *s, const char *path)
{
    const nb_line *const l = nb_find(s, path);

    assert_non_null(l);
    return l->how;
}

#define TRAP(name) static void name(void **state)
#define FIXTURE    fixture *const f = *state

TRAP(plain_backup_has_everything_in_order)
{
    FIXTURE;
    static const char *const paths[] = {"index/" NB_TABLE_A,
                                        "index/" NB_TABLE_A ".bloomfilter",
                                        "index/" NB_TABLE_B,
                                        "index/" NB_TABLE_B ".bloomfilter",
                                        "index/indexmap",
                                        "index/stream-existence/streamExistenceFilter.chk",
                                        "index/stream-existence/streamExistenceFilter.dat",
                                        "index/scavenging/scavenging.db",
                                        "db/chaser.chk",
                                        "db/epoch.chk",
                                        "db/proposal.chk",
                                        "db/writer.chk",
                                        "db/chunk-000000.000000",
                                        "db/chunk-000001.000000",
                                        "db/chunk-000002.000000"};

    good(f);
    assert_int_equal(f->first.total, sizeof(paths) / sizeof(paths[0]));
    for (size_t i = 0; i < f->first.total; i++)
        assert_string_equal(f->first.at[i].path, paths[i]);
    assert_true(nb_find(&f->first, "db/chunk-000000.000000")->cut_before);
    assert_int_equal(nb_find(&f->first, "db/chunk-000002.000000")->read_bytes,
                     128 + f->node.writer % NB_CHUNK_SIZE);
    assert_string_equal(
        json_string_value(json_object_get(json_object_get(f->facts, "epoch"), "id")), NB_EPOCH_ID);
}

TRAP(second_backup_reuses_by_certificate)
{
    FIXTURE;

    good(f);
    assert_int_equal(backup(f, &f->second, &f->first), CF_OK);
    assert_int_equal(how_of(&f->second, "db/chunk-000000.000000"), CF_ENTRY_REUSE);
    assert_int_equal(how_of(&f->second, "db/chunk-000001.000000"), CF_ENTRY_REUSE);
    assert_int_equal(how_of(&f->second, "db/chunk-000002.000000"), CF_ENTRY_PARTS);
    assert_int_equal(how_of(&f->second, "index/" NB_TABLE_A), CF_ENTRY_REUSE);
    assert_int_equal(how_of(&f->second, "index/" NB_TABLE_B ".bloomfilter"), CF_ENTRY_REUSE);
    f->opts.full = true;
    assert_int_equal(backup(f, &f->second, &f->first), CF_OK);
    assert_int_equal(how_of(&f->second, "db/chunk-000000.000000"), CF_ENTRY_WHOLE);
    assert_int_equal(how_of(&f->second, "index/" NB_TABLE_A), CF_ENTRY_WHOLE);
}

static void roll_over(fixture *f)
{
    (void)nb_chunk(f->node.db, (nb_chunk_opts){.start = 3, .ongoing = true});
}

TRAP(trap_01_excess_chunk)
{
    FIXTURE;

    roll_over(f);
    good(f);
    assert_null(nb_find(&f->first, "db/chunk-000003.000000"));
    assert_non_null(strstr(f->said, "chunk-000003.000000 lies behind writer.chk"));
    /* It appears between the first list and the second: no reason to start over. */
    nb_remove(f->node.db, "chunk-000003.000000");
    before(f, "open", "chunk-000002.000000", 1, roll_over);
    good(f);
    assert_null(nb_find(&f->first, "db/chunk-000003.000000"));
}

TRAP(trap_02_half_written_table)
{
    FIXTURE;
    static const uint8_t zeros[512] = {0};

    nb_write(f->node.index, "00000000-0000-0000-0000-0000000000ff", zeros,
             sizeof(zeros)); /* not named: no matter */
    good(f);
    assert_null(nb_find(&f->first, "index/00000000-0000-0000-0000-0000000000ff"));
    nb_write(f->node.index, NB_TABLE_B, zeros, sizeof(zeros));
    refused(f, "table 'index/" NB_TABLE_B "' is half-written or damaged: first byte is 0");
    nb_write(f->node.index, NB_TABLE_B, zeros, 100);
    refused(f, "is half-written or damaged: 100 bytes, a table has at least 272");
}

TRAP(trap_02_table_with_wrong_md5)
{
    FIXTURE;

    nb_patch(f->node.index, NB_TABLE_B, 200, "!", 1);
    refused(f, "'index/" NB_TABLE_B "' is damaged: its last 16 bytes say MD5 ");
}

TRAP(trap_03_same_name_new_bytes)
{
    FIXTURE;

    good(f);
    (void)nb_chunk(f->node.db, (nb_chunk_opts){.start = 1, .seed = 7});
    assert_int_equal(backup(f, &f->second, &f->first), CF_OK);
    assert_int_equal(how_of(&f->second, "db/chunk-000001.000000"), CF_ENTRY_WHOLE);
    assert_int_equal(how_of(&f->second, "db/chunk-000000.000000"), CF_ENTRY_REUSE);
}

TRAP(trap_04_same_id_other_content)
{
    FIXTURE;
    uint8_t bytes[4096];

    good(f);
    /* Truncated and written anew: header and size as before, only data and MD5 differ. */
    const int fd = open(f->node.db, O_DIRECTORY | O_RDONLY);
    const int chunk = openat(fd, "chunk-000001.000000", O_RDWR);

    assert_int_equal(pread(chunk, bytes, sizeof(bytes), 0), sizeof(bytes));
    bytes[300] ^= 1;
    assert_int_equal(cf_md5(cf_slice_of(bytes, 4080), bytes + 4080, NULL), CF_OK);
    assert_int_equal(pwrite(chunk, bytes, sizeof(bytes), 0), sizeof(bytes));
    (void)close(chunk);
    (void)close(fd);
    assert_int_equal(backup(f, &f->second, &f->first), CF_OK);
    assert_int_equal(how_of(&f->second, "db/chunk-000001.000000"), CF_ENTRY_WHOLE);
}

static void complete_2(fixture *f)
{
    uint8_t bytes[NB_FILE_SIZE];
    char path[600];

    (void)snprintf(path, sizeof(path), "%s/chunk-000002.000000", f->node.db);
    const int fd = open(path, O_RDWR | O_CLOEXEC);

    assert_int_equal(pread(fd, bytes, sizeof(bytes), 0), sizeof(bytes));
    memset(bytes + 4096 - 128, 0, 128);
    bytes[4096 - 128] = 3;
    nb_put(bytes + 4096 - 127, 4 * NB_RECORD_LEN, 4);
    nb_put(bytes + 4096 - 123, 4 * NB_RECORD_LEN, 8);
    assert_int_equal(cf_md5(cf_slice_of(bytes, 4080), bytes + 4080, NULL), CF_OK);
    assert_int_equal(pwrite(fd, bytes, 4096, 0), 4096);
    assert_int_equal(ftruncate(fd, 4096), 0); /* the file shrinks when it is completed */
    (void)close(fd);
}

static void complete_2_and_roll_over(fixture *f)
{
    complete_2(f);
    roll_over(f);
    nb_checkpoint(f->node.db, "writer.chk", 3 * NB_CHUNK_SIZE + 200);
    nb_checkpoint(f->node.db, "chaser.chk", 3 * NB_CHUNK_SIZE + 200);
}

TRAP(trap_05_completed_and_shrunk_meanwhile)
{
    FIXTURE;

    /* "stat" of kurrent.ddb is the first call; the second list comes when all is pinned: complete
     * it behind that. */
    before(f, "stat", "proposal.chk", 1, complete_2_and_roll_over);
    good(f);
    assert_int_equal(how_of(&f->first, "db/chunk-000002.000000"), CF_ENTRY_WHOLE);
    assert_string_equal(nb_find(&f->first, "db/chunk-000002.000000")->klass, "chunk");
    assert_int_equal(nb_find(&f->first, "db/chunk-000002.000000")->line.size_bytes, 4096);
    assert_null(nb_find(&f->first, "db/chunk-000003.000000"));
}

static void complete_2_before_its_footer_is_read(fixture *f)
{
    before(f, "read", "", 2, complete_2); /* header, footer */
}

TRAP(trap_05_completed_between_size_and_footer)
{
    FIXTURE;

    before(f, "open", "chunk-000002.000000", 1, complete_2_before_its_footer_is_read);
    good(f); /* looked at again */
    assert_int_equal(how_of(&f->first, "db/chunk-000002.000000"), CF_ENTRY_WHOLE);
    assert_non_null(strstr(f->said, "the log is looked at again"));
    (void)nb_chunk(f->node.db, (nb_chunk_opts){.start = 2, .ongoing = true});
    before(f, "stat", "proposal.chk", 1, complete_2_before_its_footer_is_read);
    good(f); /* when its turn has come */
    assert_int_equal(how_of(&f->first, "db/chunk-000002.000000"), CF_ENTRY_WHOLE);
    assert_int_equal(nb_find(&f->first, "db/chunk-000002.000000")->line.size_bytes, 4096);
}

TRAP(trap_06_ongoing_chunk_has_no_certificate)
{
    FIXTURE;

    good(f);
    assert_string_equal(nb_find(&f->first, "db/chunk-000002.000000")->klass, "ongoing-chunk");
    assert_int_equal(nb_find(&f->first, "db/chunk-000002.000000")->line.cert_footer.len, 0);
    /* Completed and then un-completed by a truncation: the certificate of before says nothing. */
    complete_2(f);
    good(f);
    assert_int_equal(how_of(&f->first, "db/chunk-000002.000000"), CF_ENTRY_WHOLE);
    (void)nb_chunk(f->node.db, (nb_chunk_opts){.start = 2, .ongoing = true});
    assert_int_equal(backup(f, &f->second, &f->first), CF_OK);
    assert_int_equal(how_of(&f->second, "db/chunk-000002.000000"), CF_ENTRY_PARTS);
}

TRAP(trap_07_read_only_bit_says_nothing)
{
    FIXTURE;
    char path[600];

    (void)snprintf(path, sizeof(path), "%s/chunk-000001.000000", f->node.db);
    (void)nb_chunk(f->node.db, (nb_chunk_opts){.start = 1, .ongoing = true});
    assert_int_equal(chmod(path, 0444), 0);
    refused(f, "'db/chunk-000001.000000' is not completed, but the log goes on in chunk 2");
    (void)nb_chunk(f->node.db, (nb_chunk_opts){.start = 1});
    good(f);
    assert_int_equal(chmod(path, 0444), 0); /* ctime moves, nothing else */
    assert_int_equal(backup(f, &f->second, &f->first), CF_OK);
    assert_int_equal(how_of(&f->second, "db/chunk-000001.000000"), CF_ENTRY_REUSE);
}

TRAP(trap_08_merged_chunks)
{
    FIXTURE;

    (void)nb_chunk(f->node.db,
                   (nb_chunk_opts){.start = 0, .end = 1, .version = 2, .scavenged = true});
    nb_remove(f->node.db, "chunk-000000.000000");
    nb_remove(f->node.db, "chunk-000001.000000");
    good(f);
    assert_non_null(nb_find(&f->first, "db/chunk-000000.000002"));
    assert_int_equal(
        json_integer_value(json_object_get(json_object_get(f->facts, "chunks"), "merged")), 1);
    nb_rename(f->node.db, "chunk-000000.000002", "chunk-000000.000000");
    refused(f, "'db/chunk-000000.000000' holds the merged chunks 0..1 under version 0");
}

TRAP(trap_09_superseded_versions)
{
    FIXTURE;

    (void)nb_chunk(f->node.db,
                   (nb_chunk_opts){.start = 0, .end = 1, .version = 2, .scavenged = true});
    (void)nb_chunk(f->node.db, (nb_chunk_opts){.start = 1, .version = 1, .scavenged = true});
    good(f);
    assert_null(nb_find(&f->first, "db/chunk-000000.000000"));
    assert_null(nb_find(&f->first, "db/chunk-000001.000000"));
    assert_null(nb_find(&f->first, "db/chunk-000001.000001"));
    assert_non_null(strstr(f->said, "chunk-000001.000001 is superseded by a merged chunk"));
}

TRAP(trap_10_foreign_files)
{
    FIXTURE;
    static const char *const names[] = {"x.tmp", "chunk-000001.000000.old",
                                        "chunk-000000.000001.archive.bkup", "notes.txt"};

    for (size_t i = 0; i < 4; i++)
        nb_write(f->node.db, names[i], "x", 1);
    nb_mkdir(f->node.db, "index-backup-2026-11-21_00-00-00.000");
    nb_write(f->node.index, "manifest.json", "x", 1);
    good(f);
    assert_int_equal(f->first.total, 15);
    assert_non_null(strstr(f->said, "the node archives chunks"));
}

static void indexmap_back(fixture *f)
{
    nb_indexmap(f->node.index, 2 * NB_CHUNK_SIZE, "0,0," NB_TABLE_A "\n");
}

TRAP(trap_11_indexmap_absent)
{
    FIXTURE;

    nb_remove(f->node.index, "indexmap");
    refused(f, "'index/indexmap' is missing although tables are there");
    before(f, "sleep", "", 3, indexmap_back);
    good(f);
    nb_remove(f->node.index, "indexmap");
    nb_remove(f->node.index, NB_TABLE_A);
    nb_remove(f->node.index, NB_TABLE_B);
    nb_remove(f->node.index, NB_TABLE_A ".bloomfilter");
    nb_remove(f->node.index, NB_TABLE_B ".bloomfilter");
    before(f, "sleep", "", 999, NULL);
    good(f); /* young: no index yet */
    assert_true(json_is_null(json_object_get(f->facts, "index")));
}

static void merge(fixture *f)
{
    nb_table(f->node.index, "00000000-0000-0000-0000-00000000000c", 30);
    nb_indexmap(f->node.index, 2 * NB_CHUNK_SIZE, "2,0,00000000-0000-0000-0000-00000000000c\n");
    nb_remove(f->node.index, NB_TABLE_A);
    nb_remove(f->node.index, NB_TABLE_B);
}

TRAP(trap_11_indexmap_replaced_while_tables_are_opened)
{
    FIXTURE;

    before(f, "open", NB_TABLE_B, 1, merge);
    good(f);
    assert_null(nb_find(&f->first, "index/" NB_TABLE_A));
    assert_non_null(nb_find(&f->first, "index/00000000-0000-0000-0000-00000000000c"));
}

TRAP(trap_11_merge_after_the_pin)
{
    FIXTURE;

    /* Deleted when they are open: what was pinned is sent. */
    before(f, "stat", "chaser.chk", 1, merge);
    good(f);
    assert_int_equal(how_of(&f->first, "index/" NB_TABLE_A), CF_ENTRY_WHOLE);
}

TRAP(trap_12_indexmap_newer_than_chaser)
{
    FIXTURE;

    nb_indexmap(f->node.index, f->node.writer, "0,0," NB_TABLE_A "\n");
    refused(f, "'index/indexmap' was committed up to 17184, not below 'db/chaser.chk' with 17184");
    assert_true(f->world.slept_ms >= 5000);
}

static void filter_remade(fixture *f)
{
    nb_checkpoint(f->node.index, "stream-existence/streamExistenceFilter.chk", -1);
    nb_write(f->node.index, "stream-existence/streamExistenceFilter.dat", "zeros", 5);
}

TRAP(trap_13_filter_remade_between)
{
    FIXTURE;

    before(f, "open", "stream-existence/streamExistenceFilter.dat", 1, filter_remade);
    refused(f, "streamExistenceFilter.chk' went back from 100 to -1");
    nb_checkpoint(f->node.index, "stream-existence/streamExistenceFilter.chk", 100);
    before(f, "stat", "chaser.chk", 1, filter_remade);
    refused(f, "streamExistenceFilter.chk' went back from 100 to -1");
    nb_remove(f->node.index, "stream-existence/streamExistenceFilter.chk");
    before(f, "", "", 1, NULL);
    good(f);
    assert_null(nb_find(&f->first, "index/stream-existence/streamExistenceFilter.dat"));
}

static void scavenge_begins(fixture *f)
{
    nb_write(f->node.index, "scavenging/scavenging.db-wal", "", 0);
}

static void scavenge_went_by(fixture *f)
{
    nb_write(f->node.index, "scavenging/scavenging.db", "SQLITE", 6);
}

TRAP(trap_14_scavenging_db_with_wal)
{
    FIXTURE;

    /* It begins behind the looks, while the file is read: then it is left out, not the run lost. */
    before(f, "stat", "chaser.chk", 1, scavenge_begins);
    good(f);
    assert_null(nb_find(&f->first, "index/scavenging/scavenging.db"));
    assert_non_null(strstr(f->said, "a scavenge began while 'index/scavenging/scavenging.db'"));
    assert_string_equal(json_string_value(json_object_get(f->facts, "scavenge_db")), "left-out");
    nb_remove(f->node.index, "scavenging/scavenging.db-wal");
    before(f, "stat", "chaser.chk", 1, scavenge_went_by);
    good(f);
    assert_null(nb_find(&f->first, "index/scavenging/scavenging.db"));
    before(f, "", "", 1, NULL);
    good(f);
    assert_non_null(nb_find(&f->first, "index/scavenging/scavenging.db"));
    assert_string_equal(json_string_value(json_object_get(f->facts, "scavenge_db")), "stored");
    f->said[0] = '\0';
    scavenge_begins(f);
    good(f);
    assert_null(nb_find(&f->first, "index/scavenging/scavenging.db"));
    assert_non_null(strstr(f->said, "a scavenge runs, or was killed"));
    assert_string_equal(json_string_value(json_object_get(f->facts, "scavenge_db")), "left-out");
}

static void scavenge_replaces_1(fixture *f)
{
    (void)nb_chunk(f->node.db,
                   (nb_chunk_opts){.start = 1, .version = 1, .scavenged = true, .records = 2});
    nb_remove(f->node.db, "chunk-000001.000000");
}

TRAP(trap_14_scavenge_while_chunks_are_opened)
{
    FIXTURE;

    before(f, "open", "chunk-000001.000000", 1, scavenge_replaces_1);
    good(f);
    assert_non_null(nb_find(&f->first, "db/chunk-000001.000001"));
    assert_null(nb_find(&f->first, "db/chunk-000001.000000"));
}

TRAP(trap_14_scavenge_after_the_pin)
{
    FIXTURE;

    before(f, "stat", "chaser.chk", 1, scavenge_replaces_1);
    good(f);
    assert_int_equal(how_of(&f->first, "db/chunk-000001.000000"), CF_ENTRY_WHOLE);
}

TRAP(trap_14_scavenge_beyond_the_descriptor_limit)
{
    FIXTURE;
    const struct rlimit low = {.rlim_cur = 128, .rlim_max = 128};

    /* For good: that is why this test is the last. */
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
    good(f); /* opened late, one by one */
    assert_int_equal(how_of(&f->first, "db/chunk-000001.000000"), CF_ENTRY_WHOLE);
    before(f, "stat", "chaser.chk", 1, scavenge_replaces_1);
    refused(f, "'db/chunk-000001.000000' vanished before it could be read");
}

static void catch_up(fixture *f)
{
    nb_checkpoint(f->node.db, "writer.chk", f->node.writer);
    nb_checkpoint(f->node.db, "epoch.chk", 0);
}

TRAP(trap_17_chaser_over_writer)
{
    FIXTURE;

    nb_checkpoint(f->node.db, "writer.chk", f->node.writer - 200);
    refused(f, "'db/chaser.chk' is 17184, over 'db/writer.chk' with 16984");
    before(f, "sleep", "", 2, catch_up);
    good(f);
    nb_checkpoint(f->node.db, "epoch.chk", f->node.writer + 1);
    refused(f, "'db/epoch.chk' is 17185, over 'db/writer.chk' with 17184");
}

TRAP(trap_17_max_truncation)
{
    FIXTURE;

    nb_checkpoint(f->node.db, "chaser.chk", f->node.writer - 600);
    good(f);
    f->opts.max_truncation_bytes = 600;
    good(f);
    f->opts.max_truncation_bytes = 599;
    refused(f, "'db/writer.chk' is 600 bytes ahead of 'db/chaser.chk', more than the 599 that a "
               "start may truncate");
}

TRAP(trap_17_chaser_in_a_record)
{
    FIXTURE;

    nb_checkpoint(f->node.db, "chaser.chk", f->node.writer - 100);
    refused(f, "'db/chaser.chk' with 17084 is no end of a record");
    nb_checkpoint(f->node.db, "chaser.chk",
                  2 * NB_CHUNK_SIZE - 10); /* behind the data of a completed chunk */
    nb_indexmap(f->node.index, 100, "0,0," NB_TABLE_A "\n");
    refused(f, "'db/chaser.chk' with 16374 is no end of a record");
    nb_checkpoint(f->node.db, "chaser.chk",
                  NB_CHUNK_SIZE + 800); /* the end of its data is an end */
    good(f);
    nb_checkpoint(f->node.db, "chaser.chk", f->node.writer - 200);
    nb_checkpoint(f->node.db, "writer.chk", f->node.writer - 100);
    refused(f, "'db/chunk-000002.000000' has no whole records up to 17084");
}

TRAP(trap_18_chaser_in_a_scavenged_chunk)
{
    FIXTURE;

    (void)nb_chunk(f->node.db, (nb_chunk_opts){.start = 1, .version = 1, .scavenged = true});
    nb_remove(f->node.db, "chunk-000001.000000");
    good(f); /* chaser is in chunk 2 */
    nb_checkpoint(f->node.db, "chaser.chk", 2 * NB_CHUNK_SIZE - 300);
    nb_indexmap(f->node.index, 100, "0,0," NB_TABLE_A "\n");
    refused(f, "'db/chunk-000001.000001' (chunks 1..1) is scavenged, but 'db/chaser.chk' with "
               "16084 is in or before it");
}

static void chaser_moves_on(fixture *f)
{
    nb_checkpoint(f->node.db, "chaser.chk", f->node.writer);
}

TRAP(trap_18_starts_over_when_the_chaser_moves_on)
{
    FIXTURE;

    (void)nb_chunk(f->node.db, (nb_chunk_opts){.start = 1, .version = 1, .scavenged = true});
    nb_remove(f->node.db, "chunk-000001.000000");
    nb_checkpoint(f->node.db, "chaser.chk", 2 * NB_CHUNK_SIZE - 300);
    nb_indexmap(f->node.index, 100, "0,0," NB_TABLE_A "\n");
    before(f, "sleep", "", 2, chaser_moves_on);
    good(f);
}

static void election(fixture *f)
{
    nb_checkpoint(f->node.db, "truncate.chk", 8000);
    nb_checkpoint(f->node.db, "truncate.chk", -1);
}

TRAP(trap_19_truncation_pending)
{
    FIXTURE;

    nb_checkpoint(f->node.db, "truncate.chk", 8000);
    refused(f, "'db/truncate.chk' is 8000, expected -1");
    nb_checkpoint(f->node.db, "truncate.chk", -1);
    good(f);
    assert_null(nb_find(&f->first, "db/truncate.chk"));
    before(f, "open", "indexmap", 1, election);
    refused(f, "'db/truncate.chk' was written during the run");
}

TRAP(trap_22_chunk_size_must_be_one)
{
    FIXTURE;

    (void)nb_chunk(f->node.db, (nb_chunk_opts){.start = 1, .chunk_size = 4096});
    refused(f, "'db/chunk-000001.000000' has a chunk size of 4096, the chunks before it 8192");
    (void)nb_chunk(f->node.db, (nb_chunk_opts){.start = 1});
    good(f);
    assert_int_equal(json_integer_value(json_object_get(f->facts, "chunk_size")), NB_CHUNK_SIZE);
}

TRAP(trap_23_secondary_indexes)
{
    FIXTURE;

    nb_write(f->node.db, "kurrent.ddb", "duck", 4);
    nb_write(f->node.db, "kurrent.ddb.wal", "wal", 3);
    refused(f, "'db/kurrent.ddb' holds secondary indexes");
    f->opts.without_secondary_indexes = true;
    good(f);
    assert_null(nb_find(&f->first, "db/kurrent.ddb"));
    assert_string_equal(json_string_value(json_object_get(f->facts, "secondary_indexes")),
                        "left-out");
    f->opts.without_secondary_indexes = false;
    f->opts.stopped = true;
    good(f);
    assert_non_null(nb_find(&f->first, "db/kurrent.ddb"));
    assert_non_null(nb_find(&f->first, "db/kurrent.ddb.wal"));
}

TRAP(trap_24_unknown_checkpoints)
{
    FIXTURE;

    nb_checkpoint(f->node.db, "tag.chk", 4711);
    good(f);
    assert_int_equal(nb_find(&f->first, "db/tag.chk")->line.content.len, 8);
    assert_null(strstr(f->said, "tag.chk"));
    nb_checkpoint(f->node.db, "future.chk", 1);
    good(f);
    assert_non_null(nb_find(&f->first, "db/future.chk"));
    assert_non_null(strstr(f->said, "'db/future.chk' is a checkpoint this version does not know"));
    static const uint8_t large[513] = {0};
    nb_write(f->node.db, "large.chk", large, sizeof(large));
    good(f);
    assert_null(nb_find(&f->first, "db/large.chk"));
    assert_non_null(strstr(f->said, "'db/large.chk' has 513 bytes, which is no checkpoint"));
}

TRAP(trap_25_archive_gap)
{
    FIXTURE;

    nb_remove(f->node.db, "chunk-000000.000000");
    refused(f, "chunks 0..0 are missing in 'db'");
    assert_non_null(strstr(f->e.message, "use --archive"));
    f->opts.archive = true;
    good(f);
    assert_non_null(strstr(f->said, "they are in the archive"));
    (void)nb_chunk(f->node.db, (nb_chunk_opts){.start = 0});
    nb_remove(f->node.db, "chunk-000001.000000");
    refused(f, "chunks 1..1 are missing in 'db'"); /* only at the low end */
}

TRAP(trap_26_encryption)
{
    FIXTURE;

    (void)nb_chunk(f->node.db, (nb_chunk_opts){.start = 1, .transform = 1});
    (void)nb_chunk(f->node.db, (nb_chunk_opts){.start = 2, .ongoing = true, .transform = 1});
    good(f);
    assert_non_null(strstr(f->said, "encrypted at rest"));
    assert_int_equal(nb_find(&f->first, "db/chunk-000002.000000")->read_bytes, NB_FILE_SIZE);
    /* Cut below the writer it can't be walked, but it is too short all the same. */
    char path[600];

    (void)snprintf(path, sizeof(path), "%s/chunk-000002.000000", f->node.db);
    assert_int_equal(truncate(path, 512), 0);
    refused(f, "'db/chunk-000002.000000' has 512 bytes, 'db/writer.chk' with 17184 needs 928");
}

TRAP(trap_27_index_elsewhere)
{
    FIXTURE;
    char other[700];

    (void)snprintf(other, sizeof(other), "%s/elsewhere", f->node.db);
    nb_rename(f->node.db, "index", "elsewhere");
    good(f);
    assert_non_null(strstr(f->said, "there is no index folder"));
    f->opts.index = other;
    good(f);
    assert_non_null(nb_find(&f->first, "index/indexmap"));
    f->opts.index = "/nonexistent/index";
    refused(f, "the index directory '/nonexistent/index' does not exist");
}

TRAP(trap_30_stopped_is_proven_by_the_lock)
{
    FIXTURE;
    char path[600];

    f->opts.stopped = true;
    good(f);
    (void)snprintf(path, sizeof(path), "%s/writer.chk", f->node.db);
    const int fd = open(path, O_RDWR | O_CLOEXEC);

    assert_int_equal(flock(fd, LOCK_SH), 0);
    refused(f, "--source stopped, but a server holds the directory: a lock on 'writer.chk'");
    (void)close(fd);
}

/* ---- more refusals ---- */

TRAP(other_cluster_is_refused)
{
    FIXTURE;

    good(f);
    (void)nb_chunk(f->node.db,
                   (nb_chunk_opts){.start = 0, .epoch_id = "99999999-2222-3333-4444-555555555555"});
    assert_int_equal(backup(f, &f->second, &f->first), CF_ERR_SOURCE);
    assert_non_null(
        strstr(f->e.message, "this node belongs to cluster 99999999-2222-3333-4444-555555555555"));
    assert_non_null(strstr(f->e.message, "to cluster " NB_EPOCH_ID));
}

TRAP(damaged_chunk_names_the_good_snapshot)
{
    FIXTURE;

    good(f);
    nb_patch(f->node.db, "chunk-000001.000000", 500, "!", 1);
    refused(f, "'db/chunk-000001.000000' is damaged: its last 16 bytes say MD5 ");
    nb_patch(f->node.db, "chunk-000001.000000", 500, "x", 1);
    good(f);
    nb_patch(f->node.db, "chunk-000001.000000", 500, "!", 1);
    f->opts.full = true;
    assert_int_equal(backup(f, &f->second, &f->first), CF_ERR_SOURCE);
    assert_non_null(
        strstr(f->e.message, "snapshot 20261121T000000Z-00000001 still has a good copy"));
}

TRAP(damaged_merged_chunk_needs_all_its_parts_in_the_parent)
{
    FIXTURE;
    static const char good_copy[] = "snapshot 20261121T000000Z-00000001 still has a good copy";

    good(f);
    (void)nb_chunk(f->node.db,
                   (nb_chunk_opts){.start = 0, .end = 1, .version = 2, .scavenged = true});
    nb_remove(f->node.db, "chunk-000000.000000");
    nb_remove(f->node.db, "chunk-000001.000000");
    nb_patch(f->node.db, "chunk-000000.000002", 500, "!", 1);
    assert_int_equal(backup(f, &f->second, &f->first), CF_ERR_SOURCE);
    assert_non_null(strstr(f->e.message, "'db/chunk-000000.000002' is damaged"));
    assert_non_null(strstr(f->e.message, good_copy));
    /* The parent has only the first half of it. */
    for (size_t i = 0; i < f->first.total; i++) {
        if (strcmp(f->first.at[i].path, "db/chunk-000001.000000") == 0)
            (void)snprintf(f->first.at[i].klass, sizeof(f->first.at[i].klass), "ongoing-chunk");
    }
    assert_int_equal(backup(f, &f->second, &f->first), CF_ERR_SOURCE);
    assert_null(strstr(f->e.message, good_copy));
    assert_non_null(strstr(f->e.message, "restore this node from another one's snapshot"));
}

TRAP(damaged_table_names_the_good_snapshot)
{
    FIXTURE;

    good(f);
    f->opts.full = true;
    nb_patch(f->node.index, NB_TABLE_B, 200, "!", 1);
    assert_int_equal(backup(f, &f->second, &f->first), CF_ERR_SOURCE);
    assert_non_null(
        strstr(f->e.message, "snapshot 20261121T000000Z-00000001 still has a good copy"));
    assert_non_null(strstr(f->e.message, "or the index can be rebuilt"));
}

TRAP(writer_on_the_boundary)
{
    FIXTURE;

    /* The last chunk may be absent, and the one before it may wait for its completion. */
    nb_remove(f->node.db, "chunk-000002.000000");
    nb_checkpoint(f->node.db, "writer.chk", 2 * NB_CHUNK_SIZE);
    nb_checkpoint(f->node.db, "chaser.chk", 2 * NB_CHUNK_SIZE);
    nb_indexmap(f->node.index, 100, "0,0," NB_TABLE_A "\n");
    good(f);
    assert_non_null(nb_find(&f->first, "db/chunk-000001.000000"));
    nb_checkpoint(f->node.db, "writer.chk", 2 * NB_CHUNK_SIZE + 200);
    refused(f, "chunks 2..2 are missing in 'db'");
    (void)nb_chunk(f->node.db, (nb_chunk_opts){.start = 1, .ongoing = true});
    nb_checkpoint(f->node.db, "writer.chk", 2 * NB_CHUNK_SIZE);
    good(f);
    assert_int_equal(how_of(&f->first, "db/chunk-000001.000000"), CF_ENTRY_PARTS);
    char path[600];

    (void)snprintf(path, sizeof(path), "%s/chunk-000001.000000", f->node.db);
    assert_int_equal(truncate(path, 4096), 0);
    refused(f, "'db/chunk-000001.000000' has 4096 bytes, 'db/writer.chk' with 16384 needs 8320");
    (void)nb_chunk(f->node.db, (nb_chunk_opts){.start = 1, .ongoing = true});
    (void)nb_chunk(f->node.db, (nb_chunk_opts){.start = 2, .ongoing = true});
    refused(f, "chunk 1 is not completed, but chunk 2 is there");
}

TRAP(damaged_files_of_the_directory)
{
    FIXTURE;

    nb_patch(f->node.index, "indexmap", 40, "7", 1);
    refused(f, "'index/indexmap' is damaged: its MD5 is '");
    nb_indexmap(f->node.index, 100,
                "0,0," NB_TABLE_A "\n0,1,00000000-0000-0000-0000-0000000000dd\n");
    refused(
        f, "'index/indexmap' names table '00000000-0000-0000-0000-0000000000dd', which is missing");
    nb_indexmap(f->node.index, 100, "0,0," NB_TABLE_A "\n");
    nb_write(f->node.db, "epoch.chk", "123456789", 9);
    assert_int_equal(backup(f, &f->first, NULL), CF_ERR_SOURCE);
    assert_non_null(strstr(f->e.message, "'db/epoch.chk' has more than 8 bytes"));
    nb_checkpoint(f->node.db, "epoch.chk", 0);
    nb_remove(f->node.db, "epoch.chk");
    nb_checkpoint(f->node.db, "epoch.chk", 300);
    refused(f, "'db/epoch.chk' is 300, but no epoch record stands there");
    nb_checkpoint(f->node.db, "epoch.chk", 0);
    nb_write(f->node.db, "chunk-000001.000000", "short", 5);
    assert_int_equal(backup(f, &f->first, NULL), CF_ERR_SOURCE);
    assert_non_null(
        strstr(f->e.message, "'db/chunk-000001.000000' has 5 bytes, a chunk has at least 256"));
    (void)nb_chunk(f->node.db, (nb_chunk_opts){.start = 0, .name = "chunk-000001.000000"});
    refused(f, "'db/chunk-000001.000000' holds chunk 0 by its header, not 1");
    f->opts.db = "/nonexistent/db";
    refused(f, "the data directory '/nonexistent/db' does not exist");
    f->opts.db = f->node.db;
    nb_remove(f->node.db, "writer.chk");
    refused(
        f, "is not the data directory of a KurrentDB or EventStoreDB node: it has no 'writer.chk'");
}

static void writer_back(fixture *f)
{
    nb_checkpoint(f->node.db, "writer.chk", 100);
    nb_checkpoint(f->node.db, "chaser.chk", 100);
}

TRAP(checkpoints_gone_back)
{
    FIXTURE;

    before(f, "stat", "chaser.chk", 1, writer_back);
    refused(f, "'db/chaser.chk' went back from 17184 to 100 during the run");
}

TRAP(inspect_collects_all_refusals)
{
    FIXTURE;
    CF_CLEANUP(cf_buf_deinit) cf_buf report = {0};
    cf_source *s = NULL;
    const char *text = NULL;

    f->opts.inspect = true;
    nb_checkpoint(f->node.db, "truncate.chk", 8000);
    nb_write(f->node.db, "kurrent.ddb", "duck", 4);
    (void)nb_chunk(f->node.db, (nb_chunk_opts){.start = 1, .ongoing = true});
    assert_int_equal(cf_profile_kurrentdb.open(&f->opts, &s, &f->e), CF_OK);
    assert_int_equal(cf_profile_kurrentdb.plan(s, NULL, NULL, NULL, &f->e), CF_OK);
    assert_int_equal(cf_profile_kurrentdb.facts(s, &f->facts, &f->e), CF_OK);
    assert_int_equal(json_array_size(json_object_get(f->facts, "refusals")), 3);
    cf_buf_init(&report, 64 * 1024);
    assert_int_equal(cf_profile_kurrentdb.render_report(s, &report, &f->e), CF_OK);
    assert_int_equal(cf_buf_get_str(&report, &text, &f->e), CF_OK);
    assert_non_null(strstr(text, "a backup now would: be refused because"));
    assert_non_null(strstr(text, "cluster       " NB_EPOCH_ID));
    cf_profile_kurrentdb.close(s);
    nb_checkpoint(f->node.db, "truncate.chk", -1);
    nb_remove(f->node.db, "kurrent.ddb");
    (void)nb_chunk(f->node.db, (nb_chunk_opts){.start = 1});
    assert_int_equal(cf_profile_kurrentdb.open(&f->opts, &s, &f->e), CF_OK);
    assert_int_equal(cf_profile_kurrentdb.plan(s, NULL, NULL, NULL, &f->e), CF_OK);
    cf_buf_clear(&report);
    assert_int_equal(cf_profile_kurrentdb.render_report(s, &report, &f->e), CF_OK);
    assert_int_equal(cf_buf_get_str(&report, &text, &f->e), CF_OK);
    assert_non_null(strstr(text, "a backup now would: succeed\n"));
    cf_profile_kurrentdb.close(s);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(plain_backup_has_everything_in_order),
        T(second_backup_reuses_by_certificate),
        T(trap_01_excess_chunk),
        T(trap_02_half_written_table),
        T(trap_02_table_with_wrong_md5),
        T(trap_03_same_name_new_bytes),
        T(trap_04_same_id_other_content),
        T(trap_05_completed_and_shrunk_meanwhile),
        T(trap_05_completed_between_size_and_footer),
        T(trap_06_ongoing_chunk_has_no_certificate),
        T(trap_07_read_only_bit_says_nothing),
        T(trap_08_merged_chunks),
        T(trap_09_superseded_versions),
        T(trap_10_foreign_files),
        T(trap_11_indexmap_absent),
        T(trap_11_indexmap_replaced_while_tables_are_opened),
        T(trap_11_merge_after_the_pin),
        T(trap_12_indexmap_newer_than_chaser),
        T(trap_13_filter_remade_between),
        T(trap_14_scavenging_db_with_wal),
        T(trap_14_scavenge_while_chunks_are_opened),
        T(trap_14_scavenge_after_the_pin),
        T(trap_17_chaser_over_writer),
        T(trap_17_max_truncation),
        T(trap_17_chaser_in_a_record),
        T(trap_18_chaser_in_a_scavenged_chunk),
        T(trap_18_starts_over_when_the_chaser_moves_on),
        T(trap_19_truncation_pending),
        T(trap_22_chunk_size_must_be_one),
        T(trap_23_secondary_indexes),
        T(trap_24_unknown_checkpoints),
        T(trap_25_archive_gap),
        T(trap_26_encryption),
        T(trap_27_index_elsewhere),
        T(trap_30_stopped_is_proven_by_the_lock),
        T(other_cluster_is_refused),
        T(damaged_chunk_names_the_good_snapshot),
        T(damaged_merged_chunk_needs_all_its_parts_in_the_parent),
        T(damaged_table_names_the_good_snapshot),
        T(writer_on_the_boundary),
        T(damaged_files_of_the_directory),
        T(checkpoints_gone_back),
        T(inspect_collects_all_refusals),
        T(trap_14_scavenge_beyond_the_descriptor_limit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
