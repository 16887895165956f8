/* SPDX-License-Identifier: Apache-2.0
 *
 * Helpers over the filesystem seam; they call nothing but its members.
 */
#include "s3/base/fs.h"

#include "s3/base/alloc.h"
#include "s3/buf.h"

void cf_names_deinit(cf_names *n)
{
    cf_free(n->text);
    cf_free(n->offset);
    *n = (cf_names){0};
}

/* Reads straight into the buffer, with no copy elsewhere: the file may hold secrets that the caller
 * wipes. One byte behind a full buffer tells whether the file is too large. */
static cf_err read_all(const cf_fs *fs, int fd, const char *name, cf_buf *b, cf_error *e)
{
    enum { STEP_BYTES = 16 * 1024 };
    for (;;) {
        const size_t room = b->max - b->len;
        const size_t step = room < STEP_BYTES ? room : STEP_BYTES;
        uint8_t probe = 0;
        size_t got = 0;
        CF_TRY(cf_buf_reserve(b, step, e));
        uint8_t *const at = step > 0 ? b->data + b->len : &probe;
        CF_TRY(fs->ops->pread(fs, fd, at, step > 0 ? step : 1, b->len, &got, e));
        CF_ENSURE(step > 0 || got == 0, e, CF_ERR_TOO_LARGE,
                  "file '%s' has more than the %zu bytes allowed", name, b->max);
        b->len += got;
        if (got < step || step == 0)
            return CF_OK;
    }
}

cf_err cf_fs_read_small(const cf_fs *fs, int dir_fd, const char *name, struct cf_buf *ret,
                        cf_error *e)
{
    int fd = -1;
    cf_buf_clear(ret);
    CF_TRY(fs->ops->file_open(fs, dir_fd, name, CF_FS_READ, &fd, e));
    cf_err err = read_all(fs, fd, name, ret, e);
    const cf_err close_err = fs->ops->close(fs, fd, err == CF_OK ? e : NULL);
    if (err == CF_OK)
        err = close_err;
    if (err != CF_OK)
        cf_buf_clear(ret);
    return err;
}
