/* SPDX-License-Identifier: Apache-2.0
 *
 * The tree as it is kept between open and close. Internal to the profile; docs/internals/directory.md
 * says why it is so.
 *
 * Memory: the names of the directories on the way down to where the walk is, the entries under way,
 * and what was found changed, up to a limit. Nothing grows with the number of files.
 */
#ifndef SRC_PROFILE_DIRECTORY_SOURCE_H
#define SRC_PROFILE_DIRECTORY_SOURCE_H

#include "profile/directory/exclude.h"
#include "profile/profile.h"

/* Steps of the manifest: part of the format, never renumbered. */
enum {
    CF_TREE_STEP_WALK = 1,  /* everything, by the bytes of the path */
    CF_TREE_STEP_AGAIN = 2, /* files that changed while they were read, read again */
};

enum {
    CF_TREE_DEPTH_MAX = 512, /* ours: a descriptor each, of 1,024 that are usual */
    CF_TREE_TOLD_MAX = 20,   /* warnings of one kind; the others are counted */
    CF_TREE_AGAIN_BYTES =
        4 * 1024 * 1024, /* paths to read again; what is above is stored as read */
    CF_TREE_PRIOR_BYTES = 8 * 1024 * 1024, /* the parent's lines of step 2 */
    CF_TREE_ATTEMPT_TOTAL = 3,             /* small files that change are read again at once */
    CF_TREE_TICK_MS = 100,                 /* a file changed later than this ago may change again
                                               without its times showing it */
    CF_TREE_TICK_COARSE_MS = 2000,         /* the same where times have no fraction of a second */
};

/* What is not in the snapshot as one would expect. */
typedef enum cf_tree_trouble {
    CF_TREE_UNREADABLE, /* left out */
    CF_TREE_VANISHED,   /* left out: there when its folder was listed, gone when it was opened */
    CF_TREE_TOO_LONG,   /* left out: path or depth above the limit */
    CF_TREE_CHANGED,    /* stored as it was read, while it changed */
    CF_TREE_SPECIAL,    /* left out, nobody misses it: socket, fifo, device */
    CF_TREE_OUR_OWN,    /* left out: the repository that is written to */
    CF_TREE_TROUBLE_TOTAL
} cf_tree_trouble;

/* A directory whose line was given and that is still to be gone into. */
typedef struct cf_tree_pending {
    uint32_t name; /* index */
    uint64_t dev, ino;
} cf_tree_pending;

/* A directory on the way down. */
typedef struct cf_tree_level {
    int fd;
    cf_names names;
    size_t next;              /* name to look at */
    cf_tree_pending *pending; /* owned; each the beginning of the next one's name */
    size_t pending_total, pending_cap;
    size_t path_len; /* of its path with the '/' */
} cf_tree_level;

typedef struct cf_tree_walk {
    cf_tree_level level[CF_TREE_DEPTH_MAX];
    size_t depth; /* levels open */
    bool begun;
    char path[CF_PATH_LEN_MAX + CF_NAME_LEN_MAX + 2];
} cf_tree_walk;

/* What the walk comes to. */
typedef struct cf_tree_node {
    const char *path; /* "dir", "dir/a/b"; valid until the walk goes on */
    int dir_fd;       /* of the folder it is in, and its name there */
    const char *name;
    cf_stat st; /* regular, directory or symbolic link */
} cf_tree_node;

typedef enum cf_tree_phase {
    CF_TREE_WALKING,
    CF_TREE_WALKED,
    CF_TREE_AGAIN,
    CF_TREE_DONE
} cf_tree_phase;

struct cf_source {
    cf_source_opts opts;
    int top_fd;
    uint64_t top_dev;
    bool has_leave_out;
    uint64_t leave_out_dev, leave_out_ino;
    cf_exclude *exclude; /* owned */
    cf_prior *prior;     /* borrowed; NULL: none */
    cf_tree_phase phase;
    cf_tree_walk walk;
    cf_tree_node node;               /* the one given last: reopen() opens it by this */
    struct cf_tree_entry *under_way; /* owned; oldest first */
    char **again;                    /* owned, and each: paths of step 2, in order */
    size_t again_total, again_cap, again_next;
    uint64_t again_bytes;
    cf_file_line **prior_again; /* owned, and each: the parent's step 2, in order */
    size_t prior_again_total, prior_again_cap;
    uint64_t trouble_total[CF_TREE_TROUBLE_TOTAL];
    uint64_t file_total, dir_total, link_total, excluded_total, other_fs_total;
    uint64_t bytes_looked;
};

/* For people: a path with what is no printable text as \xNN, cut when it is long. */
enum { CF_TREE_NAME_SIZE = 1024 };
void cf_tree_name_render(const char *path, char ret[CF_TREE_NAME_SIZE]);
void cf_tree_tell(cf_source *s, cf_tree_trouble trouble, const char *path, const char *why);
/* A failure of one file: told, and CF_OK; of the whole (memory, interrupted): passed on. why is
 * e, or NULL's text when e is NULL. */
CF_NODISCARD cf_err cf_tree_pass_over(cf_source *s, const char *path, const cf_error *why,
                                      cf_error *e);

/* walk.c */
/* *ret_found false at the end. */
CF_NODISCARD cf_err cf_tree_walk_next(cf_source *s, cf_tree_node *ret, bool *ret_found,
                                      cf_error *e);
void cf_tree_walk_deinit(cf_source *s);
/* The folder of a path of step 1, from the top, nothing followed. The caller closes *ret_fd;
 * *ret_name points into path. */
CF_NODISCARD cf_err cf_tree_open_parent(const cf_source *s, const char *path, int *ret_fd,
                                        const char **ret_name, cf_error *e);

/* entry.c */
/* *ret NULL: passed over. */
CF_NODISCARD cf_err cf_tree_entry_make(cf_source *s, uint16_t step, const cf_tree_node *node,
                                       cf_entry **ret, cf_error *e);
CF_NODISCARD cf_err cf_tree_reopen(cf_source *s, cf_entry *entry, cf_error *e);
bool cf_tree_still_wanted(cf_source *s, cf_entry *entry, const cf_read_outcome *outcome);
CF_NODISCARD cf_err cf_tree_read_done(cf_source *s, cf_entry *entry, const cf_read_outcome *outcome,
                                      cf_error *e);
void cf_tree_entries_drop(cf_source *s);

/* again.c */
/* false: there is no room to remember it. */
bool cf_tree_again_note(cf_source *s, const char *path);
CF_NODISCARD cf_err cf_tree_again_next(cf_source *s, cf_entry **ret, cf_error *e);
/* The parent's files of step 2, while they fit. */
CF_NODISCARD cf_err cf_tree_prior_load(cf_source *s, const json_t *prior_facts, cf_error *e);
/* The parent's line of a file, of whichever step. Calls come in order of the path. */
CF_NODISCARD cf_err cf_tree_prior_find(cf_source *s, const char *path, const cf_file_line **ret,
                                       cf_error *e);
void cf_tree_again_deinit(cf_source *s);

/* restore.c */
CF_NODISCARD cf_err cf_tree_closing_words(const json_t *facts, cf_buf *ret, cf_error *e);

#endif
