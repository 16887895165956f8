/* SPDX-License-Identifier: Apache-2.0
 *
 * Profile seam: what chunkferry knows about a kind of node. A profile turns a node's directories
 * into an ordered plan and a manifest back into a directory that starts. It never talks to a store:
 * what it has already comes as a prior.
 *
 * Backup:  open -> plan -> (next -> [the pipeline reads] -> read_done)* -> last_look -> facts
 *          -> close
 *          When the pipeline has given back all entries, next is asked again if more() says so.
 * Inspect: open -> plan (prior NULL, dry) -> facts
 * Restore: target_in_use -> for each line: placement, check -> extra files -> closing words
 */
#ifndef SRC_PROFILE_PROFILE_H
#define SRC_PROFILE_PROFILE_H

#include <jansson.h>
#include <stdint.h>

#include "repo/line.h"
#include "repo/prior.h"
#include "s3/base/fs.h"
#include "s3/err.h"
#include "s3/world.h"

typedef struct cf_source_opts {
    const cf_fs *fs; /* borrowed, like all below */
    const cf_world *world;
    const char *db;    /* directory */
    const char *index; /* NULL: <db>/index */
    bool stopped;      /* --source stopped: proven by flock */
    bool without_secondary_indexes;
    bool without_existence_filter;
    bool archive;
    bool full;    /* --mode full: nothing is reused */
    bool inspect; /* report refusals as facts instead of failing; nothing is pinned */
    uint64_t max_truncation_bytes; /* 0: 256 MiB */
    const char *dir;               /* profile directory: the tree's top */
    const char *const *exclude;    /* patterns; exclude_total of them */
    size_t exclude_total;
    bool one_file_system;
    bool force;            /* files that seem unchanged are read too */
    const char *leave_out; /* a directory that is never entered, whatever its name: the repository's
                              own; NULL: none */
    /* One line each, for people; "HINT: " lines follow a newline. NULL: none. */
    void (*warn)(void *impl, const char *text);
    void (*detail)(void *impl, const char *text);
    void *impl;
} cf_source_opts;

typedef enum cf_entry_how {
    CF_ENTRY_REUSE,  /* certificate equal to the parent's: its line stands whole, mode, owner and
                        time included */
    CF_ENTRY_INLINE, /* content is given; also what has none: a directory, a symbolic link */
    CF_ENTRY_WHOLE,
    CF_ENTRY_PARTS,
} cf_entry_how;

/* One file of the plan. Valid until read_done() was called for it (entries are given in order,
 * several may be under way). */
typedef struct cf_entry {
    uint16_t step;
    const char *path; /* role-relative: "db/...", "index/..."; any bytes but NUL */
    const char *name; /* the same for people, when path is no text; NULL: it is */
    const char *klass;
    cf_line_type type;
    cf_slice target; /* of a symbolic link */
    cf_entry_how how;
    int fd; /* WHOLE, PARTS: open; the profile closes it in read_done */
    uint64_t read_bytes, size_bytes;
    uint32_t mode, uid, gid;
    int64_t mtime_ns;
    bool has_identity; /* the line names ino and ctime */
    uint64_t ino;
    int64_t ctime_ns;
    bool may_change, sparse; /* as cf_upload_item has them */
    /* The profile has looked for the parent's line itself: NULL: there is none. Borrowed until
     * next() is called again. */
    bool prior_given;
    const cf_file_line *prior;
    bool own_pack, ends_with_md5;
    bool cut_before; /* a new segment starts here (the bulk of chunks) */
    cf_slice cert_header,
        cert_footer;         /* REUSE: empty (the parent's line has it). Tables: footer only */
    bool cert_from_read;     /* WHOLE chunk: head and tail of what was read are the certificate */
    uint8_t cert_tail_bytes; /* with cert_from_read: how much of the tail (128 for chunks, 16 for
                                tables) */
    cf_slice content;        /* INLINE */
    void *own;               /* the profile's */
} cf_entry;

typedef struct cf_read_outcome {
    bool md5_ok;
    uint8_t md5_expected[16], md5_found[16];
    uint8_t head[CF_CERT_LEN_MAX], tail[CF_CERT_LEN_MAX];
    uint64_t size_bytes;    /* found; less than the entry's when it may change and ended early */
    const char *unreadable; /* why it could not be read to its end; borrowed; NULL: it could */
} cf_read_outcome;

/* When a restored file may be written. */
typedef enum cf_placement {
    CF_PLACE_FIRST,
    CF_PLACE_BODY,
    CF_PLACE_LAST,
    CF_PLACE_SKIP
} cf_placement;

typedef struct cf_source cf_source;

typedef struct cf_target_opts {
    const cf_fs *fs;
    const char *db;    /* --target */
    const char *index; /* --index-target; NULL: <db>/index */
} cf_target_opts;

/* What is not in the snapshot as it should be, though the snapshot was made. */
typedef struct cf_shortfall {
    uint64_t changed_total;  /* changed while they were read, twice: stored as they were read */
    uint64_t left_out_total; /* unreadable, vanished, of no kind that can be stored */
} cf_shortfall;

