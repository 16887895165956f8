/* SPDX-License-Identifier: Apache-2.0
 *
 * The profile's table, the tree's life, and what it says.
 *
 * Facts, one object; keys are stable, unknown ones are to be ignored:
 *   kind          "directory"
 *   dir           the tree's top, as it was given; what is no text in it as \xNN
 *   files, directories, symlinks
 *   excluded      names left out by --exclude, without what is below them
 *   other_file_systems   directories not gone into (--one-file-system)
 *   read_again    files of step 2: they changed while they were read the first time
 *   changed       files stored as they were read, since they changed each time
 *   left_out      files and directories that could not be read, vanished, or lie too deep
 *   special       sockets, fifos and devices, which are never stored
 *   hazards       array of ids: changed, left-out
 */
#include <stdio.h>

#include "profile/directory/source.h"
#include "s3/base/alloc.h"
#include "s3/base/cleanup.h"
#include "s3/base/utf8.h"

static const struct {
    const char *verb;
    const char *many; /* of those not told one by one */
} words[CF_TREE_TROUBLE_TOTAL] = {
    [CF_TREE_UNREADABLE] = {"left out", "could not be read and were left out"},
    [CF_TREE_VANISHED] = {"left out", "vanished before they were read"},
    [CF_TREE_TOO_LONG] = {"left out", "have paths that are too long and were left out"},
    [CF_TREE_CHANGED] = {"stored as it was read", "changed each time they were read"},
    [CF_TREE_SPECIAL] = {"left out", "are sockets, fifos or devices and were left out"},
    [CF_TREE_OUR_OWN] = {"left out", "are the repository"},
};

void cf_tree_name_render(const char *const path, char ret[CF_TREE_NAME_SIZE])
{
    static const char digits[] = "0123456789abcdef";
    const bool is_text = cf_utf8_valid(cf_slice_str(path));
    size_t used = 0;

    for (const char *at = path; *at != '\0' && used + 5 < CF_TREE_NAME_SIZE; at++) {
        const unsigned char c = (unsigned char)*at;

        if (c >= 0x20 && c != 0x7f && (c < 0x80 || is_text)) {
            ret[used++] = *at;
            continue;
        }
        ret[used++] = '\\';
        ret[used++] = 'x';
        ret[used++] = digits[c >> 4];
        ret[used++] = digits[c & 15];
    }
    ret[used] = '\0';
}

void cf_tree_tell(cf_source *const s, const cf_tree_trouble trouble, const char *const path,
                  const char *const why)
{
    char name[CF_TREE_NAME_SIZE], text[CF_ERROR_MESSAGE_LEN_MAX];

    if (s->trouble_total[trouble]++ >= CF_TREE_TOLD_MAX || s->opts.warn == NULL)
        return;
    cf_tree_name_render(path, name);
    (void)snprintf(text, sizeof(text), "'%s' is %s: %s", name, words[trouble].verb, why);
    s->opts.warn(s->opts.impl, text);
}

cf_err cf_tree_pass_over(cf_source *const s, const char *const path, const cf_error *const why,
                         cf_error *const e)
{
    if (why->code == CF_ERR_NO_MEMORY || why->code == CF_ERR_INTERRUPTED) {
        if (e != NULL)
            *e = *why;
        return why->code;
    }
    cf_tree_tell(s, why->code == CF_ERR_NOT_FOUND ? CF_TREE_VANISHED : CF_TREE_UNREADABLE, path,
                 why->message);
    return CF_OK;
}

static void tree_close(cf_source *const s)
{
    if (s == NULL)
        return;
    cf_tree_entries_drop(s);
    cf_tree_walk_deinit(s);
    cf_tree_again_deinit(s);
    cf_exclude_free(s->exclude);
    if (s->top_fd >= 0)
        (void)s->opts.fs->ops->close(s->opts.fs, s->top_fd, NULL);
    cf_free(s);
}

static void tree_closep(cf_source **const s)
{
    tree_close(*s);
}

