/* SPDX-License-Identifier: Apache-2.0
 *
 * Step 2: files that changed while they were read, and what the parent has of them.
 */
#include "profile/directory/source.h"
#include "s3/base/alloc.h"
#include "s3/base/cleanup.h"

/* Room for one more pointer. */
static bool grow(void *const array, const size_t total, size_t *const cap)
{
    void **const at = array;

    if (total < *cap)
        return true;
    const size_t more = *cap == 0 ? 16 : *cap * 2;
    void *const grown = cf_realloc(*at, more, sizeof(void *));
    if (grown == NULL)
        return false;
    *at = grown;
    *cap = more;
    return true;
}

bool cf_tree_again_note(cf_source *const s, const char *const path)
{
    const size_t size = strlen(path) + 1 + sizeof(char *);

    if (s->again_bytes + size > CF_TREE_AGAIN_BYTES ||
        !grow(&s->again, s->again_total, &s->again_cap))
        return false;
    s->again[s->again_total] = cf_strdup(path);
    if (s->again[s->again_total] == NULL)
        return false;
    s->again_total++;
    s->again_bytes += size;
    return true;
}

/* One of them: as it stands now, whatever that is. */
static cf_err again_open(cf_source *const s, const char *const path, cf_entry **const ret,
                         cf_error *const e)
{
    CF_CLEANUP(cf_fd_closep) int dir_fd = -1;
    cf_tree_node node = {.path = path};
    cf_error why = {0};
    cf_err err = cf_tree_open_parent(s, path, &dir_fd, &node.name, &why);

    if (err == CF_OK)
        err = s->opts.fs->ops->stat_at(s->opts.fs, dir_fd, node.name, &node.st, &why);
    if (err == CF_OK && node.st.type != CF_FILE_REGULAR)
        err = cf_error_set(&why, CF_ERR_IO, __FILE__, __LINE__, "it is no file any more");
    s->file_total--; /* it was counted in step 1 */
    if (err != CF_OK)
        return cf_tree_pass_over(s, path, &why, e);
    node.dir_fd = dir_fd;
    return cf_tree_entry_make(s, CF_TREE_STEP_AGAIN, &node, ret, e);
}

cf_err cf_tree_again_next(cf_source *const s, cf_entry **const ret, cf_error *const e)
{
    *ret = NULL;
    while (*ret == NULL && s->again_next < s->again_total)
        CF_TRY(again_open(s, s->again[s->again_next++], ret, e));
    return CF_OK;
}

static cf_err prior_keep(cf_source *const s, const cf_file_line *const l, cf_error *const e)
{
    CF_ENSURE(grow(&s->prior_again, s->prior_again_total, &s->prior_again_cap), e, CF_ERR_NO_MEMORY,
              "allocate the parent's lines");
    CF_TRY(cf_file_line_dup(l, &s->prior_again[s->prior_again_total], e));
    s->prior_again_total++;
    return CF_OK;
}

/* A file that is written to all the time is in step 2 of every snapshot: without its line there,
 * each run would send all of it. */
cf_err cf_tree_prior_load(cf_source *const s, const json_t *const prior_facts, cf_error *const e)
{
    const cf_file_line *l = NULL;
    uint64_t bytes = 0;

    if (s->prior == NULL || json_integer_value(json_object_get(prior_facts, "read_again")) == 0)
        return CF_OK;
    CF_TRY(cf_prior_find_file(s->prior, CF_TREE_STEP_AGAIN, cf_slice_of("", 0), &l, e));
    for (;;) {
        CF_TRY(cf_prior_next_file(s->prior, &l, e));
        if (l == NULL)
            return CF_OK;
        const uint64_t size = cf_file_line_dup_bytes(l);
        if (l->step != CF_TREE_STEP_AGAIN || bytes + size > CF_TREE_PRIOR_BYTES)
            continue;
        CF_TRY(prior_keep(s, l, e));
        bytes += size;
    }
}

static const cf_file_line *prior_again_find(const cf_source *const s, const cf_slice path)
{
    for (size_t low = 0, high = s->prior_again_total; low < high;) {
        const size_t middle = low + (high - low) / 2;
        const int order = cf_slice_cmp(s->prior_again[middle]->path, path);

        if (order == 0)
            return s->prior_again[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

cf_err cf_tree_prior_find(cf_source *const s, const char *const path,
                          const cf_file_line **const ret, cf_error *const e)
{
    const cf_file_line *l = NULL;

    if (s->prior != NULL && s->phase == CF_TREE_WALKING)
        CF_TRY(cf_prior_find_file(s->prior, CF_TREE_STEP_WALK, cf_slice_str(path), &l, e));
    *ret = l != NULL ? l : prior_again_find(s, cf_slice_str(path));
    return CF_OK;
}

void cf_tree_again_deinit(cf_source *const s)
{
    for (size_t i = 0; i < s->again_total; i++)
        cf_free(s->again[i]);
    for (size_t i = 0; i < s->prior_again_total; i++)
        cf_free(s->prior_again[i]);
    cf_free(s->again);
    cf_free(s->prior_again);
}
