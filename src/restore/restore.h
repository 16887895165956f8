/* SPDX-License-Identifier: Apache-2.0
 *
 * Restore: what the steps of one restore share. restore.c reads as the plan; target.c (the
 * directories), fetch.c (the files), sweep.c (leftovers) and owner.c are the steps.
 *
 * A supervisor may start the server too early. So the profile's first file (chaser.chk) is written
 * before all others, its last ones (writer.chk, truncate.chk) after the rest is on disk: a start in
 * between throws before it touches a chunk.
 */
#ifndef SRC_RESTORE_RESTORE_H
#define SRC_RESTORE_RESTORE_H

#include "chunkferry/chunkferry.h"
#include "pipe/download.h"
#include "pipe/upload.h"
#include "profile/profile.h"
#include "repo/lease.h"
#include "repo/manifest.h"
#include "repo/repo.h"

enum { CF_NAME_SIZE = 256 + 32 }; /* a file name and our suffix */

/* Marks a target that a restore has begun to fill; removed at the end. Holds "<node> <run>\n". */
#define CF_RESTORE_MARKER ".chunkferry-restore"
#define CF_RESTORE_TMP    ".chunkferry.tmp"

typedef struct cf_owner {
    bool given;
    uint32_t uid, gid;
} cf_owner;
/* "user", "user:group", "1001:1001". CF_ERR_USAGE names the unknown one. */
CF_NODISCARD cf_err cf_owner_parse(const char *text, cf_owner *ret, cf_error *e);

/* The two directories a node's files go to. */
typedef struct cf_target {
    const cf_fs *fs;        /* borrowed */
    const char *db, *index; /* borrowed paths; index NULL: <db>/index */
    int db_fd, index_fd;    /* -1: not there (yet) */
    bool resumed;           /* the marker of the same snapshot was found */
} cf_target;

/* Looks, changes nothing. CF_ERR_TARGET: not empty, another restore's, or not a directory. Opens
 * what is there. */
CF_NODISCARD cf_err cf_target_look(cf_target *t, const char *node, const cf_run_id *run,
                                   cf_error *e);
/* Makes missing directories and the marker. */
CF_NODISCARD cf_err cf_target_make(cf_target *t, const char *node, const cf_run_id *run,
                                   const cf_owner *owner, cf_error *e);
/* CF_ERR_NO_SPACE: what is needed and what is free, before anything is written. */
CF_NODISCARD cf_err cf_target_check_space(const cf_target *t, uint64_t db_bytes,
                                          uint64_t index_bytes, cf_error *e);
/* Directory of a role-relative path, made when missing; *ret_name points into path. Symlinks on the
 * way are refused (CF_ERR_TARGET). The caller closes *ret_fd. */
CF_NODISCARD cf_err cf_target_open_parent(const cf_target *t, const char *path,
                                          const cf_owner *owner, int *ret_fd, const char **ret_name,
                                          cf_error *e);
/* A role-relative folder ("db", "index/scavenging"), nothing is made. CF_ERR_NOT_FOUND; the caller
 * closes *ret_fd. */
CF_NODISCARD cf_err cf_target_open_dir(const cf_target *t, const char *path, int *ret_fd,
                                       cf_error *e);
CF_NODISCARD cf_err cf_target_sync(const cf_target *t, cf_error *e);
CF_NODISCARD cf_err cf_target_finish(const cf_target *t, cf_error *e); /* removes the marker */
void cf_target_deinit(cf_target *t);

/* One file under way. */
typedef struct cf_fetch {
    struct cf_fetch *next;
    char *path;              /* owned; role-relative */
    char name[CF_NAME_SIZE]; /* in dir_fd */
    char tmp[CF_NAME_SIZE];  /* "" when it is only verified */
    int dir_fd, fd;          /* owned */
    uint64_t size_bytes;
    uint32_t mode, uid, gid;
    int64_t mtime_ns;
} cf_fetch;

typedef struct cf_restore {
    const cf_ctx *ctx; /* borrowed; world and fs are set */
    const cf_restore_opts *opts;
    const cf_profile *profile;
    uint64_t started_mono_ms;

    cf_store *store;
    cf_repo repo;
    char runs_prefix[CF_NODE_NAME_LEN_MAX + 16];
    cf_root *root;
    cf_read_lease *lease;
    cf_cursor *files;
    cf_owner owner;
    cf_target target;

    cf_download *download;
    cf_fetch *under_way;         /* owned list */
    uint64_t again_total;        /* files whose kept content was wrong in this pass */
    uint32_t last_uid, last_gid; /* recorded for the file before: the extra files get the same */
    uint64_t plan_bytes;
    size_t suspect_total; /* lines of FIRST and BODY whose names the profile calls a server's */
    cf_restore_result result;
} cf_restore;

/* Sizes, paths and placements of all lines; space; changes nothing. */
CF_NODISCARD cf_err cf_restore_survey(cf_restore *r, cf_error *e);
/* All files of one placement; returns when they are verified and on disk. */
CF_NODISCARD cf_err cf_restore_fetch(cf_restore *r, cf_placement placement, cf_error *e);
/* When it goes on: takes away what the last step of the one before may have written. */
CF_NODISCARD cf_err cf_restore_withdraw(cf_restore *r, cf_error *e);
/* Removes what a server that was started too early left and the snapshot does not have. */
CF_NODISCARD cf_err cf_restore_sweep(cf_restore *r, cf_error *e);
/* The profile's extra files, last of all. */
CF_NODISCARD cf_err cf_restore_write_extra(cf_restore *r, cf_error *e);
void cf_fetch_free(cf_restore *r, cf_fetch *f); /* removes its temporary file too */

void cf_restore_log(const cf_restore *r, cf_log_level level, const char *fmt, ...) CF_PRINTF(3, 4);
void cf_restore_progress(const cf_restore *r, const char *phase);
void cf_restore_deinit(cf_restore *r);

#endif
