/* SPDX-License-Identifier: Apache-2.0
 *
 * What the records say: chaser.chk and writer.chk are record boundaries with whole records between
 * them, epoch.chk is an epoch record, and the first record of the log names the cluster.
 *
 * A chunk that is scavenged (positions are mapped) or transformed (data is unreadable) is not
 * walked.
 */
#include "profile/kurrentdb/source.h"

#include "s3/base/cleanup.h"
#include "s3/base/num.h"

enum { WINDOW_BYTES = 16 * 1024 };

/* One chunk's data as a part of the log. */
typedef struct chunk_log {
    cf_source *s;
    int fd;
    uint64_t first;      /* log position of the data's first byte */
    uint64_t data_bytes; /* that may be read */
    char path[3 + CF_KDB_CHUNK_NAME_SIZE];
    uint8_t window[WINDOW_BYTES];
    uint64_t window_at; /* offset in the data */
    size_t window_len;
} chunk_log;

static cf_err log_read(void *impl, uint64_t position, void *ret, uint32_t len, cf_error *e)
{
    chunk_log *const l = impl;
    const uint64_t at = position - l->first;

    CF_ENSURE(position >= l->first && at <= l->data_bytes && len <= l->data_bytes - at &&
                  len <= WINDOW_BYTES,
              e, CF_ERR_PARSE, "position %llu is not in '%s'", (unsigned long long)position,
              l->path);
    if (at < l->window_at || at + len > l->window_at + l->window_len) {
        const uint64_t left = l->data_bytes - at;
        /* Backwards, what is wanted is what is read. */
        const size_t size =
            at < l->window_at ? len : (size_t)(left < WINDOW_BYTES ? left : WINDOW_BYTES);

        l->window_len = 0;
        CF_TRY(cf_kdb_io_read(&l->s->io, l->fd, l->path, l->window, size,
                              CF_KDB_CHUNK_HEADER_LEN + at, e));
        l->window_at = at;
        l->window_len = size;
    }
    memcpy(ret, l->window + (at - l->window_at), len);
    return CF_OK;
}

static cf_kdb_row *row_of(cf_source *s, uint32_t number)
{
    for (uint32_t low = 0, high = s->chunks.total; low < high;) {
        const uint32_t middle = low + (high - low) / 2;
        cf_kdb_row *const row = &s->chunks.rows[middle];

        if (number < row->start)
            high = middle;
        else if (number > row->end)
            low = middle + 1;
        else
            return row;
    }
    return NULL;
}

/* Opens the row's file if it is not pinned; *own then says that the caller must release it. */
static cf_err chunk_log_open(cf_source *s, cf_kdb_row *row, chunk_log *l, bool *ret_own,
                             cf_error *e)
{
    const uint32_t size = s->chunks.chunk_size;
    const uint64_t writer = (uint64_t)s->values.writer.value;

    l->s = s;
    l->first = (uint64_t)row->start * size;
    memcpy(l->path, "db/", 3);
    cf_kdb_chunk_name_render(row->start, row->version, l->path + 3);
    *ret_own = row->fd < 0;
    CF_TRY(cf_kdb_pin_row(s, row, &l->fd, e));
    if (row->start == s->chunks.last) {
        l->data_bytes = writer % size;
    } else if ((row->flags & CF_KDB_ROW_COMPLETED) == 0) {
        l->data_bytes = size;
    } else {
        uint8_t bytes[CF_KDB_CHUNK_FOOTER_LEN];
        cf_kdb_chunk_footer f = {0};

        CF_TRY(cf_kdb_io_read(&s->io, l->fd, l->path, bytes, sizeof(bytes),
                              row->size_bytes - sizeof(bytes), e));
        CF_TRY(cf_kdb_chunk_footer_parse(cf_slice_of(bytes, sizeof(bytes)), &f, e));
        l->data_bytes = f.physical_bytes;
    }
    return CF_OK;
}