typedef struct cf_profile {
    const char *name;
    /* First components of paths, and where they go: the first to --target; the second, when there
     * is one, to --index-target or the folder of its name in --target. Ends with NULL. */
    const char *const *roles;
    /* Directories and symbolic links too; the first role's own name is a path: its top. Nothing in
     * it means anything to us: no order, no leftovers. */
    bool is_tree;
    /* Is this directory such a node? For messages. */
    cf_err (*open)(const cf_source_opts *opts, cf_source **ret, cf_error *e);
    /* The looks of the reading order up to the pinned cut; refusals are CF_ERR_SOURCE, each with
     * its message and HINT. prior: the file lines of what the repository has already, NULL when there is nothing
     * (with opts.full for messages only, best effort);
     * prior_facts: the parent's, NULL. */
    cf_err (*plan)(cf_source *s, cf_prior *prior, const json_t *prior_facts, const char *prior_run,
                   cf_error *e);
    /* Totals of the plan, for --dry-run and progress. */
    void (*plan_totals)(const cf_source *s, uint64_t *ret_files, uint64_t *ret_reused,
                        uint64_t *ret_read_bytes);
    /* *ret = NULL at the end. */
    cf_err (*next)(cf_source *s, cf_entry **ret, cf_error *e);
    /* All entries given were handed back: does it have more? NULL: never. */
    bool (*more)(cf_source *s);
    /* A REUSE entry shall be sent again, since little else of its pack is used: opens it and turns
     * it into WHOLE or PARTS. It stays REUSE when the file is gone by now or another one: the
     * parent's copy is still good. */
    cf_err (*reopen)(cf_source *s, cf_entry *entry, cf_error *e);
    /* Asked when the file was read and before its line is written; outcome as for read_done. false:
     * it is left out after all, and the node is as good without it, or it comes again in a later
     * step; read_done follows with outcome NULL. */
    bool (*still_wanted)(cf_source *s, cf_entry *entry, const cf_read_outcome *outcome);
    /* outcome NULL for REUSE and INLINE. CF_ERR_SOURCE when the content contradicts its own
     * checksum, naming the snapshot that has a good copy. */
    cf_err (*read_done)(cf_source *s, cf_entry *entry, const cf_read_outcome *outcome, cf_error *e);
    /* Did the node change under us in a way that matters? CF_ERR_SOURCE. */
    cf_err (*last_look)(cf_source *s, cf_error *e);
    /* New object: versions, checkpoints, chunk ranges, epoch ids, hazards, and for inspect
     * "refusals". */
    cf_err (*facts)(const cf_source *s, json_t **ret, cf_error *e);
    /* inspect for people. */
    cf_err (*render_report)(const cf_source *s, cf_buf *ret, cf_error *e);
    uint64_t (*bytes_looked)(
        const cf_source *s); /* read from the source by the looks: headers, footers, checkpoints */
    /* NULL: what is committed is whole. */
    void (*shortfall)(const cf_source *s, cf_shortfall *ret);
    void (*close)(cf_source *s);

    /* Restore. CF_ERR_TARGET: not empty (files an interrupted restore left, *.tmp and those that
     * `ours` says, are fine), in use by a server. */
    cf_err (*target_in_use)(const cf_target_opts *opts, cf_error *e);
    /* A broken-off restore of this snapshot stands in the target. CF_ERR_TARGET when a server has
     * written to it since: going on would destroy what it wrote. */
    cf_err (*target_went_on)(const cf_target_opts *opts, const json_t *facts, cf_error *e);
    cf_placement (*placement)(const cf_file_line *line);
    bool (*ends_with_md5)(const cf_file_line *line);
    uint32_t (*restored_mode)(const cf_file_line *line); /* 0444, 0644 */
    /* May a server that was started on a half-filled target have made this file (role-relative)?
     * What the snapshot does not have of it is removed. The folders to look in end with NULL. */
    bool (*is_leftover)(const char *path);
    const char *const *leftover_folders;
    /* Files that are not in the manifest but belong to the restored node, in order, after all
     * others: name below db and content. i counts up; *ret_name = NULL at the end. facts: the
     * snapshot's. */
    cf_err (*extra_file)(const json_t *facts, unsigned i, const char **ret_name,
                         uint8_t ret_content[16], size_t *ret_len, cf_error *e);
    /* Last check of the whole, from the facts and the directory: the start-up checks that need no
     * server. */
    cf_err (*check_restored)(const cf_target_opts *opts, const json_t *facts, cf_error *e);
    /* Plain words how to start the node. */
    cf_err (*closing_words)(const json_t *facts, cf_buf *ret, cf_error *e);
} cf_profile;

extern const cf_profile cf_profile_kurrentdb, cf_profile_directory;
const cf_profile *cf_profile_find(const char *name); /* NULL; profile.c holds the table */

#endif
