/* SPDX-License-Identifier: Apache-2.0
 *
 * A file that nobody else can see. What still fits the buffer never touches the disk: most runs
 * make no file.
 */
#include "repo/spool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "s3/base/alloc.h"
#include "s3/base/env.h"
#include "s3/base/fs.h"

enum { SPOOL_BUFFER_BYTES = 64 * 1024 };

struct cf_spool {
    int fd;           /* -1: everything is in the buffer */
    uint64_t written; /* bytes in the file */
    size_t pending;   /* bytes in the buffer behind them */
    uint8_t pending_bytes[SPOOL_BUFFER_BYTES];
    uint64_t read_at;   /* of written + pending */
    uint64_t window_at; /* what of it stands in window */
    size_t window_len;
    uint8_t window[CF_SPOOL_LINE_LEN_MAX];
};

cf_err cf_spool_new(cf_spool **const ret, cf_error *const e)
{
    cf_spool *s = NULL;
    CF_NEW(s, e);
    s->fd = -1;
    *ret = s;
    return CF_OK;
}

void cf_spool_free(cf_spool *const s)
{
    if (s == NULL)
        return;
    cf_fd_closep(&s->fd);
    cf_free(s);
}

static cf_err spool_open(cf_spool *const s, cf_error *const e)
{
    const char *const asked = cf_env_get(NULL, "TMPDIR");
    const char *const dir = asked != NULL && asked[0] == '/' ? asked : "/tmp";
    char path[1024];
    char text[128] = "";
    const int len = snprintf(path, sizeof(path), "%s/chunkferry-XXXXXX", dir);
    CF_ENSURE(len > 0 && (size_t)len < sizeof(path), e, CF_ERR_USAGE,
              "TMPDIR has more than %zu bytes", sizeof(path) - 20);
    const int fd = mkostemp(path, O_CLOEXEC);
    const int reason = errno;
    CF_ENSURE(fd >= 0, e, CF_ERR_IO,
              "make a temporary file in '%s': %s\nHINT: set TMPDIR to a directory with room", dir,
              strerror_r(reason, text, sizeof(text)));
    (void)unlink(path); /* a name that stays is only untidy */
    s->fd = fd;
    return CF_OK;
}

static cf_err spool_flush(cf_spool *const s, cf_error *const e)
{
    const cf_fs *const fs = cf_fs_real();
    if (s->fd < 0)
        CF_TRY(spool_open(s, e));
    CF_TRY_AS(fs->ops->pwrite(fs, s->fd, cf_slice_of(s->pending_bytes, s->pending), s->written, e),
              e, "write a temporary file");
    s->written += s->pending;
    s->pending = 0;
    return CF_OK;
}

cf_err cf_spool_add(cf_spool *const s, const cf_slice line, cf_error *const e)
{
    CF_CHECK(line.len > 1 && line.len <= CF_SPOOL_LINE_LEN_MAX && line.ptr[line.len - 1] == '\n');
    if (line.len > SPOOL_BUFFER_BYTES - s->pending)
        CF_TRY(spool_flush(s, e));
    memcpy(s->pending_bytes + s->pending, line.ptr, line.len);
    s->pending += line.len;
    return CF_OK;
}

void cf_spool_rewind(cf_spool *const s)
{
    s->read_at = 0;
    s->window_at = 0;
    s->window_len = 0;
}

/* Fills the window from read_at on. */
static cf_err window_fill(cf_spool *const s, cf_error *const e)
{
    const cf_fs *const fs = cf_fs_real();
    size_t len = 0;
    if (s->read_at < s->written) {
        CF_TRY_AS(fs->ops->pread(fs, s->fd, s->window, sizeof(s->window), s->read_at, &len, e), e,
                  "read a temporary file");
        if (len > s->written - s->read_at)
            len = (size_t)(s->written - s->read_at);
        CF_ENSURE(len > 0, e, CF_ERR_IO, "a temporary file became shorter");
    }
    const uint64_t after =
        s->read_at + len -
        s->written; /* in the buffer; below 0 (huge) while the file is not at its end */
    if (s->read_at + len >= s->written && after < s->pending) {
        const size_t left = s->pending - (size_t)after;
        const size_t more = left < sizeof(s->window) - len ? left : sizeof(s->window) - len;
        memcpy(s->window + len, s->pending_bytes + after, more);
        len += more;
    }
    s->window_at = s->read_at;
    s->window_len = len;
    return CF_OK;
}

cf_err cf_spool_next(cf_spool *const s, cf_slice *const ret, cf_error *const e)
{
    if (s->read_at == s->written + s->pending) {
        *ret = cf_slice_of(NULL, 0);
        return CF_OK;
    }
    for (unsigned i = 0; i < 2; i++) {
        const uint8_t *const from = s->window + (size_t)(s->read_at - s->window_at);
        const size_t left = s->window_len - (size_t)(s->read_at - s->window_at);
        const uint8_t *const end = left == 0 ? NULL : memchr(from, '\n', left);
        if (end != NULL) {
            *ret = cf_slice_of(from, (size_t)(end - from));
            s->read_at += ret->len + 1;
            return CF_OK;
        }
        CF_TRY(window_fill(s, e));
    }
    CF_FAIL(e, CF_ERR_IO, "a temporary file holds something else than was written");
}
