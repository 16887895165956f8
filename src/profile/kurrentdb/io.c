/* SPDX-License-Identifier: Apache-2.0 */
#include "profile/kurrentdb/io.h"

#include <string.h>

cf_err cf_kdb_io_fail(cf_err code, cf_error *e)
{
    static const char access[] =
        "\nHINT: run as the server's user, or as one who may read its files";
    static const char gone[] = "\nHINT: it vanished while the node was read; run again";
    const char *const hint = code == CF_ERR_ACCESS ? access : code == CF_ERR_NOT_FOUND ? gone : "";

    if (code == CF_OK || code == CF_ERR_NO_MEMORY || code == CF_ERR_INTERRUPTED)
        return code;
    if (e != NULL) {
        const size_t len = strlen(e->message);

        e->code = CF_ERR_SOURCE;
        if (strstr(e->message, "HINT") == NULL && len + strlen(hint) < sizeof(e->message))
            memcpy(e->message + len, hint, strlen(hint) + 1);
    }
    return CF_ERR_SOURCE;
}

static cf_err fail_unless_missing(cf_err code, cf_error *e)
{
    return code == CF_ERR_NOT_FOUND ? code : cf_kdb_io_fail(code, e);
}

cf_err cf_kdb_io_open(cf_kdb_io *io, int dir_fd, const char *name, int *ret_fd, cf_error *e)
{
    return fail_unless_missing(io->fs->ops->file_open(io->fs, dir_fd, name, CF_FS_READ, ret_fd, e),
                               e);
}

cf_err cf_kdb_io_dir_open(cf_kdb_io *io, int dir_fd, const char *path, int *ret_fd, cf_error *e)
{
    return fail_unless_missing(io->fs->ops->dir_open(io->fs, dir_fd, path, ret_fd, e), e);
}

cf_err cf_kdb_io_stat_at(cf_kdb_io *io, int dir_fd, const char *name, cf_stat *ret, cf_error *e)
{
    return fail_unless_missing(io->fs->ops->stat_at(io->fs, dir_fd, name, ret, e), e);
}

cf_err cf_kdb_io_stat_fd(cf_kdb_io *io, int fd, const char *what, cf_stat *ret, cf_error *e)
{
    CF_TRY_AS(cf_kdb_io_fail(io->fs->ops->stat_fd(io->fs, fd, ret, e), e), e, "look at '%s'", what);
    return CF_OK;
}

cf_err cf_kdb_io_list(cf_kdb_io *io, int dir_fd, const char *what, cf_names *ret, cf_error *e)
{
    CF_TRY_AS(cf_kdb_io_fail(io->fs->ops->list(io->fs, dir_fd, ret, e), e), e, "list '%s'", what);
    return CF_OK;
}

cf_err cf_kdb_io_read(cf_kdb_io *io, int fd, const char *what, void *ret, size_t len,
                      uint64_t offset, cf_error *e)
{
    size_t got = 0;

    CF_TRY_AS(cf_kdb_io_fail(io->fs->ops->pread(io->fs, fd, ret, len, offset, &got, e), e), e,
              "read '%s'", what);
    io->bytes_read += got;
    CF_ENSURE(got == len, e, CF_ERR_SOURCE,
              "'%s' ends at %llu, expected %llu bytes or more\nHINT: it was cut while it was read; "
              "run again",
              what, (unsigned long long)(offset + got), (unsigned long long)(offset + len));
    return CF_OK;
}

cf_err cf_kdb_io_read_some(cf_kdb_io *io, int fd, void *ret, size_t len, size_t *ret_len,
                           cf_error *e)
{
    CF_TRY(cf_kdb_io_fail(io->fs->ops->pread(io->fs, fd, ret, len, 0, ret_len, e), e));
    io->bytes_read += *ret_len;
    return CF_OK;
}

cf_err cf_kdb_io_read_small(cf_kdb_io *io, int dir_fd, const char *name, cf_buf *ret, cf_error *e)
{
    CF_TRY(fail_unless_missing(cf_fs_read_small(io->fs, dir_fd, name, ret, e), e));
    io->bytes_read += ret->len;
    return CF_OK;
}

bool cf_kdb_io_is_file(cf_kdb_io *io, int dir_fd, const char *name, cf_stat *ret)
{
    return io->fs->ops->stat_at(io->fs, dir_fd, name, ret, /* e= */ NULL) == CF_OK &&
           ret->type == CF_FILE_REGULAR;
}

cf_err cf_kdb_io_find_file(cf_kdb_io *io, int dir_fd, const char *name, bool *ret_found,
                           cf_error *e)
{
    cf_stat st = {0};
    const cf_err err = cf_kdb_io_stat_at(io, dir_fd, name, &st, e);

    *ret_found = err == CF_OK && st.type == CF_FILE_REGULAR;
    if (err != CF_ERR_NOT_FOUND)
        CF_TRY_AS(err, e, "look for '%s'", name);
    return CF_OK;
}

void cf_kdb_io_close(cf_kdb_io *io, int *fd)
{
    if (*fd >= 0)
        (void)io->fs->ops->close(io->fs, *fd, /* e= */ NULL);
    *fd = -1;
}

void cf_kdb_fd_deinit(cf_kdb_fd *f)
{
    cf_kdb_io_close(f->io, &f->fd);
}
