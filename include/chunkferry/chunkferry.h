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
#include "s3/pace.h"
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
    const char *phase; /* "looking", "reading", "committing", "checking", "restoring", "verifying",
                          "copying" */
    uint64_t done_bytes, total_bytes; /* total 0: not known */
    uint64_t done_files, total_files;
    const char *things; /* what these count; NULL: "files" */
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
    struct cf_pace *pace; /* NULL: no limits of bandwidth; shared by all stores of the command */
} cf_ctx;

/* Where the repository is and how to reach it. */
typedef struct cf_remote {
    const char *url;         /* "s3://bucket/prefix" or "file:///path" */
    const char *endpoint;    /* NULL: AWS */
    const char *region;      /* NULL: environment, profile, us-east-1 */
    const char *addressing;  /* NULL or "auto", "path", "virtual" */
    const char *ca_bundle;   /* NULL: the system's */
    const char *aws_profile; /* NULL: AWS_PROFILE, "default" */
    uint64_t memory_bytes;   /* 0: 128 MiB; 48 MiB at least */
    uint32_t jobs;           /* 0: the cores; 1..64 */
    uint32_t
        connections; /* to an S3 server at once, at most; 0: what memory and jobs ask for; 1..64 */
} cf_remote;

enum {
    CF_LEVEL_MAX = 19,
    CF_LEVEL_OFF = -1, /* stored as it is, in frames all the same */
};

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
    int level;                     /* of zstd: 0: 3; 1..CF_LEVEL_MAX; CF_LEVEL_OFF */
    bool
        adaptive; /* level is where it begins: it goes up while the network is what is slow, down while the
                                      cores are, within memory_bytes; not with CF_LEVEL_OFF */
    bool no_verify_source; /* chunks and tables are not held against their own MD5 */
    /* directory: */
    const char *dir;            /* the tree */
    const char *const *exclude; /* patterns, as the manual has them */
    size_t exclude_total;
    bool one_file_system;    /* mount points are stored, and not gone into */
    bool force;              /* files that seem unchanged are read too */
    const char *const *tags; /* of the new snapshot; "keep" pins it */
    size_t tag_total;
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
    uint64_t frames_new;      /* compressed and sent */
    int level_min, level_max; /* of zstd, of those frames; 0: none, or CF_LEVEL_OFF */
    double level_mean;
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
    bool recheck; /* read each file back from the disk, and check chunks' and tables' own MD5 too */
    bool no_verify_source; /* not even the MD5 of a file of which no backup checked it */
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

/* One snapshot and what prune makes of it. All borrowed during the call. */
typedef struct cf_prune_snapshot {
    const char *node, *snapshot;
    bool has_time; /* false: its root cannot be read */
    int64_t time_utc_ms;
    bool keep;
    const char *const *reasons; /* why it stays, for people; none: no rule keeps it */
    const char *const *names;   /* the same, one stable word each: "daily", "newest" */
    size_t reason_total;
    const char *words; /* "" or what else is to be said: what is lost with a damaged one */
} cf_prune_snapshot;

typedef struct cf_prune_opts {
    cf_remote remote;
    const char *node; /* NULL: all nodes */
    /* Rules; 0 or NULL: not given. Without any nothing would be kept: CF_ERR_USAGE. */
    uint32_t keep_last, keep_hourly, keep_daily, keep_weekly, keep_monthly, keep_yearly;
    const char *keep_within; /* "1y6m2w3d12h" */
    const char *const *keep_tags;
    size_t keep_tag_total;
    bool has_max_delete; /* CF_ERR_LIMIT when more than max_delete snapshots of a node would go */
    uint64_t max_delete;
    const char *const *drop_damaged; /* snapshots to give up when they are damaged */
    size_t drop_damaged_total;
    bool delete_versions, dry_run;
    uint64_t wait_lock_ms; /* for another prune of the node; 0: CF_ERR_LOCKED at once */
    /* Each snapshot, oldest first, once it is decided and before anything is deleted. NULL: none. */
    void (*on_snapshot)(void *impl, const cf_prune_snapshot *s);
    void *impl;
} cf_prune_opts;

typedef struct cf_prune_result {
    uint64_t nodes_total, nodes_failed;
    uint64_t snapshots_kept, snapshots_deleted;
    uint64_t runs_fenced; /* dead runs that left something and never committed */
    uint64_t objects_deleted, bytes_freed;
    uint64_t objects_locked;     /* kept by a lock of the store */
    int64_t locked_until_utc_ms; /* the latest; 0: none is known */
    uint64_t objects_marked;     /* without conditional create: to be deleted 7 days later */
    uint64_t uploads_aborted;
    uint64_t requests_total, duration_ms;
} cf_prune_result;
/* Deletes snapshots by the rules, and every object that no remaining snapshot and no run under way
 * needs. Filled as far as it came, also on failure. A failure at one node does not stop the others;
 * the worst is returned, the others are logged.
 * Errors: CF_ERR_USAGE: no rule; CF_ERR_LIMIT; CF_ERR_LOCKED: another prune of the node runs;
 * CF_ERR_DAMAGE: a root or segment that must be read is damaged; CF_ERR_NOT_FOUND: no such node. */
CF_NODISCARD cf_err cf_prune_run(const cf_ctx *ctx, const cf_prune_opts *opts, cf_prune_result *ret,
                                 cf_error *e);

