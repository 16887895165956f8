/* SPDX-License-Identifier: Apache-2.0
 *
 * chunkferry whose every look at the node is a numbered step, so that another process can act
 * between any two of them. The same program: only the filesystem seam is decorated.
 *
 *   CF_STEP_AT=N         before the Nth call (1..) ...
 *   CF_STEP_SOCKET=PATH  ... each line of CF_STEP_COMMANDS is sent there, and its answer is
 *                        awaited ("ok ..." or "err ...")
 *   CF_STEP_COMMANDS     lines, parted by ';'
 *   CF_STEP_TRACE=FILE   one line a call: number, operation, name; and what was answered
 *   CF_STEP_ERRNO=N      the Nth call fails with this cf_err number instead (no socket needed)
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "cli/cli.h"
#include "s3/base/env.h"
#include "s3/base/fs.h"

typedef struct stepper {
    const cf_fs *real;
    pthread_mutex_t lock;
    unsigned long calls, at;
    cf_err fail_with;
    const char *socket_path, *commands;
    FILE *trace;
} stepper;

static stepper *self;

static void say(const char *const command)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char answer[4096];
    size_t len = 0;
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(address.sun_path, sizeof(address.sun_path), "%s", self->socket_path);
    if (fd < 0 || connect(fd, (const struct sockaddr *)&address, sizeof(address)) != 0) {
        fprintf(stderr, "stepping: cannot reach %s\n", self->socket_path);
        exit(99);
    }
    dprintf(fd, "%s\n", command);
    while (len + 1 < sizeof(answer)) {
        const ssize_t n = read(fd, answer + len, sizeof(answer) - 1 - len);
        if (n <= 0)
            break;
        len += (size_t)n;
        if (memchr(answer, '\n', len) != NULL)
            break;
    }
    answer[len] = '\0';
    close(fd);
    if (self->trace != NULL)
        fprintf(self->trace, "  > %s -> %s", command, len > 0 ? answer : "nothing\n");
}

/* Called before every operation. */
static cf_err step(const char *const operation, const char *const name, cf_error *const e)
{
    cf_err result = CF_OK;

    pthread_mutex_lock(&self->lock);
    self->calls++;
    if (self->trace != NULL)
        fprintf(self->trace, "%lu %s %s\n", self->calls, operation, name);
    if (self->calls == self->at && self->fail_with != CF_OK)
        result = cf_error_set(e, self->fail_with, __FILE__, __LINE__, "%s '%s': injected failure",
                              operation, name);
    if (self->calls == self->at && self->socket_path != NULL) {
        char *const copy = strdup(self->commands);
        char *rest = copy;

        for (char *command = strsep(&rest, ";"); command != NULL; command = strsep(&rest, ";"))
            say(command);
        free(copy);
    }
    if (self->trace != NULL)
        fflush(self->trace);
    pthread_mutex_unlock(&self->lock);
    return result;
}

#define STEP(operation, name) CF_TRY(step(operation, name, e))
#define REAL                  (self->real)

static cf_err dir_open(const cf_fs *fs, int dir_fd, const char *path, int *ret_fd, cf_error *e)
{
    (void)fs;
    STEP("dir_open", path);
    return REAL->ops->dir_open(REAL, dir_fd, path, ret_fd, e);
}
static cf_err file_open(const cf_fs *fs, int dir_fd, const char *name, cf_fs_open how, int *ret_fd,
                        cf_error *e)
{
    (void)fs;
    STEP("file_open", name);
    return REAL->ops->file_open(REAL, dir_fd, name, how, ret_fd, e);
}
static cf_err stat_at(const cf_fs *fs, int dir_fd, const char *name, cf_stat *ret, cf_error *e)
{
    (void)fs;
    STEP("stat_at", name);
    return REAL->ops->stat_at(REAL, dir_fd, name, ret, e);
}
static cf_err stat_fd(const cf_fs *fs, int fd, cf_stat *ret, cf_error *e)
{
    (void)fs;
    STEP("stat_fd", "");
    return REAL->ops->stat_fd(REAL, fd, ret, e);
}
static cf_err list(const cf_fs *fs, int dir_fd, cf_names *ret, cf_error *e)
{
    (void)fs;
    STEP("list", "");
    return REAL->ops->list(REAL, dir_fd, ret, e);
}
static cf_err pread_(const cf_fs *fs, int fd, void *ret, size_t len, uint64_t offset,
                     size_t *ret_len, cf_error *e)
{
    (void)fs;
    STEP("pread", "");
    return REAL->ops->pread(REAL, fd, ret, len, offset, ret_len, e);
}
static cf_err pwrite_(const cf_fs *fs, int fd, cf_slice s, uint64_t offset, cf_error *e)
{
    (void)fs;
    STEP("pwrite", "");
    return REAL->ops->pwrite(REAL, fd, s, offset, e);
}
static cf_err sync_(const cf_fs *fs, int fd, cf_error *e)
{
    (void)fs;
    STEP("sync", "");
    return REAL->ops->sync(REAL, fd, e);
}
static cf_err rename_at(const cf_fs *fs, int dir_fd, const char *from, const char *to, cf_error *e)
{
    (void)fs;
    STEP("rename_at", to);
    return REAL->ops->rename_at(REAL, dir_fd, from, to, e);
}
static cf_err lock(const cf_fs *fs, int fd, cf_fs_lock how, cf_error *e)
{
    (void)fs;
    STEP("lock", "");
    return REAL->ops->lock(REAL, fd, how, e);
}

int main(int argc, char **argv)
{
    stepper s = {
        .real = cf_fs_real(),
        .lock = PTHREAD_MUTEX_INITIALIZER,
        .at = strtoul(getenv("CF_STEP_AT") != NULL ? getenv("CF_STEP_AT") : "0", NULL, 10),
        .fail_with = (cf_err)atoi(getenv("CF_STEP_ERRNO") != NULL ? getenv("CF_STEP_ERRNO") : "0"),
        .socket_path = getenv("CF_STEP_SOCKET"),
        .commands = getenv("CF_STEP_COMMANDS") != NULL ? getenv("CF_STEP_COMMANDS") : "status",
    };
    cf_fs_ops ops = *s.real->ops;
    const cf_fs fs = {.ops = &ops, .impl = NULL};
    const cf_ctx ctx = {.fs = &fs};

    self = &s;
    if (getenv("CF_STEP_TRACE") != NULL)
        s.trace = fopen(getenv("CF_STEP_TRACE"), "w");
    ops.dir_open = dir_open;
    ops.file_open = file_open;
    ops.stat_at = stat_at;
    ops.stat_fd = stat_fd;
    ops.list = list;
    ops.pread = pread_;
    ops.pwrite = pwrite_;
    ops.sync = sync_;
    ops.rename_at = rename_at;
    ops.lock = lock;
    const int code = cf_cli_main(argc, argv, &ctx, cf_env_get, NULL, stdout, stderr);
    if (s.trace != NULL)
        fclose(s.trace);
    return code;
}
