/* SPDX-License-Identifier: Apache-2.0 */
#include "profile/kurrentdb/restore.h"

#include <inttypes.h>

#include "profile/kurrentdb/checkpoint.h"
#include "profile/kurrentdb/held.h"
#include "profile/kurrentdb/source.h"
#include "s3/base/cleanup.h"
#include "s3/world.h"

enum { MODE_READ_ONLY = 0444, MODE_NORMAL = 0644 };

cf_err cf_kdb_target_in_use(const cf_target_opts *opts, cf_error *e)
{
    cf_kdb_io io = {.fs = opts->fs};
    CF_CLEANUP(cf_kdb_fd_deinit) cf_kdb_fd f = {&io, -1};
    cf_kdb_holder holder = {0};
    cf_err err = cf_kdb_io_dir_open(&io, CF_FS_CWD, opts->db, &f.fd, e);

    if (err == CF_ERR_NOT_FOUND)
        return CF_OK;
    if (err == CF_OK)
        err = cf_kdb_held(&io, f.fd, &holder, e);
    if (err != CF_OK) {
        if (e != NULL && err == CF_ERR_SOURCE)
            e->code = CF_ERR_TARGET;
        return err == CF_ERR_SOURCE ? CF_ERR_TARGET : err;
    }
    CF_ENSURE(!holder.held, e, CF_ERR_TARGET,
              "a server holds the target '%s': %s\nHINT: stop it and keep it stopped until the "
              "restore is done",
              opts->db, holder.how);
    return CF_OK;
}

static bool path_is(const cf_file_line *line, const char *path)
{
    return cf_slice_eq(line->path, cf_slice_str(path));
}

cf_placement cf_kdb_placement(const cf_file_line *line)
{
    if (path_is(line, "db/chaser.chk"))
        return CF_PLACE_FIRST;
    if (path_is(line, "db/writer.chk"))
        return CF_PLACE_LAST;
    return path_is(line, "db/truncate.chk") ? CF_PLACE_SKIP
                                            : CF_PLACE_BODY; /* ours is made, never copied */
}

static bool klass_is(const cf_file_line *line, const char *klass)
{
    return line->klass != NULL && strcmp(line->klass, klass) == 0;
}

bool cf_kdb_ends_with_md5(const cf_file_line *line)
{
    return klass_is(line, "chunk") || klass_is(line, "ptable");
}

uint32_t cf_kdb_restored_mode(const cf_file_line *line)
{
    return cf_kdb_ends_with_md5(line) ? MODE_READ_ONLY : MODE_NORMAL;
}

const char *const cf_kdb_leftover_folders[] = {"db", "index", "index/stream-existence",
                                               "index/scavenging", NULL};

/* The name's rest when the path stands right in that folder; "": it does not. */
static cf_slice name_in(const char *path, const char *folder)
{
    const size_t len = strlen(folder);

    if (strncmp(path, folder, len) != 0 || path[len] != '/' || strchr(path + len + 1, '/') != NULL)
        return cf_slice_str("");
    return cf_slice_str(path + len + 1);
}

static bool ends_with(cf_slice name, const char *end)
{
    const size_t len = strlen(end);

    return name.len > len && memcmp(name.ptr + name.len - len, end, len) == 0;
}

static bool is_index_name(cf_slice name)
{
    if (ends_with(name, ".bloomfilter"))
        name.len -= sizeof(".bloomfilter") - 1;
    return cf_kdb_guid_is(name) || cf_slice_starts_with(name, cf_slice_str("indexmap")) ||
           cf_slice_eq(name, cf_slice_str(".forceverify"));
}

/* A wal, a filter or a table of its own would be read together with the snapshot's files. */
bool cf_kdb_is_leftover(const char *path)
{
    const cf_slice in_db = name_in(path, "db");
    uint32_t start = 0;
    uint32_t version = 0;

    if (in_db.len > 0)
        return ends_with(in_db, ".chk") || cf_slice_eq(in_db, cf_slice_str("kurrent.ddb")) ||
               cf_slice_eq(in_db, cf_slice_str("kurrent.ddb.wal")) ||
               cf_kdb_chunk_name_parse(in_db, &start, &version);
    return is_index_name(name_in(path, "index")) ||
           cf_slice_starts_with(name_in(path, "index/stream-existence"),
                                cf_slice_str("streamExistenceFilter.")) ||
           cf_slice_starts_with(name_in(path, "index/scavenging"), cf_slice_str("scavenging.db"));
}

static bool fact_get(const json_t *facts, const char *group, const char *key, int64_t *ret)
{
    const json_t *const j = json_object_get(json_object_get(facts, group), key);

    if (!json_is_integer(j))
        return false;
    *ret = json_integer_value(j);
    return true;
}

/* A start that came too early leaves a writer of 0, or of a small database of its own when not even
 * chaser.chk was there; a first start of the whole leaves the chaser's value. A server that ran on
 * the restored log has written beyond it. */
