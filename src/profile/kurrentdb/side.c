/* SPDX-License-Identifier: Apache-2.0
 *
 * Beside the index: the stream existence filter, the scavenge database, the secondary indexes.
 *
 * The filter's .chk says up to where .dat is true. A .dat older than its .chk makes every newer
 * stream seem empty without any message, so .chk is read before .dat is opened, and neither may
 * have gone back when all is done.
 */
#include "profile/kurrentdb/checkpoint.h"
#include "profile/kurrentdb/source.h"

#include "s3/base/cleanup.h"

static const char filter_chk[] = "stream-existence/streamExistenceFilter.chk";
static const char filter_dat[] = "stream-existence/streamExistenceFilter.dat";
static const char scavenge_db[] = "scavenging/scavenging.db";
static const char scavenge_wal[] = "scavenging/scavenging.db-wal";

/* Opens a regular file of the index folder; -1: not there. */
static cf_err side_open(cf_source *s, int dir_fd, const char *name, int *ret_fd, cf_stat *ret_stat,
                        cf_error *e)
{
    CF_CLEANUP(cf_kdb_fd_deinit) cf_kdb_fd f = {&s->io, -1};
    const cf_err opened =
        dir_fd < 0 ? CF_ERR_NOT_FOUND : cf_kdb_io_open(&s->io, dir_fd, name, &f.fd, e);

    *ret_fd = -1;
    if (opened == CF_ERR_NOT_FOUND)
        return CF_OK;
    CF_TRY(opened);
    CF_TRY(cf_kdb_io_stat_fd(&s->io, f.fd, name, ret_stat, e));
    CF_ENSURE(ret_stat->type == CF_FILE_REGULAR, e, CF_ERR_SOURCE, "'%s' is no regular file", name);
    *ret_fd = f.fd;
    f.fd = -1;
    return CF_OK;
}

/* The value of the filter's .chk; *ret_len: its length, 0 when it is not there. */
static cf_err filter_value_read(cf_source *s, int64_t *ret, size_t *ret_len, cf_stat *ret_stat,
                                cf_error *e)
{
    CF_CLEANUP(cf_kdb_fd_deinit) cf_kdb_fd f = {&s->io, -1};
    uint8_t bytes[CF_KDB_CHECKPOINT_LEN + 1] = {0};

    *ret_len = 0;
    CF_TRY(side_open(s, s->index_fd, filter_chk, &f.fd, ret_stat, e));
    if (f.fd < 0)
        return CF_OK;
    CF_TRY(cf_kdb_io_read_some(&s->io, f.fd, bytes, sizeof(bytes), ret_len, e));
    if (*ret_len == CF_KDB_CHECKPOINT_LEN)
        CF_TRY(cf_kdb_checkpoint_parse(cf_slice_of(bytes, *ret_len), ret, e));
    return CF_OK;
}

static cf_err filter_items(cf_source *s, int64_t value, const cf_stat *chk, const cf_stat *dat,
                           int *fd, cf_error *e)
{
    uint8_t bytes[CF_KDB_CHECKPOINT_LEN];
    cf_kdb_item *i = NULL;

    cf_kdb_checkpoint_render(value, bytes);
    CF_TRY(cf_kdb_item_add(s, CF_KDB_STEP_FILTER, "index", filter_chk, "filter-checkpoint", &i, e));
    cf_kdb_item_set_stat(i, chk);
    CF_TRY(cf_kdb_item_set_content(i, cf_slice_of(bytes, sizeof(bytes)), e));
    CF_TRY(cf_kdb_item_add(s, CF_KDB_STEP_FILTER, "index", filter_dat, "filter", &i, e));
    cf_kdb_item_set_stat(i, dat);
    i->how = CF_ENTRY_PARTS;
    if (!s->opts.inspect) {
        i->fd = *fd;
        *fd = -1;
    }
    s->has_filter = true;
    s->filter_value = value;
    s->filter_ino = dat->ino;
    return CF_OK;
}

cf_err cf_kdb_filter_look(cf_source *s, cf_error *e)
{
    CF_CLEANUP(cf_kdb_fd_deinit) cf_kdb_fd f = {&s->io, -1};
    cf_stat chk = {0};
    cf_stat dat = {0};
    int64_t value = -1;
    size_t len = 0;

    if (s->opts.without_existence_filter) {
        cf_kdb_detail(
            s, "the existence filter is left out; a restored node rebuilds it from its index");
        return CF_OK;
    }
    CF_TRY(filter_value_read(s, &value, &len, &chk, e));
    if (len != 0 && len != CF_KDB_CHECKPOINT_LEN) {
        cf_kdb_warn(s, "existence-filter-damaged",
                    "'index/%s' is not %d bytes long: the existence filter is left out; a restored "
                    "node rebuilds it",
                    filter_chk, CF_KDB_CHECKPOINT_LEN);
        return CF_OK;
    }
    CF_TRY(side_open(s, s->index_fd, filter_dat, &f.fd, &dat, e));
    if (len == 0 || f.fd < 0) {
        cf_kdb_detail(s, "the existence filter is not there%s; a restored node rebuilds it",
                      len == 0 && f.fd < 0 ? "" : " in both its files");
        return CF_OK;
    }
    CF_TRY(filter_items(s, value, &chk, &dat, &f.fd, e));
    return cf_kdb_filter_look_again(s, e);
}