/* The part of the walk in one chunk. */
static cf_err chunk_walk(cf_source *s, cf_kdb_row *row, cf_error *e)
{
    chunk_log l = {.fd = -1};
    const uint64_t chaser = (uint64_t)s->values.chaser.value;
    bool own = false;
    cf_error why = {0};

    CF_TRY(chunk_log_open(s, row, &l, &own, e));
    const uint64_t end = l.first + l.data_bytes;
    const bool holds_chaser = chaser >= l.first && chaser < l.first + s->chunks.chunk_size;
    cf_err err = CF_OK;

    if (holds_chaser)
        err = cf_kdb_record_check_end(log_read, &l, l.first, chaser, &why);
    const cf_err chaser_err = err;

    if (err == CF_OK)
        err = cf_kdb_record_walk(log_read, &l, holds_chaser ? chaser : l.first, end, &why);
    if (own)
        cf_kdb_pin_release(s, row);
    if (err == CF_ERR_PARSE && chaser_err != CF_OK)
        return cf_kdb_refuse_for_now(s, e,
                                     "'db/chaser.chk' with %llu is no end of a record in '%s': %s"
                                     "\nHINT: files of different moments or nodes lie here; let "
                                     "the node start, and back up then",
                                     (unsigned long long)chaser, l.path, why.message);
    if (err == CF_ERR_PARSE)
        return cf_kdb_refuse_for_now(s, e,
                                     "'%s' has no whole records up to %llu: %s"
                                     "\nHINT: files of different moments or nodes lie here; let "
                                     "the node start, and back up then",
                                     l.path, (unsigned long long)end, why.message);
    CF_ENSURE(err == CF_OK, e, err, "%s", why.message);
    return CF_OK;
}

cf_err cf_kdb_log_check(cf_source *s, cf_error *e)
{
    if (s->chunks.chunk_size == 0 || s->values.chaser.value < 0 ||
        s->values.chaser.value > s->values.writer.value)
        return CF_OK; /* refused already */
    const uint32_t from = (uint32_t)((uint64_t)s->values.chaser.value / s->chunks.chunk_size);

    for (uint32_t n = from; n <= s->chunks.last; n++) {
        cf_kdb_row *const row = row_of(s, n);

        if (row == NULL || (row->flags & (CF_KDB_ROW_SCAVENGED | CF_KDB_ROW_TRANSFORMED)) != 0)
            continue;
        /* The chunk before an absent last one is full of records up to where it was completed in
         * memory: not known. */
        if ((row->flags & CF_KDB_ROW_COMPLETED) == 0 && row->start != s->chunks.last)
            continue;
        CF_TRY(chunk_walk(s, row, e));
    }
    return CF_OK;
}

/* Where a scavenged chunk keeps the record of a position (in the chunk), by its map, which is
 * sorted. *ret_known false: there is no map that can be read. */
static cf_err map_find(cf_source *s, const cf_kdb_row *row, int fd, uint64_t position,
                       uint64_t *ret_place, bool *ret_known, cf_error *ret_why, cf_error *e)
{
    uint8_t bytes[CF_KDB_CHUNK_FOOTER_LEN];
    cf_kdb_chunk_footer f = {0};

    CF_TRY(cf_kdb_io_read(&s->io, fd, "a scavenged chunk", bytes, sizeof(bytes),
                          row->size_bytes - sizeof(bytes), e));
    CF_TRY(cf_kdb_chunk_footer_parse(cf_slice_of(bytes, sizeof(bytes)), &f, e));
    *ret_known = f.completed && f.map_12 && f.map_bytes > 0;
    if (!*ret_known)
        return CF_OK;
    for (uint64_t low = 0, high = f.map_bytes / CF_KDB_MAP_ENTRY_LEN; low < high;) {
        const uint64_t middle = low + (high - low) / 2;

        CF_TRY(cf_kdb_io_read(
            &s->io, fd, "a scavenged chunk", bytes, CF_KDB_MAP_ENTRY_LEN,
            CF_KDB_CHUNK_HEADER_LEN + f.physical_bytes + middle * CF_KDB_MAP_ENTRY_LEN, e));
        const uint64_t found = cf_le64(bytes + 4);

        if (found == position) {
            *ret_place = cf_le32(bytes);
            return CF_OK;
        }
        if (found < position)
            low = middle + 1;
        else
            high = middle;
    }
    *ret_known = false;
    (void)cf_error_set(ret_why, CF_ERR_PARSE, __FILE__, __LINE__,
                       "the scavenged chunk there has no record of that position");
    return CF_OK;
}