cf_err cf_kdb_target_went_on(const cf_target_opts *opts, const json_t *facts, cf_error *e)
{
    cf_kdb_io io = {.fs = opts->fs};
    CF_CLEANUP(cf_kdb_fd_deinit) cf_kdb_fd f = {&io, -1};
    CF_CLEANUP(cf_buf_deinit) cf_buf bytes = {0};
    int64_t found = 0;
    int64_t writer = 0;
    int64_t chaser = 0;

    cf_buf_init(&bytes, CF_KDB_CHECKPOINT_LEN);
    CF_TRY(cf_kdb_io_dir_open(&io, CF_FS_CWD, opts->db, &f.fd, e));
    if (cf_kdb_io_read_small(&io, f.fd, "writer.chk", &bytes, NULL) != CF_OK ||
        cf_kdb_checkpoint_parse(cf_buf_slice(&bytes), &found, NULL) != CF_OK || found == 0)
        return CF_OK; /* absent, or torn: it is written anew */
    const bool known = fact_get(facts, "checkpoints", "writer", &writer) &&
                       fact_get(facts, "checkpoints", "chaser", &chaser);
    CF_ENSURE(known && (found == writer || found <= chaser), e, CF_ERR_TARGET,
              "a server has written to the target '%s' since its restore: 'writer.chk' is %" PRId64
              ", the snapshot's %" PRId64
              "\nHINT: if it is to be replaced, empty it; if it is the node now, remove "
              "'.chunkferry-restore' from it",
              opts->db, found, writer);
    return CF_OK;
}

cf_err cf_kdb_extra_file(const json_t *facts, unsigned i, const char **ret_path,
                         uint8_t ret_content[16], size_t *ret_len, cf_error *e)
{
    int64_t chaser = -1;

    if (i > 0) {
        *ret_path = NULL;
        return CF_OK;
    }
    CF_ENSURE(fact_get(facts, "checkpoints", "chaser", &chaser) && chaser >= 0, e, CF_ERR_DAMAGE,
              "the snapshot's facts have no checkpoint 'chaser'");
    cf_kdb_checkpoint_render(chaser, ret_content);
    *ret_len = CF_KDB_CHECKPOINT_LEN;
    *ret_path = "truncate.chk";
    return CF_OK;
}

static void source_freep(cf_source **s)
{
    cf_kdb_source_close(*s);
}

/* The facts and the directory say the same. */
static cf_err values_check(const cf_source *s, const json_t *facts, cf_error *e)
{
    const struct {
        const char *name;
        int64_t found;
    } all[] = {{"chaser", s->values.chaser.value},
               {"writer", s->values.writer.value},
               {"epoch", s->values.epoch.value},
               {"proposal", s->values.proposal.value}};

    for (size_t k = 0; k < sizeof(all) / sizeof(all[0]); k++) {
        int64_t expected = -1;

        if (fact_get(facts, "checkpoints", all[k].name, &expected))
            CF_ENSURE(expected == all[k].found, e, CF_ERR_TARGET,
                      "'db/%s.chk' is %" PRId64 ", the snapshot says %" PRId64, all[k].name,
                      all[k].found, expected);
    }
    CF_ENSURE(s->truncate.value == s->values.chaser.value, e, CF_ERR_TARGET,
              "'db/truncate.chk' is %" PRId64 ", expected the value of 'db/chaser.chk', %" PRId64,
              s->truncate.value, s->values.chaser.value);
    return CF_OK;
}

cf_err cf_kdb_check_restored(const cf_target_opts *opts, const json_t *facts, cf_error *e)
{
    CF_CLEANUP(source_freep) cf_source *s = NULL;
    int64_t first = 0;
    const cf_source_opts source = {
        .fs = opts->fs,
        .world = cf_world_real(),
        .db = opts->db,
        /* A snapshot without an index makes no index folder. */
        .index = json_is_null(json_object_get(facts, "index")) ? NULL : opts->index,
        .without_existence_filter = true,
        .archive = fact_get(facts, "chunks", "first", &first) && first > 0,
        .max_truncation_bytes = UINT64_MAX, /* was checked when the backup was made */
        .inspect = true,
    };
    cf_err err = cf_kdb_source_open(&source, &s, e);

    if (err == CF_OK) {
        s->restored = true;
        err = cf_kdb_look(s, e);
    }
    if (err == CF_ERR_SOURCE) {
        if (e != NULL)
            e->code = CF_ERR_TARGET;
        return CF_ERR_TARGET;
    }
    CF_TRY(err);
    CF_ENSURE(json_array_size(s->refusals) == 0, e, CF_ERR_TARGET, "%s",
              json_string_value(json_array_get(s->refusals, 0)));
    CF_ENSURE(s->chunks.excess_total == 0, e, CF_ERR_TARGET,
              "%u chunk files lie behind 'db/writer.chk': a start would refuse them",
              s->chunks.excess_total);
    return values_check(s, facts, e);
}