cf_err cf_kdb_filter_look_again(cf_source *s, cf_error *e)
{
    cf_stat chk = {0};
    cf_stat dat = {0};
    int64_t value = -1;
    size_t len = 0;

    if (!s->has_filter || s->restored)
        return CF_OK;
    CF_TRY(filter_value_read(s, &value, &len, &chk, e));
    if (len != CF_KDB_CHECKPOINT_LEN || value < s->filter_value)
        return cf_kdb_refuse(s, e,
                             "'index/%s' went back from %lld to %lld: the node made a new "
                             "existence filter during the run"
                             "\nHINT: run again, or use --without-existence-filter",
                             filter_chk, (long long)s->filter_value, (long long)value);
    if (!cf_kdb_io_is_file(&s->io, s->index_fd, filter_dat, &dat) || dat.ino != s->filter_ino)
        return cf_kdb_refuse(
            s, e,
            "'index/%s' was replaced: the node made a new existence filter during the run"
            "\nHINT: run again, or use --without-existence-filter",
            filter_dat);
    return CF_OK;
}

/* A mutable file that is open: compared in parts, from this descriptor. */
static void item_take(const cf_source *s, cf_kdb_item *i, cf_kdb_fd *f, const cf_stat *st)
{
    cf_kdb_item_set_stat(i, st);
    i->how = CF_ENTRY_PARTS;
    if (s->opts.inspect)
        return;
    i->fd = f->fd;
    f->fd = -1;
}

cf_err cf_kdb_scavenge_look(cf_source *s, cf_error *e)
{
    CF_CLEANUP(cf_kdb_fd_deinit) cf_kdb_fd f = {&s->io, -1};
    cf_kdb_item *i = NULL;
    cf_stat st = {0};
    bool has_wal = false;

    if (s->index_fd < 0)
        return CF_OK;
    CF_TRY(side_open(s, s->index_fd, scavenge_db, &f.fd, &st, e));
    CF_TRY(cf_kdb_io_find_file(&s->io, s->index_fd, scavenge_wal, &has_wal, e));
    if (has_wal) {
        cf_kdb_warn(s, "scavenge-running",
                    "'index/%s' is there: a scavenge runs, or was killed. The scavenge database is "
                    "left out; after a "
                    "restore the "
                    "next scavenge starts anew, which is correct and only slower",
                    scavenge_wal);
        return CF_OK;
    }
    if (f.fd < 0)
        return CF_OK;
    CF_TRY(cf_kdb_item_add(s, CF_KDB_STEP_SCAVENGE, "index", scavenge_db, "scavenge-db", &i, e));
    item_take(s, i, &f, &st);
    return CF_OK;
}

bool cf_kdb_scavenge_look_again(cf_source *s, cf_kdb_item *i)
{
    cf_stat wal = {0};
    cf_stat st = {0};
    cf_stat named = {0};

    if (cf_kdb_io_stat_fd(&s->io, i->fd, i->path, &st, /* e= */ NULL) == CF_OK &&
        cf_kdb_io_is_file(&s->io, s->index_fd, scavenge_db, &named) && named.ino == i->ino &&
        !cf_kdb_io_is_file(&s->io, s->index_fd, scavenge_wal, &wal) && st.mtime_ns == i->mtime_ns &&
        st.size_bytes == i->size_bytes)
        return true;
    i->left_out = true;
    cf_kdb_warn(s, "scavenge-running",
                "a scavenge began while '%s' was read: it is left out; after a restore the next "
                "scavenge starts anew, which is correct and only slower",
                i->path);
    return false;
}

static cf_err secondary_item(cf_source *s, const char *name, bool *ret_found, cf_error *e)
{
    CF_CLEANUP(cf_kdb_fd_deinit) cf_kdb_fd f = {&s->io, -1};
    cf_kdb_item *i = NULL;
    cf_stat st = {0};

    CF_TRY(side_open(s, s->db_fd, name, &f.fd, &st, e));
    *ret_found = f.fd >= 0;
    if (f.fd < 0 || s->restored)
        return CF_OK;
    CF_TRY(cf_kdb_item_add(s, CF_KDB_STEP_SECONDARY, "db", name, "secondary-index", &i, e));
    item_take(s, i, &f, &st);
    return CF_OK;
}

cf_err cf_kdb_secondary_look(cf_source *s, cf_error *e)
{
    bool found = false;

    CF_TRY(cf_kdb_io_find_file(&s->io, s->db_fd, "kurrent.ddb", &found, e));
    if (!found)
        return CF_OK;
    s->secondary = "left-out";
    if (s->opts.without_secondary_indexes) {
        cf_kdb_warn(s, "secondary-indexes",
                    "'db/kurrent.ddb' is left out: a restored node rebuilds its secondary indexes "
                    "from the log. Not "
                    "proven: that "
                    "the schema registry, which is kept in the same file, comes back too");
        return CF_OK;
    }
    if (s->opts.stopped || s->restored) {
        s->secondary = "stored";
        CF_TRY(secondary_item(s, "kurrent.ddb", &found, e));
        return secondary_item(s, "kurrent.ddb.wal", &found, e);
    }
    cf_kdb_hazard(s, "secondary-indexes");
    return cf_kdb_refuse(
        s, e,
        "'db/kurrent.ddb' holds secondary indexes, which cannot be copied from a running node"
        "\nHINT: three ways: stop the server and use --source stopped; back up a volume snapshot "
        "with "
        "--source stopped; or use --without-secondary-indexes, and a restored node rebuilds them");
}