/* The operator's own path may be a link, and so may its last component: it names what he means. */
static cf_err top_open(cf_source *const s, cf_error *const e)
{
    char path[CF_PATH_LEN_MAX + 3];
    cf_stat st = {0};

    CF_ENSURE(strlen(s->opts.dir) <= CF_PATH_LEN_MAX, e, CF_ERR_USAGE,
              "'--dir %.100s...' is longer than %d bytes", s->opts.dir, CF_PATH_LEN_MAX);
    (void)snprintf(path, sizeof(path), "%s/.", s->opts.dir);
    const cf_err err = s->opts.fs->ops->dir_open(s->opts.fs, CF_FS_CWD, path, &s->top_fd, e);
    CF_ENSURE(err != CF_ERR_NOT_FOUND, e, CF_ERR_SOURCE,
              "'%s' does not exist or is no directory\nHINT: --dir names the tree to back up",
              s->opts.dir);
    CF_ENSURE(err != CF_ERR_ACCESS, e, CF_ERR_SOURCE,
              "'%s' cannot be opened: permission denied\nHINT: run as a user who may read the tree",
              s->opts.dir);
    CF_TRY_AS(err, e, "open the tree");
    CF_TRY(s->opts.fs->ops->stat_fd(s->opts.fs, s->top_fd, &st, e));
    s->top_dev = st.dev;
    return CF_OK;
}

/* The repository's own directory, when it is one: by what it is, not by its name. */
static void leave_out_look(cf_source *const s)
{
    const cf_fs *const fs = s->opts.fs;
    CF_CLEANUP(cf_fd_closep) int fd = -1;
    char path[CF_PATH_LEN_MAX + 3];
    cf_stat st = {0};

    if (s->opts.leave_out == NULL || strlen(s->opts.leave_out) > CF_PATH_LEN_MAX)
        return;
    (void)snprintf(path, sizeof(path), "%s/.", s->opts.leave_out);
    s->has_leave_out = fs->ops->dir_open(fs, CF_FS_CWD, path, &fd, NULL) == CF_OK &&
                       fs->ops->stat_fd(fs, fd, &st, NULL) == CF_OK;
    s->leave_out_dev = st.dev;
    s->leave_out_ino = st.ino;
}

static cf_err tree_open(const cf_source_opts *const opts, cf_source **const ret, cf_error *const e)
{
    CF_CLEANUP(tree_closep) cf_source *s = NULL;

    CF_NEW(s, e);
    s->opts = *opts;
    s->top_fd = -1;
    CF_TRY(cf_exclude_new(opts->exclude, opts->exclude_total, &s->exclude, e));
    CF_TRY(top_open(s, e));
    leave_out_look(s);
    *ret = CF_STEAL(s);
    return CF_OK;
}

static cf_err plan(cf_source *const s, cf_prior *const prior, const json_t *const prior_facts,
                   const char *const prior_run, cf_error *const e)
{
    (void)prior_run;
    if (s->opts.full) /* lines for messages only: there are none */
        return CF_OK;
    s->prior = prior;
    return cf_tree_prior_load(s, prior_facts, e);
}

/* Not known before the walk, and a second walk would cost more than the figure is worth. */
static void plan_totals(const cf_source *const s, uint64_t *const ret_files,
                        uint64_t *const ret_reused, uint64_t *const ret_read_bytes)
{
    (void)s;
    *ret_files = 0;
    *ret_reused = 0;
    *ret_read_bytes = 0;
}

static cf_err next(cf_source *const s, cf_entry **const ret, cf_error *const e)
{
    bool found = true;

    *ret = NULL;
    if (s->phase == CF_TREE_AGAIN)
        return cf_tree_again_next(s, ret, e);
    while (*ret == NULL && s->phase == CF_TREE_WALKING) {
        CF_TRY(cf_tree_walk_next(s, &s->node, &found, e));
        if (!found)
            s->phase = CF_TREE_WALKED;
        else
            CF_TRY(cf_tree_entry_make(s, CF_TREE_STEP_WALK, &s->node, ret, e));
    }
    return CF_OK;
}

static bool more(cf_source *const s)
{
    s->phase = s->phase == CF_TREE_WALKED && s->again_total > 0 ? CF_TREE_AGAIN : CF_TREE_DONE;
    return s->phase == CF_TREE_AGAIN;
}

static uint64_t left_out_total(const cf_source *const s)
{
    return s->trouble_total[CF_TREE_UNREADABLE] + s->trouble_total[CF_TREE_VANISHED] +
           s->trouble_total[CF_TREE_TOO_LONG];
}

/* Nothing of a tree hangs together, so nothing that changed makes it unfit; what was not told one
 * by one is told as a number. */
