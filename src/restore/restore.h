/* SPDX-License-Identifier: Apache-2.0
 *
 * Restore: what the steps of one restore share. restore.c reads as the plan; target.c (the
 * directories), fetch.c (the files), tree.c (directories and links of a tree), sweep.c (leftovers)
 * and owner.c are the steps.
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
    const cf_fs *fs;          /* borrowed */
    const char *const *roles; /* of the profile; borrowed */
    const char *db, *index;   /* borrowed paths of the first and second; index NULL: in the first */
    int db_fd, index_fd;      /* -1: not there (yet) */
    bool resumed;             /* the marker of the same snapshot was found */
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
/* Number of the role that a path belongs to, also when it is the role's name itself; -1: none. */
int cf_target_role(const cf_target *t, cf_slice path);
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

/* What a name shall be like. */
typedef struct cf_attributes {
    uint32_t mode, uid, gid;
    int64_t mtime_ns;
} cf_attributes;

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
    bool has_top; /* a tree: what its top shall be like, last of all */
    cf_attributes top;
    uint64_t setuid_dropped_total; /* of files whose owner could not be restored */
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
/* Owner, mode and time of an open file or directory. Without the recorded owner, setuid and setgid
 * would make it somebody else's program: they are dropped, and counted. */
CF_NODISCARD cf_err cf_restore_attributes(cf_restore *r, int fd, const cf_attributes *a,
                                          cf_error *e);
CF_NODISCARD cf_err cf_restore_link_attributes(const cf_restore *r, int dir_fd, const char *name,
                                               const cf_attributes *a, cf_error *e);
/* A directory or a symbolic link of a tree; a directory gets its attributes at the end. */
CF_NODISCARD cf_err cf_restore_tree_line(cf_restore *r, const cf_file_line *l, cf_error *e);
/* Attributes of all directories but the top, when nothing is written into them any more. */
CF_NODISCARD cf_err cf_restore_tree_finish(cf_restore *r, cf_error *e);
CF_NODISCARD cf_err cf_restore_tree_top(cf_restore *r, cf_error *e);
void cf_fetch_free(cf_restore *r, cf_fetch *f); /* removes its temporary file too */

void cf_restore_log(const cf_restore *r, cf_log_level level, const char *fmt, ...) CF_PRINTF(3, 4);
void cf_restore_progress(const cf_restore *r, const char *phase);
void cf_restore_deinit(cf_restore *r);

#endif
