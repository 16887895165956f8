/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading a node's directory through the filesystem seam, with the errors of a source and a count
 * of bytes. `what` is the role-relative name for messages ("db/writer.chk").
 */
#ifndef SRC_PROFILE_KURRENTDB_IO_H
#define SRC_PROFILE_KURRENTDB_IO_H

#include <stdint.h>

#include "s3/base/fs.h"
#include "s3/buf.h"
#include "s3/err.h"

typedef struct cf_kdb_io {
    const cf_fs *fs;
    uint64_t bytes_read;
} cf_kdb_io;

/* CF_ERR_NOT_FOUND as it is, so that the caller can decide; everything else is CF_ERR_SOURCE. */
CF_NODISCARD cf_err cf_kdb_io_open(cf_kdb_io *io, int dir_fd, const char *name, int *ret_fd,
                                   cf_error *e);
CF_NODISCARD cf_err cf_kdb_io_dir_open(cf_kdb_io *io, int dir_fd, const char *path, int *ret_fd,
                                       cf_error *e);
CF_NODISCARD cf_err cf_kdb_io_stat_at(cf_kdb_io *io, int dir_fd, const char *name, cf_stat *ret,
                                      cf_error *e);
CF_NODISCARD cf_err cf_kdb_io_stat_fd(cf_kdb_io *io, int fd, const char *what, cf_stat *ret,
                                      cf_error *e);
CF_NODISCARD cf_err cf_kdb_io_list(cf_kdb_io *io, int dir_fd, const char *what, cf_names *ret,
                                   cf_error *e);
/* Exactly len bytes; CF_ERR_SOURCE when the file ends before. */
CF_NODISCARD cf_err cf_kdb_io_read(cf_kdb_io *io, int fd, const char *what, void *ret, size_t len,
                                   uint64_t offset, cf_error *e);
/* Up to len bytes from the beginning. */
CF_NODISCARD cf_err cf_kdb_io_read_some(cf_kdb_io *io, int fd, void *ret, size_t len,
                                        size_t *ret_len, cf_error *e);
/* A whole small file of a directory. CF_ERR_NOT_FOUND as it is. */
CF_NODISCARD cf_err cf_kdb_io_read_small(cf_kdb_io *io, int dir_fd, const char *name, cf_buf *ret,
                                         cf_error *e);
/* true: a regular file of that name is there. Any failure is false. */
/* *ret_found: there is a regular file of that name. CF_ERR_SOURCE when it cannot be known: what
 * decides whether others are taken along must not be guessed. */
CF_NODISCARD cf_err cf_kdb_io_find_file(cf_kdb_io *io, int dir_fd, const char *name,
                                        bool *ret_found, cf_error *e);
bool cf_kdb_io_is_file(cf_kdb_io *io, int dir_fd, const char *name, cf_stat *ret);
/* Closes when >= 0; nothing was written, so a failure says nothing. */
void cf_kdb_io_close(cf_kdb_io *io, int *fd);

/* An error of the filesystem becomes CF_ERR_SOURCE, with a hint when it was about permissions. */
cf_err cf_kdb_io_fail(cf_err code, cf_error *e);

/* A descriptor that closes itself. */
typedef struct cf_kdb_fd {
    cf_kdb_io *io;
    int fd;
} cf_kdb_fd;
void cf_kdb_fd_deinit(cf_kdb_fd *f);

#endif