static cf_err last_look(cf_source *const s, cf_error *const e)
{
    char text[256];

    (void)e;
    for (size_t i = 0; i < CF_TREE_TROUBLE_TOTAL; i++) {
        if (s->trouble_total[i] <= CF_TREE_TOLD_MAX || s->opts.warn == NULL)
            continue;
        (void)snprintf(text, sizeof(text), "%llu more files or directories %s",
                       (unsigned long long)(s->trouble_total[i] - CF_TREE_TOLD_MAX), words[i].many);
        s->opts.warn(s->opts.impl, text);
    }
    return CF_OK;
}

static cf_err facts(const cf_source *const s, json_t **const ret, cf_error *const e)
{
    char dir[CF_TREE_NAME_SIZE];
    json_t *const hazards = json_array();
    const uint64_t changed = s->trouble_total[CF_TREE_CHANGED], left_out = left_out_total(s);

    cf_tree_name_render(s->opts.dir, dir);
    if (changed > 0)
        (void)json_array_append_new(hazards, json_string("changed"));
    if (left_out > 0)
        (void)json_array_append_new(hazards, json_string("left-out"));
    *ret = json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o}", "kind",
                     "directory", "dir", dir, "files", (json_int_t)s->file_total, "directories",
                     (json_int_t)s->dir_total, "symlinks", (json_int_t)s->link_total, "excluded",
                     (json_int_t)s->excluded_total, "other_file_systems",
                     (json_int_t)s->other_fs_total, "read_again", (json_int_t)s->again_total,
                     "changed", (json_int_t)changed, "left_out", (json_int_t)left_out, "special",
                     (json_int_t)s->trouble_total[CF_TREE_SPECIAL], "hazards", hazards);
    CF_ENSURE(*ret != NULL, e, CF_ERR_NO_MEMORY, "allocate facts");
    return CF_OK;
}

static uint64_t bytes_looked(const cf_source *const s)
{
    return s->bytes_looked;
}

static void shortfall(const cf_source *const s, cf_shortfall *const ret)
{
    *ret = (cf_shortfall){.changed_total = s->trouble_total[CF_TREE_CHANGED],
                          .left_out_total = left_out_total(s)};
}

/* ---- restore: nothing in a tree means anything to us ---- */

static cf_err target_fine(const cf_target_opts *const opts, cf_error *const e)
{
    (void)opts;
    (void)e;
    return CF_OK;
}

static cf_err target_fine_by_facts(const cf_target_opts *const opts, const json_t *const of,
                                   cf_error *const e)
{
    (void)opts;
    (void)of;
    (void)e;
    return CF_OK;
}

static cf_placement placement(const cf_file_line *const line)
{
    (void)line;
    return CF_PLACE_BODY;
}

static bool ends_with_md5(const cf_file_line *const line)
{
    (void)line;
    return false;
}

static uint32_t restored_mode(const cf_file_line *const line)
{
    return line->mode;
}

static bool is_leftover(const char *const path)
{
    (void)path;
    return false;
}

static cf_err extra_file(const json_t *const of, const unsigned i, const char **const ret_name,
                         uint8_t ret_content[16], size_t *const ret_len, cf_error *const e)
{
    (void)of;
    (void)i;
    (void)ret_content;
    (void)ret_len;
    (void)e;
    *ret_name = NULL;
    return CF_OK;
}

static const char *const roles[] = {"dir", NULL};
static const char *const no_folders[] = {NULL};

const cf_profile cf_profile_directory = {
    .name = "directory",
    .roles = roles,
    .is_tree = true,
    .open = tree_open,
    .plan = plan,
    .plan_totals = plan_totals,
    .next = next,
    .more = more,
    .reopen = cf_tree_reopen,
    .still_wanted = cf_tree_still_wanted,
    .read_done = cf_tree_read_done,
    .last_look = last_look,
    .facts = facts,
    .bytes_looked = bytes_looked,
    .shortfall = shortfall,
    .close = tree_close,
    .target_in_use = target_fine,
    .target_went_on = target_fine_by_facts,
    .placement = placement,
    .ends_with_md5 = ends_with_md5,
    .restored_mode = restored_mode,
    .is_leftover = is_leftover,
    .leftover_folders = no_folders,
    .extra_file = extra_file,
    .check_restored = target_fine_by_facts,
    .closing_words = cf_tree_closing_words,
};
