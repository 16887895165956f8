/* SPDX-License-Identifier: Apache-2.0
 *
 * chunkferry as a library: each command of the program is one function with an options struct whose
 * zero is the default, and a result. The program is a thin shell over these.
 *
 * Threads: calls with different cf_ctx may run at once. Callbacks come on the calling thread, but
 * for `log`, which may come from any.
 */
#ifndef CHUNKFERRY_CHUNKFERRY_H
#define CHUNKFERRY_CHUNKFERRY_H

#include <stdbool.h>
#include <stdint.h>

#include "s3/buf.h"
#include "s3/err.h"
#include "s3/world.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { CF_SNAPSHOT_ID_SIZE = 26 }; /* YYYYMMDDThhmmssZ-xxxxxxxx and NUL */

typedef enum cf_log_level {
    CF_LOG_ERROR,
    CF_LOG_WARN,
    CF_LOG_INFO,
    CF_LOG_DETAIL,
    CF_LOG_DEBUG
} cf_log_level;

typedef struct cf_progress {
    const char
        *phase; /* "looking", "reading", "committing", "checking", "restoring", "verifying" */
    uint64_t done_bytes, total_bytes; /* total 0: not known */
    uint64_t done_files, total_files;
} cf_progress;

struct cf_fs;

/* The world a command runs in. Zero is the real one, silent. */
typedef struct cf_ctx {
    const cf_world *world;  /* NULL: cf_world_real() */
    const struct cf_fs *fs; /* NULL: the real filesystem; the source's and the target's */
    void (*log)(void *impl, cf_log_level level,
                const char *text); /* NULL: none. text may hold "\nHINT: ..." */
    void (*progress)(void *impl, const cf_progress *p); /* NULL: none; called often */
    void *impl;
} cf_ctx;

/* Where the repository is and how to reach it. */
typedef struct cf_remote {
    const char *url;         /* "s3://bucket/prefix" or "file:///path" */
    const char *endpoint;    /* NULL: AWS */
    const char *region;      /* NULL: environment, profile, us-east-1 */
    const char *addressing;  /* NULL or "auto", "path", "virtual" */
    const char *ca_bundle;   /* NULL: the system's */
    const char *aws_profile; /* NULL: AWS_PROFILE, "default" */
    uint64_t memory_bytes;   /* 0: 128 MiB; 64 MiB at least */
    uint32_t jobs;           /* 0: the cores; 1..64 */
} cf_remote;

typedef struct cf_init_result {
    char repository[33]; /* its id */
    uint64_t requests_total;
} cf_init_result;
/* Errors: CF_ERR_EXISTS when a repository is there; CF_ERR_UNSUPPORTED when the store has no
 * conditional create. */
CF_NODISCARD cf_err cf_init_run(const cf_ctx *ctx, const cf_remote *remote, cf_init_result *ret,
                                cf_error *e);

typedef struct cf_backup_opts {
    cf_remote remote;
    const char *node;       /* [a-z0-9][a-z0-9._-]{0,62} */
    const char *profile;    /* "kurrentdb", "directory" */
    const char *db, *index; /* index NULL: <db>/index */
    bool stopped, without_secondary_indexes, without_existence_filter, archive, full, dry_run;
    uint64_t max_truncation_bytes; /* 0: 256 MiB */
    uint64_t wait_lock_ms;         /* for a node that is busy; 0: CF_ERR_LOCKED at once */
    int level;                     /* 0: 3 */
    /* directory: */
    const char *dir;            /* the tree */
    const char *const *exclude; /* patterns, as the manual has them */
    size_t exclude_total;
    bool one_file_system; /* mount points are stored, and not gone into */
    bool force;           /* files that seem unchanged are read too */
} cf_backup_opts;

typedef struct cf_backup_result {
    char snapshot[CF_SNAPSHOT_ID_SIZE]; /* "" for a dry run */
    char parent[CF_SNAPSHOT_ID_SIZE];   /* "" when there is none */
    uint64_t files_total, files_new, files_reused;
    uint64_t source_bytes;   /* logical size of the node's files */
    uint64_t bytes_read;     /* of the source, headers and footers too */
    uint64_t bytes_changed;  /* source bytes that were sent */
    uint64_t bytes_uploaded; /* bodies sent, manifest and lease too */
    uint64_t packs_new;
    uint64_t requests_total;
    uint64_t duration_ms;
    /* directory: the snapshot stands without them, or with them as they were read. */
    uint64_t files_left_out; /* unreadable, vanished, too deep; sockets and the like do not count */
    uint64_t files_changed;  /* changed each time they were read */
} cf_backup_result;
/* Errors: CF_ERR_SOURCE: the node is not fit, or changed under us; nothing was committed.
 * CF_ERR_LOCKED, CF_ERR_NO_REPOSITORY, CF_ERR_FENCED, CF_ERR_UNKNOWN: the answer to the commit was
 * lost and it cannot be known; the message says what to do. */
CF_NODISCARD cf_err cf_backup_run(const cf_ctx *ctx, const cf_backup_opts *opts,
                                  cf_backup_result *ret, cf_error *e);

typedef struct cf_restore_opts {
    cf_remote remote;
    const char *node;
    const char *snapshot;     /* "latest", an id, or a unique beginning of one */
    const char *target;       /* directory; made when missing */
    const char *index_target; /* NULL: <target>/index */
    const char *owner;        /* NULL, or "user[:group]", names or numbers */
    bool dry_run;
} cf_restore_opts;

typedef struct cf_restore_result {
    char snapshot[CF_SNAPSHOT_ID_SIZE];
    uint64_t files_total, files_restored,
        files_kept;        /* kept: of an interrupted restore, verified */
    uint64_t target_bytes; /* logical size of all files */
    uint64_t bytes_written, bytes_downloaded;
    uint64_t requests_total;
    uint64_t duration_ms;
    cf_buf closing_words; /* owned by the caller: cf_buf_deinit */
} cf_restore_result;
/* Errors: CF_ERR_TARGET: not empty or in use; CF_ERR_NO_SPACE; CF_ERR_DAMAGE: the repository's
 * content is not what the manifest says; CF_ERR_NOT_FOUND: no such node or snapshot. After a
 * failure the same call goes on where it stopped. */
CF_NODISCARD cf_err cf_restore_run(const cf_ctx *ctx, const cf_restore_opts *opts,
                                   cf_restore_result *ret, cf_error *e);

#ifdef __cplusplus
}
#endif
#endif