/* One snapshot of a copy. Strings are borrowed during the call. */
typedef struct cf_copied {
    const char *node;
    const char *snapshot;          /* its id in the target; "" for a dry run */
    const char *origin;            /* its id in the source */
    uint64_t packs_new, bytes_new; /* sent; of a dry run: to be sent */
    uint64_t packs_reused;         /* the target had them */
} cf_copied;

typedef struct cf_copy_opts {
    cf_remote remote;     /* the source; its memory_bytes and jobs are the command's */
    cf_remote to;         /* the target: a repository */
    const char *node;     /* NULL: all nodes of the source */
    const char *snapshot; /* NULL or "latest", "all"; an id, or a unique beginning of one */
    bool dry_run;
    uint64_t wait_lock_ms; /* how long to wait for a node of the target that is busy; 0: not */
    /* NULL: none. ctx's impl. */
    void (*copied)(void *impl, const cf_copied *copied);
} cf_copy_opts;

typedef struct cf_copy_result {
    uint64_t snapshots_copied;  /* of a dry run: that would be */
    uint64_t snapshots_skipped; /* the target has them */
    uint64_t snapshots_failed;  /* the source's own fault: damaged, or of a newer program */
    cf_err failed;              /* of the worst of them; CF_OK: none */
    uint64_t packs_copied, packs_reused;
    uint64_t bytes_copied;   /* of packs */
    uint64_t requests_total; /* to both stores */
    uint64_t duration_ms;
} cf_copy_result;
/* Snapshots of each node, oldest first. What cannot be copied for a fault of its own in the source
 * is logged and counted in the result, and the others go on: CF_OK then says that the rest is there.
 * Errors: CF_ERR_USAGE: source and target are one; CF_ERR_NO_REPOSITORY, CF_ERR_LOCKED,
 * CF_ERR_NOT_FOUND: no such node or snapshot; CF_ERR_INTERRUPTED: what was sent is taken up by the
 * next copy; CF_ERR_FENCED, CF_ERR_UNKNOWN as cf_backup_run(). */
CF_NODISCARD cf_err cf_copy_run(const cf_ctx *ctx, const cf_copy_opts *opts, cf_copy_result *ret,
                                cf_error *e);
typedef enum cf_verify_how {
    CF_VERIFY_LOOK,    /* the manifest, and that every pack is there with its length */
    CF_VERIFY_DATA,    /* every byte */
    CF_VERIFY_PART,    /* the packs of one of `parts` parts, the same ones each time */
    CF_VERIFY_PERCENT, /* so many of 1,000 stored bytes, other packs each time */
    CF_VERIFY_BYTES,   /* about so many stored bytes, other packs each time */
} cf_verify_how;

/* One damaged object; all is borrowed during the call. */
typedef struct cf_verify_damage {
    const char *node;
    const char *object; /* key below nodes/<node>/: "runs/...", "snapshots/..." */
    const char *kind;   /* "pack", "segment", "root" */
    const char *reason;
    const char *const *files; /* some of those concerned; bytes, not always UTF-8 */
    size_t files_shown;
    uint64_t files_total;
    const char *const *snapshots; /* some of those that name it, newest first */
    size_t snapshots_shown;
    uint64_t snapshots_total;
    const char *other_copy; /* NULL: nobody asked; "": the other repository has no good one; else
                               its key there: read, and good */
} cf_verify_damage;

typedef struct cf_verify_opts {
    cf_remote remote;
    const cf_remote *other; /* NULL: none; a copy, asked where damage is found */
    const char *node;       /* NULL: all */
    const char *snapshot;   /* NULL: "latest"; "all"; an id or a unique beginning of one */
    cf_verify_how how;
    uint64_t part, parts;                                          /* PART: 1..parts */
    uint64_t permille;                                             /* PERCENT: 1..1000 */
    uint64_t bytes;                                                /* BYTES */
    void (*on_damage)(void *impl, const cf_verify_damage *damage); /* NULL: none */
    void *impl;
} cf_verify_opts;

typedef struct cf_verify_result {
    uint64_t nodes_total, snapshots_total;
    uint64_t packs_total, packs_bytes; /* distinct, named by the snapshots */
    uint64_t packs_read;              /* of them: chosen, and all that the snapshots use was read */
    uint64_t packs_digested;          /* of them: the digest of the whole pack was checked too */
    uint64_t files_total;             /* lines that were looked at; one that several share, once */
    uint64_t files_whole, files_part; /* read to the end; only the chosen packs of it */
    uint64_t bytes_read;              /* stored bytes */
    uint64_t damaged_packs, damaged_segments, damaged_roots;
    uint64_t damaged_files;
    uint64_t healed;       /* wrong once and right when read again */
    uint64_t proved_total; /* snapshots that got a proof */
    uint64_t requests_total;
    uint64_t duration_ms;
} cf_verify_result;
/* Errors: CF_ERR_DAMAGE: found, and told to on_damage; CF_ERR_INTERRUPTED: nothing is proved;
 * CF_ERR_NOT_FOUND, CF_ERR_NO_REPOSITORY. *ret is filled in any case: how far it came. */
CF_NODISCARD cf_err cf_verify_run(const cf_ctx *ctx, const cf_verify_opts *opts,
                                  cf_verify_result *ret, cf_error *e);

#ifdef __cplusplus
}
#endif
#endif
