/* SPDX-License-Identifier: Apache-2.0
 *
 * Pins: the descriptors of all chunks that are to be sent, opened before the first byte is read, so
 * that a scavenge which comes an hour later replaces names and not what we read. What the
 * descriptor limit does not hold is opened as others are closed, and must then be the file that was
 * looked at: same inode, size, header and footer.
 */
#include "profile/kurrentdb/source.h"

#include <sys/resource.h>

#include "s3/base/cleanup.h"

void cf_kdb_pin_raise_limit(void)
{
    struct rlimit limit = {0};

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= limit.rlim_max)
        return;
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit); /* what is left as it was is counted below */
}

cf_err cf_kdb_pin_limits(cf_source *s, cf_error *e)
{
    struct rlimit limit = {0};
    const uint64_t least = CF_KDB_FD_LEAST + s->items.total;

    s->pin_max = 0;
    if (s->opts.inspect || getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return CF_OK;
    CF_ENSURE(limit.rlim_cur >= least, e, CF_ERR_SOURCE,
              "the limit of open files is %llu, a backup of this node needs at least %llu"
              "\nHINT: ulimit -n 4096, or LimitNOFILE=4096 in the service; more is better, up to "
              "one for each chunk",
              (unsigned long long)limit.rlim_cur, (unsigned long long)least);
    /* Tables and filters of the index are open already. */
    const uint64_t taken = CF_KDB_FD_RESERVE + s->items.total;

    if (limit.rlim_cur > taken)
        s->pin_max = limit.rlim_cur - taken < CF_KDB_CHUNK_TOTAL_MAX
                         ? (uint32_t)(limit.rlim_cur - taken)
                         : CF_KDB_CHUNK_TOTAL_MAX;
    return CF_OK;
}

cf_err cf_kdb_pin_names_equal(cf_source *s, cf_error *e)
{
    CF_CLEANUP(cf_names_deinit) cf_names names = {0};
    uint8_t now[32];

    CF_TRY(cf_kdb_io_list(&s->io, s->db_fd, "db", &names, e));
    CF_TRY(cf_kdb_chunks_names_hash(&names, s->chunks.last, now, e));
    if (memcmp(now, s->chunks.names_sha256, sizeof(now)) == 0)
        return CF_OK;
    return cf_kdb_refuse_for_now(s, e,
                                 "chunk files were replaced while they were opened\nHINT: a "
                                 "scavenge runs; run again after it");
}

static cf_err identity_check(cf_source *s, const cf_kdb_row *row, const char *path, int fd,
                             cf_error *e)
{
    uint8_t header[CF_KDB_CHUNK_HEADER_LEN];
    uint8_t footer[CF_KDB_CHUNK_FOOTER_LEN];
    static const char hint[] = "HINT: a scavenge or truncation went on during the run; run again, "
                               "with a higher limit of open "
                               "files (ulimit -n) if it stays";
    uint64_t cert = 0;
    cf_stat st = {0};

    CF_TRY(cf_kdb_io_stat_fd(&s->io, fd, path, &st, e));
    CF_ENSURE(st.ino == row->ino, e, CF_ERR_SOURCE, "'%s' was replaced before it could be read\n%s",
              path, hint);
    if ((row->flags & CF_KDB_ROW_COMPLETED) == 0)
        return CF_OK; /* may be completed by now, and then it is another size */
    CF_ENSURE(st.size_bytes == row->size_bytes, e, CF_ERR_SOURCE,
              "'%s' has %llu bytes now, it had %llu\n%s", path, (unsigned long long)st.size_bytes,
              (unsigned long long)row->size_bytes, hint);
    CF_TRY(cf_kdb_io_read(&s->io, fd, path, header, sizeof(header), 0, e));
    CF_TRY(cf_kdb_io_read(&s->io, fd, path, footer, sizeof(footer),
                          row->size_bytes - sizeof(footer), e));
    CF_TRY(cf_kdb_cert_hash(header, footer, &cert, e));
    CF_ENSURE(cert == row->cert, e, CF_ERR_SOURCE,
              "'%s' has another header or footer than before\n%s", path, hint);
    return CF_OK;
}

cf_err cf_kdb_pin_row(cf_source *s, cf_kdb_row *row, int *ret_fd, cf_error *e)
{
    CF_CLEANUP(cf_kdb_fd_deinit) cf_kdb_fd f = {&s->io, -1};
    char path[3 + CF_KDB_CHUNK_NAME_SIZE] = "db/";

    if (row->fd >= 0) {
        *ret_fd = row->fd;
        return CF_OK;
    }
    cf_kdb_chunk_name_render(row->start, row->version, path + 3);
    const cf_err opened = cf_kdb_io_open(&s->io, s->db_fd, path + 3, &f.fd, e);

    CF_ENSURE(opened != CF_ERR_NOT_FOUND, e, CF_ERR_SOURCE,
              "'%s' vanished before it could be read: a scavenge replaced it"
              "\nHINT: run again, with a higher limit of open files (ulimit -n) if it stays",
              path);
    CF_TRY(opened);
    CF_TRY(identity_check(s, row, path, f.fd, e));
    *ret_fd = row->fd = f.fd;
    f.fd = -1;
    s->pinned_total++;
    return CF_OK;
}

void cf_kdb_pin_release(cf_source *s, cf_kdb_row *row)
{
    int fd = row->fd;

    if (fd < 0)
        return;
    cf_kdb_io_close(&s->io, &fd);
    row->fd = -1;
    s->pinned_total--;
}

/* Keeps the descriptors in use: as soon as half of them are free, the next rows are opened. */
cf_err cf_kdb_pin_refill(cf_source *s, cf_error *e)
{
    if (s->pinned_total > s->pin_max / 2)
        return CF_OK;
    if (s->pin_next < s->next_row)
        s->pin_next = s->next_row;
    for (; s->pin_next < s->chunks.total && s->pinned_total < s->pin_max; s->pin_next++) {
        cf_kdb_row *const row = &s->chunks.rows[s->pin_next];
        int fd = -1;

        if ((row->flags & CF_KDB_ROW_REUSED) == 0)
            CF_TRY(cf_kdb_pin_row(s, row, &fd, e));
    }
    return CF_OK;
}
