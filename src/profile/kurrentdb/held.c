/* SPDX-License-Identifier: Apache-2.0 */
#include "profile/kurrentdb/held.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "s3/base/cleanup.h"
#include "s3/base/num.h"

enum { LINK_SIZE = 4096 };

static cf_err lock_try(cf_kdb_io *io, int dir_fd, const char *name, cf_kdb_holder *ret, cf_error *e)
{
    CF_CLEANUP(cf_kdb_fd_deinit) cf_kdb_fd f = {io, -1};
    const cf_err opened = cf_kdb_io_open(io, dir_fd, name, &f.fd, e);

    if (opened == CF_ERR_NOT_FOUND)
        return CF_OK;
    CF_TRY(opened);
    const cf_err locked = io->fs->ops->lock(io->fs, f.fd, CF_FS_LOCK_EXCLUSIVE, e);

    if (locked == CF_ERR_LOCKED) {
        ret->held = true;
        (void)snprintf(ret->how, sizeof(ret->how), "a lock on '%s'", name);
        return CF_OK;
    }
    CF_TRY(cf_kdb_io_fail(locked, e));
    return cf_kdb_io_fail(io->fs->ops->lock(io->fs, f.fd, CF_FS_LOCK_NONE, e), e);
}

/* The name below the folder that a server keeps open; NULL: none. */
static const char *kept_name(const char *link, const char *folder)
{
    const size_t len = strlen(folder);

    if (strncmp(link, folder, len) != 0 || link[len] != '/')
        return NULL;
    const char *const name = link + len + 1;
    const size_t name_len = strlen(name);
    const bool checkpoint = name_len > 4 && strcmp(name + name_len - 4, ".chk") == 0;

    return checkpoint || strcmp(name, "kurrent.ddb") == 0 ? name : NULL;
}

static void process_look(cf_kdb_io *io, const char *pid, const char *folder, cf_kdb_holder *ret)
{
    CF_CLEANUP(cf_kdb_fd_deinit) cf_kdb_fd f = {io, -1};
    CF_CLEANUP(cf_names_deinit) cf_names names = {0};
    char path[64];
    char link[LINK_SIZE];

    (void)snprintf(path, sizeof(path), "/proc/%.20s/fd", pid);
    if (io->fs->ops->dir_open(io->fs, CF_FS_CWD, path, &f.fd, /* e= */ NULL) != CF_OK ||
        io->fs->ops->list(io->fs, f.fd, &names, /* e= */ NULL) != CF_OK)
        return; /* gone, or another user's */
    for (size_t i = 0; i < names.count && !ret->held; i++) {
        if (io->fs->ops->readlink_at(io->fs, f.fd, cf_names_at(&names, i), link, sizeof(link),
                                     /* e= */ NULL) != CF_OK)
            continue;
        const char *const name = kept_name(link, folder);

        if (name != NULL) {
            ret->held = true;
            (void)snprintf(ret->how, sizeof(ret->how), "process %.20s has '%.32s' open", pid, name);
        }
    }
}

/* Best effort: what cannot be read says nothing. */
static void processes_look(cf_kdb_io *io, int dir_fd, cf_kdb_holder *ret)
{
    CF_CLEANUP(cf_kdb_fd_deinit) cf_kdb_fd f = {io, -1};
    CF_CLEANUP(cf_names_deinit) cf_names names = {0};
    char self[64];
    char folder[LINK_SIZE];

    (void)snprintf(self, sizeof(self), "/proc/self/fd/%d", dir_fd);
    if (io->fs->ops->readlink_at(io->fs, CF_FS_CWD, self, folder, sizeof(folder), /* e= */ NULL) !=
            CF_OK ||
        io->fs->ops->dir_open(io->fs, CF_FS_CWD, "/proc", &f.fd, /* e= */ NULL) != CF_OK ||
        io->fs->ops->list(io->fs, f.fd, &names, /* e= */ NULL) != CF_OK)
        return;
    for (size_t i = 0; i < names.count && !ret->held; i++) {
        const char *const name = cf_names_at(&names, i);
        uint64_t pid = 0;

        if (cf_u64_parse(cf_slice_str(name), &pid) && pid != (uint64_t)getpid())
            process_look(io, name, folder, ret);
    }
}

cf_err cf_kdb_held(cf_kdb_io *io, int dir_fd, cf_kdb_holder *ret, cf_error *e)
{
    static const char *const names[] = {"writer.chk", "chaser.chk"};
    cf_kdb_holder h = {0};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]) && !h.held; i++)
        CF_TRY(lock_try(io, dir_fd, names[i], &h, e));
    if (!h.held)
        processes_look(io, dir_fd, &h);
    *ret = h;
    return CF_OK;
}