/* The epoch record at a log position. *ret_found false: the chunk cannot be read that way. */
static cf_err epoch_read(cf_source *s, uint64_t position, bool first_of_chunk, cf_kdb_epoch *ret,
                         bool *ret_found, cf_error *ret_why, cf_error *e)
{
    cf_kdb_row *const row = row_of(s, (uint32_t)(position / s->chunks.chunk_size));
    uint8_t bytes[CF_KDB_EPOCH_FRAME_MAX];
    bool own = false;
    size_t got = 0;
    int fd = -1;

    *ret_found = false;
    if (row == NULL || (row->flags & CF_KDB_ROW_TRANSFORMED) != 0)
        return CF_OK;
    const bool mapped = (row->flags & CF_KDB_ROW_SCAVENGED) != 0 && !first_of_chunk;
    uint64_t place = position - (uint64_t)row->start * s->chunks.chunk_size;
    bool known = true;
    cf_err err = CF_OK;

    own = row->fd < 0;
    CF_TRY(cf_kdb_pin_row(s, row, &fd, e));
    if (mapped)
        err = map_find(s, row, fd, place, &place, &known, ret_why, e);
    if (err == CF_OK && known)
        err = cf_kdb_io_fail(s->io.fs->ops->pread(s->io.fs, fd, bytes, 512,
                                                  CF_KDB_CHUNK_HEADER_LEN + place, &got, e),
                             e);
    s->io.bytes_read += got;
    if (own)
        cf_kdb_pin_release(s, row);
    CF_TRY(err);
    if (!known)
        return CF_OK;
    *ret_found = cf_kdb_epoch_parse(cf_slice_of(bytes, got), ret, ret_why) == CF_OK;
    return CF_OK;
}

/* A reused chunk is the parent's, and so is what its records say. */
static bool epoch_from_prior(const cf_source *s, const char *key, uint64_t position,
                             cf_kdb_epoch *ret)
{
    const json_t *const epoch = json_object_get(s->prior_facts, "epoch");
    const bool first = strcmp(key, "id") == 0;
    const char *const id = json_string_value(json_object_get(epoch, key));
    const json_t *const at = json_object_get(epoch, "position");

    for (uint32_t k = 0; k < s->chunks.total; k++) {
        const cf_kdb_row *const row = &s->chunks.rows[k];

        if (position / s->chunks.chunk_size > row->end)
            continue;
        if (position / s->chunks.chunk_size < row->start || (row->flags & CF_KDB_ROW_REUSED) == 0)
            return false;
        break;
    }
    if (id == NULL || strlen(id) != CF_KDB_GUID_LEN ||
        (!first && (!json_is_integer(at) || (uint64_t)json_integer_value(at) != position)))
        return false;
    memcpy(ret->id, id, CF_KDB_GUID_SIZE);
    ret->position = (int64_t)position;
    ret->number = first ? 0 : (uint32_t)json_integer_value(json_object_get(epoch, "number"));
    return true;
}

static cf_err cluster_check(cf_source *s, cf_error *e)
{
    const char *const before =
        json_string_value(json_object_get(json_object_get(s->prior_facts, "epoch"), "id"));

    if (!s->has_first_epoch || before == NULL || strcmp(before, s->first_epoch.id) == 0)
        return CF_OK;
    return cf_kdb_refuse(
        s, e,
        "this node belongs to cluster %s, but snapshot %s of the same name to cluster %s"
        "\nHINT: check --db; a node of another cluster gets another --node name",
        s->first_epoch.id, s->prior_run, before);
}

cf_err cf_kdb_epochs_look(cf_source *s, cf_error *e)
{
    const int64_t epoch = s->values.epoch.value;
    cf_error why = {0};

    if (s->chunks.chunk_size == 0)
        return CF_OK;
    s->has_first_epoch = epoch_from_prior(s, "id", 0, &s->first_epoch);
    if (!s->has_first_epoch)
        CF_TRY(epoch_read(s, 0, /* first_of_chunk= */ true, &s->first_epoch, &s->has_first_epoch,
                          &why, e));
    CF_TRY(cluster_check(s, e));
    s->has_last_epoch = false;
    if (epoch < 0 || epoch >= s->values.writer.value)
        return CF_OK;
    if (epoch == 0 && s->has_first_epoch) {
        s->last_epoch = s->first_epoch;
        s->has_last_epoch = true;
        return CF_OK;
    }
    s->has_last_epoch = epoch_from_prior(s, "last_id", (uint64_t)epoch, &s->last_epoch);
    why = (cf_error){0};
    if (!s->has_last_epoch)
        CF_TRY(epoch_read(s, (uint64_t)epoch, /* first_of_chunk= */ epoch == 0, &s->last_epoch,
                          &s->has_last_epoch, &why, e));
    if (s->has_last_epoch && s->last_epoch.position == epoch)
        return CF_OK;
    if (!s->has_last_epoch && why.code == CF_OK)
        return CF_OK; /* scavenged or transformed: not looked at */
    return cf_kdb_refuse_for_now(s, e,
                                 "'db/epoch.chk' is %lld, but no epoch record stands there: %s"
                                 "\nHINT: files of different moments or nodes lie here; let the "
                                 "node start, and back up then",
                                 (long long)epoch,
                                 why.code != CF_OK ? why.message : "it says another position");
}
